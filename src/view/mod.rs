//! Totals and snapshots to people: what `dump` prints, the line that tells how a recording goes, the account at its end.
//! Profiles for tools are `export`'s.

pub mod check;
pub mod diff;
pub mod doctor;
pub mod dump;
pub mod gil;
pub mod progress;
pub mod ps;
pub mod report;
pub mod summary;
pub mod top;
