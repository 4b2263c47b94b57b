use std::collections::BTreeMap;

use super::super::tests::{cpu, error, lines, memory, unified, with_unified};
use super::super::writes;
use super::*;
use crate::config::resources::{Hugepage, Rdma, WeightDevice};

#[test]
fn memory_and_swap() {
    for (limit, swap, wanted) in [
        (None, None, &[][..]),
        (Some(0), Some(0), &[]),
        (Some(1000), None, &["memory.max=1000"]),
        (
            Some(1000),
            Some(1000),
            &["memory.swap.max=0", "memory.max=1000"],
        ),
        (
            Some(1000),
            Some(3000),
            &["memory.swap.max=2000", "memory.max=1000"],
        ),
        (
            Some(1000),
            Some(-1),
            &["memory.swap.max=max", "memory.max=1000"],
        ),
        (None, Some(-1), &["memory.swap.max=max"]),
        (Some(-1), None, &["memory.swap.max=max", "memory.max=max"]),
        (
            Some(-1),
            Some(-1),
            &["memory.swap.max=max", "memory.max=max"],
        ),
    ] {
        assert_eq!(lines(&memory(limit, swap)), wanted, "{limit:?} {swap:?}");
    }
    for (limit, swap, wanted) in [
        (
            None,
            Some(1000),
            "linux.resources.memory.swap: 1000 counts memory and swap together and needs",
        ),
        (
            Some(-1),
            Some(1000),
            "linux.resources.memory.swap: 1000 limits memory and swap together while",
        ),
        (
            Some(2000),
            Some(1000),
            "linux.resources.memory.swap: 1000 counts memory and swap together and is less",
        ),
        (
            Some(-2),
            None,
            "linux.resources.memory.limit: -2 is negative",
        ),
        (
            Some(10),
            Some(-2),
            "linux.resources.memory.swap: -2 is negative",
        ),
    ] {
        let error = error(&memory(limit, swap));
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn memory_reservation_and_check() {
    let mut resources = memory(Some(1000), Some(1000));
    resources.memory.reservation = Some(500);
    assert_eq!(lines(&resources)[2], "memory.low=500");
    resources.memory.reservation = Some(-1);
    assert_eq!(lines(&resources)[2], "memory.low=max");

    resources.memory.check_before_update = true;
    let writes = writes(&resources, &unified()).unwrap();
    let above: Vec<_> = writes.iter().map(|write| write.above).collect();
    assert_eq!(above, [None, Some("memory.current"), None]);
    assert_eq!(
        writes[0].fallback,
        Fallback::SkipIfAbsent,
        "no swap is no loss without swap"
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
        let resources = cpu(Cpu {
            shares: Some(shares),
            ..Cpu::default()
        });
        assert_eq!(
            lines(&resources),
            [format!("cpu.weight={wanted}")],
            "{shares}"
        );
    }
    assert!(
        lines(&cpu(Cpu {
            shares: Some(0),
            ..Cpu::default()
        }))
        .is_empty()
    );
}

#[test]
fn idle_excludes_weight() {
    let idle = |idle, shares| {
        cpu(Cpu {
            idle: Some(idle),
            shares,
            ..Cpu::default()
        })
    };
    assert_eq!(lines(&idle(1, Some(1024))), ["cpu.idle=1"]);
    assert_eq!(
        lines(&idle(0, Some(1024))),
        ["cpu.idle=0", "cpu.weight=100"]
    );
    assert_eq!(warnings(&idle(1, Some(1024))).len(), 1);
    assert!(warnings(&idle(1, None)).is_empty());
    assert_eq!(
        error(&idle(2, None)),
        "linux.resources.cpu.idle: 2 is neither 0 nor 1"
    );
}

#[test]
fn bandwidth_and_burst() {
    let limit = |quota, period, burst| {
        cpu(Cpu {
            quota,
            period,
            burst,
            ..Cpu::default()
        })
    };
    for (resources, wanted) in [
        (
            limit(Some(50_000), None, None),
            &["cpu.max=50000 100000"][..],
        ),
        (
            limit(Some(50_000), Some(20_000), None),
            &["cpu.max=50000 20000"],
        ),
        (limit(Some(-1), Some(20_000), None), &["cpu.max=max 20000"]),
        (limit(None, Some(20_000), None), &["cpu.max=max 20000"]),
        (limit(Some(0), Some(0), None), &[]),
        (limit(None, None, Some(10)), &["cpu.max.burst=10"]),
        (
            limit(Some(50_000), None, Some(10)),
            &[
                "cpu.max.burst=10",
                "cpu.max=50000 100000",
                "cpu.max.burst=10",
            ],
        ),
    ] {
        assert_eq!(lines(&resources), wanted);
    }
    let writes = writes(&limit(Some(50_000), None, Some(10)), &unified()).unwrap();
    assert_eq!(writes[0].fallback, Fallback::RetriedLater);
    assert_eq!(writes[2].fallback, Fallback::Fail);
    assert!(error(&limit(Some(10), None, Some(11))).starts_with("linux.resources.cpu.burst: 11"));
}

#[test]
fn cpuset_pids_and_realtime() {
    let resources = cpu(Cpu {
        cpus: Some("0-1,4".into()),
        mems: Some("0".into()),
        ..Cpu::default()
    });
    assert_eq!(lines(&resources), ["cpuset.cpus=0-1,4", "cpuset.mems=0"]);
    let pids = |limit| Resources {
        pids: Some(limit),
        ..Resources::default()
    };
    assert_eq!(lines(&pids(0)), ["pids.max=0"]);
    assert_eq!(lines(&pids(-1)), ["pids.max=max"]);
    assert_eq!(lines(&pids(7)), ["pids.max=7"]);
    assert!(error(&pids(-7)).starts_with("linux.resources.pids.limit: -7"));
    assert!(
        error(&cpu(Cpu {
            realtime_runtime: Some(1),
            ..Cpu::default()
        }))
        .starts_with("linux.resources.cpu.realtimeRuntime: ")
    );
    assert!(
        error(&cpu(Cpu {
            realtime_period: Some(1),
            ..Cpu::default()
        }))
        .starts_with("linux.resources.cpu.realtimePeriod: ")
    );
    let zero = Cpu {
        realtime_runtime: Some(0),
        realtime_period: Some(0),
        ..Cpu::default()
    };
    assert!(lines(&cpu(zero)).is_empty());
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
    for weight in [9, 1001] {
        let io = BlockIo {
            weight: Some(weight),
            ..BlockIo::default()
        };
        assert!(error(&block_io(io)).starts_with("linux.resources.blockIO.weight: "));
    }
    assert!(
        lines(&block_io(BlockIo {
            weight: Some(0),
            ..BlockIo::default()
        }))
        .is_empty()
    );
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

    let hugepages = vec![Hugepage {
        page_size: "../2MB".into(),
        limit: 1,
    }];
    let resources = Resources {
        hugepages,
        ..Resources::default()
    };
    assert!(error(&resources).starts_with("linux.resources.hugepageLimits[0]: pageSize"));

    let rdma = BTreeMap::from([
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
    ]);
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
    let error = error(&with_unified("nothing.max", "1"));
    let start = "linux.resources.unified[\"nothing.max\"]: ";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error.contains("has no nothing controller for nothing.max"),
        "{error}"
    );
    let mut resources = with_unified("memory.max", "7");
    resources.memory.limit = Some(5);
    assert_eq!(
        lines(&resources),
        ["memory.max=5", "memory.max=7"],
        "unified has the last word"
    );
}

#[test]
fn warnings_name_what_v2_lacks() {
    let mut resources = memory(None, None);
    assert!(warnings(&resources).is_empty());
    resources.memory.swappiness = Some(60);
    resources.memory.disable_oom_killer = true;
    let text = warnings(&resources).join("\n");
    assert!(
        text.contains("memory.swappiness") && text.contains("memory.disableOOMKiller"),
        "{text}"
    );
    assert!(lines(&resources).is_empty());
}
