//! Cases that must fail, which show that the harness notices. They are listed only with
//! `RUNTIME_TESTS_SELFTEST`; `tests/harness.rs` runs them.

use nix::mount::{MsFlags, mount};

use crate::host::cgroup_mounts;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    passes,
    panics,
    leaves_a_process,
    leaves_a_mount,
    leaves_a_cgroup,
    leaves_a_state_file,
    hangs_in_a_command,
    skips_itself,
    is_skipped[Need::Path("/no/such/path")],
];

fn passes(t: &Sandbox) {
    t.call("echo").arg("text").run().ok().prints("text");
}

fn panics(t: &Sandbox) {
    t.call("false").run().ok();
}

fn leaves_a_process(t: &Sandbox) {
    drop(t.call("sleep").arg("1000").spawn());
}

fn leaves_a_mount(t: &Sandbox) {
    let point = t.path("mounted");
    std::fs::create_dir(&point).expect("mount point");
    mount(
        Some("tmpfs"),
        &point,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("mount");
}

fn leaves_a_cgroup(t: &Sandbox) {
    let (_, mount) = cgroup_mounts().pop().expect("a cgroup mount");
    std::fs::create_dir(mount.join(&t.id)).expect("cgroup");
}

fn leaves_a_state_file(t: &Sandbox) {
    std::fs::write(t.root.join("left"), "").expect("file");
}

fn hangs_in_a_command(t: &Sandbox) {
    t.call("sleep").arg("1000").run();
}

fn skips_itself(t: &Sandbox) {
    t.skip("only it can know");
}

fn is_skipped(_: &Sandbox) {
    unreachable!("the host does not have it");
}
