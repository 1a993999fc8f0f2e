//! One function (or line, file, module) in depth: who calls it, what it calls, and its source with the heat of each line.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{Pen, below, line, list, width};
use super::state::{At, Opened, State};
use super::sums::{chosen, name, share};
use super::text::percent;
use super::{Look, Scene, WIDE};
use crate::aggregate::live::{Counts, Detail, KeyId, Level, Span};
use crate::sample::ProcessId;

/// Callers or callees that are shown without scrolling.
const SHOWN: usize = 5;

/// Cells that the title leaves to the name and the place, before it has anything else.
const LEAST_NAME: u16 = 36;

/// What there is to show of it.
struct Depth {
    level: Level,
    key: KeyId,
    detail: Detail,
    whole: f64,
    /// Who calls it, then what it calls; the heaviest first.
    calls: Vec<Call>,
    callers: usize,
}

#[derive(Clone, Copy)]
struct Call {
    key: Option<KeyId>,
    weight: u64,
}

impl Depth {
    fn new(scene: &Scene, state: &mut State, level: Level, key: KeyId) -> Depth {
        let (subtree, whole) = chosen(scene, state);
        let detail = subtree.detail(scene.live.keys(), level, key);
        let sorted = |calls: Vec<(Option<KeyId>, Counts)>| {
            let mut calls: Vec<Call> =
                calls.into_iter().map(|(key, counts)| Call { key, weight: state.mode.of(&counts) }).collect();
            calls.retain(|call| call.weight > 0);
            calls.sort_by_key(|call| (std::cmp::Reverse(call.weight), call.key));
            calls
        };
        let mut calls = sorted(detail.callers.clone());
        let callers = calls.len();
        calls.extend(sorted(detail.callees.iter().map(|(key, counts)| (Some(*key), *counts)).collect()));
        Depth { level, key, detail, whole, calls, callers }
    }

    fn total(&self, state: &State) -> f64 {
        state.mode.of(&self.detail.total) as f64
    }
}

/// Draws what was opened last.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let Some(&Opened { level, key, scroll, .. }) = state.opened.last() else { return };
    let depth = Depth::new(scene, state, level, key);
    title(buffer, scene, state, look, line(area, 0), &depth);
    let area = below(area, 1);
    let (lists, rest) = if area.width >= WIDE {
        let half = area.width * 2 / 5;
        (Rect { width: half, ..area }, Rect { x: area.x + half + 1, width: area.width - half - 1, ..area })
    } else {
        let lines = (depth.callers.clamp(1, SHOWN) + (depth.calls.len() - depth.callers).clamp(1, SHOWN) + 2) as u16;
        let lines = lines.min(area.height * 3 / 5);
        (Rect { height: lines, ..area }, below(area, lines))
    };
    calls(buffer, scene, state, look, lists, &depth);
    source(buffer, scene, state, look, rest, &depth, scroll);
}

/// Draws a function to the right of so many columns of others: no row of it can be chosen.
pub fn draw_right_of(
    buffer: &mut Buffer,
    scene: &Scene,
    state: &mut State,
    look: Look,
    (area, taken): (Rect, u16),
    (level, key): (Level, KeyId),
) {
    let area = Rect { x: area.x + taken + 1, width: area.width - taken - 1, ..area };
    let wall = Rect { x: area.x - 1, ..area };
    for index in 0..wall.height {
        Pen::new(buffer, look, line(wall, index)).write(look.wall(), look.dim());
    }
    let depth = Depth::new(scene, state, level, key);
    title(buffer, scene, state, look, line(area, 0), &depth);
    let (callers, callees) = depth.calls.split_at(depth.callers);
    let mut next = 1;
    for (heading, calls) in [("called by", callers), ("calls", callees)] {
        Pen::new(buffer, look, line(area, next)).skip(1).write(heading, look.bold());
        next += 1;
        if calls.is_empty() {
            Pen::new(buffer, look, line(area, next)).skip(8).write("nobody and nothing that was seen", look.dim());
            next += 1;
        }
        for call in calls.iter().take(SHOWN) {
            draw_call(&mut Pen::new(buffer, look, line(area, next)), scene, state, look, &depth, *call);
            next += 1;
        }
    }
    source(buffer, scene, state, look, below(area, next), &depth, 0);
}

fn title(buffer: &mut Buffer, scene: &Scene, state: &State, look: Look, area: Rect, depth: &Depth) {
    let (function, place) = name(scene, depth.level, depth.key);
    let (own, total) = (state.mode.of(&depth.detail.own), state.mode.of(&depth.detail.total));
    let when = if state.span() == Span::All { "all time" } else { "window" };
    let mut pen = Pen::new(buffer, look, area);
    let (own, total) = (share(own, depth.whole) * 100.0, share(total, depth.whole) * 100.0);
    let shares = [
        format!(" self {own:.1} %, total {total:.1} % of {when} "),
        format!(" self {own:.1} %, total {total:.1} % "),
        format!(" total {total:.1} % "),
    ];
    // What it is tells more than how much it is, which the row has, too.
    let wanted = width(&function).saturating_add(width(&place)).saturating_add(2).min(LEAST_NAME);
    if let Some(shares) = shares.iter().find(|shares| width(shares) + wanted <= pen.left()) {
        pen.at_end(shares, look.dim());
    }
    pen.skip(1).named((&function, &place), look.bold());
}

fn calls(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect, depth: &Depth) {
    // Two headings are rows, too: before the callers, and between them and what is called.
    let callees = depth.calls.len() - depth.callers;
    let lines = usize::from(area.height).saturating_sub(2);
    let for_callers = depth.callers.max(1).min(lines.saturating_sub(callees.clamp(1, SHOWN)).max(1));
    let upper = Rect { height: (for_callers as u16 + 1).min(area.height), ..area };
    let lower = below(area, upper.height);
    let Some(opened) = state.opened.last_mut() else { return };
    opened.cursor.place(depth.calls.len(), usize::from(area.height), |row| row as u64);
    opened.cursor.chosen = None;
    let row = opened.cursor.row;
    for (heading, area, first, count) in
        [("called by", upper, 0, depth.callers), ("calls", lower, depth.callers, callees)]
    {
        let share_of = if count > 0 { "share of it" } else { "" };
        Pen::new(buffer, look, line(area, 0)).skip(1).write(heading, look.bold()).skip(1).write(share_of, look.dim());
        let rows = below(area, 1);
        if count == 0 {
            Pen::new(buffer, look, rows).skip(8).write("nobody and nothing that was seen", look.dim());
            continue;
        }
        let mut part = super::Cursor { row: usize::MAX, ..Default::default() };
        if (first..first + count).contains(&row) {
            part.row = row - first;
            part.top = (part.row + 1).saturating_sub(usize::from(rows.height));
        }
        part.rows = count;
        let mut hits = Vec::new();
        let drawn: &State = state;
        list(buffer, look, rows, &part, &mut hits, |index, mut pen| {
            draw_call(&mut pen, scene, drawn, look, depth, depth.calls[first + index]);
        });
        let moved = |(area, hit)| match hit {
            super::Hit::Row(index) => (area, super::Hit::Row(first + index)),
            other => (area, other),
        };
        state.hits.extend(hits.into_iter().map(moved));
    }
    state.at = match depth.calls.get(row).and_then(|call| call.key) {
        Some(key) => At::Key(depth.level, key),
        None => At::Nothing,
    };
}

fn draw_call(pen: &mut Pen, scene: &Scene, state: &State, look: Look, depth: &Depth, call: Call) {
    let share = share(call.weight, depth.total(state));
    pen.right_in(&percent(share), 7, look.heat(share)).skip(1);
    pen.left_in(&look.bar(share, 6), 6, look.busy()).skip(1);
    match call.key {
        Some(key) => {
            let (function, place) = name(scene, depth.level, key);
            let itself = if key == depth.key { "itself: " } else { "" };
            pen.write(itself, look.dim()).named((&function, &place), look.heat(share));
        }
        None => drop(pen.write("nobody: it is outermost", look.dim())),
    }
}

fn source(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect, depth: &Depth, scroll: isize) {
    let Some(key) = scene.live.keys().key(depth.level, depth.key).filter(|key| !key.path.is_empty()) else { return };
    let mode = state.mode;
    let lines = &depth.detail.lines;
    let hottest = lines.iter().max_by_key(|(line, (_, total))| (mode.of(total), std::cmp::Reverse(**line)));
    let hottest = hottest.map(|(line, _)| *line).or(key.line).unwrap_or(1);
    let mut heading = Pen::new(buffer, look, line(area, 0));
    heading.right_in("self%", 7, look.bold()).right_in("total%", 7, look.bold()).skip(7);
    heading.write("line", look.bold()).skip(1);
    heading.place(&key.path, heading.left());
    // One that is still there can read it.
    let there = || scene.live.there().first().map(|(_, thread)| thread.thread.process);
    let any = || scene.live.processes().keys().next().copied();
    let process = state.of.process.or_else(there).or_else(any).unwrap_or(ProcessId(0));
    state.wants_source = Some((process, key.path.clone()));
    let rows = below(area, 1);
    let text = scene.sources.get(&key.path).and_then(Option::as_ref);
    let heat = |line: u32| lines.get(&line).map(|(own, total)| (mode.of(own), mode.of(total))).unwrap_or_default();
    let first = hottest as isize - isize::from(rows.height as i16) / 2 + scroll;
    let last = text.map_or(u32::MAX, |text| text.len() as u32);
    let first = first.clamp(1, (last.saturating_sub(u32::from(rows.height)) as isize + 1).max(1)) as u32;
    let shown: Vec<u32> = match text {
        Some(_) => (first..=last).take(usize::from(rows.height)).collect(),
        None => lines.keys().copied().collect(),
    };
    for (index, number) in shown.into_iter().enumerate() {
        let (own, total) = heat(number);
        let (own, total) = (share(own, depth.whole), share(total, depth.whole));
        let mut pen = Pen::new(buffer, look, line(rows, index as u16));
        pen.right_in(&percent(own), 7, look.heat(own)).right_in(&percent(total), 7, look.heat(total));
        pen.skip(1).left_in(&look.bar(total, 4), 4, look.busy());
        pen.right_in(&number.to_string(), 6, look.dim()).skip(1);
        match text.and_then(|text| text.get(number as usize - 1)) {
            Some(text) => drop(pen.write(&text.replace('\t', "    "), look.heat(total.max(0.01)))),
            None => drop(pen.write("(the file cannot be read)", look.dim())),
        }
    }
}
