//! The switch to the container's root: what it hides of the host with `--no-pivot`, which keeps the
//! host's mounts in the container's mount namespace, and for a caller in a chroot(2).

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::json;

use super::cve_process::in_user_namespace;
use crate::{Bundle, Call, Container, Need, Output, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    no_pivot_runs,
    no_pivot_hides_the_host[Need::NotAPeer],
    procfs_of_a_chroot_is_hidden,
    sysfs_of_a_chroot_is_hidden,
    procfs_is_hidden_in_a_user_namespace[Need::NotAPeer],
    procfs_that_cannot_be_reached_is_refused[Need::NotAPeer],
    procfs_outside_of_the_callers_chroot_is_hidden[Need::NotAPeer],
    no_way_out_through_the_callers_chroot[Need::NotAPeer],
    exec_begins_inside_though_the_creator_was_in_a_chroot[Need::NotAPeer],
    shared_mounts_of_the_host_stay[Need::NotAPeer],
];

fn no_pivot_runs(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/mark", "here")
        .shell("cat /mark; ls -d /../mark");
    bundle
        .container()
        .run_with(&["--no-pivot"])
        .ok()
        .prints("here/../mark");
}

/// The kernel lets a process mount a new procfs without masks if its mount namespace contains a
/// procfs without masks, even if that is not reachable.
const MOUNT_PROC: &str = "unshare -mrpf sh -c 'mount -t proc proc /home && ls -d /home/sys'";
/// The same for sysfs. The network namespace gives the right to mount it.
const MOUNT_SYS: &str = "unshare -mrn sh -c 'mount -t sysfs sysfs /home && ls -d /home/kernel'";

/// A container without the right to mount, which creates a user namespace to get it.
fn mounting<'t>(bundle: Bundle<'t>, script: &str) -> Bundle<'t> {
    // Mapping root needs this capability. user_namespaces(7).
    let sets = json!({"bounding": ["CAP_SETFCAP"], "effective": ["CAP_SETFCAP"], "permitted": ["CAP_SETFCAP"]});
    bundle.set("/process/capabilities", sets).shell(script)
}

fn no_pivot(container: &Container) -> Output {
    container.run_with(&["--no-pivot"])
}

fn no_pivot_hides_the_host(t: &Sandbox) {
    let bundle = || mounting(t.bundle(), MOUNT_PROC);
    no_pivot(&bundle().container()).fails_with("permission denied");
    // As a control, the mount works if nothing of proc is masked, so the masks prevent it.
    let bundle = bundle().set("/linux/maskedPaths", json!([]));
    let bundle = bundle.set("/linux/readonlyPaths", json!([]));
    no_pivot(&bundle.container()).ok().prints("/home/sys");
}

/// Mounts a new file system on a directory, which is created.
fn mount_on(directory: &Path, fstype: &str) {
    std::fs::create_dir_all(directory).expect("the mount point");
    let none = None::<&str>;
    mount(
        Some(fstype),
        directory,
        Some(fstype),
        MsFlags::empty(),
        none,
    )
    .expect("mount");
}

fn procfs_of_a_chroot_is_hidden(t: &Sandbox) {
    mount_info::leave_host();
    let directory = t.path("a chroot").join("proc");
    for _ in 0..2 {
        mount_on(&directory, "proc");
    }
    no_pivot(&mounting(t.bundle(), MOUNT_PROC).container()).fails_with("permission denied");
    assert!(directory.join("sys").exists(), "the host's is still there");
}

fn sysfs_of_a_chroot_is_hidden(t: &Sandbox) {
    mount_info::leave_host();
    mount_on(&t.path("chroot/sys"), "sysfs");
    no_pivot(&mounting(t.bundle(), MOUNT_SYS).container()).fails_with("permission denied");
}

fn procfs_is_hidden_in_a_user_namespace(t: &Sandbox) {
    mount_info::leave_host();
    mount_on(&t.path("chroot/proc"), "proc");
    let bundle = in_user_namespace(mounting(t.bundle(), MOUNT_PROC));
    no_pivot(&bundle.container()).fails_with("permission denied");
}

fn procfs_that_cannot_be_reached_is_refused(t: &Sandbox) {
    mount_info::leave_host();
    mount_on(&t.path("chroot/proc"), "proc");
    mount_info::tmpfs(&t.path("chroot"), MsFlags::empty());
    let output = no_pivot(&t.bundle().container());
    output
        .fails_with("hide ")
        .fails_with("leave out --no-pivot");
}

/// The host's files as the root of the runtime's caller, which a chroot(2) separates from the root
/// of the mount namespace.
fn chroot_of_the_host(t: &Sandbox) -> PathBuf {
    mount_info::leave_host();
    let root = t.path("chroot");
    std::fs::create_dir(&root).expect("the root");
    mount_info::bind(Path::new("/"), &root, MsFlags::MS_REC);
    root
}

/// A call of the verb by a caller in that chroot.
fn called_in(t: &Sandbox, chroot: &Path, verb: &[&str]) -> Call {
    t.runtime().args(verb).prefix([Path::new("chroot"), chroot])
}

/// With and without pivot_root(2).
const RUNS: [&[&str]; 2] = [&["run"], &["run", "--no-pivot"]];

fn procfs_outside_of_the_callers_chroot_is_hidden(t: &Sandbox) {
    let chroot = chroot_of_the_host(t);
    for run in RUNS {
        let container = mounting(t.bundle(), MOUNT_PROC).container();
        let output = container.launch(called_in(t, &chroot, run)).finish();
        output.fails_with("permission denied");
    }
}

fn no_way_out_through_the_callers_chroot(t: &Sandbox) {
    let chroot = chroot_of_the_host(t);
    let marker = t.path("marker");
    std::fs::write(&marker, "the host's").expect("the marker");
    let marker = marker.to_str().expect("UTF-8");
    let sets = json!(["CAP_SYS_CHROOT"]);
    let sets = json!({"bounding": sets, "effective": sets, "permitted": sets});
    for run in RUNS {
        let bundle = t.bundle().set("/process/capabilities", sets.clone());
        let container = bundle.probe(&["leave-chroot", marker]).container();
        let output = container.launch(called_in(t, &chroot, run)).finish();
        output.ok().prints("inside");
    }
}

fn exec_begins_inside_though_the_creator_was_in_a_chroot(t: &Sandbox) {
    let chroot = chroot_of_the_host(t);
    let bundle = t.bundle().file("/mark", "inside").args(&["sleep", "1000"]);
    let container = bundle.container();
    let create = container.launch(called_in(t, &chroot, &["create"]));
    create.finish().ok();
    container.start().ok();
    container.exec(&["cat", "/mark"]).ok().prints("inside");
}

fn shared_mounts_of_the_host_stay(t: &Sandbox) {
    mount_info::leave_host();
    mount_on(&t.path("chroot/proc"), "proc");
    mount_info::tmpfs(&t.path("chroot/proc/fs"), MsFlags::empty());
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    for propagation in ["", "private", "slave", "shared", "unbindable"] {
        let bundle = mounting(t.bundle(), MOUNT_PROC);
        // The mount that contains the rootfs becomes private, so it must not be the host's root.
        mount_info::bind(&bundle.path, &bundle.path, MsFlags::empty());
        mount_info::change(&bundle.path, MsFlags::MS_SHARED);
        let before = mount_info::of_process(std::process::id() as i32);
        let bundle = bundle.set("/linux/rootfsPropagation", json!(propagation));
        no_pivot(&bundle.container()).fails_with("permission denied");
        let after = mount_info::of_process(std::process::id() as i32);
        assert_eq!(before, after, "{propagation}: mounts on the host");
    }
}
