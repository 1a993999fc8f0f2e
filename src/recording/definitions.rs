//! The events that define things, one after another in a column. Strings that recur are in a table.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::bytes::{Column, damaged, difference, put, put_signed, put_text, zigzag};
use crate::sample::{Code, CodeId, Event, Frame, FrameId, Process, ProcessId, Remark, StackId, Thread, ThreadId, Tid};

/// The table of strings begins anew when it holds so many, or so many bytes of them.
const MOST_STRINGS: usize = 1 << 18;
const MOST_BYTES: usize = 32 << 20;

/// Kinds of events, as the column `order` has them.
pub mod kind {
    pub const PROCESS: u8 = 0;
    pub const CODE: u8 = 1;
    pub const FRAME: u8 = 2;
    pub const STACK: u8 = 3;
    pub const THREAD: u8 = 4;
    pub const SEARCH_PATH: u8 = 5;
    pub const GIL: u8 = 6;
    pub const SAMPLE: u8 = 7;
    pub const PROGRESS: u8 = 8;
    pub const REMARK: u8 = 9;
    /// Says for how much of the time the samples that follow stand.
    pub const WEIGHT: u8 = 10;
}

/// Strings by number, as a writer holds them.
#[derive(Debug, Default)]
pub struct Strings {
    numbers: HashMap<Arc<str>, u64>,
    bytes: usize,
    /// Those that are new in the block at hand, as they are written.
    pub new: Vec<u8>,
    /// How many those are.
    pub new_count: u64,
}

impl Strings {
    fn number(&mut self, string: &Arc<str>) -> u64 {
        if let Some(number) = self.numbers.get(string) {
            return *number;
        }
        let number = self.numbers.len() as u64;
        self.numbers.insert(string.clone(), number);
        self.bytes += string.len();
        put_text(&mut self.new, string);
        self.new_count += 1;
        number
    }

    /// Whether it holds so much that it should begin anew.
    pub fn is_full(&self) -> bool {
        self.numbers.len() >= MOST_STRINGS || self.bytes >= MOST_BYTES
    }
}

/// What definitions are told as differences from, within a block.
#[derive(Debug, Default)]
pub struct Last {
    next_code: u32,
    next_frame: u32,
    next_stack: u32,
    code: u32,
    frame: u32,
}

/// Appends `id`, which is most often the next; what the next will be then.
fn put_id(out: &mut Vec<u8>, id: u32, next: &mut u32) {
    put_signed(out, difference(id, *next));
    *next = id.wrapping_add(1);
}

fn read_id(bytes: &[u8], column: &mut Column, next: &mut u32) -> io::Result<u32> {
    let id = column.relative(bytes, *next)?;
    *next = id.wrapping_add(1);
    Ok(id)
}

impl Last {
    /// Appends a code object.
    pub fn put_code(&mut self, out: &mut Vec<u8>, id: CodeId, code: &Code, strings: &mut Strings) {
        put_id(out, id.0, &mut self.next_code);
        put(out, strings.number(&code.function));
        put(out, strings.number(&code.file));
        put(out, code.first_line.into());
    }

    /// Appends a frame.
    pub fn put_frame(&mut self, out: &mut Vec<u8>, id: FrameId, frame: Frame) {
        put_id(out, id.0, &mut self.next_frame);
        put_signed(out, difference(frame.code.0, self.code));
        self.code = frame.code.0;
        put(out, frame.line.map_or(0, |line| u64::from(line) + 1));
    }

    /// Appends a stack.
    pub fn put_stack(&mut self, out: &mut Vec<u8>, id: StackId, caller: Option<StackId>, frame: FrameId) {
        put_id(out, id.0, &mut self.next_stack);
        put(out, caller.map_or(0, |caller| 1 + zigzag(difference(id.0, caller.0))));
        put_signed(out, difference(frame.0, self.frame));
        self.frame = frame.0;
    }

    /// Reads an event of one of the kinds that define something, but for progress.
    pub fn read(&mut self, kind: u8, bytes: &[u8], column: &mut Column, strings: &[Arc<str>]) -> io::Result<Event> {
        Ok(match kind {
            kind::PROCESS => read_process(bytes, column)?,
            kind::CODE => self.read_code(bytes, column, strings)?,
            kind::FRAME => {
                let id = FrameId(read_id(bytes, column, &mut self.next_frame)?);
                self.code = column.relative(bytes, self.code)?;
                Event::Frame(id, Frame { code: CodeId(self.code), line: column.small_optional(bytes)? })
            }
            kind::STACK => self.read_stack(bytes, column)?,
            kind::THREAD => read_thread(bytes, column)?,
            kind::SEARCH_PATH => Event::SearchPath(column.texts(bytes)?),
            kind::REMARK => match column.byte(bytes)? {
                0 => Event::Remark(Remark::CannotPause),
                1 => Event::Remark(Remark::Stretched),
                2 => Event::Remark(Remark::Spared),
                _ => return Err(damaged("a remark is not known")),
            },
            _ => return Err(damaged("an event is of no known kind")),
        })
    }

    fn read_code(&mut self, bytes: &[u8], column: &mut Column, strings: &[Arc<str>]) -> io::Result<Event> {
        let id = CodeId(read_id(bytes, column, &mut self.next_code)?);
        let mut string = || {
            let string = strings.get(column.small(bytes)? as usize);
            string.cloned().ok_or_else(|| damaged("a string is not in the table"))
        };
        let (function, file) = (string()?, string()?);
        Ok(Event::Code(id, Code { function, file, first_line: column.small(bytes)? }))
    }

    fn read_stack(&mut self, bytes: &[u8], column: &mut Column) -> io::Result<Event> {
        let id = read_id(bytes, column, &mut self.next_stack)?;
        let caller = column.optional(bytes)?.map(super::bytes::unzigzag);
        let caller = caller.map(|before| {
            let caller = i64::from(id).checked_sub(before).and_then(|caller| u32::try_from(caller).ok());
            caller.map(StackId).ok_or_else(|| damaged("a caller is out of range"))
        });
        let caller = caller.transpose()?;
        self.frame = column.relative(bytes, self.frame)?;
        Ok(Event::Stack { id: StackId(id), caller, frame: FrameId(self.frame) })
    }
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text));
}

/// Appends a process.
pub fn put_process(out: &mut Vec<u8>, id: ProcessId, process: &Process) {
    put(out, id.0.into());
    put(out, process.pid.into());
    put(out, process.own_pid.into());
    put(out, process.parent.map_or(0, |parent| u64::from(parent.0) + 1));
    put_texts(out, &process.command);
    put_text(out, &process.python);
}

fn read_process(bytes: &[u8], column: &mut Column) -> io::Result<Event> {
    let id = ProcessId(column.small(bytes)?);
    let (pid, own_pid) = (column.small(bytes)?, column.small(bytes)?);
    let parent = column.small_optional(bytes)?.map(ProcessId);
    let command = column.texts(bytes)?;
    Ok(Event::Process(id, Process { pid, own_pid, parent, command, python: column.text(bytes)?.into() }))
}

/// Appends a thread. Its name is not in the table of strings: a program may make a thread for each request.
pub fn put_thread(out: &mut Vec<u8>, id: ThreadId, thread: &Thread) {
    put(out, id.0.into());
    put(out, thread.process.0.into());
    put_signed(out, thread.interpreter);
    put(out, thread.os_thread_id.map_or(0, |tid| u64::from(tid.0) + 1));
    put(out, thread.python_thread_id);
    put(out, thread.name.as_ref().map_or(0, |name| name.len() as u64 + 1));
    out.extend_from_slice(thread.name.as_deref().unwrap_or_default().as_bytes());
}

fn read_thread(bytes: &[u8], column: &mut Column) -> io::Result<Event> {
    let id = ThreadId(column.small(bytes)?);
    let process = ProcessId(column.small(bytes)?);
    let interpreter = column.signed(bytes)?;
    let os_thread_id = column.small_optional(bytes)?.map(Tid);
    let python_thread_id = column.number(bytes)?;
    let name = match column.optional(bytes)? {
        Some(length) => Some(column.text_of(bytes, length)?.into()),
        None => None,
    };
    Ok(Event::Thread(id, Thread { process, interpreter, os_thread_id, python_thread_id, name }))
}

/// Appends the entries of a `sys.path`.
pub fn put_search_path(out: &mut Vec<u8>, entries: &[String]) {
    put_texts(out, entries);
}

/// Appends a remark.
pub fn put_remark(out: &mut Vec<u8>, remark: Remark) {
    out.push(match remark {
        Remark::CannotPause => 0,
        Remark::Stretched => 1,
        Remark::Spared => 2,
    });
}
