//! Several recordings as one: what they share is defined once, their processes are told apart, and their moments come in order of
//! the time of day.

use std::collections::HashMap;
use std::io;
use std::iter::Peekable;
use std::time::Duration;

use super::Opened;
use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, GilHeld, GilSample, Header, Process, ProcessId, Remark, Replay, Sample,
    StackId, Tally, Thread, ThreadId, define,
};

/// Recordings as one.
pub struct Merged {
    parts: Vec<Opened>,
    header: Header,
}

impl Merged {
    /// Puts recordings together.
    ///
    /// # Errors
    ///
    /// Why their samples do not weigh the same.
    pub fn new(parts: Vec<Opened>) -> Result<Merged, String> {
        let headers: Vec<&Header> = parts.iter().map(Replay::header).collect();
        let Some(first) = headers.first() else { return Err("there is nothing to merge".into()) };
        if let Some(other) = headers.iter().find(|header| header.rate != first.rate) {
            let Header { rate, .. } = first;
            return Err(format!(
                "one was recorded at {rate} Hz and one at {} Hz: their samples do not weigh the same",
                other.rate
            ));
        }
        if headers.iter().any(|header| header.wanted != first.wanted) {
            return Err("they are of different threads (--mode): their samples do not mean the same".into());
        }
        let mut programs: Vec<&str> = headers.iter().map(|header| header.program.as_str()).collect();
        programs.dedup();
        let started = headers.iter().map(|header| header.started).min().unwrap_or(first.started);
        // A recording of what was not sampled has no version.
        let is_sampled = headers.iter().all(|header| !header.pysample.is_empty());
        let header = Header {
            pysample: if is_sampled { env!("CARGO_PKG_VERSION").into() } else { String::new() },
            program: programs.join(" + "),
            started,
            ..(*first).clone()
        };
        Ok(Merged { parts, header })
    }
}

impl Replay for Merged {
    fn header(&self) -> &Header {
        &self.header
    }

    fn has_end(&self) -> bool {
        self.parts.iter().all(Replay::has_end)
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        let mut all = All::default();
        let mut parts: Vec<Part> = self.parts.iter().map(|part| Part::new(part, &self.header)).collect();
        // What is defined is taken at once; of what has a time, the earliest comes first.
        loop {
            let mut next = None;
            for (number, part) in parts.iter_mut().enumerate() {
                let Some(at) = part.time(&mut all, take)? else { continue };
                if next.is_none_or(|(earliest, _)| at < earliest) {
                    next = Some((at, number));
                }
            }
            let Some((at, number)) = next else { break };
            let part = &mut parts[number];
            // All of one moment together.
            while part.time(&mut all, take)? == Some(at) {
                part.take_next(&mut all, take)?;
            }
        }
        match all.progress {
            Some((elapsed, tally)) => take(Event::Progress(elapsed, tally)),
            None => Ok(()),
        }
    }
}

type Events<'a> = Peekable<Box<dyn Iterator<Item = io::Result<Event>> + 'a>>;

/// One of the recordings, and what its ids have become.
struct Part<'a> {
    events: Events<'a>,
    program: &'a str,
    /// How long after the first of them it began.
    later: Duration,
    processes: HashMap<ProcessId, ProcessId>,
    codes: Vec<CodeId>,
    frames: Vec<FrameId>,
    stacks: Vec<StackId>,
    threads: HashMap<ThreadId, ThreadId>,
    progress: Option<(Duration, Tally)>,
}

/// What has been defined of all of them.
#[derive(Default)]
struct All {
    processes: u32,
    threads: u32,
    codes: HashMap<Code, CodeId>,
    frames: HashMap<Frame, FrameId>,
    stacks: HashMap<(Option<StackId>, FrameId), StackId>,
    remarks: Vec<Remark>,
    progress: Option<(Duration, Tally)>,
}

impl<'a> Part<'a> {
    fn new(opened: &'a Opened, all: &Header) -> Part<'a> {
        let header = opened.header();
        Part {
            events: opened.events().peekable(),
            program: &header.program,
            later: header.started.duration_since(all.started).unwrap_or_default(),
            processes: HashMap::new(),
            codes: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            threads: HashMap::new(),
            progress: None,
        }
    }

    /// When the next event that has a time is; what comes before it is taken. `None` at the end.
    fn time(&mut self, all: &mut All, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<Option<Duration>> {
        loop {
            let at = match self.events.peek() {
                Some(Ok(Event::Sample(Sample { at, .. }) | Event::Gil(GilSample { at, .. }))) => *at,
                Some(_) => {
                    self.take_next(all, take)?;
                    continue;
                }
                None => {
                    all.add(self.later, self.progress.take());
                    return Ok(None);
                }
            };
            return Ok(Some(self.later + at));
        }
    }

    fn take_next(&mut self, all: &mut All, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        let Some(event) = self.events.next() else { return Ok(()) };
        match event? {
            Event::Process(id, process) => {
                let parent = process.parent.and_then(|parent| self.processes.get(&parent)).copied();
                let id = *self.processes.entry(id).or_insert_with(|| all.next_process());
                take(Event::Process(id, Process { parent, ..process }))
            }
            Event::Code(id, code) => {
                let next = CodeId(all.codes.len() as u32);
                let new = *all.codes.entry(code.clone()).or_insert(next);
                define(&mut self.codes, id.index(), new);
                if new == next { take(Event::Code(new, code)) } else { Ok(()) }
            }
            Event::Frame(id, frame) => {
                let frame = Frame { code: get(&self.codes, frame.code.index())?, ..frame };
                let next = FrameId(all.frames.len() as u32);
                let new = *all.frames.entry(frame).or_insert(next);
                define(&mut self.frames, id.index(), new);
                if new == next { take(Event::Frame(new, frame)) } else { Ok(()) }
            }
            Event::Stack { id, caller, frame } => {
                let caller = caller.map(|caller| get(&self.stacks, caller.index())).transpose()?;
                let frame = get(&self.frames, frame.index())?;
                let next = StackId(all.stacks.len() as u32);
                let new = *all.stacks.entry((caller, frame)).or_insert(next);
                define(&mut self.stacks, id.index(), new);
                if new == next { take(Event::Stack { id: new, caller, frame }) } else { Ok(()) }
            }
            Event::Thread(id, thread) => {
                let process = self.process(thread.process, all, take)?;
                let id = *self.threads.entry(id).or_insert_with(|| all.next_thread());
                take(Event::Thread(id, Thread { process, ..thread }))
            }
            Event::Gil(sample) => {
                let process = self.process(sample.process, all, take)?;
                let holder = match sample.holder {
                    GilHeld::By(thread) => self.threads.get(&thread).map_or(GilHeld::BySomeone, |id| GilHeld::By(*id)),
                    other => other,
                };
                take(Event::Gil(GilSample { at: self.later + sample.at, process, holder, ..sample }))
            }
            Event::Sample(sample) => {
                let thread = self.threads.get(&sample.thread).copied().ok_or_else(undefined)?;
                let stack = sample.stack.map(|stack| get(&self.stacks, stack.index())).transpose()?;
                take(Event::Sample(Sample { at: self.later + sample.at, thread, stack, ..sample }))
            }
            Event::Progress(elapsed, tally) => {
                self.progress = Some((elapsed, tally));
                Ok(())
            }
            Event::Remark(remark) if all.remarks.contains(&remark) => Ok(()),
            Event::Remark(remark) => {
                all.remarks.push(remark);
                take(Event::Remark(remark))
            }
            path @ Event::SearchPath(_) => take(path),
        }
    }

    /// What a process has become. One that was never told of is what the recording says of itself.
    fn process(
        &mut self,
        id: ProcessId,
        all: &mut All,
        take: &mut dyn FnMut(Event) -> io::Result<()>,
    ) -> io::Result<ProcessId> {
        if let Some(id) = self.processes.get(&id) {
            return Ok(*id);
        }
        let new = all.next_process();
        self.processes.insert(id, new);
        let command = vec![self.program.to_owned()];
        take(Event::Process(new, Process { pid: 0, own_pid: 0, parent: None, command, python: String::new() }))?;
        Ok(new)
    }
}

impl All {
    fn next_process(&mut self) -> ProcessId {
        self.processes += 1;
        ProcessId(self.processes - 1)
    }

    fn next_thread(&mut self) -> ThreadId {
        self.threads += 1;
        ThreadId(self.threads - 1)
    }

    /// Adds the account of a recording that is over.
    fn add(&mut self, later: Duration, progress: Option<(Duration, Tally)>) {
        let Some((elapsed, tally)) = progress else { return };
        let elapsed = later + elapsed;
        let (before, mut sum) = self.progress.unwrap_or_default();
        sum.add(&tally);
        self.progress = Some((before.max(elapsed), sum));
    }
}

fn get<T: Copy>(table: &[T], index: usize) -> io::Result<T> {
    table.get(index).copied().ok_or_else(undefined)
}

fn undefined() -> io::Error {
    super::bytes::damaged("something is used that was never defined")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::aggregate::{CallTree, Synopsis};
    use crate::export::{Folded, Labels};
    use crate::recording::{Reader, Writer};
    use crate::sample::{Ending, GilState, ThreadState, Wanted, Weight};

    fn header(seconds: u64, rate: f64) -> Header {
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Header { pysample: "0.1.0".into(), program: "app.py".into(), started, rate, wanted: Wanted::Running }
    }

    /// A recording whose process has an id and whose one thread is in each of some functions for a sample.
    fn recording(seconds: u64, pid: u32, functions: &[&str]) -> Opened {
        let mut writer = Writer::new(Vec::new(), &header(seconds, 100.0)).unwrap();
        let command = vec!["python3".into(), "app.py".into()];
        let process = Process { pid, own_pid: pid, parent: None, command, python: "3.13.0".into() };
        let thread =
            Thread { process: ProcessId(0), interpreter: 0, os_thread_id: None, python_thread_id: 1, name: None };
        let mut events = vec![Event::Process(ProcessId(0), process), Event::Thread(ThreadId(0), thread)];
        for (id, function) in (0..).zip(functions) {
            let code = Code { function: (*function).into(), file: "app.py".into(), first_line: 1 };
            let caller = (id > 0).then_some(StackId(0));
            let (at, state, gil) = (Duration::from_millis(10 * u64::from(id)), ThreadState::RunsPython, GilState::Held);
            events.extend([
                Event::Code(CodeId(id), code),
                Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(1) }),
                Event::Stack { id: StackId(id), caller, frame: FrameId(id) },
                Event::Sample(Sample {
                    at,
                    thread: ThreadId(0),
                    state,
                    gil,
                    stack: Some(StackId(id)),
                    weight: Weight::ONE,
                }),
            ]);
        }
        let taken = functions.len() as u64;
        events.push(Event::Progress(Duration::from_secs(1), Tally { asked: taken, taken, ..Tally::default() }));
        events.iter().for_each(|event| writer.take(event).unwrap());
        Opened::Own(Reader::from_bytes(writer.finish(Ending::Duration).unwrap()).unwrap())
    }

    fn collapsed(recording: &dyn Replay) -> String {
        let (mut tree, mut out) = (CallTree::merged(), Vec::new());
        let replayed = recording.replay(&mut |event| {
            tree.take(event);
            Ok(())
        });
        replayed.unwrap();
        crate::export::collapsed::write(&Folded::new(&tree, &Labels::default()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn processes_are_told_apart_and_what_they_share_is_defined_once() {
        let merged =
            Merged::new(vec![recording(5, 42, &["main", "f", "g"]), recording(5, 43, &["main", "g", "h"])]).unwrap();
        assert_eq!(
            collapsed(&merged),
            "app.py (pid 42);main (app.py:1) 1\n\
             app.py (pid 42);main (app.py:1);f (app.py:1) 1\n\
             app.py (pid 42);main (app.py:1);g (app.py:1) 1\n\
             app.py (pid 43);main (app.py:1) 1\n\
             app.py (pid 43);main (app.py:1);g (app.py:1) 1\n\
             app.py (pid 43);main (app.py:1);h (app.py:1) 1\n"
        );
        let mut codes = Vec::new();
        let replayed = merged.replay(&mut |event| {
            if let Event::Code(id, code) = event {
                codes.push((id.0, code.function.to_string()));
            }
            Ok(())
        });
        replayed.unwrap();
        let expected = [(0, "main"), (1, "f"), (2, "g"), (3, "h")].map(|(id, name)| (id, name.to_owned()));
        codes.sort_unstable();
        assert_eq!(codes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(expected.iter().all(|(_, name)| codes.iter().any(|(_, code)| code == name)), "{codes:?}");
    }

    #[test]
    fn moments_come_in_the_order_of_the_day_and_accounts_add_up() {
        let merged = Merged::new(vec![recording(7, 1, &["late"; 3]), recording(5, 2, &["early"; 3])]).unwrap();
        let mut times = Vec::new();
        let replayed = merged.replay(&mut |event| {
            if let Event::Sample(sample) = event {
                times.push((sample.at.as_millis(), sample.thread.0));
            }
            Ok(())
        });
        replayed.unwrap();
        assert_eq!(times.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 20, 2000, 2010, 2020]);
        assert!(times[..3].iter().all(|(_, thread)| *thread == times[0].1));
        let synopsis = Synopsis::of(&merged).unwrap();
        assert_eq!((synopsis.elapsed(), synopsis.tally().unwrap().taken), (Duration::from_secs(3), 6));
    }

    #[test]
    fn collapsed_stacks_are_a_process_of_the_name_of_their_file() {
        let other =
            |name| Opened::Collapsed(crate::recording::Collapsed::read("f 2\n", name, SystemTime::UNIX_EPOCH).unwrap());
        let merged = Merged::new(vec![other("a.txt"), other("b.txt")]).unwrap();
        assert_eq!(collapsed(&merged), "a.txt (pid 0);f 2\nb.txt (pid 0);f 2\n");
    }

    #[test]
    fn what_does_not_weigh_the_same_is_refused() {
        let other = Writer::new(Vec::new(), &header(5, 250.0)).unwrap().finish(Ending::Stopped).unwrap();
        let other = Opened::Own(Reader::from_bytes(other).unwrap());
        let refused = Merged::new(vec![recording(5, 42, &[]), other]).err().unwrap();
        assert_eq!(refused, "one was recorded at 100 Hz and one at 250 Hz: their samples do not weigh the same");
    }
}
