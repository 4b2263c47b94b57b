//! The directories of the rootfs are exchanged while the container is made, as by another container
//! that has the same files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::call::Running;
use crate::{Bundle, Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    procfs_that_is_elsewhere_fails_the_create,
    masks_and_read_only_paths_follow_their_file_system[Need::NotAPeer, Need::Program("strace")],
];

/// A hook that runs after the mounts of the config and before the masks.
fn between<'t>(bundle: Bundle<'t>, script: &str) -> Bundle<'t> {
    let script = format!("cd {} && {script}", bundle.rootfs().display());
    let hook: Value = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    bundle.set("/hooks/createRuntime", hook)
}

fn procfs_that_is_elsewhere_fails_the_create(t: &Sandbox) {
    for script in [
        "mv proc elsewhere && mkdir proc",
        "mv proc elsewhere && ln -s elsewhere proc",
        "mv proc elsewhere",
    ] {
        let container = between(t.bundle(), script).container();
        container.create().fails_with("/proc");
    }
}

/// Init below strace(1) and the runtime, from when its root is the container's. It goes no further
/// before it gets SIGCONT.
fn stopped_init(t: &Sandbox, running: &Running, rootfs: &Path) -> Pid {
    let child = |pid: i32| -> Option<i32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().last()?.parse().ok()
    };
    let init = || child(child(running.pid())?);
    let inode = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let own = inode(rootfs);
    t.eventually("init is in its root", || {
        let root = init().and_then(|pid| inode(format!("/proc/{pid}/root").as_ref()));
        root == own
    });
    Pid::from_raw(init().expect("init"))
}

fn exchange(rootfs: &Path, from: &str, to: &str) {
    fs::rename(rootfs.join(from), rootfs.join(to)).expect("rename");
}

fn masks_and_read_only_paths_follow_their_file_system(t: &Sandbox) {
    let script = "mv proc proc2 && mv sys sys2 && mkdir proc sys";
    let bundle = between(t.bundle(), script)
        .set(
            "/linux/maskedPaths",
            json!(["/proc/version", "/sys/kernel"]),
        )
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .shell("cat /proc/version; ls /sys/kernel; cat /proc/self/mountinfo");
    let rootfs = bundle.rootfs();
    // The masks are made by then, and all is looked at once more afterwards.
    let stop = "inject=pivot_root:signal=SIGSTOP";
    let strace = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=pivot_root",
        "-e",
        stop,
    ];
    let run = bundle
        .container()
        .launch(t.runtime().arg("run").prefix(strace));
    let init = stopped_init(t, &run, &rootfs);
    for name in ["proc", "sys"] {
        fs::remove_dir(rootfs.join(name)).expect("the empty directory");
        exchange(&rootfs, &format!("{name}2"), name);
    }
    kill(init, Signal::SIGCONT).expect("init goes on");
    let output = run.finish().ok();
    assert!(
        mount_info::at(&output.stdout, "/proc/sys").has(&["ro"]),
        "{output}"
    );
    assert!(!output.stdout.contains("Linux version"), "{output}");
    assert!(!output.stdout.contains("mm\n"), "{output}");
}
