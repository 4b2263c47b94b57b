//! Published attacks on runtimes, replayed: those on the binary, the init process and its
//! descriptors, capabilities and groups. Those on paths are in `cve_paths`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Call, Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    cve_2014_8989_groups_of_the_caller_are_dropped[Need::Program("setpriv")],
    cve_2016_9962_created_init_is_closed_to_its_neighbours,
    cve_2019_5736_binary_of_a_created_init_cannot_be_written,
    cve_2019_5736_binary_on_a_mount_that_becomes_writable,
    cve_2019_5736_proc_self_exe_as_program,
    cve_2019_5736_proc_self_exe_as_interpreter,
    cve_2022_29162_nothing_is_inheritable_unless_the_config_says_so,
    cve_2022_27650_inheritable_is_exactly_what_the_config_says,
    cve_2023_25809_only_the_own_cgroup_is_seen,
    cve_2023_25809_only_the_own_cgroup_is_seen_in_a_user_namespace,
    cve_2024_21626_no_working_directory_on_the_host,
    cve_2024_21626_no_program_on_the_host,
    cve_2024_21626_exec_finds_no_way_to_the_host,
    cve_2024_21626_descriptors_of_the_caller_reach_nobody,
];

/// A user namespace in which root is an ordinary user of the host.
pub fn in_user_namespace(bundle: Bundle) -> Bundle {
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = bundle.push("/linux/namespaces", json!({"type": "user"}));
    for path in [bundle.path.clone(), bundle.rootfs()] {
        nix::unistd::chown(&path, Some(100_000.into()), Some(100_000.into())).expect("chown");
    }
    bundle
        .set("/linux/uidMappings", maps.clone())
        .set("/linux/gidMappings", maps)
}

/// Puts `container` into the pid namespace of the process `pid`.
fn join_pid_namespace(bundle: Bundle, pid: i32) -> Bundle {
    bundle.without_namespace("pid").push(
        "/linux/namespaces",
        json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}),
    )
}

fn cve_2014_8989_groups_of_the_caller_are_dropped(t: &Sandbox) {
    let script = "grep Groups: /proc/self/status | tr -s '\\t ' ' '";
    for bundle in [t.bundle(), in_user_namespace(t.bundle())] {
        let call = t
            .runtime()
            .arg("run")
            .prefix(["setpriv", "--groups", "4242,4243"]);
        let output = bundle.shell(script).container().launch(call).finish().ok();
        assert_eq!(output.stdout.trim(), "Groups:", "{output}");
    }
}

fn cve_2016_9962_created_init_is_closed_to_its_neighbours(t: &Sandbox) {
    let victim = t.bundle().args(&["sleep", "1000"]).container();
    victim.create().ok();
    let look = "cd /proc/1; for what in fd/* exe cwd root environ maps; do
        cat $what >/dev/null 2>&1 && echo read $what; readlink $what >/dev/null && echo link $what;
        done; echo end";
    let neighbour = || join_pid_namespace(t.bundle().shell(look), victim.pid()).container();
    neighbour().run().ok().prints("end");
    victim.start().ok();
    // The same look at the container's own program, which is no secret, shows that it can see.
    let output = neighbour().run().ok();
    assert!(
        ["link exe\n", "link fd/0\n", "read environ\n"]
            .iter()
            .all(|line| output.stdout.contains(line)),
        "{output}"
    );
}

/// A copy of the runtime, so that an attack that works does no harm.
fn copy_of_the_runtime(t: &Sandbox) -> std::path::PathBuf {
    let copy = t.path("runtime-copy");
    fs::copy(&t.runtime, &copy).expect("copy the runtime");
    copy
}

fn call_of(t: &Sandbox, runtime: &Path, verb: &str) -> Call {
    t.call(runtime).arg("--root").arg(&t.root).arg(verb)
}

/// Tries to write to an open executable as nobody but root of the host can, first through its
/// mount and then, when `process` has ended, through the descriptor.
#[track_caller]
fn attack_binary(binary: &Path, container: &Container, process: i32) {
    let before = fs::read(binary).expect("the binary");
    let held = File::open(format!("/proc/{process}/exe")).expect("/proc/PID/exe");
    let held_bytes = fs::read(format!("/proc/self/fd/{}", held.as_raw_fd())).expect("read");
    assert!(
        held_bytes == before,
        "the process does not run the runtime's binary"
    );
    make_mount_writable(&held);
    container.kill("KILL").ok();
    reap(process);
    container.delete_force().ok();
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
    // Nobody had it busy: the host itself can replace and write it.
    OpenOptions::new()
        .write(true)
        .open(binary)
        .expect("the host's own file is writable");
}

/// mount_setattr(2) that takes the read-only attribute from the mount of an open file. Whether it
/// works shows when the file is written.
fn make_mount_writable(file: &File) {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let change: [u64; 4] = [0, MOUNT_ATTR_RDONLY, 0, 0];
    // SAFETY: the path is NUL-terminated, and change has the layout and the size of mount_attr.
    unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            change.as_ptr(),
            size_of_val(&change),
        )
    };
}

fn cve_2019_5736_binary_of_a_created_init_cannot_be_written(t: &Sandbox) {
    let copy = copy_of_the_runtime(t);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch(call_of(t, &copy, "create")).finish().ok();
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

/// A bundle in which the runtime's binary would run: with the host's libraries, and with an inner
/// bundle whose config never comes, so that it stays.
fn where_the_runtime_runs(t: &Sandbox) -> Bundle<'_> {
    let mut bundle = t.bundle().file("/b/rootfs/file", "");
    let fifo = bundle.rootfs().join("b/config.json");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    for directory in ["/lib", "/lib64", "/usr/lib"] {
        if Path::new(directory).exists() {
            bundle = bundle.mount(json!({"destination": directory, "type": "bind",
                "source": directory, "options": ["rbind", "ro"]}));
        }
    }
    bundle
}

/// Runs the container with a copy of the runtime until the binary runs inside, then attacks it.
#[track_caller]
fn attack_from_inside(t: &Sandbox, bundle: Bundle) {
    let copy = copy_of_the_runtime(t);
    let container = bundle.container();
    let created = container.launch(call_of(t, &copy, "create")).finish();
    if !created.status.success() {
        // A runtime may refuse such a program as well.
        created.fails();
        return;
    }
    let pid = container.pid();
    container.start().ok();
    // It sleeps in open(2) of the pipe.
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

const CAPABILITIES: &str = "grep -E '^Cap(Inh|Amb):' /proc/self/status | tr -s '\\t ' ' '";

fn cve_2022_29162_nothing_is_inheritable_unless_the_config_says_so(t: &Sandbox) {
    for bundle in [t.bundle(), in_user_namespace(t.bundle())] {
        let output = bundle.shell(CAPABILITIES).container().run().ok();
        output.prints("CapInh: 0000000000000000\nCapAmb: 0000000000000000");
    }
}

fn cve_2022_27650_inheritable_is_exactly_what_the_config_says(t: &Sandbox) {
    // CAP_KILL is bit 5.
    let bundle = t
        .bundle()
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
    let output = bundle.shell(CAPABILITIES).container().run().ok();
    output.prints("CapInh: 0000000000000020\nCapAmb: 0000000000000000");
}

/// A second container runs; the first looks for it in its cgroup file system.
fn look_for_other_cgroups(t: &Sandbox, bundle: Bundle) {
    let neighbour = t.bundle().args(&["sleep", "1000"]).container();
    neighbour.create().ok();
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "ro"]});
    let script = format!(
        "find /sys/fs/cgroup -name '*{}*'; cat /sys/fs/cgroup/cgroup.procs; \
         echo x >/sys/fs/cgroup/cgroup.freeze || echo refused",
        t.id
    );
    let output = bundle.mount(mount).shell(&script).container().run().ok();
    let (own, refused) = output.stdout.trim().rsplit_once('\n').expect("two lines");
    assert_eq!(refused, "refused", "{output}");
    // The shell and its cat; no path, which would be another container's.
    assert!(
        own.starts_with("1\n") && own.lines().all(|line| line.parse::<u32>().is_ok()),
        "{output}"
    );
}

fn cve_2023_25809_only_the_own_cgroup_is_seen(t: &Sandbox) {
    look_for_other_cgroups(t, t.bundle());
}

fn cve_2023_25809_only_the_own_cgroup_is_seen_in_a_user_namespace(t: &Sandbox) {
    // Without a cgroup namespace the kernel grants no cgroup mount, and something else is shown.
    look_for_other_cgroups(t, in_user_namespace(t.bundle()).without_namespace("cgroup"));
}

/// More numbers than any runtime has files open.
const NUMBERS: std::ops::Range<u32> = 3..24;

fn cve_2024_21626_no_working_directory_on_the_host(t: &Sandbox) {
    fs::write(t.path("marker"), "the host's").expect("marker");
    let script = format!(
        "/bin/busybox pwd; cat ../../../../../../../..{}",
        t.path("marker").display()
    );
    let bundle = t.bundle().shell(&script);
    let (directory, config) = (bundle.path.clone(), bundle.config.clone());
    let container = bundle.container();
    for number in NUMBERS {
        for below in ["", "/..", "/../../.."] {
            let mut config = config.clone();
            config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}{below}"));
            crate::bundle::write_config(&directory, &config);
            let output = container.sibling().run().fails();
            assert!(
                !output.stdout.contains("the host's"),
                "descriptor {number}{below}\n{output}"
            );
        }
    }
}

fn cve_2024_21626_no_program_on_the_host(t: &Sandbox) {
    let program = t.path("busybox-of-the-host");
    fs::copy(t.bundle().rootfs().join("bin/busybox"), &program).expect("copy busybox");
    let bundle = t.bundle();
    let (directory, config) = (bundle.path.clone(), bundle.config.clone());
    let container = bundle.container();
    for number in NUMBERS {
        let mut config = config.clone();
        let path = format!(
            "/proc/self/fd/{number}/../../../../../../../..{}",
            program.display()
        );
        config["process"]["args"] = json!([path, "echo", "escaped"]);
        crate::bundle::write_config(&directory, &config);
        let output = container.sibling().run().fails();
        assert!(
            !output.stdout.contains("escaped"),
            "descriptor {number}\n{output}"
        );
    }
}

fn cve_2024_21626_exec_finds_no_way_to_the_host(t: &Sandbox) {
    let program = t.path("busybox-of-the-host");
    fs::copy(t.bundle().rootfs().join("bin/busybox"), &program).expect("copy busybox");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let up = format!("../../../../../../../..{}", program.display());
    for number in NUMBERS {
        let directory = format!("/proc/self/fd/{number}");
        let output = container
            .exec(&[&format!("{directory}/{up}"), "echo", "escaped"])
            .fails();
        assert!(
            !output.stdout.contains("escaped"),
            "descriptor {number}\n{output}"
        );
        let output = container.exec_with(&["--cwd", &directory], &["ls", &up]);
        assert!(!output.status.success(), "descriptor {number}\n{output}");
    }
}

fn cve_2024_21626_descriptors_of_the_caller_reach_nobody(t: &Sandbox) {
    let ls = |path: &str| json!([{"path": path, "args": ["ls", "/proc/self/fd"]}]);
    let moments: [(&str, Value); 6] = [
        ("prestart", ls("/bin/ls")),
        ("createRuntime", ls("/bin/ls")),
        ("createContainer", ls("/bin/ls")),
        ("startContainer", ls("/bin/ls")),
        ("poststart", ls("/bin/ls")),
        ("poststop", ls("/bin/ls")),
    ];
    let mut bundle = t.bundle().args(&["ls", "/proc/self/fd"]);
    for (moment, hook) in &moments {
        bundle = bundle.set(&format!("/hooks/{moment}"), hook.clone());
    }
    let call =
        t.runtime()
            .arg("run")
            .prefix(["sh", "-c", "exec 7</ 9</etc/passwd; exec \"$@\"", "sh"]);
    let output = bundle.container().launch(call).finish().ok();
    // ls itself has one more open, and takes the lowest free number for it.
    let expected = "0\n1\n2\n3\n".repeat(moments.len() + 1);
    assert_eq!(output.stdout, expected, "{output}");
}
