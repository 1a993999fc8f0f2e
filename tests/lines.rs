//! The line decoder agrees with CPython at every offset of hundreds of its own code objects, for each version.
//!
//! What is expected is printed by the interpreters: `co_lines()` from 3.10 on, `dis.findlinestarts` before.

mod common;

use common::Kind;
use libtest_mimic::{Arguments, Failed, Trial};
use pysample::python::lines::Lines;
use python_offsets::LineTable;
use serde::Deserialize;
use std::process::Stdio;

const CODE_OBJECTS: usize = 600;

#[derive(Deserialize)]
struct Told {
    name: String,
    firstlineno: u32,
    table: String,
    size: u32,
    lines: Vec<(u32, u32, Option<u32>)>,
}

fn main() {
    let trials = common::kinds()
        .filter(|kind| !kind.kind.contains("embedded"))
        .map(|kind| Trial::test(format!("lines of {} agree with the decoder", kind.kind), move || agree(kind)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn agree(kind: &Kind) -> Result<(), Failed> {
    let encoding = match kind.minor {
        ..=9 => LineTable::Lnotab(0),
        10 => LineTable::Pep626(0),
        11.. => LineTable::Locations(0),
    };
    let mut checked = 0;
    for told in told(kind)? {
        let lines = Lines::decode(encoding, told.firstlineno, &bytes(&told.table));
        for &(start, end, line) in &told.lines {
            for offset in (start..end.min(told.size)).step_by(2) {
                let found = lines.at(offset.into());
                if found != line {
                    return Err(format!("{} at {offset}: {found:?}, not {line:?}", told.name).into());
                }
            }
        }
        checked += 1;
    }
    if checked < CODE_OBJECTS / 2 { Err(format!("only {checked} code objects").into()) } else { Ok(()) }
}

fn told(kind: &Kind) -> Result<Vec<Told>, Failed> {
    let (folder, inside) = kind.folder();
    let script = match kind.root {
        None => common::programs().join("line_tables.py"),
        Some(_) => {
            std::fs::copy(common::programs().join("line_tables.py"), folder.path().join("line_tables.py"))?;
            inside.join("line_tables.py")
        }
    };
    let output = kind.command().arg(script).arg(CODE_OBJECTS.to_string()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
}
