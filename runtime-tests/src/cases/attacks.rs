//! Attacks without an advisory: by the image, by another container, by a careless caller, and by
//! killing the runtime at any moment.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use super::cve_paths::{bind, link};
use super::cve_process::in_user_namespace;
use super::hook_moments::HOST_MOMENTS;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    mask_cannot_change_the_node_of_the_host,
    stream_cannot_change_the_node_of_the_host,
    device_of_a_user_namespace_is_no_other_file,
    files_of_the_host_do_not_follow_the_umask,
    hooks_keep_the_umask_of_the_caller,
    pid_file_is_not_written_through_a_link,
    runtime_killed_in_its_hook_leaves_nothing,
    runtime_killed_in_a_hook_of_init_leaves_nothing,
    runtime_killed_before_its_terminal_is_taken_leaves_nothing,
    runtime_killed_at_any_moment_leaves_nothing,
    frozen_init_can_be_deleted,
    mount_on_the_root_is_refused,
    link_to_the_root_is_not_mounted_on[Need::NotAPeer],
    copy_up_goes_where_the_mount_is,
    start_that_dies_does_not_start[Need::NotAPeer],
    start_socket_is_for_its_owner_alone[Need::NotAPeer],
];

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("stat").permissions().mode() & 0o7777
}

/// Runs `script` and asserts that the host's /dev/null is unchanged. Repairs what the attack
/// changes, because every process on the host needs the device.
#[track_caller]
fn null_stays(run: impl FnOnce()) {
    let state = || {
        let data = fs::metadata("/dev/null").expect("stat");
        (data.mode(), data.uid(), data.gid(), data.mtime())
    };
    let before = state();
    run();
    let after = state();
    if after != before {
        fs::set_permissions("/dev/null", fs::Permissions::from_mode(before.0)).expect("chmod");
        std::os::unix::fs::chown("/dev/null", Some(before.1), Some(before.2)).expect("chown");
    }
    assert_eq!(after, before, "/dev/null of the host has changed");
}

fn mask_cannot_change_the_node_of_the_host(t: &Sandbox) {
    let script = "for file in /proc/keys /secret; do
        chmod 600 $file; chown 7:7 $file; touch -d 2001-01-01 $file; echo lost >$file; cat $file
        test -w $file && echo writable; done";
    let bundle = t.bundle().file("/secret", "secret");
    let bundle = bundle
        .set("/linux/maskedPaths", json!(["/proc/keys", "/secret"]))
        .shell(script);
    null_stays(|| drop(bundle.container().run().prints("writable\nwritable")));
}

fn stream_cannot_change_the_node_of_the_host(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir(&volume).expect("volume");
    let script = "for fd in 0 1 2; do chmod 600 /proc/self/fd/$fd; chown 7:7 /proc/self/fd/$fd; done; echo ran >/ran";
    let dev = json!({"destination": "/dev", "type": "bind", "source": volume, "options": ["bind"]});
    for bundle in [t.bundle(), t.bundle().mount(dev)] {
        let call = t.runtime().arg("run");
        let call = call.prefix(["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"]);
        let container = bundle.shell(script).container();
        null_stays(|| drop(container.launch(call).finish().ok()));
        assert!(container.bundle.join("rootfs/ran").exists());
    }
}

fn device_of_a_user_namespace_is_no_other_file(t: &Sandbox) {
    let secret = t.path("secret");
    fs::write(&secret, "the host's").expect("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o666)).expect("chmod");
    let device = |path: &Path| json!({"path": path, "type": "c", "major": 1, "minor": 3});
    let bundle = in_user_namespace(t.bundle()).push("/linux/devices", device(&secret));
    let output = bundle
        .args(&["cat", secret.to_str().expect("UTF-8")])
        .container()
        .run();
    assert!(!output.stdout.contains("the host's"), "{output}");
    assert!(
        !output.status.success(),
        "a file stands for a device\n{output}"
    );
    let bundle =
        in_user_namespace(t.bundle()).push("/linux/devices", device(Path::new("/dev/null")));
    bundle
        .args(&["stat", "-c", "%t:%T", "/dev/null"])
        .container()
        .run()
        .ok()
        .prints("1:3");
}

fn files_of_the_host_do_not_follow_the_umask(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir(&volume).expect("volume");
    let mount = |destination: &str, source: &Path| json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]});
    for umask in ["0", "077"] {
        let place = format!("/vol/made{umask}");
        let bundle = t
            .bundle()
            .mount(mount("/vol", &volume))
            .mount(mount(&place, &volume));
        let bundle = bundle.mount(mount(
            &format!("/vol/file{umask}"),
            Path::new("/etc/passwd"),
        ));
        let container = bundle.args(&["sleep", "1000"]).container();
        let pid_file = t.path(&format!("pid{umask}"));
        let line = format!("umask {umask}; exec \"$@\"");
        let call = t.runtime().args(["create", "--pid-file"]).arg(&pid_file);
        container
            .launch(call.prefix(["sh", "-c", &line, "sh"]))
            .finish()
            .ok();
        assert_eq!(
            mode(t.root.join(&container.id)) & 0o077,
            0,
            "the state is its owner's"
        );
        for entry in fs::read_dir(t.root.join(&container.id))
            .expect("the state")
            .flatten()
        {
            let path = entry.path();
            let open = mode(&path) & 0o077 != 0 && !entry.file_type().expect("type").is_socket();
            assert!(!open, "{} is open to others", path.display());
        }
        assert_eq!(mode(&pid_file) & 0o022, 0, "others may write the pid file");
        assert_eq!(mode(volume.join(format!("made{umask}"))), 0o755);
        assert_eq!(mode(volume.join(format!("file{umask}"))) & 0o022, 0);
    }
}

trait IsSocket {
    fn is_socket(&self) -> bool;
}

impl IsSocket for fs::FileType {
    fn is_socket(&self) -> bool {
        std::os::unix::fs::FileTypeExt::is_socket(self)
    }
}

fn hook(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
}

fn hooks_keep_the_umask_of_the_caller(t: &Sandbox) {
    let log = t.path("umasks");
    let script = format!("umask >>{}", log.display());
    let mut bundle = t.bundle();
    for moment in HOST_MOMENTS {
        bundle = bundle.set(&format!("/hooks/{moment}"), hook(&script));
    }
    let call = t
        .runtime()
        .arg("run")
        .prefix(["sh", "-c", "umask 027; exec \"$@\"", "sh"]);
    bundle.container().launch(call).finish().ok();
    assert_eq!(
        fs::read_to_string(log).expect("the log"),
        "0027\n".repeat(HOST_MOMENTS.len())
    );
}

fn pid_file_is_not_written_through_a_link(t: &Sandbox) {
    let target = t.path("target");
    fs::write(&target, "kept").expect("target");
    let directory = t.path("pids");
    fs::create_dir(&directory).expect("directory");
    let line = format!(
        "for name in pid .pid.$$ pid.$$ .pid .pid.tmp; do ln -s {} {}/$name; done; exec \"$@\"",
        target.display(),
        directory.display()
    );
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let call = t
        .runtime()
        .args(["create", "--pid-file"])
        .arg(directory.join("pid"));
    container
        .launch(call.prefix(["sh", "-c", &line, "sh"]))
        .finish()
        .ok();
    assert_eq!(fs::read_to_string(&target).expect("target"), "kept");
    let text = fs::read_to_string(directory.join("pid")).expect("the pid file");
    assert_eq!(text, container.pid().to_string());
}

fn runtime_killed_in_its_hook_leaves_nothing(t: &Sandbox) {
    for moment in ["prestart", "createRuntime"] {
        let bundle = t
            .bundle()
            .set(&format!("/hooks/{moment}"), hook("kill -9 $PPID"));
        let container = bundle.container();
        assert_eq!(container.create().code(), 128 + 9);
        container.start().fails();
        container.delete_force().ok();
        container.verb("state").fails_with("does not exist");
    }
}

fn runtime_killed_in_a_hook_of_init_leaves_nothing(t: &Sandbox) {
    let (reached, go) = (t.path("reached"), t.path("go"));
    nix::unistd::mkfifo(&go, Mode::S_IRUSR | Mode::S_IWUSR).expect("mkfifo");
    let script = format!("echo >{}; read line <{}", reached.display(), go.display());
    let bundle = t.bundle().set("/hooks/createContainer", hook(&script));
    let container = bundle.args(&["sleep", "1000"]).container();
    let create = container.launch(t.runtime().arg("create"));
    t.eventually("the hook runs", || reached.exists());
    create.signal(Signal::SIGKILL);
    create.finish().exits(128 + 9);
    // Init continues from here, but the runtime is gone.
    fs::write(&go, "go\n").expect("the hook goes on");
    container.delete_force().ok();
    container.verb("state").fails_with("does not exist");
}

fn runtime_killed_before_its_terminal_is_taken_leaves_nothing(t: &Sandbox) {
    // The engine listens but receives nothing. The runtime is killed at the end of its create.
    let path = t.path("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    let bundle = t.bundle().set("/process/terminal", json!(true));
    let bundle = bundle.set("/hooks/createRuntime", hook("kill -9 $PPID"));
    let container = bundle.container();
    let call = t.runtime().args(["create", "--console-socket"]).arg(&path);
    container.launch(call).finish().exits(128 + 9);
    container.delete_force().ok();
    drop(listener);
}

fn runtime_killed_at_any_moment_leaves_nothing(t: &Sandbox) {
    let bundle = t.bundle().args(&["sleep", "1000"]);
    let container = bundle.container();
    // The kill comes later in each step, until it is too late. The assertions hold wherever it
    // falls.
    for step in 0..200 {
        let victim = container.sibling();
        let create = victim.launch(t.runtime().arg("create"));
        std::thread::sleep(std::time::Duration::from_micros(500 * step));
        create.signal(Signal::SIGKILL);
        let complete = create.finish().code() == 0;
        victim.delete_force().ok();
        victim.verb("state").fails_with("does not exist");
        if complete {
            return;
        }
    }
}

fn frozen_init_can_be_deleted(t: &Sandbox) {
    for start in [false, true] {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        if start {
            container.start().ok();
        }
        fs::write(container.cgroup().join("cgroup.freeze"), "1").expect("freeze");
        container.wait_status("paused");
        container.start().fails();
        container.delete().fails();
        container.delete_force().ok();
    }
}

/// Everything that is mounted later would be below such a mount, but `exec` would start above it,
/// without masks.
fn link_to_the_root_is_not_mounted_on(t: &Sandbox) {
    let volume = t.path("volume");
    fs::create_dir_all(&volume).expect("volume");
    let attack = |target: &str| link(t.bundle(), "/link", target);
    for target in ["/", "tmp/..", "/proc/.."] {
        for bundle in [
            attack(target).mount(bind(&volume, "/link")),
            attack(target).mount(json!({"destination": "/link", "type": "tmpfs", "source": "x"})),
            attack(target).set("/linux/maskedPaths", json!(["/link"])),
        ] {
            let created = bundle.container().create();
            created
                .fails_with("/link")
                .fails_with("leads to the container's /");
        }
    }
    let bundle = t.bundle().set("/linux/maskedPaths", json!(["/"]));
    bundle.container().create().fails_with("maskedPaths");
    // Beside the root the same mount is allowed.
    let bundle = link(t.bundle(), "/link", "/tmp").mount(bind(&volume, "/link"));
    bundle.args(&["true"]).container().run().ok();
}

fn mount_on_the_root_is_refused(t: &Sandbox) {
    let bundle = t.bundle();
    let source = bundle.rootfs();
    for destination in ["/", "/..", "/tmp/../"] {
        let mount = json!({"destination": destination, "type": "bind", "source": source,
            "options": ["rbind"]});
        t.bundle()
            .mount(mount)
            .container()
            .create()
            .fails_with("destination");
    }
    // The mount would not be visible, but it would expose masked files: `/..` crosses into a mount
    // that covers the root.
    let script = "cat /../proc/keys /../../proc/timer_list | wc -c";
    bundle.shell(script).container().run().ok().prints("0");
}

fn copy_up_goes_where_the_mount_is(t: &Sandbox) {
    let volume = t.path("volume");
    let (one, other) = (volume.join("one"), volume.join("other"));
    for directory in [&one, &other] {
        fs::create_dir_all(directory).expect("volume");
    }
    fs::write(one.join("file"), "copied").expect("file");
    fs::write(other.join("file"), "copied").expect("file");
    let shared =
        json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["bind"]});
    let copied = json!({"destination": "/vol/one", "type": "tmpfs", "source": "canary",
        "options": ["tmpcopyup", "rnoexec"]});
    let bundle = t.bundle().mount(shared).mount(copied);
    let container = bundle
        .args(&["grep", " canary ", "/proc/self/mountinfo"])
        .container();
    super::cve_paths::while_swapping(&one, &other, || {
        for _ in 0..40 {
            // A renamed directory takes its mount along, so the mount is always found.
            let output = container.sibling().run().ok();
            assert!(output.stdout.contains("noexec"), "{output}");
        }
    });
    for directory in [&one, &other] {
        assert_eq!(fs::read_dir(directory).expect("volume").count(), 1);
    }
}

/// Connects to the socket on which a created container waits for `start`.
fn connect_to_start(t: &Sandbox, id: &str) -> std::os::fd::OwnedFd {
    // The path may be too long for a socket address.
    let directory = fs::File::open(t.root.join(id)).expect("the state");
    let address = format!("/proc/self/fd/{}/start.sock", directory.as_raw_fd());
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).expect("socket");
    let address = UnixAddr::new(address.as_str()).expect("address");
    connect(client.as_raw_fd(), &address).expect("connect");
    client
}

fn start_that_dies_does_not_start(t: &Sandbox) {
    let container = t.bundle().shell("echo ran; sleep 1000").container();
    container.create().ok();
    drop(connect_to_start(t, &container.id));
    // A second connection waits in the queue while the first is served.
    let waiting = connect_to_start(t, &container.id);
    drop(connect_to_start(t, &container.id));
    drop(waiting);
    assert_eq!(container.status(), "created");
    assert_eq!(container.stdout(), "");
    container.start().ok();
    container.wait_stdout("ran");
    container.start().fails_with("already running");
}

fn start_socket_is_for_its_owner_alone(t: &Sandbox) {
    // The containers in the host's network namespace see the host's abstract sockets.
    for bundle in [t.bundle(), t.bundle().without_namespace("network")] {
        let container = bundle.args(&["sleep", "1000"]).container();
        container.create().ok();
        let directory = fs::metadata(t.root.join(&container.id)).expect("stat");
        assert_eq!((directory.mode() & 0o7777, directory.uid()), (0o700, 0));
        let names = names_of_sockets(container.pid());
        assert!(
            names.iter().any(|name| name.ends_with("start.sock")),
            "{names:?}"
        );
        assert!(names.iter().all(|name| !name.starts_with('@')), "{names:?}");
    }
}

/// The names of a process's Unix sockets. An abstract one begins with `@`. unix(7), proc_net(5).
fn names_of_sockets(pid: i32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    let own: Vec<_> = descriptors
        .map(|entry| fs::read_link(entry.expect("an entry").path()).expect("a descriptor"))
        .collect();
    // A socket stays in the network namespace that its process was in when it made it.
    let tables = [pid.to_string(), "self".to_owned()].map(|process| {
        let table = fs::read_to_string(format!("/proc/{process}/net/unix"));
        table.expect("the sockets of a network namespace")
    });
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let named = lines.filter_map(|line| {
        let mut words = line.split_whitespace().skip(6);
        let socket = format!("socket:[{}]", words.next()?);
        let is_own = own
            .iter()
            .any(|target| target.as_os_str() == socket.as_str());
        is_own.then(|| words.next().map(str::to_owned))?
    });
    named.collect()
}
