//! A living process: its memory by `process_vm_readv` (or `/proc/PID/mem`, where that is refused), and `/proc`.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::signal::kill;
use nix::sys::time::TimeValLike;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use rustc_hash::FxHashMap;

use super::open_files::Share;
use super::proc::{self, Stat, Status, is_gone};
use super::source::keeps_its_ending;
use super::system_call::{Descriptor, InKernel};
use super::{Activity, Binary, Facts, Place, SchedStat, Task, lock, permission};
use crate::error::{Error, Result};
use crate::memory::{Addr, Memory, MemoryError, Span};
use crate::sample::Tid;

/// Threads whose files are kept open of a target that is looked at once; three files each.
const KEPT_OPEN_FOR_ONCE: usize = 256;
/// Mappings of which a byte is tried.
const MOST_PROBED: usize = 8;
/// File systems whose files have other devices and inodes in `maps` than for those who open them, of the kernel's
/// `linux/magic.h`: overlay, btrfs, bcachefs.
const RENUMBERING: [u64; 3] = [0x794c_7630, 0x9123_683e, 0xca45_1a4e];
/// Ranges that one `process_vm_readv` takes (`IOV_MAX`).
const MOST_RANGES: usize = 1024;

/// A living process.
pub struct Live {
    pid: u32,
    /// When it started: another process may get its id.
    started: u64,
    way: Way,
    ranges: Mutex<Vec<RemoteIoVec>>,
    reads: AtomicU64,
    tasks: Mutex<Tasks>,
    /// Its share of the files that may be kept open, where it is looked at often.
    share: OnceLock<Share>,
    /// Its memory as a file, which reads as empty once it is that of a program that runs no more, where it is looked at often.
    memory: OnceLock<Option<File>>,
    /// What counts its processor time.
    clock: OnceLock<Option<ClockId>>,
    /// Its root and its working directory, where they are kept for when it has ended.
    folders: (OnceLock<Option<File>>, OnceLock<Option<File>>),
}

/// By which system call a process's memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsBy {
    /// `process_vm_readv`: many ranges at a time.
    Vectors,
    /// `pread` of `/proc/PID/mem`, one range at a time.
    File,
}

/// By which way its memory is read.
enum Way {
    Vectored,
    File(File),
}

/// What is kept of its threads.
#[derive(Default)]
struct Tasks {
    /// The target's own ids to ours; empty where they are the same.
    translated: Option<FxHashMap<u64, Tid>>,
    /// Files below `/proc/PID/task/TID`, opened when they are first read.
    opened: FxHashMap<Tid, Opened>,
}

#[derive(Default)]
struct Opened {
    stat: Option<File>,
    schedstat: Option<File>,
    syscall: Option<File>,
}

impl Live {
    /// Opens a process. Its memory has not been tried yet, see [`Live::probe`].
    pub fn open(pid: u32) -> Result<Live> {
        can_look()?;
        let stat = match i32::try_from(pid) {
            Ok(1..) => Stat::read(pid).map_err(|e| failed(pid, e))?,
            _ => return Err(Error::NoSuchProcess { pid }),
        };
        let status = Status::read(&pid.to_string()).unwrap_or_default();
        // A thread has a folder in `/proc`, too, though none that is listed there.
        if ![0, pid].contains(&status.process) {
            return Err(Error::ThreadOf { tid: pid, pid: status.process });
        }
        if stat.is_kernel_thread {
            return Err(Error::NotPython { pid, why: format!("it is a kernel thread ({})", stat.name) });
        }
        if matches!(stat.state, b'Z' | b'X') {
            return Err(Error::Zombie { pid });
        }
        let namespaced = status.namespaced_pids.len() > 1;
        let tasks = Tasks { translated: namespaced.then(FxHashMap::default), opened: FxHashMap::default() };
        let way = if vectored_reads_work() { Way::Vectored } else { Way::File(open_memory(pid)?) };
        Ok(Live {
            pid,
            started: stat.started,
            way,
            ranges: Mutex::default(),
            reads: AtomicU64::new(0),
            tasks: Mutex::new(tasks),
            share: OnceLock::new(),
            memory: OnceLock::new(),
            clock: OnceLock::new(),
            folders: Default::default(),
        })
    }

    /// Reads one byte, to learn before anything else whether we may. Where one way of reading is refused, the other is
    /// tried: filters and sandboxes forbid the one and forget the other.
    pub fn probe(&mut self, facts: &Facts) -> Result<()> {
        if self.is_refused(facts) {
            if let Way::Vectored = self.way {
                self.way = Way::File(open_memory(self.pid)?);
            }
            if self.is_refused(facts) {
                return Err(permission::refused(self.pid));
            }
        }
        if !self.is_alive() {
            return Err(Error::Ended { pid: self.pid });
        }
        Ok(())
    }

    /// Turns to the memory that it has now: a file of memory stays that of the program that ran when it was opened.
    /// True if what it had until then was replaced, see [`Live::is_replaced`].
    pub fn renew(&mut self) -> Result<bool> {
        let before = self.memory.take();
        if before.is_some() {
            self.keep_more_open();
        }
        if let Way::File(file) = &mut self.way {
            *file = open_memory(self.pid)?;
        }
        // In this order: what is replaced later is seen by what is open now.
        Ok(before.flatten().is_some_and(|memory| is_gone_with(&memory)))
    }

    fn is_refused(&self, facts: &Facts) -> bool {
        let mut byte = [0];
        let mut starts = facts.mappings.iter().take(MOST_PROBED).map(|mapping| mapping.start);
        starts.any(|start| matches!(self.read(start, &mut byte), Err(MemoryError::Refused(_))))
    }

    /// By which system call its memory is read.
    pub fn reads_by(&self) -> ReadsBy {
        match self.way {
            Way::Vectored => ReadsBy::Vectors,
            Way::File(_) => ReadsBy::File,
        }
    }

    /// Gathers what `/proc` says of it.
    pub fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            pid: self.pid,
            own_pid: self.own_tid(Tid(self.pid)).unwrap_or(self.pid.into()) as u32,
            command: proc::command_line(self.pid),
            mappings: proc::mappings(self.pid).map_err(|e| failed(self.pid, e))?,
            tasks: self.tasks_now(),
        })
    }

    /// System calls made to read its memory so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    fn tids(&self) -> Vec<Tid> {
        let Ok(entries) = fs::read_dir(self.path("task")) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid)).collect()
    }

    fn tasks_now(&self) -> Vec<Task> {
        let task = |tid| Task { tid, own_tid: self.own_tid(tid).unwrap_or(tid.0.into()), state: self.activity(tid) };
        self.tids().into_iter().map(task).collect()
    }

    /// The id that the target itself knows one of its threads by.
    pub fn own_tid(&self, tid: Tid) -> Option<u64> {
        if lock(&self.tasks).translated.is_none() {
            return Some(tid.0.into());
        }
        let status = Status::read(&format!("{}/task/{tid}", self.pid))?;
        status.namespaced_pids.last().map(|&own| own.into())
    }

    /// The thread that the target itself knows as `own_tid`.
    pub fn task(&self, own_tid: u64) -> Option<Tid> {
        if lock(&self.tasks).translated.is_none() {
            let tid = Tid(u32::try_from(own_tid).ok()?);
            return self.is_task(tid).then_some(tid);
        }
        let known = lock(&self.tasks).translated.as_ref().and_then(|ids| ids.get(&own_tid).copied());
        if let Some(tid) = known.filter(|&tid| self.is_task(tid)) {
            return Some(tid);
        }
        let ids: FxHashMap<u64, Tid> =
            self.tids().into_iter().filter_map(|tid| Some((self.own_tid(tid)?, tid))).collect();
        let found = ids.get(&own_tid).copied();
        lock(&self.tasks).translated = Some(ids);
        found
    }

    /// Whether the process has a thread of this id.
    pub fn is_task(&self, tid: Tid) -> bool {
        self.path(&format!("task/{tid}")).exists()
    }

    /// Whether a thread uses a processor now: its state in `/proc/PID/task/TID/stat`.
    pub fn activity(&self, tid: Tid) -> Activity {
        activity(self.state_letter(tid))
    }

    /// Where a thread runs, or is ready to; `None` for one that does neither.
    pub fn place(&self, tid: Tid) -> Option<Place> {
        self.activity_and_place(tid).1
    }

    /// Both at once, which takes no longer than either.
    pub fn activity_and_place(&self, tid: Tid) -> (Activity, Option<Place>) {
        /// Longer than any line.
        const LONGEST: usize = 1024;
        let mut line = [0; LONGEST];
        match self.read_of_thread(tid, |opened| &mut opened.stat, "stat", &mut line) {
            Some(line) => (activity(state_letter_of(line)), place_of_running(line)),
            None => (Activity::Unknown, None),
        }
    }

    /// What the scheduler has counted of a thread. Where the kernel does not count, `None` unless it is asleep, and then how
    /// often it gave a processor up.
    pub fn sched_stat(&self, tid: Tid) -> Option<SchedStat> {
        let mut line = [0; 64];
        let line = self.read_of_thread(tid, |opened| &mut opened.schedstat, "schedstat", &mut line);
        let mut numbers = std::str::from_utf8(line.unwrap_or_default()).ok()?.split_ascii_whitespace();
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let stat = SchedStat { ran: next(), waited: next(), turns: next() };
        if stat.turns > 0 {
            return Some(stat);
        }
        let status = Status::read(&format!("{}/task/{tid}", self.pid)).filter(|status| status.is_asleep)?;
        Some(SchedStat { ran: 0, waited: 0, turns: status.switches })
    }

    /// For how long its threads have run altogether, in nanoseconds.
    pub fn processor_time(&self) -> Option<u64> {
        let clock = *self.clock.get_or_init(|| clock_getcpuclockid(Pid::from_raw(self.pid as i32)).ok());
        let time = clock_gettime(clock?).ok()?;
        u64::try_from(time.num_nanoseconds()).ok()
    }

    /// Where in the kernel a thread waits.
    pub fn in_kernel(&self, tid: Tid) -> Option<InKernel> {
        let mut line = [0; 256];
        InKernel::parse(self.read_of_thread(tid, |opened| &mut opened.syscall, "syscall", &mut line)?)
    }

    /// What a descriptor is.
    pub fn descriptor(&self, number: u64) -> Option<Descriptor> {
        let path = self.path(&format!("fd/{number}"));
        match Descriptor::parse(fs::read_link(&path).ok()?.as_os_str().as_bytes()) {
            // One with a name is told by its kind.
            Descriptor::File if fs::metadata(&path).is_ok_and(|there| there.file_type().is_fifo()) => {
                Some(Descriptor::Pipe)
            }
            descriptor => Some(descriptor),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The letter of its state in a thread's `stat` line, the name before which is at most 64 bytes.
    fn state_letter(&self, tid: Tid) -> Option<u8> {
        let mut line = [0; 128];
        state_letter_of(self.read_of_thread(tid, |opened| &mut opened.stat, "stat", &mut line)?)
    }

    /// Reads the beginning of a file of a thread; `None` if the thread has ended.
    fn read_of_thread<'l>(
        &self,
        tid: Tid,
        which: fn(&mut Opened) -> &mut Option<File>,
        name: &str,
        line: &'l mut [u8],
    ) -> Option<&'l [u8]> {
        let tasks = &mut *lock(&self.tasks);
        let kept = self.share.get().map_or(KEPT_OPEN_FOR_ONCE, Share::threads);
        if tasks.opened.len() > kept || tasks.opened.len() == kept && !tasks.opened.contains_key(&tid) {
            tasks.opened.clear();
        }
        let file = match which(tasks.opened.entry(tid).or_default()).take() {
            Some(file) => file,
            None => {
                let path = self.path(&format!("task/{tid}/{name}"));
                let opened = File::open(&path).or_else(|error| match is_gone(&error) {
                    true => Err(error),
                    false => {
                        // Where there are too many files, ours are among them.
                        tasks.opened.clear();
                        File::open(&path)
                    }
                });
                opened.ok()?
            }
        };
        match file.read_at(line, 0) {
            Ok(read @ 1..) => {
                if kept > 0 {
                    *which(tasks.opened.entry(tid).or_default()) = Some(file);
                }
                Some(&line[..read])
            }
            _ => {
                tasks.opened.remove(&tid);
                None
            }
        }
    }

    /// From now on it has its share of the files that may be kept open among those that are looked at often. Its memory is one, to see
    /// when it is replaced.
    pub fn keep_more_open(&self) {
        if self.share.get_or_init(Share::new).threads() > 0 {
            self.memory.get_or_init(|| open_memory(self.pid).ok());
        }
    }

    /// Whether the process is there, and neither a zombie nor another that has its id by now.
    pub fn is_alive(&self) -> bool {
        match Stat::read(self.pid) {
            Ok(stat) => !matches!(stat.state, b'Z' | b'X') && stat.started == self.started,
            Err(e) => !is_gone(&e),
        }
    }

    /// Whether it has ended or executed a program since its memory was opened, so that what is read may be of another process, or
    /// of that program. Where the memory is not kept open only another process is seen.
    pub fn is_replaced(&self) -> bool {
        match self.memory.get() {
            Some(Some(memory)) => is_gone_with(memory),
            Some(None) | None => self.is_another(),
        }
    }

    /// Whether its memory is kept open, so that it takes but a system call to ask whether it is replaced.
    pub fn keeps_memory_open(&self) -> bool {
        matches!(self.memory.get(), Some(Some(_)))
    }

    /// Whether its id is that of another process by now.
    pub fn is_another(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.started != self.started)
    }

    /// Opens the file behind a mapped binary: by its path in the target's root, by its path in ours (that of a process
    /// which has changed its root is one), as the executable, and by its mapping, which takes a privilege. A candidate
    /// counts only if it is the mapped file.
    pub fn open_binary(&self, binary: &Binary) -> Option<File> {
        let inside = |path: &Path| self.path("root").join(path.strip_prefix("/").unwrap_or(path));
        let candidates = [
            inside(&binary.path),
            binary.path.clone(),
            self.path("exe"),
            self.path(&format!("map_files/{:x}-{:x}", binary.base.0, binary.base_end.0)),
        ];
        candidates.into_iter().find_map(|path| {
            let file = open_harmless(&path).ok()?;
            self.is_mapped(&file, binary).then_some(file)
        })
    }

    /// Whether a file is the one that is mapped: it has the same device and inode. On file systems that number files
    /// differently for those who open them, its first page has to be the one in memory: it holds the program headers and
    /// usually the build ID.
    fn is_mapped(&self, file: &File, binary: &Binary) -> bool {
        let Ok(metadata) = file.metadata() else { return false };
        let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        if !metadata.is_file() {
            return false;
        }
        if metadata.ino() == binary.inode && device == binary.device {
            return true;
        }
        let renumbers = rustix::fs::fstatfs(file).is_ok_and(|there| RENUMBERING.contains(&(there.f_type as u64)));
        renumbers && self.has_first_page_of(file, binary)
    }

    fn has_first_page_of(&self, file: &File, binary: &Binary) -> bool {
        const PAGE: usize = 4096;
        let mut page = [0; PAGE];
        let Ok(mapped) = self.read_prefix(binary.base, PAGE) else { return false };
        file.read_exact_at(&mut page, 0).is_ok() && mapped == page
    }

    /// Keeps the folders open below which source files are found, so that these can be read when the process has ended.
    pub fn keep_folders(&self) {
        let open = |name| File::open(self.path(name)).ok();
        self.folders.0.get_or_init(|| open("root"));
        self.folders.1.get_or_init(|| open("cwd"));
    }

    /// Opens a source file by the name that the target has for it, as the target would: below its root, from its
    /// working directory. Only regular files.
    pub fn open_source(&self, file: &str) -> Option<File> {
        let path = Path::new(file);
        let (from, kept, resolve) = match path.is_absolute() {
            true => ("root", &self.folders.0, ResolveFlag::RESOLVE_IN_ROOT),
            false => ("cwd", &self.folders.1, ResolveFlag::RESOLVE_BENEATH),
        };
        let directory = File::open(self.path(from)).or_else(|error| match kept.get() {
            Some(Some(kept)) => kept.try_clone(),
            _ => Err(error),
        });
        let directory = directory.ok()?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let opened: OwnedFd = openat2(&directory, path, how).ok()?;
        let file = File::from(opened);
        let is_source = |opened: &File| keeps_its_ending(opened, &path.to_string_lossy());
        Some(file).filter(|file| file.metadata().is_ok_and(|there| there.is_file()) && is_source(file))
    }

    fn gather_vectored(&self, spans: &mut [Span], into: &mut [u8]) -> std::result::Result<(), MemoryError> {
        let mut ranges = lock(&self.ranges);
        let (mut first, mut at) = (0, 0);
        while first < spans.len() {
            let batch = &mut spans[first..];
            let count = batch.len().min(MOST_RANGES);
            let batch = &mut batch[..count];
            let bytes: usize = batch.iter().map(|span| span.len).sum();
            ranges.clear();
            ranges.extend(batch.iter().map(|span| RemoteIoVec { base: span.addr.0 as usize, len: span.len }));
            self.reads.fetch_add(1, Ordering::Relaxed);
            let mut local = [IoSliceMut::new(&mut into[at..at + bytes])];
            let read = match process_vm_readv(Pid::from_raw(self.pid as i32), &mut local, &ranges) {
                Ok(read) => read,
                Err(Errno::EFAULT | Errno::EINVAL) => 0,
                Err(Errno::ESRCH) => return Err(MemoryError::Gone),
                Err(e) => return Err(MemoryError::Refused(e)),
            };
            let (done, passed) = account(batch, read);
            first += done;
            at += passed;
        }
        Ok(())
    }
}

/// The letter of a thread's state in its `stat` line.
fn state_letter_of(line: &[u8]) -> Option<u8> {
    Stat::fields(line)?.next()?.bytes().next()
}

fn activity(letter: Option<u8>) -> Activity {
    match letter {
        Some(b'R') => Activity::Running,
        Some(b'T' | b't') => Activity::Stopped,
        Some(_) => Activity::Idle,
        None => Activity::Unknown,
    }
}

/// What a `stat` line says of a thread that runs, or is ready to.
fn place_of_running(line: &[u8]) -> Option<Place> {
    let mut fields = Stat::fields(line)?;
    if fields.next()? != "R" {
        return None;
    }
    let processor = fields.nth(35)?.parse().ok()?;
    let policy = fields.nth(1)?;
    Some(Place { processor, is_ordinary: ["0", "3", "5"].contains(&policy) })
}

/// Notes in `spans` that `read` bytes were read: all of the first spans and a part of the next, which is where the
/// transfer stopped. Returns how many spans are settled, and their length.
fn account(spans: &mut [Span], read: usize) -> (usize, usize) {
    let (mut left, mut passed) = (read, 0);
    for (i, span) in spans.iter_mut().enumerate() {
        span.got = span.len.min(left);
        left -= span.got;
        passed += span.len;
        if span.got < span.len {
            return (i + 1, passed);
        }
    }
    (spans.len(), passed)
}

impl Memory for Live {
    fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> std::result::Result<(), MemoryError> {
        match &self.way {
            Way::Vectored => self.gather_vectored(spans, into),
            Way::File(file) => {
                self.reads.fetch_add(spans.len() as u64, Ordering::Relaxed);
                gather_from_file(file, spans, into)
            }
        }
    }
}

/// Reads the spans one by one from `/proc/PID/mem`. It reads as empty once the process has no memory any more.
fn gather_from_file(file: &File, spans: &mut [Span], into: &mut [u8]) -> std::result::Result<(), MemoryError> {
    let mut at = 0;
    for span in spans {
        span.got = match file.read_at(&mut into[at..at + span.len], span.addr.0) {
            Ok(0) if span.len > 0 => return Err(MemoryError::Gone),
            Ok(read) => read,
            Err(e) if e.raw_os_error() == Some(Errno::ESRCH as i32) => return Err(MemoryError::Gone),
            Err(_) => 0,
        };
        at += span.len;
    }
    Ok(())
}

/// Whether the kernel has `process_vm_readv` and no filter hides it: tried on ourselves, where nothing else can refuse.
fn vectored_reads_work() -> bool {
    let byte = [0u8; 1];
    let mut copy = [0u8; 1];
    let range = RemoteIoVec { base: byte.as_ptr() as usize, len: 1 };
    process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut copy)], &[range]).is_ok()
}

/// Tries `process_vm_readv` on a process. An address at which nothing is mapped will do: whether we may is asked first.
pub fn try_vectors(pid: u32, addr: Addr) -> io::Result<()> {
    let mut byte = [0];
    let range = RemoteIoVec { base: addr.0 as usize, len: 1 };
    match process_vm_readv(Pid::from_raw(pid as i32), &mut [IoSliceMut::new(&mut byte)], &[range]) {
        Ok(_) | Err(Errno::EFAULT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Tries `/proc/PID/mem` of a process.
pub fn try_file(pid: u32, addr: Addr) -> io::Result<()> {
    let file = File::open(format!("/proc/{pid}/mem"))?;
    match file.read_at(&mut [0], addr.0) {
        Err(e) if e.raw_os_error() != Some(Errno::EIO as i32) => Err(e),
        _ => Ok(()),
    }
}

/// Whether whoever had this memory has ended, or executed a program.
fn is_gone_with(memory: &File) -> bool {
    // Nothing is mapped there, which is an error and no end.
    matches!(memory.read_at(&mut [0], 0), Ok(0))
}

fn open_memory(pid: u32) -> Result<File> {
    File::open(format!("/proc/{pid}/mem")).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => permission::refused(pid),
        _ => Error::Io { what: format!("cannot open /proc/{pid}/mem"), source: e },
    })
}

fn open_harmless(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)
}

/// Whether processes can be looked at at all: there is a `/proc`, it is that of our own PID namespace, and we may open some
/// more files, without which what is read would be silently less.
///
/// # Errors
/// [`Error::NoProc`], [`Error::ForeignProc`], or what keeps us from opening files.
pub fn can_look() -> Result<()> {
    const NEEDED: usize = 12;
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/proc/self/stat")).collect();
    opened.map_err(|source| match source.kind() {
        // The link is in every `/proc`. In one that does not show us it leads nowhere.
        io::ErrorKind::NotFound if fs::symlink_metadata("/proc/self").is_ok() => Error::ForeignProc,
        io::ErrorKind::NotFound => Error::NoProc,
        _ => Error::Io { what: "cannot look at processes".into(), source },
    })?;
    if numbers_as_we_do() { Ok(()) } else { Err(Error::ForeignProc) }
}

/// Whether `/proc` knows us by the id that we have for ourselves, and by no other further in: the ids in it are then those
/// that system calls take.
fn numbers_as_we_do() -> bool {
    let is_our_id = fs::read_link("/proc/self").is_ok_and(|this| this == Path::new(&std::process::id().to_string()));
    is_our_id && Status::read("self").is_none_or(|status| status.namespaced_pids.len() <= 1)
}

/// Whether there is a process, though `/proc` does not show it to us: it is mounted with `hidepid`.
fn is_hidden(pid: u32) -> bool {
    let process = i32::try_from(pid).map(Pid::from_raw);
    process.is_ok_and(|process| kill(process, None) == Err(Errno::EPERM))
}

/// What it means that a file of `/proc/PID` cannot be read.
pub(super) fn failed(pid: u32, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound if is_hidden(pid) => permission::refused(pid),
        io::ErrorKind::NotFound => Error::NoSuchProcess { pid },
        io::ErrorKind::PermissionDenied => permission::refused(pid),
        _ if source.raw_os_error() == Some(Errno::ESRCH as i32) => Error::NoSuchProcess { pid },
        _ => Error::Io { what: format!("cannot look at process {pid}"), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(lengths: &[usize]) -> Vec<Span> {
        lengths.iter().map(|&len| Span::new(Addr(0), len)).collect()
    }

    #[test]
    fn a_transfer_that_stops_settles_the_span_it_stopped_in() {
        let mut list = spans(&[4, 4, 4]);
        assert_eq!(account(&mut list, 6), (2, 8));
        assert_eq!(list.iter().map(|s| s.got).collect::<Vec<_>>(), [4, 2, 0]);
        assert_eq!(account(&mut list, 12), (3, 12));
        assert_eq!(account(&mut list, 0), (1, 4));
        assert_eq!(list[0].got, 0);
    }

    #[test]
    fn where_a_thread_runs_is_told_whatever_it_is_called() {
        let after =
            "1 2 3 4 5 6 7 8 9 10 150 25 13 14 15 16 17 18 2000 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 17 7 0 0";
        let line = |state: &str| format!("12 (a) R 1 2) {state} {after}\n");
        assert_eq!(place_of_running(line("R").as_bytes()), Some(Place { processor: 7, is_ordinary: true }));
        assert_eq!(place_of_running(line("S").as_bytes()), None);
        assert_eq!(place_of_running(b"12 (a) R 1 2"), None);
        let real_time = line("R").replace("17 7 0 0", "17 7 10 1");
        assert_eq!(place_of_running(real_time.as_bytes()), Some(Place { processor: 7, is_ordinary: false }));
        let own = std::fs::read("/proc/thread-self/stat").unwrap();
        assert!(place_of_running(&own).is_some());
    }

    #[test]
    fn our_own_memory_reads_around_holes() {
        let live = Live::open(std::process::id()).unwrap();
        let words = [0x0123_4567_89ab_cdefu64, 42];
        let here = Addr(words.as_ptr() as u64);
        let mut list = [Span::new(here, 8), Span::new(Addr(8), 8), Span::new(here.offset(8), 8)];
        let mut bytes = [0; 24];
        live.gather(&mut list, &mut bytes).unwrap();
        assert_eq!(list.map(|s| s.got), [8, 0, 8]);
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), words[0]);
        assert_eq!(u64::from_le_bytes(bytes[16..].try_into().unwrap()), 42);
    }

    #[test]
    fn both_ways_of_reading_agree() {
        let live = Live::open(std::process::id()).unwrap();
        let words = [7u64; 600];
        let here = Addr(words.as_ptr() as u64);
        let mut one = [Span::new(here, 4800), Span::new(Addr(8), 8), Span::new(here, 16)];
        let mut other = one;
        let (mut a, mut b) = (vec![0; 4824], vec![0; 4824]);
        live.gather(&mut one, &mut a).unwrap();
        gather_from_file(&open_memory(std::process::id()).unwrap(), &mut other, &mut b).unwrap();
        assert_eq!((one, a), (other, b));
    }

    #[test]
    fn more_ranges_than_one_call_takes_are_all_read() {
        let live = Live::open(std::process::id()).unwrap();
        let words: Vec<u64> = (0..3000).collect();
        let start = Addr(words.as_ptr() as u64);
        let mut list: Vec<Span> = (0..3000).map(|i| Span::new(start.offset(8 * i), 8)).collect();
        let mut bytes = vec![0; 24000];
        live.gather(&mut list, &mut bytes).unwrap();
        assert!(list.iter().all(|s| s.got == 8));
        assert_eq!(u64::from_le_bytes(bytes[8 * 2999..].try_into().unwrap()), 2999);
    }

    #[test]
    fn a_process_that_has_the_id_of_one_that_has_ended_is_another() {
        let mut live = Live::open(std::process::id()).unwrap();
        assert!(live.is_alive() && !live.is_another());
        live.started -= 1;
        let facts = live.facts().unwrap();
        assert!(!live.is_alive() && live.is_another());
        assert!(matches!(live.probe(&facts), Err(Error::Ended { .. })));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(matches!(Live::open(0x7fff_fff0), Err(Error::NoSuchProcess { .. })));
        assert!(matches!(Live::open(0), Err(Error::NoSuchProcess { .. })));
        assert!(matches!(Live::open(u32::MAX), Err(Error::NoSuchProcess { .. })));
    }
}
