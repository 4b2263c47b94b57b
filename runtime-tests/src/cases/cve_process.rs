//! Published attacks on runtimes, replayed: attacks on the init process and its descriptors,
//! capabilities and groups. Attacks on paths are in `cve_paths`, those on the runtime's own binary
//! in `own_binary`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::stat::Mode;
use serde_json::json;

use crate::bundle::Bundle;
use crate::call::Call;
use crate::console;
use crate::steps::with_children;
use crate::{Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    cve_2014_8989_groups_of_the_caller_are_dropped[Need::Program("setpriv")],
    cve_2016_9962_created_init_is_closed_to_its_neighbours,
    cve_2016_9962_other_ids_do_not_open_a_process[Need::NotAPeer, Need::Program("strace")],
    cve_2016_9962_process_of_exec_is_closed_to_the_container[Need::NotAPeer],
    cve_2016_10124_exec_types_nothing_on_the_callers_terminal[Need::Program("setsid"), Need::Program("setpriv")],
    cve_2017_5226_program_types_nothing_on_the_callers_terminal[Need::Program("setsid"), Need::Program("setpriv")],
    cve_2022_24769_nothing_is_inheritable_unless_the_config_says_so,
    cve_2022_29162_exec_adds_nothing_inheritable,
    cve_2022_27650_inheritable_of_exec_is_exactly_what_the_config_says,
    cve_2023_25809_only_the_own_cgroup_is_seen,
    cve_2023_25809_only_the_own_cgroup_is_seen_in_a_user_namespace,
    cve_2024_21626_no_working_directory_on_the_host,
    cve_2024_21626_no_program_on_the_host,
    cve_2024_21626_exec_finds_no_way_to_the_host,
    cve_2024_21626_descriptors_of_the_caller_are_not_inherited,
    cve_2024_9676_endless_passwd[Need::NotAPeer],
];

/// A user namespace whose root is an ordinary user of the host.
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

/// Makes `container` join the pid namespace of the process `pid`.
pub fn join_pid_namespace(bundle: Bundle, pid: i32) -> Bundle {
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
    // As a control, the other container can inspect this container's own program, which is not
    // protected.
    let output = neighbour().run().ok();
    assert!(
        ["link exe\n", "link fd/0\n", "read environ\n"]
            .iter()
            .all(|line| output.stdout.contains(line)),
        "{output}"
    );
}

/// With fs.suid_dumpable=1 the kernel makes a process inspectable that changes its ids. The sysctl
/// is the whole host's, so the case looks at the calls: after each change, before any other call,
/// the process makes itself inaccessible.
fn cve_2016_9962_other_ids_do_not_open_a_process(t: &Sandbox) {
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = || in_user_namespace(t.bundle()).set("/process/user", user.clone());
    let traced = |verb: &str| {
        let file = t.path(verb);
        let options = ["-f", "-o", file.to_str().expect("UTF-8")];
        let call = t.runtime().arg(verb).prefix(strace(&options));
        (file, call)
    };
    let (run, call) = traced("run");
    let container = bundle().args(&["true"]).container();
    container.launch(call).finish().ok();
    let (exec, call) = traced("exec");
    let container = bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    call.args([&container.id, "true"]).run().ok();
    for file in [run, exec] {
        let trace = fs::read_to_string(file).expect("the trace");
        let changes = closed_after_each_change(&trace);
        assert_eq!(
            changes, 2,
            "root of the user namespace, and the user: {trace}"
        );
    }
}

/// Asserts that the process is made inaccessible by the first call after each setresuid(2). Returns
/// their number.
#[track_caller]
fn closed_after_each_change(trace: &str) -> usize {
    // A call that another process interrupts has two lines.
    let lines = trace.lines().filter(|line| !line.contains(" <... "));
    let lines: Vec<_> = lines.collect();
    let process = |line: &str| line.split(' ').next().map(str::to_owned);
    let mut changes = 0;
    for (at, line) in lines.iter().enumerate() {
        if !line.contains(" setresuid(") {
            continue;
        }
        changes += 1;
        let mut following = lines[at + 1..].iter();
        let next = following.find(|next| process(next) == process(line));
        let next = next.expect("another call");
        assert!(
            next.contains("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE"),
            "{line}\n{next}"
        );
    }
    changes
}

/// The process of `exec` holds descriptors of the host while it enters, and it is in the container's
/// pid namespace already.
fn cve_2016_9962_process_of_exec_is_closed_to_the_container(t: &Sandbox) {
    // This capability of a user namespace covers each process in it that is dumpable.
    let tracer = ["bounding", "effective", "permitted"].iter().fold(
        in_user_namespace(t.bundle()),
        |bundle, set| {
            let set = format!("/process/capabilities/{set}");
            bundle.push(&set, json!("CAP_SYS_PTRACE"))
        },
    );
    for bundle in [t.bundle(), tracer] {
        let bundle = bundle.probe(&["look-at-others", "/ask"]);
        let fifo = bundle.rootfs().join("ask");
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR).expect("mkfifo");
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).expect("chmod");
        let container = bundle.container();
        container.launch_ok();
        let ask = fs::OpenOptions::new().read(true).write(true).open(&fifo);
        let mut ask = ask.expect("the FIFO");
        let (mut entering, mut executed) = (Vec::new(), Vec::new());
        let exec = t.runtime().arg("exec").arg(&container.id).arg("true");
        let look = |_, has_executed: bool| {
            let round = entering.len() + executed.len();
            ask.write_all(b"\n").expect("ask");
            let mut found = None;
            t.eventually("the container has looked", || {
                let text = container.stdout();
                found = text.split_inclusive('\n').nth(round).map(str::to_owned);
                found.as_ref().is_some_and(|line| line.ends_with('\n'))
            });
            let found = found.expect("a line");
            let list = if has_executed {
                &mut executed
            } else {
                &mut entering
            };
            list.push(found.trim().to_owned());
        };
        with_children(exec, look).ok();
        let visible = entering.iter().filter(|line| !line.is_empty());
        assert!(visible.count() > 10, "{entering:#?}");
        let open = entering
            .iter()
            .find(|line| !line.is_empty() && !line.ends_with(':'));
        assert_eq!(open, None, "{entering:#?}");
        // As a control, the container can inspect its own program.
        let controls = ["root", "exe", "fd", "environ", "pidfd_getfd"];
        let last = executed.last().expect("a system call of the program");
        let words: Vec<_> = last.split(' ').collect();
        assert!(controls.iter().all(|way| words.contains(way)), "{last}");
    }
}

/// The program has the terminal of the runtime's caller as its streams. TIOCSTI of ioctl_tty(2)
/// would type there what a shell of the host executes later.
#[track_caller]
fn types_nothing(call: Call) {
    let (no_terminal, refused) = (libc::ENXIO, [libc::EPERM, libc::EIO]);
    let lines = console::lines_on_terminal(with_a_terminal(call), 80);
    let expected = refused.map(|errno| format!("type {errno}, open {no_terminal}"));
    assert!(
        lines.len() == 1 && expected.contains(&lines[0]),
        "{lines:?}"
    );
}

/// Makes the terminal on its streams its controlling terminal.
fn with_a_terminal(call: Call) -> Call {
    call.prefix(["setsid", "--ctty", "--wait"])
}

/// As a control, a process of the caller's session can open the terminal, and type on it unless the
/// kernel allows that only with CAP_SYS_ADMIN.
fn a_neighbour_of_the_caller_may_type(t: &Sandbox) {
    let program = std::env::current_exe().expect("this program");
    let call = t.call(program).args(["--probe", "type"]);
    let call = call.prefix(["setpriv", "--bounding-set=-sys_admin"]);
    let lines = console::lines_on_terminal(with_a_terminal(call), 80);
    let eio = libc::EIO;
    let expected = ["type 0, open 0".to_owned(), format!("type {eio}, open 0")];
    // The terminal may show the character too.
    assert!(
        lines
            .iter()
            .any(|line| expected.iter().any(|text| line.ends_with(text))),
        "{lines:?}"
    );
}

fn cve_2016_10124_exec_types_nothing_on_the_callers_terminal(t: &Sandbox) {
    a_neighbour_of_the_caller_may_type(t);
    let container = t.bundle().probe(&[]).args(&["sleep", "1000"]).container();
    container.launch_ok();
    let exec = t.runtime().arg("exec").arg(&container.id);
    types_nothing(exec.args(["/probe", "--probe", "type"]));
}

fn cve_2017_5226_program_types_nothing_on_the_callers_terminal(t: &Sandbox) {
    a_neighbour_of_the_caller_may_type(t);
    let container = t.bundle().probe(&["type"]).container();
    let run = t
        .runtime()
        .arg("run")
        .arg("--bundle")
        .arg(&container.bundle);
    types_nothing(run.arg(&container.id));
}

const CAPABILITIES: &str = "grep -E '^Cap(Inh|Amb):' /proc/self/status | tr -s '\\t ' ' '";
const NONE: &str = "CapInh: 0000000000000000\nCapAmb: 0000000000000000";
/// CAP_KILL is bit 5.
const KILL: &str = "CapInh: 0000000000000020\nCapAmb: 0000000000000000";

fn cve_2022_24769_nothing_is_inheritable_unless_the_config_says_so(t: &Sandbox) {
    for bundle in [t.bundle(), in_user_namespace(t.bundle())] {
        let output = bundle.shell(CAPABILITIES).container().run().ok();
        output.prints(NONE);
    }
    let inheritable = json!(["CAP_KILL"]);
    let bundle = t
        .bundle()
        .set("/process/capabilities/inheritable", inheritable);
    let output = bundle.shell(CAPABILITIES).container().run().ok();
    output.prints(KILL);
}

fn cve_2022_29162_exec_adds_nothing_inheritable(t: &Sandbox) {
    for bundle in [t.bundle(), in_user_namespace(t.bundle())] {
        let container = bundle.args(&["sleep", "1000"]).container();
        container.launch_ok();
        let look = ["sh", "-c", CAPABILITIES];
        let cap = ["--cap", "CAP_KILL", "--cap", "CAP_NET_RAW"];
        for flags in [
            &[][..],
            &cap,
            &[&cap[..], &["--user", "1000:1000"]].concat(),
        ] {
            container.exec_with(flags, &look).ok().prints(NONE);
        }
    }
}

fn cve_2022_27650_inheritable_of_exec_is_exactly_what_the_config_says(t: &Sandbox) {
    let sets = |inheritable: &[&str]| {
        json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL"], "inheritable": inheritable})
    };
    for (of_config, expected) in [(&[][..], NONE), (&["CAP_KILL"], KILL)] {
        let bundle = t.bundle().set("/process/capabilities", sets(of_config));
        let container = bundle.args(&["sleep", "1000"]).container();
        container.launch_ok();
        let look = ["sh", "-c", CAPABILITIES];
        container.exec(&look).ok().prints(expected);
        for (of_process, expected) in [(&[][..], NONE), (&["CAP_KILL"], KILL)] {
            let process = json!({"cwd": "/", "args": look, "env": ["PATH=/bin"],
                "capabilities": sets(of_process)});
            container.exec_process(&process).ok().prints(expected);
        }
    }
}

/// A second container runs, and the first looks for it in its cgroup file system.
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
    // The shell and its cat, but no path, which would be another container's.
    assert!(
        own.starts_with("1\n") && own.lines().all(|line| line.parse::<u32>().is_ok()),
        "{output}"
    );
}

fn cve_2023_25809_only_the_own_cgroup_is_seen(t: &Sandbox) {
    look_for_other_cgroups(t, t.bundle());
}

fn cve_2023_25809_only_the_own_cgroup_is_seen_in_a_user_namespace(t: &Sandbox) {
    // Without a cgroup namespace the kernel refuses a cgroup mount, and the container sees
    // something else there.
    look_for_other_cgroups(t, in_user_namespace(t.bundle()).without_namespace("cgroup"));
}

/// More numbers than any runtime has open files.
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

fn cve_2024_21626_descriptors_of_the_caller_are_not_inherited(t: &Sandbox) {
    let (log, inside) = (t.path("descriptors"), Path::new("/descriptors"));
    let moments = [
        ("prestart", log.as_path()),
        ("createRuntime", &log),
        ("createContainer", &log),
        ("startContainer", inside),
        ("poststart", &log),
        ("poststop", &log),
    ];
    let mut bundle = t.bundle().args(&["ls", "/proc/self/fd"]);
    for (moment, log) in moments {
        let script = format!("exec ls /proc/self/fd >>{}", log.display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
        bundle = bundle.set(&format!("/hooks/{moment}"), hook);
    }
    let call =
        t.runtime()
            .arg("run")
            .prefix(["sh", "-c", "exec 7</ 9</etc/passwd; exec \"$@\"", "sh"]);
    let container = bundle.container();
    let output = container.launch(call).finish().ok();
    // ls itself has one more descriptor open, which gets the lowest free number.
    let expected = "0\n1\n2\n3\n";
    assert_eq!(output.stdout, expected, "{output}");
    let read = |path: &Path| fs::read_to_string(path).expect("the hooks ran");
    assert_eq!(read(&log), expected.repeat(moments.len() - 1));
    let inside = container.bundle.join("rootfs/descriptors");
    assert_eq!(read(&inside), expected);
}

/// The user's home is read from a file of the image, which is a pipe, a link to one, an endless
/// device, or many gigabytes long. Neither `run` nor `exec` waits for it or keeps it in memory.
fn cve_2024_9676_endless_passwd(t: &Sandbox) {
    let makes = [
        "mkfifo etc/passwd",
        "mkfifo pipe && ln -s /pipe etc/passwd",
        "ln -s /proc/self/fd/0 etc/passwd",
        "ln -s /dev/zero etc/passwd",
        "truncate -s 64G etc/passwd",
        "mkdir etc/passwd",
    ];
    for make in makes {
        let bundle = t.bundle().args(&["sleep", "1000"]).patch(|config| {
            let env = config["process"]["env"].as_array_mut().expect("env");
            env.retain(|entry| !entry.as_str().is_some_and(|text| text.starts_with("HOME=")));
        });
        let script = format!("mkdir -p etc && rm -f etc/passwd && {make}");
        let made = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(bundle.rootfs())
            .status();
        assert!(made.expect("sh").success(), "{make}");
        let container = bundle.container();
        // The kernel refuses memory beyond the limit, so the runtime would fail.
        let little = ["sh", "-c", "ulimit -v 100000; exec \"$@\"", "sh"];
        container
            .launch(t.runtime().arg("create").prefix(little))
            .finish()
            .ok();
        container.start().ok();
        let exec = t.runtime().arg("exec").arg(&container.id);
        let output = exec
            .args(["sh", "-c", "echo $HOME"])
            .prefix(little)
            .run()
            .ok();
        assert_eq!(output.stdout, "/\n", "{make}\n{output}");
        container.delete_force().ok();
    }
}
