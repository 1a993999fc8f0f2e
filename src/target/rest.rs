//! For how long threads have been off the processor: what the scheduler notes of each when it last ran.
//!
//! Each processor counts time by a clock of its own. So the time now is asked on the very processor on which a thread ran
//! last, by going there for a moment.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity, sched_yield};
use nix::unistd::Pid;
use rustc_hash::FxHashMap;

use super::proc::Stat;
use crate::sample::Tid;

/// For how long each of some threads of a process has been off the processor.
pub fn off_for(pid: u32, tids: &[Tid]) -> Vec<Option<Duration>> {
    let ours = Pid::from_raw(0);
    let Ok(before) = sched_getaffinity(ours) else { return vec![None; tids.len()] };
    let mut clocks: FxHashMap<usize, Option<f64>> = FxHashMap::default();
    let known = tids.iter().map(|tid| {
        let task = format!("/proc/{pid}/task/{tid}");
        let (processor, ran) = (last_processor(&task)?, last_ran(&task)?);
        let now = (*clocks.entry(processor).or_insert_with(|| clock(processor)))?;
        Duration::try_from_secs_f64((now - ran).max(0.0) / 1000.0).ok()
    });
    let known = known.collect();
    let _ = sched_setaffinity(ours, &before);
    known
}

/// The clock of a processor, in milliseconds.
fn clock(processor: usize) -> Option<f64> {
    let mut there = CpuSet::new();
    there.set(processor).ok()?;
    sched_setaffinity(Pid::from_raw(0), &there).ok()?;
    // It is as of our last turn.
    let _ = sched_yield();
    last_ran("/proc/thread-self")
}

/// When a thread was last on a processor, by that processor's clock, in milliseconds.
fn last_ran(task: &str) -> Option<f64> {
    exec_start(&fs::read(format!("{task}/sched")).ok()?)
}

/// `se.exec_start` in a `sched` file. The kernel sets it to 0 where it moves a thread to another processor: until it runs
/// there it is not known when it ran.
fn exec_start(told: &[u8]) -> Option<f64> {
    let line = told.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"se.exec_start"))?;
    let at = std::str::from_utf8(line).ok()?.rsplit(' ').next()?.parse().ok()?;
    (at > 0.0).then_some(at)
}

/// The processor on which a thread ran last: the 39th field of `stat`.
fn last_processor(task: &str) -> Option<usize> {
    let told = fs::read(format!("{task}/stat")).ok()?;
    Stat::fields(&told)?.nth(36)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_moved_and_has_not_run_there_does_not_tell_when_it_ran() {
        let told = |at: &str| format!("python (41, #threads: 2)\n----\nse.exec_start  :  {at}\nse.vruntime  :  7.5\n");
        assert_eq!(exec_start(told("58297482.240637").as_bytes()), Some(58_297_482.240_637));
        assert_eq!(exec_start(told("0.000000").as_bytes()), None);
        assert_eq!(exec_start(b"python (41, #threads: 2)\n"), None);
    }
}
