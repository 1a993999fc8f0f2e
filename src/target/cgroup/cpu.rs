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

    /// The limit in processors, with as many digits as it is set with.
    pub fn limit(&self) -> f64 {
        to_thousandths(self.processors)
    }

    fn has_limit_of(&self, other: &Throttling) -> bool {
        self.processors == other.processors && self.period == other.period
    }

    fn time(&self) -> f64 {
        self.throttled as f64 * self.period.as_secs_f64()
    }
}

/// In a few words: `in 28 of 30 periods of 100 ms, by a CPU limit of 0.2 processors`.
impl Display for Throttling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Throttling { period, periods, throttled, .. } = self;
        let (millis, processors) = (to_thousandths(period.as_secs_f64() * 1000.0), self.limit());
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
    pub fn around(pid: u32, mounts: &Mounts) -> Option<Limits> {
        Limits::of(&Groups::of(&pid.to_string()), mounts)
    }

    fn of(groups: &Groups, mounts: &Mounts) -> Option<Limits> {
        let place = groups.path("cpu")?;
        let folders = if mounts.show("cpu", place) { mounts.folders("cpu", place) } else { Vec::new() };
        folders.first().is_some_and(|folder| folder.is_dir()).then_some(Limits { version: place.0, folders })
    }

    /// What each that has a limit has counted since it was made.
    pub fn count(&self) -> Counts {
        let of = |folder: &PathBuf| Some((folder.clone(), Throttling::of(folder, self.version)?));
        Counts(self.folders.iter().filter_map(of).collect())
    }

    /// Whether a folder is that of the process's own group.
    pub fn is_own(&self, folder: &Path) -> bool {
        self.folders.first().is_some_and(|own| own == folder)
    }
}

/// What groups have counted, each by its folder and its limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts(pub Vec<(PathBuf, Throttling)>);

impl Counts {
    fn position(&self, folder: &Path, of: &Throttling) -> Option<usize> {
        self.0.iter().position(|(known, with)| known == folder && with.has_limit_of(of))
    }

    /// What has been counted since, as far as the same group had the same limit before.
    pub fn since(&self, before: &Counts) -> Counts {
        let since = |(folder, now): &(PathBuf, Throttling)| {
            let (_, before) = &before.0[before.position(folder, now)?];
            // A group that was made anew begins anew.
            let periods = now.periods.checked_sub(before.periods)?;
            let throttled = now.throttled.checked_sub(before.throttled)?;
            Some((folder.clone(), Throttling { periods, throttled, ..*now }))
        };
        Counts(self.0.iter().filter_map(since).collect())
    }

    /// Adds what was counted in another time.
    pub fn add(&mut self, other: &Counts) {
        for (folder, more) in &other.0 {
            match self.position(folder, more) {
                Some(index) => {
                    let (_, sum) = &mut self.0[index];
                    sum.periods = sum.periods.saturating_add(more.periods);
                    sum.throttled = sum.throttled.saturating_add(more.throttled);
                }
                None => self.0.push((folder.clone(), *more)),
            }
        }
    }

    /// Of the limit that throttled for longest; `None` if none did.
    pub fn most(&self) -> Option<Throttling> {
        // The kernel counts a period and what became of it one after the other.
        let whole = |of: &Throttling| Throttling { throttled: of.throttled.min(of.periods), ..*of };
        let throttled = self.0.iter().map(|(_, of)| whole(of)).filter(|of| of.throttled > 0);
        throttled.max_by(|one, other| one.time().total_cmp(&other.time()))
    }
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
        let count = |cgroup: &str| {
            let counts = Limits::of(&Groups::parse(cgroup.as_bytes()), &mounts)?.count();
            let name = |(path, of): (PathBuf, Throttling)| (path.file_name().unwrap().to_str().unwrap().to_owned(), of);
            Some(counts.0.into_iter().map(name).collect::<Vec<_>>())
        };
        let pod = Throttling { processors: 3.0, period: Duration::from_millis(50), periods: 7, throttled: 0 };
        assert_eq!(count("0::/pod/app"), Some(vec![("pod".into(), pod)]));
        let x = Throttling { processors: 0.2, period: Duration::from_millis(100), periods: 30, throttled: 28 };
        assert_eq!(count("4:cpu,cpuacct:/docker/x\n0::/"), Some(vec![("x".into(), x)]));
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
            limits.is_some_and(|limits| !limits.count().0.is_empty())
        };
        assert!(seen("/", "0::/") && seen("/docker/x", "0::/docker/x"));
        for cgroup in ["0::/docker/other", "0::/docker/xy", "0::/", "0::/docker/x/../other"] {
            assert!(!seen("/docker/x", cgroup), "{cgroup}");
        }
        assert!(!seen("/", "0::/../other"));
    }

    #[test]
    fn a_mount_that_another_one_covers_does_not_count() {
        let folder = machine(&[("sys/fs/cgroup/cpu.max", "30000 100000\n")]);
        let line = |root: &str| format!("30 24 0:26 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        let mounts = Mounts::parse((line("/docker/x") + &line("/docker/y")).as_bytes(), folder.path());
        let is_seen = |cgroup: &str| Limits::of(&Groups::parse(cgroup.as_bytes()), &mounts).is_some();
        assert!(is_seen("0::/docker/y") && !is_seen("0::/docker/x"));
        let other = "31 24 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
        let mounts = Mounts::parse((line("/") + other).as_bytes(), folder.path());
        assert_eq!(cpu_limit(&Groups::parse(b"0::/"), &mounts), None);
    }

    fn counts(of: &[(&str, f64, u64, u64)]) -> Counts {
        let one = |&(folder, processors, periods, throttled): &(&str, f64, u64, u64)| {
            (folder.into(), Throttling { processors, period: Duration::from_millis(100), periods, throttled })
        };
        Counts(of.iter().map(one).collect())
    }

    #[test]
    fn what_is_new_is_of_groups_and_limits_that_were_there_before() {
        let before =
            counts(&[("same", 0.5, 10, 10), ("changed", 0.5, 10, 10), ("left", 0.5, 1, 1), ("remade", 0.5, 9, 9)]);
        let after =
            counts(&[("same", 0.5, 20, 19), ("changed", 2.0, 30, 30), ("joined", 0.5, 8, 8), ("remade", 0.5, 4, 4)]);
        assert_eq!(after.since(&before), counts(&[("same", 0.5, 10, 9)]));
    }

    #[test]
    fn the_limit_that_throttled_for_longest_is_told() {
        let mut sum = counts(&[]);
        assert_eq!(sum.most(), None);
        sum.add(&counts(&[("a", 0.2, 20, 20), ("b", 3.0, 20, 0)]));
        sum.add(&counts(&[("a", 2.0, 20, 0), ("b", 3.0, 20, 19)]));
        sum.add(&counts(&[("a", 0.2, 5, 1)]));
        assert_eq!(sum, counts(&[("a", 0.2, 25, 21), ("b", 3.0, 40, 19), ("a", 2.0, 20, 0)]));
        assert_eq!(sum.most().unwrap().to_string(), "in 21 of 25 periods of 100 ms, by a CPU limit of 0.2 processors");
        let short = Throttling { processors: 0.05, period: Duration::from_millis(10), periods: 90, throttled: 90 };
        sum.add(&Counts(vec![("c".into(), short)]));
        assert_eq!(sum.most().unwrap().limit(), 0.2, "9 tenths of a second are less than 21");
        assert_eq!(counts(&[("a", 0.2, 5, 6)]).most().unwrap().throttled, 5);
        assert_eq!(counts(&[("a", 0.2, 5, 0), ("b", 0.2, 0, 1)]).most(), None);
    }
}
