//! A command that we started: its id, signals for it, and how it ended. It is never ended by us.
//!
//! While a sampler may trace the command, nobody may `wait` for it: the kernel shows a tracer's stops to every waiting
//! thread of the tracing process, and a wait would take one from the sampler. So the end is watched through a pidfd,
//! which only tells, and the wait comes after.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;
use std::{fs, io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, getpgrp, kill_process, pidfd_open};

use super::proc::Stat;
use crate::error::{Error, Result};

/// How often to look whether the command has ended, where the kernel has no pidfd (before Linux 5.3, or refused).
const LOOK: Duration = Duration::from_millis(10);

/// A command that runs, or has ended and not been waited for.
#[derive(Debug)]
pub struct Command {
    child: Child,
}

/// What a command prints.
#[derive(Debug)]
pub struct Printed {
    /// On its standard output.
    pub out: ChildStdout,
    /// On its standard error.
    pub err: ChildStderr,
}

/// What tells when a command has ended.
#[derive(Debug)]
pub struct Watch(Watched);

#[derive(Debug)]
enum Watched {
    Pidfd(OwnedFd),
    Process(u32),
}

impl Command {
    /// Runs a program with its arguments, with our standard streams and our environment.
    pub fn spawn(command: &[OsString]) -> Result<Command> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        match process::Command::new(program).args(arguments).spawn() {
            Ok(child) => Ok(Command { child }),
            Err(source) => Err(Error::Spawn { program: program.to_string_lossy().into_owned(), source }),
        }
    }

    /// As [`Command::spawn`], but what it prints comes to us, and there is nothing for it to read.
    pub fn spawn_apart(command: &[OsString]) -> Result<(Command, Printed)> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut spawned = process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Spawn { program: program.to_string_lossy().into_owned(), source })?;
        let out = spawned.stdout.take().expect("it was asked for");
        let err = spawned.stderr.take().expect("it was asked for");
        Ok((Command { child: spawned }, Printed { out, err }))
    }

    /// Its process id. It stays the command's until [`Command::wait`].
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What tells when it has ended, for another thread.
    pub fn watch(&self) -> Watch {
        Watch(match pidfd_open(self.rustix_pid(), PidfdFlags::empty()) {
            Ok(pidfd) => Watched::Pidfd(pidfd),
            Err(_) => Watched::Process(self.pid()),
        })
    }

    /// Whether it is in our process group, so that what the terminal sends to us it gets, too.
    pub fn shares_terminal_signals(&self) -> bool {
        getpgid(Some(self.rustix_pid())).is_ok_and(|group| group == getpgrp())
    }

    /// Sends it a signal. That it has ended already is no failure.
    pub fn signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = kill_process(self.rustix_pid(), signal);
        }
    }

    /// Waits until it has ended. Only when nobody traces it any more.
    pub fn wait(mut self) -> Result<ExitCode> {
        match self.child.wait() {
            Ok(status) => Ok(ExitCode::of(status)),
            Err(source) => Err(Error::Io { what: "cannot wait for the command".into(), source }),
        }
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Watch {
    /// Returns when the command has ended.
    pub fn wait(self) {
        match self.0 {
            Watched::Pidfd(pidfd) => while !readable(&pidfd) {},
            Watched::Process(pid) => {
                while !has_ended(pid) {
                    thread::sleep(LOOK);
                }
            }
        }
    }
}

/// Waits for the pidfd to say that its process has ended. False if the wait was interrupted.
fn readable(pidfd: &OwnedFd) -> bool {
    !matches!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None), Err(rustix::io::Errno::INTR))
}

fn has_ended(pid: u32) -> bool {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            Stat::fields(&stat).and_then(|mut fields| fields.next()).is_some_and(|state| ["Z", "X"].contains(&state))
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// How a command ended, as a shell tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// The exit status, or 128 and the signal's number.
    pub fn of(status: ExitStatus) -> ExitCode {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        ExitCode(u8::try_from(code & 0xff).expect("masked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::spawn(&["sh".into(), "-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn an_exit_status_is_handed_on() {
        assert_eq!(shell("exit 7").wait().unwrap(), ExitCode(7));
    }

    #[test]
    fn a_signal_is_told_as_a_shell_tells_it() {
        assert_eq!(shell("kill -KILL $$").wait().unwrap(), ExitCode(128 + 9));
    }

    #[test]
    fn the_end_is_seen_without_waiting_for_the_command() {
        let command = shell("exit 3");
        command.watch().wait();
        assert_eq!(command.wait().unwrap(), ExitCode(3));
    }

    #[test]
    fn the_end_is_seen_without_a_pidfd() {
        let command = shell("exit 3");
        Watch(Watched::Process(command.pid())).wait();
        assert!(has_ended(command.pid()));
        assert_eq!(command.wait().unwrap(), ExitCode(3));
    }

    #[test]
    fn a_signal_reaches_the_command() {
        let command = shell("exec sleep 1000");
        command.signal(15);
        command.watch().wait();
        command.signal(15);
        assert_eq!(command.wait().unwrap(), ExitCode(128 + 15));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = Command::spawn(&["/nonexistent/program".into()]).unwrap_err();
        assert!(error.to_string().starts_with("cannot run /nonexistent/program: No such file"), "{error}");
    }
}
