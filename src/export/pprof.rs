//! A profile for [pprof](https://github.com/google/pprof) and whatever reads its format: gzip-compressed protobuf.
//!
//! Samples that are equal, of one thread and in one state, are one with its count, each being counted as often as it stands
//! for slots of the clock, and the time that those are. Functions keep
//! their file and first line, and stacks the lines that ran. Labels say whose sample it is and what the thread was doing:
//! `thread`, `thread_id`, `pid`, `interpreter` (other than the main one), `state` and `gil`.
//!
//! The messages are those of `profile.proto`, as far as they are of use here. A protobuf message may be written in parts,
//! one after the other, so samples and definitions go out in batches.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::Labels;
use super::places::{Numbers, Places};
use super::tables::{Tables, file, function};
use crate::sample::{GilState, Replay, StackId, Thread, ThreadId, ThreadState, Wanted};

/// Messages that are written at a time.
const BATCH: usize = 1024;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
    #[prost(int64, tag = "3")]
    num: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
    #[prost(int64, tag = "5")]
    start_line: i64,
}

/// What makes samples equal.
type Key = (ThreadId, ThreadState, GilState, StackId);

/// Writes a recording. A thread without Python frames has no stack, and its samples are left out.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let mut counts: HashMap<Key, u64> = HashMap::new();
    let tables = Tables::read(recording, &mut |sample| {
        if let Some(stack) = sample.stack {
            let slots = counts.entry((sample.thread, sample.state, sample.gil, stack)).or_default();
            *slots = slots.saturating_add(sample.weight.slots());
        }
    })?;
    let mut counts: Vec<(Key, u64)> = counts.into_iter().collect();
    counts.sort_unstable();
    let places = Places::new(&tables, labels);
    let mut writer = Writer { strings: Strings::default(), out: GzEncoder::new(out, Compression::default()) };
    writer.strings.of("");
    writer.head(recording, &tables)?;
    writer.samples(&counts, &tables, &places)?;
    writer.locations(&places)?;
    writer.functions(&places)?;
    writer.finish()
}

#[derive(Default)]
struct Strings(Numbers<String>);

impl Strings {
    fn of(&mut self, text: &str) -> i64 {
        self.0.of(text.to_owned()).into()
    }

    fn text(&mut self, key: &str, text: &str) -> Label {
        Label { key: self.of(key), str: self.of(text), num: 0 }
    }

    fn number(&mut self, key: &str, num: i64) -> Label {
        Label { key: self.of(key), str: 0, num }
    }
}

struct Writer<'a> {
    strings: Strings,
    out: GzEncoder<&'a mut dyn Write>,
}

impl Writer<'_> {
    fn put(&mut self, part: &Profile) -> io::Result<()> {
        self.out.write_all(&part.encode_to_vec())
    }

    fn head(&mut self, recording: &dyn Replay, tables: &Tables) -> io::Result<()> {
        let (header, strings) = (recording.header(), &mut self.strings);
        let time = match header.wanted {
            Wanted::Running => "cpu",
            Wanted::All | Wanted::Contenders => "wall",
            Wanted::Holders => "gil",
        };
        let (samples, count) = (strings.of("samples"), strings.of("count"));
        let time = ValueType { r#type: strings.of(time), unit: strings.of("nanoseconds") };
        let end = (!recording.has_end()).then(|| "the end of the recording is missing".to_owned());
        let made_by = format!("pysample {}", header.pysample);
        let processes = tables.processes().iter().map(|process| {
            format!("process {}: {}, Python {}", process.pid, process.command.join(" "), process.python)
        });
        let comments: Vec<String> = std::iter::once(made_by).chain(end).chain(processes).collect();
        // A mapping that has everything: tools look for no symbols.
        let mapping = Mapping {
            id: 1,
            filename: strings.of(&crate::printable::printable(&header.program)),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
        };
        let part = Profile {
            sample_type: vec![ValueType { r#type: samples, unit: count }, time],
            mapping: vec![mapping],
            time_nanos: since_epoch(header.started),
            duration_nanos: nanos(tables.elapsed().as_nanos()),
            period_type: Some(time),
            period: nanos(tables.period().as_nanos()),
            comment: comments.iter().map(|text| strings.of(&crate::printable::printable(text))).collect(),
            default_sample_type: time.r#type,
            ..Profile::default()
        };
        self.put(&part)
    }

    fn samples(&mut self, counts: &[(Key, u64)], tables: &Tables, places: &Places) -> io::Result<()> {
        for batch in counts.chunks(BATCH) {
            let sample = batch.iter().map(|&((thread, state, gil, stack), count)| Sample {
                location_id: tables.frames_of(stack).map(|frame| u64::from(places.of(frame)) + 1).collect(),
                value: vec![nanos(count.into()), nanos(u128::from(count) * tables.period().as_nanos())],
                label: self.labels(tables, tables.thread(thread), state, gil),
            });
            let sample = sample.collect();
            self.put(&Profile { sample, ..Profile::default() })?;
        }
        Ok(())
    }

    fn labels(&mut self, tables: &Tables, thread: &Thread, state: ThreadState, gil: GilState) -> Vec<Label> {
        let strings = &mut self.strings;
        let name = crate::printable::printable(thread.name.as_deref().unwrap_or("unnamed"));
        let mut labels = vec![strings.text("thread", &name)];
        // In this format a number that is 0 is none.
        let numbers = [
            ("thread_id", thread.os_thread_id.map_or(0, |id| id.0.into())),
            ("pid", tables.pid(thread).into()),
            ("interpreter", thread.interpreter),
        ];
        labels.extend(numbers.iter().filter(|(_, num)| *num != 0).map(|(key, num)| strings.number(key, *num)));
        labels.push(strings.text("state", state.text(gil)));
        labels.push(strings.text("gil", gil.text()));
        labels
    }

    fn locations(&mut self, places: &Places) -> io::Result<()> {
        let ids: Vec<u64> = (1..=places.places.len() as u64).collect();
        for (ids, places) in ids.chunks(BATCH).zip(places.places.chunks(BATCH)) {
            let location = ids.iter().zip(places).map(|(&id, &(function, line))| Location {
                id,
                mapping_id: 1,
                line: vec![Line { function_id: u64::from(function) + 1, line: line.unwrap_or(0).into() }],
            });
            let location = location.collect();
            self.put(&Profile { location, ..Profile::default() })?;
        }
        Ok(())
    }

    fn functions(&mut self, places: &Places) -> io::Result<()> {
        for (id, code) in (1..).zip(&places.functions) {
            // No name of the system's: tools would take one that is the same for C++, and `<lambda>` for a template's
            // arguments, to be left out.
            let function = Function {
                id,
                name: self.strings.of(&function(code)),
                filename: self.strings.of(&file(code)),
                start_line: code.first_line.into(),
            };
            self.put(&Profile { function: vec![function], ..Profile::default() })?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let all = std::mem::take(&mut self.strings.0.all);
        for strings in all.chunks(BATCH) {
            self.put(&Profile { string_table: strings.to_vec(), ..Profile::default() })?;
        }
        self.out.finish().map(drop)
    }
}

fn nanos(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| nanos(since.as_nanos()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::export::recordings::Recipe;

    fn written(recipe: Recipe) -> Profile {
        let mut out = Vec::new();
        write(&recipe.recording(), &Labels::default(), &mut out).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut bytes).unwrap();
        Profile::decode(&bytes[..]).unwrap()
    }

    #[test]
    fn parts_make_one_profile() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        (0..3).for_each(|slot| recipe.sample(thread, slot, &[("f", 1), ("g", 2)]));
        recipe.sample_in(thread, 3, &[("f", 1)], ThreadState::Sleeps, GilState::NotHeld);
        let profile = written(recipe);
        let text = |id: i64| profile.string_table[id as usize].as_str();
        assert_eq!(text(0), "");
        let stack = |sample: &Sample| {
            let name = |id: &u64| {
                let location = profile.location.iter().find(|location| location.id == *id).unwrap();
                let function = profile.function.iter().find(|of| of.id == location.line[0].function_id).unwrap();
                format!("{}:{}", text(function.name), location.line[0].line)
            };
            (sample.location_id.iter().map(name).collect::<Vec<_>>().join(" "), sample.value.clone())
        };
        let mut stacks: Vec<_> = profile.sample.iter().map(stack).collect();
        stacks.sort();
        assert_eq!(stacks, [("f:1".into(), vec![1, 10_000_000]), ("g:2 f:1".into(), vec![3, 30_000_000])]);
        assert_eq!((profile.period, profile.duration_nanos), (10_000_000, 40_000_000));
        assert_eq!(text(profile.default_sample_type), "wall");
    }

    #[test]
    fn more_than_a_batch_is_written() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        (0..3000).for_each(|line| recipe.sample(thread, line, &[("f", line)]));
        let profile = written(recipe);
        assert_eq!((profile.sample.len(), profile.location.len(), profile.function.len()), (3000, 3000, 1));
    }
}
