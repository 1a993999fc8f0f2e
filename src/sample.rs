//! What a sample is made of: plain data, shared by everything right of the sampler.
//!
//! Two shapes carry the same facts. A [`Snapshot`] is one moment spelled out, for `dump`. A stream of [`Event`]s is a
//! recording: names, frames and stacks are defined once and then spoken of by id, so that a sample is a few words.

mod ending;
mod files;
mod mixing;
mod process;
mod replay;
mod state;
mod stops;
mod weight;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ending::Ending;
pub use files::short_file;
pub use mixing::Mixing;
pub use process::{Lost, Process, Processes, program_of};
pub use replay::{Header, Literal, Replay};
pub use state::{Instruction, ThreadState};
pub use stops::{Stopped, Stops};
pub use weight::Weight;

/// An OS thread id (`gettid`) as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tid(pub u32);

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The id as an index into a table that holds one entry for each id, in order.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A code object of the target, as defined by [`Event::Code`]. Ids count up from 0.
    CodeId,
    /// A line of a code object, as defined by [`Event::Frame`]. Ids count up from 0.
    FrameId,
    /// A stack, as defined by [`Event::Stack`]: its innermost frame and the stack of its caller. Ids count up from 0.
    StackId,
    /// A Python thread, as defined by [`Event::Thread`]. Ids count up from 0.
    ThreadId,
    /// A process, as defined by [`Event::Process`]. Ids count up from 0.
    ProcessId
}

/// Defines an entry of a dense table, or replaces it.
///
/// An id beyond the table's end would mean that a definition was lost. Nothing is made up for it: whatever refers to it
/// finds nothing.
pub(crate) fn define<T>(table: &mut Vec<T>, index: usize, value: T) {
    if index == table.len() {
        table.push(value);
    } else if let Some(entry) = table.get_mut(index) {
        *entry = value;
    }
}

/// A code object: a function, a class body, a module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// `co_qualname` from Python 3.11 on, else `co_name`.
    pub function: Arc<str>,
    /// `co_filename`, as the target spells it.
    pub file: Arc<str>,
    /// `co_firstlineno`.
    pub first_line: u32,
}

/// A place in a code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The code object.
    pub code: CodeId,
    /// The line, where the code object tells one for the instruction.
    pub line: Option<u32>,
}

/// A thread of one interpreter. An OS thread that runs code in two interpreters is two of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub process: ProcessId,
    /// `PyInterpreterState.id`: 0 for the main interpreter.
    pub interpreter: i64,
    /// The OS thread, where it is known.
    pub os_thread_id: Option<Tid>,
    /// `threading.get_ident()`.
    pub python_thread_id: u64,
    /// `threading.Thread.name`; `None` where Python knows no such thread.
    pub name: Option<Arc<str>>,
}

/// What a thread has to do with the GIL of its interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GilState {
    /// Holds it.
    Held,
    /// Does not hold it.
    NotHeld,
    /// The interpreter runs without a GIL (free-threaded build).
    None,
    /// Not known.
    Unknown,
}

impl GilState {
    /// Every one of them.
    pub const ALL: [GilState; 4] = [GilState::Held, GilState::NotHeld, GilState::None, GilState::Unknown];

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            GilState::Held => "held",
            GilState::NotHeld => "not held",
            GilState::None => "none",
            GilState::Unknown => "unknown",
        }
    }
}

/// One thread at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since the recording began.
    pub at: Duration,
    /// Whose stack it is.
    pub thread: ThreadId,
    /// What the thread did.
    pub state: ThreadState,
    /// Whether it held the GIL.
    pub gil: GilState,
    /// Its stack; `None` for a thread without Python frames.
    pub stack: Option<StackId>,
    /// For how much of the time the moment stands.
    pub weight: Weight,
}

/// Who held the GIL of an interpreter at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilSample {
    /// Since the recording began.
    pub at: Duration,
    /// Whose.
    pub process: ProcessId,
    /// `PyInterpreterState.id`.
    pub interpreter: i64,
    /// The first of the interpreters that share this GIL.
    pub owner: i64,
    /// Who held it.
    pub holder: GilHeld,
    /// How often it had passed from one thread to another since the target began.
    pub switches: Option<u64>,
    /// After how long a thread that runs Python lets go of it if others wait: `sys.getswitchinterval()`.
    pub interval: Option<Duration>,
    /// Whether garbage was being collected in the interpreter.
    pub is_collecting: bool,
    /// What its holder could do about it, where that was asked for. Recordings do not keep it.
    pub holding: Option<Holding>,
    /// For how much of the time the moment stands.
    pub weight: Weight,
}

/// Whether a thread that holds a GIL was asked to let go of it, and had a processor to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Whether another one is known to have asked, as it does when it has waited for the switch interval.
    pub is_asked: bool,
    /// For how long the holder has been on a processor since it began.
    pub ran: Duration,
    /// For how long it has been ready for one and had none, this time excluded if it has none now.
    pub queued: Duration,
}

/// Who held a GIL at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GilHeld {
    /// A thread.
    By(ThreadId),
    /// A thread that is not known.
    BySomeone,
    /// Nobody.
    Free,
    /// There is no GIL: a free-threaded build.
    None,
    /// Not known.
    Unknown,
}

/// What the sampler tells. An id is defined before it is first used, and ids are dense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Defines a process, or tells what it has become: a program may execute another one.
    Process(ProcessId, Process),
    /// Defines a code object.
    Code(CodeId, Code),
    /// Defines a frame.
    Frame(FrameId, Frame),
    /// Defines a stack: `frame` called by the stack `caller` (`None` for an outermost frame).
    Stack {
        /// The id defined.
        id: StackId,
        /// The stack without its innermost frame.
        caller: Option<StackId>,
        /// The innermost frame.
        frame: FrameId,
    },
    /// Defines a thread, or tells its new name.
    Thread(ThreadId, Thread),
    /// What the `sys.path` of a process is, from which it imports; sent at the beginning and when it has changed.
    SearchPath(Vec<String>),
    /// Who held a GIL at a moment; sent before the samples of that moment, for each interpreter, if it was asked for.
    Gil(GilSample),
    /// One thread of one sample.
    Sample(Sample),
    /// How far the recording is; sent a few times a second and once at the end.
    Progress(Duration, Tally),
    /// Something about the recording that the user should know now. Each is sent once at most.
    Remark(Remark),
}

/// Which threads a recording is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Those that run.
    Running,
    /// All.
    All,
    /// Those that hold a GIL.
    Holders,
    /// All, but only of those that hold a GIL or seem to want it the stacks.
    Contenders,
}

impl Wanted {
    /// Whether a thread is wanted that does this, as far as that tells.
    pub fn wants(self, state: ThreadState) -> bool {
        self != Wanted::Running || state.runs() || state == ThreadState::Unknown
    }
}

/// Something about a recording that the user should know while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remark {
    /// The kernel does not let us stop threads (another tracer, a filter): from now on none is.
    CannotPause,
    /// Samples are taken less often than was asked, so as not to stop the target for more of its time than allowed.
    Stretched,
    /// Samples are taken less often than was asked, so as not to use more processor time than allowed.
    Spared,
}

/// Why a thread could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It changed while it was being read.
    Torn,
    /// Memory that it points to is not mapped.
    Unmapped,
    /// What was read cannot be what CPython keeps there.
    Invalid,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::Torn => "changed while being read",
            Unreadable::Unmapped => "memory not mapped",
            Unreadable::Invalid => "not valid",
        })
    }
}

/// The account of a recording. Everything asked is either taken, late, stretched, spared or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Moments at which a sample was due.
    pub asked: u64,
    /// Moments at which one was taken.
    pub taken: u64,
    /// Moments that passed while the sampler was still busy; no sample was taken for them.
    pub late: u64,
    /// Moments at which nothing of the interpreter could be read.
    pub failed: u64,
    /// Thread stacks that were taken and then lost because the receiver did not keep up.
    pub dropped: u64,
    /// Thread stacks left out because they changed while they were being read.
    pub torn: u64,
    /// Thread stacks left out because memory was not mapped.
    pub unmapped: u64,
    /// Thread stacks left out because what was read was not valid.
    pub invalid: u64,
    /// Thread stacks cut because they were too deep to copy.
    pub truncated: u64,
    /// System calls made to read the target's memory.
    pub reads: u64,
    /// Moments for which no sample was taken so as not to stop the target for more of its time than allowed.
    pub stretched: u64,
    /// Moments for which no sample was taken so as not to use more processor time than allowed.
    pub spared: u64,
    /// For how many of the moments asked those taken stand: for themselves, and for what was left out before them.
    pub stood_for: u64,
    /// For how long threads of the target were stopped.
    pub stopped: Stopped,
    /// How far stacks can be mixtures of moments.
    pub mixing: Mixing,
    /// Processor time, user's and system's, that all threads of this process have used since the recording began. To
    /// find Python in the target came before, and what is done with the recording after its end is not in it either.
    pub own_cpu: Duration,
}

impl Tally {
    /// Adds another account. Where both are of this process at the same time, the processor time is in each of them already.
    pub fn add(&mut self, other: &Tally) {
        // Every field by its name: a new one is not to be forgotten here.
        let Tally {
            asked,
            taken,
            late,
            failed,
            dropped,
            torn,
            unmapped,
            invalid,
            truncated,
            reads,
            stretched,
            spared,
            stood_for,
            ref stopped,
            ref mixing,
            own_cpu,
        } = *other;
        // Of two accounts one may be of a recording that does not tell.
        self.stood_for = match (self.stood_for, stood_for) {
            (0, 0) => 0,
            _ => self.slots() + other.slots(),
        };
        self.asked += asked;
        self.taken += taken;
        self.late += late;
        self.failed += failed;
        self.dropped += dropped;
        self.torn += torn;
        self.unmapped += unmapped;
        self.invalid += invalid;
        self.truncated += truncated;
        self.reads += reads;
        self.stretched += stretched;
        self.spared += spared;
        self.stopped.add(stopped);
        self.mixing.add(mixing);
        self.own_cpu += own_cpu;
    }

    /// What a part of the time has of it, were everything spread evenly. What is the longest and the median stays.
    pub fn part(&self, share: f64) -> Tally {
        let part = |number: u64| (number as f64 * share).round() as u64;
        let Tally {
            asked,
            taken,
            late,
            failed,
            dropped,
            torn,
            unmapped,
            invalid,
            truncated,
            reads,
            stretched,
            spared,
            stood_for,
            stopped: Stopped { count, total, median, longest },
            mixing: Mixing { kept, found, proved, open, doubtful },
            own_cpu,
        } = *self;
        Tally {
            // Everything asked became something, of the part as of the whole.
            asked: match asked == taken + late + failed + stretched + spared {
                true => [taken, late, failed, stretched, spared].map(part).iter().sum(),
                false => part(asked),
            },
            taken: part(taken),
            late: part(late),
            failed: part(failed),
            dropped: part(dropped),
            torn: part(torn),
            unmapped: part(unmapped),
            invalid: part(invalid),
            truncated: part(truncated),
            reads: part(reads),
            stretched: part(stretched),
            spared: part(spared),
            stood_for: part(stood_for),
            stopped: Stopped { count: part(count), total: total.mul_f64(share), median, longest },
            mixing: Mixing {
                kept: part(kept),
                found: part(found),
                proved: part(proved),
                open: part(open),
                doubtful: part(doubtful),
            },
            own_cpu: own_cpu.mul_f64(share),
        }
    }

    /// The moments taken, each as often as it says: what sums of weights are to be compared with.
    pub fn slots(&self) -> u64 {
        // Recordings of the first versions do not tell; all of theirs stand for themselves.
        self.stood_for.max(self.taken)
    }

    /// How many of the moments asked for each slot stands for that was not left out on purpose: 1 where weights say for what
    /// was left out, or none was.
    ///
    /// Weights do not say it in recordings of the first versions. What was late or failed is in no case made up for: it
    /// was not seen, and nothing tells that it was like what was. Nor is what was dropped.
    pub fn moments_for_each(&self) -> f64 {
        if self.stood_for > 0 {
            return 1.0;
        }
        let kept = self.asked.saturating_sub(self.stretched).saturating_sub(self.spared);
        if kept > 0 { self.asked as f64 / kept as f64 } else { 1.0 }
    }

    /// Counts a thread that could not be read.
    pub fn unreadable(&mut self, reason: Unreadable) {
        match reason {
            Unreadable::Torn => self.torn += 1,
            Unreadable::Unmapped => self.unmapped += 1,
            Unreadable::Invalid => self.invalid += 1,
        }
    }

    /// Thread stacks left out, for whatever reason, and moments at which nothing could be read.
    pub fn errors(&self) -> u64 {
        self.torn + self.unmapped + self.invalid + self.failed
    }
}

/// Every interpreter of a process at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The main interpreter first, then in order of creation.
    pub interpreters: Vec<InterpreterSnapshot>,
}

/// One interpreter at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterpreterSnapshot {
    /// `PyInterpreterState.id`: 0 for the main interpreter.
    pub id: i64,
    /// Who holds its GIL.
    pub gil: GilHolder,
    /// In order of creation.
    pub threads: Vec<ThreadSnapshot>,
}

/// Who holds a GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GilHolder {
    /// A thread of this interpreter, or of another one that shares the GIL.
    Held {
        /// The holder's OS thread id, where it is known.
        os_thread_id: Option<Tid>,
    },
    /// Nobody.
    Free,
    /// There is no GIL: a free-threaded build.
    None,
    /// Not known.
    Unknown,
}

/// One thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadSnapshot {
    /// `threading.Thread.name`; `None` where Python knows no such thread.
    pub name: Option<Arc<str>>,
    /// The OS thread id, where it is known.
    pub os_thread_id: Option<Tid>,
    /// `threading.get_ident()`.
    pub python_thread_id: u64,
    /// What it was doing.
    pub state: ThreadState,
    /// For how long it has been off the processor, where it waits and that is known.
    pub off_for: Option<Duration>,
    /// Whether it holds the GIL.
    pub gil: GilState,
    /// Innermost first. Empty for a thread without Python frames.
    pub frames: Vec<FrameSnapshot>,
    /// Why `frames` is not the whole stack, if it is not.
    pub incomplete: Option<Incomplete>,
}

/// Why a stack is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// Too deep to copy: the outermost frames are missing.
    Truncated,
    /// Could not be read.
    Unreadable(Unreadable),
}

/// One frame of a [`ThreadSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameSnapshot {
    /// `co_qualname` from Python 3.11 on, else `co_name`.
    pub function: Arc<str>,
    /// `co_filename`.
    pub file: Arc<str>,
    /// The line, where the code object tells one for the instruction.
    pub line: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_accounts_leave_out_is_left_out_of_both_together() {
        let (second, cpu) = (Duration::from_secs(1), Duration::from_millis(5));
        let tally =
            Tally { asked: 9, taken: 2, late: 1, failed: 1, stretched: 2, spared: 3, own_cpu: cpu, ..Tally::default() };
        let mut sum = Tally { stopped: Stopped { count: 1, total: second, ..Stopped::default() }, ..tally };
        sum.add(&tally);
        assert_eq!(sum.asked, sum.taken + sum.late + sum.failed + sum.stretched + sum.spared);
        assert_eq!((sum.spared, sum.stopped.count, sum.own_cpu), (6, 1, 2 * cpu));
    }

    #[test]
    fn an_account_that_does_not_tell_weights_may_be_added_to_one_that_does() {
        let old = Tally { asked: 1000, taken: 1000, ..Tally::default() };
        let new = Tally { asked: 1000, taken: 100, spared: 900, stood_for: 1000, ..Tally::default() };
        for (mut sum, other) in [(old, new), (new, old)] {
            sum.add(&other);
            assert_eq!((sum.taken, sum.slots(), sum.moments_for_each()), (1100, 2000, 1.0));
        }
        let mut sum = old;
        sum.add(&old);
        assert_eq!((sum.slots(), sum.stood_for), (2000, 0));
    }

    #[test]
    fn what_no_moment_stands_for_at_the_end_does_not_stretch_those_before() {
        let tally = Tally { asked: 100, taken: 1, stretched: 99, stood_for: 1, ..Tally::default() };
        assert_eq!(tally.moments_for_each(), 1.0);
    }
}
