//! Which members of a family may be Python and are not known yet, and when each is to be looked at (again).
//!
//! To look costs milliseconds. A program is looked at once it is some milliseconds old: what a fork makes is a copy of its
//! parent, Python as it seems, until it executes what it is meant for. One that is not Python is looked at again when it
//! executes another program, and otherwise ever more seldom: it may load Python later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sample::Lost;
use crate::target::family::Relative;

/// How old a process is when it is first looked at, at least.
const AGE: Duration = Duration::from_millis(8);
/// For how long a Python that is starting is looked at again and again, and what seems wrong may be one.
const STARTING: Duration = Duration::from_secs(3);
/// When one that is not Python is looked at again: after so long at first, twice as long each time, and at last.
const FIRST: Duration = Duration::from_millis(40);
const LONGEST: Duration = Duration::from_secs(2);
/// The time between two looks at a Python that is starting, at least.
const SHORTEST: Duration = Duration::from_millis(2);
/// Looks take at most this share of the time, one in so many.
const SHARE: u32 = 100;

/// Processes that may turn out to be Python.
#[derive(Default)]
pub struct Candidates {
    waiting: BTreeMap<u32, Candidate>,
    /// How many ended before anything was known of them.
    pub missed: u64,
}

struct Candidate {
    relative: Relative,
    since: Instant,
    due: Instant,
    pause: Duration,
    /// What it executed when it was last looked at; `None` where that cannot be seen.
    program: Option<PathBuf>,
    known: Known,
    is_asked: bool,
    /// What was told of it: that it cannot be read.
    told: Option<Lost>,
}

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It is not Python, or one that cannot be read.
    NotOurs,
}

/// What a look at a candidate ended with.
pub struct Answer {
    /// Who.
    pub relative: Relative,
    /// What it executed just before the look.
    pub program: Option<PathBuf>,
    /// What the look cost.
    pub cost: Duration,
}

impl Candidates {
    /// Takes one that was born.
    pub fn add(&mut self, relative: Relative, now: Instant, age: Age) {
        let due = if age == Age::New { now + AGE } else { now };
        self.put(relative, now, due, Known::Nothing);
    }

    /// Takes one that was Python and executed another program, or may not be read any more, which was told.
    pub fn add_again(&mut self, relative: Relative, now: Instant, told: Option<Lost>) {
        self.put(relative, now, now + FIRST, Known::NotOurs);
        self.waiting.entry(relative.pid).and_modify(|candidate| candidate.told = told);
    }

    fn put(&mut self, relative: Relative, since: Instant, due: Instant, known: Known) {
        let (pause, program, told) = (FIRST, None, None);
        let candidate = Candidate { relative, since, due, pause, program, known, is_asked: false, told };
        self.waiting.insert(relative.pid, candidate);
    }

    /// Forgets one that has ended.
    pub fn remove(&mut self, relative: &Relative) {
        if let Some(candidate) = self.waiting.get(&relative.pid).filter(|there| there.relative == *relative) {
            self.missed += u64::from(candidate.known == Known::Nothing);
            self.waiting.remove(&relative.pid);
        }
    }

    /// Whether it is not known of somebody yet that it is not Python.
    pub fn may_be_python(&self) -> bool {
        self.waiting.values().any(|candidate| candidate.known == Known::Nothing)
    }

    /// How long until the next of them is to be looked at.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let due = self.waiting.values().filter(|candidate| !candidate.is_asked).map(|candidate| candidate.due);
        due.min().map(|due| due.saturating_duration_since(now).max(SHORTEST))
    }

    /// Those to look at now. `program` tells what a process executes.
    pub fn due(&mut self, now: Instant, program: impl Fn(u32) -> Option<PathBuf>) -> Vec<Relative> {
        let is_due = |candidate: &&mut Candidate| {
            !candidate.is_asked
                && (candidate.due <= now
                    || candidate.known == Known::NotOurs && program(candidate.relative.pid) != candidate.program)
        };
        let due = self.waiting.values_mut().filter(is_due);
        due.map(|candidate| {
            candidate.is_asked = true;
            candidate.relative
        })
        .collect()
    }

    /// It is Python. Returns what was told of it before, which is not so any more.
    pub fn found(&mut self, relative: &Relative) -> Option<Lost> {
        self.waiting.remove(&relative.pid)?.told
    }

    /// It is not, or not yet, or cannot be read. Returns what is to be told of that.
    pub fn refused(&mut self, answer: Answer, error: &Error, now: Instant) -> Option<Lost> {
        let Answer { relative, program, cost } = answer;
        let candidate = self.waiting.get_mut(&relative.pid).filter(|there| there.relative == relative)?;
        candidate.is_asked = false;
        if candidate.program != program {
            candidate.program = program;
            (candidate.since, candidate.pause) = (now, FIRST);
        }
        let is_young = now.saturating_duration_since(candidate.since) < STARTING;
        match error {
            Error::NotRunning { .. } | Error::Unrecognised { .. } if is_young => {
                candidate.due = now + SHORTEST;
                candidate.known = Known::Nothing;
                return None;
            }
            Error::NoSuchProcess { .. } | Error::Zombie { .. } | Error::Ended { .. } => {
                self.remove(&relative);
                return None;
            }
            _ => {}
        }
        candidate.known = Known::NotOurs;
        candidate.due = now + candidate.pause.max(cost * SHARE);
        candidate.pause = (candidate.pause * 2).min(LONGEST);
        if candidate.told.is_some() || matches!(error, Error::NotPython { .. }) {
            return None;
        }
        candidate.told = Some(Lost { pid: relative.pid, why: error.to_string() });
        candidate.told.clone()
    }
}

/// How long a process has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It was born since the last look.
    New,
    /// It was there before the first.
    Old,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn relative(pid: u32) -> Relative {
        Relative { pid, parent: None, started: 7 }
    }

    fn answer(pid: u32, program: &str) -> Answer {
        Answer { relative: relative(pid), program: Some(program.into()), cost: Duration::ZERO }
    }

    fn not_python(pid: u32) -> Error {
        Error::NotPython { pid, why: String::new() }
    }

    fn executes(program: &str) -> impl Fn(u32) -> Option<PathBuf> {
        move |_| Some(program.into())
    }

    #[test]
    fn one_is_looked_at_when_it_is_some_milliseconds_old_and_once_at_a_time() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        candidates.add(relative(1), now, Age::New);
        candidates.add(relative(2), now, Age::Old);
        assert_eq!(candidates.due(now, executes("sh")), [relative(2)]);
        assert_eq!(candidates.due(now + 10 * MILLISECOND, executes("sh")), [relative(1)]);
        assert_eq!(candidates.due(now + 20 * MILLISECOND, executes("sh")), []);
    }

    #[test]
    fn one_that_is_not_python_is_looked_at_again_ever_more_seldom() {
        let (mut candidates, start) = (Candidates::default(), Instant::now());
        candidates.add(relative(1), start, Age::Old);
        let mut looks = Vec::new();
        for milliseconds in 0..10_000 {
            let now = start + milliseconds * MILLISECOND;
            for _ in candidates.due(now, executes("sh")) {
                looks.push(milliseconds);
                assert_eq!(candidates.refused(answer(1, "sh"), &not_python(1), now), None);
            }
        }
        assert_eq!(looks, [0, 40, 120, 280, 600, 1240, 2520, 4520, 6520, 8520]);
        assert!(!candidates.may_be_python());
    }

    #[test]
    fn one_that_executes_another_program_is_looked_at_at_once() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        candidates.add(relative(1), now, Age::Old);
        candidates.due(now, executes("sh"));
        candidates.refused(answer(1, "sh"), &not_python(1), now);
        assert_eq!(candidates.due(now + MILLISECOND, executes("sh")), []);
        assert_eq!(candidates.due(now + MILLISECOND, executes("python3")), [relative(1)]);
    }

    #[test]
    fn a_python_that_starts_is_looked_at_until_it_runs() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        let starting = Error::NotRunning { pid: 1, why: String::new() };
        candidates.add(relative(1), now, Age::Old);
        candidates.due(now, executes("python3"));
        assert_eq!(candidates.refused(answer(1, "python3"), &starting, now), None);
        assert!(candidates.may_be_python());
        assert_eq!(candidates.next(now), Some(SHORTEST));
        assert_eq!(candidates.due(now + SHORTEST, executes("python3")), [relative(1)]);
        assert_eq!(candidates.next(now), None, "it has been asked");
    }

    #[test]
    fn one_that_cannot_be_read_is_told_once() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        let refused = Error::Unsupported { pid: 1, version: "2.7.18".into() };
        candidates.add(relative(1), now, Age::Old);
        candidates.due(now, executes("python2"));
        let lost = candidates.refused(answer(1, "python2"), &refused, now).unwrap();
        assert!(lost.pid == 1 && lost.why.contains("2.7.18"), "{lost:?}");
        assert_eq!(candidates.refused(answer(1, "python2"), &refused, now), None);
    }

    #[test]
    fn what_was_told_of_a_python_that_took_long_to_start_is_taken_back() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        let starting = Error::NotRunning { pid: 1, why: String::new() };
        candidates.add(relative(1), now, Age::Old);
        candidates.due(now, executes("uwsgi"));
        assert_eq!(candidates.refused(answer(1, "uwsgi"), &starting, now), None);
        let told = candidates.refused(answer(1, "uwsgi"), &starting, now + STARTING);
        assert!(told.is_some());
        assert_eq!(candidates.found(&relative(1)), told);
        candidates.add(relative(1), now, Age::Old);
        assert_eq!(candidates.found(&relative(1)), None);
    }

    #[test]
    fn one_that_ends_before_anything_is_known_is_missed() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        [1, 2, 3].into_iter().for_each(|pid| candidates.add(relative(pid), now, Age::Old));
        candidates.due(now, executes("sh"));
        candidates.refused(answer(2, "sh"), &not_python(2), now);
        candidates.refused(answer(3, "sh"), &Error::Ended { pid: 3 }, now);
        [1, 2, 3].into_iter().for_each(|pid| candidates.remove(&relative(pid)));
        assert_eq!(candidates.missed, 2);
    }

    #[test]
    fn an_answer_about_another_process_of_the_same_id_counts_for_nothing() {
        let (mut candidates, now) = (Candidates::default(), Instant::now());
        candidates.add(Relative { started: 8, ..relative(1) }, now, Age::Old);
        candidates.refused(answer(1, "sh"), &not_python(1), now);
        candidates.remove(&relative(1));
        assert!(candidates.may_be_python());
    }
}
