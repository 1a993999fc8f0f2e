//! A gate that the sampler passes for each sample, so that somebody else can hold it back: while it waits there, no thread
//! of the target is stopped. A process that is itself about to be stopped must do so, or the target would stand still with it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Holds a recording back.
#[derive(Clone, Debug)]
pub struct Gate(Arc<RwLock<()>>);

/// The sampler's side of it. Several samplers may pass at once.
#[derive(Clone, Debug)]
pub struct Passage(Arc<RwLock<()>>);

/// A recording is held back until this is dropped. Moments that pass meanwhile are late.
#[derive(Debug)]
pub struct Closed<'a>(#[allow(dead_code)] RwLockWriteGuard<'a, ()>);

impl Gate {
    pub(super) fn new() -> (Gate, Passage) {
        let lock = Arc::new(RwLock::new(()));
        (Gate(lock.clone()), Passage(lock))
    }

    /// Waits for the samples that are being taken, and lets no other begin.
    pub fn close(&self) -> Closed<'_> {
        Closed(self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Passage {
    /// Waits until the gate is open; it stays so until what is returned is dropped.
    pub fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nobody_passes_a_gate_that_is_closed() {
        let (gate, passage) = Gate::new();
        let closed = gate.close();
        let waiting = thread::spawn(move || drop(passage.pass()));
        assert!(!waiting.is_finished());
        drop(closed);
        waiting.join().unwrap();
    }
}
