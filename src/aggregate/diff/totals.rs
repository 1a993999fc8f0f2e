//! What was counted of a recording, stretch by stretch, in tables that two recordings share.
//!
//! Stacks are kept as a tree of functions. Samples are counted at its nodes; what functions have in total is summed up from
//! the leaves to the root once, at the end, so that neither depth nor recursion costs anything by the sample.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::estimate::STRETCHES;
use super::{Basis, Function, Hits, Input, Line, Side, Stretches};
use crate::sample::{Code, Event, Frame, Replay, Sample, StackId, Tally, Weight};

/// Functions, lines and stacks of both recordings, by dense ids.
#[derive(Debug, Default)]
pub struct Names {
    functions: Vec<Function>,
    function_ids: HashMap<Function, u32>,
    lines: Vec<(u32, Option<u32>)>,
    line_ids: FxHashMap<(u32, Option<u32>), u32>,
    /// The node of the caller, which comes before, and the function.
    nodes: Vec<(Option<u32>, u32)>,
    node_ids: FxHashMap<(Option<u32>, u32), u32>,
}

impl Names {
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    pub fn function(&self, id: usize) -> Function {
        self.functions[id].clone()
    }

    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    pub fn line(&self, id: usize) -> Line {
        let (function, line) = self.lines[id];
        Line { function: self.function(function as usize), line }
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The functions of a stack, outermost first.
    pub fn path(&self, node: usize) -> Vec<Function> {
        let mut path = Vec::new();
        let mut outer = Some(node as u32);
        while let Some(node) = outer {
            let (caller, function) = self.nodes[node as usize];
            path.push(self.function(function as usize));
            outer = caller;
        }
        path.reverse();
        path
    }

    fn define_function(&mut self, function: Function) -> u32 {
        let next = self.functions.len() as u32;
        *self.function_ids.entry(function).or_insert_with_key(|function| {
            self.functions.push(function.clone());
            next
        })
    }

    fn define_line(&mut self, function: u32, line: Option<u32>) -> u32 {
        let next = self.lines.len() as u32;
        *self.line_ids.entry((function, line)).or_insert_with_key(|&line| {
            self.lines.push(line);
            next
        })
    }

    fn define_node(&mut self, caller: Option<u32>, function: u32) -> u32 {
        let next = self.nodes.len() as u32;
        *self.node_ids.entry((caller, function)).or_insert_with_key(|&node| {
            self.nodes.push(node);
            next
        })
    }
}

/// What was counted of something.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Samples, in all.
    samples: u64,
    /// For how many slots of the clock those of each stretch stand.
    slots: [u32; STRETCHES],
}

impl Row {
    fn take(&mut self, stretch: usize, weight: Weight) {
        self.samples += 1;
        let slots = u32::try_from(weight.slots()).unwrap_or(u32::MAX);
        self.slots[stretch] = self.slots[stretch].saturating_add(slots);
    }

    fn add(&mut self, row: &Row) {
        self.samples += row.samples;
        self.slots.iter_mut().zip(row.slots).for_each(|(to, slots)| *to = to.saturating_add(slots));
    }

    fn slots(&self) -> u64 {
        self.slots.iter().map(|&slots| u64::from(slots)).sum()
    }
}

/// What was counted of one recording.
#[derive(Debug)]
pub struct Totals {
    /// By node: of this very stack.
    stacks: Vec<Row>,
    lines: Vec<Row>,
    own: Vec<Row>,
    total: Vec<Row>,
    all: Row,
    /// The sum of the squares of the weights of all samples.
    squares: f64,
    length: Length,
    /// As it was told last, and when.
    account: Option<(Duration, Tally)>,
    rate: f64,
}

/// How long a recording is.
#[derive(Clone, Copy, Debug)]
struct Length {
    elapsed: Duration,
    /// Whether samples have times: they are not all of one moment.
    is_timed: bool,
}

/// The tables of a recording while it is read, by its own ids.
struct Reading<'a> {
    names: &'a mut Names,
    file: &'a dyn Fn(&Code) -> String,
    functions: Vec<u32>,
    frames: Vec<(u32, u32)>,
    stacks: Vec<(u32, u32)>,
    totals: Totals,
}

impl Totals {
    /// Goes through a recording twice: to know its length, and to count.
    pub fn of(Input { recording, file }: Input<'_>, names: &mut Names) -> io::Result<Totals> {
        let totals = Totals {
            stacks: Vec::new(),
            lines: Vec::new(),
            own: Vec::new(),
            total: Vec::new(),
            all: Row::default(),
            squares: 0.0,
            length: length(recording)?,
            account: None,
            rate: recording.header().rate,
        };
        let mut reading =
            Reading { names, file, functions: Vec::new(), frames: Vec::new(), stacks: Vec::new(), totals };
        recording.replay(&mut |event| {
            reading.take(event);
            Ok(())
        })?;
        let Reading { names, mut totals, .. } = reading;
        totals.sum_up(names);
        Ok(totals)
    }

    pub fn side(&self) -> Side {
        Side {
            samples: self.all.samples,
            slots: self.all.slots(),
            evidence: if self.squares > 0.0 { self.all.slots() as f64 / self.squares } else { 1.0 },
            moments: Some(self.moments()).filter(|&moments| moments > 0),
            elapsed: self.length.elapsed.as_secs_f64(),
            stretches: if self.length.is_timed { STRETCHES } else { 0 },
        }
    }

    /// Moments at which samples were taken, each as often as it stands for slots of the clock, in all of its time: the account
    /// of a recording without an end is older than its last samples, and what it says of the time before holds for that
    /// after it.
    fn moments(&self) -> u64 {
        let elapsed = self.length.elapsed.as_secs_f64();
        match self.account {
            Some((told, tally)) if told == self.length.elapsed => tally.slots(),
            Some((told, tally)) if tally.taken > 0 && !told.is_zero() => {
                (tally.slots() as f64 * elapsed / told.as_secs_f64()).round() as u64
            }
            _ => (self.rate * elapsed).round() as u64,
        }
    }

    /// What hits are shares of.
    pub fn whole(&self, basis: Basis) -> Stretches {
        match (basis, self.side().moments) {
            (Basis::Share, _) => self.hits(&self.all).slots,
            (Basis::Time, Some(moments)) if self.length.is_timed => {
                Stretches(vec![moments as f64 / STRETCHES as f64; STRETCHES])
            }
            (Basis::Time, moments) => Stretches(vec![moments.unwrap_or(0) as f64]),
        }
    }

    pub fn own(&self, function: usize) -> Hits {
        self.of_row(&self.own, function)
    }

    pub fn total(&self, function: usize) -> Hits {
        self.of_row(&self.total, function)
    }

    pub fn line(&self, line: usize) -> Hits {
        self.of_row(&self.lines, line)
    }

    /// For how many slots of the clock a stack was seen.
    pub fn stack(&self, node: usize) -> u64 {
        self.stacks.get(node).map_or(0, Row::slots)
    }

    fn of_row(&self, rows: &[Row], index: usize) -> Hits {
        self.hits(&rows.get(index).copied().unwrap_or_default())
    }

    fn hits(&self, row: &Row) -> Hits {
        let slots = if self.length.is_timed { &row.slots[..] } else { &row.slots[..1] };
        Hits { samples: row.samples, slots: Stretches(slots.iter().map(|&slots| f64::from(slots)).collect()) }
    }

    fn stretch_of(&self, at: Duration) -> usize {
        let share = at.as_secs_f64() / self.length.elapsed.as_secs_f64();
        if self.length.is_timed { ((share * STRETCHES as f64) as usize).min(STRETCHES - 1) } else { 0 }
    }

    /// From samples of stacks to those of functions.
    fn sum_up(&mut self, names: &Names) {
        self.own = vec![Row::default(); names.functions()];
        self.total = vec![Row::default(); names.functions()];
        let mut sums = self.stacks.clone();
        for node in (0..sums.len()).rev() {
            let (caller, function) = names.nodes[node];
            self.own[function as usize].add(&self.stacks[node]);
            if let Some(caller) = caller {
                let sum = sums[node];
                sums[caller as usize].add(&sum);
            }
        }
        for node in outermost(names, sums.len()) {
            self.total[names.nodes[node].1 as usize].add(&sums[node]);
        }
    }
}

/// The nodes whose function is not among those that call it: recursion counts once.
fn outermost(names: &Names, count: usize) -> Vec<usize> {
    let mut children = vec![Vec::new(); count];
    let mut todo = Vec::new();
    for node in 0..count {
        match names.nodes[node].0 {
            Some(caller) => children[caller as usize].push(node),
            None => todo.push((node, true)),
        }
    }
    let mut active = vec![0_u32; names.functions()];
    let mut found = Vec::new();
    while let Some((node, is_entered)) = todo.pop() {
        let function = names.nodes[node].1 as usize;
        if !is_entered {
            active[function] -= 1;
            continue;
        }
        if active[function] == 0 {
            found.push(node);
        }
        active[function] += 1;
        todo.push((node, false));
        todo.extend(children[node].iter().map(|&child| (child, true)));
    }
    found
}

fn length(recording: &dyn Replay) -> io::Result<Length> {
    let (mut elapsed, mut first, mut is_timed) = (Duration::ZERO, None, false);
    recording.replay(&mut |event| {
        match event {
            Event::Sample(Sample { at, .. }) => {
                is_timed |= *first.get_or_insert(at) != at;
                elapsed = elapsed.max(at);
            }
            Event::Progress(at, _) => elapsed = elapsed.max(at),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Length { elapsed, is_timed })
}

/// What stands for a code object, a frame or a stack that was never defined.
const UNKNOWN: &str = "unknown";

impl Reading<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Code(_, code) => {
                let function = Function { function: code.function.to_string(), file: (self.file)(&code) };
                self.functions.push(self.names.define_function(function));
            }
            Event::Frame(_, Frame { code, line }) => {
                let function = self.functions.get(code.index()).copied().unwrap_or_else(|| self.unknown());
                self.frames.push((function, self.names.define_line(function, line)));
            }
            Event::Stack { caller, frame, .. } => {
                let (function, line) = match self.frames.get(frame.index()) {
                    Some(&frame) => frame,
                    None => self.unknown_frame(),
                };
                let caller = caller.map(|caller| self.stack(caller).0);
                self.stacks.push((self.names.define_node(caller, function), line));
            }
            Event::Sample(sample) => self.count(&sample),
            Event::Progress(elapsed, tally) => self.totals.account = Some((elapsed, tally)),
            Event::Process(..) | Event::Thread(..) | Event::SearchPath(_) | Event::Gil(_) | Event::Remark(_) => {}
        }
    }

    fn count(&mut self, sample: &Sample) {
        let Some(stack) = sample.stack else { return };
        let (node, line) = self.stack(stack);
        let stretch = self.totals.stretch_of(sample.at);
        self.totals.all.take(stretch, sample.weight);
        self.totals.squares += (sample.weight.slots() as f64).powi(2);
        at(&mut self.totals.stacks, node).take(stretch, sample.weight);
        at(&mut self.totals.lines, line).take(stretch, sample.weight);
    }

    fn stack(&mut self, id: StackId) -> (u32, u32) {
        match self.stacks.get(id.index()) {
            Some(&stack) => stack,
            None => {
                let (function, line) = self.unknown_frame();
                (self.names.define_node(None, function), line)
            }
        }
    }

    fn unknown(&mut self) -> u32 {
        self.names.define_function(Function { function: UNKNOWN.into(), file: "?".into() })
    }

    fn unknown_frame(&mut self) -> (u32, u32) {
        let function = self.unknown();
        (function, self.names.define_line(function, None))
    }
}

/// The row of an id; the table grows to have it.
fn at(rows: &mut Vec<Row>, id: u32) -> &mut Row {
    let index = id as usize;
    if rows.len() <= index {
        rows.resize(index + 1, Row::default());
    }
    &mut rows[index]
}
