//! Whether threads are stopped while they are read, and what becomes of it where the kernel does not let us.

use std::time::Duration;

use crate::sample::{Remark, Tid};
use crate::target::pause::{Pauser, Refusal};

/// Whether threads are stopped while they are read.
#[derive(Debug)]
pub struct Pausing {
    pauser: Option<Pauser>,
    /// A thread that would not stop, for this moment.
    given_up: Option<Tid>,
    remark: Option<Remark>,
}

impl Pausing {
    /// Nobody is ever stopped.
    pub fn never() -> Pausing {
        Pausing { pauser: None, given_up: None, remark: None }
    }

    /// Threads of a process are stopped for a moment each.
    pub fn of(pid: u32) -> Pausing {
        Pausing { pauser: Some(Pauser::new(pid)), given_up: None, remark: None }
    }

    /// Whether nobody is stopped.
    pub fn is_never(&self) -> bool {
        self.pauser.is_none()
    }

    /// Whether a thread is stopped by us.
    pub fn is_paused(&self, tid: Tid) -> bool {
        self.pauser.as_ref().is_some_and(|pauser| pauser.is_paused(tid))
    }

    /// Whether a thread would not stop, so that there is no use in asking again.
    pub fn has_given_up(&self, tid: Tid) -> bool {
        self.given_up == Some(tid)
    }

    /// Stops a thread; true if it is stopped. Where the kernel forbids it, nobody is stopped from now on.
    pub fn pause(&mut self, tid: Tid) -> bool {
        let Some(pauser) = &mut self.pauser else { return false };
        match pauser.pause(tid) {
            Ok(()) => true,
            Err(Refusal::Gone) => false,
            Err(Refusal::WillNotStop) => {
                self.given_up = Some(tid);
                false
            }
            Err(Refusal::Forbidden) => {
                pauser.resume();
                self.pauser = None;
                self.remark = Some(Remark::CannotPause);
                false
            }
        }
    }

    /// Lets everybody go. Returns for how long somebody was stopped.
    pub fn resume(&mut self) -> Option<Duration> {
        self.given_up = None;
        let pauser = self.pauser.as_mut()?;
        pauser.tend();
        pauser.resume()
    }

    /// Waits for threads that have not stopped when they should, and lets them go as they do.
    pub fn settle(&mut self) {
        if let Some(pauser) = &mut self.pauser {
            pauser.settle();
        }
    }

    /// What the user should know, once.
    pub fn take_remark(&mut self) -> Option<Remark> {
        self.remark.take()
    }

    /// Whether the calling thread has to end for a thread of the target to go on; see [`Pauser::must_leave`].
    pub fn must_leave(&self) -> bool {
        self.pauser.as_ref().is_some_and(Pauser::must_leave)
    }

    /// To be called by the thread that goes on.
    pub fn arrive(&mut self) {
        if let Some(pauser) = &mut self.pauser {
            pauser.arrive();
        }
    }
}

/// How much of its time the target may be stopped: a bucket that stops fill and time drains.
#[derive(Debug)]
pub struct Budget {
    share: f64,
    /// Stopped time that has not drained yet, at the time of the last stop.
    level: Duration,
    last: Duration,
}

/// What the bucket holds: so much may be stopped at once without a rest.
const BUCKET: Duration = Duration::from_millis(10);

impl Budget {
    /// Up to `share` of the time, above 0 and up to 1.
    pub fn new(share: f64) -> Budget {
        Budget { share, level: Duration::ZERO, last: Duration::ZERO }
    }

    /// Counts a stop that ended now, so long after the start. Returns until when to rest.
    pub fn spend(&mut self, now: Duration, stopped: Duration) -> Duration {
        let drained = now.saturating_sub(self.last).mul_f64(self.share);
        self.level = self.level.saturating_sub(drained) + stopped;
        self.last = now;
        now + self.level.saturating_sub(BUCKET).div_f64(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn short_stops_need_no_rest() {
        let mut budget = Budget::new(0.05);
        for n in 1..10_000 {
            let now = MILLISECOND * n;
            assert_eq!(budget.spend(now, MILLISECOND / 25), now);
        }
    }

    #[test]
    fn long_stops_are_held_to_the_share() {
        let mut budget = Budget::new(0.05);
        let (mut now, mut stopped) = (Duration::ZERO, Duration::ZERO);
        while now < Duration::from_secs(10) {
            now += 2 * MILLISECOND;
            stopped += 2 * MILLISECOND;
            now = budget.spend(now, 2 * MILLISECOND);
        }
        let share = stopped.as_secs_f64() / now.as_secs_f64();
        assert!((0.04..=0.052).contains(&share), "{share}");
    }
}
