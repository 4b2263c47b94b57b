//! `checkpoint` and `restore` of containers with other namespaces, cgroups and restrictions.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount, umount2};
use serde_json::json;

use super::criu::{
    CRIU, MOMENT, bind, checkpoint, count, counter, directory, images, launch, restore,
    save_and_restore, wait_count,
};
use super::userns_fs::mapped;
use crate::{Container, Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    joined_namespaces_are_joined_again[CRIU],
    namespaces_that_cannot_be_joined_again_are_refused[Need::NotAPeer],
    user_namespace_and_mapped_mounts_continue[CRIU],
    seccomp_filter_is_in_force_again[CRIU],
    systemd_scope_comes_back[CRIU, Need::Systemd],
    cgroups_of_the_container_are_made_by_mode[CRIU],
    options_of_cgroup2_survive_two_checkpoints[CRIU, Need::UnifiedCgroups],
];

fn namespace(pid: i32, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.display().to_string()
}

fn saved_and_restored(t: &Sandbox, container: &Container, flags: &[&str]) {
    launch(t, container);
    wait_count(t, container, 2);
    save_and_restore(t, container, flags, flags);
}

fn joined_namespaces_are_joined_again(t: &Sandbox) {
    let holder = t.bundle().args(&["sleep", "1000"]).container();
    launch(t, &holder);
    let pid = holder.pid();
    let kinds = [("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let bundle = t.bundle().remove("/hostname").probe(&["saved", "tcp"]);
    let bundle = kinds.iter().fold(bundle, |bundle, (kind, file)| {
        let path = format!("/proc/{pid}/ns/{file}");
        let bundle = bundle.without_namespace(kind);
        bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
    });
    let container = bundle.container();
    saved_and_restored(t, &container, &["--tcp-established"]);
    for (_, file) in kinds {
        assert_eq!(
            namespace(container.pid(), file),
            namespace(pid, file),
            "{file}"
        );
    }
    container.stop();
    container.delete().ok();
    holder.stop();
    holder.delete().ok();
}

fn namespaces_that_cannot_be_joined_again_are_refused(t: &Sandbox) {
    let holder = mapped(t.bundle()).args(&["sleep", "1000"]).container();
    launch(t, &holder);
    let path = format!("/proc/{}/ns/user", holder.pid());
    let bundle = mapped(t.bundle()).args(&["sleep", "1000"]).patch(|config| {
        let namespaces = config["linux"]["namespaces"]
            .as_array_mut()
            .expect("namespaces");
        let user = namespaces.iter_mut().find(|it| it["type"] == "user");
        user.expect("a user namespace")["path"] = json!(path);
    });
    let container = bundle.container();
    launch(t, &container);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    let words = "path: CRIU cannot join a user namespace again (give the container its own";
    assert!(text.contains(words), "{text}");
    assert_eq!(container.status(), "running");
}

fn user_namespace_and_mapped_mounts_continue(t: &Sandbox) {
    let source = directory(t, "source");
    fs::write(source.join("file"), "x").expect("file");
    let container = mapped(t.bundle())
        .mount(bind(&source, "/volume", &["bind", "idmap"]))
        .shell(&counter())
        .container();
    saved_and_restored(t, &container, &[]);
    let map = fs::read_to_string(format!("/proc/{}/uid_map", container.pid())).expect("map");
    assert_eq!(map.split_whitespace().nth(1), Some("100000"), "{map}");
    let owner = container.exec(&["stat", "-c", "%u", "/volume/file"]).ok();
    owner.prints("0");
    container.stop();
    container.delete().ok();
}

fn seccomp_filter_is_in_force_again(t: &Sandbox) {
    // Without a child, see `MOMENT`: all commands are the shell's own.
    let script = format!(
        "i=0; while ! kill -0 $$ 2>/error && read -r text </error && test \"${{text%not supported}}\" != \"$text\"; do
        echo $i >/count; i=$((i+1)); {MOMENT}; done"
    );
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EOPNOTSUPP}]});
    let bundle = t.bundle().shell(&script);
    let container = bundle.set("/linux/seccomp", filter).container();
    saved_and_restored(t, &container, &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("status");
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
    container.stop();
    container.delete().ok();
}

fn systemd_scope_comes_back(t: &Sandbox) {
    let path = format!("test-a.slice:sampantest:{}", t.id);
    let bundle = t.bundle().set("/linux/cgroupsPath", json!(path));
    let container = bundle.shell(&counter()).container();
    let silent = "exec \"$@\" </dev/null >/dev/null 2>&1";
    let call = t.runtime().args(["--systemd-cgroup", "run", "--detach"]);
    container
        .launch(call.prefix(["sh", "-c", silent, "sh"]))
        .finish()
        .ok();
    wait_count(t, &container, 2);
    let before = container.cgroup();
    checkpoint(t, &container, &[]);
    let saved = count(&container);
    let call = t
        .runtime()
        .args(["--systemd-cgroup", "restore", "--detach"]);
    let call = call.arg("--image-path").arg(t.path("images"));
    container.launch(call).finish().ok();
    wait_count(t, &container, saved + 2);
    assert_eq!(container.cgroup(), before);
    let unit = format!("sampantest-{}.scope", t.id);
    let active = t.call("systemctl").args(["is-active", &unit]).run();
    active.ok().prints("active");
    container.stop();
    container.delete().ok();
}

fn cgroups_of_the_container_are_made_by_mode(t: &Sandbox) {
    let script = format!(
        "mkdir /sys/fs/cgroup/inner && echo $$ >/sys/fs/cgroup/inner/cgroup.procs; {}",
        counter()
    );
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"});
    let container = t.bundle().mount(cgroup).shell(&script).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    assert!(container.cgroup().ends_with("inner"));
    let made = container.cgroup().parent().expect("a parent").to_owned();
    let modes = [
        ("soft", true),
        ("full", true),
        ("strict", true),
        ("ignore", false),
    ];
    for (mode, inner) in modes {
        let flags = ["--manage-cgroups-mode", mode];
        save_and_restore(t, &container, &flags, &flags);
        assert_eq!(container.cgroup().ends_with("inner"), inner, "{mode}");
        if inner {
            fs::remove_dir_all(images(t)).expect("remove the images");
        }
    }
    container.stop();
    container.delete().ok();
    fs::create_dir(&made).expect("the cgroup");
    let text = restore(t, &container, &["--manage-cgroups-mode", "strict"]);
    let text = text.fails().stderr;
    assert!(text.contains("the cgroup exists already"), "{text}");
    fs::remove_dir(&made).expect("remove the cgroup");
}

/// CRIU resets the options of cgroup2, which apply to the whole host. Another runtime has recorded
/// them, its CRIU has reset them, and it still has its lock.
fn options_of_cgroup2_survive_two_checkpoints(t: &Sandbox) {
    const CGROUPS: &str = "/sys/fs/cgroup";
    let root = File::open(CGROUPS).expect("the root of the hierarchy");
    // No CRIU of another case runs then.
    let root = Flock::lock(root, FlockArg::LockExclusive).expect("flock");
    let before = cgroup2_options(CGROUPS);
    if before == "rw" {
        t.skip("the host sets no options for cgroup2");
    }
    set_record(&root, before.trim_start_matches("rw,"));
    let reset = t.path("reset");
    fs::create_dir(&reset).expect("a directory");
    let none = None::<&str>;
    mount(none, &reset, Some("cgroup2"), MsFlags::empty(), none).expect("cgroup2");
    umount2(&reset, nix::mount::MntFlags::empty()).expect("umount");
    assert_eq!(cgroup2_options(CGROUPS), "rw");
    root.relock(FlockArg::LockShared).expect("flock");
    let container = t.bundle().shell(&counter()).container();
    saved_and_restored(t, &container, &[]);
    t.eventually("the options are those of before", || {
        cgroup2_options(CGROUPS) == before
    });
    drop(root);
    container.stop();
    container.delete().ok();
}

/// The options of the file system on `point`.
fn cgroup2_options(point: &str) -> String {
    let table = mount_info::of_process(std::process::id() as i32);
    let options = mount_info::at(&table, point).fs_options.join(",");
    options.replace(",seclabel", "")
}

fn set_record(root: &File, options: &str) {
    let name = c"trusted.sampan.options";
    // SAFETY: the name is NUL-terminated, and the value is readable for the given length.
    let done = unsafe {
        let value = options.as_ptr().cast();
        libc::fsetxattr(root.as_raw_fd(), name.as_ptr(), value, options.len(), 0)
    };
    assert_eq!(done, 0, "fsetxattr: {}", std::io::Error::last_os_error());
}
