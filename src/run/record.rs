//! A recording from its start to the file: of a process that runs, or of a command that is run for it.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Folded, Labels, collapsed, flamegraph};
use pysample::output::{Output, Written};
use pysample::python::Interpreter;
use pysample::sample::Tally;
use pysample::sampler::Wanted;
use pysample::target::Target;
use pysample::target::command::Command;
use pysample::view::progress::Progress;
use pysample::view::summary::{Ending, Summary, hertz, threads};

use super::described::{Described, file_name, program_of};
use super::follow::{Recorded, follow, terminal};
use super::notices::{Listen, Notice, Notices};
use super::{Exit, attach, look, tell, warn};
use crate::plan::{Destination, Format, Record, Subject};

/// The longest time between two looks at a command that does not run Python yet.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// For how long what looks wrong in a command may be a Python that is still starting.
const STARTING: Duration = Duration::from_secs(2);

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
    let recorded = follow(plan, target, interpreter, &notices, None)?;
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
            (subject, follow(plan, *target, *interpreter, notices, Some(command))?)
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
                signal.forward(command);
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
        signal.forward(command);
    }
}

/// Writes the profile, then the account.
fn finish(plan: &Record, subject: &Described, recorded: Recorded, output: Output) -> Result<()> {
    let mut summary = summary(plan, subject, &recorded);
    let search_path = recorded.search_path.into_iter().collect();
    let labels = Labels { lines: plan.lines, files: plan.files, threads: plan.threads, search_path };
    let folded = Folded::new(&recorded.tree, &labels);
    let path = output.path().display().to_string();
    let written = output.write(|out| match plan.format {
        Format::Collapsed => collapsed::write(&folded, out),
        Format::Flamegraph => flamegraph::write(&folded, &heading(subject, &summary), out),
    })?;
    summary.written = match written {
        Written::Whole => path,
        Written::UntilClosed => format!("{path}, until its reader closed it"),
    };
    tell(summary.to_string().trim_end());
    if summary.stacks == 0 && summary.tally.taken > 0 && plan.wanted == Wanted::Running {
        tell("  hint: no thread was seen running Python code; -i counts those that wait, too");
    }
    Ok(())
}

fn summary(plan: &Record, subject: &Described, recorded: &Recorded) -> Summary {
    Summary {
        subject: subject.to_text(),
        elapsed: recorded.elapsed,
        rate: plan.rate,
        tally: recorded.tally,
        stacks: recorded.tree.samples(),
        distinct: recorded.tree.distinct_stacks(),
        frameless: recorded.tree.frameless(),
        threads: recorded.tree.thread_count(),
        end: recorded.end,
        written: String::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
