//! Makes and verifies the tables: prints what ELF files say of the CPython in them, or checks the tables against it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use python_offsets::dwarf::{self, DwarfError, DwarfOffsets};
use python_offsets::elf::{ElfError, ElfFile};
use python_offsets::published::{FIRST_MINOR, Published, PublishedError};
use python_offsets::{Arch, Build, Difference, Offsets};

/// Where everything lies in the memory of a CPython: prints what ELF files say of it, and verifies the tables.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the offsets in a file's debug information, and those that it publishes.
    Print {
        /// An executable, a shared library, or a file with its debug information alone.
        elf: PathBuf,
        /// The minor version of Python 3, where the file does not tell.
        #[arg(long)]
        minor: Option<u8>,
        /// As Rust source for a table file.
        #[arg(long)]
        rust: bool,
    },
    /// Compare the tables with the debug information and the published offsets of files.
    ///
    /// Exits with 1 if anything differs, with 2 if a file had nothing to compare with.
    Check {
        /// Executables, shared libraries, or files with debug information alone.
        #[arg(required = true)]
        elf: Vec<PathBuf>,
        /// The minor version of Python 3, where the files do not tell.
        #[arg(long)]
        minor: Option<u8>,
    },
}

/// What went wrong with a file as a whole.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error(transparent)]
    Dwarf(#[from] DwarfError),
    #[error(transparent)]
    Published(#[from] PublishedError),
    #[error("neither debug information nor published offsets")]
    Nothing,
}

/// How a check ended, in the order of exit codes: the worst of several files counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Equal,
    Unchecked,
    Different,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Print { elf, minor, rust } => match print(&elf, minor, rust) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{}: {failure}", elf.display());
                ExitCode::FAILURE
            }
        },
        Command::Check { elf, minor } => {
            let outcomes = elf.iter().map(|path| reported(path, minor));
            exit_code(outcomes.max().unwrap_or(Outcome::Unchecked))
        }
    }
}

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Equal => ExitCode::SUCCESS,
        Outcome::Different => ExitCode::from(1),
        Outcome::Unchecked => ExitCode::from(2),
    }
}

fn print(path: &Path, minor: Option<u8>, rust: bool) -> Result<(), Failure> {
    let bytes = fs::read(path)?;
    let found = Found::in_file(&bytes, minor)?;
    if let Some(dwarf) = &found.dwarf {
        println!("{}", heading("debug information", dwarf));
        print_offsets(&dwarf.offsets, dwarf.free_threaded, rust);
    }
    if let Some(published) = &found.published {
        println!("// published by Python {}{}", published.version, build_kind(published.free_threaded));
        match rust {
            true => print_offsets(&overlaid(published, found.arch)?, published.free_threaded, rust),
            false => published.fields().for_each(|(name, value)| println!("{name:58} {value:>7}")),
        }
    }
    match found.is_empty() {
        true => Err(Failure::Nothing),
        false => Ok(()),
    }
}

fn heading(source: &str, dwarf: &DwarfOffsets) -> String {
    let minor = format!("3.{}", dwarf.offsets.minor);
    let version = dwarf.version.map_or(minor, |version| version.to_string());
    format!("// {source} of Python {version}{}, {:?}", build_kind(dwarf.free_threaded), dwarf.arch)
}

fn build_kind(free_threaded: bool) -> &'static str {
    if free_threaded { ", free-threaded" } else { "" }
}

fn print_offsets(offsets: &Offsets, free_threaded: bool, rust: bool) {
    let name = if free_threaded { "FREE_THREADED" } else { "RELEASE" };
    match rust {
        true => print!("{}", offsets.source(name)),
        false => offsets.fields().iter().for_each(|(name, field)| println!("{name:58} {field:>7}")),
    }
}

/// Checks a file and says how it went.
fn reported(path: &Path, minor: Option<u8>) -> Outcome {
    check(path, minor).unwrap_or_else(|failure| {
        println!("{}: not checked: {failure}", path.display());
        Outcome::Unchecked
    })
}

fn check(path: &Path, minor: Option<u8>) -> Result<Outcome, Failure> {
    let bytes = fs::read(path)?;
    let found = Found::in_file(&bytes, minor)?;
    let mut outcome = if found.is_empty() { return Err(Failure::Nothing) } else { Outcome::Equal };
    if let Some(dwarf) = &found.dwarf {
        outcome = outcome.max(compare(path, "debug information", &dwarf.offsets, dwarf.free_threaded, found.arch));
    }
    if let Some(published) = &found.published {
        let offsets = overlaid(published, found.arch)?;
        outcome = outcome.max(compare(path, "published offsets", &offsets, published.free_threaded, found.arch));
        if let Some(dwarf) = &found.dwarf {
            outcome = outcome.max(compare_sources(path, &offsets, &dwarf.offsets));
        }
    }
    Ok(outcome)
}

/// Compares what a file says with the table of the build that comes nearest.
fn compare(path: &Path, source: &str, offsets: &Offsets, free_threaded: bool, arch: Arch) -> Outcome {
    let Some((build, differences)) = nearest(offsets, free_threaded, arch) else {
        println!("{}: {source}: no table for Python 3.{}", path.display(), offsets.minor);
        return Outcome::Unchecked;
    };
    let (drift, moved): (Vec<_>, Vec<_>) = differences.into_iter().partition(|d| d.is_patch_level(offsets.minor));
    println!(
        "{}: {source} of Python 3.{}, against the table for {build:?}: {}",
        path.display(),
        offsets.minor,
        if moved.is_empty() { "equal" } else { "different" }
    );
    print_differences("table", "file", &moved);
    drift.iter().for_each(|d| println!("    {} {} instead of {}, as patch levels differ", d.name, d.right, d.left));
    if moved.is_empty() { Outcome::Equal } else { Outcome::Different }
}

/// The table with the fewest differences, and these (left: table).
fn nearest(offsets: &Offsets, free_threaded: bool, arch: Arch) -> Option<(Build, Vec<Difference>)> {
    let builds = Build::ALL.into_iter().filter(|build| build.is_free_threaded() == free_threaded);
    let tables = builds.filter_map(|build| Some((build, Offsets::of(offsets.minor, arch, build)?)));
    tables.map(|(build, table)| (build, table.differences(offsets))).min_by_key(|(_, differences)| differences.len())
}

fn compare_sources(path: &Path, published: &Offsets, dwarf: &Offsets) -> Outcome {
    let differences = published.differences(dwarf);
    let verdict = if differences.is_empty() { "equal" } else { "different" };
    println!("{}: published offsets against debug information: {verdict}", path.display());
    print_differences("published", "debug information", &differences);
    if differences.is_empty() { Outcome::Equal } else { Outcome::Different }
}

fn print_differences(left: &str, right: &str, differences: &[Difference]) {
    for difference in differences {
        println!("    {}: {} in {left}, {} in {right}", difference.name, difference.left, difference.right);
    }
}

fn overlaid(published: &Published, arch: Arch) -> Result<Offsets, PublishedError> {
    let no_table = PublishedError::WrongTable { version: published.version };
    published.overlay(published.table(arch).ok_or(no_table)?)
}

/// What a file says of the CPython in it.
struct Found {
    dwarf: Option<DwarfOffsets>,
    published: Option<Published>,
    arch: Arch,
}

impl Found {
    fn in_file(bytes: &[u8], minor: Option<u8>) -> Result<Found, Failure> {
        let file = ElfFile::parse(bytes)?;
        let dwarf = match dwarf::read(bytes, minor) {
            Ok(dwarf) => Some(dwarf),
            Err(DwarfError::NoDebugInfo) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Found { dwarf, published: published(&file, minor)?, arch: file.arch() })
    }

    fn is_empty(&self) -> bool {
        self.dwarf.is_none() && self.published.is_none()
    }
}

/// The block in the file, which every version must have that publishes one.
fn published(file: &ElfFile, minor: Option<u8>) -> Result<Option<Published>, Failure> {
    let publishes = minor.or_else(|| file.minor()).is_some_and(|minor| minor >= FIRST_MINOR);
    match file.runtime() {
        Some(runtime) if publishes => Ok(Some(Published::decode(runtime)?)),
        _ => Ok(None),
    }
}
