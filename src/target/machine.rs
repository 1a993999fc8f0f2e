//! All processes that are to be seen: which of them is known by another id inside its own PID namespace, and where it runs.

use std::fs;

use super::cgroup::{Container, Groups};
use super::permission;
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

/// Whether `/proc` is mounted so that it may hide other users' processes from us.
pub fn may_hide_processes() -> bool {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let ours = Status::read("self").unwrap_or_default();
    hides_from(&String::from_utf8_lossy(&mounts), &ours)
}

/// What options of `proc` say, by the kernel's `Documentation/filesystems/proc.rst`.
fn hides_from(mounts: &str, ours: &Status) -> bool {
    let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc"));
    let options = mount.and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let is_spared = match option("hidepid") {
        None | Some("0" | "off") => true,
        Some("4" | "ptraceable") => false,
        Some(_) => option("gid").map_or(Some(0), |gid| gid.parse().ok()).is_some_and(|gid| ours.is_in_group(gid)),
    };
    !is_spared && ours.effective & permission::CAP_SYS_PTRACE == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_processes_is_told_from_the_mount() {
        let mount = |options: &str| {
            format!(
                "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n24 22 0:5 / /proc rw,nosuid shared:5 - proc proc rw{options}\n"
            )
        };
        let of = |effective, gid| Status { effective, gids: vec![gid; 4], ..Status::default() };
        let user = of(0, 1000);
        for (options, ours, hides) in [
            ("", &user, false),
            (",hidepid=off", &user, false),
            (",hidepid=2", &user, true),
            (",gid=1000,hidepid=invisible", &user, false),
            (",gid=1001,hidepid=noaccess", &user, true),
            (",gid=1000,hidepid=ptraceable", &user, true),
            (",hidepid=invisible", &of(0, 0), false),
            (",hidepid=ptraceable", &of(permission::CAP_SYS_PTRACE, 0), false),
        ] {
            assert_eq!(hides_from(&mount(options), ours), hides, "{options}");
        }
        assert!(!hides_from("", &user));
    }
}
