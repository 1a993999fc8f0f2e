//! Trials that end: one that hangs is told of, with what its processes wait for, and fails when they are killed.
//!
//! Nothing here hurries a trial. The limit is far beyond what any takes on a busy machine; without it, one trial that
//! waits for ever takes with it what all the others found.

use std::fs;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

const LIMIT: Duration = Duration::from_secs(600);

/// Those that run: by which thread, since when, and how they are called.
static RUNNING: Mutex<Vec<(Pid, Instant, String)>> = Mutex::new(Vec::new());

/// A trial that fails if it has not ended in ten minutes.
pub fn trial(name: impl Into<String>, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let name = name.into();
    let told = name.clone();
    Trial::test(name, move || {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| drop(std::thread::spawn(watch)));
        let _running = Entry::new(told);
        test()
    })
}

/// One that runs, for as long as this lives.
struct Entry(Pid);

impl Entry {
    fn new(name: String) -> Entry {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push((gettid(), Instant::now(), name));
        Entry(gettid())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|(thread, ..)| *thread != self.0);
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(5));
        for (thread, since, name) in &*RUNNING.lock().unwrap_or_else(PoisonError::into_inner) {
            if since.elapsed() > LIMIT {
                eprintln!("{name}: has not ended in {} s; its processes, which are killed:", LIMIT.as_secs());
                children(&format!("/proc/self/task/{thread}")).into_iter().for_each(end);
            }
        }
    }
}

/// Tells what a process and its descendants wait for, and kills them.
fn end(pid: Pid) {
    let folder = format!("/proc/{pid}");
    let read = |path: String| fs::read_to_string(path).unwrap_or_default().replace('\0', " ");
    eprintln!("  {pid} {}", read(format!("{folder}/cmdline")));
    for task in fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten() {
        let task = task.path().display().to_string();
        let status = read(format!("{task}/status"));
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or("").replace('\t', " ");
        eprintln!("    {task}: {}, {}, in {}", line("State"), line("TracerPid"), read(format!("{task}/wchan")));
    }
    let below: Vec<Pid> = fs::read_dir(format!("{folder}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|task| children(&task.path().display().to_string()))
        .collect();
    // It fails only if it has ended already.
    let _ = kill(pid, Signal::SIGKILL);
    below.into_iter().for_each(end);
}

/// The children that a thread of ours, or of such a child, has started.
fn children(task: &str) -> Vec<Pid> {
    let told = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
    told.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}
