//! The lines at the bottom: what the looking costs and what was lost; and a message, what is being typed, or the main keys.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::pen::{Pen, ending, line, width, wrapped};
use super::state::{Filter, FilterKind, State, Typing, View};
use super::text::clock;
use super::{Look, Scene, WIDE};
use crate::sample::{Remark, Tally};

/// Draws them.
pub fn draw(frame: &mut Frame, scene: &Scene, state: &State, look: Look, area: Rect) {
    let notice = state.notice.as_ref().filter(|_| state.typing.is_none());
    let notice = notice.map(|notice| wrapped(notice, area.width.saturating_sub(1), look)).unwrap_or_default();
    // One that is long takes the place of what the looking costs, too.
    if notice.len() < 2 {
        cost(&mut Pen::new(frame.buffer_mut(), look, line(area, 0)), scene, state, look);
    }
    let first = if notice.len() < 2 { 1 } else { 0 };
    for (index, text) in (first..2).zip(&notice) {
        Pen::new(frame.buffer_mut(), look, line(area, index)).skip(1).write(text.trim_start(), look.bold());
    }
    if !notice.is_empty() {
        return;
    }
    let at = line(area, 1);
    if let Some(Typing { typed, .. }) = &state.typing {
        let x = typing(&mut Pen::new(frame.buffer_mut(), look, at), typed, look);
        if at.height > 0 {
            frame.set_cursor_position(Position { x, y: at.y });
        }
        return;
    }
    keys(&mut Pen::new(frame.buffer_mut(), look, at), state, look);
}

fn cost(pen: &mut Pen, scene: &Scene, state: &State, look: Look) {
    let (_, tally) = scene.live.account();
    let cost = scene.live.cost(state.window());
    let dot = look.dot();
    let rate = |rate: f64| if rate >= 99.95 { format!("{rate:.0}") } else { format!("{rate:.1}") };
    let each = of_each(scene);
    // Where there is little room, errors tell more than that this is of each, too.
    let stopped_each = if pen.left() >= WIDE { each } else { "" };
    let text = format!("{} Hz{each}, {} got", rate(scene.rate), rate(cost.rate));
    let is_slow = cost.rate < 0.9 * scene.rate * cost.processes;
    pen.skip(1).write(&text, if is_slow { look.warning() } else { look.dim() });
    pen.write(&format!("{dot}own CPU {:.1} %", cost.own_cpu * 100.0), look.dim());
    pen.write(&format!("{dot}stopped {:.2} %{stopped_each}", cost.stopped * 100.0), look.dim());
    match losses(scene, &tally) {
        losses if losses.is_empty() => pen.write(&format!("{dot}0 errors"), look.dim()),
        losses => pen.write(&format!("{dot}{losses}"), look.warning()),
    };
    if scene.live.remarks().contains(&Remark::CannotPause) {
        pen.write(&format!("{dot}cannot stop threads: stacks may be mixed"), look.warning());
    }
    pen.at_end(&format!("{} ", clock(scene.live.elapsed())), look.dim());
}

/// What is said of each process, where there are several.
pub fn of_each(scene: &Scene) -> &'static str {
    if scene.live.processes().len() > 1 { " of each" } else { "" }
}

/// What was lost, by reason.
pub fn losses(scene: &Scene, tally: &Tally) -> String {
    let all = [
        (tally.torn, "changed"),
        (tally.unmapped, "unmapped"),
        (tally.invalid, "invalid"),
        (tally.failed, "failed"),
        (tally.dropped, "dropped"),
        (scene.live.not_kept(), "not kept"),
    ];
    let there = all.iter().filter(|(count, _)| *count > 0);
    let reasons = there.map(|(count, reason)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ");
    match tally.errors() {
        0 => reasons,
        1 => format!("1 error: {reasons}"),
        errors => format!("{errors} errors: {reasons}"),
    }
}

/// Returns where the next character goes.
fn typing(pen: &mut Pen, typed: &Filter, look: Look) -> u16 {
    let what = match typed.kind {
        FilterKind::Text => " filter: ",
        FilterKind::Regex => " regex: ",
    };
    pen.write(what, look.bold());
    let error = typed.error().map(|error| format!("  not kept: {} ", error.replace('\n', " ")));
    // What is wrong is told however much was typed.
    let for_error = error.as_ref().map_or(1, |error| width(error).min(pen.left() / 2));
    pen.write(&ending(&typed.text, pen.left() - for_error.min(pen.left()), look), look.bold());
    let x = pen.x();
    match error {
        Some(error) => {
            pen.skip(pen.left().saturating_sub(width(&error))).write(&error, look.warning());
        }
        None => pen.at_end(" Enter keeps, Esc leaves, Tab: text or regex ", look.dim()),
    }
    x
}

fn keys(pen: &mut Pen, state: &State, look: Look) {
    let own: &[(&str, &str)] = match (state.opened.is_empty(), state.view) {
        (false, _) => &[("Enter", "open"), ("Esc", "back"), ("PgDn", "source"), ("a", "all time")],
        (_, View::Functions) => &[("Enter", "open"), ("<>", "sort"), ("/", "filter"), ("l", "line"), ("m", "mode")],
        (_, View::Tree) => &[("Left Right", "fold"), ("e", "hottest"), ("Enter", "open"), ("a", "all time")],
        (_, View::Threads) => &[("Enter", "only this one"), ("m", "mode")],
        (_, View::Gil) => &[("Enter", "open"), ("a", "all time")],
        (_, View::Moment) => &[("d", "dump again")],
        (_, View::Output) => &[("Up Down", "scroll")],
    };
    let always = [("?", "help"), ("q", "quit")];
    let too = [("s", "save"), ("Space", "freeze"), ("w", "window"), ("r", "reset"), ("Tab", "next view")];
    for (key, what) in always.into_iter().chain(own.iter().copied()).chain(too) {
        if usize::from(pen.left()) > key.len() + what.len() + 2 {
            pen.skip(1).write(key, look.bold()).write(&format!(" {what} "), look.dim());
        }
    }
}
