//! Python 3.14. Measured on 3.14.10. Up to 3.14.9 an older mimalloc puts `tlbc_generation` of free-threaded builds at
//! 17628.

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
    minor: 14,
    runtime: Runtime {
        size: 316616,
        interpreters_head: 808,
        interpreters_main: 816,
        finalizing: 784,
        initialized: 776,
        main_thread: 832,
    },
    interpreter: Interpreter {
        size: 225864,
        next: 7272,
        id: 7280,
        threads_head: 7344,
        threads_main: Some(7360),
        modules: 7688,
        sysdict: 7672,
        gc_collecting: GcCollecting::Interpreter(7600),
        code_object_generation: Some(7992),
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
        size: 832,
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
        holds_gil: Some(36),
        gil_requested: None,
        state: Some(44),
        current_executor: Some(272),
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
        leaves: &[35, 34, 120, 246, 247],
        calls: &[
            4, 52, 55, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161,
            162, 163, 164, 165, 250, 251, 252,
        ],
        checks: &[75, 128, 175, 176, 196, 245, 253],
        tlbc: None,
    },
    object: Object { size: 16, ob_type: 8, ob_size: 16 },
    type_object: TypeObject { size: 416, name: 24, basicsize: 32, flags: 168, dictoffset: 288, cached_keys: 880 },
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
    runtime: Runtime { size: 332632, ..RELEASE.runtime },
    interpreter: Interpreter { size: 225880, ..RELEASE.interpreter },
    ..RELEASE
};

const TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 332640, ..RELEASE.runtime },
    interpreter: Interpreter { size: 225888, ..RELEASE.interpreter },
    ..RELEASE
};

const FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 365624, ..RELEASE.runtime },
    interpreter: Interpreter {
        size: 249976,
        modules: 7712,
        sysdict: 7696,
        code_object_generation: Some(8024),
        tlbc_generation: Some(17300),
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
        leaves: &[35, 34, 120, 246, 247],
        calls: &[
            4, 52, 55, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161,
            162, 163, 164, 165, 250, 251, 252,
        ],
        checks: &[75, 128, 175, 176, 196, 245, 253],
        tlbc: Some(224),
    },
    object: Object { size: 32, ob_type: 24, ob_size: 32 },
    type_object: TypeObject { size: 432, name: 40, basicsize: 48, flags: 184, dictoffset: 304, cached_keys: 896 },
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
    runtime: Runtime { size: 381696, ..FREE_THREADED.runtime },
    interpreter: Interpreter { size: 250040, tlbc_generation: Some(17308), ..FREE_THREADED.interpreter },
    ..FREE_THREADED
};

// On aarch64 a `pthread_mutex_t` takes 48 bytes instead of 40: the GIL's structure grows by 16.

const AARCH64_RELEASE: Offsets = Offsets {
    runtime: Runtime { size: 316632, ..RELEASE.runtime },
    interpreter: Interpreter { size: 225880, code_object_generation: Some(8008), ..RELEASE.interpreter },
    gil: Gil { size: 224, ..RELEASE.gil },
    ..RELEASE
};

const AARCH64_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 332648, ..DEBUG.runtime },
    interpreter: Interpreter { size: 225896, code_object_generation: Some(8008), ..DEBUG.interpreter },
    gil: Gil { size: 224, ..DEBUG.gil },
    ..DEBUG
};

const AARCH64_TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 332656, ..TRACE_REFS.runtime },
    interpreter: Interpreter { size: 225904, code_object_generation: Some(8008), ..TRACE_REFS.interpreter },
    gil: Gil { size: 224, ..TRACE_REFS.gil },
    ..TRACE_REFS
};

const AARCH64_FREE_THREADED: Offsets = Offsets {
    runtime: Runtime { size: 365640, ..FREE_THREADED.runtime },
    interpreter: Interpreter {
        size: 249992,
        code_object_generation: Some(8040),
        tlbc_generation: Some(17316),
        ..FREE_THREADED.interpreter
    },
    gil: Gil { size: 232, ..FREE_THREADED.gil },
    ..FREE_THREADED
};

const AARCH64_FREE_THREADED_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 381712, ..FREE_THREADED_DEBUG.runtime },
    interpreter: Interpreter {
        size: 250056,
        code_object_generation: Some(8040),
        tlbc_generation: Some(17324),
        ..FREE_THREADED_DEBUG.interpreter
    },
    gil: Gil { size: 232, ..FREE_THREADED_DEBUG.gil },
    ..FREE_THREADED_DEBUG
};
