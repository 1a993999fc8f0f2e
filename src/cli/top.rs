//! `top`, as typed.

use std::ffi::OsString;

use clap::Args;

use super::{Choice, Modes};

/// What can be typed, by example.
pub const EXAMPLES: &str = "\
Examples:
  What is hot in process 4242, and who holds the GIL? `?` shows every key:
      pysample top --pid 4242
  Of a program, from its start to its end:
      pysample top -- python3 app.py
  One refresh, for a script:
      pysample top --pid 4242 --json | jq -r '.functions[0].function'
  One refresh of ten seconds, as text:
      pysample top --pid 4242 --once -d 10

With `-- COMMAND` what the command prints is a view of its own, and printed
when the view ends. The command is never killed: when the view ends it runs on.";

/// `top`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// The process to look at
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true, conflicts_with = "command")]
    pub pid: Option<String>,

    /// The command to run and look at
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Samples a second; 100 without it, and with -s fewer where that would take 1 % of the processors and none is idle
    #[arg(short, long, value_name = "HZ", allow_negative_numbers = true)]
    pub rate: Option<String>,

    /// For how long it is looked at, in seconds; what was seen last stays on the screen. With --once and --json, 5 without it
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub duration: Option<String>,

    #[command(flatten)]
    pub mode: Modes,

    #[command(flatten)]
    pub choice: Choice,

    /// The sliding window, in seconds: 1, 2, 5, 10, 30 or 60
    #[arg(short, long, value_name = "SECONDS", default_value = "5", conflicts_with_all = ["once", "json"])]
    pub window: String,

    /// Print one refresh as text; so it is without a terminal, too
    #[arg(long)]
    pub once: bool,

    /// Print one refresh as JSON for programs
    #[arg(short, long)]
    pub json: bool,

    /// Draw with the characters of ASCII only; so it is where the locale or the terminal has no others
    #[arg(long)]
    pub ascii: bool,

    /// Show file names in full, not from their entry of sys.path on
    #[arg(long)]
    pub full_filenames: bool,

    /// Never stop a thread, not even the one that holds the GIL for some tens of microseconds a sample: stacks may be mixtures
    #[arg(long, visible_alias = "nonblocking")]
    pub never_pause: bool,

    /// Stop the program for this share of its time at most; samples are left out to keep to it
    #[arg(long, value_name = "PERCENT", default_value = "5", allow_negative_numbers = true)]
    pub max_pause: String,

    /// Use this much of one processor at most; samples are left out to keep to it. Usually a tenth of the control group's limit, where that is 2 processors or less; with -s and no --rate, about 1 % of the processors where none is idle
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub max_cpu: Option<String>,
}
