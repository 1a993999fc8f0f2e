//! Every format, byte for byte: a recording given as literal events, written out, compared with `tests/golden`.
//!
//! After an intended change, `PYSAMPLE_BLESS=1 cargo test --test formats` writes the golden files anew; read the
//! difference before it is committed.

#[path = "common/known.rs"]
mod known;
#[path = "common/recipe.rs"]
mod recipe;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use pysample::aggregate::CallTree;
use pysample::export::flamegraph::{Drawing, From, Growth, Heading};
use pysample::export::{
    Files, Folded, Labels, Lines, Threads, chrome_trace, collapsed, firefox, flamegraph, json_lines, pprof, pstats,
    speedscope,
};
use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, FrameSnapshot, GilHolder, GilState, Incomplete, InterpreterSnapshot,
    ProcessId, Replay, Sample, Snapshot, StackId, Thread, ThreadId, ThreadSnapshot, ThreadState, Tid, Weight,
};
use pysample::view::dump::{Colour, Process, Python, Report};

/// Two threads, a function of two lines, a name and a file that no format likes, a thread without frames.
fn recording() -> CallTree {
    let code = |id, function: &str, file: &str, first_line| {
        Event::Code(CodeId(id), Code { function: function.into(), file: file.into(), first_line })
    };
    let frame = |id, code, line| Event::Frame(FrameId(id), Frame { code: CodeId(code), line });
    let stack = |id, caller: Option<u32>, frame| Event::Stack {
        id: StackId(id),
        caller: caller.map(StackId),
        frame: FrameId(frame),
    };
    let thread = |id, name: Option<&str>| {
        let (os_thread_id, python_thread_id) = (Some(Tid(4242 + id)), 0x7f00 + u64::from(id));
        Event::Thread(
            ThreadId(id),
            Thread {
                process: ProcessId(0),
                interpreter: 0,
                os_thread_id,
                python_thread_id,
                name: name.map(Into::into),
            },
        )
    };
    let sample = |thread, stack: Option<u32>| {
        let (state, gil) = (ThreadState::RunsPython, GilState::Unknown);
        Event::Sample(Sample {
            at: Duration::ZERO,
            thread: ThreadId(thread),
            state,
            gil,
            stack: stack.map(StackId),
            weight: Weight::ONE,
        })
    };
    let mut events = vec![
        code(0, "<module>", "/srv/app/main.py", 1),
        code(1, "Worker.run", "/srv/app/jobs/worker.py", 20),
        code(2, "loads", "/usr/lib/python3.11/json/__init__.py", 299),
        code(3, "evil;name\n\x1b[31m 42", "/tmp/odd dir/<&\">.py", 1),
        frame(0, 0, Some(9)),
        frame(1, 1, Some(21)),
        frame(2, 1, Some(24)),
        frame(3, 2, Some(346)),
        frame(4, 3, None),
        stack(0, None, 0),
        stack(1, Some(0), 1),
        stack(2, Some(0), 2),
        stack(3, Some(2), 3),
        stack(4, Some(0), 4),
        thread(0, Some("MainThread")),
        thread(1, None),
    ];
    events.extend((0..5).map(|_| sample(0, Some(1))));
    events.extend((0..3).map(|_| sample(0, Some(3))));
    events.extend((0..2).map(|_| sample(1, Some(3))));
    events.extend([sample(0, Some(0)), sample(1, Some(4)), sample(1, None)]);
    let mut tree = CallTree::default();
    events.into_iter().for_each(|event| tree.take(event));
    tree
}

fn search_path() -> Vec<String> {
    ["/srv/app", "/usr/lib/python3.11", "/usr/lib/python3.11/site-packages"].map(String::from).into()
}

fn collapse(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    collapsed::write(&Folded::new(&recording(), labels), &mut out).unwrap();
    out
}

fn draw(tree: &CallTree, drawing: Drawing) -> Vec<u8> {
    let heading = Heading {
        title: "main.py (pid 4242) · Python 3.11.7".into(),
        subtitle: "12 stacks of 2 threads · 11 samples in 0.1 s at 99.6 Hz (100 Hz asked, 0 late, 0 errors)".into(),
    };
    let labels = Labels { search_path: search_path(), ..Labels::default() };
    let mut out = Vec::new();
    flamegraph::draw(&Folded::new(tree, &labels), &heading, drawing, &mut out).unwrap();
    out
}

fn report() -> Report {
    let frame = |function: &str, file: &str, line| FrameSnapshot { function: function.into(), file: file.into(), line };
    let thread = |name: Option<&str>, id, state, gil, frames, incomplete| ThreadSnapshot {
        name: name.map(Into::into),
        os_thread_id: Some(Tid(id)),
        python_thread_id: 0x7f3a_1c00_0000 + u64::from(id),
        state,
        off_for: (state == ThreadState::WaitsForLock).then_some(Duration::from_millis(2500)),
        gil,
        frames,
        incomplete,
    };
    let worker = vec![
        frame("Condition.wait", "/usr/lib/python3.11/threading.py", Some(320)),
        frame("Worker.run", "/srv/app/jobs/worker.py", Some(21)),
        frame("evil\x1b[31m", "<string>", None),
    ];
    let main = vec![frame("<module>", "/srv/app/main.py", Some(9))];
    let (running, idle) = (ThreadState::RunsPython, ThreadState::WaitsForLock);
    let interpreters = vec![
        InterpreterSnapshot {
            id: 0,
            gil: GilHolder::Held { os_thread_id: Some(Tid(4242)) },
            threads: vec![
                thread(Some("MainThread"), 4242, running, GilState::Held, main, None),
                thread(Some("worker-1"), 4243, idle, GilState::NotHeld, worker, Some(Incomplete::Truncated)),
            ],
        },
        InterpreterSnapshot {
            id: 1,
            gil: GilHolder::Unknown,
            threads: vec![thread(None, 4244, ThreadState::Unknown, GilState::Unknown, vec![], None)],
        },
    ];
    let process = Process {
        pid: 4242,
        pid_inside: None,
        command: ["python3", "/srv/app/main.py", "--name", "two words"].map(String::from).into(),
        python: Python {
            version: "3.11.7".into(),
            build: "release".into(),
            found: "exported symbol _PyRuntime of /usr/bin/python3.11".into(),
        },
    };
    Report::new(process, Snapshot { interpreters }, |file, line| match (file, line) {
        ("/srv/app/main.py", 9) => Some("Worker().run()".into()),
        ("/srv/app/jobs/worker.py", 21) => Some("        self.ready.wait()\n".into()),
        _ => None,
    })
}

/// Compares with a golden file, or writes it on request.
fn assert_golden(name: &str, made: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("PYSAMPLE_BLESS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        made == golden,
        "{name} differs from its golden file; it is now:\n{}",
        String::from_utf8_lossy(&made[..made.len().min(4000)])
    );
}

#[test]
fn collapsed_stacks() {
    let labels = Labels { search_path: search_path(), ..Labels::default() };
    assert_golden("collapsed.txt", &collapse(&labels));
}

#[test]
fn collapsed_stacks_with_functions_threads_and_full_file_names() {
    let labels = Labels {
        lines: Lines::First,
        files: Files::Full,
        threads: Threads::Apart,
        search_path: search_path(),
        ..Labels::default()
    };
    assert_golden("collapsed-function-threads-full.txt", &collapse(&labels));
}

#[test]
fn a_flame_graph() {
    assert_golden("flamegraph.svg", &draw(&recording(), Drawing::default()));
}

#[test]
fn a_flame_graph_of_nothing() {
    assert_golden("flamegraph-empty.svg", &draw(&CallTree::default(), Drawing::default()));
}

#[test]
fn an_inverted_flame_graph_of_icicles() {
    let drawing = Drawing { from: From::Innermost, growth: Growth::Down };
    assert_golden("flamegraph-inverted-icicle.svg", &draw(&recording(), drawing));
}

#[test]
fn a_dump_as_text() {
    let mut out = Vec::new();
    report().write_text(Colour::None, &mut out).unwrap();
    assert_golden("dump.txt", &out);
}

#[test]
fn a_dump_as_json() {
    let mut out = Vec::new();
    report().write_json(&mut out).unwrap();
    assert_golden("dump.json", &out);
}

type Writer = fn(&dyn Replay, &Labels, &mut dyn Write) -> io::Result<()>;

/// What a format makes of a recording of two processes.
fn made(write: Writer) -> Vec<u8> {
    let mut out = Vec::new();
    write(&known::recording(), &Labels::default(), &mut out).unwrap();
    out
}

#[test]
fn a_profile_for_speedscope() {
    assert_golden("speedscope.json", &made(speedscope::write));
}

#[test]
fn a_profile_for_pprof() {
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&made(pprof::write)[..]).read_to_end(&mut unpacked).unwrap();
    assert_golden("pprof.pb", &unpacked);
}

#[test]
fn a_profile_for_the_firefox_profiler() {
    assert_golden("firefox.json", &made(firefox::write));
}

#[test]
fn statistics_for_pstats() {
    assert_golden("pstats.marshal", &made(pstats::write));
}

#[test]
fn a_trace_for_perfetto() {
    assert_golden("chrome_trace.json", &made(chrome_trace::write));
}

#[test]
fn everything_as_json_lines() {
    assert_golden("json_lines.jsonl", &made(json_lines::write));
}
