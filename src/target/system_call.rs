//! What a thread waits for in the kernel: the system call that it is in (`/proc/PID/task/TID/syscall`), and what that means.

use nix::libc;

use crate::memory::Addr;

/// Where in the kernel a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InKernel {
    /// It waits in a system call.
    Call(SystemCall),
    /// It waits, but not in a system call: for a page of its memory, most likely.
    Elsewhere,
    /// It does not wait.
    Not,
}

/// A system call that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Which, by the numbers of the machine.
    pub number: i64,
    /// Its arguments, as they were passed.
    pub arguments: [u64; 6],
    /// The thread's stack pointer.
    pub stack_pointer: Addr,
}

/// What a thread waits for, as far as the system call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A word in memory to change: what locks are made of.
    Futex {
        /// The word.
        word: Addr,
        /// How long at most: a `struct timespec`; null for ever.
        timeout: Addr,
    },
    /// An open file, pipe or socket, by its number.
    Descriptor(u64),
    /// One of several descriptors: an array of `struct pollfd`, and how many.
    Poll(Addr, u64),
    /// One of several descriptors.
    Events,
    /// A file that is being opened, renamed, looked at.
    File,
    /// Time to pass, or a signal.
    Sleep,
    /// A child to end.
    Child,
    /// A lock that the kernel keeps.
    Lock,
    /// Something else.
    Other,
}

impl InKernel {
    /// From the line that the kernel writes: `running`, `-1 SP PC`, or the number, six arguments, SP and PC.
    pub fn parse(line: &[u8]) -> Option<InKernel> {
        let line = std::str::from_utf8(line).ok()?.trim_end();
        if line == "running" {
            return Some(InKernel::Not);
        }
        let mut words = line.split(' ');
        let number: i64 = words.next()?.parse().ok()?;
        if number < 0 {
            return Some(InKernel::Elsewhere);
        }
        let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = next()?;
        }
        Some(InKernel::Call(SystemCall { number, arguments, stack_pointer: Addr(next()?) }))
    }
}

impl SystemCall {
    /// What it waits for.
    pub fn wait(&self) -> Wait {
        let [first, second, _, fourth, ..] = self.arguments;
        match self.number {
            libc::SYS_futex => Wait::Futex { word: Addr(first), timeout: Addr(fourth) },
            libc::SYS_read | libc::SYS_write | libc::SYS_readv | libc::SYS_writev => Wait::Descriptor(first),
            libc::SYS_pread64 | libc::SYS_pwrite64 | libc::SYS_preadv | libc::SYS_pwritev => Wait::Descriptor(first),
            libc::SYS_preadv2 | libc::SYS_pwritev2 | libc::SYS_sendfile | libc::SYS_splice => Wait::Descriptor(first),
            libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => Wait::Descriptor(first),
            libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => Wait::Descriptor(first),
            libc::SYS_accept | libc::SYS_accept4 | libc::SYS_connect => Wait::Descriptor(first),
            libc::SYS_ioctl | libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_ftruncate => Wait::Descriptor(first),
            libc::SYS_fallocate | libc::SYS_copy_file_range | libc::SYS_getdents64 => Wait::Descriptor(first),
            libc::SYS_ppoll if second == 0 => Wait::Sleep,
            libc::SYS_ppoll => Wait::Poll(Addr(first), second),
            libc::SYS_pselect6 if first == 0 => Wait::Sleep,
            libc::SYS_pselect6 | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => Wait::Events,
            libc::SYS_io_getevents | libc::SYS_io_uring_enter => Wait::Events,
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Wait::Sleep,
            libc::SYS_rt_sigsuspend | libc::SYS_rt_sigtimedwait => Wait::Sleep,
            libc::SYS_wait4 | libc::SYS_waitid => Wait::Child,
            libc::SYS_flock | libc::SYS_semop | libc::SYS_semtimedop | FUTEX_WAITV => Wait::Lock,
            libc::SYS_fcntl if matches!(second as i32, libc::F_SETLKW | libc::F_OFD_SETLKW) => Wait::Lock,
            libc::SYS_openat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_unlinkat => Wait::File,
            libc::SYS_renameat2 | libc::SYS_mkdirat | libc::SYS_execve | libc::SYS_sync => Wait::File,
            number => older(number, self.arguments),
        }
    }
}

/// `futex_waitv`, by the same number on every machine.
const FUTEX_WAITV: i64 = 449;

/// System calls that only some machines have.
#[cfg(target_arch = "x86_64")]
fn older(number: i64, [first, second, ..]: [u64; 6]) -> Wait {
    match number {
        libc::SYS_poll if second == 0 => Wait::Sleep,
        libc::SYS_poll => Wait::Poll(Addr(first), second),
        libc::SYS_select if first == 0 => Wait::Sleep,
        libc::SYS_select | libc::SYS_epoll_wait => Wait::Events,
        libc::SYS_pause => Wait::Sleep,
        libc::SYS_open | libc::SYS_stat | libc::SYS_lstat | libc::SYS_rename | libc::SYS_unlink => Wait::File,
        _ => Wait::Other,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: i64, _: [u64; 6]) -> Wait {
    Wait::Other
}

/// What an open descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// A socket.
    Socket,
    /// A pipe.
    Pipe,
    /// A file, a device, a terminal.
    File,
    /// A process that was opened to wait for its end.
    Process,
    /// One that stands for events: eventfd, epoll, timerfd.
    Events,
}

impl Descriptor {
    /// From what the kernel calls it: the target of the link in `/proc/PID/fd`.
    pub fn parse(link: &[u8]) -> Descriptor {
        match link {
            _ if link.starts_with(b"socket:") => Descriptor::Socket,
            _ if link.starts_with(b"pipe:") => Descriptor::Pipe,
            b"anon_inode:[pidfd]" => Descriptor::Process,
            _ if link.starts_with(b"pidfd:") => Descriptor::Process,
            _ if link.starts_with(b"anon_inode:") => Descriptor::Events,
            _ => Descriptor::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> SystemCall {
        match InKernel::parse(line.as_bytes()) {
            Some(InKernel::Call(call)) => call,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        assert_eq!(InKernel::parse(b"running\n"), Some(InKernel::Not));
        assert_eq!(InKernel::parse(b"-1 0x7ffc5d6dfea0 0x7f024ff90aec\n"), Some(InKernel::Elsewhere));
        let read = call("0 0x5 0x7f00 0x10 0x0 0x0 0x0 0x7ffe 0x7f01\n");
        assert_eq!((read.arguments[0], read.stack_pointer), (5, Addr(0x7ffe)));
        for broken in ["", "\n", "0", "0 5", "202 0x1 0x2", "x"] {
            assert_eq!(InKernel::parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn what_a_call_waits_for_is_told_by_its_arguments_too() {
        let wait = |number: i64, first: u64, second: u64| {
            SystemCall { number, arguments: [first, second, 0, 0, 0, 0], stack_pointer: Addr(0) }.wait()
        };
        assert_eq!(wait(libc::SYS_read, 5, 0), Wait::Descriptor(5));
        assert_eq!(wait(libc::SYS_ppoll, 0x1000, 2), Wait::Poll(Addr(0x1000), 2));
        assert_eq!(wait(libc::SYS_ppoll, 0, 0), Wait::Sleep);
        assert_eq!(wait(libc::SYS_pselect6, 0, 0), Wait::Sleep);
        assert_eq!(wait(libc::SYS_pselect6, 4, 0), Wait::Events);
        assert_eq!(wait(libc::SYS_fcntl, 4, libc::F_SETLKW as u64), Wait::Lock);
        assert_eq!(wait(libc::SYS_fcntl, 4, libc::F_GETFL as u64), Wait::Other);
        assert_eq!(wait(libc::SYS_getpid, 0, 0), Wait::Other);
    }

    #[test]
    fn a_descriptor_is_told_by_its_link() {
        let told = [
            ("socket:[123]", Descriptor::Socket),
            ("pipe:[4]", Descriptor::Pipe),
            ("/dev/pts/0", Descriptor::File),
            ("/tmp/socket:x", Descriptor::File),
            ("anon_inode:[pidfd]", Descriptor::Process),
            ("anon_inode:[eventpoll]", Descriptor::Events),
        ];
        for (link, expected) in told {
            assert_eq!(Descriptor::parse(link.as_bytes()), expected, "{link}");
        }
    }
}
