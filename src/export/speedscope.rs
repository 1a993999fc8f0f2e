//! A profile for [speedscope](https://www.speedscope.app), as JSON by its published schema.
//!
//! Each thread is one profile, whose samples weigh the time that they stand for, in seconds. Samples that follow each other
//! and are equal are one that weighs as much as they do. Where a thread has no sample, or no Python frame, there is an empty
//! stack: so the time axes of all threads are the same, that of the recording.

use std::io::{self, Write};

use serde::Serialize;

use super::Labels;
use super::by_thread::{Samples, each_thread};
use super::json::Json;
use super::places::Places;
use super::steady::{Followed, Seen};
use super::tables::Tables;
use crate::sample::{Replay, Sample, StackId};

/// Names the schema; a viewer knows the format by it.
const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

#[derive(Serialize)]
struct Frame<'a> {
    name: String,
    file: &'a str,
    // The schema knows no null: what is not known is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// Writes a recording.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let header = recording.header();
    let tables = Tables::read(recording, &mut |_| {})?;
    let places = Places::new(&tables, labels);
    let mut json = Json::new(out);
    json.open("{")?;
    json.field("$schema", &SCHEMA)?;
    json.field("exporter", &format!("pysample {}", header.pysample))?;
    json.field("name", &header.program)?;
    json.field("activeProfileIndex", &busiest(&tables))?;
    json.open_object("shared")?;
    json.list(
        "frames",
        places.each().map(|(code, line)| Frame { name: labels.frame(code, line), file: &code.file, line }),
    )?;
    json.close("}")?;
    json.open_list("profiles")?;
    each_thread(recording, &tables, &mut |id, samples| {
        let name = tables.thread_name(tables.thread(id), labels, &header.program);
        write_thread(&name, samples, &tables, &places, 1.0 / tables.period().as_secs_f64(), &mut json)
    })?;
    json.close("]}")?;
    json.finish()
}

/// Which of the threads that have samples was seen for longest.
fn busiest(tables: &Tables) -> usize {
    let threads = tables.threads().enumerate();
    threads.max_by_key(|(index, (_, _, extent))| (extent.slots, usize::MAX - index)).map_or(0, |(index, _)| index)
}

fn write_thread(
    name: &str,
    samples: &Samples,
    tables: &Tables,
    places: &Places,
    rate: f64,
    json: &mut Json,
) -> io::Result<()> {
    json.open("\n{")?;
    json.field("type", &"sampled")?;
    json.field("name", &name)?;
    json.field("unit", &"seconds")?;
    json.open_list("samples")?;
    let mut end = 0;
    each_run(samples, tables, rate, &mut |run| {
        end = run.slots.saturating_add(end);
        let mut frames: Vec<u32> =
            run.stack.into_iter().flat_map(|s| tables.frames_of(s)).map(|f| places.of(f)).collect();
        frames.reverse();
        json.item(&frames)
    })?;
    json.close("]")?;
    json.open_list("weights")?;
    each_run(samples, tables, rate, &mut |run| json.item(&(run.slots as f64 / rate)))?;
    json.close("]")?;
    json.field("startValue", &0)?;
    json.field("endValue", &(end as f64 / rate))?;
    json.close("}")
}

/// What was seen for some slots of the recording, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    stack: Option<StackId>,
    slots: u64,
}

/// The runs of a thread, from the beginning of the recording to its last sample. A slot is as long as the time from one
/// sample to the next. A sample fills as many as it weighs, of which the last is its own, and where samples do not follow each other those in between are empty.
fn each_run(
    samples: &Samples,
    tables: &Tables,
    rate: f64,
    visit: &mut dyn FnMut(Run) -> io::Result<()>,
) -> io::Result<()> {
    let (mut filled, mut followed) = (0, Followed::default());
    let mut open = Run { stack: None, slots: 0 };
    let mut add = |next: Run| {
        if next.stack == open.stack {
            open.slots = open.slots.saturating_add(next.slots);
            return Ok(());
        }
        let ended = std::mem::replace(&mut open, next);
        if ended.slots > 0 { visit(ended) } else { Ok(()) }
    };
    samples.each(&mut |sample| {
        let slots = sample.weight.slots();
        let first = (slot(sample, rate).saturating_add(1)).saturating_sub(slots);
        let is_first = filled == 0;
        let follows = followed.take(Seen::of(sample), tables.period()).gap.is_none() && !is_first;
        if !follows && first > filled {
            add(Run { stack: None, slots: first - filled })?;
            filled = first;
        }
        filled = filled.saturating_add(slots);
        add(Run { stack: sample.stack, slots })
    })?;
    if open.slots > 0 { visit(open) } else { Ok(()) }
}

fn slot(sample: &Sample, rate: f64) -> u64 {
    (sample.at.as_nanos() as f64 / (1e9 / rate)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;
    use serde_json::{Value, json};

    fn written(recipe: Recipe) -> Value {
        let mut out = Vec::new();
        write(&recipe.recording(), &Labels::default(), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_thread_is_a_profile_of_runs_and_gaps() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        for slot in [1, 2, 4] {
            recipe.sample(thread, slot, &[("f", 1), ("g", 2)]);
        }
        recipe.sample(thread, 5, &[("f", 1)]);
        let profile = &written(recipe)["profiles"][0];
        assert_eq!(profile["samples"], json!([[], [0, 1], [], [0, 1], [0]]));
        assert_eq!(profile["weights"], json!([0.01, 0.02, 0.01, 0.01, 0.01]));
        assert_eq!((&profile["startValue"], &profile["endValue"]), (&json!(0), &json!(0.06)));
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let mut recipe = Recipe::new();
        recipe.thread(0, "main");
        let text = written(recipe).to_string();
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn the_busiest_thread_is_shown_first() {
        let mut recipe = Recipe::new();
        let (_silent, a, b) = (recipe.thread(0, "silent"), recipe.thread(0, "a"), recipe.thread(0, "b"));
        recipe.sample(a, 0, &[("f", 1)]);
        recipe.sample(b, 0, &[("f", 1)]);
        recipe.sample(b, 1, &[("f", 1)]);
        let written = written(recipe);
        assert_eq!(written["profiles"].as_array().unwrap().len(), 2);
        assert_eq!(written["activeProfileIndex"], 1);
    }
}
