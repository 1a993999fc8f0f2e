//! Whose samples they are: a recording may be of several processes.

use std::time::Duration;

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

impl Process {
    /// What a person would call its program: the script or the module that Python runs, else the program's file.
    pub fn program(&self) -> String {
        program_of(&self.command)
    }
}

/// The processes of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// How many were sampled.
    pub sampled: usize,
    /// For how long each was, added up.
    pub time: Duration,
    /// Python processes, or such as may be, that could not be sampled: the first of them.
    pub lost: Vec<Lost>,
    /// How many of these there were.
    pub lost_count: usize,
    /// What the user should know before trusting what was read.
    pub warnings: Vec<String>,
    /// Processes that ended before it was known whether they run Python.
    pub missed: u64,
}

/// Why a Python process is not in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its id.
    pub pid: u32,
    /// Why.
    pub why: String,
}

impl Processes {
    /// Those of a recording that is read, where there are several: each was asked for `rate` samples a second while it was
    /// recorded. Which could not be sampled is not kept.
    pub fn of_recording(count: usize, asked: u64, rate: f64) -> Option<Processes> {
        let time = Duration::try_from_secs_f64(asked as f64 / rate).unwrap_or_default();
        (count > 1).then(|| Processes { sampled: count, time, ..Processes::default() })
    }

    /// Takes back what was told of one that could not be sampled: it can.
    pub fn find(&mut self, lost: &Lost) {
        self.lost_count = self.lost_count.saturating_sub(1);
        if let Some(at) = self.lost.iter().rposition(|told| told == lost) {
            self.lost.remove(at);
        }
    }

    /// Counts one that could not be sampled.
    pub fn lose(&mut self, lost: Lost) {
        /// So many are named.
        const NAMED: usize = 20;
        self.lost_count += 1;
        if self.lost.len() < NAMED {
            self.lost.push(lost);
        }
    }
}

/// What a person would call a program: the script or the module that Python runs, else the program's file.
pub fn program_of(command: &[String]) -> String {
    let file = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    let Some(program) = command.first().map(file) else { return "unknown".into() };
    if !program.starts_with("python") {
        return program;
    }
    match &command[1..] {
        [flag, module, ..] if flag == "-m" => module.clone(),
        [script, ..] if !script.starts_with('-') => file(script),
        _ => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &[&str]) -> String {
        program_of(&command.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_told_of_one_that_could_be_sampled_later_is_taken_back() {
        let lost = |pid| Lost { pid, why: "it starts".into() };
        let mut processes = Processes::default();
        (0..30).for_each(|pid| processes.lose(lost(pid)));
        processes.find(&lost(7));
        processes.find(&lost(29));
        assert_eq!((processes.lost_count, processes.lost.len()), (28, 19));
        assert!(!processes.lost.contains(&lost(7)));
    }

    #[test]
    fn a_program_is_called_after_the_script_that_python_runs() {
        assert_eq!(program(&["/usr/bin/python3.11", "/srv/app.py", "-v"]), "app.py");
        assert_eq!(program(&["python3", "-m", "http.server"]), "http.server");
        assert_eq!(program(&["python", "-c", "pass"]), "python");
        assert_eq!(program(&["python3"]), "python3");
        assert_eq!(program(&["/usr/bin/gunicorn", "app:app"]), "gunicorn");
        assert_eq!(program(&[]), "unknown");
    }
}
