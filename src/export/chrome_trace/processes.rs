//! Who held the GIL of each process, when garbage was collected, and how many threads wanted the GIL.
//!
//! What is seen at one moment of a process comes together: first who held its GILs, where that is told, then its threads.

use std::collections::BTreeMap;
use std::io;

use serde_json::json;

use super::Names;
use super::events::{Events, Track};
use crate::export::steady::{Followed, Interval, Seen, Steady, Step};
use crate::sample::{GilHeld, GilSample, GilState, ProcessId, Sample, ThreadId, ThreadState};

/// What threads are counted that wait for the GIL.
const WANTED: &str = "threads that want the GIL";

/// Every process that was seen.
pub struct Processes<'a> {
    names: Names<'a>,
    lanes: BTreeMap<ProcessId, Lane>,
}

/// What is open of a process.
#[derive(Default)]
struct Lane {
    moment: Moment,
    /// Whether it is told who holds the GILs; else it is taken from the samples.
    is_told: bool,
    followed: Followed,
    wanted: usize,
    /// By the first of the interpreters that share it, or by interpreter where that is not told.
    held: BTreeMap<i64, Holders>,
    /// By interpreter.
    collecting: BTreeMap<i64, Holders>,
}

/// What was seen at one moment.
#[derive(Default)]
struct Moment {
    seen: Option<Seen>,
    held: BTreeMap<i64, Option<Who>>,
    collecting: BTreeMap<i64, Option<Who>>,
    wanted: usize,
}

/// Who does something that one thread does at a time, and the track of it.
#[derive(Default)]
struct Holders {
    track: Option<Track>,
    steady: Steady<Who>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Thread(ThreadId),
    Someone,
}

#[derive(Clone, Copy)]
enum What {
    Gil,
    Collection,
}

impl<'a> Processes<'a> {
    /// None was seen.
    pub fn new(names: Names<'a>) -> Processes<'a> {
        Processes { names, lanes: BTreeMap::new() }
    }

    /// Takes who held a GIL.
    pub fn take_gil(&mut self, gil: &GilSample, events: &mut Events) -> io::Result<()> {
        let lane = self.enter(gil.process, Seen { at: gil.at, weight: gil.weight }, events)?;
        let who = match gil.holder {
            GilHeld::By(thread) => Some(Who::Thread(thread)),
            GilHeld::BySomeone => Some(Who::Someone),
            GilHeld::Free | GilHeld::None | GilHeld::Unknown => None,
        };
        lane.is_told = true;
        lane.moment.held.insert(gil.owner, who);
        let collecting = gil.is_collecting.then_some(who.unwrap_or(Who::Someone));
        lane.moment.collecting.insert(gil.interpreter, collecting);
        Ok(())
    }

    /// Takes the next sample.
    pub fn take(&mut self, sample: &Sample, events: &mut Events) -> io::Result<()> {
        let id = self.names.tables.thread_of(sample.thread);
        let thread = self.names.tables.thread(id);
        let lane = self.enter(thread.process, Seen::of(sample), events)?;
        let moment = &mut lane.moment;
        moment.wanted += usize::from(sample.state == ThreadState::WaitsForGil);
        if sample.gil == GilState::Held && !lane.is_told {
            moment.held.insert(thread.interpreter, Some(Who::Thread(id)));
        }
        if sample.state == ThreadState::CollectsGarbage {
            moment.collecting.insert(thread.interpreter, Some(Who::Thread(id)));
        }
        Ok(())
    }

    /// What follows is of this moment of a process.
    fn enter(&mut self, process: ProcessId, seen: Seen, events: &mut Events) -> io::Result<&mut Lane> {
        let lane = self.lanes.entry(process).or_default();
        if lane.moment.seen.map(|seen| seen.at) != Some(seen.at) {
            lane.leave(process, &self.names, events)?;
            lane.moment.seen = Some(seen);
        }
        Ok(lane)
    }

    /// Ends what is open.
    pub fn finish(self, events: &mut Events) -> io::Result<()> {
        let period = self.names.tables.period();
        for (process, mut lane) in self.lanes {
            lane.leave(process, &self.names, events)?;
            if let Some(end) = lane.followed.end(period).filter(|_| lane.wanted > 0) {
                events.count(self.names.pid(process), WANTED, 0, end)?;
            }
            for (what, open) in [(What::Gil, lane.held), (What::Collection, lane.collecting)] {
                for (interpreter, mut holders) in open {
                    if let Some(ended) = std::mem::take(&mut holders.steady).end(period) {
                        holders.tell(process, what, interpreter, ended, &self.names, events)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Lane {
    /// Ends a moment: what it has is all there was.
    fn leave(&mut self, process: ProcessId, names: &Names, events: &mut Events) -> io::Result<()> {
        let moment = std::mem::take(&mut self.moment);
        let Some(seen) = moment.seen else { return Ok(()) };
        let Step { begin, gap } = self.followed.take(seen, names.tables.period());
        if let Some(end) = gap.filter(|_| self.wanted > 0) {
            events.count(names.pid(process), WANTED, 0, end)?;
            self.wanted = 0;
        }
        if self.wanted != moment.wanted {
            events.count(names.pid(process), WANTED, moment.wanted, begin)?;
            self.wanted = moment.wanted;
        }
        let held = (What::Gil, &mut self.held, &moment.held);
        let collecting = (What::Collection, &mut self.collecting, &moment.collecting);
        for (what, open, shown) in [held, collecting] {
            for interpreter in shown.keys() {
                open.entry(*interpreter).or_default();
            }
            for (interpreter, holders) in open {
                let who = shown.get(interpreter).copied().flatten();
                if let Some(ended) = holders.steady.take(seen, who, names.tables.period()) {
                    holders.tell(process, what, *interpreter, ended, names, events)?;
                }
            }
        }
        Ok(())
    }
}

impl Holders {
    fn tell(
        &mut self,
        process: ProcessId,
        what: What,
        interpreter: i64,
        (who, interval): (Who, Interval),
        names: &Names,
        events: &mut Events,
    ) -> io::Result<()> {
        // First of its process.
        let (name, place) = match what {
            What::Gil => ("GIL", -2),
            What::Collection => ("garbage collection", -1),
        };
        let track = match self.track {
            Some(track) => track,
            None => {
                let new = events.track(names.pid(process));
                let full = match interpreter {
                    0 => name.to_owned(),
                    other => format!("{name} of interpreter {other}"),
                };
                events.name(new, &full, place)?;
                *self.track.insert(new)
            }
        };
        let holder = match who {
            Who::Thread(thread) => names.labels.thread(names.tables.thread(thread)),
            Who::Someone => "a thread that is not known".into(),
        };
        events.slice(track, &holder, name, interval, &json!({"thread": holder}))
    }
}

impl Names<'_> {
    fn pid(&self, process: ProcessId) -> u32 {
        self.tables.process(process).map_or(0, |process| process.pid)
    }
}
