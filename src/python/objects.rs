//! Python objects in remote memory: str, bytes, int, list, dict, and the attributes of an instance.
//!
//! Just enough of each to read names and module tables. Nothing is executed: a dict is searched by comparing keys one
//! by one, not by hash.

use std::fmt::Write;

use python_offsets::{Attributes, DictKeys, LongLength, Offsets};
use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::memory::{Addr, Fields, Memory, MemoryError, Span};

/// The longest str that is read, in code points.
const LONGEST_STR: usize = 1 << 16;
/// The longest bytes object that is read. Line tables of generated functions reach megabytes.
const LONGEST_BYTES: usize = 16 << 20;
/// The longest list that is read, in items.
const LONGEST_LIST: usize = 1 << 12;
/// The largest dict that is read, in entries.
const LARGEST_DICT: usize = 1 << 20;

/// Why an object could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// Its memory could not be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What was read is not such an object.
    #[error("not a valid {0}")]
    Invalid(&'static str),
}

type Result<T> = std::result::Result<T, ObjectError>;

/// Where a str has its code points.
struct Text {
    data: Addr,
    /// Code points.
    length: usize,
    /// Bytes of each.
    kind: usize,
}

/// Where an instance has its attributes.
enum Place {
    /// In a dict, which may be null.
    Dict(Addr),
    /// In an array that goes with the keys that the type keeps.
    Values(Addr),
}

/// Where instances of the types met so far have one attribute, see [`Objects::attribute`].
#[derive(Default)]
pub struct Slots(FxHashMap<Addr, Option<usize>>);

/// Reads objects of one build of CPython.
#[derive(Clone, Copy)]
pub struct Objects<'a> {
    /// Where the objects are.
    pub memory: &'a dyn Memory,
    /// What they look like.
    pub offsets: &'a Offsets,
}

impl Objects<'_> {
    /// The address of an object's type.
    pub fn type_of(&self, object: Addr) -> Result<Addr> {
        Ok(self.memory.read_addr(object.offset(self.offsets.object.ob_type))?)
    }

    /// The name of a type, as `tp_name` has it.
    pub fn type_name(&self, type_object: Addr) -> Result<String> {
        let name = self.memory.read_addr(type_object.offset(self.offsets.type_object.name))?;
        Ok(String::from_utf8_lossy(&self.memory.read_c_string(name, 256)?).into_owned())
    }

    /// A str. What has no place in UTF-8 (lone surrogates) is written as an escape, `\udc80`.
    pub fn str(&self, object: Addr) -> Result<String> {
        let Text { data, length, kind } = self.text(object)?;
        Ok(decode_str(kind, &self.memory.read_vec(data, length * kind)?))
    }

    /// Where a str has its code points.
    fn text(&self, object: Addr) -> Result<Text> {
        let u = &self.offsets.unicode;
        let head = self.memory.read_prefix(object, u.compact_size.max(u.data + 8))?;
        let invalid = || ObjectError::Invalid("str");
        let length = head.u64_at(u.length).ok_or_else(invalid)? as usize;
        let state = head.u32_at(u.state).ok_or_else(invalid)? >> u.kind_shift;
        let (kind, compact, ascii) = ((state & 7) as usize, state & 8 != 0, state & 16 != 0);
        if !matches!(kind, 1 | 2 | 4) || length > LONGEST_STR || (ascii && kind != 1) {
            return Err(invalid());
        }
        let data = match (compact, ascii) {
            (true, true) => object.offset(u.ascii_size),
            (true, false) => object.offset(u.compact_size),
            (false, _) => head.addr_at(u.data).ok_or_else(invalid)?,
        };
        Ok(Text { data, length, kind })
    }

    /// Bytes that a str takes from its start, header and content. Of one whose content lies elsewhere, the header.
    pub fn str_size(&self, object: Addr) -> Result<usize> {
        let text = self.text(object)?;
        let header = self.offsets.unicode.compact_size;
        let end = text.data.offset(text.length * text.kind).since(object);
        Ok(end.filter(|&end| end <= header + 4 * LONGEST_STR).unwrap_or(header))
    }

    /// Bytes that a bytes object takes, header and content.
    pub fn bytes_size(&self, object: Addr) -> Result<usize> {
        let size = self.memory.read_u64(object.offset(self.offsets.bytes.ob_size))?;
        let size = usize::try_from(size).ok().filter(|&n| n <= LONGEST_BYTES).ok_or(ObjectError::Invalid("bytes"))?;
        Ok(self.offsets.bytes.ob_sval + size)
    }

    /// The content of a bytes object.
    pub fn bytes(&self, object: Addr) -> Result<Vec<u8>> {
        let start = self.offsets.bytes.ob_sval;
        Ok(self.memory.read_vec(object.offset(start), self.bytes_size(object)? - start)?)
    }

    /// An int from 0 to 2^64, for thread identifiers.
    pub fn unsigned(&self, object: Addr) -> Result<u64> {
        let long = &self.offsets.long;
        let head = self.memory.read_vec(object, long.ob_digit)?;
        let digits = match long.length {
            LongLength::Signed(at) => head.i64_at(at).filter(|n| *n >= 0).map(|n| n as u64),
            LongLength::Tag(at) => head.u64_at(at).filter(|tag| tag & 3 != 2).map(|tag| tag >> 3),
        };
        let count = digits.filter(|&n| n <= 3).ok_or(ObjectError::Invalid("int"))? as usize;
        let digits = self.memory.read_vec(object.offset(long.ob_digit), 4 * count)?;
        let value =
            (0..count).rev().fold(0u128, |value, i| value << 30 | u128::from(digits.u32_at(4 * i).unwrap_or(0)));
        u64::try_from(value).map_err(|_| ObjectError::Invalid("int"))
    }

    /// The addresses of a list's items.
    pub fn list(&self, object: Addr) -> Result<Vec<Addr>> {
        let size = self.memory.read_u64(object.offset(self.offsets.object.ob_size))?;
        let size = usize::try_from(size).ok().filter(|&n| n <= LONGEST_LIST).ok_or(ObjectError::Invalid("list"))?;
        let items = self.memory.read_addr(object.offset(self.offsets.list_items))?;
        Ok(addresses(&self.memory.read_vec(items, size * 8)?))
    }

    /// The keys and values of a dict, in order of insertion.
    pub fn dict(&self, object: Addr) -> Result<Vec<(Addr, Addr)>> {
        let d = &self.offsets.dict;
        let keys = self.memory.read_addr(object.offset(d.keys))?;
        let values = self.memory.read_addr(object.offset(d.values))?;
        let keys = self.keys(keys)?;
        if values.is_null() {
            return Ok(keys.into_iter().filter(|(key, value)| !key.is_null() && !value.is_null()).collect());
        }
        self.split_values(&keys, values.offset(d.values_first))
    }

    /// Pairs the keys that instances share with one instance's values.
    fn split_values(&self, keys: &[(Addr, Addr)], values: Addr) -> Result<Vec<(Addr, Addr)>> {
        let values = addresses(&self.memory.read_vec(values, keys.len() * 8)?);
        let pairs = keys.iter().map(|(key, _)| *key).zip(values);
        Ok(pairs.filter(|(key, value)| !key.is_null() && !value.is_null()).collect())
    }

    /// The entries of a dict's keys; deleted ones are null.
    fn keys(&self, keys: Addr) -> Result<Vec<(Addr, Addr)>> {
        let invalid = ObjectError::Invalid("dict");
        let (header_size, entries_at, count, entry) = match self.offsets.dict.keys_header {
            DictKeys::Sized { size, nentries, header } => {
                let head = self.memory.read_vec(keys, header)?;
                let size = head.u64_at(size).ok_or(invalid)?;
                let width = match size {
                    0..=0xff => 1,
                    0x100..=0xffff => 2,
                    0x1_0000..=0xffff_ffff => 4,
                    _ => return Err(invalid),
                };
                (header, size * width, head.u64_at(nentries).ok_or(invalid)?, EntryShape::Hashed)
            }
            DictKeys::Log2 { log2_size: _, log2_index_bytes, kind, nentries, header } => {
                let head = self.memory.read_vec(keys, header)?;
                let log2 = head.u8_at(log2_index_bytes).filter(|&n| n < 40).ok_or(invalid)?;
                let shape = match head.u8_at(kind) {
                    Some(0) => EntryShape::Hashed,
                    Some(1 | 2) => EntryShape::Bare,
                    _ => return Err(invalid),
                };
                (header, 1 << log2, head.u64_at(nentries).ok_or(invalid)?, shape)
            }
        };
        let count = usize::try_from(count).ok().filter(|&n| n <= LARGEST_DICT).ok_or(invalid)?;
        let start = keys.offset(header_size).offset(entries_at as usize);
        let entries = self.memory.read_vec(start, count * entry.size())?;
        Ok(entries.chunks_exact(entry.size()).map(|bytes| entry.decode(bytes)).collect())
    }

    /// The value of a str key in a dict.
    pub fn dict_get(&self, dict: Addr, name: &str) -> Result<Option<Addr>> {
        self.named(&self.dict(dict)?, name)
    }

    /// The value whose key is the str `name`.
    fn named(&self, items: &[(Addr, Addr)], name: &str) -> Result<Option<Addr>> {
        Ok(self.position(items, name)?.map(|index| items[index].1))
    }

    /// Which of the keys is the str `name`, in one gather. Keys that are null or of other types are passed over.
    fn position(&self, items: &[(Addr, Addr)], name: &str) -> Result<Option<usize>> {
        let len = self.offsets.unicode.ascii_size + name.len();
        let mut spans: Vec<Span> = items.iter().map(|(key, _)| Span::new(*key, len)).collect();
        let mut bytes = vec![0; len * spans.len()];
        self.memory.gather(&mut spans, &mut bytes)?;
        Ok((0..spans.len()).find(|&i| spans[i].got == len && self.is_str(&bytes[i * len..(i + 1) * len], name)))
    }

    /// Whether these bytes are a compact ASCII str with the text `name`.
    fn is_str(&self, bytes: &[u8], name: &str) -> bool {
        /// kind 1, compact, ascii.
        const COMPACT_ASCII: u32 = 1 | 8 | 16;
        let u = &self.offsets.unicode;
        bytes.u64_at(u.length) == Some(name.len() as u64)
            && bytes.u32_at(u.state).map(|state| state >> u.kind_shift & 31) == Some(COMPACT_ASCII)
            && bytes.get(u.ascii_size..) == Some(name.as_bytes())
    }

    /// The dict of a module.
    pub fn module_dict(&self, module: Addr) -> Result<Addr> {
        Ok(self.memory.read_addr(module.offset(self.offsets.object.size))?)
    }

    /// An attribute in the instance's own dict or values. `slots` spares a second look at the keys that all instances
    /// of a type share; it is for one name.
    pub fn attribute(&self, object: Addr, name: &str, slots: &mut Slots) -> Result<Option<Addr>> {
        let type_object = self.type_of(object)?;
        match self.attributes(object, type_object)? {
            Place::Dict(dict) if dict.is_null() => Ok(None),
            Place::Dict(dict) => self.dict_get(dict, name),
            Place::Values(values) => {
                let Some(slot) = self.slot(type_object, name, slots)? else { return Ok(None) };
                let value = self.memory.read_addr(values.offset(8 * slot))?;
                Ok((!value.is_null()).then_some(value))
            }
        }
    }

    /// The index of a name among the keys that the instances of a type share.
    fn slot(&self, type_object: Addr, name: &str, slots: &mut Slots) -> Result<Option<usize>> {
        if let Some(slot) = slots.0.get(&type_object) {
            return Ok(*slot);
        }
        let keys = self.memory.read_addr(type_object.offset(self.offsets.type_object.cached_keys))?;
        let slot = self.position(&self.keys(keys)?, name)?;
        slots.0.insert(type_object, slot);
        Ok(slot)
    }

    /// Where an instance has its attributes.
    fn attributes(&self, object: Addr, type_object: Addr) -> Result<Place> {
        let word = |before| self.memory.read_addr(object.before(before));
        Ok(match self.offsets.attributes {
            Attributes::DictOffset => {
                let at = self.memory.read_u64(type_object.offset(self.offsets.type_object.dictoffset))? as i64;
                let at = usize::try_from(at).ok().filter(|&n| n > 0 && n < 1 << 20);
                Place::Dict(self.memory.read_addr(object.offset(at.ok_or(ObjectError::Invalid("instance"))?))?)
            }
            Attributes::ValuesAndDict { values_before, dict_before } => match word(values_before)? {
                Addr::NULL => Place::Dict(word(dict_before)?),
                values => Place::Values(values),
            },
            Attributes::Tagged { before } => match word(before)? {
                values if values.0 & 1 == 1 => Place::Values(values.offset(1)),
                dict => Place::Dict(dict),
            },
            Attributes::Inline { valid, values, dict_before } => {
                match self.inline_values(object, type_object, valid)? {
                    Some(inline) => Place::Values(inline.offset(values)),
                    None => Place::Dict(word(dict_before)?),
                }
            }
        })
    }

    /// Where an instance's inline values begin, if they are in use.
    fn inline_values(&self, object: Addr, type_object: Addr, valid: usize) -> Result<Option<Addr>> {
        /// `Py_TPFLAGS_INLINE_VALUES`.
        const INLINE_VALUES: u64 = 1 << 2;
        let flags = self.memory.read_u64(type_object.offset(self.offsets.type_object.flags))?;
        if flags & INLINE_VALUES == 0 {
            return Ok(None);
        }
        let size = self.memory.read_u64(type_object.offset(self.offsets.type_object.basicsize))?;
        let size = usize::try_from(size).ok().filter(|&n| n < 1 << 20).ok_or(ObjectError::Invalid("instance"))?;
        let inline = object.offset(size);
        let mut flag = [0];
        self.memory.read(inline.offset(valid), &mut flag)?;
        Ok((flag == [1]).then_some(inline))
    }
}

/// The shape of a dict entry.
#[derive(Clone, Copy)]
enum EntryShape {
    /// `{hash, key, value}`.
    Hashed,
    /// `{key, value}`.
    Bare,
}

impl EntryShape {
    fn size(self) -> usize {
        match self {
            EntryShape::Hashed => 24,
            EntryShape::Bare => 16,
        }
    }

    fn decode(self, bytes: &[u8]) -> (Addr, Addr) {
        let key = self.size() - 16;
        (bytes.addr_at(key).unwrap_or_default(), bytes.addr_at(key + 8).unwrap_or_default())
    }
}

fn addresses(bytes: &[u8]) -> Vec<Addr> {
    bytes.chunks_exact(8).filter_map(|b| b.addr_at(0)).collect()
}

/// Decodes code points of 1 (Latin-1), 2 or 4 bytes.
fn decode_str(kind: usize, data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len() / kind);
    for unit in data.chunks_exact(kind) {
        let point = unit.iter().rev().fold(0u32, |point, &b| point << 8 | u32::from(b));
        match char::from_u32(point) {
            Some(c) => text.push(c),
            None => drop(write!(text, "\\u{point:04x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_of_every_width_decode() {
        assert_eq!(decode_str(1, b"caf\xe9"), "café");
        assert_eq!(decode_str(2, &[0x16, 0x04, 0x2d, 0x4e]), "Ж中");
        assert_eq!(decode_str(4, &[0x0d, 0xf4, 0x01, 0]), "🐍");
        assert_eq!(decode_str(2, &[0x80, 0xdc]), "\\udc80");
    }
}
