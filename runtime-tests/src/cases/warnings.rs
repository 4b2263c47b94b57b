//! The codes of warnings, provoked one by one. Each message is the example of its code in
//! sampan-errors(7).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::codes::{Row, is_example, json_log, row, run};
use crate::bundle::Bundle;
use crate::{Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![a_warning_has_a_code_for_programs[Need::NotAPeer],];

/// Warnings, and details of the debug log.
const WARNINGS: &[Row] = &[
    row(
        "warning.unknown-property",
        &[("level", "debug"), ("field", "process.evn")],
        |t| warned(t, t.bundle().set("/process/evn", json!([]))),
    ),
    row(
        "warning.no-effect",
        &[
            ("level", "warning"),
            ("field", "linux.resources.memory.swappiness"),
        ],
        |t| {
            let memory = json!({"swappiness": 60});
            warned(t, t.bundle().set("/linux/resources/memory", memory))
        },
    ),
    row("warning.read-as", &[("level", "warning")], |t| {
        let mount = json!({"destination": "data", "type": "tmpfs", "source": "tmpfs"});
        warned(t, t.bundle().mount(mount))
    }),
    row("warning.unknown-capability", &[("level", "warning")], |t| {
        let bounding = json!(["CAP_KILL", "CAP_FROB"]);
        warned(
            t,
            t.bundle().set("/process/capabilities/bounding", bounding),
        )
    }),
    row(
        "warning.capability-not-granted",
        &[
            ("level", "warning"),
            ("field", "process.capabilities.ambient"),
        ],
        |t| {
            let capabilities = json!({"bounding": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
            warned(t, t.bundle().set("/process/capabilities", capabilities))
        },
    ),
    row(
        "warning.unknown-call",
        &[("level", "debug"), ("field", "linux.seccomp")],
        |t| {
            let rule = json!({"names": ["mkdirr"], "action": "SCMP_ACT_KILL"});
            let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            warned(t, t.bundle().set("/linux/seccomp", seccomp))
        },
    ),
    row("warning.not-recorded", &[("level", "warning")], |t| {
        let file = json!({"sampan.seccomp.record": t.path("profile")});
        let bundle = t.bundle().set("/annotations", file);
        let container = bundle.args(&["sleep", "1000"]).container();
        container.create().ok();
        let words = ["exec", &container.id, "true"];
        let output = json_log(t).args(words).run().ok();
        container.delete_force().ok();
        output
    }),
    row("warning.ended", &[("level", "warning")], |t| {
        let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"});
        let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let bundle = t.bundle().set("/linux/seccomp", seccomp);
        run(t, bundle.args(&["mkdir", "/new"]))
    }),
    row("warning.remains", &[("level", "warning")], |t| {
        let directory = t.root.join("web");
        fs::create_dir_all(&directory).expect("the directory");
        for path in [&t.root, &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
        }
        for name in ["state.json", "config.json"] {
            fs::write(directory.join(name), "{").expect(name);
        }
        json_log(t).args(["delete", "--force", "web"]).run().ok()
    }),
];

/// What a container that is made prints.
#[track_caller]
fn warned(t: &Sandbox, bundle: Bundle) -> Output {
    let container = bundle.args(&["true"]).container();
    let call = json_log(t).arg("--debug").arg("run");
    container.launch(call).finish().ok()
}

fn a_warning_has_a_code_for_programs(t: &Sandbox) {
    for row in WARNINGS {
        let output = (row.provoke)(t);
        let lines = output.stderr.lines();
        let objects = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut objects = objects.filter(|object| object["code"] == row.code);
        let object = objects.next();
        let object = object.unwrap_or_else(|| panic!("{}: {output}", row.code));
        let object = is_example(t, object, row.code);
        for (key, value) in row.data {
            assert_eq!(object[key], *value, "{}: {object}", row.code);
        }
    }
    let blessed = std::env::var_os("BLESS").is_some();
    assert!(!blessed, "the examples for sampan-errors(7) are above");
}
