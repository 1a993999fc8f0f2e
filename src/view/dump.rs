//! What every thread is doing, as text for people and as JSON for programs. Both are written from one [`Report`].

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::printable::printable;
use crate::sample::{
    FrameSnapshot, GilHolder, GilState, Incomplete, InterpreterSnapshot, Snapshot, ThreadSnapshot, ThreadState, Tid,
    Unreadable,
};

/// The version of the JSON's shape. It grows when a reader of the old one would be misled.
pub const SCHEMA: u32 = 1;

/// A process at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    #[serde(flatten)]
    process: Process,
    interpreters: Vec<Interpreter>,
}

/// Which process, and what runs in it.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
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
    python_thread_id: u64,
    state: ThreadState,
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
        Report { schema: SCHEMA, pysample: env!("CARGO_PKG_VERSION"), process, interpreters }
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
            python_thread_id: it.python_thread_id,
            state: it.state,
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
        writeln!(self.out, "{title}: {}", command_line(&process.command))?;
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
            writeln!(self.out, "No thread runs Python here.")?;
        }
        interpreter.threads.iter().try_for_each(|thread| self.thread(thread))
    }

    fn thread(&mut self, thread: &Thread) -> io::Result<()> {
        let name = self.paint(BOLD, &format!("Thread {}", thread_name(thread.name.as_deref())));
        let state = match thread.state {
            ThreadState::Running => self.paint(BUSY, "running"),
            ThreadState::Idle => self.paint(DIM, "idle"),
            ThreadState::Unknown => "state unknown".into(),
        };
        let ids = self.paint(DIM, &format!("({}, Python thread {:#x})", os_thread(thread), thread.python_thread_id));
        writeln!(self.out, "\n{name} {ids}: {state}{}", gil_state(thread.gil))?;
        thread.frames.iter().try_for_each(|frame| self.frame(frame))?;
        match (thread.incomplete, thread.frames.is_empty()) {
            (Some(why), _) => {
                let why = self.paint(WARNING, incomplete(why));
                writeln!(self.out, "  {why}")
            }
            (None, true) => writeln!(self.out, "  no Python frames"),
            (None, false) => Ok(()),
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

fn thread_name(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("\"{}\"", printable(name)),
        None => "without a name".into(),
    }
}

fn os_thread(thread: &Thread) -> String {
    match thread.os_thread_id {
        Some(id) => format!("OS thread {id}"),
        None => "OS thread unknown".into(),
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

fn incomplete(why: Incomplete) -> &'static str {
    match why {
        Incomplete::Truncated => "... the rest of the stack is too deep to show",
        Incomplete::Unreadable(Unreadable::Torn) => "... the rest changed while it was being read",
        Incomplete::Unreadable(Unreadable::Unmapped) => "... the rest lies in memory that is not mapped",
        Incomplete::Unreadable(Unreadable::Invalid) => "... the rest could not be made sense of",
    }
}
