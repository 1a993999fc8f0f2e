//! Python 3.15. Measured on 3.15.2. A JIT build's runtime and interpreter are 8 bytes larger, which moves nothing that
//! is read here. Up to 3.15.1 an older mimalloc puts `tlbc_generation` of free-threaded builds at 17564.

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
    minor: 15,
    runtime: Runtime {
        size: 346560,
        interpreters_head: 936,
        interpreters_main: 944,
        finalizing: 912,
        initialized: 904,
        main_thread: 960,
    },
    interpreter: Interpreter {
        size: 226232,
        next: 7264,
        id: 7272,
        threads_head: 7336,
        threads_main: Some(7352),
        modules: 7592,
        sysdict: 7576,
        gc_collecting: GcCollecting::Interpreter(7512),
        code_object_generation: Some(7944),
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
        size: 888,
        next: 8,
        interp: 16,
        leaf: Leaf::Direct(72),
        base_frame: Some(80),
        thread_id: 176,
        native_thread_id: Some(184),
        data_stack: Some(DataStack {
            chunk: 256,
            top: 264,
            limit: 272,
            chunk_previous: 0,
            chunk_size: 8,
            chunk_top: 16,
            chunk_data: 24,
        }),
        status: Some(32),
        holds_gil: Some(36),
        gil_requested: Some(40),
        state: Some(48),
        current_executor: Some(304),
    },
    frame: Frame::Interpreter(InterpreterFrame {
        size: 88,
        executable: 0,
        function: 16,
        frame_object: 48,
        previous: 8,
        instr: 56,
        owner: 74,
        first_shim_owner: 3,
        is_entry: None,
        stack_top: None,
        stack_pointer: Some(64),
        localsplus: 80,
        tlbc_index: None,
    }),
    code: Code {
        size: 216,
        filename: 112,
        name: 120,
        qualname: Some(128),
        firstlineno: 68,
        flags: 48,
        line_table: LineTable::Locations(136),
        version: Some(92),
        function_version: None,
        first_traceable: Some(192),
        bytecode: Bytecode::Inline(208),
        leaves: &[33, 32, 119, 245, 246],
        calls: &[
            4, 50, 53, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162,
            163, 164, 165, 166, 167, 168, 249, 250, 251,
        ],
        checks: &[74, 128, 181, 182, 200, 201, 244, 252],
        tlbc: None,
    },
    object: Object { size: 16, ob_type: 8, ob_size: 16 },
    type_object: TypeObject { size: 424, name: 24, basicsize: 32, flags: 168, dictoffset: 288, cached_keys: 888 },
    unicode: Unicode { length: 16, state: 32, kind_shift: 2, ascii_size: 40, compact_size: 56, data: 56 },
    bytes: Bytes { ob_size: 16, ob_sval: 32 },
    tuple_items: 32,
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
    runtime: Runtime { size: 362584, ..RELEASE.runtime },
    interpreter: Interpreter { size: 226248, ..RELEASE.interpreter },
    ..RELEASE
};

const TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 362592, ..RELEASE.runtime },
    interpreter: Interpreter { size: 226256, ..RELEASE.interpreter },
    ..RELEASE
};

const FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 409296, ..RELEASE.runtime },
    interpreter: Interpreter {
        size: 250328,
        code_object_generation: Some(7952),
        tlbc_generation: Some(17252),
        ..RELEASE.interpreter
    },
    gil: Gil { size: 216, last_holder: 16, locked: 24, switch_number: 32, enabled: Some(0), ..RELEASE.gil },
    frame: Frame::Interpreter(InterpreterFrame {
        size: 88,
        executable: 0,
        function: 16,
        frame_object: 48,
        previous: 8,
        instr: 56,
        owner: 78,
        first_shim_owner: 3,
        is_entry: None,
        stack_top: None,
        stack_pointer: Some(64),
        localsplus: 80,
        tlbc_index: Some(72),
    }),
    code: Code {
        size: 240,
        filename: 128,
        name: 136,
        qualname: Some(144),
        firstlineno: 84,
        flags: 64,
        line_table: LineTable::Locations(152),
        version: Some(108),
        function_version: None,
        first_traceable: Some(208),
        bytecode: Bytecode::Inline(232),
        leaves: &[33, 32, 119, 245, 246],
        calls: &[
            4, 50, 53, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162,
            163, 164, 165, 166, 167, 168, 249, 250, 251,
        ],
        checks: &[74, 128, 181, 182, 200, 201, 244, 252],
        tlbc: Some(224),
    },
    object: Object { size: 32, ob_type: 24, ob_size: 32 },
    type_object: TypeObject { size: 440, name: 40, basicsize: 48, flags: 184, dictoffset: 304, cached_keys: 904 },
    unicode: Unicode { length: 32, state: 48, kind_shift: 8, ascii_size: 56, compact_size: 72, data: 72 },
    bytes: Bytes { ob_size: 32, ob_sval: 48 },
    tuple_items: 48,
    list_items: 40,
    long: Long { length: LongLength::Tag(32), ob_digit: 40 },
    dict: Dict { used: 32, keys: 48, values: 56, ..RELEASE.dict },
    attributes: Attributes::Inline { valid: 3, values: 8, dict_before: 8 },
    ..RELEASE
};

const FREE_THREADED_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 425368, ..FREE_THREADED.runtime },
    interpreter: Interpreter { size: 250392, tlbc_generation: Some(17260), ..FREE_THREADED.interpreter },
    ..FREE_THREADED
};

// On aarch64 a `pthread_mutex_t` takes 48 bytes instead of 40: the GIL's structure grows by 16.

const AARCH64_RELEASE: Offsets = Offsets {
    runtime: Runtime { size: 346576, ..RELEASE.runtime },
    interpreter: Interpreter { size: 226248, code_object_generation: Some(7960), ..RELEASE.interpreter },
    gil: Gil { size: 224, ..RELEASE.gil },
    ..RELEASE
};

const AARCH64_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 362600, ..DEBUG.runtime },
    interpreter: Interpreter { size: 226264, code_object_generation: Some(7960), ..DEBUG.interpreter },
    gil: Gil { size: 224, ..DEBUG.gil },
    ..DEBUG
};

const AARCH64_TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 362608, ..TRACE_REFS.runtime },
    interpreter: Interpreter { size: 226272, code_object_generation: Some(7960), ..TRACE_REFS.interpreter },
    gil: Gil { size: 224, ..TRACE_REFS.gil },
    ..TRACE_REFS
};

const AARCH64_FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 409312, ..FREE_THREADED.runtime },
    interpreter: Interpreter {
        size: 250344,
        code_object_generation: Some(7968),
        tlbc_generation: Some(17268),
        ..FREE_THREADED.interpreter
    },
    gil: Gil { size: 232, ..FREE_THREADED.gil },
    ..FREE_THREADED
};

const AARCH64_FREE_THREADED_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 425384, ..FREE_THREADED_DEBUG.runtime },
    interpreter: Interpreter {
        size: 250408,
        code_object_generation: Some(7968),
        tlbc_generation: Some(17276),
        ..FREE_THREADED_DEBUG.interpreter
    },
    gil: Gil { size: 232, ..FREE_THREADED_DEBUG.gil },
    ..FREE_THREADED_DEBUG
};
