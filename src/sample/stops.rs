//! For how long threads of a target were stopped: each stop counts, and what is kept of them does not grow.
//!
//! Lengths are counted in a histogram of buckets that grow with the length, 16 for each power of two, as in an
//! HdrHistogram. That crate would serve, too; its histograms are on the heap, though, and it brings a dozen ways to ask
//! of which one is wanted.

use std::time::Duration;

/// Buckets for each power of two.
const PARTS: usize = 16;
/// Its logarithm.
const PARTS_LOG: u32 = PARTS.ilog2();
/// Lengths are counted in units of 2 to the power of so many nanoseconds: the 16 shortest lengths are up to 1 us.
const UNIT_LOG: u32 = 6;
/// Powers of two beyond those: up to 4.6 minutes. What is longer counts as that long in the median.
const POWERS: usize = 28;
const BUCKETS: usize = (POWERS + 1) * PARTS;

/// Stops of a target, as they happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stops {
    count: u64,
    total: Duration,
    longest: Duration,
    lengths: [u64; BUCKETS],
}

/// For how long threads of a target were stopped, altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// How often.
    pub count: u64,
    /// Altogether.
    pub total: Duration,
    /// The median, from 1 us up right to 3.2 %.
    pub median: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Stopped {
    /// Adds the stops of another target. The median is then about right only; [`Stops::merge`] has it exactly.
    pub fn add(&mut self, other: &Stopped) {
        let count = self.count + other.count;
        let weighed = |stopped: &Stopped| stopped.median.as_secs_f64() * stopped.count as f64;
        let median = (weighed(self) + weighed(other)) / count.max(1) as f64;
        *self = Stopped {
            count,
            total: self.total + other.total,
            median: Duration::from_secs_f64(median),
            longest: self.longest.max(other.longest),
        };
    }
}

impl Default for Stops {
    fn default() -> Stops {
        Stops { count: 0, total: Duration::ZERO, longest: Duration::ZERO, lengths: [0; BUCKETS] }
    }
}

impl Stops {
    /// Counts a stop, if there was one.
    pub fn add(&mut self, stopped: Option<Duration>) {
        if let Some(stopped) = stopped {
            self.count += 1;
            self.total += stopped;
            self.longest = self.longest.max(stopped);
            self.lengths[bucket_of(stopped)] += 1;
        }
    }

    /// Adds those of another target.
    pub fn merge(&mut self, other: &Stops) {
        self.count += other.count;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
        self.lengths.iter_mut().zip(other.lengths).for_each(|(length, other)| *length += other);
    }

    /// For how long somebody was stopped so far.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// What there is to tell of them.
    pub fn stopped(&self) -> Stopped {
        Stopped { count: self.count, total: self.total, median: self.median(), longest: self.longest }
    }

    /// The lower median; zero if there were no stops.
    fn median(&self) -> Duration {
        let half = self.count.div_ceil(2);
        let mut counted = 0;
        let bucket = self.lengths.iter().position(|length| {
            counted += length;
            counted >= half
        });
        middle(bucket.unwrap_or(0)).min(self.longest)
    }
}

fn bucket_of(length: Duration) -> usize {
    let units = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX) as usize >> UNIT_LOG;
    let power = units.max(1).ilog2().saturating_sub(PARTS_LOG);
    (power as usize * PARTS + (units >> power)).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let power = (bucket / PARTS).saturating_sub(1);
    let begin = (bucket - power * PARTS) << power;
    Duration::from_nanos(((2 * begin + (1 << power)) as u64) << (UNIT_LOG - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn stops(lengths: &[Duration]) -> Stopped {
        let mut stops = Stops::default();
        lengths.iter().for_each(|length| stops.add(Some(*length)));
        stops.stopped()
    }

    /// From 1 us to 4 minutes, each power of two as likely as any other.
    fn length() -> impl Strategy<Value = Duration> {
        (0.0..27.8_f64).prop_map(|power| Duration::from_nanos((1024.0 * power.exp2()) as u64))
    }

    proptest! {
        #[test]
        fn the_median_is_right_to_a_few_percent(mut lengths in vec(length(), 1..400)) {
            let told = stops(&lengths).median.as_secs_f64();
            lengths.sort_unstable();
            let exact = lengths[(lengths.len() - 1) / 2].as_secs_f64();
            prop_assert!((told / exact - 1.0).abs() <= 1.0 / 31.0, "{told} instead of {exact}");
        }

        #[test]
        fn the_rest_is_exact(lengths in vec(length(), 1..400)) {
            let told = stops(&lengths);
            prop_assert_eq!(told.count, lengths.len() as u64);
            prop_assert_eq!(told.total, lengths.iter().sum());
            prop_assert_eq!(told.longest, *lengths.iter().max().unwrap());
            prop_assert!(told.median <= told.longest);
        }

        #[test]
        fn a_length_lies_in_its_bucket_and_longer_ones_in_no_earlier(nanos in 0_u64..1 << 37, more in 0_u64..1 << 37) {
            let (bucket, next) = (bucket_of(Duration::from_nanos(nanos)), bucket_of(Duration::from_nanos(nanos + more)));
            prop_assert!(bucket <= next);
            prop_assert!(middle(bucket).as_nanos().abs_diff(u128::from(nanos)) <= u128::from(nanos / 31 + 32));
        }
    }

    #[test]
    fn the_stops_of_two_targets_are_as_those_of_one() {
        let lengths = [3, 700, 40, 40, 9].map(Duration::from_micros);
        let [mut one, mut other, mut both] = [(); 3].map(|()| Stops::default());
        lengths.iter().for_each(|length| both.add(Some(*length)));
        lengths[..2].iter().for_each(|length| one.add(Some(*length)));
        lengths[2..].iter().for_each(|length| other.add(Some(*length)));
        one.merge(&other);
        assert_eq!(one, both);
    }

    #[test]
    fn no_stop_has_no_length() {
        let mut stops = Stops::default();
        stops.add(None);
        assert_eq!(stops.stopped(), Stopped::default());
    }

    #[test]
    fn a_stop_of_hours_counts() {
        let hours = Duration::from_secs(36_000);
        let told = stops(&[hours, Duration::MAX / 2, hours]);
        assert_eq!((told.count, told.longest), (3, Duration::MAX / 2));
        assert!(told.median >= Duration::from_secs(256), "{told:?}");
    }

    #[test]
    fn a_median_is_not_above_the_longest() {
        let told = stops(&[Duration::from_nanos(28_700)]);
        assert_eq!((told.median, told.longest), (told.longest, Duration::from_nanos(28_700)));
    }
}
