//! Parses the command line, runs its verb, and reports a failure exactly once.

#![no_main]

use std::ffi::{CStr, OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use sampan::cli::{self, Effect, Line, Parsed};
use sampan::commands::{Context, VERBS, Verb};
use sampan::error::{Code, Context as _, Error, Kind};
use sampan::log::Log;
use sampan::sys::binary::{self, OwnMount};
use sampan::sys::exec::{self, StringArray};
use sampan::sys::inherited;
use sampan::sys::rt::relro;

/// The exit status of a failure before the verb begins.
const FAILURE: u8 = 1;

sampan::program!(start);

fn start(all: StringArray<'static>) -> u8 {
    match protect(&all) {
        Ok(own_mount) => act(&all, own_mount),
        Err(error) => unprotected(&all, error),
    }
}

/// The arguments after the program's name.
fn arguments(all: &StringArray) -> Vec<OsString> {
    let own = |arg: &CStr| OsStr::from_bytes(arg.to_bytes()).to_owned();
    all.iter().skip(1).map(own).collect()
}

/// Reports a failure of [`protect`], as that of the verb on the command line.
#[inline(never)]
fn unprotected(all: &StringArray, error: anyhow::Error) -> u8 {
    let log = Log::open(&cli::log_flags(VERBS, &arguments(all)).options()).unwrap_or_default();
    match cli::parse(VERBS, arguments(all)) {
        Ok(Parsed::Run(line)) => fail(
            &log,
            error,
            line.verb.container(),
            line.verb.failure_status(),
        ),
        _ => fail(&log, error, None, FAILURE),
    }
}

/// Everything after [`protect`]. This function is not inlined because its frame would add three
/// pages of stack to its caller, which would touch them before `protect` executes the program
/// again.
#[inline(never)]
fn act(all: &StringArray, own_mount: Option<OwnMount>) -> u8 {
    match cli::parse(VERBS, arguments(all)) {
        Ok(Parsed::Run(line)) => run(&line, own_mount),
        Ok(Parsed::Print(text)) => match print(&text) {
            Ok(()) => 0,
            Err(_) => FAILURE,
        },
        Err(error) => {
            // Engines read errors from the log, so the error goes to the log that the rejected
            // command line names.
            let log = Log::open(&cli::log_flags(VERBS, &arguments(all)).options());
            let error = error.code_is(Code::UsageInvalid);
            fail(&log.unwrap_or_default(), error.into(), None, FAILURE)
        }
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Makes sure that descriptors 0 to 2 are open, so that no other file is opened as a standard
/// stream, and protects the binary from containers. This runs before any input is read, because it
/// may execute the program again.
fn protect(args: &StringArray<'static>) -> anyhow::Result<Option<OwnMount>> {
    let enough_descriptors = inherited::begin().context("standard streams")?;
    let mut own_mount = None;
    if args.iter().any(may_enter_a_container) {
        own_mount = binary::protect(args, &exec::environment()).map_err(|fail| {
            Error::failed(binary::OBJECT, fail).hint(match fail.errno {
                Errno::EMFILE | Errno::ENFILE => "raise the limit of open files: ulimit -n",
                _ => "the file must be readable, and /proc mounted",
            })
        })?;
        // After it, because a program that it executes again would repeat them.
        if !enough_descriptors {
            inherited::raise_to_usual_limit();
        }
        inherited::look_at_signals();
    }
    // After `binary::protect`, which replaces the data that this makes read-only.
    relro::protect().context(binary::OBJECT)?;
    Ok(own_mount)
}

/// Whether `arg` is the name of a verb that enters a container. The command line has not been
/// parsed yet, so the position of the argument does not matter.
fn may_enter_a_container(arg: &CStr) -> bool {
    let mut verbs = VERBS.iter();
    verbs.any(|verb| {
        matches!(verb.effect, Effect::Enters | Effect::Creates)
            && verb.name.as_bytes() == arg.to_bytes()
    })
}

fn run(line: &Line<Box<dyn Verb>>, own_mount: Option<OwnMount>) -> u8 {
    let prepared = match line.effect {
        Effect::Looks => Ok(()),
        Effect::Changes | Effect::Enters | Effect::Creates => {
            inherited::prepare_for_children_and_files()
        }
    };
    let log = match Log::open(&line.global.log.options()) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), error, None, FAILURE),
    };
    let done = prepared
        .context("signals")
        .and_then(|()| Context::new(&line.global, &log))
        .and_then(|context| {
            if line.effect == Effect::Creates {
                context.own_mount.replace(own_mount);
            } else if let Some(own_mount) = own_mount {
                own_mount.dissolve().context(binary::OBJECT)?;
            }
            line.verb.run(&context)
        });
    match done {
        Ok(status) => {
            log.succeed();
            status
        }
        Err(error) => fail(
            &log,
            error,
            line.verb.container(),
            line.verb.failure_status(),
        ),
    }
}

fn fail(log: &Log, error: anyhow::Error, container: Option<&str>, status: u8) -> u8 {
    let error = Error::of_chain(error);
    log.fail(&error, container);
    match error.kind {
        // The status that a shell reports for a program that the signal ended.
        Kind::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        _ => status,
    }
}
