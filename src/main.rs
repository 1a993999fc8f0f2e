//! The program: exit codes, and errors with their hints on standard error. All else is in `cli` (what was typed),
//! `plan` (what it means) and `run` (doing it).

mod cli;
mod plan;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use pysample::error::Error;
use pysample::printable::printable;

use crate::cli::Refusal;
use crate::plan::Plan;
use crate::run::Exit;

/// What was typed cannot be.
const USAGE: u8 = 2;
/// `check` found that something takes more than it may.
const GREW: u8 = 1;
/// Interrupted before any sample: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let typed = match cli::parse(std::env::args_os()) {
        Ok(typed) => typed,
        Err(refusal) => return refuse(refusal),
    };
    ExitCode::from(match Plan::new(typed).and_then(run::run) {
        Ok(Exit::Done) => 0,
        Ok(Exit::Grew) => GREW,
        Ok(Exit::Interrupted) => INTERRUPTED,
        Ok(Exit::Command(status) | Exit::Verdict(status)) => status,
        Err(error) => {
            complain(&error);
            exit_code(&error)
        }
    })
}

fn refuse(refusal: Refusal) -> ExitCode {
    match refusal {
        Refusal::Asked(text) => {
            let _ = text.print();
            ExitCode::SUCCESS
        }
        Refusal::Nothing(help) => {
            let _ = help.print();
            ExitCode::from(USAGE)
        }
        Refusal::Complaint(complaint) => {
            say(&complaint.what, Some(&complaint.hint));
            ExitCode::from(USAGE)
        }
    }
}

/// Tells what went wrong.
fn complain(error: &Error) {
    say(&error.to_string(), run::hint(error).as_deref());
}

/// What went wrong, and what mends it, each in one line. Both may quote what a target or a user chose to be called.
fn say(what: &str, hint: Option<&str>) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "pysample: error: {}", printable(what));
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "  hint: {}", printable(hint));
    }
}

/// What the exit status says about what went wrong.
fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage { .. } => USAGE,
        Error::NoSuchProcess { .. } | Error::ThreadOf { .. } | Error::Zombie { .. } | Error::Ended { .. } => 3,
        Error::NotPython { .. } | Error::PythonBelow { .. } => 4,
        Error::NotPermitted { .. } => 5,
        Error::Unsupported { .. } | Error::Unrecognised { .. } => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_tells_what_went_wrong() {
        let (version, why) = (String::new, String::new);
        for (error, status) in [
            (Error::Usage { what: why(), hint: None }, 2),
            (Error::NoSuchProcess { pid: 1 }, 3),
            (Error::ThreadOf { tid: 2, pid: 1 }, 3),
            (Error::Zombie { pid: 1 }, 3),
            (Error::Ended { pid: 1 }, 3),
            (Error::NotPython { pid: 1, why: why() }, 4),
            (Error::PythonBelow { pid: 1, why: why(), descendants: vec![(2, why())] }, 4),
            (Error::NotPermitted { pid: 1, rule: why(), hint: why() }, 5),
            (Error::Unsupported { pid: 1, version: version() }, 6),
            (Error::Unrecognised { pid: 1, version: version(), why: why() }, 6),
            (Error::Output { path: "x".into(), source: io::ErrorKind::StorageFull.into() }, 1),
            (Error::Spawn { program: why(), source: io::ErrorKind::NotFound.into() }, 1),
        ] {
            assert_eq!(exit_code(&error), status, "{error}");
        }
    }
}
