//! What belongs to one moment: who held the GILs, and what each thread was doing.

use std::time::Duration;

use super::Live;
use super::counts::Counts;
use super::slices::{Moments, Tallied};
use crate::sample::{GilHeld, GilSample, GilState, ProcessId, Sample, ThreadId, ThreadState, Weight};

/// One moment of one process.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Which.
    pub process: ProcessId,
    /// Who held the GILs.
    pub gils: Vec<GilSample>,
    /// What each thread was doing.
    pub samples: Vec<Sample>,
    /// Those of threads that are not wanted and hold a GIL: others wait for them.
    unwanted: Vec<Sample>,
}

impl Default for Moment {
    fn default() -> Moment {
        Moment { process: ProcessId(0), gils: Vec::new(), samples: Vec::new(), unwanted: Vec::new() }
    }
}

impl Moment {
    /// When it was.
    pub fn at(&self) -> Option<Duration> {
        self.gils.first().map(|gil| gil.at).or(self.samples.first().map(|sample| sample.at))
    }

    /// For how much of the time it stands.
    pub(super) fn weight(&self) -> Weight {
        let of_gil = self.gils.first().map(|gil| gil.weight);
        of_gil.or(self.samples.first().map(|sample| sample.weight)).unwrap_or_default()
    }

    /// Threads that wait for a GIL.
    fn waiters<'a>(&'a self, gil: &GilSample, live: &'a Live) -> impl Iterator<Item = &'a Sample> {
        let (process, owner) = (gil.process, gil.owner);
        self.samples.iter().filter(move |sample| {
            sample.state == ThreadState::WaitsForGil
                && live.thread(sample.thread).is_none_or(|thread| {
                    let thread = &thread.thread;
                    let its = self.gils.iter().find(|gil| gil.interpreter == thread.interpreter);
                    thread.process == process && its.is_none_or(|its| its.owner == owner)
                })
        })
    }

    fn is_holder(&self, thread: ThreadId) -> bool {
        self.gils.iter().any(|gil| gil.holder == GilHeld::By(thread))
    }

    /// What a sample counts as. Waiting is laid at the door of whoever holds.
    fn counts(&self, sample: &Sample, blame: &Blame) -> Counts {
        let is_holder = self.is_holder(sample.thread);
        let slots = |is_it: bool| if is_it { sample.weight.slots() } else { 0 };
        Counts {
            seen: slots(true),
            ran: slots(sample.state.runs()),
            held: slots(is_holder || (self.gils.is_empty() && sample.gil == GilState::Held)),
            wanted: slots(sample.state == ThreadState::WaitsForGil),
            blocked: slots(sample.state.is_blocked()),
            blamed: blame.of(sample.thread),
            held_unwanted: 0,
        }
    }
}

/// How many threads waited for whoever held a GIL, as often as the moment stands for slots of the clock.
#[derive(Default)]
struct Blame(Vec<(ThreadId, u64)>);

impl Blame {
    fn of(&self, thread: ThreadId) -> u64 {
        self.0.iter().find(|(holder, _)| *holder == thread).map_or(0, |(_, waiters)| *waiters)
    }
}

impl Live {
    /// Takes the sample of a thread that is not wanted. It is seen in nothing but in what others wait for, if it holds a GIL.
    pub fn take_unwanted(&mut self, sample: Sample) {
        let moment = (self.moment.at(), self.moment.process);
        if self.moment.is_holder(sample.thread) && moment == (Some(sample.at), self.process_of(sample.thread)) {
            self.moment.unwanted.push(sample);
        }
    }

    /// Counts a moment that is whole.
    pub(super) fn end_moment(&mut self) {
        let moment = std::mem::take(&mut self.moment);
        let Some(at) = moment.at() else { return };
        let process = moment.process;
        let mut blame = Blame::default();
        let mut seen = Tallied::default();
        let weight = moment.weight();
        seen.moments.insert(process, Moments { taken: 1, slots: weight.slots() });
        for gil in moment.gils.iter().filter(|gil| gil.interpreter == gil.owner) {
            let slots = |is_it: bool| if is_it { weight.slots() } else { 0 };
            let waiters = weight.times(moment.waiters(gil, self).count() as u64);
            if let GilHeld::By(holder) = gil.holder {
                blame.0.push((holder, waiters));
            }
            let counts = seen.gil(gil.process, gil.owner);
            counts.moments += slots(true);
            counts.held += slots(matches!(gil.holder, GilHeld::By(_) | GilHeld::BySomeone));
            counts.unknown += slots(gil.holder == GilHeld::Unknown);
            counts.collecting += slots(gil.is_collecting);
            counts.waited += waiters;
            counts.handed_over += if gil.holder == GilHeld::Free { waiters } else { 0 };
            counts.exists = gil.holder != GilHeld::None;
            counts.switches = gil.switches.map(|switches| ((at, switches), (at, switches)));
        }
        let kept = self.stacks;
        let kept = |sample: &Sample| sample.stack.filter(|stack| stack.index() < kept);
        for sample in &moment.samples {
            let stack = kept(sample);
            self.not_kept += u64::from(stack != sample.stack);
            seen.add(sample.thread, stack, moment.counts(sample, &blame), usize::MAX);
            self.see(sample);
        }
        for sample in &moment.unwanted {
            let counts = Counts { blamed: blame.of(sample.thread), held_unwanted: weight.slots(), ..Counts::default() };
            seen.add(sample.thread, kept(sample), counts, usize::MAX);
        }
        let slice = self.slices.at(at);
        for (key, counts) in &seen.counts {
            slice.add(key.0, key.1, *counts, super::slices::MOST_STACKS);
            *self.totals.counts.entry(*key).or_default() += *counts;
        }
        let rest = Tallied { counts: Default::default(), ..seen };
        slice.merge(&rest);
        self.totals.merge(&rest);
        self.now = self.now.max(at);
        self.latest.insert(process, moment);
        self.hold_to_bounds();
    }
}
