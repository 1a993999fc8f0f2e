//! A recording without what is not wanted of it: a [`Replay`] around another one, so that whatever is made of recordings can be
//! made of parts of them.

use std::io;
use std::time::Duration;

use rustc_hash::FxHashMap;
use wildmatch::WildMatch;

use crate::sample::{
    Code, Event, Frame, GilState, Header, Replay, Sample, Thread, ThreadId, ThreadState, Wanted, define, module,
    short_file,
};

/// Which samples are wanted. One that is empty wants all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of threads whose name one of these patterns matches, or whose id (the OS's or Python's) one of them is.
    pub threads: Vec<Pattern>,
    /// With a frame, anywhere in the stack, that one of these matches.
    pub include: Vec<Pattern>,
    /// Without any frame that one of these matches.
    pub exclude: Vec<Pattern>,
    /// From this time of the recording on.
    pub from: Option<Duration>,
    /// Before this time.
    pub to: Option<Duration>,
    /// Of threads in such states.
    pub wanted: Option<Wanted>,
}

/// Text in which `*` stands for any text and `?` for any character.
///
/// A frame is matched if its qualified function name is, its module (`json.decoder`), both
/// (`json.decoder.JSONDecoder.decode`), or its file, in full or from the entry of `sys.path` on.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    glob: WildMatch,
}

impl Pattern {
    /// What was typed.
    pub fn new(text: &str) -> Pattern {
        Pattern { text: text.into(), glob: WildMatch::new(text) }
    }

    fn matches_thread(&self, thread: &Thread) -> bool {
        let is_id = |id: String| id == self.text;
        thread.os_thread_id.is_some_and(|id| is_id(id.to_string()))
            || is_id(thread.python_thread_id.to_string())
            || is_id(format!("{:#x}", thread.python_thread_id))
            || self.glob.matches(thread.name.as_deref().unwrap_or("unnamed"))
    }

    fn matches_code(&self, code: &Code, search_path: &[String]) -> bool {
        let module = module(&code.file, search_path);
        self.glob.matches(&code.function)
            || self.glob.matches(&module)
            || self.glob.matches(&format!("{module}.{}", code.function))
            || self.glob.matches(&code.file)
            || self.glob.matches(short_file(&code.file, search_path))
    }
}

impl Filter {
    /// Whether a recording of some threads has all that would be in one of others.
    pub fn can_narrow(recorded: Wanted, wanted: Wanted) -> bool {
        recorded == wanted || recorded == Wanted::All
    }

    fn wants_time(&self, at: Duration) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }

    /// As the sampler chooses.
    fn wants_state(&self, sample: &Sample) -> bool {
        match self.wanted {
            None | Some(Wanted::All | Wanted::Contenders) => true,
            Some(Wanted::Running) => sample.state.runs() || sample.state == ThreadState::Unknown,
            Some(Wanted::Holders) => matches!(sample.gil, GilState::Held | GilState::Unknown),
        }
    }
}

/// A part of a recording. Its account is that of the whole.
pub struct Filtered<'a> {
    inner: &'a dyn Replay,
    filter: Filter,
    search_path: Vec<String>,
    header: Header,
}

impl<'a> Filtered<'a> {
    /// What a filter leaves of a recording; `search_path` is every entry that its `sys.path` had.
    pub fn new(inner: &'a dyn Replay, filter: Filter, search_path: Vec<String>) -> Filtered<'a> {
        let header = inner.header().clone();
        let header = Header { wanted: filter.wanted.unwrap_or(header.wanted), ..header };
        Filtered { inner, filter, search_path, header }
    }
}

impl Replay for Filtered<'_> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        let mut seen = Seen {
            filtered: self,
            threads: FxHashMap::default(),
            codes: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
        };
        self.inner.replay(&mut |event| match seen.wants(&event) {
            true => take(event),
            false => Ok(()),
        })
    }
}

/// What is known of a recording that is gone through.
struct Seen<'a> {
    filtered: &'a Filtered<'a>,
    threads: FxHashMap<ThreadId, bool>,
    codes: Vec<Matched>,
    frames: Vec<Matched>,
    stacks: Vec<Matched>,
}

/// Whether something is, or is called by something, that a pattern matches.
#[derive(Clone, Copy, Debug, Default)]
struct Matched {
    included: bool,
    excluded: bool,
}

impl Seen<'_> {
    fn wants(&mut self, event: &Event) -> bool {
        let filter = &self.filtered.filter;
        match event {
            Event::Thread(id, thread) => {
                if !filter.threads.is_empty() {
                    self.threads.insert(*id, filter.threads.iter().any(|pattern| pattern.matches_thread(thread)));
                }
            }
            Event::Code(id, code) => {
                let matched = self.code(code);
                define(&mut self.codes, id.index(), matched);
            }
            Event::Frame(id, Frame { code, .. }) => {
                let matched = self.codes.get(code.index()).copied().unwrap_or_default();
                define(&mut self.frames, id.index(), matched);
            }
            Event::Stack { id, caller, frame } => {
                let callers = caller.and_then(|caller| self.stacks.get(caller.index())).copied().unwrap_or_default();
                let own = self.frames.get(frame.index()).copied().unwrap_or_default();
                let included = own.included || callers.included;
                define(&mut self.stacks, id.index(), Matched { included, excluded: own.excluded || callers.excluded });
            }
            Event::Gil(sample) => return filter.wants_time(sample.at),
            Event::Sample(sample) => return self.wants_sample(sample),
            Event::Process(..) | Event::SearchPath(_) | Event::Progress(..) | Event::Remark(_) => {}
        }
        true
    }

    fn code(&self, code: &Code) -> Matched {
        let Filtered { filter, search_path, .. } = self.filtered;
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches_code(code, search_path));
        Matched { included: any(&filter.include), excluded: any(&filter.exclude) }
    }

    fn wants_sample(&self, sample: &Sample) -> bool {
        let filter = &self.filtered.filter;
        let stack = sample.stack.and_then(|stack| self.stacks.get(stack.index())).copied().unwrap_or_default();
        filter.wants_time(sample.at)
            && filter.wants_state(sample)
            && (filter.threads.is_empty() || self.threads.get(&sample.thread) == Some(&true))
            && (filter.include.is_empty() || stack.included)
            && !stack.excluded
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::sample::{CodeId, FrameId, GilHeld, GilSample, Literal, ProcessId, StackId, Tid};

    /// main calls json's dumps and, in another thread, Worker.run; a third thread has no frames.
    fn recording() -> Literal {
        let code = |id, function: &str, file: &str| {
            Event::Code(CodeId(id), Code { function: function.into(), file: file.into(), first_line: 1 })
        };
        let frame = |id| Event::Frame(FrameId(id), Frame { code: CodeId(id), line: None });
        let stack =
            |id, caller: Option<u32>| Event::Stack { id: StackId(id), caller: caller.map(StackId), frame: FrameId(id) };
        let thread = |id, name: &str| {
            let (process, os_thread_id) = (ProcessId(0), Some(Tid(100 + id)));
            Event::Thread(
                ThreadId(id),
                Thread {
                    process,
                    interpreter: 0,
                    os_thread_id,
                    python_thread_id: 0xbeef + u64::from(id),
                    name: Some(name.into()),
                },
            )
        };
        let sample = |millis, thread, state, gil, stack: Option<u32>| {
            let at = Duration::from_millis(millis);
            Event::Sample(Sample { at, thread: ThreadId(thread), state, gil, stack: stack.map(StackId) })
        };
        let gil = GilSample {
            at: Duration::from_millis(10),
            process: ProcessId(0),
            interpreter: 0,
            owner: 0,
            holder: GilHeld::Free,
            switches: None,
            interval: None,
            is_collecting: false,
        };
        use ThreadState::{RunsDetached, RunsPython, Sleeps};
        let events = vec![
            code(0, "main", "/srv/app.py"),
            code(1, "dumps", "/lib/json/__init__.py"),
            code(2, "Worker.run", "/srv/jobs/worker.py"),
            frame(0),
            frame(1),
            frame(2),
            stack(0, None),
            stack(1, Some(0)),
            stack(2, Some(0)),
            thread(0, "MainThread"),
            thread(1, "worker-1"),
            Event::Gil(gil),
            sample(10, 0, RunsPython, GilState::Held, Some(1)),
            sample(10, 1, Sleeps, GilState::NotHeld, Some(2)),
            sample(20, 0, RunsPython, GilState::Held, Some(0)),
            sample(20, 1, RunsDetached, GilState::NotHeld, Some(2)),
            sample(30, 1, Sleeps, GilState::NotHeld, None),
        ];
        let (pysample, program) = (String::new(), String::new());
        Literal {
            header: Header { pysample, program, started: SystemTime::UNIX_EPOCH, rate: 100.0, wanted: Wanted::All },
            events,
        }
    }

    /// The samples that are left: their milliseconds and threads.
    fn left(filter: Filter) -> Vec<(u128, u32)> {
        let (recording, path) = (recording(), vec!["/lib".into(), "/srv".into()]);
        let mut left = Vec::new();
        let taken = Filtered::new(&recording, filter, path).replay(&mut |event| {
            if let Event::Sample(sample) = event {
                left.push((sample.at.as_millis(), sample.thread.0));
            }
            Ok(())
        });
        taken.unwrap();
        left
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text)).collect()
    }

    const ALL: [(u128, u32); 5] = [(10, 0), (10, 1), (20, 0), (20, 1), (30, 1)];

    #[test]
    fn a_filter_that_is_empty_wants_all() {
        assert_eq!(left(Filter::default()), ALL);
    }

    #[test]
    fn threads_are_chosen_by_name_and_by_id() {
        for text in ["worker-*", "WORKER-1", "101", "48880", "0xbef0"] {
            let expected: &[_] = if text == "WORKER-1" { &[] } else { &[(10, 1), (20, 1), (30, 1)] };
            assert_eq!(left(Filter { threads: patterns(&[text]), ..Filter::default() }), expected, "{text}");
        }
        assert_eq!(left(Filter { threads: patterns(&["Main*", "101"]), ..Filter::default() }), ALL);
    }

    #[test]
    fn a_frame_is_matched_by_function_module_both_and_file() {
        for text in ["dumps", "json", "json.dumps", "json.*", "json/__init__.py", "/lib/*", "d?mps"] {
            assert_eq!(left(Filter { include: patterns(&[text]), ..Filter::default() }), [(10, 0)], "{text}");
        }
        for text in ["Worker.run", "jobs.worker", "jobs.*", "*.run"] {
            let filter = Filter { exclude: patterns(&[text]), ..Filter::default() };
            assert_eq!(left(filter), [(10, 0), (20, 0), (30, 1)], "{text}");
        }
        assert_eq!(left(Filter { include: patterns(&["dump"]), ..Filter::default() }), []);
    }

    #[test]
    fn a_frame_counts_wherever_it_is_in_the_stack() {
        let include = Filter { include: patterns(&["main"]), ..Filter::default() };
        assert_eq!(left(include.clone()), ALL[..4]);
        assert_eq!(left(Filter { exclude: patterns(&["json"]), ..include }), [(10, 1), (20, 0), (20, 1)]);
    }

    #[test]
    fn a_time_range_has_its_beginning_and_not_its_end() {
        let millis = |n| Some(Duration::from_millis(n));
        let filter = |from, to| Filter { from, to, ..Filter::default() };
        assert_eq!(left(filter(millis(20), None)), ALL[2..]);
        assert_eq!(left(filter(None, millis(20))), ALL[..2]);
        assert_eq!(left(filter(millis(20), millis(30))), ALL[2..4]);
    }

    #[test]
    fn a_mode_is_what_the_sampler_would_have_chosen() {
        let of = |wanted| left(Filter { wanted: Some(wanted), ..Filter::default() });
        assert_eq!(of(Wanted::Running), [(10, 0), (20, 0), (20, 1)]);
        assert_eq!(of(Wanted::Holders), [(10, 0), (20, 0)]);
        assert_eq!(of(Wanted::All), ALL);
        assert!(Filter::can_narrow(Wanted::All, Wanted::Holders) && !Filter::can_narrow(Wanted::Running, Wanted::All));
        assert!(!Filter::can_narrow(Wanted::Running, Wanted::Holders), "a holder may sleep");
    }

    #[test]
    fn gil_samples_are_kept_within_the_time() {
        let recording = recording();
        let count = |filter: Filter| {
            let mut gils = 0;
            let count = &mut |event| {
                gils += u32::from(matches!(event, Event::Gil(_)));
                Ok(())
            };
            Filtered::new(&recording, filter, Vec::new()).replay(count).unwrap();
            gils
        };
        assert_eq!(count(Filter { threads: patterns(&["x"]), ..Filter::default() }), 1);
        assert_eq!(count(Filter { from: Some(Duration::from_millis(11)), ..Filter::default() }), 0);
    }
}
