//! Totals and snapshots to people: what `dump` prints, the line that tells how a recording goes, the account at its end.
//! Profiles for tools are `export`'s.

pub mod dump;
pub mod gil;
pub mod progress;
pub mod report;
pub mod summary;
