//! Text from a target, made harmless: whatever a terminal, an XML reader or a line-based format would act on is spelled
//! out. Which characters a format keeps for itself (a `;` in collapsed stacks) is that format's business.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with control, formatting and non-characters spelled as Python would (`\n`, `\x1b`, `\u202e`).
///
/// A backslash stays what it is: the result is for reading, not for turning back.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_harmful(c) {
            spell(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, what reorders or hides text (bidirectional controls, invisible operators, tags), line and
/// paragraph separators, and the non-characters that XML forbids.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e007f}')
        || (c as u32) & 0xfffe == 0xfffe
}

fn spell(c: char, out: &mut String) {
    let written = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if (c as u32) < 0x100 => write!(out, "\\x{:02x}", c as u32),
        c if (c as u32) < 0x10000 => write!(out, "\\u{:04x}", c as u32),
        c => write!(out, "\\U{:08x}", c as u32),
    };
    written.expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(printable("Größe.<locals>.λ \\ 数"), Cow::Borrowed("Größe.<locals>.λ \\ 数")));
    }

    #[test]
    fn an_escape_sequence_is_spelled_out() {
        assert_eq!(printable("a\x1b[31mred\x07"), "a\\x1b[31mred\\x07");
        assert_eq!(printable("c1 \u{9b}31m"), "c1 \\x9b31m");
    }

    #[test]
    fn line_ends_of_every_kind_are_spelled_out() {
        assert_eq!(printable("a\nb\rc\td"), "a\\nb\\rc\\td");
        assert_eq!(printable("a\u{2028}b\u{2029}c\u{85}d"), "a\\u2028b\\u2029c\\x85d");
    }

    #[test]
    fn text_that_would_be_reordered_is_spelled_out() {
        assert_eq!(printable("\u{202e}gpj.exe"), "\\u202egpj.exe");
    }

    #[test]
    fn what_xml_forbids_is_spelled_out() {
        assert_eq!(printable("\0\u{fffe}\u{ffff}\u{10ffff}"), "\\x00\\ufffe\\uffff\\U0010ffff");
    }
}
