//! Finds the interpreter in a process, by content: what a file is called never counts.
//!
//! Candidates for the address of `_PyRuntime` come from exported symbols, then from symbols and sections in the files,
//! then from a search of writable memory. A candidate counts when what hangs on it validates: its interpreter, its
//! threads, and `sys.hexversion`, which must be of the version whose table was used to read it.

use std::fmt;
use std::fs::File;
use std::io::Read;

use python_offsets::published::{self, Published};
use python_offsets::{Arch, Build, Offsets, Version, dwarf};

use super::objects::{ObjectError, Objects};
use crate::error::{Error, Result};
use crate::memory::{Addr, Copies, Fields, Memory, MemoryError};
use crate::target::elf::{Loaded, Sections, Symbol};
use crate::target::{Binary, Target};

/// How much writable memory is searched at most, and in what pieces.
const MOST_SEARCHED: usize = 256 << 20;
const PIECE: usize = 1 << 20;
/// Pairs of pointers that are looked at together.
const PAIRS: usize = 1 << 10;
/// The largest file whose debug information is read.
const LARGEST_DEBUG_FILE: u64 = 1 << 30;

/// The CPython of a process.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// The address of `_PyRuntime`.
    pub runtime: Addr,
    /// Where everything lies.
    pub offsets: Offsets,
    /// Its exact version.
    pub version: Version,
    /// The processor that it was built for.
    pub arch: Arch,
    /// How it was built: `sys.abiflags`, such as `d` for a debug build and `t` for a free-threaded one.
    pub abiflags: String,
    /// How it was found.
    pub found: Found,
    /// Where its offsets are from.
    pub offsets_from: OffsetsFrom,
    /// What the user should know before trusting what is read.
    pub warning: Option<String>,
    /// `sys.path`.
    pub search_path: Vec<String>,
}

/// Where the offsets of an interpreter are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetsFrom {
    /// The table of its version and build.
    Table,
    /// What it publishes about itself (3.13 and later), over the table of its version.
    Published,
    /// The debug information of its file.
    DebugInformation,
}

impl fmt::Display for OffsetsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OffsetsFrom::Table => "the table of its version and build",
            OffsetsFrom::Published => "what it publishes about itself, over the table of its version",
            OffsetsFrom::DebugInformation => "the debug information of its file",
        })
    }
}

/// How an interpreter was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By what.
    pub by: FoundBy,
    /// In which mapped file.
    pub file: String,
}

/// By what an interpreter was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The exported symbol `_PyRuntime`.
    Symbol,
    /// The symbol `_PyRuntime` in the file's own table.
    HiddenSymbol,
    /// The section `.PyRuntime`.
    Section,
    /// The cookie at the start of the published offsets.
    Cookie,
    /// A search for the list of interpreters.
    Search,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            FoundBy::Symbol => "exported symbol _PyRuntime",
            FoundBy::HiddenSymbol => "symbol _PyRuntime",
            FoundBy::Section => "section .PyRuntime",
            FoundBy::Cookie => "published offsets in the memory",
            FoundBy::Search => "list of interpreters in the memory",
        };
        write!(f, "{by} of {}", self.file)
    }
}

impl Interpreter {
    /// The version, such as `3.13.0rc2`.
    pub fn version_text(&self) -> String {
        self.version.to_string()
    }

    /// The kind of build, in words.
    pub fn build(&self) -> String {
        let build = match (self.abiflags.contains('t'), self.abiflags.contains('d')) {
            (false, false) => "release",
            (false, true) => "debug",
            (true, false) => "free-threaded",
            (true, true) => "free-threaded debug",
        };
        build.into()
    }

    /// How it was found, in words.
    pub fn found(&self) -> String {
        self.found.to_string()
    }

    /// What the user should know before trusting what is read.
    pub fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// `sys.path`.
    pub fn search_path(&self) -> Vec<String> {
        self.search_path.clone()
    }

    /// Reads `sys.path` again: it is empty while Python starts, and programs add to it.
    pub fn read_search_path(&self, memory: &dyn Memory) -> Option<Vec<String>> {
        let main = memory.read_addr(self.runtime.offset(self.offsets.runtime.interpreters_main)).ok()?;
        let sys = memory.read_addr(main.offset(self.offsets.interpreter.sysdict)).ok()?;
        search_path(&self.objects(memory), sys)
    }

    /// Reads its objects.
    pub fn objects<'a>(&'a self, memory: &'a dyn Memory) -> Objects<'a> {
        Objects { memory, offsets: &self.offsets }
    }
}

/// A possible address of `_PyRuntime`.
struct Candidate {
    addr: Addr,
    /// The size of the symbol or section, where known: it tells builds apart.
    size: Option<u64>,
    by: FoundBy,
    binary: usize,
}

/// Two equal neighbouring pointers.
#[derive(Clone, Copy)]
struct Pair {
    /// Where they are.
    at: Addr,
    /// What they point to.
    to: Addr,
}

/// Why a candidate is not an interpreter that can be read.
enum Refusal {
    /// It may become one.
    NotRunning(String),
    /// It is one of a version that is not supported.
    Unsupported(String),
    /// It does not look like one.
    Wrong(String),
}

impl From<MemoryError> for Refusal {
    fn from(e: MemoryError) -> Self {
        Refusal::Wrong(e.to_string())
    }
}

impl From<ObjectError> for Refusal {
    fn from(e: ObjectError) -> Self {
        Refusal::Wrong(e.to_string())
    }
}

/// Finds the interpreter of a process.
///
/// Errors: not Python, a version that is not supported, a Python that is not running yet (worth another try), and one
/// that cannot be recognised.
pub fn locate(target: &Target) -> Result<Interpreter> {
    let pid = target.pid();
    let search = Search::new(target)?;
    let version = || search.banner().unwrap_or_else(|| "of an unknown version".into());
    if search.has_old_python() {
        return Err(Error::Unsupported { pid, version: version() });
    }
    let mut worst = None;
    for find in [Search::exported, Search::in_files, Search::by_cookie, Search::by_structure] {
        for candidate in find(&search) {
            match search.recognise(&candidate) {
                Ok(interpreter) => return Ok(interpreter),
                // What only looked like one, and is none that runs, proves nothing.
                Err(_) if candidate.by == FoundBy::Search => {}
                Err(refusal) => worst = Some(graver(worst, refusal)),
            }
        }
        if matches!(worst, Some(Refusal::NotRunning(_) | Refusal::Unsupported(_))) {
            break;
        }
    }
    if !target.is_alive() {
        return Err(Error::Ended { pid });
    }
    Err(match worst {
        Some(Refusal::NotRunning(why)) => Error::NotRunning { pid, why },
        Some(Refusal::Unsupported(version)) => Error::Unsupported { pid, version },
        Some(Refusal::Wrong(why)) => Error::Unrecognised { pid, version: version(), why },
        None => Error::NotPython { pid, why: search.what_it_is() },
    })
}

/// Of two refusals the one that says more.
fn graver(one: Option<Refusal>, other: Refusal) -> Refusal {
    match one {
        Some(one @ (Refusal::NotRunning(_) | Refusal::Unsupported(_))) => one,
        _ => other,
    }
}

struct Search<'a> {
    target: &'a Target,
    memory: &'a dyn Memory,
    binaries: Vec<Binary>,
    loaded: Vec<Option<Loaded>>,
}

impl<'a> Search<'a> {
    fn new(target: &'a Target) -> Result<Self> {
        let memory = target.memory();
        let binaries = target.binaries();
        let loaded: std::result::Result<_, _> = binaries.iter().map(|binary| Loaded::read(memory, binary)).collect();
        let loaded = loaded.map_err(|_| Error::Ended { pid: target.pid() })?;
        Ok(Search { target, memory, binaries, loaded })
    }

    fn symbol(&self, binary: usize, name: &str) -> Option<Symbol> {
        self.loaded[binary].as_ref()?.exported(self.memory, name).ok()?
    }

    fn exported(&self) -> Vec<Candidate> {
        let candidate = |binary| {
            let symbol = self.symbol(binary, "_PyRuntime")?;
            Some(Candidate { addr: symbol.addr, size: Some(symbol.size), by: FoundBy::Symbol, binary })
        };
        (0..self.binaries.len()).filter_map(candidate).collect()
    }

    fn in_files(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (binary, loaded) in self.loaded.iter().enumerate() {
            let Some(loaded) = loaded else { continue };
            let Some(file) = self.target.open_binary(&self.binaries[binary]) else { continue };
            let Some(sections) = Sections::read(&file) else { continue };
            let places = [
                (FoundBy::Section, sections.section(".PyRuntime")),
                (FoundBy::HiddenSymbol, sections.hidden_symbol(&file, "_PyRuntime")),
            ];
            let candidates = places.into_iter().filter_map(|(by, place)| {
                place.map(|(addr, size)| Candidate { addr: loaded.addr(addr), size: Some(size), by, binary })
            });
            found.extend(candidates);
        }
        found
    }

    /// Calls `visit` with pieces of the binaries' writable memory, until it returns false. Pieces of one range overlap
    /// by 16 bytes.
    fn writable_memory(&self, mut visit: impl FnMut(usize, Addr, &[u8]) -> bool) {
        let mut left = MOST_SEARCHED;
        for (index, binary) in self.binaries.iter().enumerate() {
            for &(start, end) in &binary.writable {
                let mut at = start;
                while at < end && left > 0 {
                    let len = end.since(at).unwrap_or(0).min(PIECE);
                    let Ok(bytes) = self.memory.read_prefix(at, len) else { return };
                    if bytes.is_empty() {
                        break;
                    }
                    if !visit(index, at, &bytes) {
                        return;
                    }
                    left = left.saturating_sub(bytes.len());
                    at = at.offset(bytes.len().max(32) - 16);
                    if bytes.len() < len || len < PIECE {
                        break;
                    }
                }
            }
        }
    }

    fn by_cookie(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        let finder = memchr::memmem::Finder::new(&published::COOKIE);
        self.writable_memory(|binary, start, bytes| {
            let candidate = |at| Candidate { addr: start.offset(at), size: None, by: FoundBy::Cookie, binary };
            found.extend(finder.find_iter(bytes).map(candidate));
            found.len() < 16
        });
        found
    }

    /// Looks for two equal neighbouring pointers, the newest and the main interpreter, on which an interpreter hangs.
    /// For builds up to 3.12 whose files tell nothing; a process with several interpreters is not found so.
    fn by_structure(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        self.writable_memory(|binary, start, bytes| {
            let tables: Vec<_> = tables(self.arch(binary), None).collect();
            let pairs: Vec<_> = self.pairs(start, bytes).collect();
            for (pair, table) in pairs.chunks(PAIRS).flat_map(|pairs| self.main_interpreters(&tables, pairs)) {
                found.push(Candidate {
                    addr: pair.at.before(table.runtime.interpreters_head),
                    size: Some(table.runtime.size as u64),
                    by: FoundBy::Search,
                    binary,
                });
            }
            found.len() < 64
        });
        found
    }

    /// The pairs of equal neighbouring pointers to writable memory in a piece of memory that begins at `start`.
    fn pairs(&self, start: Addr, bytes: &[u8]) -> impl Iterator<Item = Pair> {
        (0..bytes.len().saturating_sub(15)).step_by(8).filter_map(move |at| {
            let (head, main) = (bytes.addr_at(at)?, bytes.addr_at(at + 8)?);
            let may_be_one = head == main && head.0.is_multiple_of(8) && head.0 > 1 << 16 && self.is_writable(head);
            may_be_one.then(|| Pair { at: start.offset(at), to: head })
        })
    }

    /// Those of some pairs that point to a main interpreter, and by which tables: its newest thread says that it belongs to
    /// it. Any program has hundreds of pairs, each of which might be one by any table; all together take two reads.
    fn main_interpreters(&self, tables: &[&'static Offsets], pairs: &[Pair]) -> Vec<(Pair, &'static Offsets)> {
        let end = |table: &&Offsets| table.interpreter.id.max(table.interpreter.threads_head) + 8;
        let len = tables.iter().map(end).max().unwrap_or_default();
        let starts = self.read_each(pairs.iter().map(|pair| (pair.to, len)));
        let may_be = pairs.iter().zip(&starts).flat_map(|(pair, start)| {
            tables.iter().filter_map(|table| {
                let thread = start.addr_at(table.interpreter.threads_head)?;
                let is_main = start.u64_at(table.interpreter.id)? == 0;
                (is_main && self.is_writable(thread)).then_some((*pair, *table, thread))
            })
        });
        let may_be: Vec<_> = may_be.collect();
        let owners = self.read_each(may_be.iter().map(|(_, table, thread)| (thread.offset(table.thread.interp), 8)));
        let is_one = |(maybe, owner): (&(Pair, &'static Offsets, Addr), &Vec<u8>)| {
            let (pair, table, _) = *maybe;
            (owner.addr_at(0) == Some(pair.to)).then_some((pair, table))
        };
        may_be.iter().zip(&owners).filter_map(is_one).collect()
    }

    /// Reads many ranges together: as much as there is of each.
    fn read_each(&self, ranges: impl Iterator<Item = (Addr, usize)>) -> Vec<Vec<u8>> {
        let mut copies = Copies::default();
        let ids: Vec<_> = ranges.map(|(addr, len)| copies.want(addr, len)).collect();
        // Whoever has gone has nothing to be found in.
        let is_read = copies.fetch(self.memory).is_ok();
        ids.into_iter().map(|id| id.filter(|_| is_read).map(|id| copies.get(id).to_vec()).unwrap_or_default()).collect()
    }

    fn is_writable(&self, addr: Addr) -> bool {
        let mappings = &self.target.facts().mappings;
        let after = mappings.partition_point(|m| m.start <= addr);
        after.checked_sub(1).is_some_and(|i| mappings[i].writable && addr < mappings[i].end)
    }

    fn arch(&self, binary: usize) -> Option<Arch> {
        self.loaded[binary].as_ref()?.arch()
    }

    /// Tries every table that may fit a candidate, the likeliest first; if none does, its debug information.
    fn recognise(&self, candidate: &Candidate) -> std::result::Result<Interpreter, Refusal> {
        let start = self.memory.read_prefix(candidate.addr, published::PREFIX_LEN)?;
        if start.starts_with(&published::COOKIE) {
            return self.recognise_published(candidate, &start);
        }
        let hint = self.symbol(candidate.binary, "Py_Version").and_then(|s| self.memory.read_u64(s.addr).ok());
        let hint = hint.and_then(Version::from_hex);
        if let Some(version) = hint.filter(|v| v.major != 3 || v.minor > python_offsets::NEWEST_MINOR) {
            return Err(Refusal::Unsupported(version.to_string()));
        }
        let mut tables: Vec<_> = tables(self.arch(candidate.binary), hint.map(|v| v.minor)).collect();
        tables.sort_by_key(|table| candidate.size != Some(table.runtime.size as u64));
        let mut first = None;
        for table in tables {
            match self.validate(candidate, *table, hint) {
                Ok(interpreter) => return Ok(interpreter),
                Err(refusal) => drop(first.get_or_insert(refusal)),
            }
        }
        match first {
            Some(first @ Refusal::NotRunning(_)) => Err(first),
            first => self
                .recognise_by_debug_information(candidate, hint)
                .ok_or_else(|| first.unwrap_or_else(|| Refusal::Wrong("there is no table for its processor".into()))),
        }
    }

    fn recognise_published(&self, candidate: &Candidate, start: &[u8]) -> std::result::Result<Interpreter, Refusal> {
        let wrong = |e: published::PublishedError| Refusal::Wrong(e.to_string());
        let published = Published::decode(start).map_err(wrong)?;
        let arch = self.arch(candidate.binary);
        let Some(table) = arch.and_then(|arch| published.table(arch)) else {
            return Err(Refusal::Unsupported(published.version.to_string()));
        };
        let offsets = published.overlay(table).map_err(|e| match published.untested {
            true => Refusal::Unsupported(format!("{} ({e})", published.version)),
            false => wrong(e),
        })?;
        let warning = published.untested.then(|| {
            format!(
                "Python {} is newer than this program; what it publishes about itself is used, on trial",
                published.version
            )
        });
        let mut interpreter = self.validate(candidate, offsets, Some(published.version)).map_err(|refusal| {
            match (published.untested, refusal) {
                (true, Refusal::Wrong(why)) => Refusal::Unsupported(format!("{} ({why})", published.version)),
                (_, refusal) => refusal,
            }
        })?;
        interpreter.warning = warning;
        interpreter.offsets_from = OffsetsFrom::Published;
        Ok(interpreter)
    }

    /// The last resort, for a build that no table fits: the debug information in its file.
    fn recognise_by_debug_information(&self, candidate: &Candidate, hint: Option<Version>) -> Option<Interpreter> {
        let file = self.target.open_binary(&self.binaries[candidate.binary])?;
        let bytes = contents(file)?;
        let read = dwarf::read(&bytes, hint.map(|v| v.minor)).ok()?;
        let mut interpreter = self.validate(candidate, read.offsets, hint).ok()?;
        interpreter.offsets_from = OffsetsFrom::DebugInformation;
        interpreter.warning = Some("an unusual build; its debug information was used to read it".into());
        Some(interpreter)
    }

    /// Follows the runtime to its main interpreter, a thread of it, and `sys`. `known` is the exact version, where the
    /// file or the block that it publishes tells.
    fn validate(
        &self,
        candidate: &Candidate,
        offsets: Offsets,
        known: Option<Version>,
    ) -> std::result::Result<Interpreter, Refusal> {
        let runtime = candidate.addr;
        let not_running = |what: &str| Refusal::NotRunning(what.into());
        let head = self.memory.read_addr(runtime.offset(offsets.runtime.interpreters_head))?;
        let main = self.memory.read_addr(runtime.offset(offsets.runtime.interpreters_main))?;
        if head.is_null() || main.is_null() {
            return Err(not_running("it has no interpreter"));
        }
        if self.memory.read_u64(main.offset(offsets.interpreter.id))? != 0 {
            return Err(Refusal::Wrong("its main interpreter has another id than 0".into()));
        }
        let thread = self.memory.read_addr(main.offset(offsets.interpreter.threads_head))?;
        if thread.is_null() {
            return Err(not_running("its main interpreter has no thread"));
        }
        if self.memory.read_addr(thread.offset(offsets.thread.interp))? != main {
            return Err(Refusal::Wrong("a thread of its main interpreter belongs to another".into()));
        }
        let objects = Objects { memory: self.memory, offsets: &offsets };
        let sys = self.memory.read_addr(main.offset(offsets.interpreter.sysdict))?;
        if sys.is_null() {
            return Err(not_running("it has no sys module"));
        }
        let finalizing = self.memory.read_addr(runtime.offset(offsets.runtime.finalizing))?;
        let version = check_version(&objects, sys, known, !finalizing.is_null())?;
        Ok(Interpreter {
            runtime,
            offsets,
            version,
            arch: self.arch(candidate.binary).unwrap_or(Arch::X86_64),
            abiflags: sys_str(&objects, sys, "abiflags").unwrap_or_default(),
            found: Found { by: candidate.by, file: self.binaries[candidate.binary].path.display().to_string() },
            offsets_from: OffsetsFrom::Table,
            warning: None,
            search_path: search_path(&objects, sys).unwrap_or_default(),
        })
    }

    /// Whether a Python of before 3.7 is mapped, which has no `_PyRuntime`.
    fn has_old_python(&self) -> bool {
        (0..self.binaries.len()).any(|binary| self.symbol(binary, "_PyThreadState_Current").is_some())
    }

    /// The version in `sys.version`'s buffer, such as `2.7.18`, from the writable memory of a Python binary.
    fn banner(&self) -> Option<String> {
        let mut found = None;
        self.writable_memory(|binary, _, bytes| {
            let is_python = ["Py_GetVersion", "_PyRuntime"].iter().any(|name| self.symbol(binary, name).is_some());
            found = is_python.then(|| version_in(bytes)).flatten();
            found.is_none()
        });
        found
    }

    fn what_it_is(&self) -> String {
        match self.target.command() {
            [] => "it maps no file with a CPython in it".into(),
            [program, ..] => {
                let files = self.loaded.iter().flatten().count();
                format!("none of the {files} programs and libraries it maps holds a CPython ({program})")
            }
        }
    }
}

/// Tables of versions that publish nothing, or of one version; for every build, the usual ones first.
fn tables(arch: Option<Arch>, minor: Option<u8>) -> impl Iterator<Item = &'static Offsets> {
    let minors = python_offsets::OLDEST_MINOR..published::FIRST_MINOR;
    let builds = Build::ALL.into_iter();
    let all = builds.flat_map(move |build| minors.clone().map(move |minor| (minor, build)));
    all.filter(move |(m, _)| minor.is_none_or(|minor| minor == *m))
        .filter_map(move |(minor, build)| Offsets::of(minor, arch?, build))
}

/// The version that `sys` tells, which must be the one that the offsets are for. A Python that shuts down has emptied
/// `sys`; then the version that the file tells has to do.
fn check_version(
    objects: &Objects,
    sys: Addr,
    known: Option<Version>,
    is_finalizing: bool,
) -> std::result::Result<Version, Refusal> {
    let told = objects.dict_get(sys, "hexversion")?.map(|hex| objects.unsigned(hex));
    match (told, known, is_finalizing) {
        (Some(Ok(hex)), known, _) => Version::from_hex(hex)
            .filter(|told| match known {
                Some(known) => *told == known,
                None => told.major == 3 && told.minor == objects.offsets.minor,
            })
            .ok_or_else(|| Refusal::Wrong("sys.hexversion is that of another version".into())),
        (_, Some(known), true) => Ok(known),
        (_, None, true) => Err(Refusal::NotRunning("it is shutting down".into())),
        (Some(Err(e)), _, false) => Err(e.into()),
        (None, _, false) => Err(Refusal::NotRunning("its sys module is not complete".into())),
    }
}

fn sys_str(objects: &Objects, sys: Addr, name: &str) -> Option<String> {
    objects.str(objects.dict_get(sys, name).ok()??).ok()
}

/// `sys.path`; `sys` is the dict of the module.
fn search_path(objects: &Objects, sys: Addr) -> Option<Vec<String>> {
    let items = objects.list(objects.dict_get(sys, "path").ok()??).ok()?;
    Some(objects.str_many(&items).ok()?.into_iter().flatten().collect())
}

fn contents(mut file: File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.metadata().ok()?.len() > LARGEST_DEBUG_FILE {
        return None;
    }
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A version number followed by ` (`, as `sys.version` has it.
fn version_in(bytes: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(bytes, b" (").find_map(|end| {
        let start = bytes[..end].iter().rposition(|b| !b.is_ascii_alphanumeric() && !b".+".contains(b));
        let text = std::str::from_utf8(&bytes[start.map_or(0, |at| at + 1)..end]).ok()?;
        let mut parts = text.splitn(3, '.');
        let major = parts.next()?;
        let minor: u8 = parts.next()?.parse().ok()?;
        let micro = parts.next()?;
        let is_version = matches!(major, "2" | "3") && minor < 100 && micro.starts_with(|c: char| c.is_ascii_digit());
        (is_version && text.len() < 20).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_recognised_by_what_follows_it() {
        assert_eq!(version_in(b"\0\x012.7.18 (default, May  9"), Some("2.7.18".into()));
        assert_eq!(version_in(b"GCC) 3.6.15+ (heads/x"), Some("3.6.15+".into()));
        assert_eq!(version_in(b"f(x) (y) 10.3 (z) 1.2.3 (a)"), None);
        assert_eq!(version_in(b" ("), None);
    }
}
