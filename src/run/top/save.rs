//! What was collected so far, written as `record` writes it, and the moment as `dump` shows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use pysample::aggregate::CallTree;
use pysample::aggregate::live::{Live, Mode};
use pysample::error::Result;
use pysample::export::flamegraph::{self, Drawing, Heading};
use pysample::export::{Files, Folded, Labels, collapsed};
use pysample::output::Output;
use pysample::sample::{Process, ProcessId, Snapshot};
use pysample::view::dump::{Colour, Process as Dumped, Report};
use pysample::view::summary::hertz;

use super::super::described::{Described, file_name};
use super::super::record;
use super::collect::Whole;
use super::sources::Surroundings;
use crate::plan::{Format, FromStacks};

/// What is written, taken out of what is collected.
pub struct Profile {
    tree: CallTree,
    labels: Labels,
    heading: Heading,
}

impl Profile {
    /// What was collected so far.
    pub fn new(live: &Live, mode: Mode, files: Files, subject: &Described, rate: f64) -> Profile {
        let tree = live.profile(mode);
        let (seconds, looks) = (live.elapsed().as_secs_f64(), live.totals().taken());
        let subtitle = format!(
            "{} stacks in {} mode · {looks} samples in {seconds:.1} s ({} asked), so far",
            tree.samples(),
            mode.name(),
            hertz(rate),
        );
        let search_path = live.search_path();
        let labels = Labels { files, search_path, ..Labels::default() };
        Profile { tree, labels, heading: Heading { title: subject.to_text(), subtitle } }
    }

    /// Writes it as a flame graph and as stacks, and all that was sampled as a recording, into the current folder. Where to,
    /// in words.
    pub fn save(&self, program: &str, pid: u32, whole: &Whole) -> Result<String> {
        let now = SystemTime::now();
        let folded = Folded::new(&self.tree, &self.labels);
        let write = |format: Format, fill: FromStacks| -> Result<String> {
            let path: PathBuf = file_name(program, pid, now, format);
            let output = Output::file(&path)?;
            record::write(output, |out| fill(&folded, &self.heading, Drawing::default(), out))
        };
        let graph = write(Format::Flamegraph, flamegraph::draw)?;
        write(Format::Collapsed, |stacks, _, _, out| collapsed::write(stacks, out))?;
        let (collapsed, all) = (Format::Collapsed.ending(), Format::Pysample.ending());
        let output = Output::file(&file_name(program, pid, now, Format::Pysample));
        Ok(match output.and_then(|output| record::write(output, |out| whole.copy(out))) {
            Ok(_) => format!("saved {graph}, .{collapsed} and .{all}"),
            Err(error) => format!("saved {graph} and .{collapsed}, not .{all}: {error}"),
        })
    }
}

/// The last moment of every process that is there, or of the one that is wanted.
pub fn moments(live: &Live, of: Option<ProcessId>) -> Vec<(Process, Snapshot)> {
    let one = of.and_then(|of| Some((of, live.processes().get(&of)?)));
    let all = live.present().filter(|_| of.is_none());
    let wanted = one.into_iter().chain(all);
    wanted.filter_map(|(id, process)| Some((process.clone(), live.snapshot(id)?))).collect()
}

/// Moments as `dump` shows them, but for the names of files, which are what `short` says. Source files are read for it.
pub fn dump(
    moments: Vec<(Process, Snapshot)>,
    subject: &Described,
    around: &mut Surroundings,
    short: impl Fn(&str) -> Arc<str>,
) -> Vec<String> {
    /// Processes whose source is read: to open one takes some milliseconds.
    const MOST: usize = 20;
    let mut text = Vec::new();
    for (index, (process, snapshot)) in moments.into_iter().enumerate() {
        if index < MOST {
            around.open(process.pid);
        }
        let dumped = dumped(&process, subject);
        let report = Report::new(dumped, snapshot, |file, line| around.line(process.pid, file, line));
        if !text.is_empty() {
            text.push(b'\n');
        }
        // Writing to memory does not fail.
        let _ = report.with_files(&short).write_text(Colour::None, &mut text);
    }
    String::from_utf8_lossy(&text).lines().map(Into::into).collect()
}

fn dumped(process: &Process, subject: &Described) -> Dumped {
    let known = subject.process();
    match known.pid == process.pid && known.python.version == process.python {
        true => known.clone(),
        false => {
            let mut python = known.python.clone();
            python.version.clone_from(&process.python);
            let pid_inside = Some(process.own_pid).filter(|own| *own != process.pid);
            Dumped { pid: process.pid, pid_inside, command: process.command.clone(), python }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use pysample::sample::{Event, GilState, Sample, Thread, ThreadId, ThreadState, Weight};

    #[test]
    fn who_has_ended_is_not_dumped_unless_asked_for() {
        let mut live = Live::new(|file, _| file.into());
        for (id, seconds) in [(0, 1), (1, 9)] {
            let command = vec!["worker".into()];
            let process = Process { pid: 70 + id, own_pid: 7, parent: None, command, python: "3.13.0".into() };
            live.take(Event::Process(ProcessId(id), process));
            let (process, thread) = (ProcessId(id), ThreadId(id));
            let known = Thread { process, interpreter: 0, os_thread_id: None, python_thread_id: 1, name: None };
            live.take(Event::Thread(thread, known));
            let (at, state, gil) = (Duration::from_secs(seconds), ThreadState::RunsPython, GilState::Unknown);
            live.take(Event::Sample(Sample { at, thread, state, gil, stack: None, weight: Weight::ONE }));
        }
        live.finish();
        let pids = |of| moments(&live, of).iter().map(|(process, _)| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(None), [71]);
        assert_eq!(pids(Some(ProcessId(0))), [70]);
    }
}
