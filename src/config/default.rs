//! The config that `sampan spec` writes.

use serde::{Serialize, Serializer};
use serde_json::ser::PrettyFormatter;
use serde_json::{Value, json};

/// `config.json` for a first container, indented with tabs, with a line end.
///
/// `rootless` holds the effective user and group id of a caller without privileges: they become
/// root of a user namespace, and what such a caller cannot have is left out (the network
/// namespace, resource limits, a fresh sysfs, group ownership of terminals).
pub fn default_config(rootless: Option<(u32, u32)>) -> String {
    let mut config = json!({
        "ociVersion": super::SPEC_VERSION,
        "process": process(),
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "sampan",
        "mounts": mounts(),
        "linux": linux(),
    });
    if let Some((uid, gid)) = rootless {
        to_rootless(&mut config, uid, gid);
    }
    pretty(&config)
}

fn process() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "terminal": true,
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts() -> Value {
    let mounts = [
        ("/proc", "proc", "proc", ""),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            "nosuid,strictatime,mode=755,size=65536k",
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        (
            "/dev/shm",
            "tmpfs",
            "shm",
            "nosuid,noexec,nodev,mode=1777,size=65536k",
        ),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            "nosuid,noexec,nodev,relatime,ro",
        ),
    ];
    mounts
        .into_iter()
        .map(|(destination, fstype, source, options)| {
            let mut mount = json!({ "destination": destination, "type": fstype, "source": source });
            if !options.is_empty() {
                mount["options"] = options.split(',').collect();
            }
            mount
        })
        .collect()
}

fn linux() -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "namespaces": namespaces.map(|name| json!({ "type": name })),
        "maskedPaths": [
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
            "/sys/devices/virtual/tpm",
        ],
        "readonlyPaths": [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ],
    })
}

fn to_rootless(config: &mut Value, uid: u32, gid: u32) {
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup", "user"];
    let linux = &mut config["linux"];
    linux["namespaces"] = namespaces
        .map(|name| json!({ "type": name }))
        .into_iter()
        .collect();
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            *mount = json!({
                "destination": "/sys",
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            });
        }
        // Group 5 has no mapping.
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| !option.as_str().is_some_and(|word| word.starts_with("gid=")));
        }
    }
}

/// The order in which people expect to read the properties: what runs, on what, then how.
const ORDER: &[&str] = &[
    "ociVersion",
    "process",
    "root",
    "hostname",
    "mounts",
    "linux",
    "terminal",
    "user",
    "args",
    "env",
    "cwd",
    "capabilities",
    "rlimits",
    "noNewPrivileges",
    "uid",
    "gid",
    "allow",
    "destination",
    "type",
    "source",
    "options",
    "containerID",
    "hostID",
    "size",
    "uidMappings",
    "gidMappings",
    "resources",
    "namespaces",
    "maskedPaths",
    "readonlyPaths",
];

/// A value that is written in [`ORDER`]; what is not there comes last, by name.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let rank = |key: &str| ORDER.iter().position(|name| *name == key);
                members.sort_by_key(|(key, _)| rank(key).unwrap_or(ORDER.len()));
                serializer.collect_map(
                    members
                        .into_iter()
                        .map(|(key, value)| (key, Ordered(value))),
                )
            }
            Value::Array(elements) => serializer.collect_seq(elements.iter().map(Ordered)),
            scalar => scalar.serialize(serializer),
        }
    }
}

fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let tabs = PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, tabs);
    // Writing a `Value` to memory has no way to fail.
    Ordered(value)
        .serialize(&mut serializer)
        .expect("a JSON value serialises");
    out.push(b'\n');
    String::from_utf8(out).expect("JSON is UTF-8")
}
