//! What is done with recordings that there are already: `convert`, `merge`, `report`.

use std::path::Path;

use pysample::aggregate::{CallTree, LeftOut, Synopsis};
use pysample::error::{Error, Result};
use pysample::export::{Files, Folded, Labels, Lines, Processes, Threads};
use pysample::recording::{Filter, Filtered, Merged, Opened, Writer};
use pysample::sample::{Code, Ending, Processes as Recorded, Replay};
use pysample::view::report::{About, Report, Seen, mode, subject};
use pysample::view::summary::Summary;

use super::kept::profile;
use super::record::{heading, open, write};
use super::sources::Sources;
use super::{Exit, colour, print, tell};
use crate::plan::recordings as plan;
use crate::plan::{Format, Shape, Way};

/// Writes a recording, or a part of it, in another format.
pub fn convert(plan: &plan::Convert) -> Result<Exit> {
    let opened = Opened::open(&plan.input)?;
    notes(&opened).iter().for_each(|note| tell(&format!("pysample: {}: {note}", plan.input.display())));
    let whole = synopsis(&opened, &plan.input)?;
    let filtered = filtered(&opened, &plan.filter, &whole)?;
    let labels = Labels {
        lines: plan.lines,
        files: files(&opened, plan.files),
        threads: plan.threads,
        processes: Processes::Merged,
        search_path: whole.search_path(),
    };
    let output = open(&plan.destination, plan.format, &opened.header().program, 0)?;
    let written = match plan.format.way() {
        Way::Samples(write_samples) => {
            write(output, |out| write_samples(&filtered, &labels, &|file| Sources::Ours.text(file), out))?
        }
        Way::Own => {
            let ending = opened.ending().unwrap_or(Ending::Stopped);
            write(output, |out| {
                let mut writer = Writer::new(out, filtered.header())?;
                filtered.replay(&mut |event| writer.take(&event))?;
                writer.finish(ending).map(drop)
            })?
        }
        Way::Stacks(write_stacks) => {
            let (mut tree, mut left) = (
                if plan.threads == Threads::Merged { CallTree::merged() } else { CallTree::default() },
                Synopsis::default(),
            );
            let replayed = filtered.replay(&mut |event| {
                left.take(&event);
                tree.take(event);
                Ok(())
            });
            replayed.map_err(|source| unreadable(&plan.input, source))?;
            let summary = summary(&opened, &left);
            let (folded, heading) = (Folded::new(&tree, &labels), heading(&summary, &profile(&left)));
            write(output, |out| write_stacks(&folded, &heading, plan.drawing, out))?
        }
    };
    if written != "standard output" {
        tell(&format!("pysample: written: {}", pysample::printable::printable(&written)));
    }
    Ok(Exit::Done)
}

/// Writes recordings as one.
pub fn merge(plan: &plan::Merge) -> Result<Exit> {
    let mut parts = Vec::new();
    for path in &plan.inputs {
        let opened = Opened::open(path)?;
        notes(&opened).iter().for_each(|note| tell(&format!("pysample: {}: {note}", path.display())));
        synopsis(&opened, path)?;
        parts.push(opened);
    }
    let endings: Vec<Option<Ending>> = parts.iter().map(Opened::ending).collect();
    let ending =
        endings[0].filter(|first| endings.iter().all(|ending| *ending == Some(*first))).unwrap_or(Ending::Stopped);
    let merged = Merged::new(parts).map_err(|what| {
        let hint = "`pysample convert --mode` narrows one to the threads of the other";
        Error::Usage { what: format!("they cannot be merged: {what}"), hint: Some(hint.into()) }
    })?;
    let output = open(&plan.destination, Format::Pysample, "merged", 0)?;
    write(output, |out| {
        let mut writer = Writer::new(out, merged.header())?;
        merged.replay(&mut |event| writer.take(&event))?;
        writer.finish(ending).map(drop)
    })?;
    Ok(Exit::Done)
}

/// Tells what is in a recording.
pub fn report(plan: &plan::Report) -> Result<Exit> {
    let opened = Opened::open(&plan.input)?;
    let whole = synopsis(&opened, &plan.input)?;
    let filtered = filtered(&opened, &plan.filter, &whole)?;
    let mut seen = Seen::default();
    let replayed = filtered.replay(&mut |event| {
        seen.take(event);
        Ok(())
    });
    replayed.map_err(|source| unreadable(&plan.input, source))?;
    let labels = |lines| Labels {
        lines,
        files: files(&opened, plan.files),
        threads: Threads::Merged,
        processes: Processes::Merged,
        search_path: whole.search_path(),
    };
    let (functions, lines) = (labels(Lines::First), labels(Lines::Running));
    let about = About {
        file: plan.input.display().to_string(),
        header: filtered.header(),
        ending: opened.ending(),
        has_states: opened.is_sampled(),
        notes: notes(&opened),
    };
    let report =
        Report::new(about, &seen, plan.most, &|code: &Code, line| functions.frame(code, line), &|code: &Code, line| {
            lines.frame(code, line)
        });
    print(|out| match plan.shape {
        Shape::Json => report.write_json(out),
        Shape::Text => report.write_text(colour(), out),
    })
}

/// Goes through a recording once: whatever is wrong with it comes out before anything is written.
fn synopsis(opened: &Opened, path: &Path) -> Result<Synopsis> {
    Synopsis::of(opened).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Recording { path: path.into(), source }
}

/// What a filter leaves of a recording.
fn filtered<'a>(opened: &'a Opened, filter: &Filter, whole: &Synopsis) -> Result<Filtered<'a>> {
    if let Some(wanted) = filter.wanted {
        let recorded = opened.header().wanted;
        let refused = match (opened.is_sampled(), Filter::can_narrow(recorded, wanted)) {
            (false, _) => Some("collapsed stacks do not tell what threads were doing".to_owned()),
            (true, true) => None,
            (true, false) => {
                let (has, wants) = (mode(recorded), mode(wanted));
                Some(format!("it was recorded with --mode {has}, and not all that --mode {wants} has is in it"))
            }
        };
        if let Some(what) = refused {
            let hint = "what is recorded with --mode wall can be narrowed to any";
            return Err(Error::Usage { what, hint: Some(hint.into()) });
        }
    }
    Ok(Filtered::new(opened, filter.clone(), whole.search_path()))
}

/// Collapsed stacks have the file names that whoever wrote them chose.
fn files(opened: &Opened, files: Files) -> Files {
    match opened {
        Opened::Own(_) => files,
        Opened::Collapsed(_) => Files::Full,
    }
}

/// What there is to say of a recording that is not whole.
fn notes(opened: &Opened) -> Vec<String> {
    match opened {
        Opened::Own(reader) if reader.ending().is_none() => vec![match reader.loss() {
            Some(loss) => format!(
                "it has no end: pysample was ended by force, or still records; {} bytes at its end are not a whole block and left out",
                loss.bytes
            ),
            None => "it has no end: pysample was ended by force, or still records".into(),
        }],
        _ => Vec::new(),
    }
}

fn summary(opened: &Opened, synopsis: &Synopsis) -> Summary {
    let tally = synopsis.tally().unwrap_or_default();
    Summary {
        subject: subject(opened.header(), synopsis.processes()),
        elapsed: synopsis.elapsed(),
        rate: opened.header().rate,
        tally,
        processes: Recorded::of_recording(synopsis.processes().len(), tally.asked, opened.header().rate),
        left_out: LeftOut::default(),
        profile: None,
        end: opened.ending().unwrap_or(Ending::Stopped),
        written: None,
    }
}
