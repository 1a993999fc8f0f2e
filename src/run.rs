//! One short function per subcommand: source, aggregate, sink.

mod advice;
mod described;
mod diff;
mod doctor;
mod family;
mod follow;
mod gil;
mod kept;
mod notices;
mod open;
mod ps;
mod record;
mod recordings;
mod rescue;
mod session;
mod sources;
mod spool;
mod suspend;
mod throttle;
mod top;

use std::io::{self, IsTerminal, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use pysample::error::Result;
use pysample::output::Output;
use pysample::printable::printable;
use pysample::python::{self, Interpreter};
use pysample::sample::Snapshot;
use pysample::sampler;
use pysample::target::{Plight, Target};
use pysample::view::dump::{Colour, Process, Python, Report};

use crate::cli::Cli;
use crate::plan::{Dump, Plan, Reach, Shape};

pub use advice::hint;

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// It was interrupted before there was anything to show.
    Interrupted,
    /// A recording takes more for a function than it may.
    Grew,
    /// The command that was recorded ended with this status.
    Command(u8),
    /// What was asked is done, and the answer is what is to be told by this status.
    Verdict(u8),
}

/// Does what was planned.
pub fn run(plan: Plan) -> Result<Exit> {
    match plan {
        Plan::Record(plan) => session::record(&plan, &plan.subject),
        Plan::Top(plan) => top::run(&plan),
        Plan::Dump(plan) => dump(plan),
        Plan::Gil(plan) => session::record(&plan, &plan.subject),
        Plan::Diff(plan) => diff::diff(&plan),
        Plan::Check(plan) => diff::check(&plan),
        Plan::Ps(shape) => ps::run(shape),
        Plan::Doctor(pid, shape) => doctor::run(pid, shape),
        Plan::Convert(plan) => recordings::convert(&plan),
        Plan::Merge(plan) => recordings::merge(&plan),
        Plan::Report(plan) => recordings::report(&plan),
        Plan::Completions(shell) => completions(shell),
    }
}

fn dump(plan: Dump) -> Result<Exit> {
    if plan.choice.reach == Reach::Family {
        return family::dump(&plan);
    }
    let (target, interpreter) = attach(plan.pid)?;
    let snapshot = sampler::snapshot(&target, &interpreter, plan.wanted, plan.pause)?;
    let report = report(&plan, &target, &interpreter, snapshot);
    print(|out| match plan.shape {
        Shape::Json => report.write_json(out),
        Shape::Text => report.write_text(colour(), out),
    })
}

fn report(plan: &Dump, target: &Target, interpreter: &Interpreter, snapshot: Snapshot) -> Report {
    let source = |file: &str, line| target.source_line(file, line);
    Report::new(process(target, interpreter), snapshot, source)
        .with_ids_inside(|tid| target.id_inside(tid))
        .of_wanted(&plan.choice.rules)
}

fn completions(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pysample", &mut script);
    print(|out| out.write_all(&script))
}

/// Writes to standard output.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Exit> {
    Output::stdout().write(write)?;
    Ok(Exit::Done)
}

/// The process and its interpreter; what there is to say of it is said.
fn attach(pid: u32) -> Result<(Target, Interpreter)> {
    let (target, interpreter) = pysample::attach(pid).map_err(family::offer)?;
    warn(&interpreter);
    target.plight().into_iter().for_each(|plight| tell_plight(pid, plight));
    Ok((target, interpreter))
}

fn tell_plight(pid: u32, plight: Plight) {
    tell(&format!("pysample: process {pid}: {plight}"));
}

/// The descendants of a process that are Python now, with their interpreters.
fn python_below(pid: u32) -> Vec<(Target, Interpreter)> {
    family::descendants(pid).into_iter().filter_map(|relative| look(relative.pid).ok()).collect()
}

fn look(pid: u32) -> Result<(Target, Interpreter)> {
    let target = Target::attach(pid)?;
    let interpreter = python::locate(&target)?;
    Ok((target, interpreter))
}

fn warn(interpreter: &Interpreter) {
    if let Some(warning) = interpreter.warning() {
        tell(&format!("pysample: warning: {}", printable(&warning)));
    }
}

/// Writes a line to standard error; if nobody can hear it, nobody can.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn process(target: &Target, interpreter: &Interpreter) -> Process {
    Process {
        pid: target.pid(),
        pid_inside: Some(target.facts().own_pid).filter(|&own| own != target.pid()),
        command: target.command().to_vec(),
        python: Python { version: interpreter.version_text(), build: interpreter.build(), found: interpreter.found() },
    }
}

fn colour() -> Colour {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    match io::stdout().is_terminal() && !unwanted && !dumb {
        true => Colour::Ansi,
        false => Colour::None,
    }
}
