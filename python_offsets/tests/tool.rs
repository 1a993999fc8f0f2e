//! The exit codes and words of `python-offsets`.

use std::path::Path;
use std::process::{Command, Output};

fn python_offsets(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_python-offsets")).args(arguments).output().unwrap()
}

fn here(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_file_without_anything_to_check_is_told_from_a_difference() {
    for (file, words) in [("Cargo.toml", "not a readable ELF file"), ("no such file", "cannot read the file")] {
        let output = python_offsets(&["check", &here(file)]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("not checked") && said.contains(words), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_program_that_is_no_python_has_nothing_to_print() {
    let output = python_offsets(&["print", env!("CARGO_BIN_EXE_python-offsets")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("does not tell which version of Python it is"), "{said}");
}

#[test]
fn debug_information_of_another_program_is_not_taken_for_a_python() {
    let output = python_offsets(&["print", "--minor", "12", env!("CARGO_BIN_EXE_python-offsets")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("debug information"), "{said}");
}
