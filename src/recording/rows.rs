//! Thread samples as columns, in which what is as expected takes no room.

use std::io;

use rustc_hash::FxHashMap;

use super::bytes::{Column, damaged, put};
use super::times::{Moments, Steps};
use crate::sample::{GilHeld, GilSample, GilState, Sample, StackId, ThreadId, ThreadState, Weight};

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

/// What comes before a thread sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Before {
    /// Nothing: it begins a moment.
    #[default]
    Nothing,
    /// One of this thread.
    Thread(u32),
    /// A GIL sample, with this holder.
    Gil(GilHeld),
}

/// What thread samples, and the GIL samples before them, let expect of the next.
#[derive(Debug, Default)]
pub struct Expected {
    /// Which thread's sample came last after each.
    next: FxHashMap<Before, u32>,
    before: Before,
    /// Who held the last GIL.
    holder: Option<u32>,
    /// The state that the thread was last seen in as that one, and otherwise.
    states: FxHashMap<(u32, bool), u8>,
    /// The stack that the thread was last seen with.
    stacks: FxHashMap<u32, u64>,
}

impl Expected {
    /// With more of anything than that, all is forgotten.
    const MOST: usize = 1 << 16;

    /// Takes a GIL sample.
    pub fn take(&mut self, sample: &GilSample) {
        self.before = Before::Gil(sample.holder);
        self.holder = match sample.holder {
            GilHeld::By(thread) => Some(thread.0),
            _ => None,
        };
    }

    fn thread(&mut self, is_new_moment: bool) -> u32 {
        if is_new_moment {
            self.before = Before::Nothing;
        }
        match (self.next.get(&self.before).copied(), self.before) {
            (Some(thread), _) | (None, Before::Gil(GilHeld::By(ThreadId(thread)))) => thread,
            _ => 0,
        }
    }

    fn state(&self, thread: u32) -> u8 {
        self.states.get(&(thread, self.is_holder(thread))).copied().unwrap_or_default()
    }

    fn stack(&self, thread: u32) -> u64 {
        self.stacks.get(&thread).copied().unwrap_or_default()
    }

    fn note(&mut self, thread: u32, state: u8, stack: u64) {
        if [self.next.len(), self.states.len(), self.stacks.len()].iter().any(|most| *most >= Expected::MOST) {
            self.next.clear();
            self.states.clear();
            self.stacks.clear();
        }
        self.next.insert(self.before, thread);
        self.before = Before::Thread(thread);
        self.states.insert((thread, self.is_holder(thread)), state);
        self.stacks.insert(thread, stack);
    }

    fn is_holder(&self, thread: u32) -> bool {
        self.holder == Some(thread)
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
        let state = state_byte(sample);
        if state != expected.state(sample.thread.0) {
            flags |= OTHER_STATE;
            self.states.push(state);
        }
        let stack = sample.stack.map_or(0, |stack| u64::from(stack.0) + 1);
        if stack != expected.stack(sample.thread.0) {
            flags |= OTHER_STACK;
            let place = recent.place(stack);
            self.recent.push(place);
            if place == 0 {
                put(&mut self.stacks, stack);
            }
        }
        expected.note(sample.thread.0, state, stack);
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
        let state = match flags & OTHER_STATE {
            0 => expected.state(thread),
            _ => self.states.byte(bytes)?,
        };
        let stack = match flags & OTHER_STACK {
            0 => expected.stack(thread),
            _ => self.read_stack(bytes, recent)?,
        };
        expected.note(thread, state, stack);
        let (state, gil) = states(state)?;
        let stack = stack.checked_sub(1).map(|stack| StackId(stack as u32));
        Ok(Sample { at: moments.now(), thread: ThreadId(thread), state, gil, stack, weight: Weight::ONE })
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
                let byte = state_byte(&Sample { at, thread, state, gil, stack: None, weight: Weight::ONE });
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
