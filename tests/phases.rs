//! Phases of a program whose samples cost differently. Where samples are left out, so that no more of the time goes into them than
//! may, each phase still has the share of the time that it took: the program itself tells how long that was.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::recording::{Recorded, Recording};
use common::{Running, ordinary};
use pysample::target::urgency::Urgency;
use serde_json::Value;

/// One test at a time: each has the machine busy.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records a program of phases, as JSON Lines; what it told of them, and what was recorded.
fn recorded(mut target: Running, samplers: usize, arguments: &[&str]) -> (Value, Recorded) {
    assert_eq!(target.line(), "ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pysample"));
    command.args(["record", "-i", "-f", "jsonl", "-o", "-", "--pid", &target.pid().to_string()]);
    let recording = Recording::run(command.args(arguments));
    recording.has_samplers(samplers);
    recording.has_begun();
    target.tell("go\n");
    let told = target.json();
    target.close();
    (told, recording.end())
}

/// How many samples were taken in each phase, which is a function, and for how many slots they stand.
fn phases<'a>(recorded: &Recorded, names: &[&'a str]) -> BTreeMap<&'a str, (u64, u64)> {
    let mut phases = BTreeMap::new();
    for sample in recorded.json_samples() {
        if let Some(name) = names.iter().copied().find(|name| sample.functions.iter().any(|function| function == name))
        {
            let of: &mut (u64, u64) = phases.entry(name).or_default();
            of.0 += 1;
            of.1 += sample.weight;
        }
    }
    phases
}

/// That a phase has the share of the time that it took, though fewer samples were taken in it than in the other.
fn are_told_by_the_time(limit: &[&str]) {
    let _alone = alone();
    let target = ordinary().start("phases.py", &["1", "6000", "3"]);
    let (told, recorded) = recorded(target, 1, &[&["-r", "1000"], limit].concat());
    let phases = phases(&recorded, &["shallow", "descend"]);
    let [(shallow, shallow_slots), (deep, deep_slots)] = ["shallow", "descend"].map(|name| phases[name]);
    let share = |part: f64, other: f64| part / (part + other);
    let expected = share(told["deep"].as_f64().unwrap(), told["shallow"].as_f64().unwrap());
    let seen = share(deep_slots as f64, shallow_slots as f64);
    assert!(recorded.status.success() && recorded.told.contains("left out for"), "{}", recorded.told);
    // By the number of samples it would have far less.
    assert!(deep * 3 < shallow * 2, "{phases:?}: {}", recorded.told);
    // Slots that passed while the sampler had no processor may be of either.
    let unseen = recorded.account.late as f64 / recorded.account.asked as f64;
    // As may those that were left out for a single stop.
    let unseen = unseen + recorded.account.longest / 0.02 / recorded.account.seconds;
    assert!((seen - expected).abs() < 0.1 + unseen, "{seen} instead of {expected}: {phases:?}: {}", recorded.told);
}

#[test]
fn phases_are_told_by_the_time_where_a_program_may_not_be_stopped_for_long() {
    are_told_by_the_time(&["--max-pause", "2"]);
}

#[test]
fn phases_are_told_by_the_time_where_little_processor_time_may_be_used() {
    are_told_by_the_time(&["--max-cpu", "5", "--max-pause", "100"]);
}

/// A stop is asked for from another processor, and found sooner at the end of a call than amid computing.
#[test]
fn what_follows_a_system_call_is_told_by_the_time() {
    let mut urgency = Urgency::default();
    urgency.begin();
    urgency.end();
    if urgency == Urgency::Refused {
        return;
    }
    let _alone = alone();
    let (told, recorded) = recorded(ordinary().start("calls.py", &["5", "10"]), 1, &["-r", "200"]);
    let names = ["before", "call", "after"];
    let phases = phases(&recorded, &names);
    let slots: u64 = phases.values().map(|(_, slots)| slots).sum();
    let all: f64 = names.iter().map(|name| told[name].as_f64().unwrap()).sum();
    for name in names {
        let expected = told[name].as_f64().unwrap() / all;
        let seen = phases.get(name).map_or(0.0, |(_, slots)| *slots as f64) / slots as f64;
        assert!((seen - expected).abs() < 0.2, "{name} has {seen}, not {expected}: {phases:?}: {}", recorded.told);
    }
}

/// Far more workers than processors, so that while they compute all that is taken is taken from them. At first and at last
/// processors are idle, and every sample is taken.
#[test]
fn the_phases_of_a_family_are_told_by_the_time_with_and_without_a_share_to_keep_to() {
    let _alone = alone();
    const PHASES: [&str; 3] = ["ebb", "flood", "neap"];
    let workers = (4.0 * pysample::target::machine::processors()).ceil() as usize;
    let [kept_to, as_asked] = [&["-s"][..], &["-s", "-r", "100"]].map(|arguments| {
        let target = ordinary().start("tides.py", &[&workers.to_string(), "2"]);
        let (told, recorded) = recorded(target, workers + 1, arguments);
        let phases = phases(&recorded, &PHASES);
        let is_spared = recorded.told.contains("left out for --max-cpu");
        assert!(recorded.status.success() && is_spared == (arguments.len() == 1), "{}", recorded.told);
        let all: f64 = PHASES.iter().map(|name| told[name].as_f64().unwrap()).sum();
        let slots: u64 = phases.values().map(|(_, slots)| slots).sum();
        let unseen = recorded.account.late as f64 / recorded.account.asked as f64;
        PHASES.map(|name| {
            let (expected, seen) = (told[name].as_f64().unwrap() / all, phases[name].1 as f64 / slots as f64);
            assert!(
                (seen - expected).abs() < 0.08 + unseen,
                "{name} has {seen}, not {expected}: {phases:?}: {}",
                recorded.told
            );
            (seen, unseen)
        })
    });
    let differ = kept_to.iter().zip(as_asked).any(|(one, other)| (one.0 - other.0).abs() > 0.1 + one.1 + other.1);
    assert!(!differ, "{kept_to:?} {as_asked:?}");
}
