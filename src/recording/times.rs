//! The moments of a block. They are drawn at random, one in each slot of the clock, so there is hardly more to be
//! compressed than in which slot they are: mostly the next one.

use std::io;
use std::time::Duration;

use super::bytes::{Column, damaged};
use super::coder::{Chance, Coder, Symbols};

/// A billionth of a second in microseconds times a thousandth of a hertz.
const MICROS_PER_MILLIHERTZ: u128 = 1_000_000_000;

/// Of where a moment is in its slot, so many bits are learned together. The others are as likely as not, where a clock draws them;
/// each is learned by itself, since in what was never sampled they are all the same.
const HIGH_BITS: u32 = 6;

/// The moments of a block that is written.
#[derive(Debug, Default)]
pub struct Steps {
    now: Option<u64>,
    /// Those of the block, in microseconds.
    pub moments: Vec<u64>,
}

impl Steps {
    /// Notes when something was; whether that makes a new moment. Times do not go back: what would is taken for now.
    pub fn take(&mut self, at: Duration) -> bool {
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let is_new = self.now.is_none_or(|now| at > now);
        if is_new {
            self.moments.push(at);
            self.now = Some(at);
        }
        is_new
    }

    /// How much room they may take.
    pub fn size(&self) -> usize {
        self.moments.len() * 2
    }
}

/// Moments as slots of the clock, and where they are in them.
#[derive(Debug)]
pub struct Slots {
    /// Slots in a thousand seconds.
    rate: u128,
    /// How many bits it takes to tell where in a slot a moment is.
    bits: u32,
    now: u64,
    slot: u64,
    last_step: u8,
    /// That it is the next slot, as most are, after one that was not and one that was.
    next: [Chance; 2],
    steps: Symbols,
    places: Symbols,
    lower: [Chance; 32],
}

impl Slots {
    /// Those of a clock of so many samples a second.
    pub fn new(rate: f64) -> Slots {
        let rate = ((rate * 1000.0).round() as u128).clamp(1, MICROS_PER_MILLIHERTZ);
        let longest = (MICROS_PER_MILLIHERTZ.div_ceil(rate) - 1) as u64;
        let bits = u64::BITS - longest.leading_zeros();
        let (steps, places) = (Symbols::new(8), Symbols::new(bits.min(HIGH_BITS)));
        Slots {
            rate,
            bits,
            now: 0,
            slot: 0,
            last_step: 0,
            next: Default::default(),
            steps,
            places,
            lower: Default::default(),
        }
    }

    /// The last moment.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The next moment, which is not before the last.
    pub fn code(&mut self, coder: &mut impl Coder, moment: u64) -> io::Result<u64> {
        let out_of_range = || damaged("a time is out of range");
        let slot = u128::from(moment) * self.rate / MICROS_PER_MILLIHERTZ;
        let step = self.step(coder, (slot as u64).wrapping_sub(self.slot))?;
        let slot = self.slot.checked_add(step).ok_or_else(out_of_range)?;
        let begin = (u128::from(slot) * MICROS_PER_MILLIHERTZ).div_ceil(self.rate);
        let begin = u64::try_from(begin).map_err(|_| out_of_range())?;
        let place = self.place(coder, moment.wrapping_sub(begin))?;
        let moment = begin.checked_add(place).filter(|moment| *moment >= self.now).ok_or_else(out_of_range)?;
        (self.now, self.slot) = (moment, slot);
        Ok(moment)
    }

    fn step(&mut self, coder: &mut impl Coder, step: u64) -> io::Result<u64> {
        let next = &mut self.next[usize::from(self.last_step == 1)];
        let short = match coder.bit(next, step == 1)? {
            true => 1,
            false => self.steps.code(coder, self.last_step, step.min(255) as u8)?,
        };
        self.last_step = short;
        match short {
            255 => coder.even(64, step),
            short => Ok(short.into()),
        }
    }

    fn place(&mut self, coder: &mut impl Coder, place: u64) -> io::Result<u64> {
        let lower = self.bits.saturating_sub(HIGH_BITS);
        let mut read = u64::from(self.places.code(coder, 0, (place >> lower) as u8)?);
        for at in (0..lower).rev() {
            let bit = coder.bit(&mut self.lower[at as usize], place >> at & 1 == 1)?;
            read = read << 1 | u64::from(bit);
        }
        Ok(read)
    }
}

/// The moments of a block that is read.
#[derive(Debug)]
pub struct Moments {
    now: u64,
    next: Next,
}

/// Where the next of them comes from.
#[derive(Debug)]
enum Next {
    Listed(std::vec::IntoIter<u64>),
    Bits(Bits),
}

impl Moments {
    /// These, after that one.
    pub fn new(moments: Vec<u64>, now: u64) -> Moments {
        Moments { now, next: Next::Listed(moments.into_iter()) }
    }

    /// Those of a column of versions 1 and 2.
    pub fn of_bits(column: Column) -> Moments {
        Moments { now: 0, next: Next::Bits(Bits { column, ..Bits::default() }) }
    }

    /// Goes to the next moment.
    pub fn step(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.now = match &mut self.next {
            Next::Listed(moments) => moments.next().ok_or_else(|| damaged("a moment is not there"))?,
            Next::Bits(bits) => {
                self.now.checked_add(bits.step(bytes)?).ok_or_else(|| damaged("a time is out of range"))?
            }
        };
        Ok(())
    }

    /// The moment, since the recording began.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now)
    }
}

/// A step that is so many times as long as usual is spelled in full.
const MOST_ONES: u32 = 20;

/// Steps as Golomb-Rice codes: versions 1 and 2.
#[derive(Debug, Default)]
struct Bits {
    column: Column,
    low: u32,
    is_begun: bool,
    left: (u8, u32),
}

impl Bits {
    fn step(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if std::mem::replace(&mut self.is_begun, true) {
            return self.read(bytes);
        }
        self.low = self.column.byte(bytes)?.into();
        match self.low {
            0..64 => self.column.number(bytes),
            _ => Err(damaged("a step in time is too large")),
        }
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
        if self.left.1 == 0 {
            self.left = (self.column.byte(bytes)?, 8);
        }
        let bit = self.left.0 & 1;
        self.left = (self.left.0 >> 1, self.left.1 - 1);
        Ok(bit.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::coder::{Decoder, Encoder};
    use super::*;

    proptest! {
        #[test]
        fn every_moment_comes_back(
            steps in vec(prop_oneof![8 => 1_u64..20_000, 1 => 1..1_u64 << 50, 1 => Just(1)], 0..99),
            rate in prop_oneof![Just(100.0), Just(30.0), Just(1e6), 0.0..1e4],
        ) {
            let mut now = 0;
            let times: Vec<u64> = steps.iter().map(|step| { now += step; now }).collect();
            let (mut slots, mut encoder) = (Slots::new(rate), Encoder::new(Vec::new()));
            times.iter().for_each(|time| { slots.code(&mut encoder, *time).unwrap(); });
            let bytes = encoder.finish();
            let (mut slots, mut decoder) = (Slots::new(rate), Decoder::new(&bytes));
            for time in times {
                prop_assert_eq!(slots.code(&mut decoder, 0).unwrap(), time);
            }
        }

        #[test]
        fn any_bytes_are_moments_that_do_not_go_back_or_refused(bytes: Vec<u8>, rate in 0.0..1e7) {
            let (mut slots, mut decoder, mut now) = (Slots::new(rate), Decoder::new(&bytes), 0);
            while let Ok(moment) = slots.code(&mut decoder, 0) {
                prop_assert!(moment >= now);
                now = moment;
            }
        }

        #[test]
        fn any_bytes_are_moments_of_the_first_versions_or_refused(bytes: Vec<u8>) {
            let mut moments = Moments::of_bits(Column::all(&bytes));
            while moments.step(&bytes).is_ok() {}
        }
    }

    #[test]
    fn the_last_moment_there_can_be_comes_back() {
        let (mut slots, mut encoder) = (Slots::new(100.0), Encoder::new(Vec::new()));
        slots.code(&mut encoder, u64::MAX).unwrap();
        let bytes = encoder.finish();
        assert_eq!(Slots::new(100.0).code(&mut Decoder::new(&bytes), 0).unwrap(), u64::MAX);
    }

    #[test]
    fn a_time_that_goes_back_is_taken_for_now() {
        let mut steps = Steps::default();
        let times = [5, 3, 6].map(Duration::from_micros);
        assert_eq!(times.map(|time| steps.take(time)), [true, false, true]);
    }

    #[test]
    fn a_column_of_the_first_versions_is_read_as_documented() {
        // Steps of 4 and 9, 6 in the mean: the two lowest bits are apart. In order, 4 is 10 00 and 9 is 110 10.
        let bytes = [2, 10, 0b1011_0001, 0b0];
        let mut moments = Moments::of_bits(Column::all(&bytes));
        for micros in [10, 14, 23] {
            moments.step(&bytes).unwrap();
            assert_eq!(moments.now(), Duration::from_micros(micros));
        }
    }
}
