//! Golden files: `PYSAMPLE_BLESS=1` writes them anew; read the difference before it is committed.

use std::fs;
use std::path::Path;

/// Compares with a file of `tests/golden`, or writes it on request.
pub fn assert_golden(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("PYSAMPLE_BLESS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(made == golden, "{name} differs from its golden file; it is now:\n{made}");
}
