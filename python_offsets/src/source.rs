//! [`Offsets`] as Rust source, in the form of the table files: a new version is a paste.

use crate::Offsets;

/// The fields whose values are enums, and the enum of each. `{:?}` leaves the enum's name out.
const ENUMS: [(&str, &str); 9] = [
    ("attributes", "Attributes"),
    ("bytecode", "Bytecode"),
    ("frame", "Frame"),
    ("gc_collecting", "GcCollecting"),
    ("keys_header", "DictKeys"),
    ("leaf", "Leaf"),
    ("length", "LongLength"),
    ("line_table", "LineTable"),
    ("place", "GilPlace"),
];

impl Offsets {
    /// A constant of this value for a table file, as rustfmt would not yet have it.
    pub fn source(&self, name: &str) -> String {
        let lines: Vec<String> = format!("{self:#?}").lines().map(with_enum).collect();
        format!("const {name}: Offsets = {};\n", lines.join("\n"))
    }
}

/// A line of `{:#?}` with the enum's name put before its variant, and a reference made of a slice.
fn with_enum(line: &str) -> String {
    let Some((field, value)) = line.split_once(": ") else { return line.to_owned() };
    if value.starts_with('[') {
        return format!("{field}: &{value}");
    }
    let is_variant = value.starts_with(|first: char| first.is_ascii_uppercase());
    match ENUMS.iter().find(|(name, _)| *name == field.trim_start()) {
        Some((_, of)) if is_variant => format!("{field}: {of}::{value}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Build};

    const FILES: [(u8, &str); 9] = [
        (7, include_str!("table/v3_7.rs")),
        (8, include_str!("table/v3_8.rs")),
        (9, include_str!("table/v3_9.rs")),
        (10, include_str!("table/v3_10.rs")),
        (11, include_str!("table/v3_11.rs")),
        (12, include_str!("table/v3_12.rs")),
        (13, include_str!("table/v3_13.rs")),
        (14, include_str!("table/v3_14.rs")),
        (15, include_str!("table/v3_15.rs")),
    ];

    /// Source text but for what rustfmt decides: white space, and commas before a closing bracket.
    fn essence(source: &str) -> String {
        let dense: String = source.split_whitespace().collect();
        dense.replace(",}", "}").replace(",)", ")").replace(",]", "]")
    }

    #[test]
    fn every_table_file_holds_what_is_printed_for_it() {
        for (minor, file) in FILES {
            let table = Offsets::of(minor, Arch::X86_64, Build::Release).unwrap();
            assert!(essence(file).contains(&essence(&table.source("RELEASE"))), "3.{minor}");
        }
    }
}
