//! Prints what every Python thread of a process is doing right now.
//!
//! ```sh
//! cargo run --example snapshot -- PID
//! ```

use pysample::attach;
use pysample::sampler::{self, Pause, Wanted};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).ok_or("usage: snapshot PID")?.parse()?;
    let (target, interpreter) = attach(pid)?;
    println!("process {pid}: Python {} ({})", interpreter.version, interpreter.found);
    for interpreter in sampler::snapshot(&target, &interpreter, Wanted::All, Pause::Holder)?.interpreters {
        for thread in interpreter.threads {
            println!("\n{} ({:?})", thread.name.as_deref().unwrap_or("unnamed thread"), thread.state);
            for frame in thread.frames {
                let line = frame.line.map_or("?".into(), |line| line.to_string());
                println!("    {} ({}:{line})", frame.function, frame.file);
            }
        }
    }
    Ok(())
}
