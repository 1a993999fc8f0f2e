//! A recording as it goes: the last seconds beside the totals, by thread and stack. What `top` shows is read from it.
//!
//! Memory is bounded however long it goes on and whatever the target does: windows are put together from slices of which
//! so many are kept, and of definitions and totals there are at most so many, too. What is beyond is counted as not kept.

mod counts;
mod keys;
mod moment;
mod slices;
mod snapshot;
mod subtree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

pub use counts::{Counts, Mode};
pub use keys::{Key, KeyId, Keys, Level, Shorten};
pub use moment::Moment;
pub use slices::{GilCounts, LONGEST, Moments, Span, Tallied};
pub use subtree::{Branch, Detail, Fold, Row, Subtree};

use super::{CallTree, LeftOut};
use crate::sample::{Event, Process, ProcessId, Remark, Sample, StackId, Tally, Thread, ThreadId};

/// Definitions of each kind that are kept.
const MOST_DEFINITIONS: usize = 1 << 20;
/// Threads that are kept.
const MOST_THREADS: usize = 4096;
/// Entries of the totals; then threads that have ended are put together.
const MOST_TOTALS: usize = 1 << 18;
/// Processes, and GILs, that are kept.
const MOST_PROCESSES: usize = 1024;
/// A process of which nothing was seen for so long has ended, if there are others.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// So soon if it would have been seen so often meanwhile.
const GONE_SOON: Duration = Duration::from_secs(1);
const GONE_PERIODS: u32 = 20;
/// Entries of `sys.path` that are kept.
const MOST_PATHS: usize = 1000;
/// Stands for threads that have ended, in the totals.
pub const ENDED: ThreadId = ThreadId(u32::MAX);
/// How often the account is kept.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);
/// The processor is looked at once a second, for a minute.
const USAGES: usize = 61;

/// A recording as it goes.
#[derive(Clone, Debug)]
pub struct Live {
    tree: CallTree,
    /// Stacks, and frames, that are kept.
    stacks: usize,
    frames: usize,
    keys: Keys,
    search_path: BTreeSet<String>,
    processes: BTreeMap<ProcessId, Process>,
    threads: FxHashMap<ThreadId, Watched>,
    moment: Moment,
    latest: BTreeMap<ProcessId, Moment>,
    slices: Slices,
    totals: Tallied,
    /// The newest moment, and where the totals begin.
    now: Duration,
    since: Duration,
    accounts: VecDeque<(Duration, Tally)>,
    usages: VecDeque<Usages>,
    remarks: Vec<Remark>,
    not_kept: u64,
    left_out: LeftOut,
}

use slices::Slices;

/// What was used of processors by some moment.
#[derive(Clone, Debug)]
struct Usages {
    at: Duration,
    all: Duration,
    each: BTreeMap<ProcessId, Duration>,
}

impl Usages {
    fn of(&self, process: Option<ProcessId>) -> Option<Duration> {
        process.map_or(Some(self.all), |process| self.each.get(&process).copied())
    }
}

/// A thread that is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Which.
    pub thread: Thread,
    /// What it was doing when it was last seen.
    pub last: Option<Sample>,
    /// Since when it has been seen doing just that, in the same stack.
    pub since: Duration,
}

/// Which threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Of {
    /// Only this one.
    pub thread: Option<ThreadId>,
    /// Only those of this process.
    pub process: Option<ProcessId>,
}

/// What a recording costs, over some of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Samples taken a second, of all processes together.
    pub rate: f64,
    /// How many processes there were at a time; 1 if nothing is known of any.
    pub processes: f64,
    /// The share of the time of each process for which it was stopped.
    pub stopped: f64,
    /// Our processor time, as a share of a core.
    pub own_cpu: f64,
}

/// The cores used between two moments.
fn cores(before: &Usages, after: &Usages, of: Option<ProcessId>) -> Option<f64> {
    let seconds = after.at.saturating_sub(before.at).as_secs_f64();
    let used = after.of(of)?.saturating_sub(before.of(of)?).as_secs_f64();
    (seconds > 0.0).then(|| used / seconds)
}

impl Live {
    /// Nothing yet; files are called what `shorten` says.
    pub fn new(shorten: Shorten) -> Live {
        Live {
            tree: CallTree::merged(),
            stacks: 0,
            frames: 0,
            keys: Keys::new(shorten),
            search_path: BTreeSet::new(),
            processes: BTreeMap::new(),
            threads: FxHashMap::default(),
            moment: Moment::default(),
            latest: BTreeMap::new(),
            slices: Slices::default(),
            totals: Tallied::default(),
            now: Duration::ZERO,
            since: Duration::ZERO,
            accounts: VecDeque::new(),
            usages: VecDeque::new(),
            remarks: Vec::new(),
            not_kept: 0,
            left_out: LeftOut::default(),
        }
    }

    /// Takes the next event of a recording.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Process(id, process) => {
                self.tree.take(Event::Process(id, process.clone()));
                self.processes.insert(id, process);
            }
            Event::Thread(id, thread) => self.define_thread(id, thread),
            Event::SearchPath(entries) => self.extend_search_path(entries),
            Event::Code(id, _) if id.index() < MOST_DEFINITIONS => self.tree.take(event),
            Event::Frame(id, ref frame) if id.index() == self.frames && id.index() < MOST_DEFINITIONS => {
                if let Some(code) = self.tree.code(frame.code) {
                    self.keys.add(frame, code);
                    self.frames += 1;
                    self.tree.take(event);
                }
            }
            Event::Stack { id, .. } if id.index() == self.stacks && id.index() < MOST_DEFINITIONS => {
                self.stacks += 1;
                self.tree.take(event);
            }
            Event::Code(..) | Event::Frame(..) | Event::Stack { .. } => {}
            Event::Gil(sample) => {
                self.begin_moment(sample.at, sample.process);
                self.moment.gils.push(sample);
            }
            Event::Sample(sample) => {
                self.begin_moment(sample.at, self.process_of(sample.thread));
                self.moment.samples.push(sample);
            }
            Event::Progress(elapsed, tally) => self.take_account(elapsed, tally),
            Event::Remark(remark) if !self.remarks.contains(&remark) => self.remarks.push(remark),
            Event::Remark(_) => {}
        }
    }

    /// Takes what is left: there are no more events.
    pub fn finish(&mut self) {
        self.end_moment();
    }

    /// Takes what was left out by now of what would have come.
    pub fn take_left_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
    }

    /// What was left out, as last told.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Takes what the processes have used of processors by now, all of them and each that is there, since they began; to be
    /// called about once a second.
    pub fn take_usage(&mut self, at: Duration, all: Duration, each: BTreeMap<ProcessId, Duration>) {
        self.usages.push_back(Usages { at, all, each });
        while self.usages.len() > USAGES {
            self.usages.pop_front();
        }
    }

    /// Forgets what was seen; names and stacks that are defined stay.
    pub fn reset(&mut self) {
        self.slices = Slices::default();
        self.totals = Tallied::default();
        self.since = self.since.max(self.now);
        self.not_kept = 0;
        // What is used from now on is counted from the last reading.
        self.usages.drain(..self.usages.len().saturating_sub(1));
    }

    /// Leaves out a time of which nothing is known, as it is not looked at: what was seen before stands for none of it.
    pub fn leave_out(&mut self, gap: Duration) {
        self.since += gap;
    }

    fn begin_moment(&mut self, at: Duration, process: ProcessId) {
        if self.moment.at().is_some_and(|before| (before, self.moment.process) != (at, process)) {
            self.end_moment();
        }
        self.moment.process = process;
    }

    fn process_of(&self, thread: ThreadId) -> ProcessId {
        self.thread(thread).map_or(ProcessId(0), |watched| watched.thread.process)
    }

    fn define_thread(&mut self, id: ThreadId, thread: Thread) {
        self.threads.entry(id).and_modify(|known| known.thread = thread.clone()).or_insert_with(|| Watched {
            thread,
            last: None,
            since: Duration::ZERO,
        });
    }

    fn extend_search_path(&mut self, entries: Vec<String>) {
        let before = self.search_path.len();
        self.search_path.extend(entries);
        while self.search_path.len() > MOST_PATHS {
            self.search_path.pop_last();
        }
        if self.search_path.len() != before {
            self.keys.set_search_path(self.search_path.iter().cloned().collect());
        }
    }

    fn take_account(&mut self, elapsed: Duration, tally: Tally) {
        // The last is always the newest; between the others lies a second.
        if self.accounts.len() > 1 {
            let before = self.accounts[self.accounts.len() - 2].0;
            if elapsed.saturating_sub(before) < ACCOUNT_EVERY {
                self.accounts.pop_back();
            }
        }
        self.accounts.push_back((elapsed, tally));
        let longest = 2 * LONGEST.as_secs() as usize;
        while self.accounts.len() > longest {
            self.accounts.pop_front();
        }
    }

    fn see(&mut self, sample: &Sample) {
        let Some(thread) = self.threads.get_mut(&sample.thread) else { return };
        let is_same = |last: Sample| (last.state, last.stack) == (sample.state, sample.stack);
        if !thread.last.is_some_and(is_same) {
            thread.since = sample.at;
        }
        thread.last = Some(*sample);
    }

    /// Puts threads that have ended together, where there are too many.
    fn hold_to_bounds(&mut self) {
        if self.latest.len() > MOST_PROCESSES || self.totals.gils.len() > MOST_PROCESSES {
            let now = self.now;
            self.latest.retain(|_, moment| moment.at().is_some_and(|at| now.saturating_sub(at) < GONE_AFTER));
            let latest = &self.latest;
            self.processes.retain(|id, _| latest.contains_key(id));
            self.totals.moments.retain(|id, _| latest.contains_key(id));
            self.totals.gils.retain(|(id, owner), _| {
                latest.get(id).is_some_and(|moment| moment.gils.iter().any(|gil| gil.owner == *owner))
            });
        }
        if self.threads.len() <= MOST_THREADS && self.totals.counts.len() <= MOST_TOTALS {
            return;
        }
        let recent: FxHashSet<ThreadId> = self.slices.threads().collect();
        let mut last: Vec<Duration> = self.threads.values().filter_map(|it| Some(it.last?.at)).collect();
        last.sort_unstable();
        let oldest = last[last.len().saturating_sub(MOST_THREADS / 2)..].first().copied().unwrap_or_default();
        let is_crowd = self.threads.len() > MOST_THREADS;
        self.threads.retain(|id, thread| match is_crowd {
            true => thread.last.is_none_or(|last| last.at >= oldest),
            false => recent.contains(id),
        });
        let (threads, counts) = (&self.threads, std::mem::take(&mut self.totals.counts));
        let is_full = counts.len() > MOST_TOTALS;
        for ((thread, stack), counts) in counts {
            let thread = if threads.contains_key(&thread) { thread } else { ENDED };
            *self.totals.counts.entry((thread, stack)).or_default() += counts;
        }
        if is_full && self.totals.counts.len() > MOST_TOTALS / 2 {
            self.merge_totals();
        }
    }

    /// Puts all threads of the totals together; and if that does not help, their stacks, too.
    fn merge_totals(&mut self) {
        let mut merged: FxHashMap<(ThreadId, Option<StackId>), Counts> = FxHashMap::default();
        for ((_, stack), counts) in std::mem::take(&mut self.totals.counts) {
            let key = (ENDED, stack.filter(|_| merged.len() < MOST_TOTALS / 2));
            self.not_kept += if key.1.is_none() && stack.is_some() { counts.seen } else { 0 };
            *merged.entry(key).or_default() += counts;
        }
        self.totals.counts = merged;
    }

    /// The names of code, frames and stacks.
    pub fn tree(&self) -> &CallTree {
        &self.tree
    }

    /// What frames are put together by.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What `sys.path` was seen to have.
    pub fn search_path(&self) -> Vec<String> {
        self.search_path.iter().cloned().collect()
    }

    /// The processes.
    pub fn processes(&self) -> &BTreeMap<ProcessId, Process> {
        &self.processes
    }

    /// The processes that are there, as far as can be told: of those that have ended nothing is seen while others are.
    pub fn present(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        let is_gone = |id: &ProcessId| self.latest.get(id).is_some_and(|last| self.is_gone(last));
        self.processes.iter().filter(move |(id, _)| !is_gone(id)).map(|(id, process)| (*id, process))
    }

    /// Whether a process has ended of which that was the last moment.
    fn is_gone(&self, last: &Moment) -> bool {
        // Where some are left out the next one may come late, whatever that one stood for.
        let gone_after = match last.weight().is_one() {
            true => self.period().saturating_mul(GONE_PERIODS).clamp(GONE_SOON, GONE_AFTER),
            false => GONE_AFTER,
        };
        last.at().is_some_and(|at| self.now.saturating_sub(at) >= gone_after)
    }

    /// A thread.
    pub fn thread(&self, id: ThreadId) -> Option<&Watched> {
        self.threads.get(&id)
    }

    /// The threads that were there at the last moment of their process, by process and id.
    pub fn there(&self) -> Vec<(ThreadId, &Watched)> {
        let is_there = |it: &Watched| {
            let latest = self.latest.get(&it.thread.process).filter(|latest| !self.is_gone(latest));
            it.last.is_some_and(|last| Some(last.at) == latest.and_then(Moment::at))
        };
        let mut there: Vec<_> = self.threads.iter().map(|(id, it)| (*id, it)).filter(|(_, it)| is_there(it)).collect();
        there.sort_by_key(|(id, it)| (it.thread.process, it.thread.interpreter, *id));
        there
    }

    /// The last moment of each process.
    pub fn latest(&self) -> &BTreeMap<ProcessId, Moment> {
        &self.latest
    }

    /// The newest moment.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// For how long it has gone on since it began or was reset.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_sub(self.since)
    }

    /// The account as last told.
    pub fn account(&self) -> (Duration, Tally) {
        self.accounts.back().copied().unwrap_or_default()
    }

    /// What the user should know.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Samples whose stack is not kept.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// What was seen in some of the time.
    pub fn tallied(&self, span: Span) -> Tallied {
        if span == Span::All {
            return self.totals.clone();
        }
        let mut tallied = Tallied::default();
        self.slices.of(span, self.now).for_each(|slice| tallied.merge(slice));
        tallied
    }

    /// What was seen since it began, or was reset.
    pub fn totals(&self) -> &Tallied {
        &self.totals
    }

    /// How often stacks were seen, by whatever thread of those wanted.
    pub fn stacks(&self, tallied: &Tallied, of: Of) -> FxHashMap<StackId, Counts> {
        let mut stacks: FxHashMap<StackId, Counts> = FxHashMap::default();
        for ((thread, stack), counts) in &tallied.counts {
            if let Some(stack) = stack
                && self.is_of(*thread, of)
            {
                *stacks.entry(*stack).or_default() += *counts;
            }
        }
        stacks
    }

    /// Whether a thread is one of those wanted.
    pub fn is_of(&self, thread: ThreadId, of: Of) -> bool {
        let process = || self.thread(thread).map(|it| it.thread.process);
        of.thread.is_none_or(|wanted| wanted == thread) && (of.process.is_none() || process() == of.process)
    }

    /// The time that one slot is.
    pub fn period(&self) -> Duration {
        match self.totals.slots() {
            0 => Duration::ZERO,
            slots => self.elapsed().div_f64(slots as f64),
        }
    }

    /// The share of each second of the last minute for which a GIL was held, the newest last; of all GILs together, or all
    /// of one process.
    pub fn gil_minute(&self, of: Option<ProcessId>) -> Vec<f64> {
        let is_of = |process: ProcessId| of.is_none_or(|of| of == process);
        self.slices.minute(self.now, |slices| {
            let gils =
                || slices.iter().flat_map(|slice| &slice.gils).filter(|((of, _), _)| is_of(*of)).map(|(_, gil)| gil);
            let (held, moments) = (gils().map(|gil| gil.held).sum::<u64>(), gils().map(|gil| gil.moments).sum::<u64>());
            if moments == 0 { 0.0 } else { held as f64 / moments as f64 }
        })
    }

    /// The cores used in each second of the last minute, by all processes or one, the newest last: up to now, or up to the last
    /// reading if that is not long ago. `None` for seconds of which nothing is known.
    pub fn cpu_minute(&self, of: Option<ProcessId>) -> Vec<Option<f64>> {
        /// A reading that is due is not late before.
        const LATE: Duration = Duration::from_secs(2);
        const SECOND: Duration = Duration::from_secs(1);
        let (Some(first), Some(last)) = (self.usages.front(), self.usages.back()) else { return Vec::new() };
        let (first, last) = (first.at, last.at);
        let end = if self.now.saturating_sub(last) > LATE { self.now } else { last };
        let seconds = end.saturating_sub(first).as_secs_f64().round().min(60.0) as u32;
        let middles = (0..seconds).rev().map(|back| end.saturating_sub(SECOND * back + SECOND / 2));
        middles.map(|middle| self.cores_at(middle, of)).collect()
    }

    /// The cores used between the readings around a moment.
    fn cores_at(&self, at: Duration, of: Option<ProcessId>) -> Option<f64> {
        let mut pairs = self.usages.iter().zip(self.usages.iter().skip(1));
        let (before, after) = pairs.find(|(before, after)| (before.at..after.at).contains(&at))?;
        cores(before, after, of)
    }

    /// The cores used in the last minute, all together.
    pub fn cpu(&self) -> Option<f64> {
        cores(self.usages.front()?, self.usages.back()?, None)
    }

    /// What the recording has cost in the last so long.
    pub fn cost(&self, window: Duration) -> Cost {
        let Some(&(to, after)) = self.accounts.back() else { return Cost::default() };
        let begin = (Duration::ZERO, Tally::default());
        let first = if self.accounts.len() < 2 * LONGEST.as_secs() as usize { begin } else { self.accounts[0] };
        let is_before = |(at, _): &&(Duration, Tally)| to.saturating_sub(*at) >= window;
        let &(from, before) = self.accounts.iter().rev().find(is_before).unwrap_or(&first);
        let seconds = to.saturating_sub(from).as_secs_f64();
        if seconds <= 0.0 {
            return Cost::default();
        }
        let processes = self.processes_at_a_time(window);
        Cost {
            rate: after.taken.saturating_sub(before.taken) as f64 / seconds,
            processes,
            stopped: after.stopped.total.saturating_sub(before.stopped.total).as_secs_f64() / seconds / processes,
            own_cpu: after.own_cpu.saturating_sub(before.own_cpu).as_secs_f64() / seconds,
        }
    }

    /// Each is looked at as often as any other, as long as it is there.
    fn processes_at_a_time(&self, window: Duration) -> f64 {
        let mut all: BTreeMap<ProcessId, u64> = BTreeMap::new();
        for slice in self.slices.of(Span::Window(window), self.now) {
            slice.moments.iter().for_each(|(process, seen)| *all.entry(*process).or_default() += seen.slots);
        }
        match all.values().max() {
            Some(&most @ 1..) => all.values().sum::<u64>() as f64 / most as f64,
            _ => 1.0,
        }
    }

    /// A profile of what was seen since it began, or was reset.
    pub fn profile(&self, mode: Mode) -> CallTree {
        let mut stacks: FxHashMap<(ProcessId, StackId), u64> = FxHashMap::default();
        for ((thread, stack), counts) in &self.totals.counts {
            if let (Some(stack), count @ 1..) = (stack, mode.of(counts)) {
                let process = self.thread(*thread).map_or(ProcessId(0), |watched| watched.thread.process);
                *stacks.entry((process, *stack)).or_default() += count;
            }
        }
        self.tree.weighed(stacks)
    }

    /// How many entries are kept of what was seen: what memory grows with, beside definitions.
    pub fn entries(&self) -> usize {
        self.slices.entries()
            + self.totals.counts.len()
            + self.threads.len()
            + self.accounts.len()
            + self.usages.iter().map(|usages| usages.each.len() + 1).sum::<usize>()
            + self.search_path.len()
            + self.latest.values().map(|moment| moment.samples.len() + moment.gils.len()).sum::<usize>()
            + self.stacks
            + self.frames
    }
}
