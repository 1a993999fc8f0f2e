//! A flat view of [`Offsets`] under CPython's own names: for printing them and for telling two of them apart.

use std::fmt;

use crate::published::FIRST_MINOR;
use crate::{
    Attributes, Bytecode, Code, DataStack, Dict, DictKeys, Frame, FrameObject, GcCollecting, Gil, GilPlace,
    Interpreter, InterpreterFrame, Leaf, LineTable, Long, LongLength, Object, Offsets, Runtime, Thread, TypeObject,
    Unicode,
};

/// What is known of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Bytes from the start of the structure.
    At(usize),
    /// Bytes that the structure takes.
    Size(usize),
    /// A number that is neither.
    Number(usize),
    /// The build does not have it.
    Absent,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::At(number) | Field::Size(number) | Field::Number(number) => number.fmt(f),
            Field::Absent => "-".fmt(f),
        }
    }
}

impl From<Option<usize>> for Field {
    fn from(offset: Option<usize>) -> Self {
        offset.map_or(Field::Absent, Field::At)
    }
}

/// A field in which two builds differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// CPython's name, as in [`Offsets::fields`].
    pub name: &'static str,
    /// In the first of the two.
    pub left: Field,
    /// In the second of the two.
    pub right: Field,
}

impl Difference {
    /// Whether patch levels of one minor version differ so, which is no fault of a table: what lies behind mimalloc's
    /// state in the interpreter, and the sizes of the structures that grow at their end. From 3.13 on the target
    /// publishes each. Configure options such as the JIT have the same effect.
    pub fn is_patch_level(&self, minor: u8) -> bool {
        const DRIFTING: [&str; 4] = [
            "sizeof(_PyRuntimeState)",
            "sizeof(PyInterpreterState)",
            "sizeof(PyThreadState)",
            "PyInterpreterState.tlbc_indices.tlbc_generation",
        ];
        minor >= FIRST_MINOR && DRIFTING.contains(&self.name)
    }
}

impl Offsets {
    /// Every number, with CPython's name: `struct.member`, or `sizeof(struct)`. A shape shows in which names there are.
    pub fn fields(&self) -> Vec<(&'static str, Field)> {
        let mut fields = Vec::new();
        runtime(&self.runtime, &mut fields);
        interpreter(&self.interpreter, &mut fields);
        gil(&self.gil, &mut fields);
        thread(&self.thread, self.minor, &mut fields);
        frame(&self.frame, self.minor, &mut fields);
        code(&self.code, &mut fields);
        object(&self.object, &mut fields);
        type_object(&self.type_object, &mut fields);
        unicode(&self.unicode, &mut fields);
        fields.extend([
            ("PyBytesObject.ob_size", Field::At(self.bytes.ob_size)),
            ("PyBytesObject.ob_sval", Field::At(self.bytes.ob_sval)),
            ("PyTupleObject.ob_item", Field::At(self.tuple_items)),
            ("PyListObject.ob_item", Field::At(self.list_items)),
        ]);
        long(&self.long, &mut fields);
        dict(&self.dict, &mut fields);
        attributes(&self.attributes, &mut fields);
        fields
    }

    /// The fields in which `self` (left) and `other` (right) differ. One that only either has is absent in the other.
    pub fn differences(&self, other: &Offsets) -> Vec<Difference> {
        let (left, right) = (self.fields(), other.fields());
        let of_left = left.iter().map(|(name, field)| (*name, *field, named(&right, name)));
        let only_right = right.iter().filter(|(name, _)| left.iter().all(|(known, _)| known != name));
        of_left
            .chain(only_right.map(|(name, field)| (*name, Field::Absent, *field)))
            .filter(|(_, left, right)| left != right)
            .map(|(name, left, right)| Difference { name, left, right })
            .collect()
    }
}

/// The first offset that is not inside its structure: name, offset, size of the structure.
pub(crate) fn outside(offsets: &Offsets) -> Option<(&'static str, usize, usize)> {
    let fields = offsets.fields();
    let size_of = |name: &str| fields.iter().find_map(|(of, field)| size_for(name, of, *field));
    fields.iter().find_map(|(name, field)| match (field, size_of(name)) {
        (Field::At(offset), Some(size)) if *offset >= size => Some((*name, *offset, size)),
        _ => None,
    })
}

/// The size in `field`, if its name `of` is `sizeof` the structure that the field called `name` lies in.
fn size_for(name: &str, of: &str, field: Field) -> Option<usize> {
    let (structure, _) = name.split_once('.')?;
    let sized = of.strip_prefix("sizeof(")?.strip_suffix(')')?;
    match field {
        Field::Size(size) if sized == structure => Some(size),
        _ => None,
    }
}

fn named(fields: &List, wanted: &str) -> Field {
    fields.iter().find(|(name, _)| *name == wanted).map_or(Field::Absent, |(_, field)| *field)
}

type List = Vec<(&'static str, Field)>;

fn runtime(of: &Runtime, list: &mut List) {
    list.extend([
        ("sizeof(_PyRuntimeState)", Field::Size(of.size)),
        ("_PyRuntimeState.interpreters.head", Field::At(of.interpreters_head)),
        ("_PyRuntimeState.interpreters.main", Field::At(of.interpreters_main)),
        ("_PyRuntimeState._finalizing", Field::At(of.finalizing)),
        ("_PyRuntimeState.initialized", Field::At(of.initialized)),
        ("_PyRuntimeState.main_thread", Field::At(of.main_thread)),
    ]);
}

fn interpreter(of: &Interpreter, list: &mut List) {
    list.extend([
        ("sizeof(PyInterpreterState)", Field::Size(of.size)),
        ("PyInterpreterState.next", Field::At(of.next)),
        ("PyInterpreterState.id", Field::At(of.id)),
        ("PyInterpreterState.threads.head", Field::At(of.threads_head)),
        ("PyInterpreterState.threads.main", of.threads_main.into()),
        ("PyInterpreterState.imports.modules", Field::At(of.modules)),
        ("PyInterpreterState.sysdict", Field::At(of.sysdict)),
        match of.gc_collecting {
            GcCollecting::Runtime(offset) => ("_PyRuntimeState.gc.collecting", Field::At(offset)),
            GcCollecting::Interpreter(offset) => ("PyInterpreterState.gc.collecting", Field::At(offset)),
        },
        ("PyInterpreterState._code_object_generation", of.code_object_generation.into()),
        ("PyInterpreterState.tlbc_indices.tlbc_generation", of.tlbc_generation.into()),
    ]);
}

fn gil(of: &Gil, list: &mut List) {
    list.extend([
        match of.place {
            GilPlace::Runtime(offset) => ("_PyRuntimeState.ceval.gil", Field::At(offset)),
            GilPlace::InterpreterPointer(offset) => ("PyInterpreterState.ceval.gil", Field::At(offset)),
        },
        ("sizeof(_gil_runtime_state)", Field::Size(of.size)),
        ("_gil_runtime_state.last_holder", Field::At(of.last_holder)),
        ("_gil_runtime_state.locked", Field::At(of.locked)),
        ("_gil_runtime_state.switch_number", Field::At(of.switch_number)),
        ("_gil_runtime_state.enabled", of.enabled.into()),
    ]);
}

fn thread(of: &Thread, minor: u8, list: &mut List) {
    list.extend([
        ("sizeof(PyThreadState)", Field::Size(of.size)),
        ("PyThreadState.next", Field::At(of.next)),
        ("PyThreadState.interp", Field::At(of.interp)),
    ]);
    match of.leaf {
        Leaf::Direct(offset) if minor <= 10 => list.push(("PyThreadState.frame", Field::At(offset))),
        Leaf::Direct(offset) => list.push(("PyThreadState.current_frame", Field::At(offset))),
        Leaf::ThroughCFrame { cframe, current_frame } => list.extend([
            ("PyThreadState.cframe", Field::At(cframe)),
            ("_PyCFrame.current_frame", Field::At(current_frame)),
        ]),
    }
    list.extend([
        ("PyThreadState.base_frame", of.base_frame.into()),
        ("PyThreadState.thread_id", Field::At(of.thread_id)),
        ("PyThreadState.native_thread_id", of.native_thread_id.into()),
        ("PyThreadState._status", of.status.into()),
        ("PyThreadState.holds_gil", of.holds_gil.into()),
        ("PyThreadState.gil_requested", of.gil_requested.into()),
        ("PyThreadState.state", of.state.into()),
        ("PyThreadState.current_executor", of.current_executor.into()),
    ]);
    if let Some(stack) = &of.data_stack {
        data_stack(stack, list);
    }
}

fn data_stack(of: &DataStack, list: &mut List) {
    list.extend([
        ("PyThreadState.datastack_chunk", Field::At(of.chunk)),
        ("PyThreadState.datastack_top", Field::At(of.top)),
        ("PyThreadState.datastack_limit", Field::At(of.limit)),
        ("_PyStackChunk.previous", Field::At(of.chunk_previous)),
        ("_PyStackChunk.size", Field::At(of.chunk_size)),
        ("_PyStackChunk.top", Field::At(of.chunk_top)),
        ("_PyStackChunk.data", Field::At(of.chunk_data)),
    ]);
}

fn frame(of: &Frame, minor: u8, list: &mut List) {
    match of {
        Frame::Object(of) => frame_object(of, list),
        Frame::Interpreter(of) => interpreter_frame(of, minor, list),
    }
}

fn frame_object(of: &FrameObject, list: &mut List) {
    list.extend([
        ("sizeof(PyFrameObject)", Field::Size(of.size)),
        ("PyFrameObject.f_back", Field::At(of.back)),
        ("PyFrameObject.f_code", Field::At(of.code)),
        ("PyFrameObject.f_lasti", Field::At(of.lasti)),
        ("bytes for one step of f_lasti", Field::Number(of.lasti_unit)),
        ("PyFrameObject.f_executing or f_state", Field::At(of.executing)),
        ("what is there while it is executed", Field::Number(of.is_executing.into())),
    ]);
}

fn interpreter_frame(of: &InterpreterFrame, minor: u8, list: &mut List) {
    let (executable, instr) = match minor {
        ..=12 => ("_PyInterpreterFrame.f_code", "_PyInterpreterFrame.prev_instr"),
        _ => ("_PyInterpreterFrame.f_executable", "_PyInterpreterFrame.instr_ptr"),
    };
    let function = match minor {
        ..=11 => "_PyInterpreterFrame.f_func",
        _ => "_PyInterpreterFrame.f_funcobj",
    };
    list.extend([
        ("sizeof(_PyInterpreterFrame)", Field::Size(of.size)),
        (executable, Field::At(of.executable)),
        (function, Field::At(of.function)),
        ("_PyInterpreterFrame.frame_obj", Field::At(of.frame_object)),
        ("_PyInterpreterFrame.previous", Field::At(of.previous)),
        (instr, Field::At(of.instr)),
        ("_PyInterpreterFrame.owner", Field::At(of.owner)),
        ("lowest owner of a shim", Field::Number(of.first_shim_owner.into())),
        ("_PyInterpreterFrame.is_entry", of.is_entry.into()),
        ("_PyInterpreterFrame.stacktop", of.stack_top.into()),
        ("_PyInterpreterFrame.stackpointer", of.stack_pointer.into()),
        ("_PyInterpreterFrame.localsplus", Field::At(of.localsplus)),
        ("_PyInterpreterFrame.tlbc_index", of.tlbc_index.into()),
    ]);
}

fn code(of: &Code, list: &mut List) {
    list.extend([
        ("sizeof(PyCodeObject)", Field::Size(of.size)),
        ("PyCodeObject.co_filename", Field::At(of.filename)),
        ("PyCodeObject.co_name", Field::At(of.name)),
        ("PyCodeObject.co_qualname", of.qualname.into()),
        ("PyCodeObject.co_firstlineno", Field::At(of.firstlineno)),
        ("PyCodeObject.co_flags", Field::At(of.flags)),
        match of.line_table {
            LineTable::Lnotab(offset) => ("PyCodeObject.co_lnotab", Field::At(offset)),
            LineTable::Pep626(offset) => ("PyCodeObject.co_linetable (PEP 626)", Field::At(offset)),
            LineTable::Locations(offset) => ("PyCodeObject.co_linetable", Field::At(offset)),
        },
        ("PyCodeObject.co_version", of.version.into()),
        ("PyFunctionObject.func_version", of.function_version.into()),
        ("PyCodeObject._co_firsttraceable", of.first_traceable.into()),
        match of.bytecode {
            Bytecode::Pointer(offset) => ("PyCodeObject.co_code", Field::At(offset)),
            Bytecode::Inline(offset) => ("PyCodeObject.co_code_adaptive", Field::At(offset)),
        },
        ("PyCodeObject.co_tlbc", of.tlbc.into()),
    ]);
}

fn object(of: &Object, list: &mut List) {
    list.extend([
        ("sizeof(PyObject)", Field::Size(of.size)),
        ("PyObject.ob_type", Field::At(of.ob_type)),
        ("PyVarObject.ob_size", Field::At(of.ob_size)),
    ]);
}

fn type_object(of: &TypeObject, list: &mut List) {
    list.extend([
        ("sizeof(PyTypeObject)", Field::Size(of.size)),
        ("PyTypeObject.tp_name", Field::At(of.name)),
        ("PyTypeObject.tp_basicsize", Field::At(of.basicsize)),
        ("PyTypeObject.tp_flags", Field::At(of.flags)),
        ("PyTypeObject.tp_dictoffset", Field::At(of.dictoffset)),
        ("PyHeapTypeObject.ht_cached_keys", Field::At(of.cached_keys)),
    ]);
}

fn unicode(of: &Unicode, list: &mut List) {
    list.extend([
        ("PyASCIIObject.length", Field::At(of.length)),
        ("PyASCIIObject.state", Field::At(of.state)),
        ("lowest bit of kind in PyASCIIObject.state", Field::Number(of.kind_shift as usize)),
        ("sizeof(PyASCIIObject)", Field::Size(of.ascii_size)),
        ("sizeof(PyCompactUnicodeObject)", Field::Size(of.compact_size)),
        ("PyUnicodeObject.data", Field::At(of.data)),
    ]);
}

fn long(of: &Long, list: &mut List) {
    list.extend([
        match of.length {
            LongLength::Signed(offset) => ("PyLongObject.ob_size", Field::At(offset)),
            LongLength::Tag(offset) => ("PyLongObject.long_value.lv_tag", Field::At(offset)),
        },
        ("PyLongObject.ob_digit", Field::At(of.ob_digit)),
    ]);
}

fn dict(of: &Dict, list: &mut List) {
    list.extend([
        ("PyDictObject.ma_used", Field::At(of.used)),
        ("PyDictObject.ma_keys", Field::At(of.keys)),
        ("PyDictObject.ma_values", Field::At(of.values)),
        ("bytes from ma_values to the first value", Field::Number(of.values_first)),
    ]);
    match of.keys_header {
        DictKeys::Sized { size, nentries, header } => list.extend([
            ("PyDictKeysObject.dk_size", Field::At(size)),
            ("PyDictKeysObject.dk_nentries", Field::At(nentries)),
            ("sizeof(PyDictKeysObject)", Field::Size(header)),
        ]),
        DictKeys::Log2 { log2_size, log2_index_bytes, kind, nentries, header } => list.extend([
            ("PyDictKeysObject.dk_log2_size", Field::At(log2_size)),
            ("PyDictKeysObject.dk_log2_index_bytes", Field::At(log2_index_bytes)),
            ("PyDictKeysObject.dk_kind", Field::At(kind)),
            ("PyDictKeysObject.dk_nentries", Field::At(nentries)),
            ("sizeof(PyDictKeysObject)", Field::Size(header)),
        ]),
    }
}

fn attributes(of: &Attributes, list: &mut List) {
    const VALUES: &str = "bytes before an object to its values pointer";
    const DICT: &str = "bytes before an object to its dict pointer";
    match *of {
        Attributes::DictOffset => {}
        Attributes::ValuesAndDict { values_before, dict_before } => {
            list.extend([(VALUES, Field::Number(values_before)), (DICT, Field::Number(dict_before))]);
        }
        Attributes::Tagged { before } => {
            list.push(("bytes before an object to its values or dict", Field::Number(before)));
        }
        Attributes::Inline { valid, values, dict_before } => list.extend([
            ("PyDictValues.valid", Field::At(valid)),
            ("PyDictValues.values", Field::At(values)),
            (DICT, Field::Number(dict_before)),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Build};

    #[test]
    fn differences_name_each_field_that_either_has() {
        let table = |minor| Offsets::of(minor, Arch::X86_64, Build::Release).unwrap();
        assert_eq!(table(12).differences(table(12)), []);
        let differences = table(10).differences(table(11));
        let of = |name| differences.iter().find(|d| d.name == name).map(|d| (d.left, d.right));
        assert_eq!(of("PyThreadState.frame"), Some((Field::At(24), Field::Absent)));
        assert_eq!(of("PyThreadState.cframe"), Some((Field::Absent, Field::At(56))));
        assert_eq!(of("PyThreadState.next"), None);
    }

    #[test]
    fn no_name_stands_for_two_fields() {
        for minor in crate::OLDEST_MINOR..=crate::NEWEST_MINOR {
            let mut names: Vec<_> = Offsets::of(minor, Arch::X86_64, Build::Release)
                .unwrap()
                .fields()
                .iter()
                .map(|(name, _)| *name)
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "3.{minor}");
        }
    }

    #[test]
    fn an_offset_past_its_structure_is_found() {
        let mut offsets = *Offsets::of(14, Arch::X86_64, Build::Release).unwrap();
        assert_eq!(outside(&offsets), None);
        offsets.thread.thread_id = offsets.thread.size;
        assert_eq!(outside(&offsets), Some(("PyThreadState.thread_id", 832, 832)));
    }
}
