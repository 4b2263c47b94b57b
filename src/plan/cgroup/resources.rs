//! Translates `linux.resources` to control files of cgroup v2.
//!
//! The properties were written for cgroup v1, so most of them need a translation.

#[cfg(test)]
mod tests;

use std::f64::consts::{LN_2, LN_10};

use super::{Fallback, Write};
use crate::config::Resources;
use crate::config::resources::{BlockIo, Cpu, Limit, Memory, Swap, Throttle, ThrottleKind};
use crate::error::{Error, Warning};

const PREFIX: &str = "linux.resources";

/// All writes that `resources` asks for. `unified` comes last, so that it takes precedence.
pub(super) fn translate(resources: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    memory(&resources.memory, &mut writes);
    cpu(&resources.cpu, &mut writes);
    if let Some(limit) = resources.pids {
        writes.push(write("pids.max", limit.to_string(), "pids.limit"));
    }
    block_io(&resources.block_io, &mut writes);
    hugepages(resources, &mut writes);
    rdma(resources, &mut writes);
    unified(resources, &mut writes);
    writes
}

/// Warnings about properties that have no counterpart in cgroup v2.
pub fn warnings(resources: &Resources) -> Vec<Warning> {
    let memory = &resources.memory;
    let cpu = &resources.cpu;
    let mut warnings = Vec::new();
    let mut ignored = |field: &str, message: &str| {
        let field = format!("{PREFIX}.{field}");
        warnings.push(Error::no_effect(field, message));
    };
    if memory.swappiness.is_some() {
        ignored("memory.swappiness", "cgroup v2 has no swappiness, ignored");
    }
    if memory.disable_oom_killer {
        ignored(
            "memory.disableOOMKiller",
            "cgroup v2 cannot disable the OOM killer, ignored",
        );
    }
    if cpu.idle == Some(true) && cpu.shares.is_some() {
        ignored("cpu.shares", "an idle cgroup has no weight, ignored");
    }
    warnings
}

/// Warnings about each property of a container that gets no cgroup.
pub(in crate::plan) fn without_cgroup(resources: &Resources) -> Vec<Warning> {
    let mut fields: Vec<_> = translate(resources)
        .into_iter()
        .map(|it| it.field)
        .collect();
    if !resources.devices.is_empty() {
        fields.push(format!("{PREFIX}.devices"));
    }
    fields.dedup();
    let ignored = "--cgroup-manager is disabled, so the container has no cgroup: not enforced";
    fields
        .into_iter()
        .map(|field| Error::no_effect(field, ignored))
        .collect()
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

/// Bytes. Source: cgroup-v2.rst, "Memory Interface Files".
fn memory(memory: &Memory, writes: &mut Vec<Write>) {
    let swap = memory.swap.map(|swap| match swap {
        Swap::FromLimit => ("memory.limit", Limit::Max),
        Swap::Asked(limit) => ("memory.swap", limit),
    });
    if let Some((field, limit)) = swap {
        // Without swap accounting there is no swap to allow or to forbid.
        let trivial = matches!(limit, Limit::Max | Limit::At(0));
        let fallback = if trivial {
            Fallback::SkipIfAbsent
        } else {
            Fallback::Fail
        };
        writes.push(Write {
            fallback,
            ..write("memory.swap.max", limit.to_string(), field)
        });
    }
    if let Some(limit) = memory.limit {
        let above = memory.check_before_update && limit != Limit::Max;
        writes.push(Write {
            above: above.then_some("memory.current"),
            ..write("memory.max", limit.to_string(), "memory.limit")
        });
    }
    if let Some(reservation) = memory.reservation {
        let value = reservation.to_string();
        writes.push(write("memory.low", value, "memory.reservation"));
    }
}

/// Microseconds. Source: cgroup-v2.rst, "CPU Interface Files" and "Cpuset Interface Files".
fn cpu(cpu: &Cpu, writes: &mut Vec<Write>) {
    // The kernel refuses a weight while the cgroup is idle, so `cpu.idle` is written first.
    if let Some(idle) = cpu.idle {
        writes.push(write("cpu.idle", u8::from(idle).to_string(), "cpu.idle"));
    }
    if let Some(shares) = cpu.shares.filter(|_| cpu.idle != Some(true)) {
        let value = weight(shares).to_string();
        writes.push(write("cpu.weight", value, "cpu.shares"));
    }
    bandwidth(cpu, writes);
    if let Some(cpus) = &cpu.cpus {
        writes.push(write("cpuset.cpus", cpus, "cpu.cpus"));
    }
    if let Some(mems) = &cpu.mems {
        writes.push(write("cpuset.mems", mems, "cpu.mems"));
    }
}

/// `cpu.max` and `cpu.max.burst`. The kernel requires burst <= quota after every single write. A
/// smaller burst must be written before the new quota, and a larger one after it. But only the
/// kernel knows the old values. So the burst is written both before and after the quota, and the
/// first write may fail.
fn bandwidth(cpu: &Cpu, writes: &mut Vec<Write>) {
    let burst = cpu.burst;
    let burst = burst.map(|burst| write("cpu.max.burst", burst.to_string(), "cpu.burst"));
    if cpu.quota.is_some() || cpu.period.is_some() {
        writes.extend(burst.iter().map(|burst| Write {
            fallback: Fallback::RetriedLater,
            ..burst.clone()
        }));
        let (field, quota) = match cpu.quota {
            Some(quota) => ("cpu.quota", quota),
            None => ("cpu.period", Limit::Max),
        };
        let period = cpu.period.unwrap_or(DEFAULT_PERIOD);
        writes.push(write("cpu.max", format!("{quota} {period}"), field));
    }
    writes.extend(burst);
}

/// Microseconds. Source: cgroup-v2.rst, `cpu.max`.
const DEFAULT_PERIOD: u64 = 100_000;

/// `cpu.weight` (1 to 10000) for v1 shares (2 to 262144). The conversion is a curve through both
/// ends and through the defaults, 1024 and 100. A straight line would turn 1024 into 39.
/// With l = log2(shares), the weight is 10 to the power of (l² + 125 l) / 612 - 7 / 34, rounded up.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = log2(shares);
            // 7 / 34 is 126 / 612.
            let exponent = (l * l + 125.0 * l - 126.0) / 612.0;
            // What is above a whole number by less than the error of the sums is that number.
            let weight = (power_of_ten(exponent) - 1e-9).ceil();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 10000"
            )]
            let weight = weight as u64;
            weight
        }
    }
}

/// The binary logarithm, with its whole part by bits and the rest as a sum. The C library's
/// logarithm and power are 11 kB.
fn log2(value: u64) -> f64 {
    let whole = value.ilog2();
    #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
    let rest = value as f64 / (1u64 << whole) as f64;
    // ln(x) = 2 artanh(t), with t = (x - 1) / (x + 1) below 1/3.
    let t = (rest - 1.0) / (rest + 1.0);
    let terms = (0..TERMS).scan(t, |power, n| {
        let term = *power / f64::from(2 * n + 1);
        *power *= t * t;
        Some(term)
    });
    f64::from(whole) + 2.0 * terms.sum::<f64>() / LN_2
}

/// 10 to the power of `exponent`, which is from 0 to 4.
fn power_of_ten(exponent: f64) -> f64 {
    // e^x is (e^(x / 16))^16, whose argument is below 1.
    let x = exponent * LN_10 / 16.0;
    let terms = (0..TERMS).scan(1.0, |term, n| {
        let present = *term;
        *term *= x / f64::from(n + 1);
        Some(present)
    });
    let root: f64 = terms.sum();
    (0..4).fold(root, |power, _| power * power)
}

/// As many as change a sum.
const TERMS: u32 = 20;

/// Source: cgroup-v2.rst, "IO Interface Files"; Documentation/block/bfq-iosched.rst.
fn block_io(io: &BlockIo, writes: &mut Vec<Write>) {
    if let Some(weight) = io.weight {
        writes.push(io_weight("", weight, "blockIO.weight"));
    }
    for (i, device) in io.weight_devices.iter().enumerate() {
        let target = format!("{}:{} ", device.major, device.minor);
        let field = format!("blockIO.weightDevice[{i}].weight");
        writes.push(io_weight(&target, device.weight, &field));
    }
    throttle(&io.throttle, writes);
}

/// BFQ uses the weight of v1 unchanged; `io.weight` has another scale.
fn io_weight(target: &str, weight: u16, field: &str) -> Write {
    // Config has checked that it is 10 to 1000.
    let scaled = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let fallback = Fallback::IfAbsent {
        file: "io.weight".into(),
        value: format!("{target}{scaled}"),
    };
    Write {
        fallback,
        ..write("io.bfq.weight", format!("{target}{weight}"), field)
    }
}

/// `io.max`: one write for each device, with all of its limits. A rate of 0 removed the limit in
/// v1. In v2 the kernel refuses 0, and `max` removes the limit.
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

/// Bytes. At the limit of reservations mmap(2) fails; at the limit of faults the kernel sends
/// SIGBUS. Both are set, reservations first. Kernels without a limit of reservations only have the
/// other one.
fn hugepages(resources: &Resources, writes: &mut Vec<Write>) {
    for (i, page) in resources.hugepages.iter().enumerate() {
        let size = &page.page_size;
        let field = format!("hugepageLimits[{i}]");
        let value = page.limit.to_string();
        writes.push(Write {
            fallback: Fallback::SkipIfAbsent,
            ..write(format!("hugetlb.{size}.rsvd.max"), &value, &field)
        });
        writes.push(write(format!("hugetlb.{size}.max"), value, &field));
    }
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

/// Any file, known or not. Each line is a separate write, because the kernel accepts one line per
/// write for keyed files. An empty value becomes an empty line, because a write of no bytes does
/// nothing.
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
