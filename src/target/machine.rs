//! All processes that are to be seen: which of them is known by another id inside its own PID namespace, and where it runs.

use super::cgroup::{Container, Groups};
pub use super::permission::are_in_own_pid_namespace;
use super::proc::{self, Stat, Status};

/// A process of a PID namespace below ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained {
    /// Its id as we see it.
    pub pid: u32,
    /// Its command line, one string an argument.
    pub command: Vec<String>,
    /// What it runs in, if that is told.
    pub container: Option<Container>,
}

/// The processes that know themselves, inside a PID namespace of their own, by `pid`.
pub fn known_inside_as(pid: u32) -> Vec<Contained> {
    let is_meant = |status: &Status| matches!(status.namespaced_pids.as_slice(), [_, .., own] if *own == pid);
    let contained = |id: u32| {
        Status::read(&id.to_string()).filter(is_meant)?;
        Some(Contained { pid: id, command: proc::command_line(id), container: container(id) })
    };
    proc::processes().into_iter().filter_map(contained).collect()
}

/// What a process runs in, if that is told.
pub fn container(pid: u32) -> Option<Container> {
    Groups::of(&pid.to_string()).container()
}

/// How much processor time a process has used, and since when it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In ticks of 10 ms.
    pub ticks: u64,
    /// In ticks since the machine started.
    pub started: u64,
    /// How many threads it has.
    pub threads: u32,
}

/// The processes that could run Python: all that are to be seen but the kernel's own, what has ended, and us.
pub fn programs() -> Vec<(u32, Usage)> {
    let program = |pid: u32| {
        let stat = Stat::read(pid).ok()?;
        let counts = !stat.is_kernel_thread && !matches!(stat.state, b'Z' | b'X') && pid != std::process::id();
        counts.then(|| (pid, usage(&stat)))
    };
    proc::processes().into_iter().filter_map(program).collect()
}

/// What a process has used by now; `None` if it has ended.
pub fn usage_of(pid: u32) -> Option<Usage> {
    Some(usage(&Stat::read(pid).ok()?))
}

/// The name of a process, which may be cut.
pub fn name_of(pid: u32) -> Option<String> {
    Some(Stat::read(pid).ok()?.name)
}

fn usage(stat: &Stat) -> Usage {
    Usage { ticks: stat.ticks, started: stat.started, threads: stat.threads }
}
