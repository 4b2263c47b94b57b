//! `linux.devices`, and the numbers of devices.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;

use super::check;
use crate::error::{Error, Result};

/// The node types of mknod(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c` and `u`.
    Char,
    /// `b`.
    Block,
    /// `p`.
    Fifo,
}

/// One element of `linux.devices`.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its path in the config, such as `linux.devices[0]`.
    pub field: String,
    /// Absolute, lexically clean.
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits; 0o666 when absent.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The largest device numbers of the kernel. Source: MINORBITS in linux/kdev_t.h.
const MAX_MAJOR: i64 = 0xfff;
const MAX_MINOR: i64 = 0xf_ffff;

/// Checks `linux.devices`.
///
/// # Errors
/// mknod(2) would refuse a path, type or number, or one path has two different nodes.
pub(super) fn new(devices: &[oci::LinuxDevice]) -> Result<Vec<Device>> {
    let mut out: Vec<Device> = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate() {
        let device = Device::new(format!("linux.devices[{index}]"), device)?;
        match out.iter().find(|other| other.path == device.path) {
            None => out.push(device),
            Some(other) if other.same_node(&device) => {}
            Some(other) => {
                let message = format!("{} differs from {}", device.path.display(), other.field);
                return Err(Error::config(
                    format_args!("{}.path", device.field),
                    message,
                ));
            }
        }
    }
    Ok(out)
}

impl Device {
    fn new(field: String, device: &oci::LinuxDevice) -> Result<Self> {
        let path = check::absolute(format_args!("{field}.path"), device.path())?;
        if path == Path::new("/") {
            return Err(Error::config(
                format_args!("{field}.path"),
                "/ cannot be a device",
            ));
        }
        let kind = match device.typ() {
            oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
            oci::LinuxDeviceType::B => DeviceKind::Block,
            oci::LinuxDeviceType::P => DeviceKind::Fifo,
            oci::LinuxDeviceType::A => {
                let message = "\"a\" is not a device type, expected b, c, p or u";
                return Err(Error::config(format_args!("{field}.type"), message));
            }
        };
        let (major, minor) = match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (
                major(format_args!("{field}.major"), device.major())?,
                minor(format_args!("{field}.minor"), device.minor())?,
            ),
        };
        let mode = device.file_mode().unwrap_or(0o666);
        check::within(format_args!("{field}.fileMode"), mode, 0..=0o177_777)?;
        Ok(Self {
            path,
            kind,
            major,
            minor,
            // Engines copy st_mode, which includes the bits of the file type.
            mode: mode & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            field,
        })
    }

    fn same_node(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.kind, it.major, it.minor, it.mode, it.uid, it.gid);
        key(self) == key(other)
    }
}

fn number(field: impl Display, value: i64, max: i64) -> Result<u32> {
    check::within(&field, value, 0..=max)?;
    u32::try_from(value).map_err(|_| Error::config(field, format!("{value} is too large")))
}

/// A major number.
pub(super) fn major(field: impl Display, value: i64) -> Result<u32> {
    number(field, value, MAX_MAJOR)
}

/// A minor number.
pub(super) fn minor(field: impl Display, value: i64) -> Result<u32> {
    number(field, value, MAX_MINOR)
}
