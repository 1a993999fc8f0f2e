//! Where a profile goes. It is checked before anything is recorded, and a file appears whole or not at all: what is
//! written goes to a temporary file beside it that then takes its name. What is written is left to `export`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result};

/// So many symbolic links in a row make a circle, as for the kernel.
const MOST_LINKS: usize = 40;

/// What standard output is also called. It is written to as it is open: it may be a file that others write to, too.
const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// A place that a profile can be written to, as far as can be known beforehand.
#[derive(Debug)]
pub struct Output {
    /// As the user spelled it, for messages.
    path: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Standard output.
    Stdout,
    /// A regular file or none yet: a temporary file takes this name.
    Replace(PathBuf),
    /// A regular file in a folder that takes no new ones: written over.
    Overwrite(PathBuf),
    /// A device, a pipe: opened at once, written through.
    Through(File),
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Output {
        Output { path: "standard output".into(), way: Way::Stdout }
    }

    /// Standard output, for a profile. Where it is `/dev/null`, open as that is which takes the place of a standard output that
    /// was closed, it is called so: all that is written is lost.
    pub fn kept_stdout() -> Output {
        match was_closed(&io::stdout()) {
            true => Output { path: "nowhere: standard output is closed, or /dev/null".into(), ..Output::stdout() },
            false => Output::stdout(),
        }
    }

    /// Checks that `path` can be written, and leaves no trace of that. Waits for a reader if it is a FIFO.
    pub fn file(path: &Path) -> Result<Output> {
        if STDOUT.iter().any(|name| path == Path::new(name)) {
            return Ok(Output::kept_stdout());
        }
        match way_to(path) {
            Ok(way) => Ok(Output { path: path.into(), way }),
            Err(source) => Err(Error::Output { path: path.into(), source }),
        }
    }

    /// Checks that new files can be made in `folder`, for a name that is not known yet.
    pub fn check_folder(folder: &Path) -> Result<()> {
        probe(folder).map_err(|source| Error::Output { path: folder.into(), source })
    }

    /// Whether writing may take as long as somebody who reads at the other end.
    pub fn may_wait(&self) -> bool {
        matches!(self.way, Way::Stdout | Way::Through(_))
    }

    /// As the user spelled it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder in which a file is to be.
    pub fn folder(&self) -> Option<&Path> {
        match &self.way {
            Way::Replace(target) | Way::Overwrite(target) => Some(folder_of(target)),
            Way::Stdout | Way::Through(_) => None,
        }
    }

    /// Why it could not be written.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::Output { path: self.path.clone(), source }
    }

    /// Opens it at once, under its own name, for what is to be there as far as it goes whatever happens. What was there is
    /// gone. While it is open nobody else's output can be the same file.
    pub fn stream(self) -> Result<File> {
        let opened = match self.way {
            Way::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Way::Through(file) => Ok(file),
            Way::Replace(target) | Way::Overwrite(target) => {
                OpenOptions::new().write(true).create(true).truncate(false).open(target).and_then(|file| {
                    lock(&file)?;
                    file.set_len(0)?;
                    Ok(file)
                })
            }
        };
        opened.map_err(|source| Error::Output { path: self.path, source })
    }

    /// Writes what `fill` writes. A reader of standard output that has seen enough is no failure.
    pub fn write(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Written> {
        let to_reader = matches!(self.way, Way::Stdout);
        let written = match self.way {
            Way::Stdout => fill_buffered(&mut io::stdout().lock(), fill),
            Way::Replace(target) => replace(&target, fill),
            Way::Overwrite(target) => overwrite(&target, fill),
            Way::Through(mut file) => fill_buffered(&mut file, fill),
        };
        match written {
            Ok(()) => Ok(Written::Whole),
            Err(error) if to_reader && error.kind() == ErrorKind::BrokenPipe => Ok(Written::UntilClosed),
            Err(source) => Err(Error::Output { path: self.path, source }),
        }
    }
}

/// Writes what `fill` writes to a new file among the temporary ones, for what cannot be written where it was to be. Only we may
/// read it, and its name is `stem`, something that nobody has yet, and `.ending`. Where it is.
///
/// # Errors
///
/// What the kernel says; there is no file then.
pub fn write_elsewhere(
    stem: &str,
    ending: &str,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let (stem, ending) = (format!("{stem}-"), format!(".{ending}"));
    let mut file = Builder::new().prefix(&stem).suffix(&ending).tempfile()?;
    fill_buffered(file.as_file_mut(), fill)?;
    file.as_file().sync_all()?;
    let (_, path) = file.keep().map_err(|refused| refused.error)?;
    Ok(path)
}

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it.
    Whole,
    /// What the reader of standard output wanted to see before it closed its end.
    UntilClosed,
}

fn way_to(path: &Path) -> io::Result<Way> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(ErrorKind::IsADirectory.into());
    }
    let target = follow(path)?;
    match fs::metadata(&target) {
        Ok(there) if there.is_dir() => Err(rustix::io::Errno::ISDIR.into()),
        Ok(there) if there.is_file() => way_to_existing(target),
        Ok(_) => OpenOptions::new().write(true).open(&target).map(Way::Through),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            probe(folder_of(&target))?;
            Ok(Way::Replace(target))
        }
        Err(error) => Err(error),
    }
}

/// A file that must not be written is not replaced either, even where the folder would allow it.
fn way_to_existing(target: PathBuf) -> io::Result<Way> {
    lock(&OpenOptions::new().write(true).open(&target)?)?;
    Ok(match probe(folder_of(&target)) {
        Ok(()) => Way::Replace(target),
        Err(_) => Way::Overwrite(target),
    })
}

/// Takes a file for ourselves, as long as it is open. A file system that knows no locks has no say.
fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(io::Error::new(ErrorKind::ResourceBusy, "another pysample is recording to it"))
        }
        _ => Ok(()),
    }
}

/// Where `path` leads if it is a symbolic link, be there a file yet or not.
///
/// Links below `/proc` lead to what is open, whatever the name says that they have; they are opened as they are.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_symlink() && fs::metadata(&path).is_ok_and(|end| !end.is_file()) => return Ok(path),
            Ok(there) if there.is_symlink() => path = folder_of(&path).join(fs::read_link(&path)?),
            _ => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Whether a stream leads to `/dev/null` for reading and writing, as Rust's runtime opens it in place of one that is closed. A
/// shell's `> /dev/null` is for writing only.
fn was_closed(stream: &impl AsFd) -> bool {
    let null = rustix::fs::makedev(1, 3);
    let is_null = rustix::fs::fstat(stream).is_ok_and(|there| there.st_rdev == null);
    is_null && rustix::fs::fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a temporary file in `folder` and removes it again.
fn probe(folder: &Path) -> io::Result<()> {
    temporary(folder)?.close()
}

/// A file with the permissions that a new file gets here: `umask` is the kernel's to apply.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let make = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(path);
    Builder::new().prefix(".pysample-").make_in(folder, make)
}

fn replace(target: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = temporary(folder_of(target))?;
    fill_buffered(file.as_file_mut(), fill)?;
    if let Ok(old) = fs::metadata(target) {
        // The new file is as readable as the one it replaces. To give it to the old one's owner takes privilege.
        let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
        file.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.as_file().sync_all()?;
    match file.persist(target) {
        Ok(_) => Ok(()),
        // A file that is a mount point or belongs to another user in a sticky folder cannot be renamed over.
        Err(refused) if target.exists() => copy_over(refused.file, target),
        Err(refused) => Err(refused.error),
    }
}

fn copy_over(mut from: NamedTempFile, target: &Path) -> io::Result<()> {
    from.as_file_mut().rewind()?;
    overwrite(target, |out| io::copy(from.as_file_mut(), out).map(drop))
}

fn overwrite(target: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(target)?;
    fill_buffered(&mut file, fill)?;
    file.sync_all()
}

fn fill_buffered(out: &mut impl Write, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    fill(&mut out)?;
    out.flush()?;
    out.get_mut().flush()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(path: &Path, text: &str) -> Result<Written> {
        Output::file(path)?.write(|out| out.write_all(text.as_bytes()))
    }

    fn refused(path: &Path) -> String {
        Output::file(path).unwrap_err().to_string()
    }

    #[test]
    fn checking_leaves_nothing_behind() {
        let folder = folder();
        Output::file(&folder.path().join("new.txt")).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_file_is_made_and_replaced() {
        let folder = folder();
        let path = folder.path().join("a.txt");
        write(&path, "one, which is longer").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = folder();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let failed = Output::file(&path).unwrap().write(|out| {
            out.write_all(&[b'x'; 1 << 20])?;
            Err(ErrorKind::StorageFull.into())
        });
        assert!(matches!(failed, Err(Error::Output { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_half_way_makes_no_file() {
        let folder = folder();
        let output = Output::file(&folder.path().join("a.txt")).unwrap();
        output.write(|_| Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_permissions() {
        let folder = folder();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_symbolic_link_stays_and_its_target_is_written() {
        let folder = folder();
        fs::create_dir(folder.path().join("sub")).unwrap();
        symlink("sub/b.txt", folder.path().join("a.txt")).unwrap();
        for text in ["new", "newer"] {
            write(&folder.path().join("a.txt"), text).unwrap();
            assert!(fs::symlink_metadata(folder.path().join("a.txt")).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(folder.path().join("sub/b.txt")).unwrap(), text);
        }
    }

    #[test]
    fn what_is_streamed_is_there_at_once() {
        let folder = folder();
        let path = folder.path().join("a.pysample");
        fs::write(&path, "old and longer").unwrap();
        let mut stream = Output::file(&path).unwrap().stream().unwrap();
        stream.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["a.pysample"]);
    }

    #[test]
    fn what_is_streamed_to_is_nobody_elses_until_it_is_closed() {
        let folder = folder();
        let path = folder.path().join("a.pysample");
        // Both were checked before either began.
        let [one, other] = [Output::file(&path).unwrap(), Output::file(&path).unwrap()];
        let mut stream = one.stream().unwrap();
        stream.write_all(b"samples").unwrap();
        let expected = format!("cannot write {}: another pysample is recording to it", path.display());
        assert_eq!(other.stream().unwrap_err().to_string(), expected);
        assert_eq!(refused(&path), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "samples");
        drop(stream);
        write(&path, "new").unwrap();
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let folder = folder();
        symlink("b.txt", folder.path().join("a.txt")).unwrap();
        symlink("a.txt", folder.path().join("b.txt")).unwrap();
        assert!(refused(&folder.path().join("a.txt")).contains("symbolic links"));
    }

    #[test]
    fn a_folder_is_refused() {
        let folder = folder();
        assert!(refused(folder.path()).contains("Is a directory"));
        assert!(refused(&folder.path().join("a.txt/")).contains("directory"));
    }

    #[test]
    fn a_missing_folder_is_refused_in_the_users_words() {
        assert_eq!(
            refused(Path::new("/nonexistent/a.txt")),
            "cannot write /nonexistent/a.txt: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = folder();
        fs::write(folder.path().join("a"), "").unwrap();
        assert!(refused(&folder.path().join("a/b.txt")).contains("Not a directory"));
    }

    #[test]
    fn a_full_device_is_told() {
        let error = write(Path::new("/dev/full"), "text").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/full: No space left on device (os error 28)");
    }

    #[test]
    fn a_device_is_written_through_and_stays() {
        write(Path::new("/dev/null"), "text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_takes_the_place_of_a_closed_stream_is_told_from_dev_null() {
        let opened = |reads| OpenOptions::new().read(reads).write(true).open("/dev/null").unwrap();
        assert!(was_closed(&opened(true)) && !was_closed(&opened(false)));
        assert!(!was_closed(&tempfile::tempfile().unwrap()));
    }

    #[test]
    fn standard_output_has_its_names() {
        assert!(matches!(Output::file(Path::new("/dev/stdout")).unwrap().way, Way::Stdout));
    }
}
