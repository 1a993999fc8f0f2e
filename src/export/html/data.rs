//! What the page gets: a recording in tables of columns, each name once, each stack as its frame and its caller.
//!
//! Samples are rows of three numbers: when (the difference to the row before), what (an entry of [`Kinds`]: thread, state,
//! GIL, stack), how often. One that stands for more slots of the clock than its own, as samples before it were left out, is in each
//! of them. With many samples their times are rounded, to as much as it takes to have no more rows than a
//! browser handles well; no sample is left out, and the page says to how much times are rounded.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::Sources;
use super::rows::{Rounded, Rows};
use crate::export::steady::Seen;
use crate::export::{Labels, Lines};
use crate::printable::printable;
use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Header, Process, Replay, Sample, StackId, Tally, Thread, ThreadId,
    ThreadState, Wanted, define,
};

/// More source text than this, in bytes, is not embedded.
const MOST_SOURCE: usize = 16 << 20;

/// Everything that the page shows.
#[derive(Serialize)]
pub struct Page {
    recordings: Vec<About>,
    /// Whether lines of a function are merged to begin with.
    merges_lines: bool,
    files: Files,
    functions: Functions,
    frames: Frames,
    stacks: Stacks,
    threads: Vec<String>,
    states: Vec<(ThreadState, &'static str)>,
    gil_states: Vec<GilState>,
    kinds: Kinds,
    rows: Rows,
}

/// What is said of a recording as a whole.
#[derive(Serialize)]
struct About {
    program: String,
    pysample: String,
    /// `None` where it is not known.
    started: Option<String>,
    rate: f64,
    wanted: Wanted,
    processes: Vec<String>,
    /// In seconds.
    elapsed: f64,
    account: Option<Account>,
    /// Whether its end is there.
    has_end: bool,
    /// Samples of threads without Python frames; they are in no row.
    frameless: u64,
}

/// What of a [`Tally`] is shown.
#[derive(Serialize)]
struct Account {
    /// Of how many seconds it is: a recording that was ended by force is longer than its last account.
    elapsed: f64,
    asked: u64,
    taken: u64,
    /// For how many of those asked those taken stand.
    slots: u64,
    late: u64,
    failed: u64,
    dropped: u64,
    torn: u64,
    unmapped: u64,
    invalid: u64,
    truncated: u64,
    stretched: u64,
    spared: u64,
    stops: u64,
    /// In seconds.
    stopped: f64,
    /// In seconds.
    own_cpu: f64,
}

#[derive(Default, Serialize)]
struct Files {
    /// As the target spells them.
    path: Vec<String>,
    /// As frames show them.
    shown: Vec<String>,
    source: Vec<Option<String>>,
    /// How many are not embedded because there was too much text.
    left_out: usize,
}

#[derive(Default, Serialize)]
struct Functions {
    name: Vec<String>,
    file: Vec<u32>,
    first_line: Vec<u32>,
}

#[derive(Default, Serialize)]
struct Frames {
    function: Vec<u32>,
    line: Vec<Option<u32>>,
}

#[derive(Default, Serialize)]
struct Stacks {
    /// The stack of the caller, which comes before; -1 for none.
    caller: Vec<i64>,
    frame: Vec<u32>,
}

/// What is seen of a thread at one moment. Distinct ones are few.
#[derive(Default, Serialize)]
struct Kinds {
    recording: Vec<u8>,
    thread: Vec<u32>,
    state: Vec<u8>,
    gil: Vec<u8>,
    stack: Vec<u32>,
}

impl Page {
    /// One recording.
    pub fn of(recording: &dyn Replay, labels: &Labels, sources: &Sources<'_>) -> io::Result<Page> {
        let mut builder = Builder::default();
        builder.take(recording, labels)?;
        Ok(builder.page(labels, sources))
    }

    /// Two recordings to compare.
    pub fn of_two(
        before: (&dyn Replay, &Labels),
        after: (&dyn Replay, &Labels),
        sources: &Sources<'_>,
    ) -> io::Result<Page> {
        let mut builder = Builder::default();
        builder.take(before.0, before.1)?;
        builder.take(after.0, after.1)?;
        Ok(builder.page(after.1, sources))
    }

    /// What the page is about.
    pub fn title(&self) -> &str {
        self.recordings.last().map_or("", |about| &about.program)
    }
}

/// Takes recordings one after the other. What is the same in two of them is one entry.
#[derive(Default)]
struct Builder {
    recordings: Vec<About>,
    files: Files,
    functions: Functions,
    frames: Frames,
    stacks: Stacks,
    threads: Vec<String>,
    kinds: Kinds,
    rows: Rounded,
    file_ids: HashMap<(Arc<str>, String), u32>,
    function_ids: HashMap<(String, u32, u32), u32>,
    frame_ids: FxHashMap<(u32, Option<u32>), u32>,
    stack_ids: FxHashMap<(i64, u32), u32>,
    kind_ids: FxHashMap<(u8, u32, u8, u8, u32), u32>,
}

/// The tables of one recording, by its own ids, and what they are in the page.
#[derive(Default)]
struct Ids {
    functions: Vec<u32>,
    frames: Vec<u32>,
    stacks: Vec<u32>,
    threads: Vec<u32>,
    heard_of: Vec<Thread>,
    processes: Vec<Process>,
    elapsed: Duration,
    account: Option<(Duration, Tally)>,
    frameless: u64,
}

impl Builder {
    fn take(&mut self, recording: &dyn Replay, labels: &Labels) -> io::Result<()> {
        let mut ids = Ids::default();
        self.rows.begin(Duration::try_from_secs_f64(1.0 / recording.header().rate).unwrap_or_default());
        recording.replay(&mut |event| {
            self.event(&mut ids, labels, event);
            Ok(())
        })?;
        self.name_threads(&ids, labels);
        self.recordings.push(About::new(recording, ids));
        Ok(())
    }

    fn event(&mut self, ids: &mut Ids, labels: &Labels, event: Event) {
        match event {
            Event::Process(id, process) => define(&mut ids.processes, id.index(), process),
            Event::Code(id, code) => define(&mut ids.functions, id.index(), self.function(&code, labels)),
            Event::Frame(id, frame) => {
                let frame = self.frame_of(ids, frame);
                define(&mut ids.frames, id.index(), frame);
            }
            Event::Stack { id, caller, frame } => {
                let stack = self.stack_of(ids, caller, frame);
                define(&mut ids.stacks, id.index(), stack);
            }
            Event::Thread(id, thread) => self.thread(ids, id, thread),
            Event::Sample(sample) => self.sample(ids, &sample),
            Event::Progress(elapsed, tally) => {
                (ids.elapsed, ids.account) = (elapsed.max(ids.elapsed), Some((elapsed, tally)));
            }
            Event::SearchPath(_) | Event::Gil(_) | Event::Remark(_) => {}
        }
    }

    fn function(&mut self, code: &Code, labels: &Labels) -> u32 {
        let (files, shown) = (&mut self.files, labels.file(&code.file).to_owned());
        let file = *self.file_ids.entry((code.file.clone(), shown)).or_insert_with_key(|(path, shown)| {
            files.path.push(printable(path).into_owned());
            files.shown.push(printable(shown).into_owned());
            files.path.len() as u32 - 1
        });
        let functions = &mut self.functions;
        let key = (printable(&code.function).into_owned(), file, code.first_line);
        *self.function_ids.entry(key).or_insert_with_key(|(name, file, line)| {
            functions.name.push(name.clone());
            functions.file.push(*file);
            functions.first_line.push(*line);
            functions.name.len() as u32 - 1
        })
    }

    fn unknown_function(&mut self) -> u32 {
        self.function(&Code { function: "unknown".into(), file: "?".into(), first_line: 0 }, &Labels::default())
    }

    fn frame_of(&mut self, ids: &Ids, Frame { code: CodeId(code), line }: Frame) -> u32 {
        match ids.functions.get(code as usize) {
            Some(&function) => self.frame(function, line),
            None => self.unknown_frame(),
        }
    }

    fn unknown_frame(&mut self) -> u32 {
        let function = self.unknown_function();
        self.frame(function, None)
    }

    fn frame(&mut self, function: u32, line: Option<u32>) -> u32 {
        let frames = &mut self.frames;
        *self.frame_ids.entry((function, line)).or_insert_with(|| {
            frames.function.push(function);
            frames.line.push(line);
            frames.function.len() as u32 - 1
        })
    }

    fn stack_of(&mut self, ids: &Ids, caller: Option<StackId>, FrameId(frame): FrameId) -> u32 {
        let caller = caller.map(|caller| match ids.stacks.get(caller.index()) {
            Some(&caller) => caller,
            None => self.unknown_stack(),
        });
        let frame = ids.frames.get(frame as usize).copied().unwrap_or_else(|| self.unknown_frame());
        self.stack(caller, frame)
    }

    fn unknown_stack(&mut self) -> u32 {
        let frame = self.unknown_frame();
        self.stack(None, frame)
    }

    fn stack(&mut self, caller: Option<u32>, frame: u32) -> u32 {
        let (stacks, caller) = (&mut self.stacks, caller.map_or(-1, i64::from));
        *self.stack_ids.entry((caller, frame)).or_insert_with(|| {
            stacks.caller.push(caller);
            stacks.frame.push(frame);
            stacks.frame.len() as u32 - 1
        })
    }

    fn thread(&mut self, ids: &mut Ids, id: ThreadId, thread: Thread) {
        if id.index() == ids.threads.len() {
            ids.threads.push(self.threads.len() as u32);
            self.threads.push(String::new());
        }
        define(&mut ids.heard_of, id.index(), thread);
    }

    fn sample(&mut self, ids: &mut Ids, sample: &Sample) {
        ids.elapsed = ids.elapsed.max(sample.at);
        let Some(stack) = sample.stack else {
            ids.frameless += 1;
            return;
        };
        let stack = ids.stacks.get(stack.index()).copied().unwrap_or_else(|| self.unknown_stack());
        if ids.threads.get(sample.thread.index()).is_none() {
            self.unknown_threads(ids, sample.thread);
        }
        let thread = ids.threads.get(sample.thread.index()).copied().unwrap_or(0);
        let kind = self.kind(thread, sample.state, sample.gil, stack);
        self.rows.take(Seen::of(sample), kind);
    }

    /// Makes room for a thread that was never defined, as far as ids are dense.
    fn unknown_threads(&mut self, ids: &mut Ids, id: ThreadId) {
        if id.index() == ids.threads.len() || self.threads.is_empty() {
            ids.threads.push(self.threads.len() as u32);
            self.threads.push("unknown (thread ?)".into());
        }
    }

    fn kind(&mut self, thread: u32, state: ThreadState, gil: GilState, stack: u32) -> u32 {
        let recording = self.recordings.len() as u8;
        let (state, gil) = (state_index(state), gil as u8);
        let kinds = &mut self.kinds;
        *self.kind_ids.entry((recording, thread, state, gil, stack)).or_insert_with(|| {
            kinds.recording.push(recording);
            kinds.thread.push(thread);
            kinds.state.push(state);
            kinds.gil.push(gil);
            kinds.stack.push(stack);
            kinds.stack.len() as u32 - 1
        })
    }

    /// Threads have the names that they had last, and their process where there are several.
    fn name_threads(&mut self, ids: &Ids, labels: &Labels) {
        for (&shown, thread) in ids.threads.iter().zip(&ids.heard_of) {
            let name = labels.thread(thread);
            self.threads[shown as usize] = match ids.processes.get(thread.process.index()) {
                Some(process) if ids.processes.len() > 1 => format!("{} · {name}", process.pid),
                _ => name,
            };
        }
    }

    fn page(mut self, labels: &Labels, sources: &Sources<'_>) -> Page {
        self.read_sources(sources);
        Page {
            recordings: self.recordings,
            merges_lines: labels.lines == Lines::First,
            files: self.files,
            functions: self.functions,
            frames: self.frames,
            stacks: self.stacks,
            threads: self.threads,
            states: ThreadState::ALL.map(|state| (state, state.text(GilState::Unknown))).into(),
            gil_states: GIL_STATES.into(),
            kinds: self.kinds,
            rows: self.rows.rows(),
        }
    }

    fn read_sources(&mut self, sources: &Sources<'_>) {
        let paths: HashMap<u32, Arc<str>> = self.file_ids.drain().map(|((path, _), id)| (id, path)).collect();
        let mut room = MOST_SOURCE;
        for id in 0..self.files.path.len() as u32 {
            let text = paths.get(&id).and_then(|path| sources(path));
            let text = match text {
                Some(text) if text.len() > room => {
                    self.files.left_out += 1;
                    None
                }
                text => text,
            };
            room -= text.as_ref().map_or(0, String::len);
            self.files.source.push(text);
        }
    }
}

const GIL_STATES: [GilState; 4] = [GilState::Held, GilState::NotHeld, GilState::None, GilState::Unknown];

fn state_index(state: ThreadState) -> u8 {
    ThreadState::ALL.iter().position(|&one| one == state).expect("all are there") as u8
}

impl About {
    fn new(recording: &dyn Replay, ids: Ids) -> About {
        let header: &Header = recording.header();
        About {
            program: printable(&header.program).into_owned(),
            pysample: printable(&header.pysample).into_owned(),
            started: header
                .began()
                .filter(|began| *began > UNIX_EPOCH)
                .map(|began| humantime::format_rfc3339_seconds(began).to_string()),
            rate: header.rate,
            wanted: header.wanted,
            processes: ids.processes.iter().map(process).collect(),
            elapsed: ids.elapsed.as_secs_f64(),
            account: ids.account.map(|(elapsed, tally)| Account::new(elapsed, tally)),
            has_end: recording.has_end(),
            frameless: ids.frameless,
        }
    }
}

/// As `4242: python3 app.py · Python 3.11.7`.
fn process(process: &Process) -> String {
    let Process { pid, command, python, .. } = process;
    printable(&format!("{pid}: {} · Python {python}", command.join(" "))).into_owned()
}

impl Account {
    fn new(elapsed: Duration, tally: Tally) -> Account {
        Account {
            elapsed: elapsed.as_secs_f64(),
            asked: tally.asked,
            taken: tally.taken,
            slots: tally.slots(),
            late: tally.late,
            failed: tally.failed,
            dropped: tally.dropped,
            torn: tally.torn,
            unmapped: tally.unmapped,
            invalid: tally.invalid,
            truncated: tally.truncated,
            stretched: tally.stretched,
            spared: tally.spared,
            stops: tally.stopped.count,
            stopped: tally.stopped.total.as_secs_f64(),
            own_cpu: tally.own_cpu.as_secs_f64(),
        }
    }
}
