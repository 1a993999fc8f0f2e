//! Each format by who it is for: the viewers themselves, or the schema that they publish. What is expected is the list of
//! samples that the recording was made from.
//!
//! The viewers are brought together by `tests/exports/collect`. Without them a test is left out, and says so; where `CI` is
//! `true` it fails.

mod common;
#[path = "common/known.rs"]
mod known;
#[path = "common/recipe.rs"]
mod recipe;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pysample::export::{Files, Labels, Lines, chrome_trace, firefox, json_lines, pprof, pstats, speedscope};
use pysample::printable::printable;
use pysample::sample::{GilState, Literal, Replay, ThreadState};
use serde_json::{Value, json};
use tempfile::TempDir;

use known::{SEEN, Seen};
use recipe::{PERIOD, Recipe};

type Writer = fn(&dyn Replay, &Labels, &mut dyn Write) -> io::Result<()>;

/// Every format: how its files end, and what writes it.
const FORMATS: [(&str, Writer); 6] = [
    ("speedscope.json", speedscope::write),
    ("pb.gz", pprof::write),
    ("firefox.json", firefox::write),
    ("pstats", pstats::write),
    ("trace.json", chrome_trace::write),
    ("jsonl", json_lines::write),
];

/// Writes a recording to a file of a new folder, in the format whose files end so.
fn written(recording: &Literal, ending: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("profile.{ending}"));
    let (_, write) = FORMATS.iter().find(|(of, _)| *of == ending).unwrap();
    let mut out = Vec::new();
    write(recording, &Labels { files: Files::Full, ..Labels::default() }, &mut out).unwrap();
    fs::write(&path, out).unwrap();
    (folder, path)
}

/// Whether something that a test needs is there, and says if it is not. Where `CI` is `true` that is an error.
fn there(what: &str, is_there: bool) -> bool {
    let must = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(is_there || !must, "{what} is missing; tests/run installs it");
    if !is_there {
        eprintln!("left out: {what} is missing; tests/run installs it");
    }
    is_there
}

fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// The folder of packages that `tests/exports/collect` brought together, if it did.
fn viewers(kind: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("PYSAMPLE_VIEWERS").or_else(|| {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
        Some(cache.join("pysample/viewers"))
    });
    folder.map(|folder| folder.join(kind)).filter(|folder| folder.join(".made").is_file())
}

/// The packages of npm, and node to run them.
fn npm() -> Option<PathBuf> {
    let packages = viewers("npm").filter(|_| is_program("node"));
    there("node with the packages of tests/exports/package.json", packages.is_some());
    packages.map(|folder| folder.join("node_modules"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports").join(name)
}

/// What a program prints, having succeeded.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr: String = stderr.chars().take(4000).collect();
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// How often each stack was sampled: the process, the thread, the stack outermost first as `name` says, how often.
type Totals = BTreeMap<(u32, String, Vec<String>), u64>;

/// What was sampled, each frame called as a viewer calls it.
fn expected(name: impl Fn(&str, u32) -> String) -> Totals {
    let mut totals = Totals::new();
    for seen in SEEN.iter().filter(|seen| !seen.stack.is_empty()) {
        let stack = seen.stack.iter().map(|(function, line)| name(function, *line)).collect();
        *totals.entry((seen.pid, seen.thread.into(), stack)).or_default() += seen.samples();
    }
    totals
}

fn validate(schema: &Path, file: &Path, packages: &Path) -> String {
    output(Command::new("node").arg(script("validate.cjs")).args([packages, schema, file]))
}

fn import(packages: &Path, file: &Path) -> Value {
    let told = output(Command::new("node").arg(script("speedscope.cjs")).args([packages, file]));
    serde_json::from_str(&told).unwrap()
}

/// The stacks of one imported profile and what they weigh, in periods.
fn imported(profile: &Value, period: f64) -> Vec<(Vec<String>, u64)> {
    let stacks = profile["stacks"].as_array().unwrap();
    let stack = |told: &Value| {
        let names = told[0].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        let weight = told[1].as_f64().unwrap() / period;
        assert!((weight - weight.round()).abs() < 1e-6, "{told}");
        (names, weight.round() as u64)
    };
    stacks.iter().map(stack).collect()
}

#[test]
fn speedscope_finds_its_schema_kept() {
    let Some(packages) = npm() else { return };
    let schema = packages.join("speedscope/dist/release/file-format-schema.json");
    for recording in [known::recording(), known::hostile_recording(), Recipe::new().recording()] {
        let (_folder, path) = written(&recording, "speedscope.json");
        assert_eq!(validate(&schema, &path, &packages), "1\n");
    }
}

#[test]
fn speedscope_imports_what_was_sampled() {
    let Some(packages) = npm() else { return };
    let (_folder, path) = written(&known::recording(), "speedscope.json");
    let group = import(&packages, &path);
    let mut totals = Totals::new();
    for profile in group["profiles"].as_array().unwrap() {
        assert_eq!(profile["unit"], "seconds");
        let name = profile["name"].as_str().unwrap();
        let pid = if name.contains("(4242)") { 4242 } else { 4343 };
        let thread = if name.contains("worker-1") { "worker-1" } else { "MainThread" };
        for (stack, samples) in imported(profile, PERIOD.as_secs_f64()) {
            *totals.entry((pid, thread.into(), stack)).or_default() += samples;
        }
    }
    assert_eq!(totals, expected(|function, line| format!("{function} (/srv/{function}.py:{line})")));
    // Each time axis is the recording's.
    let ends: Vec<_> = group["profiles"].as_array().unwrap().iter().map(|profile| &profile["total"]).collect();
    assert_eq!(ends, [&json!(0.17), &json!(0.14), &json!(0.2)]);
    assert_eq!(group["shown"], 2);
}

#[test]
fn go_s_pprof_shows_the_stacks_that_were_sampled() {
    if !there("go", is_program("go")) {
        return;
    }
    let (_folder, path) = written(&known::recording(), "pb.gz");
    let told =
        output(Command::new("go").args(["tool", "pprof", "-lines", "-sample_index=samples", "-traces"]).arg(&path));
    let mut traces: Vec<_> = told.split("-----------+-").skip(1).filter_map(trace).collect();
    traces.sort();
    let expected = SEEN.iter().filter(|seen| !seen.stack.is_empty()).map(|seen| {
        let stack = seen.stack.iter().rev();
        let frames: Vec<_> = stack.map(|(function, line)| format!("{function} /srv/{function}.py:{line}")).collect();
        let Seen { pid, thread, state, gil, .. } = seen;
        let labels = [("gil", gil.text()), ("state", state.text(*gil)), ("thread", thread), ("pid", &pid.to_string())];
        let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        ((labels, frames), seen.samples())
    });
    // The same stack in the same state is one trace.
    let mut sums: BTreeMap<_, u64> = BTreeMap::new();
    expected.for_each(|(trace, samples)| *sums.entry(trace).or_default() += samples);
    assert_eq!(traces, sums.into_iter().collect::<Vec<_>>(), "{told}");
}

type Trace = (BTreeMap<String, String>, Vec<String>);

/// A trace as pprof prints it: labels, then the value and the innermost frame, then its callers.
fn trace(text: &str) -> Option<(Trace, u64)> {
    let (mut labels, mut frames, mut samples) = (BTreeMap::new(), Vec::new(), None);
    for line in text.lines().skip(1) {
        let line = line.trim();
        match line.split_once(":  ") {
            Some((key, value)) if samples.is_none() => drop(labels.insert(key.to_owned(), value.to_owned())),
            _ if samples.is_none() => {
                let (count, frame) = line.split_once("   ")?;
                samples = Some(count.parse().unwrap());
                frames.push(frame.to_owned());
            }
            _ => frames.push(line.to_owned()),
        }
    }
    labels.remove("thread_id");
    Some(((labels, frames), samples?))
}

#[test]
fn go_s_pprof_adds_up_the_time() {
    if !there("go", is_program("go")) {
        return;
    }
    let (_folder, path) = written(&known::recording(), "pb.gz");
    let top = ["tool", "pprof", "-top", "-unit=ms", "-nodefraction=0", "-edgefraction=0"];
    let told = output(Command::new("go").args(top).arg(&path));
    assert!(told.contains("Type: wall\n") && told.contains("Duration: 200ms"), "{told}");
    let rows = told.lines().skip_while(|line| !line.contains("flat%")).skip(1);
    let millis = |text: &str| text.trim_end_matches("ms").parse::<u64>().unwrap();
    let mut top: Vec<_> = rows
        .map(|row| {
            let words: Vec<_> = row.split_whitespace().collect();
            (words[5..].join(" "), millis(words[0]), millis(words[3]))
        })
        .collect();
    top.sort();
    assert_eq!(top, by_function(), "{told}");
}

/// Each function's own and all time in milliseconds, recursion counted once.
fn by_function() -> Vec<(String, u64, u64)> {
    let mut times: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for seen in &SEEN {
        let millis = seen.samples() * PERIOD.as_millis() as u64;
        let mut names: Vec<&str> = seen.stack.iter().map(|(function, _)| *function).collect();
        if let Some(innermost) = names.last() {
            times.entry(innermost).or_default().0 += millis;
        }
        names.sort_unstable();
        names.dedup();
        names.iter().for_each(|name| times.entry(name).or_default().1 += millis);
    }
    times.into_iter().map(|(name, (own, all))| (name.into(), own, all)).collect()
}

/// The daemon that Firefox's command line talks to. It is ended when this is dropped.
struct Firefox {
    program: PathBuf,
    sessions: TempDir,
    daemon: Child,
}

impl Firefox {
    /// Loads a profile. The daemon is asked until it answers: the command that would start it waits for half a second only.
    fn load(packages: &Path, file: &Path) -> Firefox {
        let program = packages.join("@firefox-devtools/profiler-cli/dist/profiler-cli.js");
        let sessions = tempfile::Builder::new().prefix("pq").tempdir_in("/tmp").unwrap();
        let daemon = Command::new("node")
            .arg(&program)
            .arg("--daemon")
            .arg(file)
            .args(["--session", "test"])
            .env("PROFILER_CLI_SESSION_DIR", sessions.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut firefox = Firefox { program, sessions, daemon };
        let (begun, mut why) = (Instant::now(), String::from("it has not begun"));
        // Whoever asks before it listens removes what it then writes.
        let listens = firefox.sessions.path().join("test.json");
        loop {
            assert!(firefox.daemon.try_wait().unwrap().is_none(), "the daemon ended: {why}");
            assert!(begun.elapsed() < Duration::from_secs(120), "the daemon does not answer: {why}");
            if !listens.exists() {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let answer = firefox.command(&["profile", "info"]).output().unwrap();
            if answer.status.success() {
                return firefox;
            }
            why = String::from_utf8_lossy(&answer.stderr).into_owned();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("node");
        command.arg(&self.program).args(arguments).args(["--json", "--session", "test"]);
        command.env("PROFILER_CLI_SESSION_DIR", self.sessions.path()).stdin(Stdio::null());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&output(&mut self.command(arguments))).unwrap()
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The stacks of a call tree as the command line of Firefox tells it.
fn call_tree(node: &Value, callers: &[String], visit: &mut dyn FnMut(&[String], u64)) {
    let mut stack = callers.to_vec();
    if node["name"] != "<root>" {
        stack.push(node["name"].as_str().unwrap().to_owned());
    }
    match node["selfSamples"].as_u64() {
        Some(own) if own > 0 => visit(&stack, own),
        _ => {}
    }
    for child in node["children"].as_array().into_iter().flatten() {
        call_tree(child, &stack, visit);
    }
}

#[test]
fn the_firefox_profiler_shows_what_was_sampled() {
    let Some(packages) = npm() else { return };
    let (_folder, path) = written(&known::recording(), "firefox.json");
    let firefox = Firefox::load(&packages, &path);
    let threads = firefox.ask(&["thread", "list"]);
    let (mut totals, mut processes, mut markers) = (Totals::new(), Vec::new(), BTreeMap::new());
    for thread in threads["threads"].as_array().unwrap() {
        let handle = thread["threadHandle"].as_str().unwrap();
        let pid: u32 = thread["pid"].as_str().unwrap().parse().unwrap();
        let name = thread["name"].as_str().unwrap();
        processes.push(format!("{pid}: {}", thread["processName"].as_str().unwrap()));
        let ask = ["thread", "samples-top-down", "--thread", handle, "--include-idle", "--max-lines", "1000"];
        let tree = &firefox.ask(&ask)["regularCallTree"];
        let name = name.split(" (").next().unwrap();
        call_tree(tree, &[], &mut |stack, own| {
            *totals.entry((pid, name.into(), stack.to_vec())).or_default() += own;
        });
        let told = firefox.ask(&["thread", "markers", "--thread", handle]);
        for of in told["byType"].as_array().unwrap() {
            let of_each = of["topMarkers"].as_array().unwrap().iter().map(|marker| {
                (marker["start"].as_f64().unwrap().round() as u64, marker["duration"].as_f64().unwrap().round() as u64)
            });
            let mut times: Vec<_> = of_each.collect();
            times.sort_unstable();
            markers.insert((pid, name.to_owned(), of["markerName"].as_str().unwrap().to_owned()), times);
        }
    }
    assert_eq!(totals, expected(|function, _| function.into()));
    processes.sort();
    processes.dedup();
    assert_eq!(processes, ["4242: python3 main.py --workers 1", "4343: python3 -m poller"]);
    let marker = |(pid, thread, name): (u32, &str, &str), times: &[(u64, u64)]| {
        ((pid, thread.to_owned(), name.to_owned()), times.to_vec())
    };
    let expected = [
        marker((4242, "MainThread", "GIL held"), &[(0, 100)]),
        marker((4242, "worker-1", "GIL held"), &[(100, 40)]),
        marker((4242, "worker-1", "GIL wanted"), &[(0, 40), (80, 20)]),
        marker((4242, "worker-1", "Garbage collection"), &[(100, 30)]),
        marker((4343, "MainThread", "GIL held"), &[(130, 70)]),
    ];
    assert_eq!(markers, expected.into());
}

/// Functions by [file, line, name], with [primitive calls, calls, own time, all time] of their own and below each caller.
fn expected_statistics() -> Value {
    type Numbers = (u64, u64);
    let mut functions: BTreeMap<String, (Numbers, BTreeMap<String, Numbers>)> = BTreeMap::new();
    for seen in &SEEN {
        let names: Vec<_> = seen.stack.iter().rev().map(|(name, _)| format!("{name} [pid {}]", seen.pid)).collect();
        for (depth, name) in names.iter().enumerate() {
            let (of, callers) = functions.entry(name.clone()).or_default();
            let own = if depth == 0 { seen.samples() } else { 0 };
            if !names[..depth].contains(name) {
                *of = (of.0 + own, of.1 + seen.samples());
            }
            let calls = |at: usize| (names.get(at), names.get(at + 1));
            if let Some(caller) = names.get(depth + 1).filter(|_| !(0..depth).any(|at| calls(at) == calls(depth))) {
                let of = callers.entry(caller.clone()).or_default();
                *of = (of.0 + own, of.1 + seen.samples());
            }
        }
    }
    let key = |name: &String| json!([format!("/srv/{}.py", name.split(" [").next().unwrap()), 7, name]);
    let numbers = |(own, all): Numbers| json!([all, all, own as f64 * 0.01, all as f64 * 0.01]);
    let mut told: Vec<_> = functions
        .iter()
        .map(|(name, (of, callers))| {
            let mut callers: Vec<_> = callers.iter().map(|(name, of)| json!([key(name), numbers(*of)])).collect();
            callers.sort_by_key(Value::to_string);
            json!([key(name), numbers(*of), callers])
        })
        .collect();
    told.sort_by_key(Value::to_string);
    told.into()
}

/// Numbers that are times are right to a nanosecond, and everything else is the same.
fn assert_alike(one: &Value, other: &Value) {
    match (one, other) {
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            ones.iter().zip(others).for_each(|(one, other)| assert_alike(one, other));
        }
        (Value::Number(_), Value::Number(_)) => {
            assert!((one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-9, "{one} {other}");
        }
        _ => assert_eq!(one, other),
    }
}

#[test]
fn pstats_of_every_python_loads_what_was_sampled() {
    let (_folder, path) = written(&known::recording(), "pstats");
    let expected = expected_statistics();
    let mut minors = Vec::new();
    for kind in common::one_of_each().filter(|kind| kind.minor >= 8) {
        let (folder, inside) = kind.folder();
        for file in [&path, &script("stats.py")] {
            fs::copy(file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let told = output(kind.command().arg(inside.join("stats.py")).arg(inside.join("profile.pstats")));
        let mut told: Value = serde_json::from_str(&told).unwrap();
        told.as_array_mut().unwrap().sort_by_key(Value::to_string);
        assert_alike(&told, &expected);
        minors.push(kind.minor);
        browse(kind.command().args(["-m", "pstats"]).arg(inside.join("profile.pstats")));
    }
    assert_eq!(minors, (8..=15).collect::<Vec<u8>>());
}

/// What a person types into `python -m pstats`, and gets.
fn browse(command: &mut Command) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sort cumtime\nstats\ncallers walk\nquit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    let walk = "/srv/walk.py:7(walk [pid 4242])";
    assert!(told.contains(" in 0.420 seconds"), "{told}");
    assert!(
        rows.iter()
            .any(|row| row.len() > 5 && row[5..].join(" ") == walk && row[..4] == ["4", "0.040", "0.010", "0.040"]),
        "{told}"
    );
    assert!(told.contains("/srv/boot.py:7(boot [pid 4242])"), "{told}");
}

#[test]
fn snakeviz_serves_it() {
    let packages = viewers("python").filter(|_| is_program("python3"));
    there("python3 with the packages of tests/exports/requirements.txt", packages.is_some());
    let Some(packages) = packages else { return };
    let (_folder, path) = written(&known::recording(), "pstats");
    let mut server = Command::new("python3")
        .args(["-u", "-c", "import snakeviz.cli; snakeviz.cli.main()", "-s", "-H", "127.0.0.1"])
        .arg(&path)
        .env("PYTHONPATH", packages)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let page = served(server.stdout.take().unwrap());
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for function in ["&lt;module&gt;", "Job.run", "walk", "poll.&lt;locals&gt;.&lt;lambda&gt;"] {
        let as_json = function.replace("&lt;", "<").replace("&gt;", ">");
        assert!(page.contains(function) || page.contains(&as_json), "{function}: {page}");
    }
}

/// What is answered at the address that a server prints.
fn served(stdout: impl Read) -> String {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let address = lines.filter_map(|line| line.strip_prefix("http://").map(str::to_owned)).next();
    let address = address.expect("the server tells where it is");
    let (host, page) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{page} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The slices of a trace: process, track, name, begin and end in milliseconds, and how deep.
fn slices(trace: &Value) -> Vec<(u64, u64, String, u64, u64, usize)> {
    let (mut open, mut last, mut slices) = (BTreeMap::<_, Vec<(String, f64)>>::new(), BTreeMap::new(), Vec::new());
    for event in trace["traceEvents"].as_array().unwrap() {
        let (ph, at) = (event["ph"].as_str().unwrap(), event["ts"].as_f64().unwrap());
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        if !["B", "E"].contains(&ph) {
            assert!(["M", "C"].contains(&ph), "{event}");
            continue;
        }
        let before = last.insert(track, at).unwrap_or(0.0);
        assert!(at >= before, "times go back: {event}");
        let stack = open.entry(track).or_default();
        if ph == "B" {
            stack.push((event["name"].as_str().unwrap().to_owned(), at));
            continue;
        }
        let (name, begin) = stack.pop().expect("what ends has begun");
        let millis = |time: f64| (time / 1e3).round() as u64;
        slices.push((track.0, track.1, name, millis(begin), millis(at), stack.len()));
    }
    assert!(open.values().all(Vec::is_empty), "what begins ends");
    slices.sort();
    slices
}

/// The tracks of a trace, by name: their ids.
fn tracks(trace: &Value) -> BTreeMap<(u64, String), u64> {
    let events = trace["traceEvents"].as_array().unwrap().iter();
    let names = events.filter(|event| event["name"] == "thread_name");
    let track = |event: &Value| {
        let name = event["args"]["name"].as_str().unwrap().to_owned();
        ((event["pid"].as_u64().unwrap(), name), event["tid"].as_u64().unwrap())
    };
    names.map(track).collect()
}

#[test]
fn a_trace_nests_and_does_not_bridge_gaps() {
    let (_folder, path) = written(&known::recording(), "trace.json");
    let trace = read(&path);
    let tracks = tracks(&trace);
    let slices = slices(&trace);
    let of = |pid: u64, name: &str| {
        let track = tracks[&(pid, name.to_owned())];
        let of_track = slices.iter().filter(|slice| (slice.0, slice.1) == (pid, track));
        let mut told: Vec<_> = of_track
            .map(|(.., name, begin, end, depth)| (*begin, *end, *depth, name.split(" (").next().unwrap()))
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(
        of(4242, "MainThread (thread 100)"),
        [
            (0, 60, 1, "Job.run"),
            (0, 60, 2, "loads"),
            (0, 100, 0, "<module>"),
            (60, 100, 1, "Job.run"),
            (120, 150, 0, "<module>"),
        ]
    );
    assert_eq!(
        of(4242, "MainThread (thread 100): state"),
        [
            (0, 60, 0, "runs Python"),
            (60, 100, 0, "runs native code"),
            (120, 150, 0, "sleeps"),
            (150, 170, 0, "runs without the GIL")
        ]
    );
    assert_eq!(of(4242, "GIL"), [(0, 100, 0, "MainThread"), (100, 140, 0, "worker-1")]);
    assert_eq!(of(4242, "garbage collection"), [(100, 130, 0, "worker-1")]);
    assert_eq!(of(4343, "GIL"), [(130, 200, 0, "MainThread")]);
    let counted = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "C");
    let counted: Vec<_> = counted
        .map(|event| {
            (
                event["pid"].as_u64().unwrap(),
                event["ts"].as_f64().unwrap() / 1e3,
                event["args"]["threads"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(counted, [(4242, 0.0, 1), (4242, 40.0, 0), (4242, 80.0, 1), (4242, 100.0, 0)]);
}

#[test]
fn another_reader_of_traces_imports_what_was_sampled() {
    let Some(packages) = npm() else { return };
    let (_folder, path) = written(&known::recording(), "trace.json");
    let group = import(&packages, &path);
    let mut totals = Totals::new();
    for profile in group["profiles"].as_array().unwrap() {
        let name = profile["name"].as_str().unwrap();
        let pid = if name.contains("(pid 4242)") { 4242 } else { 4343 };
        assert!(name.contains(if pid == 4242 { "main.py" } else { "poller" }), "{name}");
        let thread = ["MainThread", "worker-1"].into_iter().find(|thread| name.contains(&format!(", {thread} (")));
        let Some(thread) = thread.filter(|_| !name.contains(": state")) else { continue };
        for (stack, samples) in imported(profile, PERIOD.as_micros() as f64) {
            // It adds the arguments to the names.
            let names = stack.iter().map(|name| name.split(" (").next().unwrap().to_owned()).collect();
            *totals.entry((pid, thread.into(), names)).or_default() += samples;
        }
    }
    assert_eq!(totals, expected(|function, _| function.into()));
}

#[test]
fn json_lines_keep_their_schema() {
    let Some(packages) = npm() else { return };
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json-lines.schema.json");
    for recording in [known::recording(), known::hostile_recording(), Recipe::new().recording()] {
        let (_folder, path) = written(&recording, "jsonl");
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(validate(&schema, &path, &packages), format!("{lines}\n"));
    }
}

#[test]
fn the_example_for_jq_counts_innermost_functions() {
    if !there("jq", is_program("jq")) {
        return;
    }
    let source = include_str!("../src/export/json_lines.rs");
    let example: String = source
        .lines()
        .skip_while(|line| !line.contains("jq -rn '"))
        .take_while(|line| !line.ends_with("```"))
        .map(|line| line.trim_start_matches("//!").replace("profile.jsonl", "\"$1\""))
        .collect();
    let (_folder, path) = written(&known::recording(), "jsonl");
    let told = output(Command::new("sh").args(["-c", &example, "sh"]).arg(&path));
    let mut counts: Vec<_> = told.lines().map(|line| line.split_once(' ').unwrap()).collect();
    counts.sort_unstable_by_key(|(_, name)| *name);
    let own = by_function().into_iter().filter(|(_, own, _)| *own > 0);
    let own: Vec<_> = own.map(|(name, own, _)| ((own / 10).to_string(), name)).collect();
    assert_eq!(counts.iter().map(|(count, name)| (count.to_string(), name.to_string())).collect::<Vec<_>>(), own);
}

/// A recording at random, and how often each stack is in it.
fn random(seed: u64) -> (Literal, BTreeMap<Vec<String>, u64>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut recipe = Recipe::new();
    let processes: Vec<_> = (0..random.u32(1..3)).map(|id| recipe.process(100 + id, &["python3"])).collect();
    let threads: Vec<_> = (0..random.u32(1..5))
        .map(|id| recipe.thread(random.choice(&processes).unwrap().0, &format!("t{id}")))
        .collect();
    let mut totals = BTreeMap::new();
    for slot in 0..random.u32(1..60) {
        for &thread in &threads {
            if random.u8(..4) == 0 {
                continue;
            }
            // Few functions, so that stacks share much, and recursion is common.
            let stack: Vec<_> =
                (0..random.u32(..6)).map(|_| (["a", "b", "<c>"][random.usize(..3)], random.u32(1..3))).collect();
            let state = random.choice(ThreadState::ALL).unwrap();
            recipe.sample_in(thread, slot, &stack, state, random.choice(GilState::ALL).unwrap());
            if !stack.is_empty() {
                *totals.entry(stack.iter().map(|(name, _)| name.to_string()).collect()).or_default() += 1;
            }
        }
    }
    (recipe.recording(), totals)
}

#[test]
fn every_format_has_the_same_totals() {
    const RECORDINGS: u64 = 40;
    let python = common::ordinary();
    let folder = tempfile::tempdir().unwrap();
    let (mut paths, mut expected) = (Vec::new(), Vec::new());
    for seed in 0..RECORDINGS {
        let (recording, totals) = random(seed);
        let lines = if seed % 2 == 0 { Lines::Running } else { Lines::First };
        for (ending, write) in FORMATS {
            let path = folder.path().join(format!("{seed}.{ending}"));
            let mut out = Vec::new();
            write(&recording, &Labels { lines, ..Labels::default() }, &mut out).unwrap();
            fs::write(&path, out).unwrap();
            paths.push(path);
            expected.push(match ending {
                "pstats" => totals.iter().fold(BTreeMap::new(), |mut own, (stack, samples)| {
                    *own.entry(vec![stack.last().unwrap().clone()]).or_default() += samples;
                    own
                }),
                _ => totals.clone(),
            });
        }
    }
    let told = output(python.command().arg(script("totals.py")).args(&paths));
    let told: Vec<Vec<(Vec<String>, u64)>> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), expected.len());
    for ((told, expected), path) in told.into_iter().zip(expected).zip(paths) {
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{}", path.display());
    }
}

#[test]
fn a_full_disk_is_told_by_every_format() {
    /// A disk with room for so many bytes.
    struct Disk(usize);
    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (ending, write) in FORMATS {
        let mut whole = Vec::new();
        write(&known::recording(), &Labels::default(), &mut whole).unwrap();
        for room in [0, whole.len() / 2, whole.len() - 1] {
            let error = write(&known::recording(), &Labels::default(), &mut Disk(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{ending}, {room}");
        }
    }
}

/// The names of a hostile recording as they are shown.
fn shown() -> Vec<String> {
    let shown = known::hostile().into_iter().map(|name| printable(&name).into_owned());
    shown.map(|name| if name.is_empty() { "?".into() } else { name }).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn hostile_names_stay_data_in_json() {
    let (recording, shown) = (known::hostile_recording(), shown());

    let (_folder, path) = written(&recording, "firefox.json");
    let shared = &read(&path)["shared"];
    let functions = shared["funcTable"]["name"].as_array().unwrap();
    let functions: Vec<_> = functions.iter().map(|at| &shared["stringArray"][at.as_u64().unwrap() as usize]).collect();
    assert_eq!(functions, shown.iter().map(|name| name.as_str()).collect::<Vec<_>>());

    let (_folder, path) = written(&recording, "speedscope.json");
    let profile = read(&path);
    let labels: Vec<&str> =
        profile["shared"]["frames"].as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap()).collect();
    assert_eq!(labels.len(), shown.len());
    assert!(labels.iter().all(|label| label.ends_with(".py:2)")), "{labels:?}");
    assert_eq!(profile["profiles"].as_array().unwrap().len(), shown.len());

    let (_folder, path) = written(&recording, "trace.json");
    let mut slices: Vec<_> = slices(&read(&path)).into_iter().map(|slice| slice.2).collect();
    slices.retain(|name| name.ends_with(".py:2)"));
    assert_eq!(slices.len(), shown.len());

    // A program reads them as they are.
    let (_folder, path) = written(&recording, "jsonl");
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let frames = lines.iter().filter(|line| line["type"] == "frame");
    assert_eq!(frames.map(|frame| frame["function"].as_str().unwrap()).collect::<Vec<_>>(), known::hostile());
}

#[test]
fn hostile_names_stay_data_for_pstats_and_pprof() {
    let (recording, mut shown) = (known::hostile_recording(), shown());
    shown.sort();

    let (_folder, path) = written(&recording, "pstats");
    let told = output(common::ordinary().command().arg(script("stats.py")).arg(&path));
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut told: Vec<_> = told.as_array().unwrap().iter().map(|of| of[0][2].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, shown);

    if there("go", is_program("go")) {
        let (_folder, path) = written(&recording, "pb.gz");
        let told = output(Command::new("go").args(["tool", "pprof", "-raw"]).arg(path));
        assert!(shown.iter().all(|name| told.contains(name)), "{told}");
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    }
}
