//! Whether threads are still those that they were: the addresses of thread states and the ids of pthreads are used again.

use rustc_hash::FxHashMap;

use super::{Failure, Reader};
use crate::memory::{Addr, Found, Memory};
use crate::python::threads::{self, Identity, MOST_THREADS};

impl Reader {
    /// The threads of the last moment that are still there, and their interpreters: until now nobody else had their ids.
    ///
    /// A thread state that has been freed may look as before; those that are in the lists have not.
    pub fn still_there(&mut self, memory: &dyn Memory) -> Result<Vec<(Addr, Identity)>, Failure> {
        self.apart.clear();
        for interpreter in &self.interpreters {
            let (at, len) = self.window.range(interpreter.addr);
            self.apart.want(at, len);
        }
        for thread in &self.threads {
            self.apart.want(thread.identity.addr, self.thread_len);
        }
        self.apart.fetch(memory)?;
        let mut listed = FxHashMap::default();
        for index in 0..self.interpreters.len() {
            self.list(self.interpreters[index].addr, &mut listed, memory)?;
        }
        let known = self.threads.iter().map(|thread| (thread.interpreter, thread.identity));
        Ok(known.filter(|(interpreter, own)| listed.get(&(*interpreter, own.addr)) == Some(own)).collect())
    }

    /// Follows an interpreter's list of threads as far as it leads.
    fn list(
        &mut self,
        interpreter: Addr,
        listed: &mut FxHashMap<(Addr, Addr), Identity>,
        memory: &dyn Memory,
    ) -> Result<(), Failure> {
        let (at, _) = self.window.range(interpreter);
        let links = match self.apart.find(at) {
            Found::Read(bytes) => self.window.decode(&self.offsets, bytes),
            Found::NotAsked => None,
        };
        let mut addr = links.map_or(Addr::NULL, |links| links.threads);
        while !addr.is_null() && listed.len() < MOST_THREADS {
            if self.apart.find(addr) == Found::NotAsked {
                self.apart.want(addr, self.thread_len);
                self.apart.fetch(memory)?;
            }
            let Found::Read(bytes) = self.apart.find(addr) else { break };
            match threads::decode(&self.offsets, addr, bytes) {
                Some((identity, next, owner))
                    if owner == interpreter && listed.insert((owner, addr), identity).is_none() =>
                {
                    addr = next;
                }
                _ => break,
            }
        }
        Ok(())
    }
}
