//! What was typed means this: every value checked, every choice an enum. Nothing below sees the raw arguments.

mod choice;
pub mod diff;
mod format;
pub mod recordings;
mod top;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::Shell;
use pysample::error::{Error, Result};
use pysample::export::flamegraph::{Drawing, From, Growth};
use pysample::export::{Files, Lines, Threads};
use pysample::sampler::{MaxCpu, Pause, Settings, Wanted};
use pysample::target::cgroup::{self, Groups, Mounts};
use pysample::target::machine;

use crate::cli;

use choice::choice;
pub use choice::{Choice, Reach};
pub use format::{Format, FromSamples, FromStacks, Way};
pub use top::{Form, Top};

/// Samples a second, at least and at most.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=200_000.0;
/// So many samples a second, and looks at the GIL, without being told to.
const USUAL_RATE: f64 = 100.0;
const USUAL_LOOKS: f64 = 250.0;
/// A year, in seconds. Longer recordings are typing errors.
const LONGEST: f64 = 31_536_000.0;
/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// Make a profile.
    Record(Record),
    /// Show live what is hot.
    Top(Top),
    /// Show what every thread is doing.
    Dump(Dump),
    /// Show who holds the GIL and who waits for it.
    Gil(Gil),
    /// Show how two recordings differ.
    Diff(diff::Diff),
    /// Judge a recording by another one.
    Check(diff::Check),
    /// List the Python processes.
    Ps(Shape),
    /// Tell why a process can be read, or cannot; without one, what is allowed at all.
    Doctor(Option<u32>, Shape),
    /// Write a recording in another format.
    Convert(recordings::Convert),
    /// Put recordings together.
    Merge(recordings::Merge),
    /// Tell what is in a recording.
    Report(recordings::Report),
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
    /// How a flame graph is drawn.
    pub drawing: Drawing,
    /// How it is sampled.
    pub sampling: Settings,
    /// Which line frames show.
    pub lines: Lines,
    /// How much of file names.
    pub files: Files,
    /// Whether threads are told apart.
    pub threads: Threads,
    /// Which processes, threads and stacks.
    pub choice: Choice,
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

/// A look at who holds the GIL.
#[derive(Debug)]
pub struct Gil {
    /// Of what.
    pub subject: Subject,
    /// How it is sampled.
    pub sampling: Settings,
    /// Where the waiting goes by stacks, and in which format, if that is wanted.
    pub output: Option<(Destination, Format)>,
    /// For whom.
    pub shape: Shape,
    /// How much of file names.
    pub files: Files,
    /// Which processes, threads and stacks.
    pub choice: Choice,
}

/// A look at a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Dump {
    /// Which.
    pub pid: u32,
    /// For whom.
    pub shape: Shape,
    /// Which threads are shown.
    pub wanted: Wanted,
    /// Whether threads are stopped while they are read.
    pub pause: Pause,
    /// Which processes, threads and stacks.
    pub choice: Choice,
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
            cli::Command::Top(typed) => Plan::Top(top::top(typed)?),
            cli::Command::Dump(typed) => Plan::Dump(dump(&typed)?),
            cli::Command::Gil(typed) => Plan::Gil(gil(typed)?),
            cli::Command::Diff(typed) => Plan::Diff(diff::diff(typed)?),
            cli::Command::Check(typed) => Plan::Check(diff::check(typed)?),
            cli::Command::Ps(typed) => Plan::Ps(shape(typed.json)),
            cli::Command::Doctor(typed) => Plan::Doctor(typed.pid.as_deref().map(pid).transpose()?, shape(typed.json)),
            cli::Command::Convert(typed) => Plan::Convert(recordings::convert(typed)?),
            cli::Command::Merge(typed) => Plan::Merge(recordings::merge(typed)?),
            cli::Command::Report(typed) => Plan::Report(recordings::report(typed)?),
            cli::Command::Completions(typed) => Plan::Completions(typed.shell),
        })
    }
}

fn record(typed: cli::Record) -> Result<Record> {
    let (destination, format) = destination(typed.output, typed.format.as_deref())?;
    let drawing = drawing(typed.drawing, format)?;
    let lines = if typed.function { Lines::First } else { Lines::Running };
    let files = if typed.full_filenames { Files::Full } else { Files::Short };
    let threads = if typed.threads { Threads::Apart } else { Threads::Merged };
    labels(format, lines, files, threads)?;
    let choice = choice(&typed.choice)?;
    let (rate, max_cpu) = pace(USUAL_RATE, typed.rate.as_deref(), typed.max_cpu.as_deref(), choice.reach)?;
    Ok(Record {
        subject: subject(typed.pid.as_deref(), typed.command, "there is nothing to record")?,
        destination,
        format,
        drawing,
        sampling: Settings {
            rate,
            duration: typed.duration.as_deref().map(duration).transpose()?,
            wanted: modes(&typed.mode, Wanted::Running)?,
            pause: pause(typed.never_pause),
            max_pause: max_pause(&typed.max_pause)?,
            max_cpu,
            gils: !matches!(format.way(), Way::Stacks(_)),
        },
        lines,
        files,
        threads,
        choice,
    })
}

fn dump(typed: &cli::Dump) -> Result<Dump> {
    Ok(Dump {
        pid: pid(&typed.pid)?,
        shape: shape(typed.json),
        wanted: modes(&typed.mode, Wanted::All)?,
        pause: pause(typed.never_pause),
        choice: choice(&typed.choice)?,
    })
}

/// For how long a process is looked at that nobody said how long to look at.
const USUAL_LOOK: Duration = Duration::from_secs(10);

fn gil(typed: cli::Gil) -> Result<Gil> {
    let subject = subject(typed.pid.as_deref(), typed.command, "there is nothing whose GIL to look at")?;
    let usual = match subject {
        Subject::Process(_) => Some(USUAL_LOOK),
        Subject::Command(_) => None,
    };
    let output = match typed.output {
        None => None,
        Some(path) => match destination(Some(path), None)? {
            (Destination::Stdout, _) => {
                return wrong("the report itself goes to standard output", "as in -o blame.svg");
            }
            (_, format) if !matches!(format.way(), Way::Stacks(_)) => {
                return wrong("the waiting is written as a flame graph or collapsed stacks only", "as in -o blame.svg");
            }
            output => Some(output),
        },
    };
    let choice = choice(&typed.choice)?;
    let (rate, max_cpu) = pace(USUAL_LOOKS, typed.rate.as_deref(), typed.max_cpu.as_deref(), choice.reach)?;
    Ok(Gil {
        subject,
        sampling: Settings {
            rate,
            duration: typed.duration.as_deref().map(duration).transpose()?.or(usual),
            wanted: Wanted::Contenders,
            pause: pause(typed.never_pause),
            max_pause: max_pause(&typed.max_pause)?,
            max_cpu,
            gils: true,
        },
        output,
        shape: shape(typed.json),
        files: if typed.full_filenames { Files::Full } else { Files::Short },
        choice,
    })
}

fn shape(json: bool) -> Shape {
    if json { Shape::Json } else { Shape::Text }
}

fn modes(typed: &cli::Modes, usual: Wanted) -> Result<Wanted> {
    match (&typed.mode, typed.idle, typed.gil) {
        (Some(typed), ..) => mode(typed),
        (_, true, _) => Ok(Wanted::All),
        (_, _, true) => Ok(Wanted::Holders),
        _ => Ok(usual),
    }
}

fn mode(typed: &str) -> Result<Wanted> {
    match typed.to_ascii_lowercase().as_str() {
        "cpu" => Ok(Wanted::Running),
        "wall" => Ok(Wanted::All),
        "gil" => Ok(Wanted::Holders),
        _ => wrong(format!("there is no mode '{typed}'"), "the modes are cpu, wall and gil"),
    }
}

fn pause(never: bool) -> Pause {
    if never { Pause::Never } else { Pause::Holder }
}

fn max_pause(typed: &str) -> Result<f64> {
    share(typed, "a percentage, more than 0 and up to 100; --never-pause stops nobody")
}

/// Reads `5`, `0.5`, `2.5%`.
fn share(typed: &str, hint: &str) -> Result<f64> {
    let number = typed.trim();
    match number.strip_suffix('%').unwrap_or(number).trim_end().parse::<f64>() {
        // The smallest numbers have no hundredth part.
        Ok(percent) if percent / 100.0 > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => wrong(format!("'{typed}' is not a share of time"), hint),
    }
}

/// So many processors and fewer are a small share of a machine.
const SMALL: f64 = 2.0;
/// How much of a small limit is used without being told to.
const PART_OF_SMALL: f64 = 0.1;

/// How much of all processors is used for a family without being told to, where none is idle: with what its threads are
/// stopped for, it lacks 1 % at most.
const PART_OF_ALL: f64 = 0.008;

/// How often samples are taken, and how much processor time that may take: what was typed, or what is `usual`. Of a family
/// nobody knows beforehand how many they are: without either it is what the processors can spare.
fn pace(usual: f64, typed_rate: Option<&str>, typed_max: Option<&str>, reach: Reach) -> Result<(f64, MaxCpu)> {
    let typed_rate = typed_rate.map(rate).transpose()?;
    let max = match (typed_max, typed_rate, reach) {
        (Some(typed), ..) => MaxCpu::AtMost(share(typed, "a percentage of one processor, more than 0 and up to 100")?),
        (None, None, Reach::Family) => {
            let of = machine::processors();
            MaxCpu::Around { share: of * PART_OF_ALL, of }
        }
        (None, ..) => usual_max_cpu(cgroup::cpu_limit(&Groups::of("self"), &Mounts::ours())),
    };
    Ok((typed_rate.unwrap_or(usual), max))
}

/// How much processor time may be used where nobody said: a part of what our control group allows, where that is little. It
/// may be shared with the program that is looked at.
fn usual_max_cpu(limit: Option<f64>) -> MaxCpu {
    limit.filter(|&limit| limit <= SMALL).map_or(MaxCpu::Any, |limit| MaxCpu::AtMost(limit * PART_OF_SMALL))
}

/// The process or command that was typed; `missing` says what is wrong where neither was.
fn subject(typed_pid: Option<&str>, command: Vec<OsString>, missing: &str) -> Result<Subject> {
    match typed_pid {
        Some(typed) => pid(typed).map(Subject::Process),
        None if command.is_empty() => {
            wrong(missing, "a process: --pid PID; or a command: -- python3 app.py; `pysample ps` lists what runs")
        }
        None => Ok(Subject::Command(command)),
    }
}

fn pid(typed: &str) -> Result<u32> {
    match typed.parse() {
        Ok(0) | Err(_) => wrong(
            format!("'{typed}' is not a process id"),
            "a process id is a positive number; `pysample ps` lists the Python processes",
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
    let number = typed.trim();
    let number = number.strip_suffix('s').unwrap_or(number).trim_end();
    let hint = "seconds, more than 0, as in -d 10 or -d 1.5";
    match number.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > LONGEST => {
            wrong(format!("a duration of {typed} is more than a year"), hint)
        }
        Ok(seconds) if seconds.is_finite() => match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(duration),
            _ => wrong(format!("a duration of {typed} is not more than 0"), hint),
        },
        _ => wrong(format!("'{typed}' is not a duration"), hint),
    }
}

fn destination(typed: Option<PathBuf>, format: Option<&str>) -> Result<(Destination, Format)> {
    let format = format.map(Format::named).transpose()?;
    Ok(match typed {
        None => (Destination::Named, format.unwrap_or(Format::Flamegraph)),
        Some(path) if path == Path::new("-") => (Destination::Stdout, format.unwrap_or(Format::Collapsed)),
        Some(path) if path.as_os_str().is_empty() => return wrong("the name of the output is empty", "as in -o x.svg"),
        Some(path) => {
            let format = format.map_or_else(|| Format::of_file(&path), Ok)?;
            (Destination::File(path), format)
        }
    })
}

/// How a flame graph is drawn, if that is what is made.
fn drawing(typed: cli::Drawing, format: Format) -> Result<Drawing> {
    let drawing = Drawing {
        from: if typed.inverted { From::Innermost } else { From::Outermost },
        growth: if typed.icicle { Growth::Down } else { Growth::Up },
    };
    match drawing == Drawing::default() || format == Format::Flamegraph {
        true => Ok(drawing),
        false => wrong("--inverted and --icicle say how a flame graph is drawn", "as in -o profile.svg"),
    }
}

/// Formats that keep everything as it is know of no names made for people.
fn labels(format: Format, lines: Lines, files: Files, threads: Threads) -> Result<()> {
    let is_plain = (lines, files, threads) == (Lines::Running, Files::Short, Threads::Merged);
    match is_plain || !matches!(format, Format::Pysample | Format::JsonLines) {
        true => Ok(()),
        false => wrong(
            "-F, -t and --full-filenames say how frames are shown, and this format keeps lines, files and threads as they are",
            "leave them out here; `pysample convert` and `report` take them",
        ),
    }
}

fn wrong<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T> {
    Err(Error::Usage { what: what.into(), hint: Some(hint.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &str) -> Result<Plan> {
        let words = std::iter::once("pysample").chain(arguments.split_whitespace()).map(OsString::from);
        Plan::new(cli::parse(words).unwrap_or_else(|refusal| panic!("{arguments}: {refusal:?}")))
    }

    fn recording(arguments: &str) -> Record {
        match plan(&format!("record {arguments}")) {
            Ok(Plan::Record(record)) => record,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn refused(arguments: &str) -> String {
        match plan(arguments) {
            Err(error @ Error::Usage { hint: Some(_), .. }) => error.to_string(),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn a_process_is_recorded_a_hundred_times_a_second_until_something_ends_it() {
        let record = recording("--pid 42");
        assert_eq!(record.subject, Subject::Process(42));
        assert_eq!((record.sampling.rate, record.sampling.duration), (100.0, None));
        assert_eq!((record.destination, record.format), (Destination::Named, Format::Flamegraph));
        assert!(matches!(record.sampling.wanted, Wanted::Running));
        assert_eq!((record.lines, record.files, record.threads), (Lines::Running, Files::Short, Threads::Merged));
    }

    #[test]
    fn every_switch_chooses() {
        let record = recording("-p 42 -F -t -i --full-filenames");
        assert!(matches!(record.sampling.wanted, Wanted::All));
        assert_eq!((record.lines, record.files, record.threads), (Lines::First, Files::Full, Threads::Apart));
    }

    #[test]
    fn a_mode_says_which_threads_count() {
        for (typed, wanted) in [
            ("", Wanted::Running),
            ("--mode cpu", Wanted::Running),
            ("--mode wall", Wanted::All),
            ("-i", Wanted::All),
            ("--mode GIL", Wanted::Holders),
            ("-g", Wanted::Holders),
        ] {
            assert_eq!(recording(&format!("-p 42 {typed}")).sampling.wanted, wanted, "{typed}");
        }
        assert_eq!(refused("record -p 42 --mode idle"), "there is no mode 'idle'");
        let dumped = |typed: &str| match plan(&format!("dump -p 42 {typed}")) {
            Ok(Plan::Dump(dump)) => dump.wanted,
            other => panic!("{typed}: {other:?}"),
        };
        assert_eq!((dumped(""), dumped("--mode cpu")), (Wanted::All, Wanted::Running));
    }

    #[test]
    fn a_process_is_looked_at_for_ten_seconds_and_a_command_to_its_end() {
        let gil = |typed: &str| match plan(&format!("gil {typed}")) {
            Ok(Plan::Gil(gil)) => gil,
            other => panic!("{typed}: {other:?}"),
        };
        assert_eq!(gil("-p 42").sampling.duration, Some(Duration::from_secs(10)));
        assert_eq!(gil("-- x").sampling.duration, None);
        assert_eq!(gil("-d 3 -- x").sampling.duration, Some(Duration::from_secs(3)));
        assert!(gil("-p 42").sampling.gils && gil("-p 42").output.is_none());
        let output = Some((Destination::File("b.svg".into()), Format::Flamegraph));
        assert_eq!(gil("-p 42 -o b.svg").output, output);
        assert_eq!(refused("gil -p 42 -o -"), "the report itself goes to standard output");
    }

    #[test]
    fn what_follows_two_dashes_is_the_command_whatever_it_looks_like() {
        let record = recording("-o x.svg -- python3 -d --pid 7 -- x");
        let words = ["python3", "-d", "--pid", "7", "--", "x"].map(OsString::from);
        assert_eq!(record.subject, Subject::Command(words.into()));
    }

    #[test]
    fn the_ending_tells_the_format() {
        for (name, format) in [
            ("a.svg", Format::Flamegraph),
            ("a.SVG", Format::Flamegraph),
            ("a.txt", Format::Collapsed),
            ("a.folded", Format::Collapsed),
            ("dir.svg/a.collapsed", Format::Collapsed),
        ] {
            let record = recording(&format!("-p 1 -o {name}"));
            assert_eq!((record.destination, record.format), (Destination::File(name.into()), format));
        }
    }

    #[test]
    fn a_format_that_is_named_wins_over_the_ending() {
        assert_eq!(recording("-p 1 -o a.txt -f svg").format, Format::Flamegraph);
        assert_eq!(recording("-p 1 -o a.dat -f flamegraph").format, Format::Flamegraph);
        assert_eq!(recording("-p 1 -o a.svg -f Collapsed").format, Format::Collapsed);
        assert_eq!(recording("-p 1 -f collapsed").format, Format::Collapsed);
    }

    #[test]
    fn a_dash_is_standard_output_and_takes_collapsed_stacks() {
        let record = recording("-p 1 -o -");
        assert_eq!((record.destination, record.format), (Destination::Stdout, Format::Collapsed));
        assert_eq!(recording("-p 1 -o - -f svg").format, Format::Flamegraph);
    }

    #[test]
    fn devices_and_folders_need_no_ending() {
        assert_eq!(recording("-p 1 -o /dev/full").format, Format::Collapsed);
        assert_eq!(recording("-p 1 -o /").format, Format::Collapsed);
    }

    #[test]
    fn a_format_that_is_not_known_is_refused() {
        assert_eq!(refused("record -p 1 -f pdf"), "there is no format 'pdf'");
        assert_eq!(refused("record -p 1 -o a.pdf"), "no format goes with the ending .pdf");
        assert_eq!(refused("record -p 1 -o profile"), "the name profile does not tell a format");
    }

    #[test]
    fn rates_are_numbers_with_or_without_a_unit() {
        for (typed, hertz) in [("1", 1.0), ("2.5", 2.5), ("1e3", 1000.0), ("1khz", 1000.0), ("10k", 10_000.0)] {
            assert_eq!(recording(&format!("-p 1 -r {typed}")).sampling.rate, hertz, "{typed}");
        }
        for (typed, hertz) in [("99hz", 99.0), ("0.2kHz", 200.0), ("200000", 200_000.0), ("200K", 200_000.0)] {
            assert_eq!(recording(&format!("-p 1 -r {typed}")).sampling.rate, hertz, "{typed}");
        }
    }

    #[test]
    fn rates_that_cannot_be_are_refused() {
        for typed in ["0", "-5", "0.9", "1e9", "200001", "201k"] {
            assert_eq!(refused(&format!("record -p 1 -r {typed}")), format!("a rate of {typed} is out of range"));
        }
        for typed in ["inf", "nan", "fast", "k", "hz", "10mhz", "1e999"] {
            assert_eq!(refused(&format!("record -p 1 -r {typed}")), format!("'{typed}' is not a rate"));
        }
    }

    #[test]
    fn durations_may_have_fractions() {
        for (typed, milliseconds) in [("1.5", 1500), ("10", 10_000), ("2s", 2000), ("0.001", 1), ("1e1", 10_000)] {
            let duration = recording(&format!("-p 1 -d {typed}")).sampling.duration;
            assert_eq!(duration, Some(Duration::from_millis(milliseconds)), "{typed}");
        }
    }

    #[test]
    fn durations_that_cannot_be_are_refused() {
        for typed in ["0", "-1", "-0.5", "1e-12", "0s"] {
            let told = refused(&format!("record -p 1 -d {typed}"));
            assert_eq!(told, format!("a duration of {typed} is not more than 0"));
        }
        assert_eq!(refused("record -p 1 -d 1e18"), "a duration of 1e18 is more than a year");
        for typed in ["nan", "inf", "soon", "s", "1ss"] {
            assert_eq!(refused(&format!("record -p 1 -d {typed}")), format!("'{typed}' is not a duration"));
        }
    }

    #[test]
    fn the_pause_is_a_percentage_or_never() {
        assert_eq!((recording("-p 1").sampling.pause, recording("-p 1").sampling.max_pause), (Pause::Holder, 0.05));
        assert_eq!(recording("-p 1 --max-pause 0.5%").sampling.max_pause, 0.005);
        assert_eq!(recording("-p 1 --max-pause 100").sampling.max_pause, 1.0);
        assert_eq!(recording("-p 1 --nonblocking").sampling.pause, Pause::Never);
        for typed in ["0", "-1", "101", "nan", "some", "5%%", "%", "1e-323"] {
            assert_eq!(
                refused(&format!("record -p 1 --max-pause {typed}")),
                format!("'{typed}' is not a share of time")
            );
        }
    }

    #[test]
    fn the_processor_time_is_a_percentage_or_a_tenth_of_a_small_limit() {
        assert_eq!(recording("-p 1 --max-cpu 2.5%").sampling.max_cpu, MaxCpu::AtMost(0.025));
        assert_eq!(refused("record -p 1 --max-cpu 0"), "'0' is not a share of time");
        let all = machine::processors();
        assert_eq!(recording("-p 1 -s").sampling.max_cpu, MaxCpu::Around { share: all * 0.008, of: all });
        assert_eq!(recording("-p 1 -s").sampling.rate, 100.0);
        assert_eq!(recording("-p 1 -s --max-cpu 30").sampling.max_cpu, MaxCpu::AtMost(0.3));
        for alone_or_as_asked in ["-p 1", "-p 1 -s -r 100"] {
            let max = recording(alone_or_as_asked).sampling.max_cpu;
            assert!(!matches!(max, MaxCpu::Around { .. }), "{alone_or_as_asked}: {max:?}");
        }
        assert_eq!([0.5, 2.0].map(|limit| usual_max_cpu(Some(limit))), [0.05, 0.2].map(MaxCpu::AtMost));
        assert_eq!([Some(2.5), None].map(usual_max_cpu), [MaxCpu::Any; 2]);
    }

    #[test]
    fn process_ids_are_positive_numbers() {
        for typed in ["0", "-1", "x", "1.5", "4294967296"] {
            assert_eq!(refused(&format!("dump -p {typed}")), format!("'{typed}' is not a process id"));
        }
    }

    #[test]
    fn a_process_id_that_no_kernel_gives_is_no_process() {
        assert!(matches!(plan("dump -p 4294967295"), Err(Error::NoSuchProcess { pid: u32::MAX })));
    }

    #[test]
    fn there_must_be_something_to_record() {
        assert_eq!(refused("record"), "there is nothing to record");
        assert_eq!(refused("record --"), "there is nothing to record");
        assert_eq!(refused("top"), "there is nothing to show live");
        assert_eq!(refused("gil"), "there is nothing whose GIL to look at");
    }
}
