//! Thread samples as columns, in which what is as expected takes no room.

use std::io;

use rustc_hash::FxHashMap;

use super::bytes::{Column, damaged, put};
use super::times::{Moments, Steps};
use crate::sample::{GilState, Sample, StackId, ThreadId, ThreadState};

const NEW_MOMENT: u8 = 1;
const OTHER_THREAD: u8 = 2;
const OTHER_STATE: u8 = 4;
const OTHER_STACK: u8 = 8;
/// All flags there are.
const FLAGS: u8 = 15;

const GIL_STATES: [GilState; 4] = [GilState::Held, GilState::NotHeld, GilState::None, GilState::Unknown];
/// States that a byte has room for beside one of those.
const STATES: usize = 32;

/// Stacks that were taken last, the last one first.
#[derive(Debug, Default)]
pub struct Recent(Vec<u64>);

impl Recent {
    /// How many are remembered.
    const MOST: usize = 255;

    /// The place of a stack among them, from 1, or 0; it is the first of them then.
    fn place(&mut self, stack: u64) -> u8 {
        match self.0.iter().position(|recent| *recent == stack) {
            Some(at) => {
                self.0[..=at].rotate_right(1);
                at as u8 + 1
            }
            None => {
                self.remember(stack);
                0
            }
        }
    }

    /// The stack at a place, from 1, which is the first of them then.
    fn at(&mut self, place: u8) -> io::Result<u64> {
        let before = self.0.get_mut(..usize::from(place)).ok_or_else(|| damaged("a recent stack is not there"))?;
        before.rotate_right(1);
        Ok(before[0])
    }

    fn remember(&mut self, stack: u64) {
        self.0.truncate(Recent::MOST - 1);
        self.0.insert(0, stack);
    }
}

/// What a block's thread samples let expect of the next.
#[derive(Debug, Default)]
pub struct Expected {
    /// Whom the thread was last followed by.
    next: FxHashMap<Option<u32>, u32>,
    last: Option<u32>,
    /// State and stack that the thread was last seen with.
    seen: FxHashMap<u32, (u8, u64)>,
}

impl Expected {
    fn thread(&mut self, is_new_moment: bool) -> u32 {
        if is_new_moment {
            self.last = None;
        }
        self.next.get(&self.last).copied().unwrap_or(0)
    }

    fn of(&self, thread: u32) -> (u8, u64) {
        self.seen.get(&thread).copied().unwrap_or_default()
    }

    fn note(&mut self, thread: u32, expected: u32, seen: (u8, u64)) {
        if thread != expected || !self.next.contains_key(&self.last) {
            self.next.insert(self.last, thread);
        }
        self.last = Some(thread);
        self.seen.insert(thread, seen);
    }
}

/// The columns of thread samples.
#[derive(Clone, Debug, Default)]
pub struct Rows<C> {
    pub flags: C,
    pub threads: C,
    pub states: C,
    pub recent: C,
    pub stacks: C,
}

impl Rows<Vec<u8>> {
    /// Appends a sample.
    pub fn put(&mut self, sample: &Sample, steps: &mut Steps, expected: &mut Expected, recent: &mut Recent) {
        let mut flags = if steps.take(sample.at) { NEW_MOMENT } else { 0 };
        let thread = expected.thread(flags & NEW_MOMENT != 0);
        if sample.thread.0 != thread {
            flags |= OTHER_THREAD;
            put(&mut self.threads, sample.thread.0.into());
        }
        let seen = (state_byte(sample), sample.stack.map_or(0, |stack| u64::from(stack.0) + 1));
        let (state, stack) = expected.of(sample.thread.0);
        if seen.0 != state {
            flags |= OTHER_STATE;
            self.states.push(seen.0);
        }
        if seen.1 != stack {
            flags |= OTHER_STACK;
            let place = recent.place(seen.1);
            self.recent.push(place);
            if place == 0 {
                put(&mut self.stacks, seen.1);
            }
        }
        expected.note(sample.thread.0, thread, seen);
        self.flags.push(flags);
    }
}

impl Rows<Column> {
    /// Reads the next sample.
    pub fn read(
        &mut self,
        bytes: &[u8],
        moments: &mut Moments,
        expected: &mut Expected,
        recent: &mut Recent,
    ) -> io::Result<Sample> {
        let flags = self.flags.byte(bytes)?;
        if flags & !FLAGS != 0 {
            return Err(damaged("a flag is not known"));
        }
        if flags & NEW_MOMENT != 0 {
            moments.step(bytes)?;
        }
        let expected_thread = expected.thread(flags & NEW_MOMENT != 0);
        let thread = match flags & OTHER_THREAD {
            0 => expected_thread,
            _ => self.threads.small(bytes)?,
        };
        let mut seen = expected.of(thread);
        if flags & OTHER_STATE != 0 {
            seen.0 = self.states.byte(bytes)?;
        }
        if flags & OTHER_STACK != 0 {
            seen.1 = self.read_stack(bytes, recent)?;
        }
        expected.note(thread, expected_thread, seen);
        let (state, gil) = states(seen.0)?;
        let stack = seen.1.checked_sub(1).map(|stack| StackId(stack as u32));
        Ok(Sample { at: moments.now(), thread: ThreadId(thread), state, gil, stack })
    }

    fn read_stack(&mut self, bytes: &[u8], recent: &mut Recent) -> io::Result<u64> {
        match self.recent.byte(bytes)? {
            0 => {
                let stack = self.stacks.number(bytes)?;
                if stack > u64::from(u32::MAX) + 1 {
                    return Err(damaged("a stack is out of range"));
                }
                recent.remember(stack);
                Ok(stack)
            }
            place => recent.at(place),
        }
    }
}

fn state_byte(sample: &Sample) -> u8 {
    let gil = GIL_STATES.iter().position(|gil| *gil == sample.gil).unwrap_or(GIL_STATES.len() - 1);
    (gil * STATES + sample.state as usize) as u8
}

fn states(byte: u8) -> io::Result<(ThreadState, GilState)> {
    let (gil, state) = (usize::from(byte) / STATES, usize::from(byte) % STATES);
    match (ThreadState::ALL.get(state), GIL_STATES.get(gil)) {
        (Some(state), Some(gil)) => Ok((*state, *gil)),
        _ => Err(damaged("a state is not known")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_state_comes_back() {
        for state in ThreadState::ALL {
            for gil in GIL_STATES {
                let (at, thread) = (Duration::ZERO, ThreadId(0));
                let byte = state_byte(&Sample { at, thread, state, gil, stack: None });
                assert_eq!(states(byte).unwrap(), (state, gil));
            }
        }
        assert!(states(17).is_err() && states(4 * 32).is_err());
    }

    #[test]
    fn a_stack_is_remembered_until_255_others_were_taken() {
        let mut recent = Recent::default();
        assert_eq!((recent.place(9), recent.place(8), recent.place(9), recent.place(9)), (0, 0, 2, 1));
        (100..354).for_each(|stack| assert_eq!(recent.place(stack), 0));
        assert_eq!((recent.place(9), recent.place(8)), (255, 0));
    }

    #[test]
    fn the_reader_remembers_what_the_writer_does() {
        let (mut writer, mut reader) = (Recent::default(), Recent::default());
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let stack = random.u64(..400).min(random.u64(..400));
            match writer.place(stack) {
                0 => reader.remember(stack),
                place => assert_eq!(reader.at(place).unwrap(), stack),
            }
        }
        assert_eq!(writer.0, reader.0);
        assert!(Recent::default().at(1).is_err());
    }
}
