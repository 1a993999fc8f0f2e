//! What is done with recordings that there are already: `convert`, `merge`, `report`.

use std::io::Write;
use std::path::Path;

use pysample::aggregate::{CallTree, LeftOut, Synopsis};
use pysample::error::{Error, Result};
use pysample::export::flamegraph::Heading;
use pysample::export::{Files, Folded, Labels, Lines, Processes, Threads};
use pysample::recording::{Filter, Filtered, Merged, Opened, Writer};
use pysample::sample::{Code, Ending, Processes as Recorded, Replay};
use pysample::view::report::{About, Report, Seen, mode, subject};
use pysample::view::summary::{Profile, Summary, hertz, threads};

use super::kept::profile;
use super::record::{heading, open, write};
use super::sources::Sources;
use super::{Exit, colour, print, tell};
use crate::plan::recordings as plan;
use crate::plan::{Format, Shape, Way};

/// Writes a recording, or a part of it, in another format.
pub fn convert(plan: &plan::Convert) -> Result<Exit> {
    let opened = Opened::open(&plan.input)?;
    tell_notes(&opened, &plan.input);
    let whole = synopsis(&opened, &plan.input)?;
    let filtered = filtered(&opened, &plan.filter)?;
    if let Some(note) = emptied(&filtered, &plan.filter, &whole).map_err(|source| unreadable(&plan.input, source))? {
        tell(&format!("pysample: {note}"));
    } else if whole.stacks() + whole.frameless() == 0 {
        tell("pysample: warning: there are no samples in it");
    }
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
            let ending = opened.has_end().then(|| opened.ending().unwrap_or(Ending::Stopped));
            write(output, |out| write_own(&filtered, ending, out))?
        }
        Way::Stacks(write_stacks) => {
            let (mut tree, mut left) = (
                if plan.threads == Threads::Merged { CallTree::merged() } else { CallTree::default() },
                Synopsis::default(),
            );
            let replayed = filtered.replay_counted(&mut |event, count| {
                left.take_often(&event, count);
                tree.take_often(event, count);
                Ok(())
            });
            replayed.map_err(|source| unreadable(&plan.input, source))?;
            let folded = Folded::new(&tree, &labels);
            let heading = heading_of(&opened, &left, &filtered);
            write(output, |out| write_stacks(&folded, &heading, plan.drawing, out))?
        }
    };
    tell_written(&written);
    Ok(Exit::Done)
}

/// Writes recordings as one.
pub fn merge(plan: &plan::Merge) -> Result<Exit> {
    let mut parts = Vec::new();
    for path in &plan.inputs {
        let opened = Opened::open(path)?;
        tell_notes(&opened, path);
        synopsis(&opened, path)?;
        parts.push(opened);
    }
    let ending = ending(&parts);
    let rate = parts[0].header().rate;
    let hint = match parts.iter().all(|part| part.header().rate == rate) {
        true => "`pysample convert --mode` narrows one to the threads of the other",
        false => "record them at the same rate (-r), or compare them with `pysample diff`",
    };
    let merged = Merged::new(parts)
        .map_err(|what| Error::Usage { what: format!("they cannot be merged: {what}"), hint: Some(hint.into()) })?;
    let output = open(&plan.destination, Format::Pysample, "merged", 0)?;
    let written = write(output, |out| write_own(&merged, ending, out))?;
    tell_written(&written);
    Ok(Exit::Done)
}

/// Why several ended; `None` where the end of one is missing, as it is then of all together.
fn ending(parts: &[Opened]) -> Option<Ending> {
    if !parts.iter().all(Replay::has_end) {
        return None;
    }
    let mut endings = parts.iter().map(Opened::ending);
    let first = endings.next().flatten().unwrap_or(Ending::Stopped);
    Some(if endings.all(|ending| ending == Some(first)) { first } else { Ending::Stopped })
}

/// Writes a recording again, without an end where it has none.
fn write_own(recording: &dyn Replay, ending: Option<Ending>, out: &mut dyn Write) -> std::io::Result<()> {
    let mut writer = Writer::new(out, recording.header())?;
    recording.replay(&mut |event| writer.take(&event))?;
    match ending {
        Some(ending) => writer.finish(ending).map(drop),
        None => writer.leave().map(drop),
    }
}

/// Says where something was written to, if that is not seen.
pub fn tell_written(written: &str) {
    if !written.starts_with("standard output") {
        tell(&format!("pysample: written: {}", pysample::printable::printable(written)));
    }
}

/// Tells what is in a recording.
pub fn report(plan: &plan::Report) -> Result<Exit> {
    let opened = Opened::open(&plan.input)?;
    let whole = synopsis(&opened, &plan.input)?;
    let filtered = filtered(&opened, &plan.filter)?;
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
    let mut notes = notes(&opened);
    notes.extend(emptied(&filtered, &plan.filter, &whole).map_err(|source| unreadable(&plan.input, source))?);
    let about = About {
        file: plan.input.display().to_string(),
        header: filtered.header(),
        ending: opened.ending(),
        has_states: opened.is_sampled(),
        is_part: !plan.filter.is_empty(),
        notes,
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
fn filtered<'a>(opened: &'a Opened, filter: &Filter) -> Result<Filtered<'a>> {
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
    Ok(Filtered::new(opened, filter.clone()))
}

/// What to say where a filter leaves nothing of what there is.
fn emptied(filtered: &Filtered, filter: &Filter, whole: &Synopsis) -> std::io::Result<Option<String>> {
    let samples = |of: &Synopsis| of.stacks() + of.frameless();
    if filter.is_empty() || samples(whole) == 0 || samples(&Synopsis::of(filtered)?) > 0 {
        return Ok(None);
    }
    let seconds = whole.elapsed().as_secs_f64();
    Ok(Some(format!(
        "warning: what was asked for leaves out all {} samples of {} in {seconds:.1} s",
        samples(whole),
        threads(whole.thread_count()),
    )))
}

/// Collapsed stacks have the file names that whoever wrote them chose.
fn files(opened: &Opened, files: Files) -> Files {
    match opened {
        Opened::Own(_) => files,
        Opened::Collapsed(_) => Files::Full,
    }
}

/// Tells what there is to say of a recording that is not whole.
pub fn tell_notes(opened: &Opened, path: &Path) {
    let path = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    for note in notes(opened) {
        tell(&format!("pysample: {}: {note}", pysample::printable::printable(&path)));
    }
}

/// What there is to say of a recording that is not whole.
fn notes(opened: &Opened) -> Vec<String> {
    match opened {
        Opened::Own(reader) if reader.ending().is_none() => vec![match reader.loss() {
            Some(loss) => format!(
                "it has no end: pysample was ended by force, or still records; {} bytes at its end are not a whole block, or not what was written, and left out",
                loss.bytes
            ),
            None => "it has no end: pysample was ended by force, or still records".into(),
        }],
        _ => Vec::new(),
    }
}

/// What is written above a flame graph: how much is in it, and of its account what is known.
fn heading_of(opened: &Opened, synopsis: &Synopsis, filtered: &Filtered) -> Heading {
    let title = subject(opened.header(), synopsis.processes());
    let profile = Profile { threads: synopsis.threads_seen(), ..profile(synopsis) };
    let rate = filtered.header().rate;
    match synopsis.tally().filter(|_| opened.has_end()) {
        Some(tally) => {
            let summary = Summary {
                subject: title,
                elapsed: synopsis.elapsed(),
                rate,
                tally,
                processes: Recorded::of_recording(synopsis.processes().len(), tally.asked, rate),
                left_out: LeftOut::default(),
                profile: None,
                throttled: None,
                end: opened.ending().unwrap_or(Ending::Stopped),
                written: None,
            };
            heading(&summary, &profile)
        }
        None if opened.is_sampled() => {
            let (seconds, rate) = (synopsis.elapsed().as_secs_f64(), hertz(rate));
            let of = threads(profile.threads);
            let end = if opened.has_end() { "" } else { " · its end is missing" };
            let subtitle = format!("{} stacks of {of} · {seconds:.1} s ({rate} asked){end}", profile.stacks);
            Heading { title, subtitle }
        }
        None => Heading { title, subtitle: format!("{} stacks", profile.stacks) },
    }
}
