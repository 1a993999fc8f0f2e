//! Comparisons: what is known to have grown is found, noise is not taken for growth more often than is said, and what is
//! told of it to people and programs.

mod common;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pysample::aggregate::diff::{Basis, Comparison, Function, FunctionChange, Growth, Input, Limits, Which, growths};
use pysample::export::flamegraph::{self, Heading};
use pysample::sample::{Code, Event, GilState, Literal, Replay, StackId, Tally, ThreadState};
use pysample::view::check::Verdict;
use pysample::view::diff::Report;

use common::golden::assert_golden;
use common::literal::Builder;

const CONFIDENCE: f64 = 0.95;

fn file(code: &Code) -> String {
    code.file.to_string()
}

fn compare(before: &dyn Replay, after: &dyn Replay, basis: Basis) -> Comparison {
    let of = |recording| Input { recording, file: &file };
    Comparison::new(of(before), of(after), basis).unwrap()
}

fn change(comparison: &Comparison, function: &str) -> FunctionChange {
    let changes = comparison.functions(CONFIDENCE);
    changes.into_iter().find(|change| change.function.function == function).unwrap_or_else(|| panic!("no {function}"))
}

/// What grew too much, where each function may grow by `allowed`.
fn failures(before: &dyn Replay, after: &dyn Replay, allowed: f64) -> Vec<Growth> {
    let comparison = compare(before, after, Basis::Share);
    let limits = Limits { allowed: &|_: &Function| allowed, least: 0.01, confidence: CONFIDENCE };
    growths(&comparison, &limits).into_iter().filter(|growth| growth.is_too_much).collect()
}

/// A program that is in one of several functions at a time.
#[derive(Clone, Copy)]
struct Program {
    /// How much of its time it is in each, in parts of the sum.
    weights: &'static [f64],
    /// For how many samples it stays in one, in the mean.
    stays: f64,
    /// Samples a second.
    rate: f64,
    /// How many.
    samples: u32,
}

impl Program {
    fn record(&self, random: &mut fastrand::Rng) -> Literal {
        let mut builder = Builder::new(self.rate);
        let thread = builder.thread("MainThread");
        let stacks: Vec<StackId> = (0..self.weights.len())
            .map(|at| builder.stack(&[("main", "app.py", 1), (&format!("f{at}"), "app.py", 10 + at as u32)]))
            .collect();
        let mut now = self.pick(random);
        for moment in 0..self.samples {
            if random.f64() < 1.0 / self.stays {
                now = self.pick(random);
            }
            let at = Duration::from_secs_f64(f64::from(moment) / self.rate);
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stacks[now]);
        }
        builder.end(Duration::from_secs_f64(f64::from(self.samples) / self.rate))
    }

    fn pick(&self, random: &mut fastrand::Rng) -> usize {
        let mut left = random.f64() * self.weights.iter().sum::<f64>();
        let last = self.weights.len() - 1;
        self.weights
            .iter()
            .position(|weight| {
                left -= weight;
                left < 0.0
            })
            .unwrap_or(last)
    }
}

/// Eight functions from 40 % of the time to less than 1 %.
const WEIGHTS: &[f64] = &[40.0, 25.0, 15.0, 10.0, 5.0, 3.0, 1.5, 0.5];

/// How often two recordings of one program fail where nothing may grow at all.
fn false_failures(program: &Program, other: &Program, seeds: u64) -> usize {
    (0..seeds)
        .filter(|&seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let (before, after) = (program.record(&mut random), other.record(&mut random));
            !failures(&before, &after, 0.0).is_empty()
        })
        .count()
}

/// So many of 400 are within three standard deviations of what is said: 5 %.
const MOST_FALSE: usize = 33;

#[test]
fn two_recordings_of_one_program_fail_as_rarely_as_is_said() {
    // From samples that do not depend on each other to ten stays in all.
    for (stays, samples) in [(1.0, 1000), (10.0, 1000), (40.0, 2000), (100.0, 1000)] {
        let program = Program { weights: WEIGHTS, stays, rate: 100.0, samples };
        let failed = false_failures(&program, &program, 400);
        assert!(failed <= MOST_FALSE, "stays of {stays} samples: {failed} of 400");
    }
}

#[test]
fn lengths_and_rates_that_differ_fail_as_rarely() {
    let short = Program { weights: WEIGHTS, stays: 10.0, rate: 100.0, samples: 1000 };
    let long = Program { weights: WEIGHTS, stays: 40.0, rate: 400.0, samples: 3000 };
    let failed = [false_failures(&short, &long, 200), false_failures(&long, &short, 200)];
    assert!(failed[0] + failed[1] <= MOST_FALSE, "{failed:?} of 200 each");
}

#[test]
fn samples_that_are_alike_are_not_taken_for_independent() {
    // What a test for independent samples would say of the same recordings: it fails most of them.
    let program = Program { weights: WEIGHTS, stays: 40.0, rate: 100.0, samples: 2000 };
    let without_times = |mut recording: Literal| {
        for event in &mut recording.events {
            if let pysample::sample::Event::Sample(sample) = event {
                sample.at = Duration::ZERO;
            }
        }
        recording
    };
    let failed = (0..50).filter(|&seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let [before, after] = [(); 2].map(|()| without_times(program.record(&mut random)));
        !failures(&before, &after, 0.0).is_empty()
    });
    let failed = failed.count();
    assert!(failed > 25, "{failed} of 50");
}

/// As [`WEIGHTS`], but the third takes twice as much.
const GROWN: &[f64] = &[40.0, 25.0, 30.0, 10.0, 5.0, 3.0, 1.5, 0.5];

#[test]
fn what_grew_is_found_and_named() {
    let program = Program { weights: WEIGHTS, stays: 3.0, rate: 100.0, samples: 6000 };
    let grown = Program { weights: GROWN, ..program };
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let failures = failures(&program.record(&mut random), &grown.record(&mut random), 0.05);
        let names: Vec<_> = failures.iter().map(|of| (of.function.function.as_str(), of.which)).collect();
        assert_eq!(names, [("f2", Which::Own), ("f2", Which::Total)], "seed {seed}");
    }
}

#[test]
fn what_grew_by_less_than_it_may_passes() {
    // From 15 to 26 %: by three quarters.
    let program = Program { weights: WEIGHTS, stays: 1.0, rate: 100.0, samples: 3000 };
    let grown = Program { weights: GROWN, ..program };
    let mut random = fastrand::Rng::with_seed(1);
    let (before, after) = (program.record(&mut random), grown.record(&mut random));
    assert_eq!(failures(&before, &after, 0.25).len(), 2);
    assert_eq!(failures(&before, &after, 1.0), []);
    let change = change(&compare(&before, &after, Basis::Share), "f2");
    let truth = 30.0 / 115.0 - 0.15;
    assert!(change.own.is_significant && (change.own.low..change.own.high).contains(&truth), "{change:?}");
}

#[test]
fn a_burst_is_no_growth() {
    // A twentieth of the samples, but all of them at one time: once in a recording says nothing of the next.
    let record = |burst: u64| {
        let mut builder = Builder::new(100.0);
        let thread = builder.thread("MainThread");
        let stacks = [builder.stack(&[("work", "app.py", 1)]), builder.stack(&[("collect", "app.py", 2)])];
        for moment in 0..2000 {
            let stack = stacks[usize::from((700..700 + burst).contains(&moment))];
            let at = Duration::from_millis(10 * moment);
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stack);
        }
        builder.end(Duration::from_secs(20))
    };
    assert_eq!(failures(&record(0), &record(100), 0.05), []);
}

#[test]
fn functions_lines_and_stacks_have_their_samples() {
    let record = |leaf: u32, times: u64| {
        let mut builder = Builder::new(100.0);
        let thread = builder.thread("MainThread");
        // `f` calls itself; its samples are counted once.
        let frames = [("main", "app.py", 1), ("f", "app.py", 5), ("f", "app.py", 6), ("g", "app.py", leaf)];
        let stacks = [builder.stack(&frames), builder.stack(&frames[..3])];
        for moment in 0..times {
            let at = Duration::from_millis(10 * moment);
            let stack = stacks[usize::from(moment % 4 == 0)];
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stack);
        }
        builder.end(Duration::from_millis(10 * times))
    };
    let comparison = compare(&record(9, 80), &record(10, 400), Basis::Share);
    let of = |function: &str| {
        let change = change(&comparison, function);
        [change.own.samples_before, change.own.samples_after, change.total.samples_before, change.total.samples_after]
    };
    assert_eq!([of("main"), of("f"), of("g")], [[0, 0, 80, 400], [20, 100, 80, 400], [60, 300, 60, 300]]);
    assert_eq!(change(&comparison, "g").own.before, 0.75);
    let lines = comparison.lines(CONFIDENCE);
    let line = |number| {
        lines.iter().find(|of| of.line.line == Some(number)).map(|of| [of.own.samples_before, of.own.samples_after])
    };
    assert_eq!([line(9), line(10), line(6)], [Some([60, 0]), Some([0, 300]), Some([20, 100])]);
    let stacks: Vec<_> = comparison
        .stacks()
        .map(|stack| {
            (
                stack.functions.iter().map(|f| f.function.clone()).collect::<Vec<_>>().join(";"),
                stack.before,
                stack.after,
            )
        })
        .collect();
    assert_eq!(stacks, [("main;f;f".into(), 20, 100), ("main;f;f;g".into(), 60, 300)]);
}

#[test]
fn time_is_what_threads_take_of_a_second() {
    // Half of the moments; and each of them in a thread more.
    let record = |threads: u32| {
        let mut builder = Builder::new(100.0);
        let threads: Vec<_> = (0..threads).map(|id| builder.thread(&format!("worker-{id}"))).collect();
        let (work, rest) = (builder.stack(&[("work", "app.py", 1)]), builder.stack(&[("rest", "app.py", 2)]));
        for moment in 0..1000 {
            let stack = if moment % 2 == 0 { work } else { rest };
            for &thread in &threads {
                let at = Duration::from_millis(10 * moment);
                builder.sample(at, thread, ThreadState::RunsPython, GilState::None, stack);
            }
        }
        builder.end(Duration::from_secs(10))
    };
    let (one, two) = (record(1), record(2));
    let by_time = change(&compare(&one, &two, Basis::Time), "work").own;
    assert_eq!((by_time.before, by_time.after, by_time.is_significant), (0.5, 1.0, true));
    let by_share = change(&compare(&one, &two, Basis::Share), "work").own;
    assert_eq!((by_share.before, by_share.after, by_share.is_significant), (0.5, 0.5, false));
}

#[test]
fn by_time_what_came_after_the_last_account_counts_too() {
    let record = |told: Option<u64>| {
        let mut builder = Builder::new(200.0);
        let thread = builder.thread("MainThread");
        let stack = builder.stack(&[("work", "app.py", 1)]);
        // Half of what was asked for was achieved, for ten seconds.
        for moment in 0..1000 {
            let at = Duration::from_millis(10 * moment);
            builder.sample(at, thread, ThreadState::RunsPython, GilState::Held, stack);
        }
        let mut recording = builder.end(Duration::from_secs(10));
        if let Some(seconds) = told {
            // It was killed some seconds after its last account.
            recording.events.pop();
            let tally = Tally { asked: 200 * seconds, taken: 100 * seconds, late: 100 * seconds, ..Tally::default() };
            recording.events.push(Event::Progress(Duration::from_secs(seconds), tally));
        }
        recording
    };
    let comparison = compare(&record(None), &record(Some(5)), Basis::Time);
    let [_, killed] = comparison.sides();
    assert_eq!(killed.moments, Some(999), "as many as there are in 9.99 s");
    let own = change(&comparison, "work").own;
    assert!((own.before - own.after).abs() < 0.01 && !own.is_significant, "{own:?}");
}

#[test]
fn recordings_of_one_real_program_pass_and_a_changed_one_does_not() {
    let record = |fifth: &str| {
        let mut target = common::ordinary().start("amounts.py", &["5", "3", fifth]);
        target.line();
        common::literal::record(target.pid(), Duration::from_secs(2), 250.0)
    };
    let recordings: Vec<Literal> = (0..4).map(|_| record("2")).collect();
    let mut failed = 0;
    for before in &recordings {
        for after in recordings.iter().filter(|after| !std::ptr::eq(*after, before)) {
            failed += usize::from(!failures(before, after, 0.05).is_empty());
        }
    }
    // Each pair with a probability of 5 % at most; pairs share recordings, so one odd recording makes half of them fail.
    assert!(failed <= 6, "{failed} of 12 pairs");
    let failures = failures(&recordings[0], &record("60"), 0.05);
    assert!(failures.iter().any(|of| of.function.function == "fifth" && of.which == Which::Total), "{failures:?}");
}

/// What the golden files are of.
fn comparison() -> Comparison {
    let program = Program { weights: WEIGHTS, stays: 3.0, rate: 100.0, samples: 3000 };
    let mut random = fastrand::Rng::with_seed(7);
    let (before, after) = (program.record(&mut random), Program { weights: GROWN, ..program }.record(&mut random));
    compare(&before, &after, Basis::Share)
}

fn verdict(allowed: f64) -> Verdict {
    let limits = Limits { allowed: &|_: &Function| allowed, least: 0.01, confidence: CONFIDENCE };
    Verdict::new(&comparison(), ["base.pysample", "new.pysample"], &limits)
}

fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_difference_as_text_and_as_json() {
    let report = Report::new(&comparison(), ["base.pysample", "new.pysample"], CONFIDENCE);
    assert_golden("diff.txt", &written(|out| report.write_text(3, out)));
    assert_golden("diff.json", &written(|out| report.write_json(out)));
}

#[test]
fn a_verdict_as_text_as_markdown_and_for_junit() {
    let verdict = verdict(0.05);
    assert!(!verdict.is_passed());
    assert_golden("check.txt", &written(|out| verdict.write_text(out)));
    assert_golden("check.md", &written(|out| verdict.write_markdown(out)));
    assert_golden("check.xml", &written(|out| verdict.write_junit(out)));
}

#[test]
fn a_reader_of_junit_files_sees_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    for (allowed, is_failed, expected) in [(0.05, true, "15 2 ['f2 (self)', 'f2 (total)']"), (1.0, false, "15 0 []")] {
        let file = folder.path().join("check.xml");
        fs::write(&file, written(|out| verdict(allowed).write_junit(out))).unwrap();
        let verified = Command::new("junitparser").arg("verify").arg(&file).status().expect("junitparser is installed");
        assert_eq!(verified.code(), Some(i32::from(is_failed)));
        // Debian's module is for Debian's Python.
        let script = "import sys, junitparser\n\
                      suite, = junitparser.JUnitXml.fromfile(sys.argv[1])\n\
                      print(suite.tests, suite.failures, [case.name for case in suite if case.result])";
        let told = Command::new("/usr/bin/python3").args(["-c", script]).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), expected, "{}", String::from_utf8_lossy(&told.stderr));
    }
}

#[test]
fn hostile_names_make_neither_markup_nor_tables() {
    let mut builder = Builder::new(100.0);
    let thread = builder.thread("MainThread");
    let stack = builder.stack(&[("</failure><x a=\"1\">&|*_`\0\x1b[31m\n@all", "]]>.py", 1)]);
    builder.sample(Duration::ZERO, thread, ThreadState::RunsPython, GilState::Held, stack);
    let recording = builder.end(Duration::from_secs(1));
    let empty = Builder::new(100.0).end(Duration::from_secs(1));
    let comparison = compare(&empty, &recording, Basis::Share);
    let limits = Limits { allowed: &|_: &Function| 0.0, least: 0.0, confidence: CONFIDENCE };
    let verdict = Verdict::new(&comparison, ["<a>|b", "c"], &limits);
    let junit = written(|out| verdict.write_junit(out));
    let document = roxmltree::Document::parse(&junit).unwrap();
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(cases[0].attribute("name"), Some("</failure><x a=\"1\">&|*_`\\x00\\x1b[31m\\n@all (self)"));
    assert_eq!(cases[0].attribute("classname"), Some("]]>.py"));
    let markdown = written(|out| verdict.write_markdown(out));
    assert!(
        markdown.contains("&lt;/failure&gt;") && markdown.contains("\\|\\*\\_\\`") && !markdown.contains('@'),
        "{markdown}"
    );
    let told = written(|out| verdict.write_text(out));
    assert!(!told.contains('\x1b') && !told.contains('\0'), "{told}");
}

#[test]
fn a_difference_is_drawn_with_what_it_is_before_and_after() {
    let heading = Heading { title: "a → b".into(), subtitle: String::new() };
    let svg = written(|out| flamegraph::write_difference(&comparison(), &heading, out));
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&svg, options).unwrap();
    let titles: Vec<_> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "title")
        .filter_map(|node| node.text())
        .collect();
    let changes = comparison().functions(CONFIDENCE);
    let f2 = &changes.iter().find(|change| change.function.function == "f2").unwrap().own;
    let title = titles.iter().find(|title| title.starts_with("f2 (app.py)")).unwrap();
    assert!(title.contains(&format!("({} samples after, {:.2}%; +", f2.samples_after, 100.0 * f2.after)), "{title}");
}

/// Two files of collapsed stacks in a folder: half of the samples in each of two functions, and a quarter and the rest.
fn collapsed(folder: &Path) -> [String; 2] {
    [("before.txt", [5000, 5000]), ("after.txt", [7500, 2500])].map(|(name, [a, b])| {
        let text = format!("main (app.py:3);a (app.py:7) {a}\nmain (app.py:3);b (app.py:9) {b}\n");
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    })
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = common::pysample(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_exit_status_of_a_check_is_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = &collapsed(folder.path());
    let (status, told, _) = run(&["check", before, after]);
    assert_eq!(status, Some(1));
    assert!(
        told.starts_with("FAILED: 2 of 5 figures")
            && told.contains("a (app.py), self: 50.0 % before, 75.0 % after: 50 % more, 5 % allowed"),
        "{told}"
    );
    assert!(told.contains("No confidence is claimed"), "{told}");
    for arguments in [
        &["check", before, before][..],
        &["check", before, after, "--max-growth", "60%"],
        &["check", before, after, "--function", "a=60%"],
    ] {
        let (status, told, error) = run(arguments);
        assert!(status == Some(0) && told.starts_with("PASSED") && error.is_empty(), "{arguments:?}: {told}{error}");
    }
    let (status, _, error) = run(&["check", before, "/nonexistent"]);
    assert!(status == Some(2) && error.contains("cannot read /nonexistent"), "{error}");
    let damaged = folder.path().join("damaged.pysample");
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/version-1.pysample")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let (status, _, error) = run(&["check", before, damaged.to_str().unwrap()]);
    assert!(status == Some(2) && error.contains("damaged.pysample"), "{status:?} {error}");
    let empty = folder.path().join("empty.txt");
    fs::write(&empty, "").unwrap();
    let (status, _, error) = run(&["check", before, empty.to_str().unwrap()]);
    assert!(status == Some(2) && error.contains("it is empty"), "{error}");
}

#[test]
fn a_pattern_that_matches_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [before, _] = &collapsed(folder.path());
    let (status, _, error) = run(&["check", before, before, "--function", "pares*=3%", "--function", "app.py:*=3%"]);
    assert_eq!((status, error.as_str()), (Some(0), "pysample: warning: no function matches pares*\n"));
}

#[test]
fn what_may_grow_without_end_is_not_judged_be_it_new() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] =
        [("before.txt", "main (app.py:1);a (app.py:7) 5000\n"), ("after.txt", "")].map(|(name, text)| {
            let new = "main (app.py:1);a (app.py:7) 2500\nmain (app.py:1);test_a (tests/a.py:1) 2500\n";
            let path = folder.path().join(name);
            fs::write(&path, if text.is_empty() { new } else { text }).unwrap();
            path.into_os_string().into_string().unwrap()
        });
    let check = |more: &[&str]| run(&[&["check", &before, &after], more].concat());
    // Whatever part of nothing it may take, it takes more.
    assert_eq!(check(&["--function", "test_*=1000%"]).0, Some(1));
    for more in [&["--function", "tests/*:*=any"][..], &["--max-growth", "any", "--function", "a=5%"]] {
        let (status, told, _) = check(more);
        assert!(status == Some(0) && told.starts_with("PASSED") && !told.contains("test_a"), "{told}");
    }
}

#[test]
fn results_go_to_files_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = &collapsed(folder.path());
    let file = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let (markdown, junit, svg, html) = (file("c.md"), file("c.xml"), file("d.svg"), file("d.html"));
    let (_, _, told) = run(&["check", before, after, "--markdown", &markdown, "--junit", &junit]);
    assert_eq!(told, format!("pysample: written: {markdown}\npysample: written: {junit}\n"));
    assert_eq!(run(&["diff", before, after, "-o", &svg]).0, Some(0));
    assert_eq!(run(&["diff", before, after, "-o", &html]).0, Some(0));
    for (file, begins) in
        [(markdown, "## pysample check: failed"), (junit, "<?xml"), (svg, "<?xml"), (html, "<!doctype html>")]
    {
        assert!(fs::read_to_string(&file).unwrap().starts_with(begins), "{file}");
    }
    let (status, told, _) = run(&["diff", before, after, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["functions"][0]["self"]["difference"]), (Some(0), &serde_json::json!(0.25)));
}

#[test]
fn a_verdict_goes_to_standard_output_in_the_form_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = &collapsed(folder.path());
    let (status, told, error) = run(&["check", before, after, "--markdown", "-"]);
    assert_eq!((status, error.as_str()), (Some(1), ""));
    assert!(told.starts_with("## pysample check: failed") && !told.contains("FAILED: 2 of 5 figures\n  a "), "{told}");
    let (_, told, _) = run(&["check", before, after, "--junit", "-"]);
    assert!(roxmltree::Document::parse(&told).is_ok(), "{told}");
}

#[test]
fn a_verdict_is_told_though_a_file_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = &collapsed(folder.path());
    let junit = folder.path().join("check.xml");
    let (status, told, error) =
        run(&["check", before, after, "--markdown", "/dev/full", "--junit", junit.to_str().unwrap()]);
    assert!(status == Some(1) && told.starts_with("FAILED: 2 of 5"), "{told}");
    assert!(error.contains("cannot write /dev/full: No space left"), "{error}");
    assert!(fs::read_to_string(&junit).unwrap().starts_with("<?xml"));
}

#[test]
fn no_result_is_written_over_what_is_judged_or_over_the_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = &collapsed(folder.path());
    let (text, both) = (fs::read_to_string(before).unwrap(), folder.path().join("both"));
    let roundabout = folder.path().join("./before.txt");
    for arguments in [["--junit", before], ["--markdown", roundabout.to_str().unwrap()]] {
        let (status, _, error) = run(&[&["check", before, after][..], &arguments].concat());
        assert!(status == Some(2) && error.contains("would be written over"), "{error}");
        assert_eq!(fs::read_to_string(before).unwrap(), text);
    }
    let both = both.to_str().unwrap();
    for both in [both, "-"] {
        let (status, told, error) = run(&["check", before, after, "--junit", both, "--markdown", both]);
        assert!(status == Some(2) && told.is_empty() && error.contains("both be written"), "{told}{error}");
    }
    assert_eq!(common::names(folder.path()), ["after.txt", "before.txt"]);
}

#[test]
fn the_example_for_a_pipeline_fails_what_grew_and_leaves_its_reports() {
    let folder = tempfile::tempdir().unwrap();
    let python = common::ordinary();
    let checkout = |name: &str, fifth: u32| {
        let checkout = folder.path().join(name);
        fs::create_dir(&checkout).unwrap();
        let ten = "def work(n):\n    for _ in range(n): pass\n\ndef first(): work(60_000)\n\ndef second(): work(N)\n\n\
                   for _ in range(2000):\n    first()\n    second()\n";
        fs::write(checkout.join("benchmark.py"), ten.replace('N', &fifth.to_string())).unwrap();
        checkout
    };
    let (base, new, reports) = (checkout("base", 15_000), checkout("new", 180_000), folder.path().join("reports"));
    let pysample = Path::new(env!("CARGO_BIN_EXE_pysample")).parent().unwrap();
    let path = format!("{}:{}", pysample.display(), std::env::var("PATH").unwrap());
    let gate = |new: &Path| {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci/profile-gate"));
        command.args([&base, new, &reports]).args(&python.command).arg("benchmark.py");
        command.env("PATH", &path).env("MAX_GROWTH", "100%");
        command.output().unwrap()
    };
    let failed = gate(&new);
    let told = String::from_utf8_lossy(&failed.stdout);
    // From a fifth of the time to three quarters.
    assert_eq!(failed.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&failed.stderr));
    assert!(told.contains("second (benchmark.py), total: "), "{told}");
    assert_eq!(common::names(&reports), ["base.pysample", "check.md", "check.xml", "diff.html", "new.pysample"]);
}
