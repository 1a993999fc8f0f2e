//! Samples that stand for more than their own slot of the clock: whatever is made of a recording of some moments, each of which
//! says for how many it stands, is what is made of the recording of all of them. The recordings are lists of events.

#[path = "common/recipe.rs"]
mod recipe;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use pysample::aggregate::diff::{Basis, Comparison, Input};
use pysample::aggregate::live::{Live, Mode, Moments, Span};
use pysample::aggregate::{CallTree, GilAccount, GilId, Synopsis};
use pysample::export::{Folded, Labels, chrome_trace, collapsed, firefox, html, json_lines, pprof, pstats, speedscope};
use pysample::recording::{Merged, Opened, Reader, Writer};
use pysample::sample::{
    Code, Ending, Event, GilHeld, GilSample, GilState, Literal, ProcessId, Replay, Sample, StackId, Tally, ThreadId,
    ThreadState, Weight,
};
use pysample::view::report::{About, Report, Seen};
use serde_json::{Value, json};

use recipe::{PERIOD, Recipe, Stack};

/// What a process does for some slots of the clock.
struct Phase {
    slots: u32,
    /// What each of its threads does.
    threads: &'static [(Stack<'static>, ThreadState, GilState)],
    /// Which of them has the GIL.
    holder: Option<usize>,
}

const F: Stack = &[("main", 1), ("f", 2)];
const G: Stack = &[("main", 1), ("g", 3)];
const H: Stack = &[("run", 5), ("h", 7)];

use GilState::{Held, NotHeld};
use ThreadState::{CollectsGarbage, RunsPython, Sleeps, WaitsForGil};

const FIRST: &[Phase] = &[
    Phase { slots: 1, threads: &[(F, RunsPython, Held), (H, WaitsForGil, NotHeld)], holder: Some(0) },
    Phase { slots: 4, threads: &[(F, RunsPython, Held), (H, WaitsForGil, NotHeld)], holder: Some(0) },
    Phase { slots: 10, threads: &[(G, RunsPython, Held), (H, WaitsForGil, NotHeld)], holder: Some(0) },
    Phase { slots: 2, threads: &[(G, Sleeps, NotHeld), (H, RunsPython, Held)], holder: Some(1) },
    Phase { slots: 3, threads: &[(G, Sleeps, NotHeld), (H, CollectsGarbage, Held)], holder: Some(1) },
    Phase { slots: 1, threads: &[(G, Sleeps, NotHeld), (H, Sleeps, NotHeld)], holder: None },
];

const SECOND: &[Phase] = &[
    Phase { slots: 6, threads: &[(F, RunsPython, Held)], holder: Some(0) },
    Phase { slots: 8, threads: &[(H, Sleeps, NotHeld)], holder: None },
    Phase { slots: 7, threads: &[(F, RunsPython, Held)], holder: Some(0) },
];

/// All slots.
const SLOTS: u64 = 21;
const PROCESSES: [&[Phase]; 2] = [FIRST, SECOND];

/// Which moments are in a recording.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    /// The last of each phase, which stands for all of it.
    OneOfEachPhase,
}

fn recording(taken: Taken) -> Literal {
    let mut recipe = Recipe::new();
    let mut moments = Vec::new();
    for (number, phases) in PROCESSES.iter().enumerate() {
        let process = recipe.process(42 + number as u32, &["python3", "app.py"]);
        let names = ["MainThread", "worker"];
        let threads: Vec<ThreadId> =
            names[..phases[0].threads.len()].iter().map(|name| recipe.thread(process.0, name)).collect();
        let mut begin = 0;
        for phase in *phases {
            let all = begin..begin + phase.slots;
            begin = all.end;
            match taken {
                Taken::All => moments.extend(all.map(|slot| (slot, process, threads.clone(), phase, Weight::ONE))),
                Taken::OneOfEachPhase => {
                    let weight = Weight::after(u64::from(phase.slots) - 1);
                    moments.push((all.end - 1, process, threads.clone(), phase, weight));
                }
            }
        }
    }
    moments.sort_by_key(|(slot, process, ..)| (*slot, *process));
    let number = moments.len() as u64;
    for (slot, process, threads, phase, weight) in moments {
        let holder = phase.holder.map_or(GilHeld::Free, |holder| GilHeld::By(threads[holder]));
        recipe.event(Event::Gil(GilSample {
            at: PERIOD * slot,
            process,
            interpreter: 0,
            owner: 0,
            holder,
            switches: None,
            interval: None,
            is_collecting: phase.threads.iter().any(|(_, state, _)| *state == CollectsGarbage),
            holding: None,
            weight,
        }));
        for (thread, (stack, state, gil)) in threads.iter().zip(phase.threads) {
            recipe.sample_of(*thread, slot, stack, (*state, *gil), weight);
        }
    }
    let mut recording = recipe.recording();
    let asked = SLOTS * PROCESSES.len() as u64;
    let tally = Tally { asked, taken: number, spared: asked - number, stood_for: asked, ..Tally::default() };
    recording.events.pop();
    recording.events.push(Event::Progress(PERIOD * SLOTS as u32, tally));
    recording
}

fn both() -> [Literal; 2] {
    [recording(Taken::All), recording(Taken::OneOfEachPhase)]
}

fn replay(recording: &dyn Replay, mut take: impl FnMut(Event)) {
    let replayed = recording.replay(&mut |event| {
        take(event);
        Ok(())
    });
    replayed.unwrap();
}

fn stacks(recording: &dyn Replay) -> String {
    let (mut tree, mut out) = (CallTree::merged(), Vec::new());
    replay(recording, |event| tree.take(event));
    collapsed::write(&Folded::new(&tree, &Labels::default()), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn stacks_count_as_often_as_their_samples_stand_for_slots() {
    let expected = "app.py (pid 42);main (main.py:1);f (f.py:2) 5\n\
                    app.py (pid 42);main (main.py:1);g (g.py:3) 16\n\
                    app.py (pid 42);run (run.py:5);h (h.py:7) 21\n\
                    app.py (pid 43);main (main.py:1);f (f.py:2) 13\n\
                    app.py (pid 43);run (run.py:5);h (h.py:7) 8\n";
    assert_eq!(both().map(|recording| stacks(&recording)), [expected, expected]);
}

#[test]
fn a_recording_of_some_moments_is_exported_as_one_of_all() {
    type Format = fn(&dyn Replay, &Labels, &mut dyn Write) -> io::Result<()>;
    let formats: [(&str, Format); 3] =
        [("pprof", pprof::write), ("pstats", pstats::write), ("speedscope", speedscope::write)];
    for (name, format) in formats {
        let [all, some] = both().map(|recording| {
            let mut out = Vec::new();
            format(&recording, &Labels::default(), &mut out).unwrap();
            out
        });
        assert!(all == some, "{name}: {} {}", String::from_utf8_lossy(&all), String::from_utf8_lossy(&some));
    }
}

/// What is in a trace, by process and the name of the track.
fn tracks(recording: &Literal) -> BTreeMap<(u64, String), Vec<Value>> {
    let mut out = Vec::new();
    chrome_trace::write(recording, &Labels::default(), &mut out).unwrap();
    let trace: Value = serde_json::from_slice(&out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let track = |event: &Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
    let names = events.iter().filter(|event| event["name"] == "thread_name");
    let names: BTreeMap<_, _> = names.map(|event| (track(event), event["args"]["name"].to_string())).collect();
    let mut tracks: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] != "M") {
        let name = names.get(&track(event)).cloned().unwrap_or_default();
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("tid");
        tracks.entry((event["pid"].as_u64().unwrap(), name)).or_default().push(event);
    }
    tracks
}

#[test]
fn a_trace_has_no_gap_where_a_sample_stands_for_what_was_left_out() {
    let [all, some] = both().map(|recording| tracks(&recording));
    assert_eq!(all, some);
    // Two of each thread, the GIL of each process, the garbage collection and the counter of the first.
    assert_eq!(some.len(), 2 * 3 + 2 + 2);
}

#[test]
fn a_page_has_a_sample_in_each_slot_that_it_stands_for() {
    let [all, some] = both().map(|recording| {
        let mut out = Vec::new();
        html::write(&recording, &Labels::default(), &html::without_sources, &mut out).unwrap();
        let page = String::from_utf8(out).unwrap();
        let (_, data) = page.split_once("id=\"data\">").expect("it has data");
        let data: Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
        let list = |of: &Value| of.as_array().unwrap().iter().map(|of| of.as_i64().unwrap()).collect::<Vec<_>>();
        let (mut now, mut rows) = (0, Vec::new());
        let kinds = &data["kinds"];
        for ((after, kind), count) in
            list(&data["rows"]["after"]).iter().zip(list(&data["rows"]["kind"])).zip(list(&data["rows"]["count"]))
        {
            now += after;
            let of = |column: &str| kinds[column][kind as usize].clone();
            rows.push((now, ["thread", "state", "gil", "stack"].map(|column| of(column).to_string()), count));
        }
        rows.sort();
        (rows, data["recordings"][0]["account"]["slots"].clone())
    });
    assert_eq!(all, some);
    // The first process has two threads, the second one.
    assert_eq!((all.0.len(), all.1), (3 * SLOTS as usize, json!(2 * SLOTS)));
}

#[test]
fn the_firefox_profiler_is_told_what_samples_weigh_and_has_the_same_markers() {
    let [all, some] = both().map(|recording| {
        let mut out = Vec::new();
        firefox::write(&recording, &Labels::default(), &mut out).unwrap();
        let profile: Value = serde_json::from_slice(&out).unwrap();
        profile["threads"].as_array().unwrap().clone()
    });
    let weights = |threads: &[Value]| threads.iter().map(|of| of["samples"]["weight"].clone()).collect::<Vec<_>>();
    assert_eq!(weights(&all), [json!(null), json!(null), json!(null)]);
    assert_eq!(weights(&some), [json!([1, 4, 10, 2, 3, 1]), json!([1, 4, 10, 2, 3, 1]), json!([6, 8, 7])]);
    let markers = |threads: &[Value]| threads.iter().map(|of| of["markers"].clone()).collect::<Vec<_>>();
    assert_eq!(markers(&all), markers(&some));
}

#[test]
fn json_lines_tell_a_weight_that_is_not_one() {
    let mut out = Vec::new();
    json_lines::write(&recording(Taken::OneOfEachPhase), &Labels::default(), &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let samples = lines.filter(|line| line["type"] == "sample" && line["thread"] == 0);
    let weights: Vec<Value> = samples.map(|line| line.get("weight").cloned().unwrap_or_default()).collect();
    assert_eq!(weights, [json!(null), json!(4), json!(10), json!(2), json!(3), json!(null)]);
}

/// What a report is called and is of.
fn report(recording: &Literal) -> Value {
    let mut seen = Seen::default();
    replay(recording, |event| seen.take(event));
    let about = About {
        file: "app.pysample".into(),
        header: &recording.header,
        ending: Some(Ending::Duration),
        has_states: true,
        is_part: false,
        notes: Vec::new(),
    };
    let name = |code: &Code, _: Option<u32>| code.function.to_string();
    let mut out = Vec::new();
    Report::new(about, &seen, 100, &name, &name).write_json(&mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_report_has_the_same_shares_and_says_how_many_samples_were_taken() {
    let [mut all, mut some] = both().map(|recording| report(&recording));
    let looks =
        |report: &Value| report["gils"].as_array().unwrap().iter().map(|of| of["looks_taken"].clone()).collect();
    let (all_looks, some_looks): (Vec<Value>, Vec<Value>) = (looks(&all), looks(&some));
    assert_eq!((all_looks, some_looks), (vec![json!(21), json!(21)], vec![json!(6), json!(3)]));
    assert_eq!((&all["account"]["taken"], &some["account"]["taken"]), (&json!(42), &json!(9)));
    assert_eq!((&all["stacks"], &some["stacks"], &some["slots"]), (&json!(63), &json!(15), &json!(63)));
    assert_eq!((&some["account"]["left_out"], &some["account"]["asked"]), (&json!(33), &json!(42)));
    // 15 slots in which the worker waited, of 42 of all processes.
    assert_eq!(some["waiting_for_gil"], json!(15.0 / 42.0));
    for report in [&mut all, &mut some] {
        report["account"] = Value::Null;
        report["stacks"] = Value::Null;
        report["gils"].as_array_mut().unwrap().iter_mut().for_each(|of| of["looks_taken"] = Value::Null);
    }
    assert_eq!(all, some);
}

#[test]
fn who_held_the_gil_and_who_waited_is_told_by_the_time_and_is_as_sure_as_there_were_looks() {
    let [all, some] = both().map(|recording| {
        let mut account = GilAccount::default();
        recording.events.into_iter().for_each(|event| account.take(event));
        account.finish();
        let gil = account.gils()[&GilId { process: ProcessId(0), owner: 0 }].clone();
        let threads: Vec<_> = account.threads().values().map(|of| (of.states, of.held.hit_slots())).collect();
        let held_in: BTreeMap<_, _> = gil.held_in.clone().into_iter().collect();
        let share = gil.held().unwrap();
        let counts = (gil.moments(), gil.waited, gil.waited_by_all, gil.collecting, gil.held_moments());
        ((counts, threads, held_in, account.blame().counts(), share.seen), (share.high - share.low, share.looks))
    });
    assert_eq!(all.0, some.0);
    assert_eq!(some.0.0, (21, 15, 15, 3, 20));
    assert_eq!((all.1.1, some.1.1), (21, 6));
    assert!(some.1.0 > all.1.0, "{:?} {:?}", some.1, all.1);
}

#[test]
fn two_recordings_of_the_same_are_the_same_however_many_moments_they_have() {
    let [all, some] = both();
    let file = |code: &Code| code.file.to_string();
    for basis in [Basis::Share, Basis::Time] {
        let input = |recording| Input { recording, file: &file };
        let comparison = Comparison::new(input(&all), input(&some), basis).unwrap();
        let [before, after] = comparison.sides();
        assert_eq!([before.samples, before.slots, after.samples, after.slots], [63, 63, 15, 63]);
        assert_eq!((before.moments, after.moments), (Some(42), Some(42)));
        // Weights 1, 4, 10, 2, 3, 1 twice and 6, 8, 7 once: the sum by that of the squares.
        assert_eq!((before.evidence, after.evidence), (1.0, 63.0 / (2.0 * 131.0 + 149.0)));
        for function in comparison.functions(0.95) {
            for change in [function.own, function.total] {
                assert!(change.difference.abs() < 1e-12 && !change.is_significant, "{:?}", function.function);
            }
        }
        assert!(comparison.stacks().all(|stack| stack.before == stack.after));
        let (whole, of_h) = match basis {
            Basis::Share => (63.0, 29.0),
            Basis::Time => (42.0, 29.0),
        };
        let h = comparison.functions(0.95).into_iter().find(|of| of.function.function == "h").unwrap();
        assert_eq!((h.own.before, h.own.after, h.own.samples_before, h.own.samples_after), {
            (of_h / whole, of_h / whole, 29, 7)
        });
    }
}

#[test]
fn top_shows_the_same_shares() {
    let [all, some] = both().map(|recording| {
        let mut live = Live::new(|file, _| file.to_owned());
        recording.events.into_iter().for_each(|event| live.take(event));
        live.finish();
        let totals = live.totals();
        let taken: Vec<Moments> = totals.moments.values().copied().collect();
        let window = live.tallied(Span::Window(Duration::from_secs(5)));
        let counts = [totals, &window].map(|of| {
            let mut counts: Vec<_> = of.counts.iter().map(|(key, counts)| (*key, *counts)).collect();
            counts.sort_by_key(|(key, _)| *key);
            (counts, of.gils.clone(), of.slots())
        });
        let profile: Vec<(StackId, u64)> =
            live.profile(Mode::Wall).counts().iter().map(|count| (count.stack, count.slots)).collect();
        ((counts, profile), taken)
    });
    assert_eq!(all.0, some.0);
    assert_eq!(all.1, [Moments { taken: 21, slots: 21 }; 2]);
    assert_eq!(some.1, [Moments { taken: 6, slots: 21 }, Moments { taken: 3, slots: 21 }]);
}

#[test]
fn weights_are_kept_in_a_file_and_by_a_merge() {
    let recording = recording(Taken::OneOfEachPhase);
    let mut writer = Writer::new(Vec::new(), &recording.header).unwrap();
    recording.events.iter().for_each(|event| writer.take(event).unwrap());
    let bytes = writer.finish(Ending::Duration).unwrap();
    let read = |bytes: &[u8]| Reader::from_bytes(bytes.to_vec()).unwrap();
    let events: Vec<Event> = read(&bytes).events().map(Result::unwrap).collect();
    assert_eq!(events, recording.events);
    let merged = Merged::new(vec![Opened::Own(read(&bytes)), Opened::Own(read(&bytes))]).unwrap();
    let synopsis = Synopsis::of(&merged).unwrap();
    assert_eq!((synopsis.stacks(), synopsis.slots()), (2 * 15, 2 * 63));
    assert_eq!(synopsis.tally().unwrap().slots(), 4 * SLOTS);
}

#[test]
fn what_all_stands_for_itself_takes_no_room_in_a_file() {
    let size = |weight: Weight| {
        let recording = recording(Taken::All);
        let mut writer = Writer::new(Vec::new(), &recording.header).unwrap();
        for turn in 0..100 {
            for event in &recording.events {
                let later = PERIOD * SLOTS as u32 * turn;
                let event = match event.clone() {
                    Event::Sample(of) => Event::Sample(Sample { at: of.at + later, weight, ..of }),
                    Event::Gil(of) => Event::Gil(GilSample { at: of.at + later, weight, ..of }),
                    Event::Progress(..) => continue,
                    other if turn == 0 => other,
                    _ => continue,
                };
                writer.take(&event).unwrap();
            }
        }
        writer.finish(Ending::Duration).unwrap().len()
    };
    let [one, three] = [Weight::ONE, Weight::after(2)].map(size);
    assert!(three <= one + 8, "{one} and {three} bytes");
}
