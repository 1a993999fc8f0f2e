//! Control groups, version 1 and 2: which container, pod or unit a process belongs to, how much of the processors it may
//! use and whether that is too little for it, and whether it is frozen.

mod cpu;

use std::fs;
use std::path::{Path, PathBuf};

pub use cpu::{Counts, Limits, Throttling, cpu_limit};

/// The groups of a process: the lines of `/proc/PID/cgroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    lines: Vec<Line>,
}

/// One hierarchy, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// The controllers of version 1; empty for version 2.
    controllers: Vec<String>,
    path: String,
}

/// What a process runs in, as its control group is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// What runs the container: docker, containerd, cri-o, podman, ...
    pub engine: Option<&'static str>,
    /// The container's id, 64 hexadecimal digits; of LXC its name.
    pub id: Option<String>,
    /// The UID of its Kubernetes pod.
    pub pod: Option<String>,
    /// The unit of systemd that it belongs to, where it is in no container.
    pub unit: Option<String>,
}

impl Groups {
    /// The groups of a process; none where they cannot be seen.
    pub fn of(process: &str) -> Groups {
        Groups::parse(&fs::read(format!("/proc/{process}/cgroup")).unwrap_or_default())
    }

    fn parse(bytes: &[u8]) -> Groups {
        let text = String::from_utf8_lossy(bytes);
        let line = |line: &str| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Some(Line { controllers, path: path.to_owned() })
        };
        Groups { lines: text.lines().filter_map(line).collect() }
    }

    /// The group of a controller: of version 1 where that has it, else of version 2.
    fn path(&self, controller: &str) -> Option<(Version, &str)> {
        let old = self.lines.iter().find(|line| line.controllers.iter().any(|name| name == controller));
        let new = || self.lines.iter().find(|line| line.controllers.is_empty());
        old.map(|line| (Version::One, line.path.as_str())).or_else(|| Some((Version::Two, new()?.path.as_str())))
    }

    /// What the process runs in; `None` if nothing of its groups tells.
    pub fn container(&self) -> Option<Container> {
        let found = self.lines.iter().map(|line| Container::in_path(&line.path));
        found.max_by_key(Container::tells).filter(|container| container.tells() > 0)
    }
}

/// The engines, by what their groups are called; the first that matches.
const ENGINES: [(&str, &str); 8] = [
    ("cri-containerd-", "containerd"),
    ("docker-", "docker"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nspawn-", "systemd-nspawn"),
    ("docker", "docker"),
    ("lxc.payload.", "lxc"),
    ("machine-", "machined"),
];

impl Container {
    /// How much it tells.
    fn tells(&self) -> usize {
        let parts = [self.id.is_some(), self.pod.is_some(), self.engine.is_some(), self.unit.is_some()];
        parts.iter().zip([8, 4, 2, 1]).map(|(is_known, weight)| usize::from(*is_known) * weight).sum()
    }

    /// Reads a path such as `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID>.slice/cri-containerd-<ID>.scope`,
    /// `/kubepods/burstable/pod<UID>/<ID>`, `/docker/<ID>` or `/system.slice/app.service`.
    fn in_path(path: &str) -> Container {
        let mut container = Container::default();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
            let name = part.strip_suffix(".scope").or_else(|| part.strip_suffix(".slice")).unwrap_or(part);
            if let Some(uid) = pod_uid(name, path) {
                container.pod = Some(uid);
                continue;
            }
            // containerd without systemd writes `slice:engine:id`.
            let name = name.rsplit(':').next().unwrap_or(name);
            let (engine, rest) = engine_of(name);
            if is_container_id(rest) {
                // An engine that is known already is that of this id, unless that of another around it.
                let around = container.id.replace(rest.to_owned());
                container.engine = engine.or(container.engine.filter(|_| around.is_none()));
            } else if engine.is_some() && (name == "docker" || name.starts_with("lxc.payload.")) {
                container.engine = engine;
                container.id = name.strip_prefix("lxc.payload.").map(str::to_owned);
            }
            if part.contains(":cri-containerd:") {
                container.engine = Some("containerd");
            }
            if part.ends_with(".service") {
                container.unit = Some(unescaped(part));
            }
        }
        if container.id.is_some() {
            container.unit = None;
        } else if container.pod.is_none() {
            container.engine = None;
        }
        container
    }

    /// In a few words: the engine, the id's first twelve digits, the pod.
    pub fn to_text(&self) -> String {
        let id = self.id.as_deref().map(|id| match is_hexadecimal(id) {
            true => id.get(..12).unwrap_or(id),
            false => id,
        });
        let container = match (self.engine, id) {
            (Some(engine), Some(id)) => Some(format!("{engine} {id}")),
            (None, Some(id)) => Some(format!("container {id}")),
            _ => None,
        };
        let pod = self.pod.as_ref().map(|pod| format!("pod {pod}"));
        let parts: Vec<String> = [container, pod, self.unit.clone()].into_iter().flatten().collect();
        parts.join(", ")
    }
}

fn engine_of(name: &str) -> (Option<&'static str>, &str) {
    for (prefix, engine) in ENGINES {
        if let Some(rest) = name.strip_prefix(prefix) {
            return (Some(engine), rest);
        }
    }
    (None, name)
}

/// The UID in `kubepods-burstable-pod0a1b_...` or `pod0a1b-...`; systemd's slices have underscores for its dashes.
fn pod_uid(name: &str, path: &str) -> Option<String> {
    if !path.contains("kubepods") {
        return None;
    }
    let at = if name.starts_with("pod") { 0 } else { name.rfind("-pod")? + 1 };
    let uid = name[at + 3..].replace('_', "-");
    let is_uid = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_uid.then_some(uid)
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// systemd writes a dash in a unit's name as `\x2d`.
fn unescaped(unit: &str) -> String {
    unit.replace("\\x2d", "-")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where hierarchies of control groups are mounted: the lines of `/proc/self/mountinfo` that are of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The group that is seen at the mount point.
    root: String,
    at: PathBuf,
    version: Version,
    /// Of version 1: its controllers, among other options.
    options: Vec<String>,
}

impl Mounts {
    /// Those that we see.
    pub fn ours() -> Mounts {
        Mounts::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default(), Path::new("/"))
    }

    /// `base` is put before each mount point.
    fn parse(bytes: &[u8], base: &Path) -> Mounts {
        let text = String::from_utf8_lossy(bytes);
        let mount = |line: &str| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, at) = (left.next()?, base.join(left.next()?.trim_start_matches('/')));
            let mut right = right.split(' ');
            let version = match right.next()? {
                "cgroup" => Some(Version::One),
                "cgroup2" => Some(Version::Two),
                _ => None,
            };
            let options = right.nth(1)?.split(',').map(str::to_owned).collect();
            let mount = version.map(|version| Mount { root: root.to_owned(), at: at.clone(), version, options });
            Some((at, mount))
        };
        let mut mounts = Mounts::default();
        for (at, mount) in text.lines().filter_map(mount) {
            // It covers what was mounted there before.
            mounts.0.retain(|covered| covered.at != at);
            mounts.0.extend(mount);
        }
        mounts
    }

    fn find(&self, controller: &str, version: Version) -> Option<&Mount> {
        let has = |mount: &&Mount| {
            mount.version == version && (version == Version::Two || mount.options.iter().any(|o| o == controller))
        };
        self.0.iter().find(has)
    }

    /// Whether a group is in the part of the hierarchy that is mounted here. Where it is not, what [`Mounts::folders`] finds
    /// may be our own.
    fn show(&self, controller: &str, (version, path): (Version, &str)) -> bool {
        let Some(mount) = self.find(controller, version) else { return false };
        let below = path.strip_prefix(mount.root.trim_end_matches('/'));
        below.is_some_and(|below| {
            below.is_empty() || below.starts_with('/') && !below.split('/').any(|part| part == "..")
        })
    }

    /// The folder of a group and those of the groups around it, the innermost first.
    fn folders(&self, controller: &str, (version, path): (Version, &str)) -> Vec<PathBuf> {
        let Some(mount) = self.find(controller, version) else { return Vec::new() };
        // A mount may show a part of the hierarchy only; then the path has the part before it, or not.
        let below = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(path);
        let below = Path::new(below.trim_start_matches('/'));
        if below.components().any(|part| part.as_os_str() == "..") {
            return vec![mount.at.clone()];
        }
        let folder = mount.at.join(below);
        let within = |folder: &&Path| folder.starts_with(&mount.at);
        folder.ancestors().take_while(within).map(Path::to_owned).collect()
    }
}

/// Whether a group of a process is frozen, so that nothing of it runs.
pub fn is_frozen(groups: &Groups, mounts: &Mounts) -> bool {
    let says = |folder: &Path, name: &str, wanted: &str| {
        fs::read_to_string(folder.join(name)).is_ok_and(|text| text.lines().any(|line| line.trim() == wanted))
    };
    let of = |version, path| mounts.folders("freezer", (version, path));
    groups.lines.iter().any(|line| match line.controllers.as_slice() {
        [] => of(Version::Two, &line.path).iter().any(|folder| says(folder, "cgroup.freeze", "1")),
        names if names.iter().any(|name| name == "freezer") => {
            of(Version::One, &line.path).first().is_some_and(|folder| says(folder, "freezer.state", "FROZEN"))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071829";
    const UID: &str = "0d7a4f9c-1b2e-4c3d-8e5f-6a7b8c9d0e1f";

    fn container(cgroup: &str) -> Option<Container> {
        let text = cgroup.replace("ID", ID).replace("UNDERSCORED", &UID.replace('-', "_")).replace("DASHED", UID);
        Groups::parse(text.as_bytes()).container()
    }

    #[test]
    fn containers_are_told_by_what_their_groups_are_called() {
        let cases = [
            ("0::/system.slice/docker-ID.scope", Some("docker"), None),
            ("12:cpu,cpuacct:/docker/ID\n1:name=systemd:/docker/ID", Some("docker"), None),
            (
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNDERSCORED.slice/cri-containerd-ID.scope",
                Some("containerd"),
                Some(UID),
            ),
            ("0::/kubepods.slice/kubepods-podUNDERSCORED.slice/crio-ID.scope", Some("cri-o"), Some(UID)),
            ("4:memory:/kubepods/besteffort/podDASHED/ID", None, Some(UID)),
            (
                "0::/system.slice/containerd.service/kubepods-burstable-podUNDERSCORED.slice:cri-containerd:ID",
                Some("containerd"),
                None,
            ),
            ("0::/machine.slice/libpod-ID.scope/container", Some("podman"), None),
            (
                "0::/../../kubepods-burstable-podUNDERSCORED.slice/cri-containerd-ID.scope",
                Some("containerd"),
                Some(UID),
            ),
        ];
        for (cgroup, engine, pod) in cases {
            let found = container(cgroup).unwrap_or_else(|| panic!("{cgroup}: none"));
            assert_eq!(
                (found.engine, found.id.as_deref(), found.unit.as_deref()),
                (engine, Some(ID), None),
                "{cgroup}"
            );
            assert_eq!(found.pod.as_deref(), pod, "{cgroup}");
        }
    }

    #[test]
    fn of_containers_in_each_other_the_innermost_is_told_with_its_own_engine() {
        let outer = "a".repeat(64);
        let text = |cgroup: &str| container(&cgroup.replace("OUTER", &outer)).unwrap().to_text();
        let kind = "0::/docker/OUTER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNDERSCORED.slice/cri-containerd-ID.scope";
        assert_eq!(text(kind), format!("containerd 3f4b5c6d7e8f, pod {UID}"));
        assert_eq!(text("0::/docker/OUTER/kubepods/podDASHED/ID"), format!("container 3f4b5c6d7e8f, pod {UID}"));
        assert_eq!(text("0::/kubepods/podDASHED/OUTER/docker/ID"), format!("docker 3f4b5c6d7e8f, pod {UID}"));
        assert_eq!(text("0::/machine.slice/libpod-OUTER.scope/docker-ID.scope"), "docker 3f4b5c6d7e8f");
    }

    #[test]
    fn a_unit_is_told_where_there_is_no_container() {
        let unit = |cgroup| container(cgroup).and_then(|found| found.unit);
        assert_eq!(unit("0::/system.slice/web\\x2dapp.service").as_deref(), Some("web-app.service"));
        assert_eq!(
            unit("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service").as_deref(),
            Some("x.service")
        );
        assert_eq!(container("0::/user.slice/user-0.slice/session-1.scope\n1:cpu:/"), None);
        assert_eq!(container("0::/\n"), None);
        assert_eq!(container("nonsense"), None);
    }

    #[test]
    fn a_container_is_told_in_a_few_words() {
        let text = |cgroup| container(cgroup).unwrap().to_text();
        assert_eq!(text("0::/docker/ID"), "docker 3f4b5c6d7e8f");
        assert_eq!(text("0::/kubepods/podDASHED/ID"), format!("container 3f4b5c6d7e8f, pod {UID}"));
        assert_eq!(text("0::/system.slice/cron.service"), "cron.service");
        assert_eq!(text("0::/lxc.payload.web/init.scope"), "lxc web");
    }

    /// A machine's folders in a folder of the test's.
    pub(super) fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(super) const BOTH: &str = "\
30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 24 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
33 24 0:29 / /proc rw - proc proc rw
";

    #[test]
    fn a_group_is_frozen_with_those_around_it() {
        let folder = machine(&[
            ("sys/fs/cgroup/unified/pod/cgroup.freeze", "1\n"),
            ("sys/fs/cgroup/unified/pod/app/cgroup.freeze", "0\n"),
            ("sys/fs/cgroup/freezer/job/freezer.state", "FROZEN\n"),
        ]);
        let mounts = Mounts::parse(BOTH.as_bytes(), folder.path());
        let frozen = |cgroup: &str| is_frozen(&Groups::parse(cgroup.as_bytes()), &mounts);
        assert!(frozen("0::/pod/app") && frozen("6:freezer:/job\n0::/"));
        assert!(!frozen("0::/other") && !frozen("6:freezer:/\n0::/"));
    }
}
