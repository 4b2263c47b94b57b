use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::config::resources::Limit;
use crate::config::seccomp::Arch;
use crate::config::{Attrs, Hooks, IdMapping, Linux, Process, Root, process::User};
use crate::error::has_example;
use crate::plan::Planned;

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

pub(super) fn unified() -> CgroupHost {
    host(&ALL, "/sys/fs/cgroup")
}

fn hybrid() -> CgroupHost {
    host(&["hugetlb"], "/sys/fs/cgroup/unified")
}

/// The writes as `file=value` lines.
pub(super) fn lines(resources: &Resources) -> Vec<String> {
    let writes = writes(resources, &unified()).expect("these values are valid");
    writes
        .iter()
        .map(|write| format!("{}={}", write.file, write.value))
        .collect()
}

/// The `Resources` of a `linux.resources` with these values.
pub(super) fn resources(json: &Value) -> Resources {
    let (resources, _) = crate::spec::resources(json.to_string().as_bytes()).expect("valid");
    resources
}

pub(super) fn memory(memory: &Value) -> Resources {
    resources(&json!({ "memory": memory }))
}

pub(super) fn cpu(cpu: &Value) -> Resources {
    resources(&json!({ "cpu": cpu }))
}

#[test]
fn path_is_stable_and_stays_below_its_start() {
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
        (
            "/system.slice/containerd.service",
            Some("../x"),
            "system.slice/x",
        ),
        ("/a/b/c", Some("../../../x/../y"), "a/b/y"),
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
fn a_path_that_names_no_cgroup_is_refused() {
    let long = format!("/{}", "x".repeat(256));
    for (own, given, part) in [
        ("/", "/", "names no cgroup"),
        ("/", "/a/..", "names no cgroup"),
        ("/", "..", "names no cgroup"),
        ("/a/b", ".", "names no cgroup below /a"),
        ("/a/b", "x/../..", "names no cgroup below /a"),
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

pub(super) fn with_unified(file: &str, value: &str) -> Resources {
    let unified = BTreeMap::from([(file.to_owned(), value.to_owned())]);
    Resources {
        unified,
        ..Resources::default()
    }
}

#[test]
fn a_limit_without_its_controller_is_an_error() {
    for (resources, field, controller) in [
        (memory(&json!({"limit": 1000})), "memory.limit", "memory"),
        (cpu(&json!({"shares": 5})), "cpu.shares", "cpu"),
        (cpu(&json!({"cpus": "0"})), "cpu.cpus", "cpuset"),
        (
            resources(&json!({"pids": {"limit": 9}})),
            "pids.limit",
            "pids",
        ),
        (
            with_unified("io.max", "8:0 rbps=1"),
            "unified[\"io.max\"]",
            "io",
        ),
    ] {
        let error = writes(&resources, &hybrid()).unwrap_err();
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
    let refused = writes(&memory(&json!({"limit": 1000})), &hybrid());
    has_example(refused.unwrap_err(), "cgroup.controller-missing");
}

#[test]
fn no_limit_needs_no_controller() {
    let resources = resources(&json!({
        "memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1},
    }));
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
    let json = json!({
        "memory": {"limit": 5, "swap": 6}, "cpu": {"cpus": "0"}, "blockIO": {"weight": 10},
    });
    let resources = Resources {
        unified: resources.unified,
        ..self::resources(&json)
    };
    assert_eq!(
        controllers(&writes(&resources, &unified()).unwrap()),
        ["cpuset", "io", "memory"]
    );
}

fn options(id: &str) -> Options {
    Options {
        id: id.to_owned(),
        ..Options::default()
    }
}

fn machine(cgroup: Option<CgroupHost>) -> Host {
    Host {
        kernel: (6, 1),
        euid: 0,
        egid: 0,
        in_user_namespace: false,
        last_capability: 40,
        capabilities: u64::MAX,
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

/// Each step as a short text.
fn words(config: &Config, host: &Host) -> Vec<String> {
    let mut plan = Plan::default();
    steps(&mut plan, config, &options("box"), host).expect("this config fits this host");
    let word = |step: &Planned<RuntimeStep>| match &step.step {
        RuntimeStep::CreateCgroup(NewCgroup {
            path,
            controllers,
            optional,
            required,
        }) => {
            let or_not = if *required { "" } else { " or not" };
            format!(
                "create {} {controllers:?} {optional:?}{or_not}",
                path.display()
            )
        }
        RuntimeStep::CgroupWrite(write) => format!("write {}", write.file),
        RuntimeStep::DeviceProgram(_) => "devices".into(),
        RuntimeStep::DelegateCgroup { uid } => format!("delegate {uid} {}", step.field),
        other => panic!("{other:?}"),
    };
    for planned in plan.meanwhile.iter() {
        assert!(matches!(planned.step, RuntimeStep::DeviceProgram(_)));
    }
    plan.prepare
        .iter()
        .chain(plan.meanwhile.iter())
        .map(word)
        .collect()
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
    config.linux.resources.memory.limit = Some(Limit::At(5));
    config.linux.cgroups_path = Some("/x/y".into());
    assert_eq!(
        words(&config, &machine(Some(unified()))),
        [
            r#"create x/y ["memory"] ["cpu", "io", "pids"]"#,
            "write memory.max",
            "devices"
        ]
    );
    let error = steps(
        &mut Plan::default(),
        &config,
        &options("box"),
        &machine(None),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no cgroup2 hierarchy is mounted"),
        "{error}"
    );
}

#[test]
fn no_device_program_if_the_kernel_would_deny_it() {
    let mut host = machine(Some(hybrid()));
    host.in_user_namespace = true;
    assert_eq!(words(&config(), &host), ["create box [] [] or not"]);
    host.in_user_namespace = false;
    host.euid = 1000;
    assert_eq!(words(&config(), &host), ["create box [] [] or not"]);
    let mut limited = config();
    limited.linux.resources.pids = Some(Limit::At(5));
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
        id_map: None,
        remount: false,
        tmpcopyup: false,
        source_link: crate::config::SourceLink::default(),
        target_link: crate::config::TargetLink::default(),
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
