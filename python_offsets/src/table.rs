//! The compiled-in tables: one file for each minor version, and in it one constant for each build.
//!
//! The numbers are what the C compiler makes of the version's own headers. Only x86-64 release builds are written out;
//! every other constant shows what differs from the one that it is made of. `python-offsets print --rust` makes such a
//! constant from a build with debug information, and `python-offsets check` compares a build with its table.

use crate::{Arch, Build, Offsets};

mod v3_10;
mod v3_11;
mod v3_12;
mod v3_13;
mod v3_14;
mod v3_15;
mod v3_7;
mod v3_8;
mod v3_9;

/// The table for a build of a minor version, or `None` where there is no such build.
pub(crate) fn of(minor: u8, arch: Arch, build: Build) -> Option<&'static Offsets> {
    builds(minor).iter().find(|(a, b, _)| (*a, *b) == (arch, build)).map(|(_, _, offsets)| offsets)
}

fn builds(minor: u8) -> &'static [(Arch, Build, Offsets)] {
    match minor {
        7 => &v3_7::BUILDS,
        8 => &v3_8::BUILDS,
        9 => &v3_9::BUILDS,
        10 => &v3_10::BUILDS,
        11 => &v3_11::BUILDS,
        12 => &v3_12::BUILDS,
        13 => &v3_13::BUILDS,
        14 => &v3_14::BUILDS,
        15 => &v3_15::BUILDS,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, NEWEST_MINOR, OLDEST_MINOR, fields};

    fn all() -> impl Iterator<Item = (u8, Arch, Build, &'static Offsets)> {
        (OLDEST_MINOR..=NEWEST_MINOR).flat_map(|minor| builds(minor).iter().map(move |(a, b, o)| (minor, *a, *b, o)))
    }

    #[test]
    fn every_minor_version_has_its_builds_on_both_architectures_once() {
        for minor in OLDEST_MINOR..=NEWEST_MINOR {
            let expected = if minor < 13 { 3 } else { 5 };
            for arch in [Arch::X86_64, Arch::Aarch64] {
                let there = Build::ALL.iter().filter(|build| of(minor, arch, **build).is_some()).count();
                assert_eq!(there, expected, "3.{minor} {arch:?}");
            }
            assert_eq!(builds(minor).len(), 2 * expected, "3.{minor}");
        }
        assert_eq!(of(OLDEST_MINOR - 1, Arch::X86_64, Build::Release), None);
        assert_eq!(of(NEWEST_MINOR + 1, Arch::X86_64, Build::Release), None);
    }

    #[test]
    fn every_table_says_its_version_and_threading() {
        for (minor, _, build, offsets) in all() {
            assert_eq!(offsets.minor, minor);
            assert_eq!(offsets.gil.enabled.is_some(), build.is_free_threaded(), "3.{minor} {build:?}");
        }
    }

    #[test]
    fn every_offset_lies_inside_its_structure() {
        for (minor, arch, build, offsets) in all() {
            assert_eq!(fields::outside(offsets), None, "3.{minor} {arch:?} {build:?}");
        }
    }

    #[test]
    fn only_single_bytes_are_unaligned() {
        let bytes = ["owner", "is_entry", "dk_log2_size", "dk_log2_index_bytes", "dk_kind", "valid"];
        for (minor, arch, build, offsets) in all() {
            for (name, field) in offsets.fields() {
                let is_byte = bytes.iter().any(|byte| name.ends_with(&format!(".{byte}")));
                if let Field::At(offset) | Field::Size(offset) = field {
                    assert!(is_byte || offset % 4 == 0, "3.{minor} {arch:?} {build:?} {name}: {offset}");
                }
            }
        }
    }

    #[test]
    fn aarch64_differs_only_by_the_larger_mutex_of_the_gil() {
        let moved = [
            "sizeof(_PyRuntimeState)",
            "sizeof(PyInterpreterState)",
            "sizeof(_gil_runtime_state)",
            "PyInterpreterState._code_object_generation",
            "PyInterpreterState.tlbc_indices.tlbc_generation",
        ];
        for (minor, _, build, aarch64) in all().filter(|(_, arch, ..)| *arch == Arch::Aarch64) {
            let x86_64 = of(minor, Arch::X86_64, build).unwrap();
            for difference in x86_64.differences(aarch64) {
                assert!(moved.contains(&difference.name), "3.{minor} {build:?} {}", difference.name);
            }
            assert_eq!(aarch64.gil.size, x86_64.gil.size + 16, "3.{minor} {build:?}");
        }
    }

    #[test]
    fn trace_references_grow_every_object_up_to_3_12_and_none_later() {
        for (minor, arch, _, traced) in all().filter(|(_, _, build, _)| *build == Build::TraceRefs) {
            let grown = if minor <= 12 { 16 } else { 0 };
            let release = of(minor, arch, Build::Release).unwrap();
            assert_eq!(traced.object.ob_type, release.object.ob_type + grown, "3.{minor}");
            assert_eq!(traced.code.filename, release.code.filename + grown, "3.{minor}");
            assert_eq!(traced.unicode.data, release.unicode.data + grown, "3.{minor}");
        }
    }
}
