//! A profile: a recording written in a format.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pysample::aggregate::{CallTree, LeftOut, Rules};
use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, Processes, Threads};
use pysample::output::{Output, Written};
use pysample::sample::{Ending, Header, Tally};
use pysample::sampler::{Settings, Wanted};
use pysample::view::summary::{Profile, Summary, hertz, threads};

use super::described::{Described, file_name};
use super::follow::Recorded;
use super::kept::{Disk, Kept, Samples};
use super::session::Purpose;
use super::sources::Sources;
use super::{rescue, tell};
use crate::plan::{Destination, Format, Reach, Record, Subject};

impl Purpose for Record {
    type Sum = Kept;
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

    fn check(&self) -> Result<Option<Output>> {
        check(&self.destination)
    }

    fn open(&self, program: &str, pid: u32) -> Result<Output> {
        open(&self.destination, self.format, program, pid)
    }

    fn begin(&self, subject: &Described, output: Output) -> Result<Kept> {
        let tree = match self.threads {
            Threads::Merged => CallTree::merged(),
            Threads::Apart => CallTree::default(),
        };
        let header = header(subject, &self.sampling);
        let sources = match self.subject {
            Subject::Process(pid) => Sources::of(pid),
            Subject::Command(_) => Sources::Ours,
        };
        Kept::new(self.format.way(), tree, &header, sources, output)
    }

    fn may_wait(kept: &Kept) -> bool {
        kept.may_wait()
    }

    fn finish(&self, subject: &Described, recorded: Recorded<Kept>) -> Result<()> {
        let profile = recorded.sum.profile();
        let mut summary = Summary {
            subject: subject.to_text(),
            elapsed: recorded.elapsed,
            rate: self.sampling.rate,
            tally: recorded.tally,
            processes: (self.choice.reach == Reach::Family).then(|| recorded.processes.clone()),
            left_out: recorded.left_out,
            profile: Some(profile),
            throttled: recorded.throttled,
            end: recorded.end,
            written: None,
        };
        let search_path = recorded.search_path.into_iter().collect();
        let processes = processes(self.choice.reach);
        let labels = Labels { lines: self.lines, files: self.files, threads: self.threads, processes, search_path };
        let heading = heading(&summary, &profile);
        let (written, outcome) = self.put(recorded.sum, recorded.failure, recorded.end, &labels, &heading);
        summary.written = written;
        if summary.written.is_some() {
            tell(summary.to_string().trim_end());
        }
        let LeftOut { threads, excluded } = summary.left_out;
        if profile.stacks == 0 && threads + excluded > 0 {
            tell(
                "  hint: --thread, --main-thread and --exclude left out all there was; `pysample dump` shows what threads are called",
            );
        } else if profile.stacks == 0 && summary.tally.taken > 0 {
            match self.sampling.wanted {
                Wanted::Running => {
                    tell("  hint: no thread was seen running Python code; -i counts those that wait, too")
                }
                Wanted::Holders => tell("  hint: no thread was seen holding a GIL; -i counts all threads"),
                Wanted::All | Wanted::Contenders => {}
            }
        }
        outcome
    }
}

impl Record {
    /// Writes what was kept. Where it is, in words, if it is anywhere; and what went wrong.
    fn put(
        &self,
        kept: Kept,
        failure: Option<io::Error>,
        ending: Ending,
        labels: &Labels,
        heading: &Heading,
    ) -> (Option<String>, Result<()>) {
        let is_worth_keeping = kept.profile().stacks + kept.profile().frameless > 0;
        let (written, outcome) = match kept {
            Kept::Own(samples, path, disk) => return close(samples, path, disk, failure, ending),
            Kept::Stacks(tree, write_stacks, output) => {
                let folded = Folded::new(&tree, labels);
                let fill = |out: &mut dyn Write| write_stacks(&folded, heading, self.drawing, out);
                match is_worth_keeping {
                    true => rescue::write(output, self.format, &fill),
                    false => told(write(output, fill)),
                }
            }
            Kept::Spooled(samples, write_samples, sources, output) => {
                let spooled = samples.writer.finish(ending).and_then(|spool| Ok((spool.file(), spool.into_reader()?)));
                let (file, reader) = match spooled {
                    Ok(spooled) => spooled,
                    Err(source) => return (None, Err(output.failed(source))),
                };
                let fill = |out: &mut dyn Write| match write_samples {
                    Some(write_samples) => write_samples(&reader, labels, &|file| sources.text(file), out),
                    None => reader.copy(out),
                };
                match is_worth_keeping {
                    true => rescue::write_or_keep(output, self.format, &fill, (&reader, file)),
                    false => told(write(output, fill)),
                }
            }
        };
        match failure {
            Some(source) if outcome.is_ok() => {
                (written, Err(Error::Io { what: "cannot keep all that was sampled".into(), source }))
            }
            _ => (written, outcome),
        }
    }
}

/// Where something is, in words, if it could be written; and what went wrong.
fn told(written: Result<String>) -> (Option<String>, Result<()>) {
    match written {
        Ok(written) => (Some(written), Ok(())),
        Err(error) => (None, Err(error)),
    }
}

/// Ends a file that was streamed. What is in it already stays there whatever goes wrong.
fn close(
    samples: Samples<File>,
    path: PathBuf,
    mut disk: Disk,
    failure: Option<io::Error>,
    ending: Ending,
) -> (Option<String>, Result<()>) {
    let saved = samples.saved_until().as_secs_f64();
    let closed = match failure {
        Some(error) => Err(error),
        None => samples.writer.finish(ending).and_then(|file| disk.arrived().and(file.sync_all()).map(|()| file)),
    };
    match closed {
        Ok(file) => rescue::removed(&file, &path),
        Err(source) => {
            let written = format!("{}, but for what came after {saved:.1} s", path.display());
            (Some(written), Err(Error::Output { path, source }))
        }
    }
}

/// Writes an output; where it is, in words.
pub fn write(output: Output, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String> {
    let path = output.path().display().to_string();
    Ok(match output.write(fill)? {
        Written::Whole => path,
        Written::UntilClosed => format!("{path}, until its reader closed it"),
    })
}

/// What is said of a recording that begins now.
pub fn header(subject: &Described, sampling: &Settings) -> Header {
    Header {
        pysample: env!("CARGO_PKG_VERSION").into(),
        program: subject.program.clone(),
        started: SystemTime::now(),
        rate: sampling.rate,
        wanted: sampling.wanted,
    }
}

/// Whether stacks begin with their process.
pub fn processes(reach: Reach) -> Processes {
    match reach {
        Reach::Alone => Processes::Merged,
        Reach::Family => Processes::Apart,
    }
}

/// What is written above a flame graph.
pub fn heading(summary: &Summary, profile: &Profile) -> Heading {
    let Tally { taken, late, .. } = summary.tally;
    let achieved = hertz(taken as f64 / summary.elapsed.as_secs_f64());
    let (processes, rate) = match &summary.processes {
        Some(processes) => (format!(" in {} processes", processes.sampled), format!("{} each", hertz(summary.rate))),
        None => (String::new(), hertz(summary.rate)),
    };
    // The drawing adds up to that.
    let counting = match profile.slots == profile.stacks {
        true => String::new(),
        false => format!(", counting for {},", profile.slots),
    };
    let subtitle = format!(
        "{} stacks{counting} of {}{processes} · {taken} samples in {:.1} s at {achieved} ({rate} asked, {late} late, {} errors)",
        profile.stacks,
        threads(profile.threads),
        summary.elapsed.as_secs_f64(),
        summary.tally.errors(),
    );
    Heading { title: summary.subject.clone(), subtitle }
}

/// Checks an output before a command is run. `None` where its name is not known yet.
pub fn check(destination: &Destination) -> Result<Option<Output>> {
    match destination {
        Destination::Stdout => Ok(Some(Output::kept_stdout())),
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
