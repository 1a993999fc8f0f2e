//! `ps`, as typed.

use clap::Args;

pub const EXAMPLES: &str = "\
Examples:
  Every Python process of the machine, the busiest first:
      pysample ps
  Those of one pod, for a script:
      pysample ps -j | jq '.processes[] | select(.container.pod == \"UID\").pid'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ps {
    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,
}
