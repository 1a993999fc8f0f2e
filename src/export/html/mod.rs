//! One HTML file that shows a recording: flame graph, timeline of threads and GIL, source with a heat map.
//!
//! The page is whole in itself. Its content security policy forbids it to load anything and to run anything but its own
//! script, which is named by its hash. The recording is data in it: JSON in which nothing can end the element that it
//! stands in. What the page does with it is in the JavaScript files of this folder; `data.rs` says what they get.

mod data;
mod json;
mod rows;

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::Labels;
use crate::printable::printable;
use crate::sample::Replay;

use data::Page;

/// Where the text of a source file comes from: `co_filename` to text, `None` where it cannot be had. Each file is asked for
/// once, and only if a function of it was seen.
pub type Sources<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// No source text: the page shows lines and counts alone.
pub fn without_sources(_file: &str) -> Option<String> {
    None
}

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// In this order they are one script.
const SCRIPTS: [&str; 7] = [
    include_str!("recording.js"),
    include_str!("tree.js"),
    include_str!("theme.js"),
    include_str!("flame.js"),
    include_str!("timeline.js"),
    include_str!("panels.js"),
    include_str!("main.js"),
];

/// Writes a recording as a page.
///
/// # Errors
///
/// What reading the recording and writing the page say.
pub fn write(recording: &dyn Replay, labels: &Labels, sources: &Sources<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_page(&Page::of(recording, labels, sources)?, out)
}

/// Writes two recordings as one page: how large a frame is in one of them, and by its colour how it differs in the other.
///
/// # Errors
///
/// What reading the recordings and writing the page say.
pub fn write_difference(
    before: (&dyn Replay, &Labels),
    after: (&dyn Replay, &Labels),
    sources: &Sources<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_page(&Page::of_two(before, after, sources)?, out)
}

fn write_page(page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let script = SCRIPTS.concat();
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        hash(&script),
        hash(STYLE)
    );
    for part in parts(PAGE) {
        match part {
            Part::Text(text) => out.write_all(text.as_bytes())?,
            Part::Blank("policy") => out.write_all(policy.as_bytes())?,
            Part::Blank("title") => out.write_all(text(page.title()).as_bytes())?,
            Part::Blank("style") => out.write_all(STYLE.as_bytes())?,
            Part::Blank("script") => out.write_all(script.as_bytes())?,
            Part::Blank("data") => json::write(page, out)?,
            Part::Blank(other) => unreachable!("page.html has a blank that nobody fills: {other}"),
        }
    }
    Ok(())
}

enum Part<'a> {
    Text(&'a str),
    Blank(&'a str),
}

/// The page's text and its blanks, which are `{{name}}`.
fn parts(page: &str) -> impl Iterator<Item = Part<'_>> {
    page.split("{{")
        .flat_map(|piece| match piece.split_once("}}") {
            Some((name, rest)) => [Some(Part::Blank(name)), Some(Part::Text(rest))],
            None => [Some(Part::Text(piece)), None],
        })
        .flatten()
}

/// As a content security policy names what it allows.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn text(of: &str) -> String {
    printable(of).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
