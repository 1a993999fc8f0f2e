//! What becomes of what was recorded where it cannot be written as it was to be, because a disk is full or a folder is gone: it
//! is written among the temporary files, or what it was to be made of is kept, for `pysample convert` to make it later.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pysample::error::{Error, Result};
use pysample::output::{Output, write_elsewhere};
use pysample::recording::Reader;

use super::record;
use super::spool::Nameless;
use crate::plan::Format;

/// So many characters of a file's name are kept in another one's.
const LONGEST_NAME: usize = 80;

/// Writes an output, among the temporary files if not where it was to be. Where it is, in words, if it is anywhere; and what
/// went wrong.
pub fn write(
    output: Output,
    format: Format,
    fill: &dyn Fn(&mut dyn Write) -> io::Result<()>,
) -> (Option<String>, Result<()>) {
    let wanted = Wanted::of(&output, format);
    match record::write(output, fill) {
        Ok(written) => (Some(written), Ok(())),
        Err(error) if is_unwanted(&error) => (None, Err(error)),
        Err(error) => (wanted.elsewhere(fill), Err(error)),
    }
}

/// As [`write`], of what is made from a recording; if it can be written nowhere, the recording is kept. It may have a file
/// already.
pub fn write_or_keep(
    output: Output,
    format: Format,
    fill: &dyn Fn(&mut dyn Write) -> io::Result<()>,
    recording: (&Reader, Option<Nameless>),
) -> (Option<String>, Result<()>) {
    let wanted = Wanted::of(&output, format);
    match write(output, format, fill) {
        (None, Err(error)) if !is_unwanted(&error) => (wanted.keep(recording), Err(error)),
        written => written,
    }
}

/// Where a recording is that was written as it was made, in words. If its file was removed meanwhile, what is in it is written
/// among the temporary files.
pub fn removed(file: &File, path: &Path) -> (Option<String>, Result<()>) {
    if file.metadata().is_ok_and(|there| there.nlink() > 0 || !there.is_file()) {
        return (Some(path.display().to_string()), Ok(()));
    }
    let wanted = Wanted { path: path.to_owned(), format: Format::Pysample };
    let copy = |out: &mut dyn Write| {
        // It was opened for writing only.
        io::copy(&mut File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?, out).map(drop)
    };
    let source = io::Error::new(ErrorKind::NotFound, "it was removed while it was recorded");
    (wanted.elsewhere(&copy), Err(Error::Output { path: wanted.path, source }))
}

/// Whoever it was for has gone.
fn is_unwanted(error: &Error) -> bool {
    matches!(error, Error::Output { source, .. } if source.kind() == ErrorKind::BrokenPipe)
}

/// What was to be written.
struct Wanted {
    path: PathBuf,
    format: Format,
}

impl Wanted {
    fn of(output: &Output, format: Format) -> Wanted {
        Wanted { path: output.path().to_owned(), format }
    }

    /// Its file's name as a part of another one's.
    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.chars().take(LONGEST_NAME).map(|c| if c.is_whitespace() { '-' } else { c }).collect()
    }

    /// Writes it among the temporary files; where, in words.
    fn elsewhere(&self, fill: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Option<String> {
        let (name, ending) = (self.name(), self.format.ending());
        let stem = name.strip_suffix(&format!(".{ending}")).unwrap_or(&name);
        let path = write_elsewhere(stem, ending, fill).ok()?;
        Some(format!("{}, instead of {}", path.display(), self.path.display()))
    }

    /// Keeps what it was to be made of; where, in words.
    fn keep(&self, (reader, file): (&Reader, Option<Nameless>)) -> Option<String> {
        let (name, ending) = (self.name(), Format::Pysample.ending());
        let named = |file: Nameless| file.name(&format!("{name}.{ending}")).ok();
        let path = file.and_then(named).or_else(|| write_elsewhere(&name, ending, |out| reader.copy(out)).ok())?;
        Some(format!("{}, of which `pysample convert` makes {}", path.display(), self.path.display()))
    }
}
