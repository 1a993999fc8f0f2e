//! A terminal of our own, with a program on it: what it shows is what a terminal would show, and keys can be pressed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::common::PATIENCE;

/// A program on a terminal. It is killed when this is dropped.
pub struct Terminal {
    keys: File,
    /// Kept open so that the terminal outlives the program.
    end: File,
    shown: Arc<(Mutex<vt100::Parser>, Condvar)>,
    child: Child,
}

/// What a terminal is set to, beside what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Lines are edited and echoed.
    pub cooked: bool,
    /// The alternate screen is shown.
    pub alternate: bool,
    /// The cursor can be seen.
    pub cursor: bool,
    /// The mouse is told of.
    pub mouse: bool,
}

/// What a terminal is like that no program has changed.
pub const UNTOUCHED: Settings = Settings { cooked: true, alternate: false, cursor: true, mouse: false };
/// What it is like while the live view is drawn.
pub const TAKEN: Settings = Settings { cooked: false, alternate: true, cursor: false, mouse: true };

impl Terminal {
    /// Runs a program on a terminal of its own, as the leader of its session.
    pub fn run(program: impl AsRef<OsStr>, arguments: &[&str], size: (u16, u16), folder: &std::path::Path) -> Terminal {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are pseudo-terminals");
        grantpt(&keys).expect("it is ours");
        unlockpt(&keys).expect("it is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name").into_string().expect("a plain name");
        let end = File::options().read(true).write(true).open(name).expect("it can be opened");
        let keys: File = keys.into();
        tcsetwinsize(&keys, winsize(size)).expect("it has a size");
        let stream = || Stdio::from(end.try_clone().expect("it can be opened twice"));
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("setsid can be run");
        let shown = Arc::new((Mutex::new(vt100::Parser::new(cells(size.1), cells(size.0), 0)), Condvar::new()));
        let (into, mut from) = (shown.clone(), keys.try_clone().expect("it can be opened twice"));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                into.0.lock().expect("nobody panics with it").process(&buffer[..read]);
                into.1.notify_all();
            }
        });
        Terminal { keys, end, shown, child }
    }

    /// The process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Waits until what is shown is as it should be; returns it.
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.wait_for(what, |screen| Some(screen.contents()).filter(|shown| is_so(shown)))
    }

    /// Waits until a text is shown; returns all that is.
    pub fn shows(&self, text: &str) -> String {
        self.wait(text, |shown| shown.contains(text))
    }

    /// Waits until something can be seen on the screen.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&vt100::Screen) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut parser = self.shown.0.lock().expect("nobody panics with it");
        loop {
            if let Some(found) = find(parser.screen()) {
                return found;
            }
            let shown = parser.screen().contents();
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}; the terminal shows:\n{shown}");
            (parser, _) = self.shown.1.wait_timeout(parser, Duration::from_millis(100)).expect("nobody panics with it");
        }
    }

    /// Waits until the terminal is set as it should be.
    pub fn is_set(&self, wanted: &Settings) {
        self.wait_for(&format!("it is set to {wanted:?}"), |screen| (self.settings(screen) == *wanted).then_some(()));
    }

    fn settings(&self, screen: &vt100::Screen) -> Settings {
        let modes = tcgetattr(&self.end).expect("the terminal is there").local_modes;
        Settings {
            cooked: modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG),
            alternate: screen.alternate_screen(),
            cursor: !screen.hide_cursor(),
            mouse: screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None,
        }
    }

    /// Makes the terminal larger or smaller.
    pub fn resize(&self, size: (u16, u16)) {
        self.shown.0.lock().expect("nobody panics with it").screen_mut().set_size(cells(size.1), cells(size.0));
        tcsetwinsize(&self.keys, winsize(size)).expect("the terminal is there");
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid() as i32), signal).expect("it is there");
    }

    /// Waits for the end of the program, which must come.
    pub fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().expect("it is our child") {
                Some(status) => return status,
                None if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                None => {
                    let shown = self.shown.0.lock().expect("nobody panics with it").screen().contents();
                    panic!("the program does not end; the terminal shows:\n{shown}");
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended, as a shell tells it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has cells")
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
