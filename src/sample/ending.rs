//! Why a recording is over.

use serde::{Deserialize, Serialize};

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was as long as asked.
    Duration,
    /// The user, or a signal.
    Stopped,
    /// The target ended.
    TargetExited,
    /// The target ended, and all of its descendants that ran Python.
    FamilyEnded,
    /// The target became another program, which is not Python.
    TargetReplaced,
    /// The target may not be read any more: it became another program, or another user's.
    TargetForbidden,
    /// There never was a Python to record.
    NeverPython,
}
