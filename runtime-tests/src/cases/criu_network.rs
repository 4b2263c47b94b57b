//! `checkpoint` and `restore` of containers with connections.

use std::fs;
use std::os::unix::net::UnixDatagram;

use super::criu::{
    CRIU, bind, checkpoint, count, counter, directory, images, launch, restore, save_and_restore,
    wait_count,
};
use crate::{Container, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    tcp_connection_in_the_container_continues[CRIU],
    tcp_connection_continues_with_each_lock[CRIU],
    closed_tcp_connection_ends[CRIU],
    unaccepted_tcp_connection_is_left_out[CRIU],
    empty_network_is_for_hooks_to_set_up[CRIU],
    socket_of_the_host_is_connected_again[CRIU],
];

/// A checkpoint that CRIU refuses: the container continues.
#[track_caller]
fn refused(t: &Sandbox, container: &Container, flags: &[&str], words: &str) {
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.args(flags).arg(&container.id).run().fails().stderr;
    assert!(text.contains(words), "{text}");
    wait_count(t, container, count(container));
}

fn connected(t: &Sandbox) -> Container<'_> {
    let container = t.bundle().probe(&["saved", "tcp"]).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    container
}

fn tcp_connection_in_the_container_continues(t: &Sandbox) {
    let container = connected(t);
    refused(t, &container, &[], "--tcp-established");
    let flags = ["--tcp-established"];
    save_and_restore(t, &container, &flags, &flags);
    container.stop();
    container.delete().ok();
}

fn tcp_connection_continues_with_each_lock(t: &Sandbox) {
    let container = connected(t);
    for method in ["nftables", "skip"] {
        let flags = ["--tcp-established", "--network-lock", method];
        save_and_restore(t, &container, &flags, &flags);
        fs::remove_dir_all(images(t)).expect("remove the images");
    }
    container.stop();
    container.delete().ok();
}

fn closed_tcp_connection_ends(t: &Sandbox) {
    let container = connected(t);
    checkpoint(t, &container, &["--tcp-close"]);
    restore(t, &container, &["--tcp-close"]).ok();
    let end = container.bundle.join("rootfs/end");
    t.eventually("the client sees the end", || end.exists());
    container.stop();
    container.delete().ok();
}

fn unaccepted_tcp_connection_is_left_out(t: &Sandbox) {
    let container = t.bundle().probe(&["saved", "listen"]).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    refused(
        t,
        &container,
        &["--tcp-established"],
        "--tcp-skip-in-flight",
    );
    save_and_restore(t, &container, &["--tcp-skip-in-flight"], &[]);
    let table = container.exec(&["cat", "/proc/net/tcp"]).ok().stdout;
    assert!(table.contains(":0007 00000000:0000 0A"), "{table}");
    container.stop();
    container.delete().ok();
}

fn empty_network_is_for_hooks_to_set_up(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let flags = ["--empty-ns", "network"];
    save_and_restore(t, &container, &flags, &flags);
    let links = container.exec(&["ip", "link", "show", "lo"]).ok().stdout;
    assert!(!links.contains("UP"), "{links}");
    container.stop();
    container.delete().ok();
}

/// CRIU finds the host's socket only if the container is in the host's network namespace, and
/// connects to it by its path on the host.
fn socket_of_the_host_is_connected_again(t: &Sandbox) {
    let sockets = directory(t, "sockets");
    let socket = UnixDatagram::bind(sockets.join("log")).expect("bind");
    socket.set_nonblocking(true).expect("non-blocking");
    let path = sockets.join("log").display().to_string();
    let container = t
        .bundle()
        .probe(&["saved", "datagrams", &path])
        .without_namespace("network")
        .mount(bind(&sockets, &sockets.display().to_string(), &["bind"]))
        .container();
    launch(t, &container);
    t.eventually("numbers arrive", || last(&socket) > 2);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    assert!(text.contains("--ext-unix-sk"), "{text}");
    checkpoint(t, &container, &["--ext-unix-sk"]);
    let saved = last(&socket).max(count(&container));
    restore(t, &container, &["--ext-unix-sk"]).ok();
    t.eventually("more numbers arrive", || last(&socket) > saved + 2);
    container.stop();
    container.delete().ok();
}

/// The last of the numbers that have arrived, or 0.
fn last(socket: &UnixDatagram) -> u64 {
    let mut buffer = [0; 64];
    let mut last = 0;
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        last = text.parse().expect("a number");
    }
    last
}
