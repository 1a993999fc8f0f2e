//! The files of `/proc/PID` that are needed, as bytes: names of programs, threads and files need not be UTF-8, which
//! makes the crates that read these files as text fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::SplitAsciiWhitespace;
use std::{fs, io};

use nix::errno::Errno;

use super::Mapping;
use crate::memory::Addr;

/// What is needed of `stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name of the program, at most 15 bytes of it.
    pub name: String,
    /// The state, a letter: R runs, Z is a zombie.
    pub state: u8,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Processor time that it has used, user's and system's, in ticks of 10 ms.
    pub ticks: u64,
    /// The process that it is a child of; 0 for none.
    pub parent: u32,
    /// How many threads it has.
    pub threads: u32,
    /// When it started, in ticks since the machine did: with its id, what tells it from one that has its id later.
    pub started: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`.
    pub fn read(pid: u32) -> io::Result<Stat> {
        /// Longer than any line. The kernel gives all of it at once to whoever has room for it.
        const LONGEST: usize = 2048;
        let mut line = [0; LONGEST];
        let len = File::open(format!("/proc/{pid}/stat"))?.read(&mut line)?;
        Stat::parse(&line[..len]).ok_or_else(|| io::Error::other("its stat file is not as expected"))
    }

    /// The fields of a `stat` line, which may be cut, from the state on: field 3, as `man proc_pid_stat` counts. The name before
    /// them may hold anything, brackets among it.
    pub fn fields(line: &[u8]) -> Option<SplitAsciiWhitespace<'_>> {
        let close = line.iter().rposition(|&byte| byte == b')')?;
        Some(std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace())
    }

    fn parse(bytes: &[u8]) -> Option<Stat> {
        /// `PF_KTHREAD` of the kernel's `linux/sched.h`.
        const KERNEL_THREAD: u64 = 0x0020_0000;
        let (open, close) = (bytes.iter().position(|&b| b == b'(')?, bytes.iter().rposition(|&b| b == b')')?);
        let name = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
        let mut fields = Stat::fields(bytes)?;
        let state = fields.next()?.bytes().next()?;
        let parent = fields.next()?.parse().ok()?;
        let flags: u64 = fields.nth(4)?.parse().ok()?;
        let mut number_after = |skipped| fields.nth(skipped).and_then(|field| field.parse::<u64>().ok());
        let user = number_after(4)?;
        let system = number_after(0)?;
        let threads = number_after(4)?;
        let started = number_after(1)?;
        Some(Stat {
            name,
            state,
            is_kernel_thread: flags & KERNEL_THREAD != 0,
            ticks: user.saturating_add(system),
            parent,
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            started,
        })
    }
}

/// Whether an error of a file below `/proc/PID` says that the process or thread is gone. That we cannot look, for want of files,
/// does not mean that there is nothing.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// What is needed of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// User ids: real, effective, saved, of the file system.
    pub uids: Vec<u32>,
    /// Group ids, likewise.
    pub gids: Vec<u32>,
    /// Groups that it is in besides.
    pub other_groups: Vec<u32>,
    /// The process that the task is a thread of; 0 where that is not told.
    pub process: u32,
    /// The ids of the task in each of the PID namespaces that it is in, ours first, its own last.
    pub namespaced_pids: Vec<u32>,
    /// The process that traces it; 0 for none.
    pub tracer: u32,
    /// Whether it sleeps, for a signal to wake it or not.
    pub is_asleep: bool,
    /// How often it has given up a processor, or lost it.
    pub switches: u64,
    /// Capabilities it may use.
    pub permitted: u64,
    /// Capabilities it uses.
    pub effective: u64,
    /// How its system calls are filtered: 0 not at all, 1 strictly, 2 by programs.
    pub seccomp: u8,
}

impl Status {
    /// Reads the `status` of a process or thread: `4242` or `4242/task/4243`.
    pub fn read(task: &str) -> Option<Status> {
        fs::read(format!("/proc/{task}/status")).ok().map(|bytes| Status::parse(&bytes))
    }

    /// Whether what it opens is opened as one of a group.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gids.get(3) == Some(&gid) || self.other_groups.contains(&gid)
    }

    fn parse(bytes: &[u8]) -> Status {
        let mut status = Status::default();
        for line in bytes.split(|&b| b == b'\n') {
            let Some((key, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
                continue;
            };
            let numbers = || value.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
            let mask = || u64::from_str_radix(value.trim(), 16).unwrap_or(0);
            match key {
                "Uid" => status.uids = numbers(),
                "Gid" => status.gids = numbers(),
                "Groups" => status.other_groups = numbers(),
                "Tgid" => status.process = value.trim().parse().unwrap_or(0),
                "NSpid" => status.namespaced_pids = numbers(),
                "TracerPid" => status.tracer = value.trim().parse().unwrap_or(0),
                "State" => status.is_asleep = matches!(value.trim().as_bytes().first(), Some(b'S' | b'D')),
                "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
                    status.switches += value.trim().parse::<u64>().unwrap_or(0);
                }
                "CapPrm" => status.permitted = mask(),
                "CapEff" => status.effective = mask(),
                "Seccomp" => status.seccomp = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
        status
    }
}

/// The ids of all processes that are to be seen, in order.
pub fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The command line of a process, one string an argument. A process without one is called by its name.
pub fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    match bytes {
        [] => Stat::read(pid).map(|stat| vec![stat.name]).unwrap_or_default(),
        _ => bytes.split(|&b| b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect(),
    }
}

/// Reads `/proc/PID/maps`.
pub fn mappings(pid: u32) -> io::Result<Vec<Mapping>> {
    let bytes = fs::read(format!("/proc/{pid}/maps"))?;
    Ok(bytes.split(|&b| b == b'\n').filter_map(mapping).collect())
}

/// A line such as `7f00-8f00 rw-p 00001000 fe:01 1234    /usr/lib/a b.so`. The kernel writes a newline in a path as
/// `\012`.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |&b| b == b' ');
    let mut field = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?;
    let offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?;
    let path = fields.next().map(<[u8]>::trim_ascii_start).filter(|path| path.starts_with(b"/"));
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        start: Addr(hex(start)?),
        end: Addr(hex(end)?),
        writable: permissions.as_bytes().get(1) == Some(&b'w'),
        file_offset: hex(offset)?,
        device: (hex(major)? as u32, hex(minor)? as u32),
        inode: inode.parse().ok()?,
        path: path.map(|path| Path::new(OsStr::from_bytes(path)).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_with_every_field() {
        let line = b"7f12a000-7f12c000 rw-p 0001f000 fe:0a 417             /usr/lib/a b\xff.so (deleted)";
        let read = mapping(line).unwrap();
        assert_eq!((read.start, read.end, read.writable), (Addr(0x7f12_a000), Addr(0x7f12_c000), true));
        assert_eq!((read.file_offset, read.device, read.inode), (0x1f000, (0xfe, 0x0a), 417));
        assert_eq!(read.path.unwrap().as_os_str().as_bytes(), b"/usr/lib/a b\xff.so (deleted)");
    }

    #[test]
    fn what_is_no_file_has_no_path() {
        let paths = [&b"1000-2000 r--p 00000000 00:00 0 "[..], b"1000-2000 r-xp 00000000 00:00 0     [vdso]"];
        for line in paths {
            assert_eq!(mapping(line).unwrap().path, None);
        }
        assert_eq!(mapping(b""), None);
        assert_eq!(mapping(b"1000-zzzz r--p 0 00:00 0"), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"12 (a) R \xff(b)) S 1 2 3 4 5 2129984 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.is_kernel_thread), ("a) R \u{fffd}(b)", b'S', true));
        assert_eq!((stat.parent, stat.ticks, stat.threads, stat.started), (1, 11 + 12, 17, 19));
        let status = Status::parse(
            b"Name:\t\xff\nState:\tS (sleeping)\nTgid:\t39\nNSpid:\t40\t7\nUid:\t1\t2\t3\t4\nCapEff:\t00000000a8\nTracerPid:\t9\n\
              voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t2\n",
        );
        assert_eq!((status.process, status.namespaced_pids, status.uids), (39, vec![40, 7], vec![1, 2, 3, 4]));
        assert_eq!((status.effective, status.tracer, status.switches, status.is_asleep), (0xa8, 9, 5, true));
    }
}
