//! `diff` and `check`, as typed.

use std::path::PathBuf;

use clap::Args;

const DIFF_EXAMPLES: &str = "\
Examples:
  What grew and what shrank?
      pysample diff before.pysample after.pysample
  As a flame graph, red where it grew; or as a page to look around in:
      pysample diff before.pysample after.pysample -o diff.svg
      pysample diff before.pysample after.pysample -o diff.html
  For a script: what grew beyond noise?
      pysample diff before.pysample after.pysample --json |
          jq -r '.functions[] | select(.self.is_significant).function'";

const CHECK_EXAMPLES: &str = "\
Examples:
  Fail if a function takes 5 % more than it did:
      pysample check base.pysample new.pysample --max-growth 5%
  The parser less, tests not at all:
      pysample check base.pysample new.pysample --function 'parse*=2%' \\
          --function 'tests/*:*=any'
  In a pipeline:
      pysample check base.pysample new.pysample --junit check.xml \\
          --markdown check.md

The exit status is 0 if nothing grew too much, 1 if something did.";

/// `diff`, as typed.
#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub struct Diff {
    /// The recording before
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,

    /// The recording after
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,

    #[command(flatten)]
    pub judging: Judging,

    /// Print JSON for programs instead of text for people
    #[arg(short, long)]
    pub json: bool,

    /// Write a picture instead: .svg is a differential flame graph, .html a page
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,

    /// How many functions to show of those that grew, shrank, are new, are gone
    #[arg(long, value_name = "N", default_value = "10", conflicts_with_all = ["json", "output"])]
    pub top: usize,
}

/// `check`, as typed.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct Check {
    /// The recording to compare with
    #[arg(value_name = "BASE")]
    pub base: PathBuf,

    /// The recording to judge
    #[arg(value_name = "NEW")]
    pub new: PathBuf,

    #[command(flatten)]
    pub judging: Judging,

    /// By how much of what it took a function may grow; `any`: judge only those named by --function
    #[arg(long, value_name = "PERCENT", default_value = "5%", allow_negative_numbers = true)]
    pub max_growth: String,

    /// The same for functions whose name, or `file:name`, matches, or `any` to judge them not at all; may be given often, the last that matches counts
    #[arg(long = "function", value_name = "GLOB=PERCENT")]
    pub functions: Vec<String>,

    /// Functions that take less than this in both are not judged
    #[arg(long, value_name = "PERCENT", default_value = "1%", allow_negative_numbers = true)]
    pub min_share: String,

    /// Write the result as Markdown, too; `-` is standard output, instead of text
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Write the result as JUnit's XML, too; `-` as above
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// How differences are judged, as typed.
#[derive(Debug, Args)]
pub struct Judging {
    /// What is compared: share (of all samples) or time (seconds of threads a second of wall time)
    #[arg(long, value_name = "BASIS", default_value = "share")]
    pub by: String,

    /// How sure it is that nothing is taken for growth that is noise
    #[arg(long, value_name = "PERCENT", default_value = "95%", allow_negative_numbers = true)]
    pub confidence: String,

    /// Take files for the same only if their names are the same in full
    #[arg(long)]
    pub full_filenames: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_fit_a_terminal() {
        for line in [DIFF_EXAMPLES, CHECK_EXAMPLES].iter().flat_map(|text| text.lines()) {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
