//! Families: every process of real programs and of pools is seen, with what it does, those that live 80 ms included; nothing
//! is left behind; the command's exit status is kept. Children say themselves who they are and for how long they lived.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use common::recording::{Recorded, Recording};
use common::{Kind, Running, kind, one_of_each, ordinary, printed, pysample, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// One test at a time: the machine is busy enough with the processes of one.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Samples by process id and innermost function.
type Seen = BTreeMap<u32, BTreeMap<String, u64>>;

fn seen(recorded: &Recorded) -> Seen {
    let mut seen = Seen::new();
    for (stack, count) in recorded.stacks() {
        let frames: Vec<&str> = stack.split(';').collect();
        let pid = frames[0].rsplit_once("(pid ").and_then(|(_, rest)| rest.strip_suffix(')'));
        let pid = pid.unwrap_or_else(|| panic!("the root is a process: {stack}")).parse().expect("a process id");
        let leaf = frames[frames.len() - 1].split(" (").next().expect("a function").to_owned();
        *seen.entry(pid).or_default().entry(leaf).or_default() += count;
    }
    seen
}

/// What `heavy` and `light` of `rounds.py` have in some processes. By construction they are 3 to 1.
fn is_three_to_one(seen: &Seen, pids: &[u32]) {
    let count = |function: &str| pids.iter().filter_map(|pid| seen.get(pid)?.get(function)).sum::<u64>();
    let (heavy, light) = (count("heavy"), count("light"));
    let share = heavy as f64 / (heavy + light).max(1) as f64;
    // Samples within a round are not independent, nor is who waits for a processor for long; and there may be few: four
    // standard deviations and some.
    let slack = 0.1 + 4.0 * (0.75 * 0.25 / (heavy + light).max(1) as f64).sqrt();
    assert!(heavy + light >= 30, "{seen:?}");
    assert!((share - 0.75).abs() < slack, "heavy has {share:.2} of {}: {seen:?}", heavy + light);
}

fn pids_in(json: &Value) -> Vec<u32> {
    json.as_array().expect("an array").iter().map(|pid| pid.as_u64().expect("a process id") as u32).collect()
}

/// `pysample record -s ... -- COMMAND`, to collapsed stacks in a file.
struct Profiled {
    recording: Recording,
    profile: PathBuf,
    _folder: TempDir,
}

impl Profiled {
    fn start(arguments: &[&str], command: &mut Command) -> Profiled {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = folder.path().join("profile.txt");
        let mut whole = Command::new(env!("CARGO_BIN_EXE_pysample"));
        whole.args(["record", "-s", "-o"]).arg(&profile).args(arguments).arg("--");
        whole.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            whole.env(name, value.expect("it is set"));
        }
        Profiled { recording: Recording::run(&mut whole), profile, _folder: folder }
    }

    /// What the command printed, and the recording.
    fn end(self) -> (String, Recorded) {
        let recorded = self.recording.end();
        let profile = std::fs::read_to_string(&self.profile).unwrap_or_else(|e| panic!("{e}: {}", recorded.told));
        (recorded.profile.clone(), Recorded { profile, ..recorded })
    }
}

fn program(kind: &Kind, name: &str, arguments: &[&str]) -> Command {
    let mut command = kind.command();
    command.arg(common::programs().join(name)).args(arguments);
    command
}

#[test]
fn every_worker_of_a_pool_is_seen_by_whatever_method_it_is_started() {
    let _alone = alone();
    for method in ["fork", "spawn", "forkserver"] {
        let (printed, recorded) =
            Profiled::start(&["-r", "100", "--max-pause", "100"], &mut program(ordinary(), "pools.py", &[method]))
                .end();
        assert_eq!(recorded.status.code(), Some(3), "{}", recorded.told);
        let pids = pids_in(&serde_json::from_str(printed.trim()).expect("JSON"));
        assert_eq!(pids.len(), 3, "{printed}");
        let seen = seen(&recorded);
        assert!(pids.iter().all(|pid| seen.contains_key(pid)), "{method}: {pids:?} {seen:?}");
        is_three_to_one(&seen, &pids);
        assert!(recorded.told.contains("until it and its Python descendants had ended"), "{}", recorded.told);
    }
}

#[test]
fn the_workers_of_a_server_that_forks_them_beforehand_are_seen_on_every_version() {
    let _alone = alone();
    for kind in one_of_each().filter(|kind| kind.root.is_none()) {
        let mut server = kind.start("prefork.py", &["2"]);
        let pids = pids_in(&server.json());
        let recorded = Recorded::of(server.pid(), &["-s", "-d", "1", "-r", "100", "--max-pause", "100"]);
        let seen = seen(&recorded);
        assert!(pids.iter().all(|pid| seen.contains_key(pid)), "{}: {pids:?} {seen:?}", kind.kind);
        is_three_to_one(&seen, &pids);
        assert!(recorded.told.contains("  processes   3, for "), "{}: {}", kind.kind, recorded.told);
        assert_eq!(server.end().code(), Some(7));
    }
}

/// A server with two workers.
fn server() -> (Running, Vec<u32>) {
    let mut server = ordinary().start("prefork.py", &["2"]);
    let pids = pids_in(&server.json());
    (server, pids)
}

/// Far more than there are processors, so that all that is taken is taken from them.
#[test]
fn a_family_is_sampled_as_often_as_one_in_a_hundred_of_the_processors_allows_and_all_of_it_alike() {
    let _alone = alone();
    let allowed = pysample::target::machine::processors();
    let workers = (4.0 * allowed).ceil();
    let mut server = ordinary().start("prefork.py", &[&workers.to_string()]);
    let pids = pids_in(&server.json());
    let recorded = Recorded::of(server.pid(), &["-s", "-i", "-r", "1000", "--max-cpu", "5", "-d", "4"]);
    is_alike(&recorded, &pids);
    let recorded = Recorded::of(server.pid(), &["-s", "-i", "-d", "12"]);
    assert_eq!(server.end().code(), Some(7));
    is_alike(&recorded, &pids);
    assert_eq!(
        recorded.lines_with("so as to use about 1 % of the processors, as none is known to be idle: -r RATE"),
        1,
        "{}",
        recorded.told
    );
    let own =
        recorded.told.lines().find_map(|line| line.trim().strip_prefix("own CPU")?.trim().strip_suffix("% of a core"));
    let own: f64 = own.and_then(|own| own.split_once(": ")?.1.trim().parse().ok()).expect("it is told");
    // To find the processes and to read what is in them comes on top of it, once.
    assert!(own < 3.0 * allowed + 5.0, "{}", recorded.told);
}

/// Samples were left out, and of each process as many as of any other.
fn is_alike(recorded: &Recorded, pids: &[u32]) {
    assert!(recorded.status.success() && recorded.told.contains("left out for --max-cpu"), "{}", recorded.told);
    let seen = seen(recorded);
    let samples: Vec<u64> = pids.iter().map(|pid| seen.get(pid).map_or(0, |leaves| leaves.values().sum())).collect();
    let (least, most) = (*samples.iter().min().unwrap(), *samples.iter().max().unwrap());
    // They join one after the other, and samples are late now and then.
    assert!(least >= 4 && most <= 2 * least + 6, "{samples:?}: {}", recorded.told);
}

#[test]
fn a_dump_shows_every_process_and_whose_child_each_is() {
    let _alone = alone();
    let (server, pids) = server();
    let pid = server.pid().to_string();
    let told: Value = serde_json::from_str(&printed(&["dump", "-s", "-j", "--pid", &pid])).expect("JSON");
    let processes = told["processes"].as_array().expect("an array");
    let whose: BTreeMap<u64, Option<u64>> =
        processes.iter().map(|it| (it["pid"].as_u64().expect("a pid"), it["parent"].as_u64())).collect();
    let root = u64::from(server.pid());
    let expected = pids.iter().map(|&pid| (u64::from(pid), Some(root))).chain([(root, None)]).collect();
    assert_eq!(whose, expected);
    let functions = processes[1]["interpreters"][0]["threads"][0]["frames"].to_string();
    assert!(functions.contains("\"worker\""), "{functions}");
    let text = printed(&["dump", "-s", "--pid", &pid]);
    assert_eq!(text.lines().filter(|line| line.starts_with("Process ")).count(), 3, "{text}");
}

#[test]
fn the_gil_of_each_process_is_told_apart() {
    let _alone = alone();
    let (server, pids) = server();
    let told = printed(&["gil", "-s", "-j", "-d", "1", "--pid", &server.pid().to_string()]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let held: BTreeMap<u32, f64> = told["gils"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|gil| (gil["pid"].as_u64().expect("a pid") as u32, gil["held"]["share"].as_f64().expect("a share")))
        .collect();
    assert_eq!(held.keys().copied().collect::<BTreeSet<_>>(), pids.iter().copied().chain([server.pid()]).collect());
    // Workers compute all the time, and the server waits.
    assert!(pids.iter().all(|pid| held[pid] > 0.8) && held[&server.pid()] < 0.2, "{held:?}");
}

#[test]
fn threads_and_code_that_are_not_wanted_are_left_out_and_counted() {
    let _alone = alone();
    let (server, pids) = server();
    let leaves = |arguments: &[&str]| {
        let recorded = Recorded::of(server.pid(), &[&["-s", "-i", "-d", "0.5", "-r", "100"], arguments].concat());
        let functions: BTreeSet<String> = seen(&recorded).into_values().flatten().map(|(leaf, _)| leaf).collect();
        (functions, recorded)
    };
    let (all, recorded) = leaves(&[]);
    let has = |functions: &BTreeSet<String>, name: &str| functions.iter().any(|leaf| leaf.contains(name));
    assert!(has(&all, "heavy") && has(&all, "end_with") && has(&all, "serve"), "{all:?}");
    assert!(!recorded.told.contains("  left out "), "{}", recorded.told);
    let (helpers, recorded) = leaves(&["--thread", "help*"]);
    assert!(!has(&helpers, "heavy") && has(&helpers, "end_with") && !has(&helpers, "serve"), "{helpers:?}");
    assert!(recorded.told.contains(" stacks of other threads\n"), "{}", recorded.told);
    let (main, _) = leaves(&["--main-thread"]);
    assert!(has(&main, "heavy") && !has(&main, "end_with") && has(&main, "serve"), "{main:?}");
    let (one, _) = leaves(&["--thread", &pids[0].to_string(), "--exclude", "light"]);
    assert!(has(&one, "heavy") && !has(&one, "light") && !has(&one, "serve"), "{one:?}");
    let (rest, recorded) = leaves(&["--exclude", "rounds"]);
    assert!(!has(&rest, "heavy") && has(&rest, "serve"), "{rest:?}");
    assert!(recorded.told.contains(" stacks for --exclude\n"), "{}", recorded.told);
    let worker = pids[0].to_string();
    let told: Value = serde_json::from_str(&printed(&["dump", "-j", "--thread", "helper", "--pid", &worker])).unwrap();
    let names: Vec<&Value> =
        told["interpreters"][0]["threads"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(names == ["helper"] && told["left_out"] == 1, "{told}");
}

#[test]
fn a_shell_that_starts_python_later_is_recorded_and_its_exit_status_kept() {
    let _alone = alone();
    let python = ordinary().command[0].clone();
    let script = format!("sh -c '{python} -c \"import time; time.sleep(0.3)\"'; exit 5");
    let (_, recorded) = Profiled::start(&["-i"], Command::new("sh").args(["-c", &script])).end();
    assert_eq!(recorded.status.code(), Some(5), "{}", recorded.told);
    assert!(recorded.told.contains("  processes   1, for "), "{}", recorded.told);
    assert_eq!(seen(&recorded).len(), 1, "{}", recorded.profile);
}

#[test]
fn a_program_that_executes_a_shell_that_runs_python_is_followed() {
    let _alone = alone();
    let python = ordinary().command[0].clone();
    let inner = format!("{python} -c 'import time; time.sleep(0.3)'; exit 6");
    let outer = format!("import os, time; time.sleep(0.2); os.execvp('sh', ['sh', '-c', {inner:?}])");
    let (_, recorded) = Profiled::start(&["-i"], Command::new(&python).args(["-c", &outer])).end();
    assert_eq!(recorded.status.code(), Some(6), "{}", recorded.told);
    assert!(recorded.told.contains("  processes   2, for "), "{}", recorded.told);
}

/// A recording of `background.py`, which puts a server into the background.
struct Background {
    profiled: Profiled,
    folder: TempDir,
}

impl Background {
    fn start(how: &str, arguments: &[&str]) -> Background {
        Background::start_by(arguments, |folder| program(ordinary(), "background.py", &[how, folder]))
    }

    /// By a shell that ends at once.
    fn start_by_shell(arguments: &[&str]) -> Background {
        Background::start_by(arguments, |folder| {
            let python = program(ordinary(), "background.py", &["leave", folder]);
            let mut shell = Command::new("sh");
            shell.args(["-c", "\"$@\" & exit 5", "sh"]).arg(python.get_program()).args(python.get_args());
            shell
        })
    }

    fn start_by(arguments: &[&str], command: impl FnOnce(&str) -> Command) -> Background {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(folder.path().to_str().expect("a name in UTF-8"));
        Background { profiled: Profiled::start(arguments, &mut command), folder }
    }

    /// The id of the server, once it runs.
    fn server(&self) -> u32 {
        let path = self.folder.path().join("pid");
        wait_until("the server runs", || path.exists());
        fs::read_to_string(path).expect("it can be read").parse().expect("a process id")
    }

    /// Waits until its command has ended and somebody is sampled who lives on.
    fn is_sampled(&self) {
        let path = self.folder.path().join("left");
        wait_until("the command has left", || path.exists());
        self.profiled.recording.has_read(50);
    }

    fn end_server(&self) {
        fs::write(self.folder.path().join("done"), "").expect("it can be written");
    }
}

#[test]
fn a_server_that_puts_itself_into_the_background_is_recorded_on() {
    let _alone = alone();
    is_recorded_on(Background::start("leave", &["-r", "100"]), 3);
    is_recorded_on(Background::start_by_shell(&["-r", "100"]), 5);
}

fn is_recorded_on(background: Background, status: i32) {
    let server = background.server();
    background.is_sampled();
    background.end_server();
    let (_, recorded) = background.profiled.end();
    assert_eq!(recorded.status.code(), Some(status), "{}", recorded.told);
    assert!(seen(&recorded).get(&server).is_some_and(|seen| seen.contains_key("serve")), "{}", recorded.profile);
    assert!(recorded.told.contains("until it and its Python descendants had ended"), "{}", recorded.told);
}

#[test]
fn a_server_in_the_background_outlives_its_recording() {
    let _alone = alone();
    let background = Background::start("leave", &["-r", "100"]);
    let server = background.server();
    background.is_sampled();
    background.profiled.recording.signal(Signal::SIGINT);
    let done = background.folder.path().join("done");
    let (_, recorded) = background.profiled.end();
    let lives = || fs::read_to_string(format!("/proc/{server}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(lives(), "{}", recorded.told);
    assert_eq!(recorded.status.code(), Some(3), "{}", recorded.told);
    assert!(seen(&recorded).contains_key(&server), "{}", recorded.profile);
    fs::write(done, "").expect("it can be written");
    wait_until("the server ends by itself", || !lives());
}

#[test]
fn a_child_that_pysample_had_before_it_ran_the_command_is_not_of_the_family() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = program(ordinary(), "background.py", &["stay", folder.path().to_str().expect("a name in UTF-8")]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$1\" \"$2\" \"$3\" \"$4\" & shift 4; exec \"$@\"", "sh"]);
    shell.arg(stranger.get_program()).args(stranger.get_args());
    shell.args([env!("CARGO_BIN_EXE_pysample"), "record", "-s", "-i", "-f", "collapsed", "-o", "-", "--"]);
    shell.arg(ordinary().command().get_program()).args(["-c", "import time; time.sleep(0.5); raise SystemExit(5)"]);
    let recording = Recording::run(&mut shell);
    recording.has_told("until it and its Python descendants had ended");
    // What holds the pipes open.
    fs::write(folder.path().join("done"), "").expect("it can be written");
    let recorded = recording.end();
    assert_eq!(recorded.status.code(), Some(5), "{}", recorded.told);
    assert!(recorded.told.contains("  processes   1, for "), "{}", recorded.told);
}

#[test]
fn a_server_in_the_background_that_ends_is_gone_though_its_command_runs_on_and_when_the_recording_is_over_too() {
    let _alone = alone();
    let cases: [(&[&str], Option<&str>); 2] = [(&[], None), (&["-d", "0.2"], Some("until the time was up"))];
    for (arguments, told) in cases {
        let background = Background::start("stay", arguments);
        background.server();
        told.into_iter().for_each(|told| background.profiled.recording.has_told(told));
        background.end_server();
        // The command waits until there is no such process any more.
        let (_, recorded) = background.profiled.end();
        assert_eq!(recorded.status.code(), Some(3), "{arguments:?}: {}", recorded.told);
    }
}

#[test]
fn a_command_without_any_python_is_told_as_such() {
    let _alone = alone();
    let (_, recorded) = Profiled::start(&[], Command::new("sh").args(["-c", "sh -c 'exit 4'; exit 4"])).end();
    assert_eq!(recorded.status.code(), Some(4));
    assert!(recorded.told.contains("was never seen running Python"), "{}", recorded.told);
}

#[test]
fn a_family_in_which_nobody_runs_python_ends_as_a_process_that_does_not() {
    let _alone = alone();
    let mut shell =
        Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().expect("there is a shell");
    let pid = shell.id().to_string();
    let family = ["-s", "-d", "0.2", "--pid", &pid];
    for command in [&["record", "-f", "collapsed", "-o", "-"][..], &["gil"], &["top", "--json"]] {
        let output = pysample(&[command, &family].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{command:?}: {told}");
        assert!(told.contains("runs no Python, nor does a descendant of it"), "{command:?}: {told}");
    }
    drop(shell.stdin.take());
    assert!(shell.wait().expect("our child").success());
}

#[test]
fn the_python_descendants_of_a_master_that_is_none_are_offered() {
    let _alone = alone();
    let script = format!("{} {} 1; true", ordinary().command[0], common::programs().join("prefork.py").display());
    let mut master = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut line = [0; 1];
    // The line that says that all workers work.
    master.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("a line");
    let pid = master.id().to_string();
    for command in ["dump", "record", "gil"] {
        let refused = pysample(&[command, "--pid", &pid]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(4), "{told}");
        assert!(told.contains("(prefork.py)") && told.contains("-s for all"), "{told}");
    }
    let doctor = pysample(&["doctor", "--pid", &pid]);
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(4), "{told}");
    assert!(told.contains("(prefork.py)") && told.contains("-s for all"), "{told}");
    let recorded = Recorded::of(master.id(), &["-s", "-d", "0.5"]);
    assert!(recorded.told.contains("  processes   2, for "), "{}", recorded.told);
    drop(master.stdin.take());
    assert!(master.wait().expect("our child").success());
}

#[test]
fn a_child_that_cannot_be_read_costs_that_child_only_and_is_told() {
    let _alone = alone();
    let Some(old) = common::all_kinds().iter().find(|kind| !kind.supported) else { return };
    let sleep = "import time; time.sleep(0.5)";
    let script = format!("{0} -c '{sleep}' & {1} -c '{sleep}'; wait; exit 8", old.command[0], ordinary().command[0]);
    let (_, recorded) = Profiled::start(&["-i"], Command::new("sh").args(["-c", &script])).end();
    assert_eq!(recorded.status.code(), Some(8), "{}", recorded.told);
    assert!(recorded.told.contains("  processes   1, for "), "{}", recorded.told);
    assert!(recorded.told.contains("which is not supported"), "{}", recorded.told);
}

/// 30 processes of 4 threads, three files each, and one more.
#[test]
fn living_processes_are_recorded_on_where_fewer_files_may_be_open_than_they_have_threads() {
    let _alone = alone();
    for limit in [64, 128] {
        let mut server = ordinary().start("sleepers.py", &["30", "3"]);
        server.json();
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_pysample")]);
        command.args(["record", "-s", "-i", "-r", "20", "-f", "collapsed", "-o", "-", "--pid"]);
        let recording = Recording::run(command.arg(server.pid().to_string()));
        recording.has_samplers(31);
        recording.has_read(200);
        let recorded = recording.stop();
        assert!(recorded.status.success() && recorded.told.contains("until it was stopped"), "{}", recorded.told);
        assert!(recorded.told.contains("  processes   31, for "), "{limit}: {}", recorded.told);
        // Those that could not be looked at at first were, later.
        assert!(!recorded.told.contains("not read"), "{limit}: {}", recorded.told);
        assert!(server.end().success());
    }
}

/// How many files and threads a process of pysample has, but for the threads that are begun when they are first needed: one
/// for all, and one of the mother's sampler.
fn holdings(pid: u32) -> (usize, usize) {
    let names = |what: &str| common::names(Path::new(&format!("/proc/{pid}/{what}")));
    let name = |tid: String| fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).ok();
    let threads: Vec<String> = names("task").into_iter().filter_map(name).collect();
    let number = |name: &str| threads.iter().filter(|thread| thread.trim_end() == name).count();
    (names("fd").len(), threads.len() - number("rescue") - number("herald").min(1))
}

/// Records while so many children live for 80 ms each, some at a time. At least 95 % must be seen of those that lived so
/// long by their own clocks, and nothing may be left of them.
fn short_lives(how: &str, number: usize, parallel: usize, arguments: &[&str]) {
    let mut mother = ordinary().start("births.py", &[how]);
    assert_eq!(mother.line(), "ready");
    let recording = Recording::start(mother.pid(), &[&["-s", "-i"], arguments].concat());
    recording.has_begun();
    let mut lives: Vec<(u32, f64)> = Vec::new();
    let mut batch = |number: usize| {
        mother.tell(&format!("{number} {parallel} 16\n"));
        for life in mother.json().as_array().expect("an array") {
            lives.push((life[0].as_u64().expect("a pid") as u32, life[1].as_f64().expect("seconds")));
        }
    };
    // What is opened once is open after the first.
    batch(parallel);
    let settled = |most: (usize, usize)| {
        wait_until("nothing is left of the children", || {
            let now = holdings(recording.pid());
            now.0 <= most.0 && now.1 <= most.1
        });
    };
    // The main thread, three for signals, the chief, the looker, and the sampler of the mother.
    const THREADS: usize = 7;
    settled((usize::MAX, THREADS));
    let before = holdings(recording.pid());
    batch(number);
    settled(before);
    let recorded = recording.stop();
    assert!(recorded.status.success(), "{}", recorded.told);
    let seen = seen(&recorded);
    let counted: Vec<u32> = lives.iter().filter(|(_, lived)| *lived >= 0.08).map(|(pid, _)| *pid).collect();
    // Where samples are left out one is taken early, which may be before it is in the function that it lives in.
    let is_spared = recorded.told.contains("left out for --max-cpu");
    let is_seen = |leaves: &BTreeMap<String, u64>| leaves.contains_key("live") || is_spared;
    let found = counted.iter().filter(|pid| seen.get(pid).is_some_and(is_seen)).count();
    assert!(counted.len() * 10 >= number * 9, "{} of {number} lived so long", counted.len());
    assert!(found * 100 >= counted.len() * 95, "{found} of {} were seen: {}", counted.len(), recorded.told);
}

#[test]
fn of_a_thousand_forks_that_live_80_ms_nearly_all_are_seen_and_nothing_is_left_of_them() {
    let _alone = alone();
    short_lives("fork", 1000, 6, &["--max-pause", "100"]);
}

#[test]
fn programs_that_live_80_ms_are_seen_too() {
    let _alone = alone();
    short_lives("spawn", 60, 2, &["-r", "100", "--max-pause", "100"]);
}

/// The interpreter that the real programs are installed for.
fn with_packages() -> Command {
    let path = std::env::join_paths([common::packages(), common::programs()]).expect("folders without colons");
    let mut command = kind("3.11-debian").command();
    command.env("PYTHONPATH", path);
    command
}

/// Asks a server over and over, some at a time, until two workers have each answered often. Their process ids.
fn ask_until_two_have_answered(socket: &Path) -> Vec<u32> {
    const OFTEN: usize = 40;
    wait_until("the server listens", || UnixStream::connect(socket).is_ok());
    let answers: Mutex<BTreeMap<u32, usize>> = Mutex::default();
    let is_enough = || answers.lock().unwrap().values().filter(|answers| **answers >= OFTEN).count() >= 2;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                wait_until("both workers have answered", || {
                    let pid = ask(socket);
                    *answers.lock().unwrap().entry(pid).or_default() += 1;
                    is_enough()
                });
            });
        }
    });
    answers.into_inner().unwrap().into_keys().collect()
}

/// Asks a server of `wsgi.py` once. The process that answered.
fn ask(socket: &Path) -> u32 {
    let mut connection = UnixStream::connect(socket).expect("the server listens");
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it takes a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    answer.lines().last().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no process id: {answer:?}"))
}

fn serves(arguments: impl Fn(&str) -> Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let mut command = with_packages();
    command.args(arguments(socket.to_str().expect("in UTF-8"))).env("HOME", folder.path());
    let profiled = Profiled::start(&["-r", "100", "--max-pause", "100"], &mut command);
    let pids = ask_until_two_have_answered(&socket);
    profiled.recording.signal(Signal::SIGTERM);
    let (_, recorded) = profiled.end();
    assert_eq!(recorded.status.code(), Some(0), "{}", recorded.told);
    let seen = seen(&recorded);
    assert!(pids.len() == 2 && pids.iter().all(|pid| seen.contains_key(pid)), "{pids:?}: {seen:?}");
    is_three_to_one(&seen, &pids);
}

#[test]
fn gunicorn_with_gevent_is_seen_in_all_of_its_workers() {
    let _alone = alone();
    serves(|socket| {
        let bind = format!("unix:{socket}");
        ["-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", &bind, "wsgi:application"].map(String::from).into()
    });
}

#[test]
fn uwsgi_is_seen_in_all_of_its_workers_though_it_forks_behind_pythons_back() {
    let _alone = alone();
    serves(|socket| {
        let script = common::programs().join("wsgi.py").display().to_string();
        let run = ["-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", socket, "--wsgi-file", &script];
        run.into_iter().chain(["--master", "-p", "2", "--die-on-term"]).map(String::from).collect()
    });
}

#[test]
fn celery_is_seen_in_all_of_its_workers() {
    const TASKS: usize = 30;
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = with_packages();
    command.args(["-m", "celery", "-A", "tasks", "worker", "-c", "2", "-l", "warning"]);
    command.args(["--without-gossip", "--without-mingle", "--without-heartbeat"]);
    command.env("TASKS_FOLDER", folder.path()).env("TASKS_NUMBER", TASKS.to_string()).env("HOME", folder.path());
    let profiled = Profiled::start(&["-r", "100", "--max-pause", "100"], &mut command);
    let done = folder.path().join("done");
    wait_until("all tasks are done", || done.exists() && common::names(&done).len() == TASKS);
    profiled.recording.signal(Signal::SIGTERM);
    let (_, recorded) = profiled.end();
    assert_eq!(recorded.status.code(), Some(0), "{}", recorded.told);
    let pid = |name: &String| name.split('-').next().and_then(|pid| pid.parse().ok()).expect("a process id");
    let pids: BTreeSet<u32> = common::names(&done).iter().map(pid).collect();
    let (seen, pids) = (seen(&recorded), pids.into_iter().collect::<Vec<_>>());
    assert!(pids.iter().all(|pid| seen.contains_key(pid)), "{pids:?}: {seen:?}");
    is_three_to_one(&seen, &pids);
}
