//! Names and values are bytes. Bytes that are not UTF-8 reach the container unchanged, and JSON
//! output shows U+FFFD for them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::json;

use crate::container::Container;
use crate::{Bundle, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_bundle_at_a_path_of_bytes_lives_its_whole_life,
    state_shows_a_path_of_bytes_with_a_replacement,
    a_mount_source_of_the_bundle_keeps_its_bytes,
    arguments_of_exec_keep_their_bytes,
    variables_of_exec_keep_their_bytes,
    a_variable_of_bytes_replaces_one_of_its_name[Need::NotAPeer],
    the_working_directory_of_exec_keeps_its_bytes,
    values_that_must_be_text_are_named[Need::NotAPeer],
];

const BYTES: &[u8] = b"\xff\xfe-\xc3\x28";
/// The bytes in the format of od(1).
const HEX: &str = "ff fe 2d c3 28";

fn bytes() -> &'static OsStr {
    OsStr::from_bytes(BYTES)
}

/// Moves a bundle to a path whose last component is not UTF-8.
fn moved(t: &Sandbox, bundle: Bundle) -> PathBuf {
    let path = t.dir.join(bytes());
    fs::rename(bundle.write(), &path).expect("move the bundle");
    path
}

fn sleeping(t: &Sandbox) -> Container<'_> {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
}

fn a_bundle_at_a_path_of_bytes_lives_its_whole_life(t: &Sandbox) {
    let script = format!(
        "cat >{0}.new; pwd -P >{0}.pwd; mv {0}.new {0}",
        t.path("poststop").display()
    );
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = t
        .bundle()
        .args(&["sleep", "1000"])
        .set("/hooks/poststop", hook);
    let container = t.container(&moved(t, bundle));
    container.launch_ok();
    assert_eq!(container.status(), "running");
    container.exec(&["echo", "inside"]).ok().prints("inside");
    container.verb("pause").ok();
    container.verb("resume").ok();
    let list = t.runtime().args(["list", "--format", "json"]).run().ok();
    assert_eq!(list.json()[0]["id"], json!(container.id));
    t.runtime().arg("list").run().ok();
    container.stop();
    container.delete().ok();
    let state = fs::read(t.path("poststop")).expect("the hook ran");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("strict JSON");
    assert_eq!(state["id"], json!(container.id));
    let directory = fs::read(t.path("poststop.pwd")).expect("the hook's directory");
    assert_eq!(
        directory.trim_ascii_end(),
        container.bundle.as_os_str().as_bytes()
    );
}

fn state_shows_a_path_of_bytes_with_a_replacement(t: &Sandbox) {
    let path = moved(t, t.bundle().args(&["sleep", "1000"]));
    let container = t.container(&path);
    container.launch_ok();
    let shown = path.to_string_lossy().into_owned();
    assert!(shown.contains('\u{fffd}'));
    assert_eq!(container.state()["bundle"], json!(shown));
    let list = t.runtime().args(["list", "--format", "json"]).run().ok();
    assert_eq!(list.json()[0]["bundle"], json!(shown));
}

fn a_mount_source_of_the_bundle_keeps_its_bytes(t: &Sandbox) {
    let bundle = t.bundle().shell("cat /srv/word").mount(json!({
        "destination": "/srv", "type": "bind", "source": "volume", "options": ["rbind"],
    }));
    fs::create_dir(bundle.path.join("volume")).expect("the volume");
    fs::write(bundle.path.join("volume/word"), "found").expect("a file in it");
    let container = t.container(&moved(t, bundle));
    container.run().ok().prints("found");
}

fn arguments_of_exec_keep_their_bytes(t: &Sandbox) {
    let container = sleeping(t);
    let show = "printf %s \"$1\" | od -An -tx1";
    let call = t.runtime().args(["exec", &container.id, "sh", "-c", show]);
    call.arg("sh").arg(bytes()).run().ok().prints(HEX);
}

fn variables_of_exec_keep_their_bytes(t: &Sandbox) {
    let container = sleeping(t);
    let value = |start: &str| {
        let mut value = OsString::from(start);
        value.push(bytes());
        value
    };
    let show = ["sh", "-c", "printf %s \"$WORD\" | od -An -tx1"];
    for flags in [
        vec!["-e".into(), value("WORD=")],
        vec!["--env".into(), value("WORD=")],
        vec![value("--env=WORD=")],
    ] {
        let call = t.runtime().arg("exec").args(flags).arg(&container.id);
        call.args(show).run().ok().prints(HEX);
    }
}

fn a_variable_of_bytes_replaces_one_of_its_name(t: &Sandbox) {
    let container = sleeping(t);
    let name = [BYTES, b"=".as_slice()].concat();
    let one = OsStr::from_bytes(&name).to_owned();
    let mut two = one.clone();
    two.push("last");
    let call = t
        .runtime()
        .arg("exec")
        .arg("-e")
        .arg(&one)
        .arg("-e")
        .arg(&two);
    let output = call
        .arg(&container.id)
        .args(["cat", "/proc/self/environ"])
        .run()
        .ok();
    let name = String::from_utf8_lossy(&name).into_owned();
    let found: Vec<_> = output
        .stdout
        .split('\0')
        .filter(|entry| entry.starts_with(&name))
        .collect();
    assert_eq!(found, [name.clone() + "last"]);
    let call = t.runtime().arg("exec").arg("-e").arg(bytes());
    let output = call.arg(&container.id).arg("true").run();
    output.fails_with("is not NAME=VALUE");
}

fn the_working_directory_of_exec_keeps_its_bytes(t: &Sandbox) {
    let bundle = t.bundle().args(&["sleep", "1000"]);
    fs::create_dir(bundle.rootfs().join(bytes())).expect("the directory");
    let container = bundle.container();
    container.launch_ok();
    let call = t.runtime().arg("exec").arg("--cwd");
    let call = call
        .arg(PathBuf::from("/").join(bytes()))
        .arg(&container.id);
    let show = ["sh", "-c", "printf %s \"${PWD#/}\" | od -An -tx1"];
    call.args(show).run().ok().prints(HEX);
}

/// Values that the kernel or the config accepts as text only are refused, and the error names flag
/// and value.
fn values_that_must_be_text_are_named(t: &Sandbox) {
    let container = sleeping(t);
    for flag in ["--user", "--cap", "--apparmor", "--process-label"] {
        let call = t.runtime().arg("exec").arg(flag).arg(bytes());
        let output = call.arg(&container.id).arg("true").run().fails();
        let shown = "\u{fffd}\u{fffd}-\u{fffd}(";
        assert!(output.stderr.contains(flag), "{output}");
        assert!(output.stderr.contains(shown), "{output}");
    }
    let output = t.runtime().arg("state").arg(bytes()).run();
    output.fails_with("\u{fffd}\u{fffd}-\u{fffd}(");
}
