//! When samples are due.
//!
//! Time is cut into slots of one period each, counted from the start, so nothing drifts. Each slot has one sample, at
//! a moment drawn evenly from the whole slot: a program that repeats itself at the sampling rate (or a multiple) is
//! then seen at all its phases, where a fixed moment would always show the same one. A slot that has passed before its
//! sample could be taken is late; it is counted and left out, never made up for.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// The clock of a recording.
pub struct Clock {
    start: Instant,
    period: Duration,
    /// How many slots there are; `u64::MAX` for no end.
    slots: u64,
    next: u64,
    duration: Option<Duration>,
    stopped: Receiver<()>,
    random: fastrand::Rng,
}

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// A sample, after so many slots that passed without one.
    Due {
        /// Slots that passed.
        late: u64,
    },
    /// The end, after so many slots that passed without a sample.
    Over {
        /// Slots that passed.
        late: u64,
    },
    /// The end, because somebody wants it.
    Stopped,
}

impl Clock {
    /// A clock with `rate` slots a second; a message on `stopped` stops it.
    pub fn new(rate: f64, duration: Option<Duration>, stopped: Receiver<()>) -> Clock {
        let slots = duration.map_or(u64::MAX, |d| ((d.as_secs_f64() * rate).round() as u64).max(1));
        Clock {
            start: Instant::now(),
            period: Duration::from_secs_f64(1.0 / rate),
            slots,
            next: 0,
            duration,
            stopped,
            random: fastrand::Rng::new(),
        }
    }

    /// Starts the first slot now.
    pub fn start(&mut self) {
        self.start = Instant::now();
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for the moment of the next sample, or the end.
    pub fn next(&mut self) -> Tick {
        let now = slot_at(self.elapsed(), self.period);
        let late = now.min(self.slots).saturating_sub(self.next);
        self.next += late;
        if self.next >= self.slots {
            return match self.duration.is_some_and(|duration| self.wait(duration)) {
                true => Tick::Stopped,
                false => Tick::Over { late },
            };
        }
        let within = self.period.mul_f64(self.random.f64());
        let due = self.period.mul_f64(self.next as f64) + within;
        self.next += 1;
        if self.wait(due) { Tick::Stopped } else { Tick::Due { late } }
    }

    /// Waits until so long after the start; true if the clock was stopped before.
    fn wait(&self, until: Duration) -> bool {
        !matches!(self.stopped.recv_deadline(self.start + until), Err(RecvTimeoutError::Timeout))
    }
}

fn slot_at(elapsed: Duration, period: Duration) -> u64 {
    (elapsed.as_secs_f64() / period.as_secs_f64()) as u64
}

/// Asks the kernel not to batch this thread's timers with others', which makes them 50 us late.
pub fn ask_for_precise_timers() {
    // Where the kernel refuses, samples are a little later within their slot.
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn every_slot_of_a_duration_is_due_or_late() {
        let (_stop, stopped) = bounded(1);
        let mut clock = Clock::new(1000.0, Some(Duration::from_millis(50)), stopped);
        clock.start();
        let (mut due, mut passed) = (0, 0);
        loop {
            match clock.next() {
                Tick::Due { late } => {
                    due += 1;
                    passed += late;
                    if due == 10 {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                Tick::Over { late } => {
                    passed += late;
                    break;
                }
                Tick::Stopped => unreachable!("nobody stops it"),
            }
        }
        assert_eq!(due + passed, 50);
        assert!(passed >= 4, "{passed}");
        assert!(clock.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn a_clock_stops_in_the_middle_of_a_slot() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(0.001, None, stopped);
        clock.start();
        stop.send(()).unwrap();
        assert_eq!(clock.next(), Tick::Stopped);
    }
}
