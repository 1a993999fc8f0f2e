//! Every key, over what is shown.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Clear;

use super::Look;
use super::pen::{Pen, line};
use super::state::State;

/// The keys by what they are for. Two columns of these fit into 80 by 24.
const LEFT: [(&str, &str); 19] = [
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
const RIGHT: [(&str, &str); 19] = [
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

/// Draws them.
pub fn draw(frame: &mut Frame, _: &State, look: Look, area: Rect) {
    let (width, height) = (80.min(area.width), (LEFT.len() as u16 + 2).min(area.height));
    let at = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, at);
    let buffer = frame.buffer_mut();
    for index in [0, at.height.saturating_sub(1)] {
        Pen::new(buffer, look, line(at, index)).rule();
    }
    let half = width / 2;
    for (index, (left, right)) in LEFT.into_iter().zip(RIGHT).enumerate() {
        let row = line(at, index as u16 + 1);
        if row.y + 1 >= at.bottom() {
            break;
        }
        entry(&mut Pen::new(buffer, look, Rect { x: row.x + 1, width: half.saturating_sub(2), ..row }), look, left);
        entry(&mut Pen::new(buffer, look, Rect { x: row.x + half, width: width - half, ..row }), look, right);
    }
}

fn entry(pen: &mut Pen, look: Look, (key, what): (&str, &str)) {
    let is_title = key.is_empty() && !what.starts_with(' ');
    match is_title {
        true => drop(pen.write(what, look.heading())),
        false => drop(pen.left_in(key, 11, look.bold()).write(what.trim_start(), ratatui::style::Style::new())),
    }
}
