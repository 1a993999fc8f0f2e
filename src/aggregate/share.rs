//! For how much of the time something was seen, and how far from that the truth may be.
//!
//! Samples that follow each other are alike: a thread that holds the GIL for a second is seen hundreds of times. To take each
//! for an independent look would make the interval far too narrow, so it comes from the differences between stretches of the
//! recording.
//!
//! Looks may stand for more or less of the time. What a share is of is that time; how sure it is goes by how many looks there
//! were, and the less so the less they are alike in it.

use crate::sample::Weight;

/// Stretches are kept in so many batches at most; then two and two become one.
const MOST_BATCHES: usize = 64;
/// With fewer the spread between them tells nothing.
const FEWEST_BATCHES: usize = 8;

/// How often something was seen in a row of looks.
#[derive(Clone, Debug)]
pub struct Looks {
    hits: u64,
    looks: u64,
    slots: Slots,
    /// The sum of the squares of the weights.
    squares: f64,
    /// Looks that make a batch.
    size: u64,
    batches: Vec<Slots>,
    open: (Slots, u64),
}

/// For how many slots of the clock looks stand.
#[derive(Clone, Copy, Debug, Default)]
struct Slots {
    hit: u64,
    all: u64,
}

impl Slots {
    fn add(&mut self, more: Slots) {
        self.hit = self.hit.saturating_add(more.hit);
        self.all = self.all.saturating_add(more.all);
    }

    fn share(self) -> f64 {
        self.hit as f64 / self.all as f64
    }
}

/// A share with its interval, which holds the true one in 95 of 100 recordings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// What was seen, 0 to 1.
    pub seen: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// In how many looks.
    pub looks: u64,
}

impl Default for Looks {
    fn default() -> Looks {
        let (slots, open) = Default::default();
        Looks { hits: 0, looks: 0, slots, squares: 0.0, size: 1, batches: Vec::new(), open }
    }
}

impl Looks {
    /// Takes the next look.
    pub fn take(&mut self, hit: bool, weight: Weight) {
        let all = weight.slots();
        let slots = Slots { hit: if hit { all } else { 0 }, all };
        self.hits += u64::from(hit);
        self.looks += 1;
        self.slots.add(slots);
        self.squares += (all as f64).powi(2);
        self.open.0.add(slots);
        self.open.1 += 1;
        if self.open.1 == self.size {
            self.batches.push(std::mem::take(&mut self.open).0);
        }
        if self.batches.len() == MOST_BATCHES {
            let sum = |pair: &[Slots]| {
                let mut sum = pair[0];
                sum.add(pair[1]);
                sum
            };
            self.batches = self.batches.chunks_exact(2).map(sum).collect();
            self.size *= 2;
        }
    }

    /// How often it was seen.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// How many looks there were.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// For how many slots of the clock it was seen.
    pub fn hit_slots(&self) -> u64 {
        self.slots.hit
    }

    /// For how many slots of the clock the looks stand.
    pub fn slots(&self) -> u64 {
        self.slots.all
    }

    /// The share of the time in which it was seen; `None` without a look.
    pub fn share(&self) -> Option<Share> {
        if self.looks == 0 {
            return None;
        }
        let seen = self.slots.share();
        // As many looks that are alike would be as sure (Kish).
        let (low, high) = wilson(seen, (self.slots.all as f64).powi(2) / self.squares);
        let spread = self.spread();
        Some(Share {
            seen,
            low: low.min(seen - spread).max(0.0),
            high: high.max(seen + spread).min(1.0),
            looks: self.looks,
        })
    }

    /// How far the share in all batches may be from the truth, by how far each is from it.
    fn spread(&self) -> f64 {
        let count = self.batches.len();
        if count < FEWEST_BATCHES {
            return 0.0;
        }
        let mut all = Slots::default();
        self.batches.iter().for_each(|batch| all.add(*batch));
        let far = |batch: &Slots| (batch.hit as f64 - all.share() * batch.all as f64).powi(2);
        let mean = all.all as f64 / count as f64;
        let variance = self.batches.iter().map(far).sum::<f64>() / mean.powi(2) / (count - 1) as f64;
        // Student's quantile, within 2 % from 7 degrees of freedom on.
        let quantile = NORMAL + 2.6 / (count - 1) as f64;
        quantile * (variance / count as f64).sqrt()
    }
}

/// The quantile of the normal distribution for 95 %.
const NORMAL: f64 = 1.96;

/// Wilson's interval for looks that do not depend on each other.
fn wilson(seen: f64, looks: f64) -> (f64, f64) {
    let z2 = NORMAL * NORMAL / looks;
    let centre = (seen + z2 / 2.0) / (1.0 + z2);
    let half = NORMAL * (seen * (1.0 - seen) / looks + z2 / (4.0 * looks)).sqrt() / (1.0 + z2);
    (centre - half, centre + half)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(looks: impl IntoIterator<Item = bool>) -> Share {
        let mut taken = Looks::default();
        looks.into_iter().for_each(|hit| taken.take(hit, Weight::ONE));
        taken.share().unwrap()
    }

    #[test]
    fn without_a_look_there_is_no_share() {
        assert_eq!(Looks::default().share(), None);
    }

    #[test]
    fn the_interval_is_wilsons_where_looks_do_not_depend_on_each_other() {
        // 50 of 100: 0.404 to 0.596 by Wilson's formula.
        let Share { seen, low, high, looks } = share((0..100).map(|i| i % 2 == 0));
        assert_eq!((seen, looks), (0.5, 100));
        assert!((low - 0.404).abs() < 0.001 && (high - 0.596).abs() < 0.001, "{low} {high}");
        // 0 of 10: up to 0.278.
        let Share { low, high, .. } = share([false; 10]);
        assert!(low == 0.0 && (high - 0.278).abs() < 0.001, "{low} {high}");
    }

    #[test]
    fn long_stretches_make_the_interval_wide() {
        let alternating = share((0..10_000).map(|i| i % 2 == 0));
        let stretches = share((0..10_000).map(|i| (i / 1000) % 2 == 0));
        assert!(alternating.high - alternating.low < 0.03, "{alternating:?}");
        assert!(stretches.high - stretches.low > 0.15, "{stretches:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // Holds and pauses of random length, 40 looks in the mean: half of the time.
        let mut random = fastrand::Rng::with_seed(1);
        let held = (0..400).filter(|_| {
            let (mut looks, mut now) = (Looks::default(), random.bool());
            for _ in 0..4000 {
                now ^= random.u32(..40) == 0;
                looks.take(now, Weight::ONE);
            }
            let Share { low, high, .. } = looks.share().unwrap();
            (low..=high).contains(&0.5)
        });
        let held = held.count();
        assert!((360..=396).contains(&held), "{held} of 400");
    }

    #[test]
    fn a_share_is_of_the_time_and_as_sure_as_there_were_looks() {
        let share = |looks: &[(bool, u64)]| {
            let mut taken = Looks::default();
            looks.iter().for_each(|&(hit, left_out)| taken.take(hit, Weight::after(left_out)));
            taken.share().unwrap()
        };
        // One slot of hits, three of others: a quarter of the time.
        let of_time = share(&[(true, 0), (false, 2)].repeat(50));
        assert_eq!((of_time.seen, of_time.looks), (0.25, 100));
        // All of the same weight, they are as sure as their number says, whatever the weight.
        let [light, heavy] = [0, 99].map(|left_out| share(&[(true, left_out), (false, left_out)].repeat(50)));
        assert_eq!(light, heavy);
        // Kish: of weights 1 and 3 in turn 100 looks are worth 200 squared by 500, 80.
        let width = of_time.high - of_time.low;
        let (low, high) = wilson(0.25, 80.0);
        assert!((width - (high - low)).abs() < 1e-9, "{of_time:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_where_looks_stand_for_more_or_less_of_the_time() {
        // As above, but for half of the time one in eight slots is looked at.
        let mut random = fastrand::Rng::with_seed(1);
        let held = (0..400).filter(|_| {
            let (mut looks, mut now, mut left_out) = (Looks::default(), random.bool(), 0);
            for slot in 0..8000 {
                now ^= random.u32(..40) == 0;
                if slot / 500 % 2 == 0 && slot % 8 != 0 {
                    left_out += 1;
                } else {
                    looks.take(now, Weight::after(std::mem::take(&mut left_out)));
                }
            }
            let Share { low, high, .. } = looks.share().unwrap();
            (low..=high).contains(&0.5)
        });
        let held = held.count();
        assert!((350..=400).contains(&held), "{held} of 400");
    }

    #[test]
    fn memory_does_not_grow_with_time() {
        let mut looks = Looks::default();
        (0..1_000_000).for_each(|i| looks.take(i % 3 == 0, Weight::ONE));
        assert!(looks.batches.len() < MOST_BATCHES);
        assert_eq!((looks.hits(), looks.looks()), (333_334, 1_000_000));
    }
}
