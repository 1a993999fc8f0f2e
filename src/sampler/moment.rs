//! One moment of a process: every interpreter's every thread, read in as few gathers as can be.
//!
//! A [`Reader`] is kept for the whole recording. It asks beforehand for all that the last moment needed, and so in
//! steady state one gather brings everything: the list of interpreters, the GILs, the threads, their stacks and the
//! proofs of their code objects. What is new since is fetched in further rounds, all threads at once.

use std::cell::OnceCell;
use std::sync::Arc;

use python_offsets::Offsets;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::memory::{Addr, Copies, Fields, Found, Memory, MemoryError};
use crate::python::Interpreter;
use crate::python::code::Codes;
use crate::python::frames::{Stack, Walk};
use crate::python::gil::{self, Holder};
use crate::python::objects::Objects;
use crate::python::threads::{self, Identity, Links, MOST_INTERPRETERS, MOST_THREADS, PthreadTid, Window};
use crate::sample::{GilState, ThreadState, Tid, Unreadable};
use crate::target::Target;

/// Rounds of one moment, beyond those that a chain of new chunks or frames takes.
const MOST_ROUNDS: usize = 1 << 20;

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
    codes: Codes,
    interpreters: Vec<Interp>,
    threads: Vec<ThreadTrack>,
    by_addr: FxHashMap<Addr, usize>,
    /// What each OS thread did, for this moment.
    states: FxHashMap<Tid, OsThread>,
    pthread_tid: Option<PthreadTid>,
    generation: u64,
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
    gil: Addr,
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
            codes: Codes::default(),
            interpreters: Vec::new(),
            threads: Vec::new(),
            by_addr: FxHashMap::default(),
            states: FxHashMap::default(),
            pthread_tid: None,
            generation: 0,
        }
    }

    /// The interpreters of the last moment, newest first.
    pub fn interpreters(&self) -> &[Interp] {
        &self.interpreters
    }

    /// The threads of the last moment, newest first in each interpreter.
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

    /// Reads a moment.
    pub fn take(&mut self, target: &Target, wanted: Wanted) -> Result<(), Failure> {
        let memory = target.memory();
        self.generation += 1;
        self.copies.clear();
        self.foresee();
        self.copies.fetch(memory)?;
        self.find_interpreters(memory)?;
        self.find_threads(target)?;
        self.set_states(target);
        self.walk_stacks(memory, wanted)?;
        self.fetch_codes(memory)
    }

    fn foresee(&mut self) {
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

    /// Follows the list of interpreters.
    fn find_interpreters(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        let head = self.runtime.offset(self.offsets.runtime.interpreters_head);
        let mut addr = self.obtain(memory, head, 8)?.addr_at(0).ok_or(Failure::Lost)?;
        let mut found = 0;
        while !addr.is_null() && found < MOST_INTERPRETERS {
            let (at, len) = self.window.range(addr);
            let (window, offsets) = (self.window, self.offsets);
            let Some(links) = window.decode(&offsets, self.obtain(memory, at, len)?) else { break };
            self.meet_interpreter(memory, addr, links)?;
            addr = links.next;
            found += 1;
        }
        let generation = self.generation;
        self.interpreters.retain(|interpreter| interpreter.generation == generation);
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
            self.copies.fetch(memory)?;
        }
        match self.copies.find(addr) {
            Found::Read(bytes) => Ok(bytes),
            Found::NotAsked => Ok(&[]),
        }
    }

    /// Follows each interpreter's list of threads.
    fn find_threads(&mut self, target: &Target) -> Result<(), Failure> {
        let offsets = self.offsets;
        for index in 0..self.interpreters.len() {
            let interpreter = self.interpreters[index].addr;
            let (at, len) = self.window.range(interpreter);
            let links = self.window.decode(&offsets, self.obtain(target.memory(), at, len)?);
            let mut addr = links.map_or(Addr::NULL, |links| links.threads);
            let mut found = 0;
            while !addr.is_null() && found < MOST_THREADS {
                let len = self.thread_len;
                let bytes = self.obtain(target.memory(), addr, len)?;
                let Some((identity, next, owner)) = threads::decode(&offsets, addr, bytes) else { break };
                if owner != interpreter || !self.meet_thread(identity, interpreter) {
                    break;
                }
                addr = next;
                found += 1;
            }
        }
        let generation = self.generation;
        self.threads.retain(|thread| thread.generation == generation);
        self.index_threads();
        self.find_tids(target);
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
            generation: self.generation,
        });
        true
    }

    fn index_threads(&mut self) {
        self.by_addr.clear();
        self.by_addr.extend(self.threads.iter().enumerate().map(|(index, thread)| (thread.identity.addr, index)));
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

    /// Finds out what each thread was doing. An OS thread that has thread states in several interpreters can run in
    /// one of them only: the one that holds its GIL, where that is known.
    fn set_states(&mut self, target: &Target) {
        self.states.clear();
        for thread in &mut self.threads {
            let interpreter = self.interpreters.iter().find(|i| i.addr == thread.interpreter);
            thread.gil = gil_state(interpreter.map_or(Holder::Unknown, |i| i.holder), thread.identity.addr);
            thread.state = match thread.tid {
                None => ThreadState::Unknown,
                Some(tid) => {
                    let os = self.states.entry(tid).or_insert_with(|| OsThread::new(target.thread_state(tid)));
                    os.uses += 1;
                    os.holds |= thread.gil == GilState::Held;
                    os.state
                }
            };
        }
        if self.states.len() == self.threads.len() {
            return;
        }
        for thread in &mut self.threads {
            let os = thread.tid.and_then(|tid| self.states.get(&tid));
            if thread.gil == GilState::NotHeld && os.is_some_and(|os| os.uses > 1 && os.holds) {
                thread.state = ThreadState::Idle;
            }
        }
    }

    /// Walks the stacks that are wanted, all of them at once, fetching between the rounds.
    fn walk_stacks(&mut self, memory: &dyn Memory, wanted: Wanted) -> Result<(), Failure> {
        for thread in &mut self.threads {
            let is_wanted = wanted == Wanted::All || thread.state != ThreadState::Idle;
            thread.walk = is_wanted.then_some(Walk::Needs);
            if is_wanted {
                thread.stack.begin();
            }
        }
        for _ in 0..MOST_ROUNDS {
            let mut unfinished = false;
            for thread in &mut self.threads {
                if thread.walk != Some(Walk::Needs) {
                    continue;
                }
                let Found::Read(bytes) = self.copies.find(thread.identity.addr) else { continue };
                let mut copy = [0; 512];
                let len = bytes.len().min(copy.len());
                copy[..len].copy_from_slice(&bytes[..len]);
                let walk = thread.stack.walk(&self.offsets, &copy[..len], &mut self.copies);
                thread.walk = Some(walk);
                unfinished |= walk == Walk::Needs;
            }
            if !unfinished {
                return Ok(());
            }
            if !self.copies.is_pending() {
                break;
            }
            self.copies.fetch(memory)?;
        }
        for thread in &mut self.threads {
            if thread.walk == Some(Walk::Needs) {
                thread.walk = Some(Walk::Failed(Unreadable::Invalid));
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
        Ok(self.copies.fetch(memory)?)
    }
}

fn distinct(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What threads are called, asked again when a thread appears that has no name yet.
#[derive(Default)]
pub struct Names {
    names: FxHashMap<(Addr, u64), Arc<str>>,
    /// The threads that were there at the last refresh, and their interpreters.
    seen: FxHashSet<(Addr, Identity)>,
}

/// What `threading` calls the thread that initialised the runtime, also before anybody has imported it.
const MAIN_THREAD: &str = "MainThread";

impl Names {
    /// Whether a thread was there at the last refresh.
    pub fn has_seen(&self, interpreter: Addr, thread: Identity) -> bool {
        self.seen.contains(&(interpreter, thread))
    }

    /// Reads the names of every interpreter's threads.
    pub fn refresh(&mut self, objects: &Objects, runtime: Addr, interpreters: &[Interp], threads: &[ThreadTrack]) {
        self.seen.clear();
        self.seen.extend(threads.iter().map(|thread| (thread.interpreter, thread.identity)));
        self.names.clear();
        for interpreter in interpreters {
            let names = threads::names(objects, interpreter.addr).unwrap_or_default();
            self.names.extend(names.into_iter().map(|(id, name)| ((interpreter.addr, id), name.into())));
        }
        let main = interpreters.iter().find(|interpreter| interpreter.id == 0);
        let id = objects.memory.read_u64(runtime.offset(objects.offsets.runtime.main_thread));
        if let (Some(main), Ok(id)) = (main, id) {
            self.names.entry((main.addr, id)).or_insert_with(|| MAIN_THREAD.into());
        }
    }

    /// The name of a thread, as of the last refresh.
    pub fn get(&self, interpreter: Addr, thread_id: u64) -> Option<Arc<str>> {
        self.names.get(&(interpreter, thread_id)).cloned()
    }
}
