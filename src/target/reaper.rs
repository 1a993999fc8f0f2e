//! Asks for the end of threads that were killed while they were seized.
//!
//! Such a thread stays a zombie until its tracer asks for its end, and a program that is executed waits for that: it
//! begins only when all other threads of its process are gone. Whoever seizes a thread meanwhile waits inside the kernel
//! for the program to have begun. Somebody who holds one thread and seizes a second may so wait for himself; then only
//! another thread of ours can ask for the end of the first, which is what a [`Reaper`] is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::urgency::Urgency;

/// `__WALL` of the kernel's `linux/wait.h`: threads, too.
pub const WALL: u32 = 0x4000_0000;
/// How often it is looked whether somebody waits for himself.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Asks for the end of a thread that any thread of ours has seized. True if it is there no more, or is not ours.
pub fn reap(pid: Pid) -> bool {
    let Some(id) = rustix::process::Pid::from_raw(pid.as_raw()) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::from_bits_retain(WALL);
    // Of one that is seized the kernel tells stops, too, asked for or not; they are not to be taken from whoever waits for them.
    match waitid(WaitId::Pid(id), options | WaitIdOptions::NOWAIT) {
        Ok(Some(status)) if status.exited() || status.killed() || status.dumped() => {
            let _ = waitid(WaitId::Pid(id), options);
            true
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Asks for the end of threads that are held while another is seized, from a thread of its own.
#[derive(Debug, Default)]
pub struct Reaper {
    /// Those held. While none is, nobody can wait for himself.
    held: Option<Arc<Mutex<Vec<Pid>>>>,
}

impl Reaper {
    /// Calls a function that may wait in the kernel until the given threads are gone.
    pub fn meanwhile<T>(&mut self, held: impl Iterator<Item = Pid>, seize: impl FnOnce() -> T) -> T {
        let shared = self.held.get_or_insert_with(start);
        shared.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
        let result = seize();
        shared.lock().unwrap_or_else(PoisonError::into_inner).clear();
        result
    }
}

/// Starts the thread, which ends when the [`Reaper`] is gone.
fn start() -> Arc<Mutex<Vec<Pid>>> {
    let shared = Arc::<Mutex<Vec<Pid>>>::default();
    let looked_at = Arc::downgrade(&shared);
    // Without it, everything works but for the rare case that it is for.
    let _ = std::thread::Builder::new().name("reaper".into()).spawn(move || {
        Urgency::inherit_none();
        while let Some(held) = looked_at.upgrade() {
            held.lock().unwrap_or_else(PoisonError::into_inner).retain(|&pid| !reap(pid));
            drop(held);
            std::thread::sleep(BETWEEN_LOOKS);
        }
    });
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A child of ours, which ends when it is told to.
    fn child() -> (std::process::Child, Pid) {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        (child, pid)
    }

    #[test]
    fn who_lives_is_left_alone_and_who_ended_is_gone() {
        let (mut child, pid) = child();
        assert!(!reap(pid));
        drop(child.stdin.take());
        while !reap(pid) {
            std::thread::yield_now();
        }
        assert_eq!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }

    #[test]
    fn who_is_stopped_is_not_gone_and_its_stop_is_still_told() {
        use nix::sys::ptrace;

        let (mut child, pid) = child();
        ptrace::seize(pid, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(pid).unwrap();
        let is_stopped = || {
            let id = rustix::process::Pid::from_raw(pid.as_raw()).unwrap();
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(id), options).unwrap().is_some()
        };
        while !is_stopped() {
            std::thread::yield_now();
        }
        assert!(!reap(pid));
        assert!(is_stopped());
        ptrace::detach(pid, None).unwrap();
        drop(child.stdin.take());
        while !reap(pid) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn those_held_are_asked_for_while_another_is_seized() {
        let (mut child, pid) = child();
        let mut reaper = Reaper::default();
        reaper.meanwhile([pid].into_iter(), || {
            drop(child.stdin.take());
            while nix::sys::signal::kill(pid, None).is_ok() {
                std::thread::yield_now();
            }
        });
        assert!(reaper.held.unwrap().lock().unwrap().is_empty());
    }
}
