//! Events to totals: what a recording said, summed up. Memory grows with distinct stacks, not with samples. How anything
//! is named or written is left to `export` and `view`.

pub mod activity;
mod call_tree;
pub mod diff;
pub mod gil;
pub mod hot;
pub mod live;
mod share;
mod synopsis;

pub use call_tree::{CallTree, Count};
pub use gil::GilAccount;
pub use share::{Looks, Share};
pub use synopsis::Synopsis;
