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

impl Process {
    /// What a person would call its program: the script or the module that Python runs, else the program's file.
    pub fn program(&self) -> String {
        program_of(&self.command)
    }
}

/// What a person would call the program of a command line.
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
    fn a_program_is_called_after_the_script_that_python_runs() {
        assert_eq!(program(&["/usr/bin/python3.11", "/srv/app.py", "-v"]), "app.py");
        assert_eq!(program(&["python3", "-m", "http.server"]), "http.server");
        assert_eq!(program(&["python", "-c", "pass"]), "python");
        assert_eq!(program(&["python3"]), "python3");
        assert_eq!(program(&["/usr/bin/gunicorn", "app:app"]), "gunicorn");
        assert_eq!(program(&[]), "unknown");
    }
}
