//! When samples are due.
//!
//! Time is cut into slots of one period each, counted from the start, so nothing drifts. Each slot has one sample, at
//! a moment drawn evenly from the whole slot: a program that repeats itself at the sampling rate (or a multiple) is
//! then seen at all its phases, where a fixed moment would always show the same one. A slot that has passed before its
//! sample could be taken is late; it is counted and left out, never made up for. A clock that has been told to rest
//! leaves out the slots until then, and they are counted apart; so are those that the pace leaves out. For both the next moment stands
//! that is read.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use rustix::time::{ClockId, clock_gettime};

use super::pace::Pace;
use crate::sample::Weight;

/// How long it may take at most to see that the clock was stopped. To wait on the channel itself would yield the processor
/// a few times before each sleep, and on a busy machine each time costs other programs' whole turn: samples are late.
const LONGEST_NAP: Duration = Duration::from_millis(150);

/// To sleep is to be tens of microseconds late. Where slots are so short, from 20 kHz on, that would lose one in ten of
/// them: waits that are no longer are spun. It takes a whole core, which slots twice as long would not repay.
const SHORT: Duration = Duration::from_micros(50);

/// The clock of a recording.
pub struct Clock {
    start: Instant,
    slots: Slots,
    /// How much of the end of each wait is spun.
    spin: Duration,
    stopped: Receiver<()>,
    pace: Pace,
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
    /// Others of their group were taken, see [`Pace`].
    pub spared: u64,
    /// Of those spared the ones whose group has no sample, as that was late.
    pub unseen: u64,
}

/// Slots left out on purpose which no moment stands for yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(u64);

impl LeftOut {
    /// Takes what was missed before a moment, or the end. For what was late nobody stands, nor for what a sample that was late would
    /// have stood for: it may have been at another time altogether.
    pub fn miss(&mut self, missed: Missed) {
        self.0 += missed.stretched + missed.spared - missed.unseen;
    }

    /// A moment that was read stands for them and for its own slot.
    pub fn stand_for(&mut self) -> Weight {
        Weight::after(std::mem::take(&mut self.0))
    }

    /// A moment that could not be read stands for nothing: they stay left out.
    pub fn fail(&mut self) {
        self.0 = 0;
    }
}

impl Clock {
    /// A clock with `rate` slots a second; a message on `stopped` stops it.
    pub fn new(rate: f64, duration: Option<Duration>, stopped: Receiver<()>) -> Clock {
        let slots = Slots::new(rate, duration);
        let spin = if slots.period <= nanos(SHORT) { SHORT } else { Duration::ZERO };
        Clock { start: Instant::now(), slots, spin, stopped, pace: Pace::full() }
    }

    /// Takes no more of the slots than a pace says.
    pub fn keep_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Starts the first slot now.
    pub fn start(&mut self) {
        self.start = Instant::now();
    }

    /// Joins a recording that started before: what was due by now was never asked of this clock.
    pub fn join(&mut self, start: Instant) {
        self.start = start;
        self.slots.skip_to(self.elapsed());
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether there is nothing more to wait for.
    pub fn is_over(&self) -> bool {
        !self.stopped.is_empty() || self.slots.end.is_some_and(|end| self.elapsed() >= end)
    }

    /// The next slot is one to be taken, whatever the pace, as the first one is.
    pub fn begin_again(&mut self) {
        self.slots.group = Group::default();
    }

    /// Leaves out what is due before so long after the start.
    pub fn rest_until(&mut self, rest: Duration) {
        self.slots.rest = rest;
    }

    /// Waits for the moment of the next sample, or the end. The moment of a sample is told beforehand.
    pub fn next(&mut self, foresee: impl FnOnce(Instant)) -> Tick {
        let missed = self.slots.skip(self.elapsed(), self.pace.stretch());
        let due = self.slots.due();
        if let Some(due) = due {
            foresee(self.start + due);
        }
        if due.or(self.slots.end).is_some_and(|until| self.wait(until)) {
            return self.stop(missed);
        }
        match due {
            Some(_) => {
                self.slots.next += 1;
                Tick::Due(missed)
            }
            None => Tick::Over(missed),
        }
    }

    /// The end in the middle of a wait. What would have been left out after it was never asked for.
    fn stop(&mut self, missed: Missed) -> Tick {
        self.slots.next -= self.slots.ahead;
        let never = self.slots.ahead - self.slots.skip_to(self.elapsed()).min(self.slots.ahead);
        // A rest comes before those that a group leaves out.
        let spared = missed.spared - never.min(self.slots.ahead - missed.stretched);
        let stretched = missed.stretched - (never - (missed.spared - spared));
        Tick::Stopped(Missed { stretched, spared, ..missed })
    }

    /// Waits until so long after the start; true if the clock was stopped before.
    fn wait(&self, until: Duration) -> bool {
        let until = self.start + until;
        loop {
            if !matches!(self.stopped.try_recv(), Err(TryRecvError::Empty)) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if left <= self.spin {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                return false;
            }
            thread::park_timeout((left - self.spin).min(LONGEST_NAP));
        }
    }
}

/// The slots of a recording, and which is next. Times are since the start.
struct Slots {
    /// How long a slot is, in nanoseconds. At 70 kHz what is lost by whole ones adds up to 70 ms in an hour.
    period: f64,
    /// How many slots there are; `u64::MAX` for no end.
    number: u64,
    next: u64,
    /// When the recording ends, whether or not a slot does.
    end: Option<Duration>,
    /// Nothing is due before.
    rest: Duration,
    /// How many slots that have not passed were left out for the next one.
    ahead: u64,
    group: Group,
    random: fastrand::Rng,
}

/// Slots that follow each other, of which one has a sample.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Which.
    chosen: u64,
    /// Where the next group begins.
    end: u64,
}

impl Slots {
    fn new(rate: f64, end: Option<Duration>) -> Slots {
        let number = end.map_or(u64::MAX, |end| ((end.as_secs_f64() * rate).round() as u64).max(1));
        let (next, ahead, group) = (0, 0, Group::default());
        let (rest, random) = (Duration::ZERO, fastrand::Rng::new());
        Slots { period: 1e9 / rate, number, next, end, rest, ahead, group, random }
    }

    /// Leaves out the slots that have passed, those to rest in, and those before the one that is chosen of the next group;
    /// groups are of `stretch` slots in the mean.
    fn skip(&mut self, now: Duration, stretch: f64) -> Missed {
        let from = self.next;
        let passed = self.skip_to(now);
        let late = self.chosen_of(from..from + passed, stretch);
        let stretched = self.skip_to(self.rest);
        let spared = self.choose(stretch);
        self.ahead = stretched + spared;
        let unseen = ((late as f64 * stretch).round() as u64).clamp(late, passed) - late;
        Missed { late, stretched, spared: passed - late + spared, unseen }
    }

    /// How many of the slots that have passed without a sample should have had one.
    fn chosen_of(&self, passed: Range<u64>, stretch: f64) -> u64 {
        let of_group = u64::from(passed.contains(&self.group.chosen) && passed.start < self.group.end);
        let beyond = passed.end.saturating_sub(passed.start.max(self.group.end));
        of_group + (beyond as f64 / stretch).round() as u64
    }

    /// Goes on to the slot of this group that is chosen, or of the next group if that has passed.
    fn choose(&mut self, stretch: f64) -> u64 {
        let from = self.next;
        if self.next > self.group.chosen || self.group.end == 0 {
            let begin = self.next.max(self.group.end);
            self.group = match self.group.end {
                // A process that lives for less than a group is to be seen, too: the first sample is a group of its own.
                0 => Group { chosen: begin, end: begin + 1 },
                _ => {
                    let length = stretch.floor() + f64::from(u8::from(self.random.f64() < stretch.fract()));
                    let length = (length as u64).max(1);
                    Group { chosen: begin + self.random.u64(..length), end: begin + length }
                }
            };
        }
        self.next = self.group.chosen.min(self.number);
        self.next - from
    }

    /// Leaves out the slots that end before a time. Returns how many.
    fn skip_to(&mut self, time: Duration) -> u64 {
        let slot = match self.end {
            Some(end) if time >= end => self.number,
            _ => ((nanos(time) / self.period) as u64).min(self.number),
        };
        let skipped = slot.saturating_sub(self.next);
        self.next += skipped;
        skipped
    }

    /// When the sample of the next slot is due; `None` if there are no more. A last slot that the end cuts short has its
    /// sample before the end.
    fn due(&mut self) -> Option<Duration> {
        if self.next >= self.number {
            return None;
        }
        let begin = self.next as f64 * self.period;
        let length = self.end.map_or(self.period, |end| self.period.min(nanos(end) - begin));
        let due = Duration::from_nanos((begin + length * self.random.f64()) as u64);
        Some(due.max(self.rest))
    }
}

/// Exact in a recording of up to 104 days, right to 4 ns in one of a year.
fn nanos(time: Duration) -> f64 {
    time.as_secs() as f64 * 1e9 + f64::from(time.subsec_nanos())
}

/// Processor time, user's and system's, that all threads of this process have used.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Processor time, user's and system's, that this thread has used.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// What became of the slots of a recording.
    #[derive(Debug, Default)]
    struct Played {
        moments: Vec<Duration>,
        weights: Vec<Weight>,
        missed: Missed,
        /// What no moment stands for.
        left_out: u64,
        over: Duration,
    }

    /// Samples all slots up to the end of a recording, in no time but what is told: how much too late the sampler wakes
    /// up for a sample and how long the sample takes, and for how long it rests then.
    fn play(slots: &mut Slots, samples: &[(Duration, Duration)]) -> Played {
        play_at(slots, samples, 1.0)
    }

    fn play_at(slots: &mut Slots, samples: &[(Duration, Duration)], stretch: f64) -> Played {
        let (mut now, mut played, mut left_out) = (Duration::ZERO, Played::default(), LeftOut::default());
        for (busy, rest) in samples.iter().cycle() {
            let missed = slots.skip(now, stretch);
            played.missed.late += missed.late;
            played.missed.stretched += missed.stretched;
            played.missed.spared += missed.spared;
            played.missed.unseen += missed.unseen;
            left_out.miss(missed);
            let Some(due) = slots.due() else { break };
            slots.next += 1;
            played.moments.push(due.max(now));
            played.weights.push(left_out.stand_for());
            now = due.max(now) + *busy;
            slots.rest = now + *rest;
        }
        Played { left_out: left_out.0, over: now.max(slots.end.expect("there is an end")), ..played }
    }

    /// From 1 Hz to 200 kHz.
    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![(0.0..5.3_f64).prop_map(|power| 10_f64.powf(power)), Just(1.0), Just(70_000.0), Just(200_000.0)]
    }

    /// Whether so many are as many slots as a recording has. An end is told in whole nanoseconds, of which 2500 are half a
    /// slot at the highest rate, so what is nearly half a slot may be rounded either way.
    fn is_rounded(number: u64, slots: f64) -> bool {
        number == 1 && slots < 1.0 || (number as f64 - slots).abs() <= 0.501
    }

    proptest! {
        #[test]
        fn every_sample_of_an_idle_clock_is_in_its_slot(rate in rate(), slots in 0.1..5000.0_f64) {
            let end = Duration::from_secs_f64(slots / rate);
            let Played { moments, weights, missed, .. } =
                play(&mut Slots::new(rate, Some(end)), &[(Duration::ZERO, Duration::ZERO)]);
            prop_assert!(weights.iter().all(Weight::is_one));
            prop_assert_eq!(missed, Missed::default());
            prop_assert!(is_rounded(moments.len() as u64, slots), "{} of {slots}", moments.len());
            for (slot, moment) in moments.iter().enumerate() {
                let within = moment.as_secs_f64() * rate - slot as f64;
                prop_assert!((-0.001..=1.001).contains(&within) && *moment <= end, "{moment:?} in {slot}");
            }
        }

        #[test]
        fn a_recording_ends_on_time_whatever_the_rate_and_whatever_happens(
            rate in rate(),
            slots in 0.1..5000.0_f64,
            samples in vec((0.0..3.0_f64, prop_oneof![4 => Just(0.0), 1 => 0.0..30.0_f64]), 1..50),
            stretch in prop_oneof![Just(1.0), 1.0..30.0_f64],
        ) {
            let periods = |number: f64| Duration::from_secs_f64(number / rate);
            let samples: Vec<_> = samples.iter().map(|(busy, rest)| (periods(*busy), periods(*rest))).collect();
            let end = periods(slots);
            let Played { moments, weights, missed, left_out, over } =
                play_at(&mut Slots::new(rate, Some(end)), &samples, stretch);
            let asked = moments.len() as u64 + missed.late + missed.stretched + missed.spared;
            prop_assert!(is_rounded(asked, slots), "{asked} of {slots}");
            let stood_for: u64 = weights.iter().map(|weight| weight.slots()).sum();
            prop_assert_eq!(stood_for + left_out + missed.late + missed.unseen, asked);
            // A rest is stood for by the moment after it, not by those after that one.
            prop_assert!(weights.len() == moments.len() && weights.first().is_none_or(Weight::is_one));
            let before = |index: usize| (moments[index] - moments[index - 1]).as_secs_f64() * rate;
            prop_assert!((1..moments.len()).all(|index| weights[index].slots() as f64 <= before(index) + 1.001));
            prop_assert!(moments.iter().all(|moment| *moment <= end));
            prop_assert!(moments.is_sorted());
            let last = samples.iter().max().unwrap().0;
            prop_assert!(over >= end && over <= end + last, "{over:?} instead of {end:?}");
        }
    }

    #[test]
    fn slots_do_not_drift_in_a_year() {
        let year = Duration::from_secs(365 * 24 * 3600);
        for rate in [1.0, 3.0, 99.9, 70_000.0, 150_000.0, 200_000.0] {
            let mut slots = Slots::new(rate, Some(year));
            slots.skip_to(year - Duration::from_secs(1));
            assert!((slots.number - slots.next).abs_diff(rate as u64) <= 1, "{rate}");
            let due = slots.due().unwrap();
            assert!(due > year - Duration::from_secs(3) && due < year, "{rate}: {due:?}");
        }
    }

    #[test]
    fn samples_are_drawn_evenly_from_their_slots() {
        let mut slots = Slots::new(1000.0, Some(Duration::from_secs(10)));
        let Played { moments, .. } = play(&mut slots, &[(Duration::ZERO, Duration::ZERO)]);
        let mut parts = [0; 10];
        moments.iter().for_each(|moment| parts[moment.subsec_micros() as usize % 1000 / 100] += 1);
        assert!(parts.iter().all(|part| (850..1150).contains(part)), "{parts:?}");
    }

    #[test]
    fn at_a_pace_one_sample_of_each_group_is_taken_evenly_over_it_and_the_first_at_once() {
        for stretch in [1.3_f64, 4.0, 7.5] {
            let mut slots = Slots::new(1000.0, Some(Duration::from_secs(60)));
            let Played { moments, weights, missed, left_out, .. } =
                play_at(&mut slots, &[(100 * MICROSECOND, Duration::ZERO)], stretch);
            let stood_for: u64 = weights.iter().map(|weight| weight.slots()).sum();
            assert_eq!(stood_for + left_out + missed.late + missed.unseen, 60_000, "{stretch}");
            assert!((left_out as f64) < 2.0 * stretch.ceil() && weights[0].is_one(), "{stretch}: {left_out}");
            let expected = 60_000.0 / stretch;
            assert!((0.97..1.03).contains(&(moments.len() as f64 / expected)), "{stretch}: {}", moments.len());
            assert_eq!(moments.len() as u64 + missed.late + missed.spared, 60_000, "{stretch}");
            assert!(missed.late * 20 < moments.len() as u64, "{stretch}: {missed:?}");
            assert!(moments[0] < Duration::from_millis(1));
            // Whatever repeats itself in as many slots as a group has is seen at all its phases.
            let cycle = Duration::from_secs_f64(stretch.round() / 1000.0).as_nanos();
            let mut parts = [0; 10];
            moments.iter().for_each(|moment| parts[(moment.as_nanos() % cycle * 10 / cycle) as usize] += 1);
            let even = moments.len() / 10;
            assert!(parts.iter().all(|&part| part > even * 8 / 10 && part < even * 12 / 10), "{stretch}: {parts:?}");
        }
    }

    #[test]
    fn a_clock_that_begins_again_takes_the_next_slot() {
        let mut slots = Slots::new(1000.0, None);
        for slot in 0..5 {
            slots.group = Group::default();
            assert_eq!((slots.skip(Duration::ZERO, 1000.0), slots.next), (Missed::default(), slot));
            slots.next += 1;
        }
    }

    #[test]
    fn of_slots_that_have_passed_only_those_are_late_that_would_have_had_a_sample() {
        let mut slots = Slots::new(1000.0, None);
        assert_eq!(slots.skip(Duration::ZERO, 10.0), Missed::default());
        slots.next += 1;
        let missed = slots.skip(Duration::from_millis(1000), 10.0);
        assert_eq!(missed.late, 100, "the first group was one slot");
        assert!((899..920).contains(&missed.spared), "{missed:?}");
        // Nobody stands for what nobody saw.
        let mut left_out = LeftOut::default();
        left_out.miss(missed);
        assert!(left_out.stand_for().slots() <= 10, "{missed:?}");
    }

    #[test]
    fn phases_count_for_what_they_took_at_whatever_pace_they_were_sampled() {
        let mut slots = Slots::new(1000.0, Some(Duration::from_secs(100)));
        let (mut left_out, mut sums) = (LeftOut::default(), [0; 4]);
        // All of the first tenth is taken, then less and less.
        let phase = |slot: u64| [10_000, 30_000, 60_000, 100_000].iter().filter(|&&end| slot >= end).count();
        loop {
            let stretch = [1.0, 8.0, 2.5, 30.0][phase(slots.next).min(3)];
            left_out.miss(slots.skip(Duration::ZERO, stretch));
            if slots.due().is_none() {
                break;
            }
            sums[phase(slots.next)] += left_out.stand_for().slots();
            slots.next += 1;
        }
        for (sum, expected) in sums.iter().zip([10_000_u64, 20_000, 30_000, 40_000]) {
            assert!(sum.abs_diff(expected) < 100, "{sums:?}");
        }
    }

    #[test]
    fn a_stop_asks_for_nothing_that_comes_after_it() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(10.0, None, stopped);
        let pace = Pace::full();
        pace.set_stretch(1e6);
        clock.keep_pace(pace);
        clock.start();
        assert!(matches!(clock.next(|_| ()), Tick::Due(_)));
        stop.send(()).unwrap();
        let Tick::Stopped(Missed { late, stretched, spared, .. }) = clock.next(|_| ()) else {
            panic!("it was stopped")
        };
        let passed = clock.elapsed().as_millis() as u64 / 100;
        assert!(late == 0 && stretched == 0 && spared <= passed, "{spared} of {passed}");
    }

    #[test]
    fn a_sample_in_the_slot_that_a_rest_ends_in_is_not_before_it() {
        for _ in 0..100 {
            let mut slots = Slots::new(1000.0, None);
            slots.rest = 20_900 * MICROSECOND;
            assert_eq!(slots.skip(Duration::ZERO, 1.0), Missed { stretched: 20, ..Missed::default() });
            assert!((20_900 * MICROSECOND..=21_000 * MICROSECOND).contains(&slots.due().unwrap()));
        }
    }

    #[test]
    fn a_moment_that_could_not_be_read_stands_for_nothing() {
        let mut left_out = LeftOut::default();
        left_out.miss(Missed { late: 7, stretched: 5, ..Missed::default() });
        left_out.fail();
        left_out.miss(Missed { late: 1, stretched: 2, ..Missed::default() });
        assert_eq!([left_out.stand_for(), left_out.stand_for()], [Weight::after(2), Weight::ONE]);
    }

    #[test]
    fn processor_time_goes_on_while_one_computes() {
        let before = cpu_time();
        while cpu_time() - before < 100 * MICROSECOND {
            std::hint::spin_loop();
        }
        assert!(before > Duration::ZERO);
    }

    #[test]
    fn a_clock_of_any_rate_ends_on_time() {
        let duration = Duration::from_millis(20);
        for rate in [1.0, 100.0, 20_000.0, 200_000.0] {
            let (_stop, stopped) = bounded(1);
            let mut clock = Clock::new(rate, Some(duration), stopped);
            clock.start();
            while !matches!(clock.next(|_| ()), Tick::Over(_)) {}
            // A machine that is busy with other things may wake us up later.
            let over = clock.elapsed();
            assert!(over >= duration && over < Duration::from_secs(1), "{rate}: {over:?}");
        }
    }

    #[test]
    fn every_slot_of_a_duration_is_due_or_late() {
        let (_stop, stopped) = bounded(1);
        let mut clock = Clock::new(1000.0, Some(Duration::from_millis(50)), stopped);
        clock.start();
        let (mut due, mut passed) = (0, 0);
        loop {
            match clock.next(|_| ()) {
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
        let Tick::Due(missed) = clock.next(|_| ()) else { panic!("a sample is due") };
        assert!(clock.elapsed() >= Duration::from_millis(20));
        assert!(missed.late + missed.stretched >= 20, "{missed:?}");
    }

    #[test]
    fn what_passed_before_a_stop_is_told() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(1000.0, None, stopped);
        clock.start();
        std::thread::sleep(Duration::from_millis(10));
        stop.send(()).unwrap();
        let Tick::Stopped(missed) = clock.next(|_| ()) else { panic!("it was stopped") };
        assert!(missed.late >= 10, "{missed:?}");
    }

    #[test]
    fn a_clock_stops_in_the_middle_of_a_slot() {
        let (stop, stopped) = bounded(1);
        let mut clock = Clock::new(0.001, None, stopped);
        clock.start();
        assert!(!clock.is_over());
        stop.send(()).unwrap();
        assert!(clock.is_over());
        assert_eq!(clock.next(|_| ()), Tick::Stopped(Missed::default()));
    }
}
