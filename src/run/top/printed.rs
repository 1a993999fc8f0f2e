//! What a command prints while the screen is ours: its last lines are kept to be shown, and printed when the screen has ended;
//! from then on what it prints is passed on as it comes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use pysample::error::{Error, Result};
use pysample::target::command;

/// Lines that are kept, and bytes of each.
const MOST_LINES: usize = 1000;
const LONGEST_LINE: usize = 4096;
/// How long is waited for what was printed before the command ended.
const FOR_OTHERS: Duration = Duration::from_secs(1);

/// What a command has printed.
#[derive(Clone, Default)]
pub struct Printed {
    kept: Arc<Mutex<Kept>>,
    /// Closes when all has been read.
    over: Option<Receiver<()>>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<(Stream, Vec<u8>)>,
    /// Lines that begin and have not ended, of each stream.
    open: [Vec<u8>; 2],
    left_out: u64,
    is_passed_on: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Printed {
    /// Gets ready for a command, before it is started: with what is returned beside it, what it prints is taken.
    pub fn expect() -> Result<(Printed, impl FnOnce(command::Printed))> {
        let (sender, over) = bounded::<()>(0);
        let printed = Printed { over: Some(over), ..Printed::default() };
        let out = printed.reader::<ChildStdout>(Stream::Out, sender.clone())?;
        let err = printed.reader::<ChildStderr>(Stream::Err, sender)?;
        // Neither fails: both wait for it.
        let take = move |from: command::Printed| drop((out.send(from.out), err.send(from.err)));
        Ok((printed, take))
    }

    /// Starts a thread that reads what is sent to it; `over` is dropped at the end.
    fn reader<R: Read + Send + 'static>(&self, stream: Stream, over: Sender<()>) -> Result<Sender<R>> {
        let (sender, receiver) = bounded(1);
        let printed = self.clone();
        let read = move || {
            let _over = over;
            receiver.iter().for_each(|from| printed.read(from, stream));
        };
        thread::Builder::new().spawn(read).map_err(Error::no_thread)?;
        Ok(sender)
    }

    /// The last lines, for a screen.
    pub fn lines(&self) -> Vec<String> {
        let kept = self.kept();
        let open = kept.open.iter().filter(|line| !line.is_empty());
        let lines = kept.lines.iter().map(|(_, line)| line).chain(open);
        lines.map(|line| String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()).collect()
    }

    /// Prints what was kept, and passes on what comes.
    pub fn pass_on(&self) {
        let mut kept = self.kept();
        if kept.left_out > 0 {
            let _ =
                writeln!(io::stderr(), "pysample: {} lines that the command printed are left out here", kept.left_out);
        }
        for (stream, line) in std::mem::take(&mut kept.lines) {
            stream.write(&line);
        }
        for (stream, line) in [Stream::Out, Stream::Err].into_iter().zip(std::mem::take(&mut kept.open)) {
            stream.write(&line);
        }
        kept.is_passed_on = true;
    }

    /// Waits until all has been passed on that the command, which has ended, printed. What others print whom it left
    /// behind is not waited for.
    pub fn drain(&self) {
        if let Some(over) = &self.over {
            let _ = over.recv_timeout(FOR_OTHERS);
        }
    }

    fn read(&self, mut from: impl Read, stream: Stream) {
        let mut buffer = [0; 8192];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => self.kept().add(stream, &buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        if self.is_passed_on {
            stream.write(bytes);
            return;
        }
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let open = &mut self.open[stream as usize];
            open.extend_from_slice(part);
            if part.ends_with(b"\n") || open.len() >= LONGEST_LINE {
                let line = std::mem::take(open);
                self.lines.push_back((stream, line));
            }
        }
        while self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.left_out += 1;
        }
    }
}

impl Stream {
    /// If nobody can hear it, nobody can.
    fn write(self, bytes: &[u8]) {
        let _ = match self {
            Stream::Out => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Stream::Err => io::stderr().write_all(bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let printed = Printed::default();
        printed.kept().add(Stream::Out, b"begin");
        printed.kept().add(Stream::Err, b"other\n");
        printed.kept().add(Stream::Out, b"ning\r\nmore");
        assert_eq!(printed.lines(), ["other", "beginning", "more"]);
        (0..MOST_LINES).for_each(|_| printed.kept().add(Stream::Out, b"x\n"));
        assert_eq!((printed.lines().len(), printed.kept().left_out), (MOST_LINES, 2));
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let printed = Printed::default();
        (0..10).for_each(|_| printed.kept().add(Stream::Out, &[b'x'; 1000]));
        assert!(printed.kept().open[0].len() < LONGEST_LINE && printed.kept().lines.len() == 2);
    }
}
