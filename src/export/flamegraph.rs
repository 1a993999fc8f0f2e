//! A flame graph as SVG, drawn by inferno: outermost frame at the top, searchable, the same bytes for the same totals.

use std::io::{self, Write};

use inferno::flamegraph::{Direction, Options, TextTruncateDirection, from_lines};

use super::Folded;
use crate::printable::printable;

/// What is written above the graph.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// What was recorded.
    pub title: String,
    /// How, and how much.
    pub subtitle: String,
}

/// Draws `stacks`. No stack at all makes a picture that says so.
pub fn write(stacks: &Folded, heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::new();
    stacks.each_stack(|stack, samples| {
        lines.push(format!("{stack} {samples}"));
        Ok(())
    })?;
    if lines.is_empty() {
        return write_empty(heading, out);
    }
    from_lines(&mut options(heading), lines.iter().map(String::as_str), out)
}

fn options(heading: &Heading) -> Options<'static> {
    let mut options = Options::default();
    options.title = printable(&heading.title).into_owned();
    options.subtitle = Some(printable(&heading.subtitle).into_owned());
    options.count_name = "samples".into();
    options.direction = Direction::Inverted;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.deterministic = true;
    options
}

fn write_empty(heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    let (title, subtitle) = (xml(&heading.title), xml(&heading.subtitle));
    write!(
        out,
        r##"<?xml version="1.0" encoding="utf-8"?>
<svg version="1.1" width="1200" height="120" viewBox="0 0 1200 120" xmlns="http://www.w3.org/2000/svg">
<rect width="100%" height="100%" fill="#f8f8f8"/>
<g font-family="monospace" font-size="12" text-anchor="middle">
<text x="600" y="30" font-size="17">{title}</text>
<text x="600" y="54" fill="#707070">{subtitle}</text>
<text x="600" y="88">No samples: no Python stack was seen while recording.</text>
</g>
</svg>
"##
    )
}

fn xml(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
