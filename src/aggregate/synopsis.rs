//! What there is to say of a recording beside its stacks: of which processes it is, how much is in it, how it went.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use rustc_hash::FxHashSet;

use crate::sample::{Event, Process, Replay, Tally, ThreadId, Weight, define};

/// A recording at a glance. What it holds does not grow with the number of samples.
#[derive(Clone, Debug, Default)]
pub struct Synopsis {
    processes: Vec<Process>,
    search_path: BTreeSet<String>,
    stacks: u64,
    slots: u64,
    frameless: u64,
    thread_count: usize,
    threads_seen: FxHashSet<ThreadId>,
    /// A bit for each stack: whether it was seen.
    seen: Vec<u64>,
    last: Duration,
    progress: Option<(Duration, Tally)>,
    has_gils: bool,
}

impl Synopsis {
    /// That of a recording.
    ///
    /// # Errors
    ///
    /// Those of the replay.
    pub fn of(recording: &dyn Replay) -> io::Result<Synopsis> {
        let mut synopsis = Synopsis::default();
        recording.replay_counted(&mut |event, count| {
            synopsis.take_often(&event, count);
            Ok(())
        })?;
        Ok(synopsis)
    }

    /// Takes the next event of a recording.
    pub fn take(&mut self, event: &Event) {
        self.take_often(event, 1);
    }

    /// Takes the next event, which is so many alike if it is a sample.
    pub fn take_often(&mut self, event: &Event, count: u64) {
        match event {
            Event::Process(id, process) => define(&mut self.processes, id.index(), process.clone()),
            Event::SearchPath(entries) => self.search_path.extend(entries.iter().cloned()),
            Event::Thread(id, _) => self.thread_count = self.thread_count.max(id.index() + 1),
            Event::Sample(sample) => {
                self.last = sample.at;
                self.threads_seen.insert(sample.thread);
                match sample.stack {
                    Some(stack) => self.see(stack.index(), count, sample.weight),
                    None => self.frameless += count,
                }
            }
            Event::Gil(sample) => (self.last, self.has_gils) = (sample.at, true),
            Event::Progress(elapsed, tally) => self.progress = Some((*elapsed, *tally)),
            Event::Code(..) | Event::Frame(..) | Event::Remark(_) => {}
            Event::Stack { id, .. } => {
                // Defined one after another, so that no id makes the table larger than there are stacks.
                if id.index() / 64 == self.seen.len() {
                    self.seen.push(0);
                }
            }
        }
    }

    fn see(&mut self, stack: usize, count: u64, weight: Weight) {
        self.stacks += count;
        self.slots = self.slots.saturating_add(weight.times(count));
        if let Some(bits) = self.seen.get_mut(stack / 64) {
            *bits |= 1 << (stack % 64);
        }
    }

    /// The processes, by id.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Every entry that a `sys.path` was seen to have.
    pub fn search_path(&self) -> Vec<String> {
        self.search_path.iter().cloned().collect()
    }

    /// Thread samples with a stack.
    pub fn stacks(&self) -> u64 {
        self.stacks
    }

    /// For how many slots of the clock those stand.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Thread samples without one.
    pub fn frameless(&self) -> u64 {
        self.frameless
    }

    /// The stacks that were seen at least once.
    pub fn distinct_stacks(&self) -> usize {
        self.seen.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// How many threads were heard of.
    pub fn thread_count(&self) -> usize {
        self.thread_count
    }

    /// How many threads samples are of: of a part of a recording, those that are in it.
    pub fn threads_seen(&self) -> usize {
        self.threads_seen.len()
    }

    /// How long it took: as it was told last, or up to the last sample.
    pub fn elapsed(&self) -> Duration {
        self.progress.map_or(self.last, |(elapsed, _)| elapsed.max(self.last))
    }

    /// The account as it was told last; `None` where there is none.
    pub fn tally(&self) -> Option<Tally> {
        self.progress.map(|(_, tally)| tally)
    }

    /// Whether it is known who held the GILs.
    pub fn has_gils(&self) -> bool {
        self.has_gils
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{FrameId, GilState, ProcessId, Sample, StackId, ThreadState, Weight};

    fn sample(millis: u64, stack: Option<u32>) -> Event {
        let (at, thread, stack) = (Duration::from_millis(millis), ThreadId(0), stack.map(StackId));
        Event::Sample(Sample {
            at,
            thread,
            state: ThreadState::RunsPython,
            gil: GilState::Held,
            stack,
            weight: Weight::ONE,
        })
    }

    fn synopsis(events: impl IntoIterator<Item = Event>) -> Synopsis {
        let mut synopsis = Synopsis::default();
        events.into_iter().for_each(|event| synopsis.take(&event));
        synopsis
    }

    #[test]
    fn stacks_are_counted_once_and_altogether() {
        let define = (0..130).map(|id| Event::Stack { id: StackId(id), caller: None, frame: FrameId(0) });
        let samples = [Some(3), Some(129), Some(3), None, Some(64)].into_iter().map(|stack| sample(1, stack));
        let synopsis = synopsis(define.chain(samples));
        assert_eq!((synopsis.stacks(), synopsis.frameless(), synopsis.distinct_stacks()), (4, 1, 3));
    }

    #[test]
    fn a_stack_that_was_never_defined_takes_no_memory() {
        let synopsis = synopsis([sample(1, Some(u32::MAX))]);
        assert_eq!((synopsis.stacks(), synopsis.seen.len()), (1, 0));
    }

    #[test]
    fn a_recording_without_an_account_is_as_long_as_its_samples() {
        let millis = Duration::from_millis;
        assert_eq!(synopsis([sample(7, None)]).elapsed(), millis(7));
        let told = synopsis([sample(7, None), Event::Progress(millis(9), Tally::default()), sample(12, None)]);
        assert_eq!((told.elapsed(), told.tally()), (millis(12), Some(Tally::default())));
    }

    #[test]
    fn a_process_is_what_it_became() {
        let process = |python: &str| Process {
            pid: 1,
            own_pid: 1,
            parent: None,
            command: vec!["x".into()],
            python: python.into(),
        };
        let synopsis = synopsis(["3.9.0", "3.13.0"].map(|python| Event::Process(ProcessId(0), process(python))));
        assert_eq!(synopsis.processes(), [process("3.13.0")]);
    }
}
