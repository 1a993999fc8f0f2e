//! The columns of a block as one sequence of bits, by chances that are learned as long as the recording lasts. What the
//! columns mean is not known here, but for what each symbol depends on.

use std::io;

use super::block::VERSION;
use super::bytes::{Column, damaged};
use super::coder::{Coder, Decoder, Encoder, Symbols};
use super::times::Slots;

/// How many columns there are.
pub const COLUMNS: usize = 8;

/// Moments that a block has at most. A writer ends a block before there are so many.
const MOST_MOMENTS: u64 = 1 << 20;

/// How many symbols before it a symbol depends on.
#[derive(Clone, Copy, Debug)]
enum DependsOn {
    None,
    One,
    Two,
}

/// For each column how many bits a symbol has, and what it depends on: order, flags, threads, states, recent, stacks, gils, weights.
/// The last is not in version 3.
const KINDS: [(u32, DependsOn); COLUMNS] = [
    (4, DependsOn::Two),
    (4, DependsOn::Two),
    (8, DependsOn::One),
    (8, DependsOn::One),
    (8, DependsOn::None),
    (8, DependsOn::None),
    (8, DependsOn::Two),
    (8, DependsOn::One),
];

/// What is known of a column.
#[derive(Debug)]
struct Known {
    symbols: Symbols,
    depends: DependsOn,
    last: u8,
    before_last: u8,
}

impl Known {
    fn code(&mut self, coder: &mut impl Coder, symbol: u8) -> io::Result<u8> {
        let context = match self.depends {
            DependsOn::None => 0,
            DependsOn::One => self.last,
            DependsOn::Two => self.last ^ self.before_last.rotate_left(4),
        };
        let symbol = self.symbols.code(coder, context, symbol)?;
        (self.before_last, self.last) = (self.last, symbol);
        Ok(symbol)
    }
}

/// What was learned.
#[derive(Debug)]
pub struct Learned {
    numbers: Symbols,
    columns: Vec<Known>,
    slots: Slots,
}

impl Learned {
    /// Nothing, of a recording at so many samples a second.
    pub fn new(rate: f64) -> Learned {
        Learned::of_version(VERSION, rate)
    }

    /// The same, of a recording in a file of this version, from 3 on.
    pub fn of_version(version: u32, rate: f64) -> Learned {
        let columns = if version < 4 { COLUMNS - 1 } else { COLUMNS };
        let known = |(bits, depends)| Known { symbols: Symbols::new(bits), depends, last: 0, before_last: 0 };
        Learned {
            numbers: Symbols::new(8),
            columns: KINDS.into_iter().take(columns).map(known).collect(),
            slots: Slots::new(rate),
        }
    }

    /// The last moment there was, in microseconds.
    pub fn now(&self) -> u64 {
        self.slots.now()
    }

    /// Appends columns and moments, which become larger and larger.
    pub fn pack(&mut self, out: Vec<u8>, columns: [&Vec<u8>; COLUMNS], moments: &[u64]) -> io::Result<Vec<u8>> {
        let mut encoder = Encoder::new(out);
        for (number, column) in columns.into_iter().enumerate() {
            self.number(&mut encoder, number, column.len() as u64)?;
            column.iter().try_for_each(|symbol| self.columns[number].code(&mut encoder, *symbol).map(drop))?;
        }
        self.number(&mut encoder, self.columns.len(), moments.len() as u64)?;
        moments.iter().try_for_each(|moment| self.slots.code(&mut encoder, *moment).map(drop))?;
        Ok(encoder.finish())
    }

    /// Reads columns and moments. The bytes of the columns are appended to `out`, which does not get longer than `most`.
    pub fn unpack(
        &mut self,
        packed: &[u8],
        out: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<([Column; COLUMNS], Vec<u64>)> {
        let mut decoder = Decoder::new(packed);
        let mut columns = <[Column; COLUMNS]>::default();
        for (number, column) in columns.iter_mut().enumerate().take(self.columns.len()) {
            let begin = out.len();
            for _ in 0..self.number(&mut decoder, number, 0)? {
                if out.len() == most {
                    return Err(damaged("a block is longer than it says"));
                }
                out.push(self.columns[number].code(&mut decoder, 0)?);
            }
            *column = Column::between(begin, out.len());
        }
        let number = self.number(&mut decoder, self.columns.len(), 0)?;
        if number > MOST_MOMENTS {
            return Err(damaged("a block has too many moments"));
        }
        let moments = (0..number).map(|_| self.slots.code(&mut decoder, 0)).collect::<io::Result<_>>()?;
        decoder.finish()?;
        Ok((columns, moments))
    }

    /// How long the column of this number is, as a varint.
    fn number(&mut self, coder: &mut impl Coder, column: usize, number: u64) -> io::Result<u64> {
        let mut back = 0;
        for shift in (0..64).step_by(7) {
            let left = number >> shift;
            let byte = left as u8 & 0x7f | if left > 0x7f { 0x80 } else { 0 };
            let byte = self.numbers.code(coder, column as u8 * 2 + u8::from(shift > 0), byte)?;
            back |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(back);
            }
        }
        Err(damaged("a number is too large"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_and_moments_come_back(
            blocks in vec((vec(0_u8..16, 14), vec(any::<u8>(), 0..40), vec(1_u64..1 << 20, 0..40)), 1..4),
            rate in prop_oneof![Just(100.0), Just(f64::NAN), 1e-9_f64..1e12],
        ) {
            let (mut writer, mut reader, mut now) = (Learned::new(rate), Learned::new(rate), 0);
            for (small, large, steps) in &blocks {
                let moments: Vec<u64> = steps.iter().map(|step| { now += step; now }).collect();
                let columns = [small, small, large, large, &Vec::new(), large, large, large];
                let packed = writer.pack(Vec::new(), columns, &moments).unwrap();
                let mut out = vec![7; 3];
                let (ranges, back) = reader.unpack(&packed, &mut out, 1 << 10).unwrap();
                prop_assert_eq!(back, moments);
                for (column, range) in columns.into_iter().zip(ranges) {
                    prop_assert_eq!(column, &out[range.range()]);
                }
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused_and_no_longer_than_they_may_be(bytes: Vec<u8>) {
            let mut out = Vec::new();
            let _ = Learned::new(100.0).unpack(&bytes, &mut out, 1000);
            prop_assert!(out.len() <= 1000);
        }
    }
}
