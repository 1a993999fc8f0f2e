//! What the tests share: the interpreters they have, and programs run by them as targets.
//!
//! Interpreters come from the manifest that `tests/interpreters/collect` writes. A target tells when it is ready by a
//! line on its standard output and ends when its standard input is closed, so nothing here sleeps.

#![allow(dead_code)] // Each test uses its own part.

pub mod browser;
pub mod golden;
pub mod literal;
pub mod oracle;
pub mod recording;
pub mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An interpreter to test with.
#[derive(Clone, Debug, Deserialize)]
pub struct Kind {
    /// Its name, such as `3.14t`.
    pub kind: String,
    /// What it says its version is.
    pub version: String,
    /// 14 in 3.14.
    pub minor: u8,
    /// `release`, `debug` or `free-threaded`.
    pub flavour: String,
    /// Whether its JIT is on.
    pub jit: bool,
    /// Whether its GIL is on.
    pub gil: bool,
    /// Whether it is one that pysample reads.
    pub supported: bool,
    /// The file that holds `_PyRuntime`.
    pub elf: PathBuf,
    /// The root directory that it runs in, if not ours.
    pub root: Option<PathBuf>,
    /// What runs a script.
    pub command: Vec<String>,
    /// What to add to the environment.
    pub env: BTreeMap<String, String>,
}

/// Every interpreter of the manifest.
pub fn all_kinds() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let path = manifest();
        let text = fs::read_to_string(&path).unwrap_or_else(|e| {
            panic!("no interpreters to test with ({}: {e}); tests/interpreters/collect gets them", path.display())
        });
        serde_json::from_str(&text).expect("the manifest is JSON")
    })
}

/// Every interpreter that pysample is to read.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    all_kinds().iter().filter(|kind| kind.supported)
}

/// The interpreter with a name.
pub fn kind(name: &str) -> &'static Kind {
    all_kinds().iter().find(|kind| kind.kind == name).unwrap_or_else(|| panic!("there is no interpreter {name}"))
}

/// One ordinary interpreter for each minor version.
pub fn one_of_each() -> impl Iterator<Item = &'static Kind> {
    let plain = |minor: &u8| {
        let name = format!("3.{minor}");
        kinds()
            .find(|k| k.kind == name)
            .or_else(|| kinds().find(|k| k.minor == *minor && k.flavour == "release" && !k.jit))
    };
    (7..=15).filter_map(move |minor| plain(&minor))
}

/// The newest interpreter that needs nothing but its path.
pub fn ordinary() -> &'static Kind {
    one_of_each()
        .filter(|kind| kind.root.is_none() && kind.env.is_empty() && kind.command.len() == 1)
        .last()
        .expect("there is an interpreter outside of a chroot")
}

fn manifest() -> PathBuf {
    collected("PYSAMPLE_INTERPRETERS", "interpreters").join("manifest.json")
}

/// The folder of the packages that are installed for 3.11-debian.
pub fn packages() -> PathBuf {
    let packages = collected("PYSAMPLE_PACKAGES", "packages");
    assert!(packages.join("complete").exists(), "no packages to test with; tests/packages/collect gets them");
    packages
}

/// Where something was collected: what a variable says, or a folder in the cache.
fn collected(name: &str, folder: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(name).unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME")
            .unwrap_or_else(|| variable("HOME").expect("there is a home directory").join(".cache"));
        cache.join("pysample").join(folder)
    })
}

/// The folder of the target programs.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// A running target. It is ended when this is dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// A folder that only this target uses, as it sees it.
    pub folder: PathBuf,
    _folder: TempDir,
}

impl Kind {
    /// Runs a program of `tests/programs`. `DIRECTORY` among the arguments stands for a folder of its own.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Running {
        self.start_with(program, arguments, &[])
    }

    /// As [`Kind::start`], with more options for the interpreter.
    pub fn start_with(&self, program: &str, arguments: &[&str], options: &[&str]) -> Running {
        let (folder, inside) = self.folder();
        let scripts = match self.root {
            None => programs(),
            Some(_) => {
                copy_programs(folder.path());
                inside.clone()
            }
        };
        self.run(scripts.join(program), arguments, options, folder, inside)
    }

    /// As [`Kind::start`], for a script anywhere.
    pub fn start_script(&self, script: PathBuf, arguments: &[&str]) -> Running {
        let (folder, inside) = self.folder();
        self.run(script, arguments, &[], folder, inside)
    }

    fn run(&self, script: PathBuf, arguments: &[&str], options: &[&str], folder: TempDir, inside: PathBuf) -> Running {
        let mut command = self.command();
        command.args(options).arg(script);
        command.args(arguments.iter().map(|argument| match *argument {
            "DIRECTORY" => inside.clone(),
            other => other.into(),
        }));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // In a group whose leader has no parent SIGTSTP would do nothing.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.kind));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Running { child, stdin, stdout, folder: inside, _folder: folder }
    }

    /// What runs a script, with the environment it needs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        match self.command.split_first_chunk() {
            // Libraries to preload are for the interpreter, and not there for `chroot` itself.
            Some(([chroot, root], rest)) if self.root.is_some() => {
                assert!(chroot == "chroot", "an interpreter with a root is run by chroot");
                let env = self.env.iter().map(|(name, value)| format!("{name}={value}"));
                command.arg(root).arg("env").args(env).args(rest);
            }
            _ => drop(command.args(&self.command[1..]).envs(&self.env)),
        }
        command
    }

    /// A new folder, as we see it and as the interpreter does.
    pub fn folder(&self) -> (TempDir, PathBuf) {
        let within = self.root.as_deref().unwrap_or(Path::new("/")).join("tmp");
        let folder = tempfile::Builder::new().prefix("pysample-test-").tempdir_in(within).expect("a temporary folder");
        let inside = match &self.root {
            None => folder.path().to_owned(),
            Some(root) => Path::new("/").join(folder.path().strip_prefix(root).expect("it lies below the root")),
        };
        (folder, inside)
    }
}

fn copy_programs(to: &Path) {
    for entry in fs::read_dir(programs()).expect("the programs are there") {
        let path = entry.expect("the programs are there").path();
        if path.extension().is_some_and(|extension| extension == "py") {
            fs::copy(&path, to.join(path.file_name().expect("a file has a name"))).expect("a program can be copied");
        }
    }
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the target prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the target's standard output can be read");
        assert!(!line.is_empty(), "the target ended without telling");
        line.trim_end().to_owned()
    }

    /// The next line, which is JSON.
    pub fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("the target told no JSON ({e}): {line}"))
    }

    /// Writes to the target's standard input.
    pub fn tell(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).expect("the target's standard input can be written");
    }

    /// Sends a signal to the target.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid() as i32), signal).expect("the target is there");
    }

    /// Closes the target's standard input.
    pub fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Closes the target's standard input and waits for its end.
    pub fn end(mut self) -> std::process::ExitStatus {
        drop(self.stdin.take());
        self.child.wait().expect("the target is our child")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the target has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a folder holds, by name.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().expect("a name in UTF-8")).collect();
    names.sort();
    names
}

/// Runs pysample to its end.
pub fn pysample(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pysample"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("pysample can be run")
}

/// What pysample printed, having succeeded.
pub fn printed(arguments: &[&str]) -> String {
    let output = pysample(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pysample {arguments:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("pysample prints UTF-8")
}

/// What `pysample dump --json` says of a process.
pub fn dump(pid: u32) -> Value {
    serde_json::from_str(&printed(&["dump", "--json", "--pid", &pid.to_string()])).expect("a dump is JSON")
}

/// Waits until something holds. It must come to hold in bounded time.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the other threads of a process wait for its standard input, which is system call 0 or 63.
pub fn others_read_input(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap());
    let mut others = tasks.filter(|task| task.file_name() != *pid.to_string());
    others.all(|task| {
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        ["0 0x0 ", "63 0x0 "].iter().any(|read| call.starts_with(read))
    })
}

/// Whether every thread of a process is in a state: the letter that `/proc` has for it.
pub fn every_thread_is(pid: u32, state: u8) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the target runs");
    // A thread's name is cut to 15 bytes, which need not be a whole character.
    let is_so =
        |stat: Vec<u8>| stat.rsplit(|&byte| byte == b')').next().is_some_and(|rest| rest.starts_with(&[b' ', state]));
    tasks.flatten().all(|task| fs::read(task.path().join("stat")).is_ok_and(is_so))
}

/// Whether a signal that a process catches is neither pending nor being caught, which blocks it meanwhile.
pub fn is_taken(pid: u32, signal: nix::sys::signal::Signal) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the target runs");
    let is_so = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let mut masks = status.lines().filter_map(|line| {
            let (name, mask) = line.split_once(":\t")?;
            ["SigPnd", "ShdPnd", "SigBlk"].contains(&name).then(|| u64::from_str_radix(mask, 16).ok())
        });
        masks.try_fold(true, |free, mask| Some(free && mask? & (1 << (signal as i32 - 1)) == 0))
    };
    tasks.flatten().all(|task| is_so(task).unwrap_or(false))
}

/// Seconds for which each thread of a process was ready for a processor and had none, as the scheduler counts them.
pub fn delays(pid: u32) -> BTreeMap<u64, f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the target runs").flatten();
    let delay = |task: fs::DirEntry| {
        let told = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds: f64 = told.split_whitespace().nth(1)?.parse().ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, nanoseconds / 1e9))
    };
    tasks.filter_map(delay).collect()
}

/// Seconds for which other machines on the same host have had our processors.
pub fn stolen() -> f64 {
    let told = fs::read_to_string("/proc/stat").expect("the kernel counts");
    // The eighth number of the first line, in hundredths.
    told.split_whitespace().nth(8).and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0) / 100.0
}
