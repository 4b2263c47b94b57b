use serde_json::json;

use super::super::tests::{cpu, lines, memory, unified, with_unified};
use super::super::writes;
use super::*;
use crate::config::resources::{Hugepage, Rdma, WeightDevice};
use crate::error::texts;

#[test]
fn memory_and_swap() {
    for (given, wanted) in [
        (json!({}), &[][..]),
        (json!({"limit": 0, "swap": 0}), &[]),
        (json!({"limit": 1000}), &["memory.max=1000"]),
        (
            json!({"limit": 1000, "swap": 1000}),
            &["memory.swap.max=0", "memory.max=1000"],
        ),
        (
            json!({"limit": 1000, "swap": 3000}),
            &["memory.swap.max=2000", "memory.max=1000"],
        ),
        (
            json!({"limit": 1000, "swap": -1}),
            &["memory.swap.max=max", "memory.max=1000"],
        ),
        (json!({"swap": -1}), &["memory.swap.max=max"]),
        (
            json!({"limit": -1}),
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (
            json!({"limit": -1, "swap": -1}),
            &["memory.swap.max=max", "memory.max=max"],
        ),
    ] {
        assert_eq!(lines(&memory(&given)), wanted, "{given}");
    }
    let fields = |given| {
        let writes = writes(&memory(&given), &unified()).unwrap();
        writes
            .into_iter()
            .map(|write| write.field)
            .collect::<Vec<_>>()
    };
    let (limit, swap) = (
        "linux.resources.memory.limit",
        "linux.resources.memory.swap",
    );
    assert_eq!(fields(json!({"limit": -1})), [limit, limit]);
    assert_eq!(fields(json!({"limit": 5, "swap": 5})), [swap, limit]);
}

#[test]
fn memory_reservation_and_check() {
    let memory_with = |reservation, check| {
        memory(&json!({
            "limit": 1000, "swap": 1000, "reservation": reservation, "checkBeforeUpdate": check,
        }))
    };
    assert_eq!(lines(&memory_with(500, false))[2], "memory.low=500");
    assert_eq!(lines(&memory_with(-1, false))[2], "memory.low=max");

    let writes = writes(&memory_with(-1, true), &unified()).unwrap();
    let above: Vec<_> = writes.iter().map(|write| write.above).collect();
    assert_eq!(above, [None, Some("memory.current"), None]);
    assert_eq!(
        writes[0].fallback,
        Fallback::SkipIfAbsent,
        "without swap accounting there is nothing to limit"
    );
    assert_eq!(writes[1].fallback, Fallback::Fail);
}

#[test]
fn shares_to_weight() {
    for (shares, wanted) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 2),
        (16, 5),
        (256, 35),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (8192, 532),
        (102_400, 4429),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        let resources = cpu(&json!({ "shares": shares }));
        assert_eq!(
            lines(&resources),
            [format!("cpu.weight={wanted}")],
            "{shares}"
        );
    }
    assert!(lines(&cpu(&json!({"shares": 0}))).is_empty());
}

/// With the C library's functions instead of the sums.
#[test]
fn every_weight_is_that_of_exact_functions() {
    for shares in 3..262_144_u32 {
        let l = f64::from(shares).log2();
        let exponent = (l * l + 125.0 * l - 126.0) / 612.0;
        let wanted = 10f64.powf(exponent).ceil();
        assert!(weight(shares.into()) as f64 == wanted, "{shares}");
    }
}

#[test]
fn idle_excludes_weight() {
    let idle = |idle, shares| cpu(&json!({"idle": idle, "shares": shares}));
    assert_eq!(lines(&idle(1, 1024)), ["cpu.idle=1"]);
    assert_eq!(lines(&idle(0, 1024)), ["cpu.idle=0", "cpu.weight=100"]);
    assert_eq!(warnings(&idle(1, 1024)).len(), 1);
    assert!(warnings(&idle(1, 0)).is_empty());
}

#[test]
fn bandwidth_and_burst() {
    for (given, wanted) in [
        (json!({"quota": 50_000}), &["cpu.max=50000 100000"][..]),
        (
            json!({"quota": 50_000, "period": 20_000}),
            &["cpu.max=50000 20000"],
        ),
        (
            json!({"quota": -1, "period": 20_000}),
            &["cpu.max=max 20000"],
        ),
        (json!({"period": 20_000}), &["cpu.max=max 20000"]),
        (json!({"quota": 0, "period": 0}), &[]),
        (json!({"burst": 10}), &["cpu.max.burst=10"]),
        (
            json!({"quota": 50_000, "burst": 10}),
            &[
                "cpu.max.burst=10",
                "cpu.max=50000 100000",
                "cpu.max.burst=10",
            ],
        ),
    ] {
        assert_eq!(lines(&cpu(&given)), wanted, "{given}");
    }
    let resources = cpu(&json!({"quota": 50_000, "burst": 10}));
    let writes = writes(&resources, &unified()).unwrap();
    assert_eq!(writes[0].fallback, Fallback::RetriedLater);
    assert_eq!(writes[2].fallback, Fallback::Fail);
}

#[test]
fn cpuset_and_pids() {
    let resources = cpu(&json!({"cpus": "0-1,4", "mems": "0"}));
    assert_eq!(lines(&resources), ["cpuset.cpus=0-1,4", "cpuset.mems=0"]);
    let pids = |limit: i64| super::super::tests::resources(&json!({"pids": {"limit": limit}}));
    assert_eq!(lines(&pids(0)), ["pids.max=1"]);
    assert_eq!(lines(&pids(-1)), ["pids.max=max"]);
    assert_eq!(lines(&pids(7)), ["pids.max=7"]);
}

fn block_io(block_io: BlockIo) -> Resources {
    Resources {
        block_io,
        ..Resources::default()
    }
}

#[test]
fn io_weights() {
    for (weight, scaled) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
        let device = WeightDevice {
            major: 8,
            minor: 16,
            weight,
        };
        let io = BlockIo {
            weight: Some(weight),
            weight_devices: vec![device],
            ..BlockIo::default()
        };
        let writes = writes(&block_io(io), &unified()).unwrap();
        let seen: Vec<_> = writes
            .iter()
            .map(|it| (it.file.as_str(), it.value.clone(), it.fallback.clone()))
            .collect();
        let other = |value| Fallback::IfAbsent {
            file: "io.weight".into(),
            value,
        };
        assert_eq!(
            seen,
            [
                (
                    "io.bfq.weight",
                    weight.to_string(),
                    other(scaled.to_string())
                ),
                (
                    "io.bfq.weight",
                    format!("8:16 {weight}"),
                    other(format!("8:16 {scaled}"))
                ),
            ]
        );
        assert_eq!(
            writes[1].field,
            "linux.resources.blockIO.weightDevice[0].weight"
        );
    }
}

#[test]
fn throttles_of_a_device_are_one_write() {
    let limit = |kind, minor, rate| Throttle {
        kind,
        major: 8,
        minor,
        rate,
    };
    let throttle = vec![
        limit(ThrottleKind::ReadBps, 0, 100),
        limit(ThrottleKind::WriteBps, 0, 200),
        limit(ThrottleKind::WriteBps, 16, 0),
        limit(ThrottleKind::ReadIops, 0, 300),
        limit(ThrottleKind::WriteIops, 16, 400),
    ];
    let resources = block_io(BlockIo {
        throttle,
        ..BlockIo::default()
    });
    assert_eq!(
        lines(&resources),
        [
            "io.max=8:0 rbps=100 wbps=200 riops=300",
            "io.max=8:16 wbps=max wiops=400"
        ]
    );
    assert_eq!(
        writes(&resources, &unified()).unwrap()[1].field,
        "linux.resources.blockIO.throttleWriteBpsDevice and throttleWriteIOPSDevice"
    );
}

#[test]
fn hugepages_and_rdma() {
    let hugepages = vec![Hugepage {
        page_size: "2MB".into(),
        limit: 4096,
    }];
    let resources = Resources {
        hugepages,
        ..Resources::default()
    };
    assert_eq!(
        lines(&resources),
        ["hugetlb.2MB.rsvd.max=4096", "hugetlb.2MB.max=4096"]
    );
    let writes = writes(&resources, &unified()).unwrap();
    assert_eq!(writes[0].fallback, Fallback::SkipIfAbsent);
    assert_eq!(writes[1].fallback, Fallback::Fail);

    let rdma = vec![
        (
            "mlx5_0".to_owned(),
            Rdma {
                hca_handles: Some(2),
                hca_objects: Some(2000),
            },
        ),
        (
            "mlx5_1".to_owned(),
            Rdma {
                hca_handles: None,
                hca_objects: Some(5),
            },
        ),
    ];
    let resources = Resources {
        rdma,
        ..Resources::default()
    };
    assert_eq!(
        lines(&resources),
        [
            "rdma.max=mlx5_0 hca_handle=2 hca_object=2000",
            "rdma.max=mlx5_1 hca_object=5"
        ]
    );
}

#[test]
fn unified_files() {
    assert_eq!(lines(&with_unified("memory.high", "5")), ["memory.high=5"]);
    assert_eq!(
        lines(&with_unified("misc.unheard_of", "5")),
        ["misc.unheard_of=5"]
    );
    assert_eq!(
        lines(&with_unified("cgroup.max.depth", "5")),
        ["cgroup.max.depth=5"]
    );
    assert_eq!(lines(&with_unified("cpuset.cpus", "")), ["cpuset.cpus=\n"]);
    assert_eq!(
        lines(&with_unified("io.max", "8:0 rbps=1\n8:16 wbps=2\n")),
        ["io.max=8:0 rbps=1", "io.max=8:16 wbps=2"]
    );
    let error = writes(&with_unified("nothing.max", "1"), &unified())
        .unwrap_err()
        .to_string();
    let start = "linux.resources.unified[\"nothing.max\"]: ";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error.contains("has no nothing controller for nothing.max"),
        "{error}"
    );
    let mut resources = with_unified("memory.max", "7");
    resources.memory.limit = Some(Limit::At(5));
    assert_eq!(
        lines(&resources),
        ["memory.max=5", "memory.max=7"],
        "unified comes last"
    );
}

#[test]
fn warnings_name_properties_without_counterpart_in_v2() {
    let mut resources = memory(&json!({}));
    assert!(warnings(&resources).is_empty());
    resources.memory.swappiness = Some(60);
    resources.memory.disable_oom_killer = true;
    let text = texts(&warnings(&resources)).join("\n");
    assert!(
        text.contains("memory.swappiness") && text.contains("memory.disableOOMKiller"),
        "{text}"
    );
    assert!(lines(&resources).is_empty());
}
