//! What there is to know of the processes beside the recording: their source files, and what they use of processors.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pysample::aggregate::live::Live;
use pysample::sample::ProcessId;
use pysample::target::Target;
use pysample::target::usage::Usage;

/// Files that are kept; then they are read anew.
const MOST_FILES: usize = 64;

/// Source files and usage of the processes of a recording. A process is opened once more for it, to be read only.
#[derive(Default)]
pub struct Surroundings {
    targets: HashMap<u32, Option<Target>>,
    /// Lines of files; `None` for those that cannot be read.
    pub files: HashMap<Arc<str>, Option<Vec<String>>>,
    /// For how long the first process has run.
    pub uptime: Option<Duration>,
    /// The processor time of each process when it was last looked at, and what all have used since each was first.
    known: HashMap<u32, Duration>,
    used: Duration,
}

impl Surroundings {
    /// Opens a process as long as it is there.
    pub fn open(&mut self, pid: u32) {
        self.targets.entry(pid).or_insert_with(|| Target::attach(pid).inspect(Target::keep_sources).ok());
    }

    /// Reads a file that is not known yet. True if there was something to read.
    pub fn read(&mut self, live_pid: Option<u32>, path: &Arc<str>) -> bool {
        if self.files.contains_key(path) {
            return false;
        }
        if self.files.len() >= MOST_FILES {
            self.files.clear();
        }
        let lines = live_pid.and_then(|pid| {
            self.open(pid);
            self.targets.get(&pid)?.as_ref()?.source_lines(path)
        });
        self.files.insert(path.clone(), lines);
        true
    }

    /// A line of a source file, for a dump.
    pub fn line(&self, pid: u32, file: &str, line: u32) -> Option<String> {
        self.targets.get(&pid)?.as_ref()?.source_line(file, line)
    }

    /// Looks what the processes have used by now.
    pub fn look(&mut self, live: &mut Live, at: Duration) {
        let mut pids: Vec<u32> = live.processes().values().map(|process| process.pid).collect();
        if pids.is_empty() {
            pids.extend(self.targets.keys());
        }
        let usages: Vec<(u32, Usage)> = pids.iter().filter_map(|&pid| Some((pid, Usage::read(pid)?))).collect();
        if let Some((_, first)) = usages.first() {
            self.uptime = Some(first.uptime);
            // What a process used before it was first seen is not of this time.
            for (pid, Usage { cpu, .. }) in &usages {
                let before = self.known.insert(*pid, *cpu).unwrap_or(*cpu);
                self.used += cpu.saturating_sub(before);
            }
            live.take_usage(at, self.used);
        }
    }
}

/// The id of a process of the recording.
pub fn pid_of(live: &Live, id: ProcessId) -> Option<u32> {
    live.processes().get(&id).map(|process| process.pid)
}
