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
/// After so many in a row that came in vain none is sent for so many moments.
const MOST_VAIN: u8 = 8;
const RESTS: u16 = 1000;
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
    /// Where he is or will be, and whether he has been waited for and is there.
    sent: Option<(usize, bool)>,
    /// How often in a row he came in vain, and for how many moments nobody is sent for that.
    vain: u8,
    rests: u16,
    delay: Duration,
}

impl Default for Heralds {
    fn default() -> Heralds {
        Heralds { herald: None, calls: 0, place: None, sent: None, vain: 0, rests: 0, delay: FIRST_DELAY }
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
        self.rests = self.rests.saturating_sub(1);
    }

    /// Sends one for a sample that is due at a time, if he is of use. To be called before we go to sleep.
    pub fn send(&mut self, due: Instant) {
        self.dismiss();
        let Some(processor) = self.place.take().filter(|_| self.calls > 0 && self.rests == 0) else { return };
        let herald = self.herald.get_or_insert_with(Herald::start).as_mut();
        let is_sent = herald.is_some_and(|herald| herald.send(processor, due + self.delay));
        self.sent = is_sent.then_some((processor, false));
    }

    /// Whether one was sent, and has not been waited for.
    pub fn is_expected(&self) -> bool {
        self.sent.is_some_and(|(_, is_there)| !is_there)
    }

    /// Waits for him, unless he is late. Until [`Heralds::dismiss`], whoever ran where he is does not.
    pub fn wait(&mut self) {
        let (Some(Some(herald)), Some((processor, _))) = (&self.herald, self.sent) else { return };
        let ready = Instant::now() + SPARE;
        let is_there = herald.wait();
        self.sent = is_there.then_some((processor, true));
        self.delay = delay_after(self.delay, ready, herald.came().unwrap_or_else(Instant::now));
        self.vain = if is_there { 0 } else { self.vain + 1 };
        if self.vain >= MOST_VAIN {
            (self.vain, self.rests) = (0, RESTS);
        }
    }

    /// The herald, if he keeps a thread from running that was on a processor. Who is elsewhere is let go.
    pub fn at(&mut self, processor: Option<usize>) -> Option<&Herald> {
        if self.sent.map(|(at, _)| at) != processor {
            self.dismiss();
        }
        self.herald.as_ref()?.as_ref().filter(|_| self.sent.is_some())
    }

    /// For how long he stayed since that was last asked: whoever waited there was held up.
    pub fn take_stayed(&self) -> Option<Duration> {
        let stayed = self.herald.as_ref()?.as_ref()?.take_stayed();
        (!stayed.is_zero()).then_some(stayed)
    }

    /// Lets him go.
    pub fn dismiss(&mut self) {
        if let (Some(_), Some(Some(herald))) = (self.sent.take(), &self.herald) {
            herald.dismiss();
        }
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
