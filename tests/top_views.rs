//! Every view of `top`, character for character: literal events, drawn at 80 by 24 and at 160 by 50, compared with
//! `tests/golden/top`. And what the numbers in them must be, worked out by hand.
//!
//! After an intended change, `PYSAMPLE_BLESS=1 cargo test --test top_views` writes the golden files anew; read the difference
//! before it is committed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pysample::aggregate::live::{Level, Live, Mode, Of, Span, Subtree};
use pysample::aggregate::{Filter, LeftOut, Rules, ThreadRule};
use pysample::sample::{
    Code, CodeId, Event, Frame, FrameId, GilHeld, GilSample, GilState, Process, ProcessId, Sample, StackId, Stopped,
    Tally, Thread, ThreadId, ThreadState, Tid, Weight, short_file,
};
use pysample::target::cgroup::Throttling;
use pysample::view::top::{Action, Charset, Look, Paint, Report, Scene, State, View, draw};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::style::Color;

const COLOURED: Look = Look { paint: Paint::Colours, charset: Charset::Unicode };
const PLAIN: Look = Look { paint: Paint::Plain, charset: Charset::Ascii };
const SIZES: [(u16, u16); 2] = [(80, 24), (160, 50)];
const STEP: Duration = Duration::from_millis(10);

/// A recording that is made up.
struct Made {
    live: Live,
    sources: HashMap<Arc<str>, Option<Vec<String>>>,
    dump: Vec<String>,
    output: Vec<String>,
    throttled: Option<Throttling>,
    ended: Option<&'static str>,
}

fn shorten(file: &str, search_path: &[String]) -> String {
    short_file(file, search_path).to_owned()
}

fn process(id: u32, pid: u32) -> Event {
    let command = vec!["python3".into(), "/srv/shop/orders.py".into()];
    Event::Process(ProcessId(id), Process { pid, own_pid: pid, parent: None, command, python: "3.13.0".into() })
}

fn code(id: u32, function: &str, file: &str, first_line: u32) -> Event {
    Event::Code(CodeId(id), Code { function: function.into(), file: file.into(), first_line })
}

fn thread(id: u32, process: u32, name: &str) -> Event {
    let thread = Thread {
        process: ProcessId(process),
        interpreter: 0,
        os_thread_id: Some(Tid(4242 + id)),
        python_thread_id: 0x7f00 + u64::from(id),
        name: Some(name.into()),
    };
    Event::Thread(ThreadId(id), thread)
}

fn gil(at: Duration, process: u32, holder: GilHeld, switches: u64) -> Event {
    Event::Gil(GilSample {
        at,
        process: ProcessId(process),
        interpreter: 0,
        owner: 0,
        holder,
        switches: Some(switches),
        interval: None,
        is_collecting: false,
        holding: None,
        weight: Weight::ONE,
    })
}

fn sample(at: Duration, thread: u32, state: ThreadState, gil: GilState, stack: Option<u32>) -> Event {
    Event::Sample(Sample { at, thread: ThreadId(thread), state, gil, stack: stack.map(StackId), weight: Weight::ONE })
}

/// Functions, lines and stacks: `sell` calls `receipt`, which calls `iterencode`, which calls itself; `pack`; `report`,
/// which waits.
fn definitions() -> Vec<Event> {
    let frame = |id, code, line| Event::Frame(FrameId(id), Frame { code: CodeId(code), line: Some(line) });
    let stack = |id, caller: Option<u32>, frame| Event::Stack {
        id: StackId(id),
        caller: caller.map(StackId),
        frame: FrameId(frame),
    };
    vec![
        Event::SearchPath(vec!["/srv/shop".into(), "/usr/lib/python3.13".into()]),
        code(0, "<module>", "/srv/shop/orders.py", 1),
        code(1, "sell", "/srv/shop/orders.py", 3),
        code(2, "receipt", "/srv/shop/orders.py", 8),
        code(3, "JSONEncoder.iterencode", "/usr/lib/python3.13/json/encoder.py", 205),
        code(4, "pack", "/srv/shop/orders.py", 12),
        code(5, "report", "/srv/shop/orders.py", 16),
        code(6, "Event.wait", "/usr/lib/python3.13/threading.py", 641),
        frame(0, 0, 20),
        frame(1, 1, 5),
        frame(2, 2, 9),
        frame(3, 2, 10),
        frame(4, 3, 231),
        frame(5, 4, 14),
        frame(6, 5, 17),
        frame(7, 6, 659),
        stack(0, None, 0),
        stack(1, Some(0), 1),
        stack(2, Some(1), 2),
        stack(3, Some(1), 3),
        stack(4, Some(3), 4),
        stack(5, Some(4), 4),
        stack(6, None, 5),
        stack(7, None, 6),
        stack(8, Some(7), 7),
    ]
}

/// Moment `index`: in the first three seconds `receipt` holds the GIL in 8 of 10 moments; from then on it is in `iterencode`
/// in 3 of 10, in `receipt` itself in 2, and `pack` holds it in 4; in one nobody does. Whoever does not hold it wants it.
fn moment(index: u32, process: u32) -> Vec<Event> {
    use ThreadState::{RunsDetached, RunsNative, RunsPython, WaitsForGil, WaitsForLock};
    let at = STEP * index;
    let (first, in_ten) = (process * 10, index % 10);
    let (main, packer, reporter) = (first, first + 1, first + 2);
    let (held, not) = (GilState::Held, GilState::NotHeld);
    let (seller, other) = match (index < 300, in_ten) {
        (true, 0..8) => (Some(2), Some(6)),
        (false, 0..3) => (Some(5), Some(6)),
        (false, 3..5) => (Some(3), Some(6)),
        (false, 5..9) => (None, Some(6)),
        _ => (None, None),
    };
    let holder = match (seller, other) {
        (Some(_), _) => GilHeld::By(ThreadId(main)),
        (None, Some(_)) => GilHeld::By(ThreadId(packer)),
        (None, None) => GilHeld::Free,
    };
    let (of_main, of_packer) = match holder {
        GilHeld::By(ThreadId(thread)) if thread == main => {
            (sample(at, main, RunsPython, held, seller), sample(at, packer, WaitsForGil, not, Some(6)))
        }
        GilHeld::By(_) => (sample(at, main, WaitsForGil, not, Some(2)), sample(at, packer, RunsNative, held, Some(6))),
        _ => (sample(at, main, RunsDetached, not, Some(1)), sample(at, packer, WaitsForLock, not, Some(6))),
    };
    vec![
        gil(at, process, holder, u64::from(index) * 2),
        of_main,
        of_packer,
        sample(at, reporter, WaitsForLock, not, Some(8)),
    ]
}

fn account(seconds: u32) -> Event {
    let elapsed = Duration::from_secs(seconds.into());
    let moments = u64::from(seconds) * 100;
    Event::Progress(
        elapsed,
        Tally {
            asked: moments,
            taken: moments - u64::from(seconds),
            late: u64::from(seconds),
            torn: 3,
            unmapped: 1,
            stopped: Stopped { count: moments / 2, total: elapsed.mul_f64(0.003), ..Stopped::default() },
            own_cpu: elapsed.mul_f64(0.012),
            ..Tally::default()
        },
    )
}

fn source() -> HashMap<Arc<str>, Option<Vec<String>>> {
    let text = "\
import json

def sell(receipts):
    while True:
        receipts.put(receipt(Order()))


def receipt(order):
    lines = list(order)
    return json.dumps(lines)

def pack(receipts, sizes):
    while (text := receipts.get()) is not None:
\tsizes.append(len(zlib.compress(text)))

def report(sizes, done):
    while not done.wait(1):
        print(len(sizes))

main()";
    let lines = text.lines().map(Into::into).collect();
    [("/srv/shop/orders.py".into(), Some(lines)), ("/usr/lib/python3.13/json/encoder.py".into(), None)].into()
}

/// Nine seconds of one process.
fn shop() -> Made {
    let mut live = Live::new(shorten);
    let threads = ["MainThread", "packer", "reporter"];
    live.take(process(0, 4242));
    definitions().into_iter().for_each(|event| live.take(event));
    (0..).zip(threads).for_each(|(id, name)| live.take(thread(id, 0, name)));
    for second in 0..9 {
        let moments = (second * 100..(second + 1) * 100).flat_map(|index| moment(index, 0));
        moments.for_each(|event| live.take(event));
        live.take(account(second + 1));
        live.take_usage(Duration::from_secs(second.into()), Duration::from_millis(u64::from(second) * 930), none());
    }
    live.finish();
    made(live)
}

/// Nothing is known of single processes.
fn none() -> BTreeMap<ProcessId, Duration> {
    BTreeMap::new()
}

fn made(live: Live) -> Made {
    let dump = ["Process 4242: python3 orders.py", "", "Thread \"MainThread\": runs Python", "  File \"x.py\", line 3"];
    let dump = dump.map(Into::into).into();
    let output = (1..=60).map(|line| format!("receipt {line} \x1b[31mwritten")).collect();
    Made { live, sources: source(), dump, output, throttled: None, ended: None }
}

/// Two processes.
fn family() -> Made {
    let mut live = Live::new(shorten);
    live.take(process(0, 4242));
    live.take(process(1, 5000));
    definitions().into_iter().for_each(|event| live.take(event));
    for (id, of, name) in [(0, 0, "MainThread"), (1, 0, "packer"), (2, 0, "reporter")] {
        live.take(thread(id, of, name));
        live.take(thread(id + 10, of + 1, name));
    }
    for index in 0..400 {
        for of in [0, 1] {
            moment(index, of).into_iter().for_each(|event| live.take(event));
        }
    }
    for second in 0..4 {
        let used = |milliseconds: u64| Duration::from_millis(milliseconds * second);
        let each = [(ProcessId(0), used(900)), (ProcessId(1), used(250))].into();
        live.take_usage(Duration::from_secs(second), used(1150), each);
    }
    live.finish();
    made(live)
}

/// A free-threaded build: two threads run side by side.
fn free_threaded() -> Made {
    let mut live = Live::new(shorten);
    live.take(process(0, 4242));
    definitions().into_iter().for_each(|event| live.take(event));
    live.take(thread(0, 0, "MainThread"));
    live.take(thread(1, 0, "packer"));
    for index in 0..400 {
        let at = STEP * index;
        live.take(gil(at, 0, GilHeld::None, 0));
        live.take(sample(at, 0, ThreadState::RunsPython, GilState::None, Some(5)));
        let other = if index % 4 == 0 { ThreadState::Suspended } else { ThreadState::RunsNative };
        live.take(sample(at, 1, other, GilState::None, Some(6)));
    }
    live.finish();
    made(live)
}

impl Made {
    fn scene(&self) -> Scene<'_> {
        Scene {
            live: &self.live,
            program: "orders.py",
            rate: 100.0,
            uptime: Some(Duration::from_secs(3723)),
            throttled: self.throttled,
            ended: self.ended,
            sources: &self.sources,
            dump: &self.dump,
            output: &self.output,
        }
    }

    fn draw(&self, state: &mut State, look: Look, (width, height): (u16, u16)) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &self.scene(), state, look)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// Draws, takes keys, each after a picture, and draws again.
    fn after(&self, keys: &[KeyCode], look: Look, size: (u16, u16)) -> (Buffer, State) {
        let mut state = state();
        for &key in keys {
            self.draw(&mut state, look, size);
            state.take(&press(key));
        }
        let buffer = self.draw(&mut state, look, size);
        (buffer, state)
    }
}

fn state() -> State {
    let mut state = State::new(Mode::Cpu, 5);
    state.has_output = true;
    state
}

fn press(key: KeyCode) -> Input {
    Input::Key(KeyEvent::new(key, KeyModifiers::NONE))
}

fn keys(text: &str) -> Vec<KeyCode> {
    text.chars().map(|c| if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) }).collect()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let row = |row: &[ratatui::buffer::Cell]| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    };
    buffer.content().chunks(width).map(row).collect()
}

fn assert_golden(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/top").join(format!("{name}.txt"));
    if std::env::var_os("PYSAMPLE_BLESS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(made == golden, "{name} differs from its golden file; it is now:\n{made}");
}

/// Every view of one process, and the keys that lead there.
fn views() -> Vec<(&'static str, Vec<KeyCode>)> {
    vec![
        ("functions", keys("")),
        ("lines", keys("l")),
        ("files", keys("ll")),
        ("modules", keys("lll")),
        ("tree", keys("2")),
        ("threads", keys("3")),
        ("gil", keys("4")),
        ("dump", keys("5")),
        ("output", keys("6")),
        ("opened", keys("/receipt\n\n")),
        ("help", keys("?")),
        ("typing", keys("~Enc|pa[")),
    ]
}

#[test]
fn every_view_is_as_it_should_be() {
    let made = shop();
    for (name, keys) in views() {
        for size in SIZES {
            let (buffer, _) = made.after(&keys, COLOURED, size);
            assert_golden(&format!("{name}-{}x{}", size.0, size.1), &text(&buffer));
        }
    }
}

#[test]
fn every_view_can_be_drawn_in_ascii() {
    let made = shop();
    for (name, keys) in views() {
        let (buffer, _) = made.after(&keys, PLAIN, SIZES[0]);
        assert!(text(&buffer).is_ascii(), "{name}:\n{}", text(&buffer));
    }
    assert_golden("functions-ascii", &text(&made.after(&[], PLAIN, SIZES[0]).0));
}

#[test]
fn several_processes_and_builds_without_a_gil_are_told_apart() {
    for (name, made) in [("family", family()), ("free-threaded", free_threaded())] {
        for view in ["threads", "gil"] {
            let key = if view == "threads" { "3" } else { "4" };
            assert_golden(&format!("{name}-{view}"), &text(&made.after(&keys(key), COLOURED, SIZES[0]).0));
        }
    }
}

#[test]
fn what_has_ended_says_so_and_stays() {
    let made = Made { ended: Some("the process has ended"), ..shop() };
    assert_golden("ended", &text(&made.after(&[], COLOURED, SIZES[0]).0));
    let mut state = state();
    state.is_frozen = true;
    let shown = text(&made.draw(&mut state, COLOURED, SIZES[1]));
    assert!(shown.contains(" ENDED: the process has ended   FROZEN "), "{shown}");
}

#[test]
fn the_name_of_what_is_shown_beside_a_table_can_be_read() {
    let shown = text(&shop().after(&keys("/iterencode\n"), COLOURED, (120, 30)).0);
    let title = shown.lines().find(|line| line.contains("│ ")).expect("there is room beside it");
    assert!(title.contains("│ JSONEncoder.iterencode ") && title.contains("encoder.py:205"), "{shown}");
}

#[test]
fn a_recording_of_nothing_and_a_terminal_of_one_cell_can_be_looked_at() {
    for made in [made(Live::new(shorten)), shop()] {
        for (_, keys) in views() {
            for size in [(80, 24), (160, 50), (1, 1), (20, 5), (200, 3), (3, 60)] {
                made.after(&keys, COLOURED, size);
            }
        }
    }
}

#[test]
fn colours_are_of_the_sixteen_that_can_be_read_on_dark_and_on_light() {
    let made = shop();
    let allowed = [Color::Reset, Color::Red, Color::Green, Color::Magenta, Color::Cyan];
    for (name, keys) in views() {
        for size in SIZES {
            let (buffer, _) = made.after(&keys, COLOURED, size);
            assert!(
                buffer.content().iter().all(|cell| allowed.contains(&cell.fg) && cell.bg == Color::Reset),
                "{name}"
            );
            let plain = Look { paint: Paint::Plain, charset: Charset::Unicode };
            let (buffer, _) = made.after(&keys, plain, size);
            assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset), "{name}");
        }
    }
}

/// The row of a function, as words.
fn row(buffer: &Buffer, function: &str) -> Vec<String> {
    let text = text(buffer);
    let line = text.lines().find(|line| line.contains(function)).unwrap_or_else(|| panic!("no {function}:\n{text}"));
    line.split_whitespace().map(Into::into).collect()
}

#[test]
fn shares_of_the_window_are_those_of_its_samples() {
    // The window has the moments from 350 to 899. Of every ten samples of threads that run: 3 of iterencode, 2 of receipt, 4 of
    // pack, 1 of sell.
    let (buffer, _) = shop().after(&[], COLOURED, SIZES[0]);
    assert_eq!(row(&buffer, "pack ")[..2], ["40.0", "40.0"]);
    assert_eq!(row(&buffer, "JSONEncoder.iterencode")[..2], ["30.0", "30.0"], "it calls itself and is counted once");
    assert_eq!(row(&buffer, " receipt ")[..2], ["20.0", "50.0"]);
    assert_eq!(row(&buffer, " sell ")[..2], ["10.0", "60.0"]);
}

#[test]
fn times_are_those_of_the_whole_recording() {
    // One moment stands for 10 ms, but for the last, which nothing follows. In 300 moments receipt ran in 240; in 600 in 120.
    let made = shop();
    let subtree = Subtree::new(made.live.tree(), &made.live.stacks(made.live.totals(), Of::default()));
    let rows = subtree.rows(made.live.keys(), Level::Function);
    let of = |name: &str| {
        let is_it = |row: &&pysample::aggregate::live::Row| {
            made.live.keys().key(Level::Function, row.key).is_some_and(|key| &*key.function == name)
        };
        *rows.iter().find(is_it).unwrap()
    };
    assert_eq!((of("receipt").own.ran, of("receipt").total.ran), (240 + 120, 240 + 300));
    assert_eq!((of("pack").own.held, of("pack").own.blamed, of("pack").own.wanted), (240, 240, 240 + 300));
    assert_eq!((of("Event.wait").own.seen, of("Event.wait").own.ran), (900, 0));
    let (buffer, _) = made.after(&keys("a"), COLOURED, SIZES[0]);
    assert_eq!(row(&buffer, " receipt ")[2..4], ["3.60", "5.39"], "540 of 900 moments in 8.99 s");
}

#[test]
fn a_time_in_which_nobody_looked_is_nobodys() {
    let mut live = Live::new(shorten);
    live.take(process(0, 4242));
    definitions().into_iter().for_each(|event| live.take(event));
    live.take(thread(0, 0, "MainThread"));
    let gap = Duration::from_secs(3600);
    for index in 0..200 {
        let at = STEP * index + if index < 100 { Duration::ZERO } else { gap };
        if index == 100 {
            live.leave_out(gap);
        }
        live.take(sample(at, 0, ThreadState::RunsPython, GilState::Held, Some(5)));
    }
    live.finish();
    let (buffer, _) = made(live).after(&keys("a"), COLOURED, SIZES[0]);
    let function = row(&buffer, "receipt");
    assert!(function.contains(&"1.99".to_owned()), "{function:?}");
}

#[test]
fn modes_count_those_that_run_all_or_the_holders() {
    let counted = |typed: &str| row(&shop().after(&keys(typed), COLOURED, SIZES[0]).0, "Event.wait")[0].clone();
    assert_eq!(counted("m"), "33.3", "one of three threads waits in it");
    let text = |typed: &str| text(&shop().after(&keys(typed), COLOURED, SIZES[0]).0);
    assert!(!text("").contains("Event.wait") && !text("mm").contains("Event.wait"));
}

#[test]
fn the_trend_compares_with_the_window_before() {
    // The window before has the moments from 0 to 349: in the first 300 nobody but receipt and sell runs, in the last 50 pack
    // does in 20. That is 5.7 %, and 40 % now. With a window of two seconds nothing has changed.
    let trend = |typed: &str| row(&shop().after(&keys(typed), COLOURED, SIZES[0]).0, "pack ")[5].clone();
    assert_eq!(trend(""), "▲34");
    assert_eq!(trend("-"), "pack");
}

#[test]
fn waiting_is_laid_at_the_door_of_the_holder() {
    // Of nine waits in ten moments three each were caused by iterencode, two by receipt, four by pack.
    let (buffer, _) = shop().after(&keys("4"), COLOURED, SIZES[0]);
    assert_eq!(row(&buffer, "pack orders")[..4], ["44.4", "44.4", "40.0", "40.0"]);
    assert_eq!(row(&buffer, "JSONEncoder.iterencode")[..4], ["33.3", "33.3", "30.0", "30.0"]);
    assert!(text(&buffer).contains("held 90.0 %") && text(&buffer).contains("0.90 threads wait"));
    assert!(text(&buffer).contains("200 switches/s"), "twice in each moment of 10 ms");
}

#[test]
fn whom_chosen_threads_wait_for_is_told_whoever_that_is() {
    let mut live = Live::new(shorten);
    let mut filter = Filter::new(Rules { threads: vec![ThreadRule::Numbered(4243)], ..Rules::default() });
    let begin = [process(0, 4242), thread(0, 0, "MainThread"), thread(1, 0, "packer"), thread(2, 0, "reporter")];
    for event in begin.into_iter().chain(definitions()).chain((0..900).flat_map(|index| moment(index, 0))) {
        match event {
            Event::Sample(sample) if !filter.pass(&event) => live.take_unwanted(sample),
            _ => {
                filter.pass(&event);
                live.take(event);
            }
        }
    }
    live.take_left_out(filter.left_out);
    live.finish();
    let made = made(live);
    // Of its five waits in ten moments three were caused by iterencode, two by receipt; nobody chosen waited for pack.
    let (buffer, _) = made.after(&keys("4"), COLOURED, SIZES[0]);
    assert_eq!(row(&buffer, "JSONEncoder.iterencode")[..4], ["60.0", "60.0", "30.0", "30.0"]);
    assert_eq!(row(&buffer, "receipt orders")[..4], ["40.0", "100", "20.0", "50.0"]);
    assert_eq!(row(&buffer, "pack orders")[..3], ["40.0", "40.0", "pack"]);
    assert!(text(&buffer).contains("held 90.0 %") && text(&buffer).contains("0.50 chosen threads wait"));
    // Of the others there is nothing else.
    for view in ["", "m", "mm", "3"] {
        let shown = text(&made.after(&keys(view), COLOURED, SIZES[1]).0);
        assert!(!shown.contains("MainThread") && !shown.contains("receipt "), "{view}: {shown}");
    }
    assert!(made.live.snapshot(ProcessId(0)).unwrap().interpreters[0].threads.len() == 1);
}

#[test]
fn a_function_opens_to_its_callers_callees_and_source() {
    let (buffer, _) = shop().after(&keys("/^receipt\n\n"), COLOURED, SIZES[0]);
    assert!(text(&buffer).contains("Nothing that the filter lets"), "a text is no regular expression");
    let (buffer, state) = shop().after(&keys("~^receipt\n\n"), COLOURED, SIZES[0]);
    let shown = text(&buffer);
    assert_eq!(row(&buffer, "sell orders.py:3")[0], "100");
    assert_eq!(row(&buffer, "JSONEncoder.iterencode")[0], "60.0", "three of its five");
    let line = row(&buffer, "return json.dumps(lines)");
    assert_eq!((&*line[0], &*line[1]), ("20.0", "50.0"), "{shown}");
    assert_eq!(state.opened.len(), 1);
    assert!(shown.contains("zlib.compress"), "{shown}");
}

#[test]
fn a_tree_unfolds_and_folds() {
    let made = shop();
    let (open, _) = made.after(&keys("2"), COLOURED, SIZES[0]);
    assert!(text(&open).contains("sell"), "the hottest path is open:\n{}", text(&open));
    let folded = made.after(&[KeyCode::Char('2'), KeyCode::Left], COLOURED, SIZES[0]).0;
    assert!(!text(&folded).contains("sell"), "{}", text(&folded));
    let again = made.after(&[KeyCode::Char('2'), KeyCode::Left, KeyCode::Right], COLOURED, SIZES[0]).0;
    assert_eq!(text(&again), text(&open));
}

#[test]
fn a_thread_alone_is_all_there_is() {
    let (buffer, state) = shop().after(&[KeyCode::Char('3'), KeyCode::Down, KeyCode::Enter], COLOURED, SIZES[0]);
    assert_eq!(state.view, View::Functions);
    assert_eq!(row(&buffer, "pack ")[..2], ["100", "100"]);
    assert!(text(&buffer).contains("only packer (4243)"));
    let (buffer, state) =
        shop().after(&[KeyCode::Char('3'), KeyCode::Down, KeyCode::Enter, KeyCode::Esc], COLOURED, SIZES[0]);
    assert!(state.of == Of::default() && text(&buffer).contains("receipt"));
}

#[test]
fn a_process_alone_is_all_there_is() {
    let made = family();
    let (buffer, _) = made.after(&keys("p"), COLOURED, SIZES[0]);
    let shown = text(&buffer);
    assert!(shown.contains("pid 4242") && !shown.contains("2 processes"));
    assert!(shown.contains(" 3 threads ") && shown.contains(" 0.8 wait") && shown.contains(" CPU  90.0 %"), "{shown}");
    let shown = text(&made.after(&keys("pp"), COLOURED, SIZES[0]).0);
    assert!(shown.contains("pid 5000") && shown.contains(" CPU  25.0 %"), "{shown}");
    let shown = text(&made.after(&keys("ppp"), COLOURED, SIZES[0]).0);
    assert!(shown.contains("2 processes") && shown.contains(" CPU 115.0 %"), "{shown}");
}

#[test]
fn processes_that_have_ended_are_not_turned_to() {
    let mut live = Live::new(shorten);
    (0..3).for_each(|id| live.take(process(id, 5000 + id)));
    definitions().into_iter().for_each(|event| live.take(event));
    for (of, id) in (0..3).flat_map(|of| (0..3).map(move |id| (of, id))) {
        live.take(thread(of * 10 + id, of, "worker"));
    }
    // The first was there for a second only, the second almost to the end.
    for index in 0..500 {
        for of in [0, 1, 2].into_iter().filter(|of| index < [100, 450, 500][*of as usize]) {
            moment(index, of).into_iter().for_each(|event| live.take(event));
        }
    }
    live.finish();
    let made = made(live);
    let head = |typed: &str| text(&made.after(&keys(typed), COLOURED, SIZES[0]).0).lines().next().unwrap().to_owned();
    for (typed, shown) in [("", "2 processes"), ("p", "pid 5001"), ("pp", "pid 5002"), ("ppp", "2 processes")] {
        assert!(head(typed).contains(shown), "{typed}: {}", head(typed));
    }
    // One that ends while it is shown stays until another is asked for.
    let mut state = state();
    state.of.process = Some(ProcessId(0));
    assert!(text(&made.draw(&mut state, COLOURED, SIZES[0])).contains("pid 5000, which has ended"));
    assert!(!head("p").contains("ended"));
    state.take(&press(KeyCode::Char('p')));
    assert_eq!(state.of.process, None);
}

#[test]
fn any_column_sorts_either_way() {
    let made = shop();
    for (steps, first) in [("", "pack"), (">", "sell"), (">>", "receipt"), (">>>>>>>", "JSONEncoder")] {
        let (buffer, _) = made.after(&keys(steps), COLOURED, SIZES[0]);
        let shown = text(&buffer);
        let top = shown.lines().nth(6).unwrap();
        assert!(top.contains(first), "{steps}: {top}");
    }
    let by_name = made.after(&keys(">>>>>>R"), COLOURED, SIZES[0]).0;
    assert!(text(&by_name).lines().nth(6).unwrap().contains("sell"));
}

#[test]
fn the_row_that_was_chosen_is_followed_where_it_goes() {
    let made = shop();
    let down = [KeyCode::Down];
    let (_, state) = made.after(&down, COLOURED, SIZES[0]);
    let chosen = state.cursors[View::Functions as usize].chosen;
    let turned: Vec<KeyCode> = down.into_iter().chain([KeyCode::Char('R')]).collect();
    let (_, after) = made.after(&turned, COLOURED, SIZES[0]);
    assert!(chosen.is_some() && after.cursors[View::Functions as usize].chosen == chosen);
    assert_ne!(after.cursors[View::Functions as usize].row, state.cursors[View::Functions as usize].row);
}

#[test]
fn keys_ask_for_what_is_done_elsewhere() {
    let mut state = state();
    let control = |c| Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    for (input, action) in [
        (press(KeyCode::Char('q')), Action::Quit),
        (press(KeyCode::Char('s')), Action::Save),
        (press(KeyCode::Char('r')), Action::Reset),
        (press(KeyCode::Char(' ')), Action::Freeze),
        (press(KeyCode::Char('d')), Action::Dump),
        (control('c'), Action::Interrupt),
        (control('z'), Action::Suspend),
        (press(KeyCode::Down), Action::None),
    ] {
        assert_eq!(state.take(&input), action, "{input:?}");
    }
    state.take(&press(KeyCode::Char('/')));
    assert_eq!(state.take(&press(KeyCode::Char('q'))), Action::None, "it is typed");
    assert_eq!(state.take(&control('c')), Action::Interrupt, "whatever is typed");
}

#[test]
fn the_mouse_chooses_opens_sorts_and_turns_views() {
    let made = shop();
    let mut state = state();
    let click = |state: &mut State, column, row| {
        made.draw(state, COLOURED, SIZES[0]);
        let kind = MouseEventKind::Down(MouseButton::Left);
        state.take(&Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    };
    click(&mut state, 50, 8);
    assert_eq!(state.cursors[View::Functions as usize].row, 2);
    click(&mut state, 50, 8);
    assert_eq!(state.opened.len(), 1, "clicked again it opens");
    state.take(&press(KeyCode::Esc));
    click(&mut state, 10, 5);
    assert_eq!(state.sort, pysample::view::top::Column::Total);
    click(&mut state, 30, 3);
    assert_eq!(state.view, View::Threads);
}

#[test]
fn filters_say_what_is_wrong_with_them() {
    let (buffer, state) = shop().after(&keys("~pa["), COLOURED, SIZES[0]);
    assert!(state.typing.is_some() && text(&buffer).contains("regex: pa["));
    let (buffer, _) = shop().after(&keys("/PACK\n"), COLOURED, SIZES[0]);
    assert!(text(&buffer).contains("pack") && !text(&buffer).contains("receipt"), "whatever the case");
}

#[test]
fn of_what_is_pasted_into_a_filter_the_beginning_is_kept() {
    let made = shop();
    let mut state = state();
    made.draw(&mut state, COLOURED, SIZES[0]);
    for key in keys(&format!("/{}", "x".repeat(100_000))) {
        state.take(&press(key));
    }
    assert_eq!(state.filter.text, "x".repeat(300));
}

#[test]
fn of_many_interpreters_the_busiest_are_shown() {
    let mut live = Live::new(shorten);
    live.take(process(0, 4242));
    for index in 0..100 {
        for interpreter in 0..20 {
            let at = STEP * index;
            let is_held = index < 5 * interpreter as u32;
            let holder = if is_held { GilHeld::BySomeone } else { GilHeld::Free };
            let Event::Gil(gil) = gil(at, 0, holder, 0) else { unreachable!() };
            live.take(Event::Gil(GilSample { interpreter, owner: interpreter, ..gil }));
        }
    }
    live.finish();
    let shown = text(&made(live).after(&keys("4"), COLOURED, SIZES[0]).0);
    for (interpreter, held) in [(16, "80.0"), (17, "85.0"), (18, "90.0"), (19, "95.0")] {
        assert!(shown.contains(&format!("interpreter {interpreter}: held {held} %")), "{shown}");
    }
    assert!(shown.contains("and 16 more") && !shown.contains("p shows"), "{shown}");
}

#[test]
fn a_filter_that_cannot_be_is_not_kept() {
    for typed in ["~pa[", "~pa[\n", "~pa[\n\n"] {
        let keys: Vec<KeyCode> = keys("/PACK\n").into_iter().chain(keys(typed)).collect();
        let (buffer, state) = shop().after(&keys, COLOURED, SIZES[0]);
        let shown = text(&buffer);
        assert!(shown.contains("regex: pa[") && shown.contains("not kept: found unclosed"), "{typed:?}:\n{shown}");
        assert!(state.filter.text == "PACK" && shown.contains("filter: PACK"), "{typed:?}:\n{shown}");
        assert!(shown.contains("pack ") && !shown.contains("receipt"), "{typed:?}:\n{shown}");
        let mended: Vec<KeyCode> = keys.into_iter().chain([KeyCode::Backspace, KeyCode::Enter]).collect();
        let (_, state) = shop().after(&mended, COLOURED, SIZES[0]);
        assert!(state.typing.is_none() && state.filter.text == "pa", "{typed:?}: {:?}", state.filter);
    }
    let long = format!("~{}[", "x".repeat(200));
    let shown = text(&shop().after(&keys(&long), COLOURED, SIZES[0]).0);
    assert!(shown.contains("xx[") && shown.contains("not kept: found"), "{shown}");
}

#[test]
fn where_the_filter_lets_nothing_through_that_is_why_nothing_is_shown() {
    for view in 1..=4 {
        let (buffer, _) = shop().after(&keys(&format!("{view}/no such\n")), COLOURED, SIZES[0]);
        assert!(text(&buffer).contains("Nothing that the filter lets through was seen."), "{}", text(&buffer));
    }
}

#[test]
fn the_state_of_a_dumped_thread_and_its_functions_are_seen_at_80_columns() {
    let dump = [
        "Process 4242: python3 orders.py",
        "Thread \"reporter\" (OS thread 1234567, Python thread 0x7fae11ba56c0): waits for a lock for 12 s",
        "  File \"concurrent/futures/a_module_of_a_long_name/and_one_more.py\", line 1234, in Worker.run_forever",
    ];
    let made = Made { dump: dump.map(Into::into).into(), ..shop() };
    for look in [COLOURED, PLAIN] {
        let shown = text(&made.after(&keys("5"), look, SIZES[0]).0);
        assert!(shown.contains("lock for 12 s\n"), "{shown}");
        assert!(shown.contains("Worker.run_forever\n"), "{shown}");
    }
}

#[test]
fn a_thread_stays_chosen_where_there_is_but_one_process() {
    let (buffer, state) = shop().after(&keys("3\np"), COLOURED, SIZES[0]);
    assert!(state.of.thread.is_some() && text(&buffer).contains("there is only one process"), "{}", text(&buffer));
}

#[test]
fn what_the_processes_use_is_drawn_when_it_was() {
    let mut live = shop().live;
    assert_eq!(live.cpu_minute(None), [Some(0.93); 8], "read at each second from 0 to 8, and it is 8.99 now");
    moment(1200, 0).into_iter().for_each(|event| live.take(event));
    live.finish();
    // Now it is 12 s, and since 8 s nothing has been read.
    assert_eq!(live.cpu_minute(None), [[Some(0.93); 8].as_slice(), &[None; 4]].concat());
    // The reading that was late is of all the time since the one before.
    live.take_usage(Duration::from_secs(12), Duration::from_millis(9440), none());
    assert_eq!(live.cpu_minute(None), [[Some(0.93); 8].as_slice(), &[Some(0.5); 4]].concat());
    live.reset();
    assert_eq!((live.cpu_minute(None), live.cpu()), (Vec::new(), None));
    live.take_usage(Duration::from_secs(13), Duration::from_millis(10_440), none());
    assert_eq!(live.cpu_minute(None), [Some(1.0)]);
}

#[test]
fn without_a_gil_one_sees_where_threads_wait_for_locks() {
    let mut made = free_threaded();
    for index in 400..500 {
        let at = STEP * index;
        made.live.take(gil(at, 0, GilHeld::None, 0));
        made.live.take(sample(at, 0, ThreadState::WaitsForLock, GilState::None, Some(8)));
        made.live.take(sample(at, 1, ThreadState::RunsNative, GilState::None, Some(6)));
    }
    made.live.finish();
    let (buffer, _) = made.after(&keys("4"), COLOURED, SIZES[0]);
    // Of five seconds, one in Event.wait, called by report; and in one of four moments of the first four pack waited.
    assert_eq!(row(&buffer, "Event.wait")[..2], ["50.0", "50.0"], "{}", text(&buffer));
    assert_eq!(row(&buffer, " pack ")[..3], ["50.0", "50.0", "80.0"]);
    assert_eq!(row(&buffer, " report ")[..1], ["50.0"]);
}

fn once(made: &Made) -> String {
    let mut state = State::new(Mode::Cpu, 5);
    state.of_all_time = true;
    let mut out = Vec::new();
    Report::new(&made.scene(), &mut state).write_text(&made.scene(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn one_refresh_of_several_processes_says_whose_everything_is() {
    let mut made = family();
    made.live.take(account(4));
    let told = once(&made);
    for line in [
        "\npid 4242: GIL held 82.5 % with 0.82 waiting\n",
        "\npid 5000: GIL held 82.5 % with 0.82 waiting\n",
        "  MainThread (4242, pid 4242)\n",
        "  MainThread (4252, pid 5000)\n",
        // Somebody was stopped for 0.3 % of the time: each of the two for half of that.
        ", 100 Hz asked of each, 99.0 got, stopped 0.15 % of each, ",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let footer = text(&made.after(&[], COLOURED, SIZES[1]).0);
    assert!(footer.contains("100 Hz of each, 99.0 got") && footer.contains("stopped 0.15 % of each"), "{footer}");
}

#[test]
fn of_filtered_threads_it_is_said_that_those_who_wait_are_the_chosen_ones() {
    let mut made = shop();
    assert!(once(&made).contains("with 0.87 waiting\n"));
    made.live.take_left_out(LeftOut { threads: 900, excluded: 0 });
    assert!(once(&made).contains("with 0.87 chosen waiting\n"));
    let shown = text(&made.after(&keys("4"), COLOURED, SIZES[0]).0);
    assert!(shown.contains("0.90 chosen threads wait") && shown.contains("0.9 chosen wait\n"), "{shown}");
}

#[test]
fn where_nothing_counts_it_is_said_why() {
    let of = |left_out: LeftOut, samples: &[(ThreadState, Option<u32>)]| {
        let mut live = Live::new(shorten);
        live.take(process(0, 4242));
        definitions().into_iter().for_each(|event| live.take(event));
        live.take(thread(0, 0, "MainThread"));
        for (index, (state, stack)) in (0..).zip(samples) {
            live.take(gil(STEP * index, 0, GilHeld::Free, 0));
            live.take(sample(STEP * index, 0, *state, GilState::NotHeld, *stack));
        }
        if left_out != LeftOut::default() {
            live.take(gil(STEP * 100, 0, GilHeld::Free, 0));
        }
        live.take_left_out(left_out);
        live.finish();
        let told = once(&made(live));
        told.lines().last().unwrap().trim().to_owned()
    };
    let none = LeftOut::default();
    assert_eq!(of(none, &[]), "no sample was taken");
    assert_eq!(of(none, &[(ThreadState::WaitsForLock, Some(8))]), "nothing counts in cpu mode; -i counts all");
    assert_eq!(of(none, &[(ThreadState::RunsNative, None)]), "no thread had Python frames");
    let others = LeftOut { threads: 7, excluded: 0 };
    assert_eq!(of(others, &[]), "nothing is left: 7 stacks of other threads were left out");
    let both = LeftOut { threads: 7, excluded: 2 };
    assert_eq!(
        of(both, &[(ThreadState::WaitsForLock, Some(8))]),
        "nothing counts in cpu mode of what is left: 7 stacks of other threads were left out, 2 for --exclude; -i counts all"
    );
}

#[test]
fn every_key_that_does_something_is_in_the_help() {
    let help = text(&shop().after(&keys("?"), COLOURED, SIZES[0]).0);
    for key in ["1-6", "Tab", "Enter", "Esc", "d ", "e ", "/  ~", "t ", "p ", "m ", "w W", "a ", "l ", "%", "< >", "R "]
    {
        assert!(help.contains(key), "{key}:\n{help}");
    }
    for key in ["Space r", "s ", "q Ctrl-C", "? h F1", "PgUp", "g G", "Ctrl-Z", "Ctrl-L"] {
        assert!(help.contains(key), "{key}:\n{help}");
    }
}

#[test]
fn the_help_scrolls_where_it_does_not_fit() {
    let made = shop();
    let whole = text(&made.after(&keys("?"), COLOURED, SIZES[0]).0);
    let key_of = |line: &str| line.trim().split("  ").next().unwrap_or_default().to_owned();
    // Narrow and low: every row of both columns is seen as one goes down, and the next key ends it.
    let mut seen = String::new();
    let mut state = state();
    state.take(&press(KeyCode::Char('?')));
    for _ in 0..60 {
        seen += &text(&made.draw(&mut state, COLOURED, (44, 12)));
        state.take(&press(KeyCode::Down));
    }
    assert!(state.help && seen.contains(" 29-38 of 38: Up, Down; other keys end it"), "{seen}");
    for line in whole.lines().skip(3).take(18).map(|line| line.trim_matches(['─', ' '])) {
        assert!(seen.contains(&key_of(line)), "{line}");
    }
    for what in ["callers, callees, source;", "this; any key ends it", "save graph, stacks, recording"] {
        assert!(seen.contains(what), "{what}");
    }
    let wheel = MouseEvent { kind: MouseEventKind::ScrollUp, column: 3, row: 7, modifiers: KeyModifiers::NONE };
    state.take(&Input::Mouse(wheel));
    assert!(text(&made.draw(&mut state, COLOURED, (44, 12))).contains(" 26-35 of 38"));
    state.take(&press(KeyCode::Char('x')));
    assert!(!state.help);
    // It begins at its beginning, and where all of it fits any key ends it.
    state.take(&press(KeyCode::Char('?')));
    assert!(text(&made.draw(&mut state, COLOURED, (44, 12))).contains(" 1-10 of 38"));
    assert_eq!(text(&made.draw(&mut state, COLOURED, SIZES[0])), whole);
    state.take(&press(KeyCode::Down));
    assert!(!state.help);
}

#[test]
fn a_message_is_seen_whole_at_80_columns() {
    let made = shop();
    let message =
        "taking fewer samples than asked, so as not to stop the program for more of its time than --max-pause allows";
    let mut state = state();
    for (notice, lines) in [(message, 2), (&message[..60], 1)] {
        state.notice = Some(notice.into());
        let shown = text(&made.draw(&mut state, COLOURED, SIZES[0]));
        let last: Vec<&str> = shown.lines().skip(24 - lines).map(str::trim).collect();
        assert_eq!(last.join(" "), notice, "{shown}");
    }
    assert!(text(&made.draw(&mut state, COLOURED, SIZES[0])).contains("own CPU"), "there is room for it again");
}

#[test]
fn errors_of_several_processes_are_told_by_reason_at_80_columns() {
    let mut made = family();
    let tally = Tally { asked: 900, taken: 891, torn: 3, ..Tally::default() };
    made.live.take(Event::Progress(Duration::from_secs(9), tally));
    let shown = text(&made.after(&[], COLOURED, SIZES[0]).0);
    assert!(shown.contains("3 errors: 3 changed\n"), "{shown}");
}

#[test]
fn whose_a_thread_is_can_be_read_at_80_columns() {
    let shown = text(&family().after(&keys("3"), COLOURED, SIZES[0]).0);
    let rows: Vec<&str> = shown.lines().skip(6).take(6).collect();
    assert!(rows.iter().all(|row| row.contains(", pid 4242)") || row.contains(", pid 5000)")), "{shown}");
}

#[test]
fn a_limit_that_throttles_is_told_at_80_columns_and_in_a_refresh() {
    let period = Duration::from_millis(100);
    let throttled = Throttling { processors: 0.2, period, periods: 30, throttled: 28 };
    let made = Made { throttled: Some(throttled), ..shop() };
    let shown = text(&made.after(&[], COLOURED, SIZES[0]).0);
    let usual = text(&shop().after(&[], COLOURED, SIZES[0]).0);
    let (line, usual_line) = (shown.lines().nth(1).unwrap(), usual.lines().nth(1).unwrap());
    assert!(line.starts_with(" CPU  93.0 % throttled 93 %, limit 0.2 "), "{shown}");
    assert_eq!(line.split_once("GIL").unwrap().1.split_whitespace().last(), usual_line.split_whitespace().last());
    let others = |text: &str| {
        text.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| line.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(others(&shown), others(&usual), "nothing else has moved");
    let narrow = text(&made.after(&[], COLOURED, (40, 24)).0);
    assert!(narrow.lines().nth(1).unwrap().contains(" throttled 93 % "), "{narrow}");
    let report = Report::new(&made.scene(), &mut state());
    let (mut as_text, mut as_json) = (Vec::new(), Vec::new());
    report.write_text(&made.scene(), &mut as_text).unwrap();
    report.write_json(&mut as_json).unwrap();
    let as_text = String::from_utf8(as_text).unwrap();
    assert!(
        as_text.contains("\nThrottled in 28 of 30 periods of 100 ms, by a CPU limit of 0.2 processors\n"),
        "{as_text}"
    );
    let as_json: serde_json::Value = serde_json::from_slice(&as_json).unwrap();
    let expected = serde_json::json!({"processors": 0.2, "period_seconds": 0.1, "periods": 30, "throttled": 28});
    assert_eq!(as_json["throttled"], expected);
}

#[test]
fn one_refresh_is_text_and_json_of_the_same() {
    let made = shop();
    let mut state = State::new(Mode::Cpu, 5);
    state.of_all_time = true;
    let report = Report::new(&made.scene(), &mut state);
    let (mut as_text, mut as_json) = (Vec::new(), Vec::new());
    report.write_text(&made.scene(), &mut as_text).unwrap();
    report.write_json(&mut as_json).unwrap();
    assert_golden("once", std::str::from_utf8(&as_text).unwrap());
    assert_golden("json", std::str::from_utf8(&as_json).unwrap());
}

#[test]
fn an_hour_takes_no_more_memory_than_some_minutes() {
    let mut live = Live::new(shorten);
    live.take(process(0, 4242));
    definitions().into_iter().for_each(|event| live.take(event));
    let mut most = [0; 60];
    for index in 0..360_000 {
        // A server that makes a thread for each request, ten a second.
        let request = index / 10;
        let at = STEP * index;
        if index % 10 == 0 {
            live.take(thread(request, 0, "request"));
        }
        live.take(gil(at, 0, GilHeld::By(ThreadId(request)), u64::from(index)));
        live.take(sample(at, request, ThreadState::RunsPython, GilState::Held, Some(index % 9)));
        if index % 100 == 0 {
            live.take(account(index / 100 + 1));
            live.take_usage(at, at, none());
        }
        let minute = index as usize / 6000;
        most[minute] = most[minute].max(live.entries());
    }
    let (early, late) = (most[..15].iter().max().unwrap(), most[45..].iter().max().unwrap());
    assert!(late * 100 <= early * 101, "{most:?}");
    let counted = live.totals().counts.values().map(|counts| counts.seen).sum::<u64>();
    assert_eq!(counted, 359_999, "every moment but the last, which is not whole, is still counted");
    assert!(live.tallied(Span::Window(Duration::from_secs(5))).taken() > 500);
}

#[test]
fn what_is_reset_begins_anew() {
    let mut made = shop();
    made.live.reset();
    assert_eq!((made.live.totals().taken(), made.live.elapsed()), (0, Duration::ZERO));
    moment(1000, 0).into_iter().for_each(|event| made.live.take(event));
    made.live.finish();
    assert_eq!(made.live.totals().taken(), 1);
    assert_eq!(row(&made.after(&[], COLOURED, SIZES[0]).0, "JSONEncoder.iterencode")[..2], ["100", "100"]);
}
