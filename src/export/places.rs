//! What viewers tell apart: functions, and the lines of them that ran. Frames that look alike are one place, whatever code
//! objects they are of: a function that was made twice, or by two processes, is one.

use std::collections::HashMap;
use std::hash::Hash;

use super::tables::Tables;
use super::{Labels, Lines};
use crate::sample::{Code, FrameId};

/// A function, by its number.
pub type Function = u32;

/// Functions and places, numbered from 0 in the order in which they were first heard of.
pub struct Places<'a> {
    /// The functions.
    pub functions: Vec<&'a Code>,
    /// For each place its function and the line.
    pub places: Vec<(Function, Option<u32>)>,
    /// The place of each frame.
    of_frames: Vec<u32>,
}

impl<'a> Places<'a> {
    /// Those of a recording. The lines of a function are one place if `labels` say so.
    pub fn new(tables: &'a Tables, labels: &Labels) -> Places<'a> {
        let (mut functions, mut places) = (Numbers::default(), Numbers::default());
        let of_codes: Vec<Function> = tables.codes().iter().map(|code| functions.of(code)).collect();
        let of_frames = tables.frames().iter().map(|frame| {
            let function = of_codes[tables.code_of(frame).index()];
            let line = match labels.lines {
                Lines::Running => frame.line,
                Lines::First => Some(functions.all[function as usize].first_line),
            };
            places.of((function, line))
        });
        let of_frames = of_frames.collect();
        Places { functions: functions.all, places: places.all, of_frames }
    }

    /// The number of a frame's place.
    pub fn of(&self, frame: FrameId) -> u32 {
        self.of_frames[frame.index()]
    }

    /// Each place's function and line.
    pub fn each(&self) -> impl Iterator<Item = (&'a Code, Option<u32>)> {
        self.places.iter().map(|&(function, line)| (self.functions[function as usize], line))
    }
}

/// Values, numbered as they come.
pub struct Numbers<T> {
    /// The values, by number.
    pub all: Vec<T>,
    of: HashMap<T, u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Numbers<T> {
        Numbers { all: Vec::new(), of: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    /// The number of a value; a new one gets the next.
    pub fn of(&mut self, value: T) -> u32 {
        let next = self.all.len() as u32;
        *self.of.entry(value).or_insert_with_key(|value| {
            self.all.push(value.clone());
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;
    use crate::sample::{CodeId, Event, Frame, Replay};

    fn tables() -> Tables {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        recipe.sample(thread, 0, &[("f", 8), ("g", 8)]);
        recipe.sample(thread, 1, &[("f", 9)]);
        // The code object of `f` once more.
        let recording = recipe.recording();
        let mut again = Recipe::new();
        recording
            .replay(&mut |event| {
                if let Event::Code(CodeId(0), code) = &event {
                    again.event(Event::Code(CodeId(0), code.clone()));
                    again.event(Event::Code(CodeId(1), code.clone()));
                }
                Ok(())
            })
            .unwrap();
        again.event(Event::Frame(FrameId(0), Frame { code: CodeId(0), line: Some(8) }));
        again.event(Event::Frame(FrameId(1), Frame { code: CodeId(1), line: Some(8) }));
        again.event(Event::Frame(FrameId(2), Frame { code: CodeId(1), line: Some(9) }));
        Tables::read(&again.recording(), &mut |_| {}).unwrap()
    }

    #[test]
    fn a_function_that_was_made_twice_is_one() {
        let tables = tables();
        let places = Places::new(&tables, &Labels::default());
        assert_eq!(places.functions.len(), 1);
        assert_eq!([0, 1, 2].map(|frame| places.of(FrameId(frame))), [0, 0, 1]);
        assert_eq!(places.each().map(|(_, line)| line).collect::<Vec<_>>(), [Some(8), Some(9)]);
    }

    #[test]
    fn the_lines_of_a_function_are_one_place_on_request() {
        let tables = tables();
        let places = Places::new(&tables, &Labels { lines: Lines::First, ..Labels::default() });
        assert_eq!(places.places, [(0, Some(7))]);
        assert_eq!([0, 1, 2].map(|frame| places.of(FrameId(frame))), [0, 0, 0]);
    }
}
