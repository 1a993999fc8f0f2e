//! A gate that the sampler passes for each sample, so that somebody else can hold it back: while it waits there, no thread
//! of the target is stopped. A process that is itself about to be stopped must do so, or the target would stand still with it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Holds a recording back.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Way>);

/// The sampler's side of it. Several samplers may pass at once.
#[derive(Clone, Debug)]
pub struct Passage(Arc<Way>);

/// A recording is held back until this is dropped. Moments that pass meanwhile are late.
#[derive(Debug)]
pub struct Closed<'a>(&'a Way);

/// A sampler has passed and has not come back, until this is dropped, by whichever thread of its.
#[derive(Debug)]
pub struct Within(Arc<Way>);

#[derive(Debug, Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many hold it closed.
    closed: usize,
    /// How many have passed and not come back.
    within: usize,
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state(), |state| is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    pub(super) fn new() -> (Gate, Passage) {
        let way = Arc::new(Way::default());
        (Gate(way.clone()), Passage(way))
    }

    /// Waits for the samples that are being taken, and lets no other begin.
    pub fn close(&self) -> Closed<'_> {
        self.0.state().closed += 1;
        drop(self.0.wait_while(|state| state.within > 0));
        Closed(&self.0)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.state().closed -= 1;
        self.0.changed.notify_all();
    }
}

impl Passage {
    /// Passes if the gate is open; see [`Passage::pass`].
    pub fn try_pass(&self) -> Option<Within> {
        let mut state = self.0.state();
        if state.closed > 0 {
            return None;
        }
        state.within += 1;
        drop(state);
        Some(Within(self.0.clone()))
    }

    /// Waits until the gate is open; nobody who closes it goes on until what is returned is dropped.
    pub fn pass(&self) -> Within {
        self.0.wait_while(|state| state.closed > 0).within += 1;
        Within(self.0.clone())
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.within -= 1;
        if state.closed > 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nobody_passes_a_gate_that_is_closed() {
        let (gate, passage) = Gate::new();
        let (closed, way) = (gate.close(), passage.clone());
        let waiting = thread::spawn(move || drop(passage.pass()));
        assert!(!waiting.is_finished() && way.try_pass().is_none());
        assert_eq!(closed.0.state().within, 0);
        drop(closed);
        waiting.join().unwrap();
    }

    #[test]
    fn whoever_closes_it_waits_for_those_who_have_passed_and_lets_no_more_pass() {
        let (gate, passage) = Gate::new();
        let way = passage.0.clone();
        let (first, second) = (passage.pass(), passage.pass());
        let closing = thread::spawn(move || drop(gate.close()));
        while way.state().closed == 0 {
            thread::yield_now();
        }
        // What passed on one thread may come back on another.
        thread::spawn(move || drop(first)).join().unwrap();
        assert!(!closing.is_finished());
        assert_eq!(way.state().within, 1);
        drop(second);
        closing.join().unwrap();
        drop(passage.pass());
    }
}
