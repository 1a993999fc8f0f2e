//! A dump says what the target says of itself: for every kind of interpreter, programs that stand still and tell.
//!
//! What is expected comes from the target: its own `sys._current_frames()` and `threading.enumerate()`.

mod common;

use std::path::Path;

use common::{Kind, oracle, wait_until};
use libtest_mimic::{Arguments, Failed};
use serde_json::Value;

/// The programs and their arguments.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("recursion.py", &["5"]),
    ("recursion.py", &["3000"]),
    ("recursion.py", &["3000", "thread"]),
    ("threads.py", &["60"]),
    ("generators.py", &[]),
    ("async_.py", &[]),
    ("decorators.py", &[]),
    ("callbacks.py", &[]),
    ("names.py", &["DIRECTORY"]),
    ("execd.py", &[]),
    ("classes.py", &[]),
    ("lines.py", &["DIRECTORY"]),
    ("raise_.py", &[]),
    ("subinterpreter.py", &[]),
];

fn main() {
    let arguments = Arguments::from_args();
    let trials = common::kinds().flat_map(|kind| {
        PROGRAMS.iter().filter(|(program, _)| can_run(kind, program)).map(move |&(program, arguments)| {
            let name = format!("{} tells {program} {}", kind.kind, arguments.join(" "));
            common::watch::trial(name.trim_end(), move || compare(kind, program, arguments))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Programs that need extension modules, which the interpreters that export nothing cannot import.
const NEED_EXTENSIONS: [&str; 3] = ["async_.py", "names.py", "threads.py"];

fn can_run(kind: &Kind, program: &str) -> bool {
    let exports_nothing = kind.kind.ends_with("-hidden") || kind.kind.ends_with("-nosections");
    !(exports_nothing && NEED_EXTENSIONS.contains(&program))
}

fn compare(kind: &Kind, program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let mut target = kind.start(program, arguments);
    let told = target.json();
    if told.get("unavailable").is_some() {
        return Ok(());
    }
    // Between telling and standing still a thread may be without a processor for long.
    wait_until("every thread stands still", || common::every_thread_is(target.pid(), b'S'));
    let dump = common::dump(target.pid());
    let seen = oracle::seen(&dump);
    if let Some(difference) = oracle::difference(&oracle::told(&told), &seen) {
        return Err(difference.into());
    }
    for (key, thread) in &seen {
        let tid = thread.tid.ok_or_else(|| format!("the OS thread of {key:?} is not known"))?;
        check(Path::new(&format!("/proc/{}/task/{tid}", target.pid())).exists(), "the OS thread exists")?;
    }
    check_header(kind, &told, &dump)
}

fn check_header(kind: &Kind, told: &Value, dump: &Value) -> Result<(), Failed> {
    check(dump["pid"] == told["pid"] || kind.root.is_some(), "the pid")?;
    let version = &told["version"];
    let number = |i: usize| version[i].as_u64().unwrap_or(999);
    let text = format!("{}.{}.{}", number(0), number(1), number(2));
    check(dump["python"]["version"] == text.as_str(), &format!("the version is {text}: {}", dump["python"]))?;
    check(
        dump["python"]["build"].as_str().is_some_and(|build| build.starts_with(&kind.flavour)),
        &format!("the build is {}: {}", kind.flavour, dump["python"]),
    )?;
    let gil = &dump["interpreters"][0]["gil"]["state"];
    let expected = if told["gil"] == true { "free" } else { "none" };
    check(*gil == *expected, &format!("the GIL is {expected}, not {gil}"))
}

fn check(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}").into()) }
}
