//! The codes of failures, provoked one by one. Each message is the example of its code in
//! sampan-errors(7). Codes that need a host of another kind have unit tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::console;
use crate::container::{Container, reap};
use crate::{Call, Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_failure_has_a_code_for_programs[Need::NotAPeer],
    a_full_cgroup_has_a_code[Need::NotAPeer, Need::Controller("pids")],
    the_text_of_a_log_has_no_data[Need::NotAPeer],
    a_terminal_gets_plain_lines[Need::NotAPeer],
];

const PAGE: &str = include_str!("../../../man/sampan-errors.7");

/// A code, other data of the failure, and how it comes about.
pub(super) struct Row {
    pub(super) code: &'static str,
    pub(super) data: &'static [(&'static str, &'static str)],
    pub(super) provoke: fn(&Sandbox) -> Output,
}

pub(super) const fn row(
    code: &'static str,
    data: &'static [(&'static str, &'static str)],
    provoke: fn(&Sandbox) -> Output,
) -> Row {
    Row {
        code,
        data,
        provoke,
    }
}

const ROWS: &[Row] = &[
    row("usage.invalid", &[("phase", "command-line")], |t| {
        json_log(t).args(["run", "--bundel", "/srv", "web"]).run()
    }),
    row(
        "bundle.not-found",
        &[("path", "/no/bundle"), ("errno", "ENOENT")],
        |t| {
            let call = json_log(t).args(["create", "--bundle", "/no/bundle"]);
            call.arg("web").run()
        },
    ),
    row("bundle.no-config", &[("phase", "config")], |t| {
        let container = t.bundle().container();
        fs::remove_file(container.bundle.join("config.json")).expect("the config");
        create(t, &container)
    }),
    row("config.syntax", &[("phase", "config")], |t| {
        let container = t.bundle().container();
        let text = "{\n  \"ociVersion\": \"1.3.0\"\n  \"root\": {}\n}\n";
        fs::write(container.bundle.join("config.json"), text).expect("the config");
        create(t, &container)
    }),
    row("config.missing", &[("field", "process.args")], |t| {
        refuse(t, t.bundle().remove("/process/args"))
    }),
    row(
        "config.invalid",
        &[("field", "process.rlimits[0].soft"), ("phase", "config")],
        |t| {
            let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 1000}]);
            refuse(t, t.bundle().set("/process/rlimits", limit))
        },
    ),
    row(
        "config.unsupported",
        &[("field", "linux.resources.network.classID")],
        |t| {
            let network = json!({"classID": 1});
            refuse(t, t.bundle().set("/linux/resources/network", network))
        },
    ),
    row("config.namespace-missing", &[("field", "hostname")], |t| {
        let bundle = t.bundle().set("/hostname", json!("web"));
        refuse(t, bundle.without_namespace("uts"))
    }),
    row("container.invalid-id", &[("container", "a/b")], |t| {
        json_log(t).args(["state", "a/b"]).run()
    }),
    row("container.not-found", &[("container", "web")], |t| {
        json_log(t).args(["state", "web"]).run()
    }),
    row("container.incomplete", &[("container", "web")], |t| {
        let directory = t.root.join("web");
        fs::create_dir_all(&directory).expect("the directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("its mode");
        let output = json_log(t).args(["state", "web"]).run();
        fs::remove_dir(&directory).expect("the directory");
        output
    }),
    row("container.exists", &[], |t| {
        running(t, |container| {
            let again = json_log(t).arg("create").arg("--bundle");
            again.arg(&container.bundle).arg(&container.id).run()
        })
    }),
    row("container.not-running", &[], |t| {
        let container = t.bundle().args(&["true"]).container();
        container.create().ok();
        let pid = container.pid();
        container.start().ok();
        reap(pid);
        json_log(t).args(["kill", &container.id, "TERM"]).run()
    }),
    row("container.unseen", &[], |t| {
        running(t, |container| {
            let elsewhere = json_log(t).prefix(["unshare", "--pid", "--fork", "--mount-proc"]);
            elsewhere.args(["state", &container.id]).run()
        })
    }),
    row("container.wrong-status", &[], |t| {
        running(t, |container| {
            json_log(t).args(["start", &container.id]).run()
        })
    }),
    row("state.broken", &[], |t| {
        running(t, |container| {
            let file = t.root.join(&container.id).join("state.json");
            let text = fs::read(&file).expect("the state");
            fs::write(&file, "{}").expect("the state");
            let output = json_log(t).args(["state", &container.id]).run();
            fs::write(&file, text).expect("the state");
            output
        })
    }),
    row("state.untrusted", &[], |t| {
        let set = |mode| {
            fs::set_permissions(&t.root, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        running(t, |container| {
            set(0o777);
            let output = json_log(t).args(["state", &container.id]).run();
            set(0o700);
            output
        })
    }),
    row("state.foreign", &[], |t| {
        let directory = t.root.join("web");
        fs::create_dir_all(&directory).expect("the directory");
        for path in [&t.root, &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
        }
        fs::write(directory.join("main.c"), "").expect("a file");
        let output = json_log(t).args(["delete", "--force", "web"]).run();
        fs::remove_dir_all(&directory).expect("the directory");
        output
    }),
    row(
        "rootfs.not-found",
        &[
            ("field", "root.path"),
            ("syscall", "stat"),
            ("errno", "ENOENT"),
        ],
        |t| refuse(t, t.bundle().set("/root/path", json!("/no/rootfs"))),
    ),
    row("rootfs.invalid", &[("field", "root.path")], |t| {
        refuse(t, t.bundle().set("/root/path", json!("/")))
    }),
    row(
        "mount.source-missing",
        &[
            ("path", "/no/source"),
            ("syscall", "open"),
            ("errno", "ENOENT"),
        ],
        |t| {
            mount(
                t,
                json!({"destination": "/data", "source": "/no/source", "options": ["bind"]}),
            )
        },
    ),
    row(
        "mount.type-unknown",
        &[("path", "/data"), ("phase", "init"), ("errno", "ENODEV")],
        |t| {
            mount(
                t,
                json!({"destination": "/data", "type": "nosuchfs", "source": "x"}),
            )
        },
    ),
    row(
        "mount.option-refused",
        &[("hint", "the kernel says: tmpfs: Unknown parameter 'nosiud'")],
        |t| {
            let options = json!(["nosiud"]);
            mount(
                t,
                json!({"destination": "/data", "type": "tmpfs", "options": options}),
            )
        },
    ),
    row(
        "mount.wrong-kind",
        &[("path", "/etc/file"), ("syscall", "move_mount")],
        |t| {
            mount(
                t,
                json!({"destination": "/etc/file", "source": "/usr", "options": ["bind"]}),
            )
        },
    ),
    row("mount.unsafe-target", &[("phase", "init")], |t| {
        let bundle = t.bundle();
        let link = bundle.rootfs().join("link");
        std::os::unix::fs::symlink("/proc/sys", link).expect("a link");
        let mount = json!({"destination": "/link", "source": "/usr", "options": ["bind"]});
        refuse(t, bundle.mount(mount))
    }),
    row("mount.id-map", &[("errno", "EINVAL")], |t| {
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        mount(
            t,
            json!({"destination": "/data", "source": "/sys/kernel", "options": ["bind"],
                "uidMappings": map, "gidMappings": map}),
        )
    }),
    row("device.failed", &[("path", "/etc/file")], |t| {
        let device = json!([{"path": "/etc/file", "type": "c", "major": 1, "minor": 3}]);
        refuse(
            t,
            t.bundle()
                .file("/etc/file", "")
                .set("/linux/devices", device),
        )
    }),
    row(
        "sysctl.unknown",
        &[("field", "linux.sysctl[\"net.ipv4.ip_fowrard\"]")],
        |t| sysctl(t, "net.ipv4.ip_fowrard", "1"),
    ),
    row("sysctl.failed", &[("errno", "EINVAL")], |t| {
        sysctl(t, "net.ipv4.ip_forward", "yes")
    }),
    row("namespace.not-found", &[("path", "/run/netns/gone")], |t| {
        namespace(t, "/run/netns/gone")
    }),
    row("namespace.invalid", &[], |t| namespace(t, "/etc/passwd")),
    row("network.device-missing", &[("phase", "parent")], |t| {
        refuse(t, t.bundle().set("/linux/netDevices", json!({"gone0": {}})))
    }),
    row("cgroup.in-use", &[("field", "linux.cgroupsPath")], |t| {
        let path = format!("/{}-shared", t.id);
        let bundle = || t.bundle().set("/linux/cgroupsPath", json!(path));
        let first = bundle().args(&["sleep", "1000"]).container();
        first.launch_ok();
        let output = create(t, &bundle().container());
        first.delete_force().ok();
        output
    }),
    row(
        "process.cwd",
        &[("syscall", "chdir"), ("path", "/etc/file")],
        |t| {
            let bundle = t.bundle().file("/etc/file", "");
            refuse(t, bundle.set("/process/cwd", json!("/etc/file")))
        },
    ),
    row(
        "process.user",
        &[("phase", "init"), ("errno", "EINVAL")],
        |t| {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 6}]);
            let bundle = t
                .bundle()
                .push("/linux/namespaces", json!({"type": "user"}));
            let bundle = bundle.set("/linux/uidMappings", map.clone());
            let bundle = bundle.set("/linux/gidMappings", map);
            let container = bundle.args(&["sleep", "1000"]).container();
            container.create().ok();
            let words = ["exec", "--user", "0:7", &container.id, "true"];
            let output = json_log(t).args(words).run();
            container.delete_force().ok();
            output
        },
    ),
    row("process.terminal", &[], |t| {
        refuse(t, t.bundle().set("/process/terminal", json!(true)))
    }),
    row("seccomp.failed", &[], |t| {
        let filter = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"});
        run(t, t.bundle().set("/linux/seccomp", filter))
    }),
    row("seccomp.listener", &[("path", "/no/agent.sock")], |t| {
        let ask = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": ask,
            "listenerPath": "/no/agent.sock"});
        refuse(t, t.bundle().set("/linux/seccomp", filter))
    }),
    row(
        "exec.not-found",
        &[("errno", "ENOENT"), ("phase", "init")],
        |t| {
            let bundle = t
                .bundle()
                .set("/process/env", json!(["PATH=/usr/bin:/bin"]));
            refuse(t, bundle.args(&["ngnix"]))
        },
    ),
    row("exec.not-executable", &[("errno", "EACCES")], |t| {
        refuse(t, t.bundle().file("/etc/file", "").args(&["/etc/file"]))
    }),
    row("exec.wrong-format", &[("errno", "ENOEXEC")], |t| {
        let bundle = program(t, "text");
        run(t, bundle.args(&["/bin/program"]))
    }),
    row("exec.interpreter-missing", &[("errno", "ENOENT")], |t| {
        let bundle = program(t, "#!/usr/bin/python3\n");
        refuse(t, bundle.args(&["/bin/program"]))
    }),
    row(
        "exec.failed",
        &[("phase", "start"), ("errno", "EPERM")],
        |t| {
            let deny = json!([{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}]);
            let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": deny});
            run(t, t.bundle().set("/linux/seccomp", filter))
        },
    ),
    row(
        "hook.failed",
        &[("path", "/bin/false"), ("phase", "hooks")],
        |t| hook(t, json!({"path": "/bin/false"})),
    ),
    row(
        "hook.timed-out",
        &[("field", "hooks.createRuntime[0]")],
        |t| {
            let args = json!(["sleep", "1000"]);
            hook(t, json!({"path": "/bin/sleep", "args": args, "timeout": 1}))
        },
    ),
    row(
        "host.not-found",
        &[("path", "/no/pid"), ("syscall", "open")],
        |t| {
            let container = t.bundle().container();
            let call = json_log(t).args(["create", "--pid-file", "/no/pid"]);
            container.launch(call).finish()
        },
    ),
];

pub(super) fn json_log(t: &Sandbox) -> Call {
    t.runtime().args(["--log-format", "json"])
}

#[track_caller]
fn create(t: &Sandbox, container: &Container) -> Output {
    container.launch(json_log(t).arg("create")).finish()
}

#[track_caller]
fn refuse(t: &Sandbox, bundle: Bundle) -> Output {
    create(t, &bundle.container())
}

#[track_caller]
pub(super) fn run(t: &Sandbox, bundle: Bundle) -> Output {
    bundle.container().launch(json_log(t).arg("run")).finish()
}

fn running<'t>(t: &'t Sandbox, verb: impl FnOnce(&Container<'t>) -> Output) -> Output {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let output = verb(&container);
    container.delete_force().ok();
    output
}

fn program<'t>(t: &'t Sandbox, text: &str) -> Bundle<'t> {
    let bundle = t.bundle().file("/bin/program", text);
    let file = bundle.rootfs().join("bin/program");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("its mode");
    bundle
}

fn mount(t: &Sandbox, mount: Value) -> Output {
    refuse(t, t.bundle().file("/etc/file", "").mount(mount))
}

fn sysctl(t: &Sandbox, name: &str, value: &str) -> Output {
    refuse(t, t.bundle().set("/linux/sysctl", json!({name: value})))
}

fn namespace(t: &Sandbox, path: &str) -> Output {
    let bundle = t.bundle().without_namespace("network");
    let network = json!({"type": "network", "path": path});
    refuse(t, bundle.push("/linux/namespaces", network))
}

fn hook(t: &Sandbox, hook: Value) -> Output {
    refuse(
        t,
        t.bundle().set("/hooks", json!({"createRuntime": [hook]})),
    )
}

/// The example of each code in the page. `BLESS=1` prints those that were seen instead.
pub(super) fn example(code: &str) -> String {
    let entry = PAGE
        .split(".TP\n")
        .find(|entry| entry.starts_with(&format!(".B {code}\n")));
    let entry = entry.unwrap_or_else(|| panic!("{code} is not in the page"));
    let message = entry.split(".IP\n").nth(1).expect("an example");
    message
        .trim_end()
        .replace("\\fI", "")
        .replace("\\fR", "")
        .replace("\\-", "-")
        .replace("\\e", "\\")
}

/// Checks the object of a failure: its code, and its message against the page, where the bundle is
/// /srv/web and the container is `web`.
#[track_caller]
fn has_code(t: &Sandbox, output: &Output, code: &str) -> Value {
    let object: Value = serde_json::from_str(output.stderr.trim())
        .unwrap_or_else(|error| panic!("{code}: {error}\n{output}"));
    is_example(t, object, code)
}

/// Checks an object as [`has_code`] does.
#[track_caller]
pub(super) fn is_example(t: &Sandbox, object: Value, code: &str) -> Value {
    assert_eq!(object["code"], code, "{object}");
    let mut text = object["msg"].as_str().expect("a message").to_owned();
    let directory = t.path("");
    for number in (0..100).rev() {
        let bundle = directory.join(format!("bundle{number}"));
        text = text.replace(&*bundle.to_string_lossy(), "/srv/web");
        text = text.replace(&format!("{}-{number}", t.id), "web");
    }
    text = text.replace(&*t.root.to_string_lossy(), "/run/sampan");
    text = text.replace("/sys/fs/cgroup/unified", "/sys/fs/cgroup");
    if let Some(id) = object["container"].as_str().filter(|id| *id != "a/b") {
        text = text
            .replace(&format!("{}-shared", t.id), "web")
            .replace(id, "web");
    }
    if std::env::var_os("BLESS").is_some() {
        println!("{code}\t{text}");
    } else if code == "exec.wrong-format" {
        // A host that emulates other machines leaves the format to the kernel.
        assert!(example(code).starts_with(&text), "{code}: {text}");
    } else {
        assert_eq!(text, example(code), "{code}: sampan-errors(7)");
    }
    object
}

fn a_failure_has_a_code_for_programs(t: &Sandbox) {
    for row in ROWS {
        let object = has_code(t, &(row.provoke)(t).fails(), row.code);
        for (key, value) in row.data {
            assert_eq!(object[key], *value, "{}: {object}", row.code);
        }
        for key in ["level", "msg", "time"] {
            assert!(object[key].is_string(), "{}: {object}", row.code);
        }
    }
    let blessed = std::env::var_os("BLESS").is_some();
    assert!(!blessed, "the examples for sampan-errors(7) are above");
}

fn a_full_cgroup_has_a_code(t: &Sandbox) {
    let path = format!("/{}-full", t.id);
    let place = crate::host::cgroup2_mount()
        .expect("cgroup2")
        .join(&path[1..]);
    fs::create_dir(&place).expect("a cgroup");
    let set = |controllers| {
        fs::write(place.join("cgroup.subtree_control"), controllers).expect("the controllers");
    };
    set("+pids");
    fs::write(place.join("pids.max"), "0").expect("the limit");
    let below = json!(format!("{path}/one"));
    let output = refuse(t, t.bundle().set("/linux/cgroupsPath", below));
    fs::remove_dir(&place).expect("the cgroup");
    let object: Value = serde_json::from_str(output.stderr.trim()).expect("an object");
    assert_eq!(object["code"], "cgroup.full", "{output}");
}

fn the_text_of_a_log_has_no_data(t: &Sandbox) {
    let output = t.runtime().args(["state", "web"]).run().fails();
    let line = output.stderr.trim_end();
    assert!(line.starts_with("time=\""), "{line}");
    let rest = "\" level=error msg=\"container does not exist: web\"";
    assert!(line.ends_with(rest), "{line}");
}

/// What `state web` prints on a terminal with this environment.
fn on_terminal(t: &Sandbox, call: Call) -> String {
    let (mut master, slave) = console::callers();
    let call = call.arg("--root").arg(&t.root).args(["state", "web"]);
    call.terminal(slave).spawn().finish().exits(1);
    master.wait(t, "\n");
    master.seen
}

fn a_terminal_gets_plain_lines(t: &Sandbox) {
    let text = "error: container does not exist: web\n";
    let coloured = "\x1b[1;31merror:\x1b[0m container does not exist: web\n";
    let call = || t.bare_runtime().env("NO_COLOR", "").env("TERM", "linux");
    assert_eq!(on_terminal(t, call()), coloured);
    assert_eq!(on_terminal(t, call().env("NO_COLOR", "1")), text);
    assert_eq!(on_terminal(t, call().env("TERM", "dumb")), text);
    let logged = call().arg("--log").arg(t.path("log"));
    assert_eq!(on_terminal(t, logged), coloured);
    let log = fs::read_to_string(t.path("log")).expect("the log");
    assert!(log.starts_with("time=\"") && !log.contains('\x1b'), "{log}");
    let json = on_terminal(t, call().args(["--log-format", "json"]));
    assert!(
        json.starts_with("{\"code\":\"container.not-found\""),
        "{json}"
    );
}
