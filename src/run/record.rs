//! A profile: a recording written as a flame graph or as collapsed stacks.

use std::path::Path;
use std::time::SystemTime;

use pysample::aggregate::{Apart, CallTree, Rules};
use pysample::error::Result;
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, Processes, Threads, collapsed, flamegraph};
use pysample::output::{Output, Written};
use pysample::sample::Tally;
use pysample::sampler::{Settings, Wanted};
use pysample::view::summary::{Profile, Summary, hertz, threads};

use super::described::{Described, file_name};
use super::follow::Recorded;
use super::session::Purpose;
use super::tell;
use crate::plan::{Destination, Format, Reach, Record};

impl Purpose for Record {
    type Sum = CallTree;
    type Output = Output;

    fn sampling(&self) -> Settings {
        self.sampling
    }

    fn reach(&self) -> Reach {
        self.choice.reach
    }

    fn rules(&self) -> Rules {
        self.choice.rules.clone()
    }

    fn sum(&self) -> CallTree {
        CallTree::of(match (self.threads, self.choice.reach) {
            (Threads::Merged, Reach::Alone) => Apart::Nothing,
            (Threads::Merged, Reach::Family) => Apart::Processes,
            (Threads::Apart, _) => Apart::Threads,
        })
    }

    fn check(&self) -> Result<Option<Output>> {
        check(&self.destination)
    }

    fn open(&self, program: &str, pid: u32) -> Result<Output> {
        open(&self.destination, self.format, program, pid)
    }

    fn may_wait(output: &Output) -> bool {
        output.may_wait()
    }

    fn finish(&self, subject: &Described, recorded: Recorded<CallTree>, output: Output) -> Result<()> {
        let mut summary = summary(self, subject, &recorded);
        let search_path = recorded.search_path.into_iter().collect();
        let processes = processes(self.choice.reach);
        let labels = Labels { lines: self.lines, files: self.files, threads: self.threads, processes, search_path };
        let heading = heading(subject, &summary, &recorded.sum);
        summary.written = Some(write(&recorded.sum, &labels, &heading, self.format, output)?);
        tell(summary.to_string().trim_end());
        if recorded.sum.samples() == 0 && summary.tally.taken > 0 {
            match self.sampling.wanted {
                Wanted::Running => {
                    tell("  hint: no thread was seen running Python code; -i counts those that wait, too")
                }
                Wanted::Holders => tell("  hint: no thread was seen holding a GIL; -i counts all threads"),
                Wanted::All | Wanted::Contenders => {}
            }
        }
        Ok(())
    }
}

/// Writes a profile; where to, in words.
pub fn write(tree: &CallTree, labels: &Labels, heading: &Heading, format: Format, output: Output) -> Result<String> {
    let folded = Folded::new(tree, labels);
    let path = output.path().display().to_string();
    let written = output.write(|out| match format {
        Format::Collapsed => collapsed::write(&folded, out),
        Format::Flamegraph => flamegraph::write(&folded, heading, out),
    })?;
    Ok(match written {
        Written::Whole => path,
        Written::UntilClosed => format!("{path}, until its reader closed it"),
    })
}

/// Whether stacks begin with their process.
pub fn processes(reach: Reach) -> Processes {
    match reach {
        Reach::Alone => Processes::Merged,
        Reach::Family => Processes::Apart,
    }
}

fn summary(plan: &Record, subject: &Described, recorded: &Recorded<CallTree>) -> Summary {
    let profile = Profile {
        stacks: recorded.sum.samples(),
        distinct: recorded.sum.distinct_stacks(),
        frameless: recorded.sum.frameless(),
        threads: recorded.sum.thread_count(),
    };
    Summary {
        subject: subject.to_text(),
        elapsed: recorded.elapsed,
        rate: plan.sampling.rate,
        tally: recorded.tally,
        processes: (plan.choice.reach == Reach::Family).then(|| recorded.processes.clone()),
        left_out: recorded.left_out,
        profile: Some(profile),
        end: recorded.end,
        written: None,
    }
}

fn heading(subject: &Described, summary: &Summary, tree: &CallTree) -> Heading {
    let Tally { taken, late, .. } = summary.tally;
    let achieved = hertz(taken as f64 / summary.elapsed.as_secs_f64());
    let (processes, rate) = match &summary.processes {
        Some(processes) => (format!(" in {} processes", processes.sampled), format!("{} each", hertz(summary.rate))),
        None => (String::new(), hertz(summary.rate)),
    };
    let subtitle = format!(
        "{} stacks of {}{processes} · {taken} samples in {:.1} s at {achieved} ({rate} asked, {late} late, {} errors)",
        tree.samples(),
        threads(tree.thread_count()),
        summary.elapsed.as_secs_f64(),
        summary.tally.errors(),
    );
    Heading { title: subject.to_text(), subtitle }
}

/// Checks an output before a command is run. `None` where its name is not known yet.
pub fn check(destination: &Destination) -> Result<Option<Output>> {
    match destination {
        Destination::Stdout => Ok(Some(Output::stdout())),
        Destination::File(path) => Output::file(path).map(Some),
        Destination::Named => Output::check_folder(Path::new(".")).map(|()| None),
    }
}

/// Checks an output, by whatever name.
pub fn open(destination: &Destination, format: Format, program: &str, pid: u32) -> Result<Output> {
    match check(destination)? {
        Some(output) => Ok(output),
        None => Output::file(&file_name(program, pid, SystemTime::now(), format)),
    }
}
