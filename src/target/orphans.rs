//! The descendants of a command that have lost their parent. The kernel makes them children of the nearest ancestor that has
//! asked for it, which we do while a command and its descendants are recorded: a server that puts itself into the background
//! leaves nothing else to find it by. Whoever is a parent has to ask for the end of its children, or they stay as zombies;
//! nobody is ever ended by us, nor waited for. When we end, those that live on become children of another.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_child_subreaper;
use nix::unistd::Pid;

use super::family::{Parents, our_children};
use super::reaper::reap;
use super::urgency::Urgency;

/// How often those who live on are asked whether they have ended, when nobody looks at them any more.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// That orphans become our children. Until this is dropped.
#[derive(Debug)]
pub struct Adoption {
    command: Option<u32>,
    /// Orphans that have ended.
    ended: BTreeSet<u32>,
}

impl Adoption {
    /// Asks for the orphans of a command that is to be started. `None` where the kernel refuses, and where we have children
    /// already: their orphans could not be told from the command's.
    pub fn begin() -> Option<Adoption> {
        if !our_children(Parents::Any).is_empty() || set_child_subreaper(true).is_err() {
            return None;
        }
        Some(Adoption { command: None, ended: BTreeSet::new() })
    }

    /// The command has been started.
    pub(super) fn of(mut self, command: u32) -> Adoption {
        self.command = Some(command);
        self
    }

    /// The command whose orphans they are.
    pub(super) fn command(&self) -> Option<u32> {
        self.command
    }

    /// The orphans, those included that have ended.
    pub(super) fn orphans(&self) -> Vec<u32> {
        orphans(self.command)
    }

    /// One has ended.
    pub(super) fn note_end(&mut self, orphan: u32) {
        self.ended.insert(orphan);
    }

    /// Asks for the end of those that have ended, but for whom `is_busy` says that somebody traces it: he may want to know.
    pub(super) fn reap(&mut self, is_busy: impl Fn(u32) -> bool) {
        self.ended.retain(|&orphan| is_busy(orphan) || !reap(Pid::from_raw(orphan as i32)));
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        // What was granted can be given back.
        let _ = set_child_subreaper(false);
        let command = self.command;
        if command.is_none() || orphans(command).is_empty() {
            return;
        }
        // Without it, zombies stay until we end.
        let _ = thread::Builder::new().name("orphans".into()).spawn(move || {
            Urgency::inherit_none();
            loop {
                let left = orphans(command);
                if left.is_empty() {
                    break;
                }
                for orphan in left {
                    reap(Pid::from_raw(orphan as i32));
                }
                thread::sleep(BETWEEN_LOOKS);
            }
        });
    }
}

fn orphans(command: Option<u32>) -> Vec<u32> {
    our_children(Parents::First).into_iter().filter(|&child| Some(child) != command).collect()
}
