//! `doctor`, as typed.

use clap::Args;

pub const EXAMPLES: &str = "\
Examples:
  Why can process 4242 not be read, and what mends it?
      pysample doctor --pid 4242
  What is allowed here at all?
      pysample doctor
  For a script: which rules refuse?
      pysample doctor --pid 4242 --json |
          jq -r '.rules[] | select(.outcome == \"refuses\").name'

The exit status is that which `dump` would have.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// The process to examine; without it, what is allowed here at all
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true)]
    pub pid: Option<String>,

    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,
}
