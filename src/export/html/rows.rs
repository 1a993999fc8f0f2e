//! When what was seen how often: rows whose times are rounded as far as it takes to have no more of them than a browser
//! handles well. No sample is left out.

use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::super::steady::Seen;

/// More rows than this are made fewer, by rounding times.
const MOST_ROWS: usize = 1_000_000;
/// Into so many pieces the time that one sample stands for is parted at most.
const MOST_PIECES: u64 = 1000;
/// To how much times are rounded at least, in microseconds.
const FINEST: u64 = 1000;
/// Rows as the page gets them.
#[derive(Serialize)]
pub struct Rows {
    /// To how many microseconds times are rounded, downwards.
    pub unit: u64,
    /// When, in units: the difference to the row before. Each recording begins at 0.
    pub after: Vec<i64>,
    pub kind: Vec<u32>,
    pub count: Vec<u32>,
}

/// Rows of samples whose times are rounded as far as is needed to have not too many.
pub struct Rounded {
    unit: u64,
    /// Rows that are too many.
    limit: usize,
    period: Duration,
    rows: Vec<Row>,
    /// The recording whose rows are taken, and where they begin.
    recording: u8,
    /// The rows of the time that is under way, by kind.
    open: FxHashMap<u32, usize>,
    now: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    recording: u8,
    /// In units.
    at: u64,
    kind: u32,
    count: u32,
}

impl Default for Rounded {
    fn default() -> Rounded {
        Rounded {
            unit: FINEST,
            limit: MOST_ROWS,
            period: Duration::ZERO,
            rows: Vec::new(),
            recording: 0,
            open: FxHashMap::default(),
            now: 0,
        }
    }
}

impl Rounded {
    /// The rows of another recording follow, whose slots are so long.
    pub fn begin(&mut self, period: Duration) {
        self.period = period;
        self.recording += 1;
        self.open.clear();
    }

    /// Takes a sample of a kind: as often as it stands for slots, each at its time.
    pub fn take(&mut self, Seen { at, weight }: Seen, kind: u32) {
        let slots = weight.slots();
        let pieces = slots.min(MOST_PIECES);
        for piece in (0..pieces).rev() {
            let part = piece as f64 / (pieces - 1).max(1) as f64;
            // A period that a damaged recording tells may be of any length.
            let earlier = Duration::try_from_secs_f64(weight.before(self.period).as_secs_f64() * part);
            let count = slots * (piece + 1) / pieces - slots * piece / pieces;
            self.add(at.saturating_sub(earlier.unwrap_or(Duration::MAX)), kind, count as u32);
        }
    }

    fn add(&mut self, at: Duration, kind: u32, count: u32) {
        let at = at.as_micros() as u64 / self.unit;
        if at != self.now {
            self.now = at;
            self.open.clear();
        }
        match self.open.get(&kind) {
            Some(&row) => self.rows[row].count = self.rows[row].count.saturating_add(count),
            None => {
                self.open.insert(kind, self.rows.len());
                self.rows.push(Row { recording: self.recording, at, kind, count });
            }
        }
        if self.rows.len() > self.limit {
            self.round();
        }
    }

    /// Rounds more, until there are three quarters of the rows that there may be, or all of them are of one time. Where that is not
    /// enough, because so many are distinct, there may be more.
    fn round(&mut self) {
        while self.rows.len() > self.limit / 4 * 3 && self.rows.iter().any(|row| row.at > 0) {
            self.unit *= 2;
            self.rows.iter_mut().for_each(|row| row.at /= 2);
            self.rows.sort_unstable();
            self.rows.dedup_by(|next, row| {
                let same = (row.recording, row.at, row.kind) == (next.recording, next.at, next.kind);
                if same {
                    row.count = row.count.saturating_add(next.count);
                }
                same
            });
        }
        if self.rows.len() > self.limit / 4 * 3 {
            self.limit = self.rows.len() * 2;
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.open.clear();
        let Some(&Row { recording, at, .. }) = self.rows.last() else { return };
        self.now = at;
        let is_open = |row: &Row| row.recording == recording && row.at == at;
        let first = self.rows.iter().rposition(|row| !is_open(row)).map_or(0, |row| row + 1);
        self.open.extend((first..self.rows.len()).map(|row| (self.rows[row].kind, row)));
    }

    /// The rows, by recording, then by time.
    pub fn rows(mut self) -> Rows {
        // What was left out before a sample comes with it.
        self.rows.sort_by_key(|row| (row.recording, row.at));
        let (mut last, mut after) = (0, Vec::with_capacity(self.rows.len()));
        for row in &self.rows {
            after.push(row.at as i64 - last);
            last = row.at as i64;
        }
        Rows {
            unit: self.unit,
            after,
            kind: self.rows.iter().map(|row| row.kind).collect(),
            count: self.rows.iter().map(|row| row.count).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Weight;

    const PERIOD: Duration = Duration::from_millis(10);

    fn at(milliseconds: u64) -> Seen {
        Seen { at: Duration::from_millis(milliseconds), weight: Weight::ONE }
    }

    fn rounded(limit: usize, samples: impl IntoIterator<Item = (u64, u32)>) -> Rounded {
        let mut rounded = Rounded { limit, ..Rounded::default() };
        rounded.begin(PERIOD);
        samples.into_iter().for_each(|(milliseconds, kind)| rounded.take(at(milliseconds), kind));
        rounded
    }

    fn shown(rounded: &Rounded) -> Vec<(u64, u32, u32)> {
        rounded.rows.iter().map(|row| (row.at, row.kind, row.count)).collect()
    }

    #[test]
    fn samples_that_are_few_keep_their_times() {
        let rounded = rounded(100, [(0, 1), (0, 2), (0, 1), (7, 1), (8, 1)]);
        assert_eq!(rounded.unit, 1000);
        assert_eq!(shown(&rounded), [(0, 1, 2), (0, 2, 1), (7, 1, 1), (8, 1, 1)]);
    }

    #[test]
    fn times_are_rounded_as_far_as_is_needed_and_no_sample_is_lost() {
        // Two kinds in turn, each millisecond: 1024 rows become 8 or fewer, of 256 ms and two kinds.
        let rounded = rounded(8, (0..1024).map(|at| (at, at as u32 % 2)));
        assert_eq!(rounded.unit, 256_000);
        let expected: Vec<_> = (0..4).flat_map(|at| [(at, 0, 128), (at, 1, 128)]).collect();
        assert_eq!(shown(&rounded), expected);
    }

    #[test]
    fn a_sample_is_in_each_slot_that_it_stands_for() {
        let mut rounded = rounded(100, [(5, 0)]);
        rounded.take(Seen { weight: Weight::after(3), ..at(50) }, 1);
        rounded.take(at(62), 0);
        let rows = rounded.rows();
        assert_eq!(rows.kind, [0, 1, 1, 1, 1, 0]);
        assert_eq!((rows.after, rows.count), (vec![5, 15, 10, 10, 10, 12], vec![1; 6]));
    }

    #[test]
    fn a_sample_that_stands_for_ever_is_counted_in_full_and_takes_no_more_rows_than_there_are_pieces() {
        let mut rounded = rounded(1 << 20, []);
        let weight = Weight::after(u64::from(u32::MAX) / 2);
        rounded.take(Seen { weight, ..at(5000) }, 1);
        assert!(rounded.rows.len() <= MOST_PIECES as usize);
        assert_eq!(rounded.rows.iter().map(|row| u64::from(row.count)).sum::<u64>(), weight.slots());
    }

    #[test]
    fn more_kinds_than_rows_are_all_there() {
        let rounded = rounded(8, (0..100).map(|at| (at, at as u32)));
        let mut kinds: Vec<u32> = rounded.rows.iter().map(|row| row.kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, (0..100).collect::<Vec<_>>());
        assert!(rounded.rows.iter().all(|row| row.count == 1));
    }

    #[test]
    fn rows_are_told_by_their_differences_and_a_second_recording_begins_anew() {
        let mut rounded = rounded(100, [(5, 0), (9, 0)]);
        rounded.begin(PERIOD);
        rounded.take(at(2), 1);
        let rows = rounded.rows();
        assert_eq!(
            (rows.unit, rows.after, rows.kind, rows.count),
            (1000, vec![5, 4, -7], vec![0, 0, 1], vec![1, 1, 1])
        );
    }

    #[test]
    fn times_of_two_recordings_are_rounded_alike() {
        let mut rounded = rounded(4, [(1, 0), (3, 0), (5, 0), (7, 0)]);
        rounded.begin(PERIOD);
        rounded.take(at(6), 1);
        assert_eq!(rounded.unit, 4000);
        let rows: Vec<_> = rounded.rows.iter().map(|row| (row.recording, row.at, row.count)).collect();
        assert_eq!(rows, [(1, 0, 2), (1, 1, 2), (2, 1, 1)]);
    }
}
