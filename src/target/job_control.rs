//! Signals by which a terminal stops a process, put off for as long as it must not be stopped.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals by which a terminal stops a process.
pub const ALL: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// The calling thread, and those it starts meanwhile, take no such signals until this is dropped. A signal that no thread of
/// a process takes waits.
#[derive(Debug)]
pub struct PutOff(Option<SigSet>);

impl PutOff {
    /// These, from now on.
    pub fn begin(signals: &[Signal]) -> PutOff {
        let signals = SigSet::from_iter(signals.iter().copied());
        PutOff(signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }

    /// Those that were taken before are, until what is returned is dropped: by the calling thread, and by programs that it
    /// starts.
    pub fn taken_meanwhile(&self) -> PutOff {
        PutOff(self.0.and_then(|before| before.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok()))
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
        let put_off = PutOff::begin(&ALL);
        assert!(
            now().contains(Signal::SIGTSTP)
                && std::thread::spawn(move || now().contains(Signal::SIGTTOU)).join().unwrap()
        );
        assert!(!now().contains(Signal::SIGINT));
        let again = PutOff::begin(&ALL);
        drop(again);
        assert!(now().contains(Signal::SIGTSTP));
        let taken = put_off.taken_meanwhile();
        assert_eq!(now(), before);
        drop(taken);
        assert!(now().contains(Signal::SIGTSTP));
        drop(put_off);
        assert_eq!(now(), before);
    }
}
