//! The words that engines look for in the errors of the runtime, and what they conclude from them.
//! Each row is provoked from the real binary.

use std::fs;

use serde_json::json;

use crate::container::reap;
use crate::{Container, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    errors_have_the_words_of_engines,
    podman_reads_one_object_from_the_log,
    conmon_sees_no_pid_file_of_a_failed_exec,
];

/// What happens, and what an engine looks for then. Docker and Podman ignore upper and lower case.
struct Row {
    situation: &'static str,
    provoke: fn(&Sandbox) -> Output,
    /// The words; who looks for them; the conclusion.
    words: &'static [(&'static str, &'static str)],
}

const NO_CONTAINER: &[(&str, &str)] = &[
    ("does not exist", "containerd: no such container"),
    ("container does not exist", "BuildKit: it has ended"),
];

const NOT_RUNNING: &[(&str, &str)] = &[(
    "container not running",
    "containerd, CRI-O, BuildKit: it has ended",
)];

const ROWS: &[Row] = &[
    Row {
        situation: "the program is not in PATH",
        provoke: |t| create(t, &["no-such-program"]),
        words: &[
            ("executable file not found", "Docker: status 127"),
            ("executable file not found in", "Podman: status 127"),
            ("executable file not found in $PATH", "Podman's tests"),
        ],
    },
    Row {
        situation: "the program's path does not exist",
        provoke: |t| create(t, &["/no/such/program"]),
        words: &[("no such file or directory", "Docker, Podman: status 127")],
    },
    Row {
        situation: "the program is not executable",
        provoke: |t| create(t, &["/etc/passwd"]),
        words: &[("permission denied", "Docker, Podman: status 126")],
    },
    Row {
        situation: "the program is a directory",
        provoke: |t| create(t, &["/etc"]),
        words: &[("is a directory", "Docker: status 126")],
    },
    Row {
        situation: "the program of exec is not in PATH",
        provoke: |t| exec(t, &["no-such-program"]),
        words: &[("executable file not found in", "Docker, Podman: status 127")],
    },
    Row {
        situation: "the path of exec's program does not exist",
        provoke: |t| exec(t, &["/no/such/program"]),
        words: &[("no such file or directory", "Docker, Podman: status 127")],
    },
    Row {
        situation: "the program of exec is not executable",
        provoke: |t| exec(t, &["/etc/passwd"]),
        words: &[("permission denied", "Docker, Podman: status 126")],
    },
    Row {
        situation: "the working directory of exec does not exist",
        provoke: |t| exec_with(t, &["--cwd", "/no/such/directory"], &["true"]),
        words: &[("no such file or directory", "Docker, Podman: status 127")],
    },
    Row {
        situation: "a file is bound on a directory",
        provoke: |t| bind(t, "file", "/etc"),
        words: &[(
            "not a directory",
            "Docker: status 127, and asks about a file and a directory",
        )],
    },
    Row {
        situation: "a directory is bound on a file",
        provoke: |t| bind(t, "directory", "/etc/passwd"),
        words: &[(
            "not a directory",
            "Docker: status 127, and asks about a file and a directory",
        )],
    },
    Row {
        situation: "a file system is mounted on a file",
        provoke: |t| mount(t, json!({"destination": "/etc/passwd", "type": "tmpfs"})),
        words: &[("not a directory", "Docker: as above")],
    },
    Row {
        situation: "the source of a bind does not exist",
        provoke: |t| bind(t, "nothing", "/mnt"),
        words: &[("no such file or directory", "Docker, Podman: status 127")],
    },
    Row {
        situation: "kill of a stopped container",
        provoke: |t| stopped(t, |container| container.kill("TERM")),
        words: NOT_RUNNING,
    },
    Row {
        situation: "exec in a stopped container",
        provoke: |t| stopped(t, |container| container.exec(&["true"])),
        words: &[(
            "cannot exec in a stopped container",
            "scripts, as from runc",
        )],
    },
    Row {
        situation: "start of a stopped container",
        provoke: |t| stopped(t, Container::start),
        words: &[(
            "cannot start a container that has stopped",
            "Podman's tests: the container has ended",
        )],
    },
    Row {
        situation: "pause of a stopped container",
        provoke: |t| stopped(t, |container| container.verb("pause")),
        words: NOT_RUNNING,
    },
    Row {
        situation: "start of a running container",
        provoke: |t| running(t, Container::start),
        words: &[(
            "cannot start an already running container",
            "scripts, as from runc",
        )],
    },
    Row {
        situation: "resume of a running container",
        provoke: |t| running(t, |container| container.verb("resume")),
        words: &[("container not paused", "scripts, as from runc")],
    },
    Row {
        situation: "exec in a paused container",
        provoke: |t| {
            running(t, |container| {
                container.verb("pause").ok();
                container.exec(&["true"])
            })
        },
        words: &[("cannot exec in a paused container", "scripts, as from runc")],
    },
    Row {
        situation: "delete of a running container",
        provoke: |t| running(t, Container::delete),
        words: &[("that is not stopped: running", "scripts, as from runc")],
    },
    Row {
        situation: "an id that exists",
        provoke: |t| {
            running(t, |container| {
                let again = t.runtime().arg("create").arg("--bundle");
                again.arg(&container.bundle).arg(&container.id).run()
            })
        },
        words: &[(
            "container with given ID already exists",
            "scripts, as from runc",
        )],
    },
    Row {
        situation: "an id that is not valid",
        provoke: |t| t.runtime().args(["state", "a/b"]).run(),
        words: &[("invalid container ID format", "scripts, as from runc")],
    },
    Row {
        situation: "state of an unknown container",
        provoke: |t| unknown(t, &["state"]),
        words: NO_CONTAINER,
    },
    Row {
        situation: "kill of an unknown container",
        provoke: |t| unknown(t, &["kill"]),
        words: NO_CONTAINER,
    },
    Row {
        situation: "delete of an unknown container",
        provoke: |t| unknown(t, &["delete"]),
        words: NO_CONTAINER,
    },
    Row {
        situation: "a flag of the last place without its value",
        provoke: |t| t.runtime().args(["create", "--pid-file"]).run(),
        words: &[(
            "flag needs an argument",
            "Podman: the flag is known, asked with checkpoint's flags",
        )],
    },
];

fn errors_have_the_words_of_engines(t: &Sandbox) {
    for row in ROWS {
        let output = (row.provoke)(t).fails();
        for (words, engine) in row.words {
            assert!(
                output.stderr.contains(words),
                "{}: no {words:?}, which is for {engine}\n{output}",
                row.situation
            );
        }
    }
}

fn create(t: &Sandbox, args: &[&str]) -> Output {
    let bundle = t.bundle().file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    bundle.args(args).container().create()
}

fn exec(t: &Sandbox, args: &[&str]) -> Output {
    exec_with(t, &[], args)
}

fn exec_with(t: &Sandbox, flags: &[&str], args: &[&str]) -> Output {
    let bundle = t.bundle().file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let output = container.exec_with(flags, args);
    container.delete_force().ok();
    output
}

fn mount(t: &Sandbox, mount: serde_json::Value) -> Output {
    let bundle = t.bundle().file("/etc/passwd", "");
    bundle.mount(mount).container().create()
}

fn bind(t: &Sandbox, source: &str, destination: &str) -> Output {
    let source = t.path(source);
    if source.ends_with("file") {
        fs::write(&source, "").expect("the source");
    } else if source.ends_with("directory") {
        fs::create_dir(&source).expect("the source");
    }
    mount(
        t,
        json!({"destination": destination, "source": source, "options": ["bind"]}),
    )
}

fn running<'t>(t: &'t Sandbox, verb: impl FnOnce(&Container<'t>) -> Output) -> Output {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    verb(&container)
}

fn stopped<'t>(t: &'t Sandbox, verb: impl FnOnce(&Container<'t>) -> Output) -> Output {
    let container = t.bundle().args(&["true"]).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    verb(&container)
}

fn unknown(t: &Sandbox, verb: &[&str]) -> Output {
    t.runtime().args(verb).arg("no-such-container").run()
}

/// Podman parses the whole log as one JSON object, and otherwise has no error to classify.
fn podman_reads_one_object_from_the_log(t: &Sandbox) {
    let log = t.path("log");
    let container = t.bundle().args(&["no-such-program"]).container();
    let call = t.runtime().arg("--log").arg(&log);
    let call = call.args(["--log-format", "json", "create"]);
    container.launch(call).finish().fails();
    let text = fs::read_to_string(&log).expect("the log");
    let object: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(object["level"], "error");
    let message = object["msg"].as_str().expect("a message");
    assert!(message.contains("executable file not found in $PATH"));
}

fn conmon_sees_no_pid_file_of_a_failed_exec(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let file = t.path("pid");
    let flags = ["--detach", "--pid-file", &file.to_string_lossy()].map(str::to_owned);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    container.exec_with(&flags, &["no-such-program"]).fails();
    assert!(!file.exists());
}
