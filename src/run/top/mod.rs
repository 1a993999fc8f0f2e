//! The live view: of a process that runs, or of a command that is run for it; on a screen, or one refresh of it as text.

mod app;
mod collect;
mod printed;
mod save;
mod screen;
mod sources;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, tick};
use pysample::aggregate::LeftOut;
use pysample::aggregate::live::Live;
use pysample::error::Result;
use pysample::export::Files;
use pysample::printable::printable;
use pysample::python::Interpreter;
use pysample::sample::{program_of, short_file};
use pysample::sampler::{self, Outcome, Recording};
use pysample::target::Target;
use pysample::target::cgroup::Throttling;
use pysample::target::command::Command;
use pysample::view::summary::{Ending, Summary};
use pysample::view::top::{Report, Scene, State};

use super::described::Described;
use super::family::adopt;
use super::follow::{ended, what};
use super::notices::{Notice, Notices};
use super::session::{Search, forward_until_end, nobody, root, search};
use super::suspend::BetweenSamples;
use super::{Exit, attach, print, record, tell};
use crate::plan::{Form, Reach, Subject, Top};
use collect::Collector;
use printed::Printed;
use sources::Surroundings;

/// How often the processor is looked at while nothing is drawn.
const USAGE_EVERY: Duration = Duration::from_secs(1);

/// A recording that is over.
pub struct Over {
    /// Its account.
    pub outcome: Outcome,
    /// What was not shown because it was not wanted.
    pub left_out: LeftOut,
    /// By which CPU limit the process was throttled.
    pub throttled: Option<Throttling>,
    /// Why it ended.
    pub end: Ending,
}

/// Shows what was planned.
pub fn run(plan: &Top) -> Result<Exit> {
    match &plan.subject {
        Subject::Process(pid) => {
            let suspending = suspending(plan)?;
            let (subject, recording) = match plan.choice.reach {
                Reach::Alone => {
                    let (target, interpreter) = attach(*pid)?;
                    started(plan, target, interpreter, &suspending)?
                }
                Reach::Family => (root(*pid)?, suspending.begin(|| sampler::family(*pid, plan.sampling))?),
            };
            let notices = Notices::listen()?;
            watch(plan, subject, recording, &notices, None, None)
        }
        Subject::Command(words) => run_command(plan, words),
    }
}

/// Whatever becomes of the view, the command runs on to its own end, and its exit status is ours.
fn run_command(plan: &Top, words: &[OsString]) -> Result<Exit> {
    let suspending = suspending(plan)?;
    let notices = Notices::listen()?;
    let adoption = adopt(plan.choice.reach);
    let (command, printed) = match plan.form {
        Form::Screen => {
            let (printed, take) = Printed::expect()?;
            let (command, prints) = suspending.start(|| Command::spawn_apart(words))?;
            take(prints);
            (command, Some(printed))
        }
        Form::Text | Form::Json => (suspending.start(|| Command::spawn(words))?, None),
    };
    let watched = notices.watch(command.watch());
    let program = program_of(&words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>());
    let begun = watched.and_then(|()| match plan.choice.reach {
        Reach::Family => suspending
            .begin(|| sampler::command(command.pid(), adoption, plan.sampling))
            .map(|recording| Some((Described::unseen(&program, command.pid()), recording))),
        Reach::Alone => search(&command, &notices).and_then(|found| match found {
            Search::Found(target, interpreter) => started(plan, *target, *interpreter, &suspending).map(Some),
            Search::Over => Ok(None),
        }),
    });
    let watched = match begun {
        Ok(Some((subject, recording))) => watch(plan, subject, recording, &notices, Some(&command), printed.as_ref()),
        Ok(None) => {
            let subject = Described::unseen(&program, command.pid());
            tell(&format!("No sample was taken: {} was never seen running Python", printable(&subject.to_text())));
            Ok(Exit::Done)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &watched {
        crate::complain(error);
    }
    printed.iter().for_each(Printed::pass_on);
    forward_until_end(&command, &notices);
    let status = command.wait()?.0;
    printed.iter().for_each(Printed::drain);
    match (status, watched) {
        (0, Err(error)) => Ok(Exit::Command(crate::exit_code(&error))),
        (status, _) => Ok(Exit::Command(status)),
    }
}

/// A recording of one process that has been opened.
fn started(
    plan: &Top,
    target: Target,
    interpreter: Interpreter,
    suspending: &BetweenSamples,
) -> Result<(Described, Recording)> {
    let subject = Described::new(&target, &interpreter);
    Ok((subject, suspending.begin(|| sampler::start(target, interpreter, plan.sampling))?))
}

/// The screen hears for itself that it is to be left.
fn suspending(plan: &Top) -> Result<BetweenSamples> {
    match plan.form {
        Form::Screen => BetweenSamples::out_of_turn(),
        Form::Text | Form::Json => BetweenSamples::listen(),
    }
}

fn watch(
    plan: &Top,
    subject: Described,
    recording: Recording,
    notices: &Notices,
    command: Option<&Command>,
    printed: Option<&Printed>,
) -> Result<Exit> {
    let header = record::header(&subject, &plan.sampling);
    let live = Live::new(shorten(plan.files));
    let collector = Collector::start(recording, plan.choice.rules.clone(), &header, live)?;
    let (Over { outcome, left_out, throttled, end }, saved) = match plan.form {
        Form::Screen => {
            let left = app::show(plan, &subject, notices, collector, (command, printed))?;
            if left.is_interrupted {
                command.iter().for_each(|command| command.signal(signal_hook::consts::SIGINT));
            }
            (left.over, left.saved)
        }
        Form::Text | Form::Json => (refresh(plan, &subject, notices, collector, command)?, Vec::new()),
    };
    let tally = outcome.tally;
    let exit = match (end, tally.taken, command) {
        (Ending::Stopped, 0, _) => Exit::Interrupted,
        (Ending::NeverPython, _, None) => nobody(subject.process().pid, &outcome.processes),
        _ => Exit::Done,
    };
    let summary = Summary {
        subject: subject.to_text(),
        elapsed: outcome.elapsed,
        rate: plan.sampling.rate,
        tally,
        processes: (plan.choice.reach == Reach::Family).then_some(outcome.processes),
        left_out,
        profile: None,
        throttled,
        end,
        written: None,
    };
    if plan.form != Form::Json {
        tell(summary.to_string().trim_end());
    }
    saved.iter().for_each(|saved| tell(&format!("  {}", printable(saved))));
    Ok(exit)
}

/// One refresh: looks for as long as was asked, or as there is something to look at, and prints it.
fn refresh(
    plan: &Top,
    subject: &Described,
    notices: &Notices,
    collector: Collector,
    command: Option<&Command>,
) -> Result<Over> {
    let mut around = Surroundings::of(subject.process().pid);
    let (began, usage) = (Instant::now(), tick(USAGE_EVERY));
    let mut has_exited = false;
    around.look(&mut collector.collected().look(), began.elapsed());
    loop {
        select! {
            recv(collector.over()) -> _ => break,
            recv(usage) -> _ => around.look(&mut collector.collected().look(), began.elapsed()),
            recv(notices.receiver()) -> notice => match notice.expect("the notices hold a sender themselves") {
                Notice::Signal(signal) => {
                    command.iter().for_each(|command| signal.forward(command));
                    if signal.ends() {
                        collector.stopper().stop();
                    }
                }
                Notice::CommandEnded if plan.choice.reach == Reach::Family => {}
                Notice::CommandEnded => {
                    has_exited = true;
                    collector.stopper().stop();
                }
            }
        }
    }
    around.look(&mut collector.collected().look(), began.elapsed());
    let (collected, outcome, left_out) = collector.finish();
    let end = ended(plan.choice.reach, has_exited, &outcome);
    let live = collected.look();
    live.remarks().iter().for_each(|remark| tell(&format!("pysample: {}", what(*remark, plan.sampling.max_cpu))));
    let why = match end {
        Ending::TargetExited => Some("the process has ended"),
        Ending::FamilyEnded => Some("it and its Python descendants have ended"),
        Ending::TargetReplaced => Some("it became a program that is not Python"),
        Ending::TargetForbidden => Some("it became one that we may not read"),
        Ending::Duration | Ending::Stopped | Ending::NeverPython => None,
    };
    let throttled = around.throttle.altogether();
    let scene = Scene {
        live: &live,
        program: &subject.program,
        rate: plan.sampling.rate,
        uptime: around.uptime(&live, None),
        throttled,
        ended: why,
        sources: &around.files,
        dump: &[],
        output: &[],
    };
    let mut state = State::new(plan.mode, plan.window);
    state.of_all_time = true;
    let report = Report::new(&scene, &mut state);
    print(|out| match plan.form {
        Form::Json => report.write_json(out),
        Form::Text | Form::Screen => report.write_text(&scene, out),
    })?;
    Ok(Over { outcome, left_out, throttled, end })
}

/// What files are called.
fn shorten(files: Files) -> fn(&str, &[String]) -> String {
    match files {
        Files::Short => |file, search_path| short_file(file, search_path).to_owned(),
        Files::Full => |file, _| file.to_owned(),
    }
}
