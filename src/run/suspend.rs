//! Stopping as Ctrl-Z would, if somebody is there to have us go on, and at a time when no thread of the target is stopped by us.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use pysample::error::{Error, Result};
use pysample::sampler::{Gate, Recording};
use rustix::process::{Pid, Signal, getpgid, getpgrp, getppid, getsid, kill_current_process_group};
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU};
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
pub fn wishes() -> Result<Receiver<Wish>> {
    // More than one of each tells nothing new.
    let (sender, receiver) = bounded(2);
    hear(&[SIGTSTP, SIGCONT], move |signal| {
        let _ = sender.try_send(if signal == SIGTSTP { Wish::Stop } else { Wish::GoOn });
    })?;
    Ok(receiver)
}

/// Signals by which a terminal stops us do so between two samples of a recording, once it has begun.
#[derive(Debug, Default)]
pub struct BetweenSamples(Arc<Mutex<Option<Gate>>>);

impl BetweenSamples {
    /// From now on.
    pub fn listen() -> Result<BetweenSamples> {
        let suspending = BetweenSamples::default();
        let gate = suspending.0.clone();
        let wanted: Vec<i32> = [SIGTSTP, SIGTTIN, SIGTTOU].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        hear(&wanted, move |signal| {
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            let _closed = gate.as_ref().map(Gate::close);
            // Of a group that nobody would have go on the kernel stops nobody with these.
            if somebody_cares() {
                let _ = emulate_default_handler(signal);
            }
        })?;
        Ok(suspending)
    }

    /// Begins a recording. We do not stop before it can be held back.
    pub fn begin(&self, begin: impl FnOnce() -> Result<Recording>) -> Result<Recording> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recording = begin()?;
        *gate = Some(recording.gate());
        Ok(recording)
    }
}

fn hear(signals: &[i32], mut told: impl FnMut(i32) + Send + 'static) -> Result<()> {
    let failed = |source| Error::Io { what: "cannot listen to signals".into(), source };
    let mut signals = Signals::new(signals).map_err(failed)?;
    let heard = move || signals.forever().for_each(&mut told);
    thread::Builder::new().name("suspend".into()).spawn(heard).map(drop).map_err(Error::no_thread)
}

/// Stops our process group, as the terminal would have. Returns when we go on.
pub fn stop(wishes: &Receiver<Wish>) -> io::Result<()> {
    if !somebody_cares() {
        return Err(io::Error::other("no shell is there that would have us go on"));
    }
    // For those of our group that are not us: we catch it. That wish is fulfilled here, and must not be heard afterwards.
    wishes.try_iter().for_each(drop);
    let _ = kill_current_process_group(Signal::TSTP);
    while !matches!(wishes.recv_timeout(LONGEST), Ok(Wish::Stop) | Err(_)) {}
    emulate_default_handler(SIGTSTP)
}

/// Whether our process group has a parent in our session that is not in it: a shell with job control.
fn somebody_cares() -> bool {
    /// Process trees are not deeper.
    const DEEPEST: usize = 100;
    let Ok(session) = getsid(None) else { return false };
    let mut next = getppid();
    for _ in 0..DEEPEST {
        let Some(parent) = next else { return false };
        match (getsid(Some(parent)), getpgid(Some(parent))) {
            (Ok(its), Ok(group)) if its == session && group != getpgrp() => return true,
            (Ok(its), Ok(_)) if its == session => next = parent_of(parent),
            _ => return false,
        }
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}
