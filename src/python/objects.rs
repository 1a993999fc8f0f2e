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
/// How much of a str is read at once where many are: names of threads fit.
const USUAL_STR: usize = 256;
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
        let head = self.memory.read_prefix(object, self.str_head())?;
        self.decode_text(object, &head).ok_or(ObjectError::Invalid("str"))
    }

    /// Bytes of a str's header, of whatever kind it is.
    fn str_head(&self) -> usize {
        self.offsets.unicode.compact_size.max(self.offsets.unicode.data + 8)
    }

    fn decode_text(&self, object: Addr, head: &[u8]) -> Option<Text> {
        let u = &self.offsets.unicode;
        let length = head.u64_at(u.length)? as usize;
        let state = head.u32_at(u.state)? >> u.kind_shift;
        let (kind, compact, ascii) = ((state & 7) as usize, state & 8 != 0, state & 16 != 0);
        if !matches!(kind, 1 | 2 | 4) || length > LONGEST_STR || (ascii && kind != 1) {
            return None;
        }
        let data = match (compact, ascii) {
            (true, true) => object.offset(u.ascii_size),
            (true, false) => object.offset(u.compact_size),
            (false, _) => head.addr_at(u.data)?,
        };
        Some(Text { data, length, kind })
    }

    /// Many strs, nearly all of them in one gather; `None` for what is none.
    pub fn str_many(&self, objects: &[Addr]) -> Result<Vec<Option<String>>> {
        let many = self.many(objects.iter().map(|&object| (object, self.str_head() + USUAL_STR)))?;
        let decode = |(i, &object): (usize, &Addr)| {
            let text = self.decode_text(object, many.get(i))?;
            let start = text.data.since(object).filter(|&at| at < many.get(i).len());
            match start.and_then(|at| many.get(i).get(at..at + text.length * text.kind)) {
                Some(data) => Some(decode_str(text.kind, data)),
                None => self.str(object).ok(),
            }
        };
        Ok(objects.iter().enumerate().map(decode).collect())
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

    /// An int from 0 to 2^64, for thread identifiers and version numbers.
    pub fn unsigned(&self, object: Addr) -> Result<u64> {
        let bytes = self.memory.read_prefix(object, self.long_size())?;
        self.decode_unsigned(&bytes).ok_or(ObjectError::Invalid("int"))
    }

    /// Many ints, in one gather; `None` for what is none from 0 to 2^64.
    pub fn unsigned_many(&self, objects: &[Addr]) -> Result<Vec<Option<u64>>> {
        let many = self.many(objects.iter().map(|&object| (object, self.long_size())))?;
        Ok((0..objects.len()).map(|i| self.decode_unsigned(many.get(i))).collect())
    }

    /// Bytes that an int of three digits takes, which hold 90 bits.
    fn long_size(&self) -> usize {
        self.offsets.long.ob_digit + 12
    }

    fn decode_unsigned(&self, bytes: &[u8]) -> Option<u64> {
        let long = &self.offsets.long;
        let digits = match long.length {
            LongLength::Signed(at) => bytes.i64_at(at).filter(|n| *n >= 0).map(|n| n as u64),
            LongLength::Tag(at) => bytes.u64_at(at).filter(|tag| tag & 3 != 2).map(|tag| tag >> 3),
        };
        let count = digits.filter(|&n| n <= 3)? as usize;
        let mut value = 0u128;
        for i in (0..count).rev() {
            value = value << 30 | u128::from(bytes.u32_at(long.ob_digit + 4 * i)?);
        }
        u64::try_from(value).ok()
    }

    /// Copies of many ranges, in one gather.
    fn many(&self, ranges: impl Iterator<Item = (Addr, usize)>) -> Result<Many> {
        let mut spans: Vec<Span> = ranges.map(|(addr, len)| Span::new(addr, len)).collect();
        let mut starts = Vec::with_capacity(spans.len());
        let mut end = 0;
        for span in &spans {
            starts.push(end);
            end += span.len;
        }
        let mut bytes = vec![0; end];
        self.memory.gather(&mut spans, &mut bytes)?;
        Ok(Many { spans, starts, bytes })
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
        let keys = self.many(items.iter().map(|(key, _)| (*key, len)))?;
        Ok(keys.iter().position(|bytes| self.is_str(bytes, name)))
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

    /// An attribute of many instances, in their own dicts or values; `None` for those that have none.
    ///
    /// The instances are read all together, in a handful of gathers, as long as those of a type keep the attribute in
    /// the same place.
    pub fn attribute_many(&self, objects: &[Addr], name: &str) -> Result<Vec<Option<Addr>>> {
        let before = match self.offsets.attributes {
            Attributes::DictOffset => 0,
            Attributes::ValuesAndDict { values_before, dict_before } => values_before.max(dict_before),
            Attributes::Tagged { before } => before,
            Attributes::Inline { dict_before, .. } => dict_before,
        };
        let heads = self.many(objects.iter().map(|o| (o.before(before), before + self.offsets.object.size)))?;
        let shapes = self.shapes(heads.iter().map(|head| head.addr_at(before + self.offsets.object.ob_type)), name);
        let ends =
            objects.iter().zip(&shapes).map(|(object, shape)| shape.map_or(Addr::NULL, |s| object.offset(s.size)));
        let ends = self.many(ends.map(|end| (end, 8)))?;
        let place = |(i, &object): (usize, &Addr)| {
            let head = Head { object, before, bytes: heads.get(i), end: ends.get(i) };
            shapes[i].and_then(|shape| self.place(&head, shape)).unwrap_or(Place::Nowhere)
        };
        let mut places: Vec<Place> = objects.iter().enumerate().map(place).collect();
        self.resolve_dicts(&mut places, name)?;
        let slots = places.iter().map(|place| match place {
            Place::Slot { addr, .. } => (*addr, 8),
            Place::Dict(_) | Place::Value(_) | Place::Nowhere => (Addr::NULL, 0),
        });
        let slots = self.many(slots)?;
        let value = |(i, place): (usize, &Place)| match *place {
            Place::Slot { .. } => slots.get(i).addr_at(0).filter(|value| !value.is_null()),
            Place::Value(value) => Some(value),
            Place::Dict(_) | Place::Nowhere => None,
        };
        Ok(places.iter().enumerate().map(value).collect())
    }

    /// What the instances of each type have in common; `None` for a type that cannot be read.
    fn shapes(&self, types: impl Iterator<Item = Option<Addr>>, name: &str) -> Vec<Option<Shape>> {
        let mut known: FxHashMap<Addr, Option<Shape>> = FxHashMap::default();
        types.map(|t| t.and_then(|t| *known.entry(t).or_insert_with(|| self.shape(t, name).ok()))).collect()
    }

    /// Where an instance has an attribute, as far as its type and its ends tell.
    fn place(&self, head: &Head, shape: Shape) -> Option<Place> {
        let slot = |values: Addr| match shape.slot {
            Some(slot) => Place::Slot { addr: values.offset(8 * slot) },
            None => Place::Nowhere,
        };
        Some(match self.offsets.attributes {
            Attributes::DictOffset => Place::Dict(head.end.addr_at(0)?),
            Attributes::ValuesAndDict { values_before, dict_before } => match head.word_before(values_before)? {
                Addr::NULL => Place::Dict(head.word_before(dict_before)?),
                values => slot(values),
            },
            Attributes::Tagged { before } => match head.word_before(before)? {
                values if values.0 & 1 == 1 => slot(values.offset(1)),
                dict => Place::Dict(dict),
            },
            Attributes::Inline { valid, values, dict_before } => match shape.inline && head.end.u8_at(valid) == Some(1)
            {
                true => slot(head.object.offset(shape.size).offset(values)),
                false => Place::Dict(head.word_before(dict_before)?),
            },
        })
    }

    /// What the instances of a type have in common.
    fn shape(&self, type_object: Addr, name: &str) -> Result<Shape> {
        /// `Py_TPFLAGS_INLINE_VALUES`.
        const INLINE_VALUES: u64 = 1 << 2;
        let t = &self.offsets.type_object;
        let word = |at| self.memory.read_u64(type_object.offset(at));
        let size_at = match self.offsets.attributes {
            Attributes::DictOffset => t.dictoffset,
            _ => t.basicsize,
        };
        let size = word(size_at)? as i64;
        let size = usize::try_from(size).ok().filter(|&n| n > 0 && n < 1 << 20);
        let size = size.ok_or(ObjectError::Invalid("instance"))?;
        let slot = match self.offsets.attributes {
            Attributes::DictOffset => None,
            _ => match Addr(word(t.cached_keys)?) {
                Addr::NULL => None,
                keys => self.position(&self.keys(keys)?, name)?,
            },
        };
        Ok(Shape { size, inline: word(t.flags)? & INLINE_VALUES != 0, slot })
    }

    /// Finds the attribute in those that keep it in a dict. Dicts that share their keys have it at the same index.
    fn resolve_dicts(&self, places: &mut [Place], name: &str) -> Result<()> {
        let d = &self.offsets.dict;
        let heads = self.many(places.iter().map(|place| match place {
            Place::Dict(dict) => (*dict, d.keys.max(d.values) + 8),
            _ => (Addr::NULL, 0),
        }))?;
        let mut shared: FxHashMap<Addr, Option<usize>> = FxHashMap::default();
        for (i, place) in places.iter_mut().enumerate() {
            let Place::Dict(dict) = *place else { continue };
            let (keys, values) = (heads.get(i).addr_at(d.keys), heads.get(i).addr_at(d.values));
            *place = match (keys, values) {
                (Some(keys), Some(values)) if !values.is_null() => {
                    let slot = match shared.get(&keys) {
                        Some(slot) => *slot,
                        None => {
                            let slot = self.keys(keys).and_then(|keys| self.position(&keys, name)).unwrap_or(None);
                            shared.insert(keys, slot);
                            slot
                        }
                    };
                    let addr = |slot: usize| values.offset(d.values_first).offset(8 * slot);
                    slot.map_or(Place::Nowhere, |slot| Place::Slot { addr: addr(slot) })
                }
                (Some(_), Some(_)) => match self.dict_get(dict, name) {
                    Ok(Some(value)) => Place::Value(value),
                    Ok(None) | Err(_) => Place::Nowhere,
                },
                _ => Place::Nowhere,
            };
        }
        Ok(())
    }
}

/// Copies of many ranges.
struct Many {
    spans: Vec<Span>,
    /// Where the copy of each begins.
    starts: Vec<usize>,
    bytes: Vec<u8>,
}

impl Many {
    /// What could be read of a range.
    fn get(&self, index: usize) -> &[u8] {
        let start = self.starts[index];
        &self.bytes[start..start + self.spans[index].got]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.spans.len()).map(|index| self.get(index))
    }
}

/// What is read of an instance.
struct Head<'a> {
    object: Addr,
    /// Bytes before the object that the copy begins.
    before: usize,
    /// Some words before the object, and its header.
    bytes: &'a [u8],
    /// The word at [`Shape::size`].
    end: &'a [u8],
}

impl Head<'_> {
    fn word_before(&self, before: usize) -> Option<Addr> {
        self.bytes.addr_at(self.before.checked_sub(before)?)
    }
}

/// What the instances of a type have in common, as far as one attribute is concerned.
#[derive(Clone, Copy)]
struct Shape {
    /// `tp_dictoffset` where the dict pointer is there, else `tp_basicsize`.
    size: usize,
    /// Whether values may lie inside the instance.
    inline: bool,
    /// The index of the attribute among the keys that the type keeps.
    slot: Option<usize>,
}

/// Where an instance has an attribute.
#[derive(Clone, Copy)]
enum Place {
    /// In a dict, which may be null.
    Dict(Addr),
    /// At this address.
    Slot { addr: Addr },
    /// It is this.
    Value(Addr),
    /// It has none.
    Nowhere,
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

/// Whether an object has not been freed, as far as can be told: allocators keep a pointer to the next free block, or null,
/// where its reference count was, and keep nothing there without a GIL.
pub(super) fn is_alive(bytes: &[u8], offsets: &Offsets) -> bool {
    let count = offsets.object.ob_type.checked_sub(8).and_then(|at| bytes.u64_at(at)).unwrap_or(0);
    // From 3.14 on the highest 16 bits are flags. No count that is kept is as large as an address.
    offsets.gil.enabled.is_some() || count as u32 != 0 && count >> 32 & 0xffff == 0
}

#[cfg(test)]
mod tests {
    use python_offsets::{Arch, Build};

    use super::*;

    #[test]
    fn code_points_of_every_width_decode() {
        assert_eq!(decode_str(1, b"caf\xe9"), "café");
        assert_eq!(decode_str(2, &[0x16, 0x04, 0x2d, 0x4e]), "Ж中");
        assert_eq!(decode_str(4, &[0x0d, 0xf4, 0x01, 0]), "🐍");
        assert_eq!(decode_str(2, &[0x80, 0xdc]), "\\udc80");
    }

    #[test]
    fn what_was_freed_is_told_from_what_lives() {
        let offsets = Offsets::of(13, Arch::X86_64, Build::Release).expect("there is such a table");
        let free_threaded = Offsets::of(13, Arch::X86_64, Build::FreeThreaded).expect("there is such a table");
        for (count, lives) in [(1, true), (0xffff_ffff, true), (0, false), (0x7fba_14f2_9738, false)] {
            let bytes = u64::to_le_bytes(count);
            assert_eq!(is_alive(&bytes, offsets), lives, "{count:x}");
            assert!(is_alive(&bytes, free_threaded));
        }
    }
}
