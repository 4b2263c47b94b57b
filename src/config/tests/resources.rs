//! `linux.resources`.

use super::*;
use crate::config::Resources;
use crate::config::resources::{DeviceRuleKind, ThrottleKind};
use crate::config::resources::{Limit, Swap};

const AT: &str = "/linux/resources";

fn wrong(rows: &[(&str, &str, &str)]) {
    for (pointer, value, expected) in rows {
        refused(&[(
            &format!("{AT}{pointer}"),
            value,
            &format!("linux.resources{expected}"),
        )]);
    }
}

fn good(pointer: &str, value: &str) -> Resources {
    accepted(&[(&format!("{AT}{pointer}"), value)])
        .linux
        .resources
}

#[test]
fn device_rules() {
    wrong(&[
        (
            "/devices/1/type",
            r#""p""#,
            ".devices[1].type: \"p\" is not a type of device rule",
        ),
        (
            "/devices/1/type",
            r#""z""#,
            ".devices[1].type: unknown variant `z`",
        ),
        (
            "/devices/1/access",
            r#""rx""#,
            ".devices[1].access: unknown access 'x' in \"rx\"",
        ),
        (
            "/devices/1/major",
            "-2",
            ".devices[1].major: -2 is outside the range 0 to 4095",
        ),
        (
            "/devices/1/minor",
            "1048576",
            ".devices[1].minor: 1048576 is outside",
        ),
        ("/devices/1/allow", "1", ".devices[1].allow: invalid type"),
    ]);
    let rules = good("/devices/1/access", "").devices;
    assert_eq!(
        (rules[0].kind, rules[0].allow),
        (DeviceRuleKind::All, false)
    );
    assert_eq!((rules[0].major, rules[0].minor), (None, None));
    assert!(rules[1].allow && rules[1].read && rules[1].write && rules[1].mknod);
    assert_eq!((rules[2].major, rules[2].minor), (Some(10), None));
    assert!(rules[2].read && rules[2].write && !rules[2].mknod);
}

#[test]
fn memory() {
    wrong(&[
        ("/memory/limit", "-2", ".memory.limit: -2 is below -1"),
        (
            "/memory/reservation",
            "-2",
            ".memory.reservation: -2 is below -1",
        ),
        ("/memory/swap", "-2", ".memory.swap: -2 is below -1"),
        (
            "/memory/swap",
            "1000",
            ".memory.swap: 1000 counts memory and swap together but is below the limit 536870912",
        ),
        (
            "/memory/limit",
            r#""1G""#,
            ".memory.limit: invalid type: string \"1G\"",
        ),
        (
            "/memory/swappiness",
            "101",
            ".memory.swappiness: 101 is outside the range 0 to 100",
        ),
    ]);
    let memory = good("/memory/swap", "-1").memory;
    assert_eq!(memory.limit, Some(Limit::At(536_870_912)));
    assert_eq!(memory.swap, Some(Swap::Asked(Limit::Max)));
    let swap = |memory: &str| good("/memory", memory).memory.swap;
    assert_eq!(
        swap(r#"{"limit": 5, "swap": 7}"#),
        Some(Swap::Asked(Limit::At(2)))
    );
    assert_eq!(swap(r#"{"limit": -1}"#), Some(Swap::FromLimit));
    assert_eq!(swap(r#"{"limit": 0, "swap": 0}"#), None);
    wrong(&[
        (
            "/memory",
            r#"{"swap": 7}"#,
            ".memory.swap: 7 counts memory and swap together, so it needs linux.resources.memory.limit",
        ),
        (
            "/memory",
            r#"{"limit": -1, "swap": 7}"#,
            ".memory.swap: 7 limits memory and swap together, but",
        ),
    ]);
    assert_eq!(good("/memory", r#"{"limit": 0}"#).memory.limit, None);
    assert!(
        good("/memory/checkBeforeUpdate", "true")
            .memory
            .check_before_update
    );
    for (name, value) in [
        ("kernel", "1"),
        ("kernelTCP", "1"),
        ("useHierarchy", "false"),
    ] {
        let expected = format!("linux.resources.memory.{name}: cgroup v2 has no such control");
        warned(&format!("{AT}/memory/{name}"), value, &expected);
    }
}

#[test]
fn cpu() {
    wrong(&[
        (
            "/cpu/period",
            "999",
            ".cpu.period: 999 is outside the range 1000 to 1000000",
        ),
        (
            "/cpu/quota",
            "999",
            ".cpu.quota: 999 is outside the range 1000 to",
        ),
        (
            "/cpu/burst",
            "50001",
            ".cpu.burst: 50001 is above the quota 50000",
        ),
        ("/cpu/idle", "2", ".cpu.idle: 2 is outside the range 0 to 1"),
        ("/cpu/cpus", r#""3-1""#, ".cpu.cpus: \"3-1\" is not a list"),
        (
            "/cpu/cpus",
            r#""0,,1""#,
            ".cpu.cpus: \"0,,1\" is not a list",
        ),
        ("/cpu/mems", r#""a""#, ".cpu.mems: \"a\" is not a list"),
        (
            "/cpu/realtimeRuntime",
            "1",
            ".cpu.realtimeRuntime: cgroup v2 has no such control",
        ),
        (
            "/cpu/realtimePeriod",
            "1",
            ".cpu.realtimePeriod: cgroup v2 has no such control",
        ),
        ("/cpu/shares", "-1", ".cpu.shares: invalid value"),
    ]);
    assert_eq!(good("/cpu/quota", "-2").cpu.quota, Some(Limit::Max));
    let cpu = good("/cpu/quota", "-1").cpu;
    assert_eq!(
        (cpu.shares, cpu.quota, cpu.period),
        (Some(512), Some(Limit::Max), Some(100_000))
    );
    assert_eq!(
        (cpu.cpus.as_deref(), cpu.mems.as_deref()),
        (Some("0-1"), Some("0"))
    );
    assert_eq!(good("/cpu/shares", "0").cpu.shares, None);
    good("/cpu/realtimeRuntime", "0");
    assert_eq!(
        good("/cpu/cpus", r#""0-3,5""#).cpu.cpus.as_deref(),
        Some("0-3,5")
    );
}

#[test]
fn a_program_can_hold_all_device_rules() {
    let rules =
        |count| serde_json::json!(vec![serde_json::json!({"allow": true}); count]).to_string();
    assert_eq!(good("/devices", &rules(4096)).devices.len(), 4096);
    let many = rules(4097);
    let message = ".devices: 4097 rules; at most 4096 are supported";
    wrong(&[("/devices", &many, message)]);
}

#[test]
fn pids_zero_leaves_room_for_init_and_absent_is_none() {
    wrong(&[("/pids/limit", "-2", ".pids.limit: -2 is below -1")]);
    assert_eq!(good("/pids/limit", "0").pids, Some(Limit::At(1)));
    assert_eq!(good("/pids/limit", "-1").pids, Some(Limit::Max));
    assert_eq!(good("/pids", "{}").pids, None);
    assert_eq!(good("/pids/limit", "null").pids, None);
    assert_eq!(good("/pids", "").pids, None);
}

#[test]
fn block_io() {
    wrong(&[
        (
            "/blockIO/weightDevice/0/weight",
            "",
            ".blockIO.weightDevice[0].weight: missing",
        ),
        (
            "/blockIO/weight",
            "9",
            ".blockIO.weight: 9 is outside the range 10 to 1000",
        ),
        (
            "/blockIO/weight",
            "1001",
            ".blockIO.weight: 1001 is outside",
        ),
        (
            "/blockIO/weight",
            "65536",
            ".blockIO.weight: invalid value: integer `65536`",
        ),
        (
            "/blockIO/weightDevice/0/weight",
            "1",
            ".blockIO.weightDevice[0].weight: 1 is outside",
        ),
        (
            "/blockIO/weightDevice/0/major",
            "-1",
            ".blockIO.weightDevice[0].major: -1 is outside",
        ),
        (
            "/blockIO/throttleReadBpsDevice/0/minor",
            "-1",
            ".blockIO.throttleReadBpsDevice[0].minor: -1 is outside",
        ),
        (
            "/blockIO/throttleWriteIOPSDevice/0/rate",
            "-1",
            ".blockIO.throttleWriteIOPSDevice[0].rate: invalid value",
        ),
    ]);
    let block_io = good("/blockIO/weight", "0").block_io;
    assert_eq!(block_io.weight, None);
    assert_eq!(block_io.weight_devices[0].weight, 500);
    let throttle: Vec<_> = block_io
        .throttle
        .iter()
        .map(|it| (it.kind, it.rate))
        .collect();
    assert_eq!(
        throttle,
        [
            (ThrottleKind::ReadBps, 1_048_576),
            (ThrottleKind::WriteIops, 100)
        ]
    );
    let expected = "linux.resources.blockIO.leafWeight: cgroup v2 has no such control";
    warned("/linux/resources/blockIO/leafWeight", "10", expected);
    let expected = "linux.resources.blockIO.weightDevice[0].leafWeight: cgroup v2";
    warned(
        "/linux/resources/blockIO/weightDevice/0/leafWeight",
        "10",
        expected,
    );
}

#[test]
fn hugepages_network_rdma_unified() {
    wrong(&[
        (
            "/hugepageLimits/0/pageSize",
            r#""2M""#,
            ".hugepageLimits[0].pageSize: \"2M\" is not",
        ),
        (
            "/hugepageLimits/0/pageSize",
            r#""KB""#,
            ".hugepageLimits[0].pageSize: \"KB\" is not",
        ),
        (
            "/hugepageLimits/0/pageSize",
            r#""02MB""#,
            ".hugepageLimits[0].pageSize: \"02MB\" is",
        ),
        (
            "/hugepageLimits/0/pageSize",
            "",
            ".hugepageLimits[0].pageSize: \"\" is not",
        ),
        (
            "/hugepageLimits/0/limit",
            "",
            ".hugepageLimits[0].limit: missing",
        ),
        (
            "/hugepageLimits/0/limit",
            "null",
            ".hugepageLimits[0].limit: missing",
        ),
        (
            "/hugepageLimits/0/limit",
            "-1",
            ".hugepageLimits[0].limit: -1 is negative",
        ),
        (
            "/network",
            r#"{"classID": 5}"#,
            ".network.classID: cgroup v2 has no such control",
        ),
        (
            "/network",
            r#"{"priorities": [{"name": "eth0", "priority": 5}]}"#,
            ".network.priorities: cgroup v2 has no such control",
        ),
        (
            "/rdma/mlx5_1",
            "{}",
            ".rdma[\"mlx5_1\"]: needs hcaHandles or hcaObjects",
        ),
        (
            "/rdma/a b",
            r#"{"hcaObjects": 1}"#,
            ".rdma[\"a b\"]: not the name of a device",
        ),
        (
            "/unified/a~1b",
            r#""1""#,
            ".unified[\"a/b\"]: not the name of a cgroup file",
        ),
        (
            "/unified/..",
            r#""1""#,
            ".unified[\"..\"]: not the name of a cgroup file",
        ),
        (
            "/unified/memory",
            r#""1""#,
            ".unified[\"memory\"]: not the name of a cgroup file",
        ),
        (
            "/unified/.max",
            r#""1""#,
            ".unified[\".max\"]: not the name of a cgroup file",
        ),
        (
            "/unified/memory.",
            r#""1""#,
            ".unified[\"memory.\"]: not the name of a cgroup file",
        ),
        (
            "/unified/cgroup.procs",
            r#""1""#,
            ".unified[\"cgroup.procs\"]: this core file of cgroups is not a limit",
        ),
        (
            "/unified/cgroup.",
            r#""1""#,
            ".unified[\"cgroup.\"]: this core file of cgroups is not a limit",
        ),
        (
            "/unified/cpu.max",
            r#""1\u0000""#,
            ".unified[\"cpu.max\"]: has a NUL byte",
        ),
        (
            "/unified/cpu.max",
            "1",
            ".unified[\"cpu.max\"]: invalid type",
        ),
    ]);
    assert_eq!(good("/hugepageLimits/0/limit", "0").hugepages[0].limit, 0);
    let resources = good("/network", r#"{"classID": 0, "priorities": []}"#);
    assert_eq!(resources.hugepages[0].page_size, "2MB");
    assert_eq!(resources.rdma[0].0, "mlx5_1");
    assert_eq!(resources.rdma[0].1.hca_handles, Some(3));
    assert_eq!(resources.unified["memory.high"], "1000000000");
}

#[test]
fn an_update_file_is_the_value_of_resources() {
    let (resources, warnings) =
        spec::resources(br#"{"pids": {}, "memory": {"limit": 5}}"#).expect("valid");
    assert_eq!(
        (resources.pids, resources.memory.limit),
        (None, Some(Limit::At(5)))
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    for (text, expected) in [
        (
            r#"{"memory": {"limit": -2}}"#,
            "linux.resources.memory.limit: -2 is below -1",
        ),
        (
            r#"{"memory": {"limit": "x"}}"#,
            "linux.resources.memory.limit: invalid type",
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB"}]}"#,
            "linux.resources.hugepageLimits[0].limit: missing",
        ),
    ] {
        let error = spec::resources(text.as_bytes())
            .expect_err(text)
            .to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
