//! Samples to intervals: for how long something stays as it is, from sample to sample of one thread.
//!
//! A sample is taken at a random moment of each period, so two that follow each other are less than two periods apart,
//! and what both show is taken to have lasted in between. From two periods on, samples are missing (the thread did not
//! run, or nothing was read): that is not bridged. What was seen last lasts one period then, for which a sample stands.

use std::time::Duration;

/// The time from `begin` to `end`, both since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first sample of it.
    pub begin: Duration,
    /// The next sample that is not of it; without one, a period after its last sample.
    pub end: Duration,
}

/// When the samples of one thread stop to follow each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Followed {
    last: Option<Duration>,
}

impl Followed {
    /// Takes the next sample; where the one before it ends, if this one does not follow it.
    pub fn take(&mut self, at: Duration, period: Duration) -> Option<Duration> {
        let last = self.last.replace(at)?;
        (at.saturating_sub(last) >= 2 * period).then(|| last + period)
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
    pub fn take(&mut self, at: Duration, seen: Option<T>, period: Duration) -> Option<(T, Interval)> {
        let end = self.followed.take(at, period);
        let goes_on = end.is_none() && self.open.as_ref().map(|(what, _)| what) == seen.as_ref();
        if goes_on {
            return None;
        }
        let ended = std::mem::replace(&mut self.open, seen.map(|what| (what, at)));
        ended.map(|(what, begin)| (what, Interval { begin, end: end.unwrap_or(at) }))
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
        let mut steady = Steady::default();
        let mut all = Vec::new();
        for &(at, seen) in samples {
            all.extend(steady.take(Duration::from_millis(at), seen, PERIOD));
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
    fn nothing_seen_is_nothing() {
        assert_eq!(intervals(&[(0, None), (10, None)]), []);
        assert_eq!(intervals(&[]), []);
    }
}
