//! Recordings put together by hand, of which everything is known: 100 samples a second, stacks given outermost first.

#![allow(dead_code)] // Each test uses its own part.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Header, Literal, Process, ProcessId, Sample, StackId, Tally, Thread,
    ThreadId, ThreadState, Tid, Wanted, Weight,
};

/// The time from one sample to the next.
pub const PERIOD: Duration = Duration::from_millis(10);

/// A stack, outermost frame first, as (function, line).
pub type Stack<'a> = &'a [(&'a str, u32)];

/// A recording under way.
#[derive(Default)]
pub struct Recipe {
    events: Vec<Event>,
    codes: HashMap<String, CodeId>,
    frames: HashMap<(CodeId, u32), FrameId>,
    stacks: HashMap<(Option<StackId>, FrameId), StackId>,
    threads: u32,
    processes: u32,
    last: Duration,
    taken: u64,
}

/// What is said of each of them as a whole.
pub fn header() -> Header {
    Header {
        pysample: "0.1.0".into(),
        program: "main.py".into(),
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        rate: 1.0 / PERIOD.as_secs_f64(),
        wanted: Wanted::All,
    }
}

impl Recipe {
    /// Nothing yet.
    pub fn new() -> Recipe {
        Recipe::default()
    }

    /// Defines a process.
    pub fn process(&mut self, pid: u32, command: &[&str]) -> ProcessId {
        let id = ProcessId(self.processes);
        self.processes += 1;
        let command = command.iter().map(ToString::to_string).collect();
        let parent = (id.0 > 0).then_some(ProcessId(0));
        self.events.push(Event::Process(id, Process { pid, own_pid: pid, parent, command, python: "3.13.0".into() }));
        id
    }

    /// Defines a thread of a process. Its OS thread id is 100 and its own.
    pub fn thread(&mut self, process: u32, name: &str) -> ThreadId {
        let id = ThreadId(self.threads);
        self.threads += 1;
        let thread = Thread {
            process: ProcessId(process),
            interpreter: 0,
            os_thread_id: Some(Tid(100 + id.0)),
            python_thread_id: 0x7f00 + u64::from(id.0),
            name: Some(name.into()),
        };
        self.events.push(Event::Thread(id, thread));
        id
    }

    /// Adds any other event.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// A sample of a thread that runs Python, so many periods after the beginning.
    pub fn sample(&mut self, thread: ThreadId, slot: u32, stack: Stack) {
        self.sample_in(thread, slot, stack, ThreadState::RunsPython, GilState::Held);
    }

    /// A sample in any state. Every function is in a file of its own name.
    pub fn sample_in(&mut self, thread: ThreadId, slot: u32, stack: Stack, state: ThreadState, gil: GilState) {
        self.sample_of(thread, slot, stack, (state, gil), Weight::ONE);
    }

    /// The same, of a moment that stands for so much of the time.
    pub fn sample_of(
        &mut self,
        thread: ThreadId,
        slot: u32,
        stack: Stack,
        (state, gil): (ThreadState, GilState),
        weight: Weight,
    ) {
        let stack = stack.iter().fold(None, |caller, &(function, line)| {
            let frame = self.frame(function, line);
            Some(self.stack(caller, frame))
        });
        let at = PERIOD * slot;
        self.taken += u64::from(self.taken == 0 || at > self.last);
        self.last = at;
        self.events.push(Event::Sample(Sample { at, thread, state, gil, stack, weight }));
    }

    fn frame(&mut self, function: &str, line: u32) -> FrameId {
        let next = CodeId(self.codes.len() as u32);
        let code = *self.codes.entry(function.into()).or_insert(next);
        if code == next {
            let file = format!("/srv/{function}.py").into();
            self.events.push(Event::Code(code, Code { function: function.into(), file, first_line: 7 }));
        }
        let next = FrameId(self.frames.len() as u32);
        let frame = *self.frames.entry((code, line)).or_insert(next);
        if frame == next {
            self.events.push(Event::Frame(frame, Frame { code, line: Some(line) }));
        }
        frame
    }

    fn stack(&mut self, caller: Option<StackId>, frame: FrameId) -> StackId {
        let next = StackId(self.stacks.len() as u32);
        let id = *self.stacks.entry((caller, frame)).or_insert(next);
        if id == next {
            self.events.push(Event::Stack { id, caller, frame });
        }
        id
    }

    /// The recording.
    pub fn recording(mut self) -> Literal {
        let tally = Tally { asked: self.taken, taken: self.taken, ..Tally::default() };
        self.events.push(Event::Progress(self.last + PERIOD, tally));
        Literal { header: header(), events: self.events }
    }
}
