//! The events of several samplers as those of one recording: ids of each become ids of all, and times never go back.
//!
//! Equal code objects, frames and stacks of different processes are one. What a process tells waits in its [`Line`] until
//! all others have surely told what came before it.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, GilHeld, GilSample, Process, ProcessId, Remark, Sample, StackId, Tally,
    Thread, ThreadId,
};

/// What one sampler has told: its ids, and the events that are not passed on yet.
pub struct Line {
    process: ProcessId,
    /// The process as it was last told.
    told: Process,
    codes: Vec<CodeId>,
    frames: Vec<FrameId>,
    stacks: Vec<StackId>,
    threads: Vec<ThreadId>,
    waiting: VecDeque<Event>,
    /// Its account, as last told.
    pub tally: Tally,
}

impl Line {
    /// Of a process, which has been told.
    pub fn new(process: ProcessId, told: Process) -> Line {
        Line {
            process,
            told,
            codes: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            threads: Vec::new(),
            waiting: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Whether all that it told was passed on.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next event of its sampler.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Progress(_, tally) => self.tally = tally,
            event => self.waiting.push_back(event),
        }
    }
}

/// Gives out ids for all, and puts events in order.
#[derive(Default)]
pub struct Merger {
    codes: FxHashMap<Code, CodeId>,
    frames: FxHashMap<Frame, FrameId>,
    stacks: FxHashMap<(Option<StackId>, FrameId), StackId>,
    threads: u32,
    search_paths: FxHashSet<Vec<String>>,
    remarks: FxHashSet<Remark>,
    /// The time of the last event that was passed on.
    last: Duration,
}

/// Something to pass on.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// What must arrive.
    Definition(Event),
    /// What may be lost.
    Sample(Event),
}

/// A sample or a look at a GIL, on its way: when it was, and whose it is.
struct Timed {
    at: Duration,
    process: ProcessId,
    event: Event,
}

impl Merger {
    /// Passes on what is not later than `until`, definitions before all else.
    pub fn pass_on<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l mut Line>,
        until: Duration,
        mut out: impl FnMut(Out),
    ) {
        let mut timed = Vec::new();
        for line in lines {
            while line.waiting.front().is_some_and(|event| time_of(event).is_none_or(|at| at <= until)) {
                let Some(event) = line.waiting.pop_front() else { break };
                let Some(event) = self.translate(line, event) else { continue };
                match time_of(&event) {
                    Some(at) => timed.push(Timed { at, process: line.process, event }),
                    None => out(Out::Definition(event)),
                }
            }
        }
        // Stable: what a process told of one moment stays in its order.
        timed.sort_by_key(|timed| timed.at);
        for moment in timed.chunk_by(|a, b| (a.at, a.process) == (b.at, b.process)) {
            // One that comes too late, as its sampler was held up, is told a little later than it was, and as a moment of
            // its own.
            let at = match moment[0].at {
                at if at >= self.last => at,
                _ => self.last + Duration::from_nanos(1),
            };
            self.last = at;
            moment.iter().for_each(|timed| out(Out::Sample(at_time(timed.event.clone(), at))));
        }
    }

    /// An event in the ids of all; `None` if it tells nothing new, or speaks of what was never defined.
    fn translate(&mut self, line: &mut Line, event: Event) -> Option<Event> {
        Some(match event {
            Event::Process(_, process) => {
                let process = Process { parent: line.told.parent, ..process };
                if line.told == process {
                    return None;
                }
                line.told = process.clone();
                Event::Process(line.process, process)
            }
            Event::Code(id, code) => {
                let (all, is_new) = intern(&mut self.codes, code.clone(), CodeId);
                define(&mut line.codes, id.index(), all);
                return is_new.then_some(Event::Code(all, code));
            }
            Event::Frame(id, frame) => {
                let frame = Frame { code: *line.codes.get(frame.code.index())?, ..frame };
                let (all, is_new) = intern(&mut self.frames, frame, FrameId);
                define(&mut line.frames, id.index(), all);
                return is_new.then_some(Event::Frame(all, frame));
            }
            Event::Stack { id, caller, frame } => {
                let caller =
                    caller.map(|caller| line.stacks.get(caller.index()).copied().ok_or(())).transpose().ok()?;
                let frame = *line.frames.get(frame.index())?;
                let (all, is_new) = intern(&mut self.stacks, (caller, frame), StackId);
                define(&mut line.stacks, id.index(), all);
                return is_new.then_some(Event::Stack { id: all, caller, frame });
            }
            Event::Thread(id, thread) => {
                let new = ThreadId(self.threads);
                let all = *line.threads.get(id.index()).unwrap_or(&new);
                self.threads += u32::from(all == new);
                define(&mut line.threads, id.index(), all);
                Event::Thread(all, Thread { process: line.process, ..thread })
            }
            Event::SearchPath(entries) => {
                return self.search_paths.insert(entries.clone()).then_some(Event::SearchPath(entries));
            }
            Event::Remark(remark) => return self.remarks.insert(remark).then_some(Event::Remark(remark)),
            Event::Gil(sample) => {
                let holder = match sample.holder {
                    GilHeld::By(thread) => {
                        line.threads.get(thread.index()).map_or(GilHeld::BySomeone, |&all| GilHeld::By(all))
                    }
                    other => other,
                };
                Event::Gil(GilSample { process: line.process, holder, ..sample })
            }
            Event::Sample(sample) => {
                let thread = *line.threads.get(sample.thread.index())?;
                let stack = match sample.stack {
                    Some(stack) => Some(*line.stacks.get(stack.index())?),
                    None => None,
                };
                Event::Sample(Sample { thread, stack, ..sample })
            }
            Event::Progress(..) => return None,
        })
    }
}

/// The id of a value, and whether it is new.
fn intern<K: std::hash::Hash + Eq, I: Copy>(known: &mut FxHashMap<K, I>, value: K, id: fn(u32) -> I) -> (I, bool) {
    let next = id(known.len() as u32);
    let mut is_new = false;
    let id = *known.entry(value).or_insert_with(|| {
        is_new = true;
        next
    });
    (id, is_new)
}

/// Samplers give ids out in order.
fn define<T>(table: &mut Vec<T>, index: usize, value: T) {
    if index == table.len() {
        table.push(value);
    }
}

fn time_of(event: &Event) -> Option<Duration> {
    match event {
        Event::Gil(sample) => Some(sample.at),
        Event::Sample(sample) => Some(sample.at),
        _ => None,
    }
}

fn at_time(event: Event, at: Duration) -> Event {
    match event {
        Event::Gil(sample) => Event::Gil(GilSample { at, ..sample }),
        Event::Sample(sample) => Event::Sample(Sample { at, ..sample }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{GilState, ThreadState, Tid, Weight};

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A line that has told of a process, a thread and a stack of one frame of a function.
    fn line(id: u32, parent: Option<u32>, function: &str) -> Line {
        let process = Process { pid: 100 + id, own_pid: 1, parent: None, command: Vec::new(), python: "3.11.7".into() };
        let mut line = Line::new(ProcessId(id), Process { parent: parent.map(ProcessId), ..process.clone() });
        let code = Code { function: function.into(), file: "app.py".into(), first_line: 1 };
        let thread = Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(100 + id)),
            python_thread_id: 1,
            name: None,
        };
        line.push(Event::Process(ProcessId(0), process));
        line.push(Event::Code(CodeId(0), code));
        line.push(Event::Frame(FrameId(0), Frame { code: CodeId(0), line: Some(3) }));
        line.push(Event::Stack { id: StackId(0), caller: None, frame: FrameId(0) });
        line.push(Event::Thread(ThreadId(0), thread));
        line
    }

    fn sample(at: u32) -> Event {
        let (state, gil) = (ThreadState::RunsPython, GilState::Held);
        Event::Sample(Sample {
            at: at * MILLISECOND,
            thread: ThreadId(0),
            state,
            gil,
            stack: Some(StackId(0)),
            weight: Weight::ONE,
        })
    }

    fn pass_on(merger: &mut Merger, lines: &mut [Line], until: u32) -> Vec<Out> {
        let mut passed = Vec::new();
        merger.pass_on(lines.iter_mut(), until * MILLISECOND, |out| passed.push(out));
        passed
    }

    /// When samples were, and of which threads and stacks.
    fn samples(passed: &[Out]) -> Vec<(Duration, u32, u32)> {
        let sample = |out: &Out| match out {
            Out::Sample(Event::Sample(sample)) => Some((sample.at, sample.thread.0, sample.stack.unwrap().0)),
            _ => None,
        };
        passed.iter().filter_map(sample).collect()
    }

    fn count(passed: &[Out], is: fn(&Event) -> bool) -> usize {
        passed.iter().filter(|out| matches!(out, Out::Definition(event) if is(event))).count()
    }

    #[test]
    fn equal_stacks_of_two_processes_are_one_and_their_threads_are_two() {
        let mut lines = [line(0, None, "work"), line(1, Some(0), "work"), line(2, Some(1), "rest")];
        for line in &mut lines {
            line.push(sample(5));
        }
        let passed = pass_on(&mut Merger::default(), &mut lines, 9);
        assert_eq!(samples(&passed), [(5, 0, 0), (5, 1, 0), (5, 2, 1)].map(|(at, t, s)| (at * MILLISECOND, t, s)));
        assert_eq!(count(&passed, |event| matches!(event, Event::Code(..))), 2);
        assert_eq!(count(&passed, |event| matches!(event, Event::Stack { .. })), 2);
        assert_eq!(count(&passed, |event| matches!(event, Event::Process(..))), 0, "they were told before");
        let processes: Vec<_> = passed
            .iter()
            .filter_map(|out| match out {
                Out::Definition(Event::Thread(id, thread)) => Some((id.0, thread.process.0)),
                _ => None,
            })
            .collect();
        assert_eq!(processes, [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn samples_come_in_the_order_of_their_times_and_definitions_before_all() {
        let mut lines = [line(0, None, "a"), line(1, None, "b")];
        [1, 3, 7].into_iter().for_each(|at| lines[0].push(sample(at)));
        [2, 4, 6].into_iter().for_each(|at| lines[1].push(sample(at)));
        let mut merger = Merger::default();
        let passed = pass_on(&mut merger, &mut lines, 5);
        let order: Vec<_> = samples(&passed).iter().map(|(at, ..)| at.as_millis()).collect();
        assert_eq!(order, [1, 2, 3, 4]);
        let first = passed.iter().position(|out| matches!(out, Out::Sample(_))).unwrap();
        assert!(passed[first..].iter().all(|out| matches!(out, Out::Sample(_))), "{passed:?}");
        let rest: Vec<_> =
            samples(&pass_on(&mut merger, &mut lines, 9)).iter().map(|(at, ..)| at.as_millis()).collect();
        assert_eq!(rest, [6, 7]);
    }

    #[test]
    fn moments_that_come_too_late_are_told_as_later_and_stay_apart() {
        let mut lines = [line(0, None, "a"), line(1, None, "b")];
        let mut merger = Merger::default();
        lines[0].push(sample(8));
        pass_on(&mut merger, &mut lines, 9);
        [sample(5), sample(5), sample(6)].into_iter().for_each(|late| lines[1].push(late));
        let nano = Duration::from_nanos(1);
        let late: Vec<_> = samples(&pass_on(&mut merger, &mut lines, 9)).iter().map(|(at, ..)| *at).collect();
        assert_eq!(late, [8 * MILLISECOND + nano, 8 * MILLISECOND + nano, 8 * MILLISECOND + 2 * nano]);
    }

    #[test]
    fn who_holds_a_gil_is_a_thread_of_that_process() {
        let mut lines = [line(0, None, "a"), line(1, None, "b")];
        let gil = GilSample {
            at: MILLISECOND,
            process: ProcessId(0),
            interpreter: 0,
            owner: 0,
            holder: GilHeld::By(ThreadId(0)),
            switches: None,
            interval: None,
            is_collecting: false,
            holding: None,
            weight: Weight::ONE,
        };
        lines[1].push(Event::Gil(gil));
        let passed = pass_on(&mut Merger::default(), &mut lines, 9);
        let expected = GilSample { process: ProcessId(1), holder: GilHeld::By(ThreadId(1)), ..gil };
        assert_eq!(passed.last(), Some(&Out::Sample(Event::Gil(expected))));
    }

    #[test]
    fn a_thread_that_is_renamed_keeps_its_id_and_a_remark_is_made_once() {
        let mut lines = [line(0, None, "a"), line(1, None, "b")];
        let mut merger = Merger::default();
        pass_on(&mut merger, &mut lines, 9);
        for line in &mut lines {
            line.push(Event::Remark(Remark::Stretched));
        }
        let thread = Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: None,
            python_thread_id: 1,
            name: Some("renamed".into()),
        };
        lines[1].push(Event::Thread(ThreadId(0), thread.clone()));
        let passed = pass_on(&mut merger, &mut lines, 9);
        let renamed = Thread { process: ProcessId(1), ..thread };
        assert_eq!(
            passed,
            [Out::Definition(Event::Remark(Remark::Stretched)), Out::Definition(Event::Thread(ThreadId(1), renamed))]
        );
    }

    #[test]
    fn a_process_that_executes_another_program_keeps_its_id_and_its_parent() {
        let mut lines = [line(1, Some(0), "a")];
        let mut merger = Merger::default();
        pass_on(&mut merger, &mut lines, 9);
        let process = Process { command: vec!["b.py".into()], parent: None, ..lines[0].told.clone() };
        lines[0].push(Event::Process(ProcessId(0), process.clone()));
        let expected = Process { parent: Some(ProcessId(0)), ..process };
        let expected = Out::Definition(Event::Process(ProcessId(1), expected));
        assert_eq!(pass_on(&mut merger, &mut lines, 9), [expected]);
    }

    #[test]
    fn what_was_never_defined_is_left_out() {
        let mut lines = [line(0, None, "a")];
        let event = |event| match event {
            Event::Sample(it) => Event::Sample(Sample { stack: Some(StackId(7)), ..it }),
            other => other,
        };
        lines[0].push(event(sample(1)));
        assert!(samples(&pass_on(&mut Merger::default(), &mut lines, 9)).is_empty());
    }
}
