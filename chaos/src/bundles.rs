//! The bundles. They use every property that works on any host, so that each step of the runtime
//! can be disturbed.

use std::fs;
use std::path::{Path, PathBuf};

use runtime_tests::Bundle;
use serde_json::{Value, json};

use crate::world::{BASE, World};

/// The special property of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// It has no user namespace, and hooks at all moments.
    Plain,
    /// It has a user namespace.
    Userns,
    /// systemd manages its cgroup.
    Systemd,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Userns => "userns",
            Self::Systemd => "systemd",
        }
    }
}

/// The bundles of one shape.
pub struct Bundles {
    pub shape: Shape,
    /// Its process prints what it sees, and exits.
    pub probe: PathBuf,
    /// Its process keeps running.
    pub long: PathBuf,
}

impl Bundles {
    pub fn new(world: &World, shape: Shape) -> Self {
        let bundle = |args: &[&str]| fill(shape, world.sandbox.bundle()).args(args);
        Self {
            shape,
            probe: bundle(&["/bin/sh", "/probe"]).file("/probe", PROBE).write(),
            long: bundle(&["sleep", "100000"]).file("/probe", PROBE).write(),
        }
    }
}

/// The host id of the container's root, with [`Shape::Userns`].
const ROOT: u32 = 100_000;

/// Prints the restrictions that a container's process can observe. Values that differ between runs,
/// such as the numbers of namespaces, are left out or compared with the host's.
const PROBE: &str = r#"
exec 2>&1
grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|Cpus_allowed_list)' /proc/self/status
cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/self/uid_map /proc/self/gid_map
sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/(master|shared|propagate_from):[0-9]+/\1/g' /proc/self/mountinfo
for ns in cgroup ipc mnt net pid time user uts; do
  if grep -qF "$(readlink /proc/self/ns/$ns)" /host-namespaces; then echo "$ns: the host's"; else echo "$ns: own"; fi
done
hostname; pwd; env | sort; ls /proc/self/fd | tr '\n' ' '
for file in /proc/kcore /proc/keys /proc/timer_list; do head -c 9 $file | wc -c; done
ls -A /sys/firmware /proc/scsi | wc -l
for file in /proc/sys/kernel/domainname /proc/irq/x /volume/x /root/x; do true >>$file && echo "$file written"; done
stat -c '%A %u:%g %t:%T %n' /dev /dev/* /tmp /scratch /volume | grep -v '/dev/console'
mknod /scratch/disk b 7 0 && head -c 1 /scratch/disk; head -c 1 /dev/zero | wc -c
unshare -U true; ls /sys/class/net; cat /sys/class/net/lo/flags /proc/sys/net/ipv4/ip_unprivileged_port_start
cat /hooked; rm -f /hooked /scratch/disk
echo END
"#;

fn fill(shape: Shape, bundle: Bundle<'_>) -> Bundle<'_> {
    let volume = Path::new(BASE).join("volume");
    fs::create_dir_all(&volume).expect("the volume");
    let limit = |kind: &str, soft, hard| json!({"type": kind, "soft": soft, "hard": hard});
    let device =
        |minor| json!({"allow": true, "type": "c", "major": 1, "minor": minor, "access": "rwm"});
    let rule = json!({"names": ["unshare", "keyctl", "add_key"], "action": "SCMP_ACT_ERRNO"});
    let bundle = bundle
        .file("/host-namespaces", &host_namespaces())
        .set("/process/user/additionalGids", json!([10, 20]))
        .set(
            "/process/rlimits",
            json!([
                limit("RLIMIT_NOFILE", 512, 1024),
                limit("RLIMIT_CORE", 0, 0),
            ]),
        )
        .set("/process/oomScoreAdj", json!(500))
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
        .set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "7"}))
        .mount(json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "ro"]}))
        .mount(json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}));
    let bundle = hooks(bundle);
    let mut resources = limits();
    if shape != Shape::Userns {
        resources["devices"] = json!([{"allow": false, "access": "rwm"}, device(3), device(5)]);
    }
    let bundle = bundle.set("/linux/resources", resources);
    match shape {
        // The name of the cgroup is visible without a cgroup namespace.
        Shape::Plain => bundle.without_namespace("cgroup"),
        Shape::Systemd => bundle,
        Shape::Userns => {
            let map = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
            std::os::unix::fs::chown(bundle.rootfs(), Some(ROOT), Some(ROOT)).expect("chown");
            bundle
                .push("/linux/namespaces", json!({"type": "user"}))
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map)
        }
    }
}

/// Limits for the controllers of the host's cgroup v2.
fn limits() -> Value {
    let mount = runtime_tests::host::cgroup2_mount().unwrap_or_default();
    let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    let mut limits = json!({});
    for controller in text.split_whitespace() {
        match controller {
            "pids" => limits["pids"] = json!({"limit": 100}),
            "memory" => limits["memory"] = json!({"limit": 512 << 20}),
            "cpu" => limits["cpu"] = json!({"shares": 512, "quota": 200_000, "period": 100_000}),
            _ => {}
        }
    }
    limits
}

/// Adds hooks that record the name of their moment.
fn hooks(mut bundle: Bundle<'_>) -> Bundle<'_> {
    for moment in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let file = match moment {
            "startContainer" => "/hooked",
            _ => HOOKED,
        };
        let script = format!("echo {moment} >>{file}");
        let hook = json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}]);
        bundle = bundle.set(&format!("/hooks/{moment}"), hook);
    }
    bundle
}

/// The file in which hooks outside the container record their names.
pub const HOOKED: &str = "/tmp/chaos/hooked";

fn host_namespaces() -> String {
    let entries = fs::read_dir("/proc/self/ns")
        .into_iter()
        .flatten()
        .flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .map(|link| link.to_string_lossy().into_owned() + "\n")
        .collect()
}
