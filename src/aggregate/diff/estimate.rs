//! How much of the time something takes, and how far from that the truth may be.
//!
//! Samples that follow each other are alike, so how many there are says little about how sure a share is. The time of a
//! recording is parted into 32 stretches of equal length, and how much those differ from each other tells it: a function that
//! is in all of them alike is known well, one that is in two of them only is not, however many samples those have. The
//! stretches are looked at as they are, in pairs, and in fours, and the largest variance of the three counts, because
//! stretches that are shorter than what the program does in turn are alike again. It is never taken for less than that of
//! as many samples that do not depend on each other. Samples that stand for unequal parts of the time are worth fewer that are
//! alike: the square of the sum of their weights by the sum of their squares (Kish 1965).

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Side;

/// Into how many stretches the time of a recording is parted.
pub const STRETCHES: usize = 32;
/// In groups of how many they are looked at.
const GROUPS: [usize; 3] = [1, 2, 4];
/// Degrees of freedom beyond which Student's distribution is as good as the normal one.
const MANY: f64 = 1e6;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Shares of all samples, 0 to 1.
    #[default]
    Share,
    /// Seconds of thread time a second of wall time: samples by moments at which samples were taken, each as often as it stands
    /// for slots of the clock.
    Time,
}

/// What was counted in each stretch. A recording without times has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretches(pub Vec<f64>);

/// What was seen of something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    /// How many samples.
    pub samples: u64,
    /// For how many slots of the clock those of each stretch stand.
    pub slots: Stretches,
}

/// How much of the time something takes. Its variance is that of the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many samples.
    pub hits: u64,
    /// For how many slots of the clock they stand.
    pub slots: f64,
    /// The share, or the time.
    pub value: f64,
    /// Its variance.
    pub variance: f64,
    /// How sure the variance is: degrees of freedom.
    pub freedom: f64,
}

impl Stretches {
    fn sum(&self) -> f64 {
        self.0.iter().sum()
    }
}

impl Estimate {
    /// `hits` as a share of the `whole`.
    pub fn new(hits: &Hits, whole: &Stretches, side: Side) -> Estimate {
        let (seen, all) = (hits.slots.sum(), whole.sum());
        if all <= 0.0 {
            return Estimate { hits: 0, slots: 0.0, value: 0.0, variance: 0.0, freedom: MANY };
        }
        let value = seen / all;
        let (variance, freedom) = GROUPS
            .iter()
            .filter(|_| side.stretches > 1)
            .map(|&group| between(&hits.slots, whole, group))
            .chain([(independent(seen * side.evidence, all * side.evidence), MANY)])
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("there is one at least");
        Estimate { hits: hits.samples, slots: seen, value, variance, freedom }
    }

    /// This one times a factor that is known.
    pub fn times(&self, factor: f64) -> Estimate {
        Estimate { value: self.value * factor, variance: self.variance * factor * factor, ..*self }
    }

    /// The difference to another one that does not depend on it.
    pub fn less(&self, other: &Estimate) -> Estimate {
        let variance = self.variance + other.variance;
        // Welch and Satterthwaite.
        let parts = self.variance.powi(2) / self.freedom + other.variance.powi(2) / other.freedom;
        let freedom = if parts > 0.0 { (variance.powi(2) / parts).min(MANY) } else { MANY };
        Estimate { value: self.value - other.value, variance, freedom, ..*self }
    }

    /// How likely noise alone makes it this much above 0.
    pub fn above_zero(&self) -> f64 {
        match self.variance > 0.0 {
            true => self.student().sf(self.value / self.variance.sqrt()),
            false => 1.0,
        }
    }

    /// How likely noise alone makes it this far from 0.
    pub fn two_sided(&self) -> f64 {
        match self.variance > 0.0 {
            true => (2.0 * self.student().sf(self.value.abs() / self.variance.sqrt())).min(1.0),
            false => 1.0,
        }
    }

    /// Where the truth is, as often as `confidence` says.
    pub fn interval(&self, confidence: f64) -> (f64, f64) {
        let wide = self.student().inverse_cdf(0.5 + confidence / 2.0) * self.variance.sqrt();
        (self.value - wide, self.value + wide)
    }

    fn student(&self) -> StudentsT {
        StudentsT::new(0.0, 1.0, self.freedom).expect("freedom is more than 0")
    }
}

/// The variance of a share by how much groups of stretches differ, and its degrees of freedom.
fn between(hits: &Stretches, whole: &Stretches, group: usize) -> (f64, f64) {
    let (all, share) = (whole.sum(), hits.sum() / whole.sum());
    let groups = (hits.0.len() / group) as f64;
    let of = |counts: &[f64]| counts.iter().sum::<f64>();
    let squares: f64 = hits
        .0
        .chunks(group)
        .zip(whole.0.chunks(group))
        .map(|(hits, whole)| (of(hits) - share * of(whole)).powi(2))
        .sum();
    (groups / (groups - 1.0) * squares / all.powi(2), groups - 1.0)
}

/// The variance of a share where samples do not depend on each other. One more is counted than was seen, so that what was not
/// seen at all is not thought to be known exactly.
fn independent(seen: f64, all: f64) -> f64 {
    (seen + 1.0) * (1.0 - seen / all).max(1.0 / all) / all.powi(2)
}

/// Which of the hypotheses whose likelihoods these are cannot be held up, so that with probability `1 - error` none is given up
/// wrongly, whatever depends on what (Holm 1979).
pub fn holm(ps: &[f64], error: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    order
        .iter()
        .enumerate()
        .take_while(|&(rank, &at)| ps[at] <= error / (ps.len() - rank) as f64)
        .map(|(_, &at)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(stretches: usize) -> Side {
        Side { samples: 0, slots: 0, evidence: 1.0, moments: None, elapsed: 0.0, stretches }
    }

    fn share(hits: &[f64], whole: f64) -> Estimate {
        let hits = Hits { samples: hits.iter().sum::<f64>() as u64, slots: Stretches(hits.to_vec()) };
        let stretches = hits.slots.0.len();
        Estimate::new(&hits, &Stretches(vec![whole; stretches]), side(stretches))
    }

    #[test]
    fn samples_without_times_are_taken_for_independent() {
        let estimate = share(&[100.0], 400.0);
        assert_eq!((estimate.hits, estimate.value), (100, 0.25));
        // 0.25 * 0.75 / 400, but for the one that is added.
        assert!((estimate.variance / (0.25 * 0.75 / 400.0) - 1.01).abs() < 1e-6, "{estimate:?}");
    }

    #[test]
    fn samples_that_stand_for_unequal_parts_of_the_time_are_worth_fewer() {
        // Of 100 samples half stand for 1 slot and half for 3: 200 slots, and as sure as 200 * 200 / 500 = 80 that are alike.
        let side = Side { evidence: 200.0 / 500.0, ..side(1) };
        let hits = Hits { samples: 25, slots: Stretches(vec![50.0]) };
        let estimate = Estimate::new(&hits, &Stretches(vec![200.0]), side);
        assert_eq!((estimate.hits, estimate.slots, estimate.value), (25, 50.0, 0.25));
        // 0.25 * 0.75 / 80, but for the one that is added to 20.
        assert!((estimate.variance / (0.25 * 0.75 / 80.0) - 1.05).abs() < 1e-6, "{estimate:?}");
    }

    #[test]
    fn stretches_that_differ_make_a_share_unsure() {
        let even = share(&[50.0; 32], 100.0);
        let burst = share(&[[100.0; 16], [0.0; 16]].concat(), 100.0);
        assert_eq!((even.value, burst.value), (0.5, 0.5));
        // Eight groups of four, half of them all and half of them nothing: each is 0.5 off, so the mean is off by
        // 0.5 / sqrt(7).
        assert!((burst.variance.sqrt() - 0.5 / 7f64.sqrt()).abs() < 1e-9, "{burst:?}");
        assert!(even.variance < 1e-4, "{even:?}");
    }

    #[test]
    fn what_was_not_seen_is_not_known_exactly() {
        let estimate = share(&[0.0; 32], 100.0);
        assert!(estimate.value == 0.0 && estimate.variance > 0.0);
    }

    #[test]
    fn the_interval_is_students() {
        // The quantile of Student's distribution with 10 degrees of freedom for 95 % is 2.228.
        let (low, high) = Estimate { hits: 1, slots: 1.0, value: 1.0, variance: 0.01, freedom: 10.0 }.interval(0.95);
        assert!((low - 0.7772).abs() < 1e-4 && (high - 1.2228).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn the_smallest_likelihoods_are_held_to_most() {
        assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005], 0.05), [3, 0]);
        assert_eq!(holm(&[0.02, 0.9], 0.05), [0]);
        assert_eq!(holm(&[0.03, 0.9], 0.05), [0; 0]);
        assert_eq!(holm(&[], 0.05), [0; 0]);
    }
}
