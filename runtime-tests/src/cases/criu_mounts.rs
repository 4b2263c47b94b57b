//! `checkpoint` and `restore` of bind mounts whose mounts cross the boundary.

use std::fs;

use nix::mount::umount;
use serde_json::json;

use super::criu::{CRIU, bind, counter, images, launch, save_and_restore, wait_count};
use super::propagation::{container_sees_host, is_mounted_on_host, shared_directory};
use crate::{Container, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![mounts_cross_the_boundary_as_before[CRIU]];

/// runc restores the same propagation.
fn mounts_cross_the_boundary_as_before(t: &Sandbox) {
    let source = shared_directory(t);
    for (root, option, propagation) in [
        ("slave", "rslave", "slave"),
        ("slave", "rprivate", "private"),
        ("slave", "rshared", "shared slave"),
        ("shared", "rslave", "slave"),
        ("shared", "rshared", "shared"),
    ] {
        let container = t
            .bundle()
            .set("/linux/rootfsPropagation", json!(root))
            .mount(bind(&source, "/m", &["rbind", option]))
            .shell(&counter())
            .container();
        launch(t, &container);
        wait_count(t, &container, 2);
        let what = format!("{option} in a {root} root");
        assert_eq!(found(&container), propagation, "before: {what}");
        save_and_restore(t, &container, &[], &[]);
        assert_eq!(found(&container), propagation, "{what}");
        let seen = container_sees_host(&container, &source);
        assert_eq!(seen, propagation != "private", "{what}");
        let mount = ["mount", "-t", "tmpfs", "inside", "/m/a"];
        container
            .exec_with(&["--cap", "CAP_SYS_ADMIN"], &mount)
            .ok();
        let seen = is_mounted_on_host(&source);
        assert_eq!(seen, propagation == "shared", "{what}");
        if seen {
            umount(&source.join("a")).expect("unmount");
        }
        container.stop();
        container.delete().ok();
        fs::remove_dir_all(images(t)).expect("remove the images");
    }
}

fn found(container: &Container) -> String {
    mount_info::at(&mount_info::of_process(container.pid()), "/m").propagation()
}
