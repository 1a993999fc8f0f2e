//! How many of the moments that are asked for are taken, so that what pysample itself uses of the processors keeps to a
//! share of them.
//!
//! The moments of a recording are parted into groups of so many as the pace says, and one of each group is taken, at random.
//! All processes of a family go at one pace, and it changes slowly: what a process does, and what a sample of it costs, has
//! no say in when it is sampled, and equal numbers of samples are equal times, whosever they are.

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
        let governor = Governor {
            pace: Pace::full(),
            rate,
            share,
            cost: USUAL_COST,
            debt: 0.0,
            remembered,
            members: 1,
            looked,
            used,
            taken: 0,
        };
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

    /// Thinks the pace over, so long after the start. `used` tells what processor time was used since then.
    pub fn look(&mut self, now: Duration, used: impl FnOnce() -> Duration) {
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
        if samples > 0 {
            let cost = (spent / samples as f64).clamp(self.cost * CHANGES.start(), self.cost * CHANGES.end());
            // Of few samples little is known.
            let new = NEW * (samples as f64 / 10.0).min(1.0);
            self.cost += new * (cost - self.cost);
        }
        self.set();
    }

    fn set(&self) {
        let asked = self.cost * self.rate * self.members as f64;
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
            governor.look(Duration::from_millis(tick * 100), || Duration::from_secs_f64(used));
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
        governor.look(Duration::from_millis(100), || Duration::from_millis(200));
        assert!(governor.pace().stretch() < 2.0, "{governor:?}");
    }

    #[test]
    fn what_is_remembered_is_made_up_for() {
        let mut governor = Governor::new(100.0, 0.02, 60.0);
        governor.share_among(8);
        governor.look(Duration::from_millis(100), || Duration::from_millis(202));
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
