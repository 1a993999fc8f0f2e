//! The kernel's rules in the order in which it asks them, each with its value and what comes of it.

use serde::Serialize;

use super::sides::NAMESPACES;
use super::{CAP_SYS_PTRACE, Mend, Sandbox, Sides};
use crate::target::proc::Status;

/// A rule, with what it looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called.
    pub name: &'static str,
    /// What it looks at, in words.
    pub value: String,
    /// What comes of it.
    pub outcome: Outcome,
    /// What mends it, if it is in the way or may be.
    pub mend: Option<Mend>,
}

/// What comes of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in nobody's way.
    Fine,
    /// It is in the way.
    Refuses,
    /// It may be in the way: that cannot be told from here.
    MayRefuse,
    /// It is worth knowing.
    Told,
}

/// Every rule with its value.
pub fn rules(sides: &Sides) -> Vec<Rule> {
    let rules = [user, capabilities, ptrace, dumpable, yama, modules, seccomp, tracer];
    let mut rules: Vec<Rule> = rules.iter().map(|rule| rule(sides)).collect();
    rules.extend(namespaces(sides));
    rules.extend(sides.sandbox.map(sandboxed));
    rules
}

/// The rule that refuses, in words, and what mends it; the likeliest, where none shows that it does.
pub fn verdict(sides: &Sides) -> (String, Mend) {
    if let Some(sandbox) = sides.sandbox {
        return (sandboxed(sandbox).value, Mend::Sandbox);
    }
    if let Some(refusal) = yama_refusal(sides, &[3, 2]) {
        return refusal;
    }
    if sides.ours.status.is_none() || sides.theirs.status.is_none() {
        return ("the kernel does not even let us look at it".into(), Mend::User);
    }
    if sides.is_capable() {
        let rule = match sides.shares_user_namespace() {
            Some(false) if !sides.are_in_first_user_namespace() => {
                "it is in another user namespace, in which our CAP_SYS_PTRACE does not count"
            }
            None if sides.are_likely_powerless() => {
                "we hold CAP_SYS_PTRACE in a user namespace of our own, in which the process does not seem to be"
            }
            Some(true) => "we hold CAP_SYS_PTRACE and are refused all the same: a security module or a sandbox",
            _ => {
                "we hold CAP_SYS_PTRACE and are refused all the same: another user namespace, a security module or a sandbox"
            }
        };
        return (rule.into(), Mend::Namespace);
    }
    for rule in [user, capabilities, dumpable] {
        let rule = rule(sides);
        if let (Outcome::Refuses, Some(mend)) = (rule.outcome, rule.mend) {
            return (format!("{}, and we lack CAP_SYS_PTRACE", rule.value), mend);
        }
    }
    if let Some(refusal) = yama_refusal(sides, &[1]) {
        return refusal;
    }
    let rule = "same user, yet refused: the process is not dumpable, or a security module or a sandbox refuses";
    (rule.into(), Mend::Capability)
}

fn rule(name: &'static str, value: impl Into<String>, outcome: Outcome, mend: Option<Mend>) -> Rule {
    Rule { name, value: value.into(), outcome, mend }
}

/// A rule of which CAP_SYS_PTRACE exempts.
fn unless_capable(sides: &Sides, refuses: bool, mend: Mend) -> (Outcome, Option<Mend>) {
    match (refuses, sides.is_capable()) {
        (false, _) => (Outcome::Fine, None),
        (true, true) => (Outcome::Told, None),
        (true, false) => (Outcome::Refuses, Some(mend)),
    }
}

fn user(sides: &Sides) -> Rule {
    let Some(is_same) = sides.is_same_user() else {
        return rule("user", "it cannot be looked at", Outcome::MayRefuse, Some(Mend::User));
    };
    let (outcome, mend) = unless_capable(sides, !is_same, Mend::User);
    let of = |status: Option<&Status>, ids: fn(&Status) -> &[u32]| {
        status.and_then(|status| ids(status).get(1)).map_or("unknown".into(), u32::to_string)
    };
    let users: [String; 2] = [&sides.theirs, &sides.ours].map(|side| of(side.status.as_ref(), |status| &status.uids));
    let groups: [String; 2] = [&sides.theirs, &sides.ours].map(|side| of(side.status.as_ref(), |status| &status.gids));
    let value = match (is_same, users[0] == users[1]) {
        (true, _) => format!("both are user {}, group {}", users[0], groups[0]),
        (false, false) => format!("it runs as user {} (we are {})", users[0], users[1]),
        (false, true) if groups[0] != groups[1] => {
            format!("it runs as user {} with group {} (ours is {})", users[0], groups[0], groups[1])
        }
        (false, true) => format!("it runs as user {} but has kept other ids", users[0]),
    };
    rule("user", value, outcome, mend)
}

fn capabilities(sides: &Sides) -> Rule {
    let Some(missing) = sides.missing() else {
        return rule("capabilities", "it cannot be looked at", Outcome::MayRefuse, Some(Mend::Capability));
    };
    let (outcome, mend) = unless_capable(sides, missing != 0, Mend::Capability);
    let sets = |status: &Status| format!("{:#x}", status.permitted);
    let [theirs, ours] = [&sides.theirs, &sides.ours].map(|side| side.status.as_ref().map(sets).unwrap_or_default());
    let value = match missing {
        0 => format!("it holds none that we lack (its {theirs}, ours {ours})"),
        _ => format!("it holds capabilities that we lack ({missing:#x}: {})", names(missing)),
    };
    rule("capabilities", value, outcome, mend)
}

fn ptrace(sides: &Sides) -> Rule {
    match (sides.is_capable(), sides.shares_user_namespace()) {
        (false, _) => rule("CAP_SYS_PTRACE", "we lack it", Outcome::Told, None),
        (true, Some(true)) => rule("CAP_SYS_PTRACE", "we hold it", Outcome::Fine, None),
        (true, Some(false)) if sides.are_in_first_user_namespace() => {
            rule("CAP_SYS_PTRACE", "we hold it in the first user namespace, so in all", Outcome::Fine, None)
        }
        (true, Some(false)) => rule(
            "CAP_SYS_PTRACE",
            "we hold it in another user namespace, where it counts only if that is around the target's",
            Outcome::MayRefuse,
            Some(Mend::Namespace),
        ),
        (true, None) if sides.are_likely_powerless() => rule(
            "CAP_SYS_PTRACE",
            "we hold it in a user namespace of our own, in which the target does not seem to be",
            Outcome::MayRefuse,
            Some(Mend::Namespace),
        ),
        (true, None) => rule(
            "CAP_SYS_PTRACE",
            "we hold it; whether it counts in the target's user namespace is not told",
            Outcome::MayRefuse,
            Some(Mend::Namespace),
        ),
    }
}

fn dumpable(sides: &Sides) -> Rule {
    let (outcome, mend) = unless_capable(sides, sides.undumpable == Some(true), Mend::Capability);
    match sides.undumpable {
        Some(false) => rule("dumpable", "yes", outcome, mend),
        Some(true) => rule("dumpable", "it is not dumpable (it changed its user, or forbade it)", outcome, mend),
        None => rule("dumpable", "of a process of root's that is not to be seen", Outcome::Told, None),
    }
}

fn yama(sides: &Sides) -> Rule {
    let Some(scope) = sides.yama else {
        return rule("Yama ptrace_scope", "there is none", Outcome::Fine, None);
    };
    match yama_refusal(sides, &[3, 2, 1]) {
        Some((_, mend)) if scope == 1 => rule(
            "Yama ptrace_scope",
            "1: only a parent may read its children, unless they allow others",
            Outcome::MayRefuse,
            Some(mend),
        ),
        Some((value, mend)) => rule("Yama ptrace_scope", value, Outcome::Refuses, Some(mend)),
        None => rule("Yama ptrace_scope", scope.to_string(), Outcome::Fine, None),
    }
}

/// What Yama refuses, if its scope is one of these.
fn yama_refusal(sides: &Sides, scopes: &[u8]) -> Option<(String, Mend)> {
    let scope = sides.yama.filter(|scope| scopes.contains(scope))?;
    match (scope, sides.is_capable()) {
        (3, _) => Some(("the kernel forbids it to everybody (Yama ptrace_scope is 3)".into(), Mend::YamaForever)),
        (2, false) => Some(("Yama ptrace_scope is 2: it takes CAP_SYS_PTRACE".into(), Mend::Capability)),
        (1, false) => Some(("Yama ptrace_scope is 1: only a parent may read its children".into(), Mend::YamaParents)),
        _ => None,
    }
}

fn modules(sides: &Sides) -> Rule {
    let list = sides.modules.as_deref().unwrap_or("not told");
    let label = |label: &Option<String>| label.clone().unwrap_or_else(|| "unlabelled".into());
    match (&sides.ours.label, &sides.theirs.label) {
        (None, None) => rule("security modules", list, Outcome::Told, None),
        (ours, theirs) => {
            let value = format!("{list}; we are {}, it is {}", label(ours), label(theirs));
            let differ = ours != theirs && !ours.as_deref().is_some_and(|label| label.starts_with("unconfined"));
            let (outcome, mend) = match differ {
                true => (Outcome::MayRefuse, Some(Mend::Filter)),
                false => (Outcome::Told, None),
            };
            rule("security modules", value, outcome, mend)
        }
    }
}

/// What a filter forbids is not to be seen: it is tried.
fn seccomp(sides: &Sides) -> Rule {
    match sides.ours.status.as_ref().map_or(0, |status| status.seccomp) {
        0 => rule("seccomp", "none of our system calls is filtered", Outcome::Fine, None),
        _ => rule("seccomp", "our system calls are filtered; what is needed is tried below", Outcome::Told, None),
    }
}

fn tracer(sides: &Sides) -> Rule {
    match &sides.tracer {
        None => rule("other tracer", "none", Outcome::Fine, None),
        Some((pid, name)) => rule(
            "other tracer",
            format!("process {pid} ({name}) traces it: it can be read, but not be stopped for a moment by us"),
            Outcome::Told,
            Some(Mend::Tracer),
        ),
    }
}

fn namespaces(sides: &Sides) -> Option<Rule> {
    let compare = |(i, name): (usize, &&str)| {
        let told = match (&sides.ours.namespaces[i], &sides.theirs.namespaces[i]) {
            (Some(ours), Some(theirs)) if ours == theirs => "ours",
            (Some(_), Some(_)) => "another",
            _ => "not told",
        };
        format!("{name} {told}")
    };
    if sides.theirs.namespaces.iter().all(Option::is_none) && sides.ours.namespaces.iter().all(Option::is_some) {
        let value = "the kernel does not tell us in which it is, as of processes that we may not read";
        return Some(rule("namespaces", value, Outcome::Told, None));
    }
    let compared: Vec<String> = NAMESPACES.iter().enumerate().map(compare).collect();
    Some(rule("namespaces", compared.join(", "), Outcome::Told, None))
}

fn sandboxed(sandbox: Sandbox) -> Rule {
    match sandbox {
        Sandbox::GVisor => rule(
            "sandbox",
            "the kernel is gVisor's, which forbids reading other processes",
            Outcome::Refuses,
            Some(Mend::Sandbox),
        ),
    }
}

/// Names of capabilities, by their numbers in `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities of a set by name, CAP_SYS_PTRACE first; many are only counted.
pub fn names(set: u64) -> String {
    const MOST: usize = 4;
    let mut names: Vec<&str> =
        CAPABILITIES.iter().enumerate().filter(|(number, _)| set & (1 << number) != 0).map(|(_, name)| *name).collect();
    names.sort_by_key(|name| set & CAP_SYS_PTRACE != 0 && *name != "SYS_PTRACE");
    match names.len().saturating_sub(MOST) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Side;
    use super::*;

    fn side(uid: u32, permitted: u64) -> Side {
        let status =
            Status { uids: vec![uid; 4], gids: vec![uid; 4], permitted, effective: permitted, ..Status::default() };
        Side { status: Some(status), ..Side::default() }
    }

    fn sides(ours: Side, theirs: Side, yama: Option<u8>) -> Sides {
        Sides { pid: 7, ours, theirs, yama, ..Sides::default() }
    }

    #[test]
    fn the_rule_that_refuses_is_named() {
        let (root, all) = (side(0, u64::MAX), !CAP_SYS_PTRACE);
        let cases = [
            (side(1000, 0), root.clone(), None, "user 0 (we are 1000)", "sudo"),
            (side(0, all), root.clone(), None, "capabilities that we lack (0x80000: SYS_PTRACE)", "--cap-add"),
            (side(1000, 0), side(1000, 0), Some(1), "ptrace_scope is 1", "record -- CMD"),
            (side(1000, 0), side(1000, 0), Some(2), "ptrace_scope is 2", "sudo"),
            (root.clone(), root.clone(), Some(3), "ptrace_scope is 3", "another host"),
            (root.clone(), root.clone(), None, "we hold CAP_SYS_PTRACE", "where the process runs"),
            (side(1000, 0), side(1000, 0), None, "not dumpable", "sudo"),
            (Side::default(), root, None, "does not even let us look", "sudo"),
        ];
        for (ours, theirs, yama, expected, line) in cases {
            let sides = sides(ours, theirs, yama);
            let (rule, mend) = verdict(&sides);
            assert!(rule.contains(expected), "{rule}");
            assert!(mend.line(&sides).contains(line), "{rule}: {}", mend.line(&sides));
            assert!(!mend.remedies(&sides).is_empty());
        }
    }

    #[test]
    fn root_is_not_told_to_become_root() {
        let all = [Mend::Capability, Mend::User, Mend::YamaParents, Mend::YamaForever, Mend::Namespace, Mend::Filter];
        let of = |uid| sides(side(uid, 0), side(0, u64::MAX), Some(1));
        for mend in all {
            let lines: Vec<String> = mend.remedies(&of(0)).into_iter().map(|remedy| remedy.line).collect();
            assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains("sudo")), "{lines:?}");
            assert!(!mend.line(&of(0)).contains("sudo"), "{}", mend.line(&of(0)));
        }
        let of_a_user = Mend::User.remedies(&of(1000));
        assert_eq!(of_a_user[0].line, "sudo pysample ... --pid 7");
        let sysctl =
            |uid| Mend::YamaParents.remedies(&of(uid)).iter().any(|it| it.line.starts_with("sysctl kernel.yama"));
        assert!(sysctl(0) && !sysctl(1000));
    }

    #[test]
    fn every_rule_has_a_value() {
        let refused = sides(side(1000, 0), side(0, u64::MAX), Some(1));
        let rules = rules(&refused);
        assert!(rules.iter().all(|rule| !rule.value.is_empty()));
        let outcome = |name: &str| rules.iter().find(|rule| rule.name == name).unwrap().outcome;
        assert_eq!((outcome("user"), outcome("capabilities")), (Outcome::Refuses, Outcome::Refuses));
        assert_eq!((outcome("Yama ptrace_scope"), outcome("seccomp")), (Outcome::MayRefuse, Outcome::Fine));
    }

    #[test]
    fn a_capability_exempts_from_what_another_user_may_not() {
        let rules = rules(&sides(side(0, u64::MAX), side(1000, 0), Some(1)));
        assert!(rules.iter().all(|rule| rule.outcome != Outcome::Refuses), "{rules:#?}");
    }

    #[test]
    fn another_user_namespace_is_named() {
        let namespace = |inode: u32| {
            let mut namespaces: [Option<String>; NAMESPACES.len()] = Default::default();
            namespaces[2] = Some(format!("user:[{inode}]"));
            namespaces
        };
        let ours = Side { namespaces: namespace(4_026_532_000), ..side(0, u64::MAX) };
        let theirs = Side { namespaces: namespace(4_026_531_837), ..side(0, u64::MAX) };
        assert!(verdict(&sides(ours.clone(), theirs.clone(), None)).0.contains("another user namespace"));
        // From the first one, the capability counts in all.
        let told = verdict(&sides(theirs.clone(), ours.clone(), None)).0;
        assert!(told.starts_with("we hold CAP_SYS_PTRACE"), "{told}");
        // Where the kernel does not say which it is, that is a sign, unless we are in the first one.
        let unknown = side(0, u64::MAX);
        assert!(verdict(&sides(ours.clone(), unknown.clone(), None)).0.contains("user namespace of our own"));
        assert!(!verdict(&sides(theirs, unknown.clone(), None)).0.contains("of our own"));
        let rules = rules(&sides(ours, unknown, None));
        let mends = |rule: &&Rule| rule.name == "CAP_SYS_PTRACE" && rule.mend == Some(Mend::Namespace);
        assert!(rules.iter().any(|rule| mends(&rule)), "{rules:#?}");
    }

    /// Nobody can enter a namespace around his own, and a filter that allows two calls allows no others.
    #[test]
    fn no_line_makes_it_worse_or_cannot_be_followed() {
        let sides = sides(side(0, u64::MAX), side(0, u64::MAX), None);
        let lines = [Mend::Namespace, Mend::Filter].map(|mend| mend.remedies(&sides)).concat();
        assert!(lines.iter().all(|remedy| !remedy.line.contains("nsenter")), "{lines:#?}");
        assert!(lines.iter().any(|remedy| remedy.line.contains("on the host, as root: pysample")), "{lines:#?}");
        assert!(lines.iter().all(|remedy| !remedy.line.starts_with("SystemCallFilter=")), "{lines:#?}");
    }

    #[test]
    fn a_sandbox_is_named_before_all_else() {
        let sides = Sides { sandbox: Some(Sandbox::GVisor), ..sides(side(0, 0), side(0, 0), Some(3)) };
        assert!(verdict(&sides).0.contains("gVisor"));
    }

    #[test]
    fn capabilities_are_named_and_many_are_counted() {
        assert_eq!(names(CAP_SYS_PTRACE), "SYS_PTRACE");
        assert_eq!(names(0b1011 | CAP_SYS_PTRACE), "SYS_PTRACE, CHOWN, DAC_OVERRIDE, FOWNER");
        assert_eq!(names(0b1_1111 | CAP_SYS_PTRACE), "SYS_PTRACE, CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and 2 more");
    }
}
