//! A recording without what is not wanted of it: a [`Replay`] around another one, so that whatever is made of recordings can be
//! made of parts of them.

use std::io;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::pattern::Pattern;
use crate::sample::{
    Code, Event, Frame, GilSample, GilState, Header, Replay, Sample, Tally, Thread, ThreadId, ThreadState, Wanted,
    Weight, define,
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

/// Whether a thread has such a name or id.
fn matches_thread(pattern: &Pattern, thread: &Thread) -> bool {
    let is_id = |id: String| id == pattern.text();
    thread.os_thread_id.is_some_and(|id| is_id(id.to_string()))
        || is_id(thread.python_thread_id.to_string())
        || is_id(format!("{:#x}", thread.python_thread_id))
        || pattern.matches(thread.name.as_deref().unwrap_or("unnamed"))
}

impl Filter {
    /// Whether a recording of some threads has all that would be in one of others.
    pub fn can_narrow(recorded: Wanted, wanted: Wanted) -> bool {
        recorded == wanted || recorded == Wanted::All
    }

    /// Whether it leaves everything in.
    pub fn is_empty(&self) -> bool {
        let Filter { threads, include, exclude, from, to, wanted } = self;
        threads.is_empty()
            && include.is_empty()
            && exclude.is_empty()
            && from.is_none()
            && to.is_none()
            && wanted.is_none()
    }

    fn parts_time(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// What is wanted, with the time since the part began. A moment stands for none of the slots before that, of which there
    /// are so many a second.
    fn moved(&self, event: Event, rate: f64) -> Event {
        let Some(from) = self.from else { return event };
        let left = |at: Duration, weight: Weight| {
            let before = (at.as_secs_f64() * rate) as u64;
            weight.min(Weight::after(before))
        };
        match event {
            Event::Sample(sample) => {
                let at = sample.at.saturating_sub(from);
                Event::Sample(Sample { at, weight: left(at, sample.weight), ..sample })
            }
            Event::Gil(gil) => {
                let at = gil.at.saturating_sub(from);
                Event::Gil(GilSample { at, weight: left(at, gil.weight), ..gil })
            }
            event => event,
        }
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

/// A part of a recording.
///
/// A part of its time begins at its own beginning: its times count from there. Its account is what the part has of that of
/// the whole by its share of the time. For all else that is left out the account stays that of the whole: as many moments
/// were looked at.
pub struct Filtered<'a> {
    inner: &'a dyn Replay,
    filter: Filter,
    header: Header,
}

impl<'a> Filtered<'a> {
    /// What a filter leaves of a recording.
    pub fn new(inner: &'a dyn Replay, filter: Filter) -> Filtered<'a> {
        let header = inner.header().clone();
        let wanted = filter.wanted.unwrap_or(header.wanted);
        let started = header.started.checked_add(filter.from.unwrap_or_default()).unwrap_or(header.started);
        let header = Header { wanted, started, ..header };
        Filtered { inner, filter, header }
    }
}

impl Replay for Filtered<'_> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn has_end(&self) -> bool {
        self.inner.has_end()
    }

    fn replay_counted(&self, take: &mut dyn FnMut(Event, u64) -> io::Result<()>) -> io::Result<()> {
        if self.filter.parts_time() {
            return self.replay(&mut |event| take(event, 1));
        }
        let mut seen = Seen::new(self);
        self.inner.replay_counted(&mut |event, count| match seen.wants(&event) {
            true => take(event, count),
            false => Ok(()),
        })
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        let mut seen = Seen::new(self);
        self.inner.replay(&mut |event| match seen.wants(&event) {
            true => take(self.filter.moved(event, self.header.rate)),
            false => Ok(()),
        })?;
        match seen.part() {
            Some((elapsed, tally)) => take(Event::Progress(elapsed, tally)),
            None => Ok(()),
        }
    }
}

/// What is known of a recording that is gone through.
struct Seen<'a> {
    filtered: &'a Filtered<'a>,
    threads: FxHashMap<ThreadId, bool>,
    codes: Vec<Matched>,
    frames: Vec<Matched>,
    stacks: Vec<Matched>,
    /// When the last sample was, wanted or not.
    last: Duration,
    /// The account of the whole, where a part of the time is wanted.
    account: Option<(Duration, Tally)>,
}

/// Whether something is, or is called by something, that a pattern matches.
#[derive(Clone, Copy, Debug, Default)]
struct Matched {
    included: bool,
    excluded: bool,
}

impl<'a> Seen<'a> {
    fn new(filtered: &'a Filtered<'a>) -> Seen<'a> {
        Seen {
            filtered,
            threads: FxHashMap::default(),
            codes: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            last: Duration::ZERO,
            account: None,
        }
    }

    fn wants(&mut self, event: &Event) -> bool {
        let filter = &self.filtered.filter;
        match event {
            Event::Progress(elapsed, tally) if filter.parts_time() => {
                self.account = Some((*elapsed, *tally));
                return false;
            }
            Event::Thread(id, thread) => {
                if !filter.threads.is_empty() {
                    self.threads.insert(*id, filter.threads.iter().any(|pattern| matches_thread(pattern, thread)));
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
            Event::Sample(sample) => {
                self.last = sample.at;
                return self.wants_sample(sample);
            }
            Event::Process(..) | Event::SearchPath(_) | Event::Progress(..) | Event::Remark(_) => {}
        }
        true
    }

    /// The account of a part of the time: how long it is, and its share of the account of the whole.
    fn part(&self) -> Option<(Duration, Tally)> {
        let (told, tally) = self.account?;
        let Filter { from, to, .. } = self.filtered.filter;
        let whole = told.max(self.last);
        let elapsed = to.map_or(whole, |to| to.min(whole)).saturating_sub(from.unwrap_or_default());
        let share = if told.is_zero() { 0.0 } else { elapsed.as_secs_f64() / told.as_secs_f64() };
        Some((elapsed, tally.part(share)))
    }

    fn code(&self, code: &Code) -> Matched {
        let Filtered { filter, .. } = self.filtered;
        let any =
            |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches_code(&code.function, &code.file));
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
    use crate::sample::{CodeId, FrameId, GilHeld, Literal, ProcessId, StackId, Tid};

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
            Event::Sample(Sample {
                at,
                thread: ThreadId(thread),
                state,
                gil,
                stack: stack.map(StackId),
                weight: Weight::ONE,
            })
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
            holding: None,
            weight: Weight::ONE,
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

    /// The samples that are left: their milliseconds in the whole, and threads.
    fn left(filter: Filter) -> Vec<(u128, u32)> {
        let recording = recording();
        let from = filter.from.unwrap_or_default();
        let mut left = Vec::new();
        let taken = Filtered::new(&recording, filter).replay(&mut |event| {
            if let Event::Sample(sample) = event {
                left.push(((from + sample.at).as_millis(), sample.thread.0));
            }
            Ok(())
        });
        taken.unwrap();
        left
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
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
        for text in ["dumps", "json", "json.dumps", "json.*", "json/__init__.py", "/lib/*", "d?mps", "lib.json"] {
            assert_eq!(left(Filter { include: patterns(&[text]), ..Filter::default() }), [(10, 0)], "{text}");
        }
        for text in ["Worker.run", "run", "jobs.worker", "jobs.*", "*.run", "worker.py"] {
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
    fn a_part_of_the_time_has_its_own_beginning_and_its_share_of_the_account() {
        let mut recording = recording();
        let tally = Tally { asked: 100, taken: 80, late: 20, ..Tally::default() };
        recording.events.push(Event::Progress(Duration::from_millis(100), tally));
        let part = |from, to| {
            let millis = |n| Some(Duration::from_millis(n));
            let filter = Filter { from: millis(from), to: millis(to), ..Filter::default() };
            let filtered = Filtered::new(&recording, filter);
            let (mut at, mut accounts) = (Vec::new(), Vec::new());
            let replayed = filtered.replay(&mut |event| {
                match event {
                    Event::Sample(sample) => at.push(sample.at.as_millis()),
                    Event::Progress(elapsed, tally) => {
                        accounts.push((elapsed.as_millis(), tally.asked, tally.taken, tally.late));
                    }
                    _ => {}
                }
                Ok(())
            });
            replayed.unwrap();
            let began = filtered.header().started.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            (began.as_millis(), at, accounts)
        };
        assert_eq!(part(15, 65), (15, vec![5, 5, 15], vec![(50, 50, 40, 10)]));
        assert_eq!(part(90, 500), (90, vec![], vec![(10, 10, 8, 2)]), "it ends where the whole does");
        assert_eq!(part(500, 600), (500, vec![], vec![(0, 0, 0, 0)]));
    }

    #[test]
    fn a_moment_does_not_stand_for_what_was_before_the_part() {
        let mut recording = recording();
        for event in &mut recording.events {
            if let Event::Sample(sample) = event {
                sample.weight = Weight::after(2);
            }
        }
        let slots = |from| {
            let mut slots = Vec::new();
            let filter = Filter { from, threads: patterns(&["MainThread"]), ..Filter::default() };
            let replayed = Filtered::new(&recording, filter).replay(&mut |event| {
                if let Event::Sample(sample) = event {
                    slots.push(sample.weight.slots());
                }
                Ok(())
            });
            replayed.unwrap();
            slots
        };
        // At 10 ms and 20 ms, of slots of 10 ms.
        assert_eq!([0, 9].map(|millis| slots(Some(Duration::from_millis(millis)))), [[2, 3], [1, 2]]);
        assert_eq!((slots(Some(Duration::from_millis(11))), slots(None)), (vec![1], vec![3, 3]));
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
            Filtered::new(&recording, filter).replay(count).unwrap();
            gils
        };
        assert_eq!(count(Filter { threads: patterns(&["x"]), ..Filter::default() }), 1);
        assert_eq!(count(Filter { from: Some(Duration::from_millis(11)), ..Filter::default() }), 0);
    }
}
