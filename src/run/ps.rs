//! The Python processes of the machine: each program is looked into, and how much processor time it uses is measured
//! meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use pysample::error::{Error, Result};
use pysample::python::locate;
use pysample::target::machine::{self, Usage};
use pysample::target::{Target, can_look, cgroup, proc};
use pysample::view::ps::{Container, Entry, Listing, Unreadable};

use super::{Exit, print};
use crate::plan::Shape;

/// For how long processor time is measured, at least.
const MEASURED: Duration = Duration::from_millis(300);
/// How long a tick of the processor time in `/proc` is: `USER_HZ` is 100 wherever CPython runs on Linux.
const TICK: Duration = Duration::from_millis(10);

/// Lists them.
pub fn run(shape: Shape) -> Result<Exit> {
    can_look()?;
    let began = Instant::now();
    let programs = machine::programs();
    let mut found = Found::default();
    for (pid, usage) in &programs {
        found.look(*pid, *usage);
    }
    thread::sleep(MEASURED.saturating_sub(began.elapsed()));
    let entries = found.entries.into_iter().map(|(mut entry, before)| {
        entry.cpu_percent = machine::usage_of(entry.pid).and_then(|now| percent(before, now, began.elapsed()));
        entry
    });
    let unreadable = found.unreadable.into_iter().map(|(reason, pids)| {
        let called_python = pids.iter().copied().filter(|&pid| is_called_python(pid)).collect();
        Unreadable { reason, pids, called_python }
    });
    let listing = Listing::new(entries.collect(), unreadable.collect(), found.others, machine::may_hide_processes());
    print(|out| match shape {
        Shape::Json => listing.write_json(out),
        Shape::Text => listing.write_text(out),
    })
}

#[derive(Default)]
struct Found {
    entries: Vec<(Entry, Usage)>,
    /// By the reason.
    unreadable: BTreeMap<String, Vec<u32>>,
    others: usize,
}

impl Found {
    fn look(&mut self, pid: u32, usage: Usage) {
        let target = match Target::attach(pid) {
            Ok(target) => target,
            Err(Error::NotPermitted { rule, .. }) => return self.unreadable.entry(rule).or_default().push(pid),
            // It has ended meanwhile, or is none after all.
            Err(_) => return,
        };
        let mut entry = Entry {
            pid,
            pid_inside: Some(target.facts().own_pid).filter(|&own| own != pid),
            user: proc::Status::read(&pid.to_string()).and_then(|status| status.uids.get(1).copied()),
            container: machine::container(pid).map(container),
            version: None,
            build: None,
            problem: None,
            cpu_percent: None,
            threads: usage.threads,
            command: target.command().to_vec(),
        };
        match locate(&target) {
            Ok(interpreter) => {
                entry.version = Some(interpreter.version_text());
                entry.build = Some(interpreter.build());
            }
            Err(Error::Unsupported { version, .. }) => {
                entry.version = Some(version);
                entry.problem = Some("not supported".into());
            }
            Err(Error::Unrecognised { version, .. }) => {
                entry.version = Some(version);
                entry.problem = Some("not to be recognised".into());
            }
            Err(Error::NotRunning { .. }) => entry.problem = Some("starting or ending".into()),
            Err(_) => {
                self.others += 1;
                return;
            }
        }
        self.entries.push((entry, usage));
    }
}

fn container(it: cgroup::Container) -> Container {
    let text = it.to_text();
    Container { engine: it.engine, id: it.id, pod: it.pod, unit: it.unit, text }
}

/// The share of one processor that was used between two looks; `None` if the id is another process's by now.
fn percent(before: Usage, now: Usage, elapsed: Duration) -> Option<f64> {
    let used = TICK.mul_f64(now.ticks.saturating_sub(before.ticks) as f64);
    let percent = 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
    (before.started == now.started).then_some((percent * 10.0).round() / 10.0)
}

/// Whether a process is called as Python usually is. Of one that cannot be read that is all there is to go by.
fn is_called_python(pid: u32) -> bool {
    let program = proc::command_line(pid).into_iter().next().unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    file.starts_with("python") || machine::name_of(pid).is_some_and(|name| name.starts_with("python"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_one_processor_and_of_one_process() {
        let usage = |ticks, started| Usage { ticks, started, threads: 1 };
        assert_eq!(percent(usage(100, 7), usage(150, 7), Duration::from_millis(500)), Some(100.0));
        assert_eq!(percent(usage(100, 7), usage(1, 8), Duration::from_millis(500)), None);
    }
}
