//! Recordings that somebody made up: the file is as it should be, and what is in it makes no sense. Whatever is made of them is
//! made or refused; nothing panics, runs for ever or takes memory without bound.

use std::io;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use pysample::aggregate::diff::{Basis, Comparison, Input};
use pysample::aggregate::{CallTree, Synopsis};
use pysample::export::flamegraph::{self, Heading};
use pysample::export::{
    Folded, Labels, Threads, chrome_trace, collapsed, firefox, html, json_lines, pprof, pstats, speedscope,
};
use pysample::pattern::Pattern;
use pysample::recording::{Filter, Filtered, Merged, Opened, Writer};
use pysample::sample::{
    Code, CodeId, Ending, Event, Frame, FrameId, GilHeld, GilSample, GilState, Header, Mixing, Process, ProcessId,
    Remark, Replay, Sample, StackId, Stopped, Tally, Thread, ThreadId, ThreadState, Tid, Wanted, Weight,
};
use pysample::view::dump::Colour;
use pysample::view::report::{About, Report, Seen};

/// How many recordings are made up.
const RECORDINGS: u64 = 150;

/// Small mostly, so that it comes again, and now and then any.
fn id(random: &mut Rng) -> u32 {
    match random.u8(..40) {
        0 => random.u32(..),
        1 => u32::MAX,
        _ => random.u32(..8),
    }
}

fn number(random: &mut Rng) -> u64 {
    match random.u8(..6) {
        0 => u64::MAX,
        1 => random.u64(..),
        _ => random.u64(..1000),
    }
}

fn time(random: &mut Rng, wild: bool) -> Duration {
    match random.u8(..20) {
        0 if wild => Duration::from_nanos(random.u64(..)),
        1 if wild => Duration::from_nanos(u64::MAX),
        _ => Duration::from_millis(random.u64(..3000)),
    }
}

fn text(random: &mut Rng) -> String {
    ["", "f", "main", "a;b 3", "<x>\"'&", "\u{202e}\0\n\r", "app.py", "é😀", "]]>"][random.usize(..9)].into()
}

fn maybe<T>(random: &mut Rng, of: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    random.bool().then(|| of(random))
}

fn tally(random: &mut Rng) -> Tally {
    // Numbers that add up: what is made up wildly is told wildly.
    let [total, median, longest, own_cpu] = [(); 4].map(|()| Duration::from_nanos(number(random)));
    let mut next = || number(random) >> 8;
    Tally {
        asked: next(),
        taken: next(),
        late: next(),
        failed: next(),
        dropped: next(),
        torn: next(),
        unmapped: next(),
        invalid: next(),
        truncated: next(),
        reads: next(),
        stretched: next(),
        spared: next(),
        stood_for: next(),
        stopped: Stopped { count: next(), total, median, longest },
        mixing: Mixing { kept: next(), found: next(), proved: next(), open: next(), doubtful: next() },
        own_cpu,
    }
}

/// Mostly one, and now and then far too much.
fn weight(random: &mut Rng) -> Weight {
    if random.u8(..4) > 0 { Weight::ONE } else { Weight::after(number(random)) }
}

fn event(random: &mut Rng, wild: bool) -> Event {
    match random.u8(..20) {
        0 => {
            let (pid, own_pid, parent) = (id(random), id(random), maybe(random, |random| ProcessId(id(random))));
            let command = (0..random.usize(..3)).map(|_| text(random)).collect();
            Event::Process(ProcessId(id(random)), Process { pid, own_pid, parent, command, python: text(random) })
        }
        1 | 2 => {
            let (function, file) = (text(random).into(), text(random).into());
            Event::Code(CodeId(id(random)), Code { function, file, first_line: id(random) })
        }
        3 | 4 => Event::Frame(FrameId(id(random)), Frame { code: CodeId(id(random)), line: maybe(random, id) }),
        5 | 6 => Event::Stack {
            id: StackId(id(random)),
            caller: maybe(random, |random| StackId(id(random))),
            frame: FrameId(id(random)),
        },
        7 => {
            let thread = Thread {
                process: ProcessId(id(random)),
                interpreter: number(random) as i64,
                os_thread_id: maybe(random, |random| Tid(id(random))),
                python_thread_id: number(random),
                name: maybe(random, |random| text(random).into()),
            };
            Event::Thread(ThreadId(id(random)), thread)
        }
        8 => Event::SearchPath((0..random.usize(..3)).map(|_| text(random)).collect()),
        9 => Event::Progress(time(random, wild), tally(random)),
        10 => Event::Remark([Remark::CannotPause, Remark::Stretched, Remark::Spared][random.usize(..3)]),
        11..=13 => Event::Gil(GilSample {
            at: time(random, wild),
            process: ProcessId(id(random)),
            interpreter: number(random) as i64,
            owner: number(random) as i64,
            holder: [GilHeld::By(ThreadId(id(random))), GilHeld::BySomeone, GilHeld::Free, GilHeld::None]
                [random.usize(..4)],
            switches: maybe(random, |random| number(random) / 2),
            interval: maybe(random, |random| Duration::from_nanos(number(random))),
            is_collecting: random.bool(),
            holding: None,
            weight: weight(random),
        }),
        _ => Event::Sample(Sample {
            at: time(random, wild),
            thread: ThreadId(id(random)),
            state: ThreadState::ALL[random.usize(..ThreadState::ALL.len())],
            gil: [GilState::Held, GilState::NotHeld, GilState::None, GilState::Unknown][random.usize(..4)],
            stack: maybe(random, |random| StackId(id(random))),
            weight: weight(random),
        }),
    }
}

/// A recording whose events follow each other as they please, as a file that is whole.
fn made_up(random: &mut Rng) -> Vec<u8> {
    let header = Header {
        pysample: text(random),
        program: text(random),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(number(random).min(1 << 40)),
        rate: [100.0, 0.0, -1.0, 1e-300, 1e300, 1e9, 0.5][random.usize(..7)],
        wanted: [Wanted::All, Wanted::Running, Wanted::Holders, Wanted::Contenders][random.usize(..4)],
    };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let wild = random.bool();
    for _ in 0..random.usize(..200) {
        writer.take(&event(random, wild)).unwrap();
    }
    writer.finish(Ending::Stopped).unwrap()
}

/// Whatever can be made of a recording. What is refused is refused.
fn everything(recording: &dyn Replay) {
    let (labels, nowhere) = (Labels { threads: Threads::Apart, ..Labels::default() }, &mut io::sink());
    let _ = html::write(recording, &labels, &html::without_sources, nowhere);
    for write in
        [speedscope::write, pprof::write, firefox::write, pstats::write, chrome_trace::write, json_lines::write]
    {
        let _ = write(recording, &labels, nowhere);
    }
    let (mut tree, mut seen) = (CallTree::default(), Seen::default());
    let replayed = recording.replay(&mut |event| {
        seen.take(event.clone());
        tree.take(event);
        Ok(())
    });
    if replayed.is_ok() {
        let folded = Folded::new(&tree, &labels);
        let _ = collapsed::write(&folded, nowhere);
        let heading = Heading { title: String::new(), subtitle: String::new() };
        let _ = flamegraph::write(&folded, &heading, nowhere);
        let about = About {
            file: String::new(),
            header: recording.header(),
            ending: None,
            has_states: true,
            is_part: false,
            notes: Vec::new(),
        };
        let name = |code: &Code, line: Option<u32>| labels.frame(code, line);
        let report = Report::new(about, &seen, 10, &name, &name);
        let _ = (report.write_text(Colour::None, nowhere), report.write_json(nowhere));
    }
    let _ = Synopsis::of(recording);
    let file = |code: &Code| code.file.to_string();
    let input = Input { recording, file: &file };
    for basis in [Basis::Share, Basis::Time] {
        if let Ok(comparison) = Comparison::new(input, input, basis) {
            let _ = (comparison.functions(0.95), comparison.lines(0.95), comparison.stacks().count());
        }
    }
}

#[test]
fn whatever_is_in_a_recording_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..RECORDINGS {
        let mut random = Rng::with_seed(seed);
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            std::fs::write(path, made_up(&mut random)).unwrap();
        }
        println!("seed {seed}");
        let Ok(opened) = Opened::open(&paths[0]) else { continue };
        everything(&opened);
        let filter = Filter {
            threads: vec![Pattern::new("*").unwrap()],
            from: Some(Duration::from_millis(500)),
            to: Some(Duration::from_millis(2000)),
            wanted: Some(Wanted::Running),
            ..Filter::default()
        };
        everything(&Filtered::new(&opened, filter));
        if let Ok(parts) = paths.iter().map(|path| Opened::open(path)).collect()
            && let Ok(merged) = Merged::new(parts)
        {
            everything(&merged);
        }
    }
}
