//! Attacks on the runtime's own binary through `/proc/PID/exe`, by the container's own program and
//! by other containers (CVE-2019-5736).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::json;

use super::cve_process::join_pid_namespace;
use crate::bundle::Bundle;
use crate::call::Running;
use crate::container::reap;
use crate::file_handle::FileHandle;
use crate::host::change_readonly;
use crate::{Call, Container, Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    cve_2019_5736_binary_of_a_created_init_cannot_be_written,
    cve_2019_5736_binary_on_a_mount_that_becomes_writable,
    binary_behind_a_mapping_cannot_be_written[Need::NotAPeer],
    binary_where_the_kernel_refuses_other_mappings[Need::NotAPeer, Need::Program("strace")],
    binary_without_an_environment_cannot_be_written[Need::NotAPeer, Need::Program("strace")],
    binary_on_a_detached_mount_that_the_caller_holds,
    binary_on_a_mount_of_another_namespace[Need::Program("unshare")],
    cve_2019_5736_proc_self_exe_as_program,
    cve_2019_5736_proc_self_exe_as_interpreter,
    neighbour_cannot_change_the_mount_of_create[Need::NotAPeer],
    neighbour_cannot_change_the_mount_of_run[Need::NotAPeer, Need::Program("strace")],
    neighbour_cannot_change_the_mount_of_exec[Need::NotAPeer, Need::Program("strace")],
    binary_of_mounts_add_and_remove_cannot_be_written[Need::NotAPeer, Need::Program("strace")],
    neighbour_cannot_change_the_mount_of_a_hook[Need::NotAPeer, Need::Program("strace")],
];

/// A copy of the runtime, so that a successful attack does no harm.
pub(super) fn copy_of_the_runtime(t: &Sandbox) -> std::path::PathBuf {
    let copy = t.path("runtime-copy");
    fs::copy(&t.runtime, &copy).expect("copy the runtime");
    copy
}

pub(super) fn call_of(t: &Sandbox, runtime: &Path, verb: &str) -> Call {
    t.call(runtime).arg("--root").arg(&t.root).arg(verb)
}

/// A container that `binary` has created, called through `prefix`.
#[track_caller]
pub(super) fn created<'t>(t: &'t Sandbox, binary: &Path, prefix: &[&str]) -> Container<'t> {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let create = call_of(t, binary, "create").prefix(prefix);
    container.launch(create).finish().ok();
    container
}

/// Tries to write to an open executable as only the host's root may: first through its mount, then,
/// after `process` has ended, through the descriptor.
#[track_caller]
pub(super) fn attack_binary(binary: &Path, container: &Container, process: i32) {
    let held = hold_binary(binary, process);
    container.kill("KILL").ok();
    reap(process);
    container.delete_force().ok();
    held_binary_is_not_written(binary, &held);
}

/// Opens the executable of a process, which must be `binary`, and tries to make its mount writable.
#[track_caller]
fn hold_binary(binary: &Path, process: i32) -> File {
    let before = fs::read(binary).expect("the binary");
    let held = File::open(format!("/proc/{process}/exe")).expect("/proc/PID/exe");
    let held_bytes = fs::read(format!("/proc/self/fd/{}", held.as_raw_fd())).expect("read");
    assert!(
        held_bytes == before,
        "the process does not run the runtime's binary"
    );
    // The write shows whether it worked. The kernel changes a mount only through its root, which is
    // the binary or its directory.
    let _ = change_readonly(&held, false);
    let directory = FileHandle::of(binary.parent().expect("a directory"));
    if let Some(root) = directory.and_then(|handle| handle.open_in_mount_of(&held).ok()) {
        let _ = change_readonly(&root, false);
    }
    held
}

/// Tries to write through the descriptor of [`hold_binary`]. No process executes the file any more.
#[track_caller]
fn held_binary_is_not_written(binary: &Path, held: &File) {
    let before = fs::read(binary).expect("the binary");
    let written = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{}", held.as_raw_fd()))
        .and_then(|mut file| file.write_all(b"#!"));
    let error = written.expect_err("the binary could be written to");
    let refused = [libc::EROFS, libc::EPERM, libc::EACCES];
    let errno = error.raw_os_error().unwrap_or(0);
    assert!(
        refused.contains(&errno),
        "writing fails by chance only: {error}"
    );
    assert!(
        fs::read(binary).expect("the binary") == before,
        "the binary has changed"
    );
    // The file is not busy: the host itself can replace and write it.
    OpenOptions::new()
        .write(true)
        .open(binary)
        .expect("the host's own file is writable");
}

fn cve_2019_5736_binary_of_a_created_init_cannot_be_written(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let container = created(t, &copy, &[]);
    attack_binary(&copy, &container, container.pid());
}

fn cve_2019_5736_binary_on_a_mount_that_becomes_writable(t: &Sandbox) {
    let directory = t.path("binaries");
    fs::create_dir(&directory).expect("directory");
    let copy = directory.join("runtime-copy");
    fs::copy(&t.runtime, &copy).expect("copy the runtime");
    let none = None::<&str>;
    let remount = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(Some(&directory), &directory, none, MsFlags::MS_BIND, none).expect("bind");
    mount(none, &directory, none, remount | MsFlags::MS_RDONLY, none).expect("read-only");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let created = container.launch(call_of(t, &copy, "create")).finish();
    mount(none, &directory, none, remount, none).expect("writable");
    created.ok();
    attack_binary(&copy, &container, container.pid());
    umount2(&directory, MntFlags::MNT_DETACH).expect("umount");
}

/// /proc/PID/map_files leads to the file of each mapping, through the mount that it was mapped from.
fn binary_behind_a_mapping_cannot_be_written(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let container = created(t, &copy, &[]);
    let init = container.pid();
    // ps(1) still shows the path.
    let command = fs::read(format!("/proc/{init}/cmdline")).expect("the command line");
    assert!(command.starts_with(copy.as_os_str().as_bytes()));
    let files = format!("/proc/{init}/map_files");
    let own = fs::metadata(&copy).expect("the binary");
    let held: Vec<_> = fs::read_dir(files)
        .expect("map_files")
        .map(|entry| File::open(entry.expect("an entry").path()).expect("the file of a mapping"))
        .filter(|file| {
            file.metadata()
                .is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino()))
        })
        .collect();
    assert!(held.len() >= 2, "code and constants are mapped");
    for file in &held {
        // The write shows whether it worked.
        let _ = change_readonly(file, false);
    }
    container.kill("KILL").ok();
    reap(init);
    for file in &held {
        held_binary_is_not_written(&copy, file);
    }
}

/// The runtime executes itself again then.
fn binary_where_the_kernel_refuses_other_mappings(t: &Sandbox) {
    for inject in [
        "prctl:error=EPERM",
        "prctl:error=EINVAL",
        "mremap:error=ENOMEM",
    ] {
        let copy = copy_of_the_runtime(t);
        // Only the first call is one for the program's own mappings.
        let inject = format!("inject={inject}:when=1");
        let container = created(t, &copy, &strace(&["-e", "trace=all", "-e", &inject]));
        attack_binary(&copy, &container, container.pid());
    }
}

/// Whether the runtime executes itself again is up to the kernel, not to the environment.
fn binary_without_an_environment_cannot_be_written(t: &Sandbox) {
    let executions = [&["env", "A=b"][..], &["env", "-i"]].map(|env| {
        let copy = copy_of_the_runtime(t);
        let trace = t.path("trace");
        let file = trace.to_str().expect("UTF-8");
        let traced = strace(&["-o", file, "-e", "trace=execve,execveat"]);
        let container = created(t, &copy, &[&traced[..], env].concat());
        attack_binary(&copy, &container, container.pid());
        fs::read_to_string(trace)
            .expect("the trace")
            .lines()
            .count()
    });
    assert!(executions[0] > 0);
    assert_eq!(executions[0], executions[1]);
}

/// The process that enters the container to change its mounts executes the binary while processes
/// of the container can see it.
fn binary_of_mounts_add_and_remove_cannot_be_written(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let file = t.path("mounts.json");
    let tmpfs = json!([{"type": "tmpfs", "source": "tmpfs", "destination": "/mnt"}]);
    fs::write(&file, tmpfs.to_string()).expect("the list");
    for (action, call) in [("add", "mount"), ("remove", "umount2")] {
        let verb = call_of(t, &copy, "mounts").arg(action).arg(&container.id);
        let verb = verb.arg(&file).stopping(call, None).spawn();
        let process = t.stopped();
        let held = hold_binary(&copy, process.as_raw());
        nix::sys::signal::kill(process, Signal::SIGCONT).expect("it goes on");
        verb.finish().ok();
        held_binary_is_not_written(&copy, &held);
    }
}

/// open_tree(2) with OPEN_TREE_CLONE, read-only and without close-on-exec.
fn detached_readonly(path: &Path) -> File {
    use std::os::fd::FromRawFd as _;
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
    // SAFETY: the path is NUL-terminated.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            name.as_ptr(),
            OPEN_TREE_CLONE,
        )
    };
    assert!(fd >= 0, "open_tree: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just returned this descriptor.
    let tree = unsafe { File::from_raw_fd(fd as i32) };
    change_readonly(&tree, true).expect("mount_setattr");
    tree
}

fn binary_on_a_detached_mount_that_the_caller_holds(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let tree = detached_readonly(&copy);
    let binary = format!("/proc/{}/fd/{}", std::process::id(), tree.as_raw_fd());
    let container = created(t, Path::new(&binary), &[]);
    attack_binary(&copy, &container, container.pid());
}

fn binary_on_a_mount_of_another_namespace(t: &Sandbox) {
    let directory = t.path("binaries");
    fs::create_dir(&directory).expect("directory");
    let copy = directory.join("runtime-copy");
    fs::copy(&t.runtime, &copy).expect("copy the runtime");
    let go = t.path("go");
    nix::unistd::mkfifo(&go, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    let script = "mount --bind $0 $0 && mount -o remount,bind,ro $0 && echo ready && read x <$1 \
        && mount -o remount,bind,rw $0 && echo writable && exec sleep 1000";
    let other = t.call("unshare").args(["--mount", "sh", "-c", script]);
    let other = other.arg(&directory).arg(&go).spawn();
    let says = |word: &str| fs::read_to_string(&other.stdout).is_ok_and(|text| text.contains(word));
    t.eventually("the other namespace is ready", || says("ready"));
    let binary = format!("/proc/{}/root{}", other.pid(), copy.display());
    let container = created(t, Path::new(&binary), &[]);
    fs::write(&go, "go\n").expect("the other namespace goes on");
    t.eventually("the other mount is writable", || says("writable"));
    attack_binary(&copy, &container, container.pid());
    other.signal(Signal::SIGKILL);
    other.end();
}

/// A bundle in which the runtime's binary can run: with the host's libraries, and with an inner
/// bundle whose config is a pipe, so that the binary keeps running.
fn where_the_runtime_runs(t: &Sandbox) -> Bundle<'_> {
    inner_bundle(t.bundle().host_libraries())
}

fn inner_bundle(bundle: Bundle<'_>) -> Bundle<'_> {
    let bundle = bundle.file("/b/rootfs/file", "");
    let fifo = bundle.rootfs().join("b/config.json");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    bundle
}

/// Runs the container with a copy of the runtime until the binary runs inside, then attacks it.
#[track_caller]
fn attack_from_inside(t: &Sandbox, bundle: Bundle) {
    let copy = copy_of_the_runtime(t);
    let container = bundle.container();
    let created = container.launch(call_of(t, &copy, "create")).finish();
    if !created.status.success() {
        // A runtime may also refuse such a program.
        created.fails();
        return;
    }
    let pid = container.pid();
    container.start().ok();
    // The process sleeps in open(2) of the pipe.
    t.eventually("the program waits for its config", || {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        cmdline.starts_with(b"/proc/self/exe\0") && stat.contains(") S ")
    });
    attack_binary(&copy, &container, pid);
}

fn cve_2019_5736_proc_self_exe_as_program(t: &Sandbox) {
    let args = ["/proc/self/exe", "run", "--bundle", "/b", "inner"];
    attack_from_inside(t, where_the_runtime_runs(t).args(&args));
}

fn cve_2019_5736_proc_self_exe_as_interpreter(t: &Sandbox) {
    let bundle = where_the_runtime_runs(t).script("/script", "");
    fs::write(bundle.rootfs().join("script"), "#!/proc/self/exe run\n").expect("the script");
    attack_from_inside(t, bundle.args(&["/script", "--bundle", "/b"]));
}

/// A container that runs the probe `take-exe`: it waits for a process with the name of a victim's
/// program, clears the read-only attribute of the mount that the process was executed from, and
/// writes to the file.
fn attacker<'t>(t: &'t Sandbox, binary: &Path) -> Container<'t> {
    let directory = binary.parent().and_then(FileHandle::of);
    let directory = directory.map(|handle| handle.to_hex()).unwrap_or_default();
    let bundle = inner_bundle(t.bundle().probe(&["take-exe", INNER[0], &directory]));
    let bundle = ["bounding", "effective", "permitted"]
        .iter()
        .fold(bundle, |bundle, set| {
            let set = format!("/process/capabilities/{set}");
            bundle.push(&set, json!("CAP_DAC_READ_SEARCH"))
        });
    let bundle = bundle.set("/process/noNewPrivileges", json!(true));
    symlink("/proc/self/exe", bundle.rootfs().join("x")).expect("the link");
    let container = bundle.container();
    container.launch_ok();
    container
}

/// The runtime's binary as the container's program, through a link to /proc/self/exe. It sleeps in
/// open(2) of a FIFO.
const INNER: [&str; 4] = ["/x", "explain", "--bundle", "/b"];

/// A bundle whose program or hook is the runtime's binary, in the attacker's pid namespace.
fn victim<'t>(t: &'t Sandbox, attacker: &Container) -> Bundle<'t> {
    let bundle = join_pid_namespace(where_the_runtime_runs(t), attacker.pid());
    symlink("/proc/self/exe", bundle.rootfs().join("x")).expect("the link");
    bundle
}

/// Stops the runtime where it waits for init the second time. Init has received the message to
/// execute by then, and executes while the runtime has all its files open.
fn stopped(call: Call) -> Call {
    let stop = "inject=recvmsg:signal=SIGSTOP:when=2";
    call.prefix(strace(&["-e", "trace=recvmsg", "-e", stop]))
}

/// Waits for the attack, lets the victim's runtime continue and end, and checks the binary.
#[track_caller]
fn attack_fails(
    t: &Sandbox,
    attacker: &Container,
    victim: Option<Running>,
    inner: &Path,
    binary: &Path,
) {
    let before = fs::read(binary).expect("the binary");
    attacker.wait_stdout("mount_setattr: ");
    let runtime = victim.as_ref().map(|victim| {
        let children = format!("/proc/{0}/task/{0}/children", victim.pid());
        let runtime = fs::read_to_string(children).expect("the runtime below strace");
        nix::unistd::Pid::from_raw(runtime.trim().parse().expect("one child"))
    });
    // The inner runtime reads an empty config and ends.
    drop(
        OpenOptions::new()
            .write(true)
            .open(inner.join("b/config.json"))
            .expect("the FIFO"),
    );
    // SIGSTOP may come after the first SIGCONT.
    t.eventually("the attacker opens the binary", || {
        if let Some(runtime) = runtime {
            // It may have ended.
            let _ = nix::sys::signal::kill(runtime, Signal::SIGCONT);
        }
        attacker.stdout().contains("open: ")
    });
    if let Some(victim) = victim {
        victim.finish();
    }
    let (refused, read_only) = (libc::EINVAL, libc::EROFS);
    assert_eq!(
        attacker.stdout(),
        format!("mount_setattr: [{refused}, {refused}]\nopen: {read_only}\n")
    );
    assert!(
        fs::read(binary).expect("the binary") == before,
        "the binary has changed"
    );
}

fn neighbour_cannot_change_the_mount_of_create(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let attacker = attacker(t, &copy);
    let bundle = victim(t, &attacker).args(&INNER);
    let inner = bundle.rootfs();
    let container = bundle.container();
    container.launch(call_of(t, &copy, "create")).finish().ok();
    container.start().ok();
    attack_fails(t, &attacker, None, &inner, &copy);
}

fn neighbour_cannot_change_the_mount_of_run(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let attacker = attacker(t, &copy);
    let bundle = victim(t, &attacker).args(&INNER);
    let inner = bundle.rootfs();
    let run = bundle.container().launch(stopped(call_of(t, &copy, "run")));
    attack_fails(t, &attacker, Some(run), &inner, &copy);
}

fn neighbour_cannot_change_the_mount_of_exec(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let attacker = attacker(t, &copy);
    let inner = attacker.bundle.join("rootfs");
    let exec = call_of(t, &copy, "exec").arg(&attacker.id).args(INNER);
    attack_fails(t, &attacker, Some(stopped(exec).spawn()), &inner, &copy);
}

fn neighbour_cannot_change_the_mount_of_a_hook(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let attacker = attacker(t, &copy);
    let hook = json!([{"path": INNER[0], "args": INNER}]);
    let bundle = victim(t, &attacker).set("/hooks/startContainer", hook);
    let inner = bundle.rootfs();
    let run = bundle.container().launch(stopped(call_of(t, &copy, "run")));
    attack_fails(t, &attacker, Some(run), &inner, &copy);
}
