//! What was typed means this: every value checked, every choice an enum. Nothing below sees the raw arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::Shell;
use pysample::error::{Error, Result};
use pysample::export::{Files, Lines, Threads};
use pysample::sampler::Wanted;

use crate::cli;

/// Samples a second, at least and at most.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=200_000.0;
/// A year, in seconds. Longer recordings are typing errors.
const LONGEST: f64 = 31_536_000.0;
/// The endings of file names that tell a format.
const ENDINGS: [(&str, Format); 4] = [
    ("svg", Format::Flamegraph),
    ("txt", Format::Collapsed),
    ("folded", Format::Collapsed),
    ("collapsed", Format::Collapsed),
];

/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// Make a profile.
    Record(Record),
    /// Show what every thread is doing.
    Dump(Dump),
    /// Print completions for a shell.
    Completions(Shell),
}

/// A profile to make.
#[derive(Debug)]
pub struct Record {
    /// Of what.
    pub subject: Subject,
    /// To where.
    pub destination: Destination,
    /// In which format.
    pub format: Format,
    /// Samples a second.
    pub rate: f64,
    /// How long; `None` until something else ends it.
    pub duration: Option<Duration>,
    /// Of which threads.
    pub wanted: Wanted,
    /// Which line frames show.
    pub lines: Lines,
    /// How much of file names.
    pub files: Files,
    /// Whether threads are told apart.
    pub threads: Threads,
}

/// What to record.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject {
    /// A process that runs already.
    Process(u32),
    /// A command to run: a program and its arguments. Never empty.
    Command(Vec<OsString>),
}

/// Where a profile goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, a device, a pipe.
    File(PathBuf),
    /// A file in the current folder that is named after what was recorded.
    Named,
}

/// What a profile is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Collapsed stacks.
    Collapsed,
    /// A flame graph.
    Flamegraph,
}

impl Format {
    /// The ending of a file's name that goes with it.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Collapsed => "txt",
            Format::Flamegraph => "svg",
        }
    }
}

/// A look at a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Dump {
    /// Which.
    pub pid: u32,
    /// For whom.
    pub shape: Shape,
}

/// Whom a dump is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// People.
    Text,
    /// Programs.
    Json,
}

impl Plan {
    /// What `typed` means.
    pub fn new(typed: cli::Cli) -> Result<Plan> {
        Ok(match typed.command {
            cli::Command::Record(typed) => Plan::Record(record(typed)?),
            cli::Command::Dump(typed) => Plan::Dump(dump(&typed)?),
            cli::Command::Completions(typed) => Plan::Completions(typed.shell),
        })
    }
}

fn record(typed: cli::Record) -> Result<Record> {
    let (destination, format) = destination(typed.output, typed.format.as_deref())?;
    Ok(Record {
        subject: subject(typed.pid.as_deref(), typed.command)?,
        destination,
        format,
        rate: rate(&typed.rate)?,
        duration: typed.duration.as_deref().map(duration).transpose()?,
        wanted: if typed.idle { Wanted::All } else { Wanted::Running },
        lines: if typed.function { Lines::First } else { Lines::Running },
        files: if typed.full_filenames { Files::Full } else { Files::Short },
        threads: if typed.threads { Threads::Apart } else { Threads::Merged },
    })
}

fn dump(typed: &cli::Dump) -> Result<Dump> {
    Ok(Dump { pid: pid(&typed.pid)?, shape: if typed.json { Shape::Json } else { Shape::Text } })
}

fn subject(typed_pid: Option<&str>, command: Vec<OsString>) -> Result<Subject> {
    match typed_pid {
        Some(typed) => pid(typed).map(Subject::Process),
        None if command.is_empty() => {
            wrong("there is nothing to record", "a process: --pid PID; or a command: -- python3 app.py")
        }
        None => Ok(Subject::Command(command)),
    }
}

fn pid(typed: &str) -> Result<u32> {
    match typed.parse() {
        Ok(0) | Err(_) => wrong(
            format!("'{typed}' is not a process id"),
            "a process id is a positive number; `pgrep -af python` lists the Python processes",
        ),
        Ok(pid) if pid > i32::MAX as u32 => Err(Error::NoSuchProcess { pid }),
        Ok(pid) => Ok(pid),
    }
}

/// Reads `250`, `0.5k`, `10kHz`.
fn rate(typed: &str) -> Result<f64> {
    let spelled = typed.trim().to_ascii_lowercase();
    let number = spelled.strip_suffix("hz").unwrap_or(&spelled).trim_end();
    let (number, unit) = match number.strip_suffix('k') {
        Some(thousands) => (thousands.trim_end(), 1000.0),
        None => (number, 1.0),
    };
    let hint = format!("samples a second, from {} to {}; 100 is usual", RATES.start(), RATES.end());
    match number.parse::<f64>() {
        Ok(number) if RATES.contains(&(number * unit)) => Ok(number * unit),
        Ok(number) if number.is_finite() => wrong(format!("a rate of {typed} is out of range"), hint),
        _ => wrong(format!("'{typed}' is not a rate"), hint),
    }
}

/// Reads `10`, `1.5`, `1.5s`.
fn duration(typed: &str) -> Result<Duration> {
    let number = typed.trim().trim_end_matches('s').trim_end();
    let hint = "seconds, more than 0, as in -d 10 or -d 1.5; without -d until Ctrl-C";
    match number.parse::<f64>() {
        Ok(seconds) if seconds > LONGEST => wrong(format!("a duration of {typed} is more than a year"), hint),
        Ok(seconds) if seconds.is_finite() => match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(duration),
            _ => wrong(format!("a duration of {typed} is not more than 0"), hint),
        },
        _ => wrong(format!("'{typed}' is not a duration"), hint),
    }
}

fn destination(typed: Option<PathBuf>, format: Option<&str>) -> Result<(Destination, Format)> {
    let format = format.map(format_named).transpose()?;
    Ok(match typed {
        None => (Destination::Named, format.unwrap_or(Format::Flamegraph)),
        Some(path) if path == Path::new("-") => (Destination::Stdout, format.unwrap_or(Format::Collapsed)),
        Some(path) if path.as_os_str().is_empty() => return wrong("the name of the output is empty", "as in -o x.svg"),
        Some(path) => {
            let format = format.map_or_else(|| format_of(&path), Ok)?;
            (Destination::File(path), format)
        }
    })
}

fn format_named(name: &str) -> Result<Format> {
    match name.to_ascii_lowercase().as_str() {
        "svg" | "flamegraph" => Ok(Format::Flamegraph),
        "collapsed" | "folded" | "txt" => Ok(Format::Collapsed),
        _ => wrong(format!("there is no format '{name}'"), "the formats are svg (or flamegraph) and collapsed"),
    }
}

/// The format that a file's name tells. Devices and pipes have no endings: they take collapsed stacks. So do folders,
/// which are refused for a better reason later.
fn format_of(path: &Path) -> Result<Format> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let known = ENDINGS.iter().find(|(known, _)| ending.as_deref() == Some(known));
    if let Some(&(_, format)) = known {
        return Ok(format);
    }
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Ok(Format::Collapsed);
    }
    let endings = ENDINGS.map(|(ending, _)| format!(".{ending}")).join(", ");
    let hint = format!("the endings are {endings}; or say -f svg or -f collapsed");
    match ending {
        Some(ending) => wrong(format!("no format goes with the ending .{ending}"), hint),
        None => wrong(format!("the name {} does not tell a format", path.display()), hint),
    }
}

fn wrong<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T> {
    Err(Error::Usage { what: what.into(), hint: Some(hint.into()) })
}
