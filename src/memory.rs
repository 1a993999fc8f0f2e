//! Reading another address space, many ranges at a time.
//!
//! A system call costs about a microsecond whether it brings 8 bytes or 16 KiB, so the unit is the batch:
//! [`Memory::gather`] takes a list of [`Span`]s. What was read is kept in [`Copies`], in which the walkers of
//! [`crate::python`] look things up by remote address. Who answers (a process, a recorded image) is the business of
//! [`crate::target`].

use std::fmt;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An address in the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Addr(pub u64);

impl Addr {
    /// The null pointer.
    pub const NULL: Addr = Addr(0);

    /// Whether it is the null pointer.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on; wraps around, as hostile memory may ask for anything.
    pub fn offset(self, bytes: usize) -> Addr {
        Addr(self.0.wrapping_add(bytes as u64))
    }

    /// The address `bytes` before.
    pub fn before(self, bytes: usize) -> Addr {
        Addr(self.0.wrapping_sub(bytes as u64))
    }

    /// Bytes from `start` to here, if this is not before it.
    pub fn since(self, start: Addr) -> Option<usize> {
        self.0.checked_sub(start.0).and_then(|n| usize::try_from(n).ok())
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A range of remote memory that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub addr: Addr,
    /// Bytes asked for.
    pub len: usize,
    /// Bytes that could be read, counted from the start.
    pub got: usize,
}

impl Span {
    /// A span that nothing has been read of yet.
    pub fn new(addr: Addr, len: usize) -> Self {
        Span { addr, len, got: 0 }
    }
}

/// Why memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// Nothing is mapped at the address.
    #[error("nothing is mapped at {0}")]
    Unmapped(Addr),
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// The kernel refused.
    #[error("the kernel refused: {0}")]
    Refused(#[from] nix::errno::Errno),
}

/// An address space that can be read.
pub trait Memory: Sync {
    /// Reads the spans, in order, each to its place in `into`, which holds the spans' bytes one after the other.
    ///
    /// Each span's `got` says how much of it could be read: an unreadable span is no error. Errors are those that
    /// concern the whole address space.
    fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> Result<(), MemoryError>;

    /// Fills `into` from `addr`.
    fn read(&self, addr: Addr, into: &mut [u8]) -> Result<(), MemoryError> {
        if into.is_empty() {
            return Ok(());
        }
        let mut span = [Span::new(addr, into.len())];
        self.gather(&mut span, into)?;
        if span[0].got == into.len() { Ok(()) } else { Err(MemoryError::Unmapped(addr.offset(span[0].got))) }
    }

    /// Reads as much as there is of the `len` bytes at `addr`.
    fn read_prefix(&self, addr: Addr, len: usize) -> Result<Vec<u8>, MemoryError> {
        let mut bytes = vec![0; len];
        let mut span = [Span::new(addr, len)];
        self.gather(&mut span, &mut bytes)?;
        bytes.truncate(span[0].got);
        Ok(bytes)
    }

    /// Reads `len` bytes. The caller bounds `len`.
    fn read_vec(&self, addr: Addr, len: usize) -> Result<Vec<u8>, MemoryError> {
        let bytes = self.read_prefix(addr, len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(MemoryError::Unmapped(addr.offset(bytes.len()))) }
    }

    /// Reads a little-endian `u64`.
    fn read_u64(&self, addr: Addr) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a pointer.
    fn read_addr(&self, addr: Addr) -> Result<Addr, MemoryError> {
        self.read_u64(addr).map(Addr)
    }

    /// Reads a little-endian `i32`.
    fn read_i32(&self, addr: Addr) -> Result<i32, MemoryError> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    /// Reads a string that ends in a zero byte; at most `limit` bytes of it.
    fn read_c_string(&self, addr: Addr, limit: usize) -> Result<Vec<u8>, MemoryError> {
        let mut bytes = self.read_prefix(addr, limit)?;
        match bytes.iter().position(|&b| b == 0) {
            Some(end) => bytes.truncate(end),
            None if bytes.len() < limit => return Err(MemoryError::Unmapped(addr.offset(bytes.len()))),
            None => {}
        }
        Ok(bytes)
    }
}

/// Decodes fields of a structure that has been copied. `None` past the end.
pub trait Fields {
    /// The little-endian `u64` at `at`.
    fn u64_at(&self, at: usize) -> Option<u64>;
    /// The little-endian `u32` at `at`.
    fn u32_at(&self, at: usize) -> Option<u32>;
    /// The byte at `at`.
    fn u8_at(&self, at: usize) -> Option<u8>;

    /// The pointer at `at`.
    fn addr_at(&self, at: usize) -> Option<Addr> {
        self.u64_at(at).map(Addr)
    }

    /// The little-endian `i32` at `at`.
    fn i32_at(&self, at: usize) -> Option<i32> {
        self.u32_at(at).map(|n| n as i32)
    }

    /// The little-endian `i64` at `at`.
    fn i64_at(&self, at: usize) -> Option<i64> {
        self.u64_at(at).map(|n| n as i64)
    }
}

impl Fields for [u8] {
    fn u64_at(&self, at: usize) -> Option<u64> {
        self.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    fn u8_at(&self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }
}

/// How many bytes [`Copies`] takes in one round at most; beyond it, what is asked for stays unread.
const ROUND_LIMIT: usize = 256 << 20;

/// A handle to one range in [`Copies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(u32);

/// Local copies of remote ranges, found again by the address at which they begin.
///
/// Ranges are asked for with [`want`](Copies::want), read all together with [`fetch`](Copies::fetch), and dropped all
/// together with [`clear`](Copies::clear). Its memory is kept from one use to the next.
#[derive(Default)]
pub struct Copies {
    spans: Vec<Span>,
    /// Where the spans are in `bytes`, those of them that have been read.
    places: Vec<usize>,
    bytes: Vec<u8>,
    /// Bytes that the spans have together.
    used: usize,
    by_addr: FxHashMap<Addr, CopyId>,
    by_page: FxHashMap<Addr, CopyId>,
    /// The ranges that are to be read together with others of their pages.
    nearby: Vec<(Addr, usize)>,
}

impl Copies {
    /// Forgets every range.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.places.clear();
        self.by_addr.clear();
        self.by_page.clear();
        self.nearby.clear();
        self.used = 0;
    }

    /// Asks for a range, to be read by the next [`fetch`](Copies::fetch). If a range that begins there is already
    /// known and long enough, that one is returned. `None` if the round would become too large.
    pub fn want(&mut self, addr: Addr, len: usize) -> Option<CopyId> {
        if let Some(id) = self.has(addr, len) {
            return Some(id);
        }
        let id = self.want_again(addr, len)?;
        self.by_addr.insert(addr, id);
        Some(id)
    }

    /// A range of at least this length that was asked for already.
    pub fn has(&self, addr: Addr, len: usize) -> Option<CopyId> {
        self.by_addr.get(&addr).copied().filter(|id| self.spans[id.0 as usize].len >= len)
    }

    /// Asks for a range even if it has been read before, to see whether it changed. It is found by its id alone.
    pub fn want_again(&mut self, addr: Addr, len: usize) -> Option<CopyId> {
        if self.used.checked_add(len)? > ROUND_LIMIT {
            return None;
        }
        let id = CopyId(self.spans.len() as u32);
        self.spans.push(Span::new(addr, len));
        self.used += len;
        Some(id)
    }

    /// As [`Copies::want`], for one of many small ranges that lie close together: those in one page are read as one, with
    /// what lies between them. It takes less time than to read each.
    pub fn want_nearby(&mut self, addr: Addr, len: usize) {
        let Some(page) = page_of(addr, len) else {
            self.want(addr, len);
            return;
        };
        self.nearby.push((addr, len));
        let (mut start, mut end) = (addr, addr.offset(len));
        if let Some(&id) = self.by_page.get(&page) {
            let span = self.spans[id.0 as usize];
            (start, end) = (span.addr.min(start), span.addr.offset(span.len).max(end));
            let both = (end.0 - start.0) as usize;
            if both == span.len {
                return;
            }
            if !self.is_read(id) {
                self.used += both - span.len;
                self.spans[id.0 as usize] = Span::new(start, both);
                return;
            }
        }
        if let Some(id) = self.want_again(start, (end.0 - start.0) as usize) {
            self.by_page.insert(page, id);
        }
    }

    /// A range that was asked for with [`Copies::want_nearby`].
    pub fn find_nearby(&self, addr: Addr, len: usize) -> Found<'_> {
        let page = page_of(addr, len).and_then(|page| self.by_page.get(&page));
        let at = page.and_then(|&id| Some((id, addr.since(self.spans[id.0 as usize].addr)?)));
        match at.filter(|(id, at)| self.is_read(*id) && at + len <= self.spans[id.0 as usize].len) {
            Some((id, at)) => {
                let bytes = self.get(id).get(at..).unwrap_or_default();
                Found::Read(&bytes[..len.min(bytes.len())])
            }
            None => self.find(addr),
        }
    }

    fn is_read(&self, id: CopyId) -> bool {
        (id.0 as usize) < self.places.len()
    }

    /// Whether anything was asked for that has not been read.
    pub fn is_pending(&self) -> bool {
        self.places.len() < self.spans.len()
    }

    /// Reads what was asked for since the last time, in one gather.
    pub fn fetch(&mut self, memory: &dyn Memory) -> Result<(), MemoryError> {
        let is_whole = self.gather(memory)?;
        if !is_whole && self.part_those_nearby() {
            self.gather(memory)?;
        }
        self.nearby.clear();
        Ok(())
    }

    /// Reads what was asked for, and does not keep it: when it is fetched soon after, that takes half the time. Last of all it
    /// reads what other copies ask for, and fetches that.
    pub fn rehearse(&mut self, last: &mut Copies, memory: &dyn Memory) -> Result<(), MemoryError> {
        let (fetched, kept) = (self.places.len(), self.spans.len());
        let (start, end) = (self.end(), self.end() + self.pending_bytes());
        let all = end + last.pending_bytes();
        self.spans.extend_from_slice(&last.spans[last.places.len()..]);
        if self.bytes.len() < all {
            self.bytes.resize(all, 0);
        }
        let gathered = memory.gather(&mut self.spans[fetched..], &mut self.bytes[start..all]);
        last.take(&self.spans[kept..], &self.bytes[end..all]);
        self.spans.truncate(kept);
        self.spans[fetched..].iter_mut().for_each(|span| span.got = 0);
        gathered
    }

    /// Takes what was read of all that is pending.
    fn take(&mut self, spans: &[Span], bytes: &[u8]) {
        let (fetched, start) = (self.places.len(), self.end());
        self.place_pending();
        self.spans[fetched..].copy_from_slice(spans);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Asks for each of those ranges that were read together and not as far as was asked: what lies between two ranges may
    /// be missing in an image. True if there are such.
    fn part_those_nearby(&mut self) -> bool {
        let is_short = |copies: &Copies, id: CopyId| copies.get(id).len() < copies.spans[id.0 as usize].len;
        let mut short: Vec<(Addr, usize)> = std::mem::take(&mut self.nearby);
        short.retain(|&(addr, len)| {
            let id = page_of(addr, len).and_then(|page| self.by_page.get(&page));
            id.is_some_and(|id| is_short(self, *id))
        });
        for &(addr, len) in &short {
            if let Some(page) = page_of(addr, len) {
                self.by_page.remove(&page);
            }
        }
        for &(addr, len) in &short {
            self.want(addr, len);
        }
        self.nearby = short;
        self.is_pending()
    }

    /// Reads what is pending; true if all of it could be read.
    fn gather(&mut self, memory: &dyn Memory) -> Result<bool, MemoryError> {
        if !self.is_pending() {
            return Ok(true);
        }
        let (fetched, start) = (self.places.len(), self.end());
        let end = self.place_pending();
        let pending = &mut self.spans[fetched..];
        memory.gather(pending, &mut self.bytes[start..end])?;
        Ok(pending.iter().all(|span| span.got == span.len))
    }

    /// Where the bytes end that have been read.
    fn end(&self) -> usize {
        self.places.len().checked_sub(1).map_or(0, |last| self.places[last] + self.spans[last].len)
    }

    fn pending_bytes(&self) -> usize {
        self.spans[self.places.len()..].iter().map(|span| span.len).sum()
    }

    /// Finds places for what is pending, and returns where they end.
    fn place_pending(&mut self) -> usize {
        let mut end = self.end();
        for span in &self.spans[self.places.len()..] {
            self.places.push(end);
            end += span.len;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        end
    }

    /// What could be read of a range; empty while it has not been read.
    pub fn get(&self, id: CopyId) -> &[u8] {
        let Some(&start) = self.places.get(id.0 as usize) else { return &[] };
        let span = self.spans[id.0 as usize];
        &self.bytes[start..start + span.got]
    }

    /// The range that begins at `addr`, if it was asked for.
    pub fn find(&self, addr: Addr) -> Found<'_> {
        match self.by_addr.get(&addr) {
            Some(&id) if self.is_read(id) => Found::Read(self.get(id)),
            _ => Found::NotAsked,
        }
    }
}

/// Bytes of a page of memory.
const PAGE: usize = 4 << 10;

/// The page that holds a whole range; `None` for one that lies across two.
fn page_of(addr: Addr, len: usize) -> Option<Addr> {
    let page = Addr(addr.0 & !(PAGE as u64 - 1));
    (addr.since(page)?.checked_add(len)? <= PAGE).then_some(page)
}

/// What [`Copies`] has of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nobody asked for it, or it has not been fetched yet.
    NotAsked,
    /// What could be read of it: less than was asked for where the rest is not mapped.
    Read(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four bytes at 100, four at 200; nothing else.
    struct Two;

    impl Memory for Two {
        fn gather(&self, spans: &mut [Span], into: &mut [u8]) -> Result<(), MemoryError> {
            let mut at = 0;
            for span in spans {
                let base = if span.addr.0 < 200 { 100 } else { 200 };
                span.got = (base + 4u64).saturating_sub(span.addr.0).min(span.len as u64) as usize;
                for i in 0..span.got {
                    into[at + i] = (span.addr.0 as usize + i) as u8;
                }
                at += span.len;
            }
            Ok(())
        }
    }

    #[test]
    fn what_was_asked_for_is_found_by_address_after_the_fetch() {
        let mut copies = Copies::default();
        copies.want(Addr(100), 4);
        assert_eq!(copies.find(Addr(100)), Found::NotAsked);
        copies.fetch(&Two).unwrap();
        copies.want(Addr(201), 8);
        copies.fetch(&Two).unwrap();
        assert_eq!(copies.find(Addr(100)), Found::Read(&[100, 101, 102, 103]));
        assert_eq!(copies.find(Addr(201)), Found::Read(&[201, 202, 203]));
        assert_eq!(copies.find(Addr(101)), Found::NotAsked);
    }

    #[test]
    fn a_longer_range_replaces_a_shorter_one() {
        let mut copies = Copies::default();
        let short = copies.want(Addr(100), 2).unwrap();
        copies.fetch(&Two).unwrap();
        let long = copies.want(Addr(100), 4).unwrap();
        copies.fetch(&Two).unwrap();
        assert_ne!(short, long);
        assert_eq!(copies.find(Addr(100)), Found::Read(&[100, 101, 102, 103]));
        assert_eq!(copies.want(Addr(100), 3), Some(long));
    }

    #[test]
    fn ranges_of_one_page_are_read_as_one() {
        let mut copies = Copies::default();
        copies.want_nearby(Addr(202), 1);
        copies.want_nearby(Addr(200), 2);
        assert_eq!((copies.spans.len(), copies.find_nearby(Addr(200), 2)), (1, Found::NotAsked));
        copies.fetch(&Two).unwrap();
        assert_eq!(copies.find_nearby(Addr(200), 2), Found::Read(&[200, 201]));
        assert_eq!(copies.find_nearby(Addr(202), 1), Found::Read(&[202]));
        assert_eq!(copies.find_nearby(Addr(199), 1), Found::NotAsked);
        assert_eq!(copies.find_nearby(Addr(202), 8), Found::NotAsked);
        copies.want_nearby(Addr(201), 1);
        assert!(!copies.is_pending());
        copies.want_nearby(Addr(203), 1);
        copies.fetch(&Two).unwrap();
        assert_eq!(copies.find_nearby(Addr(203), 1), Found::Read(&[203]));
        assert_eq!(copies.find_nearby(Addr(200), 2), Found::Read(&[200, 201]));
    }

    #[test]
    fn a_round_is_bounded() {
        let mut copies = Copies::default();
        assert!(copies.want(Addr(1), ROUND_LIMIT).is_some());
        assert!(copies.want(Addr(2), 1).is_none());
        assert!(copies.want(Addr(3), usize::MAX).is_none());
    }

    #[test]
    fn a_read_that_ends_early_says_where() {
        assert_eq!(Two.read_u64(Addr(100)), Err(MemoryError::Unmapped(Addr(104))));
        assert_eq!(Two.read_i32(Addr(100)), Ok(i32::from_le_bytes([100, 101, 102, 103])));
    }
}
