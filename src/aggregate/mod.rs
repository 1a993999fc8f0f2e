//! Events to totals: what a recording said, summed up. Memory grows with distinct stacks, not with samples. How anything
//! is named or written is left to `export` and `view`.

mod call_tree;
pub mod gil;
mod share;

pub(crate) use call_tree::define;
pub use call_tree::{CallTree, Count};
pub use gil::GilAccount;
pub use share::{Looks, Share};
