//! All attributes of the first process of a container, as a list in `privileges/NAME.txt`. A
//! difference fails until the list is changed on purpose: `BLESS=1` writes the current attributes,
//! which have to be reviewed like any other change.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::rootless;
use crate::mount_info::{self, MountInfo};
use crate::{Bundle, Call, Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    of_the_default_spec[Need::NotAPeer],
    of_a_docker_config[Need::NotAPeer],
    of_the_default_spec_of_a_user[Need::NotAPeer, Need::Program("setpriv")],
];

const HEAD: &str = "\
# What the first process has, as the host sees it. cases/privileges.rs compares; BLESS=1 writes it.
# Left out, because it differs from machine to machine: numbers of processes, mounts and devices, sizes
# of memory, CPUs and their workarounds, the vdso, the heap that the program may not have yet, the file system below the rootfs and that of the
# host's /dev with their options, what the host has mounted below /sys, options of file systems that
# depend on the kernel (inode64, nsdelegate and similar), and the place of the cgroup. Memory that is
# writable and executable counts only where the caller has none. A masked or
# read-only path that the host does not have counts as masked or read-only. Limits, scores and ids that
# the config does not set are compared with the caller's.
";

/// A list by its name, compiled into this program.
macro_rules! list {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../privileges/", $name, ".txt")),
        )
    };
}

fn of_the_default_spec(t: &Sandbox) {
    let bundle = t.bundle();
    let config = specified(&bundle, t.bare_runtime(), &[]);
    let container = with_config(bundle, config).container();
    container.launch_ok();
    hold(t, list!("spec"), &container, container.pid());
}

fn of_a_docker_config(t: &Sandbox) {
    let case = include_str!("../../../tests/plans/cases/engine-docker.json");
    let case: Value = serde_json::from_str(case).expect("a case of the plans");
    let profile = include_str!("../../data/docker-seccomp.json");
    let mut config = case["config"].clone();
    config["linux"]["seccomp"] = serde_json::from_str(profile).expect("the profile");
    config["linux"]["resources"] = json!({"devices": config["linux"]["resources"]["devices"]});
    let remove = |value: &mut Value, key: &str| value.as_object_mut().expect("map").remove(key);
    remove(&mut config, "hooks");
    remove(&mut config["linux"], "cgroupsPath");
    remove(&mut config["process"], "apparmorProfile");
    // Not higher than any caller's limit.
    config["process"]["rlimits"][0]["hard"] = json!(1024);
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["type"] != "bind");
    let container = with_config(t.bundle(), config).container();
    container.launch_ok();
    hold(t, list!("docker"), &container, container.pid());
}

fn of_the_default_spec_of_a_user(t: &Sandbox) {
    let bundle = t.bundle();
    rootless::give(&bundle.path);
    let config = specified(
        &bundle,
        rootless::by_user(t.bare_runtime()),
        &["--rootless"],
    );
    let container = rootless::own(t, with_config(bundle, config));
    let call = rootless::by_user(t.runtime()).arg("create");
    container.launch(call).finish().ok();
    let verb = |words: &[&str]| rootless::by_user(t.runtime()).args(words).run().ok();
    verb(&["start", &container.id]);
    let pid = verb(&["state", &container.id]).json()["pid"].as_i64();
    hold(t, list!("rootless"), &container, pid.expect("a pid") as i32);
    verb(&["delete", "--force", &container.id]);
}

/// The config that `spec` writes.
fn specified(bundle: &Bundle, runtime: Call, flags: &[&str]) -> Value {
    let spec = runtime.arg("spec").args(flags).arg("--bundle");
    spec.arg(&bundle.path).run().ok();
    let file = bundle.path.join("config.json");
    let text = fs::read_to_string(&file).expect("the config was made");
    fs::remove_file(file).expect("the config");
    serde_json::from_str(&text).expect("JSON")
}

fn with_config(bundle: Bundle<'_>, mut config: Value) -> Bundle<'_> {
    config["root"]["path"] = json!("rootfs");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.patch(|own| *own = config)
}

/// Compares the attributes of the process with the list.
#[track_caller]
fn hold(t: &Sandbox, (name, expected): (&str, &str), container: &Container, pid: i32) {
    let config = fs::read_to_string(container.bundle.join("config.json")).expect("the config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    t.eventually("the program runs", || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep\0"))
    });
    let found = [
        HEAD,
        &status(pid),
        &descriptors(pid),
        &links(pid, container),
        &namespaces(pid),
        &mounts(pid, &config),
        &hidden(pid, &config),
        &maps(pid),
        &limits(pid, &config),
        &environment(pid),
        &numbers(pid, &config),
        &keyring(t, &config),
    ]
    .concat();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("privileges/{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, found).expect("the list");
        return;
    }
    let (before, after): (BTreeSet<_>, BTreeSet<_>) =
        (expected.lines().collect(), found.lines().collect());
    let gone: Vec<_> = before.difference(&after).collect();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(
        expected == found,
        "{} differs (BLESS=1 writes it)\nno more: {gone:#?}\nnew: {new:#?}",
        file.display()
    );
}

fn of(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}"));
    String::from_utf8(bytes.unwrap_or_else(|error| panic!("{file}: {error}"))).expect("UTF-8")
}

fn own(file: &str) -> String {
    of(std::process::id() as i32, file)
}

fn section(name: &str, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = format!("\n[{name}]\n");
    for line in lines {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Names of the fields of /proc/PID/status that are the same on all hosts.
const STATUS: &str = "Name Umask TracerPid Uid Gid Groups CoreDumping Threads SigPnd ShdPnd SigBlk SigIgn \
        SigCgt CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters NSpid \
        NSpgid NSsid";

fn status(pid: i32) -> String {
    let text = of(pid, "status");
    let fields = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        if !STATUS.split(' ').any(|kept| kept == name) {
            return None;
        }
        let mut value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.starts_with("NS") {
            // The first number is the pid on the host.
            value = value.split(' ').skip(1).collect::<Vec<_>>().join(" ");
        } else if name.starts_with("Cap") {
            value = capabilities(&value);
        }
        Some(format!("{name}: {value}"))
    });
    section("status", fields)
}

fn capabilities(hex: &str) -> String {
    const NAMES: &str = "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap \
        linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner \
        sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice \
        sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap \
        mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf \
        checkpoint_restore";
    let bits = u64::from_str_radix(hex, 16).expect("hex");
    let names = (0..64).filter(|bit| bits >> bit & 1 != 0);
    let name = |bit: usize| NAMES.split(' ').nth(bit);
    let names = names.map(|bit| name(bit).map_or(bit.to_string(), str::to_owned));
    names.collect::<Vec<_>>().join(" ")
}

/// Each descriptor with its access mode and whether execve(2) closes it.
fn descriptors(pid: i32) -> String {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd");
    let mut numbers: Vec<u32> = entries
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .parse()
                .expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    let lines = numbers.into_iter().map(|number| {
        let info = of(pid, &format!("fdinfo/{number}"));
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
        let mode = ["for reading", "for writing", "for both", "?"][(flags & 3) as usize];
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("the file");
        // The streams are files of the case.
        let name = target
            .extension()
            .map_or(target.to_string_lossy(), |it| it.to_string_lossy());
        let close = if flags & libc::O_CLOEXEC == 0 {
            ""
        } else {
            ", close-on-exec"
        };
        format!("{number}: {name} {mode}{close}")
    });
    section("descriptors", lines)
}

fn links(pid: i32, container: &Container) -> String {
    let rootfs = container.bundle.join("rootfs");
    let lines = ["cwd", "root", "exe"].map(|name| {
        let link = format!("/proc/{pid}/{name}");
        let target = fs::read_link(link).expect("the link").display().to_string();
        let rootfs = rootfs.display().to_string();
        format!(
            "{name}: {}",
            target.strip_prefix(&rootfs).unwrap_or(&target)
        )
    });
    section("links", lines)
}

fn namespaces(pid: i32) -> String {
    let kinds = [
        "cgroup",
        "ipc",
        "mnt",
        "net",
        "pid",
        "pid_for_children",
        "time",
        "time_for_children",
        "user",
        "uts",
    ];
    let link = |pid: u32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("ns");
    let lines = kinds.map(|kind| {
        let shared = link(pid as u32, kind) == link(std::process::id(), kind);
        format!("{kind}: {}", if shared { "the host's" } else { "its own" })
    });
    section("namespaces", lines)
}

fn paths(config: &Value, list: &str) -> Vec<String> {
    let paths = config["linux"][list].as_array().into_iter().flatten();
    paths
        .filter_map(|path| path.as_str().map(str::to_owned))
        .collect()
}

/// The mounts in the order of their creation, except those on single paths, which [`hidden`] lists,
/// and those that came with the host's /sys.
fn mounts(pid: i32, config: &Value) -> String {
    let covered = [paths(config, "maskedPaths"), paths(config, "readonlyPaths")].concat();
    let listed = config["mounts"].as_array().into_iter().flatten();
    let listed: Vec<_> = listed.map(|mount| &mount["destination"]).collect();
    let table = mount_info::table(&of(pid, "mountinfo"));
    let is_shown = |at: usize| {
        let point = table[at].point.as_str();
        let is_top = table[at + 1..].iter().all(|above| above.point != point);
        let is_listed = listed.iter().any(|path| **path == *point);
        let is_own = !point.starts_with("/sys/") || (is_listed && is_top);
        is_own && !covered.iter().any(|path| path == point)
    };
    let shown = (0..table.len()).filter(|&at| is_shown(at));
    let cgroup = of(pid, "cgroup");
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let maps_ids = config["linux"]["uidMappings"].is_array();
    let line = |at: usize| match (&table[at], maps_ids) {
        (found, true) if found.point == "/sys/fs/cgroup" && shows_little(found, cgroup) => {
            format!("{} ro, its cgroup or nothing", found.point)
        }
        (found, _) => mount(found, cgroup),
    };
    section("mounts", shown.map(line))
}

/// Some kernels do not let an ordinary user mount cgroups; then an empty directory covers them.
fn shows_little(mount: &MountInfo, cgroup: Option<&str>) -> bool {
    let is_empty = mount
        .fs_options
        .iter()
        .any(|option| option == "nr_inodes=1");
    let is_own = mount.fstype == "cgroup2" && Some(mount.root.as_str()) == cgroup;
    mount.has(&["ro"]) && (is_own || mount.fstype == "tmpfs" && is_empty)
}

fn mount(mount: &MountInfo, cgroup: Option<&str>) -> String {
    let (point, fstype) = (&mount.point, mount.fstype.as_str());
    let propagation = mount.propagation();
    let access = if mount.has(&["ro"]) { "ro" } else { "rw" };
    if point == "/" {
        return format!("/ {access} {propagation}");
    }
    if fstype == "devtmpfs" || (point.starts_with("/dev/") && mount.root == point[4..]) {
        return format!("{point} is the host's {access} {propagation}");
    }
    let root = match fstype {
        "cgroup2" if Some(mount.root.as_str()) == cgroup => "its cgroup",
        _ => mount.root.as_str(),
    };
    let (options, fs) = (mount.options.join(","), fs_options(mount));
    format!("{point} {root} of {fstype} {options} {propagation}, {fs}")
}

fn fs_options(mount: &MountInfo) -> String {
    const OF_THE_KERNEL: &str = "inode64 seclabel nsdelegate memory_recursiveprot memory_localevents favordynmods \
        memory_hugetlb_accounting pids_localevents huge=never";
    let kept = mount.fs_options.iter();
    let kept = kept.filter(|option| !OF_THE_KERNEL.split(' ').any(|word| word == *option));
    kept.cloned().collect::<Vec<_>>().join(",")
}

/// The masked and read-only paths that the process can read or write.
fn hidden(pid: i32, config: &Value) -> String {
    let table = mount_info::table(&of(pid, "mountinfo"));
    let top = |path: &str| table.iter().rfind(|mount| mount.point == path);
    let absent = |path: &str| !Path::new(&format!("/proc/{pid}/root{path}")).exists();
    let masked = paths(config, "maskedPaths").into_iter().map(|path| {
        let hides = |mount: &MountInfo| match mount.fstype.as_str() {
            "tmpfs" if mount.root == "/" => mount.has(&["ro"]),
            _ => mount.root == "/null",
        };
        let is = top(&path).map_or(absent(&path), hides);
        format!("{path}: {}", if is { "masked" } else { "SEEN" })
    });
    let readonly = paths(config, "readonlyPaths").into_iter().map(|path| {
        let is = top(&path).map_or(absent(&path), |mount| mount.has(&["ro"]));
        format!("{path}: {}", if is { "read-only" } else { "WRITABLE" })
    });
    section("paths", masked.chain(readonly))
}

/// On a processor that cannot forbid it, all writable memory is executable too, as in User Mode
/// Linux.
fn maps(pid: i32) -> String {
    let is_mixed = |rights: &str| rights.contains('w') && rights.contains('x');
    let rights = |line: &str| line.split(' ').nth(1).is_some_and(is_mixed);
    let cannot_forbid = own("maps").lines().any(rights);
    let text = of(pid, "maps");
    let names = text.lines().map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let rights = words.next().expect("rights");
        let name = words.nth(3).unwrap_or("anonymous");
        let name = name.rsplit_once("/rootfs/").map_or(name, |(_, name)| name);
        let mixed = is_mixed(rights) && !cannot_forbid;
        format!(
            "{name}{}",
            if mixed {
                " WRITABLE AND EXECUTABLE"
            } else {
                ""
            }
        )
    });
    let names: BTreeSet<_> = names
        .filter(|name| !name.starts_with("[v") && name != "[heap]")
        .collect();
    section("memory", names)
}

fn limits(pid: i32, config: &Value) -> String {
    let (text, callers) = (of(pid, "limits"), own("limits"));
    let set = config["process"]["rlimits"].to_string();
    let names = [
        ("Max open files", "RLIMIT_NOFILE"),
        ("Max core file size", "RLIMIT_CORE"),
    ];
    let lines = text.lines().skip(1).map(|line| {
        let (name, value) = line.split_at(26);
        let name = name.trim();
        let in_config = names
            .iter()
            .any(|(text, key)| *text == name && set.contains(key));
        let same = callers.lines().any(|own| own == line);
        let words = value.split_whitespace().collect::<Vec<_>>().join(" ");
        match (in_config, same) {
            (false, true) => format!("{name}: the caller's"),
            _ => format!("{name}: {words}"),
        }
    });
    section("limits", lines)
}

fn environment(pid: i32) -> String {
    let text = of(pid, "environ");
    section(
        "environment",
        text.split_terminator('\0').map(str::to_owned),
    )
}

fn numbers(pid: i32, config: &Value) -> String {
    let callers = |file: &str| match of(pid, file) {
        value if value == own(file) => format!("{file}: the caller's"),
        value => format!("{file}: {}", value.trim()),
    };
    let score = match config["process"]["oomScoreAdj"] {
        Value::Null => callers("oom_score_adj"),
        _ => format!("oom_score_adj: {}", of(pid, "oom_score_adj")),
    };
    let personality = format!("personality: {}", of(pid, "personality"));
    section("numbers", [score, callers("loginuid"), personality])
}

/// A second container with the same config looks, because keys are visible from inside only.
/// Docker's filter does not even allow that.
fn keyring(t: &Sandbox, config: &Value) -> String {
    let own = format!("{}\n", crate::probe::session_keyring());
    let looks = |call: Call, make: for<'a> fn(&'a Sandbox, Bundle<'a>) -> Container<'a>| {
        let bundle = t.bundle().patch(|own| *own = config.clone());
        let container = make(t, bundle.probe(&["keyring", "session"]));
        let output = container.launch(call.arg("run")).finish();
        match output.status.success() {
            true if output.stdout == own => "the caller's",
            true => "its own",
            false if output.stderr.contains("Operation not permitted") => "not to be seen",
            false => panic!("{output}"),
        }
    };
    let session = if config["linux"]["uidMappings"].is_array() {
        looks(rootless::by_user(t.runtime()), rootless::own)
    } else {
        looks(t.runtime(), |_, bundle| bundle.container())
    };
    section("keyring", [format!("session: {session}")])
}
