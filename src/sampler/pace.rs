//! How many of the moments that are asked for are taken, so that what pysample itself uses of the processors keeps to a
//! share of them.
//!
//! The moments of a recording are parted into groups of so many as the pace says, and one of each group is taken, at random.
//! All processes of a family go at one pace, and it changes slowly: what a process does, and what a sample of it costs, has
//! no say in when it is sampled, so that equal numbers of samples are equal times, whosever they are. Where the pace changes, samples
//! are worth what they say that they stand for ([`Weight`](crate::sample::Weight)).
//!
//! Where it is not to be kept to whatever happens, all moments are taken as long as processors are idle: nobody lacks what we
//! use then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the pace is thought over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a sample costs, in seconds, until that is known.
const USUAL_COST: f64 = 100e-6;
/// How much what one is taken to cost grows and shrinks by at most from one look to the next. What is done once (to read
/// names) costs as much as many samples do, and says nothing of the next.
const CHANGES: std::ops::RangeInclusive<f64> = 0.8..=1.25;
/// How much of what is new in it counts.
const NEW: f64 = 0.3;
/// What was used too much, or little, is made up for in about so long, but with at most this part of what may be used.
const MADE_UP_IN: f64 = 5.0;
const MOST_OF: f64 = 0.8;
/// No more is saved up than what may be used in so long.
const SAVED: f64 = -0.5;
/// Over how long it is found out whether processors are idle, at first and then.
const FIRST_IDLE: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(500);
/// Which part of the processors would have to be idle with every moment taken.
const ROOM: f64 = 0.1;
/// A process is not sampled more seldom than this, in a second.
const SLOWEST: f64 = 1.0;

/// One in how many moments is taken, as samplers are told. Copies are of one pace.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The bits of a number, 1 or more.
    stretch: AtomicU64,
    taken: AtomicU64,
}

impl Pace {
    /// Every moment is taken.
    pub fn full() -> Pace {
        Pace(Arc::new(Shared { stretch: AtomicU64::new(1.0_f64.to_bits()), taken: AtomicU64::new(0) }))
    }

    /// One in how many moments is taken, 1 or more.
    pub fn stretch(&self) -> f64 {
        f64::from_bits(self.0.stretch.load(Ordering::Relaxed))
    }

    /// Sets it.
    pub(super) fn set_stretch(&self, stretch: f64) {
        self.0.stretch.store(stretch.max(1.0).to_bits(), Ordering::Relaxed);
    }

    /// Counts a sample that was taken.
    pub fn note_taken(&self) {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }
}

/// What nobody uses of the processors.
#[derive(Debug, Default)]
struct Spare {
    /// How many processors there are; `None` if it does not matter whether they are idle.
    of: Option<f64>,
    /// When it was found out last, what was idle and what we had used by then.
    since: Duration,
    idle: Option<Duration>,
    used: Duration,
    /// How many were idle since, and how many we have used; `None` if that is not known yet.
    found: Option<(f64, f64)>,
}

impl Spare {
    fn look(&mut self, now: Duration, used: Duration, idle: impl FnOnce() -> Option<Duration>) {
        let since = now.saturating_sub(self.since);
        let is_time = self.idle.is_none() || since >= if self.found.is_none() { FIRST_IDLE } else { IDLE };
        if self.of.is_none() || !is_time {
            return;
        }
        let Some(idle) = idle() else {
            self.of = None;
            return;
        };
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / since.as_secs_f64();
        if let Some(then) = self.idle {
            self.found = Some((share(idle, then), share(used, self.used)));
        }
        (self.since, self.idle, self.used) = (now, Some(idle), used);
    }

    /// Whether processors would be idle if we used so much of one. It is believed until it is known.
    fn has_room_for(&self, use_of_all: f64) -> bool {
        let Some(all) = self.of else { return false };
        self.found.is_none_or(|(idle, used)| idle + used - use_of_all >= all * ROOM)
    }
}

/// Says the pace.
#[derive(Debug)]
pub struct Governor {
    pace: Pace,
    rate: f64,
    /// Of one processor.
    share: f64,
    /// What a sample is taken to cost, in seconds of processor time.
    cost: f64,
    /// What was used too much, in seconds of the share.
    debt: f64,
    /// How much of that is remembered.
    remembered: f64,
    members: usize,
    spare: Spare,
    /// As of the last look.
    looked: Duration,
    used: Duration,
    taken: u64,
}

impl Governor {
    /// For processes that are asked for `rate` samples a second each, which may take `share` of one processor together. What
    /// was used too much is forgotten as far as it is more than what may be used in `remembered` seconds.
    pub fn new(rate: f64, share: f64, remembered: f64) -> Governor {
        let (looked, used) = (Duration::ZERO, Duration::ZERO);
        let mut governor = Governor {
            pace: Pace::full(),
            rate,
            share,
            cost: USUAL_COST,
            debt: 0.0,
            remembered,
            members: 1,
            spare: Spare::default(),
            looked,
            used,
            taken: 0,
        };
        governor.set();
        governor
    }

    /// The same, for whom that matters only where not so many processors are idle.
    pub fn where_short(self, processors: f64) -> Governor {
        let mut governor = Governor { spare: Spare { of: Some(processors), ..Spare::default() }, ..self };
        governor.set();
        governor
    }

    /// For those who keep to it.
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// So many processes are sampled now.
    pub fn share_among(&mut self, members: usize) {
        if std::mem::replace(&mut self.members, members) != members {
            self.set();
        }
    }

    /// Thinks the pace over, so long after the start. `used` tells what processor time was used since then, `idle` for how
    /// long processors have been idle.
    pub fn look(&mut self, now: Duration, used: impl FnOnce() -> Duration, idle: impl FnOnce() -> Option<Duration>) {
        let since = now.saturating_sub(self.looked);
        if since < LOOK_EVERY {
            return;
        }
        let (used, taken) = (used(), self.pace.taken());
        let spent = used.saturating_sub(self.used).as_secs_f64();
        let samples = taken.saturating_sub(self.taken);
        (self.looked, self.used, self.taken) = (now, used, taken);
        let debt = self.debt + spent / self.share - since.as_secs_f64();
        self.debt = debt.clamp(SAVED, self.remembered);
        self.spare.look(now, used, idle);
        if samples > 0 {
            let cost = (spent / samples as f64).clamp(self.cost * CHANGES.start(), self.cost * CHANGES.end());
            // Of few samples little is known.
            let new = NEW * (samples as f64 / 10.0).min(1.0);
            self.cost += new * (cost - self.cost);
        }
        self.set();
    }

    fn set(&mut self) {
        let asked = self.cost * self.rate * self.members as f64;
        if self.spare.has_room_for(asked) {
            self.debt = 0.0;
            return self.pace.set_stretch(1.0);
        }
        let allowed = self.share * (1.0 - (self.debt / MADE_UP_IN).min(MOST_OF));
        self.pace.set_stretch((asked / allowed).min(self.rate / SLOWEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs so many seconds at what the governor says. Returns what was used of a processor in the last half of them, and
    /// the samples of each process in that time.
    fn run(governor: &mut Governor, members: usize, seconds: u64, cost: f64, fixed: f64) -> (f64, f64) {
        let pace = governor.pace();
        governor.share_among(members);
        let (mut used, mut due, mut samples, mut before) = (0.0, 0.0, 0.0, (0.0, 0.0));
        for tick in 1..=seconds * 10 {
            due += governor.rate * members as f64 / 10.0 / pace.stretch();
            while due >= 1.0 {
                pace.note_taken();
                (due, samples, used) = (due - 1.0, samples + 1.0, used + cost);
            }
            used += fixed / 10.0;
            governor.look(Duration::from_millis(tick * 100), || Duration::from_secs_f64(used), || None);
            if tick == seconds * 5 {
                before = (used, samples);
            }
        }
        let half = seconds as f64 / 2.0;
        ((used - before.0) / half, (samples - before.1) / half / members as f64)
    }

    #[test]
    fn a_family_that_costs_less_than_it_may_is_sampled_as_asked() {
        let (used, each) = run(&mut Governor::new(100.0, 0.02, 2.0), 2, 10, 20e-6, 0.001);
        assert!((99.0..101.0).contains(&each), "{each}");
        assert!(used < 0.006, "{used}");
    }

    #[test]
    fn one_that_costs_more_is_sampled_as_often_as_the_share_allows() {
        for (members, cost, fixed) in [(8, 120e-6, 0.002), (8, 400e-6, 0.0), (64, 30e-6, 0.004), (3, 80e-6, 0.001)] {
            let (used, each) = run(&mut Governor::new(100.0, 0.02, 2.0), members, 20, cost, fixed);
            assert!((0.0185..0.0215).contains(&used), "{members} of {cost}: {used}");
            let expected = (0.02 - fixed) / cost / members as f64;
            assert!((0.9..1.1).contains(&(each / expected)), "{members} of {cost}: {each}, {expected}");
        }
    }

    /// Runs so many seconds on two processors of which others use so much. Returns what was used in the last of them.
    fn run_beside(governor: &mut Governor, others: f64, seconds: u64) -> f64 {
        const COST: f64 = 120e-6;
        governor.share_among(8);
        let (mut due, mut used, mut idle, mut before) = (0.0, 0.0, 5.0, 0.0);
        for tick in 1..=seconds * 10 {
            due += governor.rate * 8.0 / 10.0 / governor.pace.stretch();
            let samples = due as u64;
            (0..samples).for_each(|_| governor.pace.note_taken());
            due -= samples as f64;
            used += samples as f64 * COST;
            idle += ((2.0 - others) / 10.0 - samples as f64 * COST).max(0.0);
            let now = governor.looked + LOOK_EVERY;
            governor.look(now, || Duration::from_secs_f64(used), || Some(Duration::from_secs_f64(idle)));
            if tick == (seconds - 1) * 10 {
                before = used;
            }
        }
        used - before
    }

    #[test]
    fn as_long_as_processors_are_idle_all_is_taken() {
        for (others, least, most) in [(0.0, 0.09, 0.1), (1.6, 0.09, 0.1), (1.75, 0.015, 0.025), (2.0, 0.015, 0.025)] {
            let used = run_beside(&mut Governor::new(100.0, 0.02, 2.0).where_short(2.0), others, 20);
            assert!((least..=most).contains(&used), "beside {others}: {used}");
        }
        let used = run_beside(&mut Governor::new(100.0, 0.02, 2.0), 0.0, 20);
        assert!((0.015..=0.025).contains(&used), "it is to be kept to: {used}");
    }

    #[test]
    fn until_it_is_known_whether_processors_are_idle_all_is_taken() {
        let mut governor = Governor::new(100.0, 0.02, 2.0).where_short(2.0);
        governor.share_among(8);
        assert_eq!(governor.pace().stretch(), 1.0);
        governor.look(Duration::from_millis(100), || Duration::from_millis(10), || None);
        assert!(governor.pace().stretch() > 3.0, "that is never told here: {governor:?}");
    }

    #[test]
    fn nobody_starves_whatever_it_costs() {
        let (_, each) = run(&mut Governor::new(100.0, 0.0001, 2.0), 50, 20, 1e-3, 0.01);
        assert!((0.95..1.05).contains(&each), "{each}");
    }

    #[test]
    fn what_is_done_once_slows_down_for_some_seconds_and_not_much() {
        let mut governor = Governor::new(100.0, 0.02, 2.0);
        governor.share_among(2);
        (0..20).for_each(|_| governor.pace().note_taken());
        governor.look(Duration::from_millis(100), || Duration::from_millis(200), || None);
        assert!(governor.pace().stretch() < 2.0, "{governor:?}");
    }

    #[test]
    fn what_is_remembered_is_made_up_for() {
        let mut governor = Governor::new(100.0, 0.02, 60.0);
        governor.share_among(8);
        governor.look(Duration::from_millis(100), || Duration::from_millis(202), || None);
        assert!((9.0..10.5).contains(&governor.debt), "{governor:?}");
        let (used, _) = run(&mut governor, 8, 10, 120e-6, 0.0);
        assert!(used < 0.018, "{used}");
    }

    #[test]
    fn the_first_pace_is_of_what_samples_usually_cost() {
        let mut governor = Governor::new(100.0, 0.02, 2.0);
        assert_eq!(governor.pace().stretch(), 1.0);
        governor.share_among(8);
        assert!((3.5..4.5).contains(&governor.pace().stretch()), "{governor:?}");
        governor.share_among(1);
        assert_eq!(governor.pace().stretch(), 1.0);
    }
}
