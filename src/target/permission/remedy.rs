//! The lines that mend a refusal, for the places that a program runs in.

use serde::Serialize;

use super::Sides;

/// What has to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// We lack CAP_SYS_PTRACE.
    Capability,
    /// We are not the target's user.
    User,
    /// Yama lets only parents read.
    YamaParents,
    /// Yama lets nobody read, until the machine is started again.
    YamaForever,
    /// We are outside of the namespaces in which our rights would count.
    Namespace,
    /// A security module, or a filter for system calls.
    Filter,
    /// The kernel is one that lets nobody read another process.
    Sandbox,
    /// Another program traces the target.
    Tracer,
}

/// Where a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A shell on the machine.
    Shell,
    /// Docker, and engines that take the same arguments.
    Docker,
    /// Kubernetes.
    Kubernetes,
    /// A unit of systemd.
    Systemd,
}

impl Place {
    /// What it is called.
    pub fn text(self) -> &'static str {
        match self {
            Place::Shell => "shell",
            Place::Docker => "Docker",
            Place::Kubernetes => "Kubernetes",
            Place::Systemd => "systemd",
        }
    }
}

/// A line that mends a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Where it is for.
    pub place: Place,
    /// The line.
    pub line: String,
}

impl Mend {
    /// The lines that mend it, for each place where there is one. Who is root needs no `sudo`, and gains nothing by it.
    pub fn remedies(self, sides: &Sides) -> Vec<Remedy> {
        let pid = sides.pid;
        let mut remedies = self.remedies_of_a_user(pid);
        if sides.are_root() {
            let become_root = format!("sudo pysample ... --pid {pid}");
            remedies.retain(|remedy| remedy.line != become_root);
            for remedy in &mut remedies {
                remedy.line = remedy.line.trim_start_matches("sudo ").into();
            }
        }
        remedies
    }

    fn remedies_of_a_user(self, pid: u32) -> Vec<Remedy> {
        let of = |lines: &[(Place, String)]| {
            lines.iter().map(|(place, line)| Remedy { place: *place, line: line.clone() }).collect()
        };
        let shell = (Place::Shell, format!("sudo pysample ... --pid {pid}"));
        let debug = "kubectl debug -it POD --image=PYSAMPLE --profile=general --target=CONTAINER -- pysample ...";
        match self {
            Mend::Capability | Mend::User => of(&[
                shell,
                (Place::Docker, "docker run --cap-add SYS_PTRACE --pid container:NAME PYSAMPLE ...".into()),
                (Place::Kubernetes, debug.into()),
                (Place::Systemd, "systemd-run --pty -p AmbientCapabilities=CAP_SYS_PTRACE pysample ...".into()),
            ]),
            Mend::YamaParents => of(&[
                shell,
                (Place::Shell, "sudo sysctl kernel.yama.ptrace_scope=0".into()),
                (Place::Shell, "pysample record -- COMMAND   (a parent may read its children)".into()),
                (Place::Docker, "docker run --cap-add SYS_PTRACE --pid container:NAME PYSAMPLE ...".into()),
                (Place::Kubernetes, debug.into()),
                (Place::Systemd, "systemd-run --pty -p AmbientCapabilities=CAP_SYS_PTRACE pysample ...".into()),
            ]),
            Mend::YamaForever => of(&[(
                Place::Shell,
                "set kernel.yama.ptrace_scope below 3 in /etc/sysctl.d and start the machine again".into(),
            )]),
            Mend::Namespace => of(&[
                // Nobody enters a user namespace around his own.
                (
                    Place::Shell,
                    "on the host, as root: pysample ... --pid PID   (the id that `pysample ps` gives there)".into(),
                ),
                (Place::Docker, "docker run --userns=host --pid=host --cap-add SYS_PTRACE PYSAMPLE ...".into()),
                (Place::Kubernetes, debug.into()),
            ]),
            Mend::Filter => of(&[
                (
                    Place::Docker,
                    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined ...".into(),
                ),
                (
                    Place::Kubernetes,
                    "securityContext: {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}".into(),
                ),
                (
                    Place::Systemd,
                    "after the unit's own SystemCallFilter=: SystemCallFilter=process_vm_readv ptrace   (alone it would \
                     forbid all else)"
                        .into(),
                ),
            ]),
            Mend::Sandbox => {
                of(&[(Place::Kubernetes, "run the pod without a runtimeClassName that puts it into a sandbox".into())])
            }
            Mend::Tracer => of(&[(Place::Shell, "end the other tracer, or go on with --never-pause".into())]),
        }
    }

    /// The one line that is likeliest to be of use.
    pub fn line(self, sides: &Sides) -> String {
        const AS_ROOT: &str = "run it as root: sudo pysample ...";
        const GRANT: &str =
            "grant the capability: `docker run --cap-add SYS_PTRACE`, or `kubectl debug --profile=general`";
        let are_root = sides.are_root();
        match self {
            Mend::Capability | Mend::User if are_root => GRANT.into(),
            Mend::YamaParents if are_root => format!("{GRANT}, or start the program with `pysample record -- CMD`"),
            Mend::Capability => AS_ROOT.into(),
            Mend::User => match sides.theirs.status.as_ref().and_then(|status| status.uids.get(1)) {
                Some(user) => format!("{AS_ROOT} (or as user {user})"),
                None => AS_ROOT.into(),
            },
            Mend::YamaParents => format!("{AS_ROOT}, or start the program with `pysample record -- CMD`"),
            Mend::YamaForever => {
                "the setting holds until the next boot; start the program with `pysample record -- CMD` on another host"
                    .into()
            }
            Mend::Namespace => "run pysample where the process runs: in its container, or as root of its host".into(),
            Mend::Filter => {
                "run pysample where the process runs: in its container, or as root of its host, and without the filter"
                    .into()
            }
            Mend::Sandbox => "run the program where the kernel is not a sandbox's".into(),
            Mend::Tracer => "end the other tracer, or go on with --never-pause".into(),
        }
    }
}
