//! Whether threads are still those that they were: the addresses of thread states and the ids of pthreads are used again.

use rustc_hash::FxHashMap;

use super::{Failure, Reader, ThreadTrack};
use crate::memory::{Addr, Copies, Fields, Found, Memory};
use crate::python::threads::{Identity, MOST_THREADS, PthreadTid};

impl Reader {
    /// Asks for what tells threads apart whose thread states do not: the ids of OS threads that libc keeps.
    pub(super) fn foresee_ids(&mut self) {
        let Some(place) = self.place_of_ids() else { return };
        for thread in self.threads.iter().filter(|thread| !thread.is_kept) {
            want_id(place, thread.identity, &mut self.copies);
        }
    }

    /// Notes what was read of them, for threads that are new.
    pub(super) fn note_ids(&mut self) {
        let place = self.place_of_ids();
        for thread in &mut self.threads {
            thread.identity = completed(thread.identity, place, &self.copies);
        }
    }

    /// Where libc keeps the ids, if thread states do not.
    pub(super) fn place_of_ids(&self) -> Option<PthreadTid> {
        self.pthread_tid.filter(|_| self.offsets.thread.native_thread_id.is_none())
    }

    /// The threads of the last moment that are still there, and their interpreters: until now nobody else had their ids.
    ///
    /// A thread state that has been freed may look as before; those that are in the lists have not.
    pub fn still_there(&mut self, memory: &dyn Memory) -> Result<Vec<(Addr, Identity)>, Failure> {
        let place = self.place_of_ids();
        self.want_lists();
        for thread in &self.threads {
            place.iter().for_each(|&place| want_id(place, thread.identity, &mut self.apart));
        }
        self.apart.fetch(memory)?;
        let mut listed = FxHashMap::default();
        for index in 0..self.interpreters.len() {
            self.list(self.interpreters[index].addr, &mut listed, memory)?;
        }
        let known = self.threads.iter().map(|thread| (thread.interpreter, thread.identity));
        let is_listed = |(interpreter, own): &(Addr, Identity)| {
            let listed = listed.get(&(*interpreter, own.addr));
            listed.is_some_and(|listed| own.may_be(completed(*listed, place, &self.apart)))
        };
        Ok(known.filter(is_listed).collect())
    }

    /// Follows an interpreter's list of threads as far as it leads.
    fn list(
        &mut self,
        interpreter: Addr,
        listed: &mut FxHashMap<(Addr, Addr), Identity>,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        let mut addr = self.newest_listed(interpreter);
        while !addr.is_null() && listed.len() < MOST_THREADS {
            match self.listed(addr, interpreter, memory)? {
                Some((identity, next)) if listed.insert((interpreter, addr), identity).is_none() => addr = next,
                _ => break,
            }
        }
        Ok(())
    }
}

impl ThreadTrack {
    /// Whether a thread state that was found in its place is its own.
    pub(super) fn has(&self, state: Identity, owner: Addr, place: Option<PthreadTid>, copies: &Copies) -> bool {
        owner == self.interpreter && self.identity.may_be(completed(state, place, copies))
    }
}

fn want_id(place: PthreadTid, thread: Identity, copies: &mut Copies) {
    let (at, len) = place.range(thread.thread_id);
    copies.want(at, len);
}

/// An identity with the id of the OS thread, if that has been read. A thread that has ended has none.
fn completed(identity: Identity, place: Option<PthreadTid>, copies: &Copies) -> Identity {
    let read = || match copies.find(place?.range(identity.thread_id).0) {
        Found::Read(bytes) => bytes.i32_at(0).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0),
        Found::NotAsked => None,
    };
    Identity { native_thread_id: identity.native_thread_id.or_else(read), ..identity }
}
