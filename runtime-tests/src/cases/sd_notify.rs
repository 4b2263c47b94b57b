//! NOTIFY_SOCKET: the container's readiness reaches the caller's service manager.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::call::{Output, patience};
use crate::{Container, Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    start_returns_when_the_container_is_ready,
    run_in_the_background_returns_when_the_container_is_ready,
    run_in_the_foreground_passes_readiness_on,
    start_returns_when_the_container_ends_without_a_message,
    nothing_is_set_up_without_a_manager,
    a_manager_that_does_not_listen_is_a_warning [Need::NotAPeer],
    a_manager_that_reads_nothing_does_not_block [Need::NotAPeer],
    a_manager_at_a_path_longer_than_an_address_is_reached [Need::NotAPeer],
    the_container_cannot_change_the_directory_of_its_socket [Need::NotAPeer],
    a_link_in_place_of_the_socket_changes_no_mode [Need::NotAPeer, Need::Program("strace")],
    a_directory_in_place_of_the_socket_is_a_warning [Need::NotAPeer],
];

const MESSAGE: &str = "STATUS=secret\nREADY=1\n";

/// The manager's side: receives messages, and drops the barrier's descriptor.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(t: &Sandbox) -> Self {
        let socket = UnixDatagram::bind(t.path("manager.sock")).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self
            .0
            .recv(&mut buffer)
            .expect("the manager hears something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn heard_nothing(&self) -> bool {
        self.0
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        self.0.recv(&mut [0; 1]).is_err()
    }
}

fn start_returns_when_the_container_is_ready(t: &Sandbox) {
    let manager = Manager::listen(t);
    let container = t.bundle().probe(&["notify", MESSAGE]).container();
    let socket = t.path("manager.sock");
    let create = t.runtime().env("NOTIFY_SOCKET", &socket).arg("create");
    container.launch(create).finish().ok();
    let start = t.runtime().env("NOTIFY_SOCKET", &socket);
    start.args(["start", &container.id]).run().ok();
    assert_eq!(manager.next(), "READY=1\n");
    assert_eq!(manager.next(), format!("MAINPID={}\n", container.pid()));
    assert_eq!(manager.next(), "BARRIER=1");
    container.stop();
}

fn run_in_the_background_returns_when_the_container_is_ready(t: &Sandbox) {
    let manager = Manager::listen(t);
    let container = t.bundle().probe(&["notify", MESSAGE]).container();
    let call = t.runtime().env("NOTIFY_SOCKET", t.path("manager.sock"));
    container
        .launch(call.args(["run", "--detach"]))
        .finish()
        .ok();
    assert_eq!(manager.next(), "READY=1\n");
    assert_eq!(manager.next(), format!("MAINPID={}\n", container.pid()));
    container.stop();
}

fn run_in_the_foreground_passes_readiness_on(t: &Sandbox) {
    let manager = Manager::listen(t);
    let container = t.bundle().probe(&["notify", MESSAGE]).container();
    let call = t.runtime().env("NOTIFY_SOCKET", t.path("manager.sock"));
    let running = container.launch(call.arg("run"));
    assert_eq!(manager.next(), "READY=1\n");
    assert_eq!(
        manager.next(),
        "BARRIER=1",
        "the runtime is the main process"
    );
    container.kill("KILL").ok();
    running.finish().exits(128 + 9);
}

fn start_returns_when_the_container_ends_without_a_message(t: &Sandbox) {
    let manager = Manager::listen(t);
    let container = t.bundle().args(&["true"]).container();
    let call = t.runtime().env("NOTIFY_SOCKET", t.path("manager.sock"));
    container
        .launch(call.args(["run", "--detach"]))
        .finish()
        .ok();
    assert!(manager.heard_nothing());
}

fn nothing_is_set_up_without_a_manager(t: &Sandbox) {
    let container = t
        .bundle()
        .shell("test ! -e /run/notify && test -z \"$NOTIFY_SOCKET\"")
        .container();
    container.run().ok();
}

/// One warning about the variable, and nothing else.
#[track_caller]
fn warns(output: &Output) {
    let lines: Vec<_> = output.stderr.lines().collect();
    let warned = |line: &&str| line.contains("level=warning") && line.contains("NOTIFY_SOCKET");
    assert!(matches!(lines[..], [line] if warned(&line)), "{output}");
}

fn a_manager_that_does_not_listen_is_a_warning(t: &Sandbox) {
    let stale = t.path("stale.sock");
    drop(UnixDatagram::bind(&stale).unwrap());
    let file = t.path("file");
    fs::write(&file, "").unwrap();
    let long = t.dir.join("x".repeat(120)).join("manager.sock");
    let values: [OsString; 7] = [
        stale.into(),
        file.into(),
        t.path("missing.sock").into(),
        long.into(),
        "@nobody-listens-here".into(),
        format!("@{}", "x".repeat(200)).into(),
        "/".repeat(5000).into(),
    ];
    for value in values {
        let container = t.bundle().args(&["echo", "ran"]).container();
        let call = || t.runtime().env("NOTIFY_SOCKET", &value);
        let created = container.launch(call().arg("create")).finish().ok();
        assert_eq!(created.stderr, "", "{created}");
        warns(&call().args(["start", &container.id]).run().ok());
        container.wait_stdout("ran");
        container.wait_status("stopped");
        container.delete().ok();
        let output = container.sibling().launch(call().arg("run")).finish().ok();
        warns(&output);
        assert_eq!(output.stdout, "ran\n");
        let detached = container.sibling();
        let output = detached.launch(call().args(["run", "--detach"])).finish();
        warns(&output.ok());
        detached.wait_status("stopped");
    }
}

/// The manager may have stopped reading, or the socket may belong to another program.
fn a_manager_that_reads_nothing_does_not_block(t: &Sandbox) {
    let path = t.path("manager.sock");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", &path).is_ok() {}
    let container = t.bundle().probe(&["notify", MESSAGE]).container();
    let call = t.runtime().env("NOTIFY_SOCKET", &path);
    container
        .launch(call.args(["run", "--detach"]))
        .finish()
        .ok();
    container.stop();
}

/// A directory whose path alone is longer than a socket address.
fn long_directory(t: &Sandbox) -> PathBuf {
    let directory = t.dir.join("y".repeat(120));
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn a_manager_at_a_path_longer_than_an_address_is_reached(t: &Sandbox) {
    for name in ["manager.sock".to_owned(), "z".repeat(200)] {
        let path = long_directory(t).join(name);
        let short = t.path("s");
        let socket = UnixDatagram::bind(&short).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        let manager = Manager(socket);
        fs::rename(&short, &path).unwrap();
        let container = t.bundle().probe(&["notify", MESSAGE]).container();
        let call = t.runtime().env("NOTIFY_SOCKET", &path);
        container
            .launch(call.args(["run", "--detach"]))
            .finish()
            .ok();
        assert_eq!(manager.next(), "READY=1\n");
        container.stop();
    }
}

/// A container that was created with a listening manager.
fn created<'t>(t: &'t Sandbox, manager: &Path) -> Container<'t> {
    let container = t.bundle().args(&["true"]).container();
    let create = t.runtime().env("NOTIFY_SOCKET", manager).arg("create");
    container.launch(create).finish().ok();
    container
}

/// Files that the container creates there would be on the host.
fn the_container_cannot_change_the_directory_of_its_socket(t: &Sandbox) {
    let _manager = Manager::listen(t);
    let container = created(t, &t.path("manager.sock"));
    for command in [
        ["touch", "/run/notify/file"],
        ["mkdir", "/run/notify/directory"],
    ] {
        container.exec(&command).fails_with("Read-only file system");
    }
}

/// The runtime is stopped right after it has bound the socket, and the socket is replaced by a link
/// to another file. The runtime must not change that file afterwards.
fn a_link_in_place_of_the_socket_changes_no_mode(t: &Sandbox) {
    let _manager = Manager::listen(t);
    let container = created(t, &t.path("manager.sock"));
    let victim = t.path("victim");
    fs::write(&victim, "").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let socket = t.root.join(&container.id).join("notify/notify.sock");
    let call = t.runtime().env("NOTIFY_SOCKET", t.path("manager.sock"));
    let call = call.args(["start", &container.id]);
    let call = call.prefix(strace(&["-e", "inject=bind:signal=STOP:when=1"]));
    let mut start = call.spawn();
    // The signal arrives before bind(2) returns, so no other call is made until SIGCONT.
    t.eventually("the socket is bound", || socket.exists());
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(&victim, &socket).unwrap();
    let child = nix::unistd::Pid::from_raw(child_of(start.pid()));
    t.eventually("the runtime ends", || {
        let _ = nix::sys::signal::kill(child, Signal::SIGCONT);
        !start.is_running()
    });
    start.finish().ok();
    let mode = fs::metadata(&victim).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
}

/// The only child of a process.
#[track_caller]
fn child_of(pid: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("its children");
    children.trim().parse().expect("one child")
}

fn a_directory_in_place_of_the_socket_is_a_warning(t: &Sandbox) {
    let _manager = Manager::listen(t);
    let container = created(t, &t.path("manager.sock"));
    let socket = t.root.join(&container.id).join("notify/notify.sock");
    fs::create_dir(&socket).unwrap();
    let call = t.runtime().env("NOTIFY_SOCKET", t.path("manager.sock"));
    warns(&call.args(["start", &container.id]).run().ok());
}
