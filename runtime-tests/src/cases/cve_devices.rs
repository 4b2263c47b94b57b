//! Published attacks on runtimes, replayed: attacks through /dev, /proc and terminals as the image
//! or a volume provides them. See `cve_paths`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::cve_paths::{Host, bind, link, without_mount};
use super::cve_process::in_user_namespace;
use crate::bundle::Bundle;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2025_31133_null_of_the_image_masks_nothing,
    cve_2025_31133_only_a_missing_path_goes_without_mask,
    cve_2025_52565_console_as_a_link,
    cve_2025_52565_terminal_without_a_devpts,
    cve_2025_52881_sysctl_is_not_written_to_what_the_image_shows,
    cve_2026_41579_dev_as_a_link_to_the_host,
    cve_2026_47766_ptmx_as_a_link_to_the_host,
    cve_2026_88264_console_as_a_link_to_a_new_file,
    cve_2026_88265_null_as_a_link_to_a_mounted_file,
];

fn cve_2025_31133_null_of_the_image_masks_nothing(t: &Sandbox) {
    let look = "cat /proc/keys /secret; stat -c %t:%T /proc/keys /secret";
    let masked = json!(["/proc/keys", "/secret"]);
    let bundle = || {
        let bundle = t
            .bundle()
            .file("/secret", "secret")
            .set("/linux/maskedPaths", masked.clone());
        without_mount(bundle.shell(look), "/dev")
    };
    // In the image, the node is created or the container is refused.
    for target in ["/proc/sysrq-trigger", "/secret", "zero"] {
        let output = link(bundle(), "/dev/null", target).container().run();
        assert!(
            !output.status.success(),
            "the link stands for /dev/null\n{output}"
        );
    }
    let output = bundle().file("/dev/null", "").container().run();
    assert!(
        !output.status.success(),
        "the file stands for /dev/null\n{output}"
    );
    // In a volume on /dev nothing is created, and the mask must not come from there.
    let volume = t.path("volume");
    for target in [Some("/proc/sysrq-trigger"), None] {
        let _ = fs::remove_dir_all(&volume);
        fs::create_dir(&volume).expect("volume");
        match target {
            Some(target) => symlink(target, volume.join("null")).expect("link"),
            None => fs::write(volume.join("null"), "fake").expect("file"),
        }
        let bundle = bundle().mount(bind(&volume, "/dev"));
        bundle.container().run().ok().prints("1:3\n1:3");
    }
}

fn cve_2025_31133_only_a_missing_path_goes_without_mask(t: &Sandbox) {
    let mask =
        |path: &str| link(t.bundle(), "/loop", "loop").set("/linux/maskedPaths", json!([path]));
    mask("/missing").container().run().ok();
    mask("/loop").container().run().fails();
    mask("/loop/below").container().run().fails();
}

fn cve_2025_52565_console_as_a_link(t: &Sandbox) {
    let host = Host::new(t);
    let terminal = |bundle: Bundle<'_>| {
        // The image has a /dev, with a devpts mounted on it.
        let bundle = without_mount(bundle, "/dev").mount(json!({"destination": "/dev/pts",
            "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}));
        bundle
            .set("/process/terminal", json!(true))
            .args(&["stat", "-c", "%t", "/dev/console"])
            .container()
            .run()
    };
    for target in [
        "/etc/passwd",
        "/proc/sysrq-trigger",
        "pts/0",
        host.path.join("console").to_str().expect("UTF-8"),
    ] {
        terminal(link(t.bundle(), "/dev/console", target)).fails();
        host.is_unchanged();
    }
    // The major number of pseudo-terminals is 136.
    terminal(t.bundle().file("/dev/console", ""))
        .ok()
        .prints("88");
    terminal(t.bundle()).ok().prints("88");
}

fn cve_2025_52565_terminal_without_a_devpts(t: &Sandbox) {
    let fakes: [fn(&Path); 3] = [
        |ptmx| fs::write(ptmx, "").expect("file"),
        // An open(2) for reading or for writing only would block forever.
        |ptmx| nix::unistd::mkfifo(ptmx, nix::sys::stat::Mode::S_IRUSR).expect("fifo"),
        |ptmx| symlink("/dev/tty", ptmx).expect("link"),
    ];
    for (number, fake) in fakes.into_iter().enumerate() {
        let volume = t.path(&format!("volume{number}"));
        fs::create_dir(&volume).expect("volume");
        fake(&volume.join("ptmx"));
        let bundle = without_mount(t.bundle(), "/dev/pts").mount(bind(&volume, "/dev/pts"));
        bundle
            .set("/process/terminal", json!(true))
            .container()
            .run()
            .fails();
    }
}

fn cve_2025_52881_sysctl_is_not_written_to_what_the_image_shows(t: &Sandbox) {
    let host = Host::new(t);
    let key = "/proc/sys/net/ipv4/ip_forward";
    let sysctl = json!({"net.ipv4.ip_forward": "1"});
    let real = json!({"destination": "/real", "type": "proc", "source": "proc"});
    let bundle = || {
        let bundle = without_mount(t.bundle(), "/proc").set("/linux/sysctl", sysctl.clone());
        let bundle = bundle
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]));
        bundle
            .mount(real.clone())
            .args(&["cat", "/real/sys/net/ipv4/ip_forward"])
    };
    link(bundle(), key, host.path.join("file"))
        .container()
        .run()
        .ok()
        .prints("1");
    link(bundle(), "/proc/sys/net", &host.path)
        .container()
        .run()
        .ok()
        .prints("1");
    link(bundle(), "/proc/sys", "/real/sys/../..")
        .container()
        .run()
        .ok()
        .prints("1");
    host.is_unchanged();
    let fake = bundle().file(key, "fake");
    let file = fake.rootfs().join(key.trim_start_matches('/'));
    fake.container().run().ok().prints("1");
    assert_eq!(fs::read_to_string(file).expect("the fake"), "fake");
    // In a user namespace, other rules decide whether a procfs may be mounted.
    let bundle = in_user_namespace(t.bundle()).set("/linux/sysctl", sysctl.clone());
    bundle
        .args(&["cat", key])
        .container()
        .run()
        .ok()
        .prints("1");
}

fn cve_2026_41579_dev_as_a_link_to_the_host(t: &Sandbox) {
    let host = Host::new(t);
    let up = "../".repeat(12)
        + host
            .path
            .strip_prefix("/")
            .expect("/")
            .to_str()
            .expect("UTF-8");
    for target in [host.path.clone(), PathBuf::from(up)] {
        // The runtime may either refuse the container or create the devices below its root.
        for terminal in [false, true] {
            let bundle =
                link(t.bundle(), "/dev", &target).set("/process/terminal", json!(terminal));
            drop(bundle.container().run());
            let bundle = without_mount(link(t.bundle(), "/dev", &target), "/dev");
            let devpts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts"});
            let bundle = bundle
                .mount(devpts)
                .set("/process/terminal", json!(terminal));
            drop(bundle.container().run());
            host.is_unchanged();
        }
    }
}

fn cve_2026_47766_ptmx_as_a_link_to_the_host(t: &Sandbox) {
    let host = Host::new(t);
    let bundle = without_mount(t.bundle(), "/dev").mount(json!({"destination": "/dev/pts",
        "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}));
    let bundle = link(bundle, "/dev/ptmx", host.path.join("ptmx"));
    let bundle = bundle.args(&["readlink", "/dev/ptmx"]);
    bundle.container().run().ok().prints("pts/ptmx");
    host.is_unchanged();
}

fn cve_2026_88264_console_as_a_link_to_a_new_file(t: &Sandbox) {
    let host = Host::new(t);
    let devpts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts"});
    for readonly in [false, true] {
        for target in ["new", "pts/new", "file"] {
            let bundle = without_mount(t.bundle(), "/dev").mount(devpts.clone());
            let bundle = link(bundle, "/dev/console", host.path.join(target))
                .set("/root/readonly", json!(readonly))
                .set("/process/terminal", json!(true));
            bundle.container().run().fails();
            host.is_unchanged();
        }
    }
}

fn cve_2026_88265_null_as_a_link_to_a_mounted_file(t: &Sandbox) {
    let (file, volume) = (t.path("of-the-host"), t.path("volume"));
    fs::write(&file, "the host's\n").expect("file");
    fs::create_dir(&volume).expect("volume");
    symlink("/bound", volume.join("null")).expect("link");
    let bundle = t.bundle().mount(bind(&volume, "/dev"));
    let bundle = bundle
        .mount(bind(&file, "/bound"))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .shell("echo lost; echo lost >&2");
    let container = bundle.container();
    for streams in ["</dev/null >/dev/null 2>&1", "</dev/null", "<&1"] {
        let caller = format!("exec \"$@\" {streams}");
        let call = t.runtime().arg("run").prefix(["sh", "-c", &caller, "sh"]);
        container.sibling().launch(call).finish().ok();
        let owner = fs::metadata(&file).expect("stat").uid();
        assert_eq!(owner, 0, "with {streams}");
        let text = fs::read_to_string(&file).expect("the file");
        assert_eq!(text, "the host's\n", "with {streams}");
    }
}
