//! Loads a [`Config`] from the bytes of `config.json`. There is no other loader.
//!
//! Most files are parsed once, directly into oci-spec's types. A file that these types cannot
//! represent, or would misread, is parsed again into a tree of JSON values. On this slow path
//! unknown capability names become warnings, and errors name the path of the invalid value.

mod locate;
pub(crate) mod objects;
pub mod properties;
mod repair;
mod schemas;
mod update;

use std::path::Path;

use oci_spec::runtime as oci;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{self, Config, Mount, MountPoint, Process, Resources};
use crate::error::{Code, Error, Result, Warning};
use crate::json;

pub use crate::config::default::default_config;
pub use repair::remove;
pub(crate) use repair::retain;
pub use schemas::schemas;
pub use update::{Update, check_saved, update};

/// The file's name in a bundle.
pub const CONFIG_FILE: &str = "config.json";

/// Parses and checks the text of `config.json` for the bundle at the absolute path `bundle`.
///
/// # Errors
/// The text is not JSON (with line and column), or a property is invalid (with its path).
pub fn config(json: &[u8], bundle: &Path) -> Result<Config> {
    let (spec, mut warnings) = parse::<config::Document>(json)?;
    let mut config = Config::new(spec, bundle)?;
    warnings.append(&mut config.warnings);
    config.warnings = warnings;
    Ok(config)
}

/// Parses and checks the text of the file for `exec --process`, which completes it by the process
/// of the `container`. Also returns the warnings.
///
/// # Errors
/// As [`config()`].
pub fn process(json: &[u8], container: Option<&Process>) -> Result<(Process, Vec<Warning>)> {
    let (process, mut warnings) = parse::<oci::Process>(json)?;
    let process = match container {
        Some(container) => Process::in_container(&process, container, &mut warnings)?,
        None => Process::new(&process, &mut warnings)?,
    };
    Ok((process, warnings))
}

/// Parses and checks the text of the file for `update --resources`, which is the value of
/// `linux.resources`. Also returns the warnings.
///
/// # Errors
/// As [`config()`].
pub fn resources(json: &[u8]) -> Result<(Resources, Vec<Warning>)> {
    let (resources, mut warnings) = parse::<oci::LinuxResources>(json)?;
    let resources = Resources::new(&resources, &mut warnings)?;
    Ok((resources, warnings))
}

/// Checks the text of the file for `update --resources`. Returns the warnings.
///
/// # Errors
/// As [`resources`], except that a value may depend on one that the container has.
fn check_request(json: &[u8]) -> Result<Vec<Warning>> {
    let (resources, mut warnings) = parse::<oci::LinuxResources>(json)?;
    Resources::check_request(&resources, &mut warnings)?;
    Ok(warnings)
}

/// Parses and checks the text of the file for `mounts add`, which is the value of `mounts`, for the
/// bundle at the absolute path `bundle`. Also returns the warnings.
///
/// # Errors
/// As [`config()`].
pub fn mounts(json: &[u8], bundle: &Path) -> Result<(Vec<Mount>, Vec<Warning>)> {
    let (mounts, mut warnings) = parse::<Vec<oci::Mount>>(json)?;
    let mounts = config::mounts::list(&mounts, bundle, &mut warnings)?;
    Ok((mounts, warnings))
}

/// Parses the destinations in the text of the file for `mounts remove`. Also returns the warnings.
///
/// # Errors
/// As [`config()`].
pub fn mount_points(json: &[u8]) -> Result<(Vec<MountPoint>, Vec<Warning>)> {
    let (mounts, mut warnings) = parse::<Vec<oci::Mount>>(json)?;
    let points = config::mounts::points(&mounts, &mut warnings)?;
    Ok((points, warnings))
}

/// A document that can be loaded.
trait Document: DeserializeOwned {
    /// The path of the document in the config. It precedes the paths within the document.
    const FIELD: &'static str;
    /// The JSON pointer to its `process`.
    const PROCESS: Option<&'static str>;
    /// The JSON pointer to its `resources`.
    const RESOURCES: Option<&'static str>;
    /// The JSON pointer to the rules of its seccomp filter.
    const SYSCALLS: Option<&'static str> = None;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources>;
}

impl Document for config::Document {
    const FIELD: &'static str = "";
    const PROCESS: Option<&'static str> = Some("/process");
    const RESOURCES: Option<&'static str> = Some("/linux/resources");
    const SYSCALLS: Option<&'static str> = Some("/linux/seccomp/syscalls");

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        self.linux.as_mut()?.resources_mut().as_mut()
    }
}

impl Document for oci::Process {
    const FIELD: &'static str = "process";
    const PROCESS: Option<&'static str> = Some("");
    const RESOURCES: Option<&'static str> = None;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        None
    }
}

impl Document for oci::LinuxResources {
    const FIELD: &'static str = "linux.resources";
    const PROCESS: Option<&'static str> = None;
    const RESOURCES: Option<&'static str> = Some("");

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        Some(self)
    }
}

impl Document for oci::LinuxIntelRdt {
    const FIELD: &'static str = "linux.intelRdt";
    const PROCESS: Option<&'static str> = None;
    const RESOURCES: Option<&'static str> = None;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        None
    }
}

impl Document for Vec<oci::Mount> {
    const FIELD: &'static str = "mounts";
    const PROCESS: Option<&'static str> = None;
    const RESOURCES: Option<&'static str> = None;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        None
    }
}

fn parse<T: Document>(json: &[u8]) -> Result<(T, Vec<Warning>)> {
    // Both paths read from a `&str`, so that serde's generic code is compiled only once.
    if let Ok(text) = std::str::from_utf8(json)
        && !repair::odd_capability(text)
        && let Ok(mut document) = objects::read::<T>(text)
        && document
            .resources()
            .is_none_or(|resources| !has_zero_limit(resources))
    {
        return Ok((document, Vec::new()));
    }
    parse_slowly(json)
}

/// The document as a tree of JSON values. `None` if the text is not JSON.
pub fn tree(json: &[u8]) -> Option<Value> {
    // From a `&str`, as everything else here, so that serde's generic code is compiled only once.
    serde_json::from_str(&repair::text(json)).ok()
}

/// oci-spec reads an absent limit as 0, but 0 is a real limit. Only the slow path tells them apart.
fn has_zero_limit(resources: &oci::LinuxResources) -> bool {
    let hugepages = resources.hugepage_limits().iter().flatten();
    resources.pids().is_some_and(|pids| pids.limit() == 0)
        || hugepages.into_iter().any(|hugepage| hugepage.limit() == 0)
}

fn parse_slowly<T: Document>(json: &[u8]) -> Result<(T, Vec<Warning>)> {
    let text = repair::text(json);
    let mut value: Value = serde_json::from_str(&text).map_err(|error| syntax(&error))?;
    let mut warnings = Vec::new();
    repair::drop_nulls(&mut value);
    if let Some(process) = T::PROCESS.and_then(|at| value.pointer_mut(at)) {
        repair::process(process, &mut warnings)?;
    }
    if let Some(resources) = T::RESOURCES.and_then(|at| value.pointer_mut(at)) {
        repair::resources(resources)?;
    }
    if let Some(syscalls) = T::SYSCALLS.and_then(|at| value.pointer_mut(at)) {
        repair::syscalls(syscalls);
    }
    // Values of the tree have no positions. An error in its text does have one.
    let text = json::text(&value);
    match objects::read::<T>(&text) {
        Ok(document) => Ok((document, warnings)),
        Err(error) => Err(typed::<T>(&text, &error)),
    }
}

/// The message of serde without its position, with names of JSON types in place of serde's.
///
/// The text has to be edited, because there is no data for it. serde_json's `classify` says only that
/// the data is wrong. An error type of our own would get the type that was found as a value, but the
/// type that was expected is a `serde::de::Expected`, which can only be printed: `struct Linux`. It
/// would also lose the position, and a deserializer that keeps the path instead would compile all
/// derived code of oci-spec a second time, or slow down the first look.
fn message(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    let mut text = text.replacen("invalid type: sequence", "invalid type: array", 1);
    let serde_names = ["struct ", "enum ", "a map", "a sequence"];
    let json_names = ["an object", "a string", "an object", "an array"];
    for (serde, json) in serde_names.iter().zip(json_names) {
        if let Some(at) = text.rfind(&format!("expected {serde}")) {
            text.truncate(at + "expected ".len());
            text += json;
        }
    }
    text
}

fn syntax(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    Error::new(format!("line {line}, column {column}: {}", message(error)))
        .code_is(Code::ConfigSyntax)
}

/// The type of the JSON value at the start of `text`, and a short one itself.
fn found(text: &str) -> String {
    let end = text.find([',', ']', '}']).unwrap_or(text.len());
    let kind = match text.as_bytes().first() {
        Some(b'[') => return "array".to_owned(),
        Some(b't' | b'f') => "boolean",
        _ => "number",
    };
    format!("{kind} `{}`", &text[..end])
}

fn typed<T: Document>(text: &str, error: &serde_json::Error) -> Error {
    // The text has one line, and columns count bytes. The column of an unexpected bracket is the
    // one before it.
    let column = error.column();
    let bracket = matches!(text.as_bytes().get(column), Some(b'[' | b'{'));
    let within = locate::path_at(text, column + usize::from(bracket));
    let path = match (T::FIELD, within.as_str()) {
        (field, "") => field.to_owned(),
        ("", within) => within.to_owned(),
        (field, within) if within.starts_with('[') => format!("{field}{within}"),
        (field, within) => format!("{field}.{within}"),
    };
    let message = match message(error) {
        // What serde_json says where the text has to begin with a quotation mark.
        message if message == "expected value" => {
            format!(
                "invalid type: {}, expected a string",
                found(&text[column.saturating_sub(1)..])
            )
        }
        message => message,
    };
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match (missing, path.as_str()) {
        (Some(name), path) => Error::missing(locate::join(path, name)),
        (None, "") => {
            Error::new(format!("line 1, the document: {message}")).code_is(Code::ConfigInvalid)
        }
        (None, path) => Error::config(path, message),
    }
}
