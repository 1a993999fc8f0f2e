//! One moment spelled out, for those who want to see now and not to record.

use std::thread;

use super::Pause;
use super::moment::{Failure, Interp, Reader, ThreadTrack};
use super::names::Names;
use crate::error::{Error, Result};
use crate::python::Interpreter;
use crate::python::code::Resolved;
use crate::python::frames::Walk;
use crate::python::gil::Holder;
use crate::python::objects::Objects;
use crate::sample::{
    FrameSnapshot, GilHolder, Incomplete, InterpreterSnapshot, Snapshot, Stops, ThreadSnapshot, ThreadState, Tid,
    Unreadable, Wanted,
};
use crate::target::Target;
use crate::target::job_control::{self, PutOff};

/// How often a moment is taken again while some of its threads could not be read.
const TRIES: usize = 4;

/// Reads the threads that are wanted of every interpreter.
///
/// # Errors
///
/// The target has ended, its interpreter is being torn down, or a thread cannot be started.
pub fn snapshot(target: &Target, interpreter: &Interpreter, wanted: Wanted, pause: Pause) -> Result<Snapshot> {
    // A terminal that stops us then would leave a thread of the target stopped. New threads inherit what is put off.
    let _put_off = PutOff::begin(&job_control::ALL);
    // On a thread of its own: whatever is stopped goes on when it ends.
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("snapshot".into())
            .spawn_scoped(scope, || take(target, interpreter, wanted, pause))
            .map_err(Error::no_thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn take(target: &Target, interpreter: &Interpreter, wanted: Wanted, pause: Pause) -> Result<Snapshot> {
    let mut pausing = pause.pausing(target, f64::INFINITY);
    let pid = target.pid();
    let mut reader = Reader::new(interpreter);
    let mut names = Names::default();
    let mut best: Option<Snapshot> = None;
    for _ in 0..TRIES {
        let taken = reader.take(target, wanted, &mut pausing, &mut Stops::default());
        match taken.and_then(|()| reader.prove(target.memory())) {
            Ok(()) => {}
            Err(_) if best.is_some() => break,
            Err(Failure::Lost) if target.is_alive() => {
                return Err(Error::NotRunning { pid, why: "its list of interpreters cannot be read".into() });
            }
            Err(_) => return Err(Error::Ended { pid }),
        }
        let objects = interpreter.objects(target.memory());
        names.refresh(&objects, interpreter.runtime, &mut reader);
        let taken = spell_out(&mut reader, &names, target, wanted);
        let flaws = |snapshot: &Snapshot| threads(snapshot).filter(|thread| thread.incomplete.is_some()).count();
        let found = flaws(&taken);
        if best.as_ref().is_none_or(|best| found < flaws(best)) {
            best = Some(taken);
        }
        if found == 0 {
            break;
        }
    }
    let mut best = best.ok_or(Error::Ended { pid })?;
    find_how_long(&mut best, target);
    Ok(best)
}

/// Finds out for how long threads have waited for what they wait for. One that waits for the GIL wakes up from time to time,
/// and so does not tell.
fn find_how_long(snapshot: &mut Snapshot, target: &Target) {
    let waits =
        |state: ThreadState| state == ThreadState::Stopped || state.waits() && state != ThreadState::WaitsForGil;
    let threads = snapshot.interpreters.iter_mut().flat_map(|interpreter| &mut interpreter.threads);
    let waiting: Vec<(&mut ThreadSnapshot, Tid)> =
        threads.filter(|t| waits(t.state)).filter_map(|t| t.os_thread_id.map(|tid| (t, tid))).collect();
    let tids: Vec<Tid> = waiting.iter().map(|(_, tid)| *tid).collect();
    for ((thread, _), off_for) in waiting.into_iter().zip(target.off_for(&tids)) {
        thread.off_for = off_for;
    }
}

fn threads(snapshot: &Snapshot) -> impl Iterator<Item = &ThreadSnapshot> {
    snapshot.interpreters.iter().flat_map(|interpreter| &interpreter.threads)
}

fn spell_out(reader: &mut Reader, names: &Names, target: &Target, wanted: Wanted) -> Snapshot {
    let mut found: Vec<Interp> = reader.interpreters().to_vec();
    found.sort_by_key(|interpreter| interpreter.id);
    let interpreters = found.iter().map(|interpreter| InterpreterSnapshot {
        id: interpreter.id,
        gil: gil_holder(interpreter, reader.threads()),
        threads: threads_of(interpreter, reader, names, target, wanted),
    });
    Snapshot { interpreters: interpreters.collect() }
}

fn gil_holder(interpreter: &Interp, threads: &[ThreadTrack]) -> GilHolder {
    match interpreter.holder {
        Holder::Thread(addr) => {
            let holder = threads.iter().find(|thread| thread.identity.addr == addr);
            GilHolder::Held { os_thread_id: holder.and_then(|thread| thread.tid) }
        }
        Holder::Nobody => GilHolder::Free,
        Holder::Disabled => GilHolder::None,
        Holder::Unknown => GilHolder::Unknown,
    }
}

fn threads_of(
    interpreter: &Interp,
    reader: &mut Reader,
    names: &Names,
    target: &Target,
    wanted: Wanted,
) -> Vec<ThreadSnapshot> {
    let (threads, _, codes, copies, offsets) = reader.parts();
    let objects = Objects { memory: target.memory(), offsets };
    let is_own = |thread: &&ThreadTrack| thread.interpreter == interpreter.addr && thread.walk.is_some();
    let own = threads.iter().filter(is_own).rev();
    let spelt_out = own.map(|thread| {
        let mut frames = Vec::with_capacity(thread.stack.frames().len());
        let mut innermost = None;
        let mut incomplete = match thread.walk {
            Some(Walk::Whole) => None,
            Some(Walk::Truncated) => Some(Incomplete::Truncated),
            Some(Walk::Failed(reason)) => Some(Incomplete::Unreadable(reason)),
            Some(Walk::Needs) | None => Some(Incomplete::Unreadable(Unreadable::Unmapped)),
        };
        for frame in thread.stack.frames() {
            match codes.resolve(frame.code, &objects, copies) {
                Resolved::Code(entry) => {
                    if let Some(place) = codes.place(entry, frame, &objects) {
                        innermost.get_or_insert(place.at);
                        let code = codes.code(entry);
                        let (function, file) = (code.function.clone(), code.file.clone());
                        frames.push(FrameSnapshot { function, file, line: place.line });
                    }
                }
                Resolved::NotCode => {}
                Resolved::Unreadable => {
                    incomplete = Some(Incomplete::Unreadable(Unreadable::Torn));
                    break;
                }
            }
        }
        ThreadSnapshot {
            name: names.get(interpreter.addr, thread.identity),
            os_thread_id: thread.tid,
            python_thread_id: thread.identity.thread_id,
            state: thread.state.refined(thread.gil, innermost),
            off_for: None,
            gil: thread.gil,
            frames,
            incomplete,
        }
    });
    spelt_out.filter(|thread| wanted.wants(thread.state)).collect()
}
