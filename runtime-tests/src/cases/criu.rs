//! `checkpoint` and `restore`, by CRIU.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Container, Need, Sandbox, Test, tests};

/// A CRIU that runs here: a kernel with what it needs, and root's capabilities.
pub(super) const CRIU: Need = Need::Custom("criu", || {
    let checked = std::process::Command::new("criu").arg("check").output();
    match checked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "criu check: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("criu: {error}")),
    }
});

pub const TESTS: &[Test] = tests![
    processes_mounts_and_files_continue[CRIU],
    running_container_is_copied_to_another_id[CRIU],
    pipe_becomes_that_of_the_caller[CRIU],
    terminal_gets_a_new_master[CRIU],
    memory_of_a_pre_dump_continues[CRIU],
    hooks_limits_and_pid_file_are_those_of_the_new_container[CRIU],
    failed_restore_leaves_nothing[CRIU],
    cve_2026_119101_links_of_the_image_divert_no_mount[CRIU],
    cve_2026_115520_no_destination_is_taken_for_another[CRIU],
    missing_criu_is_a_sentence[Need::NotAPeer],
    flags_are_checked_first[Need::NotAPeer],
];

/// Passes a moment without a child, as sleep(1) would be one: between vfork(2) and execve(2) CRIU
/// cannot stop the parent, and gives up after ten seconds.
pub(super) const MOMENT: &str = "j=0; while test $j -lt 1000; do j=$((j+1)); done";

/// A script that counts in the file /count of the rootfs, as probes do. The file keeps its size,
/// which CRIU compares if it was open: what has gone on meanwhile can then be restored again.
pub(super) fn counter() -> String {
    format!("i=0; while :; do printf '%08d\\n' $i 1<>/count; i=$((i+1)); {MOMENT}; done")
}

/// Runs the container in the background, without streams: CRIU does not save files of the host.
pub(super) fn launch(t: &Sandbox, container: &Container) {
    let call = t.runtime().args(["run", "--detach"]);
    let silent = "exec \"$@\" </dev/null >/dev/null 2>&1";
    let call = call.prefix(["sh", "-c", silent, "sh"]);
    container.launch(call).finish().ok();
}

pub(super) fn images(t: &Sandbox) -> String {
    t.path("images").to_str().expect("UTF-8").to_owned()
}

/// Saves the container and reaps its init, as the engine's shim does.
pub(super) fn checkpoint(t: &Sandbox, container: &Container, flags: &[&str]) {
    let pid = container.pid();
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    call.args(flags).arg(&container.id).run().ok();
    reap(pid);
    let text = container.verb("state").fails().stderr;
    assert!(text.contains("does not exist"), "{text}");
}

pub(super) fn restore(t: &Sandbox, container: &Container, flags: &[&str]) -> crate::call::Output {
    let call = t.runtime().args(["restore", "--detach", "--image-path"]);
    let call = call.arg(images(t)).args(flags);
    container.launch(call).finish()
}

pub(super) fn count(container: &Container) -> u64 {
    let file = container.bundle.join("rootfs/count");
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = text.split_whitespace().next();
    number.and_then(|it| it.parse().ok()).unwrap_or_default()
}

pub(super) fn wait_count(t: &Sandbox, container: &Container, above: u64) {
    t.eventually("the program counts", || count(container) > above);
}

/// Saves the container, restores it, and waits until its program has counted on.
pub(super) fn save_and_restore(
    t: &Sandbox,
    container: &Container,
    flags: &[&str],
    restore_flags: &[&str],
) {
    checkpoint(t, container, flags);
    let saved = count(container);
    restore(t, container, restore_flags).ok();
    wait_count(t, container, saved + 2);
}

/// The mounts that a process of the container sees, without their ids.
pub(super) fn mounts(container: &Container) -> Vec<String> {
    let table = container.exec(&["cat", "/proc/self/mountinfo"]).ok().stdout;
    let lines = table.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        words[3..].join(" ")
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

pub(super) fn bind(source: &Path, destination: &str, options: &[&str]) -> serde_json::Value {
    json!({"destination": destination, "type": "none", "source": source, "options": options})
}

pub(super) fn directory(t: &Sandbox, name: &str) -> PathBuf {
    let path = t.path(name);
    fs::create_dir_all(&path).expect("directory");
    path
}

fn processes_mounts_and_files_continue(t: &Sandbox) {
    let source = directory(t, "source");
    let bundle = t
        .bundle()
        // CRIU interrupts a call that waits for a time, after which sleep(1) would end.
        .shell(&format!(
            "echo kept >/tmp/file; while :; do :; done & {}",
            counter()
        ))
        .mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))
        .mount(bind(&source, "/link/data", &["rbind"]))
        // CRIU itself makes only the first of two read-only.
        .mount(bind(&source, "/one", &["bind", "ro"]))
        .mount(bind(&source, "/two", &["bind", "ro", "nosuid"]));
    let real = bundle.rootfs().join("real");
    fs::create_dir(real).expect("directory");
    std::os::unix::fs::symlink("/real", bundle.rootfs().join("link")).expect("link");
    let container = bundle.container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let before = mounts(&container);
    save_and_restore(t, &container, &[], &[]);
    assert_eq!(mounts(&container), before);
    container.exec(&["cat", "/tmp/file"]).ok().prints("kept");
    assert_eq!(container.cgroup_file("cgroup.procs").lines().count(), 2);
    container.stop();
    container.delete().ok();
}

fn running_container_is_copied_to_another_id(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let call = t.runtime().args(["checkpoint", "--leave-running"]);
    let call = call.args(["--image-path", &images(t)]);
    call.arg(&container.id).run().ok();
    let saved = count(&container);
    wait_count(t, &container, saved);
    container.stop();
    container.delete().ok();
    let copy = container.sibling();
    restore(t, &copy, &[]).ok();
    let saved = count(&container);
    wait_count(t, &container, saved);
    let cgroup = copy.cgroup();
    assert!(cgroup.to_str().is_some_and(|path| path.contains(&copy.id)));
    copy.stop();
    copy.delete().ok();
}

fn pipe_becomes_that_of_the_caller(t: &Sandbox) {
    let script = &format!("i=0; while :; do echo line $i; i=$((i+1)); {MOMENT}; done");
    let container = t.bundle().shell(script).container();
    let piped = "(\"$@\" </dev/null 2>/dev/null | cat) & exit 0";
    let prefix = ["sh", "-c", piped, "sh"];
    let call = t.runtime().args(["run", "--detach"]).prefix(prefix);
    container.launch(call).finish().ok();
    container.wait_stdout("line 3\n");
    checkpoint(t, &container, &[]);
    let text = fs::read_to_string(t.path("images/descriptors.json")).expect("descriptors");
    assert!(text.contains("pipe:["), "{text}");
    let call = t.runtime().args(["restore", "--detach", "--image-path"]);
    let call = call.arg(images(t)).prefix(prefix);
    container.launch(call).finish().ok();
    t.eventually("lines after the restore", || {
        container.stdout().lines().count() > 3
    });
    assert!(
        !container.stdout().contains("line 0\n"),
        "the program goes on"
    );
    container.stop();
    container.delete().ok();
}

fn terminal_gets_a_new_master(t: &Sandbox) {
    let script = "while read line; do echo got $line; done";
    let bundle: Bundle = t
        .bundle()
        .set("/process/terminal", json!(true))
        .shell(script);
    let container = bundle.container();
    let socket = super::terminal::Socket::new(t, "one.sock");
    let path = socket.path.to_str().expect("UTF-8").to_owned();
    container
        .run_with(&["--detach", "--console-socket", &path])
        .ok();
    let mut master = socket.master();
    master.write("before\n");
    master.wait(t, "got before");
    checkpoint(t, &container, &[]);
    let socket = super::terminal::Socket::new(t, "two.sock");
    let path = socket.path.to_str().expect("UTF-8").to_owned();
    restore(t, &container, &["--console-socket", &path]).ok();
    let mut master = socket.master();
    master.write("after\n");
    master.wait(t, "got after");
    container.stop();
    container.delete().ok();
}

fn memory_of_a_pre_dump_continues(t: &Sandbox) {
    let script = &format!(
        "x=$(head -c 3000000 /dev/zero | tr '\\0' a); i=0
        while test ${{#x}} = 3000000; do echo $i >/count; i=$((i+1)); {MOMENT}; done"
    );
    let container = t.bundle().shell(script).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let call = t.runtime().args(["checkpoint", "--pre-dump"]);
    let call = call.arg("--image-path").arg(t.path("pre"));
    call.arg(&container.id).run().ok();
    let saved = count(&container);
    wait_count(t, &container, saved);
    checkpoint(t, &container, &["--parent-path", "../pre"]);
    assert!(t.path("images/parent").exists(), "CRIU links the parent");
    let saved = count(&container);
    restore(t, &container, &[]).ok();
    wait_count(t, &container, saved + 2);
    container.stop();
    container.delete().ok();
}

fn hooks_limits_and_pid_file_are_those_of_the_new_container(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    let log = t.path("hooks.log");
    let hook = |name: &str| {
        let script = format!("echo {name} >>{}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let mut config: serde_json::Value = serde_json::from_str(
        &fs::read_to_string(container.bundle.join("config.json")).expect("read"),
    )
    .expect("JSON");
    config["hooks"] = json!({
        "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
        "createContainer": hook("createContainer"), "startContainer": hook("startContainer"),
        "poststart": hook("poststart"), "poststop": hook("poststop"),
    });
    crate::bundle::write_config(&container.bundle, &config);
    let file = t.path("pid");
    restore(
        t,
        &container,
        &["--pid-file", file.to_str().expect("UTF-8")],
    )
    .ok();
    let pid = fs::read_to_string(file).expect("pid file");
    assert_eq!(pid, container.pid().to_string());
    container.stop();
    container.delete().ok();
    let hooks = fs::read_to_string(&log).expect("log of the hooks");
    let hooks: Vec<_> = hooks.lines().collect();
    assert_eq!(
        hooks,
        ["prestart", "createRuntime", "poststart", "poststop"]
    );
}

fn failed_restore_leaves_nothing(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    fs::write(t.path("images/core-1.img"), "damaged").expect("damaged image");
    let text = restore(t, &container, &[]).fails().stderr;
    assert!(text.contains("criu failed to restore: Error ("), "{text}");
    assert!(text.contains("restore.log"), "{text}");
    container.verb("state").fails_with("does not exist");
}

/// CVE-2026-119101: CRIU resolves the mount points in the images as texts. A link in the rootfs would
/// lead it elsewhere, and the options of the mount would apply to what is there.
fn cve_2026_119101_links_of_the_image_divert_no_mount(t: &Sandbox) {
    let (data, other) = (directory(t, "data"), directory(t, "other"));
    directory(t, "data/below");
    let bundle = t.bundle().shell(&counter());
    let container = bundle
        .mount(bind(&data, "/data", &["bind", "ro"]))
        .mount(bind(&other, "/data/below", &["bind", "ro"]))
        .container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    let point = container.bundle.join("rootfs/data");
    let inside = data.join("below");
    for link in [&point, &inside] {
        let kept = t.path("kept");
        fs::rename(link, &kept).expect("rename");
        std::os::unix::fs::symlink("/tmp", link).expect("link");
        let text = restore(t, &container, &[]).fails().stderr;
        assert!(text.contains("symbolic link"), "{text}");
        fs::remove_file(link).expect("unlink");
        fs::rename(&kept, link).expect("rename");
    }
    restore(t, &container, &[]).ok();
    container.exec(&["touch", "/data/file"]).fails();
    container.stop();
    container.delete().ok();
}

/// CVE-2026-115520: CRIU looks for the source of a mount by the beginning of a text that contains
/// the destination.
fn cve_2026_115520_no_destination_is_taken_for_another(t: &Sandbox) {
    let (data, secret) = (directory(t, "data"), directory(t, "secret"));
    fs::write(secret.join("secret"), "").expect("file");
    fs::write(data.join("data"), "").expect("file");
    let hostile = format!("/a]:{}", secret.display());
    let bundle = t
        .bundle()
        .shell(&counter())
        .mount(bind(&data, "/a", &["bind"]));
    let container = bundle.container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    let file = container.bundle.join("config.json");
    let text = fs::read_to_string(&file).expect("read");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.insert(0, bind(&data, &hostile, &["bind"]));
    crate::bundle::write_config(&container.bundle, &config);
    restore(t, &container, &[]).ok();
    container.exec(&["ls", "/a"]).ok().prints("data");
    container.stop();
    container.delete().ok();
    let other = t
        .bundle()
        .shell(&counter())
        .mount(bind(&data, &hostile, &["bind"]));
    let other = other.container();
    launch(t, &other);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&other.id).run().fails().stderr;
    assert!(text.contains("choose another destination"), "{text}");
    assert_eq!(other.status(), "running");
}

fn missing_criu_is_a_sentence(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    launch(t, &container);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).env("PATH", "/nonexistent").run();
    let text = text.fails().stderr;
    assert!(
        text.contains("no program criu in the directories of $PATH (install CRIU 4.0"),
        "{text}"
    );
    assert_eq!(container.status(), "running");
}

fn flags_are_checked_first(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    launch(t, &container);
    for (flags, words) in [
        (
            &["--parent-path", "/abs"][..],
            "--parent-path: /abs is not relative",
        ),
        (&["--empty-ns", "pid"], "is not supported (only network is)"),
        (&["--page-server", "host"], "is not ADDRESS:PORT"),
        (
            &["--status-fd", "77"],
            "--status-fd: descriptor 77 is not open",
        ),
        (&["--manage-cgroups-mode", "hard"], "--manage-cgroups-mode"),
    ] {
        let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
        let text = call.args(flags).arg(&container.id).run().fails().stderr;
        assert!(text.contains(words), "{text}");
    }
    assert!(!t.path("images").exists(), "nothing is left");
    let call = t.runtime().args(["restore", "--lsm-mount-context"]);
    let text = call.run().fails().stderr;
    // Podman recognises by these words that pods can be restored.
    assert!(
        text.contains("flag needs an argument") || text.contains("requires an argument"),
        "{text}"
    );
    let text = restore(t, &container.sibling(), &[]).fails().stderr;
    assert!(text.contains("--image-path"), "{text}");
    container.stop();
}
