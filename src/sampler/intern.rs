//! From raw frames to events: every name, frame and stack gets an id the first time it is met.
//!
//! Stacks are kept as a tree that shares its trunk, so memory grows with the number of distinct stacks, not with time.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rustc_hash::{FxHashMap, FxHashSet};

use super::held::{self, Held, Who};
use super::moment::{Interp, Reader, Told};
use super::names::Names;
use super::outlet::Outlet;
use crate::memory::{Addr, Copies, Memory};
use crate::python::Interpreter;
use crate::python::code::{Codes, Resolved};
use crate::python::frames::{Link, Walk};
use crate::python::gil::{Holder, Passed};
use crate::python::objects::Objects;
use crate::python::threads::Identity;
use crate::sample::{
    Event, FrameId, GilHeld, GilSample, Instruction, Mixing, Process, ProcessId, Remark, Sample, StackId, Tally,
    Thread, ThreadId, Unreadable, Wanted,
};

/// How often names are read again: after a thread has appeared, and when none has for long. A thread gets its name a
/// little after it appears, and may change it any time.
const NAMES_AT_FIRST: Duration = Duration::from_millis(100);
const NAMES_AT_LAST: Duration = Duration::from_secs(30);
/// The outermost frame of a stack whose outermost frames are missing.
const TRUNCATED: &str = "<truncated>";

/// A sampler has one process.
const PROCESS: ProcessId = ProcessId(0);

/// Gives out ids and sends events.
pub struct Interner {
    outlet: Outlet,
    interpreter: Interpreter,
    wanted: Wanted,
    stacks: FxHashMap<(Option<StackId>, FrameId), StackId>,
    threads: FxHashMap<(i64, Identity), (ThreadId, Thread)>,
    /// How many threads have an id.
    thread_count: u32,
    /// What the frames of the stack at hand turned out to execute.
    resolved: Vec<Resolved>,
    /// The frames of the stack at hand, outermost first.
    frame_ids: Vec<FrameId>,
    functions: Functions,
    /// What the innermost frame of the stack at hand is at; `None` if it has no frames.
    innermost: Option<Instruction>,
    /// What was told of threads that rest, for as long as they do.
    rested: Vec<(Identity, u64, Told)>,
    names: Names,
    names_read: Option<Instant>,
    names_every: Duration,
}

impl Interner {
    /// Sends to `sender` what is wanted.
    pub fn new(sender: Sender<Event>, interpreter: Interpreter, process: Process, wanted: Wanted) -> Interner {
        let first = [Event::Process(PROCESS, process), Event::SearchPath(interpreter.search_path())];
        Interner {
            outlet: Outlet::new(sender, first),
            interpreter,
            wanted,
            stacks: FxHashMap::default(),
            threads: FxHashMap::default(),
            thread_count: 0,
            resolved: Vec::new(),
            frame_ids: Vec::new(),
            functions: Functions::default(),
            innermost: None,
            rested: Vec::new(),
            names: Names::default(),
            names_read: None,
            names_every: NAMES_AT_FIRST,
        }
    }

    /// The target executed another Python.
    pub fn change_interpreter(&mut self, interpreter: Interpreter, process: Process) {
        self.outlet.define(Event::Process(PROCESS, process));
        self.interpreter = interpreter;
        self.functions = Functions::default();
        self.names_read = None;
    }

    /// Tells what the reader saw.
    pub fn tell(&mut self, reader: &mut Reader, memory: &dyn Memory, tally: &mut Tally) {
        self.read_names(reader, memory);
        let (_, held, codes, copies, offsets) = reader.parts();
        let mut held = std::mem::take(held);
        let mut view = View { held: &held, codes, copies, objects: Objects { memory, offsets } };
        self.rested.clear();
        let mut gils = held.gils().iter().peekable();
        for stack in held.stacks() {
            while let Some(gil) = gils.next_if(|gil| gil.at <= stack.at) {
                self.tell_gil(gil, tally);
            }
            self.tell_stack(stack, &mut view, tally);
        }
        gils.for_each(|gil| self.tell_gil(gil, tally));
        held.clear();
        let (_, empty, ..) = reader.parts();
        *empty = held;
        for (identity, since, told) in self.rested.drain(..) {
            reader.note_told(identity, since, told);
        }
    }

    fn tell_gil(&mut self, gil: &held::Gil, tally: &mut Tally) {
        let holder = match (gil.interpreter.holder, gil.holder) {
            (Holder::Thread(_), Some(who)) => GilHeld::By(self.thread(&who)),
            (Holder::Thread(_), None) => GilHeld::BySomeone,
            (Holder::Nobody, _) => GilHeld::Free,
            (Holder::Disabled, _) => GilHeld::None,
            (Holder::Unknown, _) => GilHeld::Unknown,
        };
        let Interp { id: interpreter, passed, holding, interval, is_collecting, .. } = gil.interpreter;
        let sample = GilSample {
            at: gil.at,
            process: PROCESS,
            interpreter,
            owner: gil.owner,
            holder,
            switches: passed.map(Passed::times),
            interval,
            is_collecting,
            holding,
            weight: gil.weight,
        };
        self.outlet.send(Event::Gil(sample), tally);
    }

    fn tell_stack(&mut self, held: &held::Stack, view: &mut View, tally: &mut Tally) {
        self.innermost = None;
        let told = match held.told {
            Some(Told(stack)) => Ok(stack),
            None => self.stack(held, view, &mut tally.mixing),
        };
        let stack = match told {
            Ok(stack) => stack,
            Err(reason) => {
                tally.unreadable(reason);
                return;
            }
        };
        // Next time there may be room for all of it.
        if held.told.is_none() && held.walk != Walk::Truncated {
            self.rested.extend(held.asleep.map(|since| (held.who.identity, since, Told(stack))));
        }
        if held.walk == Walk::Truncated {
            tally.truncated += 1;
        }
        let state = held.state.refined(held.gil, self.innermost);
        if !self.wanted.wants(state) {
            return;
        }
        let thread = self.thread(&held.who);
        self.outlet.send(
            Event::Sample(Sample { at: held.at, thread, state, gil: held.gil, stack, weight: held.weight }),
            tally,
        );
    }

    /// The id of a thread's stack; `None` for one without frames.
    fn stack(
        &mut self,
        held: &held::Stack,
        view: &mut View,
        mixing: &mut Mixing,
    ) -> Result<Option<StackId>, Unreadable> {
        match held.walk {
            Walk::Whole | Walk::Truncated => {}
            Walk::Needs => return Err(Unreadable::Unmapped),
            Walk::Failed(reason) => return Err(reason),
        }
        let frames = view.held.frames(held);
        self.resolved.clear();
        let codes = &mut *view.codes;
        let frames_proven = frames.iter().zip(view.held.are_proven(held));
        self.resolved.extend(frames_proven.map(|(frame, was_proven)| match held.has_waited {
            true => codes.resolve_waiting(frame.code, *was_proven),
            false => codes.resolve(frame.code, &view.objects, view.copies),
        }));
        if self.resolved.contains(&Resolved::Unreadable) {
            return Err(Unreadable::Torn);
        }
        let left = match held.was_moving {
            true => left(held, &self.resolved, view, &mut self.functions),
            false => 0,
        };
        if held.was_moving && !held.activity.is_off() && is_mixture(held, &self.resolved[left..], left, view, mixing) {
            return Err(Unreadable::Torn);
        }
        let mut ids = std::mem::take(&mut self.frame_ids);
        ids.clear();
        if held.walk == Walk::Truncated {
            ids.push(view.codes.synthetic(TRUNCATED));
        }
        for index in (left..frames.len()).rev() {
            if let Resolved::Code(entry) = self.resolved[index]
                && let Some((id, at)) = view.codes.frame(entry, &frames[index], &view.objects)
            {
                ids.push(id);
                self.innermost = Some(at);
            }
        }
        self.define(view.codes);
        let stack = ids.iter().fold(None, |caller, frame| Some(self.push(caller, *frame)));
        self.frame_ids = ids;
        Ok(stack)
    }

    fn push(&mut self, caller: Option<StackId>, frame: FrameId) -> StackId {
        let next = StackId(self.stacks.len() as u32);
        *self.stacks.entry((caller, frame)).or_insert_with(|| {
            self.outlet.define(Event::Stack { id: next, caller, frame });
            next
        })
    }

    /// The id of a thread, which is defined when it is new and again when its name changes.
    fn thread(&mut self, thread: &Who) -> ThreadId {
        let interpreter = thread.interpreter_id;
        let key = (interpreter, thread.identity);
        if let Some((id, known)) = self.threads.get_mut(&key) {
            let name = self.names.get(thread.interpreter, thread.identity);
            if known.name == name || name.is_none() {
                return *id;
            }
            known.name = name;
            self.outlet.define(Event::Thread(*id, known.clone()));
            return *id;
        }
        let id = ThreadId(self.thread_count);
        self.thread_count += 1;
        let known = Thread {
            process: PROCESS,
            interpreter,
            os_thread_id: thread.tid,
            python_thread_id: thread.identity.thread_id,
            name: self.names.get(thread.interpreter, thread.identity),
        };
        self.outlet.define(Event::Thread(id, known.clone()));
        self.threads.insert(key, (id, known));
        id
    }

    /// Reads the names of threads, and `sys.path`: soon after a thread appears, and otherwise ever more seldom.
    fn read_names(&mut self, reader: &mut Reader, memory: &dyn Memory) {
        let has_new = reader.threads().iter().any(|thread| !self.names.has_seen(thread.interpreter, thread.identity));
        if has_new {
            self.names_every = NAMES_AT_FIRST;
        }
        if self.names_read.is_some_and(|read| read.elapsed() < self.names_every) {
            return;
        }
        let objects = self.interpreter.objects(memory);
        self.names.refresh(&objects, self.interpreter.runtime, reader);
        self.forget_threads(reader);
        self.tell_search_path(memory);
        self.names_every = (self.names_every * 2).min(NAMES_AT_LAST);
        self.names_read = Some(Instant::now());
    }

    /// Forgets threads that have ended, once they are many.
    fn forget_threads(&mut self, reader: &Reader) {
        const MANY: usize = 64;
        if self.threads.len() > 2 * reader.threads().len() + MANY {
            let there: FxHashSet<Identity> = reader.threads().iter().map(|thread| thread.identity).collect();
            self.threads.retain(|(_, thread), _| there.contains(thread));
        }
    }

    fn tell_search_path(&mut self, memory: &dyn Memory) {
        let Some(read) = self.interpreter.read_search_path(memory) else { return };
        if read != self.interpreter.search_path {
            self.interpreter.search_path.clone_from(&read);
            self.outlet.define(Event::SearchPath(read));
        }
    }

    /// Puts new definitions in line: code objects, then frames, before the stacks that use them.
    fn define(&mut self, codes: &mut Codes) {
        codes.new_codes().for_each(|(id, code)| self.outlet.define(Event::Code(id, code)));
        codes.new_frames().for_each(|(id, frame)| self.outlet.define(Event::Frame(id, frame)));
    }

    /// Tells something that the user should know.
    pub fn remark(&mut self, remark: Remark) {
        self.outlet.remark(remark);
    }

    /// Tells how far the recording is, if there is room.
    pub fn progress(&mut self, at: Duration, tally: &Tally) {
        self.outlet.progress(at, tally);
    }

    /// Sends what is left, see [`Outlet::finish`].
    pub fn finish(&mut self, at: Duration, tally: &Tally) {
        self.outlet.finish(at, tally);
    }
}

/// What is needed to ask about code objects.
struct View<'a> {
    held: &'a Held,
    codes: &'a mut Codes,
    copies: &'a Copies,
    objects: Objects<'a>,
}

/// How many of the innermost frames of a thread that ran on have been left for their callers.
///
/// Frames inside of one that is still being made are what was left of others in its place. The outermost of those at their
/// last instruction may be on its way out, or may just have gone while its caller was not yet seen to go on: in half of the
/// cases it counts as still there, if it is what its caller called.
fn left(held: &held::Stack, resolved: &[Resolved], view: &View, functions: &mut Functions) -> usize {
    let (frames, links) = (view.held.frames(held), view.held.links(held));
    let is_new = |index: &usize| match (resolved[*index], links.get(*index)) {
        (Resolved::Code(entry), _) if view.codes.is_trampoline(entry) => false,
        (Resolved::Code(entry), _) if view.codes.is_being_set_up(entry, &frames[*index]) => true,
        (_, Some(&(Link::Agrees(function) | Link::Differs { function, .. }))) => {
            !functions.is_code_of(function, frames[*index].code, &view.objects)
        }
        _ => false,
    };
    let new = (0..frames.len()).rev().find(is_new).map_or(0, |index| index + 1);
    if new == 0 && !held.may_be_left {
        return 0;
    }
    let leaving = frames.iter().zip(resolved).skip(new).take_while(|(frame, resolved)| match resolved {
        Resolved::Code(entry) => view.codes.is_leaving(*entry, frame),
        Resolved::NotCode | Resolved::Unreadable => false,
    });
    let left = new + leaving.count();
    match left.checked_sub(1) {
        Some(last) if left > new && fastrand::bool() && matches!(links.get(last), Some(Link::Agrees(_))) => last,
        _ => left,
    }
}

/// Whether a stack that was read from a running thread is proved to be a mixture of moments: a frame has called another
/// function than the one inside of it runs. What its calls prove is counted. The first frames are `left` out.
fn is_mixture(held: &held::Stack, resolved: &[Resolved], left: usize, view: &mut View, mixing: &mut Mixing) -> bool {
    let (frames, links) = (&view.held.frames(held)[left..], view.held.links(held).get(left..).unwrap_or_default());
    let (mut proved, mut open, mut doubtful) = (0, 0, false);
    for (index, caller) in frames.iter().enumerate().skip(1) {
        match (links.get(index - 1), resolved[index], resolved[index - 1]) {
            (_, _, Resolved::Code(callee)) if view.codes.is_trampoline(callee) => open += 1,
            (Some(Link::Agrees(_)), Resolved::Code(entry), _) => {
                view.codes.note_agreement(entry, caller);
                proved += 1;
            }
            (Some(&Link::Differs { function, found }), Resolved::Code(entry), _) => {
                let usually = view.codes.note_difference(entry, caller);
                if !usually && are_of_one_type(function, found, &view.objects) {
                    mixing.found += 1;
                    return true;
                }
                doubtful |= !usually;
                open += u64::from(usually);
            }
            _ => open += 1,
        }
    }
    mixing.proved += proved;
    mixing.open += open;
    mixing.doubtful += u64::from(doubtful);
    mixing.kept += 1;
    false
}

/// The code objects of functions.
#[derive(Default)]
struct Functions(FxHashMap<Addr, Addr>);

impl Functions {
    /// Whether a function has this code object, as far as can be told.
    fn is_code_of(&mut self, function: Addr, code: Addr, objects: &Objects) -> bool {
        /// Functions that are remembered: some programs make new ones all the time.
        const MOST: usize = 1 << 12;
        if self.0.get(&function) == Some(&code) {
            return true;
        }
        let Ok(its) = objects.memory.read_addr(function.offset(objects.offsets.function_code())) else { return true };
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(function, its);
        its == code
    }
}

/// Whether one of the objects found is of the same type as a function.
fn are_of_one_type(function: Addr, found: [Addr; 2], objects: &Objects) -> bool {
    let type_of = |object: Addr| objects.memory.read_addr(object.offset(objects.offsets.object.ob_type)).ok();
    type_of(function).is_some_and(|function| found.into_iter().any(|object| type_of(object) == Some(function)))
}
