//! The bundles, and the directory of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use runtime_tests::Bundle;
use runtime_tests::bundle::write_config;
use serde_json::{Value, json};

use super::CANARY_FILE;
use super::attack::{Decoy, Pair, STORE, fill, own, stored};
use crate::world::World;

/// The kind of a place's containers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// /dev is a tmpfs.
    Usual,
    /// /dev is a directory of the root filesystem, and the root is read-only.
    PlainDev,
    /// A user namespace, in which devices are bind-mounted.
    UserNamespace,
}

pub const VARIANTS: [Variant; 3] = [Variant::Usual, Variant::PlainDev, Variant::UserNamespace];

/// The host user that is root in the user namespace.
const MAPPED: u32 = 100_000;

/// The directories that are created again for each round.
const DIRECTORIES: &[&str] = &[
    "proc", "sys", "dev", "etc", "data", "mnt", "work", "hidden", "frozen", "other", "tmp",
    "nothing",
];

/// A bundle and its surroundings.
pub struct Place {
    pub variant: Variant,
    pub bundle: PathBuf,
    /// The input of `mounts add`.
    pub more_mounts: PathBuf,
    rootfs: PathBuf,
    config: Value,
    canary: PathBuf,
    before: Vec<String>,
    program: PathBuf,
}

impl Place {
    pub fn new(world: &World, variant: Variant) -> Self {
        let sandbox = &world.sandbox;
        let (canary, volume) = (sandbox.path("canary"), sandbox.path("volume"));
        let program = sandbox.path("chaos");
        if !program.exists() {
            make_host(&canary, &volume);
            fs::copy("/proc/self/exe", &program).expect("copy this program");
        }
        let bundle = configured(sandbox.bundle(), variant, &volume);
        let rootfs = bundle.rootfs();
        fs::copy("/proc/self/exe", rootfs.join("check")).expect("copy this program");
        let config = bundle.config.clone();
        let path = bundle.write();
        let more_mounts = path.join("more.json");
        let more = json!([
            {"destination": "/mnt/new", "type": "tmpfs", "source": "more", "options": ["noexec", "size=64k"]},
            {"destination": "/other/new", "type": "bind", "source": volume, "options": ["rbind", "ro", "nosuid"]},
        ]);
        fs::write(&more_mounts, more.to_string()).expect("the list of mounts");
        Self {
            variant,
            bundle: path,
            more_mounts,
            rootfs,
            config,
            before: listing(&canary),
            canary,
            program,
        }
    }

    pub fn dev_is_a_directory(&self) -> bool {
        self.variant == Variant::PlainDev
    }

    fn owner(&self) -> Option<u32> {
        (self.variant == Variant::UserNamespace).then_some(MAPPED)
    }

    /// Creates the directories of the root filesystem in their original state.
    pub fn reset(&self) {
        let _ = fs::remove_dir_all(self.rootfs.join(STORE));
        for name in DIRECTORIES {
            let path = self.rootfs.join(name);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
            if *name == "nothing" {
                continue;
            }
            fs::create_dir(&path).expect("a directory of the root filesystem");
            fill(&path, name);
            if self.dev_is_a_directory() && ["mnt", "other"].contains(name) {
                // The root is read-only, so nothing can be created later.
                fs::create_dir(path.join("new")).expect("a mount point");
            }
            if let Some(owner) = self.owner() {
                own(&path, owner);
            }
        }
    }

    pub fn pair(&self, target: &'static str, decoy: Decoy) -> Pair {
        Pair::new(&self.rootfs, &self.canary, target, decoy, self.owner())
    }

    /// Exchanges in a hook of the runtime: after the mounts and before the masks.
    pub fn exchange_in_hook(&self, target: &str) {
        let path = |path: PathBuf| path.display().to_string();
        let args = [
            "chaos".to_owned(),
            "exchange".to_owned(),
            path(self.rootfs.join(target)),
            path(stored(&self.rootfs, target)),
        ];
        let mut config = self.config.clone();
        config["hooks"] = json!({"createRuntime": [{"path": self.program, "args": args}]});
        write_config(&self.bundle, &config);
    }

    pub fn no_hook(&self) {
        write_config(&self.bundle, &self.config);
    }

    /// A description of the differences.
    pub fn canary_has_changed(&self) -> Option<String> {
        let now = listing(&self.canary);
        (now != self.before)
            .then(|| format!("{}\n\nwas\n\n{}", now.join("\n"), self.before.join("\n")))
    }
}

/// A directory of the host that must not change, and a volume.
fn make_host(canary: &Path, volume: &Path) {
    for name in ["pts", "shm", "sys/kernel", "a/b", "new", "dir"] {
        fs::create_dir_all(canary.join(name)).expect("a directory of the host");
    }
    for name in [
        CANARY_FILE,
        "null",
        "zero",
        "ptmx",
        "console",
        "file",
        "secret",
        "kcore",
        "keys",
        "sys/kernel/hostname",
    ] {
        fs::write(canary.join(name), "the host's\n").expect("a file of the host");
    }
    fs::create_dir(volume).expect("a volume");
    fs::write(volume.join("file"), "in the volume").expect("a file in the volume");
}

/// Names, types, modes, owners and contents of a directory and below it.
fn listing(directory: &Path) -> Vec<String> {
    let mut lines = vec![line(directory)];
    for entry in fs::read_dir(directory).expect("read a directory").flatten() {
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            lines.extend(listing(&path));
        } else {
            lines.push(line(&path));
        }
    }
    lines.sort();
    lines
}

fn line(path: &Path) -> String {
    let data = fs::symlink_metadata(path).expect("lstat");
    let content = if data.is_file() {
        fs::read(path).unwrap_or_default()
    } else {
        Vec::new()
    };
    let content = String::from_utf8_lossy(&content);
    let mode = data.permissions().mode();
    format!(
        "{} {mode:o} {}:{} {content:?}",
        path.display(),
        data.uid(),
        data.gid()
    )
}

fn configured<'t>(bundle: Bundle<'t>, variant: Variant, volume: &Path) -> Bundle<'t> {
    let bind = |destination: &str, source: PathBuf| json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]});
    let tmpfs = |destination: &str| json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "size=64k"]});
    let bundle = bundle
        .args(&["/check", "inside", "stay"])
        .mount(bind("/data", volume.to_owned()))
        .mount(bind("/etc/file", volume.join("file")))
        .mount(tmpfs("/mnt/a"))
        .mount(tmpfs("/mnt/a/b"))
        .push("/linux/maskedPaths", json!("/hidden"))
        .push("/linux/maskedPaths", json!("/etc/secret"))
        .push("/linux/readonlyPaths", json!("/frozen"))
        .set("/process/cwd", json!("/work/dir"));
    match variant {
        Variant::Usual => bundle,
        Variant::PlainDev => bundle.set("/root/readonly", json!(true)).patch(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| {
                mount["destination"] != "/dev" && mount["destination"] != "/dev/mqueue"
            });
        }),
        Variant::UserNamespace => {
            let map = json!([{"containerID": 0, "hostID": MAPPED, "size": 65536}]);
            let bundle = bundle
                .push("/linux/namespaces", json!({"type": "user"}))
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map);
            for path in [bundle.path.clone(), bundle.rootfs()] {
                own(&path, MAPPED);
            }
            bundle
        }
    }
}
