//! Records a process for some seconds and writes it as a page to open in a browser.
//!
//! ```sh
//! cargo run --release --example html -- PID profile.html [SECONDS]
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, SystemTime};

use pysample::attach;
use pysample::export::{Labels, html};
use pysample::sample::{Header, Literal, Wanted};
use pysample::sampler::{self, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(pid), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: html PID FILE.html [SECONDS]".into());
    };
    let seconds = arguments.next().map_or(Ok(5.0), |typed| typed.parse())?;
    let (target, interpreter) = attach(pid.parse()?)?;
    let program = target.command().join(" ");
    let labels = Labels { search_path: interpreter.search_path(), ..Labels::default() };
    let duration = Some(Duration::from_secs_f64(seconds));
    let settings = Settings { duration, wanted: Wanted::All, ..Settings::default() };

    let started = SystemTime::now();
    let recording = sampler::start(target, interpreter, settings)?;
    let events = recording.events().iter().collect();
    recording.finish();

    let header = Header {
        pysample: env!("CARGO_PKG_VERSION").into(),
        program,
        started,
        rate: settings.rate,
        wanted: settings.wanted,
    };
    let sources = |file: &str| std::fs::read_to_string(file).ok();
    let mut out = BufWriter::new(File::create(&path)?);
    html::write(&Literal { header, events }, &labels, &sources, &mut out)?;
    out.flush()?;
    Ok(())
}
