//! Reads the command line, runs its verb, and reports a failure once.

#![no_main]

use std::ffi::{CStr, OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use sampan::cli::{self, Effect, Line, Parsed};
use sampan::commands::{Context, VERBS, Verb};
use sampan::error::{Error, Kind, On};
use sampan::log::Log;
use sampan::sys::process::{self, StringArray};
use sampan::sys::{Fail, binary, inherited, relro};

/// The exit status of what fails before its verb begins.
const FAILURE: u8 = 1;

sampan::program!(start);

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
    match cli::parse(VERBS, args()) {
        Ok(Parsed::Run(line)) => run(&line),
        Ok(Parsed::Print(text)) => match print(&text) {
            Ok(()) => 0,
            Err(_) => FAILURE,
        },
        Err(error) => {
            // It goes to the log that the wrong command line names: there engines look.
            let log = Log::open(&cli::log_flags(VERBS, &args()).options());
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
    let failed = |what: &'static str| move |fail: Fail| Error::failed(what, fail);
    relro::protect().map_err(failed("own binary"))?;
    let enough_descriptors = inherited::begin().map_err(failed("standard streams"))?;
    if !args.iter().any(may_enter_a_container) {
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

/// Whether `arg` is the name of such a verb, wherever it stands: nothing has been parsed yet.
fn may_enter_a_container(arg: &CStr) -> bool {
    let mut verbs = VERBS.iter();
    verbs.any(|verb| verb.effect == Effect::Enters && verb.name.as_bytes() == arg.to_bytes())
}

fn run(line: &Line<Box<dyn Verb>>) -> u8 {
    let prepared = match line.effect {
        Effect::Looks => Ok(()),
        Effect::Changes | Effect::Enters => inherited::prepare_for_children_and_files(),
    };
    let log = match Log::open(&line.global.log.options()) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &error, FAILURE),
    };
    let done = prepared
        .on(|| "signals")
        .and_then(|()| Context::new(&line.global, &log))
        .and_then(|context| line.verb.run(&context));
    match done {
        Ok(status) => {
            log.succeed();
            status
        }
        Err(error) => fail(&log, &error, line.verb.failure_status()),
    }
}

fn fail(log: &Log, error: &Error, status: u8) -> u8 {
    log.fail(error);
    match error.kind {
        // As a shell counts the end of a program by this signal.
        Kind::Interrupted(signal) => 128 + signal as u8,
        _ => status,
    }
}
