//! The flags of exec, and what of the container applies to its additional processes.

use serde_json::json;

use crate::{Bundle, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    capabilities_and_groups_are_added,
    no_new_privs_is_set,
    descriptors_are_preserved,
    home_is_that_of_the_user,
    a_paused_container_is_entered_on_request,
    a_cgroup_below_the_containers_is_entered,
    personality_and_filter_are_the_containers,
];

fn sleeper(t: &Sandbox) -> Bundle<'_> {
    t.bundle().args(&["sleep", "1000"])
}

fn capabilities_and_groups_are_added(t: &Sandbox) {
    let none = json!({"bounding": [], "permitted": [], "effective": []});
    let container = sleeper(t).set("/process/capabilities", none).container();
    container.launch_ok();
    let look = [
        "sh",
        "-c",
        "id -G; grep -E 'Cap(Prm|Inh)' /proc/self/status",
    ];
    let sets = |permitted: u64| format!("CapInh:\t{:016x}\nCapPrm:\t{permitted:016x}\n", 0);
    let output = container.exec(&look).ok();
    assert_eq!(output.stdout, format!("0\n{}", sets(0)), "{output}");
    let flags = ["--cap", "CAP_KILL", "--additional-gids", "7", "-g", "9"];
    let output = container.exec_with(&flags, &look).ok();
    assert_eq!(
        output.stdout,
        format!("0 7 9\n{}", sets(1 << 5)),
        "{output}"
    );
}

fn no_new_privs_is_set(t: &Sandbox) {
    let bundle = sleeper(t).set("/process/noNewPrivileges", json!(false));
    let container = bundle.container();
    container.launch_ok();
    let look = ["grep", "NoNewPrivs", "/proc/self/status"];
    container.exec(&look).ok().prints("NoNewPrivs:\t0");
    let output = container.exec_with(&["--no-new-privs"], &look).ok();
    output.prints("NoNewPrivs:\t1");
}

fn descriptors_are_preserved(t: &Sandbox) {
    let container = sleeper(t).container();
    container.launch_ok();
    let file = t.path("file");
    std::fs::write(&file, "of the caller\n").expect("a file");
    let script = format!("exec 3<{0} 4<{0}; exec \"$@\"", file.display());
    let call = t.runtime().prefix(["sh", "-c", &script, "sh"]);
    let call = call.args(["exec", "--preserve-fds", "1", &container.id]);
    let look = "cat <&3; [ -e /proc/self/fd/4 ] || echo closed";
    let output = call.args(["sh", "-c", look]).run().ok();
    output.prints("of the caller\nclosed");
}

fn home_is_that_of_the_user(t: &Sandbox) {
    let container = sleeper(t).container();
    container.launch_ok();
    let look = ["sh", "-c", "echo $HOME"];
    container.exec(&look).ok().prints("/root");
    let of_user = container.exec_with(&["--user", "1000:1000"], &look);
    of_user.ok().prints("/home");
    let of_flag = container.exec_with(&["--env", "HOME=/one", "--env", "HOME=/two"], &look);
    of_flag.ok().prints("/two");
}

fn a_paused_container_is_entered_on_request(t: &Sandbox) {
    let container = sleeper(t).container();
    container.launch_ok();
    container.verb("pause").ok();
    let output = container.exec(&["true"]);
    output.exits(255).fails_with("paused");
    let pid_file = t.path("exec.pid");
    let words = ["exec", "--ignore-paused", "--pid-file"];
    let call = t.runtime().args(words).arg(&pid_file);
    let running = call.args([&container.id, "echo", "resumed"]).spawn();
    // The process is frozen before it executes, and exec waits for it.
    t.eventually("a process in the frozen cgroup", || {
        container.cgroup_file("cgroup.procs").lines().count() > 1
    });
    container.verb("resume").ok();
    running.finish().ok().prints("resumed");
    assert!(pid_file.exists());
}

fn a_cgroup_below_the_containers_is_entered(t: &Sandbox) {
    let container = sleeper(t).container();
    container.launch_ok();
    std::fs::create_dir(container.cgroup().join("jobs")).expect("a cgroup");
    let look = ["grep", "^0::", "/proc/self/cgroup"];
    for path in ["jobs", "/jobs"] {
        let output = container.exec_with(&["--cgroup", path], &look).ok();
        output.prints("0::/jobs");
    }
    for path in ["..", "jobs/../..", "none"] {
        let output = container.exec_with(&["--cgroup", path], &look);
        output.exits(255).fails_with("--cgroup: ");
    }
}

/// PER_LINUX32 of personality(2) is 8. The filter refuses that call to the process, but the
/// runtime has made it before.
fn personality_and_filter_are_the_containers(t: &Sandbox) {
    let refused = json!(["personality", "mkdir", "mkdirat"]);
    let rules = json!([{"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let bundle = sleeper(t)
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set("/linux/seccomp", filter);
    let container = bundle.container();
    container.launch_ok();
    let look = "cat /proc/self/personality; mkdir /new";
    let output = container.exec(&["sh", "-c", look]).exits(1);
    assert_eq!(output.stdout.trim(), "00000008", "{output}");
    assert!(output.stderr.contains("No space left"), "{output}");
}
