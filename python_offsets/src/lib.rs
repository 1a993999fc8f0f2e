//! What CPython looks like in memory, as plain numbers.
//!
//! CPython's minor versions differ in about sixty offsets and a handful of shapes. Both are data here: one
//! [`Offsets`] value describes one build of one version, and shapes (where the innermost frame is, how lines are
//! encoded, where the GIL is) are enums inside it. A reader is written once, against `&Offsets`.
//!
//! This crate knows no process: it takes bytes and returns numbers. Three sources give an [`Offsets`]:
//! [`Offsets::of`] (a compiled-in table), [`published`] (the block that CPython 3.13 and later carries about itself)
//! and, with feature `dwarf`, module `dwarf` (an ELF file's debug information; `elf` tells what there is without it).
//!
//! All offsets are bytes from the start of the structure that the group is named after; all sizes are bytes. Field
//! names in the docs are CPython's own (`struct.member`), so that each can be found in its headers.

#[cfg(feature = "dwarf")]
pub mod dwarf;
#[cfg(feature = "dwarf")]
pub mod elf;
mod fields;
pub mod published;
mod source;
mod table;
mod version;

pub use fields::{Difference, Field};
pub use version::{Level, Version};

/// The oldest minor version of Python 3 that has a table.
pub const OLDEST_MINOR: u8 = 7;
/// The newest minor version of Python 3 that has a table.
pub const NEWEST_MINOR: u8 = 15;

/// The processor architecture that a build is for. Sizes of pthread types differ between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// How CPython was configured, as far as it moves fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Build {
    /// An ordinary build; also `--enable-experimental-jit`, which moves nothing that is read here.
    Release,
    /// `--with-pydebug`. On 3.7 this implies trace references, as in [`Build::TraceRefs`].
    Debug,
    /// `--with-trace-refs`: up to 3.12 every object header grows by two pointers.
    TraceRefs,
    /// `--disable-gil` (3.13 and later).
    FreeThreaded,
    /// `--disable-gil --with-pydebug`.
    FreeThreadedDebug,
}

impl Build {
    /// Every build that exists for some version.
    pub const ALL: [Build; 5] =
        [Build::Release, Build::Debug, Build::TraceRefs, Build::FreeThreaded, Build::FreeThreadedDebug];

    /// Whether the build can run without a global interpreter lock.
    pub fn is_free_threaded(self) -> bool {
        matches!(self, Build::FreeThreaded | Build::FreeThreadedDebug)
    }
}

/// One build of one minor version: where everything lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The minor version of Python 3 that the numbers are for.
    pub minor: u8,
    /// `_PyRuntimeState`.
    pub runtime: Runtime,
    /// `PyInterpreterState`.
    pub interpreter: Interpreter,
    /// `struct _gil_runtime_state` and the way to it.
    pub gil: Gil,
    /// `PyThreadState`.
    pub thread: Thread,
    /// Frames: heap objects up to 3.10, `_PyInterpreterFrame` from 3.11.
    pub frame: Frame,
    /// `PyCodeObject`.
    pub code: Code,
    /// `PyObject` and `PyVarObject`.
    pub object: Object,
    /// `PyTypeObject` and `PyHeapTypeObject`.
    pub type_object: TypeObject,
    /// `PyASCIIObject`, `PyCompactUnicodeObject`, `PyUnicodeObject`.
    pub unicode: Unicode,
    /// `PyBytesObject`.
    pub bytes: Bytes,
    /// `PyTupleObject.ob_item`: the items themselves.
    pub tuple_items: usize,
    /// `PyListObject.ob_item`: a pointer to the items.
    pub list_items: usize,
    /// `PyLongObject`.
    pub long: Long,
    /// `PyDictObject` and `PyDictKeysObject`.
    pub dict: Dict,
    /// Where an instance of a Python class keeps its attributes.
    pub attributes: Attributes,
}

/// `_PyRuntimeState`, the value of the symbol `_PyRuntime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Size of the whole structure: a fingerprint of the build, equal to the symbol's size.
    pub size: usize,
    /// `interpreters.head`: pointer to the newest interpreter.
    pub interpreters_head: usize,
    /// `interpreters.main`: pointer to the main interpreter.
    pub interpreters_main: usize,
    /// `_finalizing` (`finalizing` up to 3.7): pointer to the thread state that shuts the runtime down, or 0.
    pub finalizing: usize,
    /// `initialized`: C `int`, 1 once Python code can run.
    pub initialized: usize,
    /// `main_thread`: `unsigned long`, pthread id of the thread that initialised the runtime.
    pub main_thread: usize,
}

/// `PyInterpreterState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Size of the whole structure.
    pub size: usize,
    /// `next`: pointer to the next older interpreter.
    pub next: usize,
    /// `id`: `int64_t`, 0 for the main interpreter.
    pub id: usize,
    /// `threads.head` (`tstate_head` up to 3.10): pointer to the newest thread state.
    pub threads_head: usize,
    /// `threads.main`: pointer to the thread state that runs `__main__` (3.13 and later; 3.12.0 does not have it yet).
    pub threads_main: Option<usize>,
    /// `imports.modules` (`modules` up to 3.11): pointer to the dict `sys.modules`.
    pub modules: usize,
    /// `sysdict`: pointer to the dict of the module `sys`.
    pub sysdict: usize,
    /// `gc.collecting`: C `int`, non-zero during a garbage collection. Up to 3.8 it lies in the runtime.
    pub gc_collecting: GcCollecting,
    /// `_code_object_generation`: `uint64_t`, counts destroyed code objects (3.14 and later).
    pub code_object_generation: Option<usize>,
    /// `tlbc_indices.tlbc_generation`: `uint32_t`, counts recycled bytecode copies (free-threaded, 3.14 and later).
    pub tlbc_generation: Option<usize>,
}

/// Where the flag of a running garbage collection lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcCollecting {
    /// In `_PyRuntimeState` (3.7 and 3.8).
    Runtime(usize),
    /// In `PyInterpreterState` (3.9 and later).
    Interpreter(usize),
}

/// `struct _gil_runtime_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gil {
    /// How to get to it.
    pub place: GilPlace,
    /// Size of the structure.
    pub size: usize,
    /// `last_holder`: pointer to the thread state that holds or last held the GIL; it stays set after a release.
    pub last_holder: usize,
    /// `locked`: C `int`: 1 held, 0 free, -1 not yet created.
    pub locked: usize,
    /// `switch_number`: `unsigned long`, counts the changes of holder.
    pub switch_number: usize,
    /// `enabled`: C `int` (free-threaded builds only): non-zero while the GIL is in use all the same.
    pub enabled: Option<usize>,
}

/// Where the GIL's structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GilPlace {
    /// Inside `_PyRuntimeState`, one for the process (up to 3.11).
    Runtime(usize),
    /// Behind the pointer `PyInterpreterState.ceval.gil`; interpreters may share one (3.12 and later).
    InterpreterPointer(usize),
}

/// `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Size of the whole structure, without the private tail of `_PyThreadStateImpl`.
    pub size: usize,
    /// `next`: pointer to the next older thread state.
    pub next: usize,
    /// `interp`: pointer to the interpreter that the thread state belongs to.
    pub interp: usize,
    /// The way to the innermost frame.
    pub leaf: Leaf,
    /// `base_frame`: pointer to the frame in which every chain must end (3.15 and later).
    pub base_frame: Option<usize>,
    /// `thread_id`: `unsigned long`, `pthread_self()`.
    pub thread_id: usize,
    /// `native_thread_id`: `unsigned long`, `gettid()` in the target's PID namespace (3.11 and later).
    pub native_thread_id: Option<usize>,
    /// The data stack that frames are pushed on (3.11 and later).
    pub data_stack: Option<DataStack>,
    /// `_status`: bit field, see CPython's `cpython/pystate.h` (3.12 and later).
    pub status: Option<usize>,
    /// `holds_gil`: C `int` (3.14 and later).
    pub holds_gil: Option<usize>,
    /// `gil_requested`: C `int` (3.15 and later).
    pub gil_requested: Option<usize>,
    /// `state`: C `int`, 0 detached, 1 attached, 2 suspended (3.13 and later).
    pub state: Option<usize>,
    /// `current_executor`: pointer, non-zero inside JIT code (3.14 and later).
    pub current_executor: Option<usize>,
}

/// The way from a thread state to its innermost frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A pointer in the thread state: `frame` up to 3.10, `current_frame` from 3.13.
    Direct(usize),
    /// A pointer to a `_PyCFrame`, which holds the pointer (3.11 and 3.12).
    ThroughCFrame {
        /// `PyThreadState.cframe`.
        cframe: usize,
        /// `_PyCFrame.current_frame`.
        current_frame: usize,
    },
}

/// The fields of `PyThreadState` that describe its data stack, a list of chunks, and `_PyStackChunk` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataStack {
    /// `datastack_chunk`: pointer to the newest chunk.
    pub chunk: usize,
    /// `datastack_top`: pointer past the used part of the newest chunk.
    pub top: usize,
    /// `datastack_limit`: pointer past the end of the newest chunk.
    pub limit: usize,
    /// `_PyStackChunk.previous`: pointer to the next older chunk.
    pub chunk_previous: usize,
    /// `_PyStackChunk.size`: `size_t`, bytes of the chunk with its header.
    pub chunk_size: usize,
    /// `_PyStackChunk.top`: `size_t`, words used; set when a newer chunk is pushed.
    pub chunk_top: usize,
    /// `_PyStackChunk.data`: where frames begin.
    pub chunk_data: usize,
}

/// The shape of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `PyFrameObject`, a heap object for each frame (up to 3.10).
    Object(FrameObject),
    /// `_PyInterpreterFrame`, on the data stack or inside a generator (3.11 and later).
    Interpreter(InterpreterFrame),
}

/// `PyFrameObject` of 3.7 to 3.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameObject {
    /// Bytes from the start that hold every field named here.
    pub size: usize,
    /// `f_back`: pointer to the caller's frame.
    pub back: usize,
    /// `f_code`: pointer to the code object.
    pub code: usize,
    /// `f_lasti`: C `int`, the instruction executed last, -1 before the first.
    pub lasti: usize,
    /// Bytes of bytecode that one step of `f_lasti` stands for: 1 up to 3.9, 2 in 3.10.
    pub lasti_unit: usize,
    /// `f_executing` (up to 3.9) or `f_state`: C `char`, whether the frame is being executed.
    pub executing: usize,
    /// What is there if it is: 1 up to 3.9, 0 in 3.10.
    pub is_executing: u8,
}

/// `_PyInterpreterFrame` of 3.11 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterpreterFrame {
    /// Size of the structure; local variables follow it.
    pub size: usize,
    /// `f_code` (3.11, 3.12) or `f_executable`: the code object; the two lowest bits may be a tag.
    pub executable: usize,
    /// `f_func` (3.11) or `f_funcobj`: the function object; the two lowest bits may be a tag.
    pub function: usize,
    /// `frame_obj`: pointer to the frame object, or null where none was asked for.
    pub frame_object: usize,
    /// `previous`: pointer to the caller's frame.
    pub previous: usize,
    /// `prev_instr` (3.11, 3.12) or `instr_ptr`: pointer into the bytecode.
    pub instr: usize,
    /// `owner`: `char`, who allocated the frame.
    pub owner: usize,
    /// The lowest `owner` that marks a shim between C and Python instead of a Python frame.
    pub first_shim_owner: u8,
    /// `is_entry`: `bool`, the frame was entered from C (3.11 only; later versions push shims instead).
    pub is_entry: Option<usize>,
    /// `stacktop`: C `int`, words from `localsplus` to the top of the frame's value stack; -1 while the frame runs itself
    /// and calls no Python function (3.11 to 3.13).
    pub stack_top: Option<usize>,
    /// `stackpointer`: pointer to the top of the frame's value stack, up to date while it calls (3.14 and later).
    pub stack_pointer: Option<usize>,
    /// `localsplus`: the first local variable.
    pub localsplus: usize,
    /// `tlbc_index`: `int32_t`, which copy of the bytecode runs (free-threaded, 3.14 and later).
    pub tlbc_index: Option<usize>,
}

/// `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Size of the structure without the bytecode that follows it from 3.11 on.
    pub size: usize,
    /// `co_filename`: pointer to a str.
    pub filename: usize,
    /// `co_name`: pointer to a str.
    pub name: usize,
    /// `co_qualname`: pointer to a str (3.11 and later).
    pub qualname: Option<usize>,
    /// `co_firstlineno`: C `int`.
    pub firstlineno: usize,
    /// `co_flags`: C `int`.
    pub flags: usize,
    /// Pointer to the bytes object of the line table, and how it is encoded.
    pub line_table: LineTable,
    /// `co_version`: `uint32_t`, unique to the code object while the counter lasts (3.12 and later).
    pub version: Option<usize>,
    /// `PyFunctionObject.func_version`: `uint32_t`, 0 or unique to the function object as long as it has its code object, where
    /// code objects have no version (3.11).
    pub function_version: Option<usize>,
    /// `_co_firsttraceable`: C `int`, code units before which a frame is still being set up (3.11 and later).
    pub first_traceable: Option<usize>,
    /// Where the bytecode is.
    pub bytecode: Bytecode,
    /// Instructions with which a frame is left for its caller (3.11 and later).
    pub leaves: &'static [u8],
    /// Instructions that call something, the specialised and instrumented ones included. While the innermost frame is at one
    /// of them, what it has called is not Python.
    pub calls: &'static [u8],
    /// Instructions at which a thread lets go of the GIL if another one has asked for it, and which cannot do so otherwise.
    /// What is not listed may: a call of a function in C, a sum of two arrays.
    pub checks: &'static [u8],
    /// `co_tlbc`: pointer to the array of bytecode copies (free-threaded, 3.14 and later).
    pub tlbc: Option<usize>,
}

/// How a code object maps bytecode to lines; the number is the offset of the pointer in `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineTable {
    /// `co_lnotab`: pairs of address and line increments (up to 3.9).
    Lnotab(usize),
    /// `co_linetable` of PEP 626: ranges with a line increment each (3.10).
    Pep626(usize),
    /// `co_linetable` with columns: the location table (3.11 and later).
    Locations(usize),
}

/// Where a code object's bytecode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytecode {
    /// `co_code`: pointer to a bytes object (up to 3.10).
    Pointer(usize),
    /// `co_code_adaptive`: inside the code object (3.11 and later).
    Inline(usize),
}

/// `PyObject` and `PyVarObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Size of `PyObject`.
    pub size: usize,
    /// `ob_type`: pointer to the type.
    pub ob_type: usize,
    /// `PyVarObject.ob_size`: `Py_ssize_t`. For a code object of 3.11 and later: its number of 2-byte code units.
    pub ob_size: usize,
}

/// `PyTypeObject` and `PyHeapTypeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeObject {
    /// Size of `PyTypeObject`.
    pub size: usize,
    /// `tp_name`: pointer to a C string in UTF-8.
    pub name: usize,
    /// `tp_basicsize`: `Py_ssize_t`.
    pub basicsize: usize,
    /// `tp_flags`: `unsigned long`.
    pub flags: usize,
    /// `tp_dictoffset`: `Py_ssize_t`.
    pub dictoffset: usize,
    /// `PyHeapTypeObject.ht_cached_keys`: pointer to the dict keys that instances share.
    pub cached_keys: usize,
}

/// The str types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unicode {
    /// `length`: `Py_ssize_t`, code points.
    pub length: usize,
    /// `state`: bit field in a `uint32_t`: from [`Unicode::kind_shift`] up, kind (3 bits), compact (1), ascii (1).
    pub state: usize,
    /// Lowest bit of `kind` in `state`: 2, or 8 where `interned` takes a whole byte.
    pub kind_shift: u32,
    /// Size of `PyASCIIObject`: the data of a compact ASCII string follow it.
    pub ascii_size: usize,
    /// Size of `PyCompactUnicodeObject`: the data of other compact strings follow it.
    pub compact_size: usize,
    /// `PyUnicodeObject.data`: pointer to the data of a string that is not compact.
    pub data: usize,
}

/// `PyBytesObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// `ob_size`: `Py_ssize_t`, bytes.
    pub ob_size: usize,
    /// `ob_sval`: the bytes themselves.
    pub ob_sval: usize,
}

/// `PyLongObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    /// Where sign and number of digits are.
    pub length: LongLength,
    /// `ob_digit`: `uint32_t` digits of 30 bits, lowest first.
    pub ob_digit: usize,
}

/// How an int tells its sign and number of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLength {
    /// `ob_size`: `Py_ssize_t`, negative for a negative number (up to 3.11).
    Signed(usize),
    /// `long_value.lv_tag`: `uintptr_t`, sign in the two lowest bits (0 positive, 1 zero, 2 negative), digits from
    /// bit 3 up (3.12 and later).
    Tag(usize),
}

/// `PyDictObject` and `PyDictKeysObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dict {
    /// `ma_used`: `Py_ssize_t`, number of items.
    pub used: usize,
    /// `ma_keys`: pointer to the keys.
    pub keys: usize,
    /// `ma_values`: pointer to the values of a split dict, or 0.
    pub values: usize,
    /// From the values pointer to the first value: 0, or 8 where a header comes first (3.13 and later).
    pub values_first: usize,
    /// The keys' header.
    pub keys_header: DictKeys,
}

/// The header of `PyDictKeysObject`. Indices follow it, entries follow the indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictKeys {
    /// Up to 3.10: `dk_size` indices of 1, 2, 4 or 8 bytes as the size asks; entries `{hash, key, value}`.
    Sized {
        /// `dk_size`: `Py_ssize_t`.
        size: usize,
        /// `dk_nentries`: `Py_ssize_t`.
        nentries: usize,
        /// Size of the header.
        header: usize,
    },
    /// From 3.11: entries are `{hash, key, value}` when `dk_kind` is 0, else `{key, value}`.
    Log2 {
        /// `dk_log2_size`: `uint8_t`.
        log2_size: usize,
        /// `dk_log2_index_bytes`: `uint8_t`, size of all indices.
        log2_index_bytes: usize,
        /// `dk_kind`: `uint8_t`.
        kind: usize,
        /// `dk_nentries`: `Py_ssize_t`.
        nentries: usize,
        /// Size of the header.
        header: usize,
    },
}

/// Where an instance of a Python class keeps its attributes; "before" counts back from the object's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// A dict pointer at `tp_dictoffset` (up to 3.10).
    DictOffset,
    /// A values pointer and a dict pointer before the object; the values count while they are set (3.11).
    ValuesAndDict {
        /// Bytes before the object where the values pointer is.
        values_before: usize,
        /// Bytes before the object where the dict pointer is.
        dict_before: usize,
    },
    /// One word before the object: `values - 1` if its lowest bit is set, else a dict pointer (3.12).
    Tagged {
        /// Bytes before the object.
        before: usize,
    },
    /// Values inside the object at `tp_basicsize` while their `valid` byte is 1 and the type has
    /// `Py_TPFLAGS_INLINE_VALUES`, else a dict pointer before the object (3.13 and later).
    Inline {
        /// `PyDictValues.valid`: `uint8_t`.
        valid: usize,
        /// `PyDictValues.values`: the first value.
        values: usize,
        /// Bytes before the object where the dict pointer is.
        dict_before: usize,
    },
}

impl Offsets {
    /// `PyFunctionObject.func_code`: pointer to a function's code object (3.11 and later). The header of the object and
    /// four pointers come before it in every build.
    pub fn function_code(&self) -> usize {
        self.object.size + 4 * 8
    }

    /// The compiled-in table for a minor version of Python 3, or `None` where there is no such build.
    ///
    /// The numbers hold for every patch level of the version as far as they are used here.
    pub fn of(minor: u8, arch: Arch, build: Build) -> Option<&'static Offsets> {
        table::of(minor, arch, build)
    }
}
