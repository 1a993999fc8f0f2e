//! What an ELF file tells about the CPython in it without debug information: architecture, version, published offsets.
//!
//! Symbols and contents decide, never the name of a file.

use std::collections::BTreeSet;

use goblin::elf::program_header::PT_LOAD;
use goblin::elf::section_header::SHT_NOBITS;
use goblin::elf::{Elf, SectionHeader, header};
use goblin::options::ParseOptions;

use crate::published::{COOKIE, Published};
use crate::{Arch, Build, Level, NEWEST_MINOR, OLDEST_MINOR, Offsets, Version};

/// Why bytes are not an ELF file that can be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file cannot be parsed.
    #[error("not a readable ELF file: {0}")]
    Malformed(#[from] goblin::error::Error),
    /// The file is for a machine that no table is for.
    #[error("an ELF file for another machine (number {0}) than 64-bit x86 or ARM")]
    Machine(u16),
}

/// An ELF file: an executable, a shared library, or one with nothing but debug information.
pub struct ElfFile<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) elf: Elf<'a>,
    arch: Arch,
}

impl<'a> ElfFile<'a> {
    /// Parses the file's headers and symbols.
    ///
    /// # Errors
    ///
    /// [`ElfError`] where the bytes are no ELF file for an [`Arch`].
    pub fn parse(bytes: &'a [u8]) -> Result<ElfFile<'a>, ElfError> {
        let elf = Elf::parse_with_opts(bytes, &ParseOptions::permissive())?;
        let arch = match elf.header.e_machine {
            header::EM_X86_64 if elf.is_64 => Arch::X86_64,
            header::EM_AARCH64 if elf.little_endian => Arch::Aarch64,
            machine => return Err(ElfError::Machine(machine)),
        };
        Ok(ElfFile { bytes, elf, arch })
    }

    /// The architecture that the file is for.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The exact version of the CPython in the file: from the symbol `Py_Version` (3.11 and later), the published
    /// offsets (3.13 and later), or a version number that stands alone among the constants.
    pub fn version(&self) -> Option<Version> {
        self.version_symbol().or_else(|| self.published_version()).or_else(|| self.version_text())
    }

    /// The minor version of the CPython in the file: that of [`ElfFile::version`], or of the build whose
    /// `_PyRuntime` is as large as the file's.
    pub fn minor(&self) -> Option<u8> {
        self.version().map(|version| version.minor).or_else(|| self.minor_by_size())
    }

    /// The bytes that [`Published::decode`] takes: the initial contents of `_PyRuntime`, where it has any. By section or
    /// symbol; in a file without sections also by a look at every word of it.
    pub fn runtime(&self) -> Option<&'a [u8]> {
        let symbol = || self.symbol("_PyRuntime").and_then(|(address, size)| self.contents(address, size));
        self.section(".PyRuntime").or_else(symbol).or_else(|| self.published_anywhere())
    }

    fn published_anywhere(&self) -> Option<&'a [u8]> {
        if !self.elf.section_headers.is_empty() {
            return None;
        }
        let words = self.bytes.chunks_exact(COOKIE.len()).enumerate().filter(|(_, word)| **word == COOKIE);
        let mut starts = words.filter_map(|(index, _)| self.bytes.get(index * COOKIE.len()..));
        starts.find(|start| Published::decode(start).is_ok())
    }

    /// Size of `_PyRuntime`: the symbol's or else its section's.
    pub fn runtime_size(&self) -> Option<usize> {
        let symbol = self.symbol("_PyRuntime").map(|(_, size)| size);
        symbol.filter(|size| *size > 0).or_else(|| self.section(".PyRuntime").map(<[u8]>::len))
    }

    /// The contents of a section, if the file has them.
    pub(crate) fn section(&self, name: &str) -> Option<&'a [u8]> {
        let sections = self.elf.section_headers.iter();
        let mut named = sections.filter(|section| self.elf.shdr_strtab.get_at(section.sh_name) == Some(name));
        let section = named.find(|section| section.sh_type != SHT_NOBITS)?;
        self.bytes.get(section.file_range()?)
    }

    /// Address and size of a defined symbol.
    fn symbol(&self, name: &str) -> Option<(u64, usize)> {
        let dynamic = self.elf.dynsyms.iter().map(|symbol| (self.elf.dynstrtab.get_at(symbol.st_name), symbol));
        let full = self.elf.syms.iter().map(|symbol| (self.elf.strtab.get_at(symbol.st_name), symbol));
        let (_, symbol) = dynamic.chain(full).find(|(n, symbol)| *n == Some(name) && symbol.st_value != 0)?;
        Some((symbol.st_value, usize::try_from(symbol.st_size).ok()?))
    }

    /// What the file holds for an address. Segments tell where sections do not: in a file with debug information alone
    /// there are segments too, but not their contents.
    fn contents(&self, address: u64, size: usize) -> Option<&'a [u8]> {
        let offset = match self.elf.section_headers.is_empty() {
            true => self.offset_by_segment(address)?,
            false => self.offset_by_section(address)?,
        };
        let start = usize::try_from(offset).ok()?;
        self.bytes.get(start..start.checked_add(size)?)
    }

    fn offset_by_segment(&self, address: u64) -> Option<u64> {
        let loaded = self.elf.program_headers.iter().filter(|segment| segment.p_type == PT_LOAD);
        let inside = |start: u64, size: u64| address.checked_sub(start).filter(|offset| *offset < size);
        loaded.into_iter().find_map(|segment| inside(segment.p_vaddr, segment.p_filesz)?.checked_add(segment.p_offset))
    }

    fn offset_by_section(&self, address: u64) -> Option<u64> {
        let with_contents = |section: &&SectionHeader| section.sh_type != SHT_NOBITS && section.sh_addr != 0;
        let inside = |section: &SectionHeader| {
            address
                .checked_sub(section.sh_addr)
                .filter(|offset| *offset < section.sh_size)?
                .checked_add(section.sh_offset)
        };
        self.elf.section_headers.iter().filter(with_contents).find_map(inside)
    }

    fn version_symbol(&self) -> Option<Version> {
        let (address, _) = self.symbol("Py_Version")?;
        let bytes = self.contents(address, 8)?;
        Version::from_hex(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn published_version(&self) -> Option<Version> {
        Published::decode(self.runtime()?).ok().map(|published| published.version)
    }

    /// `PY_VERSION` as a string constant; a file with several such strings, of whatever library, gives none.
    fn version_text(&self) -> Option<Version> {
        let texts = self.section(".rodata")?.split(|byte| *byte == 0);
        let versions: BTreeSet<Version> = texts.filter_map(version_of_text).collect();
        let by_size = self.minor_by_size();
        let mut fitting = versions.into_iter().filter(|version| by_size.is_none_or(|minor| version.minor == minor));
        let version = fitting.next()?;
        fitting.next().is_none().then_some(version)
    }

    fn minor_by_size(&self) -> Option<u8> {
        let size = self.runtime_size()?;
        let fits = |minor: &u8| {
            let tables = Build::ALL.iter().filter_map(|build| Offsets::of(*minor, self.arch, *build));
            tables.into_iter().any(|table| table.runtime.size == size)
        };
        (OLDEST_MINOR..=NEWEST_MINOR).find(fits)
    }
}

/// A version as `PY_VERSION` has it: `3.9.18`, `3.10.0rc2`, with a `+` between releases.
fn version_of_text(text: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() < 16)?;
    let (minor, micro) = text.strip_prefix("3.")?.split_once('.')?;
    let micro = micro.strip_suffix('+').unwrap_or(micro);
    let digits = micro.find(|c: char| !c.is_ascii_digit()).unwrap_or(micro.len());
    let (level, serial) = level_of_text(&micro[digits..])?;
    let version = Version { major: 3, minor: number(minor)?, micro: number(&micro[..digits])?, level, serial };
    (version.minor >= OLDEST_MINOR).then_some(version)
}

fn level_of_text(text: &str) -> Option<(Level, u8)> {
    let levels = [("a", Level::Alpha), ("b", Level::Beta), ("rc", Level::Candidate)];
    if text.is_empty() {
        return Some((Level::Final, 0));
    }
    levels.iter().find_map(|(prefix, level)| Some((*level, number(text.strip_prefix(prefix)?)?)))
}

/// A decimal number without a sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_text() {
        let version = |text: &str| version_of_text(text.as_bytes()).map(|version| version.to_string());
        assert_eq!(version("3.9.18").as_deref(), Some("3.9.18"));
        assert_eq!(version("3.10.0rc2+").as_deref(), Some("3.10.0rc2"));
        for other in ["3.9", "3.9.", "3.+9.1", "2.7.18", "3.9.18 ", "3.9.18x", "3.6.15", "3.9.999", "3.1.4", ""] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
