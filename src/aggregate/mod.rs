//! Events to totals: what a recording said, summed up. Memory grows with distinct stacks, not with samples. How anything
//! is named or written is left to `export` and `view`.

pub mod activity;
mod call_tree;
pub mod diff;
mod filter;
pub mod gil;
pub mod hot;
pub mod live;
mod share;
mod synopsis;

pub use call_tree::{CallTree, Count};
pub use filter::{Filter, LeftOut, Rules, ThreadRule, Who};
pub use gil::{GilAccount, GilId};
pub use share::{Looks, Share};
pub use synopsis::Synopsis;
