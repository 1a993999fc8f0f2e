//! Events on their way out, to a receiver that nobody waits for.
//!
//! The channel is bounded. Samples that do not fit are dropped and counted; definitions wait here until there is room, and
//! as long as some wait no sample passes them.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use crate::sample::{Event, Remark, Tally};

/// The sending end.
pub struct Outlet {
    sender: Sender<Event>,
    /// Definitions that wait for room in the channel.
    pending: VecDeque<Event>,
}

impl Outlet {
    /// Sends to `sender`; some definitions come first.
    pub fn new(sender: Sender<Event>, first: impl IntoIterator<Item = Event>) -> Outlet {
        Outlet { sender, pending: first.into_iter().collect() }
    }

    /// Puts a definition in line.
    pub fn define(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    /// Sends as many definitions as there is room for; true if that was all.
    fn flush(&mut self) -> bool {
        while let Some(event) = self.pending.pop_front() {
            if let Err(TrySendError::Full(event)) = self.sender.try_send(event) {
                self.pending.push_front(event);
                return false;
            }
        }
        true
    }

    /// Sends a sample, or counts it as dropped.
    pub fn send(&mut self, event: Event, tally: &mut Tally) {
        if !self.flush() || matches!(self.sender.try_send(event), Err(TrySendError::Full(_))) {
            tally.dropped += 1;
        }
    }

    /// Tells something that the user should know.
    pub fn remark(&mut self, remark: Remark) {
        self.pending.push_back(Event::Remark(remark));
        self.flush();
    }

    /// Tells how far the recording is, if there is room.
    pub fn progress(&mut self, at: Duration, tally: &Tally) {
        if self.flush() {
            let _ = self.sender.try_send(Event::Progress(at, *tally));
        }
    }

    /// Sends what is left. The receiver is still there or it has chosen not to be: this may wait for it.
    pub fn finish(&mut self, at: Duration, tally: &Tally) {
        for event in self.pending.drain(..) {
            let _ = self.sender.send(event);
        }
        let _ = self.sender.send(Event::Progress(at, *tally));
    }
}
