//! What the OS threads of a process do, found out as cheaply as can be.
//!
//! A thread's state takes the kernel 2 us to spell out; the scheduler's account of it a quarter of that. A thread that was
//! asleep and whose account is the same has not run since: it still sleeps (or has been woken and waits for its first
//! turn), and whatever is its own alone is as it was, its Python stack included.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::sample::{ThreadState, Tid};
use crate::target::{SchedStat, Target};

/// For how long a thread that ran is taken to run on without another look.
const STILL_RUNS: Duration = Duration::from_micros(50);

/// What is known of the OS threads, from one moment to the next.
#[derive(Default)]
pub struct OsThreads {
    by_tid: FxHashMap<Tid, OsThread>,
    round: u64,
}

struct OsThread {
    look: Look,
    /// Its account, taken before it was seen asleep.
    asleep_since: Option<SchedStat>,
    at: Instant,
    round: u64,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it uses a processor.
    pub state: ThreadState,
    /// Whether it has not run since the last look.
    pub rested: bool,
    /// The look at which this sleep was first seen, if it is asleep.
    pub since: u64,
    /// Whether it has been looked at in this round already, for another thread state.
    pub again: bool,
}

impl OsThreads {
    /// Begins a round of looks.
    pub fn begin(&mut self) {
        /// Threads that have ended are forgotten so often.
        const ROUNDS: u64 = 1 << 10;
        self.round += 1;
        if self.round.is_multiple_of(ROUNDS) {
            let round = self.round;
            self.by_tid.retain(|_, known| round - known.round < ROUNDS);
        }
    }

    /// Looks at a thread; only the first look of a round goes to the kernel.
    pub fn look(&mut self, target: &Target, tid: Tid) -> Look {
        let round = self.round;
        let known = self.by_tid.get(&tid);
        if let Some(known) = known.filter(|known| known.round == round) {
            return Look { again: true, ..known.look };
        }
        let runs_on = known.filter(|known| known.look.state == ThreadState::Running && known.at.elapsed() < STILL_RUNS);
        if let Some(at) = runs_on.map(|known| known.at) {
            return self.note(
                tid,
                Look { state: ThreadState::Running, rested: false, since: 0, again: false },
                None,
                at,
            );
        }
        let before = known.and_then(|known| known.asleep_since);
        self.look_closely(target, tid, before)
    }

    /// Whether a thread that was asleep at its last look has not run since.
    pub fn still_rests(&self, target: &Target, tid: Tid) -> bool {
        let before = self.by_tid.get(&tid).and_then(|known| known.asleep_since);
        before.is_some() && target.sched_stat(tid) == before
    }

    fn look_closely(&mut self, target: &Target, tid: Tid, before: Option<SchedStat>) -> Look {
        let at = Instant::now();
        let may_rest = before.is_some() || target.thread_state(tid) != ThreadState::Running;
        if !may_rest {
            return self.note(
                tid,
                Look { state: ThreadState::Running, rested: false, since: 0, again: false },
                None,
                at,
            );
        }
        let account = target.sched_stat(tid);
        if account.is_some() && account == before {
            let since = self.by_tid.get(&tid).map_or(self.round, |known| known.look.since);
            return self.note(tid, Look { state: ThreadState::Idle, rested: true, since, again: false }, account, at);
        }
        // The account first: a thread that is asleep after it, and whose account stays the same, did not run in between.
        let state = target.thread_state(tid);
        self.note(
            tid,
            Look { state, rested: false, since: self.round, again: false },
            account.filter(|_| state == ThreadState::Idle),
            at,
        )
    }

    fn note(&mut self, tid: Tid, look: Look, asleep_since: Option<SchedStat>, at: Instant) -> Look {
        self.by_tid.insert(tid, OsThread { look, asleep_since, at, round: self.round });
        look
    }
}
