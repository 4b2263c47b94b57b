//! The mount that the runtime's binary runs from leaves its namespace before a container can see it,
//! and takes nothing of the host along.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::own_binary::{attack_binary, call_of, copy_of_the_runtime, created};
use crate::call::Running;
use crate::{Need, Sandbox, Test, mount_info, strace, tests};

pub const TESTS: &[Test] = tests![
    binary_whose_mount_cannot_go_with_the_hosts_root[
        Need::NotAPeer, Need::Program("strace"), OTHER_MAPPINGS,
    ],
    mount_that_another_process_holds_is_refused[
        Need::NotAPeer, Need::Program("strace"), OTHER_MAPPINGS,
    ],
    mounts_of_the_host_below_the_binary_stay[Need::NotAPeer, Need::Program("strace")],
    root_of_the_host_below_a_new_mount_is_not_left_behind[Need::NotAPeer, Need::Program("strace")],
    binary_that_is_a_mount_of_its_own,
    binary_of_a_container_that_keeps_the_hosts_mounts[Need::NotAPeer],
];

/// Otherwise the runtime executes itself again, from a mount that it closes.
pub(super) const OTHER_MAPPINGS: Need = Need::Custom("PR_SET_MM_MAP", || {
    let mut size: libc::c_uint = 0;
    let (option, unused) = (libc::PR_SET_MM_MAP_SIZE, 0);
    // SAFETY: the kernel writes the size of its structure.
    let done = unsafe { libc::prctl(libc::PR_SET_MM, option, &raw mut size, unused, unused) };
    match Errno::result(done) {
        Ok(_) => Ok(()),
        Err(errno) => Err(format!("prctl(PR_SET_MM): {errno}")),
    }
});

/// The number of move_mount(2) calls that init makes for a container. Before it detaches the host's
/// mounts, it attaches the mount of its binary to them with the last of these calls.
fn attachments(t: &Sandbox, binary: &Path) -> usize {
    let file = t.path("attachments");
    let name = file.to_str().expect("UTF-8");
    let options = ["-f", "-o", name, "-e", "trace=move_mount,umount2"];
    let container = t.bundle().container();
    let run = call_of(t, binary, "run").prefix(strace(&options));
    container.launch(run).finish().ok();
    let trace = fs::read_to_string(&file).expect("the trace");
    let attached = trace.lines().take_while(|line| !line.contains("umount2"));
    let last = attached.filter(|line| line.contains("move_mount")).count();
    assert!(last > 0, "{trace}");
    last
}

fn binary_whose_mount_cannot_go_with_the_hosts_root(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let inject = format!(
        "inject=move_mount:error=EPERM:when={}",
        attachments(t, &copy)
    );
    let file = t.path("trace");
    let options = ["-f", "-o", file.to_str().expect("UTF-8"), "-e", &inject];
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let create = container.launch(call_of(t, &copy, "create").prefix(strace(&options)));
    t.eventually("the container is created", || {
        container
            .verb("state")
            .stdout
            .contains("\"status\": \"created\"")
    });
    attack_binary(&copy, &container, container.pid());
    create.finish().ok();
    let trace = fs::read_to_string(&file).expect("the trace");
    assert!(trace.contains("(INJECTED)"), "{trace}");
}

/// A process that holds the mount keeps it in a namespace, where it can be made writable.
fn mount_that_another_process_holds_is_refused(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let running = t.bundle().args(&["sleep", "1000"]).container();
    running.launch_ok();
    let container = t.bundle().container();
    let create = call_of(t, &copy, "create").arg("--no-pivot");
    let create = create.stopping("mount_setattr", None);
    let exec = call_of(t, &copy, "exec").arg(&running.id).arg("true");
    let exec = exec.stopping("mount_setattr", None);
    let refused = |call: Running| {
        let runtime = t.stopped();
        let held = roots_of_mounts(runtime);
        assert!(!held.is_empty(), "the runtime has no mount open");
        kill(runtime, Signal::SIGCONT).expect("it goes on");
        call.finish().fails_with("own binary");
    };
    refused(container.launch(create));
    refused(exec.spawn());
    assert!(!t.root.join(&container.id).exists());
}

/// Duplicates of the descriptors with which a process keeps detached mounts. pidfd_getfd(2).
fn roots_of_mounts(process: Pid) -> Vec<File> {
    // SAFETY: takes no pointers, and the result is checked before it is owned.
    let open = |call, arguments: [libc::c_long; 3]| unsafe {
        let fd = libc::syscall(call, arguments[0], arguments[1], arguments[2]);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        File::from_raw_fd(fd as i32)
    };
    let pidfd = open(libc::SYS_pidfd_open, [process.as_raw().into(), 0, 0]);
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("descriptors");
    files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| fs::read_link(path).expect("a descriptor") == Path::new("/"))
        .map(|path| {
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let number = number.expect("a number");
            open(libc::SYS_pidfd_getfd, [pidfd.as_raw_fd().into(), number, 0])
        })
        .collect()
}

/// The mount of the binary is detached together with everything below it.
fn mounts_of_the_host_below_the_binary_stay(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    let copy = copy_of_the_runtime(t);
    let below = t.path("below");
    fs::create_dir(&below).expect("directory");
    let last = attachments(t, &copy);
    let container = t.bundle().args(&["true"]).container();
    let run = call_of(t, &copy, "run").stopping_at("move_mount", last, &[]);
    let run = container.launch(run);
    let init = t.stopped();
    let none = None::<&str>;
    mount(none, &below, Some("tmpfs"), MsFlags::empty(), none).expect("mount");
    kill(init, Signal::SIGCONT).expect("it goes on");
    run.finish().ok();
    umount2(&below, MntFlags::empty()).expect("the mount is still there");
}

/// umount2(2) detaches the top mount only, which is not the old root then.
fn root_of_the_host_below_a_new_mount_is_not_left_behind(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    let copy = copy_of_the_runtime(t);
    // With the second injection, the mount of the binary does not go with the host's mounts.
    for inject in [&[][..], &["-e", "inject=prctl:error=EPERM:when=1"]] {
        let container = t.bundle().args(&["ls", "/.."]).container();
        let run = call_of(t, &copy, "run").stopping_at("pivot_root", 1, inject);
        let run = container.launch(run);
        let init = t.stopped();
        let none = None::<&str>;
        mount(none, "/", Some("tmpfs"), MsFlags::empty(), none).expect("mount");
        kill(init, Signal::SIGCONT).expect("it goes on");
        run.finish().fails_with("umount2");
        umount2("/", MntFlags::MNT_DETACH).expect("umount");
        assert!(!t.root.join(&container.id).exists());
    }
}

/// The path of such a binary leads to another file in a copy of its directory's mount.
fn binary_that_is_a_mount_of_its_own(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let place = t.path("mounted");
    fs::write(&place, "").expect("a file");
    let none = None::<&str>;
    mount(Some(&copy), &place, none, MsFlags::MS_BIND, none).expect("bind");
    let container = created(t, &place, &[]);
    attack_binary(&copy, &container, container.pid());
    umount2(&place, MntFlags::MNT_DETACH).expect("umount");
}

/// Init detaches no mounts that the mount of its binary could go with.
fn binary_of_a_container_that_keeps_the_hosts_mounts(t: &Sandbox) {
    let bundle = || t.bundle().args(&["sleep", "1000"]);
    let shared = bundle().without_namespace("mount");
    let shared = ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths"]
        .iter()
        .fold(shared, |bundle, list| bundle.set(list, json!([])));
    for (bundle, options) in [(bundle(), &["--no-pivot"][..]), (shared, &[])] {
        let copy = copy_of_the_runtime(t);
        let container = bundle.container();
        let create = call_of(t, &copy, "create").args(options);
        container.launch(create).finish().ok();
        attack_binary(&copy, &container, container.pid());
    }
}
