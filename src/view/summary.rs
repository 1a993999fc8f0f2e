//! The account at the end of a recording: what was asked, what became of it, where it went. Nothing is left unsaid.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use crate::printable::printable;
use crate::sample::Tally;

/// The account of one recording.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What was recorded.
    pub subject: String,
    /// For how long.
    pub elapsed: Duration,
    /// Samples asked for, per second.
    pub rate: f64,
    /// What became of them.
    pub tally: Tally,
    /// Thread stacks in the profile.
    pub stacks: u64,
    /// How many of them are distinct.
    pub distinct: usize,
    /// Samples of threads without Python frames; they are not in the profile.
    pub frameless: u64,
    /// Threads heard of.
    pub threads: usize,
    /// Why it ended.
    pub end: Ending,
    /// Where the profile is.
    pub written: PathBuf,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was as long as asked.
    Duration,
    /// The user, or a signal.
    Stopped,
    /// The target ended.
    TargetExited,
    /// The target became another program, which is not Python.
    TargetReplaced,
    /// There never was a Python to record.
    NeverPython,
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        if self.end != Ending::NeverPython {
            self.moments(f)?;
            self.stacks(f)?;
            self.losses(f)?;
        }
        writeln!(f, "  written     {}", printable(&self.written.to_string_lossy()))
    }
}

impl Summary {
    fn headline(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let subject = printable(&self.subject);
        let why = match self.end {
            Ending::Duration => "the time was up",
            Ending::Stopped => "it was stopped",
            Ending::TargetExited => "the process ended",
            Ending::TargetReplaced => "the process became a program that is not Python",
            Ending::NeverPython => return writeln!(f, "No sample was taken: {subject} was never seen running Python"),
        };
        let seconds = self.elapsed.as_secs_f64();
        match self.tally.taken {
            0 => writeln!(f, "No sample was taken of {subject} in {seconds:.1} s, until {why}"),
            _ => writeln!(f, "Recorded {subject} for {seconds:.1} s, until {why}"),
        }
    }

    fn moments(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Tally { asked, taken, late, failed, .. } = self.tally;
        let achieved = hertz(taken as f64 / self.elapsed.as_secs_f64());
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let asked_rate = hertz(self.rate);
        writeln!(
            f,
            "  samples     {asked} asked, {taken} taken, {late} late{failed} ({asked_rate} asked, {achieved} achieved)"
        )
    }

    fn stacks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "  stacks      {} of {} threads, {} distinct", self.stacks, self.threads, self.distinct)?;
        match self.frameless {
            0 => writeln!(f),
            frameless => writeln!(f, " ({frameless} more had no Python frames)"),
        }
    }

    fn losses(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Tally { torn, unmapped, invalid, dropped, truncated, .. } = self.tally;
        let unreadable = torn + unmapped + invalid;
        write!(f, "  unreadable  {unreadable}")?;
        if unreadable > 0 {
            write!(f, " ({torn} changed while being read, {unmapped} memory not mapped, {invalid} not valid)")?;
        }
        writeln!(f)?;
        if dropped > 0 {
            writeln!(f, "  dropped     {dropped}: they came faster than they could be counted")?;
        }
        if truncated > 0 {
            writeln!(f, "  truncated   {truncated}: outer frames are missing")?;
        }
        Ok(())
    }
}

/// A rate, with a decimal where it tells something.
pub fn hertz(rate: f64) -> String {
    match rate {
        rate if !rate.is_finite() => "0 Hz".into(),
        rate if rate.fract().abs() < 0.05 || rate >= 1000.0 => format!("{rate:.0} Hz"),
        rate => format!("{rate:.1} Hz"),
    }
}
