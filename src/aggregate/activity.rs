//! What threads were doing and who held the GILs, added up.

use std::collections::BTreeMap;

use crate::sample::{Event, GilHeld, GilState, ProcessId, Thread, ThreadId, ThreadState};

/// What was seen of threads and GILs. Memory grows with threads.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    threads: BTreeMap<ThreadId, OfThread>,
    gils: BTreeMap<(ProcessId, i64), OfGil>,
}

/// What was seen of a thread, in slots of the clock, for which its samples stand.
#[derive(Clone, Debug)]
pub struct OfThread {
    /// Who it is.
    pub thread: Thread,
    /// All of them.
    pub slots: u64,
    /// Of these, those in which it held a GIL.
    pub held: u64,
    /// Those in which it ran.
    pub ran: u64,
    /// By what it was doing, in the order of [`ThreadState::ALL`].
    pub states: [u64; ThreadState::ALL.len()],
}

/// What was seen of a GIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfGil {
    /// How often it was looked at who held it, where that became known.
    pub looks: u64,
    /// For how many slots of the clock those looks stand.
    pub slots: u64,
    /// Of these, those in which somebody did.
    pub held: u64,
    /// Those in which garbage was being collected.
    pub collecting: u64,
    /// Whether there is one: not in a free-threaded build.
    pub exists: bool,
}

impl Activity {
    /// Takes the next event of a recording.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Thread(id, thread) => {
                let states = [0; ThreadState::ALL.len()];
                let new = OfThread { thread: thread.clone(), slots: 0, held: 0, ran: 0, states };
                self.threads.entry(*id).or_insert(new).thread = thread.clone();
            }
            Event::Sample(sample) => {
                if let Some(of) = self.threads.get_mut(&sample.thread) {
                    let slots = sample.weight.slots();
                    of.slots += slots;
                    of.held += slots * u64::from(sample.gil == GilState::Held);
                    of.ran += slots * u64::from(sample.state.runs());
                    of.states[sample.state as usize] += slots;
                }
            }
            Event::Gil(sample) if sample.interpreter == sample.owner => {
                let of = self.gils.entry((sample.process, sample.owner)).or_default();
                of.exists |= !matches!(sample.holder, GilHeld::None | GilHeld::Unknown);
                let slots = sample.weight.slots();
                of.looks += u64::from(sample.holder != GilHeld::Unknown);
                of.slots += slots * u64::from(sample.holder != GilHeld::Unknown);
                of.held += slots * u64::from(matches!(sample.holder, GilHeld::By(_) | GilHeld::BySomeone));
                of.collecting += slots * u64::from(sample.is_collecting);
            }
            _ => {}
        }
    }

    /// Every thread that was seen, those that were seen most first.
    pub fn threads(&self) -> Vec<&OfThread> {
        let mut threads: Vec<&OfThread> = self.threads.values().filter(|of| of.slots > 0).collect();
        threads.sort_by_key(|of| std::cmp::Reverse((of.slots, of.ran, of.held)));
        threads
    }

    /// Every GIL, by process and the first interpreter that has it.
    pub fn gils(&self) -> &BTreeMap<(ProcessId, i64), OfGil> {
        &self.gils
    }

    /// How many threads waited for the GIL, added up over all slots.
    pub fn waited(&self) -> u64 {
        self.threads.values().map(|of| of.states[ThreadState::WaitsForGil as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::{GilSample, Sample, Weight};

    #[test]
    fn threads_and_gils_are_added_up() {
        let thread =
            Thread { process: ProcessId(0), interpreter: 0, os_thread_id: None, python_thread_id: 1, name: None };
        let sample = |thread, state, gil| {
            Event::Sample(Sample {
                at: Duration::ZERO,
                thread: ThreadId(thread),
                state,
                gil,
                stack: None,
                weight: Weight::ONE,
            })
        };
        let gil = |interpreter, holder| {
            Event::Gil(GilSample {
                at: Duration::ZERO,
                process: ProcessId(0),
                interpreter,
                owner: 0,
                holder,
                switches: None,
                interval: None,
                is_collecting: false,
                holding: None,
                weight: Weight::ONE,
            })
        };
        let weight = Weight::after(2);
        let weighing = |event| match event {
            Event::Sample(sample) => Event::Sample(Sample { weight, ..sample }),
            Event::Gil(sample) => Event::Gil(GilSample { weight, ..sample }),
            other => other,
        };
        let mut activity = Activity::default();
        let events = [
            Event::Thread(ThreadId(0), thread.clone()),
            Event::Thread(ThreadId(1), thread),
            weighing(gil(0, GilHeld::By(ThreadId(0)))),
            gil(1, GilHeld::By(ThreadId(0))),
            gil(0, GilHeld::Free),
            gil(0, GilHeld::Unknown),
            sample(0, ThreadState::RunsPython, GilState::Held),
            weighing(sample(1, ThreadState::WaitsForGil, GilState::NotHeld)),
            sample(1, ThreadState::Sleeps, GilState::NotHeld),
        ];
        events.iter().for_each(|event| activity.take(event));
        let expected = OfGil { looks: 2, slots: 4, held: 3, collecting: 0, exists: true };
        assert_eq!(activity.gils().iter().collect::<Vec<_>>(), [(&(ProcessId(0), 0), &expected)]);
        let threads: Vec<_> = activity.threads().iter().map(|of| (of.slots, of.ran, of.held)).collect();
        assert_eq!((threads, activity.waited()), (vec![(4, 0, 0), (1, 1, 1)], 3));
    }
}
