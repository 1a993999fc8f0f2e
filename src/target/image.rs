//! A recorded memory image: the ranges that were read of a process, and what was known of it.
//!
//! The file is gzip; inside, one line of JSON ([`Facts`]), then ranges: address (`u64`), length (`u32`), bytes; all
//! numbers little-endian. Overlapping reads are merged: an image holds one value for each byte, the one read last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::live::Live;
use super::{Facts, lock};
use crate::error::{Error, Result};
use crate::memory::{Addr, Memory, MemoryError, Span};

/// The largest range that a file may hold.
const LARGEST_RANGE: u32 = 64 << 20;

/// Remembered memory, by address; ranges neither overlap nor touch.
#[derive(Clone, Default)]
pub struct Image {
    ranges: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    /// An image of the given ranges; where they overlap, later ones count.
    pub fn new(ranges: impl IntoIterator<Item = (Addr, Vec<u8>)>) -> Image {
        let mut image = Image::default();
        for (addr, bytes) in ranges {
            image.put(addr, &bytes);
        }
        image
    }

    /// The ranges, by address.
    pub fn ranges(&self) -> Vec<(Addr, Vec<u8>)> {
        self.ranges.iter().map(|(&addr, bytes)| (Addr(addr), bytes.clone())).collect()
    }

    fn put(&mut self, addr: Addr, bytes: &[u8]) {
        let Some(mut end) = addr.0.checked_add(bytes.len() as u64).filter(|_| !bytes.is_empty()) else { return };
        let mut start = addr.0;
        let mut merged = bytes.to_vec();
        while let Some((at, old)) = self.ranges.range(..=end).next_back().map(|(&at, old)| (at, old.clone())) {
            let old_end = at + old.len() as u64;
            if old_end < start {
                break;
            }
            self.ranges.remove(&at);
            if old_end > end {
                merged.extend_from_slice(&old[(end - at) as usize..]);
                end = old_end;
            }
            if at < start {
                let mut head = old[..(start - at) as usize].to_vec();
                head.append(&mut merged);
                merged = head;
                start = at;
            }
        }
        self.ranges.insert(start, merged);
    }

    fn prefix(&self, addr: Addr, len: usize) -> &[u8] {
        let Some((&start, bytes)) = self.ranges.range(..=addr.0).next_back() else { return &[] };
        let from = usize::try_from(addr.0 - start).unwrap_or(usize::MAX).min(bytes.len());
        &bytes[from..from.saturating_add(len).min(bytes.len())]
    }

    /// Writes the image and the facts to a file.
    pub fn save(&self, facts: &Facts, path: &Path) -> Result<()> {
        self.write(facts, path).map_err(|source| Error::Output { path: path.into(), source })
    }

    fn write(&self, facts: &Facts, path: &Path) -> io::Result<()> {
        let mut file = GzEncoder::new(BufWriter::new(File::create(path)?), Compression::best());
        serde_json::to_writer(&mut file, facts)?;
        file.write_all(b"\n")?;
        for (addr, bytes) in &self.ranges {
            file.write_all(&addr.to_le_bytes())?;
            file.write_all(&(bytes.len() as u32).to_le_bytes())?;
            file.write_all(bytes)?;
        }
        file.finish()?.flush()
    }

    /// Reads a file that [`Image::save`] wrote.
    pub fn load(path: &Path) -> Result<(Facts, Image)> {
        Image::parse(path).map_err(|e| Error::Image { path: path.into(), why: e.to_string() })
    }

    fn parse(path: &Path) -> io::Result<(Facts, Image)> {
        let mut file = BufReader::new(GzDecoder::new(File::open(path)?));
        let mut line = String::new();
        file.read_line(&mut line)?;
        let facts = serde_json::from_str(&line)?;
        let mut image = Image::default();
        while let Some((addr, bytes)) = next_range(&mut file)? {
            image.put(addr, &bytes);
        }
        Ok((facts, image))
    }
}

fn next_range(file: &mut impl BufRead) -> io::Result<Option<(Addr, Vec<u8>)>> {
    if file.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let (mut addr, mut len) = ([0; 8], [0; 4]);
    file.read_exact(&mut addr)?;
    file.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > LARGEST_RANGE {
        return Err(io::Error::other("a range is too large"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(Some((Addr(u64::from_le_bytes(addr)), bytes)))
}

impl Memory for Image {
    fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> std::result::Result<(), MemoryError> {
        let mut at = 0;
        for span in spans {
            let bytes = self.prefix(span.addr, span.len);
            into[at..at + bytes.len()].copy_from_slice(bytes);
            span.got = bytes.len();
            at += span.len;
        }
        Ok(())
    }
}

/// A living process whose answers are remembered.
pub struct Recorder {
    live: Live,
    seen: Mutex<Image>,
}

impl Recorder {
    /// Remembers what is read of `live` from now on.
    pub fn new(live: Live) -> Recorder {
        Recorder { live, seen: Mutex::default() }
    }

    /// The process itself.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The process itself, to change how it is looked at.
    pub fn live_mut(&mut self) -> &mut Live {
        &mut self.live
    }

    /// What was read so far.
    pub fn image(&self) -> Image {
        lock(&self.seen).clone()
    }
}

impl Memory for Recorder {
    fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> std::result::Result<(), MemoryError> {
        self.live.gather(spans, into)?;
        let mut at = 0;
        for span in spans {
            lock(&self.seen).put(span.addr, &into[at..at + span.got]);
            at += span.len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_image_reads_like_the_memory_that_was_put_into_it(puts in prop::collection::vec((0u64..200, prop::collection::vec(any::<u8>(), 0..40)), 0..20), at in 0u64..250, len in 0usize..60) {
            let mut flat = vec![None; 300];
            let mut image = Image::default();
            for (addr, bytes) in &puts {
                image.put(Addr(*addr), bytes);
                for (i, &b) in bytes.iter().enumerate() {
                    flat[*addr as usize + i] = Some(b);
                }
            }
            let want: Vec<u8> = flat[at as usize..].iter().take(len).map_while(|b| *b).collect();
            prop_assert_eq!(image.prefix(Addr(at), len), &want[..]);
            let ends: Vec<u64> = image.ranges.iter().map(|(a, b)| a + b.len() as u64).collect();
            prop_assert!(image.ranges.keys().skip(1).zip(ends).all(|(start, end)| *start > end));
        }
    }

    #[test]
    fn a_file_gives_back_what_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let facts = Facts { pid: 1, own_pid: 2, command: vec!["a".into()], mappings: vec![], tasks: vec![] };
        let image = Image::new([(Addr(10), vec![1, 2, 3]), (Addr(u64::MAX - 4), vec![9])]);
        image.save(&facts, &path).unwrap();
        let (read_facts, read) = Image::load(&path).unwrap();
        assert_eq!((read_facts, read.ranges()), (facts, image.ranges()));
    }
}
