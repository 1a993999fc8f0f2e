//! What `convert`, `merge` and `report` mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pysample::error::Result;
use pysample::export::flamegraph::Drawing;
use pysample::export::{Files, Lines, Threads};
use pysample::pattern::Pattern;
use pysample::recording::Filter;

use super::choice::pattern;
use super::{Destination, Format, LONGEST, Shape, destination, drawing, labels, mode, shape, wrong};
use crate::cli::recordings as cli;

/// A recording to write in another format.
#[derive(Debug)]
pub struct Convert {
    /// Which.
    pub input: PathBuf,
    /// To where.
    pub destination: Destination,
    /// In which format.
    pub format: Format,
    /// How a flame graph is drawn.
    pub drawing: Drawing,
    /// Which samples.
    pub filter: Filter,
    /// Which line frames show.
    pub lines: Lines,
    /// How much of file names.
    pub files: Files,
    /// Whether threads are told apart.
    pub threads: Threads,
}

/// Recordings to put together.
#[derive(Debug)]
pub struct Merge {
    /// Which.
    pub inputs: Vec<PathBuf>,
    /// To where.
    pub destination: Destination,
}

/// A recording to tell of.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub input: PathBuf,
    /// How many functions, lines and threads.
    pub most: usize,
    /// For whom.
    pub shape: Shape,
    /// Which samples.
    pub filter: Filter,
    /// How much of file names.
    pub files: Files,
}

/// What is to be converted.
pub fn convert(typed: cli::Convert) -> Result<Convert> {
    let (destination, format) = destination(Some(typed.output), typed.format.as_deref())?;
    let lines = if typed.function { Lines::First } else { Lines::Running };
    let files = if typed.full_filenames { Files::Full } else { Files::Short };
    let threads = if typed.by_thread { Threads::Apart } else { Threads::Merged };
    labels(format, lines, files, threads)?;
    Ok(Convert {
        input: input(typed.input)?,
        destination,
        format,
        drawing: drawing(typed.drawing, format)?,
        filter: filter(&typed.filters)?,
        lines,
        files,
        threads,
    })
}

/// What is to be merged.
pub fn merge(typed: cli::Merge) -> Result<Merge> {
    let inputs: Vec<PathBuf> = typed.inputs.into_iter().map(input).collect::<Result<_>>()?;
    if inputs.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        return wrong("standard input can be read once", "give the others as files");
    }
    // A name without an ending says nothing else.
    let format = typed.output.extension().is_none().then_some("pysample");
    let (destination, format) = destination(Some(typed.output), format)?;
    match (&destination, format) {
        (Destination::Stdout, _) | (_, Format::Pysample) => Ok(Merge { inputs, destination }),
        _ => wrong(
            "recordings are merged to a recording",
            "as in -o all.pysample; `pysample convert` makes the rest of it",
        ),
    }
}

/// What is to be told.
pub fn report(typed: cli::Report) -> Result<Report> {
    let most = match typed.number.parse() {
        Ok(most) if most > 0 => most,
        _ => return wrong(format!("'{}' is no number of functions", typed.number), "a positive number, as in -n 20"),
    };
    Ok(Report {
        input: input(typed.input)?,
        most,
        shape: shape(typed.json),
        filter: filter(&typed.filters)?,
        files: if typed.full_filenames { Files::Full } else { Files::Short },
    })
}

fn input(typed: PathBuf) -> Result<PathBuf> {
    match typed.as_os_str().is_empty() {
        true => wrong("the name of the recording is empty", "as in run.pysample; `-` is standard input"),
        false => Ok(typed),
    }
}

/// Which samples are wanted.
pub fn filter(typed: &cli::Filters) -> Result<Filter> {
    let patterns = |typed: &[String]| typed.iter().map(|text| pattern(text)).collect::<Result<Vec<Pattern>>>();
    let (from, to) = (typed.from.as_deref().map(time).transpose()?, typed.to.as_deref().map(time).transpose()?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return wrong("--from is not before --to", "as in --from 2 --to 3.5");
    }
    Ok(Filter {
        threads: patterns(&typed.threads)?,
        include: patterns(&typed.include)?,
        exclude: patterns(&typed.exclude)?,
        from,
        to,
        wanted: typed.mode.as_deref().map(mode).transpose()?,
    })
}

/// Reads `0`, `1.5`, `1.5s`.
fn time(typed: &str) -> Result<Duration> {
    let number = typed.trim().trim_end_matches('s').trim_end();
    match number.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => wrong(format!("'{typed}' is not a time"), "seconds since the recording began, as in --from 1.5"),
    }
}
