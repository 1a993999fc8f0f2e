//! What is added up for a picture: the window, what it is compared with, and the totals.

use std::sync::Arc;
use std::time::Duration;

use super::Scene;
use super::columns::{Function, name_and_place};
use super::state::{State, Totals, Whole};
use crate::aggregate::LeftOut;
use crate::aggregate::live::{KeyId, Level, Live, Of, Row, Span, Subtree, Tallied};

/// Some of the time, added up.
pub struct Sum {
    /// What was seen.
    pub tallied: Tallied,
    /// Its stacks.
    pub subtree: Subtree,
}

impl Sum {
    /// The threads wanted, in some of the time.
    pub fn new(live: &Live, span: Span, of: Of) -> Sum {
        let tallied = live.tallied(span);
        let subtree = Subtree::new(live.tree(), &live.stacks(&tallied, of));
        Sum { tallied, subtree }
    }

    /// What shares are shares of.
    pub fn whole(&self, state: &State) -> f64 {
        whole(state, &self.subtree, self.tallied.slots())
    }
}

/// What shares are shares of.
pub fn whole(state: &State, subtree: &Subtree, looks: u64) -> f64 {
    match state.whole {
        Whole::Samples => state.mode.of(&subtree.total()) as f64,
        Whole::Time => looks as f64,
    }
}

/// A part of a whole; none of nothing.
pub fn share(part: u64, whole: f64) -> f64 {
    if whole > 0.0 { part as f64 / whole } else { 0.0 }
}

/// The stacks that the user has chosen: the window's, or those of all the time; and what shares are shares of.
pub fn chosen(scene: &Scene, state: &mut State) -> (Arc<Subtree>, f64) {
    match state.span() {
        Span::All => {
            let subtree = totals(scene.live, state).0;
            let whole = whole(state, &subtree, scene.live.totals().slots());
            (subtree, whole)
        }
        span => {
            let sum = Sum::new(scene.live, span, state.of);
            let whole = sum.whole(state);
            (Arc::new(sum.subtree), whole)
        }
    }
}

/// The totals. They may be some looks old where they are so many that to add them up takes long.
pub fn totals(live: &Live, state: &mut State) -> (Arc<Subtree>, Arc<Vec<Row>>) {
    /// Of all time so much is spent on it at most: adding up takes some tens of nanoseconds for each stack.
    const FOR_EACH_STACK: Duration = Duration::from_micros(10);
    let is_fresh = |totals: &&Totals| {
        let age = live.now().saturating_sub(totals.at);
        let is_same = (totals.level, totals.of, totals.epoch) == (state.level, state.of, state.epoch);
        is_same && totals.at <= live.now() && age <= FOR_EACH_STACK * totals.subtree.size() as u32
    };
    if let Some(totals) = state.totals.as_ref().filter(is_fresh) {
        return (totals.subtree.clone(), totals.rows.clone());
    }
    let subtree = Arc::new(Subtree::new(live.tree(), &live.stacks(live.totals(), state.of)));
    let rows = Arc::new(subtree.rows(live.keys(), state.level));
    let (level, of, epoch, at) = (state.level, state.of, state.epoch, live.now());
    state.totals = Some(Totals { level, of, at, epoch, subtree: subtree.clone(), rows: rows.clone() });
    (subtree, rows)
}

/// The table of functions, sorted and filtered.
pub fn functions(scene: &Scene, state: &mut State) -> Vec<Function> {
    let live = scene.live;
    let (subtree, all) = totals(live, state);
    let (level, mode) = (state.level, state.mode);
    let (now, whole, looks) = match state.span() {
        Span::All => {
            let looks = live.totals().slots();
            (all.to_vec(), self::whole(state, &subtree, looks), looks as f64)
        }
        span => {
            let now = Sum::new(live, span, state.of);
            (now.subtree.rows(live.keys(), level), now.whole(state), now.tallied.slots() as f64)
        }
    };
    let before = Sum::new(live, Span::Before(state.window()), state.of);
    let whole_before = before.whole(state);
    let has_before = before.tallied.slots() > 0 && !state.of_all_time;
    let period = live.period().as_secs_f64();
    let by_key = |rows: Vec<Row>| rows.into_iter().map(|row| (row.key, row)).collect::<rustc_hash::FxHashMap<_, _>>();
    let mut recent = by_key(now);
    let earlier = by_key(before.subtree.rows(live.keys(), level));
    let mut functions: Vec<Function> = Vec::new();
    let mut add = |key: KeyId, recent: Option<Row>, all: Option<Row>| {
        let own_of = |row: Option<Row>| row.map_or(0, |row| mode.of(&row.own));
        let total_of = |row: Option<Row>| row.map_or(0, |row| mode.of(&row.total));
        let own = share(own_of(recent), whole);
        let own_before = share(own_of(earlier.get(&key).copied()), whole_before);
        functions.push(Function {
            key,
            own,
            total: share(total_of(recent), whole),
            own_time: own_of(all) as f64 * period,
            total_time: total_of(all) as f64 * period,
            gil: share(recent.map_or(0, |row| row.own.held), looks),
            trend: if has_before { own - own_before } else { 0.0 },
        });
    };
    all.iter().for_each(|row| add(row.key, recent.remove(&row.key), Some(*row)));
    recent.into_values().for_each(|row| add(row.key, Some(row), None));
    functions.retain(|of| of.total > 0.0 || of.total_time > 0.0);
    let name = |key: KeyId| name(scene, level, key);
    if state.filter.is_set() {
        functions.retain(|of| {
            let (function, place) = name(of.key);
            state.filter.lets(&format!("{function} ({place})"))
        });
    }
    let (column, is_reversed) = (state.sort, state.is_reversed);
    functions.sort_by(|one, other| {
        let order = column.compare(one, other, name);
        let order = if is_reversed { order.reverse() } else { order };
        // What is alike stays where it is from picture to picture.
        let total = other.total.total_cmp(&one.total);
        order.then(total).then(other.own_time.total_cmp(&one.own_time)).then(one.key.cmp(&other.key))
    });
    functions
}

/// What a key is called, and its place.
pub fn name(scene: &Scene, level: Level, key: KeyId) -> (String, String) {
    match scene.live.keys().key(level, key) {
        Some(key) => name_and_place(scene, key),
        None => ("unknown".into(), String::new()),
    }
}

/// Which threads are counted as waiting, where it is not all.
pub fn of_chosen(scene: &Scene) -> &'static str {
    if scene.live.left_out() == LeftOut::default() { "" } else { "chosen " }
}

/// Why there is no row; `otherwise` if it is not for the filter.
pub fn why_no_row(state: &State, otherwise: impl Into<String>) -> String {
    match state.filter.is_set() {
        true => "Nothing that the filter lets through was seen.".into(),
        false => otherwise.into(),
    }
}

/// Why no function counts in a mode. `other` says how to have others count.
pub fn why_nothing(scene: &Scene, mode: &str, other: &str) -> String {
    let live = scene.live;
    let LeftOut { threads, excluded } = live.left_out();
    let counts = live.totals().counts.iter().filter(|(_, counts)| counts.seen > 0);
    let stacks: Vec<_> = counts.map(|((_, stack), _)| stack).collect();
    let left_out = match (threads, excluded) {
        (0, 0) => String::new(),
        (threads, 0) => format!("{threads} stacks of other threads were left out"),
        (0, excluded) => format!("{excluded} stacks were left out for --exclude"),
        _ => format!("{threads} stacks of other threads were left out, {excluded} for --exclude"),
    };
    match (live.totals().slots(), stacks.len(), left_out.is_empty()) {
        (0, _, true) => "no sample was taken".into(),
        (_, 0, false) => format!("nothing is left: {left_out}"),
        (_, 0, true) => "no thread was seen".into(),
        _ if stacks.iter().all(|stack| stack.is_none()) => "no thread had Python frames".into(),
        (.., true) => format!("nothing counts in {mode} mode; {other}"),
        (.., false) => format!("nothing counts in {mode} mode of what is left: {left_out}; {other}"),
    }
}
