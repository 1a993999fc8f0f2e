//! The same [`Offsets`] read from an ELF file's debug information: for builds that no table knows, and to verify the
//! tables.
//!
//! Debug information gives the numbers. The shapes (which way the innermost frame is found, how lines are encoded) and
//! the few facts that no structure shows come from the table of the same minor version; for a newer one from the
//! newest table.

mod sections;
mod types;

use std::borrow::Cow;

use gimli::{Dwarf, EndianSlice, LittleEndian};

use crate::elf::{ElfError, ElfFile};
use crate::{
    Arch, Attributes, Build, Bytecode, Bytes, Code, DataStack, Dict, DictKeys, Frame, FrameObject, GcCollecting, Gil,
    GilPlace, Interpreter, InterpreterFrame, Leaf, LineTable, Long, LongLength, NEWEST_MINOR, Object, Offsets, Runtime,
    Thread, TypeObject, Unicode, Version, fields,
};
use types::Types;

/// What debug information says of a CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DwarfOffsets {
    /// Where everything lies.
    pub offsets: Offsets,
    /// Whether it was built with `--disable-gil`.
    pub free_threaded: bool,
    /// The exact version, where the file tells it. See [`ElfFile::version`].
    pub version: Option<Version>,
    /// The architecture that the file is for.
    pub arch: Arch,
}

/// Why debug information gives no offsets.
#[derive(Debug, thiserror::Error)]
pub enum DwarfError {
    /// The file is no ELF file that can be looked at.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The file has no section `.debug_info`, or an empty one.
    #[error("the file has no debug information")]
    NoDebugInfo,
    /// The debug information breaks the rules of its format.
    #[error("unreadable debug information: {0}")]
    Malformed(#[from] gimli::Error),
    /// A section reaches over the end of the file, or cannot be decompressed.
    #[error("the section {0} is damaged")]
    Section(&'static str),
    /// A section is compressed by a method that is not known here.
    #[error("the section {section} is compressed by an unknown method (number {method})")]
    Compression {
        /// Name of the section.
        section: &'static str,
        /// Its `ch_type`.
        method: u32,
    },
    /// The debug information is split over two files.
    #[error("the debug information is shared with another file by dwz, which is not supported")]
    Supplement,
    /// A reference leads out of the debug information.
    #[error("the debug information refers to an entry that it does not have")]
    Reference,
    /// A member's place is not a constant.
    #[error("the debug information has a structure member without a constant offset")]
    Location,
    /// The file does not tell which minor version of Python 3 it is, and the caller did not either.
    #[error("the file does not tell which version of Python it is")]
    NoVersion,
    /// The minor version is older than every table.
    #[error("Python 3.{0} is not supported")]
    Unsupported(u8),
    /// A structure is not described, or only in a type unit or a separate `.dwo` file.
    #[error("the debug information does not define `{0}` (type units and split files are not looked into)")]
    NoStructure(&'static str),
    /// A structure is described without its size.
    #[error("the debug information gives no size for `{0}`")]
    NoSize(&'static str),
    /// A member that the version must have is not described.
    #[error("the debug information has no member `{member}` in `{structure}`")]
    NoMember {
        /// Tag of the structure.
        structure: &'static str,
        /// Path of the member, and what else it might be called.
        member: String,
    },
    /// A member is said to lie outside its structure.
    #[error("the debug information has `{field}` at {value}, outside its structure of {size} bytes")]
    Outside {
        /// CPython's name of the field.
        field: &'static str,
        /// Its offset.
        value: usize,
        /// Size of the structure.
        size: usize,
    },
}

/// Reads the offsets of the CPython in an ELF file, or in a file with its debug information alone.
///
/// `minor` is the minor version of Python 3; with `None` the file itself must tell, which one with debug information
/// alone mostly cannot.
///
/// # Errors
///
/// [`DwarfError`]: where there is no debug information, it cannot be read, or it is not that of the minor version.
pub fn read(elf: &[u8], minor: Option<u8>) -> Result<DwarfOffsets, DwarfError> {
    let file = ElfFile::parse(elf)?;
    let version = file.version();
    let minor = minor.or_else(|| file.minor()).ok_or(DwarfError::NoVersion)?;
    if sections::has_supplement(&file) {
        return Err(DwarfError::Supplement);
    }
    let sections = sections::load(&file)?;
    let dwarf = sections.borrow(|section: &Cow<'_, [u8]>| EndianSlice::new(section, LittleEndian));
    let (offsets, free_threaded) = offsets(&dwarf, minor, file.arch())?;
    Ok(DwarfOffsets { offsets, free_threaded, version, arch: file.arch() })
}

fn offsets(dwarf: &Dwarf<EndianSlice<'_, LittleEndian>>, minor: u8, arch: Arch) -> Result<(Offsets, bool), DwarfError> {
    if dwarf.units().next()?.is_none() {
        return Err(DwarfError::NoDebugInfo);
    }
    let types = Types::find(dwarf, &wanted(minor))?;
    let free_threaded = types.offset(OBJECT[0], "ob_tid")?.is_some();
    let build = if free_threaded { Build::FreeThreaded } else { Build::Release };
    let shape = Offsets::of(minor.min(NEWEST_MINOR), arch, build).ok_or(DwarfError::Unsupported(minor))?;
    let offsets = Reader { types, minor }.offsets(shape)?;
    match fields::outside(&offsets) {
        Some((field, value, size)) => Err(DwarfError::Outside { field, value, size }),
        None => Ok((offsets, free_threaded)),
    }
}

// The structures by tag, or by typedef where they have no tag; the first name is the one used below.
const RUNTIME: &[&str] = &["pyruntimestate", "_PyRuntimeState"];
const INTERPRETER: &[&str] = &["_is", "PyInterpreterState"];
const GIL: &[&str] = &["_gil_runtime_state"];
const THREAD: &[&str] = &["_ts", "PyThreadState"];
const C_FRAME: &[&str] = &["_PyCFrame"];
const STACK_CHUNK: &[&str] = &["_stack_chunk", "_PyStackChunk"];
const FRAME_OBJECT: &[&str] = &["_frame", "PyFrameObject"];
const INTERPRETER_FRAME: &[&str] = &["_PyInterpreterFrame"];
const CODE: &[&str] = &["PyCodeObject"];
const FUNCTION: &[&str] = &["PyFunctionObject"];
const OBJECT: &[&str] = &["_object", "PyObject"];
const VAR_OBJECT: &[&str] = &["PyVarObject"];
const TYPE: &[&str] = &["_typeobject", "PyTypeObject"];
const HEAP_TYPE: &[&str] = &["_heaptypeobject", "PyHeapTypeObject"];
const ASCII: &[&str] = &["PyASCIIObject"];
const COMPACT: &[&str] = &["PyCompactUnicodeObject"];
const UNICODE: &[&str] = &["PyUnicodeObject"];
const BYTES: &[&str] = &["PyBytesObject"];
const TUPLE: &[&str] = &["PyTupleObject"];
const LIST: &[&str] = &["PyListObject"];
const LONG: &[&str] = &["_longobject", "PyLongObject"];
const DICT: &[&str] = &["PyDictObject"];
const DICT_KEYS: &[&str] = &["_dictkeysobject", "PyDictKeysObject"];
const DICT_VALUES: &[&str] = &["_dictvalues", "PyDictValues"];

/// The structures that a minor version has.
fn wanted(minor: u8) -> Vec<&'static [&'static str]> {
    let mut wanted = vec![
        RUNTIME,
        INTERPRETER,
        GIL,
        THREAD,
        CODE,
        OBJECT,
        VAR_OBJECT,
        TYPE,
        HEAP_TYPE,
        ASCII,
        COMPACT,
        UNICODE,
        BYTES,
        TUPLE,
        LIST,
        LONG,
        DICT,
        DICT_KEYS,
    ];
    match minor {
        ..=10 => wanted.push(FRAME_OBJECT),
        _ => wanted.extend([INTERPRETER_FRAME, STACK_CHUNK]),
    }
    match minor {
        ..=10 => {}
        11 => wanted.extend([C_FRAME, FUNCTION]),
        12 => wanted.push(C_FRAME),
        _ => wanted.push(DICT_VALUES),
    }
    wanted
}

/// Puts the numbers into shapes; each function is told the shape by the table.
struct Reader<'a> {
    types: Types<'a>,
    minor: u8,
}

impl Reader<'_> {
    fn offsets(&self, shape: &Offsets) -> Result<Offsets, DwarfError> {
        Ok(Offsets {
            minor: self.minor,
            runtime: self.runtime()?,
            interpreter: self.interpreter(&shape.interpreter)?,
            gil: self.gil(&shape.gil)?,
            thread: self.thread(&shape.thread)?,
            frame: self.frame(&shape.frame)?,
            code: self.code(&shape.code)?,
            object: self.object()?,
            type_object: self.type_object()?,
            unicode: self.unicode(&shape.unicode)?,
            bytes: Bytes { ob_size: self.at(BYTES, &["ob_base.ob_size"])?, ob_sval: self.at(BYTES, &["ob_sval"])? },
            tuple_items: self.at(TUPLE, &["ob_item"])?,
            list_items: self.at(LIST, &["ob_item"])?,
            long: self.long(&shape.long)?,
            dict: self.dict(&shape.dict)?,
            attributes: self.attributes(&shape.attributes)?,
        })
    }

    fn runtime(&self) -> Result<Runtime, DwarfError> {
        Ok(Runtime {
            size: self.size(RUNTIME)?,
            interpreters_head: self.at(RUNTIME, &["interpreters.head"])?,
            interpreters_main: self.at(RUNTIME, &["interpreters.main"])?,
            finalizing: self.at(RUNTIME, &["_finalizing", "finalizing"])?,
            initialized: self.at(RUNTIME, &["initialized"])?,
            main_thread: self.at(RUNTIME, &["main_thread", "ceval.pending.main_thread"])?,
        })
    }

    fn interpreter(&self, shape: &Interpreter) -> Result<Interpreter, DwarfError> {
        Ok(Interpreter {
            size: self.size(INTERPRETER)?,
            next: self.at(INTERPRETER, &["next"])?,
            id: self.at(INTERPRETER, &["id"])?,
            threads_head: self.at(INTERPRETER, &["threads.head", "tstate_head"])?,
            threads_main: self.optional(shape.threads_main, INTERPRETER, "threads.main")?,
            modules: self.at(INTERPRETER, &["imports.modules", "modules"])?,
            sysdict: self.at(INTERPRETER, &["sysdict"])?,
            gc_collecting: match shape.gc_collecting {
                GcCollecting::Runtime(_) => GcCollecting::Runtime(self.at(RUNTIME, &["gc.collecting"])?),
                GcCollecting::Interpreter(_) => GcCollecting::Interpreter(self.at(INTERPRETER, &["gc.collecting"])?),
            },
            code_object_generation: self.optional(
                shape.code_object_generation,
                INTERPRETER,
                "_code_object_generation",
            )?,
            tlbc_generation: self.optional(shape.tlbc_generation, INTERPRETER, "tlbc_indices.tlbc_generation")?,
        })
    }

    fn gil(&self, shape: &Gil) -> Result<Gil, DwarfError> {
        Ok(Gil {
            place: match shape.place {
                GilPlace::Runtime(_) => GilPlace::Runtime(self.at(RUNTIME, &["ceval.gil"])?),
                GilPlace::InterpreterPointer(_) => GilPlace::InterpreterPointer(self.at(INTERPRETER, &["ceval.gil"])?),
            },
            size: self.size(GIL)?,
            last_holder: self.at(GIL, &["last_holder"])?,
            locked: self.at(GIL, &["locked"])?,
            switch_number: self.at(GIL, &["switch_number"])?,
            enabled: self.optional(shape.enabled, GIL, "enabled")?,
        })
    }

    fn thread(&self, shape: &Thread) -> Result<Thread, DwarfError> {
        Ok(Thread {
            size: self.size(THREAD)?,
            next: self.at(THREAD, &["next"])?,
            interp: self.at(THREAD, &["interp"])?,
            leaf: self.leaf(&shape.leaf)?,
            base_frame: self.optional(shape.base_frame, THREAD, "base_frame")?,
            thread_id: self.at(THREAD, &["thread_id"])?,
            native_thread_id: self.optional(shape.native_thread_id, THREAD, "native_thread_id")?,
            data_stack: shape.data_stack.map(|_| self.data_stack()).transpose()?,
            status: self.optional(shape.status, THREAD, "_status")?,
            holds_gil: self.optional(shape.holds_gil, THREAD, "holds_gil")?,
            gil_requested: self.optional(shape.gil_requested, THREAD, "gil_requested")?,
            state: self.optional(shape.state, THREAD, "state")?,
            current_executor: self.optional(shape.current_executor, THREAD, "current_executor")?,
        })
    }

    fn leaf(&self, shape: &Leaf) -> Result<Leaf, DwarfError> {
        Ok(match shape {
            Leaf::Direct(_) => Leaf::Direct(self.at(THREAD, &["current_frame", "frame"])?),
            Leaf::ThroughCFrame { .. } => Leaf::ThroughCFrame {
                cframe: self.at(THREAD, &["cframe"])?,
                current_frame: self.at(C_FRAME, &["current_frame"])?,
            },
        })
    }

    fn data_stack(&self) -> Result<DataStack, DwarfError> {
        Ok(DataStack {
            chunk: self.at(THREAD, &["datastack_chunk"])?,
            top: self.at(THREAD, &["datastack_top"])?,
            limit: self.at(THREAD, &["datastack_limit"])?,
            chunk_previous: self.at(STACK_CHUNK, &["previous"])?,
            chunk_size: self.at(STACK_CHUNK, &["size"])?,
            chunk_top: self.at(STACK_CHUNK, &["top"])?,
            chunk_data: self.at(STACK_CHUNK, &["data"])?,
        })
    }

    fn frame(&self, shape: &Frame) -> Result<Frame, DwarfError> {
        match shape {
            Frame::Object(shape) => Ok(Frame::Object(self.frame_object(shape)?)),
            Frame::Interpreter(shape) => Ok(Frame::Interpreter(self.interpreter_frame(shape)?)),
        }
    }

    fn frame_object(&self, shape: &FrameObject) -> Result<FrameObject, DwarfError> {
        let executing = self.at(FRAME_OBJECT, &["f_executing", "f_state"])?;
        Ok(FrameObject {
            // With what pads it.
            size: executing + size_of::<i32>(),
            back: self.at(FRAME_OBJECT, &["f_back"])?,
            code: self.at(FRAME_OBJECT, &["f_code"])?,
            lasti: self.at(FRAME_OBJECT, &["f_lasti"])?,
            lasti_unit: shape.lasti_unit,
            executing,
            is_executing: shape.is_executing,
        })
    }

    fn interpreter_frame(&self, shape: &InterpreterFrame) -> Result<InterpreterFrame, DwarfError> {
        Ok(InterpreterFrame {
            size: self.size(INTERPRETER_FRAME)?,
            executable: self.at(INTERPRETER_FRAME, &["f_executable", "f_code"])?,
            function: self.at(INTERPRETER_FRAME, &["f_funcobj", "f_func"])?,
            frame_object: self.at(INTERPRETER_FRAME, &["frame_obj"])?,
            previous: self.at(INTERPRETER_FRAME, &["previous"])?,
            instr: self.at(INTERPRETER_FRAME, &["instr_ptr", "prev_instr"])?,
            owner: self.at(INTERPRETER_FRAME, &["owner"])?,
            first_shim_owner: shape.first_shim_owner,
            is_entry: self.optional(shape.is_entry, INTERPRETER_FRAME, "is_entry")?,
            stack_top: self.optional(shape.stack_top, INTERPRETER_FRAME, "stacktop")?,
            stack_pointer: self.optional(shape.stack_pointer, INTERPRETER_FRAME, "stackpointer")?,
            localsplus: self.at(INTERPRETER_FRAME, &["localsplus"])?,
            tlbc_index: self.optional(shape.tlbc_index, INTERPRETER_FRAME, "tlbc_index")?,
        })
    }

    fn code(&self, shape: &Code) -> Result<Code, DwarfError> {
        Ok(Code {
            size: self.size(CODE)?,
            filename: self.at(CODE, &["co_filename"])?,
            name: self.at(CODE, &["co_name"])?,
            qualname: self.optional(shape.qualname, CODE, "co_qualname")?,
            firstlineno: self.at(CODE, &["co_firstlineno"])?,
            flags: self.at(CODE, &["co_flags"])?,
            line_table: match shape.line_table {
                LineTable::Lnotab(_) => LineTable::Lnotab(self.at(CODE, &["co_lnotab"])?),
                LineTable::Pep626(_) => LineTable::Pep626(self.at(CODE, &["co_linetable"])?),
                LineTable::Locations(_) => LineTable::Locations(self.at(CODE, &["co_linetable"])?),
            },
            version: self.optional(shape.version, CODE, "co_version")?,
            function_version: self.optional(shape.function_version, FUNCTION, "func_version")?,
            first_traceable: self.optional(shape.first_traceable, CODE, "_co_firsttraceable")?,
            bytecode: match shape.bytecode {
                Bytecode::Pointer(_) => Bytecode::Pointer(self.at(CODE, &["co_code"])?),
                Bytecode::Inline(_) => Bytecode::Inline(self.at(CODE, &["co_code_adaptive"])?),
            },
            leaves: shape.leaves,
            calls: shape.calls,
            checks: shape.checks,
            tlbc: self.optional(shape.tlbc, CODE, "co_tlbc")?,
        })
    }

    fn object(&self) -> Result<Object, DwarfError> {
        Ok(Object {
            size: self.size(OBJECT)?,
            ob_type: self.at(OBJECT, &["ob_type"])?,
            ob_size: self.at(VAR_OBJECT, &["ob_size"])?,
        })
    }

    fn type_object(&self) -> Result<TypeObject, DwarfError> {
        Ok(TypeObject {
            size: self.size(TYPE)?,
            name: self.at(TYPE, &["tp_name"])?,
            basicsize: self.at(TYPE, &["tp_basicsize"])?,
            flags: self.at(TYPE, &["tp_flags"])?,
            dictoffset: self.at(TYPE, &["tp_dictoffset"])?,
            cached_keys: self.at(HEAP_TYPE, &["ht_cached_keys"])?,
        })
    }

    fn unicode(&self, shape: &Unicode) -> Result<Unicode, DwarfError> {
        Ok(Unicode {
            length: self.at(ASCII, &["length"])?,
            state: self.at(ASCII, &["state"])?,
            kind_shift: self.types.bit(ASCII[0], "state.kind")?.unwrap_or(shape.kind_shift),
            ascii_size: self.size(ASCII)?,
            compact_size: self.size(COMPACT)?,
            data: self.at(UNICODE, &["data"])?,
        })
    }

    fn long(&self, shape: &Long) -> Result<Long, DwarfError> {
        Ok(Long {
            length: match shape.length {
                LongLength::Signed(_) => LongLength::Signed(self.at(LONG, &["ob_base.ob_size"])?),
                LongLength::Tag(_) => LongLength::Tag(self.at(LONG, &["long_value.lv_tag"])?),
            },
            ob_digit: self.at(LONG, &["long_value.ob_digit", "ob_digit"])?,
        })
    }

    fn dict(&self, shape: &Dict) -> Result<Dict, DwarfError> {
        Ok(Dict {
            used: self.at(DICT, &["ma_used"])?,
            keys: self.at(DICT, &["ma_keys"])?,
            values: self.at(DICT, &["ma_values"])?,
            values_first: match shape.values_first {
                0 => 0,
                _ => self.at(DICT_VALUES, &["values"])?,
            },
            keys_header: self.dict_keys(&shape.keys_header)?,
        })
    }

    fn dict_keys(&self, shape: &DictKeys) -> Result<DictKeys, DwarfError> {
        let nentries = self.at(DICT_KEYS, &["dk_nentries"])?;
        let header = self.at(DICT_KEYS, &["dk_indices"])?;
        Ok(match shape {
            DictKeys::Sized { .. } => DictKeys::Sized { size: self.at(DICT_KEYS, &["dk_size"])?, nentries, header },
            DictKeys::Log2 { .. } => DictKeys::Log2 {
                log2_size: self.at(DICT_KEYS, &["dk_log2_size"])?,
                log2_index_bytes: self.at(DICT_KEYS, &["dk_log2_index_bytes"])?,
                kind: self.at(DICT_KEYS, &["dk_kind"])?,
                nentries,
                header,
            },
        })
    }

    fn attributes(&self, shape: &Attributes) -> Result<Attributes, DwarfError> {
        Ok(match *shape {
            Attributes::Inline { dict_before, .. } => Attributes::Inline {
                valid: self.at(DICT_VALUES, &["valid"])?,
                values: self.at(DICT_VALUES, &["values"])?,
                dict_before,
            },
            before_the_object => before_the_object,
        })
    }

    fn size(&self, of: &'static [&'static str]) -> Result<usize, DwarfError> {
        self.types.size(of[0])
    }

    /// The offset of a member, which must be there under one of the names that it has had.
    fn at(&self, of: &'static [&'static str], paths: &[&str]) -> Result<usize, DwarfError> {
        for path in paths {
            if let Some(offset) = self.types.offset(of[0], path)? {
                return Ok(offset);
            }
        }
        Err(DwarfError::NoMember { structure: of[0], member: paths.join("` or `") })
    }

    /// The offset of a member that builds of this shape may have.
    fn optional(
        &self,
        shape: Option<usize>,
        of: &'static [&'static str],
        path: &str,
    ) -> Result<Option<usize>, DwarfError> {
        match shape {
            Some(_) => self.types.offset(of[0], path),
            None => Ok(None),
        }
    }
}
