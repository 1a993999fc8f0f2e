//! The text of source files, for formats that show it: as the process that was recorded has them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use pysample::target::{Target, keeps_its_ending};

/// Files larger than this are not read: a source file is not, and the name came from somebody else.
const LARGEST: u64 = 4 << 20;

/// Where the files of a process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Where ours are.
    Ours,
    /// Where it has them, as long as it lives.
    Of(u32),
}

impl Sources {
    /// Those of a process that lives.
    pub fn of(pid: u32) -> Sources {
        let root = |pid: &str| {
            let namespace = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
            let root = fs::metadata(format!("/proc/{pid}/root/")).ok()?;
            Some((namespace, root.dev(), root.ino()))
        };
        match root("self").is_some_and(|ours| root(&pid.to_string()) == Some(ours)) {
            true => Sources::Ours,
            false => Sources::Of(pid),
        }
    }

    /// The text of a file, by `co_filename`; `None` where it cannot be had. Only files of Python's are read: a recording
    /// names what it pleases, and what it names is shown.
    pub fn text(self, file: &str) -> Option<String> {
        match self {
            _ if !file.ends_with(".py") => None,
            Sources::Ours if file.starts_with('/') => read(file),
            Sources::Ours => None,
            Sources::Of(pid) => Some(Target::attach(pid).ok()?.source_lines(file)?.join("\n")),
        }
    }
}

fn read(name: &str) -> Option<String> {
    // To open what is no file may block, or do something.
    let is_file = |there: fs::Metadata| there.is_file() && there.len() <= LARGEST;
    let file = fs::metadata(name).is_ok_and(is_file).then(|| File::open(name).ok())??;
    let mut bytes = Vec::new();
    keeps_its_ending(&file, name).then(|| file.take(LARGEST).read_to_end(&mut bytes).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_files_are_ours() {
        assert_eq!(Sources::of(std::process::id()), Sources::Ours);
    }

    #[test]
    fn only_files_by_their_whole_name_are_read() {
        let file = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
        fs::write(file.path(), "x = 1\n").unwrap();
        assert_eq!(Sources::Ours.text(file.path().to_str().unwrap()).as_deref(), Some("x = 1\n"));
        assert_eq!(Sources::Ours.text("/dev/zero"), None);
        assert_eq!(Sources::Ours.text("setup.py"), None);
        assert_eq!(Sources::Ours.text("/etc/passwd"), None);
    }

    #[test]
    fn a_link_leads_to_a_source_file_or_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        fs::write(path("secret"), "x").unwrap();
        fs::write(path("real.py"), "x = 1\n").unwrap();
        for (link, to, text) in [("a.py", "secret", None), ("b.py", "real.py", Some("x = 1\n")), ("c.py", "a.py", None)]
        {
            std::os::unix::fs::symlink(path(to), path(link)).unwrap();
            assert_eq!(Sources::Ours.text(&path(link)).as_deref(), text, "{link}");
        }
    }
}
