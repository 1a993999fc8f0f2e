//! Pages of text that scroll: the dump of one moment, and what the command has printed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::pen::{Pen, line, wrapped};
use super::state::{State, View};
use super::{Look, Scene};

/// Draws the dump of one moment.
pub fn dump(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    if scene.dump.is_empty() {
        Pen::new(buffer, look, line(area, 1)).skip(2).write("No moment was seen yet; d dumps one.", look.dim());
        return;
    }
    let style = |text: &str| match text {
        text if !text.starts_with(' ') => look.bold(),
        text if text.starts_with("  File ") => look.file(),
        _ => Style::new(),
    };
    let lines = |text: &String| {
        let style = style(text);
        wrapped(&text.replace('\t', "    "), area.width, look).into_iter().map(move |line| (line, style))
    };
    let lines: Vec<(String, Style)> = scene.dump.iter().flat_map(lines).collect();
    page(buffer, state, look, area, View::Moment, &lines);
}

/// Draws what the command has printed; the newest is at the end, which is shown until one scrolls.
pub fn output(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    if scene.output.is_empty() {
        Pen::new(buffer, look, line(area, 1)).skip(2).write("The command has printed nothing yet.", look.dim());
        return;
    }
    let cursor = &mut state.cursors[View::Output as usize];
    let was_at_end = cursor.top + cursor.fits >= cursor.rows;
    if was_at_end {
        cursor.top = scene.output.len().saturating_sub(usize::from(area.height));
        cursor.row = cursor.top;
    }
    let lines: Vec<_> = scene.output.iter().map(|text| (text.replace('\t', "    "), Style::new())).collect();
    page(buffer, state, look, area, View::Output, &lines);
}

fn page(buffer: &mut Buffer, state: &mut State, look: Look, area: Rect, view: View, lines: &[(String, Style)]) {
    let cursor = &mut state.cursors[view as usize];
    (cursor.rows, cursor.fits) = (lines.len(), usize::from(area.height));
    cursor.top = cursor.top.min(lines.len().saturating_sub(cursor.fits));
    for (index, (text, style)) in lines.iter().skip(cursor.top).take(usize::from(area.height)).enumerate() {
        Pen::new(buffer, look, line(area, index as u16)).write(text, *style);
    }
}
