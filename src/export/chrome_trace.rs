//! A trace for [Perfetto](https://ui.perfetto.dev) and `chrome://tracing`, in the Trace Event format (JSON).
//!
//! A frame's slice lasts for as long as the samples of its thread that follow each other have it at the same depth, below the
//! same frames; `steady` says when samples follow each other, and that gaps are not bridged. Below the slices of each thread is
//! a track of what it was doing and whether it held the GIL. Each process has a track of who held its GIL, one of its garbage
//! collections, and a counter of the threads that wanted the GIL. Times are microseconds since the recording began.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::Labels;
use super::json::Json;
use super::places::Places;
use super::steady::{Followed, Interval, Steady};
use super::tables::Tables;
use crate::printable::printable;
use crate::sample::{
    Event, GilHeld, GilState, Process, ProcessId, Replay, Sample, StackId, Thread, ThreadId, ThreadState,
};

/// No thread of an OS has an id from here on (`PID_MAX_LIMIT` of Linux): tracks that are no threads do.
const FIRST_FREE_ID: u64 = 1 << 22;

/// Writes a recording.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let header = recording.header();
    let tables = Tables::read(recording, &mut |_| {})?;
    let places = Places::new(&tables, labels);
    let mut json = Json::new(out);
    json.open("{")?;
    json.field("displayTimeUnit", &"ms")?;
    let started = humantime::format_rfc3339_nanos(header.started).to_string();
    let about =
        json!({"program": header.program, "pysample": header.pysample, "rate": header.rate, "started": started});
    json.field("otherData", &about)?;
    json.open_list("traceEvents")?;
    let mut trace = Trace::new(&tables, &places, labels, json);
    trace.processes(&header.program)?;
    recording.replay(&mut |event| trace.take(&event))?;
    trace.finish()
}

/// Where slices are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
struct Track {
    pid: u32,
    tid: u64,
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

struct Trace<'a> {
    tables: &'a Tables,
    places: &'a Places<'a>,
    labels: &'a Labels,
    json: Json<'a>,
    tracks: Tracks,
    names: Vec<String>,
    threads: BTreeMap<ThreadId, Lane>,
    gils: BTreeMap<ProcessId, ProcessLane>,
}

/// What is open of a thread.
struct Lane {
    frames: Track,
    states: Track,
    /// Places, outermost first.
    open: Vec<u32>,
    stack: Option<StackId>,
    followed: Followed,
    state: Steady<(ThreadState, GilState)>,
}

/// What is open of a process.
#[derive(Default)]
struct ProcessLane {
    moment: Moment,
    /// Whether it is told who holds the GILs; else it is taken from the samples.
    is_told: bool,
    followed: Followed,
    wanted: usize,
    held: BTreeMap<i64, (Option<Track>, Steady<Who>)>,
    collecting: BTreeMap<i64, (Option<Track>, Steady<Who>)>,
}

/// What was seen of a process at one moment.
#[derive(Default)]
struct Moment {
    at: Option<Duration>,
    held: BTreeMap<i64, Option<Who>>,
    collecting: BTreeMap<i64, Option<Who>>,
    wanted: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Thread(ThreadId),
    Someone,
}

impl<'a> Trace<'a> {
    fn new(tables: &'a Tables, places: &'a Places<'a>, labels: &'a Labels, json: Json<'a>) -> Trace<'a> {
        let names = places.each().map(|(code, line)| labels.frame(code, line)).collect();
        let (tracks, threads, gils) = (Tracks::new(), BTreeMap::new(), BTreeMap::new());
        Trace { tables, places, labels, json, tracks, names, threads, gils }
    }

    fn processes(&mut self, program: &str) -> io::Result<()> {
        for (id, process) in self.tables.processes().iter().enumerate() {
            let id = ProcessId(id as u32);
            let name = self.tables.process_name(id, program);
            let Process { pid, own_pid, python, .. } = process;
            let track = Track { pid: *pid, tid: (*pid).into() };
            self.about(track, "process_name", "name", &name)?;
            self.about(track, "process_sort_index", "sort_index", &id.0)?;
            let labels = match pid == own_pid {
                true => format!("Python {}", printable(python)),
                false => format!("Python {}, pid {own_pid} of its own", printable(python)),
            };
            self.about(track, "process_labels", "labels", &labels)?;
        }
        Ok(())
    }

    fn about(&mut self, track: Track, what: &str, key: &str, value: &impl Serialize) -> io::Result<()> {
        let args = Some(BTreeMap::from([(key, value)]));
        put(&mut self.json, &Entry { ph: "M", name: what, cat: "", ts: 0.0, track, args })
    }

    fn name_track(&mut self, track: Track, name: &str, place: i64) -> io::Result<()> {
        self.about(track, "thread_name", "name", &name)?;
        self.about(track, "thread_sort_index", "sort_index", &place)
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Sample(sample) => {
                self.sample(sample)?;
                self.see(sample)
            }
            Event::Gil(gil) => {
                self.enter(gil.process, gil.at)?;
                let who = match gil.holder {
                    GilHeld::By(thread) => Some(Who::Thread(thread)),
                    GilHeld::BySomeone => Some(Who::Someone),
                    GilHeld::Free | GilHeld::None | GilHeld::Unknown => None,
                };
                let lane = self.gils.entry(gil.process).or_default();
                lane.is_told = true;
                lane.moment.held.insert(gil.owner, who);
                let collecting = gil.is_collecting.then_some(who.unwrap_or(Who::Someone));
                lane.moment.collecting.insert(gil.interpreter, collecting);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        let (id, period) = (self.tables.thread_of(sample.thread), self.tables.period());
        if !self.threads.contains_key(&id) {
            self.begin(id)?;
        }
        let Some(mut lane) = self.threads.remove(&id) else { return Ok(()) };
        if let Some(end) = lane.followed.take(sample.at, period) {
            self.close(&mut lane, 0, end)?;
        }
        if lane.stack != sample.stack || lane.open.is_empty() {
            let mut places: Vec<u32> = Vec::new();
            places.extend(sample.stack.into_iter().flat_map(|s| self.tables.frames_of(s)).map(|f| self.places.of(f)));
            places.reverse();
            let same = lane.open.iter().zip(&places).take_while(|(open, place)| open == place).count();
            self.close(&mut lane, same, sample.at)?;
            for &place in &places[same..] {
                self.open(lane.frames, place, sample.at)?;
            }
            (lane.open, lane.stack) = (places, sample.stack);
        }
        if let Some(ended) = lane.state.take(sample.at, Some((sample.state, sample.gil)), period) {
            self.state(lane.states, ended)?;
        }
        self.threads.insert(id, lane);
        Ok(())
    }

    /// A thread that is seen for the first time.
    fn begin(&mut self, id: ThreadId) -> io::Result<()> {
        let thread: &Thread = self.tables.thread(id);
        let pid = self.tables.pid(thread);
        let frames = self.tracks.thread(pid, thread);
        let states = self.tracks.new_in(pid);
        let name = self.labels.thread(thread);
        let place = 2 * i64::from(id.0);
        self.name_track(frames, &name, place)?;
        self.name_track(states, &format!("{name}: state"), place + 1)?;
        let (open, stack) = (Vec::new(), None);
        let (followed, state) = (Followed::default(), Steady::default());
        self.threads.insert(id, Lane { frames, states, open, stack, followed, state });
        Ok(())
    }

    fn open(&mut self, track: Track, place: u32, at: Duration) -> io::Result<()> {
        let (function, line) = self.places.places[place as usize];
        let args = Some(json!({"file": self.places.functions[function as usize].file, "line": line}));
        let name = &self.names[place as usize];
        put(&mut self.json, &Entry { ph: "B", name, cat: "python", ts: micros(at), track, args })
    }

    /// Ends all slices from a depth on.
    fn close(&mut self, lane: &mut Lane, depth: usize, at: Duration) -> io::Result<()> {
        for place in lane.open.drain(depth..).rev() {
            end(&mut self.json, lane.frames, &self.names[place as usize], at)?;
        }
        Ok(())
    }

    fn state(&mut self, track: Track, ended: ((ThreadState, GilState), Interval)) -> io::Result<()> {
        let ((state, gil), interval) = ended;
        self.slice(track, state.text(gil), "state", interval, &json!({"gil": gil.text()}))
    }

    fn slice(
        &mut self,
        track: Track,
        name: &str,
        cat: &str,
        interval: Interval,
        args: &impl Serialize,
    ) -> io::Result<()> {
        let ts = micros(interval.begin);
        put(&mut self.json, &Entry { ph: "B", name, cat, ts, track, args: Some(args) })?;
        end(&mut self.json, track, name, interval.end)
    }

    /// Notes what a sample says of its process at its moment.
    fn see(&mut self, sample: &Sample) -> io::Result<()> {
        let id = self.tables.thread_of(sample.thread);
        let Thread { process, interpreter, .. } = *self.tables.thread(id);
        self.enter(process, sample.at)?;
        let lane = self.gils.entry(process).or_default();
        lane.moment.wanted += usize::from(sample.state == ThreadState::WaitsForGil);
        if sample.gil == GilState::Held && !lane.is_told {
            lane.moment.held.insert(interpreter, Some(Who::Thread(id)));
        }
        if sample.state == ThreadState::CollectsGarbage {
            lane.moment.collecting.insert(interpreter, Some(Who::Thread(id)));
        }
        Ok(())
    }

    /// What follows is of this moment of a process.
    fn enter(&mut self, process: ProcessId, at: Duration) -> io::Result<()> {
        let lane = self.gils.entry(process).or_default();
        if lane.moment.at == Some(at) {
            return Ok(());
        }
        let moment = std::mem::replace(&mut lane.moment, Moment { at: Some(at), ..Moment::default() });
        self.leave(process, &moment)
    }

    fn leave(&mut self, process: ProcessId, moment: &Moment) -> io::Result<()> {
        let Some(at) = moment.at else { return Ok(()) };
        let Some(mut lane) = self.gils.remove(&process) else { return Ok(()) };
        let gap = lane.followed.take(at, self.tables.period());
        if let Some(end) = gap.filter(|_| lane.wanted > 0) {
            self.wanted(process, 0, end)?;
            lane.wanted = 0;
        }
        if lane.wanted != moment.wanted {
            self.wanted(process, moment.wanted, at)?;
            lane.wanted = moment.wanted;
        }
        self.turn(process, "GIL", at, &moment.held, &mut lane.held)?;
        self.turn(process, "garbage collection", at, &moment.collecting, &mut lane.collecting)?;
        self.gils.insert(process, lane);
        Ok(())
    }

    fn wanted(&mut self, process: ProcessId, threads: usize, at: Duration) -> io::Result<()> {
        let pid = self.tables.process(process).map_or(0, |process| process.pid);
        let (track, args) = (Track { pid, tid: pid.into() }, Some(json!({"threads": threads})));
        put(&mut self.json, &Entry { ph: "C", name: "threads that want the GIL", cat: "", ts: micros(at), track, args })
    }

    /// Turns over what `seen` says, by interpreter, to what goes on.
    fn turn(
        &mut self,
        process: ProcessId,
        what: &str,
        at: Duration,
        seen: &BTreeMap<i64, Option<Who>>,
        open: &mut BTreeMap<i64, (Option<Track>, Steady<Who>)>,
    ) -> io::Result<()> {
        for interpreter in seen.keys() {
            open.entry(*interpreter).or_default();
        }
        for (interpreter, (track, steady)) in open {
            let who = seen.get(interpreter).copied().flatten();
            if let Some(ended) = steady.take(at, who, self.tables.period()) {
                self.turned(process, what, *interpreter, track, ended)?;
            }
        }
        Ok(())
    }

    fn turned(
        &mut self,
        process: ProcessId,
        what: &str,
        interpreter: i64,
        track: &mut Option<Track>,
        (who, interval): (Who, Interval),
    ) -> io::Result<()> {
        let track = match *track {
            Some(track) => track,
            None => {
                let pid = self.tables.process(process).map_or(0, |process| process.pid);
                let name = match interpreter {
                    0 => what.to_owned(),
                    other => format!("{what} of interpreter {other}"),
                };
                let new = self.tracks.new_in(pid);
                self.name_track(new, &name, if what == "GIL" { -2 } else { -1 })?;
                *track.insert(new)
            }
        };
        let name = match who {
            Who::Thread(thread) => self.labels.thread(self.tables.thread(thread)),
            Who::Someone => "a thread that is not known".into(),
        };
        self.slice(track, &name, what, interval, &json!({"thread": name}))
    }

    fn finish(mut self) -> io::Result<()> {
        let period = self.tables.period();
        for (_, mut lane) in std::mem::take(&mut self.threads) {
            if let Some(end) = lane.followed.end(period) {
                self.close(&mut lane, 0, end)?;
            }
            if let Some(ended) = lane.state.end(period) {
                self.state(lane.states, ended)?;
            }
        }
        let processes: Vec<ProcessId> = self.gils.keys().copied().collect();
        for process in processes {
            self.end_process(process)?;
        }
        self.json.close("\n]}")?;
        self.json.finish()
    }

    fn end_process(&mut self, process: ProcessId) -> io::Result<()> {
        let period = self.tables.period();
        let moment = self.gils.get_mut(&process).map(|lane| std::mem::take(&mut lane.moment)).unwrap_or_default();
        self.leave(process, &moment)?;
        let lane = self.gils.remove(&process).unwrap_or_default();
        if let Some(end) = lane.followed.end(period).filter(|_| lane.wanted > 0) {
            self.wanted(process, 0, end)?;
        }
        for (what, open) in [("GIL", lane.held), ("garbage collection", lane.collecting)] {
            for (interpreter, (mut track, steady)) in open {
                if let Some(ended) = steady.end(period) {
                    self.turned(process, what, interpreter, &mut track, ended)?;
                }
            }
        }
        Ok(())
    }
}

/// Gives out tracks: no two threads share one, whatever their ids. An OS thread that runs in two interpreters is two threads,
/// and an id may be used again.
struct Tracks {
    used: HashSet<Track>,
    next: HashMap<u32, u64>,
}

impl Tracks {
    fn new() -> Tracks {
        Tracks { used: HashSet::new(), next: HashMap::new() }
    }

    fn thread(&mut self, pid: u32, thread: &Thread) -> Track {
        let track = thread.os_thread_id.map(|id| Track { pid, tid: id.0.into() });
        match track.filter(|track| self.used.insert(*track)) {
            Some(track) => track,
            None => self.new_in(pid),
        }
    }

    fn new_in(&mut self, pid: u32) -> Track {
        let next = self.next.entry(pid).or_insert(FIRST_FREE_ID);
        *next += 1;
        Track { pid, tid: *next - 1 }
    }
}

fn put<A: Serialize>(json: &mut Json, entry: &Entry<A>) -> io::Result<()> {
    json.end_line()?;
    json.item(entry)
}

/// Ends what began last on a track. To tell how long a slice is where it begins would not do: the sum need not be where the
/// next begins, and slices would overlap. The name is for readers that look for what ends.
fn end(json: &mut Json, track: Track, name: &str, at: Duration) -> io::Result<()> {
    put(json, &Entry::<()> { ph: "E", name, cat: "", ts: micros(at), track, args: None })
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
