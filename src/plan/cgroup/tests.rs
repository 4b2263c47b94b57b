use std::collections::BTreeMap;

use super::*;
use crate::config::linux::{IdMapping, Namespace};
use crate::config::resources::{
    BlockIo, Cpu, Hugepage, Memory, Rdma, Throttle, ThrottleKind, WeightDevice,
};
use crate::config::seccomp::Arch;
use crate::config::{Attrs, Hooks, Linux, Process, Root, User};

const ALL: [&str; 8] = [
    "cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma",
];

fn host(controllers: &[&str], mount: &str) -> CgroupHost {
    CgroupHost {
        mount: mount.into(),
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        own: "/".into(),
    }
}

fn unified() -> CgroupHost {
    host(&ALL, "/sys/fs/cgroup")
}

fn hybrid() -> CgroupHost {
    host(&["hugetlb"], "/sys/fs/cgroup/unified")
}

/// The writes as `file=value` lines.
fn lines(resources: &Resources) -> Vec<String> {
    let writes = writes(resources, &unified()).expect("these values are right");
    writes
        .iter()
        .map(|write| format!("{}={}", write.file, write.value))
        .collect()
}

fn error(resources: &Resources) -> String {
    writes(resources, &unified())
        .expect_err("this value is wrong")
        .to_string()
}

fn memory(limit: Option<i64>, swap: Option<i64>) -> Resources {
    Resources {
        memory: Memory {
            limit,
            swap,
            ..Memory::default()
        },
        ..Resources::default()
    }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources {
        cpu,
        ..Resources::default()
    }
}

#[test]
fn path_is_stable_and_inside() {
    for (own, given, wanted) in [
        ("/", Some("/docker/abc"), "docker/abc"),
        ("/user.slice/me", Some("/docker/abc"), "docker/abc"),
        ("/", Some("/a/./b//c/../d"), "a/b/d"),
        ("/", Some("/../../x"), "x"),
        ("/", None, "box"),
        ("/", Some(""), "box"),
        ("/", Some("pod/box"), "pod/box"),
        ("/system.slice/containerd.service", None, "system.slice/box"),
        (
            "/system.slice/containerd.service",
            Some("pod/box"),
            "system.slice/pod/box",
        ),
        ("/system.slice/containerd.service", Some("../x"), "x"),
        (
            "/",
            Some("system.slice:docker:abc"),
            "system.slice:docker:abc",
        ),
    ] {
        let host = CgroupHost {
            own: own.into(),
            ..unified()
        };
        assert_eq!(
            path(given, "box", &host).unwrap(),
            Path::new(wanted),
            "{own} {given:?}"
        );
    }
}

#[test]
fn path_that_names_no_cgroup() {
    let long = format!("/{}", "x".repeat(256));
    for (own, given, part) in [
        ("/", "/", "names no cgroup"),
        ("/", "/a/..", "names no cgroup"),
        ("/", "..", "names no cgroup"),
        ("/a/b", ".", "names no cgroup below /a"),
        ("/", "/a\nb", "control character"),
        ("/", "/a\0b", "control character"),
        ("/", &long, "256 bytes"),
    ] {
        let host = CgroupHost {
            own: own.into(),
            ..unified()
        };
        let error = path(Some(given), "box", &host)
            .expect_err(given)
            .to_string();
        assert!(
            error.starts_with("linux.cgroupsPath: ") && error.contains(part),
            "{error}"
        );
    }
}

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

fn with_unified(file: &str, value: &str) -> Resources {
    let unified = BTreeMap::from([(file.to_owned(), value.to_owned())]);
    Resources {
        unified,
        ..Resources::default()
    }
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
    for (file, part) in [
        ("a/b.c", "without a slash"),
        ("memory", "is not a cgroup file"),
        (".max", "is not a cgroup file"),
        ("memory.", "is not a cgroup file"),
        ("nothing.max", "has no nothing controller for nothing.max"),
    ] {
        let error = error(&with_unified(file, "1"));
        assert!(
            error.starts_with(&format!("linux.resources.unified.{file}: ")),
            "{error}"
        );
        assert!(error.contains(part), "{error}");
    }
    let mut resources = with_unified("memory.max", "7");
    resources.memory.limit = Some(5);
    assert_eq!(
        lines(&resources),
        ["memory.max=5", "memory.max=7"],
        "unified has the last word"
    );
}

#[test]
fn a_limit_without_its_controller() {
    for (resources, field, controller) in [
        (memory(Some(1000), None), "memory.limit", "memory"),
        (
            cpu(Cpu {
                shares: Some(5),
                ..Cpu::default()
            }),
            "cpu.shares",
            "cpu",
        ),
        (
            cpu(Cpu {
                cpus: Some("0".into()),
                ..Cpu::default()
            }),
            "cpu.cpus",
            "cpuset",
        ),
        (
            Resources {
                pids: Some(9),
                ..Resources::default()
            },
            "pids.limit",
            "pids",
        ),
        (with_unified("io.max", "8:0 rbps=1"), "unified.io.max", "io"),
    ] {
        let error = writes(&resources, &hybrid()).unwrap_err();
        assert_eq!(error.kind, Kind::Host);
        let text = error.to_string();
        let start = format!(
            "linux.resources.{field}: the cgroup2 hierarchy at /sys/fs/cgroup/unified has no {controller} controller"
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(
            text.contains("systemd.unified_cgroup_hierarchy=1"),
            "{text}"
        );

        let text = writes(&resources, &host(&[], "/sys/fs/cgroup"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("not delegated"), "{text}");
    }
}

#[test]
fn no_limit_needs_no_controller() {
    let mut resources = memory(Some(-1), Some(-1));
    resources.pids = Some(-1);
    resources.cpu.quota = Some(-1);
    assert!(writes(&resources, &hybrid()).unwrap().is_empty());
    assert_eq!(lines(&resources).len(), 4);
}

#[test]
fn controllers_of_the_writes() {
    let mut resources = with_unified("cgroup.max.depth", "5");
    resources
        .unified
        .insert("cpu.pressure".into(), "some 1 2".into());
    assert!(controllers(&writes(&resources, &hybrid()).unwrap()).is_empty());
    resources.memory.limit = Some(5);
    resources.memory.swap = Some(6);
    resources.cpu.cpus = Some("0".into());
    resources.block_io.weight = Some(10);
    assert_eq!(
        controllers(&writes(&resources, &unified()).unwrap()),
        ["cpuset", "io", "memory"]
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

fn machine(cgroup: Option<CgroupHost>) -> Host {
    Host {
        kernel: (6, 1),
        euid: 0,
        egid: 0,
        in_user_namespace: false,
        last_capability: 40,
        cgroup,
        apparmor: false,
        selinux: false,
        arch: Arch::X86_64,
    }
}

fn config() -> Config {
    Config {
        oci_version: "1.2.0".into(),
        root: Root {
            path: "/r".into(),
            readonly: false,
        },
        mounts: Vec::new(),
        process: Some(Process::default()),
        hostname: None,
        domainname: None,
        hooks: Hooks::default(),
        annotations: BTreeMap::new(),
        linux: Linux::default(),
        warnings: Vec::new(),
    }
}

/// Each step as a short word.
fn words(config: &Config, host: &Host) -> Vec<String> {
    let steps = steps(config, "box", host).expect("this config fits this host");
    assert!(steps.iter().all(|step| step.phase == Phase::Prepare));
    let word = |step: &Planned| match &step.step {
        Step::CreateCgroup {
            path,
            controllers,
            optional,
            required,
        } => {
            let or_not = if *required { "" } else { " or not" };
            format!(
                "create {} {controllers:?} {optional:?}{or_not}",
                path.display()
            )
        }
        Step::CgroupWrite(write) => format!("write {}", write.file),
        Step::DeviceProgram(_) => "devices".into(),
        Step::DelegateCgroup { uid } => format!("delegate {uid} {}", step.field),
        other => panic!("{other:?}"),
    };
    steps.iter().map(word).collect()
}

#[test]
fn steps_on_every_host() {
    let mut config = config();
    assert_eq!(
        words(&config, &machine(Some(hybrid()))),
        ["create box [] []", "devices"]
    );
    assert_eq!(
        words(&config, &machine(Some(unified()))),
        [
            r#"create box [] ["cpu", "io", "memory", "pids"]"#,
            "devices"
        ]
    );
    config.linux.resources.memory.limit = Some(5);
    config.linux.cgroups_path = Some("/x/y".into());
    assert_eq!(
        words(&config, &machine(Some(unified()))),
        [
            r#"create x/y ["memory"] ["cpu", "io", "pids"]"#,
            "write memory.max",
            "devices"
        ]
    );
    let error = steps(&config, "box", &machine(None)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no cgroup2 hierarchy is mounted"),
        "{error}"
    );
}

#[test]
fn no_device_program_where_the_kernel_denies_it() {
    let mut host = machine(Some(hybrid()));
    host.in_user_namespace = true;
    assert_eq!(words(&config(), &host), ["create box [] [] or not"]);
    host.in_user_namespace = false;
    host.euid = 1000;
    assert_eq!(words(&config(), &host), ["create box [] [] or not"]);
    let mut limited = config();
    limited.linux.resources.pids = Some(5);
    host.cgroup = Some(self::host(&["pids"], "/sys/fs/cgroup"));
    assert_eq!(
        words(&limited, &host),
        [r#"create box ["pids"] []"#, "write pids.max"]
    );
}

fn cgroup_mount(readonly: bool) -> Mount {
    let set = if readonly { libc::MOUNT_ATTR_RDONLY } else { 0 };
    Mount {
        field: "mounts[4]".into(),
        destination: "/sys/fs/cgroup".into(),
        source: Some("cgroup".into()),
        fstype: "cgroup".into(),
        bind: None,
        attrs: Attrs { set, clear: 0 },
        recursive_attrs: Attrs::default(),
        super_flags: 0,
        super_clear: 0,
        propagation: Vec::new(),
        data: String::new(),
        remount: false,
        tmpcopyup: false,
        options: Vec::new(),
    }
}

#[test]
fn delegation_needs_all_of_its_conditions() {
    let mut right = config();
    right.mounts.push(cgroup_mount(false));
    right.linux.namespaces.cgroup = Namespace::New;
    right.linux.namespaces.user = Namespace::New;
    right.linux.uid_mappings = vec![IdMapping {
        container_id: 0,
        host_id: 100_000,
        size: 1000,
    }];
    let delegated = |config: &Config| {
        let words = words(config, &machine(Some(hybrid())));
        words
            .iter()
            .find(|word| word.starts_with("delegate"))
            .cloned()
    };
    assert_eq!(
        delegated(&right).as_deref(),
        Some("delegate 100000 mounts[4]")
    );

    let mut user = right.clone();
    user.process = Some(Process {
        user: User {
            uid: 7,
            ..User::default()
        },
        ..Process::default()
    });
    assert_eq!(
        delegated(&user).as_deref(),
        Some("delegate 100007 mounts[4]")
    );
    user.linux.namespaces.user = Namespace::Inherit;
    assert_eq!(delegated(&user).as_deref(), Some("delegate 7 mounts[4]"));

    let wrong: [fn(&mut Config); 7] = [
        |config| config.linux.namespaces.cgroup = Namespace::Inherit,
        |config| config.linux.namespaces.user = Namespace::Inherit,
        |config| config.mounts[0] = cgroup_mount(true),
        |config| config.mounts[0].super_flags = libc::MS_RDONLY,
        |config| config.mounts[0].destination = "/sys".into(),
        |config| config.mounts[0].fstype = "tmpfs".into(),
        |config| config.linux.uid_mappings[0].container_id = 1,
    ];
    for (i, change) in wrong.iter().enumerate() {
        let mut config = right.clone();
        change(&mut config);
        assert_eq!(delegated(&config), None, "case {i}");
    }
}
