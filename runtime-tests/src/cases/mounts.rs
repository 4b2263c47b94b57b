//! `mounts`, `root`, and masked and read-only paths.

use serde_json::json;

use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    bind_mount_shows_the_source,
    read_only_bind_mount_refuses_writes,
    bind_mount_of_a_file,
    missing_bind_source_is_refused,
    tmpfs_has_its_options,
    later_mounts_cover_earlier_ones,
    mountinfo_lists_the_mounts_in_their_order,
    read_only_root_refuses_writes,
    masked_paths_are_empty,
    read_only_paths_refuse_writes,
    default_devices_work,
    device_links_are_there,
    sysctl_is_set,
    host_files_are_not_visible,
];

fn bind_mount_shows_the_source(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    std::fs::write(source.join("file"), "from the host\n").expect("a file in it");
    let bundle = t
        .bundle()
        .mount(json!({"destination": "/new/place", "type": "bind",
        "source": source, "options": ["rbind", "rw"]}));
    let container = bundle
        .shell("cat /new/place/file; echo back >/new/place/out")
        .container();
    container.run().ok().prints("from the host");
    assert_eq!(
        std::fs::read_to_string(source.join("out")).expect("written file"),
        "back\n"
    );
}

fn read_only_bind_mount_refuses_writes(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let bundle = t
        .bundle()
        .mount(json!({"destination": "/mnt", "type": "bind",
        "source": source, "options": ["bind", "ro"]}));
    let output = bundle.shell("echo x >/mnt/file").container().run().fails();
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    assert!(!source.join("file").exists());
}

fn bind_mount_of_a_file(t: &Sandbox) {
    let source = t.path("source");
    std::fs::write(&source, "one file\n").expect("the source");
    let bundle = t
        .bundle()
        .mount(json!({"destination": "/etc/one", "type": "none",
        "source": source, "options": ["bind"]}));
    bundle
        .args(&["cat", "/etc/one"])
        .container()
        .run()
        .ok()
        .prints("one file");
}

fn missing_bind_source_is_refused(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(json!({"destination": "/mnt", "type": "bind",
        "source": "/no/such/source", "options": ["bind"]}));
    bundle.container().create().fails_with("/no/such/source");
}

fn tmpfs_has_its_options(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(json!({"destination": "/mnt", "type": "tmpfs",
        "source": "tmpfs", "options": ["nosuid", "noexec", "size=64k", "mode=0710"]}));
    let script = "grep ' /mnt ' /proc/self/mounts; stat -c %a /mnt";
    let output = bundle.shell(script).container().run().ok();
    let (mount, mode) = output.stdout.trim().split_once('\n').expect("two lines");
    for option in ["tmpfs", "nosuid", "noexec", "size=64k"] {
        assert!(mount.contains(option), "{option}\n{output}");
    }
    assert!(!mount.contains("nodev"), "{output}");
    assert_eq!(mode, "710");
}

fn later_mounts_cover_earlier_ones(t: &Sandbox) {
    let tmpfs = |destination: &str, size: &str| {
        json!({"destination": destination, "type": "tmpfs", "source": "tmpfs",
            "options": [format!("size={size}")]})
    };
    let bundle = t
        .bundle()
        .mount(tmpfs("/mnt", "64k"))
        .mount(tmpfs("/mnt/inner", "128k"));
    let bundle = bundle.mount(tmpfs("/mnt/inner", "256k"));
    let script = "df -k /mnt /mnt/inner | awk 'NR > 1 { print $2 }'; grep -c ' /mnt' /proc/mounts";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("64\n256\n3");
}

fn mountinfo_lists_the_mounts_in_their_order(t: &Sandbox) {
    // Since Linux 6.8 the mount table is in the order of creation, and its readers assume that a
    // later line is mounted on top of earlier ones.
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let mut bundle = t.bundle();
    for (name, kind) in [("a", "tmpfs"), ("b", "bind"), ("c", "tmpfs"), ("d", "bind")] {
        let options = if kind == "bind" { vec!["bind"] } else { vec![] };
        bundle = bundle.mount(json!({
            "destination": format!("/mnt/{name}"), "type": kind, "source": source, "options": options,
        }));
    }
    let script = "awk '$5 ~ \"^/mnt/\" { print $5 }' /proc/self/mountinfo";
    let output = bundle.shell(script).container().run().ok();
    output.prints("/mnt/a\n/mnt/b\n/mnt/c\n/mnt/d");
}

fn read_only_root_refuses_writes(t: &Sandbox) {
    let script = "touch /file || echo refused; touch /dev/shm/file && echo allowed";
    let bundle = t.bundle().set("/root/readonly", json!(true)).shell(script);
    bundle.container().run().ok().prints("refused\nallowed");
    t.bundle().args(&["touch", "/file"]).container().run().ok();
}

fn masked_paths_are_empty(t: &Sandbox) {
    let masked = json!(["/secret", "/secrets", "/no/such/path"]);
    let bundle = t
        .bundle()
        .file("/secret", "text")
        .file("/secrets/one", "text");
    let script = "wc -c </secret; ls /secrets | wc -l; echo x >/secrets/new";
    let output = bundle
        .set("/linux/maskedPaths", masked)
        .shell(script)
        .container()
        .run()
        .fails();
    let numbers: Vec<_> = output.stdout.split_whitespace().collect();
    assert_eq!(numbers, ["0", "0"], "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
}

fn read_only_paths_refuse_writes(t: &Sandbox) {
    let paths = json!(["/proc/sys", "/fixed", "/no/such/path"]);
    let bundle = t
        .bundle()
        .file("/fixed/file", "text")
        .set("/linux/readonlyPaths", paths);
    let script = "echo x >/fixed/file || echo refused; cat /fixed/file
        echo ship >/proc/sys/kernel/hostname || echo refused";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("refused\ntextrefused");
}

fn default_devices_work(t: &Sandbox) {
    let script =
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done
        head -c 4 /dev/zero | wc -c; echo x >/dev/null; head -c 3 /dev/urandom | wc -c";
    let output = t.bundle().shell(script).container().run().ok();
    let expected = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n\
        /dev/random 1:8 666\n/dev/urandom 1:9 666\n/dev/tty 5:0 666\n4\n3";
    output.prints(expected);
}

fn device_links_are_there(t: &Sandbox) {
    let script = "for f in fd stdin stdout stderr; do readlink /dev/$f; done; ls /dev/ptmx";
    let expected = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n/dev/ptmx";
    t.bundle()
        .shell(script)
        .container()
        .run()
        .ok()
        .prints(expected);
}

fn sysctl_is_set(t: &Sandbox) {
    let sysctl = json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"});
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced";
    let bundle = t.bundle().set("/linux/sysctl", sysctl).shell(script);
    bundle.container().run().ok().prints("1\n1");
}

fn host_files_are_not_visible(t: &Sandbox) {
    let script = "ls -d /../../marker; cat /proc/1/mountinfo";
    let output = t
        .bundle()
        .file("/marker", "")
        .shell(script)
        .container()
        .run()
        .ok();
    assert!(output.stdout.starts_with("/../../marker\n"), "{output}");
    // The old root is missing in the mount table, not only covered.
    let mut points = output
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').nth(4));
    assert_eq!(
        points.by_ref().filter(|point| *point == "/").count(),
        1,
        "{output}"
    );
}
