//! The container's first process, which inspects its environment: `chaos inside`.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::statfs::statfs;
use serde_json::{Value, json};

/// The string at the end of the complete output.
pub const END: &str = "looked";

/// Files that must not be writable. Nothing is written: the result of open(2) is enough.
pub const CLOSED: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/vm/drop_caches",
    "/proc/irq/default_smp_affinity",
    "/proc/../proc/sys/kernel/core_pattern",
    "/../proc/sys/kernel/core_pattern",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/uevent_helper",
    "/../sys/kernel/uevent_helper",
];

/// Files that must be empty, or belong to the image.
pub const MASKED: &[&str] = &[
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/../proc/kcore",
    "/../proc/keys",
    "/../proc/timer_list",
];

/// The devices of every container.
pub const DEVICES: &[(&str, u64, u64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Directories in which no file can be created.
pub const READONLY: &[&str] = &["/data", "/frozen"];

/// Prints one line of JSON, and the string that shows that it is complete.
pub fn main(stay: bool) -> ExitCode {
    let found = json!({
        "magic": of(&["/proc", "/sys", "/dev"], magic),
        "closed": of(CLOSED, opens_for_writing),
        "masked": of(MASKED, |path| json!(length(path))),
        "devices": DEVICES.iter().map(|(path, _, _)| (path.to_string(), device(path))).collect::<serde_json::Map<_, _>>(),
        "readonly": of(READONLY, makes_file),
        "hidden": fs::read_dir("/hidden").map_or(-1, |entries| entries.count() as i64),
        "shm": makes_file("/dev/shm"),
        "cwd": std::env::current_dir().map_or_else(|error| error.to_string(), |path| path.display().to_string()),
        "canary": sees_canary(),
    });
    println!("{found}");
    println!("{END}");
    if stay {
        loop {
            std::thread::park();
        }
    }
    ExitCode::SUCCESS
}

fn of(paths: &[&str], look: impl Fn(&str) -> Value) -> Value {
    paths
        .iter()
        .map(|path| ((*path).to_owned(), look(path)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The type of the file system, as a number.
fn magic(path: &str) -> Value {
    statfs(path).map_or(Value::Null, |stat| json!(stat.filesystem_type().0))
}

fn opens_for_writing(path: &str) -> Value {
    json!(errno(OpenOptions::new().write(true).open(path)))
}

fn makes_file(directory: &str) -> Value {
    let path = Path::new(directory).join("made-by-the-container");
    let made = File::create_new(&path);
    let _ = fs::remove_file(&path);
    json!(errno(made))
}

/// The errno, or 0 for a success.
fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// The number of bytes that can be read, up to a few; -1 if the file cannot be opened.
fn length(path: &str) -> i64 {
    let Ok(mut file) = File::open(path) else {
        return -1;
    };
    let mut bytes = [0; 64];
    file.read(&mut bytes).map_or(-1, |length| length as i64)
}

fn device(path: &str) -> Value {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_char_device() => {
            json!([libc::major(found.rdev()), libc::minor(found.rdev())])
        }
        _ => Value::Null,
    }
}

/// Whether any of the directories shows the host's directory.
fn sees_canary() -> bool {
    let directories = [
        "/", "/proc", "/sys", "/dev", "/etc", "/data", "/mnt", "/mnt/a", "/work", "/hidden",
        "/frozen", "/other", ".",
    ];
    directories
        .iter()
        .any(|directory| Path::new(directory).join(super::CANARY_FILE).exists())
}
