//! `process.scheduler`, `process.execCPUAffinity` and `process.ioPriority`: when and where the
//! program gets the CPU and the disk.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::userns_fs::mapped;
use crate::{Bundle, Container, Need, Output, Sandbox, Test, host, tests};

pub const TESTS: &[Test] = tests![
    nice_is_set,
    realtime_policies_are_set[REALTIME],
    realtime_is_reset_on_fork[REALTIME],
    deadlines_are_set[host::CAP_SYS_NICE],
    scheduler_of_exec,
    scheduler_in_a_user_namespace,
    invalid_schedulers,
    cpus_of_exec[TWO_CPUS],
    first_cpus_of_exec_remain[TWO_CPUS],
    cpus_that_the_host_lacks,
    io_priority_is_set,
    io_priority_of_exec,
    io_priority_outside_its_range,
];

/// Prints nice value, real-time priority and policy of the shell. proc_pid_stat(5).
const SHOW: &str = "cut -d' ' -f19,40,41 /proc/$$/stat";

fn with_scheduler<'a>(t: &'a Sandbox, scheduler: Value, script: &str) -> Container<'a> {
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle().set("/process/user", user);
    let bundle = bundle.set("/process/scheduler", scheduler);
    bundle.shell(script).container()
}

fn nice_is_set(t: &Sandbox) {
    for (policy, number) in [("SCHED_OTHER", 0), ("SCHED_BATCH", 3)] {
        let scheduler = json!({"policy": policy, "nice": 7});
        let shown = format!("7 0 {number}");
        with_scheduler(t, scheduler, SHOW).run().ok().prints(&shown);
    }
    let idle = json!({"policy": "SCHED_IDLE"});
    with_scheduler(t, idle, SHOW).run().ok().prints("0 0 5");
    let higher = json!({"policy": "SCHED_OTHER", "nice": -5});
    with_scheduler(t, higher, SHOW).run().ok().prints("-5 0 0");
}

/// A kernel with CONFIG_RT_GROUP_SCHED gives a cgroup with the cpu controller of version 2 no
/// real-time budget, and has no file to change that.
const REALTIME: Need = Need::Custom("real-time policies in a cgroup", || {
    let hierarchy = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(hierarchy.join("cgroup.controllers"));
    let has_cpu = controllers.is_ok_and(|names| names.split_whitespace().any(|it| it == "cpu"));
    let probe = hierarchy.join(format!("runtime-tests-realtime-{}", std::process::id()));
    let mut script = "exec chrt -f 9 true".to_owned();
    if has_cpu {
        // As every container does that gets a limit of the controller.
        let _ = fs::write(hierarchy.join("cgroup.subtree_control"), "+cpu");
        fs::create_dir(&probe).map_err(|error| error.to_string())?;
        script = format!("echo 0 >{}/cgroup.procs && {script}", probe.display());
    }
    let tried = Command::new("sh").args(["-c", &script]).output();
    let _ = fs::remove_dir(&probe);
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
});

fn realtime_policies_are_set(t: &Sandbox) {
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let scheduler = json!({"policy": policy, "priority": 9});
        let shown = format!("0 9 {number}");
        with_scheduler(t, scheduler, SHOW).run().ok().prints(&shown);
    }
}

/// The children of the process have the ordinary policy.
fn realtime_is_reset_on_fork(t: &Sandbox) {
    let scheduler = json!({"policy": "SCHED_FIFO", "priority": 9,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let script = format!("{SHOW}; cut -d' ' -f19,40,41 /proc/self/stat; true");
    let output = with_scheduler(t, scheduler, &script).run().ok();
    output.prints("0 9 1\n0 0 0");
}

fn deadlines_are_set(t: &Sandbox) {
    let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000,
        "deadline": 10_000_000, "period": 20_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    with_scheduler(t, scheduler, SHOW)
        .run()
        .ok()
        .prints("0 0 6");
}

/// A COMMAND and a file without the property have the container's, a file can have its own.
fn scheduler_of_exec(t: &Sandbox) {
    let scheduler = json!({"policy": "SCHED_BATCH", "nice": 7});
    let container = with_scheduler(t, scheduler, "sleep 1000");
    container.launch_ok();
    container.exec(&["sh", "-c", SHOW]).ok().prints("7 0 3");
    let mut process = json!({"user": {"uid": 1000, "gid": 1000}, "cwd": "/",
        "args": ["sh", "-c", SHOW], "env": ["PATH=/bin"]});
    container.exec_process(&process).ok().prints("7 0 3");
    process["scheduler"] = json!({"policy": "SCHED_IDLE"});
    container.exec_process(&process).ok().prints("0 0 5");
}

/// The kernel asks for CAP_SYS_NICE of the host.
fn scheduler_in_a_user_namespace(t: &Sandbox) {
    let with = |scheduler| {
        let bundle = mapped(t.bundle()).set("/process/scheduler", scheduler);
        bundle.shell(SHOW).container()
    };
    let container = with(json!({"policy": "SCHED_BATCH", "nice": 3}));
    container.run().ok().prints("3 0 3");
    let container = with(json!({"policy": "SCHED_FIFO", "priority": 1}));
    let output = container.run();
    output.fails_with("process.scheduler: sched_setattr SCHED_FIFO priority 1");
}

fn invalid_schedulers(t: &Sandbox) {
    for (scheduler, message) in [
        (
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "process.scheduler.nice: 20 is outside the range -20 to 19",
        ),
        (
            json!({"policy": "SCHED_FIFO", "priority": 100}),
            "process.scheduler.priority: 100 is outside the range 1 to 99",
        ),
        (
            json!({"policy": "SCHED_RR", "priority": 1, "deadline": 5}),
            "process.scheduler.deadline: only SCHED_DEADLINE has it",
        ),
    ] {
        let container = with_scheduler(t, scheduler, SHOW);
        container.create().fails_with(message);
        container.verb("state").fails_with("does not exist");
    }
}

const TWO_CPUS: Need = Need::Custom("the CPUs 0 and 1", || {
    let allowed = allowed("self");
    let both = allowed.starts_with("0-") || allowed.starts_with("0,1");
    both.then_some(()).ok_or(format!("the CPUs are {allowed}"))
});

/// The CPUs that a process may use.
fn allowed(pid: impl Display) -> String {
    host::proc_status_field(pid, "Cpus_allowed_list:").expect("the CPUs")
}

const ALLOWED: &str = "grep Cpus_allowed_list /proc/self/status | cut -f2";

fn exec_allowed(container: &Container, affinity: Option<Value>) -> Output {
    let mut process = json!({"user": {"uid": 1000, "gid": 1000}, "cwd": "/",
        "args": ["sh", "-c", ALLOWED], "env": ["PATH=/bin"]});
    if let Some(affinity) = affinity {
        process["execCPUAffinity"] = affinity;
    }
    container.exec_process(&process)
}

/// Init is not affected. A COMMAND and a file without the property have the container's.
fn cpus_of_exec(t: &Sandbox) {
    let affinity = json!({"initial": "0", "final": "1"});
    let bundle = t.bundle().set("/process/execCPUAffinity", affinity);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let all = allowed("self");
    assert_eq!(allowed(container.pid()), all);
    container.exec(&["sh", "-c", ALLOWED]).ok().prints("1");
    exec_allowed(&container, None).ok().prints("1");
    let own = json!({"final": "0"});
    exec_allowed(&container, Some(own)).ok().prints("0");
    exec_allowed(&container, Some(json!({}))).ok().prints(&all);
}

/// Without final CPUs the kernel decides, and it keeps the first ones that the cgroup has.
fn first_cpus_of_exec_remain(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let first = json!({"initial": "1", "final": ""});
    exec_allowed(&container, Some(first)).ok().prints("1");
}

fn cpus_that_the_host_lacks(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    for name in ["initial", "final"] {
        let output = exec_allowed(&container, Some(json!({name: "8190"})));
        output.fails_with(&format!(
            "process.execCPUAffinity.{name}: run on CPUs 8190: sched_setaffinity: invalid argument"
        ));
        let output = exec_allowed(&container, Some(json!({name: "1-0"})));
        output.fails_with(&format!("process.execCPUAffinity.{name}: "));
    }
    assert_eq!(container.status(), "running");
}

fn with_io_priority<'a>(t: &'a Sandbox, class: &str, priority: i64) -> Bundle<'a> {
    let value = json!({"class": class, "priority": priority});
    t.bundle().set("/process/ioPriority", value)
}

fn io_priority_is_set(t: &Sandbox) {
    for (class, priority, shown) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0"),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let user = json!({"uid": 1000, "gid": 1000});
        let bundle = with_io_priority(t, class, priority).set("/process/user", user);
        let output = bundle.args(&["ionice"]).container().run().ok();
        assert!(output.stdout.starts_with(shown), "{class}: {output}");
    }
}

/// A COMMAND and a file without the property have the container's, a file can have its own.
fn io_priority_of_exec(t: &Sandbox) {
    let container = with_io_priority(t, "IOPRIO_CLASS_BE", 6)
        .args(&["sleep", "1000"])
        .container();
    container.launch_ok();
    container
        .exec(&["ionice"])
        .ok()
        .prints("best-effort: prio 6");
    let process = |own: Option<Value>| {
        let mut process = json!({"user": {"uid": 1000, "gid": 1000}, "cwd": "/",
            "args": ["ionice"], "env": ["PATH=/bin"]});
        if let Some(own) = own {
            process["ioPriority"] = own;
        }
        container.exec_process(&process)
    };
    process(None).ok().prints("best-effort: prio 6");
    let own = json!({"class": "IOPRIO_CLASS_BE", "priority": 1});
    process(Some(own)).ok().prints("best-effort: prio 1");
}

fn io_priority_outside_its_range(t: &Sandbox) {
    let container = with_io_priority(t, "IOPRIO_CLASS_BE", 8).container();
    container
        .create()
        .fails_with("process.ioPriority.priority: 8 is outside the range 0 to 7");
    container.verb("state").fails_with("does not exist");
}
