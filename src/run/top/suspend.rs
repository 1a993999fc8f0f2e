//! Stopping as Ctrl-Z would, if somebody is there to have us go on.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use pysample::error::{Error, Result};
use rustix::process::{Pid, Signal, getpgid, getpgrp, getppid, getsid, kill_current_process_group};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

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
    let failed = |source| Error::Io { what: "cannot listen to signals".into(), source };
    let mut signals = Signals::new([SIGTSTP, SIGCONT]).map_err(failed)?;
    // More than one of each tells nothing new.
    let (sender, receiver) = bounded(2);
    let heard = move || {
        for signal in signals.forever() {
            let _ = sender.try_send(if signal == SIGTSTP { Wish::Stop } else { Wish::GoOn });
        }
    };
    let started = thread::Builder::new().name("suspend".into()).spawn(heard);
    started.map_err(Error::no_thread)?;
    Ok(receiver)
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
