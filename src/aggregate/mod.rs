//! Events to totals: what a recording said, summed up. Memory grows with distinct stacks, not with samples. How anything
//! is named or written is left to `export` and `view`.

mod call_tree;
mod filter;
pub mod gil;
mod share;

pub use call_tree::{Apart, CallTree, Count};
pub use filter::{Filter, LeftOut, Rules, ThreadRule, Who};
pub use gil::{GilAccount, GilId};
pub use share::{Looks, Share};
