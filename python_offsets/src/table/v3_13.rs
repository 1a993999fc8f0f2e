//! Python 3.13. Measured on 3.13.18. 3.13.0 differs in the sizes of the runtime, the interpreter and the thread state alone.

use crate::{
    Arch, Attributes, Build, Bytecode, Bytes, Code, DataStack, Dict, DictKeys, Frame, GcCollecting, Gil, GilPlace,
    Interpreter, InterpreterFrame, Leaf, LineTable, Long, LongLength, Object, Offsets, Runtime, Thread, TypeObject,
    Unicode,
};

pub(super) static BUILDS: [(Arch, Build, Offsets); 10] = [
    (Arch::X86_64, Build::Release, RELEASE),
    (Arch::X86_64, Build::Debug, DEBUG),
    (Arch::X86_64, Build::TraceRefs, TRACE_REFS),
    (Arch::X86_64, Build::FreeThreaded, FREE_THREADED),
    (Arch::X86_64, Build::FreeThreadedDebug, FREE_THREADED_DEBUG),
    (Arch::Aarch64, Build::Release, AARCH64_RELEASE),
    (Arch::Aarch64, Build::Debug, AARCH64_DEBUG),
    (Arch::Aarch64, Build::TraceRefs, AARCH64_TRACE_REFS),
    (Arch::Aarch64, Build::FreeThreaded, AARCH64_FREE_THREADED),
    (Arch::Aarch64, Build::FreeThreadedDebug, AARCH64_FREE_THREADED_DEBUG),
];

const RELEASE: Offsets = Offsets {
    minor: 13,
    runtime: Runtime {
        size: 283408,
        interpreters_head: 632,
        interpreters_main: 640,
        finalizing: 608,
        initialized: 600,
        main_thread: 656,
    },
    interpreter: Interpreter {
        size: 194984,
        next: 7264,
        id: 7272,
        threads_head: 7344,
        threads_main: Some(7352),
        modules: 7656,
        sysdict: 7640,
        gc_collecting: GcCollecting::Interpreter(7600),
        code_object_generation: None,
        tlbc_generation: None,
    },
    gil: Gil {
        place: GilPlace::InterpreterPointer(16),
        size: 208,
        last_holder: 8,
        locked: 16,
        switch_number: 24,
        enabled: None,
    },
    thread: Thread {
        size: 312,
        next: 8,
        interp: 16,
        leaf: Leaf::Direct(72),
        base_frame: None,
        thread_id: 152,
        native_thread_id: Some(160),
        data_stack: Some(DataStack {
            chunk: 232,
            top: 240,
            limit: 248,
            chunk_previous: 0,
            chunk_size: 8,
            chunk_top: 16,
            chunk_data: 24,
        }),
        status: Some(32),
        holds_gil: None,
        gil_requested: None,
        state: Some(40),
        current_executor: None,
    },
    frame: Frame::Interpreter(InterpreterFrame {
        size: 80,
        executable: 0,
        function: 16,
        frame_object: 48,
        previous: 8,
        instr: 56,
        owner: 70,
        first_shim_owner: 3,
        is_entry: None,
        stack_top: Some(64),
        stack_pointer: None,
        localsplus: 72,
        tlbc_index: None,
    }),
    code: Code {
        size: 208,
        filename: 112,
        name: 120,
        qualname: Some(128),
        firstlineno: 68,
        flags: 48,
        line_table: LineTable::Locations(136),
        version: Some(92),
        function_version: None,
        first_traceable: Some(184),
        bytecode: Bytecode::Inline(200),
        leaves: &[36, 103, 35, 118, 239, 240, 241],
        calls: &[
            53, 54, 57, 162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176, 177, 178, 179, 180,
            181, 244, 245, 246,
        ],
        checks: &[77, 149, 207, 236, 249],
        tlbc: None,
    },
    object: Object { size: 16, ob_type: 8, ob_size: 16 },
    type_object: TypeObject { size: 416, name: 24, basicsize: 32, flags: 168, dictoffset: 288, cached_keys: 880 },
    unicode: Unicode { length: 16, state: 32, kind_shift: 2, ascii_size: 40, compact_size: 56, data: 56 },
    bytes: Bytes { ob_size: 16, ob_sval: 32 },
    tuple_items: 24,
    list_items: 24,
    long: Long { length: LongLength::Tag(16), ob_digit: 24 },
    dict: Dict {
        used: 16,
        keys: 32,
        values: 40,
        values_first: 8,
        keys_header: DictKeys::Log2 { log2_size: 8, log2_index_bytes: 9, kind: 10, nentries: 24, header: 32 },
    },
    attributes: Attributes::Inline { valid: 3, values: 8, dict_before: 24 },
};

const DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 299424, ..RELEASE.runtime },
    interpreter: Interpreter { size: 195000, ..RELEASE.interpreter },
    ..RELEASE
};

const TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 299432, ..RELEASE.runtime },
    interpreter: Interpreter { size: 195008, ..RELEASE.interpreter },
    ..RELEASE
};

const FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 328384, ..RELEASE.runtime },
    interpreter: Interpreter { size: 215616, modules: 7664, sysdict: 7648, ..RELEASE.interpreter },
    gil: Gil { size: 216, last_holder: 16, locked: 24, switch_number: 32, enabled: Some(0), ..RELEASE.gil },
    code: Code {
        size: 224,
        filename: 128,
        name: 136,
        qualname: Some(144),
        firstlineno: 84,
        flags: 64,
        line_table: LineTable::Locations(152),
        version: Some(108),
        first_traceable: Some(200),
        bytecode: Bytecode::Inline(216),
        ..RELEASE.code
    },
    object: Object { size: 32, ob_type: 24, ob_size: 32 },
    type_object: TypeObject { size: 432, name: 40, basicsize: 48, flags: 184, dictoffset: 304, cached_keys: 896 },
    unicode: Unicode { length: 32, state: 48, ascii_size: 56, compact_size: 72, data: 72, ..RELEASE.unicode },
    bytes: Bytes { ob_size: 32, ob_sval: 48 },
    tuple_items: 40,
    list_items: 40,
    long: Long { length: LongLength::Tag(32), ob_digit: 40 },
    dict: Dict { used: 32, keys: 48, values: 56, ..RELEASE.dict },
    attributes: Attributes::Inline { valid: 3, values: 8, dict_before: 8 },
    ..RELEASE
};

const FREE_THREADED_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 346880, ..FREE_THREADED.runtime },
    interpreter: Interpreter { size: 218112, ..FREE_THREADED.interpreter },
    ..FREE_THREADED
};

// On aarch64 a `pthread_mutex_t` takes 48 bytes instead of 40: the GIL's structure grows by 16.

const AARCH64_RELEASE: Offsets = Offsets {
    runtime: Runtime { size: 283424, ..RELEASE.runtime },
    interpreter: Interpreter { size: 195000, ..RELEASE.interpreter },
    gil: Gil { size: 224, ..RELEASE.gil },
    ..RELEASE
};

const AARCH64_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 299440, ..DEBUG.runtime },
    interpreter: Interpreter { size: 195016, ..DEBUG.interpreter },
    gil: Gil { size: 224, ..DEBUG.gil },
    ..DEBUG
};

const AARCH64_TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 299448, ..TRACE_REFS.runtime },
    interpreter: Interpreter { size: 195024, ..TRACE_REFS.interpreter },
    gil: Gil { size: 224, ..TRACE_REFS.gil },
    ..TRACE_REFS
};

const AARCH64_FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 328448, ..FREE_THREADED.runtime },
    interpreter: Interpreter { size: 215680, ..FREE_THREADED.interpreter },
    gil: Gil { size: 232, ..FREE_THREADED.gil },
    ..FREE_THREADED
};

const AARCH64_FREE_THREADED_DEBUG: Offsets =
    Offsets { gil: Gil { size: 232, ..FREE_THREADED_DEBUG.gil }, ..FREE_THREADED_DEBUG };
