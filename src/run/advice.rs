//! What to do about an error that has to do with a process's id: what the machine's other processes tell.

use pysample::error::Error;
use pysample::target::machine::{self, Contained};
use pysample::view::dump::command_line;

use super::look;

/// The most processes that are offered.
const MOST_OFFERED: usize = 3;

/// What the user can do about an error, in one line; and who tells more of it.
pub fn hint(error: &Error) -> Option<String> {
    match (mend(error), error) {
        (Some(line), Error::NotPermitted { pid, .. }) => {
            Some(format!("{line}; `pysample doctor --pid {pid}` tells more"))
        }
        (line, _) => line,
    }
}

/// What the user can do about an error, in one line.
pub fn mend(error: &Error) -> Option<String> {
    let inside = match error {
        Error::NoSuchProcess { pid } | Error::NotPython { pid, .. } | Error::PythonBelow { pid, .. } => {
            offer(*pid, &of_python(machine::known_inside_as(*pid)))
        }
        _ => None,
    };
    match (inside, error) {
        (Some(inside), Error::PythonBelow { .. }) => {
            Some([Some(inside), error.hint()].into_iter().flatten().collect::<Vec<_>>().join("; or "))
        }
        (Some(inside), _) => Some(inside),
        (None, Error::NoSuchProcess { .. }) => Some(elsewhere(machine::are_in_own_pid_namespace()).into()),
        (None, _) => error.hint(),
    }
}

/// Those that run Python, and after them those of which that cannot be told.
fn of_python(found: Vec<Contained>) -> Vec<Contained> {
    let (mut sure, mut unknown) = (Vec::new(), Vec::new());
    for contained in found {
        match look(contained.pid) {
            Ok(_) => sure.push(contained),
            Err(Error::NotPython { .. } | Error::NoSuchProcess { .. } | Error::Zombie { .. } | Error::Ended { .. }) => {
            }
            Err(_) => unknown.push(contained),
        }
    }
    sure.extend(unknown);
    sure
}

/// The id was perhaps that which the process has inside its container.
fn offer(pid: u32, found: &[Contained]) -> Option<String> {
    let one = |contained: &Contained| {
        let container = contained.container.as_ref().map(|container| format!(" of {}", container.to_text()));
        let container = container.unwrap_or_default();
        format!("process {pid}{container} is process {} here: --pid {}", contained.pid, contained.pid)
    };
    match found {
        [] => None,
        [contained] => Some(format!("{} ({})", one(contained), command_line(&contained.command))),
        several => {
            let shown: Vec<String> = several.iter().take(MOST_OFFERED).map(one).collect();
            let more = match several.len().saturating_sub(MOST_OFFERED) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            Some(format!("{}{more}; `pysample ps` lists the Python processes", shown.join("; ")))
        }
    }
}

fn elsewhere(are_contained: bool) -> &'static str {
    match are_contained {
        true => {
            "here only the processes of our own PID namespace are to be seen, by their ids in it; `pysample ps` lists those that run Python"
        }
        false => "`pysample ps` lists the Python processes",
    }
}

#[cfg(test)]
mod tests {
    use pysample::target::cgroup::Container;

    use super::*;

    fn contained(pid: u32) -> Contained {
        let container = Container { engine: Some("docker"), id: Some("ab".repeat(32)), ..Container::default() };
        Contained { pid, command: vec!["python3".into(), "app.py".into()], container: Some(container) }
    }

    #[test]
    fn an_id_from_inside_a_container_is_answered_with_the_one_that_is_meant() {
        assert_eq!(offer(7, &[]), None);
        let one = offer(7, &[contained(3127)]).unwrap();
        assert_eq!(one, "process 7 of docker abababababab is process 3127 here: --pid 3127 (python3 app.py)");
        let many = offer(7, &[1, 2, 3, 4, 5].map(contained)).unwrap();
        assert!(many.contains("--pid 3;") || many.contains("--pid 3; and 2 more; `pysample ps`"), "{many}");
        assert!(!many.contains("--pid 4"), "{many}");
    }

    #[test]
    fn who_sees_a_part_of_the_machine_is_told_so() {
        assert!(elsewhere(true).contains("our own PID namespace"));
        assert!(!elsewhere(false).contains("namespace"));
    }
}
