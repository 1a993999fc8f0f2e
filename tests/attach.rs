//! Attaching to what cannot be profiled, to what is hard to find, and to what changes in that very moment.
//!
//! Whatever it is: a documented exit status, an error in one line with the rule and the remedy, and a target that takes
//! no notice. Tests that need root fail in CI where they are not run as root, and elsewhere say that they are skipped.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{Kind, PATIENCE, wait_until};
use libtest_mimic::Arguments;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

/// Tells that it is ready and ends when its standard input is closed.
const READY: &str = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()";

type Test = fn(&Kind);

/// Run by one interpreter of each minor version.
const OF_EACH_VERSION: &[(&str, Need, Test)] = &[
    ("a stopped process is read and stays stopped", Need::Nothing, stopped),
    ("nobody traces the target during a recording or after it", Need::Nothing, tracers),
    ("threads in another PID namespace have our ids and their states", Need::Root, namespaces),
    ("without process_vm_readv the memory is read as a file", Need::Nothing, without_vectored_reads),
    ("a program that is not called python is read", Need::Nothing, other_name),
    ("a program whose files are deleted is read", Need::Nothing, deleted),
    ("a program whose files are replaced is read", Need::Nothing, replaced),
];

/// Run by one ordinary interpreter.
const ALONE: &[(&str, Need, Test)] = &[
    ("a process that is not there is status 3", Need::Nothing, nobody),
    ("a zombie is status 3", Need::Nothing, zombie),
    ("a kernel thread is status 4", Need::KernelThread, kernel_thread),
    ("a process that is not Python is status 4", Need::Nothing, not_python),
    ("an old Python is status 6 and is told what is read", Need::Nothing, too_old),
    ("another user's process is status 5", Need::Root, another_user),
    ("a process with more capabilities is status 5", Need::Root, more_capabilities),
    ("a process of one's own needs no privilege", Need::Root, own_process),
    ("processes that start are attached to at any moment", Need::Nothing, racing_starts),
    ("processes that exit are attached to at any moment", Need::Nothing, racing_exits),
    ("processes that become another Python are attached to at any moment", Need::Nothing, racing_pythons),
    ("processes that become something else are attached to at any moment", Need::Nothing, racing_execs),
    ("processes that fork are attached to at any moment", Need::Nothing, racing_forks),
    ("processes that start and end threads are attached to at any moment", Need::Nothing, racing_threads),
];

fn main() {
    let arguments = Arguments::from_args();
    let trial = |kind: &'static Kind, name: &str, need: Need, test: Test| {
        let name = format!("{}: {name}", kind.kind);
        let missing = need.missing();
        if let (Some(missing), false) = (missing, arguments.list) {
            eprintln!("SKIPPED: {name}: {missing}");
        }
        common::watch::trial(name, move || match missing {
            Some(missing) => Err(missing.into()), // Ignored, unless in CI.
            None => {
                test(kind);
                Ok(())
            }
        })
        .with_ignored_flag(missing.is_some() && !in_ci())
    };
    let trials = (common::one_of_each())
        .flat_map(|kind| OF_EACH_VERSION.iter().map(move |test| (kind, test)))
        .chain(ALONE.iter().map(|test| (ordinary(), test)))
        .map(|(kind, &(name, need, test))| trial(kind, name, need, test));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// What a test cannot do without.
#[derive(Clone, Copy)]
enum Need {
    Nothing,
    Root,
    KernelThread,
}

impl Need {
    fn missing(self) -> Option<&'static str> {
        match self {
            Need::Root if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) => Some("it needs root"),
            // In a container there is none to be seen, in CI neither.
            Need::KernelThread if fs::read_to_string("/proc/2/comm").ok().as_deref() != Some("kthreadd\n") => {
                if in_ci() { None } else { Some("no kernel thread is to be seen") }
            }
            _ => None,
        }
    }
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// The newest interpreter that needs nothing but its path.
fn ordinary() -> &'static Kind {
    plain().last().expect("there is an interpreter outside of a chroot")
}

/// One interpreter of each minor version, of those that need nothing but their path.
fn plain() -> impl Iterator<Item = &'static Kind> {
    common::one_of_each().filter(|kind| kind.root.is_none() && kind.env.is_empty() && kind.command.len() == 1)
}

// ---- What cannot be profiled ---------------------------------------------------------------------------------------

fn nobody(_: &Kind) {
    assert_refused(2_147_483_647, 3, &["there is no process 2147483647"]);
}

fn zombie(kind: &Kind) {
    let mut zombie = Target::start(kind.command().args(["-c", "pass"]));
    let pid = zombie.child.id();
    let mut rest = String::new();
    zombie.stdout.read_to_string(&mut rest).unwrap();
    wait_until("it is a zombie", || stat(pid).is_some_and(|stat| stat.contains(") Z ")));
    assert_refused(pid, 3, &[&format!("process {pid} is a zombie")]);
    assert!(zombie.end().success());
}

fn kernel_thread(_: &Kind) {
    if stat(2).is_some_and(|stat| stat.contains("(kthreadd)")) {
        assert_refused(2, 4, &["process 2 is not a Python process", "kernel thread"]);
    }
}

fn not_python(_: &Kind) {
    let cat = Target::start(&mut Command::new("cat"));
    assert_refused(cat.child.id(), 4, &[&format!("process {} is not a Python process", cat.child.id())]);
    assert!(cat.end().success());
}

fn too_old(_: &Kind) {
    for kind in common::all_kinds().iter().filter(|kind| !kind.supported) {
        let target = Target::ready(kind.command().args(["-c", READY]));
        let pid = target.child.id();
        assert_refused(pid, 6, &[&format!("process {pid} runs Python {}", kind.version), "3.7 to 3.15"]);
        assert!(target.end().success());
    }
}

fn another_user(kind: &Kind) {
    let target = kind.start("spin.py", &[]);
    let folder = public_folder();
    for arguments in both(target.pid()) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(folder.path().join("pysample"));
        let output = bounded(command.args(&arguments).current_dir(folder.path()));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{told}");
        let error = format!("pysample: error: not permitted to read the memory of process {}: ", target.pid());
        assert!(told.starts_with(&error), "{told}");
        assert!(told.contains("user 0 (we are 65534)") && told.contains("CAP_SYS_PTRACE"), "{told}");
        assert!(told.lines().nth(1).is_some_and(|hint| hint.contains("sudo pysample")), "{told}");
        assert_eq!((told.lines().count(), names(folder.path())), (2, vec!["pysample".to_owned()]));
    }
    assert!(target.end().success());
}

fn more_capabilities(kind: &Kind) {
    let target = kind.start("spin.py", &[]);
    let folder = folder();
    for arguments in both(target.pid()) {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", PYSAMPLE]);
        let output = bounded(command.args(&arguments).current_dir(folder.path()));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{told}");
        assert!(
            told.contains("capabilities that we lack (0x80000: SYS_PTRACE)") && told.contains("CAP_SYS_PTRACE"),
            "{told}"
        );
        assert!(told.lines().nth(1).is_some_and(|hint| hint.contains("--cap-add SYS_PTRACE")), "{told}");
        assert_eq!((told.lines().count(), names(folder.path()).len()), (2, 0));
    }
    assert!(target.end().success());
}

/// As a user without any privilege, who has started both.
fn own_process(_: &Kind) {
    let public = common::kinds().find(|kind| kind.root.is_none() && kind.elf.starts_with("/usr"));
    let Some(kind) = public else {
        assert!(!in_ci(), "there is an interpreter for everybody");
        eprintln!("SKIPPED: there is no interpreter that another user could run");
        return;
    };
    let folder = public_folder();
    let as_nobody = |program: &OsStr| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
        command.current_dir("/");
        command
    };
    let target = Target::ready(as_nobody(OsStr::new(&kind.command[0])).args(["-c", READY]));
    let pysample = folder.path().join("pysample");
    let pid = target.child.id().to_string();
    let output = bounded(as_nobody(pysample.as_os_str()).args(["dump", "--pid", &pid]));
    let told = stderr(&output);
    match fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").as_deref().map(str::trim) {
        Err(_) | Ok("0") => assert_eq!(output.status.code(), Some(0), "{told}"),
        Ok(scope) => {
            assert_eq!(output.status.code(), Some(5), "{told}");
            assert!(told.contains(&format!("Yama ptrace_scope is {scope}")), "{told}");
        }
    }
    assert!(target.end().success());
}

// ---- What is hard to read ------------------------------------------------------------------------------------------

fn stopped(kind: &Kind) {
    let mut target = kind.start("threads.py", &["5"]);
    let told = target.json();
    let pid = target.pid();
    target.signal(Signal::SIGSTOP);
    // One thread stops after the other.
    wait_until("it is stopped", || common::every_thread_is(pid, b'T'));
    let dump = common::dump(pid);
    assert_eq!(threads(&dump).count(), threads(&told).count());
    assert!(threads(&dump).all(|thread| thread["state"] == "stopped" && thread["incomplete"].is_null()), "{dump:#}");
    assert!(stat(pid).unwrap().contains(") T "), "it is still stopped");
    target.signal(Signal::SIGCONT);
    assert!(target.end().success());
}

fn tracers(kind: &Kind) {
    let mut target = kind.start("spin.py", &[]);
    assert_eq!(target.line(), "ready");
    common::dump(target.pid());
    assert_eq!(tracer(target.pid()), "0");
    let output = bounded(pysample(&["record", "-r", "1000", "-d", "0.3", "-o", "/dev/null"]).args(pid(target.pid())));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(tracer(target.pid()), "0");
    assert!(target.end().success());
}

fn namespaces(kind: &Kind) {
    let programs = kind.folder();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--mount-proc"]).args(&kind.command).envs(&kind.env);
    unshare.env("PYTHONDONTWRITEBYTECODE", "1").arg(script(kind, &programs, "threads.py")).arg("12");
    let mut target = Target::start(&mut unshare);
    let told: Value = serde_json::from_str(&target.line()).unwrap();
    assert_eq!(told["pid"], 1, "it is alone in its namespace");
    let pid = child_of(target.child.id());
    wait_until("it stands still", || stat(pid).is_some_and(|stat| stat.contains(") S ")));
    let dump = common::dump(pid);
    assert_eq!(dump["pid"], pid);
    let seen: BTreeMap<u64, &Value> = threads(&dump).map(|t| (t["python_thread_id"].as_u64().unwrap(), t)).collect();
    for thread in threads(&told) {
        let ours = seen[&thread["ident"].as_u64().unwrap()];
        assert_eq!(&ours["name"], &thread["name"], "{ours:#}");
        let state = ours["state"].as_str().unwrap();
        assert!(state.starts_with("waits_for_") || state == "sleeps", "{ours:#}");
        let tid = ours["os_thread_id"].as_u64().unwrap();
        let status = fs::read(format!("/proc/{pid}/task/{tid}/status")).unwrap();
        let status = String::from_utf8_lossy(&status); // The name in it may be cut in the middle of a character.
        let own = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()).unwrap();
        if let Some(native) = thread["native_id"].as_u64() {
            assert_eq!(own, native.to_string(), "{ours:#}");
        }
    }
    assert_eq!(seen.len(), threads(&told).count());
    assert!(target.end().success());

    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--mount-proc"]).args(&kind.command).envs(&kind.env);
    unshare.env("PYTHONDONTWRITEBYTECODE", "1").arg(script(kind, &programs, "spin.py"));
    let target = Target::ready(&mut unshare);
    let child = child_of(target.child.id());
    wait_until("only its main thread runs", || common::others_read_input(child));
    let dump = common::dump(child);
    let main = threads(&dump).find(|thread| thread["os_thread_id"] == child).unwrap();
    assert!(main["state"].as_str().unwrap().starts_with("runs_"), "{dump:#}");
    let arguments = ["record", "-r", "500", "-d", "1", "-t", "-f", "collapsed", "-o", "-"];
    let output = bounded(pysample(&arguments).args(self::pid(child)));
    let collapsed = String::from_utf8(output.stdout).unwrap();
    assert!(collapsed.starts_with(&format!("MainThread (thread {child});<module> (spin.py:")), "{collapsed}");
    assert!(target.end().success());
}

/// Becomes the program of its arguments, with `process_vm_readv` refused.
const REFUSES_READV: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 310, "aarch64": 270}[platform.machine()]
load, equal, give = 0x20, 0x15, 0x06
refuse, allow = 0x00050000 | 1, 0x7fff0000
steps = (load, 0, 0, 0), (equal, 0, 1, number), (give, 0, 0, refuse), (give, 0, 0, allow)
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for option, mode, argument in (38, 1, None), (22, 2, program):
    if libc.prctl(option, mode, argument, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A dump without what differs from one moment to the next: for how long threads have waited.
fn timeless(mut dump: Value) -> Value {
    for thread in
        dump["interpreters"].as_array_mut().unwrap().iter_mut().flat_map(|i| i["threads"].as_array_mut().unwrap())
    {
        thread["off_seconds"] = Value::Null;
    }
    dump
}

fn without_vectored_reads(kind: &Kind) {
    let mut target = kind.start("threads.py", &["5"]);
    target.json();
    wait_until("it stands still", || stat(target.pid()).is_some_and(|stat| stat.contains(") S ")));
    let usual = common::dump(target.pid());
    let arguments = ["dump", "--json", "--pid", &target.pid().to_string()];
    let output = bounded(ordinary().command().args(["-c", REFUSES_READV, PYSAMPLE]).args(arguments));
    assert!(output.status.success(), "{}", stderr(&output));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(timeless(seen), timeless(usual));
    let record = ["record", "-r", "200", "-d", "0.5", "-i", "-o", "-", "--pid", &target.pid().to_string()];
    let output = bounded(ordinary().command().args(["-c", REFUSES_READV, PYSAMPLE]).args(record));
    assert!(output.status.success() && !output.stdout.is_empty(), "{}", stderr(&output));
    assert!(target.end().success());
}

fn other_name(kind: &Kind) {
    let copy = Copied::of(kind);
    let target = copy.start();
    assert_reads(&target);
    assert!(target.end().success());
}

fn deleted(kind: &Kind) {
    let copy = Copied::of(kind);
    let target = copy.start();
    fs::remove_dir_all(copy.files()).unwrap();
    assert_reads(&target);
    assert!(target.end().success());
}

/// As an upgrade does it: other files have the names of those that run.
fn replaced(kind: &Kind) {
    let copy = Copied::of(kind);
    let target = copy.start();
    let cat = fs::read("/bin/cat").unwrap();
    for entry in fs::read_dir(copy.files()).unwrap() {
        let path = entry.unwrap().path();
        fs::remove_file(&path).unwrap();
        fs::write(&path, &cat).unwrap();
    }
    assert_reads(&target);
    assert!(target.end().success());
}

/// An interpreter under another name in a folder of its own, with its library if it has one.
struct Copied {
    folder: TempDir,
    command: Vec<PathBuf>,
    prefix: PathBuf,
}

impl Copied {
    fn of(kind: &Kind) -> Copied {
        let (folder, inside) = kind.folder();
        fs::create_dir(folder.path().join("files")).unwrap();
        let copy = |file: &Path, name: &OsStr| fs::copy(file, folder.path().join("files").join(name)).unwrap();
        let server = inside.join("files/server");
        let (command, prefix) = match &kind.root {
            Some(root) => {
                copy(&kind.elf, OsStr::new("server"));
                (vec!["chroot".into(), root.clone(), server], PathBuf::from("/usr"))
            }
            None => {
                let program = fs::canonicalize(&kind.command[0]).unwrap();
                copy(&program, OsStr::new("server"));
                if fs::canonicalize(&kind.elf).unwrap() != program {
                    copy(&kind.elf, kind.elf.file_name().unwrap());
                }
                (vec![server], program.ancestors().nth(2).unwrap().to_owned())
            }
        };
        Copied { folder, command, prefix }
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn start(&self) -> Target {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(["-c", READY]);
        command.env("LD_LIBRARY_PATH", self.files()).env("PYTHONHOME", &self.prefix);
        let target = Target::ready(&mut command);
        let maps = fs::read_to_string(format!("/proc/{}/maps", target.child.id())).unwrap();
        let copies = maps.lines().filter(|line| line.contains("/files/")).count();
        assert!(copies > 0 && !maps.contains(&*self.prefix.join("bin/").to_string_lossy()), "it runs the copy");
        target
    }
}

fn assert_reads(target: &Target) {
    let dump = common::dump(target.child.id());
    let frames: Vec<&Value> = threads(&dump).flat_map(|thread| thread["frames"].as_array().unwrap()).collect();
    assert!(frames.iter().any(|frame| frame["function"] == "<module>" && frame["line"] == 1), "{dump:#}");
}

// ---- What changes in that very moment ------------------------------------------------------------------------------

/// How many processes of each kind are attached to.
const ATTACHES: u32 = 40;
/// Over how long the moments of attaching are spread: about as long as a Python takes to start.
const START_UP: Duration = Duration::from_millis(60);

fn racing_starts(_: &Kind) {
    race(|_| vec!["-c".into(), "import sys; sys.stdin.read()".into()]);
}

fn racing_exits(_: &Kind) {
    race(|_| vec!["-c".into(), "pass".into()]);
}

fn racing_pythons(_: &Kind) {
    race_by(&plain().collect::<Vec<_>>(), |kind| {
        let others: Vec<&Kind> = plain().collect();
        let other = others[(others.iter().position(|other| other.kind == kind.kind).unwrap() + 1) % others.len()];
        let script = "import os, sys; os.execv(sys.argv[1], [sys.argv[1], '-c', 'import sys; sys.stdin.read()'])";
        vec!["-c".into(), script.into(), other.command[0].clone()]
    });
}

fn racing_execs(_: &Kind) {
    race(|_| vec!["-c".into(), "import os; os.execv('/bin/cat', ['python3'])".into()]);
}

fn racing_forks(_: &Kind) {
    let script = "import os, sys\nchild = os.fork()\nsys.stdin.read()\nif child:\n    os.waitpid(child, 0)";
    race(move |_| vec!["-c".into(), script.into()]);
}

fn racing_threads(_: &Kind) {
    let script =
        "import sys, threading\nfor i in range(200):\n    threading.Thread(target=int).start()\nsys.stdin.read()";
    race(move |_| vec!["-c".into(), script.into()]);
}

/// Attaches to processes at moments spread over their start: a dump and a recording in turn.
fn race(arguments: impl Fn(&Kind) -> Vec<String>) {
    race_by(&common::one_of_each().collect::<Vec<_>>(), arguments);
}

fn race_by(kinds: &[&Kind], arguments: impl Fn(&Kind) -> Vec<String>) {
    let mut statuses = BTreeMap::new();
    for number in 0..ATTACHES {
        let kind = kinds[number as usize % kinds.len()];
        let target = Target::start(kind.command().args(arguments(kind)));
        // A golden ratio of the span after the last moment, modulo the span: no two moments are close.
        let part = (f64::from(number) * 0.618_034).fract();
        thread::sleep(START_UP.mul_f64(part));
        let command = match number % 2 {
            0 => vec!["dump"],
            _ => vec!["record", "-r", "1000", "-d", "0.02", "-o", "/dev/null"],
        };
        let output = bounded(pysample(&command).args(pid(target.child.id())));
        let told = stderr(&output);
        let case = format!("{} after {part:.2} of {START_UP:?}: {command:?}: {told}", kind.kind);
        assert!(!["panicked", "RUST_BACKTRACE", "overflow"].iter().any(|word| told.contains(word)), "{case}");
        let status = output.status.code().unwrap_or_else(|| panic!("it was ended by a signal: {case}"));
        assert!([0, 1, 3, 4].contains(&status), "status {status}: {case}");
        if status != 0 {
            assert!(told.starts_with("pysample: error: ") && told.contains("process "), "{case}");
        }
        if status == 1 {
            assert!(told.contains("is not running yet or no longer"), "{case}");
        }
        *statuses.entry(status).or_insert(0) += 1;
        let ended = target.end();
        assert!(ended.success(), "the target ended with {ended}: {case}");
    }
    assert_eq!(statuses.values().sum::<u32>(), ATTACHES, "{statuses:?}");
}

// ---- Running things ------------------------------------------------------------------------------------------------

/// A process under way. Closing its standard input ends it.
struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Target {
    fn start(command: &mut Command) -> Target {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Target { stdin: child.stdin.take(), stdout, child }
    }

    /// Starts it and waits until it says that it is ready.
    fn ready(command: &mut Command) -> Target {
        let mut target = Target::start(command);
        assert_eq!(target.line(), "ready");
        target
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let mut status = None;
        wait_until("the target ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pysample(arguments: &[&str]) -> Command {
    let mut command = Command::new(PYSAMPLE);
    command.args(arguments);
    command
}

fn pid(pid: u32) -> [String; 2] {
    ["--pid".into(), pid.to_string()]
}

/// A dump and a recording of a process. The recording has no end of its own.
fn both(process: u32) -> [Vec<String>; 2] {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).chain(pid(process)).collect();
    [words(&["dump"]), words(&["record", "-o", "x.svg"])]
}

/// Asserts that a dump and a recording are refused: with the status, one line that says all of `what`, perhaps a line
/// with a hint, and no file.
fn assert_refused(process: u32, status: i32, what: &[&str]) {
    let folder = folder();
    for arguments in both(process) {
        let output = bounded(Command::new(PYSAMPLE).args(&arguments).current_dir(folder.path()));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("pysample: error: "), "{told}");
        assert!(what.iter().all(|what| lines[0].contains(what)), "{what:?}: {told}");
        assert!(lines.len() == 1 || lines.len() == 2 && lines[1].starts_with("  hint: "), "{told}");
        assert_eq!((output.stdout.len(), names(folder.path()).len()), (0, 0), "{told}");
    }
}

/// Runs a command to its end, which must come.
fn bounded(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let pid = Pid::from_raw(child.id() as i32);
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(PATIENCE).map(Result::unwrap).unwrap_or_else(|_| {
        let _ = kill(pid, Signal::SIGKILL); // It fails only if it has ended in this moment.
        panic!("it does not end: {command:?}")
    })
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

fn tracer(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap().trim().to_owned()
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().parse().unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A folder that everybody may use, with pysample in it.
fn public_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("pysample-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(PYSAMPLE, folder.path().join("pysample")).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A program of `tests/programs` as an interpreter sees it.
fn script(kind: &Kind, (ours, theirs): &(TempDir, PathBuf), program: &str) -> PathBuf {
    if kind.root.is_none() {
        return common::programs().join(program);
    }
    for name in [program, "moving.py", "oracle.py"] {
        fs::copy(common::programs().join(name), ours.path().join(name)).unwrap();
    }
    theirs.join(program)
}

/// The threads that a dump, or a standing program, tells of.
fn threads(told: &Value) -> impl Iterator<Item = &Value> {
    told["interpreters"].as_array().unwrap().iter().flat_map(|interpreter| interpreter["threads"].as_array().unwrap())
}
