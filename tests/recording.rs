//! Own recordings as the program makes and reads them: cut short by force, by a full disk, by hand; converted, merged, told.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use common::recording::Recording;
use common::{Running, printed, pysample, wait_until};
use nix::sys::signal::Signal;
use pysample::recording::{Reader, Writer};
use pysample::sample::{
    Code, CodeId, Ending, Event, Frame, FrameId, GilHeld, GilSample, GilState, Header, Process, ProcessId, Replay,
    Sample, StackId, Tally, Thread, ThreadId, ThreadState, Tid, Wanted, Weight,
};
use serde_json::Value;
use tempfile::TempDir;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

fn spinning() -> Running {
    let mut target = common::ordinary().start("spin.py", &[]);
    assert_eq!(target.line(), "ready");
    target
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn spelled(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

fn report(path: &Path) -> Value {
    serde_json::from_str(&printed(&["report", "--json", spelled(path)])).expect("a report is JSON")
}

/// What went wrong, in pysample's words.
fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The counts of collapsed stacks.
fn count(text: &str) -> u64 {
    text.lines().map(|line| line.rsplit_once(' ').expect("a stack").1.parse::<u64>().expect("a count")).sum()
}

/// A recording of two threads, 100 samples of each, one that runs and one that sleeps.
fn write(path: &Path, pid: u32) {
    let (pysample, program) = ("0.1.0".into(), "app.py".into());
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let header = Header { pysample, program, started, rate: 100.0, wanted: Wanted::All };
    let mut writer = Writer::new(fs::File::create(path).expect("a file"), &header).expect("it can be written");
    let command = ["python3", "app.py"].map(String::from).into();
    let mut events = vec![Event::Process(
        ProcessId(0),
        Process { pid, own_pid: pid, parent: None, command, python: "3.13.0".into() },
    )];
    for (id, name) in (0..).zip(["main", "Worker.wait"]) {
        let thread_name = Some(["MainThread", "worker-1"][id as usize].into());
        let (process, os_thread_id) = (ProcessId(0), Some(Tid(pid + id)));
        events.extend([
            Event::Code(CodeId(id), Code { function: name.into(), file: "app.py".into(), first_line: 1 }),
            Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(3) }),
            Event::Stack { id: StackId(id), caller: None, frame: FrameId(id) },
            Event::Thread(
                ThreadId(id),
                Thread { process, interpreter: 0, os_thread_id, python_thread_id: 1, name: thread_name },
            ),
        ]);
    }
    for moment in 0..100 {
        let at = Duration::from_millis(10 * moment);
        let sample = |thread, state, gil| {
            Event::Sample(Sample {
                at,
                thread: ThreadId(thread),
                state,
                gil,
                stack: Some(StackId(thread)),
                weight: Weight::ONE,
            })
        };
        events.push(sample(0, ThreadState::RunsPython, GilState::Held));
        events.push(sample(1, ThreadState::Sleeps, GilState::NotHeld));
    }
    events.push(Event::Progress(Duration::from_secs(1), Tally { asked: 100, taken: 100, ..Tally::default() }));
    events.iter().for_each(|event| writer.take(event).expect("it can be written"));
    writer.finish(Ending::Duration).expect("it can be written");
}

fn written(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("a.pysample");
    write(&path, 42);
    path
}

#[test]
fn what_was_recorded_until_pysample_is_killed_is_in_the_file() {
    let (target, folder) = (spinning(), folder());
    let path = folder.path().join("run.pysample");
    let mut command = Command::new(PYSAMPLE);
    command.args(["record", "-r", "200", "-i", "-o", spelled(&path), "--pid", &target.pid().to_string()]);
    let recording = Recording::run(&mut command);
    let whole = || Reader::open(&path).is_ok_and(|reader| reader.events().any(|e| matches!(e, Ok(Event::Sample(_)))));
    wait_until("a sample is in the file", whole);
    recording.signal(Signal::SIGKILL);
    drop(recording);
    let told = report(&path);
    assert_eq!(told["ending"], Value::Null);
    assert!(told["stacks"].as_u64().is_some_and(|stacks| stacks > 0), "{told}");
    assert!(told["notes"][0].as_str().is_some_and(|note| note.starts_with("it has no end")), "{told}");
    let names = told["functions"].as_array().expect("a list").iter().filter_map(|function| function["name"].as_str());
    assert!(names.into_iter().any(|name| name.starts_with("middle (spin.py:")), "{told}");
    assert_eq!(told["processes"][0]["pid"], target.pid());
    assert!(target.end().success());
}

#[test]
fn a_full_disk_ends_a_recording_and_what_was_recorded_is_in_the_file() {
    let (target, folder) = (spinning(), folder());
    let path = folder.path().join("run.pysample");
    // Files may have a few KiB: blocks of 512 bytes or of 1 KiB, as the shell pleases.
    let script = "ulimit -f 8; exec \"$0\" record -r 500 -i -o \"$1\" --pid \"$2\"";
    let output = Command::new("sh")
        .args(["-c", script, PYSAMPLE, spelled(&path), &target.pid().to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    let told = complaint(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write") && told.contains("but for what came after"), "{told}");
    let report = report(&path);
    assert!(report["stacks"].as_u64().is_some_and(|stacks| stacks > 0) && report["ending"].is_null(), "{report}");
}

#[test]
fn a_recording_whose_file_was_removed_is_written_elsewhere() {
    let (target, folder, elsewhere) = (spinning(), folder(), folder());
    let path = folder.path().join("run.pysample");
    let mut command = Command::new(PYSAMPLE);
    command.args(["record", "-r", "200", "-o", spelled(&path), "--pid", &target.pid().to_string()]);
    let recording = Recording::run(command.env("TMPDIR", elsewhere.path()));
    wait_until("a sample is in the file", || {
        Reader::open(&path).is_ok_and(|reader| reader.events().any(|e| matches!(e, Ok(Event::Sample(_)))))
    });
    fs::remove_file(&path).expect("it is there");
    let recorded = recording.stop();
    assert_eq!(recorded.status.code(), Some(1), "{}", recorded.told);
    assert!(recorded.told.contains("it was removed while it was recorded"), "{}", recorded.told);
    let names = common::names(elsewhere.path());
    assert!(names.len() == 1 && names[0].starts_with("run-"), "{names:?}");
    assert!(recorded.told.contains(&format!("{}, instead of ", names[0])), "{}", recorded.told);
    let told = report(&elsewhere.path().join(&names[0]));
    assert_eq!((told["stacks"].as_u64(), &told["ending"]), (Some(recorded.account.stacks), &"stopped".into()));
}

#[test]
fn what_a_recording_has_is_what_its_account_says() {
    let (target, folder) = (spinning(), folder());
    let path = folder.path().join("run.pysample");
    let arguments = ["record", "-d", "1.5", "-i", "-o", spelled(&path), "--pid", &target.pid().to_string()];
    let output = pysample(&arguments);
    let account = complaint(&output);
    assert!(output.status.success(), "{account}");
    let report = report(&path);
    let stacks = report["stacks"].as_u64().expect("a number");
    assert!(stacks > 0 && account.contains(&format!("stacks      {stacks} of ")), "{account}\n{report}");
    assert_eq!(report["ending"], "duration");
    assert!(report["gils"][0]["looks"].as_u64().is_some_and(|looks| looks > 0), "{report}");
    assert_eq!(Some(count(&printed(&["convert", spelled(&path), "-o", "-"]))), report["slots"].as_u64());
    let text = printed(&["report", spelled(&path)]);
    let told: Vec<&str> = account.lines().filter(|line| line.starts_with("  stacks ")).collect();
    assert!(told.iter().all(|line| text.contains(line)) && text.contains("The GIL was held"), "{text}");
}

#[test]
fn a_command_that_is_no_python_makes_a_recording_of_nothing() {
    let folder = folder();
    let path = folder.path().join("run.pysample");
    let output = pysample(&["record", "-o", spelled(&path), "--", "true"]);
    assert!(output.status.success(), "{}", complaint(&output));
    let told = report(&path);
    assert_eq!((&told["stacks"], &told["ending"]), (&0.into(), &"never_python".into()));
    assert!(printed(&["report", spelled(&path)]).contains("No stacks are in it."));
}

#[test]
fn a_recording_goes_through_pipes() {
    let (target, folder) = (spinning(), folder());
    let pid = target.pid().to_string();
    let recorded = pysample(&["record", "-d", "0.5", "-i", "-f", "pysample", "-o", "-", "--pid", &pid]);
    assert!(recorded.status.success(), "{}", complaint(&recorded));
    let path = folder.path().join("piped.pysample");
    fs::write(&path, &recorded.stdout).expect("a file");
    let input = fs::File::open(&path).expect("a file");
    let output = Command::new(PYSAMPLE).args(["convert", "-", "-o", "-"]).stdin(input).output().expect("it runs");
    assert!(output.status.success(), "{}", complaint(&output));
    let slots = report(&path)["slots"].as_u64().expect("a number");
    assert_eq!(count(&String::from_utf8_lossy(&output.stdout)), slots);
}

#[test]
fn a_part_of_a_recording_is_converted_by_what_is_wanted_of_it() {
    let folder = folder();
    let path = written(&folder);
    let left = |arguments: &[&str]| printed(&[&["convert", spelled(&path), "-o", "-"], arguments].concat());
    assert_eq!(left(&[]), "Worker.wait (app.py:3) 100\nmain (app.py:3) 100\n");
    assert_eq!(left(&["--mode", "cpu"]), "main (app.py:3) 100\n");
    assert_eq!(left(&["--threads", "worker-*", "--from", "0.25", "--to", "0.5"]), "Worker.wait (app.py:3) 25\n");
    assert_eq!(left(&["--include", "Worker.*", "-t"]), "worker-1 (thread 43);Worker.wait (app.py:3) 100\n");
    assert_eq!(left(&["--exclude", "app.Worker.*", "-F"]), "main (app.py:1) 100\n");
    assert_eq!(left(&["--include", "nothing"]), "");
    // And a part that is a recording again.
    let part = folder.path().join("part.pysample");
    printed(&["convert", spelled(&path), "-o", spelled(&part), "--mode", "gil"]);
    assert_eq!(printed(&["convert", spelled(&part), "-o", "-"]), "main (app.py:3) 100\n");
    let refused = pysample(&["convert", spelled(&part), "-o", "-", "--mode", "wall"]);
    assert_eq!(refused.status.code(), Some(2), "{}", complaint(&refused));
    assert!(complaint(&refused).contains("it was recorded with --mode gil"), "{}", complaint(&refused));
}

/// The same recording as if pysample had been killed: without its end.
fn without_end(path: &Path) -> PathBuf {
    let killed = path.with_file_name("killed.pysample");
    let reader = Reader::open(path).expect("a recording");
    let mut writer =
        Writer::new(fs::File::create(&killed).expect("a file"), reader.header()).expect("it can be written");
    for event in reader.events() {
        writer.take(&event.expect("it is whole")).expect("it can be written");
    }
    writer.leave().expect("it can be written");
    killed
}

#[test]
fn what_is_made_of_a_recording_without_an_end_has_none_either() {
    let folder = folder();
    let path = written(&folder);
    let killed = without_end(&path);
    let made = folder.path().join("made.pysample");
    for arguments in [vec!["convert", spelled(&killed)], vec!["merge", spelled(&path), spelled(&killed)]] {
        let output = pysample(&[&arguments[..], &["-o", spelled(&made)]].concat());
        let told = complaint(&output);
        assert!(output.status.success() && told.contains("it has no end"), "{told}");
        assert!(told.contains(&format!("written: {}", made.display())), "{told}");
        assert_eq!(report(&made)["ending"], Value::Null);
        assert!(report(&made)["stacks"].as_u64() >= Some(200));
        fs::remove_file(&made).expect("a file");
    }
    for subcommand in ["diff", "check"] {
        let told = complaint(&pysample(&[subcommand, spelled(&path), spelled(&killed)]));
        assert!(told.contains(&format!("{}: it has no end", killed.display())), "{subcommand}: {told}");
    }
    // Its account is not known to be whole, so a flame graph does not show it.
    let svg = printed(&["convert", spelled(&killed), "-o", "-", "-f", "svg"]);
    assert!(svg.contains("200 stacks of 2 threads") && !svg.contains("errors"), "{svg}");
    assert!(svg.contains("its end is missing"), "{svg}");
    let lines = |path| printed(&["convert", spelled(path), "-o", "-", "-f", "jsonl"]);
    let last = |path| serde_json::from_str::<Value>(lines(path).lines().last().expect("a line")).expect("JSON");
    assert_eq!([last(&path), last(&killed)].map(|end| end["is_missing"].clone()), [Value::Null, Value::Bool(true)]);
    let page = |path| printed(&["convert", spelled(path), "-o", "-", "-f", "html"]);
    assert_eq!([&path, &killed].map(|path| page(path).contains("\"has_end\":false")), [false, true]);
}

#[test]
fn zeros_where_a_machine_went_down_cost_what_they_cover_only() {
    let folder = folder();
    let killed = without_end(&written(&folder));
    let whole = fs::read(&killed).expect("a file");
    fs::write(&killed, [&whole[..], &[0; 5000]].concat()).expect("a file");
    let told = report(&killed);
    assert_eq!(told["stacks"], 200, "{told}");
    assert!(told["notes"][0].as_str().is_some_and(|note| note.contains("5000 bytes at its end")), "{told}");
    // In the last block itself.
    let mut zeroed = whole.clone();
    let half = whole.len() - 20;
    zeroed[half..].fill(0);
    fs::write(&killed, zeroed).expect("a file");
    let told = report(&killed);
    assert!(told["notes"][0].as_str().is_some_and(|note| note.contains("bytes at its end")), "{told}");
}

#[test]
fn a_recording_is_nobody_elses_to_write_to_while_it_is_made() {
    let (target, folder) = (spinning(), folder());
    let (path, pid) = (folder.path().join("run.pysample"), target.pid().to_string());
    let mut command = Command::new(PYSAMPLE);
    command.args(["record", "-r", "200", "-i", "-o", spelled(&path), "--pid", &pid]);
    let recording = Recording::run(&mut command);
    wait_until("a sample is in the file", || report_of(&path).is_some());
    let second = pysample(&["record", "-d", "0.1", "-o", spelled(&path), "--pid", &pid]);
    let told = complaint(&second);
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("another pysample is recording to it"), "{told}");
    recording.signal(Signal::SIGTERM);
    wait_until("it has ended", || Reader::open(&path).is_ok_and(|reader| reader.ending() == Some(Ending::Stopped)));
    drop(recording);
    assert!(report(&path)["stacks"].as_u64().is_some_and(|stacks| stacks > 0));
}

/// The first sample in a file that is being written.
fn report_of(path: &Path) -> Option<Sample> {
    let reader = Reader::open(path).ok()?;
    reader.events().find_map(|event| match event {
        Ok(Event::Sample(sample)) => Some(sample),
        _ => None,
    })
}

#[test]
fn a_filter_that_leaves_nothing_says_so() {
    let folder = folder();
    let path = written(&folder);
    let output = pysample(&["convert", spelled(&path), "-o", "-", "--threads", "nosuch"]);
    let told = complaint(&output);
    assert!(told.contains("leaves out all 200 samples of 2 threads"), "{told}");
    assert!(printed(&["report", spelled(&path), "--from", "7"]).contains("leaves out all 200 samples"));
    assert!(complaint(&pysample(&["convert", spelled(&path), "-o", "-", "--threads", "worker-1"])).is_empty());
}

#[test]
fn threads_of_a_part_are_those_that_are_in_it() {
    let folder = folder();
    let path = written(&folder);
    let svg = printed(&["convert", spelled(&path), "-o", "-", "-f", "svg", "--threads", "worker-1"]);
    assert!(svg.contains("100 stacks of 1 thread "), "{svg}");
    assert!(printed(&["report", spelled(&path), "--threads", "worker-1"]).contains("100 of 1 thread,"));
}

#[test]
fn recordings_of_unlike_modes_are_not_compared() {
    let folder = folder();
    let path = written(&folder);
    let part = folder.path().join("part.pysample");
    printed(&["convert", spelled(&path), "-o", spelled(&part), "--mode", "cpu"]);
    for subcommand in ["diff", "check"] {
        let output = pysample(&[subcommand, spelled(&path), spelled(&part)]);
        let told = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("--mode wall, one with --mode cpu") && told.contains("convert IN --mode cpu"), "{told}");
        assert!(pysample(&[subcommand, spelled(&part), spelled(&part)]).status.success());
    }
}

#[test]
fn standard_input_is_called_by_its_name() {
    let folder = folder();
    let path = folder.path().join("a.txt");
    fs::write(&path, "main 3\n").expect("a file");
    for arguments in [&["report", "-"][..], &["diff", "-", spelled(&path)]] {
        let input = fs::File::open(&path).expect("a file");
        let output = Command::new(PYSAMPLE).args(arguments).stdin(input).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("standard input: 3 s"), "{told}");
    }
    assert!(complaint(&pysample(&["report", "-"])).contains("cannot read standard input: it is empty"));
}

/// The whole and a part of it are of one program that does the same all the time.
#[test]
fn by_time_a_part_takes_what_the_whole_takes() {
    let folder = folder();
    let path = written(&folder);
    let part = folder.path().join("part.pysample");
    printed(&["convert", spelled(&path), "-o", spelled(&part), "--from", "0.25", "--to", "0.75"]);
    let diff = printed(&["diff", "--json", "--by", "time", spelled(&path), spelled(&part)]);
    let diff: Value = serde_json::from_str(&diff).expect("JSON");
    assert_eq!((&diff["after"]["elapsed"], &diff["after"]["moments"]), (&0.5.into(), &50.into()), "{diff}");
    for function in diff["functions"].as_array().expect("a list") {
        assert_eq!(function["self"]["before"], function["self"]["after"], "{function}");
    }
}

#[test]
fn a_file_that_is_damaged_is_refused_before_anything_is_written() {
    let folder = folder();
    let path = written(&folder);
    let mut bytes = fs::read(&path).expect("a file");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("a file");
    let out = folder.path().join("out.txt");
    for arguments in [vec!["convert", spelled(&path), "-o", spelled(&out)], vec!["report", spelled(&path)]] {
        let output = pysample(&arguments);
        let told = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("cannot read {}: it is damaged", path.display())), "{told}");
    }
    assert!(!out.exists());
}

#[test]
fn a_file_that_is_no_recording_says_what_it_should_be() {
    let folder = folder();
    for (name, content, expected) in [
        ("a.txt", &b""[..], "it is empty"),
        ("b.txt", b"\x7fELF\0\0", "neither a recording of pysample nor collapsed stacks"),
        ("c.txt", b"main;f 3\nwhat is this?\n", "line 2"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        let output = pysample(&["report", spelled(&path)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint(&output).contains(expected), "{}", complaint(&output));
    }
    let missing = pysample(&["report", "/nonexistent/a.pysample"]);
    assert!(
        complaint(&missing).contains("cannot read /nonexistent/a.pysample: No such file"),
        "{}",
        complaint(&missing)
    );
}

#[test]
fn recordings_are_merged_and_processes_told_apart() {
    let folder = folder();
    let (a, b, all) =
        (folder.path().join("a.pysample"), folder.path().join("b.pysample"), folder.path().join("all.pysample"));
    write(&a, 42);
    write(&b, 77);
    printed(&["merge", spelled(&a), spelled(&b), "-o", spelled(&all)]);
    assert_eq!(
        printed(&["convert", spelled(&all), "-o", "-", "--mode", "cpu"]),
        "app.py (pid 42);main (app.py:3) 100\napp.py (pid 77);main (app.py:3) 100\n"
    );
    let told = report(&all);
    assert_eq!(
        (&told["stacks"], &told["account"]["taken"], &told["ending"]),
        (&400.into(), &200.into(), &"duration".into())
    );
    assert_eq!(told["processes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn collapsed_stacks_of_others_are_drawn_and_told() {
    let folder = folder();
    let (path, svg) = (folder.path().join("perf.folded"), folder.path().join("perf.svg"));
    fs::write(&path, "main;read_[k] 3\nmain;work (app.py:7) 5\n").expect("a file");
    printed(&["convert", spelled(&path), "-o", spelled(&svg), "--inverted", "--icicle"]);
    assert!(fs::read_to_string(&svg).expect("a file").contains("total_samples=\"8\""));
    let text = printed(&["report", spelled(&path)]);
    assert!(text.contains("62.5") && text.contains("work (app.py:7)"), "{text}");
    // It stays known that they were never sampled.
    let recording = folder.path().join("perf.pysample");
    printed(&["convert", spelled(&path), "-o", spelled(&recording)]);
    let refused = pysample(&["convert", spelled(&recording), "-o", "-", "--mode", "cpu"]);
    assert!(complaint(&refused).contains("collapsed stacks do not tell"), "{}", complaint(&refused));
}

#[test]
fn counts_of_thousands_of_millions_are_not_counted_one_by_one() {
    let folder = folder();
    let path = folder.path().join("waits.folded");
    // As microseconds of waiting are.
    fs::write(&path, "main;read 4000000000\nmain;work 5\n").expect("a file");
    let converted =
        |more: &[&str]| printed(&[&["convert", spelled(&path), "-f", "collapsed", "-o", "-"], more].concat());
    assert_eq!(converted(&[]), "main;read 4000000000\nmain;work 5\n");
    assert_eq!(converted(&["--include", "read"]), "main;read 4000000000\n");
}

#[test]
fn that_there_is_nothing_in_a_file_is_said() {
    let folder = folder();
    let (path, svg) = (folder.path().join("nothing.folded"), folder.path().join("nothing.svg"));
    fs::write(&path, "# of nothing\n").expect("a file");
    let told = complaint(&pysample(&["convert", spelled(&path), "-o", spelled(&svg)]));
    assert!(told.starts_with("pysample: warning: there are no samples in it\n") && svg.exists(), "{told}");
}

#[test]
fn a_report_fits_a_terminal() {
    let folder = folder();
    let path = written(&folder);
    let text = printed(&["report", spelled(&path)]);
    let tables: Vec<&str> = text.lines().skip_while(|line| !line.contains("self %")).collect();
    assert!(tables.len() > 8 && tables.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

/// After an intended change, `PYSAMPLE_BLESS=1` writes the golden files anew.
#[test]
fn a_report_cuts_files_rather_than_functions() {
    let folder = folder();
    let path = folder.path().join("long.txt");
    let deep = "deep/".repeat(20);
    fs::write(&path, format!("Application.Handler.dispatch ({deep}handlers.py:7) 3\n")).expect("a file");
    let text = printed(&["report", "--full-filenames", spelled(&path)]);
    assert!(text.contains("  Application.Handler.dispatch (…") && text.contains("p/handlers.py:7)"), "{text}");
    assert!(text.lines().filter(|line| line.contains("dispatch")).all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_report_is_as_it_was() {
    let folder = folder();
    let path = written(&folder);
    for (name, arguments) in [("report.txt", &["report", "-"][..]), ("report.json", &["report", "-", "--json"])] {
        let input = fs::File::open(&path).expect("a file");
        let output = Command::new(PYSAMPLE).args(arguments).stdin(input).output().expect("it runs");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("PYSAMPLE_BLESS").is_some() {
            fs::write(&golden, &output.stdout).expect("a file");
        }
        let golden = fs::read_to_string(golden).expect("a golden file");
        assert_eq!(String::from_utf8_lossy(&output.stdout), golden, "{name}");
    }
}

/// Two threads that have the GIL by turns, in blocks of 20 moments, before some of which others were left out. Returns what is in it.
fn write_contended(out: &mut Vec<u8>) -> Vec<Event> {
    let (pysample, program) = ("0.1.0".into(), "app.py".into());
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let header = Header { pysample, program, started, rate: 100.0, wanted: Wanted::All };
    let mut writer = Writer::new(out, &header).expect("it can be written");
    let mut events = Vec::new();
    let mut done = 0;
    for moment in 0..100_u32 {
        let at = Duration::from_millis(10 * u64::from(moment));
        let holder = moment / 3 % 2;
        let weight = Weight::after(if moment % 10 > 7 { u64::from(moment) } else { 0 });
        events.push(Event::Gil(GilSample {
            at,
            process: ProcessId(0),
            interpreter: 0,
            owner: 0,
            holder: if moment % 7 == 0 { GilHeld::Free } else { GilHeld::By(ThreadId(holder)) },
            switches: Some(u64::from(moment / 2)),
            interval: Some(Duration::from_millis(5)),
            is_collecting: moment % 11 == 0,
            holding: None,
            weight,
        }));
        for thread in (0..2).filter(|thread| *thread == holder || moment % 5 == 0) {
            let (state, gil) = match thread == holder {
                true => (ThreadState::RunsPython, GilState::Held),
                false => (ThreadState::WaitsForGil, GilState::NotHeld),
            };
            let stack = Some(StackId(moment % 4 + thread));
            events.push(Event::Sample(Sample { at, thread: ThreadId(thread), state, gil, stack, weight }));
        }
        if moment % 20 == 19 {
            events[done..].iter().for_each(|event| writer.take(event).expect("it can be written"));
            writer.flush().expect("it can be written");
            done = events.len();
        }
    }
    writer.finish(Ending::Duration).expect("it can be written");
    events
}

/// As the first versions have it: every moment stands for itself alone.
fn of_one_slot(event: Event) -> Event {
    match event {
        Event::Sample(sample) => Event::Sample(Sample { weight: Weight::ONE, ..sample }),
        Event::Gil(sample) => Event::Gil(GilSample { weight: Weight::ONE, ..sample }),
        other => other,
    }
}

/// A file that was written in any version of the format stays readable.
#[test]
fn a_recording_of_every_version_is_read() {
    let golden =
        |version: u8| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/version-{version}.pysample"));
    let mut bytes = Vec::new();
    let events = write_contended(&mut bytes);
    if std::env::var_os("PYSAMPLE_BLESS").is_some() {
        fs::write(golden(bytes[8]), &bytes).expect("a file");
    }
    for version in 1..=4 {
        let bytes = fs::read(golden(version)).expect("a golden file");
        assert_eq!(bytes[8..12], [version, 0, 0, 0]);
        let reader = Reader::from_bytes(bytes).expect("a recording");
        let read: Vec<Event> = reader.events().collect::<std::io::Result<_>>().expect("it is whole");
        let expected = events.iter().cloned().map(|event| if version < 4 { of_one_slot(event) } else { event });
        assert!(read == expected.collect::<Vec<_>>(), "version {version}");
        assert_eq!(reader.ending(), Some(Ending::Duration));
    }
}
