//! What is read of bytecode agrees with CPython, for each version: the line of every offset of hundreds of its own code
//! objects, and the instructions by which a frame is left or calls.
//!
//! What is expected is printed by the interpreters: `co_lines()` from 3.10 on, `dis.findlinestarts` before; `opcode`.

mod common;

use common::Kind;
use libtest_mimic::{Arguments, Failed};
use pysample::python::lines::Lines;
use python_offsets::{Arch, Build, Code, LineTable, Offsets};
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
    let whole = || common::kinds().filter(|kind| !kind.kind.contains("embedded"));
    let lines = whole().map(|kind| {
        common::watch::trial(format!("lines of {} agree with the decoder", kind.kind), move || agree(kind))
    });
    let instructions = whole().flat_map(|kind| {
        let trial =
            |name: &str, check: Check| common::watch::trial(format!("{}: {name}", kind.kind), move || check(kind));
        [
            trial("frames are left by the instructions of the table", leave),
            trial("calls are made by the instructions of the table", call),
            trial("the GIL is asked for at the instructions of the table", checks),
        ]
    });
    libtest_mimic::run(&Arguments::from_args(), lines.chain(instructions).collect()).exit();
}

type Check = fn(&'static Kind) -> Result<(), Failed>;

fn leave(kind: &'static Kind) -> Result<(), Failed> {
    if kind.minor < 11 {
        return Ok(());
    }
    instructions(kind, "name in {'RETURN_VALUE', 'RETURN_CONST', 'RETURN_GENERATOR', 'YIELD_VALUE'}", |code| {
        code.leaves
    })
}

fn call(kind: &'static Kind) -> Result<(), Failed> {
    let calls = "name.startswith(('CALL', 'PRECALL')) and 'INTRINSIC' not in name and name != 'CALL_FINALLY'";
    instructions(kind, calls, |code| code.calls)
}

fn checks(kind: &'static Kind) -> Result<(), Failed> {
    let jumps = "('JUMP_ABSOLUTE', 'CONTINUE_LOOP') or name.startswith('POP_JUMP_IF_')";
    let harmless = "{'YIELD_VALUE', 'LOAD_GLOBAL', 'SETUP_LOOP', 'POP_BLOCK'}";
    let condition = match kind.minor {
        // Nearly all of them check; these do nothing that could let go of the GIL besides.
        ..=9 => format!("name in {jumps} or name in {harmless} or name.endswith('_OR_POP')"),
        10 => format!("name in {jumps} or name == 'YIELD_VALUE'"),
        // What is between functions and in the middle of an `await` does not.
        11.. => "re.match('RESUME|(POP_)?JUMP_BACKWARD', name) and name != 'JUMP_BACKWARD_NO_INTERRUPT'".into(),
    };
    instructions(kind, &condition, |code| code.checks)
}

/// The instructions of which a condition holds, specialised and instrumented ones included, are those of the table.
fn instructions(kind: &Kind, condition: &str, of: fn(&Code) -> &'static [u8]) -> Result<(), Failed> {
    let print = format!(
        "\
import dis, json, opcode, re
known = dict(getattr(dis, '_all_opmap', {{}}), **getattr(opcode, '_specialized_opmap', {{}}))
known.update(opcode.opmap)
names = [(name.replace('INSTRUMENTED_', ''), code) for name, code in known.items() if code < 256]
print(json.dumps(sorted({{code for name, code in names if {condition}}})))"
    );
    let output = kind.command().args(["-c", &print]).stderr(Stdio::inherit()).output()?;
    let expected: Vec<u8> = serde_json::from_slice(&output.stdout)?;
    let build = if kind.flavour == "free-threaded" { Build::FreeThreaded } else { Build::Release };
    let table = Offsets::of(kind.minor, Arch::X86_64, build).ok_or("there is no table")?;
    let mut known = of(&table.code).to_vec();
    known.sort_unstable();
    if known == expected { Ok(()) } else { Err(format!("{known:?}, not {expected:?}").into()) }
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
