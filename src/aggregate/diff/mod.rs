//! Two recordings side by side: what takes more or less of the time in one than in the other, and which of the differences
//! are more than the noise of sampling.
//!
//! A function is the same in both if its name and its file's name are (what a file is called is the caller's to say: the
//! folder that a program was built in may differ). Lines and stacks go by functions. How differences are judged is in
//! [`Estimate`] and [`holm`].

mod estimate;
mod growth;
mod totals;

use std::io;

use serde::Serialize;

use crate::sample::{Code, Replay};

pub use estimate::{Basis, Estimate, Hits, Stretches, holm};
pub use growth::{Growth, Limits, Which, growths};
use totals::{Names, Totals};

/// A recording to compare.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The recording.
    pub recording: &'a dyn Replay,
    /// What the file of a code object is called.
    pub file: &'a dyn Fn(&Code) -> String,
}

/// A function of two recordings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Function {
    /// `co_qualname`, or `co_name`.
    pub function: String,
    /// Its file, as the caller calls it.
    pub file: String,
}

/// A line of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    /// The function.
    #[serde(flatten)]
    pub function: Function,
    /// The line, where it is known.
    pub line: Option<u32>,
}

/// What is compared of a recording as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Samples with a Python stack.
    pub samples: u64,
    /// For how many slots of the clock they stand.
    pub slots: u64,
    /// How many samples that are alike one slot is worth, to say how sure something is.
    #[serde(skip)]
    pub evidence: f64,
    /// Moments at which samples were taken, as often as they stand for slots; `None` where nobody counted them.
    pub moments: Option<u64>,
    /// In seconds.
    pub elapsed: f64,
    /// Into how many stretches of equal length its time is parted, to see how much they differ; 0 if samples have no times.
    pub stretches: usize,
}

/// How much of the time something takes before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Samples before.
    pub samples_before: u64,
    /// Samples after.
    pub samples_after: u64,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// After without before.
    pub difference: f64,
    /// The lower end of the difference's interval. It is right for this difference by itself as often as the confidence says.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How likely noise alone makes a difference as large as this one.
    pub p: f64,
    /// Whether it is more than noise, all differences looked at taken into account.
    pub is_significant: bool,
}

/// A function, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionChange {
    /// The function.
    #[serde(flatten)]
    pub function: Function,
    /// In samples of which it was innermost.
    #[serde(rename = "self")]
    pub own: Change,
    /// In samples of which it was on the stack.
    pub total: Change,
}

/// A line, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineChange {
    /// The line.
    #[serde(flatten)]
    pub line: Line,
    /// In samples in which it ran, and nothing called by it.
    #[serde(rename = "self")]
    pub own: Change,
}

/// A stack, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackChange {
    /// Its functions, outermost first.
    pub functions: Vec<Function>,
    /// For how many slots of the clock it was seen before.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Two recordings side by side.
#[derive(Debug)]
pub struct Comparison {
    names: Names,
    totals: [Totals; 2],
    basis: Basis,
}

impl Comparison {
    /// Compares two recordings.
    ///
    /// # Errors
    ///
    /// What reading the recordings says.
    pub fn new(before: Input<'_>, after: Input<'_>, basis: Basis) -> io::Result<Comparison> {
        let mut names = Names::default();
        let before = Totals::of(before, &mut names)?;
        let after = Totals::of(after, &mut names)?;
        Ok(Comparison { names, totals: [before, after], basis })
    }

    /// What they are as a whole: before, after.
    pub fn sides(&self) -> [Side; 2] {
        [self.totals[0].side(), self.totals[1].side()]
    }

    /// What is compared.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// What the functions of either are called.
    pub fn names(&self) -> impl Iterator<Item = Function> {
        (0..self.names.functions()).map(|function| self.names.function(function))
    }

    /// Every function of either, by name. `confidence`, below 1, is how sure it is that none marked as significant is noise.
    pub fn functions(&self, confidence: f64) -> Vec<FunctionChange> {
        let mut changes: Vec<FunctionChange> = self
            .estimates()
            .map(|(function, [own, total])| FunctionChange {
                function,
                own: Change::new(own, confidence),
                total: Change::new(total, confidence),
            })
            .collect();
        changes.sort_by(|a, b| a.function.cmp(&b.function));
        mark(changes.iter_mut().flat_map(|change| [&mut change.own, &mut change.total]).collect(), confidence);
        changes
    }

    /// Every line of either, by function and number.
    pub fn lines(&self, confidence: f64) -> Vec<LineChange> {
        let whole = self.whole();
        let mut changes: Vec<LineChange> = (0..self.names.lines())
            .map(|line| {
                let own = [0, 1].map(|side| self.estimate(&whole, side, self.totals[side].line(line)));
                LineChange { line: self.names.line(line), own: Change::new(own, confidence) }
            })
            .collect();
        changes.sort_by(|a, b| a.line.cmp(&b.line));
        mark(changes.iter_mut().map(|change| &mut change.own).collect(), confidence);
        changes
    }

    /// Every stack of either that was seen itself.
    pub fn stacks(&self) -> impl Iterator<Item = StackChange> {
        (0..self.names.nodes()).filter_map(|node| {
            let [before, after] = [0, 1].map(|side: usize| self.totals[side].stack(node));
            (before + after > 0).then(|| StackChange { functions: self.names.path(node), before, after })
        })
    }

    /// Each function's self and total, each before and after.
    fn estimates(&self) -> impl Iterator<Item = (Function, [[Estimate; 2]; 2])> {
        let whole = self.whole();
        (0..self.names.functions()).map(move |function| {
            let own = [0, 1].map(|side| self.estimate(&whole, side, self.totals[side].own(function)));
            let total = [0, 1].map(|side| self.estimate(&whole, side, self.totals[side].total(function)));
            (self.names.function(function), [own, total])
        })
    }

    /// What each side's hits are shares of.
    fn whole(&self) -> [Stretches; 2] {
        [0, 1].map(|side: usize| self.totals[side].whole(self.basis))
    }

    fn estimate(&self, whole: &[Stretches; 2], side: usize, hits: Hits) -> Estimate {
        Estimate::new(&hits, &whole[side], self.totals[side].side())
    }
}

impl Change {
    fn new([before, after]: [Estimate; 2], confidence: f64) -> Change {
        let difference = after.less(&before);
        let (low, high) = difference.interval(confidence);
        Change {
            samples_before: before.hits,
            samples_after: after.hits,
            before: before.value,
            after: after.value,
            difference: difference.value,
            low,
            high,
            p: difference.two_sided(),
            is_significant: false,
        }
    }
}

/// Marks the changes that are significant among all of these.
fn mark(mut changes: Vec<&mut Change>, confidence: f64) {
    let ps: Vec<f64> = changes.iter().map(|change| change.p).collect();
    for index in holm(&ps, 1.0 - confidence) {
        changes[index].is_significant = true;
    }
}
