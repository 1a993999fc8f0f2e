//! The GIL, live: how much of the time it is held and wanted, by which threads, and which code makes others wait.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{Pen, below, line, list};
use super::state::{At, State, View};
use super::sums::{name, of_chosen, share, why_no_row};
use super::text::percent;
use super::{Look, Scene, threads};
use crate::aggregate::live::{Counts, GilCounts, Row, Span, Subtree, Tallied};
use crate::sample::ProcessId;

/// The process and the interpreter that a GIL is of.
type Gil = (ProcessId, i64);

/// GILs that are shown.
const SHOWN: usize = 4;

/// Draws it.
pub fn draw(buffer: &mut Buffer, scene: &Scene, state: &mut State, look: Look, area: Rect) {
    let tallied = scene.live.tallied(state.span());
    let is_of = |process: ProcessId| state.of.process.is_none_or(|of| of == process);
    let gils: BTreeMap<_, _> = tallied.gils.iter().filter(|((process, _), _)| is_of(*process)).collect();
    let mut next = 0;
    for ((process, owner), gil) in busiest(&gils) {
        let of = whose(scene, *process, *owner, gils.len());
        summary(&mut Pen::new(buffer, look, line(area, next)), &of, gil, of_chosen(scene), look);
        next += 1;
    }
    if gils.len() > SHOWN {
        let are_of_several =
            gils.keys().any(|(process, _)| Some(process) != gils.keys().next().map(|(first, _)| first));
        let how = if are_of_several { "; p shows one process alone" } else { "" };
        let more = format!("and {} more{how}", gils.len() - SHOWN);
        Pen::new(buffer, look, line(area, next)).skip(1).write(&more, look.dim());
        next += 1;
    }
    let has_gil = gils.values().any(|gil| gil.exists);
    let left = area.height.saturating_sub(next);
    let lines = (scene.live.there().len() as u16 + 2).clamp(4, (left / 2).max(4));
    let under = Rect { y: area.y + next, height: lines.min(left), ..area };
    threads::draw_below(buffer, scene, state, look, under);
    draw_blame(buffer, scene, state, look, below(area, next + lines), &tallied, has_gil);
}

/// Those that were seen held most often, as many as are shown, in their order: interpreters come and go.
fn busiest<'a>(gils: &BTreeMap<&'a Gil, &'a GilCounts>) -> BTreeMap<&'a Gil, &'a GilCounts> {
    let mut busiest: Vec<_> = gils.iter().map(|(of, gil)| (*of, *gil)).collect();
    busiest.sort_by_key(|(of, gil)| (std::cmp::Reverse(gil.held), *of));
    busiest.into_iter().take(SHOWN).collect()
}

fn whose(scene: &Scene, process: ProcessId, owner: i64, of: usize) -> String {
    let processes = scene.live.processes();
    match processes.get(&process).filter(|_| processes.len() > 1) {
        Some(process) => format!("pid {}: ", process.pid),
        None if of > 1 => format!("interpreter {owner}: "),
        None => String::new(),
    }
}

fn summary(pen: &mut Pen, of: &str, gil: &GilCounts, chosen: &str, look: Look) {
    pen.skip(1).write(of, look.bold());
    if !gil.exists {
        pen.write("no GIL: free-threaded; threads wait for locks, and while the world is stopped", look.dim());
        return;
    }
    let (dot, looks) = (look.dot(), gil.moments as f64);
    let held = share(gil.held, looks);
    pen.write(&format!("held {:.1} % ", held * 100.0), look.heat(held));
    pen.left_in(&look.bar(held, 10), 10, look.blocked());
    pen.write(&format!("{dot}{:.2} {chosen}threads wait", share(gil.waited, looks)), look.bold());
    if gil.handed_over > 0 {
        let share = share(gil.handed_over, gil.waited as f64) * 100.0;
        pen.write(&format!(", {share:.0} % at handover"), look.dim());
    }
    if let Some(switches) = gil.switches_per_second() {
        pen.write(&format!("{dot}{switches:.0} switches/s"), look.dim());
    }
    if gil.collecting > 0 {
        pen.write(&format!("{dot}collects garbage {:.1} %", share(gil.collecting, looks) * 100.0), look.dim());
    }
    if gil.unknown > 0 {
        pen.write(&format!("{dot}unknown {:.1} %", share(gil.unknown, looks) * 100.0), look.warning());
    }
}

/// Functions by how much others waited while they held the GIL; without one, by how much threads were held up in them.
fn draw_blame(
    buffer: &mut Buffer,
    scene: &Scene,
    state: &mut State,
    look: Look,
    area: Rect,
    tallied: &Tallied,
    has_gil: bool,
) {
    let (live, level) = (scene.live, state.level);
    let subtree = Subtree::new(live.tree(), &live.stacks(tallied, state.of));
    let mut rows = subtree.rows(live.keys(), level);
    // What is waited for, and how busy it is meanwhile.
    let of =
        |counts: &Counts| if has_gil { (counts.blamed, counts.held_by_any()) } else { (counts.blocked, counts.ran) };
    rows.retain(|row| if has_gil { row.total.blamed + row.total.held_by_any() > 0 } else { row.total.blocked > 0 });
    if state.filter.is_set() {
        rows.retain(|row| {
            let (function, place) = name(scene, level, row.key);
            state.filter.lets(&format!("{function} ({place})"))
        });
    }
    let weight = |row: &Row| {
        let ((own, busy), (total, all_busy)) = (of(&row.own), of(&row.total));
        (own, total, busy, all_busy)
    };
    rows.sort_by_key(|row| (std::cmp::Reverse(weight(row)), row.key));
    let list_area = below(area, 1);
    let cursor = &mut state.cursors[View::Gil as usize];
    cursor.place(rows.len(), usize::from(list_area.height), |row| u64::from(rows[row].key.0));
    let cursor = *cursor;
    let mut heading = Pen::new(buffer, look, line(area, 0));
    let when = if state.span() == Span::All { "all time" } else { "window" };
    let (titles, what, nobody) = match has_gil {
        true => {
            (["blame%", "total%", "holds%", "total%"], "function others waited for", "Nobody was seen holding the GIL.")
        }
        false => (
            ["locks%", "total%", "runs%", "total%"],
            "function that waits for locks",
            "Nobody was seen waiting for a lock.",
        ),
    };
    for title in titles {
        heading.right_in(title, 7, look.bold());
    }
    heading.skip(1).write(what, look.bold()).write(&format!("  in the {when}"), look.dim());
    if rows.is_empty() {
        Pen::new(buffer, look, line(list_area, 0)).skip(2).write(&why_no_row(state, nobody), look.dim());
        return;
    }
    let (waited, looks) = (of(&subtree.total()).0 as f64, tallied.slots() as f64);
    list(buffer, look, list_area, &cursor, &mut state.hits, |row, mut pen| {
        let row = &rows[row];
        let ((own, busy), (total, all_busy)) = (of(&row.own), of(&row.total));
        let (own, busy) = (share(own, waited), share(busy, looks));
        pen.right_in(&percent(own), 7, look.heat(own));
        pen.right_in(&percent(share(total, waited)), 7, look.dim());
        pen.right_in(&percent(busy), 7, look.heat(busy));
        pen.right_in(&percent(share(all_busy, looks)), 7, look.dim());
        let (function, place) = name(scene, level, row.key);
        pen.skip(1).named((&function, &place), look.heat(own.max(0.01)));
    });
    state.at = rows.get(cursor.row).map_or(At::Nothing, |row| At::Key(level, row.key));
}
