//! A file back to events.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::block::{FILE_HEAD, HEAD, Head, Kind, MAGIC, VERSION};
use super::bytes::damaged;
use super::definitions::{Last, kind};
use super::gils::LastGils;
use super::parts::{Parts, Unpacker};
use super::rows::{Expected, Recent};
use super::tally::LastProgress;
use crate::sample::{Ending, Event, GilSample, Header, Replay, Sample, Weight};

/// A recording in a file, or in memory.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    version: u32,
    header: Header,
    /// Where the blocks with events begin, and where the last whole one ends.
    blocks: (u64, u64),
    ending: Option<Ending>,
    loss: Option<Loss>,
}

/// A recording without an end whose last bytes are no whole block: it was cut, the machine went down before it was all
/// written, or it is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Bytes at its end that are of no use.
    pub bytes: u64,
}

#[derive(Debug)]
enum Source {
    File(File),
    Memory(Vec<u8>),
}

impl Source {
    /// Reads as much of `bytes` as there is from `at` on; how much that is.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_some(&mut bytes[done..], at + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read_at(bytes, at),
            Source::Memory(all) => {
                let at = usize::try_from(at).map_or(all.len(), |at| at.min(all.len()));
                (&all[at..]).read(bytes)
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        match self {
            Source::File(file) => Ok(file.metadata()?.len()),
            Source::Memory(all) => Ok(all.len() as u64),
        }
    }
}

/// No block that says why a recording ended is longer, with its head.
const LONGEST_END: u64 = 4096;
/// Samples a second that a recording may be of; 0 for one that has no times.
const RATES: RangeInclusive<f64> = 0.001..=1e6;

#[derive(Deserialize)]
struct End {
    ending: Ending,
}

impl Reader {
    /// Whether that is how a recording begins.
    pub fn is_recording(beginning: &[u8]) -> bool {
        beginning.starts_with(&MAGIC)
    }

    /// Opens a recording and looks how far it is whole. Its events are checked as they are read.
    ///
    /// # Errors
    ///
    /// What the kernel says; of kind [`io::ErrorKind::InvalidData`] where the file is not one, is of a version that is not
    /// known, or is damaged.
    pub fn open(path: &Path) -> io::Result<Reader> {
        Reader::new(Source::File(File::open(path)?))
    }

    /// As [`Reader::open`], of a file that is open for reading.
    pub fn from_file(file: File) -> io::Result<Reader> {
        Reader::new(Source::File(file))
    }

    /// As [`Reader::open`], of bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> io::Result<Reader> {
        Reader::new(Source::Memory(bytes))
    }

    fn new(source: Source) -> io::Result<Reader> {
        let mut head = [0; FILE_HEAD as usize];
        let length = source.read(&mut head, 0)?;
        if !Reader::is_recording(&head) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a recording of pysample"));
        }
        if length < head.len() {
            return Err(damaged("it ends before it says anything"));
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if !(1..=VERSION).contains(&version) {
            let why =
                format!("it is of version {version} of the format, and this pysample knows versions 1 to {VERSION}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let whole = source.length()?;
        let (content, first) = match read_block(&source, FILE_HEAD, whole)? {
            Some((Head { kind: Kind::Header, .. }, content, next)) => (content, next),
            Some(_) => return Err(damaged("it does not begin with a header")),
            None => return Err(damaged("it ends before it says anything")),
        };
        let header: Header =
            serde_json::from_slice(&content).map_err(|error| damaged(&format!("its header: {error}")))?;
        if header.rate != 0.0 && !RATES.contains(&header.rate) {
            return Err(damaged("its header tells an impossible rate"));
        }
        let mut reader = Reader { source, version, header, blocks: (first, first), ending: None, loss: None };
        reader.look_through(whole)?;
        Ok(reader)
    }

    /// Looks how far there are whole blocks, and for the end. What is damaged in a recording that has an end is an error;
    /// in one that has none, whatever ended it may not have got to write what should be there.
    fn look_through(&mut self, whole: u64) -> io::Result<()> {
        let mut at = self.blocks.0;
        loop {
            let (head, next) = match read_head(&self.source, at, whole) {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(error) if is_damage(&error) && !has_end(&self.source, whole)? => break,
                Err(error) => return Err(error),
            };
            match head.kind {
                Kind::Header => return Err(damaged("a second recording begins within it")),
                Kind::Data => self.blocks.1 = next,
                Kind::End => {
                    let content = match read_content(&self.source, &head, at) {
                        Err(error) if is_damage(&error) => break,
                        content => content?,
                    };
                    let End { ending } =
                        serde_json::from_slice(&content).map_err(|error| damaged(&format!("its end: {error}")))?;
                    self.ending = Some(ending);
                    return match next == whole {
                        true => Ok(()),
                        false => Err(damaged("something follows its end")),
                    };
                }
            }
            at = next;
        }
        at = self.checked_until(at)?;
        self.blocks.1 = at;
        self.loss = (at < whole).then_some(Loss { bytes: whole - at });
        Ok(())
    }

    /// Up to where the contents of blocks are what was written. The blocks after one that is not cannot be read either:
    /// they refer to it.
    fn checked_until(&self, end: u64) -> io::Result<u64> {
        let mut at = self.blocks.0;
        while at < end {
            match read_block(&self.source, at, end) {
                Ok(Some((.., next))) => at = next,
                Ok(None) => break,
                Err(error) if is_damage(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }

    /// Why the recording ended; `None` where it was cut, or is being written.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// What is missing at its end, as far as that can be seen.
    pub fn loss(&self) -> Option<Loss> {
        self.loss
    }

    /// Its events, one after another. After an error there are no more.
    pub fn events(&self) -> Events<'_> {
        Events { reader: self, at: self.blocks.0, decoder: None, unpacker: None, over: Over::default() }
    }

    /// Writes the file as it is, but for what is missing at its end.
    pub fn copy(&self, out: &mut dyn Write) -> io::Result<()> {
        let end = if self.ending.is_some() { self.source.length()? } else { self.blocks.1 };
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        while at < end {
            let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let length = self.source.read(&mut buffer[..want], at)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.write_all(&buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }
}

impl Replay for Reader {
    fn header(&self) -> &Header {
        &self.header
    }

    fn replay(&self, take: &mut dyn FnMut(Event) -> io::Result<()>) -> io::Result<()> {
        self.events().try_for_each(|event| take(event?))
    }

    fn has_end(&self) -> bool {
        self.ending.is_some()
    }
}

fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Whether a file ends in a block that is an end, whatever comes before.
fn has_end(source: &Source, whole: u64) -> io::Result<bool> {
    let from = whole.saturating_sub(LONGEST_END);
    let mut tail = vec![0; (whole - from) as usize];
    let length = source.read(&mut tail, from)?;
    tail.truncate(length);
    Ok((0..tail.len().saturating_sub(HEAD)).any(|at| {
        let (head, content) = (tail[at..].first_chunk::<HEAD>(), &tail[at + HEAD..]);
        match head.map(Head::read) {
            Some(Ok(Some(head))) => {
                head.kind == Kind::End && head.stored == content.len() && head.check(content).is_ok()
            }
            _ => false,
        }
    }))
}

/// The head of the block at a place, and where the next one begins; `None` where the file ends within it.
fn read_head(source: &Source, at: u64, whole: u64) -> io::Result<Option<(Head, u64)>> {
    let mut bytes = [0; HEAD];
    if source.read(&mut bytes, at)? < HEAD {
        return Ok(None);
    }
    let Some(head) = Head::read(&bytes)? else { return Ok(None) };
    let next = at + (HEAD + head.stored) as u64;
    Ok((next <= whole).then_some((head, next)))
}

/// The content of a block, as stored and checked.
fn read_content(source: &Source, head: &Head, at: u64) -> io::Result<Vec<u8>> {
    let mut stored = vec![0; head.stored];
    if source.read(&mut stored, at + HEAD as u64)? < head.stored {
        return Err(damaged("it has become shorter"));
    }
    head.check(&stored)?;
    Ok(stored)
}

fn read_block(source: &Source, at: u64, whole: u64) -> io::Result<Option<(Head, Vec<u8>, u64)>> {
    let Some((head, next)) = read_head(source, at, whole)? else { return Ok(None) };
    Ok(Some((head, read_content(source, &head, at)?, next)))
}

/// The events of a recording.
pub struct Events<'a> {
    reader: &'a Reader,
    /// Where the next block begins.
    at: u64,
    decoder: Option<Decoder>,
    unpacker: Option<Unpacker>,
    /// What lasts longer than a block.
    over: Over,
}

/// What lasts longer than a block.
#[derive(Default)]
struct Over {
    recent: Recent,
    expected: Expected,
    last_gils: LastGils,
    last_progress: LastProgress,
    weight: Weight,
}

impl Over {
    /// What did not last longer in the first version.
    fn begin_block(&mut self, version: u32) {
        if version == 1 {
            self.expected = Expected::default();
            self.last_gils = LastGils::default();
        }
    }
}

impl Iterator for Events<'_> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        loop {
            if let (Some(decoder), Some(unpacker)) = (&mut self.decoder, &self.unpacker) {
                match decoder.next(&mut self.over, &unpacker.strings) {
                    Ok(Some(event)) => return Some(Ok(event)),
                    Ok(None) => self.decoder = None,
                    Err(error) => return Some(Err(self.end_with(error))),
                }
            }
            if self.at >= self.reader.blocks.1 {
                return None;
            }
            if let Err(error) = self.next_block() {
                return Some(Err(self.end_with(error)));
            }
        }
    }
}

impl Events<'_> {
    fn next_block(&mut self) -> io::Result<()> {
        let (head, stored, next) = read_block(&self.reader.source, self.at, self.reader.blocks.1)?
            .ok_or_else(|| damaged("it has become shorter"))?;
        let version = self.reader.version;
        let unpacker = match &mut self.unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(Unpacker::new(version, self.reader.header.rate)?),
        };
        self.decoder = Some(Decoder::new(version, unpacker.parts(&stored, head.length)?));
        self.at = next;
        self.over.begin_block(version);
        Ok(())
    }

    fn end_with(&mut self, error: io::Error) -> io::Error {
        self.decoder = None;
        self.at = self.reader.blocks.1;
        error
    }
}

/// The events of a block.
struct Decoder {
    version: u32,
    parts: Parts,
    run: (u8, u64),
    last: Last,
}

impl Decoder {
    fn new(version: u32, parts: Parts) -> Decoder {
        Decoder { version, parts, run: (0, 0), last: Last::default() }
    }

    fn next(&mut self, over: &mut Over, strings: &[Arc<str>]) -> io::Result<Option<Event>> {
        let Parts { bytes, order, definitions, rows, gils, weights, moments } = &mut self.parts;
        while self.run.1 == 0 {
            if order.is_empty() {
                return Ok(None);
            }
            let run = order.number(bytes)?;
            self.run = ((run & 15) as u8, run >> 4);
            if self.run.0 == kind::WEIGHT && self.version > 3 {
                self.run.1 = 0;
                over.weight = Weight::of(weights.number(bytes)?).ok_or_else(|| damaged("a weight is out of range"))?;
            }
        }
        self.run.1 -= 1;
        Ok(Some(match self.run.0 {
            kind::SAMPLE => {
                let sample = rows.read(bytes, moments, &mut over.expected, &mut over.recent)?;
                Event::Sample(Sample { weight: over.weight, ..sample })
            }
            kind::GIL => {
                let sample = GilSample { weight: over.weight, ..over.last_gils.read(bytes, gils, moments)? };
                if self.version > 1 {
                    over.expected.take(&sample);
                }
                Event::Gil(sample)
            }
            kind::PROGRESS => {
                let (elapsed, tally) = over.last_progress.read(bytes, definitions)?;
                Event::Progress(elapsed, tally)
            }
            other => self.last.read(other, bytes, definitions, strings)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Writer;
    use super::super::packed::Learned;
    use super::*;
    use crate::sample::{
        Code, CodeId, Frame, FrameId, GilHeld, GilSample, GilState, Mixing, Process, ProcessId, Remark, Sample,
        StackId, Stopped, Tally, Thread, ThreadId, ThreadState, Tid, Wanted, Weight,
    };

    fn header() -> Header {
        Header {
            pysample: "0.1.0".into(),
            program: "app.py".into(),
            started: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
            rate: 99.5,
            wanted: Wanted::All,
        }
    }

    /// How long the block is that says why a recording of these tests ended.
    const END: usize = HEAD + b"{\"ending\":\"stopped\"}".len();

    /// A recording of these events; a block ends after each that has one of these numbers.
    fn written(events: &[Event], ends: &[usize]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &header()).unwrap();
        for (number, event) in events.iter().enumerate() {
            writer.take(event).unwrap();
            if ends.contains(&number) {
                writer.flush().unwrap();
            }
        }
        writer.finish(Ending::Stopped).unwrap()
    }

    fn read(bytes: Vec<u8>) -> io::Result<Vec<Event>> {
        Reader::from_bytes(bytes)?.events().collect()
    }

    #[test]
    fn a_rate_that_cannot_be_is_damage() {
        for (rate, can_be) in [(100.0, true), (0.0, true), (1e-10, false), (-1.0, false), (1e300, false)] {
            let writer = Writer::new(Vec::new(), &Header { rate, ..header() }).unwrap();
            let read = read(writer.finish(Ending::Stopped).unwrap());
            assert_eq!(read.is_ok(), can_be, "{rate}: {read:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c]{0,3}", any::<String>()]
    }

    /// Ids are small so that they come again, and now and then any.
    fn id() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 0_u32..6, 1 => any::<u32>()]
    }

    fn process() -> impl Strategy<Value = Process> {
        (id(), id(), proptest::option::of(id().prop_map(ProcessId)), vec(text(), 0..3), text())
            .prop_map(|(pid, own_pid, parent, command, python)| Process { pid, own_pid, parent, command, python })
    }

    fn thread() -> impl Strategy<Value = Thread> {
        (id(), any::<i64>(), proptest::option::of(id().prop_map(Tid)), any::<u64>(), proptest::option::of(text()))
            .prop_map(|(process, interpreter, os_thread_id, python_thread_id, name)| Thread {
                process: ProcessId(process),
                interpreter,
                os_thread_id,
                python_thread_id,
                name: name.map(Into::into),
            })
    }

    fn tally() -> impl Strategy<Value = Tally> {
        (vec(any::<u64>(), 23), any::<bool>()).prop_map(|(n, is_little)| match is_little {
            true => Tally { asked: n[0], taken: n[1], ..Tally::default() },
            false => {
                let [total, median, longest, own_cpu] = [n[11], n[12], n[13], n[19]].map(Duration::from_nanos);
                Tally {
                    asked: n[0],
                    taken: n[1],
                    late: n[2],
                    failed: n[3],
                    dropped: n[4],
                    torn: n[5],
                    unmapped: n[6],
                    invalid: n[7],
                    truncated: n[8],
                    reads: n[9],
                    stretched: n[20],
                    spared: n[21],
                    stood_for: n[22],
                    stopped: Stopped { count: n[10], total, median, longest },
                    mixing: Mixing { kept: n[14], found: n[15], proved: n[16], open: n[17], doubtful: n[18] },
                    own_cpu,
                }
            }
        })
    }

    fn held() -> impl Strategy<Value = GilHeld> {
        prop_oneof![
            id().prop_map(|thread| GilHeld::By(ThreadId(thread))),
            Just(GilHeld::BySomeone),
            Just(GilHeld::Free),
            Just(GilHeld::None),
            Just(GilHeld::Unknown),
        ]
    }

    fn gil() -> impl Strategy<Value = Event> {
        let of = (0_u32..2, prop_oneof![4 => 0_i64..3, 1 => any::<i64>()], 0_i64..2);
        let switches = proptest::option::of(prop_oneof![4 => 0_u64..9, 1 => 0..u64::MAX]);
        (of, held(), switches, proptest::option::of(0_u64..3), any::<bool>()).prop_map(
            |((process, interpreter, owner), holder, switches, interval, is_collecting)| {
                Event::Gil(GilSample {
                    at: Duration::ZERO,
                    process: ProcessId(process),
                    interpreter,
                    owner,
                    holder,
                    switches,
                    interval: interval.map(Duration::from_millis),
                    is_collecting,
                    holding: None,
                    weight: Weight::ONE,
                })
            },
        )
    }

    fn sample() -> impl Strategy<Value = Event> {
        let gil =
            prop_oneof![Just(GilState::Held), Just(GilState::NotHeld), Just(GilState::None), Just(GilState::Unknown)];
        let state = (0..ThreadState::ALL.len()).prop_map(|state| ThreadState::ALL[state]);
        (id(), state, gil, proptest::option::of(id())).prop_map(|(thread, state, gil, stack)| {
            let (at, stack) = (Duration::ZERO, stack.map(StackId));
            Event::Sample(Sample { at, thread: ThreadId(thread), state, gil, stack, weight: Weight::ONE })
        })
    }

    fn definition() -> impl Strategy<Value = Event> {
        prop_oneof![
            (id(), process()).prop_map(|(id, process)| Event::Process(ProcessId(id), process)),
            (id(), text(), text(), any::<u32>()).prop_map(|(id, function, file, first_line)| {
                Event::Code(CodeId(id), Code { function: function.into(), file: file.into(), first_line })
            }),
            (id(), id(), proptest::option::of(any::<u32>()))
                .prop_map(|(id, code, line)| Event::Frame(FrameId(id), Frame { code: CodeId(code), line })),
            (id(), proptest::option::of(id()), id()).prop_map(|(id, caller, frame)| Event::Stack {
                id: StackId(id),
                caller: caller.map(StackId),
                frame: FrameId(frame),
            }),
            (id(), thread()).prop_map(|(id, thread)| Event::Thread(ThreadId(id), thread)),
            vec(text(), 0..3).prop_map(Event::SearchPath),
            prop_oneof![Just(Remark::CannotPause), Just(Remark::Stretched), Just(Remark::Spared)]
                .prop_map(Event::Remark),
        ]
    }

    /// Events as they come: times do not go back and are whole microseconds.
    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![2 => definition(), 4 => sample(), 2 => gil()];
        let weight = prop_oneof![6 => Just(0), 2 => 0..9_u64, 1 => any::<u64>()].prop_map(Weight::after);
        vec((event, weight, prop_oneof![2 => Just(0_u64), 2 => 1_u64..20_000, 1 => 0..1_u64 << 40]), 0..60).prop_map(
            |events| {
                let mut now = 0;
                events
                    .into_iter()
                    .map(|(event, weight, later)| {
                        now += later;
                        let at = Duration::from_micros(now);
                        match event {
                            Event::Sample(sample) => Event::Sample(Sample { at, weight, ..sample }),
                            Event::Gil(gil) => Event::Gil(GilSample { at, weight, ..gil }),
                            other => other,
                        }
                    })
                    .collect()
            },
        )
    }

    fn read_made_up(version: u32, stored: &[u8], length: usize) {
        let mut unpacker = Unpacker::new(version, 99.5).unwrap();
        if let Ok(parts) = unpacker.parts(stored, length) {
            let (mut decoder, mut over) = (Decoder::new(version, parts), Over::default());
            while let Ok(Some(_)) = decoder.next(&mut over, &unpacker.strings) {}
        }
    }

    proptest! {
        #[test]
        fn every_event_comes_back(events in events(), ends in vec(0_usize..60, 0..6)) {
            prop_assert_eq!(read(written(&events, &ends)).unwrap(), events);
        }

        #[test]
        fn the_last_account_comes_back(tallies in vec((any::<u64>(), tally()), 1..8), ends in vec(0_usize..8, 0..8)) {
            let events: Vec<Event> =
                tallies.iter().map(|(at, tally)| Event::Progress(Duration::from_nanos(*at), *tally)).collect();
            let back = read(written(&events, &ends)).unwrap();
            prop_assert_eq!(back.last(), events.last());
            prop_assert!(back.iter().all(|event| events.contains(event)));
        }

        #[test]
        fn bytes_that_were_changed_are_refused_or_told(events in events(), at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = written(&events, &[5, 20]);
            let (at, end) = (at.index(bytes.len()), bytes.len() - END);
            bytes[at] ^= 1_u8 << bit;
            match Reader::from_bytes(bytes) {
                // Without its end, it is as if it had been cut there.
                Ok(reader) if at >= end => {
                    prop_assert_eq!((reader.ending(), reader.loss()), (None, Some(Loss { bytes: END as u64 })));
                    prop_assert_eq!(reader.events().collect::<io::Result<Vec<_>>>().unwrap(), events);
                }
                Ok(reader) => {
                    // Of nothing, all versions say the same.
                    let is_version_of_nothing = at == MAGIC.len() && events.is_empty();
                    let is_told = reader.events().any(|event| event.is_err());
                    prop_assert!(is_told || is_version_of_nothing, "byte {} of {:?}", at, events);
                }
                Err(_) => {}
            }
        }

        /// A machine that went down leaves zeros, or whatever was there before, where something was not written yet.
        #[test]
        fn what_was_not_written_before_a_machine_went_down_is_told_and_the_rest_is_read(
            events in events(), at: prop::sample::Index, length in 1_usize..400, filling: u8,
        ) {
            let mut bytes = written(&events, &[5, 20, 40]);
            bytes.truncate(bytes.len() - END);
            let whole = bytes.clone();
            let begin = Reader::from_bytes(whole.clone()).unwrap().blocks.0 as usize;
            let at = begin + at.index(bytes.len() - begin + 1);
            let until = bytes.len().min(at + length);
            bytes[at..until].fill(filling);
            let is_same = bytes == whole;
            let reader = Reader::from_bytes(bytes).unwrap();
            prop_assert_eq!((reader.ending(), reader.loss().is_none()), (None, is_same));
            let back = reader.events().collect::<io::Result<Vec<_>>>().unwrap();
            prop_assert!(events.starts_with(&back));
            prop_assert!(back.len() == events.len() || !is_same);
        }

        /// Whoever makes up a file can make the checksums right.
        #[test]
        fn a_content_that_was_made_up_is_no_panic(
            events in events(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..9), version in 1..=VERSION,
        ) {
            let bytes = written(&events, &[]);
            let reader = Reader::from_bytes(bytes).unwrap();
            if let Some((head, mut stored, _)) = read_block(&reader.source, reader.blocks.0, reader.blocks.1).unwrap() {
                for (at, byte) in changes {
                    let at = at.index(stored.len());
                    stored[at] = byte;
                }
                read_made_up(version, &stored, head.length);
            }
        }

        #[test]
        fn a_content_of_the_first_versions_that_was_made_up_is_no_panic(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..9), version in 1_u32..=2,
        ) {
            let golden = include_bytes!("../../tests/golden/version-2.pysample");
            let reader = Reader::from_bytes(golden.to_vec()).unwrap();
            let (head, stored, _) = read_block(&reader.source, reader.blocks.0, reader.blocks.1).unwrap().unwrap();
            let mut content = Unpacker::new(2, 99.5).unwrap().decompress(&stored, head.length).unwrap();
            prop_assert_eq!(content.len(), head.length);
            for (at, byte) in changes {
                let at = at.index(content.len());
                content[at] = byte;
            }
            read_made_up(version, &zstd::encode_all(&content[..], 1).unwrap(), content.len());
        }

        /// What is in the columns can be anything as well.
        #[test]
        fn columns_that_were_made_up_are_no_panic(
            columns in vec(vec(any::<u8>(), 0..40), 6), order in vec(5_u8..11, 0..99), flags in vec(0_u8..16, 0..40),
            definitions: Vec<u8>, moments in 0_u64..9,
        ) {
            let [threads, states, recent, stacks, gils, weights] = [0, 1, 2, 3, 4, 5].map(|column| &columns[column]);
            let moments: Vec<u64> = (1..=moments).collect();
            let framed = [&[1, 0][..], &definitions].concat();
            let stored = zstd::encode_all(&framed[..], 1).unwrap();
            let out = [&[stored.len() as u8][..], &stored].concat();
            let columns = [&order, &flags, threads, states, recent, stacks, gils, weights];
            let length = framed.len() + columns.iter().map(|column| column.len()).sum::<usize>();
            let stored = Learned::new(99.5).pack(out, columns, &moments).unwrap();
            read_made_up(VERSION, &stored, length);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            let _ = read(bytes.clone());
            let _ = read([&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat());
        }
    }

    fn sample_at(millis: u64, stack: u32) -> Event {
        let (at, thread) = (Duration::from_millis(millis), ThreadId(0));
        Event::Sample(Sample {
            at,
            thread,
            state: ThreadState::RunsPython,
            gil: GilState::Held,
            stack: Some(StackId(stack)),
            weight: Weight::ONE,
        })
    }

    #[test]
    fn a_file_that_ends_anywhere_has_what_its_whole_blocks_have() {
        let events: Vec<Event> = (0..300).map(|i| sample_at(i, (i * i) as u32 % 97)).collect();
        let bytes = written(&events, &[99, 199]);
        let until = |events: &[Event]| {
            let mut writer = Writer::new(Vec::new(), &header()).unwrap();
            for block in events.chunks(100) {
                block.iter().for_each(|event| writer.take(event).unwrap());
                writer.flush().unwrap();
            }
            writer.finish(Ending::Stopped).unwrap().len() - b"{\"ending\":\"stopped\"}".len() - HEAD
        };
        let [none, one, two, three] = [0, 100, 200, 300].map(|number| until(&events[..number]));
        for length in none..bytes.len() {
            let reader = Reader::from_bytes(bytes[..length].to_vec()).unwrap();
            let (whole, number) = match length {
                length if length >= three => (three, 300),
                length if length >= two => (two, 200),
                length if length >= one => (one, 100),
                _ => (none, 0),
            };
            assert_eq!(reader.ending(), None);
            assert_eq!(reader.loss().map_or(0, |loss| loss.bytes), (length - whole) as u64, "{length}");
            let back: Vec<Event> = reader.events().collect::<io::Result<_>>().unwrap();
            assert!(back == events[..number], "{length}");
        }
        let reader = Reader::from_bytes(bytes).unwrap();
        assert_eq!((reader.ending(), reader.loss()), (Some(Ending::Stopped), None));
        assert_eq!(reader.header(), &header());
    }

    #[test]
    fn a_file_that_ends_before_its_header_is_whole_is_refused() {
        let bytes = written(&[], &[]);
        let end = bytes.len() - b"{\"ending\":\"stopped\"}".len() - HEAD;
        for length in 0..end {
            assert!(Reader::from_bytes(bytes[..length].to_vec()).is_err(), "{length}");
        }
    }

    #[test]
    fn zeros_at_the_end_were_never_written() {
        let mut bytes = written(&[sample_at(1, 1)], &[]);
        bytes.truncate(bytes.len() - b"{\"ending\":\"stopped\"}".len() - HEAD);
        bytes.extend([0; 4096]);
        let reader = Reader::from_bytes(bytes).unwrap();
        assert_eq!((reader.loss(), reader.events().count()), (Some(Loss { bytes: 4096 }), 1));
    }

    #[test]
    fn what_is_no_recording_or_a_newer_one_says_so() {
        let told = |bytes: &[u8]| Reader::from_bytes(bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(told(b"main;f 12\n"), "it is not a recording of pysample");
        assert_eq!(told(b""), "it is not a recording of pysample");
        let mut newer = written(&[], &[]);
        newer[8] = 5;
        assert_eq!(told(&newer), "it is of version 5 of the format, and this pysample knows versions 1 to 4");
        let twice = [written(&[], &[]), written(&[], &[])].concat();
        assert_eq!(told(&twice), "it is damaged: something follows its end");
    }

    #[test]
    fn a_header_with_more_in_it_is_read() {
        let mut json = serde_json::to_value(header()).unwrap();
        json["host"] = "a later version's".into();
        let content = serde_json::to_vec(&json).unwrap();
        let head = Head::new(Kind::Header, &content, content.len()).to_bytes();
        let bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &head, &content].concat();
        assert_eq!(Reader::from_bytes(bytes).unwrap().header(), &header());
    }

    #[test]
    fn a_recording_can_be_gone_through_twice_and_from_a_file() {
        let events: Vec<Event> = (0..100).map(|i| sample_at(i, i as u32)).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&written(&events, &[50])).unwrap();
        let reader = Reader::open(file.path()).unwrap();
        for _ in 0..2 {
            let mut back = Vec::new();
            let replayed = reader.replay(&mut |event| {
                back.push(event);
                Ok(())
            });
            replayed.unwrap();
            assert_eq!(back, events);
        }
        let mut copy = Vec::new();
        reader.copy(&mut copy).unwrap();
        assert_eq!(read(copy).unwrap(), events);
    }

    #[test]
    fn a_recording_under_the_name_of_another_version_is_refused() {
        for version in [1, 2, 3] {
            let mut bytes = written(&[sample_at(1, 1)], &[]);
            bytes[MAGIC.len()] = version;
            assert_eq!(read(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn blocks_that_define_nothing_are_read_however_many_there_are() {
        let events: Vec<Event> = (0..100).map(|i| sample_at(i, 0)).collect();
        assert_eq!(read(written(&events, &(0..100).collect::<Vec<_>>())).unwrap(), events);
    }

    #[test]
    fn strings_that_are_too_many_begin_anew() {
        let code = |id: u32, name: String| {
            Event::Code(CodeId(id), Code { function: name.into(), file: "x.py".into(), first_line: 1 })
        };
        let long = |i: u32| format!("{i}{}", "x".repeat(1 << 20));
        let events: Vec<Event> = (0..40).chain(0..40).enumerate().map(|(id, i)| code(id as u32, long(i))).collect();
        assert!(read(written(&events, &[])).unwrap() == events);
    }

    #[test]
    fn the_error_of_whoever_takes_ends_a_replay() {
        let events: Vec<Event> = (0..9).map(|i| sample_at(i, 0)).collect();
        let reader = Reader::from_bytes(written(&events, &[])).unwrap();
        let mut taken = 0;
        let full = reader.replay(&mut |_| {
            taken += 1;
            if taken == 3 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        assert_eq!((full.unwrap_err().kind(), taken), (io::ErrorKind::StorageFull, 3));
    }
}
