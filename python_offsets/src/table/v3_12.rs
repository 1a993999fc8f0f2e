//! Python 3.12. Measured on 3.12.1. 3.12.0 has no `threads.main`, and nothing tells the two apart, so it is left out here.

use crate::{
    Arch, Attributes, Build, Bytecode, Bytes, Code, DataStack, Dict, DictKeys, Frame, GcCollecting, Gil, GilPlace,
    Interpreter, InterpreterFrame, Leaf, LineTable, Long, LongLength, Object, Offsets, Runtime, Thread, TypeObject,
    Unicode,
};

pub(super) static BUILDS: [(Arch, Build, Offsets); 6] = [
    (Arch::X86_64, Build::Release, RELEASE),
    (Arch::X86_64, Build::Debug, DEBUG),
    (Arch::X86_64, Build::TraceRefs, TRACE_REFS),
    (Arch::Aarch64, Build::Release, AARCH64_RELEASE),
    (Arch::Aarch64, Build::Debug, AARCH64_DEBUG),
    (Arch::Aarch64, Build::TraceRefs, AARCH64_TRACE_REFS),
];

const RELEASE: Offsets = Offsets {
    minor: 12,
    runtime: Runtime {
        size: 459944,
        interpreters_head: 40,
        interpreters_main: 48,
        finalizing: 24,
        initialized: 16,
        main_thread: 64,
    },
    interpreter: Interpreter {
        size: 383552,
        next: 0,
        id: 8,
        threads_head: 72,
        threads_main: None,
        modules: 944,
        sysdict: 352,
        gc_collecting: GcCollecting::Interpreter(312),
        code_object_generation: None,
        tlbc_generation: None,
    },
    gil: Gil {
        place: GilPlace::InterpreterPointer(384),
        size: 208,
        last_holder: 8,
        locked: 16,
        switch_number: 24,
        enabled: None,
    },
    thread: Thread {
        size: 288,
        next: 8,
        interp: 16,
        leaf: Leaf::ThroughCFrame { cframe: 56, current_frame: 0 },
        base_frame: None,
        thread_id: 136,
        native_thread_id: Some(144),
        data_stack: Some(DataStack {
            chunk: 232,
            top: 240,
            limit: 248,
            chunk_previous: 0,
            chunk_size: 8,
            chunk_top: 16,
            chunk_data: 24,
        }),
        status: Some(24),
        holds_gil: None,
        gil_requested: None,
        state: None,
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
        size: 200,
        filename: 112,
        name: 120,
        qualname: Some(128),
        firstlineno: 68,
        flags: 48,
        line_table: LineTable::Locations(136),
        version: Some(92),
        function_version: None,
        first_traceable: Some(176),
        bytecode: Bytecode::Inline(192),
        leaves: &[83, 121, 75, 150, 242, 243, 247],
        calls: &[23, 24, 28, 29, 34, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 56, 142, 171, 241, 244],
        checks: &[140, 151, 240, 246],
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
        values_first: 0,
        keys_header: DictKeys::Log2 { log2_size: 8, log2_index_bytes: 9, kind: 10, nentries: 24, header: 32 },
    },
    attributes: Attributes::Tagged { before: 24 },
};

const DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 475960, ..RELEASE.runtime },
    interpreter: Interpreter { size: 383568, ..RELEASE.interpreter },
    ..RELEASE
};

const TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 499944, ..RELEASE.runtime },
    interpreter: Interpreter { size: 383632, ..RELEASE.interpreter },
    code: Code {
        size: 216,
        filename: 128,
        name: 136,
        qualname: Some(144),
        firstlineno: 84,
        flags: 64,
        line_table: LineTable::Locations(152),
        version: Some(108),
        first_traceable: Some(192),
        bytecode: Bytecode::Inline(208),
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
    ..RELEASE
};

// On aarch64 a `pthread_mutex_t` takes 48 bytes instead of 40: the GIL's structure grows by 16.

const AARCH64_RELEASE: Offsets = Offsets {
    runtime: Runtime { size: 459960, ..RELEASE.runtime },
    interpreter: Interpreter { size: 383568, ..RELEASE.interpreter },
    gil: Gil { size: 224, ..RELEASE.gil },
    ..RELEASE
};

const AARCH64_DEBUG: Offsets = Offsets {
    runtime: Runtime { size: 475976, ..DEBUG.runtime },
    interpreter: Interpreter { size: 383584, ..DEBUG.interpreter },
    gil: Gil { size: 224, ..DEBUG.gil },
    ..DEBUG
};

const AARCH64_TRACE_REFS: Offsets = Offsets {
    runtime: Runtime { size: 499960, ..TRACE_REFS.runtime },
    interpreter: Interpreter { size: 383648, ..TRACE_REFS.interpreter },
    gil: Gil { size: 224, ..TRACE_REFS.gil },
    ..TRACE_REFS
};
