//! Two recordings: what differs, and whether one passes by the other.

use std::fs;
use std::path::{Path, PathBuf};

use pysample::aggregate::Synopsis;
use pysample::aggregate::diff::{Basis, Comparison, Function, Input, Limits};
use pysample::error::{Error, Result};
use pysample::export::flamegraph::{self, Heading};
use pysample::export::{Files, Labels, html};
use pysample::output::Output;
use pysample::sample::{Code, Header, Replay};
use pysample::view::check::Verdict;
use pysample::view::diff::Report;
use pysample::view::report::mode;

use super::open::{open_recording, unusable};
use super::recordings::tell_written;
use super::{Exit, print, tell};
use crate::plan::Shape;
use crate::plan::diff::{Check, Diff, Judging, Sink};

/// Shows what differs.
pub fn diff(plan: &Diff) -> Result<Exit> {
    let output = match &plan.sink {
        Sink::Printed(..) => None,
        Sink::Flamegraph(path) | Sink::Html(path) => Some(Output::file(path)?),
    };
    let inputs = Inputs::open(&plan.before, &plan.after, plan.judging)?;
    let names = inputs.names();
    match (&plan.sink, output) {
        (Sink::Html(_), Some(output)) => write(output, |out| {
            let [(before, before_labels), (after, after_labels)] = &inputs.recordings;
            html::write_difference((&**before, before_labels), (&**after, after_labels), &html::without_sources, out)
        }),
        (Sink::Flamegraph(_), Some(output)) => {
            let comparison = inputs.compare()?;
            write(output, |out| flamegraph::write_difference(&comparison, &heading(&comparison, names), out))
        }
        (Sink::Printed(shape, top), _) => {
            let report = Report::new(&inputs.compare()?, names, plan.judging.confidence);
            print(|out| match shape {
                Shape::Json => report.write_json(out),
                Shape::Text => report.write_text(*top, out),
            })
        }
        (_, None) => unreachable!("a picture has an output"),
    }
}

/// Judges a recording by another one.
pub fn check(plan: &Check) -> Result<Exit> {
    let (markdown, junit) = (&plan.markdown, &plan.junit);
    kept_apart([&plan.base, &plan.new], &[markdown.as_deref(), junit.as_deref()])?;
    let [markdown, junit] = [markdown, junit].map(|path| path.as_deref().map(result).transpose());
    let (markdown, junit) = (markdown?, junit?);
    let inputs = Inputs::open(&plan.base, &plan.new, plan.judging)?;
    let comparison = inputs.compare()?;
    for (side, path) in comparison.sides().iter().zip([&plan.base, &plan.new]) {
        if side.samples == 0 {
            return wrong(format!("there are no samples in {}", path.display()), "nothing can be judged by nothing");
        }
    }
    for pattern in plan.allowance.idle(&comparison.names().collect::<Vec<_>>()) {
        tell(&format!("pysample: warning: no function matches {pattern}"));
    }
    let allowed = |function: &Function| plan.allowance.of(function);
    let limits = Limits { allowed: &allowed, least: plan.least, confidence: plan.judging.confidence };
    let verdict = Verdict::new(&comparison, inputs.names(), &limits);
    // The verdict first: it is told whatever becomes of the files.
    if ![&plan.markdown, &plan.junit].into_iter().flatten().any(|path| is_standard(path)) {
        print(|out| verdict.write_text(out))?;
    }
    let markdown = markdown.map_or(Ok(Exit::Done), |output| write(output, |out| verdict.write_markdown(out)));
    let junit = junit.map_or(Ok(Exit::Done), |output| write(output, |out| verdict.write_junit(out)));
    markdown.and(junit)?;
    Ok(if verdict.is_passed() { Exit::Done } else { Exit::Grew })
}

/// Where a result goes; `-` is standard output.
fn result(path: &Path) -> Result<Output> {
    if is_standard(path) { Ok(Output::kept_stdout()) } else { Output::file(path) }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// That no result is written over a recording, nor over the other one.
fn kept_apart(recordings: [&PathBuf; 2], results: &[Option<&Path>; 2]) -> Result<()> {
    let place = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    let is_kept = |path: &Path| !path.exists() || path.is_file();
    let recordings = recordings.map(|path| (path.as_path(), if is_standard(path) { None } else { place(path) }));
    if let [Some(one), Some(other)] = results
        && (is_kept(one) && place(one) == place(other))
    {
        return wrong(
            format!("two results cannot both be written to {}", one.display()),
            "give --markdown and --junit a file each",
        );
    }
    for result in results.iter().flatten().filter(|path| !is_standard(path) && is_kept(path)) {
        if let Some((recording, _)) = recordings.iter().find(|(_, at)| at.is_some() && *at == place(result)) {
            return wrong(
                format!("the result would be written over {}, which is to be read", recording.display()),
                "give it a file of its own",
            );
        }
    }
    Ok(())
}

/// Two recordings and what their files are called.
struct Inputs {
    recordings: [(Box<dyn Replay>, Labels); 2],
    names: [String; 2],
    basis: Basis,
}

impl Inputs {
    fn open(before: &Path, after: &Path, judging: Judging) -> Result<Inputs> {
        let name = |path: &Path| match path == Path::new("-") {
            true => "standard input".into(),
            false => path.display().to_string(),
        };
        let recordings = [labelled(before, judging.files)?, labelled(after, judging.files)?];
        same_mode(recordings.each_ref().map(|(recording, _)| recording.header()))?;
        Ok(Inputs { recordings, names: [name(before), name(after)], basis: judging.basis })
    }

    fn names(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    fn compare(&self) -> Result<Comparison> {
        let [before, after] =
            self.recordings.each_ref().map(|(_, labels)| |code: &Code| labels.file(&code.file).to_owned());
        let [(one, _), (other, _)] = &self.recordings;
        let before = Input { recording: &**one, file: &before };
        let after = Input { recording: &**other, file: &after };
        let comparison = Comparison::new(before, after, self.basis).map_err(reading)?;
        let is_timeless = comparison.sides().iter().any(|side| side.moments.is_none());
        match self.basis {
            Basis::Time if is_timeless => {
                wrong("nobody has counted the moments of a recording without times", "--by share compares shares")
            }
            _ => Ok(comparison),
        }
    }
}

/// Samples of threads that run and of all threads do not mean the same. Of collapsed stacks it is not known what they are.
fn same_mode(headers: [&Header; 2]) -> Result<()> {
    let [before, after] = headers.map(|header| mode(header.wanted));
    if before == after || headers.iter().any(|header| header.pysample.is_empty()) {
        return Ok(());
    }
    let hint = match [before, after].iter().find(|mode| **mode != "wall") {
        Some(narrow) if [before, after].contains(&"wall") => {
            format!("`pysample convert IN --mode {narrow} -o OUT.pysample` makes such a one of the one of --mode wall")
        }
        _ => "record both with the same --mode".into(),
    };
    wrong(
        format!("one was recorded with --mode {before}, one with --mode {after}: their samples do not mean the same"),
        &hint,
    )
}

fn labelled(path: &Path, files: Files) -> Result<(Box<dyn Replay>, Labels)> {
    let recording = open_recording(path)?;
    let synopsis =
        Synopsis::of(&*recording).map_err(|source| unusable(Error::Recording { path: path.into(), source }))?;
    let labels = Labels { files, search_path: synopsis.search_path(), ..Labels::default() };
    Ok((recording, labels))
}

fn heading(comparison: &Comparison, [before, after]: [&str; 2]) -> Heading {
    let [one, other] = comparison.sides().map(|side| side.samples);
    Heading {
        title: format!("{before} → {after}"),
        subtitle: format!("{one} samples before, {other} after; red takes more than before, blue less"),
    }
}

fn write(output: Output, fill: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> Result<Exit> {
    tell_written(&super::record::write(output, fill)?);
    Ok(Exit::Done)
}

fn reading(source: std::io::Error) -> Error {
    Error::Io { what: "cannot read a recording".into(), source }
}

fn wrong<T>(what: impl Into<String>, hint: &str) -> Result<T> {
    Err(Error::Usage { what: what.into(), hint: Some(hint.into()) })
}
