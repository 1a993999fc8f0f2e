//! Totals and recordings to bytes: one file and one pure function per format. Where the bytes go, and whether that works, is
//! [`crate::output`]'s business.
//!
//! Formats that keep time are written from a [`Replay`](crate::sample::Replay), which may be gone through several times. Memory
//! grows with what is defined in it (functions, stacks, threads), not with its samples.

mod by_thread;
pub mod chrome_trace;
pub mod collapsed;
pub mod firefox;
pub mod flamegraph;
pub(crate) mod folded;
pub mod html;
mod json;
pub mod json_lines;
mod labels;
mod places;
pub mod pprof;
pub mod pstats;
#[cfg(test)]
#[path = "../../tests/common/recipe.rs"]
mod recordings;
pub mod speedscope;
mod steady;
mod tables;

pub use folded::Folded;
pub use labels::{Files, Labels, Lines, Processes, Threads};
