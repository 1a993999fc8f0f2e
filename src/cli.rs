//! What was typed. What it means, and whether it can be, is [`crate::plan`]'s business.

mod choice;
pub mod diff;
mod doctor;
mod ps;
pub mod recordings;
mod top;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use choice::Choice;
pub use doctor::Doctor;
pub use ps::Ps;
pub use top::Top;

const EXAMPLES: &str = "\
Examples:
  Where does process 4242 spend its time? Ten seconds, as a flame graph:
      pysample record --pid 4242 -d 10 -o profile.svg
  The same for a program, from its start to its end:
      pysample record -o profile.svg -- python3 app.py
  What is hot, live?
      pysample top --pid 4242
  What is every thread doing right now?
      pysample dump --pid 4242
  Who holds the GIL, and who waits because of it?
      pysample gil --pid 4242
  Which Python processes are there, and why can one not be read?
      pysample ps
      pysample doctor --pid 4242

To read another process takes its user's rights or root's: sudo pysample ...";

const RECORD_EXAMPLES: &str = "\
Examples:
  Until Ctrl-C, to a name made of program, process id and time:
      pysample record --pid 4242
  Ten seconds, as a flame graph to open in a browser:
      pysample record --pid 4242 -d 10 -o profile.svg
  Every thread apart, those that wait included:
      pysample record --pid 4242 -t -i -o threads.svg
  A short look at a high rate, as collapsed stacks to sort and search:
      pysample record --pid 4242 -d 1.5 -r 1khz -f collapsed -o - | sort
  Every sample, to look at in any way later:
      pysample record --pid 4242 -i -o run.pysample
      pysample report run.pysample
      pysample convert run.pysample -o run.svg --mode cpu
  A program from its start to its end:
      pysample record -o profile.svg -- python3 app.py
  A server and all of its workers, but not where they wait for requests:
      pysample record -s --pid 4242 -i --exclude selectors -o workers.svg

The target is never changed and never killed. With `-- COMMAND` the command's
exit status becomes pysample's; when -d is over, the command runs on.";

const DUMP_EXAMPLES: &str = "\
Examples:
  As text, innermost frame first:
      pysample dump --pid 4242
  Which threads run?
      pysample dump --pid 4242 --json |
          jq -r '.interpreters[].threads[] | select(.gil == \"held\").name'
  Only those that run:
      pysample dump --pid 4242 --mode cpu";

const GIL_EXAMPLES: &str = "\
Examples:
  Ten seconds, as text:
      pysample gil --pid 4242
  A minute, and the waiting as a flame graph of those who caused it:
      pysample gil --pid 4242 -d 60 -o blame.svg
  Of a program, from its start to its end:
      pysample gil -- python3 app.py
  For a script: which share of the time is it held?
      pysample gil --pid 4242 -d 5 --json | jq '.gils[0].held.share'";

/// A sampling profiler that attaches to running Python processes and only reads.
#[derive(Debug, Parser)]
#[command(name = "pysample", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record where a program spends its time, to a flame graph, a recording or another format
    Record(Record),
    /// Show live what is hot, who holds the GIL and what waits
    Top(Top),
    /// Show what every thread is doing right now
    Dump(Dump),
    /// Show who holds the GIL, who waits for it, and which code is to blame
    Gil(Gil),
    /// Show what grew and what shrank between two recordings
    Diff(diff::Diff),
    /// Fail if a recording takes more for a function than another one; for CI
    Check(diff::Check),
    /// List the Python processes of the machine
    Ps(Ps),
    /// Tell why a process can be read, or cannot, and what mends it
    Doctor(Doctor),
    /// Write a recording, or a part of it, in another format
    Convert(recordings::Convert),
    /// Put recordings together
    Merge(recordings::Merge),
    /// Tell what is in a recording: hot functions and lines, threads, the GIL
    Report(recordings::Report),
    /// Print a script that completes pysample's arguments in a shell
    Completions(Completions),
}

/// `record`, as typed.
#[derive(Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
pub struct Record {
    /// The process to record
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true, conflicts_with = "command")]
    pub pid: Option<String>,

    /// The command to run and record
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Where to write; `-` is standard output. The ending tells the format: .svg, .html, .pysample, .txt (or .folded, .collapsed), .speedscope.json, .pb.gz, .firefox.json, .pstats, .trace.json, .jsonl
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The format, whatever the file's name: svg (or flamegraph), html, pysample, collapsed, speedscope, pprof, firefox, pstats, chrome-trace, jsonl
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    #[command(flatten)]
    pub drawing: Drawing,

    /// Samples a second; 100 without it, and with -s fewer where that would take 1 % of the processors and none is idle
    #[arg(short, long, value_name = "HZ", allow_negative_numbers = true)]
    pub rate: Option<String>,

    /// How long, in seconds (1.5 is fine); without it until Ctrl-C or the end of the program
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub duration: Option<String>,

    /// Merge the lines of a function; the line shown is its first
    #[arg(short = 'F', long)]
    pub function: bool,

    /// Show file names in full, not from their entry of sys.path on
    #[arg(long)]
    pub full_filenames: bool,

    /// Keep threads apart: name and id at the root of each stack
    #[arg(short, long)]
    pub threads: bool,

    #[command(flatten)]
    pub mode: Modes,

    #[command(flatten)]
    pub choice: Choice,

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

/// How a flame graph is drawn, as typed.
#[derive(Debug, Args)]
pub struct Drawing {
    /// In a flame graph, merge stacks from their innermost frames on: who calls what takes the time?
    #[arg(long)]
    pub inverted: bool,

    /// Draw a flame graph from the top down
    #[arg(long)]
    pub icicle: bool,
}

/// `dump`, as typed.
#[derive(Debug, Args)]
#[command(after_help = DUMP_EXAMPLES)]
pub struct Dump {
    /// The process to look at
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true)]
    pub pid: String,

    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,

    #[command(flatten)]
    pub mode: Modes,

    #[command(flatten)]
    pub choice: Choice,

    /// Never stop a thread, not even the one that holds the GIL for a moment: its stack may be a mixture
    #[arg(long, visible_alias = "nonblocking")]
    pub never_pause: bool,
}

/// Which threads, as typed.
#[derive(Debug, Args)]
pub struct Modes {
    /// Which threads: cpu (those that run; usual for `record`), wall (all; usual for `dump`), gil (those that hold a GIL)
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// All threads, those that wait included: --mode wall
    #[arg(short, long, conflicts_with_all = ["mode", "gil"])]
    pub idle: bool,

    /// Only threads that hold a GIL: --mode gil
    #[arg(short, long, conflicts_with = "mode")]
    pub gil: bool,
}

/// `gil`, as typed.
#[derive(Debug, Args)]
#[command(after_help = GIL_EXAMPLES)]
pub struct Gil {
    /// The process to look at
    #[arg(short, long, value_name = "PID", allow_negative_numbers = true, conflicts_with = "command")]
    pub pid: Option<String>,

    /// The command to run and look at
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// How long, in seconds; without it 10 for a process, and to its end for a command
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub duration: Option<String>,

    /// Looks a second; 250 without it, and with -s fewer where that would take 1 % of the processors and none is idle
    #[arg(short, long, value_name = "HZ", allow_negative_numbers = true)]
    pub rate: Option<String>,

    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,

    /// Write the waiting, too, by the stacks of those who caused it: .svg is a flame graph, .txt are collapsed stacks
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show file names in full, not from their entry of sys.path on
    #[arg(long)]
    pub full_filenames: bool,

    #[command(flatten)]
    pub choice: Choice,

    /// Never stop a thread, not even the one that holds the GIL for some tens of microseconds a look: stacks may be mixtures
    #[arg(long, visible_alias = "nonblocking")]
    pub never_pause: bool,

    /// Stop the program for this share of its time at most; looks are left out to keep to it
    #[arg(long, value_name = "PERCENT", default_value = "5", allow_negative_numbers = true)]
    pub max_pause: String,

    /// Use this much of one processor at most; looks are left out to keep to it. Usually a tenth of the control group's limit, where that is 2 processors or less; with -s and no --rate, about 1 % of the processors where none is idle
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub max_cpu: Option<String>,
}

/// `completions`, as typed.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// What is wrong with what was typed, in one line, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

/// What was typed; or a complaint; or the text that was asked for instead (help, version).
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Asked(error),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Refusal::Nothing(error),
        _ => Refusal::Complaint(complaint(&error)),
    })
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Refusal {
    /// Help or the version was asked for; printing the error prints it.
    Asked(clap::Error),
    /// Nothing was typed at all; printing the error prints the help.
    Nothing(clap::Error),
    /// What was typed cannot be.
    Complaint(Complaint),
}

/// clap's several lines as two of ours.
fn complaint(error: &clap::Error) -> Complaint {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let what = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let tip = tip.filter(|tip| tip.contains("similar"));
    let hint = match (bare_word(error), tip) {
        (Some(_), _) if takes_recordings(&text) => "`pysample merge` puts several recordings together".into(),
        (Some(word), _) if word.bytes().all(|b| b.is_ascii_digit()) => format!("for a process: --pid {word}"),
        (Some(word), _) => format!("to run a command, put -- before it: pysample record -- {word} ..."),
        (None, Some(tip)) => tip.to_owned(),
        (None, None) => "`pysample --help` tells by example what can be typed".into(),
    };
    Complaint { what, hint }
}

/// Whether the usage that clap's text shows is of a subcommand that reads recordings.
fn takes_recordings(text: &str) -> bool {
    let mut words = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or_default().split_whitespace();
    matches!(words.nth(1), Some("convert" | "report" | "diff" | "check"))
}

/// The argument that was not expected, if it is no option.
fn bare_word(error: &clap::Error) -> Option<&str> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => {
            Some(word.as_str()).filter(|word| !word.starts_with('-'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn complaint_about(arguments: &str) -> Complaint {
        let words = std::iter::once("pysample").chain(arguments.split_whitespace()).map(OsString::from);
        match parse(words) {
            Err(Refusal::Complaint(complaint)) => complaint,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_complaint_is_one_line() {
        for arguments in
            ["dump", "record --bogus", "record -p 1 -- x", "record -p", "frob", "completions", "completions x"]
        {
            let Complaint { what, hint } = complaint_about(arguments);
            assert!(!what.contains('\n') && !hint.contains('\n'), "{arguments}: {what} / {hint}");
            assert!(!what.starts_with("error"), "{what}");
        }
    }

    #[test]
    fn a_number_alone_is_taken_for_a_process() {
        assert_eq!(complaint_about("record 4242").hint, "for a process: --pid 4242");
        assert_eq!(complaint_about("dump 4242").hint, "for a process: --pid 4242");
    }

    #[test]
    fn a_word_alone_is_taken_for_a_command() {
        let hint = complaint_about("record python3 app.py").hint;
        assert_eq!(hint, "to run a command, put -- before it: pysample record -- python3 ...");
    }

    #[test]
    fn a_recording_too_many_is_taken_for_no_command() {
        for arguments in ["convert a b -o c", "report a 7", "diff a b c", "check a b c"] {
            let hint = complaint_about(arguments).hint;
            assert_eq!(hint, "`pysample merge` puts several recordings together", "{arguments}");
        }
    }

    #[test]
    fn a_typing_error_is_told_what_it_may_have_been() {
        assert_eq!(complaint_about("recrod").hint, "a similar subcommand exists: 'record'");
        assert_eq!(complaint_about("record --formt x").hint, "a similar argument exists: '--format'");
    }

    #[test]
    fn the_examples_fit_a_terminal() {
        let ours = [EXAMPLES, RECORD_EXAMPLES, DUMP_EXAMPLES, GIL_EXAMPLES];
        let theirs = [ps::EXAMPLES, doctor::EXAMPLES, top::EXAMPLES, recordings::CONVERT_EXAMPLES];
        for line in ours.iter().chain(&theirs).flat_map(|text| text.lines()) {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
