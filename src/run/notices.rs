//! What happens beside a recording, on one channel: signals that come in, and the end of a command that we started.

use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pysample::error::{Error, Result};
use pysample::target::command::Watch;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
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

/// Signals that end a recording.
const ENDS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
/// Signals that mean nothing to us and perhaps something to a command.
const FORWARDED: [i32; 2] = [SIGUSR1, SIGUSR2];

impl Signal {
    /// Whether a recording ends with it.
    pub fn ends(self) -> bool {
        ENDS.contains(&self.number)
    }
}

/// For whom signals are listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// For us.
    Ourselves,
    /// For a command, too.
    Command,
}

/// What happens, as it happens.
#[derive(Debug)]
pub struct Notices {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

impl Notices {
    /// Listens to signals from now on.
    pub fn listen(listen: Listen) -> Result<Notices> {
        let (sender, receiver) = unbounded();
        let mut signals =
            signals(listen).map_err(|source| Error::Io { what: "cannot listen to signals".into(), source })?;
        let told = sender.clone();
        thread::spawn(move || {
            for origin in signals.forever() {
                let _ = told.send(Notice::Signal(signal(&origin)));
            }
        });
        Ok(Notices { sender, receiver })
    }

    /// Listens to the end of a command.
    pub fn watch(&self, watch: Watch) {
        let told = self.sender.clone();
        thread::spawn(move || {
            watch.wait();
            let _ = told.send(Notice::CommandEnded);
        });
    }

    /// Where the notices come out.
    pub fn receiver(&self) -> &Receiver<Notice> {
        &self.receiver
    }
}

fn signals(listen: Listen) -> std::io::Result<SignalsInfo<WithOrigin>> {
    let ignored = ignored_signals();
    // Whoever had us ignore hang-ups (nohup) wants that for the command, too.
    let ends = ENDS.iter().filter(|&&signal| matches!(signal, SIGINT | SIGTERM) || ignored & bit(signal) == 0);
    let forwarded = FORWARDED.iter().filter(|_| listen == Listen::Command);
    SignalsInfo::new(ends.chain(forwarded))
}

/// The signals that we were told to ignore when we were started, as the kernel's mask of bits.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
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
