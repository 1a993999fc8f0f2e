//! A recording from its start to its account: of a process that runs, or of a command that is run for it. What it is for
//! is a [`Purpose`].

use std::ffi::OsString;
use std::time::{Duration, Instant};

use pysample::aggregate::Rules;
use pysample::error::{Error, Result};
use pysample::python::{self, Interpreter};
use pysample::sample::{Lost, Processes, program_of};
use pysample::sampler::{self, Recording, Settings};
use pysample::target::command::Command;
use pysample::target::orphans::Adoption;
use pysample::target::{Binary, Target};
use pysample::view::progress::Progress;
use pysample::view::summary::Ending;

use super::described::Described;
use super::family::{adopt, tell_plights};
use super::follow::{Following, Recorded, Sum, follow, terminal};
use super::notices::{Notice, Notices};
use super::suspend::BetweenSamples;
use super::throttle::Throttle;
use super::{Exit, attach, look, tell, warn};
use crate::plan::{Reach, Subject};

/// The longest time between two looks at a command that does not run Python yet.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// For how long what looks wrong in a command may be a Python that is still starting.
const STARTING: Duration = Duration::from_secs(2);

/// What a recording is made for.
pub trait Purpose {
    /// What its events are added up to.
    type Sum: Sum;
    /// Where the result goes.
    type Output;

    /// How it is sampled.
    fn sampling(&self) -> Settings;
    /// Of which processes it is.
    fn reach(&self) -> Reach;
    /// Which samples are added up; those of all, where the sum itself leaves out what is not wanted.
    fn rules(&self) -> Rules;
    /// Checks the output before anything is run. `None` where its name is not known yet.
    fn check(&self) -> Result<Option<Self::Output>>;
    /// Checks the output, by whatever name.
    fn open(&self, program: &str, pid: u32) -> Result<Self::Output>;
    /// An empty sum, and where what becomes of it goes.
    fn begin(&self, subject: &Described, output: Self::Output) -> Result<Self::Sum>;
    /// Whether writing may take as long as somebody else pleases.
    fn may_wait(sum: &Self::Sum) -> bool;
    /// Writes the result, then the account.
    fn finish(&self, subject: &Described, recorded: Recorded<Self::Sum>) -> Result<()>;
}

/// Records what `subject` is, and finishes.
pub fn record<P: Purpose>(purpose: &P, subject: &Subject) -> Result<Exit> {
    match subject {
        Subject::Process(pid) => record_process(purpose, *pid),
        Subject::Command(command) => record_command(purpose, command),
    }
}

fn record_process<P: Purpose>(purpose: &P, pid: u32) -> Result<Exit> {
    let suspending = BetweenSamples::listen()?;
    let (subject, found) = match purpose.reach() {
        Reach::Alone => {
            let (target, interpreter) = attach(pid)?;
            (Described::new(&target, &interpreter), Some((target, interpreter)))
        }
        Reach::Family => (root(pid)?, None),
    };
    let output = purpose.open(&subject.program, pid)?;
    let notices = Notices::listen()?;
    let recording = suspending.begin(|| match found {
        Some((target, interpreter)) => sampler::start(target, interpreter, purpose.sampling()),
        None => sampler::family(pid, purpose.sampling()),
    })?;
    let (recording, sum) = begin(purpose, &subject, output, recording)?;
    let recorded = follow(recording, sum, following(purpose, &notices, pid, None));
    let exit = match (recorded.end, recorded.tally.taken) {
        (Ending::Stopped, 0) => Exit::Interrupted,
        (Ending::NeverPython, _) => nobody(pid, &recorded.processes),
        _ => Exit::Done,
    };
    if P::may_wait(&recorded.sum) {
        notices.let_signals_end_us();
    }
    purpose.finish(&subject, recorded)?;
    Ok(exit)
}

/// What was in the output before is there until the recording has begun: where it cannot, nothing is lost.
fn begin<P: Purpose>(
    purpose: &P,
    subject: &Described,
    output: P::Output,
    recording: Recording,
) -> Result<(Recording, P::Sum)> {
    match purpose.begin(subject, output) {
        Ok(sum) => Ok((recording, sum)),
        Err(error) => {
            recording.stopper().stop();
            recording.finish();
            Err(error)
        }
    }
}

fn following<'a, P: Purpose>(
    purpose: &P,
    notices: &'a Notices,
    pid: u32,
    command: Option<&'a Command>,
) -> Following<'a> {
    let Settings { duration, max_cpu: allowed, .. } = purpose.sampling();
    let (reach, rules) = (purpose.reach(), purpose.rules());
    Following { duration, allowed, reach, rules, notices, command, throttle: Throttle::of(pid) }
}

/// The process whose family is recorded, which need not run Python itself. Where nobody of it does yet, that is said. One that
/// may not be read has descendants that may: workers that have given their privileges up.
pub fn root(pid: u32) -> Result<Described> {
    let looked = look(pid);
    tell_plights(pid);
    match looked {
        Ok((target, interpreter)) => Ok(Described::new(&target, &interpreter)),
        Err(Error::NotPython { .. }) => {
            if super::python_below(pid).is_empty() {
                tell(&format!("pysample: process {pid} runs no Python, nor does a descendant of it: waiting for one"));
            }
            Ok(Described::root(pid))
        }
        Err(Error::NotRunning { .. } | Error::Unrecognised { .. } | Error::Unsupported { .. }) => {
            Ok(Described::root(pid))
        }
        Err(error @ Error::NotPermitted { .. }) if !super::python_below(pid).is_empty() => {
            tell(&format!("pysample: {error}; its descendants are recorded"));
            Ok(Described::root(pid))
        }
        Err(error) => Err(error),
    }
}

/// How the recording of a family ends in which nobody was seen running Python: as that of a process would that is what
/// stood in the way, or that is not Python.
pub fn nobody(pid: u32, processes: &Processes) -> Exit {
    let stood_in_the_way = |lost: &Lost| {
        let error = look(lost.pid).err()?;
        matches!(error, Error::NotPermitted { .. } | Error::Unsupported { .. } | Error::Unrecognised { .. })
            .then_some(error)
    };
    let not_python = || Error::NotPython { pid, why: "nor is a descendant of it".into() };
    let why = processes.lost.iter().find_map(stood_in_the_way).unwrap_or_else(not_python);
    Exit::Verdict(crate::exit_code(&why))
}

/// Whatever becomes of the recording, the command runs on to its own end, and its exit status is ours. Where the command
/// did well and the recording failed, the failure is told by the exit status.
fn record_command<P: Purpose>(purpose: &P, words: &[OsString]) -> Result<Exit> {
    let suspending = BetweenSamples::listen()?;
    let program = program_of(&words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>());
    let checked = purpose.check()?;
    let notices = Notices::listen()?;
    let adoption = adopt(purpose.reach());
    let command = suspending.start(|| Command::spawn(words))?;
    let opened = notices.watch(command.watch()).and_then(|()| match checked {
        Some(output) => Ok(output),
        None => purpose.open(&program, command.pid()),
    });
    let written = opened
        .and_then(|output| record_spawned(purpose, &program, (&command, adoption), (&notices, &suspending), output));
    if let Err(error) = &written {
        crate::complain(error);
    }
    forward_until_end(&command, &notices);
    match (command.wait()?.0, written) {
        (0, Err(error)) => Ok(Exit::Command(crate::exit_code(&error))),
        (status, _) => Ok(Exit::Command(status)),
    }
}

fn record_spawned<P: Purpose>(
    purpose: &P,
    program: &str,
    (command, adoption): (&Command, Option<Adoption>),
    (notices, suspending): (&Notices, &BetweenSamples),
    output: P::Output,
) -> Result<()> {
    let how = following(purpose, notices, command.pid(), Some(command));
    if purpose.reach() == Reach::Family {
        let subject = Described::unseen(program, command.pid());
        let begun = suspending.begin(|| sampler::command(command.pid(), adoption, purpose.sampling()));
        let recorded = match begun {
            Ok(recording) => {
                let (recording, sum) = begin(purpose, &subject, output, recording)?;
                follow(recording, sum, how)
            }
            // It was that short.
            Err(Error::Zombie { .. } | Error::NoSuchProcess { .. }) => {
                Recorded::nothing(purpose.begin(&subject, output)?)
            }
            Err(error) => return Err(error),
        };
        return purpose.finish(&subject, recorded);
    }
    let (subject, recorded) = match search(command, notices)? {
        Search::Found(target, interpreter) => {
            let subject = Described::new(&target, &interpreter);
            let recording = suspending.begin(|| sampler::start(*target, *interpreter, purpose.sampling()))?;
            let (recording, sum) = begin(purpose, &subject, output, recording)?;
            (subject, follow(recording, sum, how))
        }
        Search::Over => {
            let subject = Described::unseen(program, command.pid());
            let sum = purpose.begin(&subject, output)?;
            (subject, Recorded::nothing(sum))
        }
    };
    purpose.finish(&subject, recorded)
}

/// What came of looking for Python in a command.
pub enum Search {
    /// It runs Python.
    Found(Box<Target>, Box<Interpreter>),
    /// A signal, or the end of the command.
    Over,
}

/// Looks for Python in a command as long as it runs: it may be a script that becomes Python later.
pub fn search(command: &Command, notices: &Notices) -> Result<Search> {
    let progress = Progress::new(None, terminal(Some(command)));
    let began = Instant::now();
    let (mut pause, mut foreign) = (Duration::from_millis(1), None);
    loop {
        match look_anew(command.pid(), &mut foreign) {
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

/// The programs and libraries of a process in which there was no Python, and since when.
type Foreign = Option<(Vec<Binary>, Instant)>;

/// A look that is spared where a process has had the same programs and libraries for long, and there was no Python in them:
/// to search them takes some milliseconds. One that has just started may not have set up its Python yet.
fn look_anew(pid: u32, foreign: &mut Foreign) -> Result<(Target, Interpreter)> {
    let target = Target::attach(pid)?;
    let binaries = target.binaries();
    let since = foreign.take().filter(|(known, _)| *known == binaries).map(|(_, since)| since);
    if let Some(since) = since.filter(|since| since.elapsed() > STARTING) {
        *foreign = Some((binaries, since));
        return Err(Error::NotPython { pid, why: "nor was it before".into() });
    }
    let found = python::locate(&target);
    if matches!(found, Err(Error::NotPython { .. })) {
        *foreign = Some((binaries, since.unwrap_or_else(Instant::now)));
    }
    found.map(|interpreter| (target, interpreter))
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
pub fn forward_until_end(command: &Command, notices: &Notices) {
    if notices.watch(command.watch()).is_err() {
        // Its end is waited for all the same.
        return;
    }
    while let Ok(Notice::Signal(signal)) = notices.receiver().recv() {
        signal.forward(command);
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
