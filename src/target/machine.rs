//! All processes that are to be seen: which of them is known by another id inside its own PID namespace, and where it runs.

use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};

use super::cgroup::{self, Container, Groups, Mounts};
use super::permission;
pub use super::permission::are_in_own_pid_namespace;
use super::proc::{self, Stat, Status};

/// What times are counted in.
const TICK: Duration = Duration::from_millis(10);

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

/// The processors that the calling thread may use, if this is one of them. Whoever keeps it from one has a reason.
pub fn usual_with(processor: usize) -> Option<CpuSet> {
    let usual = sched_getaffinity(None).ok();
    usual.filter(|usual| processor < CpuSet::MAX_CPU && usual.is_set(processor))
}

/// One processor and no other. It is one that there may be: below `CpuSet::MAX_CPU`.
pub fn only(processor: usize) -> CpuSet {
    let mut only = CpuSet::new();
    only.set(processor);
    only
}

/// How many processors we may use at once: those that we may run on, or as much as the limit of our control group is, if
/// that is less.
pub fn processors() -> f64 {
    // That many are there at least.
    let ours = sched_getaffinity(None).map_or(1, |usual| usual.count()).max(1);
    let limit = cgroup::cpu_limit(&Groups::of("self"), &Mounts::ours());
    limit.map_or(f64::from(ours), |limit| limit.min(f64::from(ours)))
}

/// For how long the processors that we may run on were idle, since the machine was started, all of them together. `None` where
/// that is not told, or where a control group allows less than they are: what is idle then may not be used.
pub fn idle_time() -> Option<Duration> {
    let usual = sched_getaffinity(None).ok()?;
    let limit = cgroup::cpu_limit(&Groups::of("self"), &Mounts::ours());
    let is_limited = limit.is_some_and(|limit| limit < f64::from(usual.count()));
    (!is_limited).then(|| idle_in(&fs::read("/proc/stat").ok()?, |processor| usual.is_set(processor))).flatten()
}

/// The same in what `/proc/stat` says: the kernel's `Documentation/filesystems/proc.rst`.
fn idle_in(told: &[u8], counts: impl Fn(usize) -> bool) -> Option<Duration> {
    let ticks = |line: &str| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let processor: usize = fields.next()?.parse().ok()?;
        // After the times of user, nice and system: idle, and idle until a disk answers.
        let idle = fields.skip(3).take(2).filter_map(|field| field.parse::<u64>().ok());
        (processor < CpuSet::MAX_CPU && counts(processor)).then(|| idle.fold(0, u64::saturating_add))
    };
    let told = String::from_utf8_lossy(told);
    // The first line is the sum of all.
    let all = told.lines().skip(1).take_while(|line| line.starts_with("cpu")).filter_map(ticks);
    // Where all of them say 0 (sandboxes make the file up), nothing is told.
    let ticks = all.reduce(u64::saturating_add).filter(|&ticks| ticks > 0)?;
    Some(Duration::from_millis(ticks.saturating_mul(TICK.as_millis() as u64)))
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
    fn only_processors_that_we_may_run_on_are_idle_for_us() {
        let told = b"cpu  90 0 30 1000 8 0 0 0 0 0\ncpu0 40 0 10 100 3 0 0 0 0 0\ncpu1 30 0 10 200 0 9\n\
            cpu12 20 0 10 700 5 0\nintr 9 8 7\ncpu0 0 0 0 5000 0\n";
        let idle = |counts: fn(usize) -> bool| idle_in(told, counts);
        assert_eq!(idle(|_| true), Some(Duration::from_millis(10_080)));
        assert_eq!(idle(|processor| processor != 12), Some(Duration::from_millis(3030)));
        assert_eq!(idle(|_| false), None);
        assert_eq!(idle_in(b"", |_| true), None);
        // Years of many processors; and a file that is made up.
        let years = idle_in(b"cpu 0\ncpu0 0 0 0 5000000000 0\ncpu1 0 0 0 5000000000 0\n", |_| true);
        assert_eq!(years, Some(Duration::from_millis(100_000_000_000)));
        assert_eq!(idle_in(b"cpu 0 0 0 0 0\ncpu0 0 0 0 0 0\n", |_| true), None);
        assert!(idle_time().is_none_or(|idle| idle > Duration::ZERO));
    }

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
