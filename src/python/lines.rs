//! From an instruction to its line: the three encodings that CPython's code objects use.
//!
//! A table is decoded once into ranges of bytecode that share a line; looking one up is a binary search. Offsets are
//! bytes from the start of the code object's bytecode.

use python_offsets::LineTable;

/// Ranges of bytecode and their lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    first_line: u32,
    /// Where each range begins and its line, in order; a range ends where the next begins.
    ranges: Vec<(u32, Option<u32>)>,
}

impl Lines {
    /// Decodes the table of a code object whose first line is `first_line`. What lies past the table has no line; in
    /// `co_lnotab`, which does not tell where the bytecode ends, it has the last one.
    pub fn decode(encoding: LineTable, first_line: u32, table: &[u8]) -> Lines {
        let mut lines = Lines { first_line, ranges: Vec::new() };
        match encoding {
            LineTable::Lnotab(_) => lines.decode_lnotab(table),
            LineTable::Pep626(_) => lines.decode_pep626(table),
            LineTable::Locations(_) => lines.decode_locations(table),
        }
        lines.ranges.shrink_to_fit();
        lines
    }

    /// The line of the instruction at `offset`; `None` where the code object tells none. Before the first instruction
    /// (a negative offset) it is the first line.
    pub fn at(&self, offset: i64) -> Option<u32> {
        let Ok(offset) = u32::try_from(offset) else { return Some(self.first_line) };
        let after = self.ranges.partition_point(|(start, _)| *start <= offset);
        self.ranges.get(after.checked_sub(1)?)?.1
    }

    fn push(&mut self, start: u32, line: Option<i64>) {
        let line = line.and_then(|line| u32::try_from(line).ok());
        match self.ranges.last_mut() {
            Some((last_start, last)) if *last_start == start => *last = line,
            Some((_, last)) if *last == line => {}
            _ => self.ranges.push((start, line)),
        }
    }

    /// `co_lnotab`: pairs of an address increment and a signed line increment. An increment of the line takes effect
    /// at the address that its pair leads to.
    fn decode_lnotab(&mut self, table: &[u8]) {
        let (mut addr, mut line) = (0u32, i64::from(self.first_line));
        self.push(0, Some(line));
        for pair in table.chunks_exact(2) {
            addr = addr.saturating_add(pair[0].into());
            line += i64::from(pair[1] as i8);
            self.push(addr, Some(line));
        }
    }

    /// `co_linetable` of 3.10: pairs of a length in bytes and a signed line increment, -128 for no line.
    fn decode_pep626(&mut self, table: &[u8]) {
        let (mut start, mut line) = (0u32, i64::from(self.first_line));
        for pair in table.chunks_exact(2) {
            let delta = pair[1] as i8;
            if delta != i8::MIN {
                line += i64::from(delta);
            }
            if pair[0] != 0 {
                self.push(start, (delta != i8::MIN).then_some(line));
            }
            start = start.saturating_add(pair[0].into());
        }
        self.push(start, None);
    }

    /// `co_linetable` from 3.11 on: entries with a code, a length in code units of two bytes, and a payload by code.
    fn decode_locations(&mut self, table: &[u8]) {
        let mut bytes = table.iter().copied();
        let (mut start, mut line) = (0u32, i64::from(self.first_line));
        while let Some(first) = bytes.next() {
            let code = first >> 3 & 15;
            let delta = match code {
                0..=9 => skip(&mut bytes, 1, 0),
                10..=12 => skip(&mut bytes, 2, i64::from(code) - 10),
                13 => signed(varint(&mut bytes)),
                14 => {
                    let delta = signed(varint(&mut bytes));
                    varint(&mut bytes);
                    varint(&mut bytes);
                    varint(&mut bytes);
                    delta
                }
                _ => 0,
            };
            line = line.saturating_add(delta);
            self.push(start, (code != 15).then_some(line));
            start = start.saturating_add((u32::from(first & 7) + 1) * 2);
        }
        self.push(start, None);
    }
}

fn skip(bytes: &mut impl Iterator<Item = u8>, count: usize, delta: i64) -> i64 {
    bytes.by_ref().take(count).for_each(drop);
    delta
}

/// Six bits a byte, lowest first, while bit 6 is set.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let (mut value, mut shift) = (0u64, 0);
    for byte in bytes.by_ref() {
        if shift < 60 {
            value |= u64::from(byte & 63) << shift;
        }
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    value
}

/// The lowest bit is the sign.
fn signed(value: u64) -> i64 {
    let magnitude = (value >> 1) as i64;
    if value & 1 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn before_the_first_instruction_it_is_the_first_line() {
        let lines = Lines::decode(LineTable::Lnotab(0), 7, &[4, 1]);
        assert_eq!(lines.at(-1), Some(7));
        assert_eq!(lines.at(3), Some(7));
        assert_eq!(lines.at(4), Some(8));
    }

    proptest! {
        #[test]
        fn no_table_makes_the_decoder_fail(table in prop::collection::vec(any::<u8>(), 0..300), first in any::<u32>(), at in any::<i64>()) {
            for encoding in [LineTable::Lnotab(0), LineTable::Pep626(0), LineTable::Locations(0)] {
                let lines = Lines::decode(encoding, first, &table);
                prop_assert!(lines.ranges.len() <= table.len() + 2);
                lines.at(at);
            }
        }
    }
}
