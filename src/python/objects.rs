//! Python objects in remote memory: str, bytes, int, list, dict, and the attributes of an instance.
//!
//! Just enough of each to read names and module tables. Nothing is executed: a dict is searched by comparing keys one
//! by one, not by hash.

use std::fmt::Write;

use python_offsets::{Attributes, DictKeys, LongLength, Offsets};
use thiserror::Error;

use crate::memory::{Addr, Fields, Memory, MemoryError};

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
        Ok(decode_str(kind, &self.memory.read_vec(data, length * kind)?))
    }

    /// The content of a bytes object.
    pub fn bytes(&self, object: Addr) -> Result<Vec<u8>> {
        let size = self.memory.read_u64(object.offset(self.offsets.bytes.ob_size))?;
        let size = usize::try_from(size).ok().filter(|&n| n <= LONGEST_BYTES).ok_or(ObjectError::Invalid("bytes"))?;
        Ok(self.memory.read_vec(object.offset(self.offsets.bytes.ob_sval), size)?)
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
        self.named(self.dict(dict)?, name)
    }

    /// The value whose key is the str `name`; keys of other types are passed over.
    fn named(&self, items: Vec<(Addr, Addr)>, name: &str) -> Result<Option<Addr>> {
        let wanted = self.key_probe(name);
        Ok(items.into_iter().find(|(key, _)| self.is_key(*key, &wanted)).map(|(_, value)| value))
    }

    /// What a compact ASCII str with the text `name` looks like, for one read per key.
    fn key_probe<'n>(&self, name: &'n str) -> KeyProbe<'n> {
        KeyProbe { name, state: 1 | 8 | 16, end: self.offsets.unicode.ascii_size + name.len() }
    }

    fn is_key(&self, key: Addr, wanted: &KeyProbe) -> bool {
        let u = &self.offsets.unicode;
        let Ok(head) = self.memory.read_prefix(key, wanted.end) else { return false };
        head.u64_at(u.length) == Some(wanted.name.len() as u64)
            && head.u32_at(u.state).map(|state| state >> u.kind_shift & 31) == Some(wanted.state)
            && head.get(u.ascii_size..) == Some(wanted.name.as_bytes())
    }

    /// The dict of a module.
    pub fn module_dict(&self, module: Addr) -> Result<Addr> {
        Ok(self.memory.read_addr(module.offset(self.offsets.object.size))?)
    }

    /// An attribute in the instance's own dict or values.
    pub fn attribute(&self, object: Addr, name: &str) -> Result<Option<Addr>> {
        let items = self.attributes(object)?;
        self.named(items, name)
    }

    fn attributes(&self, object: Addr) -> Result<Vec<(Addr, Addr)>> {
        let type_object = self.type_of(object)?;
        match self.offsets.attributes {
            Attributes::DictOffset => {
                let at = self.memory.read_u64(type_object.offset(self.offsets.type_object.dictoffset))? as i64;
                let at = usize::try_from(at).ok().filter(|&n| n > 0 && n < 1 << 20);
                let dict = self.memory.read_addr(object.offset(at.ok_or(ObjectError::Invalid("instance"))?))?;
                self.dict_or_nothing(dict)
            }
            Attributes::ValuesAndDict { values_before, dict_before } => {
                let values = self.memory.read_addr(object.before(values_before))?;
                if values.is_null() {
                    return self.dict_or_nothing(self.memory.read_addr(object.before(dict_before))?);
                }
                self.split_values(&self.shared_keys(type_object)?, values)
            }
            Attributes::Tagged { before } => {
                let word = self.memory.read_addr(object.before(before))?;
                if word.0 & 1 == 0 {
                    return self.dict_or_nothing(word);
                }
                self.split_values(&self.shared_keys(type_object)?, word.offset(1))
            }
            Attributes::Inline { valid, values, dict_before } => {
                if let Some(inline) = self.inline_values(object, type_object, valid)? {
                    return self.split_values(&self.shared_keys(type_object)?, inline.offset(values));
                }
                self.dict_or_nothing(self.memory.read_addr(object.before(dict_before))?)
            }
        }
    }

    fn dict_or_nothing(&self, dict: Addr) -> Result<Vec<(Addr, Addr)>> {
        if dict.is_null() { Ok(Vec::new()) } else { self.dict(dict) }
    }

    fn shared_keys(&self, type_object: Addr) -> Result<Vec<(Addr, Addr)>> {
        let keys = self.memory.read_addr(type_object.offset(self.offsets.type_object.cached_keys))?;
        self.keys(keys)
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

struct KeyProbe<'n> {
    name: &'n str,
    /// kind 1, compact, ascii.
    state: u32,
    end: usize,
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
