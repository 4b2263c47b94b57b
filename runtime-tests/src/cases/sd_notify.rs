//! NOTIFY_SOCKET: readiness goes from the container to the caller's service manager.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::call::patience;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    start_returns_when_the_container_is_ready,
    run_in_the_background_returns_when_the_container_is_ready,
    run_in_the_foreground_passes_readiness_on,
    start_returns_when_the_container_ends_without_a_word,
    nothing_is_set_up_without_a_manager,
];

const MESSAGE: &str = "STATUS=secret\nREADY=1\n";

/// The manager's side: what has come, the barrier's descriptor dropped on the way.
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

fn start_returns_when_the_container_ends_without_a_word(t: &Sandbox) {
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
