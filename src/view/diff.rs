//! What differs between two recordings, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::aggregate::diff::{Basis, Change, Comparison, FunctionChange, LineChange, Side};
use crate::printable::printable;

/// A comparison to show.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    basis: Basis,
    confidence: f64,
    /// How it was judged what is significant, in words.
    method: String,
    before: Recording,
    after: Recording,
    functions: Vec<FunctionChange>,
    lines: Vec<LineChange>,
}

/// A recording, as it is told of.
#[derive(Debug, Serialize)]
struct Recording {
    name: String,
    #[serde(flatten)]
    side: Side,
}

impl Report {
    /// What is to be told of a comparison of recordings with these names.
    pub fn new(comparison: &Comparison, names: [&str; 2], confidence: f64) -> Report {
        let sides = comparison.sides();
        let of = |at: usize| Recording { name: printable(names[at]).into_owned(), side: sides[at] };
        Report {
            schema: 1,
            basis: comparison.basis(),
            confidence,
            method: method(&sides, confidence),
            before: of(0),
            after: of(1),
            functions: comparison.functions(confidence),
            lines: comparison.lines(confidence),
        }
    }

    /// As JSON.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// As tables, with so many functions of each sort at most.
    pub fn write_text(&self, most: usize, out: &mut dyn Write) -> io::Result<()> {
        for (what, recording) in [("Before", &self.before), ("After", &self.after)] {
            writeln!(out, "{:<8}{}: {}", format!("{what}:"), recording.name, size(recording.side))?;
        }
        writeln!(out, "\n{}", wrapped(&format!("{} {}", compared(self.basis), self.method)))?;
        let mut is_same = true;
        for sort in [Sort::Grew, Sort::Shrank, Sort::New, Sort::Gone] {
            let changes = self.sorted(sort);
            is_same &= changes.is_empty();
            self.write_table(sort, &changes, most, out)?;
        }
        if is_same {
            writeln!(out, "\nNothing differs.")?;
        }
        Ok(())
    }

    fn sorted(&self, sort: Sort) -> Vec<&FunctionChange> {
        let mut changes: Vec<_> = self.functions.iter().filter(|change| Sort::of(change) == Some(sort)).collect();
        changes.sort_by(|a, b| {
            let is_marked = |of: &FunctionChange| of.own.is_significant || of.total.is_significant;
            let size = |of: &FunctionChange| (of.own.difference.abs(), of.total.difference.abs());
            let (a_size, b_size) = (size(a), size(b));
            is_marked(b).cmp(&is_marked(a)).then(b_size.0.total_cmp(&a_size.0)).then(b_size.1.total_cmp(&a_size.1))
        });
        changes
    }

    fn write_table(&self, sort: Sort, changes: &[&FunctionChange], most: usize, out: &mut dyn Write) -> io::Result<()> {
        if changes.is_empty() || most == 0 {
            return Ok(());
        }
        writeln!(out, "\n{}", sort.title())?;
        let unit = unit(self.basis);
        let (own, total) = (format!("self {unit}: before, after, difference"), format!("total {unit}"));
        writeln!(out, "  {own:<48}  {total:<26}  function")?;
        for change in changes.iter().take(most) {
            let (own, total) = (self.own(&change.own), self.total(&change.total));
            let (function, file) = (printable(&change.function.function), printable(&change.function.file));
            writeln!(out, "  {own:<48}  {total:<26}  {function} ({file})")?;
        }
        match changes.len().saturating_sub(most) {
            0 => Ok(()),
            more => writeln!(out, "  ... and {more} more (--top)"),
        }
    }

    fn own(&self, change: &Change) -> String {
        let number = |of: f64| number(of, self.basis);
        let (low, high) = (signed(change.low, self.basis), signed(change.high, self.basis));
        let mark = if change.is_significant { '*' } else { ' ' };
        let difference = signed(change.difference, self.basis);
        format!("{:>6} {:>6} {difference:>7}{mark} ({low} to {high})", number(change.before), number(change.after))
    }

    fn total(&self, change: &Change) -> String {
        let number = |of: f64| number(of, self.basis);
        let mark = if change.is_significant { '*' } else { ' ' };
        let difference = signed(change.difference, self.basis);
        format!("{:>6} {:>6} {difference:>7}{mark}", number(change.before), number(change.after))
    }
}

/// What became of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Grew,
    Shrank,
    New,
    Gone,
}

impl Sort {
    /// By its own samples; by those of what it calls if it was never innermost. `None` if it takes what it took.
    fn of(change: &FunctionChange) -> Option<Sort> {
        let by = if change.own.difference == 0.0 { &change.total } else { &change.own };
        match (change.total.samples_before, change.total.samples_after) {
            // Defined, and in no sample of either.
            (0, 0) => None,
            (0, _) => Some(Sort::New),
            (_, 0) => Some(Sort::Gone),
            _ if by.difference > 0.0 => Some(Sort::Grew),
            _ if by.difference < 0.0 => Some(Sort::Shrank),
            _ => None,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Sort::Grew => "Grew:",
            Sort::Shrank => "Shrank:",
            Sort::New => "New:",
            Sort::Gone => "Gone:",
        }
    }
}

/// How it is judged what is more than noise.
pub fn method(sides: &[Side; 2], confidence: f64) -> String {
    if sides.iter().any(|side| side.samples == 0) {
        return "One of them has no samples: nothing can be judged by nothing.".into();
    }
    // As it was typed: what is less than all is not called all.
    let percent = (1e8 * confidence).round() / 1e6;
    match sides.iter().all(|side| side.stretches > 0) {
        true => format!(
            "Judged by how much {} stretches of each recording differ from each other (Student's t), corrected for \
             how many functions there are (Holm): with {percent} % confidence nothing is taken for a change that is \
             noise of sampling.",
            sides[0].stretches
        ),
        false => {
            "Collapsed stacks have no times: samples are judged as if they did not depend on each other, which they \
                  do, so noise is taken for a change more often than it should be. No confidence is claimed."
                .into()
        }
    }
}

/// What numbers are, in words.
pub fn compared(basis: Basis) -> &'static str {
    match basis {
        Basis::Share => "Shares of all samples with Python frames; * marks what is more than noise.",
        Basis::Time => "Milliseconds of thread time a second of wall time; * marks what is more than noise.",
    }
}

/// The unit of numbers.
pub fn unit(basis: Basis) -> &'static str {
    match basis {
        Basis::Share => "%",
        Basis::Time => "ms/s",
    }
}

/// A share or a time, without its unit.
pub fn number(value: f64, basis: Basis) -> String {
    match basis {
        Basis::Share => format!("{:.1}", 100.0 * value),
        Basis::Time => format!("{:.0}", 1000.0 * value),
    }
}

/// As [`number`], with its sign.
fn signed(value: f64, basis: Basis) -> String {
    let text = number(value.abs(), basis);
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (is_zero, value < 0.0) {
        (true, _) => text,
        (false, true) => format!("-{text}"),
        (false, false) => format!("+{text}"),
    }
}

fn size(side: Side) -> String {
    match side.elapsed > 0.0 {
        true => format!("{} samples in {:.1} s", side.samples, side.elapsed),
        false => format!("{} samples", side.samples),
    }
}

/// Text in lines of a terminal's width.
pub fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.len() > 100 {
            wrapped.push('\n');
            width = 0;
        } else if width > 0 {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(word);
        width += word.len();
    }
    wrapped
}
