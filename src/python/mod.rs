//! Bytes to Python facts: where the interpreter is, its threads, their frames, what a code object is called.
//!
//! Everything here takes `&dyn Memory` and `&Offsets` and does no I/O of its own, so it works alike on a process and on
//! a recorded image. All memory is hostile: it may change under our eyes or be nonsense. Every loop over remote links
//! has a bound, every length is checked, and what does not fit is an error, never a panic.

pub mod code;
pub mod frames;
pub mod gil;
pub mod lines;
pub mod locate;
pub mod objects;
pub mod threads;

pub use locate::{Interpreter, locate};
