//! What a process has used of processors, and for how long it has run, as the kernel accounts for it.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

use super::proc::Stat;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its threads, those that have ended included; counted in ticks of 10 ms, usually.
    pub cpu: Duration,
    /// Since it began.
    pub uptime: Duration,
}

impl Usage {
    /// Reads it; `None` for a process that has ended.
    pub fn read(pid: u32) -> Option<Usage> {
        let stat = Stat::read(pid).ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        of(&stat, &uptime, clock_ticks_per_second())
    }
}

fn of(stat: &Stat, uptime: &str, ticks_per_second: u64) -> Option<Usage> {
    let seconds = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64);
    let since_boot: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let since_boot = Duration::try_from_secs_f64(since_boot).ok()?;
    Some(Usage { cpu: seconds(stat.ticks), uptime: since_boot.saturating_sub(seconds(stat.started)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_counted_in_ticks() {
        let stat = Stat { ticks: 175, started: 2000, ..Stat::read(std::process::id()).unwrap() };
        let usage = of(&stat, "100.50 3.2\n", 100).unwrap();
        assert_eq!((usage.cpu, usage.uptime), (Duration::from_millis(1750), Duration::from_millis(80_500)));
        assert_eq!(of(&stat, "", 100), None);
    }

    #[test]
    fn our_own_usage_can_be_read() {
        assert!(Usage::read(std::process::id()).is_some());
        assert_eq!(Usage::read(u32::MAX), None);
    }
}
