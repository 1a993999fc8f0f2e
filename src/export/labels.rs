//! What a frame and a thread are called in a profile. Where the label goes is the formats' business.

use crate::printable::printable;
use crate::sample::{Code, Process, Thread, short_file};

/// Which line a frame shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lines {
    /// The line that ran: a function called from two lines is two frames.
    #[default]
    Running,
    /// The first line of the function: its lines are merged.
    First,
}

/// How much of a file's name a frame shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// What an `import` would need: the name below the longest matching entry of `sys.path`, else the last component.
    #[default]
    Short,
    /// All of it, as the target spells it.
    Full,
}

/// Whether threads are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// Equal stacks of different threads are one.
    #[default]
    Merged,
    /// The thread is the root of its stacks.
    Apart,
}

/// Whether processes are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processes {
    /// Equal stacks of different processes are one.
    #[default]
    Merged,
    /// The process is the root of its stacks.
    Apart,
}

/// How frames and threads are called.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Which line a frame shows.
    pub lines: Lines,
    /// How much of a file's name.
    pub files: Files,
    /// Whether a stack begins with its thread.
    pub threads: Threads,
    /// Whether it begins with its process.
    pub processes: Processes,
    /// The target's `sys.path`.
    pub search_path: Vec<String>,
}

impl Labels {
    /// `qualified_name (file:line)`, without what is not known.
    pub fn frame(&self, code: &Code, line: Option<u32>) -> String {
        let file = self.file(&code.file);
        let line = match self.lines {
            Lines::Running => line,
            Lines::First => Some(code.first_line).filter(|line| *line > 0),
        };
        let (function, is_unknown, file) = (clean(&code.function), file.is_empty(), clean(file));
        match line {
            None if is_unknown => function,
            Some(line) => format!("{function} ({file}:{line})"),
            None => format!("{function} ({file})"),
        }
    }

    /// `program (pid id)`, with the id that it has in its own namespace where that is another.
    pub fn process(&self, process: &Process) -> String {
        let program = clean(&process.program());
        match (process.pid, process.own_pid) {
            (pid, own) if pid == own => format!("{program} (pid {pid})"),
            (pid, own) => format!("{program} (pid {pid}, {own} inside)"),
        }
    }

    /// As much of a file's name as is shown.
    pub fn file<'a>(&self, file: &'a str) -> &'a str {
        match self.files {
            Files::Short => short_file(file, &self.search_path),
            Files::Full => file,
        }
    }

    /// `name (thread id)`, with the interpreter where it is not the main one.
    pub fn thread(&self, thread: &Thread) -> String {
        let name = clean(thread.name.as_deref().unwrap_or("unnamed"));
        let id = match thread.os_thread_id {
            Some(id) => format!("thread {id}"),
            None => format!("Python thread {:#x}", thread.python_thread_id),
        };
        match thread.interpreter {
            0 => format!("{name} ({id})"),
            interpreter => format!("{name} ({id}, interpreter {interpreter})"),
        }
    }
}

/// A name without what the formats keep for themselves: `;` parts frames, a leading `#` begins a comment, spaces at an
/// end are stripped.
pub(super) fn clean(name: &str) -> String {
    let name = printable(name).replace(';', ",");
    let name = name.trim();
    match name {
        "" => "?".into(),
        name if name.starts_with('#') => format!("\\{name}"),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ProcessId, Tid};

    fn code(function: &str, file: &str) -> Code {
        Code { function: function.into(), file: file.into(), first_line: 10 }
    }

    fn path(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_frame_is_its_qualified_name_its_file_and_its_line() {
        let labels = Labels { search_path: path(&["/srv/app"]), ..Labels::default() };
        assert_eq!(labels.frame(&code("Job.run", "/srv/app/jobs/job.py"), Some(12)), "Job.run (jobs/job.py:12)");
    }

    #[test]
    fn a_line_that_is_not_known_is_left_out() {
        assert_eq!(Labels::default().frame(&code("f", "x.py"), None), "f (x.py)");
    }

    #[test]
    fn a_function_of_which_nothing_else_is_known_is_its_name() {
        let unknown = Code { function: "main".into(), file: "".into(), first_line: 0 };
        assert_eq!(Labels::default().frame(&unknown, None), "main");
        assert_eq!(Labels { lines: Lines::First, ..Labels::default() }.frame(&unknown, None), "main");
    }

    #[test]
    fn merged_lines_show_the_first_line_of_the_function() {
        let labels = Labels { lines: Lines::First, ..Labels::default() };
        assert_eq!(labels.frame(&code("f", "x.py"), Some(12)), "f (x.py:10)");
        assert_eq!(labels.frame(&code("f", "x.py"), None), "f (x.py:10)");
    }

    #[test]
    fn full_file_names_are_as_the_target_spells_them() {
        let labels = Labels { files: Files::Full, search_path: path(&["/srv"]), ..Labels::default() };
        assert_eq!(labels.frame(&code("f", "/srv/x.py"), Some(1)), "f (/srv/x.py:1)");
    }

    #[test]
    fn the_longest_entry_of_the_search_path_is_stripped() {
        let entries = path(&["/usr/lib/python3.11", "/usr/lib/python3.11/site-packages", "/usr"]);
        assert_eq!(short_file("/usr/lib/python3.11/site-packages/requests/api.py", &entries), "requests/api.py");
        assert_eq!(short_file("/usr/lib/python3.11/json/decoder.py", &entries), "json/decoder.py");
    }

    #[test]
    fn an_entry_of_the_search_path_ends_at_a_slash() {
        assert_eq!(short_file("/srv/apple/x.py", &path(&["/srv/app"])), "x.py");
        assert_eq!(short_file("/srv/app/x.py", &path(&["/srv/app/"])), "x.py");
    }

    #[test]
    fn a_file_outside_the_search_path_keeps_its_last_component() {
        assert_eq!(short_file("/opt/tool/main.py", &path(&["", "/srv"])), "main.py");
        assert_eq!(short_file("/srv", &path(&["/srv"])), "srv");
    }

    #[test]
    fn names_that_are_no_absolute_paths_are_kept() {
        let entries = path(&["", "/"]);
        assert_eq!(short_file("<frozen importlib._bootstrap>", &entries), "<frozen importlib._bootstrap>");
        assert_eq!(short_file("pkg/x.py", &entries), "pkg/x.py");
        assert_eq!(short_file("", &entries), "");
    }

    #[test]
    fn what_parts_frames_and_lines_is_replaced_in_names() {
        let label = Labels::default().frame(&code("a;b\nc", "/x/y;z\r\n1.py"), Some(1));
        assert_eq!(label, "a,b\\nc (y,z\\r\\n1.py:1)");
    }

    #[test]
    fn a_label_is_no_comment_and_begins_with_no_space() {
        assert_eq!(Labels::default().frame(&code("# f", "x.py"), Some(1)), "\\# f (x.py:1)");
        assert_eq!(Labels::default().frame(&code(" \u{a0}f ", ""), Some(1)), "f (?:1)");
    }

    #[test]
    fn a_process_is_its_program_and_its_ids() {
        let process = |own_pid, command: &[&str]| Process {
            pid: 42,
            own_pid,
            parent: None,
            command: path(command),
            python: "3.11.7".into(),
        };
        let labels = Labels::default();
        assert_eq!(labels.process(&process(42, &["/usr/bin/python3", "/srv/a;b.py"])), "a,b.py (pid 42)");
        assert_eq!(labels.process(&process(7, &[])), "unknown (pid 42, 7 inside)");
    }

    #[test]
    fn a_thread_is_its_name_and_its_os_thread_id() {
        let thread = |interpreter, os_thread_id, name: Option<&str>| Thread {
            process: ProcessId(0),
            interpreter,
            os_thread_id,
            python_thread_id: 0xbeef,
            name: name.map(Into::into),
        };
        let labels = Labels::default();
        assert_eq!(labels.thread(&thread(0, Some(Tid(42)), Some("MainThread"))), "MainThread (thread 42)");
        assert_eq!(labels.thread(&thread(0, None, None)), "unnamed (Python thread 0xbeef)");
        assert_eq!(labels.thread(&thread(2, Some(Tid(42)), Some("w;1"))), "w,1 (thread 42, interpreter 2)");
    }
}
