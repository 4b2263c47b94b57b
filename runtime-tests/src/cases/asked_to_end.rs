//! A signal asks the runtime to end while it sets up a process. Nothing is left behind, and the
//! exit status reports the signal.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use serde_json::json;

use crate::call::Running;
use crate::host::waits_in;
use crate::steps::Steps;
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    in_a_hook[Need::NotAPeer],
    in_a_hook_of_the_start[Need::NotAPeer],
    by_a_signal_that_the_caller_ignores[Need::NotAPeer],
    while_a_process_joins[Need::NotAPeer],
    while_the_backlog_of_a_socket_is_full[Need::NotAPeer],
    while_an_agent_does_not_read[Need::NotAPeer],
];

/// A container with a hook that creates the file when it runs, and then waits.
fn waiting<'t>(t: &'t Sandbox, moment: &str) -> (Container<'t>, PathBuf) {
    let bundle = t.bundle();
    let (reached, seen) = match moment {
        "startContainer" => (bundle.rootfs().join("tmp/reached"), "/tmp/reached".into()),
        _ => (t.path("reached"), t.path("reached")),
    };
    let _ = fs::remove_file(&reached);
    let script = format!(": >{}; exec sleep 1000", seen.display());
    let hook =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]);
    let bundle = bundle.set(&format!("/hooks/{moment}"), hook);
    (bundle.args(&["echo", "ran"]).container(), reached)
}

/// Sends the signal while the hook runs, and asserts that nothing of the container is left.
#[track_caller]
fn ends(t: &Sandbox, moment: &str, verb: &[&str], signal: Signal) {
    let (container, reached) = waiting(t, moment);
    let running = container.launch(t.runtime().args(verb));
    t.eventually("the hook runs", || reached.exists());
    running.signal(signal);
    is_undone(t, &container, running, signal);
}

#[track_caller]
fn is_undone(t: &Sandbox, container: &Container, running: Running, signal: Signal) {
    let output = running.finish().exits(128 + signal as i32);
    let expected = format!("interrupted by {}", signal.as_str());
    assert!(output.stderr.contains(&expected), "{output}");
    assert!(output.stdout.is_empty(), "{output}");
    container.verb("state").fails_with("does not exist");
    assert_eq!(fs::read_dir(&t.root).into_iter().flatten().count(), 0);
}

fn in_a_hook(t: &Sandbox) {
    for moment in ["prestart", "createRuntime", "createContainer"] {
        ends(t, moment, &["create"], Signal::SIGTERM);
        ends(t, moment, &["run"], Signal::SIGINT);
        ends(t, moment, &["run", "--detach"], Signal::SIGTERM);
    }
}

fn in_a_hook_of_the_start(t: &Sandbox) {
    ends(t, "startContainer", &["run"], Signal::SIGTERM);
    ends(t, "startContainer", &["run", "--detach"], Signal::SIGHUP);
}

fn by_a_signal_that_the_caller_ignores(t: &Sandbox) {
    for verb in ["create", "run"] {
        let (container, reached) = waiting(t, "createContainer");
        let call = t.runtime().arg(verb);
        let running = container.launch(call.prefix(["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]));
        t.eventually("the hook runs", || reached.exists());
        running.signal(Signal::SIGINT);
        running.signal(Signal::SIGTERM);
        is_undone(t, &container, running, Signal::SIGTERM);
    }
}

/// A socket whose server accepts no connection: one more connection would wait.
fn full_socket(path: &Path) -> Vec<OwnedFd> {
    let made =
        |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
    let address = UnixAddr::new(path).expect("an address");
    let server = made(SockFlag::SOCK_CLOEXEC);
    bind(server.as_raw_fd(), &address).expect("bind");
    listen(&server, Backlog::new(0).expect("a backlog")).expect("listen");
    let mut held = vec![server];
    loop {
        let client = made(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
        match connect(client.as_raw_fd(), &address) {
            Ok(()) => held.push(client),
            Err(full) => {
                assert_eq!(full, Errno::EAGAIN);
                return held;
            }
        }
    }
}

fn while_the_backlog_of_a_socket_is_full(t: &Sandbox) {
    let path = t.path("socket");
    let _held = full_socket(&path);
    let notify = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let waits = |running: &Running| {
        t.eventually("the runtime waits", || {
            waits_in(
                running.pid(),
                &[libc::SYS_clock_nanosleep, libc::SYS_nanosleep],
            )
        });
    };
    for (verb, signal) in [("run", Signal::SIGTERM), ("run", Signal::SIGINT)] {
        let container = t.bundle().set("/linux/seccomp", notify.clone()).container();
        let running = container.launch(t.runtime().arg(verb));
        waits(&running);
        running.signal(signal);
        is_undone(t, &container, running, signal);
    }
}

/// The metadata is more than a socket holds. A signal may also come before the runtime waits.
fn while_an_agent_does_not_read(t: &Sandbox) {
    // An address of a socket has no room for this path, so the runtime opens it before it connects.
    let name = "s".repeat(85);
    let directory = fs::File::open(t.path("")).expect("the directory");
    let address = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let _listener = std::os::unix::net::UnixListener::bind(address).expect("a socket");
    let notify = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": t.path(&name),
        "listenerMetadata": "m".repeat(1 << 20),
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let container = || t.bundle().set("/linux/seccomp", notify.clone()).container();
    let calls = [
        libc::SYS_sendmsg,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
    ];
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let container = container();
        let running = container.launch(t.runtime().arg("run"));
        t.eventually("the runtime waits", || waits_in(running.pid(), &calls));
        running.signal(signal);
        is_undone(t, &container, running, signal);
    }
    let container = container();
    t.remember(&container.id);
    let call = t.runtime().args(["run", "--bundle"]).arg(&container.bundle);
    let mut run = Steps::begin(call.arg(&container.id));
    // The first look is before anything is made.
    run.pass(&name);
    run.pass(&name);
    run.signal(Signal::SIGTERM);
    let output = run.finish().exits(128 + libc::SIGTERM);
    assert!(output.stderr.contains("interrupted by SIGTERM"), "{output}");
    container.verb("state").fails_with("does not exist");
}

/// A process that joins a frozen container waits until the container is thawed.
fn while_a_process_joins(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.verb("pause").ok();
    let processes = || container.cgroup_file("cgroup.procs").lines().count();
    for (flags, signal) in [
        (&["--ignore-paused"][..], Signal::SIGTERM),
        (&["--ignore-paused", "--detach"], Signal::SIGINT),
    ] {
        let file = t.path("pid");
        let call = t
            .runtime()
            .arg("exec")
            .args(flags)
            .arg("--pid-file")
            .arg(&file);
        let running = call.args([&container.id, "true"]).spawn();
        t.eventually("the process is there", || processes() == 2);
        running.signal(signal);
        let output = running.finish().exits(128 + signal as i32);
        let expected = format!("interrupted by {}", signal.as_str());
        assert!(output.stderr.contains(&expected), "{output}");
        assert_eq!(processes(), 1);
        assert!(!file.exists());
    }
    container.verb("resume").ok();
    container.exec(&["true"]).ok();
}
