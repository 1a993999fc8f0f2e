//! Opens a recording to be compared.

use std::io;
use std::path::Path;
use std::time::Duration;

use pysample::error::{Error, Result};
use pysample::recording::{Collapsed, Opened};
use pysample::sample::{Event, Header, Replay, Sample};

use super::recordings::tell_notes;

/// A recording in a file; `-` is standard input.
///
/// # Errors
///
/// What is wrong with the file.
pub fn open_recording(path: &Path) -> Result<Box<dyn Replay>> {
    let opened = Opened::open(path).map_err(unusable)?;
    tell_notes(&opened, path);
    Ok(match opened {
        Opened::Collapsed(stacks) => Box::new(Timeless::new(stacks)),
        own @ Opened::Own(_) => Box::new(own),
    })
}

/// What was typed cannot be compared: that is no verdict.
pub fn unusable(error: Error) -> Error {
    let hint = "a recording is a .pysample file, or collapsed stacks: main (app.py:3);work (app.py:7) 42";
    Error::Usage { what: error.to_string(), hint: Some(hint.into()) }
}

/// Collapsed stacks without the times that are made up for viewers: stacks are in the order of their names, and what follows
/// each other there tells nothing of how alike neighbours are.
struct Timeless {
    header: Header,
    stacks: Collapsed,
}

impl Timeless {
    fn new(stacks: Collapsed) -> Timeless {
        Timeless { header: Header { rate: 0.0, ..stacks.header().clone() }, stacks }
    }
}

impl Replay for Timeless {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        self.stacks.replay(&mut |event| match event {
            Event::Sample(sample) => take(Event::Sample(Sample { at: Duration::ZERO, ..sample })),
            Event::Progress(..) => Ok(()),
            event => take(event),
        })
    }
}
