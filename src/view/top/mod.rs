//! The live view: a picture of a recording as it goes. A picture is a function of a [`Scene`] and of what the user has chosen
//! to see ([`State`]); terminals, threads and files are not known here.

mod columns;
mod footer;
mod functions;
mod gil;
mod header;
mod help;
mod look;
mod opened;
mod pages;
mod pen;
mod report;
mod state;
mod sums;
mod text;
mod threads;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

pub use columns::Column;
pub use look::{Charset, Look, Paint};
pub use report::{Report, SCHEMA};
pub use state::{Action, At, Cursor, Filter, FilterKind, Hit, Opened, State, Typing, View, Whole};

use crate::aggregate::live::Live;
use crate::target::cgroup::Throttling;

/// From so many columns on there is room for two things side by side.
const WIDE: u16 = 120;
/// From so many lines on there is room for threads below functions.
const HIGH: u16 = 40;

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What was seen.
    pub live: &'a Live,
    /// What a person would call the program.
    pub program: &'a str,
    /// Samples a second, as asked.
    pub rate: f64,
    /// For how long the process has run that is shown alone, or the first that is there.
    pub uptime: Option<Duration>,
    /// By which CPU limit it is throttled: lately, or in all the time that is shown.
    pub throttled: Option<Throttling>,
    /// That, and why, it is over.
    pub ended: Option<&'a str>,
    /// Source files that were read: their lines; `None` for those that cannot be.
    pub sources: &'a HashMap<Arc<str>, Option<Vec<String>>>,
    /// The dump that was last made.
    pub dump: &'a [String],
    /// What the command has printed last.
    pub output: &'a [String],
}

/// Draws a picture.
pub fn draw(frame: &mut Frame, scene: &Scene, state: &mut State, look: Look) {
    let area = frame.area();
    state.hits.clear();
    state.at = At::Nothing;
    state.wants_source = None;
    state.processes = scene.live.present().map(|(id, _)| id).collect();
    let [top, body, bottom] =
        Layout::vertical([Constraint::Length(5), Constraint::Fill(1), Constraint::Length(2)]).areas(area);
    header::draw(frame.buffer_mut(), scene, state, look, top);
    self::body(frame, scene, state, look, body);
    footer::draw(frame, scene, state, look, bottom);
    if state.help {
        help::draw(frame, state, look, area);
    }
}

fn body(frame: &mut Frame, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let buffer = frame.buffer_mut();
    if !state.opened.is_empty() {
        return opened::draw(buffer, scene, state, look, area);
    }
    match state.view {
        View::Functions => functions::draw(buffer, scene, state, look, area),
        View::Tree => tree::draw(buffer, scene, state, look, area),
        View::Threads => threads::draw(buffer, scene, state, look, area),
        View::Gil => gil::draw(buffer, scene, state, look, area),
        View::Moment => pages::dump(buffer, scene, state, look, area),
        View::Output => pages::output(buffer, scene, state, look, area),
    }
}
