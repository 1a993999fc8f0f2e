//! Interpreters and threads: the lists that CPython keeps of them, and what threads are called.

use python_offsets::{Leaf, Offsets};
use rustc_hash::{FxHashMap, FxHashSet};

use super::objects::{ObjectError, Objects};
use crate::memory::{Addr, Fields, Memory};

/// Threads of an interpreter beyond this number are not believed.
pub const MOST_THREADS: usize = 1 << 16;
/// Interpreters of a process beyond this number are not believed.
pub const MOST_INTERPRETERS: usize = 1 << 12;
/// How far into `struct pthread` the thread id is looked for.
const PTHREAD_SEARCH: usize = 1 << 10;

/// The part of `PyThreadState` that is read: from its start, so many bytes.
pub fn thread_len(offsets: &Offsets) -> usize {
    let t = &offsets.thread;
    let leaf = match t.leaf {
        Leaf::Direct(at) => at,
        Leaf::ThroughCFrame { cframe, .. } => cframe,
    };
    let pointers = [
        Some(t.next),
        Some(t.interp),
        Some(leaf),
        Some(t.thread_id),
        t.base_frame,
        t.native_thread_id,
        t.data_stack.map(|stack| stack.top),
    ];
    pointers.into_iter().flatten().max().unwrap_or(0) + 8
}

/// A window into `PyInterpreterState` that holds the links of both lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: usize,
    len: usize,
}

impl Window {
    /// The window for a build.
    pub fn of(offsets: &Offsets) -> Window {
        let i = &offsets.interpreter;
        let fields = [i.next, i.id, i.threads_head];
        let start = fields.into_iter().min().unwrap_or(0);
        let end = fields.into_iter().max().unwrap_or(0) + 8;
        Window { start, len: end - start }
    }

    /// The address of the window in an interpreter, and its length.
    pub fn range(self, interpreter: Addr) -> (Addr, usize) {
        (interpreter.offset(self.start), self.len)
    }

    /// Decodes a copy of the window.
    pub fn decode(self, offsets: &Offsets, bytes: &[u8]) -> Option<Links> {
        let i = &offsets.interpreter;
        Some(Links {
            next: bytes.addr_at(i.next - self.start)?,
            id: bytes.i64_at(i.id - self.start)?,
            threads: bytes.addr_at(i.threads_head - self.start)?,
        })
    }
}

/// The links of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// The next older interpreter.
    pub next: Addr,
    /// Its id, 0 for the main interpreter.
    pub id: i64,
    /// The newest thread state.
    pub threads: Addr,
}

/// The fields of a thread state that tell who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The thread state.
    pub addr: Addr,
    /// `pthread_self()`.
    pub thread_id: u64,
    /// `gettid()` as the target sees it. Thread states up to 3.10 do not have it: there it is what libc says, once that is known.
    pub native_thread_id: Option<u64>,
}

impl Identity {
    /// Whether both are of the same thread, as far as is known.
    pub fn may_be(self, other: Identity) -> bool {
        let ids = self.native_thread_id.zip(other.native_thread_id);
        (self.addr, self.thread_id) == (other.addr, other.thread_id) && ids.is_none_or(|(own, its)| own == its)
    }
}

/// Decodes a copy of a thread state: its identity, the next older thread, the interpreter it belongs to.
pub fn decode(offsets: &Offsets, addr: Addr, bytes: &[u8]) -> Option<(Identity, Addr, Addr)> {
    let t = &offsets.thread;
    let identity = Identity {
        addr,
        thread_id: bytes.u64_at(t.thread_id)?,
        native_thread_id: match t.native_thread_id {
            Some(at) => Some(bytes.u64_at(at)?),
            None => None,
        },
    };
    Some((identity, bytes.addr_at(t.next)?, bytes.addr_at(t.interp)?))
}

/// Where libc keeps a thread's id in its `struct pthread`, whose address is the pthread id. Needed up to 3.10, which
/// do not keep the id themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PthreadTid(usize);

impl PthreadTid {
    /// Finds the place: where each of `threads` (pthread ids) has an id that `is_task` knows and no other has. In the usual
    /// places those may be among them that have ended, or never were in this process: it was forked behind Python's back.
    pub fn find(memory: &dyn Memory, threads: &[u64], is_task: impl Fn(u64) -> bool) -> Option<PthreadTid> {
        /// Where glibc has it on x86-64 and on aarch64; tried first, as with one thread others could be taken for it.
        const USUAL: [usize; 2] = [720, 208];
        let structures: Vec<Vec<u8>> =
            threads.iter().map(|&id| memory.read_prefix(Addr(id), PTHREAD_SEARCH).unwrap_or_default()).collect();
        let ids_at = |at: usize| structures.iter().map(move |bytes| bytes.u32_at(at).map_or(0, u64::from));
        let are_distinct = |ids: &[u64]| ids.iter().collect::<FxHashSet<_>>().len() == ids.len();
        let fits = |at: usize| {
            let ids: Vec<u64> = ids_at(at).take_while(|&id| is_task(id)).collect();
            !ids.is_empty() && ids.len() == structures.len() && are_distinct(&ids)
        };
        let fits_some = |at: usize| {
            let ids: Vec<u64> = ids_at(at).filter(|&id| is_task(id)).collect();
            !ids.is_empty() && are_distinct(&ids)
        };
        let fitting = USUAL.into_iter().chain((0..PTHREAD_SEARCH).step_by(4)).find(|&at| fits(at));
        fitting.or_else(|| USUAL.into_iter().find(|&at| fits_some(at))).map(PthreadTid)
    }

    /// Where a thread's id is, for one with this pthread id, and how long it is.
    pub fn range(self, thread_id: u64) -> (Addr, usize) {
        (Addr(thread_id).offset(self.0), size_of::<i32>())
    }

    /// The thread id of a thread, as the target sees it.
    pub fn read(self, memory: &dyn Memory, thread_id: u64) -> Option<u64> {
        memory.read_i32(Addr(thread_id).offset(self.0)).ok().and_then(|tid| u64::try_from(tid).ok())
    }
}

/// What an interpreter's `threading` module calls its threads, by `threading.get_ident()`. Empty if the interpreter
/// has not imported it.
pub fn names(objects: &Objects, interpreter: Addr) -> Result<FxHashMap<u64, String>, ObjectError> {
    let modules = objects.memory.read_addr(interpreter.offset(objects.offsets.interpreter.modules))?;
    let Some(threading) = objects.dict_get(modules, "threading")? else { return Ok(FxHashMap::default()) };
    let Some(active) = objects.dict_get(objects.module_dict(threading)?, "_active")? else {
        return Ok(FxHashMap::default());
    };
    let (idents, threads): (Vec<Addr>, Vec<Addr>) = objects.dict(active)?.into_iter().unzip();
    let names = objects.attribute_many(&threads, "_name")?;
    let names: Vec<Addr> = names.into_iter().map(Option::unwrap_or_default).collect();
    let idents = objects.unsigned_many(&idents)?.into_iter();
    // An entry that changed while it was being read has no name this time.
    Ok(idents.zip(objects.str_many(&names)?).filter_map(|(ident, name)| Some((ident?, name?))).collect())
}
