//! The frames of one thread, walked in local copies of its memory.
//!
//! A [`Stack`] is kept for each thread from one sample to the next. It remembers where the frames were, and so it can
//! ask for nearly everything a sample will need before the sample begins ([`Stack::foresee`]): chunks of the data
//! stack (3.11 and later), frames inside generators, shims on the C stack, frame objects (3.10 and earlier). What was
//! not foreseen is asked for when the walk meets it, and the walk goes on after the next fetch.
//!
//! Read from a thread that runs on, the pointer to the innermost frame is older than the frames themselves by some tenths
//! of a microsecond, in which a program may call and return a dozen times. The frames on the data stack are copied almost
//! at once, and they themselves tell which of them is the innermost: [`Stack::settle`] goes by that.

use python_offsets::{Bytecode, DataStack, Frame, FrameObject, InterpreterFrame, Leaf, Offsets};
use rustc_hash::FxHashMap;

use super::objects::is_alive;
use crate::memory::{Addr, Copies, CopyId, Fields, Found};
use crate::sample::Unreadable;

/// The deepest stack that is walked; deeper ones are cut.
const DEEPEST: usize = 1 << 19;
/// The largest chunk of a data stack that is believed.
const LARGEST_CHUNK: usize = 32 << 20;
/// How many chunks a data stack has at most.
const MOST_CHUNKS: usize = 1 << 14;
/// The size of a chunk that has not been seen yet: CPython's `DATA_STACK_CHUNK_SIZE`.
const USUAL_CHUNK: usize = 16 << 10;
/// Bytes read past the used part of the newest chunk, for the frames that the next sample may find there.
const SLACK: usize = 1 << 10;
/// Frame objects (3.10 and earlier) lie close together: so much is read at once around each, aligned to it. It costs no
/// more than one of them.
const WINDOW: usize = 4 << 10;
/// Where frame objects are met that were not foreseen there are likely to be more: so much is read around each.
const BLOCK: usize = 16 << 10;
/// After how many samples in which it was not met an address is no longer foreseen.
const FORGET_AFTER: u8 = 4;
/// How far behind the start of a frame that of a callee is looked for.
const LARGEST_FRAME: usize = 4 << 10;
/// How many callees are followed that the pointer to the innermost frame does not know of.
const MOST_CALLEES: usize = 1 << 10;
/// The tag bits of a `_PyStackRef`. Objects are aligned to 8 bytes at least.
const TAG: u64 = 3;

/// A frame as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawFrame {
    /// What it executes: a code object, unless C code pushed something else.
    pub code: Addr,
    /// Bytes from the start of the code object's bytecode to the instruction; negative before the first. In a copy of
    /// the bytecode (free-threaded builds) it is out of the code object's range.
    pub offset: i64,
    /// Which copy of the bytecode it runs, 0 for the code object's own.
    pub copy: u32,
    /// Whether it lies in a generator or coroutine, which keeps it while it is not on any stack.
    pub in_generator: bool,
    /// The function object that it keeps; null up to 3.10.
    pub function: Addr,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// To the end.
    Whole,
    /// To the limit of depth or memory; the outermost frames are missing.
    Truncated,
    /// It needs what it has asked for; fetch and go on.
    Needs,
    /// No further.
    Failed(Unreadable),
}

/// The stack of one thread.
#[derive(Default)]
pub struct Stack {
    frames: Vec<RawFrame>,
    /// Where each frame lies, and what it says of itself.
    places: Vec<Place>,
    links: Vec<Link>,
    is_moving: bool,
    may_be_left: bool,
    step: Step,
    next: Addr,
    /// Whether the chain may end where the walk is.
    may_end: bool,
    base: Option<Addr>,
    /// The chunks of the data stack, newest first, and their copies.
    chunks: Vec<Chunk>,
    /// The chunks of the sample before.
    last_chunks: Vec<Chunk>,
    /// Index in `chunks` of the one that the last frame was found in, and that frame.
    within: Option<(usize, Addr)>,
    /// Where frames outside the data stack were.
    outside: FxHashMap<Addr, Outside>,
    /// Whether there is C between the frame that comes next and the last one.
    behind_c: bool,
    /// Whether frames are objects.
    is_object: bool,
    cframe: Addr,
    /// Whether the thread is taken to be at the beginning of the interpreter's loop, see [`Stack::walk`].
    is_entering: bool,
    cycle: Cycle,
    /// The frame that is not executed in which the last walks ended, and how many they were.
    idle_end: (Addr, u8),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Leaf,
    Chunks,
    Frames,
}

#[derive(Clone, Copy)]
struct Chunk {
    addr: Addr,
    /// Bytes of it that are in use.
    used: usize,
    copy: CopyId,
}

/// A range that held frames outside the data stack.
#[derive(Clone, Copy)]
struct Outside {
    len: usize,
    /// For how many samples none was met in it.
    unmet: u8,
}

/// Whether a frame is one that the frame outside of it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It runs the function that the caller's value stack names, which is this one.
    Agrees(Addr),
    /// The caller's value stack has this function in its place, or something else: not every call leaves the function there.
    Differs {
        /// The function that it runs.
        function: Addr,
        /// The words on the caller's value stack.
        found: [Addr; 2],
    },
    /// There is nothing to compare: there is C in between, or a generator.
    Open,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    addr: Addr,
    /// Whether it says that it runs itself, and has called no Python function but through C.
    runs: bool,
    /// Whether there is C between it and what it has called.
    calls_c: bool,
}

/// Finds out, in constant memory, that a chain of addresses goes in a circle (Brent's algorithm).
#[derive(Default)]
struct Cycle {
    mark: Addr,
    steps: usize,
    next_mark: usize,
}

impl Cycle {
    fn closes_at(&mut self, addr: Addr) -> bool {
        if addr == self.mark && self.steps > 0 {
            return true;
        }
        if self.steps >= self.next_mark {
            self.mark = addr;
            self.next_mark = self.steps * 2 + 1;
        }
        self.steps += 1;
        false
    }
}

impl Stack {
    /// The frames found, innermost first.
    pub fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// Whether the thread may have moved while it was read.
    pub fn was_moving(&self) -> bool {
        self.is_moving
    }

    /// Whether each frame but the outermost is one that the frame outside of it called. Empty where nothing tells.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether the innermost frame may have been left for its caller already.
    pub fn may_be_left(&self) -> bool {
        self.may_be_left
    }

    /// Asks for what the next walk will most likely need.
    pub fn foresee(&self, offsets: &Offsets, copies: &mut Copies) {
        if let Leaf::ThroughCFrame { current_frame, .. } = offsets.thread.leaf
            && !self.cframe.is_null()
        {
            copies.want(self.cframe, current_frame + 8);
        }
        for (i, chunk) in self.chunks.iter().enumerate() {
            copies.want(chunk.addr, if i == 0 { chunk.used + SLACK } else { chunk.used });
        }
        for (addr, range) in &self.outside {
            copies.want(*addr, range.len);
        }
    }

    /// Whether the thread was read at the beginning of the interpreter's loop, or seems to have been. If the walk failed it is
    /// some instructions later that it can be read.
    pub fn is_entering(&self) -> bool {
        self.is_entering
    }

    /// Begins a new walk; of a thread that may move while it is read, or not.
    pub fn begin(&mut self, offsets: &Offsets, is_moving: bool) {
        self.is_moving = is_moving;
        self.is_object = matches!(offsets.frame, Frame::Object(_));
        self.is_entering = false;
        self.start_at_leaf();
        std::mem::swap(&mut self.chunks, &mut self.last_chunks);
        self.chunks.clear();
        self.outside.retain(|_, range| {
            range.unmet += 1;
            range.unmet <= FORGET_AFTER
        });
    }

    fn start_at_leaf(&mut self) {
        self.frames.clear();
        self.places.clear();
        self.links.clear();
        self.may_be_left = false;
        self.step = Step::Leaf;
        self.may_end = true;
        self.behind_c = false;
        self.within = None;
        self.cycle = Cycle::default();
    }

    /// Walks as far as the copies reach. `thread` is the copy of the thread state at `addr`.
    ///
    /// In 3.11 and 3.12 the interpreter's loop begins with a `_PyCFrame` that does not say yet which frame it runs, but
    /// anything. Where that leads nowhere, the thread is still in the frame that the one before says, if it says already which
    /// that is. See [`Stack::is_entering`].
    pub fn walk(&mut self, offsets: &Offsets, addr: Addr, thread: &[u8], copies: &mut Copies) -> Walk {
        loop {
            let outcome = match self.step {
                Step::Leaf => self.find_leaf(offsets, addr, thread, copies),
                Step::Chunks => self.find_chunks(offsets, thread, copies),
                Step::Frames => self.walk_frames(offsets, copies),
            };
            // Of one that may move only the innermost frame is sought again.
            let may_enter = !self.is_entering && (!self.is_moving || self.step == Step::Leaf);
            match (outcome, self.step) {
                (Some(Walk::Failed(_)), _)
                    if may_enter && matches!(offsets.thread.leaf, Leaf::ThroughCFrame { .. }) =>
                {
                    self.is_entering = true;
                    self.start_at_leaf();
                }
                (Some(stop), _) => return stop,
                (None, Step::Leaf) => self.step = Step::Chunks,
                (None, Step::Chunks) => self.step = Step::Frames,
                (None, Step::Frames) => return Walk::Whole,
            }
        }
    }

    /// Finds the innermost frame. `None` when done.
    fn find_leaf(&mut self, offsets: &Offsets, addr: Addr, thread: &[u8], copies: &mut Copies) -> Option<Walk> {
        self.base = offsets.thread.base_frame.and_then(|at| thread.addr_at(at));
        let leaf = match offsets.thread.leaf {
            Leaf::Direct(at) => thread.addr_at(at),
            Leaf::ThroughCFrame { cframe, current_frame } => {
                let Some(mut cframe) = thread.addr_at(cframe) else { return Some(Walk::Failed(Unreadable::Invalid)) };
                self.cframe = cframe;
                if self.is_entering {
                    // The pointer to the one before follows.
                    match cframe_before(cframe, current_frame + 8, copies) {
                        Ok(before) => cframe = before,
                        Err(stop) => return Some(stop),
                    }
                }
                let leaf = match copies.find(cframe) {
                    Found::Read(bytes) => bytes.addr_at(current_frame),
                    Found::NotAsked => return Some(ask(copies, cframe, current_frame + 8)),
                };
                // While a thread runs no Python, that of the thread state itself says so. So does the one of a greenlet that runs
                // none, and comes right after it.
                let is_outermost = cframe.since(addr).is_some_and(|at| at < offsets.thread.size);
                let is_believed = match leaf {
                    Some(Addr::NULL) => is_outermost,
                    _ => !(self.is_entering && self.is_moving),
                };
                if !is_believed {
                    return Some(Walk::Failed(Unreadable::Torn));
                }
                leaf
            }
        };
        match leaf {
            Some(leaf) => {
                self.next = leaf;
                None
            }
            None => Some(Walk::Failed(Unreadable::Unmapped)),
        }
    }

    /// Copies the chunks of the data stack. `None` when done.
    fn find_chunks(&mut self, offsets: &Offsets, thread: &[u8], copies: &mut Copies) -> Option<Walk> {
        let stack = offsets.thread.data_stack.as_ref()?;
        if self.next.is_null() || Some(self.next) == self.base {
            return None;
        }
        if self.chunks.is_empty()
            && let Err(failed) = self.push_newest_chunk(stack, thread, copies)
        {
            return Some(failed);
        }
        loop {
            let oldest = self.chunks.last()?;
            let header = copies.get(oldest.copy);
            if header.is_empty() {
                return Some(if copies.is_pending() { Walk::Needs } else { Walk::Failed(Unreadable::Unmapped) });
            }
            if self.chunks.len() > 1 && self.settle_oldest(stack, copies) {
                return Some(Walk::Needs);
            }
            let previous = copies.get(self.chunks.last()?.copy).addr_at(stack.chunk_previous)?;
            if previous.is_null() {
                return None;
            }
            if self.chunks.len() >= MOST_CHUNKS || self.chunks.iter().rev().take(8).any(|c| c.addr == previous) {
                return Some(Walk::Failed(Unreadable::Invalid));
            }
            let expected = self.last_chunks.iter().find(|c| c.addr == previous).map_or(USUAL_CHUNK, |c| c.used);
            // The frames of those that were copied are the innermost.
            let copy = copies.want(previous, expected)?;
            self.chunks.push(Chunk { addr: previous, used: expected, copy });
        }
    }

    fn push_newest_chunk(&mut self, stack: &DataStack, thread: &[u8], copies: &mut Copies) -> Result<(), Walk> {
        let invalid = Walk::Failed(Unreadable::Invalid);
        let addr = thread.addr_at(stack.chunk).ok_or(invalid)?;
        if addr.is_null() {
            return Ok(());
        }
        let top = thread.addr_at(stack.top).ok_or(invalid)?;
        let used = top.since(addr).filter(|&n| n >= stack.chunk_data && n <= LARGEST_CHUNK).ok_or(invalid)?;
        let copy = match copies.has(addr, used) {
            Some(copy) => copy,
            None => copies.want(addr, used + SLACK).ok_or(Walk::Truncated)?,
        };
        self.chunks.push(Chunk { addr, used, copy });
        Ok(())
    }

    /// Sets the used part of the oldest chunk so far from its own header; true if more of it had to be asked for.
    fn settle_oldest(&mut self, stack: &DataStack, copies: &mut Copies) -> bool {
        let Some(oldest) = self.chunks.last_mut() else { return false };
        let Some(words) = copies.get(oldest.copy).u64_at(stack.chunk_top) else { return false };
        let used = usize::try_from(words).ok().and_then(|n| n.checked_mul(8)?.checked_add(stack.chunk_data));
        let Some(used) = used.filter(|&n| n <= LARGEST_CHUNK) else { return false };
        oldest.used = used;
        if copies.get(oldest.copy).len() >= used {
            return false;
        }
        match copies.want(oldest.addr, used) {
            Some(copy) if copy != oldest.copy => {
                oldest.copy = copy;
                true
            }
            _ => false,
        }
    }

    /// Follows the chain of frames. `None` when done.
    fn walk_frames(&mut self, offsets: &Offsets, copies: &mut Copies) -> Option<Walk> {
        let size = frame_size(&offsets.frame);
        loop {
            if Some(self.next) == self.base {
                return None;
            }
            if self.next.is_null() {
                // From 3.15 on every chain ends in the base frame.
                let is_end = self.may_end && self.base.is_none_or(Addr::is_null);
                return (!is_end).then_some(Walk::Failed(Unreadable::Torn));
            }
            if self.frames.len() >= DEEPEST {
                return Some(Walk::Truncated);
            }
            let bytes = match self.frame_bytes(self.next, size, copies) {
                Ok(bytes) => bytes,
                Err(stop) => return Some(stop),
            };
            let decoded = match &offsets.frame {
                // One that was left meanwhile, or has only been made, leads nowhere, as if it were the outermost.
                Frame::Object(shape) => {
                    let may_end = !self.is_moving || is_alive(bytes, offsets) && self.may_end_in(shape, bytes);
                    decode_object(shape, bytes, may_end)
                }
                Frame::Interpreter(shape) => decode_interpreter_frame(self.next, shape, &offsets.code.bytecode, bytes),
            };
            let Some(decoded) = decoded else { return Some(Walk::Failed(Unreadable::Invalid)) };
            if self.cycle.closes_at(self.next) {
                return Some(Walk::Failed(Unreadable::Torn));
            }
            if let Some(frame) = decoded.frame {
                let calls_c = std::mem::replace(&mut self.behind_c, decoded.is_entry);
                self.frames.push(frame);
                self.places.push(Place { addr: self.next, runs: decoded.runs, calls_c });
            } else {
                self.behind_c |= decoded.is_entry;
            }
            self.next = decoded.previous;
            self.may_end = decoded.may_end;
        }
    }

    /// Whether the frame that comes next may be the outermost, of a stack that moves. One that is not executed may be, for
    /// some time: an exception is thrown into a generator that delegates (3.9), or leaves the frame (3.10).
    fn may_end_in(&mut self, shape: &FrameObject, bytes: &[u8]) -> bool {
        /// So many walks do not end in the same frame one after the other by chance.
        const ENOUGH: u8 = 3;
        if bytes.addr_at(shape.back) != Some(Addr::NULL) {
            return true;
        }
        self.idle_end = match self.idle_end {
            _ if is_executed(shape, bytes) => (Addr::NULL, ENOUGH),
            (last, walks) if last == self.next => (last, walks.saturating_add(1)),
            _ => (self.next, 1),
        };
        self.idle_end.1 >= ENOUGH
    }

    /// Finds the innermost frame anew, by what the frames that were copied together say of themselves, and whether each
    /// frame is one that its caller called. For stacks of threads that ran on while they were read.
    pub fn settle(&mut self, offsets: &Offsets, copies: &Copies) {
        let Frame::Interpreter(shape) = &offsets.frame else { return };
        self.settle_innermost(shape, &offsets.code.bytecode, copies);
        let pairs = self.places.iter().zip(&self.frames).zip(self.places.iter().skip(1));
        let mut links = std::mem::take(&mut self.links);
        links.extend(pairs.map(|((place, frame), caller)| match caller.calls_c || frame.in_generator {
            true => Link::Open,
            false => self.link(place.addr, caller.addr, shape, copies).unwrap_or(Link::Open),
        }));
        self.links = links;
    }

    /// The innermost frame is the outermost that runs, or the last that has called another.
    fn settle_innermost(&mut self, shape: &InterpreterFrame, code: &Bytecode, copies: &Copies) {
        // Frames inside of one that runs itself have been left. Generators do not lie on the data stack, and were copied
        // after it: they may run by now.
        let ends = |(place, frame): (&Place, &RawFrame)| place.runs && !place.calls_c && !frame.in_generator;
        if let Some(runs) = self.places.iter().zip(&self.frames).rposition(ends) {
            self.frames.drain(..runs);
            self.places.drain(..runs);
        }
        let Some(innermost) = self.places.first() else { return };
        self.may_be_left = !innermost.runs;
        let mut caller = innermost.addr;
        let mut callees: Vec<(RawFrame, Place)> = Vec::new();
        while callees.len() < MOST_CALLEES
            && self.may_be_left
            && let Some((frame, place)) = self.callee(caller, shape, code, copies)
        {
            callees.push((frame, place));
            caller = place.addr;
            self.may_be_left = !place.runs;
        }
        self.frames.splice(..0, callees.iter().rev().map(|(frame, _)| *frame));
        self.places.splice(..0, callees.iter().rev().map(|(_, place)| *place));
    }

    /// Whether the caller's value stack names the function of a frame. When a frame is made the caller lets go of the
    /// function and the arguments, but they stay where they were until it goes on: the function is the first of them, or
    /// the second.
    fn link(&self, callee: Addr, caller: Addr, shape: &InterpreterFrame, copies: &Copies) -> Option<Link> {
        let word = |addr: Addr| self.copied(addr, copies)?.u64_at(0).map(|word| Addr(word & !TAG));
        let top = match (shape.stack_top, shape.stack_pointer) {
            (Some(at), _) => {
                let words = self.copied(caller.offset(at), copies)?.i32_at(0)?;
                caller.offset(shape.localsplus + 8 * usize::try_from(words).ok()?)
            }
            (None, Some(at)) => self.copied(caller.offset(at), copies)?.addr_at(0)?,
            (None, None) => return None,
        };
        let function = word(callee.offset(shape.function))?;
        let found = [word(top)?, word(top.offset(8))?];
        match found.contains(&function) {
            true => Some(Link::Agrees(function)),
            false => Some(Link::Differs { function, found }),
        }
    }

    /// What was copied of the data stack from an address on.
    fn copied<'c>(&self, addr: Addr, copies: &'c Copies) -> Option<&'c [u8]> {
        self.chunks.iter().find_map(|chunk| copies.get(chunk.copy).get(addr.since(chunk.addr)?..))
    }

    /// The frame that a frame on the data stack has called, without C in between: the next one that points back to it.
    fn callee(
        &self,
        caller: Addr,
        shape: &InterpreterFrame,
        code: &Bytecode,
        copies: &Copies,
    ) -> Option<(RawFrame, Place)> {
        let holds = |chunk: &Chunk| caller.since(chunk.addr).is_some_and(|at| at < copies.get(chunk.copy).len());
        let chunk = self.chunks.iter().position(holds)?;
        // A frame that has no room is the first of the next chunk.
        let next = chunk.checked_sub(1).map(|next| (self.chunks[next], 0));
        let from = caller.since(self.chunks[chunk].addr)? + shape.localsplus;
        [Some((self.chunks[chunk], from)), next].into_iter().flatten().find_map(|(chunk, from)| {
            let bytes = copies.get(chunk.copy);
            let last = bytes.len().checked_sub(shape.size)?.min(from + LARGEST_FRAME);
            (from..=last).step_by(8).find_map(|at| {
                let frame = bytes.get(at..at + shape.size)?;
                if frame.addr_at(shape.previous) != Some(caller) {
                    return None;
                }
                let addr = chunk.addr.offset(at);
                let decoded = decode_interpreter_frame(addr, shape, code, frame)?;
                let place = Place { addr, runs: decoded.runs, calls_c: false };
                Some((decoded.frame.filter(|_| !decoded.is_entry)?, place))
            })
        })
    }

    /// The copy of a frame: in a chunk, or outside.
    fn frame_bytes<'c>(&mut self, addr: Addr, size: usize, copies: &'c mut Copies) -> Result<&'c [u8], Walk> {
        let from = self.within.map_or(0, |(index, _)| index);
        let holds = |chunk: &Chunk| {
            let end = addr.since(chunk.addr).and_then(|at| at.checked_add(size));
            end.is_some_and(|end| end <= copies.get(chunk.copy).len())
        };
        let found = self.chunks[from..].iter().position(holds).map(|i| i + from);
        if let Some(index) = found {
            // Frames are pushed upwards: in one chunk, a caller lies below what it called.
            if self.within.is_some_and(|(last, below)| last == index && addr >= below) {
                return Err(Walk::Failed(Unreadable::Torn));
            }
            self.within = Some((index, addr));
            let chunk = &self.chunks[index];
            let at = addr.since(chunk.addr).unwrap_or(0);
            return copies.get(chunk.copy).get(at..at + size).ok_or(Walk::Failed(Unreadable::Torn));
        }
        let newest = self.chunks.first().and_then(|chunk| addr.since(chunk.addr));
        if self.is_moving && newest.is_some_and(|at| at < USUAL_CHUNK) {
            // It would be read at another moment than the rest.
            return Err(Walk::Failed(Unreadable::Torn));
        }
        let ranges = [self.is_object.then(|| window(addr, size)).flatten(), Some((addr, size))];
        for (start, len) in ranges.into_iter().flatten() {
            let at = addr.since(start).unwrap_or(0);
            match copies.find(start) {
                Found::NotAsked if len == WINDOW => return Err(ask_block(copies, start)),
                Found::NotAsked => return Err(ask(copies, start, len)),
                Found::Read(bytes) if bytes.len() >= at + size => {
                    self.outside.insert(start, Outside { len, unmet: 0 });
                    break;
                }
                Found::Read(_) => {}
            }
        }
        let found = ranges.into_iter().flatten().find_map(|(start, _)| match copies.find(start) {
            Found::Read(bytes) => bytes.get(addr.since(start)?..)?.get(..size),
            Found::NotAsked => None,
        });
        found.ok_or(Walk::Failed(Unreadable::Unmapped))
    }
}

/// The `_PyCFrame` before one, whose pointer to it is at `previous`.
fn cframe_before(cframe: Addr, previous: usize, copies: &mut Copies) -> Result<Addr, Walk> {
    let before = match copies.find(cframe) {
        Found::Read(bytes) if bytes.len() >= previous + 8 => bytes.addr_at(previous),
        _ => return Err(ask(copies, cframe, previous + 8)),
    };
    before.filter(|before| !before.is_null()).ok_or(Walk::Failed(Unreadable::Torn))
}

/// The window that holds a whole frame; `None` for one that lies across two.
fn window(addr: Addr, size: usize) -> Option<(Addr, usize)> {
    let start = Addr(addr.0 & !(WINDOW as u64 - 1));
    (addr.since(start)? + size <= WINDOW).then_some((start, WINDOW))
}

/// Asks for a window and those around it.
fn ask_block(copies: &mut Copies, window: Addr) -> Walk {
    let block = Addr(window.0 & !(BLOCK as u64 - 1));
    for at in (0..BLOCK).step_by(WINDOW) {
        copies.want(block.offset(at), WINDOW);
    }
    ask(copies, window, WINDOW)
}

fn ask(copies: &mut Copies, addr: Addr, len: usize) -> Walk {
    match copies.want(addr, len) {
        Some(_) => Walk::Needs,
        None => Walk::Truncated,
    }
}

fn frame_size(frame: &Frame) -> usize {
    match frame {
        Frame::Object(shape) => shape.size,
        Frame::Interpreter(shape) => shape.size,
    }
}

/// What the bytes of a frame say.
struct Decoded {
    /// The frame; none for a shim and for one that is being cleared.
    frame: Option<RawFrame>,
    /// The caller's.
    previous: Addr,
    /// Whether a chain may end with it. A frame of a generator that has just yielded points to no caller any more: a
    /// chain that ends so has changed while it was being read.
    may_end: bool,
    /// Whether it was called from C, or is a shim between C and Python.
    is_entry: bool,
    /// Whether it says that it runs itself.
    runs: bool,
}

/// Whether a frame is one that is being executed: neither left, nor only made, nor a generator's that waits.
fn is_executed(shape: &FrameObject, bytes: &[u8]) -> bool {
    bytes.u8_at(shape.executing) == Some(shape.is_executing)
}

fn decode_object(shape: &FrameObject, bytes: &[u8], may_end: bool) -> Option<Decoded> {
    let offset = i64::from(bytes.i32_at(shape.lasti)?) * shape.lasti_unit as i64;
    let code = bytes.addr_at(shape.code)?;
    let frame = RawFrame { code, offset, copy: 0, in_generator: false, function: Addr::NULL };
    Some(Decoded { frame: Some(frame), previous: bytes.addr_at(shape.back)?, may_end, is_entry: false, runs: false })
}

/// Whether a frame is one that Nuitka's compiled functions link into the chain: a part of its frame object. The outermost
/// of them has no caller. What the interpreter runs lies on the data stack or in a generator, and a frame object that takes
/// a frame over is in no chain.
fn lies_in_its_object(frame: Addr, object: Addr) -> bool {
    /// More than there is in a frame object before its frame.
    const FAR: usize = 256;
    !object.is_null() && frame.since(object).is_some_and(|at| at < FAR)
}

/// `None` for what cannot be a frame.
fn decode_interpreter_frame(addr: Addr, shape: &InterpreterFrame, code: &Bytecode, bytes: &[u8]) -> Option<Decoded> {
    /// `FRAME_OWNED_BY_GENERATOR`, in every version.
    const GENERATOR: u8 = 1;
    /// The highest value of `owner` in any version.
    const LAST_OWNER: u8 = 4;
    let owner = bytes.u8_at(shape.owner)?;
    let previous = bytes.addr_at(shape.previous)?;
    let executable = Addr(bytes.u64_at(shape.executable)? & !TAG);
    if owner > LAST_OWNER || !previous.0.is_multiple_of(8) || !executable.0.is_multiple_of(8) {
        return None;
    }
    let is_shim = owner >= shape.first_shim_owner;
    let may_end = match shape.is_entry {
        Some(at) => bytes.u8_at(at)? != 0 && owner != GENERATOR,
        None => is_shim,
    };
    let may_end = may_end || previous.is_null() && lies_in_its_object(addr, bytes.addr_at(shape.frame_object)?);
    if is_shim || executable.is_null() {
        return Some(Decoded { frame: None, previous, may_end, is_entry: is_shim, runs: false });
    }
    let Bytecode::Inline(bytecode) = *code else { return None };
    let instr = bytes.addr_at(shape.instr)?;
    let frame = RawFrame {
        code: executable,
        offset: instr.0.wrapping_sub(executable.offset(bytecode).0) as i64,
        copy: shape.tlbc_index.and_then(|at| bytes.u32_at(at)).unwrap_or(0),
        in_generator: owner == GENERATOR,
        function: Addr(bytes.u64_at(shape.function)? & !TAG),
    };
    let runs = shape.stack_top.is_some_and(|at| bytes.i32_at(at) == Some(-1));
    let is_entry = shape.is_entry.is_some_and(|at| bytes.u8_at(at).is_some_and(|is_entry| is_entry != 0));
    Some(Decoded { frame: Some(frame), previous, may_end, is_entry, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_goes_in_a_circle_is_noticed_and_a_long_one_is_not() {
        let mut cycle = Cycle::default();
        assert!((0..10_000).all(|i| !cycle.closes_at(Addr(8 * i + 8))));
        for length in 1..20 {
            let mut cycle = Cycle::default();
            let chain = (0..5).map(|i| i + 1000).chain((0..).map(|i| i % length));
            let noticed = chain.take(200).position(|i| cycle.closes_at(Addr(8 * i + 8)));
            assert!(noticed.is_some_and(|steps| steps < 100), "a circle of {length}");
        }
    }
}
