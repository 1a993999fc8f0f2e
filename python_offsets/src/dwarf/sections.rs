//! From an ELF file to the debug sections that gimli reads, decompressed where they are compressed.

use std::borrow::Cow;
use std::io::Read;

use gimli::{DwarfSections, SectionId};
use goblin::container::Ctx;
use goblin::elf::compression_header::{CompressionHeader, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use goblin::elf::section_header::{SHF_COMPRESSED, SHT_NOBITS, SectionHeader};

use super::DwarfError;
use crate::elf::ElfFile;

/// No debug section is larger; a header that says so is not believed.
const LIMIT: u64 = 4 << 30;

/// Every section that gimli may ask for; one that the file does not have is empty.
pub(super) fn load<'a>(file: &ElfFile<'a>) -> Result<DwarfSections<Cow<'a, [u8]>>, DwarfError> {
    DwarfSections::load(|id| if is_used(id) { section(file, id) } else { Ok(Cow::default()) })
}

/// Whether the file leaves parts of its debug information to another file that `dwz` made.
pub(super) fn has_supplement(file: &ElfFile) -> bool {
    file.section(".gnu_debugaltlink").is_some()
}

/// Types need no locations, ranges or macros.
fn is_used(id: SectionId) -> bool {
    use SectionId::{DebugAbbrev, DebugAddr, DebugInfo, DebugLine, DebugLineStr, DebugStr, DebugStrOffsets};
    matches!(id, DebugAbbrev | DebugAddr | DebugInfo | DebugLine | DebugLineStr | DebugStr | DebugStrOffsets)
}

fn section<'a>(file: &ElfFile<'a>, id: SectionId) -> Result<Cow<'a, [u8]>, DwarfError> {
    let name = id.name();
    if let Some(header) = named(file, name) {
        let bytes = bytes_of(file, header, name)?;
        return match header.sh_flags & u64::from(SHF_COMPRESSED) {
            0 => Ok(Cow::Borrowed(bytes)),
            _ => standard(bytes, name),
        };
    }
    let old_name = name.replacen(".debug", ".zdebug", 1);
    match named(file, &old_name) {
        Some(header) => old_style(bytes_of(file, header, name)?, name),
        None => Ok(Cow::default()),
    }
}

fn named<'f>(file: &'f ElfFile, name: &str) -> Option<&'f SectionHeader> {
    let is_named = |header: &&SectionHeader| file.elf.shdr_strtab.get_at(header.sh_name) == Some(name);
    file.elf.section_headers.iter().filter(|header| header.sh_type != SHT_NOBITS).find(is_named)
}

fn bytes_of<'a>(file: &ElfFile<'a>, header: &SectionHeader, name: &'static str) -> Result<&'a [u8], DwarfError> {
    let range = header.file_range().ok_or(DwarfError::Section(name))?;
    file.bytes.get(range).ok_or(DwarfError::Section(name))
}

/// `SHF_COMPRESSED`: an `Elf64_Chdr`, then the data.
fn standard<'a>(bytes: &[u8], name: &'static str) -> Result<Cow<'a, [u8]>, DwarfError> {
    let context = Ctx::new(goblin::container::Container::Big, goblin::container::Endian::Little);
    let header = CompressionHeader::parse(bytes, 0, context).map_err(|_| DwarfError::Section(name))?;
    let data = bytes.get(CompressionHeader::size(context)..).ok_or(DwarfError::Section(name))?;
    match header.ch_type {
        ELFCOMPRESS_ZLIB => inflated(flate2::read::ZlibDecoder::new(data), header.ch_size, name),
        ELFCOMPRESS_ZSTD => {
            let decoder = zstd::Decoder::with_buffer(data).map_err(|_| DwarfError::Section(name))?;
            inflated(decoder, header.ch_size, name)
        }
        other => Err(DwarfError::Compression { section: name, method: other }),
    }
}

/// `.zdebug_*`: `ZLIB`, the size as eight bytes, highest first, then the data.
fn old_style<'a>(bytes: &[u8], name: &'static str) -> Result<Cow<'a, [u8]>, DwarfError> {
    let rest = bytes.strip_prefix(b"ZLIB").ok_or(DwarfError::Section(name))?;
    let (size, data) = rest.split_first_chunk().ok_or(DwarfError::Section(name))?;
    inflated(flate2::read::ZlibDecoder::new(data), u64::from_be_bytes(*size), name)
}

fn inflated<'a>(data: impl Read, size: u64, name: &'static str) -> Result<Cow<'a, [u8]>, DwarfError> {
    let mut bytes = Vec::new();
    data.take(size.min(LIMIT)).read_to_end(&mut bytes).map_err(|_| DwarfError::Section(name))?;
    if bytes.len() as u64 != size {
        return Err(DwarfError::Section(name));
    }
    Ok(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PLAIN: &[u8] = b"a section, a section, a section, a section, a section";

    fn deflated() -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(PLAIN).unwrap();
        encoder.finish().unwrap()
    }

    /// An `Elf64_Chdr` before `data`.
    fn with_header(method: u32, size: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = u64::from(method).to_le_bytes().to_vec();
        bytes.extend(size.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn old(size: u64, data: &[u8]) -> Vec<u8> {
        [b"ZLIB", &size.to_be_bytes()[..], data].concat()
    }

    #[test]
    fn every_way_of_compressing_gives_the_section_back() {
        let size = PLAIN.len() as u64;
        let zstd = zstd::encode_all(PLAIN, 0).unwrap();
        assert_eq!(standard(&with_header(ELFCOMPRESS_ZLIB, size, &deflated()), "s").unwrap(), PLAIN);
        assert_eq!(standard(&with_header(ELFCOMPRESS_ZSTD, size, &zstd), "s").unwrap(), PLAIN);
        assert_eq!(old_style(&old(size, &deflated()), "s").unwrap(), PLAIN);
    }

    #[test]
    fn an_unknown_method_is_named() {
        let error = standard(&with_header(7, 1, b"x"), ".debug_info").unwrap_err().to_string();
        assert_eq!(error, "the section .debug_info is compressed by an unknown method (number 7)");
    }

    #[test]
    fn damage_is_refused_and_not_believed() {
        let damaged = [
            standard(b"short", "s"),
            standard(&with_header(ELFCOMPRESS_ZLIB, 10, b"no zlib"), "s"),
            standard(&with_header(ELFCOMPRESS_ZSTD, 10, b"no zstd"), "s"),
            standard(&with_header(ELFCOMPRESS_ZLIB, u64::MAX, &deflated()), "s"),
            old_style(b"ZLIB", "s"),
            old_style(&old(1 << 40, &deflated()), "s"),
            old_style(b"no such header", "s"),
        ];
        for result in damaged {
            assert!(matches!(result, Err(DwarfError::Section("s"))));
        }
    }
}
