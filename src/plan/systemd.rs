//! The container's unit: its name and slice, and its limits as unit properties.
//!
//! Sources: systemd.resource-control(5), systemd.slice(5), org.freedesktop.systemd1(5), and the
//! annotations and the `slice:prefix:name` paths that engines send to runtimes.

mod gvariant;
pub mod properties;
#[cfg(test)]
mod tests;
mod variant;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::annotations::{MANAGER, SUBGROUP, cgroup_name};
use super::cgroup::write::{Fallback, Write};
use crate::config::numbers;
use crate::error::{Error, Result};
use crate::host::Host;

pub use gvariant::parse;
pub use variant::Variant;

const FIELD: &str = "linux.cgroupsPath";
const DEVICE_WEIGHT: &str = "IODeviceWeight";

/// The systemd manager that has the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// PID 1.
    System,
    /// The manager of this host user.
    User {
        /// The user's id.
        uid: u32,
    },
}

/// A transient scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The manager that makes it.
    pub manager: Manager,
    /// Such as `docker-ID.scope`.
    pub name: String,
    /// The expected path of the container's cgroup below the mount of the hierarchy: that of the
    /// unit, or of the subgroup in it. The manager decides the real path.
    pub path: PathBuf,
    /// The name of the cgroup inside that of the unit that holds the processes.
    pub subgroup: Option<String>,
    /// For StartTransientUnit, in this order.
    pub properties: Vec<Property>,
}

/// One property of the unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// As in systemd's D-Bus interface.
    pub name: String,
    /// Its value, with its type.
    pub value: Variant,
    /// The property is newer than the oldest systemd in use, and only repeats the value of a control
    /// file. If the manager refuses it, the unit is created without it.
    pub optional: bool,
}

impl Property {
    fn new(name: &str, value: Variant) -> Self {
        Self {
            name: name.to_owned(),
            value,
            optional: false,
        }
    }

    fn optional(name: &str, value: Variant) -> Self {
        Self {
            optional: true,
            ..Self::new(name, value)
        }
    }
}

impl Manager {
    /// Containers of root belong to PID 1, those of a user to the manager of that user. In a user
    /// namespace, the path of the cgroup names the user of the host. In a system container with its
    /// own namespace and its own systemd the path names no user; the manager then is PID 1.
    pub fn of(host: &Host) -> Self {
        if host.euid == 0 && !host.in_user_namespace {
            return Self::System;
        }
        let own = host.cgroup.as_ref().map_or("", |cgroup| &cgroup.own);
        let uid = own.split('/').find_map(|name| {
            let number = name.strip_prefix("user-")?.strip_suffix(".slice")?;
            number.parse().ok()
        });
        match uid.unwrap_or(host.euid) {
            0 => Self::System,
            uid => Self::User { uid },
        }
    }

    /// The manager's own cgroup, above its slices.
    fn cgroup(self) -> PathBuf {
        match self {
            Self::System => PathBuf::new(),
            Self::User { uid } => {
                PathBuf::from(format!("user.slice/user-{uid}.slice/user@{uid}.service"))
            }
        }
    }

    fn default_slice(self) -> &'static str {
        match self {
            Self::System => "system.slice",
            Self::User { .. } => "user.slice",
        }
    }
}

/// The unit for a container, with all of its properties except the process.
///
/// # Errors
/// `cgroups_path` is not `slice:prefix:name`, or an annotation sets a property that it may not set.
pub fn unit(
    cgroups_path: Option<&str>,
    id: &str,
    annotations: &BTreeMap<String, String>,
    writes: &[Write],
    host: &Host,
) -> Result<Unit> {
    let manager = Manager::of(host);
    let (slice, name) = place(cgroups_path, id)?;
    let slice = match slice {
        "" => manager.default_slice(),
        slice => slice,
    };
    let mut path = manager.cgroup();
    path.extend(expand(slice)?);
    path.push(&name);
    let subgroup = subgroup(annotations)?;
    path.extend(&subgroup);
    let flag = |name: &str, value| Property::new(name, Variant::Bool(value));
    let mut properties = vec![
        Property::new("Description", Variant::Text(format!("container {id}"))),
        Property::new("Slice", Variant::Text(slice.to_owned())),
        flag("Delegate", true),
        flag("DefaultDependencies", false),
        flag("CPUAccounting", true),
        flag("IOAccounting", true),
        flag("MemoryAccounting", true),
        flag("TasksAccounting", true),
    ];
    for property in limits(writes)? {
        replace(&mut properties, property);
    }
    properties::annotate(&mut properties, annotations, writes)?;
    Ok(Unit {
        manager,
        name,
        path,
        subgroup,
        properties,
    })
}

/// The name of the cgroup inside that of the unit, if the annotations ask for one.
///
/// conmon, which Podman and CRI-O put between themselves and the runtime, watches `memory.events`
/// of the container's cgroup until the first event that is not a kill for memory. It looks once
/// more when the container has ended, but by then systemd has removed the cgroup of the unit. In a
/// cgroup inside that of the unit, the kill is the first event: the unit carries the kernel's
/// bookkeeping for both, so it reaches its limit first.
///
/// # Errors
/// The name cannot be that of a directory.
fn subgroup(annotations: &BTreeMap<String, String>) -> Result<Option<String>> {
    if !annotations.contains_key(SUBGROUP) {
        let caller = annotations.get(MANAGER).map(String::as_str);
        return Ok(matches!(caller, Some("libpod" | "cri-o")).then(|| "container".to_owned()));
    }
    Ok(cgroup_name(annotations, SUBGROUP)?.map(str::to_owned))
}

/// Adds a property, and removes another of the same name.
fn replace(properties: &mut Vec<Property>, property: Property) {
    properties.retain(|other| other.name != property.name);
    properties.push(property);
}

/// The slice (empty if not given) and the name of the unit.
fn place<'a>(cgroups_path: Option<&'a str>, id: &str) -> Result<(&'a str, String)> {
    let (slice, prefix, name) = match cgroups_path {
        None | Some("") => ("", "sampan", id),
        Some(path) => {
            let parts: Vec<_> = path.split(':').collect();
            let &[slice, prefix, name] = parts.as_slice() else {
                let message = format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                );
                return Err(Error::config(FIELD, message));
            };
            (slice, prefix, name)
        }
    };
    if name.is_empty() || name.ends_with(".slice") {
        let message =
            format!("{name:?} cannot be the name of a scope, and only a scope can hold a process");
        return Err(Error::config(FIELD, message));
    }
    let unit = match prefix {
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    };
    check_unit_name(&unit)?;
    Ok((slice, unit))
}

/// Source: systemd.unit(5), "Description".
fn check_unit_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if let Some(c) = name.chars().find(|&c| !allowed(c)) {
        return Err(Error::config(
            FIELD,
            format!("{name:?} is not the name of a systemd unit: {c:?}"),
        )
        .hint("names of units consist of letters, digits and : - _ . \\ @"));
    }
    if name.len() > 255 {
        let message = format!(
            "the unit name {name:?} has {} bytes, the limit is 255",
            name.len()
        );
        return Err(Error::config(FIELD, message));
    }
    Ok(())
}

/// The directories of a slice: `a-b.slice` lies in `a.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Result<Vec<String>> {
    let invalid = || Error::config(FIELD, format!("invalid slice name: {slice}"));
    let stem = slice.strip_suffix(".slice").ok_or_else(invalid)?;
    if stem == "-" {
        return Ok(Vec::new());
    }
    check_unit_name(slice)?;
    let mut expanded = Vec::new();
    let mut name = String::new();
    for component in stem.split('-') {
        if component.is_empty() {
            return Err(invalid());
        }
        if !name.is_empty() {
            name.push('-');
        }
        name += component;
        expanded.push(format!("{name}.slice"));
    }
    Ok(expanded)
}

/// systemd expresses CPU time per second in whole hundredths. This is one, in microseconds.
const CPU_GRAIN: u64 = 10_000;

/// Rounds each quota up to one that systemd can express, so that the control file and the unit
/// agree. Otherwise the next reload of systemd would change the limit.
///
/// # Errors
/// `cpu.max` in `unified` is not a quota with or without a period.
pub fn round_quota(writes: &mut [Write]) -> Result<()> {
    for write in writes.iter_mut().filter(|write| write.file == "cpu.max") {
        let (per_second, period) = bandwidth(write)?;
        if per_second != u64::MAX {
            let quota = u128::from(per_second) * u128::from(period) / 1_000_000;
            let quota = u64::try_from(quota).map_err(|_| not_expressible(write))?;
            write.value = format!("{quota} {period}");
        }
    }
    Ok(())
}

/// CPU time per second, and the period, in microseconds.
fn bandwidth(write: &Write) -> Result<(u64, u64)> {
    let mut words = write.value.split_whitespace();
    let quota = words.next().unwrap_or_default();
    let period = words.next().unwrap_or("100000");
    let invalid = || not_expressible(write);
    let period: u64 = period
        .parse()
        .ok()
        .filter(|period| *period != 0)
        .ok_or_else(invalid)?;
    if quota == "max" {
        return Ok((u64::MAX, period));
    }
    let quota: u64 = quota.parse().map_err(|_| invalid())?;
    let per_second = (u128::from(quota) * 1_000_000 / u128::from(period)).max(1);
    let per_second = u64::try_from(per_second).map_err(|_| invalid())?;
    Ok((
        per_second
            .div_ceil(CPU_GRAIN)
            .checked_mul(CPU_GRAIN)
            .ok_or_else(invalid)?,
        period,
    ))
}

fn not_expressible(write: &Write) -> Error {
    let message = format!(
        "{:?} is not a value of {} that systemd can express",
        write.value, write.file
    );
    Error::config(&write.field, message)
}

/// The limits for which systemd has properties. If the unit did not have them, systemd would reset
/// them when it is reloaded. All other limits are only in the control files.
///
/// # Errors
/// A value of `unified` that systemd cannot express.
pub fn limits(writes: &[Write]) -> Result<Vec<Property>> {
    let mut properties: Vec<Property> = Vec::new();
    for write in writes.iter().filter(|write| !write.value.trim().is_empty()) {
        for property in translate(write)? {
            match properties
                .iter_mut()
                .find(|other| other.name == property.name)
            {
                Some(other) if property.name == DEVICE_WEIGHT => other.value.append(property.value),
                _ => replace(&mut properties, property),
            }
        }
    }
    Ok(properties)
}

fn translate(write: &Write) -> Result<Vec<Property>> {
    let number = || limit(&write.value).ok_or_else(|| not_expressible(write));
    let property = match write.file.as_str() {
        "memory.max" => Property::new("MemoryMax", Variant::U64(number()?)),
        "memory.high" => Property::new("MemoryHigh", Variant::U64(number()?)),
        "memory.low" => Property::new("MemoryLow", Variant::U64(number()?)),
        "memory.min" => Property::new("MemoryMin", Variant::U64(number()?)),
        "memory.swap.max" => Property::new("MemorySwapMax", Variant::U64(number()?)),
        // For scopes since systemd 253.
        "memory.oom.group" if write.value.trim() == "1" => {
            Property::optional("OOMPolicy", Variant::Text("kill".to_owned()))
        }
        "cpu.weight" => Property::new("CPUWeight", Variant::U64(number()?)),
        // Since systemd 252, 0 stands for idle.
        "cpu.idle" if write.value.trim() == "1" => Property::optional("CPUWeight", Variant::U64(0)),
        "cpu.max" => {
            let (per_second, period) = bandwidth(write)?;
            return Ok(vec![
                Property::new("CPUQuotaPerSecUSec", Variant::U64(per_second)),
                Property::optional("CPUQuotaPeriodUSec", Variant::U64(period)),
            ]);
        }
        "cpuset.cpus" => Property::optional("AllowedCPUs", mask(write)?),
        "cpuset.mems" => Property::optional("AllowedMemoryNodes", mask(write)?),
        // systemd refuses 0. With a limit of 1 no process can fork either.
        "pids.max" => Property::new("TasksMax", Variant::U64(number()?.max(1))),
        "io.weight" => return Ok(io_weight(&write.value).into_iter().collect()),
        "io.bfq.weight" => match &write.fallback {
            Fallback::IfAbsent { value, .. } => return Ok(io_weight(value).into_iter().collect()),
            _ => return Ok(Vec::new()),
        },
        _ => return Ok(Vec::new()),
    };
    Ok(vec![property])
}

fn limit(value: &str) -> Option<u64> {
    match value.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Parses `100`, `default 100`, or `8:0 100`, which is the weight of one device.
fn io_weight(value: &str) -> Option<Property> {
    let value = value.trim();
    if let Some((device, weight)) = value.split_once(' ')
        && device.contains(':')
    {
        let weight = Variant::U64(weight.trim().parse().ok()?);
        let device = Variant::Text(format!("/dev/block/{device}"));
        let one = Variant::Array(
            "(st)".to_owned(),
            vec![Variant::Tuple(vec![device, weight])],
        );
        return Some(Property::optional(DEVICE_WEIGHT, one));
    }
    let number = value.strip_prefix("default").unwrap_or(value).trim();
    let weight = number.parse().ok()?;
    Some(Property::new("IOWeight", Variant::U64(weight)))
}

/// A list such as `0-3,5` as the bytes of a bit mask, the lowest first.
fn mask(write: &Write) -> Result<Variant> {
    // More than any kernel is built for. Without a bound, a list of a few bytes could ask for
    // gigabytes.
    const MAX_BIT: u32 = 1 << 16;
    let ranges = numbers::ranges(write.value.trim());
    let ranges = ranges.filter(|it| it.iter().all(|range| *range.end() < MAX_BIT));
    let mut bytes: Vec<u8> = Vec::new();
    for bit in ranges
        .ok_or_else(|| not_expressible(write))?
        .into_iter()
        .flatten()
    {
        let byte = bit as usize / 8;
        bytes.resize(bytes.len().max(byte + 1), 0);
        bytes[byte] |= 1 << (bit % 8);
    }
    let bytes = bytes.into_iter().map(Variant::Byte).collect();
    Ok(Variant::Array("y".to_owned(), bytes))
}
