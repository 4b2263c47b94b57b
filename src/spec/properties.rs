//! Every property of the specification's schema, to name those of a document that are none.
//! Source: runtime-spec 1.3, schema/config-schema.json and what it includes for Linux.

use serde_json::{Map, Value};

use super::locate;
use crate::error::{Code, Error, Warning};
use crate::spelling;

/// All objects that have named properties, and their properties. In the path of an object `[]` stands
/// for any index and `*` for any key. A property with other values than objects, or whose keys are
/// free, is only listed in its own object. One text has nothing to relocate at the start.
const OBJECTS: &str = "\
: ociVersion root mounts process hostname domainname hooks annotations linux vm windows solaris
    zos freebsd
root: path readonly
mounts[]: destination type source options uidMappings gidMappings
mounts[].uidMappings[]: containerID hostID size
mounts[].gidMappings[]: containerID hostID size
process: terminal consoleSize user args commandLine env cwd capabilities rlimits noNewPrivileges
    oomScoreAdj apparmorProfile selinuxLabel ioPriority scheduler execCPUAffinity
process.consoleSize: height width
process.user: uid gid umask additionalGids username
process.capabilities: bounding permitted effective inheritable ambient
process.rlimits[]: type soft hard
process.ioPriority: class priority
process.scheduler: policy nice priority flags runtime deadline period
process.execCPUAffinity: initial final
hooks: prestart createRuntime createContainer startContainer poststart poststop
hooks.prestart[]: path args env timeout
hooks.createRuntime[]: path args env timeout
hooks.createContainer[]: path args env timeout
hooks.startContainer[]: path args env timeout
hooks.poststart[]: path args env timeout
hooks.poststop[]: path args env timeout
linux: namespaces uidMappings gidMappings timeOffsets devices netDevices cgroupsPath resources
    rootfsPropagation seccomp sysctl maskedPaths readonlyPaths mountLabel intelRdt memoryPolicy
    personality
linux.namespaces[]: type path
linux.uidMappings[]: containerID hostID size
linux.gidMappings[]: containerID hostID size
linux.timeOffsets.*: secs nanosecs
linux.devices[]: path type major minor fileMode uid gid
linux.netDevices.*: name
linux.seccomp: defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata
    syscalls
linux.seccomp.syscalls[]: names action errnoRet args
linux.seccomp.syscalls[].args[]: index value valueTwo op
linux.intelRdt: closID schemata l3CacheSchema memBwSchema enableMonitoring enableCMT enableMBM
linux.memoryPolicy: mode nodes flags
linux.personality: domain flags
linux.resources: devices memory cpu pids blockIO hugepageLimits network rdma unified
linux.resources.devices[]: allow type major minor access
linux.resources.memory: limit reservation swap kernel kernelTCP swappiness disableOOMKiller
    useHierarchy checkBeforeUpdate
linux.resources.cpu: shares quota burst period realtimeRuntime realtimePeriod cpus mems idle
linux.resources.pids: limit
linux.resources.blockIO: weight leafWeight weightDevice throttleReadBpsDevice
    throttleWriteBpsDevice throttleReadIOPSDevice throttleWriteIOPSDevice
linux.resources.blockIO.weightDevice[]: major minor weight leafWeight
linux.resources.blockIO.throttleReadBpsDevice[]: major minor rate
linux.resources.blockIO.throttleWriteBpsDevice[]: major minor rate
linux.resources.blockIO.throttleReadIOPSDevice[]: major minor rate
linux.resources.blockIO.throttleWriteIOPSDevice[]: major minor rate
linux.resources.hugepageLimits[]: pageSize limit
linux.resources.network: classID priorities
linux.resources.network.priorities[]: name priority
linux.resources.rdma.*: hcaHandles hcaObjects
";

/// Each object of the schema, with the names of its properties.
pub fn objects() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    // A line that begins with a blank continues the one before.
    let mut lines = OBJECTS.lines().peekable();
    std::iter::from_fn(move || {
        let (object, names) = lines.next()?.split_once(':')?;
        let mut all: Vec<_> = names.split_whitespace().collect();
        while let Some(more) = lines.next_if(|line| line.starts_with(' ')) {
            all.extend(more.split_whitespace());
        }
        Some((object, all))
    })
}

/// Properties of the schema that the parser does not even read, with the reason.
pub const UNREAD: &[(&str, &str)] = &[
    ("process.user.username", "for another platform, ignored"),
    (
        "linux.intelRdt.enableCMT",
        "deprecated, ignored; enableMonitoring replaces it",
    ),
    (
        "linux.intelRdt.enableMBM",
        "deprecated, ignored; enableMonitoring replaces it",
    ),
];

/// The properties of a document that are ignored without another warning. `at` is
/// the place of the document in the config, such as `process` for the file of `exec`.
///
/// It parses the document again, so it is for `explain` and for the debug log.
pub fn ignored(json: &[u8], at: &str) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(document) = super::tree(json) {
        walk(&document, at, at, &mut found);
    }
    found
}

/// Visits a value whose place is `path`, and `pattern` among [`objects`].
fn walk(value: &Value, pattern: &str, path: &str, found: &mut Vec<Warning>) {
    match value {
        Value::Array(elements) => {
            let pattern = format!("{pattern}[]");
            for (index, element) in elements.iter().enumerate() {
                walk(element, &pattern, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(members) => walk_object(members, pattern, path, found),
        _ => {}
    }
}

fn walk_object(members: &Map<String, Value>, pattern: &str, path: &str, found: &mut Vec<Warning>) {
    let named = names(pattern);
    let any = format!("{pattern}.*");
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let path = locate::join(path, name);
        let Some(named) = &named else {
            walk(value, &any, &path, found);
            continue;
        };
        let child = locate::join(pattern, name);
        match UNREAD.iter().find(|(property, _)| *property == child) {
            Some((_, reason)) => found.push(Error::no_effect(path, reason)),
            None if named.contains(&name.as_str()) => walk(value, &child, &path, found),
            None => found.push(unknown(path, nearest(pattern, named, name))),
        }
    }
}

fn unknown(path: String, nearest: Option<String>) -> Warning {
    let nearest = nearest.map(|known| format!("; the nearest known is {known}"));
    let message = format!("unknown, ignored{}", nearest.unwrap_or_default());
    Error::config(path, message).code_is(Code::WarningUnknownProperty)
}

/// The properties of the object at `pattern`, if it is one with named properties.
fn names(pattern: &str) -> Option<Vec<&'static str>> {
    objects()
        .find(|(object, _)| *object == pattern)
        .map(|(_, names)| names)
}

/// The property that was probably meant: one of the same object with nearly the same name, or one of
/// another object with the same name.
fn nearest(pattern: &str, named: &[&str], name: &str) -> Option<String> {
    if let Some(known) = spelling::nearest(name, named.iter().copied()) {
        return Some(locate::join(pattern, known));
    }
    objects().find_map(|(object, known)| {
        let same = known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))?;
        Some(locate::join(object, same))
    })
}

/// A document with only this property: `mounts[]` is `{"mounts": [VALUE]}`, and `rdma.*` is
/// `{"rdma": {"x": VALUE}}`.
#[cfg(test)]
pub(super) fn document_with(property: &str, value: &str) -> String {
    let mut text = value.to_owned();
    for name in property.rsplit('.') {
        let plain = name.trim_end_matches("[]");
        if plain.len() < name.len() {
            text = format!("[{text}]");
        }
        text = format!("{{{:?}: {text}}}", plain.replace('*', "x"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::texts;

    fn all() -> impl Iterator<Item = String> {
        objects().flat_map(|(object, names)| {
            names.into_iter().map(move |name| match object {
                "" => name.to_owned(),
                object => format!("{object}.{name}"),
            })
        })
    }

    #[test]
    fn no_property_of_the_schema_is_ignored_without_a_word() {
        for property in all() {
            // A value of a type that no property has. A missing limit of huge pages is reported
            // before the type of the size.
            let wrong = if property.ends_with(".pageSize") {
                r#"[[[[7]]]], "limit": 1"#
            } else {
                "[[[[7]]]]"
            };
            let text = document_with(&property, wrong);
            let path = property.replace("[]", "[0]").replace('*', "x");
            let words = match crate::spec::config(text.as_bytes(), Path::new("/b")) {
                Err(error) => format!("{error:#}"),
                Ok(config) => texts(&config.warnings).join("\n"),
            };
            // The sections of other platforms and commandLine are only looked for.
            let foreign = [
                "windows",
                "solaris",
                "zos",
                "freebsd",
                "vm",
                "process.commandLine",
            ];
            let said = words.contains(&format!("{path}: "))
                || words.contains(&format!("{path}["))
                || texts(&ignored(text.as_bytes(), ""))
                    .iter()
                    .any(|it| it.starts_with(&path))
                || foreign.contains(&property.as_str());
            assert!(said, "{property}: {words}");
        }
    }

    #[test]
    fn unknown_properties_are_named_with_the_nearest_known_one() {
        let json = br#"{"ociVersion": "1.3.0", "root": {"path": "r", "readOnly": true},
            "resources": {}, "x-note": null, "note": {"a": 1},
            "process": {"user": {"userName": "a", "username": "b"}, "evn": ["A=1"]},
            "linux": {"namespcaes": [], "netDevices": {"eth0": {"nam": "a"}},
                "seccomp": {"syscalls": [{"names": ["a"], "comment": "c"}]},
                "sysctl": {"net.x": "1"}, "resources": {"unified": {"a.b": "c"}}}}"#;
        let expected = [
            "root.readOnly: unknown, ignored; the nearest known is root.readonly",
            "resources: unknown, ignored; the nearest known is linux.resources",
            "note: unknown, ignored",
            "process.user.userName: unknown, ignored; the nearest known is process.user.username",
            "process.user.username: for another platform, ignored",
            "process.evn: unknown, ignored; the nearest known is process.env",
            "linux.namespcaes: unknown, ignored; the nearest known is linux.namespaces",
            "linux.netDevices.eth0.nam: unknown, ignored; the nearest known is linux.netDevices.*.name",
            "linux.seccomp.syscalls[0].comment: unknown, ignored",
        ];
        let mut found = texts(&ignored(json, ""));
        let mut expected: Vec<_> = expected.map(str::to_owned).into();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let process = ignored(br#"{"cwd": "/", "argv": []}"#, "process");
        assert_eq!(
            texts(&process),
            ["process.argv: unknown, ignored; the nearest known is process.args"]
        );
    }
}
