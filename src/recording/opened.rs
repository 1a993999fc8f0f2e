//! A file that can be gone through as a recording, whoever wrote it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::time::SystemTime;

use super::collapsed::Collapsed;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::sample::{Ending, Event, Header, Replay};

/// The largest file of collapsed stacks.
const LARGEST: u64 = 4 << 30;

/// A recording, or collapsed stacks.
#[derive(Debug)]
pub enum Opened {
    /// An own recording.
    Own(Reader),
    /// Collapsed stacks.
    Collapsed(Collapsed),
}

impl Opened {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Opened> {
        let called = if path == Path::new("-") { Path::new("standard input") } else { path };
        let failed = |source| Error::Recording { path: called.into(), source };
        let file = if path == Path::new("-") { spooled(&mut io::stdin().lock()) } else { File::open(path) };
        let file = file.and_then(|file| match file.metadata()?.is_file() {
            true => Ok(file),
            // A pipe is gone through once, a recording more often.
            false => spooled(&mut { file }),
        });
        Opened::of(file.map_err(failed)?, path).map_err(failed)
    }

    fn of(mut file: File, path: &Path) -> io::Result<Opened> {
        let mut beginning = Vec::new();
        (&file).take(8).read_to_end(&mut beginning)?;
        if Reader::is_recording(&beginning) {
            return Reader::from_file(file).map(Opened::Own);
        }
        let length = file.metadata()?.len();
        if length > LARGEST {
            return Err(invalid("it is no recording of pysample, and too large for collapsed stacks"));
        }
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Err(invalid("it is empty"));
        }
        if bytes.contains(&0) {
            return Err(unlike(""));
        }
        let name = match path.file_name() {
            Some(name) if path != Path::new("-") => name.to_string_lossy().into_owned(),
            _ => "standard input".into(),
        };
        let written = file.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let collapsed = Collapsed::read(&String::from_utf8_lossy(&bytes), &name, written);
        collapsed.map(Opened::Collapsed).map_err(|why| unlike(&format!(" ({why})")))
    }

    /// Its events, one after another.
    pub fn events(&self) -> Box<dyn Iterator<Item = io::Result<Event>> + '_> {
        match self {
            Opened::Own(reader) => Box::new(reader.events()),
            Opened::Collapsed(collapsed) => Box::new(collapsed.events().map(Ok)),
        }
    }

    /// Whether pysample recorded it, and so times, states of threads and GILs are known: not so in collapsed stacks, nor in a
    /// recording that was made of them.
    pub fn is_sampled(&self) -> bool {
        !self.header().pysample.is_empty()
    }

    /// Why it ended; `None` where that is not known.
    pub fn ending(&self) -> Option<Ending> {
        match self {
            Opened::Own(reader) => reader.ending(),
            Opened::Collapsed(_) => None,
        }
    }
}

impl Replay for Opened {
    fn header(&self) -> &Header {
        match self {
            Opened::Own(reader) => reader.header(),
            Opened::Collapsed(collapsed) => collapsed.header(),
        }
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        match self {
            Opened::Own(reader) => reader.replay(take),
            Opened::Collapsed(collapsed) => collapsed.replay(take),
        }
    }

    fn replay_counted(&self, take: &mut dyn FnMut(Event, u64) -> io::Result<()>) -> io::Result<()> {
        match self {
            Opened::Own(reader) => reader.replay_counted(take),
            Opened::Collapsed(collapsed) => collapsed.replay_counted(take),
        }
    }

    fn has_end(&self) -> bool {
        match self {
            Opened::Own(reader) => reader.has_end(),
            Opened::Collapsed(collapsed) => collapsed.has_end(),
        }
    }
}

fn spooled(from: &mut dyn Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(from, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// What is in the file is nothing that is read here.
fn unlike(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("it is neither a recording of pysample nor collapsed stacks{why}"),
    )
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
