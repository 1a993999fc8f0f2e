//! The tables against real interpreters: debug information and published offsets of every one that the manifest lists.

use std::fs;
use std::path::PathBuf;

use python_offsets::dwarf::{self, DwarfOffsets};
use python_offsets::elf::ElfFile;
use python_offsets::published::{FIRST_MINOR, Published};
use python_offsets::{Arch, Build, Difference, Offsets};
use serde_json::Value;

/// One interpreter of the manifest.
struct Interpreter {
    kind: String,
    minor: u8,
    builds: &'static [Build],
    elf: Option<PathBuf>,
    dwarf: Option<PathBuf>,
}

impl Interpreter {
    fn of(entry: &Value) -> Interpreter {
        let path = |key: &str| entry[key].as_str().map(PathBuf::from);
        Interpreter {
            kind: entry["kind"].as_str().expect("a kind").to_owned(),
            minor: entry["minor"].as_u64().expect("a minor version") as u8,
            builds: builds(entry["flavour"].as_str().expect("a flavour")),
            elf: path("elf"),
            dwarf: path("dwarf"),
        }
    }

    fn debug_information(&self) -> Option<DwarfOffsets> {
        let bytes = fs::read(self.dwarf.as_ref()?).unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        Some(dwarf::read(&bytes, Some(self.minor)).unwrap_or_else(|error| panic!("{}: {error}", self.kind)))
    }

    /// The published offsets over their table; none in files that keep neither sections nor the symbol.
    fn published(&self) -> Option<(Published, Offsets)> {
        let bytes = fs::read(self.elf.as_ref()?).unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        let file = ElfFile::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        let published = Published::decode(file.runtime()?).unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        let offsets = published.overlay(published.table(file.arch()).unwrap());
        let offsets = offsets.unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        assert_eq!(published.version.minor, self.minor, "{}", self.kind);
        Some((published, offsets))
    }

    /// In what the nearest table is wrong.
    fn faults(&self, offsets: &Offsets, arch: Arch) -> Vec<Difference> {
        let tables = self.builds.iter().filter_map(|build| Offsets::of(self.minor, arch, *build));
        let faults = tables.map(|table| {
            let mut differences = table.differences(offsets);
            differences.retain(|difference| !difference.is_patch_level(self.minor));
            differences
        });
        faults.min_by_key(Vec::len).unwrap_or_else(|| panic!("{}: no table", self.kind))
    }
}

fn builds(flavour: &str) -> &'static [Build] {
    match flavour {
        "release" => &[Build::Release],
        "debug" => &[Build::Debug, Build::TraceRefs],
        "free-threaded" => &[Build::FreeThreaded, Build::FreeThreadedDebug],
        other => panic!("unknown flavour {other}"),
    }
}

fn manifest() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let folder = variable("PYSAMPLE_INTERPRETERS").or_else(|| Some(cache()?.join("pysample/interpreters")));
    folder.expect("one of PYSAMPLE_INTERPRETERS, XDG_CACHE_HOME and HOME").join("manifest.json")
}

/// The supported interpreters. Without a manifest there are none, which only CI takes for a failure.
fn interpreters() -> Vec<Interpreter> {
    let path = manifest();
    let Ok(text) = fs::read_to_string(&path) else {
        assert!(std::env::var_os("CI").is_none(), "no manifest of interpreters at {}", path.display());
        eprintln!("NOTHING TESTED: there is no manifest of interpreters at {}", path.display());
        return Vec::new();
    };
    let entries: Vec<Value> = serde_json::from_str(&text).expect("a JSON array");
    entries.iter().filter(|entry| entry["supported"] == true).map(Interpreter::of).collect()
}

#[test]
fn the_tables_are_what_debug_information_says() {
    for interpreter in interpreters() {
        if let Some(read) = interpreter.debug_information() {
            assert_eq!(interpreter.faults(&read.offsets, read.arch), [], "{}", interpreter.kind);
        }
    }
}

#[test]
fn the_tables_are_what_interpreters_publish() {
    for interpreter in interpreters().into_iter().filter(|interpreter| interpreter.minor >= FIRST_MINOR) {
        if let Some((_, offsets)) = interpreter.published() {
            assert_eq!(interpreter.faults(&offsets, Arch::X86_64), [], "{}", interpreter.kind);
        }
    }
}

#[test]
fn what_is_published_over_a_table_is_what_debug_information_says() {
    for interpreter in interpreters().into_iter().filter(|interpreter| interpreter.minor >= FIRST_MINOR) {
        if let (Some((published, offsets)), Some(read)) = (interpreter.published(), interpreter.debug_information()) {
            assert_eq!(offsets.differences(&read.offsets), [], "{}", interpreter.kind);
            assert_eq!(published.free_threaded, read.free_threaded, "{}", interpreter.kind);
        }
    }
}

#[test]
fn a_file_tells_its_version_by_itself() {
    for interpreter in interpreters() {
        let bytes = fs::read(interpreter.elf.as_ref().expect("an ELF file")).unwrap();
        let file = ElfFile::parse(&bytes).unwrap();
        if file.runtime_size().is_some() {
            assert_eq!(file.minor(), Some(interpreter.minor), "{}", interpreter.kind);
        }
    }
}
