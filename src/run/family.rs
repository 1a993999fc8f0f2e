//! A look at a process and its descendants, and the offer of descendants where the process itself is not Python.

use pysample::error::{Error, Result};
use pysample::sample::{Lost, program_of};
use pysample::sampler;
use pysample::target::Plight;
use pysample::target::family::{Family as Relatives, Relative};
use pysample::target::orphans::Adoption;
use pysample::view::dump::{Family, Report};

use super::{Exit, colour, look, print, python_below, report, tell, tell_plight};
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

/// Tells what keeps a process or its descendants from running. Each may be in uninterruptible sleep for a moment, which is worth a
/// word for the process that was asked for alone.
pub fn tell_plights(root: u32) {
    /// So many are named.
    const NAMED: usize = 3;
    let below = descendants(root).into_iter().filter_map(|relative| {
        let plight = Plight::of(relative.pid).filter(|plight| *plight != Plight::Uninterruptible)?;
        Some((relative.pid, plight))
    });
    let held: Vec<(u32, Plight)> = Plight::of(root).map(|plight| (root, plight)).into_iter().chain(below).collect();
    held.iter().take(NAMED).for_each(|(pid, plight)| tell_plight(*pid, *plight));
    if let more @ 1.. = held.len().saturating_sub(NAMED) {
        tell(&format!("pysample: nor does anything run of {more} more processes of its family"));
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
            // Whose children these are is not asked for.
            Err(error @ Error::ThreadOf { .. }) => return Err(error),
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
    target.plight().into_iter().for_each(|plight| tell_plight(relative.pid, plight));
    let snapshot = sampler::snapshot(&target, &interpreter, plan.wanted, plan.pause)?;
    Ok(report(plan, &target, &interpreter, snapshot).of_parent(relative.parent))
}
