//! The validated form of `config.json`, as plain data. Every MUST of the runtime specification
//! has been checked, and each error names the path of its property.
//!
//! Pure: no file system, environment, clock, process or system call.
//! `Config::new` is the only way to make a `Config`, so code that gets one need not check it again.

mod block_io;
mod check;
pub mod default;
mod device_rules;
mod devices;
mod document;
pub mod hooks;
pub mod intel_rdt;
pub mod linux;
pub mod memory_policy;
pub mod mount_options;
pub mod mounts;
mod namespaces;
pub mod net_devices;
pub mod numbers;
pub mod process;
pub mod resources;
pub mod scheduling;
pub mod seccomp;
pub mod sysctl;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use crate::error::{Code, Error, Result, Warning};

pub use devices::DeviceKind;
pub use document::Document;
pub use hooks::{Hook, Hooks};
pub use linux::{Linux, Personality, RootPropagation};
pub use mount_options::Attrs;
pub use mounts::{Mount, MountPoint, Propagation, SourceLink, TargetLink};
pub use namespaces::{IdMapping, Namespace, NamespaceKind, Namespaces, host_id};
pub use process::{Capabilities, ConsoleSize, Labels, Process};
pub use resources::Resources;

/// A container as `config.json` describes it.
/// Source: runtime-spec 1.3, config.md and config-linux.md.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ociVersion`.
    pub oci_version: String,
    /// `root`.
    pub root: Root,
    /// `mounts`, in their order.
    pub mounts: Vec<Mount>,
    /// `process`; absent is legal at create.
    pub process: Option<Process>,
    /// `hostname`; needs a UTS namespace.
    pub hostname: Option<String>,
    /// `domainname`; needs a UTS namespace.
    pub domainname: Option<String>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `annotations`, sorted.
    pub annotations: BTreeMap<String, String>,
    /// `linux`.
    pub linux: Linux,
    /// Problems that are not errors, such as unknown capability names.
    pub warnings: Vec<Warning>,
}

/// `root`.
#[derive(Clone, Debug)]
pub struct Root {
    /// Absolute. A relative `root.path` is joined to the path of the bundle.
    pub path: PathBuf,
    /// `root.readonly`.
    pub readonly: bool,
}

/// The version of the runtime specification that this runtime implements.
pub const SPEC_VERSION: &str = "1.3.0";

/// The longest host or domain name that the kernel accepts (`__NEW_UTS_LEN`), in bytes.
const UTS_LEN: usize = 64;

impl Config {
    /// Checks `spec` for the bundle at the absolute path `bundle`.
    ///
    /// # Errors
    /// Names the first property that violates a MUST of runtime-spec 1.3 or that this
    /// runtime does not support, by its path.
    pub fn new(spec: Document, bundle: &Path) -> Result<Self> {
        check::unsupported("vm", spec.vm.is_some())?;
        let mut warnings = foreign_sections(&spec);
        version(&spec.version, &mut warnings)?;
        let linux = Linux::new(spec.linux.as_deref(), &mut warnings)?;
        let process = spec.process.as_deref();
        let mounts = mounts::list(check::list(&spec.mounts), bundle, &mut warnings)?;
        mounts::check_namespaces(&mounts, &linux.namespaces)?;
        let root = Root::new(spec.root.as_ref(), bundle)?;
        let process = process
            .map(|process| Process::new(process, &mut warnings))
            .transpose()?;
        if let Some(process) = &process {
            linux.check_mapped(&process.user)?;
        }
        Ok(Self {
            oci_version: spec.version,
            root,
            mounts,
            process,
            hostname: uts_name("hostname", &spec.hostname, &linux.namespaces)?,
            domainname: uts_name("domainname", &spec.domainname, &linux.namespaces)?,
            hooks: Hooks::new(spec.hooks.as_deref())?,
            annotations: annotations(spec.annotations)?,
            linux,
            warnings,
        })
    }

    /// The same container with `mounts` instead of its own. For mounts that are added to a
    /// container after it was created.
    ///
    /// # Errors
    /// A mount needs a namespace that the container does not have.
    pub fn with_mounts(self, mounts: Vec<Mount>) -> Result<Self> {
        mounts::check_namespaces(&mounts, &self.linux.namespaces)?;
        Ok(Self { mounts, ..self })
    }

    /// The security modules for which the config sets a label.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let process = self.process.as_ref().map(Process::labels);
        let labels = process.unwrap_or_default();
        Labels {
            selinux: labels.selinux || self.linux.mount_label.is_some(),
            ..labels
        }
    }
}

/// Checks that the version has the form of SemVer 2.0.0. Minor versions are compatible in both
/// directions because unknown properties are ignored. Configs of other major versions mostly mean
/// the same, and engines have copied 0.x from old examples, so another major version is only a
/// warning.
fn version(version: &str, warnings: &mut Vec<Warning>) -> Result<()> {
    if version.is_empty() {
        return Err(Error::missing("ociVersion"));
    }
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = release.split('.').collect();
    let number = |text: &&str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    let suffix = &version[release.len()..];
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte);
    if numbers.len() != 3
        || !numbers.iter().all(number)
        || suffix.len() == 1
        || !suffix.bytes().all(tail)
    {
        return Err(Error::config(
            "ociVersion",
            format!("{version:?} is not a semantic version"),
        ));
    }
    if numbers[0] != "1" {
        let message = format!("{version:?} is not a 1.x version, read as {SPEC_VERSION}");
        warnings.push(Error::config("ociVersion", message).code_is(Code::WarningReadAs));
    }
    Ok(())
}

fn foreign_sections(spec: &Document) -> Vec<Warning> {
    let sections = [
        ("windows", spec.windows.is_some()),
        ("solaris", spec.solaris.is_some()),
        ("zos", spec.zos.is_some()),
        ("freebsd", spec.freebsd.is_some()),
    ];
    let present = sections.into_iter().filter(|(_, present)| *present);
    present
        .map(|(name, _)| Error::no_effect(name, "for another platform, ignored"))
        .collect()
}

fn uts_name(field: &str, name: &Option<String>, namespaces: &Namespaces) -> Result<Option<String>> {
    let name = check::text(field, name.as_ref())?;
    if let Some(name) = &name {
        namespaces.require(field, NamespaceKind::Uts)?;
        if name.len() > UTS_LEN {
            return Err(Error::config(
                field,
                format!("is longer than {UTS_LEN} bytes"),
            ));
        }
    }
    Ok(name)
}

fn annotations(list: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>> {
    let annotations = list.unwrap_or_default();
    if annotations.contains_key("") {
        Err(Error::config("annotations", "has an empty key"))
    } else {
        Ok(annotations)
    }
}

impl Root {
    fn new(root: Option<&oci::Root>, bundle: &Path) -> Result<Self> {
        let root = root.ok_or_else(|| Error::missing("root"))?;
        if root.path().as_os_str().is_empty() {
            return Err(Error::missing("root.path"));
        }
        check::no_nul("root.path", root.path())?;
        // Keep `..`: after a symbolic link, only the kernel can resolve it.
        let path = bundle.join(root.path());
        let path = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        Ok(Self {
            path,
            readonly: root.readonly().unwrap_or(false),
        })
    }
}
