//! How things look: colours that can be read on dark and on light, and characters that the terminal has.

use std::borrow::Cow;

use ratatui::style::{Color, Modifier, Style};

use crate::printable::printable;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Some of the terminal's own sixteen.
    Colours,
    /// Bold, dim and reversed only.
    Plain,
}

/// Which characters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// All.
    Unicode,
    /// Those of ASCII.
    Ascii,
}

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether there are colours.
    pub paint: Paint,
    /// Which characters there are.
    pub charset: Charset,
}

impl Look {
    fn coloured(self, colour: Color) -> Style {
        match self.paint {
            Paint::Colours => Style::new().fg(colour),
            Paint::Plain => Style::new(),
        }
    }

    /// Titles, and what is most important.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Where one is.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Headings of columns.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// What should be seen to.
    pub fn warning(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What runs.
    pub fn busy(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What waits for others.
    pub fn blocked(self) -> Style {
        self.coloured(Color::Magenta)
    }

    /// Names of files.
    pub fn file(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// By how much of the whole something is.
    pub fn heat(self, share: f64) -> Style {
        match share {
            0.2.. => self.warning(),
            0.05.. => self.bold(),
            0.005.. => Style::new(),
            _ => self.dim(),
        }
    }

    /// A text of ours, or from the target: harmless, and in characters that there are.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        let text = printable(text);
        match self.charset {
            Charset::Ascii if !text.is_ascii() => Cow::Owned(text.chars().map(in_ascii).collect()),
            _ => text,
        }
    }

    /// Between things on a line.
    pub fn dot(self) -> &'static str {
        match self.charset {
            Charset::Unicode => " · ",
            Charset::Ascii => " | ",
        }
    }

    /// Stands for what was cut off; one cell.
    pub fn ellipsis(self) -> &'static str {
        match self.charset {
            Charset::Unicode => "…",
            Charset::Ascii => "~",
        }
    }

    /// A share as a bar of so many cells.
    pub fn bar(self, share: f64, cells: usize) -> String {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let mut bar = String::new();
        match self.charset {
            Charset::Unicode => {
                let eighths = (share * cells as f64 * 8.0).round() as usize;
                bar.extend(std::iter::repeat_n('█', eighths / 8));
                bar.extend([' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'].get(eighths % 8).filter(|part| **part != ' '));
            }
            Charset::Ascii => bar.extend(std::iter::repeat_n('#', (share * cells as f64).round() as usize)),
        }
        let missing = cells.saturating_sub(bar.chars().count());
        bar.extend(std::iter::repeat_n(' ', missing));
        bar
    }

    /// Values of which the newest is last as a line of so many cells; 1 is full.
    pub fn sparkline(self, values: &[f64], cells: usize) -> String {
        let levels: [char; 9] = match self.charset {
            Charset::Unicode => [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Charset::Ascii => [' ', '.', ':', '-', '=', '+', '*', '#', '@'],
        };
        // Of what does not fit the peaks are shown: they are what one looks for.
        let each = values.len().div_ceil(cells.max(1)).max(1);
        let peaks = values.rchunks(each).take(cells).map(|chunk| chunk.iter().copied().fold(0.0, f64::max));
        let mut line: Vec<char> = peaks
            .map(|value| match value {
                value if value < 0.005 || !value.is_finite() => levels[0],
                value => levels[((value.min(1.0) * 8.0).round() as usize).max(1)],
            })
            .collect();
        line.resize(cells, ' ');
        line.into_iter().rev().collect()
    }

    /// What became of a share, in points; nothing where it is about what it was.
    pub fn trend(self, change: f64) -> String {
        let (up, down) = match self.charset {
            Charset::Unicode => ('▲', '▼'),
            Charset::Ascii => ('+', '-'),
        };
        match (change * 100.0).round() {
            points if points >= 1.0 => format!("{up}{points:.0}"),
            points if points <= -1.0 => format!("{down}{:.0}", -points),
            _ => String::new(),
        }
    }

    /// Before what can be unfolded, and what is unfolded.
    pub fn fold(self, is_open: bool) -> &'static str {
        match (self.charset, is_open) {
            (Charset::Unicode, false) => "▸ ",
            (Charset::Unicode, true) => "▾ ",
            (Charset::Ascii, false) => "+ ",
            (Charset::Ascii, true) => "- ",
        }
    }

    /// A line across.
    pub fn rule(self) -> &'static str {
        match self.charset {
            Charset::Unicode => "─",
            Charset::Ascii => "-",
        }
    }

    /// A line down.
    pub fn wall(self) -> &'static str {
        match self.charset {
            Charset::Unicode => "│",
            Charset::Ascii => "|",
        }
    }

    /// Where the rows are sorted, and how.
    pub fn sorted(self, is_descending: bool) -> &'static str {
        match (self.charset, is_descending) {
            (Charset::Unicode, true) => "↓",
            (Charset::Unicode, false) => "↑",
            (Charset::Ascii, true) => "v",
            (Charset::Ascii, false) => "^",
        }
    }
}

fn in_ascii(c: char) -> char {
    match c {
        '·' => '|',
        '─' => '-',
        c if c.is_ascii() => c,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Look = Look { paint: Paint::Colours, charset: Charset::Unicode };
    const ASCII: Look = Look { paint: Paint::Plain, charset: Charset::Ascii };

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(UNICODE.bar(0.5, 4), "██  ");
        assert_eq!(UNICODE.bar(0.28, 4), "█▏  ");
        assert_eq!(ASCII.bar(0.5, 4), "##  ");
        assert_eq!((UNICODE.bar(7.0, 3), UNICODE.bar(f64::NAN, 3)), ("███".into(), "   ".into()));
    }

    #[test]
    fn the_newest_value_is_at_the_right_and_peaks_are_kept() {
        assert_eq!(UNICODE.sparkline(&[0.0, 0.5, 1.0], 5), "   ▄█");
        assert_eq!(UNICODE.sparkline(&[1.0, 0.1, 0.1, 0.0], 2), "█▁");
        assert_eq!(ASCII.sparkline(&[0.01], 3), "  .");
    }

    #[test]
    fn a_change_of_less_than_a_point_is_none() {
        assert_eq!((UNICODE.trend(0.123), UNICODE.trend(-0.02)), ("▲12".into(), "▼2".into()));
        assert_eq!((UNICODE.trend(0.004), ASCII.trend(0.5)), (String::new(), "+50".into()));
    }

    #[test]
    fn text_of_a_target_is_harmless_and_in_the_characters_there_are() {
        assert_eq!(UNICODE.text("a\x1b[2Jλ"), "a\\x1b[2Jλ");
        assert_eq!(ASCII.text("aλ·b"), "a?|b");
    }

    #[test]
    fn without_colours_there_is_none() {
        for style in [ASCII.warning(), ASCII.busy(), ASCII.blocked(), ASCII.file(), ASCII.heat(1.0)] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
