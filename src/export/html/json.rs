//! JSON that may stand in an HTML element: nothing in it can end the element or begin another.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Writes `value`. `<`, `>`, `&` and the line separators of JavaScript occur in strings only, and are spelled `\u003c` there.
pub fn write(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Contained))?;
    Ok(())
}

/// serde_json's compact format, with strings that have no markup.
struct Contained;

impl Formatter for Contained {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            out.write_all(&rest.as_bytes()[..at])?;
            let found = rest[at..].chars().next().expect("a character was found here");
            write!(out, "\\u{:04x}", found as u32)?;
            rest = &rest[at + found.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_string_ends_its_element_and_each_is_read_back_as_it_was() {
        for text in
            ["</script><script>alert(1)</script>", "<!--", "a & b \"c\" '\\'", "x\u{2028}y\u{2029}z\n", "]]>", ""]
        {
            let mut out = Vec::new();
            write(&text, &mut out).unwrap();
            let json = String::from_utf8(out).unwrap();
            assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\n']), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
