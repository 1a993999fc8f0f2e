//! What ends a run: each error says what was tried and what the answer was, and carries a hint that mends it.
//!
//! Failing reads of a living target are no errors in this sense; they are counted (see [`crate::sample::Tally`]).

use std::io;
use std::path::PathBuf;

use python_offsets::{NEWEST_MINOR, OLDEST_MINOR};
use thiserror::Error;

/// Why a run cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// A value on the command line that cannot be.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// No process has the id.
    #[error("there is no process {pid}")]
    NoSuchProcess {
        /// The id.
        pid: u32,
    },
    /// The id is that of a thread that is not its process's first.
    #[error("{tid} is no process but a thread of process {pid}")]
    ThreadOf {
        /// The id.
        tid: u32,
        /// The process.
        pid: u32,
    },
    /// There is no `/proc`, from which all is read.
    #[error("no process is to be seen here: /proc is not mounted")]
    NoProc,
    /// `/proc` numbers processes otherwise than the kernel does for us: an id that is read there is somebody else's.
    #[error("/proc is of another PID namespace than pysample: an id in it means another process here")]
    ForeignProc,
    /// The process has ended, but its parent has not yet asked how.
    #[error("process {pid} is a zombie: it has ended and only its exit status is left")]
    Zombie {
        /// The id.
        pid: u32,
    },
    /// The process ended while it was being looked at.
    #[error("process {pid} ended before it could be read")]
    Ended {
        /// The id.
        pid: u32,
    },
    /// No CPython is mapped in the process.
    #[error("process {pid} is not a Python process: {why}")]
    NotPython {
        /// The id.
        pid: u32,
        /// What was looked for, or what the process is instead.
        why: String,
    },
    /// No CPython is mapped in the process, but in some of its descendants.
    #[error("process {pid} is not a Python process: {why}")]
    PythonBelow {
        /// The id.
        pid: u32,
        /// What the process is instead.
        why: String,
        /// Descendants that are Python: their ids, and what they are called.
        descendants: Vec<(u32, String)>,
    },
    /// The kernel refuses to let us read.
    #[error("not permitted to read the memory of process {pid}: {rule}")]
    NotPermitted {
        /// The id.
        pid: u32,
        /// The rule that refused.
        rule: String,
        /// The command that mends it.
        hint: String,
    },
    /// A Python whose version is out of range.
    #[error(
        "process {pid} runs Python {version}, which is not supported yet (supported: 3.{OLDEST_MINOR} to 3.{NEWEST_MINOR})"
    )]
    Unsupported {
        /// The id.
        pid: u32,
        /// The version as far as it is known.
        version: String,
    },
    /// A Python of a version in range whose memory is not as expected.
    #[error("process {pid} runs Python {version}, but its memory does not look as that version's should: {why}")]
    Unrecognised {
        /// The id.
        pid: u32,
        /// The version as far as it is known.
        version: String,
        /// The check that failed.
        why: String,
    },
    /// A Python that has not finished starting, or has begun to end.
    #[error("the Python of process {pid} is not running yet or no longer: {why}")]
    NotRunning {
        /// The id.
        pid: u32,
        /// The check that failed.
        why: String,
    },
    /// The command could not be started.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// What was to be run.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The output file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A recording cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, of kind `Unsupported` where it is nothing that can be read, or the kernel's answer.
        source: io::Error,
    },
    /// A recorded memory image cannot be used.
    #[error("cannot read the memory image {}: {why}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else that the kernel refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// No thread of ours can be started.
    pub fn no_thread(source: io::Error) -> Error {
        Error::Io { what: "cannot start a thread".into(), source }
    }

    /// What the user can do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { hint, .. } => hint.clone(),
            Error::NotPermitted { hint, .. } => Some(hint.clone()),
            Error::NoSuchProcess { .. } | Error::NotPython { .. } => {
                Some("`pysample ps` lists the Python processes".into())
            }
            Error::ThreadOf { tid, pid } => {
                Some(format!("--pid {pid} for the process; with --thread {tid}, that thread of it"))
            }
            Error::NoProc => Some("as root: mount -t proc proc /proc".into()),
            Error::ForeignProc => Some(
                "stay in the PID namespace of /proc (no `-p`), or enter both: `nsenter -t PID -p -m`, \
                 `unshare --pid --fork --mount-proc`"
                    .into(),
            ),
            Error::PythonBelow { descendants, .. } => Some(below(descendants)),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock => Some(
                "a limit of processes and threads is reached: `pids.max` of the control group, or `ulimit -u`".into(),
            ),
            Error::Output { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem => Some(
                    "`-o -` writes to standard output, as in `kubectl exec POD -- pysample record ... -o - > FILE`"
                        .into(),
                ),
                io::ErrorKind::ResourceBusy => Some("give each recording a file of its own".into()),
                _ => None,
            },
            Error::Recording { source, .. } if source.kind() == io::ErrorKind::Unsupported => {
                Some("a recording is a .pysample file, or collapsed stacks: main (app.py:3);work (app.py:7) 42".into())
            }
            _ => None,
        }
    }
}

/// What to do about a process some descendants of which are Python.
fn below(descendants: &[(u32, String)]) -> String {
    /// So many are named.
    const NAMED: usize = 5;
    let named = descendants.iter().take(NAMED).map(|(pid, program)| format!("{pid} ({program})"));
    let more = match descendants.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (named, first) = (named.collect::<Vec<_>>().join(", "), descendants.first().map_or(0, |(pid, _)| *pid));
    match descendants.len() {
        1 => format!("its descendant {named} is: --pid {first}, or -s for the whole family"),
        _ => format!("its descendants {named}{more} are: --pid {first} for one, -s for all"),
    }
}

/// A result whose error ends the run.
pub type Result<T> = std::result::Result<T, Error>;
