//! CPU limits: how much processor time a group may use, and how often that was too little.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Groups, Mounts, Version};

/// How many processors' time a process may use, by the narrowest of the groups around it; `None` for no limit.
pub fn cpu_limit(groups: &Groups, mounts: &Mounts) -> Option<f64> {
    let place = groups.path("cpu")?;
    let limits = mounts.folders("cpu", place).into_iter().filter_map(|folder| Quota::of(&folder, place.0));
    limits.map(Quota::processors).reduce(f64::min)
}

/// So much processor time a group may use in each period, both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    used: u64,
    period: u64,
}

impl Quota {
    /// That of a group, if it has one.
    fn of(folder: &Path, version: Version) -> Option<Quota> {
        let read = |name| fs::read_to_string(folder.join(name)).ok();
        let text = match version {
            Version::One => format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
            Version::Two => read("cpu.max")?,
        };
        // Without a limit the first is `max`, or -1.
        let mut micros =
            text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok().filter(|&micros| micros > 0));
        Some(Quota { used: micros.next()??, period: micros.next()?? })
    }

    fn processors(self) -> f64 {
        self.used as f64 / self.period as f64
    }
}

/// How often a limit has throttled a group: kept some of it or all from running, as its processor time was used up.
///
/// `nr_periods` and `nr_throttled` of its `cpu.stat`, see the kernel's `Documentation/scheduler/sched-bwc.rst`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throttling {
    /// How many processors' time the group may use.
    pub processors: f64,
    /// For which that is counted.
    #[serde(rename = "period_seconds", serialize_with = "seconds")]
    pub period: Duration,
    /// Periods in which somebody of the group ran, or was ready to.
    pub periods: u64,
    /// Those of them in which it was throttled.
    pub throttled: u64,
}

impl Throttling {
    fn of(folder: &Path, version: Version) -> Option<Throttling> {
        let quota = Quota::of(folder, version)?;
        let told = fs::read_to_string(folder.join("cpu.stat")).ok()?;
        let count = |name: &str| {
            let mut words = told.lines().map(str::split_ascii_whitespace);
            words.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse::<u64>().ok())?)
        };
        let (periods, throttled) = (count("nr_periods")?, count("nr_throttled")?);
        Some(Throttling {
            processors: quota.processors(),
            period: Duration::from_micros(quota.period),
            periods,
            throttled,
        })
    }

    /// In how many of the periods it was throttled, up to 1.
    pub fn share(&self) -> f64 {
        self.throttled as f64 / self.periods.max(1) as f64
    }
}

/// In a few words: `in 28 of 30 periods of 100 ms, by a CPU limit of 0.2 processors`.
impl Display for Throttling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Throttling { processors, period, periods, throttled } = self;
        let (millis, processors) = (to_thousandths(period.as_secs_f64() * 1000.0), to_thousandths(*processors));
        write!(f, "in {throttled} of {periods} periods of {millis} ms, by a CPU limit of {processors} processors")
    }
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn to_thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The groups around a process that may limit its processor time, the innermost first.
#[derive(Clone, Debug)]
pub struct Limits {
    version: Version,
    folders: Vec<PathBuf>,
}

impl Limits {
    /// Those of a process; `None` where they are not to be seen from here.
    pub fn around(pid: u32) -> Option<Limits> {
        Limits::of(&Groups::of(&pid.to_string()), &Mounts::ours())
    }

    fn of(groups: &Groups, mounts: &Mounts) -> Option<Limits> {
        let place = groups.path("cpu")?;
        let folders = if mounts.show("cpu", place) { mounts.folders("cpu", place) } else { Vec::new() };
        folders.first().is_some_and(|folder| folder.is_dir()).then_some(Limits { version: place.0, folders })
    }

    /// What each that has a limit has counted since it was made; of those that have none, or are gone, `None`.
    pub fn count(&self) -> Vec<Option<Throttling>> {
        self.folders.iter().map(|folder| Throttling::of(folder, self.version)).collect()
    }
}

/// By which limit a process was throttled most between two counts; `None` if by none.
pub fn throttled(before: &[Option<Throttling>], after: &[Option<Throttling>]) -> Option<Throttling> {
    let between = before.iter().zip(after).filter_map(|(before, after)| {
        let (before, after) = ((*before)?, (*after)?);
        let periods = after.periods.checked_sub(before.periods)?;
        Some(Throttling { periods, throttled: after.throttled.checked_sub(before.throttled)?, ..after })
    });
    between.filter(|one| one.throttled > 0).max_by(|one, other| one.share().total_cmp(&other.share()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BOTH, machine};
    use super::*;

    #[test]
    fn the_narrowest_limit_counts() {
        let folder = machine(&[
            ("sys/fs/cgroup/unified/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/unified/pod/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/unified/pod/app/cpu.max", "max 100000\n"),
        ]);
        let mounts = Mounts::parse(BOTH.as_bytes(), folder.path());
        let limit = |cgroup: &str| cpu_limit(&Groups::parse(cgroup.as_bytes()), &mounts);
        assert_eq!(limit("0::/pod/app"), Some(0.5));
        assert_eq!(limit("0::/"), None);
        assert_eq!(limit("0::/nowhere"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn limits_of_version_one_count_too() {
        let folder = machine(&[
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "20000\n"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n"),
        ]);
        let mounts = Mounts::parse(BOTH.as_bytes(), folder.path());
        let limit = |cgroup: &str| cpu_limit(&Groups::parse(cgroup.as_bytes()), &mounts);
        assert_eq!(limit("4:cpu,cpuacct:/docker/x\n0::/"), Some(0.2));
        assert_eq!(limit("4:cpu,cpuacct:/\n0::/"), None);
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_hierarchy_is_followed() {
        let folder = machine(&[("sys/fs/cgroup/cpu.max", "30000 100000\n")]);
        let line = "30 24 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let mounts = Mounts::parse(line.as_bytes(), folder.path());
        assert_eq!(cpu_limit(&Groups::parse(b"0::/docker/x"), &mounts), Some(0.3));
        assert_eq!(cpu_limit(&Groups::parse(b"0::/../other"), &mounts), Some(0.3));
    }

    const STAT: &str = "nr_periods 30\nnr_throttled 28\nthrottled_time 2262154283\n";

    #[test]
    fn throttling_is_told_by_the_group_that_has_a_limit() {
        let folder = machine(&[
            ("sys/fs/cgroup/unified/cpu.stat", "usage_usec 9\n"),
            ("sys/fs/cgroup/unified/pod/cpu.max", "150000 50000\n"),
            ("sys/fs/cgroup/unified/pod/cpu.stat", "usage_usec 1\nnr_periods 7\nnr_throttled 0\nthrottled_usec 0\n"),
            ("sys/fs/cgroup/unified/pod/app/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/unified/pod/app/cpu.stat", STAT),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "20000\n"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/docker/x/cpu.stat", STAT),
        ]);
        let mounts = Mounts::parse(BOTH.as_bytes(), folder.path());
        let count = |cgroup: &str| Limits::of(&Groups::parse(cgroup.as_bytes()), &mounts).map(|limits| limits.count());
        let pod = Throttling { processors: 3.0, period: Duration::from_millis(50), periods: 7, throttled: 0 };
        assert_eq!(count("0::/pod/app"), Some(vec![None, Some(pod), None]));
        let x = Throttling { processors: 0.2, period: Duration::from_millis(100), periods: 30, throttled: 28 };
        assert_eq!(count("4:cpu,cpuacct:/docker/x\n0::/"), Some(vec![Some(x), None, None]));
        assert_eq!(x.to_string(), "in 28 of 30 periods of 100 ms, by a CPU limit of 0.2 processors");
        assert_eq!(count("0::/gone"), None);
        assert_eq!(count(""), None);
    }

    #[test]
    fn the_limit_of_a_group_that_is_not_mounted_here_is_not_taken_to_be_ours() {
        let folder = machine(&[("sys/fs/cgroup/cpu.max", "30000 100000\n"), ("sys/fs/cgroup/cpu.stat", STAT)]);
        let seen = |root: &str, cgroup: &str| {
            let line = format!("30 24 0:26 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
            let mounts = Mounts::parse(line.as_bytes(), folder.path());
            let limits = Limits::of(&Groups::parse(cgroup.as_bytes()), &mounts);
            limits.is_some_and(|limits| limits.count().iter().any(Option::is_some))
        };
        assert!(seen("/", "0::/") && seen("/docker/x", "0::/docker/x"));
        for cgroup in ["0::/docker/other", "0::/docker/xy", "0::/", "0::/docker/x/../other"] {
            assert!(!seen("/docker/x", cgroup), "{cgroup}");
        }
        assert!(!seen("/", "0::/../other"));
    }

    #[test]
    fn the_limit_that_throttled_most_is_told_of_the_time_between() {
        let period = Duration::from_millis(100);
        let counted = |processors, periods, throttled| Some(Throttling { processors, period, periods, throttled });
        let before = [None, counted(2.0, 100, 50), counted(0.5, 10, 10), counted(3.0, 5, 5), counted(4.0, 9, 9)];
        let after = [counted(1.0, 8, 2), counted(2.0, 200, 50), counted(0.5, 20, 19), None, counted(4.0, 4, 4)];
        assert_eq!(throttled(&before, &after), counted(0.5, 10, 9));
        assert_eq!(throttled(&before[..2], &after[..2]), None);
        assert_eq!(throttled(&before, &before), None);
        assert_eq!(throttled(&[], &after), None);
    }
}
