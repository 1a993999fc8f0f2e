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

use std::cell::OnceCell;

use python_offsets::Offsets;
use rustc_hash::FxHashMap;

use super::pausing::Pausing;
use crate::memory::{Addr, Copies, CopyId, Fields, Found, Memory, MemoryError};
use crate::python::Interpreter;
use crate::python::code::Codes;
use crate::python::frames::{Stack, Walk};
use crate::python::gil::{self, Holder, Passed};
use crate::python::threads::{self, Identity, Links, MOST_INTERPRETERS, MOST_THREADS, PthreadTid, Window};
use crate::sample::{GilState, Stops, ThreadState, Tid, Unreadable};
use crate::target::Target;

/// Rounds of one moment, beyond those that a chain of new chunks or frames takes.
const MOST_ROUNDS: usize = 1 << 20;

/// How often a moment is begun anew because another thread took the GIL meanwhile.
const TRIES: usize = 12;
/// After so many tries every thread that runs is stopped, not only the holders.
const PATIENT_TRIES: usize = 4;

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
    gils: Vec<Gil>,
    interpreters: Vec<Interp>,
    threads: Vec<ThreadTrack>,
    by_addr: FxHashMap<Addr, usize>,
    /// What each OS thread did, for this moment.
    states: FxHashMap<Tid, OsThread>,
    pthread_tid: Option<PthreadTid>,
    cut: u64,
    generation: u64,
}

/// A GIL.
struct Gil {
    addr: Addr,
    /// Its copy in the last gather.
    copy: Option<CopyId>,
    /// To whom it had passed before the first gather.
    passed: Option<Passed>,
    /// That thread's turns on a processor till then, if it was asleep.
    turns: Option<u64>,
}

impl Gil {
    fn new(addr: Addr) -> Gil {
        Gil { addr, copy: None, passed: None, turns: None }
    }
}

/// An OS thread and the thread states that use it.
struct OsThread {
    state: ThreadState,
    uses: u32,
    holds: bool,
}

impl OsThread {
    fn new(state: ThreadState) -> OsThread {
        OsThread { state, uses: 0, holds: false }
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
    /// Its turns on a processor when it was looked at, where no GIL keeps it still.
    turns: Option<u64>,
    generation: u64,
}

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
            states: FxHashMap::default(),
            pthread_tid: None,
            cut: 0,
            generation: 0,
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
    pub fn parts(&mut self) -> (&[Interp], &[ThreadTrack], &mut Codes, &Copies, &Offsets) {
        (&self.interpreters, &self.threads, &mut self.codes, &self.copies, &self.offsets)
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
        self.look_at_threads(target);
        let taken = self.take_stopped(target, wanted, pausing);
        stops.add(pausing.resume());
        taken?;
        self.find_tids(target);
        self.settle_states(target, wanted);
        self.walk_free_threads(target, pausing, stops)?;
        self.fetch_codes(target.memory())
    }

    /// Finds out which interpreters, GILs and threads there are, so that the first moment knows whom to stop.
    fn scout(&mut self, target: &Target) -> Result<(), Failure> {
        self.prepare();
        self.fetch(target.memory())?;
        self.find_interpreters(target.memory())?;
        self.find_threads(target.memory())?;
        self.find_tids(target);
        for interpreter in &self.interpreters {
            if !self.gils.iter().any(|gil| gil.addr == interpreter.gil) {
                self.gils.push(Gil::new(interpreter.gil));
            }
        }
        Ok(())
    }

    /// Reads until all is of one moment.
    fn take_stopped(&mut self, target: &Target, wanted: Wanted, pausing: &mut Pausing) -> Result<(), Failure> {
        for number in 0..TRIES {
            self.prepare();
            self.pause_holders(target, pausing)?;
            if number >= PATIENT_TRIES {
                self.pause_running(target, pausing);
            }
            self.read(target.memory(), wanted)?;
            if pausing.is_never() || self.is_one_moment(target, pausing)? {
                return Ok(());
            }
            self.find_tids(target);
        }
        // Somebody else holds the GIL each time one looks. What threads were read as cannot be trusted.
        for thread in &mut self.threads {
            if thread.walk.is_some() {
                thread.walk = Some(Walk::Failed(Unreadable::Torn));
            }
        }
        Ok(())
    }

    fn read(&mut self, memory: &dyn Memory, wanted: Wanted) -> Result<(), Failure> {
        self.fetch(memory)?;
        self.find_interpreters(memory)?;
        self.find_threads(memory)?;
        self.walk_stacks(memory, wanted)?;
        self.fetch_codes(memory)
    }

    /// Asks for what the last moment needed.
    fn prepare(&mut self) {
        self.generation += 1;
        self.copies.clear();
        let head = self.runtime.offset(self.offsets.runtime.interpreters_head);
        self.copies.want(head, 8);
        for interpreter in &self.interpreters {
            let (addr, len) = self.window.range(interpreter.addr);
            self.copies.want(addr, len);
            self.copies.want(interpreter.gil, gil::size(&self.offsets));
        }
        for thread in &self.threads {
            self.copies.want(thread.identity.addr, self.thread_len);
            if thread.walk.is_some() {
                thread.stack.foresee(&self.offsets, &mut self.copies);
            }
        }
        self.codes.foresee(&self.offsets, &mut self.copies);
    }

    /// Reads what was asked for, and the GILs after it.
    fn fetch(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        if !self.copies.is_pending() {
            return Ok(());
        }
        let size = gil::size(&self.offsets);
        for gil in &mut self.gils {
            gil.copy = self.copies.want_again(gil.addr, size);
        }
        Ok(self.copies.fetch(memory)?)
    }

    /// Stops whoever has a GIL, or had it last, and runs.
    fn pause_holders(&mut self, target: &Target, pausing: &mut Pausing) -> Result<(), Failure> {
        if pausing.is_never() || self.gils.is_empty() {
            return Ok(());
        }
        let size = gil::size(&self.offsets);
        self.apart.clear();
        for gil in &self.gils {
            self.apart.want(gil.addr, size);
        }
        self.apart.fetch(target.memory())?;
        for gil in &mut self.gils {
            let Found::Read(words) = self.apart.find(gil.addr) else { continue };
            gil.passed = Passed::read(&self.offsets, words);
            gil.turns = None;
            let Some(index) = gil.passed.and_then(|passed| self.by_addr.get(&passed.to)) else { continue };
            let Some(thread) = self.threads.get_mut(*index) else { continue };
            let Some(tid) = thread.tid.filter(|&tid| !pausing.is_paused(tid)) else { continue };
            let mut runs = target.thread_state(tid) == ThreadState::Running;
            if !runs && thread.walk.is_some() {
                // In this order: if it wakes up after the second look, it gets another turn.
                gil.turns = target.turns(tid);
                runs = target.thread_state(tid) == ThreadState::Running;
            }
            if runs && pausing.pause(tid) {
                thread.state = ThreadState::Running;
            }
        }
        Ok(())
    }

    /// Stops every thread that runs and may take a GIL.
    fn pause_running(&mut self, target: &Target, pausing: &mut Pausing) {
        for thread in self.threads.iter_mut().filter(|thread| thread.walk.is_some() && thread.gil != GilState::None) {
            if let Some(tid) = thread.tid
                && !pausing.is_paused(tid)
                && target.thread_state(tid) == ThreadState::Running
                && pausing.pause(tid)
            {
                thread.state = ThreadState::Running;
            }
        }
    }

    /// Whether nobody can have changed a Python stack while it was read: no GIL has passed to another thread, and the one
    /// that had it was stopped by us, or slept all the time.
    fn is_one_moment(&mut self, target: &Target, pausing: &Pausing) -> Result<bool, Failure> {
        for interpreter in &self.interpreters {
            let known = self.gils.iter().find(|gil| gil.addr == interpreter.gil);
            let Some(Gil { copy: Some(copy), passed, turns, .. }) = known else {
                self.gils.push(Gil::new(interpreter.gil));
                return Ok(false);
            };
            let now = Passed::read(&self.offsets, self.copies.get(*copy));
            if now != *passed {
                return Ok(false);
            }
            // One that is not there any more will not take it again.
            let Some(&index) = now.and_then(|passed| self.by_addr.get(&passed.to)) else { continue };
            let thread = &mut self.threads[index];
            let Some(tid) = thread.tid else { return Ok(false) };
            if thread.walk.is_none() || pausing.is_paused(tid) {
                continue;
            }
            if pausing.has_given_up(tid) {
                thread.walk = Some(Walk::Failed(Unreadable::Torn));
            } else if turns.is_none() || *turns != target.turns(tid) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follows the list of interpreters.
    fn find_interpreters(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let (window, offsets) = (self.window, self.offsets);
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
        if self.copies.find(addr) == Found::NotAsked {
            self.copies.want(addr, len);
            self.fetch(memory)?;
        }
        match self.copies.find(addr) {
            Found::Read(bytes) => Ok(bytes),
            Found::NotAsked => Ok(&[]),
        }
    }

    /// Follows each interpreter's list of threads.
    fn find_threads(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let (window, offsets, thread_len) = (self.window, self.offsets, self.thread_len);
        self.cut = 0;
        for index in 0..self.interpreters.len() {
            let interpreter = self.interpreters[index].addr;
            let (at, len) = window.range(interpreter);
            let links = window.decode(&offsets, self.obtain(memory, at, len)?);
            let mut addr = links.map_or(Addr::NULL, |links| links.threads);
            let mut found = 0;
            while !addr.is_null() && found < MOST_THREADS {
                let bytes = self.obtain(memory, addr, thread_len)?;
                let Some((identity, next, owner)) = threads::decode(&offsets, addr, bytes) else { break };
                if owner != interpreter || !self.meet_thread(identity, interpreter) {
                    break;
                }
                addr = next;
                found += 1;
            }
            self.cut += u64::from(!addr.is_null());
        }
        let generation = self.generation;
        self.threads.retain(|thread| thread.generation == generation);
        self.by_addr.clear();
        self.by_addr.extend(self.threads.iter().enumerate().map(|(index, thread)| (thread.identity.addr, index)));
        Ok(())
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
            turns: None,
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

    /// Finds out what the threads that are known do, before anybody is stopped.
    fn look_at_threads(&mut self, target: &Target) {
        self.states.clear();
        for thread in &mut self.threads {
            // In this order: if it wakes up after it was seen asleep, it gets another turn.
            let may_move = thread.gil == GilState::None && thread.walk.is_some();
            thread.turns = thread.tid.filter(|_| may_move).and_then(|tid| target.turns(tid));
            thread.state = match thread.tid {
                None => ThreadState::Unknown,
                Some(tid) => self.states.entry(tid).or_insert_with(|| OsThread::new(target.thread_state(tid))).state,
            };
        }
    }

    /// Finds out about the threads that are new, and who held a GIL. An OS thread that has thread states in several
    /// interpreters can run in one of them only: the one whose GIL it holds, where that is known.
    fn settle_states(&mut self, target: &Target, wanted: Wanted) {
        for thread in &mut self.threads {
            let interpreter = self.interpreters.iter().find(|i| i.addr == thread.interpreter);
            thread.gil = gil_state(interpreter.map_or(Holder::Unknown, |i| i.holder), thread.identity.addr);
            let Some(tid) = thread.tid else { continue };
            if thread.state == ThreadState::Unknown {
                thread.state = target.thread_state(tid);
            }
            let os = self.states.entry(tid).or_insert_with(|| OsThread::new(thread.state));
            os.uses += 1;
            os.holds |= thread.gil == GilState::Held;
        }
        for thread in &mut self.threads {
            let os = thread.tid.and_then(|tid| self.states.get(&tid));
            if thread.gil == GilState::NotHeld && os.is_some_and(|os| os.uses > 1 && os.holds) {
                thread.state = ThreadState::Idle;
            }
            if wanted == Wanted::Running && thread.state == ThreadState::Idle {
                thread.walk = None;
            }
        }
    }

    /// Walks the stacks that are wanted, all of them at once, fetching between the rounds.
    fn walk_stacks(&mut self, memory: &dyn Memory, wanted: Wanted) -> Result<(), Failure> {
        for thread in &mut self.threads {
            let is_wanted = wanted == Wanted::All || thread.state != ThreadState::Idle;
            thread.walk = is_wanted.then_some(Walk::Needs);
            if is_wanted {
                thread.stack.begin(&self.offsets);
            }
        }
        for _ in 0..MOST_ROUNDS {
            let mut unfinished = false;
            for thread in &mut self.threads {
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
        for thread in self.threads.iter_mut().filter(|t| t.walk.is_some() && t.gil == GilState::None) {
            let Some(tid) = thread.tid else { continue };
            let mut runs = thread.state == ThreadState::Running;
            let mut is_true = !runs && thread.turns.is_some() && thread.turns == target.turns(tid);
            for _ in 0..TRIES {
                if is_true || runs && !pausing.pause(tid) {
                    break;
                }
                let turns = target.turns(tid);
                runs = runs || target.thread_state(tid) == ThreadState::Running && pausing.pause(tid);
                let walked = thread
                    .walk_apart(&self.offsets, self.thread_len, &mut self.apart, target.memory())
                    .and_then(|()| thread.fetch_codes(&self.codes, &self.offsets, &mut self.copies, target.memory()));
                stops.add(pausing.resume());
                walked?;
                is_true = runs || turns.is_some() && turns == target.turns(tid);
            }
            if !is_true {
                thread.walk = Some(Walk::Failed(Unreadable::Torn));
            }
        }
        Ok(())
    }

    /// Fetches the code objects that were not foreseen.
    fn fetch_codes(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let mut last = Addr::NULL;
        for thread in self.threads.iter().filter(|thread| thread.walk.is_some()) {
            for frame in thread.stack.frames() {
                if frame.code != last {
                    last = frame.code;
                    self.codes.want(frame.code, &self.offsets, &mut self.copies);
                }
            }
        }
        self.fetch(memory)?;
        for thread in self.threads.iter().filter(|thread| thread.walk.is_some()) {
            for frame in thread.stack.frames() {
                if frame.code != last {
                    last = frame.code;
                    self.codes.want_names(frame.code, &self.offsets, &mut self.copies);
                }
            }
        }
        self.fetch(memory)
    }
}

impl ThreadTrack {
    /// Fetches the code objects of its frames, and the names of those that are not known, while it is stopped.
    fn fetch_codes(
        &self,
        codes: &Codes,
        offsets: &Offsets,
        copies: &mut Copies,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        let frames = self.stack.frames();
        frames.iter().for_each(|frame| codes.want(frame.code, offsets, copies));
        copies.fetch(memory)?;
        frames.iter().for_each(|frame| codes.want_names(frame.code, offsets, copies));
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
        self.stack.begin(offsets);
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
