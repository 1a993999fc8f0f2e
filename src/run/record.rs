//! A recording from its start to the file: of a process that runs, or of a command that is run for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{TryRecvError, select};
use pysample::aggregate::CallTree;
use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, collapsed, flamegraph};
use pysample::output::Output;
use pysample::python::Interpreter;
use pysample::sample::{Event, Tally};
use pysample::sampler::{self, End, Recording, Settings};
use pysample::target::Target;
use pysample::target::command::Command;
use pysample::view::progress::Progress;
use pysample::view::summary::{Ending, Summary, hertz};

use super::notices::{Listen, Notice, Notices, Sent, Signal};
use super::{Exit, attach, look, tell, warn};
use crate::plan::{Destination, Format, Record, Subject};

/// The longest time between two looks at a command that does not run Python yet.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// After so many events in a row, look for signals.
const EVENTS_IN_A_ROW: usize = 1024;

/// Records, writes the profile, gives the account.
pub fn record(plan: &Record) -> Result<Exit> {
    match &plan.subject {
        Subject::Process(pid) => record_process(plan, *pid),
        Subject::Command(command) => record_command(plan, command),
    }
}

fn record_process(plan: &Record, pid: u32) -> Result<Exit> {
    let (target, interpreter) = attach(pid)?;
    let subject = Described::new(&target, &interpreter);
    let output = open(plan, &subject.program, pid)?;
    let notices = Notices::listen(Listen::Ourselves)?;
    let recorded = follow(start(plan, target, interpreter)?, plan, &notices, None);
    let exit = match (recorded.end, recorded.tally.taken) {
        (Ending::Stopped, 0) => Exit::Interrupted,
        _ => Exit::Done,
    };
    finish(plan, &subject, recorded, output)?;
    Ok(exit)
}

/// Whatever becomes of the recording, the command runs on to its own end, and its exit status is ours. Where the command
/// did well and the recording failed, the failure is told by the exit status.
fn record_command(plan: &Record, words: &[std::ffi::OsString]) -> Result<Exit> {
    let program = program_of(&words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>());
    let checked = check(plan)?;
    let notices = Notices::listen(Listen::Command)?;
    let command = Command::spawn(words)?;
    notices.watch(command.watch());
    let written = match checked {
        Some(output) => record_spawned(plan, &program, &command, &notices, output),
        None => open(plan, &program, command.pid())
            .and_then(|output| record_spawned(plan, &program, &command, &notices, output)),
    };
    if let Err(error) = &written {
        crate::complain(error);
    }
    let ended = written.as_ref().is_ok_and(|running| *running == Running::Ended);
    if !ended {
        forward_until_end(&command, &notices);
    }
    match (command.wait()?.0, written) {
        (0, Err(error)) => Ok(Exit::Command(crate::exit_code(&error))),
        (status, _) => Ok(Exit::Command(status)),
    }
}

/// Whether the command still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Yes,
    Ended,
}

fn record_spawned(
    plan: &Record,
    program: &str,
    command: &Command,
    notices: &Notices,
    output: Output,
) -> Result<Running> {
    let (subject, recorded) = match search(command, notices)? {
        Search::Found(target, interpreter) => {
            let subject = Described::new(&target, &interpreter);
            (subject, follow(start(plan, *target, *interpreter)?, plan, notices, Some(command)))
        }
        Search::Stopped => (Described::unseen(program, command.pid()), Recorded::nothing(Running::Yes)),
        Search::Ended => (Described::unseen(program, command.pid()), Recorded::nothing(Running::Ended)),
    };
    let running = recorded.running;
    finish(plan, &subject, recorded, output)?;
    Ok(running)
}

/// What came of looking for Python in a command.
enum Search {
    Found(Box<Target>, Box<Interpreter>),
    Stopped,
    Ended,
}

/// Looks for Python in a command as long as it runs: it may be a script that becomes Python later.
fn search(command: &Command, notices: &Notices) -> Result<Search> {
    let progress = Progress::new(None);
    let mut pause = Duration::from_millis(1);
    loop {
        match look(command.pid()) {
            Ok((target, interpreter)) => {
                warn(&interpreter);
                return Ok(Search::Found(Box::new(target), Box::new(interpreter)));
            }
            Err(error) if !may_change(&error) => return Err(error),
            Err(_) => progress.searching(),
        }
        match notices.receiver().recv_timeout(pause) {
            Ok(Notice::CommandEnded) => return Ok(Search::Ended),
            Ok(Notice::Signal(signal)) => {
                forward(signal, command);
                if signal.ends() {
                    return Ok(Search::Stopped);
                }
            }
            Err(_) => pause = (pause * 2).min(LONGEST_LOOK),
        }
    }
}

/// Whether the next look at a command may find what this one did not. What has ended is told by a notice.
fn may_change(error: &Error) -> bool {
    matches!(
        error,
        Error::NotPython { .. }
            | Error::NotRunning { .. }
            | Error::NoSuchProcess { .. }
            | Error::Zombie { .. }
            | Error::Ended { .. }
    )
}

fn forward_until_end(command: &Command, notices: &Notices) {
    while let Ok(Notice::Signal(signal)) = notices.receiver().recv() {
        forward(signal, command);
    }
}

/// Hands a signal on to the command, unless the terminal gave it one, too.
fn forward(signal: Signal, command: &Command) {
    if signal.sender == Sent::Process || !command.shares_terminal_signals() {
        command.signal(signal.number);
    }
}

fn start(plan: &Record, target: Target, interpreter: Interpreter) -> Result<Started> {
    let search_path = interpreter.search_path();
    let settings = Settings { rate: plan.rate, duration: plan.duration, wanted: plan.wanted };
    Ok(Started { recording: sampler::start(target, interpreter, settings)?, search_path })
}

struct Started {
    recording: Recording,
    search_path: Vec<String>,
}

/// A recording that is over.
struct Recorded {
    tree: CallTree,
    search_path: Vec<String>,
    tally: Tally,
    elapsed: Duration,
    end: Ending,
    running: Running,
}

impl Recorded {
    /// The recording of a command that was never seen running Python.
    fn nothing(running: Running) -> Recorded {
        Recorded {
            tree: CallTree::default(),
            search_path: Vec::new(),
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            end: Ending::NeverPython,
            running,
        }
    }
}

/// Sums up the recording until it is over; ends it when a signal or the command's end says so.
fn follow(started: Started, plan: &Record, notices: &Notices, command: Option<&Command>) -> Recorded {
    let Started { recording, search_path } = started;
    let progress = Progress::new(plan.duration);
    let stopper = recording.stopper();
    let mut tree = CallTree::default();
    let mut running = Running::Yes;
    loop {
        select! {
            recv(recording.events()) -> event => match event {
                Ok(event) => take(&mut tree, &progress, event),
                Err(_) => break,
            },
            recv(notices.receiver()) -> notice => match notice {
                Ok(Notice::Signal(signal)) => {
                    command.iter().for_each(|command| forward(signal, command));
                    if signal.ends() {
                        stopper.stop();
                    }
                }
                Ok(Notice::CommandEnded) => {
                    running = Running::Ended;
                    stopper.stop();
                }
                Err(_) => unreachable!("the notices hold a sender themselves"),
            },
        }
        if take_waiting(&mut tree, &progress, &recording) == Waiting::Over {
            break;
        }
    }
    drop(progress);
    let outcome = recording.finish();
    let end = match running {
        Running::Ended => Ending::TargetExited,
        Running::Yes => ending(outcome.end),
    };
    Recorded { tree, search_path, tally: outcome.tally, elapsed: outcome.elapsed, end, running }
}

#[derive(PartialEq, Eq)]
enum Waiting {
    MayCome,
    Over,
}

/// Takes events that have come already, without the price of looking for signals each time.
fn take_waiting(tree: &mut CallTree, progress: &Progress, recording: &Recording) -> Waiting {
    for _ in 0..EVENTS_IN_A_ROW {
        match recording.events().try_recv() {
            Ok(event) => take(tree, progress, event),
            Err(TryRecvError::Empty) => return Waiting::MayCome,
            Err(TryRecvError::Disconnected) => return Waiting::Over,
        }
    }
    Waiting::MayCome
}

fn take(tree: &mut CallTree, progress: &Progress, event: Event) {
    if let Event::Progress(elapsed, tally) = &event {
        progress.show(*elapsed, tally);
    }
    tree.take(event);
}

fn ending(end: End) -> Ending {
    match end {
        End::Duration => Ending::Duration,
        End::Stopped => Ending::Stopped,
        End::TargetExited => Ending::TargetExited,
        End::TargetReplaced => Ending::TargetReplaced,
    }
}

/// Writes the profile, then the account.
fn finish(plan: &Record, subject: &Described, recorded: Recorded, output: Output) -> Result<()> {
    let labels =
        Labels { lines: plan.lines, files: plan.files, threads: plan.threads, search_path: recorded.search_path };
    let folded = Folded::new(&recorded.tree, &labels);
    let summary = Summary {
        subject: subject.to_text(),
        elapsed: recorded.elapsed,
        rate: plan.rate,
        tally: recorded.tally,
        stacks: recorded.tree.samples(),
        distinct: recorded.tree.distinct_stacks(),
        frameless: recorded.tree.frameless(),
        threads: recorded.tree.threads().len(),
        end: recorded.end,
        written: output.path().to_path_buf(),
    };
    output.write(|out| match plan.format {
        Format::Collapsed => collapsed::write(&folded, out),
        Format::Flamegraph => flamegraph::write(&folded, &heading(subject, &summary), out),
    })?;
    tell(summary.to_string().trim_end());
    Ok(())
}

fn heading(subject: &Described, summary: &Summary) -> Heading {
    let Tally { taken, late, .. } = summary.tally;
    let achieved = hertz(taken as f64 / summary.elapsed.as_secs_f64());
    let subtitle = format!(
        "{} stacks of {} threads · {taken} samples in {:.1} s at {achieved} ({} asked, {late} late, {} errors)",
        summary.stacks,
        summary.threads,
        summary.elapsed.as_secs_f64(),
        hertz(summary.rate),
        summary.tally.errors(),
    );
    Heading { title: subject.to_text(), subtitle }
}

/// What is recorded, in words.
struct Described {
    program: String,
    pid: u32,
    version: Option<String>,
}

impl Described {
    fn new(target: &Target, interpreter: &Interpreter) -> Described {
        let program = program_of(target.command());
        Described { program, pid: target.pid(), version: Some(interpreter.version_text()) }
    }

    fn unseen(program: &str, pid: u32) -> Described {
        Described { program: program.into(), pid, version: None }
    }

    fn to_text(&self) -> String {
        let Described { program, pid, version } = self;
        match version {
            Some(version) => format!("{program} (pid {pid}) · Python {version}"),
            None => format!("{program} (pid {pid})"),
        }
    }
}

/// What a person would call the program: the script or the module that Python runs, else the program's file.
fn program_of(command: &[String]) -> String {
    let file = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    let Some(program) = command.first().map(file) else { return "unknown".into() };
    if !program.starts_with("python") {
        return program;
    }
    match &command[1..] {
        [flag, module, ..] if flag == "-m" => module.clone(),
        [script, ..] if !script.starts_with('-') => file(script),
        _ => program,
    }
}

/// Checks the output before a command is run. None where its name is not known yet.
fn check(plan: &Record) -> Result<Option<Output>> {
    match &plan.destination {
        Destination::Stdout => Ok(Some(Output::stdout())),
        Destination::File(path) => Output::file(path).map(Some),
        Destination::Named => Output::check_folder(Path::new(".")).map(|()| None),
    }
}

/// Checks the output, by whatever name.
fn open(plan: &Record, program: &str, pid: u32) -> Result<Output> {
    match check(plan)? {
        Some(output) => Ok(output),
        None => Output::file(&file_name(program, pid, SystemTime::now(), plan.format)),
    }
}

/// A name that says what was recorded and when (UTC), and that no shell needs quotes for.
fn file_name(program: &str, pid: u32, now: SystemTime, format: Format) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let program: String = program.chars().take(60).map(plain).collect();
    let program = program.trim_start_matches(['-', '.']);
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(':', "-");
    format!("{program}-{pid}-{time}.{}", format.ending()).into()
}
