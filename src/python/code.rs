//! Code objects: their names and lines, resolved once and proven to be still the same at every later use.
//!
//! A code object can be freed and its address used again by another, whose strings may even lie where the old ones
//! lay. So an entry counts only while its proof holds, and the proof is read while the frames cannot change: the fields of
//! the code object, and from 3.12 on its `co_version`, which no two code objects of an interpreter share. What was read while an
//! interpreter lived that has ended is forgotten: the next one may get its memory, and counts versions anew. Before 3.12 the
//! contents of its name, file name and line table are compared as well. Where nobody is stopped the proof is read right
//! after the frames; one that does not hold then costs the stack.
//!
//! Proofs are a large part of what is read while a thread is stopped. So where there are many, those of code objects that have
//! long been the same, at addresses where no other was ever seen, wait until it runs again, if they have a version: what has
//! it before and after had it all the time. Where samples follow each other at once they wait for some of them.
//!
//! In 3.11 functions have such a version instead, once they are called often, and lose it with their code object. A frame
//! keeps its function: where that has its version before and after, the frame ran the code object that the function had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec::Drain;

use python_offsets::{Bytecode, LineTable, Offsets};
use rustc_hash::FxHashMap;

use super::frames::RawFrame;
use super::lines::Lines;
use super::objects::{ObjectError, Objects, is_alive};
use crate::memory::{Addr, Copies, Fields, Found, Memory, MemoryError, Span};
use crate::sample::{Code, CodeId, Frame, FrameId, Instruction};

/// How much of a str or a line table is compared.
const COMPARED: usize = 512;
/// How much of a line table is read in the same gather as the code object that is met for the first time.
const TABLE: usize = 2048;
/// After how many samples in which it was not met a code object is no longer foreseen.
const FORGET_AFTER: u64 = 4;
/// After so many proofs a code object that has a version is expected to stay where it is.
const TRUSTED_AFTER: u32 = 8;
/// So many proofs may as well be read with the frames: it spares a read of their own.
const FEW: usize = 8;
/// So many samples in a row, at most, count for or against reading proofs before it is known which are needed.
const MOST_SURPRISES: u8 = 8;
/// How many code objects are remembered before those not met lately are dropped.
const MOST_ENTRIES: usize = 1 << 14;
/// The longest bytecode that is looked at for where frames are left.
const LARGEST_BYTECODE: usize = 64 << 10;
/// How many copies of a code object's bytecode are looked at (free-threaded builds make one for each thread).
const MOST_COPIES: u64 = 1 << 14;

/// What a code object was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A code object, with its place in the cache.
    Code(Entry),
    /// Something else: a shim or a frame of a C extension.
    NotCode,
    /// Gone or changed before it could be read.
    Unreadable,
}

/// Where a frame is in its code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, where the code object tells one.
    pub line: Option<u32>,
    /// What it is at.
    pub at: Instruction,
}

/// A code object in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry(u32);

/// Every code object met so far.
#[derive(Default)]
pub struct Codes {
    /// `PyCode_Type`, once a code object has been seen.
    code_type: Option<Addr>,
    by_addr: FxHashMap<Addr, Entry>,
    /// Counts samples; what was proven in this one need not be proven again.
    sample: u64,
    proofs: Proofs,
    /// Whether all code objects that were met in this sample are proven, or may be later.
    can_wait: bool,
    /// How often lately code objects were met that had not been met in the samples before.
    surprises: u8,
    is_surprised: bool,
    entries: Vec<Known>,
    /// Entries that were met lately, and are foreseen.
    recent: Vec<Entry>,
    free: Vec<Entry>,
    /// Whether entries were forgotten that may have been at the addresses of others.
    has_forgotten: bool,
    ids: FxHashMap<Code, CodeId>,
    frame_ids: FxHashMap<Frame, FrameId>,
    /// Definitions not yet taken.
    new_codes: Vec<(CodeId, Code)>,
    new_frames: Vec<(FrameId, Frame)>,
}

/// When proofs are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Proofs {
    /// While the frames cannot change; those of trusted code objects may wait.
    #[default]
    Held,
    /// After it. Only those of trusted code objects are still needed.
    Afterwards,
    /// All of them after the frames, which may have changed.
    Late,
}

struct Known {
    addr: Addr,
    proof: Proof,
    /// A function that has it, and that function's version (3.11).
    function: Option<(Addr, u32)>,
    /// The sample in which it was seen that other functions have it, too.
    varies: Option<u64>,
    /// How often it was proven.
    times_proven: u32,
    /// Whether no other was ever seen at its address, as far as is remembered.
    is_first: bool,
    /// The sample in which it was read.
    read: u64,
    id: CodeId,
    code: Code,
    lines: Lines,
    /// Bytes of bytecode; `None` where it is not known (up to 3.10).
    size: Option<u64>,
    /// Bytes of bytecode before which a frame is still being set up; negative where there are none.
    first_traceable: i64,
    /// For each code unit of the bytecode, 64 to a word, whether a frame is left by it; empty where that is not known.
    leaves: Box<[u64]>,
    /// Likewise, whether it calls something; empty where that is not known.
    calls: Box<[u64]>,
    /// Likewise, whether nothing but another thread's wish makes it let go of the GIL; empty where that is not known.
    checks: Box<[u64]>,
    /// Frames by offset and whether they lie in a generator.
    frames: FxHashMap<(i64, bool), Option<(FrameId, Instruction)>>,
    /// Calls by offset, and how often what was called was the function that the caller names, and how often not.
    callees: FxHashMap<i64, (u32, u32)>,
    /// The sample in which it was last read or proven.
    proven: u64,
    /// The sample in which it was last found that it has been the same ever since it was read.
    vouched: u64,
    /// The sample in which it was last met.
    met: u64,
    /// Whether it is among the recent.
    is_recent: bool,
    /// The sample in which it turned out, too late, to be another one.
    changed: u64,
}

impl Known {
    /// Whether it may be proven later what a frame executed: no other code object can have had its version meanwhile.
    fn is_trusted(&self) -> bool {
        let is_steady = self.is_first && self.changed == 0;
        let has_version = self.proof.version != 0 || self.function.is_some();
        has_version && is_steady && self.times_proven >= TRUSTED_AFTER
    }

    /// Likewise of this frame.
    fn is_trusted_in(&self, frame: &RawFrame) -> bool {
        let is_of_its_function = self.function.is_some_and(|(function, _)| function == frame.function);
        self.is_trusted() && (self.proof.version != 0 || is_of_its_function)
    }

    /// Whether its proof is expected not to be needed while the frames cannot change.
    fn is_expected_to_wait(&self) -> bool {
        self.is_trusted() && self.varies.is_none()
    }

    /// Whether nothing more needs to be proven in a sample.
    fn is_settled(&self, sample: u64, proofs: Proofs) -> bool {
        let is_proven = self.proven == sample;
        match proofs {
            Proofs::Held | Proofs::Late => is_proven,
            // Samples that have waited for this one need more. Since it was seen to vary none has waited.
            Proofs::Afterwards => {
                self.vouched == sample || is_proven && self.varies.is_some_and(|since| since < sample)
            }
        }
    }

    /// Whether its proof is read now for a frame.
    fn is_due(&self, frame: &RawFrame, proofs: Proofs) -> bool {
        match proofs {
            Proofs::Held => !(self.is_trusted_in(frame) && self.varies.is_none()),
            Proofs::Afterwards => self.is_trusted_in(frame),
            Proofs::Late => true,
        }
    }

    /// Its function, and how much of it is read, if that is what tells that it has not changed.
    fn function(&self, offsets: &Offsets) -> Option<(Addr, usize)> {
        let (function, _) = self.function?;
        Some((function, function_size(offsets)?))
    }

    /// How much of a function that has it is read, if its version is needed and not known.
    fn wants_function(&self, offsets: &Offsets) -> Option<usize> {
        /// Not each function gets a version.
        const EVERY: u32 = 8;
        let is_due = self.times_proven >= TRUSTED_AFTER && self.times_proven.is_multiple_of(EVERY);
        function_size(offsets).filter(|_| is_due && self.function.is_none())
    }

    /// Asks for what is expected to tell that it has not changed.
    fn foresee(&self, offsets: &Offsets, copies: &mut Copies) {
        match self.function(offsets).filter(|_| self.is_expected_to_wait()) {
            Some((function, size)) => copies.want_nearby(function, size),
            None => self.proof.want(self.addr, offsets, copies),
        }
    }

    /// What a frame is at.
    fn instruction(&self, offset: i64) -> Instruction {
        // Up to 3.10 a frame is looked at before its first instruction, as it is at those that check.
        let is_start = self.size.is_none() && offset < 0;
        match is_marked(&self.calls, offset) {
            true => Instruction::Call,
            false if is_start || is_marked(&self.checks, offset) => Instruction::Check,
            false => Instruction::Other,
        }
    }
}

/// What must be the same for a code object to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proof {
    fields: [u64; 6],
    version: u32,
    contents: Vec<Content>,
}

/// Remembered bytes of an object that the code object points to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    addr: Addr,
    /// Bytes of the object that are compared, counted from its start; the header (reference count, type) is not.
    len: usize,
    bytes: Vec<u8>,
}

impl Codes {
    /// From now on what was proven has to be proven again.
    pub fn begin(&mut self) {
        self.sample += 1;
        self.proofs = Proofs::Held;
        self.can_wait = true;
        let is_surprised = std::mem::take(&mut self.is_surprised);
        self.surprises = match is_surprised {
            true => (self.surprises + 1).min(MOST_SURPRISES),
            false => self.surprises.saturating_sub(1),
        };
    }

    /// Whether all code objects that were met since [`Codes::begin`] are proven, or may be later, also after other samples.
    pub fn can_wait(&self) -> bool {
        self.can_wait
    }

    /// Whether what a frame executes has been proven since [`Codes::begin`].
    pub fn is_proven(&self, frame: &RawFrame) -> bool {
        let entry = self.by_addr.get(&frame.code);
        entry.is_some_and(|entry| self.entries[entry.0 as usize].proven == self.sample)
    }

    /// From now on the frames may change. What has not been proven yet can still be, if it has long been the same.
    pub fn let_go(&mut self) {
        self.proofs = Proofs::Afterwards;
    }

    /// As [`Codes::begin`], for proofs that are read after the frames: where one does not hold, it is not known what the
    /// frame executed.
    pub fn begin_late(&mut self) {
        self.sample += 1;
        self.proofs = Proofs::Late;
    }

    /// Asks for the proofs of the code objects that were met lately, if that will most likely spare another read.
    pub fn foresee(&mut self, offsets: &Offsets, copies: &mut Copies) {
        self.forget_recent();
        if self.is_unforeseeable() {
            return;
        }
        let are_few = self.recent.len() <= FEW;
        for known in self.recent.iter().map(|entry| &self.entries[entry.0 as usize]) {
            if are_few || !known.is_expected_to_wait() {
                known.foresee(offsets, copies);
            }
        }
    }

    /// Asks for what is not foreseen and may be needed all the same.
    pub fn rehearse(&self, offsets: &Offsets, copies: &mut Copies) {
        let recent = self.recent.iter().map(|entry| &self.entries[entry.0 as usize]);
        for known in recent.filter(|known| self.is_unforeseeable() && !known.is_expected_to_wait()) {
            known.foresee(offsets, copies);
        }
    }

    /// Whether most samples lately met code objects that those before had not.
    fn is_unforeseeable(&self) -> bool {
        self.surprises > MOST_SURPRISES / 2
    }

    /// Those that were not met lately are not among the recent any more.
    fn forget_recent(&mut self) {
        let Codes { recent, entries, sample, .. } = self;
        recent.retain(|entry| {
            let known = &mut entries[entry.0 as usize];
            known.is_recent = *sample - known.met <= FORGET_AFTER;
            known.is_recent
        });
    }

    /// Asks for what [`Codes::resolve`] will need of what a frame executes, as far as it cannot wait.
    pub fn want(&mut self, frame: &RawFrame, offsets: &Offsets, copies: &mut Copies) {
        let addr = frame.code;
        let Some(&entry) = self.by_addr.get(&addr) else {
            if self.proofs != Proofs::Afterwards {
                (self.is_surprised, self.can_wait) = (true, false);
                copies.want_nearby(addr, offsets.code.size);
            }
            return;
        };
        let known = &mut self.entries[entry.0 as usize];
        if known.is_settled(self.sample, self.proofs) || !known.is_due(frame, self.proofs) {
            return;
        }
        self.is_surprised |= !known.is_recent;
        match known.function(offsets) {
            Some((function, size)) if self.proofs == Proofs::Afterwards => copies.want_nearby(function, size),
            function => {
                known.proof.want(addr, offsets, copies);
                if self.proofs == Proofs::Held {
                    if function.is_some() && known.varies.is_none() {
                        (known.varies, self.can_wait) = (Some(self.sample), false);
                    }
                    if let Some(size) = known.wants_function(offsets).filter(|_| !frame.function.is_null()) {
                        copies.want_nearby(frame.function, size);
                    }
                }
            }
        }
    }

    /// Proves that what a frame executes, and has been copied, is the code object that is known. If it is not, asks for its
    /// names and its line table: later there may be other things where they are.
    pub fn prove(&mut self, frame: &RawFrame, offsets: &Offsets, copies: &mut Copies) {
        let cached = self.by_addr.get(&frame.code).copied();
        let Some((entry, known)) = cached.map(|entry| (entry, &mut self.entries[entry.0 as usize])) else {
            self.prove_in_full(frame, None, offsets, copies);
            return;
        };
        let is_due = known.is_due(frame, self.proofs);
        if known.is_settled(self.sample, self.proofs) || self.proofs == Proofs::Afterwards && !is_due {
            return;
        }
        let Some((_, version)) = known.function.filter(|_| is_due == (self.proofs == Proofs::Afterwards)) else {
            let is_proven = self.prove_in_full(frame, Some(entry), offsets, copies);
            self.can_wait &= is_proven || !is_due;
            return;
        };
        match function_version(frame, offsets, copies) {
            Some(now) if now == version => self.note_proof(entry, true),
            // It was foreseen, and there is time for all the rest.
            Some(_) if self.proofs == Proofs::Held => {
                (known.function, self.can_wait) = (None, false);
                known.proof.want(frame.code, offsets, copies);
            }
            _ => {}
        }
    }

    /// Likewise, by the code object itself, and not by its function. True if it is the one that is known.
    fn prove_in_full(
        &mut self,
        frame: &RawFrame,
        cached: Option<Entry>,
        offsets: &Offsets,
        copies: &mut Copies,
    ) -> bool {
        let Found::Read(bytes) = copies.find_nearby(frame.code, offsets.code.size) else { return false };
        let of_type = bytes.addr_at(offsets.object.ob_type);
        let Some((fields, version)) = proof_fields(bytes, offsets) else { return false };
        let is_code = self.code_type.is_none() || of_type == self.code_type;
        if let Some(entry) = cached {
            let known = &mut self.entries[entry.0 as usize];
            if is_code && known.proof.holds(fields, version, offsets, copies) {
                if self.proofs == Proofs::Held && known.wants_function(offsets).is_some() {
                    let version = function_version(frame, offsets, copies).filter(|&version| version != 0);
                    known.function = version.map(|version| (frame.function, version));
                }
                self.note_proof(entry, version != 0);
                return true;
            }
            // While frames cannot change there is no doubt what it is instead.
            if self.proofs == Proofs::Held {
                known.times_proven = 0;
            }
        }
        if is_code && self.proofs != Proofs::Afterwards {
            for (object, len) in Self::objects_of(fields) {
                copies.want(object, len);
            }
        }
        false
    }

    /// What the fields of a code object point to, and how much of it is read at once.
    fn objects_of(fields: [u64; 6]) -> [(Addr, usize); 4] {
        let [filename, name, qualname, table, ..] = fields.map(Addr);
        [(filename, COMPARED), (name, COMPARED), (qualname, COMPARED), (table, TABLE)]
    }

    /// Finds out what a code object is called, from the cache where its proof holds.
    pub fn resolve(&mut self, addr: Addr, objects: &Objects, copies: &Copies) -> Resolved {
        let cached = self.by_addr.get(&addr).copied();
        if let Some(entry) = cached.filter(|entry| self.entries[entry.0 as usize].proven == self.sample) {
            return Resolved::Code(entry);
        }
        if cached.is_some_and(|entry| self.is_doubtful(entry)) {
            return Resolved::Unreadable;
        }
        let Found::Read(bytes) = copies.find_nearby(addr, objects.offsets.code.size) else {
            return Resolved::Unreadable;
        };
        match self.is_code(bytes, objects) {
            Some(true) => {}
            Some(false) => return Resolved::NotCode,
            None => return Resolved::Unreadable,
        }
        let Some((fields, version)) = proof_fields(bytes, objects.offsets) else { return Resolved::Unreadable };
        if let Some(entry) = cached {
            let known = &mut self.entries[entry.0 as usize];
            if known.proof.holds(fields, version, objects.offsets, copies) {
                self.note_proof(entry, version != 0);
                return Resolved::Code(entry);
            }
        }
        if let Some(known) =
            cached.map(|entry| &mut self.entries[entry.0 as usize]).filter(|_| self.proofs == Proofs::Late)
        {
            // It is read anew for the next sample.
            let is_known = known.changed != 0 && known.changed != self.sample;
            known.changed = if is_known { known.changed } else { self.sample };
            if !is_known {
                return Resolved::Unreadable;
            }
        }
        let then = AsCopied {
            objects: Self::objects_of(fields).map(|(object, _)| object),
            copies,
            memory: objects.memory,
            is_late: AtomicBool::new(false),
        };
        match self.read(addr, bytes, fields, version, &Objects { memory: &then, offsets: objects.offsets }) {
            Ok(known) => {
                let apart = bytecode_apart(&known, objects);
                let is_late = then.is_late.into_inner() || self.proofs == Proofs::Late;
                // In this order: what the names and the table are in is the code object's as long as it lives.
                let are_same = !is_late || known.proof.contents.iter().all(|content| content.is_still_there(objects));
                let now = self.read_again(addr, &known, objects);
                let is_alive = now.as_ref().is_some_and(|now| is_alive(now, objects.offsets));
                if is_late && !(are_same && is_alive) {
                    return Resolved::Unreadable;
                }
                let shape = &objects.offsets.code;
                let bytecode = match shape.bytecode {
                    Bytecode::Inline(start) => now.as_ref().and_then(|now| now.get(start..)),
                    Bytecode::Pointer(_) => apart.as_deref().filter(|_| now.is_some()),
                };
                let bytecode = bytecode.unwrap_or_default();
                let [leaves, calls, checks] = [shape.leaves, shape.calls, shape.checks].map(|of| marks(bytecode, of));
                let entry = self.remember(Known { leaves, calls, checks, ..known });
                self.meet(entry);
                Resolved::Code(entry)
            }
            Err(_) => Resolved::Unreadable,
        }
    }

    /// As [`Codes::resolve`], of a sample that may have waited for others: of a code object that was proven then, or trusted.
    /// What was read anew since then is another one.
    pub fn resolve_waiting(&mut self, addr: Addr, was_proven: bool) -> Resolved {
        let Some(&entry) = self.by_addr.get(&addr) else { return Resolved::Unreadable };
        let known = &self.entries[entry.0 as usize];
        if (was_proven || known.vouched == self.sample) && known.read < self.sample {
            return Resolved::Code(entry);
        }
        self.is_doubtful(entry);
        Resolved::Unreadable
    }

    /// Whether a code object was trusted in this sample, and turns out not to have deserved it.
    fn is_doubtful(&mut self, entry: Entry) -> bool {
        let known = &mut self.entries[entry.0 as usize];
        let was_trusted = known.is_trusted() || known.changed == self.sample;
        if self.proofs != Proofs::Afterwards || !was_trusted {
            return false;
        }
        // It is read anew for the next sample.
        known.changed = self.sample;
        true
    }

    /// Notes that a code object is the one that is known, and whether it has been all the time.
    fn note_proof(&mut self, entry: Entry, is_vouched_for: bool) {
        let known = &mut self.entries[entry.0 as usize];
        known.proven = self.sample;
        known.vouched = if is_vouched_for { self.sample } else { known.vouched };
        known.times_proven = known.times_proven.saturating_add(1);
        self.meet(entry);
    }

    /// Notes that a code object was met in this sample.
    fn meet(&mut self, entry: Entry) {
        let known = &mut self.entries[entry.0 as usize];
        known.met = self.sample;
        if !std::mem::replace(&mut known.is_recent, true) {
            self.recent.push(entry);
        }
    }

    /// Whether the copy is of a code object; `None` if it cannot be told.
    fn is_code(&mut self, bytes: &[u8], objects: &Objects) -> Option<bool> {
        let type_object = bytes.addr_at(objects.offsets.object.ob_type)?;
        if let Some(code_type) = self.code_type {
            return Some(type_object == code_type);
        }
        let is_code = objects.type_name(type_object).ok()? == "code";
        if is_code {
            self.code_type = Some(type_object);
        }
        Some(is_code)
    }

    /// Reads a code object once more, with its bytecode if that is not too long; `None` if it is another one by now.
    fn read_again(&self, addr: Addr, known: &Known, objects: &Objects) -> Option<Vec<u8>> {
        let bytecode = known.size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size <= LARGEST_BYTECODE);
        let bytes = objects.memory.read_prefix(addr, objects.offsets.code.size + bytecode.unwrap_or(0)).ok()?;
        let is_code = bytes.addr_at(objects.offsets.object.ob_type) == self.code_type;
        let is_same = proof_fields(&bytes, objects.offsets) == Some((known.proof.fields, known.proof.version));
        (is_code && is_same).then_some(bytes)
    }

    fn read(
        &mut self,
        addr: Addr,
        bytes: &[u8],
        fields: [u64; 6],
        version: u32,
        objects: &Objects,
    ) -> Result<Known, ObjectError> {
        let shape = &objects.offsets.code;
        let pointer = |at| bytes.addr_at(at).ok_or(ObjectError::Invalid("code"));
        let name = pointer(shape.qualname.unwrap_or(shape.name))?;
        let filename = pointer(shape.filename)?;
        let table = pointer(table_at(shape.line_table))?;
        let first_line = bytes.u32_at(shape.firstlineno).ok_or(ObjectError::Invalid("code"))?;
        let line_table = objects.bytes(table)?;
        let code = Code { function: objects.str(name)?.into(), file: objects.str(filename)?.into(), first_line };
        let contents = match version {
            0 => vec![
                content(name, objects.str_size(name)?, objects)?,
                content(filename, objects.str_size(filename)?, objects)?,
                content(table, objects.bytes_size(table)?, objects)?,
            ],
            _ => Vec::new(),
        };
        let size = match shape.bytecode {
            Bytecode::Inline(_) => bytes.u64_at(objects.offsets.object.ob_size).map(|units| units.wrapping_mul(2)),
            Bytecode::Pointer(_) => None,
        };
        Ok(Known {
            addr,
            proof: Proof { fields, version, contents },
            function: None,
            varies: None,
            times_proven: 0,
            is_first: !self.has_forgotten,
            read: self.sample,
            id: self.intern(&code),
            lines: Lines::decode(shape.line_table, first_line, &line_table),
            size,
            leaves: Box::default(),
            calls: Box::default(),
            checks: Box::default(),
            first_traceable: match shape.first_traceable {
                Some(at) => bytes.i32_at(at).map_or(i64::MIN, |units| i64::from(units) * 2),
                None => i64::MIN,
            },
            code,
            frames: FxHashMap::default(),
            callees: FxHashMap::default(),
            proven: self.sample,
            vouched: self.sample,
            met: self.sample,
            is_recent: false,
            changed: 0,
        })
    }

    fn remember(&mut self, known: Known) -> Entry {
        if let Some(&entry) = self.by_addr.get(&known.addr) {
            let is_recent = self.entries[entry.0 as usize].is_recent;
            self.entries[entry.0 as usize] = Known { is_recent, is_first: false, ..known };
            return entry;
        }
        if self.free.is_empty() && self.entries.len() >= MOST_ENTRIES {
            self.forget_unmet();
        }
        let addr = known.addr;
        let entry = match self.free.pop() {
            Some(entry) => {
                self.entries[entry.0 as usize] = known;
                entry
            }
            None => {
                self.entries.push(known);
                Entry(self.entries.len() as u32 - 1)
            }
        };
        self.by_addr.insert(addr, entry);
        entry
    }

    /// Forgets where code objects lie, and keeps the ids of those met: the target executed another program.
    pub fn forget_addresses(&mut self) {
        self.code_type = None;
        self.by_addr.clear();
        self.entries.clear();
        self.recent.clear();
        self.free.clear();
    }

    fn forget_unmet(&mut self) {
        self.forget_recent();
        self.forget(|known| !known.is_recent);
    }

    /// How many samples there were.
    pub fn sample(&self) -> u64 {
        self.sample
    }

    /// Forgets where code objects lie that were read in a sample or after it: an interpreter has ended that began then.
    pub fn forget_since(&mut self, sample: u64) {
        self.forget(|known| known.read >= sample);
    }

    fn forget(&mut self, is_over: impl Fn(&Known) -> bool) {
        self.has_forgotten = true;
        let Codes { entries, by_addr, free, recent, .. } = self;
        for (i, known) in entries.iter().enumerate() {
            if is_over(known) && by_addr.get(&known.addr) == Some(&Entry(i as u32)) {
                by_addr.remove(&known.addr);
                free.push(Entry(i as u32));
            }
        }
        recent.retain(|entry| by_addr.get(&entries[entry.0 as usize].addr) == Some(entry));
    }

    fn intern(&mut self, code: &Code) -> CodeId {
        if let Some(&id) = self.ids.get(code) {
            return id;
        }
        let id = CodeId(self.ids.len() as u32);
        self.ids.insert(code.clone(), id);
        self.new_codes.push((id, code.clone()));
        id
    }

    /// Function, file and first line of an entry.
    pub fn code(&self, entry: Entry) -> &Code {
        &self.entries[entry.0 as usize].code
    }

    /// Where a frame is in its code object. `None` for a frame that is still being set up: Python itself does not show
    /// it, and CPython has helpers of its own that never are anything else.
    pub fn place(&self, entry: Entry, frame: &RawFrame, objects: &Objects) -> Option<Place> {
        let known = &self.entries[entry.0 as usize];
        let in_range = known.size.is_none_or(|size| (-2..0).contains(&frame.offset) || (frame.offset as u64) < size);
        let offset = match in_range {
            true => Some(frame.offset),
            false => offset_in_copy(known, frame.offset, frame.copy, objects),
        };
        match offset {
            Some(offset) if !frame.in_generator && offset < known.first_traceable => None,
            Some(offset) => Some(Place { line: known.lines.at(offset), at: known.instruction(offset) }),
            None => Some(Place { line: None, at: Instruction::Other }),
        }
    }

    /// Whether a frame is still being set up, or made over from one that was in its place before: then it is at no
    /// instruction of its code object. It is not known of one that runs a copy of the bytecode.
    pub fn is_being_set_up(&self, entry: Entry, frame: &RawFrame) -> bool {
        let known = &self.entries[entry.0 as usize];
        let is_outside = known.size.is_some_and(|size| !(-2..size as i64).contains(&frame.offset));
        frame.copy == 0 && (is_outside || !frame.in_generator && frame.offset < known.first_traceable)
    }

    /// Whether a code object is never anything but being set up: one of the helpers that CPython has of its own. Its frames
    /// belong to no function.
    pub fn is_trampoline(&self, entry: Entry) -> bool {
        let known = &self.entries[entry.0 as usize];
        known.size.is_some_and(|size| known.first_traceable >= size as i64)
    }

    /// Whether a frame is at an instruction by which it is left for its caller.
    pub fn is_leaving(&self, entry: Entry, frame: &RawFrame) -> bool {
        is_marked(&self.entries[entry.0 as usize].leaves, frame.offset)
    }

    /// Notes that a frame and what it called agree on what was called.
    pub fn note_agreement(&mut self, caller: Entry, frame: &RawFrame) {
        // Where they have never differed nothing needs to be known.
        if let Some((agreed, _)) = self.entries[caller.0 as usize].callees.get_mut(&frame.offset) {
            *agreed += 1;
        }
    }

    /// Notes that a frame and what it called differ in what was called. True if they usually do in this place, as what the
    /// frame leaves on its value stack is not what it calls.
    pub fn note_difference(&mut self, caller: Entry, frame: &RawFrame) -> bool {
        const SEEN: u32 = 2;
        let (agreed, differed) = self.entries[caller.0 as usize].callees.entry(frame.offset).or_default();
        *differed += 1;
        *differed > SEEN && *differed > *agreed
    }

    /// The id of a frame, and what it is at; `None` for one that is still being set up.
    pub fn frame(&mut self, entry: Entry, frame: &RawFrame, objects: &Objects) -> Option<(FrameId, Instruction)> {
        let key = (frame.offset, frame.in_generator);
        if let Some(&id) = self.entries[entry.0 as usize].frames.get(&key) {
            return id;
        }
        let place = self.place(entry, frame, objects);
        let code = self.entries[entry.0 as usize].id;
        let id = place.map(|Place { line, at }| (self.intern_frame(Frame { code, line }), at));
        self.entries[entry.0 as usize].frames.insert(key, id);
        id
    }

    /// A frame that stands for something else than Python code.
    pub fn synthetic(&mut self, name: &str) -> FrameId {
        let code = self.intern(&Code { function: name.into(), file: Arc::from(""), first_line: 0 });
        self.intern_frame(Frame { code, line: None })
    }

    fn intern_frame(&mut self, frame: Frame) -> FrameId {
        let next = FrameId(self.frame_ids.len() as u32);
        *self.frame_ids.entry(frame).or_insert_with(|| {
            self.new_frames.push((next, frame));
            next
        })
    }

    /// The code objects defined since the last time.
    pub fn new_codes(&mut self) -> Drain<'_, (CodeId, Code)> {
        self.new_codes.drain(..)
    }

    /// The frames defined since the last time, of code objects that are defined before them.
    pub fn new_frames(&mut self) -> Drain<'_, (FrameId, Frame)> {
        self.new_frames.drain(..)
    }
}

/// Memory as it was when some objects in it were copied. What was not copied is read now.
struct AsCopied<'a> {
    objects: [Addr; 4],
    copies: &'a Copies,
    memory: &'a dyn Memory,
    /// Whether something was read now.
    is_late: AtomicBool,
}

impl AsCopied<'_> {
    fn find(&self, span: &Span) -> Option<&[u8]> {
        self.objects.iter().find_map(|object| {
            let Found::Read(bytes) = self.copies.find(*object) else { return None };
            let at = span.addr.since(*object)?;
            bytes.get(at..at.checked_add(span.len)?)
        })
    }
}

impl Memory for AsCopied<'_> {
    fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> Result<(), MemoryError> {
        let mut at = 0;
        for span in spans {
            let place = &mut into[at..at + span.len];
            at += span.len;
            match self.find(span) {
                Some(bytes) => {
                    place.copy_from_slice(bytes);
                    span.got = span.len;
                }
                None => {
                    self.is_late.store(true, Ordering::Relaxed);
                    self.memory.gather(std::slice::from_mut(span), place)?;
                }
            }
        }
        Ok(())
    }
}

impl Content {
    fn is_still_there(&self, objects: &Objects) -> bool {
        let now = objects.memory.read_vec(self.addr, self.len);
        now.is_ok_and(|now| now.get(objects.offsets.object.size..) == Some(&self.bytes[..]))
    }
}

impl Proof {
    fn want(&self, addr: Addr, offsets: &Offsets, copies: &mut Copies) {
        copies.want_nearby(addr, offsets.code.size);
        for content in &self.contents {
            copies.want_nearby(content.addr, content.len);
        }
    }

    fn holds(&self, fields: [u64; 6], version: u32, offsets: &Offsets, copies: &Copies) -> bool {
        let header = offsets.object.size;
        let same = |content: &Content| match copies.find_nearby(content.addr, content.len) {
            Found::Read(bytes) => bytes.get(header..content.len) == Some(&content.bytes[..]),
            Found::NotAsked => false,
        };
        self.fields == fields && self.version == version && self.contents.iter().all(same)
    }
}

/// The bytecode of a code object that points to it.
fn bytecode_apart(known: &Known, objects: &Objects) -> Option<Vec<u8>> {
    match objects.offsets.code.bytecode {
        Bytecode::Pointer(_) => objects.bytes(Addr(known.proof.fields[BYTECODE])).ok(),
        Bytecode::Inline(_) => None,
    }
}

/// For each code unit of the bytecode, 64 to a word, whether it is one of some instructions.
fn marks(bytecode: &[u8], instructions: &[u8]) -> Box<[u64]> {
    let units = bytecode.chunks_exact(2);
    let mut words = vec![0; units.len().div_ceil(64)];
    for (unit, code) in units.enumerate() {
        words[unit / 64] |= u64::from(instructions.contains(&code[0])) << (unit % 64);
    }
    words.into()
}

/// Whether the code unit at an offset in bytes is marked.
fn is_marked(marks: &[u64], offset: i64) -> bool {
    let unit = usize::try_from(offset).map_or(usize::MAX, |offset| offset / 2);
    marks.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
}

/// Which of [`proof_fields`] says where the bytecode is, if it is not inside.
const BYTECODE: usize = 5;

/// The fields of a code object that never change during its life.
fn proof_fields(bytes: &[u8], offsets: &Offsets) -> Option<([u64; 6], u32)> {
    let shape = &offsets.code;
    let pointer = |at| bytes.u64_at(at);
    let fields = [
        pointer(shape.filename)?,
        pointer(shape.name)?,
        pointer(shape.qualname.unwrap_or(shape.name))?,
        pointer(table_at(shape.line_table))?,
        u64::from(bytes.u32_at(shape.firstlineno)?) << 32 | u64::from(bytes.u32_at(shape.flags)?),
        match shape.bytecode {
            Bytecode::Inline(_) => pointer(offsets.object.ob_size)?,
            Bytecode::Pointer(at) => pointer(at)?,
        },
    ];
    let version = match shape.version {
        Some(at) => bytes.u32_at(at)?,
        None => 0,
    };
    Some((fields, version))
}

/// How much of a function object is read where it has a version instead of its code object.
fn function_size(offsets: &Offsets) -> Option<usize> {
    offsets.code.function_version.map(|at| at + size_of::<u32>())
}

/// The version of the function that a frame keeps, if that has been copied: 0 if it has none, or another code object.
fn function_version(frame: &RawFrame, offsets: &Offsets, copies: &Copies) -> Option<u32> {
    let Found::Read(bytes) = copies.find_nearby(frame.function, function_size(offsets)?) else { return None };
    let version = bytes.u32_at(offsets.code.function_version?)?;
    let is_its = bytes.addr_at(offsets.function_code()) == Some(frame.code);
    Some(if is_its { version } else { 0 })
}

fn table_at(table: LineTable) -> usize {
    match table {
        LineTable::Lnotab(at) | LineTable::Pep626(at) | LineTable::Locations(at) => at,
    }
}

/// The first bytes of an object of `size` bytes.
fn content(object: Addr, size: usize, objects: &Objects) -> Result<Content, ObjectError> {
    let bytes = objects.memory.read_vec(object, size.min(COMPARED))?;
    let rest = bytes.get(objects.offsets.object.size..).ok_or(ObjectError::Invalid("code"))?;
    Ok(Content { addr: object, len: bytes.len(), bytes: rest.to_vec() })
}

/// The offset of an instruction in the copy of the bytecode that it lies in: `co_tlbc` points to the number of copies
/// and then their addresses. `None` if it lies in none of them.
fn offset_in_copy(known: &Known, offset: i64, copy: u32, objects: &Objects) -> Option<i64> {
    let shape = &objects.offsets.code;
    let Bytecode::Inline(bytecode) = shape.bytecode else { return None };
    let instr = known.addr.offset(bytecode).0.wrapping_add(offset as u64);
    let array = objects.memory.read_addr(known.addr.offset(shape.tlbc?)).ok()?;
    let count = objects.memory.read_u64(array).ok().filter(|&n| n <= MOST_COPIES)?;
    if u64::from(copy) >= count {
        return None;
    }
    let base = objects.memory.read_u64(array.offset(8 + 8 * copy as usize)).ok()?;
    let offset = instr.wrapping_sub(base);
    (offset < known.size?).then_some(offset as i64)
}

#[cfg(test)]
mod tests {
    use python_offsets::{Arch, Build};

    use super::*;

    const BASE: u64 = 0x10000;
    const TYPE: Addr = Addr(BASE);
    const CODE: Addr = Addr(BASE + 0x1000);
    const NAME: Addr = Addr(BASE + 0x2000);
    const FILE: Addr = Addr(BASE + 0x3000);
    const TABLE: Addr = Addr(BASE + 0x4000);
    const FUNCTION: Addr = Addr(BASE + 0x5000);
    const OTHER_FUNCTION: Addr = Addr(BASE + 0x6000);

    /// Memory in which a Python 3.11 has one code object that two functions share.
    struct Python {
        bytes: Vec<u8>,
        offsets: &'static Offsets,
    }

    impl Memory for Python {
        fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> Result<(), MemoryError> {
            let mut place = 0;
            for span in spans {
                let from = span.addr.since(Addr(BASE)).and_then(|at| self.bytes.get(at..at + span.len));
                if let Some(bytes) = from {
                    into[place..place + span.len].copy_from_slice(bytes);
                    span.got = span.len;
                }
                place += span.len;
            }
            Ok(())
        }
    }

    impl Python {
        fn new() -> Python {
            let offsets = Offsets::of(11, Arch::X86_64, Build::Release).expect("there is such a table");
            let mut python = Python { bytes: vec![0; 0x8000], offsets };
            python.put(TYPE, offsets.type_object.name, TYPE.0 + 0x800);
            python.put_bytes(TYPE.offset(0x800), b"code\0");
            let of = &offsets.code;
            python.put(CODE, 0, 1);
            python.put(CODE, offsets.object.ob_type, TYPE.0);
            let table = table_at(of.line_table);
            let qualname = of.qualname.expect("3.11 has it");
            for (at, object) in [(of.name, NAME), (qualname, NAME), (of.filename, FILE), (table, TABLE)] {
                python.put(CODE, at, object.0);
            }
            python.put_str(FILE, "file");
            for function in [FUNCTION, OTHER_FUNCTION] {
                python.put(function, offsets.function_code(), CODE.0);
            }
            python
        }

        fn put_bytes(&mut self, addr: Addr, bytes: &[u8]) {
            let at = addr.since(Addr(BASE)).expect("it is inside");
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn put(&mut self, object: Addr, at: usize, word: u64) {
            self.put_bytes(object.offset(at), &word.to_le_bytes());
        }

        fn put_str(&mut self, object: Addr, text: &str) {
            let unicode = &self.offsets.unicode;
            let ascii = 1 | 8 | 16;
            self.put(object, unicode.length, text.len() as u64);
            self.put(object, unicode.state, ascii << unicode.kind_shift);
            self.put_bytes(object.offset(unicode.ascii_size), text.as_bytes());
        }

        /// Puts a function and its code object where others were. Nothing but the name and the version are different.
        fn replace(&mut self, name: &str, version: u32) {
            self.put_str(NAME, name);
            let at = self.offsets.code.function_version.expect("3.11 has it");
            self.put(FUNCTION, at, version.into());
        }

        fn objects(&self) -> Objects<'_> {
            Objects { memory: self, offsets: self.offsets }
        }

        /// Reads what is due.
        fn read(&self, codes: &mut Codes, frames: &[RawFrame], copies: &mut Copies) {
            let fetch = |copies: &mut Copies| copies.fetch(self).expect("it is there");
            frames.iter().for_each(|frame| codes.want(frame, self.offsets, copies));
            fetch(copies);
            frames.iter().for_each(|frame| codes.prove(frame, self.offsets, copies));
            fetch(copies);
        }

        /// Begins a sample, in which a frame keeps a function.
        fn begin(&self, codes: &mut Codes, function: Addr, foresees: bool) -> (RawFrame, Copies) {
            let frame = RawFrame { code: CODE, offset: 0, copy: 0, in_generator: false, function };
            let mut copies = Copies::default();
            codes.begin();
            if foresees {
                codes.foresee(self.offsets, &mut copies);
            }
            self.read(codes, &[frame], &mut copies);
            (frame, copies)
        }

        /// Ends it: what the frame executes is called.
        fn end(&self, codes: &mut Codes, (frame, copies): (RawFrame, Copies)) -> Option<String> {
            codes.let_go();
            self.read(codes, &[frame], &mut Copies::default());
            let resolved = codes.resolve(CODE, &self.objects(), &copies);
            name(codes, resolved)
        }

        fn sample(&self, codes: &mut Codes, function: Addr, foresees: bool) -> Option<String> {
            let begun = self.begin(codes, function, foresees);
            self.end(codes, begun)
        }
    }

    fn name(codes: &Codes, resolved: Resolved) -> Option<String> {
        match resolved {
            Resolved::Code(entry) => Some(codes.code(entry).function.to_string()),
            Resolved::NotCode => panic!("it is a code object"),
            Resolved::Unreadable => None,
        }
    }

    /// Such a Python, and its code object trusted by the version of the function.
    fn trusted() -> (Python, Codes) {
        let (mut python, mut codes) = (Python::new(), Codes::default());
        python.replace("first", 7);
        for _ in 0..2 * TRUSTED_AFTER {
            assert_eq!(python.sample(&mut codes, FUNCTION, false).as_deref(), Some("first"));
        }
        (python, codes)
    }

    #[test]
    fn what_has_the_version_of_its_function_is_proved_afterwards() {
        let (python, mut codes) = trusted();
        let (frame, copies) = python.begin(&mut codes, FUNCTION, false);
        assert!(codes.can_wait() && !codes.is_proven(&frame) && copies.find_nearby(CODE, 8) == Found::NotAsked);
        assert_eq!(python.end(&mut codes, (frame, copies)).as_deref(), Some("first"));
        // Where it is foreseen it is proved at once, by the function alone.
        let (frame, copies) = python.begin(&mut codes, FUNCTION, true);
        assert!(codes.can_wait() && codes.is_proven(&frame) && copies.find_nearby(CODE, 8) == Found::NotAsked);
    }

    #[test]
    fn what_is_replaced_before_it_is_proved_is_unreadable() {
        let (mut python, mut codes) = trusted();
        let begun = python.begin(&mut codes, FUNCTION, false);
        python.replace("second", 8);
        assert_eq!(python.end(&mut codes, begun), None);
        assert_eq!(python.sample(&mut codes, FUNCTION, false).as_deref(), Some("second"));
    }

    #[test]
    fn what_was_replaced_between_two_samples_is_read_anew() {
        for (function, version) in [(FUNCTION, 8), (FUNCTION, 0), (OTHER_FUNCTION, 7)] {
            let (mut python, mut codes) = trusted();
            python.replace("second", version);
            assert_eq!(python.sample(&mut codes, function, true).as_deref(), Some("second"), "{version}");
        }
    }

    #[test]
    fn a_function_that_shares_the_code_object_says_nothing_of_it() {
        let (mut python, mut codes) = trusted();
        let (frame, _) = python.begin(&mut codes, OTHER_FUNCTION, false);
        assert!(codes.is_proven(&frame) && !codes.can_wait());
        python.put_str(NAME, "second");
        assert_eq!(python.sample(&mut codes, OTHER_FUNCTION, false).as_deref(), Some("second"));
    }

    #[test]
    fn a_sample_that_waits_is_proved_with_a_later_one() {
        for (name_now, version, expected) in [("first", 7, Some("first")), ("second", 8, None)] {
            let (mut python, mut codes) = trusted();
            let (waiting, _) = python.begin(&mut codes, FUNCTION, false);
            python.replace(name_now, version);
            let (frame, _) = python.begin(&mut codes, FUNCTION, false);
            codes.let_go();
            python.read(&mut codes, &[waiting, frame], &mut Copies::default());
            let resolved = codes.resolve_waiting(CODE, false);
            assert_eq!(name(&codes, resolved).as_deref(), expected);
        }
    }

    #[test]
    fn a_sample_that_waits_is_not_proved_by_what_is_the_same_again() {
        let (mut python, mut codes) = trusted();
        python.replace("second", 8);
        let (waiting, _) = python.begin(&mut codes, FUNCTION, false);
        python.replace("first", 9);
        let (frame, _) = python.begin(&mut codes, OTHER_FUNCTION, false);
        assert!(codes.is_proven(&frame) && !codes.can_wait());
        codes.let_go();
        python.read(&mut codes, &[waiting, frame], &mut Copies::default());
        let resolved = codes.resolve_waiting(CODE, false);
        assert_eq!(name(&codes, resolved), None);
    }

    #[test]
    fn what_was_proven_need_not_be_proved_again() {
        let (mut python, mut codes) = (Python::new(), Codes::default());
        python.replace("first", 0);
        for _ in 0..2 {
            python.sample(&mut codes, FUNCTION, false);
        }
        let (frame, _) = python.begin(&mut codes, FUNCTION, false);
        assert!(codes.can_wait() && codes.is_proven(&frame));
        // Executed by nobody in the sample with which it is told.
        codes.begin();
        let resolved = codes.resolve_waiting(CODE, true);
        assert_eq!(name(&codes, resolved).as_deref(), Some("first"));
        let resolved = codes.resolve_waiting(CODE, false);
        assert_eq!(name(&codes, resolved), None);
    }
}
