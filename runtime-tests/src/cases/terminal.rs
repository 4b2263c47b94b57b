//! `process.terminal`: over a console socket, and in the foreground on the caller's terminal.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::console::{Master, callers};
use crate::container::reap;
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    socket_gets_one_message_with_the_master,
    program_has_the_terminal_as_its_console,
    console_has_the_size_of_the_config,
    small_and_zero_sizes,
    terminal_belongs_to_the_user,
    terminal_hangs_up_with_the_container,
    interrupt_character_reaches_the_program,
    terminal_of_a_read_only_rootfs,
    detached_terminal_without_socket_is_refused,
    socket_without_terminal_is_refused,
    missing_socket_is_named,
    terminal_without_devpts_is_refused,
    foreground_terminal_relays_and_restores,
    foreground_terminal_passes_the_size_on,
    foreground_terminal_loses_no_output,
    foreground_terminal_with_plain_streams,
    foreground_terminal_prints_plain_newlines,
    foreground_terminal_on_a_terminal_adds_the_carriage_return,
    run_detached_with_a_socket,
    endless_output_does_not_outlast_the_process[Need::NotAPeer],
];

/// The socket that receives the master.
pub(super) struct Socket {
    listener: UnixListener,
    pub(super) path: PathBuf,
}

impl Socket {
    pub(super) fn new(t: &Sandbox, name: &str) -> Self {
        let path = t.path(name);
        let listener = UnixListener::bind(&path).expect("listen");
        listener.set_nonblocking(true).expect("non-blocking");
        Self { listener, path }
    }

    /// All messages of the single connection, whose sender has ended.
    fn messages(&self) -> Vec<(Vec<u8>, Vec<OwnedFd>)> {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut messages = Vec::new();
        loop {
            let mut buffer = [0; 256];
            let mut space = nix::cmsg_space!([i32; 4]);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let fd = stream.as_raw_fd();
            let message =
                recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut space), flags).expect("recvmsg");
            let mut fds = Vec::new();
            for control in message.cmsgs().expect("control messages") {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    // SAFETY: the kernel has just installed these descriptors for this process.
                    fds.extend(
                        raw.into_iter()
                            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                    );
                }
            }
            let length = message.bytes;
            if length == 0 {
                return messages;
            }
            messages.push((buffer[..length].to_vec(), fds));
        }
    }

    pub(super) fn master(&self) -> Master {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "one message with one descriptor");
        let (_, mut fds) = messages.remove(0);
        assert_eq!(fds.len(), 1, "one descriptor");
        Master::new(fds.remove(0))
    }
}

fn terminal<'t>(t: &'t Sandbox, script: &str) -> Bundle<'t> {
    t.bundle()
        .set("/process/terminal", json!(true))
        .shell(script)
}

/// Creates and starts the container. Returns the master.
fn launch(t: &Sandbox, container: &Container) -> Master {
    let socket = Socket::new(t, &format!("{}.sock", container.id));
    let path = socket.path.to_str().expect("UTF-8");
    container.create_with(&["--console-socket", path]).ok();
    let master = socket.master();
    container.start().ok();
    master
}

fn socket_gets_one_message_with_the_master(t: &Sandbox) {
    let container = terminal(t, "sleep 1000").container();
    let socket = Socket::new(t, "console.sock");
    let path = socket.path.to_str().expect("UTF-8");
    container.create_with(&["--console-socket", path]).ok();
    let messages = socket.messages();
    assert_eq!(messages.len(), 1);
    let (name, fds) = &messages[0];
    assert!(String::from_utf8_lossy(name).contains("pt"), "{name:?}");
    assert_eq!(fds.len(), 1);
    assert!(nix::unistd::isatty(&fds[0]).expect("isatty"));
}

fn program_has_the_terminal_as_its_console(t: &Sandbox) {
    let script = "tty; stat -c %t:%T /dev/console /dev/pts/0; test -t 0 -a -t 1 -a -t 2 && echo terminals
        echo to the console >/dev/console; echo to the tty >/dev/tty; read line; echo got $line; echo end";
    let container = terminal(t, script).container();
    let mut master = launch(t, &container);
    master.wait(t, "to the tty");
    master.write("typed\n");
    master.wait(t, "end\n");
    let expected = "/dev/pts/0\n88:0\n88:0\nterminals\nto the console\nto the tty\n";
    assert!(master.seen.starts_with(expected), "{}", master.seen);
    assert!(master.seen.contains("got typed\n"), "{}", master.seen);
}

fn size(t: &Sandbox, size: Value) -> String {
    let bundle = terminal(t, "stty size; echo end; sleep 1000");
    let container = bundle.set("/process/consoleSize", size).container();
    let mut master = launch(t, &container);
    master.wait(t, "end\n");
    container.delete_force().ok();
    master.seen.lines().next().unwrap_or_default().to_owned()
}

fn console_has_the_size_of_the_config(t: &Sandbox) {
    assert_eq!(size(t, json!({"height": 33, "width": 117})), "33 117");
}

fn small_and_zero_sizes(t: &Sandbox) {
    // Engines send 0 by 0 if they do not know the size.
    assert_eq!(size(t, json!({"height": 2, "width": 3})), "2 3");
    let bundle = terminal(t, "echo up; sleep 1000");
    let bundle = bundle.set("/process/consoleSize", json!({"height": 0, "width": 0}));
    launch(t, &bundle.container()).wait(t, "up");
    let bundle = t
        .bundle()
        .set("/process/consoleSize", json!({"height": 10, "width": 20}));
    bundle
        .args(&["echo", "no terminal"])
        .container()
        .run()
        .ok()
        .prints("no terminal");
}

fn terminal_belongs_to_the_user(t: &Sandbox) {
    let script = "stat -c '%u %g %a' /dev/pts/0; echo again >/dev/console; echo end; sleep 1000";
    let bundle = terminal(t, script).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let container = bundle.container();
    let mut master = launch(t, &container);
    master.wait(t, "end\n");
    assert_eq!(master.seen, "1000 5 620\nagain\nend\n");
}

fn terminal_hangs_up_with_the_container(t: &Sandbox) {
    let container = terminal(t, "echo last words").container();
    let mut master = launch(t, &container);
    master.wait(t, "last words\n");
    t.eventually("the terminal hangs up", || {
        master.read();
        !master.open
    });
    // In the other direction, the program gets SIGHUP when the master is closed.
    let container = terminal(t, "trap 'exit 9' HUP; echo ready; sleep 1000 & wait").container();
    let mut master = launch(t, &container);
    master.wait(t, "ready");
    let pid = container.pid();
    drop(master);
    // The kernel sends it to the session leader.
    assert_eq!(reap(pid), 9);
}

fn interrupt_character_reaches_the_program(t: &Sandbox) {
    // If the character arrives just before a sleep begins, the shell runs the trap after it.
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 1; done";
    let container = terminal(t, script).container();
    let mut master = launch(t, &container);
    master.wait(t, "ready");
    let pid = container.pid();
    master.write("\x03");
    master.wait(t, "interrupted");
    assert_eq!(reap(pid), 3);
}

fn terminal_of_a_read_only_rootfs(t: &Sandbox) {
    let bundle =
        terminal(t, "echo up >/dev/console; sleep 1000").set("/root/readonly", json!(true));
    let container = bundle.container();
    let mut master = launch(t, &container);
    master.wait(t, "up\n");
}

fn detached_terminal_without_socket_is_refused(t: &Sandbox) {
    let container = terminal(t, "true").container();
    container.create().fails();
    container.run_with(&["--detach"]).fails();
    container.verb("state").fails_with("does not exist");
}

fn socket_without_terminal_is_refused(t: &Sandbox) {
    let socket = Socket::new(t, "console.sock");
    let path = socket.path.to_str().expect("UTF-8");
    let container = t.bundle().container();
    let output = container.create_with(&["--console-socket", path]);
    // crun ignores the flag.
    if crate::host::peer_name(&t.runtime).is_some() && output.status.success() {
        return;
    }
    output.fails_with("console");
    container.verb("state").fails_with("does not exist");
}

fn missing_socket_is_named(t: &Sandbox) {
    let container = terminal(t, "true").container();
    let path = t.path("nobody-listens");
    let output = container.create_with(&["--console-socket", path.to_str().expect("UTF-8")]);
    output.fails();
    container.verb("state").fails_with("does not exist");
}

fn terminal_without_devpts_is_refused(t: &Sandbox) {
    let bundle = terminal(t, "true").patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/dev/pts");
    });
    let socket = Socket::new(t, "console.sock");
    let container = bundle.container();
    let path = socket.path.to_str().expect("UTF-8");
    container.create_with(&["--console-socket", path]).fails();
    container.verb("state").fails_with("does not exist");
}

/// The settings of a terminal that the kernel keeps; the C library's structure has more fields.
fn modes(terminal: &Termios) -> impl PartialEq + std::fmt::Debug + use<> {
    const KERNEL_NCCS: usize = 19;
    (
        terminal.input_flags,
        terminal.output_flags,
        terminal.control_flags,
        terminal.local_flags,
        terminal.control_chars[..KERNEL_NCCS].to_vec(),
    )
}

fn foreground_terminal_relays_and_restores(t: &Sandbox) {
    let (mut master, slave) = callers();
    let script = "echo ready; read line; echo \"got $line\"; exit 6";
    let container = terminal(t, script).container();
    let before = tcgetattr(&slave).expect("tcgetattr");
    let call = t
        .runtime()
        .arg("run")
        .terminal(slave.try_clone().expect("dup"));
    let run = container.launch(call);
    master.wait(t, "ready\n");
    let raw = tcgetattr(&slave).expect("tcgetattr");
    assert!(
        !raw.local_flags
            .intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    );
    master.write("words\r");
    run.finish().exits(6);
    master.read();
    assert!(master.seen.contains("got words\n"), "{}", master.seen);
    let after = tcgetattr(&slave).expect("tcgetattr");
    assert_eq!(
        modes(&after),
        modes(&before),
        "the caller's terminal is as it was"
    );
}

fn foreground_terminal_passes_the_size_on(t: &Sandbox) {
    let (mut master, slave) = callers();
    let script = "trap 'echo size $(stty size)' WINCH; stty size; echo ready; while :; do sleep 1000 & wait; done";
    let container = terminal(t, script).container();
    let name =
        fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).expect("the terminal's name");
    let call = t
        .runtime()
        .arg("run")
        .terminal(slave.as_fd().try_clone_to_owned().expect("dup"));
    let run = container.launch(call);
    master.wait(t, "ready\n");
    assert!(master.seen.starts_with("24 80\n"), "{}", master.seen);
    t.call("stty")
        .arg("-F")
        .arg(name)
        .args(["rows", "30", "cols", "99"])
        .run()
        .ok();
    run.signal(Signal::SIGWINCH);
    master.wait(t, "size 30 99\n");
    container.kill("KILL").ok();
    run.finish().exits(128 + 9);
}

fn foreground_terminal_loses_no_output(t: &Sandbox) {
    let (master, slave) = callers();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let container = terminal(t, script).container();
    let call = t.runtime().arg("run").terminal(slave);
    let run = container.launch(call);
    let reader = std::thread::spawn(move || {
        let mut master = master;
        while master.open && !master.seen.ends_with("line 19999\n") {
            master.read();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        master.seen
    });
    run.finish().ok();
    let seen = reader.join().expect("the reader");
    assert!(
        seen.ends_with("line 19999\n"),
        "{:?}",
        seen.get(seen.len().saturating_sub(200)..)
    );
    assert_eq!(seen.lines().count(), 20_000);
}

fn foreground_terminal_with_plain_streams(t: &Sandbox) {
    // The caller has no terminal: its input is typed on the container's, and the terminal's output
    // is its output.
    let script = "stty -echo; echo ready; read line; echo got $line; exit 4";
    let container = terminal(t, script).container();
    let call = t.runtime().arg("run").stdin("typed\n");
    let output = container.launch(call).finish().exits(4);
    assert!(output.stdout.contains("got typed\n"), "{output}");
}

/// What the program prints is what the caller gets, so that scripts can compare it.
fn foreground_terminal_prints_plain_newlines(t: &Sandbox) {
    let script = "printf 'one\\ntwo\\n'; stty -a 2>/dev/null | grep -o '[-]*onlcr'";
    let container = terminal(t, script).container();
    let output = container.run().ok();
    assert_eq!(output.stdout, "one\ntwo\n-onlcr\n");
    let sleeping = t.bundle().args(&["sleep", "1000"]).container();
    sleeping.launch_ok();
    let output = sleeping.exec_with(&["-t"], &["printf", "one\\ntwo\\n"]);
    assert_eq!(output.ok().stdout, "one\ntwo\n");
}

/// On a terminal of the caller each line begins in the first column.
fn foreground_terminal_on_a_terminal_adds_the_carriage_return(t: &Sandbox) {
    let (mut master, slave) = callers();
    let script = "stty -a | grep -o '[-]*onlcr'; echo end; sleep 1000";
    let container = terminal(t, script).container();
    let running = container.launch(t.runtime().arg("run").terminal(slave));
    master.wait(t, "end\n");
    assert_eq!(master.shown, b"onlcr\r\nend\r\n");
    container.kill("KILL").ok();
    running.finish();
}

fn run_detached_with_a_socket(t: &Sandbox) {
    let socket = Socket::new(t, "console.sock");
    let path = socket.path.to_str().expect("UTF-8");
    let container = terminal(t, "echo up; sleep 1000").container();
    container
        .run_with(&["--detach", "--console-socket", path])
        .ok();
    socket.master().wait(t, "up\n");
    assert_eq!(container.status(), "running");
}

/// A process that the program leaves behind keeps writing to the terminal, faster than the reader
/// of `exec`'s output reads.
fn endless_output_does_not_outlast_the_process(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let slow = "{ \"$@\"; echo $? >STATUS; } | while [ $(head -c 4096 | wc -c) -gt 0 ]; do sleep 0.01; done";
    let status = t.path("status");
    let slow = slow.replace("STATUS", status.to_str().expect("UTF-8"));
    // The end of the session closes the open terminal, but the terminal can be opened again.
    let program = "T=$(tty); L=$(head -c 2000 /dev/zero | tr '\\0' x); trap '' HUP
        while :; do echo $L >$T; done & exit 5";
    let program = ["sh", "-c", program];
    t.runtime()
        .args(["exec", "--tty", &container.id])
        .args(program)
        .prefix(["sh", "-c", &slow, "sh"])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(status).expect("the status"), "5\n");
    container.delete_force().ok();
}
