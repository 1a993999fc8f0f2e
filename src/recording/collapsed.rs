//! Collapsed stacks that others wrote, as a recording: `outermost;...;innermost 12` a line. They have no times, states or
//! GILs, so none are told: samples follow each other at the rate of the recording, 100 a second where it is not known.
//!
//! What the tools write is understood as far as it goes: frames `function (file:line)` (pysample, py-spy) and, below `P` and
//! `T`, `file:function:line` (Austin, whose counts are microseconds where it tells an interval); at the root, processes
//! `program (pid 42)` and threads `name (thread 42)` (pysample), and processes `process 42:"python app.py"`, each below the one
//! that began it, and threads `thread (42): name` (py-spy). Anything else is a function's name.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::sample::{
    Code, CodeId, Event, Frame, FrameId, GilState, Header, Process, ProcessId, Replay, Sample, StackId, Thread,
    ThreadId, ThreadState, Tid, Wanted, Weight,
};

/// More samples than that are no collapsed file of samples: at 1000 Hz it is seven weeks.
const MOST_SAMPLES: u64 = u32::MAX as u64;
/// No sampler waits longer from one sample to the next: an hour, in microseconds.
const LONGEST_INTERVAL: u64 = 3_600_000_000;
/// The rate where none is known.
const USUAL_RATE: f64 = 100.0;

/// Collapsed stacks as a recording.
#[derive(Clone, Debug)]
pub struct Collapsed {
    header: Header,
    definitions: Vec<Event>,
    counts: Vec<(ThreadId, StackId, u64)>,
}

impl Collapsed {
    /// Reads collapsed stacks of a program, written at some time.
    ///
    /// # Errors
    ///
    /// Which line is none, and why.
    pub fn read(text: &str, program: &str, started: SystemTime) -> Result<Collapsed, String> {
        let mut reading = Reading::default();
        // Some editors begin a file with a mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            reading.line(line).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        reading.end(program, started)
    }

    /// Its events, one after another.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let samples = self.counts.iter().flat_map(|&(thread, stack, count)| (0..count).map(move |_| (thread, stack)));
        let samples = samples.zip(0..).map(|((thread, stack), number)| self.sample(thread, stack, number));
        self.definitions.iter().cloned().chain(samples)
    }

    /// A sample that so many others came before.
    fn sample(&self, thread: ThreadId, stack: StackId, number: u64) -> Event {
        let at = Duration::from_secs_f64(number as f64 / self.header.rate);
        let (state, gil, stack) = (ThreadState::Unknown, GilState::Unknown, Some(stack));
        Event::Sample(Sample { at, thread, state, gil, stack, weight: Weight::ONE })
    }
}

impl Replay for Collapsed {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        self.events().try_for_each(take)
    }

    fn replay_counted(&self, take: &mut dyn FnMut(Event, u64) -> io::Result<()>) -> io::Result<()> {
        self.definitions.iter().cloned().try_for_each(|event| take(event, 1))?;
        let mut number = 0;
        for &(thread, stack, count) in self.counts.iter().filter(|(.., count)| *count > 0) {
            number += count;
            take(self.sample(thread, stack, number - 1), count)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reading {
    codes: HashMap<(Arc<str>, Arc<str>), usize>,
    /// Function, file and the first line that was seen.
    code_list: Vec<Code>,
    frames: HashMap<Frame, FrameId>,
    stacks: HashMap<(Option<StackId>, FrameId), StackId>,
    threads: HashMap<(ProcessId, String), ThreadId>,
    processes: HashMap<String, ProcessId>,
    definitions: Vec<Event>,
    counts: Vec<(ThreadId, StackId, u64)>,
    /// Austin's sampling interval in microseconds.
    interval: Option<u64>,
}

/// What is known of a thread's ids: the OS's, and Python's, 0 where it is not.
#[derive(Clone, Copy, Debug, Default)]
struct Ids {
    os: Option<u32>,
    python: u64,
}

/// How a tool spells frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Usual,
    Austin,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let interval = comment.trim().strip_prefix("interval:").and_then(|rest| rest.trim().parse().ok());
            self.interval = interval.filter(|interval| (1..=LONGEST_INTERVAL).contains(interval)).or(self.interval);
            return Ok(());
        }
        if line.is_empty() {
            return Ok(());
        }
        let (stack, count) = line.rsplit_once([' ', '\t']).ok_or("it is no stack and its count")?;
        let count = match count.parse::<u64>() {
            Ok(count) => count,
            Err(_) => match count.parse::<f64>() {
                Ok(count) if (0.0..1e15).contains(&count) => count.round() as u64,
                _ => {
                    return Err(format!(
                        "it ends in '{}', which is no count",
                        count.chars().take(40).collect::<String>()
                    ));
                }
            },
        };
        self.stack(stack.trim_end(), count)
    }

    fn stack(&mut self, stack: &str, count: u64) -> Result<(), String> {
        let labels: Vec<&str> = stack.split(';').collect();
        let (root, frames, dialect) = self.root(&labels);
        let mut caller = None;
        for label in frames {
            let frame = self.frame(label, dialect);
            caller = Some(self.push(caller, frame));
        }
        match caller {
            Some(stack) => self.counts.push((root, stack, count)),
            // A process or a thread alone.
            None => return Ok(()),
        }
        Ok(())
    }

    /// The thread that a stack begins with, and the rest.
    fn root<'a, 'b>(&mut self, labels: &'a [&'b str]) -> (ThreadId, &'a [&'b str], Dialect) {
        if let [process, thread, frames @ ..] = labels
            && let (Some(pid), Some(tid)) = (after(process, "P"), thread.strip_prefix('T'))
        {
            // Interpreter and thread; the thread alone in older versions. One that is no number is a name.
            let (interpreter, tid) = tid.split_once(':').unwrap_or(("", tid));
            let interpreter = interpreter.parse().unwrap_or(0);
            let (name, id) = match tid.parse() {
                Ok(id) => ("", Some(id)),
                Err(_) => (tid, None),
            };
            let process = self.process(Vec::new(), pid, None);
            return (self.thread(process, interpreter, name, Ids { os: id, python: 0 }), frames, Dialect::Austin);
        }
        let (process, rest) = match labels {
            [first, rest @ ..] if in_brackets(first, "pid ").is_some() => {
                let (program, pid) = in_brackets(first, "pid ").unwrap_or_default();
                (self.process(vec![program.to_owned()], pid, None), rest)
            }
            all => self.lineage(all),
        };
        let Some((first, frames)) = rest.split_first() else {
            return (self.thread(process, 0, "", Ids::default()), rest, Dialect::Usual);
        };
        let thread = in_brackets(first, "thread ").map(|(name, id)| (name, Ids { os: Some(id), python: 0 }));
        match thread.or_else(|| thread_before_name(first)) {
            Some((name, ids)) => (self.thread(process, 0, name, ids), frames, Dialect::Usual),
            None => (self.thread(process, 0, "", Ids::default()), rest, Dialect::Usual),
        }
    }

    /// The process that a stack of py-spy begins with, below those that it descends from, and the rest.
    fn lineage<'a, 'b>(&mut self, mut labels: &'a [&'b str]) -> (ProcessId, &'a [&'b str]) {
        let mut parent = None;
        while let Some((pid, command, rest)) = command_of(labels) {
            (parent, labels) = (Some(self.process(command, pid, parent)), rest);
        }
        (parent.unwrap_or(ProcessId(0)), labels)
    }

    /// A process by the words of its command, as far as they are known.
    fn process(&mut self, command: Vec<String>, pid: u32, parent: Option<ProcessId>) -> ProcessId {
        let next = ProcessId(self.processes.len() as u32);
        *self.processes.entry(format!("{} {pid}", command.join(" "))).or_insert_with(|| {
            let process = Process { pid, own_pid: pid, parent, command, python: String::new() };
            self.definitions.push(Event::Process(next, process));
            next
        })
    }

    fn thread(&mut self, process: ProcessId, interpreter: i64, name: &str, ids: Ids) -> ThreadId {
        let next = ThreadId(self.threads.len() as u32);
        *self.threads.entry((process, format!("{interpreter} {name} {ids:?}"))).or_insert_with(|| {
            let name = (!name.is_empty()).then(|| name.into());
            let (os_thread_id, python_thread_id) = (ids.os.map(Tid), ids.python);
            let thread = Thread { process, interpreter, os_thread_id, python_thread_id, name };
            self.definitions.push(Event::Thread(next, thread));
            next
        })
    }

    fn frame(&mut self, label: &str, dialect: Dialect) -> FrameId {
        let (function, file, line) = parse_frame(label, dialect);
        let key = (Arc::from(function), Arc::from(file));
        let code = match self.codes.get(&key) {
            Some(code) => *code,
            None => {
                let (function, file) = key.clone();
                self.code_list.push(Code { function, file, first_line: line.unwrap_or(0) });
                self.codes.insert(key, self.code_list.len() - 1);
                self.code_list.len() - 1
            }
        };
        let first = &mut self.code_list[code].first_line;
        *first = line.map_or(*first, |line| if *first == 0 { line } else { line.min(*first) });
        let (next, frame) = (FrameId(self.frames.len() as u32), Frame { code: CodeId(code as u32), line });
        *self.frames.entry(frame).or_insert_with(|| {
            self.definitions.push(Event::Frame(next, frame));
            next
        })
    }

    fn push(&mut self, caller: Option<StackId>, frame: FrameId) -> StackId {
        let id = StackId(self.stacks.len() as u32);
        *self.stacks.entry((caller, frame)).or_insert_with(|| {
            self.definitions.push(Event::Stack { id, caller, frame });
            id
        })
    }

    fn end(self, program: &str, started: SystemTime) -> Result<Collapsed, String> {
        let scaled = |count: u64| match self.interval {
            Some(interval) => count / interval + u64::from(count % interval >= interval.div_ceil(2)),
            None => count,
        };
        let counts: Vec<_> = self.counts.iter().map(|&(thread, stack, count)| (thread, stack, scaled(count))).collect();
        let total = counts.iter().try_fold(0_u64, |sum, (.., count)| sum.checked_add(*count));
        if total.is_none_or(|total| total > MOST_SAMPLES) {
            return Err(format!("its counts add up to more than {MOST_SAMPLES} samples: they may be bytes or times"));
        }
        let codes = self.code_list.into_iter().enumerate();
        let codes = codes.map(|(id, code)| Event::Code(CodeId(id as u32), code));
        let header = Header {
            pysample: String::new(),
            program: program.into(),
            // An own recording can have no earlier one.
            started: started.max(SystemTime::UNIX_EPOCH),
            rate: self.interval.map_or(USUAL_RATE, |interval| 1e6 / interval as f64),
            wanted: Wanted::All,
        };
        Ok(Collapsed { header, definitions: codes.chain(self.definitions).collect(), counts })
    }
}

/// The number after a prefix, if there is nothing else.
fn after(label: &str, prefix: &str) -> Option<u32> {
    label.strip_prefix(prefix)?.parse().ok()
}

/// The parts of `name (what 42)`, where `what` ends with a space.
fn in_brackets<'a>(label: &'a str, what: &str) -> Option<(&'a str, u32)> {
    let (name, rest) = label.strip_suffix(')')?.rsplit_once(" (")?;
    Some((name, after(rest, what)?))
}

/// The process `process 42:"python app.py"` that labels begin with, the words of its command, and the labels after it. There may
/// be semicolons in a command.
fn command_of<'a, 'b>(labels: &'a [&'b str]) -> Option<(u32, Vec<String>, &'a [&'b str])> {
    let (pid, begin) = labels.first()?.strip_prefix("process ")?.split_once(":\"")?;
    let rests = std::iter::once(begin).chain(labels[1..].iter().copied());
    let last = rests.clone().position(|rest| rest.ends_with('"'))?;
    let command = rests.take(last + 1).collect::<Vec<_>>().join(";");
    let words = command.strip_suffix('"')?.split_whitespace().map(str::to_owned);
    Some((pid.parse().ok()?, words.collect(), &labels[last + 1..]))
}

/// Name and ids of `thread (42): name`, where an id that is not the OS's is Python's: `thread (0x7F01): name`.
fn thread_before_name(label: &str) -> Option<(&str, Ids)> {
    let (id, rest) = label.strip_prefix("thread (")?.split_once(')')?;
    let name = match rest.strip_prefix(": ") {
        Some(name) => name,
        None if rest.is_empty() => "",
        None => return None,
    };
    let ids = match id.strip_prefix("0x") {
        Some(digits) => Ids { os: None, python: u64::from_str_radix(digits, 16).ok()? },
        None => Ids { os: Some(id.parse().ok()?), python: 0 },
    };
    Some((name, ids))
}

/// Function, file and line of a frame.
fn parse_frame(label: &str, dialect: Dialect) -> (&str, &str, Option<u32>) {
    if dialect == Dialect::Austin {
        let mut parts = label.rsplitn(3, ':');
        if let (Some(Ok(line)), Some(function), Some(file)) = (parts.next().map(str::parse), parts.next(), parts.next())
        {
            return (function, file, Some(line).filter(|line| *line > 0));
        }
    }
    let Some((function, place)) = label.strip_suffix(')').and_then(|label| label.split_once(" (")) else {
        return (label, "", None);
    };
    match place.rsplit_once(':') {
        Some((file, line)) if line.parse::<u32>().is_ok() => (function, file, line.parse().ok()),
        _ => (function, place, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::CallTree;
    use crate::export::{Files, Folded, Labels, Threads};

    fn read(text: &str) -> Result<Collapsed, String> {
        Collapsed::read(text, "x.txt", SystemTime::UNIX_EPOCH)
    }

    /// Written again, with full file names.
    fn again(text: &str, threads: Threads) -> String {
        let (mut tree, mut out) = (CallTree::default(), Vec::new());
        read(text).unwrap().events().for_each(|event| tree.take(event));
        let labels = Labels { threads, files: Files::Full, ..Labels::default() };
        crate::export::collapsed::write(&Folded::new(&tree, &labels), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_pysample_writes_comes_back() {
        let text =
            "<module> (app.py:9) 2\n<module> (app.py:9);Job.run (jobs/job.py:4) 3\n<module> (app.py:9);f (x.py) 1\n";
        assert_eq!(again(text, Threads::Merged), text);
        let text = "main (thread 42);f (x.py:1) 2\nworker-1 (thread 43);f (x.py:1) 3\n";
        assert_eq!(again(text, Threads::Apart), text);
        let text = "app.py (pid 7);f (x.py:1) 2\nworker.py (pid 8);f (x.py:1) 3\n";
        assert_eq!(again(text, Threads::Merged), text);
    }

    #[test]
    fn names_alone_come_back() {
        let text = "main 1\nmain;_ZN3fooE 2\nmain;std::vec<int>::push_back_[k] 3\n";
        assert_eq!(again(text, Threads::Merged), text);
    }

    #[test]
    fn what_austin_writes_is_understood() {
        let text = "# austin: 3.6.0\n# interval: 10000\n# mode: wall\n\nP42;T0:43;/srv/app.py:<module>:9;/srv/app.py:f:3 20000\nP42;T0:43;/srv/app.py:<module>:9 9900\n";
        assert_eq!(read(text).unwrap().header().rate, 100.0);
        let written = "unnamed (thread 43);<module> (/srv/app.py:9) 1\nunnamed (thread 43);<module> (/srv/app.py:9);f (/srv/app.py:3) 2\n";
        assert_eq!(again(text, Threads::Apart), written);
    }

    #[test]
    fn threads_of_austin_are_told_apart_whatever_they_are_called() {
        let text = "P42;T0x7f01;a.py:f:1 1\nP42;T0x7f02;a.py:f:1 2\nP42;T0:MainThread;a.py:f:1 3\nP42;T43;a.py:f:1 4\n";
        let mut written: Vec<String> =
            again(text, Threads::Apart).lines().map(|line| line.replace(";f (a.py:1)", "")).collect();
        written.sort();
        assert_eq!(written.len(), 4, "{written:?}");
        for name in ["0x7f01", "0x7f02", "MainThread", "unnamed (thread 43)"] {
            assert!(written.iter().any(|line| line.starts_with(name)), "{name}: {written:?}");
        }
        let in_two = read("P42;T0:43;a.py:f:1 1\nP42;T1:43;a.py:f:1 2\n").unwrap();
        assert_eq!(in_two.definitions.iter().filter(|event| matches!(event, Event::Thread(..))).count(), 2);
    }

    #[test]
    fn processes_and_threads_of_py_spy_are_what_they_are() {
        let master = r#"process 7:"python -c import os; os.fork()""#;
        let text = format!(
            "{master};thread (7): MainThread;f (x.py:1) 1\n\
             {master};process 8:\"python3 /srv/work.py 3\";thread (0x7F01): pool;f (x.py:1) 2\n\
             {master};process 8:\"python3 /srv/work.py 3\";thread (0x7F02);f (x.py:1) 3\n"
        );
        let read = read(&text).unwrap();
        let processes: Vec<_> = read
            .definitions
            .iter()
            .filter_map(|event| match event {
                Event::Process(_, process) => Some((process.pid, process.parent, process.command.len())),
                _ => None,
            })
            .collect();
        assert_eq!(processes, [(7, None, 5), (8, Some(ProcessId(0)), 3)]);
        let written = "python (pid 7);MainThread (thread 7);f (x.py:1) 1\n\
                       work.py (pid 8);pool (Python thread 0x7f01);f (x.py:1) 2\n\
                       work.py (pid 8);unnamed (Python thread 0x7f02);f (x.py:1) 3\n";
        assert_eq!(again(&text, Threads::Apart), written);
        // What only looks like one is a function.
        for text in
            ["process 7:\"python;f (x.py:1) 1\n", "thread (pool);f (x.py:1) 1\n", "thread (1)x 1\n", "process 7 1\n"]
        {
            assert_eq!(again(text, Threads::Merged), text);
        }
    }

    #[test]
    fn an_interval_that_no_sampler_has_is_none_and_no_count_is_lost() {
        let samples = |text: &str| read(text).map(|read| read.counts.iter().map(|count| count.2).sum::<u64>());
        assert_eq!(samples("# interval: 18446744073709551615\na 5\n"), Ok(5));
        assert_eq!(samples("# interval: 10\na 25\na 24\na 0\n"), Ok(3 + 2));
        // Rounding must not go round.
        let error = samples("# interval: 10\na 18446744073709551615\n").unwrap_err();
        assert!(error.contains("add up to more than"), "{error}");
    }

    #[test]
    fn a_file_of_before_1970_is_of_1970() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let read = Collapsed::read("a 1\n", "x.txt", before).unwrap();
        assert_eq!(read.header().started, SystemTime::UNIX_EPOCH);
        crate::recording::Writer::new(Vec::new(), read.header()).unwrap();
    }

    #[test]
    fn a_mark_of_the_encoding_is_no_part_of_a_name() {
        assert_eq!(again("\u{feff}main 1\n", Threads::Merged), "main 1\n");
    }

    #[test]
    fn samples_follow_each_other() {
        let times: Vec<_> = read("a 2\nb 1.0\n")
            .unwrap()
            .events()
            .filter_map(|event| match event {
                Event::Sample(sample) => Some(sample.at.as_millis()),
                _ => None,
            })
            .collect();
        assert_eq!(times, [0, 10, 20]);
    }

    #[test]
    fn samples_that_are_counted_are_those_that_are_told_one_by_one() {
        let read = read("app (pid 7);a 2\na;b 1\nc 0\na;b 3\n").unwrap();
        let (mut tree, mut counted) = (CallTree::default(), CallTree::default());
        read.events().for_each(|event| tree.take(event));
        let mut last = Duration::ZERO;
        let replayed = read.replay_counted(&mut |event, count| {
            if let Event::Sample(sample) = &event {
                last = sample.at;
            }
            counted.take_often(event, count);
            Ok(())
        });
        replayed.unwrap();
        assert_eq!((counted.samples(), last), (6, Duration::from_millis(50)));
        let collapse = |tree: &CallTree| {
            let mut out = Vec::new();
            crate::export::collapsed::write(&Folded::new(tree, &Labels::default()), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(collapse(&counted), collapse(&tree));
    }

    #[test]
    fn a_line_that_is_none_is_told() {
        assert_eq!(read("a 1\n\nno count\n").unwrap_err(), "line 3: it ends in 'count', which is no count");
        assert_eq!(read("nothing\n").unwrap_err(), "line 1: it is no stack and its count");
        assert!(read(&format!("a {}\na {}\n", u64::MAX, u64::MAX)).unwrap_err().contains("add up"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c;: ()P T0-9#\\n]{0,60}") {
            if let Ok(collapsed) = read(&text) {
                let _ = collapsed.events().take(100).count();
            }
        }
    }
}
