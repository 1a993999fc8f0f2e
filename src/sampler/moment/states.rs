//! What each thread was doing: from the GIL's words of the same moment, and from what the kernel says of those that wait.
//!
//! A thread that has not run since it was asked about still waits for the same thing, so it is not asked again.

use std::time::Duration;

use python_offsets::Offsets;

use super::{Failure, Interp, Reader, ThreadTrack, Told};
use crate::memory::{Addr, Copies, Fields, Found};
use crate::python::frames::Walk;
use crate::python::gil::{self, Attachment, Holder};
use crate::sample::{GilState, Holding, ThreadState, Tid, Wanted};
use crate::sampler::os_threads::{Limit, OsThreads, Passed, Waits};
use crate::target::system_call::{Descriptor, InKernel, SystemCall, Wait};
use crate::target::{Activity, Target};

/// Descriptors of one `poll` that are looked at: with more it is not told what it waits for.
const ONE: u64 = 1;

impl Reader {
    /// Finds out what the threads that are told of were doing.
    pub(super) fn find_states(&mut self, target: &Target, wanted: Wanted) -> Result<(), Failure> {
        let Reader { offsets, apart, interpreters, threads, os_threads, .. } = self;
        apart.clear();
        if let Some(at) = offsets.thread.state {
            for thread in threads.iter().filter(|thread| thread.walk.is_some() && thread.gil == GilState::None) {
                apart.want(thread.identity.addr.offset(at), size_of::<i32>());
            }
            apart.fetch(target.memory())?;
        }
        let kernel = Kernel { target, offsets, interpreters };
        let is_attached = |thread: &ThreadTrack| {
            attachment(thread, offsets, apart) == Some(Attachment::Attached) && thread.walk.is_some()
        };
        let attached = threads.iter().filter(|thread| is_attached(thread)).count();
        let is_alone = threads.len() == 1;
        for thread in threads.iter_mut() {
            if thread.is_unread {
                // Only what it does is told.
                (thread.walk, thread.told) = (Some(Walk::Whole), Some(Told(None)));
            }
            if thread.walk.is_none() {
                continue;
            }
            let of = interpreters.iter().find(|interpreter| interpreter.addr == thread.interpreter);
            let attachment = attachment(thread, offsets, apart);
            let passed = of.and_then(|interpreter| passed_from(thread, interpreter));
            // Others may run Python while one collects: finalizers let go of the GIL.
            let collects = of.is_some_and(|interpreter| match thread.gil {
                GilState::None => interpreter.is_collecting && attached == 1,
                _ => interpreter.is_collecting && (is_alone || interpreter.collector == Some(thread.identity.addr)),
            });
            thread.state = match (thread.activity, thread.gil, thread.tid) {
                (Activity::Stopped, ..) => ThreadState::Stopped,
                (Activity::Elsewhere, ..) => ThreadState::Elsewhere,
                (Activity::Unknown, ..) | (_, _, None) => ThreadState::Unknown,
                (Activity::Running, gil, Some(tid)) => match (gil, attachment) {
                    (GilState::Held, _) | (GilState::None, Some(Attachment::Attached)) if collects => {
                        ThreadState::CollectsGarbage
                    }
                    (GilState::Held, _) | (GilState::None, Some(Attachment::Attached) | None) => {
                        ThreadState::RunsPython
                    }
                    (GilState::None, Some(Attachment::Detached)) => ThreadState::RunsDetached,
                    (GilState::None, Some(Attachment::Suspended)) => ThreadState::Suspended,
                    (GilState::NotHeld, _) if kernel.still_wants_gil(os_threads, tid, passed) => {
                        ThreadState::WaitsForGil
                    }
                    (GilState::NotHeld, _) => {
                        os_threads.note_no_wish(tid);
                        ThreadState::RunsDetached
                    }
                    (GilState::Unknown, _) => ThreadState::Unknown,
                },
                (Activity::Idle, gil, Some(tid)) => {
                    let waits = kernel.sleeps_for(os_threads, tid, gil, passed);
                    match (waits.state, attachment) {
                        // An OS thread with thread states in several interpreters waits in one of them.
                        (ThreadState::WaitsForGil, _)
                            if waits.gil.is_some() && waits.gil != of.map(|interpreter| interpreter.gil) =>
                        {
                            ThreadState::Elsewhere
                        }
                        (ThreadState::WaitsForLock, Some(Attachment::Suspended)) => ThreadState::Suspended,
                        (state, _) => state,
                    }
                }
            };
            // It woke up only to ask for the GIL, or to find the world stopped.
            if !wanted.wants(thread.state) {
                thread.walk = None;
            }
        }
        if interpreters.len() > 1 {
            self.leave_one_waiting();
        }
        self.find_who_asks();
        Ok(())
    }

    /// Asks what the holders of the GILs have had of the processors: whoever has none cannot let go of one. While they are
    /// held, for afterwards it may have become more by the time that we have a processor again.
    pub(super) fn ask_about_holders(&mut self, target: &Target) {
        let Reader { interpreters, threads, by_addr, .. } = self;
        for interpreter in interpreters {
            let Holder::Thread(holder) = interpreter.holder else { continue };
            let holder = by_addr.get(&holder).and_then(|index| threads.get(*index)).and_then(|thread| thread.tid);
            // Where the kernel does not count, nobody has run.
            let account = holder.and_then(|tid| target.sched_stat(tid)).filter(|account| account.ran > 0);
            interpreter.holding = account.map(|account| Holding {
                is_asked: false,
                ran: Duration::from_nanos(account.ran),
                queued: Duration::from_nanos(account.waited),
            });
        }
    }

    /// Finds out whether they were asked to let go.
    fn find_who_asks(&mut self) {
        let Reader { interpreters, threads, os_threads, .. } = self;
        for interpreter in interpreters {
            let waiting = threads.iter().filter(|thread| thread.state == ThreadState::WaitsForGil);
            let mut asking = waiting.filter_map(|thread| Some((thread.tid?, passed_from(thread, interpreter)?)));
            let is_asked = asking.any(|(tid, passed)| os_threads.has_asked(tid, passed));
            interpreter.holding = interpreter.holding.map(|holding| Holding { is_asked, ..holding });
        }
    }

    /// Of the thread states that one OS thread has in interpreters that share a GIL, one waits for it: the one of the newest
    /// interpreter, in which it most likely is.
    fn leave_one_waiting(&mut self) {
        let newest = |thread: &ThreadTrack| {
            self.interpreters.iter().find(|interpreter| interpreter.addr == thread.interpreter).map(|i| i.id)
        };
        let waiting: Vec<(Option<Tid>, Option<i64>)> = self
            .threads
            .iter()
            .filter(|thread| thread.state == ThreadState::WaitsForGil)
            .map(|thread| (thread.tid, newest(thread)))
            .collect();
        let ids: Vec<Option<i64>> = self.threads.iter().map(newest).collect();
        for (thread, id) in self.threads.iter_mut().zip(ids) {
            let is_older = waiting.iter().any(|(tid, other)| *tid == thread.tid && *other > id);
            if thread.state == ThreadState::WaitsForGil && is_older {
                thread.state = ThreadState::Elsewhere;
            }
        }
    }
}

/// How often the GIL of an interpreter has passed on, if it was not to this thread at last.
fn passed_from(thread: &ThreadTrack, interpreter: &Interp) -> Option<Passed> {
    let passed = interpreter.passed.filter(|passed| passed.to != thread.identity.addr)?;
    Some(Passed { gil: interpreter.gil, times: passed.times(), interval: interpreter.interval? })
}

/// How a thread of a free-threaded build is tied to the interpreter.
fn attachment(thread: &ThreadTrack, offsets: &Offsets, copies: &Copies) -> Option<Attachment> {
    let Found::Read(word) = copies.find(thread.identity.addr.offset(offsets.thread.state?)) else { return None };
    Attachment::of(word.i32_at(0)?)
}

/// What there is to ask about threads that wait.
struct Kernel<'a> {
    target: &'a Target,
    offsets: &'a Offsets,
    interpreters: &'a [Interp],
}

impl Kernel<'_> {
    /// What a thread waits for; `None` for one that does not.
    fn waits(&self, tid: Tid) -> Option<Waits> {
        let of = |state| Some(Waits { state, gil: None, limit: Limit::Endless });
        match self.target.in_kernel(tid) {
            Some(InKernel::Call(call)) => Some(self.waits_in(&call)),
            Some(InKernel::Elsewhere) => of(ThreadState::WaitsForFile),
            Some(InKernel::Not) => None,
            None => of(ThreadState::Waits),
        }
    }

    /// What a thread waits for that was asleep; it is asked only once in each sleep.
    fn sleeps_for(&self, os_threads: &mut OsThreads, tid: Tid, gil: GilState, passed: Option<Passed>) -> Waits {
        if let Some(waits) = os_threads.waits(tid) {
            os_threads.note_passed(self.target, tid, passed);
            return waits;
        }
        /// How often one that has woken up meanwhile is asked. It sleeps again within some microseconds if it woke up only
        /// to ask for the GIL once more.
        const ASKED: usize = 10;
        let waits = (0..ASKED).find_map(|_| self.waits(tid)).unwrap_or_else(|| {
            let state = match gil {
                GilState::Held => ThreadState::RunsPython,
                GilState::NotHeld if os_threads.wanted_gil(tid) => ThreadState::WaitsForGil,
                _ => ThreadState::Waits,
            };
            Waits { state, gil: None, limit: Limit::Endless }
        });
        os_threads.note_waits(self.target, tid, waits, passed);
        waits
    }

    /// Whether a thread that ran and did not hold the GIL only woke up to ask for it, as it does from time to time.
    fn still_wants_gil(&self, os_threads: &mut OsThreads, tid: Tid, passed: Option<Passed>) -> bool {
        if os_threads.has_not_had_gil_since(tid, passed) || os_threads.has_not_run_since(self.target, tid) {
            os_threads.note_still_wants(tid, passed);
            return true;
        }
        // In this order: if it runs after it was seen asleep, it gets another turn.
        let before = self.target.sched_stat(tid);
        let is_off = self.target.activity(tid).is_off();
        let waits = self.waits(tid).filter(|waits| is_off && waits.state == ThreadState::WaitsForGil);
        // One that had its turn in between may be taken for one that has slept before.
        if let Some(waits) = waits.filter(|_| before == self.target.sched_stat(tid)) {
            os_threads.note_wants(tid, before, waits.limit, passed);
        }
        waits.is_some()
    }

    fn waits_in(&self, call: &SystemCall) -> Waits {
        let state = match call.wait() {
            Wait::Futex { word, timeout } => {
                let within = |interpreter: &&Interp| gil::is_within(self.offsets, interpreter.gil, word);
                let gil = self.interpreters.iter().find(within).map(|interpreter| interpreter.gil);
                let state = match gil.is_some() || self.is_of_musl(call, word, timeout) {
                    true => ThreadState::WaitsForGil,
                    false => ThreadState::WaitsForLock,
                };
                // It waits for the GIL itself for the switch interval, for the lock around its words as long as it takes.
                let limit = if timeout.is_null() { Limit::Endless } else { Limit::Timed };
                return Waits { state, gil, limit };
            }
            Wait::Lock => ThreadState::WaitsForLock,
            Wait::Descriptor(number) => self.waits_at(number),
            Wait::Poll(descriptors, ONE) => match self.target.memory().read_i32(descriptors) {
                Ok(number) => self.waits_at(number as u64),
                Err(_) => ThreadState::WaitsForPoll,
            },
            Wait::Poll(..) | Wait::Events => ThreadState::WaitsForPoll,
            Wait::File => ThreadState::WaitsForFile,
            Wait::Sleep => ThreadState::Sleeps,
            Wait::Child => ThreadState::WaitsForChild,
            Wait::Other => ThreadState::Waits,
        };
        Waits { state, gil: None, limit: Limit::Endless }
    }

    fn waits_at(&self, descriptor: u64) -> ThreadState {
        match self.target.descriptor(descriptor) {
            Some(Descriptor::Socket) => ThreadState::WaitsForSocket,
            Some(Descriptor::Pipe) => ThreadState::WaitsForPipe,
            Some(Descriptor::File) => ThreadState::WaitsForFile,
            Some(Descriptor::Process) => ThreadState::WaitsForChild,
            Some(Descriptor::Events) => ThreadState::WaitsForPoll,
            None => ThreadState::Waits,
        }
    }

    /// musl waits for a condition at a word on the thread's own stack. No lock of Python's lies there up to 3.12; of those of
    /// later versions a wait for the GIL differs by its time limit, which is the GIL's switch interval.
    fn is_of_musl(&self, call: &SystemCall, word: Addr, timeout: Addr) -> bool {
        /// How far from the stack pointer the word is, at most.
        const NEAR: usize = 4 << 10;
        if timeout.is_null() || word.since(call.stack_pointer).is_none_or(|at| at >= NEAR) {
            return false;
        }
        let memory = self.target.memory();
        let (Ok(seconds), Ok(nanoseconds)) = (memory.read_u64(timeout), memory.read_u64(timeout.offset(8))) else {
            return false;
        };
        // The rest of the interval.
        let limit = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds));
        self.interpreters.iter().filter_map(|interpreter| interpreter.interval).any(|interval| limit <= interval)
    }
}
