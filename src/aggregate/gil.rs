//! Who held each GIL, who waited for it meanwhile, and what the holder was doing: the time that others wait is laid at the
//! door of the code that runs.
//!
//! Events of one moment come together: first who held the GILs, then what each thread was doing. Moments are counted as often as
//! they stand for slots of the clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::CallTree;
use super::filter::{Filter, LeftOut, Rules};
use super::share::{Looks, Share};
use crate::sample::{Event, FrameId, GilHeld, GilSample, Holding, ProcessId, Sample, StackId, ThreadId, ThreadState};

/// What was seen of the GILs and of the threads that want them.
#[derive(Clone, Debug, Default)]
pub struct GilAccount {
    tree: CallTree,
    filter: Filter,
    gils: BTreeMap<GilId, Gil>,
    /// Which GIL each interpreter of each process has.
    owners: HashMap<(ProcessId, i64), GilId>,
    threads: BTreeMap<ThreadId, ThreadAccount>,
    /// Every thread, where only some are wanted.
    everyone: BTreeMap<ThreadId, ThreadAccount>,
    moment: Moment,
}

/// Which GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GilId {
    /// Of which process.
    pub process: ProcessId,
    /// The first of the interpreters that share it.
    pub owner: i64,
}

impl GilId {
    fn of(sample: &GilSample) -> GilId {
        GilId { process: sample.process, owner: sample.owner }
    }
}

/// What belongs to one moment of one process.
#[derive(Clone, Debug, Default)]
struct Moment {
    of: Option<(ProcessId, Duration)>,
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
    /// Threads that waited, added up over all moments: of those that are wanted.
    pub waited: u64,
    /// The same, of all.
    pub waited_by_all: u64,
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
    /// Those of them in which garbage was collected.
    pub collecting: u64,
    /// For how long it was seen not to let go though others waited, at most, in one go; time in which it was ready to run and
    /// had no processor is not in it. Zero if Python itself, which lets go when it is asked, may have held it as long.
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
    since: Moved,
    /// The look at which it was first known that the holder had been asked to let go.
    asked: Option<Moved>,
    /// Moments that have not been counted as native.
    looks: u64,
    /// Those of them in which garbage was collected.
    collecting: u64,
}

/// How far a holder had come at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moved {
    at: Duration,
    holding: Option<Holding>,
}

impl Moved {
    /// For how long it went on from there, not counting time in which it was ready to run and had no processor.
    fn until(self, now: Moved, state: ThreadState) -> Duration {
        let all = now.at.saturating_sub(self.at);
        match self.holding.zip(now.holding) {
            // One that is asleep does not queue now.
            Some((then, now)) if state.waits() => all.saturating_sub(now.queued.saturating_sub(then.queued)),
            Some((then, now)) => all.min(now.ran.saturating_sub(then.ran)),
            None => all,
        }
    }
}

impl Stuck {
    fn new(frame: FrameId, since: Moved) -> Stuck {
        Stuck { frame, since, asked: None, looks: 0, collecting: 0 }
    }

    /// For how long it has been there, if Python's own code would have let go by now, whatever the instruction is.
    fn too_long(&mut self, now: Moved, state: ThreadState, interval: Duration) -> Option<Duration> {
        let lasted = self.since.until(now, state);
        match now.holding {
            Some(holding) => {
                self.asked = self.asked.or(holding.is_asked.then_some(now));
                // The kernel counts from tick to tick, and ticks are not further apart than this.
                self.asked.is_some_and(|asked| asked.until(now, state) >= 2 * interval)
            }
            None => lasted >= 3 * interval,
        }
        .then_some(lasted)
    }
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

impl ThreadAccount {
    /// Takes what it did at one moment.
    fn take(&mut self, gil: &GilSample, sample: &Sample) {
        self.held.take(gil.holder == GilHeld::By(sample.thread), gil.weight);
        self.wanted.take(sample.state == ThreadState::WaitsForGil, gil.weight);
        self.states[sample.state as usize] += gil.weight.slots();
    }

    /// The share of its moments in which it did something of the kind.
    pub fn share(&self, is_it: impl Fn(ThreadState) -> bool) -> f64 {
        let those = ThreadState::ALL.into_iter().zip(self.states).filter(|(state, _)| is_it(*state));
        match self.held.slots() {
            0 => 0.0,
            slots => those.map(|(_, moments)| moments).sum::<u64>() as f64 / slots as f64,
        }
    }
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
        self.held.hit_slots()
    }

    /// Moments seen, as often as they stand for slots of the clock, as all here.
    pub fn moments(&self) -> u64 {
        self.held.slots()
    }

    /// How often it was looked at who held it.
    pub fn looks(&self) -> u64 {
        self.held.looks()
    }

    /// How often it passed from one thread to another, a second.
    pub fn switches_per_second(&self) -> Option<f64> {
        let ((from, before), (to, after)) = self.switches?;
        let seconds = to.saturating_sub(from).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(before) as f64 / seconds)
    }

    /// Takes a moment: what everyone did, and of that the holder and what is wanted.
    fn take(
        &mut self,
        sample: &GilSample,
        everyone: &[&Sample],
        samples: &[&Sample],
        leaf: impl Fn(StackId) -> Option<FrameId>,
    ) {
        self.exists |= sample.holder != GilHeld::None;
        self.interval = sample.interval.or(self.interval);
        let count = |state| everyone.iter().filter(|sample| sample.state == state).count() as u64;
        let slots = sample.weight.slots();
        let has = |state| slots * count(state).min(1);
        self.suspended += has(ThreadState::Suspended);
        self.stopped += has(ThreadState::Stopped);
        if sample.holder == GilHeld::Unknown {
            self.unknown += slots;
            self.end_hold();
            return;
        }
        if let Some(switches) = sample.switches {
            let now = (sample.at, switches);
            self.switches = Some((self.switches.map_or(now, |(first, _)| first), now));
        }
        self.held.take(matches!(sample.holder, GilHeld::By(_) | GilHeld::BySomeone), sample.weight);
        let waiters: Vec<(ThreadId, Option<StackId>)> = samples
            .iter()
            .filter(|sample| sample.state == ThreadState::WaitsForGil)
            .map(|sample| (sample.thread, sample.stack))
            .collect();
        let waited = slots * waiters.len() as u64;
        self.waited += waited;
        self.waited_by_all += slots * count(ThreadState::WaitsForGil);
        let GilHeld::By(thread) = sample.holder else {
            if sample.holder == GilHeld::Free {
                self.waited_for_nobody += waited;
            } else if sample.holder == GilHeld::BySomeone {
                let held = self.held_in.entry(None).or_default();
                held.moments += slots;
                held.blame += waited;
            }
            self.end_hold();
            return;
        };
        let of = samples.iter().find(|sample| sample.thread == thread);
        let stack = of.and_then(|sample| sample.stack);
        let state = of.map_or(ThreadState::Unknown, |sample| sample.state);
        let is_native = is_native(state);
        self.collecting += slots * u64::from(state == ThreadState::CollectsGarbage);
        let held = self.held_in.entry(stack).or_default();
        held.moments += slots;
        held.native += slots * u64::from(is_native);
        held.blame += waited;
        let frame = stack.and_then(leaf);
        if let Some(frame) = frame.filter(|_| is_native) {
            self.native.entry(frame).or_default().moments += slots;
        }
        if waiters.is_empty() {
            self.end_hold();
        } else {
            self.go_on_holding(sample, (thread, stack), waiters, (frame, state));
        }
    }

    fn go_on_holding(
        &mut self,
        sample: &GilSample,
        (thread, stack): (ThreadId, Option<StackId>),
        waiters: Vec<(ThreadId, Option<StackId>)>,
        (frame, state): (Option<FrameId>, ThreadState),
    ) {
        let (at, switches, interval) = (sample.at, sample.switches, self.usual_interval());
        let now = Moved { at, holding: sample.holding };
        if self.hold.as_ref().is_some_and(|hold| hold.thread != thread || hold.switches != switches) {
            self.end_hold();
        }
        let (first, last) = (at, at);
        let new = Hold { thread, first, last, stack, waiters: Vec::new(), stuck: None, switches };
        let hold = self.hold.get_or_insert(new);
        (hold.last, hold.stack, hold.waiters) = (at, stack, waiters);
        hold.stuck = frame.map(|frame| match hold.stuck {
            Some(stuck) if stuck.frame == frame => stuck,
            _ => Stuck::new(frame, now),
        });
        if let Some(stuck) = &mut hold.stuck {
            let slots = sample.weight.slots();
            stuck.looks += slots * u64::from(!is_native(state));
            stuck.collecting += slots * u64::from(state == ThreadState::CollectsGarbage);
            if let Some(lasted) = stuck.too_long(now, state, interval) {
                let native = self.native.entry(stuck.frame).or_default();
                native.moments += std::mem::take(&mut stuck.looks);
                native.collecting += std::mem::take(&mut stuck.collecting);
                native.longest = native.longest.max(lasted);
            }
        }
        if self.longest_hold.as_ref().is_none_or(|longest| hold.seen() > longest.seen()) {
            self.longest_hold = Some(hold.clone());
        }
    }

    /// After how long Python's own code lets go of it if others wait, and ticks are certain to have gone by.
    fn usual_interval(&self) -> Duration {
        const USUAL: Duration = Duration::from_millis(5);
        self.interval.unwrap_or(USUAL).max(USUAL)
    }

    fn end_hold(&mut self) {
        self.hold = None;
    }
}

/// Whether a holder runs something that is not Python. Whoever sleeps with the GIL does so in native code.
fn is_native(holder: ThreadState) -> bool {
    holder == ThreadState::RunsNative || holder.waits()
}

impl GilAccount {
    /// An account of the threads and stacks that are wanted: of these it tells what they did and whom they waited for. Whom
    /// that was is told of all.
    pub fn of(rules: Rules) -> GilAccount {
        GilAccount { filter: Filter::new(rules), ..GilAccount::default() }
    }

    /// What was left out.
    pub fn left_out(&self) -> LeftOut {
        self.filter.left_out
    }

    /// Takes the next event of a recording.
    pub fn take(&mut self, event: Event) {
        self.filter.pass(&event);
        match event {
            Event::Gil(sample) => {
                self.begin_moment((sample.process, sample.at));
                self.moment.gils.push(sample);
            }
            Event::Sample(sample) => {
                let process = self.tree.thread(sample.thread).map_or(ProcessId(0), |thread| thread.process);
                self.begin_moment((process, sample.at));
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

    /// Every GIL.
    pub fn gils(&self) -> &BTreeMap<GilId, Gil> {
        &self.gils
    }

    /// The threads that are wanted.
    pub fn threads(&self) -> &BTreeMap<ThreadId, ThreadAccount> {
        &self.threads
    }

    /// Every thread: what it did, wanted or not.
    pub fn everyone(&self) -> &BTreeMap<ThreadId, ThreadAccount> {
        if self.is_of_all() { &self.threads } else { &self.everyone }
    }

    /// Whether every thread, and every stack, is wanted.
    pub fn is_of_all(&self) -> bool {
        self.filter.is_open()
    }

    /// Which GIL a thread uses.
    pub fn owner(&self, thread: ThreadId) -> Option<GilId> {
        let thread = self.tree.thread(thread)?;
        self.owners.get(&(thread.process, thread.interpreter)).copied()
    }

    /// Whether there is a GIL.
    pub fn has_gil(&self) -> bool {
        self.gils.values().any(|gil| gil.exists)
    }

    /// The time that threads waited for the GIL, as stacks of those who held it; without one, the time that they waited for
    /// locks, as their own stacks. One sample is one thread that waits for a slot of the clock.
    pub fn blame(&self) -> CallTree {
        let mut counts: HashMap<(ProcessId, StackId), u64> = HashMap::new();
        let locks = self.threads.iter().filter(|_| !self.has_gil());
        for (thread, stack, waits) in locks.flat_map(|(id, it)| it.waits_in.iter().map(move |(s, n)| (*id, *s, *n))) {
            let process = self.tree.thread(thread).map_or(ProcessId(0), |thread| thread.process);
            stack.iter().for_each(|stack| *counts.entry((process, *stack)).or_default() += waits);
        }
        for (id, stack, held) in self.gils.iter().flat_map(|(id, gil)| gil.held_in.iter().map(move |(s, h)| (id, s, h)))
        {
            if let Some(stack) = stack.filter(|_| held.blame > 0) {
                *counts.entry((id.process, stack)).or_default() += held.blame;
            }
        }
        self.tree.weighed(counts)
    }

    /// Ends the moment at hand if another one begins.
    fn begin_moment(&mut self, moment: (ProcessId, Duration)) {
        if self.moment.of.replace(moment).is_some_and(|of| of != moment) {
            self.end_moment();
            self.moment.of = Some(moment);
        }
    }

    fn end_moment(&mut self) {
        let Moment { gils, samples, .. } = std::mem::take(&mut self.moment);
        for gil in &gils {
            self.owners.insert((gil.process, gil.interpreter), GilId::of(gil));
            self.gils.entry(GilId::of(gil)).or_default().interpreters.insert(gil.interpreter);
        }
        for gil in gils.iter().filter(|gil| gil.interpreter == gil.owner) {
            let all = samples.iter().filter(|sample| self.owner(sample.thread) == Some(GilId::of(gil)));
            let all: Vec<&Sample> = all.collect();
            let is_holder = |sample: &Sample| gil.holder == GilHeld::By(sample.thread);
            let own = all.iter().copied().filter(|sample| is_holder(sample) || self.filter.wants(sample));
            let own: Vec<&Sample> = own.collect();
            let tree = &self.tree;
            let leaf = |stack| tree.stack(stack).map(|(frame, _)| frame);
            self.gils.entry(GilId::of(gil)).or_default().take(gil, &all, &own, leaf);
            if !self.is_of_all() {
                all.iter().for_each(|sample| self.everyone.entry(sample.thread).or_default().take(gil, sample));
            }
            let holder = match gil.holder {
                GilHeld::By(holder) => {
                    let of = samples.iter().find(|sample| sample.thread == holder);
                    Some((holder, of.and_then(|sample| sample.stack)))
                }
                _ => None,
            };
            for sample in own {
                if !self.filter.wants(sample) {
                    continue;
                }
                self.take_thread(gil, sample, holder);
            }
        }
    }

    fn take_thread(&mut self, gil: &GilSample, sample: &Sample, holder: Option<(ThreadId, Option<StackId>)>) {
        let thread = self.threads.entry(sample.thread).or_default();
        thread.take(gil, sample);
        if sample.state.is_blocked() {
            *thread.waits_in.entry(sample.stack).or_default() += sample.weight.slots();
        }
        if sample.state != ThreadState::WaitsForGil {
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
        let longest = &mut self.gils.entry(GilId::of(gil)).or_default().longest_wait;
        if longest.as_ref().is_none_or(|longest| wait.seen() > longest.seen()) {
            *longest = Some(wait.clone());
        }
        thread.wait = Some(wait);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sample::{Code, CodeId, Frame, GilState, ProcessId, Thread, Tid, Weight};

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

    pub(crate) const FIRST: GilId = GilId { process: ProcessId(0), owner: 0 };

    impl Script {
        pub(crate) fn new() -> Script {
            Script::of(GilAccount::default())
        }

        pub(crate) fn of(account: GilAccount) -> Script {
            let mut script = Script { account, at: Duration::ZERO };
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
            self.look_closely(holder, switches, states, None);
        }

        /// The same, and what the holder could do about it.
        pub(crate) fn look_closely(
            &mut self,
            holder: GilHeld,
            switches: u64,
            states: [ThreadState; 2],
            holding: Option<Holding>,
        ) {
            let gil = GilSample {
                at: self.at,
                process: ProcessId(0),
                interpreter: 0,
                owner: 0,
                holder,
                switches: Some(switches),
                interval: Some(Duration::from_millis(5)),
                is_collecting: false,
                holding,
                weight: Weight::ONE,
            };
            self.account.take(Event::Gil(gil));
            for (id, state) in states.into_iter().enumerate() {
                let (thread, stack) = (ThreadId(id as u32), Some(StackId(id as u32)));
                let gil = if holder == GilHeld::By(thread) { GilState::Held } else { GilState::NotHeld };
                self.account.take(Event::Sample(Sample {
                    at: self.at,
                    thread,
                    state,
                    gil,
                    stack,
                    weight: Weight::ONE,
                }));
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
        let gil = &account.gils()[&FIRST];
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
        let hold = account.gils()[&FIRST].longest_hold.clone().unwrap();
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
        let native = &account.gils()[&FIRST].native;
        assert_eq!(native[&FrameId(1)], Native { moments: 4, collecting: 0, longest: Duration::from_millis(20) });
        // 10 ms: that may be Python.
        assert_eq!(native.get(&FrameId(0)), None);
        let mut script = Script::new();
        for _ in 0..3 {
            script.look(A, 1, [PYTHON, WAITS]);
        }
        let account = script.end();
        let native = account.gils()[&FIRST].native[&FrameId(0)];
        assert_eq!(native, Native { moments: 3, collecting: 0, longest: Duration::from_millis(20) });
    }

    #[test]
    fn native_code_that_nobody_waits_for_is_not_accused() {
        let mut script = Script::new();
        for _ in 0..9 {
            script.look(A, 1, [NATIVE, SLEEPS]);
        }
        let account = script.end();
        assert_eq!(
            account.gils()[&FIRST].native[&FrameId(0)],
            Native { moments: 9, collecting: 0, longest: Duration::ZERO }
        );
    }

    /// `a` is in one place for 100 ms, in some state, while `b` waits; at each look it has had so much of the processors.
    fn stuck(state: ThreadState, holding: impl Fn(Duration) -> Holding) -> Native {
        let mut script = Script::new();
        for _ in 0..=10 {
            let holding = holding(script.at);
            script.look_closely(A, 1, [state, WAITS], Some(holding));
        }
        script.end().gils()[&FIRST].native.get(&FrameId(0)).copied().unwrap_or_default()
    }

    #[test]
    fn who_was_asked_and_had_a_processor_does_not_let_go_whatever_it_says() {
        let all = Duration::from_millis(100);
        for state in [PYTHON, NATIVE, ThreadState::CollectsGarbage] {
            let native = stuck(state, |at| Holding { is_asked: true, ran: at, queued: Duration::ZERO });
            assert_eq!((native.moments, native.longest), (11, all), "{state:?}");
            assert_eq!(native.collecting, if state == ThreadState::CollectsGarbage { 11 } else { 0 });
        }
        let native = stuck(SLEEPS, |_| Holding { is_asked: true, ran: Duration::ZERO, queued: Duration::ZERO });
        assert_eq!(native.longest, all);
    }

    #[test]
    fn who_has_no_processor_is_not_accused_of_not_letting_go() {
        for state in [PYTHON, NATIVE] {
            let native = stuck(state, |at| Holding { is_asked: true, ran: at / 20, queued: Duration::ZERO });
            assert_eq!(native.longest, Duration::ZERO, "{state:?}");
        }
        let native = stuck(SLEEPS, |at| Holding { is_asked: true, ran: Duration::ZERO, queued: at * 19 / 20 });
        assert_eq!(native.longest, Duration::ZERO);
    }

    #[test]
    fn who_was_not_asked_is_not_accused_of_not_letting_go() {
        for state in [PYTHON, NATIVE, SLEEPS] {
            let asked_at = Duration::from_millis(95);
            let native = stuck(state, |at| Holding { is_asked: at > asked_at, ran: at, queued: Duration::ZERO });
            assert_eq!(native.longest, Duration::ZERO, "{state:?}");
        }
    }

    #[test]
    fn a_wait_ends_where_the_thread_may_have_had_it_meanwhile() {
        let mut script = Script::new();
        for switches in [1, 2, 3, 5, 6] {
            script.look(A, switches, [PYTHON, WAITS]);
        }
        let wait = script.end().gils()[&FIRST].longest_wait.clone().unwrap();
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
        let gil = &account.gils()[&FIRST];
        assert_eq!((gil.moments(), gil.held_moments(), gil.unknown), (2, 2, 1));
        assert_eq!(gil.held_in[&None], Held { moments: 1, native: 0, blame: 1 });
    }

    #[test]
    fn the_gils_of_two_processes_are_two() {
        let mut account = GilAccount::default();
        for id in 0..2 {
            let thread = Thread {
                process: ProcessId(id),
                interpreter: 0,
                os_thread_id: Some(Tid(100 + id)),
                python_thread_id: 1,
                name: None,
            };
            account.take(Event::Thread(ThreadId(id), thread));
        }
        // Both were looked at in the very same moment.
        for (at, id) in [(1, 0), (1, 1), (2, 1), (3, 1), (3, 0)] {
            let (at, thread) = (Duration::from_millis(at), ThreadId(id));
            let gil = GilSample {
                at,
                process: ProcessId(id),
                interpreter: 0,
                owner: 0,
                holder: GilHeld::By(thread),
                switches: None,
                interval: None,
                is_collecting: false,
                holding: None,
                weight: Weight::ONE,
            };
            account.take(Event::Gil(gil));
            account.take(Event::Sample(Sample {
                at,
                thread,
                state: PYTHON,
                gil: GilState::Held,
                stack: None,
                weight: Weight::ONE,
            }));
        }
        account.finish();
        let looks = |process| account.gils()[&GilId { process: ProcessId(process), owner: 0 }].moments();
        assert_eq!((looks(0), looks(1)), (2, 3));
        assert_eq!(account.threads()[&ThreadId(1)].held.hits(), 3);
    }

    #[test]
    fn threads_that_are_not_wanted_are_blamed_and_not_told_of() {
        let rules = Rules { threads: vec![super::super::ThreadRule::Numbered(101)], ..Rules::default() };
        let mut script = Script::of(GilAccount::of(rules));
        script.look(A, 1, [PYTHON, WAITS]);
        script.look(B, 2, [WAITS, PYTHON]);
        let account = script.end();
        let gil = &account.gils()[&FIRST];
        assert_eq!((gil.moments(), gil.held_moments(), gil.waited, gil.waited_by_all), (2, 2, 1, 2));
        assert_eq!(account.everyone()[&ThreadId(0)].wanted.hits(), 1);
        assert_eq!(gil.held_in[&Some(StackId(0))].blame, 1);
        assert_eq!(account.threads().keys().collect::<Vec<_>>(), [&ThreadId(1)]);
        assert_eq!(account.left_out().threads, 2);
    }
}
