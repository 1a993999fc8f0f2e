//! Records a process for five seconds and writes a flame graph.
//!
//! ```sh
//! cargo run --release --example flamegraph -- PID flame.svg
//! ```

use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use pysample::aggregate::CallTree;
use pysample::attach;
use pysample::export::flamegraph::{self, Heading};
use pysample::export::{Folded, Labels};
use pysample::sampler::{self, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(pid), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: flamegraph PID FILE.svg".into());
    };
    let (target, interpreter) = attach(pid.parse()?)?;
    let labels = Labels { search_path: interpreter.search_path(), ..Labels::default() };
    let settings = Settings { duration: Some(Duration::from_secs(5)), ..Settings::default() };

    let recording = sampler::start(target, interpreter, settings)?;
    let mut tree = CallTree::default();
    for event in recording.events() {
        tree.take(event);
    }
    let tally = recording.finish().tally;

    let heading = Heading { title: format!("process {pid}"), subtitle: format!("{} samples", tally.taken) };
    flamegraph::write(&Folded::new(&tree, &labels), &heading, &mut BufWriter::new(File::create(&path)?))?;
    println!("{path}: {} samples of {} asked, {} errors", tally.taken, tally.asked, tally.errors());
    Ok(())
}
