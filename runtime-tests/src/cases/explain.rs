//! `explain`: what it says is what happens, and asking changes nothing.

use serde_json::{Value, json};

use crate::call::Output;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_filter_is_told_call_by_call[Need::NotAPeer],
    no_filter_allows_everything[Need::NotAPeer],
    two_configs_are_compared[Need::NotAPeer],
    a_config_is_compared_with_a_container[Need::NotAPeer],
    what_cannot_be_compared_is_named[Need::NotAPeer],
];

fn explain(t: &Sandbox, bundle: &std::path::Path, flags: &[&str]) -> Output {
    let call = t.runtime().args(["explain"]).args(flags);
    call.arg("--bundle").arg(bundle).run()
}

/// The sentences and what a program sees agree.
fn a_filter_is_told_call_by_call(t: &Sandbox) {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            // 28 is ENOSPC.
            {"names": ["mkdir", "mkdirat", "mkdirr"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["mkdir"], "action": "SCMP_ACT_KILL", "args": [
                {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"},
            ]},
        ],
    });
    let bundle = t.bundle().set("/linux/seccomp", profile);
    let container = bundle.shell("mkdir /new").container();
    let text = explain(t, &container.bundle, &["--seccomp"]).ok().stdout;
    for line in [
        "warning  linux.seccomp.syscalls[0].names: mkdirr: no architecture has this call",
        "warning  linux.seccomp.syscalls[1].names: mkdir: cannot match: \
         linux.seccomp.syscalls[0] answers first, for any arguments, and contradicts it",
        "mkdirat fails with ENOSPC  <- linux.seccomp.syscalls[0]",
        "every other call is allowed  <- linux.seccomp.defaultAction",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
    let json: Value = explain(t, &container.bundle, &["--seccomp", "--json"])
        .ok()
        .json();
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(2), "{json}");
    let output = container.run().exits(1);
    assert!(output.stderr.contains("No space left"), "{output}");
}

fn no_filter_allows_everything(t: &Sandbox) {
    let bundle = t.bundle().write();
    explain(t, &bundle, &["--seccomp"])
        .ok()
        .prints("every call is allowed  <- no linux.seccomp");
    assert_eq!(
        explain(t, &bundle, &["--seccomp", "--json"]).ok().json(),
        Value::Null
    );
}

fn diff(t: &Sandbox, before: &str, after: &str, flags: &[&str]) -> Output {
    let call = t.runtime().args(["explain", "--diff", before, after]);
    call.args(flags).run()
}

fn two_configs_are_compared(t: &Sandbox) {
    let rule = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule});
    let bundle = t.bundle().set("/hostname", json!("one"));
    let before = bundle.set("/linux/seccomp", profile).write();
    let text = std::fs::read_to_string(before.join("config.json")).expect("the config");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["hostname"] = json!("two");
    config["process"]["env"]
        .as_array_mut()
        .expect("env")
        .push(json!("NEW=1"));
    config["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_KILL");
    config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
    config["linux"]["readonlyPaths"] = json!([]);
    let after = before.join("after.json");
    std::fs::write(&after, config.to_string()).expect("the config");
    let (before, after) = (
        before.to_str().expect("UTF-8"),
        after.to_str().expect("UTF-8"),
    );
    let output = diff(t, before, after, &[]).exits(1);
    for line in [
        "< init     sethostname one  <- hostname\n> init     sethostname two  <- hostname",
        "+ variable NEW=1  <- process.env",
        "< x86_64   mkdir fails with EPERM  <- linux.seccomp.syscalls[0]\n\
         > x86_64   mkdir kills the thread  <- linux.seccomp.syscalls[0]",
    ] {
        let line = line.replace("x86_64  ", &format!("{:<8}", std::env::consts::ARCH));
        assert!(
            output.stdout.contains(&format!("{line}\n")),
            "{line}\n{output}"
        );
    }
    let json = diff(t, before, after, &["--json"]).exits(1).json();
    let changes = json.as_array().expect("a list");
    let added = changes
        .iter()
        .any(|it| it["change"] == "added" && it["phase"] == "variable");
    assert!(added, "{json}");
    diff(t, before, before, &[]).ok().prints("");
    assert_eq!(diff(t, after, after, &["--json"]).ok().json(), json!([]));
}

/// The saved config is that of the container, also if the bundle has another one by now.
fn a_config_is_compared_with_a_container(t: &Sandbox) {
    let bundle = t.bundle().set("/hostname", json!("one"));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let (id, path) = (
        container.id.as_str(),
        container.bundle.to_str().expect("UTF-8"),
    );
    diff(t, id, path, &[]).ok().prints("");
    let file = container.bundle.join("config.json");
    let text = std::fs::read_to_string(&file).expect("the config");
    std::fs::write(&file, text.replace("\"one\"", "\"two\"")).expect("the config");
    let expected = "\
        < init     sethostname one  <- hostname\n\
        > init     sethostname two  <- hostname";
    diff(t, id, path, &[]).exits(1).prints(expected);
}

fn what_cannot_be_compared_is_named(t: &Sandbox) {
    let bundle = t.bundle().write();
    let path = bundle.to_str().expect("UTF-8");
    let output = diff(t, path, "nonexistent", &[]).exits(2);
    assert!(output.stderr.contains("--diff: nonexistent: "), "{output}");
    assert!(
        output.stderr.contains("neither a container nor"),
        "{output}"
    );
}
