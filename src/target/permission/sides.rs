//! What the kernel's rules look at, of us and of the process that is to be read.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::CAP_SYS_PTRACE;
use crate::target::proc::{self, Status};

/// The namespaces that matter, as `/proc/PID/ns` calls them.
pub const NAMESPACES: [&str; 5] = ["pid", "mnt", "user", "net", "cgroup"];
/// The inode of the first PID namespace and of the first user namespace of a machine, of the kernel's `linux/proc_ns.h`.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

/// One of the two: who reads, or who is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What `/proc/PID/status` says; `None` where it cannot be read.
    pub status: Option<Status>,
    /// The namespaces it is in, as `pid`, `mnt`, `user`, `net`, `cgroup`; `None` where the kernel does not tell.
    pub namespaces: [Option<String>; NAMESPACES.len()],
    /// What security modules call it, where there are any.
    pub label: Option<String>,
}

impl Side {
    /// What there is to know of a process: an id, or `self`.
    fn of(process: &str) -> Side {
        let namespace = |name: &str| {
            let link = fs::read_link(format!("/proc/{process}/ns/{name}")).ok()?;
            Some(link.to_string_lossy().into_owned())
        };
        let label = fs::read(format!("/proc/{process}/attr/current")).ok();
        let label = label.map(|label| String::from_utf8_lossy(&label).trim_end_matches(['\0', '\n']).to_owned());
        Side {
            status: Status::read(process),
            namespaces: NAMESPACES.map(namespace),
            label: label.filter(|label| !label.is_empty()),
        }
    }

    fn user_namespace(&self) -> Option<&String> {
        self.namespaces[2].as_ref()
    }
}

/// Both sides, and what holds for the whole machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// The process that is to be read.
    pub pid: u32,
    /// Us.
    pub ours: Side,
    /// It.
    pub theirs: Side,
    /// Yama's `ptrace_scope`; `None` where there is no Yama.
    pub yama: Option<u8>,
    /// The security modules; `None` where they are not told.
    pub modules: Option<String>,
    /// Whether it has made itself unreadable, as far as that shows.
    pub undumpable: Option<bool>,
    /// A process that traces it, by its id and its name.
    pub tracer: Option<(u32, String)>,
    /// What we run in, if that is not the usual kernel.
    pub sandbox: Option<Sandbox>,
}

/// A kernel that is not the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Google's gVisor: a kernel in user space.
    GVisor,
}

impl Sides {
    /// Gathers what there is to know of a process and of us.
    pub fn of(pid: u32) -> Sides {
        let theirs = Side::of(&pid.to_string());
        let tracer = theirs.status.as_ref().map(|status| status.tracer).filter(|&tracer| tracer != 0);
        let owner = fs::metadata(format!("/proc/{pid}/stat")).ok().map(|file| file.uid());
        Sides {
            pid,
            ours: Side::of("self"),
            yama: yama_scope(),
            modules: fs::read_to_string("/sys/kernel/security/lsm").ok().map(|list| list.trim().to_owned()),
            undumpable: owner.zip(theirs.status.as_ref()).and_then(|(owner, status)| undumpable(owner, status)),
            tracer: tracer.map(|tracer| (tracer, proc::command_line(tracer).into_iter().next().unwrap_or_default())),
            sandbox: fs::read_to_string("/proc/version").ok().and_then(|version| sandbox(&version)),
            theirs,
        }
    }

    /// Whether we hold CAP_SYS_PTRACE, wherever that counts.
    pub fn is_capable(&self) -> bool {
        self.ours.status.as_ref().is_some_and(|status| status.effective & CAP_SYS_PTRACE != 0)
    }

    /// Whether we are root, in whatever user namespace.
    pub fn are_root(&self) -> bool {
        self.ours.status.as_ref().is_some_and(|status| status.uids.get(1) == Some(&0))
    }

    /// Whether the target is in our user namespace, in which our capabilities count; `None` if not known.
    pub fn shares_user_namespace(&self) -> Option<bool> {
        Some(self.ours.user_namespace()? == self.theirs.user_namespace()?)
    }

    /// Whether we are in the first user namespace, whose capabilities count in all others.
    pub fn are_in_first_user_namespace(&self) -> bool {
        self.ours.user_namespace().is_some_and(|namespace| namespace == FIRST_USER_NAMESPACE)
    }

    /// Whether our capabilities do not count for the target, as far as that shows: the kernel does not even say in which user
    /// namespace it is, and we are not in the first.
    pub fn are_likely_powerless(&self) -> bool {
        let is_ours_known = self.ours.user_namespace().is_some();
        is_ours_known && self.theirs.user_namespace().is_none() && !self.are_in_first_user_namespace()
    }

    /// Whether all our ids are those that the target's have to be.
    pub fn is_same_user(&self) -> Option<bool> {
        let (ours, theirs) = (self.ours.status.as_ref()?, self.theirs.status.as_ref()?);
        let (user, group) = (ours.uids.get(1)?, ours.gids.get(1)?);
        let all = |ids: &[u32], own: &u32| ids.len() >= 3 && ids.iter().take(3).all(|id| id == own);
        Some(all(&theirs.uids, user) && all(&theirs.gids, group))
    }

    /// The capabilities that it may use and we may not.
    pub fn missing(&self) -> Option<u64> {
        Some(self.theirs.status.as_ref()?.permitted & !self.ours.status.as_ref()?.permitted)
    }
}

/// Whether we are in a PID namespace of our own, and so may not see all processes of the machine.
pub fn are_in_own_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != FIRST_PID_NAMESPACE)
}

fn yama_scope() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// The kernel gives the files in `/proc` of a process that is not dumpable to root, but not the folder. Of root's own it does not show.
fn undumpable(owner: u32, status: &Status) -> Option<bool> {
    let user = *status.uids.get(1)?;
    match (owner, user) {
        (_, 0) => None,
        (owner, user) => Some(owner != user),
    }
}

/// gVisor's kernel calls itself by a fixed version and date.
fn sandbox(version: &str) -> Option<Sandbox> {
    let is_gvisor = version.contains("gVisor") || version.contains("4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016");
    is_gvisor.then_some(Sandbox::GVisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_told_by_its_version() {
        assert_eq!(sandbox("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n"), Some(Sandbox::GVisor));
        assert_eq!(sandbox("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)"), None);
    }

    #[test]
    fn what_is_not_dumpable_belongs_to_root() {
        let of = |user| Status { uids: vec![user; 4], ..Status::default() };
        assert_eq!(undumpable(0, &of(1000)), Some(true));
        assert_eq!(undumpable(1000, &of(1000)), Some(false));
        assert_eq!(undumpable(0, &of(0)), None);
    }

    #[test]
    fn we_know_ourselves() {
        let sides = Sides::of(std::process::id());
        assert_eq!(sides.is_same_user(), Some(true));
        assert_eq!((sides.missing(), sides.shares_user_namespace()), (Some(0), Some(true)));
    }
}
