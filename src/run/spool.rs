//! Where a recording is kept until what it is for can be made from it: in a file without a name, or in memory where no file
//! can be made or none has room.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use pysample::recording::Reader;

/// A place for a recording that nobody else sees.
#[derive(Debug)]
pub enum Spool {
    /// A file without a name, and how much is in it.
    File(File, u64),
    /// In memory.
    Memory(Vec<u8>),
}

impl Spool {
    /// In `folder`, if a file can be made there, else where temporary files are usually.
    pub fn new(folder: Option<&Path>) -> Spool {
        let beside = folder.and_then(|folder| tempfile::tempfile_in(folder).ok());
        match beside.or_else(|| tempfile::tempfile().ok()) {
            Some(file) => Spool::File(file, 0),
            None => Spool::Memory(Vec::new()),
        }
    }

    /// Writes what was written elsewhere, too.
    pub fn copy(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Spool::Memory(bytes) => out.write_all(bytes),
            Spool::File(file, length) => {
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
            Spool::File(file, _) => Reader::from_file(file),
            Spool::Memory(bytes) => Reader::from_bytes(bytes),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Spool::Memory(all) => all.extend_from_slice(bytes),
            Spool::File(file, length) => match file.write_all_at(bytes, *length) {
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
            Spool::File(file, length) => {
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
        let mut spool = Spool::File(File::open(named.path()).unwrap(), 3);
        spool.write_all(b"two").unwrap();
        assert!(matches!(spool, Spool::Memory(_)));
        assert_eq!(content(spool), b"onetwo");
    }
}
