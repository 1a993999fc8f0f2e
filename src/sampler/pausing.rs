//! Whether threads are stopped while they are read, and what becomes of it where the kernel does not let us.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::thread::sched_getcpu;

use super::heralds::Heralds;
use crate::sample::{Remark, Tid};
use crate::target::displace::{Displaced, Displacer};
use crate::target::pause::{Pauser, Refusal};
use crate::target::urgency::Urgency;
use crate::target::{Place, Target};

/// So often in a row a thread is found on a processor until the next one is taken to be on one.
const CROWDED: u8 = 8;
/// For how many moments we stay urgent after somebody had no processor, or had to be followed to its.
const LINGERS: u8 = 64;
/// Up to so many moments a second ours is a small part of a processor, for which we may run before all others.
const SELDOM: f64 = 1000.0;
/// Up to so many it is a small part of the target's processor that heralds take.
const RARE: f64 = 250.0;
/// A stop so long makes one ask whether we had a processor all the time.
const LONG_STOP: Duration = Duration::from_micros(300);
/// How soon it is tried again to stop threads where the kernel forbade it; twice as long each time, up to a minute or so.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const LONGEST_UNTRIED: Duration = Duration::from_secs(64);

/// Whether threads are stopped while they are read.
#[derive(Debug, Default)]
pub struct Pausing {
    pauser: Option<Pauser>,
    displacer: Displacer,
    /// Whether the kernel has let us stop a thread. Where it does not, that is to be told at once, so nobody is displaced
    /// before.
    may_displace: bool,
    /// Whether somebody has been displaced for this moment. Once is enough: if it was in vain, the next try stops it.
    has_tried: bool,
    /// How often threads have yet to be found on a processor until the next one is taken to be on one.
    crowded: u8,
    /// Whether we may stay urgent from one moment to the next, for how many more, and whether we do.
    may_linger: bool,
    lingers: u8,
    urgency: Urgency,
    /// Who is sent, if anybody may be.
    heralds: Option<Heralds>,
    /// How often this thread of ours was preempted, when that was last asked.
    preemptions: i64,
    /// For how long threads were displaced that ran, in this moment.
    displaced: Option<Duration>,
    /// For how long threads were displaced that had no processor, altogether.
    queued: Duration,
    /// Threads that would not stop, for this moment.
    given_up: Vec<Tid>,
    /// For how long somebody was stopped when the kernel forbade it.
    untold: Option<Duration>,
    remark: Option<Remark>,
    /// Since when the kernel forbids it, and for how long it is left at that.
    forbidden: Option<Forbidden>,
    /// Whether it has been told that it does.
    is_told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Forbidden {
    pid: u32,
    since: Instant,
    untried: Duration,
}

impl Pausing {
    /// Nobody is ever stopped.
    pub fn never() -> Pausing {
        Pausing::default()
    }

    /// Threads of a process are stopped for so many moments a second.
    pub fn of(pid: u32, rate: f64) -> Pausing {
        let heralds = (rate <= RARE).then(Heralds::default);
        Pausing { pauser: Some(Pauser::new(pid)), may_linger: rate <= SELDOM, heralds, ..Pausing::default() }
    }

    /// From now on threads are stopped again, if the kernel forbade it and that is some time ago: whoever traced them may have
    /// gone. True if they are.
    pub fn try_again(&mut self) -> bool {
        match self.forbidden {
            Some(it) if self.is_never() && it.since.elapsed() >= it.untried => {
                self.pauser = Some(Pauser::on_trial(it.pid));
                true
            }
            _ => false,
        }
    }

    /// Whether nobody is stopped.
    pub fn is_never(&self) -> bool {
        self.pauser.is_none()
    }

    /// Whether a thread is stopped by us.
    pub fn is_paused(&self, tid: Tid) -> bool {
        self.pauser.as_ref().is_some_and(|pauser| pauser.is_paused(tid))
    }

    /// Whether no thread is stopped or displaced by us.
    pub fn holds_nobody(&self) -> bool {
        self.pauser.as_ref().is_none_or(Pauser::is_idle) && !self.displacer.has_seat()
    }

    /// Whether a thread would not stop, so that there is no use in asking again.
    pub fn has_given_up(&self, tid: Tid) -> bool {
        self.given_up.contains(&tid)
    }

    /// Keeps a thread from running that was seen on a processor, or ready for it: true if it does not run, until
    /// [`Pausing::resume`].
    ///
    /// It is stopped if it runs, as far as can be told beforehand. One that has probably no processor, or whose
    /// processor we have, is displaced; see [`Pausing::still_holds`]. So is one that has not stopped in time.
    pub fn hold(&mut self, target: &Target, tid: Tid, place: Place) -> bool {
        if self.displace_if_likely(target, tid, place) {
            return true;
        }
        if self.pause_at(tid, Some(place.processor)) {
            self.heralds.iter_mut().for_each(|heralds| heralds.note_place(place.processor));
            return true;
        }
        let is_displaced = self.has_given_up(tid) && self.displace(target, tid, place);
        if is_displaced {
            self.given_up.retain(|&given_up| given_up != tid);
        }
        is_displaced
    }

    /// Displaces a thread that has probably no processor, or whose processor we have; true if it does not run, until
    /// [`Pausing::resume`]. It does not notice, whatever it is about to do.
    pub fn displace_if_likely(&mut self, target: &Target, tid: Tid, place: Place) -> bool {
        let is_likely = self.crowded > 0 || sched_getcpu() == place.processor;
        self.may_displace && is_likely && self.displace(target, tid, place)
    }

    fn displace(&mut self, target: &Target, tid: Tid, place: Place) -> bool {
        if !place.is_ordinary || std::mem::replace(&mut self.has_tried, true) {
            return false;
        }
        let is_elsewhere = sched_getcpu() != place.processor;
        let displaced = self.displacer.displace(target, tid, place.processor);
        // Who stays urgent wakes up where it was, also if that is the thread's processor and others are idle.
        if is_elsewhere && displaced.is_some() {
            self.lingers = LINGERS;
        }
        self.crowded = match displaced {
            Some(Displaced::Queued) => CROWDED,
            Some(Displaced::Running) | None => self.crowded.saturating_sub(1),
        };
        displaced.is_some()
    }

    /// Whether a thread has not run since it was stopped or displaced by us, as of now.
    pub fn still_holds(&self, target: &Target, tid: Tid) -> bool {
        self.is_paused(tid) || self.displacer.has_displaced(target, tid)
    }

    /// Stops a thread; true if it is stopped. Where the kernel forbids it, nobody is stopped until [`Pausing::try_again`].
    pub fn pause(&mut self, tid: Tid) -> bool {
        self.pause_at(tid, None)
    }

    /// Likewise, where it was seen on a processor.
    fn pause_at(&mut self, tid: Tid, processor: Option<usize>) -> bool {
        self.leave_processor();
        let hurries = self.must_hurry();
        let Some(pauser) = &mut self.pauser else { return false };
        let herald = self.heralds.as_mut().and_then(|heralds| heralds.at(processor));
        let paused = pauser.pause(tid, hurries, herald);
        self.heralds.iter_mut().for_each(Heralds::dismiss);
        if pauser.has_waited() {
            (self.crowded, self.lingers) = (CROWDED, LINGERS);
        }
        self.may_displace |= matches!(paused, Ok(()) | Err(Refusal::WillNotStop));
        match paused {
            Ok(()) => {
                self.forbidden = None;
                true
            }
            Err(Refusal::Gone) => false,
            Err(Refusal::WillNotStop) => {
                self.given_up.push(tid);
                false
            }
            Err(Refusal::Forbidden) => {
                self.untold = pauser.resume();
                let pid = pauser.process();
                self.pauser = None;
                // That is told once.
                if !std::mem::replace(&mut self.is_told, true) {
                    self.remark = Some(Remark::CannotPause);
                }
                let untried = self.forbidden.map_or(TRY_AGAIN, |before| (before.untried * 2).min(LONGEST_UNTRIED));
                self.forbidden = Some(Forbidden { pid, since: Instant::now(), untried });
                false
            }
        }
    }

    /// Lets everybody go. Returns for how long somebody was stopped, or displaced.
    pub fn resume(&mut self) -> Option<Duration> {
        self.given_up.clear();
        self.dismiss_herald();
        self.leave_processor();
        self.has_tried = false;
        let displaced = self.displaced.take();
        let stopped = match &mut self.pauser {
            None => self.untold.take(),
            Some(pauser) => {
                pauser.tend();
                pauser.resume()
            }
        };
        if let (Some(_), Some(pauser), Some(heralds)) = (stopped, &self.pauser, &mut self.heralds) {
            heralds.note_stop(pauser.had_called());
        }
        if stopped.is_some_and(|stopped| stopped > LONG_STOP) {
            self.look_for_others();
        }
        self.linger();
        let stayed = self.heralds.as_ref().and_then(Heralds::take_stayed);
        [displaced, stayed, stopped].into_iter().flatten().reduce(|all, next| all + next)
    }

    /// To be told when the next moment is due, before we wait for it.
    pub fn foresee(&mut self, due: Instant) {
        if let Some(heralds) = self.heralds.as_mut().filter(|_| self.crowded == 0) {
            heralds.send(due);
        }
    }

    /// Whether a herald was sent to where somebody may have to be stopped; see [`Heralds`].
    pub fn expects_herald(&self) -> bool {
        self.heralds.as_ref().is_some_and(Heralds::is_expected)
    }

    /// Waits for him. To be called right before it is looked who is to be stopped.
    pub fn wait_for_herald(&mut self) {
        self.heralds.iter_mut().for_each(Heralds::wait);
    }

    /// Lets him go, where nobody was to be stopped.
    pub fn dismiss_herald(&mut self) {
        self.heralds.iter_mut().for_each(Heralds::dismiss);
    }

    /// Whether others might take the processor from us while somebody is stopped. Where processors are to be had hardly anybody
    /// does, and to become urgent and usual again takes as long as to read a stack.
    fn must_hurry(&self) -> bool {
        self.crowded > 0 || self.lingers > 0
    }

    /// Hurries from now on if others were run while we had work to do.
    fn look_for_others(&mut self) {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return };
        let preemptions = usage.involuntary_context_switches();
        if std::mem::replace(&mut self.preemptions, preemptions) < preemptions {
            self.lingers = LINGERS;
        }
    }

    /// Stays urgent, or is as usual again.
    fn linger(&mut self) {
        match self.lingers > 0 && self.may_linger {
            true => self.urgency.begin(),
            false => self.urgency.end(),
        }
        self.lingers = self.lingers.saturating_sub(1);
    }

    /// For how long threads were displaced so far that had no processor: they were not stopped, but waited longer.
    pub fn queued(&self) -> Duration {
        self.queued
    }

    fn leave_processor(&mut self) {
        match self.displacer.leave() {
            Some((Displaced::Running, time)) => *self.displaced.get_or_insert_default() += time,
            Some((Displaced::Queued, time)) => self.queued += time,
            None => {}
        }
    }

    /// Waits, while that is so, for threads that have not stopped when they should, and lets them go as they do. Returns
    /// for how long those were stopped.
    pub fn settle(&mut self, is_so: impl Fn() -> bool) -> Option<Duration> {
        self.pauser.as_mut()?.settle(is_so)
    }

    /// To be called by a thread that ends.
    pub fn leave(&mut self) {
        if let Some(pauser) = &mut self.pauser {
            pauser.leave();
        }
    }

    /// What the user should know, once.
    pub fn take_remark(&mut self) -> Option<Remark> {
        self.remark.take()
    }

    /// Whether the calling thread has to end for a thread of the target to go on; see [`Pauser::must_leave`].
    pub fn must_leave(&self) -> bool {
        self.pauser.as_ref().is_some_and(Pauser::must_leave)
    }

    /// To be called by the thread that goes on. Returns for how long a thread of the target has waited for it.
    pub fn arrive(&mut self) -> Option<Duration> {
        Urgency::inherit_none();
        (self.urgency, self.preemptions) = (Urgency::default(), 0);
        self.pauser.as_mut()?.arrive()
    }
}

/// How much of its time the target may be stopped: a bucket that stops fill and time drains.
///
/// However long single stops are, no rest is shorter than they ask for: in any time `t` the target is stopped for no
/// more than its share of `t`, [`BUCKET`] and the last stop. Of a whole recording, once it is a second long, the share
/// is kept to the last stop.
#[derive(Debug)]
pub struct Budget {
    /// How fast time drains the bucket.
    drain: f64,
    /// Stopped time that has not drained yet, at the time of the last stop.
    level: Duration,
    last: Duration,
    /// What was stopped until then.
    counted: Duration,
}

/// What the bucket holds: so much may be stopped at once without a rest, by a target that was left alone before.
const BUCKET: Duration = Duration::from_millis(10);
/// A recording begins with a full bucket, but for what would have drained in this time: its first stops are long, and
/// need no rest. It is paid back, by draining for all but so much of the share.
const HEAD_START: Duration = Duration::from_millis(20);
const KEPT_BACK: f64 = 0.02;
/// The longest rest, whatever the share: a year, which is as long as a recording may be.
const LONGEST_REST: f64 = 365.0 * 86_400.0;

impl Budget {
    /// Up to `share` of the time, above 0 and up to 1.
    pub fn new(share: f64) -> Budget {
        // Whoever is allowed all of the time is never made to rest.
        let drain = if share < 1.0 { share * (1.0 - KEPT_BACK) } else { 1.0 };
        let level = BUCKET.saturating_sub(HEAD_START.mul_f64(share));
        Budget { drain, level, last: Duration::ZERO, counted: Duration::ZERO }
    }

    /// Counts what was stopped altogether by now, so long after the start. Returns until when to rest.
    pub fn spend(&mut self, now: Duration, total: Duration) -> Duration {
        let stopped = total.saturating_sub(self.counted);
        let drained = |time: Duration| time.mul_f64(self.drain);
        // The bucket drains during the stop, too.
        let before = now.saturating_sub(self.last).saturating_sub(stopped);
        self.level = self.level.saturating_sub(drained(before)) + stopped.saturating_sub(drained(stopped));
        self.last = now;
        self.counted = total;
        let rest = self.level.saturating_sub(BUCKET).as_secs_f64() / self.drain;
        now + Duration::from_secs_f64(rest.min(LONGEST_REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_had_to_hurry_stays_urgent_for_some_moments_if_they_are_seldom() {
        for (may_linger, expected) in [(true, [true, true, false]), (false, [false; 3])] {
            let mut pausing = Pausing { may_linger, lingers: 2, ..Pausing::never() };
            let urgent = [(); 3].map(|()| {
                pausing.resume();
                pausing.urgency
            });
            if !urgent.contains(&Urgency::Refused) {
                assert_eq!(urgent.map(Urgency::is_urgent), expected);
            }
        }
    }

    #[test]
    fn short_stops_need_no_rest() {
        let mut budget = Budget::new(0.05);
        for n in 1..10_000 {
            let now = MILLISECOND * n;
            assert_eq!(budget.spend(now, n * MILLISECOND / 25), now);
        }
    }

    #[test]
    fn a_long_first_stop_needs_no_rest() {
        let now = MILLISECOND * 5;
        assert_eq!(Budget::new(0.05).spend(now, MILLISECOND), now);
    }

    #[test]
    fn a_stop_of_fifty_milliseconds_is_followed_by_a_second_of_rest() {
        let mut budget = Budget::new(0.05);
        let now = SECOND * 10;
        let rest = budget.spend(now, 50 * MILLISECOND) - now;
        assert!((760 * MILLISECOND..770 * MILLISECOND).contains(&rest), "the bucket was empty: {rest:?}");
        let now = now + rest + 50 * MILLISECOND;
        let rest = budget.spend(now, 100 * MILLISECOND) - now;
        assert!((965 * MILLISECOND..975 * MILLISECOND).contains(&rest), "the bucket was full: {rest:?}");
    }

    #[test]
    fn long_stops_are_held_to_the_share_and_no_more() {
        let mut budget = Budget::new(0.05);
        let (mut now, mut stopped) = (Duration::ZERO, Duration::ZERO);
        while now < 10 * SECOND {
            now += 2 * MILLISECOND;
            stopped += 2 * MILLISECOND;
            now = budget.spend(now, stopped);
        }
        let share = stopped.as_secs_f64() / now.as_secs_f64();
        assert!((0.048..=0.05).contains(&share), "{share}");
    }

    #[test]
    fn who_allows_all_of_the_time_is_asked_for_no_rest() {
        let mut budget = Budget::new(1.0);
        for n in 1..1000 {
            let now = 50 * MILLISECOND * n;
            assert_eq!(budget.spend(now, now), now);
        }
    }

    #[test]
    fn the_smallest_share_is_a_long_rest_and_no_more() {
        for share in [f64::MIN_POSITIVE, 1e-302, 1e-12] {
            let mut budget = Budget::new(share);
            assert_eq!(budget.spend(SECOND, Duration::ZERO), SECOND);
            let rest = budget.spend(2 * SECOND, 50 * MILLISECOND) - 2 * SECOND;
            assert_eq!(rest, Duration::from_secs_f64(LONGEST_REST));
        }
    }

    /// Stops, from 1 us to 100 ms, and for how long the target runs before each beyond the rest that was asked for.
    fn stops() -> impl Strategy<Value = Vec<(Duration, Duration)>> {
        let time = || (0.0..5.0_f64).prop_map(|power| Duration::from_secs_f64(1e-6 * 10_f64.powf(power)));
        vec((prop_oneof![Just(Duration::ZERO), time()], time()), 1..500)
    }

    proptest! {
        #[test]
        fn a_target_is_not_stopped_for_more_than_its_share(stops in stops(), percent in 0.1..99.0_f64) {
            let share = percent / 100.0;
            let mut budget = Budget::new(share);
            let (mut now, mut total) = (Duration::ZERO, Duration::ZERO);
            // When each stop began and ended, and what was stopped before it.
            let mut past: Vec<(Duration, Duration)> = Vec::new();
            for (run, stop) in stops {
                now += run;
                past.push((now, total));
                now += stop;
                total += stop;
                let allowed = now.mul_f64(share) + HEAD_START.mul_f64(share).min(BUCKET) + stop;
                prop_assert!(total <= allowed, "{total:?} of {now:?}");
                prop_assert!(now < SECOND || total <= now.mul_f64(share) + stop, "{total:?} of {now:?}");
                for (begin, before) in &past {
                    let allowed = (now - *begin).mul_f64(share) + BUCKET + stop;
                    prop_assert!(total - *before <= allowed, "{:?} from {begin:?} to {now:?}", total - *before);
                }
                now = budget.spend(now, total);
            }
        }
    }
}
