//! How much of the time each thread was seen in each stack.
//!
//! The events already spell stacks as a tree (a stack is a frame and the stack of its caller), so the tree is kept as it
//! comes and only its nodes are counted. Where threads need not be told apart they are not kept at all, but for which process
//! each is of, if that matters: a program that makes one for each request would fill the memory with them.

use std::collections::HashSet;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, Process, ProcessId, Sample, StackId, Tally, Thread, ThreadId, define,
};

/// How much of the time one thread was seen in one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// Of which process.
    pub process: ProcessId,
    /// Whose stack.
    pub thread: ThreadId,
    /// Which stack, down to its innermost frame.
    pub stack: StackId,
    /// For how many slots of the clock: the sum of the weights of its samples.
    pub slots: u64,
}

/// A recording, summed up.
#[derive(Clone, Debug, Default)]
pub struct CallTree {
    codes: Vec<Code>,
    frames: Vec<Frame>,
    stacks: Vec<Node>,
    threads: Vec<Thread>,
    /// How many threads were heard of.
    thread_count: usize,
    /// Whether threads are not told apart.
    is_merged: bool,
    processes: Vec<Process>,
    /// The processes of threads, but for those of the first process, which are most.
    of_others: FxHashMap<ThreadId, ProcessId>,
    counts: FxHashMap<(ProcessId, ThreadId, StackId), u64>,
    samples: u64,
    slots: u64,
    frameless: u64,
    progress: (Duration, Tally),
}

#[derive(Clone, Copy, Debug)]
struct Node {
    caller: Option<StackId>,
    frame: FrameId,
}

impl CallTree {
    /// A recording whose threads are not told apart: every count is of thread 0 (of whatever process), and no thread is known.
    pub fn merged() -> CallTree {
        CallTree { is_merged: true, ..CallTree::default() }
    }

    /// Takes the next event of a recording.
    pub fn take(&mut self, event: Event) {
        self.take_often(event, 1);
    }

    /// Takes the next event, which is so many alike if it is a sample.
    pub fn take_often(&mut self, event: Event, count: u64) {
        match event {
            Event::Code(id, code) => define(&mut self.codes, id.index(), code),
            Event::Frame(id, frame) => define(&mut self.frames, id.index(), frame),
            Event::Stack { id, caller, frame } => {
                // A caller is defined before what it calls; holding to that keeps the tree free of circles.
                let caller = caller.filter(|caller| caller.0 < id.0);
                define(&mut self.stacks, id.index(), Node { caller, frame });
            }
            Event::Thread(id, thread) => {
                self.thread_count = self.thread_count.max(id.index() + 1);
                if thread.process != ProcessId(0) {
                    self.of_others.insert(id, thread.process);
                }
                if !self.is_merged {
                    define(&mut self.threads, id.index(), thread);
                }
            }
            Event::Process(id, process) => define(&mut self.processes, id.index(), process),
            Event::Sample(sample) => self.count(&sample, count),
            Event::Progress(elapsed, tally) => self.progress = (elapsed, tally),
            Event::Gil(_) | Event::SearchPath(_) | Event::Remark(_) => {}
        }
    }

    fn count(&mut self, sample: &Sample, count: u64) {
        match sample.stack {
            Some(stack) => {
                let thread = if self.is_merged { ThreadId(0) } else { sample.thread };
                let process = self.of_others.get(&sample.thread).copied().unwrap_or(ProcessId(0));
                let slots = sample.weight.times(count);
                let of_stack = self.counts.entry((process, thread, stack)).or_default();
                *of_stack = of_stack.saturating_add(slots);
                self.samples += count;
                self.slots = self.slots.saturating_add(slots);
            }
            None => self.frameless += count,
        }
    }

    /// The same threads, frames and stacks with other counts, threads not told apart.
    pub fn weighed(&self, counts: impl IntoIterator<Item = ((ProcessId, StackId), u64)>) -> CallTree {
        let counts = counts.into_iter().map(|((process, stack), count)| ((process, ThreadId(0), stack), count));
        let counts: FxHashMap<_, _> = counts.collect();
        let slots = counts.values().sum();
        CallTree { samples: slots, slots, counts, is_merged: true, frameless: 0, ..self.clone() }
    }

    /// Every count, by process, thread and stack.
    pub fn counts(&self) -> Vec<Count> {
        let count = |(&(process, thread, stack), &slots)| Count { process, thread, stack, slots };
        let mut counts: Vec<Count> = self.counts.iter().map(count).collect();
        counts.sort_unstable();
        counts
    }

    /// How many thread stacks were counted.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// For how many slots of the clock they stand: the sum of all [`CallTree::counts`].
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// The samples of threads that had no Python frame; they are in no count.
    pub fn frameless(&self) -> u64 {
        self.frameless
    }

    /// The stacks that were seen at least once, in whatever thread.
    pub fn distinct_stacks(&self) -> usize {
        self.counts.keys().map(|(.., stack)| stack).collect::<HashSet<_>>().len()
    }

    /// How many threads were heard of.
    pub fn thread_count(&self) -> usize {
        self.thread_count
    }

    /// The threads heard of, by id; none if they are not told apart.
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// The processes heard of, by id.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The process, if it was defined.
    pub fn process(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(id.index())
    }

    /// The time and the account as last told by the sampler.
    pub fn progress(&self) -> (Duration, Tally) {
        self.progress
    }

    /// The frames heard of, by id.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The code objects heard of, by id.
    pub fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// How many stacks were heard of.
    pub fn stack_count(&self) -> usize {
        self.stacks.len()
    }

    /// The code object, if it was defined.
    pub fn code(&self, id: CodeId) -> Option<&Code> {
        self.codes.get(id.index())
    }

    /// The thread, if it was defined.
    pub fn thread(&self, id: ThreadId) -> Option<&Thread> {
        self.threads.get(id.index())
    }

    /// A stack's innermost frame and the stack of its caller, if it was defined.
    pub fn stack(&self, id: StackId) -> Option<(FrameId, Option<StackId>)> {
        self.stacks.get(id.index()).map(|node| (node.frame, node.caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{GilState, ProcessId, ThreadState, Tid, Weight};

    fn code(name: &str) -> Code {
        Code { function: name.into(), file: "/srv/app.py".into(), first_line: 1 }
    }

    fn thread(name: &str) -> Thread {
        Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(7)),
            python_thread_id: 1,
            name: Some(name.into()),
        }
    }

    fn sample(thread: u32, stack: Option<u32>) -> Event {
        Event::Sample(Sample {
            at: Duration::ZERO,
            thread: ThreadId(thread),
            state: ThreadState::RunsPython,
            gil: GilState::Held,
            stack: stack.map(StackId),
            weight: Weight::ONE,
        })
    }

    fn tree(events: impl IntoIterator<Item = Event>) -> CallTree {
        let mut tree = CallTree::default();
        events.into_iter().for_each(|event| tree.take(event));
        tree
    }

    #[test]
    fn samples_of_one_stack_in_one_thread_are_one_count() {
        let tree = tree([sample(0, Some(3)), sample(1, Some(3)), sample(0, Some(3)), sample(0, Some(1))]);
        let counts: Vec<_> = tree.counts().iter().map(|c| (c.thread.0, c.stack.0, c.slots)).collect();
        assert_eq!(counts, [(0, 1, 1), (0, 3, 2), (1, 3, 1)]);
        assert_eq!((tree.samples(), tree.distinct_stacks()), (4, 2));
    }

    #[test]
    fn a_stack_counts_as_often_as_its_samples_stand_for_slots() {
        let weighing = |stack, left_out| match sample(0, Some(stack)) {
            Event::Sample(sample) => Event::Sample(Sample { weight: Weight::after(left_out), ..sample }),
            other => other,
        };
        let mut tree = tree([weighing(3, 4), weighing(3, 0), weighing(1, 1)]);
        tree.take_often(weighing(1, 2), 3);
        let counts: Vec<_> = tree.counts().iter().map(|c| (c.stack.0, c.slots)).collect();
        assert_eq!(counts, [(1, 2 + 3 * 3), (3, 5 + 1)]);
        assert_eq!((tree.samples(), tree.slots()), (6, 17));
    }

    #[test]
    fn threads_that_are_not_told_apart_are_only_counted() {
        let mut merged = CallTree::merged();
        let threads = (0..3).map(|id| Event::Thread(ThreadId(id), thread("request")));
        threads.chain([sample(0, Some(3)), sample(2, Some(3))]).for_each(|event| merged.take(event));
        assert_eq!((merged.thread_count(), merged.threads().len()), (3, 0));
        assert_eq!(
            merged.counts(),
            [Count { process: ProcessId(0), thread: ThreadId(0), stack: StackId(3), slots: 2 }]
        );
    }

    #[test]
    fn processes_are_told_apart_where_threads_are_not() {
        let mut merged = CallTree::merged();
        let of = |id, process| Event::Thread(ThreadId(id), Thread { process: ProcessId(process), ..thread("w") });
        let events = [of(0, 0), of(1, 1), of(2, 1), sample(0, Some(3)), sample(1, Some(3)), sample(2, Some(3))];
        events.into_iter().for_each(|event| merged.take(event));
        let counts: Vec<_> = merged.counts().iter().map(|c| (c.process.0, c.stack.0, c.slots)).collect();
        assert_eq!(counts, [(0, 3, 1), (1, 3, 2)]);
    }

    #[test]
    fn a_thread_without_python_frames_is_counted_apart() {
        let tree = tree([sample(0, None), sample(0, Some(0)), sample(0, None)]);
        assert_eq!((tree.samples(), tree.frameless()), (1, 2));
    }

    #[test]
    fn a_thread_that_is_defined_again_has_its_new_name() {
        let tree = tree([Event::Thread(ThreadId(0), thread("Thread-1")), Event::Thread(ThreadId(0), thread("worker"))]);
        assert_eq!(tree.threads().len(), 1);
        assert_eq!(tree.thread(ThreadId(0)).unwrap().name.as_deref(), Some("worker"));
    }

    #[test]
    fn a_stack_is_its_innermost_frame_and_its_caller() {
        let tree = tree([
            Event::Code(CodeId(0), code("f")),
            Event::Frame(FrameId(0), Frame { code: CodeId(0), line: Some(3) }),
            Event::Stack { id: StackId(0), caller: None, frame: FrameId(0) },
            Event::Stack { id: StackId(1), caller: Some(StackId(0)), frame: FrameId(0) },
        ]);
        assert_eq!(tree.stack(StackId(1)), Some((FrameId(0), Some(StackId(0)))));
        assert_eq!(tree.code(CodeId(0)), Some(&code("f")));
    }

    #[test]
    fn a_stack_that_would_call_itself_is_cut() {
        let tree = tree([Event::Stack { id: StackId(0), caller: Some(StackId(0)), frame: FrameId(0) }]);
        assert_eq!(tree.stack(StackId(0)), Some((FrameId(0), None)));
    }

    #[test]
    fn what_was_never_defined_is_not_found() {
        let tree = tree([sample(4, Some(9))]);
        assert_eq!((tree.stack(StackId(9)), tree.thread(ThreadId(4))), (None, None));
    }

    #[test]
    fn the_last_progress_is_kept() {
        let tally = Tally { asked: 5, taken: 4, late: 1, ..Tally::default() };
        let tree = tree([
            Event::Progress(Duration::from_secs(1), Tally::default()),
            Event::Progress(Duration::from_secs(2), tally),
        ]);
        assert_eq!(tree.progress(), (Duration::from_secs(2), tally));
    }
}
