//! Stacks that have been read and not told yet.
//!
//! Code objects that are trusted, or all of them where nobody is stopped, are proved after the stack: one that is the same
//! before and after was the same in between, and one that is not costs the stack. At high rates those of many stacks are
//! proved at once, as one proof costs as much as one stack.

use std::ops::Range;
use std::time::Duration;

use super::moment::{Interp, ThreadTrack, Told};
use crate::memory::Addr;
use crate::python::code::Codes;
use crate::python::frames::{Link, RawFrame, Walk};
use crate::python::threads::Identity;
use crate::sample::{GilState, ThreadState, Tid, Weight};
use crate::target::Activity;

/// Stacks that have been read and not told yet, in the order in which they were read.
#[derive(Default)]
pub struct Held {
    gils: Vec<Gil>,
    stacks: Vec<Stack>,
    frames: Vec<RawFrame>,
    /// Of each frame, whether what it executes was proven when it was read.
    are_proven: Vec<bool>,
    links: Vec<Link>,
}

/// The GIL of an interpreter at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Gil {
    /// Since the recording began.
    pub at: Duration,
    /// For how much of the time the moment stands.
    pub weight: Weight,
    /// The interpreter.
    pub interpreter: Interp,
    /// The first of the interpreters that share the GIL.
    pub owner: i64,
    /// Its holder, if it is a thread that is known.
    pub holder: Option<Who>,
}

/// A thread, as far as it does not change.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Who it is.
    pub identity: Identity,
    /// The interpreter, by its address.
    pub interpreter: Addr,
    /// The id of the interpreter.
    pub interpreter_id: i64,
    /// The OS thread, where it is known.
    pub tid: Option<Tid>,
}

/// The stack of one thread at one moment.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Since the recording began.
    pub at: Duration,
    /// For how much of the time the moment stands.
    pub weight: Weight,
    /// Whose it is.
    pub who: Who,
    /// Whether the thread used a processor.
    pub activity: Activity,
    /// What it was doing, as far as its stack need not be known.
    pub state: ThreadState,
    /// Whether it held the GIL.
    pub gil: GilState,
    /// How the stack came out.
    pub walk: Walk,
    /// Since which look it was asleep, if it was asleep before it was read.
    pub asleep: Option<u64>,
    /// What was told of it before, if it still holds.
    pub told: Option<Told>,
    /// Whether the thread may have moved while it was read.
    pub was_moving: bool,
    /// Whether the innermost frame may have been left for its caller already.
    pub may_be_left: bool,
    /// Whether it may have waited for others: what it executes was proven when it was read, or trusted and proven since.
    pub has_waited: bool,
    frames: Range<usize>,
    links: Range<usize>,
}

impl Held {
    /// Takes a GIL.
    pub fn push_gil(&mut self, gil: Gil) {
        self.gils.push(gil);
    }

    /// The GILs.
    pub fn gils(&self) -> &[Gil] {
        &self.gils
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty() && self.gils.is_empty()
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// When the first of them was read.
    pub fn since(&self) -> Option<Duration> {
        self.stacks.first().map(|stack| stack.at)
    }

    /// Takes the stack of a thread, if it was read. The code objects are told if it may wait for others.
    pub fn push(
        &mut self,
        at: Duration,
        weight: Weight,
        interpreter_id: i64,
        thread: &ThreadTrack,
        codes: Option<&Codes>,
    ) {
        let Some(walk) = thread.walk else { return };
        let told = thread.told.filter(|_| thread.is_kept);
        let (mut frames, mut links) = (self.frames.len()..self.frames.len(), self.links.len()..self.links.len());
        if told.is_none() {
            let read = thread.stack.frames();
            self.frames.extend_from_slice(read);
            let is_proven = |frame| codes.is_some_and(|codes| codes.is_proven(frame));
            self.are_proven.extend(read.iter().map(is_proven));
            self.links.extend_from_slice(thread.stack.links());
            (frames.end, links.end) = (self.frames.len(), self.links.len());
        }
        self.stacks.push(Stack {
            at,
            weight,
            who: Who { identity: thread.identity, interpreter: thread.interpreter, interpreter_id, tid: thread.tid },
            activity: thread.activity,
            state: thread.state,
            gil: thread.gil,
            walk,
            asleep: thread.asleep,
            told,
            was_moving: thread.stack.was_moving(),
            may_be_left: thread.stack.may_be_left(),
            has_waited: codes.is_some(),
            frames,
            links,
        });
    }

    /// The stacks.
    pub fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// Every frame of every stack.
    pub fn all_frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// The frames of a stack, innermost first.
    pub fn frames(&self, stack: &Stack) -> &[RawFrame] {
        &self.frames[stack.frames.clone()]
    }

    /// Of each of its frames, whether what it executes was proven when it was read.
    pub fn are_proven(&self, stack: &Stack) -> &[bool] {
        &self.are_proven[stack.frames.clone()]
    }

    /// Whether each of its frames but the outermost is one that the frame outside of it called; empty where nothing tells.
    pub fn links(&self, stack: &Stack) -> &[Link] {
        &self.links[stack.links.clone()]
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.gils.clear();
        self.stacks.clear();
        self.frames.clear();
        self.are_proven.clear();
        self.links.clear();
    }
}
