//! ELF files as they are mapped: which there are, and where their symbols and sections lie.
//!
//! Exported symbols are looked up in the target's memory, by hash, a few hundred bytes in all: no file is needed for
//! them, which makes it the same for containers, deleted files and anonymous images. Sections and hidden symbols are
//! only in the file; of it, just the tables asked for are read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::dynamic::{DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB};
use goblin::elf::header::{ELFMAG, EM_AARCH64, EM_X86_64, Header};
use goblin::elf::program_header::{PT_DYNAMIC, PT_LOAD, ProgramHeader};
use goblin::elf::section_header::SHT_SYMTAB;

use python_offsets::Arch;

use super::Mapping;
use crate::memory::{Addr, Fields, Memory, MemoryError};

const CTX: Ctx = Ctx { container: Container::Big, le: Endian::Little };
const PAGE: u64 = 4096;
/// Sizes of the structures of ELF64.
const SYMBOL_SIZE: usize = 24;
const SECTION_SIZE: usize = 64;
/// Bounds on what is read on behalf of a file that may be anything.
const MOST_PROGRAM_HEADERS: usize = 128;
const MOST_SECTIONS: usize = 4096;
const MOST_DYNAMIC: usize = 512;
const LONGEST_CHAIN: usize = 4096;
const LARGEST_STRINGS: usize = 64 << 10;

/// An ELF file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The file as the kernel spells it; it may mean another one to us.
    pub path: PathBuf,
    /// Where its first byte is mapped.
    pub base: Addr,
    /// Where the mapping of its first byte ends.
    pub base_end: Addr,
    /// The device of the file, as `maps` has it: on overlay and btrfs another than for those who open it.
    pub device: (u32, u32),
    /// The inode of the file.
    pub inode: u64,
    /// Its writable memory: data, and the zeroed memory (`.bss`) that follows it.
    pub writable: Vec<(Addr, Addr)>,
}

/// The ELF files among the mappings, in order of address.
pub fn binaries(mappings: &[Mapping]) -> Vec<Binary> {
    let mut found: Vec<Binary> = Vec::new();
    for (i, mapping) in mappings.iter().enumerate() {
        let Some(path) = &mapping.path else { continue };
        if mapping.file_offset == 0 && !mapping.writable {
            found.push(Binary {
                path: path.clone(),
                base: mapping.start,
                base_end: mapping.end,
                device: mapping.device,
                inode: mapping.inode,
                writable: Vec::new(),
            });
        }
        let Some(binary) = found.last_mut().filter(|b| b.inode == mapping.inode && b.path == *path) else { continue };
        if mapping.writable {
            binary.writable.push((mapping.start, bss_end(mapping, mappings.get(i + 1))));
        }
    }
    found
}

/// The end of a writable mapping together with the anonymous one that adjoins it.
fn bss_end(data: &Mapping, next: Option<&Mapping>) -> Addr {
    match next {
        Some(next) if next.start == data.end && next.inode == 0 && next.path.is_none() && next.writable => next.end,
        _ => data.end,
    }
}

/// A symbol of a mapped binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where its value is in the target's memory.
    pub addr: Addr,
    /// Bytes of its value, as the file says.
    pub size: u64,
}

/// How a binary is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    bias: u64,
    machine: u16,
    dynamic: Option<Dynamic>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Dynamic {
    symbols: Addr,
    strings: Addr,
    gnu_hash: Addr,
    hash: Addr,
}

impl Loaded {
    /// Reads the headers of a binary from the target's memory; `None` if it is not a 64-bit little-endian ELF file.
    pub fn read(memory: &dyn Memory, binary: &Binary) -> Result<Option<Loaded>, MemoryError> {
        let start = memory.read_prefix(binary.base, PAGE as usize)?;
        let Some((machine, headers)) = program_headers(&start) else { return Ok(None) };
        let Some(first) = headers.iter().find(|h| h.p_type == PT_LOAD) else { return Ok(None) };
        let bias = binary.base.0.wrapping_sub(first.p_vaddr.wrapping_sub(first.p_offset) & !(PAGE - 1));
        let dynamic = match headers.iter().find(|h| h.p_type == PT_DYNAMIC) {
            Some(header) => read_dynamic(memory, binary, bias, header)?,
            None => None,
        };
        Ok(Some(Loaded { bias, machine, dynamic }))
    }

    /// The processor that it is for; `None` for one that is not supported.
    pub fn arch(&self) -> Option<Arch> {
        match self.machine {
            EM_X86_64 => Some(Arch::X86_64),
            EM_AARCH64 => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// Where an address of the file lies in memory.
    pub fn addr(&self, in_file: u64) -> Addr {
        Addr(in_file.wrapping_add(self.bias))
    }

    /// An exported symbol.
    pub fn exported(&self, memory: &dyn Memory, name: &str) -> Result<Option<Symbol>, MemoryError> {
        let Some(dynamic) = self.dynamic else { return Ok(None) };
        let found = match (dynamic.gnu_hash.is_null(), dynamic.hash.is_null()) {
            (false, _) => by_gnu_hash(memory, &dynamic, name),
            (true, false) => by_hash(memory, &dynamic, name),
            (true, true) => Ok(None),
        };
        match found {
            Ok(symbol) => Ok(symbol.map(|(value, size)| Symbol { addr: self.addr(value), size })),
            Err(MemoryError::Unmapped(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn program_headers(start: &[u8]) -> Option<(u16, Vec<ProgramHeader>)> {
    let header = header(start)?;
    let count = usize::from(header.e_phnum).min(MOST_PROGRAM_HEADERS);
    let headers = ProgramHeader::parse(start, usize::try_from(header.e_phoff).ok()?, count, CTX).ok()?;
    Some((header.e_machine, headers))
}

fn header(start: &[u8]) -> Option<Header> {
    let ident: &[u8; 6] = start.first_chunk()?;
    let supported = ident[..4] == ELFMAG[..] && ident[4..] == [2, 1];
    supported.then(|| goblin::elf::Elf::parse_header(start).ok()).flatten()
}

fn read_dynamic(
    memory: &dyn Memory,
    binary: &Binary,
    bias: u64,
    header: &ProgramHeader,
) -> Result<Option<Dynamic>, MemoryError> {
    let len = (header.p_memsz as usize / 16).min(MOST_DYNAMIC) * 16;
    let entries = memory.read_prefix(Addr(header.p_vaddr.wrapping_add(bias)), len)?;
    // glibc adds the bias to these pointers when it loads the file, musl does not.
    let pointer = |value: u64| if value < binary.base.0 { Addr(value.wrapping_add(bias)) } else { Addr(value) };
    let mut dynamic = Dynamic::default();
    for entry in entries.chunks_exact(16) {
        let (Some(tag), Some(value)) = (entry.u64_at(0), entry.u64_at(8)) else { break };
        match tag {
            0 => break,
            DT_SYMTAB => dynamic.symbols = pointer(value),
            DT_STRTAB => dynamic.strings = pointer(value),
            DT_GNU_HASH => dynamic.gnu_hash = pointer(value),
            DT_HASH => dynamic.hash = pointer(value),
            _ => {}
        }
    }
    let usable = !dynamic.symbols.is_null() && !dynamic.strings.is_null();
    Ok(usable.then_some(dynamic))
}

fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, b| hash.wrapping_mul(33).wrapping_add(b.into()))
}

fn sysv_hash(name: &str) -> u32 {
    name.bytes().fold(0, |hash: u32, b| {
        let hash = (hash << 4).wrapping_add(b.into());
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

/// Looks a symbol up in a `DT_GNU_HASH` table: a Bloom filter, buckets, and chains of hashes with the lowest bit set
/// on the last.
fn by_gnu_hash(memory: &dyn Memory, dynamic: &Dynamic, name: &str) -> Result<Option<(u64, u64)>, MemoryError> {
    let table = memory.read_vec(dynamic.gnu_hash, 16)?;
    let word = |at| table.u32_at(at).unwrap_or(0);
    let (buckets, first, bloom_words, shift) = (word(0), word(4), word(8), word(12));
    if buckets == 0 || bloom_words == 0 || shift > 31 {
        return Ok(None);
    }
    let hash = gnu_hash(name);
    let bloom = dynamic.gnu_hash.offset(16);
    let filter = memory.read_u64(bloom.offset(((hash / 64) % bloom_words) as usize * 8))?;
    if filter & (1 << (hash % 64)) == 0 || filter & (1 << ((hash >> shift) % 64)) == 0 {
        return Ok(None);
    }
    let bucket_table = bloom.offset(bloom_words as usize * 8);
    let mut index = memory.read_i32(bucket_table.offset((hash % buckets) as usize * 4))? as u32;
    if index < first {
        return Ok(None);
    }
    let chains = bucket_table.offset(buckets as usize * 4);
    let last = index.saturating_add(LONGEST_CHAIN as u32);
    while index < last {
        let entry = memory.read_i32(chains.offset((index - first) as usize * 4))? as u32;
        if entry | 1 == hash | 1
            && let Some(found) = symbol_if_named(memory, dynamic, index, name)?
        {
            return Ok(Some(found));
        }
        if entry & 1 == 1 {
            break;
        }
        index += 1;
    }
    Ok(None)
}

/// Looks a symbol up in a `DT_HASH` table: buckets, then for each symbol the next of its chain.
fn by_hash(memory: &dyn Memory, dynamic: &Dynamic, name: &str) -> Result<Option<(u64, u64)>, MemoryError> {
    let buckets = memory.read_i32(dynamic.hash)? as u32;
    if buckets == 0 {
        return Ok(None);
    }
    let bucket_table = dynamic.hash.offset(8);
    let chains = bucket_table.offset(buckets as usize * 4);
    let mut index = memory.read_i32(bucket_table.offset((sysv_hash(name) % buckets) as usize * 4))? as u32;
    for _ in 0..LONGEST_CHAIN {
        if index == 0 {
            break;
        }
        if let Some(found) = symbol_if_named(memory, dynamic, index, name)? {
            return Ok(Some(found));
        }
        index = memory.read_i32(chains.offset(index as usize * 4))? as u32;
    }
    Ok(None)
}

fn symbol_if_named(
    memory: &dyn Memory,
    dynamic: &Dynamic,
    index: u32,
    name: &str,
) -> Result<Option<(u64, u64)>, MemoryError> {
    let symbol = memory.read_vec(dynamic.symbols.offset(index as usize * SYMBOL_SIZE), SYMBOL_SIZE)?;
    let found = memory.read_c_string(dynamic.strings.offset(name_of(&symbol)), name.len() + 1)?;
    Ok((found == name.as_bytes()).then(|| defined(&symbol)).flatten())
}

fn name_of(symbol: &[u8]) -> usize {
    symbol.u32_at(0).unwrap_or(0) as usize
}

/// Address and size of a symbol that the file itself defines.
fn defined(symbol: &[u8]) -> Option<(u64, u64)> {
    let section = u16::from_le_bytes([symbol.u8_at(6)?, symbol.u8_at(7)?]);
    (section != 0).then_some((symbol.u64_at(8)?, symbol.u64_at(16)?))
}

/// The section headers of a file.
pub struct Sections {
    headers: Vec<SectionHeader>,
    names: Vec<u8>,
}

impl Sections {
    /// Reads the section headers of a file; `None` where it has none.
    pub fn read(file: &File) -> Option<Sections> {
        let start = read_part(file, 0, 64)?;
        let header = header(&start)?;
        let count = usize::from(header.e_shnum).min(MOST_SECTIONS);
        let table = read_part(file, header.e_shoff, count * SECTION_SIZE).filter(|_| header.e_shoff != 0)?;
        let headers = table.chunks_exact(SECTION_SIZE).map(SectionHeader::decode).collect::<Option<Vec<_>>>()?;
        let names = headers.get(usize::from(header.e_shstrndx))?;
        let names = read_part(file, names.offset, (names.size as usize).min(LARGEST_STRINGS))?;
        Some(Sections { headers, names })
    }

    fn name(&self, header: &SectionHeader) -> &[u8] {
        let name = self.names.get(header.name..).unwrap_or_default();
        name.split(|&b| b == 0).next().unwrap_or_default()
    }

    /// Address in the file and size of a section.
    pub fn section(&self, name: &str) -> Option<(u64, u64)> {
        let header = self.headers.iter().find(|h| self.name(h) == name.as_bytes())?;
        Some((header.addr, header.size))
    }

    /// A symbol of `.symtab`, hidden ones among them: address in the file and size. Reads the table piece by piece,
    /// and of the strings only those that can be the name.
    pub fn hidden_symbol(&self, file: &File, name: &str) -> Option<(u64, u64)> {
        let table = self.headers.iter().find(|h| h.kind == SHT_SYMTAB)?;
        let strings = self.headers.get(table.link)?;
        let wanted = [name.as_bytes(), b"\0"].concat();
        let place = find_in_file(file, strings.offset, strings.size, &wanted)?;
        let mut at = table.offset;
        let end = table.offset.saturating_add(table.size);
        while at < end {
            let piece = read_part(file, at, ((end - at) as usize).min(SYMBOL_SIZE * 2048))?;
            let found =
                piece.chunks_exact(SYMBOL_SIZE).find(|symbol| name_of(symbol) == place && defined(symbol).is_some());
            if let Some(symbol) = found {
                return defined(symbol);
            }
            at += piece.len() as u64;
        }
        None
    }
}

/// The fields of a section header that are used.
struct SectionHeader {
    name: usize,
    kind: u32,
    addr: u64,
    offset: u64,
    size: u64,
    link: usize,
}

impl SectionHeader {
    fn decode(bytes: &[u8]) -> Option<SectionHeader> {
        Some(SectionHeader {
            name: bytes.u32_at(0)? as usize,
            kind: bytes.u32_at(4)?,
            addr: bytes.u64_at(16)?,
            offset: bytes.u64_at(24)?,
            size: bytes.u64_at(32)?,
            link: bytes.u32_at(40)? as usize,
        })
    }
}

/// Where `wanted` begins in a part of a file, from the start of the part; preceded by a zero byte.
fn find_in_file(file: &File, start: u64, len: u64, wanted: &[u8]) -> Option<usize> {
    const PIECE: usize = 64 << 10;
    let wanted = [b"\0", wanted].concat();
    let mut at = 0;
    while at < len {
        let piece = read_part(file, start + at, ((len - at) as usize).min(PIECE))?;
        if let Some(found) = piece.windows(wanted.len()).position(|w| w == wanted) {
            return usize::try_from(at).ok().map(|at| at + found + 1);
        }
        if piece.len() < PIECE {
            return None;
        }
        at += (PIECE - wanted.len()) as u64;
    }
    None
}

fn read_part(file: &File, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_elf_specification() {
        // The values that `readelf --histogram`'s authors and the gABI give for these names.
        assert_eq!(gnu_hash(""), 0x1505);
        assert_eq!(gnu_hash("printf"), 0x156b_2bb8);
        assert_eq!(gnu_hash("exit"), 0x7c96_7e3f);
        assert_eq!(sysv_hash(""), 0);
        assert_eq!(sysv_hash("printf"), 0x077_905a6);
        assert_eq!(sysv_hash("exit"), 0x0006_cf04);
    }
}
