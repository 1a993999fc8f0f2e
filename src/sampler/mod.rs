//! The sampler: one thread that owns the clock, reads moments, and tells what it saw as events.
//!
//! It never waits for whoever receives the events: what the channel holds is bounded, and what does not fit is counted as
//! dropped. Definitions (names, frames, stacks) are never dropped; they wait until there is room, and samples that
//! would come before them are dropped instead.

mod census;
mod clock;
mod family;
mod foreign;
mod gate;
mod held;
mod heralds;
mod intern;
mod moment;
mod names;
mod os_threads;
mod outlet;
mod pace;
mod pausing;
mod snapshot;

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::{Error, Result};
use crate::python::{Interpreter, locate};
use crate::sample::{Event, Lost, Process, Processes, Remark, Stops, Tally};
use crate::target::{Binary, Facts, Target, machine};

use clock::{Clock, LeftOut, Missed, Tick};
use foreign::{BECOMING, Foreign};
use gate::{Passage, Within};
use intern::Interner;
use moment::{Failure, Reader};
use pace::{Governor, Pace};
use pausing::{Budget, Pausing};

pub use crate::sample::Wanted;
pub use family::{command, family};
pub use gate::Gate;
pub use snapshot::snapshot;

/// Samples a second beyond which several are told at once, where that spares work.
const HIGH_RATE: f64 = 10_000.0;
/// How often it is asked whether the target is still the process that it was, and runs the same program. No id is given out again
/// sooner than this, unless somebody sees to it; a program that is executed is mostly noticed by where it is, unless it is the same
/// one and addresses are not randomised.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);
/// Likewise, where that takes but a system call: no program runs any Python so soon after it was executed.
const STARTS_WITHIN: Duration = Duration::from_millis(1);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How often a runtime that was lost is looked for.
const LOCATE_EVERY: Duration = Duration::from_millis(20);

/// Samples that are left out for processor time are told at once where they are more than one in so many, after so long.
const FEW: u64 = 20;
const PROMPT: Duration = Duration::from_millis(500);

/// Whether threads are stopped while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The one that holds the GIL is, for some tens of microseconds, if it runs; in a free-threaded build each that runs.
    /// What is read is one moment.
    Holder,
    /// None ever is. What is read may be a mixture of moments.
    Never,
}

impl Pause {
    /// For so many moments a second.
    fn pausing(self, target: &Target, rate: f64) -> Pausing {
        match self {
            Pause::Holder if target.can_be_paused() => Pausing::of(target.pid(), rate),
            Pause::Holder | Pause::Never => Pausing::never(),
        }
    }
}

/// How much processor time may be used, as a share of one processor, above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxCpu {
    /// As much as it takes.
    Any,
    /// No more than this.
    AtMost(f64),
    /// So much in the course of some seconds, and only by what is done again and again: not by finding new processes. As long
    /// as processors are idle, as much as it takes.
    Around {
        /// The share.
        share: f64,
        /// How many processors there are.
        of: f64,
    },
}

impl MaxCpu {
    fn governor(self, rate: f64) -> Option<Governor> {
        /// So that what is used at most is seldom reached: who has to rest then is not sampled evenly.
        const OF_MOST: f64 = 0.95;
        // For how many seconds it is remembered what was used too much: to begin with, that is.
        const LONG: f64 = 60.0;
        const SHORT: f64 = 2.0;
        match self {
            MaxCpu::Any => None,
            MaxCpu::AtMost(share) => Some(Governor::new(rate, share * OF_MOST, LONG)),
            MaxCpu::Around { share, of } => Some(Governor::new(rate, share, SHORT).where_short(of)),
        }
    }

    /// The same for one thread, which cannot use more than a processor.
    fn of_one_thread(self) -> MaxCpu {
        match self {
            MaxCpu::AtMost(1.0..) => MaxCpu::Any,
            max_cpu => max_cpu,
        }
    }

    fn budget(self) -> Option<Budget> {
        match self.of_one_thread() {
            MaxCpu::AtMost(share) => Some(Budget::new(share)),
            MaxCpu::Around { .. } | MaxCpu::Any => None,
        }
    }
}

/// How to record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Samples a second.
    pub rate: f64,
    /// How long; `None` until it is stopped or the target ends.
    pub duration: Option<Duration>,
    /// Which threads.
    pub wanted: Wanted,
    /// Whether they are stopped while they are read.
    pub pause: Pause,
    /// The largest share of its time that the target may be stopped, above 0 and up to 1. To keep to it, samples are
    /// left out.
    pub max_pause: f64,
    /// How much processor time may be used for it. To keep to it, samples are left out.
    pub max_cpu: MaxCpu,
    /// Whether it is told who held the GILs.
    pub gils: bool,
}

impl Default for Settings {
    /// 100 samples a second until it is stopped, of running threads, stopping the target for 5 % of its time at most.
    fn default() -> Settings {
        let (wanted, pause) = (Wanted::Running, Pause::Holder);
        Settings { rate: 100.0, duration: None, wanted, pause, max_pause: 0.05, max_cpu: MaxCpu::Any, gils: false }
    }
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    Duration,
    /// It was stopped.
    Stopped,
    /// The target ended.
    TargetExited,
    /// The target executed a program that is not Python.
    TargetReplaced,
    /// The target may not be read any more: it executed a program of more privilege, or changed its user.
    TargetForbidden,
}

/// The account of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was asked, taken and lost.
    pub tally: Tally,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it ended.
    pub end: End,
    /// Of which processes it is.
    pub processes: Processes,
}

/// A recording under way.
pub struct Recording {
    events: Receiver<Event>,
    ended: Receiver<()>,
    stop: Sender<()>,
    gate: Gate,
    thread: JoinHandle<Leg>,
}

/// What a thread of the sampler ends with: the recording, or the thread that goes on in its place.
enum Leg {
    Last(Box<Last>),
    Next(JoinHandle<Leg>),
}

/// What a recording ends with.
struct Last {
    outcome: Outcome,
    stops: Stops,
}

/// Stops a recording when it is used or dropped together with the recording's own.
#[derive(Clone, Debug)]
pub struct Stopper(Sender<()>);

impl Stopper {
    /// Ends the recording after the sample it is at.
    pub fn stop(&self) {
        // The channel holds one message; if it is full, somebody has stopped the recording already.
        let _ = self.0.try_send(());
    }
}

impl Recording {
    /// What is seen, as it is seen. The channel closes when the recording ends.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Closes when the recording has ended: for those who do not wait on the events, and so spare the sampler to wake
    /// them for each.
    pub fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Something to stop the recording with, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Something to hold the recording back with, from any thread.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Waits for the end and returns the account. Events not yet received are lost.
    pub fn finish(self) -> Outcome {
        self.last().outcome
    }

    fn last(self) -> Last {
        drop(self.events);
        let mut thread = self.thread;
        loop {
            match thread.join() {
                Ok(Leg::Last(last)) => return *last,
                Ok(Leg::Next(next)) => thread = next,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}

/// Starts to record a target on a thread of its own.
pub fn start(target: Target, interpreter: Interpreter, settings: Settings) -> Result<Recording> {
    let (sender, events) = unbounded();
    let (stop, stopped) = bounded(1);
    let (end, ended) = bounded(0);
    let (gate, passage) = Gate::new();
    let mut sampler = Sampler::new(target, &interpreter, settings, sender, stopped, end, passage);
    sampler.governor = settings.max_cpu.of_one_thread().governor(settings.rate);
    let pace = sampler.governor.as_ref().map_or_else(Pace::full, Governor::pace);
    sampler.keep_pace(pace);
    sampler.clock.start();
    let thread = sampler.spawn()?;
    Ok(Recording { events, ended, stop, gate, thread })
}

struct Sampler {
    target: Target,
    binaries: Vec<Binary>,
    reader: Reader,
    settings: Settings,
    interner: Interner,
    clock: Clock,
    tally: Tally,
    told: Instant,
    looked: Instant,
    /// When the target was last known to be the process that it was.
    confirmed: Instant,
    /// Whether it has executed a program that has not been found yet.
    is_replaced: bool,
    /// What the target is, if it is a program that is not Python.
    foreign: Option<Foreign>,
    /// Since when it may not be read any more, and why.
    forbidden: Option<(Instant, Lost)>,
    reads_before: u64,
    cpu_before: Duration,
    pausing: Pausing,
    stops: Stops,
    budget: Budget,
    /// For processor time.
    thrift: Option<Budget>,
    pace: Pace,
    /// Who says the pace, where nobody else does.
    governor: Option<Governor>,
    /// What the clock rests for, if it does.
    resting: Remark,
    /// What has been remarked of that.
    is_stretched: bool,
    is_spared: bool,
    /// What was left out, for a rest or by the pace, and no moment stands for yet.
    left_out: LeftOut,
    passage: Passage,
    /// Lets nobody stop us until the thread of ours before this one has ended, where that ends so that one of the target goes on.
    within: Option<Within>,
    /// Closes a channel when the recording ends.
    _end: Sender<()>,
}

impl Sampler {
    fn new(
        target: Target,
        interpreter: &Interpreter,
        settings: Settings,
        sender: Sender<Event>,
        stopped: Receiver<()>,
        end: Sender<()>,
        passage: Passage,
    ) -> Sampler {
        Sampler {
            binaries: target.binaries(),
            reader: Reader::new(interpreter),
            interner: Interner::new(sender, interpreter.clone(), process(&target, interpreter), settings.wanted),
            clock: Clock::new(settings.rate, settings.duration, stopped),
            tally: Tally::default(),
            told: Instant::now(),
            looked: Instant::now(),
            confirmed: Instant::now(),
            is_replaced: false,
            foreign: None,
            forbidden: None,
            reads_before: target.reads(),
            cpu_before: clock::cpu_time(),
            pausing: settings.pause.pausing(&target, settings.rate),
            stops: Stops::default(),
            budget: Budget::new(settings.max_pause),
            thrift: settings.max_cpu.budget(),
            pace: Pace::full(),
            governor: None,
            resting: Remark::Stretched,
            is_stretched: false,
            is_spared: false,
            left_out: LeftOut::default(),
            passage,
            within: None,
            _end: end,
            target,
            settings,
        }
    }

    /// Leaves out samples as a pace says.
    fn keep_pace(&mut self, pace: Pace) {
        self.clock.keep_pace(pace.clone());
        self.pace = pace;
    }

    fn spawn(self) -> Result<JoinHandle<Leg>> {
        std::thread::Builder::new().name("sampler".into()).spawn(move || self.run()).map_err(Error::no_thread)
    }

    fn run(mut self) -> Leg {
        clock::ask_for_promptness();
        self.target.expect_many_looks();
        self.stops.add(self.pausing.arrive());
        self.within = None;
        let end = loop {
            match self.clock.next(|due| self.pausing.foresee(due)) {
                Tick::Stopped(missed) => {
                    self.miss(missed);
                    break End::Stopped;
                }
                Tick::Over(missed) => {
                    self.miss(missed);
                    break End::Duration;
                }
                Tick::Due(missed) => {
                    self.miss(missed);
                    let within = self.passage.try_pass().unwrap_or_else(|| {
                        // Nobody knows for how long.
                        self.tell();
                        self.passage.pass()
                    });
                    let end = self.sample();
                    self.rest();
                    if self.pausing.must_leave() {
                        self.within = Some(within);
                    }
                    if self.tally.taken == 0 {
                        self.clock.begin_again();
                    }
                    if let Some(end) = end {
                        break end;
                    }
                }
            }
            if self.told.elapsed() >= PROGRESS_EVERY {
                self.told = Instant::now();
                self.add_up();
                self.interner.progress(self.clock.elapsed(), &self.tally);
            }
            if self.pausing.must_leave() {
                self.tell();
                self.add_up();
                let so_far = self.last(self.clock.elapsed(), End::Stopped);
                // Either way the thread of the target goes on as this one ends.
                return self.spawn().map_or(Leg::Last(so_far), Leg::Next);
            }
        };
        self.tell();
        let elapsed = self.clock.elapsed();
        self.add_up();
        self.interner.finish(elapsed, &self.tally);
        self.pausing.leave();
        Leg::Last(self.last(elapsed, end))
    }

    fn last(&self, elapsed: Duration, end: End) -> Box<Last> {
        let mut processes = Processes { sampled: 1, time: elapsed, ..Processes::default() };
        self.forbidden.iter().for_each(|(_, lost)| processes.lose(lost.clone()));
        let outcome = Outcome { tally: self.tally, elapsed, end, processes };
        Box::new(Last { outcome, stops: self.stops.clone() })
    }

    /// Leaves out samples where the target was stopped for more of its time than it may be, or more processor time was
    /// used than may be.
    fn rest(&mut self) {
        self.stops.add(self.pausing.settle(|| !self.clock.is_over()));
        let now = self.clock.elapsed();
        let for_the_target = self.budget.spend(now, self.stops.total() + self.pausing.queued());
        let used = |before| clock::cpu_time().saturating_sub(before);
        let before = self.cpu_before;
        let for_others = self.thrift.as_mut().map_or(now, |thrift| thrift.spend(now, used(before)));
        self.resting = if for_others > for_the_target { Remark::Spared } else { Remark::Stretched };
        let rest = for_the_target.max(for_others);
        self.clock.rest_until(rest);
        self.pace.note_taken();
        // Nothing comes at once.
        if rest > now || self.pace.stretch() > 1.0 {
            self.tell();
        }
        if let Some(governor) = &mut self.governor {
            governor.look(now, || used(before), machine::idle_time);
        }
    }

    /// Completes the account with what is counted elsewhere.
    fn add_up(&mut self) {
        self.tally.reads = self.target.reads() - self.reads_before;
        self.tally.stopped = self.stops.stopped();
        self.tally.own_cpu = clock::cpu_time().saturating_sub(self.cpu_before);
    }

    fn miss(&mut self, missed: Missed) {
        self.tally.asked += missed.late + missed.stretched + missed.spared;
        self.tally.late += missed.late;
        self.tally.spared += missed.spared;
        let (left_out, is_told) = match self.resting {
            Remark::Spared => (&mut self.tally.spared, &mut self.is_spared),
            _ => (&mut self.tally.stretched, &mut self.is_stretched),
        };
        *left_out += missed.stretched;
        self.left_out.miss(missed);
        if missed.stretched > 0 && !std::mem::replace(is_told, true) {
            self.interner.remark(self.resting);
        }
        // Few are not worth a word.
        let is_much = self.tally.spared * FEW > self.tally.asked && self.clock.elapsed() >= PROMPT;
        if is_much && !std::mem::replace(&mut self.is_spared, true) {
            self.interner.remark(Remark::Spared);
        }
    }

    /// Takes one sample. `Some` if there is nothing more to sample.
    fn sample(&mut self) -> Option<End> {
        self.tally.asked += 1;
        if self.pausing.try_again() {
            self.tell();
        }
        let mut taken = self.take();
        if let Err(failure) = taken {
            self.left_out.fail();
            self.tell();
            if let Some(end) = self.find_again(failure) {
                self.tally.asked -= 1;
                return Some(end);
            }
            // Where samples are seldom one is much.
            if self.reader.interpreters().is_empty() {
                taken = self.take();
            }
        }
        self.tally.failed += u64::from(taken.is_err());
        None
    }

    /// Reads all that a sample is made of, and tells it unless it may wait for more.
    fn take(&mut self) -> std::result::Result<(), Failure> {
        let at = self.clock.elapsed();
        let taken = self.reader.take(&self.target, self.settings.wanted, &mut self.pausing, &mut self.stops);
        if let Some(remark) = self.pausing.take_remark() {
            self.interner.remark(remark);
        }
        taken.and_then(|()| self.confirm())?;
        let weight = self.left_out.stand_for();
        self.tally.taken += 1;
        self.tally.stood_for += weight.slots();
        self.tally.torn += self.reader.cut_lists();
        if self.settings.gils {
            self.reader.hold_gils(at, weight);
        }
        self.reader.hold(at, weight, self.settings.rate > HIGH_RATE);
        if !self.may_hold_back() {
            self.tell();
        }
        Ok(())
    }

    /// Fails if what was read just now is of another process, which has the target's id, or of another program. Where samples are
    /// seldom, each is asked about.
    fn confirm(&mut self) -> std::result::Result<(), Failure> {
        let every = if self.target.tells_at_once_if_replaced() { STARTS_WITHIN } else { CONFIRM_EVERY };
        if !self.is_replaced && self.confirmed.elapsed() >= every {
            self.confirmed = Instant::now();
            self.is_replaced = self.target.is_replaced();
        }
        if self.is_replaced { Err(Failure::Lost) } else { Ok(()) }
    }

    /// Tells what has been read, once it is proved.
    fn tell(&mut self) {
        if self.reader.held().is_empty() {
            return;
        }
        // What cannot be proved any more is told as unreadable.
        let _ = self.reader.prove_held(self.target.memory());
        self.interner.tell(&mut self.reader, self.target.memory(), &mut self.tally);
    }

    /// Whether what has been read can wait for more, if more comes at once.
    fn may_hold_back(&self) -> bool {
        const MOST: usize = 16;
        // What runs on while it is read has to be proved soon. What is trusted seldom changes, and to stop somebody takes longer.
        let longest = Duration::from_micros(if self.pausing.is_never() { 100 } else { 500 });
        let held = self.reader.held();
        let since = held.since().unwrap_or_default();
        self.reader.can_wait()
            && self.settings.rate > HIGH_RATE
            && held.len() < MOST
            && self.clock.elapsed().saturating_sub(since) < longest
    }

    /// After a moment that could not be read: has the target ended, or executed another program?
    fn find_again(&mut self, failure: Failure) -> Option<End> {
        if !self.target.is_alive() {
            return Some(End::TargetExited);
        }
        if failure == Failure::Lost && self.looked.elapsed() < LOCATE_EVERY {
            return None;
        }
        self.looked = Instant::now();
        self.is_replaced |= self.target.is_replaced();
        match self.target.refresh() {
            Ok(is_replaced) => self.is_replaced |= is_replaced,
            Err(_) if !self.target.is_alive() => return Some(End::TargetExited),
            Err(error @ Error::NotPermitted { .. }) => {
                let since = self.forbidden.as_ref().map_or(self.looked, |(since, _)| *since);
                self.forbidden = Some((since, Lost { pid: self.target.pid(), why: error.to_string() }));
                return (since.elapsed() >= BECOMING).then_some(End::TargetForbidden);
            }
            Err(_) => return None,
        }
        let binaries = self.target.binaries();
        if binaries.is_empty() || binaries.first() == self.binaries.first() && !self.is_replaced {
            return None;
        }
        let now = self.looked;
        if self.foreign.as_ref().is_some_and(|foreign| !foreign.is_due(&binaries, now)) {
            return None;
        }
        match locate(&self.target) {
            Ok(interpreter) => {
                (self.foreign, self.forbidden) = (None, None);
                (self.binaries, self.is_replaced) = (binaries, false);
                self.reader = self.reader.again(&interpreter);
                let process = process(&self.target, &interpreter);
                self.interner.change_interpreter(interpreter, process);
                None
            }
            Err(Error::NotPython { .. }) => {
                match &mut self.foreign {
                    Some(foreign) => foreign.look(binaries, now),
                    foreign => *foreign = Some(Foreign::new(binaries, now)),
                }
                self.foreign.as_ref().is_some_and(|foreign| foreign.is_over(now)).then_some(End::TargetReplaced)
            }
            Err(Error::Unsupported { .. }) => Some(End::TargetReplaced),
            Err(_) => None,
        }
    }
}

/// What there is to tell of the target itself.
fn process(target: &Target, interpreter: &Interpreter) -> Process {
    let Facts { pid, own_pid, ref command, .. } = *target.facts();
    Process { pid, own_pid, parent: None, command: command.clone(), python: interpreter.version_text() }
}
