//! A recording under way: its events are added up until it is over, or until a signal or the end of a command says so.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, stdout};
use std::time::{Duration, Instant};

use crossbeam_channel::{TryRecvError, select};
use pysample::aggregate::{Filter, LeftOut, Rules};
use pysample::sample::{Event, Processes, Remark, Tally};
use pysample::sampler::{End, MaxCpu, Outcome, Recording};
use pysample::target::cgroup::Throttling;
use pysample::target::command::Command;
use pysample::view::progress::{Progress, Terminal};
use pysample::view::summary::Ending;

use super::notices::{Notice, Notices};
use super::tell;
use super::throttle::Throttle;
use crate::plan::Reach;

/// After so many events in a row, look for signals.
const EVENTS_IN_A_ROW: usize = 1024;
/// How long events are left to gather when they are few, and when they are so many that they would fill the channel.
/// To wait for each would have the sampler wake us each time, which costs it more than the sample.
const LONG_NAP: Duration = Duration::from_millis(100);
const SHORT_NAP: Duration = Duration::from_millis(4);
/// Events after one nap from which on they are many.
const MANY: usize = 512;
/// How often it is looked whether the process is throttled: its control group may be gone with it.
const THROTTLE_EVERY: Duration = Duration::from_secs(1);

/// What the events of a recording are added up to.
pub trait Sum {
    /// Takes the next event. After an error nothing more is recorded.
    fn take(&mut self, event: Event) -> io::Result<()>;

    /// Is called a few times a second at least.
    fn rest(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a recording is followed.
pub struct Following<'a> {
    /// For how long it is to be.
    pub duration: Option<Duration>,
    /// How much processor time it may take.
    pub allowed: MaxCpu,
    /// Of which processes it is.
    pub reach: Reach,
    /// Which samples are added up.
    pub rules: Rules,
    /// What happens beside it.
    pub notices: &'a Notices,
    /// What signals are handed on to.
    pub command: Option<&'a Command>,
    /// How often the process is throttled.
    pub throttle: Throttle,
}

/// Adds a recording up until it is over.
pub fn follow<S: Sum>(recording: Recording, sum: S, how: Following) -> Recorded<S> {
    let Following { duration, allowed, reach, rules, notices, command, throttle } = how;
    let mut follower = Follower {
        recording,
        notices,
        command,
        allowed,
        reach,
        throttle,
        looked: Instant::now(),
        progress: Progress::new(duration, terminal(command)),
        filter: Filter::new(rules),
        sum,
        search_path: BTreeSet::new(),
        exited: false,
        failure: None,
    };
    if reach == Reach::Family {
        follower.progress.searching();
    }
    while follower.step() == More::MayCome {}
    follower.finish()
}

struct Follower<'a, S> {
    recording: Recording,
    notices: &'a Notices,
    command: Option<&'a Command>,
    allowed: MaxCpu,
    reach: Reach,
    throttle: Throttle,
    /// When that was last looked for.
    looked: Instant,
    progress: Progress,
    filter: Filter,
    sum: S,
    /// Every entry that `sys.path` was seen to have: it is empty in a Python that has just started, and programs add to it.
    search_path: BTreeSet<String>,
    /// The command has ended.
    exited: bool,
    /// Why nothing more could be taken.
    failure: Option<io::Error>,
}

/// Whether more events may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    MayCome,
    Never,
}

impl<S: Sum> Follower<'_, S> {
    /// Takes what has come, then lets more gather.
    fn step(&mut self) -> More {
        let nap = match self.take_waiting() {
            (More::Never, _) => return More::Never,
            (More::MayCome, EVENTS_IN_A_ROW..) => Duration::ZERO,
            (More::MayCome, MANY..) => SHORT_NAP,
            (More::MayCome, _) => LONG_NAP,
        };
        select! {
            recv(self.notices.receiver()) -> notice => self.hear(notice.expect("the notices hold a sender themselves")),
            recv(self.recording.ended()) -> _ => {}
            default(nap) => {}
        }
        if self.looked.elapsed() >= THROTTLE_EVERY {
            self.throttle.look();
            self.looked = Instant::now();
        }
        let rested = if self.failure.is_none() { self.sum.rest() } else { Ok(()) };
        self.note(rested);
        More::MayCome
    }

    /// Takes events that have come; how many.
    fn take_waiting(&mut self) -> (More, usize) {
        for taken in 0..EVENTS_IN_A_ROW {
            match self.recording.events().try_recv() {
                Ok(event) => self.take(event),
                Err(TryRecvError::Empty) => return (More::MayCome, taken),
                Err(TryRecvError::Disconnected) => return (More::Never, taken),
            }
        }
        (More::MayCome, EVENTS_IN_A_ROW)
    }

    fn take(&mut self, event: Event) {
        match &event {
            Event::SearchPath(entries) => self.search_path.extend(entries.iter().cloned()),
            Event::Progress(elapsed, tally) if tally.asked > 0 => self.progress.show(*elapsed, tally),
            Event::Remark(remark) => {
                self.progress.above(|| tell(&format!("pysample: {}", what(*remark, self.allowed))))
            }
            _ => {}
        }
        if self.failure.is_none() && self.filter.pass(&event) {
            let taken = self.sum.take(event);
            self.note(taken);
        }
    }

    /// What could not be kept of a recording ends it.
    fn note(&mut self, taken: io::Result<()>) {
        if let Err(error) = taken {
            self.failure = Some(error);
            self.recording.stopper().stop();
        }
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Signal(signal) => {
                if let Some(command) = self.command {
                    signal.forward(command);
                }
                if signal.ends() {
                    self.recording.stopper().stop();
                }
            }
            // What it has started may live on.
            Notice::CommandEnded if self.reach == Reach::Family => {}
            Notice::CommandEnded => {
                self.exited = true;
                self.recording.stopper().stop();
            }
        }
    }

    fn finish(mut self) -> Recorded<S> {
        drop(self.progress);
        self.throttle.look();
        let outcome = self.recording.finish();
        let end = ended(self.reach, self.exited, &outcome);
        let (sum, search_path, failure, left_out) = (self.sum, self.search_path, self.failure, self.filter.left_out);
        let (tally, elapsed, processes) = (outcome.tally, outcome.elapsed, outcome.processes);
        let throttled = self.throttle.altogether();
        Recorded { sum, search_path, tally, elapsed, end, failure, processes, left_out, throttled }
    }
}

/// A remark, in words.
pub fn what(remark: Remark, allowed: MaxCpu) -> &'static str {
    match remark {
        Remark::Spared if matches!(allowed, MaxCpu::Around { .. }) => {
            "taking fewer samples than usual, of all processes alike, so as to use about 1 % of the processors, as none is \
             known to be idle: -r RATE or --max-cpu PERCENT says how much it is to be"
        }
        Remark::CannotPause => {
            "the kernel does not let us stop threads (another tracer has them?): going on as with --never-pause until it does, so \
             stacks may be mixtures of moments"
        }
        Remark::Stretched => {
            "taking fewer samples than asked, so as not to stop the program for more of its time than --max-pause allows"
        }
        Remark::Spared => {
            "taking fewer samples than asked, so as not to use more processor time than --max-cpu, or the control group, allows"
        }
    }
}

/// A recording that is over.
pub struct Recorded<S> {
    /// What was seen.
    pub sum: S,
    /// Every entry that `sys.path` was seen to have.
    pub search_path: BTreeSet<String>,
    /// What was asked, taken and lost.
    pub tally: Tally,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it ended.
    pub end: Ending,
    /// Why not all of it could be kept, if that is so.
    pub failure: Option<io::Error>,
    /// Of which processes it is.
    pub processes: Processes,
    /// What was not added up because it was not wanted.
    pub left_out: LeftOut,
    /// By which CPU limit the process was throttled, as far as that is known.
    pub throttled: Option<Throttling>,
}

impl<S> Recorded<S> {
    /// The recording of a command that was never seen running Python.
    pub fn nothing(sum: S) -> Recorded<S> {
        Recorded {
            sum,
            search_path: BTreeSet::new(),
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            end: Ending::NeverPython,
            failure: None,
            processes: Processes::default(),
            left_out: LeftOut::default(),
            throttled: None,
        }
    }
}

/// Why a recording ended. `exited`: the command has ended.
pub fn ended(reach: Reach, exited: bool, outcome: &Outcome) -> Ending {
    match (reach, outcome.end) {
        (Reach::Alone, _) if exited => Ending::TargetExited,
        (Reach::Alone, end) => ending(end),
        (Reach::Family, End::Stopped) if outcome.processes.sampled == 0 => Ending::Stopped,
        (Reach::Family, _) if outcome.processes.sampled == 0 => Ending::NeverPython,
        (Reach::Family, End::TargetExited) => Ending::FamilyEnded,
        (Reach::Family, end) => ending(end),
    }
}

fn ending(end: End) -> Ending {
    match end {
        End::Duration => Ending::Duration,
        End::Stopped => Ending::Stopped,
        End::TargetExited => Ending::TargetExited,
        End::TargetReplaced => Ending::TargetReplaced,
        End::TargetForbidden => Ending::TargetForbidden,
    }
}

/// Whether a command writes to the terminal that the progress would be drawn on.
pub fn terminal(command: Option<&Command>) -> Terminal {
    match command.is_some() && stdout().is_terminal() {
        true => Terminal::Shared,
        false => Terminal::Ours,
    }
}
