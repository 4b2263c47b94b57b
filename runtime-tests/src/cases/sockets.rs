//! The caller's sockets, whatever the length of their paths: an address holds 107 bytes. unix(7).

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    sockets_at_paths_of_every_length_get_the_terminal_and_the_pidfd[Need::NotAPeer],
    a_socket_at_a_long_path_without_a_listener_is_named[Need::NotAPeer],
];

/// A path of this length in the case's directory.
fn path_of(t: &Sandbox, name: char, length: usize) -> PathBuf {
    let missing = length - t.dir.as_os_str().len() - 1;
    // A name has at most 255 bytes.
    let mut directory = t.dir.clone();
    let mut left = missing;
    while left > 200 {
        directory = directory.join(name.to_string().repeat(100));
        left -= 101;
    }
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name.to_string().repeat(left));
    assert_eq!(path.as_os_str().len(), length);
    path
}

fn listen(t: &Sandbox, path: &PathBuf) -> UnixListener {
    let short = t.path("s");
    let listener = UnixListener::bind(&short).unwrap();
    fs::rename(&short, path).unwrap();
    listener
}

/// The descriptor that arrived over the first connection, and the text with it.
#[track_caller]
pub(super) fn received(listener: &UnixListener) -> (OwnedFd, String) {
    listener.set_nonblocking(true).unwrap();
    let (connection, _) = listener.accept().expect("a connection");
    let mut buffer = [0; 256];
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(connection.as_raw_fd(), &mut slices, Some(&mut space), flags);
    let message = message.expect("a message");
    let mut fds = message.cmsgs().unwrap().flat_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds,
        _ => Vec::new(),
    });
    let fd = fds.next().expect("a descriptor");
    let length = message.bytes;
    // SAFETY: the kernel has just installed this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    (fd, String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn sockets_at_paths_of_every_length_get_the_terminal_and_the_pidfd(t: &Sandbox) {
    for length in [90, 106, 107, 108, 109, 250, 1000] {
        let (console, pidfd) = (path_of(t, 'c', length), path_of(t, 'p', length));
        let listeners = [listen(t, &console), listen(t, &pidfd)];
        let container = t.bundle().set("/process/terminal", json!(true)).container();
        let call = t.runtime().arg("create").arg("--console-socket");
        let call = call.arg(&console).arg("--pidfd-socket").arg(&pidfd);
        container.launch(call).finish().ok();
        let (terminal, _) = received(&listeners[0]);
        assert!(nix::unistd::isatty(&terminal).expect("a descriptor"));
        let (_, name) = received(&listeners[1]);
        assert_eq!(name, "standard");
        container.delete_force().ok();
        for path in [console, pidfd] {
            fs::remove_file(path).unwrap();
        }
    }
}

fn a_socket_at_a_long_path_without_a_listener_is_named(t: &Sandbox) {
    let path = path_of(t, 'd', 300);
    let call = || t.runtime().args(["create", "--pidfd-socket"]).arg(&path);
    let start = format!("--pidfd-socket {}: ", path.display());
    let container = t.bundle().container();
    let output = container.launch(call()).finish().fails_with(&start);
    assert!(output.stderr.contains("no such file"), "{output}");
    fs::write(&path, "").unwrap();
    let output = container.launch(call()).finish().fails_with(&start);
    assert!(output.stderr.contains("refused"), "{output}");
    drop(listen(t, &path));
    let output = container.launch(call()).finish().fails_with(&start);
    assert!(output.stderr.contains("refused"), "{output}");
}
