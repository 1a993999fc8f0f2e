//! What there is to know of the processes beside the recording: their source files, and what they use of processors.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pysample::aggregate::live::Live;
use pysample::sample::{Process, ProcessId};
use pysample::target::Target;
use pysample::target::usage::Usage;

use super::super::throttle::Throttle;

/// Files that are kept; then they are read anew.
const MOST_FILES: usize = 64;

/// Source files and usage of the processes of a recording. A process is opened once more for it, to be read only.
pub struct Surroundings {
    targets: HashMap<u32, Option<Target>>,
    /// Lines of files; `None` for those that cannot be read.
    pub files: HashMap<Arc<str>, Option<Vec<String>>>,
    /// What was known of each process when it was last looked at, and what all have used of processors since each was first.
    known: HashMap<u32, Usage>,
    used: Duration,
    /// How often the control groups of the process that was named are throttled.
    pub throttle: Throttle,
}

impl Surroundings {
    /// Of the process that was named.
    pub fn of(pid: u32) -> Surroundings {
        let mut around = Surroundings {
            targets: HashMap::new(),
            files: HashMap::new(),
            known: HashMap::new(),
            used: Duration::ZERO,
            throttle: Throttle::of(pid),
        };
        around.open(pid);
        around
    }

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

    /// Looks what the processes have used by now, and how often they were throttled.
    pub fn look(&mut self, live: &mut Live, at: Duration) {
        self.throttle.look();
        let mut pids: Vec<u32> = live.present().map(|(_, process)| process.pid).collect();
        if pids.is_empty() {
            pids.extend(self.targets.keys());
        }
        let usages: HashMap<u32, Usage> = pids.iter().filter_map(|&pid| Some((pid, Usage::read(pid)?))).collect();
        if usages.is_empty() {
            return;
        }
        for (pid, usage) in &usages {
            self.used += used(self.known.insert(*pid, *usage), *usage, at);
        }
        let used_by = |(id, process): (ProcessId, &Process)| Some((id, usages.get(&process.pid)?.cpu));
        let each = live.present().filter_map(used_by).collect();
        live.take_usage(at, self.used, each);
    }

    /// For how long a process has run, or the first, when it was last looked at.
    pub fn uptime(&self, live: &Live, of: Option<ProcessId>) -> Option<Duration> {
        let first = || live.present().next().map(|(_, process)| process.pid);
        let pid = of.map_or_else(first, |of| pid_of(live, of))?;
        self.known.get(&pid).map(|usage| usage.uptime)
    }
}

/// The id of a process of the recording.
pub fn pid_of(live: &Live, id: ProcessId) -> Option<u32> {
    live.processes().get(&id).map(|process| process.pid)
}

/// What a process has used since it was last looked at, or first: so long after we began, before which is not of this time.
fn used(before: Option<Usage>, now: Usage, at: Duration) -> Duration {
    let before = match before {
        Some(before) => before.cpu,
        None if now.uptime < at => Duration::ZERO,
        None => now.cpu,
    };
    now.cpu.saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_process_has_used_is_of_this_time_if_it_began_in_it() {
        let usage = |cpu, uptime| Usage { cpu: Duration::from_millis(cpu), uptime: Duration::from_millis(uptime) };
        let at = Duration::from_secs(5);
        assert_eq!(used(None, usage(700, 900), at), Duration::from_millis(700));
        assert_eq!(used(None, usage(700, 9000), at), Duration::ZERO);
        assert_eq!(used(Some(usage(700, 900)), usage(1500, 1900), at), Duration::from_millis(800));
    }
}
