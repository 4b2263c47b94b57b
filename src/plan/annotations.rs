//! All annotations that change what the runtime does, so that `features` can list them.
//!
//! Engines use that list to decide which annotations to accept from a user who may not write
//! configs.
//! Source: runtime-spec 1.3, features.md, "Unsafe annotations in config.json". Those that begin with
//! `run.oci.` are crun's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::Options;
use super::seccomp::record;
use crate::config::Config;
use crate::config::seccomp::Seccomp;
use crate::error::{Code, Error, Result, Warning};

/// `org.systemd.property.NAME`: a property of the container's unit.
pub const UNIT_PROPERTY: &str = "org.systemd.property.";
/// The name of the cgroup inside that of the unit; empty for none.
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The name of a cgroup below that of the container, without limits, in which the process begins.
pub const DELEGATE: &str = "run.oci.delegate-cgroup";
/// The engine that wrote the config.
pub const MANAGER: &str = "io.container.manager";
/// The process keeps the supplementary groups of the runtime's caller.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// `--pidfd-socket`, if the command line has none.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// The mount option that holds `linux.mountLabel`.
pub const CONTEXT_TYPE: &str = "run.oci.mount_context_type";
/// A system call that no architecture has is an error of the seccomp profile.
pub const STRICT_SECCOMP: &str = "run.oci.seccomp_fail_unknown_syscall";
/// Files of the host to which the stdout and the stderr of hooks are appended.
pub const HOOK_STREAMS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];
/// The file in which the runtime records the system calls of the container, as a seccomp profile.
pub const RECORD: &str = "sampan.seccomp.record";
/// CRIU's configuration file for `checkpoint` and `restore`.
pub const CRIU_CONFIG: &str = "org.criu.config";
/// A program that executes the container in place of the kernel.
pub const HANDLER: &str = "run.oci.handler";
/// The same, for WebAssembly.
const WASM: &str = "module.wasm.image/variant";
/// The kind of a Kubernetes container; a sandbox never has a handler.
const KUBERNETES_KIND: &str = "io.kubernetes.cri.container-type";

/// All of them, sorted. One that ends with a dot stands for all annotations that begin with it.
pub const HONOURED: [&str; 14] = [
    MANAGER,
    WASM,
    CRIU_CONFIG,
    UNIT_PROPERTY,
    DELEGATE,
    HANDLER,
    HOOK_STREAMS[1],
    HOOK_STREAMS[0],
    KEEP_GROUPS,
    CONTEXT_TYPE,
    PIDFD_RECEIVER,
    STRICT_SECCOMP,
    SUBGROUP,
    RECORD,
];

/// The values of [`CONTEXT_TYPE`]. mount(8).
const CONTEXT_TYPES: &str = "context, fscontext, defcontext, rootcontext";

/// Refuses what an annotation asks for and this runtime does not have.
///
/// # Errors
/// A handler, or an unknown value.
pub(super) fn check(config: &Config) -> Result<()> {
    if let Some((key, value)) = handler(config) {
        let message = format!("this runtime has no handler {value:?}");
        return Err(refused(key, message)
            .hint("it executes programs for the host's kernel; remove the annotation"));
    }
    for key in HOOK_STREAMS {
        let file = config.annotations.get(key).map_or("", String::as_str);
        if file.contains('\0') || !(file.is_empty() || file.starts_with('/')) {
            return Err(refused(key, format!("{file:?} is not an absolute path")));
        }
    }
    delegated_cgroup(config)?;
    match config.annotations.get(CONTEXT_TYPE) {
        Some(value) if !CONTEXT_TYPES.split(", ").any(|known| known == value) => Err(refused(
            CONTEXT_TYPE,
            format!("{value:?} is none of {CONTEXT_TYPES}"),
        )),
        _ => Ok(()),
    }
}

/// The filter that records, if the annotation or the flag asks for it.
pub(super) fn recording(config: &Config, options: &Options) -> Result<Option<Seccomp>> {
    let by_annotation = config.annotations.get(RECORD);
    let file = match (&options.record, by_annotation) {
        (Some(file), _) => file.clone(),
        (None, Some(file)) if file.contains('\0') || !file.starts_with('/') => {
            let message = format!("{file:?} is not an absolute path");
            return Err(refused(RECORD, message));
        }
        (None, Some(file)) => file.into(),
        (None, None) => return Ok(None),
    };
    if config.linux.seccomp.is_some() {
        let message = "system calls cannot be recorded under another filter";
        return Err(Error::config("linux.seccomp", message)
            .hint("a recording allows every call; remove linux.seccomp for the time"));
    }
    Ok(Some(record::recording(file)))
}

/// A warning for each annotation of crun that has no effect here.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    const MESSAGE: &str = "this runtime does not have it, ignored";
    let keys = config.annotations.keys();
    let ignored =
        keys.filter(|key| key.starts_with("run.oci.") && !HONOURED.contains(&key.as_str()));
    ignored
        .map(|key| refused(key, MESSAGE).code_is(Code::WarningNoEffect))
        .collect()
}

/// The annotation that asks for a handler, and its value.
fn handler(config: &Config) -> Option<(&'static str, &str)> {
    let value = |key| config.annotations.get(key).map(String::as_str);
    if value(KUBERNETES_KIND) == Some("sandbox") {
        return None;
    }
    if let Some(handler) = value(HANDLER).filter(|name| !name.is_empty()) {
        return Some((HANDLER, handler));
    }
    let program = config.process.as_ref().and_then(|it| it.args.first());
    match value(WASM)? {
        "compat" => Some((WASM, "wasm")),
        "compat-smart" if program.is_some_and(|it| is_wasm(it)) => Some((WASM, "wasm")),
        _ => None,
    }
}

fn is_wasm(program: &OsStr) -> bool {
    let ends = |end: &&[u8]| program.as_bytes().ends_with(end);
    [&b".wasm"[..], b".wat"].iter().any(ends)
}

pub(super) fn refused(key: &str, message: impl std::fmt::Display) -> Error {
    Error::config(format!("annotations[{key:?}]"), message)
}

/// The value of [`DELEGATE`].
///
/// # Errors
/// It cannot be the name of a directory.
pub(super) fn delegated_cgroup(config: &Config) -> Result<Option<&str>> {
    cgroup_name(&config.annotations, DELEGATE)
}

/// The cgroup that an annotation names. `None` without the annotation, or if its value is empty.
///
/// # Errors
/// The value cannot be the name of a directory.
pub(super) fn cgroup_name<'a>(
    annotations: &'a BTreeMap<String, String>,
    key: &str,
) -> Result<Option<&'a str>> {
    let name = annotations.get(key).map_or("", String::as_str);
    let is_name = !name.contains(['/', '\0', '\n']) && name.len() <= 255;
    if !is_name || matches!(name, "." | "..") {
        let message = format!("{name:?} is not the name of a cgroup");
        return Err(refused(key, message));
    }
    Ok((!name.is_empty()).then_some(name))
}

/// Whether the container has this annotation, with any value.
pub(super) fn has(config: &Config, key: &str) -> bool {
    config.annotations.contains_key(key)
}

/// The mount option that holds `linux.mountLabel`.
pub(super) fn context_type(config: &Config) -> &str {
    let value = config.annotations.get(CONTEXT_TYPE);
    value.map_or("context", String::as_str)
}
