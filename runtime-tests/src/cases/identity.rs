//! `process.user`, `capabilities`, `rlimits`, `oomScoreAdj` and personality, as the kernel reports
//! them for the process.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::host::CAP_SYS_RESOURCE;
use crate::{Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    groups_of_the_caller_are_dropped,
    groups_that_cannot_be_dropped_are_an_error[Need::Program("setpriv"), Need::NotAPeer],
    a_group_listed_twice_is_set_twice,
    umask_defaults_to_0022,
    invalid_ids_are_refused,
    capabilities_of_root,
    no_capabilities_at_all,
    absent_capabilities_are_none,
    capabilities_of_a_user_end_at_execve,
    ambient_capabilities_of_a_user,
    inheritable_without_ambient,
    unknown_capability_only_warns,
    capability_that_cannot_be_ambient_only_warns,
    capability_that_the_runtime_lacks_only_warns[Need::Program("setpriv"), Need::NotAPeer],
    capabilities_are_limited_to_the_bounding_set,
    set_user_id_program_gains_nothing_with_no_new_privileges,
    set_user_id_program_works_without_no_new_privileges,
    several_rlimits,
    rlimit_infinity,
    start_container_hooks_have_the_limits_of_the_process,
    smallest_rlimits_do_not_hinder_the_start,
    rlimit_twice_is_refused,
    oom_score_adj_is_left_alone,
    negative_oom_score_adj[CAP_SYS_RESOURCE],
    oom_score_adj_out_of_range_is_refused,
    personality_linux32,
    personality_flags_are_refused[Need::NotAPeer],
];

const STATUS: &str = "grep -E '^(Cap|Groups|NoNew)' /proc/self/status | tr -s '\\t ' ' '";

/// The lines of the process's status, with white space squeezed.
fn status(bundle: Bundle) -> Vec<String> {
    let output = bundle.shell(STATUS).container().run().ok();
    let lines = output.stdout.lines().map(|line| line.trim().to_owned());
    lines.collect()
}

/// The five sets in the kernel's order: inheritable, permitted, effective, bounding, ambient.
fn capabilities(bundle: Bundle) -> [u64; 5] {
    // With no_new_privs, execve(2) does not add capabilities for root.
    let lines = status(bundle.set("/process/noNewPrivileges", json!(false)));
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| {
        let found = lines.iter().find_map(|line| {
            let hex = line.strip_prefix(name)?.strip_prefix(": ")?;
            u64::from_str_radix(hex, 16).ok()
        });
        found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    })
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;

fn user() -> Value {
    json!({"uid": 1000, "gid": 1000})
}

fn groups_of_the_caller_are_dropped(t: &Sandbox) {
    let container = t.bundle().shell(STATUS).container();
    // The caller has groups that are not in the config.
    let call = t.runtime().arg("run");
    let call = call.prefix(["setpriv", "--groups", "4,24", "--"]);
    let output = container.launch(call).finish().ok();
    assert!(
        output.stdout.starts_with("Groups: \n") || output.stdout.starts_with("Groups:\n"),
        "{output}"
    );
}

/// Without CAP_SETGID setgroups(2) fails as it does under a seccomp filter around the runtime.
fn groups_that_cannot_be_dropped_are_an_error(t: &Sandbox) {
    let powerless = |words: &[&str]| {
        let drop = ["setpriv", "--groups", "4,27", "--bounding-set=-setgid"];
        t.runtime().args(words).prefix(drop)
    };
    let refused = |output: Output| {
        let output = output.fails_with("process.user.additionalGids");
        let output = output.fails_with("setgroups: operation not permitted");
        assert_eq!(output.stdout, "");
    };
    let container = t.bundle().args(&["id", "-G"]).container();
    refused(container.launch(powerless(&["run"])).finish());
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    refused(powerless(&["exec", &container.id, "id", "-G"]).run());
    let words = ["exec", "--additional-gids", "7", &container.id, "id", "-G"];
    let output = powerless(&words).run();
    output.fails_with("--additional-gids: process.user.additionalGids: ");
    container.stop();
    container.delete().ok();
}

fn a_group_listed_twice_is_set_twice(t: &Sandbox) {
    let mut user = user();
    user["additionalGids"] = json!([77, 5, 77, 5]);
    let lines = status(t.bundle().set("/process/user", user));
    assert_eq!(lines[0], "Groups: 5 5 77 77", "the kernel sorts them");
}

fn umask_defaults_to_0022(t: &Sandbox) {
    let container = t
        .bundle()
        .shell("umask; cd /tmp; touch f; stat -c %a f")
        .container();
    let call = t.runtime().arg("run");
    let call = call.prefix(["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    container.launch(call).finish().ok().prints("0022\n644");
}

fn invalid_ids_are_refused(t: &Sandbox) {
    for field in ["uid", "gid"] {
        let bundle = t
            .bundle()
            .set(&format!("/process/user/{field}"), json!(u32::MAX));
        let container = bundle.container();
        container.create().fails();
        container.verb("state").fails_with("does not exist");
    }
}

fn sets(t: &Sandbox, sets: Value) -> Bundle<'_> {
    t.bundle().set("/process/capabilities", sets)
}

fn capabilities_of_root(t: &Sandbox) {
    let three = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"]);
    let two = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = sets(
        t,
        json!({"bounding": three, "permitted": two, "effective": ["CAP_KILL"]}),
    );
    // execve(2) by root gives the whole bounding set.
    let all = CHOWN | KILL | SETUID;
    assert_eq!(capabilities(bundle), [0, all, all, all, 0]);
}

fn no_capabilities_at_all(t: &Sandbox) {
    let none = json!([]);
    let bundle = sets(
        t,
        json!({"bounding": none, "permitted": none, "effective": none,
        "inheritable": none, "ambient": none}),
    );
    assert_eq!(capabilities(bundle), [0; 5]);
}

fn absent_capabilities_are_none(t: &Sandbox) {
    let bundle = t.bundle().remove("/process/capabilities");
    assert_eq!(capabilities(bundle), [0; 5]);
}

fn capabilities_of_a_user_end_at_execve(t: &Sandbox) {
    let list = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = sets(
        t,
        json!({"bounding": list, "permitted": list, "effective": list}),
    );
    let bundle = bundle.set("/process/user", user());
    assert_eq!(capabilities(bundle), [0, 0, 0, CHOWN | KILL, 0]);
}

fn ambient_capabilities_of_a_user(t: &Sandbox) {
    let list = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = sets(
        t,
        json!({"bounding": list, "permitted": list, "effective": list,
        "inheritable": list, "ambient": ["CAP_CHOWN"]}),
    );
    let bundle = bundle.set("/process/user", user());
    let both = CHOWN | KILL;
    assert_eq!(capabilities(bundle), [both, CHOWN, CHOWN, both, CHOWN]);
}

fn inheritable_without_ambient(t: &Sandbox) {
    let list = json!(["CAP_CHOWN"]);
    let bundle = sets(
        t,
        json!({"bounding": list, "permitted": list, "inheritable": list}),
    );
    let bundle = bundle.set("/process/user", user());
    assert_eq!(capabilities(bundle), [CHOWN, 0, 0, CHOWN, 0]);
}

fn unknown_capability_only_warns(t: &Sandbox) {
    let list = json!(["CAP_KILL", "CAP_NONSENSE"]);
    let bundle = sets(
        t,
        json!({"bounding": list, "permitted": list, "effective": list}),
    );
    let container = bundle.shell(STATUS).container();
    let output = container.run().ok();
    assert!(output.stderr.contains("CAP_NONSENSE"), "{output}");
    assert!(
        output.stdout.contains(&format!("CapBnd: {KILL:016x}")),
        "{output}"
    );
}

fn capability_that_the_runtime_lacks_only_warns(t: &Sandbox) {
    let set = json!(["CAP_KILL", "CAP_CHOWN"]);
    let sets = json!({"bounding": set, "permitted": set, "effective": set, "inheritable": set,
        "ambient": set});
    let bundle = t.bundle().set("/process/capabilities", sets);
    let container = bundle
        .shell("grep -E 'Cap(Eff|Amb)' /proc/self/status")
        .container();
    let call = t
        .runtime()
        .arg("run")
        .prefix(["setpriv", "--bounding-set=-kill"]);
    let output = container.launch(call).finish().ok();
    let chown = format!("{:016x}", 1);
    assert_eq!(output.stdout.matches(&chown).count(), 2, "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(
        output.stderr.contains("CAP_KILL is not granted"),
        "{output}"
    );
}

fn capability_that_cannot_be_ambient_only_warns(t: &Sandbox) {
    let list = json!(["CAP_KILL"]);
    let bundle = sets(
        t,
        json!({"bounding": list, "permitted": list, "effective": list, "ambient": list}),
    );
    let container = bundle.shell(STATUS).container();
    let output = container.run().ok();
    assert!(output.stderr.contains("ambient"), "{output}");
    assert!(
        output.stdout.contains("CapAmb: 0000000000000000"),
        "{output}"
    );
}

fn capabilities_are_limited_to_the_bounding_set(t: &Sandbox) {
    // The highest capability that the kernel knows, and one that user id 0 would add.
    let bundle = sets(
        t,
        json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_CHOWN"],
        "effective": ["CAP_CHOWN"]}),
    );
    assert_eq!(capabilities(bundle)[1..4], [KILL, KILL, KILL]);
}

/// Runs a set-user-id busybox of root as user 1000.
fn set_user_id(t: &Sandbox, no_new_privileges: bool) -> Output {
    let bundle = t.bundle().file("/suid/busybox", "");
    let program = bundle.rootfs().join("suid/busybox");
    std::fs::copy(bundle.rootfs().join("bin/busybox"), &program).expect("copy");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(&program, mode).expect("mode");
    // busybox drops root privileges for most applets. The file tells it to keep them for `id`, which
    // fails without them.
    let bundle = bundle
        .file("/etc/busybox.conf", "[SUID]\nid = ssx\n")
        .set("/process/user", user())
        .set("/process/noNewPrivileges", json!(no_new_privileges));
    bundle
        .args(&["/suid/busybox", "id", "-u"])
        .container()
        .run()
}

fn set_user_id_program_gains_nothing_with_no_new_privileges(t: &Sandbox) {
    set_user_id(t, true).fails_with("Operation not permitted");
}

fn set_user_id_program_works_without_no_new_privileges(t: &Sandbox) {
    set_user_id(t, false).ok().prints("0");
}

fn several_rlimits(t: &Sandbox) {
    let names = [
        ("RLIMIT_CORE", "core file size", 11, 12),
        ("RLIMIT_CPU", "cpu time", 501, 502),
        ("RLIMIT_FSIZE", "file size", 1_000_001, 1_000_002),
        ("RLIMIT_NOFILE", "open files", 100, 101),
        ("RLIMIT_NPROC", "processes", 400, 401),
        ("RLIMIT_STACK", "stack size", 8_000_001, 8_000_002),
    ];
    let list = names.map(|(name, _, soft, hard)| json!({"type": name, "soft": soft, "hard": hard}));
    let bundle = t.bundle().set("/process/rlimits", json!(list));
    let script = "tr -s ' ' </proc/1/limits";
    let output = bundle.shell(script).container().run().ok();
    for (_, words, soft, hard) in names {
        let line = format!("Max {words} {soft} {hard} ");
        assert!(output.stdout.contains(&line), "{line}: {output}");
    }
}

fn rlimit_infinity(t: &Sandbox) {
    let list = json!([{"type": "RLIMIT_FSIZE", "soft": u64::MAX, "hard": u64::MAX}]);
    let bundle = t.bundle().set("/process/rlimits", list);
    let output = bundle.shell("ulimit -f; ulimit -Hf").container().run();
    output.ok().prints("unlimited\nunlimited");
}

fn smallest_rlimits_do_not_hinder_the_start(t: &Sandbox) {
    let list = json!([
        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3},
        {"type": "RLIMIT_NPROC", "soft": 1, "hard": 1},
    ]);
    let bundle = t.bundle().set("/process/rlimits", list);
    // HOME is looked up in a file, which needs a descriptor.
    let script = "echo $HOME; ulimit -n";
    let container = bundle.shell(script).container();
    let output = container.run().ok();
    output.prints("/root\n3");
}

/// The hooks run under the filter, which need not allow setrlimit(2) afterwards.
fn start_container_hooks_have_the_limits_of_the_process(t: &Sandbox) {
    let list = json!([{"type": "RLIMIT_NOFILE", "soft": 60, "hard": 70}]);
    let bundle = t.bundle().set("/process/rlimits", list);
    let script = "exec >/limits; ulimit -n; ulimit -Hn";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let bundle = bundle.set("/hooks/startContainer", json!([hook]));
    let output = bundle.shell("cat /limits").container().run().ok();
    output.prints("60\n70");
}

fn rlimit_twice_is_refused(t: &Sandbox) {
    let one = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
    let container = t
        .bundle()
        .set("/process/rlimits", json!([one, one]))
        .container();
    // The specification requires this, but the other runtimes accept it.
    let output = container.create();
    if crate::host::peer_name(&t.runtime).is_some() && output.status.success() {
        return;
    }
    output.fails_with("process.rlimits[1]");
    container.verb("state").fails_with("does not exist");
}

fn oom_score_adj_is_left_alone(t: &Sandbox) {
    let container = t
        .bundle()
        .args(&["cat", "/proc/self/oom_score_adj"])
        .container();
    let call = t.runtime().arg("run");
    let call = call.prefix([
        "sh",
        "-c",
        "echo 123 >/proc/self/oom_score_adj; exec \"$@\"",
        "sh",
    ]);
    container.launch(call).finish().ok().prints("123");
}

fn negative_oom_score_adj(t: &Sandbox) {
    let bundle = t.bundle().set("/process/oomScoreAdj", json!(-500));
    let container = bundle
        .args(&["cat", "/proc/self/oom_score_adj"])
        .container();
    container.run().ok().prints("-500");
}

fn oom_score_adj_out_of_range_is_refused(t: &Sandbox) {
    for score in [1001, -1001] {
        let container = t
            .bundle()
            .set("/process/oomScoreAdj", json!(score))
            .container();
        container.create().fails();
        container.verb("state").fails_with("does not exist");
    }
}

fn personality_linux32(t: &Sandbox) {
    // PER_LINUX32 of personality(2) is 8.
    for (domain, value) in [("LINUX", "00000000"), ("LINUX32", "00000008")] {
        let personality = json!({"domain": domain});
        let bundle = t.bundle().set("/linux/personality", personality);
        let container = bundle.args(&["cat", "/proc/self/personality"]).container();
        container.run().ok().prints(value);
    }
}

fn personality_flags_are_refused(t: &Sandbox) {
    let personality = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]});
    let container = t
        .bundle()
        .set("/linux/personality", personality)
        .container();
    container.create().fails_with("linux.personality");
    container.verb("state").fails_with("does not exist");
}
