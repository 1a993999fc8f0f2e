//! The moments of a block as a column of bits. Sampling moments are drawn at random, so the steps between them have no
//! more to be compressed than that most are of one size: Golomb-Rice codes are about as short as there is.

use std::io;
use std::time::Duration;

use super::bytes::{Column, damaged};

/// A step that is so many times as long as usual is spelled in full.
const MOST_ONES: u32 = 20;

/// The moments of a block that is written.
#[derive(Debug, Default)]
pub struct Steps {
    now: Option<u64>,
    steps: Vec<u64>,
}

impl Steps {
    /// Notes when something was; whether that makes a new moment. Times do not go back: what would is taken for now.
    pub fn take(&mut self, at: Duration) -> bool {
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let is_new = self.now.is_none_or(|now| at > now);
        if is_new {
            self.steps.push(at - self.now.unwrap_or(0));
            self.now = Some(at);
        }
        is_new
    }

    /// How much room they may take.
    pub fn size(&self) -> usize {
        self.steps.len() * 2
    }

    /// The column.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Some((first, steps)) = self.steps.split_first() else { return Vec::new() };
        let mean = steps.iter().map(|step| step / steps.len() as u64).sum::<u64>();
        let low = mean.max(1).ilog2();
        let mut out = vec![low as u8];
        super::bytes::put(&mut out, *first);
        let mut bits = BitWriter { out, used: 0 };
        for &step in steps {
            match step >> low {
                ones if ones < MOST_ONES.into() => {
                    bits.put(ones as u32 + 1, (1 << ones) - 1);
                    bits.put(low, step);
                }
                _ => {
                    bits.put(MOST_ONES, (1 << MOST_ONES) - 1);
                    bits.put(64, step);
                }
            }
        }
        bits.out
    }
}

/// The moments of a block that is read.
#[derive(Debug, Default)]
pub struct Moments {
    now: u64,
    column: Column,
    low: u32,
    is_begun: bool,
    bits: (u8, u32),
}

impl Moments {
    /// Those of a column.
    pub fn new(column: Column) -> Moments {
        Moments { column, ..Moments::default() }
    }

    /// Goes to the next moment.
    pub fn step(&mut self, bytes: &[u8]) -> io::Result<()> {
        let step = match std::mem::replace(&mut self.is_begun, true) {
            true => self.read(bytes)?,
            false => {
                self.low = self.column.byte(bytes)?.into();
                if self.low >= 64 {
                    return Err(damaged("a step in time is too large"));
                }
                self.column.number(bytes)?
            }
        };
        self.now = self.now.checked_add(step).ok_or_else(|| damaged("a time is out of range"))?;
        Ok(())
    }

    /// The moment, since the recording began.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let mut ones = 0;
        while ones < MOST_ONES && self.bit(bytes)? == 1 {
            ones += 1;
        }
        if ones == MOST_ONES {
            return self.number(bytes, 64);
        }
        let high = u64::from(ones).checked_shl(self.low).filter(|high| high >> self.low == u64::from(ones));
        Ok(high.ok_or_else(|| damaged("a step in time is too large"))? | self.number(bytes, self.low)?)
    }

    fn number(&mut self, bytes: &[u8], length: u32) -> io::Result<u64> {
        let mut number = 0;
        for at in 0..length {
            number |= self.bit(bytes)? << at;
        }
        Ok(number)
    }

    fn bit(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if self.bits.1 == 0 {
            self.bits = (self.column.byte(bytes)?, 8);
        }
        let bit = self.bits.0 & 1;
        self.bits = (self.bits.0 >> 1, self.bits.1 - 1);
        Ok(bit.into())
    }
}

struct BitWriter {
    out: Vec<u8>,
    /// Bits of the last byte that are used; 0 where the next bit begins one.
    used: u32,
}

impl BitWriter {
    /// Appends the lowest bits of a number, the lowest first.
    fn put(&mut self, length: u32, number: u64) {
        for at in 0..length {
            if self.used == 0 {
                self.out.push(0);
            }
            if let Some(last) = self.out.last_mut() {
                *last |= ((number >> at & 1) as u8) << self.used;
            }
            self.used = (self.used + 1) % 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_moment_comes_back(steps in vec(prop_oneof![8 => 1_u64..20_000, 1 => 1..1_u64 << 50, 1 => Just(1)], 0..99)) {
            let mut now = 0;
            let times: Vec<Duration> = steps.iter().map(|step| { now += step; Duration::from_micros(now) }).collect();
            let mut written = Steps::default();
            times.iter().for_each(|time| assert!(written.take(*time) && !written.take(*time)));
            let bytes = written.to_bytes();
            let mut moments = Moments::new(Column::all(&bytes));
            for time in times {
                moments.step(&bytes).unwrap();
                prop_assert_eq!(moments.now(), time);
            }
        }

        #[test]
        fn any_bytes_are_moments_or_refused(bytes: Vec<u8>) {
            let mut moments = Moments::new(Column::all(&bytes));
            while moments.step(&bytes).is_ok() {}
        }
    }

    #[test]
    fn a_time_that_goes_back_is_taken_for_now() {
        let mut steps = Steps::default();
        let times = [5, 3, 6].map(Duration::from_micros);
        assert_eq!(times.map(|time| steps.take(time)), [true, false, true]);
    }

    #[test]
    fn a_column_is_spelled_as_documented() {
        let mut steps = Steps::default();
        [10, 14, 23].into_iter().for_each(|micros| assert!(steps.take(Duration::from_micros(micros))));
        // Steps of 4 and 9, 6 in the mean: the two lowest bits are apart. In order, 4 is 10 00 and 9 is 110 10.
        assert_eq!(steps.to_bytes(), [2, 10, 0b1011_0001, 0b0]);
    }
}
