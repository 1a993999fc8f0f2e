//! The content of a block with events, taken apart into its columns, as each version stores it.

use std::io::{self, Write};
use std::sync::Arc;

use zstd::stream::raw::DParameter;
use zstd::stream::write::Decoder as Decompressor;

use super::block::WINDOW_LOG;
use super::bytes::{Column, damaged};
use super::packed::Learned;
use super::rows::Rows;
use super::times::Moments;

/// Where everything is in a block, and the bytes that it is in.
#[derive(Debug)]
pub struct Parts {
    /// What the columns are parts of.
    pub bytes: Vec<u8>,
    /// Which events there are.
    pub order: Column,
    /// The events that define things.
    pub definitions: Column,
    /// Thread samples.
    pub rows: Rows<Column>,
    /// GIL samples.
    pub gils: Column,
    /// For how much of the time samples stand, where that changes.
    pub weights: Column,
    /// When they were.
    pub moments: Moments,
}

/// What takes blocks apart, one after another: each refers to those before.
pub struct Unpacker {
    version: u32,
    decompressor: Decompressor<'static, Content>,
    learned: Learned,
    /// The table of strings.
    pub strings: Vec<Arc<str>>,
}

impl Unpacker {
    /// For a recording in a file of this version, at so many samples a second.
    pub fn new(version: u32, rate: f64) -> io::Result<Unpacker> {
        let mut decompressor = Decompressor::new(Content::default())?;
        decompressor.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Unpacker { version, decompressor, learned: Learned::of_version(version, rate), strings: Vec::new() })
    }

    /// The next block, as stored; its content is so long.
    pub fn parts(&mut self, stored: &[u8], length: usize) -> io::Result<Parts> {
        match self.version {
            1 | 2 => self.parts_in_frame(stored, length),
            _ => self.parts_packed(stored, length),
        }
    }

    /// Versions 1 and 2: all in the frame.
    fn parts_in_frame(&mut self, stored: &[u8], length: usize) -> io::Result<Parts> {
        let bytes = self.decompress(stored, length)?;
        if bytes.len() != length {
            return Err(shorter());
        }
        let mut all = Column::all(&bytes);
        self.read_strings(&bytes, &mut all)?;
        let mut next = || {
            let length = all.number(&bytes)?;
            all.part(&bytes, length)
        };
        let (order, definitions) = (next()?, next()?);
        let rows = Rows { flags: next()?, threads: next()?, states: next()?, recent: next()?, stacks: next()? };
        let (gils, moments) = (next()?, Moments::of_bits(next()?));
        match all.is_empty() {
            true => Ok(Parts { bytes, order, definitions, rows, gils, weights: Column::default(), moments }),
            false => Err(damaged("a block has more columns than are known")),
        }
    }

    /// From version 3 on: definitions in the frame, the rest packed.
    fn parts_packed(&mut self, stored: &[u8], length: usize) -> io::Result<Parts> {
        let mut all = Column::all(stored);
        let framed = all.number(stored)?;
        let framed = all.part(stored, framed)?;
        let mut bytes = self.decompress(&stored[framed.range()], length)?;
        let mut definitions = Column::all(&bytes);
        if !definitions.is_empty() {
            self.read_strings(&bytes, &mut definitions)?;
        }
        let now = self.learned.now();
        let (columns, moments) = self.learned.unpack(&stored[all.range()], &mut bytes, length)?;
        if bytes.len() != length {
            return Err(shorter());
        }
        let [order, flags, threads, states, recent, stacks, gils, weights] = columns;
        // As the first versions have it: runs, here of one event each.
        bytes[order.range()].iter_mut().for_each(|kind| *kind |= 1 << 4);
        let rows = Rows { flags, threads, states, recent, stacks };
        Ok(Parts { bytes, order, definitions, rows, gils, weights, moments: Moments::new(moments, now) })
    }

    fn read_strings(&mut self, bytes: &[u8], column: &mut Column) -> io::Result<()> {
        match column.byte(bytes)? {
            0 => {}
            1 => self.strings.clear(),
            _ => return Err(damaged("a flag is not known")),
        }
        for _ in 0..column.number(bytes)? {
            self.strings.push(column.text(bytes)?.into());
        }
        Ok(())
    }

    /// The next part of the frame, of which there may be no more than so many bytes.
    pub(super) fn decompress(&mut self, stored: &[u8], most: usize) -> io::Result<Vec<u8>> {
        if stored.is_empty() {
            // Asked for nothing again and again, zstd takes it for a mistake.
            return Ok(Vec::new());
        }
        self.decompressor.get_mut().most = most;
        let written = self.decompressor.write_all(stored).and_then(|()| self.decompressor.flush());
        written.map_err(|error| damaged(&error.to_string()))?;
        Ok(std::mem::take(self.decompressor.get_mut()).bytes)
    }
}

fn shorter() -> io::Error {
    damaged("a block is shorter than it says")
}

/// What was decompressed, which is not longer than it may be.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Content {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::Error::other("a block is longer than it says"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
