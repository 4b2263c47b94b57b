//! `linux.netDevices`.

use std::collections::HashMap;
use std::ffi::CString;

use oci_spec::runtime as oci;

use super::check;
use super::namespaces::{NamespaceKind, Namespaces};
use crate::error::{Error, Result};

/// An element of `linux.netDevices`: a network device of the host that the container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its path in the config, such as `linux.netDevices["eth1"]`.
    pub field: String,
    /// Its name on the host.
    pub host: CString,
    /// Its name in the container. With `%d` the kernel chooses a number.
    pub name: CString,
}

/// The longest name of a network device (IFNAMSIZ without the NUL byte).
const LONGEST: usize = 15;

pub(super) fn new(
    devices: Option<&HashMap<String, oci::LinuxNetDevice>>,
    namespaces: &Namespaces,
) -> Result<Vec<NetDevice>> {
    let sorted = check::by_name(devices);
    if !sorted.is_empty() {
        namespaces.require("linux.netDevices", NamespaceKind::Network)?;
    }
    let mut all: Vec<NetDevice> = Vec::with_capacity(sorted.len());
    for (host, device) in sorted {
        let field = format!("linux.netDevices[{host:?}]");
        let name = device.name().as_ref().filter(|name| !name.is_empty());
        let checked = NetDevice {
            host: device_name(&field, host, false)?,
            name: match name {
                Some(name) => device_name(&format!("{field}.name"), name, true)?,
                None => device_name(&field, host, false)?,
            },
            field,
        };
        let same = |other: &&NetDevice| other.name == checked.name && !is_pattern(&checked.name);
        if let Some(other) = all.iter().find(same) {
            let name = checked.name.to_string_lossy();
            let message = format!("{name:?} is also the name of {}", other.field);
            return Err(Error::config(format!("{}.name", checked.field), message));
        }
        all.push(checked);
    }
    Ok(all)
}

fn is_pattern(name: &CString) -> bool {
    name.as_bytes().contains(&b'%')
}

/// The rules of the kernel for names of network devices, and for patterns if they are allowed.
fn device_name(field: &str, name: &str, pattern: bool) -> Result<CString> {
    let refuse = |reason: &str| Err(Error::config(field, format!("{name:?} {reason}")));
    check::no_nul(field, name)?;
    if matches!(name, "" | "." | "..")
        || name.contains(['/', ':', ' ', '\t', '\n', '\r', '\x0b', '\x0c'])
    {
        return refuse("is not a name of a network device");
    }
    if name.len() > LONGEST {
        return refuse("is longer than 15 bytes");
    }
    let (before, after) = name.split_once("%d").unwrap_or((name, ""));
    if before.contains('%') || after.contains('%') || (before.len() < name.len() && !pattern) {
        return refuse("has a % that is not part of one %d in the new name");
    }
    CString::new(name).map_err(|_| Error::config(field, "has a NUL byte"))
}
