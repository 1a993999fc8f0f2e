//! Every key, over what is shown.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Clear;

use super::Look;
use super::pen::{Pen, line};
use super::state::State;

/// A key, and what it does; without a key a title, or what goes on from above.
type Entry = (&'static str, &'static str);

/// Cells that both columns take.
const WIDTH: u16 = 80;

/// The keys by what they are for. Two columns of these fit into 80 by 24.
const LEFT: [Entry; 19] = [
    ("", "Views"),
    ("1-6 Tab", "functions, tree, threads,"),
    ("", "  GIL, dump, command output"),
    ("Enter", "callers, callees, source;"),
    ("", "  of threads: only this one"),
    ("Esc", "back; then no filters"),
    ("d", "dump this moment"),
    ("Right Left", "unfold, fold (tree)"),
    ("e", "unfold the hottest (tree)"),
    ("Up Dn j k", "a row; g G first, last"),
    ("PgUp PgDn", "a page; scroll the source"),
    ("", "Filters"),
    ("/  ~", "text; regular expression"),
    ("t", "one thread; all again"),
    ("p", "one process; next; all"),
    ("", "Mouse"),
    ("click", "a row, again to open it;"),
    ("", "  a view; a column to sort"),
    ("wheel", "scroll; Shift to select"),
];
const RIGHT: [Entry; 19] = [
    ("", "What counts"),
    ("m", "cpu: threads that run;"),
    ("", "  wall: all; gil: holders"),
    ("w W + -", "window longer, shorter"),
    ("a", "window, or all the time"),
    ("l", "by function line file module"),
    ("%", "of samples, or of the time"),
    ("< >", "sort by another column"),
    ("R", "sort the other way round"),
    ("", "Columns"),
    ("self total", "innermost; on the stack"),
    ("... s", "thread seconds, all time"),
    ("GIL%", "of time, innermost, holds it"),
    ("+/-", "points, to the last window"),
    ("", "Doing"),
    ("Space r", "freeze and go on; reset"),
    ("s", "save graph, stacks, recording"),
    ("q Ctrl-C", "quit; Ctrl-Z, fg; Ctrl-L"),
    ("? h F1", "this; any key ends it"),
];

/// Draws them: in two columns where these fit beside each other, and scrolled where they do not fit below.
pub fn draw(frame: &mut Frame, state: &mut State, look: Look, area: Rect) {
    let columns: Vec<Vec<Entry>> = match area.width >= WIDTH {
        true => vec![LEFT.into(), RIGHT.into()],
        false => vec![LEFT.into_iter().chain(RIGHT).collect()],
    };
    let rows = columns[0].len();
    let (width, height) = (WIDTH.min(area.width), (rows as u16 + 2).min(area.height));
    let at = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let fits = usize::from(height.saturating_sub(2));
    let last = rows - fits.min(rows);
    let top = state.help_top.min(last);
    (state.help_top, state.help_last) = (top, last);
    frame.render_widget(Clear, at);
    let buffer = frame.buffer_mut();
    for index in [0, height.saturating_sub(1)] {
        Pen::new(buffer, look, line(at, index)).rule();
    }
    if last > 0 {
        let more = format!(" {}-{} of {rows}: Up, Down; other keys end it ", top + 1, top + fits);
        Pen::new(buffer, look, line(at, height.saturating_sub(1))).skip(1).write(&more, look.bold());
    }
    let cells = width / columns.len() as u16;
    for (column, entries) in (0..).zip(&columns) {
        let x = at.x + if column == 0 { 1 } else { cells };
        let room = if column == 0 { cells.saturating_sub(2) } else { width - cells };
        for (index, of) in (1..).zip(entries.iter().skip(top).take(fits)) {
            entry(&mut Pen::new(buffer, look, Rect { x, width: room, ..line(at, index) }), look, *of);
        }
    }
}

fn entry(pen: &mut Pen, look: Look, (key, what): Entry) {
    let is_title = key.is_empty() && !what.starts_with(' ');
    match is_title {
        true => drop(pen.write(what, look.heading())),
        false => drop(pen.left_in(key, 11, look.bold()).write(what.trim_start(), ratatui::style::Style::new())),
    }
}
