//! Comparisons: what is known to have grown is found, noise is not taken for growth more often than is said, and what is
//! told of it to people and programs.

mod common;

use std::time::Duration;

use pysample::aggregate::diff::{Basis, Comparison, Function, FunctionChange, Growth, Limits, Which, growths};
use pysample::sample::{Code, GilState, Literal, Replay, StackId, ThreadState};

use common::literal::Builder;

const CONFIDENCE: f64 = 0.95;

fn file(code: &Code) -> String {
    code.file.to_string()
}

fn compare(before: &dyn Replay, after: &dyn Replay, basis: Basis) -> Comparison {
    Comparison::new((before, &file), (after, &file), basis).unwrap()
}

fn change(comparison: &Comparison, function: &str) -> FunctionChange {
    let changes = comparison.functions(CONFIDENCE);
    changes.into_iter().find(|change| change.function.function == function).unwrap_or_else(|| panic!("no {function}"))
}

/// What grew too much, where each function may grow by `allowed`.
fn failures(before: &dyn Replay, after: &dyn Replay, allowed: f64) -> Vec<Growth> {
    let comparison = compare(before, after, Basis::Share);
    let limits = Limits { allowed: &|_: &Function| allowed, least: 0.01, confidence: CONFIDENCE };
    growths(&comparison, &limits).into_iter().filter(|growth| growth.is_too_much).collect()
}

/// A program that is in one of several functions at a time.
struct Program {
    /// How much of its time it is in each, in parts of the sum.
    weights: &'static [f64],
    /// For how many samples it stays in one, in the mean.
    stays: f64,
    /// Samples a second.
    rate: f64,
    /// How many.
    samples: u32,
}

impl Program {
    fn record(&self, random: &mut fastrand::Rng) -> Literal {
        let mut builder = Builder::new(self.rate);
        let thread = builder.thread("MainThread");
        let stacks: Vec<StackId> = (0..self.weights.len())
            .map(|at| builder.stack(&[("main", "app.py", 1), (&format!("f{at}"), "app.py", 10 + at as u32)]))
            .collect();
        let mut now = self.pick(random);
        for moment in 0..self.samples {
            if random.f64() < 1.0 / self.stays {
                now = self.pick(random);
            }
            let at = Duration::from_secs_f64(f64::from(moment) / self.rate);
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stacks[now]);
        }
        builder.end(Duration::from_secs_f64(f64::from(self.samples) / self.rate))
    }

    fn pick(&self, random: &mut fastrand::Rng) -> usize {
        let mut left = random.f64() * self.weights.iter().sum::<f64>();
        let last = self.weights.len() - 1;
        self.weights.iter().position(|weight| { left -= weight; left < 0.0 }).unwrap_or(last)
    }
}

/// Eight functions from 40 % of the time to less than 1 %.
const WEIGHTS: &[f64] = &[40.0, 25.0, 15.0, 10.0, 5.0, 3.0, 1.5, 0.5];

/// How often two recordings of one program fail where nothing may grow at all.
fn false_failures(program: &Program, other: &Program, seeds: u64) -> usize {
    (0..seeds)
        .filter(|&seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let (before, after) = (program.record(&mut random), other.record(&mut random));
            !failures(&before, &after, 0.0).is_empty()
        })
        .count()
}

#[test]
fn two_recordings_of_one_program_fail_as_rarely_as_is_said() {
    for stays in [50.0, 100.0] {
      for samples in [1000] {
        let program = Program { weights: WEIGHTS, stays, rate: 100.0, samples };
        let failed = false_failures(&program, &program, 1500);
        eprintln!("{stays} {samples}: {failed} of 400");
      }
    }
}
