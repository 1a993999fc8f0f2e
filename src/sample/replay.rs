//! A recording that can be gone through more than once: what formats and comparisons are made from.

use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Event, Wanted};

/// What is said of a recording as a whole. How long it took and what was lost is in its last [`Event::Progress`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of pysample that sampled it; empty for what was not sampled, but read from collapsed stacks.
    pub pysample: String,
    /// What a person would call the program: the script, the module, the file.
    pub program: String,
    /// When it began.
    pub started: SystemTime,
    /// Samples a second, as asked.
    pub rate: f64,
    /// Which threads are in it.
    pub wanted: Wanted,
}

/// The last second that RFC 3339 has a name for, since 1970: that before the year 10000.
const LAST: Duration = Duration::from_secs(253_402_300_799);

impl Header {
    /// When it began, if the calendar has a name for it: a file may say anything.
    pub fn began(&self) -> Option<SystemTime> {
        let since = self.started.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (since <= LAST).then_some(self.started)
    }
}

/// A recording, as often as it is asked for.
///
/// Events come as [`Event`] promises: an id is defined before it is used, ids are dense, and times never go back.
pub trait Replay {
    /// What is said of it as a whole.
    fn header(&self) -> &Header;

    /// Goes through its events, from the first to the last.
    ///
    /// # Errors
    ///
    /// What reading the recording says; an error of `take` ends the replay and is returned.
    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()>;

    /// As [`Replay::replay`], for who only counts: samples that follow each other and differ in nothing but their times may come as
    /// the last of them, with their number.
    ///
    /// # Errors
    ///
    /// As there.
    fn replay_counted(&self, take: &mut dyn FnMut(Event, u64) -> io::Result<()>) -> io::Result<()> {
        self.replay(&mut |event| take(event, 1))
    }

    /// Whether its end is there. Where it is not, because pysample was ended by force, its account is older than its last samples.
    fn has_end(&self) -> bool {
        true
    }
}

/// A recording that is a list of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// What is said of it as a whole.
    pub header: Header,
    /// What happened.
    pub events: Vec<Event>,
}

impl Replay for Literal {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        self.events.iter().cloned().try_for_each(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_began_within_the_calendar_if_at_all() {
        let began = |started| {
            let (pysample, program) = (String::new(), String::new());
            Header { pysample, program, started, rate: 100.0, wanted: Wanted::All }.began()
        };
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!([epoch, epoch + LAST].map(began), [Some(epoch), Some(epoch + LAST)]);
        assert_eq!([epoch - Duration::from_nanos(1), epoch + LAST + Duration::from_nanos(1)].map(began), [None, None]);
    }
}
