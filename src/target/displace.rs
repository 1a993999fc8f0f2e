//! Keeps a thread from running by taking its processor, so that it need not be stopped.
//!
//! Where all processors are busy most threads that are ready to run have none. To stop such a thread takes until it has
//! its next turn, and costs it that turn. But whoever runs on a processor himself knows that no other thread does: a
//! thread that the kernel has there is not running. If it is there again after it was read, and its account is the same, it
//! has not run in between: each turn adds to the account when it ends. It need not be told anything.
//!
//! The thread of ours that displaces another is bound to the processor meanwhile, and urgent. Where it may not be, it
//! waits there for its turn like others: it stays, so that it is there the next time, and rather than wait long each time
//! it leaves the thread alone.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::urgency::Urgency;
use super::{SchedStat, Target};
use crate::sample::Tid;

/// Displaces one thread at a time. To be used by one thread of ours.
#[derive(Debug, Default)]
pub struct Displacer {
    /// Where we may run when nobody is displaced, once that is known.
    usual: Option<CpuSet>,
    urgency: Urgency,
    seat: Option<Seat>,
    /// How often it is not worth the wait for a turn.
    reluctant: u32,
}

/// A wait for a turn that is too long for a sample, and how often it is spared then.
const LONG: Duration = Duration::from_millis(1);
const SPARED: u32 = 16;

/// How a thread was found that was displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displaced {
    /// It was ready to run and had no processor.
    Queued,
    /// It ran until we came, or may have.
    Running,
}

/// The place of a thread, taken.
#[derive(Clone, Copy, Debug)]
struct Seat {
    tid: Tid,
    processor: usize,
    /// Of the thread, as it was when the processor was ours; `None` if the thread has ended.
    account: Option<SchedStat>,
    found: Displaced,
    since: Instant,
    /// The processor to go to afterwards.
    home: usize,
}

impl Displacer {
    /// Takes the processor that a thread was seen on, or ready for, until [`Displacer::leave`]. `None` if the thread may
    /// run all the same.
    pub fn displace(&mut self, target: &Target, tid: Tid, processor: usize) -> Option<Displaced> {
        if self.usual.is_none() {
            self.usual = sched_getaffinity(None).ok();
        }
        // Whoever keeps us, or everybody, from a processor has a reason.
        self.usual.filter(|usual| processor < CpuSet::MAX_CPU && usual.is_set(processor))?;
        let (came, home) = (Instant::now(), sched_getcpu());
        self.urgency.begin();
        let is_urgent = self.urgency == Urgency::Urgent;
        if !is_urgent && home != processor && self.reluctant > 0 {
            self.reluctant -= 1;
            return None;
        }
        let before = target.sched_stat(tid);
        // In this order: what the thread ran before it was off is in its account, or will be added to it.
        let is_bound = bind_to(processor);
        let arrived = Instant::now();
        let account = target.sched_stat(tid);
        if arrived - came > LONG {
            self.reluctant = SPARED;
        }
        let seat = Seat {
            tid,
            processor,
            found: if account == before { Displaced::Queued } else { Displaced::Running },
            account,
            // Who waited for a turn like others has displaced nobody before.
            since: if is_urgent { came } else { arrived },
            home: if is_urgent { home } else { processor },
        };
        self.seat = Some(seat);
        if !is_bound || !seat.is_ours(target) {
            self.leave();
            return None;
        }
        Some(seat.found)
    }

    /// Whether a thread was displaced and has not run since.
    pub fn has_displaced(&self, target: &Target, tid: Tid) -> bool {
        self.seat.is_some_and(|seat| {
            seat.tid == tid && seat.is_ours(target) && seat.account.is_some() && target.sched_stat(tid) == seat.account
        })
    }

    /// Leaves the processor. Returns for how long it was kept from a thread that ran, if it was.
    pub fn leave(&mut self) -> Option<Duration> {
        let seat = self.seat.take()?;
        // Where it came in a hurry, a thread that is in none any more waits until all others there have had their turns.
        if sched_getcpu() != seat.home {
            bind_to(seat.home);
        }
        let displaced = seat.since.elapsed();
        self.urgency.end();
        if let Some(usual) = &self.usual {
            // It fails if none of these can be used any more: then we stay.
            let _ = sched_setaffinity(None, usual);
        }
        (seat.found == Displaced::Running).then_some(displaced)
    }
}

impl Seat {
    /// Whether the thread's processor is the one that we are on: then it does not run.
    fn is_ours(&self, target: &Target) -> bool {
        target.runs_on(self.tid) == Some(self.processor) && sched_getcpu() == self.processor
    }
}

/// Binds the calling thread to a processor, on which it is when this returns, if it may be.
fn bind_to(processor: usize) -> bool {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process that computes on one processor until this is dropped.
    struct Busy(Child);

    impl Busy {
        fn on(processor: usize) -> Busy {
            let busy = Busy(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
            let mut only = CpuSet::new();
            only.set(processor);
            sched_setaffinity(Some(rustix::process::Pid::from_child(&busy.0)), &only).unwrap();
            busy
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn who_is_displaced_does_not_run_until_we_leave_or_sleep() {
        let usual = sched_getaffinity(None).unwrap();
        let processor = (0..CpuSet::MAX_CPU).find(|&processor| usual.is_set(processor)).unwrap();
        let busy = Busy::on(processor);
        let target = Target::attach(busy.0.id()).unwrap();
        let tid = Tid(busy.0.id());
        let account = || target.sched_stat(tid).unwrap();
        while target.runs_on(tid) != Some(processor) {
            std::thread::yield_now();
        }

        let mut displacer = Displacer::default();
        let displaced = displacer.displace(&target, tid, processor);
        if displacer.urgency == Urgency::Refused {
            return;
        }
        assert!(displaced.is_some());
        let (begun, before) = (Instant::now(), account());
        while begun.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert_eq!(account(), before);
        assert!(displacer.has_displaced(&target, tid));
        assert!(!displacer.has_displaced(&target, Tid(std::process::id())));

        while account() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!displacer.has_displaced(&target, tid));

        displacer.leave();
        assert_eq!(sched_getaffinity(None).unwrap(), usual);
        assert!(!displacer.has_displaced(&target, tid));
        assert_eq!(displacer.leave(), None);
    }

    #[test]
    fn nobody_is_followed_to_where_we_are_not_to_run() {
        let target = Target::attach(std::process::id()).unwrap();
        let mut displacer = Displacer::default();
        assert_eq!(displacer.displace(&target, Tid(std::process::id()), CpuSet::MAX_CPU), None);
        assert_eq!(displacer.displace(&target, Tid(std::process::id()), CpuSet::MAX_CPU - 1), None);
    }
}
