//! `linux.seccomp`: the effects of a filter on the process, and nothing beyond them.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    errno_is_returned,
    errno_defaults_to_eperm,
    default_action_with_its_errno,
    kill_ends_the_process,
    trap_sends_sigsys,
    log_lets_the_call_through,
    arguments_are_compared,
    several_conditions_must_all_hold,
    unknown_call_is_ignored,
    unknown_calls_are_named_with_debug[Need::NotAPeer],
    absent_numbers_of_an_argument_are_zero,
    call_that_no_profile_knows_gives_enosys[Need::NotAPeer],
    allowed_default_lets_unknown_calls_through,
    the_runtime_needs_no_call_after_the_filter[Need::NotAPeer],
    home_is_found_before_the_filter,
    default_profile_of_docker,
    start_container_hooks_are_under_the_filter,
    filter_that_refuses_hooks_is_reported[Need::NotAPeer],
    flags_are_accepted,
    wrong_profiles_are_refused,
    absent_profile_means_no_filter,
    filter_that_refuses_execve_is_reported[Need::NotAPeer],
    filter_that_leaves_init_no_way_to_report_is_named[Need::NotAPeer],
];

/// A profile that allows everything except these rules.
pub(super) fn rules(t: &Sandbox, rules: Value) -> Bundle<'_> {
    t.bundle().set("/linux/seccomp", profile(rules))
}

fn profile(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn errno_is_returned(t: &Sandbox) {
    // 28 is ENOSPC.
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let container = rules(t, rule).shell("mkdir /new; echo $?").container();
    let output = container.run().ok().prints("1");
    assert!(output.stderr.contains("No space left"), "{output}");
}

fn errno_defaults_to_eperm(t: &Sandbox) {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
    let output = rules(t, rule)
        .args(&["mkdir", "/new"])
        .container()
        .run()
        .exits(1);
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output}"
    );
}

fn default_action_with_its_errno(t: &Sandbox) {
    // The set of calls that a shell and these applets need is unknown here, so the default action
    // is tested with Docker's profile, from which this case removes `mkdir`.
    let mut profile = docker();
    profile["defaultErrnoRet"] = json!(28);
    for rule in profile["syscalls"].as_array_mut().expect("rules") {
        let names = rule["names"].as_array_mut().expect("names");
        names.retain(|name| !MKDIR.iter().any(|mkdir| name == mkdir));
    }
    let bundle = t.bundle().set("/linux/seccomp", profile);
    let output = bundle.args(&["mkdir", "/new"]).container().run().exits(1);
    assert!(output.stderr.contains("No space left"), "{output}");
}

fn kill_ends_the_process(t: &Sandbox) {
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
    ] {
        let rule = json!([{"names": MKDIR, "action": action}]);
        let bundle = rules(t, rule).args(&["mkdir", "/new"]);
        bundle.container().run().exits(128 + 31);
    }
}

fn trap_sends_sigsys(t: &Sandbox) {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_TRAP"}]);
    let script = "trap 'echo trapped' SYS; sh -c 'mkdir /new'; echo $?";
    let output = rules(t, rule).shell(script).container().run().ok();
    output.prints("159");
}

fn log_lets_the_call_through(t: &Sandbox) {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_LOG"}]);
    let bundle = rules(t, rule).shell("mkdir /new && ls -d /new");
    bundle.container().run().ok().prints("/new");
}

/// Which of the modes 0o600, 0o640 and 0o644 chmod(2) may set under this condition.
fn allowed_modes(t: &Sandbox, conditions: &[Value]) -> String {
    let rule = |names: &[&str], index: u32| {
        let args: Vec<_> = conditions
            .iter()
            .map(|condition| {
                let mut condition = condition.clone();
                if condition["index"].is_null() {
                    condition["index"] = json!(index);
                }
                condition
            })
            .collect();
        json!({"names": names, "action": "SCMP_ACT_ERRNO", "args": args})
    };
    let list = json!([rule(&["chmod"], 1), rule(&["fchmodat", "fchmodat2"], 2)]);
    let script = "for m in 600 640 644; do chmod $m /file 2>/dev/null && echo $m; done; true";
    let bundle = rules(t, list).file("/file", "").shell(script);
    bundle.container().run().ok().stdout.replace('\n', " ")
}

fn arguments_are_compared(t: &Sandbox) {
    let value = 0o640;
    for (op, allowed) in [
        ("SCMP_CMP_EQ", "600 644 "),
        ("SCMP_CMP_NE", "640 "),
        ("SCMP_CMP_LT", "640 644 "),
        ("SCMP_CMP_LE", "644 "),
        ("SCMP_CMP_GT", "600 640 "),
        ("SCMP_CMP_GE", "600 "),
    ] {
        let condition = json!({"op": op, "value": value});
        assert_eq!(allowed_modes(t, &[condition]), allowed, "{op}");
    }
    // `value` is the mask: modes that are readable for others are refused.
    let masked = json!({"op": "SCMP_CMP_MASKED_EQ", "value": 0o004, "valueTwo": 0o004});
    assert_eq!(allowed_modes(t, &[masked]), "600 640 ");
}

fn several_conditions_must_all_hold(t: &Sandbox) {
    // The first argument, a path or AT_FDCWD, is never 0.
    let mode = json!({"op": "SCMP_CMP_EQ", "value": 0o640});
    let first = |op: &str| json!({"op": op, "value": 0, "index": 0});
    assert_eq!(
        allowed_modes(t, &[mode.clone(), first("SCMP_CMP_NE")]),
        "600 644 "
    );
    assert_eq!(
        allowed_modes(t, &[mode, first("SCMP_CMP_EQ")]),
        "600 640 644 "
    );
    // Several conditions on one argument are separate rules, as in other runtimes.
    let either = [0o600, 0o644].map(|mode| json!({"op": "SCMP_CMP_EQ", "value": mode}));
    assert_eq!(allowed_modes(t, &either), "640 ");
}

fn unknown_call_is_ignored(t: &Sandbox) {
    let rule = json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let output = rules(t, rule)
        .args(&["mkdir", "/new"])
        .container()
        .run()
        .exits(1);
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output}"
    );
}

fn unknown_calls_are_named_with_debug(t: &Sandbox) {
    let rule =
        json!([{"names": ["no_such_call", "mkdir", "nor_this"], "action": "SCMP_ACT_ERRNO"}]);
    let container = rules(t, rule).args(&["true"]).container();
    let output = container.run().ok();
    assert_eq!(output.stderr, "");
    let call = t.runtime().args(["--debug", "run"]);
    let output = container.sibling().launch(call).finish().ok();
    let line = output
        .stderr
        .lines()
        .find(|line| line.contains("no_such_call"));
    let line = line.expect("the names");
    assert!(
        line.contains("nor_this") && line.contains("debug"),
        "{line}"
    );
}

/// Writers that leave out zeros leave out those of the conditions on arguments too.
fn absent_numbers_of_an_argument_are_zero(t: &Sandbox) {
    // The probe calls it with zeros.
    let rule = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
        "args": [{"op": "SCMP_CMP_EQ"}]}]);
    let bundle = rules(t, rule);
    let number = libc::SYS_personality.to_string();
    let output = bundle.probe(&["syscall", &number]).container().run();
    output.ok().prints("7");
}

/// A number that no kernel has assigned to a call.
const FUTURE: &str = "2000";

fn call_that_no_profile_knows_gives_enosys(t: &Sandbox) {
    // The author of the profile could not know the call. C libraries use a fallback for ENOSYS
    // (38).
    let bundle = t.bundle().set("/linux/seccomp", docker());
    bundle
        .probe(&["syscall", FUTURE])
        .container()
        .run()
        .ok()
        .prints("38");
}

fn allowed_default_lets_unknown_calls_through(t: &Sandbox) {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
    let bundle = rules(t, rule).probe(&["syscall", FUTURE]);
    bundle.container().run().ok().prints("38");
}

/// The profile kills a process for the calls that a runtime might make after the filter; the
/// program needs none of them.
fn the_runtime_needs_no_call_after_the_filter(t: &Sandbox) {
    let names = json!([
        "sendmsg",
        "sendto",
        "recvmsg",
        "rt_sigprocmask",
        "setgroups",
        "chdir",
        "fchdir",
        "close_range",
        "capset",
        "umask",
        "fcntl",
        "access",
        "faccessat",
        "faccessat2",
        "chroot",
        "setsid",
        "socket",
    ]);
    let rule = json!([{"names": names, "action": "SCMP_ACT_KILL_PROCESS"}]);
    for user in [0, 1000] {
        let bundle = rules(t, rule.clone()).set("/process/user", json!({"uid": user, "gid": user}));
        bundle
            .args(&["echo", "ran"])
            .container()
            .run()
            .ok()
            .prints("ran");
    }
}

fn home_is_found_before_the_filter(t: &Sandbox) {
    let rule = json!([{"names": ["open", "openat", "openat2"], "action": "SCMP_ACT_ERRNO"}]);
    let bundle = rules(t, rule).args(&["sh", "-c", "echo $HOME"]);
    bundle.container().run().ok().prints("/root");
}

fn docker() -> Value {
    let text = include_str!("../../data/docker-seccomp.json");
    serde_json::from_str(text).expect("the profile")
}

/// The hooks run in the container, with its rights and no more.
fn start_container_hooks_are_under_the_filter(t: &Sandbox) {
    let script = format!("cat >/tmp/state; ({STATUS}; unshare -U true || echo denied) >/tmp/hook");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    for (no_new_privileges, user) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
        let bundle = t
            .bundle()
            .set("/linux/seccomp", docker())
            .set("/hooks/startContainer", hook.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/user", json!({"uid": user, "gid": user}))
            .shell(&format!("{STATUS}; cat /tmp/hook; cat /tmp/state"));
        let output = bundle.container().run().ok();
        let lines: Vec<_> = output.stdout.lines().collect();
        let case = format!("noNewPrivileges {no_new_privileges}, user {user}\n{output}");
        assert_eq!(lines[0..3], lines[3..6], "{case}");
        assert_eq!(lines[5], "Seccomp: 2", "{case}");
        assert_eq!(lines[6], "denied", "{case}");
        assert!(output.stdout.contains(r#""status":"created""#), "{case}");
    }
}

fn filter_that_refuses_hooks_is_reported(t: &Sandbox) {
    let hook = json!([{"path": "/bin/true"}]);
    for (call, action) in [
        ("clone", "SCMP_ACT_ERRNO"),
        ("clone", "SCMP_ACT_KILL_PROCESS"),
        ("execve", "SCMP_ACT_ERRNO"),
    ] {
        let rule = json!([{"names": [call, "clone3"], "action": action}]);
        let bundle = rules(t, rule).set("/hooks/startContainer", hook.clone());
        let container = bundle.args(&["echo", "ran"]).container();
        let output = container.run().fails();
        let expected = match action {
            "SCMP_ACT_ERRNO" => "hooks.startContainer[0]",
            _ => "linux.seccomp: init ended before execve(2): killed by signal 31",
        };
        assert!(
            output.stderr.contains(expected),
            "{call} {action}: {output}"
        );
        assert!(output.stdout.is_empty(), "{call} {action}: {output}");
    }
}

const STATUS: &str = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t ' ' '";

fn default_profile_of_docker(t: &Sandbox) {
    for (no_new_privileges, user) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
        let bundle = t
            .bundle()
            .set("/linux/seccomp", docker())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/user", json!({"uid": user, "gid": user}));
        let script = format!(
            "{STATUS}; unshare -U true 2>/dev/null || echo denied; mkdir /tmp/new && echo made"
        );
        let output = bundle.shell(&script).container().run().ok();
        let case = format!("noNewPrivileges {no_new_privileges}, user {user}\n{output}");
        assert!(
            output
                .stdout
                .contains(&format!("NoNewPrivs: {}\n", u8::from(no_new_privileges))),
            "{case}"
        );
        assert!(output.stdout.contains("Seccomp: 2\n"), "{case}");
        assert!(output.stdout.ends_with("denied\nmade\n"), "{case}");
        let hex = output
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("CapEff: "));
        let effective = u64::from_str_radix(hex.expect("CapEff"), 16).expect("hex");
        assert_eq!(effective & 1 << 21, 0, "CAP_SYS_ADMIN: {case}");
        assert_eq!(effective == 0, user != 0, "{case}");
    }
}

fn flags_are_accepted(t: &Sandbox) {
    let one = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ];
    let mut lists: Vec<Value> = one.iter().map(|flag| json!([flag])).collect();
    lists.extend([json!([]), json!(one)]);
    for flags in lists {
        let bundle = rules(t, json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
        let bundle = bundle.set("/linux/seccomp/flags", flags.clone());
        let output = bundle.shell(STATUS).container().run().ok();
        assert!(output.stdout.contains("Seccomp: 2"), "{flags}: {output}");
    }
}

fn wrong_profiles_are_refused(t: &Sandbox) {
    let wrong: [(&str, Value); 6] = [
        ("/defaultAction", json!("SCMP_ACT_NONSENSE")),
        ("/architectures", json!(["SCMP_ARCH_NONSENSE"])),
        ("/flags", json!(["SECCOMP_FILTER_FLAG_NONSENSE"])),
        ("/syscalls/0/action", json!("SCMP_ACT_NONSENSE")),
        (
            "/syscalls/0/args",
            json!([{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}]),
        ),
        (
            "/syscalls/0/args",
            json!([{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]),
        ),
    ];
    for (pointer, value) in wrong {
        let bundle = rules(t, json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
        let container = bundle
            .set(&format!("/linux/seccomp{pointer}"), value)
            .container();
        container.create().fails_with("seccomp");
        container.verb("state").fails_with("does not exist");
    }
}

fn absent_profile_means_no_filter(t: &Sandbox) {
    let output = t.bundle().shell(STATUS).container().run().ok();
    assert!(output.stdout.contains("Seccomp: 0"), "{output}");
}

/// A profile that refuses these calls with EPERM.
fn refusing(names: &[&str]) -> Value {
    profile(json!([{"names": names, "action": "SCMP_ACT_ERRNO"}]))
}

/// By `run`, and by `create` and `start`: the error of the call that fails, in time.
#[track_caller]
fn refused(t: &Sandbox, profile: &Value, privileges: bool, words: &str) {
    let container = || {
        t.bundle()
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", json!(!privileges))
            .container()
    };
    container().run().exits(1).fails_with(words);
    container()
        .run_with(&["--detach"])
        .exits(1)
        .fails_with(words);
    let created = container();
    created.create().ok();
    // This process has not reaped init, so `start` can still find out how init ended.
    created.start().exits(1).fails_with(words);
    created.delete_force().ok();
}

const EXECUTE: [&str; 2] = ["execve", "execveat"];
const SAY: [&str; 4] = ["sendmsg", "sendto", "write", "writev"];
const EXIT: [&str; 2] = ["exit", "exit_group"];

fn filter_that_refuses_execve_is_reported(t: &Sandbox) {
    // Other calls may be refused too, as long as init has one way to report the error.
    for rest in [
        &[][..],
        &EXIT,
        &["sendmsg", "sendto"],
        &["recvmsg", "close"],
    ] {
        let profile = refusing(&[&EXECUTE[..], rest].concat());
        refused(t, &profile, false, "operation not permitted");
    }
}

fn filter_that_leaves_init_no_way_to_report_is_named(t: &Sandbox) {
    let silent = refusing(&[&EXECUTE[..], &SAY].concat());
    let nothing = json!({"defaultAction": "SCMP_ACT_ERRNO"});
    let only = |names: &[&str]| {
        let allowed = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allowed})
    };
    let kill = profile(json!([{"names": EXECUTE, "action": "SCMP_ACT_KILL_PROCESS"}]));
    for (profile, how) in [
        (silent, "exit status 1"),
        (only(&["exit"]), "exit status 1"),
        (only(&["exit_group"]), "exit status 1"),
        (nothing.clone(), "killed by signal 4"),
        (kill, "killed by signal 31"),
    ] {
        let words = format!("linux.seccomp: init ended before execve(2): {how}");
        refused(t, &profile, false, &words);
    }
    // Without noNewPrivileges init still has capabilities to drop.
    refused(t, &nothing, true, "init ended before execve(2)");
}
