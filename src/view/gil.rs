//! Who held the GIL and who waited for it, as text for people and as JSON for programs. Both are written from one [`Report`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::dump::{Colour, Process, for_how_long, thread_name};
use super::summary::threads;
use crate::aggregate::gil::{Gil, Held, Hold, ThreadAccount, Wait};
use crate::aggregate::{CallTree, GilAccount, GilId, Share};
use crate::printable::printable;
use crate::sample::{Code, CodeId, FrameId, GilState, StackId, Tally, ThreadId, ThreadState, Tid};
use crate::target::cgroup::Throttling;

/// The version of the JSON's shape. It grows when a reader of the old one would be misled.
pub const SCHEMA: u32 = 1;
/// Functions, call paths, threads and places shown as text.
const SHOWN: usize = 10;
/// Call paths shown as text.
const PATHS_SHOWN: usize = 5;
/// Call paths told to programs.
const PATHS_TOLD: usize = 100;
/// With fewer looks a share says little.
const FEW: u64 = 100;
/// A thread wants the GIL if it waits for so much of its time.
const WANTS: f64 = 0.01;

/// What a frame is called: its code object and its line to text.
pub type Name<'a> = &'a dyn Fn(&Code, Option<u32>) -> String;

/// Who held the GILs of a process, and who waited for them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    #[serde(flatten)]
    process: Process,
    seconds: f64,
    samples: Samples,
    /// By which CPU limit the process was throttled meanwhile, as far as that is known.
    throttled: Option<Throttling>,
    told_of: ToldOf,
    gils: Vec<Part>,
}

/// The account of the recording.
#[derive(Clone, Copy, Debug, Serialize)]
struct Samples {
    asked: u64,
    taken: u64,
    late: u64,
    left_out: u64,
    failed: u64,
    unreadable: u64,
    dropped: u64,
    stopped_seconds: f64,
    own_cpu_seconds: f64,
}

/// Whose waiting is told of. Whom they waited for is told of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ToldOf {
    Everyone,
    /// Threads and stacks that were chosen.
    Chosen,
}

impl ToldOf {
    /// Those who wait, in a sentence.
    fn waiting(self) -> &'static str {
        match self {
            ToldOf::Everyone => "others",
            ToldOf::Chosen => "chosen threads",
        }
    }
}

/// What all threads did, whichever are told of.
#[derive(Clone, Copy, Debug, Serialize)]
struct Everyone {
    /// How many were seen.
    threads: usize,
    /// How many wanted the GIL for more than a moment.
    wanting: usize,
    waiting_threads: f64,
    /// How many ran, and were held up by others, at a time.
    running_threads: f64,
    blocked_threads: f64,
}

/// One GIL, or an interpreter without one.
#[derive(Clone, Debug, Serialize)]
struct Part {
    /// The process, where it was told.
    pid: Option<u32>,
    #[serde(skip)]
    program: String,
    interpreters: Vec<i64>,
    exists: bool,
    verdict: Vec<String>,
    everyone: Everyone,
    held: Option<Shared>,
    collecting: f64,
    unknown: f64,
    waiting_threads: f64,
    waiting_for_nobody: f64,
    /// The part of the looks at which some thread was stopped by a signal or a debugger.
    stopped: f64,
    /// The part of the looks at which some thread waited for the world to go on.
    suspended: f64,
    switch_interval_seconds: Option<f64>,
    switches_per_second: Option<f64>,
    threads: Vec<ThreadPart>,
    functions: Vec<FunctionPart>,
    blame: Vec<PathPart>,
    /// How many call paths there are; of `blame` those of most weight are told.
    blame_paths: usize,
    native: Vec<NativePart>,
    longest_hold: Option<HoldPart>,
    longest_wait: Option<WaitPart>,
    lock_waits: Vec<PathPart>,
}

/// A share and its interval.
#[derive(Clone, Copy, Debug, Serialize)]
struct Shared {
    share: f64,
    low: f64,
    high: f64,
    looks: u64,
}

impl From<Share> for Shared {
    fn from(share: Share) -> Shared {
        Shared { share: share.seen, low: share.low, high: share.high, looks: share.looks }
    }
}

#[derive(Clone, Debug, Serialize)]
struct ThreadPart {
    name: Option<String>,
    os_thread_id: Option<Tid>,
    python_thread_id: u64,
    interpreter: i64,
    looks: u64,
    /// For how many periods they stand, where that is more: what the states are parts of.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u64>,
    held: Option<Shared>,
    wanted: Option<Shared>,
    neither: Option<f64>,
    runs: f64,
    /// Held up by others: waiting for a lock, or for the world to go on.
    blocked: f64,
    /// Moments by what the thread was doing.
    states: BTreeMap<ThreadState, u64>,
}

/// Shares of the holding time and of the others' waiting time.
#[derive(Clone, Debug, Serialize)]
struct FunctionPart {
    function: String,
    held_self: f64,
    held_total: f64,
    native_self: f64,
    blame_self: f64,
    blame_total: f64,
    samples: u64,
}

#[derive(Clone, Debug, Serialize)]
struct PathPart {
    share: f64,
    seconds: f64,
    samples: u64,
    /// Outermost first.
    stack: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct NativePart {
    call: String,
    /// Of the time in which the GIL was held.
    held: f64,
    samples: u64,
    /// Those of them in which garbage was collected.
    collecting_samples: u64,
    /// In one go, while others waited; 0 if it lets go.
    longest_seconds: f64,
    lets_go: bool,
}

#[derive(Clone, Debug, Serialize)]
struct HoldPart {
    seconds: f64,
    #[serde(flatten)]
    by: Place,
    waited: Vec<Place>,
}

#[derive(Clone, Debug, Serialize)]
struct WaitPart {
    seconds: f64,
    #[serde(flatten)]
    of: Place,
    holder: Option<Place>,
}

impl NativePart {
    /// Whether it is the collection of garbage, wherever that was set off, more than what is called there.
    fn collects(&self) -> bool {
        2 * self.collecting_samples > self.samples
    }
}

/// A thread and its stack, outermost first.
#[derive(Clone, Debug, Serialize)]
struct Place {
    name: Option<String>,
    os_thread_id: Option<Tid>,
    python_thread_id: Option<u64>,
    stack: Vec<String>,
}

impl Report {
    /// Puts together what is known of a recording of so long a time.
    pub fn new(process: Process, account: &GilAccount, elapsed: Duration, tally: &Tally, name: Name) -> Report {
        let teller = Teller { account, tree: account.tree(), elapsed, name };
        let samples = Samples {
            asked: tally.asked,
            taken: tally.taken,
            late: tally.late,
            left_out: tally.stretched.saturating_add(tally.spared),
            failed: tally.failed,
            unreadable: tally.torn + tally.unmapped + tally.invalid,
            dropped: tally.dropped,
            stopped_seconds: tally.stopped.total.as_secs_f64(),
            own_cpu_seconds: tally.own_cpu.as_secs_f64(),
        };
        let gils = account.gils().iter().map(|(owner, gil)| teller.part(*owner, gil)).collect();
        let (schema, pysample) = (SCHEMA, env!("CARGO_PKG_VERSION"));
        let told_of = teller.told_of();
        let seconds = elapsed.as_secs_f64();
        Report { schema, pysample, process, seconds, samples, throttled: None, told_of, gils }
    }

    /// The same, with what is known of a CPU limit.
    pub fn with_throttling(self, throttled: Option<Throttling>) -> Report {
        Report { throttled, ..self }
    }

    /// Writes the report for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the report for a person.
    pub fn write_text(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        let mut page = Page { out, colour, told_of: self.told_of };
        if self.gils.is_empty() {
            writeln!(page.out, "Nothing was seen of a GIL.")?;
        }
        for (index, part) in self.gils.iter().enumerate() {
            if index > 0 {
                writeln!(page.out)?;
            }
            page.title(part, &self.gils)?;
            page.part(part)?;
        }
        Ok(())
    }
}

/// Puts words to an account.
struct Teller<'a> {
    account: &'a GilAccount,
    tree: &'a CallTree,
    elapsed: Duration,
    name: Name<'a>,
}

impl Teller<'_> {
    fn part(&self, owner: GilId, gil: &Gil) -> Part {
        let moments = gil.moments().max(1) as f64;
        // Those at which it was not known who held it included.
        let looks = (gil.moments() + gil.unknown).max(1) as f64;
        let threads = self.threads(owner, gil.exists);
        let functions = self.functions(gil);
        let process = self.tree.process(owner.process);
        let mut part = Part {
            pid: process.map(|process| process.pid),
            program: process.map(|process| process.program()).unwrap_or_default(),
            interpreters: gil.interpreters.iter().copied().collect(),
            exists: gil.exists,
            verdict: Vec::new(),
            everyone: self.everyone(owner, gil),
            held: gil.held().filter(|_| gil.exists).map(Shared::from),
            collecting: gil.collecting as f64 / moments,
            unknown: gil.unknown as f64 / looks,
            waiting_threads: gil.waited as f64 / moments,
            waiting_for_nobody: ratio(gil.waited_for_nobody, gil.waited),
            stopped: gil.stopped as f64 / looks,
            suspended: gil.suspended as f64 / looks,
            switch_interval_seconds: gil.interval.filter(|_| gil.exists).map(|interval| interval.as_secs_f64()),
            switches_per_second: gil.switches_per_second(),
            threads,
            functions,
            blame: self.paths(gil.held_in.iter().map(|(stack, held)| (*stack, held.blame)), gil.waited, gil.moments()),
            blame_paths: gil.held_in.values().filter(|held| held.blame > 0).count(),
            native: self.native(gil),
            longest_hold: gil.longest_hold.as_ref().map(|hold| self.hold(hold)),
            longest_wait: gil.longest_wait.as_ref().map(|wait| self.wait(wait)),
            lock_waits: self.lock_waits(owner, gil.moments()),
        };
        part.verdict = self.verdict(&part, gil);
        part
    }

    fn told_of(&self) -> ToldOf {
        if self.account.is_of_all() { ToldOf::Everyone } else { ToldOf::Chosen }
    }

    fn everyone(&self, owner: GilId, gil: &Gil) -> Everyone {
        let own = || self.account.everyone().iter().filter(|(id, _)| self.account.owner(**id) == Some(owner));
        // One hit among few looks proves nothing.
        let wants = |account: &ThreadAccount| {
            account.wanted.hits() >= 3 && ratio(account.wanted.hit_slots(), account.wanted.slots()) >= WANTS
        };
        Everyone {
            threads: own().count(),
            wanting: own().filter(|(_, account)| wants(account)).count(),
            waiting_threads: gil.waited_by_all as f64 / gil.moments().max(1) as f64,
            running_threads: own().map(|(_, account)| account.share(ThreadState::runs)).sum(),
            blocked_threads: own().map(|(_, account)| account.share(ThreadState::is_blocked)).sum(),
        }
    }

    /// Those first that held the GIL or wanted it most; without one, those that ran most.
    fn threads(&self, owner: GilId, has_gil: bool) -> Vec<ThreadPart> {
        let own = self.account.threads().iter().filter(|(id, _)| self.account.owner(**id) == Some(owner));
        let mut parts: Vec<(u64, ThreadPart)> = own
            .filter_map(|(id, account)| {
                let part = self.thread(*id, account, has_gil)?;
                let weight = match has_gil {
                    true => account.held.hit_slots() + account.wanted.hit_slots(),
                    false => ((part.runs + part.blocked) * account.held.slots() as f64) as u64,
                };
                Some((weight, part))
            })
            .collect();
        parts.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn thread(&self, id: ThreadId, account: &ThreadAccount, has_gil: bool) -> Option<ThreadPart> {
        let thread = self.tree.thread(id)?;
        let (held, wanted) = (account.held.share()?, account.wanted.share()?);
        let states = ThreadState::ALL.into_iter().zip(account.states).filter(|(_, looks)| *looks > 0).collect();
        Some(ThreadPart {
            name: thread.name.as_deref().map(String::from),
            os_thread_id: thread.os_thread_id,
            python_thread_id: thread.python_thread_id,
            interpreter: thread.interpreter,
            looks: account.held.looks(),
            slots: Some(account.held.slots()).filter(|&slots| slots != account.held.looks()),
            held: has_gil.then(|| held.into()),
            wanted: has_gil.then(|| wanted.into()),
            neither: has_gil.then(|| (1.0 - held.seen - wanted.seen).max(0.0)),
            runs: account.share(ThreadState::runs),
            blocked: account.share(ThreadState::is_blocked),
            states,
        })
    }

    /// Every function that was on a holder's stack, those first that others waited for most.
    fn functions(&self, gil: &Gil) -> Vec<FunctionPart> {
        #[derive(Default)]
        struct Sums {
            own: Held,
            total: Held,
        }
        let mut sums: HashMap<CodeId, Sums> = HashMap::new();
        let mut seen = HashSet::new();
        for (stack, held) in &gil.held_in {
            seen.clear();
            let mut next = *stack;
            while let Some((frame, caller)) = next.and_then(|stack| self.tree.stack(stack)) {
                if let Some(frame) = self.tree.frames().get(frame.index()) {
                    let sums = sums.entry(frame.code).or_default();
                    if seen.is_empty() {
                        add(&mut sums.own, held);
                    }
                    if seen.insert(frame.code) {
                        add(&mut sums.total, held);
                    }
                }
                next = caller;
            }
        }
        let (held, blame) = (gil.held_moments(), gil.waited);
        let mut parts: Vec<FunctionPart> = sums
            .into_iter()
            .filter_map(|(code, Sums { own, total })| {
                let code = self.tree.code(code)?;
                Some(FunctionPart {
                    function: (self.name)(code, Some(code.first_line)),
                    held_self: ratio(own.moments, held),
                    held_total: ratio(total.moments, held),
                    native_self: ratio(own.native, held),
                    blame_self: ratio(own.blame, blame),
                    blame_total: ratio(total.blame, blame),
                    samples: total.moments,
                })
            })
            .collect();
        let key = |part: &FunctionPart| (part.blame_self, part.held_self, part.held_total);
        parts.sort_by(|a, b| {
            key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.function.cmp(&b.function))
        });
        parts
    }

    /// The stacks of most weight, as shares of `all`; so many looks took all the time.
    fn paths(&self, weights: impl Iterator<Item = (Option<StackId>, u64)>, all: u64, moments: u64) -> Vec<PathPart> {
        let mut weights: Vec<(Option<StackId>, u64)> = weights.filter(|(_, weight)| *weight > 0).collect();
        weights.sort_by_key(|(stack, weight)| (std::cmp::Reverse(*weight), *stack));
        let seconds = |weight: u64| self.elapsed.as_secs_f64() * ratio(weight, moments);
        let parts = weights.into_iter().take(PATHS_TOLD).map(|(stack, weight)| PathPart {
            share: ratio(weight, all),
            seconds: seconds(weight),
            samples: weight,
            stack: self.stack(stack),
        });
        parts.collect()
    }

    fn lock_waits(&self, owner: GilId, moments: u64) -> Vec<PathPart> {
        let own = self.account.threads().iter().filter(|(id, _)| self.account.owner(**id) == Some(owner));
        let mut waits: HashMap<Option<StackId>, u64> = HashMap::new();
        for (stack, count) in own.flat_map(|(_, account)| &account.waits_in) {
            *waits.entry(*stack).or_default() += count;
        }
        let all = waits.values().sum();
        self.paths(waits.into_iter(), all, moments)
    }

    fn native(&self, gil: &Gil) -> Vec<NativePart> {
        let mut parts: Vec<NativePart> = gil
            .native
            .iter()
            .map(|(frame, native)| NativePart {
                call: self.frame(*frame),
                held: ratio(native.moments, gil.held_moments()),
                samples: native.moments,
                collecting_samples: native.collecting,
                longest_seconds: native.longest.as_secs_f64(),
                lets_go: native.longest.is_zero(),
            })
            .collect();
        parts.sort_by(|a, b| {
            b.longest_seconds.total_cmp(&a.longest_seconds).then(b.samples.cmp(&a.samples)).then(a.call.cmp(&b.call))
        });
        parts
    }

    fn hold(&self, hold: &Hold) -> HoldPart {
        HoldPart {
            seconds: hold.seen().as_secs_f64(),
            by: self.place(hold.thread, hold.stack),
            waited: hold.waiters.iter().map(|(thread, stack)| self.place(*thread, *stack)).collect(),
        }
    }

    fn wait(&self, wait: &Wait) -> WaitPart {
        WaitPart {
            seconds: wait.seen().as_secs_f64(),
            of: self.place(wait.thread, wait.stack),
            holder: wait.holder.map(|(thread, stack)| self.place(thread, stack)),
        }
    }

    fn place(&self, thread: ThreadId, stack: Option<StackId>) -> Place {
        let thread = self.tree.thread(thread);
        Place {
            name: thread.and_then(|thread| thread.name.as_deref()).map(String::from),
            os_thread_id: thread.and_then(|thread| thread.os_thread_id),
            python_thread_id: thread.map(|thread| thread.python_thread_id),
            stack: self.stack(stack),
        }
    }

    /// Outermost first.
    fn stack(&self, stack: Option<StackId>) -> Vec<String> {
        let mut names = Vec::new();
        let mut next = stack;
        while let Some((frame, caller)) = next.and_then(|stack| self.tree.stack(stack)) {
            names.push(self.frame(frame));
            next = caller;
        }
        names.reverse();
        names
    }

    fn frame(&self, frame: FrameId) -> String {
        let frame = self.tree.frames().get(frame.index());
        match frame.and_then(|frame| Some((self.tree.code(frame.code)?, frame.line))) {
            Some((code, line)) => (self.name)(code, line),
            None => "unknown (?)".into(),
        }
    }
}

fn add(to: &mut Held, held: &Held) {
    to.moments += held.moments;
    to.native += held.native;
    to.blame += held.blame;
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Teller<'_> {
    /// What the figures mean, in sentences.
    fn verdict(&self, part: &Part, gil: &Gil) -> Vec<String> {
        let mut said = Vec::new();
        if gil.looks() < FEW {
            said.push(format!("With so few looks ({}) the shares say little.", gil.looks()));
        }
        if part.stopped > 0.01 {
            let share = 100.0 * part.stopped;
            said.push(format!("For {share:.0} % of the time threads were stopped, by a signal or a debugger."));
        }
        match part.held {
            None => said.extend(without_gil(part)),
            Some(held) => self.with_gil(part, gil, held, &mut said),
        }
        said
    }

    fn with_gil(&self, part: &Part, gil: &Gil, held: Shared, said: &mut Vec<String>) {
        let Everyone { wanting, waiting_threads: waiting, .. } = part.everyone;
        let of = format!(
            "The GIL is held {:.1} % of the time (95 % interval: {:.1} to {:.1})",
            100.0 * held.share,
            100.0 * held.low,
            100.0 * held.high
        );
        said.push(match (wanting, held.share) {
            // What a program does that does not run says nothing of how it runs.
            (0, _) if part.stopped > 0.5 => format!("{of}, and nobody is seen to wait for it."),
            (0, 0.9..) => format!("{of}, and nobody waits for it: one thread at a time is all there is to run."),
            (0, _) => format!("{of}, and nobody waits for it: it is not what slows this program down."),
            (1, _) => format!("{of}; 1 thread wants it, and {waiting:.2} wait at a time."),
            (more, _) => format!("{of}; {} want it, and {waiting:.2} wait at a time.", threads(more)),
        });
        said.extend(self.chosen(part, gil));
        if part.collecting > 0.05 {
            said.push(format!("For {:.0} % of the time its holder collects garbage.", 100.0 * part.collecting));
        }
        if wanting > 0 {
            said.extend(self.most_blamed(gil));
            if part.waiting_for_nobody > 0.05 {
                let share = 100.0 * part.waiting_for_nobody;
                said.push(format!(
                    "{share:.0} % of it falls into moments in which nobody held it: it was being handed over."
                ));
            }
        }
        for native in part.native.iter().filter(|native| !native.lets_go).take(3) {
            let what = match native.collects() {
                true => "collects garbage, which does",
                false => "calls native code that does",
            };
            said.push(format!(
                "{} {what} not let go of the GIL: up to {} in one go while {} waited.",
                native.call,
                for_how_long(native.longest_seconds),
                self.told_of().waiting()
            ));
        }
        if part.unknown > 0.01 {
            said.push(format!("For {:.1} % of the time it is not known who held it.", 100.0 * part.unknown));
        }
    }

    /// What there is to say of those that were chosen: all that follows is of them.
    fn chosen(&self, part: &Part, gil: &Gil) -> Option<String> {
        if self.told_of() == ToldOf::Everyone {
            return None;
        }
        let of = format!("Chosen were {} of {}", part.threads.len(), threads(part.everyone.threads));
        Some(match gil.waited {
            0 => format!("{of}, and what was chosen of them does not wait for it."),
            _ => format!("{of}: of these {:.2} wait at a time, and theirs is the waiting below.", part.waiting_threads),
        })
    }

    /// The function that ran while others waited most, at its line at which they did most.
    fn most_blamed(&self, gil: &Gil) -> Option<String> {
        let mut by_code: BTreeMap<CodeId, (u64, BTreeMap<FrameId, u64>)> = BTreeMap::new();
        for (stack, held) in &gil.held_in {
            let Some((id, _)) = stack.and_then(|stack| self.tree.stack(stack)) else { continue };
            let Some(frame) = self.tree.frames().get(id.index()) else { continue };
            let (all, lines) = by_code.entry(frame.code).or_default();
            *all += held.blame;
            *lines.entry(id).or_default() += held.blame;
        }
        let (blame, lines) = by_code.into_values().max_by_key(|(blame, _)| *blame).filter(|(blame, _)| *blame > 0)?;
        let (line, _) = lines.into_iter().max_by_key(|(_, blame)| *blame)?;
        Some(format!("{:.0} % of the waiting is caused by {}.", 100.0 * ratio(blame, gil.waited), self.frame(line)))
    }
}

fn without_gil(part: &Part) -> Vec<String> {
    let mut said = vec!["There is no GIL: this Python is free-threaded.".into()];
    let Everyone { running_threads: running, blocked_threads: blocked, .. } = part.everyone;
    said.push(format!("{running:.2} threads run at a time, and {blocked:.2} are held up by a lock or by the others."));
    if part.suspended > 0.01 {
        said.push(format!("For {:.1} % of the time the world was stopped.", 100.0 * part.suspended));
    }
    said
}

impl Place {
    fn words(&self) -> String {
        let name = thread_name(self.name.as_deref());
        match self.os_thread_id {
            Some(id) => format!("{name} ({id})"),
            None => name,
        }
    }
}

struct Page<'a> {
    out: &'a mut dyn Write,
    colour: Colour,
    told_of: ToldOf,
}

impl Page<'_> {
    /// Whose GIL it is, where there are several.
    fn title(&mut self, part: &Part, all: &[Part]) -> io::Result<()> {
        let mut titles = Vec::new();
        if all.iter().any(|other| other.pid != part.pid) {
            let pid = part.pid.map_or("?".into(), |pid| pid.to_string());
            titles.push(format!("{} (pid {pid})", printable(&part.program)));
        }
        if all.iter().filter(|other| other.pid == part.pid).count() > 1 {
            let ids: Vec<String> = part.interpreters.iter().map(i64::to_string).collect();
            let interpreters = if ids.len() == 1 { "Interpreter" } else { "Interpreters" };
            titles.push(format!("{interpreters} {}", ids.join(", ")));
        }
        match titles.is_empty() {
            true => Ok(()),
            false => writeln!(self.out, "{}", self.bold(&titles.join(", "))),
        }
    }

    fn part(&mut self, part: &Part) -> io::Result<()> {
        for line in &part.verdict {
            writeln!(self.out, "{}", self.bold(&printable(line)))?;
        }
        self.threads(part)?;
        self.functions(part)?;
        let waiting = match self.told_of {
            ToldOf::Everyone => "the others",
            ToldOf::Chosen => "the chosen threads",
        };
        self.paths(&format!("Whom {waiting} waited for, by call path"), &part.blame, part.exists)?;
        self.native(part)?;
        self.longest(part)?;
        let whose = match self.told_of {
            ToldOf::Everyone => "Waits",
            ToldOf::Chosen => "Waits of the chosen threads",
        };
        self.paths(&format!("{whose} for locks, by call path"), &part.lock_waits, !part.exists)
    }

    fn threads(&mut self, part: &Part) -> io::Result<()> {
        if part.threads.is_empty() {
            return match self.told_of {
                ToldOf::Everyone => writeln!(self.out, "No thread was seen."),
                ToldOf::Chosen => writeln!(self.out, "No thread that was chosen was seen."),
            };
        }
        let (first, second) = if part.exists { ("held", "wanted") } else { ("runs", "locked") };
        let most = part.threads.iter().map(|thread| thread.looks).max().unwrap_or(0);
        writeln!(self.out, "\n    {first:>5} %  {second:>6} %  neither %  thread")?;
        for thread in part.threads.iter().take(SHOWN) {
            let (held, wanted) = match (thread.held, thread.wanted) {
                (Some(held), Some(wanted)) => (held.share, wanted.share),
                _ => (thread.runs, thread.blocked),
            };
            let name = thread.name.as_deref().map_or("without a name".into(), printable);
            let id = thread.os_thread_id.map(|id| format!(" ({id})")).unwrap_or_default();
            let neither = (1.0 - held - wanted).max(0.0);
            let [held, wanted, neither] = [held, wanted, neither].map(|share| 100.0 * share);
            let mostly = thread.mostly(part.exists);
            // One that was not there all the time.
            let looks = match thread.looks {
                looks if looks < most - most / 20 => format!(", in {looks} looks"),
                _ => String::new(),
            };
            writeln!(self.out, "    {held:>7.1}  {wanted:>8.1}  {neither:>9.1}  {name}{id}: {mostly}{looks}")?;
        }
        self.more(part.threads.len(), SHOWN, "threads")?;
        match part.everyone.threads.saturating_sub(part.threads.len()) {
            0 => {}
            1 => writeln!(self.out, "    1 thread that was not chosen is left out")?,
            more => writeln!(self.out, "    {more} threads that were not chosen are left out")?,
        }
        match part.switches_per_second.filter(|_| part.exists) {
            Some(switches) => writeln!(self.out, "    It passes from thread to thread {switches:.1} times a second."),
            None => Ok(()),
        }
    }

    fn functions(&mut self, part: &Part) -> io::Result<()> {
        if part.functions.is_empty() || !part.exists {
            return Ok(());
        }
        if self.told_of == ToldOf::Chosen {
            writeln!(self.out, "\nFunctions that held it, of all threads; blame is the waiting of the chosen ones:")?;
        } else {
            writeln!(self.out)?;
        }
        writeln!(self.out, "    blame self  total %  held self  total %  function")?;
        for function in part.functions.iter().take(SHOWN) {
            let shares = [function.blame_self, function.blame_total, function.held_self, function.held_total];
            let [blame_self, blame_total, held_self, held_total] = shares.map(|share| 100.0 * share);
            let name = printable(&function.function);
            writeln!(
                self.out,
                "    {blame_self:>10.1}  {blame_total:>7.1}  {held_self:>9.1}  {held_total:>7.1}  {name}"
            )?;
        }
        self.more(part.functions.len(), SHOWN, "functions")
    }

    fn paths(&mut self, title: &str, paths: &[PathPart], is_wanted: bool) -> io::Result<()> {
        if paths.is_empty() || !is_wanted {
            return Ok(());
        }
        writeln!(self.out, "\n{title}:")?;
        for path in paths.iter().take(PATHS_SHOWN) {
            let (share, time) = (100.0 * path.share, for_how_long(path.seconds));
            writeln!(self.out, "    {share:>5.1} %, {time} in all: {}", way(&path.stack))?;
        }
        self.more(paths.len(), PATHS_SHOWN, "paths")
    }

    fn native(&mut self, part: &Part) -> io::Result<()> {
        if part.native.is_empty() || !part.exists {
            return Ok(());
        }
        writeln!(self.out, "\nNative code that held the GIL:")?;
        for native in part.native.iter().take(PATHS_SHOWN) {
            let longest = match native.longest_seconds {
                0.0 => String::new(),
                seconds => {
                    let waiting = self.told_of.waiting();
                    format!(", up to {} in one go while {waiting} waited", for_how_long(seconds))
                }
            };
            let call = printable(&native.call);
            let garbage = if native.collects() { ", collecting garbage" } else { "" };
            writeln!(self.out, "    {:>5.1} % of the holding: {call}{garbage}{longest}", 100.0 * native.held)?;
        }
        self.more(part.native.len(), PATHS_SHOWN, "calls")
    }

    fn longest(&mut self, part: &Part) -> io::Result<()> {
        if let Some(hold) = part.longest_hold.as_ref().filter(|hold| hold.seconds > 0.0) {
            let time = for_how_long(hold.seconds);
            let waiting = self.told_of.waiting();
            writeln!(
                self.out,
                "\nThe longest hold that was seen while {waiting} waited: {time} by {}",
                hold.by.words()
            )?;
            writeln!(self.out, "    {}", way(&hold.by.stack))?;
            for waited in hold.waited.iter().take(PATHS_SHOWN) {
                writeln!(self.out, "    while {} waited: {}", waited.words(), way(&waited.stack))?;
            }
            self.more(hold.waited.len(), PATHS_SHOWN, "waited")?;
        }
        if let Some(wait) = part.longest_wait.as_ref().filter(|wait| wait.seconds > 0.0) {
            let time = for_how_long(wait.seconds);
            let whose = if self.told_of == ToldOf::Chosen { " of a chosen thread" } else { "" };
            writeln!(self.out, "\nThe longest wait{whose} that was seen: {time} of {}", wait.of.words())?;
            writeln!(self.out, "    {}", way(&wait.of.stack))?;
            if let Some(holder) = &wait.holder {
                writeln!(self.out, "    held by {} at its end: {}", holder.words(), way(&holder.stack))?;
            }
        }
        Ok(())
    }

    fn more(&mut self, number: usize, shown: usize, what: &str) -> io::Result<()> {
        match number.saturating_sub(shown) {
            0 => Ok(()),
            more => writeln!(self.out, "    ... and {more} more {what}; --json tells all"),
        }
    }

    fn bold(&self, text: &str) -> String {
        match self.colour {
            Colour::Ansi => format!("{BOLD}{text}{BOLD:#}"),
            Colour::None => text.into(),
        }
    }
}

const BOLD: anstyle::Style = anstyle::Style::new().bold();
impl ThreadPart {
    /// What it was doing most of the time.
    fn mostly(&self, has_gil: bool) -> &'static str {
        let gil = if has_gil { GilState::Unknown } else { GilState::None };
        let most = self.states.iter().max_by_key(|(_, moments)| **moments);
        most.map_or("not known", |(state, _)| state.text(gil))
    }
}

/// A stack on one line: its outermost frame, what is left out, and its innermost frames.
fn way(stack: &[String]) -> String {
    /// Innermost frames that are shown.
    const INNERMOST: usize = 4;
    let words: Vec<_> = stack.iter().map(|name| printable(name)).collect();
    match words.len() {
        0 => "no Python frames".into(),
        number if number <= INNERMOST + 1 => words.join(" > "),
        number => format!("{} > ... > {}", words[0], words[number - INNERMOST..].join(" > ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dump::Python;
    use super::*;
    use crate::aggregate::gil::tests::{NATIVE, PYTHON, SLEEPS, Script, WAITS};
    use crate::aggregate::{Rules, ThreadRule};
    use crate::sample::GilHeld;

    fn report(account: &GilAccount) -> Report {
        let process = Process {
            pid: 4242,
            pid_inside: None,
            command: vec!["python3".into(), "app.py".into()],
            python: Python { version: "3.11.7".into(), build: "release".into(), found: "symbol".into() },
        };
        let name = |code: &Code, line: Option<u32>| format!("{} ({}:{})", code.function, code.file, line.unwrap_or(0));
        Report::new(process, account, Duration::from_secs(2), &Tally::default(), &name)
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_text(Colour::None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn contended() -> GilAccount {
        let mut script = Script::new();
        for _ in 0..30 {
            for _ in 0..4 {
                script.look(GilHeld::By(ThreadId(0)), 1, [NATIVE, WAITS]);
            }
            script.look(GilHeld::By(ThreadId(1)), 2, [WAITS, PYTHON]);
            script.look(GilHeld::Free, 2, [SLEEPS, SLEEPS]);
        }
        script.end()
    }

    #[test]
    fn the_text_says_who_holds_it_who_waits_and_because_of_what() {
        assert_eq!(
            text(&report(&contended())),
            "\
The GIL is held 83.3 % of the time (95 % interval: 77.2 to 88.1); 2 threads want it, and 0.83 wait at a time.
80 % of the waiting is caused by a (a.py:10).
a (a.py:10) calls native code that does not let go of the GIL: up to 30 ms in one go while others waited.

     held %  wanted %  neither %  thread
       66.7      16.7       16.7  a (100): runs native code
       16.7      66.7       16.7  b (101): waits for the GIL
    It passes from thread to thread 0.6 times a second.

    blame self  total %  held self  total %  function
          80.0     80.0       80.0     80.0  a (a.py:1)
          20.0     20.0       20.0     20.0  b (b.py:1)

Whom the others waited for, by call path:
     80.0 %, 1.3 s in all: a (a.py:10)
     20.0 %, 333 ms in all: b (b.py:11)

Native code that held the GIL:
     80.0 % of the holding: a (a.py:10), up to 30 ms in one go while others waited

The longest hold that was seen while others waited: 30 ms by \"a\" (100)
    a (a.py:10)
    while \"b\" (101) waited: b (b.py:11)

The longest wait that was seen: 30 ms of \"b\" (101)
    b (b.py:11)
    held by \"a\" (100) at its end: a (a.py:10)
"
        );
    }

    /// `a` holds the GIL and `b` waits for it, four looks of five; of `chosen`, an OS thread id, is told.
    fn chosen(chosen: u32) -> GilAccount {
        let rules = Rules { threads: vec![ThreadRule::Numbered(chosen)], ..Rules::default() };
        let mut script = Script::of(GilAccount::of(rules));
        for look in 0..200 {
            match look % 5 {
                0 => script.look(GilHeld::Free, look, [SLEEPS, SLEEPS]),
                _ => script.look(GilHeld::By(ThreadId(0)), look, [PYTHON, WAITS]),
            }
        }
        script.end()
    }

    #[test]
    fn the_verdict_is_on_the_process_whichever_threads_are_chosen() {
        for (thread, of_it) in [
            (100, "Chosen were 1 of 2 threads, and what was chosen of them does not wait for it."),
            (101, "Chosen were 1 of 2 threads: of these 0.80 wait at a time, and theirs is the waiting below."),
        ] {
            let report = report(&chosen(thread));
            let told = text(&report);
            let mut lines = told.lines();
            let first = lines.next().unwrap();
            assert!(first.starts_with("The GIL is held 80.0 % of the time"), "{told}");
            assert!(first.ends_with("; 1 thread wants it, and 0.80 wait at a time."), "{told}");
            assert_eq!(lines.next(), Some(of_it), "{told}");
            assert!(told.contains("    1 thread that was not chosen is left out\n"), "{told}");
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!((&json["told_of"], &json["gils"][0]["everyone"]["wanting"]), (&"chosen".into(), &1.into()));
        }
    }

    #[test]
    fn tables_say_whose_waiting_they_tell_of() {
        let told = text(&report(&chosen(101)));
        for title in [
            "Functions that held it, of all threads; blame is the waiting of the chosen ones:",
            "Whom the chosen threads waited for, by call path:",
            "The longest wait of a chosen thread that was seen:",
        ] {
            assert!(told.contains(title), "{title}\n{told}");
        }
        assert!(!told.contains("others waited"), "{told}");
    }

    #[test]
    fn without_a_gil_the_verdict_is_on_the_process_too() {
        let rules = Rules { threads: vec![ThreadRule::Numbered(101)], ..Rules::default() };
        let mut script = Script::of(GilAccount::of(rules));
        for _ in 0..200 {
            script.look(GilHeld::None, 0, [ThreadState::WaitsForLock, PYTHON]);
        }
        let told = text(&report(&script.end()));
        assert!(told.contains("1.00 threads run at a time, and 1.00 are held up by a lock"), "{told}");
    }

    #[test]
    fn few_looks_are_called_few() {
        let mut script = Script::new();
        script.look(GilHeld::By(ThreadId(0)), 1, [PYTHON, SLEEPS]);
        let told = text(&report(&script.end()));
        assert!(told.starts_with("With so few looks (1) the shares say little.\nThe GIL is held"), "{told}");
        assert!(told.contains("and nobody waits for it"), "{told}");
    }

    #[test]
    fn garbage_that_is_collected_is_called_so() {
        let mut script = Script::new();
        for _ in 0..200 {
            script.look(GilHeld::By(ThreadId(0)), 1, [ThreadState::CollectsGarbage, WAITS]);
        }
        let told = text(&report(&script.end()));
        for words in [
            "For 100 % of the time its holder collects garbage.",
            "a (a.py:10) collects garbage, which does not let go of the GIL: up to 2.0 s in one go while others waited.",
            "    100.0 % of the holding: a (a.py:10), collecting garbage, up to 2.0 s in one go while others waited",
        ] {
            assert!(told.contains(words), "{words}\n{told}");
        }
        assert!(!told.contains("calls native code"), "{told}");
    }

    #[test]
    fn of_a_program_that_is_stopped_it_is_not_said_what_there_is_to_run() {
        let mut script = Script::new();
        for _ in 0..200 {
            script.look(GilHeld::By(ThreadId(0)), 1, [ThreadState::Stopped; 2]);
        }
        let told = text(&report(&script.end()));
        assert!(told.starts_with("For 100 % of the time threads were stopped"), "{told}");
        assert!(told.contains("and nobody is seen to wait for it.") && !told.contains("there is to run"), "{told}");
    }

    #[test]
    fn without_a_gil_none_is_made_up() {
        let mut script = Script::new();
        for _ in 0..200 {
            script.look(GilHeld::None, 0, [PYTHON, ThreadState::WaitsForLock]);
        }
        let report = report(&script.end());
        let told = text(&report);
        assert!(told.starts_with("There is no GIL: this Python is free-threaded."), "{told}");
        assert!(!told.contains("The GIL is held") && told.contains("Waits for locks, by call path:"), "{told}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["gils"][0]["exists"], &json["gils"][0]["held"]), (&false.into(), &serde_json::Value::Null));
    }

    #[test]
    fn nothing_seen_is_told() {
        assert_eq!(text(&report(&GilAccount::default())), "Nothing was seen of a GIL.\n");
    }

    #[test]
    fn a_long_stack_shows_both_ends() {
        let stack = |depth: usize| (1..=depth).map(|n| format!("f{n}")).collect::<Vec<_>>();
        assert_eq!(way(&stack(5)), "f1 > f2 > f3 > f4 > f5");
        assert_eq!(way(&stack(9)), "f1 > ... > f6 > f7 > f8 > f9");
        assert_eq!(way(&[]), "no Python frames");
    }
}
