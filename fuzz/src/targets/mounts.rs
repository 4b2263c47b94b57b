//! Mount options: from strings to plans, compared with the meaning of each option.
//!
//! Input is lines. A mount consists of its type, its source, its destination and one option per
//! line; an empty line ends the mount.

use std::path::Path;
use std::sync::OnceLock;

use sampan::config::{Config, Mount, Propagation};
use sampan::{plan, spec};
use serde_json::{Value, json};

use super::{BUNDLE, Scenario, config, scenarios};
use crate::case::Case;
use crate::{Form, Target, check_config_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "mounts",
    run,
    seeds,
    form: Form::Lines,
    words: WORDS,
    longest: 1 << 10,
    changes: 8_000,
};

const WORDS: &str = "
    bind rbind tmpfs proc sysfs cgroup cgroup2 mqueue devpts overlay / /proc /proc/1 /sys
    /sys/fs/cgroup /dev /dev/pts /dev/shm /a /a/.. a ro rw nosuid suid nodev dev noexec exec
    nodiratime diratime nosymfollow symfollow noatime atime relatime norelatime strictatime
    nostrictatime rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnodiratime rdiratime
    rnosymfollow rsymfollow rnoatime ratime rrelatime rnorelatime rstrictatime rnostrictatime
    sync async dirsync mand nomand lazytime nolazytime iversion noiversion silent loud private
    shared slave unbindable rprivate rshared rslave runbindable defaults remount tmpcopyup idmap
    ridmap idmap=0 size=64k mode=755 uid=0 gid=5 newinstance ptmxmode=0666 nsdelegate
";

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = Case::all()
        .iter()
        .filter_map(|case| case.config["mounts"].as_array().map(|mounts| lines(mounts)))
        .collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

fn lines(mounts: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for mount in mounts {
        for key in ["type", "source", "destination"] {
            out.push(mount[key].as_str().unwrap_or_default());
        }
        let options = mount["options"].as_array().into_iter().flatten();
        out.extend(options.filter_map(Value::as_str));
        out.push("");
    }
    out.join("\n").into_bytes()
}

/// The mounts in the form of a config.
fn document(text: &str) -> Value {
    let mut lines = text.split('\n').peekable();
    let mut mounts = Vec::new();
    while lines.peek().is_some() {
        let mut part = || lines.next().unwrap_or_default();
        let (fstype, source, destination) = (part(), part(), part());
        let options: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let mut mount = json!({ "destination": destination, "options": options });
        for (key, value) in [("type", fstype), ("source", source)] {
            if !value.is_empty() {
                mount[key] = value.into();
            }
        }
        mounts.push(mount);
    }
    Value::Array(mounts)
}

/// The containers that the mounts are added to: a config without mounts, and the host.
fn containers() -> &'static [(Value, &'static Scenario)] {
    static ALL: OnceLock<Vec<(Value, &'static Scenario)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let [root, _, rootless, nested, ..] = scenarios() else {
            return Vec::new();
        };
        let places = [
            ("minimal", root),
            ("minimal", rootless),
            ("namespaces-new", root),
            ("minimal", nested),
        ];
        let cases = Case::all();
        let config = |name: &str| {
            let case = cases.iter().find(|case| case.name == name);
            let mut config = case.expect("a case of this name").config.clone();
            config["mounts"] = json!([]);
            config
        };
        let place = |(name, scenario)| (config(name), scenario);
        places.map(place).into()
    })
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mounts = document(&text);
    for (container, scenario) in containers() {
        let without = read(container).expect("the config of a case");
        add(&without, &mounts, scenario);
        let mut config = container.clone();
        config["mounts"] = mounts.clone();
        match read(&config) {
            Ok(config) => {
                config.mounts.iter().for_each(check_meaning);
                match plan::build(&config, &scenario.host, &scenario.options) {
                    Ok(plan) => config::check(&plan),
                    Err(error) => check_config_error(&error),
                }
            }
            Err(error) => check_config_error(&error),
        }
    }
}

fn read(config: &Value) -> sampan::error::Result<Config> {
    spec::config(config.to_string().as_bytes(), Path::new(BUNDLE))
}

/// As `mounts add` and `mounts remove` read them.
fn add(config: &Config, mounts: &Value, scenario: &Scenario) {
    let text = mounts.to_string();
    let program = plan::Program::Awaited;
    let added = spec::mounts(text.as_bytes(), Path::new(BUNDLE))
        .and_then(|(mounts, _)| plan::add_mounts(config.clone(), mounts, &scenario.host, program));
    let removed = spec::mount_points(text.as_bytes())
        .and_then(|(points, _)| plan::remove_mounts(config, &points, &scenario.host, program));
    for plan in [added, removed] {
        match plan {
            Ok(plan) => config::check(&plan),
            Err(error) => check_config_error(&error),
        }
    }
}

/// A flag with the options that set and clear it. mount(8).
const FLAGS: [(u64, &str, &str); 6] = [
    (libc::MOUNT_ATTR_RDONLY, "ro", "rw"),
    (libc::MOUNT_ATTR_NOSUID, "nosuid", "suid"),
    (libc::MOUNT_ATTR_NODEV, "nodev", "dev"),
    (libc::MOUNT_ATTR_NOEXEC, "noexec", "exec"),
    (libc::MOUNT_ATTR_NODIRATIME, "nodiratime", "diratime"),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"),
];

/// The last option about a flag must win, for the mount and for the tree below it. Propagation must
/// follow the order of its options, and an unknown option must go to the file system.
fn check_meaning(mount: &Mount) {
    let words = &mount.options;
    for (flag, on, off) in FLAGS {
        for (attrs, prefix) in [(&mount.attrs, ""), (&mount.recursive_attrs, "r")] {
            let value = |word: &String| {
                let word = word.strip_prefix(prefix)?;
                (word == on || word == off).then_some(word == on)
            };
            let last = words.iter().rev().find_map(value);
            let (set, clear) = (attrs.set & flag != 0, attrs.clear & flag != 0);
            let expected = (last == Some(true), last == Some(false));
            assert_eq!((set, clear), expected, "{prefix}{on} in {words:?}");
        }
    }
    let propagation = |word: &String| {
        let (name, recursive) = match word.strip_prefix('r') {
            Some(name) => (name, true),
            None => (word.as_str(), false),
        };
        let flag = match name {
            "private" => libc::MS_PRIVATE,
            "shared" => libc::MS_SHARED,
            "slave" => libc::MS_SLAVE,
            "unbindable" => libc::MS_UNBINDABLE,
            _ => return None,
        };
        Some(Propagation { flag, recursive })
    };
    let expected: Vec<_> = words.iter().filter_map(propagation).collect();
    assert_eq!(mount.propagation, expected, "{words:?}");
    if mount.bind.is_none() {
        let known = sampan::config::mounts::option_words();
        let is_data = |word: &&String| !word.is_empty() && !known.contains(word);
        let data: Vec<_> = words.iter().filter(is_data).map(String::as_str).collect();
        assert_eq!(mount.data, data.join(","), "{words:?}");
    }
}
