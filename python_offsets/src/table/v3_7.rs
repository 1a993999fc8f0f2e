//! Python 3.7. Measured on 3.7.16. Up to 3.7.3 the GIL's structure is 88 bytes smaller at its end, which moves nothing
//! that is read here.

use crate::{
    Arch, Attributes, Build, Bytecode, Bytes, Code, Dict, DictKeys, Frame, FrameObject, GcCollecting, Gil, GilPlace,
    Interpreter, Leaf, LineTable, Long, LongLength, Object, Offsets, Runtime, Thread, TypeObject, Unicode,
};

pub(super) static BUILDS: [(Arch, Build, Offsets); 6] = [
    (Arch::X86_64, Build::Release, RELEASE),
    (Arch::X86_64, Build::Debug, DEBUG),
    (Arch::X86_64, Build::TraceRefs, DEBUG),
    (Arch::Aarch64, Build::Release, AARCH64_RELEASE),
    (Arch::Aarch64, Build::Debug, AARCH64_DEBUG),
    (Arch::Aarch64, Build::TraceRefs, AARCH64_DEBUG),
];

const RELEASE: Offsets = Offsets {
    minor: 7,
    runtime: Runtime {
        size: 1520,
        interpreters_head: 24,
        interpreters_main: 32,
        finalizing: 8,
        initialized: 0,
        main_thread: 720,
    },
    interpreter: Interpreter {
        size: 2568,
        next: 0,
        id: 16,
        threads_head: 8,
        threads_main: None,
        modules: 40,
        sysdict: 56,
        gc_collecting: GcCollecting::Runtime(632),
        code_object_generation: None,
        tlbc_generation: None,
    },
    gil: Gil {
        place: GilPlace::Runtime(1264),
        size: 208,
        last_holder: 8,
        locked: 16,
        switch_number: 24,
        enabled: None,
    },
    thread: Thread {
        size: 280,
        next: 8,
        interp: 16,
        leaf: Leaf::Direct(24),
        base_frame: None,
        thread_id: 176,
        native_thread_id: None,
        data_stack: None,
        status: None,
        holds_gil: None,
        gil_requested: None,
        state: None,
        current_executor: None,
    },
    frame: Frame::Object(FrameObject {
        size: 120,
        back: 24,
        code: 32,
        lasti: 104,
        lasti_unit: 1,
        executing: 116,
        is_executing: 1,
    }),
    code: Code {
        size: 144,
        filename: 96,
        name: 104,
        qualname: None,
        firstlineno: 36,
        flags: 32,
        line_table: LineTable::Lnotab(112),
        version: None,
        function_version: None,
        first_traceable: None,
        bytecode: Bytecode::Pointer(40),
        leaves: &[],
        calls: &[131, 141, 142, 161],
        checks: &[86, 87, 111, 112, 113, 114, 115, 116, 119, 120],
        tlbc: None,
    },
    object: Object { size: 16, ob_type: 8, ob_size: 16 },
    type_object: TypeObject { size: 400, name: 24, basicsize: 32, flags: 168, dictoffset: 288, cached_keys: 856 },
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
        keys_header: DictKeys::Sized { size: 8, nentries: 32, header: 40 },
    },
    attributes: Attributes::DictOffset,
};

const DEBUG: Offsets = Offsets {
    frame: Frame::Object(FrameObject {
        size: 136,
        back: 40,
        code: 48,
        lasti: 120,
        lasti_unit: 1,
        executing: 132,
        is_executing: 1,
    }),
    code: Code {
        size: 160,
        filename: 112,
        name: 120,
        firstlineno: 52,
        flags: 48,
        line_table: LineTable::Lnotab(128),
        bytecode: Bytecode::Pointer(56),
        ..RELEASE.code
    },
    object: Object { size: 32, ob_type: 24, ob_size: 32 },
    type_object: TypeObject { size: 416, name: 40, basicsize: 48, flags: 184, dictoffset: 304, cached_keys: 872 },
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
    Offsets { runtime: Runtime { size: 1536, ..RELEASE.runtime }, gil: Gil { size: 224, ..RELEASE.gil }, ..RELEASE };

const AARCH64_DEBUG: Offsets =
    Offsets { runtime: Runtime { size: 1536, ..DEBUG.runtime }, gil: Gil { size: 224, ..DEBUG.gil }, ..DEBUG };
