//! `bench-count instructions|syscalls FILE PROGRAM ARG…` runs the program and writes the count
//! into FILE; its exit status is the program's. See [`bench::count`].

use std::process::ExitCode;

use bench::count::{What, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, file, argv @ ..] = &args[..] else {
        eprintln!("usage: bench-count instructions|syscalls FILE PROGRAM ARG…");
        return ExitCode::from(2);
    };
    let what = if what == "syscalls" {
        What::Syscalls
    } else {
        What::Instructions
    };
    match run(what, argv).and_then(|(count, status)| {
        std::fs::write(file, count.to_string())?;
        Ok(status)
    }) {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            eprintln!("bench-count: {argv:?}: {error}");
            ExitCode::from(125)
        }
    }
}
