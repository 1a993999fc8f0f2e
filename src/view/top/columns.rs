//! The columns of the table of functions.

use super::text::{percent, seconds};
use super::{Look, Scene};
use crate::aggregate::live::{Key, KeyId};

/// A column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// The share of the window in which it was innermost.
    #[default]
    Own,
    /// The share of the window in which it was on the stack.
    Total,
    /// For how long it was innermost, of all time.
    OwnTime,
    /// For how long it was on the stack, of all time.
    TotalTime,
    /// For how much of the window it was innermost and held the GIL.
    Gil,
    /// What became of its share, to the last window.
    Trend,
    /// Its name.
    Name,
    /// Its file.
    File,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// What it is.
    pub key: KeyId,
    /// Share of the window, innermost.
    pub own: f64,
    /// Share of the window, on the stack.
    pub total: f64,
    /// Seconds of all time, innermost.
    pub own_time: f64,
    /// Seconds of all time, on the stack.
    pub total_time: f64,
    /// Share of the window's time, innermost and with the GIL.
    pub gil: f64,
    /// By how much `own` has changed since the last window.
    pub trend: f64,
}

impl Column {
    /// Every one, from left to right.
    pub const ALL: [Column; 8] = [
        Column::Own,
        Column::Total,
        Column::OwnTime,
        Column::TotalTime,
        Column::Gil,
        Column::Trend,
        Column::Name,
        Column::File,
    ];

    /// The heading.
    pub fn name(self) -> &'static str {
        match self {
            Column::Own => "self%",
            Column::Total => "total%",
            Column::OwnTime => "self s",
            Column::TotalTime => "total s",
            Column::Gil => "GIL%",
            Column::Trend => "+/-",
            Column::Name => "function",
            Column::File => "file:line",
        }
    }

    /// How many characters it has, but for those that take what is left.
    pub fn width(self) -> u16 {
        match self {
            Column::Own => 6,
            Column::Total | Column::OwnTime => 7,
            Column::TotalTime => 8,
            Column::Gil => 6,
            Column::Trend => 5,
            Column::Name | Column::File => 0,
        }
    }

    /// The one so many to the right; round and round.
    pub fn beside(self, by: isize) -> Column {
        Column::ALL[(self as isize + by).rem_euclid(Column::ALL.len() as isize) as usize]
    }

    /// Which of two rows comes first: more before less, and names by the alphabet.
    pub fn compare(
        self,
        one: &Function,
        other: &Function,
        name: impl Fn(KeyId) -> (String, String),
    ) -> std::cmp::Ordering {
        let number = |of: &Function| match self {
            Column::Own => of.own,
            Column::Total => of.total,
            Column::OwnTime => of.own_time,
            Column::TotalTime => of.total_time,
            Column::Gil => of.gil,
            Column::Trend => of.trend,
            Column::Name | Column::File => 0.0,
        };
        match self {
            Column::Name => name(one.key).0.cmp(&name(other.key).0),
            Column::File => name(one.key).1.cmp(&name(other.key).1),
            _ => number(other).total_cmp(&number(one)),
        }
    }

    /// What a row has in it.
    pub fn text(self, of: &Function, look: Look) -> String {
        match self {
            Column::Own => percent(of.own),
            Column::Total => percent(of.total),
            Column::OwnTime => seconds(of.own_time),
            Column::TotalTime => seconds(of.total_time),
            Column::Gil => percent(of.gil),
            Column::Trend => look.trend(of.trend),
            Column::Name | Column::File => String::new(),
        }
    }
}

/// What a key is called, and its place: `json/encoder.py:205`.
pub fn name_and_place(scene: &Scene, key: &Key) -> (String, String) {
    let file = scene.live.keys().short(&key.path).to_owned();
    match (key.function.is_empty(), key.line) {
        (true, _) => (file, String::new()),
        (false, Some(line)) => (key.function.to_string(), format!("{file}:{line}")),
        (false, None) => (key.function.to_string(), file),
    }
}
