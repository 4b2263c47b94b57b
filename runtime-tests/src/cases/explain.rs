//! `explain`: what it says is what happens, and asking changes nothing.

use serde_json::{Value, json};

use crate::call::Output;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_filter_is_told_call_by_call[Need::NotAPeer],
    no_filter_allows_everything[Need::NotAPeer],
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
