//! The table of functions; where there is room, the one where one is in depth beside it, and the threads below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::columns::{Column, Function};
use super::pen::{Pen, below, for_place, line, list};
use super::state::{At, Hit, State, View};
use super::sums::{functions, name, why_no_row, why_nothing};
use super::{HIGH, Look, Scene, WIDE, opened, threads};

/// Draws them.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let functions = functions(scene, state);
    let (mut table, mut under) = (area, Rect::default());
    if area.width >= WIDE {
        table.width = area.width * 3 / 5;
    }
    if area.height + 7 >= HIGH {
        let number = scene.live.there().len() as u16;
        let lines = (number + 2).max(4).min(area.height / 4);
        table.height -= lines;
        under = Rect { y: table.bottom(), height: lines, ..table };
    }
    draw_table(buffer, scene, state, look, table, &functions);
    if !under.is_empty() {
        threads::draw_below(buffer, scene, state, look, under);
    }
    if let (At::Key(level, key), true) = (state.at, area.width >= WIDE) {
        opened::draw_right_of(buffer, scene, state, look, (area, table.width), (level, key));
    }
}

fn draw_table(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect, functions: &[Function]) {
    let (names, level) = (below(area, 1), state.level);
    let cursor = &mut state.cursors[View::Functions as usize];
    cursor.place(functions.len(), usize::from(names.height), |row| u64::from(functions[row].key.0));
    let cursor = *cursor;
    headings(buffer, state, look, line(area, 0));
    if functions.is_empty() {
        let what = why_no_row(state, why_nothing(scene, state.mode.name(), "m changes the mode"));
        Pen::new(buffer, look, line(names, 1)).skip(2).write(&what, look.dim());
        return;
    }
    list(buffer, look, names, &cursor, &mut state.hits, |row, mut pen| {
        let function = &functions[row];
        for column in Column::ALL {
            let style = match column {
                Column::Own => look.heat(function.own),
                Column::Total => look.heat(function.total),
                Column::Gil => look.heat(function.gil),
                Column::Trend if function.trend > 0.0 => look.warning(),
                Column::Trend => look.busy(),
                _ => look.dim(),
            };
            match column.width() {
                0 => {}
                cells => drop(pen.right_in(&column.text(function, look), cells, style)),
            }
        }
        let (function_name, place) = name(scene, level, function.key);
        let (for_name, of_place) = shares(pen.left());
        pen.skip(1);
        if place.is_empty() {
            pen.write(&function_name, look.heat(function.own.max(0.01)));
        } else {
            pen.left_in(&function_name, for_name, look.heat(function.own.max(0.01))).skip(1);
            pen.place(&place, of_place);
        }
    });
    state.at = functions.get(cursor.row).map_or(At::Nothing, |function| At::Key(level, function.key));
}

/// How many cells names and places get of what is left.
fn shares(left: u16) -> (u16, u16) {
    let place = for_place(left);
    (left.saturating_sub(2) - place, place)
}

fn headings(buffer: &mut Buffer, state: &mut State, look: Look, area: Rect) {
    let mut pen = Pen::new(buffer, look, area);
    for column in Column::ALL {
        let is_sorted = column == state.sort;
        let mark = if is_sorted { look.sorted(!state.is_reversed) } else { "" };
        let style = if is_sorted { look.heading() } else { look.bold() };
        let title = match (column, state.level) {
            (Column::Name, level) => level.name(),
            (column, _) => column.name(),
        };
        let text = format!("{mark}{title}");
        let begin = pen.x();
        match column {
            Column::Name => {
                let cells = shares(pen.left()).0;
                pen.skip(1).left_in(&text, cells, style).skip(1);
            }
            Column::File => drop(pen.write(&text, style)),
            _ => drop(pen.right_in(&text, column.width(), style)),
        }
        let at = Rect { x: begin, width: pen.x() - begin, ..area };
        state.hits.push((at, Hit::Column(column)));
    }
}
