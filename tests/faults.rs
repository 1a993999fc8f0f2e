//! What may go wrong while a thread is stopped for a sample, or with who samples: job control, other tracers, sudden ends on
//! either side, filters. The target takes no harm, and the recording goes on or tells.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use common::recording::{Recorded, Recording, processors};
use common::{Kind, Running, wait_until};
use libtest_mimic::Arguments;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

/// What is told where threads cannot be stopped.
const CANNOT: &str = "does not let us stop threads";

type Tests = &'static [(&'static str, fn(&Kind))];

/// Run by one interpreter of each minor version, and by free-threaded ones.
const OF_EACH_VERSION: Tests = &[
    ("a target that is stopped and goes on is recorded throughout", job_control),
    ("a pysample that is killed lets go of the target", killed_in_the_window),
    ("a pysample that a terminal stops holds nobody meanwhile", stopped_by_a_terminal),
    ("a pysample that is to go on before it has stopped goes on", stops_revoked),
    ("a target that forks all the time has its children live", forks),
    ("a target that is killed ends a recording", targets_killed),
];

/// Run by one ordinary interpreter.
const ALONE: Tests = &[
    ("a parent sees one stop and one continuation", one_stop),
    ("a target stopped before the recording stays stopped", stopped_before),
    ("a thousand looks leave no trace", thousand_looks),
    ("under a debugger nobody is stopped and it is told once", debugger_attached),
    ("under a system call tracer nobody is stopped and it is told once", strace_attached),
    ("a tracer that comes and goes is told once, and after it the program is stopped again", tracer_comes_and_goes),
    ("where a filter forbids ptrace nobody is stopped and it is told once", forbidden),
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
    let free_threaded = common::kinds().filter(|kind| kind.kind == "3.14t" || kind.kind == "3.15t");
    let trials = (common::one_of_each().chain(free_threaded).flat_map(|kind| of(kind, OF_EACH_VERSION)))
        .chain(of(common::ordinary(), ALONE));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn spinning(kind: &Kind) -> Running {
    let mut target = kind.start("spin.py", &[]);
    assert_eq!(target.line(), "ready");
    target
}

// ---- Job control ---------------------------------------------------------------------------------------------------

/// Stopped and continued again and again, while it is stopped for samples as well.
fn job_control(kind: &Kind) {
    for signal in [Signal::SIGSTOP, Signal::SIGTSTP] {
        let target = spinning(kind);
        let recording = Recording::start(target.pid(), &["-r", "2000", "--max-pause", "100", "-i"]);
        recording.has_begun();
        for _ in 0..10 {
            target.signal(signal);
            wait_until("the target is stopped", || is_stopped(target.pid()));
            // It is sampled on, and nothing of that sets it going.
            recording.has_read(20);
            assert!(is_stopped(target.pid()), "{signal}: it goes on without SIGCONT");
            target.signal(Signal::SIGCONT);
            wait_until("the target goes on", || states(target.pid()).contains(&'R'));
            recording.has_read(20);
        }
        let recorded = recording.stop();
        assert!(recorded.status.success(), "{}", recorded.told);
        assert!(recorded.account.is_whole() && recorded.account.stacks > 0, "{}", recorded.told);
        assert_untouched(&target);
        assert!(target.end().success());
    }
}

/// As a shell sees it that waits for its job.
fn one_stop(kind: &Kind) {
    let target = spinning(kind);
    let pid = Pid::from_raw(target.pid() as i32);
    let recording = Recording::start_elsewhere(target.pid(), &["-r", "5000", "--max-pause", "100"]);
    recording.has_begun();
    let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
    for _ in 0..200 {
        target.signal(Signal::SIGSTOP);
        assert_eq!(waitpid(pid, Some(flags)), Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
        recording.has_read(5);
        assert_eq!(waitpid(pid, Some(flags | WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive), "it is told once");
        target.signal(Signal::SIGCONT);
        assert_eq!(waitpid(pid, Some(flags)), Ok(WaitStatus::Continued(pid)));
        recording.has_read(5);
        assert_eq!(waitpid(pid, Some(flags | WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive), "it is told once");
    }
    let recorded = recording.stop();
    assert!(recorded.status.success() && recorded.account.stopped > 20, "{}", recorded.told);
    assert!(target.end().success());
}

fn stopped_before(kind: &Kind) {
    let target = spinning(kind);
    target.signal(Signal::SIGSTOP);
    wait_until("the target is stopped", || is_stopped(target.pid()));
    let recorded = Recorded::of(target.pid(), &["-r", "1000", "-d", "0.5", "-i"]);
    assert!(recorded.account.taken > 0 && recorded.account.unreadable == 0, "{}", recorded.told);
    assert!(recorded.profile.contains("<module> (spin.py:"), "{}", recorded.profile);
    assert!(is_stopped(target.pid()));
    target.signal(Signal::SIGCONT);
    assert!(target.end().success());
}

// ---- Sudden ends ---------------------------------------------------------------------------------------------------

fn killed_in_the_window(kind: &Kind) {
    let target = spinning(kind);
    for number in 0..25_u32 {
        let recording = Recording::start(target.pid(), &["-r", "20000", "--max-pause", "100"]);
        recording.has_begun();
        // At another place of the window each time.
        let until = Instant::now() + std::time::Duration::from_micros(u64::from(number) * 37);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        recording.signal(Signal::SIGKILL);
        let recorded = recording.end();
        assert_eq!(recorded.status.code(), None, "it was killed while it recorded");
        assert_untouched(&target);
        let before = turns(target.pid());
        wait_until("the target goes on", || turns(target.pid()) > before);
    }
    assert!(target.end().success());
}

/// As with Ctrl-Z and `fg`, again and again: whatever thread of the target is stopped just then goes on before pysample stops.
fn stopped_by_a_terminal(kind: &Kind) {
    for program in ["spin.py", "ordered.py"] {
        let mut target = kind.start(program, &["100000"]);
        assert_eq!(target.line(), "ready");
        target.tell("go\n");
        let mut command = Command::new(PYSAMPLE);
        command.args(["record", "-f", "collapsed", "-o", "-", "--pid", &target.pid().to_string()]);
        // A group of its own, as a shell gives it.
        let recording = Recording::run(command.args(["-r", "20000", "--max-pause", "100", "-i"]).process_group(0));
        recording.has_begun();
        for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].iter().cycle().take(30) {
            recording.signal(*signal);
            wait_until("pysample is stopped", || is_stopped(recording.pid()));
            assert_eq!(tracer_of(target.pid()), 0, "{program}, {signal}");
            assert!(!states(target.pid()).contains(&'t'), "{signal}: {:?}", states(target.pid()));
            let before = turns(target.pid());
            wait_until("the target runs on", || turns(target.pid()) > before);
            recording.signal(Signal::SIGCONT);
            recording.has_read(20);
            // A thread that is still at it would revoke the next one.
            wait_until("it has gone on", || common::is_taken(recording.pid(), Signal::SIGCONT));
        }
        let recorded = recording.stop();
        assert!(recorded.status.success() && recorded.account.is_whole(), "{}", recorded.told);
        assert!(recorded.account.late > 0 && recorded.account.taken > 0, "what was missed is late: {}", recorded.told);
    }
}

/// Whoever has us go on before we have stopped has us go on.
fn stops_revoked(kind: &Kind) {
    let mut target = kind.start("spin.py", &[]);
    assert_eq!(target.line(), "ready");
    let mut command = Command::new(PYSAMPLE);
    command.args(["record", "-f", "collapsed", "-o", "-", "--pid", &target.pid().to_string()]);
    let recording = Recording::run(command.args(["-r", "20000", "--max-pause", "100"]).process_group(0));
    recording.has_begun();
    for _ in 0..150 {
        recording.signal(Signal::SIGTSTP);
        recording.signal(Signal::SIGCONT);
        recording.has_read(3);
    }
    let recorded = recording.stop();
    assert!(recorded.status.success() && recorded.account.is_whole(), "{}", recorded.told);
}

fn targets_killed(kind: &Kind) {
    for number in 0..12_u32 {
        let program = if number % 2 == 0 { "spin.py" } else { "churn.py" };
        let mut target = kind.start(program, &[]);
        assert_eq!(target.line(), "ready");
        let arguments = ["-r", "20000", "--max-pause", "100", "-i"];
        let recording = Recording::start(target.pid(), &arguments);
        recording.has_read(u64::from(number) * 7 + 1);
        target.signal(Signal::SIGKILL);
        let recorded = recording.end();
        assert_eq!(recorded.status.code(), Some(0), "{}", recorded.told);
        assert_eq!(recorded.lines_with("until the process ended"), 1, "{}", recorded.told);
        let counted: u64 = recorded.stacks().map(|(_, count)| count).sum();
        assert!(recorded.account.is_whole() && counted == recorded.account.counts, "{}", recorded.told);
    }
}

/// Forks children that do a little and end with a status of their own, and tells how many ended with another.
const FORKS: &str = r#"
import os, sys
sys.path.insert(0, sys.argv[1])
def work():
    total = 0
    for number in range(2000):
        total += number
    return total
os.write(1, b"ready\n")
wrong = 0
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        work()
        os._exit(number % 100)
    work()
    wrong += os.waitpid(child, 0)[1] != (number % 100) << 8
os.write(1, b"%d wrong\n" % wrong)
sys.stdin.read()
"#;

fn forks(kind: &Kind) {
    let mut target = kind.start_with("", &["300"], &["-c", FORKS]);
    assert_eq!(target.line(), "ready");
    let recording = Recording::start(target.pid(), &["-r", "5000", "--max-pause", "100", "-i"]);
    assert_eq!(target.line(), "0 wrong");
    let recorded = recording.stop();
    assert!(recorded.status.success() && recorded.account.is_whole(), "{}", recorded.told);
    assert!(recorded.account.stopped > 20, "{}", recorded.told);
    assert_untouched(&target);
    assert!(target.end().success());
}

/// Counts rounds, and tells for each byte how many they are by now and how many nanoseconds of processor time they took.
const COUNTS: &str = r#"
import sys, time
sys.path.insert(0, sys.argv.pop(1))
from moving import ready
rounds = 0
ready(tell=lambda: "%d %d" % (rounds, time.process_time_ns()))
while True:
    for _ in range(1000):
        pass
    rounds += 1
"#;

/// Rounds in a nanosecond of processor time: the median of some parts of a second, each of so much that the machine's own
/// changes even out.
fn speed(target: &mut Running) -> f64 {
    const PARTS: usize = 9;
    const PART: f64 = 0.1e9;
    let mut now = || {
        target.tell("?");
        let told = target.line();
        let (rounds, time) = told.split_once(' ').expect("two numbers");
        (rounds.parse::<f64>().expect("a number"), time.parse::<f64>().expect("a number"))
    };
    let mut last = now();
    let mut speeds: Vec<f64> = Vec::new();
    wait_until("it has run for long enough", || {
        let next = now();
        if next.1 - last.1 >= PART {
            speeds.push((next.0 - last.0) / (next.1 - last.1));
            last = next;
        }
        speeds.len() == PARTS
    });
    speeds.sort_by(f64::total_cmp);
    speeds[PARTS / 2]
}

fn thousand_looks(kind: &Kind) {
    let mut target = kind.start("threads.py", &["5"]);
    target.json();
    let mut busy = kind.start_with("", &[], &["-c", COUNTS]);
    assert_eq!(busy.line(), "ready");
    let fast = speed(&mut busy);
    for target in [&target, &busy] {
        let before = (threads(target.pid()), files(target.pid()), resident(target.pid()));
        for _ in 0..500 {
            let (process, interpreter) = pysample::attach(target.pid()).expect("the target can be read");
            let pause = pysample::sampler::Pause::Holder;
            let snapshot = pysample::sampler::snapshot(&process, &interpreter, pysample::sampler::Wanted::All, pause)
                .expect("a moment can be taken");
            assert!(!snapshot.interpreters[0].threads.is_empty());
        }
        assert_untouched(target);
        let after = (threads(target.pid()), files(target.pid()), resident(target.pid()));
        assert_eq!((&before.0, &before.1), (&after.0, &after.1));
        assert!(after.2 <= before.2 + 256, "its memory grew from {} to {} KiB", before.2, after.2);
    }
    // A thread that is left in single steps, say, is a thousand times slower; a shared machine changes its own speed by a quarter.
    let afterwards = speed(&mut busy);
    assert!(afterwards > fast / 2.0, "{fast} rounds in a nanosecond before, {afterwards} afterwards");
    let open = files(std::process::id());
    assert!(open.len() < 200, "we keep nothing open: {}", open.len());
    assert!(busy.end().success() && target.end().success());
}

// ---- Other tracers and filters -------------------------------------------------------------------------------------

/// A debugger or a tracer that is attached to a target. It lets go of it when this is dropped.
struct Tracer(Child);

impl Tracer {
    fn attach(command: &mut Command, target: u32) -> Tracer {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let tracer = Tracer(command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}")));
        wait_until("the tracer has the target", || tracer_of(target) != 0);
        tracer
    }

    fn strace(target: u32) -> Tracer {
        Tracer::attach(Command::new("strace").args(["-f", "-o", "/dev/null", "-p", &target.to_string()]), target)
    }

    /// It has let the target go on, or is just about to.
    fn gdb(target: u32) -> Tracer {
        let continues = ["-ex", "set pagination off", "-ex", "continue"];
        let mut command = Command::new("gdb");
        command.args(["-nx", "-q", "-p", &target.to_string()]).args(continues);
        let mut gdb =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("gdb runs");
        let mut told = BufReader::new(gdb.stdout.take().expect("it is a pipe")).lines();
        let continues = told.any(|line| line.is_ok_and(|line| line.contains("Continuing")));
        thread::spawn(move || told.for_each(drop));
        assert!(continues, "gdb ends without continuing");
        Tracer(gdb)
    }

    fn leave(mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        self.0.wait().expect("it is our child");
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn debugger_attached(kind: &Kind) {
    let target = spinning(kind);
    let gdb = Tracer::gdb(target.pid());
    wait_until("the debugger lets the target run", || states(target.pid()).contains(&'R'));
    assert_goes_on(&target);
    gdb.leave();
    wait_until("the debugger has gone", || tracer_of(target.pid()) == 0);
    assert!(target.end().success());
}

fn strace_attached(kind: &Kind) {
    let target = spinning(kind);
    let strace = Tracer::strace(target.pid());
    assert_goes_on(&target);
    strace.leave();
    wait_until("the tracer has gone", || tracer_of(target.pid()) == 0);
    assert!(target.end().success());
}

/// Nobody is stopped, which is told in one line, and samples are taken all the same.
fn assert_goes_on(target: &Running) {
    let recorded = Recorded::of(target.pid(), &["-r", "500", "-d", "1", "-i"]);
    assert_eq!((recorded.lines_with(CANNOT), recorded.account.stopped), (1, 0), "{}", recorded.told);
    assert!(recorded.profile.contains("inner (spin.py:"), "{}\n{}", recorded.told, recorded.profile);
    assert!(recorded.account.is_whole(), "{}", recorded.told);
}

fn tracer_comes_and_goes(kind: &Kind) {
    let mut target = kind.start("by_turns.py", &[]);
    let pid = target.pid();
    assert_eq!(target.line(), "waits");
    target.tell("-");
    assert_eq!(target.line(), "computes");
    let recording = Recording::start_elsewhere(pid, &["-r", "200", "-i"]);
    recording.has_read(30);
    target.tell("-");
    assert_eq!(target.line(), "waits");
    // Only one can have a thread at a time: it must not be stopped when the tracer wants it.
    wait_until("it is left alone", || tracer_of(pid) == 0 && common::every_thread_is(pid, b'S'));
    let strace = Tracer::strace(pid);
    target.tell("-");
    assert_eq!(target.line(), "computes");
    // Not before it has to be stopped: it need not be while others have its processor.
    recording.has_told(CANNOT);
    strace.leave();
    wait_until("the tracer has gone", || tracer_of(pid) == 0);
    recording.has_read(30);
    if processors().len() > 1 {
        wait_until("it is stopped for samples again", || tracer_of(pid) != 0);
    }
    let recorded = recording.stop();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert_eq!(recorded.lines_with(CANNOT), 1, "{}", recorded.told);
    assert!(recorded.account.stopped > 0 && recorded.account.is_whole(), "{}", recorded.told);
    assert_untouched(&target);
    assert!(target.end().success());
}

/// Becomes the program of its arguments, with `ptrace` refused.
const REFUSES_PTRACE: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 101, "aarch64": 117}[platform.machine()]
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

fn forbidden(kind: &Kind) {
    let target = spinning(kind);
    let mut command = kind.command();
    command.args(["-c", REFUSES_PTRACE, PYSAMPLE, "record", "-f", "collapsed", "-o", "-", "-r", "500", "-d", "1"]);
    let recorded = Recording::run(command.args(["--pid", &target.pid().to_string()])).end();
    assert!(recorded.status.success(), "{}", recorded.told);
    assert_eq!((recorded.lines_with(CANNOT), recorded.account.stopped), (1, 0), "{}", recorded.told);
    assert!(recorded.profile.contains("inner (spin.py:"), "{}\n{}", recorded.told, recorded.profile);
    let output = Command::new(&kind.command[0])
        .args(["-c", REFUSES_PTRACE, PYSAMPLE, "dump", "--pid", &target.pid().to_string()])
        .output()
        .expect("it can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("in <module>"), "{printed}");
    assert!(target.end().success());
}

// ---- Looking at the target -----------------------------------------------------------------------------------------

/// Nobody traces any thread of the target, and none is stopped for a tracer.
fn assert_untouched(target: &Running) {
    // Where we were killed, the kernel may still be letting go.
    wait_until("nobody traces the target", || tracer_of(target.pid()) == 0);
    wait_until("nobody is stopped", || !states(target.pid()).iter().any(|state| "tT".contains(*state)));
}

/// The tracer of any thread; 0 for none.
fn tracer_of(pid: u32) -> u32 {
    let tracer = |tid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok())
    };
    threads(pid).iter().filter_map(tracer).max().unwrap_or(0)
}

/// The states of the threads of a process.
fn states(pid: u32) -> Vec<char> {
    let state = |tid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    threads(pid).iter().filter_map(state).collect()
}

/// Whether every thread is stopped by job control.
fn is_stopped(pid: u32) -> bool {
    states(pid).iter().all(|&state| state == 'T')
}

fn threads(pid: u32) -> BTreeSet<u32> {
    let names = common::names(std::path::Path::new(&format!("/proc/{pid}/task")));
    names.iter().map(|name| name.parse().expect("a thread id")).collect()
}

/// What a process has open.
fn files(pid: u32) -> Vec<String> {
    common::names(std::path::Path::new(&format!("/proc/{pid}/fd")))
}

/// Its resident memory, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// For how long the first thread of a process has run, in nanoseconds.
fn turns(pid: u32) -> u64 {
    let times = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat")).expect("the process is there");
    times.split(' ').next().and_then(|time| time.parse().ok()).expect("a number")
}
