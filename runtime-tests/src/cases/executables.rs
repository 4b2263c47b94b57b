//! `process.args[0]` that cannot be executed. `create` reports which file is missing or wrong and
//! which file refers to it, with texts that engines turn into an exit status. `start` reports what
//! only execve(2) can detect.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::container::Container;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    missing_by_name_is_refused,
    missing_by_path_is_refused,
    name_without_path_is_looked_up_in_usual_places,
    file_that_is_not_executable_is_refused,
    directory_is_refused,
    empty_name_is_refused,
    special_files_are_refused,
    foreign_architecture_is_named[Need::NotAPeer, NO_EMULATOR],
    damaged_program_is_refused[Need::NotAPeer, NO_EMULATOR],
    missing_elf_interpreter_is_named[Need::NotAPeer],
    missing_script_interpreter_is_named[Need::NotAPeer],
    dos_line_ends_are_named[Need::NotAPeer],
    interpreter_that_is_not_executable_is_named[Need::NotAPeer],
    relative_paths_start_at_the_working_directory,
    text_without_interpreter_is_refused[Need::NotAPeer, NO_EMULATOR],
    interpreter_name_ends_as_in_the_kernel[Need::NotAPeer, NO_EMULATOR],
    scripts_may_interpret_scripts,
    chain_of_interpreters_is_limited[Need::NotAPeer],
    chain_that_ends_nowhere_names_the_last[Need::NotAPeer],
    loop_of_links_is_refused,
    noexec_mount_is_refused,
    permission_is_that_of_the_user,
    unreachable_directory_is_refused,
    error_of_run_is_that_of_create,
    log_has_one_object_with_the_texts_that_engines_match,
    start_reports_a_missing_program[Need::NotAPeer],
    start_reports_a_replaced_program[Need::NotAPeer],
    start_reports_a_missing_interpreter[Need::NotAPeer],
    start_reports_a_filter_that_forbids_execve[Need::NotAPeer],
];

/// A registered emulator may be able to execute anything.
const NO_EMULATOR: Need = Need::Custom("no binfmt_misc format", || {
    let names = fs::read_dir("/proc/sys/fs/binfmt_misc")
        .into_iter()
        .flatten();
    let format = names
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name != "register" && name != "status");
    format.map_or(Ok(()), |name| {
        Err(format!("binfmt_misc has {}", name.display()))
    })
});

/// `create` must fail with all of these texts, and the container must not exist.
#[track_caller]
fn refused(bundle: Bundle, words: &[&str]) {
    let container = bundle.container();
    let output = container.create().exits(1);
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is not in\n{output}");
    }
    container.verb("state").fails_with("does not exist");
}

/// A file in the root filesystem with this content and mode.
#[track_caller]
fn program<'t>(bundle: Bundle<'t>, path: &str, bytes: &[u8], mode: u32) -> Bundle<'t> {
    let file = bundle.rootfs().join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().expect("a parent")).expect("directories of the program");
    fs::write(&file, bytes).expect("the program");
    fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
    bundle
}

/// The first bytes of a 64-bit ELF program for `machine` that needs `interpreter`. elf(5).
fn elf(machine: [u8; 2], interpreter: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0]);
    bytes.extend(machine);
    bytes.extend(1u32.to_le_bytes());
    for word in [0x40_0000u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    // PT_INTERP, readable.
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(4u32.to_le_bytes());
    let length = interpreter.len() as u64 + 1;
    for word in [120, 0x40_0078, 0x40_0078, length, length, 1] {
        bytes.extend(u64::to_le_bytes(word));
    }
    bytes.extend(interpreter.as_bytes());
    bytes.push(0);
    bytes
}

/// The machine that this program was built for.
fn own_machine() -> [u8; 2] {
    let bytes = fs::read("/proc/self/exe").expect("the own program");
    [bytes[18], bytes[19]]
}

fn missing_by_name_is_refused(t: &Sandbox) {
    let bundle = t.bundle().args(&["no-such-tool"]);
    refused(
        bundle,
        &["no-such-tool", "executable file not found in $PATH"],
    );
    let bundle = t
        .bundle()
        .set("/process/env", json!(["PATH="]))
        .args(&["ls"]);
    refused(bundle, &["executable file not found in $PATH"]);
}

fn missing_by_path_is_refused(t: &Sandbox) {
    for path in [
        "/no/such/tool",
        "/bin/no-such-tool",
        "/bin/ls/tool",
        "./no-such-tool",
    ] {
        let container = t.bundle().args(&[path]).container();
        let output = container.create().exits(1);
        let known = ["no such file or directory", "not a directory"];
        let named = known.iter().any(|words| output.stderr.contains(words));
        assert!(named && output.stderr.contains(path), "{output}");
        container.verb("state").fails_with("does not exist");
    }
}

fn name_without_path_is_looked_up_in_usual_places(t: &Sandbox) {
    let bundle = t.bundle().set("/process/env", json!(["A=1"]));
    bundle
        .args(&["echo", "found"])
        .container()
        .run()
        .ok()
        .prints("found");
}

fn file_that_is_not_executable_is_refused(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/tool", b"#!/bin/sh\n", 0o644);
    refused(
        bundle.args(&["/opt/tool"]),
        &["/opt/tool", "permission denied"],
    );
    // A file without execute permission does not hide a later one in PATH, and is reported if there
    // is none.
    let bundle = program(t.bundle(), "/opt/echo", b"#!/bin/sh\n", 0o644)
        .set("/process/env", json!(["PATH=/opt:/bin"]));
    bundle
        .args(&["echo", "second"])
        .container()
        .run()
        .ok()
        .prints("second");
    let bundle = program(t.bundle(), "/opt/tool", b"#!/bin/sh\n", 0o644)
        .set("/process/env", json!(["PATH=/opt:/bin"]));
    let container = bundle.args(&["tool"]).container();
    container.create().exits(1);
}

fn directory_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["/tmp"]).container();
    let output = container.create().exits(1);
    let expected = ["is a directory", "permission denied"];
    assert!(
        expected.iter().any(|words| output.stderr.contains(words)),
        "{output}"
    );
    container.verb("state").fails_with("does not exist");
}

fn empty_name_is_refused(t: &Sandbox) {
    t.bundle().args(&[""]).container().create().exits(1).fails();
    t.bundle()
        .args(&["", "x"])
        .container()
        .create()
        .exits(1)
        .fails();
}

fn special_files_are_refused(t: &Sandbox) {
    refused(t.bundle().args(&["/dev/null"]), &["permission denied"]);
    let bundle = t.bundle();
    let fifo = bundle.rootfs().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_retain(0o755)).expect("mkfifo");
    refused(bundle.args(&["/fifo"]), &["permission denied"]);
}

fn foreign_architecture_is_named(t: &Sandbox) {
    // s390x is not little-endian, but aarch64 is.
    let foreign = if own_machine() == [183, 0] {
        ([62, 0], "x86_64")
    } else {
        ([183, 0], "aarch64")
    };
    let bytes = elf(foreign.0, "/lib/ld.so");
    let bundle = program(t.bundle(), "/opt/tool", &bytes, 0o755).args(&["/opt/tool"]);
    refused(bundle, &["exec format error", "/opt/tool", foreign.1]);
    let mut bytes = elf([0, 22], "/lib/ld.so");
    bytes[5] = 2;
    let bundle = program(t.bundle(), "/opt/tool", &bytes, 0o755).args(&["/opt/tool"]);
    refused(bundle, &["exec format error", "big-endian"]);
}

fn damaged_program_is_refused(t: &Sandbox) {
    for bytes in [&b""[..], b"\x7fEL", b"\0\0\0\0", b"MZ\x90"] {
        let bundle = program(t.bundle(), "/opt/tool", bytes, 0o755).args(&["/opt/tool"]);
        refused(bundle, &["exec format error", "/opt/tool"]);
    }
}

fn missing_elf_interpreter_is_named(t: &Sandbox) {
    let bytes = elf(own_machine(), "/lib64/ld-none.so.7");
    let bundle = program(t.bundle(), "/opt/tool", &bytes, 0o755).args(&["/opt/tool"]);
    let words = [
        "no such file or directory",
        "/lib64/ld-none.so.7",
        "/opt/tool",
    ];
    refused(bundle, &words);
}

fn missing_script_interpreter_is_named(t: &Sandbox) {
    for line in [
        "#!/usr/bin/no-such-perl\n",
        "#! \t/usr/bin/no-such-perl -w\nx",
        "#!/usr/bin/no-such-perl",
    ] {
        let bundle = program(t.bundle(), "/opt/tool", line.as_bytes(), 0o755);
        let words = [
            "no such file or directory",
            "/usr/bin/no-such-perl",
            "/opt/tool",
        ];
        refused(bundle.args(&["/opt/tool"]), &words);
    }
}

fn dos_line_ends_are_named(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/tool", b"#!/bin/sh\r\necho hi\r\n", 0o755);
    let words = [
        "no such file or directory",
        "/bin/sh",
        "/opt/tool",
        "DOS line ends",
    ];
    refused(bundle.args(&["/opt/tool"]), &words);
}

fn interpreter_that_is_not_executable_is_named(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/shell", b"#!/bin/sh\n", 0o644);
    let bundle = program(bundle, "/opt/tool", b"#!/opt/shell\n", 0o755);
    let words = ["permission denied", "/opt/shell", "/opt/tool"];
    refused(bundle.args(&["/opt/tool"]), &words);
    let bundle = program(t.bundle(), "/opt/tool", b"#!/tmp\n", 0o755);
    refused(bundle.args(&["/opt/tool"]), &["permission denied", "/tmp"]);
}

/// The root directory has files of the same names, which cannot be executed.
fn relative_paths_start_at_the_working_directory(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/tool", b"#!./shell\n", 0o755);
    let bundle = program(bundle, "/opt/shell", b"#!/bin/true\n", 0o755);
    let bundle = program(bundle, "/tool", b"text", 0o755);
    let bundle = program(bundle, "/shell", b"text", 0o755);
    let bundle = bundle.set("/process/cwd", json!("/opt")).args(&["./tool"]);
    bundle.container().run().ok();
}

fn text_without_interpreter_is_refused(t: &Sandbox) {
    for text in ["echo hi\n", "#!\n", "#! \n", "#\n"] {
        let bundle = program(t.bundle(), "/opt/tool", text.as_bytes(), 0o755);
        refused(
            bundle.args(&["/opt/tool"]),
            &["exec format error", "/opt/tool"],
        );
    }
}

/// It also ends at a NUL byte, but not where the kernel has stopped reading. fs/binfmt_script.c.
fn interpreter_name_ends_as_in_the_kernel(t: &Sandbox) {
    for text in [
        b"#!/bin/true\0\xff\n".as_slice(),
        b"#! /bin/true \0",
        b"#!/bin/true",
    ] {
        let bundle = program(t.bundle(), "/opt/tool", text, 0o755);
        bundle.args(&["/opt/tool"]).container().run().ok();
    }
    let long = format!("#!/{}\n", "a".repeat(300));
    let bundle = program(t.bundle(), "/opt/tool", long.as_bytes(), 0o755);
    let words = ["exec format error", "/opt/tool"];
    refused(bundle.args(&["/opt/tool"]), &words);
}

/// `count` scripts, each of which is the interpreter of the previous one; `end` interprets the
/// last.
fn chain<'t>(mut bundle: Bundle<'t>, count: usize, end: &str) -> Bundle<'t> {
    for number in 1..=count {
        let next = if number == count {
            end.to_owned()
        } else {
            format!("/opt/s{}", number + 1)
        };
        let text = format!("#!{next}\n");
        bundle = program(bundle, &format!("/opt/s{number}"), text.as_bytes(), 0o755);
    }
    bundle.args(&["/opt/s1"])
}

fn scripts_may_interpret_scripts(t: &Sandbox) {
    for count in [1, 2, 5] {
        chain(t.bundle(), count, "/bin/true").container().run().ok();
    }
}

/// The kernel follows five. fs/exec.c, exec_binprm().
fn chain_of_interpreters_is_limited(t: &Sandbox) {
    let words = ["too many levels of symbolic links", "/opt/s1"];
    refused(chain(t.bundle(), 6, "/bin/true"), &words);
    refused(chain(t.bundle(), 1, "/opt/s1"), &words);
}

fn chain_that_ends_nowhere_names_the_last(t: &Sandbox) {
    let words = ["no such file or directory", "/no/such", "/opt/s3"];
    refused(chain(t.bundle(), 3, "/no/such"), &words);
}

fn loop_of_links_is_refused(t: &Sandbox) {
    let bundle = t.bundle();
    symlink("loop", bundle.rootfs().join("bin/loop")).expect("a link");
    refused(
        bundle.args(&["/bin/loop"]),
        &["too many levels of symbolic links"],
    );
}

fn noexec_mount_is_refused(t: &Sandbox) {
    let source = t.path("tools");
    fs::create_dir(&source).expect("a directory");
    fs::copy(
        t.bundle().rootfs().join("bin/busybox"),
        source.join("busybox"),
    )
    .expect("busybox");
    let mount = json!({"destination": "/tools", "source": source, "options": ["bind", "noexec"]});
    let bundle = t.bundle().mount(mount).args(&["/tools/busybox", "true"]);
    refused(bundle, &["permission denied", "/tools/busybox"]);
}

fn permission_is_that_of_the_user(t: &Sandbox) {
    // mode, owner, user of the process, whether it may execute
    let table = [
        (0o700, 0, 1000, false),
        (0o750, 0, 1000, false),
        (0o701, 0, 1000, true),
        (0o011, 1000, 1000, false),
        (0o001, 1000, 0, true),
        (0o100, 1000, 1000, true),
    ];
    for (mode, owner, user, allowed) in table {
        let bytes = fs::read(t.bundle().rootfs().join("bin/busybox")).expect("busybox");
        let bundle = program(t.bundle(), "/opt/busybox", &bytes, mode);
        let file = bundle.rootfs().join("opt/busybox");
        std::os::unix::fs::chown(&file, Some(owner), Some(owner)).expect("chown");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("chmod");
        let bundle = bundle
            .set("/process/user", json!({"uid": user, "gid": user}))
            .set("/process/capabilities", json!({}))
            .args(&["/opt/busybox", "true"]);
        if allowed {
            bundle.container().run().ok();
        } else {
            refused(bundle, &["permission denied", "/opt/busybox"]);
        }
    }
}

fn unreachable_directory_is_refused(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/tool", b"#!/bin/true\n", 0o755);
    let directory = bundle.rootfs().join("opt");
    fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("chmod");
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = bundle
        .set("/process/user", user)
        .set("/process/capabilities", json!({}))
        .args(&["/opt/tool"]);
    refused(bundle, &["permission denied", "/opt/tool"]);
}

fn error_of_run_is_that_of_create(t: &Sandbox) {
    let container = t.bundle().args(&["no-such-tool"]).container();
    container
        .run()
        .exits(1)
        .fails_with("executable file not found in $PATH");
    container.verb("state").fails_with("does not exist");
}

/// The log's message about a failed `create`: a single object.
#[track_caller]
fn logged(t: &Sandbox, name: &str, container: &Container) -> String {
    let log = t.path(name);
    let flags = ["--log-format", "json", "create"];
    let call = t.runtime().arg("--log").arg(&log).args(flags);
    container.launch(call).finish().exits(1);
    let text = fs::read_to_string(&log).expect("the log");
    let entry: Value = serde_json::from_str(&text).expect("exactly one JSON object");
    entry["msg"].as_str().expect("msg").to_owned()
}

/// Engines search the message: Podman and dockerd exit with 127 for the first group of texts, and
/// with 126 for the second.
fn log_has_one_object_with_the_texts_that_engines_match(t: &Sandbox) {
    let missing = ["executable file not found in", "no such file or directory"];
    let denied = [
        "permission denied",
        "operation not permitted",
        "is a directory",
    ];
    let locked = program(t.bundle(), "/opt/tool", b"#!/bin/sh\n", 0o644);
    let orphan = program(t.bundle(), "/opt/tool", b"#!/no/such\n", 0o755);
    let table = [
        ("name", t.bundle().args(&["no-such-tool"]), true),
        ("path", t.bundle().args(&["/no-such-tool"]), true),
        ("orphan", orphan.args(&["/opt/tool"]), true),
        ("locked", locked.args(&["/opt/tool"]), false),
        ("directory", t.bundle().args(&["/tmp"]), false),
    ];
    for (name, bundle, is_missing) in table {
        let message = logged(t, name, &bundle.container());
        let has = |list: &[&str]| list.iter().any(|words| message.contains(words));
        let found = (has(&missing), has(&denied));
        assert_eq!(found, (is_missing, !is_missing), "{name}: {message}");
    }
}

/// A created container whose program changes before `start`.
#[track_caller]
fn start_fails(bundle: Bundle, change: impl FnOnce(&Path), words: &[&str]) {
    let rootfs = bundle.rootfs();
    let container = bundle.container();
    container.create().ok();
    let pid = container.pid();
    change(&rootfs);
    let output = container.start().exits(1);
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is not in\n{output}");
    }
    crate::container::reap(pid);
    assert_eq!(container.status(), "stopped");
    container.start().fails_with("stopped");
    container.delete().ok();
}

fn tool<'t>(t: &'t Sandbox, text: &str) -> Bundle<'t> {
    program(t.bundle(), "/opt/tool", text.as_bytes(), 0o755).args(&["/opt/tool"])
}

fn start_reports_a_missing_program(t: &Sandbox) {
    let remove = |rootfs: &Path| fs::remove_file(rootfs.join("opt/tool")).expect("unlink");
    let words = ["/opt/tool", "no such file or directory"];
    start_fails(tool(t, "#!/bin/true\n"), remove, &words);
}

fn start_reports_a_replaced_program(t: &Sandbox) {
    let lock = |rootfs: &Path| {
        let mode = Permissions::from_mode(0o644);
        fs::set_permissions(rootfs.join("opt/tool"), mode).expect("chmod");
    };
    let words = ["/opt/tool", "permission denied"];
    start_fails(tool(t, "#!/bin/true\n"), lock, &words);
    let spoil = |rootfs: &Path| fs::write(rootfs.join("opt/tool"), "text").expect("write");
    let words = ["/opt/tool", "exec format error"];
    start_fails(tool(t, "#!/bin/true\n"), spoil, &words);
    let replace = |rootfs: &Path| {
        fs::remove_file(rootfs.join("opt/tool")).expect("unlink");
        fs::create_dir(rootfs.join("opt/tool")).expect("mkdir");
    };
    let words = ["/opt/tool", "is a directory"];
    start_fails(tool(t, "#!/bin/true\n"), replace, &words);
}

fn start_reports_a_missing_interpreter(t: &Sandbox) {
    let bundle = program(t.bundle(), "/opt/shell", b"#!/bin/true\n", 0o755);
    let bundle = program(bundle, "/opt/tool", b"#!/opt/shell\n", 0o755).args(&["/opt/tool"]);
    let remove = |rootfs: &Path| fs::remove_file(rootfs.join("opt/shell")).expect("unlink");
    let words = ["/opt/tool", "/opt/shell", "no such file or directory"];
    start_fails(bundle, remove, &words);
}

fn start_reports_a_filter_that_forbids_execve(t: &Sandbox) {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let bundle = t.bundle().set("/linux/seccomp", filter);
    let words = ["operation not permitted", "seccomp"];
    start_fails(bundle, |_| {}, &words);
}
