//! In a production pod: seen from the host and from inside, with less privilege than one would like, under limits, and in
//! roots that hold next to nothing. Each situation is a stand-in made of namespaces, capabilities, filters and control
//! groups; asserted are the result, the message and the exit status.
//!
//! All of it needs root. What a machine does not have (a writable hierarchy of control groups) is said, loudly.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use common::recording::{Recorded, Recording};
use common::{Kind, Running, ordinary, wait_until};
use libtest_mimic::Arguments;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

/// The static binary that `release/build` makes, for roots that have no libraries.
fn static_binary() -> PathBuf {
    let path = std::env::var_os("PYSAMPLE_STATIC").filter(|path| !path.is_empty());
    path.map(PathBuf::from).expect("PYSAMPLE_STATIC names the static binary; tests/run builds it")
}

const TESTS: &[(&str, fn())] = &[
    ("from the host, a container is read as on the host itself", from_the_host),
    ("from the host, a container of another user namespace and of no privilege is read", other_user_namespace),
    ("a pid that means something else here is answered with the right one", pid_from_inside),
    (
        "a pid that means nothing to others inside their containers is answered with the Python",
        pid_from_inside_of_python,
    ),
    ("a pid of the host means nothing inside, and that is said", pid_from_outside),
    ("inside, a process of the same user needs no capability", same_container),
    ("the pod and the container of a process are listed", pod_is_listed),
    ("without CAP_SYS_PTRACE the doctor names the capabilities and what mends it", doctor_capabilities),
    ("as another user the doctor names the user and what mends it", doctor_user),
    ("from another user namespace the doctor says that capabilities do not count", doctor_user_namespace),
    ("the doctor of a process that can be read says what it costs", doctor_fine),
    ("the doctor of what is not Python has dump's exit status", doctor_not_python),
    ("a process that may not be read is counted by ps with the reason", ps_counts_refusals),
    ("a process that is not dumpable is named as such", not_dumpable),
    ("the workers of a master that may not be read are recorded", master_not_readable),
    ("a program that may not be read and is executed ends the recording, and it is told", executed_unreadable),
    ("without process_vm_readv the memory is read as a file", refused_readv),
    ("where the memory is read as a file, a program that is executed is read, or told", executed_as_file),
    ("without ptrace nobody is stopped and it is said", refused_ptrace),
    ("each other call may be refused", refused_calls),
    ("a debug container with another root reads the files of the target's root", other_root),
    ("a root with nothing but the program, no shell and no /tmp streams a profile out", nothing_but_the_program),
    ("a root with nothing but musl and busybox runs the static binary", musl_and_busybox),
    ("on a read-only root the output is refused before the first sample", read_only_root),
    ("a stopped process is told as such", told_stopped),
    ("stopped processes of a family are told as such", told_stopped_below),
    ("a process frozen by its control group is read and told as such", frozen),
    ("a process in uninterruptible sleep is read and told as such", uninterruptible),
    ("another process that has the id of one that has ended is not taken for it", reused_pid),
    ("a target without file descriptors is read", target_without_descriptors),
    ("a process that /proc hides from us is told as one that may not be read", hidden),
    ("where /proc is not mounted, that is said and nothing is made up", without_proc),
    ("where /proc is of another PID namespace, that is said and nothing is read", foreign_proc),
    ("pysample that may start no thread ends in a plain sentence", we_without_threads),
    ("pysample without file descriptors ends in a plain sentence", we_without_descriptors),
    ("a CPU limit is kept to, and it is said", max_cpu),
    ("the control group's CPU limit is kept to without being told", cgroup_cpu_limit),
    ("a target that its control group holds back is sampled on time", held_back),
    ("a CPU limit that throttles the target is told as the kernel counts it", throttled),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Two containers at once have a process 2 each.
    arguments.test_threads = Some(1);
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root && !arguments.list {
        eprintln!("SKIPPED: all of tests/pods.rs needs root");
    }
    let trials = TESTS.iter().map(|&(name, test)| {
        common::watch::trial(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(!is_root && !in_ci())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

// ---- Seen from the host --------------------------------------------------------------------------------------------

/// With its own PID, mount and network namespaces and its own root.
fn from_the_host() {
    let kind = common::kind("3.14-debian");
    let mut target = Contained::start(kind, "threads.py", &["6"]);
    let told = target.json();
    assert_eq!(told["pid"], 1, "it is alone in its namespace");
    wait_until("it stands still", || common::every_thread_is(target.pid, b'S'));
    let dump = common::dump(target.pid);
    assert_eq!((&dump["pid"], &dump["pid_inside"]), (&target.pid.into(), &1.into()));
    let inside: BTreeSet<u64> = threads(&told).filter_map(|thread| thread["native_id"].as_u64()).collect();
    let seen: BTreeSet<u64> =
        threads(&dump).map(|thread| thread["os_thread_id_inside"].as_u64().expect("both ids are known")).collect();
    assert!(inside.is_subset(&seen), "{inside:?} {seen:?}");
    for thread in threads(&dump) {
        let state = thread["state"].as_str().unwrap();
        assert!(state.starts_with("waits_for_") || state == "sleeps", "{thread:#}");
        assert!(fs::metadata(format!("/proc/{}/task/{}", target.pid, thread["os_thread_id"])).is_ok(), "{thread:#}");
    }
    // The text of a line lies in the target's root only.
    assert!(threads(&dump).any(|thread| thread["frames"][0]["source"].is_string()), "{dump:#}");
    let text = common::printed(&["dump", "--pid", &target.pid.to_string()]);
    assert!(text.starts_with(&format!("Process {} (1 inside): ", target.pid)), "{text}");
    target.end();

    let mut busy = Contained::start(kind, "spin.py", &[]);
    assert_eq!(busy.line(), "ready");
    let recorded = Recording::start(busy.pid, &["-r", "500", "-d", "1", "-t"]).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.told.contains(&format!("(pid {}, 1 inside)", busy.pid)), "{}", recorded.told);
    assert!(recorded.profile.contains("inner (spin.py:"), "{}", recorded.profile);
    let gil = common::printed(&["gil", "-d", "0.5", "--json", "--pid", &busy.pid.to_string()]);
    let gil: Value = serde_json::from_str(&gil).unwrap();
    assert!(gil["gils"][0]["held"]["share"].as_f64().is_some_and(|share| share > 0.5), "{gil:#}");
    let listed = listed(busy.pid);
    assert_eq!((&listed["pid_inside"], &listed["version"]), (&1.into(), &kind.version.as_str().into()));
    assert!(listed["threads"].as_u64().is_some_and(|threads| threads >= 1), "{listed:#}");
    assert!(listed["cpu_percent"].as_f64().is_some_and(|percent| percent > 0.0), "{listed:#}");
    assert!(listed["command"].to_string().contains("spin.py"), "{listed:#}");
    busy.end();
}

/// As rootless engines run containers.
fn other_user_namespace() {
    let (kind, public) = (for_everybody(), public_folder());
    let script = common::programs().join("spin.py");
    for name in ["spin.py", "moving.py"] {
        fs::copy(script.with_file_name(name), public.path().join(name)).unwrap();
    }
    let mut command = as_nobody("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]);
    command.arg(&kind.command[0]).arg(public.path().join("spin.py"));
    let mut target = Contained::of(command);
    assert_eq!(target.line(), "ready");
    let python = target.pid;
    wait_until("only its main thread runs", || common::others_read_input(python));
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{python}/ns/user")).unwrap(), ours, "it is in another user namespace");
    let dump = common::dump(python);
    assert!(threads(&dump).next().unwrap()["state"].as_str().unwrap().starts_with("runs_"), "{dump:#}");
    assert!(dump["pid_inside"].is_u64(), "{dump:#}");
    let doctor = doctor(&mut doctor_of(PYSAMPLE, python), 0);
    assert!(value(&doctor, "namespaces").contains("user another"), "{doctor:#}");
    target.end();
}

/// Process 2 of the container is a thread of the kernel here, or nothing that runs Python.
fn pid_from_inside() {
    let kind = ordinary();
    let script = format!("'{}' '{}' <&3 & wait", kind.command[0], common::programs().join("spin.py").display());
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        &format!("exec 3<&0; {script}"),
    ]);
    let mut target = Contained::of(command);
    assert_eq!(target.line(), "ready");
    let python = child_of(target.pid).expect("the shell has a child");
    let output = common::pysample(&["dump", "--pid", "2"]);
    let told = stderr(&output);
    let status = output.status.code();
    assert!(status == Some(4) || status == Some(3), "{status:?}: {told}");
    let hint = told.lines().nth(1).unwrap_or_default();
    assert!(hint.contains(&format!("process 2 is process {python} here: --pid {python}")), "{told}");
    assert!(hint.contains("spin.py"), "{told}");
    let _ = kill(Pid::from_raw(python as i32), Signal::SIGTERM);
    target.end();
}

/// As on a node: process 1 is around all, and many containers have a process 1 of which few are Python.
fn pid_from_inside_of_python() {
    let script = r#"
        mkfifo "$1/up"
        for _ in 1 2 3 4; do
            unshare --mount --pid --fork --kill-child --mount-proc sh -c "echo; exec sleep 300" > "$1/up" &
        done
        exec 3<&0
        unshare --mount --pid --fork --kill-child --mount-proc "$2" "$3" <&3 > "$1/up" &
        python=$!
        exec 4< "$1/up"
        for _ in 1 2 3 4 5; do read -r _ <&4; done
        echo $(cat "/proc/$python/task/$python/children")
        "$4" dump --pid 1 2>&1
        echo "status $?"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]);
    command.arg(folder.path()).arg(&ordinary().command[0]).arg(common::programs().join("idle.py")).arg(PYSAMPLE);
    let mut scene = Plain::start(command);
    let python = scene.line();
    let (error, hint) = (scene.line(), scene.line());
    assert!(error.contains("process 1 is not a Python process"), "{error}");
    assert!(hint.contains(&format!("process 1 is process {python} here: --pid {python}")), "{hint}");
    assert!(hint.contains("; or its descendant") && !hint.contains("sleep"), "{hint}");
    assert_eq!(scene.line(), "status 4");
    scene.end();
}

fn pid_from_outside() {
    let target = spinning(ordinary());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--mount-proc", PYSAMPLE, "dump", "--pid", &target.pid().to_string()]);
    let output = command.output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("there is no process {}", target.pid())), "{told}");
    assert!(told.contains("our own PID namespace") && told.contains("pysample ps"), "{told}");
    assert!(target.end().success());
}

/// `kubectl exec` into the container of the target, which has no capabilities, by the same user.
fn same_container() {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-pid", "--die-with-parent", "--bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]);
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mkfifo '{folder}/ready'; '{}' '{}' 60 >'{folder}/ready' & read line <'{folder}/ready'; \
         '{PYSAMPLE}' dump --json --pid $!; echo \"status $?\"; kill -9 $!",
        ordinary().command[0],
        common::programs().join("spin.py").display(),
        folder = folder.path().display()
    );
    let output = command.args(["sh", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    match yama() {
        0 => assert!(printed.contains("status 0") && printed.contains("spin.py"), "{printed} {}", stderr(&output)),
        _ => assert!(printed.contains("status 5") && printed.contains("Yama"), "{printed} {}", stderr(&output)),
    }
}

fn pod_is_listed() {
    const ID: &str = "3f4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071829";
    const UID: &str = "0d7a4f9c-1b2e-4c3d-8e5f-6a7b8c9d0e1f";
    let path = format!("kubepods-test-{}/pod{UID}/{ID}", std::process::id());
    let Some(group) = Group::new(&["unified", ""], "cgroup.procs", &path) else { return };
    let target = spinning(ordinary());
    group.take(target.pid());
    let listed = listed(target.pid());
    assert_eq!((&listed["container"]["pod"], &listed["container"]["id"]), (&UID.into(), &ID.into()), "{listed:#}");
    let text = common::printed(&["ps"]);
    assert!(text.contains(&format!("container {}, pod {UID}", &ID[..12])), "{text}");
    assert!(target.end().success());
}

// ---- What stands in the way ----------------------------------------------------------------------------------------

fn doctor_capabilities() {
    let target = spinning(ordinary());
    let mut command = without_ptrace();
    command.args([PYSAMPLE, "doctor", "--json", "--pid", &target.pid().to_string()]);
    let doctor = doctor(&mut command, 5);
    assert_eq!(outcome(&doctor, "capabilities"), "refuses");
    assert!(value(&doctor, "capabilities").contains("0x80000: SYS_PTRACE"), "{doctor:#}");
    assert_eq!(outcome(&doctor, "process_vm_readv"), "refuses");
    assert_eq!(outcome(&doctor, "/proc/PID/mem"), "refuses");
    let places: BTreeSet<&str> = rule(&doctor, "capabilities")["remedies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["place"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["docker", "kubernetes", "systemd"].into(), "root gains nothing by sudo");
    assert!(doctor["verdict"]["text"].as_str().unwrap().contains("not permitted"), "{doctor:#}");
    assert!(!doctor["verdict"]["hint"].as_str().unwrap().contains("doctor"), "{doctor:#}");
    assert!(target.end().success());
}

fn doctor_user() {
    let target = spinning(ordinary());
    let folder = public_folder();
    let mut command = as_nobody(folder.path().join("pysample"));
    let doctor = doctor(command.args(["doctor", "--json", "--pid", &target.pid().to_string()]), 5);
    assert_eq!(outcome(&doctor, "user"), "refuses");
    assert!(value(&doctor, "user").contains("user 0 (we are 65534)"), "{doctor:#}");
    assert_eq!(value(&doctor, "CAP_SYS_PTRACE"), "we lack it");
    let others = [outcome(&doctor, "seccomp"), outcome(&doctor, "other tracer")];
    assert_eq!(others, ["fine", "fine"]);
    assert!(doctor["verdict"]["hint"].as_str().unwrap().contains("sudo pysample"), "{doctor:#}");
    assert!(target.end().success());
}

fn doctor_user_namespace() {
    let target = spinning(ordinary());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", PYSAMPLE, "doctor", "--json", "--pid", &target.pid().to_string()]);
    let doctor = doctor(&mut command, 5);
    assert!(value(&doctor, "CAP_SYS_PTRACE").contains("user namespace"), "{doctor:#}");
    let text = doctor["verdict"]["text"].as_str().unwrap();
    assert!(text.contains("user namespace"), "{doctor:#}");
    assert!(value(&doctor, "namespaces").contains("does not tell us"), "{doctor:#}");
    let remedies = rule(&doctor, "CAP_SYS_PTRACE")["remedies"].to_string();
    assert!(remedies.contains("on the host, as root") && !remedies.contains("nsenter"), "{doctor:#}");
    assert!(target.end().success());
}

fn doctor_fine() {
    let target = spinning(ordinary());
    let doctor = doctor(&mut doctor_of(PYSAMPLE, target.pid()), 0);
    for name in
        ["user", "capabilities", "seccomp", "other tracer", "process_vm_readv", "/proc/PID/mem", "state", "Python"]
    {
        assert_eq!(outcome(&doctor, name), "fine", "{doctor:#}");
    }
    assert!(value(&doctor, "Python").starts_with(&ordinary().version), "{doctor:#}");
    assert!(value(&doctor, "offsets").contains("publishes"), "{doctor:#}");
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or("there is none".into());
    assert!(value(&doctor, "Yama ptrace_scope").starts_with(yama.trim()), "{doctor:#}");
    let cost = &doctor["cost"];
    assert!(cost["samples"].as_u64().unwrap() > 0 && cost["reads"].as_f64().unwrap() >= 1.0, "{doctor:#}");
    assert!(cost["stops"].as_u64().unwrap() > 0 && cost["may_pause"] == true, "it runs all the time: {doctor:#}");
    assert_eq!(doctor["verdict"]["works"], true);
    assert!(target.end().success());

    let mut idle = ordinary().start("idle.py", &[]);
    idle.line();
    wait_until("it stands still", || common::every_thread_is(idle.pid(), b'S'));
    let doctor = self::doctor(&mut doctor_of(PYSAMPLE, idle.pid()), 0);
    assert_eq!((&doctor["cost"]["stops"], &doctor["cost"]["may_pause"]), (&0.into(), &true.into()), "{doctor:#}");
    drop(idle);

    let text = common::printed(&["doctor"]);
    assert!(text.contains("process_vm_readv      tried: works") && text.contains("we are user 0"), "{text}");
}

fn doctor_not_python() {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let doctor = doctor(&mut doctor_of(PYSAMPLE, cat.id()), 4);
    assert_eq!(doctor["verdict"]["works"], false);
    assert_eq!(doctor["verdict"]["exit_status"], 4);
    drop(cat.stdin.take());
    assert!(cat.wait().unwrap().success());
    let output = common::pysample(&["doctor", "--pid", "2147483647"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{}", stderr(&output));
}

fn ps_counts_refusals() {
    let target = spinning(ordinary());
    let mut command = without_ptrace();
    let output = command.args([PYSAMPLE, "ps", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused = told["unreadable"].as_array().unwrap();
    let reason = refused.iter().find(|group| group["pids"].as_array().unwrap().contains(&target.pid().into()));
    let reason = reason.unwrap_or_else(|| panic!("{told:#}"));
    assert!(reason["reason"].as_str().unwrap().contains("capabilities that we lack"), "{reason:#}");
    assert!(reason["called_python"].as_array().unwrap().contains(&target.pid().into()), "{reason:#}");
    assert!(target.end().success());
}

/// A program that forbids others to read it, as those do that hold keys.
fn not_dumpable() {
    let (kind, public) = (for_everybody(), public_folder());
    let script = "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0); print('ready', flush=True); sys.stdin.read()";
    let mut command = as_nobody(&kind.command[0]);
    command.args(["-c", script]);
    let mut target = Plain::start(command);
    assert_eq!(target.line(), "ready");
    let pid = target.child.id().to_string();
    let output = as_nobody(public.path().join("pysample")).args(["dump", "--pid", &pid]).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("it is not dumpable"), "{told}");
    assert!(common::pysample(&["dump", "--pid", &pid]).status.success(), "root may");
    target.end();
}

/// The workers have given up their privileges, the master has not.
fn master_not_readable() {
    const MASTER: &str = r#"
import os, sys
COMPUTES = """
import os
os.write(1, b"r")
def computes():
    while True: sum(range(1000))
computes()
"""
read, write = os.pipe()
workers = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        os.execv(sys.executable, [sys.executable, "-c", COMPUTES])
    workers.append(pid)
for _ in workers: os.read(read, 1)
os.write(1, b"ready\n")
os.read(0, 1)
for pid in workers:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"#;
    let (kind, public) = (for_everybody(), public_folder());
    let mut command = kind.command();
    command.args(["-c", MASTER]).current_dir("/");
    let mut master = Plain::start(command);
    assert_eq!(master.line(), "ready");
    let pid = master.child.id().to_string();
    let of_master = |arguments: &[&str]| {
        let mut command = as_nobody(public.path().join("pysample"));
        let output = command.args(arguments).args(["-s", "--pid", &pid]).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    // Yama lets nobody read what is not below them.
    let is_readable = yama() == 0;
    let record = ["record", "-d", "2", "-r", "50", "-f", "collapsed", "-o", "-"];
    for what in [&record[..], &["gil", "-d", "1"], &["top", "--once", "-d", "1"]] {
        let (status, printed, told) = of_master(what);
        assert_eq!(status, Some(if is_readable { 0 } else { 5 }), "{what:?}: {told}");
        assert!(told.contains(&format!("not permitted to read the memory of process {pid}")), "{what:?}: {told}");
        if is_readable {
            assert!(told.contains("its descendants are recorded"), "{what:?}: {told}");
            assert!(what[0] != "record" || printed.contains("computes ("), "{printed}{told}");
        }
    }
    master.end();
}

/// A file that may be executed and not read makes a process that may not be read.
fn executed_unreadable() {
    const COMPUTES: &str = r#"
import os, sys, time
def computes():
    while time.process_time() < 1: sum(range(1000))
computes()
os.execv(sys.argv[1], sys.argv[1:])
"#;
    let (kind, public) = (for_everybody(), public_folder());
    let sleep = public.path().join("sleep");
    fs::copy("/bin/sleep", &sleep).unwrap();
    fs::set_permissions(&sleep, fs::Permissions::from_mode(0o711)).unwrap();
    let record = |arguments: &[&str], is_over: fn(&Recording)| {
        let mut record = as_nobody(public.path().join("pysample"));
        record.args(["record", "-i", "-f", "collapsed", "-o", "-"]).args(arguments).arg("--");
        let recording = Recording::run(record.args(&kind.command).args(["-c", COMPUTES]).arg(&sleep).arg("300"));
        is_over(&recording);
        recording.signal(Signal::SIGTERM);
        let recorded = recording.end();
        assert!(recorded.profile.contains("computes ("), "{}", recorded.told);
        recorded.told
    };
    let told = record(&[], |recording| recording.has_told("until the process became one that we may not read"));
    assert!(told.contains("`pysample doctor --pid` says why"), "{told}");
    let told = record(&["-s"], |recording| {
        recording.has_samplers(1);
        recording.has_no_samplers();
    });
    assert!(told.contains("  processes   1, for ") && told.contains("not permitted to read the memory"), "{told}");
}

fn refused_readv() {
    let mut target = ordinary().start("threads.py", &["3"]);
    target.json();
    wait_until("it stands still", || common::every_thread_is(target.pid(), b'S'));
    let usual = common::dump(target.pid());
    for errno in [EPERM, ENOSYS] {
        let pid = target.pid().to_string();
        let output = refusing(&["process_vm_readv"], errno).args(["dump", "--json", "--pid", &pid]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(frames(&seen), frames(&usual));
        let doctor = doctor(refusing(&["process_vm_readv"], errno).args(["doctor", "--json", "--pid", &pid]), 0);
        assert!(value(&doctor, "process_vm_readv").contains(&format!("(os error {errno})")), "{doctor:#}");
        assert!(value(&doctor, "process_vm_readv").contains("/proc/PID/mem serves"), "{doctor:#}");
        assert_eq!(value(&doctor, "memory is read by"), "/proc/PID/mem");
        assert!(value(&doctor, "seccomp").contains("filtered"), "{doctor:#}");
    }
    assert!(target.end().success());
}

/// Executes a Python that computes, then one program more at a byte on standard input.
const BECOMES: &str = r#"
import os, sys, threading
def computes():
    while True: sum(range(1000))
def NAME():
    os.read(0, 1)
    os.execv(sys.argv[1], sys.argv[1:])
threading.Thread(target=computes, daemon=True).start()
os.write(1, b"NAME\n")
NAME()
"#;

fn executed_as_file() {
    let python = &ordinary().command[0];
    let mut command = Command::new(python);
    command.args(["-c", &BECOMES.replace("NAME", "first"), python, "-c", &BECOMES.replace("NAME", "second")]);
    command.arg("/bin/cat");
    let mut target = Plain::start(command);
    let mut record = refusing(&["process_vm_readv"], EPERM);
    record.args(["record", "-i", "-r", "1000", "--max-pause", "100", "-f", "collapsed", "-o", "-"]);
    record.args(["--pid", &target.child.id().to_string()]);
    let recording = Recording::run(&mut record);
    for name in ["first", "second"] {
        assert_eq!(target.line(), name);
        recording.has_begun();
        // To find the new interpreter takes many reads of its memory, too.
        recording.has_read(20_000);
        target.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    }
    let recorded = recording.end();
    let told = &recorded.told;
    assert!(recorded.status.success() && told.contains("until the process became a program that is not"), "{told}");
    assert!(["first (", "second ("].iter().all(|name| recorded.profile.contains(name)), "{}{told}", recorded.profile);
    target.end();
}

fn refused_ptrace() {
    let target = spinning(ordinary());
    for errno in [EPERM, ENOSYS] {
        let mut command = refusing(&["ptrace"], errno);
        command.args(["record", "-r", "500", "-d", "0.5", "-f", "collapsed", "-o", "-"]);
        let recorded = Recording::run(command.args(["--pid", &target.pid().to_string()])).end();
        assert!(recorded.status.success(), "{}", recorded.told);
        assert!(recorded.told.contains("does not let us stop threads"), "{}", recorded.told);
        assert!(recorded.profile.contains("inner (spin.py:"), "{}", recorded.profile);
        let doctor =
            doctor(refusing(&["ptrace"], errno).args(["doctor", "--json", "--pid", &target.pid().to_string()]), 0);
        assert_eq!(doctor["cost"]["may_pause"], false, "{doctor:#}");
    }
    assert!(target.end().success());
}

/// Calls that pysample makes beyond what every program does. None of them is one that it cannot do without.
fn refused_calls() {
    let target = spinning(ordinary());
    let pid = target.pid().to_string();
    let calls = ["pidfd_open", "openat2", "setpriority", "prlimit64", "prctl", "perf_event_open", "statx", "waitid"];
    let cases = calls.iter().map(|call| vec![*call]).chain([vec!["process_vm_readv", "ptrace", "openat2"]]);
    for refused in cases {
        for errno in [EPERM, ENOSYS] {
            let dump = refusing(&refused, errno).args(["dump", "--pid", &pid]).output().unwrap();
            let printed = String::from_utf8_lossy(&dump.stdout);
            assert!(dump.status.success() && printed.contains("in outer"), "{refused:?}: {printed} {}", stderr(&dump));
            let mut record = refusing(&refused, errno);
            record.args(["record", "-r", "500", "-d", "0.2", "-f", "collapsed", "-o", "-", "--pid", &pid]);
            let recorded = Recording::run(&mut record).end();
            assert!(recorded.profile.contains("inner (spin.py:"), "{refused:?}: {}", recorded.told);
        }
    }
    assert!(target.end().success());
}

// ---- Seen from inside ----------------------------------------------------------------------------------------------

/// `kubectl debug --target`: the PID namespace is shared, the root is not. What Python is hidden in is only to be found
/// with the file.
fn other_root() {
    let kind = common::kind("3.11-embedded-hidden");
    let target = spinning(kind);
    let root = Root::new(&[]);
    let output = root.run(&["/pysample", "dump", "--json", "--pid", &target.pid().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let dump: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(dump["python"]["found"].as_str().unwrap().starts_with("section .PyRuntime"), "{dump:#}");
    // The program lies in the target's root only.
    assert!(threads(&dump).any(|thread| thread["frames"][0]["source"].is_string()), "{dump:#}");
    assert!(target.end().success());
}

fn nothing_but_the_program() {
    let target = spinning(ordinary());
    let root = Root::new(&[]);
    let pid = target.pid().to_string();
    let mut command =
        root.run(&["/pysample", "record", "-r", "200", "-d", "0.5", "-f", "collapsed", "-o", "-", "--pid", &pid]);
    let recorded = Recording::run(&mut command).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.profile.contains("inner (spin.py:"), "{}", recorded.profile);
    let svg = root.run(&["/pysample", "record", "-d", "0.3", "-f", "svg", "-o", "-", "--pid", &pid]).output().unwrap();
    assert!(svg.stdout.starts_with(b"<?xml"), "{}", stderr(&svg));
    let listed = root.run(&["/pysample", "ps"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("spin.py"), "{}", stderr(&listed));
    assert!(target.end().success());
}

fn musl_and_busybox() {
    let root = Root::new(&[("/bin/busybox", "bin/busybox"), ("/lib/ld-musl-x86_64.so.1", "lib/ld-musl-x86_64.so.1")]);
    let shell = "busybox ls /; /pysample --version && /pysample doctor";
    let output = root.run(&["/bin/busybox", "sh", "-c", shell]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed} {}", stderr(&output));
    assert!(printed.contains(concat!("pysample ", env!("CARGO_PKG_VERSION"))), "{printed}");
    assert!(printed.contains("tried: works"), "{printed}");
    assert!(fs::metadata(static_binary()).unwrap().len() < 10 << 20, "it is below 10 MB");
    let Some(kind) = common::kinds().find(|kind| kind.kind == "3.13-musl") else {
        return eprintln!("SKIPPED: there is no musl interpreter to read from that root");
    };
    let target = spinning(kind);
    let output = root.run(&["/pysample", "dump", "--pid", &target.pid().to_string()]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("in outer"), "{printed} {}", stderr(&output));
    assert!(target.end().success());
}

fn read_only_root() {
    let target = spinning(ordinary());
    let root = Root::new(&[]);
    let pid = target.pid().to_string();
    let output = root.run(&["/pysample", "record", "--pid", &pid]).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("Read-only file system"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("  hint: ") && line.contains("-o -")), "{told}");
    assert!(target.end().success());
}

// ---- Under pressure ------------------------------------------------------------------------------------------------

fn told_stopped() {
    let target = spinning(ordinary());
    target.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || common::every_thread_is(target.pid(), b'T'));
    let output = common::pysample(&["dump", "--pid", &target.pid().to_string()]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("it is stopped by a signal"), "{}", stderr(&output));
    target.signal(Signal::SIGCONT);
    assert!(target.end().success());
}

fn told_stopped_below() {
    let mut target = ordinary().start("sleepers.py", &["6", "1"]);
    let pids: Vec<u32> = serde_json::from_value(target.json()).unwrap();
    let [first, rest @ ..] = &pids[..] else { panic!("there are six") };
    let send = |pid: u32, signal| kill(Pid::from_raw(pid as i32), signal).unwrap();
    let stop = |pid: u32| {
        send(pid, Signal::SIGSTOP);
        wait_until("it is stopped", || common::every_thread_is(pid, b'T'));
    };
    let pid = target.pid().to_string();
    let told = |pid| format!("pysample: process {pid}: it is stopped by a signal");
    stop(*first);
    let looks = [&["dump"][..], &["gil", "-d", "0.3"], &["top", "--once", "-d", "0.3"]];
    let records = [&["record", "-i", "-d", "0.3", "-f", "collapsed", "-o", "-"][..]];
    for arguments in looks.iter().chain(&records) {
        let output = common::pysample(&[*arguments, &["-s", "--pid", &pid]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).matches("it is stopped by a signal").count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(&told(*first)), "{arguments:?}: {}", stderr(&output));
    }
    rest.iter().for_each(|pid| stop(*pid));
    stop(target.pid());
    let recorded = Recording::start(target.pid(), &["-s", "-i", "-d", "0.3"]).end();
    assert!(recorded.told.contains(&told(target.pid())), "{}", recorded.told);
    assert_eq!(recorded.told.matches("it is stopped by a signal").count(), 3, "{}", recorded.told);
    assert!(recorded.told.contains("nor does anything run of 4 more processes of its family"), "{}", recorded.told);
    pids.iter().chain([&target.pid()]).for_each(|pid| send(*pid, Signal::SIGCONT));
    assert!(target.end().success());
}

fn frozen() {
    let version_two = (&["unified", ""][..], "cgroup.freeze", "1", "0");
    let version_one = (&["freezer"][..], "freezer.state", "FROZEN", "THAWED");
    for (mounts, file, freeze, thaw) in [version_two, version_one] {
        let name = format!("pysample-test-{}", std::process::id());
        let Some(group) = Group::new(mounts, file, &name) else { continue };
        let target = spinning(ordinary());
        group.take(target.pid());
        let frozen = Frozen { group: &group, file, thaw };
        group.write(file, freeze);
        wait_until("it is frozen", || group.is_frozen());
        let output = common::pysample(&["dump", "--pid", &target.pid().to_string()]);
        let (printed, told) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(output.status.success() && printed.contains("in outer"), "{file}: {printed} {told}");
        assert!(told.contains("its control group is frozen"), "{file}: {told}");
        let recorded = Recording::start(target.pid(), &["-d", "0.3", "-i"]).end();
        assert!(recorded.status.success() && recorded.account.taken > 0, "{file}: {}", recorded.told);
        assert!(recorded.told.contains("its control group is frozen"), "{file}: {}", recorded.told);
        let recorded = Recording::start(target.pid(), &["-s", "-d", "0.3", "-i"]).end();
        assert!(recorded.told.contains("its control group is frozen"), "{file}: {}", recorded.told);
        let doctor = doctor(&mut doctor_of(PYSAMPLE, target.pid()), 0);
        assert!(value(&doctor, "state").contains("frozen"), "{doctor:#}");
        drop(frozen);
        assert!(target.end().success());
    }
}

/// Thaws a control group when it is dropped: what is frozen cannot be ended.
struct Frozen<'a> {
    group: &'a Group,
    file: &'static str,
    thaw: &'static str,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = fs::write(self.group.path.join(self.file), self.thaw);
    }
}

/// A process that has a child by `vfork` waits so until the child executes a program or ends.
fn uninterruptible() {
    let script = "import ctypes, os\nif ctypes.CDLL(None).vfork() == 0:\n    os.write(1, b'ready\\n')\n    os.read(0, 1)\n    os._exit(0)\n";
    let mut command = Command::new(&ordinary().command[0]);
    command.args(["-c", script]);
    let mut target = Plain::start(command);
    assert_eq!(target.line(), "ready");
    let pid = target.child.id();
    wait_until("it cannot be woken", || common::every_thread_is(pid, b'D'));
    let output = common::pysample(&["dump", "--pid", &pid.to_string()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("uninterruptible sleep"), "{}", stderr(&output));
    let child = child_of(pid).expect("it has a child");
    let _ = kill(Pid::from_raw(child as i32), Signal::SIGKILL);
    let _ = target.child.kill();
    target.child.wait().unwrap();
}

/// In a PID namespace of its own records a process, ends it and starts others until one has its id, which computes
/// as well.
const REUSES: &str = r#"
import os, subprocess, sys, time

def first():
    while True: sum(range(1000))

def second():
    while True: sum(range(1000))

def reads(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            if open(f"/proc/{pid}/task/{task}/comm").read() == "sampler\n":
                return int(open(f"/proc/{pid}/task/{task}/io").read().split("syscr: ")[1].split()[0])
        except OSError:
            pass # It has ended.

pid = os.fork()
if pid == 0: first()
recording = subprocess.Popen([sys.argv[1], "record", "-i", "-r", "2", "-f", "collapsed", "-o", "-", "--pid", str(pid)])
begun = None
# Some for each sample, and some before the first.
while begun is None or (reads(recording.pid) or begun) < begun + 12:
    time.sleep(0.001)
    begun = reads(recording.pid) if begun is None else begun
os.kill(pid, 9)
os.waitpid(pid, 0)
while True:
    open("/proc/sys/kernel/ns_last_pid", "w").write(str(pid - 1))
    other = os.fork()
    if other == 0:
        if os.getpid() == pid: second()
        os._exit(0)
    if other == pid: break
    os.waitpid(other, 0)
status = recording.wait(60)
os.kill(other, 9)
sys.exit(status)
"#;

fn reused_pid() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).args(&ordinary().command);
    let recorded = Recording::run(command.args(["-c", REUSES, PYSAMPLE])).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.told.contains("until the process ended"), "{}", recorded.told);
    assert!(recorded.profile.contains("first") && !recorded.profile.contains("second"), "{}", recorded.profile);
}

fn target_without_descriptors() {
    let script = "
import os, sys
try:
    while True:
        os.dup(0)
except OSError:
    print('ready', flush=True)
sys.stdin.read()";
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 32; exec \"$0\" -c \"$1\"", &ordinary().command[0], script]);
    let mut target = Plain::start(command);
    assert_eq!(target.line(), "ready");
    let dump = common::dump(target.child.id());
    assert!(threads(&dump).next().is_some_and(|thread| thread["frames"][0]["function"] == "<module>"), "{dump:#}");
    target.end();
}

/// As where `pids.max` is reached.
fn we_without_threads() {
    let target = spinning(ordinary());
    let pid = target.pid().to_string();
    for what in [
        "dump",
        "gil -d 0.1",
        "top --json -d 0.1",
        "record -s -d 0.1 -f collapsed -o -",
        "record -d 0.1 -f collapsed -o -",
    ] {
        let mut command = refusing(&["clone", "clone3"], EAGAIN);
        let output = command.args(what.split(' ')).args(["--pid", &pid]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{what}: {told}");
        assert!(told.contains("error: cannot start a thread") && told.contains("pids.max"), "{what}: {told}");
    }
    assert!(target.end().success());
}

/// A `/proc` of a PID namespace of its own: how it is mounted holds for all who are in it.
fn hidden() {
    let public = public_folder();
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc && \
         as_nobody() {{ setpriv --reuid 65534 --regid 65534 --clear-groups '{}' \"$@\"; }}; \
         as_nobody dump --pid $$; echo \"status $?\"; as_nobody ps",
        public.path().join("pysample").display()
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", &script]).stdin(Stdio::null());
    let output = unshare.output().unwrap();
    let told = stderr(&output);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.starts_with("status 5\nNo Python process is to be seen.\nOther users' processes are hidden"),
        "{printed}"
    );
    assert!(told.contains("the kernel does not even let us look at it"), "{told}");
}

fn without_proc() {
    for command in
        [&["ps"][..], &["doctor"], &["doctor", "--pid", "1"], &["dump", "--pid", "1"], &["dump", "-s", "--pid", "1"]]
    {
        let mut bubble = Command::new("bwrap");
        let output = bubble.args(["--ro-bind", "/", "/", "--tmpfs", "/proc", PYSAMPLE]).args(command).output().unwrap();
        let told = stderr(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{command:?}: {told}");
        assert!(told.contains("/proc is not mounted") && told.contains("mount -t proc"), "{command:?}: {told}");
    }
}

/// As after `nsenter -p` without `-m`: what an id of `/proc` stands for is another process for the kernel.
fn foreign_proc() {
    let target = spinning(ordinary());
    let pid = target.pid().to_string();
    // The `/proc` of the namespace around ours; and one of a namespace that ours is not in, which does not show us at all.
    let outer = ["unshare", "--pid", "--fork", "--kill-child"].map(str::to_owned).to_vec();
    let mut beside = Plain::start({
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "echo $$; read _"]);
        command
    });
    assert_eq!(beside.line(), "1");
    let enter =
        ["nsenter", "--mount", "--target"].map(str::to_owned).into_iter().chain([innermost(&beside).to_string()]);
    for before in [outer, enter.collect()] {
        for words in [
            "ps",
            "doctor",
            &format!("doctor --pid {pid}"),
            &format!("dump --pid {pid}"),
            &format!("dump -s --pid {pid}"),
            &format!("record -d 0.1 -f collapsed -o - --pid {pid}"),
            &format!("record -s -d 0.1 -f collapsed -o - --pid {pid}"),
            &format!("gil -d 0.1 --pid {pid}"),
            "record -d 0.1 -f collapsed -o - -- true",
        ] {
            let mut command = Command::new(&before[0]);
            command.args(&before[1..]).arg(PYSAMPLE).args(words.split(' ')).stdin(Stdio::null());
            let output = command.output().unwrap();
            let told = stderr(&output);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{before:?} {words}: {told}");
            assert!(told.contains("/proc is of another PID namespace") && told.contains("-p -m"), "{words}: {told}");
        }
    }
    beside.end();
    assert!(target.end().success());
}

/// The last of a process's only children's children.
fn innermost(outer: &Plain) -> u32 {
    std::iter::successors(Some(outer.child.id()), |&pid| child_of(pid)).last().unwrap_or_default()
}

fn we_without_descriptors() {
    let target = spinning(ordinary());
    for limit in 3..16 {
        for what in ["dump", "record -d 0.1 -f collapsed -o -"] {
            let script = format!("ulimit -n {limit}; exec '{PYSAMPLE}' {what} --pid {}", target.pid());
            let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
            let told = stderr(&output);
            let status = output.status.code().unwrap_or_else(|| panic!("{limit}: ended by a signal: {told}"));
            assert!(!["panicked", "RUST_BACKTRACE"].iter().any(|word| told.contains(word)), "{limit}: {told}");
            // With very few not even the loader can start a program.
            let is_ours = !told.contains("shared libraries");
            if status != 0 && is_ours {
                assert!(
                    told.starts_with("pysample: error: ") && told.contains("Too many open files"),
                    "{limit}: {told}"
                );
            }
        }
    }
    assert!(target.end().success());
}

fn max_cpu() {
    let target = spinning(ordinary());
    let recorded =
        Recording::start(target.pid(), &["-r", "2000", "-d", "2", "--max-cpu", "1", "--max-pause", "100"]).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.told.contains("left out for --max-cpu"), "{}", recorded.told);
    assert_eq!(recorded.lines_with("so as not to use more processor time"), 1, "{}", recorded.told);
    assert!(recorded.account.taken > 0, "{}", recorded.told);
    assert!(target.end().success());
}

/// In most moments it is ready to run and may not, for tens of milliseconds.
fn held_back() {
    let Some(group) = limited("held-back") else { return };
    let target = spinning(ordinary());
    group.take(target.pid());
    let recorded = Recorded::of(target.pid(), &["-r", "100", "-d", "3", "--max-pause", "100"]);
    let account = &recorded.account;
    assert!(account.taken * 2 > account.asked && account.stopped * 4 < account.taken * 3, "{}", recorded.told);
    assert!(target.end().success());
}

fn throttled() {
    let Some(group) = limited("throttled") else { return };
    let target = spinning(ordinary());
    let pid = target.pid().to_string();
    group.take(target.pid());
    let counts = || {
        let told = fs::read_to_string(group.path.join("cpu.stat")).unwrap();
        ["nr_periods ", "nr_throttled "].map(|name| {
            let count = told.lines().find_map(|line| line.strip_prefix(name));
            count.unwrap_or_else(|| panic!("{told}")).parse::<u64>().unwrap()
        })
    };
    let between = |before: [u64; 2]| {
        let after = counts();
        [after[0] - before[0], after[1] - before[1]]
    };
    // What is told is of the time of the recording, which is most of the time of the command.
    let assert_told = |told: [u64; 2], counted: [u64; 2], text: &str| {
        let is_right = told.iter().zip(counted).all(|(told, counted)| *told <= counted && told * 2 > counted);
        assert!(is_right && told[1] > 0, "{told:?} {counted:?}: {text}");
    };

    let before = counts();
    let recorded = Recorded::of(target.pid(), &["-d", "3", "--max-pause", "100"]);
    let counted = between(before);
    let line = recorded.told.lines().find_map(|line| line.trim().strip_prefix("throttled   in "));
    let line = line.unwrap_or_else(|| panic!("{}", recorded.told));
    let (numbers, limit) = line.split_once(" periods of ").unwrap();
    assert_eq!(limit, "100 ms, by a CPU limit of 0.2 processors");
    let numbers: Vec<u64> = numbers.split(" of ").map(|number| number.parse().unwrap()).collect();
    assert_told([numbers[1], numbers[0]], counted, &recorded.told);

    let before = counts();
    let text = common::printed(&["top", "--json", "--pid", &pid, "-d", "3", "--max-pause", "100"]);
    let counted = between(before);
    let throttled = &serde_json::from_str::<Value>(&text).unwrap()["throttled"];
    assert_eq!((&throttled["processors"], &throttled["period_seconds"]), (&0.2.into(), &0.1.into()), "{text}");
    assert_told(["periods", "throttled"].map(|name| throttled[name].as_u64().unwrap()), counted, &text);

    let doctor = doctor(&mut doctor_of(PYSAMPLE, target.pid()), 0);
    let told = value(&doctor, "CPU limit");
    assert!(told.starts_with("0.2 processors, by its control group: throttled in "), "{told}");
    let counts = counts();
    let periods: Vec<u64> = told.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(periods[0] <= counts[1] && periods[0] * 2 > counts[1], "{told}: {counts:?}");
    assert!(target.end().success());
}

/// A control group that may use a fifth of a processor.
fn limited(name: &str) -> Option<Group> {
    let limits =
        [(&["unified", ""][..], "cpu.max", "20000 100000"), (&["cpu", "cpu,cpuacct"][..], "cpu.cfs_quota_us", "20000")];
    let name = format!("pysample-test-{name}-{}", std::process::id());
    let made = limits.iter().find_map(|(mounts, file, limit)| {
        let group = Group::make(mounts, file, &name)?;
        group.write(file, limit);
        Some(group)
    });
    if made.is_none() {
        eprintln!("SKIPPED: no control group with a limit can be made here");
    }
    made
}

fn cgroup_cpu_limit() {
    let Some(group) = limited("cpu") else { return };
    let target = spinning(ordinary());
    let script = format!(
        "echo $$ > '{}'; exec '{PYSAMPLE}' record -r 2000 -d 2 --max-pause 100 -f collapsed -o - --pid {}",
        group.path.join("cgroup.procs").display(),
        target.pid()
    );
    let recorded = Recording::run(Command::new("sh").args(["-c", &script])).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert!(recorded.told.contains("left out for --max-cpu"), "{}", recorded.told);
    assert_eq!(recorded.lines_with("so as not to use more processor time"), 1, "{}", recorded.told);
    assert!(target.end().success());
}

// ---- Stand-ins -----------------------------------------------------------------------------------------------------

/// A process that ends when its standard input is closed.
struct Plain {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Plain {
    fn start(mut command: Command) -> Plain {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Plain { stdin: child.stdin.take(), stdout, child }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python in namespaces of its own, below a process of ours that made them.
struct Contained {
    outer: Plain,
    /// The Python, or the shell that started it.
    pid: u32,
    _folder: Option<TempDir>,
}

impl Contained {
    /// Runs a program in namespaces of its own, with the interpreter's root as its own root.
    fn start(kind: &Kind, program: &str, arguments: &[&str]) -> Contained {
        let root = kind.root.as_ref().expect("it has a root");
        let (folder, inside) = kind.folder();
        for name in [program, "moving.py", "oracle.py"] {
            fs::copy(common::programs().join(name), folder.path().join(name)).unwrap();
        }
        let script = "mount --bind \"$1\" \"$1\" && cd \"$1\" && pivot_root . mnt && cd / && mount -t proc proc /proc && \
                      umount -l /mnt && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]);
        command.args(["sh", "-c", script, "sh"]).arg(root).arg(kind.command.last().unwrap());
        command.arg(inside.join(program)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        Contained { _folder: Some(folder), ..Contained::of(command) }
    }

    fn of(command: Command) -> Contained {
        let outer = Plain::start(command);
        Contained { pid: outer.child.id(), outer, _folder: None }
    }

    /// The next line; whoever prints it is the innermost child by now.
    fn line(&mut self) -> String {
        let line = self.outer.line();
        let is_outside =
            |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == fs::read_link("/proc/self/ns/pid").ok();
        while is_outside(self.pid) {
            match child_of(self.pid) {
                Some(child) => self.pid = child,
                None => panic!("process {} has no child", self.pid),
            }
        }
        // bwrap has a process of its own in the namespace, before the program.
        if fs::read_to_string(format!("/proc/{}/comm", self.pid)).is_ok_and(|name| name == "bwrap\n") {
            self.pid = child_of(self.pid).unwrap_or(self.pid);
        }
        line
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn end(self) {
        self.outer.end();
    }
}

/// A root that holds the static binary and what it is given, read-only, with a `/proc` that shows all processes.
struct Root(TempDir);

impl Root {
    fn new(files: &[(&str, &str)]) -> Root {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::copy(static_binary(), root.path().join("pysample")).unwrap();
        for (from, to) in files {
            let to = root.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(fs::canonicalize(from).unwrap_or_else(|_| panic!("there is no {from}")), to).unwrap();
        }
        Root(root)
    }

    fn run(&self, program: &[&str]) -> Command {
        let mut command = Command::new("bwrap");
        command.arg("--ro-bind").arg(self.0.path()).args(["/", "--proc", "/proc", "--cap-add", "ALL", "--chdir", "/"]);
        command.arg("--").args(program).env("PATH", "/bin").stdin(Stdio::null());
        command
    }
}

/// A control group of the test's own.
struct Group {
    path: PathBuf,
    /// How many folders of it are ours.
    depth: usize,
}

impl Group {
    /// Makes one in the first of some hierarchies that can have it, which has to have a file; `None`, loudly, if none can.
    fn new(hierarchies: &[&str], file: &str, path: &str) -> Option<Group> {
        let made = Group::make(hierarchies, file, path);
        if made.is_none() {
            eprintln!("SKIPPED: no control group with {file} can be made here");
        }
        made
    }

    fn make(hierarchies: &[&str], file: &str, path: &str) -> Option<Group> {
        let hierarchy =
            |name: &&str| Some(Path::new("/sys/fs/cgroup").join(name)).filter(|it| it.join("cgroup.procs").exists());
        hierarchies.iter().filter_map(hierarchy).find_map(|hierarchy| {
            let path = hierarchy.join(path);
            let depth = path.components().count() - hierarchy.components().count();
            fs::create_dir_all(&path).ok()?;
            // What is made and of no use is removed again.
            Some(Group { path, depth }).filter(|group| group.path.join(file).exists())
        })
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    fn take(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    fn is_frozen(&self) -> bool {
        let says = |file: &str, line: &str| {
            fs::read_to_string(self.path.join(file)).is_ok_and(|text| text.lines().any(|found| found == line))
        };
        says("cgroup.events", "frozen 1") || says("freezer.state", "FROZEN")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut path = self.path.clone();
        // It may take a moment until those that were killed have left.
        wait_until("the control group is empty", || {
            fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|pids| pids.trim().is_empty())
        });
        for _ in 0..self.depth {
            let _ = fs::remove_dir(&path);
            path.pop();
        }
    }
}

const EPERM: u32 = 1;
const EAGAIN: u32 = 11;
const ENOSYS: u32 = 38;

/// Becomes the program of its later arguments, with the system calls of its second refused by the errno of its first.
const REFUSES: &str = r#"
import ctypes, os, platform, struct, sys
numbers = {
    "x86_64": {"process_vm_readv": 310, "ptrace": 101, "pidfd_open": 434, "openat2": 437, "setpriority": 141,
               "prlimit64": 302, "prctl": 157, "perf_event_open": 298, "statx": 332, "waitid": 247, "clone": 56, "clone3": 435},
    "aarch64": {"process_vm_readv": 270, "ptrace": 117, "pidfd_open": 434, "openat2": 437, "setpriority": 140,
                "prlimit64": 261, "prctl": 167, "perf_event_open": 241, "statx": 291, "waitid": 95, "clone": 220, "clone3": 435},
}[platform.machine()]
refused = [numbers[name] for name in sys.argv[2].split(",")]
load, equal, give = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0)]
steps += [(equal, len(refused) - at, 0, number) for at, number in enumerate(refused)]
steps += [(give, 0, 0, 0x7fff0000), (give, 0, 0, 0x00050000 | int(sys.argv[1]))]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for option, mode, argument in (38, 1, None), (22, 2, program):
    if libc.prctl(option, mode, argument, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.argv[3], sys.argv[3:])
"#;

/// pysample with some system calls refused.
fn refusing(calls: &[&str], errno: u32) -> Command {
    let mut command = ordinary().command();
    command.args(["-c", REFUSES, &errno.to_string(), &calls.join(","), PYSAMPLE]).stdin(Stdio::null());
    command
}

fn without_ptrace() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]).stdin(Stdio::null());
    command
}

fn as_nobody(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program).current_dir("/");
    command
}

/// An interpreter that another user may run, which is one that is installed.
fn for_everybody() -> &'static Kind {
    let public = common::kinds().find(|kind| kind.root.is_none() && kind.elf.starts_with("/usr"));
    public.expect("there is an interpreter for everybody")
}

/// A folder that everybody may use, with pysample in it.
fn public_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("pysample-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(PYSAMPLE, folder.path().join("pysample")).unwrap();
    folder
}

fn spinning(kind: &Kind) -> Running {
    let mut target = kind.start("spin.py", &[]);
    assert_eq!(target.line(), "ready");
    wait_until("it is in its functions", || {
        let dump = common::pysample(&["dump", "--pid", &target.pid().to_string()]);
        String::from_utf8_lossy(&dump.stdout).contains("in outer")
    });
    target
}

// ---- What is told --------------------------------------------------------------------------------------------------

fn doctor_of(program: &str, pid: u32) -> Command {
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "--pid", &pid.to_string()]).stdin(Stdio::null());
    command
}

/// What a doctor says, as JSON, having ended with a status.
fn doctor(command: &mut Command, status: i32) -> Value {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!((&told["schema"], &told["verdict"]["exit_status"]), (&1.into(), &status.into()));
    told
}

fn rule<'d>(doctor: &'d Value, name: &str) -> &'d Value {
    let found = doctor["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name);
    found.unwrap_or_else(|| panic!("there is no rule {name}: {doctor:#}"))
}

fn outcome<'d>(doctor: &'d Value, name: &str) -> &'d str {
    rule(doctor, name)["outcome"].as_str().unwrap()
}

fn value<'d>(doctor: &'d Value, name: &str) -> &'d str {
    rule(doctor, name)["value"].as_str().unwrap()
}

/// What `ps` says of a process.
fn listed(pid: u32) -> Value {
    let told: Value = serde_json::from_str(&common::printed(&["ps", "--json"])).unwrap();
    let found = told["processes"].as_array().unwrap().iter().find(|process| process["pid"] == pid).cloned();
    found.unwrap_or_else(|| panic!("process {pid} is not listed: {told:#}"))
}

/// Name and frames of each thread.
fn frames(dump: &Value) -> Vec<(&Value, &Value)> {
    threads(dump).map(|thread| (&thread["name"], &thread["frames"])).collect()
}

fn threads(told: &Value) -> impl Iterator<Item = &Value> {
    told["interpreters"].as_array().unwrap().iter().flat_map(|interpreter| interpreter["threads"].as_array().unwrap())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A child of a process.
fn child_of(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

fn yama() -> u8 {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    scope.trim().parse().unwrap_or(0)
}
