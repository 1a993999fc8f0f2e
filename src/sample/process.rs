//! Whose samples they are: a recording may be of several processes.

use serde::{Deserialize, Serialize};

use super::ProcessId;

/// A process that was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id as we see it.
    pub pid: u32,
    /// Its id as it sees it itself, in its own PID namespace.
    pub own_pid: u32,
    /// The process it was found as a descendant of, if that is in the recording, too.
    pub parent: Option<ProcessId>,
    /// Its command line, one string an argument.
    pub command: Vec<String>,
    /// The version of its Python, such as `3.11.7`.
    pub python: String,
}
