//! `linux.resources`.

use std::collections::BTreeMap;

/// `linux.resources`, checked; absent values are `None`, and `-1` means unlimited.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub devices: Vec<DeviceRule>,
    pub memory: Memory,
    pub cpu: Cpu,
    /// `pids.limit`; 0 is a real limit.
    pub pids: Option<i64>,
    pub block_io: BlockIo,
    pub hugepages: Vec<Hugepage>,
    pub rdma: BTreeMap<String, Rdma>,
    pub unified: BTreeMap<String, String>,
}

/// One element of `resources.devices`; `None` is the wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceRuleKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

/// `a`, `b` or `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRuleKind {
    All,
    Block,
    Char,
}

/// `resources.memory`, bytes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    /// Memory and swap together, as cgroup v1 counted it.
    pub swap: Option<i64>,
    pub swappiness: Option<u64>,
    pub disable_oom_killer: bool,
    pub check_before_update: bool,
}

/// `resources.cpu`.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub period: Option<u64>,
    pub burst: Option<u64>,
    pub idle: Option<i64>,
    pub cpus: Option<String>,
    pub mems: Option<String>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
}

/// `resources.blockIO`.
#[derive(Clone, Debug, Default)]
pub struct BlockIo {
    pub weight: Option<u16>,
    pub weight_devices: Vec<WeightDevice>,
    pub throttle: Vec<Throttle>,
}

/// One element of `blockIO.weightDevice`.
#[derive(Clone, Debug)]
pub struct WeightDevice {
    pub major: i64,
    pub minor: i64,
    pub weight: u16,
}

/// One element of a `blockIO.throttle…Device` list.
#[derive(Clone, Debug)]
pub struct Throttle {
    pub kind: ThrottleKind,
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

/// Which list a throttle came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleKind {
    ReadBps,
    WriteBps,
    ReadIops,
    WriteIops,
}

/// One element of `resources.hugepageLimits`.
#[derive(Clone, Debug)]
pub struct Hugepage {
    /// As in `2MB`.
    pub page_size: String,
    pub limit: u64,
}

/// One value of `resources.rdma`; at least one of the two is set.
#[derive(Clone, Debug)]
pub struct Rdma {
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}
