//! Leaves out of the program what costs at each start: tables for unwinding where nothing unwinds, and three
//! numbers for each address that is to be put right where a bit is enough.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwinding.ld");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/no-unwinding.ld,--no-eh-frame-hdr");
        if minor_version() >= Some(MUSL_1_2_5) {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// The first Rust 1.x whose own C library reads packed relocations (DT_RELR).
const MUSL_1_2_5: u32 = 93;

/// The 95 of `rustc 1.95.0 (...)`.
fn minor_version() -> Option<u32> {
    let compiler = std::env::var_os("RUSTC")?;
    let told = Command::new(compiler).arg("--version").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    told.split('.').nth(1)?.parse().ok()
}
