//! Recordings as literal lists of events.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Header, Literal, Process, ProcessId, Sample, StackId, Tally, Thread,
    ThreadId, ThreadState, Tid, Wanted, Weight,
};
use pysample::sampler::{self, Settings};

/// A recording under construction: frames are given as (function, file, line).
pub struct Builder {
    events: Vec<Event>,
    codes: HashMap<(String, String), CodeId>,
    frames: HashMap<(CodeId, u32), FrameId>,
    stacks: HashMap<(Option<StackId>, FrameId), StackId>,
    threads: u32,
    taken: u64,
    last: Option<Duration>,
    rate: f64,
}

impl Builder {
    /// A recording of one process, sampled at a rate.
    pub fn new(rate: f64) -> Builder {
        let process = Process {
            pid: 4242,
            own_pid: 4242,
            parent: None,
            command: vec!["python3".into(), "app.py".into()],
            python: "3.13.0".into(),
        };
        Builder {
            events: vec![Event::Process(ProcessId(0), process)],
            codes: HashMap::new(),
            frames: HashMap::new(),
            stacks: HashMap::new(),
            threads: 0,
            taken: 0,
            last: None,
            rate,
        }
    }

    /// Defines a thread.
    pub fn thread(&mut self, name: &str) -> ThreadId {
        let id = ThreadId(self.threads);
        self.threads += 1;
        let thread = Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(4242 + id.0)),
            python_thread_id: 0x7f00 + u64::from(id.0),
            name: Some(name.into()),
        };
        self.events.push(Event::Thread(id, thread));
        id
    }

    /// Defines a stack, outermost frame first.
    pub fn stack(&mut self, frames: &[(&str, &str, u32)]) -> StackId {
        let mut caller = None;
        for &(function, file, line) in frames {
            let frame = self.frame(function, file, line);
            let next = StackId(self.stacks.len() as u32);
            let id = *self.stacks.entry((caller, frame)).or_insert_with(|| {
                self.events.push(Event::Stack { id: next, caller, frame });
                next
            });
            caller = Some(id);
        }
        caller.expect("a stack has a frame")
    }

    fn frame(&mut self, function: &str, file: &str, line: u32) -> FrameId {
        let next = CodeId(self.codes.len() as u32);
        let code = *self.codes.entry((function.into(), file.into())).or_insert_with(|| {
            self.events.push(Event::Code(next, Code { function: function.into(), file: file.into(), first_line: 1 }));
            next
        });
        let next = FrameId(self.frames.len() as u32);
        *self.frames.entry((code, line)).or_insert_with(|| {
            self.events.push(Event::Frame(next, Frame { code, line: Some(line) }));
            next
        })
    }

    /// Takes a sample.
    pub fn sample(&mut self, at: Duration, thread: ThreadId, state: ThreadState, gil: GilState, stack: StackId) {
        if self.last != Some(at) {
            self.taken += 1;
            self.last = Some(at);
        }
        self.events.push(Event::Sample(Sample { at, thread, state, gil, stack: Some(stack), weight: Weight::ONE }));
    }

    /// The recording, which took so long.
    pub fn end(mut self, elapsed: Duration) -> Literal {
        let tally = Tally { asked: self.taken, taken: self.taken, ..Tally::default() };
        self.events.push(Event::Progress(elapsed, tally));
        let header = Header {
            pysample: "0.1.0".into(),
            program: "app.py".into(),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            rate: self.rate,
            wanted: Wanted::All,
        };
        Literal { header, events: self.events }
    }
}

/// Records the threads of a process that run.
pub fn record(pid: u32, duration: Duration, rate: f64) -> Literal {
    let (target, interpreter) = pysample::attach(pid).expect("the target can be read");
    let settings = Settings { rate, duration: Some(duration), ..Settings::default() };
    let started = SystemTime::now();
    let recording = sampler::start(target, interpreter, settings).expect("a recording starts");
    let events = recording.events().iter().collect();
    recording.finish();
    let header = Header {
        pysample: env!("CARGO_PKG_VERSION").into(),
        program: pid.to_string(),
        started,
        rate,
        wanted: settings.wanted,
    };
    Literal { header, events }
}
