//! Writes text into a picture, cut to where it fits. What is cut off is marked.

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
    begin: u16,
    x: u16,
    y: u16,
    end: u16,
}

impl Pen<'_> {
    /// On the first line of an area.
    pub fn new(buffer: &mut Buffer, look: Look, area: Rect) -> Pen<'_> {
        let area = area.intersection(buffer.area);
        let end = if area.height == 0 { area.x } else { area.right() };
        Pen { buffer, look, begin: area.x, x: area.x, y: area.y, end }
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
        self.x = self.cut(text, self.left(), style);
        self
    }

    /// Writes a text into so many cells, from their left.
    pub fn left_in(&mut self, text: &str, cells: u16, style: Style) -> &mut Self {
        let cells = cells.min(self.left());
        self.cut(text, cells, style);
        self.x += cells;
        self
    }

    /// Writes a text into so many cells; where it is too long, its beginning and a mark. Returns where it ends.
    fn cut(&mut self, text: &str, cells: u16, style: Style) -> u16 {
        let text = self.look.text(text);
        let is_cut = width(&text) > cells && !text.trim().is_empty();
        let fits = cells - u16::from(is_cut).min(cells);
        let (mut x, _) = self.buffer.set_stringn(self.x, self.y, &text, usize::from(fits), style);
        if is_cut && cells > 0 {
            (x, _) = self.buffer.set_stringn(x, self.y, self.look.ellipsis(), 1, style);
        } else if is_cut && self.x > self.begin && self.x == self.end {
            // What was written last filled the line.
            self.buffer.set_stringn(self.x - 1, self.y, self.look.ellipsis(), 1, style);
        }
        x
    }

    /// Writes what something is called, and its place: of a name the beginning tells most, of a place the end.
    pub fn named(&mut self, (name, place): (&str, &str), style: Style) -> &mut Self {
        let (name, place) = (self.look.text(name).into_owned(), self.look.text(place).into_owned());
        let least = width(base(&place)).min(for_place(self.left()));
        let for_name = match width(&name).saturating_add(1).saturating_add(width(&place)) <= self.left() {
            true => width(&name),
            false => width(&name).min(self.left().saturating_sub(1 + least)),
        };
        self.left_in(&name, for_name, style).skip(1);
        if !place.is_empty() {
            self.place(&place, self.left());
        }
        self
    }

    /// Writes a place into so many cells.
    pub fn place(&mut self, place: &str, cells: u16) -> &mut Self {
        let cells = cells.min(self.left());
        let place = tail(&self.look.text(place), cells, self.look.ellipsis());
        self.left_in(&place, cells, self.look.file())
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

/// How many of the cells that are left a place gets where name and place are too long.
pub fn for_place(left: u16) -> u16 {
    (left.saturating_sub(2) * 9 / 20).min(36)
}

/// The file's own name, and the line.
fn base(place: &str) -> &str {
    place.rsplit_once('/').map_or(place, |(_, base)| base)
}

/// The end of a place, in so many cells: from a folder on, where that fits; the file's own name as long as it fits.
fn tail(place: &str, cells: u16, ellipsis: &str) -> String {
    if width(place) <= cells {
        return place.into();
    }
    let rest = suffix(place, cells.saturating_sub(1));
    match rest.split_once('/') {
        Some((_, below)) => format!("{ellipsis}/{below}"),
        None if width(base(place)) <= cells => base(place).into(),
        None => format!("{ellipsis}{rest}"),
    }
}

/// The last characters of a text that fit into so many cells.
fn suffix(text: &str, cells: u16) -> &str {
    let mut left = cells;
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        match left.checked_sub(width(c.encode_utf8(&mut [0; 4]))) {
            Some(rest) => (left, from) = (rest, at),
            None => break,
        }
    }
    &text[from..]
}

/// A text as lines of at most so many cells, broken between words where there are any; all but the first begin further in.
pub fn wrapped(text: &str, cells: u16, look: Look) -> Vec<String> {
    /// In less, lines are cut.
    const LEAST: u16 = 20;
    const FURTHER_IN: &str = "      ";
    let text = look.text(text);
    let (mut rest, mut lines) = (&*text, Vec::new());
    let mut line = String::new();
    let cells = if cells >= LEAST { cells } else { u16::MAX };
    loop {
        // Only as much is measured as fits: the rest may be megabytes.
        let most = prefix(rest, cells - width(&line));
        if most.len() == rest.len() {
            break;
        }
        let begins_at = rest.len() - rest.trim_start().len();
        let at = match rest[most.len()..].starts_with(' ') {
            true => most.len(),
            false => most.rfind(' ').filter(|at| *at > begins_at).unwrap_or(most.len()),
        };
        line.push_str(&rest[..at]);
        lines.push(std::mem::replace(&mut line, FURTHER_IN.into()));
        rest = rest[at..].trim_start();
    }
    line.push_str(rest);
    lines.push(line);
    lines
}

/// The first characters of a text that fit into so many cells.
fn prefix(text: &str, cells: u16) -> &str {
    let mut left = cells;
    for (at, c) in text.char_indices() {
        match left.checked_sub(width(c.encode_utf8(&mut [0; 4]))) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

/// The last characters of a text that fit into so many cells, marked where there are more.
pub fn ending(text: &str, cells: u16, look: Look) -> String {
    let text = look.text(text);
    match width(&text) <= cells {
        true => text.into_owned(),
        false => format!("{}{}", look.ellipsis(), suffix(&text, cells.saturating_sub(1))),
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

#[cfg(test)]
mod tests {
    use super::super::{Charset, Paint};
    use super::*;

    const UNICODE: Look = Look { paint: Paint::Plain, charset: Charset::Unicode };
    const ASCII: Look = Look { paint: Paint::Plain, charset: Charset::Ascii };

    /// What is drawn on a line of so many cells.
    fn drawn(cells: u16, look: Look, draw: impl for<'a, 'b> Fn(&'a mut Pen<'b>) -> &'a mut Pen<'b>) -> String {
        let area = Rect { x: 0, y: 0, width: cells, height: 1 };
        let mut buffer = Buffer::empty(area);
        let _ = draw(&mut Pen::new(&mut buffer, look, area));
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().into()
    }

    #[test]
    fn what_is_cut_off_is_marked() {
        let style = Style::new();
        assert_eq!(drawn(8, UNICODE, |pen| pen.write("12345678", style)), "12345678");
        assert_eq!(drawn(8, UNICODE, |pen| pen.write("123456789", style)), "1234567…");
        assert_eq!(drawn(8, ASCII, |pen| pen.write("123456789", style)), "1234567~");
        assert_eq!(drawn(8, UNICODE, |pen| pen.left_in("12345", 4, style).write("x", style)), "123…x");
        assert_eq!(drawn(4, UNICODE, |pen| pen.write("1234", style).write("5", style)), "123…");
        assert_eq!(drawn(4, UNICODE, |pen| pen.write("1234", style).write(" ", style)), "1234");
        assert_eq!(drawn(4, UNICODE, |pen| pen.write("日本語", style)), "日 …", "of two cells");
    }

    #[test]
    fn of_a_place_the_end_is_kept() {
        let place = |place: &str, cells| tail(place, cells, "…");
        assert_eq!(place("json/encoder.py:205", 19), "json/encoder.py:205");
        assert_eq!(place("json/encoder.py:205", 17), "…/encoder.py:205");
        assert_eq!(place("json/encoder.py:205", 14), "encoder.py:205");
        assert_eq!(place("threading.py:1025", 15), "…eading.py:1025");
        assert_eq!((place("a/b.py:1", 1), place("a/b.py:1", 0)), ("…".into(), "…".into()));
    }

    #[test]
    fn a_long_line_goes_on_below() {
        let wrapped = |text: &str, cells| wrapped(text, cells, UNICODE);
        assert_eq!(wrapped("short", 20), ["short"]);
        assert_eq!(
            wrapped("Thread \"x\" (OS thread 5): waits for a lock", 24),
            ["Thread \"x\" (OS thread", "      5): waits for a", "      lock"]
        );
        assert_eq!(wrapped(&"x".repeat(30), 20), ["x".repeat(20), format!("      {}", "x".repeat(10))]);
        assert_eq!(wrapped("  a word that is long", 3), ["  a word that is long"], "there is no room for words");
    }

    #[test]
    fn a_line_of_a_megabyte_is_wrapped_in_one_go() {
        // Measured anew for each line, it would take half an hour.
        let lines = wrapped(&"x = 1; ".repeat(150_000), 100, UNICODE);
        assert_eq!(lines.iter().map(|line| line.matches(';').count()).sum::<usize>(), 150_000);
        assert!(lines.iter().all(|line| width(line) <= 100));
    }

    #[test]
    fn a_name_leaves_room_for_the_file_and_line() {
        let named = |cells| drawn(cells, UNICODE, |pen| pen.named(("f.<locals>.inner", "pkg/x.py:1"), Style::new()));
        assert_eq!(named(40), "f.<locals>.inner pkg/x.py:1");
        assert_eq!(named(25), "f.<locals>.inner …/x.py:1");
        assert_eq!(named(20), "f.<locals>.i… x.py:1");
    }
}
