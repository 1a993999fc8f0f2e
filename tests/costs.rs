//! What a sample costs, in things that can be counted: system calls that read, allocations, resident memory.

mod common;

use std::alloc::System;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use common::Kind;
use pysample::sample::{Event, Tally};
use pysample::sampler::{self, End, Settings, Wanted};
use pysample::target::Target;
use pysample::{Error, attach, python};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn settings(rate: f64, seconds: f64) -> Settings {
    let duration = Some(Duration::from_secs_f64(seconds));
    Settings { rate, duration, wanted: Wanted::All, max_pause: 1.0, ..Settings::default() }
}

/// Records a process; the account when the recording was so long under way, and at its end.
fn record(pid: u32, settings: Settings, early: Duration) -> (Tally, Tally) {
    let (target, interpreter) = attach(pid).expect("the target can be read");
    let recording = sampler::start(target, interpreter, settings).expect("a thread can be started");
    let mut tallies = Vec::new();
    for event in recording.events() {
        if let Event::Progress(at, tally) = event {
            tallies.push((at, tally));
        }
    }
    let first = tallies.iter().find(|(at, _)| *at >= early).expect("progress is told").1;
    (first, recording.finish().tally)
}

fn reads_a_sample(kind: &Kind) -> f64 {
    let mut target = kind.start("deep.py", &["100"]);
    assert_eq!(target.line(), "ready");
    let (early, end) = record(target.pid(), settings(500.0, 2.9), Duration::from_millis(1700));
    assert!(end.taken - early.taken > 20, "too few samples: {early:?} {end:?}");
    (end.reads - early.reads) as f64 / (end.taken - early.taken) as f64
}

#[test]
fn a_stack_100_deep_takes_three_reads_a_sample_at_most_and_five_before_3_11() {
    let _alone = ALONE.lock();
    for kind in common::one_of_each() {
        let reads = reads_a_sample(kind);
        let most = if kind.minor >= 11 { 3.0 } else { 5.0 };
        assert!(reads <= most, "{}: {reads} reads a sample", kind.kind);
    }
}

/// What it executes is something else each time, so nothing of it is foreseen: the proofs would take a third read.
#[test]
fn at_the_highest_rate_the_proofs_of_several_samples_are_read_at_once() {
    let _alone = ALONE.lock();
    for kind in common::one_of_each().filter(|kind| kind.minor >= 11) {
        let mut target = kind.start("torture.py", &[]);
        assert_eq!(target.line(), "ready");
        let (early, end) = record(target.pid(), settings(200_000.0, 2.9), Duration::from_millis(1700));
        let reads = (end.reads - early.reads) as f64 / (end.taken - early.taken) as f64;
        // A slow machine has fewer samples in the time for which proofs may wait.
        let at_once = ((end.taken - early.taken) as f64 / 1.2 * 500e-6).clamp(1.0, 16.0);
        assert!(reads <= 2.65 + 1.0 / at_once, "{}: {reads} reads a sample: {end:?}", kind.kind);
    }
}

/// Names of threads are read again after 0.1, 0.3, 0.7, 1.5 and 3.1 s, so this looks at the time between.
#[test]
fn fifty_threads_take_four_reads_a_sample_at_most() {
    let _alone = ALONE.lock();
    for kind in common::one_of_each() {
        let mut target = kind.start("threads.py", &["50"]);
        target.line();
        let (early, end) = record(target.pid(), settings(200.0, 2.9), Duration::from_millis(1700));
        let reads = (end.reads - early.reads) as f64 / (end.taken - early.taken) as f64;
        assert!(reads <= 4.0, "{}: {reads} reads a sample", kind.kind);
        assert_eq!(end.errors(), 0, "{}", kind.kind);
    }
}

/// Allocations while a recorded image is sampled for so long. The image does not change, so all but the first sample are
/// in steady state. Names are read again after 0.1 s, so this is shorter.
/// A program that is not Python, past its start: it has allocated memory, of which the C library keeps lists.
struct Other {
    child: Child,
}

impl Other {
    /// Runs `cat`, or what becomes it.
    fn start(mut command: Command) -> Other {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program can be run");
        Other { child }
    }

    fn hears(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is a pipe");
        stdin.write_all(line.as_bytes()).expect("it lives");
    }

    fn says(&mut self, line: &str) {
        let mut said = vec![0; line.len()];
        self.child.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).expect("it says something");
        assert_eq!(String::from_utf8_lossy(&said), line);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn that_there_is_no_python_in_a_program_is_found_out_in_two_hundred_reads_at_most() {
    let _alone = ALONE.lock();
    let mut cat = Other::start(Command::new("cat"));
    cat.hears("here\n");
    cat.says("here\n");
    let target = Target::attach(cat.child.id()).expect("it can be read");
    let found = python::locate(&target).map(|interpreter| interpreter.found());
    assert!(matches!(found, Err(Error::NotPython { .. })), "{found:?}");
    assert!((1..=200).contains(&target.reads()), "{} reads", target.reads());
}

#[test]
fn a_target_that_is_no_python_any_more_is_looked_into_seldom() {
    let _alone = ALONE.lock();
    let script = "import os\nos.write(1, b'ready')\nos.read(0, 1)\nos.execv('/bin/cat', ['cat'])";
    let mut command = common::ordinary().command();
    command.args(["-c", script]);
    let mut target = Other::start(command);
    target.says("ready");
    let (opened, interpreter) = attach(target.child.id()).expect("the target can be read");
    let recording = sampler::start(opened, interpreter, settings(100.0, 60.0)).expect("a thread can be started");
    target.hears("xhere\n");
    target.says("here\n");
    // Until nothing more is to be expected of it, which takes two seconds: two hundred moments, each in vain.
    let outcome = recording.finish();
    assert_eq!(outcome.end, End::TargetReplaced, "{outcome:?}");
    assert!(outcome.tally.failed > 20, "{outcome:?}");
    // A thousand for its looks, and twice what each moment tries.
    let most = 1000 + 20 * outcome.tally.asked;
    assert!(outcome.tally.reads <= most, "{} reads: {outcome:?}", outcome.tally.reads);
}

/// How many a recording makes, samples it takes, and stacks it tells.
fn allocations(image: &Path, seconds: f64) -> (usize, usize, usize) {
    let target = Target::open_image(image).expect("an image");
    let interpreter = python::locate(&target).expect("an interpreter");
    let before = ALLOCATOR.stats().allocations;
    let recording = sampler::start(target, interpreter, settings(50_000.0, seconds)).expect("a thread");
    let taken = recording.events().iter().filter(|event| matches!(event, Event::Sample(_))).count();
    let tally = recording.finish().tally;
    assert!(taken > 0 && tally.errors() == 0, "{tally:?}");
    (ALLOCATOR.stats().allocations - before, tally.taken as usize, taken)
}

#[test]
fn a_sample_in_steady_state_allocates_nothing() {
    /// The channel to whoever adds up grows by so many stacks at a time.
    const AT_ONCE: usize = 31;
    let _alone = ALONE.lock();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    for name in ["3.7-threads", "3.10-threads", "3.11-threads", "3.13-threads", "3.15-debian-threads", "3.15t-threads"]
    {
        let image = folder.join(format!("{name}.image"));
        let (few, few_taken, few_told) = allocations(&image, 0.01);
        let (many, many_taken, many_told) = allocations(&image, 0.09);
        let more = many.saturating_sub(few);
        let (samples, stacks) = (many_taken.saturating_sub(few_taken), many_told.saturating_sub(few_told));
        assert!(samples > 100, "{name}: only {samples} samples more");
        assert!(
            more < samples / 10 + stacks / AT_ONCE,
            "{name}: {more} allocations in {samples} samples of {stacks} stacks"
        );
    }
}

/// Calls that read, of this process so far.
fn calls() -> u64 {
    let told = std::fs::read_to_string("/proc/self/io").expect("the kernel counts");
    told.lines().find_map(|line| line.strip_prefix("syscr: ")?.parse().ok()).expect("a number")
}

/// What a thread does that has not run since the last sample is not asked again, nor whether it has.
#[test]
fn threads_that_rest_cost_no_look_of_their_own() {
    const THREADS: u64 = 100;
    let _alone = ALONE.lock();
    for kind in common::one_of_each() {
        let mut target = kind.start("threads.py", &[&THREADS.to_string()]);
        target.line();
        let (target, interpreter) = attach(target.pid()).expect("the target can be read");
        let settings = Settings { gils: true, ..settings(100.0, 2.9) };
        let recording = sampler::start(target, interpreter, settings).expect("a thread can be started");
        let mut seen = Vec::new();
        for event in recording.events() {
            if let Event::Progress(at, tally) = event {
                seen.push((at, calls(), tally.taken));
            }
        }
        let early = seen.iter().find(|(at, ..)| *at >= Duration::from_millis(1700)).expect("progress is told");
        let late = seen.last().expect("progress is told");
        let looks = (late.1 - early.1) as f64 / (late.2 - early.2) as f64;
        // Half a dozen odd ones, the last holder of the GIL again, and what the kernel counts for this very look; and all
        // of them, should one wake up.
        assert!(looks <= 20.0, "{}: {looks} looks a sample", kind.kind);
    }
}

/// Peak resident memory of a recording, in KiB.
fn resident(kind: &Kind, program: &str, arguments: &[&str]) -> u64 {
    let mut target = kind.start(program, arguments);
    target.line();
    let pid = target.pid().to_string();
    let recording = Command::new("/usr/bin/time")
        .args(["-f", "%M", env!("CARGO_BIN_EXE_pysample"), "record", "-i", "-d", "2", "-r", "500", "-o", "/dev/null"])
        .args(["--pid", &pid])
        .output()
        .expect("/usr/bin/time is installed");
    let said = String::from_utf8_lossy(&recording.stderr);
    said.trim().lines().last().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_recording_stays_below_15_mib_however_large_the_binary() {
    let _alone = ALONE.lock();
    let size = |kind: &Kind| kind.elf.metadata().map_or(0, |metadata| metadata.len());
    let mut kinds: Vec<&Kind> = common::kinds().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(size(kind)));
    assert!(size(kinds[0]) > 15 << 20, "the largest binary has {} bytes", size(kinds[0]));
    for kind in kinds.into_iter().take(4) {
        for (program, argument) in [("deep.py", "100"), ("threads.py", "60")] {
            let kib = resident(kind, program, &[argument]);
            assert!(kib <= 15 * 1024, "{} {program}: {kib} KiB", kind.kind);
        }
    }
}
