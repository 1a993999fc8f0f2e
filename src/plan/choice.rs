//! Whom and what to look at: which processes, threads and stacks.

use pysample::aggregate::{Rules, ThreadRule};
use pysample::error::Result;
use pysample::pattern::Pattern;

use super::wrong;
use crate::cli;

/// Which processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The one.
    Alone,
    /// It and its descendants.
    Family,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which processes.
    pub reach: Reach,
    /// Which of their threads and stacks.
    pub rules: Rules,
}

/// What was typed means this.
pub fn choice(typed: &cli::Choice) -> Result<Choice> {
    let mut threads = typed.thread.iter().map(|typed| thread(typed)).collect::<Result<Vec<_>>>()?;
    if typed.main_thread {
        threads.push(ThreadRule::Main);
    }
    let exclude = typed.exclude.iter().map(|typed| pattern(typed)).collect::<Result<_>>()?;
    let reach = if typed.subprocesses { Reach::Family } else { Reach::Alone };
    Ok(Choice { reach, rules: Rules { threads, exclude } })
}

fn thread(typed: &str) -> Result<ThreadRule> {
    match typed.parse() {
        Ok(number) => Ok(ThreadRule::Numbered(number)),
        Err(_) => pattern(typed).map(ThreadRule::Named),
    }
}

/// What was typed for names of threads or of code.
pub fn pattern(typed: &str) -> Result<Pattern> {
    let hint = "`*` stands for any letters, `?` for one, [abc] for one of these; [*] is a star";
    if typed.is_empty() {
        return wrong("a pattern is empty", hint);
    }
    Pattern::new(typed).or_else(|why| wrong(format!("'{typed}' is not a pattern: {why}"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed() -> cli::Choice {
        cli::Choice { subprocesses: false, thread: Vec::new(), main_thread: false, exclude: Vec::new() }
    }

    #[test]
    fn a_number_is_a_thread_id_and_all_else_a_name() {
        let typed = cli::Choice { thread: vec!["42".into(), "pool-*".into()], main_thread: true, ..typed() };
        let named = ThreadRule::Named(Pattern::new("pool-*").unwrap());
        assert_eq!(choice(&typed).unwrap().rules.threads, [ThreadRule::Numbered(42), named, ThreadRule::Main]);
    }

    #[test]
    fn nothing_typed_means_one_process_and_all_of_it() {
        assert_eq!(choice(&typed()).unwrap(), Choice { reach: Reach::Alone, rules: Rules::default() });
        assert_eq!(choice(&cli::Choice { subprocesses: true, ..typed() }).unwrap().reach, Reach::Family);
    }

    #[test]
    fn a_pattern_that_cannot_be_is_a_complaint() {
        for exclude in ["[a", ""] {
            assert!(choice(&cli::Choice { exclude: vec![exclude.into()], ..typed() }).is_err(), "{exclude}");
        }
    }
}
