//! The account at the end of a recording: what was asked, what became of it, where it went. Nothing is left unsaid.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::aggregate::LeftOut;
use crate::printable::printable;
use crate::sample::{Mixing, Processes, Stopped, Tally};
use crate::target::cgroup::Throttling;

pub use crate::sample::Ending;

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
    /// Which processes it is of, if that may be more than one.
    pub processes: Option<Processes>,
    /// What was not wanted.
    pub left_out: LeftOut,
    /// What is in the profile, if that is what was made.
    pub profile: Option<Profile>,
    /// By which CPU limit the process was throttled meanwhile, as far as that is known.
    pub throttled: Option<Throttling>,
    /// Why it ended.
    pub end: Ending,
    /// Where the profile is, in words, if one was written.
    pub written: Option<String>,
}

/// What is in a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Thread stacks.
    pub stacks: u64,
    /// For how many slots of the clock they stand: as often they count.
    pub slots: u64,
    /// How many of them are distinct.
    pub distinct: usize,
    /// Samples of threads without Python frames; they are not in it.
    pub frameless: u64,
    /// Threads heard of.
    pub threads: usize,
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        if self.end != Ending::NeverPython {
            self.moments(f)?;
            self.processes.iter().try_for_each(|processes| told(processes, f))?;
            self.profile.iter().try_for_each(|profile| profile.write(f))?;
            self.left_out(f)?;
            self.losses(f)?;
            self.mixing(f)?;
            self.stops(f)?;
            self.own_cpu(f)?;
            self.throttled.iter().try_for_each(|throttling| writeln!(f, "  throttled   {throttling}"))?;
        }
        if let (Some(processes), Ending::NeverPython) = (&self.processes, self.end) {
            told(processes, f)?;
        }
        match &self.written {
            Some(written) => writeln!(f, "  written     {}", printable(written)),
            None => Ok(()),
        }
    }
}

impl Profile {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let threads = threads(self.threads);
        write!(f, "  stacks      {} of {threads}, {} distinct", self.stacks, self.distinct)?;
        if self.slots != self.stacks {
            write!(f, ", counting for {}", self.slots)?;
        }
        match self.frameless {
            0 => writeln!(f),
            frameless => writeln!(f, " ({frameless} more had no Python frames)"),
        }
    }
}

impl Summary {
    fn headline(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let subject = printable(&self.subject);
        let why = match self.end {
            Ending::Duration => "the time was up",
            Ending::Stopped => "it was stopped",
            Ending::TargetExited => "the process ended",
            Ending::FamilyEnded => "it and its Python descendants had ended",
            Ending::TargetReplaced => "the process became a program that is not Python",
            Ending::TargetForbidden => "the process became one that we may not read (`pysample doctor --pid` says why)",
            Ending::NeverPython => {
                let nor = if self.processes.is_some() { ", nor was a descendant of it" } else { "" };
                return writeln!(f, "No sample was taken: {subject} was never seen running Python{nor}");
            }
        };
        let seconds = self.elapsed.as_secs_f64();
        match self.tally.taken {
            0 => writeln!(f, "No sample was taken of {subject} in {seconds:.1} s, until {why}"),
            _ => writeln!(f, "Recorded {subject} for {seconds:.1} s, until {why}"),
        }
    }

    fn moments(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Tally { asked, taken, late, failed, stretched, spared, .. } = self.tally;
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let stretched = if stretched > 0 { format!(", {stretched} left out for --max-pause") } else { String::new() };
        let spared = if spared > 0 { format!(", {spared} left out for --max-cpu") } else { String::new() };
        let rate = hertz(self.rate);
        let rates = match self.processes {
            // What each achieved is not known; all together achieve what their number makes of it.
            Some(_) => format!("{rate} asked of each process"),
            None => format!("{rate} asked, {} achieved", hertz(taken as f64 / self.elapsed.as_secs_f64())),
        };
        writeln!(f, "  samples     {asked} asked, {taken} taken, {late} late{stretched}{spared}{failed} ({rates})")
    }

    fn stops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Stopped { count, total, median, longest } = self.tally.stopped;
        let (median, longest) = (micros(median), micros(longest));
        // With several processes it is a share of the time of each.
        let share = match &self.processes {
            Some(processes) => percent(total, processes.time),
            None => self.percent(total),
        };
        write!(f, "  stopped     ")?;
        match count {
            0 => writeln!(f, "never"),
            1 => writeln!(f, "{share:.2} % of the time: once, {longest:.0} us"),
            _ => writeln!(
                f,
                "{share:.2} % of the time: {count} times, {median:.0} us in the median, {longest:.0} us at worst"
            ),
        }
    }

    fn own_cpu(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let used = self.tally.own_cpu;
        writeln!(f, "  own CPU     {:.2} s: {:.1} % of a core", used.as_secs_f64(), self.percent(used))
    }

    /// How much of the recording's time that is.
    fn percent(&self, time: Duration) -> f64 {
        percent(time, self.elapsed)
    }

    fn left_out(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let LeftOut { threads, excluded } = self.left_out;
        match (threads, excluded) {
            (0, 0) => Ok(()),
            (threads, 0) => writeln!(f, "  left out    {threads} stacks of other threads"),
            (0, excluded) => writeln!(f, "  left out    {excluded} stacks for --exclude"),
            _ => writeln!(f, "  left out    {threads} stacks of other threads, {excluded} for --exclude"),
        }
    }

    fn mixing(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mixing @ Mixing { kept, found, .. } = self.tally.mixing;
        if kept + found == 0 {
            return Ok(());
        }
        write!(f, "  mixed       ")?;
        match mixing.estimate() {
            Some(mixed) => {
                let share = 100.0 * mixed / kept.max(1) as f64;
                write!(f, "about {mixed:.1} of {kept} kept ({share:.2} %), estimated: nobody was stopped")?;
            }
            None => write!(f, "not known how many of {kept} kept: nobody was stopped")?,
        }
        match found {
            0 => writeln!(f),
            found => writeln!(f, "; {found} more were found and left out"),
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

/// Which processes were sampled, and which were not.
fn told(processes: &Processes, f: &mut Formatter<'_>) -> fmt::Result {
    let Processes { sampled, time, lost, lost_count, warnings, missed } = processes;
    writeln!(f, "  processes   {sampled}, for {:.1} s in all", time.as_secs_f64())?;
    for lost in lost {
        writeln!(f, "  not read    {}", printable(&lost.why))?;
    }
    match lost_count - lost.len() {
        0 => {}
        more => writeln!(f, "  not read    {more} more")?,
    }
    if *missed > 0 {
        writeln!(f, "  missed      {missed} that ended before it was known whether they run Python")?;
    }
    warnings.iter().try_for_each(|warning| writeln!(f, "  warning     {}", printable(warning)))
}

fn percent(time: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { 100.0 * time.as_secs_f64() / of.as_secs_f64() }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// So many threads.
pub fn threads(number: usize) -> String {
    match number {
        1 => "1 thread".into(),
        number => format!("{number} threads"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Lost, Stops};

    fn summary() -> Summary {
        let [total, median, longest] = [12_500, 23, 90].map(Duration::from_micros);
        let stopped = Stopped { count: 500, total, median, longest };
        let own_cpu = Duration::from_millis(51);
        Summary {
            subject: "app.py (pid 4242) · Python 3.11.7".into(),
            elapsed: Duration::from_millis(5040),
            rate: 100.0,
            tally: Tally { asked: 504, taken: 502, late: 2, stopped, own_cpu, ..Tally::default() },
            processes: None,
            left_out: LeftOut::default(),
            profile: Some(Profile { stacks: 1000, slots: 1000, distinct: 14, frameless: 0, threads: 2 }),
            throttled: None,
            end: Ending::Duration,
            written: Some("profile.svg".into()),
        }
    }

    #[test]
    fn a_good_recording_is_short_to_tell() {
        assert_eq!(
            summary().to_string(),
            "\
Recorded app.py (pid 4242) · Python 3.11.7 for 5.0 s, until the time was up
  samples     504 asked, 502 taken, 2 late (100 Hz asked, 99.6 Hz achieved)
  stacks      1000 of 2 threads, 14 distinct
  unreadable  0
  stopped     0.25 % of the time: 500 times, 23 us in the median, 90 us at worst
  own CPU     0.05 s: 1.0 % of a core
  written     profile.svg
"
        );
    }

    #[test]
    fn every_loss_is_told() {
        let tally = Tally {
            asked: 22,
            taken: 16,
            late: 1,
            failed: 3,
            dropped: 9,
            torn: 4,
            unmapped: 5,
            invalid: 6,
            truncated: 2,
            stretched: 1,
            spared: 1,
            ..Tally::default()
        };
        let summary = Summary {
            tally,
            profile: summary().profile.map(|profile| Profile { frameless: 7, slots: 1070, ..profile }),
            throttled: Some(Throttling {
                processors: 1.5,
                period: Duration::from_millis(100),
                periods: 50,
                throttled: 7,
            }),
            end: Ending::TargetExited,
            ..summary()
        };
        assert_eq!(
            summary.to_string(),
            "\
Recorded app.py (pid 4242) · Python 3.11.7 for 5.0 s, until the process ended
  samples     22 asked, 16 taken, 1 late, 1 left out for --max-pause, 1 left out for --max-cpu, 3 failed (100 Hz asked, 3.2 Hz achieved)
  stacks      1000 of 2 threads, 14 distinct, counting for 1070 (7 more had no Python frames)
  unreadable  15 (4 changed while being read, 5 memory not mapped, 6 not valid)
  dropped     9: they came faster than they could be counted
  truncated   2: outer frames are missing
  stopped     never
  own CPU     0.00 s: 0.0 % of a core
  throttled   in 7 of 50 periods of 100 ms, by a CPU limit of 1.5 processors
  written     profile.svg
"
        );
    }

    #[test]
    fn a_recording_without_samples_says_so_first() {
        let tally = Tally { asked: 3, late: 3, ..Tally::default() };
        let summary = Summary { tally, profile: None, end: Ending::Stopped, ..summary() };
        let told = summary.to_string();
        assert!(told.starts_with("No sample was taken of app.py (pid 4242) · Python 3.11.7 in 5.0 s"), "{told}");
    }

    #[test]
    fn a_recording_of_no_time_has_no_shares() {
        let told = Summary { elapsed: Duration::ZERO, ..summary() }.to_string();
        assert!(told.contains(" 0.00 % of the time") && told.contains(" 0.0 % of a core"), "{told}");
    }

    #[test]
    fn a_single_stop_has_no_median() {
        let mut stops = Stops::default();
        stops.add(Some(Duration::from_micros(504)));
        let tally = Tally { stopped: stops.stopped(), ..Tally::default() };
        let told = Summary { tally, ..summary() }.to_string();
        assert!(told.contains("  stopped     0.01 % of the time: once, 504 us\n"), "{told}");
    }

    #[test]
    fn a_command_that_never_was_python_has_nothing_to_count() {
        let summary = Summary { subject: "sh (pid 7)".into(), end: Ending::NeverPython, ..summary() };
        assert_eq!(
            summary.to_string(),
            "No sample was taken: sh (pid 7) was never seen running Python\n  written     profile.svg\n"
        );
    }

    #[test]
    fn a_hostile_name_does_not_reach_the_terminal() {
        let summary = Summary { subject: "\x1b]0;x\x07".into(), written: Some("a\nb.svg".into()), ..summary() };
        assert!(summary.to_string().chars().all(|c| c == '\n' || !c.is_control()));
        assert!(summary.to_string().ends_with("  written     a\\nb.svg\n"));
    }

    #[test]
    fn a_family_tells_its_processes_and_those_that_were_not_read() {
        let lost = vec![Lost { pid: 44, why: "not permitted".into() }];
        let time = Duration::from_millis(40_000);
        let processes = Processes { sampled: 8, time, lost, lost_count: 3, missed: 2, warnings: vec!["new".into()] };
        let left_out = LeftOut { threads: 5, excluded: 6 };
        let tally = Tally { spared: 7, ..summary().tally };
        let told =
            Summary { processes: Some(processes), left_out, tally, end: Ending::FamilyEnded, ..summary() }.to_string();
        assert!(told.contains("until it and its Python descendants had ended\n"), "{told}");
        let lines: Vec<&str> = told.lines().map(str::trim).collect();
        for line in [
            "samples     504 asked, 502 taken, 2 late, 7 left out for --max-cpu (100 Hz asked of each process)",
            "processes   8, for 40.0 s in all",
            "not read    not permitted",
            "not read    2 more",
            "missed      2 that ended before it was known whether they run Python",
            "warning     new",
            "left out    5 stacks of other threads, 6 for --exclude",
            "stopped     0.03 % of the time: 500 times, 23 us in the median, 90 us at worst",
        ] {
            assert!(lines.contains(&line), "{line}: {told}");
        }
    }

    #[test]
    fn one_thread_is_no_threads() {
        assert_eq!([0, 1, 2].map(threads), ["0 threads", "1 thread", "2 threads"]);
    }

    #[test]
    fn a_rate_has_a_decimal_where_it_tells_something() {
        let told: Vec<String> = [0.0, 100.0, 99.6, 1999.7, 2.5, f64::NAN, f64::INFINITY].map(hertz).into();
        assert_eq!(told, ["0 Hz", "100 Hz", "99.6 Hz", "2000 Hz", "2.5 Hz", "0 Hz", "0 Hz"]);
    }
}
