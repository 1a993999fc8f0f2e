//! When samples are due.
//!
//! Time is cut into slots of one period each, counted from the start, so nothing drifts. Each slot has one sample, at
//! a moment drawn evenly from the whole slot: a program that repeats itself at the sampling rate (or a multiple) is
//! then seen at all its phases, where a fixed moment would always show the same one. A slot that has passed before its
//! sample could be taken is late; it is counted and left out, never made up for. A clock that has been told to rest
//! leaves out the slots until then, and they are counted apart.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

/// How long it may take at most to see that the clock was stopped. To wait on the channel itself would yield the processor
/// a few times before each sleep, and on a busy machine each time costs other programs' whole turn: samples are late.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// The clock of a recording.
pub struct Clock {
    start: Instant,
    period: Duration,
    /// How many slots there are; `u64::MAX` for no end.
    slots: u64,
    next: u64,
    duration: Option<Duration>,
    rest: Duration,
    stopped: Receiver<()>,
    random: fastrand::Rng,
}

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// A sample.
    Due(Missed),
    /// The end.
    Over(Missed),
    /// The end, because somebody wants it.
    Stopped(Missed),
}

/// Slots that were left without a sample since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// They had passed.
    pub late: u64,
    /// The clock rested.
    pub stretched: u64,
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
            rest: Duration::ZERO,
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

    /// Leaves out what is due before so long after the start.
    pub fn rest_until(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// Waits for the moment of the next sample, or the end.
    pub fn next(&mut self) -> Tick {
        let mut missed = Missed { late: self.skip_to(self.elapsed()), stretched: 0 };
        let from = self.next;
        missed.stretched = self.skip_to(self.rest);
        if self.next >= self.slots {
            return match self.duration.is_some_and(|duration| self.wait(duration)) {
                true => self.stop(from, missed),
                false => Tick::Over(missed),
            };
        }
        let within = self.period.mul_f64(self.random.f64());
        let due = self.period.mul_f64(self.next as f64) + within;
        if self.wait(due.max(self.rest)) {
            return self.stop(from, missed);
        }
        self.next += 1;
        Tick::Due(missed)
    }

    /// The end in the middle of a wait. What would have been left out after it was never asked for.
    fn stop(&mut self, from: u64, missed: Missed) -> Tick {
        self.next = from;
        let stretched = self.skip_to(self.elapsed()).min(missed.stretched);
        Tick::Stopped(Missed { stretched, ..missed })
    }

    /// Leaves out the slots that end before so long after the start. Returns how many.
    fn skip_to(&mut self, at: Duration) -> u64 {
        let slot = (at.as_secs_f64() / self.period.as_secs_f64()) as u64;
        let skipped = slot.min(self.slots).saturating_sub(self.next);
        self.next += skipped;
        skipped
    }

    /// Waits until so long after the start; true if the clock was stopped before.
    fn wait(&self, until: Duration) -> bool {
        loop {
            if !matches!(self.stopped.try_recv(), Err(TryRecvError::Empty)) {
                return true;
            }
            let left = (self.start + until).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.period < Duration::from_micros(100) {
                while Instant::now() < self.start + until {
                    std::hint::spin_loop();
                }
                return false;
            }
            thread::park_timeout(left.min(LONGEST_NAP));
        }
    }
}

/// Asks the kernel to let this thread run when it is due: not to batch its timers with others', which makes them 50 us
/// late, and to prefer it to others. The second spares the target, too, a thread of which may be stopped just then.
pub fn ask_for_promptness() {
    /// A nice value of the preferred.
    const PREFERRED: i32 = -10;
    // Where the kernel refuses (the second takes a privilege), samples are a little later within their slots.
    let _ = nix::sys::prctl::set_timerslack(1);
    let _ = rustix::process::setpriority_process(None, PREFERRED);
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
                Tick::Due(missed) => {
                    due += 1;
                    passed += missed.late;
                    if due == 10 {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                Tick::Over(missed) => {
                    passed += missed.late;
                    break;
                }
                Tick::Stopped(_) => unreachable!("nobody stops it"),
            }
        }
        assert_eq!(due + passed, 50);
        assert!(passed >= 4, "{passed}");
        assert!(clock.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn a_clock_that_rests_leaves_out_what_is_due() {
        let (_stop, stopped) = bounded(1);
        let mut clock = Clock::new(1000.0, None, stopped);
        clock.start();
        clock.rest_until(Duration::from_millis(20));
        let Tick::Due(missed) = clock.next() else { panic!("a sample is due") };
        assert!(clock.elapsed() >= Duration::from_millis(20));
        assert_eq!(missed.late + missed.stretched, 20);
    }

    #[test]
    fn what_passed_before_a_stop_is_told() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(1000.0, None, stopped);
        clock.start();
        std::thread::sleep(Duration::from_millis(10));
        stop.send(()).unwrap();
        let Tick::Stopped(missed) = clock.next() else { panic!("it was stopped") };
        assert!(missed.late >= 10, "{missed:?}");
    }

    #[test]
    fn a_clock_stops_in_the_middle_of_a_slot() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(0.001, None, stopped);
        clock.start();
        stop.send(()).unwrap();
        assert_eq!(clock.next(), Tick::Stopped(Missed::default()));
    }
}
