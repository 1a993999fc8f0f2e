//! Events on their way out, to a receiver that nobody waits for.
//!
//! What the channel holds is bounded. Samples that do not fit are dropped and counted; definitions wait here until there is room,
//! and as long as some wait no sample passes them. It is a channel that grows as it fills: one that has its room from the start
//! takes megabytes and milliseconds for what is hardly ever used.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::sample::{Event, Remark, Tally};

/// Events that the channel holds at most.
const ROOM: usize = 1 << 14;

/// The sending end.
pub struct Outlet {
    sender: Sender<Event>,
    /// Definitions that wait for room in the channel.
    pending: VecDeque<Event>,
}

impl Outlet {
    /// Sends to `sender`, of a channel without bounds of its own; some definitions come first.
    pub fn new(sender: Sender<Event>, first: impl IntoIterator<Item = Event>) -> Outlet {
        Outlet { sender, pending: first.into_iter().collect() }
    }

    /// Puts a definition in line.
    pub fn define(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    /// Sends as many definitions as there is room for; true if that was all.
    fn flush(&mut self) -> bool {
        while self.has_room() {
            let Some(event) = self.pending.pop_front() else { return true };
            let _ = self.sender.send(event);
        }
        self.pending.is_empty()
    }

    fn has_room(&self) -> bool {
        self.sender.len() < ROOM
    }

    /// Sends a sample, or counts it as dropped.
    pub fn send(&mut self, event: Event, tally: &mut Tally) {
        match self.flush() && self.has_room() {
            // It fails only if nobody receives any more.
            true => drop(self.sender.send(event)),
            false => tally.dropped += 1,
        }
    }

    /// Tells something that the user should know.
    pub fn remark(&mut self, remark: Remark) {
        self.pending.push_back(Event::Remark(remark));
        self.flush();
    }

    /// Tells how far the recording is, if there is room.
    pub fn progress(&mut self, at: Duration, tally: &Tally) {
        if self.flush() && self.has_room() {
            let _ = self.sender.send(Event::Progress(at, *tally));
        }
    }

    /// Sends what is left, whether there is room or not.
    pub fn finish(&mut self, at: Duration, tally: &Tally) {
        for event in self.pending.drain(..) {
            let _ = self.sender.send(event);
        }
        let _ = self.sender.send(Event::Progress(at, *tally));
    }
}
