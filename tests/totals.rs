//! The same recording gives the same totals in every format. What they are is added up here, from the events; what a format
//! says is read back as its readers do.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use pysample::aggregate::CallTree;
use pysample::export::flamegraph::{self, Heading};
use pysample::export::{Folded, Labels, collapsed};
use pysample::recording::{Collapsed, Reader, Writer};
use pysample::sample::{
    Code, CodeId, Ending, Event, Frame, FrameId, GilState, Header, Literal, ProcessId, Replay, Sample, StackId, Thread,
    ThreadId, ThreadState, Tid, Wanted, Weight,
};

/// How often each stack was seen, its frames outermost first; or, where a format draws only, how often anything was.
#[derive(Debug, PartialEq)]
enum Totals {
    Stacks(BTreeMap<Vec<String>, u64>),
    All(u64),
}

/// Writes a recording in a format and adds up what is in it.
type Format = fn(&Literal) -> Totals;

/// Every format. A new one has a line here and reads back what it can.
const FORMATS: &[(&str, Format)] = &[
    ("collapsed", from_collapsed),
    ("svg", from_flamegraph),
    ("pysample", from_recording),
    ("collapsed, read as a recording", from_collapsed_again),
];

fn tree(recording: &dyn Replay) -> CallTree {
    let mut tree = CallTree::merged();
    let replayed = recording.replay(&mut |event| {
        tree.take(event);
        Ok(())
    });
    replayed.unwrap();
    tree
}

fn collapse(recording: &dyn Replay) -> String {
    let mut out = Vec::new();
    collapsed::write(&Folded::new(&tree(recording), &Labels::default()), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn of_lines(text: &str) -> Totals {
    let mut totals = BTreeMap::new();
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        let stack = stack.split(';').map(String::from).collect();
        *totals.entry(stack).or_default() += count.parse::<u64>().unwrap();
    }
    Totals::Stacks(totals)
}

fn from_collapsed(recording: &Literal) -> Totals {
    of_lines(&collapse(recording))
}

fn from_collapsed_again(recording: &Literal) -> Totals {
    let text = collapse(recording);
    of_lines(&collapse(&Collapsed::read(&text, "x", SystemTime::UNIX_EPOCH).unwrap()))
}

fn from_flamegraph(recording: &Literal) -> Totals {
    let mut out = Vec::new();
    flamegraph::write(&Folded::new(&tree(recording), &Labels::default()), &Heading::default(), &mut out).unwrap();
    let svg = String::from_utf8(out).unwrap();
    let all = svg.split_once("total_samples=\"").and_then(|(_, rest)| rest.split('"').next());
    Totals::All(all.map_or(0, |all| all.parse().unwrap()))
}

fn from_recording(recording: &Literal) -> Totals {
    let mut writer = Writer::new(Vec::new(), recording.header()).unwrap();
    recording.replay(&mut |event| writer.take(&event)).unwrap();
    of_lines(&collapse(&Reader::from_bytes(writer.finish(Ending::Stopped).unwrap()).unwrap()))
}

/// Names that no format confuses with anything else: what they do to those that do is told by the tests of labels.
const NAMES: [&str; 6] = ["<module>", "Job.run", "f", "g", "<lambda>", "größe"];

type Stacks = Vec<(prop::sample::Index, usize)>;
type Samples = Vec<(u32, Option<prop::sample::Index>)>;

/// Stacks, each a caller among those before it and a function; and samples, each a thread and a stack.
fn recording() -> impl Strategy<Value = (Stacks, Samples)> {
    let stacks = vec((any::<prop::sample::Index>(), 0..NAMES.len()), 1..20);
    let samples = vec((0_u32..3, proptest::option::weighted(0.9, any::<prop::sample::Index>())), 0..60);
    (stacks, samples)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_recording_gives_the_same_totals_in_every_format((stacks, samples) in recording()) {
        let mut events: Vec<Event> = (0..).zip(NAMES).flat_map(|(id, name)| {
            let code = Code { function: name.into(), file: "app.py".into(), first_line: 1 };
            [Event::Code(CodeId(id), code), Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(id + 1) })]
        }).collect();
        let mut paths: Vec<Vec<String>> = Vec::new();
        for (id, (caller, function)) in stacks.iter().enumerate() {
            // The first has no caller, others that of any before them or none.
            let caller = caller.index(id + 1).checked_sub(1);
            let mut path = caller.map_or(Vec::new(), |caller| paths[caller].clone());
            path.push(format!("{} (app.py:{})", NAMES[*function], function + 1));
            paths.push(path);
            let (caller, frame) = (caller.map(|caller| StackId(caller as u32)), FrameId(*function as u32));
            events.push(Event::Stack { id: StackId(id as u32), caller, frame });
        }
        for id in 0..3 {
            let thread = Thread { process: ProcessId(0), interpreter: 0, os_thread_id: Some(Tid(id)), python_thread_id: 7, name: None };
            events.push(Event::Thread(ThreadId(id), thread));
        }
        let mut expected = BTreeMap::new();
        for (number, (thread, stack)) in samples.iter().enumerate() {
            let stack = stack.map(|stack| stack.index(paths.len()));
            if let Some(stack) = stack {
                *expected.entry(paths[stack].clone()).or_default() += 1;
            }
            let (at, stack) = (Duration::from_millis(10 * number as u64), stack.map(|stack| StackId(stack as u32)));
            let (state, gil) = (ThreadState::RunsPython, GilState::Held);
            events.push(Event::Sample(Sample { at, thread: ThreadId(*thread), state, gil, stack, weight: Weight::ONE }));
        }
        let (pysample, program) = ("0.1.0".into(), "app.py".into());
        let header = Header { pysample, program, started: SystemTime::UNIX_EPOCH, rate: 100.0, wanted: Wanted::All };
        let recording = Literal { header, events };
        for (name, format) in FORMATS {
            let all: u64 = expected.values().sum();
            match format(&recording) {
                Totals::Stacks(totals) => prop_assert_eq!(&totals, &expected, "{}", name),
                Totals::All(total) => prop_assert_eq!(total, all, "{}", name),
            }
        }
    }
}
