//! GIL samples as a column, in which what is as it was takes no room.

use std::io;
use std::time::Duration;

use super::bytes::{Column, damaged, put, put_signed};
use super::times::{Moments, Steps};
use crate::sample::{GilHeld, GilSample, ProcessId, ThreadId, Weight};

const NEW_MOMENT: u8 = 1;
const IN_FULL: u8 = 2;
const OTHER_HOLDER: u8 = 4;
const SWITCHED: u8 = 8;
const COLLECTS: u8 = 16;
/// All flags there are.
const FLAGS: u8 = 31;

/// GILs that are remembered at a time.
const MOST: usize = 256;

/// The last sample of each GIL, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct LastGils {
    seen: Vec<GilSample>,
    /// The one that is expected next.
    next: usize,
}

impl LastGils {
    /// Appends a sample.
    pub fn put(&mut self, out: &mut Vec<u8>, sample: &GilSample, steps: &mut Steps) {
        let mut flags = if sample.is_collecting { COLLECTS } else { 0 };
        if steps.take(sample.at) {
            flags |= NEW_MOMENT;
        }
        let switched = self.expected().filter(|last| is_alike(last, sample)).and_then(|last| switched(last, sample));
        let Some(switched) = switched else {
            out.push(flags | IN_FULL);
            put_in_full(out, sample);
            self.note(*sample);
            return;
        };
        if self.seen[self.next].holder != sample.holder {
            flags |= OTHER_HOLDER;
        }
        if switched != 0 {
            flags |= SWITCHED;
        }
        out.push(flags);
        if flags & OTHER_HOLDER != 0 {
            put(out, holder_number(sample.holder));
        }
        if flags & SWITCHED != 0 {
            put_signed(out, switched);
        }
        self.note(*sample);
    }

    /// Reads the next sample.
    pub fn read(&mut self, bytes: &[u8], column: &mut Column, moments: &mut Moments) -> io::Result<GilSample> {
        let flags = column.byte(bytes)?;
        if flags & !FLAGS != 0 {
            return Err(damaged("a flag is not known"));
        }
        if flags & NEW_MOMENT != 0 {
            moments.step(bytes)?;
        }
        let mut sample = match flags & IN_FULL {
            0 => *self.expected().ok_or_else(|| damaged("a GIL is like none before"))?,
            _ => read_in_full(bytes, column)?,
        };
        sample.at = moments.now();
        sample.is_collecting = flags & COLLECTS != 0;
        if flags & OTHER_HOLDER != 0 {
            sample.holder = read_holder(bytes, column)?;
        }
        if flags & SWITCHED != 0 {
            let more = column.signed(bytes)?;
            sample.switches = sample.switches.map(|switches| switches.wrapping_add(more as u64));
        }
        self.note(sample);
        Ok(sample)
    }

    fn expected(&self) -> Option<&GilSample> {
        self.seen.get(self.next)
    }

    fn note(&mut self, sample: GilSample) {
        let is_same = |last: &GilSample| (last.process, last.interpreter) == (sample.process, sample.interpreter);
        let at = match self.expected() {
            Some(last) if is_same(last) => self.next,
            _ => self.seen.iter().position(is_same).unwrap_or_else(|| {
                if self.seen.len() == MOST {
                    self.seen.clear();
                }
                self.seen.push(sample);
                self.seen.len() - 1
            }),
        };
        self.seen[at] = sample;
        self.next = (at + 1) % self.seen.len();
    }
}

/// Whether a sample differs from the last one only in what need not be spelled in full.
fn is_alike(last: &GilSample, sample: &GilSample) -> bool {
    let key = |sample: &GilSample| (sample.process, sample.interpreter, sample.owner, sample.interval);
    key(last) == key(sample)
}

/// How much more often it was switched; `None` where that is not known of one of them.
fn switched(last: &GilSample, sample: &GilSample) -> Option<i64> {
    match (last.switches, sample.switches) {
        (Some(last), Some(now)) => Some(now.wrapping_sub(last) as i64),
        (None, None) => Some(0),
        _ => None,
    }
}

fn put_in_full(out: &mut Vec<u8>, sample: &GilSample) {
    put(out, sample.process.0.into());
    put_signed(out, sample.interpreter);
    put_signed(out, sample.owner);
    put(out, holder_number(sample.holder));
    put(out, sample.switches.map_or(0, |switches| switches.saturating_add(1)));
    let nanos = |interval: Duration| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    put(out, sample.interval.map_or(0, |interval| nanos(interval).saturating_add(1)));
}

fn read_in_full(bytes: &[u8], column: &mut Column) -> io::Result<GilSample> {
    Ok(GilSample {
        at: Duration::ZERO,
        process: ProcessId(column.small(bytes)?),
        interpreter: column.signed(bytes)?,
        owner: column.signed(bytes)?,
        holder: read_holder(bytes, column)?,
        switches: column.optional(bytes)?,
        interval: column.optional(bytes)?.map(Duration::from_nanos),
        is_collecting: false,
        holding: None,
        weight: Weight::ONE,
    })
}

fn holder_number(holder: GilHeld) -> u64 {
    match holder {
        GilHeld::None => 0,
        GilHeld::Unknown => 1,
        GilHeld::Free => 2,
        GilHeld::BySomeone => 3,
        GilHeld::By(thread) => u64::from(thread.0) + 4,
    }
}

fn read_holder(bytes: &[u8], column: &mut Column) -> io::Result<GilHeld> {
    Ok(match column.number(bytes)? {
        0 => GilHeld::None,
        1 => GilHeld::Unknown,
        2 => GilHeld::Free,
        3 => GilHeld::BySomeone,
        more => match u32::try_from(more - 4) {
            Ok(thread) => GilHeld::By(ThreadId(thread)),
            Err(_) => return Err(damaged("a holder is out of range")),
        },
    })
}
