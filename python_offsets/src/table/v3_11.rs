//! Python 3.11. Measured on 3.11.7, equal to 3.11.2. `--with-pydebug` moves nothing that is read here.

use crate::{
    Arch, Attributes, Build, Bytecode, Bytes, Code, DataStack, Dict, DictKeys, Frame, GcCollecting, Gil, GilPlace,
    Interpreter, InterpreterFrame, Leaf, LineTable, Long, LongLength, Object, Offsets, Runtime, Thread, TypeObject,
    Unicode,
};

pub(super) static BUILDS: [(Arch, Build, Offsets); 6] = [
    (Arch::X86_64, Build::Release, RELEASE),
    (Arch::X86_64, Build::Debug, RELEASE),
    (Arch::X86_64, Build::TraceRefs, TRACE_REFS),
    (Arch::Aarch64, Build::Release, AARCH64_RELEASE),
    (Arch::Aarch64, Build::Debug, AARCH64_RELEASE),
    (Arch::Aarch64, Build::TraceRefs, AARCH64_TRACE_REFS),
];

const RELEASE: Offsets = Offsets {
    minor: 11,
    runtime: Runtime {
        size: 166688,
        interpreters_head: 40,
        interpreters_main: 48,
        finalizing: 24,
        initialized: 16,
        main_thread: 80,
    },
    interpreter: Interpreter {
        size: 107752,
        next: 0,
        id: 48,
        threads_head: 16,
        threads_main: None,
        modules: 888,
        sysdict: 904,
        gc_collecting: GcCollecting::Interpreter(848),
        code_object_generation: None,
        tlbc_generation: None,
    },
    gil: Gil { place: GilPlace::Runtime(360), size: 208, last_holder: 8, locked: 16, switch_number: 24, enabled: None },
    thread: Thread {
        size: 360,
        next: 8,
        interp: 16,
        leaf: Leaf::ThroughCFrame { cframe: 56, current_frame: 8 },
        base_frame: None,
        thread_id: 152,
        native_thread_id: Some(160),
        data_stack: Some(DataStack {
            chunk: 296,
            top: 304,
            limit: 312,
            chunk_previous: 0,
            chunk_size: 8,
            chunk_top: 16,
            chunk_data: 24,
        }),
        status: None,
        holds_gil: None,
        gil_requested: None,
        state: None,
        current_executor: None,
    },
    frame: Frame::Interpreter(InterpreterFrame {
        size: 80,
        executable: 32,
        function: 0,
        frame_object: 40,
        previous: 48,
        instr: 56,
        owner: 69,
        first_shim_owner: 3,
        is_entry: Some(68),
        stack_top: Some(64),
        stack_pointer: None,
        localsplus: 72,
        tlbc_index: None,
    }),
    code: Code {
        size: 192,
        filename: 112,
        name: 120,
        qualname: Some(128),
        firstlineno: 72,
        flags: 48,
        line_table: LineTable::Locations(136),
        version: None,
        function_version: Some(128),
        first_traceable: Some(168),
        bytecode: Bytecode::Inline(184),
        leaves: &[83, 75, 86],
        calls: &[22, 23, 24, 64, 65, 66, 67, 72, 73, 76, 77, 78, 79, 80, 81, 113, 121, 127, 141, 142, 143, 166, 171],
        checks: &[38, 140, 150, 151, 173, 174, 175, 176],
        tlbc: None,
    },
    object: Object { size: 16, ob_type: 8, ob_size: 16 },
    type_object: TypeObject { size: 408, name: 24, basicsize: 32, flags: 168, dictoffset: 288, cached_keys: 872 },
    unicode: Unicode { length: 16, state: 32, kind_shift: 2, ascii_size: 48, compact_size: 72, data: 72 },
    bytes: Bytes { ob_size: 16, ob_sval: 32 },
    tuple_items: 24,
    list_items: 24,
    long: Long { length: LongLength::Signed(16), ob_digit: 24 },
    dict: Dict {
        used: 16,
        keys: 32,
        values: 40,
        values_first: 0,
        keys_header: DictKeys::Log2 { log2_size: 8, log2_index_bytes: 9, kind: 10, nentries: 24, header: 32 },
    },
    attributes: Attributes::ValuesAndDict { values_before: 32, dict_before: 24 },
};

const TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 184304, ..RELEASE.runtime },
    code: Code {
        size: 208,
        filename: 128,
        name: 136,
        qualname: Some(144),
        firstlineno: 88,
        flags: 64,
        line_table: LineTable::Locations(152),
        function_version: Some(144),
        first_traceable: Some(184),
        bytecode: Bytecode::Inline(200),
        ..RELEASE.code
    },
    object: Object { size: 32, ob_type: 24, ob_size: 32 },
    type_object: TypeObject { size: 424, name: 40, basicsize: 48, flags: 184, dictoffset: 304, cached_keys: 888 },
    unicode: Unicode { length: 32, state: 48, ascii_size: 64, compact_size: 88, data: 88, ..RELEASE.unicode },
    bytes: Bytes { ob_size: 32, ob_sval: 48 },
    tuple_items: 40,
    list_items: 40,
    long: Long { length: LongLength::Signed(32), ob_digit: 40 },
    dict: Dict { used: 32, keys: 48, values: 56, ..RELEASE.dict },
    ..RELEASE
};

// On aarch64 a `pthread_mutex_t` takes 48 bytes instead of 40: the GIL's structure grows by 16.

const AARCH64_RELEASE: Offsets =
    Offsets { runtime: Runtime { size: 166704, ..RELEASE.runtime }, gil: Gil { size: 224, ..RELEASE.gil }, ..RELEASE };

const AARCH64_TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 184320, ..TRACE_REFS.runtime },
    gil: Gil { size: 224, ..TRACE_REFS.gil },
    ..TRACE_REFS
};
