//! Where a recording is kept until what it is for can be made from it: in a file without a name, or in memory where no file
//! can be made or none has room.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pysample::recording::Reader;
use rustix::fs::{AtFlags, CWD, OFlags, linkat};

/// A place for a recording that nobody else sees.
#[derive(Debug)]
pub enum Spool {
    /// A file without a name, and how much is in it.
    File(Nameless, u64),
    /// In memory.
    Memory(Vec<u8>),
}

/// A file without a name, in some folder.
#[derive(Debug)]
pub struct Nameless {
    file: File,
    folder: PathBuf,
}

impl Nameless {
    fn new(folder: PathBuf) -> io::Result<Nameless> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(OFlags::TMPFILE.bits() as i32);
        // Some file systems know no such files; there one is made and its name taken away, for good.
        let file = options.open(&folder).or_else(|_| tempfile::tempfile_in(&folder))?;
        Ok(Nameless { file, folder })
    }

    /// Gives it a name in its folder, which takes no room; where it is now.
    ///
    /// # Errors
    ///
    /// The name is taken, or the file system cannot do that.
    pub fn name(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        linkat(CWD, format!("/proc/self/fd/{}", self.file.as_raw_fd()), CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        self.file.sync_all()?;
        Ok(path)
    }
}

impl Spool {
    /// In `folder`, if a file can be made there, else where temporary files are usually.
    pub fn new(folder: Option<&Path>) -> Spool {
        let folders = folder.map(Path::to_owned).into_iter().chain([env::temp_dir()]);
        match folders.into_iter().find_map(|folder| Nameless::new(folder).ok()) {
            Some(file) => Spool::File(file, 0),
            None => Spool::Memory(Vec::new()),
        }
    }

    /// The file it is in, if it is in one.
    pub fn file(&self) -> Option<Nameless> {
        match self {
            Spool::File(Nameless { file, folder }, _) => {
                file.try_clone().ok().map(|file| Nameless { file, folder: folder.clone() })
            }
            Spool::Memory(_) => None,
        }
    }

    /// Writes what was written elsewhere, too.
    pub fn copy(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Spool::Memory(bytes) => out.write_all(bytes),
            Spool::File(Nameless { file, .. }, length) => {
                let (mut buffer, mut at) = (vec![0; 1 << 16], 0);
                while at < *length {
                    let want = buffer.len().min(usize::try_from(*length - at).unwrap_or(usize::MAX));
                    file.read_exact_at(&mut buffer[..want], at)?;
                    out.write_all(&buffer[..want])?;
                    at += want as u64;
                }
                Ok(())
            }
        }
    }

    /// What was written, to be read.
    pub fn into_reader(self) -> io::Result<Reader> {
        match self {
            Spool::File(Nameless { file, .. }, _) => Reader::from_file(file),
            Spool::Memory(bytes) => Reader::from_bytes(bytes),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Spool::Memory(all) => all.extend_from_slice(bytes),
            Spool::File(Nameless { file, .. }, length) => match file.write_all_at(bytes, *length) {
                Ok(()) => *length += bytes.len() as u64,
                Err(_) => {
                    let mut all = vec![0; *length as usize];
                    file.read_exact_at(&mut all, 0)?;
                    all.extend_from_slice(bytes);
                    *self = Spool::Memory(all);
                }
            },
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(spool: Spool) -> Vec<u8> {
        match spool {
            Spool::Memory(bytes) => bytes,
            Spool::File(Nameless { file, .. }, length) => {
                let mut bytes = vec![0; length as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            }
        }
    }

    #[test]
    fn a_file_beside_the_output_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(folder.path()));
        spool.write_all(b"one").unwrap();
        spool.write_all(b"two").unwrap();
        let mut copied = Vec::new();
        spool.copy(&mut copied).unwrap();
        assert_eq!(copied, b"onetwo");
        assert!(matches!(spool, Spool::File(..)));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert_eq!(content(spool), b"onetwo");
    }

    #[test]
    fn a_file_gets_a_name_that_nobody_has() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(folder.path()));
        spool.write_all(b"one").unwrap();
        let file = spool.file().unwrap();
        drop(spool);
        let path = folder.path().join("x.pysample");
        match file.name("x.pysample") {
            // Not every file system can do that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            named => assert_eq!(named.unwrap(), path),
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        let taken = Spool::new(Some(folder.path())).file().unwrap().name("x.pysample").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn where_no_file_can_be_made_beside_the_output_there_is_another_place() {
        let mut spool = Spool::new(Some(Path::new("/nonexistent")));
        spool.write_all(b"one").unwrap();
        assert_eq!(content(spool), b"one");
    }

    #[test]
    fn what_a_file_has_no_room_for_goes_to_memory_with_the_rest() {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().write_all_at(b"one", 0).unwrap();
        // As good as full: it can be read only.
        let mut spool = Spool::File(Nameless { file: File::open(named.path()).unwrap(), folder: PathBuf::new() }, 3);
        spool.write_all(b"two").unwrap();
        assert!(matches!(spool, Spool::Memory(_)));
        assert_eq!(content(spool), b"onetwo");
    }
}
