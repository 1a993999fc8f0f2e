//! One refresh, for scripts and pipes: as text for people and as JSON for programs. Both are written from one [`Report`].

use std::io::{self, Write};

use serde::Serialize;

use super::columns::Function;
use super::footer::{losses, of_each};
use super::sums::{functions, name, of_chosen, share, why_nothing};
use super::{Scene, State, Whole};
use crate::aggregate::live::{Counts, LONGEST};
use crate::printable::printable;
use crate::sample::{ProcessId, ThreadState, Tid, program_of};
use crate::target::cgroup::Throttling;
use crate::view::summary::threads;

/// The version of the JSON's shape. It grows when a reader of the old one would be misled.
pub const SCHEMA: u32 = 1;
/// Functions shown as text.
const SHOWN: usize = 20;
/// Functions told to programs.
const TOLD: usize = 500;

/// What was seen in one window.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    program: String,
    processes: Vec<Process>,
    ended: Option<String>,
    mode: &'static str,
    by: &'static str,
    seconds: f64,
    samples: Samples,
    /// Cores used by the processes, as last seen.
    cpu: Option<f64>,
    /// By which CPU limit they were throttled.
    throttled: Option<Throttling>,
    gils: Vec<Gil>,
    threads: Vec<Thread>,
    functions: Vec<Row>,
    /// How many functions there are; of `functions` the first are told.
    function_count: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Process {
    pid: u32,
    command: Vec<String>,
    python: String,
    uptime_seconds: Option<f64>,
}

/// The account of the recording.
#[derive(Clone, Copy, Debug, Serialize)]
struct Samples {
    rate_asked: f64,
    rate: f64,
    asked: u64,
    taken: u64,
    late: u64,
    left_out: u64,
    failed: u64,
    torn: u64,
    unmapped: u64,
    invalid: u64,
    dropped: u64,
    stopped_share: f64,
    own_cpu: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Gil {
    pid: Option<u32>,
    interpreter: i64,
    exists: bool,
    held: f64,
    waiting_threads: f64,
    switches_per_second: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Thread {
    pid: Option<u32>,
    interpreter: i64,
    name: Option<String>,
    os_thread_id: Option<Tid>,
    python_thread_id: u64,
    state: Option<ThreadState>,
    runs: f64,
    held: f64,
    wanted: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    function: String,
    place: String,
    own: f64,
    total: f64,
    own_seconds: f64,
    total_seconds: f64,
    gil: f64,
}

impl Report {
    /// Puts together what was seen, of all the time that the recording has gone on.
    pub fn new(scene: &Scene, state: &mut State) -> Report {
        let live = scene.live;
        let rows = functions(scene, state);
        let tallied = live.tallied(state.span());
        let looks = tallied.slots() as f64;
        let pid = |id: ProcessId| live.processes().get(&id).map(|process| process.pid);
        let row = |of: &Function| {
            let (function, place) = name(scene, state.level, of.key);
            let Function { own, total, own_time, total_time, gil, .. } = *of;
            Row { function, place, own, total, own_seconds: own_time, total_seconds: total_time, gil }
        };
        let threads = live.there().into_iter().map(|(id, watched)| {
            let mut counts = Counts::default();
            tallied.counts.iter().filter(|((thread, _), _)| *thread == id).for_each(|(_, of)| counts += *of);
            let thread = &watched.thread;
            Thread {
                pid: pid(thread.process),
                interpreter: thread.interpreter,
                name: thread.name.as_deref().map(Into::into),
                os_thread_id: thread.os_thread_id,
                python_thread_id: thread.python_thread_id,
                state: watched.last.map(|last| last.state),
                runs: share(counts.ran, looks),
                held: share(counts.held, looks),
                wanted: share(counts.wanted, looks),
            }
        });
        let gils = tallied.gils.iter().map(|((process, owner), gil)| Gil {
            pid: pid(*process),
            interpreter: *owner,
            exists: gil.exists,
            held: share(gil.held, gil.moments as f64),
            waiting_threads: share(gil.waited, gil.moments as f64),
            switches_per_second: gil.switches_per_second(),
        });
        Report {
            schema: SCHEMA,
            pysample: env!("CARGO_PKG_VERSION"),
            program: scene.program.into(),
            processes: processes(scene),
            ended: scene.ended.map(Into::into),
            mode: state.mode.name(),
            by: state.level.name(),
            seconds: live.elapsed().as_secs_f64(),
            samples: samples(scene, state),
            cpu: live.cpu(),
            throttled: scene.throttled,
            gils: gils.collect(),
            threads: threads.collect(),
            function_count: rows.len(),
            functions: rows.iter().take(TOLD).map(row).collect(),
        }
    }

    /// Writes the report for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the report for a person.
    pub fn write_text(&self, scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
        for process in &self.processes {
            let up = process.uptime_seconds.map(|seconds| format!(", up {seconds:.0} s")).unwrap_or_default();
            writeln!(
                out,
                "{} (pid {}), Python {}{up}",
                printable(&program_of(&process.command)),
                process.pid,
                process.python
            )?;
        }
        if let Some(ended) = &self.ended {
            writeln!(out, "Ended: {ended}")?;
        }
        let cpu = self.cpu.map(|cores| format!("CPU {:.1} %, ", cores * 100.0)).unwrap_or_default();
        write!(out, "{cpu}{}", threads(self.threads.len()))?;
        for gil in &self.gils {
            // Several have a line each.
            let begin = if self.gils.len() > 1 { "\n" } else { ", " };
            let (whose, chosen) = (self.whose(gil), of_chosen(scene));
            match gil.exists {
                true => {
                    let (held, waiting) = (gil.held * 100.0, gil.waiting_threads);
                    write!(out, "{begin}{whose}GIL held {held:.1} % with {waiting:.2} {chosen}waiting")?;
                }
                false => write!(out, "{begin}{whose}no GIL")?,
            }
        }
        if let Some(throttling) = &self.throttled {
            write!(out, "\nThrottled {throttling}")?;
        }
        let Samples { rate, rate_asked, stopped_share, own_cpu, .. } = self.samples;
        let (stopped, own_cpu) = (stopped_share * 100.0, own_cpu * 100.0);
        let errors = match losses(scene, &scene.live.account().1) {
            none if none.is_empty() => "0 errors".into(),
            some => some,
        };
        let each = of_each(scene);
        let samples = format!("{:.1} s, {rate_asked:.0} Hz asked{each}, {rate:.1} got", self.seconds);
        writeln!(out, "\n{samples}, stopped {stopped:.2} %{each}, {errors}, own CPU {own_cpu:.1} %\n")?;
        self.write_threads(out)?;
        self.write_functions(scene, out)
    }

    /// Whose a GIL is, where there are several.
    fn whose(&self, gil: &Gil) -> String {
        let is_alone = self.gils.iter().filter(|other| other.pid == gil.pid).count() == 1;
        let pid = gil.pid.filter(|_| self.processes.len() > 1).map(|pid| format!("pid {pid}"));
        let interpreter = (!is_alone).then(|| format!("interpreter {}", gil.interpreter));
        let words: Vec<String> = pid.into_iter().chain(interpreter).collect();
        if words.is_empty() { String::new() } else { format!("{}: ", words.join(", ")) }
    }

    fn write_threads(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:>7}{:>7}{:>7}  thread", "runs%", "holds%", "wants%")?;
        for thread in &self.threads {
            let [runs, held, wanted] = [thread.runs, thread.held, thread.wanted].map(|share| share * 100.0);
            let name = printable(thread.name.as_deref().unwrap_or("unnamed")).into_owned();
            let id = thread.os_thread_id.map(|id| id.to_string());
            let within = (thread.interpreter != 0).then(|| format!("interpreter {}", thread.interpreter));
            let pid = thread.pid.filter(|_| self.processes.len() > 1).map(|pid| format!("pid {pid}"));
            let ids: Vec<String> = [id, within, pid].into_iter().flatten().collect();
            let id = if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) };
            writeln!(out, "{runs:7.1}{held:7.1}{wanted:7.1}  {name}{id}")?;
        }
        writeln!(out)
    }

    fn write_functions(&self, scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:>7}{:>7}{:>9}{:>9}{:>7}  {}", "self%", "total%", "self s", "total s", "GIL%", self.by)?;
        for row in self.functions.iter().take(SHOWN) {
            let [own, total, gil] = [row.own, row.total, row.gil].map(|share| share * 100.0);
            let place = if row.place.is_empty() { String::new() } else { format!(" ({})", printable(&row.place)) };
            let (own_seconds, total_seconds, name) = (row.own_seconds, row.total_seconds, printable(&row.function));
            writeln!(out, "{own:7.1}{total:7.1}{own_seconds:9.2}{total_seconds:9.2}{gil:7.1}  {name}{place}")?;
        }
        match self.function_count.saturating_sub(SHOWN) {
            0 if self.function_count == 0 => writeln!(out, "    {}", why_nothing(scene, self.mode, "-i counts all")),
            0 => Ok(()),
            more => writeln!(out, "    and {more} more"),
        }
    }
}

fn processes(scene: &Scene) -> Vec<Process> {
    let alone = scene.live.processes().len() == 1;
    let process = |of: &crate::sample::Process| Process {
        pid: of.pid,
        command: of.command.clone(),
        python: of.python.clone(),
        uptime_seconds: scene.uptime.filter(|_| alone).map(|uptime| uptime.as_secs_f64()),
    };
    scene.live.processes().values().map(process).collect()
}

fn samples(scene: &Scene, state: &State) -> Samples {
    debug_assert!(state.whole == Whole::Samples);
    let (_, tally) = scene.live.account();
    let cost = scene.live.cost(if state.of_all_time { LONGEST } else { state.window() });
    Samples {
        rate_asked: scene.rate,
        rate: cost.rate,
        asked: tally.asked,
        taken: tally.taken,
        late: tally.late,
        left_out: tally.stretched.saturating_add(tally.spared),
        failed: tally.failed,
        torn: tally.torn,
        unmapped: tally.unmapped,
        invalid: tally.invalid,
        dropped: tally.dropped,
        stopped_share: cost.stopped,
        own_cpu: cost.own_cpu,
    }
}
