//! What a thread can be doing.

use serde::{Deserialize, Serialize};

use super::GilState;

/// What a thread was doing at the moment of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// Runs Python code, and so holds the GIL where there is one.
    RunsPython,
    /// Runs code that is not Python, called from Python, and may touch Python's objects: it holds the GIL where there is one.
    RunsNative,
    /// Runs code that is not Python, without the GIL.
    RunsDetached,
    /// Collects garbage, and holds the GIL where there is one.
    CollectsGarbage,
    /// Waits for the GIL.
    WaitsForGil,
    /// Waits for a lock, a condition, an event.
    WaitsForLock,
    /// Waits for a socket.
    WaitsForSocket,
    /// Waits for a pipe.
    WaitsForPipe,
    /// Waits for a file, a device, a terminal, or for memory to be read from one.
    WaitsForFile,
    /// Waits for one of several descriptors, or for an event.
    WaitsForPoll,
    /// Waits for a child process.
    WaitsForChild,
    /// Waits for time to pass, or for a signal.
    Sleeps,
    /// Waits until another thread lets all go on: free-threaded Python stops them for some collections of garbage.
    Suspended,
    /// Its OS thread runs in another interpreter.
    Elsewhere,
    /// Waits for something else in the kernel.
    Waits,
    /// Stopped, by a signal or by a debugger.
    Stopped,
    /// Not known.
    Unknown,
}

/// What a frame is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// One that calls. What the innermost frame has called is not Python.
    Call,
    /// One at which a thread lets go of the GIL because another one has asked for it, and not otherwise.
    Check,
    /// Another one, or not known.
    Other,
}

impl ThreadState {
    /// Every one of them.
    pub const ALL: [ThreadState; 17] = [
        ThreadState::RunsPython,
        ThreadState::RunsNative,
        ThreadState::RunsDetached,
        ThreadState::CollectsGarbage,
        ThreadState::WaitsForGil,
        ThreadState::WaitsForLock,
        ThreadState::WaitsForSocket,
        ThreadState::WaitsForPipe,
        ThreadState::WaitsForFile,
        ThreadState::WaitsForPoll,
        ThreadState::WaitsForChild,
        ThreadState::Sleeps,
        ThreadState::Suspended,
        ThreadState::Elsewhere,
        ThreadState::Waits,
        ThreadState::Stopped,
        ThreadState::Unknown,
    ];

    /// Whether it uses a processor, or is ready to.
    pub fn runs(self) -> bool {
        use ThreadState::{CollectsGarbage, RunsDetached, RunsNative, RunsPython};
        matches!(self, RunsPython | RunsNative | RunsDetached | CollectsGarbage)
    }

    /// Whether it is known to wait for something.
    pub fn waits(self) -> bool {
        !self.runs() && !matches!(self, ThreadState::Elsewhere | ThreadState::Stopped | ThreadState::Unknown)
    }

    /// Whether it is held up by other threads: waits for a lock, or for the world to go on.
    pub fn is_blocked(self) -> bool {
        matches!(self, ThreadState::WaitsForLock | ThreadState::Suspended)
    }

    /// What a running thread was doing, now that it is known what its innermost frame is at; `None` for a thread that has
    /// no frames.
    pub fn refined(self, gil: GilState, at: Option<Instruction>) -> ThreadState {
        match (self, gil, at) {
            (ThreadState::RunsPython, _, None | Some(Instruction::Call)) => ThreadState::RunsNative,
            // It has let go of it for another thread, and has yet to run to wait for it.
            (ThreadState::RunsDetached, GilState::NotHeld, Some(Instruction::Check)) => ThreadState::WaitsForGil,
            (state, ..) => state,
        }
    }

    /// In words.
    pub fn text(self, gil: GilState) -> &'static str {
        let is_free = gil == GilState::None;
        match self {
            ThreadState::RunsPython => "runs Python",
            ThreadState::RunsNative => "runs native code",
            ThreadState::RunsDetached if is_free => "runs native code, detached",
            ThreadState::RunsDetached => "runs without the GIL",
            ThreadState::CollectsGarbage => "collects garbage",
            ThreadState::WaitsForGil => "waits for the GIL",
            ThreadState::WaitsForLock => "waits for a lock",
            ThreadState::WaitsForSocket => "waits for a socket",
            ThreadState::WaitsForPipe => "waits for a pipe",
            ThreadState::WaitsForFile => "waits for a file",
            ThreadState::WaitsForPoll => "waits for events",
            ThreadState::WaitsForChild => "waits for a child process",
            ThreadState::Sleeps => "sleeps",
            ThreadState::Suspended => "suspended: the world is stopped",
            ThreadState::Elsewhere => "its OS thread runs in another interpreter",
            ThreadState::Waits => "waits in the kernel",
            ThreadState::Stopped => "stopped",
            ThreadState::Unknown => "state unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_where_a_gil_is_let_go_of_for_others_only_waits_for_it() {
        let at = |state: ThreadState, gil, instruction| state.refined(gil, Some(instruction));
        let (runs, waits) = (ThreadState::RunsDetached, ThreadState::WaitsForGil);
        assert_eq!(at(runs, GilState::NotHeld, Instruction::Check), waits);
        assert_eq!(at(runs, GilState::NotHeld, Instruction::Call), runs);
        assert_eq!(at(runs, GilState::NotHeld, Instruction::Other), runs);
        assert_eq!(at(runs, GilState::None, Instruction::Check), runs, "there is no GIL");
        assert_eq!(at(ThreadState::RunsPython, GilState::Held, Instruction::Check), ThreadState::RunsPython);
        assert_eq!(runs.refined(GilState::NotHeld, None), runs);
    }

    #[test]
    fn a_call_out_of_python_is_native_code() {
        assert_eq!(ThreadState::RunsPython.refined(GilState::Held, Some(Instruction::Call)), ThreadState::RunsNative);
        assert_eq!(ThreadState::RunsPython.refined(GilState::Held, None), ThreadState::RunsNative);
        assert_eq!(ThreadState::RunsPython.refined(GilState::Held, Some(Instruction::Other)), ThreadState::RunsPython);
        assert_eq!(ThreadState::Sleeps.refined(GilState::NotHeld, Some(Instruction::Call)), ThreadState::Sleeps);
    }

    #[test]
    fn all_are_all() {
        for (index, state) in ThreadState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
        assert_eq!(ThreadState::ALL.len(), ThreadState::Unknown as usize + 1);
    }
}
