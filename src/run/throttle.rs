//! Whether a CPU limit throttles a process, looked at now and then.

use std::collections::VecDeque;

use pysample::target::cgroup::{Limits, Throttling, throttled};

/// So many looks are the last ones.
const LAST: usize = 6;

/// What the control groups around a process have counted of how often they throttle it.
#[derive(Debug)]
pub struct Throttle {
    /// `None` where they are not to be seen.
    limits: Option<Limits>,
    /// Of each group the first count, and the last: a limit may be set later, and a group be gone with its process.
    first: Vec<Option<Throttling>>,
    last: Vec<Option<Throttling>>,
    /// At the last looks.
    looks: VecDeque<Vec<Option<Throttling>>>,
}

impl Throttle {
    /// Begins to look at those of a process.
    pub fn of(pid: u32) -> Throttle {
        let limits = Limits::around(pid);
        let counts = limits.as_ref().map(Limits::count).unwrap_or_default();
        Throttle { limits, first: counts.clone(), last: counts.clone(), looks: [counts].into() }
    }

    /// Looks what they have counted by now.
    pub fn look(&mut self) {
        let Some(limits) = &self.limits else { return };
        let counts = limits.count();
        for ((count, first), last) in counts.iter().zip(&mut self.first).zip(&mut self.last) {
            *first = first.or(*count);
            *last = count.or(*last);
        }
        self.looks.push_back(counts);
        while self.looks.len() > LAST {
            self.looks.pop_front();
        }
    }

    /// By which limit it was throttled most since we began to look; `None` if by none, or if that cannot be seen.
    pub fn altogether(&self) -> Option<Throttling> {
        throttled(&self.first, &self.last)
    }

    /// The same of the last looks.
    pub fn lately(&self) -> Option<Throttling> {
        throttled(self.looks.front()?, self.looks.back()?)
    }
}
