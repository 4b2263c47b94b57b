//! Bind mounts whose source or destination is a symbolic link: `copy-symlink`, `src-nofollow` and
//! `dest-nofollow`.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::userns_fs::mapped;
use crate::{Bundle, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_link_is_copied,
    a_file_is_mounted_though_links_would_be_copied,
    a_link_is_copied_once,
    a_link_is_mounted,
    a_mount_covers_a_link,
    other_mounts_do_not_have_these_options,
];

fn bind<'a>(
    bundle: Bundle<'a>,
    source: &std::path::Path,
    target: &str,
    option: &str,
) -> Bundle<'a> {
    bundle.mount(
        json!({"destination": target, "type": "bind", "source": source,
        "options": ["bind", option]}),
    )
}

fn a_link_is_copied(t: &Sandbox) {
    let link = t.path("link");
    symlink("../elsewhere", &link).expect("a link");
    for bundle in [t.bundle(), mapped(t.bundle())] {
        let bundle = bind(bundle, &link, "/new/dir/link", "copy-symlink");
        let container = bundle
            .shell("readlink /new/dir/link; grep -c /new /proc/self/mounts")
            .container();
        container.run().exits(1).prints("../elsewhere\n0");
    }
}

fn a_file_is_mounted_though_links_would_be_copied(t: &Sandbox) {
    let file = t.path("file");
    std::fs::write(&file, "content\n").expect("a file");
    let bundle = bind(t.bundle(), &file, "/file", "copy-symlink");
    bundle
        .args(&["cat", "/file"])
        .container()
        .run()
        .ok()
        .prints("content");
}

/// The same link may be there already, for example in a second container on the rootfs.
fn a_link_is_copied_once(t: &Sandbox) {
    let link = t.path("link");
    symlink("elsewhere", &link).expect("a link");
    let bundle = bind(t.bundle(), &link, "/link", "copy-symlink");
    let rootfs = bundle.rootfs();
    let container = bundle.args(&["readlink", "/link"]).container();
    container.run().ok().prints("elsewhere");
    container.sibling().run().ok();
    std::fs::remove_file(rootfs.join("link")).expect("the link");
    symlink("other", rootfs.join("link")).expect("a link");
    container.sibling().run().fails_with("symlink: file exists");
}

fn a_link_is_mounted(t: &Sandbox) {
    let link = t.path("link");
    symlink("elsewhere", &link).expect("a link");
    for bundle in [t.bundle(), mapped(t.bundle())] {
        let bundle = bind(bundle, &link, "/link", "src-nofollow");
        let script = "readlink /link; grep -c ' /link ' /proc/self/mountinfo";
        bundle
            .shell(script)
            .container()
            .run()
            .ok()
            .prints("elsewhere\n1");
    }
}

fn a_mount_covers_a_link(t: &Sandbox) {
    let file = t.path("file");
    std::fs::write(&file, "content\n").expect("a file");
    let bundle = bind(t.bundle(), &file, "/link", "dest-nofollow");
    symlink("/target", bundle.rootfs().join("link")).expect("a link");
    let script = "cat /link; test -e /target || echo no target";
    let output = bundle.shell(script).container().run().ok();
    output.prints("content\nno target");
}

fn other_mounts_do_not_have_these_options(t: &Sandbox) {
    for option in ["copy-symlink", "src-nofollow", "dest-nofollow"] {
        let mount = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": [option]});
        let container = t.bundle().mount(mount).container();
        container.create().fails_with("are for new bind mounts");
    }
}
