//! Links the release binary with the linker script in `release/`, and tells it the commit of the
//! clone that it is built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=release/layout.ld");
    println!("cargo::rerun-if-env-changed=SAMPAN_COMMIT");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    if !is("PROFILE", "release") {
        return;
    }
    // A debug build would be stale after each commit.
    if std::env::var_os("SAMPAN_COMMIT").is_none()
        && let Some(commit) = commit_of(Path::new(&folder))
    {
        println!("cargo::rustc-env=SAMPAN_COMMIT={commit}");
    }
    if is("CARGO_CFG_TARGET_ENV", "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/release/layout.ld,--no-eh-frame-hdr");
        // One bit instead of 24 bytes for each relocated pointer: docs/decisions/hardening.md.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The commit of `folder`: that in the file COMMIT, which scripts/release puts into the sources, or
/// that of the clone, if git is installed. The sources may also be in the repository of another
/// project, whose commit says nothing about them.
fn commit_of(folder: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(folder.join("COMMIT")) {
        return Some(text.trim_end().to_owned());
    }
    let top = git(folder, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != folder.canonicalize().ok()? {
        return None;
    }
    // The last one has a line for each change of the commit.
    for name in ["HEAD", "packed-refs", "logs/HEAD"] {
        let file = folder.join(git(folder, &["rev-parse", "--git-path", name])?);
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    git(folder, &["rev-parse", "HEAD"])
}

fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim_end().to_owned())
}
