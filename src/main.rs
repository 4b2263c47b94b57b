//! Parses, dispatches, and tells a failure once.

#![no_main]

use std::ffi::{CStr, OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use sampan::cli::{self, Cli, Command, Parsed};
use sampan::commands;
use sampan::error::{Error, Kind};
use sampan::log::Log;
use sampan::sys::process::{self, StringArray};
use sampan::sys::{Fail, binary, inherited, relro};

/// The exit status of a failure; `run` and `exec` otherwise end as their process does.
const FAILURE: u8 = 1;
/// The exit status of an `exec` that failed: engines tell it from that of the process.
const EXEC_FAILURE: u8 = 255;

sampan::program!(start);

/// The verbs that have a process of the runtime in a container, where others can see it.
const ENTERS_CONTAINERS: [&CStr; 4] = [c"create", c"exec", c"mounts", c"run"];

fn start(all: StringArray<'static>) -> u8 {
    if let Err(error) = protect(&all) {
        return fail(&Log::default(), &error, FAILURE);
    }
    act(&all)
}

/// Not a part of its caller, which would need three pages of stack before it starts anew.
#[inline(never)]
fn act(all: &StringArray) -> u8 {
    let args = || -> Vec<OsString> {
        let own = |arg: &CStr| OsStr::from_bytes(arg.to_bytes()).to_owned();
        all.iter().skip(1).map(own).collect()
    };
    match cli::parse(args()) {
        Ok(Parsed::Run(cli)) => run(*cli),
        Ok(Parsed::Print(text)) => match print(&text) {
            Ok(()) => 0,
            Err(_) => FAILURE,
        },
        Err(error) => {
            // It is told in the log that the wrong command line names: there engines look.
            let log = Log::open(&cli::log_flags(&args()));
            fail(&log.unwrap_or_default(), &error, FAILURE)
        }
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Keeps the streams from being confused with other files, and the binary out of containers' reach.
/// This comes before anything is read, because it may start the program anew.
fn protect(args: &StringArray) -> Result<(), Error> {
    let failed = |what: &'static str| move |fail: Fail| Error::sys(what, fail.op, fail.errno);
    relro::protect().map_err(failed("own binary"))?;
    let enough_descriptors = inherited::begin().map_err(failed("standard streams"))?;
    if !args.iter().any(|arg| ENTERS_CONTAINERS.contains(&arg)) {
        return Ok(());
    }
    binary::protect(args, &process::environment())
        .map_err(failed("own binary"))
        .map_err(|error| error.hint("the file must be readable, and /proc mounted"))?;
    // What the program executed anew would have to find out again.
    if !enough_descriptors {
        inherited::raise_to_usual_limit();
    }
    inherited::look_at_signals();
    Ok(())
}

fn run(cli: Cli) -> u8 {
    let prepared = match changes_anything(&cli.command) {
        true => inherited::prepare_for_children_and_files(),
        false => Ok(()),
    };
    let log = match Log::open(&cli.global.log) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &error, FAILURE),
    };
    let failure = match cli.command {
        Command::Exec(_) => EXEC_FAILURE,
        _ => FAILURE,
    };
    let prepared = prepared.map_err(|fail| Error::sys("signals", fail.op, fail.errno));
    match prepared.and_then(|()| commands::dispatch(cli, &log)) {
        Ok(status) => {
            log.succeed();
            status
        }
        Err(error) => fail(&log, &error, failure),
    }
}

/// Whether the verb waits for children or makes files; the others only look, or ask the kernel.
fn changes_anything(command: &Command) -> bool {
    use Command::{Create, Delete, Exec, Mounts, Ps, Run, Start, Update};
    matches!(
        command,
        Create(_) | Delete(_) | Exec(_) | Mounts(_) | Ps(_) | Run(_) | Start(_) | Update(_)
    )
}

fn fail(log: &Log, error: &Error, status: u8) -> u8 {
    log.fail(error);
    match error.kind {
        // As a shell counts the end of a program by this signal.
        Kind::Interrupted(signal) => 128 + signal as u8,
        _ => status,
    }
}
