//! Published attacks on runtimes and engines, replayed: attacks on the user of a process, and
//! attacks by the image's user database. See `cve_paths`.

use std::fs::{self, File};

use serde_json::json;

use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2016_3697_number_is_not_a_name_in_passwd,
    cve_2024_40635_large_user_is_itself,
    cve_2026_30892_user_of_exec_is_the_whole_number,
    cve_2026_46680_number_that_is_too_large_is_not_a_name,
    cve_2026_47262_passwd_and_group_of_any_size,
];

const IDS: &str = "grep -E '^[UG]id:' /proc/self/status | tr -s '\\t ' ' '";

/// The output of `IDS`.
fn ids(uid: u32, gid: u32) -> String {
    format!("Uid: {uid} {uid} {uid} {uid}\nGid: {gid} {gid} {gid} {gid}")
}

fn cve_2016_3697_number_is_not_a_name_in_passwd(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n")
        .file("/etc/group", "1000:x:0:\n")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let container = bundle.shell(&format!("{IDS}; sleep 1000")).container();
    container.launch_ok();
    container.wait_stdout(&ids(1000, 1000));
    let output = container.exec_with(&["--user", "1000:1000"], &["sh", "-c", IDS]);
    output.ok().prints(&ids(1000, 1000));
}

fn cve_2024_40635_large_user_is_itself(t: &Sandbox) {
    for id in [i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX - 1] {
        let bundle = t
            .bundle()
            .set("/process/user", json!({"uid": id, "gid": id}));
        bundle
            .shell(IDS)
            .container()
            .run()
            .ok()
            .prints(&ids(id, id));
    }
    for id in [json!(u32::MAX), json!(1_u64 << 32), json!(-1), json!("0")] {
        let bundle = t.bundle().set("/process/user/uid", id);
        bundle.container().create().fails();
    }
}

fn cve_2026_30892_user_of_exec_is_the_whole_number(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    for (user, uid, gid) in [("1", 1, 0), ("10", 10, 0), ("1:1", 1, 1), ("0:1", 0, 1)] {
        for flag in ["-u", "--user"] {
            let output = container.exec_with(&[flag, user], &["sh", "-c", IDS]);
            output.ok().prints(&ids(uid, gid));
        }
    }
    for user in ["1x", " 1", "1 ", "0x1", "1:", ":1", "1:1:1", "4294967295"] {
        let output = container.exec_with(&["--user", user], &["echo", "ran"]);
        assert!(!output.fails().stdout.contains("ran"), "{user:?}");
    }
}

fn cve_2026_46680_number_that_is_too_large_is_not_a_name(t: &Sandbox) {
    let number = "4294967297";
    let passwd = format!("{number}:x:0:0:root:/root:/bin/sh\n");
    let bundle = t.bundle().file("/etc/passwd", &passwd);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let output = container.exec_with(&["--user", number], &["true"]);
    output.fails_with("--user");
}

fn cve_2026_47262_passwd_and_group_of_any_size(t: &Sandbox) {
    let bundle = t.bundle();
    for name in ["passwd", "group"] {
        let path = bundle.rootfs().join("etc").join(name);
        fs::create_dir_all(path.parent().expect("etc")).expect("etc");
        let file = File::create(path).expect("file");
        file.set_len(1 << 36).expect("a file of holes");
    }
    let bundle = bundle.set("/process/env", json!(["PATH=/bin"]));
    // Less memory than the size of the files.
    let little = "ulimit -v 1000000; exec \"$@\"";
    let call = t.runtime().arg("run").prefix(["sh", "-c", little, "sh"]);
    let container = bundle.shell("echo $HOME").container();
    container.launch(call).finish().ok().prints("/");
}
