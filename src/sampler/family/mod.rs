//! One recording of a process and its descendants, those born later included.
//!
//! Each Python process has a sampler of its own, as if it were recorded alone: its own clock within the common time, its
//! own budget of stops, its own channel. Only their pace is common: how many samples are left out to save processor time.
//! One thread, the chief, watches for births, has those who are born looked at, and passes on what all samplers tell as one
//! stream. A process that ends or cannot be read costs that process only.

mod candidates;
mod looker;
mod merge;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};

use super::clock;
use super::gate::{Gate, Passage};
use super::outlet::Outlet;
use super::pace::{Governor, Pace};
use super::{End, Last, Leg, MaxCpu, Outcome, PROGRESS_EVERY, Recording, Sampler, Settings};
use crate::error::{Error, Result};
use crate::python::Interpreter;
use crate::sample::{Event, Lost, Process, ProcessId, Processes, Stops, Tally};
use crate::target::Target;
use crate::target::family::{Family, Relative, program};
use crate::target::machine;
use crate::target::orphans::Adoption;

use candidates::{Age, Candidates};
use looker::Looker;
use merge::{Line, Merger, Out};

/// Events of one process that are much to find, and that are taken at once at most.
const MUCH: usize = 1 << 9;
const AT_ONCE: usize = 1 << 12;
/// How often births are looked for. One that lives 80 ms is seen, looked at and sampled in that time.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Where a turn of the chief costs more than this share of the time, one in so many, or of the processor time that there is for
/// all, turns are taken more seldom, but not much.
const SHARE: u32 = 20;
const SHARE_OF_ALL: f64 = 0.25;
/// For so long after a birth the second does not matter: more may follow, and not live long.
const BIRTHS_FOLLOW: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_millis(25);
/// The nap where so much is told that channels would fill.
const SHORT_NAP: Duration = Duration::from_millis(1);
/// For how long what was told is kept, for others to tell what came before it.
const KEEP: Duration = Duration::from_millis(50);
/// So many processes are recorded at once. Each takes a thread.
const MOST: usize = 1000;

/// Starts to record a process and its descendants. It need not run Python itself, nor need any of them yet.
///
/// The recording ends when the process has ended and no descendant that runs Python lives any more.
///
/// # Errors
///
/// There is no such process, or a thread cannot be started.
pub fn family(root: u32, settings: Settings) -> Result<Recording> {
    record(root, Family::of(root)?, settings)
}

/// As [`family`], for a command that we started, whose orphans may become our children.
///
/// # Errors
///
/// It has ended and left nobody, or a thread cannot be started.
pub fn command(command: u32, adoption: Option<Adoption>, settings: Settings) -> Result<Recording> {
    let family = match adoption {
        Some(adoption) => Family::of_command(command, adoption)?,
        None => Family::of(command)?,
    };
    record(command, family, settings)
}

fn record(root: u32, family: Family, settings: Settings) -> Result<Recording> {
    let (sender, events) = unbounded();
    let (stop, stopped) = bounded(1);
    let (end, ended) = bounded(0);
    let (gate, passage) = Gate::new();
    let chief = Chief::new((root, family), settings, sender, stopped, end, (gate.clone(), passage))?;
    let thread = thread::Builder::new().name("chief".into()).spawn(move || chief.run()).map_err(Error::no_thread)?;
    Ok(Recording { events, ended, stop, gate, thread })
}

/// A process that is recorded.
struct Member {
    relative: Relative,
    line: Line,
    recording: Recording,
    joined: Duration,
}

struct Chief {
    settings: Settings,
    /// Says at which pace all of them are sampled.
    governor: Option<Governor>,
    root: u32,
    family: Family,
    candidates: Candidates,
    looker: Looker,
    members: Vec<Member>,
    /// What those that have ended have told and was not passed on yet.
    left: Vec<Line>,
    /// Every process that was recorded.
    ids: HashMap<Relative, ProcessId>,
    merger: Merger,
    outlet: Outlet,
    start: Instant,
    told: Instant,
    /// When somebody was born last.
    bore: Instant,
    cpu_before: Duration,
    /// The account of those that have ended, and what was lost on the way out.
    tally: Tally,
    stops: Stops,
    processes: Processes,
    stopped: Receiver<()>,
    /// Lets its samplers be held back, all at once.
    gate: Gate,
    passage: Passage,
    /// Closes a channel when the recording ends.
    _end: Sender<()>,
}

impl Chief {
    fn new(
        (root, mut family): (u32, Family),
        settings: Settings,
        sender: Sender<Event>,
        stopped: Receiver<()>,
        end: Sender<()>,
        (gate, passage): (Gate, Passage),
    ) -> Result<Chief> {
        let cpu_before = clock::cpu_time();
        let mut candidates = Candidates::default();
        let start = Instant::now();
        family.look();
        family.living().for_each(|relative| candidates.add(*relative, start, Age::Old));
        Ok(Chief {
            settings,
            governor: settings.max_cpu.governor(settings.rate),
            root,
            family,
            candidates,
            looker: Looker::new()?,
            members: Vec::new(),
            left: Vec::new(),
            ids: HashMap::new(),
            merger: Merger::default(),
            outlet: Outlet::new(sender, []),
            start,
            told: start,
            bore: start,
            cpu_before,
            tally: Tally::default(),
            stops: Stops::default(),
            processes: Processes::default(),
            stopped,
            gate,
            passage,
            _end: end,
        })
    }

    fn run(mut self) -> Leg {
        clock::ask_for_promptness();
        self.looker.wake_me();
        let mut used = clock::thread_cpu_time();
        let end = loop {
            self.look_for_births();
            self.ask();
            self.take_in();
            let is_much = self.listen();
            self.pass_on(self.start.elapsed().saturating_sub(KEEP));
            self.progress();
            self.govern();
            if let Some(end) = self.is_over() {
                break end;
            }
            let now = clock::thread_cpu_time();
            let cost = now - std::mem::replace(&mut used, now);
            let nap = if is_much { SHORT_NAP } else { cost.saturating_mul(self.share()).clamp(LOOK_EVERY, LONGEST) };
            let nap = self.candidates.next(Instant::now()).map_or(nap, |due| nap.min(due));
            let left = self.settings.duration.map_or(nap, |end| end.saturating_sub(self.start.elapsed()));
            thread::park_timeout(nap.min(left));
        };
        self.finish(end)
    }

    /// A turn takes at most one in so many of the time.
    fn share(&self) -> u32 {
        match self.settings.max_cpu {
            MaxCpu::Around { share: all, .. } | MaxCpu::AtMost(all) if self.bore.elapsed() > BIRTHS_FOLLOW => {
                SHARE.max((1.0 / (all * SHARE_OF_ALL)) as u32)
            }
            MaxCpu::Around { .. } | MaxCpu::AtMost(_) | MaxCpu::Any => SHARE,
        }
    }

    fn look_for_births(&mut self) {
        let (found, now) = (self.family.look(), Instant::now());
        if !found.born.is_empty() {
            self.bore = now;
        }
        found.gone.iter().for_each(|relative| self.candidates.remove(relative));
        found.born.iter().for_each(|relative| self.candidates.add(*relative, now, Age::New));
        // Whoever is sampled seldom would find out late.
        let has_ended = |member: &&Member| found.gone.contains(&member.relative);
        self.members.iter().filter(has_ended).for_each(|member| member.recording.stopper().stop());
        let Chief { family, members, .. } = self;
        family.reap_orphans(|pid| members.iter().any(|member| member.relative.pid == pid));
    }

    /// Has those looked at whose time has come.
    fn ask(&mut self) {
        self.candidates.due(Instant::now(), program).into_iter().for_each(|relative| self.looker.ask(relative));
    }

    /// Records those that turned out to be Python.
    fn take_in(&mut self) {
        let answers: Vec<_> = self.looker.answers().collect();
        for (answer, found) in answers {
            let relative = answer.relative;
            match found {
                // It may be another process by now; if it is the same, it is the one that was found.
                Ok(found) if self.family.get(relative.pid) == Some(&relative) => {
                    let told = self.candidates.found(&relative);
                    told.iter().for_each(|lost| self.processes.find(lost));
                    let (target, interpreter) = *found;
                    if let Err(error) = self.join(relative, target, &interpreter) {
                        self.processes.lose(Lost { pid: relative.pid, why: error.to_string() });
                    }
                }
                Ok(_) => self.candidates.remove(&relative),
                Err(error) => {
                    let lost = self.candidates.refused(answer, &error, Instant::now());
                    lost.into_iter().for_each(|lost| self.processes.lose(lost));
                }
            }
        }
    }

    fn join(&mut self, relative: Relative, target: Target, interpreter: &Interpreter) -> Result<()> {
        if self.members.len() >= MOST {
            let what = format!("more than {MOST} processes at once");
            return Err(Error::Io { what, source: std::io::ErrorKind::QuotaExceeded.into() });
        }
        if let Some(warning) = interpreter.warning().filter(|warning| !self.processes.warnings.contains(warning)) {
            self.processes.warnings.push(warning);
        }
        let (sender, events) = unbounded();
        let (stop, stopped) = bounded(1);
        let (end, ended) = bounded(0);
        let mut sampler = Sampler::new(target, interpreter, self.settings, sender, stopped, end, self.passage.clone());
        // Whoever rests for what others use is not sampled as they are: only the pace leaves out samples.
        sampler.thrift = None;
        sampler.keep_pace(self.governor.as_ref().map_or_else(Pace::full, Governor::pace));
        sampler.clock.join(self.start);
        let joined = self.start.elapsed();
        let process =
            Process { parent: self.recorded_ancestor(relative), ..super::process(&sampler.target, interpreter) };
        let thread = sampler.spawn()?;
        // Ids are given out in the order in which processes join. One that has been here before keeps its own.
        let next = ProcessId(self.ids.len() as u32);
        let id = *self.ids.entry(relative).or_insert(next);
        self.outlet.define(Event::Process(id, process.clone()));
        let line = Line::new(id, process);
        self.processes.sampled = self.ids.len();
        let recording = Recording { events, ended, stop, gate: self.gate.clone(), thread };
        self.members.push(Member { relative, line, recording, joined });
        Ok(())
    }

    /// The nearest ancestor that is recorded, or was.
    fn recorded_ancestor(&self, of: Relative) -> Option<ProcessId> {
        let mut relative = of;
        // As many steps as there can be without a circle, which only a reused id could make.
        for _ in 0..self.family.living().count() {
            relative = *self.family.get(relative.parent?)?;
            if let Some(id) = self.ids.get(&relative) {
                return Some(*id);
            }
        }
        None
    }

    /// Takes what the samplers have told. True if it was so much that channels would fill.
    fn listen(&mut self) -> bool {
        let mut is_much = false;
        let mut ended = Vec::new();
        for (index, Member { line, recording, .. }) in self.members.iter_mut().enumerate() {
            is_much |= recording.events.len() > MUCH;
            for _ in 0..AT_ONCE {
                match recording.events.try_recv() {
                    Ok(event) => line.push(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        ended.push(index);
                        break;
                    }
                }
            }
        }
        ended.into_iter().rev().for_each(|index| self.leave(index));
        is_much
    }

    /// Passes on what is not later than `until`, and all that has no time.
    fn pass_on(&mut self, until: Duration) {
        let Chief { merger, members, left, outlet, tally, .. } = self;
        let lines = left.iter_mut().chain(members.iter_mut().map(|member| &mut member.line));
        merger.pass_on(lines, until, |out| match out {
            Out::Definition(event) => outlet.define(event),
            Out::Sample(event) => outlet.send(event, tally),
        });
        left.retain(|line| !line.is_empty());
    }

    /// A member whose recording has ended.
    fn leave(&mut self, index: usize) {
        let Member { relative, line, recording, joined } = self.members.swap_remove(index);
        self.left.push(line);
        let Last { outcome, stops } = recording.last();
        self.tally.add(&outcome.tally);
        self.stops.merge(&stops);
        self.processes.time += outcome.elapsed.saturating_sub(joined);
        match outcome.end {
            End::TargetReplaced => self.candidates.add_again(relative, Instant::now(), None),
            End::TargetForbidden => {
                let lost = outcome.processes.lost.into_iter().next();
                lost.iter().for_each(|lost| self.processes.lose(lost.clone()));
                self.candidates.add_again(relative, Instant::now(), lost);
            }
            End::TargetExited | End::Duration | End::Stopped => {}
        }
    }

    fn progress(&mut self) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            let tally = self.sum();
            self.outlet.progress(self.start.elapsed(), &tally);
        }
    }

    /// Thinks over how many samples are taken. What it takes to find out about new processes is not to be saved by seeing
    /// less of those that are known.
    fn govern(&mut self) {
        let (before, looker, counts_all) = (self.cpu_before, &self.looker, self.settings.max_cpu);
        let used = || {
            let elsewhere = match counts_all {
                MaxCpu::Around { .. } => looker.cpu_time(),
                MaxCpu::AtMost(_) | MaxCpu::Any => Duration::ZERO,
            };
            clock::cpu_time().saturating_sub(before + elsewhere)
        };
        if let Some(governor) = &mut self.governor {
            governor.share_among(self.members.len());
            governor.look(self.start.elapsed(), used, machine::idle_time);
        }
    }

    /// The account of all until now.
    fn sum(&self) -> Tally {
        let mut sum = self.tally;
        sum.stopped = self.stops.stopped();
        self.members.iter().for_each(|member| sum.add(&member.line.tally));
        sum.own_cpu = clock::cpu_time().saturating_sub(self.cpu_before);
        sum
    }

    fn is_over(&self) -> Option<End> {
        if !self.stopped.is_empty() {
            return Some(End::Stopped);
        }
        if self.settings.duration.is_some_and(|end| self.start.elapsed() >= end) {
            return Some(End::Duration);
        }
        let is_empty = self.members.is_empty() && self.family.get(self.root).is_none();
        (is_empty && !self.candidates.may_be_python()).then_some(End::TargetExited)
    }

    fn finish(mut self, end: End) -> Leg {
        if end == End::Stopped {
            self.members.iter().for_each(|member| member.recording.stopper().stop());
        }
        while !self.members.is_empty() {
            self.listen();
            thread::park_timeout(SHORT_NAP);
        }
        self.pass_on(Duration::MAX);
        let elapsed = self.start.elapsed();
        let tally = self.sum();
        self.outlet.finish(elapsed, &tally);
        self.processes.missed = self.candidates.missed;
        let outcome = Outcome { tally, elapsed, end, processes: self.processes };
        Leg::Last(Box::new(Last { outcome, stops: self.stops }))
    }
}
