//! `linux.resources.blockIO`.

use oci_spec::runtime as oci;

use super::{check, devices};
use crate::error::{Error, Result, Warning};

/// `resources.blockIO`.
#[derive(Clone, Debug, Default)]
pub struct BlockIo {
    /// `weight`: 10 to 1000.
    pub weight: Option<u16>,
    /// `weightDevice`.
    pub weight_devices: Vec<WeightDevice>,
    /// All four `throttle…Device` lists.
    pub throttle: Vec<Throttle>,
}

/// One element of `blockIO.weightDevice`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are named as the properties")]
pub struct WeightDevice {
    pub major: i64,
    pub minor: i64,
    pub weight: u16,
}

/// One element of a `blockIO.throttle…Device` list.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// Which of the four lists it is in.
    pub kind: ThrottleKind,
    /// The device's major number.
    pub major: i64,
    /// The device's minor number.
    pub minor: i64,
    /// Bytes or operations per second, depending on the list.
    pub rate: u64,
}

/// The list that a throttle comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleKind {
    /// `throttleReadBpsDevice`, bytes per second.
    ReadBps,
    /// `throttleWriteBpsDevice`, bytes per second.
    WriteBps,
    /// `throttleReadIOPSDevice`, operations per second.
    ReadIops,
    /// `throttleWriteIOPSDevice`, operations per second.
    WriteIops,
}

impl BlockIo {
    pub(super) fn new(
        block_io: &oci::LinuxBlockIo,
        field: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        if block_io.leaf_weight().is_some_and(|weight| weight != 0) {
            warnings.push(check::only_v1(format_args!("{field}.leafWeight")));
        }
        let mut this = Self {
            weight: weight(&format!("{field}.weight"), block_io.weight())?,
            ..Self::default()
        };
        for (index, device) in check::list(block_io.weight_device()).iter().enumerate() {
            let field = format!("{field}.weightDevice[{index}]");
            if device.leaf_weight().is_some_and(|weight| weight != 0) {
                warnings.push(check::only_v1(format_args!("{field}.leafWeight")));
            }
            if device.weight().is_none() && device.leaf_weight().is_none() {
                return Err(Error::missing(format_args!("{field}.weight")));
            }
            let (major, minor) = block_device(&field, device.major(), device.minor())?;
            if let Some(weight) = weight(&format!("{field}.weight"), device.weight())? {
                this.weight_devices.push(WeightDevice {
                    major,
                    minor,
                    weight,
                });
            }
        }
        for (name, kind, list) in [
            (
                "throttleReadBpsDevice",
                ThrottleKind::ReadBps,
                block_io.throttle_read_bps_device(),
            ),
            (
                "throttleWriteBpsDevice",
                ThrottleKind::WriteBps,
                block_io.throttle_write_bps_device(),
            ),
            (
                "throttleReadIOPSDevice",
                ThrottleKind::ReadIops,
                block_io.throttle_read_iops_device(),
            ),
            (
                "throttleWriteIOPSDevice",
                ThrottleKind::WriteIops,
                block_io.throttle_write_iops_device(),
            ),
        ] {
            for (index, device) in check::list(list).iter().enumerate() {
                let field = format!("{field}.{name}[{index}]");
                let (major, minor) = block_device(&field, device.major(), device.minor())?;
                this.throttle.push(Throttle {
                    kind,
                    major,
                    minor,
                    rate: device.rate(),
                });
            }
        }
        Ok(this)
    }
}

fn weight(field: &str, weight: Option<u16>) -> Result<Option<u16>> {
    let weight = weight.filter(|weight| *weight != 0);
    if let Some(weight) = weight {
        check::within(field, weight, 10..=1000)?;
    }
    Ok(weight)
}

fn block_device(field: &str, major: i64, minor: i64) -> Result<(i64, i64)> {
    devices::major(format_args!("{field}.major"), major)?;
    devices::minor(format_args!("{field}.minor"), minor)?;
    Ok((major, minor))
}
