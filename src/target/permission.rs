//! Why the kernel lets us read a process, or refuses to, and what mends it.
//!
//! Reading memory is checked like `ptrace(PTRACE_ATTACH)`: same user with no fewer capabilities and a process that is
//! dumpable, or CAP_SYS_PTRACE in the target's user namespace; then Yama; then other security modules. [`Sides`] gathers
//! what these rules look at, [`rules()`] names each with its value, [`Mend`] the lines that mend one.

mod remedy;
mod rules;
mod sides;

use crate::error::Error;

pub use remedy::{Mend, Place, Remedy};
pub use rules::{Outcome, Rule, names, rules};
pub use sides::{Sandbox, Side, Sides, are_in_own_pid_namespace};

/// `CAP_SYS_PTRACE` of the kernel's `linux/capability.h`.
pub(super) const CAP_SYS_PTRACE: u64 = 1 << 19;

/// The error for a process that we may not read: the first rule that refuses, or the likeliest.
pub fn refused(pid: u32) -> Error {
    let sides = Sides::of(pid);
    let (rule, mend) = rules::verdict(&sides);
    Error::NotPermitted { pid, rule, hint: mend.line(&sides) }
}
