//! `process`: the environment in which the program starts.

use serde_json::json;

use crate::{Sandbox, Test, host, tests};

pub const TESTS: &[Test] = tests![
    hostname_is_set,
    domainname_is_set,
    long_hostname_is_refused,
    arguments_arrive_unchanged,
    environment_is_that_of_the_config,
    home_comes_from_passwd,
    cwd_is_set,
    user_and_groups_are_set,
    umask_is_set,
    rlimits_are_set,
    rlimits_of_an_ordinary_user_are_set,
    rlimit_above_the_hard_limit[host::CAP_SYS_RESOURCE],
    capabilities_are_exactly_those_given,
    no_new_privileges_is_set,
    oom_score_adj_is_set,
    init_is_process_one_without_a_parent,
    descriptors_are_the_standard_three,
];

fn domainname_is_set(t: &Sandbox) {
    let bundle = t.bundle().set("/domainname", json!("harbour"));
    let look = ["cat", "/proc/sys/kernel/domainname"];
    bundle.args(&look).container().run().ok().prints("harbour");
}

/// A name of the uts namespace has at most 64 bytes. sethostname(2).
fn long_hostname_is_refused(t: &Sandbox) {
    let long = "a".repeat(64);
    let named = |name: &str| t.bundle().set("/hostname", json!(name)).args(&["hostname"]);
    named(&long).container().run().ok().prints(&long);
    let container = named(&format!("{long}b")).container();
    container.create().fails_with("hostname: ");
    container.verb("state").fails_with("does not exist");
}

fn hostname_is_set(t: &Sandbox) {
    let container = t
        .bundle()
        .set("/hostname", json!("ship"))
        .args(&["hostname"])
        .container();
    container.run().ok().prints("ship");
}

fn arguments_arrive_unchanged(t: &Sandbox) {
    let bundle = t
        .bundle()
        .args(&["printf", "[%s]", "a b", "", "--", "$x", "ä\n"]);
    bundle.container().run().ok().prints("[a b][][--][$x][ä\n]");
}

fn environment_is_that_of_the_config(t: &Sandbox) {
    let env = json!([
        "PATH=/bin",
        "HOME=/nowhere",
        "A=1",
        "EMPTY=",
        "LINES=one\ntwo"
    ]);
    let container = t
        .bundle()
        .set("/process/env", env)
        .args(&["env"])
        .container();
    let call = t.runtime().env("FROM_THE_CALLER", "1").arg("run");
    let output = container.launch(call).finish().ok();
    let mut lines: Vec<_> = output.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=1",
            "EMPTY=",
            "HOME=/nowhere",
            "LINES=one",
            "PATH=/bin",
            "two"
        ]
    );
}

fn home_comes_from_passwd(t: &Sandbox) {
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle().set("/process/user", user).shell("echo $HOME");
    bundle.container().run().ok().prints("/home");
    t.bundle()
        .shell("echo $HOME")
        .container()
        .run()
        .ok()
        .prints("/root");
}

fn cwd_is_set(t: &Sandbox) {
    let bundle = t.bundle().set("/process/cwd", json!("/tmp")).args(&["pwd"]);
    bundle.container().run().ok().prints("/tmp");
}

fn user_and_groups_are_set(t: &Sandbox) {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 77]});
    let script = "grep -E '^(Uid|Gid|Groups):' /proc/self/status | tr -s '\\t ' ' '";
    let bundle = t.bundle().set("/process/user", user).shell(script);
    let output = bundle.container().run().ok();
    let lines: Vec<_> = output.stdout.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "Uid: 1000 1000 1000 1000",
            "Gid: 1001 1001 1001 1001",
            "Groups: 5 77"
        ]
    );
}

fn umask_is_set(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/process/user/umask", json!(0o027))
        .args(&["sh", "-c", "umask"]);
    bundle.container().run().ok().prints("0027");
}

fn rlimits_are_set(t: &Sandbox) {
    let rlimits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    let script = "grep -E 'open files|core file' /proc/self/limits | tr -s ' '";
    let output = t
        .bundle()
        .set("/process/rlimits", rlimits)
        .shell(script)
        .container()
        .run()
        .ok();
    assert!(
        output.stdout.contains("Max open files 100 200 files"),
        "{output}"
    );
    assert!(
        output.stdout.contains("Max core file size 0 0 bytes"),
        "{output}"
    );
}

fn rlimits_of_an_ordinary_user_are_set(t: &Sandbox) {
    // prlimit(2) on a process of another user needs CAP_SYS_RESOURCE, which the runtime may lack.
    let bundle = t
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let rlimits = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    let bundle = bundle.set("/process/rlimits", rlimits);
    let container = bundle.shell("ulimit -Sn; ulimit -Hn").container();
    container.run().ok().prints("100\n200");
}

fn rlimit_above_the_hard_limit(t: &Sandbox) {
    let (soft, hard) = (64, 64);
    let rlimits = json!([{"type": "RLIMIT_NOFILE", "soft": 128, "hard": 256}]);
    let bundle = t
        .bundle()
        .set("/process/rlimits", rlimits)
        .shell("ulimit -Hn");
    let container = bundle.container();
    let lower = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$@\"");
    let call = t.runtime().arg("run").prefix(["sh", "-c", &lower, "sh"]);
    container.launch(call).finish().ok().prints("256");
}

fn capabilities_are_exactly_those_given(t: &Sandbox) {
    // CAP_CHOWN is bit 0, CAP_KILL bit 5, CAP_NET_RAW bit 13.
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    let user = json!({"uid": 1000, "gid": 1000});
    let script = "grep -E '^Cap' /proc/self/status | tr -s '\\t ' ' '";
    let bundle = t.bundle().set("/process/capabilities", capabilities);
    let output = bundle
        .set("/process/user", user)
        .shell(script)
        .container()
        .run()
        .ok();
    let lines: Vec<_> = output.stdout.lines().collect();
    // When a user other than root executes an ordinary file, execve(2) keeps only the ambient set.
    let set = |name: &str, bits: u64| format!("{name}: {bits:016x}");
    let ambient = 1 << 5;
    let expected = [
        set("CapInh", ambient),
        set("CapPrm", ambient),
        set("CapEff", ambient),
        set("CapBnd", 1 | 1 << 5 | 1 << 13),
        set("CapAmb", ambient),
    ];
    assert_eq!(lines, expected);
}

fn no_new_privileges_is_set(t: &Sandbox) {
    let script = "grep NoNewPrivs /proc/self/status | tr -s '\\t ' ' '";
    for (value, line) in [(true, "NoNewPrivs: 1"), (false, "NoNewPrivs: 0")] {
        let bundle = t
            .bundle()
            .set("/process/noNewPrivileges", json!(value))
            .shell(script);
        bundle.container().run().ok().prints(line);
    }
}

fn oom_score_adj_is_set(t: &Sandbox) {
    let bundle = t.bundle().set("/process/oomScoreAdj", json!(321));
    bundle
        .args(&["cat", "/proc/self/oom_score_adj"])
        .container()
        .run()
        .ok()
        .prints("321");
}

fn init_is_process_one_without_a_parent(t: &Sandbox) {
    let bundle = t.bundle().shell("echo $$ $PPID");
    bundle.container().run().ok().prints("1 0");
}

fn descriptors_are_the_standard_three(t: &Sandbox) {
    // The shell expands the pattern itself and has the directory open meanwhile: one descriptor
    // more.
    let output = t.bundle().shell("echo /proc/1/fd/*").container().run().ok();
    let numbers: Vec<_> = output
        .stdout
        .split_whitespace()
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    assert!(
        numbers.len() <= 4 && numbers.starts_with(&["0", "1", "2"]),
        "{output}"
    );
}
