//! The account as a row of numbers, told as what changed.

use std::io;
use std::time::Duration;

use super::bytes::{Column, damaged, put, put_signed};
use crate::sample::{Mixing, Stopped, Tally};

/// How many numbers there are.
const FIELDS: usize = 24;

type Fields = [u64; FIELDS];

/// What was told last.
#[derive(Clone, Debug, Default)]
pub struct LastProgress(Fields);

impl LastProgress {
    /// Appends what changed.
    pub fn put(&mut self, out: &mut Vec<u8>, elapsed: Duration, tally: &Tally) {
        let fields = fields(elapsed, tally);
        let changed = |field: &usize| fields[*field] != self.0[*field];
        put(out, (0..FIELDS).filter(changed).map(|field| 1 << field).sum());
        for field in (0..FIELDS).filter(changed) {
            put_signed(out, fields[field].wrapping_sub(self.0[field]) as i64);
        }
        self.0 = fields;
    }

    /// Reads what changed.
    pub fn read(&mut self, bytes: &[u8], column: &mut Column) -> io::Result<(Duration, Tally)> {
        let mask = column.number(bytes)?;
        if mask >> FIELDS != 0 {
            return Err(damaged("the account has more fields than are known"));
        }
        for field in (0..FIELDS).filter(|field| mask >> field & 1 == 1) {
            self.0[field] = self.0[field].wrapping_add(column.signed(bytes)? as u64);
        }
        Ok(tally(&self.0))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn fields(elapsed: Duration, tally: &Tally) -> Fields {
    let Tally {
        asked,
        taken,
        late,
        failed,
        dropped,
        torn,
        unmapped,
        invalid,
        truncated,
        reads,
        stretched,
        spared,
        stood_for,
        ..
    } = *tally;
    let Stopped { count, total, median, longest } = tally.stopped;
    let Mixing { kept, found, proved, open, doubtful } = tally.mixing;
    [
        nanos(elapsed),
        asked,
        taken,
        late,
        failed,
        dropped,
        torn,
        unmapped,
        invalid,
        truncated,
        reads,
        stretched,
        count,
        nanos(total),
        nanos(median),
        nanos(longest),
        kept,
        found,
        proved,
        open,
        doubtful,
        nanos(tally.own_cpu),
        spared,
        stood_for,
    ]
}

fn tally(fields: &Fields) -> (Duration, Tally) {
    let time = Duration::from_nanos;
    let [
        elapsed,
        asked,
        taken,
        late,
        failed,
        dropped,
        torn,
        unmapped,
        invalid,
        truncated,
        reads,
        stretched,
        count,
        total,
        median,
        longest,
        kept,
        found,
        proved,
        open,
        doubtful,
        own_cpu,
        spared,
        stood_for,
    ] = *fields;
    let stopped = Stopped { count, total: time(total), median: time(median), longest: time(longest) };
    let mixing = Mixing { kept, found, proved, open, doubtful };
    let own_cpu = time(own_cpu);
    let tally = Tally {
        asked,
        taken,
        late,
        failed,
        dropped,
        torn,
        unmapped,
        invalid,
        truncated,
        reads,
        stretched,
        spared,
        stood_for,
        stopped,
        mixing,
        own_cpu,
    };
    (time(elapsed), tally)
}
