//! The last two minutes, in slices of half a second: sliding windows are put together from whole slices.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::counts::Counts;
use crate::sample::{ProcessId, StackId, ThreadId};

/// How long a slice is.
pub const SLICE: Duration = Duration::from_millis(500);
/// The longest window, and as much before it to compare with.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Slices that are kept: for that, and the one that is not over yet.
pub(super) const KEPT: usize = 2 * (LONGEST.as_millis() / SLICE.as_millis()) as usize + 1;
/// Stacks told apart in a slice; of more, only the threads are.
pub(super) const MOST_STACKS: usize = 4096;

/// Which part of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last so long.
    Window(Duration),
    /// As long, just before that.
    Before(Duration),
    /// Since the recording began, or was reset.
    All,
}

/// What was seen of one GIL, or of an interpreter without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GilCounts {
    /// Moments.
    pub moments: u64,
    /// Those in which it was held.
    pub held: u64,
    /// Those in which it is not known who held it.
    pub unknown: u64,
    /// Those in which its interpreter collected garbage.
    pub collecting: u64,
    /// Threads that waited for it, added up over the moments.
    pub waited: u64,
    /// Those of them that waited while nobody held it.
    pub handed_over: u64,
    /// Whether there is one.
    pub exists: bool,
    /// How often it had changed hands, first and last, and when.
    pub switches: Option<((Duration, u64), (Duration, u64))>,
}

/// Moments of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// How many there were.
    pub taken: u64,
    /// For how many slots of the clock they stand.
    pub slots: u64,
}

impl AddAssign for Moments {
    fn add_assign(&mut self, other: Moments) {
        self.taken += other.taken;
        self.slots += other.slots;
    }
}

/// Counts of one stretch of time. All but how many moments there were are slots of the clock, for which those stand.
#[derive(Clone, Debug, Default)]
pub struct Tallied {
    /// Moments of each process.
    pub moments: BTreeMap<ProcessId, Moments>,
    /// By thread and stack; without a stack for threads that have no Python frames, or whose stack is not kept.
    pub counts: FxHashMap<(ThreadId, Option<StackId>), Counts>,
    /// By process and the first of the interpreters that share it.
    pub gils: BTreeMap<(ProcessId, i64), GilCounts>,
}

impl Tallied {
    pub(super) fn add(&mut self, thread: ThreadId, stack: Option<StackId>, counts: Counts, most: usize) {
        let full = self.counts.len() >= most && !self.counts.contains_key(&(thread, stack));
        *self.counts.entry((thread, stack.filter(|_| !full))).or_default() += counts;
    }

    pub(super) fn gil(&mut self, process: ProcessId, owner: i64) -> &mut GilCounts {
        self.gils.entry((process, owner)).or_default()
    }

    /// What shares of the time are shares of: the moments of the process that was looked at for longest.
    pub fn slots(&self) -> u64 {
        self.moments.values().map(|moments| moments.slots).max().unwrap_or(0)
    }

    /// How often the process was looked at that was looked at most often.
    pub fn taken(&self) -> u64 {
        self.moments.values().map(|moments| moments.taken).max().unwrap_or(0)
    }

    pub(super) fn merge(&mut self, other: &Tallied) {
        other.moments.iter().for_each(|(process, moments)| *self.moments.entry(*process).or_default() += *moments);
        other.counts.iter().for_each(|(key, counts)| *self.counts.entry(*key).or_default() += *counts);
        for (key, gil) in &other.gils {
            self.gils.entry(*key).or_default().merge(gil);
        }
    }
}

impl GilCounts {
    fn merge(&mut self, later: &GilCounts) {
        self.moments += later.moments;
        self.held += later.held;
        self.unknown += later.unknown;
        self.collecting += later.collecting;
        self.waited += later.waited;
        self.handed_over += later.handed_over;
        self.exists |= later.exists;
        self.switches = match (self.switches, later.switches) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (one, other) => other.or(one),
        };
    }

    /// How often it changed hands, a second.
    pub fn switches_per_second(&self) -> Option<f64> {
        let ((from, before), (to, after)) = self.switches?;
        let seconds = to.saturating_sub(from).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(before) as f64 / seconds)
    }
}

/// The slices, the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Slices(VecDeque<(u64, Tallied)>);

impl Slices {
    /// The slice that a moment belongs to.
    pub fn at(&mut self, at: Duration) -> &mut Tallied {
        let index = (at.as_nanos() / SLICE.as_nanos()) as u64;
        // Times never go back but for those of several processes, by less than a slice.
        if self.0.back().is_none_or(|(last, _)| *last < index) {
            self.0.push_back((index, Tallied::default()));
        }
        while self.0.front().is_some_and(|(first, _)| first + (KEPT as u64) <= index) {
            self.0.pop_front();
        }
        &mut self.0.back_mut().expect("one was put there").1
    }

    /// Slices of a window that ends now: the one that is not over yet and as many before it as the window has; or as many
    /// before those.
    pub fn of(&self, span: Span, now: Duration) -> impl Iterator<Item = &Tallied> {
        let now = (now.as_nanos() / SLICE.as_nanos()) as u64;
        let long = |window: Duration| (window.as_nanos() / SLICE.as_nanos()) as u64;
        let (from, to) = match span {
            Span::Window(window) => (now.saturating_sub(long(window)), now + 1),
            Span::Before(window) => (now.saturating_sub(2 * long(window)), now.saturating_sub(long(window))),
            Span::All => (0, now + 1),
        };
        self.0.iter().filter(move |(index, _)| (from..to).contains(index)).map(|(_, slice)| slice)
    }

    /// What `value` says of each second of the last minute, the newest last; zero where there is nothing.
    pub fn minute(&self, now: Duration, value: impl Fn(&[&Tallied]) -> f64) -> Vec<f64> {
        const SECONDS: u64 = 60;
        // The second that is not over yet would jump about.
        let now = now.as_secs();
        (1..=SECONDS.min(now))
            .rev()
            .map(|back| {
                let second = (now - back) * 2;
                let slices = self.0.iter().filter(|(index, _)| (second..second + 2).contains(index));
                value(&slices.map(|(_, slice)| slice).collect::<Vec<_>>())
            })
            .collect()
    }

    /// Whether a thread was seen in them.
    pub fn threads(&self) -> impl Iterator<Item = ThreadId> {
        self.0.iter().flat_map(|(_, slice)| slice.counts.keys().map(|(thread, _)| *thread))
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.0.iter().map(|(_, slice)| slice.counts.len() + slice.gils.len() + slice.moments.len() + 1).sum()
    }
}
