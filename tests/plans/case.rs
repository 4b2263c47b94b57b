//! A case: the content of its file, and the resulting plan or error.
//!
//! `cases/NAME.json` has `about` (what the case shows), `config` or `base` (another config:
//! `minimal`, `default`, `rootless` or the name of a case), `set`, `remove` and `files` (changes by
//! JSON pointer; `files` reads the value from a file of the repository), `host` and `options`. With
//! `add`, the plan is the one for adding these mounts to the container.

use std::path::{Path, PathBuf};

use sampan::config::default::default_config;
use sampan::config::seccomp::Arch;
use sampan::error::Result;
use sampan::host::{CgroupHost, Host};
use sampan::plan::{self, Options, Plan, ProcessOptions, Program};
use sampan::spec;
use serde_json::Value;

pub const BUNDLE: &str = "/bundle";

pub struct Case {
    pub name: String,
    pub config: Value,
    pub host: Host,
    pub options: Options,
    /// Mounts that are added to the existing container.
    add: Option<Value>,
}

impl Case {
    /// Every case, sorted by name.
    pub fn all() -> Vec<Self> {
        names("json").iter().map(|name| Self::read(name)).collect()
    }

    fn read(name: &str) -> Self {
        let file = read_json(&directory().join(format!("{name}.json")));
        let about = file["about"].as_str().unwrap_or_default();
        assert!(!about.is_empty(), "{name} has no \"about\"");
        Self {
            name: name.to_owned(),
            config: config(&file),
            host: host(file["host"].as_str().expect("a host")),
            options: options(&file["options"]),
            add: file.get("add").cloned(),
        }
    }

    pub fn plan(&self) -> Result<Plan> {
        match &self.add {
            None => plan(&self.config, &self.host, &self.options),
            Some(mounts) => {
                let program = self.options.process.program;
                add_mounts(&self.config, mounts, &self.host, program)
            }
        }
    }

    /// The text to compare: the plan as `explain` prints it, or the error.
    pub fn text(&self) -> String {
        match self.plan() {
            Ok(plan) => plan.text(),
            Err(error) => format!("error    {error}\n"),
        }
    }

    pub fn golden(&self) -> PathBuf {
        directory().join(format!("{}.txt", self.name))
    }
}

/// Parses a config and plans it, as `create` does.
pub fn plan(config: &Value, host: &Host, options: &Options) -> Result<Plan> {
    let config = spec::config(config.to_string().as_bytes(), Path::new(BUNDLE))?;
    plan::build(&config, host, options)
}

/// Plans to add mounts, as `mounts add` does.
fn add_mounts(config: &Value, mounts: &Value, host: &Host, program: Program) -> Result<Plan> {
    let bundle = Path::new(BUNDLE);
    let config = spec::config(config.to_string().as_bytes(), bundle)?;
    let (mounts, _) = spec::mounts(mounts.to_string().as_bytes(), bundle)?;
    plan::add_mounts(config, mounts, host, program)
}

/// The root of the repository. A package in a directory below the root uses this file too.
fn repository() -> &'static Path {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|path| path.join("tests/plans/cases").is_dir());
    root.expect("the repository")
}

fn directory() -> PathBuf {
    repository().join("tests/plans/cases")
}

/// The names of the files with this extension, sorted.
fn names(extension: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory())
        .expect("the cases")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Golden texts whose case no longer exists.
pub fn orphans() -> Vec<String> {
    let cases = names("json");
    let mut texts = names("txt");
    texts.retain(|name| !cases.contains(name));
    texts
}

fn read_json(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn config(case: &Value) -> Value {
    let repository = repository();
    let mut config = match case["base"].as_str() {
        None => case["config"].clone(),
        Some("minimal") => read_json(&repository.join("tests/plans/minimal.json")),
        Some("default") => serde_json::from_str(&default_config(None)).unwrap(),
        Some("rootless") => serde_json::from_str(&default_config(Some((1000, 1000)))).unwrap(),
        Some(other) => config(&read_json(&directory().join(format!("{other}.json")))),
    };
    assert!(config.is_object(), "a case needs config or base");
    let members = |key: &str| case[key].as_object().cloned().unwrap_or_default();
    for (pointer, value) in members("set") {
        set(&mut config, &pointer, value);
    }
    for (pointer, file) in members("files") {
        let path = repository.join(file.as_str().expect("a file's path"));
        set(&mut config, &pointer, read_json(&path));
    }
    for pointer in case["remove"].as_array().into_iter().flatten() {
        let key = pointer.as_str().unwrap().trim_start_matches('/');
        let removed = config.as_object_mut().unwrap().remove(key);
        assert!(removed.is_some(), "nothing at {pointer}");
    }
    config
}

/// Sets the value at a JSON pointer. Creates missing objects on the way.
fn set(config: &mut Value, pointer: &str, value: Value) {
    let keys = pointer.strip_prefix('/').expect("a pointer").split('/');
    *keys.fold(config, |place, key| &mut place[key]) = value;
}

fn options(case: &Value) -> Options {
    let flag = |name: &str| case[name].as_bool().unwrap_or_default();
    let number = |name: &str| case[name].as_u64().unwrap_or_default() as u32;
    Options {
        id: "ship".to_owned(),
        no_pivot: flag("no_pivot"),
        no_cgroup: flag("no_cgroup"),
        systemd: flag("systemd"),
        notify: case["notify"].as_str().map(PathBuf::from),
        record: case["record"].as_str().map(PathBuf::from),
        process: ProcessOptions {
            no_new_keyring: flag("no_new_keyring"),
            preserved_fds: number("preserved_fds"),
            listen_fds: number("listen_fds"),
            program: if flag("before_start") {
                Program::Awaited
            } else {
                Program::Executed
            },
        },
    }
}

/// A fixed host, so that a plan depends only on the case.
pub fn host(name: &str) -> Host {
    let cgroup = |mount: &str, controllers: &[&str], own: &str| {
        Some(CgroupHost {
            mount: PathBuf::from(mount),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            own: own.to_owned(),
        })
    };
    let all = [
        "cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc",
    ];
    let unified = Host {
        kernel: (6, 12),
        euid: 0,
        egid: 0,
        in_user_namespace: false,
        last_capability: 40,
        capabilities: u64::MAX,
        cgroup: cgroup("/sys/fs/cgroup", &all, "/system.slice/engine.service"),
        apparmor: false,
        selinux: false,
        arch: Arch::X86_64,
    };
    match name {
        "unified" => unified,
        "apparmor" => Host {
            apparmor: true,
            ..unified
        },
        "hybrid" => Host {
            cgroup: cgroup("/sys/fs/cgroup/unified", &[], "/"),
            ..unified
        },
        "none" => Host {
            cgroup: None,
            ..unified
        },
        "rootless" => Host {
            euid: 1000,
            egid: 1000,
            cgroup: cgroup(
                "/sys/fs/cgroup",
                &all,
                "/user.slice/user-1000.slice/session-1.scope",
            ),
            ..unified
        },
        // Root of a user namespace, as when an unprivileged podman calls its runtime.
        "nested" => Host {
            euid: 0,
            egid: 0,
            in_user_namespace: true,
            ..host("rootless")
        },
        other => panic!("no host {other}"),
    }
}
