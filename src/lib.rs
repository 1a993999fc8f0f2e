//! wip
pub mod error;
pub mod memory;
pub mod python;
pub mod sample;
pub mod sampler;
pub mod target;

use std::time::{Duration, Instant};

pub use error::{Error, Result};
pub use python::Interpreter;
pub use target::Target;

/// How long a Python that is still starting is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Opens a process and finds its interpreter. One that is still starting is waited for, a few seconds at most.
///
/// Errors: everything that [`Target::attach`] and [`python::locate`] say.
pub fn attach(pid: u32) -> Result<(Target, Interpreter)> {
    let begun = Instant::now();
    let mut target = Target::attach(pid)?;
    loop {
        match python::locate(&target) {
            Err(Error::NotRunning { .. }) if begun.elapsed() < PATIENCE => {}
            other => return other.map(|interpreter| (target, interpreter)),
        }
        std::thread::sleep(BETWEEN_TRIES);
        target.refresh()?;
    }
}
