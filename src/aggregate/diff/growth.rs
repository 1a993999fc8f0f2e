//! Whether functions grew by more than they may.

use serde::Serialize;

use super::{Comparison, Estimate, Function, holm};

/// Which samples of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those in which it was innermost.
    #[serde(rename = "self")]
    Own,
    /// Those in which it was on the stack.
    Total,
}

/// How much functions may grow.
pub struct Limits<'a> {
    /// By how much of what it was each function may grow: 0.05 is 5 %. One that may grow without end is not judged.
    pub allowed: &'a dyn Fn(&Function) -> f64,
    /// Functions that take less than this share of the samples both before and after are not judged.
    pub least: f64,
    /// With this probability two recordings of the same program do not fail. Below 1.
    pub confidence: f64,
}

/// How a function grew.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The function.
    #[serde(flatten)]
    pub function: Function,
    /// In which samples.
    pub which: Which,
    /// How much it took before.
    pub before: f64,
    /// How much it takes after.
    pub after: f64,
    /// By how much of what it was it grew; `None` if it was nothing.
    pub growth: Option<f64>,
    /// By how much it may.
    pub allowed: f64,
    /// How likely noise alone makes it seem to grow this much if it did not grow by more than it may.
    pub p: f64,
    /// Whether it grew by more than it may, all functions looked at taken into account.
    pub is_too_much: bool,
}

/// How each function grew that is large enough to matter. Those that grew too much come first, then by how much more of the
/// time they take.
pub fn growths(comparison: &Comparison, limits: &Limits<'_>) -> Vec<Growth> {
    let mut growths = Vec::new();
    let mut is_large = Vec::new();
    for (function, [own, total]) in comparison.estimates() {
        let allowed = (limits.allowed)(&function);
        if allowed.is_infinite() {
            continue;
        }
        for (which, sides) in [(Which::Own, own), (Which::Total, total)] {
            growths.push(growth(&function, which, &sides, allowed));
            is_large.push(
                sides
                    .iter()
                    .zip(comparison.sides())
                    .any(|(of, side)| side.slots > 0 && of.slots / side.slots as f64 >= limits.least),
            );
        }
    }
    // Those too small to matter count among those looked at: they would have mattered, had noise made them larger.
    let ps: Vec<f64> = growths.iter().map(|growth| growth.p).collect();
    for index in holm(&ps, 1.0 - limits.confidence) {
        growths[index].is_too_much = true;
    }
    let mut is_large = is_large.into_iter();
    growths.retain(|_| is_large.next() == Some(true));
    growths.sort_by(|a, b| {
        let more = |of: &Growth| of.after - of.before;
        b.is_too_much
            .cmp(&a.is_too_much)
            .then(more(b).total_cmp(&more(a)))
            .then((&a.function, a.which).cmp(&(&b.function, b.which)))
    });
    growths
}

fn growth(function: &Function, which: Which, [before, after]: &[Estimate; 2], allowed: f64) -> Growth {
    Growth {
        function: function.clone(),
        which,
        before: before.value,
        after: after.value,
        growth: (before.value > 0.0).then(|| after.value / before.value - 1.0),
        allowed,
        p: after.less(&before.times(1.0 + allowed)).above_zero(),
        is_too_much: false,
    }
}
