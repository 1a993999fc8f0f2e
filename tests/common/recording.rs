//! Recordings by the program itself, under way and over, and what their accounts say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use super::{PATIENCE, wait_until};

/// A recording under way, as collapsed stacks on standard output. It is killed when this is dropped.
pub struct Recording {
    child: Option<Child>,
    told: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

/// A recording that is over.
#[derive(Debug)]
pub struct Recorded {
    /// How pysample ended.
    pub status: ExitStatus,
    /// What it wrote: collapsed stacks, unless another format was asked for.
    pub profile: String,
    /// What it told.
    pub told: String,
    /// What its account says.
    pub account: Account,
}

/// A sample in JSON lines.
#[derive(Clone, Debug)]
pub struct JsonSample {
    /// The functions of its stack.
    pub functions: Arc<[String]>,
    /// For how many slots it stands.
    pub weight: u64,
}

/// The numbers of an account; 0 for what is not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Moments at which a sample was due.
    pub asked: u64,
    /// Of these, those at which one was taken.
    pub taken: u64,
    /// Those that had passed.
    pub late: u64,
    /// Those left out for `--max-pause`.
    pub left_out: u64,
    /// Those at which nothing could be read.
    pub failed: u64,
    /// Thread stacks in the profile.
    pub stacks: u64,
    /// As often as they count there: for what was left out, too.
    pub counts: u64,
    /// Thread stacks that could not be read.
    pub unreadable: u64,
    /// How often threads were stopped.
    pub stopped: u64,
    /// For which share of the time, in percent.
    pub share: f64,
    /// For how long at most, in seconds.
    pub longest: f64,
    /// How long the recording took, in seconds.
    pub seconds: f64,
}

impl Recording {
    /// Starts to record a process.
    pub fn start(pid: u32, arguments: &[&str]) -> Recording {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pysample"));
        command.args(["record", "-f", "collapsed", "-o", "-", "--pid", &pid.to_string()]).args(arguments);
        Recording::run(&mut command)
    }

    /// Starts to record a process from other processors than its own: whenever it runs, it has to be stopped.
    pub fn start_elsewhere(pid: u32, arguments: &[&str]) -> Recording {
        let others: Vec<String> = processors().iter().skip(1).map(usize::to_string).collect();
        if others.is_empty() {
            return Recording::start(pid, arguments);
        }
        pin(pid);
        let mut command = Command::new("taskset");
        command.args(["-c", &others.join(","), env!("CARGO_BIN_EXE_pysample"), "record", "-f", "collapsed", "-o", "-"]);
        Recording::run(command.args(["--pid", &pid.to_string()]).args(arguments))
    }

    /// Runs a command that records to standard output.
    pub fn run(command: &mut Command) -> Recording {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let errors = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let told = Arc::new(Mutex::new(String::new()));
        let heard = told.clone();
        let listener = thread::spawn(move || {
            for line in errors.lines() {
                let line = line.expect("it tells in UTF-8");
                *heard.lock().expect("nobody panics with it") += &(line + "\n");
            }
        });
        Recording { child: Some(child), told, listener: Some(listener) }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it has not been waited for").id()
    }

    /// Waits until it samples.
    pub fn has_begun(&self) {
        self.has_read(1);
    }

    /// Waits until so many processes are sampled.
    pub fn has_samplers(&self, number: usize) {
        wait_until("all are sampled", || self.samplers().len() >= number);
    }

    /// Waits until no process is sampled any more.
    pub fn has_no_samplers(&self) {
        wait_until("none is sampled", || self.samplers().is_empty());
    }

    /// The threads that sample, as folders of `/proc`.
    fn samplers(&self) -> Vec<PathBuf> {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return Vec::new() };
        let is_sampler = |path: &PathBuf| fs::read(path.join("comm")).is_ok_and(|name| name == b"sampler\n");
        tasks.map_while(Result::ok).map(|task| task.path()).filter(is_sampler).collect()
    }

    /// Waits until its sampler has read so many files: the states of threads, some for each sample.
    pub fn has_read(&self, files: u64) {
        let mut first = None;
        wait_until("the sampler samples", || {
            let Some(now) = self.files_read() else { return false };
            now >= *first.get_or_insert(now) + files
        });
    }

    /// Waits until it has told something.
    pub fn has_told(&self, text: &str) {
        wait_until(text, || self.told.lock().expect("nobody panics with it").contains(text));
    }

    fn files_read(&self) -> Option<u64> {
        let counts = fs::read_to_string(self.samplers().first()?.join("io")).ok()?;
        counts.lines().find_map(|line| line.strip_prefix("syscr: "))?.parse().ok()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid() as i32), signal).expect("it is there");
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> Recorded {
        self.signal(nix::sys::signal::Signal::SIGINT);
        self.end()
    }

    /// Waits for its end, which must come.
    pub fn end(mut self) -> Recorded {
        let child = self.child.take().expect("it has not been waited for");
        let pid = Pid::from_raw(child.id() as i32);
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output = receiver.recv_timeout(PATIENCE).map(|output| output.expect("it is our child"));
        let output = output.unwrap_or_else(|_| {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL); // It may have ended in this moment.
            panic!("the recording does not end");
        });
        self.listener.take().expect("it has not been waited for").join().expect("it tells in UTF-8");
        let told = std::mem::take(&mut *self.told.lock().expect("nobody panics with it"));
        let profile = String::from_utf8(output.stdout).expect("a profile is UTF-8");
        Recorded { status: output.status, profile, account: Account::read(&told), told }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Recorded {
    /// Records a process to the end, which must be a good one.
    pub fn of(pid: u32, arguments: &[&str]) -> Recorded {
        let recorded = Recording::start(pid, arguments).end();
        assert!(recorded.status.success(), "{}: {}", recorded.status, recorded.told);
        recorded
    }

    /// The stacks and how often each was seen.
    pub fn stacks(&self) -> impl Iterator<Item = (&str, u64)> {
        self.profile.lines().map(|line| {
            let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
            (stack, count.parse().expect("a count"))
        })
    }

    /// The samples of JSON lines, in order.
    pub fn json_samples(&self) -> Vec<JsonSample> {
        let (mut functions, mut stacks, mut samples) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for line in self.profile.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let id = line["id"].as_u64();
            match line["type"].as_str() {
                Some("frame") => drop(functions.insert(id, line["function"].as_str().expect("a name").to_owned())),
                Some("stack") => {
                    let frames = line["frames"].as_array().expect("a stack has frames").iter();
                    stacks.insert(id, frames.map(|frame| functions[&frame.as_u64()].clone()).collect());
                }
                Some("sample") => {
                    let of = |stack: u64| -> &Arc<[String]> { &stacks[&Some(stack)] };
                    let functions = line["stack"].as_u64().map_or_else(Arc::default, |stack| of(stack).clone());
                    samples.push(JsonSample { functions, weight: line["weight"].as_u64().unwrap_or(1) });
                }
                _ => {}
            }
        }
        samples
    }

    /// How many lines of what it told hold a text.
    pub fn lines_with(&self, text: &str) -> usize {
        self.told.lines().filter(|line| line.contains(text)).count()
    }
}

impl Account {
    fn read(told: &str) -> Account {
        let about = |what: &str| told.lines().find_map(|line| line.trim_start().strip_prefix(what)).unwrap_or("");
        let (samples, stopped) = (about("samples "), about("stopped "));
        Account {
            asked: before(samples, " asked"),
            taken: before(samples, " taken"),
            late: before(samples, " late"),
            left_out: before(samples, " left out"),
            failed: before(samples, " failed"),
            stacks: before(about("stacks "), " of "),
            counts: match about("stacks ").split_once("counting for ") {
                Some((_, counts)) => first(counts),
                None => before(about("stacks "), " of "),
            },
            unreadable: first(about("unreadable ")),
            stopped: if stopped.contains(": once") { 1 } else { before(stopped, " times") },
            share: before(stopped, " % of"),
            longest: before::<f64>(stopped, " us at worst") / 1e6,
            seconds: told.lines().map(|line| before::<f64>(line, " s, until")).sum(),
        }
    }

    /// Whether every sample that was asked became something.
    pub fn is_whole(&self) -> bool {
        self.asked == self.taken + self.late + self.left_out + self.failed
    }
}

/// The number before a word; 0 where there is none.
fn before<N: std::str::FromStr + Default>(line: &str, word: &str) -> N {
    let number = line.split_once(word).and_then(|(rest, _)| rest.split(' ').next_back()?.parse().ok());
    number.unwrap_or_default()
}

/// The number that a text begins with; 0 where there is none.
fn first(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.trim_end_matches(':').parse().ok()).unwrap_or(0)
}

/// Binds all threads of a process to the first processor that we may use.
pub fn pin(pid: u32) {
    let mut only = CpuSet::new();
    only.set(processors()[0]).expect("it is one of the machine's");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let tids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    tids.for_each(|tid| sched_setaffinity(Pid::from_raw(tid), &only).expect("it is ours"));
}

/// The processors that we may use.
pub fn processors() -> Vec<usize> {
    let ours = sched_getaffinity(Pid::from_raw(0)).expect("it can be asked");
    (0..CpuSet::count()).filter(|&processor| ours.is_set(processor) == Ok(true)).collect()
}
