//! How often something was seen, and how far from that the truth may be.
//!
//! Samples that follow each other are alike: a thread that holds the GIL for a second is seen hundreds of times. To take each
//! for an independent look would make the interval far too narrow, so it comes from the differences between stretches of the
//! recording.

/// Stretches are kept in so many batches at most; then two and two become one.
const MOST_BATCHES: usize = 64;
/// With fewer the spread between them tells nothing.
const FEWEST_BATCHES: usize = 8;

/// How often something was seen in a row of looks.
#[derive(Clone, Debug)]
pub struct Looks {
    hits: u64,
    looks: u64,
    /// Looks that make a batch.
    size: u64,
    /// Hits in each batch.
    batches: Vec<u64>,
    open: (u64, u64),
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
        Looks { hits: 0, looks: 0, size: 1, batches: Vec::new(), open: (0, 0) }
    }
}

impl Looks {
    /// Takes the next look.
    pub fn take(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.looks += 1;
        self.open = (self.open.0 + u64::from(hit), self.open.1 + 1);
        if self.open.1 == self.size {
            self.batches.push(std::mem::take(&mut self.open).0);
        }
        if self.batches.len() == MOST_BATCHES {
            self.batches = self.batches.chunks_exact(2).map(|pair| pair[0] + pair[1]).collect();
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

    /// The share of looks in which it was seen; `None` without a look.
    pub fn share(&self) -> Option<Share> {
        if self.looks == 0 {
            return None;
        }
        let seen = self.hits as f64 / self.looks as f64;
        let (low, high) = wilson(seen, self.looks as f64);
        let spread = self.spread();
        Some(Share {
            seen,
            low: low.min(seen - spread).max(0.0),
            high: high.max(seen + spread).min(1.0),
            looks: self.looks,
        })
    }

    /// How far the mean of the batches may be from the truth.
    fn spread(&self) -> f64 {
        let count = self.batches.len();
        if count < FEWEST_BATCHES {
            return 0.0;
        }
        let means: Vec<f64> = self.batches.iter().map(|&hits| hits as f64 / self.size as f64).collect();
        let mean = means.iter().sum::<f64>() / count as f64;
        let variance = means.iter().map(|of| (of - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
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
        looks.into_iter().for_each(|hit| taken.take(hit));
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
                looks.take(now);
            }
            let Share { low, high, .. } = looks.share().unwrap();
            (low..=high).contains(&0.5)
        });
        let held = held.count();
        assert!((360..=396).contains(&held), "{held} of 400");
    }

    #[test]
    fn memory_does_not_grow_with_time() {
        let mut looks = Looks::default();
        (0..1_000_000).for_each(|i| looks.take(i % 3 == 0));
        assert!(looks.batches.len() < MOST_BATCHES);
        assert_eq!((looks.hits(), looks.looks()), (333_334, 1_000_000));
    }
}
