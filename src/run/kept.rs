//! What is kept of a recording while it is made: totals where the format needs no more, else every sample, in a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pysample::aggregate::{CallTree, Synopsis};
use pysample::error::Result;
use pysample::output::Output;
use pysample::recording::Writer;
use pysample::sample::{Event, Header};
use pysample::view::summary::Profile;

use super::follow::Sum;
use super::sources::Sources;
use super::spool::Spool;
use crate::plan::{FromSamples, FromStacks, Way};

/// Samples are in the file after so long, and the time until the next look at the clock: a tenth of a second.
const SAFE_AFTER: Duration = Duration::from_millis(800);

/// What is kept of a recording, and what becomes of it.
pub enum Kept {
    /// Totals.
    Stacks(CallTree, FromStacks, Output),
    /// Every sample, in the file that it is for.
    Own(Samples<File>, PathBuf, Disk),
    /// Every sample, to be written as another format in the end, or to somebody who may not read as fast as it comes: then
    /// as it is.
    Spooled(Samples<Spool>, Option<FromSamples>, Sources, Output),
}

/// Every sample, on its way to a file.
pub struct Samples<W: Write> {
    /// The file.
    pub writer: Writer<W>,
    /// What is in it.
    pub synopsis: Synopsis,
    saved: Instant,
    saved_until: Duration,
}

impl Kept {
    /// Begins.
    ///
    /// # Errors
    ///
    /// The file of an own recording cannot be written.
    pub fn new(way: Way, tree: CallTree, header: &Header, sources: Sources, output: Output) -> Result<Kept> {
        let spooled = |from, output: Output| {
            let samples = Samples::new(Spool::new(output.folder()), header);
            let samples = samples.map_err(|source| output.failed(source))?;
            Ok(Kept::Spooled(samples, from, sources, output))
        };
        match way {
            Way::Stacks(write) => Ok(Kept::Stacks(tree, write, output)),
            Way::Samples(write) => spooled(Some(write), output),
            Way::Own if output.may_wait() => spooled(None, output),
            Way::Own => {
                let path = output.path().to_owned();
                let samples = Samples::new(output.stream()?, header);
                let samples = samples.map_err(|source| pysample::Error::Output { path: path.clone(), source })?;
                Ok(Kept::Own(samples, path, Disk::default()))
            }
        }
    }

    /// Whether writing may take as long as somebody else pleases.
    pub fn may_wait(&self) -> bool {
        match self {
            Kept::Stacks(.., output) | Kept::Spooled(.., output) => output.may_wait(),
            Kept::Own(..) => false,
        }
    }

    /// What is in it.
    pub fn profile(&self) -> Profile {
        match self {
            Kept::Stacks(tree, ..) => Profile {
                stacks: tree.samples(),
                slots: tree.slots(),
                distinct: tree.distinct_stacks(),
                frameless: tree.frameless(),
                threads: tree.thread_count(),
            },
            Kept::Own(Samples { synopsis, .. }, ..) => profile(synopsis),
            Kept::Spooled(Samples { synopsis, .. }, ..) => profile(synopsis),
        }
    }
}

/// What is in a recording.
pub fn profile(synopsis: &Synopsis) -> Profile {
    Profile {
        stacks: synopsis.stacks(),
        slots: synopsis.slots(),
        distinct: synopsis.distinct_stacks(),
        frameless: synopsis.frameless(),
        threads: synopsis.thread_count(),
    }
}

impl Sum for Kept {
    fn take(&mut self, event: Event) -> io::Result<()> {
        match self {
            Kept::Stacks(tree, ..) => {
                tree.take(event);
                Ok(())
            }
            Kept::Own(samples, ..) => samples.take(&event),
            Kept::Spooled(samples, ..) => samples.take(&event),
        }
    }

    fn rest(&mut self) -> io::Result<()> {
        match self {
            Kept::Stacks(..) => Ok(()),
            Kept::Own(samples, _, disk) => match samples.save()? {
                true => disk.bring(samples.writer.get_ref()),
                false => Ok(()),
            },
            Kept::Spooled(samples, ..) => samples.save().map(drop),
        }
    }
}

impl<W: Write> Samples<W> {
    fn new(out: W, header: &Header) -> io::Result<Samples<W>> {
        let writer = Writer::new(out, header)?;
        Ok(Samples { writer, synopsis: Synopsis::default(), saved: Instant::now(), saved_until: Duration::ZERO })
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        self.writer.take(event)?;
        self.synopsis.take(event);
        Ok(())
    }

    /// Sees to it that what was taken is in the file, if it is time; whether it was.
    fn save(&mut self) -> io::Result<bool> {
        if self.saved.elapsed() < SAFE_AFTER {
            return Ok(false);
        }
        self.writer.flush()?;
        (self.saved, self.saved_until) = (Instant::now(), self.synopsis.elapsed());
        Ok(true)
    }

    /// Up to which time of the recording, at least, what was taken is in the file.
    pub fn saved_until(&self) -> Duration {
        self.saved_until
    }
}

/// Brings what is in a file to the disk, where it outlives the machine's going down. A disk may take its time, and samples go
/// on: a thread waits for it, one at a time.
#[derive(Default)]
pub struct Disk(Option<JoinHandle<io::Result<()>>>);

impl Disk {
    /// Begins to, unless what was there before is still on its way.
    ///
    /// # Errors
    ///
    /// What the disk said of that.
    fn bring(&mut self, file: &File) -> io::Result<()> {
        if self.0.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        self.arrived()?;
        let file = file.try_clone()?;
        // Where no thread can be made it is left to the kernel, and to the end.
        self.0 = thread::Builder::new().name("pysample-disk".into()).spawn(move || file.sync_data()).ok();
        Ok(())
    }

    /// Waits for what is on its way.
    ///
    /// # Errors
    ///
    /// What the disk said of it.
    pub fn arrived(&mut self) -> io::Result<()> {
        match self.0.take().map(JoinHandle::join) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) | None => Ok(()),
        }
    }
}
