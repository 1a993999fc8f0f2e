//! One line on the terminal that tells how a recording goes. Without a terminal there is no line, nor where somebody
//! else writes to the same one.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::hertz;
use crate::sample::Tally;

/// The line. It goes away when it is dropped.
#[derive(Debug)]
pub struct Progress {
    line: ProgressBar,
    ends: Option<Duration>,
}

/// Who writes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// We alone, if it is one.
    Ours,
    /// A command writes there, too: a line that is drawn again and again would run through its output.
    Shared,
}

impl Progress {
    /// A line on standard error, for a recording of a known length or not.
    pub fn new(ends: Option<Duration>, terminal: Terminal) -> Progress {
        let target = match terminal {
            Terminal::Ours if stderr().is_terminal() => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        let line = ProgressBar::with_draw_target(None, target);
        line.set_style(ProgressStyle::with_template("{msg}").expect("the template is constant"));
        Progress { line, ends }
    }

    /// Says that no Python was found in the command yet.
    pub fn searching(&self) {
        self.line.set_message("waiting for the command to run Python");
    }

    /// Writes something else without running through the line.
    pub fn above(&self, write: impl FnOnce()) {
        self.line.suspend(write);
    }

    /// Says how far the recording is.
    pub fn show(&self, elapsed: Duration, tally: &Tally) {
        self.line.set_message(progress_text(elapsed, self.ends, tally));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}

fn progress_text(elapsed: Duration, ends: Option<Duration>, tally: &Tally) -> String {
    let until = match ends {
        Some(ends) => format!(" of {:.1} s", ends.as_secs_f64()),
        None => " s, Ctrl-C ends".into(),
    };
    let late = match tally.late {
        0 => String::new(),
        late => format!(", {late} late"),
    };
    let errors = match tally.errors() {
        1 => "1 error".into(),
        errors => format!("{errors} errors"),
    };
    format!(
        "{:.1}{until} | {} samples at {}{late}, {errors}",
        elapsed.as_secs_f64(),
        tally.taken,
        hertz(tally.taken as f64 / elapsed.as_secs_f64()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_time_samples_rate_and_errors() {
        let tally = Tally { asked: 250, taken: 249, late: 1, torn: 1, ..Tally::default() };
        let text = progress_text(Duration::from_millis(2500), Some(Duration::from_secs(10)), &tally);
        assert_eq!(text, "2.5 of 10.0 s | 249 samples at 99.6 Hz, 1 late, 1 error");
    }

    #[test]
    fn a_recording_without_an_end_says_how_to_end_it() {
        let tally = Tally { asked: 100, taken: 100, ..Tally::default() };
        let text = progress_text(Duration::from_secs(1), None, &tally);
        assert_eq!(text, "1.0 s, Ctrl-C ends | 100 samples at 100 Hz, 0 errors");
    }

    #[test]
    fn the_first_moment_has_no_rate() {
        let text = progress_text(Duration::ZERO, None, &Tally::default());
        assert_eq!(text, "0.0 s, Ctrl-C ends | 0 samples at 0 Hz, 0 errors");
    }
}
