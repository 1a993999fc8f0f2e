//! A recording of two processes of which everything is known: what was sampled is a list, and what a viewer shows is to be
//! that list again.

#![allow(dead_code)] // Each test uses its own part.

use super::recipe::{Recipe, Stack};
use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Literal, ProcessId, Sample, StackId, Thread, ThreadId, ThreadState,
    Tid, Weight,
};
use std::ops::Range;
use std::time::Duration;

/// A thread in one stack and state for some periods of the recording.
pub struct Seen {
    /// The process, by its id.
    pub pid: u32,
    /// The thread, by its name.
    pub thread: &'static str,
    /// In which periods.
    pub slots: Range<u32>,
    /// Outermost frame first.
    pub stack: Stack<'static>,
    /// What it was doing.
    pub state: ThreadState,
    /// And the GIL.
    pub gil: GilState,
}

impl Seen {
    /// How many samples it is.
    pub fn samples(&self) -> u64 {
        self.slots.len() as u64
    }
}

const fn seen(
    (pid, thread): (u32, &'static str),
    slots: Range<u32>,
    stack: Stack<'static>,
    state: ThreadState,
    gil: GilState,
) -> Seen {
    Seen { pid, thread, slots, stack, state, gil }
}

const MAIN: (u32, &str) = (4242, "MainThread");
const WORKER: (u32, &str) = (4242, "worker-1");
const OTHER: (u32, &str) = (4343, "MainThread");

/// What was sampled: recursion, gaps, no frames, names in angle brackets, and the same function in both processes.
pub const SEEN: [Seen; 10] = [
    seen(MAIN, 0..6, &[("<module>", 9), ("Job.run", 21), ("loads", 346)], ThreadState::RunsPython, GilState::Held),
    seen(MAIN, 6..10, &[("<module>", 9), ("Job.run", 24)], ThreadState::RunsNative, GilState::Held),
    seen(MAIN, 12..15, &[("<module>", 9)], ThreadState::Sleeps, GilState::NotHeld),
    seen(MAIN, 15..17, &[], ThreadState::RunsDetached, GilState::NotHeld),
    seen(WORKER, 0..4, &[("boot", 5), ("Job.run", 21)], ThreadState::WaitsForGil, GilState::NotHeld),
    seen(WORKER, 8..10, &[("boot", 5), ("Job.run", 21)], ThreadState::WaitsForGil, GilState::NotHeld),
    seen(
        WORKER,
        10..13,
        &[("boot", 5), ("walk", 3), ("walk", 4), ("walk", 3)],
        ThreadState::CollectsGarbage,
        GilState::Held,
    ),
    seen(WORKER, 13..14, &[("boot", 5), ("walk", 3)], ThreadState::RunsPython, GilState::Held),
    seen(OTHER, 0..12, &[("<module>", 9), ("poll.<locals>.<lambda>", 2)], ThreadState::WaitsForPoll, GilState::NotHeld),
    seen(OTHER, 13..20, &[("<module>", 9), ("Job.run", 21)], ThreadState::RunsPython, GilState::Held),
];

/// The recording.
pub fn recording() -> Literal {
    let mut recipe = Recipe::new();
    let main = recipe.process(4242, &["/usr/bin/python3", "main.py", "--workers", "1"]);
    let other = recipe.process(4343, &["/usr/bin/python3", "-m", "poller"]);
    let threads = [(main, MAIN), (main, WORKER), (other, OTHER)];
    let threads = threads.map(|(process, (pid, name))| (pid, name, recipe.thread(process.0, name)));
    for slot in 0..20 {
        for seen in SEEN.iter().filter(|seen| seen.slots.contains(&slot)) {
            let (.., thread) = threads.iter().find(|of| (of.0, of.1) == (seen.pid, seen.thread)).unwrap();
            recipe.sample_in(*thread, slot, seen.stack, seen.state, seen.gil);
        }
    }
    recipe.recording()
}

/// Names and paths that would do harm where they are not taken for data.
pub fn hostile() -> Vec<String> {
    let names = [
        "<script>alert(1)</script>",
        "</script><b>",
        "a;b",
        "a\"b'c\\d",
        "two\nlines\r\n",
        "nul\0tab\t",
        "\u{1b}[31mred\u{7}",
        "\u{202e}gpj.exe",
        "surrogate \u{fffd}",
        "# comment",
        "{\"json\": [1]}",
        "%s %n ${HOME} `id`",
        "\u{2028}\u{85}",
        "",
        " 12",
    ];
    names.into_iter().map(String::from).chain([format!("long{}", "x".repeat(10_000))]).collect()
}

/// A recording in which every name and path is hostile: each once a function, a file and a thread.
pub fn hostile_recording() -> Literal {
    let mut recipe = Recipe::new();
    recipe.process(4242, &["python3", "<script>\n\u{1b}[31m"]);
    for (id, name) in hostile().iter().enumerate() {
        let id = id as u32;
        let (function, file) = (name.as_str().into(), format!("/srv/{name}.py").into());
        recipe.event(Event::Code(CodeId(id), Code { function, file, first_line: 1 }));
        recipe.event(Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(2) }));
        recipe.event(Event::Stack { id: StackId(id), caller: None, frame: FrameId(id) });
        let thread = Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(100 + id)),
            python_thread_id: u64::from(id),
            name: Some(name.as_str().into()),
        };
        recipe.event(Event::Thread(ThreadId(id), thread));
        let (state, gil) = (ThreadState::RunsPython, GilState::Held);
        let at = Duration::ZERO;
        recipe.event(Event::Sample(Sample {
            at,
            thread: ThreadId(id),
            state,
            gil,
            stack: Some(StackId(id)),
            weight: Weight::ONE,
        }));
    }
    recipe.recording()
}
