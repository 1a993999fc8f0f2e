//! Makes and verifies the tables: prints what ELF files say of the CPython in them, or checks the tables against it.

use std::fs;
use std::io::{self, Write};
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
    Read(io::Error),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
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
    let mut out = io::stdout().lock();
    let result = match Arguments::parse().command {
        Command::Print { elf, minor, rust } => print(&mut out, &elf, minor, rust).map(|()| ExitCode::SUCCESS),
        Command::Check { elf, minor } => check_all(&mut out, &elf, minor).map(exit_code),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("python-offsets: {failure}");
            ExitCode::FAILURE
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

fn print(out: &mut impl Write, path: &Path, minor: Option<u8>, rust: bool) -> Result<(), Failure> {
    let bytes = fs::read(path).map_err(Failure::Read)?;
    let found = Found::in_file(&bytes, minor)?;
    if let Some(dwarf) = &found.dwarf {
        writeln!(out, "{}", heading(dwarf))?;
        print_offsets(out, &dwarf.offsets, dwarf.free_threaded, rust)?;
    }
    if let Some(published) = &found.published {
        print_published(out, published, found.arch, rust)?;
    }
    match found.is_empty() {
        true => Err(Failure::Nothing),
        false => Ok(()),
    }
}

fn heading(dwarf: &DwarfOffsets) -> String {
    let minor = format!("3.{}", dwarf.offsets.minor);
    let version = dwarf.version.map_or(minor, |version| version.to_string());
    format!("// debug information of Python {version}{}, {:?}", threading(dwarf.free_threaded), dwarf.arch)
}

fn threading(free_threaded: bool) -> &'static str {
    if free_threaded { ", free-threaded" } else { "" }
}

fn print_offsets(out: &mut impl Write, offsets: &Offsets, free_threaded: bool, rust: bool) -> io::Result<()> {
    let name = if free_threaded { "FREE_THREADED" } else { "RELEASE" };
    match rust {
        true => write!(out, "{}", offsets.source(name)),
        false => offsets.fields().iter().try_for_each(|(name, field)| writeln!(out, "{name:58} {field:>7}")),
    }
}

fn print_published(out: &mut impl Write, published: &Published, arch: Arch, rust: bool) -> Result<(), Failure> {
    writeln!(out, "// published by Python {}{}", published.version, threading(published.free_threaded))?;
    if rust {
        print_offsets(out, &overlaid(published, arch)?, published.free_threaded, rust)?;
        return Ok(());
    }
    Ok(published.fields().try_for_each(|(name, value)| writeln!(out, "{name:58} {value:>7}"))?)
}

/// Checks each file and says how it went; the worst outcome counts.
fn check_all(out: &mut impl Write, paths: &[PathBuf], minor: Option<u8>) -> Result<Outcome, Failure> {
    let mut worst = Outcome::Equal;
    for path in paths {
        worst = worst.max(match check(out, path, minor) {
            Err(failure @ Failure::Write(_)) => return Err(failure),
            Err(failure) => {
                writeln!(out, "{}: not checked: {failure}", path.display())?;
                Outcome::Unchecked
            }
            Ok(outcome) => outcome,
        });
    }
    Ok(worst)
}

fn check(out: &mut impl Write, path: &Path, minor: Option<u8>) -> Result<Outcome, Failure> {
    let bytes = fs::read(path).map_err(Failure::Read)?;
    let found = Found::in_file(&bytes, minor)?;
    if found.is_empty() {
        return Err(Failure::Nothing);
    }
    let mut outcome = Outcome::Equal;
    if let Some(dwarf) = &found.dwarf {
        write!(out, "{}: debug information", path.display())?;
        outcome = outcome.max(compare(out, &dwarf.offsets, dwarf.free_threaded, found.arch)?);
    }
    if let Some(published) = &found.published {
        let offsets = overlaid(published, found.arch)?;
        write!(out, "{}: published offsets", path.display())?;
        outcome = outcome.max(compare(out, &offsets, published.free_threaded, found.arch)?);
        if let Some(dwarf) = &found.dwarf {
            write!(out, "{}: published offsets against debug information: ", path.display())?;
            outcome =
                outcome.max(verdict(out, &offsets.differences(&dwarf.offsets), "published", "debug information")?);
        }
    }
    Ok(outcome)
}

/// Compares what a file says with the table of the build that comes nearest.
fn compare(out: &mut impl Write, offsets: &Offsets, free_threaded: bool, arch: Arch) -> io::Result<Outcome> {
    let Some((build, differences)) = nearest(offsets, free_threaded, arch) else {
        writeln!(out, " of Python 3.{}, which has no table", offsets.minor)?;
        return Ok(Outcome::Unchecked);
    };
    let (drift, moved): (Vec<_>, Vec<_>) = differences.into_iter().partition(|d| d.is_patch_level(offsets.minor));
    write!(out, " of Python 3.{} against the table for {build:?}: ", offsets.minor)?;
    let outcome = verdict(out, &moved, "table", "file")?;
    for Difference { name, left, right } in drift {
        writeln!(out, "    {name} {right} instead of {left}, as patch levels differ")?;
    }
    Ok(outcome)
}

/// The table with the fewest differences, and these (left: table).
fn nearest(offsets: &Offsets, free_threaded: bool, arch: Arch) -> Option<(Build, Vec<Difference>)> {
    let builds = Build::ALL.into_iter().filter(|build| build.is_free_threaded() == free_threaded);
    let tables = builds.filter_map(|build| Some((build, Offsets::of(offsets.minor, arch, build)?)));
    tables.map(|(build, table)| (build, table.differences(offsets))).min_by_key(|(_, differences)| differences.len())
}

fn verdict(out: &mut impl Write, differences: &[Difference], left: &str, right: &str) -> io::Result<Outcome> {
    if differences.is_empty() {
        writeln!(out, "equal")?;
        return Ok(Outcome::Equal);
    }
    writeln!(out, "different")?;
    for difference in differences {
        writeln!(out, "    {}: {} in {left}, {} in {right}", difference.name, difference.left, difference.right)?;
    }
    Ok(Outcome::Different)
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
