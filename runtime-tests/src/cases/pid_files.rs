//! `--pid-file` at an existing path: a file that is not regular is written to and kept.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chown, mkfifo};
use serde_json::json;

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    device_stays_a_device[Need::NotAPeer],
    fifo_is_written_to[Need::NotAPeer],
    link_to_a_stream_stays_a_link[Need::NotAPeer],
    fifo_without_a_reader_is_refused[Need::NotAPeer],
    fifo_of_another_user_is_replaced[Need::NotAPeer],
    socket_is_refused[Need::NotAPeer],
    disk_and_directory_are_refused[Need::NotAPeer],
    missing_directory_is_found_before_a_hook_runs[Need::NotAPeer],
    exec_leaves_devices_and_fifos_alone[Need::NotAPeer],
];

fn flag(file: &Path) -> [&str; 2] {
    ["--pid-file", file.to_str().expect("UTF-8")]
}

/// Another node with the numbers of /dev/null.
fn null(t: &Sandbox, name: &str) -> PathBuf {
    let file = t.path(name);
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&file, SFlag::S_IFCHR, mode, makedev(1, 3)).expect("mknod");
    file
}

fn is_null(file: &Path) -> bool {
    let found = fs::symlink_metadata(file).expect("the device");
    found.file_type().is_char_device() && found.rdev() == makedev(1, 3)
}

/// A FIFO and its reader, which does not block.
fn fifo(t: &Sandbox, name: &str) -> (PathBuf, File) {
    let file = t.path(name);
    mkfifo(&file, Mode::from_bits_truncate(0o600)).expect("mkfifo");
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let reader = options.open(&file).expect("the reader");
    (file, reader)
}

fn read(mut reader: File) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("what was written");
    text
}

fn device_stays_a_device(t: &Sandbox) {
    let device = null(t, "null");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create_with(&flag(&device)).ok();
    assert!(is_null(&device));
    container.delete_force().ok();
    let link = t.path("link");
    symlink(&device, &link).expect("symlink");
    container.create_with(&flag(&link)).ok();
    assert!(is_null(&device) && fs::symlink_metadata(&link).expect("the link").is_symlink());
}

fn fifo_is_written_to(t: &Sandbox) {
    let (file, reader) = fifo(t, "fifo");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create_with(&flag(&file)).ok();
    let kind = fs::symlink_metadata(&file).expect("the FIFO").file_type();
    assert!(kind.is_fifo());
    assert_eq!(read(reader), container.pid().to_string());
}

/// Like /dev/stdout, whatever standard output is.
fn link_to_a_stream_stays_a_link(t: &Sandbox) {
    let link = t.path("stdout");
    symlink("/proc/self/fd/1", &link).expect("symlink");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let output = container.create_with(&flag(&link)).ok();
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert_eq!(output.stdout, container.pid().to_string());
}

fn fifo_without_a_reader_is_refused(t: &Sandbox) {
    let (file, reader) = fifo(t, "fifo");
    drop(reader);
    let container = t.bundle().container();
    let output = container.create_with(&flag(&file));
    output.fails_with("no process has the FIFO open for reading");
    container.verb("state").fails_with("does not exist");
}

/// As a link of another user in a directory that is open to all.
fn fifo_of_another_user_is_replaced(t: &Sandbox) {
    let (file, reader) = fifo(t, "fifo");
    chown(&file, Some(1000.into()), None).expect("chown");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create_with(&flag(&file)).ok();
    let found = fs::symlink_metadata(&file).expect("the file");
    assert!(found.is_file() && found.uid() == 0);
    assert_eq!(read(reader), "");
}

fn socket_is_refused(t: &Sandbox) {
    let file = t.path("socket");
    let _server = std::os::unix::net::UnixListener::bind(&file).expect("bind");
    let output = t.bundle().container().create_with(&flag(&file));
    output.fails_with("it must be a file, a FIFO or a character device");
    assert!(file.exists());
}

fn disk_and_directory_are_refused(t: &Sandbox) {
    let disk = t.path("disk");
    let mode = Mode::from_bits_truncate(0o600);
    // No driver has this number, so nothing can be written.
    mknod(&disk, SFlag::S_IFBLK, mode, makedev(241, 7)).expect("mknod");
    let directory = t.path("directory");
    fs::create_dir(&directory).expect("mkdir");
    let container = t.bundle().container();
    for file in [disk, directory] {
        let output = container.create_with(&flag(&file));
        output.fails_with(file.to_str().expect("UTF-8"));
        assert!(file.exists());
        container.verb("state").fails_with("does not exist");
    }
}

fn missing_directory_is_found_before_a_hook_runs(t: &Sandbox) {
    let script = format!(": >{}", t.path("ran").display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let container = t.bundle().set("/hooks/createRuntime", hook).container();
    let output = container.create_with(&flag(&t.path("no/such/pid")));
    output.fails_with("--pid-file");
    assert!(!t.path("ran").exists());
}

fn exec_leaves_devices_and_fifos_alone(t: &Sandbox) {
    let device = null(t, "null");
    let (file, reader) = fifo(t, "fifo");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    for file in [&device, &file] {
        let flags = [&["--detach"][..], &flag(file)].concat();
        container.exec_with(&flags, &["sleep", "1000"]).ok();
    }
    assert!(is_null(&device));
    assert!(read(reader).parse::<i32>().is_ok_and(|pid| pid > 0));
}
