//! Who has a GIL, had it last, and whether that changed while a moment was read.

use std::time::Duration;

use python_offsets::Offsets;

use super::{Failure, Reader, ThreadTrack};
use crate::memory::{Addr, Copies, CopyId, Found, Memory};
use crate::python::gil::{self, Holder, Passed};
use crate::sample::{GilState, Tid};
use crate::sampler::pausing::Pausing;
use crate::target::{Activity, SchedStat, Target};

/// How often it is looked who has a GIL before that thread is stopped.
const LOOKS: usize = 3;
/// What was read so lately needs no rehearsal.
const STILL_AT_HAND: Duration = Duration::from_micros(100);

/// A GIL, from one moment to the next.
pub(super) struct GilTrack {
    pub(super) addr: Addr,
    /// Its copy that was made after all others.
    pub(super) copy: Option<CopyId>,
    /// To whom it had passed before the threads were looked at: since then only that one can have run Python.
    before: Option<Passed>,
    /// The thread that has it or had it last, as it was before the gather, if it slept: it still does as long as its account
    /// is the same.
    asleep: Option<SchedStat>,
    /// To whom it had passed before the gather.
    passed: Option<Passed>,
}

impl GilTrack {
    /// Whether a thread had it last, or may have.
    pub(super) fn may_belong_to(&self, thread: Addr) -> bool {
        self.before.or(self.passed).is_none_or(|passed| passed.to == thread)
    }
}

/// Notes that a GIL is there.
pub(super) fn note_gil(gils: &mut Vec<GilTrack>, addr: Addr) {
    if !addr.is_null() && gils.iter().all(|gil| gil.addr != addr) {
        gils.push(GilTrack { addr, copy: None, before: None, asleep: None, passed: None });
    }
}

fn passed(offsets: &Offsets, copies: &Copies, gil: Addr) -> Option<Passed> {
    match copies.find(gil) {
        Found::Read(words) => Passed::read(offsets, words),
        Found::NotAsked => None,
    }
}

impl Reader {
    /// Reads the GILs. Their words are found in the copies that are read apart.
    fn fetch_gils(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        self.apart.clear();
        self.want_gils();
        Ok(self.apart.fetch(memory)?)
    }

    fn want_gils(&mut self) {
        let size = gil::size(&self.offsets);
        for gil in &self.gils {
            self.apart.want(gil.addr, size);
        }
    }

    /// Reads all that will have to be read in haste, and the GILs last. What has not been read for long takes twice the time.
    fn rehearse(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        self.apart.clear();
        self.codes.rehearse(&self.offsets, &mut self.apart);
        self.want_gils();
        Ok(self.copies.rehearse(&mut self.apart, memory)?)
    }

    /// Looks who had the GILs last, if there are many threads that are not to be read again: as long as a GIL has not
    /// passed to another since, none of them has run Python. If they are few, it may as well be since the last moment; if
    /// it has, a look at each of them takes no longer than another at the GIL.
    pub(super) fn see_who_had_gils(&mut self, memory: &dyn Memory, pausing: &Pausing) -> Result<(), Failure> {
        const FEW: usize = 4;
        if pausing.is_never() || self.threads.iter().filter(|thread| thread.told.is_some()).count() <= FEW {
            for gil in &mut self.gils {
                gil.before = gil.passed;
            }
            return Ok(());
        }
        self.fetch_gils(memory)?;
        for gil in &mut self.gils {
            gil.before = passed(&self.offsets, &self.apart, gil.addr);
        }
        Ok(())
    }

    /// Holds whoever has a GIL, or had it last, and runs. Between the look at the GIL and the stop nothing else is done: a
    /// thread that has let go of the GIL meanwhile may be on its way to sleep in the kernel, where it is not to be disturbed.
    pub(super) fn pause_holders(&mut self, target: &Target, pausing: &mut Pausing) -> Result<(), Failure> {
        if self.displace_only_thread(target, pausing) {
            return Ok(());
        }
        let is_at_hand = self.read_at.is_some_and(|at| at.elapsed() < STILL_AT_HAND);
        let (mut fetched, mut rehearsed) = (false, is_at_hand);
        if pausing.expects_herald() {
            self.rehearse(target.memory())?;
            rehearsed = true;
            pausing.wait_for_herald();
        }
        for index in 0..self.gils.len() {
            let runs = |tid: Tid| target.place(tid).map(|place| (tid, place));
            let has_it = |reader: &Reader| reader.by_addr.get(&reader.gils[index].passed?.to).copied();
            let tid_of = |reader: &Reader, thread: usize| reader.threads.get(thread).and_then(|thread| thread.tid);
            let expected_tid = has_it(self).and_then(|thread| tid_of(self, thread));
            let lately = expected_tid.and_then(|tid| Some((tid, self.os_threads.place_lately(tid)?)));
            let mut is_known_now = lately.is_none();
            let mut expected = lately.or_else(|| expected_tid.and_then(runs));
            for _ in 0..LOOKS {
                if pausing.is_never() {
                    return Ok(());
                }
                // Nobody waits for a rehearsal.
                if expected.is_some() && !rehearsed && pausing.holds_nobody() {
                    self.rehearse(target.memory())?;
                    (fetched, rehearsed) = (true, true);
                } else if expected.is_some() || !fetched {
                    self.fetch_gils(target.memory())?;
                    fetched = true;
                }
                self.gils[index].passed = passed(&self.offsets, &self.apart, self.gils[index].addr);
                self.gils[index].asleep = None;
                let Some(thread) = has_it(self) else { break };
                let Some(tid) = tid_of(self, thread).filter(|tid| !pausing.is_paused(*tid)) else { break };
                // Whoever ran a little earlier, and has let go of the GIL since, may be asleep by now.
                let is_sure = is_known_now || self.has_gil_now(index);
                if let Some((_, place)) = expected.filter(|(expected, _)| *expected == tid && is_sure) {
                    let is_held = match self.gils.len() {
                        1 => pausing.hold(target, tid, place),
                        // No more than one can be displaced at a time.
                        _ => pausing.pause(tid),
                    };
                    if is_held {
                        self.note_held(tid);
                    }
                    break;
                }
                (expected, is_known_now) = (runs(tid), true);
                if expected.is_none() {
                    // In this order: if it wakes up after the second look, its account will differ.
                    self.gils[index].asleep = target.sched_stat(tid);
                    expected = runs(tid);
                    if expected.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the thread that a GIL passed to last had it when it was last looked at.
    fn has_gil_now(&self, index: usize) -> bool {
        match self.apart.find(self.gils[index].addr) {
            Found::Read(words) => matches!(gil::holder(&self.offsets, words), Holder::Thread(_)),
            Found::NotAsked => false,
        }
    }

    /// Displaces the only thread there is, if it had the GIL in the last moment and runs: true if it does not run any more.
    ///
    /// The GIL need not be looked at before. Who is displaced, not stopped, is not disturbed on its way to sleep, and if the
    /// GIL has passed to another thread since the last moment, its words do not say any more what they said then.
    fn displace_only_thread(&mut self, target: &Target, pausing: &mut Pausing) -> bool {
        let ([gil], [thread]) = (self.gils.as_mut_slice(), self.threads.as_slice()) else { return false };
        let has_it = gil.passed.is_some_and(|passed| passed.to == thread.identity.addr);
        let Some(tid) = thread.tid.filter(|_| has_it) else { return false };
        let Some(place) = self.os_threads.place(tid) else { return false };
        if !pausing.displace_if_likely(target, tid, place) {
            return false;
        }
        gil.asleep = None;
        self.note_held(tid);
        true
    }

    /// Notes that an OS thread is kept from running, and so ran: whatever was told of it does not hold.
    fn note_held(&mut self, tid: Tid) {
        for thread in self.threads.iter_mut().filter(|thread| thread.tid == Some(tid)) {
            thread.activity = Activity::Running;
            thread.told = None;
            thread.asleep = None;
            (thread.is_kept, thread.is_unread) = (false, false);
        }
    }

    /// Stops every thread that runs and may take a GIL.
    pub(super) fn pause_running(&mut self, target: &Target, pausing: &mut Pausing) {
        for index in 0..self.threads.len() {
            if let ThreadTrack { tid: Some(tid), gil, .. } = self.threads[index]
                && gil != GilState::None
                && !pausing.is_paused(tid)
                && target.activity(tid) == Activity::Running
                && pausing.pause(tid)
            {
                self.note_held(tid);
            }
        }
    }

    /// Whether nobody can have changed a Python stack while it was read: no GIL has passed to another thread, and the one
    /// that had it was stopped or displaced by us, or slept all the time.
    pub(super) fn is_one_moment(&mut self, target: &Target, pausing: &Pausing) -> Result<bool, Failure> {
        let mut only_those_ran = true;
        for interpreter in &self.interpreters {
            if interpreter.gil.is_null() {
                // It is being made, and runs no Python before it has a GIL.
                self.threads.iter_mut().filter(|t| t.interpreter == interpreter.addr).for_each(ThreadTrack::give_up);
                continue;
            }
            let known = self.gils.iter().find(|gil| gil.addr == interpreter.gil);
            let Some(GilTrack { copy: Some(copy), before, passed, asleep, .. }) = known else {
                note_gil(&mut self.gils, interpreter.gil);
                return Ok(false);
            };
            let now = Passed::read(&self.offsets, self.copies.get(*copy));
            if now != *passed {
                return Ok(false);
            }
            only_those_ran &= now == *before;
            // One that is not there any more will not take it again.
            let Some(&index) = now.and_then(|passed| self.by_addr.get(&passed.to)) else { continue };
            let thread = &mut self.threads[index];
            let Some(tid) = thread.tid else {
                if !thread.is_sought {
                    return Ok(false);
                }
                // Nobody knows what ran under this state, if anything still does. The stacks of others it cannot have changed.
                thread.give_up();
                continue;
            };
            if pausing.still_holds(target, tid) {
                continue;
            }
            if pausing.has_given_up(tid) {
                thread.give_up();
                continue;
            }
            // One that was preempted on its way to sleep, and then ran on, may have no turn more in its account, but runs.
            let slept = asleep.is_some() && *asleep == target.sched_stat(tid) && target.place(tid).is_none();
            if !slept && !target.has_task(tid) {
                // It has ended. Its state may be that of another by now.
                (thread.tid, self.listed) = (None, None);
                return Ok(false);
            }
            if !slept || thread.is_kept && !self.os_threads.still_rests(target, tid) {
                return Ok(false);
            }
        }
        Ok(only_those_ran || self.those_kept_still_rest(target))
    }

    /// Whether the threads that were not read again still rest.
    pub(super) fn those_kept_still_rest(&self, target: &Target) -> bool {
        // Of those whose stacks are not wanted nothing is told that could be wrong.
        let kept = self.threads.iter().filter(|thread| thread.is_kept && thread.walk.is_some());
        let mut kept = kept.filter_map(|thread| thread.tid);
        kept.all(|tid| self.os_threads.still_rests(target, tid))
    }
}
