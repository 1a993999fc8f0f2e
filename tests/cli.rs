//! The program from outside, as far as that needs no Python: usage, exit statuses, outputs, and commands that are run.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const PYSAMPLE: &str = env!("CARGO_BIN_EXE_pysample");

/// Runs pysample in `folder`, without a terminal.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    pysample(folder, arguments).stdin(Stdio::null()).output().unwrap()
}

fn pysample(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PYSAMPLE);
    command.args(arguments).current_dir(folder);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Asserts that the arguments are refused: with the status, an error in one line and a hint in another, and no file.
fn assert_refused(arguments: &[&str], status: i32, error: &str) {
    let folder = folder();
    let output = run(folder.path(), arguments);
    let told = stderr(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
    assert_eq!(lines[0], format!("pysample: error: {error}"), "{arguments:?}");
    assert!(lines.len() == 1 || (lines.len() == 2 && lines[1].starts_with("  hint: ")), "{arguments:?}: {told}");
    assert_eq!(stdout(&output), "");
    assert_eq!(common::names(folder.path()), [""; 0], "{arguments:?}");
}

/// A process that is no Python and ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn bad_values_are_usage_errors() {
    for (arguments, error) in [
        ("record -p 1 -r 0", "a rate of 0 is out of range"),
        ("record -p 1 -r 1e9", "a rate of 1e9 is out of range"),
        ("record -p 1 -d -1", "a duration of -1 is not more than 0"),
        ("record -p 1 -d 0", "a duration of 0 is not more than 0"),
        ("record -p 1 -f pdf", "there is no format 'pdf'"),
        ("record -p 1 -o a.pdf", "no format goes with the ending .pdf"),
        ("record -p nobody", "'nobody' is not a process id"),
        ("dump -p 0", "'0' is not a process id"),
        ("record", "there is nothing to record"),
        ("record 4242", "unexpected argument '4242' found"),
        ("dump", "the following required arguments were not provided: --pid <PID>"),
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
    ] {
        assert_refused(&arguments.split(' ').collect::<Vec<_>>(), 2, error);
    }
}

#[test]
fn an_argument_with_escape_sequences_is_shown_harmless() {
    assert_refused(&["record", "-p", "1", "-f", "\x1b[31m\nx"], 2, "there is no format '\\x1b[31m\\nx'");
}

#[test]
fn a_process_that_is_not_there_is_status_3() {
    assert_refused(&["dump", "--pid", "2147483647"], 3, "there is no process 2147483647");
    assert_refused(&["record", "--pid", "4294967295", "-o", "x.svg"], 3, "there is no process 4294967295");
}

#[test]
fn a_zombie_is_status_3() {
    let mut zombie = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let mut nothing = String::new();
    zombie.stdout.take().unwrap().read_to_string(&mut nothing).unwrap();
    let stat = format!("/proc/{}/stat", zombie.id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let folder = folder();
    let output = run(folder.path(), &["dump", "--pid", &zombie.id().to_string()]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("zombie"), "{}", stderr(&output));
    zombie.wait().unwrap();
}

#[test]
fn a_process_that_is_not_python_is_status_4() {
    let (sleeper, folder) = (Sleeper::new(), folder());
    for arguments in [["dump", "-p", &sleeper.pid()].as_slice(), &["record", "-o", "x.svg", "-p", &sleeper.pid()]] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).contains("is not a Python process"), "{}", stderr(&output));
        assert_eq!(common::names(folder.path()), [""; 0]);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let folder = folder();
    for arguments in [["--help"].as_slice(), &["record", "--help"], &["dump", "-h"], &["--version"]] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(stderr(&output), "");
    }
    assert!(
        stdout(&run(folder.path(), &["record", "--help"])).contains("pysample record --pid 4242 -d 10 -o profile.svg")
    );
    let version = stdout(&run(folder.path(), &["--version"]));
    assert_eq!(version, format!("pysample {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_has_completions() {
    let folder = folder();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(folder.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("full-filenames"), "{shell}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let folder = folder();
    let mut child = pysample(folder.path(), &["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_full_standard_output_is_status_1() {
    let folder = folder();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = pysample(folder.path(), &["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "pysample: error: cannot write standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn an_output_that_cannot_be_is_found_before_the_command_is_run() {
    for (path, error) in [
        ("/nonexistent/x.svg", "cannot write /nonexistent/x.svg: No such file or directory (os error 2)"),
        ("/tmp", "cannot write /tmp: Is a directory (os error 21)"),
    ] {
        assert_refused(&["record", "-o", path, "--", "touch", "was-run"], 1, error);
    }
}

#[test]
fn a_command_that_cannot_be_run_is_status_1_and_leaves_nothing() {
    assert_refused(
        &["record", "-o", "x.svg", "--", "/nonexistent/command"],
        1,
        "cannot run /nonexistent/command: No such file or directory (os error 2)",
    );
}

#[test]
fn the_status_of_a_command_is_ours() {
    let folder = folder();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let output = run(folder.path(), &["record", "-o", "x.txt", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status), "{script}: {}", stderr(&output));
    }
}

/// Such as those that Ctrl-Z sends, which we put off.
#[test]
fn a_command_blocks_no_signal_that_it_would_not_block_alone() {
    const MASK: [&str; 3] = ["grep", "SigBlk", "/proc/self/status"];
    let folder = folder();
    let alone = Command::new(MASK[0]).args(&MASK[1..]).output().unwrap();
    assert!(alone.status.success());
    for words in [&["record", "-o", "x.txt"][..], &["gil"], &["top", "--once"]] {
        let recorded = run(folder.path(), &[words, &["--"], &MASK[..]].concat());
        let told = String::from_utf8_lossy(&recorded.stdout).into_owned();
        assert!(told.contains(&*String::from_utf8_lossy(&alone.stdout)), "{words:?}: {told}");
    }
}

#[test]
fn a_command_that_never_was_python_makes_an_empty_file_that_is_valid() {
    let folder = folder();
    for name in ["x.svg", "x.txt", "x.folded", "x.collapsed"] {
        let output = run(folder.path(), &["record", "-d", "1.5", "-o", name, "--", "true"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let told = stderr(&output);
        assert!(told.starts_with("No sample was taken: true (pid "), "{told}");
        assert!(told.ends_with(&format!("was never seen running Python\n  written     {name}\n")), "{told}");
    }
    let svg = fs::read_to_string(folder.path().join("x.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.starts_with("No samples"))));
    assert_eq!(fs::read_to_string(folder.path().join("x.txt")).unwrap(), "");
    assert_eq!(common::names(folder.path()), ["x.collapsed", "x.folded", "x.svg", "x.txt"]);
}

#[test]
fn without_a_name_the_file_is_named_after_what_was_recorded() {
    let folder = folder();
    run(folder.path(), &["record", "--", "true"]);
    run(folder.path(), &["record", "-f", "collapsed", "--", "/bin/sh", "-c", "exit 0"]);
    let names = common::names(folder.path());
    assert!(names.len() == 2 && names[0].starts_with("sh-") && names[0].ends_with("Z.txt"), "{names:?}");
    assert!(names[1].starts_with("true-") && names[1].ends_with("Z.svg"), "{names:?}");
}

#[test]
fn a_command_has_our_standard_streams() {
    let folder = folder();
    let mut child = pysample(folder.path(), &["record", "-o", "x.txt", "--", "sh", "-c", "cat; echo heard >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "through\n");
    assert!(stderr(&output).starts_with("heard\n"), "{}", stderr(&output));
}

#[test]
fn a_full_disk_is_told_and_is_our_status_where_the_command_did_well() {
    let folder = folder();
    for (script, status) in [("exit 0", 1), ("exit 7", 7)] {
        let output = run(folder.path(), &["record", "-o", "/dev/full", "-f", "svg", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(stderr(&output), "pysample: error: cannot write /dev/full: No space left on device (os error 28)\n");
    }
}

#[test]
fn a_new_file_has_the_permissions_that_the_umask_leaves() {
    let folder = folder();
    let script = "umask 027; exec \"$0\" record -o x.txt -- true";
    assert!(
        Command::new("sh").args(["-c", script, PYSAMPLE]).current_dir(folder.path()).output().unwrap().status.success()
    );
    assert_eq!(fs::metadata(folder.path().join("x.txt")).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn a_link_to_a_file_stays_a_link() {
    let folder = folder();
    fs::write(folder.path().join("real.txt"), "old").unwrap();
    fs::set_permissions(folder.path().join("real.txt"), fs::Permissions::from_mode(0o604)).unwrap();
    symlink("real.txt", folder.path().join("link.txt")).unwrap();
    run(folder.path(), &["record", "-o", "link.txt", "--", "true"]);
    assert_eq!(fs::read_link(folder.path().join("link.txt")).unwrap(), Path::new("real.txt"));
    let real = folder.path().join("real.txt");
    assert_eq!(
        (fs::read_to_string(&real).unwrap(), fs::metadata(&real).unwrap().mode() & 0o777),
        (String::new(), 0o604)
    );
}

#[test]
fn standard_output_takes_the_profile() {
    let folder = folder();
    let output = run(folder.path(), &["record", "-o", "-", "-f", "svg", "--", "true"]);
    assert!(stdout(&output).starts_with("<?xml"), "{}", stdout(&output));
    assert!(stderr(&output).ends_with("  written     standard output\n"), "{}", stderr(&output));
    assert_eq!(common::names(folder.path()), [""; 0]);
}

/// A command under pysample that has said that it is ready.
struct Started {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Started {
    fn new(folder: &Path, arguments: &[&str], script: &str) -> Started {
        let arguments = [&["record", "-o", "x.txt"], arguments, &["--", "sh", "-c", script]].concat();
        let mut child = pysample(folder, &arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut started = Started { child, lines };
        started.expect("ready");
        started
    }

    fn expect(&mut self, line: &str) {
        let mut said = String::new();
        self.lines.read_line(&mut said).unwrap();
        assert_eq!(said.trim_end(), line);
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn status(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn signals_are_handed_on_to_the_command() {
    let folder = folder();
    for name in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"] {
        let script = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.02; done");
        let started = Started::new(folder.path(), &[], &script);
        started.signal(name);
        assert_eq!(started.status(), Some(42), "{name}");
    }
}

#[test]
fn a_command_that_lives_through_a_signal_is_not_killed_and_hears_the_next() {
    let folder = folder();
    let script = "trap 'echo heard' TERM; trap 'exit 9' INT; echo ready; while :; do sleep 0.02; done";
    let mut started = Started::new(folder.path(), &[], script);
    started.signal("TERM");
    started.expect("heard");
    while !folder.path().join("x.txt").exists() {
        std::thread::yield_now();
    }
    started.signal("TERM");
    started.expect("heard");
    started.signal("INT");
    assert_eq!(started.status(), Some(9));
}

#[test]
fn a_signal_that_kills_the_command_is_told_by_the_status() {
    let folder = folder();
    let started = Started::new(folder.path(), &[], "echo ready; exec sleep 600");
    started.signal("TERM");
    assert_eq!(started.status(), Some(143));
    assert_eq!(common::names(folder.path()), ["x.txt"]);
}

#[test]
fn a_hang_up_that_is_ignored_stays_ignored_for_the_command() {
    let folder = folder();
    let script = "trap '' HUP; exec \"$0\" record -o x.txt -- sh -c 'kill -HUP $PPID $$; echo survived'";
    let output = Command::new("sh").args(["-c", script, PYSAMPLE]).current_dir(folder.path()).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "survived\n"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_closes_early_is_told_and_is_no_error() {
    let folder = folder();
    let mut child = pysample(folder.path(), &["record", "-o", "-", "-f", "svg", "--", "true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = stderr(&output);
    assert!(told.ends_with("  written     standard output, until its reader closed it\n"), "{told}");
}

#[test]
fn a_fifo_is_written_through() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let child = pysample(folder.path(), &["record", "-f", "svg", "-o", "fifo", "--", "true"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(fs::read_to_string(&fifo).unwrap().ends_with("</svg>\n"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(common::names(folder.path()), ["fifo"]);
}

/// A terminal of our own: what is written to the first is typed on the second.
fn terminal() -> (fs::File, fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keys).unwrap();
    unlockpt(&keys).unwrap();
    let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
    let screen = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    (keys.into(), screen)
}

#[test]
fn a_ctrl_c_from_the_terminal_reaches_the_command_once() {
    let folder = folder();
    let (keys, screen) = terminal();
    // Two signals that come close together may be taken for one, so the key is pressed a few times and the command
    // does not sleep. The status is how often it was interrupted.
    let script = "n=0; trap 'n=$((n+1)); echo heard' INT; echo ready
        while [ ! -e enough ]; do :; done; exit $n";
    let mut child = Command::new("setsid")
        .args(["--ctty", PYSAMPLE, "record", "-o", "x.txt", "--", "sh", "-c", script])
        .current_dir(folder.path())
        .stdin(screen.try_clone().unwrap())
        .stdout(screen)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(keys.try_clone().unwrap());
    let mut hear = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.trim_end().ends_with("ready") || line.trim_end().ends_with("heard"), "{line:?}");
    };
    for _ in 0..8 {
        hear();
        (&keys).write_all(b"\x03").unwrap();
    }
    hear();
    // One that is sent twice comes well within this time.
    std::thread::sleep(std::time::Duration::from_millis(200));
    fs::write(folder.path().join("enough"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(8));
    assert!(folder.path().join("x.txt").exists());
}
