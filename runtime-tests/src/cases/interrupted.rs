//! The runtime or init is killed, or denied a system call, during `create`. `delete --force`
//! removes what exists by then, and until then `state` and `list` give valid answers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::call::{Output, Running};
use crate::container::{Container, reap_ended};
use crate::host::waits_in;
use crate::{Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    killed_in_a_hook_of_the_runtime[Need::NotAPeer],
    killed_in_a_hook_of_init[Need::NotAPeer],
    killed_while_the_console_socket_blocks[Need::NotAPeer],
    killed_at_any_system_call[Need::NotAPeer, Need::Program("strace")],
    the_end_of_init_is_reported[Need::NotAPeer, Need::Program("strace")],
    a_message_that_cannot_be_sent_is_reported[Need::NotAPeer, Need::Program("strace")],
    descriptors_in_flight_are_waited_for[Need::NotAPeer, Need::Program("strace")],
    denied_system_calls_are_reported_or_replaced[Need::NotAPeer, Need::Program("strace")],
    a_call_that_always_fails_does_not_block[Need::NotAPeer, Need::Program("strace")],
];

/// A hook that creates a file when it runs and then waits, in whichever process it is.
fn blocking_hook(t: &Sandbox) -> Value {
    let script = format!(": >{}; exec sleep 1000", t.path("reached").display());
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
}

/// The remains of a create that was killed can be inspected and removed.
#[track_caller]
fn is_removed(t: &Sandbox, container: &Container) {
    let state = container.verb("state");
    if state.status.success() {
        let status = state.json()["status"].clone();
        let sane = ["creating", "created", "stopped"];
        assert!(sane.iter().any(|word| status == *word), "{state}");
    } else {
        state.fails_with("does not exist");
    }
    t.runtime()
        .args(["list", "--format", "json"])
        .run()
        .ok()
        .json();
    container.delete_force().ok();
    let left = fs::read_dir(&t.root).into_iter().flatten().count();
    assert_eq!(left, 0, "entries in the root directory");
    container.verb("state").fails_with("does not exist");
}

#[track_caller]
fn kill_when_reached(t: &Sandbox, running: Running) {
    t.eventually("the hook runs", || t.path("reached").exists());
    running.signal(Signal::SIGKILL);
    let (_, hung) = running.end();
    assert!(!hung, "the killed runtime does not end");
}

/// A hook of the runtime is not a process of the container: it ends by itself.
fn killed_in_a_hook_of_the_runtime(t: &Sandbox) {
    for moment in ["prestart", "createRuntime"] {
        let suicide = format!(": >{}; kill -9 $PPID", t.path("reached").display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", suicide]}]);
        let container = t
            .bundle()
            .set(&format!("/hooks/{moment}"), hook)
            .container();
        assert_eq!(container.create().code(), 137);
        assert!(t.path("reached").exists());
        is_removed(t, &container);
    }
}

fn killed_in_a_hook_of_init(t: &Sandbox) {
    let bundle = t.bundle().set("/hooks/createContainer", blocking_hook(t));
    let container = bundle.container();
    let create = container.launch(t.runtime().arg("create"));
    kill_when_reached(t, create);
    is_removed(t, &container);
}

fn killed_while_the_console_socket_blocks(t: &Sandbox) {
    let path = t.path("console.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    // A second listen(2) changes the backlog.
    nix::sys::socket::listen(
        &listener,
        nix::sys::socket::Backlog::new(0).expect("a backlog"),
    )
    .expect("listen");
    let _waiting = std::os::unix::net::UnixStream::connect(&path).expect("the only place");
    let container = t.bundle().set("/process/terminal", json!(true)).container();
    let call = t.runtime().arg("create").arg("--console-socket").arg(&path);
    let create = container.launch(call);
    t.eventually("create waits for the socket", || {
        // It tries again and again, so that a signal can end it.
        waits_in(
            create.pid(),
            &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep],
        )
    });
    create.signal(Signal::SIGKILL);
    create.end();
    is_removed(t, &container);
}

/// The number of times that a successful `create` makes each system call, in the runtime's own
/// process.
#[track_caller]
fn system_calls(t: &Sandbox) -> BTreeMap<String, usize> {
    let trace = t.path("trace");
    let container = t.bundle().container();
    let prefix = strace(&["-o", trace.to_str().expect("UTF-8")]);
    container
        .launch(t.runtime().arg("create").prefix(prefix))
        .finish()
        .ok();
    container.delete_force().ok();
    let text = fs::read_to_string(&trace).expect("the trace");
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, _)) = line.split_once('(') {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

/// A verb under strace(1), whose arguments make system calls fail or kill the caller.
#[track_caller]
fn injected(t: &Sandbox, container: &Container, verb: &str, args: &[&str]) -> Output {
    let call = t.runtime().arg(verb).prefix(strace(args));
    container.launch(call).finish()
}

/// The runtime is killed at the n-th call of each kind: at a sample of them by default, at each
/// call with `RUNTIME_TESTS_SWEEP`.
fn killed_at_any_system_call(t: &Sandbox) {
    let every = std::env::var_os("RUNTIME_TESTS_SWEEP").is_some();
    let sample = [
        "mkdir", "mkdirat", "rename", "write", "bind", "clone3", "recvmsg", "sendmsg", "openat2",
    ];
    let calls = system_calls(t);
    let mut killed = 0;
    for (name, count) in calls {
        if !every && !sample.contains(&name.as_str()) || name.starts_with("exec") {
            continue;
        }
        for number in 1..=count {
            let container = t.bundle().container();
            let inject = format!("inject={name}:signal=KILL:when={number}");
            let output = injected(t, &container, "create", &["-e", &inject]);
            killed += usize::from(output.code() == 137);
            is_removed(t, &container);
        }
    }
    assert!(killed >= 10, "only {killed} were killed");
}

/// Init is killed at calls that only init makes, whatever message it has received.
fn the_end_of_init_is_reported(t: &Sandbox) {
    for call in ["setsid", "keyctl", "fsopen", "pivot_root", "capset"] {
        for verb in ["create", "run"] {
            let container = t.bundle().container();
            let inject = format!("inject={call}:signal=KILL:when=1");
            let output = injected(t, &container, verb, &["-f", "-e", &inject]);
            output.fails_with("killed by signal 9");
            is_removed(t, &container);
        }
    }
}

/// Every second message of every process fails as it does while too many descriptors are in flight.
fn descriptors_in_flight_are_waited_for(t: &Sandbox) {
    let full = "inject=sendmsg:error=ETOOMANYREFS:when=1+2";
    let container = t.bundle().shell("exit 7").container();
    injected(t, &container, "run", &["-f", "-e", full]).exits(7);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let exec = t.runtime().prefix(strace(&["-f", "-e", full]));
    let exec = exec.args(["exec", &container.id, "sh", "-c", "exit 8"]);
    exec.run().exits(8);
    container.delete_force().ok();
}

/// The runtime's first messages to init fail. Neither process waits for a message that cannot
/// arrive.
fn a_message_that_cannot_be_sent_is_reported(t: &Sandbox) {
    for verb in ["create", "run"] {
        for number in 1..=2 {
            let container = t.bundle().container();
            let inject = format!("inject=sendmsg:error=ENOBUFS:when={number}");
            let output = injected(t, &container, verb, &["-e", &inject]);
            output.fails_with("sendmsg: no buffer space available");
            is_removed(t, &container);
        }
    }
}

/// Calls that a kernel or a filter around the runtime may lack. Each fails throughout a whole
/// `run`, which works without it or reports which call failed.
fn denied_system_calls_are_reported_or_replaced(t: &Sandbox) {
    let calls = [
        "clone3",
        "openat2",
        "open_tree",
        "move_mount",
        "mount_setattr",
        "fsopen",
        "fsmount",
        "fsconfig",
        "pidfd_open",
        "pidfd_send_signal",
        "close_range",
        "statx",
        "bpf",
        "keyctl",
        "prctl",
        "capset",
        "unshare",
        "pivot_root",
        "faccessat2",
        "mount",
        "umount2",
        "setns",
        "sethostname",
        "memfd_create",
        "execveat",
        "mknodat",
        "prlimit64",
        "signalfd4",
        "setsid",
        "socketpair",
        "setgroups",
        "fchmod",
    ];
    for error in ["ENOSYS", "EPERM"] {
        for call in calls {
            let container = t.bundle().shell("echo ran").container();
            let inject = format!("inject={call}:error={error}");
            let output = injected(t, &container, "run", &["-f", "-e", &inject]);
            if output.code() == 0 {
                assert_eq!(output.stdout.trim(), "ran", "{call} {error}");
                continue;
            }
            assert_eq!(output.code(), 1, "{call} {error}\n{output}");
            let words = match error {
                "ENOSYS" => "not implemented",
                _ => "not permitted",
            };
            let message = output.stderr.to_lowercase();
            assert!(message.contains(words), "{call} {error}\n{output}");
            let name = call.trim_end_matches(char::is_numeric);
            let name = name.trim_end_matches("at");
            assert!(
                error != "ENOSYS" || message.contains(name),
                "{call}\n{output}"
            );
            // A failure before init's first step is not reported as one of a step.
            assert!(!message.contains("create cgroup"), "{call}\n{output}");
            is_removed(t, &container);
        }
    }
}

/// Calls that a kernel does not refuse for long, but a filter around the runtime may. A loop that
/// retries the call, or waits for its effect, would never end.
fn a_call_that_always_fails_does_not_block(t: &Sandbox) {
    let calls = [
        "close",
        "wait4",
        "waitid",
        "poll",
        "ppoll",
        "umask",
        "rt_sigaction",
        "rt_sigprocmask",
        "sched_setaffinity",
        "sendmsg",
        "recvmsg",
        "accept4",
        "read",
        "fcntl",
        "pipe2",
    ];
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = || {
        let moments = [
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
        ];
        moments.iter().fold(t.bundle(), |bundle, moment| {
            bundle.set(&format!("/hooks/{moment}"), hook.clone())
        })
    };
    let target = t.bundle().args(&["sleep", "1000"]).container();
    target.launch_ok();
    for call in calls {
        let inject = format!("inject={call}:error=EPERM");
        let (runtime_alone, all) = (["-e", &inject], ["-f", "-e", &inject]);
        // With `create`, strace would also wait for the end of init.
        for (verb, args) in [
            ("run", &all[..]),
            ("run", &runtime_alone),
            ("create", &runtime_alone),
        ] {
            let container = bundle().container();
            let output = injected(t, &container, verb, args);
            // The container's own program gets the failures too.
            assert!(output.status.code().is_some(), "{call} {verb}\n{output}");
            container.delete_force().ok();
        }
        let exec = t.runtime().args(["exec", &target.id, "true"]);
        let output = exec.prefix(strace(&all)).run();
        assert!(output.status.code().is_some(), "{call} exec\n{output}");
    }
    // An `exec` that could not wait for its process has left it to the test.
    reap_ended();
    target.delete_force().ok();
}
