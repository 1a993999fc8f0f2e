//! What a recording speaks of, as tables: code objects, frames, stacks, threads, processes. The formats that keep their
//! samples in order, and those that have tables of their own, are written from it; what a sample becomes is theirs.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::Labels;
use crate::aggregate::CallTree;
use crate::printable::printable;
use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, GilHeld, GilSample, Process, ProcessId, Replay, Sample, StackId, Thread,
    ThreadId, define,
};

/// The most characters of a command line that a process is called by.
const LONGEST_COMMAND: usize = 200;

/// Everything that is defined in a recording, as it was last told. Every id that a sample or a definition uses can be
/// looked up: what was never defined is one more entry that says so, the last of its table.
pub struct Tables {
    tree: CallTree,
    processes: Vec<Process>,
    extents: Vec<Extent>,
    last: Duration,
    period: Duration,
}

/// What there is of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its samples, those without a Python frame included.
    pub samples: u64,
    /// For how many slots of the clock they stand.
    pub slots: u64,
    /// The first of them.
    pub first: Duration,
    /// The last of them.
    pub last: Duration,
}

/// What a reference leads to.
#[derive(Clone, Copy, Default)]
struct Lost {
    code: bool,
    frame: bool,
    stack: bool,
    thread: bool,
}

impl Tables {
    /// Reads all definitions; `take` gets the samples between them.
    ///
    /// # Errors
    ///
    /// What the replay says; `InvalidData` for a rate that is none.
    pub fn read(recording: &dyn Replay, take: &mut dyn FnMut(&Sample)) -> io::Result<Tables> {
        let period = period(recording.header().rate)?;
        let (tree, last) = (CallTree::default(), Duration::ZERO);
        let mut tables = Tables { tree, processes: Vec::new(), extents: Vec::new(), last, period };
        let mut lost = Lost::default();
        recording.replay(&mut |event| {
            lost.look(&event, &tables.tree);
            match event {
                Event::Sample(sample) => {
                    tables.count(&sample);
                    take(&sample);
                }
                Event::Process(id, process) => define(&mut tables.processes, id.index(), process),
                other => tables.tree.take(other),
            }
            Ok(())
        })?;
        tables.mend(lost);
        // Where samples were left out on purpose and none says that it stands for them, each stands for some.
        tables.period = tables.period.mul_f64(tables.tree.progress().1.moments_for_each());
        Ok(tables)
    }

    fn count(&mut self, sample: &Sample) {
        let index = sample.thread.index().min(self.tree.threads().len());
        if self.extents.len() <= index {
            self.extents.resize(index + 1, Extent::default());
        }
        let extent = &mut self.extents[index];
        if extent.samples == 0 {
            extent.first = sample.at;
        }
        extent.samples += 1;
        extent.slots = extent.slots.saturating_add(sample.weight.slots());
        extent.last = sample.at;
        self.last = self.last.max(sample.at);
    }

    /// Defines what was spoken of and never defined.
    fn mend(&mut self, lost: Lost) {
        let unknown = Code { function: "unknown".into(), file: "?".into(), first_line: 0 };
        let (code, frame) = (CodeId(self.tree.codes().len() as u32), FrameId(self.tree.frames().len() as u32));
        let id = StackId(self.tree.stack_count() as u32);
        if lost.code || lost.frame || lost.stack {
            self.tree.take(Event::Code(code, unknown));
            self.tree.take(Event::Frame(frame, Frame { code, line: None }));
            self.tree.take(Event::Stack { id, caller: None, frame });
        }
        if lost.thread {
            let (process, name) = (ProcessId(0), Some("unknown".into()));
            let thread = Thread { process, interpreter: 0, os_thread_id: None, python_thread_id: 0, name };
            self.tree.take(Event::Thread(ThreadId(self.tree.threads().len() as u32), thread));
        }
    }

    /// How long a slot of the clock is.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How long the recording took.
    pub fn elapsed(&self) -> Duration {
        self.tree.progress().0.max(self.last)
    }

    /// The code objects.
    pub fn codes(&self) -> &[Code] {
        self.tree.codes()
    }

    /// The frames.
    pub fn frames(&self) -> &[Frame] {
        self.tree.frames()
    }

    /// Which entry of [`Tables::codes`] a frame executes.
    pub fn code_of(&self, frame: &Frame) -> CodeId {
        CodeId(last_at_most(frame.code.0, self.codes().len()))
    }

    /// The innermost frame of each stack, and the caller's stack.
    pub fn stacks(&self) -> impl Iterator<Item = (FrameId, Option<StackId>)> {
        (0..self.tree.stack_count()).map(|id| self.stack(StackId(id as u32)))
    }

    /// Which stack is meant by an id.
    pub fn stack_of(&self, id: StackId) -> StackId {
        StackId(last_at_most(id.0, self.tree.stack_count()))
    }

    /// A stack's innermost frame, and its caller's stack.
    pub fn stack(&self, id: StackId) -> (FrameId, Option<StackId>) {
        let (frame, caller) = self.tree.stack(self.stack_of(id)).unwrap_or((FrameId(0), None));
        (FrameId(last_at_most(frame.0, self.frames().len())), caller)
    }

    /// The frames of a stack, innermost first.
    pub fn frames_of(&self, stack: StackId) -> impl Iterator<Item = FrameId> {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let (frame, caller) = self.stack(next?);
            next = caller;
            Some(frame)
        })
    }

    /// Which thread is meant by an id.
    pub fn thread_of(&self, id: ThreadId) -> ThreadId {
        ThreadId(last_at_most(id.0, self.tree.threads().len()))
    }

    /// A thread.
    pub fn thread(&self, id: ThreadId) -> &Thread {
        &self.tree.threads()[self.thread_of(id).index()]
    }

    /// The threads that have samples, and what there is of them.
    pub fn threads(&self) -> impl Iterator<Item = (ThreadId, &Thread, Extent)> {
        let all = self.tree.threads().iter().zip(&self.extents).enumerate();
        let seen = all.filter(|(_, (_, extent))| extent.samples > 0);
        seen.map(|(id, (thread, extent))| (ThreadId(id as u32), thread, *extent))
    }

    /// The processes.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// A process, if it was told.
    pub fn process(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(id.index())
    }

    /// The id of a thread's process; 0 where it was not told.
    pub fn pid(&self, thread: &Thread) -> u32 {
        self.process(thread.process).map_or(0, |process| process.pid)
    }

    /// Whether there are several processes, so that they have to be told apart.
    pub fn has_several_processes(&self) -> bool {
        self.processes.len() > 1
    }

    /// What a process is called: its command line, without the folder of the program.
    pub fn process_name(&self, id: ProcessId, program: &str) -> String {
        let command = self.process(id).and_then(|process| process.command.split_first());
        let command = command.map(|(program, arguments)| {
            let program = program.rsplit('/').next().unwrap_or(program);
            std::iter::once(program).chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        });
        let command = command.filter(|command| !command.trim().is_empty()).unwrap_or_else(|| program.into());
        printable(&command).chars().take(LONGEST_COMMAND).collect()
    }

    /// What a thread is called, with its process if there are several.
    pub fn thread_name(&self, thread: &Thread, labels: &Labels, program: &str) -> String {
        let name = labels.thread(thread);
        match self.has_several_processes() {
            true => format!("{} ({}), {name}", self.process_name(thread.process, program), self.pid(thread)),
            false => name,
        }
    }
}

impl Lost {
    fn look(&mut self, event: &Event, tree: &CallTree) {
        match *event {
            Event::Frame(_, frame) => self.code |= frame.code.index() >= tree.codes().len(),
            Event::Stack { frame, .. } => self.frame |= frame.index() >= tree.frames().len(),
            Event::Sample(sample) => {
                self.stack |= sample.stack.is_some_and(|stack| stack.index() >= tree.stack_count());
                self.thread |= sample.thread.index() >= tree.threads().len();
            }
            Event::Gil(GilSample { holder: GilHeld::By(thread), .. }) => {
                self.thread |= thread.index() >= tree.threads().len();
            }
            _ => {}
        }
    }
}

/// An id, or the last there is if it was never defined.
fn last_at_most(id: u32, count: usize) -> u32 {
    (id as usize).min(count.saturating_sub(1)) as u32
}

/// The time from one sample to the next.
fn period(rate: f64) -> io::Result<Duration> {
    let period = Duration::try_from_secs_f64(1.0 / rate).ok().filter(|period| !period.is_zero());
    period.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{rate} is no rate of samples")))
}

/// A function as it is shown: names stay data, but nothing in them acts on a terminal.
pub fn function(code: &Code) -> Cow<'_, str> {
    match printable(&code.function) {
        name if name.is_empty() => "?".into(),
        name => name,
    }
}

/// The file of a function in full, for those who open it. As it is shown, too.
pub fn file(code: &Code) -> Cow<'_, str> {
    printable(&code.file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::{Recipe, header};
    use crate::sample::{GilState, Literal, Tally, ThreadState, Weight};

    #[test]
    fn what_was_never_defined_is_unknown_and_is_found_all_the_same() {
        let (state, gil) = (ThreadState::RunsPython, GilState::Held);
        let sample = Sample {
            at: Duration::ZERO,
            thread: ThreadId(7),
            state,
            gil,
            stack: Some(StackId(9)),
            weight: Weight::ONE,
        };
        let recording = Literal { header: header(), events: vec![Event::Sample(sample)] };
        let tables = Tables::read(&recording, &mut |_| {}).unwrap();
        let frame = tables.frames_of(StackId(9)).next().unwrap();
        assert_eq!(&*tables.codes()[tables.code_of(&tables.frames()[frame.index()]).index()].function, "unknown");
        assert_eq!(tables.thread(ThreadId(7)).name.as_deref(), Some("unknown"));
        assert_eq!(tables.threads().map(|(_, _, extent)| extent.samples).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn every_format_takes_what_was_never_defined() {
        let (at, thread, stack) = (Duration::ZERO, ThreadId(7), Some(StackId(9)));
        let (state, gil) = (ThreadState::WaitsForGil, GilState::NotHeld);
        let held = GilSample {
            at,
            process: ProcessId(3),
            interpreter: 0,
            owner: 0,
            holder: GilHeld::By(ThreadId(5)),
            switches: None,
            interval: None,
            is_collecting: true,
            holding: None,
            weight: Weight::ONE,
        };
        let sample = Sample { at, thread, state, gil, stack, weight: Weight::ONE };
        use crate::export::{chrome_trace, firefox, json_lines, pprof, pstats, speedscope};
        for events in
            [vec![], vec![Event::Gil(held)], vec![Event::Sample(sample)], vec![Event::Gil(held), Event::Sample(sample)]]
        {
            let recording = Literal { header: header(), events };
            let labels = Labels::default();
            chrome_trace::write(&recording, &labels, &mut Vec::new()).unwrap();
            firefox::write(&recording, &labels, &mut Vec::new()).unwrap();
            json_lines::write(&recording, &labels, &mut Vec::new()).unwrap();
            pprof::write(&recording, &labels, &mut Vec::new()).unwrap();
            pstats::write(&recording, &labels, &mut Vec::new()).unwrap();
            speedscope::write(&recording, &labels, &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn a_thread_that_was_never_seen_is_left_out() {
        let mut recipe = Recipe::new();
        recipe.thread(0, "silent");
        let seen = recipe.thread(0, "seen");
        recipe.sample(seen, 3, &[("f", 1)]);
        let tables = Tables::read(&recipe.recording(), &mut |_| {}).unwrap();
        let threads: Vec<_> = tables.threads().map(|(id, _, extent)| (id, extent.first, extent.samples)).collect();
        assert_eq!(threads, [(seen, Duration::from_millis(30), 1)]);
    }

    #[test]
    fn a_rate_that_is_none_is_an_error() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let recording = Literal { header: crate::sample::Header { rate, ..header() }, events: vec![] };
            let error = Tables::read(&recording, &mut |_| {}).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{rate}");
        }
    }

    #[test]
    fn where_samples_were_left_out_on_purpose_the_others_stand_for_their_time_too() {
        let tally = Tally { asked: 100, taken: 22, late: 3, stretched: 35, spared: 40, ..Tally::default() };
        let told = |tally| vec![Event::Progress(Duration::from_secs(1), tally)];
        let period = |events| {
            let recording = Literal { header: header(), events };
            Tables::read(&recording, &mut |_| {}).unwrap().period()
        };
        assert_eq!(period(told(tally)), 4 * Duration::from_millis(10));
        assert_eq!(period(told(Tally { asked: 25, stretched: 0, spared: 0, ..tally })), Duration::from_millis(10));
        assert_eq!(period(told(Tally { asked: 75, taken: 0, late: 0, ..tally })), Duration::from_millis(10));
        assert_eq!(period(vec![]), Duration::from_millis(10));
    }

    #[test]
    fn a_process_is_called_by_its_command_line() {
        let mut recipe = Recipe::new();
        recipe.process(7, &["/usr/bin/python3", "app.py", "--name", "a\nb"]);
        recipe.process(8, &[]);
        let tables = Tables::read(&recipe.recording(), &mut |_| {}).unwrap();
        assert_eq!(tables.process_name(ProcessId(0), "main.py"), "python3 app.py --name a\\nb");
        assert_eq!(tables.process_name(ProcessId(1), "main.py"), "main.py");
        assert!(tables.has_several_processes());
    }
}
