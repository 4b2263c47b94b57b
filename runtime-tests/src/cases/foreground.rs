//! `run` in the foreground: it forwards signals, reaps orphans and returns the exit status.

use nix::sys::signal::Signal;

use crate::host::{peer_name, proc_status_field};
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    signals_are_forwarded,
    signals_that_the_caller_ignores_are_reset,
    status_of_a_program_that_signals_itself,
    orphans_of_the_container_are_reaped,
    run_ends_when_init_ends,
    run_of_a_failing_start_leaves_nothing,
    run_detached_twice_needs_another_id,
    kill_of_the_runtime_leaves_a_container_to_delete,
];

fn signals_are_forwarded(t: &Sandbox) {
    let script =
        "for s in TERM INT HUP USR1 USR2 QUIT WINCH CONT ALRM; do trap \"echo got $s\" $s; done
        trap 'exit 5' PWR; echo ready; while :; do sleep 1000 & wait $!; kill $!; done";
    let container = t.bundle().shell(script).container();
    let run = container.spawn_run(&[]);
    container.wait_stdout("ready");
    wait_until_forwarding(t, run.pid());
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGWINCH, "WINCH"),
        (Signal::SIGALRM, "ALRM"),
    ] {
        run.signal(signal);
        container.wait_stdout(&format!("got {name}\n"));
    }
    run.signal(Signal::SIGPWR);
    run.finish().exits(5);
}

/// The program may run before the runtime knows that it does. Until then SIGTERM ends the set-up.
#[track_caller]
fn wait_until_forwarding(t: &Sandbox, runtime: i32) {
    if peer_name(&t.runtime).is_some() {
        return;
    }
    let blocked = || {
        let mask = proc_status_field(runtime, "SigBlk:").expect("the runtime's status");
        u64::from_str_radix(&mask, 16).expect("a mask")
    };
    let term = 1 << (Signal::SIGTERM as u32 - 1);
    t.eventually("the runtime reads its signals", || blocked() & term != 0);
}

fn signals_that_the_caller_ignores_are_reset(t: &Sandbox) {
    // nohup(1), a shell's background jobs and Python programs ignore such signals.
    let ignoring = "trap '' HUP INT QUIT USR1 PIPE ALRM TERM TSTP XFSZ; exec \"$@\"";
    let ignoring = || t.runtime().prefix(["sh", "-c", ignoring, "sh"]);
    let show = ["grep", "SigIgn", "/proc/self/status"];
    let assert_none = |text: &str| {
        let mask = text.strip_prefix("SigIgn:").expect(text).trim();
        let mask = u64::from_str_radix(mask, 16).expect(text);
        assert_eq!(mask & 0x7fff_ffff, 0, "{text}");
    };
    let container = t.bundle().args(&show).container();
    container.launch(ignoring().arg("run")).finish().ok();
    assert_none(&container.stdout());
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let exec = ignoring().args(["exec", &container.id]).args(show).run();
    assert_none(&exec.ok().stdout);
    container.delete_force().ok();
}

fn status_of_a_program_that_signals_itself(t: &Sandbox) {
    // A first process of a pid namespace is immune to its own signals, so the container uses the
    // host's pid namespace.
    // The C library has no names for real-time signals.
    for (signal, status) in [
        ("KILL", 137),
        ("TERM", 143),
        ("SEGV", 139),
        ("HUP", 129),
        ("34", 162),
        ("64", 192),
    ] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let container = t
            .bundle()
            .without_namespace("pid")
            .shell(&script)
            .container();
        container.run().exits(status);
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.launch_ok();
        container.exec(&["sh", "-c", &script]).exits(status);
        container.delete_force().ok();
    }
}

fn orphans_of_the_container_are_reaped(t: &Sandbox) {
    // In the host's pid namespace an orphan's new parent is the nearest subreaper, the runtime.
    let script = "(sleep 0 & echo $! >/orphan); while [ -e /proc/$(cat /orphan) ]; do sleep 0.01; done; echo reaped";
    let container = t
        .bundle()
        .without_namespace("pid")
        .shell(script)
        .container();
    container.run().ok().prints("reaped");
}

fn run_ends_when_init_ends(t: &Sandbox) {
    // A process that outlives init keeps the output open. `run` must not wait for it.
    let script = "setsid sleep 1000 & exit 4";
    let container = t
        .bundle()
        .without_namespace("pid")
        .shell(script)
        .container();
    container.run().exits(4);
    container.verb("state").fails_with("does not exist");
}

fn run_of_a_failing_start_leaves_nothing(t: &Sandbox) {
    let container = t
        .bundle()
        .file("/broken", "x")
        .args(&["/broken"])
        .container();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(container.bundle.join("rootfs/broken"), mode).expect("mode");
    for flags in [&[][..], &["--detach"]] {
        container.run_with(flags).fails();
        container.verb("state").fails_with("does not exist");
    }
}

fn run_detached_twice_needs_another_id(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.run_with(&["--detach"]).ok();
    let pid = container.pid();
    container.run().fails_with("already exists");
    assert_eq!(
        (container.status().as_str(), container.pid()),
        ("running", pid)
    );
    container.delete_force().ok();
}

fn kill_of_the_runtime_leaves_a_container_to_delete(t: &Sandbox) {
    let container = t.bundle().shell("echo ready; exec sleep 1000").container();
    let run = container.spawn_run(&[]);
    container.wait_stdout("ready");
    run.signal(Signal::SIGKILL);
    run.finish().exits(128 + 9);
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.verb("state").fails_with("does not exist");
}
