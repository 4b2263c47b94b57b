//! `linux`, except resources and seccomp.

use super::*;
use crate::config::intel_rdt::Group;
use crate::config::{DeviceKind, Personality, RootPropagation};

#[test]
fn devices() {
    refused(&[
        (
            "/linux/devices/0/path",
            "",
            "linux.devices[0].path: missing",
        ),
        (
            "/linux/devices/0/path",
            r#""dev/x""#,
            "linux.devices[0].path: \"dev/x\" is not an abs",
        ),
        (
            "/linux/devices/0/path",
            r#""/dev/..""#,
            "linux.devices[0].path: / cannot be a device",
        ),
        (
            "/linux/devices/0/type",
            r#""a""#,
            "linux.devices[0].type: \"a\" is not a device type",
        ),
        (
            "/linux/devices/0/type",
            r#""x""#,
            "linux.devices[0].type: unknown variant `x`",
        ),
        (
            "/linux/devices/0/type",
            "",
            "linux.devices[0].type: missing",
        ),
        (
            "/linux/devices/0/major",
            "-1",
            "linux.devices[0].major: -1 is outside the range 0 to 4095",
        ),
        (
            "/linux/devices/0/minor",
            "1048576",
            "linux.devices[0].minor: 1048576 is outside",
        ),
        (
            "/linux/devices/0/fileMode",
            "65536",
            "linux.devices[0].fileMode: 65536 is outside",
        ),
        (
            "/linux/devices/-",
            r#"{"path": "/dev/fuse/", "type": "b", "major": 1, "minor": 1}"#,
            "linux.devices[2].path: /dev/fuse differs from linux.devices[0]",
        ),
    ]);
    let config = accepted(&[(
        "/linux/devices/-",
        r#"{"path": "/dev//pipe/", "type": "p"}"#,
    )]);
    let devices = config.linux.devices;
    assert_eq!(devices.len(), 2);
    assert_eq!(
        (devices[0].major, devices[0].minor, devices[0].mode),
        (10, 229, 0o666)
    );
    assert_eq!(
        (devices[1].kind, devices[1].path.to_str()),
        (DeviceKind::Fifo, Some("/dev/pipe"))
    );
    let config = accepted(&[("/linux/devices/0/type", r#""u""#)]);
    assert_eq!(config.linux.devices[0].kind, DeviceKind::Char);
}

#[test]
fn sysctl() {
    let host = "not a namespaced parameter";
    let row = |key: &str, expected: &str| {
        let path = format!("linux.sysctl[{key:?}]: {expected}");
        let error = load(&patched("/linux/sysctl", &format!("{{{key:?}: \"1\"}}")));
        let error = error.expect_err(key).to_string();
        assert!(error.starts_with(&path), "{error}");
    };
    for key in [
        "kernel.panic",
        "vm.swappiness",
        "kernel/core_pattern",
        "fs.file-max",
        "net",
        "x",
    ] {
        row(key, host);
    }
    row("kernel.hostname", "not allowed (set hostname instead)");
    for key in [
        "net..x",
        "net/../kernel/panic",
        "",
        "/net/x",
        "net.",
        "net.ipv4.a//b/../x",
    ] {
        row(key, "not the name");
    }
    let twice = r#"{"net.ipv4.x": "1", "net/ipv4/x": "1"}"#;
    refused(&[
        (
            "/linux/sysctl",
            twice,
            "linux.sysctl[\"net/ipv4/x\"]: is set twice",
        ),
        (
            "/linux/sysctl",
            r#"{"net.x": "\u0000"}"#,
            "linux.sysctl[\"net.x\"]: has a NUL byte",
        ),
        (
            "/linux/sysctl",
            r#"{"net.x": 1}"#,
            "linux.sysctl[\"net.x\"]: invalid type",
        ),
    ]);
    let config = accepted(&[("/linux/sysctl/user.max_user_namespaces", r#""0""#)]);
    let keys: Vec<_> = config
        .linux
        .sysctl
        .iter()
        .map(|sysctl| sysctl.path.as_str())
        .collect();
    let expected = [
        "kernel/shm_rmid_forced",
        "net/ipv4/ip_unprivileged_port_start",
        "net/ipv4/ping_group_range",
        "user/max_user_namespaces",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn sysctl_needs_its_namespace() {
    for (key, kind) in [
        ("kernel.msgmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.core.somaxconn", "network"),
        ("kernel.domainname", "uts"),
        ("user.max_user_namespaces", "user"),
    ] {
        let config = format!(
            r#"{{"ociVersion": "1.0.0", "root": {{"path": "/"}},
                "linux": {{"sysctl": {{"{key}": "1"}}}}}}"#
        );
        let error = load(&json(&config)).expect_err(key).to_string();
        assert!(
            error.contains(&format!("needs a {kind} namespace")),
            "{key}: {error}"
        );
    }
}

#[test]
fn other_properties() {
    refused(&[
        (
            "/linux/rootfsPropagation",
            r#""x""#,
            "linux.rootfsPropagation: unknown value \"x\"",
        ),
        (
            "/linux/maskedPaths/1",
            r#""proc""#,
            "linux.maskedPaths[1]: \"proc\" is not an absolute",
        ),
        (
            "/linux/maskedPaths/1",
            r#""/a/..""#,
            "linux.maskedPaths[1]: / is the container's root",
        ),
        (
            "/linux/readonlyPaths/1",
            r#""""#,
            "linux.readonlyPaths[1]: missing",
        ),
        (
            "/linux/readonlyPaths/1",
            r#""/\u0000""#,
            "linux.readonlyPaths[1]: has a NUL byte",
        ),
        (
            "/linux/personality/domain",
            r#""BSD""#,
            "linux.personality.domain: unknown variant `BSD`",
        ),
        (
            "/linux/personality/flags",
            r#"["X"]"#,
            "linux.personality.flags: not supported",
        ),
        (
            "/linux/cgroupsPath",
            r#""/a\nb""#,
            "linux.cgroupsPath: \"/a\\nb\" is not a path: control character",
        ),
        (
            "/linux/cgroupsPath",
            r#""/\u0000""#,
            "linux.cgroupsPath: has a NUL byte",
        ),
        (
            "/linux/mountLabel",
            r#""\u0000""#,
            "linux.mountLabel: has a NUL byte",
        ),
        (
            "/linux/netDevices",
            r#"{"a b": {}}"#,
            "linux.netDevices[\"a b\"]: \"a b\" is not a name of a network device",
        ),
        (
            "/linux/netDevices",
            r#"{"": {}}"#,
            "linux.netDevices[\"\"]: \"\" is not a name of a network device",
        ),
        (
            "/linux/netDevices",
            r#"{"e%d": {}}"#,
            "linux.netDevices[\"e%d\"]: \"e%d\" has a %",
        ),
        (
            "/linux/netDevices",
            r#"{"e": {"name": "%d%d"}}"#,
            "linux.netDevices[\"e\"].name: \"%d%d\" has a %",
        ),
        (
            "/linux/netDevices",
            r#"{"e": {"name": "x"}, "x": {}}"#,
            "linux.netDevices[\"x\"].name: \"x\" is also the name of linux.netDevices[\"e\"]",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"nodes": "0"}"#,
            "linux.memoryPolicy.mode: missing",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_NONE"}"#,
            "linux.memoryPolicy.mode: unknown variant `MPOL_NONE`",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_BIND"}"#,
            "linux.memoryPolicy.nodes: MPOL_BIND needs nodes",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_INTERLEAVE", "nodes": ""}"#,
            "linux.memoryPolicy.nodes: MPOL_INTERLEAVE needs nodes",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_LOCAL", "nodes": "0"}"#,
            "linux.memoryPolicy.nodes: MPOL_LOCAL has no nodes",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_DEFAULT", "nodes": "0"}"#,
            "linux.memoryPolicy.nodes: MPOL_DEFAULT has no nodes",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_BIND", "nodes": "a"}"#,
            "linux.memoryPolicy.nodes: \"a\" is not a list such as 0-3,5",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_BIND", "nodes": "0-1024"}"#,
            "linux.memoryPolicy.nodes: 1024 is above 1023",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}"#,
            "linux.memoryPolicy.flags[0]: unknown variant `MPOL_F_X`",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}"#,
            "linux.memoryPolicy.flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}"#,
            "linux.memoryPolicy.flags: MPOL_PREFERRED without nodes has no",
        ),
        (
            "/linux/memoryPolicy",
            r#"{"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}"#,
            "linux.memoryPolicy.flags: MPOL_INTERLEAVE has no MPOL_F_NUMA_BALANCING",
        ),
        (
            "/linux/intelRdt",
            r#"{"closID": "a/b"}"#,
            "linux.intelRdt.closID: \"a/b\" is not the name of a directory in resctrl",
        ),
        (
            "/linux/intelRdt",
            r#"{"memBwSchema": "MB"}"#,
            "linux.intelRdt.memBwSchema: \"MB\" is not a line such as L3:0=ff;1=f",
        ),
    ]);
    for list in ["maskedPaths", "readonlyPaths"] {
        let config = format!(
            r#"{{"ociVersion": "1.0.0", "root": {{"path": "/"}}, "linux": {{"{list}": ["/a"]}}}}"#
        );
        let error = load(&json(&config)).expect_err(list).to_string();
        assert!(
            error.starts_with(&format!("linux.{list}: needs a mount namespace")),
            "{error}"
        );
    }
    let linux = accepted(&[("/linux/netDevices", "{}")]).linux;
    assert_eq!(linux.masked_paths.len(), 2, "{:?}", linux.masked_paths);
    assert_eq!(linux.personality, Some(Personality::Linux32));
    assert_eq!(linux.rootfs_propagation, Some(RootPropagation::Slave));
    assert_eq!(linux.cgroups_path.as_deref(), Some("/docker/af0d"));
    assert!(linux.mount_label.is_some());
    for (word, expected) in [
        ("shared", Some(RootPropagation::Shared)),
        ("rprivate", Some(RootPropagation::Private)),
        ("unbindable", Some(RootPropagation::Unbindable)),
        ("", None),
    ] {
        let config = accepted(&[("/linux/rootfsPropagation", &format!("{word:?}"))]);
        assert_eq!(config.linux.rootfs_propagation, expected, "{word}");
    }
}

#[test]
fn memory_policy() {
    let policy = |value: &str| {
        accepted(&[("/linux/memoryPolicy", value)])
            .linux
            .memory_policy
    };
    let bind = policy(
        r#"{"mode": "MPOL_BIND", "nodes": "0,65",
            "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}"#,
    );
    let bind = bind.expect("a policy");
    assert_eq!(bind.mode_and_flags(), 2 | 1 << 15 | 1 << 13);
    assert_eq!(bind.nodes.expect("nodes").mask, [1, 2]);
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"] {
        let value = format!(r#"{{"mode": "{mode}", "nodes": ""}}"#);
        let policy = policy(&value).expect("a policy");
        assert_eq!(policy.nodes, None, "{mode}");
    }
}

#[test]
fn intel_rdt() {
    let rdt = |value: &str| accepted(&[("/linux/intelRdt", value)]).linux.intel_rdt;
    let full = rdt(
        r#"{"closID": "gold", "memBwSchema": "MB:0=9", "l3CacheSchema": "L3:0=f\nL3:1=f",
            "schemata": ["L2:0=1"], "enableMonitoring": true}"#,
    );
    let full = full.expect("a group");
    assert_eq!(full.group, Some(Group::Named("gold".to_owned())));
    assert_eq!(full.schemata, ["L3:0=f", "L3:1=f", "MB:0=9", "L2:0=1"]);
    assert!(full.monitoring);
    assert_eq!(rdt(r#"{"closID": ""}"#).expect("a group").group, None);
    let root = rdt(r#"{"closID": "/"}"#).expect("a group").group;
    assert_eq!(root, Some(Group::Root));
}
