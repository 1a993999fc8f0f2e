//! Samples to intervals: for how long something stays as it is, from sample to sample of one thread.
//!
//! A sample is taken at a random moment of each period, so two that follow each other are less than two periods apart,
//! and what both show is taken to have lasted in between. From two periods on, samples are missing (the thread did not
//! run, or nothing was read): that is not bridged. What was seen last lasts one period then, for which a sample stands.
//! One that stands for more of the time, as samples before it were left out on purpose, begins as much earlier.

use std::time::Duration;

use crate::sample::{Sample, Weight};

/// When something was seen, and for how many periods that stands.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The moment of the sample.
    pub at: Duration,
    /// Of which the last is its own.
    pub weight: Weight,
}

impl Seen {
    /// When a sample was.
    pub fn of(sample: &Sample) -> Seen {
        Seen { at: sample.at, weight: sample.weight }
    }
}

/// The time from `begin` to `end`, both since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first sample of it, or as much earlier as it stands for what was left out before.
    pub begin: Duration,
    /// The next sample that is not of it; without one, a period after its last sample.
    pub end: Duration,
}

/// When the samples of one thread stop to follow each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Followed {
    last: Option<Duration>,
}

/// What the next sample does to the one before.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where what the sample shows begins.
    pub begin: Duration,
    /// Where what the one before shows ends, if this one does not follow it.
    pub gap: Option<Duration>,
}

impl Followed {
    /// Takes the next sample.
    pub fn take(&mut self, seen: Seen, period: Duration) -> Step {
        let begin = seen.at.saturating_sub(seen.weight.before(period));
        let Some(last) = self.last.replace(seen.at) else { return Step { begin, gap: None } };
        let gap = (begin.saturating_sub(last) >= 2 * period).then(|| last + period);
        Step { begin: begin.max(last), gap }
    }

    /// Where the last sample ends.
    pub fn end(self, period: Duration) -> Option<Duration> {
        self.last.map(|last| last + period)
    }
}

/// Something that is one way or another, or is not.
#[derive(Clone, Copy, Debug)]
pub struct Steady<T> {
    open: Option<(T, Duration)>,
    followed: Followed,
}

impl<T> Default for Steady<T> {
    fn default() -> Steady<T> {
        Steady { open: None, followed: Followed::default() }
    }
}

impl<T: PartialEq> Steady<T> {
    /// Takes what the next sample shows; what has ended with it, if something has.
    pub fn take(&mut self, seen: Seen, what: Option<T>, period: Duration) -> Option<(T, Interval)> {
        let Step { begin: next, gap } = self.followed.take(seen, period);
        let goes_on = gap.is_none() && self.open.as_ref().map(|(what, _)| what) == what.as_ref();
        if goes_on {
            return None;
        }
        let ended = std::mem::replace(&mut self.open, what.map(|what| (what, next)));
        ended.map(|(what, begin)| (what, Interval { begin, end: gap.unwrap_or(next) }))
    }

    /// What has not ended.
    pub fn end(self, period: Duration) -> Option<(T, Interval)> {
        let ((what, begin), end) = (self.open?, self.followed.end(period)?);
        Some((what, Interval { begin, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    fn intervals(samples: &[(u64, Option<char>)]) -> Vec<(char, u64, u64)> {
        weighed(&samples.iter().map(|&(at, what)| (at, 1, what)).collect::<Vec<_>>())
    }

    fn weighed(samples: &[(u64, u64, Option<char>)]) -> Vec<(char, u64, u64)> {
        let mut steady = Steady::default();
        let mut all = Vec::new();
        for &(at, slots, what) in samples {
            let seen = Seen { at: Duration::from_millis(at), weight: Weight::of(slots).unwrap() };
            all.extend(steady.take(seen, what, PERIOD));
        }
        all.extend(steady.end(PERIOD));
        all.iter().map(|(what, at)| (*what, at.begin.as_millis() as u64, at.end.as_millis() as u64)).collect()
    }

    #[test]
    fn what_is_seen_again_goes_on() {
        assert_eq!(intervals(&[(0, Some('a')), (19, Some('a')), (20, Some('a'))]), [('a', 0, 30)]);
    }

    #[test]
    fn what_is_seen_differently_ends_where_the_other_begins() {
        let seen = [(0, Some('a')), (12, Some('b')), (20, None), (30, Some('b'))];
        assert_eq!(intervals(&seen), [('a', 0, 12), ('b', 12, 20), ('b', 30, 40)]);
    }

    #[test]
    fn a_missing_sample_is_not_bridged() {
        assert_eq!(intervals(&[(0, Some('a')), (20, Some('a'))]), [('a', 0, 10), ('a', 20, 30)]);
    }

    #[test]
    fn what_was_left_out_before_a_sample_is_no_gap_and_belongs_to_it() {
        let seen = [(5, 1, Some('a')), (57, 5, Some('a')), (95, 4, Some('b')), (150, 3, Some('b')), (161, 1, None)];
        assert_eq!(weighed(&seen), [('a', 5, 65), ('b', 65, 105), ('b', 130, 161)]);
        assert_eq!(weighed(&[(5, 4, Some('a')), (20, 9, Some('b'))]), [('a', 0, 5), ('b', 5, 30)]);
    }

    #[test]
    fn nothing_seen_is_nothing() {
        assert_eq!(intervals(&[(0, None), (10, None)]), []);
        assert_eq!(intervals(&[]), []);
    }
}
