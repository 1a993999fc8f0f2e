//! Who holds the GIL of an interpreter.

use std::time::Duration;

use python_offsets::{GcCollecting, GilPlace, Offsets};

use crate::memory::{Addr, Fields, Memory, MemoryError};

/// What the words of a GIL say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The thread state at this address holds it.
    Thread(Addr),
    /// Nobody does.
    Nobody,
    /// It is not in use: a free-threaded build.
    Disabled,
    /// They could not be read, or are not what they can be.
    Unknown,
}

/// Where the GIL of an interpreter is. It stays there for the life of the interpreter; interpreters may share one.
pub fn locate(memory: &dyn Memory, offsets: &Offsets, runtime: Addr, interpreter: Addr) -> Result<Addr, MemoryError> {
    match offsets.gil.place {
        GilPlace::Runtime(at) => Ok(runtime.offset(at)),
        GilPlace::InterpreterPointer(at) => memory.read_addr(interpreter.offset(at)),
    }
}

/// Where it says whether an interpreter collects garbage: a C `int`, non-zero while it does.
pub fn collecting(offsets: &Offsets, runtime: Addr, interpreter: Addr) -> Addr {
    match offsets.interpreter.gc_collecting {
        GcCollecting::Runtime(at) => runtime.offset(at),
        GcCollecting::Interpreter(at) => interpreter.offset(at),
    }
}

/// Whether a word is one of those that threads wait at for a GIL.
pub fn is_within(offsets: &Offsets, gil: Addr, word: Addr) -> bool {
    word.since(gil).is_some_and(|at| at < offsets.gil.size)
}

/// After how long a thread that runs Python lets go of a GIL that others wait for, from a copy of its first bytes:
/// `sys.getswitchinterval()`.
pub fn interval(offsets: &Offsets, gil: &[u8]) -> Option<Duration> {
    gil.u64_at(offsets.gil.last_holder.checked_sub(8)?).map(Duration::from_micros)
}

/// How many bytes of a GIL [`holder`] and [`Passed::read`] need.
pub fn size(offsets: &Offsets) -> usize {
    (offsets.gil.last_holder + 8).max(offsets.gil.locked + 4).max(offsets.gil.switch_number + 8)
}

/// How often a GIL has passed from one thread to another, and to whom at last: since then nobody else had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Who has it, or had it last. May have ended.
    pub to: Addr,
    times: u64,
}

impl Passed {
    /// How often.
    pub fn times(self) -> u64 {
        self.times
    }

    /// From a copy of the GIL's first bytes; `None` where there is no GIL.
    pub fn read(offsets: &Offsets, gil: &[u8]) -> Option<Passed> {
        match holder(offsets, gil) {
            Holder::Disabled | Holder::Unknown => None,
            Holder::Thread(_) | Holder::Nobody => Some(Passed {
                to: gil.addr_at(offsets.gil.last_holder)?,
                times: gil.u64_at(offsets.gil.switch_number)?,
            }),
        }
    }
}

/// The holder, from a copy of the GIL's first bytes.
pub fn holder(offsets: &Offsets, gil: &[u8]) -> Holder {
    let shape = &offsets.gil;
    if shape.enabled.is_some_and(|at| gil.i32_at(at) == Some(0)) {
        return Holder::Disabled;
    }
    match (gil.i32_at(shape.locked), gil.addr_at(shape.last_holder)) {
        (Some(1), Some(holder)) if !holder.is_null() => Holder::Thread(holder),
        (Some(0 | -1), Some(_)) => Holder::Nobody,
        _ => Holder::Unknown,
    }
}

/// How a thread of a free-threaded build is tied to its interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// It may run Python.
    Attached,
    /// It may not: it runs C, or waits.
    Detached,
    /// It may not, for somebody has stopped all others.
    Suspended,
}

impl Attachment {
    /// From `PyThreadState.state`; `None` for one that is not known.
    pub fn of(state: i32) -> Option<Attachment> {
        match state {
            0 => Some(Attachment::Detached),
            1 => Some(Attachment::Attached),
            // 3: for good, as the interpreter is being finalized; 4 and 5 since 3.15, while they wait.
            2..=4 => Some(Attachment::Suspended),
            5 => Some(Attachment::Detached),
            _ => None,
        }
    }
}
