//! The block `_Py_DebugOffsets` that CPython 3.13 and later carries about itself.
//!
//! It is the first member of `_PyRuntime` (and so the start of the ELF section `.PyRuntime`) and holds the offsets that
//! a debugger needs most, as the target's own compiler computed them. [`Published::decode`] checks and decodes its
//! bytes, [`Published::overlay`] puts its numbers over a table.
//!
//! # Which table to put it over
//!
//! [`Published::table`]: the one for the published minor version, free-threaded or release as the block says. Whether
//! the target is a debug, trace-refs or JIT build need not be known: from 3.13 on these differ from it, as far as an
//! [`Offsets`] goes, in fields that the block publishes. (A test holds every table to that.) The architecture does
//! matter, for [`Gil::size`](crate::Gil::size) is not published.

mod order;

use crate::{
    Arch, Build, Bytecode, Bytes, Code, DataStack, Dict, Frame, GcCollecting, Gil, GilPlace, Interpreter,
    InterpreterFrame, Leaf, Level, LineTable, Long, LongLength, NEWEST_MINOR, Object, Offsets, Runtime, Thread,
    TypeObject, Unicode, Version, fields,
};
use order::Rule;

/// How many bytes to fetch from the start of `_PyRuntime` for [`Published::decode`]: the largest known block.
///
/// `_PyRuntime` itself is far larger, so that this much can always be read.
pub const PREFIX_LEN: usize = 888;

/// What the block starts with.
pub const COOKIE: [u8; 8] = *b"xdebugpy";

/// The first minor version that publishes its offsets.
pub const FIRST_MINOR: u8 = 13;

/// Sizes and offsets from here on are refused: no structure of CPython comes near.
const LIMIT: usize = 16 << 20;

/// Why bytes are not a block of offsets, or not one to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// The bytes end before the block does.
    #[error("published offsets take {needed} bytes, only {given} are there")]
    TooShort {
        /// Bytes that the block of this version takes.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The bytes do not start with [`COOKIE`].
    #[error("no published offsets: the bytes start with {0:02x?} instead of the cookie `xdebugpy`")]
    NoCookie([u8; 8]),
    /// The version field is not a version of Python.
    #[error("published offsets name no version of Python: {0:#x}")]
    NoVersion(u64),
    /// The version is one that has no such block.
    #[error("published offsets name Python {0}, which publishes none")]
    Unpublished(Version),
    /// `free_threaded` is neither 0 nor 1.
    #[error("published offsets have {0:#x} for the flag `free_threaded`")]
    Flag(u64),
    /// A size is 0, or beyond what any structure takes.
    #[error("published {field} is {value}, which cannot be a size")]
    Size {
        /// Name in `_Py_DebugOffsets`.
        field: &'static str,
        /// The published value.
        value: u64,
    },
    /// A member would reach over the end of its structure.
    #[error("published {field} is {value}, outside its structure of {size} bytes")]
    Outside {
        /// Name in `_Py_DebugOffsets`.
        field: &'static str,
        /// The published value.
        value: u64,
        /// The published size of the structure.
        size: usize,
    },
    /// A member would lie where the compiler puts none of its kind.
    #[error("published {field} is {value}, which is no multiple of {align}")]
    Misaligned {
        /// Name in `_Py_DebugOffsets`.
        field: &'static str,
        /// The published value.
        value: u64,
        /// What it must be a multiple of, in bytes.
        align: usize,
    },
    /// The fields of the GIL do not lie within it.
    #[error("published {field} is {value}, outside the GIL that is said to start at {gil}")]
    OutsideGil {
        /// Name in `_Py_DebugOffsets`.
        field: &'static str,
        /// The published value, from the start of `PyInterpreterState`.
        value: usize,
        /// `interpreter_state.gil_runtime_state`.
        gil: usize,
    },
    /// The published numbers and those of the table do not go together.
    #[error("with the published offsets {field} comes to {value}, outside its structure of {size} bytes")]
    Conflict {
        /// CPython's name of the field.
        field: &'static str,
        /// Offset that results.
        value: usize,
        /// Size of the structure.
        size: usize,
    },
    /// The table is for another version, or for the other kind of threading.
    #[error("published offsets of Python {version} do not go over a table for another build")]
    WrongTable {
        /// The published version.
        version: Version,
    },
}

/// A block `_Py_DebugOffsets`, decoded and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `version`: the exact version of the target.
    pub version: Version,
    /// `free_threaded`: whether the target was built with `--disable-gil`.
    pub free_threaded: bool,
    /// Bytes that the block takes.
    pub size: usize,
    /// Whether the order of the fields is assumed: for minor versions after [`NEWEST_MINOR`] (the newest known order),
    /// and for alpha and beta releases (that of their final release).
    pub untested: bool,
    values: Vec<(&'static str, usize)>,
}

impl Published {
    /// Decodes the start of `_PyRuntime`; bytes after the block are ignored, so that [`PREFIX_LEN`] always suffice.
    ///
    /// # Errors
    ///
    /// Every way in which the bytes cannot be the block of a CPython, so that this is also a test for a candidate
    /// address. It never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Published, PublishedError> {
        let cookie: [u8; 8] = at(bytes, 0)?;
        if cookie != COOKIE {
            return Err(PublishedError::NoCookie(cookie));
        }
        let version = version(word(bytes, 8)?)?;
        let free_threaded = flag(word(bytes, 16)?)?;
        let layout = version.minor.min(NEWEST_MINOR);
        let size = order::HEADER + 8 * order::of(layout).count();
        if bytes.len() < size {
            return Err(PublishedError::TooShort { needed: size, given: bytes.len() });
        }
        let values = values(bytes, layout)?;
        Ok(Published { version, free_threaded, size, untested: is_untested(version), values })
    }

    /// The names and values of the fields after the header, in order; names are `group.member` of `_Py_DebugOffsets`.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.values.iter().copied()
    }

    /// The table to put the block over: of the same minor version (the newest for one that has no table), release or
    /// free-threaded. See the [module](self) for why that suffices.
    pub fn table(&self, arch: Arch) -> Option<&'static Offsets> {
        let build = if self.free_threaded { Build::FreeThreaded } else { Build::Release };
        Offsets::of(self.version.minor.min(NEWEST_MINOR), arch, build)
    }

    /// `table` with every field replaced that the block publishes.
    ///
    /// Three fields that are not published keep their distance from a published neighbour: `interpreters.main`,
    /// `datastack_top` and `datastack_limit`; and in 3.13 `threads.main`.
    ///
    /// # Errors
    ///
    /// [`PublishedError::WrongTable`] where `table` is not for the version and threading that the block names, and
    /// [`PublishedError::OutsideGil`] or [`PublishedError::Conflict`] where the result makes no sense.
    pub fn overlay(&self, table: &Offsets) -> Result<Offsets, PublishedError> {
        let Frame::Interpreter(frame) = table.frame else { return Err(self.wrong_table()) };
        if table.minor != self.version.minor.min(NEWEST_MINOR) || table.gil.enabled.is_some() != self.free_threaded {
            return Err(self.wrong_table());
        }
        let offsets = Offsets {
            minor: self.version.minor,
            runtime: self.runtime(table.runtime),
            interpreter: self.interpreter(table.interpreter),
            gil: self.gil(table.gil)?,
            thread: self.thread(table.thread),
            frame: Frame::Interpreter(self.frame(frame)),
            code: self.code(table.code),
            object: self.object(table.object),
            type_object: self.type_object(table.type_object),
            unicode: self.unicode(table.unicode),
            bytes: self.bytes(table.bytes),
            tuple_items: self.or("tuple_object.ob_item", table.tuple_items),
            list_items: self.or("list_object.ob_item", table.list_items),
            long: self.long(table.long),
            dict: self.dict(table.dict),
            attributes: table.attributes,
        };
        match fields::outside(&offsets) {
            Some((field, value, size)) => Err(PublishedError::Conflict { field, value, size }),
            None => Ok(offsets),
        }
    }

    fn wrong_table(&self) -> PublishedError {
        PublishedError::WrongTable { version: self.version }
    }

    fn runtime(&self, table: Runtime) -> Runtime {
        let interpreters_head = self.or("runtime_state.interpreters_head", table.interpreters_head);
        Runtime {
            size: self.or("runtime_state.size", table.size),
            interpreters_head,
            interpreters_main: beside(interpreters_head, table.interpreters_head, table.interpreters_main),
            finalizing: self.or("runtime_state.finalizing", table.finalizing),
            ..table
        }
    }

    fn interpreter(&self, table: Interpreter) -> Interpreter {
        let threads_head = self.or("interpreter_state.threads_head", table.threads_head);
        let threads_main = table.threads_main.map(|main| beside(threads_head, table.threads_head, main));
        Interpreter {
            size: self.or("interpreter_state.size", table.size),
            next: self.or("interpreter_state.next", table.next),
            id: self.or("interpreter_state.id", table.id),
            threads_head,
            threads_main: self.value("interpreter_state.threads_main").or(threads_main),
            modules: self.or("interpreter_state.imports_modules", table.modules),
            sysdict: self.or("interpreter_state.sysdict", table.sysdict),
            gc_collecting: self.gc_collecting(table.gc_collecting),
            code_object_generation: self
                .value("interpreter_state.code_object_generation")
                .or(table.code_object_generation),
            tlbc_generation: self.if_free_threaded("interpreter_state.tlbc_generation").or(table.tlbc_generation),
        }
    }

    fn gc_collecting(&self, table: GcCollecting) -> GcCollecting {
        match (self.value("interpreter_state.gc"), self.value("gc.collecting")) {
            (Some(gc), Some(collecting)) => GcCollecting::Interpreter(gc + collecting),
            _ => table,
        }
    }

    /// The block has these as offsets in the interpreter, but for `enabled`, which counts from the GIL itself.
    fn gil(&self, table: Gil) -> Result<Gil, PublishedError> {
        Ok(Gil {
            place: self.value("interpreter_state.ceval_gil").map_or(table.place, GilPlace::InterpreterPointer),
            last_holder: self.in_gil("interpreter_state.gil_runtime_state_holder", table.size)?,
            locked: self.in_gil("interpreter_state.gil_runtime_state_locked", table.size)?,
            enabled: self.if_free_threaded("interpreter_state.gil_runtime_state_enabled").or(table.enabled),
            ..table
        })
    }

    fn in_gil(&self, field: &'static str, size: usize) -> Result<usize, PublishedError> {
        let (value, gil) = (self.or(field, 0), self.or("interpreter_state.gil_runtime_state", 0));
        value.checked_sub(gil).filter(|offset| *offset < size).ok_or(PublishedError::OutsideGil { field, value, gil })
    }

    fn thread(&self, table: Thread) -> Thread {
        Thread {
            size: self.or("thread_state.size", table.size),
            next: self.or("thread_state.next", table.next),
            interp: self.or("thread_state.interp", table.interp),
            leaf: self.value("thread_state.current_frame").map_or(table.leaf, Leaf::Direct),
            base_frame: self.value("thread_state.base_frame").or(table.base_frame),
            thread_id: self.or("thread_state.thread_id", table.thread_id),
            native_thread_id: self.value("thread_state.native_thread_id").or(table.native_thread_id),
            data_stack: table.data_stack.map(|stack| self.data_stack(stack)),
            status: self.value("thread_state.status").or(table.status),
            holds_gil: self.value("thread_state.holds_gil").or(table.holds_gil),
            gil_requested: self.value("thread_state.gil_requested").or(table.gil_requested),
            ..table
        }
    }

    fn data_stack(&self, table: DataStack) -> DataStack {
        let chunk = self.or("thread_state.datastack_chunk", table.chunk);
        DataStack {
            chunk,
            top: beside(chunk, table.chunk, table.top),
            limit: beside(chunk, table.chunk, table.limit),
            ..table
        }
    }

    fn frame(&self, table: InterpreterFrame) -> InterpreterFrame {
        InterpreterFrame {
            size: self.or("interpreter_frame.size", table.size),
            executable: self.or("interpreter_frame.executable", table.executable),
            previous: self.or("interpreter_frame.previous", table.previous),
            instr: self.or("interpreter_frame.instr_ptr", table.instr),
            owner: self.or("interpreter_frame.owner", table.owner),
            stack_pointer: self.value("interpreter_frame.stackpointer").or(table.stack_pointer),
            localsplus: self.or("interpreter_frame.localsplus", table.localsplus),
            tlbc_index: self.if_free_threaded("interpreter_frame.tlbc_index").or(table.tlbc_index),
            ..table
        }
    }

    fn code(&self, table: Code) -> Code {
        Code {
            size: self.or("code_object.size", table.size),
            filename: self.or("code_object.filename", table.filename),
            name: self.or("code_object.name", table.name),
            qualname: self.value("code_object.qualname").or(table.qualname),
            firstlineno: self.or("code_object.firstlineno", table.firstlineno),
            line_table: self.value("code_object.linetable").map_or(table.line_table, LineTable::Locations),
            bytecode: self.value("code_object.co_code_adaptive").map_or(table.bytecode, Bytecode::Inline),
            tlbc: self.if_free_threaded("code_object.co_tlbc").or(table.tlbc),
            ..table
        }
    }

    fn object(&self, table: Object) -> Object {
        Object {
            size: self.or("pyobject.size", table.size),
            ob_type: self.or("pyobject.ob_type", table.ob_type),
            ob_size: self.or("tuple_object.ob_size", table.ob_size),
        }
    }

    fn type_object(&self, table: TypeObject) -> TypeObject {
        TypeObject {
            size: self.or("type_object.size", table.size),
            name: self.or("type_object.tp_name", table.name),
            basicsize: self.or("type_object.tp_basicsize", table.basicsize),
            flags: self.or("type_object.tp_flags", table.flags),
            dictoffset: self.or("type_object.tp_dictoffset", table.dictoffset),
            cached_keys: self.or("heap_type_object.ht_cached_keys", table.cached_keys),
        }
    }

    /// The data of a `PyUnicodeObject` follow its `PyCompactUnicodeObject`.
    fn unicode(&self, table: Unicode) -> Unicode {
        Unicode {
            length: self.or("unicode_object.length", table.length),
            state: self.or("unicode_object.state", table.state),
            ascii_size: self.or("unicode_object.asciiobject_size", table.ascii_size),
            compact_size: self.or("unicode_object.compactunicodeobject_size", table.compact_size),
            data: self.or("unicode_object.compactunicodeobject_size", table.data),
            ..table
        }
    }

    fn bytes(&self, table: Bytes) -> Bytes {
        Bytes {
            ob_size: self.or("bytes_object.ob_size", table.ob_size),
            ob_sval: self.or("bytes_object.ob_sval", table.ob_sval),
        }
    }

    fn long(&self, table: Long) -> Long {
        Long {
            length: self.value("long_object.lv_tag").map_or(table.length, LongLength::Tag),
            ob_digit: self.or("long_object.ob_digit", table.ob_digit),
        }
    }

    fn dict(&self, table: Dict) -> Dict {
        Dict {
            keys: self.or("dict_object.ma_keys", table.keys),
            values: self.or("dict_object.ma_values", table.values),
            ..table
        }
    }

    /// The value of a field, if the version has it.
    fn value(&self, field: &str) -> Option<usize> {
        debug_assert!(order::of(NEWEST_MINOR).any(|(name, _)| name == field), "no field is called {field}");
        self.values.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
    }

    fn or(&self, field: &str, table: usize) -> usize {
        self.value(field).unwrap_or(table)
    }

    /// The value of a field that other builds publish as 0.
    fn if_free_threaded(&self, field: &str) -> Option<usize> {
        self.value(field).filter(|_| self.free_threaded)
    }
}

/// Where `neighbour` of the table is when its anchor has moved.
fn beside(anchor: usize, table_anchor: usize, neighbour: usize) -> usize {
    (anchor + neighbour).saturating_sub(table_anchor)
}

fn version(hex: u64) -> Result<Version, PublishedError> {
    let version = Version::from_hex(hex).ok_or(PublishedError::NoVersion(hex))?;
    if version.major != 3 || version.minor < FIRST_MINOR {
        return Err(PublishedError::Unpublished(version));
    }
    Ok(version)
}

fn is_untested(version: Version) -> bool {
    version.minor > NEWEST_MINOR || matches!(version.level, Level::Alpha | Level::Beta)
}

fn flag(value: u64) -> Result<bool, PublishedError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(PublishedError::Flag(value)),
    }
}

fn values(bytes: &[u8], layout: u8) -> Result<Vec<(&'static str, usize)>, PublishedError> {
    let mut values = Vec::new();
    let mut size = None;
    for (index, (field, rule)) in order::of(layout).enumerate() {
        let value = word(bytes, order::HEADER + 8 * index)?;
        if field.ends_with(".size") {
            size = usize::try_from(value).ok();
        }
        values.push((field, checked(field, value, rule, size.unwrap_or(LIMIT))?));
    }
    Ok(values)
}

/// The value of a field in a structure of `size` bytes, if it can be what its rule says.
fn checked(field: &'static str, value: u64, rule: Rule, size: usize) -> Result<usize, PublishedError> {
    let small = usize::try_from(value).ok().filter(|small| *small < LIMIT);
    match (rule, small) {
        (Rule::Size, Some(small)) if small > 0 => Ok(small),
        (Rule::Size, _) => Err(PublishedError::Size { field, value }),
        (Rule::At(width), Some(small)) if small + width <= size => match small % width {
            0 => Ok(small),
            _ => Err(PublishedError::Misaligned { field, value, align: width }),
        },
        (Rule::At(_), _) => Err(PublishedError::Outside { field, value, size }),
        (Rule::Other, small) => Ok(small.unwrap_or(0)),
    }
}

fn word(bytes: &[u8], offset: usize) -> Result<u64, PublishedError> {
    at(bytes, offset).map(u64::from_le_bytes)
}

fn at(bytes: &[u8], offset: usize) -> Result<[u8; 8], PublishedError> {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.copied().ok_or(PublishedError::TooShort { needed: offset + 8, given: bytes.len() })
}
