//! What a process has used of processors, and for how long it has run, as the kernel accounts for it.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

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
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        parse(&stat, &uptime, clock_ticks_per_second())
    }
}

fn parse(stat: &[u8], uptime: &str, ticks_per_second: u64) -> Option<Usage> {
    // The name before the last bracket may hold anything.
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    // As `man proc_pid_stat` counts them: the state, which comes first here, is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64);
    let (user, system, began) = (field(14)?, field(15)?, field(22)?);
    let since_boot: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let since_boot = Duration::try_from_secs_f64(since_boot).ok()?;
    Some(Usage { cpu: seconds(user.checked_add(system)?), uptime: since_boot.saturating_sub(seconds(began)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_the_fields_of_stat() {
        let stat = b"12 (a) R 1 2) S 1 2 3 4 5 6 7 8 9 10 150 25 13 14 15 16 17 18 2000 20";
        let usage = parse(stat, "100.50 3.2\n", 100).unwrap();
        assert_eq!((usage.cpu, usage.uptime), (Duration::from_millis(1750), Duration::from_millis(80_500)));
        assert_eq!(parse(b"12 (a) S 1", "1.0 1.0", 100), None);
    }

    #[test]
    fn our_own_usage_can_be_read() {
        assert!(Usage::read(std::process::id()).is_some());
        assert_eq!(Usage::read(u32::MAX), None);
    }
}
