//! Opens a recording by the name of its file.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use pysample::error::{Error, Result};
use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Header, ProcessId, Replay, Sample, StackId, Thread, ThreadId,
    ThreadState, Wanted,
};

/// A recording in a file: collapsed stacks.
///
/// # Errors
///
/// What is wrong with the file.
pub fn open_recording(path: &Path) -> Result<Box<dyn Replay>> {
    let unusable = |why: String| Error::Usage {
        what: format!("cannot read the recording {}: {why}", path.display()),
        hint: Some("collapsed stacks are lines as `main (app.py:3);work (app.py:7) 42`".into()),
    };
    let bytes = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let program = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let collapsed = Collapsed::parse(program, &String::from_utf8_lossy(&bytes)).map_err(unusable)?;
    Ok(Box::new(collapsed))
}

/// Collapsed stacks: no times, no threads, no states.
struct Collapsed {
    header: Header,
    definitions: Vec<Event>,
    counts: Vec<(StackId, u64)>,
}

impl Collapsed {
    fn parse(program: String, text: &str) -> std::result::Result<Collapsed, String> {
        let mut definitions = Definitions::default();
        let mut counts = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (stack, count) = line
                .rsplit_once(' ')
                .and_then(|(stack, count)| Some((stack, count.parse().ok()?)))
                .ok_or_else(|| format!("line {} is not a stack and a number", index + 1))?;
            if let Some(stack) = definitions.stack(stack) {
                counts.push((stack, count));
            }
        }
        let header = Header { pysample: String::new(), program, started: UNIX_EPOCH, rate: 0.0, wanted: Wanted::All };
        Ok(Collapsed { header, definitions: definitions.events, counts })
    }
}

impl Replay for Collapsed {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        self.definitions.iter().cloned().try_for_each(&mut *take)?;
        let (at, thread, state, gil) = (Duration::ZERO, ThreadId(0), ThreadState::Unknown, GilState::Unknown);
        take(Event::Thread(
            thread,
            Thread { process: ProcessId(0), interpreter: 0, os_thread_id: None, python_thread_id: 0, name: None },
        ))?;
        for &(stack, count) in &self.counts {
            for _ in 0..count {
                take(Event::Sample(Sample { at, thread, state, gil, stack: Some(stack) }))?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Definitions {
    events: Vec<Event>,
    codes: std::collections::HashMap<(String, String), CodeId>,
    frames: std::collections::HashMap<(CodeId, Option<u32>), FrameId>,
    stacks: std::collections::HashMap<(Option<StackId>, FrameId), StackId>,
}

impl Definitions {
    fn stack(&mut self, text: &str) -> Option<StackId> {
        text.split(';').fold(None, |caller, text| {
            let frame = self.frame(text);
            let next = StackId(self.stacks.len() as u32);
            Some(*self.stacks.entry((caller, frame)).or_insert_with(|| {
                self.events.push(Event::Stack { id: next, caller, frame });
                next
            }))
        })
    }

    fn frame(&mut self, text: &str) -> FrameId {
        let (function, file, line) = parts(text);
        let next = CodeId(self.codes.len() as u32);
        let code = *self.codes.entry((function.into(), file.into())).or_insert_with(|| {
            self.events.push(Event::Code(next, Code { function: function.into(), file: file.into(), first_line: 0 }));
            next
        });
        let next = FrameId(self.frames.len() as u32);
        *self.frames.entry((code, line)).or_insert_with(|| {
            self.events.push(Event::Frame(next, Frame { code, line }));
            next
        })
    }
}

/// The function, the file and the line of `f (file:line)`; what is not written so is a function.
fn parts(frame: &str) -> (&str, &str, Option<u32>) {
    let Some((function, place)) = frame.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) else {
        return (frame, "?", None);
    };
    match place.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => (function, file, Some(line)),
        None => (function, place, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_function_a_file_and_a_line() {
        assert_eq!(parts("f (app.py:7)"), ("f", "app.py", Some(7)));
        assert_eq!(parts("f (g) (odd dir/a:b.py)"), ("f (g)", "odd dir/a:b.py", None));
        assert_eq!(parts("[kernel]"), ("[kernel]", "?", None));
    }

    #[test]
    fn a_line_without_a_number_is_refused() {
        assert_eq!(Collapsed::parse("x".into(), "a;b 3\na;b").err().unwrap(), "line 2 is not a stack and a number");
        assert!(Collapsed::parse("x".into(), "# said\n\na;b 3\n").is_ok());
    }
}
