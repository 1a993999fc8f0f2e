//! What keeps a whole process from running: a signal, its control group, or the kernel.

use std::fmt;
use std::fs;

use super::cgroup::{self, Groups, Mounts};

/// Why nothing of a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plight {
    /// Its control group is frozen.
    Frozen,
    /// A signal stopped it.
    Stopped,
    /// A debugger holds it.
    Traced,
    /// Each of its threads waits in the kernel and cannot be woken, not even to be ended.
    Uninterruptible,
}

impl fmt::Display for Plight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plight::Frozen => "its control group is frozen: nothing of it runs until that is thawed",
            Plight::Stopped => "it is stopped by a signal: nothing of it runs until it gets SIGCONT",
            Plight::Traced => "a debugger holds it: nothing of it runs until that lets it go",
            Plight::Uninterruptible => {
                "all of its threads are in uninterruptible sleep: nothing of it runs until the kernel is done with what it does"
            }
        })
    }
}

impl Plight {
    /// What keeps a process from running now; `None` if nothing does, or it cannot be told.
    pub fn of(pid: u32) -> Option<Plight> {
        let states = states(pid);
        // Frozen by version 1 of control groups, it shows as uninterruptible; by version 2, as asleep.
        if matches!(states.first()?, b'D' | b'S') && cgroup::is_frozen(&Groups::of(&pid.to_string()), &Mounts::ours()) {
            return Some(Plight::Frozen);
        }
        let all = |letter| states.iter().all(|&state| state == letter);
        match states.first()? {
            b'T' if all(b'T') => Some(Plight::Stopped),
            b't' if all(b't') => Some(Plight::Traced),
            b'D' if all(b'D') => Some(Plight::Uninterruptible),
            _ => None,
        }
    }
}

/// The letter of each thread's state.
fn states(pid: u32) -> Vec<u8> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let state = |stat: Vec<u8>| {
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2).copied()
    };
    tasks.flatten().filter_map(|task| state(fs::read(task.path().join("stat")).ok()?)).collect()
}
