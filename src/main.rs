//! Parses, dispatches, and tells a failure once.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use sampan::cli::{self, Cli, Parsed};
use sampan::commands;
use sampan::error::Error;
use sampan::log::Log;

/// The exit status of a failure; `run` otherwise ends as its container does.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // A wrong command line is told in the log that it names, because that is where engines look.
    let spare = cli::log_flags(&args);
    match cli::parse(args) {
        Ok(Parsed::Run(cli)) => run(*cli),
        Ok(Parsed::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILURE),
        },
        Err(error) => fail(&Log::open(&spare).unwrap_or_default(), &error),
    }
}

fn run(cli: Cli) -> ExitCode {
    let log = match Log::open(&cli.global) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &error),
    };
    match commands::dispatch(cli, &log) {
        Ok(status) => {
            log.succeed();
            ExitCode::from(status)
        }
        Err(error) => fail(&log, &error),
    }
}

fn fail(log: &Log, error: &Error) -> ExitCode {
    log.fail(error);
    ExitCode::from(FAILURE)
}
