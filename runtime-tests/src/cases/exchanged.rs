//! Another process, such as a container with the same volume, exchanges directories of the rootfs
//! while the container is created.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::call::Running;
use crate::{Bundle, Need, Sandbox, Test, mount_info, strace, tests};

pub const TESTS: &[Test] = tests![
    procfs_that_is_elsewhere_fails_the_create,
    sysfs_that_is_elsewhere_fails_the_create[Need::NotAPeer],
    sysfs_that_a_link_covers_fails_the_create[Need::NotAPeer],
    masks_and_read_only_paths_follow_their_file_system[Need::NotAPeer, Need::Program("strace")],
    copied_up_file_that_becomes_a_pipe_or_a_device[Need::NotAPeer, Need::Program("strace")],
    another_node_at_dev_null_is_not_opened[Need::NotAPeer, Need::Program("strace")],
    pipe_at_the_path_of_a_namespace[Need::NotAPeer],
    read_only_flag_follows_its_mount,
    remount_follows_its_mount[Need::NotAPeer, Need::Program("strace")],
    link_at_a_new_mount_point_changes_no_mode[Need::NotAPeer, Need::Program("strace")],
];

/// A hook that runs between the mounts of the config and the masks.
fn between<'t>(bundle: Bundle<'t>, script: &str) -> Bundle<'t> {
    let script = format!("cd {} && {script}", bundle.rootfs().display());
    let hook: Value = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    bundle.set("/hooks/createRuntime", hook)
}

fn procfs_that_is_elsewhere_fails_the_create(t: &Sandbox) {
    is_elsewhere(t, "proc");
}

fn sysfs_that_is_elsewhere_fails_the_create(t: &Sandbox) {
    is_elsewhere(t, "sys");
}

fn is_elsewhere(t: &Sandbox, name: &str) {
    for instead in ["mkdir NAME", "ln -s elsewhere NAME", "true"] {
        let script = format!("mv NAME elsewhere && {instead}").replace("NAME", name);
        let container = between(t.bundle(), &script).container();
        container.create().fails_with(&format!("/{name}"));
    }
}

/// The path of another mount, of a mask or of a read-only path leads to /sys.
fn sysfs_that_a_link_covers_fails_the_create(t: &Sandbox) {
    let linked = || {
        let bundle = t.bundle();
        std::os::unix::fs::symlink("sys", bundle.rootfs().join("linked")).expect("link");
        bundle
    };
    let tmpfs = json!({"destination": "/linked", "type": "tmpfs", "source": "tmpfs"});
    for bundle in [
        linked().mount(tmpfs),
        linked().push("/linux/maskedPaths", json!("/linked")),
    ] {
        let container = bundle.container();
        let failed = container.create().fails_with("the sysfs on /sys");
        failed.fails_with("a link of the rootfs");
        container.verb("state").fails_with("does not exist");
    }
}

/// A volume with two directories, each with a mount on it: `one`, a tmpfs, and `other`.
fn two_mounts<'t>(t: &'t Sandbox, options: &[&str]) -> Bundle<'t> {
    let (volume, other) = (t.path("volume"), t.path("other"));
    for path in [volume.join("one"), volume.join("other"), other.clone()] {
        fs::create_dir_all(path).expect("volume");
    }
    let bind = |source: &Path, destination: &str| {
        json!({"destination": destination,
        "type": "bind", "source": source, "options": ["bind"]})
    };
    let bundle = t.bundle().mount(bind(&volume, "/vol"));
    let script = "for name in one kept other; do
        (: >/vol/$name/made) 2>/dev/null && echo $name; done; true";
    bundle
        .mount(bind(&other, "/vol/other"))
        .mount(
            json!({"destination": "/vol/one", "type": "tmpfs", "source": "tmpfs",
            "options": options}),
        )
        .shell(script)
}

fn read_only_flag_follows_its_mount(t: &Sandbox) {
    let output = two_mounts(t, &["ro"]).container().run().ok();
    output.prints("other");
    let away = format!(
        "cd {} && mv one kept && ln -s other one",
        t.path("volume").display()
    );
    let output = between(two_mounts(t, &["ro"]), &away).container().run();
    output.ok().prints("one\nother");
}

fn remount_follows_its_mount(t: &Sandbox) {
    let volume = t.path("volume");
    let mut bundle = two_mounts(t, &[]).mount(json!({"destination": "/vol/one",
        "type": "none", "source": "none", "options": ["remount", "bind", "ro"]}));
    // They come first, so that the first call of mount(2) is for the tmpfs.
    bundle.config["mounts"]
        .as_array_mut()
        .expect("mounts")
        .rotate_right(4);
    let call = t.runtime().arg("run").stopping("mount", None);
    let run = bundle.container().launch(call);
    let init = t.stopped();
    fs::rename(volume.join("one"), volume.join("kept")).expect("rename");
    std::os::unix::fs::symlink("other", volume.join("one")).expect("link");
    kill(init, Signal::SIGCONT).expect("init goes on");
    run.finish().ok().prints("one\nother");
}

/// A tmpfs makes its directory in a volume. Init is stopped after it has made it, and another
/// process puts a link to a different volume there.
fn link_at_a_new_mount_point_changes_no_mode(t: &Sandbox) {
    let (volume, other) = (t.path("volume"), t.path("other"));
    for path in [&volume, &other] {
        fs::create_dir(path).expect("volume");
    }
    fs::set_permissions(&other, Permissions::from_mode(0o700)).expect("mode");
    let bind = |source: &Path, destination: &str| {
        json!({"destination": destination,
        "type": "bind", "source": source, "options": ["bind"]})
    };
    let bundle = t.bundle().mount(bind(&volume, "/vol"));
    let bundle = bundle
        .mount(bind(&other, "/other"))
        .mount(json!({"destination": "/vol/made-here", "type": "tmpfs", "source": "tmpfs"}));
    let call = t.runtime().arg("run");
    let call = call.stopping("mkdirat", Some("made-here"));
    let run = bundle.args(&["true"]).container().launch(call);
    let init = t.stopped();
    let made = volume.join("made-here");
    let mode = fs::metadata(&made).expect("made").mode() & 0o7777;
    fs::remove_dir(&made).expect("the empty directory");
    std::os::unix::fs::symlink("/other", &made).expect("link");
    kill(init, Signal::SIGCONT).expect("init goes on");
    run.finish().fails_with("/vol/made-here");
    let others = fs::metadata(&other).expect("other").mode() & 0o7777;
    assert_eq!((mode, others), (0o1777, 0o700));
}

/// Init, below strace(1) and the runtime, stopped after it has switched to the container's root,
/// until it gets SIGCONT.
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
    // The masks exist by then, and everything is checked once more afterwards.
    let stop = "inject=pivot_root:signal=SIGSTOP";
    let strace = strace(&["-f", "-e", "trace=pivot_root", "-e", stop]);
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

/// `tmpcopyup` copies the file that it has inspected. The runtime is stopped while it holds the
/// file, and the name refers to another file when it continues.
fn copied_up_file_that_becomes_a_pipe_or_a_device(t: &Sandbox) {
    let tmpfs = json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "size=64k"]});
    for (kind, device) in [(SFlag::S_IFIFO, 0), (SFlag::S_IFCHR, makedev(1, 5))] {
        let name = "looked-at";
        let bundle = t.bundle().file(&format!("/m/{name}"), "text");
        let bundle = bundle.mount(tmpfs.clone());
        let bundle = bundle.shell(&format!("cat /m/{name}; stat -c %F /m/{name}"));
        let file = bundle.rootfs().join("m").join(name);
        let call = t.runtime().arg("run").stopping("openat", Some(name));
        let run = bundle.container().launch(call);
        let process = t.stopped();
        fs::remove_file(&file).expect("remove");
        mknod(&file, kind, Mode::from_bits_truncate(0o600), device).expect("mknod");
        kill(process, Signal::SIGCONT).expect("it goes on");
        run.finish().ok().prints("textregular file");
    }
}

/// The image's /dev/null is another device, or a pipe. Neither is opened: the device might act, and
/// the pipe would block.
fn another_node_at_dev_null_is_not_opened(t: &Sandbox) {
    for node in ["p", "c 1 5"] {
        let trace = t.path("trace");
        let bundle = t
            .bundle()
            .patch(|config| {
                let mounts = config["mounts"].as_array_mut().expect("mounts");
                mounts.retain(|mount| {
                    mount["destination"]
                        .as_str()
                        .is_some_and(|at| at == "/proc")
                });
                config["linux"]["devices"] = json!([]);
            })
            .shell("echo through");
        let null = bundle.rootfs().join("dev/null");
        let script = format!("rm {0} && mknod {0} {node}", null.display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]}]);
        let bundle = bundle.set("/hooks/createRuntime", hook);
        let file = trace.to_str().expect("UTF-8");
        let prefix = strace(&["-f", "-o", file, "-e", "trace=openat2"]);
        let streams = ["sh", "-c", "exec \"$@\" </dev/null", "sh"].map(OsStr::new);
        let call = t.runtime().arg("run").prefix(prefix).prefix(streams);
        bundle
            .container()
            .launch(call)
            .finish()
            .ok()
            .prints("through");
        let text = fs::read_to_string(&trace).expect("the trace");
        let opens = text.lines().filter(|line| line.contains("\"/dev/null\""));
        let opens: Vec<_> = opens.collect();
        assert!(!opens.is_empty(), "{text}");
        assert!(
            opens.iter().all(|line| line.contains("O_PATH")),
            "{opens:?}"
        );
    }
}

/// A FIFO without a writer.
fn pipe_at_the_path_of_a_namespace(t: &Sandbox) {
    let fifo = t.path("fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    let bundle = t.bundle().without_namespace("ipc");
    let bundle = bundle.push("/linux/namespaces", json!({"type": "ipc", "path": fifo}));
    let container = bundle.container();
    container.create().fails_with("not a namespace file");
    let restore = t.runtime().args(["restore", "--detach", "--image-path"]);
    let restore = restore.arg(&container.bundle).arg("--bundle");
    let restore = restore.arg(&container.bundle).arg(&container.id).run();
    restore.fails_with("not a namespace file");
    container.verb("state").fails_with("does not exist");
}
