//! The lines at the top: which process, how busy it and its GIL are and have been, what its threads do, which views there are.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{Pen, line, width};
use super::state::{Hit, State, View, Whole};
use super::sums::{of_chosen, share};
use super::text::clock;
use super::{Look, Scene};
use crate::aggregate::live::{Level, Span};
use crate::sample::{GilState, ThreadState};

/// Draws them.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    process(&mut Pen::new(buffer, look, line(area, 0)), scene, state, look);
    load(&mut Pen::new(buffer, look, line(area, 1)), scene, state, look);
    threads(&mut Pen::new(buffer, look, line(area, 2)), scene, state, look);
    views(buffer, scene, state, look, line(area, 3));
    Pen::new(buffer, look, line(area, 4)).rule();
}

fn process(pen: &mut Pen, scene: &Scene, state: &State, look: Look) {
    pen.skip(1);
    if let Some(why) = scene.ended {
        pen.write(&format!(" ENDED: {why} "), look.selected()).skip(1);
    }
    if state.is_frozen {
        pen.write(" FROZEN ", look.selected()).skip(1);
    }
    let dot = look.dot();
    pen.write(scene.program, look.bold());
    let present: Vec<_> = scene.live.present().collect();
    let has_ended = state.of.process.is_some_and(|id| present.iter().all(|(there, _)| *there != id));
    let shown = state.of.process.and_then(|id| scene.live.processes().get(&id));
    match (shown.or_else(|| present.first().map(|(_, first)| *first)), present.len()) {
        (Some(first), 2..) if shown.is_none() => {
            pen.write(&format!("{dot}{} processes{dot}Python {}", present.len(), first.python), look.dim());
        }
        (Some(process), _) => {
            let ended = if has_ended { ", which has ended" } else { "" };
            pen.write(&format!("{dot}pid {}{ended}{dot}Python {}", process.pid, process.python), look.dim());
        }
        (None, _) => {}
    }
    if let Some(uptime) = scene.uptime {
        pen.write(&format!("{dot}up {}", clock(uptime)), look.dim());
    }
    let when = match state.span() {
        Span::All => "all time".into(),
        _ => format!("last {} s", state.window().as_secs()),
    };
    let of = if state.whole == Whole::Time { ", % of time" } else { "" };
    pen.at_end(&format!("{} mode, {when}{of} ", state.mode.name()), look.bold());
}

fn load(pen: &mut Pen, scene: &Scene, state: &State, look: Look) {
    let live = scene.live;
    let half = pen.left() / 2;
    let cpu = live.cpu_minute(state.of.process);
    let last = cpu.last().copied().flatten();
    let now = last.map_or("    ?".into(), |cores| format!("{:5.1}", cores * 100.0));
    pen.skip(1).write("CPU ", look.bold());
    pen.write(&format!("{now} % "), look.heat(last.unwrap_or(0.0)));
    let most = cpu.iter().copied().flatten().fold(1.0, f64::max);
    let throttled = scene.throttled.map(|by| {
        let percent = format!("throttled {:.0} %", by.share() * 100.0);
        let whole = format!("{percent}, limit {} ", by.limit());
        // What is at the right is not to be moved away.
        if usize::from(half) >= whole.len() + 13 { whole } else { percent + " " }
    });
    let throttled = throttled.unwrap_or_default();
    pen.write(&throttled, look.warning());
    let cells = half.saturating_sub(16 + width(&throttled));
    let scaled: Vec<f64> = cpu.iter().map(|cores| cores.unwrap_or(0.0) / most).collect();
    pen.left_in(&look.sparkline(&scaled, usize::from(cells.min(60))), cells.min(60), look.busy());
    pen.skip(2);
    let recent = live.tallied(Span::Window(state.window()));
    let is_of = |process| state.of.process.is_none_or(|of| of == process);
    let gils = || recent.gils.iter().filter(|((process, _), _)| is_of(*process)).map(|(_, gil)| gil);
    if gils().next().is_some() && gils().all(|gil| !gil.exists) {
        pen.write("GIL ", look.bold()).write("none: free-threaded", look.dim());
        return;
    }
    let (held, moments) = gils().fold((0, 0), |(held, all), gil| (held + gil.held, all + gil.moments));
    let held = share(held, moments as f64);
    pen.write("GIL ", look.bold()).write(&format!("{:5.1} % ", held * 100.0), look.heat(held));
    let chosen = of_chosen(scene);
    let cells = pen.left().saturating_sub(12 + width(chosen)).min(60);
    pen.left_in(&look.sparkline(&live.gil_minute(state.of.process), usize::from(cells)), cells, look.blocked());
    let waited: u64 = gils().map(|gil| gil.waited).sum();
    let looks = match state.of.process {
        Some(process) => recent.moments.get(&process).map_or(0, |moments| moments.slots),
        None => recent.slots(),
    };
    let waiting = share(waited, looks as f64);
    pen.write(&format!("  {waiting:.1} {chosen}wait"), if waiting >= 0.5 { look.warning() } else { look.dim() });
}

/// Threads by what they were doing at the last look.
fn threads(pen: &mut Pen, scene: &Scene, state: &State, look: Look) {
    let mut there = scene.live.there();
    there.retain(|(_, thread)| state.of.process.is_none_or(|of| of == thread.thread.process));
    let mut states: BTreeMap<ThreadState, (usize, GilState)> = BTreeMap::new();
    for (_, thread) in &there {
        if let Some(last) = thread.last {
            states.entry(last.state).or_insert((0, last.gil)).0 += 1;
        }
    }
    let number = match there.len() {
        1 => "1 thread  ".into(),
        number => format!("{number} threads  "),
    };
    pen.skip(1).write(&number, look.bold());
    for (index, (state, (count, gil))) in states.into_iter().enumerate() {
        let between = if index > 0 { look.dot() } else { "" };
        let style = super::threads::style(state, gil, look);
        pen.write(between, look.dim()).write(&format!("{} {count}", state.text(gil)), style);
    }
}

fn views(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let mut pen = Pen::new(buffer, look, area);
    let last = if state.has_output { View::ALL.len() } else { View::ALL.len() - 1 };
    for (index, view) in View::ALL.into_iter().take(last).enumerate() {
        let text = format!(" {} {} ", index + 1, view.name());
        let style = if view == state.view { look.selected() } else { look.dim() };
        let at = Rect { x: pen.x(), width: width(&text).min(pen.left()), ..area };
        pen.write(&text, style);
        if at.width > 0 {
            state.hits.push((at, Hit::View(view)));
        }
    }
    pen.skip(1);
    if state.level != Level::Function {
        pen.write(&format!("by {} ", state.level.name()), look.bold());
    }
    // What is typed and can be is seen where it is typed.
    let is_typed = state.typing.as_ref().is_some_and(|typing| typing.typed.error().is_none());
    if !is_typed && state.filter.is_set() {
        pen.write(&format!("filter: {} ", state.filter.text), look.warning());
    }
    if let Some(thread) = state.of.thread {
        let name = super::threads::name(scene, thread);
        pen.write(&format!("only {name} "), look.warning());
    }
}
