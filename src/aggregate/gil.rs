//! Who held each GIL, who waited for it meanwhile, and what the holder was doing: the time that others wait is laid at the
//! door of the code that runs.
//!
//! Events of one moment come together: first who held the GILs, then what each thread was doing. All moments weigh the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::CallTree;
use super::share::{Looks, Share};
use crate::sample::{Event, FrameId, GilHeld, GilSample, Sample, StackId, ThreadId, ThreadState};

/// What was seen of the GILs and of the threads that want them.
#[derive(Clone, Debug, Default)]
pub struct GilAccount {
    tree: CallTree,
    /// By the first of the interpreters that share it.
    gils: BTreeMap<i64, Gil>,
    /// Which GIL each interpreter has.
    owners: HashMap<i64, i64>,
    threads: BTreeMap<ThreadId, ThreadAccount>,
    moment: Moment,
}

/// What belongs to one moment.
#[derive(Clone, Debug, Default)]
struct Moment {
    gils: Vec<GilSample>,
    samples: Vec<Sample>,
}

/// What was seen of one GIL, or of an interpreter without one.
#[derive(Clone, Debug, Default)]
pub struct Gil {
    /// The interpreters that share it, by their ids.
    pub interpreters: BTreeSet<i64>,
    /// Whether there is one: not in a free-threaded build.
    pub exists: bool,
    held: Looks,
    /// Moments in which it was not known who held it.
    pub unknown: u64,
    /// Moments in which its holder collected garbage.
    pub collecting: u64,
    /// Moments in which the world was stopped: some thread waited for all to go on.
    pub suspended: u64,
    /// Moments in which some thread was stopped, by a signal or a debugger.
    pub stopped: u64,
    /// After how long a thread that runs Python lets go of it if others wait, as last seen.
    pub interval: Option<Duration>,
    /// Threads that waited, added up over all moments.
    pub waited: u64,
    /// Threads that waited while nobody held it: it was being handed over.
    pub waited_for_nobody: u64,
    /// What the holders were doing.
    pub held_in: HashMap<Option<StackId>, Held>,
    /// Code that is not Python and was seen to hold it while others waited, by the frame that called it.
    pub native: HashMap<FrameId, Native>,
    /// The longest time for which one thread was seen to hold it.
    pub longest_hold: Option<Hold>,
    /// The longest time for which one thread was seen to wait for it.
    pub longest_wait: Option<Wait>,
    hold: Option<Hold>,
    switches: Option<((Duration, u64), (Duration, u64))>,
}

/// How often a GIL was held in one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Moments.
    pub moments: u64,
    /// Those of them in which what was called was not Python.
    pub native: u64,
    /// Threads that waited meanwhile, added up over those moments.
    pub blame: u64,
}

/// What was seen of code that is not Python and holds a GIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// Moments.
    pub moments: u64,
    /// For how long it was seen, in one go and with others waiting all the time, at most. Python itself lets go after a few
    /// milliseconds.
    pub longest: Duration,
}

/// One thread holds a GIL and others wait for it: at each look from the first to the last it had passed to nobody else,
/// and as others waited it cannot have been let go of in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub thread: ThreadId,
    /// The first look.
    pub first: Duration,
    /// The last.
    pub last: Duration,
    /// The stack at the last look.
    pub stack: Option<StackId>,
    /// Who waited when last somebody did, and in which stacks.
    pub waiters: Vec<(ThreadId, Option<StackId>)>,
    /// The innermost frame, if it has been at the same place at more looks than one.
    stuck: Option<Stuck>,
    switches: Option<u64>,
}

/// A frame that is at the same place from look to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stuck {
    frame: FrameId,
    since: Duration,
    /// Looks that have not been counted as native.
    looks: u64,
}

/// One thread waits for a GIL: at each look from the first to the last, and it cannot have had it in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Who.
    pub thread: ThreadId,
    /// The first look.
    pub first: Duration,
    /// The last.
    pub last: Duration,
    /// Its stack.
    pub stack: Option<StackId>,
    /// Who held it at the last look, and in which stack.
    pub holder: Option<(ThreadId, Option<StackId>)>,
    switches: Option<u64>,
}

/// What was seen of one thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadAccount {
    /// Moments in which it held its GIL.
    pub held: Looks,
    /// Moments in which it waited for it.
    pub wanted: Looks,
    /// Moments by what it was doing, in the order of [`ThreadState::ALL`].
    pub states: [u64; ThreadState::ALL.len()],
    /// Where it waited for a lock, or for the world to go on, by stack.
    pub waits_in: HashMap<Option<StackId>, u64>,
    wait: Option<Wait>,
}

impl Hold {
    /// For how long it was seen, at least.
    pub fn seen(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }
}

impl Wait {
    /// For how long it was seen, at least.
    pub fn seen(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }
}

impl Gil {
    /// How much of the time it was held.
    pub fn held(&self) -> Option<Share> {
        self.held.share()
    }

    /// Moments in which it was held.
    pub fn held_moments(&self) -> u64 {
        self.held.hits()
    }

    /// Moments seen.
    pub fn moments(&self) -> u64 {
        self.held.looks()
    }

    /// How often it passed from one thread to another, a second.
    pub fn switches_per_second(&self) -> Option<f64> {
        let ((from, before), (to, after)) = self.switches?;
        let seconds = to.saturating_sub(from).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(before) as f64 / seconds)
    }

    fn take(&mut self, sample: &GilSample, samples: &[&Sample], leaf: impl Fn(StackId) -> Option<FrameId>) {
        self.exists |= sample.holder != GilHeld::None;
        self.interval = sample.interval.or(self.interval);
        let has = |state| u64::from(samples.iter().any(|sample| sample.state == state));
        self.suspended += has(ThreadState::Suspended);
        self.stopped += has(ThreadState::Stopped);
        if sample.holder == GilHeld::Unknown {
            self.unknown += 1;
            self.end_hold();
            return;
        }
        if let Some(switches) = sample.switches {
            let now = (sample.at, switches);
            self.switches = Some((self.switches.map_or(now, |(first, _)| first), now));
        }
        self.held.take(matches!(sample.holder, GilHeld::By(_) | GilHeld::BySomeone));
        let waiters: Vec<(ThreadId, Option<StackId>)> = samples
            .iter()
            .filter(|sample| sample.state == ThreadState::WaitsForGil)
            .map(|sample| (sample.thread, sample.stack))
            .collect();
        self.waited += waiters.len() as u64;
        let GilHeld::By(thread) = sample.holder else {
            if sample.holder == GilHeld::Free {
                self.waited_for_nobody += waiters.len() as u64;
            } else if sample.holder == GilHeld::BySomeone {
                let held = self.held_in.entry(None).or_default();
                held.moments += 1;
                held.blame += waiters.len() as u64;
            }
            self.end_hold();
            return;
        };
        let of = samples.iter().find(|sample| sample.thread == thread);
        let stack = of.and_then(|sample| sample.stack);
        // Whoever sleeps with the GIL does so in native code.
        let is_native = of.is_some_and(|sample| sample.state == ThreadState::RunsNative || sample.state.waits());
        self.collecting += u64::from(of.is_some_and(|sample| sample.state == ThreadState::CollectsGarbage));
        let held = self.held_in.entry(stack).or_default();
        held.moments += 1;
        held.native += u64::from(is_native);
        held.blame += waiters.len() as u64;
        let frame = stack.and_then(leaf);
        if let Some(frame) = frame.filter(|_| is_native) {
            self.native.entry(frame).or_default().moments += 1;
        }
        if waiters.is_empty() {
            self.end_hold();
        } else {
            self.go_on_holding(sample, (thread, stack), waiters, (frame, is_native));
        }
    }

    fn go_on_holding(
        &mut self,
        sample: &GilSample,
        (thread, stack): (ThreadId, Option<StackId>),
        waiters: Vec<(ThreadId, Option<StackId>)>,
        (frame, is_native): (Option<FrameId>, bool),
    ) {
        let (at, switches, too_long) = (sample.at, sample.switches, self.too_long());
        if self.hold.as_ref().is_some_and(|hold| hold.thread != thread || hold.switches != switches) {
            self.end_hold();
        }
        let (first, last) = (at, at);
        let new = Hold { thread, first, last, stack, waiters: Vec::new(), stuck: None, switches };
        let hold = self.hold.get_or_insert(new);
        (hold.last, hold.stack, hold.waiters) = (at, stack, waiters);
        hold.stuck = frame.map(|frame| match hold.stuck {
            Some(stuck) if stuck.frame == frame => stuck,
            _ => Stuck { frame, since: at, looks: 0 },
        });
        if let Some(stuck) = &mut hold.stuck {
            stuck.looks += u64::from(!is_native);
            let lasted = at.saturating_sub(stuck.since);
            // Whatever the instruction is: Python's own would have let go by now.
            if is_native || lasted >= too_long {
                let native = self.native.entry(stuck.frame).or_default();
                native.moments += std::mem::take(&mut stuck.looks);
                native.longest = native.longest.max(lasted);
            }
        }
        if self.longest_hold.as_ref().is_none_or(|longest| hold.seen() > longest.seen()) {
            self.longest_hold = Some(hold.clone());
        }
    }

    /// For how long Python's own code never holds it while others wait: three times the switch interval.
    pub fn too_long(&self) -> Duration {
        const USUAL: Duration = Duration::from_millis(5);
        3 * self.interval.unwrap_or(USUAL).max(USUAL)
    }

    fn end_hold(&mut self) {
        self.hold = None;
    }
}

impl GilAccount {
    /// Takes the next event of a recording.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Gil(sample) => {
                if self.moment.at().is_some_and(|at| at != sample.at) {
                    self.end_moment();
                }
                self.moment.gils.push(sample);
            }
            Event::Sample(sample) => {
                if self.moment.at().is_some_and(|at| at != sample.at) {
                    self.end_moment();
                }
                self.moment.samples.push(sample);
            }
            other => self.tree.take(other),
        }
    }

    /// Takes what is left: there are no more events.
    pub fn finish(&mut self) {
        self.end_moment();
    }

    /// Names of threads, frames and stacks.
    pub fn tree(&self) -> &CallTree {
        &self.tree
    }

    /// Every GIL, by the first of the interpreters that share it.
    pub fn gils(&self) -> &BTreeMap<i64, Gil> {
        &self.gils
    }

    /// Every thread.
    pub fn threads(&self) -> &BTreeMap<ThreadId, ThreadAccount> {
        &self.threads
    }

    /// Which GIL a thread uses.
    pub fn owner(&self, thread: ThreadId) -> Option<i64> {
        self.owners.get(&self.tree.thread(thread)?.interpreter).copied()
    }

    /// Whether there is a GIL.
    pub fn has_gil(&self) -> bool {
        self.gils.values().any(|gil| gil.exists)
    }

    /// The time that threads waited for the GIL, as stacks of those who held it; without one, the time that they waited for
    /// locks, as their own stacks. One sample is one thread that waits at one moment.
    pub fn blame(&self) -> CallTree {
        let mut counts: HashMap<StackId, u64> = HashMap::new();
        if !self.has_gil() {
            for (stack, waits) in self.threads.values().flat_map(|thread| &thread.waits_in) {
                stack.iter().for_each(|stack| *counts.entry(*stack).or_default() += waits);
            }
        }
        for (stack, held) in self.gils.values().flat_map(|gil| &gil.held_in) {
            if let Some(stack) = stack.filter(|_| held.blame > 0) {
                *counts.entry(stack).or_default() += held.blame;
            }
        }
        self.tree.weighed(counts)
    }

    fn end_moment(&mut self) {
        let Moment { gils, samples } = std::mem::take(&mut self.moment);
        for gil in &gils {
            self.owners.insert(gil.interpreter, gil.owner);
            self.gils.entry(gil.owner).or_default().interpreters.insert(gil.interpreter);
        }
        for gil in gils.iter().filter(|gil| gil.interpreter == gil.owner) {
            let own: Vec<&Sample> =
                samples.iter().filter(|sample| self.owner(sample.thread) == Some(gil.owner)).collect();
            let tree = &self.tree;
            let leaf = |stack| tree.stack(stack).map(|(frame, _)| frame);
            self.gils.entry(gil.owner).or_default().take(gil, &own, leaf);
            let holder = match gil.holder {
                GilHeld::By(holder) => {
                    let of = samples.iter().find(|sample| sample.thread == holder);
                    Some((holder, of.and_then(|sample| sample.stack)))
                }
                _ => None,
            };
            for sample in own {
                self.take_thread(gil, sample, holder);
            }
        }
    }

    fn take_thread(&mut self, gil: &GilSample, sample: &Sample, holder: Option<(ThreadId, Option<StackId>)>) {
        let thread = self.threads.entry(sample.thread).or_default();
        let is_waiting = sample.state == ThreadState::WaitsForGil;
        thread.held.take(gil.holder == GilHeld::By(sample.thread));
        thread.wanted.take(is_waiting);
        thread.states[sample.state as usize] += 1;
        if matches!(sample.state, ThreadState::WaitsForLock | ThreadState::Suspended) {
            *thread.waits_in.entry(sample.stack).or_default() += 1;
        }
        if !is_waiting {
            thread.wait = None;
            return;
        }
        // To have had it and to wait for it again takes two changes of holder.
        let cannot_have_had_it = |wait: &Wait| match (wait.switches, gil.switches) {
            (Some(before), Some(now)) => {
                (wait.stack == sample.stack || wait.stack.is_none()) && now.saturating_sub(before) < 2
            }
            _ => false,
        };
        let first = thread.wait.as_ref().filter(|wait| cannot_have_had_it(wait)).map_or(sample.at, |wait| wait.first);
        let (last, stack, switches) = (sample.at, sample.stack, gil.switches);
        let wait = Wait { thread: sample.thread, first, last, stack, holder, switches };
        let longest = &mut self.gils.entry(gil.owner).or_default().longest_wait;
        if longest.as_ref().is_none_or(|longest| wait.seen() > longest.seen()) {
            *longest = Some(wait.clone());
        }
        thread.wait = Some(wait);
    }
}

impl Moment {
    fn at(&self) -> Option<Duration> {
        self.gils.first().map(|gil| gil.at).or(self.samples.first().map(|sample| sample.at))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sample::{Code, CodeId, Frame, GilState, ProcessId, Thread, Tid};

    /// A recording of two threads, `a` and `b`, each with one function of its own name, looked at every 10 ms.
    #[derive(Default)]
    pub(crate) struct Script {
        account: GilAccount,
        at: Duration,
    }

    /// What one thread did at a look.
    pub(crate) const PYTHON: ThreadState = ThreadState::RunsPython;
    pub(crate) const NATIVE: ThreadState = ThreadState::RunsNative;
    pub(crate) const WAITS: ThreadState = ThreadState::WaitsForGil;
    pub(crate) const SLEEPS: ThreadState = ThreadState::Sleeps;

    impl Script {
        pub(crate) fn new() -> Script {
            let mut script = Script::default();
            for (id, name) in ["a", "b"].into_iter().enumerate() {
                let id = id as u32;
                let code = Code { function: name.into(), file: format!("{name}.py").into(), first_line: 1 };
                script.account.take(Event::Code(CodeId(id), code));
                script.account.take(Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(10 + id) }));
                script.account.take(Event::Stack { id: StackId(id), caller: None, frame: FrameId(id) });
                let thread = Thread {
                    process: ProcessId(0),
                    interpreter: 0,
                    os_thread_id: Some(Tid(100 + id)),
                    python_thread_id: id.into(),
                    name: Some(name.into()),
                };
                script.account.take(Event::Thread(ThreadId(id), thread));
            }
            script
        }

        /// One look: who holds the GIL, how often it has passed, and what both threads do.
        pub(crate) fn look(&mut self, holder: GilHeld, switches: u64, states: [ThreadState; 2]) {
            let gil = GilSample {
                at: self.at,
                process: ProcessId(0),
                interpreter: 0,
                owner: 0,
                holder,
                switches: Some(switches),
                interval: Some(Duration::from_millis(5)),
                is_collecting: false,
            };
            self.account.take(Event::Gil(gil));
            for (id, state) in states.into_iter().enumerate() {
                let (thread, stack) = (ThreadId(id as u32), Some(StackId(id as u32)));
                let gil = if holder == GilHeld::By(thread) { GilState::Held } else { GilState::NotHeld };
                self.account.take(Event::Sample(Sample { at: self.at, thread, state, gil, stack }));
            }
            self.at += Duration::from_millis(10);
        }

        pub(crate) fn end(mut self) -> GilAccount {
            self.account.finish();
            self.account
        }
    }

    const A: GilHeld = GilHeld::By(ThreadId(0));
    const B: GilHeld = GilHeld::By(ThreadId(1));

    #[test]
    fn the_time_that_others_wait_is_laid_at_the_holders_door() {
        let mut script = Script::new();
        for _ in 0..6 {
            script.look(A, 1, [PYTHON, WAITS]);
        }
        for _ in 0..2 {
            script.look(B, 2, [WAITS, PYTHON]);
        }
        script.look(GilHeld::Free, 2, [SLEEPS, SLEEPS]);
        let account = script.end();
        let gil = &account.gils()[&0];
        assert_eq!((gil.moments(), gil.held_moments(), gil.waited, gil.waited_for_nobody), (9, 8, 8, 0));
        assert_eq!(gil.held_in[&Some(StackId(0))], Held { moments: 6, native: 0, blame: 6 });
        assert_eq!(gil.held_in[&Some(StackId(1))], Held { moments: 2, native: 0, blame: 2 });
        assert_eq!(account.threads()[&ThreadId(1)].wanted.hits(), 6);
        assert_eq!(account.blame().samples(), 8);
        // Once in the 80 ms between the first look and the last.
        assert_eq!(gil.switches_per_second(), Some(12.5));
    }

    #[test]
    fn a_hold_lasts_until_the_gil_passes_to_another_thread_or_nobody_waits() {
        let mut script = Script::new();
        for _ in 0..4 {
            script.look(A, 1, [PYTHON, WAITS]);
        }
        script.look(A, 1, [PYTHON, SLEEPS]);
        script.look(A, 1, [PYTHON, WAITS]);
        script.look(A, 3, [PYTHON, WAITS]);
        let account = script.end();
        let hold = account.gils()[&0].longest_hold.clone().unwrap();
        assert_eq!((hold.thread, hold.seen()), (ThreadId(0), Duration::from_millis(30)));
        assert_eq!(hold.waiters, [(ThreadId(1), Some(StackId(1)))]);
    }

    #[test]
    fn what_holds_it_too_long_is_native_whatever_it_says() {
        let mut script = Script::new();
        for _ in 0..9 {
            script.look(A, 1, [PYTHON, SLEEPS]);
        }
        for _ in 0..3 {
            script.look(B, 2, [WAITS, NATIVE]);
        }
        script.look(B, 3, [SLEEPS, SLEEPS]);
        for _ in 0..2 {
            script.look(A, 4, [PYTHON, WAITS]);
        }
        let account = script.end();
        let native = &account.gils()[&0].native;
        assert_eq!(native[&FrameId(1)], Native { moments: 4, longest: Duration::from_millis(20) });
        // 10 ms: that may be Python.
        assert_eq!(native.get(&FrameId(0)), None);
        let mut script = Script::new();
        for _ in 0..3 {
            script.look(A, 1, [PYTHON, WAITS]);
        }
        let account = script.end();
        let native = account.gils()[&0].native[&FrameId(0)];
        assert_eq!(native, Native { moments: 3, longest: Duration::from_millis(20) });
    }

    #[test]
    fn native_code_that_nobody_waits_for_is_not_accused() {
        let mut script = Script::new();
        for _ in 0..9 {
            script.look(A, 1, [NATIVE, SLEEPS]);
        }
        let account = script.end();
        assert_eq!(account.gils()[&0].native[&FrameId(0)], Native { moments: 9, longest: Duration::ZERO });
    }

    #[test]
    fn a_wait_ends_where_the_thread_may_have_had_it_meanwhile() {
        let mut script = Script::new();
        for switches in [1, 2, 3, 5, 6] {
            script.look(A, switches, [PYTHON, WAITS]);
        }
        let wait = script.end().gils()[&0].longest_wait.clone().unwrap();
        assert_eq!((wait.thread, wait.seen()), (ThreadId(1), Duration::from_millis(20)));
        assert_eq!(wait.holder, Some((ThreadId(0), Some(StackId(0)))));
    }

    #[test]
    fn what_is_not_known_is_in_no_share() {
        let mut script = Script::new();
        script.look(A, 1, [PYTHON, SLEEPS]);
        script.look(GilHeld::Unknown, 1, [PYTHON, SLEEPS]);
        script.look(GilHeld::BySomeone, 1, [WAITS, SLEEPS]);
        let account = script.end();
        let gil = &account.gils()[&0];
        assert_eq!((gil.moments(), gil.held_moments(), gil.unknown), (2, 2, 1));
        assert_eq!(gil.held_in[&None], Held { moments: 1, native: 0, blame: 1 });
    }
}
