//! The frames of each thread as slices, and what it was doing.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::json;

use super::Names;
use super::events::{Events, Track};
use crate::export::steady::{Followed, Interval, Seen, Steady, Step};
use crate::sample::{GilState, Sample, StackId, ThreadId, ThreadState};

/// Every thread that was seen.
pub struct Threads<'a> {
    names: Names<'a>,
    /// What places are called.
    places: Vec<String>,
    lanes: BTreeMap<ThreadId, Lane>,
}

/// What is open of a thread.
struct Lane {
    frames: Track,
    states: Track,
    /// Places, outermost first.
    open: Vec<u32>,
    stack: Option<StackId>,
    followed: Followed,
    state: Steady<(ThreadState, GilState)>,
}

impl<'a> Threads<'a> {
    /// None was seen.
    pub fn new(names: Names<'a>) -> Threads<'a> {
        let places = names.places.each().map(|(code, line)| names.labels.frame(code, line)).collect();
        Threads { names, places, lanes: BTreeMap::new() }
    }

    /// Takes the next sample.
    pub fn take(&mut self, sample: &Sample, events: &mut Events) -> io::Result<()> {
        let tables = self.names.tables;
        let id = tables.thread_of(sample.thread);
        if !self.lanes.contains_key(&id) {
            let lane = Lane::begin(id, &self.names, events)?;
            self.lanes.insert(id, lane);
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return Ok(()) };
        let seen = Seen::of(sample);
        let Step { begin, gap } = lane.followed.take(seen, tables.period());
        if let Some(end) = gap {
            lane.close(0, end, &self.places, events)?;
        }
        if lane.stack != sample.stack || lane.open.is_empty() {
            lane.turn(begin, sample.stack, &self.names, &self.places, events)?;
        }
        match lane.state.take(seen, Some((sample.state, sample.gil)), tables.period()) {
            Some(ended) => lane.tell_state(ended, events),
            None => Ok(()),
        }
    }

    /// Ends what is open.
    pub fn finish(self, events: &mut Events) -> io::Result<()> {
        let period = self.names.tables.period();
        for (_, mut lane) in self.lanes {
            if let Some(end) = lane.followed.end(period) {
                lane.close(0, end, &self.places, events)?;
            }
            if let Some(ended) = lane.state.end(period) {
                lane.tell_state(ended, events)?;
            }
        }
        Ok(())
    }
}

impl Lane {
    /// A thread that is seen for the first time.
    fn begin(id: ThreadId, names: &Names, events: &mut Events) -> io::Result<Lane> {
        let thread = names.tables.thread(id);
        let pid = names.tables.pid(thread);
        let (frames, states) = (events.thread_track(pid, thread), events.track(pid));
        let (name, place) = (names.labels.thread(thread), 2 * i64::from(id.0));
        events.name(frames, &name, place)?;
        events.name(states, &format!("{name}: state"), place + 1)?;
        let (followed, state) = (Followed::default(), Steady::default());
        Ok(Lane { frames, states, open: Vec::new(), stack: None, followed, state })
    }

    /// Ends what a sample does not have any more, and begins what is new in it.
    fn turn(
        &mut self,
        at: Duration,
        new: Option<StackId>,
        names: &Names,
        places: &[String],
        events: &mut Events,
    ) -> io::Result<()> {
        let frames = new.into_iter().flat_map(|stack| names.tables.frames_of(stack));
        let mut stack: Vec<u32> = frames.map(|frame| names.places.of(frame)).collect();
        stack.reverse();
        let same = self.open.iter().zip(&stack).take_while(|(open, place)| open == place).count();
        self.close(same, at, places, events)?;
        for &place in &stack[same..] {
            let (function, line) = names.places.places[place as usize];
            let args = json!({"file": names.places.functions[function as usize].file, "line": line});
            events.begin(self.frames, &places[place as usize], "python", at, &args)?;
        }
        (self.open, self.stack) = (stack, new);
        Ok(())
    }

    /// Ends all slices from a depth on.
    fn close(&mut self, depth: usize, at: Duration, places: &[String], events: &mut Events) -> io::Result<()> {
        let mut closed = self.open.drain(depth..).rev();
        closed.try_for_each(|place| events.end(self.frames, &places[place as usize], at))
    }

    fn tell_state(
        &self,
        ((state, gil), interval): ((ThreadState, GilState), Interval),
        events: &mut Events,
    ) -> io::Result<()> {
        events.slice(self.states, state.text(gil), "state", interval, &json!({"gil": gil.text()}))
    }
}
