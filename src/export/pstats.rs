//! Statistics that Python's `pstats.Stats` loads, and snakeviz through it: a dictionary of functions, as `marshal` has it.
//!
//! `(file, first line, function)` leads to `(primitive calls, calls, own time, cumulative time, callers)`, and `callers` from
//! each caller to four numbers of the same kind. Samples are no calls: where calls are counted by a tracing profiler, here
//! are the samples in which the function was on the stack, each as often as it stands for slots of the clock. Times are these by
//! the time that a slot is. What a stack
//! has several times, as in recursion, is counted once.
//!
//! All is of one program: the format knows neither threads nor lines. If a recording has several processes, the process
//! belongs to the function's name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufWriter, Write};

use super::Labels;
use super::places::Numbers;
use super::tables::{Tables, file, function};
use crate::sample::{Code, FrameId, Replay, StackId, ThreadId};

/// A function: file, first line, name. What looks alike is one.
type Key = (String, u32, String);

/// For how many slots of the clock each thread was seen in each stack.
type Counts = HashMap<(ThreadId, StackId), u64>;

/// What was seen of a function, or of one that was called by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Samples in which it was innermost.
    own: u64,
    /// Samples in which it was on the stack.
    all: u64,
}

#[derive(Default)]
struct Entry {
    seen: Seen,
    /// By number.
    callers: BTreeMap<u32, Seen>,
}

/// What is written: functions, and what was seen of each.
#[derive(Default)]
struct Stats {
    functions: Numbers<Key>,
    entries: Vec<Entry>,
}

/// Writes a recording. Lines are merged, whatever the labels say, and files are in full.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, _labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let mut counts = Counts::new();
    let tables = Tables::read(recording, &mut |sample| {
        if let Some(stack) = sample.stack {
            let slots = counts.entry((sample.thread, stack)).or_default();
            *slots = slots.saturating_add(sample.weight.slots());
        }
    })?;
    let stats = Stats::new(counts, &tables);
    Marshal { out: BufWriter::new(out) }.stats(&stats, tables.period().as_secs_f64())
}

impl Stats {
    fn new(counts: Counts, tables: &Tables) -> Stats {
        let mut by_process: BTreeMap<(Option<u32>, StackId), u64> = BTreeMap::new();
        for ((thread, stack), count) in counts {
            let pid = tables.has_several_processes().then(|| tables.pid(tables.thread(thread)));
            *by_process.entry((pid, stack)).or_default() += count;
        }
        let (mut stats, mut numbers) = (Stats::default(), HashMap::new());
        for ((pid, stack), count) in by_process {
            let function = |stats: &mut Stats, frame| {
                *numbers.entry((pid, frame)).or_insert_with(|| stats.function(pid, tables, frame))
            };
            stats.count(tables.frames_of(stack), count, function);
        }
        stats
    }

    fn function(&mut self, pid: Option<u32>, tables: &Tables, frame: FrameId) -> u32 {
        let code = &tables.codes()[tables.code_of(&tables.frames()[frame.index()]).index()];
        let number = self.functions.of(key(code, pid));
        self.entries.resize_with(self.functions.all.len(), Entry::default);
        number
    }

    /// Counts a stack, innermost frame first.
    fn count(
        &mut self,
        frames: impl Iterator<Item = FrameId>,
        count: u64,
        mut function: impl FnMut(&mut Stats, FrameId) -> u32,
    ) {
        let (mut on_stack, mut calls, mut callee) = (HashSet::new(), HashSet::new(), None);
        for frame in frames {
            let number = function(self, frame);
            if let Some(callee) = callee {
                let is_innermost = calls.is_empty();
                if calls.insert((callee, number)) {
                    let callers = &mut self.entries[callee as usize].callers;
                    callers.entry(number).or_default().add(count, is_innermost);
                }
            }
            if on_stack.insert(number) {
                self.entries[number as usize].seen.add(count, callee.is_none());
            }
            callee = Some(number);
        }
    }
}

fn key(code: &Code, pid: Option<u32>) -> Key {
    let name = match pid {
        Some(pid) => format!("{} [pid {pid}]", function(code)),
        None => function(code).into(),
    };
    (file(code).into(), code.first_line, name)
}

impl Seen {
    fn add(&mut self, count: u64, is_innermost: bool) {
        self.all += count;
        if is_innermost {
            self.own += count;
        }
    }
}

/// What `marshal.load` reads, as far as it is of use here: every version of it does.
struct Marshal<'a> {
    out: BufWriter<&'a mut dyn Write>,
}

impl Marshal<'_> {
    fn stats(mut self, stats: &Stats, period: f64) -> io::Result<()> {
        self.out.write_all(b"{")?;
        for (key, entry) in stats.functions.all.iter().zip(&stats.entries) {
            self.key(key)?;
            self.tuple(5)?;
            self.numbers(entry.seen, period)?;
            self.out.write_all(b"{")?;
            for (&caller, &seen) in &entry.callers {
                self.key(&stats.functions.all[caller as usize])?;
                self.tuple(4)?;
                self.numbers(seen, period)?;
            }
            self.end()?;
        }
        self.end()?;
        self.out.flush()
    }

    fn key(&mut self, (file, line, name): &Key) -> io::Result<()> {
        self.tuple(3)?;
        self.text(file)?;
        self.integer((*line).into())?;
        self.text(name)
    }

    fn numbers(&mut self, seen: Seen, period: f64) -> io::Result<()> {
        self.integer(seen.all)?;
        self.integer(seen.all)?;
        self.float(seen.own as f64 * period)?;
        self.float(seen.all as f64 * period)
    }

    fn tuple(&mut self, length: u32) -> io::Result<()> {
        self.out.write_all(b"(")?;
        self.out.write_all(&length.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(b"u")?;
        self.out.write_all(&(text.len() as u32).to_le_bytes())?;
        self.out.write_all(text.as_bytes())
    }

    fn float(&mut self, number: f64) -> io::Result<()> {
        self.out.write_all(b"g")?;
        self.out.write_all(&number.to_le_bytes())
    }

    /// As a machine's integer where it is one, else as digits of 15 bits.
    fn integer(&mut self, number: u64) -> io::Result<()> {
        if let Ok(number) = i32::try_from(number) {
            self.out.write_all(b"i")?;
            return self.out.write_all(&number.to_le_bytes());
        }
        let digits: Vec<u16> = (0..5).map(|digit| ((number >> (15 * digit)) & 0x7fff) as u16).collect();
        let length = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        self.out.write_all(b"l")?;
        self.out.write_all(&(length as i32).to_le_bytes())?;
        digits[..length].iter().try_for_each(|digit| self.out.write_all(&digit.to_le_bytes()))
    }

    /// Ends a dictionary.
    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;

    /// A function, its own samples and all.
    type Told = (String, u64, u64);

    /// For each function what is told, by name, and the same for each of its callers.
    fn seen(recipe: Recipe) -> Vec<(Told, Vec<Told>)> {
        let mut counts = Counts::new();
        let tables = Tables::read(&recipe.recording(), &mut |sample| {
            *counts.entry((sample.thread, sample.stack.unwrap())).or_default() += 1;
        });
        let stats = Stats::new(counts, &tables.unwrap());
        let name = |number: usize| stats.functions.all[number].2.clone();
        let told = stats.entries.iter().enumerate().map(|(number, entry)| {
            let callers = entry.callers.iter().map(|(number, seen)| (name(*number as usize), seen.own, seen.all));
            ((name(number), entry.seen.own, entry.seen.all), callers.collect())
        });
        let mut told: Vec<(Told, Vec<Told>)> = told.collect();
        told.sort();
        told
    }

    #[test]
    fn recursion_counts_once() {
        let mut recipe = Recipe::new();
        let thread = recipe.thread(0, "main");
        recipe.sample(thread, 0, &[("main", 1), ("f", 2), ("f", 3), ("f", 2), ("g", 1)]);
        recipe.sample(thread, 1, &[("main", 1), ("f", 2), ("f", 2)]);
        let mut told = seen(recipe);
        told[0].1.sort();
        let f = vec![("f".into(), 1, 2), ("main".into(), 0, 2)];
        let g = vec![("f".into(), 1, 1)];
        let expected = [(("f".into(), 1, 2), f), (("g".into(), 1, 1), g), (("main".into(), 0, 2), vec![])];
        assert_eq!(told, expected);
    }

    #[test]
    fn integers_are_as_python_writes_them() {
        // marshal.dumps(n, 2)
        for (number, bytes) in [
            (0, &b"i\0\0\0\0"[..]),
            (0x7fff_ffff, b"i\xff\xff\xff\x7f"),
            (0x8000_0000, b"l\x03\0\0\0\0\0\0\0\x02\0"),
            (u64::MAX, b"l\x05\0\0\0\xff\x7f\xff\x7f\xff\x7f\xff\x7f\x0f\0"),
        ] {
            let mut out = Vec::new();
            let mut marshal = Marshal { out: BufWriter::new(&mut out as &mut dyn Write) };
            marshal.integer(number).unwrap();
            drop(marshal);
            assert_eq!(out, bytes, "{number}");
        }
    }
}
