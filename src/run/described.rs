//! What is recorded, in words: for the account, for the title of a picture, for the name of a file.

use std::path::PathBuf;
use std::time::SystemTime;

use pysample::python::Interpreter;
use pysample::sample::program_of;
use pysample::target::{Target, command_line};
use pysample::view::dump::{Process, Python};

use crate::plan::Format;

/// What is recorded, in words.
pub struct Described {
    /// What a person would call the program.
    pub program: String,
    process: Process,
    is_python: bool,
}

impl Described {
    /// What a target is.
    pub fn new(target: &Target, interpreter: &Interpreter) -> Described {
        Described {
            program: program_of(target.command()),
            process: super::process(target, interpreter),
            is_python: true,
        }
    }

    /// A process that need not run Python.
    pub fn root(pid: u32) -> Described {
        let command = command_line(pid);
        let python = Python { version: String::new(), build: String::new(), found: String::new() };
        let process = Process { pid, pid_inside: None, command: command.clone(), python };
        Described { program: program_of(&command), process, is_python: false }
    }

    /// A program that was never seen running Python.
    pub fn unseen(program: &str, pid: u32) -> Described {
        let python = Python { version: String::new(), build: String::new(), found: String::new() };
        let process = Process { pid, pid_inside: None, command: vec![program.into()], python };
        Described { program: program.into(), process, is_python: false }
    }

    /// As `app.py (pid 4242) · Python 3.11.7`, or `app.py (pid 4242, 7 inside) · Python 3.11.7` for a process in another PID
    /// namespace.
    pub fn to_text(&self) -> String {
        let Described { program, process: Process { pid, pid_inside, python, .. }, is_python } = self;
        let inside = pid_inside.map(|pid| format!(", {pid} inside")).unwrap_or_default();
        match is_python {
            true => format!("{program} (pid {pid}{inside}) · Python {}", python.version),
            false => format!("{program} (pid {pid}{inside})"),
        }
    }

    /// As it is told to programs.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// A name that says what was recorded and when (UTC), and that no shell needs quotes for.
pub fn file_name(program: &str, pid: u32, now: SystemTime, format: Format) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let program: String = program.chars().take(60).map(plain).collect();
    let program = program.trim_start_matches(['-', '.']);
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(':', "-");
    format!("{program}-{pid}-{time}.{}", format.ending()).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_named_after_program_process_and_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(file_name("app.py", 42, now, Format::Flamegraph), Path::new("app.py-42-2023-11-14T22-13-20Z.svg"));
        assert_eq!(file_name("x", 1, now, Format::Collapsed), Path::new("x-1-2023-11-14T22-13-20Z.txt"));
    }

    #[test]
    fn a_hostile_program_makes_a_harmless_file_name() {
        let now = SystemTime::UNIX_EPOCH;
        let name = file_name("-../../\x1b[31m;rm \u{e9}", 1, now, Format::Collapsed);
        assert_eq!(name, Path::new("_..___31m_rm__-1-1970-01-01T00-00-00Z.txt"));
        assert!(file_name(&"x".repeat(1000), 1, now, Format::Collapsed).as_os_str().len() < 100);
    }
}
