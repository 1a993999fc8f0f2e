//! Look at running CPython processes from outside: attach, read their memory, and tell what they are doing.
//!
//! Nothing is written into the target, no code runs in it, and nothing needs to be installed in it. This is the
//! library behind the program `pysample`; everything the program does can be done with it.
//!
//! One moment, spelled out:
//!
//! ```no_run
//! use pysample::sampler;
//!
//! let (target, interpreter) = pysample::attach(4242)?;
//! let snapshot = sampler::snapshot(&target, &interpreter, sampler::Wanted::All, sampler::Pause::Holder)?;
//! for thread in &snapshot.interpreters[0].threads {
//!     println!("{:?}: {:?}", thread.name, thread.frames.first());
//! }
//! # Ok::<(), pysample::Error>(())
//! ```
//!
//! A recording is a stream of [`sample::Event`]s that [`sampler::start`] sends, [`aggregate`] adds up and [`export`]
//! writes; [`recording`] keeps one in a file and reads it back. The folder `examples` of the repository has short programs for both.
//!
//! How the parts know each other, from the bottom up: [`memory`] reads many ranges at a time; [`target`] is a process
//! or a recorded image of one; [`python`] turns bytes into threads, frames and names by the numbers of
//! [`python_offsets`]; [`sampler`] owns the clock and puts moments into [`sample`]'s plain data; [`recording`] keeps
//! those; [`aggregate`] counts; [`export`] and [`view`] write for programs and for people.

// What tests inside and outside of the library share calls it by its name.
#[cfg(test)]
extern crate self as pysample;

pub mod aggregate;
pub mod error;
pub mod export;
pub mod memory;
pub mod output;
pub mod pattern;
pub mod printable;
pub mod python;
pub mod recording;
pub mod sample;
pub mod sampler;
pub mod target;
pub mod view;

use std::time::{Duration, Instant};

pub use error::{Error, Result};
pub use python::Interpreter;
pub use target::Target;

/// How long a Python that is still starting is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// For how long what looks wrong may be a process that was just executing another program.
const DOUBT: Duration = Duration::from_millis(500);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Opens a process and finds its interpreter. One that is still starting is waited for, a few seconds at most.
///
/// # Errors
///
/// Everything that [`Target::attach`] and [`python::locate()`] say.
pub fn attach(pid: u32) -> Result<(Target, Interpreter)> {
    let begun = Instant::now();
    let mut target = Target::attach(pid)?;
    loop {
        match python::locate(&target) {
            Err(Error::NotRunning { .. }) if begun.elapsed() < PATIENCE => {}
            Err(Error::Unrecognised { .. }) if begun.elapsed() < DOUBT => {}
            other => return other.map(|interpreter| (target, interpreter)),
        }
        std::thread::sleep(BETWEEN_TRIES);
        target.refresh()?;
    }
}
