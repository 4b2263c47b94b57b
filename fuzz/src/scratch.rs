//! Files for targets that read files.

use std::path::PathBuf;

/// A new directory of this process below TMPDIR. The caller removes it, or `scripts/fuzz` removes
/// all of TMPDIR: libFuzzer ends without running cleanup.
pub fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sampan-fuzz-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory below TMPDIR");
    path
}
