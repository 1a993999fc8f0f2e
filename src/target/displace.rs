//! Keeps a thread from running by taking its processor, so that it need not be stopped.
//!
//! Where all processors are busy most threads that are ready to run have none. To stop such a thread takes until it has
//! its next turn, and costs it that turn. But whoever runs on a processor himself knows that no other thread does: a
//! thread that the kernel has there is not running. If it is there again after it was read, and its account is the same, it
//! has not run in between: each turn adds to the account when it ends. It need not be told anything.
//!
//! The thread of ours that displaces another is bound to the processor meanwhile, and urgent. Where it may not be, it
//! waits there for its turn like others: it stays, so that it is there the next time, and rather than wait long each time
//! it leaves the thread alone. Where somebody more urgent has the processor it does not wait either, see `rescue`.

mod rescue;

use std::time::{Duration, Instant};

use rustix::thread::sched_getcpu;

use super::urgency::Urgency;
use super::{SchedStat, Target, machine};
use crate::sample::Tid;
use rescue::Bound;

/// Displaces one thread at a time. To be used by one thread of ours.
#[derive(Debug, Default)]
pub struct Displacer {
    urgency: Urgency,
    seat: Option<Seat>,
    /// The account of the thread that was displaced last, as it was then.
    last: Option<(Tid, SchedStat)>,
    /// How often it is not worth the wait for a turn.
    reluctant: u32,
    /// Until when nobody is displaced: somebody more urgent than we had the processor, or the machine under us did without it.
    rests_until: Option<Instant>,
    /// How many of the last waits were that long.
    failed: u32,
    /// Whether nobody is displaced any more: nobody could help who is kept from his processor.
    is_over: bool,
}

/// A wait for a turn that is too long for a sample, and how often it is spared then.
const LONG: Duration = Duration::from_millis(1);
const SPARED: u32 = 16;
/// After a wait that was too long for anybody so many times as long a rest, in which threads are stopped, or not read; twice
/// as long, up to so many times, after each further one without a shorter wait between them.
const REST: u32 = 10;
const MOST_DOUBLED: u32 = 6;

/// How a thread was found that was displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displaced {
    /// It was ready to run and had no processor.
    Queued,
    /// It ran until we came, or may have.
    Running,
}

/// The place of a thread, taken.
#[derive(Debug)]
struct Seat {
    tid: Tid,
    processor: usize,
    /// Of the thread, as it was when the processor was ours; `None` if the thread has ended.
    account: Option<SchedStat>,
    found: Displaced,
    since: Instant,
    /// The processor to go to afterwards.
    home: usize,
    bound: Bound,
}

impl Displacer {
    /// Takes the processor that a thread was seen on, or ready for, until [`Displacer::leave`]. `None` if the thread may
    /// run all the same.
    pub fn displace(&mut self, target: &Target, tid: Tid, processor: usize) -> Option<Displaced> {
        let home = sched_getcpu();
        let came = Instant::now();
        if self.is_over || self.rests_until.is_some_and(|until| came < until) {
            return None;
        }
        if home != processor && self.reluctant > 0 {
            self.reluctant -= 1;
            return None;
        }
        let usual = machine::usual_with(processor)?;
        let Some(bound) = Bound::begin(usual) else {
            self.is_over = true;
            return None;
        };
        self.urgency.begin();
        let is_urgent = self.urgency.is_urgent();
        let before = target.sched_stat(tid);
        // In this order: what the thread ran before it was off is in its account, or will be added to it.
        bound.to(processor);
        let arrived = Instant::now();
        let account = target.sched_stat(tid);
        let waited = arrived - came;
        match is_urgent {
            true if waited > rescue::PATIENCE => {
                self.rests_until = Some(arrived + waited * (REST << self.failed.min(MOST_DOUBLED)));
                self.failed += 1;
            }
            true => self.failed = 0,
            false if waited > LONG => self.reluctant = SPARED,
            false => {}
        }
        // If we were on its processor already, it may have run until we woke up.
        let is_as = |then| account.is_some() && account == then;
        let last = self.last.filter(|(last, _)| *last == tid).map(|(_, account)| account);
        let was_queued = is_as(last) || is_as(before) && home != processor;
        self.last = account.map(|account| (tid, account));
        let seat = Seat {
            tid,
            processor,
            account,
            found: if was_queued { Displaced::Queued } else { Displaced::Running },
            // Who waited for a turn like others has displaced nobody before.
            since: if is_urgent { came } else { arrived },
            home: if is_urgent { home } else { processor },
            bound,
        };
        let (is_ours, found) = (seat.is_ours(target), seat.found);
        self.seat = Some(seat);
        if !is_ours {
            self.leave();
        }
        is_ours.then_some(found)
    }

    /// Whether the processor of a thread is taken.
    pub fn has_seat(&self) -> bool {
        self.seat.is_some()
    }

    /// Whether a thread was displaced and has not run since.
    pub fn has_displaced(&self, target: &Target, tid: Tid) -> bool {
        self.seat.as_ref().is_some_and(|seat| {
            seat.tid == tid && seat.is_ours(target) && seat.account.is_some() && target.sched_stat(tid) == seat.account
        })
    }

    /// Leaves the processor. Returns how the thread was found, and for how long it was displaced.
    pub fn leave(&mut self) -> Option<(Displaced, Duration)> {
        let seat = self.seat.take()?;
        // Where it came in a hurry, a thread that is in none any more waits until all others there have had their turns.
        if sched_getcpu() != seat.home {
            seat.bound.to(seat.home);
        }
        let displaced = seat.since.elapsed();
        self.urgency.end();
        Some((seat.found, displaced))
    }
}

impl Seat {
    /// Whether the thread's processor is the one that we are on: then it does not run.
    fn is_ours(&self, target: &Target) -> bool {
        let is_there = target.place(self.tid).is_some_and(|place| place.processor == self.processor);
        is_there && sched_getcpu() == self.processor
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::*;

    /// A process that computes on one processor, until this is dropped at the latest.
    pub struct Busy(Child);

    impl Busy {
        pub fn on(processor: usize, before: &[&str]) -> Busy {
            let processor = processor.to_string();
            let mut command = Command::new("taskset");
            // It ends by itself after some seconds, whatever becomes of us.
            let busy = "echo ready; i=0; while [ $i -lt 5000000 ]; do i=$((i+1)); done";
            command.args(["-c", &processor]).args(before).args(["sh", "-c", busy]);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Busy(child)
        }

        pub fn id(&self) -> u32 {
            self.0.id()
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
        let busy = Busy::on(processor, &[]);
        let target = Target::attach(busy.0.id()).unwrap();
        let tid = Tid(busy.0.id());
        let account = || target.sched_stat(tid).unwrap();
        while target.place(tid).map(|place| place.processor) != Some(processor) {
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

    /// The last processor, if it is not the only one and we may be urgent.
    pub fn last_of_several() -> Option<usize> {
        let mut urgency = Urgency::default();
        urgency.begin();
        urgency.end();
        let usual = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU).rfind(|&processor| usual.is_set(processor));
        last.filter(|_| urgency != Urgency::Refused && usual.count() > 1)
    }

    #[test]
    fn whoever_is_more_urgent_is_not_waited_for_until_after_a_rest() {
        let usual = sched_getaffinity(None).unwrap();
        let Some(processor) = last_of_several() else { return };
        let busy = Busy::on(processor, &[]);
        let urgent = Busy::on(processor, &["chrt", "-f", "10"]);
        let target = Target::attach(busy.0.id()).unwrap();
        let mut displacer = Displacer::default();
        let displaced = displacer.displace(&target, Tid(busy.0.id()), processor);
        assert_eq!((displaced, displacer.is_over, displacer.rests_until.is_some()), (None, false, true));
        assert_eq!(sched_getaffinity(None).unwrap(), usual);
        assert_eq!(displacer.displace(&target, Tid(busy.0.id()), processor), None);

        drop(urgent);
        let until = displacer.rests_until.unwrap();
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        assert!(displacer.displace(&target, Tid(busy.0.id()), processor).is_some());
    }

    #[test]
    fn nobody_is_followed_to_where_we_are_not_to_run() {
        let target = Target::attach(std::process::id()).unwrap();
        let mut displacer = Displacer::default();
        assert_eq!(displacer.displace(&target, Tid(std::process::id()), CpuSet::MAX_CPU), None);
        assert_eq!(displacer.displace(&target, Tid(std::process::id()), CpuSet::MAX_CPU - 1), None);
    }
}
