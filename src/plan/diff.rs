//! What was typed after `diff` and `check` means this.

use std::path::{Path, PathBuf};

use pysample::aggregate::diff::{Basis, Function};
use pysample::error::Result;
use pysample::export::Files;
use pysample::pattern::Pattern;

use super::choice::pattern;
use super::{Shape, wrong};
use crate::cli::diff as cli;

/// Two recordings to compare.
#[derive(Debug)]
pub struct Diff {
    /// The recording before.
    pub before: PathBuf,
    /// The recording after.
    pub after: PathBuf,
    /// How differences are judged.
    pub judging: Judging,
    /// As what the result is shown.
    pub sink: Sink,
}

/// As what a comparison is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Sink {
    /// On standard output; as text with so many functions of each sort.
    Printed(Shape, usize),
    /// A flame graph in a file.
    Flamegraph(PathBuf),
    /// A page in a file.
    Html(PathBuf),
}

/// A recording to judge by another one.
#[derive(Debug)]
pub struct Check {
    /// The recording to compare with.
    pub base: PathBuf,
    /// The recording to judge.
    pub new: PathBuf,
    /// How differences are judged.
    pub judging: Judging,
    /// By how much functions may grow.
    pub allowance: Allowance,
    /// The share below which functions are not judged.
    pub least: f64,
    /// Where the result goes as Markdown; `-` is standard output, instead of the text.
    pub markdown: Option<PathBuf>,
    /// Where the result goes as JUnit's XML; as above.
    pub junit: Option<PathBuf>,
}

/// How differences are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judging {
    /// What is compared.
    pub basis: Basis,
    /// From 0.5 to less than 1.
    pub confidence: f64,
    /// What files are called.
    pub files: Files,
}

/// By how much functions may grow.
#[derive(Debug)]
pub struct Allowance {
    usual: f64,
    exceptions: Vec<(Pattern, f64)>,
}

impl Allowance {
    /// By how much of what it was a function may grow; infinite where it is not to be judged.
    pub fn of(&self, function: &Function) -> f64 {
        let found = self.exceptions.iter().rfind(|(pattern, _)| matches(pattern, function));
        found.map_or(self.usual, |(_, allowed)| *allowed)
    }

    /// The patterns that match none of these.
    pub fn idle(&self, functions: &[Function]) -> Vec<String> {
        let is_idle = |pattern: &Pattern| !functions.iter().any(|function| matches(pattern, function));
        self.exceptions.iter().filter(|(pattern, _)| is_idle(pattern)).map(|(pattern, _)| pattern.to_string()).collect()
    }
}

fn matches(pattern: &Pattern, function: &Function) -> bool {
    pattern.matches(&function.function) || pattern.matches(&format!("{}:{}", function.file, function.function))
}

/// What `diff` and its arguments mean.
pub fn diff(typed: cli::Diff) -> Result<Diff> {
    let judging = judging(&typed.judging)?;
    let sink = match typed.output {
        None => Sink::Printed(super::shape(typed.json), typed.top),
        Some(path) => sink(path)?,
    };
    Ok(Diff { before: typed.before, after: typed.after, judging, sink })
}

/// What `check` and its arguments mean.
pub fn check(typed: cli::Check) -> Result<Check> {
    Ok(Check {
        judging: judging(&typed.judging)?,
        allowance: Allowance {
            usual: growth(&typed.max_growth)?,
            exceptions: typed.functions.iter().map(|typed| exception(typed)).collect::<Result<_>>()?,
        },
        least: least(&typed.min_share)?,
        base: typed.base,
        new: typed.new,
        markdown: typed.markdown,
        junit: typed.junit,
    })
}

fn sink(path: PathBuf) -> Result<Sink> {
    match path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("svg") => Ok(Sink::Flamegraph(path)),
        Some("html" | "htm") => Ok(Sink::Html(path)),
        _ => wrong(
            format!("the name {} does not tell a format for a difference", Path::new(&path).display()),
            "the endings are .svg and .html; --json prints JSON",
        ),
    }
}

fn judging(typed: &cli::Judging) -> Result<Judging> {
    let basis = match typed.by.to_ascii_lowercase().as_str() {
        "share" => Basis::Share,
        "time" => Basis::Time,
        other => return wrong(format!("nothing can be compared by '{other}'"), "it is --by share or --by time"),
    };
    let confidence = percentage(&typed.confidence)?;
    if !(0.5..1.0).contains(&confidence) {
        return wrong(
            format!("'{}' is not a confidence", typed.confidence),
            "a percentage from 50 to less than 100; 95 is usual",
        );
    }
    let files = if typed.full_filenames { Files::Full } else { Files::Short };
    Ok(Judging { basis, confidence, files })
}

fn exception(typed: &str) -> Result<(Pattern, f64)> {
    match typed.rsplit_once('=') {
        Some((name, share)) if !name.is_empty() => Ok((pattern(name)?, growth(share)?)),
        _ => wrong(format!("'{typed}' is not a limit for functions"), "a pattern and a percentage, as in 'parse*=3%'"),
    }
}

/// A share of all: more than all is nothing's.
fn least(typed: &str) -> Result<f64> {
    match percentage(typed)? {
        share if share <= 1.0 => Ok(share),
        _ => wrong(
            format!("'{typed}' is not a share: nothing takes more than all"),
            "a percentage, as in --min-share 1%",
        ),
    }
}

/// By how much something may grow: a percentage, or `any`, which is without end.
fn growth(typed: &str) -> Result<f64> {
    if typed.trim().eq_ignore_ascii_case("any") { Ok(f64::INFINITY) } else { percentage(typed) }
}

/// Reads `5`, `0.5`, `2.5%`.
fn percentage(typed: &str) -> Result<f64> {
    let typed = typed.trim();
    match typed.strip_suffix('%').unwrap_or(typed).trim_end().parse::<f64>() {
        Ok(percent) if percent >= 0.0 && percent.is_finite() => Ok(percent / 100.0),
        _ => wrong(format!("'{typed}' is not a percentage"), "a number that is not negative, as in 5 or 2.5%"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::plan::Plan;

    fn plan(arguments: &str) -> Result<Plan> {
        let words = std::iter::once("pysample").chain(arguments.split_whitespace()).map(OsString::from);
        Plan::new(crate::cli::parse(words).unwrap_or_else(|refusal| panic!("{arguments}: {refusal:?}")))
    }

    fn checking(arguments: &str) -> Check {
        match plan(&format!("check a b {arguments}")) {
            Ok(Plan::Check(check)) => check,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn named(function: &str, file: &str) -> Function {
        Function { function: function.into(), file: file.into() }
    }

    #[test]
    fn functions_may_grow_by_five_percent_unless_something_else_is_said() {
        let check = checking("");
        assert_eq!(check.allowance.of(&named("f", "app.py")), 0.05);
        assert_eq!((check.judging.basis, check.judging.confidence, check.least), (Basis::Share, 0.95, 0.01));
        assert_eq!(checking("--max-growth 20").allowance.of(&named("f", "app.py")), 0.2);
    }

    #[test]
    fn any_growth_can_be_allowed() {
        let check = checking("--max-growth any --function parse*=2%");
        let allowed = |function| check.allowance.of(&named(function, "app.py"));
        assert_eq!((allowed("main"), allowed("parse_all")), (f64::INFINITY, 0.02));
        assert_eq!(checking("--function main=any").allowance.of(&named("main", "app.py")), f64::INFINITY);
    }

    #[test]
    fn the_last_pattern_that_matches_counts() {
        let check = checking("--function Job.*=2% --function jobs/*:*=50% --function Job.run=3%");
        let allowed = |function, file| check.allowance.of(&named(function, file));
        assert_eq!(allowed("Job.run", "jobs/job.py"), 0.03);
        assert_eq!(allowed("Job.load", "app.py"), 0.02);
        assert_eq!(allowed("Job.load", "jobs/job.py"), 0.5);
        assert_eq!(allowed("main", "app.py"), 0.05);
        assert_eq!(check.allowance.idle(&[named("Job.load", "app.py")]), ["jobs/*:*", "Job.run"]);
    }

    #[test]
    fn the_ending_says_what_a_difference_is_drawn_as() {
        let sink = |typed: &str| match plan(&format!("diff a b {typed}")) {
            Ok(Plan::Diff(diff)) => diff.sink,
            other => panic!("{typed}: {other:?}"),
        };
        assert_eq!(sink(""), Sink::Printed(Shape::Text, 10));
        assert_eq!(sink("--json"), Sink::Printed(Shape::Json, 10));
        assert_eq!(sink("-o d.SVG"), Sink::Flamegraph("d.SVG".into()));
        assert_eq!(sink("-o d.html"), Sink::Html("d.html".into()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for arguments in [
            "diff a b -o x.txt",
            "diff a b --by size",
            "diff a b --confidence 100%",
            "diff a b --confidence 20",
            "check a b --max-growth -1",
            "check a b --max-growth nan",
            "check a b --function f",
            "check a b --function =3%",
            "check a b --function [a=3%",
            "check a b --min-share 101",
            "check a b --max-growth 5%%",
        ] {
            assert!(plan(arguments).is_err(), "{arguments}");
        }
    }
}
