//! Writes text into a picture, cut to where it fits.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::Look;
use super::state::{Cursor, Hit};

/// Writes on one line, from left to right.
pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    look: Look,
    x: u16,
    y: u16,
    end: u16,
}

impl Pen<'_> {
    /// On the first line of an area.
    pub fn new(buffer: &mut Buffer, look: Look, area: Rect) -> Pen<'_> {
        let area = area.intersection(buffer.area);
        let end = if area.height == 0 { area.x } else { area.right() };
        Pen { buffer, look, x: area.x, y: area.y, end }
    }

    /// How many cells are left.
    pub fn left(&self) -> u16 {
        self.end - self.x
    }

    /// Where it is.
    pub fn x(&self) -> u16 {
        self.x
    }

    /// Writes a text.
    pub fn write(&mut self, text: &str, style: Style) -> &mut Self {
        let text = self.look.text(text);
        if self.left() > 0 {
            (self.x, _) = self.buffer.set_stringn(self.x, self.y, text, usize::from(self.left()), style);
        }
        self
    }

    /// Writes a text into so many cells, from their left.
    pub fn left_in(&mut self, text: &str, cells: u16, style: Style) -> &mut Self {
        let cells = cells.min(self.left());
        let text = self.look.text(text);
        if cells > 0 {
            self.buffer.set_stringn(self.x, self.y, text, usize::from(cells), style);
        }
        self.x += cells;
        self
    }

    /// Writes a text into so many cells, to their right.
    pub fn right_in(&mut self, text: &str, cells: u16, style: Style) -> &mut Self {
        let text = self.look.text(text).into_owned();
        let gap = cells.saturating_sub(width(&text));
        self.skip(gap.min(cells)).left_in(&text, cells - gap.min(cells), style)
    }

    /// Writes a text at the right end, if there is room.
    pub fn at_end(&mut self, text: &str, style: Style) {
        let text = self.look.text(text).into_owned();
        let width = width(&text);
        if width < self.left() {
            self.buffer.set_stringn(self.end - width, self.y, text, usize::from(width), style);
            self.end -= width;
        }
    }

    /// Draws a line to the right end.
    pub fn rule(&mut self) {
        let rule = self.look.rule().repeat(usize::from(self.left()));
        self.write(&rule, self.look.dim());
    }

    /// Leaves cells free.
    pub fn skip(&mut self, cells: u16) -> &mut Self {
        self.x = self.x.saturating_add(cells).min(self.end);
        self
    }
}

/// How many cells a text takes.
pub fn width(text: &str) -> u16 {
    Span::raw(text).width().try_into().unwrap_or(u16::MAX)
}

/// Line `index` of an area.
pub fn line(area: Rect, index: u16) -> Rect {
    let line = Rect { y: area.y.saturating_add(index), height: 1, ..area };
    line.intersection(area)
}

/// An area without its first lines.
pub fn below(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect { y: area.y + lines, height: area.height - lines, ..area }
}

/// Draws the rows of a list that are visible. The one where one is is reversed.
pub fn list(
    buffer: &mut Buffer,
    look: Look,
    area: Rect,
    cursor: &Cursor,
    hits: &mut Vec<(Rect, Hit)>,
    mut draw: impl FnMut(usize, Pen),
) {
    for (index, row) in (cursor.top..cursor.rows).take(usize::from(area.height)).enumerate() {
        let at = line(area, index as u16);
        draw(row, Pen::new(buffer, look, at));
        hits.push((at, Hit::Row(row)));
        if row == cursor.row {
            buffer.set_style(at, look.selected());
        }
    }
}
