//! What every thread is doing, as text for people and as JSON for programs. Both are written from one [`Report`].

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::aggregate::{Rules, Who};
use crate::printable::printable;
use crate::sample::{
    FrameSnapshot, GilHolder, GilState, Incomplete, InterpreterSnapshot, Lost, Snapshot, ThreadSnapshot, ThreadState,
    Tid, Unreadable,
};

/// The version of the JSON's shape. It grows when a reader of the old one would be misled.
pub const SCHEMA: u32 = 2;

/// So many frames that are alike are shown as text, one after the other.
const MOST_ALIKE: usize = 3;

/// A process at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    #[serde(flatten)]
    process: Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u32>,
    /// Threads that are not in it because they are not wanted.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
    interpreters: Vec<Interpreter>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A process and its descendants, each at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Family {
    schema: u32,
    pysample: &'static str,
    root: u32,
    processes: Vec<Report>,
    unreadable: Vec<Unread>,
}

/// A process that could not be read.
#[derive(Clone, Debug, Serialize)]
struct Unread {
    pid: u32,
    why: String,
}

/// Which process, and what runs in it.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its id in its own PID namespace, where that is another than ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_inside: Option<u32>,
    /// Its command line.
    pub command: Vec<String>,
    /// Its Python.
    pub python: Python,
}

/// Which Python.
#[derive(Clone, Debug, Serialize)]
pub struct Python {
    /// As `3.11.7`.
    pub version: String,
    /// Release, debug, free-threaded.
    pub build: String,
    /// How it was found.
    pub found: String,
}

#[derive(Clone, Debug, Serialize)]
struct Interpreter {
    id: i64,
    gil: GilHolder,
    threads: Vec<Thread>,
}

#[derive(Clone, Debug, Serialize)]
struct Thread {
    name: Option<Arc<str>>,
    os_thread_id: Option<Tid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_thread_id_inside: Option<u64>,
    python_thread_id: u64,
    state: ThreadState,
    off_seconds: Option<f64>,
    gil: GilState,
    incomplete: Option<Incomplete>,
    frames: Vec<Frame>,
}

#[derive(Clone, Debug, Serialize)]
struct Frame {
    function: Arc<str>,
    file: Arc<str>,
    line: Option<u32>,
    source: Option<String>,
}

impl Report {
    /// Puts together what is known. `source` tells the text of a line of a file, where it can be read; it is asked once
    /// for each line.
    pub fn new(process: Process, snapshot: Snapshot, source: impl Fn(&str, u32) -> Option<String>) -> Report {
        let mut sources = Sources { read: source, known: HashMap::new() };
        let interpreters = snapshot.interpreters.into_iter().map(|it| Interpreter::new(it, &mut sources)).collect();
        let (schema, pysample) = (SCHEMA, env!("CARGO_PKG_VERSION"));
        Report { schema, pysample, process, parent: None, left_out: 0, interpreters }
    }

    /// Leaves out the threads that are not wanted, and those with code in them that is not.
    pub fn of_wanted(mut self, wanted: &Rules) -> Report {
        let pid = Some(self.process.pid);
        for interpreter in &mut self.interpreters {
            let (before, id) = (interpreter.threads.len(), interpreter.id);
            interpreter.threads.retain(|thread| {
                let (os_thread_id, name) = (thread.os_thread_id, thread.name.as_deref());
                let is_excluded = thread.frames.iter().any(|frame| wanted.exclude(&frame.function, &frame.file));
                wanted.pick(Who { pid, interpreter: id, os_thread_id, name }) && !is_excluded
            });
            self.left_out += before - interpreter.threads.len();
        }
        self
    }

    /// Calls files what `short` says.
    pub fn with_files(mut self, short: impl Fn(&str) -> Arc<str>) -> Report {
        let threads = self.interpreters.iter_mut().flat_map(|interpreter| &mut interpreter.threads);
        for frame in threads.flat_map(|thread| &mut thread.frames) {
            frame.file = short(&frame.file);
        }
        self
    }

    /// Whose child the process is.
    pub fn of_parent(self, parent: Option<u32>) -> Report {
        Report { parent, ..self }
    }

    /// Adds by which id each thread is known in the process's own PID namespace, where that is another than ours.
    pub fn with_ids_inside(mut self, inside: impl Fn(Tid) -> Option<u64>) -> Report {
        for thread in self.interpreters.iter_mut().flat_map(|interpreter| &mut interpreter.threads) {
            thread.os_thread_id_inside = thread.os_thread_id.and_then(&inside);
        }
        self
    }

    /// Writes the report for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the report for a person.
    pub fn write_text(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        let mut page = Page { out, colour };
        page.process(&self.process)?;
        for interpreter in &self.interpreters {
            page.interpreter(interpreter, self.interpreters.len())?;
        }
        match self.left_out {
            0 => Ok(()),
            1 => writeln!(page.out, "\n1 thread that is not wanted is left out."),
            more => writeln!(page.out, "\n{more} threads that are not wanted are left out."),
        }
    }
}

impl Family {
    /// Puts together the processes of a family, its root first, and those that could not be read.
    pub fn new(root: u32, processes: Vec<Report>, unreadable: Vec<Lost>) -> Family {
        let unreadable = unreadable.into_iter().map(|Lost { pid, why }| Unread { pid, why }).collect();
        Family { schema: SCHEMA, pysample: env!("CARGO_PKG_VERSION"), root, processes, unreadable }
    }

    /// Writes the family for a program: each process as it is written alone.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the family for a person: one process after the other.
    pub fn write_text(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        for (index, process) in self.processes.iter().enumerate() {
            if index > 0 {
                writeln!(out, "\n")?;
            }
            process.write_text(colour, out)?;
        }
        for Unread { why, .. } in &self.unreadable {
            writeln!(out, "\nNot read: {}", printable(why))?;
        }
        Ok(())
    }
}

/// The text of source lines, each read once.
struct Sources<F> {
    read: F,
    known: HashMap<(Arc<str>, u32), Option<String>>,
}

impl<F: Fn(&str, u32) -> Option<String>> Sources<F> {
    fn line(&mut self, file: &Arc<str>, line: u32) -> Option<String> {
        let read = &self.read;
        self.known
            .entry((file.clone(), line))
            .or_insert_with(|| Some(read(file, line)?.trim().to_owned()).filter(|text| !text.is_empty()))
            .clone()
    }
}

impl Interpreter {
    fn new<F: Fn(&str, u32) -> Option<String>>(it: InterpreterSnapshot, sources: &mut Sources<F>) -> Interpreter {
        let threads = it.threads.into_iter().map(|thread| Thread::new(thread, sources)).collect();
        Interpreter { id: it.id, gil: it.gil, threads }
    }
}

impl Thread {
    fn new<F: Fn(&str, u32) -> Option<String>>(it: ThreadSnapshot, sources: &mut Sources<F>) -> Thread {
        Thread {
            name: it.name,
            os_thread_id: it.os_thread_id,
            os_thread_id_inside: None,
            python_thread_id: it.python_thread_id,
            state: it.state,
            off_seconds: it.off_for.map(|off_for| off_for.as_secs_f64()),
            gil: it.gil,
            incomplete: it.incomplete,
            frames: it.frames.into_iter().map(|frame| Frame::new(frame, sources)).collect(),
        }
    }
}

impl Frame {
    fn new<F: Fn(&str, u32) -> Option<String>>(it: FrameSnapshot, sources: &mut Sources<F>) -> Frame {
        let source = it.line.and_then(|line| sources.line(&it.file, line));
        Frame { function: it.function, file: it.file, line: it.line, source }
    }

    fn is_like(&self, other: &Frame) -> bool {
        (&self.function, &self.file, self.line) == (&other.function, &other.file, other.line)
    }
}

/// Whether the text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// It goes to a terminal.
    Ansi,
    /// It goes elsewhere, or the user wants none.
    None,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const FUNCTION: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));
const BUSY: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const WARNING: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

struct Page<'a> {
    out: &'a mut dyn Write,
    colour: Colour,
}

impl Page<'_> {
    fn process(&mut self, process: &Process) -> io::Result<()> {
        let title = self.paint(BOLD, &format!("Process {}", process.pid));
        let inside = process.pid_inside.map(|pid| format!(" ({pid} inside)")).unwrap_or_default();
        writeln!(self.out, "{title}{inside}: {}", command_line(&process.command))?;
        let Python { version, build, found } = &process.python;
        writeln!(self.out, "Python {} ({}), found by {}", printable(version), printable(build), printable(found))
    }

    fn interpreter(&mut self, interpreter: &Interpreter, of: usize) -> io::Result<()> {
        writeln!(self.out)?;
        if of > 1 {
            let title = self.paint(BOLD, &format!("Interpreter {}", interpreter.id));
            write!(self.out, "{title}, ")?;
        }
        writeln!(self.out, "GIL: {}", gil_holder(interpreter))?;
        if interpreter.threads.is_empty() {
            writeln!(self.out, "No thread to show.")?;
        }
        interpreter.threads.iter().try_for_each(|thread| self.thread(thread))
    }

    fn thread(&mut self, thread: &Thread) -> io::Result<()> {
        let name = self.paint(BOLD, &format!("Thread {}", thread_name(thread.name.as_deref())));
        let style = match thread.state {
            ThreadState::RunsNative if thread.gil == GilState::Held => WARNING,
            ThreadState::WaitsForGil | ThreadState::Stopped | ThreadState::Suspended => WARNING,
            state if state.runs() => BUSY,
            ThreadState::Unknown => Style::new(),
            _ => DIM,
        };
        let off = thread.off_seconds.map(|seconds| format!(" for {}", for_how_long(seconds))).unwrap_or_default();
        let state = self.paint(style, &format!("{}{off}", thread.state.text(thread.gil)));
        let ids = self.paint(DIM, &format!("({}, Python thread {:#x})", os_thread(thread), thread.python_thread_id));
        writeln!(self.out, "\n{name} {ids}: {state}{}", gil_state(thread.gil))?;
        thread.frames.chunk_by(Frame::is_like).try_for_each(|run| self.run(run))?;
        match (thread.incomplete, thread.frames.is_empty()) {
            (Some(why), _) => {
                let why = self.paint(WARNING, incomplete(why));
                writeln!(self.out, "  {why}")
            }
            (None, true) => writeln!(self.out, "  no Python frames"),
            (None, false) => Ok(()),
        }
    }

    /// Frames that are alike, as a deep recursion has them. Python's tracebacks cut them in the same words.
    fn run(&mut self, frames: &[Frame]) -> io::Result<()> {
        let shown = frames.len().min(MOST_ALIKE);
        frames[..shown].iter().try_for_each(|frame| self.frame(frame))?;
        match frames.len() - shown {
            0 => Ok(()),
            1 => writeln!(self.out, "  [Previous line repeated 1 more time]"),
            more => writeln!(self.out, "  [Previous line repeated {more} more times]"),
        }
    }

    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        let function = self.paint(FUNCTION, &printable(&frame.function));
        let file = printable(&frame.file);
        match frame.line {
            Some(line) => writeln!(self.out, "  File \"{file}\", line {line}, in {function}")?,
            None => writeln!(self.out, "  File \"{file}\", in {function}")?,
        }
        match &frame.source {
            Some(source) => writeln!(self.out, "    {}", printable(source)),
            None => Ok(()),
        }
    }

    /// `text`, which must be printable already.
    fn paint(&self, style: Style, text: &str) -> String {
        match self.colour {
            Colour::Ansi => format!("{style}{text}{style:#}"),
            Colour::None => text.into(),
        }
    }
}

/// A command line as a shell would take it, as far as that helps reading: words with spaces in them are quoted.
pub fn command_line(command: &[String]) -> String {
    let word = |word: &String| match word.is_empty() || word.contains(char::is_whitespace) {
        true => format!("'{}'", printable(word)),
        false => printable(word).into_owned(),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What a thread is called, in quotes.
pub(super) fn thread_name(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("\"{}\"", printable(name)),
        None => "without a name".into(),
    }
}

fn os_thread(thread: &Thread) -> String {
    match (thread.os_thread_id, thread.os_thread_id_inside) {
        (Some(id), Some(inside)) => format!("OS thread {id}, {inside} inside"),
        (Some(id), None) => format!("OS thread {id}"),
        (None, _) => "OS thread unknown".into(),
    }
}

fn gil_holder(interpreter: &Interpreter) -> String {
    match interpreter.gil {
        GilHolder::Held { os_thread_id: Some(id) } => {
            let holder = interpreter.threads.iter().find(|thread| thread.os_thread_id == Some(id));
            match holder.and_then(|thread| thread.name.as_deref()) {
                Some(name) => format!("held by OS thread {id} ({})", thread_name(Some(name))),
                None => format!("held by OS thread {id}"),
            }
        }
        GilHolder::Held { os_thread_id: None } => "held by a thread that is not known".into(),
        GilHolder::Free => "free".into(),
        GilHolder::None => "there is none".into(),
        GilHolder::Unknown => "unknown".into(),
    }
}

fn gil_state(gil: GilState) -> &'static str {
    match gil {
        GilState::Held => ", holds the GIL",
        GilState::NotHeld | GilState::None => "",
        GilState::Unknown => ", GIL unknown",
    }
}

/// A time in words, as precisely as it helps.
pub(super) fn for_how_long(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..100.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

fn incomplete(why: Incomplete) -> &'static str {
    match why {
        Incomplete::Truncated => "... the rest of the stack is too deep to show",
        Incomplete::Unreadable(Unreadable::Torn) => "... the rest changed while it was being read",
        Incomplete::Unreadable(Unreadable::Unmapped) => "... the rest lies in memory that is not mapped",
        Incomplete::Unreadable(Unreadable::Invalid) => "... the rest could not be made sense of",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn process() -> Process {
        Process {
            pid: 4242,
            pid_inside: None,
            command: vec!["python3".into(), "app.py".into(), "two words".into()],
            python: Python {
                version: "3.11.7".into(),
                build: "release".into(),
                found: "exported symbol _PyRuntime of /usr/bin/python3.11".into(),
            },
        }
    }

    fn frame(function: &str, file: &str, line: Option<u32>) -> FrameSnapshot {
        FrameSnapshot { function: function.into(), file: file.into(), line }
    }

    fn thread(name: Option<&str>, id: u32, frames: Vec<FrameSnapshot>) -> ThreadSnapshot {
        ThreadSnapshot {
            name: name.map(Into::into),
            os_thread_id: Some(Tid(id)),
            python_thread_id: 0x7f00_0000_1000,
            state: ThreadState::WaitsForLock,
            off_for: Some(Duration::from_millis(2500)),
            gil: GilState::NotHeld,
            frames,
            incomplete: None,
        }
    }

    fn interpreter(id: i64, gil: GilHolder, threads: Vec<ThreadSnapshot>) -> InterpreterSnapshot {
        InterpreterSnapshot { id, gil, threads }
    }

    fn report(interpreters: Vec<InterpreterSnapshot>) -> Report {
        let source = |file: &str, line| (file == "/srv/app.py").then(|| format!("    line_{line}()  \n"));
        Report::new(process(), Snapshot { interpreters }, source)
    }

    fn main_and_wait() -> Report {
        let frames = |function| vec![frame(function, "/srv/app.py", Some(3))];
        let threads = vec![thread(Some("a"), 42, frames("main")), thread(Some("b"), 43, frames("wait"))];
        report(vec![interpreter(0, GilHolder::Free, threads)])
    }

    fn text(report: &Report, colour: Colour) -> String {
        let mut out = Vec::new();
        report.write_text(colour, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json(report: &Report) -> Value {
        let mut out = Vec::new();
        report.write_json(&mut out).unwrap();
        assert!(out.ends_with(b"}\n"));
        serde_json::from_slice(&out).unwrap()
    }

    fn two_threads() -> Report {
        let mut main = thread(
            Some("MainThread"),
            4242,
            vec![frame("Job.run", "/srv/app.py", Some(12)), frame("<module>", "/gone.py", Some(3))],
        );
        (main.state, main.gil) = (ThreadState::RunsPython, GilState::Held);
        main.off_for = None;
        let worker = thread(None, 4243, vec![frame("wait", "/usr/lib/threading.py", None)]);
        report(vec![interpreter(0, GilHolder::Held { os_thread_id: Some(Tid(4242)) }, vec![main, worker])])
    }

    #[test]
    fn threads_that_are_not_wanted_are_left_out_and_counted() {
        let rules = Rules { threads: vec![crate::aggregate::ThreadRule::Numbered(43)], ..Rules::default() };
        let told = json(&main_and_wait().of_wanted(&rules));
        assert_eq!(told["interpreters"][0]["threads"].as_array().map(Vec::len), Some(1));
        assert_eq!((&told["interpreters"][0]["threads"][0]["name"], &told["left_out"]), (&json!("b"), &json!(1)));
        let exclude = vec![crate::pattern::Pattern::new("wait").unwrap()];
        let told = text(&main_and_wait().of_wanted(&Rules { exclude, ..Rules::default() }), Colour::None);
        assert!(!told.contains("\"b\"") && told.ends_with("\n1 thread that is not wanted is left out.\n"), "{told}");
        assert_eq!(json(&main_and_wait().of_wanted(&Rules::default())), json(&main_and_wait()));
    }

    #[test]
    fn a_family_is_its_processes_as_they_are_alone() {
        let lost = Lost { pid: 44, why: "not permitted".into() };
        let family = Family::new(42, vec![main_and_wait(), main_and_wait().of_parent(Some(42))], vec![lost]);
        let mut out = Vec::new();
        family.write_json(&mut out).unwrap();
        let told: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&told["schema"], &told["root"]), (&json!(SCHEMA), &json!(42)));
        let alone = serde_json::to_value(main_and_wait()).unwrap();
        assert_eq!(told["processes"][0], alone);
        assert_eq!(told["processes"][1]["parent"], 42);
        assert_eq!(told["unreadable"], json!([{ "pid": 44, "why": "not permitted" }]));
        let mut text = Vec::new();
        family.write_text(Colour::None, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches("\nProcess ").count() + usize::from(text.starts_with("Process ")), 2);
        assert!(text.ends_with("\nNot read: not permitted\n"), "{text}");
    }

    #[test]
    fn the_text_reads_like_a_traceback_from_the_innermost_frame() {
        assert_eq!(
            text(&two_threads(), Colour::None),
            "\
Process 4242: python3 app.py 'two words'
Python 3.11.7 (release), found by exported symbol _PyRuntime of /usr/bin/python3.11

GIL: held by OS thread 4242 (\"MainThread\")

Thread \"MainThread\" (OS thread 4242, Python thread 0x7f0000001000): runs Python, holds the GIL
  File \"/srv/app.py\", line 12, in Job.run
    line_12()
  File \"/gone.py\", line 3, in <module>

Thread without a name (OS thread 4243, Python thread 0x7f0000001000): waits for a lock for 2.5 s
  File \"/usr/lib/threading.py\", in wait
"
        );
    }

    #[test]
    fn ids_of_another_namespace_are_shown_beside_ours() {
        let mut report = two_threads().with_ids_inside(|tid| (tid.0 == 4243).then_some(9));
        report.process.pid_inside = Some(7);
        let told = text(&report, Colour::None);
        assert!(told.starts_with("Process 4242 (7 inside): python3"), "{told}");
        assert!(
            told.contains("(OS thread 4242, Python") && told.contains("(OS thread 4243, 9 inside, Python"),
            "{told}"
        );
        let told = json(&report);
        assert_eq!(told["pid_inside"], 7);
        assert_eq!(told["interpreters"][0]["threads"][1]["os_thread_id_inside"], 9);
        assert!(told["interpreters"][0]["threads"][0].get("os_thread_id_inside").is_none());
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        assert_eq!(
            json(&two_threads()),
            json!({
                "schema": 2,
                "pysample": env!("CARGO_PKG_VERSION"),
                "pid": 4242,
                "command": ["python3", "app.py", "two words"],
                "python": {
                    "version": "3.11.7",
                    "build": "release",
                    "found": "exported symbol _PyRuntime of /usr/bin/python3.11",
                },
                "interpreters": [{
                    "id": 0,
                    "gil": {"state": "held", "os_thread_id": 4242},
                    "threads": [
                        {
                            "name": "MainThread",
                            "os_thread_id": 4242,
                            "python_thread_id": 139_637_976_731_648_u64,
                            "state": "runs_python",
                            "off_seconds": null,
                            "gil": "held",
                            "incomplete": null,
                            "frames": [
                                {"function": "Job.run", "file": "/srv/app.py", "line": 12, "source": "line_12()"},
                                {"function": "<module>", "file": "/gone.py", "line": 3, "source": null},
                            ],
                        },
                        {
                            "name": null,
                            "os_thread_id": 4243,
                            "python_thread_id": 139_637_976_731_648_u64,
                            "state": "waits_for_lock",
                            "off_seconds": 2.5,
                            "gil": "not_held",
                            "incomplete": null,
                            "frames": [
                                {"function": "wait", "file": "/usr/lib/threading.py", "line": null, "source": null},
                            ],
                        },
                    ],
                }],
            })
        );
    }

    #[test]
    fn every_state_of_a_gil_has_its_word() {
        for (gil, word, told) in [
            (
                GilHolder::Held { os_thread_id: Some(Tid(9)) },
                json!({"state": "held", "os_thread_id": 9}),
                "held by OS thread 9",
            ),
            (
                GilHolder::Held { os_thread_id: None },
                json!({"state": "held", "os_thread_id": null}),
                "held by a thread that is not known",
            ),
            (GilHolder::Free, json!({"state": "free"}), "free"),
            (GilHolder::None, json!({"state": "none"}), "there is none"),
            (GilHolder::Unknown, json!({"state": "unknown"}), "unknown"),
        ] {
            let report = report(vec![interpreter(0, gil, Vec::new())]);
            assert_eq!(json(&report)["interpreters"][0]["gil"], word);
            let text = text(&report, Colour::None);
            assert!(text.contains(&format!("\nGIL: {told}\nNo thread to show.\n")), "{text}");
        }
    }

    #[test]
    fn a_stack_that_is_not_whole_says_why() {
        let mut cut = thread(Some("deep"), 7, vec![frame("f", "x.py", Some(1))]);
        cut.incomplete = Some(Incomplete::Truncated);
        let mut torn = thread(Some("fast"), 8, Vec::new());
        torn.incomplete = Some(Incomplete::Unreadable(Unreadable::Torn));
        let report = report(vec![interpreter(0, GilHolder::Free, vec![cut, torn, thread(Some("C"), 9, Vec::new())])]);
        let told: Vec<_> = json(&report)["interpreters"][0]["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|thread| thread["incomplete"].clone())
            .collect();
        assert_eq!(told, [json!("truncated"), json!({"unreadable": "torn"}), json!(null)]);
        let text = text(&report, Colour::None);
        assert!(text.contains("in f\n  ... the rest of the stack is too deep to show\n"), "{text}");
        assert!(
            text.contains("waits for a lock for 2.5 s\n  ... the rest changed while it was being read\n"),
            "{text}"
        );
        assert!(text.ends_with("waits for a lock for 2.5 s\n  no Python frames\n"), "{text}");
    }

    #[test]
    fn several_interpreters_are_told_apart() {
        let worker = thread(Some("w"), 7, Vec::new());
        let report =
            report(vec![interpreter(0, GilHolder::Free, vec![]), interpreter(3, GilHolder::Unknown, vec![worker])]);
        let text = text(&report, Colour::None);
        assert!(
            text.contains("\nInterpreter 0, GIL: free\n") && text.contains("\nInterpreter 3, GIL: unknown\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_unknown_is_called_so() {
        let mut odd = thread(None, 7, Vec::new());
        (odd.os_thread_id, odd.state, odd.gil) = (None, ThreadState::Unknown, GilState::Unknown);
        odd.off_for = None;
        let report = report(vec![interpreter(0, GilHolder::Unknown, vec![odd])]);
        let text = text(&report, Colour::None);
        assert!(
            text.contains("(OS thread unknown, Python thread 0x7f0000001000): state unknown, GIL unknown\n"),
            "{text}"
        );
        let thread = &json(&report)["interpreters"][0]["threads"][0];
        assert_eq!(
            (&thread["state"], &thread["gil"], &thread["os_thread_id"]),
            (&json!("unknown"), &json!("unknown"), &json!(null))
        );
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let evil = "\x1b[2J\x1b]0;owned\x07\r\n\u{202e}";
        let mut report = report(vec![interpreter(
            0,
            GilHolder::Held { os_thread_id: Some(Tid(7)) },
            vec![thread(Some(evil), 7, vec![frame(evil, evil, Some(1))])],
        )]);
        report.process.command = vec![evil.into()];
        report.process.python.found = evil.into();
        report.interpreters[0].threads[0].frames[0].source = Some(evil.into());
        let text = text(&report, Colour::None);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("File \"\\x1b[2J\\x1b]0;owned\\x07\\r\\n\\u202e\", line 1"), "{text}");
        assert_eq!(json(&report)["interpreters"][0]["threads"][0]["name"], evil);
    }

    #[test]
    fn colours_change_nothing_but_the_colours() {
        let report = two_threads();
        let coloured = text(&report, Colour::Ansi);
        assert!(coloured.contains("\x1b[1m"));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, sequence)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = sequence.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, text(&report, Colour::None));
    }

    #[test]
    fn a_deep_recursion_is_cut_in_the_text_as_python_does() {
        let frames = |times| vec![frame("f", "x.py", Some(2)); times];
        for (times, told) in [
            (
                3,
                "in f\n  File \"x.py\", line 2, in f\n  File \"x.py\", line 2, in f\n  File \"x.py\", line 9, in main\n",
            ),
            (4, "in f\n  [Previous line repeated 1 more time]\n  File \"x.py\", line 9, in main\n"),
            (1000, "in f\n  [Previous line repeated 997 more times]\n  File \"x.py\", line 9, in main\n"),
        ] {
            let stack = [frames(times), vec![frame("main", "x.py", Some(9))]].concat();
            let report = report(vec![interpreter(0, GilHolder::Free, vec![thread(None, 1, stack)])]);
            assert!(text(&report, Colour::None).ends_with(told), "{}", text(&report, Colour::None));
            assert_eq!(json(&report)["interpreters"][0]["threads"][0]["frames"].as_array().unwrap().len(), times + 1);
        }
    }

    #[test]
    fn a_source_line_is_read_once() {
        let reads = std::cell::Cell::new(0);
        let frames = vec![frame("f", "/srv/app.py", Some(5)); 1000];
        let snapshot = Snapshot { interpreters: vec![interpreter(0, GilHolder::Free, vec![thread(None, 1, frames)])] };
        let report = Report::new(process(), snapshot, |_, _| {
            reads.set(reads.get() + 1);
            Some("x".into())
        });
        assert_eq!((reads.get(), report.interpreters[0].threads[0].frames.len()), (1, 1000));
    }

    #[test]
    fn a_command_line_shows_where_its_words_end() {
        let words = ["a b", "", "c\nd", "e"].map(String::from);
        assert_eq!(command_line(&words), "'a b' '' 'c\\nd' e");
    }
}
