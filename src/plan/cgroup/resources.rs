//! `linux.resources` in the words of cgroup v2.
//!
//! The properties were written for cgroup v1, so most of them need a translation. 0 means unset
//! where the kernel has no such value, as engines send it; -1 means unlimited.

#[cfg(test)]
mod tests;

use super::{Fallback, Write};
use crate::config::Resources;
use crate::config::resources::{BlockIo, Cpu, Memory, Throttle, ThrottleKind};
use crate::error::{Error, Result};

const PREFIX: &str = "linux.resources";

/// Every write that `resources` asks for. `unified` comes last, so that it wins.
pub(super) fn translate(resources: &Resources) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    memory(&resources.memory, &mut writes)?;
    cpu(&resources.cpu, &mut writes)?;
    if let Some(limit) = resources.pids {
        writes.push(write(
            "pids.max",
            number("pids.limit", limit)?,
            "pids.limit",
        ));
    }
    block_io(&resources.block_io, &mut writes)?;
    hugepages(resources, &mut writes)?;
    rdma(resources, &mut writes);
    unified(resources, &mut writes);
    Ok(writes)
}

/// Properties that cgroup v2 has no counterpart for.
pub fn warnings(resources: &Resources) -> Vec<String> {
    let memory = &resources.memory;
    let cpu = &resources.cpu;
    let mut warnings = Vec::new();
    if memory.swappiness.is_some() {
        warnings.push(format!(
            "{PREFIX}.memory.swappiness has no effect: cgroup v2 has no swappiness"
        ));
    }
    if memory.disable_oom_killer {
        warnings.push(format!(
            "{PREFIX}.memory.disableOOMKiller has no effect: cgroup v2 cannot disable the OOM killer"
        ));
    }
    if cpu.idle == Some(1) && cpu.shares.is_some_and(|shares| shares != 0) {
        warnings.push(format!(
            "{PREFIX}.cpu.shares has no effect: an idle cgroup has no weight"
        ));
    }
    warnings
}

fn write(file: impl Into<String>, value: impl Into<String>, field: &str) -> Write {
    Write {
        file: file.into(),
        value: value.into(),
        field: format!("{PREFIX}.{field}"),
        fallback: Fallback::Fail,
        above: None,
    }
}

fn invalid(field: &str, message: impl std::fmt::Display) -> Error {
    Error::config(format_args!("{PREFIX}.{field}"), message)
}

/// A limit as the kernel reads it.
fn number(field: &str, limit: i64) -> Result<String> {
    match limit {
        -1 => Ok("max".into()),
        0.. => Ok(limit.to_string()),
        _ => Err(invalid(
            field,
            format!("{limit} is negative and not -1 (unlimited)"),
        )),
    }
}

/// Bytes. Source: cgroup-v2.rst, "Memory Interface Files".
fn memory(memory: &Memory, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(value) = swap(memory)? {
        // Without swap accounting there is no swap to allow or to forbid.
        let trivial = matches!(value.as_str(), "max" | "0");
        let fallback = if trivial {
            Fallback::SkipIfAbsent
        } else {
            Fallback::Fail
        };
        let field = if memory.swap.unwrap_or(0) == 0 {
            "memory.limit"
        } else {
            "memory.swap"
        };
        writes.push(Write {
            fallback,
            ..write("memory.swap.max", value, field)
        });
    }
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        let above = (memory.check_before_update && limit > 0).then_some("memory.current");
        let value = number("memory.limit", limit)?;
        writes.push(Write {
            above,
            ..write("memory.max", value, "memory.limit")
        });
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        let value = number("memory.reservation", reservation)?;
        writes.push(write("memory.low", value, "memory.reservation"));
    }
    Ok(())
}

/// `memory.swap.max`: v1 counted memory and swap together, v2 counts swap alone.
fn swap(memory: &Memory) -> Result<Option<String>> {
    const FIELD: &str = "memory.swap";
    let limit = memory.limit.unwrap_or(0);
    match memory.swap.unwrap_or(0) {
        // Unlimited memory was unlimited swap as well.
        0 if limit == -1 => Ok(Some("max".into())),
        0 => Ok(None),
        swap if swap < 0 => number(FIELD, swap).map(Some),
        swap if limit == 0 => Err(invalid(
            FIELD,
            format!("{swap} counts memory and swap together and needs {PREFIX}.memory.limit"),
        )),
        swap if limit < 0 => Err(invalid(
            FIELD,
            format!(
                "{swap} limits memory and swap together while {PREFIX}.memory.limit is {limit}"
            ),
        )),
        swap if swap < limit => Err(invalid(
            FIELD,
            format!(
                "{swap} counts memory and swap together and is less than \
                 {PREFIX}.memory.limit {limit}"
            ),
        )),
        swap => Ok(Some((swap - limit).to_string())),
    }
}

/// Microseconds. Source: cgroup-v2.rst, "CPU Interface Files" and "Cpuset Interface Files".
fn cpu(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    if cpu.realtime_runtime.is_some_and(|value| value != 0) {
        return Err(invalid(
            "cpu.realtimeRuntime",
            "cgroup v2 cannot limit realtime processes",
        ));
    }
    if cpu.realtime_period.is_some_and(|value| value != 0) {
        return Err(invalid(
            "cpu.realtimePeriod",
            "cgroup v2 cannot limit realtime processes",
        ));
    }
    // The kernel refuses a weight while the cgroup is idle, so the end of idling comes first.
    match cpu.idle {
        None => {}
        Some(idle @ (0 | 1)) => writes.push(write("cpu.idle", idle.to_string(), "cpu.idle")),
        Some(idle) => return Err(invalid("cpu.idle", format!("{idle} is neither 0 nor 1"))),
    }
    if let Some(shares) = cpu
        .shares
        .filter(|shares| *shares != 0 && cpu.idle != Some(1))
    {
        writes.push(write(
            "cpu.weight",
            weight(shares).to_string(),
            "cpu.shares",
        ));
    }
    bandwidth(cpu, writes)?;
    if let Some(cpus) = cpu.cpus.as_ref().filter(|cpus| !cpus.is_empty()) {
        writes.push(write("cpuset.cpus", cpus, "cpu.cpus"));
    }
    if let Some(mems) = cpu.mems.as_ref().filter(|mems| !mems.is_empty()) {
        writes.push(write("cpuset.mems", mems, "cpu.mems"));
    }
    Ok(())
}

/// `cpu.max` and `cpu.max.burst`. The kernel wants burst <= quota after each single write. A burst
/// that is to shrink must go first, one that is to grow must follow, and only the kernel knows the
/// old values: it is written before and after, and the first refusal does not count.
fn bandwidth(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    let quota = cpu.quota.unwrap_or(0);
    let period = cpu.period.unwrap_or(0);
    if let (Some(burst), 1..) = (cpu.burst, quota)
        && burst > quota.unsigned_abs()
    {
        let message = format!("{burst} is more than {PREFIX}.cpu.quota {quota}");
        return Err(invalid("cpu.burst", message));
    }
    let burst = cpu
        .burst
        .map(|burst| write("cpu.max.burst", burst.to_string(), "cpu.burst"));
    if quota == 0 && period == 0 {
        writes.extend(burst);
        return Ok(());
    }
    if let Some(burst) = &burst {
        writes.push(Write {
            fallback: Fallback::RetriedLater,
            ..burst.clone()
        });
    }
    let field = if quota == 0 {
        "cpu.period"
    } else {
        "cpu.quota"
    };
    let quota = if quota == 0 {
        "max".into()
    } else {
        number(field, quota)?
    };
    let period = if period == 0 { 100_000 } else { period };
    writes.push(write("cpu.max", format!("{quota} {period}"), field));
    writes.extend(burst);
    Ok(())
}

/// `cpu.weight` (1 to 10000) of v1 shares (2 to 262144): a curve through the two ends and through
/// the defaults, 1024 and 100, where a straight line would turn 1024 into 39.
/// With l = log2(shares) it is 10 to the power of (l² + 125 l) / 612 - 7 / 34, rounded up.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
            let l = (shares as f64).log2();
            // 7 / 34 is 126 / 612; under one fraction the powers of two come out exact.
            let exponent = (l * l + 125.0 * l - 126.0) / 612.0;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 10000"
            )]
            let weight = 10f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

/// Source: cgroup-v2.rst, "IO Interface Files"; Documentation/block/bfq-iosched.rst.
fn block_io(io: &BlockIo, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        writes.push(io_weight("", weight, "blockIO.weight")?);
    }
    for (i, device) in io
        .weight_devices
        .iter()
        .enumerate()
        .filter(|(_, it)| it.weight != 0)
    {
        let target = format!("{}:{} ", device.major, device.minor);
        let field = format!("blockIO.weightDevice[{i}].weight");
        writes.push(io_weight(&target, device.weight, &field)?);
    }
    throttle(&io.throttle, writes);
    Ok(())
}

/// BFQ takes the weight of v1 as it is; `io.weight` has another scale.
fn io_weight(target: &str, weight: u16, field: &str) -> Result<Write> {
    if !(10..=1000).contains(&weight) {
        return Err(invalid(field, format!("{weight} is not in 10 to 1000")));
    }
    let scaled = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let fallback = Fallback::IfAbsent {
        file: "io.weight".into(),
        value: format!("{target}{scaled}"),
    };
    Ok(Write {
        fallback,
        ..write("io.bfq.weight", format!("{target}{weight}"), field)
    })
}

/// `io.max`: one write for each device, with all of its limits. The kernel refuses a rate of 0,
/// which removed the limit in v1.
fn throttle(throttles: &[Throttle], writes: &mut Vec<Write>) {
    let mut devices: Vec<(i64, i64)> = Vec::new();
    for throttle in throttles {
        if !devices.contains(&(throttle.major, throttle.minor)) {
            devices.push((throttle.major, throttle.minor));
        }
    }
    for device in devices {
        let mut value = format!("{}:{}", device.0, device.1);
        let mut fields = Vec::new();
        for throttle in throttles.iter().filter(|it| (it.major, it.minor) == device) {
            let (key, field) = match throttle.kind {
                ThrottleKind::ReadBps => ("rbps", "throttleReadBpsDevice"),
                ThrottleKind::WriteBps => ("wbps", "throttleWriteBpsDevice"),
                ThrottleKind::ReadIops => ("riops", "throttleReadIOPSDevice"),
                ThrottleKind::WriteIops => ("wiops", "throttleWriteIOPSDevice"),
            };
            value += &match throttle.rate {
                0 => format!(" {key}=max"),
                rate => format!(" {key}={rate}"),
            };
            fields.push(field);
        }
        fields.dedup();
        writes.push(write(
            "io.max",
            value,
            &format!("blockIO.{}", fields.join(" and ")),
        ));
    }
}

/// Bytes. A limit of reservations fails mmap(2), a limit of faults kills with SIGBUS: both are set,
/// reservations first, and kernels without them keep the other.
fn hugepages(resources: &Resources, writes: &mut Vec<Write>) -> Result<()> {
    for (i, page) in resources.hugepages.iter().enumerate() {
        let size = &page.page_size;
        let field = format!("hugepageLimits[{i}]");
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(invalid(
                &field,
                format!("pageSize {size:?} is not a size as in 2MB"),
            ));
        }
        let value = page.limit.to_string();
        writes.push(Write {
            fallback: Fallback::SkipIfAbsent,
            ..write(format!("hugetlb.{size}.rsvd.max"), &value, &field)
        });
        writes.push(write(format!("hugetlb.{size}.max"), value, &field));
    }
    Ok(())
}

/// Source: cgroup-v2.rst, "RDMA Interface Files".
fn rdma(resources: &Resources, writes: &mut Vec<Write>) {
    for (device, limits) in &resources.rdma {
        let mut value = device.clone();
        for (key, limit) in [
            ("hca_handle", limits.hca_handles),
            ("hca_object", limits.hca_objects),
        ] {
            if let Some(limit) = limit {
                value += &format!(" {key}={limit}");
            }
        }
        writes.push(write("rdma.max", value, &format!("rdma.{device}")));
    }
}

/// Any file, known or not. Each line is a write of its own, as the kernel takes keyed files; an
/// empty value is an empty line, because a write of no bytes does nothing.
fn unified(resources: &Resources, writes: &mut Vec<Write>) {
    for (file, value) in &resources.unified {
        let field = format!("unified[{file:?}]");
        let lines: Vec<_> = value
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        if lines.is_empty() {
            writes.push(write(file, "\n", &field));
        }
        writes.extend(lines.into_iter().map(|line| write(file, line, &field)));
    }
}
