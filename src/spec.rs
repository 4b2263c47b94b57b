//! From the bytes of `config.json` to [`Config`]: the only loader.
//!
//! The usual file is parsed once, straight into oci-spec's types. Only what those types cannot
//! take, or would take for something else, goes the slow way through a tree: there unknown
//! capability names become warnings and a wrong value gets its path.

mod locate;
mod objects;
mod repair;
mod update;

use std::path::Path;

use oci_spec::runtime as oci;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{self, Config, Mount, MountPoint, Process, Resources};
use crate::error::{Error, Kind, Result};

use objects::Objects;

pub use crate::config::default::default_config;
pub use update::{Update, update};

/// The file's name in a bundle.
pub const CONFIG_FILE: &str = "config.json";

/// The text of `config.json`, checked for the bundle at the absolute path `bundle`.
///
/// # Errors
/// The text is not JSON (with line and column) or a property is wrong (with its path).
pub fn config(json: &[u8], bundle: &Path) -> Result<Config> {
    let (spec, mut warnings) = parse::<config::Document>(json)?;
    let mut config = Config::new(spec, bundle)?;
    warnings.append(&mut config.warnings);
    config.warnings = warnings;
    Ok(config)
}

/// The text of a `process.json`, as `exec --process` takes it, checked. Warnings come second.
///
/// # Errors
/// As [`config()`].
pub fn process(json: &[u8]) -> Result<(Process, Vec<String>)> {
    let (process, mut warnings) = parse::<oci::Process>(json)?;
    let process = Process::new(&process, &mut warnings)?;
    Ok((process, warnings))
}

/// The text of the file that `update --resources` takes, checked: `linux.resources` alone.
/// Warnings come second.
///
/// # Errors
/// As [`config()`].
pub fn resources(json: &[u8]) -> Result<(Resources, Vec<String>)> {
    let (resources, mut warnings) = parse::<oci::LinuxResources>(json)?;
    let resources = Resources::new(&resources, &mut warnings)?;
    Ok((resources, warnings))
}

/// The warnings about the text of the file that `update --resources` takes.
///
/// # Errors
/// As [`resources`], but a value may need another that the container has.
fn check_request(json: &[u8]) -> Result<Vec<String>> {
    let (resources, mut warnings) = parse::<oci::LinuxResources>(json)?;
    Resources::check_request(&resources, &mut warnings)?;
    Ok(warnings)
}

/// The text of the file that `mounts add` takes, checked for the bundle at the absolute path
/// `bundle`: `mounts` alone. Warnings come second.
///
/// # Errors
/// As [`config()`].
pub fn mounts(json: &[u8], bundle: &Path) -> Result<(Vec<Mount>, Vec<String>)> {
    let (mounts, mut warnings) = parse::<Vec<oci::Mount>>(json)?;
    let mounts = crate::config::mounts::list(&mounts, bundle, &mut warnings)?;
    Ok((mounts, warnings))
}

/// The destinations in the text of the file that `mounts remove` takes. Warnings come second.
///
/// # Errors
/// As [`config()`].
pub fn mount_points(json: &[u8]) -> Result<(Vec<MountPoint>, Vec<String>)> {
    let (mounts, mut warnings) = parse::<Vec<oci::Mount>>(json)?;
    let points = crate::config::mounts::points(&mounts, &mut warnings)?;
    Ok((points, warnings))
}

/// A document that can be loaded.
trait Document: DeserializeOwned {
    /// The path of the document, to stand before the paths within.
    const FIELD: &'static str;
    /// Where its `process` is, as a JSON pointer.
    const PROCESS: Option<&'static str>;
    /// Where its `resources` are, as a JSON pointer.
    const RESOURCES: Option<&'static str>;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources>;
}

impl Document for config::Document {
    const FIELD: &'static str = "";
    const PROCESS: Option<&'static str> = Some("/process");
    const RESOURCES: Option<&'static str> = Some("/linux/resources");

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

impl Document for Vec<oci::Mount> {
    const FIELD: &'static str = "mounts";
    const PROCESS: Option<&'static str> = None;
    const RESOURCES: Option<&'static str> = None;

    fn resources(&mut self) -> Option<&mut oci::LinuxResources> {
        None
    }
}

fn parse<T: Document>(json: &[u8]) -> Result<(T, Vec<String>)> {
    // As text, so that the fast way and the slow one are one instance of serde's readers.
    if let Ok(text) = std::str::from_utf8(json)
        && !repair::odd_capability(text)
        && let Ok(mut document) = read::<T>(text)
        && document
            .resources()
            .is_none_or(|resources| !has_zero_limit(resources))
    {
        return Ok((document, Vec::new()));
    }
    parse_slowly(json)
}

fn read<T: Document>(text: &str) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let document = T::deserialize(Objects(&mut reader))?;
    reader.end().map(|()| document)
}

/// oci-spec makes a zero of an absent limit, and zero is a limit.
fn has_zero_limit(resources: &oci::LinuxResources) -> bool {
    let hugepages = resources.hugepage_limits().iter().flatten();
    resources.pids().is_some_and(|pids| pids.limit() == 0)
        || hugepages.into_iter().any(|hugepage| hugepage.limit() == 0)
}

fn parse_slowly<T: Document>(json: &[u8]) -> Result<(T, Vec<String>)> {
    let text = repair::text(json);
    let mut value: Value = serde_json::from_str(&text).map_err(|error| syntax(&error))?;
    let mut warnings = Vec::new();
    repair::drop_nulls(&mut value);
    if let Some(process) = T::PROCESS.and_then(|at| value.pointer_mut(at)) {
        repair::process(process, &mut warnings);
    }
    if let Some(resources) = T::RESOURCES.and_then(|at| value.pointer_mut(at)) {
        repair::resources(resources)?;
    }
    // The tree carries no positions, its text does.
    let text = value.to_string();
    match read::<T>(&text) {
        Ok(document) => Ok((document, warnings)),
        Err(error) => Err(typed::<T>(&text, &error)),
    }
}

/// What serde says, without its position, in the words of JSON.
fn words(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    let mut text = text.replacen("invalid type: sequence", "invalid type: array", 1);
    let foreign = ["struct ", "enum ", "a map", "a sequence"];
    for (word, own) in foreign
        .iter()
        .zip(["an object", "a word", "an object", "an array"])
    {
        if let Some(at) = text.rfind(&format!("expected {word}")) {
            text.truncate(at + "expected ".len());
            text += own;
        }
    }
    text
}

fn syntax(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    Error::new(
        Kind::Config,
        format!("line {line}, column {column}: {}", words(error)),
    )
}

fn typed<T: Document>(text: &str, error: &serde_json::Error) -> Error {
    // The text has one line, and a column counts bytes. It is before a bracket that is not wanted.
    let column = error.column();
    let bracket = matches!(text.as_bytes().get(column), Some(b'[' | b'{'));
    let within = locate::path_at(text, column + usize::from(bracket));
    let path = match (T::FIELD, within.as_str()) {
        (field, "") => field.to_owned(),
        ("", within) => within.to_owned(),
        (field, within) if within.starts_with('[') => format!("{field}{within}"),
        (field, within) => format!("{field}.{within}"),
    };
    let words = words(error);
    let missing = words
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match (missing, path.as_str()) {
        (Some(name), path) => Error::config(locate::join(path, name), "missing"),
        (None, "") => Error::new(Kind::Config, format!("line 1, the document: {words}")),
        (None, path) => Error::config(path, words),
    }
}
