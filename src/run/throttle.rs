//! Whether CPU limits throttle a process, looked at now and then.

use std::collections::VecDeque;

use pysample::target::cgroup::{Counts, Limits, Mounts, Throttling};

/// So many times between two looks are the last ones.
const LAST: usize = 5;

/// What the control groups around a process count of how often they are throttled, as long as it is in them.
#[derive(Debug)]
pub struct Throttle {
    pid: u32,
    mounts: Mounts,
    /// `None` where they are not to be seen.
    limits: Option<Limits>,
    /// At the last look.
    counts: Counts,
    /// What was counted between two looks: of all, and of each of the last.
    sum: Counts,
    last: VecDeque<Counts>,
}

impl Throttle {
    /// Begins to look at those of a process.
    pub fn of(pid: u32) -> Throttle {
        let (counts, sum, last) = (Counts::default(), Counts::default(), VecDeque::new());
        let mut throttle = Throttle { pid, mounts: Mounts::ours(), limits: None, counts, sum, last };
        throttle.counts = throttle.count();
        throttle
    }

    /// It may be in others than before; once it has ended, those that it was in last count.
    fn count(&mut self) -> Counts {
        self.limits = Limits::around(self.pid, &self.mounts).or(self.limits.take());
        self.limits.as_ref().map(Limits::count).unwrap_or_default()
    }

    /// Looks what they have counted by now.
    pub fn look(&mut self) {
        let counts = self.count();
        let new = counts.since(&self.counts);
        self.counts = counts;
        self.sum.add(&new);
        self.last.push_back(new);
        while self.last.len() > LAST {
            self.last.pop_front();
        }
    }

    /// The limit that throttled for longest since we began to look; `None` if none did, or if that cannot be seen.
    pub fn altogether(&self) -> Option<Throttling> {
        self.sum.most()
    }

    /// The same of the last looks.
    pub fn lately(&self) -> Option<Throttling> {
        let mut sum = Counts::default();
        self.last.iter().for_each(|new| sum.add(new));
        sum.most()
    }
}
