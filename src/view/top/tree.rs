//! The call tree, which unfolds.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{Pen, below, line, list};
use super::state::{At, State, View};
use super::sums::{chosen, name, share, why_no_row};
use super::text::percent;
use super::{Look, Scene, WIDE, opened};
use crate::aggregate::live::{Branch, Fold, Span};

/// Beyond so many cells a branch is not indented any further.
const DEEPEST: usize = 40;

/// Draws it.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let (subtree, whole) = chosen(scene, state);
    let (keys, level, mode) = (scene.live.keys(), state.level, state.mode);
    if let Some(from) = state.unfold {
        let hottest = subtree.hottest(keys, level, mode, from);
        if !hottest.is_empty() {
            state.open.get_or_insert_default().extend(hottest);
            state.unfold = None;
        }
    }
    let open = state.open.get_or_insert_default();
    let mut branches = subtree.branches(keys, level, mode, &|path| open.contains(&path));
    if state.filter.is_set() {
        let lets = |branch: &Branch| {
            let (function, place) = name(scene, level, branch.key);
            state.filter.lets(&format!("{function} ({place})"))
        };
        branches = with_callers(&branches, lets);
    }
    let (whole_area, mut area) = (area, area);
    if area.width >= WIDE {
        area.width = area.width * 3 / 5;
    }
    let rows = below(area, 1);
    let cursor = &mut state.cursors[View::Tree as usize];
    cursor.place(branches.len(), usize::from(rows.height), |row| branches[row].path);
    let cursor = *cursor;
    let when = match state.span() {
        Span::All => "of all the time",
        _ => "of the window",
    };
    let mut heading = Pen::new(buffer, look, line(area, 0));
    heading.right_in("total%", 7, look.bold()).right_in("self%", 7, look.bold());
    heading.skip(9).write("call, outermost first", look.bold()).write(&format!("  {when}"), look.dim());
    if branches.is_empty() {
        let why = why_no_row(state, "Nothing that counts was seen.");
        Pen::new(buffer, look, line(rows, 1)).skip(2).write(&why, look.dim());
        return;
    }
    list(buffer, look, rows, &cursor, &mut state.hits, |row, mut pen| {
        let branch = &branches[row];
        let (total, own) = (share(mode.of(&branch.total), whole), share(mode.of(&branch.own), whole));
        pen.right_in(&percent(total), 7, look.heat(total)).right_in(&percent(own), 7, look.heat(own));
        pen.skip(1).left_in(&look.bar(total, 7), 7, look.busy()).skip(1);
        pen.skip((2 * branch.depth).min(DEEPEST) as u16);
        let fold = match branch.fold {
            Fold::Leaf => "  ",
            Fold::Closed => look.fold(false),
            Fold::Open => look.fold(true),
        };
        let (function, place) = name(scene, level, branch.key);
        pen.write(fold, look.dim()).named((&function, &place), look.heat(total));
    });
    state.at = branches.get(cursor.row).map_or(At::Nothing, |branch| At::Branch(branch.key, branch.path));
    if let (At::Branch(key, _), true) = (state.at, whole_area.width >= WIDE) {
        opened::draw_right_of(buffer, scene, state, look, (whole_area, area.width), (level, key));
    }
}

/// The branches that a filter lets through, and their callers.
fn with_callers(branches: &[Branch], lets: impl Fn(&Branch) -> bool) -> Vec<Branch> {
    let mut kept = Vec::new();
    let mut depth = 0;
    for branch in branches.iter().rev() {
        if lets(branch) || branch.depth < depth {
            depth = branch.depth;
            kept.push(*branch);
        }
    }
    kept.reverse();
    kept
}
