//! Collapsed stacks: one line for each stack, frames outermost first and joined by `;`, a space, the count. Flame graph
//! tools, speedscope and people with `grep` read it.

use std::io::{self, Write};

use super::Folded;

/// Writes `stacks`, sorted by label. A reader parts a line at its last space.
pub fn write(stacks: &Folded, out: &mut dyn Write) -> io::Result<()> {
    stacks.each_stack(|stack, samples| writeln!(out, "{stack} {samples}"))
}
