//! Much of everything: deep stacks, many threads, interpreters that come and go, high rates, long recordings. What a recording
//! takes stays in bounds, and it stays right.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use common::recording::{Recorded, Recording};
use common::{Kind, Running};
use libtest_mimic::Arguments;

type Tests = &'static [(&'static str, fn(&Kind))];

/// Run by one interpreter of each minor version, and by free-threaded ones.
const OF_EACH_VERSION: Tests = &[
    ("a stack of ten thousand frames is whole, in bounded memory", ten_thousand_frames),
    ("a thousand threads are whole, in bounded memory", thousand_threads),
    ("interpreters that come and go cost nobody else", interpreters),
    ("threads that come and go are seen, and cost the others nothing", visitors),
    ("a process that was forked behind Python's back is read", forked_by_c),
    ("of two codes in turn at one address none is taken for the other", alternating),
    ("memory does not grow with time", memory),
];

/// Run by one ordinary interpreter.
const ALONE: Tests = &[
    ("a recording ends on time at any rate and accounts for every sample", rates),
    ("threads that come and go all the time take little memory", threads_come_and_go),
];

/// Run by those for which a deep stack takes the longest and the shortest to read.
const DEEP: Tests = &[("the target is not stopped for longer than allowed", budget)];

fn main() {
    let arguments = Arguments::from_args();
    let of = |kind: &'static Kind, tests: Tests| {
        tests.iter().map(move |&(name, test)| {
            common::watch::trial(format!("{}: {name}", kind.kind), move || {
                test(kind);
                Ok(())
            })
        })
    };
    let free_threaded = common::kinds().filter(|kind| kind.kind == "3.14t" || kind.kind == "3.15t");
    let trials = (common::one_of_each().chain(free_threaded).flat_map(|kind| of(kind, OF_EACH_VERSION)))
        .chain(["3.8", "3.13", "3.14t"].into_iter().flat_map(|name| of(common::kind(name), DEEP)))
        .chain(of(common::ordinary(), ALONE));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn moving(kind: &Kind, program: &str, arguments: &[&str]) -> Running {
    let mut target = kind.start(program, arguments);
    assert_eq!(target.line(), "ready");
    target
}

/// Records a process to a good end. Returns its peak resident memory, too, in KiB.
fn measured(target: &Running, arguments: &[&str]) -> (Recorded, u64) {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "peak %M", env!("CARGO_BIN_EXE_pysample"), "record", "-f", "collapsed", "-o", "-"]);
    let recorded = Recording::run(command.args(["--pid", &target.pid().to_string()]).args(arguments)).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.account.is_whole() && recorded.account.taken > 0, "{}", recorded.told);
    let peak = recorded.told.lines().find_map(|line| line.strip_prefix("peak ")?.parse().ok());
    let peak = peak.unwrap_or_else(|| panic!("/usr/bin/time told nothing: {}", recorded.told));
    (recorded, peak)
}

// ---- Much at once --------------------------------------------------------------------------------------------------

fn ten_thousand_frames(kind: &Kind) {
    let mut target = kind.start("recursion.py", &["10000", "thread"]);
    let told = target.json();
    let threads = told["interpreters"][0]["threads"].as_array().unwrap();
    let deep = threads.iter().find(|thread| thread["name"] == "deep").expect("it tells of its deep thread");
    let frame = |frame: &serde_json::Value| {
        format!("{} ({}:{})", frame[0].as_str().unwrap(), frame[1].as_str().unwrap(), frame[2])
    };
    let frames: Vec<String> = deep["frames"].as_array().unwrap().iter().rev().map(frame).collect();
    assert!(frames.len() > 10_000);
    let (recorded, peak) = measured(&target, &["-r", "100", "-d", "1", "-i", "--full-filenames", "--max-pause", "100"]);
    assert_eq!(recorded.account.unreadable, 0, "{}", recorded.told);
    let expected = frames.join(";");
    let seen: u64 = recorded.stacks().filter(|(stack, _)| *stack == expected).map(|(_, count)| count).sum();
    assert_eq!(seen, recorded.account.taken, "{}", recorded.told);
    assert!(peak < 64 << 10, "{peak} KiB");
    assert!(target.end().success());
}

fn thousand_threads(kind: &Kind) {
    let target = moving(kind, "manythreads.py", &["1000"]);
    let (recorded, peak) = measured(&target, &["-r", "20", "-d", "2", "-i", "-F", "--max-pause", "100"]);
    let waiting = |stack: &str| stack.contains("wait_inside (manythreads.py:");
    let counted: u64 = recorded.stacks().filter(|(stack, _)| waiting(stack)).map(|(_, count)| count).sum();
    assert_eq!(counted, 1000 * recorded.account.taken, "{}", recorded.told);
    // The busy one may be between two frames.
    assert!(recorded.account.unreadable * 10 <= recorded.account.taken, "{}", recorded.told);
    assert!(peak < 64 << 10, "{peak} KiB");
    assert!(target.end().success());
}

fn interpreters(kind: &Kind) {
    let mut target = kind.start("interpreters.py", &[]);
    if target.line() == "unavailable" {
        return;
    }
    let recorded = Recorded::of(target.pid(), &["-r", "1000", "-d", "2", "-i", "-F", "--max-pause", "100"]);
    assert_eq!(recorded.lines_with("until the time was up"), 1, "{}", recorded.told);
    let account = &recorded.account;
    assert!(account.is_whole() && account.taken > 20, "{}", recorded.told);
    let (mut busy, mut inside) = (0, 0);
    for (stack, count) in recorded.stacks() {
        let functions: Vec<&str> = stack.split(';').map(|frame| frame.split(' ').next().unwrap()).collect();
        if let Some(at) = functions.iter().position(|&function| function == "outer") {
            assert!([&["outer"][..], &["outer", "inner"]].contains(&&functions[at..]), "{stack}");
            assert!(!functions.contains(&"make"), "{stack}");
            busy += count;
        }
        if let Some(at) = functions.iter().position(|&function| function == "inside") {
            assert_eq!((at, functions.len()), (1, 2), "{stack}");
            inside += count;
        }
    }
    assert!(busy + account.unreadable >= account.taken, "the busy thread is in every sample: {}", recorded.told);
    assert!(inside > 0, "interpreters are seen: {}\n{}", recorded.told, recorded.profile);
    drop(target); // It may be in the middle of making an interpreter, so that it does not end well.
}

fn visitors(kind: &Kind) {
    let mut target = moving(kind, "visitors.py", &[]);
    let recording = Recording::start(target.pid(), &["-r", "100", "-i", "-F", "--max-pause", "100"]);
    recording.has_begun();
    target.tell("go\n");
    let napped = target.json()["napped"].as_f64().unwrap();
    let recorded = recording.stop();
    assert!(target.end().success());
    let account = &recorded.account;
    let in_function = |name: &str| -> u64 {
        let stacks = recorded.stacks().filter(|(stack, _)| stack.split(';').any(|frame| frame.starts_with(name)));
        stacks.map(|(_, count)| count).sum()
    };
    // One moment in a hundred may be of a thread that is being made, again and again.
    let hosts = in_function("host (");
    assert!(hosts <= 20 * account.taken && hosts * 100 >= 20 * account.taken * 99, "{hosts}: {}", recorded.told);
    let (seen, expected) = (in_function("visit (") as f64, napped * account.taken as f64);
    assert!(seen > 0.7 * expected, "{seen} instead of {expected}: {}", recorded.told);
}

fn forked_by_c(kind: &Kind) {
    let mut target = kind.start("forked_by_c.py", &[]);
    let child = target.line().parse().expect("a process id");
    let recorded = Recorded::of(child, &["-r", "100", "-d", "1", "-i", "-F", "--max-pause", "100"]);
    let working = recorded.stacks().filter(|(stack, _)| stack.starts_with("<module> (forked_by_c.py"));
    let counted: u64 = working.map(|(_, count)| count).sum();
    assert!(counted <= recorded.account.taken, "{}", recorded.told);
    assert!(counted * 100 >= recorded.account.taken * 95, "{counted}: {}\n{}", recorded.told, recorded.profile);
    assert!(target.end().success());
}

fn alternating(kind: &Kind) {
    let target = moving(kind, "alternate.py", &[]);
    let recorded = Recorded::of(target.pid(), &["-r", "2000", "-d", "1.5", "--max-pause", "100"]);
    let mut seen = BTreeMap::from([("a", 0), ("b", 0)]);
    for (stack, count) in recorded.stacks() {
        let frames: Vec<&str> = stack.split(';').collect();
        let Some(at) = frames.iter().position(|frame| frame.starts_with("fn_")) else { continue };
        let which = if frames[at].starts_with("fn_a") { "a" } else { "b" };
        assert!(frames[at - 1].starts_with(&format!("via_{which} (")), "{count} of {stack}");
        assert_eq!(frames.len(), at + 1, "{count} of {stack}");
        let (file, line) = frames[at].trim_end_matches(')').rsplit_once(':').expect("it has a line");
        assert_eq!(file, format!("fn_{which} (file_{which}.py"), "{count} of {stack}");
        let lines: &[&str] = if which == "a" { &["1", "3", "6"] } else { &["1", "5", "6"] };
        assert!(lines.contains(&line), "{count} of {stack}");
        *seen.get_mut(which).unwrap() += count;
    }
    assert!(seen.values().all(|&count| count > 10), "{seen:?}: {}", recorded.told);
    assert!(target.end().success());
}

// ---- For long ------------------------------------------------------------------------------------------------------

/// The same stacks again and again: after many samples a recording has no more memory than after some. In the second
/// program the code objects are new all the time, and only their names stay.
fn memory(kind: &Kind) {
    for (program, arguments) in [("deep.py", &["50"][..]), ("alternate.py", &[])] {
        let target = moving(kind, program, arguments);
        let recording = Recording::start(target.pid(), &["-r", "5000", "-i", "--max-pause", "100"]);
        recording.has_read(1500);
        let some = peak(recording.pid());
        recording.has_read(9000);
        let many = peak(recording.pid());
        let recorded = recording.stop();
        assert!(recorded.account.taken > 1000, "{}", recorded.told);
        assert!(many <= some + 1024, "{program}: {some} KiB became {many}: {}", recorded.told);
        assert!(target.end().success());
    }
}

/// Peak resident memory of a process that runs, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Each thread is one of its own in the profile, so this is bounded by their number; of that there is little.
fn threads_come_and_go(kind: &Kind) {
    let target = moving(kind, "churn.py", &[]);
    let (recorded, peak) = measured(&target, &["-r", "2000", "-d", "4", "-i", "-t", "--max-pause", "100"]);
    assert!(peak < 32 << 10, "{peak} KiB\n{}", recorded.told);
    assert!(target.end().success());
}

// ---- On time -------------------------------------------------------------------------------------------------------

fn rates(kind: &Kind) {
    let target = moving(kind, "spin.py", &[]);
    for (rate, seconds, asked) in [
        ("1", "1.2", 1),
        ("7.5", "1", 8),
        ("100", "0.5", 50),
        ("1khz", "1", 1000),
        ("12345", "0.4", 4938),
        ("50000", "0.5", 25_000),
        ("200000", "0.7", 140_000),
    ] {
        let begun = Instant::now();
        let recorded = Recorded::of(target.pid(), &["-r", rate, "-d", seconds, "--max-pause", "100"]);
        let took = begun.elapsed();
        let account = &recorded.account;
        assert!(account.is_whole(), "{rate}: {}", recorded.told);
        assert_eq!(account.asked, asked, "{rate}: {}", recorded.told);
        assert!(account.taken > 0 || rate == "1", "{rate}: {}", recorded.told);
        let seconds: f64 = seconds.parse().unwrap();
        // What is told is rounded to tenths.
        assert!(account.seconds > seconds - 0.06 && account.seconds < seconds + 2.0, "{rate}: {}", recorded.told);
        assert!(took >= Duration::from_secs_f64(seconds), "{rate}: {took:?}");
        assert_eq!(recorded.lines_with("until the time was up"), 1, "{}", recorded.told);
    }
    assert!(target.end().success());
}

fn budget(kind: &Kind) {
    let target = moving(kind, "deep.py", &["2000"]);
    for (percent, arguments) in [(5.0, &[][..]), (1.0, &["--max-pause", "1"])] {
        let arguments = [&["-r", "10000", "-d", "2"], arguments].concat();
        let recorded = Recorded::of(target.pid(), &arguments);
        let account = &recorded.account;
        assert!(account.is_whole() && account.left_out > 0 && account.taken > 0, "{}", recorded.told);
        assert_eq!(account.asked, 20_000);
        assert_eq!(recorded.lines_with("taking fewer samples than asked"), 1, "{}", recorded.told);
        // Stops of 10 ms are allowed in advance, and the last one may be long. What is told is rounded.
        let stopped = account.share / 100.0 * account.seconds;
        let allowed = percent / 100.0 * account.seconds + 0.010 + account.longest;
        assert!(stopped <= allowed * 1.03, "{stopped} s, allowed are {allowed} s: {}", recorded.told);
    }
    assert!(target.end().success());
}
