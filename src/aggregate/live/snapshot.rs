//! The last moment of a process, spelled out.

use super::{Live, Watched};
use crate::sample::{
    FrameSnapshot, GilHeld, GilHolder, Incomplete, InterpreterSnapshot, ProcessId, Sample, Snapshot, StackId,
    ThreadSnapshot,
};

/// Frames of a stack that are spelled out.
const DEEPEST: usize = 100_000;

impl Live {
    /// The last moment of a process that is whole; `None` if there was none.
    pub fn snapshot(&self, process: ProcessId) -> Option<Snapshot> {
        let moment = self.latest().get(&process)?;
        let known = |sample: &Sample| Some((*sample, self.thread(sample.thread)?));
        let threads: Vec<(Sample, &Watched)> = moment.samples.iter().filter_map(known).collect();
        let mut ids: Vec<i64> = moment.gils.iter().map(|gil| gil.interpreter).collect();
        ids.extend(threads.iter().map(|(_, watched)| watched.thread.interpreter));
        ids.sort_unstable();
        ids.dedup();
        let interpreters = ids.into_iter().map(|id| {
            let holder = moment.gils.iter().find(|gil| gil.interpreter == id).map(|gil| gil.holder);
            let gil = match holder {
                Some(GilHeld::By(thread)) => GilHolder::Held {
                    os_thread_id: self.thread(thread).and_then(|watched| watched.thread.os_thread_id),
                },
                Some(GilHeld::BySomeone) => GilHolder::Held { os_thread_id: None },
                Some(GilHeld::Free) => GilHolder::Free,
                Some(GilHeld::None) => GilHolder::None,
                Some(GilHeld::Unknown) | None => GilHolder::Unknown,
            };
            let its = threads.iter().filter(|(_, watched)| watched.thread.interpreter == id);
            let threads = its.map(|(sample, watched)| self.thread_snapshot(sample, watched)).collect();
            InterpreterSnapshot { id, gil, threads }
        });
        Some(Snapshot { interpreters: interpreters.collect() })
    }

    fn thread_snapshot(&self, sample: &Sample, watched: &Watched) -> ThreadSnapshot {
        let frames = self.frames(sample.stack);
        let waits = sample.state.waits().then(|| sample.at.saturating_sub(watched.since));
        ThreadSnapshot {
            name: watched.thread.name.clone(),
            os_thread_id: watched.thread.os_thread_id,
            python_thread_id: watched.thread.python_thread_id,
            state: sample.state,
            off_for: waits.filter(|waits| !waits.is_zero()),
            gil: sample.gil,
            incomplete: (frames.len() == DEEPEST).then_some(Incomplete::Truncated),
            frames,
        }
    }

    fn frames(&self, stack: Option<StackId>) -> Vec<FrameSnapshot> {
        let mut frames = Vec::new();
        let mut next = stack;
        while let Some((frame, caller)) =
            next.and_then(|stack| self.tree().stack(stack)).filter(|_| frames.len() < DEEPEST)
        {
            let known = self.tree().frames().get(frame.index());
            if let Some((frame, code)) = known.and_then(|frame| Some((frame, self.tree().code(frame.code)?))) {
                let (function, file) = (code.function.clone(), code.file.clone());
                frames.push(FrameSnapshot { function, file, line: frame.line });
            }
            next = caller;
        }
        frames
    }
}
