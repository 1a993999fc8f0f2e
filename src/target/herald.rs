//! A thread of ours that is where a thread of the target runs, at a moment that was arranged before.
//!
//! To interrupt another processor takes a while, 9 us in a virtual machine where it was measured. What is asked of the
//! thread there is heeded sooner if it comes to the end of a system call in that time, so that a thread which makes many
//! is found at the ends of these too often, and in what follows them hardly ever. A processor's own timer interrupts it at
//! once. So a herald sleeps on the processor where the thread runs. When it wakes up it keeps that thread from running
//! until what is to be asked of it has been asked: the thread heeds it before it runs on.
//!
//! Who sleeps there must be urgent, or he would wait for the thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::machine;
use super::urgency::Urgency;

/// For how long a herald stays at most, and how late it may be.
const STAYS: Duration = Duration::from_micros(100);
const LATE: Duration = Duration::from_micros(150);
/// What it takes to go to sleep.
const SOON: Duration = Duration::from_micros(50);
/// Room for its stack, in bytes.
const STACK: usize = 64 << 10;

/// A thread that may be sent. It ends when this is dropped.
#[derive(Debug)]
pub struct Herald {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// Where it was sent last.
    processor: usize,
}

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    /// What times are counted from.
    start: Instant,
    /// When it is to be there, when it came, and for how long it stayed altogether, in nanoseconds.
    due: AtomicU64,
    came: AtomicU64,
    stayed: AtomicU64,
    /// Its id, 0 until it is ready.
    tid: AtomicU32,
}

/// It has nothing to do.
const IDLE: u8 = 0;
/// It sleeps until its time comes.
const SENT: u8 = 1;
/// It is there.
const THERE: u8 = 2;
/// It ends.
const OVER: u8 = 3;

impl Herald {
    /// Starts the thread. `None` if there can be none.
    pub fn start() -> Option<Herald> {
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(IDLE),
            start: Instant::now(),
            due: AtomicU64::new(0),
            came: AtomicU64::new(0),
            stayed: AtomicU64::new(0),
            tid: AtomicU32::new(0),
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("herald".into()).stack_size(STACK).spawn(move || theirs.run());
        Some(Herald { shared, thread: thread.ok()?, processor: CpuSet::MAX_CPU })
    }

    /// Sends it to a processor, where it is to be at a time. False if it cannot be there then.
    pub fn send(&mut self, processor: usize, due: Instant) -> bool {
        self.dismiss();
        let is_late = due.saturating_duration_since(Instant::now()) < SOON;
        if is_late || !self.bind(processor) {
            return false;
        }
        self.shared.due.store(self.shared.nanos(due), Ordering::Release);
        let is_sent = self.shared.change(IDLE, SENT);
        self.thread.thread().unpark();
        is_sent
    }

    /// Binds it to a processor. False if it may not be there.
    fn bind(&mut self, processor: usize) -> bool {
        let tid = Pid::from_raw(self.shared.tid.load(Ordering::Acquire) as i32);
        let (Some(tid), Some(_)) = (tid, machine::usual_with(processor)) else { return false };
        let only = machine::only(processor);
        self.processor = processor;
        sched_getaffinity(Some(tid)) == Ok(only) || sched_setaffinity(Some(tid), &only).is_ok()
    }

    /// Waits for it, if it was sent and is not late. True if whoever ran there does not.
    pub fn wait(&self) -> bool {
        // Where we are it could only wait for us.
        if self.processor != sched_getcpu() {
            let latest = self.shared.time(&self.shared.due) + LATE;
            loop {
                match self.shared.phase() {
                    THERE => return true,
                    SENT if Instant::now() < latest => std::hint::spin_loop(),
                    _ => break,
                }
            }
        }
        self.dismiss();
        false
    }

    /// When it came; `None` if it has not.
    pub fn came(&self) -> Option<Instant> {
        let came = self.shared.time(&self.shared.came);
        (came >= self.shared.time(&self.shared.due)).then_some(came)
    }

    /// For how long it stayed since that was last asked, whoever waited there.
    pub fn take_stayed(&self) -> Duration {
        Duration::from_nanos(self.shared.stayed.swap(0, Ordering::AcqRel))
    }

    /// Lets it go, wherever it is.
    pub fn dismiss(&self) {
        self.shared.change(SENT, IDLE);
        self.shared.change(THERE, IDLE);
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        self.shared.phase.store(OVER, Ordering::Release);
        self.thread.thread().unpark();
    }
}

impl Shared {
    fn run(&self) {
        Urgency::inherit_none();
        let mut urgency = Urgency::default();
        urgency.begin();
        if !urgency.is_urgent() {
            self.phase.store(OVER, Ordering::Release);
            return;
        }
        self.tid.store(gettid().as_raw_nonzero().get() as u32, Ordering::Release);
        loop {
            // In this order: it is sent after it is told when.
            let phase = self.phase();
            let left = self.time(&self.due).saturating_duration_since(Instant::now());
            match phase {
                OVER => return,
                SENT if !left.is_zero() => std::thread::park_timeout(left),
                SENT => self.stay(),
                _ => std::thread::park(),
            }
        }
    }

    /// Stays until it is let go.
    fn stay(&self) {
        let came = Instant::now();
        self.came.store(self.nanos(came), Ordering::Release);
        if self.change(SENT, THERE) {
            while self.phase() == THERE && came.elapsed() < STAYS {
                std::hint::spin_loop();
            }
            self.change(THERE, IDLE);
            self.stayed.fetch_add(came.elapsed().as_nanos() as u64, Ordering::AcqRel);
        }
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    /// Goes from a phase to another; false if it is in none such.
    fn change(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn nanos(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.start).as_nanos() as u64
    }

    fn time(&self, nanos: &AtomicU64) -> Instant {
        self.start + Duration::from_nanos(nanos.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Tid;
    use crate::target::Target;
    use crate::target::displace::tests::{Busy, last_of_several};

    #[test]
    fn whoever_runs_there_does_not_until_it_is_let_go() {
        const TIMES: usize = 20;
        let Some(processor) = last_of_several() else { return };
        let busy = Busy::on(processor, &[]);
        let target = Target::attach(busy.id()).unwrap();
        let account = || target.sched_stat(Tid(busy.id())).unwrap();
        let mut herald = Herald::start().unwrap();
        let mut came = 0;
        while came < TIMES {
            let due = Instant::now() + Duration::from_millis(5);
            herald.send(processor, due);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if !herald.wait() {
                continue;
            }
            let (before, there) = (account(), herald.came().unwrap());
            while there.elapsed() < STAYS / 2 {
                std::hint::spin_loop();
            }
            let after = account();
            // Whoever was away himself for a while learns nothing.
            if herald.shared.phase() == THERE {
                assert_eq!(after, before);
                came += 1;
                herald.dismiss();
                while account() == before {
                    std::thread::yield_now();
                }
            }
        }
        assert!(herald.take_stayed() >= STAYS / 2 * (TIMES - 1) as u32);
    }

    #[test]
    fn it_is_not_sent_where_it_may_not_be_nor_when_it_is_too_late() {
        let mut herald = Herald::start().unwrap();
        let now = Instant::now();
        assert!(!herald.send(CpuSet::MAX_CPU, now + Duration::from_secs(1)));
        assert!(!herald.send(CpuSet::MAX_CPU - 1, now + Duration::from_secs(1)));
        assert!(!herald.send(sched_getcpu(), now));
        assert!(!herald.wait() && herald.take_stayed().is_zero());
    }
}
