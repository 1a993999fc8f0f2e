//! A process and its descendants, those born later included. Each is asked for its children (`/proc/PID/task/TID/children`),
//! so that what a look costs depends on the family and not on the machine. Whether they run Python is left to others.
//!
//! A descendant that was seen once is kept when its parent ends and it becomes another's child. Who was never seen before
//! that is not found any more, unless it becomes ours, see [`super::orphans`].

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::orphans::Adoption;
use super::proc::{Stat, is_gone};
use crate::error::{Error, Result};

/// How long no look is spared, whatever is said of new processes.
const LOOK_ANYWAY: Duration = Duration::from_millis(200);
/// So many descendants are told apart at once; those beyond are not seen. No machine in its senses has more.
const MOST: usize = 1 << 14;

/// A process of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relative {
    /// Its id.
    pub pid: u32,
    /// The process that it was found as a child of; `None` for the root.
    pub parent: Option<u32>,
    /// When it started, in ticks since the machine did: another process may get its id later.
    pub started: u64,
}

/// A process and its descendants, as of the last look.
#[derive(Debug)]
pub struct Family {
    living: BTreeMap<u32, Relative>,
    way: Way,
    births: Births,
    /// When everything was seen last.
    looked: Option<Instant>,
    /// Where orphans of the root become our children.
    adoption: Option<Adoption>,
}

/// How children are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each process is asked.
    Asking,
    /// Every process of the machine is asked for its parent: for kernels without `CONFIG_PROC_CHILDREN`.
    Scanning,
}

impl Way {
    fn of_this_machine() -> Way {
        let asks = Path::new("/proc/self/task").join(std::process::id().to_string()).join("children").exists();
        if asks { Way::Asking } else { Way::Scanning }
    }
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// New ones, parents before their children.
    pub born: Vec<Relative>,
    /// Those that have ended.
    pub gone: Vec<Relative>,
}

impl Family {
    /// The family of a process.
    ///
    /// # Errors
    ///
    /// There is no such process, it has ended, or no process can be looked at.
    pub fn of(root: u32) -> Result<Family> {
        super::can_look()?;
        Family::by(Way::of_this_machine(), root)
    }

    /// The family of a command that we started. It may have ended, if it has left orphans.
    ///
    /// # Errors
    ///
    /// It has ended and left nobody, or no process can be looked at.
    pub fn of_command(command: u32, adoption: Adoption) -> Result<Family> {
        super::can_look()?;
        let ended = match Family::by(Way::of_this_machine(), command) {
            Ok(family) => return Ok(Family { adoption: Some(adoption.of(command)), ..family }),
            Err(ended @ Error::Zombie { .. }) => ended,
            Err(error) => return Err(error),
        };
        let mut family = Family {
            living: BTreeMap::new(),
            way: Way::of_this_machine(),
            births: Births::new(),
            looked: None,
            adoption: Some(adoption.of(command)),
        };
        family.look();
        if family.living.is_empty() { Err(ended) } else { Ok(family) }
    }

    fn by(way: Way, root: u32) -> Result<Family> {
        let stat = Stat::read(root).map_err(|error| super::live::failed(root, error))?;
        if has_ended(&stat) {
            return Err(Error::Zombie { pid: root });
        }
        let root = Relative { pid: root, parent: None, started: stat.started };
        Ok(Family { living: [(root.pid, root)].into(), way, births: Births::new(), looked: None, adoption: None })
    }

    /// Those that live, by their ids.
    pub fn living(&self) -> impl Iterator<Item = &Relative> {
        self.living.values()
    }

    /// One that lives.
    pub fn get(&self, pid: u32) -> Option<&Relative> {
        self.living.get(&pid)
    }

    /// Looks for those that were born and those that have ended since the last look. Where no process at all was started
    /// on this machine since, that is a single read.
    pub fn look(&mut self) -> Found {
        let may_be_new = self.births.may_have_been();
        if !may_be_new && self.looked.is_some_and(|looked| looked.elapsed() < LOOK_ANYWAY) {
            return Found::default();
        }
        self.looked = Some(Instant::now());
        let mut found = self.walk_the_way();
        // Only after the others: who loses his parent meanwhile was seen with him, or is ours by now.
        while self.take_in_orphans(&mut found) {
            let Found { born, gone } = self.walk_the_way();
            found.born.extend(born);
            let is_known = |relative: &Relative| !found.born.contains(relative);
            found.gone.extend(gone.iter().copied().filter(is_known));
            found.born.retain(|relative| !gone.contains(relative));
        }
        found
    }

    /// Asks for the end of orphans that have become our children and have ended, but for those of whom `is_traced` says that
    /// somebody traces them.
    pub fn reap_orphans(&mut self, is_traced: impl Fn(u32) -> bool) {
        self.adoption.iter_mut().for_each(|adoption| adoption.reap(&is_traced));
    }

    /// Takes in those that have become our children. Whether there were any new ones.
    fn take_in_orphans(&mut self, found: &mut Found) -> bool {
        let Some(adoption) = &mut self.adoption else { return false };
        let before = found.born.len();
        for pid in adoption.orphans() {
            if self.living.contains_key(&pid) || self.living.len() >= MOST {
                continue;
            }
            match Stat::read(pid) {
                Ok(stat) if has_ended(&stat) => adoption.note_end(pid),
                Ok(stat) => {
                    let orphan = Relative { pid, parent: adoption.command(), started: stat.started };
                    self.living.insert(pid, orphan);
                    found.born.push(orphan);
                }
                Err(_) => {}
            }
        }
        found.born.len() > before
    }

    fn walk_the_way(&mut self) -> Found {
        match self.way {
            Way::Asking => self.walk(children_of),
            Way::Scanning => {
                let Ok(mut children) = all_children() else {
                    self.looked = None;
                    return Found::default();
                };
                self.walk(|pid, _| Ok(children.remove(&pid).unwrap_or_default()))
            }
        }
    }

    /// Goes from each that is known to its children, and on from those that are new. Where one cannot be looked at, the next
    /// look is not spared.
    fn walk(&mut self, mut children: impl FnMut(u32, u32) -> io::Result<Vec<u32>>) -> Found {
        let mut found = Found::default();
        let mut todo: Vec<Relative> = self.living.values().copied().collect();
        let mut next = 0;
        while let Some(&relative) = todo.get(next) {
            next += 1;
            let Ok(there) = stat_of(relative.pid) else {
                self.looked = None;
                continue;
            };
            let Some(stat) = there.filter(|stat| stat.started == relative.started) else {
                self.living.remove(&relative.pid);
                found.gone.push(relative);
                continue;
            };
            let Ok(children) = children(relative.pid, stat.threads) else {
                self.looked = None;
                continue;
            };
            for pid in children {
                if self.living.contains_key(&pid) || self.living.len() >= MOST {
                    continue;
                }
                let there = stat_of(pid);
                if there.is_err() {
                    self.looked = None;
                }
                let Ok(Some(stat)) = there else { continue };
                let child = Relative { pid, parent: Some(relative.pid), started: stat.started };
                self.living.insert(pid, child);
                found.born.push(child);
                todo.push(child);
            }
        }
        // Born and gone in one look is nobody's business.
        let is_brief = |relative: &Relative| found.gone.contains(relative);
        let brief: Vec<Relative> = found.born.iter().copied().filter(is_brief).collect();
        found.born.retain(|relative| !brief.contains(relative));
        found.gone.retain(|relative| !brief.contains(relative));
        found
    }
}

/// The program that a process executes; `None` where that cannot be seen.
pub fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, b'Z' | b'X')
}

/// What `stat` says of a process; `None` of one that has ended.
fn stat_of(pid: u32) -> io::Result<Option<Stat>> {
    Ok(unless_gone(Stat::read(pid))?.filter(|stat| !has_ended(stat)))
}

/// What was read; `None` if there is nothing any more to read it of.
fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The children of every thread of a process.
fn children_of(pid: u32, threads: u32) -> io::Result<Vec<u32>> {
    let of = |thread: &str| {
        let read = unless_gone(fs::read(format!("/proc/{pid}/task/{thread}/children")))?;
        Ok(numbers(&read.unwrap_or_default()))
    };
    if threads == 1 {
        return of(&pid.to_string());
    }
    let Some(threads) = unless_gone(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(Vec::new()) };
    let of_each = threads.flatten().map(|thread| thread.file_name().to_str().map_or(Ok(Vec::new()), of));
    Ok(of_each.collect::<io::Result<Vec<Vec<u32>>>>()?.concat())
}

/// Children of ours.
pub(super) fn our_children(of: Parents) -> Vec<u32> {
    let (us, threads) = (std::process::id(), if of == Parents::Any { u32::MAX } else { 1 });
    match Way::of_this_machine() {
        Way::Asking => children_of(us, threads).unwrap_or_default(),
        Way::Scanning => all_children().unwrap_or_default().remove(&us).unwrap_or_default(),
    }
}

/// Whose children those of a process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    /// Any thread's.
    Any,
    /// The first thread's, where that can be told. The kernel gives it the children of others.
    First,
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.split(u8::is_ascii_whitespace);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect()
}

/// The children of every process of the machine.
fn all_children() -> io::Result<HashMap<u32, Vec<u32>>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc")?.flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(stat) = unless_gone(Stat::read(pid))? {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    Ok(children)
}

/// Whether any process or thread was started on this machine: `/proc/loadavg` ends with the last id that was given out.
#[derive(Debug)]
struct Births {
    /// `None` where that file does not tell: in some containers it is made up.
    file: Option<File>,
    last: u64,
}

impl Births {
    fn new() -> Births {
        // Ids are given out in our own namespace, and the file speaks of that; `/proc` may be that of another.
        let is_ours = fs::read_link("/proc/self").is_ok_and(|this| this == Path::new(&std::process::id().to_string()));
        let mut births = Births { file: File::open("/proc/loadavg").ok().filter(|_| is_ours), last: 0 };
        births.may_have_been();
        let is_true = thread::Builder::new().spawn(|| {}).is_ok_and(|one| one.join().is_ok()) && births.may_have_been();
        births.file = births.file.filter(|_| is_true);
        births
    }

    /// Whether there may have been one since this was asked last.
    fn may_have_been(&mut self) -> bool {
        let Some(last) = self.read() else { return true };
        std::mem::replace(&mut self.last, last) != last
    }

    fn read(&self) -> Option<u64> {
        let mut line = [0; 128];
        let read = self.file.as_ref()?.read_at(&mut line, 0).ok()?;
        std::str::from_utf8(&line[..read]).ok()?.split_ascii_whitespace().next_back()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that has a child, which has a child. Each ends when the pipe to it is closed.
    struct Shells {
        child: Child,
        pids: [u32; 3],
    }

    impl Shells {
        fn new() -> Shells {
            let script = "echo $$; sh -c 'echo $$; sh -c \"echo \\$\\$; read line\"; read line' <&0; read line";
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("there is a shell");
            let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
            let pids: Vec<u32> = lines.take(3).map(|line| line.unwrap().parse().unwrap()).collect();
            Shells { child, pids: pids.try_into().expect("three shells") }
        }
    }

    impl Drop for Shells {
        fn drop(&mut self) {
            drop(self.child.stdin.take());
            let _ = self.child.wait();
        }
    }

    fn pids(found: &[Relative]) -> Vec<u32> {
        found.iter().map(|relative| relative.pid).collect()
    }

    #[test]
    fn both_ways_find_children_and_their_children() {
        let shells = Shells::new();
        for way in [Way::Asking, Way::Scanning] {
            let mut family = Family::by(way, shells.pids[0]).unwrap();
            let found = family.look();
            assert_eq!(pids(&found.born), shells.pids[1..], "{way:?}");
            let parents: Vec<_> = found.born.iter().map(|relative| relative.parent).collect();
            assert_eq!(parents, [Some(shells.pids[0]), Some(shells.pids[1])]);
            assert_eq!(pids(&family.living().copied().collect::<Vec<_>>()).len(), 3);
        }
    }

    #[test]
    fn one_whose_parent_has_ended_is_kept_if_it_was_seen_before() {
        // The middle one starts the last one and goes on reading, which only the end of standard input ends.
        let script =
            "exec 3<&0; sh -c 'sh -c \"echo last; read line <&3\" & read line <&3; wait' & wait; read line <&3";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut out = BufReader::new(shell.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let mut family = Family::of(shell.id()).unwrap();
        let born = family.look().born;
        let [middle, last] = born[..] else { panic!("two were born: {born:?}") };
        assert_eq!((middle.parent, last.parent), (Some(shell.id()), Some(middle.pid)));
        let (middle, last) = (middle.pid, last.pid);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(middle as i32), nix::sys::signal::SIGKILL).unwrap();
        while Stat::read(middle).is_ok_and(|stat| !has_ended(&stat)) {
            thread::yield_now();
        }
        // No process was started: the look is made when it is due anyway.
        family.looked = None;
        assert_eq!(self::pids(&family.look().gone), [middle]);
        assert!(family.get(last).is_some_and(|last| last.parent == Some(middle)));
        drop(shell.stdin.take());
        out.read_to_string(&mut line).unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn a_root_that_is_not_there_is_named() {
        assert!(matches!(Family::of(0x7fff_fff0), Err(Error::NoSuchProcess { .. })));
    }

    #[test]
    fn a_thread_is_a_birth_and_nothing_is_none() {
        let mut births = Births::new();
        births.may_have_been();
        thread::spawn(|| {}).join().unwrap();
        assert!(births.may_have_been());
    }

    #[test]
    fn children_are_numbers_between_spaces() {
        assert_eq!(numbers(b"12 345 "), [12, 345]);
        assert!(numbers(b"").is_empty());
    }
}
