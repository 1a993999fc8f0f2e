//! Which samples somebody wants to see: of which threads, and without which code. What is left out is counted.

use crate::pattern::Pattern;
use crate::sample::{Code, Event, ProcessId, Sample, StackId, Tid};

/// What is asked for. Without rules, everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Threads, any of which is wanted; all if there are none.
    pub threads: Vec<ThreadRule>,
    /// Stacks in which some frame matches one of these are not wanted.
    pub exclude: Vec<Pattern>,
}

/// Which threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadRule {
    /// Those with such a name.
    Named(Pattern),
    /// The OS thread with this id, or those with it for a name.
    Numbered(u32),
    /// The main thread of each process: its first, and the one that Python calls so. These are two where a program starts
    /// Python in another thread.
    Main,
}

/// What Python calls the thread that initialised it, unless somebody gave it another name.
const MAIN_THREAD: &str = "MainThread";

impl ThreadRule {
    fn picks(&self, thread: Who) -> bool {
        match (self, thread.os_thread_id) {
            (ThreadRule::Named(pattern), _) => thread.name.is_some_and(|name| pattern.matches(name)),
            (ThreadRule::Numbered(number), id) => {
                id == Some(Tid(*number)) || thread.name.is_some_and(|name| name.parse() == Ok(*number))
            }
            (ThreadRule::Main, id) => {
                // `threading` of another interpreter calls one of its own threads so.
                let is_called_so = thread.interpreter == 0 && thread.name == Some(MAIN_THREAD);
                is_called_so || id.is_some_and(|id| thread.pid == Some(id.0))
            }
        }
    }
}

/// What a thread is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// Its process.
    pub pid: Option<u32>,
    /// Its interpreter: 0 for the main one.
    pub interpreter: i64,
    /// Its OS thread, where that is known.
    pub os_thread_id: Option<Tid>,
    /// Its name, where it has one.
    pub name: Option<&'a str>,
}

impl Rules {
    /// Whether a thread is wanted.
    pub fn pick(&self, thread: Who) -> bool {
        self.threads.is_empty() || self.threads.iter().any(|rule| rule.picks(thread))
    }

    /// Whether code is not wanted.
    pub fn exclude(&self, function: &str, file: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches_code(function, file))
    }
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Thread stacks of threads that are not wanted.
    pub threads: u64,
    /// Thread stacks with code that is not wanted.
    pub excluded: u64,
}

/// Applies rules to a recording.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    rules: Rules,
    /// The process ids of the processes defined.
    pids: Vec<u32>,
    /// Of each thread defined, whether it is wanted.
    threads: Vec<bool>,
    /// Of each code object, frame and stack defined, whether it is not wanted.
    codes: Vec<bool>,
    frames: Vec<bool>,
    stacks: Vec<bool>,
    /// What was left out so far.
    pub left_out: LeftOut,
}

impl Filter {
    /// A filter by rules.
    pub fn new(rules: Rules) -> Filter {
        Filter { rules, ..Filter::default() }
    }

    /// Takes the next event of a recording. False if it is a sample that is not wanted, which is counted.
    pub fn pass(&mut self, event: &Event) -> bool {
        match event {
            Event::Sample(sample) => {
                let (picked, excluded) = self.judge(sample);
                self.left_out.threads += u64::from(!picked);
                self.left_out.excluded += u64::from(picked && excluded);
                picked && !excluded
            }
            other => {
                self.note(other);
                true
            }
        }
    }

    /// Whether every sample is wanted.
    pub fn is_open(&self) -> bool {
        self.rules == Rules::default()
    }

    /// Whether a sample is wanted. It is not counted.
    pub fn wants(&self, sample: &Sample) -> bool {
        self.judge(sample) == (true, false)
    }

    fn judge(&self, sample: &Sample) -> (bool, bool) {
        let picked = self.rules.threads.is_empty() || self.threads.get(sample.thread.index()) == Some(&true);
        (picked, sample.stack.is_some_and(|stack| self.is_excluded(stack)))
    }

    fn is_excluded(&self, stack: StackId) -> bool {
        self.stacks.get(stack.index()) == Some(&true)
    }

    /// Takes a definition.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Process(id, process) => put(&mut self.pids, id.index(), process.pid),
            Event::Thread(id, thread) if !self.rules.threads.is_empty() => {
                let picked = self.rules.pick(Who {
                    pid: self.pid(thread.process),
                    interpreter: thread.interpreter,
                    os_thread_id: thread.os_thread_id,
                    name: thread.name.as_deref(),
                });
                put(&mut self.threads, id.index(), picked);
            }
            _ if self.rules.exclude.is_empty() => {}
            Event::Code(id, Code { function, file, .. }) => {
                put(&mut self.codes, id.index(), self.rules.exclude(function, file));
            }
            Event::Frame(id, frame) => {
                let excluded = self.codes.get(frame.code.index()) == Some(&true);
                put(&mut self.frames, id.index(), excluded);
            }
            Event::Stack { id, caller, frame } => {
                let excluded = self.frames.get(frame.index()) == Some(&true)
                    || caller.is_some_and(|caller| self.is_excluded(caller));
                put(&mut self.stacks, id.index(), excluded);
            }
            _ => {}
        }
    }

    fn pid(&self, process: ProcessId) -> Option<u32> {
        self.pids.get(process.index()).copied()
    }
}

/// Defines an entry of a dense table, or replaces it.
fn put<T>(table: &mut Vec<T>, index: usize, value: T) {
    if index == table.len() {
        table.push(value);
    } else if let Some(entry) = table.get_mut(index) {
        *entry = value;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::{CodeId, Frame, FrameId, GilState, Process, Thread, ThreadId, ThreadState, Weight};

    fn named(pattern: &str) -> ThreadRule {
        ThreadRule::Named(Pattern::new(pattern).unwrap())
    }

    fn excluding(pattern: &str) -> Rules {
        Rules { exclude: vec![Pattern::new(pattern).unwrap()], ..Rules::default() }
    }

    fn who(tid: u32, name: &str) -> Who<'_> {
        Who { pid: Some(42), interpreter: 0, os_thread_id: Some(Tid(tid)), name: Some(name) }
    }

    #[test]
    fn a_thread_is_picked_by_name_by_number_or_as_the_main_one() {
        let rules = Rules { threads: vec![named("worker-*"), ThreadRule::Numbered(57)], ..Rules::default() };
        assert!(rules.pick(who(43, "worker-1")) && rules.pick(who(57, "x")) && rules.pick(who(9, "57")));
        assert!(!rules.pick(who(43, "my worker-1")) && !rules.pick(Who { name: None, ..who(43, "") }));
        let main = Rules { threads: vec![ThreadRule::Main], ..Rules::default() };
        assert!(main.pick(who(42, "renamed")) && !main.pick(who(43, "renamed")));
        assert!(main.pick(who(43, "MainThread")), "Python was started in another thread than the first");
        assert!(!main.pick(Who { interpreter: 1, ..who(43, "MainThread") }));
        assert!(main.pick(Who { os_thread_id: None, ..who(0, "MainThread") }));
        assert!(Rules::default().pick(who(1, "x")));
    }

    /// Two threads, a stack `main > wait` and one `main`.
    fn events() -> Vec<Event> {
        let code = |function: &str| Code { function: function.into(), file: "/srv/app.py".into(), first_line: 1 };
        let process = Process { pid: 42, own_pid: 42, parent: None, command: Vec::new(), python: "3.11.7".into() };
        let thread = |tid, name: &str| Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(tid)),
            python_thread_id: 1,
            name: Some(name.into()),
        };
        vec![
            Event::Process(ProcessId(0), process),
            Event::Code(CodeId(0), code("main")),
            Event::Code(CodeId(1), code("wait")),
            Event::Code(CodeId(2), code("inner")),
            Event::Frame(FrameId(0), Frame { code: CodeId(0), line: None }),
            Event::Frame(FrameId(1), Frame { code: CodeId(1), line: None }),
            Event::Frame(FrameId(2), Frame { code: CodeId(2), line: None }),
            Event::Stack { id: StackId(0), caller: None, frame: FrameId(0) },
            Event::Stack { id: StackId(1), caller: Some(StackId(0)), frame: FrameId(1) },
            Event::Stack { id: StackId(2), caller: Some(StackId(1)), frame: FrameId(2) },
            Event::Thread(ThreadId(0), thread(42, "MainThread")),
            Event::Thread(ThreadId(1), thread(43, "Thread-1")),
        ]
    }

    fn sample(thread: u32, stack: u32) -> Event {
        Event::Sample(Sample {
            at: Duration::ZERO,
            thread: ThreadId(thread),
            state: ThreadState::RunsPython,
            gil: GilState::Held,
            stack: Some(StackId(stack)),
            weight: Weight::ONE,
        })
    }

    fn filter(rules: Rules) -> Filter {
        let mut filter = Filter::new(rules);
        assert!(events().iter().all(|event| filter.pass(event)), "definitions are for everybody");
        filter
    }

    #[test]
    fn a_stack_with_excluded_code_anywhere_is_left_out_and_counted() {
        let mut filter = filter(excluding("wait"));
        assert!(filter.pass(&sample(0, 0)));
        assert!(!filter.pass(&sample(0, 1)) && !filter.pass(&sample(1, 2)));
        assert_eq!(filter.left_out, LeftOut { threads: 0, excluded: 2 });
    }

    #[test]
    fn a_thread_that_gets_the_name_is_wanted_from_then_on() {
        let mut filter = filter(Rules { threads: vec![named("packer")], ..Rules::default() });
        assert!(!filter.pass(&sample(1, 0)));
        let Some(Event::Thread(id, thread)) = events().pop() else { unreachable!("the last defines a thread") };
        filter.pass(&Event::Thread(id, Thread { name: Some("packer".into()), ..thread }));
        assert!(filter.pass(&sample(1, 0)) && !filter.pass(&sample(0, 0)));
        assert_eq!(filter.left_out, LeftOut { threads: 2, excluded: 0 });
    }

    #[test]
    fn without_rules_nothing_is_left_out() {
        let mut filter = filter(Rules::default());
        assert!(filter.pass(&sample(1, 2)) && filter.pass(&sample(9, 9)));
        assert_eq!(filter.left_out, LeftOut::default());
    }
}
