//! seccomp's user notification: an agent on the host answers for the container.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    an_agent_answers_for_the_container,
    an_agent_answers_without_no_new_privileges,
    an_agent_answers_for_exec,
    an_agent_answers_for_a_hook_of_the_start,
    an_agent_at_a_path_longer_than_an_address_answers,
    a_listener_without_an_agent_fails_the_start,
    a_listener_path_that_is_no_socket_fails_the_create,
    an_agent_answers_for_read,
    a_rule_for_write_cannot_ask,
];

const RECEIVE: libc::c_ulong = 0xc050_2100;
const ANSWER: libc::c_ulong = 0xc018_2101;

/// Accepts one listener, answers one call with ENOMEDIUM, and returns the message that came with
/// the listener.
fn agent(path: &Path) -> JoinHandle<Value> {
    // A socket address cannot hold a long path, and a renamed socket keeps working.
    let short = std::env::temp_dir().join(format!("agent-{}", std::process::id()));
    let listener = UnixListener::bind(&short).unwrap();
    std::fs::rename(&short, path).unwrap();
    std::thread::spawn(move || {
        let (message, fd) = receive(&listener);
        answer(&fd);
        message
    })
}

/// Accepts one message with the listener of a filter.
fn receive(listener: &UnixListener) -> (Value, OwnedFd) {
    let (connection, _) = listener.accept().unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut space = nix::cmsg_space!([i32; 1]);
    let (length, fd) = {
        let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
        let fd = connection.as_raw_fd();
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut space), flags).unwrap();
        let mut fds = message.cmsgs().unwrap().flat_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds,
            _ => Vec::new(),
        });
        // SAFETY: the kernel has just installed this descriptor for us.
        (message.bytes, unsafe {
            OwnedFd::from_raw_fd(fds.next().unwrap())
        })
    };
    (serde_json::from_slice(&buffer[..length]).unwrap(), fd)
}

/// Lets the next call continue. Returns false if no process with the filter is left.
fn continued(listener: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::NONE).unwrap();
    if !polled[0].revents().unwrap().contains(PollFlags::POLLIN) {
        return false;
    }
    // SAFETY: both structures are plain data, and the ioctls expect them. A failure means that the
    // caller was killed.
    unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut call) == 0 {
            let mut response: libc::seccomp_notif_resp = std::mem::zeroed();
            response.id = call.id;
            response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            libc::ioctl(listener.as_raw_fd(), ANSWER as _, &mut response);
        }
    }
    true
}

fn answer(listener: &OwnedFd) {
    // SAFETY: both structures are plain data, and the ioctls expect them.
    unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        assert_eq!(
            libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut call),
            0
        );
        let mut response: libc::seccomp_notif_resp = std::mem::zeroed();
        response.id = call.id;
        response.error = -libc::ENOMEDIUM;
        assert_eq!(
            libc::ioctl(listener.as_raw_fd(), ANSWER as _, &mut response),
            0
        );
    }
}

fn profile(path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "hello",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    })
}

fn check_message(message: &Value, status: &str) {
    assert_eq!(message["metadata"], "hello");
    assert_eq!(message["fds"], json!(["seccompFd"]));
    assert_eq!(message["state"]["status"], status);
    assert!(
        message["pid"].as_i64().is_some_and(|pid| pid > 1),
        "{message}"
    );
}

fn answered(t: &Sandbox, socket: &Path, no_new_privileges: bool) {
    let agent = agent(socket);
    let container = t
        .bundle()
        .set("/linux/seccomp", profile(socket))
        .set("/process/noNewPrivileges", json!(no_new_privileges))
        .args(&["mkdir", "/tmp/x"])
        .container();
    let output = container.run().fails();
    assert!(
        output.stderr.contains("No medium found"),
        "{}",
        output.stderr
    );
    check_message(&agent.join().unwrap(), "creating");
}

fn an_agent_answers_for_the_container(t: &Sandbox) {
    answered(t, &t.path("agent.sock"), true);
}

fn an_agent_answers_without_no_new_privileges(t: &Sandbox) {
    answered(t, &t.path("agent.sock"), false);
}

fn an_agent_at_a_path_longer_than_an_address_answers(t: &Sandbox) {
    let directory = t.dir.join("y".repeat(120));
    std::fs::create_dir(&directory).unwrap();
    answered(t, &directory.join("agent.sock"), true);
}

fn an_agent_answers_for_exec(t: &Sandbox) {
    let socket = t.path("agent.sock");
    let first = UnixListener::bind(&socket).unwrap();
    let container = t
        .bundle()
        .set("/linux/seccomp", profile(&socket))
        .args(&["sleep", "1000"])
        .container();
    container.launch_ok();
    drop(first);
    std::fs::remove_file(&socket).unwrap();
    let agent = agent(&socket);
    let output = container.exec(&["mkdir", "/tmp/x"]).fails();
    assert!(
        output.stderr.contains("No medium found"),
        "{}",
        output.stderr
    );
    check_message(&agent.join().unwrap(), "running");
    container.stop();
}

/// The filter is loaded, and its listener passed on, before the first program of the container
/// runs.
fn an_agent_answers_for_a_hook_of_the_start(t: &Sandbox) {
    let script = "mkdir /tmp/x 2>/tmp/said; true";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    for no_new_privileges in [true, false] {
        let socket = t.path("agent.sock");
        let agent = agent(&socket);
        let container = t
            .bundle()
            .set("/linux/seccomp", profile(&socket))
            .set("/hooks/startContainer", hook.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .args(&["grep", "-o", "No medium found", "/tmp/said"])
            .container();
        container.run().ok().prints("No medium found");
        check_message(&agent.join().unwrap(), "creating");
        std::fs::remove_file(&socket).unwrap();
    }
}

fn a_listener_without_an_agent_fails_the_start(t: &Sandbox) {
    let socket = t.path("nobody.sock");
    let container = t
        .bundle()
        .set("/linux/seccomp", profile(&socket))
        .args(&["true"])
        .container();
    container.run().fails_with("linux.seccomp.listenerPath: ");
}

/// What can be known before the container exists is said then.
fn a_listener_path_that_is_no_socket_fails_the_create(t: &Sandbox) {
    let file = t.path("file");
    std::fs::write(&file, "").unwrap();
    for path in [t.path("nothing"), file] {
        let bundle = t.bundle().set("/linux/seccomp", profile(&path));
        let container = bundle.args(&["true"]).container();
        container
            .create()
            .fails_with("linux.seccomp.listenerPath: ");
        container.verb("state").fails_with("does not exist");
    }
}

/// The first call about which the filter asks is init's own: it waits until the agent has the
/// listener.
fn an_agent_answers_for_read(t: &Sandbox) {
    let socket = t.path("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = std::thread::spawn(move || {
        let (_, fd) = receive(&listener);
        let mut calls = 0;
        while continued(&fd) {
            calls += 1;
        }
        calls
    });
    let mut profile = profile(&socket);
    profile["syscalls"][0]["names"] = json!(["read"]);
    let bundle = t.bundle().set("/linux/seccomp", profile);
    let container = bundle
        .shell("read line </proc/version; echo read")
        .container();
    container.run().ok().prints("read");
    assert!(agent.join().unwrap() > 1);
}

fn a_rule_for_write_cannot_ask(t: &Sandbox) {
    let mut profile = profile(&t.path("agent.sock"));
    profile["syscalls"][0]["names"] = json!(["write"]);
    let container = t
        .bundle()
        .set("/linux/seccomp", profile)
        .args(&["true"])
        .container();
    container.run().fails_with(
        "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write",
    );
}
