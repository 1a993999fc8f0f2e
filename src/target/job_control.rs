//! Signals by which a terminal stops a process, put off for as long as it must not be stopped.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The calling thread, and those it starts meanwhile, take no such signals until this is dropped. A signal that no thread of
/// a process takes waits.
#[derive(Debug)]
pub struct PutOff(Option<SigSet>);

impl PutOff {
    /// From now on.
    pub fn begin() -> PutOff {
        let signals = SigSet::from_iter([Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
        PutOff(signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for PutOff {
    fn drop(&mut self) {
        // It fails for no mask that was one before.
        let _ = self.0.map(|before| before.thread_set_mask());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_off_before_is_put_off_afterwards_and_nothing_else() {
        let now = || SigSet::thread_get_mask().unwrap();
        let before = now();
        let put_off = PutOff::begin();
        assert!(
            now().contains(Signal::SIGTSTP)
                && std::thread::spawn(move || now().contains(Signal::SIGTTOU)).join().unwrap()
        );
        assert!(!now().contains(Signal::SIGINT));
        let again = PutOff::begin();
        drop(again);
        assert!(now().contains(Signal::SIGTSTP));
        drop(put_off);
        assert_eq!(now(), before);
    }
}
