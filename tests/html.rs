//! The page, in a real browser: what a person can do with it, with numbers that are known; and names that would like to
//! be more than names.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::Arguments;
use pysample::export::{Labels, html};
use pysample::sample::{Event, GilState, Literal, Replay, Tally, ThreadState};
use serde_json::Value;
use tempfile::TempDir;

use common::browser::Browser;
use common::literal::Builder;

/// One browser serves all tests, one after the other: to start one takes longer than most of them.
fn main() {
    let browser = Arc::new(Mutex::new(None));
    let trials = TESTS.iter().map(|&(name, test)| {
        let browser = browser.clone();
        common::watch::trial(name, move || {
            let mut browser = browser.lock().unwrap_or_else(PoisonError::into_inner);
            test(browser.get_or_insert_with(|| Browser::start(1280, 1400)));
            Ok(())
        })
    });
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(browser.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit();
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as Test)),*] };
}

type Test = fn(&Browser);

const TESTS: &[(&str, Test)] = tests![
    the_flame_graph_has_the_samples_and_a_click_zooms,
    a_search_marks_what_matches_and_tells_its_share,
    filters_by_thread_state_and_time_change_the_totals_to_what_is_known,
    the_inverted_view_begins_with_what_was_innermost,
    functions_merge_their_lines_and_recursion_counts_once,
    lines_are_shown_beside_the_source_where_it_could_be_read,
    the_timeline_shows_who_held_and_who_wanted_the_gil,
    hostile_names_stay_text,
    an_hour_of_samples_is_whole_in_a_page_of_bounded_size,
    a_very_deep_stack_is_shown,
    thread_time_is_that_of_the_samples_however_old_the_account_is,
    a_recording_without_samples_says_so,
    a_difference_shows_shares_of_both,
];

const SOURCE: &str = "def main():\n    work()\n    pause()\n\n\ndef work():\n    return 1 < 2  # </script>\n";

/// Ten seconds at 100 Hz. The main thread works for the first six and waits for the other one, which waits for the GIL for
/// two seconds and packs for the last four.
fn recording() -> Literal {
    let mut builder = Builder::new(100.0);
    let (main, packer) = (builder.thread("MainThread"), builder.thread("packer"));
    let work = builder.stack(&[("main", "/srv/app.py", 2), ("work", "/srv/app.py", 7)]);
    let pause = builder.stack(&[("main", "/srv/app.py", 3), ("pause", "/srv/app.py", 10)]);
    let pack = builder.stack(&[("run", "/srv/pack.py", 20), ("pack", "/srv/pack.py", 30)]);
    for moment in 0..1000 {
        let at = Duration::from_millis(10 * moment);
        let (state, gil, stack) = match moment {
            0..600 => (ThreadState::RunsPython, GilState::Held, work),
            _ => (ThreadState::WaitsForLock, GilState::NotHeld, pause),
        };
        builder.sample(at, main, state, gil, stack);
        match moment {
            0..400 => {}
            400..600 => builder.sample(at, packer, ThreadState::WaitsForGil, GilState::NotHeld, pack),
            _ => builder.sample(at, packer, ThreadState::RunsPython, GilState::Held, pack),
        }
    }
    builder.end(Duration::from_secs(10))
}

/// A browser that shows a page.
struct Shown<'a> {
    browser: &'a Browser,
    file: PathBuf,
    _folder: TempDir,
}

fn show(browser: &Browser, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Shown<'_> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profile.html");
    let mut page = Vec::new();
    write(&mut page).unwrap();
    fs::write(&file, page).unwrap();
    browser.open(&file);
    Shown { browser, file, _folder: folder }
}

fn show_recording<'a>(browser: &'a Browser, recording: &dyn Replay) -> Shown<'a> {
    let sources = |file: &str| (file == "/srv/app.py").then(|| SOURCE.to_owned());
    show(browser, |out| html::write(recording, &Labels::default(), &sources, out))
}

impl Shown<'_> {
    /// What the flame graph draws.
    fn boxes(&self) -> Vec<Value> {
        self.browser.run("return window.pysample.boxes()").as_array().expect("the page's script runs").clone()
    }

    /// The samples of each frame drawn, by its label.
    fn drawn(&self) -> Vec<(String, u64)> {
        let of = |of: &Value| (of["label"].as_str().unwrap().to_owned(), of["samples"].as_u64().unwrap());
        self.boxes().iter().map(of).collect()
    }

    fn frame(&self, label: &str) -> Value {
        let boxes = self.boxes();
        boxes.into_iter().find(|one| one["label"] == label).unwrap_or_else(|| panic!("no {label} is drawn"))
    }

    fn samples(&self, label: &str) -> u64 {
        self.frame(label)["samples"].as_u64().unwrap()
    }

    /// Clicks a frame in the flame graph.
    fn click(&self, label: &str) {
        let frame = self.frame(label);
        self.browser.run("document.getElementById('flame').scrollIntoView({block: 'center'})");
        let corner = self
            .browser
            .run("const at = document.getElementById('flame').getBoundingClientRect(); return [at.x, at.y]");
        let number = |of: &Value| of.as_f64().unwrap();
        let x = number(&corner[0]) + number(&frame["x"]) + number(&frame["width"]) / 2.0;
        self.browser.click(x, number(&corner[1]) + number(&frame["y"]) + 8.0);
    }

    /// Nothing was asked for but the page itself, nothing was complained of, nobody was asked anything.
    fn has_kept_to_itself(&self) {
        assert!(!self.browser.has_dialog());
        assert_eq!(self.browser.requests(), [format!("file://{}", self.file.display())]);
        assert_eq!(self.browser.complaints(), Vec::<Value>::new());
    }
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|&(label, samples)| (label.to_owned(), samples)).collect()
}

fn sorted(mut pairs: Vec<(String, u64)>) -> Vec<(String, u64)> {
    pairs.sort();
    pairs
}

fn the_flame_graph_has_the_samples_and_a_click_zooms(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    let all = pairs(&[
        ("all", 1600),
        ("main (app.py:2)", 600),
        ("main (app.py:3)", 400),
        ("pack (pack.py:30)", 600),
        ("pause (app.py:10)", 400),
        ("run (pack.py:20)", 600),
        ("work (app.py:7)", 600),
    ]);
    assert_eq!(sorted(shown.drawn()), all);
    let whole = shown.frame("all")["width"].as_f64().unwrap();
    let before = shown.frame("run (pack.py:20)")["width"].as_f64().unwrap();
    assert!((before / whole - 600.0 / 1600.0).abs() < 0.001, "{before} of {whole}");

    shown.click("run (pack.py:20)");
    assert_eq!(shown.drawn(), pairs(&[("all", 1600), ("run (pack.py:20)", 600), ("pack (pack.py:30)", 600)]));
    assert_eq!(shown.frame("pack (pack.py:30)")["width"].as_f64(), Some(whole));
    shown.click("all");
    assert_eq!(sorted(shown.drawn()), all);
    shown.has_kept_to_itself();
}

fn a_search_marks_what_matches_and_tells_its_share(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    // Both match; `pack` is within `run`, so the two are 600 of 1600.
    shown.browser.type_into("#search", "PACK.py");
    let matches = |label: &str| shown.frame(label)["isMatch"].as_bool().unwrap();
    assert!(matches("run (pack.py:20)") && matches("pack (pack.py:30)") && !matches("work (app.py:7)"));
    assert_eq!(shown.browser.text("#matched"), "37.5 % matched");
    assert_eq!(shown.browser.run("return document.querySelectorAll('#functions tr.match').length"), 2);
}

fn filters_by_thread_state_and_time_change_the_totals_to_what_is_known(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    let state = |name: &str| format!("#states button[data-state={name}]");

    browser.click_on(&state("waits_for_lock"));
    assert_eq!((shown.samples("all"), shown.samples("pack (pack.py:30)")), (1200, 600));
    browser.click_on(&state("runs_python"));
    assert_eq!(shown.drawn(), pairs(&[("all", 200), ("run (pack.py:20)", 200), ("pack (pack.py:30)", 200)]));
    browser.click_on("#reset");
    assert_eq!(shown.samples("all"), 1600);

    // Threads are listed by how much they do.
    assert!(browser.text("#threads label:nth-child(1)").starts_with("MainThread (thread 4242)"));
    browser.click_on("#threads label:nth-child(1)");
    assert_eq!(shown.samples("all"), 600);
    browser.click_on("#reset");

    // The brush, from the middle of the time to its end: the last five seconds, to a pixel.
    let at = browser
        .run("const at = document.getElementById('lanes').getBoundingClientRect(); return [at.x, at.y, at.width]");
    let at = |index: usize| at[index].as_f64().unwrap();
    browser.drag((at(0) + at(2) / 2.0, at(1) + 10.0), (at(0) + at(2) + 20.0, at(1) + 10.0));
    let tolerance = 2.0 * 1000.0 / at(2) + 1.0;
    for (label, expected) in [("work (app.py:7)", 100.0), ("pause (app.py:10)", 400.0), ("pack (pack.py:30)", 500.0)] {
        let samples = shown.samples(label) as f64;
        assert!((samples - expected).abs() <= tolerance, "{label}: {samples} samples, {expected} expected");
    }
    // Exactly.
    browser.run("window.pysample.chosen.from = 4e6; window.pysample.chosen.to = 6e6");
    browser.click_on("#view button[data-value=calls]");
    assert_eq!(
        (shown.samples("all"), shown.samples("work (app.py:7)"), shown.samples("run (pack.py:20)")),
        (400, 200, 200)
    );
    browser.click_on("#whole");
    assert_eq!(shown.samples("all"), 1600);
    shown.has_kept_to_itself();
}

fn the_inverted_view_begins_with_what_was_innermost(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    shown.browser.click_on("#view button[data-value=inverted]");
    let at_depth = |depth: u64| {
        let boxes = shown.boxes();
        let labels = boxes.iter().filter(|one| one["depth"] == depth);
        sorted(labels.map(|one| (one["label"].as_str().unwrap().into(), one["samples"].as_u64().unwrap())).collect())
    };
    assert_eq!(at_depth(1), pairs(&[("pack (pack.py:30)", 600), ("pause (app.py:10)", 400), ("work (app.py:7)", 600)]));
    assert_eq!(at_depth(2), pairs(&[("main (app.py:2)", 600), ("main (app.py:3)", 400), ("run (pack.py:20)", 600)]));
}

fn functions_merge_their_lines_and_recursion_counts_once(browser: &Browser) {
    let mut builder = Builder::new(100.0);
    let thread = builder.thread("MainThread");
    let stacks = [
        builder.stack(&[("f", "/srv/app.py", 2), ("f", "/srv/app.py", 3)]),
        builder.stack(&[("f", "/srv/app.py", 2), ("g", "/srv/app.py", 9)]),
    ];
    for moment in 0..30 {
        let stack = stacks[usize::from(moment >= 20)];
        builder.sample(Duration::from_millis(10 * moment), thread, ThreadState::RunsPython, GilState::Held, stack);
    }
    let shown = show_recording(browser, &builder.end(Duration::from_millis(300)));
    shown.browser.click_on("#grain button[data-value=functions]");
    let rows = shown.browser.run("return window.pysample.functions()");
    assert_eq!(rows, serde_json::json!([["66.7 %", "100 %", "fapp.py:1"], ["33.3 %", "33.3 %", "gapp.py:1"]]));
    assert_eq!(sorted(shown.drawn())[1..], pairs(&[("f (app.py:1)", 20), ("f (app.py:1)", 30), ("g (app.py:1)", 10)]));
}

fn lines_are_shown_beside_the_source_where_it_could_be_read(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    shown.click("work (app.py:7)");
    let line = |number: u32| {
        let cells = format!("[...document.querySelector('#source [data-line=\"{number}\"]').children]");
        browser.run(&format!("return {cells}.map((cell) => cell.textContent).join('|')"))
    };
    assert_eq!(line(7), "37.5 %|37.5 %|7|    return 1 < 2  # </script>");
    assert_eq!(line(2), "|37.5 %|2|    work()");
    assert_eq!(line(1), "||1|def main():");
    shown.click("all");
    shown.click("pack (pack.py:30)");
    assert_eq!(line(30), "37.5 %|37.5 %|30|");
    assert!(shown.browser.text("#source").starts_with("The text of this file is not in the page."));
}

fn the_timeline_shows_who_held_and_who_wanted_the_gil(browser: &Browser) {
    let shown = show_recording(browser, &recording());
    // The colour in the middle of a thread's row at a time.
    let colour = |row: u32, seconds: f64| {
        shown.browser.run(&format!(
            "const canvas = document.getElementById('timeline');
             const [r, g, b] = canvas.getContext('2d').getImageData({seconds} / 10 * canvas.width, 52 + {row} * 20 + 10, 1, 1).data;
             return '#' + [r, g, b].map((part) => part.toString(16).padStart(2, '0')).join('')"
        ))
    };
    let named = |name: &str| {
        shown
            .browser
            .run(&format!("return getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"))
    };
    let (main, packer) = (0, 1);
    assert_eq!([colour(main, 3.0), colour(main, 8.0)], [named("held"), named("waits")]);
    assert_eq!(
        [colour(packer, 2.0), colour(packer, 5.0), colour(packer, 8.0)],
        [named("soft"), named("wanted"), named("held")]
    );
}

fn hostile_names_stay_text(browser: &Browser) {
    let long = "x".repeat(10_000);
    let names = [
        "</script><script>alert(1);document.title='lost'</script>",
        "<img src=x onerror=alert(2)>",
        "<!--<script>",
        "\"'`;${alert(3)}//",
        "a;b\nc\r\n\u{2028}\u{2029}",
        "lone \\udcff surrogate",
        "\u{202e}gpj.exe\0\x1b[31m",
        "javascript:alert(4)",
        "__proto__",
        "constructor",
        "https://example.org/<link rel=stylesheet href=//example.org/x>",
        &long,
    ];
    let mut builder = Builder::new(100.0);
    for (index, name) in names.iter().enumerate() {
        let thread = builder.thread(name);
        let stack = builder.stack(&[(name, name, 1), (name, name, 2)]);
        for moment in 0..10 {
            let at = Duration::from_millis(100 * index as u64 + 10 * moment);
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stack);
        }
    }
    let mut recording = builder.end(Duration::from_millis(1200));
    recording.header.program = names[0].into();
    let shown = show(browser, |out| html::write(&recording, &Labels::default(), &|_: &str| Some(names.concat()), out));
    assert_eq!(shown.samples("all"), 10 * names.len() as u64);
    assert_eq!(browser.text("h1"), names[0]);
    assert_eq!(
        browser.run("return [document.scripts.length, document.images.length, document.links.length]"),
        serde_json::json!([2, 0, 0])
    );
    for name in [names[0], names[1], names[8], names[9]] {
        let is_drawn = shown.boxes().iter().any(|one| one["label"].as_str().unwrap().starts_with(name));
        assert!(is_drawn, "{name}");
    }
    // Everything that shows names is made to.
    browser.type_into("#search", "<");
    browser.click_on("#functions tbody tr:nth-child(2)");
    let first = shown.boxes().into_iter().find(|one| one["depth"] == 2).unwrap();
    shown.click(first["label"].as_str().unwrap());
    browser.click_on("#view button[data-value=inverted]");
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script, main link').length"), 0);
    shown.has_kept_to_itself();
}

fn an_hour_of_samples_is_whole_in_a_page_of_bounded_size(browser: &Browser) {
    let mut builder = Builder::new(100.0);
    let thread = builder.thread("MainThread");
    let stacks: Vec<_> = (0..50)
        .map(|leaf| builder.stack(&[("main", "/srv/app.py", 1), (&format!("work_{leaf}"), "/srv/app.py", 10 + leaf)]))
        .collect();
    for moment in 0..360_000_u64 {
        let stack = stacks[(moment % 50) as usize];
        builder.sample(Duration::from_millis(10 * moment), thread, ThreadState::RunsPython, GilState::Held, stack);
    }
    let recording = builder.end(Duration::from_secs(3600));
    let shown = show_recording(browser, &recording);
    assert!(fs::metadata(&shown.file).unwrap().len() < 8 << 20);
    assert_eq!((shown.samples("all"), shown.samples("work_7 (app.py:17)")), (360_000, 7200));
    // A minute of the hour.
    shown.browser.run("window.pysample.chosen.from = 600e6; window.pysample.chosen.to = 660e6");
    shown.browser.click_on("#view button[data-value=calls]");
    assert_eq!(shown.samples("all"), 6000);
}

fn a_very_deep_stack_is_shown(browser: &Browser) {
    let names: Vec<String> = (0..5000).map(|depth| format!("f{depth}")).collect();
    let frames: Vec<_> = names.iter().map(|name| (name.as_str(), "/srv/deep.py", 1)).collect();
    let mut builder = Builder::new(100.0);
    let thread = builder.thread("MainThread");
    let stack = builder.stack(&frames);
    builder.sample(Duration::ZERO, thread, ThreadState::RunsPython, GilState::Held, stack);
    let shown = show_recording(browser, &builder.end(Duration::from_millis(10)));
    assert_eq!(shown.boxes().len(), 5001);
    shown.browser.click_on("#view button[data-value=inverted]");
    assert_eq!(shown.boxes().len(), 401);
    shown.has_kept_to_itself();
}

fn thread_time_is_that_of_the_samples_however_old_the_account_is(browser: &Browser) {
    let mut killed = recording();
    let tally = Tally { asked: 400, taken: 400, ..Tally::default() };
    *killed.events.last_mut().unwrap() = Event::Progress(Duration::from_secs(4), tally);
    for recording in [recording(), killed] {
        let shown = show_recording(browser, &recording);
        // One thread for ten seconds and one for six.
        assert_eq!(shown.browser.text("#shown"), "1\u{202f}600 samples · 16.0 s of threads");
    }
}

fn a_recording_without_samples_says_so(browser: &Browser) {
    let shown = show_recording(browser, &Builder::new(100.0).end(Duration::from_secs(1)));
    assert_eq!(shown.browser.text("#empty"), "No samples are left by these filters.");
    shown.has_kept_to_itself();
}

fn a_difference_shows_shares_of_both(browser: &Browser) {
    let part = |work: u64| {
        let mut builder = Builder::new(100.0);
        let thread = builder.thread("MainThread");
        let stacks = [
            builder.stack(&[("main", "/srv/app.py", 2), ("work", "/srv/app.py", 7)]),
            builder.stack(&[("main", "/srv/app.py", 3), ("rest", "/srv/app.py", 9)]),
        ];
        for moment in 0..100 {
            let stack = stacks[usize::from(moment >= work)];
            builder.sample(Duration::from_millis(10 * moment), thread, ThreadState::RunsPython, GilState::Held, stack);
        }
        builder.end(Duration::from_secs(1))
    };
    let (before, after, labels) = (part(20), part(60), Labels::default());
    let shown =
        show(browser, |out| html::write_difference((&before, &labels), (&after, &labels), &html::without_sources, out));
    assert_eq!(shown.samples("work (app.py:1)"), 60);
    let rows = shown.browser.run("return window.pysample.functions()");
    assert_eq!(rows[0], serde_json::json!(["60.0 %", "60.0 %", "+40.0 %", "workapp.py:1"]));
    shown.browser.click_on("#width button[data-value='0']");
    assert_eq!((shown.samples("work (app.py:1)"), shown.samples("rest (app.py:1)")), (20, 80));
    shown.has_kept_to_itself();
}
