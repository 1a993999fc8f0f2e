//! Events to a file, block by block.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

use super::block::{Head, Kind, LONGEST, MAGIC, VERSION, WINDOW_LOG};
use super::bytes::put;
use super::definitions::{self, Last, Strings, kind};
use super::gils::LastGils;
use super::packed::{COLUMNS, Learned};
use super::rows::{Expected, Recent, Rows};
use super::tally::LastProgress;
use super::times::Steps;
use crate::sample::{Ending, Event, Header, Tally, Weight};

/// A block is ended when it holds so many bytes. To pack them takes some milliseconds, while what is sampled has to wait.
const BLOCK: usize = 64 << 10;
/// The account is written so often, and at the end: in blocks of a second at 100 Hz it would be a tenth.
const ACCOUNT_EVERY: Duration = Duration::from_secs(5);
/// zstd's level. More of it would make hardly less of strings and stacks.
const LEVEL: i32 = 3;

/// Writes a recording as it is made. What it holds of it is one block at most.
///
/// Whoever feeds it says by [`Writer::flush`] when what was taken is to be safe; each call makes a block, so once a second
/// is often.
pub struct Writer<W> {
    out: W,
    /// One frame for all blocks: what it learned from one serves the next, and small ones cost little.
    compressor: Encoder<'static, Vec<u8>>,
    /// The same of what is not in the frame.
    learned: Learned,
    strings: Strings,
    recent: Recent,
    expected: Expected,
    last_gils: LastGils,
    last_weight: Weight,
    last_progress: LastProgress,
    /// The account that is to be written, and from when on.
    progress: Option<(Duration, Tally)>,
    progress_due: Duration,
    is_table_new: bool,
    block: Block,
}

/// What a block says of why a recording ended.
#[derive(Serialize)]
struct End {
    ending: Ending,
}

/// The block at hand.
#[derive(Default)]
struct Block {
    /// The kind of each event.
    order: Vec<u8>,
    definitions: Vec<u8>,
    rows: Rows<Vec<u8>>,
    gils: Vec<u8>,
    weights: Vec<u8>,
    steps: Steps,
    last: Last,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// Those of `out`, here as in all that follows. What was written of a block before an error is a part of it, which a
    /// reader leaves out.
    pub fn new(mut out: W, header: &Header) -> io::Result<Writer<W>> {
        let compressor = compressor()?;
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut writer = Writer {
            out,
            compressor,
            learned: Learned::new(header.rate),
            strings: Strings::default(),
            recent: Recent::default(),
            expected: Expected::default(),
            last_gils: LastGils::default(),
            last_weight: Weight::default(),
            last_progress: LastProgress::default(),
            progress: None,
            progress_due: Duration::ZERO,
            is_table_new: true,
            block: Block::default(),
        };
        writer.write_plain(Kind::Header, header)?;
        Ok(writer)
    }

    /// Where it is written to. What was taken since the last [`Writer::flush`] is not there yet.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Takes the next event.
    pub fn take(&mut self, event: &Event) -> io::Result<()> {
        let block = &mut self.block;
        match event {
            Event::Process(id, process) => {
                block.note(kind::PROCESS);
                definitions::put_process(&mut block.definitions, *id, process);
            }
            Event::Code(id, code) => {
                block.note(kind::CODE);
                block.last.put_code(&mut block.definitions, *id, code, &mut self.strings);
            }
            Event::Frame(id, frame) => {
                block.note(kind::FRAME);
                block.last.put_frame(&mut block.definitions, *id, *frame);
            }
            Event::Stack { id, caller, frame } => {
                block.note(kind::STACK);
                block.last.put_stack(&mut block.definitions, *id, *caller, *frame);
            }
            Event::Thread(id, thread) => {
                block.note(kind::THREAD);
                definitions::put_thread(&mut block.definitions, *id, thread);
            }
            Event::SearchPath(entries) => {
                block.note(kind::SEARCH_PATH);
                definitions::put_search_path(&mut block.definitions, entries);
            }
            Event::Gil(sample) => {
                block.weigh(sample.weight, &mut self.last_weight);
                block.note(kind::GIL);
                self.last_gils.put(&mut block.gils, sample, &mut block.steps);
                self.expected.take(sample);
            }
            Event::Sample(sample) => {
                block.weigh(sample.weight, &mut self.last_weight);
                block.note(kind::SAMPLE);
                block.rows.put(sample, &mut block.steps, &mut self.expected, &mut self.recent);
            }
            Event::Progress(elapsed, tally) => self.progress = Some((*elapsed, *tally)),
            Event::Remark(remark) => {
                block.note(kind::REMARK);
                definitions::put_remark(&mut block.definitions, *remark);
            }
        }
        match self.size() >= BLOCK {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes what has been taken as a block, if there is anything.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some((elapsed, tally)) = self.progress.take_if(|(elapsed, _)| *elapsed >= self.progress_due) {
            self.progress_due = elapsed.saturating_add(ACCOUNT_EVERY);
            self.block.note(kind::PROGRESS);
            self.last_progress.put(&mut self.block.definitions, elapsed, &tally);
        }
        if self.block.order.is_empty() {
            return Ok(());
        }
        let (framed, length) = self.framed()?;
        let mut stored = Vec::new();
        put(&mut stored, framed.len() as u64);
        stored.extend_from_slice(&framed);
        let columns = self.block.packed();
        let length = length + columns.iter().map(|column| column.len()).sum::<usize>();
        let stored = self.learned.pack(stored, columns, &self.block.steps.moments)?;
        self.block.clear();
        self.write(Kind::Data, &stored, length)
    }

    /// Writes what is left, and why the recording ended.
    pub fn finish(mut self, ending: Ending) -> io::Result<W> {
        self.flush_all()?;
        self.write_plain(Kind::End, &End { ending })?;
        Ok(self.out)
    }

    /// Writes what is left, and no end: what is taken from a recording without one has none either.
    pub fn leave(mut self) -> io::Result<W> {
        self.flush_all()?;
        Ok(self.out)
    }

    /// As [`Writer::flush`], with the account, be it due or not.
    fn flush_all(&mut self) -> io::Result<()> {
        self.progress_due = Duration::ZERO;
        self.flush()
    }

    fn size(&self) -> usize {
        self.block.size() + self.strings.new.len()
    }

    /// What the block at hand defines, compressed, and how long that was before; nothing where it defines nothing.
    fn framed(&mut self) -> io::Result<(Vec<u8>, usize)> {
        if !self.is_table_new && self.strings.new.is_empty() && self.block.definitions.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let mut content = vec![u8::from(self.is_table_new)];
        put(&mut content, std::mem::take(&mut self.strings.new_count));
        content.append(&mut self.strings.new);
        content.extend_from_slice(&self.block.definitions);
        self.is_table_new = self.strings.is_full();
        if self.is_table_new {
            self.strings = Strings::default();
        }
        self.compressor.write_all(&content)?;
        self.compressor.flush()?;
        Ok((std::mem::take(self.compressor.get_mut()), content.len()))
    }

    fn write_plain(&mut self, kind: Kind, content: &impl Serialize) -> io::Result<()> {
        let content = serde_json::to_vec(content)?;
        self.write(kind, &content, content.len())
    }

    fn write(&mut self, kind: Kind, stored: &[u8], length: usize) -> io::Result<()> {
        if stored.len().max(length) > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "one event is larger than a block may be"));
        }
        let mut block = Head::new(kind, stored, length).to_bytes().to_vec();
        block.extend_from_slice(stored);
        // In one go: a file that is cut then most likely ends between two blocks.
        self.out.write_all(&block)?;
        self.out.flush()
    }
}

/// What compresses what blocks define.
fn compressor() -> io::Result<Encoder<'static, Vec<u8>>> {
    let mut compressor = Encoder::new(Vec::new(), LEVEL)?;
    compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    Ok(compressor)
}

impl Block {
    fn note(&mut self, kind: u8) {
        self.order.push(kind);
    }

    /// Says for how much of the time what follows stands, if that is not as it was.
    fn weigh(&mut self, weight: Weight, last: &mut Weight) {
        if weight != *last {
            self.note(kind::WEIGHT);
            put(&mut self.weights, weight.slots());
            *last = weight;
        }
    }

    /// The columns that are packed.
    fn packed(&self) -> [&Vec<u8>; COLUMNS] {
        let Rows { flags, threads, states, recent, stacks } = &self.rows;
        [&self.order, flags, threads, states, recent, stacks, &self.gils, &self.weights]
    }

    fn size(&self) -> usize {
        let packed = self.packed().iter().map(|column| column.len()).sum::<usize>();
        packed + self.definitions.len() + self.steps.size()
    }

    /// Begins anew, in the same memory.
    fn clear(&mut self) {
        let Block { order, definitions, rows, gils, weights, steps, last } = self;
        let Rows { flags, threads, states, recent, stacks } = rows;
        for column in [order, definitions, flags, threads, states, recent, stacks, gils, weights] {
            column.clear();
        }
        steps.moments.clear();
        *last = Last::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::sample::{
        Code, CodeId, Frame, FrameId, GilHeld, GilSample, GilState, ProcessId, Sample, StackId, Stopped, ThreadId,
        ThreadState, Wanted, Weight,
    };

    /// A program in steady state: stacks of some hundreds that come again, most of them seldom.
    struct Program {
        writer: Writer<Vec<u8>>,
        random: fastrand::Rng,
        tally: Tally,
        samples: u64,
        switches: u64,
    }

    const STACKS: u32 = 400;

    impl Program {
        fn new(rate: f64) -> Program {
            let (pysample, program) = ("0.1.0".into(), "app.py".into());
            let header = Header { pysample, program, started: SystemTime::UNIX_EPOCH, rate, wanted: Wanted::All };
            let mut writer = Writer::new(Vec::new(), &header).unwrap();
            for id in 0..STACKS {
                let function = format!("Module{}.function_{id}", id / 9).into();
                let code = Code { function, file: format!("/srv/app/part{}.py", id / 30).into(), first_line: id };
                writer.take(&Event::Code(CodeId(id), code)).unwrap();
                writer.take(&Event::Frame(FrameId(id), Frame { code: CodeId(id), line: Some(id + 3) })).unwrap();
                let caller = (id > 0).then(|| StackId(id - 1 - id / 7));
                writer.take(&Event::Stack { id: StackId(id), caller, frame: FrameId(id) }).unwrap();
            }
            Program { writer, random: fastrand::Rng::with_seed(1), tally: Tally::default(), samples: 0, switches: 7 }
        }

        /// A stack, by Zipf's law: the second is seen half as often as the first.
        fn stack(&mut self) -> Option<StackId> {
            let rank = f64::from(STACKS).powf(self.random.f64()) as u32;
            Some(StackId((rank * 167) % STACKS))
        }

        /// Bytes a sample of so many seconds: `busy` threads that run by turns (one of them sometimes without the GIL), others
        /// that wait. Where nobody waits, neither do busy ones: only those that run are recorded.
        fn run(mut self, rate: u64, seconds: u64, busy: u32, waiting: u32) -> f64 {
            // Names and stacks are told once, at the beginning.
            self.writer.flush().unwrap();
            let begin = self.writer.out.len();
            let period = 1_000_000 / rate;
            for slot in 0..rate * seconds {
                let at = Duration::from_micros(slot * period + self.random.u64(..period));
                self.moment(at, busy, waiting);
                if slot % rate == rate - 1 {
                    self.writer.take(&Event::Progress(at, self.tally)).unwrap();
                    self.writer.flush().unwrap();
                }
            }
            let samples = self.samples;
            (self.writer.finish(Ending::Duration).unwrap().len() - begin) as f64 / samples as f64
        }

        fn moment(&mut self, at: Duration, busy: u32, waiting: u32) {
            let holder = ThreadId(self.random.u32(..busy));
            self.tally.asked += 1;
            self.tally.taken += 1;
            self.tally.reads += 3;
            let Stopped { count, total, .. } = self.tally.stopped;
            let total = total + Duration::from_nanos(40_000 + self.random.u64(..9000));
            self.tally.stopped = Stopped { count: count + 1, total, ..self.tally.stopped };
            self.tally.own_cpu += Duration::from_nanos(60_000 + self.random.u64(..9000));
            self.switches += if busy > 1 { self.random.u64(..12) } else { 0 };
            let switches = Some(self.switches);
            let gil = GilSample {
                at,
                process: ProcessId(0),
                interpreter: 0,
                owner: 0,
                holder: GilHeld::By(holder),
                switches,
                interval: Some(Duration::from_millis(5)),
                is_collecting: false,
                holding: None,
                weight: Weight::ONE,
            };
            self.writer.take(&Event::Gil(gil)).unwrap();
            for thread in (0..busy + waiting).map(ThreadId) {
                let (state, gil, stack) = match thread {
                    thread if thread == holder => (ThreadState::RunsPython, GilState::Held, self.stack()),
                    ThreadId(thread) if thread < busy && waiting == 0 => match self.random.u8(..10) {
                        0 => (ThreadState::RunsDetached, GilState::NotHeld, Some(StackId(thread))),
                        _ => continue,
                    },
                    ThreadId(thread) if thread < busy => {
                        (ThreadState::WaitsForGil, GilState::NotHeld, Some(StackId(thread)))
                    }
                    ThreadId(thread) => (ThreadState::WaitsForLock, GilState::NotHeld, Some(StackId(thread))),
                };
                self.writer
                    .take(&Event::Sample(Sample { at, thread, state, gil, stack, weight: Weight::ONE }))
                    .unwrap();
                self.samples += 1;
            }
        }
    }

    #[test]
    fn a_sample_in_steady_state_takes_four_bytes_at_most() {
        for (rate, seconds, busy, waiting, most) in [
            (100, 120, 1, 0, 4.0),
            (1000, 20, 1, 0, 4.0),
            (100, 120, 4, 0, 4.0),
            (1000, 20, 4, 0, 4.0),
            (100, 60, 1, 20, 4.0),
            (1000, 10, 3, 5, 4.0),
        ] {
            let bytes = Program::new(rate as f64).run(rate, seconds, busy, waiting);
            println!("{rate} Hz, {busy} threads that run and {waiting} that wait: {bytes:.2} bytes a sample");
            assert!(
                bytes <= most,
                "{rate} Hz, {busy} threads that run and {waiting} that wait: {bytes:.2} bytes a sample"
            );
        }
    }

    #[test]
    fn what_is_held_of_a_recording_does_not_grow_with_it() {
        let mut program = Program::new(1000.0);
        for slot in 0..300_000 {
            program.moment(Duration::from_millis(slot), 1, 0);
            assert!(program.writer.size() < BLOCK);
            program.writer.out.clear();
        }
        assert!(program.writer.block.size() + program.writer.strings.new.capacity() < 2 * BLOCK);
    }
}
