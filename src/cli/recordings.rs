//! `convert`, `merge` and `report`, as typed: what is done with recordings that there are already.

use std::path::PathBuf;

use clap::Args;

use super::Drawing;

/// Examples for `convert`.
pub const CONVERT_EXAMPLES: &str = "\
Examples:
  Another format, as often as you like:
      pysample convert run.pysample -o run.svg
  Only one second, and only stacks that go through a module:
      pysample convert run.pysample -o x.svg --from 3 --to 4 --include 'json.*'
  Recorded with --mode wall: what did the threads of a pool do that ran?
      pysample convert run.pysample -o x.svg --threads 'pool-*' --mode cpu
  Collapsed stacks of another tool:
      pysample convert stacks.txt -o stacks.svg --inverted";

/// `convert`, as typed.
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct Convert {
    /// A recording (.pysample), or collapsed stacks of any tool; `-` is standard input
    #[arg(value_name = "IN")]
    pub input: PathBuf,

    /// Where to write; `-` is standard output. The ending tells the format: `pysample record --help` lists them
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// The format, whatever the file's name
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    #[command(flatten)]
    pub filters: Filters,

    /// Merge the lines of a function; the line shown is its first
    #[arg(short = 'F', long)]
    pub function: bool,

    /// Show file names in full, not from their entry of sys.path on
    #[arg(long)]
    pub full_filenames: bool,

    /// Keep threads apart: name and id at the root of each stack
    #[arg(short = 't', long)]
    pub by_thread: bool,

    #[command(flatten)]
    pub drawing: Drawing,
}

/// `merge`, as typed.
#[derive(Debug, Args)]
pub struct Merge {
    /// Recordings or collapsed stacks, recorded at the same rate and in the same mode
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub inputs: Vec<PathBuf>,

    /// Where to write the recording that has them all
    #[arg(short, long, value_name = "OUT.pysample")]
    pub output: PathBuf,
}

/// `report`, as typed.
#[derive(Debug, Args)]
pub struct Report {
    /// A recording (.pysample), or collapsed stacks of any tool; `-` is standard input
    #[arg(value_name = "FILE")]
    pub input: PathBuf,

    /// How many functions, lines and threads
    #[arg(short, long, value_name = "NUMBER", default_value = "10", allow_negative_numbers = true)]
    pub number: String,

    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,

    #[command(flatten)]
    pub filters: Filters,

    /// Show file names in full, not from their entry of sys.path on
    #[arg(long)]
    pub full_filenames: bool,
}

/// Which samples, as typed.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Only some samples")]
pub struct Filters {
    /// Of threads of this name (* and ? stand for any text and character) or id; can be given more than once
    #[arg(long, value_name = "PATTERN")]
    pub threads: Vec<String>,

    /// With such a function, module (json.decoder), both (json.decoder.*) or file anywhere in the stack
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,

    /// Without any such function, module or file in the stack
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,

    /// From so many seconds after the beginning on
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub from: Option<String>,

    /// Before so many seconds after the beginning
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub to: Option<String>,

    /// Of threads that run (cpu), of all (wall), of those that hold a GIL (gil): no more than was recorded
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
}
