//! Totals to bytes: one file and one pure function per format. Where the bytes go, and whether that works, is
//! [`crate::output`]'s business.

pub mod collapsed;
pub mod flamegraph;
mod folded;
mod labels;

pub use folded::Folded;
pub use labels::{Files, Labels, Lines, Processes, Threads};
