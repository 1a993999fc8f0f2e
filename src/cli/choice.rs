//! Whom and what to look at, as typed: the same for every subcommand that looks.

use clap::Args;

/// Which processes, threads and stacks, as typed.
#[derive(Debug, Args)]
pub struct Choice {
    /// The process and its descendants, those born later included, as far as they run Python
    #[arg(short, long)]
    pub subprocesses: bool,

    /// Only threads of this name (`*` and `?` stand for any letters) or OS thread id; may be given more than once
    #[arg(long, value_name = "NAME|TID")]
    pub thread: Vec<String>,

    /// Only the main thread of each process
    #[arg(long)]
    pub main_thread: bool,

    /// Leave out stacks with such a function, module, both (json.decoder.*) or file in them (`*` stands for any letters); may be given more than once
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
}
