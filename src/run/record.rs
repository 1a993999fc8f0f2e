//! A recording from its start to the file: of a process that runs, or of a command that is run for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{TryRecvError, select};
use pysample::aggregate::CallTree;
use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, collapsed, flamegraph};
use pysample::output::Output;
use pysample::python::Interpreter;
use pysample::sample::{Event, Tally};
use pysample::sampler::{self, End, Recording, Settings, Wanted};
use pysample::target::Target;
use pysample::target::command::Command;
use pysample::view::progress::{Progress, Terminal};
use pysample::view::summary::{Ending, Summary, hertz, threads};

use super::notices::{Listen, Notice, Notices, Sent, Signal};
use super::{Exit, attach, look, tell, warn};
use crate::plan::{Destination, Format, Record, Subject};

/// The longest time between two looks at a command that does not run Python yet.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// When to look at `sys.path` again for the first time, and how long to wait at most between two looks.
const FIRST_PATH_LOOK: Duration = Duration::from_millis(40);
const LONGEST_PATH_LOOK: Duration = Duration::from_secs(30);
/// For how long what looks wrong in a command may be a Python that is still starting.
const STARTING: Duration = Duration::from_secs(2);
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
    if output.may_wait() {
        notices.let_signals_end_us();
    }
    finish(plan, &subject, recorded, output)?;
    Ok(exit)
}

/// Whatever becomes of the recording, the command runs on to its own end, and its exit status is ours. Where the command
/// did well and the recording failed, the failure is told by the exit status.
fn record_command(plan: &Record, words: &[OsString]) -> Result<Exit> {
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
    forward_until_end(&command, &notices);
    match (command.wait()?.0, written) {
        (0, Err(error)) => Ok(Exit::Command(crate::exit_code(&error))),
        (status, _) => Ok(Exit::Command(status)),
    }
}

fn record_spawned(plan: &Record, program: &str, command: &Command, notices: &Notices, output: Output) -> Result<()> {
    let (subject, recorded) = match search(command, notices)? {
        Search::Found(target, interpreter) => {
            let subject = Described::new(&target, &interpreter);
            (subject, follow(start(plan, *target, *interpreter)?, plan, notices, Some(command)))
        }
        Search::Over => (Described::unseen(program, command.pid()), Recorded::nothing()),
    };
    finish(plan, &subject, recorded, output)
}

/// What came of looking for Python in a command.
enum Search {
    Found(Box<Target>, Box<Interpreter>),
    /// A signal, or the end of the command.
    Over,
}

/// Looks for Python in a command as long as it runs: it may be a script that becomes Python later.
fn search(command: &Command, notices: &Notices) -> Result<Search> {
    let progress = Progress::new(None, terminal(Some(command)));
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match look(command.pid()) {
            Ok((target, interpreter)) => {
                warn(&interpreter);
                return Ok(Search::Found(Box::new(target), Box::new(interpreter)));
            }
            Err(error) if !may_change(&error, began.elapsed()) => return Err(error),
            Err(_) => progress.searching(),
        }
        match notices.receiver().recv_timeout(pause) {
            Ok(Notice::CommandEnded) => return Ok(Search::Over),
            Ok(Notice::Signal(signal)) => {
                forward(signal, command);
                if signal.ends() {
                    return Ok(Search::Over);
                }
            }
            Err(_) => pause = (pause * 2).min(LONGEST_LOOK),
        }
    }
}

/// Whether the next look at a command that was started so long ago may find what this one did not. What has ended is
/// told by a notice.
fn may_change(error: &Error, age: Duration) -> bool {
    match error {
        Error::NotPython { .. } | Error::NotRunning { .. } => true,
        Error::NoSuchProcess { .. } | Error::Zombie { .. } | Error::Ended { .. } => true,
        Error::Unrecognised { .. } => age < STARTING,
        _ => false,
    }
}

/// Watches the command once more: that it ended may have been told, and taken, before.
fn forward_until_end(command: &Command, notices: &Notices) {
    notices.watch(command.watch());
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
    let search_path = SearchPath::new(target.pid(), &interpreter);
    let settings = Settings { rate: plan.rate, duration: plan.duration, wanted: plan.wanted };
    Ok(Started { recording: sampler::start(target, interpreter, settings)?, search_path })
}

struct Started {
    recording: Recording,
    search_path: SearchPath,
}

/// The entries that the target's `sys.path` had while it was recorded. It is empty in a Python that has just started, and
/// programs add to it, so it is read again, at first often.
struct SearchPath {
    pid: u32,
    entries: BTreeSet<String>,
    pause: Duration,
    next: Instant,
}

impl SearchPath {
    fn new(pid: u32, interpreter: &Interpreter) -> SearchPath {
        let entries = interpreter.search_path().into_iter().collect();
        SearchPath { pid, entries, pause: FIRST_PATH_LOOK, next: Instant::now() + FIRST_PATH_LOOK }
    }

    fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    fn look_if_due(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        if let Ok((_, interpreter)) = look(self.pid) {
            self.entries.extend(interpreter.search_path());
        }
        self.pause = (self.pause * 2).min(LONGEST_PATH_LOOK);
        self.next = Instant::now() + self.pause;
    }
}

/// A recording that is over.
struct Recorded {
    tree: CallTree,
    search_path: BTreeSet<String>,
    tally: Tally,
    elapsed: Duration,
    end: Ending,
}

impl Recorded {
    /// The recording of a command that was never seen running Python.
    fn nothing() -> Recorded {
        Recorded {
            tree: CallTree::default(),
            search_path: BTreeSet::new(),
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            end: Ending::NeverPython,
        }
    }
}

/// Sums up the recording until it is over; ends it when a signal or the command's end says so.
fn follow(started: Started, plan: &Record, notices: &Notices, command: Option<&Command>) -> Recorded {
    let Started { recording, mut search_path } = started;
    let progress = Progress::new(plan.duration, terminal(command));
    let stopper = recording.stopper();
    let mut tree = CallTree::default();
    let mut exited = false;
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
                    exited = true;
                    stopper.stop();
                }
                Err(_) => unreachable!("the notices hold a sender themselves"),
            },
            default(search_path.wait()) => {}
        }
        search_path.look_if_due();
        if take_waiting(&mut tree, &progress, &recording) == Waiting::Over {
            break;
        }
    }
    drop(progress);
    let outcome = recording.finish();
    let end = if exited { Ending::TargetExited } else { ending(outcome.end) };
    Recorded { tree, search_path: search_path.entries, tally: outcome.tally, elapsed: outcome.elapsed, end }
}

/// Whether a command writes to the terminal that the progress would be drawn on.
fn terminal(command: Option<&Command>) -> Terminal {
    match command.is_some() && stdout().is_terminal() {
        true => Terminal::Shared,
        false => Terminal::Ours,
    }
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
    let search_path = recorded.search_path.into_iter().collect();
    let labels = Labels { lines: plan.lines, files: plan.files, threads: plan.threads, search_path };
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
    if summary.stacks == 0 && summary.tally.taken > 0 && plan.wanted == Wanted::Running {
        tell("  hint: no thread was seen running Python code; -i counts those that wait, too");
    }
    Ok(())
}

fn heading(subject: &Described, summary: &Summary) -> Heading {
    let Tally { taken, late, .. } = summary.tally;
    let achieved = hertz(taken as f64 / summary.elapsed.as_secs_f64());
    let subtitle = format!(
        "{} stacks of {} · {taken} samples in {:.1} s at {achieved} ({} asked, {late} late, {} errors)",
        summary.stacks,
        threads(summary.threads),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &[&str]) -> String {
        program_of(&command.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_program_is_called_after_the_script_that_python_runs() {
        assert_eq!(program(&["/usr/bin/python3.11", "/srv/app.py", "-v"]), "app.py");
        assert_eq!(program(&["python3", "-m", "http.server"]), "http.server");
        assert_eq!(program(&["python", "-c", "pass"]), "python");
        assert_eq!(program(&["python3"]), "python3");
        assert_eq!(program(&["/usr/bin/gunicorn", "app:app"]), "gunicorn");
        assert_eq!(program(&[]), "unknown");
    }

    #[test]
    fn a_file_is_named_after_program_process_and_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(file_name("app.py", 42, now, Format::Flamegraph), Path::new("app.py-42-2023-11-14T22-13-20Z.svg"));
        assert_eq!(file_name("x", 1, now, Format::Collapsed), Path::new("x-1-2023-11-14T22-13-20Z.txt"));
    }

    #[test]
    fn a_hostile_program_makes_a_harmless_file_name() {
        let now = SystemTime::UNIX_EPOCH;
        let name = file_name("-../../\x1b[31m;rm \u{e9}", 1, now, Format::Collapsed);
        assert_eq!(name, Path::new("_..___31m_rm__-1-1970-01-01T00-00-00Z.txt"));
        assert!(file_name(&"x".repeat(1000), 1, now, Format::Collapsed).as_os_str().len() < 100);
    }

    #[test]
    fn a_command_that_is_not_python_yet_may_become_it() {
        let not_python = Error::NotPython { pid: 1, why: String::new() };
        let not_permitted = Error::NotPermitted { pid: 1, rule: String::new(), hint: String::new() };
        let odd = Error::Unrecognised { pid: 1, version: String::new(), why: String::new() };
        assert!(may_change(&not_python, Duration::from_secs(3600)));
        assert!(may_change(&odd, Duration::ZERO) && !may_change(&odd, Duration::from_secs(3600)));
        assert!(!may_change(&not_permitted, Duration::ZERO));
    }
}
