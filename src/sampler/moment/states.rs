//! What each thread was doing: from the GIL's words of the same moment, and from what the kernel says of those that wait.
//!
//! A thread that has not run since it was asked about still waits for the same thing, so it is not asked again.

use std::time::Duration;

use python_offsets::Offsets;

use super::{Failure, Interp, Reader, ThreadTrack, Told};
use crate::memory::{Addr, Copies, Fields, Found};
use crate::python::frames::Walk;
use crate::python::gil::{self, Attachment, Holder};
use crate::sample::{GilState, ThreadState, Tid, Wanted};
use crate::sampler::os_threads::{OsThreads, Passed, Waits};
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
            let passed = of.and_then(passed).filter(|passed| passed.holder != thread.identity.addr);
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
            if wanted == Wanted::Running && !thread.state.runs() && thread.state != ThreadState::Unknown {
                thread.walk = None;
            }
        }
        if interpreters.len() > 1 {
            self.leave_one_waiting();
        }
        Ok(())
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

/// Who holds the GIL of an interpreter, and how often it has passed on.
fn passed(interpreter: &Interp) -> Option<Passed> {
    match interpreter.holder {
        Holder::Thread(holder) => Some(Passed { holder, switches: interpreter.switches? }),
        Holder::Nobody | Holder::Disabled | Holder::Unknown => None,
    }
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
        let of = |state| Some(Waits { state, gil: None });
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
        // One that has woken up meanwhile may have done so to ask for the GIL.
        let waits = self.waits(tid).unwrap_or_else(|| {
            let state = match gil {
                GilState::Held => ThreadState::RunsPython,
                GilState::NotHeld if os_threads.wanted_gil(tid) => ThreadState::WaitsForGil,
                _ => ThreadState::Waits,
            };
            Waits { state, gil: None }
        });
        os_threads.note_waits(self.target, tid, waits, passed);
        waits
    }

    /// Whether a thread that ran and did not hold the GIL only woke up to ask for it, as it does from time to time.
    fn still_wants_gil(&self, os_threads: &OsThreads, tid: Tid, passed: Option<Passed>) -> bool {
        let waits_again = || {
            let is_off = self.target.activity(tid).is_off();
            is_off && self.waits(tid).is_some_and(|waits| waits.state == ThreadState::WaitsForGil)
        };
        os_threads.has_not_had_gil_since(tid, passed) || os_threads.has_not_run_since(self.target, tid) || waits_again()
    }

    fn waits_in(&self, call: &SystemCall) -> Waits {
        let state = match call.wait() {
            Wait::Futex { word, timeout } => {
                let within = |interpreter: &&Interp| gil::is_within(self.offsets, interpreter.gil, word);
                let gil = self.interpreters.iter().find(within).map(|interpreter| interpreter.gil);
                return match gil.is_some() || self.is_of_musl(call, word, timeout) {
                    true => Waits { state: ThreadState::WaitsForGil, gil },
                    false => Waits { state: ThreadState::WaitsForLock, gil },
                };
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
        Waits { state, gil: None }
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
