//! Unbinds threads of ours that wait too long on the processor that they are bound to.
//!
//! Where a thread with a real-time priority computes, whoever is less urgent and bound to its processor waits until it
//! ends, inside the kernel, where no signal reaches him. One of our own threads looks after the others: who is found to have
//! been bound for longer than [`PATIENCE`] is unbound, and goes on elsewhere.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

use crate::target::machine;
use crate::target::urgency::Urgency;

/// For how long a thread may be bound.
pub const PATIENCE: Duration = Duration::from_millis(20);
/// How often it is looked where nobody is bound at the moment: somebody mostly is for far less than a millisecond, many times
/// a second, and to look each time he might have been for too long costs more processor time than all else that is done here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// So often in a row nobody is found bound until the thread that looks waits to be told.
const IDLE_LOOKS: u32 = 10;

/// The calling thread, which may be bound to a processor until this is dropped.
#[derive(Debug)]
pub struct Bound {
    thread: Pid,
    /// Where it may run otherwise.
    usual: CpuSet,
    /// Where it may run now, if we alone decide.
    now: Cell<CpuSet>,
}

struct Entry {
    thread: Pid,
    since: Instant,
    usual: CpuSet,
}

#[derive(Default)]
struct Watched {
    bound: Vec<Entry>,
    /// How often somebody was bound, ever.
    count: u64,
    /// Whether the thread that looks waits to be told.
    is_waiting: bool,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { bound: Vec::new(), count: 0, is_waiting: false });
static TOLD: Condvar = Condvar::new();

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bound {
    /// For a thread that may otherwise run on the usual processors. `None` if nobody can look after it.
    pub fn begin(usual: CpuSet) -> Option<Bound> {
        static STARTED: OnceLock<bool> = OnceLock::new();
        let start = || std::thread::Builder::new().name("rescue".into()).spawn(look_after_all).is_ok();
        if !STARTED.get_or_init(start) {
            return None;
        }
        let thread = gettid();
        let mut watched = watched();
        watched.bound.push(Entry { thread, since: Instant::now(), usual });
        watched.count += 1;
        if watched.is_waiting {
            TOLD.notify_one();
        }
        Some(Bound { thread, usual, now: Cell::new(usual) })
    }

    /// Binds the thread to a processor, on which it is when this returns, unless it was unbound.
    pub fn to(&self, processor: usize) {
        let only = machine::only(processor);
        // It fails where the processor is not to be used; then we stay where we are.
        if self.is_ours() && sched_setaffinity(None, &only).is_ok() {
            self.now.set(only);
        }
    }

    /// Whether nobody else has decided meanwhile where the thread is to run.
    fn is_ours(&self) -> bool {
        sched_getaffinity(None) == Ok(self.now.get())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        watched().bound.retain(|entry| entry.thread != self.thread);
        if self.is_ours() {
            // It fails if none of these can be used any more: then we stay.
            let _ = sched_setaffinity(None, &self.usual);
        }
    }
}

fn look_after_all() {
    Urgency::inherit_none();
    // It is not to wait where those do whom it is to help.
    Urgency::default().begin();
    let (mut seen, mut idle) = (0, 0);
    loop {
        let mut watched = watched();
        idle = if watched.count == seen { idle + 1 } else { 0 };
        seen = watched.count;
        if idle > IDLE_LOOKS && watched.bound.is_empty() {
            watched.is_waiting = true;
            watched = TOLD.wait(watched).unwrap_or_else(PoisonError::into_inner);
            watched.is_waiting = false;
            idle = 0;
        }
        // Under the lock: whoever is not bound any more is left alone.
        for entry in watched.bound.iter().filter(|entry| entry.since.elapsed() > PATIENCE) {
            let _ = sched_setaffinity(Some(entry.thread), &entry.usual);
        }
        let pause = if watched.bound.is_empty() { BETWEEN_LOOKS } else { PATIENCE };
        drop(watched);
        std::thread::sleep(pause);
    }
}
