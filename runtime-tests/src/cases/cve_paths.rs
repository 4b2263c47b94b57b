//! Published attacks on runtimes, replayed: attacks that lead a path of the config out of the
//! container, by links, by races and by the content of the image. The others are in `cve_devices`
//! and `cve_process`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2019_16884_no_mount_over_proc,
    cve_2019_16884_no_mount_over_proc_through_a_link,
    cve_2019_18837_proc_as_a_link_to_the_host,
    cve_2019_19921_proc_as_a_link_in_the_image,
    cve_2023_27561_proc_as_a_link_into_a_volume,
    cve_2023_28642_sys_as_a_link,
    cve_2021_30465_mount_target_swapped_for_a_link,
    cve_2024_45310_nothing_is_made_through_links_of_a_volume,
    cve_2024_45310_nothing_is_made_while_links_are_swapped,
    cve_2025_24965_file_is_not_made_through_a_link,
];

/// A directory of the host that must not change.
pub(super) struct Host {
    pub(super) path: PathBuf,
    before: Vec<String>,
}

impl Host {
    pub(super) fn new(t: &Sandbox) -> Self {
        let path = t.path("of-the-host");
        fs::create_dir_all(path.join("pts")).expect("a directory");
        for name in ["file", "null", "ptmx", "console", "zero"] {
            fs::write(path.join(name), "the host's\n").expect("a file");
        }
        let before = listing(&path);
        Self { path, before }
    }

    #[track_caller]
    pub(super) fn is_unchanged(&self) {
        assert_eq!(
            listing(&self.path),
            self.before,
            "{} has changed",
            self.path.display()
        );
    }
}

/// Names, types, modes and contents below a directory.
fn listing(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).expect("read directory").flatten() {
        let data = entry.metadata().expect("lstat");
        let content = if data.is_file() {
            fs::read(entry.path()).unwrap_or_default()
        } else {
            vec![]
        };
        let mode = std::os::unix::fs::PermissionsExt::mode(&data.permissions());
        lines.push(format!("{} {mode:o} {content:?}", entry.path().display()));
        if data.is_dir() {
            lines.extend(listing(&entry.path()));
        }
    }
    lines.sort();
    lines
}

/// Replaces a path of the root filesystem by a link.
pub(super) fn link<'t>(bundle: Bundle<'t>, path: &str, target: impl AsRef<Path>) -> Bundle<'t> {
    let file = bundle.rootfs().join(path.trim_start_matches('/'));
    let _ = fs::remove_dir_all(&file);
    let _ = fs::remove_file(&file);
    fs::create_dir_all(file.parent().expect("a parent")).expect("the parent");
    symlink(target, file).expect("the link");
    bundle
}

/// Removes the default mount at a destination.
pub(super) fn without_mount<'t>(bundle: Bundle<'t>, destination: &str) -> Bundle<'t> {
    bundle.patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| {
            !mount["destination"]
                .as_str()
                .is_some_and(|path| Path::new(path).starts_with(destination))
        });
    })
}

pub(super) fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]})
}

fn cve_2019_16884_no_mount_over_proc(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir_all(volume.join("self/attr")).expect("volume");
    for destination in [
        "/proc",
        "/proc/",
        "/tmp/../proc/.",
        "/proc/self/attr",
        "/proc/1",
        "/proc/sys",
    ] {
        for mount in [
            bind(&volume, destination),
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}),
        ] {
            t.bundle().mount(mount).container().create().fails();
        }
    }
    // Files that describe the machine may be replaced.
    let uptime = t.path("uptime");
    fs::write(&uptime, "1.00 1.00\n").expect("uptime");
    let bundle = t.bundle().mount(bind(&uptime, "/proc/uptime"));
    bundle
        .args(&["cat", "/proc/uptime"])
        .container()
        .run()
        .ok()
        .prints("1.00 1.00");
}

fn cve_2019_16884_no_mount_over_proc_through_a_link(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir_all(&volume).expect("volume");
    for (target, destination) in [
        ("/proc", "/link"),
        ("/proc", "/link/sys"),
        ("../proc/sys/kernel", "/link"),
        ("/proc/self", "/link"),
    ] {
        for mount in [
            bind(&volume, destination),
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}),
        ] {
            let bundle = link(t.bundle(), "/link", target).mount(mount);
            bundle.container().create().fails();
        }
    }
}

/// `create` must fail, and the target of the link must not change.
#[track_caller]
fn refuses_links(t: &Sandbox, path: &str, targets: &[&Path], volume: Option<&Path>) {
    let host = Host::new(t);
    for target in targets {
        let mut bundle = link(t.bundle(), path, target);
        if let Some(volume) = volume {
            bundle.config["mounts"]
                .as_array_mut()
                .expect("mounts")
                .insert(0, bind(volume, "/vol"));
        }
        fs::create_dir_all(bundle.rootfs().join("tmp/fake")).expect("the fake");
        bundle.container().create().fails();
    }
    host.is_unchanged();
}

fn cve_2019_18837_proc_as_a_link_to_the_host(t: &Sandbox) {
    let host = Host::new(t);
    refuses_links(
        t,
        "/proc",
        &[&host.path, Path::new("/sys"), Path::new("/")],
        None,
    );
}

fn cve_2019_19921_proc_as_a_link_in_the_image(t: &Sandbox) {
    refuses_links(
        t,
        "/proc",
        &[
            Path::new("/tmp/fake"),
            Path::new("tmp/fake"),
            Path::new("missing"),
        ],
        None,
    );
}

fn cve_2023_27561_proc_as_a_link_into_a_volume(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir_all(volume.join("proc")).expect("volume");
    refuses_links(
        t,
        "/proc",
        &[Path::new("/vol/proc"), Path::new("vol")],
        Some(&volume),
    );
}

/// renameat2(2) with RENAME_EXCHANGE, for which musl has no function.
fn exchange(one: &Path, other: &Path) {
    let name = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let (one, other) = (name(one), name(other));
    // SAFETY: both strings are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    assert_eq!(done, 0, "renameat2: {}", std::io::Error::last_os_error());
}

fn cve_2023_28642_sys_as_a_link(t: &Sandbox) {
    let host = Host::new(t);
    refuses_links(
        t,
        "/sys",
        &[&host.path, Path::new("/tmp/fake"), Path::new("/proc")],
        None,
    );
}

/// Runs `work` while another thread keeps exchanging `one` and `other`.
pub(super) fn while_swapping(one: &Path, other: &Path, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange(one, other);
            }
        });
        // If the work panics, the other thread must end too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A volume with a directory, and a link to a directory of the host, to exchange.
pub(super) fn volume_to_swap(t: &Sandbox, host: &Host) -> (PathBuf, PathBuf, PathBuf) {
    let volume = t.path("volume");
    let (directory, link) = (volume.join("swap"), volume.join("link"));
    fs::create_dir_all(&directory).expect("volume");
    // Enough `..` to reach the host's root from any place where the link may be followed.
    let up = "../".repeat(12)
        + host
            .path
            .strip_prefix("/")
            .expect("absolute")
            .to_str()
            .expect("UTF-8");
    symlink(up, &link).expect("link");
    (volume, directory, link)
}

/// The number of containers. Each mounts at a place where another process exchanges a directory for
/// a link.
pub(super) const RACES: usize = 60;

fn cve_2021_30465_mount_target_swapped_for_a_link(t: &Sandbox) {
    let host = Host::new(t);
    let (volume, directory, link) = volume_to_swap(t, &host);
    let canary = |destination: &str| {
        json!({"destination": destination, "type": "tmpfs", "source": "canary",
            "options": ["nosuid", "size=64k"]})
    };
    let bundle = t
        .bundle()
        .mount(bind(&volume, "/vol"))
        .mount(canary("/vol/swap"));
    let bundle = bundle.mount(canary("/vol/swap/pts"));
    let container = bundle.args(&["cat", "/proc/self/mountinfo"]).container();
    while_swapping(&directory, &link, || {
        for _ in 0..RACES {
            let output = container.sibling().run();
            if !output.status.success() {
                output.fails();
                continue;
            }
            // A mount outside the container would be missing in its mount table.
            assert_eq!(
                output.stdout.matches(" - tmpfs canary ").count(),
                2,
                "{output}"
            );
        }
    });
    host.is_unchanged();
    // Without the other process it works.
    container.sibling().run().ok();
}

fn cve_2024_45310_nothing_is_made_through_links_of_a_volume(t: &Sandbox) {
    let host = Host::new(t);
    let volume = t.path("volume");
    fs::create_dir(&volume).expect("volume");
    symlink(&host.path, volume.join("absolute")).expect("link");
    symlink(
        "../".repeat(12)
            + host
                .path
                .strip_prefix("/")
                .expect("/")
                .to_str()
                .expect("UTF-8"),
        volume.join("up"),
    )
    .expect("link");
    let source = t.path("source");
    fs::write(&source, "source").expect("source");
    for name in ["absolute", "up"] {
        let directory = json!({"destination": format!("/vol/{name}/new/directory"),
            "type": "tmpfs", "source": "tmpfs"});
        let bundle = t.bundle().mount(bind(&volume, "/vol")).mount(directory);
        let bundle = bundle.mount(bind(&source, &format!("/vol/{name}/new-file")));
        let bundle = bundle.set("/process/cwd", json!(format!("/vol/{name}/new-cwd")));
        bundle.container().run().ok();
    }
    host.is_unchanged();
}

fn cve_2024_45310_nothing_is_made_while_links_are_swapped(t: &Sandbox) {
    let host = Host::new(t);
    let (volume, directory, link) = volume_to_swap(t, &host);
    let source = t.path("source");
    fs::write(&source, "source").expect("source");
    let bundle = t.bundle().mount(bind(&volume, "/vol"));
    let bundle = bundle.mount(bind(&source, "/vol/swap/new/file"));
    let bundle = bundle.set("/process/cwd", json!("/vol/swap/new-cwd"));
    let container = bundle.container();
    while_swapping(&directory, &link, || {
        for _ in 0..RACES {
            let output = container.sibling().run();
            if !output.status.success() {
                output.fails();
            }
            // Files in the volume itself must be created again.
            for place in [&directory, &link] {
                let resolved = fs::symlink_metadata(place).expect("lstat");
                if resolved.is_dir() {
                    let _ = fs::remove_dir(place.join("new-cwd"));
                    let _ = fs::remove_file(place.join("new/file"));
                }
            }
            host.is_unchanged();
        }
    });
}

fn cve_2025_24965_file_is_not_made_through_a_link(t: &Sandbox) {
    let host = Host::new(t);
    let source = t.path("source");
    fs::write(&source, "source\n").expect("source");
    for target in [
        host.path.join("new"),
        host.path.join("new/deeper"),
        host.path.join("file"),
    ] {
        let bundle = link(t.bundle(), "/etc/hostname", &target);
        let bundle = bundle.mount(bind(&source, "/etc/hostname"));
        bundle
            .args(&["cat", "/etc/hostname"])
            .container()
            .run()
            .ok()
            .prints("source");
        host.is_unchanged();
    }
}
