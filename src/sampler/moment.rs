//! One moment of a process: every interpreter's every thread, read in as few gathers as can be.
//!
//! A [`Reader`] is kept for the whole recording. It asks beforehand for all that the last moment needed, and so in
//! steady state one gather brings everything: the list of interpreters, the GILs, the threads, their stacks and the
//! proofs of their code objects. What is new since is fetched in further rounds, all threads at once.
//!
//! That it is one moment is the GIL's doing: whoever holds it is the only thread whose Python stack can change. So that
//! thread alone is kept from running while all is read: it is stopped, or displaced where processors are short. The same
//! goes for the one that held it last: it can take it again, and nothing would tell. The words of the GIL are read before
//! all else and again last of all; if it has passed to another thread meanwhile, that one is held too, and all is read
//! anew. Threads of a free-threaded build are held one by one, each for its own stack.
//!
//! A thread that has not run since it was read is not read again: however many sleep, they cost the stopped one nothing.

mod gils;
mod identities;
mod lists;
mod states;

use std::thread;
use std::time::{Duration, Instant};

use python_offsets::Offsets;
use rustc_hash::FxHashMap;

use super::held::{Gil, Held, Who};
use super::os_threads::{Look, OsThreads};
use super::pausing::Pausing;
use crate::memory::{Addr, Copies, Found, Memory, MemoryError};
use crate::python::Interpreter;
use crate::python::code::Codes;
use crate::python::frames::{RawFrame, Stack, Walk};
use crate::python::gil::{self, Holder, Passed};
use crate::python::threads::{self, Identity, PthreadTid, Window};
use crate::sample::{GilState, Holding, StackId, Stops, ThreadState, Tid, Unreadable, Wanted, Weight};
use crate::target::{Activity, Target};
use gils::{GilTrack, note_gil};

/// Rounds of one moment, beyond those that a chain of new chunks or frames takes.
const MOST_ROUNDS: usize = 1 << 20;

/// How often a moment is begun anew because another thread took the GIL meanwhile.
const TRIES: usize = 12;
/// After so many tries every thread that runs is stopped, not only the holders.
const PATIENT_TRIES: usize = 4;
/// How long a thread is given to come a few instructions further.
const ENTERS_WITHIN: Duration = Duration::from_micros(50);
/// Threads from which on looking at them takes longer than a stop should.
const MANY: usize = 16;
/// How often a thread that nobody stops is read anew because what was read is broken.
const READS: usize = 3;

/// How often the lists of threads are followed to their ends though nothing seems to have changed in them.
const LISTS_EVERY: Duration = Duration::from_millis(100);

/// Reads moments of one process.
pub struct Reader {
    offsets: Offsets,
    runtime: Addr,
    window: Window,
    thread_len: usize,
    copies: Copies,
    /// Copies for what is read apart from the rest: the GILs beforehand, threads of free-threaded builds.
    apart: Copies,
    codes: Codes,
    gils: Vec<GilTrack>,
    interpreters: Vec<Interp>,
    threads: Vec<ThreadTrack>,
    by_addr: FxHashMap<Addr, usize>,
    os_threads: OsThreads,
    pthread_tid: Option<PthreadTid>,
    /// When the place of that was looked for last, in vain.
    pthread_sought: Option<Instant>,
    /// When the lists of threads were last followed to their ends, if nothing seems to have changed in them since.
    listed: Option<Instant>,
    cut: u64,
    generation: u64,
    held: Held,
    /// Whether the GILs are read again after all else.
    watches_gils: bool,
    /// Whether nobody was stopped for the last moment.
    was_moving: bool,
    /// Whether the code objects of the moments that were read have been proved.
    is_proved: bool,
    /// When the last moment had been read.
    read_at: Option<Instant>,
}

/// An interpreter as it was found this time.
#[derive(Clone, Copy, Debug)]
pub struct Interp {
    /// `PyInterpreterState`.
    pub addr: Addr,
    /// Its id, 0 for the main interpreter.
    pub id: i64,
    /// The sample before which it was not there.
    since: u64,
    /// Who holds its GIL.
    pub holder: Holder,
    /// To whom the GIL had passed last, and how often it had; `None` where there is none, or it is not known.
    pub passed: Option<Passed>,
    /// What the holder can do about it, where that was asked for.
    pub holding: Option<Holding>,
    /// After how long a thread lets go of the GIL that others wait for; `None` where it could not be read.
    pub interval: Option<Duration>,
    /// Whether garbage is being collected in it.
    pub is_collecting: bool,
    /// Who held the GIL when that was first seen of this collection.
    pub collector: Option<Addr>,
    /// Where the GIL is.
    pub gil: Addr,
    /// The thread that its list of threads ended with when that was last followed.
    oldest: Addr,
    generation: u64,
}

impl Interp {
    /// One that was not there before a sample, and of which nothing else is known yet.
    fn new(addr: Addr, id: i64, since: u64) -> Interp {
        Interp {
            addr,
            id,
            since,
            holder: Holder::Unknown,
            passed: None,
            holding: None,
            interval: None,
            is_collecting: false,
            collector: None,
            gil: Addr::NULL,
            oldest: Addr::NULL,
            generation: 0,
        }
    }
}

/// A thread, from one moment to the next.
pub struct ThreadTrack {
    /// Who it is.
    pub identity: Identity,
    /// The interpreter, by its address.
    pub interpreter: Addr,
    /// The OS thread, where it is known.
    pub tid: Option<Tid>,
    /// Whether that was looked for, in vain.
    is_sought: bool,
    /// Whether it used a processor.
    pub activity: Activity,
    /// What it was doing, as far as its stack need not be known.
    pub state: ThreadState,
    /// Whether it held the GIL.
    pub gil: GilState,
    /// How its stack came out; `None` if it was not wanted.
    pub walk: Option<Walk>,
    /// Its stack.
    pub stack: Stack,
    /// Since which look it is asleep, if it was before it was read.
    pub asleep: Option<u64>,
    /// What was told of its stack, if that holds as long as it rests.
    pub told: Option<Told>,
    /// Whether it has not run since it was read, so that it was not read again.
    pub is_kept: bool,
    /// Whether it was not read because its stack is not needed.
    pub is_unread: bool,
    generation: u64,
}

/// What was told of a thread's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told(pub Option<StackId>);

/// Why no moment could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process has ended.
    Gone,
    /// The runtime could not be read: it is being torn down, or another program was executed.
    Lost,
}

impl From<MemoryError> for Failure {
    fn from(e: MemoryError) -> Self {
        match e {
            MemoryError::Unmapped(_) => Failure::Lost,
            MemoryError::Gone | MemoryError::Refused(_) => Failure::Gone,
        }
    }
}

impl Reader {
    /// A reader for an interpreter that has been located.
    pub fn new(interpreter: &Interpreter) -> Reader {
        let offsets = interpreter.offsets;
        Reader {
            offsets,
            runtime: interpreter.runtime,
            window: Window::of(&offsets),
            thread_len: threads::thread_len(&offsets),
            copies: Copies::default(),
            apart: Copies::default(),
            codes: Codes::default(),
            gils: Vec::new(),
            interpreters: Vec::new(),
            threads: Vec::new(),
            by_addr: FxHashMap::default(),
            os_threads: OsThreads::default(),
            pthread_tid: None,
            pthread_sought: None,
            listed: None,
            cut: 0,
            generation: 0,
            held: Held::default(),
            watches_gils: false,
            was_moving: false,
            is_proved: false,
            read_at: None,
        }
    }

    /// Lists of threads that the last moment could not follow to the end: older threads were missed.
    pub fn cut_lists(&self) -> u64 {
        self.cut
    }

    /// The interpreters of the last moment.
    pub fn interpreters(&self) -> &[Interp] {
        &self.interpreters
    }

    /// The threads of the last moment, newest first in each interpreter unless they came later.
    pub fn threads(&self) -> &[ThreadTrack] {
        &self.threads
    }

    /// The last moment, and what is needed to ask about its code objects.
    pub fn parts(&mut self) -> (&[ThreadTrack], &mut Held, &mut Codes, &Copies, &Offsets) {
        (&self.threads, &mut self.held, &mut self.codes, &self.copies, &self.offsets)
    }

    /// Notes what was told of the stack of a thread that has been asleep since a look.
    pub fn note_told(&mut self, identity: Identity, asleep: u64, told: Told) {
        let thread = self.by_addr.get(&identity.addr).and_then(|index| self.threads.get_mut(*index));
        if let Some(thread) = thread.filter(|thread| thread.identity == identity && thread.asleep == Some(asleep)) {
            thread.told = Some(told);
        }
    }

    /// A reader for another interpreter of the same process, which gives code objects the ids they had.
    pub fn again(&mut self, interpreter: &Interpreter) -> Reader {
        let mut codes = std::mem::take(&mut self.codes);
        codes.forget_addresses();
        Reader { codes, ..Reader::new(interpreter) }
    }

    /// Reads a moment. For how long threads were stopped for it is added to `stops`, also where it fails.
    pub fn take(
        &mut self,
        target: &Target,
        wanted: Wanted,
        pausing: &mut Pausing,
        stops: &mut Stops,
    ) -> Result<(), Failure> {
        if self.interpreters.is_empty() && !pausing.is_never() {
            self.scout(target)?;
        }
        let taken = self.take_stopped(target, wanted, pausing, stops);
        stops.add(pausing.resume());
        self.read_at = Some(Instant::now());
        taken?;
        self.follow_lists(target.memory())?;
        self.find_tids(target);
        self.settle_states(target, wanted);
        self.walk_free_threads(target, pausing, stops)?;
        self.find_states(target, wanted)?;
        (self.was_moving, self.is_proved) = (pausing.is_never(), false);
        Ok(())
    }

    /// Whether the last moment can be proved together with later ones.
    pub fn can_wait(&self) -> bool {
        self.was_moving || self.codes.can_wait()
    }

    /// Adds the moment to those that are yet to be told. Only where it may wait for more it is noted what is proven of it.
    pub fn hold(&mut self, at: Duration, weight: Weight, may_wait: bool) {
        let codes = Some(&self.codes).filter(|codes| may_wait && !self.was_moving && codes.can_wait());
        for thread in &self.threads {
            let interpreter = self.interpreters.iter().find(|interpreter| interpreter.addr == thread.interpreter);
            let interpreter = interpreter.map_or(-1, |interpreter| interpreter.id);
            self.held.push(at, weight, interpreter, thread, codes);
        }
    }

    /// Adds who held the GILs to the moments that are yet to be told.
    pub fn hold_gils(&mut self, at: Duration, weight: Weight) {
        for interpreter in &self.interpreters {
            let sharing = self.interpreters.iter().filter(|other| other.gil == interpreter.gil);
            let owner = sharing.map(|other| other.id).min().unwrap_or(interpreter.id);
            let holder = match interpreter.holder {
                Holder::Thread(addr) => self.by_addr.get(&addr).and_then(|index| self.threads.get(*index)),
                Holder::Nobody | Holder::Disabled | Holder::Unknown => None,
            };
            let id_of =
                |addr| self.interpreters.iter().find(|i| i.addr == addr).map_or(-1, |interpreter| interpreter.id);
            let holder = holder.map(|thread| Who {
                identity: thread.identity,
                interpreter: thread.interpreter,
                interpreter_id: id_of(thread.interpreter),
                tid: thread.tid,
            });
            self.held.push_gil(Gil { at, weight, interpreter: *interpreter, owner, holder });
        }
    }

    /// The moments that are yet to be told.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Proves the code objects of the moments that are yet to be told, as far as that is not done.
    pub fn prove_held(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_proved, true) {
            return Ok(());
        }
        let Reader { offsets, copies, apart, codes, held, was_moving, .. } = self;
        let copies = match was_moving {
            true => {
                codes.begin_late();
                copies
            }
            false => {
                codes.let_go();
                apart
            }
        };
        copies.clear();
        prove_frames(held.all_frames().iter(), codes, offsets, copies, memory)
    }

    /// Proves the code objects of the last moment, as far as that is not done.
    pub fn prove(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_proved, true) {
            return Ok(());
        }
        if self.was_moving {
            self.codes.begin_late();
            return self.fetch_codes(memory);
        }
        let Reader { offsets, apart, codes, threads, .. } = self;
        codes.let_go();
        apart.clear();
        prove_frames(frames_read(threads), codes, offsets, apart, memory)
    }

    /// Finds out which interpreters, GILs and threads there are, so that the first moment knows whom to stop.
    fn scout(&mut self, target: &Target) -> Result<(), Failure> {
        self.prepare(false);
        self.fetch(target.memory())?;
        self.find_interpreters(target.memory())?;
        self.find_arrivals(target.memory())?;
        self.find_tids(target);
        for interpreter in &self.interpreters {
            note_gil(&mut self.gils, interpreter.gil);
        }
        Ok(())
    }

    /// Reads until all is of one moment.
    fn take_stopped(
        &mut self,
        target: &Target,
        wanted: Wanted,
        pausing: &mut Pausing,
        stops: &mut Stops,
    ) -> Result<(), Failure> {
        for number in 0..TRIES {
            // Nobody is kept waiting while many threads are looked at.
            if (1..PATIENT_TRIES).contains(&number) && self.threads.len() > MANY {
                stops.add(pausing.resume());
            }
            self.see_who_had_gils(target.memory(), pausing)?;
            self.look_at_threads(target, wanted, pausing);
            self.prepare(!pausing.is_never());
            self.pause_holders(target, pausing)?;
            pausing.dismiss_herald();
            if number >= PATIENT_TRIES {
                self.pause_running(target, pausing);
            }
            self.read(target.memory(), wanted, pausing)?;
            if number < PATIENT_TRIES && !pausing.is_never() && self.is_holder_entering() {
                stops.add(pausing.resume());
                // Stopped again at once it would not have come any further.
                thread::sleep(ENTERS_WITHIN);
                continue;
            }
            let is_done = match pausing.is_never() {
                true => number + 1 >= READS || !self.has_failed() && !self.lacks_holder(),
                false => self.is_one_moment(target, pausing)? && !self.lacks_holder(),
            };
            if is_done {
                if wanted == Wanted::Contenders {
                    self.ask_about_holders(target);
                }
                return Ok(());
            }
            self.find_tids(target);
        }
        // Somebody else holds the GIL each time one looks. What threads were read as cannot be trusted.
        for thread in self.threads.iter_mut().filter(|thread| thread.walk.is_some()) {
            thread.walk = Some(Walk::Failed(Unreadable::Torn));
            (thread.is_kept, thread.is_unread) = (false, false);
        }
        Ok(())
    }

    fn read(&mut self, memory: &dyn Memory, wanted: Wanted, pausing: &Pausing) -> Result<(), Failure> {
        self.watches_gils = !pausing.is_never();
        // Threads that were thought to rest until they were stopped.
        for thread in self.threads.iter().filter(|thread| !thread.is_kept) {
            if self.copies.has(thread.identity.addr, self.thread_len).is_none() {
                self.copies.want(thread.identity.addr, self.thread_len);
                thread.stack.foresee(&self.offsets, &mut self.copies);
            }
        }
        self.foresee_ids();
        self.fetch(memory)?;
        self.find_interpreters(memory)?;
        self.find_departures();
        self.find_arrivals(memory)?;
        self.foresee_ids();
        self.walk_stacks(memory, wanted, pausing.is_never())?;
        self.note_ids();
        let Reader { offsets, copies, threads, .. } = self;
        let whole = threads.iter_mut().filter(|thread| !thread.is_kept && thread.walk == Some(Walk::Whole));
        whole.filter(|thread| thread.stack.was_moving()).for_each(|thread| thread.stack.settle(offsets, copies));
        if pausing.is_never() { Ok(()) } else { self.fetch_codes(memory) }
    }

    /// Asks for what the last moment needed, its code objects included or not.
    fn prepare(&mut self, with_codes: bool) {
        self.copies.clear();
        let head = self.runtime.offset(self.offsets.runtime.interpreters_head);
        self.copies.want_nearby(head, 8);
        for interpreter in &self.interpreters {
            let (addr, len) = self.window.range(interpreter.addr);
            self.copies.want_nearby(addr, len);
            self.copies.want_nearby(interpreter.gil, gil::size(&self.offsets));
            let collecting = gil::collecting(&self.offsets, self.runtime, interpreter.addr);
            self.copies.want_nearby(collecting, size_of::<i32>());
        }
        let is_free = self.interpreters.iter().any(|interpreter| interpreter.holder == Holder::Disabled);
        for thread in self.threads.iter().filter(|thread| !thread.is_kept) {
            self.copies.want(thread.identity.addr, self.thread_len);
            if thread.walk.is_some() && !(with_codes && thread.has_own_stop()) {
                thread.stack.foresee(&self.offsets, &mut self.copies);
            }
        }
        self.foresee_ids();
        if with_codes {
            self.codes.begin();
            // Without a GIL what is read now proves nothing of threads that run on until they are stopped.
            if !is_free {
                self.codes.foresee(&self.offsets, &mut self.copies);
            }
        }
    }

    /// Reads what was asked for, and the GILs after it, if somebody may be stopped.
    fn fetch(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        if !self.copies.is_pending() {
            return Ok(());
        }
        let size = gil::size(&self.offsets);
        for gil in self.gils.iter_mut().filter(|_| self.watches_gils) {
            gil.copy = self.copies.want_again(gil.addr, size);
        }
        Ok(self.copies.fetch(memory)?)
    }

    /// Whether a thread holds a GIL whose stack was not thought to be needed.
    fn lacks_holder(&self) -> bool {
        self.holders().any(|thread| thread.is_unread)
    }

    /// The threads that hold a GIL.
    fn holders(&self) -> impl Iterator<Item = &ThreadTrack> {
        self.interpreters.iter().filter_map(|interpreter| match interpreter.holder {
            Holder::Thread(addr) => self.by_addr.get(&addr).map(|index| &self.threads[*index]),
            Holder::Nobody | Holder::Disabled | Holder::Unknown => None,
        })
    }

    /// Whether a thread that holds a GIL could not be read as it was at the beginning of the interpreter's loop.
    fn is_holder_entering(&self) -> bool {
        let has_failed = |thread: &ThreadTrack| matches!(thread.walk, Some(Walk::Failed(_)));
        self.holders().any(|thread| !thread.is_kept && thread.stack.is_entering() && has_failed(thread))
    }

    /// Whether a stack came out broken that another look may find whole.
    fn has_failed(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_kept && matches!(thread.walk, Some(Walk::Failed(_))))
    }

    /// Finds out what the threads that are known do, before anybody is stopped, and which need not be read again.
    fn look_at_threads(&mut self, target: &Target, wanted: Wanted, pausing: &Pausing) {
        self.os_threads.begin(target);
        let mut shared = Vec::new();
        for thread in &mut self.threads {
            let look = match thread.tid {
                None => Look { activity: Activity::Unknown, rested: false, since: 0, again: false },
                Some(tid) if pausing.is_paused(tid) => {
                    Look { activity: Activity::Running, rested: false, since: 0, again: false }
                }
                Some(tid) => self.os_threads.look(target, tid),
            };
            thread.activity = look.activity;
            thread.asleep = look.activity.is_off().then_some(look.since);
            if !look.rested || std::mem::take(&mut thread.is_unread) {
                thread.told = None;
            }
            // Whoever had a GIL last may hold it in its sleep.
            let is_unwanted = match wanted {
                Wanted::All => false,
                Wanted::Running => true,
                Wanted::Contenders => false,
                Wanted::Holders => !self.gils.iter().any(|gil| gil.may_belong_to(thread.identity.addr)),
            };
            thread.is_kept = look.rested && (thread.told.is_some() || is_unwanted);
            // Of one that sleeps and neither holds a GIL nor wants one no stack is needed.
            let contends = || {
                thread.tid.is_none_or(|tid| self.os_threads.wanted_gil(tid))
                    || self.gils.iter().any(|gil| gil.may_belong_to(thread.identity.addr))
            };
            if wanted == Wanted::Contenders && thread.gil != GilState::None && look.activity.is_off() && !contends() {
                (thread.is_kept, thread.is_unread, thread.told, thread.walk) = (true, true, None, None);
            }
            if let Some(tid) = thread.tid.filter(|_| look.again) {
                shared.push(tid);
            }
        }
        // A thread state that is new names the OS thread that made it until its own runs.
        for thread in self.threads.iter_mut().filter(|thread| thread.tid.is_some_and(|tid| shared.contains(&tid))) {
            thread.told = None;
            thread.asleep = None;
            (thread.is_kept, thread.is_unread) = (false, false);
        }
    }

    /// Finds out about the threads that are new, and who held a GIL. An OS thread that has thread states in several
    /// interpreters can run in one of them only: the one whose GIL it holds, where that is known.
    fn settle_states(&mut self, target: &Target, wanted: Wanted) {
        for thread in &mut self.threads {
            let interpreter = self.interpreters.iter().find(|i| i.addr == thread.interpreter);
            thread.gil = gil_state(interpreter.map_or(Holder::Unknown, |i| i.holder), thread.identity.addr);
            if let (Some(tid), Activity::Unknown) = (thread.tid, thread.activity) {
                thread.activity = self.os_threads.look(target, tid).activity;
            }
        }
        if self.interpreters.len() > 1 {
            let holding: Vec<Tid> =
                self.threads.iter().filter(|t| t.gil == GilState::Held).filter_map(|thread| thread.tid).collect();
            for thread in self.threads.iter_mut().filter(|thread| thread.gil == GilState::NotHeld) {
                if thread.tid.is_some_and(|tid| holding.contains(&tid)) {
                    thread.activity = Activity::Elsewhere;
                }
            }
        }
        for thread in &mut self.threads {
            let is_wanted = match wanted {
                Wanted::All | Wanted::Contenders => true,
                Wanted::Running => !thread.activity.is_off(),
                Wanted::Holders => matches!(thread.gil, GilState::Held | GilState::Unknown),
            };
            if !is_wanted {
                thread.walk = None;
            }
        }
    }

    /// Walks the stacks that are wanted, all of them at once, fetching between the rounds.
    fn walk_stacks(&mut self, memory: &dyn Memory, wanted: Wanted, is_moving: bool) -> Result<(), Failure> {
        for thread in self.threads.iter_mut().filter(|thread| !thread.is_kept) {
            let is_wanted = match wanted {
                Wanted::All | Wanted::Contenders => true,
                Wanted::Running => !thread.activity.is_off(),
                Wanted::Holders => self.interpreters.iter().any(|i| {
                    i.addr == thread.interpreter
                        && matches!(i.holder, Holder::Thread(addr) if addr == thread.identity.addr)
                }),
            };
            thread.walk = is_wanted.then_some(Walk::Needs);
            if is_wanted {
                thread.stack.begin(&self.offsets, is_moving && !thread.activity.is_off());
            }
        }
        for _ in 0..MOST_ROUNDS {
            let mut unfinished = false;
            for thread in self.threads.iter_mut().filter(|t| !t.is_kept && (is_moving || !t.has_own_stop())) {
                if thread.walk == Some(Walk::Needs) {
                    thread.walk_on(&self.offsets, self.thread_len, &mut self.copies);
                    unfinished |= thread.walk == Some(Walk::Needs);
                }
            }
            if !unfinished {
                return Ok(());
            }
            if !self.copies.is_pending() {
                break;
            }
            self.fetch(memory)?;
        }
        for thread in self.threads.iter_mut().filter(|thread| is_moving || !thread.has_own_stop()) {
            if thread.walk == Some(Walk::Needs) {
                thread.walk = Some(Walk::Failed(Unreadable::Invalid));
            }
        }
        Ok(())
    }

    /// Walks the stacks of threads that no GIL keeps still, each while it alone is stopped: those that run, and those that
    /// have not slept all the time.
    fn walk_free_threads(&mut self, target: &Target, pausing: &mut Pausing, stops: &mut Stops) -> Result<(), Failure> {
        if pausing.is_never() {
            return Ok(());
        }
        let Reader { offsets, thread_len, copies, apart, codes, threads, os_threads, .. } = self;
        for thread in threads.iter_mut().filter(|t| t.walk.is_some() && !t.is_kept && t.gil == GilState::None) {
            let Some(tid) = thread.tid else { continue };
            let mut is_true = thread.activity.is_off() && os_threads.still_rests(target, tid);
            for _ in 0..TRIES {
                if is_true {
                    break;
                }
                // In this order: if it wakes up after it was seen asleep, it gets another turn.
                let before = target.sched_stat(tid);
                let place = target.place(tid);
                let is_held = place.is_some_and(|place| pausing.hold(target, tid, place));
                let walked = thread
                    .walk_apart(offsets, *thread_len, apart, target.memory())
                    .and_then(|()| thread.fetch_codes(codes, offsets, copies, target.memory()));
                let is_still = is_held && pausing.still_holds(target, tid);
                stops.add(pausing.resume());
                walked?;
                let slept = place.is_none() && before.is_some() && before == target.sched_stat(tid);
                is_true = is_still || slept && target.place(tid).is_none();
            }
            if !is_true {
                thread.walk = Some(Walk::Failed(Unreadable::Torn));
            }
        }
        Ok(())
    }

    /// Fetches the code objects that were not foreseen, and the names of those that are new.
    fn fetch_codes(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let Reader { offsets, copies, codes, threads, .. } = self;
        for frame in frames_read(threads) {
            codes.want(frame, offsets, copies);
        }
        self.fetch(memory)?;
        let Reader { offsets, copies, codes, threads, .. } = self;
        for frame in frames_read(threads) {
            codes.prove(frame, offsets, copies);
        }
        self.fetch(memory)
    }
}

/// The frames of every stack that was read in this moment, but for those that execute what the one before executes.
fn frames_read(threads: &[ThreadTrack]) -> impl Iterator<Item = &RawFrame> + Clone {
    let read = threads.iter().filter(|thread| thread.walk.is_some() && !thread.is_kept);
    let mut last = (Addr::NULL, Addr::NULL);
    read.flat_map(|thread| thread.stack.frames()).filter(move |frame| {
        let this = (frame.code, frame.function);
        std::mem::replace(&mut last, this) != this
    })
}

/// Fetches the code objects of frames as far as that is due, and the names of those that are new.
fn prove_frames<'f>(
    frames: impl Iterator<Item = &'f RawFrame> + Clone,
    codes: &mut Codes,
    offsets: &Offsets,
    copies: &mut Copies,
    memory: &dyn Memory,
) -> Result<(), Failure> {
    frames.clone().for_each(|frame| codes.want(frame, offsets, copies));
    copies.fetch(memory)?;
    frames.for_each(|frame| codes.prove(frame, offsets, copies));
    Ok(copies.fetch(memory)?)
}

impl ThreadTrack {
    /// Its stack may have changed while it was read.
    fn give_up(&mut self) {
        self.walk = self.walk.map(|_| Walk::Failed(Unreadable::Torn));
        (self.is_kept, self.is_unread) = (false, false);
    }

    /// Whether it runs and no GIL keeps it still while others are read: then it is stopped for itself.
    fn has_own_stop(&self) -> bool {
        self.gil == GilState::None && self.activity == Activity::Running && self.tid.is_some()
    }

    /// Fetches the code objects of its frames, and the names of those that are not known, while it is stopped.
    fn fetch_codes(
        &self,
        codes: &mut Codes,
        offsets: &Offsets,
        copies: &mut Copies,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        prove_frames(self.stack.frames().iter(), codes, offsets, copies, memory)
    }

    /// Walks as far as the copies reach.
    fn walk_on(&mut self, offsets: &Offsets, thread_len: usize, copies: &mut Copies) {
        /// More than the part of a thread state that is read, in any version.
        const LARGEST: usize = 512;
        let Found::Read(bytes) = copies.find_nearby(self.identity.addr, thread_len) else { return };
        let mut thread = [0; LARGEST];
        let len = bytes.len().min(LARGEST);
        thread[..len].copy_from_slice(&bytes[..len]);
        self.walk = Some(self.stack.walk(offsets, self.identity.addr, &thread[..len], copies));
    }

    /// Walks the whole stack, with copies of its own.
    fn walk_apart(
        &mut self,
        offsets: &Offsets,
        thread_len: usize,
        copies: &mut Copies,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        copies.clear();
        copies.want(self.identity.addr, thread_len);
        self.stack.foresee(offsets, copies);
        self.stack.begin(offsets, false);
        for _ in 0..MOST_ROUNDS {
            copies.fetch(memory)?;
            self.walk_on(offsets, thread_len, copies);
            if self.walk != Some(Walk::Needs) || !copies.is_pending() {
                break;
            }
        }
        if self.walk == Some(Walk::Needs) {
            self.walk = Some(Walk::Failed(Unreadable::Invalid));
        }
        Ok(())
    }
}

fn gil_state(holder: Holder, thread: Addr) -> GilState {
    match holder {
        Holder::Thread(holder) if holder == thread => GilState::Held,
        Holder::Thread(_) | Holder::Nobody => GilState::NotHeld,
        Holder::Disabled => GilState::None,
        Holder::Unknown => GilState::Unknown,
    }
}
