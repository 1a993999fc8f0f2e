//! The calling thread before all others, for as long as a thread of the target is stopped.
//!
//! On a machine whose processors are all busy a thread that is preempted gets its next turn some milliseconds later. If
//! that is ours while it has stopped another, that one waits as long. As a real-time thread it is not preempted.
//!
//! To become urgent and usual again for each sample is no good where many threads want the processors: a thread that comes
//! to those of its group, and goes, changes what share of each processor the kernel gives to the group, and while it
//! balances that out others may be left without for a second. Who is often urgent should stay so for a while.

use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

/// Whether the calling thread is urgent, and may become so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// It is like others.
    #[default]
    Usual,
    /// No other thread is run before it, but for real-time threads.
    Urgent,
    /// Likewise, but for somebody else, who will make it usual again.
    Already,
    /// The kernel does not let us.
    Refused,
}

impl Urgency {
    /// For a thread that has just begun: whoever started it may have been urgent, and it would stay so.
    pub fn inherit_none() {
        Urgency::Urgent.end();
    }

    /// Makes the calling thread urgent, if it may be.
    pub fn begin(&mut self) {
        if *self == Urgency::Usual {
            let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
            if thread_schedule_policy() == Ok(policy) {
                *self = Urgency::Already;
                return;
            }
            *self = match set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
                Ok(()) => Urgency::Urgent,
                Err(_) => Urgency::Refused,
            };
        }
    }

    /// Whether the calling thread is urgent.
    pub fn is_urgent(self) -> bool {
        matches!(self, Urgency::Urgent | Urgency::Already)
    }

    /// Makes the calling thread as usual again, if it is urgent because of this: preferred, as a sampler is.
    pub fn end(&mut self) {
        if *self == Urgency::Already {
            *self = Urgency::Usual;
        }
        if *self == Urgency::Urgent {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
            // Who may become urgent may stop being so; it may be that it cannot be preferred.
            let _ = set_thread_priority_and_policy(thread_native_id(), preferred(), policy);
            *self = Urgency::Usual;
        }
    }
}

/// A nice value of about -10.
fn preferred() -> ThreadPriority {
    75_u8.try_into().map_or(ThreadPriority::Max, ThreadPriority::Crossplatform)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn it_is_as_usual_afterwards() {
        let mut urgency = Urgency::default();
        urgency.begin();
        if urgency == Urgency::Refused {
            return;
        }
        assert_eq!(thread_schedule_policy(), Ok(ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo)));
        urgency.end();
        assert_eq!(thread_schedule_policy(), Ok(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other)));
        let nice = getpriority_process(None).unwrap();
        assert!((-12..=-8).contains(&nice), "{nice}");
    }

    #[test]
    fn it_lasts_as_long_as_whoever_was_first_wants() {
        let (mut first, mut second) = (Urgency::default(), Urgency::default());
        first.begin();
        if first == Urgency::Refused {
            return;
        }
        second.begin();
        assert!(second.is_urgent());
        second.end();
        assert_eq!(thread_schedule_policy(), Ok(ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo)));
        first.end();
        assert_eq!(thread_schedule_policy(), Ok(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other)));
    }
}
