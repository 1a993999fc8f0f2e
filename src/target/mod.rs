//! A process to look at, and the only code that touches the operating system on its behalf.
//!
//! A [`Target`] is a living process or a recorded image of one; whoever reads it need not know which. It hands out
//! memory ([`Target::memory`]), facts ([`Facts`]) and what the kernel says of threads. What the bytes mean is the
//! business of [`crate::python`].

pub mod cgroup;
pub mod command;
pub mod displace;
pub mod elf;
pub mod family;
pub mod herald;
mod image;
pub mod job_control;
mod live;
pub mod machine;
mod open_files;
pub mod orphans;
pub mod pause;
pub mod permission;
mod plight;
pub mod proc;
mod reaper;
mod rest;
mod source;
pub mod system_call;
pub mod urgency;
pub mod usage;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::memory::{Addr, Memory};
use crate::sample::Tid;

pub use elf::Binary;
use image::{Image, Recorder};
use live::Live;
pub use live::{ReadsBy, can_look, try_file, try_vectors};
pub use plight::Plight;
pub use proc::command_line;
use source::SourceFiles;
pub use source::keeps_its_ending;
use system_call::{Descriptor, InKernel};

/// What is known of a process without reading its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The process id as we see it.
    pub pid: u32,
    /// The process id that the process itself sees, in its own PID namespace.
    pub own_pid: u32,
    /// The command line, one string an argument.
    pub command: Vec<String>,
    /// Its mappings, by address.
    pub mappings: Vec<Mapping>,
    /// Its threads.
    pub tasks: Vec<Task>,
}

/// A mapping of a process: one line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The first address.
    pub start: Addr,
    /// The address after the last.
    pub end: Addr,
    /// Whether the process may write to it.
    pub writable: bool,
    /// Where in the file the mapping begins, in bytes.
    pub file_offset: u64,
    /// The device of the file; (0, 0) for none.
    pub device: (u32, u32),
    /// The inode of the file; 0 for none.
    pub inode: u64,
    /// The file, if there is one, as the kernel spells it.
    pub path: Option<PathBuf>,
}

/// A thread of a process, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The thread id as we see it.
    pub tid: Tid,
    /// The thread id that the process itself sees.
    pub own_tid: u64,
    /// What it did when the facts were gathered.
    pub state: Activity,
}

/// Whether a thread uses a processor, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// On a processor, or ready for one.
    Running,
    /// Waiting in the kernel.
    Idle,
    /// Stopped, by a signal or by a tracer.
    Stopped,
    /// Running for somebody else: in another interpreter.
    Elsewhere,
    /// Not known.
    Unknown,
}

impl Activity {
    /// Whether it is known not to use a processor, or not for this.
    pub fn is_off(self) -> bool {
        matches!(self, Activity::Idle | Activity::Stopped | Activity::Elsewhere)
    }
}

/// What the scheduler has counted of a thread (`/proc/PID/task/TID/schedstat`). A thread that sleeps and has the same
/// account as before has not run in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedStat {
    /// Nanoseconds on a processor, as of its last turn or timer tick.
    pub ran: u64,
    /// Nanoseconds ready for one and without.
    pub waited: u64,
    /// Turns on a processor.
    pub turns: u64,
}

/// Where a thread runs, or is ready to run (`/proc/PID/task/TID/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The processor that it is on, or queues for.
    pub processor: usize,
    /// Whether it takes turns as most threads do: it has no real-time policy.
    pub is_ordinary: bool,
}

/// A process to look at.
pub struct Target {
    facts: Facts,
    origin: Origin,
    source: Mutex<SourceFiles>,
}

enum Origin {
    Live(Live),
    Recorded(Recorder),
    Image(Image),
}

impl Target {
    /// Opens a living process for reading.
    ///
    /// Errors: no such process, a zombie, a kernel thread, no permission (with the rule that refused).
    pub fn attach(pid: u32) -> Result<Target> {
        let mut live = Live::open(pid)?;
        let facts = live.facts()?;
        live.probe(&facts)?;
        Ok(Target::new(facts, Origin::Live(live)))
    }

    /// As [`Target::attach`], and remembers every byte that is read, for [`Target::save_image`].
    pub fn attach_recording(pid: u32) -> Result<Target> {
        let Target { facts, origin, .. } = Target::attach(pid)?;
        let Origin::Live(live) = origin else { unreachable!("attach opens living processes") };
        Ok(Target::new(facts, Origin::Recorded(Recorder::new(live))))
    }

    /// Opens a recorded image: the same memory and facts, without process or privilege.
    pub fn open_image(path: &Path) -> Result<Target> {
        let (facts, image) = Image::load(path)?;
        Ok(Target::new(facts, Origin::Image(image)))
    }

    /// Opens an image from its bytes; `facts` and `ranges` as they would be in the file.
    pub fn from_ranges(facts: Facts, ranges: impl IntoIterator<Item = (Addr, Vec<u8>)>) -> Target {
        Target::new(facts, Origin::Image(Image::new(ranges)))
    }

    /// Writes what has been read so far of a target opened with [`Target::attach_recording`].
    pub fn save_image(&self, path: &Path) -> Result<()> {
        match &self.origin {
            Origin::Recorded(recorder) => recorder.image().save(&self.facts, path),
            Origin::Image(image) => image.save(&self.facts, path),
            Origin::Live(_) => Err(Error::Image { path: path.into(), why: "the target was not recorded".into() }),
        }
    }

    /// The ranges of a recorded target or an image, by address.
    pub fn ranges(&self) -> Vec<(Addr, Vec<u8>)> {
        match &self.origin {
            Origin::Recorded(recorder) => recorder.image().ranges(),
            Origin::Image(image) => image.ranges(),
            Origin::Live(_) => Vec::new(),
        }
    }

    fn new(facts: Facts, origin: Origin) -> Target {
        Target { facts, origin, source: Mutex::default() }
    }

    /// The process id as we see it.
    pub fn pid(&self) -> u32 {
        self.facts.pid
    }

    /// The command line, one string an argument.
    pub fn command(&self) -> &[String] {
        &self.facts.command
    }

    /// What was known of the process when it was opened, or last [`refresh`](Target::refresh)ed.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Its address space.
    pub fn memory(&self) -> &dyn Memory {
        match &self.origin {
            Origin::Live(live) => live,
            Origin::Recorded(recorder) => recorder,
            Origin::Image(image) => image,
        }
    }

    /// System calls made to read its memory so far; none for an image.
    pub fn reads(&self) -> u64 {
        self.live().map_or(0, Live::reads)
    }

    /// By which system call its memory is read; `None` for an image.
    pub fn reads_by(&self) -> Option<ReadsBy> {
        self.live().map(Live::reads_by)
    }

    fn live(&self) -> Option<&Live> {
        match &self.origin {
            Origin::Live(live) => Some(live),
            Origin::Recorded(recorder) => Some(recorder.live()),
            Origin::Image(_) => None,
        }
    }

    /// Gathers the facts anew, and turns to the memory of the program that runs now: mappings change while a program starts, and
    /// all of them when it executes another. True if it was seen to have done so, see [`Target::is_replaced`].
    pub fn refresh(&mut self) -> Result<bool> {
        let live = match &mut self.origin {
            Origin::Live(live) => Some(live),
            Origin::Recorded(recorder) => Some(recorder.live_mut()),
            Origin::Image(_) => None,
        };
        let Some(live) = live else { return Ok(false) };
        let is_replaced = live.renew()?;
        let facts = live.facts()?;
        if live.is_another() {
            return Err(Error::Ended { pid: facts.pid });
        }
        self.facts = facts;
        Ok(is_replaced)
    }

    /// Whether it has ended or executed a program since it was refreshed, so that what is read may be of another process that has
    /// its id, or of that program.
    pub fn is_replaced(&self) -> bool {
        self.live().is_some_and(Live::is_replaced)
    }

    /// Whether that takes but a system call.
    pub fn tells_at_once_if_replaced(&self) -> bool {
        self.live().is_some_and(Live::keeps_memory_open)
    }

    /// What keeps all of it from running, if anything does.
    pub fn plight(&self) -> Option<Plight> {
        Plight::of(self.live()?.pid())
    }

    /// Whether the process is still there. A zombie is not, nor is another that has its id.
    pub fn is_alive(&self) -> bool {
        self.live().is_none_or(Live::is_alive)
    }

    /// The thread that the process itself knows as `own_tid`; `None` if it has no such thread.
    pub fn task(&self, own_tid: u64) -> Option<Tid> {
        match self.live() {
            Some(live) => live.task(own_tid),
            None => self.facts.tasks.iter().find(|task| task.own_tid == own_tid).map(|task| task.tid),
        }
    }

    /// Whether it has a thread of this id.
    pub fn has_task(&self, tid: Tid) -> bool {
        match self.live() {
            Some(live) => live.is_task(tid),
            None => self.facts.tasks.iter().any(|task| task.tid == tid),
        }
    }

    /// The id that the process itself knows one of its threads by, where that is another than ours.
    pub fn id_inside(&self, tid: Tid) -> Option<u64> {
        let own = match self.live() {
            Some(live) => live.own_tid(tid)?,
            None => self.facts.tasks.iter().find(|task| task.tid == tid)?.own_tid,
        };
        (own != u64::from(tid.0)).then_some(own)
    }

    /// Whether a thread uses a processor now.
    pub fn activity(&self, tid: Tid) -> Activity {
        match self.live() {
            Some(live) => live.activity(tid),
            None => self.facts.tasks.iter().find(|t| t.tid == tid).map_or(Activity::Unknown, |t| t.state),
        }
    }

    /// Where a thread runs, or is ready to; `None` for one that does neither, and for an image.
    pub fn place(&self, tid: Tid) -> Option<Place> {
        self.live()?.place(tid)
    }

    /// What [`Target::activity`] and [`Target::place`] say, at once.
    pub fn activity_and_place(&self, tid: Tid) -> (Activity, Option<Place>) {
        self.live().map_or_else(|| (self.activity(tid), None), |live| live.activity_and_place(tid))
    }

    /// What the scheduler has counted of a thread; `None` for one that has ended, where it is not known, and for an image.
    pub fn sched_stat(&self, tid: Tid) -> Option<SchedStat> {
        self.live()?.sched_stat(tid)
    }

    /// For how long its threads have run altogether, in nanoseconds, those included that have ended: the sum of what
    /// [`Target::sched_stat`] says. `None` where it is not known, and for an image.
    pub fn processor_time(&self) -> Option<u64> {
        self.live()?.processor_time()
    }

    /// Where in the kernel a thread waits; `None` for one that has ended, where it is not told, and for an image.
    pub fn in_kernel(&self, tid: Tid) -> Option<InKernel> {
        self.live()?.in_kernel(tid)
    }

    /// What a descriptor of the target is; `None` where that cannot be seen.
    pub fn descriptor(&self, number: u64) -> Option<Descriptor> {
        self.live()?.descriptor(number)
    }

    /// For how long each of some threads has not been on a processor, as of about now; `None` where that is not told.
    pub fn off_for(&self, tids: &[Tid]) -> Vec<Option<Duration>> {
        match self.live() {
            Some(live) => rest::off_for(live.pid(), tids),
            None => vec![None; tids.len()],
        }
    }

    /// Prepares for looking at threads often: their files may be kept open, for which this process's limit is raised. All
    /// targets that are looked at often share it.
    pub fn expect_many_looks(&self) {
        if let Some(live) = self.live() {
            live.keep_more_open();
        }
    }

    /// Whether its threads can be stopped, see [`pause::Pauser`]: it is alive and not an image.
    pub fn can_be_paused(&self) -> bool {
        self.live().is_some()
    }

    /// The ELF files that are mapped, the executable first.
    pub fn binaries(&self) -> Vec<Binary> {
        elf::binaries(&self.facts.mappings)
    }

    /// Opens the file behind a mapped binary: the very file, whatever its path means to us. `None` where it cannot
    /// be reached.
    pub fn open_binary(&self, binary: &Binary) -> Option<File> {
        self.live()?.open_binary(binary)
    }

    /// A line of a source file that the target names, without the white space around it. `None` where the file
    /// cannot be read or has no such line.
    pub fn source_line(&self, file: &str, line: u32) -> Option<String> {
        let live = self.live()?;
        lock(&self.source).line(file, line, || live.open_source(file))
    }

    /// Sees to it that source files can be read when the process has ended, too.
    pub fn keep_sources(&self) {
        if let Some(live) = self.live() {
            live.keep_folders();
        }
    }

    /// The lines of a source file that the target names. `None` where the file cannot be read.
    pub fn source_lines(&self, file: &str) -> Option<Vec<String>> {
        let live = self.live()?;
        lock(&self.source).lines(file, || live.open_source(file)).map(<[String]>::to_vec)
    }
}

/// What a mutex guards. A thread that panicked while it held one leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
