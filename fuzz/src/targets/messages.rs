//! Messages of a process that claims to be init, and of one that claims to be the runtime.
//!
//! The first byte chooses the receiver. Then come messages: a byte for the descriptor that is sent
//! along, a byte for the length, and that many bytes.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use sampan::error::Error;
use sampan::plan::{self, Plan};
use sampan::run::fuzzing::{await_execve, receive, receive_go, receive_opened, serve};
use sampan::spec;
use sampan::sys::socket;

use super::{BUNDLE, scenarios};
use crate::case::Case;
use crate::{Form, Target, check_error, scratch};

/// See the module.
pub const TARGET: Target = Target {
    name: "messages",
    run,
    seeds,
    form: Form::Bytes,
    words: "G S O mount move_mount open_tree setgroups",
    longest: 2 << 10,
    changes: 50_000,
};

/// Descriptors of several kinds, one of which is sent along with a message.
struct World {
    descriptors: Vec<OwnedFd>,
    plans: Vec<Plan>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let directory = scratch::directory("messages");
        std::fs::write(directory.join("file"), "#!/bin/sh\n").expect("a file");
        let open = |path: &Path| OwnedFd::from(File::open(path).expect("a file"));
        let (one, other) = socket::pair().expect("a pair of sockets");
        World {
            descriptors: vec![
                open(&directory),
                open(&directory.join("file")),
                open(Path::new("/dev/null")),
                open(Path::new("/proc/self/ns/user")),
                one,
                other,
            ],
            plans: ["engine-docker", "engine-podman", "mounts-bind-userns"]
                .map(plan)
                .into(),
        }
    })
}

/// Mounts without mapped ids, because those start processes.
fn plan(name: &str) -> Plan {
    let case = Case::all().into_iter().find(|case| case.name == name);
    let config = case.expect("a case of this name").config;
    let config = spec::config(config.to_string().as_bytes(), Path::new(BUNDLE));
    let scenario = &scenarios()[0];
    plan::build(
        &config.expect("a config"),
        &scenario.host,
        &scenario.options,
    )
    .expect("a plan")
}

/// A report of init: its kind, its number, and the rest of a failure.
fn report(fd: u8, kind: u32, value: u32, failure: Option<(u32, &str)>) -> Vec<u8> {
    let mut message = [kind.to_ne_bytes(), value.to_ne_bytes()].concat();
    let (errno, op) = failure.unwrap_or((0, ""));
    message.extend(errno.to_ne_bytes());
    message.extend(op.bytes());
    message.resize(52, 0);
    [&[fd, 52][..], &message].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let hooks = report(0, 1, 0, None);
    let console = report(3, 2, 0, None);
    let ready = report(1, 3, 0, None);
    let executing = report(0, 4, 0, None);
    let failure = report(1, 6, 7, Some((1, "mount_setattr")));
    let reach = report(1, 7, 9, None);
    let listener = report(0, 8, 5, None);
    let maps = report(2, 9, 12, None);
    vec![
        [&[0][..], &hooks, &console, &ready].concat(),
        [&[1][..], &reach, &maps, &ready].concat(),
        [&[0][..], &failure].concat(),
        [&[4][..], &executing].concat(),
        [&[5][..], &executing, &listener].concat(),
        [&[4][..], &executing, &failure].concat(),
        b"\x06\0\x02Gx".to_vec(),
        b"\x06\0\x02Sx\0\x02Gy".to_vec(),
        b"\x07\x01\x01O".to_vec(),
    ]
}

/// Sends as much as fits, and closes the connection.
fn say(mut bytes: &[u8], to: &OwnedFd) {
    let world = world();
    while let [fd, length, rest @ ..] = bytes {
        let (message, after) = rest.split_at(rest.len().min(usize::from(*length)));
        let fd = usize::from(*fd).checked_sub(1);
        let fd = fd.map(|fd| world.descriptors[fd % world.descriptors.len()].as_fd());
        if socket::send(to.as_fd(), message, fd).is_err() {
            return;
        }
        bytes = after;
    }
}

fn run(data: &[u8]) {
    let Some((listener, bytes)) = data.split_first() else {
        return;
    };
    let world = world();
    let before = lowest_free();
    {
        let (ours, theirs) = socket::pair().expect("a pair of sockets");
        fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a socket's flags");
        say(bytes, &theirs);
        drop(theirs);
        let plan = &world.plans[usize::from(*listener) % world.plans.len()];
        listen(listener % 8, plan, &ours);
    }
    assert_eq!(before, lowest_free(), "a descriptor is left open");
}

fn listen(listener: u8, plan: &Plan, connection: &OwnedFd) {
    let heard = match listener {
        0..4 => {
            // A new pair for each input: nothing reads from it, so a shared one would fill up.
            let (console, _engine) = socket::pair().expect("a pair of sockets");
            let console = (listener & 1 != 0).then_some(console);
            let hooks = || Ok(b"{}".to_vec());
            let death = || Error::new("init died");
            // No process has this pid.
            serve(plan, connection, i32::MAX, console.as_ref(), hooks, death)
                .and_then(|ready| ready.check_executable(plan))
        }
        4 | 5 => {
            let own = || Ok(plan);
            let listener = |number| match number {
                0.. => Ok(()),
                _ => Err(Error::new("no such descriptor").into()),
            };
            await_execve(connection, i32::MAX, receive, own, listener)
        }
        6 => return drop(receive_go(connection, true)),
        _ => return drop(receive_opened(connection.as_fd())),
    };
    if let Err(error) = heard {
        check_error(&Error::of_chain(error));
    }
}

/// The number of the next descriptor. It is larger than before if a descriptor has leaked.
fn lowest_free() -> i32 {
    let null: BorrowedFd = world().descriptors[2].as_fd();
    let next = null.try_clone_to_owned().expect("one more descriptor");
    next.as_raw_fd()
}
