//! Tests that drive a real OCI runtime binary on real bundles, as root.
//!
//! The library is the harness; the cases are in [`cases`], one file per area. `README.md` in this
//! crate describes how to write and run them. Nothing here depends on the runtime's own code, so
//! `RUNTIME=/usr/sbin/runc` runs the same cases on another runtime.

use std::process::ExitCode;

pub mod bundle;
pub mod call;
pub mod caller;
pub mod cases;
pub mod console;
pub mod container;
pub mod elf;
pub mod engine;
mod file_handle;
pub mod host;
pub mod leaks;
pub mod mount_info;
mod options;
mod probe;
pub mod runner;
pub mod sandbox;
pub mod steps;

pub use bundle::Bundle;
pub use call::{Call, Output, Running, strace};
pub use container::Container;
pub use host::Need;
pub use sandbox::Sandbox;

/// A case: a function, and its requirements on the host.
pub struct Test {
    /// `module_path!()` of the file that holds it.
    pub module: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// The case is skipped, with the reason, on a host that does not meet all of these.
    pub needs: &'static [Need],
    /// The case itself; it fails by panicking.
    pub body: fn(&Sandbox),
}

impl Test {
    /// `area::name`, as printed and as matched by filters.
    pub fn full_name(&self) -> String {
        let area = self.module.rsplit("::").next().unwrap_or(self.module);
        format!("{area}::{}", self.name)
    }
}

/// Lists the cases of a file: `tests![plain, picky [Need::Systemd]]`.
///
/// A case that is not listed is dead code, which the compiler reports.
#[macro_export]
macro_rules! tests {
    ($($name:ident $([$($need:expr),+ $(,)?])?),* $(,)?) => {
        &[$($crate::Test {
            module: module_path!(),
            name: stringify!($name),
            needs: &[$($($need),+)?],
            body: $name,
        }),*]
    };
}

/// Runs the program with its command line.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--probe", probe)) = args.split_first().map(|(flag, rest)| (flag.as_str(), rest)) {
        return probe::main(probe);
    }
    match options::Options::parse(args.into_iter()) {
        Ok(options) => runner::main(&options),
        Err(message) => {
            eprintln!("runtime-tests: {message}\n\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}
