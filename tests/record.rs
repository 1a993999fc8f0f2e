//! Recordings of real programs, by every kind of interpreter where that matters: what is counted, how it is called, how
//! a recording ends, and where it goes.
//!
//! Nothing here waits for time to pass: targets and commands tell by lines what they have come to, and a sampler's OS
//! thread tells how often it has read the state of a thread, which it does at least once for each sample.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::recording::{JsonSample, Recording};
use common::{Kind, PATIENCE, Running, wait_until};
use inferno::flamegraph;
use libtest_mimic::Arguments;
use nix::sys::signal::Signal;
use roxmltree::{Document, ParsingOptions};
use serde_json::Value;
use tempfile::TempDir;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

type Tests = &'static [(&'static str, fn(&Kind))];

/// Run by every kind of interpreter that is read.
const OF_EVERY_KIND: Tests = &[("a known mix is recorded within two points", mix)];

/// Run by one interpreter of each minor version.
const OF_EACH_VERSION: Tests = &[
    ("only threads that run are counted", only_running_threads),
    ("with idle threads every thread is counted in every sample", idle_threads),
    ("merged lines are one frame a function", merged_lines),
    ("code that comes and goes at one address is not mixed up", stale_names),
    ("where nobody is stopped no code object is made of two", renamed),
    ("stacks that nobody keeps still are whole or are not told", unwinding),
    ("what is thrown into frames or leaves them is told, also where nobody is stopped", thrown),
    ("what C calls is seen whole, also as it begins", entries),
    ("a program that is executed at the same addresses does not bear old names", reborn),
    ("threads that come and go are recorded by their own names", churn),
    ("a thread is not taken for the one before it", relay),
    ("a stack of 3000 frames is complete", deep_recursion),
    ("sixty threads are complete", sixty_threads),
    ("hostile names stay one frame each on one line", hostile_names),
    ("collapsed stacks go through a flame graph and back", round_trip),
    ("a flame graph is valid and searchable and shows the counts", flame_graph),
];

/// Run by one interpreter of each minor version that has interpreters with GILs of their own.
const OF_EACH_FROM_3_12: Tests = &[("code of an interpreter is not mixed up with that of the next", successors)];

/// Run by one ordinary interpreter.
const ALONE: Tests = &[
    ("on a busy machine most samples are taken", busy_machine),
    ("a target is stopped for no more than its share, and it is told once that samples are left out", budget),
    ("where nobody is stopped the account says so, and what it cost", never_paused),
    ("a recording is as long as asked at a rate of one sample in that time, and at the highest", on_time),
    ("files are called as an import would call them, or in full", file_names),
    ("an interrupt or a termination ends a recording and it is written", signals_end),
    ("the end of the target ends a recording and it is written", target_ends),
    ("an exec of something else ends a recording and it is written", target_replaced),
    ("an output that cannot be is found before the first sample", bad_outputs),
    ("that standard output is closed is told", closed_output),
    ("the id of a thread is answered with that of its process", thread_for_process),
    ("the smallest shares of time are kept to", smallest_shares),
    ("what a full disk does not take is written elsewhere, and told", full_disk),
    ("what can be written nowhere as it should be is kept as a recording", kept_recording),
    ("a failure while writing leaves the old file and nothing else", failing_write),
    ("an old file stays until the new one is whole", replaced_at_the_end),
    ("a pysample that is killed leaves the old file", killed),
    ("a link is followed and stays a link", links),
    ("a new file has the permissions that the umask leaves", umask),
    ("a file whose name is not given is called after program and process", named_by_itself),
    ("nothing that ran makes an empty profile and is told", nothing_ran),
    ("an interrupt before the first sample is told", interrupted_at_once),
    ("the streams of a command are passed through", streams),
    ("the exit status of a command becomes ours", exit_statuses),
    ("a command outlives its recording", command_outlives),
    ("every signal reaches a command once", signals_once),
    ("a key pressed on the terminal reaches a command once", terminal_interrupt),
    ("a shell that becomes Python is recorded from then on", shell_becomes_python),
    ("a Python that becomes another, or itself, is recorded on", python_becomes_python),
];

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
    let trials = (common::kinds().flat_map(|kind| of(kind, OF_EVERY_KIND)))
        .chain(common::one_of_each().flat_map(|kind| of(kind, OF_EACH_VERSION)))
        .chain(common::one_of_each().filter(|kind| kind.minor >= 12).flat_map(|kind| of(kind, OF_EACH_FROM_3_12)))
        .chain(of(ordinary(), ALONE));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// The newest interpreter that needs nothing but its path.
fn ordinary() -> &'static Kind {
    common::one_of_each()
        .filter(|kind| kind.root.is_none() && kind.env.is_empty() && kind.command.len() == 1)
        .last()
        .expect("there is an interpreter outside of a chroot")
}

// ---- What is recorded ----------------------------------------------------------------------------------------------

/// One at a time, so that target and sampler have a processor each.
fn mix(kind: &Kind) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut target = kind.start_ready("mix.py", &[]);
    let (pid, spent_before) = (target.pid(), seconds_in(&mut target));
    let waited = || common::delays(pid).values().sum::<f64>() + common::stolen();
    let before = waited();
    let (profile, account) = target.record(&["-r", "1000", "-d", "5", "-F", "--max-pause", "100"]);
    account.is_of(1000.0, 5.0);
    // Whatever it was at when it had to wait for a processor is seen for longer.
    let tolerance = 2.0 + 100.0 * (waited() - before) / 5.0;
    let spent: Vec<f64> = seconds_in(&mut target).iter().zip(spent_before).map(|(now, before)| now - before).collect();
    for (function, spent_in) in ["half", "third", "fifth"].into_iter().zip(&spent) {
        let truth = 100.0 * spent_in / spent.iter().sum::<f64>();
        let share = profile.percentage(|stack| stack.iter().any(|frame| function_of(frame) == function));
        assert!(
            (share - truth).abs() <= tolerance,
            "{function}: {share:.1} % instead of {truth:.1} %, within {tolerance:.1}\n{account:?}\n{profile:?}"
        );
    }
    assert!(account.taken > 500, "there are enough to tell shares by: {account:?}");
    ends_well(target);
}

/// For how many seconds each function of the mix has run.
fn seconds_in(mix: &mut Running) -> [f64; 3] {
    mix.tell("\n");
    let told = mix.json();
    ["half", "third", "fifth"].map(|function| told[function].as_f64().expect("seconds"))
}

/// One thread is busy, one sleeps, one waits for a lock; and main waits for all of them.
const THREE_THREADS: &str = r#"
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from moving import ready

def busy():
    while True:
        pass

def sleeping():
    time.sleep(3600)

def waiting():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

threads = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in (busy, sleeping, waiting)]
for thread in threads:
    thread.start()
ready(2)
threads[0].join()
"#;

fn only_running_threads(kind: &Kind) {
    let target = kind.start_code(THREE_THREADS);
    let (profile, account) = target.record(&["-r", "500", "-d", "2", "-t", "-F"]);
    account.is_of(500.0, 2.0);
    let share = profile.percentage(|stack| stack[0].starts_with("busy (thread "));
    assert!(share > 98.0, "the running thread has {share:.1} %: {profile:?}");
    assert!(profile.total() * 10 > account.taken * 9, "it runs all the time: {account:?}");
    ends_well(target);
}

fn idle_threads(kind: &Kind) {
    let target = kind.start_code(THREE_THREADS);
    let (profile, account) = target.record(&["-r", "500", "-d", "2", "-t", "-F", "-i"]);
    account.is_of(500.0, 2.0);
    assert_eq!(account.dropped, 0);
    let roots = profile.by(|stack| stack[0].clone());
    let most = roots.values().copied().max().unwrap_or(0);
    for name in ["MainThread", "busy", "sleeping", "waiting", "unnamed"] {
        let counts: Vec<u64> = roots.iter().filter(|(root, _)| is_thread(root, name)).map(|(_, &n)| n).collect();
        assert_eq!(counts.len(), 1, "one thread is called {name}: {roots:?}");
        let lost = match name {
            "busy" => account.unreadable,
            "unnamed" => account.frameless, // It may not have come to Python when the recording begins.
            _ => 0,
        };
        // Each sample counts for those that were left out before it.
        let all = account.taken..=account.taken + account.left_out;
        assert!(all.contains(&(counts[0] + lost)), "{name}: {account:?} {roots:?}");
        if lost == 0 {
            assert_eq!(counts[0], most, "{name} is in every sample: {account:?} {roots:?}");
        }
    }
    for (root, task) in roots.keys().filter_map(|root| Some((root, thread_id(root)?))) {
        let path = format!("/proc/{}/task/{task}", target.pid());
        assert!(Path::new(&path).exists(), "{root} is a thread of the target");
    }
    ends_well(target);
}

fn merged_lines(kind: &Kind) {
    let first_lines: BTreeMap<&str, usize> = ["outer", "middle", "inner"]
        .map(|function| (function, line_of("spin.py", &format!("def {function}()"))))
        .into_iter()
        .chain([("<module>", 1)])
        .collect();
    let target = kind.start_ready("spin.py", &[]);
    wait_until("it computes alone", || common::others_read_input(target.pid()));
    let (merged, _) = target.record(&["-r", "1000", "-d", "1", "-F"]);
    let (apart, _) = target.record(&["-r", "1000", "-d", "1"]);
    for (stack, _) in &merged.stacks {
        for frame in stack {
            assert_eq!(*frame, format!("{0} (spin.py:{1})", function_of(frame), first_lines[function_of(frame)]));
        }
    }
    let lines = |profile: &Profile| profile.frames("inner").len();
    assert_eq!(lines(&merged), 1, "{merged:?}");
    assert!(lines(&apart) > 1, "{apart:?}");
    for frame in apart.frames("inner") {
        let first = first_lines["inner"];
        assert!((first..first + 5).contains(&line(frame)), "{frame}");
    }
    ends_well(target);
}

fn stale_names(kind: &Kind) {
    for how in ["once", "often"] {
        let target = kind.start_ready("execnew.py", &[how]);
        let (profile, account) = target.record(&["-r", "1000", "-d", "3", "--max-pause", "100"]);
        account.is_of(1000.0, 3.0);
        let seen = names_are_true(&profile);
        assert!(seen > 15, "many functions are seen: {seen}, {account:?}");
        // So often that many samples are proved at once. The program has little time then, where processors are short.
        let (profile, account) = target.record(&["-r", "200000", "-d", "2", "--max-pause", "100"]);
        let seen = names_are_true(&profile);
        assert!(seen > 8, "many functions are seen: {seen}, {account:?}");
        assert!(account.unreadable * 20 < account.taken, "few are lost: {account:?}");
        ends_well(target);
    }
}

fn renamed(kind: &Kind) {
    let target = kind.start_ready("renamed.py", &[]);
    let (mut seen, mut mixed) = (0, Vec::new());
    for rate in ["1000", "20000"] {
        let (profile, _) = target.record(&["-r", rate, "-d", "2", "--never-pause"]);
        for (frame, count) in profile.stacks.iter().flat_map(|(stack, count)| stack.iter().map(move |f| (f, count))) {
            let Some(number) = function_of(frame).strip_prefix("n_") else { continue };
            seen += count;
            if file(frame) != format!("file_{number}.py") {
                mixed.push((*count, frame.clone()));
            }
        }
    }
    // That a code object is just being made over again can be told of nearly all of them.
    let count: u64 = mixed.iter().map(|(count, _)| count).sum();
    assert!(seen >= 20 && count * 100 <= seen, "{seen} seen, {mixed:?}");
    ends_well(target);
}

fn unwinding(kind: &Kind) {
    let target = kind.start_ready("unwinding.py", &[]);
    wait_until("it computes alone", || common::others_read_input(target.pid()));
    for rate in ["2000", "20000"] {
        let (profile, account) = target.record(&["-r", rate, "-d", "2", "--never-pause", "-F"]);
        let cut: Vec<_> = profile.stacks.iter().filter(|(stack, _)| function_of(&stack[0]) != "<module>").collect();
        // A frame can be left or called between the reads of its caller and of whether it is executed.
        let count: u64 = cut.iter().map(|(_, count)| count).sum();
        assert!(count * 500 <= account.stacks, "{rate} Hz: {cut:?}, {account:?}");
        assert!(account.taken > 100 && account.stacks * 4 > account.taken, "{account:?}");
    }
    ends_well(target);
}

fn thrown(kind: &Kind) {
    for way in ["into", "out"] {
        let target = kind.start_ready("thrown.py", &[way]);
        wait_until("it computes alone", || common::others_read_input(target.pid()));
        let (_, account) = target.record(&["-r", "500", "-d", "1", "--never-pause"]);
        assert!(account.taken > 50 && account.stacks * 2 > account.taken, "{way}: {account:?}");
        ends_well(target);
    }
}

fn entries(kind: &Kind) {
    let target = kind.start_ready("entries.py", &[]);
    // The thread that waits for the end of its input has no frames until it has had the GIL.
    wait_until("it computes alone", || common::others_read_input(target.pid()));
    let (_, account) = target.record(&["-r", "5000", "-d", "2", "--max-pause", "100"]);
    assert!(account.taken > 200 && account.unreadable * 500 <= account.taken, "{account:?}");
    assert_eq!(account.frameless, 0, "{account:?}");
    ends_well(target);
}

/// Asserts that each function is in the file, at the lines and below the caller that its name says. How many there are.
fn names_are_true(profile: &Profile) -> usize {
    let mut seen = BTreeSet::new();
    let pairs = profile.stacks.iter().flat_map(|(stack, _)| stack.windows(2));
    for (caller, frame) in pairs.map(|pair| (function_of(&pair[0]), &pair[1])) {
        let Some(number) = function_of(frame).strip_prefix("fn_") else { continue };
        let number: usize = number.parse().unwrap_or_else(|_| panic!("the function of {frame} has a number"));
        assert_eq!(caller, ["even", "odd"][number % 2], "{frame}");
        assert_eq!(file(frame), format!("file_{number}.py"), "{frame}");
        let first = 1 + number % 50;
        assert!((first..first + 5).contains(&line(frame)), "{frame} is in lines {first} to {}", first + 4);
        seen.insert(number);
    }
    seen.len()
}

/// Once so seldom that nothing is read while the program starts, and once so often that it is asked now and then only whether
/// it is the same.
fn reborn(kind: &Kind) {
    for rate in ["5", "100"] {
        let mut target = kind.start_ready("reborn.py", &[]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pysample"));
        command.args(["record", "-i", "-f", "jsonl", "-o", "-", "-r", rate, "--pid", &target.pid().to_string()]);
        let recording = Recording::run(&mut command);
        recording.has_read(20);
        target.tell("x");
        assert_eq!(target.line(), "ready");
        recording.has_read(80);
        let recorded = recording.stop();
        let samples = recorded.json_samples();
        let is_in = |sample: &JsonSample, name: &str| sample.functions.iter().any(|function| function.contains(name));
        let left = samples.iter().position(|sample| is_in(sample, "between")).expect("a second is seen");
        let of = |samples: &[JsonSample], name: &str| samples.iter().filter(|sample| is_in(sample, name)).count();
        let (before, after) = samples.split_at(left);
        assert!(of(before, "first_") > 0 && of(after, "other_") > 2, "{rate} Hz: {samples:?}: {}", recorded.told);
        assert_eq!((of(before, "other_"), of(after, "first_")), (0, 0), "{rate} Hz: {samples:?}: {}", recorded.told);
        ends_well(target);
    }
}

fn successors(kind: &Kind) {
    let target = kind.start_ready("successors.py", &[]);
    let (profile, account) = target.record(&["-r", "1000", "-d", "3", "--max-pause", "100"]);
    let mut seen = BTreeSet::new();
    for (stack, _) in &profile.stacks {
        let named = stack.iter().filter_map(|frame| Some((frame, function_of(frame).strip_prefix("fn_")?)));
        let mut numbers = BTreeSet::new();
        for (depth, (frame, name)) in named.enumerate() {
            let (number, own) = name.split_once('_').unwrap_or_else(|| panic!("{frame} has two numbers"));
            assert_eq!((file(frame), own), (&*format!("file_{number}.py"), &*depth.to_string()), "{stack:?}");
            numbers.insert(number.to_owned());
        }
        assert!(numbers.len() <= 1, "of one interpreter and another: {stack:?}");
        seen.append(&mut numbers);
    }
    assert!(seen.len() > 4, "many interpreters are seen: {}, {account:?}", seen.len());
    ends_well(target);
}

/// Prints a list of `[name, first line]` for every code object of the modules whose files are given.
const CODE_NAMES: &str = r#"
import json, sys, threading, _weakrefset
def walk(code):
    yield getattr(code, "co_qualname", code.co_name), code.co_firstlineno
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from walk(constant)
names = []
for path in threading.__file__, _weakrefset.__file__, sys.argv[1] + "/moving.py", sys.argv[1] + "/churn.py":
    with open(path, encoding="utf-8") as file:
        code = compile(file.read(), path, "exec")
    names.extend("%s (%s:%d)" % (name, path.rsplit("/", 1)[1], line) for name, line in walk(code))
print(json.dumps(names), flush=True)
sys.stdin.read()
"#;

fn churn(kind: &Kind) {
    let mut names = kind.start_with("", &[], &["-c", CODE_NAMES]);
    let names: BTreeSet<String> = names.json().as_array().unwrap().iter().map(text).collect();
    let target = kind.start_ready("churn.py", &[]);
    let (profile, account) = target.record(&["-r", "500", "-d", "3", "-F", "-t", "-i"]);
    account.is_of(500.0, 3.0);
    // Where libc keeps the ids of OS threads may be found a moment later, if too many come and go.
    let is_main = |root: &str| is_thread(root, "MainThread") || root.starts_with("MainThread (Python thread 0x");
    let mut short_lived = BTreeSet::new();
    for (stack, _) in &profile.stacks {
        for frame in &stack[1..] {
            assert!(names.contains(frame), "{frame} is not in the program: {stack:?}");
        }
        let root = &stack[0];
        let number = root.strip_prefix("churn-").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        // A thread that has gone before it could be asked for its name and its id has none.
        let gone = root.starts_with("unnamed (Python thread 0x");
        let odd = gone || is_main(root) || is_thread(root, "unnamed");
        assert!(number.is_some() || odd, "{root} is a thread of the program");
        if stack.iter().any(|frame| function_of(frame) == "life") {
            assert!(!is_main(root), "{stack:?}");
            short_lived.insert(root);
        }
    }
    assert!(short_lived.len() > 2, "several threads are seen: {short_lived:?}, {account:?}");
    let main: u64 = profile.by(|stack| is_main(&stack[0]))[&true];
    let is_always = (main + account.unreadable) * 100 >= account.taken * 99;
    assert!(is_always, "main is in every sample: {main}, {account:?}");
    ends_well(target);
}

/// Threads are told apart though each has the ids and the memory of the one before. Some are gone before they could be asked
/// for their names: these have none.
fn relay(kind: &Kind) {
    let target = kind.start_ready("relay.py", &[]);
    let (profile, account) = target.record(&["-r", "200", "-d", "3", "-t", "--max-pause", "100"]);
    let (mut named, mut runners) = (BTreeSet::new(), BTreeSet::new());
    for (stack, _) in &profile.stacks {
        let runs = |frame: &String| function_of(frame).strip_prefix("only_in_")?.split_once("_of_").map(own);
        let Some((number, tid)) = stack.iter().find_map(runs) else { continue };
        let root = &stack[0];
        let is_named = is_thread(root, &format!("runner-{number}"));
        assert!(
            kind.minor < 11 || is_named || root.starts_with("unnamed ("),
            "the thread of {root} is not runner {number}"
        );
        assert!(thread_id(root) == Some(tid), "the thread of {root} is not {tid}");
        runners.insert(number);
        named.extend(is_named.then_some(number));
    }
    assert!(account.unreadable * 4 <= account.stacks + 100, "a new thread is read like any other: {account:?}");
    assert!(runners.len() > 3 && !named.is_empty(), "many are seen: {named:?} of {runners:?}, {account:?}");
    ends_well(target);
}

fn own((number, tid): (&str, &str)) -> (u32, u32) {
    [number, tid].map(|digits| digits.parse().expect("a number")).into()
}

fn deep_recursion(kind: &Kind) {
    complete(kind, "recursion.py", &["3000"]);
    complete(kind, "recursion.py", &["3000", "thread"]);
}

fn sixty_threads(kind: &Kind) {
    complete(kind, "threads.py", &["60"]);
}

/// A program that stands still is recorded as it tells of itself: every thread's whole stack, in every sample.
fn complete(kind: &Kind, program: &str, arguments: &[&str]) {
    let mut target = kind.start(program, arguments);
    let told = told_stacks(&target.json());
    wait_until("it stands still", || common::every_thread_is(target.pid(), b'S'));
    let arguments = ["-r", "100", "-d", "1", "-i", "--full-filenames", "--max-pause", "100"];
    let (profile, account) = target.record(&arguments);
    account.is_of(100.0, 1.0);
    assert_eq!((account.unreadable, account.dropped, account.truncated), (0, 0, 0), "{account:?}");
    let mut expected = BTreeMap::new();
    for stack in told {
        *expected.entry(stack).or_insert(0) += account.taken;
    }
    let seen: BTreeMap<Vec<String>, u64> = profile.stacks.iter().cloned().collect();
    for (stack, count) in &expected {
        let counted = seen.get(stack).copied().unwrap_or(0);
        assert_eq!(counted, *count, "{} frames from {} to {}", stack.len(), stack[0], stack[stack.len() - 1]);
    }
    assert_eq!(seen.len(), expected.len(), "no other stack is seen");
    let roots: BTreeSet<&str> = seen.keys().map(|stack| function_of(&stack[0])).collect();
    let begins = ["<module>", "_bootstrap", "Thread._bootstrap", "in_lock"];
    assert!(roots.iter().all(|root| begins.contains(root)), "stacks begin where threads do: {roots:?}");
    ends_well(target);
}

fn hostile_names(kind: &Kind) {
    let mut target = kind.start("names.py", &["DIRECTORY"]);
    let told = target.json();
    let threads = told["interpreters"][0]["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 1);
    let frames: Vec<&Value> = threads[0]["frames"].as_array().unwrap().iter().rev().collect();
    let run = target.run(&["-r", "100", "-d", "1", "-i", "--full-filenames"]);
    let account = run.account();
    assert_eq!(run.out.len(), 1, "one stack is one line");
    assert!(run.out[0].chars().all(|c| !c.is_control()), "no control character is left: {:?}", run.out[0]);
    let profile = run.profile();
    assert_eq!(account.stacks, account.taken);
    let (stack, _) = &profile.stacks[0];
    assert_eq!(stack.len(), frames.len());
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "._/<>- ".contains(c));
    let mut exact = 0;
    for (label, frame) in stack.iter().zip(frames) {
        let (function, file, line) = (text(&frame[0]), text(&frame[1]), frame[2].as_u64().unwrap());
        assert!(label.ends_with(&format!(":{line})")), "{label:?} ends with line {line}");
        if plain(&function) && plain(&file) && !function.is_empty() {
            assert_eq!(*label, format!("{function} ({file}:{line})"));
            exact += 1;
        }
    }
    assert!(exact > 300, "most names are plain: {exact}");
    round_trips(&profile);
    ends_well(target);
}

fn round_trip(kind: &Kind) {
    let mut target = kind.start("generators.py", &[]);
    target.json();
    wait_until("it stands still", || common::every_thread_is(target.pid(), b'S'));
    let (profile, account) = target.record(&["-r", "200", "-d", "1", "-i", "-t", "--max-pause", "100"]);
    let roots = profile.by(|stack| stack[0].clone());
    assert!(roots.values().all(|&count| count == account.taken), "{account:?} {roots:?}");
    round_trips(&profile);
    ends_well(target);
}

/// What was collapsed is drawn by inferno, and what was drawn is collapsed again: nothing is lost.
fn round_trips(profile: &Profile) {
    let mut options = flamegraph::Options::default();
    options.min_width = 0.0;
    let lines: Vec<String> = profile.stacks.iter().map(|(stack, n)| format!("{} {n}", stack.join(";"))).collect();
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg).expect("inferno draws it");
    let drawing = Drawing::read(&String::from_utf8(svg).unwrap());
    assert_eq!(drawing.samples(), profile.total());
    let before: BTreeMap<Vec<String>, u64> = profile.stacks.iter().cloned().collect();
    assert_eq!(drawing.stacks(), before);
}

fn flame_graph(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    let arguments = ["-r", "500", "-d", "1", "-F", "-o", "flame.svg"];
    let run = Run::new(folder.path(), &with_pid(&target, &arguments)).end();
    let account = run.account();
    account.is_of(500.0, 1.0);
    assert_eq!(run.out, [""; 0]);
    let svg = fs::read_to_string(folder.path().join("flame.svg")).unwrap();
    let drawing = Drawing::read(&svg);
    let title = format!("spin.py (pid {}) · Python {}", target.pid(), kind.version);
    assert_eq!(drawing.title, title);
    assert!(drawing.subtitle.contains(&format!("{} samples in ", account.taken)), "{}", drawing.subtitle);
    assert_eq!(drawing.samples(), account.counts);
    for function in ["<module>", "outer", "middle", "inner"] {
        let frames: Vec<_> = drawing.frames[1..].iter().filter(|frame| function_of(&frame.name) == function).collect();
        assert_eq!(frames.len(), 1, "{function} is drawn once");
        assert!(frames[0].name.starts_with(&format!("{function} (spin.py:")), "{}", frames[0].name);
        assert!(frames[0].samples > account.counts / 2 && frames[0].samples <= account.counts, "{}", frames[0].samples);
    }
    for id in ["search", "matched", "unzoom", "details"] {
        assert!(svg.contains(&format!("id=\"{id}\"")), "the graph has {id}");
    }
    assert!(svg.contains("function search("), "the graph can search");
    assert_eq!(common::names(folder.path()), ["flame.svg"]);
    ends_well(target);
}

/// Every processor has a program that never sleeps, beside the target.
fn busy_machine(kind: &Kind) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let busy = || Run::start(Command::new("sh").args(["-c", "echo ready; while :; do :; done"]));
    let mut others: Vec<Run> = (0..processors).map(|_| busy()).collect();
    assert!(others.iter_mut().all(|other| other.line() == "ready"));
    let target = kind.start_ready("spin.py", &[]);
    let (_, account) = target.record(&["-r", "1000", "-d", "3", "--max-pause", "100"]);
    account.is_of(1000.0, 3.0);
    assert!(account.taken * 2 > account.asked, "{account:?}");
    ends_well(target);
}

/// At this rate all the time would be spent in stops.
fn budget(kind: &Kind) {
    let target = kind.start_ready("torture.py", &[]);
    for percent in ["5", "1"] {
        let run = target.run(&["-r", "20000", "-d", "2", "--max-pause", percent]);
        let account = run.account();
        account.is_of(20_000.0, 2.0);
        assert!(account.left_out > 0, "{account:?}");
        assert_eq!(run.stretched, 1, "{account:?}");
        let [share, median, worst] = account.stopped.expect("it was stopped");
        let last_stop = 100.0 * worst * 1e-6 / account.seconds;
        assert!(share <= percent.parse::<f64>().unwrap() + last_stop + 0.005, "{account:?}");
        assert!(0.0 < median && median <= worst, "{account:?}");
    }
    ends_well(target);
}

fn never_paused(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let (_, account) = target.record(&["-r", "100", "-d", "1", "--never-pause"]);
    account.is_of(100.0, 1.0);
    assert_eq!(account.stopped, None);
    let [seconds, percent] = account.own_cpu.expect("it is told");
    assert!((percent / 100.0 * account.seconds - seconds).abs() < 0.01, "{account:?}");
    assert!(0.0 < percent && percent < 25.0, "{account:?}");
    ends_well(target);
}

/// A machine that is busy with other things may be late, but not by much.
fn on_time(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let (highest, never, always) = (200_000.0, &["--never-pause"][..], &["--max-pause", "100"][..]);
    for (rate, seconds, pause) in [(1.0, 0.6, never), (highest, 0.6, never), (highest, 0.6, always)] {
        let (_, account) = target.record(&[&["-r", &rate.to_string(), "-d", &seconds.to_string()], pause].concat());
        account.is_of(rate, seconds);
        assert!((0.59..0.95).contains(&account.seconds), "{account:?}");
    }
    ends_well(target);
}

const JSON: &str = r#"
import json, os, sys
sys.path.insert(0, sys.argv[1])
from moving import ready
os.write(1, (json.__file__ + "\n").encode())
ready(2)
while True:
    json.loads(json.dumps([{"key": 1.5}] * 1000, indent=1))
"#;

fn file_names(kind: &Kind) {
    let mut target = kind.start_with("", &[], &["-c", JSON]);
    let package = target.line();
    assert_eq!(target.line(), "ready");
    let (short, _) = target.record(&["-r", "500", "-d", "1", "-F"]);
    let (full, _) = target.record(&["-r", "500", "-d", "1", "-F", "--full-filenames"]);
    let files = |profile: &Profile, function| -> BTreeSet<String> {
        profile.frames(function).into_iter().map(|frame| file(frame).to_owned()).collect()
    };
    let one = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(files(&short, "dumps"), one("json/__init__.py"), "{short:?}");
    assert_eq!(files(&full, "dumps"), one(&package), "{full:?}");
    let encoder = package.replace("__init__", "encoder");
    assert_eq!(files(&short, "JSONEncoder.encode"), one("json/encoder.py"), "{short:?}");
    assert_eq!(files(&full, "JSONEncoder.encode"), one(&encoder), "{full:?}");
    assert_eq!((files(&short, "<module>"), files(&full, "<module>")), (one("<string>"), one("<string>")));
    ends_well(target);
}

// ---- How a recording ends ------------------------------------------------------------------------------------------

fn signals_end(kind: &Kind) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let target = kind.start_ready("spin.py", &[]);
        let folder = folder();
        let run = Run::new(folder.path(), &with_pid(&target, &["-r", "1000", "-o", "x.txt"]));
        run.has_sampled(50);
        run.signal(signal);
        let run = run.end();
        assert_eq!(run.status.code(), Some(0), "{signal}: {run:?}");
        let account = run.account();
        assert!(run.err[0].ends_with("until it was stopped"), "{run:?}");
        assert!(account.taken > 0 && account.is_whole(), "{account:?}");
        assert_eq!(Profile::read(folder.path().join("x.txt")).total(), account.counts);
        assert_eq!(common::names(folder.path()), ["x.txt"]);
        ends_well(target);
    }
}

fn target_ends(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    let run = Run::new(folder.path(), &with_pid(&target, &["-r", "1000", "-o", "x.svg"]));
    run.has_sampled(50);
    ends_well(target);
    let run = run.end();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(run.err[0].ends_with("until the process ended"), "{run:?}");
    let account = run.account();
    assert!(account.taken > 0 && account.is_whole(), "{account:?}");
    let drawing = Drawing::read(&fs::read_to_string(folder.path().join("x.svg")).unwrap());
    assert_eq!(drawing.samples(), account.counts);
}

/// Is busy until standard input says something, then becomes the program of its arguments.
const BECOMES: &str = r#"
import os, select, sys
def first():
    while not select.select([0], [], [], 0)[0]:
        for _ in range(10000):
            pass
    os.read(0, 1)
os.write(1, b"first\n")
first()
os.execv(sys.argv[1], sys.argv[1:])
"#;

fn target_replaced(kind: &Kind) {
    let folder = folder();
    let mut target = kind.command();
    target.args(["-c", BECOMES, "/bin/cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut target = Run::start(&mut target);
    assert_eq!(target.line(), "first");
    let pid = target.child.id().to_string();
    let run = Run::new(folder.path(), &["record", "-p", &pid, "-r", "1000", "-o", "x.txt"]);
    run.has_sampled(50);
    target.tell("xechoed\n");
    assert_eq!(target.line(), "echoed");
    let run = run.end();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(run.err[0].ends_with("until the process became a program that is not Python"), "{run:?}");
    let profile = Profile::read(folder.path().join("x.txt"));
    assert!(!profile.frames("first").is_empty(), "{profile:?}");
    assert!(run.account().is_whole(), "{run:?}");
    assert_eq!(target.end().status.code(), Some(0), "the target lives on");
}

// ---- Where a recording goes ----------------------------------------------------------------------------------------

fn bad_outputs(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    fs::create_dir(folder.path().join("folder")).unwrap();
    fs::write(folder.path().join("file"), "old").unwrap();
    symlink("circle.txt", folder.path().join("circle.txt")).unwrap();
    symlink("missing/x.txt", folder.path().join("dangling.txt")).unwrap();
    let before = common::names(folder.path());
    let mut outputs = vec![
        ("folder", "Is a directory"),
        ("folder/", ""),
        ("missing/x.svg", "No such file or directory"),
        ("file/x.svg", "Not a directory"),
        ("circle.txt", "symbolic links"),
        ("dangling.txt", "No such file or directory"),
    ];
    if Path::new("/sys/kernel").exists() {
        outputs.push(("/sys/x.svg", "")); // Nobody makes files there, whoever they are.
    }
    for (output, why) in outputs {
        // Without an end of its own: it ends because it never begins.
        let run = Run::new(folder.path(), &with_pid(&target, &["-f", "svg", "-o", output])).end();
        assert_eq!(run.status.code(), Some(1), "{output}: {run:?}");
        assert_eq!((run.err.len(), run.out.len()), (1, 0), "{run:?}");
        let told = &run.err[0];
        assert!(told.starts_with(&format!("pysample: error: cannot write {output}: ")) && told.contains(why), "{told}");
        assert_eq!(common::names(folder.path()), before, "{output} leaves nothing");
    }
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "old");
    ends_well(target);
}

fn closed_output(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let run = |output: &str, redirection: &str| {
        let script =
            format!("exec '{PYSAMPLE}' record -d 0.1 -f collapsed -o {output} --pid {} {redirection}", target.pid());
        Run::start(Command::new("sh").args(["-c", &script])).end()
    };
    for output in ["-", "/dev/stdout"] {
        let closed = run(output, ">&-");
        let says = |run: &Ended, what: &str| run.err.iter().any(|line| line.ends_with(what));
        assert!(says(&closed, "written     nowhere: standard output is closed, or /dev/null"), "{closed:?}");
        let nobody_wants_it = run(output, "> /dev/null");
        assert!(says(&nobody_wants_it, "written     standard output"), "{nobody_wants_it:?}");
    }
    ends_well(target);
}

/// Tools that list threads give their ids for processes'.
fn thread_for_process(kind: &Kind) {
    let target = kind.start_ready("idle.py", &[]);
    let threads = common::names(Path::new(&format!("/proc/{}/task", target.pid())));
    let thread = threads.iter().find(|&thread| *thread != target.pid().to_string()).expect("it has some");
    for words in [
        "dump",
        "dump -s",
        "record -d 0.1 -f collapsed -o -",
        "record -s -d 0.1 -f collapsed -o -",
        "gil -d 0.1",
        "gil -s -d 0.1",
        "top --once -d 0.1",
        "top -s --once -d 0.1",
        "doctor",
    ] {
        let run = Run::start(Command::new(PYSAMPLE).args(words.split(' ')).args(["--pid", thread])).end();
        assert_eq!((run.status.code(), run.out.len()), (Some(3), 0), "{words}: {run:?}");
        let told = run.err.join("\n");
        assert!(told.contains(&format!("{thread} is no process but a thread of process {}", target.pid())), "{told}");
        assert!(told.contains(&format!("--pid {} for the process", target.pid())), "{told}");
    }
    ends_well(target);
}

/// That so few samples can be taken is no reason to fall over.
fn smallest_shares(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    for option in ["--max-cpu", "--max-pause"] {
        for subprocesses in [&[][..], &["-s"]] {
            let arguments = [&["-d", "0.5", "-f", "collapsed", "-o", "x.txt", option, "1e-300"], subprocesses].concat();
            let run = Run::new(folder.path(), &with_pid(&target, &arguments)).end();
            // On a busy machine it may end before a family was looked at.
            assert!(matches!(run.status.code(), Some(0 | 4)), "{arguments:?}: {run:?}");
            assert!(!run.err.join(" ").contains("panicked"), "{arguments:?}: {run:?}");
        }
    }
    ends_well(target);
}

fn full_disk(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    for format in ["svg", "collapsed", "jsonl"] {
        let (ending, elsewhere) = (if format == "collapsed" { "txt" } else { format }, TempDir::new().unwrap());
        let mut command = Command::new(PYSAMPLE);
        command.current_dir(folder.path()).env("TMPDIR", elsewhere.path());
        command.args(with_pid(&target, &["-r", "500", "-d", "0.5", "-f", format, "-o", "/dev/full"]));
        let run = Run::start(&mut command).end();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        let told = "pysample: error: cannot write /dev/full: No space left on device (os error 28)";
        assert_eq!(run.err.last().map(String::as_str), Some(told), "{run:?}");
        assert_eq!(common::names(folder.path()), [""; 0]);
        // What was recorded is among the temporary files, and the account says where.
        let names = common::names(elsewhere.path());
        assert!(names.len() == 1 && names[0].starts_with("full-"), "{names:?}");
        let path = elsewhere.path().join(&names[0]);
        assert_eq!(path.extension(), Some(OsStr::new(ending)));
        let line = format!("  written     {}, instead of /dev/full", path.display());
        assert!(run.err.contains(&line), "{line}: {run:?}");
        if format == "collapsed" {
            assert_eq!(Profile::read(&path).total(), run.account().counts);
        }
    }
    ends_well(target);
}

fn kept_recording(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    // Beside the output, if the file system can do that, unless the name is taken.
    for _ in 0..2 {
        let (before, elsewhere) = (common::names(folder.path()), TempDir::new().unwrap());
        let mut command = Command::new("sh");
        // Files may have a few KiB, here and among the temporary ones: a recording does, and no page does.
        command.args(["-c", "ulimit -f 8; exec \"$@\"", "sh", PYSAMPLE]).current_dir(folder.path());
        command.args(with_pid(&target, &["-d", "0.5", "-o", "run.html"])).env("TMPDIR", elsewhere.path());
        let run = Run::start(&mut command).end();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        assert!(run.err.last().unwrap().contains("cannot write run.html: File too large"), "{run:?}");
        let places = [(folder.path(), before), (elsewhere.path(), Vec::new())];
        let new = places.iter().flat_map(|(folder, before)| {
            common::names(folder).into_iter().filter(|name| !before.contains(name)).map(|name| folder.join(name))
        });
        let new: Vec<_> = new.collect();
        assert!(new.len() == 1, "{new:?} {run:?}");
        let name = new[0].file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("run.html") && name.ends_with(".pysample"), "{name}");
        let line = format!("{name}, of which `pysample convert` makes run.html");
        assert!(run.err.iter().any(|told| told.contains("written") && told.ends_with(&line)), "{line}: {run:?}");
        let output = Command::new(PYSAMPLE).args(["convert", "-f", "txt", "-o", "-"]).arg(&new[0]).output().unwrap();
        let stacks: u64 = String::from_utf8(output.stdout).unwrap().lines().map(count).sum();
        assert_eq!(stacks, run.account().counts);
    }
    ends_well(target);
}

/// The number that a line ends in.
fn count(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect(line)
}

/// Files may not grow beyond half a kilobyte, and no flame graph is as small. The kernel tells by an error, or by a signal
/// where nobody has it ignored.
const SMALL_FILES: [&str; 2] = ["trap '' XFSZ; ulimit -f 1; exec \"$@\"", "ulimit -f 1; exec \"$@\""];

fn failing_write(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    fs::write(folder.path().join("old.svg"), "old").unwrap();
    for (name, limits) in ["old.svg", "new.svg"].into_iter().flat_map(|name| SMALL_FILES.map(|limits| (name, limits))) {
        let mut command = Command::new("sh");
        command.args(["-c", limits, "sh", PYSAMPLE]).current_dir(folder.path());
        command.args(with_pid(&target, &["-d", "0.5", "-o", name]));
        let run = Run::start(&mut command).end();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        assert!(run.err.len() == 1 && run.err[0].contains(&format!("cannot write {name}: File too large")), "{run:?}");
        assert_eq!(common::names(folder.path()), ["old.svg"]);
    }
    assert_eq!(fs::read_to_string(folder.path().join("old.svg")).unwrap(), "old");
    ends_well(target);
}

fn replaced_at_the_end(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    let path = folder.path().join("x.txt");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    let old = fs::File::open(&path).unwrap();
    let run = Run::new(folder.path(), &with_pid(&target, &["-r", "1000", "-o", "x.txt"]));
    run.has_sampled(50);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(common::names(folder.path()), ["x.txt"]);
    run.signal(Signal::SIGINT);
    let run = run.end();
    assert_eq!(Profile::read(&path).total(), run.account().counts);
    let new = fs::metadata(&path).unwrap();
    assert_eq!(new.mode() & 0o777, 0o604, "the new file is as readable as the old one");
    assert_ne!(new.ino(), old.metadata().unwrap().ino(), "the old file is replaced, not written over");
    assert_eq!(old.metadata().unwrap().len(), 3);
    assert_eq!(common::names(folder.path()), ["x.txt"]);
    ends_well(target);
}

fn killed(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    fs::write(folder.path().join("x.txt"), "old").unwrap();
    let run = Run::new(folder.path(), &with_pid(&target, &["-r", "1000", "-o", "x.txt"]));
    run.has_sampled(20);
    run.signal(Signal::SIGKILL);
    run.end();
    assert_eq!(fs::read_to_string(folder.path().join("x.txt")).unwrap(), "old");
    assert_eq!(common::names(folder.path()), ["x.txt"]);
    assert_eq!(tracer(target.pid()), 0);
    ends_well(target);
}

fn links(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    fs::write(folder.path().join("elsewhere/old.txt"), "old").unwrap();
    for name in ["old.txt", "new.txt"] {
        let link = folder.path().join(name);
        symlink(Path::new("elsewhere").join(name), &link).unwrap();
        let run = Run::new(folder.path(), &with_pid(&target, &["-r", "500", "-d", "0.5", "-o", name])).end();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("elsewhere").join(name));
        assert_eq!(Profile::read(&link).total(), run.account().counts);
    }
    assert_eq!(common::names(&folder.path().join("elsewhere")), ["new.txt", "old.txt"]);
    ends_well(target);
}

fn umask(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    for (mask, mode) in [("022", 0o644), ("077", 0o600), ("000", 0o666)] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh", PYSAMPLE]).current_dir(folder.path());
        command.args(with_pid(&target, &["-d", "0.1", "-o", &format!("{mask}.txt")]));
        let run = Run::start(&mut command).end();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let file = fs::metadata(folder.path().join(format!("{mask}.txt"))).unwrap();
        assert_eq!(file.mode() & 0o777, mode, "umask {mask}");
    }
    ends_well(target);
}

fn named_by_itself(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    for ending in ["svg", "txt"] {
        let format = if ending == "svg" { "svg" } else { "collapsed" };
        let run = Run::new(folder.path(), &with_pid(&target, &["-d", "0.2", "-f", format])).end();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let made: Vec<String> =
            common::names(folder.path()).into_iter().filter(|name| name.ends_with(ending)).collect();
        assert!(made.len() == 1 && made[0].starts_with(&format!("spin.py-{}-", target.pid())), "{made:?}");
        assert_eq!(run.err.last().unwrap().trim(), format!("written     {}", made[0]));
    }
    ends_well(target);
}

fn nothing_ran(kind: &Kind) {
    let target = kind.start_ready("idle.py", &[]);
    wait_until("nothing runs", || common::every_thread_is(target.pid(), b'S'));
    let folder = folder();
    for name in ["x.svg", "x.txt"] {
        let run = Run::new(folder.path(), &with_pid(&target, &["-r", "200", "-d", "0.5", "-o", name])).end();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let account = run.account();
        account.is_of(200.0, 0.5);
        assert_eq!(account.counts, 0, "{run:?}");
        assert!(run.err.last().unwrap().contains("no thread was seen running Python code"), "{run:?}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("x.txt")).unwrap(), "");
    let svg = fs::read_to_string(folder.path().join("x.svg")).unwrap();
    let document = document(&svg);
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let says = |what: &str| document.descendants().any(|node| node.text().is_some_and(|text| text.contains(what)));
    assert!(says("No samples") && says("idle.py"), "{svg}");
    let (profile, account) = target.record(&["-r", "200", "-d", "0.5", "-i"]);
    assert!(account.counts == profile.total() && profile.total() >= 4 * account.taken, "{account:?}");
    ends_well(target);
}

fn interrupted_at_once(kind: &Kind) {
    let target = kind.start_ready("spin.py", &[]);
    let folder = folder();
    let run = Run::new(folder.path(), &with_pid(&target, &["-r", "1", "-o", "x.svg"]));
    run.has_sampled(0);
    run.signal(Signal::SIGINT);
    let run = run.end();
    let account = run.account();
    // The first sample may have been due before the signal came.
    let nothing = run.err[0].starts_with("No sample was taken of spin.py");
    assert_eq!((account.taken == 0, run.status.code()), (nothing, Some(if nothing { 130 } else { 0 })), "{run:?}");
    document(&fs::read_to_string(folder.path().join("x.svg")).unwrap());
    ends_well(target);
}

// ---- Commands ------------------------------------------------------------------------------------------------------

fn streams(kind: &Kind) {
    let folder = folder();
    let script = "import sys; print(sys.stdin.read().upper()); print('told', file=sys.stderr)";
    let mut run = Run::command(folder.path(), &["-o", "x.txt"], kind, &["-c", script]);
    run.tell("through\n");
    let run = run.end();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(run.out, ["THROUGH", ""]);
    assert_eq!(run.err[0], "told");
    assert!(folder.path().join("x.txt").exists());
}

fn exit_statuses(kind: &Kind) {
    let folder = folder();
    let by_signal = |name| format!("import os, signal; os.kill(os.getpid(), signal.{name})");
    for (script, status) in [
        ("pass".to_owned(), 0),
        ("raise SystemExit(3)".to_owned(), 3),
        ("raise SystemExit(255)".to_owned(), 255),
        (by_signal("SIGKILL"), 137),
        (by_signal("SIGTERM"), 143),
        (by_signal("SIGSEGV"), 139),
    ] {
        let run = Run::command(folder.path(), &["-o", "x.txt"], kind, &["-c", &script]).end();
        assert_eq!(run.status.code(), Some(status), "{script}: {run:?}");
        assert_eq!(common::names(folder.path()), ["x.txt"]);
    }
}

/// Is busy until its standard input is closed, and exits with 7.
const BUSY: &str = r#"
import os, select
def busy():
    while not select.select([0], [], [], 0)[0]:
        for _ in range(10000):
            pass
os.write(1, b"busy\n")
busy()
os.write(1, b"still here\n")
os._exit(7)
"#;

fn command_outlives(kind: &Kind) {
    let folder = folder();
    let arguments = ["-r", "500", "-d", "2", "-o", "x.txt"];
    let mut run = Run::command(folder.path(), &arguments, kind, &["-c", BUSY]);
    assert_eq!(run.line(), "busy");
    wait_until("the profile is there while the command runs", || folder.path().join("x.txt").exists());
    let profile = Profile::read(folder.path().join("x.txt"));
    assert!(!profile.frames("busy").is_empty(), "{profile:?}");
    assert!(run.is_running());
    let run = run.end();
    assert_eq!((run.out.join(" "), run.status.code()), ("still here".into(), Some(7)));
    run.account().is_of(500.0, 2.0);
    assert_eq!(run.account().counts, profile.total());
}

/// Counts signals, tells each, and tells how many there were when its standard input is closed.
const COUNTS: &str = r#"
import collections, os, select, signal
counts = collections.Counter()
def count(number, frame):
    counts[signal.Signals(number).name] += 1
    os.write(1, (signal.Signals(number).name + "\n").encode())
for name in "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2":
    signal.signal(getattr(signal, name), count)
os.write(1, b"ready\n")
while not select.select([0], [], [], 0.01)[0]:
    pass
os.write(1, (" ".join("%s=%d" % pair for pair in sorted(counts.items())) + "\n").encode())
"#;

fn signals_once(kind: &Kind) {
    let folder = folder();
    let mut run = Run::command(folder.path(), &["-r", "200", "-o", "x.txt"], kind, &["-c", COUNTS]);
    assert_eq!(run.line(), "ready");
    run.has_sampled(5);
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGQUIT] {
        run.signal(signal);
        assert_eq!(run.line(), signal.as_str());
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.line(), "SIGTERM");
    let run = run.end();
    assert_eq!(run.out, ["SIGHUP=1 SIGINT=1 SIGQUIT=1 SIGTERM=2 SIGUSR1=1 SIGUSR2=1"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(run.account().is_whole() && folder.path().join("x.txt").exists(), "{run:?}");
}

/// Runs a program on a terminal of its own, presses Ctrl-C when it says `ready`, and ends its input when it has said
/// `SIGINT`. Prints what the terminal showed.
const TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
pressed = ended = False
while True:
    try:
        data = os.read(terminal, 4096)
    except OSError:
        break
    if not data:
        break
    shown += data
    if b"ready" in shown and not pressed:
        pressed = True
        os.write(terminal, b"\x03")
    if b"SIGINT" in shown and not ended:
        ended = True
        os.write(terminal, b"\n")
status = os.waitpid(pid, 0)[1]
sys.stdout.write(shown.decode() + "\nstatus %d\n" % status)
"#;

fn terminal_interrupt(kind: &Kind) {
    let folder = folder();
    let mut terminal = kind.command();
    terminal.args(["-c", TERMINAL, PYSAMPLE, "record", "-o", "x.txt", "--"]).args(&kind.command);
    let run = Run::start(terminal.args(["-c", COUNTS]).current_dir(folder.path())).end();
    let shown: Vec<&str> = run.out.iter().map(|line| line.trim_end()).collect();
    assert!(shown.contains(&"SIGINT=1"), "{run:?}");
    assert_eq!(shown.last(), Some(&"status 0"), "{run:?}");
    assert!(folder.path().join("x.txt").exists());
}

fn shell_becomes_python(kind: &Kind) {
    let folder = folder();
    let script = "echo shell; read line; exec \"$@\"";
    let mut command = pysample(folder.path(), &["record", "-r", "500", "-o", "x.txt", "--", "sh", "-c", script, "sh"]);
    command.args(&kind.command).args(["-c", BUSY]);
    let mut run = Run::start(&mut command);
    assert_eq!(run.line(), "shell");
    run.tell("go on\n");
    assert_eq!(run.line(), "busy");
    run.has_sampled(50);
    let run = run.end();
    assert_eq!(run.status.code(), Some(7), "{run:?}");
    assert!(run.account().is_whole(), "{run:?}");
    let profile = Profile::read(folder.path().join("x.txt"));
    assert_eq!(profile.total(), run.account().counts);
    assert!(!profile.frames("busy").is_empty(), "{profile:?}");
}

fn python_becomes_python(kind: &Kind) {
    let others = common::one_of_each().filter(|other| other.root.is_none() && other.env.is_empty());
    for other in others {
        let folder = folder();
        let program = other.command[0].as_str();
        let mut run =
            Run::command(folder.path(), &["-r", "1000", "-o", "x.txt"], kind, &["-c", BECOMES, program, "-c", BUSY]);
        assert_eq!(run.line(), "first");
        run.has_sampled(50);
        run.tell("x");
        assert_eq!(run.line(), "busy");
        run.has_sampled(2000); // To find the new interpreter takes many reads, too.
        let run = run.end();
        assert_eq!(run.status.code(), Some(7), "{}: {run:?}", other.kind);
        let profile = Profile::read(folder.path().join("x.txt"));
        assert!(!profile.frames("first").is_empty(), "{}: {profile:?}", other.kind);
        assert!(!profile.frames("busy").is_empty(), "{}: {profile:?}\n{run:?}", other.kind);
        assert!(run.account().is_whole(), "{run:?}");
    }
}

// ---- Running pysample ----------------------------------------------------------------------------------------------

/// A process under way whose standard streams are ours.
struct Run {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// A process that has ended.
#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    /// The lines of standard output that nobody has read before.
    out: Vec<String>,
    /// Those of standard error, but for the remark that fewer samples are taken than asked: so it may be on any machine.
    err: Vec<String>,
    /// How often that was told.
    stretched: usize,
}

impl Run {
    /// pysample.
    fn new<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Run {
        Run::start(&mut pysample(folder, arguments))
    }

    /// `pysample record ARGUMENTS -- PYTHON WORDS`.
    fn command(folder: &Path, arguments: &[&str], kind: &Kind, words: &[&str]) -> Run {
        let mut command = pysample(folder, &["record"]);
        command.args(arguments).arg("--").args(&kind.command).args(words).envs(&kind.env);
        Run::start(&mut command)
    }

    fn start(command: &mut Command) -> Run {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Run { stdin: child.stdin.take(), out, err, child }
    }

    fn line(&mut self) -> String {
        match self.out.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(_) => panic!("there is no line: {:?}", self.err.try_iter().collect::<Vec<_>>()),
        }
    }

    fn tell(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the sampler has begun some samples: with one or two threads, half of the number at least.
    fn has_sampled(&self, samples: u64) {
        let mut begin = None;
        wait_until("the sampler samples", || {
            let Some(now) = self.reads() else { return false };
            now >= *begin.get_or_insert(now) + samples
        });
    }

    /// How many files the sampler has read: the state of each thread in each sample.
    fn reads(&self) -> Option<u64> {
        let mut tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?.map_while(Result::ok);
        let sampler =
            tasks.find(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "sampler\n"))?;
        let counts = fs::read_to_string(sampler.path().join("io")).ok()?;
        counts.lines().find_map(|line| line.strip_prefix("syscr: "))?.parse().ok()
    }

    /// Closes its standard input and waits for its end.
    fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                panic!("it does not end: {:?}", self.err.try_iter().collect::<Vec<_>>());
            }
            thread::sleep(Duration::from_millis(1));
        };
        let rest = |lines: &Receiver<String>| -> Vec<String> {
            std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).collect()
        };
        let mut err = rest(&self.err);
        let before = err.len();
        err.retain(|line| !line.starts_with("pysample: taking fewer samples than asked"));
        Ended { status, out: rest(&self.out), stretched: before - err.len(), err }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8(line).unwrap_or_else(|e| format!("not UTF-8: {e}"));
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn pysample<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Command {
    let mut command = Command::new(PYSAMPLE);
    command.args(arguments).current_dir(folder);
    command
}

fn with_pid(target: &Running, arguments: &[&str]) -> Vec<String> {
    let words = ["record".to_owned(), "--pid".into(), target.pid().to_string()];
    words.into_iter().chain(arguments.iter().map(ToString::to_string)).collect()
}

/// Targets to record.
trait Start {
    fn start_ready(&self, program: &str, arguments: &[&str]) -> Running;
    fn start_code(&self, script: &str) -> Running;
}

impl Start for Kind {
    /// Runs a moving program until it is ready.
    fn start_ready(&self, program: &str, arguments: &[&str]) -> Running {
        let mut target = self.start(program, arguments);
        assert_eq!(target.line(), "ready");
        target
    }

    /// Runs a script whose first argument is the folder of the programs, until it is ready.
    fn start_code(&self, script: &str) -> Running {
        let mut target = self.start_with("", &[], &["-c", script]);
        assert_eq!(target.line(), "ready");
        target
    }
}

trait Record {
    fn run(&self, arguments: &[&str]) -> Ended;
    fn record(&self, arguments: &[&str]) -> (Profile, Account);
}

impl Record for Running {
    /// Records it to standard output as collapsed stacks.
    fn run(&self, arguments: &[&str]) -> Ended {
        let arguments = [arguments, &["-f", "collapsed", "-o", "-"]].concat();
        let run = Run::new(Path::new("/"), &with_pid(self, &arguments)).end();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        run
    }

    fn record(&self, arguments: &[&str]) -> (Profile, Account) {
        let run = self.run(arguments);
        let (profile, account) = (run.profile(), run.account());
        assert_eq!(profile.total(), account.counts, "{account:?}");
        assert_eq!(tracer(self.pid()), 0);
        (profile, account)
    }
}

/// Ends a target, which must have taken no harm.
fn ends_well(target: Running) {
    let status = target.end();
    assert!(status.success(), "the target ended with {status}");
}

fn tracer(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap().trim().parse().unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

// ---- Reading what it wrote -----------------------------------------------------------------------------------------

/// Collapsed stacks: frames outermost first, and how often.
#[derive(Debug)]
struct Profile {
    stacks: Vec<(Vec<String>, u64)>,
}

impl Profile {
    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Profile {
        let stack = |line: &str| {
            let (stack, count) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no count: {line}"));
            let count = count.parse().unwrap_or_else(|_| panic!("no count: {line}"));
            assert!(count > 0, "{line}");
            (stack.split(';').map(str::to_owned).collect(), count)
        };
        let stacks: Vec<(Vec<String>, u64)> = lines.map(stack).collect();
        let distinct: BTreeSet<&Vec<String>> = stacks.iter().map(|(stack, _)| stack).collect();
        assert_eq!(distinct.len(), stacks.len(), "equal stacks are one line");
        Profile { stacks }
    }

    fn read(path: impl AsRef<Path>) -> Profile {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the file is whole");
        Profile::parse(text.lines())
    }

    fn total(&self) -> u64 {
        self.stacks.iter().map(|(_, count)| count).sum()
    }

    fn percentage(&self, of: impl Fn(&[String]) -> bool) -> f64 {
        let counted: u64 = self.stacks.iter().filter(|(stack, _)| of(stack)).map(|(_, count)| count).sum();
        100.0 * counted as f64 / self.total() as f64
    }

    fn by<K: Ord>(&self, key: impl Fn(&[String]) -> K) -> BTreeMap<K, u64> {
        let mut counts = BTreeMap::new();
        for (stack, count) in &self.stacks {
            *counts.entry(key(stack)).or_insert(0) += count;
        }
        counts
    }

    /// What the frames of a function are called.
    fn frames(&self, function: &str) -> BTreeSet<&str> {
        let frames = self.stacks.iter().flat_map(|(stack, _)| stack).map(String::as_str);
        // Before 3.11 the class is not known.
        let plain = function.rsplit('.').next().unwrap();
        frames.filter(|frame| [function, plain].contains(&function_of(frame))).collect()
    }
}

fn is_thread(root: &str, name: &str) -> bool {
    root.strip_prefix(name).is_some_and(|rest| rest.starts_with(" (thread ") && rest.ends_with(')'))
}

fn thread_id(root: &str) -> Option<u32> {
    root.strip_suffix(')')?.rsplit_once("(thread ")?.1.parse().ok()
}

/// `f` in `f (dir/x.py:7)`.
fn function_of(frame: &str) -> &str {
    frame.split_once(" (").unwrap_or_else(|| panic!("{frame} is no frame")).0
}

fn place(frame: &str) -> (&str, &str) {
    let place = frame.split_once(" (").and_then(|(_, place)| place.strip_suffix(')')?.rsplit_once(':'));
    place.unwrap_or_else(|| panic!("{frame} has no line"))
}

/// `dir/x.py` in `f (dir/x.py:7)`.
fn file(frame: &str) -> &str {
    place(frame).0
}

/// 7 in `f (dir/x.py:7)`.
fn line(frame: &str) -> usize {
    place(frame).1.parse().unwrap()
}

fn line_of(program: &str, text: &str) -> usize {
    let source = fs::read_to_string(common::programs().join(program)).unwrap();
    1 + source.lines().position(|line| line.contains(text)).unwrap()
}

/// The stacks that a standing program tells of, as a profile shows them with full file names.
fn told_stacks(told: &Value) -> Vec<Vec<String>> {
    let threads = told["interpreters"].as_array().unwrap().iter().flat_map(|i| i["threads"].as_array().unwrap());
    let label = |frame: &Value| match frame[2].as_u64() {
        Some(line) => format!("{} ({}:{line})", text(&frame[0]), text(&frame[1])),
        None => format!("{} ({})", text(&frame[0]), text(&frame[1])),
    };
    threads.map(|thread| thread["frames"].as_array().unwrap().iter().rev().map(label).collect()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What the summary says.
#[derive(Debug)]
struct Account {
    seconds: f64,
    asked: u64,
    taken: u64,
    late: u64,
    failed: u64,
    left_out: u64,
    stacks: u64,
    /// As often as they stand for what was left out, too.
    counts: u64,
    distinct: u64,
    frameless: u64,
    unreadable: u64,
    dropped: u64,
    truncated: u64,
    /// Percent of the time, the median and the longest in microseconds.
    stopped: Option<[f64; 3]>,
    /// Seconds, and percent of a core.
    own_cpu: Option<[f64; 2]>,
}

impl Ended {
    fn account(&self) -> Account {
        let about = |what: &str| {
            let line = self.err.iter().find_map(|line| line.trim_start().strip_prefix(what)).unwrap_or("0");
            line.trim_start_matches([':', ' '])
        };
        let first =
            self.err.iter().find(|line| line.starts_with("Recorded ") || line.starts_with("No sample was taken"));
        let first = first.unwrap_or_else(|| panic!("there is no summary: {self:?}"));
        let (samples, stacks) = (about("samples "), about("stacks "));
        let (stopped, own_cpu) = (about("stopped "), about("own CPU "));
        let three = |[one, two, three]: [&str; 3]| {
            Some([before(stopped, one)?, before(stopped, two)?, before(stopped, three)?])
        };
        Account {
            seconds: before(first, " s, until").unwrap_or(0.0),
            asked: before(samples, " asked").unwrap_or(0),
            taken: before(samples, " taken").unwrap_or(0),
            late: before(samples, " late").unwrap_or(0),
            failed: before(samples, " failed").unwrap_or(0),
            left_out: before(samples, " left out").unwrap_or(0),
            stacks: before(stacks, " of ").unwrap_or(0),
            counts: match stacks.split_once("counting for ") {
                Some((_, counts)) => leading(counts),
                None => before(stacks, " of ").unwrap_or(0),
            },
            distinct: before(stacks, " distinct").unwrap_or(0),
            frameless: before(stacks, " more had no").map_or(0, |n: String| leading(n.trim_start_matches('('))),
            unreadable: leading(about("unreadable ")),
            dropped: leading(about("dropped ")),
            truncated: leading(about("truncated ")),
            stopped: three([" % of the time", " us in the median", " us at worst"]),
            own_cpu: before(own_cpu, " s: ").zip(before(own_cpu, " % of a core")).map(<[f64; 2]>::from),
        }
    }

    fn profile(&self) -> Profile {
        Profile::parse(self.out.iter().map(String::as_str))
    }
}

/// The number before a word.
fn before<N: std::str::FromStr>(line: &str, word: &str) -> Option<N> {
    let (rest, _) = line.split_once(word)?;
    rest.rsplit(' ').next()?.parse().ok()
}

/// The number that a text begins with.
fn leading(text: &str) -> u64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{text} begins with a number"))
}

impl Account {
    /// Every sample that was asked became something.
    fn is_whole(&self) -> bool {
        self.asked == self.taken + self.late + self.failed + self.left_out && self.distinct <= self.stacks
    }

    /// The recording was as long as it was to be, and nothing is left unsaid.
    fn is_of(&self, rate: f64, seconds: f64) {
        assert!(self.is_whole(), "{self:?}");
        assert_eq!(self.asked, (rate * seconds).round() as u64, "{self:?}");
        assert!(self.seconds >= seconds - 0.06, "{self:?}");
        assert!(self.taken > 0, "{self:?}");
    }
}

fn document(svg: &str) -> Document<'_> {
    Document::parse_with_options(svg, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })
        .unwrap_or_else(|error| panic!("the flame graph is no XML: {error}"))
}

/// A flame graph, read back.
struct Drawing {
    title: String,
    subtitle: String,
    frames: Vec<DrawnFrame>,
}

#[derive(Debug)]
struct DrawnFrame {
    name: String,
    samples: u64,
    /// How many samples are to its left.
    begin: u64,
    /// How many frames are between it and the root.
    depth: usize,
}

impl Drawing {
    fn read(svg: &str) -> Drawing {
        let document = document(svg);
        let with_id = |id: &str| document.descendants().find(|node| node.attribute("id") == Some(id));
        let text = |id: &str| with_id(id).and_then(|node| node.text()).unwrap_or_default().to_owned();
        let groups = with_id("frames").expect("there are frames").children().filter(|node| node.has_tag_name("g"));
        let mut drawn = Vec::new();
        for group in groups {
            let child = |name: &str| group.children().find(|node| node.tag_name().name() == name).unwrap();
            let number = |name: &str| -> u64 {
                let same = |a: &roxmltree::Attribute| a.name() == name && (name == "y" || a.namespace().is_some());
                child("rect").attributes().find(same).unwrap().value().parse().unwrap()
            };
            let (name, counts) = child("title").text().unwrap().rsplit_once(" (").unwrap();
            let samples: u64 = before(counts, " samples").unwrap();
            assert_eq!(samples, number("w"), "{name}");
            drawn.push((number("y"), DrawnFrame { name: name.to_owned(), samples, begin: number("x"), depth: 0 }));
        }
        let rows: BTreeSet<u64> = drawn.iter().map(|(y, _)| *y).collect();
        let root = drawn.iter().find(|(_, frame)| frame.name == "all").expect("there is a root").0;
        let inverted = rows.first() == Some(&root);
        let mut frames: Vec<DrawnFrame> = Vec::new();
        for (y, mut frame) in drawn {
            let above = rows.iter().position(|row| *row == y).unwrap();
            frame.depth = if inverted { above } else { rows.len() - 1 - above };
            frames.push(frame);
        }
        frames.sort_by_key(|frame| (frame.depth, frame.begin));
        Drawing { title: text("title"), subtitle: text("subtitle"), frames }
    }

    fn samples(&self) -> u64 {
        self.frames[0].samples
    }

    /// The stacks that were drawn.
    fn stacks(&self) -> BTreeMap<Vec<String>, u64> {
        let mut own: Vec<u64> = self.frames.iter().map(|frame| frame.samples).collect();
        let mut callers: Vec<Option<usize>> = vec![None; self.frames.len()];
        let places: BTreeMap<(usize, u64), usize> =
            self.frames.iter().enumerate().map(|(index, frame)| ((frame.depth, frame.begin), index)).collect();
        for (index, frame) in self.frames.iter().enumerate().skip(1) {
            let above = places.range((frame.depth - 1, 0)..=(frame.depth - 1, frame.begin)).next_back();
            let caller = *above.expect("a frame lies on another").1;
            own[caller] -= frame.samples;
            callers[index] = Some(caller);
        }
        let stack = |index: usize| {
            let mut frames: Vec<String> = std::iter::successors(Some(index), |&index| callers[index])
                .map(|index| self.frames[index].name.clone())
                .collect();
            frames.pop();
            frames.reverse();
            frames
        };
        (0..self.frames.len()).filter(|&index| own[index] > 0).map(|index| (stack(index), own[index])).collect()
    }
}
