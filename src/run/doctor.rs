//! Why a process can be read, or cannot: every rule, then everything tried for real.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pysample::error::{Error, Result};
use pysample::memory::Addr;
use pysample::python::Interpreter;
use pysample::sample::{Event, Remark, Wanted};
use pysample::sampler::{self, Settings};
use pysample::target::cgroup::{self, Groups, Limits, Mounts, Throttling};
use pysample::target::permission::{Mend, Outcome, Sides, names, rules};
use pysample::target::{Plight, ReadsBy, Target, can_look, machine, proc, try_file, try_vectors};
use pysample::view::doctor::{Cost, Finding, Report, Subject, Verdict};

use super::{Exit, advice, colour, family, print};
use crate::plan::Shape;

/// For how long a process is sampled to learn what that costs; and at most, where no sample can be taken in that time.
const MEASURED: Duration = Duration::from_millis(250);
const AT_MOST: Duration = Duration::from_secs(3);
/// An address at which nothing is mapped.
const NOWHERE: Addr = Addr(8);

/// Examines a process, or what is allowed at all.
pub fn run(pid: Option<u32>, shape: Shape) -> Result<Exit> {
    can_look()?;
    let (report, status) = match pid {
        Some(pid) => examine(pid)?,
        None => (ourselves(), 0),
    };
    print(|out| match shape {
        Shape::Json => report.write_json(out),
        Shape::Text => report.write_text(colour(), out),
    })?;
    Ok(if status == 0 { Exit::Done } else { Exit::Verdict(status) })
}

fn examine(pid: u32) -> Result<(Report, u8)> {
    let sides = Sides::of(pid);
    let attached = match pysample::attach(pid) {
        Err(
            error @ (Error::NoSuchProcess { .. } | Error::ThreadOf { .. } | Error::Zombie { .. } | Error::Ended { .. }),
        ) => return Err(error),
        attached => attached,
    };
    let mut findings = of_rules(&sides);
    let start = attached.as_ref().ok().and_then(|(target, _)| Some(target.facts().mappings.first()?.start));
    let tried = [try_vectors(pid, start.unwrap_or(NOWHERE)), try_file(pid, start.unwrap_or(NOWHERE))];
    let can_be_read = tried.iter().any(io::Result::is_ok);
    if can_be_read {
        forgive(&mut findings);
    }
    findings.extend(of_reads(&sides, tried, can_be_read));
    findings.push(match Plight::of(pid) {
        None => Finding::new("state", Outcome::Fine, "nothing keeps it from running"),
        Some(plight) => Finding::new("state", Outcome::Told, plight.to_string()),
    });
    findings.push(cpu_limit(pid));
    let subject = subject(pid);
    let (cost, verdict) = match attached {
        Ok((target, interpreter)) => {
            findings.extend(of_python(&target, &interpreter));
            let cost = measure(target, interpreter)?;
            if cost.is_none() {
                let what = format!("not known: no sample was taken in {} s", AT_MOST.as_secs());
                findings.push(Finding::new("cost", Outcome::Told, what));
            }
            (cost, Verdict { works: true, exit_status: 0, text: "It can be profiled.".into(), hint: None })
        }
        Err(error) => (None, refused(&family::offer(error))),
    };
    let status = verdict.exit_status;
    Ok((Report::new(Some(subject), findings, cost, verdict), status))
}

fn refused(error: &Error) -> Verdict {
    Verdict {
        works: false,
        exit_status: crate::exit_code(error),
        text: format!("It cannot be profiled: {error}."),
        hint: advice::mend(error),
    }
}

fn subject(pid: u32) -> Subject {
    let status = proc::Status::read(&pid.to_string());
    let own = status.and_then(|status| status.namespaced_pids.last().copied());
    Subject {
        pid,
        pid_inside: own.filter(|&own| own != pid),
        container: machine::container(pid).map(|container| container.to_text()),
        command: proc::command_line(pid),
    }
}

fn of_rules(sides: &Sides) -> Vec<Finding> {
    let finding = |rule: pysample::target::permission::Rule| Finding {
        name: rule.name.into(),
        outcome: rule.outcome,
        value: rule.value,
        remedies: rule.mend.map(|mend| mend.remedies(sides)).unwrap_or_default(),
    };
    rules(sides).into_iter().map(finding).collect()
}

/// What can be read is not refused, whatever the rules seem to say.
fn forgive(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.outcome != Outcome::Fine) {
        if finding.outcome != Outcome::Told {
            finding.remedies.clear();
        }
        finding.outcome = Outcome::Told;
    }
}

fn of_reads(sides: &Sides, tried: [io::Result<()>; 2], can_be_read: bool) -> [Finding; 2] {
    let [vectors, file] = tried;
    let found = |name: &str, tried: io::Result<()>, otherwise: &str| match tried {
        Ok(()) => Finding::new(name, Outcome::Fine, "tried: works"),
        Err(error) if can_be_read => Finding {
            remedies: if has_no_such_call(sides, &error) { Vec::new() } else { Mend::Filter.remedies(sides) },
            ..Finding::new(name, Outcome::Told, format!("tried: {error}; {otherwise}"))
        },
        Err(error) => Finding::new(name, Outcome::Refuses, format!("tried: {error}")),
    };
    [
        found("process_vm_readv", vectors, "/proc/PID/mem serves, with more system calls"),
        found("/proc/PID/mem", file, "it is not needed"),
    ]
}

/// Whether the kernel itself lacks a system call: filters may say so, too, and then there is one.
fn has_no_such_call(sides: &Sides, error: &io::Error) -> bool {
    let is_filtered = sides.ours.status.as_ref().is_some_and(|status| status.seccomp != 0);
    error.kind() == io::ErrorKind::Unsupported && !is_filtered
}

fn of_python(target: &Target, interpreter: &Interpreter) -> Vec<Finding> {
    let by = match target.reads_by() {
        Some(ReadsBy::File) => "/proc/PID/mem",
        _ => "process_vm_readv",
    };
    let mut findings = vec![
        Finding::new("memory is read by", Outcome::Told, by),
        Finding::new(
            "Python",
            Outcome::Fine,
            format!("{} ({}), found by {}", interpreter.version_text(), interpreter.build(), interpreter.found()),
        ),
        Finding::new("offsets", Outcome::Fine, format!("from {}", interpreter.offsets_from)),
    ];
    findings.extend(interpreter.warning().map(|warning| Finding::new("warning", Outcome::Told, warning)));
    findings
}

/// How much processor time a process may use, and whether that was enough so far.
fn cpu_limit(pid: u32) -> Finding {
    let value = match Limits::around(pid, &Mounts::ours()) {
        None => "not known: its control group is not to be seen from here".into(),
        Some(limits) => {
            let text = |(folder, of): &(PathBuf, Throttling)| {
                let whose = if limits.is_own(folder) { "its control group" } else { "a group around that" };
                let (limit, percent) = (of.limit(), of.share() * 100.0);
                let Throttling { throttled, periods, .. } = of;
                format!(
                    "{limit} processors, by {whose}: throttled in {throttled} of {periods} periods so far ({percent:.0} %)"
                )
            };
            let texts: Vec<String> = limits.count().0.iter().map(text).collect();
            if texts.is_empty() { "none, in the groups that are to be seen from here".into() } else { texts.join("; ") }
        }
    };
    Finding::new("CPU limit", Outcome::Told, value)
}

/// Samples it for a moment; `None` if no sample was taken.
fn measure(target: Target, interpreter: Interpreter) -> Result<Option<Cost>> {
    let settings = Settings { duration: Some(AT_MOST), wanted: Wanted::All, ..Settings::default() };
    let recording = sampler::start(target, interpreter, settings)?;
    let mut may_pause = true;
    for event in recording.events() {
        match event {
            Event::Remark(Remark::CannotPause) => may_pause = false,
            Event::Progress(elapsed, tally) if elapsed >= MEASURED && tally.taken > 0 => recording.stopper().stop(),
            _ => {}
        }
    }
    let outcome = recording.finish();
    let tally = outcome.tally;
    let taken = tally.taken as f64;
    Ok((tally.taken > 0).then(|| Cost {
        samples: tally.taken,
        reads: tally.reads as f64 / taken,
        stops: tally.stopped.count,
        stop_microseconds: tally.stopped.median.as_secs_f64() * 1e6,
        cpu_percent: 100.0 * tally.own_cpu.as_secs_f64() / taken * settings.rate,
        may_pause,
    }))
}

/// What is allowed here at all.
fn ourselves() -> Report {
    const OF_US: [&str; 4] = ["CAP_SYS_PTRACE", "Yama ptrace_scope", "security modules", "seccomp"];
    let pid = std::process::id();
    let sides = Sides::of(pid);
    let ours = sides.ours.status.clone().unwrap_or_default();
    let id = |ids: &[u32]| ids.get(1).map_or("unknown".into(), u32::to_string);
    let held = names(ours.effective);
    let mut findings = vec![
        Finding::new("user", Outcome::Told, format!("we are user {}, group {}", id(&ours.uids), id(&ours.gids))),
        Finding::new("capabilities", Outcome::Told, if held.is_empty() { "none".into() } else { held }),
    ];
    findings.extend(of_rules(&sides).into_iter().filter(|finding| OF_US.contains(&finding.name.as_str())));
    findings.extend(of_reads(&sides, [try_vectors(pid, NOWHERE), try_file(pid, NOWHERE)], true));
    let sees = match machine::are_in_own_pid_namespace() {
        true => "those of our own PID namespace only, by their ids in it",
        false => "all of the machine",
    };
    findings.push(Finding::new("processes to be seen", Outcome::Told, sees));
    let limit = match cgroup::cpu_limit(&Groups::of("self"), &Mounts::ours()) {
        Some(limit) => format!("{limit:.2} processors, by our control group"),
        None => "none".into(),
    };
    findings.push(Finding::new("CPU limit", Outcome::Told, limit));
    let text = match (sides.is_capable(), sides.yama.unwrap_or(0)) {
        (_, 3..) => "No process can be read: Yama forbids it to everybody.",
        (true, _) => "Every process can be read that no security module, user namespace or sandbox protects.",
        (false, 2) => "No process can be read: Yama asks for CAP_SYS_PTRACE.",
        (false, 1) => {
            "Only our own children can be read, as in `pysample record -- COMMAND`: Yama asks for CAP_SYS_PTRACE."
        }
        (false, _) => "Our own user's processes can be read that hold no more capabilities than we do.",
    };
    let hint = Some("`pysample ps` lists the Python processes, `pysample doctor --pid PID` examines one".into());
    Report::new(None, findings, None, Verdict { works: true, exit_status: 0, text: text.into(), hint })
}

#[cfg(test)]
mod tests {
    use pysample::target::permission::Side;
    use pysample::target::proc::Status;

    use super::*;

    #[test]
    fn a_call_that_the_kernel_lacks_is_not_put_down_to_a_filter() {
        let has_remedies = |seccomp, errno| {
            let status = Some(Status { seccomp, ..Status::default() });
            let sides = Sides { ours: Side { status, ..Side::default() }, ..Sides::default() };
            let tried = [Err(io::Error::from_raw_os_error(errno)), Ok(())];
            let [vectors, _] = of_reads(&sides, tried, true);
            assert!(vectors.value.contains("/proc/PID/mem serves"), "{}", vectors.value);
            !vectors.remedies.is_empty()
        };
        const EPERM: i32 = 1;
        const ENOSYS: i32 = 38;
        assert!(!has_remedies(0, ENOSYS));
        assert!(has_remedies(2, ENOSYS) && has_remedies(2, EPERM) && has_remedies(0, EPERM));
    }
}
