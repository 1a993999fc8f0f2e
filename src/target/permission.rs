//! Why the kernel refuses to let us read a process, and what mends it.
//!
//! Reading memory is checked like `ptrace(PTRACE_ATTACH)`: same user with no fewer capabilities, or CAP_SYS_PTRACE in
//! the target's user namespace; then Yama; then other security modules.

use std::fs;

use super::proc::Status;
use crate::error::Error;

const CAP_SYS_PTRACE: u64 = 1 << 19;

/// The error for a process that we may not read: the first rule found that refuses.
pub fn refused(pid: u32) -> Error {
    let (rule, hint) = match (Status::read("self"), Status::read(&pid.to_string())) {
        (Some(me), Some(target)) => verdict(&me, &target, yama_scope()),
        _ => ("the kernel does not even let us look at it".into(), AS_ROOT.into()),
    };
    Error::NotPermitted { pid, rule, hint }
}

const AS_ROOT: &str = "run it as root: sudo pysample ...";
const CAPABILITY: &str =
    "grant the capability: `docker run --cap-add SYS_PTRACE`, or `kubectl debug --profile=general`";

fn yama_scope() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// The rule that refuses, and its remedy.
fn verdict(me: &Status, target: &Status, yama: Option<u8>) -> (String, String) {
    let capable = me.effective & CAP_SYS_PTRACE != 0;
    let (user, group) = (me.uids.get(1), me.gids.get(1));
    let same_user = target.uids.iter().take(3).all(|uid| Some(uid) == user)
        && target.gids.iter().take(3).all(|gid| Some(gid) == group);
    let missing = target.permitted & !me.effective;
    match yama {
        Some(3) => {
            return (
                "the kernel forbids it to everybody (Yama ptrace_scope is 3)".into(),
                "the setting holds until the next boot; start the program with `pysample record -- CMD` on another host".into(),
            );
        }
        Some(2) if !capable => {
            return ("Yama ptrace_scope is 2: it takes CAP_SYS_PTRACE".into(), AS_ROOT.into());
        }
        _ => {}
    }
    if capable {
        return (
            "we hold CAP_SYS_PTRACE and are refused all the same: another user namespace, a security module or a sandbox".into(),
            "run pysample where the process runs: in its container, or as root of its host".into(),
        );
    }
    if !same_user {
        let (theirs, ours) = (id(&target.uids), id(&me.uids));
        let rule = format!("it runs as user {theirs} (we are {ours}), and we lack CAP_SYS_PTRACE");
        let hint = if ours == "0" { CAPABILITY.into() } else { format!("{AS_ROOT} (or as user {theirs})") };
        return (rule, hint);
    }
    if missing != 0 {
        let rule = format!("it holds capabilities that we lack ({missing:#x}), and we lack CAP_SYS_PTRACE");
        return (rule, if user == Some(&0) { CAPABILITY.into() } else { AS_ROOT.into() });
    }
    if yama == Some(1) {
        return (
            "Yama ptrace_scope is 1: only a parent may read its children".into(),
            format!("{AS_ROOT}, or start the program with `pysample record -- CMD`"),
        );
    }
    (
        "same user, yet refused: the process is not dumpable, or a security module or a sandbox refuses".into(),
        AS_ROOT.into(),
    )
}

/// The effective id among those of `status`.
fn id(ids: &[u32]) -> String {
    ids.get(1).map_or("unknown".into(), u32::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uid: u32, permitted: u64, effective: u64) -> Status {
        Status { uids: vec![uid; 4], gids: vec![uid; 4], permitted, effective, ..Status::default() }
    }

    #[test]
    fn the_rule_that_refuses_is_named() {
        let (root, all) = (status(0, u64::MAX, u64::MAX), !CAP_SYS_PTRACE);
        let cases = [
            (status(1000, 0, 0), root.clone(), None, "user 0 (we are 1000)"),
            (status(0, all, all), root.clone(), None, "capabilities that we lack (0x80000)"),
            (status(1000, 0, 0), status(1000, 0, 0), Some(1), "ptrace_scope is 1"),
            (status(1000, 0, 0), status(1000, 0, 0), Some(2), "ptrace_scope is 2"),
            (root.clone(), root.clone(), Some(3), "ptrace_scope is 3"),
            (root.clone(), root, None, "we hold CAP_SYS_PTRACE"),
            (status(1000, 0, 0), status(1000, 0, 0), None, "not dumpable"),
        ];
        for (me, target, yama, expected) in cases {
            let (rule, hint) = verdict(&me, &target, yama);
            assert!(rule.contains(expected), "{rule}");
            assert!(!hint.is_empty());
        }
    }
}
