//! Stops single threads of a process for a moment, and lets them go.
//!
//! A thread is seized, interrupted, and waited for by spinning, which takes some 20 us; a blocking wait would take
//! twice that. One that has no processor at the time takes longer; it is waited for without taking another's. Seized
//! threads run on by themselves when we die, whatever we die of. A thread that is caught on its way to a signal is let
//! go with that signal. What the kernel reports of a stop is asked for with `waitid`, and only for stops, so that
//! nobody's exit status is taken from whom it is for.
//!
//! A thread that runs when it is looked at may fall asleep in a system call before it is interrupted. The kernel begins
//! most such calls again as if nothing had been; a few it lets fail with EINTR. These we have it begin again, too.
//!
//! A seized thread that is killed stays a zombie until we ask for its end. A program that is executed waits for that,
//! and whoever wants to seize another thread meanwhile waits for the program: so the dead are asked for until they are
//! gone, and nobody is seized while one is dying, or while a thread that was told to stop has not. See
//! `super::reaper` for whoever dies while he is stopped and another is seized.
//!
//! The kernel lets only the thread that seized do the rest, so a [`Pauser`] is used by one thread of ours.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gettid};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::herald::Herald;
use super::proc::Status;
use super::reaper::{Reaper, WALL, reap};
use super::urgency::Urgency;
use crate::sample::Tid;

/// How long a stop is waited for by spinning, and how long altogether: a thread stops when it next has a processor.
const SPIN: Duration = Duration::from_micros(50);
/// Who takes longer to stop had no processor, and was not only in the kernel.
const LONG: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_millis(100);
const BETWEEN_LOOKS: Duration = Duration::from_micros(20);
/// At last, where a thread waits long for a processor: many of ours that look for many of theirs would take it themselves.
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_micros(300);
/// How long threads that have not stopped are waited for, so that they can be let go as soon as they do, and how often
/// they are looked at.
const LONGEST_SETTLING: Duration = Duration::from_secs(10);
const BETWEEN_SETTLING_LOOKS: Duration = Duration::from_micros(500);
/// So many refusals in a row prove that the kernel does not let us stop threads.
const PROOF: u32 = 10;
/// `__WNOTHREAD` of the kernel's `linux/wait.h`: only those that this thread of ours has seized.
const OWN_TRACEES: u32 = 0x2000_0000;
/// `PTRACE_EVENT_STOP`, where the kernel puts it in the status of a stop.
const EVENT_STOP: i32 = 128 << 8;

/// Why a thread was not stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has ended.
    Gone,
    /// The kernel does not let us: another tracer has it, or a filter forbids it.
    Forbidden,
    /// It sleeps where nothing can interrupt it. It will be let go as soon as it stops.
    WillNotStop,
}

/// Stops threads of one process.
#[derive(Debug)]
pub struct Pauser {
    pid: Pid,
    paused: Vec<Paused>,
    /// Threads that were told to stop and have not yet.
    lingering: Vec<Pid>,
    /// Threads that were killed while they were seized, and whose end has not been asked for with success yet.
    dying: Vec<Pid>,
    reaper: Reaper,
    /// Refusals in a row.
    refused: u32,
    since: Option<Instant>,
    /// When the lingering were last looked at.
    looked: Instant,
    /// For how long those were stopped that stopped late.
    late: Option<Duration>,
    /// Whether we run before all others, as we do while somebody is stopped if we are to hurry.
    urgency: Urgency,
    /// Whether the last that was told to stop had no processor.
    has_waited: bool,
    /// Whether the last that was let go was at the end of a system call.
    had_called: bool,
    /// Since when a thread waits that was caught on its way to a signal that cannot be passed on, and which thread of ours
    /// has to end for it; see [`Pauser::must_leave`].
    must_leave: Option<(Instant, Pid)>,
}

#[derive(Clone, Copy, Debug)]
struct Paused {
    tid: Tid,
    /// What the kernel knows it by now; another than `tid` after it has executed another program.
    pid: Pid,
    caught: Caught,
}

/// In what a thread was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    /// In our interruption.
    Interruption,
    /// On its way to a signal.
    Signal(Signal),
    /// On its way to a real-time signal.
    RealTimeSignal,
}

impl Pauser {
    /// For the threads of a process.
    pub fn new(pid: u32) -> Pauser {
        Pauser::of(Pid::from_raw(pid as i32))
    }

    /// For those of a process that the kernel did not let us stop a while ago: one refusal proves that it still does not.
    pub fn on_trial(pid: u32) -> Pauser {
        let mut pauser = Pauser::new(pid);
        pauser.refused = PROOF - 1;
        pauser
    }

    /// Whose threads it stops.
    pub fn process(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    fn of(pid: Pid) -> Pauser {
        Pauser {
            pid,
            paused: Vec::new(),
            lingering: Vec::new(),
            dying: Vec::new(),
            reaper: Reaper::default(),
            refused: 0,
            since: None,
            looked: Instant::now(),
            late: None,
            urgency: Urgency::default(),
            has_waited: false,
            had_called: false,
            must_leave: None,
        }
    }

    /// Whether a thread is stopped by us.
    pub fn is_paused(&self, tid: Tid) -> bool {
        self.paused.iter().any(|paused| paused.tid == tid)
    }

    /// Whether no thread is stopped by us.
    pub fn is_idle(&self) -> bool {
        self.paused.is_empty()
    }

    /// Stops a thread, until [`Pauser::resume`]. Who hurries is run before all others until then, which takes a privilege.
    /// A herald that keeps it from running is let go once it has been told to stop.
    pub fn pause(&mut self, tid: Tid, hurries: bool, herald: Option<&Herald>) -> Result<(), Refusal> {
        self.tend();
        self.has_waited = false;
        let pid = Pid::from_raw(tid.0 as i32);
        if self.is_paused(tid) {
            return Ok(());
        }
        if !self.has_settled() {
            return Err(Refusal::WillNotStop);
        }
        if hurries {
            self.urgency.begin();
        }
        let seize = || ptrace::seize(pid, ptrace::Options::empty());
        let seized = match self.paused.as_slice() {
            [] => seize(),
            paused => {
                self.reaper.meanwhile(paused.iter().map(|paused| paused.pid).filter(|&pid| pid != self.pid), seize)
            }
        };
        seized.map_err(|e| self.refusal(tid, e))?;
        self.refused = 0;
        let interrupted = ptrace::interrupt(pid);
        herald.iter().for_each(|herald| herald.dismiss());
        let stopped = match interrupted {
            Ok(()) => self.wait(pid),
            Err(e) => Err(self.refusal(tid, e)),
        };
        match stopped {
            Ok((pid, caught, since)) => {
                self.since.get_or_insert(since);
                self.paused.push(Paused { tid, pid, caught });
                Ok(())
            }
            Err(refusal) => {
                match refusal {
                    Refusal::Gone => self.bury(pid),
                    Refusal::Forbidden => self.abandon(pid),
                    Refusal::WillNotStop => {
                        self.looked = Instant::now();
                        self.lingering.push(pid);
                    }
                }
                Err(refusal)
            }
        }
    }

    /// What it means that the kernel refuses. A thread that is about to end is refused as one that is forbidden, so one
    /// refusal proves nothing unless somebody else traces the thread.
    fn refusal(&mut self, tid: Tid, errno: Errno) -> Refusal {
        let tracer = Status::read(&format!("{}/task/{tid}", self.pid)).map_or(0, |status| status.tracer);
        self.refused += u32::from(errno != Errno::ESRCH);
        match errno {
            Errno::ESRCH => Refusal::Gone,
            _ if tracer != 0 && tracer != std::process::id() => Refusal::Forbidden,
            _ if self.refused >= PROOF => Refusal::Forbidden,
            _ => Refusal::Gone,
        }
    }

    /// Lets a thread go of which the kernel does not let us learn whether it has stopped.
    fn abandon(&self, pid: Pid) {
        let begun = Instant::now();
        // It can be let go only when it has.
        while ptrace::detach(pid, None) == Err(Errno::ESRCH) && begun.elapsed() < LONGEST_SETTLING {
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Asks for the end of a thread that was killed while it was seized, now and until it is gone. That of a whole process
    /// is for its parent.
    fn bury(&mut self, pid: Pid) {
        if pid != self.pid && !reap(pid) {
            self.dying.push(pid);
        }
    }

    /// Whether every thread that was seized has been let go, or is gone, but for those that are paused.
    fn has_settled(&self) -> bool {
        self.lingering.is_empty() && self.dying.is_empty()
    }

    /// Whether the last that was told to stop took long: it had no processor.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Whether the last that was let go was at the end of a system call, as far as that can be told.
    pub fn had_called(&self) -> bool {
        self.had_called
    }

    /// Waits until a thread that was interrupted stops. When it stopped is not told by the kernel: it was after the last
    /// look at which it had not.
    fn wait(&mut self, pid: Pid) -> Result<(Pid, Caught, Instant), Refusal> {
        let begun = Instant::now();
        let mut since = begun;
        loop {
            let now = Instant::now();
            let waited = now - begun;
            self.has_waited = waited >= LONG;
            match self.look(pid) {
                Ok(Some((pid, caught))) => return Ok((pid, caught, since)),
                Ok(None) if waited < SPIN => std::hint::spin_loop(),
                Ok(None) if waited < PATIENCE => {
                    std::thread::sleep((waited / 16).clamp(BETWEEN_LOOKS, LONGEST_BETWEEN_LOOKS));
                }
                Ok(None) => return Err(Refusal::WillNotStop),
                Err(Errno::ECHILD) => return Err(Refusal::Gone),
                Err(_) => return Err(Refusal::Forbidden),
            }
            since = now;
        }
    }

    /// Whether a thread has stopped. One that executes a program takes the id of its process.
    fn look(&self, pid: Pid) -> Result<Option<(Pid, Caught)>, Errno> {
        match stop_of(pid) {
            Err(Errno::ECHILD) if pid != self.pid => Ok(stop_of(self.pid)?.map(|caught| (self.pid, caught))),
            stop => Ok(stop?.map(|caught| (pid, caught))),
        }
    }

    /// Lets every thread go that is stopped. Returns for how long the first of them was stopped, or a little more; `None`
    /// if none was.
    pub fn resume(&mut self) -> Option<Duration> {
        while let Some(paused) = self.paused.pop() {
            self.release(paused.pid, paused.caught);
        }
        let stopped = self.since.take().map(|since| since.elapsed());
        self.urgency.end();
        stopped
    }

    fn release(&mut self, pid: Pid, caught: Caught) {
        // Not as soon as it has stopped: by now the kernel has taken it from its processor, and need not wait for that.
        self.had_called = system_calls::begin_again(pid);
        let released = match caught {
            Caught::Interruption => ptrace::detach(pid, None),
            Caught::Signal(signal) => ptrace::detach(pid, signal),
            Caught::RealTimeSignal => {
                self.must_leave.get_or_insert_with(|| (Instant::now(), gettid()));
                Ok(())
            }
        };
        // It fails only for a thread that has been killed meanwhile.
        if released.is_err() {
            self.bury(pid);
        }
    }

    /// Lets threads go that have stopped late, and the dead. To be called often while there may be such.
    pub fn tend(&mut self) {
        self.dying.retain(|&pid| !reap(pid));
        if self.lingering.is_empty() {
            return;
        }
        let since = std::mem::replace(&mut self.looked, Instant::now());
        for pid in std::mem::take(&mut self.lingering) {
            match self.look(pid) {
                Ok(Some((pid, caught))) => {
                    self.release(pid, caught);
                    *self.late.get_or_insert_default() += since.elapsed();
                }
                Ok(None) => self.lingering.push(pid),
                Err(_) => self.bury(pid),
            }
        }
    }

    /// Waits, while that is so, for threads that have not stopped when they should, and for those that are dying, and lets
    /// them go as they do. Returns for how long those were stopped that did since it was last called, or a little more;
    /// `None` if there were none.
    pub fn settle(&mut self, is_so: impl Fn() -> bool) -> Option<Duration> {
        let begun = Instant::now();
        while !self.has_settled() && begun.elapsed() < LONGEST_SETTLING && is_so() {
            std::thread::sleep(BETWEEN_SETTLING_LOOKS);
            self.tend();
        }
        self.late.take()
    }

    /// To be called by a thread of ours that ends: the kernel then lets go whom it has told to stop.
    pub fn leave(&mut self) {
        self.lingering.clear();
        self.dying.clear();
    }

    /// Whether a thread waits for the end of the calling thread of ours.
    ///
    /// A thread that was caught on its way to a real-time signal cannot be let go with it: the calls that we have do
    /// not know these signals. When the thread of ours that seized it ends, the kernel lets it go, signal and all.
    pub fn must_leave(&self) -> bool {
        self.must_leave.is_some()
    }

    /// To be called by the thread of ours that goes on as the one before ends, which it waits for. Returns for how long a
    /// thread of the target has waited for that.
    pub fn arrive(&mut self) -> Option<Duration> {
        let before = std::mem::replace(self, Pauser::of(self.pid));
        let (since, thread) = before.must_leave?;
        let begun = Instant::now();
        while Path::new(&format!("/proc/self/task/{thread}")).exists() && begun.elapsed() < PATIENCE {
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Some(since.elapsed())
    }
}

impl Drop for Pauser {
    fn drop(&mut self) {
        self.resume();
        self.settle(|| true);
    }
}

/// The stop that a seized thread is in, if it is in one.
fn stop_of(pid: Pid) -> Result<Option<Caught>, Errno> {
    // Without NOWAIT the kernel forgets the signal that the thread is on its way to; see `Pauser::must_leave`.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let options = options | WaitIdOptions::from_bits_retain(WALL | OWN_TRACEES);
    let Some(id) = rustix::process::Pid::from_raw(pid.as_raw()) else { return Err(Errno::ECHILD) };
    match waitid(WaitId::Pid(id), options) {
        Ok(status) => Ok(status.and_then(|status| status.trapping_signal().or(status.stopping_signal())).map(caught)),
        Err(e) => Err(Errno::from_raw(e.raw_os_error())),
    }
}

fn caught(status: i32) -> Caught {
    if status & EVENT_STOP != 0 {
        return Caught::Interruption;
    }
    match Signal::try_from(status) {
        Ok(signal) => Caught::Signal(signal),
        Err(_) => Caught::RealTimeSignal,
    }
}

/// System calls that a stop makes fail, see signal(7): "Interruption of system calls and library functions by stop
/// signals". On other architectures the kernel does not keep what it takes to begin them again.
mod system_calls {
    use nix::unistd::Pid;

    /// Has the kernel begin a call again that a stop made fail. Returns whether a thread is at the end of any.
    ///
    /// The kernel looks at what a call returns when the thread goes on, and `ERESTARTNOHAND` (`linux/errno.h`) says:
    /// EINTR if the thread goes to a signal handler now, and otherwise begin again.
    #[cfg(target_arch = "x86_64")]
    pub fn begin_again(pid: Pid) -> bool {
        use nix::sys::ptrace;

        const EINTR: i64 = -4;
        const ERESTARTNOHAND: i64 = -514;
        /// Where the words are in the kernel's `struct user`.
        const RAX: usize = 80;
        const ORIG_RAX: usize = 120;
        let word = |at| ptrace::read_user(pid, std::ptr::without_provenance_mut(at)).ok();
        // Of nearly all threads the first word says that they are in no call.
        let Some(number) = word(ORIG_RAX).filter(|&number| number >= 0) else { return false };
        if fails(number) && word(RAX) == Some(EINTR) {
            // It fails only for a thread that has been killed meanwhile.
            let _ = ptrace::write_user(pid, std::ptr::without_provenance_mut(RAX), ERESTARTNOHAND);
        }
        true
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn begin_again(_: Pid) -> bool {
        false
    }

    /// Whether a call is one that fails when its thread is stopped: a wait, or a transfer by a socket that has a timeout.
    #[cfg(target_arch = "x86_64")]
    fn fails(number: i64) -> bool {
        match number {
            // read, write, readv, writev, sendto, recvfrom, sendmsg, recvmsg, recvmmsg, sendmmsg, accept, accept4
            0 | 1 | 19 | 20 | 44..=47 | 299 | 307 | 43 | 288 => true,
            // semop, semtimedop, rt_sigtimedwait, io_getevents, io_pgetevents, io_uring_enter
            65 | 220 | 128 | 208 | 333 | 426 => true,
            // epoll_wait, epoll_pwait, epoll_pwait2
            232 | 281 | 441 => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_stopped_while_one_is_dying_and_the_dead_are_asked_for_until_they_are_gone() {
        use std::process::{Command, Stdio};

        // Whoever takes long to die is like one that lives; it ends when its standard input is closed.
        let mut slow = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(slow.id() as i32);
        let mut pauser = Pauser::new(std::process::id());
        pauser.bury(pid);
        assert_eq!(pauser.pause(Tid(slow.id()), true, None), Err(Refusal::WillNotStop));
        drop(slow.stdin.take());
        pauser.settle(|| true);
        assert!(pauser.has_settled());
        assert!(slow.wait().is_err(), "it is gone already");
    }

    #[test]
    fn what_a_thread_was_caught_in_is_read_from_the_status_of_its_stop() {
        assert_eq!(caught(5 | 128 << 8), Caught::Interruption);
        assert_eq!(caught(19 | 128 << 8), Caught::Interruption);
        assert_eq!(caught(10), Caught::Signal(Signal::SIGUSR1));
        assert_eq!(caught(5), Caught::Signal(Signal::SIGTRAP));
        assert_eq!(caught(35), Caught::RealTimeSignal);
    }
}
