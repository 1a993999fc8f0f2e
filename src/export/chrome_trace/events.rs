//! The events of a trace, and the tracks that they are on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::export::json::Json;
use crate::export::steady::Interval;
use crate::sample::Thread;

/// No thread of an OS has an id from here on (`PID_MAX_LIMIT` of Linux): tracks that are no threads do.
const FIRST_FREE_ID: u64 = 1 << 22;

/// Where slices are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Track {
    /// The process.
    pub pid: u32,
    /// The thread, or what is shown like one.
    pub tid: u64,
}

/// One event: a slice begins (`B`) or ends (`E`), a counter changes (`C`), or something is called something (`M`).
#[derive(Serialize)]
struct Entry<'a, A> {
    ph: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'a str,
    ts: f64,
    #[serde(flatten)]
    track: Track,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<A>,
}

/// A list of events under way.
pub struct Events<'a> {
    json: Json<'a>,
    used: HashSet<Track>,
    next: HashMap<u32, u64>,
}

impl<'a> Events<'a> {
    /// No event yet; `json` is within their list.
    pub fn new(json: Json<'a>) -> Events<'a> {
        Events { json, used: HashSet::new(), next: HashMap::new() }
    }

    /// What they were written to.
    pub fn finish(self) -> Json<'a> {
        self.json
    }

    /// A track for a thread. No two share one, whatever their ids: an OS thread that runs in two interpreters is two threads,
    /// and an id may be used again.
    pub fn thread_track(&mut self, pid: u32, thread: &Thread) -> Track {
        let track = thread.os_thread_id.map(|id| Track { pid, tid: id.0.into() });
        track.filter(|track| self.used.insert(*track)).unwrap_or_else(|| self.track(pid))
    }

    /// A track that is no thread.
    pub fn track(&mut self, pid: u32) -> Track {
        let next = self.next.entry(pid).or_insert(FIRST_FREE_ID);
        *next += 1;
        Track { pid, tid: *next - 1 }
    }

    /// Names a track and says where among those of its process it is.
    pub fn name(&mut self, track: Track, name: &str, place: i64) -> io::Result<()> {
        self.tell(track, "thread_name", "name", &name)?;
        self.tell(track, "thread_sort_index", "sort_index", &place)
    }

    /// Tells something that does not change.
    pub fn tell(&mut self, track: Track, what: &str, key: &str, value: &impl Serialize) -> io::Result<()> {
        let args = Some(BTreeMap::from([(key, value)]));
        self.put(&Entry { ph: "M", name: what, cat: "", ts: 0.0, track, args })
    }

    /// Begins a slice below those that are open.
    pub fn begin(
        &mut self,
        track: Track,
        name: &str,
        cat: &str,
        at: Duration,
        args: &impl Serialize,
    ) -> io::Result<()> {
        self.put(&Entry { ph: "B", name, cat, ts: micros(at), track, args: Some(args) })
    }

    /// Ends the slice that began last on a track. To tell how long it is where it begins would not do: the sum need not be where
    /// the next begins, and slices would overlap. The name is for readers that look for what ends.
    pub fn end(&mut self, track: Track, name: &str, at: Duration) -> io::Result<()> {
        self.put(&Entry::<()> { ph: "E", name, cat: "", ts: micros(at), track, args: None })
    }

    /// A slice that has ended.
    pub fn slice(
        &mut self,
        track: Track,
        name: &str,
        cat: &str,
        interval: Interval,
        args: &impl Serialize,
    ) -> io::Result<()> {
        self.begin(track, name, cat, interval.begin, args)?;
        self.end(track, name, interval.end)
    }

    /// How many threads of a process there are of a kind, from now on.
    pub fn count(&mut self, pid: u32, name: &str, threads: usize, at: Duration) -> io::Result<()> {
        let (track, args) = (Track { pid, tid: pid.into() }, Some(json!({"threads": threads})));
        self.put(&Entry { ph: "C", name, cat: "", ts: micros(at), track, args })
    }

    fn put<A: Serialize>(&mut self, entry: &Entry<A>) -> io::Result<()> {
        self.json.end_line()?;
        self.json.item(entry)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ProcessId, Tid};

    #[test]
    fn an_os_thread_in_two_interpreters_is_two_tracks() {
        let mut out = Vec::new();
        let mut events = Events::new(Json::new(&mut out));
        let thread = |interpreter| Thread {
            process: ProcessId(0),
            interpreter,
            os_thread_id: Some(Tid(7)),
            python_thread_id: 7,
            name: None,
        };
        let tracks = [thread(0), thread(1)].map(|thread| events.thread_track(3, &thread));
        assert_eq!(tracks, [Track { pid: 3, tid: 7 }, Track { pid: 3, tid: FIRST_FREE_ID }]);
        assert_eq!(events.track(3), Track { pid: 3, tid: FIRST_FREE_ID + 1 });
        assert_eq!(events.track(4), Track { pid: 4, tid: FIRST_FREE_ID });
    }
}
