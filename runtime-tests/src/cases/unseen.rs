//! A file that cannot be read does not count as missing: the verb changes nothing and reports the
//! file. The same for a cgroup and a process that the caller's namespaces do not show.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::call::{Call, Output};
use crate::container::{Container, reap};
use crate::steps::Steps;
use crate::{Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    an_unreadable_process_is_not_gone[Need::NotAPeer, Need::Program("strace")],
    an_unreadable_lock_or_cgroup_is_reported[Need::NotAPeer, Need::Program("strace")],
    an_unreadable_host_is_reported[Need::NotAPeer, Need::Program("strace")],
    a_created_container_that_ends_never_runs[Need::NotAPeer],
    a_process_lives_as_long_as_its_last_thread,
    an_unreadable_state_is_not_a_leftover[Need::NotAPeer, Need::Program("strace")],
    a_broken_state_leaves_no_process[Need::NotAPeer],
    kill_of_all_reaches_an_init_outside_its_cgroup[Need::NotAPeer],
    kill_of_all_reaches_an_init_without_its_cgroup[Need::NotAPeer],
    a_cgroup_that_is_not_mounted_is_not_gone[Need::NotAPeer, UNSHARE],
    what_outlives_init_is_not_gone_where_the_cgroup_is_not_mounted[Need::NotAPeer, UNSHARE],
    a_process_of_another_namespace_is_not_gone[Need::NotAPeer, UNSHARE],
    a_process_is_not_gone_beside_the_procfs_of_another_namespace[Need::NotAPeer, UNSHARE],
    a_container_that_ended_with_its_namespaces_is_gone[Need::NotAPeer, UNSHARE],
    a_container_is_the_same_in_another_cgroup_namespace[Need::NotAPeer, UNSHARE],
    a_successor_in_the_cgroup_is_left_alone[Need::NotAPeer],
];

const UNSHARE: Need = Need::Program("unshare");

/// Errors of open(2) for a file that exists.
const ERRORS: [&str; 4] = ["EMFILE", "EIO", "ENOMEM", "EACCES"];

fn denied(t: &Sandbox, file: &Path, error: &str, words: &[&str]) -> Output {
    t.runtime().args(words).denied(file, error).run()
}

/// Verbs that need the status, and that would harm a container if they believed that it has
/// stopped.
fn verbs(id: &str) -> [Vec<&str>; 6] {
    [
        vec!["state", id],
        vec!["delete", id],
        vec!["delete", "--force", id],
        vec!["kill", id, "TERM"],
        vec!["start", id],
        vec!["exec", id, "true"],
    ]
}

fn an_unreadable_process_is_not_gone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let stat = format!("/proc/{}/stat", container.pid());
    for error in ERRORS {
        for words in verbs(&container.id) {
            denied(t, stat.as_ref(), error, &words).fails_with(&stat);
            assert_eq!(container.status(), "running", "{words:?} {error}");
        }
    }
}

fn an_unreadable_lock_or_cgroup_is_reported(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let lock = t.root.join(&container.id).join("init.lock");
    let events = container.cgroup().join("cgroup.events");
    for file in [&lock, &events] {
        for error in ERRORS {
            for words in verbs(&container.id) {
                // These files do not matter to `delete --force`, and the freezer does not matter to
                // a signal.
                if words.contains(&"--force") || (words.contains(&"kill") && *file == events) {
                    continue;
                }
                let output = denied(t, file, error, &words);
                output.fails_with(file.to_str().expect("UTF-8"));
                assert_eq!(container.status(), "running", "{words:?} {error}");
            }
        }
    }
}

/// Otherwise a container would have no limits without its cgroup, and no confinement without its
/// profile.
fn an_unreadable_host_is_reported(t: &Sandbox) {
    let container = t.bundle().container();
    let strace = strace(&["-e", "inject=statfs:error=EIO"]);
    let create = container.launch(t.runtime().arg("create").prefix(strace));
    create.finish().fails_with("/sys/fs/cgroup: statfs");
    let bundle = t
        .bundle()
        .set("/process/apparmorProfile", json!("unconfined"));
    let container = bundle.container();
    let file = Path::new("/sys/module/apparmor/parameters/enabled");
    let create = container.launch(t.runtime().arg("create").denied(file, "EIO"));
    create.finish().fails_with(file.to_str().expect("UTF-8"));
    container.verb("state").fails_with("does not exist");
}

/// An init that ends releases its lock before it becomes a zombie.
fn a_created_container_that_ends_never_runs(t: &Sandbox) {
    let mut count = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        let pid = container.pid();
        let mut state = Steps::begin(t.runtime().args(["state", &container.id]));
        if (0..count).any(|_| state.advance().is_none()) {
            state.finish().ok();
            break;
        }
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
        wait_for_zombie(t, pid);
        let status = state.finish().ok().json()["status"].clone();
        assert!(status == "created" || status == "stopped", "{status}");
        delete(&container, pid);
        count += 1;
    }
    assert!(count > 10, "only {count} steps");
}

pub(super) fn wait_for_zombie(t: &Sandbox, pid: i32) {
    t.eventually("init has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    });
}

fn delete(container: &Container, pid: i32) {
    reap(pid);
    container.delete().ok();
}

/// The first thread is then a zombie, and /proc reports the process as one.
fn a_process_lives_as_long_as_its_last_thread(t: &Sandbox) {
    let container = t.bundle().probe(&["first-thread-ends"]).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    wait_for_zombie(t, pid);
    assert_eq!(container.status(), "running");
    container.delete().fails_with("not stopped");
    assert_eq!(container.status(), "running");
}

fn an_unreadable_state_is_not_a_leftover(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let directory = t.root.join(&container.id);
    for file in [directory.join("state.json"), directory] {
        for error in ERRORS {
            for words in verbs(&container.id) {
                let output = denied(t, &file, error, &words);
                output.fails_with(file.to_str().expect("UTF-8"));
                assert_eq!(container.status(), "running", "{words:?} {error}");
            }
        }
    }
}

/// The cgroup is at the path in the saved config.
fn a_broken_state_leaves_no_process(t: &Sandbox) {
    let broken = ["", "{", "{\"id\": 7}", "\u{0}\u{0}\u{0}"];
    for (number, broken) in broken.into_iter().enumerate() {
        let mut bundle = t.bundle().args(&["sleep", "1000"]);
        if number % 2 == 0 {
            let path = format!("/broken-{}/deep", std::process::id());
            bundle = bundle.set("/linux/cgroupsPath", json!(path));
        }
        let script = format!(": >{}", t.path(&format!("hook{number}")).display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        let container = bundle.set("/hooks/poststop", hook).container();
        container.launch_ok();
        let (pid, cgroup) = (container.pid(), container.cgroup());
        let file = t.root.join(&container.id).join("state.json");
        std::fs::write(&file, broken).expect("the state");
        container.delete().fails_with("delete --force");
        container.delete_force().ok();
        assert_eq!(reap(pid), 128 + 9);
        assert!(!cgroup.exists() && t.path(&format!("hook{number}")).exists());
        if number % 2 == 0 {
            std::fs::remove_dir(cgroup.parent().expect("a parent")).expect("rmdir");
        }
        container.verb("state").fails_with("does not exist");
    }
}

/// Moves init to the cgroup above its own.
fn move_up(container: &Container) -> std::path::PathBuf {
    let cgroup = container.cgroup();
    let above = cgroup.parent().expect("a parent").join("cgroup.procs");
    std::fs::write(above, container.pid().to_string()).expect("move init");
    cgroup
}

fn kill_of_all_reaches_an_init_outside_its_cgroup(t: &Sandbox) {
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done";
    for (signal, status) in [("KILL", 128 + 9), ("USR1", 7)] {
        let container = t.bundle().shell(script).container();
        container.launch_ok();
        container.wait_stdout("ready");
        let pid = container.pid();
        move_up(&container);
        let call = t.runtime().args(["kill", "--all", &container.id, signal]);
        call.run().ok();
        assert_eq!(reap(pid), status);
        container.delete().ok();
    }
}

fn kill_of_all_reaches_an_init_without_its_cgroup(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let pid = container.pid();
    std::fs::remove_dir(move_up(&container)).expect("rmdir");
    let kill = |signal| t.runtime().args(["kill", "--all", &container.id, signal]);
    // There may be other processes that cannot be found.
    kill("CONT").run().fails_with("cgroup");
    assert_eq!(container.status(), "running");
    kill("KILL").run().ok();
    assert_eq!(reap(pid), 128 + 9);
    kill("KILL").run().ok();
    container.delete().ok();
}

/// The runtime where the hierarchy is not mounted.
fn without_cgroups(t: &Sandbox) -> Call {
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let script = format!("umount -l {} && exec \"$@\"", mount.display());
    t.runtime()
        .prefix(["unshare", "-m", "sh", "-c", &script, "sh"])
}

/// Every verb that asks for the process or the cgroup of a container.
fn asking(id: &str) -> Vec<Vec<&str>> {
    let all = verbs(id).into_iter().filter(|words| words[0] != "kill");
    all.chain([
        vec!["kill", "--all", id, "KILL"],
        vec!["ps", "--format", "json", id],
        vec!["pause", id],
        vec!["update", "--pids-limit", "7", id],
        vec!["events", "--stats", id],
        vec!["wait", id],
    ])
    .collect()
}

const UNSEEN: &str = "cannot be seen from here";

fn a_cgroup_that_is_not_mounted_is_not_gone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let cgroup = container.cgroup();
    for words in asking(&container.id) {
        let output = without_cgroups(t).args(&words).run().fails_with(UNSEEN);
        assert!(output.stderr.contains(cgroup.to_str().expect("UTF-8")));
        assert_eq!(container.status(), "running", "{words:?}");
    }
}

fn what_outlives_init_is_not_gone_where_the_cgroup_is_not_mounted(t: &Sandbox) {
    let bundle = t.bundle().without_namespace("pid");
    let container = bundle
        .shell("sleep 1001 & echo ready; exec sleep 1002")
        .container();
    container.launch_ok();
    container.wait_stdout("ready");
    let (pid, cgroup) = (container.pid(), container.cgroup());
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
    reap(pid);
    let id = &*container.id;
    for words in [
        vec!["delete", id],
        vec!["delete", "--force", id],
        vec!["kill", "--all", id, "KILL"],
        vec!["ps", "--format", "json", id],
    ] {
        without_cgroups(t).args(&words).run().fails_with(UNSEEN);
        let events = std::fs::read_to_string(cgroup.join("cgroup.events")).expect("the cgroup");
        assert!(events.contains("populated 1"), "{words:?}");
        assert_eq!(container.status(), "stopped", "{words:?}");
    }
    container.delete().ok();
    assert!(!cgroup.exists());
}

fn a_process_of_another_namespace_is_not_gone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let namespaces = [
        ("pid", vec!["unshare", "--pid", "--fork", "--mount-proc"]),
        ("time", vec!["unshare", "--time", "--boottime", "9999"]),
    ];
    for (kind, prefix) in namespaces {
        for words in asking(&container.id) {
            // It asks only for the cgroup.
            let is_seen = kind == "time" && words[0] == "ps";
            let output = t.runtime().prefix(&prefix).args(&words).run();
            match words[0] {
                _ if is_seen => drop(output.ok()),
                "ps" => drop(output.fails_with("pid namespace does not show")),
                _ => {
                    let output = output.fails_with(UNSEEN);
                    let namespace = format!("nsenter --{kind}");
                    assert!(output.stderr.contains(&namespace), "{output}");
                }
            }
            assert_eq!(container.status(), "running", "{prefix:?} {words:?}");
        }
    }
}

/// There /proc has the numbers of the namespace above, and pidfd_open(2) has not.
fn a_process_is_not_gone_beside_the_procfs_of_another_namespace(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let asking = asking(&container.id);
    let acting = ["delete", "kill", "exec", "wait"];
    for words in asking.iter().filter(|words| acting.contains(&words[0])) {
        let call = t.runtime().prefix(["unshare", "--pid", "--fork"]);
        call.args(words).run().fails_with(UNSEEN);
        assert_eq!(container.status(), "running", "{words:?}");
    }
}

/// As after a restart of a container in which the runtime runs.
fn a_container_that_ended_with_its_namespaces_is_gone(t: &Sandbox) {
    for is_removed in [false, true] {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        let script = "\"$@\" </dev/null >/dev/null 2>&1; echo status $?";
        let prefix = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            script,
            "sh",
        ];
        let call = t
            .runtime()
            .prefix(prefix)
            .args(["run", "--detach", "--bundle"]);
        let output = call.arg(&container.bundle).arg(&container.id).run();
        assert_eq!(output.stdout, "status 0\n", "{output}");
        let cgroup = crate::leaks::cgroups(&container.id)
            .pop()
            .expect("a cgroup");
        if is_removed {
            t.eventually("the cgroup is unused", || {
                std::fs::remove_dir(&cgroup).is_ok()
            });
        }
        container.wait_status("stopped");
        container.delete().ok();
        assert!(!cgroup.exists());
    }
}

/// The kernel finds the cgroup by its number.
fn a_container_is_the_same_in_another_cgroup_namespace(t: &Sandbox) {
    let mut elsewhere = Elsewhere::new();
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let there = ["unshare", "--cgroup"];
    let call = t
        .runtime()
        .prefix(there)
        .args(["exec", &container.id, "cat"]);
    let exec = call.arg("/proc/self/cgroup").run();
    // With this option the kernel refuses to put a process into a cgroup outside of the namespace.
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let delegates = |line: &str| line.contains(" cgroup2 ") && line.contains("nsdelegate");
    if mounts.lines().any(delegates) {
        let exec = exec.fails_with("clone3: no such file or directory");
        assert!(exec.stderr.contains("nsenter --cgroup"), "{exec}");
    } else {
        exec.ok();
    }
    let below = vec!["exec", "--cgroup", "/", &container.id, "true"];
    let asked = || asking(&container.id).into_iter().chain([below.clone()]);
    for words in asked() {
        let output = elsewhere.runtime(t).args(&words).run();
        output.fails_with(UNSEEN);
        assert_eq!(container.status(), "running", "{words:?}");
    }
    // There another container's cgroup has the path of this one's.
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let cgroup = container.cgroup();
    let path = cgroup.strip_prefix(mount).expect("below the mount");
    elsewhere.put_process_in(path);
    for words in asked() {
        let output = elsewhere.runtime(t).args(&words).run();
        output.fails_with(UNSEEN);
        assert_eq!(container.status(), "running", "{words:?}");
        assert!(elsewhere.is_untouched(), "{words:?}");
    }
}

/// A cgroup that the runtime's mount namespace shows as the root of the hierarchy.
struct Elsewhere {
    cgroup: PathBuf,
    /// A process in a cgroup below it.
    process: Option<(PathBuf, Child)>,
}

impl Elsewhere {
    fn new() -> Self {
        let mount = crate::host::cgroup2_mount().expect("cgroup v2");
        let cgroup = mount.join(format!("sampan-elsewhere-{}", std::process::id()));
        std::fs::create_dir(&cgroup).expect("a cgroup");
        let process = None;
        Self { cgroup, process }
    }

    fn runtime(&self, t: &Sandbox) -> Call {
        let mount = crate::host::cgroup2_mount().expect("cgroup v2");
        let (mount, root) = (mount.display(), self.cgroup.display());
        let script = format!("mount --bind {root} {mount} && exec \"$@\"");
        let there = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        t.runtime().prefix(there)
    }

    fn put_process_in(&mut self, path: &Path) {
        let below = self.cgroup.join(path);
        std::fs::create_dir_all(&below).expect("a cgroup");
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = child.id().to_string();
        std::fs::write(below.join("cgroup.procs"), pid).expect("move the process");
        self.process = Some((below, child));
    }

    /// Whether the process lives, and its cgroup is as it was made.
    fn is_untouched(&mut self) -> bool {
        let Some((below, child)) = &mut self.process else {
            return true;
        };
        let frozen = std::fs::read_to_string(below.join("cgroup.freeze")).expect("the cgroup");
        frozen == "0\n" && child.try_wait().expect("wait").is_none()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let mut cgroups = vec![self.cgroup.clone()];
        if let Some((below, child)) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
            let levels = below.ancestors();
            cgroups = levels
                .take_while(|level| level.starts_with(&self.cgroup))
                .map(Path::to_owned)
                .collect();
        }
        for cgroup in cgroups {
            let _ = std::fs::remove_dir(cgroup);
        }
    }
}

/// The cgroup of a container that has ended was removed, and another container has made its own at
/// the same path.
fn a_successor_in_the_cgroup_is_left_alone(t: &Sandbox) {
    let path = json!(format!("/{}-shared", t.id));
    let launched = || {
        let bundle = t.bundle().args(&["sleep", "1000"]);
        let container = bundle.set("/linux/cgroupsPath", path.clone()).container();
        container.launch_ok();
        container
    };
    let first = launched();
    let (pid, cgroup) = (first.pid(), first.cgroup());
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
    reap(pid);
    t.eventually("the cgroup is unused", || {
        std::fs::remove_dir(&cgroup).is_ok()
    });
    let second = launched();
    let all = ["kill", "--all", &first.id, "KILL"];
    t.runtime().args(all).run().ok();
    let ps = t
        .runtime()
        .args(["ps", "--format", "json", &first.id])
        .run();
    assert!(!ps.stdout.contains(&second.pid().to_string()), "{ps}");
    assert_eq!(second.status(), "running");
    first.delete().ok();
    assert_eq!(second.status(), "running");
}
