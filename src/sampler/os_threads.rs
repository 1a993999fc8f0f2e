//! What the OS threads of a process do, found out as cheaply as can be.
//!
//! A thread's state takes the kernel 2 us to spell out; the scheduler's account of it a quarter of that. A thread that was
//! asleep and whose account is the same has not run since: it still sleeps (or has been woken and waits for its first
//! turn), and whatever is its own alone is as it was, its Python stack included. That of all of them together costs as
//! much as that of two, see [`Census`].

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::census::Census;
use crate::memory::Addr;
use crate::sample::{ThreadState, Tid};
use crate::target::{Activity, SchedStat, Target};

/// For how long a thread that ran is taken to run on without another look.
const STILL_RUNS: Duration = Duration::from_micros(50);

/// What is known of the OS threads, from one moment to the next.
#[derive(Default)]
pub struct OsThreads {
    by_tid: FxHashMap<Tid, OsThread>,
    round: u64,
    census: Census,
    /// The round since which none that was seen asleep in it, or later, has run; `None` if one may have.
    rest_since: Option<u64>,
}

struct OsThread {
    look: Look,
    /// Its account, taken before it was seen asleep.
    asleep_since: Option<SchedStat>,
    /// What it waits for, as long as this sleep lasts.
    waits: Option<Waits>,
    /// How it was when it was last seen, if it waited for a GIL then.
    wanted_gil: Option<Wish>,
    at: Instant,
    round: u64,
}

/// A thread that waits for a GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    /// Turns on a processor that it had had.
    turns: u64,
    passed: Option<Passed>,
}

/// Who held a GIL, and how often it had passed from one thread to another. As long as both are the same, it has passed to
/// nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The holder's thread state.
    pub holder: Addr,
    /// How often.
    pub switches: u64,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// What it is doing.
    pub state: ThreadState,
    /// Which GIL it waits for, by its address, where that can be told.
    pub gil: Option<Addr>,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it uses a processor.
    pub activity: Activity,
    /// Whether it has not run since the last look.
    pub rested: bool,
    /// The look at which this sleep was first seen, if it is asleep.
    pub since: u64,
    /// Whether it has been looked at in this round already, for another thread state.
    pub again: bool,
}

impl OsThreads {
    /// Begins a round of looks.
    pub fn begin(&mut self, target: &Target) {
        /// Threads that have ended are forgotten so often.
        const ROUNDS: u64 = 1 << 10;
        self.round += 1;
        if self.round.is_multiple_of(ROUNDS) {
            let round = self.round;
            self.by_tid.retain(|_, known| round - known.round < ROUNDS);
        }
        for (tid, known) in self.by_tid.iter().filter(|(_, known)| known.round + 1 == self.round) {
            self.census.note(*tid, known.asleep_since.is_some());
        }
        self.rest_since = self.census.take(target, self.round);
    }

    /// Looks at a thread; only the first look of a round goes to the kernel.
    pub fn look(&mut self, target: &Target, tid: Tid) -> Look {
        let round = self.round;
        let known = self.by_tid.get(&tid);
        if let Some(known) = known.filter(|known| known.round == round) {
            return Look { again: true, ..known.look };
        }
        let runs_on = known.filter(|known| known.look.activity == Activity::Running && known.at.elapsed() < STILL_RUNS);
        if let Some(at) = runs_on.map(|known| known.at) {
            return self.note(
                tid,
                Look { activity: Activity::Running, rested: false, since: 0, again: false },
                None,
                at,
            );
        }
        let before = known.and_then(|known| known.asleep_since);
        let rests = |known: &&OsThread| before.is_some() && self.rest_since.is_some_and(|since| known.round >= since);
        match known.filter(rests).map(|known| (known.look, known.at)) {
            Some((look, at)) => self.note(tid, Look { rested: true, again: false, ..look }, before, at),
            None => self.look_closely(target, tid, before),
        }
    }

    /// Whether a thread that was asleep at its last look has not run since.
    pub fn still_rests(&self, target: &Target, tid: Tid) -> bool {
        let before = self.by_tid.get(&tid).and_then(|known| known.asleep_since);
        before.is_some() && target.sched_stat(tid) == before
    }

    fn look_closely(&mut self, target: &Target, tid: Tid, before: Option<SchedStat>) -> Look {
        let at = Instant::now();
        let may_rest = before.is_some() || target.activity(tid) != Activity::Running;
        if !may_rest {
            return self.note(
                tid,
                Look { activity: Activity::Running, rested: false, since: 0, again: false },
                None,
                at,
            );
        }
        let account = target.sched_stat(tid);
        if account.is_some() && account == before {
            let then = self.by_tid.get(&tid).map(|known| known.look);
            let look = then.unwrap_or(Look { activity: Activity::Idle, rested: true, since: self.round, again: false });
            return self.note(tid, Look { rested: true, again: false, ..look }, account, at);
        }
        // The account first: a thread that is asleep after it, and whose account stays the same, did not run in between.
        let activity = target.activity(tid);
        self.note(
            tid,
            Look { activity, rested: false, since: self.round, again: false },
            account.filter(|_| activity.is_off()),
            at,
        )
    }

    fn note(&mut self, tid: Tid, look: Look, asleep_since: Option<SchedStat>, at: Instant) -> Look {
        let before = self.by_tid.get(&tid);
        let waits = before.filter(|_| look.rested).and_then(|known| known.waits);
        let wanted_gil = before.and_then(|known| known.wanted_gil);
        self.by_tid.insert(tid, OsThread { look, asleep_since, waits, wanted_gil, at, round: self.round });
        look
    }

    /// What a thread that rests was found to wait for.
    pub fn waits(&self, tid: Tid) -> Option<Waits> {
        self.by_tid.get(&tid)?.waits
    }

    /// Notes what a thread waits for, which holds as long as it rests, and who had its GIL before.
    pub fn note_waits(&mut self, target: &Target, tid: Tid, waits: Waits, passed: Option<Passed>) {
        let rests = self.still_rests(target, tid);
        if let Some(known) = self.by_tid.get_mut(&tid) {
            known.waits = rests.then_some(waits);
            let turns = known.asleep_since.map_or(0, |account| account.turns);
            known.wanted_gil = (waits.state == ThreadState::WaitsForGil).then_some(Wish { turns, passed });
        }
    }

    /// Notes who has the GIL now that a thread waits for it in a sleep that is known.
    pub fn note_passed(&mut self, target: &Target, tid: Tid, passed: Option<Passed>) {
        let is_news = |wish: &Wish| wish.passed != passed;
        if self.by_tid.get(&tid).and_then(|known| known.wanted_gil).is_some_and(|wish| is_news(&wish)) {
            // It may have had the GIL since it was seen asleep, before all this.
            let passed = passed.filter(|_| self.still_rests(target, tid));
            if let Some(wish) = self.by_tid.get_mut(&tid).and_then(|known| known.wanted_gil.as_mut()) {
                wish.passed = passed;
            }
        }
    }

    /// Whether a thread waited for a GIL when it was last seen.
    pub fn wanted_gil(&self, tid: Tid) -> bool {
        self.by_tid.get(&tid).is_some_and(|known| known.wanted_gil.is_some())
    }

    /// Whether a thread that wanted a GIL has not had a turn on a processor since: it was woken up and is yet to run.
    pub fn has_not_run_since(&self, target: &Target, tid: Tid) -> bool {
        let then = self.by_tid.get(&tid).and_then(|known| known.wanted_gil);
        then.is_some() && target.sched_stat(tid).map(|now| now.turns) == then.map(|wish| wish.turns)
    }

    /// Whether a thread that wanted a GIL cannot have had it since: it still wants it then, whatever the scheduler does with
    /// it, for what asks for the GIL does not return without.
    pub fn has_not_had_gil_since(&self, tid: Tid, passed: Option<Passed>) -> bool {
        let then = self.by_tid.get(&tid).and_then(|known| known.wanted_gil).and_then(|wish| wish.passed);
        then.is_some() && then == passed
    }

    /// Notes that a thread wants no GIL any more.
    pub fn note_no_wish(&mut self, tid: Tid) {
        if let Some(known) = self.by_tid.get_mut(&tid) {
            known.wanted_gil = None;
        }
    }
}
