//! A sample is one moment, and taking it does nothing to the target: no stack that never was, no signal lost or doubled.

mod common;

use std::process::{Command, Stdio};

use common::{Kind, Running};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let trials = common::one_of_each().flat_map(|kind| {
        [
            Trial::test(format!("{}: no stack is a mixture", kind.kind), move || no_stack_is_a_mixture(kind)),
            Trial::test(format!("{}: no signal is lost or doubled", kind.kind), move || no_signal_is_lost(kind)),
        ]
    });
    let free_threaded = common::kinds().filter(|kind| kind.kind == "3.14t" || kind.kind == "3.15t");
    let free_threaded = free_threaded
        .map(|kind| Trial::test(format!("{}: no stack is a mixture", kind.kind), move || no_stack_is_a_mixture(kind)));
    let execs =
        ["3.14t", "3.15t", "3.13", "3.8"].into_iter().filter_map(|name| common::kinds().find(|k| k.kind == name));
    let execs = execs.map(|kind| {
        Trial::test(format!("{}: a target that executes programs all the time lives on", kind.kind), move || {
            lives_on(kind)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.chain(free_threaded).chain(execs).collect()).exit();
}

fn started(kind: &Kind, program: &str) -> Running {
    let mut target = kind.start(program, &[]);
    assert_eq!(target.line(), "ready");
    target
}

fn no_stack_is_a_mixture(kind: &Kind) -> Result<(), Failed> {
    let target = started(kind, "torture.py");
    let pid = target.pid().to_string();
    let profile = common::printed(&["record", "--pid", &pid, "-r", "1000", "-d", "2", "-f", "collapsed", "-o", "-"]);
    let mut counted = 0;
    for line in profile.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
        if !is_possible(stack) {
            return Err(format!("{count} of {stack}").into());
        }
        counted += count.parse::<u64>()?;
    }
    if counted < 20 { Err(format!("only {counted} samples").into()) } else { Ok(()) }
}

/// Whether a stack of torture.py can have been.
fn is_possible(stack: &str) -> bool {
    let functions: Vec<&str> = stack.split(';').filter_map(|frame| frame.split(' ').next()).collect();
    let Some((&root, functions)) = functions.split_first() else { return false };
    let mut path = "";
    root == "<module>"
        && functions.iter().enumerate().all(|(depth, function)| {
            let digits = function.strip_prefix("t_").unwrap_or(if *function == "t" { "" } else { "?" });
            let fits = digits.len() == depth && digits.starts_with(path);
            path = digits;
            fits
        })
}

/// An exec kills the other threads, one of which may be stopped or about to be.
fn lives_on(kind: &Kind) -> Result<(), Failed> {
    let mut target = kind.start("execs.py", &["12"]);
    assert_eq!(target.line(), "ready");
    let pid = target.pid();
    let arguments = ["record", "-i", "-r", "5000", "--max-pause", "100", "-f", "collapsed", "-o", "/dev/null"];
    let mut recording = Command::new(env!("CARGO_BIN_EXE_pysample"))
        .args(arguments)
        .args(["--pid", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()?;
    assert_eq!(target.line(), "done");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(recording.id() as i32), nix::sys::signal::Signal::SIGINT)?;
    let ended = recording.wait()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    if !status.contains("TracerPid:\t0\n") {
        return Err("the target is still traced".into());
    }
    if !ended.success() || !target.end().success() {
        Err(format!("the recording ended with {ended}").into())
    } else {
        Ok(())
    }
}

fn no_signal_is_lost(kind: &Kind) -> Result<(), Failed> {
    const SENT: usize = 2000;
    let mut target = started(kind, "signals.py");
    let pid = target.pid().to_string();
    let mut recording = Command::new(env!("CARGO_BIN_EXE_pysample"))
        .args(["record", "--pid", &pid, "-r", "3000", "-f", "collapsed", "-o", "/dev/null"])
        .stderr(Stdio::null())
        .spawn()?;
    let send = format!("import os\nfor _ in range({SENT}):\n os.kill({pid}, {})\n for _ in range(2000): pass", 34 + 1);
    let sender = Command::new("python3").args(["-c", &send]).status()?;
    let still_recording = recording.try_wait()?.is_none();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(recording.id() as i32), nix::sys::signal::Signal::SIGINT)?;
    recording.wait()?;
    if !sender.success() || !still_recording {
        return Err("the signals were not sent during the recording".into());
    }
    target.close();
    let arrived: usize = target.line().parse()?;
    if arrived == SENT { Ok(()) } else { Err(format!("{arrived} of {SENT} signals arrived").into()) }
}
