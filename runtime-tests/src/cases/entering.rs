//! A process that enters a container, or joins the pid namespace of another one, as the processes
//! there see it. Without any privilege they read what /proc/PID/mountinfo and /proc/PID/net show of
//! its namespaces, and with CAP_SYS_PTRACE they follow /proc/PID/root.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::namespaces::{KINDS, join_pid, link, running};
use super::userns_fs::mapped;
use crate::call::{Call, Running};
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    process_of_exec_is_in_all_namespaces_from_its_beginning[Need::Program("strace")],
    process_of_mounts_is_in_all_namespaces_from_its_beginning[Need::Program("strace")],
    exec_in_a_user_namespace_shows_nothing_of_the_host[Need::Program("strace")],
    init_in_a_joined_pid_namespace_has_its_network_from_its_beginning[Need::Program("strace")],
    runtime_of_exec_returns[Need::NotAPeer],
    init_that_has_left_its_namespaces_is_not_followed[Need::NotAPeer],
];

/// The namespaces of which /proc/PID shows something to other processes, or to which it leads them.
const VISIBLE: [&str; 5] = ["pid", "network", "ipc", "uts", "mount"];

/// The first call of a process that the runtime has made.
const FIRST: &str = "close_range";

/// Stops the process that `start` makes, and asserts that it is in the container's namespaces of
/// these kinds.
fn is_inside(t: &Sandbox, container: &Container, kinds: &[&str], start: impl FnOnce() -> Running) {
    let first = container.pid().to_string();
    let call = start();
    let process = t.stopped();
    let seen = |kind: &&&str| link(&process.to_string(), kind) != link(&first, kind);
    let outside: Vec<_> = kinds.iter().filter(seen).collect();
    kill(process, Signal::SIGCONT).expect("it goes on");
    call.finish().ok();
    assert!(outside.is_empty(), "{outside:?} are those of the host");
}

fn exec(t: &Sandbox, container: &Container) -> Call {
    let exec = t.runtime().arg("exec").arg(&container.id).arg("true");
    exec.stopping(FIRST, None)
}

fn process_of_exec_is_in_all_namespaces_from_its_beginning(t: &Sandbox) {
    let container = running(t.bundle());
    is_inside(t, &container, &VISIBLE, || exec(t, &container).spawn());
}

fn exec_in_a_user_namespace_shows_nothing_of_the_host(t: &Sandbox) {
    let container = running(mapped(t.bundle()));
    is_inside(t, &container, &VISIBLE, || exec(t, &container).spawn());
}

fn process_of_mounts_is_in_all_namespaces_from_its_beginning(t: &Sandbox) {
    let container = running(t.bundle());
    let file = t.path("mounts.json");
    let tmpfs = json!([{"type": "tmpfs", "source": "tmpfs", "destination": "/added"}]);
    fs::write(&file, tmpfs.to_string()).expect("the mounts");
    let add = t.runtime().args(["mounts", "add"]).arg(&container.id);
    let add = add.arg(&file).stopping(FIRST, None);
    is_inside(t, &container, &VISIBLE, || add.spawn());
}

/// Its mount namespace is a copy of the host's until it has switched to the rootfs.
fn init_in_a_joined_pid_namespace_has_its_network_from_its_beginning(t: &Sandbox) {
    let holder = running(t.bundle());
    let joining = || join_pid(t.bundle().args(&["true"]), "pid", holder.pid());
    let run = || t.runtime().arg("run").stopping(FIRST, None);
    let joined = join_pid(joining(), "network", holder.pid());
    let joined = join_pid(joined, "ipc", holder.pid()).container();
    let kinds = ["pid", "network", "ipc"];
    is_inside(t, &holder, &kinds, || joined.launch(run()));
    let own = joining().container();
    let call = own.launch(run());
    let init = t.stopped();
    let networks = ["self", &init.to_string()].map(|process| link(process, "network"));
    kill(init, Signal::SIGCONT).expect("init goes on");
    call.finish().ok();
    assert_ne!(networks[0], networks[1], "init is in the host's network");
}

/// The namespaces, the root and the working directory of the runtime while the process runs. The
/// caller is in a chroot(2).
fn runtime_of_exec_returns(t: &Sandbox) {
    let container = running(t.bundle());
    let (root, work) = (t.path("chroot"), t.path("work"));
    fs::create_dir(&work).expect("a directory");
    fs::create_dir(&root).expect("a directory");
    let script = "mount --rbind / $1 && exec chroot \"$@\"";
    let inside = format!("cd {} && exec \"$@\"", work.display());
    let exec = t.runtime().arg("exec").arg(&container.id);
    let exec = exec.args(["sh", "-c", "echo $$; exec sleep 1000"]);
    let exec = exec.prefix(["sh", "-c", &inside, "sh"]);
    let root = root.to_str().expect("UTF-8");
    let exec = exec.prefix(["unshare", "--mount", "sh", "-c", script, "sh", root]);
    let call = exec.spawn();
    let printed = || fs::read_to_string(&call.stdout).expect("the output");
    t.eventually("the program runs", || !printed().is_empty());
    let runtime = call.pid().to_string();
    for kind in KINDS.into_iter().filter(|kind| *kind != "mount") {
        assert_eq!(link(&runtime, kind), link("self", kind), "{kind}");
    }
    assert_ne!(
        link(&runtime, "mount"),
        link(&container.pid().to_string(), "mount")
    );
    let directory = |name| fs::read_link(format!("/proc/{runtime}/{name}")).expect("a directory");
    assert_eq!(directory("root"), Path::new(root));
    let below = work.strip_prefix("/").expect("absolute");
    assert_eq!(directory("cwd"), Path::new(root).join(below));
    container.stop();
    call.finish().exits(128 + 9);
}

/// Init of any user can make a user namespace, and in it a mount namespace in which it decides which
/// file is at each path.
fn init_that_has_left_its_namespaces_is_not_followed(t: &Sandbox) {
    for bundle in [t.bundle(), mapped(t.bundle())] {
        let script = "unshare -U -m sh -c true || exit 7; exec unshare -U -m sleep 1000";
        let container = bundle.shell(script).container();
        container.create().ok();
        let user = || link(&container.pid().to_string(), "user");
        let first = user();
        container.start().ok();
        t.eventually("init is in another user namespace", || {
            assert_ne!(
                container.status(),
                "stopped",
                "init cannot make a user namespace"
            );
            user() != first
        });
        let left = "init has left the container's user namespace";
        container.exec(&["true"]).exits(255).fails_with(left);
        let file = t.path("mounts.json");
        let tmpfs = json!([{"type": "tmpfs", "source": "tmpfs", "destination": "/added"}]);
        fs::write(&file, tmpfs.to_string()).expect("the mounts");
        let add = t.runtime().args(["mounts", "add"]).arg(&container.id);
        add.arg(&file).run().fails_with(left);
    }
}
