//! What is in a recording, as text for people and as JSON for programs: where the time went, what threads did, who held the
//! GIL.

use std::io::{self, Write};

use serde::Serialize;

use super::dump::Colour;
use super::summary::{Profile, Summary, hertz};
use crate::aggregate::activity::{Activity, OfGil, OfThread};
use crate::aggregate::hot::{Hot, hottest};
use crate::aggregate::{CallTree, LeftOut, Synopsis};
use crate::printable::printable;
use crate::sample::{Code, Ending, Event, GilState, Header, Process, ProcessId, Processes, Tally, ThreadState, Wanted};

/// The version of the JSON's shape. It grows when a reader of the old one would be misled.
pub const SCHEMA: u32 = 1;
/// A line of text is so wide.
const WIDTH: usize = 80;

/// Everything that is to be told, added up.
#[derive(Debug)]
pub struct Seen {
    tree: CallTree,
    activity: Activity,
    synopsis: Synopsis,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { tree: CallTree::merged(), activity: Activity::default(), synopsis: Synopsis::default() }
    }
}

impl Seen {
    /// Takes the next event of a recording.
    pub fn take(&mut self, event: Event) {
        self.activity.take(&event);
        self.synopsis.take(&event);
        self.tree.take(event);
    }
}

/// What is in a recording.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    file: String,
    #[serde(skip)]
    summary: Option<Summary>,
    program: String,
    recorded_by: String,
    started: String,
    seconds: f64,
    rate: f64,
    mode: Option<&'static str>,
    ending: Option<Ending>,
    notes: Vec<String>,
    processes: Vec<ProcessPart>,
    account: Option<Account>,
    /// Thread samples with a stack.
    stacks: u64,
    /// The same, each as often as it stands for slots of the clock, as all samples below: what the shares of functions and lines are
    /// of.
    slots: u64,
    distinct_stacks: usize,
    frameless: u64,
    functions: Vec<HotPart>,
    lines: Vec<HotPart>,
    threads: Vec<ThreadPart>,
    gils: Vec<GilPart>,
    /// Threads that waited for a GIL at a time, in the mean over the samples; known where all threads were recorded.
    waiting_for_gil: Option<f64>,
    #[serde(skip)]
    is_part: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ProcessPart {
    pid: u32,
    program: String,
    command: Vec<String>,
    python: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Account {
    asked: u64,
    taken: u64,
    late: u64,
    left_out: u64,
    failed: u64,
    unreadable: u64,
    dropped: u64,
    truncated: u64,
    stopped_seconds: f64,
    own_cpu_seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
struct HotPart {
    name: String,
    samples_self: u64,
    samples_total: u64,
    share_self: f64,
    share_total: f64,
}

#[derive(Clone, Debug, Serialize)]
struct ThreadPart {
    process: usize,
    name: Option<String>,
    os_thread_id: Option<u32>,
    python_thread_id: u64,
    interpreter: i64,
    samples: u64,
    ran: u64,
    held_gil: u64,
    states: std::collections::BTreeMap<ThreadState, u64>,
}

#[derive(Clone, Debug, Serialize)]
struct GilPart {
    process: usize,
    interpreter: i64,
    exists: bool,
    /// Each as often as it stands for slots of the clock.
    looks: u64,
    looks_taken: u64,
    held: u64,
    collecting: u64,
}

/// What is said of a recording beside its events.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The file, as it was spelled.
    pub file: String,
    /// What it says of itself.
    pub header: &'a Header,
    /// Why it ended, if that is known.
    pub ending: Option<Ending>,
    /// Whether its threads have states and GILs: not in collapsed stacks.
    pub has_states: bool,
    /// Whether it is a part of what the file has.
    pub is_part: bool,
    /// What else is to be said of it, such as what it lost.
    pub notes: Vec<String>,
}

/// How functions and lines are called: a code object and a line to text.
pub type Name<'a> = &'a dyn Fn(&Code, Option<u32>) -> String;

impl Report {
    /// Puts together what was seen: so many of the hottest functions and lines, and of the threads.
    pub fn new(about: About, seen: &Seen, most: usize, function: Name, line: Name) -> Report {
        let Seen { tree, activity, synopsis } = seen;
        let (stacks, slots) = (synopsis.stacks(), synopsis.slots());
        let part = |hot: &Hot| HotPart {
            name: hot.name.clone(),
            samples_self: hot.own,
            samples_total: hot.total,
            share_self: share(hot.own, slots),
            share_total: share(hot.total, slots),
        };
        let hot = |name: Name| hottest(tree, name).iter().take(most).map(part).collect();
        let taken = synopsis.tally().map_or(0, |tally| tally.slots());
        let knows_waiting = about.has_states && about.header.wanted == Wanted::All && taken > 0;
        let summary = synopsis.tally().zip(about.ending).map(|(tally, end)| Summary {
            subject: subject(about.header, synopsis.processes()),
            elapsed: synopsis.elapsed(),
            rate: about.header.rate,
            tally,
            processes: Processes::of_recording(synopsis.processes().len(), tally.asked, about.header.rate),
            left_out: LeftOut::default(),
            profile: Some(Profile {
                stacks,
                slots,
                distinct: synopsis.distinct_stacks(),
                frameless: synopsis.frameless(),
                threads: if about.is_part { synopsis.threads_seen() } else { synopsis.thread_count() },
            }),
            throttled: None,
            end,
            written: None,
        });
        Report {
            schema: SCHEMA,
            pysample: env!("CARGO_PKG_VERSION"),
            file: about.file,
            summary,
            program: about.header.program.clone(),
            recorded_by: about.header.pysample.clone(),
            started: about.header.began().map_or_else(
                || "at an unknown time".into(),
                |began| humantime::format_rfc3339_seconds(began).to_string(),
            ),
            seconds: synopsis.elapsed().as_secs_f64(),
            rate: about.header.rate,
            mode: about.has_states.then(|| mode(about.header.wanted)),
            ending: about.ending,
            notes: about.notes,
            processes: synopsis.processes().iter().map(process_part).collect(),
            account: synopsis.tally().map(account),
            stacks,
            slots,
            distinct_stacks: synopsis.distinct_stacks(),
            frameless: synopsis.frameless(),
            functions: hot(function),
            lines: hot(line),
            threads: if about.has_states {
                activity.threads().into_iter().take(most).map(thread_part).collect()
            } else {
                Vec::new()
            },
            gils: activity.gils().iter().map(gil_part).collect(),
            is_part: about.is_part,
            waiting_for_gil: knows_waiting.then(|| activity.waited() as f64 / taken as f64),
        }
    }

    /// Writes the report for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the report for people.
    pub fn write_text(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        self.write_head(out)?;
        self.notes.iter().try_for_each(|note| writeln!(out, "{}", printable(note)))?;
        if self.stacks == 0 {
            return writeln!(out, "\nNo stacks are in it.");
        }
        self.write_hot("function", &self.functions, colour, out)?;
        self.write_hot("line", &self.lines, colour, out)?;
        self.write_threads(colour, out)?;
        self.write_gils(out)
    }

    fn write_head(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.summary {
            Some(summary) => write!(out, "{summary}")?,
            None => {
                let Report { seconds, stacks, distinct_stacks, .. } = self;
                let program = printable(&self.program);
                writeln!(
                    out,
                    "{program}: {stacks} stacks, {distinct_stacks} distinct, {seconds:.1} s at {}",
                    hertz(self.rate)
                )?;
            }
        }
        match self.mode {
            Some(mode) => {
                let by = printable(&self.recorded_by);
                writeln!(out, "  recorded    {}, --mode {mode}, by pysample {by}", self.started)
            }
            None => writeln!(out, "  recorded    by another tool, as collapsed stacks: times are made up"),
        }
    }

    fn write_hot(&self, what: &str, hot: &[HotPart], colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        let (bold, reset) = bold(colour);
        writeln!(out, "\n{bold}  self %  total %  samples  {what}{reset}")?;
        for HotPart { name, samples_self, share_self, share_total, .. } in hot {
            let name = fitted(&printable(name), WIDTH - 28);
            writeln!(out, "  {:6.1}  {:7.1}  {samples_self:7}  {name}", 100.0 * share_self, 100.0 * share_total)?;
        }
        Ok(())
    }

    fn write_threads(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        if self.threads.is_empty() {
            return Ok(());
        }
        let (bold, reset) = bold(colour);
        writeln!(out, "\n{bold} samples   runs %    GIL %  thread{reset}")?;
        let is_free = self.gils.iter().any(|part| !part.exists);
        let gil = if is_free { GilState::None } else { GilState::Unknown };
        for part in &self.threads {
            let id = match part.os_thread_id {
                Some(id) => format!("thread {id}"),
                None => format!("Python thread {:#x}", part.python_thread_id),
            };
            let name = format!("{} ({id})", part.name.as_deref().map_or("unnamed".into(), printable));
            let name = shortened(&self.of_process(part.process, name), WIDTH - 28);
            let (ran, held) = (100.0 * share(part.ran, part.samples), 100.0 * share(part.held_gil, part.samples));
            writeln!(out, "{:8}  {ran:7.1}  {held:7.1}  {name}", part.samples)?;
            let mut states: Vec<_> = part.states.iter().collect();
            states.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
            let mut words = String::new();
            for (state, samples) in states {
                let share = 100.0 * share(*samples, part.samples);
                let word = format!("{} {share:.0} %", state.text(gil));
                if words.len() + word.len() > WIDTH - 32 {
                    break;
                }
                words += if words.is_empty() { "" } else { ", " };
                words += &word;
            }
            writeln!(out, "{:28}  {words}", "")?;
        }
        Ok(())
    }

    fn write_gils(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.gils.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        for part in &self.gils {
            let whose = match self.gils.len() {
                1 => "The GIL".to_owned(),
                _ => self.of_process(part.process, format!("The GIL of interpreter {}", part.interpreter)),
            };
            match (part.exists, part.looks_taken) {
                (false, _) => writeln!(out, "There is no GIL: a free-threaded build.")?,
                (true, looks) => {
                    let held = 100.0 * share(part.held, part.looks);
                    writeln!(out, "{} was held for {held:.1} % of the time, by {looks} looks.", printable(&whose))?;
                }
            }
        }
        match self.waiting_for_gil {
            Some(waiting) if self.gils.iter().any(|part| part.exists) => {
                let whose = if self.is_part { "of these threads" } else { "threads" };
                writeln!(out, "{waiting:.2} {whose} waited for it at a time.")
            }
            _ => Ok(()),
        }
    }

    /// With its process, where there are several.
    fn of_process(&self, process: usize, name: String) -> String {
        match self.processes.get(process) {
            Some(process) if self.processes.len() > 1 => format!("{} (pid {}): {name}", process.program, process.pid),
            _ => name,
        }
    }
}

/// What was recorded, in words: `app.py (pid 42) · Python 3.13.0`.
pub fn subject(header: &Header, processes: &[Process]) -> String {
    match processes {
        [process] if process.python.is_empty() => format!("{} (pid {})", header.program, process.pid),
        [process] => format!("{} (pid {}) · Python {}", header.program, process.pid, process.python),
        [] => header.program.clone(),
        several => format!("{} ({} processes)", header.program, several.len()),
    }
}

/// Which threads were recorded, by the option's value.
pub fn mode(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Running => "cpu",
        Wanted::All | Wanted::Contenders => "wall",
        Wanted::Holders => "gil",
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn bold(colour: Colour) -> (String, String) {
    let style = match colour {
        Colour::Ansi => anstyle::Style::new().bold(),
        Colour::None => anstyle::Style::new(),
    };
    (style.render().to_string(), style.render_reset().to_string())
}

/// So much of `function (file:line)` as fits: the function before its file, and of each the end.
fn fitted(name: &str, width: usize) -> String {
    /// So much of a file is left where there is any: its own name, most often.
    const FILE: usize = 16;
    let length = name.chars().count();
    match name.split_once(" (").filter(|_| length > width) {
        Some((function, file)) => {
            let (of_function, of_file) = (function.chars().count(), file.chars().count());
            let file = shortened(file, (width.saturating_sub(of_function + 2)).max(FILE.min(of_file)));
            format!("{} ({file}", shortened(function, width.saturating_sub(file.chars().count() + 2)))
        }
        None => shortened(name, width),
    }
}

/// So much of a name as fits, its end: that tells more.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    match length > width {
        true => format!("…{}", name.chars().skip(length - width + 1).collect::<String>()),
        false => name.into(),
    }
}

fn process_part(process: &Process) -> ProcessPart {
    let Process { pid, command, python, .. } = process;
    ProcessPart { pid: *pid, program: process.program(), command: command.clone(), python: python.clone() }
}

fn account(tally: Tally) -> Account {
    Account {
        asked: tally.asked,
        taken: tally.taken,
        late: tally.late,
        left_out: tally.stretched.saturating_add(tally.spared),
        failed: tally.failed,
        unreadable: tally.torn + tally.unmapped + tally.invalid,
        dropped: tally.dropped,
        truncated: tally.truncated,
        stopped_seconds: tally.stopped.total.as_secs_f64(),
        own_cpu_seconds: tally.own_cpu.as_secs_f64(),
    }
}

fn thread_part(of: &OfThread) -> ThreadPart {
    let states = ThreadState::ALL.into_iter().zip(of.states).filter(|(_, samples)| *samples > 0).collect();
    ThreadPart {
        process: of.thread.process.index(),
        name: of.thread.name.as_deref().map(String::from),
        os_thread_id: of.thread.os_thread_id.map(|id| id.0),
        python_thread_id: of.thread.python_thread_id,
        interpreter: of.thread.interpreter,
        samples: of.slots,
        ran: of.ran,
        held_gil: of.held,
        states,
    }
}

fn gil_part(((process, interpreter), of): (&(ProcessId, i64), &OfGil)) -> GilPart {
    let OfGil { looks: looks_taken, slots: looks, held, collecting, exists } = *of;
    GilPart { process: process.index(), interpreter: *interpreter, exists, looks, looks_taken, held, collecting }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_keeps_its_end() {
        assert_eq!(shortened("Größe.run (app.py:1)", 20), "Größe.run (app.py:1)");
        assert_eq!(shortened("Größe.run (app.py:12)", 20), "…öße.run (app.py:12)");
    }
}
