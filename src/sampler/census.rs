//! Whether none of the threads that rested has run, found out for all of them at once.
//!
//! The kernel adds up for how long the threads of a process have run. What is left of that sum without those that are
//! known to run is the same as before only if nobody else has: every turn on a processor adds to it. Where the sum
//! cannot be had, or changes while it is read, each thread is looked at.

use crate::sample::Tid;
use crate::target::Target;

/// So many threads have to rest for each of those that run and one more; with fewer, a look at each is as cheap.
const FEW: usize = 4;

/// For how long all threads have run but for some, at a time.
#[derive(Debug, Default)]
pub struct Census {
    /// Those that it leaves out, in the order of their ids.
    without: Vec<Tid>,
    /// In nanoseconds; `None` where it is not known.
    rest: Option<u64>,
    /// The round of looks that it was made for.
    round: u64,
    /// Those to be left out next.
    active: Vec<Tid>,
    resting: usize,
}

impl Census {
    /// Notes a thread as it was in the last round of looks: asleep, or not.
    pub fn note(&mut self, tid: Tid, is_asleep: bool) {
        match is_asleep {
            true => self.resting += 1,
            false => self.active.push(tid),
        }
    }

    /// Makes a census for a round of looks, before the first of them, of the threads that were noted since the last.
    ///
    /// Returns a round since which none that was seen asleep in it, or later, has run. `None` if one may have.
    pub fn take(&mut self, target: &Target, round: u64) -> Option<u64> {
        self.active.sort_unstable();
        let rest = if (self.active.len() + 1) * FEW <= self.resting { self.add_up(target) } else { None };
        let is_same = rest.is_some() && rest == self.rest && self.active == self.without;
        if !is_same {
            (self.rest, self.round) = (rest, round);
            std::mem::swap(&mut self.without, &mut self.active);
        }
        self.active.clear();
        self.resting = 0;
        is_same.then_some(self.round)
    }

    fn add_up(&self, target: &Target) -> Option<u64> {
        let all = target.processor_time()?;
        // More than all, if one of them has run on since.
        self.active.iter().try_fold(all, |rest, tid| rest.checked_sub(target.sched_stat(*tid)?.ran))
    }
}
