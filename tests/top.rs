//! `top` as a user has it: on a terminal, with keys; and without one.

mod common;
#[path = "../src/run/top/screen.rs"]
mod screen;

#[path = "common/pty.rs"]
mod pty;

use std::fs;
use std::path::Path;

use common::{Running, names, ordinary, printed};
use nix::sys::signal::Signal;
use pty::{TAKEN, Terminal, UNTOUCHED, code};
use serde_json::Value;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");
const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 50);
const ESCAPE: &str = "\x1b";

fn target() -> Running {
    let mut target = ordinary().start("mix.py", &[]);
    assert_eq!(target.line(), "ready");
    target
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn top(target: &Running, size: (u16, u16), folder: &Path) -> Terminal {
    Terminal::run(PYSAMPLE, &["top", "--pid", &target.pid().to_string()], size, folder)
}

/// Whether a line with one text comes before one with another.
fn is_before(shown: &str, one: &str, other: &str) -> bool {
    let line = |text: &str| shown.lines().skip(6).position(|line| line.contains(text));
    matches!((line(one), line(other)), (Some(one), Some(other)) if one < other)
}

#[test]
fn a_user_sorts_filters_opens_resizes_saves_and_quits() {
    let (target, folder) = (target(), folder());
    let mut terminal = top(&target, SMALL, folder.path());
    terminal.wait("functions are shown", |shown| is_before(shown, " spin ", " work "));
    terminal.is_set(&TAKEN);

    terminal.press("<");
    terminal.wait("it is sorted by file", |shown| shown.contains("↓file:line"));
    terminal.press(">>");
    terminal.wait("it is sorted by total", |shown| {
        shown.contains("↓total%") && is_before(shown, " work ", " third ") && is_before(shown, "<module>", " third ")
    });

    terminal.press("/fifth");
    terminal.wait("it is filtered", |shown| {
        shown.contains("filter: fifth") && shown.contains(" fifth ") && !shown.contains(" third ")
    });
    terminal.press("\r");
    terminal.wait("it is typed", |shown| !shown.contains("Enter keeps"));
    terminal.press("\r");
    let shown = terminal.wait("it is opened", |shown| shown.contains("called by") && shown.contains("spin(2 * unit)"));
    assert!(shown.contains(" work ") && shown.contains(" spin "), "{shown}");
    terminal.press(ESCAPE);
    terminal.wait("it is closed", |shown| !shown.contains("called by"));
    terminal.press(ESCAPE);
    terminal.shows(" third ");

    terminal.press("2");
    terminal.wait("the tree is shown", |shown| shown.contains("outermost first") && shown.contains(" half "));
    terminal.press("3");
    terminal.shows("MainThread (");
    terminal.press("4");
    terminal.shows("blame%");
    terminal.press("d");
    terminal.shows("File \"");
    terminal.press("?");
    terminal.shows("save graph");
    terminal.press("?1");
    terminal.wait("the help is gone", |shown| !shown.contains("save graph") && shown.contains("total s"));

    terminal.resize(LARGE);
    terminal.wait("there is more beside the functions", |shown| shown.contains("called by") && shown.contains("runs%"));
    terminal.resize(SMALL);
    terminal.wait("there is not", |shown| !shown.contains("called by") && shown.contains("total s"));

    terminal.press(" ");
    terminal.shows(" FROZEN ");
    terminal.press(" ");
    terminal.wait("it goes on", |shown| !shown.contains(" FROZEN "));

    terminal.press("s");
    terminal.shows("saved mix.py-");
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.is_set(&UNTOUCHED);
    terminal.shows("Recorded mix.py");
    let saved = names(folder.path());
    assert_eq!(saved.len(), 3, "{saved:?}");
    let text = |ending: &str| {
        let name = saved.iter().find(|name| name.ends_with(ending)).expect("it was saved");
        fs::read_to_string(folder.path().join(name)).expect("it can be read")
    };
    assert!(text(".txt").lines().any(|line| line.contains("half (mix.py:") && line.contains("spin (mix.py:")));
    assert!(text(".svg").contains("spin (mix.py:"));
    let whole = saved.iter().find(|name| name.ends_with(".pysample")).expect("it was saved");
    let stacks = common::printed(&["convert", folder.path().join(whole).to_str().expect("a name"), "-F", "-o", "-"]);
    assert!(stacks.lines().any(|line| line.contains("half (mix.py:") && line.contains("spin (mix.py:")), "{stacks}");
}

#[test]
fn a_signal_that_ends_it_restores_the_terminal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGALRM, Signal::SIGXCPU] {
        let (target, folder) = (target(), folder());
        let mut terminal = top(&target, SMALL, folder.path());
        terminal.shows(" spin ");
        terminal.is_set(&TAKEN);
        terminal.signal(Signal::SIGUSR1);
        terminal.signal(signal);
        assert_eq!(code(terminal.end()), 0, "{signal}");
        terminal.is_set(&UNTOUCHED);
    }
}

#[test]
fn a_signal_is_for_the_command_too() {
    let folder = folder();
    let script = "import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: print('told', flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print('it has begun', flush=True)
def busy():
    while True:
        sum(range(1000))
busy()";
    let python = &ordinary().command[0];
    let mut terminal = Terminal::run(PYSAMPLE, &["top", "--", python, "-c", script], SMALL, folder.path());
    terminal.shows(" busy ");
    terminal.press("6");
    terminal.shows("it has begun");
    terminal.signal(Signal::SIGUSR1);
    terminal.shows("told");
    terminal.signal(Signal::SIGTERM);
    assert_eq!(code(terminal.end()), 7);
    terminal.is_set(&UNTOUCHED);
}

#[test]
fn keys_that_come_together_mean_what_they_would_one_by_one() {
    let (target, folder) = (target(), folder());
    let mut terminal = top(&target, SMALL, folder.path());
    terminal.shows(" spin ");
    // Frozen, so that the second row stays the second.
    terminal.press(" ");
    let shown = terminal.shows("FROZEN");
    let second = shown.lines().nth(7).expect("it is shown").split_whitespace().rev().nth(1).expect("a name").to_owned();
    terminal.press("\x1b[B\r");
    let shown = terminal.shows("called by");
    let title = shown.lines().nth(5).expect("it is shown").trim_start();
    assert!(title.starts_with(&second), "{second} is not {title}");
    // A picture for each would take more minutes than anybody waits.
    terminal.press(&"j".repeat(3000));
    // Nor does a key get lost that comes with a change of size.
    terminal.resize((81, SMALL.1));
    terminal.resize(SMALL);
    terminal.press("q");
    assert!(terminal.end().success());
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_lets_the_target_run() {
    let (target, folder) = (target(), folder());
    let mut terminal = Terminal::run("bash", &["--norc", "-i"], SMALL, folder.path());
    let command = format!("{PYSAMPLE} top --pid {}; echo status-$?\n", target.pid());
    terminal.press(&command);
    terminal.shows(" spin ");
    terminal.is_set(&TAKEN);
    terminal.press("\x1a");
    terminal.shows("Stopped");
    // A shell that edits lines itself has the terminal raw while it waits: what it runs finds it as it should be.
    terminal.press("stty -a | grep -o ' icanon'; echo asked\n");
    terminal.wait("the terminal is cooked", |shown| shown.contains("\n icanon") && shown.contains("\nasked"));
    let settings = terminal.wait_for("the shell", |screen| Some((screen.alternate_screen(), screen.hide_cursor())));
    assert_eq!(settings, (false, false));
    let traced = || {
        let status = fs::read_to_string(format!("/proc/{}/status", target.pid())).expect("the target runs");
        !status.contains("TracerPid:\t0\n")
    };
    assert!(!traced(), "nobody traces the target meanwhile");
    terminal.press("fg; echo over\n");
    terminal.wait_for("it is drawn again", |screen| {
        (screen.alternate_screen() && screen.contents().contains(" spin ")).then_some(())
    });
    terminal.is_set(&TAKEN);
    terminal.press("q");
    terminal.wait_for("it has ended", |screen| (!screen.alternate_screen()).then_some(()));
    terminal.shows("Recorded mix.py");
    // What is typed while it ends is still for the view.
    terminal.wait("the shell is back", |shown| shown.contains("\nover"));
    terminal.press("exit\n");
    terminal.end();
}

/// Runs a program in a group of its own that has the terminal, as a shell does, and keeps it where it is when it stops.
const LAUNCH: &str = r#"
import os, signal, sys
if os.fork() == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    with open("pid", "w") as file:
        file.write(str(os.getpid()))
    os.execv(sys.argv[1], sys.argv[1:])
os.wait()
"#;

#[test]
fn whoever_uses_the_terminal_out_of_turn_stops_between_two_samples() {
    let (target, folder) = (target(), folder());
    let pid = target.pid().to_string();
    let arguments = ["-c", LAUNCH, PYSAMPLE, "top", "-r", "20000", "--max-pause", "100", "--pid", &pid];
    let mut terminal = Terminal::run("python3", &arguments, SMALL, folder.path());
    terminal.shows(" spin ");
    let top = fs::read_to_string(folder.path().join("pid")).expect("it was written before");
    let top: u32 = top.parse().expect("a number");
    let is_stopped = || common::every_thread_is(top, b'T');
    for signal in [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().cycle().take(20) {
        let send =
            |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(top as i32), signal).expect("it is there");
        send(signal);
        common::wait_until("it is stopped", is_stopped);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the target runs");
        assert!(status.contains("TracerPid:\t0\n"), "{signal}: {status}");
        send(Signal::SIGCONT);
        common::wait_until("it goes on", || !is_stopped());
        // By any of its threads, and while one is at it another may take the next signal to stop first, which then counts as
        // revoked. Whoever uses a terminal out of turn is told again; here nobody is.
        common::wait_until("it has taken the signal to go on", || common::is_taken(top, Signal::SIGCONT));
    }
    terminal.press("q");
    assert!(terminal.end().success());
}

/// Not a test by itself: what the next one runs on a terminal.
#[test]
fn panics_on_a_screen_if_it_is_told_to() {
    if std::env::var_os("PYSAMPLE_TEST_PANICS").is_none() {
        return;
    }
    let mut screen = screen::Screen::enter().expect("there is a terminal");
    screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("there is a terminal");
    assert!(screen.is_ours() && screen.drawn_size() == SMALL);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("there is a terminal");
    screen.take().expect("there is a terminal");
    screen.leave();
    screen.take().expect("there is a terminal");
    panic!("deliberately");
}

#[test]
fn a_panic_restores_the_terminal_before_it_is_told() {
    let folder = folder();
    let this = std::env::current_exe().expect("we are a program");
    let this = this.to_str().expect("a plain name");
    let arguments = [
        "PYSAMPLE_TEST_PANICS=1",
        "RUST_BACKTRACE=0",
        this,
        "--exact",
        "panics_on_a_screen_if_it_is_told_to",
        "--nocapture",
    ];
    let mut terminal = Terminal::run("env", &arguments, SMALL, folder.path());
    terminal.shows("drawn");
    terminal.is_set(&TAKEN);
    terminal.press("\r\n");
    assert!(!terminal.end().success());
    terminal.is_set(&UNTOUCHED);
    terminal.shows("deliberately");
}

#[test]
fn what_was_seen_last_stays_when_the_target_ends() {
    let (target, folder) = (target(), folder());
    let mut terminal = top(&target, SMALL, folder.path());
    terminal.shows(" spin ");
    target.signal(Signal::SIGKILL);
    drop(target);
    let shown = terminal.shows("ENDED: the process has ended");
    assert!(shown.contains(" spin "), "{shown}");
    terminal.press("s");
    terminal.shows("saved mix.py-");
    terminal.press("\r");
    // Its source can still be read.
    terminal.wait("the source", |shown| shown.contains("called by") && shown.contains(" def "));
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.is_set(&UNTOUCHED);
    terminal.shows("until the process ended");
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn a_dump_of_several_processes_has_the_source_of_each() {
    let (mut server, folder) = (ordinary().start("prefork.py", &["1"]), folder());
    server.line();
    let pid = server.pid().to_string();
    let mut terminal = Terminal::run(PYSAMPLE, &["top", "-s", "--pid", &pid], LARGE, folder.path());
    terminal.shows(" worker ");
    terminal.press("d");
    let is_apart = |shown: &str| {
        let lines: Vec<_> = shown.lines().skip(6).collect();
        lines.windows(2).any(|two| two[0].trim().is_empty() && two[1].starts_with("Process "))
    };
    terminal.wait("the worker's source", |shown| shown.contains("rounds(10)") && is_apart(shown));
    terminal.press("q");
    assert!(terminal.end().success());
}

#[test]
fn a_command_prints_into_a_view_and_ends_as_it_would() {
    let folder = folder();
    let script = "import time
print('it has begun', flush=True)
end = time.time() + 1000
def busy():
    while time.time() < end:
        sum(range(1000))
try:
    busy()
except KeyboardInterrupt:
    print('it was interrupted')
    raise SystemExit(7)";
    let python = &ordinary().command[0];
    let mut terminal = Terminal::run(PYSAMPLE, &["top", "--", python, "-c", script], SMALL, folder.path());
    terminal.shows(" busy ");
    terminal.press("6");
    terminal.shows("it has begun");
    terminal.press("\x03");
    assert_eq!(code(terminal.end()), 7);
    terminal.is_set(&UNTOUCHED);
    let shown = terminal.shows("it was interrupted");
    assert!(shown.contains("it has begun"), "{shown}");
}

#[test]
fn without_a_terminal_one_refresh_is_printed() {
    let target = target();
    let pid = target.pid().to_string();
    let shown = printed(&["top", "--pid", &pid, "-d", "1"]);
    assert!(
        shown.contains("mix.py (pid") && shown.contains("spin (mix.py:") && shown.contains("MainThread"),
        "{shown}"
    );
    assert!(!shown.contains('\x1b'), "{shown}");
}

#[test]
fn json_is_for_programs() {
    let target = target();
    let told = printed(&["top", "--pid", &target.pid().to_string(), "-d", "6", "--max-pause", "100", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!((&told["schema"], &told["program"], &told["mode"]), (&1.into(), &"mix.py".into(), &"cpu".into()));
    assert_eq!(told["processes"][0]["pid"], target.pid());
    let functions = told["functions"].as_array().expect("a list");
    let share = |name: &str| {
        let of = functions.iter().find(|function| function["function"] == name);
        of.map_or(0.0, |of| of["total"].as_f64().expect("a number"))
    };
    assert!(share("work") > 0.9 && share("spin") > 0.9, "{told}");
    // It is busy in them for 50, 30 and 20 % of the time; of some hundred samples that is told apart.
    assert!(share("half") > share("fifth") && share("half") < 0.9, "{told}");
}

#[test]
fn every_version_and_builds_without_a_gil_are_shown() {
    let free = common::kinds().filter(|kind| kind.flavour == "free-threaded" && !kind.gil && kind.root.is_none());
    for kind in common::one_of_each().chain(free) {
        let mut target = kind.start("mix.py", &[]);
        assert_eq!(target.line(), "ready");
        for pause in [&[][..], &["--never-pause"]] {
            let pid = target.pid().to_string();
            let arguments = [&["top", "--pid", &pid, "-d", "1", "--json"], pause].concat();
            let told: Value = serde_json::from_str(&printed(&arguments)).expect("it is JSON");
            let functions = told["functions"].as_array().expect("a list");
            let is_there = |name: &str| functions.iter().any(|function| function["function"] == name);
            assert!(is_there("spin") && is_there("work"), "{}: {told}", kind.kind);
            assert_eq!(told["gils"][0]["exists"], kind.gil, "{}", kind.kind);
            let version = told["processes"][0]["python"].as_str().expect("a text");
            assert!(version.starts_with(&format!("3.{}", kind.minor)), "{}: {version}", kind.kind);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_drawn() {
    let refused = |arguments: &[&str]| {
        let output = common::pysample(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, told) = refused(&["top", "--pid", "1", "--window", "7"]);
    assert!(status == Some(2) && told.contains("a window is 1, 2, 5, 10, 30 or 60 seconds long"), "{told}");
    let (status, _) = refused(&["top", "--pid", &i32::MAX.to_string(), "--once"]);
    assert_eq!(status, Some(3));
    let (status, told) = refused(&["top"]);
    assert!(status == Some(2) && told.contains("nothing to show live"), "{told}");
}
