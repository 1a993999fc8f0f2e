//! Keeps what a dump of a process reads, or shows the dump of what was kept.
//!
//! An image is a file with the few pages of memory that matter: enough to look at a moment again, elsewhere and later,
//! without the process and without privilege. The tests replay such images.
//!
//! ```sh
//! cargo run --example memory_image -- record PID FILE
//! cargo run --example memory_image -- show FILE
//! ```

use std::path::Path;

use pysample::python::locate;
use pysample::sampler::{Pause, Wanted, snapshot};
use pysample::target::Target;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["record", pid, file] => record(pid.parse()?, Path::new(file)),
        ["show", file] => show(Path::new(file)),
        _ => Err("usage: memory_image record PID FILE | show FILE".into()),
    }
}

fn record(pid: u32, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::attach_recording(pid)?;
    snapshot(&target, &locate(&target)?, Wanted::All, Pause::Holder)?;
    Ok(target.save_image(file)?)
}

fn show(file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::open_image(file)?;
    let interpreter = locate(&target)?;
    println!("process {}: Python {}", target.pid(), interpreter.version_text());
    for thread in
        snapshot(&target, &interpreter, Wanted::All, Pause::Never)?.interpreters.iter().flat_map(|i| &i.threads)
    {
        println!("\n{}", thread.name.as_deref().unwrap_or("unnamed thread"));
        for frame in &thread.frames {
            println!("    {} ({}:{})", frame.function, frame.file, frame.line.map_or("?".into(), |l| l.to_string()));
        }
    }
    Ok(())
}
