//! Records a process for some seconds, keeps what was seen in memory, and writes it in every format that keeps time: to look
//! at one recording in many viewers.
//!
//! ```sh
//! cargo run --release --example convert_events -- PID SECONDS FOLDER
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use pysample::attach;
use pysample::export::{Labels, chrome_trace, firefox, json_lines, pprof, pstats, speedscope};
use pysample::sample::{Header, Literal, Replay};
use pysample::sampler::{self, Settings, Wanted};

type Writer = fn(&dyn Replay, &Labels, &mut dyn Write) -> io::Result<()>;

const FORMATS: [(&str, Writer); 6] = [
    ("profile.speedscope.json", speedscope::write),
    ("profile.pb.gz", pprof::write),
    ("profile.firefox.json", firefox::write),
    ("profile.pstats", pstats::write),
    ("profile.trace.json", chrome_trace::write),
    ("profile.jsonl", json_lines::write),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, seconds, folder] = &arguments[..] else { return Err("usage: convert_events PID SECONDS FOLDER".into()) };
    let (target, interpreter) = attach(pid.parse()?)?;
    let labels = Labels { search_path: interpreter.search_path(), ..Labels::default() };
    let settings = Settings {
        duration: Some(Duration::from_secs_f64(seconds.parse()?)),
        wanted: Wanted::All,
        gils: true,
        ..Settings::default()
    };
    let header = Header {
        pysample: env!("CARGO_PKG_VERSION").into(),
        program: target.command().join(" "),
        started: SystemTime::now(),
        rate: settings.rate,
        wanted: settings.wanted,
    };
    let recording = sampler::start(target, interpreter, settings)?;
    let recorded = Literal { header, events: recording.events().iter().collect() };
    println!("{} samples", recording.finish().tally.taken);
    for (name, write) in FORMATS {
        let path = Path::new(folder).join(name);
        write(&recorded, &labels, &mut File::create(&path)?)?;
        println!("{}: {} bytes", path.display(), path.metadata()?.len());
    }
    Ok(())
}
