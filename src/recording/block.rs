//! Blocks: kind, lengths and checksums around a content. What is in it is not known here.

use std::io;

use super::bytes::damaged;

/// What a file begins with.
pub const MAGIC: [u8; 8] = *b"\x89PYSMPL\n";
/// The version of the format that is written. Those before it are read as well.
pub const VERSION: u32 = 4;
/// What comes before the first block.
pub const FILE_HEAD: u64 = 12;
/// What comes before the content of a block.
pub const HEAD: usize = 17;
/// The longest content, in bytes: it bounds what a reader has to hold.
pub const LONGEST: usize = 64 << 20;

/// How far back a compressed block refers at most, as a power of two of bytes.
pub const WINDOW_LOG: u32 = 18;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is said of the recording as a whole.
    Header,
    /// Events.
    Data,
    /// Why it ended.
    End,
}

/// What is known of a block before its content is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is for.
    pub kind: Kind,
    /// Bytes of the content as stored.
    pub stored: usize,
    /// Bytes of the content.
    pub length: usize,
    checksum: u32,
}

impl Head {
    /// The head of a block of such a content.
    pub fn new(kind: Kind, stored: &[u8], length: usize) -> Head {
        Head { kind, stored: stored.len(), length, checksum: crc32fast::hash(stored) }
    }

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0] = match self.kind {
            Kind::Header => b'H',
            Kind::Data => b'D',
            Kind::End => b'E',
        };
        bytes[1..5].copy_from_slice(&(self.stored as u32).to_le_bytes());
        bytes[5..9].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[9..13].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..13]);
        bytes[13..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What stands in the file; `None` where a file system left zeros.
    pub fn read(bytes: &[u8; HEAD]) -> io::Result<Option<Head>> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if crc32fast::hash(&bytes[..13]) != word(13) {
            return Err(damaged("the head of a block does not go with its checksum"));
        }
        let kind = match bytes[0] {
            b'H' => Kind::Header,
            b'D' => Kind::Data,
            b'E' => Kind::End,
            _ => return Err(damaged("a block is of no known kind")),
        };
        let (stored, length) = (word(1) as usize, word(5) as usize);
        if stored > LONGEST || length > LONGEST {
            return Err(damaged("a block is too long"));
        }
        Ok(Some(Head { kind, stored, length, checksum: word(9) }))
    }

    /// Whether these are the bytes that were stored.
    pub fn check(&self, stored: &[u8]) -> io::Result<()> {
        match crc32fast::hash(stored) == self.checksum {
            true => Ok(()),
            false => Err(damaged("a block does not go with its checksum")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back() {
        for kind in [Kind::Header, Kind::Data, Kind::End] {
            let head = Head::new(kind, b"content", 99);
            assert_eq!(Head::read(&head.to_bytes()).unwrap(), Some(head));
            head.check(b"content").unwrap();
            head.check(b"Content").unwrap_err();
        }
    }

    #[test]
    fn a_head_with_any_bit_flipped_is_refused() {
        let bytes = Head::new(Kind::Data, b"content", 99).to_bytes();
        for bit in 0..HEAD * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::read(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_what_was_never_written() {
        assert_eq!(Head::read(&[0; HEAD]).unwrap(), None);
    }
}
