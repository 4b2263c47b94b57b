//! `linux.resources.devices`.

use oci_spec::runtime as oci;

use super::devices;
use crate::error::{Error, Result};

/// One element of `resources.devices`. A number that is `None` is the wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether the rule allows the accesses that it matches, or denies them.
    pub allow: bool,
    /// `type`.
    pub kind: DeviceRuleKind,
    /// `major`.
    pub major: Option<u32>,
    /// `minor`.
    pub minor: Option<u32>,
    /// `r` in `access`.
    pub read: bool,
    /// `w` in `access`.
    pub write: bool,
    /// `m` in `access`.
    pub mknod: bool,
}

/// `a`, `b` or `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRuleKind {
    /// `a`
    All,
    /// `b`
    Block,
    /// `c`
    Char,
}

/// A rule becomes up to three instructions of the device program for each of the two kinds of
/// device, and a jump in a program reaches at most 32767 instructions.
const MAX_DEVICE_RULES: usize = 4096;

pub(super) fn list(rules: &[oci::LinuxDeviceCgroup], field: &str) -> Result<Vec<DeviceRule>> {
    if rules.len() > MAX_DEVICE_RULES {
        let message = format!(
            "{} rules; at most {MAX_DEVICE_RULES} are supported",
            rules.len()
        );
        return Err(Error::config(field, message));
    }
    let rules = rules.iter().enumerate();
    rules
        .map(|(index, rule)| DeviceRule::new(rule, &format!("{field}[{index}]")))
        .collect()
}

impl DeviceRule {
    /// An absent `access` means `rwm`.
    fn new(rule: &oci::LinuxDeviceCgroup, field: &str) -> Result<Self> {
        let kind = match rule.typ() {
            None | Some(oci::LinuxDeviceType::A) => DeviceRuleKind::All,
            Some(oci::LinuxDeviceType::B) => DeviceRuleKind::Block,
            Some(oci::LinuxDeviceType::C) => DeviceRuleKind::Char,
            Some(other) => {
                let message = format!(
                    "{:?} is not a type of device rule, expected a, b or c",
                    other.as_str()
                );
                return Err(Error::config(format_args!("{field}.type"), message));
            }
        };
        let access = match rule.access().as_deref() {
            None | Some("") => "rwm",
            Some(access) => access,
        };
        if let Some(letter) = access.chars().find(|letter| !"rwm".contains(*letter)) {
            let message = format!("unknown access {letter:?} in {access:?}, expected r, w or m");
            return Err(Error::config(format_args!("{field}.access"), message));
        }
        // Engines also write the wildcard as -1.
        let (major, minor) = (
            rule.major().filter(|n| *n != -1),
            rule.minor().filter(|n| *n != -1),
        );
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: major
                .map(|n| devices::major(format_args!("{field}.major"), n))
                .transpose()?,
            minor: minor
                .map(|n| devices::minor(format_args!("{field}.minor"), n))
                .transpose()?,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        })
    }
}
