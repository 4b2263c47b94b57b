//! Published attacks on runtimes, replayed: attacks on changes of a mount after it was made. See
//! `cve_paths`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use super::cve_paths::{Host, RACES, bind, link, volume_to_swap, while_swapping, without_mount};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2020_2024_delete_unmounts_nothing_through_a_link[Need::NotAPeer],
    cve_2026_115521_descriptors_of_the_image_divert_no_flag,
    cve_2026_133553_nothing_is_copied_up_through_a_link,
];

/// What were mount points of the container become links to a mount of the host. Without a mount
/// namespace, the container's own mounts are on the host, and `delete` removes them.
fn cve_2020_2024_delete_unmounts_nothing_through_a_link(t: &Sandbox) {
    let none = None::<&str>;
    let of_host = t.path("of-the-host");
    for directory in [of_host.clone(), of_host.join("below")] {
        fs::create_dir(&directory).expect("directory");
        mount(none, &directory, Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs");
    }
    let is_mounted = |path: &Path| {
        let text = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let path = path.to_str().expect("UTF-8");
        text.lines()
            .any(|line| line.split(' ').nth(4) == Some(path))
    };
    let tmpfs = json!({"destination": "/vol/m", "type": "tmpfs", "source": "tmpfs"});
    let with_namespace = || t.bundle().args(&["sleep", "1000"]).mount(tmpfs.clone());
    let without = || {
        let bundle = with_namespace().without_namespace("mount");
        let bundle = bundle.set("/mounts", json!([tmpfs]));
        let bundle = bundle.set("/linux/maskedPaths", json!([]));
        bundle.set("/linux/readonlyPaths", json!([]))
    };
    let host_keeps_its_mounts = || {
        for path in [of_host.clone(), of_host.join("below")] {
            assert!(is_mounted(&path), "{} is unmounted", path.display());
        }
    };
    for (bundle, on_the_host) in [(with_namespace(), false), (without(), true)] {
        let rootfs = bundle.rootfs();
        let container = bundle.container();
        container.launch_ok();
        assert_eq!(is_mounted(&rootfs.join("vol/m")), on_the_host);
        container.stop();
        // A mount moves with the directory above it.
        fs::rename(rootfs.join("vol"), rootfs.join("moved")).expect("rename");
        fs::create_dir(rootfs.join("vol")).expect("directory");
        symlink(&of_host, rootfs.join("vol/m")).expect("link");
        container.delete().ok();
        assert!(
            !is_mounted(&rootfs.join("moved/m")),
            "the container's mount"
        );
        host_keeps_its_mounts();
    }
    // The rootfs itself becomes a link. Its mount has moved, and stays.
    let container = without().container();
    container.launch_ok();
    container.stop();
    let moved = t.path("moved");
    fs::rename(&container.bundle, &moved).expect("rename");
    fs::create_dir(&container.bundle).expect("directory");
    symlink(&of_host, container.bundle.join("rootfs")).expect("link");
    container.delete().ok();
    host_keeps_its_mounts();
    umount2(&moved.join("rootfs"), MntFlags::MNT_DETACH).expect("umount");
    umount2(&of_host, MntFlags::MNT_DETACH).expect("umount");
}

fn cve_2026_115521_descriptors_of_the_image_divert_no_flag(t: &Sandbox) {
    let tmpfs = |destination: &str, options: &[&str]| {
        json!({"destination": destination,
        "type": "tmpfs", "source": "tmpfs", "options": options})
    };
    let mut bundle = without_mount(t.bundle(), "/proc")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/root/readonly", json!(true))
        .mount(tmpfs("/decoy", &[]))
        .mount(tmpfs("/ro", &["ro"]));
    for directory in ["self", "thread-self", "1"] {
        for number in 0..64 {
            bundle = link(bundle, &format!("/proc/{directory}/fd/{number}"), "/decoy");
        }
    }
    let script = "for path in / /ro /decoy; do
        (: >$path/made) 2>/dev/null && echo $path; done; true";
    // Only the decoy may be writable.
    let output = bundle.shell(script).container().run();
    output.ok().prints("/decoy");
}

fn cve_2026_133553_nothing_is_copied_up_through_a_link(t: &Sandbox) {
    let host = Host::new(t);
    let (volume, directory, link) = volume_to_swap(t, &host);
    fs::write(directory.join("copied"), "of the image").expect("file");
    let copied = json!({"destination": "/vol/swap", "type": "tmpfs", "source": "canary",
        "options": ["tmpcopyup"]});
    let bundle = t.bundle().mount(bind(&volume, "/vol")).mount(copied);
    let container = bundle
        .args(&["grep", "-c", " canary ", "/proc/self/mountinfo"])
        .container();
    while_swapping(&directory, &link, || {
        for _ in 0..RACES {
            let output = container.sibling().run();
            if !output.status.success() {
                output.fails();
            }
        }
    });
    host.is_unchanged();
    container.sibling().run().ok().prints("1");
}
