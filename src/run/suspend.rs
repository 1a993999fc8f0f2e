//! Stopping as Ctrl-Z would, if somebody is there to have us go on, and at a time when no thread of the target is stopped by us.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pysample::error::{Error, Result};
use pysample::sampler::{Gate, Recording};
use pysample::target::job_control::PutOff;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, getpgid, getpgrp, getsid, kill_current_process_group};
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::notices::is_ignored;

/// How long a signal that we send ourselves may take to come.
const LONGEST: Duration = Duration::from_secs(1);

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That we stop.
    Stop,
    /// That we go on.
    GoOn,
}

/// Wishes, as they come.
pub struct Wishes {
    /// Where they come.
    pub receiver: Receiver<Wish>,
    last: Last,
}

impl Wishes {
    /// From now on.
    pub fn listen() -> Result<Wishes> {
        let last = Last::note(&[SIGTSTP])?;
        // More than one of each tells nothing new.
        let (sender, receiver) = bounded(2);
        hear(&[SIGTSTP, SIGCONT], move |signal| {
            let _ = sender.try_send(if signal == SIGTSTP { Wish::Stop } else { Wish::GoOn });
        })?;
        Ok(Wishes { receiver, last })
    }

    /// Stops our process group, as the terminal would have: at once, or if that is what was wished last. Returns when we go
    /// on.
    pub fn stop(&self, at_once: bool) -> io::Result<()> {
        if !somebody_cares() {
            return Err(io::Error::other("no shell is there that would have us go on"));
        }
        if !at_once && self.last.take().is_none() {
            return Ok(());
        }
        // For those of our group that are not us: we catch it. That wish is fulfilled here, and must not be heard afterwards.
        self.receiver.try_iter().for_each(drop);
        let _ = kill_current_process_group(rustix::process::Signal::TSTP);
        while !matches!(self.receiver.recv_timeout(LONGEST), Ok(Wish::Stop) | Err(_)) {}
        self.last.take().map_or(Ok(()), emulate_default_handler)
    }
}

/// Signals by which a terminal stops us do so between two samples of a recording, once it has begun.
pub struct BetweenSamples {
    gate: Arc<Mutex<Option<Gate>>>,
    /// Keeps the kernel from stopping us with Ctrl-Z wherever we are.
    put_off: Option<PutOff>,
}

impl BetweenSamples {
    /// All of them, from now on. To be called by the first thread of all, before there are others.
    pub fn listen() -> Result<BetweenSamples> {
        let is_blocked = SigSet::thread_get_mask().is_ok_and(|blocked| blocked.contains(Signal::SIGTSTP));
        if is_ignored(SIGTSTP) || is_blocked {
            return BetweenSamples::out_of_turn();
        }
        // By the threads that are started from here on, too.
        let put_off = Some(PutOff::begin(&[Signal::SIGTSTP]));
        let suspending = BetweenSamples { put_off, ..BetweenSamples::out_of_turn()? };
        let signals = SigSet::from(Signal::SIGTSTP);
        let pending = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let gate = suspending.gate.clone();
        let waits = move || {
            while matches!(poll(&mut [PollFd::new(&pending, PollFlags::IN)], None), Ok(_) | Err(Errno::INTR)) {
                held_back(&gate, || {
                    // Now the kernel stops us, unless it was revoked, or nobody is there to have us go on.
                    let _ = signals.thread_unblock();
                    let _ = signals.thread_block();
                });
            }
        };
        start(waits)?;
        Ok(suspending)
    }

    /// Those for programs that use the terminal while it is another's.
    pub fn out_of_turn() -> Result<BetweenSamples> {
        let suspending = BetweenSamples { gate: Arc::default(), put_off: None };
        let gate = suspending.gate.clone();
        let wanted: Vec<i32> = [SIGTTIN, SIGTTOU].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let last = Last::note(&wanted)?;
        hear(&wanted, move |_| {
            held_back(&gate, || {
                // Of a group that nobody would have go on the kernel stops nobody with these.
                if somebody_cares()
                    && let Some(signal) = last.take()
                {
                    let _ = emulate_default_handler(signal);
                }
            });
        })?;
        Ok(suspending)
    }

    /// Starts a command, which Ctrl-Z stops as it would without us.
    pub fn start<T>(&self, spawn: impl FnOnce() -> T) -> T {
        let _taken = self.put_off.as_ref().map(PutOff::taken_meanwhile);
        spawn()
    }

    /// Begins a recording. We do not stop before it can be held back.
    pub fn begin(&self, begin: impl FnOnce() -> Result<Recording>) -> Result<Recording> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let recording = begin()?;
        *gate = Some(recording.gate());
        Ok(recording)
    }
}

/// By which signal we were to be stopped last, if we have not been nor were to go on since: a signal to go on revokes one to
/// stop that has not been obeyed yet. One to stop that comes while a thread is still at one to go on may count as revoked, too.
#[derive(Debug)]
struct Last(Arc<AtomicUsize>);

impl Last {
    const NONE: usize = 0;

    /// From now on. Only what is heard later finds it up to date.
    fn note(signals: &[i32]) -> Result<Last> {
        let last = Arc::new(AtomicUsize::new(Last::NONE));
        for &signal in signals {
            flag::register_usize(signal, last.clone(), signal as usize).map_err(failed)?;
        }
        flag::register_usize(SIGCONT, last.clone(), Last::NONE).map_err(failed)?;
        Ok(Last(last))
    }

    fn take(&self) -> Option<i32> {
        let signal = self.0.swap(Last::NONE, Ordering::SeqCst);
        (signal != Last::NONE).then_some(signal as i32)
    }
}

/// Does something while the recording is held back, if there is one.
fn held_back(gate: &Mutex<Option<Gate>>, stop: impl FnOnce()) {
    let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let _closed = gate.as_ref().map(Gate::close);
    stop();
}

fn hear(signals: &[i32], mut told: impl FnMut(i32) + Send + 'static) -> Result<()> {
    let mut signals = Signals::new(signals).map_err(failed)?;
    start(move || signals.forever().for_each(&mut told))
}

fn start(run: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name("suspend".into()).spawn(run).map(drop).map_err(Error::no_thread)
}

fn failed(source: io::Error) -> Error {
    Error::Io { what: "cannot listen to signals".into(), source }
}

/// Whether somebody of our process group has a parent in our session that is not in the group: a shell with job control.
fn somebody_cares() -> bool {
    let (Ok(session), group) = (getsid(None), getpgrp()) else { return false };
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let ours = pids.filter(|&pid| getpgid(Some(pid)) == Ok(group));
    ours.filter_map(parent_of)
        .any(|parent| getsid(Some(parent)) == Ok(session) && getpgid(Some(parent)).is_ok_and(|its| its != group))
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}
