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
use crate::target::{Activity, Place, SchedStat, Target};

/// For how long a thread that ran is taken to run on without another look.
const STILL_RUNS: Duration = Duration::from_micros(100);
/// Likewise, if it still has the GIL: after a rest of ours all that is done between takes several times as long.
const STILL_HOLDS: Duration = Duration::from_micros(200);

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
    /// Where it ran at that look.
    place: Option<Place>,
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
    /// When it was found in the sleep in which it was found last.
    at: Instant,
    /// Turns on a processor that it had had before that.
    turns: u64,
    /// Whether that sleep is limited in time.
    limit: Limit,
    passed: Option<Passed>,
    /// Whether it has asked the holder to let go since the GIL passed on.
    has_asked: bool,
}

impl Wish {
    /// That of a thread that was found asleep, and not in this sleep before.
    fn new(before: Option<Wish>, turns: u64, limit: Limit, passed: Option<Passed>) -> Wish {
        let new = Wish { at: Instant::now(), turns, limit, passed, has_asked: false };
        let has_asked = before.is_some_and(|before| before.has_asked_until(new));
        Wish { has_asked, ..new }
    }

    /// Whether it has asked the holder to let go, as it does whenever it has slept for the switch interval and the GIL has
    /// not passed on. Where it woke up more often than that, the holder has let go and taken the GIL again.
    fn has_asked_until(self, new: Wish) -> bool {
        let Some(passed) = new.passed.filter(|_| self.passed == new.passed) else { return false };
        let intervals = new.at.saturating_duration_since(self.at).as_nanos() / passed.interval.as_nanos().max(1);
        let woke_up = u128::from(new.turns.saturating_sub(self.turns));
        let limits = (self.limit, new.limit) == (Limit::Timed, Limit::Timed);
        self.has_asked || limits && (1..=1 + intervals).contains(&woke_up)
    }

    /// It still waits for it.
    fn go_on(&mut self, passed: Option<Passed>) {
        self.has_asked &= self.passed == passed;
        self.passed = passed;
    }
}

/// Whether a sleep ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After some time.
    Timed,
    /// Only if somebody ends it, or not asked.
    Endless,
}

/// How often a GIL had passed from one thread to another, the last time not to the thread that this is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which GIL.
    pub gil: Addr,
    /// How often.
    pub times: u64,
    /// After how long those who wait for it ask its holder to let go.
    pub interval: Duration,
}

impl Passed {
    /// Whether the thread cannot have had the GIL between two moments: it would have passed to it, and from it to another.
    fn is_past(then: Passed, now: Passed) -> bool {
        then.gil == now.gil && now.times.wrapping_sub(then.times) < 2
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// What it is doing.
    pub state: ThreadState,
    /// Which GIL it waits for, by its address, where that can be told.
    pub gil: Option<Addr>,
    /// Whether it waits for a limited time, where that was asked.
    pub limit: Limit,
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
        let running = || match target.activity_and_place(tid) {
            (Activity::Running, place) => Some(place),
            _ => None,
        };
        if let Some(place) = before.is_none().then(running).flatten() {
            let running = Look { activity: Activity::Running, rested: false, since: 0, again: false };
            self.note(tid, running, None, at);
            self.by_tid.entry(tid).and_modify(|known| known.place = place);
            return running;
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
        let place = before.filter(|known| known.at == at).and_then(|known| known.place);
        self.by_tid.insert(tid, OsThread { look, place, asleep_since, waits, wanted_gil, at, round: self.round });
        look
    }

    /// Where a thread ran, or was ready to, when it was looked at in this round.
    pub fn place(&self, tid: Tid) -> Option<Place> {
        self.by_tid.get(&tid).filter(|known| known.round == self.round)?.place
    }

    /// Likewise, if that was no longer ago than a thread that still has the GIL is taken to run on for.
    pub fn place_lately(&self, tid: Tid) -> Option<Place> {
        self.by_tid.get(&tid).filter(|known| known.at.elapsed() < STILL_HOLDS)?;
        self.place(tid)
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
            let wish = Wish::new(known.wanted_gil, turns, waits.limit, passed);
            known.wanted_gil = (waits.state == ThreadState::WaitsForGil).then_some(wish);
        }
    }

    /// Notes who has the GIL now that a thread waits for it in a sleep that is known.
    pub fn note_passed(&mut self, target: &Target, tid: Tid, passed: Option<Passed>) {
        let is_news = |wish: &Wish| wish.passed != passed;
        if self.by_tid.get(&tid).and_then(|known| known.wanted_gil).is_some_and(|wish| is_news(&wish)) {
            // It may have had the GIL since it was seen asleep, before all this.
            let passed = passed.filter(|_| self.still_rests(target, tid));
            if let Some(wish) = self.by_tid.get_mut(&tid).and_then(|known| known.wanted_gil.as_mut()) {
                wish.go_on(passed);
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
        then.zip(passed).is_some_and(|(then, now)| Passed::is_past(then, now))
    }

    /// Notes that a thread that wanted a GIL has not had it until now.
    pub fn note_still_wants(&mut self, tid: Tid, passed: Option<Passed>) {
        if let Some(wish) = self.by_tid.get_mut(&tid).and_then(|known| known.wanted_gil.as_mut()) {
            wish.go_on(passed);
        }
    }

    /// Notes that a thread waits for a GIL, and what was counted of it before it was seen to.
    pub fn note_wants(&mut self, tid: Tid, before: Option<SchedStat>, limit: Limit, passed: Option<Passed>) {
        if let Some(known) = self.by_tid.get_mut(&tid) {
            known.wanted_gil = before.map(|account| Wish::new(known.wanted_gil, account.turns, limit, passed));
        }
    }

    /// Whether a thread that waits for a GIL has asked its holder to let go of it.
    pub fn has_asked(&self, tid: Tid, passed: Passed) -> bool {
        let wish = self.by_tid.get(&tid).and_then(|known| known.wanted_gil);
        wish.is_some_and(|wish| wish.has_asked && wish.passed == Some(passed))
    }

    /// Notes that a thread wants no GIL any more.
    pub fn note_no_wish(&mut self, tid: Tid) {
        if let Some(known) = self.by_tid.get_mut(&tid) {
            known.wanted_gil = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn passed(times: u64) -> Passed {
        Passed { gil: Addr(0x1000), times, interval: INTERVAL }
    }

    #[test]
    fn to_have_had_a_gil_takes_two_changes_of_holder() {
        assert!(Passed::is_past(passed(7), passed(7)));
        assert!(Passed::is_past(passed(7), passed(8)));
        assert!(!Passed::is_past(passed(7), passed(9)));
        assert!(!Passed::is_past(passed(7), Passed { gil: Addr(0x2000), ..passed(7) }));
    }

    /// A thread slept, and sleeps again so many milliseconds and turns later.
    fn has_asked(millis: u64, turns: u64, limits: [Limit; 2], times: [u64; 2]) -> bool {
        let at = Instant::now();
        let [first, last] = [0, 1].map(|n| Wish {
            at: at + Duration::from_millis(n as u64 * millis),
            turns: 3 + n as u64 * turns,
            limit: limits[n],
            passed: Some(passed(times[n])),
            has_asked: false,
        });
        first.has_asked_until(last)
    }

    #[test]
    fn who_has_slept_for_the_switch_interval_and_sleeps_again_has_asked_for_the_gil() {
        let timed = [Limit::Timed; 2];
        assert!(has_asked(4, 1, timed, [7, 7]));
        assert!(has_asked(20, 4, timed, [7, 7]));
        assert!(!has_asked(4, 0, timed, [7, 7]), "it is the same sleep");
        assert!(!has_asked(4, 1, timed, [7, 8]), "it has passed on");
        assert!(!has_asked(4, 9, timed, [7, 7]), "it was woken up, as the GIL was let go of");
        assert!(
            !has_asked(4, 1, [Limit::Endless, Limit::Timed], [7, 7]),
            "the first sleep was for the words of the GIL"
        );
    }

    #[test]
    fn a_wish_that_goes_on_has_asked_until_the_gil_passes_on() {
        let new = Wish { at: Instant::now(), turns: 3, limit: Limit::Timed, passed: Some(passed(7)), has_asked: true };
        for (times, expected) in [(7, true), (8, false)] {
            let mut wish = new;
            wish.go_on(Some(passed(times)));
            assert_eq!((wish.has_asked, wish.passed), (expected, Some(passed(times))));
        }
    }
}
