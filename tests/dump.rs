//! A dump says what the target says of itself: for every kind of interpreter, programs that stand still and tell.
//!
//! What is expected comes from the target: its own `sys._current_frames()` and `threading.enumerate()`.

mod common;

use std::collections::BTreeMap;

use common::Kind;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// The programs, and the first minor version that each is for.
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
        PROGRAMS.iter().map(move |&(program, arguments)| {
            let name = format!("{} tells {program} {}", kind.kind, arguments.join(" "));
            Trial::test(name.trim_end(), move || compare(kind, program, arguments))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Interpreter id and Python thread id to name, OS thread id and frames.
type Threads = BTreeMap<(i64, u64), (Option<String>, Option<u64>, Vec<Frame>)>;
type Frame = (String, String, Option<u64>);

fn compare(kind: &Kind, program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let mut target = kind.start(program, arguments);
    let told = target.json();
    if told.get("unavailable").is_some() {
        return Ok(());
    }
    let dump = common::dump(target.pid());
    let (told_threads, mut seen) = (told_threads(&told), seen_threads(&dump));
    for (key, (_, told_tid, _)) in &told_threads {
        if told_tid.is_none()
            && let Some((_, tid, _)) = seen.get_mut(key)
        {
            let tid = tid.take().ok_or_else(|| format!("the OS thread of {key:?} is not known"))?;
            check(
                std::path::Path::new(&format!("/proc/{}/task/{tid}", target.pid())).exists(),
                "the OS thread exists",
            )?;
        }
    }
    for (key, told) in &told_threads {
        let Some(seen) = seen.get(key) else { return Err(format!("thread {key:?} was not seen: {told:?}").into()) };
        if told != seen {
            let at = told.2.iter().zip(&seen.2).position(|(a, b)| a != b).unwrap_or(told.2.len().min(seen.2.len()));
            return Err(format!(
                "thread {key:?}: told {:?}, seen {:?}\nfirst difference in frame {at} of {} told, {} seen:\n told {:?}\n seen {:?}",
                (&told.0, told.1), (&seen.0, seen.1), told.2.len(), seen.2.len(), told.2.get(at), seen.2.get(at)
            ).into());
        }
    }
    check(seen.len() == told_threads.len(), &format!("{} threads seen, {} told", seen.len(), told_threads.len()))?;
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

fn told_threads(told: &Value) -> Threads {
    let mut threads = Threads::new();
    for interpreter in list(&told["interpreters"]) {
        for thread in list(&interpreter["threads"]) {
            let frames = list(&thread["frames"]).map(|f| (text(&f[0]), text(&f[1]), f[2].as_u64()));
            let name = thread["name"].as_str().map(str::to_owned);
            let key = (interpreter["id"].as_i64().expect("an id"), thread["ident"].as_u64().expect("an ident"));
            threads.insert(key, (name, thread["native_id"].as_u64(), frames.collect()));
        }
    }
    threads
}

fn seen_threads(dump: &Value) -> Threads {
    let mut threads = Threads::new();
    for interpreter in list(&dump["interpreters"]) {
        for thread in list(&interpreter["threads"]) {
            let frames = list(&thread["frames"]).map(|f| (text(&f["function"]), text(&f["file"]), f["line"].as_u64()));
            let name = thread["name"].as_str().map(str::to_owned);
            let ident = thread["python_thread_id"].as_u64().expect("an ident");
            let key = (interpreter["id"].as_i64().expect("an id"), ident);
            threads.insert(key, (name, thread["os_thread_id"].as_u64(), frames.collect()));
        }
    }
    threads
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
