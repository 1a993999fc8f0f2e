//! Lines of source files, kept so that each file is read once.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustc_hash::FxHashMap;

/// Files larger than this are not read: a source file is not, and the name came from the target.
const LARGEST: u64 = 4 << 20;

/// Of longer lines the beginning is kept: they were made by programs, and nobody reads them to the end.
const LONGEST_LINE: usize = 1000;

/// Whether what was opened by a name that ends in `.py` has such a name itself. A link may lead anywhere: whoever may read less
/// than we do must not have us show what it leads to.
pub fn keeps_its_ending(opened: &File, name: &str) -> bool {
    let is_source = |path: &Path| path.extension().is_some_and(|ending| ending == "py");
    !is_source(Path::new(name))
        || fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).is_ok_and(|path| is_source(&path))
}

/// The source files read so far.
#[derive(Default)]
pub struct SourceFiles {
    files: FxHashMap<String, Option<Vec<String>>>,
}

impl SourceFiles {
    /// Line `line` (from 1) of `file`, trimmed; `open` is asked for the file at its first use.
    pub fn line(&mut self, file: &str, line: u32, open: impl FnOnce() -> Option<File>) -> Option<String> {
        let text = self.lines(file, open)?.get(usize::try_from(line.checked_sub(1)?).ok()?)?;
        Some(text.trim().to_owned())
    }

    /// The lines of `file`; `open` is asked for the file at its first use.
    pub fn lines(&mut self, file: &str, open: impl FnOnce() -> Option<File>) -> Option<&[String]> {
        if !self.files.contains_key(file) {
            self.files.insert(file.to_owned(), open().and_then(lines));
        }
        self.files.get(file)?.as_deref()
    }
}

fn lines(file: File) -> Option<Vec<String>> {
    if file.metadata().ok()?.len() > LARGEST {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).lines().map(beginning).collect())
}

/// A line, or as much of it as is kept, and a mark.
fn beginning(line: &str) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn lines_count_from_one_and_are_trimmed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"first\n    second \r\n\xff\n").unwrap();
        file.rewind().unwrap();
        let mut files = SourceFiles::default();
        assert_eq!(files.line("x", 2, || Some(file)).as_deref(), Some("second"));
        assert_eq!(files.line("x", 1, || unreachable!()).as_deref(), Some("first"));
        assert_eq!(files.line("x", 3, || unreachable!()).as_deref(), Some("\u{fffd}"));
        assert_eq!(files.line("x", 0, || unreachable!()), None);
        assert_eq!(files.line("x", 4, || unreachable!()), None);
        assert_eq!(files.line("y", 1, || None), None);
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_kept() {
        let kept = "ä".repeat(LONGEST_LINE);
        assert_eq!(beginning(&format!("{kept}  \r")), kept);
        assert_eq!(beginning(&format!("{kept}ä")), format!("{kept}…"));
    }
}
