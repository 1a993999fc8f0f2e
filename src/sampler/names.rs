//! What threads are called: asked again from time to time, as names come late and change.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::moment::Reader;
use crate::memory::Addr;
use crate::python::objects::Objects;
use crate::python::threads::{self, Identity};

/// What threads are called, asked again when a thread appears that has no name yet.
///
/// Only those that were there when the names were read have one: the ids by which `threading` knows threads are used again.
#[derive(Default)]
pub struct Names {
    /// The threads that were there at the last refresh, by their interpreters; `None` for one that had no name.
    names: FxHashMap<(Addr, Identity), Option<Arc<str>>>,
}

/// What `threading` calls the thread that initialised the runtime, also before anybody has imported it.
const MAIN_THREAD: &str = "MainThread";

impl Names {
    /// Whether a thread was there at the last refresh.
    pub fn has_seen(&self, interpreter: Addr, thread: Identity) -> bool {
        self.names.contains_key(&(interpreter, thread))
    }

    /// Reads the names of every interpreter's threads.
    pub fn refresh(&mut self, objects: &Objects, runtime: Addr, reader: &mut Reader) {
        let found = read(objects, runtime, reader);
        self.names.clear();
        // In this order: whoever was there before and after it was read bears the name.
        for thread in reader.still_there(objects.memory).unwrap_or_default() {
            let (interpreter, identity) = thread;
            self.names.insert(thread, found.get(&(interpreter, identity.thread_id)).cloned());
        }
    }

    /// The name of a thread, as of the last refresh.
    pub fn get(&self, interpreter: Addr, thread: Identity) -> Option<Arc<str>> {
        self.names.get(&(interpreter, thread)).cloned().flatten()
    }
}

/// The names by interpreter and pthread id.
fn read(objects: &Objects, runtime: Addr, reader: &Reader) -> FxHashMap<(Addr, u64), Arc<str>> {
    let mut found = FxHashMap::default();
    for interpreter in reader.interpreters() {
        let names = threads::names(objects, interpreter.addr).unwrap_or_default();
        found.extend(names.into_iter().map(|(id, name)| ((interpreter.addr, id), name.into())));
    }
    let main = reader.interpreters().iter().find(|interpreter| interpreter.id == 0);
    let id = objects.memory.read_u64(runtime.offset(objects.offsets.runtime.main_thread));
    if let (Some(main), Ok(id)) = (main, id) {
        found.entry((main.addr, id)).or_insert_with(|| MAIN_THREAD.into());
    }
    found
}
