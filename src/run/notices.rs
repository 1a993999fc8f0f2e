//! What happens beside a recording, on one channel: signals that come in, and the end of a command that we started.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pysample::error::{Error, Result};
use pysample::target::command::{Command, Watch};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A signal came in.
    Signal(Signal),
    /// The command has ended.
    CommandEnded,
}

/// A signal that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// Who sent it.
    pub sender: Sent,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A key pressed on the terminal, or the terminal's end: it went to every process of our group.
    Terminal,
    /// A process, and to us alone.
    Process,
}

/// Signals that end a recording: all that would end us, so that what was sampled is written and the terminal restored.
const ENDS: [i32; 9] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU];
/// Signals that mean nothing to us and perhaps something to a command. They would end us, too.
const FORWARDED: [i32; 2] = [SIGUSR1, SIGUSR2];

impl Signal {
    /// Whether a recording ends with it.
    pub fn ends(self) -> bool {
        ENDS.contains(&self.number)
    }

    /// Hands it on to a command, unless the terminal gave it one, too.
    pub fn forward(self, command: &Command) {
        if self.sender == Sent::Process || !command.shares_terminal_signals() {
            command.signal(self.number);
        }
    }
}

/// What happens, as it happens.
#[derive(Debug)]
pub struct Notices {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

impl Notices {
    /// Listens to signals from now on.
    pub fn listen() -> Result<Notices> {
        let (sender, receiver) = unbounded();
        let wanted = listened_to(ignored_signals());
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)
            .map_err(|source| Error::Io { what: "cannot listen to signals".into(), source })?;
        // A file that may not grow any more is told by the error of the write, too; the signal would end us half way.
        // It is caught and not ignored: what is ignored, a command would have ignored, too.
        signal_hook::flag::register(SIGXFSZ, Arc::default())
            .map_err(|source| Error::Io { what: "cannot listen to signals".into(), source })?;
        let told = sender.clone();
        start(move || {
            for origin in signals.forever() {
                let _ = told.send(Notice::Signal(signal(&origin)));
            }
        })?;
        Ok(Notices { sender, receiver })
    }

    /// Listens to the end of a command.
    pub fn watch(&self, watch: Watch) -> Result<()> {
        let told = self.sender.clone();
        start(move || {
            watch.wait();
            let _ = told.send(Notice::CommandEnded);
        })
    }

    /// From now on a signal that would end a recording ends us.
    ///
    /// For when the recording is over and what remains may take as long as somebody else pleases.
    pub fn let_signals_end_us(self) {
        // Where no thread can be started, only SIGKILL does: what remains is printed all the same.
        let _ = start(move || {
            for notice in self.receiver {
                if let Notice::Signal(signal) = notice
                    && signal.ends()
                {
                    let _ = emulate_default_handler(signal.number);
                }
            }
        });
    }

    /// Where the notices come out.
    pub fn receiver(&self) -> &Receiver<Notice> {
        &self.receiver
    }
}

fn start(waits: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name("notices".into()).spawn(waits);
    started.map(drop).map_err(Error::no_thread)
}

/// The signals to listen to. Whoever had us ignore hang-ups (nohup) wants that for a command, too.
fn listened_to(ignored: u64) -> Vec<i32> {
    let always = |signal: i32| matches!(signal, SIGINT | SIGTERM);
    let wanted = |signal: &i32| always(*signal) || ignored & bit(*signal) == 0;
    ENDS.into_iter().filter(wanted).chain(FORWARDED).collect()
}

/// Whether we were told to ignore a signal when we were started, and have not caught it since.
pub fn is_ignored(signal: i32) -> bool {
    ignored_signals() & bit(signal) != 0
}

/// The signals that we were told to ignore when we were started, as the kernel's mask of bits.
fn ignored_signals() -> u64 {
    ignored_in(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn signal(origin: &Origin) -> Signal {
    let sender = match origin.cause {
        Cause::Kernel => Sent::Terminal,
        _ => Sent::Process,
    };
    Signal { number: origin.signal, sender }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tpysample\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        assert_eq!(ignored_in(STATUS), bit(SIGHUP) | bit(13));
        assert_eq!(ignored_in(""), 0);
    }

    #[test]
    fn a_hang_up_that_is_ignored_stays_ignored() {
        assert_eq!(listened_to(0)[..4], [SIGINT, SIGTERM, SIGHUP, SIGQUIT]);
        assert_eq!(listened_to(bit(SIGHUP))[..3], [SIGINT, SIGTERM, SIGQUIT]);
    }

    #[test]
    fn an_interrupt_is_listened_to_even_where_a_shell_had_it_ignored() {
        assert_eq!(listened_to(bit(SIGINT) | bit(SIGQUIT))[..3], [SIGINT, SIGTERM, SIGHUP]);
    }

    #[test]
    fn signals_without_a_meaning_for_us_are_listened_to_and_end_nothing() {
        assert!(listened_to(0).ends_with(&[SIGUSR1, SIGUSR2]));
        let ends = |number| Signal { number, sender: Sent::Process }.ends();
        assert!(ends(SIGINT) && ends(SIGTERM) && ends(SIGXCPU) && !ends(SIGUSR1) && !ends(SIGUSR2));
    }
}
