//! One moment of a process: every interpreter's every thread, read in as few gathers as can be.
//!
//! A [`Reader`] is kept for the whole recording. It asks beforehand for all that the last moment needed, and so in
//! steady state one gather brings everything: the list of interpreters, the GILs, the threads, their stacks and the
//! proofs of their code objects. What is new since is fetched in further rounds, all threads at once.
//!
//! That it is one moment is the GIL's doing: whoever holds it is the only thread whose Python stack can change. So that
//! thread alone is stopped, if it runs. The same goes for the one that held it last: it can take it again, and nothing
//! would tell. The words of the GIL are read before all else and again last of all; if it has passed to another thread
//! meanwhile, that one is stopped too, and all is read anew. Threads of a free-threaded build are stopped one by one,
//! each for its own stack.
//!
//! A thread that has not run since it was read is not read again: however many sleep, they cost the stopped one nothing.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use python_offsets::Offsets;
use rustc_hash::FxHashMap;

use super::held::Held;
use super::os_threads::{Look, OsThreads};
use super::pausing::Pausing;
use crate::memory::{Addr, Copies, CopyId, Fields, Found, Memory, MemoryError};
use crate::python::Interpreter;
use crate::python::code::Codes;
use crate::python::frames::{Stack, Walk};
use crate::python::gil::{self, Holder, Passed};
use crate::python::threads::{self, Identity, Links, MOST_INTERPRETERS, MOST_THREADS, PthreadTid, Window};
use crate::sample::{GilState, StackId, Stops, ThreadState, Tid, Unreadable};
use crate::target::{SchedStat, Target};

/// Rounds of one moment, beyond those that a chain of new chunks or frames takes.
const MOST_ROUNDS: usize = 1 << 20;

/// How often a moment is begun anew because another thread took the GIL meanwhile.
const TRIES: usize = 12;
/// After so many tries every thread that runs is stopped, not only the holders.
const PATIENT_TRIES: usize = 4;
/// How often it is looked who has a GIL before that thread is stopped.
const LOOKS: usize = 3;

/// How often the lists of threads are followed to their ends though nothing seems to have changed in them.
const LISTS_EVERY: Duration = Duration::from_millis(100);
/// How often a list is followed anew because it changed meanwhile.
const LIST_TRIES: usize = 3;

/// Which threads a recording is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that use a processor.
    Running,
    /// All.
    All,
}

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
    /// When the lists of threads were last followed to their ends, if nothing seems to have changed in them since.
    listed: Option<Instant>,
    cut: u64,
    generation: u64,
    held: Held,
    /// Whether the code objects of the last moment have been proved.
    is_proved: bool,
}

/// A GIL, from one moment to the next.
struct GilTrack {
    addr: Addr,
    /// Its copy that was made after all others.
    copy: Option<CopyId>,
    /// To whom it had passed before the threads were looked at: since then only that one can have run Python.
    before: Option<Passed>,
    /// The thread that has it or had it last, as it was before the gather, if it slept: it still does as long as its account
    /// is the same.
    asleep: Option<SchedStat>,
    /// To whom it had passed before the gather.
    passed: Option<Passed>,
}

fn note_gil(gils: &mut Vec<GilTrack>, addr: Addr) {
    if gils.iter().all(|gil| gil.addr != addr) {
        gils.push(GilTrack { addr, copy: None, before: None, asleep: None, passed: None });
    }
}

fn passed(offsets: &Offsets, copies: &Copies, gil: Addr) -> Option<Passed> {
    match copies.find(gil) {
        Found::Read(words) => Passed::read(offsets, words),
        Found::NotAsked => None,
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

/// An interpreter as it was found this time.
#[derive(Clone, Copy, Debug)]
pub struct Interp {
    /// `PyInterpreterState`.
    pub addr: Addr,
    /// Its id, 0 for the main interpreter.
    pub id: i64,
    /// Who holds its GIL.
    pub holder: Holder,
    /// Where the GIL is.
    pub gil: Addr,
    generation: u64,
}

/// A thread, from one moment to the next.
pub struct ThreadTrack {
    /// Who it is.
    pub identity: Identity,
    /// The interpreter, by its address.
    pub interpreter: Addr,
    /// The OS thread, where it is known.
    pub tid: Option<Tid>,
    /// What it was doing.
    pub state: ThreadState,
    /// Whether it held the GIL.
    pub gil: GilState,
    /// How its stack came out; `None` if it was not wanted.
    pub walk: Option<Walk>,
    /// Its stack.
    pub stack: Stack,
    /// What was told of its stack, if that holds as long as it rests.
    pub told: Option<Told>,
    /// Whether it has not run since it was read, so that it was not read again.
    pub is_kept: bool,
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
            listed: None,
            cut: 0,
            generation: 0,
            held: Held::default(),
            is_proved: false,
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

    /// Notes what was told of the stack of a thread that rests.
    pub fn note_told(&mut self, identity: Identity, told: Told) {
        let thread = self.by_addr.get(&identity.addr).and_then(|index| self.threads.get_mut(*index));
        if let Some(thread) = thread.filter(|thread| thread.identity == identity && thread.state == ThreadState::Idle) {
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
        let taken = self.take_stopped(target, wanted, pausing);
        stops.add(pausing.resume());
        taken?;
        self.follow_lists(target.memory())?;
        self.find_tids(target);
        self.settle_states(target, wanted);
        self.walk_free_threads(target, pausing, stops)?;
        self.is_proved = !pausing.is_never();
        if self.is_proved { self.fetch_codes(target.memory()) } else { Ok(()) }
    }

    /// Adds the moment to those that are yet to be told.
    pub fn hold(&mut self, at: Duration) {
        for thread in &self.threads {
            let interpreter = self.interpreters.iter().find(|interpreter| interpreter.addr == thread.interpreter);
            self.held.push(at, interpreter.map_or(-1, |interpreter| interpreter.id), thread);
        }
    }

    /// The moments that are yet to be told.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Proves the code objects of the moments that are yet to be told, as far as that is not done.
    pub fn prove_held(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let Reader { offsets, copies, codes, held, is_proved, .. } = self;
        if std::mem::replace(is_proved, true) {
            return Ok(());
        }
        copies.clear();
        codes.begin();
        held.all_frames().iter().for_each(|frame| codes.want(frame.code, offsets, copies));
        copies.fetch(memory)?;
        held.all_frames().iter().for_each(|frame| codes.prove(frame.code, offsets, copies));
        Ok(copies.fetch(memory)?)
    }

    /// Proves the code objects of the last moment, as far as that is not done.
    pub fn prove(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        match std::mem::replace(&mut self.is_proved, true) {
            true => Ok(()),
            false => {
                self.codes.begin();
                self.fetch_codes(memory)
            }
        }
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
    fn take_stopped(&mut self, target: &Target, wanted: Wanted, pausing: &mut Pausing) -> Result<(), Failure> {
        for number in 0..TRIES {
            self.see_who_had_gils(target.memory(), pausing)?;
            self.look_at_threads(target, wanted, pausing);
            self.prepare(!pausing.is_never());
            self.pause_holders(target, pausing)?;
            if number >= PATIENT_TRIES {
                self.pause_running(target, pausing);
            }
            self.read(target.memory(), wanted, pausing)?;
            let is_done = match pausing.is_never() {
                true => number + 1 >= LOOKS || !self.has_failed(),
                false => self.is_one_moment(target, pausing)?,
            };
            if is_done {
                return Ok(());
            }
            self.find_tids(target);
        }
        // Somebody else holds the GIL each time one looks. What threads were read as cannot be trusted.
        for thread in self.threads.iter_mut().filter(|thread| thread.walk.is_some()) {
            thread.walk = Some(Walk::Failed(Unreadable::Torn));
            thread.is_kept = false;
        }
        Ok(())
    }

    fn read(&mut self, memory: &dyn Memory, wanted: Wanted, pausing: &Pausing) -> Result<(), Failure> {
        self.fetch_at_once(memory, pausing)?;
        self.find_interpreters(memory)?;
        self.find_departures();
        self.find_arrivals(memory)?;
        self.walk_stacks(memory, wanted, pausing.is_never())?;
        let Reader { offsets, copies, threads, .. } = self;
        let whole = threads.iter_mut().filter(|thread| !thread.is_kept && thread.walk == Some(Walk::Whole));
        whole.filter(|thread| thread.stack.was_moving()).for_each(|thread| thread.stack.settle(offsets, copies));
        if pausing.is_never() { Ok(()) } else { self.fetch_codes(memory) }
    }

    /// Asks for what the last moment needed, its code objects included or not.
    fn prepare(&mut self, with_codes: bool) {
        self.copies.clear();
        let head = self.runtime.offset(self.offsets.runtime.interpreters_head);
        self.copies.want(head, 8);
        for interpreter in &self.interpreters {
            let (addr, len) = self.window.range(interpreter.addr);
            self.copies.want_nearby(addr, len);
            self.copies.want_nearby(interpreter.gil, gil::size(&self.offsets));
        }
        for thread in self.threads.iter().filter(|thread| !thread.is_kept) {
            self.copies.want(thread.identity.addr, self.thread_len);
            if thread.walk.is_some() {
                thread.stack.foresee(&self.offsets, &mut self.copies);
            }
        }
        if with_codes {
            self.codes.begin();
            self.codes.foresee(&self.offsets, &mut self.copies);
        }
    }

    /// Reads what was asked for.
    fn fetch(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        Ok(self.copies.fetch(memory)?)
    }

    /// Reads what was asked for, and the GILs after it, if somebody may be stopped.
    fn fetch_at_once(&mut self, memory: &dyn Memory, pausing: &Pausing) -> Result<(), Failure> {
        let size = gil::size(&self.offsets);
        for gil in self.gils.iter_mut().filter(|_| !pausing.is_never()) {
            gil.copy = self.copies.want_again(gil.addr, size);
        }
        self.fetch(memory)
    }

    /// Reads the GILs. Their words are found in the copies that are read apart.
    fn fetch_gils(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let size = gil::size(&self.offsets);
        self.apart.clear();
        for gil in &self.gils {
            self.apart.want(gil.addr, size);
        }
        Ok(self.apart.fetch(memory)?)
    }

    /// Whether a stack came out broken that another look may find whole.
    fn has_failed(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_kept && matches!(thread.walk, Some(Walk::Failed(_))))
    }

    /// Looks who had the GILs last, if there are many threads that are not to be read again: as long as a GIL has not
    /// passed to another since, none of them has run Python. If they are few, it may as well be since the last moment; if
    /// it has, a look at each of them takes no longer than another at the GIL.
    fn see_who_had_gils(&mut self, memory: &dyn Memory, pausing: &Pausing) -> Result<(), Failure> {
        const FEW: usize = 4;
        if pausing.is_never() || self.threads.iter().filter(|thread| thread.told.is_some()).count() <= FEW {
            for gil in &mut self.gils {
                gil.before = gil.passed;
            }
            return Ok(());
        }
        self.fetch_gils(memory)?;
        for gil in &mut self.gils {
            gil.before = passed(&self.offsets, &self.apart, gil.addr);
        }
        Ok(())
    }

    /// Stops whoever has a GIL, or had it last, and runs. Between the look at the GIL and the stop nothing else is done: a
    /// thread that has let go of the GIL meanwhile may be on its way to sleep in the kernel, where it is not to be disturbed.
    fn pause_holders(&mut self, target: &Target, pausing: &mut Pausing) -> Result<(), Failure> {
        let mut fetched = false;
        for index in 0..self.gils.len() {
            let runs = |tid: &Tid| target.thread_state(*tid) == ThreadState::Running;
            let has_it = |reader: &Reader| reader.by_addr.get(&reader.gils[index].passed?.to).copied();
            let tid_of = |reader: &Reader, thread: usize| reader.threads.get(thread).and_then(|thread| thread.tid);
            let mut expected = has_it(self).and_then(|thread| tid_of(self, thread)).filter(runs);
            for _ in 0..LOOKS {
                if pausing.is_never() {
                    return Ok(());
                }
                if !fetched || expected.is_some() {
                    self.fetch_gils(target.memory())?;
                    fetched = true;
                }
                self.gils[index].passed = passed(&self.offsets, &self.apart, self.gils[index].addr);
                self.gils[index].asleep = None;
                let Some(thread) = has_it(self) else { break };
                let Some(tid) = tid_of(self, thread).filter(|tid| !pausing.is_paused(*tid)) else { break };
                if expected == Some(tid) {
                    if pausing.pause(tid) {
                        self.threads[thread].state = ThreadState::Running;
                        self.threads[thread].is_kept = false;
                    }
                    break;
                }
                if !runs(&tid) {
                    // In this order: if it wakes up after the second look, its account will differ.
                    self.gils[index].asleep = target.sched_stat(tid);
                    if !runs(&tid) {
                        break;
                    }
                }
                expected = Some(tid);
            }
        }
        Ok(())
    }

    /// Stops every thread that runs and may take a GIL.
    fn pause_running(&mut self, target: &Target, pausing: &mut Pausing) {
        for thread in self.threads.iter_mut().filter(|thread| thread.gil != GilState::None) {
            if let Some(tid) = thread.tid
                && !pausing.is_paused(tid)
                && target.thread_state(tid) == ThreadState::Running
                && pausing.pause(tid)
            {
                thread.state = ThreadState::Running;
                thread.is_kept = false;
            }
        }
    }

    /// Whether nobody can have changed a Python stack while it was read: no GIL has passed to another thread, and the one
    /// that had it was stopped by us, or slept all the time.
    fn is_one_moment(&mut self, target: &Target, pausing: &Pausing) -> Result<bool, Failure> {
        let mut only_those_ran = true;
        for interpreter in &self.interpreters {
            let known = self.gils.iter().find(|gil| gil.addr == interpreter.gil);
            let Some(GilTrack { copy: Some(copy), before, passed, asleep, .. }) = known else {
                note_gil(&mut self.gils, interpreter.gil);
                return Ok(false);
            };
            let now = Passed::read(&self.offsets, self.copies.get(*copy));
            if now != *passed {
                return Ok(false);
            }
            only_those_ran &= now == *before;
            // One that is not there any more will not take it again.
            let Some(&index) = now.and_then(|passed| self.by_addr.get(&passed.to)) else { continue };
            let thread = &mut self.threads[index];
            let Some(tid) = thread.tid else { return Ok(false) };
            if pausing.is_paused(tid) {
                continue;
            }
            if pausing.has_given_up(tid) {
                thread.walk = thread.walk.map(|_| Walk::Failed(Unreadable::Torn));
                thread.is_kept = false;
                continue;
            }
            let slept = asleep.is_some() && *asleep == target.sched_stat(tid);
            if !slept || thread.is_kept && !self.os_threads.still_rests(target, tid) {
                return Ok(false);
            }
        }
        Ok(only_those_ran || self.those_kept_still_rest(target))
    }

    /// Whether the threads that were not read again still rest.
    fn those_kept_still_rest(&self, target: &Target) -> bool {
        let mut kept = self.threads.iter().filter(|thread| thread.is_kept).filter_map(|thread| thread.tid);
        kept.all(|tid| self.os_threads.still_rests(target, tid))
    }

    /// Follows the list of interpreters.
    fn find_interpreters(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let (window, offsets) = (self.window, self.offsets);
        self.generation += 1;
        let before = self.interpreters.len();
        let head = self.runtime.offset(offsets.runtime.interpreters_head);
        let mut addr = self.obtain(memory, head, 8)?.addr_at(0).ok_or(Failure::Lost)?;
        let mut found = 0;
        while !addr.is_null() && found < MOST_INTERPRETERS {
            let (at, len) = window.range(addr);
            let Some(links) = window.decode(&offsets, self.obtain(memory, at, len)?) else { break };
            self.meet_interpreter(memory, addr, links)?;
            addr = links.next;
            found += 1;
        }
        let generation = self.generation;
        self.interpreters.retain(|interpreter| interpreter.generation == generation);
        let interpreters = &self.interpreters;
        self.gils.retain(|gil| interpreters.iter().any(|interpreter| interpreter.gil == gil.addr));
        // The main interpreter's holder is stopped first: it alone can execute another program, and while a program is
        // executed nobody else can be stopped.
        let main = interpreters.iter().find(|interpreter| interpreter.id == 0).map(|interpreter| interpreter.gil);
        self.gils.sort_by_key(|gil| Some(gil.addr) != main);
        if self.interpreters.len() < before {
            self.listed = None;
        }
        if self.interpreters.is_empty() { Err(Failure::Lost) } else { Ok(()) }
    }

    fn meet_interpreter(&mut self, memory: &dyn Memory, addr: Addr, links: Links) -> Result<(), Failure> {
        let index = match self.interpreters.iter().position(|i| i.addr == addr && i.id == links.id) {
            Some(index) => index,
            None => {
                let gil = match gil::locate(memory, &self.offsets, self.runtime, addr) {
                    Err(MemoryError::Unmapped(_)) => Addr::NULL,
                    other => other?,
                };
                self.interpreters.push(Interp { addr, id: links.id, holder: Holder::Unknown, gil, generation: 0 });
                self.interpreters.len() - 1
            }
        };
        let offsets = self.offsets;
        let holder = gil::holder(&offsets, self.obtain(memory, self.interpreters[index].gil, gil::size(&offsets))?);
        let interpreter = &mut self.interpreters[index];
        interpreter.holder = holder;
        interpreter.generation = self.generation;
        Ok(())
    }

    /// What could be read of a range, from the copies or at once.
    fn obtain(&mut self, memory: &dyn Memory, addr: Addr, len: usize) -> Result<&[u8], Failure> {
        if self.copies.find_nearby(addr, len) == Found::NotAsked {
            self.copies.want_nearby(addr, len);
            self.fetch(memory)?;
        }
        match self.copies.find_nearby(addr, len) {
            Found::Read(bytes) => Ok(bytes),
            Found::NotAsked => Ok(&[]),
        }
    }

    /// Forgets threads that are not there any more, as far as they have been read.
    fn find_departures(&mut self) {
        let Reader { offsets, copies, threads, .. } = self;
        let before = threads.len();
        threads.retain(|thread| match copies.find(thread.identity.addr) {
            Found::Read(bytes) if !thread.is_kept => threads::decode(offsets, thread.identity.addr, bytes)
                .is_some_and(|(identity, _, owner)| identity == thread.identity && owner == thread.interpreter),
            _ => true,
        });
        if threads.len() < before {
            self.index_threads();
        }
        if self.threads.len() < before || self.threads.iter().any(|thread| thread.state == ThreadState::Unknown) {
            self.listed = None;
        }
    }

    /// Follows each interpreter's list of threads, the newest first, up to one that is known.
    fn find_arrivals(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let (window, offsets, thread_len) = (self.window, self.offsets, self.thread_len);
        for index in 0..self.interpreters.len() {
            let interpreter = self.interpreters[index].addr;
            let (at, len) = window.range(interpreter);
            let links = window.decode(&offsets, self.obtain(memory, at, len)?);
            let mut addr = links.map_or(Addr::NULL, |links| links.threads);
            while !addr.is_null() && self.threads.len() < MOST_THREADS && !self.by_addr.contains_key(&addr) {
                let thread = threads::decode(&offsets, addr, self.obtain(memory, addr, thread_len)?);
                self.listed = None;
                match thread {
                    Some((identity, next, owner)) if owner == interpreter => {
                        self.meet_thread(identity, interpreter);
                        addr = next;
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Follows the lists of threads to their ends, if they may have changed, and forgets the threads that are in none.
    fn follow_lists(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        self.cut = 0;
        if self.listed.is_some_and(|listed| listed.elapsed() < LISTS_EVERY) {
            return Ok(());
        }
        for _ in 0..LIST_TRIES {
            self.apart.clear();
            for interpreter in &self.interpreters {
                let (at, len) = self.window.range(interpreter.addr);
                self.apart.want(at, len);
            }
            for thread in &self.threads {
                self.apart.want(thread.identity.addr, self.thread_len);
            }
            self.apart.fetch(memory)?;
            self.generation += 1;
            self.cut = 0;
            for index in 0..self.interpreters.len() {
                let is_whole = self.follow_list(self.interpreters[index].addr, memory)?;
                self.cut += u64::from(!is_whole);
            }
            if self.cut == 0 {
                let generation = self.generation;
                self.threads.retain(|thread| thread.generation == generation);
                self.index_threads();
                self.listed = Some(Instant::now());
                break;
            }
        }
        Ok(())
    }

    /// Follows an interpreter's list of threads; false if it leads astray, as it may have changed meanwhile.
    fn follow_list(&mut self, interpreter: Addr, memory: &dyn Memory) -> Result<bool, Failure> {
        let (at, _) = self.window.range(interpreter);
        let links = match self.apart.find(at) {
            Found::Read(bytes) => self.window.decode(&self.offsets, bytes),
            Found::NotAsked => None,
        };
        let mut addr = links.map_or(Addr::NULL, |links| links.threads);
        for _ in 0..MOST_THREADS {
            if addr.is_null() {
                return Ok(true);
            }
            if self.apart.find(addr) == Found::NotAsked {
                self.apart.want(addr, self.thread_len);
                self.apart.fetch(memory)?;
            }
            let Found::Read(bytes) = self.apart.find(addr) else { return Ok(false) };
            match threads::decode(&self.offsets, addr, bytes) {
                Some((identity, next, owner)) if owner == interpreter && self.meet_thread(identity, interpreter) => {
                    addr = next;
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    fn index_threads(&mut self) {
        self.by_addr.clear();
        self.by_addr.extend(self.threads.iter().enumerate().map(|(index, thread)| (thread.identity.addr, index)));
    }

    /// Notes that a thread is there; false if it has been met already, which means that the list goes in a circle.
    fn meet_thread(&mut self, identity: Identity, interpreter: Addr) -> bool {
        let known = self.by_addr.get(&identity.addr).copied();
        if let Some(thread) = known.and_then(|index| self.threads.get_mut(index)) {
            if thread.generation == self.generation {
                return false;
            }
            if thread.identity == identity && thread.interpreter == interpreter {
                thread.generation = self.generation;
                return true;
            }
        }
        self.by_addr.insert(identity.addr, self.threads.len());
        self.threads.push(ThreadTrack {
            identity,
            interpreter,
            tid: None,
            state: ThreadState::Unknown,
            gil: GilState::Unknown,
            walk: None,
            stack: Stack::default(),
            told: None,
            is_kept: false,
            generation: self.generation,
        });
        true
    }

    /// Finds the OS threads of threads that are new.
    fn find_tids(&mut self, target: &Target) {
        if self.threads.iter().all(|thread| thread.tid.is_some()) {
            return;
        }
        let memory = target.memory();
        let ids: Vec<u64> = self.threads.iter().map(|thread| thread.identity.thread_id).collect();
        let mut pthread_tid = self.pthread_tid;
        let place = OnceCell::new();
        for thread in self.threads.iter_mut().filter(|thread| thread.tid.is_none()) {
            let own = match thread.identity.native_thread_id {
                Some(own) => Some(own),
                None => {
                    let find = || PthreadTid::find(memory, &distinct(&ids), |id| target.task(id).is_some());
                    let place = pthread_tid.or_else(|| *place.get_or_init(find));
                    pthread_tid = place;
                    place.and_then(|place| place.read(memory, thread.identity.thread_id))
                }
            };
            thread.tid = own.and_then(|own| target.task(own));
        }
        self.pthread_tid = pthread_tid;
    }

    /// Finds out what the threads that are known do, before anybody is stopped, and which need not be read again.
    fn look_at_threads(&mut self, target: &Target, wanted: Wanted, pausing: &Pausing) {
        self.os_threads.begin();
        for thread in &mut self.threads {
            let look = match thread.tid {
                None => Look { state: ThreadState::Unknown, rested: false },
                Some(tid) if pausing.is_paused(tid) => Look { state: ThreadState::Running, rested: false },
                Some(tid) => self.os_threads.look(target, tid),
            };
            thread.state = look.state;
            if !look.rested {
                thread.told = None;
            }
            thread.is_kept = look.rested && (thread.told.is_some() || wanted == Wanted::Running);
        }
    }

    /// Finds out about the threads that are new, and who held a GIL. An OS thread that has thread states in several
    /// interpreters can run in one of them only: the one whose GIL it holds, where that is known.
    fn settle_states(&mut self, target: &Target, wanted: Wanted) {
        for thread in &mut self.threads {
            let interpreter = self.interpreters.iter().find(|i| i.addr == thread.interpreter);
            thread.gil = gil_state(interpreter.map_or(Holder::Unknown, |i| i.holder), thread.identity.addr);
            if let (Some(tid), ThreadState::Unknown) = (thread.tid, thread.state) {
                thread.state = self.os_threads.look(target, tid).state;
            }
        }
        if self.interpreters.len() > 1 {
            let holding: Vec<Tid> =
                self.threads.iter().filter(|t| t.gil == GilState::Held).filter_map(|thread| thread.tid).collect();
            for thread in self.threads.iter_mut().filter(|thread| thread.gil == GilState::NotHeld) {
                if thread.tid.is_some_and(|tid| holding.contains(&tid)) {
                    thread.state = ThreadState::Idle;
                }
            }
        }
        for thread in self.threads.iter_mut().filter(|thread| thread.state == ThreadState::Idle) {
            if wanted == Wanted::Running {
                thread.walk = None;
            }
        }
    }

    /// Walks the stacks that are wanted, all of them at once, fetching between the rounds.
    fn walk_stacks(&mut self, memory: &dyn Memory, wanted: Wanted, is_moving: bool) -> Result<(), Failure> {
        for thread in self.threads.iter_mut().filter(|thread| !thread.is_kept) {
            let is_wanted = wanted == Wanted::All || thread.state != ThreadState::Idle;
            thread.walk = is_wanted.then_some(Walk::Needs);
            if is_wanted {
                thread.stack.begin(&self.offsets, is_moving && thread.state != ThreadState::Idle);
            }
        }
        for _ in 0..MOST_ROUNDS {
            let mut unfinished = false;
            for thread in self.threads.iter_mut().filter(|thread| !thread.is_kept) {
                if thread.walk == Some(Walk::Needs) {
                    thread.walk_on(&self.offsets, &mut self.copies);
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
        for thread in &mut self.threads {
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
            let mut runs = thread.state == ThreadState::Running;
            let mut is_true = !runs && os_threads.still_rests(target, tid);
            for _ in 0..TRIES {
                if is_true || runs && !pausing.pause(tid) {
                    break;
                }
                // In this order: if it wakes up after it was seen asleep, it gets another turn.
                let before = target.sched_stat(tid);
                runs = runs || target.thread_state(tid) == ThreadState::Running && pausing.pause(tid);
                let walked = thread
                    .walk_apart(offsets, *thread_len, apart, target.memory())
                    .and_then(|()| thread.fetch_codes(codes, offsets, copies, target.memory()));
                stops.add(pausing.resume());
                walked?;
                is_true = runs || before.is_some() && before == target.sched_stat(tid);
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
        let read = || threads.iter().filter(|thread| thread.walk.is_some() && !thread.is_kept);
        let mut last = Addr::NULL;
        for frame in read().flat_map(|thread| thread.stack.frames()) {
            if std::mem::replace(&mut last, frame.code) != frame.code {
                codes.want(frame.code, offsets, copies);
            }
        }
        copies.fetch(memory)?;
        last = Addr::NULL;
        for frame in read().flat_map(|thread| thread.stack.frames()) {
            if std::mem::replace(&mut last, frame.code) != frame.code {
                codes.prove(frame.code, offsets, copies);
            }
        }
        Ok(copies.fetch(memory)?)
    }
}

impl ThreadTrack {
    /// Fetches the code objects of its frames, and the names of those that are not known, while it is stopped.
    fn fetch_codes(
        &self,
        codes: &mut Codes,
        offsets: &Offsets,
        copies: &mut Copies,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        self.stack.frames().iter().for_each(|frame| codes.want(frame.code, offsets, copies));
        copies.fetch(memory)?;
        self.stack.frames().iter().for_each(|frame| codes.prove(frame.code, offsets, copies));
        Ok(copies.fetch(memory)?)
    }

    /// Walks as far as the copies reach.
    fn walk_on(&mut self, offsets: &Offsets, copies: &mut Copies) {
        /// More than the part of a thread state that is read, in any version.
        const LARGEST: usize = 512;
        let Found::Read(bytes) = copies.find(self.identity.addr) else { return };
        let mut thread = [0; LARGEST];
        let len = bytes.len().min(LARGEST);
        thread[..len].copy_from_slice(&bytes[..len]);
        self.walk = Some(self.stack.walk(offsets, &thread[..len], copies));
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
            self.walk_on(offsets, copies);
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

fn distinct(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}
