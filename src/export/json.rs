//! JSON written as it comes: lists whose items are never in memory together.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// A JSON text under way.
pub struct Json<'a> {
    out: BufWriter<&'a mut dyn Write>,
    /// Whether the next item follows another.
    follows: bool,
}

impl<'a> Json<'a> {
    /// Nothing yet.
    pub fn new(out: &'a mut dyn Write) -> Json<'a> {
        Json { out: BufWriter::with_capacity(1 << 16, out), follows: false }
    }

    /// Writes `text` as it is, after a comma if it follows an item. It is left to the caller that it is JSON; what comes
    /// next is the first item of a list or an object.
    pub fn open(&mut self, text: &str) -> io::Result<()> {
        self.comma()?;
        self.follows = false;
        self.out.write_all(text.as_bytes())
    }

    /// Writes the end of what was opened.
    pub fn close(&mut self, text: &str) -> io::Result<()> {
        self.follows = true;
        self.out.write_all(text.as_bytes())
    }

    /// The next item of a list.
    pub fn item(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.comma()?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// The next field of an object.
    pub fn field(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.item(&name)?;
        self.out.write_all(b":")?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// The next field of an object: a list of values that need not be in memory together.
    pub fn list<T: Serialize>(&mut self, name: &str, values: impl Iterator<Item = T>) -> io::Result<()> {
        self.open_list(name)?;
        for value in values {
            self.item(&value)?;
        }
        self.close("]")
    }

    /// Begins the next field of an object, a list. `]` closes it.
    pub fn open_list(&mut self, name: &str) -> io::Result<()> {
        self.open_field(name, "[")
    }

    /// Begins the next field of an object, an object. `}` closes it.
    pub fn open_object(&mut self, name: &str) -> io::Result<()> {
        self.open_field(name, "{")
    }

    fn open_field(&mut self, name: &str, bracket: &str) -> io::Result<()> {
        self.item(&name)?;
        self.follows = false;
        self.out.write_all(b":")?;
        self.out.write_all(bracket.as_bytes())
    }

    /// A line of its own: a value that is no item of anything.
    pub fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// Ends the text.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(b"\n")?;
        self.flush()
    }

    /// Ends a text that ends with a line.
    pub fn flush(mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Items are one a line: easier to look at, and to compare.
    pub fn end_line(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    fn comma(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.follows, true) {
            true => self.out.write_all(b","),
            false => Ok(()),
        }
    }
}
