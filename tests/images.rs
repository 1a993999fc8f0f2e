//! Recorded memory images replay to the dumps that their targets told, without process or privilege.
//!
//! `tests/images` has two files for each: the image, and what the target said of itself when it was recorded.
//! `PYSAMPLE_BLESS=1 cargo test --test images` records them anew from the interpreters at hand.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Kind, Running, kind, oracle};
use libtest_mimic::{Arguments, Failed};
use pysample::python;
use pysample::sampler::{Pause, Wanted, snapshot};
use pysample::target::{Facts, Target};
use serde_json::{Value, json};

/// Interpreters and programs that there are images of.
const IMAGES: &[(&str, &str, &[&str])] = &[
    ("3.7", "threads.py", &["5"]),
    ("3.8", "threads.py", &["5"]),
    ("3.9", "threads.py", &["5"]),
    ("3.10", "threads.py", &["5"]),
    ("3.11", "threads.py", &["5"]),
    ("3.12", "threads.py", &["5"]),
    ("3.13", "threads.py", &["5"]),
    ("3.14-debian", "threads.py", &["5"]),
    ("3.15-debian", "threads.py", &["5"]),
    ("3.14t", "threads.py", &["5"]),
    ("3.15t", "threads.py", &["5"]),
    ("3.15d", "threads.py", &["5"]),
    ("3.9", "generators.py", &[]),
    ("3.11", "generators.py", &[]),
    ("3.15-debian", "generators.py", &[]),
    ("3.12", "subinterpreter.py", &[]),
    ("3.15-debian", "subinterpreter.py", &[]),
];

fn main() {
    let bless = std::env::var_os("PYSAMPLE_BLESS").is_some();
    let trials = IMAGES.iter().map(|&(kind, program, arguments)| {
        common::watch::trial(format!("the image of {kind} {program} replays"), move || {
            if bless {
                record(kind, program, arguments)?;
            }
            replay(kind, program)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn files(kind: &str, program: &str) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let name = format!("{kind}-{}", program.trim_end_matches(".py"));
    (folder.join(format!("{name}.image")), folder.join(format!("{name}.json")))
}

fn record(name: &str, program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let mut running = start(kind(name), program, arguments);
    let told = running.json();
    let target = Target::attach_recording(running.pid())?;
    let interpreter = python::locate(&target)?;
    snapshot(&target, &interpreter, Wanted::All, Pause::Holder)?;
    let (image, json) = files(name, program);
    let facts = without_our_paths(target.facts().clone(), kind(name));
    let ranges = target.ranges().into_iter().map(|(addr, bytes)| (addr, without_our_path(bytes, &prefix(kind(name)))));
    Target::from_ranges(facts, ranges).save_image(&image)?;
    Ok(fs::write(json, format!("{}\n", serde_json::to_string(&told)?))?)
}

/// Our kernel spells files of other mount namespaces and roots as we would find them.
fn without_our_paths(mut facts: Facts, kind: &Kind) -> Facts {
    let (ours, theirs) = match &kind.root {
        Some(root) => (root.clone(), "/"),
        None => (prefix(kind), "/opt/python"),
    };
    for path in facts.mappings.iter_mut().filter_map(|mapping| mapping.path.as_mut()) {
        if let Ok(below) = path.strip_prefix(&ours) {
            *path = Path::new(theirs).join(below);
        }
    }
    facts
}

/// Libraries name the folder that they were built for; another name of the same length takes its place.
fn without_our_path(mut bytes: Vec<u8>, ours: &Path) -> Vec<u8> {
    let ours = ours.as_os_str().as_encoded_bytes();
    let theirs: Vec<u8> = b"/opt/python".iter().copied().chain(std::iter::repeat(b'/')).take(ours.len()).collect();
    while let Some(at) = bytes.windows(ours.len()).position(|window| window == ours) {
        bytes[at..at + ours.len()].copy_from_slice(&theirs);
    }
    bytes
}

/// The folder that an interpreter is installed in.
fn prefix(kind: &Kind) -> PathBuf {
    let elf = kind.elf.parent().and_then(Path::parent);
    elf.expect("libraries lie in PREFIX/lib, programs in PREFIX/bin").to_owned()
}

/// Runs a program where an image of it names no path of the machine that it was recorded on: in a mount namespace that
/// has the interpreter at /opt/python and the programs at /opt/programs. Those that run below a root of their own do.
fn start(kind: &Kind, program: &str, arguments: &[&str]) -> Running {
    const SCRIPT: &str = r#"mount -t tmpfs none /opt && mkdir /opt/python /opt/programs &&
        mount --bind "$0" /opt/python && mount --bind "$1" /opt/programs && shift && exec "$@""#;
    if kind.root.is_some() {
        return kind.start(program, arguments);
    }
    let prefix = prefix(kind);
    let moved = |text: &String| text.replace(prefix.to_str().expect("a plain path"), "/opt/python");
    let shell = ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT];
    let mut command: Vec<String> = shell.map(str::to_owned).to_vec();
    command.push(prefix.display().to_string());
    command.push(common::programs().display().to_string());
    command.extend(["env".to_owned(), "PYTHONHOME=/opt/python".to_owned()]);
    command.extend(kind.env.iter().map(|(name, value)| format!("{name}={}", moved(value))));
    command.extend(kind.command.iter().map(moved));
    let neutral = Kind { command, env: Default::default(), ..kind.clone() };
    neutral.start_script(Path::new("/opt/programs").join(program), arguments)
}

fn replay(name: &str, program: &str) -> Result<(), Failed> {
    let (image, json) = files(name, program);
    let told: Value = serde_json::from_str(&fs::read_to_string(json)?)?;
    let target = Target::open_image(&image)?;
    let interpreter = python::locate(&target)?;
    let version = &told["version"];
    let version = format!("{}.{}.{}", version[0], version[1], version[2]);
    if interpreter.version.to_string() != version {
        return Err(format!("the version is {version}, not {}", interpreter.version).into());
    }
    let snapshot = json!(snapshot(&target, &interpreter, Wanted::All, Pause::Holder)?);
    match oracle::difference(&oracle::told(&told), &oracle::seen(&snapshot)) {
        Some(difference) => Err(difference.into()),
        None => Ok(()),
    }
}
