//! A sample is one moment, and taking it does nothing to the target: no stack that never was, no signal lost or doubled.

mod common;

use std::process::{Child, Command, Stdio};

use common::recording::{Recorded, Recording, pin};
use common::{Kind, Running, wait_until};
use libtest_mimic::{Arguments, Failed};
use nix::unistd::Pid;

fn main() {
    let trials = common::one_of_each().flat_map(|kind| {
        [
            common::watch::trial(format!("{}: no signal is lost or doubled", kind.kind), move || {
                no_signal_is_lost(kind)
            }),
            common::watch::trial(format!("{}: signals arrive in order", kind.kind), move || {
                signals_arrive(kind, &["40"])
            }),
            common::watch::trial(format!("{}: ordinary signals arrive, each once", kind.kind), move || {
                signals_arrive(kind, &["40", "ordinary"])
            }),
            common::watch::trial(format!("{}: no call is interrupted and nobody wakes", kind.kind), move || {
                nobody_is_disturbed(kind)
            }),
        ]
    });
    let free_threaded = common::kinds().filter(|kind| kind.kind == "3.14t" || kind.kind == "3.15t");
    let mixtures = common::one_of_each().chain(free_threaded).flat_map(|kind| {
        let calls = common::watch::trial(format!("{}: no stack is a mixture: calls", kind.kind), move || {
            no_stack_is_a_mixture(kind)
        });
        let unstopped =
            common::watch::trial(format!("{}: few are mixtures when nobody is stopped", kind.kind), move || {
                few_are_mixtures(kind)
            });
        let shapes = SHAPES.iter().map(move |&shape| {
            common::watch::trial(format!("{}: no stack is a mixture: {shape}", kind.kind), move || {
                every_stack_was(kind, shape)
            })
        });
        let crowded =
            common::watch::trial(format!("{}: no stack is a mixture on a crowded processor", kind.kind), move || {
                none_on_a_crowded_processor(kind)
            });
        shapes.chain([calls, unstopped, crowded])
    });
    let long = common::kinds().filter(|kind| kind.kind == "3.13");
    let long = long.map(|kind| {
        common::watch::trial(format!("{}: signals arrive in order for half a minute", kind.kind), move || {
            signals_arrive(kind, &["1300"])
        })
    });
    let execs =
        ["3.14t", "3.15t", "3.13", "3.8"].into_iter().filter_map(|name| common::kinds().find(|k| k.kind == name));
    let execs = execs.map(|kind| {
        common::watch::trial(
            format!("{}: a target that executes programs all the time lives on", kind.kind),
            move || lives_on(kind),
        )
    });
    let greenlets = ["asleep", "busy"].map(|how| {
        common::watch::trial(format!("3.11-debian: a greenlet that runs C only has no frames: {how}"), move || {
            greenlet_in_c(how)
        })
    });
    let trials = trials.chain(mixtures).chain(long).chain(execs).chain(greenlets);
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// What tortures.py can do.
const SHAPES: [&str; 7] = ["generators", "coroutines", "deep", "phases", "callbacks", "handover", "naps"];

fn started(kind: &Kind, program: &str) -> Running {
    let mut target = kind.start(program, &[]);
    assert_eq!(target.line(), "ready");
    target
}

fn no_stack_is_a_mixture(kind: &Kind) -> Result<(), Failed> {
    let target = started(kind, "torture.py");
    let pid = target.pid().to_string();
    let profile = common::printed(&["record", "--pid", &pid, "-r", "1000", "-d", "2", "-f", "collapsed", "-o", "-"]);
    all_were(&profile)
}

/// That every stack of torture.py in a profile can have been.
fn all_were(profile: &str) -> Result<(), Failed> {
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

/// Where a target shares its processor with three others it has none for most of the time: then it is read as it is, and
/// seldom stopped.
fn none_on_a_crowded_processor(kind: &Kind) -> Result<(), Failed> {
    let target = started(kind, "torture.py");
    pin(target.pid());
    let others: Vec<Busy> = (0..3).map(|_| Busy::start()).collect::<Result<_, _>>()?;
    others.iter().for_each(|other| pin(other.0.id()));
    let recorded = Recording::start(target.pid(), &["-r", "1000", "-d", "2", "--max-pause", "100"]).end();
    all_were(&recorded.profile)?;
    let account = &recorded.account;
    if account.stopped * 4 > account.taken * 3 {
        return Err(format!("it is stopped though it does not run: {account:?}").into());
    }
    Ok(())
}

/// A process that computes until this is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> std::io::Result<Busy> {
        Command::new("sh").args(["-c", "while :; do :; done"]).spawn().map(Busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where nobody is stopped at most 2 % of the stacks that are kept are mixtures, and the account tells how many: right to a
/// factor of two and ten stacks.
fn few_are_mixtures(kind: &Kind) -> Result<(), Failed> {
    let target = started(kind, "torture.py");
    let recorded = Recording::start(target.pid(), &["--never-pause", "-r", "1000", "-d", "3"]).end();
    let (mut kept, mut mixed) = (0, 0);
    for line in recorded.profile.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
        let count: u64 = count.parse()?;
        kept += count;
        mixed += if is_possible(stack) { 0 } else { count };
    }
    if kept < 100 || mixed * 50 > kept {
        return Err(format!("{mixed} of {kept} are mixtures").into());
    }
    let told = recorded.told.lines().find_map(|line| line.trim().strip_prefix("mixed "));
    let told = told.ok_or("the account does not tell")?.trim();
    if kind.minor < 11 {
        return if told.starts_with("not known") { Ok(()) } else { Err(format!("it tells: {told}").into()) };
    }
    let estimate: f64 = told.split(' ').nth(1).ok_or("no number")?.parse()?;
    // With so few of them chance decides.
    let few = 0.01 * kept as f64;
    let within = |one: f64, other: f64| one <= 2.0 * other + few;
    match within(estimate, mixed as f64) && within(mixed as f64, estimate) {
        true => Ok(()),
        false => Err(format!("{mixed} of {kept} are mixtures, and it tells: {told}").into()),
    }
}

/// Whether a stack of torture.py can have been.
fn is_possible(stack: &str) -> bool {
    let functions: Vec<&str> = stack.split(';').filter_map(|frame| frame.split(' ').next()).collect();
    let Some((&root, functions)) = functions.split_first() else { return false };
    // The thread that waits for the end of standard input may be on its way to it.
    if root == "leave_when_input_closes" || functions == ["ready"] {
        return true;
    }
    let mut path = "";
    root == "<module>"
        && functions.iter().enumerate().all(|(depth, function)| {
            let digits = function.strip_prefix("t_").unwrap_or(if *function == "t" { "" } else { "?" });
            let fits = digits.len() == depth && digits.starts_with(path);
            path = digits;
            fits
        })
}

fn every_stack_was(kind: &Kind, shape: &str) -> Result<(), Failed> {
    let mut target = kind.start("tortures.py", &[shape]);
    assert_eq!(target.line(), "ready");
    let mut arguments = vec!["-r", "1000", "-d", "1.5", "--max-pause", "100", "-t"];
    if ["handover", "naps"].contains(&shape) {
        arguments.push("-i"); // Of threads that wait, those that have just handed over the GIL are the most treacherous.
    }
    let recorded = Recorded::of(target.pid(), &arguments);
    let mut counted = 0;
    for (stack, count) in recorded.stacks() {
        match was(stack) {
            Ok(0) => {}
            Ok(_) => counted += count,
            Err(why) => return Err(format!("{why}: {count} of {stack}").into()),
        }
    }
    let account = &recorded.account;
    // Between two instructions of the interpreter itself a stack may be in pieces. Threads that nap are asleep whenever one
    // looks, and have moved whenever one has looked: on a busy machine there are moments that cannot be proven.
    let is_enough = shape == "naps" || account.unreadable * 100 <= counted + 500;
    if counted < 20 || !is_enough {
        return Err(format!("only {counted} stacks: {account:?}").into());
    }
    assert!(target.end().success());
    Ok(())
}

/// How many functions of tortures.py a stack has, if it can have been: each is called by the one whose name it bears, in
/// the line that it bears, by a thread that is called after the first of them or not at all.
fn was(stack: &str) -> Result<usize, &'static str> {
    let (mut thread, mut caller, mut found) = (None, None, 0);
    for frame in stack.split(';') {
        let (function, place) = frame.split_once(" (").ok_or("no frame")?;
        if !function.starts_with("f_") {
            continue;
        }
        if place.starts_with("thread ") {
            thread = Some(function);
            continue;
        }
        let numbers: Vec<u32> = function[2..].split('_').filter_map(|number| number.parse().ok()).collect();
        let &[called_by, own, called_in] = &numbers[..] else { return Err("a strange name") };
        match caller {
            None if called_by != 0 => return Err("the outermost function was called by another"),
            None if thread.is_some_and(|thread| thread != function) => return Err("another thread's function"),
            Some(caller) if caller != (called_by, Some(called_in)) => return Err("called from elsewhere"),
            _ => {}
        }
        // The first instructions of a generator have no line. Nothing is called by them.
        let line = place.trim_end_matches(')').rsplit_once(':').and_then(|(_, line)| line.parse::<u32>().ok());
        if line.is_some_and(|line| !(own..own + 9).contains(&line)) {
            return Err("a line of another function");
        }
        caller = Some((own, line));
        found += 1;
    }
    Ok(found)
}

/// A child of the target sends it signals, as ordered.py says with these arguments.
fn signals_arrive(kind: &Kind, arguments: &[&str]) -> Result<(), Failed> {
    let rounds: u32 = arguments[0].parse()?;
    let mut target = kind.start("ordered.py", arguments);
    assert_eq!(target.line(), "ready");
    let recording = Recording::start_elsewhere(target.pid(), &["-r", "1000", "--max-pause", "100"]);
    recording.has_begun();
    target.tell("go\n");
    let told = target.line();
    let recorded = recording.stop();
    let account = &recorded.account;
    if told != format!("{} in order", rounds * 24) {
        return Err(format!("of {} signals: {told}; {account:?}", rounds * 24).into());
    }
    assert!(account.stopped > u64::from(rounds), "the target was stopped often: {account:?}");
    assert!(target.end().success());
    Ok(())
}

fn nobody_is_disturbed(kind: &Kind) -> Result<(), Failed> {
    for how in [&["-r", "2000"][..], &["-r", "2000", "-i"], &["-r", "200000", "-i"]] {
        let mut target = kind.start("eintr.py", &[]);
        let sleeper: u32 = target.line().parse()?;
        assert_eq!(target.line(), "ready");
        wait_until("the sleeper sleeps", || {
            let call = std::fs::read_to_string(format!("/proc/{}/task/{sleeper}/syscall", target.pid()));
            call.is_ok_and(|call| call.starts_with("34 ") || call.starts_with("73 ")) // pause or what stands in for it
        });
        let before = switches(target.pid(), sleeper);
        let arguments = [how, &["-d", "1.5", "--max-pause", "100"]].concat();
        let recorded = Recording::start_elsewhere(target.pid(), &arguments).end();
        let woken = switches(target.pid(), sleeper) - before;
        target.close();
        let told = target.json();
        let interrupted: u64 = told.as_object().unwrap().values().map(|counts| counts[1].as_u64().unwrap_or(0)).sum();
        let account = &recorded.account;
        assert!(account.stopped > 20 && told["echoes"][0].as_u64() > Some(100), "{account:?} {told}");
        if interrupted + woken > 0 {
            return Err(format!("woken {woken} times, and interrupted: {told}; {account:?}").into());
        }
        assert!(target.end().success());
    }
    Ok(())
}

/// How often a thread has given up a processor by itself.
fn switches(pid: u32, tid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).expect("the thread is there");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("its switches are counted").trim().parse().expect("a number")
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
    nix::sys::signal::kill(Pid::from_raw(recording.id() as i32), nix::sys::signal::Signal::SIGINT)?;
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
    nix::sys::signal::kill(Pid::from_raw(recording.id() as i32), nix::sys::signal::Signal::SIGINT)?;
    recording.wait()?;
    if !sender.success() || !still_recording {
        return Err("the signals were not sent during the recording".into());
    }
    target.close();
    let arrived: usize = target.line().parse()?;
    if arrived == SENT { Ok(()) } else { Err(format!("{arrived} of {SENT} signals arrived").into()) }
}

/// On 3.11 and 3.12 it looks as if the interpreter's loop had just begun.
fn greenlet_in_c(how: &str) -> Result<(), Failed> {
    let packages = common::packages();
    let mut target = common::kind("3.11-debian").start("greenlets.py", &[how, packages.to_str().expect("in UTF-8")]);
    assert_eq!(target.line(), "ready");
    let pid = target.pid().to_string();
    wait_until("the greenlet runs", || {
        let dump = common::pysample(&["dump", "--pid", &pid]);
        !String::from_utf8_lossy(&dump.stdout).contains("<module>")
    });
    for more in [&[][..], &["--never-pause"]] {
        let recorded =
            Recorded::of(target.pid(), &[&["-i", "-r", "500", "-d", "1", "--max-pause", "100"], more].concat());
        let account = &recorded.account;
        if account.unreadable > 0
            || account.taken == 0
            || recorded.stacks().any(|(stack, _)| stack.contains("greenlets"))
        {
            return Err(format!("{}{}", recorded.profile, recorded.told).into());
        }
        // So that a stop was enough for each.
        if account.stopped > account.taken {
            return Err(format!("stopped {} times: {}", account.stopped, recorded.told).into());
        }
    }
    Ok(())
}
