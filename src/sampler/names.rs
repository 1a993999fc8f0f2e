//! What threads are called: asked again from time to time, as names come late and change.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::moment::{Interp, ThreadTrack};
use crate::memory::Addr;
use crate::python::objects::Objects;
use crate::python::threads::{self, Identity};

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
