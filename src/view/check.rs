//! Whether a recording passes, in the words of a terminal, of Markdown and of JUnit.

mod junit;

use std::io::{self, Write};

use super::diff::{method, number, unit, wrapped};
use crate::aggregate::diff::{Basis, Comparison, Growth, Limits, Side, Which, growths};
use crate::printable::printable;

/// What a recording was judged to be.
#[derive(Debug)]
pub struct Verdict {
    names: [String; 2],
    sides: [Side; 2],
    basis: Basis,
    confidence: f64,
    growths: Vec<Growth>,
}

impl Verdict {
    /// Judges a comparison of recordings with these names.
    pub fn new(comparison: &Comparison, names: [&str; 2], limits: &Limits<'_>) -> Verdict {
        Verdict {
            names: names.map(|name| printable(name).into_owned()),
            sides: comparison.sides(),
            basis: comparison.basis(),
            confidence: limits.confidence,
            growths: growths(comparison, limits),
        }
    }

    /// Whether nothing grew too much.
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// As text: the reasons, and how it was judged.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.headline())?;
        for growth in self.failures() {
            writeln!(out, "  {}: {}", name(growth), self.reason(growth))?;
        }
        writeln!(out, "{}", wrapped(&method(&self.sides, self.confidence)))
    }

    /// As Markdown: a table of what was judged, the reasons first.
    pub fn write_markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "## pysample check: {}\n", if self.is_passed() { "passed" } else { "failed" })?;
        writeln!(out, "{}\n", escaped(&self.headline()))?;
        if !self.growths.is_empty() {
            let unit = unit(self.basis);
            writeln!(out, "| | function | | before {unit} | after {unit} | growth | allowed |")?;
            writeln!(out, "|---|---|---|---:|---:|---:|---:|")?;
        }
        for growth in &self.growths {
            let mark = if growth.is_too_much { "**too much**" } else { "" };
            let name = escaped(&format!("{} ({})", growth.function.function, growth.function.file));
            let (before, after) = (number(growth.before, self.basis), number(growth.after, self.basis));
            let (grew, allowed) = (grew(growth), percent(growth.allowed));
            writeln!(out, "| {mark} | {name} | {} | {before} | {after} | {grew} | {allowed} |", which(growth))?;
        }
        let (base, new) = (escaped(&self.names[0]), escaped(&self.names[1]));
        let [before, after] = self.sides.map(|side| side.samples);
        writeln!(out, "\n{base}: {before} samples; {new}: {after} samples. {}", method(&self.sides, self.confidence))
    }

    /// As JUnit's XML: a test case for each function judged, and for its self and its total.
    pub fn write_junit(&self, out: &mut dyn Write) -> io::Result<()> {
        junit::write(self, out)
    }

    fn failures(&self) -> impl Iterator<Item = &Growth> {
        self.growths.iter().filter(|growth| growth.is_too_much)
    }

    fn headline(&self) -> String {
        let judged = self.growths.len();
        match self.failures().count() {
            0 => format!("PASSED: none of {judged} figures (self and total of functions) grew by more than it may"),
            failed => {
                format!("FAILED: {failed} of {judged} figures (self and total of functions) grew by more than they may")
            }
        }
    }

    /// As `12.3 % before, 18.1 % after: 47 % more, 5 % allowed`.
    fn reason(&self, growth: &Growth) -> String {
        let unit = unit(self.basis);
        let (before, after) = (number(growth.before, self.basis), number(growth.after, self.basis));
        format!("{before} {unit} before, {after} {unit} after: {}, {} allowed", grew(growth), percent(growth.allowed))
    }
}

/// As `parse (app.py), self`.
fn name(growth: &Growth) -> String {
    let (function, file) = (printable(&growth.function.function), printable(&growth.function.file));
    format!("{function} ({file}), {}", which(growth))
}

fn which(growth: &Growth) -> &'static str {
    match growth.which {
        Which::Own => "self",
        Which::Total => "total",
    }
}

fn grew(growth: &Growth) -> String {
    match growth.growth {
        Some(by) if by < 0.0 => format!("{} less", percent(-by)),
        Some(by) => format!("{} more", percent(by)),
        None => "new".into(),
    }
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent < 10.0 { format!("{} %", (10.0 * percent).round() / 10.0) } else { format!("{percent:.0} %") }
}

/// Text in Markdown that stays text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in printable(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}
