//! exec: another process in a running container.

use serde_json::json;

use crate::container::reap;
use crate::{Container, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    exec_passes_output_and_exit_status,
    exec_joins_the_container,
    exec_takes_env_cwd_and_user,
    exec_by_process_file,
    what_a_process_file_leaves_out_is_the_containers,
    what_a_process_file_has_is_its_own,
    exec_detached_writes_a_pid_file,
    exec_parses_no_flags_after_the_name,
    exec_in_a_stopped_container_is_refused,
    exec_of_a_missing_program_fails,
];

fn exec_passes_output_and_exit_status(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.exec(&["echo", "hello"]).ok().prints("hello");
    let output = container
        .exec(&["sh", "-c", "echo words >&2; exit 9"])
        .exits(9);
    assert_eq!(output.stderr, "words\n");
    container
        .exec(&["sh", "-c", "kill -TERM $$"])
        .exits(128 + 15);
}

fn exec_joins_the_container(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.exec(&["hostname"]).ok().prints("testbox");
    let script = "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done";
    let inside = container.exec(&["sh", "-c", script]).ok().stdout;
    let init = script.replace("self", "1");
    container.exec(&["sh", "-c", &init]).ok().prints(&inside);
}

fn exec_takes_env_cwd_and_user(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let flags = [
        "--env",
        "A=1",
        "--env",
        "B=2",
        "--cwd",
        "/tmp",
        "--user",
        "1000:1001",
    ];
    let script = "echo $A $B $(pwd) $(id -u) $(id -g)";
    container
        .exec_with(&flags, &["sh", "-c", script])
        .ok()
        .prints("1 2 /tmp 1000 1001");
}

fn exec_by_process_file(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let process = json!({"terminal": false, "user": {"uid": 7, "gid": 8}, "cwd": "/home",
        "args": ["sh", "-c", "echo $X $(pwd) $(id -u) $(id -g)"],
        "env": ["PATH=/bin", "X=from the file"]});
    let output = container.exec_process(&process).ok();
    output.prints("from the file /home 7 8");
}

/// Its privileges and limits: the umask, the score, a limit, and the capability sets.
const LOOK: &str = "umask; cat /proc/self/oom_score_adj; ulimit -n; grep Cap /proc/self/status";

fn limited(t: &Sandbox) -> Container<'_> {
    let bundle = t.bundle().patch(|config| {
        let process = &mut config["process"];
        process["user"]["umask"] = json!(0o27);
        process["oomScoreAdj"] = json!(77);
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}]);
        let set = json!(["CAP_KILL", "CAP_CHOWN"]);
        process["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    });
    bundle.args(&["sleep", "1000"]).container()
}

fn what_a_process_file_leaves_out_is_the_containers(t: &Sandbox) {
    let container = limited(t);
    container.launch_ok();
    let process = json!({"cwd": "/", "args": ["sh", "-c", LOOK], "env": ["PATH=/bin"]});
    let output = container.exec_process(&process).ok();
    let same = container.exec(&["sh", "-c", LOOK]).ok();
    output.prints(&same.stdout);
    assert!(same.stdout.starts_with("0027\n77\n100\n"), "{same}");
    let effective = format!("CapEff:\t{:016x}", 1 << 5 | 1 << 0);
    assert!(same.stdout.contains(&effective), "{same}");
}

fn what_a_process_file_has_is_its_own(t: &Sandbox) {
    let container = limited(t);
    container.launch_ok();
    let process = json!({"cwd": "/", "args": ["sh", "-c", LOOK], "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0, "umask": 0o77}, "oomScoreAdj": 99, "capabilities": {},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 100}]});
    let output = container.exec_process(&process).ok();
    assert!(output.stdout.starts_with("0077\n99\n50\n"), "{output}");
    let effective = format!("CapEff:\t{:016x}", 0);
    assert!(output.stdout.contains(&effective), "{output}");
}

fn exec_detached_writes_a_pid_file(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let file = t.path("exec.pid");
    let flags = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
    container.exec_with(&flags, &["sh", "-c", "exit 5"]).ok();
    let text = std::fs::read_to_string(&file).expect("the pid file");
    let pid = text.parse().expect("digits only");
    assert_eq!(reap(pid), 5, "the engine waits for the process itself");
}

/// As with other runtimes, everything after the name is the program and its arguments, whatever it
/// looks like.
fn exec_parses_no_flags_after_the_name(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    for word in ["--help", "-t", "--env=A"] {
        container
            .exec(&[word, "x"])
            .fails_with(&format!("looked for /usr/sbin/{word},"));
    }
    let flags = ["-e", "A=1", "-cwd", "/tmp"];
    let call = container.exec_with(&flags, &["sh", "-c", "echo $A $(pwd) $0", "--tty"]);
    call.ok().prints("1 /tmp --tty");
}

fn exec_in_a_stopped_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    container.exec(&["true"]).fails_with("stopped");
    t.bundle()
        .container()
        .exec(&["true"])
        .fails_with("does not exist");
}

fn exec_of_a_missing_program_fails(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
        .exec(&["no-such-program"])
        .fails_with("executable file not found in");
    container
        .exec(&["/no/such/program"])
        .fails_with("no such file or directory");
    assert_eq!(container.status(), "running");
}
