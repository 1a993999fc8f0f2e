//! Arithmetic coding of bits with chances that are learned on the way. What the bits mean is not known here.
//!
//! Blocks of a second are small: what zstd needs for each to begin with is a fifth of all there is. This needs a byte.

use std::io;

use super::bytes::damaged;

/// How often a bit is seen until what was seen long ago begins to count less.
const MEMORY: u16 = 30;

/// How likely a bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Of 65536. It stays between 31 and 65505.
    is_set: u16,
    seen: u16,
}

impl Default for Chance {
    fn default() -> Chance {
        Chance { is_set: 1 << 15, seen: 0 }
    }
}

impl Chance {
    fn learn(&mut self, bit: bool) {
        let part = |of: u32| (of / u32::from(self.seen + 2)) as u16;
        match bit {
            true => self.is_set += part(65536 - u32::from(self.is_set)),
            false => self.is_set -= part(self.is_set.into()),
        }
        self.seen = MEMORY.min(self.seen + 1);
    }
}

/// Either direction of the coding: what is read is read just as it was written.
pub trait Coder {
    /// The next bit: the one that is given, of a writer; of a reader, the one that was written.
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> io::Result<bool>;

    /// The next bits, any of which is as likely as not; the highest comes first.
    fn even(&mut self, bits: u32, number: u64) -> io::Result<u64>;
}

/// What is left to tell bits apart by.
#[derive(Debug)]
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    const ALL: Interval = Interval { low: 0, high: u32::MAX };

    /// The last number that stands for a bit that is set.
    fn middle(&self, chance: Chance) -> u32 {
        self.low + ((self.high - self.low) >> 12) * u32::from(chance.is_set >> 4)
    }

    fn half(&self) -> u32 {
        self.low + ((self.high - self.low) >> 1)
    }

    fn take(&mut self, bit: bool, middle: u32) {
        match bit {
            true => self.high = middle,
            false => self.low = middle + 1,
        }
    }

    /// The byte that both ends begin with, if they do; it is left out then.
    fn settled(&mut self) -> Option<u8> {
        let byte = (self.low >> 24) as u8;
        (byte == (self.high >> 24) as u8).then(|| {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            byte
        })
    }
}

/// Writes bits.
#[derive(Debug)]
pub struct Encoder {
    interval: Interval,
    out: Vec<u8>,
}

impl Encoder {
    /// One that appends to these bytes.
    pub fn new(out: Vec<u8>) -> Encoder {
        Encoder { interval: Interval::ALL, out }
    }

    /// The bytes. Those that follow are taken for zeros.
    pub fn finish(mut self) -> Vec<u8> {
        if self.interval.low > 0 {
            self.out.push((self.interval.low >> 24) as u8 + 1);
        }
        self.out
    }

    fn take(&mut self, bit: bool, middle: u32) {
        self.interval.take(bit, middle);
        while let Some(byte) = self.interval.settled() {
            self.out.push(byte);
        }
    }
}

impl Coder for Encoder {
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> io::Result<bool> {
        self.take(bit, self.interval.middle(*chance));
        chance.learn(bit);
        Ok(bit)
    }

    fn even(&mut self, bits: u32, number: u64) -> io::Result<u64> {
        (0..bits).rev().for_each(|at| self.take(number >> at & 1 == 1, self.interval.half()));
        Ok(number)
    }
}

/// Reads bits.
#[derive(Debug)]
pub struct Decoder<'a> {
    interval: Interval,
    at: u32,
    bytes: std::slice::Iter<'a, u8>,
    /// How many bytes were taken for zeros, since there were no more.
    missing: u32,
}

impl Decoder<'_> {
    /// One of these bytes.
    pub fn new(bytes: &[u8]) -> Decoder<'_> {
        let mut decoder = Decoder { interval: Interval::ALL, at: 0, bytes: bytes.iter(), missing: 0 };
        (0..4).for_each(|_| decoder.shift());
        decoder
    }

    /// That nothing is left.
    pub fn finish(&self) -> io::Result<()> {
        match self.bytes.len() {
            0 => Ok(()),
            _ => Err(damaged("a block is longer than what is in it")),
        }
    }

    fn shift(&mut self) {
        let byte = self.bytes.next().copied().unwrap_or_else(|| {
            self.missing += 1;
            0
        });
        self.at = self.at << 8 | u32::from(byte);
    }

    fn take(&mut self, middle: u32) -> io::Result<bool> {
        let bit = self.at <= middle;
        self.interval.take(bit, middle);
        while self.interval.settled().is_some() {
            self.shift();
        }
        // It is always four bytes ahead.
        match self.missing {
            0..=4 => Ok(bit),
            _ => Err(damaged("a block is shorter than what is in it")),
        }
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, chance: &mut Chance, _: bool) -> io::Result<bool> {
        let bit = self.take(self.interval.middle(*chance))?;
        chance.learn(bit);
        Ok(bit)
    }

    fn even(&mut self, bits: u32, _: u64) -> io::Result<u64> {
        let mut number = 0;
        for _ in 0..bits {
            number = number << 1 | u64::from(self.take(self.interval.half())?);
        }
        Ok(number)
    }
}

/// Symbols of some bits, each after a context.
#[derive(Debug)]
pub struct Symbols {
    bits: u32,
    /// For each context the chance of each bit after those that were before it. Few contexts are ever seen.
    contexts: Vec<Option<Box<[Chance]>>>,
}

impl Symbols {
    /// Those of so many bits, 8 at most.
    pub fn new(bits: u32) -> Symbols {
        Symbols { bits, contexts: Vec::new() }
    }

    /// The next symbol.
    pub fn code(&mut self, coder: &mut impl Coder, context: u8, symbol: u8) -> io::Result<u8> {
        let context = usize::from(context);
        if context >= self.contexts.len() {
            self.contexts.resize(context + 1, None);
        }
        let chances = self.contexts[context].get_or_insert_with(|| vec![Chance::default(); 1 << self.bits].into());
        let mut before = 1;
        for at in (0..self.bits).rev() {
            let bit = coder.bit(&mut chances[before], symbol >> at & 1 == 1)?;
            before = before << 1 | usize::from(bit);
        }
        Ok((before - (1 << self.bits)) as u8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Symbols and bits by turns.
    fn code(coder: &mut impl Coder, written: &[(u8, u8, u64)]) -> io::Result<Vec<(u8, u8, u64)>> {
        let mut symbols = Symbols::new(8);
        let mut code = |(context, symbol, number): &(u8, u8, u64)| {
            let bits = u32::from(*context) % 65;
            let number = number & ((1_u128 << bits) - 1) as u64;
            Ok((*context, symbols.code(coder, *context, *symbol)?, coder.even(bits, number)?))
        };
        written.iter().map(&mut code).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(written in vec((0_u8..70, prop_oneof![4 => 0_u8..3, 1 => any::<u8>()], any::<u64>()), 0..300)) {
            let mut encoder = Encoder::new(Vec::new());
            let written = code(&mut encoder, &written).unwrap();
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(code(&mut decoder, &written).unwrap(), written);
            decoder.finish().unwrap();
        }

        /// However little is said by each bit, they end.
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let (mut decoder, mut symbols, mut read) = (Decoder::new(&bytes), Symbols::new(8), 0);
            while symbols.code(&mut decoder, 0, 0).is_ok() {
                read += 1;
                prop_assert!(read < 3000 * (bytes.len() + 5));
            }
        }
    }

    #[test]
    fn what_is_always_the_same_takes_no_room() {
        let (mut encoder, mut symbols) = (Encoder::new(Vec::new()), Symbols::new(8));
        for _ in 0..10_000 {
            symbols.code(&mut encoder, 3, 77).unwrap();
        }
        assert!(encoder.finish().len() < 60);
    }

    #[test]
    fn more_bytes_than_were_written_are_refused() {
        let mut encoder = Encoder::new(Vec::new());
        encoder.even(20, 0x12345).unwrap();
        let bytes = [encoder.finish(), vec![0; 4]].concat();
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.even(20, 0).unwrap(), 0x12345);
        decoder.finish().unwrap_err();
    }

    #[test]
    fn bits_are_spelled_as_documented() {
        let mut encoder = Encoder::new(Vec::new());
        // The lower half is a bit that is set, so these are 0x5a, and a byte that is within what is left.
        encoder.even(8, 0xa5).unwrap();
        let mut chance = Chance::default();
        encoder.bit(&mut chance, false).unwrap();
        assert_eq!(encoder.finish(), [0x5a, 0x80]);
        assert_eq!(chance, Chance { is_set: 1 << 14, seen: 1 });
    }

    #[test]
    fn a_chance_is_never_none() {
        let mut chance = Chance::default();
        for bit in [true, false] {
            (0..10_000).for_each(|_| chance.learn(bit));
            assert!((31..=65505).contains(&chance.is_set), "{chance:?}");
        }
    }
}
