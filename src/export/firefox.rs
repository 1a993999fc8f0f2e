//! A profile for the [Firefox profiler](https://profiler.firefox.com), in its "processed" format.
//!
//! Each thread keeps its samples with their times. The category of a sample is what its thread was doing; markers show for
//! how long the thread held the GIL, wanted it, and collected garbage (`steady` says how samples become intervals). The viewer
//! upgrades old versions of the format, so one version is written, the first in which all threads share their tables. The
//! crate `fxprof-processed-profile` is not used: its frames have neither file nor line, and it keeps all samples in memory.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use super::Labels;
use super::by_thread::{Samples, each_thread};
use super::json::Json;
use super::places::{Numbers, Places};
use super::steady::{Interval, Seen, Steady};
use super::tables::{Tables, file, function};
use crate::printable::printable;
use crate::sample::{GilState, Header, ProcessId, Replay, Sample, StackId, ThreadId, ThreadState};

/// The version of the processed format: `shared` has the tables of all threads.
const PROCESSED_VERSION: u32 = 60;
/// The version of what Gecko itself writes. It is asked for, and says nothing here.
const GECKO_VERSION: u32 = 27;

/// Writes a recording.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let mut states = Numbers::default();
    let tables = Tables::read(recording, &mut |sample| {
        if let Some(stack) = sample.stack {
            states.of((stack, sample.state));
        }
    })?;
    let places = Places::new(&tables, labels);
    let header = recording.header();
    let mut strings = Numbers::default();
    let marks = MARKS.map(|mark| strings.of(mark.name.to_owned()));
    let stacks = Stacks::new(&tables, &places, &states.all);

    let mut json = Json::new(out);
    json.open("{")?;
    json.field("meta", &meta(header, &tables))?;
    json.field("libs", &json!([]))?;
    json.field("pages", &json!([]))?;
    json.open_object("shared")?;
    stacks.write(&mut json)?;
    write_functions(&places, &mut strings, &mut json)?;
    json.field("stringArray", &strings.all)?;
    json.close("}")?;
    json.open_list("threads")?;
    let pids = pids(&tables);
    each_thread(recording, &tables, &mut |id, samples| {
        let thread = Thread { id, header, tables: &tables, labels, stacks: &stacks, marks: &marks, pids: &pids };
        thread.write(samples, &mut json)
    })?;
    json.close("]}")?;
    json.finish()
}

/// What is marked in the time of a thread.
struct Mark {
    name: &'static str,
    category: ThreadState,
    is_seen: fn(&Sample) -> bool,
}

const MARKS: [Mark; 3] = [
    Mark { name: "GIL held", category: ThreadState::RunsPython, is_seen: |sample| sample.gil == GilState::Held },
    Mark {
        name: "GIL wanted",
        category: ThreadState::WaitsForGil,
        is_seen: |sample| sample.state == ThreadState::WaitsForGil,
    },
    Mark {
        name: "Garbage collection",
        category: ThreadState::CollectsGarbage,
        is_seen: |sample| sample.state == ThreadState::CollectsGarbage,
    },
];

/// The first category is what the viewer takes where there is none; then there is one for each state.
fn category(state: ThreadState) -> usize {
    state as usize + 1
}

fn categories() -> Vec<Value> {
    let category = |name: &str, color: &str| json!({"name": name, "color": color, "subcategories": ["Other"]});
    let states = ThreadState::ALL.iter().map(|state| {
        let color = match state {
            ThreadState::RunsPython => "yellow",
            ThreadState::RunsNative => "blue",
            ThreadState::RunsDetached => "green",
            ThreadState::CollectsGarbage => "orange",
            ThreadState::WaitsForGil => "red",
            ThreadState::WaitsForLock | ThreadState::Suspended => "purple",
            ThreadState::WaitsForSocket | ThreadState::WaitsForPipe | ThreadState::WaitsForFile => "lightblue",
            ThreadState::WaitsForPoll | ThreadState::WaitsForChild => "brown",
            ThreadState::Sleeps | ThreadState::Waits | ThreadState::Elsewhere => "transparent",
            ThreadState::Stopped | ThreadState::Unknown => "grey",
        };
        let words = state.text(GilState::NotHeld);
        let name: String = words.chars().take(1).flat_map(char::to_uppercase).chain(words.chars().skip(1)).collect();
        category(&name, color)
    });
    std::iter::once(category("Other", "grey")).chain(states).collect()
}

fn meta(header: &Header, tables: &Tables) -> Value {
    let schema = |mark: &Mark| {
        json!({
            "name": mark.name,
            "tooltipLabel": mark.name,
            "tableLabel": mark.name,
            "chartLabel": mark.name,
            "display": ["marker-chart", "marker-table", "timeline-overview"],
            "fields": [],
        })
    };
    let began = header.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": PROCESSED_VERSION,
        "product": printable(&header.program),
        "importedFrom": format!("pysample {}", header.pysample),
        "interval": millis(tables.period()),
        "startTime": millis(began),
        "profilingStartTime": 0,
        "profilingEndTime": millis(tables.elapsed()),
        "processType": 0,
        "stackwalk": 1,
        "debug": false,
        "symbolicated": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "categories": categories(),
        "markerSchema": MARKS.iter().map(schema).collect::<Vec<_>>(),
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
    })
}

/// The tables of stacks and frames. Every stack is in them as it was defined, its frames being Python; where a thread did
/// something else, the innermost frame is there once more, in that category, and so is the stack.
struct Stacks {
    /// Place and category.
    frames: Numbers<(u32, usize)>,
    lines: Vec<Option<u32>>,
    functions: Vec<u32>,
    /// Frame and caller.
    stacks: Vec<(u32, Option<u32>)>,
    of: HashMap<(StackId, ThreadState), u32>,
}

impl Stacks {
    fn new(tables: &Tables, places: &Places, seen: &[(StackId, ThreadState)]) -> Stacks {
        let mut frames = Numbers::default();
        let python = category(ThreadState::RunsPython);
        let base = tables.stacks().map(|(frame, caller)| {
            (frames.of((places.of(frame), python)), caller.map(|caller| tables.stack_of(caller).0))
        });
        let mut stacks: Vec<(u32, Option<u32>)> = base.collect();
        let mut of = HashMap::new();
        for &(stack, state) in seen {
            let number = match state {
                ThreadState::RunsPython => tables.stack_of(stack).0,
                other => {
                    let (frame, caller) = tables.stack(stack);
                    let frame = frames.of((places.of(frame), category(other)));
                    stacks.push((frame, caller.map(|caller| tables.stack_of(caller).0)));
                    stacks.len() as u32 - 1
                }
            };
            of.insert((stack, state), number);
        }
        let place = |&(place, _): &(u32, usize)| places.places[place as usize];
        let lines = frames.all.iter().map(|frame| place(frame).1).collect();
        let functions = frames.all.iter().map(|frame| place(frame).0).collect();
        Stacks { frames, lines, functions, stacks, of }
    }

    fn write(&self, json: &mut Json) -> io::Result<()> {
        json.open_object("stackTable")?;
        json.list("frame", self.stacks.iter().map(|(frame, _)| frame))?;
        json.list("prefix", self.stacks.iter().map(|(_, prefix)| prefix))?;
        json.field("length", &self.stacks.len())?;
        json.close("}")?;
        let length = self.frames.all.len();
        json.open_object("frameTable")?;
        same(json, "address", length, -1)?;
        same(json, "inlineDepth", length, 0)?;
        json.list("category", self.frames.all.iter().map(|(_, category)| category))?;
        same(json, "subcategory", length, 0)?;
        json.field("func", &self.functions)?;
        same(json, "nativeSymbol", length, ())?;
        same(json, "innerWindowID", length, ())?;
        json.field("line", &self.lines)?;
        same(json, "column", length, ())?;
        json.field("length", &length)?;
        json.close("}")
    }
}

/// A column that is the same in each row.
fn same<T: Serialize + Copy>(json: &mut Json, name: &str, length: usize, value: T) -> io::Result<()> {
    json.list(name, std::iter::repeat_n(value, length))
}

fn write_functions(places: &Places, strings: &mut Numbers<String>, json: &mut Json) -> io::Result<()> {
    let mut files = Numbers::default();
    let names: Vec<u32> = places.functions.iter().map(|code| strings.of(function(code).into())).collect();
    let sources: Vec<u32> = places.functions.iter().map(|code| files.of(strings.of(file(code).into()))).collect();
    let length = places.functions.len();
    json.open_object("funcTable")?;
    json.field("name", &names)?;
    same(json, "isJS", length, false)?;
    same(json, "relevantForJS", length, false)?;
    same(json, "resource", length, -1)?;
    json.field("source", &sources)?;
    json.list("lineNumber", places.functions.iter().map(|code| code.first_line))?;
    same(json, "columnNumber", length, ())?;
    json.field("length", &length)?;
    json.close("}")?;
    json.open_object("sources")?;
    same(json, "id", files.all.len(), ())?;
    json.field("filename", &files.all)?;
    json.field("length", &files.all.len())?;
    json.close("}")?;
    json.field("resourceTable", &json!({"length": 0, "lib": [], "name": [], "host": [], "type": []}))?;
    json.field("nativeSymbols", &json!({"length": 0, "libIndex": [], "address": [], "name": [], "functionSize": []}))
}

/// What processes are called: their ids, told apart where one was used twice.
fn pids(tables: &Tables) -> Vec<String> {
    let mut used = HashMap::<u32, u32>::new();
    let unique = tables.processes().iter().map(|process| {
        let times = used.entry(process.pid).or_default();
        *times += 1;
        match *times {
            1 => process.pid.to_string(),
            times => format!("{}.{}", process.pid, times - 1),
        }
    });
    unique.collect()
}

/// A thread, about to be written.
struct Thread<'a> {
    id: ThreadId,
    header: &'a Header,
    tables: &'a Tables,
    labels: &'a Labels,
    stacks: &'a Stacks,
    marks: &'a [u32; MARKS.len()],
    pids: &'a [String],
}

impl Thread<'_> {
    fn write(&self, samples: &Samples, json: &mut Json) -> io::Result<()> {
        json.open("\n{")?;
        self.write_head(json)?;
        json.open_object("samples")?;
        let (mut length, mut are_alike) = (0_u64, true);
        json.open_list("stack")?;
        samples.each(&mut |sample| {
            length += 1;
            are_alike &= sample.weight.is_one();
            let stack = sample.stack.map(|stack| self.stacks.of.get(&(stack, sample.state)));
            json.item(&stack)
        })?;
        json.close("]")?;
        json.open_list("time")?;
        samples.each(&mut |sample| json.item(&millis(sample.at)))?;
        json.close("]")?;
        self.write_weights(samples, are_alike, json)?;
        json.field("weightType", &"samples")?;
        json.field("length", &length)?;
        json.close("}")?;
        self.write_markers(samples, json)?;
        json.close("}")
    }

    /// Where all samples weigh one it is not told.
    fn write_weights(&self, samples: &Samples, are_alike: bool, json: &mut Json) -> io::Result<()> {
        if are_alike {
            return json.field("weight", &());
        }
        json.open_list("weight")?;
        samples.each(&mut |sample| json.item(&sample.weight))?;
        json.close("]")
    }

    fn write_head(&self, json: &mut Json) -> io::Result<()> {
        let thread = self.tables.thread(self.id);
        let ProcessId(process) = thread.process;
        let pid = self.pids.get(process as usize).cloned().unwrap_or_else(|| "0".into());
        let is_main = thread.os_thread_id.is_some_and(|id| id.0 == self.tables.pid(thread));
        json.field("processType", &"default")?;
        json.field("processName", &self.tables.process_name(thread.process, &self.header.program))?;
        json.field("processStartupTime", &0)?;
        json.field("processShutdownTime", &())?;
        json.field("registerTime", &0)?;
        json.field("unregisterTime", &())?;
        json.field("pausedRanges", &json!([]))?;
        json.field("name", &self.labels.thread(thread))?;
        json.field("isMainThread", &is_main)?;
        json.field("pid", &pid)?;
        // Only has to be unique.
        json.field("tid", &self.id.0)?;
        json.field("showMarkersInTimeline", &true)
    }

    fn write_markers(&self, samples: &Samples, json: &mut Json) -> io::Result<()> {
        json.open_object("markers")?;
        let mut length = 0_u64;
        json.open_list("startTime")?;
        self.each_marker(samples, &mut |_, interval| {
            length += 1;
            json.item(&millis(interval.begin))
        })?;
        json.close("]")?;
        json.open_list("endTime")?;
        self.each_marker(samples, &mut |_, interval| json.item(&millis(interval.end)))?;
        json.close("]")?;
        json.open_list("name")?;
        self.each_marker(samples, &mut |mark, _| json.item(&self.marks[mark]))?;
        json.close("]")?;
        json.open_list("category")?;
        self.each_marker(samples, &mut |mark, _| json.item(&category(MARKS[mark].category)))?;
        json.close("]")?;
        json.open_list("data")?;
        self.each_marker(samples, &mut |mark, _| json.item(&json!({"type": MARKS[mark].name})))?;
        json.close("]")?;
        // An interval, from start to end.
        json.list("phase", (0..length).map(|_| 1))?;
        json.field("length", &length)?;
        json.close("}")
    }

    /// The intervals of this thread, each as the number of its mark.
    fn each_marker(
        &self,
        samples: &Samples,
        visit: &mut dyn FnMut(usize, Interval) -> io::Result<()>,
    ) -> io::Result<()> {
        let period = self.tables.period();
        let mut steady: [Steady<()>; MARKS.len()] = Default::default();
        samples.each(&mut |sample| {
            for (number, (mark, steady)) in MARKS.iter().zip(&mut steady).enumerate() {
                let shown = (mark.is_seen)(sample).then_some(());
                if let Some(((), interval)) = steady.take(Seen::of(sample), shown, period) {
                    visit(number, interval)?;
                }
            }
            Ok(())
        })?;
        for (number, steady) in steady.into_iter().enumerate() {
            if let Some(((), interval)) = steady.end(period) {
                visit(number, interval)?;
            }
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;

    fn written(recipe: Recipe) -> Value {
        let mut out = Vec::new();
        write(&recipe.recording(), &Labels::default(), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn all_columns_of_a_table_are_as_long_as_it_says() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        recipe.sample(thread, 0, &[("f", 1), ("g", 2)]);
        recipe.sample_in(thread, 1, &[("f", 1), ("g", 2)], ThreadState::WaitsForGil, GilState::NotHeld);
        recipe.sample(thread, 3, &[]);
        let written = written(recipe);
        let shared = written["shared"].as_object().unwrap();
        let tables = shared.iter().filter(|(name, _)| *name != "stringArray");
        let thread = &written["threads"][0];
        let of_thread = [("samples", &thread["samples"]), ("markers", &thread["markers"])];
        for (name, table) in tables.map(|(name, table)| (name.as_str(), table)).chain(of_thread) {
            let length = table["length"].as_u64().unwrap() as usize;
            for (column, values) in table.as_object().unwrap() {
                if let Some(values) = values.as_array() {
                    assert_eq!(values.len(), length, "{name}.{column}");
                }
            }
        }
        assert_eq!(thread["samples"]["stack"], json!([1, 2, null]));
        assert_eq!(thread["markers"]["startTime"], json!([0.0, 10.0, 30.0]));
        assert_eq!(thread["markers"]["endTime"], json!([10.0, 20.0, 40.0]));
    }

    #[test]
    fn every_state_has_its_category() {
        let categories = categories();
        assert_eq!(categories.len(), ThreadState::ALL.len() + 1);
        assert_eq!(categories[category(ThreadState::WaitsForGil)]["name"], "Waits for the GIL");
        assert_eq!(categories[0]["color"], "grey");
    }
}
