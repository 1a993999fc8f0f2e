//! Who holds the GIL, who waits for it and what each thread does: on every version, against programs that wait for known
//! things, and against programs that know for how much of the time each of their threads ran.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::recording::Recorded;
use common::{Kind, Running, wait_until};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// How far a share may be from the truth.
const POINTS: f64 = 0.03;
/// How long programs are looked at, in seconds.
const SECONDS: &str = "4";

type Check = fn(&Kind) -> Result<(), Failed>;

/// What is checked on every kind of interpreter that can load extension modules.
const OF_ALL: &[(&str, Check)] = &[("each thread waits for what it says", waits)];

/// What is checked on one interpreter of each version, and on one that is free-threaded but has its GIL on.
const OF_EACH: &[(&str, Check)] = &[
    ("one computes, one hashes", hash),
    ("two compute", |kind| compute(kind, 2)),
    ("eight compute", |kind| compute(kind, 8)),
    ("one holds it in C, asleep", |kind| held_in_c(kind, "sleep-in-c", "hold_asleep")),
    ("one holds it in C, busy", |kind| held_in_c(kind, "busy-in-c", "square_in_c")),
    ("two do I/O", |kind| hardly_held(kind, "io", &["sleeps", "waits_for_socket"])),
    ("six in a convoy", |kind| hardly_held(kind, "convoy", &["waits_for_lock", "sleeps"])),
    ("parked threads do not run", parked),
    ("holders are recorded", holders),
];

/// What is checked on free-threaded builds without a GIL.
const OF_FREE: &[(&str, Check)] = &[("there is no GIL", no_gil)];

fn main() {
    let mut arguments = Arguments::from_args();
    // Shares are measured: one program at a time.
    arguments.test_threads = Some(1);
    let loads = |kind: &&Kind| !kind.kind.ends_with("-hidden") && !kind.kind.ends_with("-nosections");
    let mut trials = Vec::new();
    for kind in common::kinds().filter(loads) {
        trials.extend(trials_of(kind, OF_ALL));
        if kind.flavour == "free-threaded" && !kind.gil {
            trials.extend(trials_of(kind, OF_FREE));
        }
    }
    let also = common::kinds().filter(|kind| kind.flavour == "free-threaded" && kind.gil || kind.kind == "3.14-musl");
    for kind in common::one_of_each().chain(also) {
        trials.extend(trials_of(kind, OF_EACH));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials_of(kind: &'static Kind, checks: &'static [(&str, Check)]) -> impl Iterator<Item = Trial> {
    checks.iter().map(move |&(name, check)| common::watch::trial(format!("{}: {name}", kind.kind), move || check(kind)))
}

/// Threads are named after the states that they are in.
fn waits(kind: &Kind) -> Result<(), Failed> {
    let mut target = kind.start("waits.py", &[]);
    let told = target.json();
    wait_until("every thread waits", || common::every_thread_is(target.pid(), b'S'));
    let dump = common::dump(target.pid());
    let threads = dump["interpreters"][0]["threads"].as_array().ok_or("no threads")?;
    let mut seen = 0;
    for thread in threads {
        let name = thread["name"].as_str().ok_or("a thread without a name")?;
        let (expected, _) = name.split_once(' ').unwrap_or(("waits_for_pipe", ""));
        if thread["state"] != expected {
            return Err(format!("{name}: {}", thread["state"]).into());
        }
        let off = thread["off_seconds"].as_f64();
        if off.is_some_and(|seconds| !(0.0..60.0).contains(&seconds)) {
            return Err(format!("{name} has waited for {off:?} s").into());
        }
        seen += 1;
    }
    // Not every root has terminals.
    let expected = told["interpreters"][0]["threads"].as_array().map_or(0, Vec::len);
    check(seen == expected && seen >= 14, || format!("{seen} threads of {expected}"))
}

/// A program that contends, what it says of itself and what `pysample gil` says of it.
struct Contended {
    target: Running,
    /// Which share of the time each thread used a processor, by its name.
    truth: BTreeMap<String, f64>,
    /// For how many seconds it held the GIL in C at most.
    longest: f64,
    /// For which share of the time each OS thread was ready for a processor and had none: it holds the GIL then, or does
    /// whatever else it is at.
    delays: BTreeMap<u64, f64>,
    /// For which share of the time other machines on the same host had our processors.
    stolen: f64,
    report: Value,
}

impl Contended {
    fn look(kind: &Kind, how: &str) -> Result<Contended, Failed> {
        let mut target = kind.start("contend.py", &[how]);
        if target.line() != "ready" {
            return Err("the program does not start".into());
        }
        let pid = target.pid().to_string();
        truth(&mut target);
        let (before, stolen_before, begun) = (common::delays(target.pid()), common::stolen(), Instant::now());
        // So many looks that chance alone is far from the tolerance.
        let many = ["-d", SECONDS, "-r", "1000", "--max-pause", "20"];
        let report = common::printed(&[&["gil", "--json", "--pid", &pid], &many[..]].concat());
        let (after, wall) = (common::delays(target.pid()), begun.elapsed().as_secs_f64());
        let (truth, longest) = truth(&mut target);
        let delay = |(tid, delay): (&u64, &f64)| (*tid, (delay - before.get(tid).unwrap_or(&0.0)) / wall);
        let delays = after.iter().map(delay).collect();
        let stolen = (common::stolen() - stolen_before) / wall;
        Ok(Contended { target, truth, longest, delays, stolen, report: serde_json::from_str(&report)? })
    }

    /// That a share is the true one: see [`Contended::most`].
    fn as_true(&self, what: &str, name: &str, seen: f64) -> Result<(), Failed> {
        let (least, most) = (self.truth[name], self.most(name)?);
        match (least - POINTS..=most + POINTS).contains(&seen) {
            true => Ok(()),
            false => {
                let told = format!("{name} {what}: {seen:.3}, and {least:.3} to {most:.3} is true");
                Err(format!("{told}: {:#}", self.gil()["threads"]).into())
            }
        }
    }

    /// The share for which a thread used a processor, or was ready for one, or was stopped by us meanwhile.
    fn most(&self, name: &str) -> Result<f64, Failed> {
        let stopped = number(&self.report["samples"]["stopped_seconds"])? / number(&self.report["seconds"])?;
        Ok(self.truth[name] + self.delay(name)? + stopped + self.stolen)
    }

    /// The share for which a thread was ready for a processor and had none.
    fn delay(&self, name: &str) -> Result<f64, Failed> {
        let tid = self.thread(name)?["os_thread_id"].as_u64().ok_or("a thread without an id")?;
        Ok(self.delays.get(&tid).copied().unwrap_or(0.0))
    }

    fn gil(&self) -> &Value {
        &self.report["gils"][0]
    }

    fn thread(&self, name: &str) -> Result<&Value, Failed> {
        let threads = self.gil()["threads"].as_array().ok_or("no threads")?;
        let named = threads.iter().find(|thread| thread["name"] == name);
        Ok(named.ok_or_else(|| format!("there is no thread {name}: {:#}", self.gil()["threads"]))?)
    }

    fn held(&self, name: &str) -> Result<f64, Failed> {
        number(&self.thread(name)?["held"]["share"])
    }

    fn wanted(&self, name: &str) -> Result<f64, Failed> {
        number(&self.thread(name)?["wanted"]["share"])
    }

    /// In which share of the looks a thread was in one of some states.
    fn state(&self, name: &str, states: &[&str]) -> Result<f64, Failed> {
        let all = self.thread(name)?["states"].as_object().ok_or("no states")?;
        let sum = |wanted: &dyn Fn(&str) -> bool| -> u64 {
            all.iter().filter(|(state, _)| wanted(state)).filter_map(|(_, looks)| looks.as_u64()).sum()
        };
        Ok(sum(&|state| states.contains(&state)) as f64 / sum(&|_| true) as f64)
    }
}

/// What is true since it was asked last: shares by name, and the longest hold in C.
fn truth(target: &mut Running) -> (BTreeMap<String, f64>, f64) {
    target.tell("\n");
    let told = target.json();
    let wall = told["wall"].as_f64().expect("a number");
    let cpu = told["cpu"].as_object().expect("times by name");
    let shares = cpu.iter().map(|(name, used)| (name.clone(), used.as_f64().expect("a number") / wall)).collect();
    (shares, told["longest"].as_f64().expect("a number"))
}

fn number(value: &Value) -> Result<f64, Failed> {
    Ok(value.as_f64().ok_or_else(|| format!("{value} is not a number"))?)
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what().into()) }
}

const RUNS: [&str; 4] = ["runs_python", "runs_native", "runs_detached", "collects_garbage"];

fn compute(kind: &Kind, threads: usize) -> Result<(), Failed> {
    let seen = Contended::look(kind, &format!("compute-{threads}"))?;
    let held = &seen.gil()["held"];
    let (share, low, high) = (number(&held["share"])?, number(&held["low"])?, number(&held["high"])?);
    // Where processors are short nobody has it while the next one, who was woken up to take it, has none.
    let used: f64 = seen.truth.values().sum();
    check(share >= used.min(1.0) - POINTS, || format!("it is held {share:.3} of the time, and used for {used:.3}"))?;
    check(low <= share && share <= high && high - low < 0.1, || format!("the interval is {low:.3} to {high:.3}"))?;
    for name in seen.truth.keys() {
        seen.as_true("holds it", name, seen.held(name)?)?;
        let neither = 1.0 - seen.held(name)? - seen.wanted(name)?;
        // Up to 3.9 it may have been asked for the GIL after a sum, at which some let go of it of their own accord.
        // Nor does one that was woken up to take it and has no processor yet.
        let unseen = POINTS + seen.delay(name)? + seen.stolen;
        check(kind.minor < 10 || neither < unseen, || format!("{name} does neither for {neither:.3}"))?;
        seen.as_true("does not want it", name, 1.0 - seen.wanted(name)?)?;
    }
    let switches = number(&seen.gil()["switches_per_second"])?;
    check((5.0..=1000.0).contains(&switches), || format!("{switches} switches a second"))?;
    let verdict = seen.gil()["verdict"].to_string();
    check(verdict.contains(" threads want it"), || verdict.clone())?;
    blamed(&seen, "compute")
}

fn hash(kind: &Kind) -> Result<(), Failed> {
    let seen = Contended::look(kind, "hash")?;
    seen.as_true("holds it", "compute", seen.held("compute")?)?;
    seen.as_true("runs without it", "hash", seen.state("hash", &["runs_detached"])?)?;
    seen.as_true("does not want it", "hash", 1.0 - seen.wanted("hash")?)?;
    check(seen.held("hash")? < POINTS, || "hash holds it".into())
}

/// More than 95 % of the waiting for a holder is to be laid at one function's door. While nobody has the GIL, as the next one
/// was woken up and has no processor yet, nobody is to blame: beside six busy processes a twentieth of the time.
fn blamed(seen: &Contended, function: &str) -> Result<(), Failed> {
    let functions = seen.gil()["functions"].as_array().ok_or("no functions")?;
    let named = functions.iter().find(|f| f["function"].as_str().is_some_and(|name| name.starts_with(function)));
    let blame = named.map_or(Ok(0.0), |function| number(&function["blame_total"]))?;
    let held = number(&seen.gil()["held"]["share"])?;
    check(blame > 0.95 * held, || format!("{function} is blamed for {blame:.3} of it: {:#}", seen.gil()["functions"]))
}

fn held_in_c(kind: &Kind, how: &str, function: &str) -> Result<(), Failed> {
    let seen = Contended::look(kind, how)?;
    // The other one uses a processor to ask for it, a thousand times a second.
    let (held, others) = (seen.held("hold")?, seen.held("compute")?);
    check(others <= seen.most("compute")? + POINTS, || format!("the other one holds it {others:.3}"))?;
    let unseen = POINTS + seen.delay("hold")? + seen.delay("compute")? + seen.stolen;
    check(held + others > 1.0 - unseen, || format!("held for {held:.3} and {others:.3}"))?;
    blamed(&seen, function)?;
    let native = &seen.gil()["native"][0];
    let call = native["call"].as_str().unwrap_or_default();
    check(call.starts_with(function), || format!("{native:#}"))?;
    // That it let go in between may escape one who looks a thousand times a second, once or twice in a row.
    let possible = 0.15..3.0 * seen.longest;
    let longest = number(&native["longest_seconds"])?;
    check(possible.contains(&longest) && native["lets_go"] == false, || format!("{native:#}"))?;
    let hold = &seen.gil()["longest_hold"];
    let (longest, by) = (number(&hold["seconds"])?, hold["name"].to_string());
    check(possible.contains(&longest) && by.contains("hold"), || format!("{possible:?} {hold:#}"))?;
    check(hold["waited"][0]["name"].to_string().contains("compute"), || format!("{hold:#}"))?;
    // Who asks for it when one lets go may see the other take it once more, or twice.
    let wait = &seen.gil()["longest_wait"];
    check((0.15..9.0 * seen.longest).contains(&number(&wait["seconds"])?), || format!("{wait:#}"))
}

fn hardly_held(kind: &Kind, how: &str, states: &[&str]) -> Result<(), Failed> {
    let seen = Contended::look(kind, how)?;
    let share = number(&seen.gil()["held"]["share"])?;
    let used: f64 = seen.truth.values().sum();
    check(share < 0.05 + used, || format!("it is held {share:.3} of the time, and used for {used:.3}"))?;
    for name in seen.truth.keys() {
        let waits = seen.state(name, states)?;
        // On its way to a processor it runs.
        check(waits + seen.most(name)? > 0.95, || format!("{name}: {:#}", seen.gil()["threads"]))?;
    }
    Ok(())
}

/// In cpu mode those that wait are not counted; and who runs, runs for as long as the scheduler says.
fn parked(kind: &Kind) -> Result<(), Failed> {
    let seen = Contended::look(kind, "parked")?;
    for name in seen.truth.keys() {
        seen.as_true("runs", name, seen.state(name, &RUNS)?)?;
    }
    let recorded = Recorded::of(seen.target.pid(), &["-d", "2", "-r", "500", "-t"]);
    let all: u64 = recorded.stacks().map(|(_, count)| count).sum();
    let parked: u64 = recorded.stacks().filter(|(stack, _)| stack.starts_with("parked")).map(|(_, count)| count).sum();
    check(all > 20 && (parked as f64) < 0.005 * all as f64, || format!("{parked} of {all} are of parked threads"))
}

/// `--mode gil` counts those that hold it and nobody else.
fn holders(kind: &Kind) -> Result<(), Failed> {
    let mut target = kind.start("contend.py", &["hash"]);
    if target.line() != "ready" {
        return Err("the program does not start".into());
    }
    for arguments in [&["-g"][..], &["--mode", "gil", "--never-pause"]] {
        let recorded = Recorded::of(target.pid(), &[&["-d", "1", "-r", "500", "-t"], arguments].concat());
        let all: u64 = recorded.stacks().map(|(_, count)| count).sum();
        let computes: u64 = recorded.stacks().filter(|(stack, _)| stack.starts_with("compute")).map(|(_, n)| n).sum();
        check(all > 20 && computes as f64 > 0.95 * all as f64, || format!("{computes} of {all} compute"))?;
    }
    Ok(())
}

fn no_gil(kind: &Kind) -> Result<(), Failed> {
    let seen = Contended::look(kind, "compute-2")?;
    check(seen.gil()["exists"] == false && seen.gil()["held"].is_null(), || format!("{:#}", seen.report))?;
    check(seen.gil()["verdict"].to_string().contains("There is no GIL"), || format!("{:#}", seen.report))?;
    for name in seen.truth.keys() {
        seen.as_true("runs", name, seen.state(name, &RUNS)?)?;
        check(seen.thread(name)?["wanted"].is_null(), || format!("{name} waits for a GIL"))?;
    }
    let convoy = Contended::look(kind, "convoy")?;
    let waits = convoy.gil()["lock_waits"].to_string();
    check(waits.contains("take_turns"), || waits.clone())
}
