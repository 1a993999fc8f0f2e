//! Numbers and texts as bytes, and back. Whatever was written by somebody else is checked.

use std::io::{self, ErrorKind};
use std::ops::Range;

/// Something is not as the format says.
pub fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("it is damaged: {what}"))
}

/// Appends a number.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that may be negative.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, zigzag(number));
}

/// Appends a text.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Small for numbers near zero of either sign.
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The number behind [`zigzag`].
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// How far `to` is from `from`.
pub fn difference(to: u32, from: u32) -> i64 {
    i64::from(to) - i64::from(from)
}

/// A part of the bytes of a block that is read from its beginning to its end.
#[derive(Clone, Debug, Default)]
pub struct Column(Range<usize>);

impl Column {
    /// All of some bytes.
    pub fn all(bytes: &[u8]) -> Column {
        Column(0..bytes.len())
    }

    /// What is between these places of the bytes of a block.
    pub fn between(begin: usize, end: usize) -> Column {
        Column(begin..end)
    }

    /// Where in the bytes of the block it is, as far as it has not been read.
    pub fn range(&self) -> Range<usize> {
        self.0.clone()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self, bytes: &[u8]) -> io::Result<u8> {
        let at = self.0.next().ok_or_else(|| damaged("a column is too short"))?;
        bytes.get(at).copied().ok_or_else(|| damaged("a column is too short"))
    }

    /// The next number.
    pub fn number(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(bytes)?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too large"))
    }

    /// The next number, which may be negative.
    pub fn signed(&mut self, bytes: &[u8]) -> io::Result<i64> {
        self.number(bytes).map(unzigzag)
    }

    /// The next number, which has 32 bits.
    pub fn small(&mut self, bytes: &[u8]) -> io::Result<u32> {
        self.number(bytes)?.try_into().map_err(|_| damaged("a number is too large"))
    }

    /// The next number, 0 for none, else one more.
    pub fn optional(&mut self, bytes: &[u8]) -> io::Result<Option<u64>> {
        Ok(self.number(bytes)?.checked_sub(1))
    }

    /// The next number, 0 for none, else one more, which has 32 bits.
    pub fn small_optional(&mut self, bytes: &[u8]) -> io::Result<Option<u32>> {
        let small = |number: u64| number.try_into().map_err(|_| damaged("a number is too large"));
        self.optional(bytes)?.map(small).transpose()
    }

    /// A number that is told as the difference from another one.
    pub fn relative(&mut self, bytes: &[u8], last: u32) -> io::Result<u32> {
        let number = self.signed(bytes)?.checked_add(i64::from(last));
        number.and_then(|number| number.try_into().ok()).ok_or_else(|| damaged("a number is out of range"))
    }

    /// The next so many bytes.
    pub fn part(&mut self, bytes: &[u8], length: u64) -> io::Result<Column> {
        let end = usize::try_from(length).ok().and_then(|length| self.0.start.checked_add(length));
        match end {
            Some(end) if end <= self.0.end && end <= bytes.len() => {
                let part = Column(self.0.start..end);
                self.0.start = end;
                Ok(part)
            }
            _ => Err(damaged("a length is too large")),
        }
    }

    /// The next text of so many bytes.
    pub fn text_of<'a>(&mut self, bytes: &'a [u8], length: u64) -> io::Result<&'a str> {
        let Column(range) = self.part(bytes, length)?;
        std::str::from_utf8(&bytes[range]).map_err(|_| damaged("a text is not UTF-8"))
    }

    /// The next text.
    pub fn text<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a str> {
        let length = self.number(bytes)?;
        self.text_of(bytes, length)
    }

    /// As many texts as the next number says.
    pub fn texts(&mut self, bytes: &[u8]) -> io::Result<Vec<String>> {
        let number = self.number(bytes)?;
        (0..number).map(|_| self.text(bytes).map(String::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_comes_back(number: u64, signed: i64) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            put_signed(&mut bytes, signed);
            let mut column = Column::all(&bytes);
            prop_assert_eq!(column.number(&bytes).unwrap(), number);
            prop_assert_eq!(column.signed(&bytes).unwrap(), signed);
            prop_assert!(column.is_empty());
        }

        #[test]
        fn any_bytes_are_numbers_or_refused(bytes: Vec<u8>) {
            let mut column = Column::all(&bytes);
            while column.number(&bytes).is_ok() {}
        }
    }

    #[test]
    fn small_numbers_are_short_and_signed_ones_are_zigzag() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        let mut bytes = Vec::new();
        put(&mut bytes, 127);
        put(&mut bytes, 300);
        assert_eq!(bytes, [127, 0xac, 2]);
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Column::all(&most).number(&most).unwrap(), u64::MAX);
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(Column::all(&beyond).number(&beyond).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_text_that_is_longer_than_what_there_is_is_refused() {
        let bytes = [3, b'a', b'b'];
        assert_eq!(Column::all(&bytes).text(&bytes).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
