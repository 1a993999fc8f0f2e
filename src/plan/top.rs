//! What `top` was typed to mean.

use std::io::IsTerminal;
use std::time::Duration;

use pysample::aggregate::live::Mode;
use pysample::error::Result;
use pysample::export::Files;
use pysample::sampler::{Settings, Wanted};
use pysample::view::top::Charset;

use super::{Choice, Subject, USUAL_RATE, choice, duration, max_pause, modes, pace, pause, subject, wrong};
use crate::cli;

/// How long one refresh is that nobody said how long to make.
const ONE_REFRESH: Duration = Duration::from_secs(5);
/// Lengths of the window, in seconds.
const WINDOWS: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// A live view.
#[derive(Debug)]
pub struct Top {
    /// Of what.
    pub subject: Subject,
    /// How it is sampled.
    pub sampling: Settings,
    /// Which samples count at first.
    pub mode: Mode,
    /// How long the sliding window is at first, in seconds.
    pub window: u64,
    /// As what it is shown.
    pub form: Form,
    /// Which characters there are to draw with.
    pub charset: Charset,
    /// How much of file names.
    pub files: Files,
    /// Which processes, threads and stacks.
    pub choice: Choice,
}

/// As what a live view is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A screen that goes on.
    Screen,
    /// One refresh, for people.
    Text,
    /// One refresh, for programs.
    Json,
}

/// What `typed` means.
pub fn top(typed: cli::Top) -> Result<Top> {
    let form = match (typed.json, typed.once) {
        (true, _) => Form::Json,
        (false, true) => Form::Text,
        (false, false) if has_screen() => Form::Screen,
        (false, false) => Form::Text,
    };
    let usual = (form != Form::Screen).then_some(ONE_REFRESH);
    let mode = match modes(&typed.mode, Wanted::Running)? {
        Wanted::Holders => Mode::Gil,
        Wanted::All => Mode::Wall,
        Wanted::Running | Wanted::Contenders => Mode::Cpu,
    };
    let choice = choice(&typed.choice)?;
    let (rate, max_cpu) = pace(USUAL_RATE, typed.rate.as_deref(), typed.max_cpu.as_deref(), choice.reach)?;
    Ok(Top {
        subject: subject(typed.pid.as_deref(), typed.command, "there is nothing to show live")?,
        sampling: Settings {
            rate,
            duration: typed.duration.as_deref().map(duration).transpose()?.or(usual),
            wanted: Wanted::All,
            pause: pause(typed.never_pause),
            max_pause: max_pause(&typed.max_pause)?,
            max_cpu,
            gils: true,
        },
        mode,
        window: window(&typed.window)?,
        form,
        charset: if typed.ascii || !has_unicode(variable) { Charset::Ascii } else { Charset::Unicode },
        files: if typed.full_filenames { Files::Full } else { Files::Short },
        choice,
    })
}

fn window(typed: &str) -> Result<u64> {
    match typed.trim().trim_end_matches('s').trim_end().parse() {
        Ok(seconds) if WINDOWS.contains(&seconds) => Ok(seconds),
        _ => wrong(format!("'{typed}' is not a window"), "a window is 1, 2, 5, 10, 30 or 60 seconds long"),
    }
}

/// Whether standard output can be drawn on.
fn has_screen() -> bool {
    std::io::stdout().is_terminal() && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether locale and terminal have more characters than those of ASCII. The console of Linux has a few hundred, not all
/// that are drawn with.
fn has_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&variable).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    let is_console = variable("TERM").is_some_and(|terminal| terminal == "linux");
    (locale.contains("utf-8") || locale.contains("utf8")) && !is_console
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn planned(arguments: &str) -> Result<Top> {
        let words = ["pysample", "top"].into_iter().chain(arguments.split_whitespace()).map(OsString::from);
        match cli::parse(words).map(|typed| typed.command) {
            Ok(cli::Command::Top(typed)) => top(typed),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn all_threads_are_sampled_and_those_that_run_count() {
        let top = planned("-p 42").unwrap();
        assert_eq!((top.mode, top.sampling.wanted, top.sampling.gils), (Mode::Cpu, Wanted::All, true));
        assert_eq!((top.window, top.subject), (5, Subject::Process(42)));
        assert_eq!((planned("-p 42 -i").unwrap().mode, planned("-p 42 -g").unwrap().mode), (Mode::Wall, Mode::Gil));
        assert_eq!(planned("-p 42 --mode gil").unwrap().mode, Mode::Gil);
    }

    #[test]
    fn one_refresh_is_five_seconds_long() {
        let once = planned("-p 42 --once").unwrap();
        assert_eq!((once.form, once.sampling.duration), (Form::Text, Some(Duration::from_secs(5))));
        let json = planned("-p 42 --json -d 2").unwrap();
        assert_eq!((json.form, json.sampling.duration), (Form::Json, Some(Duration::from_secs(2))));
    }

    #[test]
    fn a_window_is_one_of_those_there_are() {
        assert_eq!((window("30").unwrap(), window("10s").unwrap()), (30, 10));
        assert!(window("7").is_err() && window("x").is_err());
    }

    #[test]
    fn characters_are_those_of_locale_and_terminal() {
        let of = |variables: &'static [(&str, &str)]| {
            has_unicode(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert!(of(&[("LANG", "en_US.UTF-8"), ("TERM", "xterm")]) && of(&[("LC_ALL", "C.utf8")]));
        assert!(!of(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]) && !of(&[]));
        assert!(!of(&[("LANG", "en_US.UTF-8"), ("TERM", "linux")]));
    }
}
