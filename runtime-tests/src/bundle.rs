//! A bundle: a root filesystem of busybox and a `config.json` that cases change.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::container::Container;
use crate::sandbox::Sandbox;

/// A bundle under construction, until [`Bundle::container`] or [`Bundle::write`].
pub struct Bundle<'t> {
    sandbox: &'t Sandbox,
    /// The bundle's directory.
    pub path: PathBuf,
    /// The future content of `config.json`.
    pub config: Value,
}

impl<'t> Bundle<'t> {
    pub(crate) fn new(sandbox: &'t Sandbox, path: PathBuf) -> Self {
        make_rootfs(&path.join("rootfs"), &sandbox.template());
        Self {
            sandbox,
            path,
            config: default_config(&sandbox.id),
        }
    }

    /// The root filesystem's directory on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Sets `process.args`.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Makes the process `sh -c SCRIPT`.
    #[must_use]
    pub fn shell(self, script: &str) -> Self {
        self.args(&["sh", "-c", script])
    }

    /// Sets the value at a JSON pointer, such as `/process/user/uid`. Missing objects are created.
    #[must_use]
    #[track_caller]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        *slot(&mut self.config, pointer) = value;
        self
    }

    /// Appends to the array at a JSON pointer. A missing array is created.
    #[must_use]
    #[track_caller]
    pub fn push(mut self, pointer: &str, value: Value) -> Self {
        let array = slot(&mut self.config, pointer);
        if array.is_null() {
            *array = json!([]);
        }
        array
            .as_array_mut()
            .expect("push: the pointer names an array")
            .push(value);
        self
    }

    /// Removes the property at a JSON pointer, which must exist.
    #[must_use]
    #[track_caller]
    pub fn remove(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let parent = self
            .config
            .pointer_mut(parent)
            .and_then(Value::as_object_mut);
        parent
            .and_then(|parent| parent.remove(key))
            .expect("remove: the property is there");
        self
    }

    /// Changes the config in any way.
    #[must_use]
    pub fn patch(mut self, alter: impl FnOnce(&mut Value)) -> Self {
        alter(&mut self.config);
        self
    }

    /// Drops a namespace from the list: the container keeps the runtime's own.
    #[must_use]
    pub fn without_namespace(self, kind: &str) -> Self {
        self.patch(|config| {
            let list = config["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces");
            list.retain(|namespace| namespace["type"] != kind);
        })
    }

    /// Adds a mount: `.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))`.
    #[must_use]
    pub fn mount(self, mount: Value) -> Self {
        self.push("/mounts", mount)
    }

    /// Writes a file into the root filesystem. Missing directories are created.
    #[must_use]
    #[track_caller]
    pub fn file(self, path: &str, content: &str) -> Self {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories of the file");
        fs::write(path, content).expect("file in the rootfs");
        self
    }

    /// Writes an executable shell script into the root filesystem.
    #[must_use]
    #[track_caller]
    pub fn script(self, path: &str, content: &str) -> Self {
        let bundle = self.file(path, &format!("#!/bin/sh\n{content}\n"));
        let file = bundle.rootfs().join(path.trim_start_matches('/'));
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("mode of the script");
        bundle
    }

    /// Makes the process a probe of `crate::probe`, which is this program itself.
    #[must_use]
    pub fn probe(self, words: &[&str]) -> Self {
        fs::copy("/proc/self/exe", self.rootfs().join("probe")).expect("copy this program");
        let mut args = vec!["/probe", "--probe"];
        args.extend(words);
        self.host_libraries().args(&args)
    }

    /// Bind-mounts the host directories that a dynamically linked program of the host needs.
    #[must_use]
    pub fn host_libraries(self) -> Self {
        let directories = ["/lib", "/lib64", "/usr/lib"].into_iter();
        let existing = directories.filter(|path| Path::new(path).exists());
        existing.fold(self, |bundle, path| {
            // Root of a user namespace may not be allowed to make them.
            let target = bundle.rootfs().join(path.trim_start_matches('/'));
            fs::create_dir_all(target).expect("mount point");
            let options = json!(["rbind", "ro"]);
            bundle.mount(
                json!({"destination": path, "source": path, "type": "none", "options": options}),
            )
        })
    }

    /// Writes `config.json` and returns the bundle's directory.
    #[track_caller]
    pub fn write(self) -> PathBuf {
        write_config(&self.path, &self.config);
        self.path
    }

    /// Writes `config.json` and returns a container with its own id, which is not created yet.
    #[track_caller]
    pub fn container(self) -> Container<'t> {
        let sandbox = self.sandbox;
        sandbox.container(&self.write())
    }
}

/// Writes a bundle's `config.json`.
#[track_caller]
pub fn write_config(bundle: &Path, config: &Value) {
    let text = serde_json::to_string_pretty(config).expect("serialise");
    fs::write(bundle.join("config.json"), text).expect("write config.json");
}

/// The value that a JSON pointer refers to. Missing objects are created.
#[track_caller]
fn slot<'v>(mut value: &'v mut Value, pointer: &str) -> &'v mut Value {
    assert!(
        pointer.starts_with('/'),
        "{pointer:?} is not a JSON pointer"
    );
    for key in pointer[1..].split('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        value = match value {
            Value::Array(items) => {
                let index: usize = key.parse().expect("an index into the array");
                items.get_mut(index).expect("an item of the array")
            }
            other => &mut other[key],
        };
    }
    value
}

/// The config that cases start from: every namespace but user and time, no terminal, no limits.
fn default_config(test_id: &str) -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_MKNOD"
    ]);
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "testbox",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", format!("RUNTIME_TEST={test_id}")],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": namespaces.map(|kind| json!({"type": kind})),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    })
}

/// Creates a root filesystem: busybox with a link for each applet, and a few files in `/etc`.
fn make_rootfs(rootfs: &Path, template: &Path) {
    for directory in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var",
    ] {
        fs::create_dir_all(rootfs.join(directory)).expect("directory of the rootfs");
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("/tmp");
    for (link, target) in [
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        ("sbin", "bin"),
    ] {
        symlink(target, rootfs.join(link)).expect("link in the rootfs");
    }
    fs::hard_link(template.join("busybox"), rootfs.join("bin/busybox")).expect("busybox");
    let applets = fs::read_to_string(template.join("applets")).expect("list of applets");
    for applet in applets.lines().filter(|name| *name != "busybox") {
        symlink("busybox", rootfs.join("bin").join(applet)).expect("link to busybox");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n";
    fs::write(rootfs.join("etc/passwd"), passwd).expect("/etc/passwd");
    fs::write(
        rootfs.join("etc/group"),
        "root:x:0:\ntty:x:5:\nuser:x:1000:\n",
    )
    .expect("/etc/group");
}

/// Creates what all root filesystems share: a copy of busybox and the list of its applets.
pub fn make_template(directory: &Path) -> Result<(), String> {
    let busybox = std::env::var("BUSYBOX").unwrap_or("/bin/busybox".into());
    let bytes = fs::read(&busybox)
        .map_err(|error| format!("{busybox}: {error} (install busybox-static or set BUSYBOX)"))?;
    // The root filesystem has no ELF interpreter for a dynamically linked busybox.
    if bytes
        .windows(10)
        .any(|window| window == b"/ld-linux-" || window == b"/ld-musl-x")
    {
        return Err(format!(
            "{busybox} is not static (install busybox-static or set BUSYBOX)"
        ));
    }
    let list = std::process::Command::new(&busybox).arg("--list").output();
    let list = list.map_err(|error| format!("{busybox} --list: {error}"))?;
    let copy = directory.join("busybox");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&copy, bytes))
        .and_then(|()| fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::write(directory.join("applets"), list.stdout))
        .map_err(|error| format!("{}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_makes_objects_and_indexes_arrays() {
        let mut value = json!({"mounts": [{"destination": "/proc"}]});
        *slot(&mut value, "/mounts/0/type") = json!("proc");
        *slot(&mut value, "/linux/resources/memory/limit") = json!(1);
        *slot(&mut value, "/annotations/a~1b") = json!("c");
        let expected = json!({
            "mounts": [{"destination": "/proc", "type": "proc"}],
            "linux": {"resources": {"memory": {"limit": 1}}},
            "annotations": {"a/b": "c"},
        });
        assert_eq!(value, expected);
    }
}
