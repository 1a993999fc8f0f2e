//! Which interpreters and threads there are: the lists that CPython keeps, followed as far as they may have changed.

use std::cell::OnceCell;
use std::time::Instant;

use super::{Failure, Interp, LISTS_EVERY, Reader, ThreadTrack};
use crate::memory::{Addr, Fields, Found, Memory, MemoryError};
use crate::python::frames::Stack;
use crate::python::gil::{self, Holder, Passed};
use crate::python::threads::{self, Identity, Links, MOST_INTERPRETERS, MOST_THREADS, PthreadTid};
use crate::sample::{GilState, ThreadState};
use crate::target::{Activity, Target};

/// How often a list is followed anew because it changed meanwhile.
const LIST_TRIES: usize = 3;

impl Reader {
    /// Follows the list of interpreters.
    pub(super) fn find_interpreters(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
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
        let gone = self.interpreters.iter().filter(|interpreter| interpreter.generation != generation);
        if let Some(since) = gone.map(|interpreter| interpreter.since).min() {
            self.codes.forget_since(since);
        }
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

    pub(super) fn meet_interpreter(&mut self, memory: &dyn Memory, addr: Addr, links: Links) -> Result<(), Failure> {
        let index = match self.interpreters.iter().position(|i| i.addr == addr && i.id == links.id) {
            Some(index) => index,
            None => {
                self.interpreters.push(Interp::new(addr, links.id, self.codes.sample()));
                self.interpreters.len() - 1
            }
        };
        // One that is being made has none yet.
        if self.interpreters[index].gil.is_null() {
            self.interpreters[index].gil = match gil::locate(memory, &self.offsets, self.runtime, addr) {
                Err(MemoryError::Unmapped(_)) => Addr::NULL,
                other => other?,
            };
        }
        let offsets = self.offsets;
        let words = self.obtain(memory, self.interpreters[index].gil, gil::size(&offsets))?;
        let (holder, passed) = (gil::holder(&offsets, words), Passed::read(&offsets, words));
        let interval = gil::interval(&offsets, words);
        let collecting = gil::collecting(&offsets, self.runtime, addr);
        let is_collecting = match self.copies.find_nearby(collecting, size_of::<i32>()) {
            Found::Read(bytes) => bytes.i32_at(0).is_some_and(|flag| flag != 0),
            Found::NotAsked => false,
        };
        let interpreter = &mut self.interpreters[index];
        interpreter.holder = holder;
        interpreter.passed = passed;
        interpreter.holding = None;
        interpreter.interval = interval;
        let is_new = interpreter.generation == 0;
        interpreter.collector = match (is_collecting, interpreter.is_collecting, holder) {
            (true, true, _) => interpreter.collector,
            (true, false, Holder::Thread(holder)) if !is_new => Some(holder),
            _ => None,
        };
        interpreter.is_collecting = is_collecting;
        interpreter.generation = self.generation;
        Ok(())
    }

    /// What could be read of a range, from the copies or at once.
    pub(super) fn obtain(&mut self, memory: &dyn Memory, addr: Addr, len: usize) -> Result<&[u8], Failure> {
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
    pub(super) fn find_departures(&mut self) {
        let place = self.place_of_ids();
        let Reader { offsets, copies, threads, .. } = self;
        let before = threads.len();
        threads.retain(|thread| match copies.find(thread.identity.addr) {
            Found::Read(bytes) if !thread.is_kept => threads::decode(offsets, thread.identity.addr, bytes)
                .is_some_and(|(identity, _, owner)| thread.has(identity, owner, place, copies)),
            _ => true,
        });
        if threads.len() < before {
            self.index_threads();
        }
        if self.threads.len() < before || self.threads.iter().any(|thread| thread.activity == Activity::Unknown) {
            self.listed = None;
        }
    }

    /// Follows each interpreter's list of threads, the newest first, up to one that is known.
    pub(super) fn find_arrivals(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
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
    pub(super) fn follow_lists(&mut self, memory: &dyn Memory) -> Result<(), Failure> {
        self.cut = 0;
        if self.listed.is_some_and(|listed| listed.elapsed() < LISTS_EVERY) {
            return Ok(());
        }
        for _ in 0..LIST_TRIES {
            self.want_lists();
            self.apart.fetch(memory)?;
            self.generation += 1;
            self.cut = 0;
            for index in 0..self.interpreters.len() {
                let is_whole = self.follow_list(index, memory)?;
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

    /// Follows an interpreter's list of threads; false if it leads astray, as it may have changed meanwhile, or ends with another
    /// thread than the last time: one that takes the place of a thread that ended leads nowhere until it is in the list.
    fn follow_list(&mut self, index: usize, memory: &dyn Memory) -> Result<bool, Failure> {
        let interpreter = self.interpreters[index].addr;
        let (mut addr, mut last) = (self.newest_listed(interpreter), Addr::NULL);
        for _ in 0..MOST_THREADS {
            if addr.is_null() {
                let before = std::mem::replace(&mut self.interpreters[index].oldest, last);
                return Ok(before.is_null() || before == last);
            }
            match self.listed(addr, interpreter, memory)? {
                Some((identity, next)) if self.meet_thread(identity, interpreter) => (last, addr) = (addr, next),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Asks for the lists of threads, as far as they are known, to be read apart.
    pub(super) fn want_lists(&mut self) {
        self.apart.clear();
        for interpreter in &self.interpreters {
            let (at, len) = self.window.range(interpreter.addr);
            self.apart.want(at, len);
        }
        for thread in &self.threads {
            self.apart.want(thread.identity.addr, self.thread_len);
        }
    }

    /// Where an interpreter's list of threads begins, as it was read apart.
    pub(super) fn newest_listed(&self, interpreter: Addr) -> Addr {
        let (at, _) = self.window.range(interpreter);
        let links = match self.apart.find(at) {
            Found::Read(bytes) => self.window.decode(&self.offsets, bytes),
            Found::NotAsked => None,
        };
        links.map_or(Addr::NULL, |links| links.threads)
    }

    /// A thread of an interpreter's list and the next one, as they were read apart, or are now; `None` if it is not of it.
    pub(super) fn listed(
        &mut self,
        addr: Addr,
        interpreter: Addr,
        memory: &dyn Memory,
    ) -> Result<Option<(Identity, Addr)>, Failure> {
        if self.apart.find(addr) == Found::NotAsked {
            self.apart.want(addr, self.thread_len);
            self.apart.fetch(memory)?;
        }
        let Found::Read(bytes) = self.apart.find(addr) else { return Ok(None) };
        let decoded = threads::decode(&self.offsets, addr, bytes).filter(|(_, _, owner)| *owner == interpreter);
        Ok(decoded.map(|(identity, next, _)| (identity, next)))
    }

    pub(super) fn index_threads(&mut self) {
        self.by_addr.clear();
        self.by_addr.extend(self.threads.iter().enumerate().map(|(index, thread)| (thread.identity.addr, index)));
    }

    /// Notes that a thread is there; false if it has been met already, which means that the list goes in a circle.
    pub(super) fn meet_thread(&mut self, identity: Identity, interpreter: Addr) -> bool {
        let known = self.by_addr.get(&identity.addr).copied();
        if let Some(thread) = known.and_then(|index| self.threads.get_mut(index)) {
            if thread.generation == self.generation {
                return false;
            }
            if thread.identity.may_be(identity) && thread.interpreter == interpreter {
                thread.generation = self.generation;
                return true;
            }
        }
        self.by_addr.insert(identity.addr, self.threads.len());
        self.threads.push(ThreadTrack {
            identity,
            interpreter,
            tid: None,
            is_sought: false,
            activity: Activity::Unknown,
            state: ThreadState::Unknown,
            gil: GilState::Unknown,
            walk: None,
            stack: Stack::default(),
            asleep: None,
            told: None,
            is_kept: false,
            is_unread: false,
            generation: self.generation,
        });
        true
    }

    /// Finds the OS threads of threads that are new.
    pub(super) fn find_tids(&mut self, target: &Target) {
        if self.threads.iter().all(|thread| thread.tid.is_some()) {
            return;
        }
        let memory = target.memory();
        let ids: Vec<u64> = self.threads.iter().map(|thread| thread.identity.thread_id).collect();
        let (keeps_ids, mut pthread_tid) = (self.offsets.thread.native_thread_id.is_some(), self.pthread_tid);
        let place = OnceCell::new();
        // To look for the place takes hundreds of system calls.
        if self.pthread_sought.is_some_and(|at| at.elapsed() < LISTS_EVERY) {
            let _ = place.set(None);
        }
        for thread in self.threads.iter_mut().filter(|thread| thread.tid.is_none()) {
            // The id that it keeps itself is its parent's in a process that was forked behind Python's back, as uWSGI does.
            let kept = thread.identity.native_thread_id.and_then(|own| target.task(own));
            // That it is gone tells nothing of whoever has its place by now.
            let was_read = !keeps_ids && thread.identity.native_thread_id.is_some();
            thread.tid = kept.or_else(|| {
                if was_read {
                    return None;
                }
                let find = || PthreadTid::find(memory, &distinct(&ids), |id| target.task(id).is_some());
                let place = pthread_tid.or_else(|| *place.get_or_init(find));
                pthread_tid = place;
                let own = place.and_then(|place| place.read(memory, thread.identity.thread_id))?;
                let tid = target.task(own)?;
                thread.identity.native_thread_id.get_or_insert(own);
                Some(tid)
            });
            thread.is_sought = thread.tid.is_none();
        }
        self.pthread_tid = pthread_tid;
        let was_sought =
            place.into_inner().is_some() && self.pthread_sought.is_none_or(|at| at.elapsed() >= LISTS_EVERY);
        if was_sought {
            self.pthread_sought = Some(Instant::now());
        }
    }
}

fn distinct(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use python_offsets::{Arch, Build, Level, Offsets, Version};

    use super::*;
    use crate::memory::Span;
    use crate::python::Interpreter;
    use crate::python::locate::{Found, FoundBy, OffsetsFrom};

    const INTERPRETER: Addr = Addr(0x10000);
    /// The newest first.
    const THREADS: [Addr; 3] = [Addr(0x20000), Addr(0x30000), Addr(0x40000)];
    /// What they lead to if all of them are in the list.
    const ALL: [Addr; 3] = [THREADS[1], THREADS[2], Addr::NULL];

    /// Memory in which the threads lead to others at each look; what the last one says is so from then on.
    struct Looks(Mutex<Vec<[Addr; 3]>>);

    impl Memory for Looks {
        fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> Result<(), MemoryError> {
            let mut looks = self.0.lock().expect("nobody panics with it");
            let next = if looks.len() > 1 { looks.remove(0) } else { looks[0] };
            let of = offsets();
            let mut words = vec![(INTERPRETER.offset(of.interpreter.threads_head), THREADS[0])];
            for (thread, next) in THREADS.iter().zip(next) {
                words.push((thread.offset(of.thread.next), next));
                words.push((thread.offset(of.thread.interp), INTERPRETER));
            }
            let mut rest = into;
            for span in spans {
                let bytes = rest.split_off_mut(..span.len).expect("there is room for all");
                bytes.fill(0);
                for (addr, word) in &words {
                    if let Some(place) = addr.since(span.addr).and_then(|at| bytes.get_mut(at..at + 8)) {
                        place.copy_from_slice(&word.0.to_le_bytes());
                    }
                }
                span.got = span.len;
            }
            Ok(())
        }
    }

    fn offsets() -> &'static Offsets {
        Offsets::of(13, Arch::X86_64, Build::Release).expect("there is such a table")
    }

    /// A reader that has met the interpreter, and none of its threads.
    fn reader() -> Reader {
        let mut reader = Reader::new(&Interpreter {
            runtime: Addr(0x1000),
            offsets: *offsets(),
            version: Version { major: 3, minor: 13, micro: 0, level: Level::Final, serial: 0 },
            arch: Arch::X86_64,
            abiflags: String::new(),
            found: Found { by: FoundBy::Symbol, file: String::new() },
            offsets_from: OffsetsFrom::Table,
            warning: None,
            search_path: Vec::new(),
        });
        reader.interpreters.push(Interp::new(INTERPRETER, 0, 0));
        reader
    }

    /// The threads that a reader knows once it has followed the lists, whose threads lead to these at each look.
    fn follow(reader: &mut Reader, looks: &[[Addr; 3]]) -> Vec<Addr> {
        reader.listed = None;
        let memory = Looks(Mutex::new(looks.to_vec()));
        assert_eq!(reader.follow_lists(&memory), Ok(()));
        let mut known: Vec<Addr> = reader.threads.iter().map(|thread| thread.identity.addr).collect();
        known.sort();
        known
    }

    #[test]
    fn a_list_that_ends_early_once_costs_no_thread() {
        let mut reader = reader();
        // The first look finds the newest thread, and each further one the next.
        assert_eq!(follow(&mut reader, &[ALL]), THREADS);
        for cut in [[Addr::NULL, THREADS[2], Addr::NULL], [THREADS[1], Addr::NULL, Addr::NULL]] {
            assert_eq!(follow(&mut reader, &[cut, ALL]), THREADS);
            assert_eq!(follow(&mut reader, &[ALL]), THREADS);
        }
    }

    #[test]
    fn the_oldest_thread_is_forgotten_when_it_has_ended() {
        let mut reader = reader();
        assert_eq!(follow(&mut reader, &[ALL]), THREADS);
        let left = [THREADS[1], Addr::NULL, Addr::NULL];
        assert_eq!(follow(&mut reader, &[left]), THREADS[..2]);
        assert_eq!(reader.cut_lists(), 0);
    }
}
