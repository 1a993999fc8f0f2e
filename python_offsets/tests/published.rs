//! What CPython publishes about itself, as read from running interpreters.

use proptest::prelude::*;
use python_offsets::published::{COOKIE, PREFIX_LEN, Published, PublishedError};
use python_offsets::{
    Arch, Build, Bytecode, Frame, GcCollecting, GilPlace, InterpreterFrame, Leaf, LineTable, LongLength,
};
use python_offsets::{NEWEST_MINOR, Offsets, Version};

const BLOCKS: [(u8, usize, &str); 3] = [
    (13, 584, include_str!("blocks/3.13.18.txt")),
    (14, 760, include_str!("blocks/3.14.10.txt")),
    (15, 888, include_str!("blocks/3.15.2.txt")),
];

/// The names and numbers of a block as written down: `version` and `free_threaded` first.
fn rows(text: &'static str) -> impl Iterator<Item = (&'static str, u64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, value)| (name, value.parse().unwrap()))
}

fn bytes(values: impl Iterator<Item = u64>) -> Vec<u8> {
    COOKIE.into_iter().chain(values.flat_map(u64::to_le_bytes)).collect()
}

fn block(minor: u8) -> Vec<u8> {
    let (_, _, text) = BLOCKS.iter().find(|(of, ..)| *of == minor).unwrap();
    bytes(rows(text).map(|(_, value)| value))
}

/// The block of 3.15.2 with one field changed.
fn changed(field: &str, value: u64) -> Result<Published, PublishedError> {
    let (.., text) = BLOCKS[2];
    assert!(rows(text).any(|(name, _)| name == field), "{field}");
    Published::decode(&bytes(rows(text).map(|(name, old)| if name == field { value } else { old })))
}

fn with_version(hex: u64) -> Published {
    changed("version", hex).unwrap()
}

#[test]
fn every_field_has_the_value_that_was_read_from_a_running_interpreter() {
    for (minor, size, text) in BLOCKS {
        let published = Published::decode(&block(minor)).unwrap();
        let expected: Vec<_> = rows(text).skip(2).map(|(name, value)| (name, value as usize)).collect();
        assert_eq!(published.fields().collect::<Vec<_>>(), expected);
        assert_eq!((published.size, block(minor).len()), (size, size));
        assert_eq!((published.version.minor, published.free_threaded, published.untested), (minor, false, false));
    }
}

#[test]
fn a_prefix_is_as_long_as_the_longest_block() {
    assert_eq!(BLOCKS.iter().map(|(_, size, _)| *size).max(), Some(PREFIX_LEN));
}

#[test]
fn the_tables_are_what_running_interpreters_publish() {
    for (minor, ..) in BLOCKS {
        let published = Published::decode(&block(minor)).unwrap();
        let table = published.table(Arch::X86_64).unwrap();
        let moved: Vec<_> = published.overlay(table).unwrap().differences(table);
        let moved: Vec<_> = moved.iter().filter(|difference| !difference.is_patch_level(minor)).collect();
        assert!(moved.is_empty(), "3.{minor}: {moved:?}");
    }
}

/// The value that a build would publish for a field, so far as an [`Offsets`] tells.
fn published_value(name: &str, of: &Offsets) -> Option<usize> {
    const GIL: usize = 64;
    let Frame::Interpreter(frame) = of.frame else { unreachable!() };
    let value = match name {
        "runtime_state.size" => of.runtime.size,
        "runtime_state.finalizing" => of.runtime.finalizing,
        "runtime_state.interpreters_head" => of.runtime.interpreters_head,
        "interpreter_state.size" => of.interpreter.size,
        "interpreter_state.id" => of.interpreter.id,
        "interpreter_state.next" => of.interpreter.next,
        "interpreter_state.threads_head" => of.interpreter.threads_head,
        "interpreter_state.threads_main" => of.interpreter.threads_main?,
        "interpreter_state.imports_modules" => of.interpreter.modules,
        "interpreter_state.sysdict" => of.interpreter.sysdict,
        "interpreter_state.ceval_gil" => match of.gil.place {
            GilPlace::InterpreterPointer(offset) => offset,
            GilPlace::Runtime(_) => unreachable!(),
        },
        "interpreter_state.gil_runtime_state" => GIL,
        "interpreter_state.gil_runtime_state_enabled" => of.gil.enabled.unwrap_or(0),
        "interpreter_state.gil_runtime_state_locked" => GIL + of.gil.locked,
        "interpreter_state.gil_runtime_state_holder" => GIL + of.gil.last_holder,
        "interpreter_state.code_object_generation" => of.interpreter.code_object_generation?,
        "interpreter_state.tlbc_generation" => of.interpreter.tlbc_generation.unwrap_or(0),
        "gc.collecting" => match of.interpreter.gc_collecting {
            GcCollecting::Interpreter(offset) => offset,
            GcCollecting::Runtime(_) => unreachable!(),
        },
        _ => return thread_value(name, of).or_else(|| frame_value(name, &frame)).or_else(|| object_value(name, of)),
    };
    Some(value)
}

fn thread_value(name: &str, of: &Offsets) -> Option<usize> {
    match name {
        "thread_state.size" => Some(of.thread.size),
        "thread_state.next" => Some(of.thread.next),
        "thread_state.interp" => Some(of.thread.interp),
        "thread_state.current_frame" => match of.thread.leaf {
            Leaf::Direct(offset) => Some(offset),
            Leaf::ThroughCFrame { .. } => unreachable!(),
        },
        "thread_state.base_frame" => of.thread.base_frame,
        "thread_state.thread_id" => Some(of.thread.thread_id),
        "thread_state.native_thread_id" => of.thread.native_thread_id,
        "thread_state.datastack_chunk" => of.thread.data_stack.map(|stack| stack.chunk),
        "thread_state.status" => of.thread.status,
        "thread_state.holds_gil" => of.thread.holds_gil,
        "thread_state.gil_requested" => of.thread.gil_requested,
        _ => None,
    }
}

fn frame_value(name: &str, of: &InterpreterFrame) -> Option<usize> {
    match name {
        "interpreter_frame.size" => Some(of.size),
        "interpreter_frame.previous" => Some(of.previous),
        "interpreter_frame.executable" => Some(of.executable),
        "interpreter_frame.instr_ptr" => Some(of.instr),
        "interpreter_frame.localsplus" => Some(of.localsplus),
        "interpreter_frame.owner" => Some(of.owner),
        "interpreter_frame.stackpointer" => of.stack_pointer,
        "interpreter_frame.tlbc_index" => of.tlbc_index,
        _ => None,
    }
}

fn object_value(name: &str, of: &Offsets) -> Option<usize> {
    match name {
        "code_object.size" => Some(of.code.size),
        "code_object.filename" => Some(of.code.filename),
        "code_object.name" => Some(of.code.name),
        "code_object.qualname" => of.code.qualname,
        "code_object.linetable" => match of.code.line_table {
            LineTable::Locations(offset) => Some(offset),
            LineTable::Lnotab(_) | LineTable::Pep626(_) => unreachable!(),
        },
        "code_object.firstlineno" => Some(of.code.firstlineno),
        "code_object.co_code_adaptive" => match of.code.bytecode {
            Bytecode::Inline(offset) => Some(offset),
            Bytecode::Pointer(_) => unreachable!(),
        },
        "code_object.co_tlbc" => of.code.tlbc,
        "pyobject.size" => Some(of.object.size),
        "pyobject.ob_type" => Some(of.object.ob_type),
        "tuple_object.ob_size" => Some(of.object.ob_size),
        "tuple_object.ob_item" => Some(of.tuple_items),
        "list_object.ob_item" => Some(of.list_items),
        "type_object.size" => Some(of.type_object.size),
        "type_object.tp_name" => Some(of.type_object.name),
        "type_object.tp_flags" => Some(of.type_object.flags),
        "type_object.tp_basicsize" => Some(of.type_object.basicsize),
        "type_object.tp_dictoffset" => Some(of.type_object.dictoffset),
        "heap_type_object.ht_cached_keys" => Some(of.type_object.cached_keys),
        "dict_object.ma_keys" => Some(of.dict.keys),
        "dict_object.ma_values" => Some(of.dict.values),
        "long_object.lv_tag" => match of.long.length {
            LongLength::Tag(offset) => Some(offset),
            LongLength::Signed(_) => unreachable!(),
        },
        "long_object.ob_digit" => Some(of.long.ob_digit),
        "bytes_object.ob_size" => Some(of.bytes.ob_size),
        "bytes_object.ob_sval" => Some(of.bytes.ob_sval),
        "unicode_object.state" => Some(of.unicode.state),
        "unicode_object.length" => Some(of.unicode.length),
        "unicode_object.asciiobject_size" => Some(of.unicode.ascii_size),
        "unicode_object.compactunicodeobject_size" => Some(of.unicode.compact_size),
        _ => None,
    }
}

/// The block that a build would publish. What no [`Offsets`] tells is 0, or for a size as large as it may be.
fn block_of(offsets: &Offsets, build: Build) -> Vec<u8> {
    let (_, _, text) = BLOCKS.iter().find(|(of, ..)| *of == offsets.minor).unwrap();
    let values = rows(text).map(|(name, value)| match name {
        "version" => value,
        "free_threaded" => u64::from(build.is_free_threaded()),
        _ => {
            let is_size = name.ends_with(".size") || name.ends_with("object_size");
            let unknown = if is_size { (16 << 20) - 8 } else { 0 };
            published_value(name, offsets).unwrap_or(unknown) as u64
        }
    });
    bytes(values)
}

#[test]
fn what_is_published_makes_every_build_of_the_release_or_free_threaded_table() {
    for (minor, ..) in BLOCKS {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for build in Build::ALL {
                let table = Offsets::of(minor, arch, build).unwrap();
                let published = Published::decode(&block_of(table, build)).unwrap();
                let overlaid = published.overlay(published.table(arch).unwrap()).unwrap();
                assert_eq!(overlaid.differences(table), [], "3.{minor} {arch:?} {build:?}");
                assert_eq!(overlaid, *table);
            }
        }
    }
}

#[test]
fn every_published_number_that_is_used_reaches_the_offsets() {
    for (minor, _, text) in BLOCKS {
        for (name, old) in rows(text).skip(2) {
            let table = Offsets::of(minor, Arch::X86_64, Build::Release).unwrap();
            let is_used = published_value(name, table).is_some_and(|value| value > 0) && !name.ends_with(".size");
            if !is_used || name == "interpreter_state.gil_runtime_state" {
                continue;
            }
            let overlaid = |new| {
                let values = rows(text).map(|(of, old)| if of == name { new } else { old });
                Published::decode(&bytes(values))?.overlay(table)
            };
            let moved = overlaid(old + 8).or_else(|_| overlaid(old.wrapping_sub(8))).unwrap();
            assert_ne!(moved.differences(table), overlaid(old).unwrap().differences(table), "3.{minor} {name}");
        }
    }
}

#[test]
fn unpublished_neighbours_move_along() {
    let table = *Offsets::of(15, Arch::X86_64, Build::Release).unwrap();
    let moved = changed("runtime_state.interpreters_head", 936 + 64).unwrap().overlay(&table).unwrap();
    assert_eq!(moved.runtime.interpreters_main, table.runtime.interpreters_main + 64);
    let moved = changed("thread_state.datastack_chunk", 256 + 64).unwrap().overlay(&table).unwrap();
    let (stack, old) = (moved.thread.data_stack.unwrap(), table.thread.data_stack.unwrap());
    assert_eq!((stack.top, stack.limit), (old.top + 64, old.limit + 64));
}

#[test]
fn a_newer_minor_version_is_read_in_the_newest_known_order_and_says_so() {
    let published = with_version(0x0310_00f0);
    assert!(published.untested);
    assert_eq!(published.version, Version::release(3, 16, 0));
    let table = published.table(Arch::X86_64).unwrap();
    assert_eq!(table.minor, NEWEST_MINOR);
    let offsets = published.overlay(table).unwrap();
    assert_eq!(offsets.minor, 16);
    assert_eq!(offsets.thread.native_thread_id, Some(184));
}

#[test]
fn a_pre_release_is_untested_and_a_candidate_is_not() {
    let untested = [(0x030f_00a1, true), (0x030f_00b4, true), (0x030f_00c1, false), (0x030f_00f0, false)];
    for (hex, expected) in untested {
        assert_eq!(with_version(hex).untested, expected, "{hex:#x}");
    }
}

#[test]
fn a_table_for_another_build_is_refused() {
    let published = Published::decode(&block(14)).unwrap();
    let wrong = Err(PublishedError::WrongTable { version: Version::release(3, 14, 10) });
    for (minor, build) in [(13, Build::Release), (14, Build::FreeThreaded), (15, Build::Release), (10, Build::Release)]
    {
        assert_eq!(published.overlay(Offsets::of(minor, Arch::X86_64, build).unwrap()), wrong, "3.{minor} {build:?}");
    }
}

#[test]
fn each_kind_of_nonsense_has_its_own_words() {
    let text = |result: Result<Published, PublishedError>| result.unwrap_err().to_string();
    let said = [
        (Published::decode(&block(13)[..583]), "published offsets take 584 bytes, only 583 are there"),
        (Published::decode(b"xdebug"), "published offsets take 8 bytes, only 6 are there"),
        (changed("version", 0), "published offsets name no version of Python: 0x0"),
        (changed("version", 0x030c_01f0), "published offsets name Python 3.12.1, which publishes none"),
        (changed("version", 0x040d_00f0), "published offsets name Python 4.13.0, which publishes none"),
        (changed("free_threaded", 2), "published offsets have 0x2 for the flag `free_threaded`"),
        (changed("thread_state.size", 0), "published thread_state.size is 0, which cannot be a size"),
        (changed("thread_state.size", 16 << 20), "published thread_state.size is 16777216, which cannot be a size"),
        (changed("thread_state.next", 888), "published thread_state.next is 888, outside its structure of 888 bytes"),
        (
            changed("thread_state.next", u64::MAX),
            "published thread_state.next is 18446744073709551615, outside its structure of 888 bytes",
        ),
        (changed("thread_state.next", 12), "published thread_state.next is 12, which is no multiple of 8"),
    ];
    for (result, expected) in said {
        assert_eq!(text(result), expected);
    }
    let no_cookie = Published::decode(&[0; PREFIX_LEN]).unwrap_err().to_string();
    assert!(no_cookie.contains("instead of the cookie `xdebugpy`"), "{no_cookie}");
}

#[test]
fn numbers_that_contradict_each_other_are_refused() {
    let table = Offsets::of(15, Arch::X86_64, Build::Release).unwrap();
    let overlaid = |field, value| changed(field, value).unwrap().overlay(table).unwrap_err().to_string();
    assert_eq!(
        overlaid("interpreter_state.gil_runtime_state_locked", 7700),
        "published interpreter_state.gil_runtime_state_locked is 7700, outside the GIL that is said to start at 7736"
    );
    assert_eq!(
        overlaid("interpreter_state.gc", 226_232),
        "with the published offsets PyInterpreterState.gc.collecting comes to 226344, outside its structure of 226240 \
         bytes"
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        let _ = Published::decode(&bytes);
    }

    #[test]
    fn random_values_after_a_true_header_never_panic(
        header in 0..3usize,
        values in proptest::collection::vec(any::<u64>(), 0..120),
    ) {
        let mut bytes = block(13 + header as u8)[..24].to_vec();
        bytes.extend(values.into_iter().flat_map(u64::to_le_bytes));
        let _ = Published::decode(&bytes);
    }

    #[test]
    fn a_mutated_block_is_refused_or_stays_inside_its_structures(
        minor in 13..=15u8,
        mutations in proptest::collection::vec((16..584usize, any::<u8>()), 1..8),
    ) {
        let mut bytes = block(minor);
        for (at, byte) in mutations {
            bytes[at] = byte;
        }
        if let Ok(published) = Published::decode(&bytes)
            && let Ok(offsets) = published.overlay(published.table(Arch::X86_64).unwrap())
        {
            prop_assert!(offsets.thread.next < offsets.thread.size);
            prop_assert!(offsets.thread.size < 16 << 20);
            prop_assert!(offsets.interpreter.modules < offsets.interpreter.size);
        }
    }
}
