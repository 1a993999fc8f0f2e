//! A profile: a recording written in a format.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use pysample::aggregate::{CallTree, Rules};
use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, Processes, Threads};
use pysample::output::{Output, Written};
use pysample::sample::{Ending, Header, Tally};
use pysample::sampler::{Settings, Wanted};
use pysample::view::summary::{Profile, Summary, hertz, threads};

use super::described::{Described, file_name};
use super::follow::Recorded;
use super::kept::{Kept, Samples};
use super::session::Purpose;
use super::sources::Sources;
use super::spool::Spool;
use super::tell;
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
        let header = Header {
            pysample: env!("CARGO_PKG_VERSION").into(),
            program: subject.program.clone(),
            started: SystemTime::now(),
            rate: self.sampling.rate,
            wanted: self.sampling.wanted,
        };
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
            end: recorded.end,
            written: None,
        };
        let search_path = recorded.search_path.into_iter().collect();
        let processes = processes(self.choice.reach);
        let labels = Labels { lines: self.lines, files: self.files, threads: self.threads, processes, search_path };
        let written = match recorded.sum {
            Kept::Stacks(tree, write_stacks, output) => {
                let (folded, heading) = (Folded::new(&tree, &labels), heading(&summary, &profile));
                write(output, |out| write_stacks(&folded, &heading, self.drawing, out))
            }
            Kept::Own(samples, path) => {
                let saved = samples.saved_until();
                close(samples, recorded.failure, recorded.end).map(|()| path.display().to_string()).map_err(|source| {
                    summary.written =
                        Some(format!("{}, but for what came after {:.1} s", path.display(), saved.as_secs_f64()));
                    Error::Output { path, source }
                })
            }
            Kept::Spooled(samples, write_samples, sources, output) => {
                let finished = samples.writer.finish(recorded.end).and_then(Spool::into_reader);
                let reader = finished.map_err(|source| output.failed(source))?;
                let written = write(output, |out| match write_samples {
                    Some(write_samples) => write_samples(&reader, &labels, &|file| sources.text(file), out),
                    None => reader.copy(out),
                });
                match recorded.failure {
                    Some(source) => Err(Error::Io { what: "cannot keep all that was sampled".into(), source }),
                    None => written,
                }
            }
        };
        if let Ok(written) = &written {
            summary.written = Some(written.clone());
        }
        if written.is_ok() || summary.written.is_some() {
            tell(summary.to_string().trim_end());
        }
        if profile.stacks == 0 && summary.tally.taken > 0 {
            match self.sampling.wanted {
                Wanted::Running => {
                    tell("  hint: no thread was seen running Python code; -i counts those that wait, too")
                }
                Wanted::Holders => tell("  hint: no thread was seen holding a GIL; -i counts all threads"),
                Wanted::All | Wanted::Contenders => {}
            }
        }
        written.map(drop)
    }
}

/// Ends a file that was streamed.
fn close(samples: Samples<File>, failure: Option<io::Error>, ending: Ending) -> io::Result<()> {
    match failure {
        Some(error) => Err(error),
        None => samples.writer.finish(ending)?.sync_all(),
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
    let subtitle = format!(
        "{} stacks of {}{processes} · {taken} samples in {:.1} s at {achieved} ({rate} asked, {late} late, {} errors)",
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
