//! Everything in a recording as [JSON Lines](https://jsonlines.org), for `jq`, for notebooks, for programs of one's own. The
//! schema is `docs/json-lines.schema.json` of the repository.
//!
//! Each line is an object whose `type` says what it is. The first is the header; what a line speaks of by id was defined
//! in a line before it, ids count up from 0, and a definition of an id that is known replaces it.
//!
//! | `type` | fields |
//! |---|---|
//! | `header` | `schema` (1), `pysample`, `program`, `started` (RFC 3339, UTC), `rate` (samples a second: the inverse is a slot of the clock, for which a sample stands), `wanted` |
//! | `process` | `id`, `pid`, `own_pid` (in its own PID namespace), `parent` (an id or null), `command` (a list), `python` |
//! | `thread` | `id`, `process`, `interpreter`, `os_thread_id` (or null), `python_thread_id`, `name` (or null) |
//! | `frame` | `id`, `function`, `file`, `first_line`, `line` (or null) |
//! | `stack` | `id`, `frames`: ids of frames, innermost first |
//! | `sample` | `at` (seconds since the start), `thread`, `state`, `gil`, `stack` (or null: no Python frame), `weight` (for how many slots it stands; 1 where it is not told) |
//! | `gil` | who held a GIL: `at`, `process`, `interpreter`, `owner`, `holder` (`thread`, `someone`, `free`, `none`, `unknown`), `thread` (or null), `switches`, `interval` (seconds), `collecting`, `weight` (the same) |
//! | `search_path` | `entries`: `sys.path` |
//! | `remark` | `remark`: `cannot_pause`, `stretched` or `spared` |
//! | `end` | `elapsed` (seconds), and how many samples were `asked`, `taken`, `late`, `stretched`, `spared`, `failed`; for how many slots those taken stand (`slots`, where they are more); how many stacks `dropped`, `torn`, `unmapped`, `invalid`, `truncated`; nothing where nobody counted: in collapsed stacks; `is_missing` (true) where pysample was ended by force and the account is older than the last samples |
//!
//! Fields may be added, and types; what is there keeps its meaning as long as `schema` is 1. Names are as the target has them.
//! What function was innermost for how many slots:
//!
//! ```sh
//! jq -rn 'reduce inputs as $l ({};
//!     if $l.type == "frame" then .function[$l.id] = $l.function
//!     elif $l.type == "stack" then .leaf[$l.id] = .function[$l.frames[0]]
//!     elif $l.type == "sample" and $l.stack != null then .count[.leaf[$l.stack]] += ($l.weight // 1)
//!     else . end) | .count | to_entries | sort_by(-.value)[] | "\(.value) \(.key)"' profile.jsonl
//! ```

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Labels;
use super::json::Json;
use crate::aggregate::CallTree;
use crate::sample::{
    Event, GilHeld, GilSample, GilState, Process, Remark, Replay, Sample, StackId, Tally, Thread, ThreadState, Wanted,
    Weight,
};

/// The version of the schema.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Header {
        schema: u32,
        pysample: &'a str,
        program: &'a str,
        started: String,
        rate: f64,
        wanted: Wanted,
    },
    Process {
        id: u32,
        #[serde(flatten)]
        process: &'a Process,
    },
    Thread {
        id: u32,
        process: u32,
        interpreter: i64,
        os_thread_id: Option<u32>,
        python_thread_id: u64,
        name: Option<&'a str>,
    },
    Frame {
        id: u32,
        function: &'a str,
        file: &'a str,
        first_line: u32,
        line: Option<u32>,
    },
    Stack {
        id: u32,
        frames: Vec<u32>,
    },
    Sample {
        at: f64,
        thread: u32,
        state: ThreadState,
        gil: GilState,
        stack: Option<u32>,
        #[serde(skip_serializing_if = "Weight::is_one")]
        weight: Weight,
    },
    Gil {
        at: f64,
        process: u32,
        interpreter: i64,
        owner: i64,
        holder: &'a str,
        thread: Option<u32>,
        switches: Option<u64>,
        interval: Option<f64>,
        collecting: bool,
        #[serde(skip_serializing_if = "Weight::is_one")]
        weight: Weight,
    },
    SearchPath {
        entries: &'a [String],
    },
    Remark {
        remark: &'a str,
    },
    End {
        /// `None` where there is none: nobody counted what was asked of whoever wrote collapsed stacks.
        #[serde(flatten)]
        account: Option<Account>,
        /// Told only if it is.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_missing: bool,
    },
}

#[derive(Clone, Copy, Serialize)]
struct Account {
    elapsed: f64,
    asked: u64,
    taken: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u64>,
    late: u64,
    stretched: u64,
    spared: u64,
    failed: u64,
    dropped: u64,
    torn: u64,
    unmapped: u64,
    invalid: u64,
    truncated: u64,
}

impl Account {
    fn new(elapsed: Duration, tally: &Tally) -> Account {
        Account {
            elapsed: elapsed.as_secs_f64(),
            asked: tally.asked,
            taken: tally.taken,
            slots: Some(tally.slots()).filter(|&slots| slots != tally.taken),
            late: tally.late,
            stretched: tally.stretched,
            spared: tally.spared,
            failed: tally.failed,
            dropped: tally.dropped,
            torn: tally.torn,
            unmapped: tally.unmapped,
            invalid: tally.invalid,
            truncated: tally.truncated,
        }
    }
}

/// Writes a recording. Nothing in it depends on labels.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, _labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let header = recording.header();
    let mut writer = Writer {
        tree: CallTree::default(),
        told: Vec::new(),
        account: None,
        is_missing: !recording.has_end(),
        json: Json::new(out),
    };
    writer.json.line(&Line::Header {
        schema: SCHEMA,
        pysample: &header.pysample,
        program: &header.program,
        started: humantime::format_rfc3339_nanos(header.began().unwrap_or(SystemTime::UNIX_EPOCH)).to_string(),
        rate: header.rate,
        wanted: header.wanted,
    })?;
    recording.replay(&mut |event| writer.take(event))?;
    writer.finish()
}

struct Writer<'a> {
    /// What is defined.
    tree: CallTree,
    /// The stacks that were written, by id: those that a sample has, and none that only calls others.
    told: Vec<bool>,
    /// As it was told last.
    account: Option<Account>,
    /// Whether the end of the recording is.
    is_missing: bool,
    json: Json<'a>,
}

impl Writer<'_> {
    fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Sample(sample) => return self.sample(&sample),
            Event::Gil(gil) => return self.gil(&gil),
            Event::Process(id, ref process) => self.json.line(&Line::Process { id: id.0, process })?,
            Event::Thread(id, ref thread) => self.thread(id.0, thread)?,
            Event::Frame(id, frame) => {
                let code = self.tree.code(frame.code);
                self.json.line(&Line::Frame {
                    id: id.0,
                    function: code.map_or("unknown", |code| &code.function),
                    file: code.map_or("?", |code| &code.file),
                    first_line: code.map_or(0, |code| code.first_line),
                    line: frame.line,
                })?;
            }
            Event::SearchPath(ref entries) => self.json.line(&Line::SearchPath { entries })?,
            Event::Remark(remark) => self.json.line(&Line::Remark {
                remark: match remark {
                    Remark::CannotPause => "cannot_pause",
                    Remark::Stretched => "stretched",
                    Remark::Spared => "spared",
                },
            })?,
            Event::Progress(elapsed, ref tally) => self.account = Some(Account::new(elapsed, tally)),
            Event::Code(..) | Event::Stack { .. } => {}
        }
        self.tree.take(event);
        Ok(())
    }

    fn thread(&mut self, id: u32, thread: &Thread) -> io::Result<()> {
        self.json.line(&Line::Thread {
            id,
            process: thread.process.0,
            interpreter: thread.interpreter,
            os_thread_id: thread.os_thread_id.map(|id| id.0),
            python_thread_id: thread.python_thread_id,
            name: thread.name.as_deref(),
        })
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        if let Some(stack) = sample.stack {
            self.tell(stack)?;
        }
        let Sample { at, thread, state, gil, stack, weight } = *sample;
        let stack = stack.map(|stack| stack.0);
        self.json.line(&Line::Sample { at: at.as_secs_f64(), thread: thread.0, state, gil, stack, weight })
    }

    /// Writes a stack that was not written yet.
    fn tell(&mut self, id: StackId) -> io::Result<()> {
        if self.told.get(id.index()) == Some(&true) {
            return Ok(());
        }
        if id.index() < self.tree.stack_count() {
            self.told.resize(self.tree.stack_count(), false);
            self.told[id.index()] = true;
        }
        let (mut frames, mut next) = (Vec::new(), Some(id));
        while let Some((frame, caller)) = next.and_then(|stack| self.tree.stack(stack)) {
            frames.push(frame.0);
            next = caller;
        }
        self.json.line(&Line::Stack { id: id.0, frames })
    }

    fn gil(&mut self, gil: &GilSample) -> io::Result<()> {
        let (holder, thread) = match gil.holder {
            GilHeld::By(thread) => ("thread", Some(thread.0)),
            GilHeld::BySomeone => ("someone", None),
            GilHeld::Free => ("free", None),
            GilHeld::None => ("none", None),
            GilHeld::Unknown => ("unknown", None),
        };
        self.json.line(&Line::Gil {
            at: gil.at.as_secs_f64(),
            process: gil.process.0,
            interpreter: gil.interpreter,
            owner: gil.owner,
            holder,
            thread,
            switches: gil.switches,
            interval: gil.interval.map(|interval| interval.as_secs_f64()),
            collecting: gil.is_collecting,
            weight: gil.weight,
        })
    }

    fn finish(mut self) -> io::Result<()> {
        self.json.line(&Line::End { account: self.account, is_missing: self.is_missing })?;
        self.json.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;
    use serde_json::{Value, json};

    fn written(recipe: Recipe) -> Vec<Value> {
        let mut out = Vec::new();
        write(&recipe.recording(), &Labels::default(), &mut out).unwrap();
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn a_stack_is_told_when_it_is_first_seen_and_once() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        (0..2).for_each(|slot| recipe.sample(thread, slot, &[("f", 1), ("g", 2)]));
        let lines = written(recipe);
        let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["header", "thread", "frame", "frame", "stack", "sample", "sample", "end"]);
        assert_eq!(lines[4], json!({"type": "stack", "id": 1, "frames": [1, 0]}));
        assert_eq!(lines[6]["at"], 0.01);
        assert_eq!(lines[7]["elapsed"], 0.02);
    }

    #[test]
    fn where_nobody_counted_the_end_has_no_numbers() {
        let stacks = crate::recording::Collapsed::read("main 2\n", "x.txt", std::time::SystemTime::UNIX_EPOCH).unwrap();
        let mut out = Vec::new();
        write(&stacks, &Labels::default(), &mut out).unwrap();
        assert!(out.ends_with(b"\n{\"type\":\"end\"}\n"), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn who_holds_the_gil_is_told() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        let (at, holder) = (Duration::from_millis(5), GilHeld::By(thread));
        recipe.event(Event::Gil(GilSample {
            at,
            process: crate::sample::ProcessId(0),
            interpreter: 0,
            owner: 0,
            holder,
            switches: Some(7),
            interval: Some(at),
            is_collecting: true,
            holding: None,
            weight: Weight::after(3),
        }));
        let told = &written(recipe)[2];
        assert_eq!((&told["holder"], &told["thread"], &told["interval"]), (&json!("thread"), &json!(0), &json!(0.005)));
        assert_eq!(told["weight"], 4);
    }
}
