//! A look at a process and its descendants, and the offer of descendants where the process itself is not Python.

use pysample::error::{Error, Result};
use pysample::sample::{Lost, program_of};
use pysample::sampler;
use pysample::target::family::{Family as Relatives, Relative};
use pysample::target::orphans::Adoption;
use pysample::view::dump::{Family, Report};

use super::{Exit, colour, look, print, python_below, report};
use crate::plan::{Dump, Reach, Shape};

/// Before a command is started whose descendants are wanted, too: those who lose their parent are to become our children.
pub fn adopt(reach: Reach) -> Option<Adoption> {
    match reach {
        Reach::Family => Adoption::begin(),
        Reach::Alone => None,
    }
}

/// The descendants of a process that live now; none if it has ended.
pub fn descendants(pid: u32) -> Vec<Relative> {
    let Ok(mut family) = Relatives::of(pid) else { return Vec::new() };
    family.look().born
}

/// Where a process is not Python but descendants of it are, these are offered.
pub fn offer(error: Error) -> Error {
    match error {
        Error::NotPython { pid, why } => {
            let found = python_below(pid);
            let descendants: Vec<(u32, String)> =
                found.iter().map(|(target, _)| (target.pid(), program_of(target.command()))).collect();
            match descendants.is_empty() {
                true => Error::NotPython { pid, why },
                false => Error::PythonBelow { pid, why, descendants },
            }
        }
        other => other,
    }
}

/// Shows every Python process of a family, the root first. One that cannot be read costs that one; if it was all there is,
/// its error is told.
pub fn dump(plan: &Dump) -> Result<Exit> {
    let root = Relatives::of(plan.pid)?.get(plan.pid).copied();
    let (mut reports, mut lost, mut first) = (Vec::new(), Vec::new(), None);
    for relative in root.into_iter().chain(descendants(plan.pid)) {
        match dump_one(plan, &relative) {
            Ok(report) => reports.push(report),
            // Not Python, or gone: not what was asked for.
            Err(error @ (Error::NotPython { .. } | Error::NoSuchProcess { .. } | Error::Zombie { .. })) => {
                first.get_or_insert(error);
            }
            Err(error @ Error::Ended { .. }) => drop(first.get_or_insert(error)),
            Err(error) => {
                lost.push(Lost { pid: relative.pid, why: error.to_string() });
                first.get_or_insert(error);
            }
        }
    }
    if let (true, Some(error)) = (reports.is_empty(), first) {
        return Err(error);
    }
    let family = Family::new(plan.pid, reports, lost);
    print(|out| match plan.shape {
        Shape::Json => family.write_json(out),
        Shape::Text => family.write_text(colour(), out),
    })
}

fn dump_one(plan: &Dump, relative: &Relative) -> Result<Report> {
    let (target, interpreter) = look(relative.pid)?;
    super::warn(&interpreter);
    let snapshot = sampler::snapshot(&target, &interpreter, plan.wanted, plan.pause)?;
    Ok(report(plan, &target, &interpreter, snapshot).of_parent(relative.parent))
}
