//! Open files: those that the program has at its start, and those that it must not have.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::pty::{OpenptyResult, openpty};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::json;

use crate::console::Master;
use crate::{Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    descriptors_of_the_caller_are_closed,
    preserved_descriptors_are_passed,
    descriptors_after_the_preserved_are_closed,
    gap_in_the_preserved_descriptors_is_refused,
    listening_sockets_are_passed,
    listening_and_preserved_descriptors_together,
    listening_sockets_of_another_process_are_not_passed,
    streams_belong_to_the_user,
    streams_that_are_only_read_keep_their_owner[Need::NotAPeer],
    terminal_belongs_to_the_user_but_not_its_other_names[Need::NotAPeer],
    null_streams_are_reopened,
    null_of_the_host_keeps_its_owner,
    closed_streams_are_harmless,
    hooks_get_no_preserved_descriptors,
    nothing_of_the_runtime_is_open_in_created_state,
];

/// Runs the call under a shell that opens these files under these numbers.
fn with_files(numbers: &[u32], t: &Sandbox) -> [String; 4] {
    let file = |number: &u32| {
        let path = t.path(&format!("file{number}"));
        std::fs::write(&path, format!("number {number}\n")).expect("a file");
        format!("exec {number}<{}; ", path.display())
    };
    let script: String = numbers.iter().map(file).collect();
    [
        "sh".into(),
        "-c".into(),
        script + "exec \"$@\"",
        "sh".into(),
    ]
}

/// A script that lists init's descriptors from 0 to 9 and reads those above 2.
const SCRIPT: &str = "for n in 0 1 2 3 4 5 6 7 8 9; do
    [ -e /proc/1/fd/$n ] && echo $n; done; for n in 3 4 5 6; do cat <&$n; done 2>/dev/null; true";

fn run(t: &Sandbox, open: &[u32], flags: &[&str]) -> Output {
    let container = t.bundle().shell(SCRIPT).container();
    let call = t
        .runtime()
        .arg("run")
        .args(flags)
        .prefix(with_files(open, t));
    container.launch(call).finish()
}

fn descriptors_of_the_caller_are_closed(t: &Sandbox) {
    run(t, &[3, 4, 7, 9], &[]).ok().prints("0\n1\n2");
}

fn preserved_descriptors_are_passed(t: &Sandbox) {
    let output = run(t, &[3, 4], &["--preserve-fds", "2"]).ok();
    output.prints("0\n1\n2\n3\n4\nnumber 3\nnumber 4");
}

fn descriptors_after_the_preserved_are_closed(t: &Sandbox) {
    let output = run(t, &[3, 4, 5, 8], &["--preserve-fds", "1"]).ok();
    output.prints("0\n1\n2\n3\nnumber 3");
}

fn gap_in_the_preserved_descriptors_is_refused(t: &Sandbox) {
    let output = run(t, &[3, 5], &["--preserve-fds", "3"]);
    output.fails_with("4");
}

/// Sets LISTEN_PID to the pid of the runtime.
fn listening(t: &Sandbox, open: &[u32], listen: &str, flags: &[&str], script: &str) -> Output {
    let container = t.bundle().shell(script).container();
    let mut prefix = with_files(open, t);
    prefix[2] = format!("export LISTEN_FDS={listen}; {}", prefix[2]);
    let call = t.runtime().arg("run").args(flags).prefix(prefix);
    container.launch(call).finish()
}

fn listening_sockets_are_passed(t: &Sandbox) {
    let script = format!("echo $LISTEN_FDS $LISTEN_PID; {SCRIPT}");
    let listen = "2 LISTEN_PID=$$";
    let output = listening(t, &[3, 4, 5], listen, &[], &script).ok();
    output.prints("2 1\n0\n1\n2\n3\n4\nnumber 3\nnumber 4");
}

fn listening_and_preserved_descriptors_together(t: &Sandbox) {
    let script = format!("echo $LISTEN_FDS; {SCRIPT}");
    let listen = "1 LISTEN_PID=$$";
    let flags = ["--preserve-fds", "2"];
    let output = listening(t, &[3, 4, 5, 6], listen, &flags, &script).ok();
    output.prints("1\n0\n1\n2\n3\n4\n5\nnumber 3\nnumber 4\nnumber 5");
}

fn listening_sockets_of_another_process_are_not_passed(t: &Sandbox) {
    // sd_listen_fds(3): the variables apply only to the process that LISTEN_PID names.
    let script = format!("echo ${{LISTEN_FDS-unset}}; {SCRIPT}");
    let output = listening(t, &[3], "1 LISTEN_PID=1", &[], &script).ok();
    output.prints("unset\n0\n1\n2");
}

fn streams_belong_to_the_user(t: &Sandbox) {
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle().set("/process/user", user);
    // An unprivileged user opens its own streams by name.
    let script = "stat -L -c %u /proc/self/fd/1; echo again >/dev/stderr";
    let container = bundle.shell(script).container();
    let output = container.run().ok().prints("1000");
    assert_eq!(output.stderr, "again\n");
}

/// Runs a program of user 1000 with a stdin that a shell opens.
fn with_stdin(t: &Sandbox, redirection: &str) {
    let user = json!({"uid": 1000, "gid": 1000});
    let container = t.bundle().set("/process/user", user).args(&["true"]);
    let script = format!("exec \"$@\" {redirection}");
    let call = t.runtime().arg("run").prefix(["sh", "-c", &script, "sh"]);
    container.container().launch(call).finish().ok();
}

/// A node of a character device, outside of /dev.
fn node(path: &Path, major: u64, minor: u64) {
    let mode = Mode::from_bits_truncate(0o600);
    mknod(path, SFlag::S_IFCHR, mode, makedev(major, minor)).expect("mknod");
}

fn streams_that_are_only_read_keep_their_owner(t: &Sandbox) {
    let [file, pipe, directory, zero] = ["file", "pipe", "directory", "zero"].map(|it| t.path(it));
    std::fs::write(&file, "a script of the caller's").expect("a file");
    mkfifo(&pipe, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    std::fs::create_dir(&directory).expect("a directory");
    node(&zero, 1, 5);
    for (operator, path, owner) in [
        ("<", &file, 0),
        ("<", &directory, 0),
        ("<>", &zero, 0),
        ("<>", &pipe, 1000),
        ("<>", &file, 1000),
    ] {
        let redirection = format!("{operator}{}", path.display());
        with_stdin(t, &redirection);
        let found = path.metadata().expect("the file").uid();
        assert_eq!(found, owner, "{redirection}");
    }
}

/// A node of /dev/tty shows the terminal of whoever opens it.
fn terminal_belongs_to_the_user_but_not_its_other_names(t: &Sandbox) {
    let tty = t.path("tty");
    node(&tty, 5, 0);
    let OpenptyResult { master, slave } = openpty(None, None).expect("openpty");
    let terminal = slave.try_clone().expect("another descriptor");
    let user = json!({"uid": 1000, "gid": 1000});
    let container = t.bundle().set("/process/user", user).args(&["true"]);
    let script = format!("exec \"$@\" <{}", tty.display());
    let shell = ["setsid", "--ctty", "--wait", "sh", "-c", &script, "sh"];
    let call = t.runtime().arg("run").prefix(shell).terminal(slave);
    let master = Master::new(master);
    container.container().launch(call).finish().ok();
    drop(master);
    let owner = |of: std::io::Result<Metadata>| of.expect("the file").uid();
    let terminals = owner(File::from(terminal).metadata());
    assert_eq!((terminals, owner(tty.metadata())), (1000, 0));
}

fn null_streams_are_reopened(t: &Sandbox) {
    let script =
        "stat -L -c '%t:%T' /proc/1/fd/0; stat -L -c %d /proc/1/fd/0; stat -c %d /dev/null";
    let container = t.bundle().shell(script).container();
    let prefix = ["sh", "-c", "exec </dev/null; exec \"$@\"", "sh"];
    let call = t.runtime().arg("run").prefix(prefix);
    let output = container.launch(call).finish().ok();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], "1:3", "{output}");
    assert_eq!(
        lines[1], lines[2],
        "the stream is the host's node: {output}"
    );
}

fn null_of_the_host_keeps_its_owner(t: &Sandbox) {
    let before = std::fs::metadata("/dev/null").expect("/dev/null");
    let user = json!({"uid": 1000, "gid": 1000});
    let container = t.bundle().set("/process/user", user).container();
    let prefix = [
        "sh",
        "-c",
        "exec </dev/null >/dev/null 2>&1; exec \"$@\"",
        "sh",
    ];
    let call = t.runtime().arg("run").prefix(prefix);
    container.launch(call).finish().ok();
    let after = std::fs::metadata("/dev/null").expect("/dev/null");
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

fn closed_streams_are_harmless(t: &Sandbox) {
    // A file that the runtime opens must not become the container's standard input.
    let script = "readlink /proc/1/fd/0 >&2; exit 0";
    let container = t.bundle().shell(script).container();
    let call = t.runtime().arg("run");
    let call = call.prefix(["sh", "-c", "exec <&- >&-; exec \"$@\"", "sh"]);
    let output = container.launch(call).finish().ok();
    let link = output.stderr.trim();
    assert!(link.is_empty() || link == "/dev/null", "{output}");
}

fn hooks_get_no_preserved_descriptors(t: &Sandbox) {
    let log = t.path("hook.log");
    let script = format!("ls /proc/self/fd >{}", log.display());
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
    let container = t
        .bundle()
        .set("/hooks/createRuntime", json!([hook]))
        .container();
    let call = t.runtime().arg("run").args(["--preserve-fds", "1"]);
    container
        .launch(call.prefix(with_files(&[3, 4], t)))
        .finish()
        .ok();
    let text = std::fs::read_to_string(log).expect("the hook ran");
    // `ls` has the directory open, one more than the three streams.
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

fn nothing_of_the_runtime_is_open_in_created_state(t: &Sandbox) {
    // While init waits, the only directory that it may hold is the container's root.
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let rootfs = container.bundle.join("rootfs").metadata().expect("rootfs");
    let directory = format!("/proc/{}/fd", container.pid());
    for entry in std::fs::read_dir(directory).expect("descriptors") {
        let path = entry.expect("an entry").path();
        let link = std::fs::read_link(&path).unwrap_or_default();
        let Ok(file) = path.metadata() else { continue };
        let hosts = file.is_dir() && file.dev() == rootfs.dev() && file.ino() != rootfs.ino();
        assert!(!hosts, "{} is {}", path.display(), link.display());
    }
}
