use super::*;
use crate::config::seccomp::Arch;
use crate::host::CgroupHost;
use crate::plan::annotations::{HONOURED, MANAGER, SUBGROUP, UNIT_PROPERTY};

fn host(euid: u32, in_user_namespace: bool, own: &str) -> Host {
    Host {
        kernel: (6, 12),
        euid,
        egid: euid,
        in_user_namespace,
        last_capability: 40,
        capabilities: u64::MAX,
        cgroup: Some(CgroupHost {
            mount: "/sys/fs/cgroup".into(),
            controllers: Vec::new(),
            own: own.to_owned(),
        }),
        apparmor: false,
        selinux: false,
        arch: Arch::X86_64,
    }
}

fn root() -> Host {
    host(0, false, "/system.slice/engine.service")
}

fn write(file: &str, value: &str) -> Write {
    Write {
        file: file.to_owned(),
        value: value.to_owned(),
        field: format!("linux.resources.unified[{file:?}]"),
        fallback: Fallback::Fail,
        above: None,
    }
}

/// `NAME=VALUE` for each property, with `?` after the name of an optional one.
fn words(properties: &[Property]) -> Vec<String> {
    let word = |property: &Property| {
        let mark = if property.optional { "?" } else { "" };
        format!("{}{mark}={}", property.name, property.value)
    };
    properties.iter().map(word).collect()
}

fn limits_of(files: &[(&str, &str)]) -> Vec<String> {
    let writes: Vec<_> = files
        .iter()
        .map(|(file, value)| write(file, value))
        .collect();
    words(&limits(&writes).unwrap())
}

fn path_of(cgroups_path: Option<&str>, host: &Host) -> std::result::Result<String, String> {
    match unit(cgroups_path, "box", &BTreeMap::new(), &[], host) {
        Ok(unit) => Ok(unit.path.display().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_unit_and_its_slice() {
    let user = host(1000, false, "/user.slice/user-1000.slice/session-3.scope");
    let below = "user.slice/user-1000.slice/user@1000.service";
    for (given, host, path) in [
        (None, root(), "system.slice/sampan-box.scope".to_owned()),
        (Some(""), root(), "system.slice/sampan-box.scope".to_owned()),
        (
            Some(":docker:abc"),
            root(),
            "system.slice/docker-abc.scope".to_owned(),
        ),
        (
            Some("machine.slice::abc"),
            root(),
            "machine.slice/abc.scope".to_owned(),
        ),
        (Some("-.slice:a:b"), root(), "a-b.scope".to_owned()),
        (
            Some("kube-pods-pod1.slice:cri:c1"),
            root(),
            "kube.slice/kube-pods.slice/kube-pods-pod1.slice/cri-c1.scope".to_owned(),
        ),
        (
            None,
            user.clone(),
            format!("{below}/user.slice/sampan-box.scope"),
        ),
        (
            Some("app.slice:p:x"),
            user,
            format!("{below}/app.slice/p-x.scope"),
        ),
    ] {
        assert_eq!(path_of(given, &host), Ok(path), "{given:?}");
    }
}

#[test]
fn a_path_of_another_form_is_refused() {
    for (given, part) in [
        (
            "/a/b",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
        ),
        ("a:b", "expected cgroupsPath"),
        ("a:b:c:d", "expected cgroupsPath"),
        ("a:b:c", "invalid slice name: a"),
        ("a--b.slice:p:c", "invalid slice name: a--b.slice"),
        ("-a.slice:p:c", "invalid slice name"),
        (".slice:p:c", "invalid slice name"),
        ("a/b.slice:p:c", "'/'"),
        (":p:a/b", "'/'"),
        (":p:a+b", "'+'"),
        (":p:", "cannot be the name of a scope"),
        (":p:a.slice", "cannot be the name of a scope"),
    ] {
        let error = path_of(Some(given), &root()).unwrap_err();
        assert!(
            error.starts_with("linux.cgroupsPath: ") && error.contains(part),
            "{given}: {error}"
        );
    }
    let long = format!(":p:{}", "x".repeat(250));
    assert!(path_of(Some(&long), &root()).unwrap_err().contains("255"));
}

#[test]
fn annotations_decide_on_a_cgroup_in_the_unit() {
    let path = |annotations: &[(&str, &str)]| {
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let unit = unit(Some(":p:x"), "box", &annotations, &[], &root());
        unit.map(|unit| (unit.path.display().to_string(), unit.subgroup))
    };
    let plain = ("system.slice/p-x.scope".to_owned(), None);
    let inside = |name: &str| Ok((format!("{}/{name}", plain.0), Some(name.to_owned())));
    let (manager, subgroup) = ("io.container.manager", "run.oci.systemd.subgroup");
    assert_eq!(path(&[]).unwrap(), plain);
    assert_eq!(path(&[(manager, "containerd")]).unwrap(), plain);
    assert_eq!(
        path(&[(manager, "libpod")]).map_err(|_| ()),
        inside("container")
    );
    assert_eq!(
        path(&[(manager, "cri-o")]).map_err(|_| ()),
        inside("container")
    );
    assert_eq!(path(&[(manager, "libpod"), (subgroup, "")]).unwrap(), plain);
    assert_eq!(path(&[(subgroup, "own")]).map_err(|_| ()), inside("own"));
    for name in ["a/b", "..", ".", "/", "a\nb"] {
        let error = path(&[(subgroup, name)]).unwrap_err().to_string();
        assert!(error.contains("run.oci.systemd.subgroup"), "{error}");
    }
}

#[test]
fn the_manager_of_each_caller() {
    let rootless = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod.scope";
    for (host, manager) in [
        (root(), Manager::System),
        (host(1000, false, "/x"), Manager::User { uid: 1000 }),
        // Root of the user's own namespace, as when an engine starts a rootless container.
        (host(0, true, rootless), Manager::User { uid: 1000 }),
        // A system container with its own user namespace and systemd.
        (
            host(0, true, "/system.slice/engine.service"),
            Manager::System,
        ),
    ] {
        assert_eq!(Manager::of(&host), manager);
    }
}

#[test]
fn control_files_as_properties() {
    assert_eq!(
        limits_of(&[
            ("memory.max", "1048576"),
            ("memory.low", "0"),
            ("memory.high", "max"),
            ("memory.min", "4096"),
            ("memory.swap.max", "max"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "50"),
            ("pids.max", "0"),
            ("io.weight", "default 200"),
            ("hugetlb.2MB.max", "0"),
        ]),
        [
            "MemoryMax=1048576",
            "MemoryLow=0",
            "MemoryHigh=infinity",
            "MemoryMin=4096",
            "MemorySwapMax=infinity",
            "OOMPolicy?=\"kill\"",
            "CPUWeight=50",
            "TasksMax=1",
            "IOWeight=200",
        ]
    );
}

#[test]
fn values_without_a_property_and_empty_ones_are_only_in_the_file() {
    let files = [
        ("io.max", "8:0 rbps=1000"),
        ("cpu.idle", "0"),
        ("memory.oom.group", "0"),
        ("memory.max", "\n"),
    ];
    assert_eq!(limits_of(&files), [""; 0]);
    assert_eq!(limits_of(&[("cpu.idle", "1")]), ["CPUWeight?=0"]);
    assert_eq!(
        limits_of(&[("pids.max", "7"), ("pids.max", "9")]),
        ["TasksMax=9"]
    );
    let fallback = Fallback::IfAbsent {
        file: "io.weight".into(),
        value: "900".into(),
    };
    let bfq = Write {
        fallback,
        ..write("io.bfq.weight", "90")
    };
    assert_eq!(words(&limits(&[bfq]).unwrap()), ["IOWeight=900"]);
}

#[test]
fn weights_of_devices_are_one_property() {
    let files = [
        ("io.weight", "50"),
        ("io.weight", "8:0 200"),
        ("io.weight", "8:16 300"),
    ];
    let properties = limits_of(&files);
    assert_eq!(properties[0], "IOWeight=50");
    assert_eq!(properties.len(), 2, "{properties:?}");
    for part in [
        "IODeviceWeight?=",
        "/dev/block/8:0",
        "200",
        "/dev/block/8:16",
        "300",
    ] {
        assert!(properties[1].contains(part), "{part}: {}", properties[1]);
    }
}

#[test]
fn quotas_are_rounded_up_to_a_hundredth_of_a_second() {
    for (value, property, period, rounded) in [
        ("50000 100000", "500000", 100_000, "50000 100000"),
        ("50001 100000", "510000", 100_000, "51000 100000"),
        ("1000 1000000", "10000", 1_000_000, "10000 1000000"),
        ("2500 1000", "2500000", 1000, "2500 1000"),
        ("max 50000", "infinity", 50_000, "max 50000"),
        ("20000", "200000", 100_000, "20000 100000"),
    ] {
        let mut writes = [write("cpu.max", value)];
        let expected = [
            format!("CPUQuotaPerSecUSec={property}"),
            format!("CPUQuotaPeriodUSec?={period}"),
        ];
        assert_eq!(words(&limits(&writes).unwrap()), expected, "{value}");
        round_quota(&mut writes).unwrap();
        assert_eq!(writes[0].value, rounded);
        // A rounded value does not change again.
        assert_eq!(words(&limits(&writes).unwrap()), expected, "{value}");
    }
}

#[test]
fn cpus_as_a_mask() {
    for (list, bytes) in [
        ("0", "[0x01]"),
        ("0-3,5", "[0x2f]"),
        ("7-8", "[0x80 0x01]"),
        ("17", "[0x00 0x00 0x02]"),
    ] {
        assert_eq!(
            limits_of(&[("cpuset.cpus", list)]),
            [format!("AllowedCPUs?={bytes}")]
        );
    }
    assert_eq!(
        limits_of(&[("cpuset.mems", "1")]),
        ["AllowedMemoryNodes?=[0x02]"]
    );
}

#[test]
fn values_that_systemd_cannot_express_name_their_property() {
    for (file, value) in [
        ("memory.max", "1G"),
        ("pids.max", "-1"),
        ("cpu.max", "fast"),
        ("cpu.max", "1000 0"),
        ("cpu.max", "18446744073709551615 1"),
        ("cpuset.cpus", "0-99999999999"),
        ("cpuset.cpus", "a"),
    ] {
        let error = limits(&[write(file, value)]).unwrap_err().to_string();
        let start = format!("linux.resources.unified[{file:?}]: ");
        assert!(error.starts_with(&start), "{error}");
    }
}

/// The properties of a unit whose config sets these control files, with one annotation.
fn annotate(
    files: &[(&str, &str)],
    name: &str,
    text: &str,
) -> std::result::Result<Vec<String>, String> {
    let annotations = BTreeMap::from([(format!("{UNIT_PROPERTY}{name}"), text.to_owned())]);
    let writes: Vec<_> = files
        .iter()
        .map(|(file, value)| write(file, value))
        .collect();
    match unit(None, "box", &annotations, &writes, &root()) {
        Ok(unit) => Ok(words(&unit.properties)),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn annotations_set_properties() {
    for (name, text, expected) in [
        ("CollectMode", "'inactive'", "CollectMode=\"inactive\""),
        ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec=5"),
        ("TimeoutStopSec", "5", "TimeoutStopUSec=5000000"),
        ("TimeoutStopSec", "uint64 5", "TimeoutStopUSec=5000000"),
        ("TimeoutStopSec", "0.5", "TimeoutStopUSec=500000"),
        ("RuntimeMaxSec", "2", "RuntimeMaxUSec=2000000"),
        (
            "After",
            "['a.service', 'b.service']",
            "After=[\"a.service\" \"b.service\"]",
        ),
        ("SendSIGHUP", "true", "SendSIGHUP=yes"),
        ("KillSignal", "15", "KillSignal=15"),
        ("DefaultDependencies", "true", "DefaultDependencies=yes"),
        ("MemoryHigh", "uint64 5", "MemoryHigh=5"),
        ("MemoryHigh", "5", "MemoryHigh=5"),
        ("After", "[]", "After=[]"),
        (
            "IOReadBandwidthMax",
            "[('/dev/null', uint64 200)]",
            "IOReadBandwidthMax=[(\"/dev/null\" 200)]",
        ),
    ] {
        let found = annotate(&[], name, text).unwrap();
        assert!(found.iter().any(|word| word == expected), "{found:?}");
    }
    for (name, text, part) in [
        ("TimeoutStopSec", "'5'", "not a number of seconds"),
        ("TimeoutStopSec", "-1", "not a number of seconds"),
        ("Ab", "1", "not the name of a property"),
        ("Foo-Bar", "1", "not the name of a property"),
        ("After", "a.service", "neither a value nor a type"),
        ("TimeoutStopUSec", "'soon'", "expected type t, found type s"),
        ("MemoryHigh", "uint32 5", "expected type t, found type u"),
        ("MemoryHigh", "-5", "not a number of type t"),
        ("KillSignal", "true", "expected type i, found type b"),
        ("After", "'a.service'", "expected"),
    ] {
        let error = annotate(&[], name, text).unwrap_err();
        let start = format!("annotations[\"{UNIT_PROPERTY}{name}\"]: ");
        assert!(error.starts_with(&start) && error.contains(part), "{error}");
    }
}

#[test]
fn properties_that_concern_the_host_are_refused_by_name() {
    for (name, text, part) in [
        ("PIDs", "[uint32 1]", "processes of the host"),
        ("Slice", "'other.slice'", "linux.cgroupsPath"),
        ("Delegate", "false", "the runtime sets it"),
        ("MemoryAccounting", "false", "the runtime sets it"),
        ("Conflicts", "['ssh.service']", "units of the host"),
        ("Requires", "['rescue.target']", "units of the host"),
        ("Before", "['ssh.service']", "units of the host"),
        ("OnFailure", "['reboot.target']", "units of the host"),
        ("SuccessAction", "'poweroff-force'", "the whole host"),
        ("JobTimeoutAction", "'reboot'", "the whole host"),
        ("CPUWeight", "uint64 10000", "cpu.shares"),
        ("StartupIOWeight", "uint64 10000", "blockIO.weight"),
        ("MemoryMin", "uint64 10000", "memory.reservation"),
        ("DeviceAllow", "[('/dev/sda', 'rwm')]", "resources.devices"),
        ("FinalKillSignal", "18", "outlive its unit"),
        ("IPIngressFilterPath", "['/x']", "these can: After, "),
        ("ExecStart", "'x'", "these can: After, "),
    ] {
        let error = annotate(&[], name, text).unwrap_err();
        let start = format!(
            "annotations[\"{UNIT_PROPERTY}{name}\"]: {name} cannot be set by an annotation: "
        );
        assert!(error.starts_with(&start) && error.contains(part), "{error}");
    }
}

#[test]
fn an_annotation_cannot_undo_a_limit_of_the_config() {
    let config = [("memory.max", "1048576"), ("io.max", "8:0 rbps=1000")];
    for (name, text) in [
        ("MemoryMax", "uint64 2097152"),
        ("IOReadBandwidthMax", "[('/dev/sda', uint64 2000)]"),
        ("IOWriteIOPSMax", "[('/dev/sda', uint64 2000)]"),
    ] {
        let error = annotate(&config, name, text).unwrap_err();
        assert!(error.contains("linux.resources.unified["), "{error}");
        assert!(error.contains("sets it (remove one of the two)"), "{error}");
    }
    assert!(annotate(&config, "MemoryHigh", "uint64 5").is_ok());
    // A value that the runtime sets anyway is accepted.
    for (name, text) in [
        ("MemoryMax", "uint64 1048576"),
        ("Delegate", "true"),
        ("Slice", "'system.slice'"),
    ] {
        let mut same = annotate(&config, name, text).unwrap();
        let mut plain = annotate(&config, "Description", "'container box'").unwrap();
        same.sort();
        plain.sort();
        assert_eq!(same, plain, "{name}");
    }
}

/// `features` reports this list to engines.
#[test]
fn each_annotation_about_the_unit_changes_it_and_no_other_does() {
    let with = |key: &str, value: &str| {
        let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        unit(None, "box", &annotations, &[], &root()).unwrap()
    };
    let plain = with("org.example", "x");
    for key in [MANAGER, UNIT_PROPERTY, SUBGROUP] {
        let (key, value) = if key.ends_with('.') {
            (format!("{key}KillSignal"), "15")
        } else {
            (key.to_owned(), "libpod")
        };
        assert_ne!(with(&key, value), plain, "{key}");
    }
    assert!(HONOURED.is_sorted());
}

#[test]
fn allowed_properties_are_sorted() {
    assert!(properties::allowed().is_sorted_by_key(|allowed| allowed.name));
}

#[test]
fn an_annotation_takes_precedence_and_each_property_appears_once() {
    let annotations = BTreeMap::from([
        (
            format!("{UNIT_PROPERTY}CollectMode"),
            "'inactive'".to_owned(),
        ),
        ("other".to_owned(), "x".to_owned()),
    ]);
    let unit = unit(
        None,
        "box",
        &annotations,
        &[write("pids.max", "5")],
        &root(),
    )
    .unwrap();
    let words = words(&unit.properties);
    for expected in [
        "Description=\"container box\"",
        "Slice=\"system.slice\"",
        "Delegate=yes",
        "DefaultDependencies=no",
        "CollectMode=\"inactive\"",
        "TasksAccounting=yes",
        "TasksMax=5",
    ] {
        assert!(
            words.iter().any(|word| word == expected),
            "{expected}: {words:?}"
        );
    }
    let mut names: Vec<_> = unit
        .properties
        .iter()
        .map(|property| &property.name)
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
