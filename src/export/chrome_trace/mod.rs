//! A trace for [Perfetto](https://ui.perfetto.dev) and `chrome://tracing`, in the Trace Event format (JSON).
//!
//! A frame's slice lasts for as long as the samples of its thread that follow each other have it at the same depth, below the
//! same frames; `steady` says when samples follow each other, and that gaps are not bridged. Below the slices of each thread is
//! a track of what it was doing and whether it held the GIL. Each process has a track of who held its GIL, one of its garbage
//! collections, and a counter of the threads that wanted the GIL. Times are microseconds since the recording began.

mod events;
mod processes;
mod threads;

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::json;

use super::Labels;
use super::json::Json;
use super::places::Places;
use super::tables::Tables;
use crate::printable::printable;
use crate::sample::{Event, Process, ProcessId, Replay};
use events::{Events, Track};
use processes::Processes;
use threads::Threads;

/// What everything in a trace is named by.
#[derive(Clone, Copy)]
struct Names<'a> {
    tables: &'a Tables,
    places: &'a Places<'a>,
    labels: &'a Labels,
}

/// Writes a recording.
///
/// # Errors
///
/// What reading the recording and writing to `out` say.
pub fn write(recording: &dyn Replay, labels: &Labels, out: &mut dyn Write) -> io::Result<()> {
    let header = recording.header();
    let tables = Tables::read(recording, &mut |_| {})?;
    let places = Places::new(&tables, labels);
    let names = Names { tables: &tables, places: &places, labels };
    let mut json = Json::new(out);
    json.open("{")?;
    json.field("displayTimeUnit", &"ms")?;
    let started = humantime::format_rfc3339_nanos(header.began().unwrap_or(SystemTime::UNIX_EPOCH)).to_string();
    let about =
        json!({"program": header.program, "pysample": header.pysample, "rate": header.rate, "started": started});
    json.field("otherData", &about)?;
    json.open_list("traceEvents")?;
    let mut events = Events::new(json);
    name_processes(&tables, &header.program, &mut events)?;
    let (mut threads, mut processes) = (Threads::new(names), Processes::new(names));
    recording.replay(&mut |event| match event {
        Event::Sample(sample) => {
            threads.take(&sample, &mut events)?;
            processes.take(&sample, &mut events)
        }
        Event::Gil(gil) => processes.take_gil(&gil, &mut events),
        _ => Ok(()),
    })?;
    threads.finish(&mut events)?;
    processes.finish(&mut events)?;
    let mut json = events.finish();
    json.close("\n]}")?;
    json.finish()
}

fn name_processes(tables: &Tables, program: &str, events: &mut Events) -> io::Result<()> {
    for (id, process) in tables.processes().iter().enumerate() {
        let id = ProcessId(id as u32);
        let Process { pid, own_pid, python, .. } = process;
        let track = Track { pid: *pid, tid: (*pid).into() };
        events.tell(track, "process_name", "name", &tables.process_name(id, program))?;
        events.tell(track, "process_sort_index", "sort_index", &id.0)?;
        let labels = match pid == own_pid {
            true => format!("Python {}", printable(python)),
            false => format!("Python {}, pid {own_pid} of its own", printable(python)),
        };
        events.tell(track, "process_labels", "labels", &labels)?;
    }
    Ok(())
}
