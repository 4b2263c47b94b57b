//! `linux.namespaces`, and what belongs to them: id mappings and time offsets.

use super::*;
use crate::config::{IdMapping, Namespace};

#[test]
fn namespaces() {
    refused(&[
        (
            "/linux/namespaces/0/type",
            r#""disk""#,
            "linux.namespaces[0].type: unknown variant `disk`",
        ),
        (
            "/linux/namespaces/0/type",
            "",
            "linux.namespaces[0].type: missing",
        ),
        (
            "/linux/namespaces/1/type",
            r#""mount""#,
            "linux.namespaces[1].type: \"mount\" is listed twice",
        ),
        (
            "/linux/namespaces/1/path",
            r#""proc/1""#,
            "linux.namespaces[1].path: \"proc/1\" is not",
        ),
        (
            "/linux/namespaces/1/path",
            r#""/\u0000""#,
            "linux.namespaces[1].path: has a NUL byte",
        ),
    ]);
    let config = accepted(&[("/linux/namespaces/1/path", r#""/proc/1/ns/net""#)]);
    let field = "linux.namespaces[1].path".to_owned();
    let join = Namespace::Join {
        field,
        path: "/proc/1/ns/net".into(),
    };
    assert_eq!(config.linux.namespaces.network, join);
    assert_eq!(config.linux.namespaces.pid, Namespace::New);
    let config = accepted(&[("/linux/namespaces/1/path", r#""""#)]);
    assert_eq!(config.linux.namespaces.network, Namespace::New);
}

#[test]
fn id_mappings() {
    let map =
        |c: u64, h: u64, s: u64| format!(r#"{{"containerID": {c}, "hostID": {h}, "size": {s}}}"#);
    let many: Vec<_> = (0..341).map(|id| map(id, id, 1)).collect();
    refused(&[
        (
            "/linux/uidMappings",
            "",
            "linux.uidMappings: missing; a new user namespace",
        ),
        (
            "/linux/gidMappings",
            "[]",
            "linux.gidMappings: missing; a new user namespace",
        ),
        (
            "/linux/uidMappings/0/containerID",
            "1",
            "linux.uidMappings: no mapping for container ID 0",
        ),
        (
            "/linux/uidMappings/0/size",
            "0",
            "linux.uidMappings[0].size: 0 maps nothing",
        ),
        (
            "/linux/uidMappings/0/size",
            "",
            "linux.uidMappings[0].size: 0 maps nothing",
        ),
        (
            "/linux/uidMappings/0/hostID",
            "-1",
            "linux.uidMappings[0].hostID: invalid value",
        ),
        (
            "/linux/uidMappings/0",
            &map(0, 4294967295, 1),
            "linux.uidMappings[0].hostID: the range 4294967295+1",
        ),
        (
            "/linux/uidMappings/0",
            &map(4294967290, 0, 9),
            "linux.uidMappings[0].containerID: the range 4294967290+9",
        ),
        (
            "/linux/uidMappings/-",
            &map(65535, 0, 1),
            "linux.uidMappings[1].containerID: the range",
        ),
        (
            "/linux/gidMappings/-",
            &map(70000, 99999, 2),
            "linux.gidMappings[1].hostID: the range",
        ),
        (
            "/linux/namespaces/6/type",
            r#""user2""#,
            "linux.namespaces[6].type: unknown variant",
        ),
        (
            "/linux/uidMappings",
            &format!("[{}]", many.join(",")),
            "linux.uidMappings: 341 entries",
        ),
    ]);
    let mut config = json(ENGINE);
    patch(&mut config, "/linux/namespaces", r#"[{"type": "mount"}]"#);
    patch(&mut config, "/linux/uidMappings", "");
    let error = load(&config).expect_err("no user namespace").to_string();
    assert!(
        error.starts_with("linux.gidMappings: needs a user namespace"),
        "{error}"
    );

    let config = accepted(&[("/linux/uidMappings/-", &map(65536, 200000, 1))]);
    let second = IdMapping {
        container_id: 65536,
        host_id: 200_000,
        size: 1,
    };
    assert_eq!(config.linux.uid_mappings[1], second);
    // A joined namespace has its own mappings. Engines may repeat them.
    let mut config = patched("/linux/namespaces/6/path", r#""/proc/1/ns/user""#);
    load(&config).expect("path and mappings");
    patch(&mut config, "/linux/uidMappings", "");
    patch(&mut config, "/linux/gidMappings", "");
    load(&config).expect("path alone");
}

#[test]
fn time_offsets() {
    refused(&[
        (
            "/linux/timeOffsets/realtime",
            "{}",
            "linux.timeOffsets.realtime: unknown clock",
        ),
        (
            "/linux/timeOffsets/monotonic/nanosecs",
            "1000000000",
            "linux.timeOffsets.monotonic.nano",
        ),
        (
            "/linux/timeOffsets/monotonic/secs",
            r#""1""#,
            "linux.timeOffsets.monotonic.secs: invalid",
        ),
        (
            "/linux/namespaces/7/path",
            r#""/proc/1/ns/time""#,
            "linux.timeOffsets: cannot be set",
        ),
        (
            "/linux/namespaces/7",
            r#"{"type": "pid"}"#,
            "linux.namespaces[7].type: \"pid\" is listed",
        ),
    ]);
    let mut config = json(ENGINE);
    let list = r#"[{"type": "mount"}, {"type": "user"}, {"type": "ipc"}, {"type": "network"},
        {"type": "uts"}]"#;
    patch(&mut config, "/linux/namespaces", list);
    let error = load(&config).expect_err("no time namespace").to_string();
    assert!(
        error.starts_with("linux.timeOffsets: needs a time namespace"),
        "{error}"
    );

    let offsets = load(&json(ENGINE)).expect("valid").linux.time_offsets;
    assert_eq!(
        (offsets[0].clock.as_str(), offsets[0].secs),
        ("boottime", -60)
    );
    assert_eq!(
        (offsets[1].clock.as_str(), offsets[1].nanosecs),
        ("monotonic", 5)
    );
}
