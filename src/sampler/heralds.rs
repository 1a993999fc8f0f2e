//! When a herald is sent to where the target runs: while its threads are found at the ends of system calls.
//!
//! He takes some of the time of whoever runs there, and we have to be awake before he comes. So nobody is sent unless it
//! makes a difference.

use std::time::{Duration, Instant};

use crate::target::herald::Herald;

/// For how many moments one is sent after a thread was stopped at the end of a system call.
const CALLS: u8 = 128;
/// How long after a sample's time he is to come, at first and at most: once we have looked at all that is looked at before
/// somebody is stopped.
const FIRST_DELAY: Duration = Duration::from_micros(100);
const LONGEST_DELAY: Duration = Duration::from_micros(300);
/// So long we rather wait for him than he for us.
const SPARE: Duration = Duration::from_micros(10);

/// Sends heralds.
#[derive(Debug)]
pub struct Heralds {
    /// The one that there is; `None` within if there can be none.
    herald: Option<Option<Herald>>,
    /// For how many moments to come he is sent.
    calls: u8,
    /// Where the thread ran that was stopped for this moment.
    place: Option<usize>,
    /// Where he is or will be.
    sent: Option<usize>,
    /// Since when he keeps others from running there.
    since: Option<Instant>,
    delay: Duration,
}

impl Default for Heralds {
    fn default() -> Heralds {
        Heralds { herald: None, calls: 0, place: None, sent: None, since: None, delay: FIRST_DELAY }
    }
}

impl Heralds {
    /// Notes where a thread ran that was stopped.
    pub fn note_place(&mut self, processor: usize) {
        self.place = Some(processor);
    }

    /// Notes whether it was at the end of a system call.
    pub fn note_stop(&mut self, had_called: bool) {
        self.calls = if had_called { CALLS } else { self.calls.saturating_sub(1) };
    }

    /// Sends one for a sample that is due at a time, if he is of use. To be called before we go to sleep.
    pub fn send(&mut self, due: Instant) {
        self.dismiss();
        let Some(processor) = self.place.take().filter(|_| self.calls > 0) else { return };
        let herald = self.herald.get_or_insert_with(Herald::start).as_mut();
        self.sent = herald.is_some_and(|herald| herald.send(processor, due + self.delay)).then_some(processor);
    }

    /// Whether one was sent, and has not been waited for.
    pub fn is_expected(&self) -> bool {
        self.sent.is_some() && self.since.is_none()
    }

    /// Waits for him, unless he is late. Until [`Heralds::dismiss`], whoever ran where he is does not.
    pub fn wait(&mut self) {
        let Some(Some(herald)) = self.herald.as_ref().filter(|_| self.sent.is_some()) else { return };
        let ready = Instant::now() + SPARE;
        self.since = herald.wait();
        self.delay = delay_after(self.delay, ready, self.since.unwrap_or_else(Instant::now));
        if self.since.is_none() {
            self.sent = None;
        }
    }

    /// The herald, and since when he keeps a thread from running that was on a processor. Who is elsewhere is let go.
    pub fn at(&mut self, processor: Option<usize>) -> Option<(&Herald, Instant)> {
        if processor.is_none() || self.sent != processor {
            self.dismiss();
        }
        self.herald.as_ref()?.as_ref().zip(self.since)
    }

    /// Lets him go.
    pub fn dismiss(&mut self) {
        if let (Some(_), Some(Some(herald))) = (self.sent.take(), &self.herald) {
            herald.dismiss();
        }
        self.since = None;
    }
}

/// How long after the next sample's time he is to come, after once we were ready and he came. Neither is ever quite on time,
/// and it is made up for more slowly that we had to wait than that he had to.
fn delay_after(delay: Duration, ready: Instant, came: Instant) -> Duration {
    let (early, late) = (ready.saturating_duration_since(came), came.saturating_duration_since(ready));
    (delay + early / 2).saturating_sub(late / 16).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_unless_threads_are_found_at_the_ends_of_calls() {
        let mut heralds = Heralds::default();
        let due = Instant::now() + Duration::from_secs(3600);
        heralds.note_stop(false);
        heralds.note_place(0);
        heralds.send(due);
        assert!(heralds.herald.is_none());

        heralds.note_stop(true);
        heralds.send(due);
        assert!(heralds.herald.is_none(), "it is not known where to");
        heralds.note_place(0);
        heralds.send(due);
        assert!(heralds.herald.is_some());

        (0..CALLS).for_each(|_| heralds.note_stop(false));
        heralds.note_place(0);
        heralds.send(due);
        assert!(!heralds.is_expected());
    }

    #[test]
    fn he_comes_later_if_he_had_to_wait_and_somewhat_sooner_if_we_had_to() {
        let (ready, micros) = (Instant::now(), Duration::from_micros);
        assert_eq!(delay_after(micros(100), ready, ready), micros(100));
        assert_eq!(delay_after(micros(100), ready, ready - micros(40)), micros(120));
        assert_eq!(delay_after(micros(100), ready, ready + micros(160)), micros(90));
        assert_eq!(delay_after(micros(100), ready, ready + micros(16_000)), Duration::ZERO);
        assert_eq!(delay_after(micros(100), ready, ready - micros(16_000)), LONGEST_DELAY);
    }
}
