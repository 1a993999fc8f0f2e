//! The threads: what each does, how much of the time it runs, holds the GIL and waits for it, and its stack now.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use rustc_hash::FxHashMap;

use super::pen::{Pen, below, line, list, width};
use super::state::{At, State, View};
use super::sums::{share, why_no_row};
use super::text::percent;
use super::{Look, Scene, WIDE};
use crate::aggregate::live::{Counts, Span, Watched};
use crate::sample::{GilState, StackId, Thread, ThreadId, ThreadState};
use crate::view::dump::for_how_long;

/// Frames of a stack that are looked at to show it.
const DEEPEST: usize = 200;
/// A thread that has done the same for so many seconds is said to have.
const LONG: f64 = 1.0;

/// How a state looks.
pub fn style(state: ThreadState, gil: GilState, look: Look) -> Style {
    match state {
        ThreadState::WaitsForGil | ThreadState::Suspended => look.blocked(),
        ThreadState::Stopped => look.warning(),
        ThreadState::RunsNative if gil == GilState::Held => look.busy().patch(look.bold()),
        state if state.runs() => look.busy(),
        _ => look.dim(),
    }
}

/// What a thread is called.
pub fn name(scene: &Scene, id: ThreadId) -> String {
    match scene.live.thread(id) {
        Some(watched) => called(scene, &watched.thread),
        None => "a thread that has ended".into(),
    }
}

fn called(scene: &Scene, thread: &Thread) -> String {
    let name = thread.name.as_deref().unwrap_or("unnamed");
    let id = match thread.os_thread_id {
        Some(tid) => tid.to_string(),
        None => format!("{:#x}", thread.python_thread_id),
    };
    let within = match thread.interpreter {
        0 => String::new(),
        interpreter => format!(", interpreter {interpreter}"),
    };
    let processes = scene.live.processes();
    match processes.get(&thread.process).filter(|_| processes.len() > 1) {
        Some(process) => format!("{name} ({id}{within}, pid {})", process.pid),
        None => format!("{name} ({id}{within})"),
    }
}

/// What is known of each thread that is there, the busiest first.
struct Rows<'a> {
    rows: Vec<(ThreadId, &'a Watched, Counts)>,
    looks: f64,
    /// Cells that the longest name takes.
    names: u16,
}

impl<'a> Rows<'a> {
    fn new(scene: &Scene<'a>, state: &State, span: Span) -> Rows<'a> {
        let tallied = scene.live.tallied(span);
        let mut counts: FxHashMap<ThreadId, Counts> = FxHashMap::default();
        tallied.counts.iter().for_each(|((thread, _), of)| *counts.entry(*thread).or_default() += *of);
        let is_of = |id: ThreadId| state.view == View::Threads || scene.live.is_of(id, state.of);
        let mut rows: Vec<_> = scene
            .live
            .there()
            .into_iter()
            .filter(|(id, it)| is_of(*id) && state.of.process.is_none_or(|of| of == it.thread.process))
            .map(|(id, it)| (id, it, counts.get(&id).copied().unwrap_or_default()))
            .collect();
        rows.sort_by_key(|(id, _, of)| (std::cmp::Reverse((of.ran, of.held, of.wanted)), *id));
        let names = rows.iter().map(|(_, it, _)| width(&called(scene, &it.thread))).max().unwrap_or(0);
        Rows { rows, looks: tallied.slots() as f64, names }
    }
}

/// Draws the view of threads.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let mut threads = Rows::new(scene, state, Span::Window(state.window()));
    if state.filter.is_set() {
        threads.rows.retain(|(_, it, _)| state.filter.lets(&called(scene, &it.thread)));
    }
    let rows = &threads.rows;
    let (table, stack_area) = if area.width >= WIDE {
        let left = area.width / 2;
        (Rect { width: left, ..area }, Rect { x: area.x + left + 1, width: area.width - left - 1, ..area })
    } else {
        let lines = (rows.len() as u16 + 2).max(3).min(area.height / 2);
        (Rect { height: lines, ..area }, below(area, lines))
    };
    let names = below(table, 1);
    let cursor = &mut state.cursors[View::Threads as usize];
    cursor.place(rows.len(), usize::from(names.height), |row| u64::from(rows[row].0.0));
    let cursor = *cursor;
    heading(&mut Pen::new(buffer, look, line(table, 0)), look);
    list(buffer, look, names, &cursor, &mut state.hits, |row, mut pen| {
        let (_, watched, counts) = &rows[row];
        draw_row(&mut pen, scene, look, (watched, counts), &threads);
    });
    let Some((id, watched, _)) = rows.get(cursor.row) else {
        Pen::new(buffer, look, line(names, 1)).skip(2).write(&why_no_row(state, "No thread was seen."), look.dim());
        return;
    };
    state.at = At::Thread(*id);
    let mut pen = Pen::new(buffer, look, line(stack_area, 0));
    pen.skip(1).write(&called(scene, &watched.thread), look.bold()).skip(1);
    if let Some(last) = watched.last {
        pen.write(&doing(watched, scene), style(last.state, last.gil, look));
    }
    draw_stack(buffer, scene, look, below(stack_area, 1), watched.last.and_then(|last| last.stack));
}

/// Draws the threads below other things.
pub fn draw_below(buffer: &mut Buffer, scene: &Scene, state: &State, look: Look, area: Rect) {
    let threads = Rows::new(scene, state, Span::Window(state.window()));
    Pen::new(buffer, look, line(area, 0)).rule();
    heading(&mut Pen::new(buffer, look, line(area, 1)), look);
    let rows = below(area, 2);
    for (index, (_, watched, counts)) in threads.rows.iter().take(usize::from(rows.height)).enumerate() {
        let mut pen = Pen::new(buffer, look, line(rows, index as u16));
        draw_row(&mut pen, scene, look, (watched, counts), &threads);
    }
}

fn heading(pen: &mut Pen, look: Look) {
    pen.right_in("runs%", 6, look.bold()).right_in("holds%", 7, look.bold()).right_in("wants%", 7, look.bold());
    pen.skip(1).write("thread, and what it does", look.bold());
}

fn draw_row(pen: &mut Pen, scene: &Scene, look: Look, (watched, counts): (&Watched, &Counts), all: &Rows) {
    let looks = all.looks;
    let (runs, holds, wants) = (share(counts.ran, looks), share(counts.held, looks), share(counts.wanted, looks));
    let wants_style = if wants >= 0.2 { look.blocked() } else { look.dim() };
    pen.right_in(&percent(runs), 6, look.heat(runs)).right_in(&percent(holds), 7, look.heat(holds));
    pen.right_in(&percent(wants), 7, wants_style).skip(1);
    // What tells them apart comes last in their names.
    let for_name = all.names.clamp(pen.left() * 2 / 5, pen.left() * 3 / 5);
    pen.left_in(&called(scene, &watched.thread), for_name, look.bold()).skip(1);
    if let Some(last) = watched.last {
        let gil = if last.gil == GilState::Held { ", holds the GIL" } else { "" };
        pen.write(&doing(watched, scene), style(last.state, last.gil, look)).write(gil, look.busy());
    }
}

/// What it does, and for how long it has.
fn doing(watched: &Watched, scene: &Scene) -> String {
    let Some(last) = watched.last else { return String::new() };
    let text = last.state.text(last.gil);
    let seconds = scene.live.now().saturating_sub(watched.since).as_secs_f64();
    match last.state.waits() && seconds >= LONG {
        true => format!("{text} for {}", for_how_long(seconds)),
        false => text.into(),
    }
}

/// A stack, the innermost frame first.
pub fn draw_stack(buffer: &mut Buffer, scene: &Scene, look: Look, area: Rect, stack: Option<StackId>) {
    let live = scene.live;
    let mut next = stack;
    if stack.is_none() {
        Pen::new(buffer, look, area).skip(3).write("no Python frames", look.dim());
    }
    let mut frames = Vec::new();
    while let Some((frame, caller)) = next.and_then(|stack| live.tree().stack(stack)).filter(|_| frames.len() < DEEPEST)
    {
        frames.push(frame);
        next = caller;
    }
    for (index, frame) in frames.iter().take(usize::from(area.height)).enumerate() {
        let mut pen = Pen::new(buffer, look, line(area, index as u16));
        let known = live.tree().frames().get(frame.index());
        let Some(code) = known.and_then(|frame| live.tree().code(frame.code)) else { continue };
        let (file, at) = (live.keys().short(&code.file), known.and_then(|frame| frame.line));
        let place = at.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
        let style = if index == 0 { look.bold() } else { Style::new() };
        pen.skip(3).named((&code.function, &place), style);
    }
}
