//! `checkpoint` and `restore` of memory: in several steps, through a server, when it is used.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::criu::{CRIU, checkpoint, count, images, launch, restore, wait_count};
use super::userns_fs::mapped;
use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Container, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    hundred_megabytes_are_saved_in_advance[CRIU],
    memory_in_a_user_namespace_is_saved_in_advance[CRIU],
    memory_is_saved_by_a_page_server[CRIU],
    page_server_that_does_not_run_is_named[CRIU],
    memory_arrives_when_it_is_used[CRIU],
    restored_memory_leaves_the_images[CRIU],
];

fn holding<'t>(t: &'t Sandbox, megabytes: &str) -> Container<'t> {
    holding_in(t, t.bundle(), megabytes)
}

fn holding_in<'t>(t: &'t Sandbox, bundle: Bundle<'t>, megabytes: &str) -> Container<'t> {
    let bundle = bundle.probe(&["saved", "memory", megabytes]);
    let container = bundle.container();
    launch(t, &container);
    wait_count(t, &container, 1);
    container
}

/// The checksum that the program computes anew with each number.
fn checksum(container: &Container) -> String {
    let text = fs::read_to_string(container.bundle.join("rootfs/count")).expect("count");
    let word = text.split_whitespace().nth(1);
    word.expect("number and checksum").to_owned()
}

/// Waits for a checksum that the program has computed since it was saved.
fn assert_memory(t: &Sandbox, container: &Container, saved: u64, sum: &str) {
    wait_count(t, container, saved + 1);
    assert_eq!(checksum(container), sum, "checksum of the memory");
}

/// What the files of memory in a directory add up to, by `size`.
fn pages(directory: &Path, size: fn(&fs::Metadata) -> u64) -> u64 {
    let entries = fs::read_dir(directory).expect("images");
    let entries = entries.map(|entry| entry.expect("entry"));
    let of_memory = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("pages-")
    });
    of_memory
        .map(|entry| size(&entry.metadata().expect("size")))
        .sum()
}

const MEGABYTE: u64 = 1024 * 1024;

fn hundred_megabytes_are_saved_in_advance(t: &Sandbox) {
    saved_in_advance(t, &holding(t, "100"), 100);
}

/// There the processes read the images of both steps themselves.
fn memory_in_a_user_namespace_is_saved_in_advance(t: &Sandbox) {
    let to_search = fs::Permissions::from_mode(0o711);
    fs::set_permissions(t.path(""), to_search).expect("chmod");
    saved_in_advance(t, &holding_in(t, mapped(t.bundle()), "3"), 3);
}

fn saved_in_advance(t: &Sandbox, container: &Container, megabytes: u64) {
    let sum = checksum(container);
    let pre = t.path("pre");
    let call = t.runtime().args(["checkpoint", "--pre-dump"]);
    let call = call.arg("--image-path").arg(&pre).arg(&container.id);
    call.run().ok();
    wait_count(t, container, count(container));
    checkpoint(t, container, &["--parent-path", "../pre", "--auto-dedup"]);
    let first = pages(&pre, fs::Metadata::len);
    let last = pages(Path::new(&images(t)), fs::Metadata::len);
    assert!(first > megabytes * MEGABYTE, "pre-dump: {first} bytes");
    assert!(last < 2 * MEGABYTE, "dump: {last} bytes");
    let saved = count(container);
    restore(t, container, &[]).ok();
    assert_memory(t, container, saved, &sum);
    container.stop();
    container.delete().ok();
}

fn wait_listening(t: &Sandbox, port: u16) {
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
    t.eventually("the server listens", || {
        let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        table.contains(&listening)
    });
}

/// The program is a static PIE, whose first executable mapping is the vDSO. CRIU's own connection
/// sometimes saves it with `syscall; int3` in place of the vDSO's ELF header, and then it cannot be
/// restored: docs/decisions/page-server.md.
fn memory_is_saved_by_a_page_server(t: &Sandbox) {
    let container = holding(t, "3");
    let sum = checksum(&container);
    let elsewhere = super::criu::directory(t, "elsewhere");
    let port = 2701;
    let call = t
        .call("criu")
        .args(["page-server", "--address", "127.0.0.1"]);
    let call = call.args(["--port", &port.to_string(), "--images-dir"]);
    let server = call.arg(&elsewhere).spawn();
    wait_listening(t, port);
    checkpoint(t, &container, &["--page-server", "127.0.0.1:2701"]);
    server.finish().ok();
    let log = fs::read_to_string(t.path("images/dump.log")).expect("log");
    assert!(log.contains("Reusing ps socket"), "CRIU connects itself");
    let here = pages(Path::new(&images(t)), fs::Metadata::len);
    let there = pages(&elsewhere, fs::Metadata::len);
    assert!(here == 0 && there > 3 * MEGABYTE, "{here}, {there} bytes");
    for entry in fs::read_dir(&elsewhere).expect("images") {
        let entry = entry.expect("entry");
        let to = Path::new(&images(t)).join(entry.file_name());
        fs::rename(entry.path(), to).expect("rename");
    }
    let saved = count(&container);
    restore(t, &container, &[]).ok();
    assert_memory(t, &container, saved, &sum);
    container.stop();
    container.delete().ok();
}

fn page_server_that_does_not_run_is_named(t: &Sandbox) {
    let container = holding(t, "0");
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let call = call.args(["--page-server", "127.0.0.1:2703"]);
    let text = call.arg(&container.id).run().fails().stderr;
    let words = "--page-server: 127.0.0.1:2703: connect: connection refused (criu page-server must";
    assert!(text.contains(words), "{text}");
    wait_count(t, &container, count(&container));
    container.stop();
    container.delete().ok();
}

fn memory_arrives_when_it_is_used(t: &Sandbox) {
    let container = holding(t, "3");
    let sum = checksum(&container);
    let status = t.path("status");
    let pid = container.pid();
    let words = ["--lazy-pages", "--status-fd", "3", "--page-server"];
    let call = t.runtime().arg("checkpoint").args(words);
    let call = call.args(["127.0.0.1:2702", "--image-path", &images(t)]);
    let with_status = ["sh", "-c", "exec 3>\"$0\"; exec \"$@\""];
    let call = call.arg(&container.id).prefix(
        with_status
            .map(str::to_owned)
            .into_iter()
            .chain([status.display().to_string()]),
    );
    let saving = call.spawn();
    t.eventually("CRIU writes a zero", || {
        fs::read(&status).is_ok_and(|bytes| bytes == [0])
    });
    let saved = count(&container);
    let work = super::criu::directory(t, "work");
    let daemon = t.call("criu").args(["lazy-pages", "--page-server"]);
    let daemon = daemon.args(["--address", "127.0.0.1", "--port", "2702"]);
    let daemon = daemon
        .args(["--images-dir", &images(t), "--work-dir"])
        .arg(&work)
        .spawn();
    t.eventually("the daemon listens", || {
        work.join("lazy-pages.socket").exists()
    });
    let copy = container.sibling();
    let work = work.to_str().expect("UTF-8");
    restore(t, &copy, &["--lazy-pages", "--work-path", work]).ok();
    assert_memory(t, &copy, saved, &sum);
    daemon.finish().ok();
    saving.finish().ok();
    reap(pid);
    copy.stop();
    copy.delete().ok();
}

fn restored_memory_leaves_the_images(t: &Sandbox) {
    use std::os::unix::fs::MetadataExt as _;
    let container = holding(t, "3");
    let sum = checksum(&container);
    checkpoint(t, &container, &[]);
    let blocks = |metadata: &fs::Metadata| metadata.blocks() * 512;
    let directory = t.path("images");
    assert!(pages(&directory, blocks) > 3 * MEGABYTE);
    let saved = count(&container);
    restore(t, &container, &["--auto-dedup"]).ok();
    assert_memory(t, &container, saved, &sum);
    let left = pages(&directory, blocks);
    assert!(left < MEGABYTE, "{left} bytes are left");
    container.stop();
    container.delete().ok();
}
