//! `bench-count instructions|syscalls FILE PROGRAM ARG…` runs the program and writes the count to
//! FILE. Its exit status is the program's. See [`bench::count`].

use std::process::ExitCode;

use bench::count::{What, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, kind, file, argv @ ..] = &args[..] else {
        eprintln!("usage: bench-count instructions|syscalls FILE PROGRAM ARG…");
        return ExitCode::from(2);
    };
    let what = match kind.as_str() {
        "syscalls" => What::Syscalls,
        "instructions" => What::Instructions,
        _ => {
            eprintln!("bench-count: no {kind} to count");
            return ExitCode::from(2);
        }
    };
    match run(what, argv).and_then(|counted| {
        std::fs::write(file, counted.count.to_string())?;
        Ok(counted.status)
    }) {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            eprintln!("bench-count: {argv:?}: {error}");
            ExitCode::from(125)
        }
    }
}
