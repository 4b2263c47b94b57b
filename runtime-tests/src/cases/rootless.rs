//! The runtime as an ordinary user, without an engine.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::{Value, json};

use crate::container::reap;
use crate::host::kernel;
use crate::{Bundle, Call, Container, Need, Output, Sandbox, Test, tests};

pub const USER: u32 = 1000;
pub const SETPRIV: Need = Need::Program("setpriv");

pub const TESTS: &[Test] = tests![
    root_inside_is_the_caller_outside [SETPRIV],
    every_verb_works_without_a_cgroup [SETPRIV],
    the_spec_for_ordinary_users_runs [SETPRIV],
    default_root_directory_is_below_the_runtime_directory [SETPRIV],
    without_a_session_the_runtime_directory_is_found [SETPRIV, Need::NotAPeer],
    root_of_any_user_namespace_has_the_users_root_directory[Need::NotAPeer, Need::Program("unshare")],
    setgroups_is_denied_for_a_single_map [SETPRIV],
    denied_setgroups_is_no_error_for_a_caller_with_groups [SETPRIV],
    no_user_namespace_is_refused [SETPRIV],
    additional_groups_are_refused [SETPRIV],
    unmapped_user_is_refused [SETPRIV],
    foreign_ids_are_refused [SETPRIV],
    private_bind_source_is_reached [SETPRIV],
    devices_are_those_of_the_host [SETPRIV],
    sysfs_without_network_namespace [SETPRIV],
    cgroup_mount_without_cgroup_namespace_shows_nothing [SETPRIV, Need::NotAPeer],
    time_offsets_are_set [SETPRIV],
    oom_score_is_raised_and_not_lowered [SETPRIV],
    init_is_not_dumpable [SETPRIV],
    exec_before_start_enters_and_sees_nothing_of_init [SETPRIV, Need::Kernel(6, 11), Need::NotAPeer],
    exec_before_start_is_refused_with_a_reason [SETPRIV, NO_NAMESPACES_BY_PIDFD, Need::NotAPeer],
    failure_leaves_nothing [SETPRIV],
    ranges_by_newuidmap [SETPRIV, Need::Program("newuidmap"), SUBORDINATE_IDS],
];

/// Ranges that /etc/subuid and /etc/subgid grant to the user.
pub const SUBORDINATE_IDS: Need = Need::Custom("subordinate ids of the user 1000", || {
    match subordinate("/etc/subuid").and(subordinate("/etc/subgid")) {
        Some(_) => Ok(()),
        None => Err("the user 1000 has no ranges in /etc/subuid and /etc/subgid".to_owned()),
    }
});

/// A kernel on which init cannot hand out its namespaces.
const NO_NAMESPACES_BY_PIDFD: Need = Need::Custom("Linux older than 6.11", || {
    if kernel() < (6, 11) {
        return Ok(());
    }
    Err("init hands out its namespaces here".to_owned())
});

/// The first id of the user's first range. subuid(5).
pub fn subordinate(file: &str) -> Option<u32> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == "1000").then_some(name)
    })?;
    let ranges = fs::read_to_string(file).ok()?;
    ranges.lines().find_map(|line| {
        let (owner, range) = line.split_once(':')?;
        let (first, _) = range.split_once(':')?;
        (owner == name || owner == "1000").then(|| first.parse().ok())?
    })
}

/// A bundle that maps the user's own id to root of a user namespace, and does not map the tty
/// group.
pub fn bundle(t: &Sandbox) -> Bundle<'_> {
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    t.bundle()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set(
            "/mounts/2/options",
            json!(["newinstance", "ptmxmode=0666", "mode=0620"]),
        )
}

/// Gives the bundle and the runtime's root to the user.
pub fn own<'t>(t: &Sandbox, bundle: Bundle<'t>) -> Container<'t> {
    let container = bundle.container();
    give(&t.root);
    give(&container.bundle);
    container
}

pub fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("chown");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("list") {
            let path = entry.expect("entry").path();
            if !path.is_symlink() && !path.ends_with("busybox") {
                give(&path);
            }
        }
    }
}

/// A call by the user, without additional privileges.
pub fn by_user(call: Call) -> Call {
    let ids = format!("{USER}");
    call.prefix([
        "setpriv",
        "--reuid",
        &ids,
        "--regid",
        &ids,
        "--clear-groups",
    ])
}

pub(super) fn runtime(t: &Sandbox) -> Call {
    by_user(t.runtime())
}

pub(super) fn run(t: &Sandbox, container: &Container) -> Output {
    container.launch(runtime(t).arg("run")).finish()
}

fn verb(t: &Sandbox, words: &[&str]) -> Output {
    runtime(t).args(words).run()
}

pub(super) fn state(t: &Sandbox, container: &Container) -> Value {
    verb(t, &["state", &container.id]).ok().json()
}

fn root_inside_is_the_caller_outside(t: &Sandbox) {
    let script = "id -u; id -g; cat /proc/self/uid_map; touch /made";
    let container = own(t, bundle(t).shell(script));
    let output = run(t, &container).ok();
    let words: Vec<_> = output.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "1000", "1"], "{output}");
    use std::os::unix::fs::MetadataExt as _;
    let made = fs::metadata(container.bundle.join("rootfs/made")).expect("the file was made");
    assert_eq!((made.uid(), made.gid()), (USER, USER));
}

fn every_verb_works_without_a_cgroup(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    container.launch(runtime(t).arg("create")).finish().ok();
    assert_eq!(state(t, &container)["status"], "created");
    verb(t, &["start", &container.id]).ok();
    let reported = state(t, &container);
    assert_eq!(reported["status"], "running");
    verb(t, &["exec", &container.id, "id", "-u"])
        .ok()
        .prints("0");
    verb(t, &["exec", "--user", "0:0", &container.id, "hostname"])
        .ok()
        .prints("testbox");
    let stats = verb(t, &["events", "--stats", &container.id]).ok().json();
    assert_eq!(stats["data"]["cpu"]["usage"]["kernel"], 0);
    let stream = runtime(t).args(["events", "--interval", "1ms", &container.id]);
    let stream = stream.spawn();
    t.eventually("statistics", || {
        fs::read_to_string(&stream.stdout).is_ok_and(|text| text.lines().count() > 1)
    });
    verb(t, &["kill", &container.id, "KILL"]).ok();
    stream.finish().ok();
    reap(reported["pid"].as_i64().expect("pid") as i32);
    assert_eq!(state(t, &container)["status"], "stopped");
    verb(t, &["delete", &container.id]).ok();
    verb(t, &["state", &container.id]).fails_with("does not exist");
}

fn the_spec_for_ordinary_users_runs(t: &Sandbox) {
    let container = own(t, bundle(t));
    fs::remove_file(container.bundle.join("config.json")).expect("no config");
    let spec = by_user(t.bare_runtime()).args(["spec", "--rootless", "--bundle"]);
    spec.arg(&container.bundle).run().ok();
    let file = container.bundle.join("config.json");
    let text = fs::read_to_string(&file).expect("the config was made");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["id", "-u"]);
    config["root"]["readonly"] = json!(false);
    crate::bundle::write_config(&container.bundle, &config);
    run(t, &container).ok().prints("0");
}

fn default_root_directory_is_below_the_runtime_directory(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    let xdg = t.path("xdg");
    fs::create_dir(&xdg).expect("a runtime directory");
    give(&xdg);
    let call = |words: &[&str]| {
        let call = by_user(t.bare_runtime()).env("XDG_RUNTIME_DIR", &xdg);
        call.args(words).cwd(&container.bundle).run()
    };
    call(&["create", &container.id]).ok();
    let made = fs::read_dir(&xdg).expect("list").next();
    let root = made.expect("the runtime's root").expect("entry").path();
    assert!(root.join(&container.id).is_dir(), "{}", root.display());
    call(&["delete", "--force", &container.id]).ok();
    assert!(!root.join(&container.id).exists());
}

/// As from cron, or after su.
fn without_a_session_the_runtime_directory_is_found(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    let runtime = t.runtime.display().to_string();
    // /run/user of the case's own mount namespace.
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p $0 && chown {USER} $0 || exit 9
        user() {{ env -u XDG_RUNTIME_DIR setpriv --reuid={USER} --regid={USER} --clear-groups {runtime} \"$@\"; }}
        cd {} && user create {} && ls $0/sampan && user delete --force {}",
        container.bundle.display(), container.id, container.id
    );
    let with = |directory: &str| {
        let words = ["--mount", "sh", "-c", &script, directory];
        t.call("unshare").args(words).run()
    };
    with(&format!("/run/user/{USER}"))
        .ok()
        .prints(&container.id);
    with("/run/other").fails_with("set XDG_RUNTIME_DIR");
}

/// Even if the map is that of the initial user namespace.
fn root_of_any_user_namespace_has_the_users_root_directory(t: &Sandbox) {
    let xdg = t.path("xdg");
    fs::create_dir_all(xdg.join("sampan/half-made")).expect("a runtime directory");
    let script = r#"unshare --user sh -c 'until grep -q . /proc/self/uid_map; do :; done; exec "$@"' sh "$@" &
        while grep -q . /proc/$!/uid_map; do :; done
        echo 0 0 4294967295 >/proc/$!/gid_map; echo 0 0 4294967295 >/proc/$!/uid_map; wait $!"#;
    let call = t
        .call("env")
        .args(["--unset=USER", "sh", "-c", script, "sh"]);
    let call = call.arg(&t.runtime).args(["state", "half-made"]);
    let output = call.env("XDG_RUNTIME_DIR", &xdg).run();
    output.fails_with(&xdg.display().to_string());
}

fn setgroups_is_denied_for_a_single_map(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["cat", "/proc/self/setgroups"]));
    run(t, &container).ok().prints("deny");
}

/// `exec` finds a procfs with masks in the container, where it can mount none of its own.
fn denied_setgroups_is_no_error_for_a_caller_with_groups(t: &Sandbox) {
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    let runtime = || {
        t.runtime()
            .prefix(["setpriv", &user, &group, "--groups=4,27"])
    };
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    container
        .launch(runtime().args(["run", "--detach"]))
        .finish()
        .ok();
    let words = ["exec", &container.id, "cat", "/proc/self/setgroups"];
    runtime().args(words).run().ok().prints("deny");
    verb(t, &["delete", "--force", &container.id]).ok();
}

fn no_user_namespace_is_refused(t: &Sandbox) {
    let bundle = bundle(t).without_namespace("user");
    let container = own(
        t,
        bundle
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings"),
    );
    run(t, &container).fails_with("rootless container requires user namespaces");
}

fn additional_groups_are_refused(t: &Sandbox) {
    let container = own(t, bundle(t).set("/process/user/additionalGids", json!([0])));
    run(t, &container).fails_with("additionalGids");
}

fn unmapped_user_is_refused(t: &Sandbox) {
    let container = own(t, bundle(t).set("/process/user/uid", json!(5)));
    run(t, &container).fails_with("map");
}

fn foreign_ids_are_refused(t: &Sandbox) {
    let root = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let container = own(t, bundle(t).set("/linux/uidMappings", root));
    run(t, &container).fails_with("newuidmap");
}

fn private_bind_source_is_reached(t: &Sandbox) {
    use std::os::unix::fs::PermissionsExt as _;
    let source = t.path("private");
    fs::create_dir(&source).expect("directory");
    fs::write(source.join("file"), "read").expect("file");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).expect("mode");
    give(&source);
    let mount = json!({"destination": "/mnt", "type": "bind", "source": source,
        "options": ["rbind", "ro"]});
    let bundle = bundle(t).mount(mount);
    let container = own(
        t,
        bundle.shell("cat /mnt/file; touch /mnt/x 2>/dev/null || echo :ro"),
    );
    run(t, &container).ok().prints("read:ro");
}

fn devices_are_those_of_the_host(t: &Sandbox) {
    let script = "echo x >/dev/null && head -c1 /dev/zero | wc -c; stat -c %t:%T /dev/random";
    let container = own(t, bundle(t).shell(script));
    run(t, &container).ok().prints("1\n1:8");
}

fn sysfs_without_network_namespace(t: &Sandbox) {
    let bundle = bundle(t).without_namespace("network");
    let container = own(
        t,
        bundle.shell("test -d /sys/kernel && ! touch /sys/x 2>/dev/null"),
    );
    run(t, &container).ok();
}

fn cgroup_mount_without_cgroup_namespace_shows_nothing(t: &Sandbox) {
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev"]});
    let bundle = bundle(t).without_namespace("cgroup").mount(mount);
    let script = "ls -A /sys/fs/cgroup; ! touch /sys/fs/cgroup/x 2>/dev/null";
    run(t, &own(t, bundle.shell(script))).ok().prints("");
}

fn time_offsets_are_set(t: &Sandbox) {
    let bundle = bundle(t)
        .push("/linux/namespaces", json!({"type": "time"}))
        .set(
            "/linux/timeOffsets/boottime",
            json!({"secs": 1_000_000_000}),
        );
    let output = run(t, &own(t, bundle.args(&["cat", "/proc/uptime"]))).ok();
    let seconds: f64 = output.stdout.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 1e9, "{output}");
}

fn oom_score_is_raised_and_not_lowered(t: &Sandbox) {
    let score = |score: i32| {
        let bundle = bundle(t).set("/process/oomScoreAdj", json!(score));
        own(t, bundle.shell("cat /proc/self/oom_score_adj; sleep 1000"))
    };
    let container = score(700);
    container
        .launch(runtime(t).args(["run", "--detach"]))
        .finish()
        .ok();
    container.wait_stdout("700");
    let words = ["exec", &container.id, "cat", "/proc/self/oom_score_adj"];
    verb(t, &words).ok().prints("700");
    verb(t, &["delete", "--force", &container.id]).ok();
    run(t, &score(-900)).fails_with("oom");
}

fn init_is_not_dumpable(t: &Sandbox) {
    let container = own(t, bundle(t));
    container.launch(runtime(t).arg("create")).finish().ok();
    use std::os::unix::fs::MetadataExt as _;
    let pid = &state(t, &container)["pid"];
    let owner = fs::metadata(format!("/proc/{pid}/environ"))
        .expect("init")
        .uid();
    assert_eq!(
        owner, 0,
        "the files of a process that is not dumpable are root's"
    );
    verb(t, &["delete", "--force", &container.id]).ok();
}

/// Until the program is executed, init is a copy of the runtime, which other processes may not
/// inspect: neither the caller of `exec` nor the process that is executed.
fn exec_before_start_enters_and_sees_nothing_of_init(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    container.launch(runtime(t).arg("create")).finish().ok();
    let script = "id -u; readlink /proc/self/ns/mnt; \
        for it in fd environ root exe mem maps; do \
            { ls /proc/1/$it/ || cat /proc/1/$it; } >/dev/null 2>&1 && echo sees $it; done; true";
    let output = verb(t, &["exec", &container.id, "sh", "-c", script]).ok();
    let pid = &state(t, &container)["pid"];
    let namespace = fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("the namespace of init");
    assert_eq!(output.stdout, format!("0\n{}\n", namespace.display()));

    let file = t.path("mounts.json");
    let mounts = json!([{"destination": "/added", "type": "tmpfs", "source": "tmpfs"}]);
    fs::write(&file, mounts.to_string()).expect("a file");
    give(&file);
    let file = file.to_str().expect("UTF-8");
    verb(t, &["mounts", "add", &container.id, file]).ok();
    verb(
        t,
        &["exec", &container.id, "grep", " /added ", "/proc/mounts"],
    )
    .ok();

    // Init still waits for one caller that starts it.
    assert_eq!(state(t, &container)["status"], "created");
    verb(t, &["start", &container.id]).ok();
    assert_eq!(state(t, &container)["status"], "running");
    verb(
        t,
        &["exec", &container.id, "grep", " /added ", "/proc/mounts"],
    )
    .ok();
    verb(t, &["start", &container.id]).fails_with("cannot start an already running container");
    verb(t, &["delete", "--force", &container.id]).ok();
}

fn exec_before_start_is_refused_with_a_reason(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["sleep", "1000"]));
    container.launch(runtime(t).arg("create")).finish().ok();
    let pid_file = t.path("pid");
    let words = [
        "exec",
        "--pid-file",
        pid_file.to_str().expect("UTF-8"),
        &container.id,
        "true",
    ];
    let output = verb(t, &words);
    for part in [
        "linux.namespaces: ",
        "setns",
        "Linux 6.11",
        "start it first",
    ] {
        assert!(output.stderr.contains(part), "{part}: {output}");
    }
    output.exits(255);
    assert!(!pid_file.exists());
    assert_eq!(state(t, &container)["status"], "created");
    verb(t, &["start", &container.id]).ok();
    verb(t, &["exec", &container.id, "true"]).ok();
    verb(t, &["delete", "--force", &container.id]).ok();
}

fn failure_leaves_nothing(t: &Sandbox) {
    let container = own(t, bundle(t).args(&["/nothing"]));
    run(t, &container).fails_with("/nothing");
    verb(t, &["state", &container.id]).fails_with("does not exist");
    assert_eq!(fs::read_dir(&t.root).expect("root").count(), 0);
}

fn ranges_by_newuidmap(t: &Sandbox) {
    let map = |file| {
        let first = subordinate(file).expect("checked before");
        json!([
            {"containerID": 0, "hostID": USER, "size": 1},
            {"containerID": 1, "hostID": first, "size": 1000},
        ])
    };
    let bundle = bundle(t)
        .set("/linux/uidMappings", map("/etc/subuid"))
        .set("/linux/gidMappings", map("/etc/subgid"))
        .set(
            "/process/user",
            json!({"uid": 7, "gid": 8, "additionalGids": [9]}),
        )
        .shell("id -u; id -g; id -G; cat /proc/self/setgroups; sleep 1000");
    let container = own(t, bundle);
    container
        .launch(runtime(t).args(["run", "--detach"]))
        .finish()
        .ok();
    container.wait_stdout("allow");
    assert_eq!(container.stdout(), "7\n8\n8 9\nallow\n");
    verb(t, &["exec", &container.id, "id", "-G"])
        .ok()
        .prints("8 9");
    verb(t, &["exec", "--user", "5:6", &container.id, "id", "-u"])
        .ok()
        .prints("5");
    verb(t, &["kill", &container.id, "KILL"]).ok();
    verb(t, &["delete", "--force", &container.id]).ok();
}
