//! The attributes that a careless caller passes on change neither what the runtime does nor what
//! the program and the hooks inherit. Each trait is tested alone, so that a failure names it, and
//! finally all together.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::caller::{self, FEW, HARMLESS, Trait, cpus};
use crate::container::reap;
use crate::host::CAP_SYS_RESOURCE;
use crate::host::proc_status_field;
use crate::{Call, Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    exit_statuses_arrive_though_sigchld_is_ignored,
    hooks_are_waited_for_though_sigchld_is_ignored,
    ps_lists_processes_though_sigchld_is_ignored,
    no_signal_is_ignored_or_blocked[Need::NotAPeer],
    every_signal_is_forwarded[Need::NotAPeer],
    umask_leaves_the_owner_its_rights[Need::NotAPeer],
    streams_of_any_kind,
    few_descriptors_are_enough[Need::NotAPeer],
    few_descriptors_by_a_hard_limit_are_enough[Need::NotAPeer, CAP_SYS_RESOURCE],
    file_size_limit_is_named[Need::NotAPeer],
    program_runs_on_every_cpu[Need::NotAPeer],
    working_directory_may_be_gone[Need::NotAPeer],
    worst_caller_at_every_verb[Need::NotAPeer],
];

/// A call of the runtime by a caller with these traits.
fn runtime(t: &Sandbox, traits: &[Trait]) -> Call {
    t.runtime().prefix(caller::with(traits))
}

/// A line of /proc/PID/status.
#[track_caller]
fn status(pid: i32, field: &str) -> String {
    proc_status_field(pid, field).expect(field)
}

/// The soft and the hard limit on open files of a process.
#[track_caller]
fn descriptors(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits of the process");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let words = line.expect("the limit").split_whitespace();
    words.take(2).map(str::to_owned).collect()
}

/// Applies `look` to the pid, on the host, of the program that each verb starts.
#[track_caller]
fn each_process(t: &Sandbox, traits: &[Trait], look: impl Fn(&str, i32)) {
    let bundle = || t.bundle().args(&["sleep", "1000"]);
    let container = bundle().container();
    container
        .launch(runtime(t, traits).args(["run", "--detach"]))
        .finish()
        .ok();
    look("run", container.pid());
    container.delete_force().ok();
    let container = bundle().container();
    container
        .launch(runtime(t, traits).arg("create"))
        .finish()
        .ok();
    runtime(t, traits).args(["start", &container.id]).run().ok();
    look("create", container.pid());
    let pid = exec(t, traits, &container);
    look("exec", pid);
    end(pid);
    container.delete_force().ok();
}

/// A process that keeps running in a container. Returns its pid.
#[track_caller]
fn exec(t: &Sandbox, traits: &[Trait], container: &Container) -> i32 {
    let file = t.path("exec.pid");
    runtime(t, traits)
        .args(["exec", "--detach", "--pid-file"])
        .arg(&file)
        .args([&container.id, "sleep", "1000"])
        .run()
        .ok();
    fs::read_to_string(file)
        .expect("the pid file")
        .parse()
        .expect("a pid")
}

fn exit_statuses_arrive_though_sigchld_is_ignored(t: &Sandbox) {
    let traits = [Trait::SigchldIgnored];
    let container = t.bundle().shell("exit 7").container();
    container
        .launch(runtime(t, &traits).arg("run"))
        .finish()
        .exits(7);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let words = ["exec", &container.id, "sh", "-c", "exit 8"];
    runtime(t, &traits).args(words).run().exits(8);
    container.delete_force().ok();
}

/// Ends a process that `exec` has left. A container's init ends only when each process of its pid
/// namespace has been reaped, and the parent of this one is the test. Since Linux 6.19 the cgroup
/// counts as populated until then.
#[track_caller]
fn end(pid: i32) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    reap(pid);
}

/// A hook on the host that writes to the file `hooks.log` when it runs.
fn hook(t: &Sandbox, script: &str) -> Value {
    let script = format!("exec >>{}; {script}", t.path("hooks.log").display());
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
}

const HOST_MOMENTS: [&str; 5] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "poststart",
    "poststop",
];

/// A container with a hook at each moment. The startContainer hook writes to /hooks.log.
fn with_hooks<'t>(t: &'t Sandbox, script: &str) -> Container<'t> {
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        bundle.set(&format!("/hooks/{moment}"), hook(t, script))
    });
    let inside = format!("exec >>/hooks.log; {script}");
    let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", inside], "env": ["PATH=/bin"]}]);
    bundle
        .set("/hooks/startContainer", inside)
        .args(&["sleep", "1000"])
        .container()
}

/// Creates, starts and deletes the container. Returns what the hooks have written on the host and
/// inside.
#[track_caller]
fn live(t: &Sandbox, traits: &[Trait], container: &Container) -> (String, String) {
    container
        .launch(runtime(t, traits).arg("create"))
        .finish()
        .ok();
    let pid = container.pid();
    runtime(t, traits).args(["start", &container.id]).run().ok();
    runtime(t, traits)
        .args(["kill", &container.id, "KILL"])
        .run()
        .ok();
    reap(pid);
    runtime(t, traits)
        .args(["delete", &container.id])
        .run()
        .ok();
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let inside = container.bundle.join("rootfs/hooks.log");
    (read(t.path("hooks.log")), read(inside))
}

fn hooks_are_waited_for_though_sigchld_is_ignored(t: &Sandbox) {
    let container = with_hooks(t, "echo ran");
    let (host, inside) = live(t, &[Trait::SigchldIgnored], &container);
    assert_eq!(host, "ran\n".repeat(HOST_MOMENTS.len()));
    assert_eq!(inside, "ran\n");
}

fn ps_lists_processes_though_sigchld_is_ignored(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let pid = container.pid().to_string();
    let output = runtime(t, &[Trait::SigchldIgnored])
        .args(["ps", &container.id])
        .run()
        .ok();
    assert!(output.stdout.contains(&pid), "{output}");
    container.delete_force().ok();
}

fn no_signal_is_ignored_or_blocked(t: &Sandbox) {
    let traits = [Trait::SignalsIgnored, Trait::SignalsBlocked];
    each_process(t, &traits, |verb, pid| {
        for field in ["SigIgn:", "SigBlk:"] {
            assert_eq!(status(pid, field), "0".repeat(16), "{verb} {field}");
        }
    });
    // The hook is not a shell, because shells ignore some signals themselves.
    let hook =
        |target: String| json!([{"path": "/bin/cp", "args": ["cp", "/proc/self/status", target]}]);
    let on_host = |moment: &str| t.path(moment).display().to_string();
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        bundle.set(&format!("/hooks/{moment}"), hook(on_host(moment)))
    });
    let bundle = bundle.set("/hooks/startContainer", hook("/startContainer".to_owned()));
    let container = bundle.args(&["sleep", "1000"]).container();
    live(t, &traits, &container);
    let inside = container.bundle.join("rootfs/startContainer");
    let files = HOST_MOMENTS.iter().map(|moment| t.path(moment));
    for file in files.chain([inside]) {
        let text = fs::read_to_string(&file).expect("the hook ran");
        for field in ["SigIgn:", "SigBlk:"] {
            let line = format!("{field}\t{}\n", "0".repeat(16));
            assert!(text.contains(&line), "{}\n{text}", file.display());
        }
    }
}

/// The C library reserves the first real-time signals for itself, and its wrappers remove them from
/// every set.
fn every_signal_is_forwarded(t: &Sandbox) {
    let container = t
        .bundle()
        .probe(&["await", "32", "33", "34", "64"])
        .container();
    let run = container.spawn_run(&[]);
    container.wait_stdout("ready");
    for signal in [32, 33, 34, 64] {
        // SAFETY: takes no pointers.
        let sent = unsafe { libc::kill(run.pid(), signal) };
        assert_eq!(sent, 0, "signal {signal}");
        container.wait_stdout(&format!("got {signal}\n"));
    }
    run.signal(Signal::SIGKILL);
    run.end();
    container.delete_force().ok();
}

fn umask_leaves_the_owner_its_rights(t: &Sandbox) {
    let mode = |path: &std::path::Path| {
        let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        metadata.permissions().mode() & 0o777
    };
    let (log, pid_file) = (t.path("log"), t.path("pid"));
    let container = with_hooks(t, "umask");
    let call = t
        .bare_runtime()
        .prefix(caller::with(&[Trait::Umask]))
        .arg("--log")
        .arg(&log)
        .arg("--root")
        .arg(&t.root)
        .args(["create", "--pid-file"])
        .arg(&pid_file);
    container.launch(call).finish().ok();
    for path in [&log, &pid_file] {
        assert_eq!(mode(path) & 0o600, 0o600, "{}", path.display());
        assert_eq!(mode(path) & 0o022, 0, "{}", path.display());
    }
    let state = t.root.join(&container.id);
    for entry in fs::read_dir(&state).expect("the container's directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            assert_eq!(mode(&path) & 0o600, 0o600, "{}", path.display());
        }
    }
    assert_eq!(mode(&state), 0o700);
    container.start().ok();
    let mask = status(container.pid(), "Umask:");
    assert_eq!(mask, "0022", "the specification leaves it to the runtime");
    let pid = exec(t, &[Trait::Umask], &container);
    assert_eq!(status(pid, "Umask:"), "0022");
    end(pid);
    // The caller requests 0077 beyond the owner's bits.
    let hooks = fs::read_to_string(t.path("hooks.log")).expect("the hooks ran");
    assert_eq!(hooks.lines().next(), Some("0077"), "{hooks}");
    container.delete_force().ok();
}

fn streams_of_any_kind(t: &Sandbox) {
    for one in [Trait::StreamsClosed, Trait::StreamsReadonly] {
        let container = with_hooks(t, "echo ran");
        let (host, inside) = live(t, &[one], &container);
        assert_eq!(host, "ran\n".repeat(HOST_MOMENTS.len()), "{one:?}");
        assert_eq!(inside, "ran\n", "{one:?}");
        fs::remove_file(t.path("hooks.log")).expect("the log");
        // The program's streams must be readable and writable.
        let script = "echo out && echo err >&2 && cat && echo done >/done";
        let container = t.bundle().shell(script).container();
        container
            .launch(runtime(t, &[one]).arg("run"))
            .finish()
            .ok();
        let done = fs::read_to_string(container.bundle.join("rootfs/done"));
        assert_eq!(done.expect("the end was reached"), "done\n", "{one:?}");
    }
}

/// Uses more mounts than a careless caller's limit has descriptors, and more than the usual limit
/// has.
#[track_caller]
fn runs_with(t: &Sandbox, limit: Trait) {
    // A source below /proc is opened and held before the container's mount namespace exists.
    let bind = |number| {
        let target = format!("/bind/{number}");
        json!({"destination": target, "source": "/proc/self/status", "options": ["bind"]})
    };
    let bundle = (0..1100).fold(t.bundle(), |bundle, number| bundle.mount(bind(number)));
    let container = bundle.args(&["sleep", "1000"]).container();
    let before = descriptors(std::process::id() as i32);
    let hard = match limit {
        Trait::FewDescriptorsAtMost => FEW.to_string(),
        _ => before[1].clone(),
    };
    let call = runtime(t, &[limit]).args(["run", "--detach"]);
    container.launch(call).finish().ok();
    let execed = exec(t, &[limit], &container);
    for pid in [container.pid(), execed] {
        assert_eq!(
            descriptors(pid),
            [FEW.to_string(), hard.clone()],
            "the caller's limit"
        );
    }
    end(execed);
    container.delete_force().ok();
    // A limit in the config is applied unchanged.
    let rlimit = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    let bundle = t.bundle().set("/process/rlimits", rlimit);
    let container = bundle.args(&["sleep", "1000"]).container();
    let call = runtime(t, &[limit]).args(["run", "--detach"]);
    container.launch(call).finish().ok();
    assert_eq!(descriptors(container.pid()), ["100", "200"]);
    container.delete_force().ok();
}

fn few_descriptors_are_enough(t: &Sandbox) {
    runs_with(t, Trait::FewDescriptors);
}

fn few_descriptors_by_a_hard_limit_are_enough(t: &Sandbox) {
    runs_with(t, Trait::FewDescriptorsAtMost);
}

/// The runtime cannot write its files, and reports an error instead of being killed by SIGXFSZ.
fn file_size_limit_is_named(t: &Sandbox) {
    for verb in ["create", "run"] {
        let container = t.bundle().container();
        // The limit applies to files but not to pipes.
        let script = "{ \"$@\"; echo status $?; } 2>&1 | cat";
        let words = ["sh", "-c", script, "sh"].map(Into::into);
        let prefix = words.into_iter().chain(caller::with(&[Trait::NoFileSize]));
        let call = t.runtime().arg(verb).prefix(prefix);
        let output = container.launch(call).finish().ok();
        let text = output.stdout.to_lowercase();
        assert!(text.contains("file too large"), "{output}");
        assert!(text.contains("ulimit -f"), "{output}");
        assert!(text.ends_with("status 1\n"), "{output}");
        container.verb("state").fails_with("does not exist");
        container.delete_force().ok();
    }
}

fn program_runs_on_every_cpu(t: &Sandbox) {
    let all = cpus();
    if all.len() < 2 {
        t.skip("the host has one CPU");
    }
    let before = status(std::process::id() as i32, "Cpus_allowed_list:");
    each_process(t, &[Trait::OneCpu], |verb, pid| {
        assert_eq!(status(pid, "Cpus_allowed_list:"), before, "{verb}");
    });
}

fn working_directory_may_be_gone(t: &Sandbox) {
    let container = with_hooks(t, "pwd >/dev/null; echo ran");
    let (host, _) = live(t, &[Trait::DirectoryRemoved], &container);
    assert_eq!(host, "ran\n".repeat(HOST_MOMENTS.len()));
}

fn worst_caller_at_every_verb(t: &Sandbox) {
    let all = status(std::process::id() as i32, "Cpus_allowed_list:");
    each_process(t, &HARMLESS, |verb, pid| {
        for (field, expected) in [
            ("SigIgn:", "0000000000000000"),
            ("SigBlk:", "0000000000000000"),
            ("Umask:", "0022"),
            ("Cpus_allowed_list:", all.as_str()),
        ] {
            assert_eq!(status(pid, field), expected, "{verb} {field}");
        }
        assert_eq!(descriptors(pid)[0], FEW.to_string(), "{verb}");
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
        assert_eq!(open.count(), 3, "{verb}");
    });
    let container = with_hooks(t, "echo ran");
    let (host, inside) = live(t, &HARMLESS, &container);
    assert_eq!(host, "ran\n".repeat(HOST_MOMENTS.len()));
    assert_eq!(inside, "ran\n");
    let container = t.bundle().shell("exit 7").container();
    let call = runtime(t, &HARMLESS).arg("run");
    container.launch(call).finish().exits(7);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let words = ["exec", &container.id, "sh", "-c", "exit 8"];
    runtime(t, &HARMLESS).args(words).run().exits(8);
    for words in [
        &["pause"][..],
        &["resume"],
        &["update", "--pids-limit", "-1"],
    ] {
        let (verb, flags) = words.split_first().expect("a verb");
        let call = runtime(t, &HARMLESS).arg(verb).args(flags);
        call.arg(&container.id).run().ok();
    }
    let words = ["delete", "--force", &container.id];
    runtime(t, &HARMLESS).args(words).run().ok();
    container.verb("state").fails_with("does not exist");
}
