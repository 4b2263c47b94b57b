//! `linux.resources`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};

use oci_spec::runtime as oci;

pub use super::block_io::{BlockIo, Throttle, ThrottleKind, WeightDevice};
pub use super::device_rules::{DeviceRule, DeviceRuleKind};
use super::{check, device_rules, numbers};
use crate::error::{Code, Error, Result, Warning};

/// `linux.resources`, checked; absent values are `None`.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// `devices`, in the order of the config.
    pub devices: Vec<DeviceRule>,
    /// `memory`.
    pub memory: Memory,
    /// `cpu`.
    pub cpu: Cpu,
    /// `pids.limit`. 0 becomes 1, because the kernel also counts the first process of the container.
    pub pids: Option<Limit>,
    /// `blockIO`.
    pub block_io: BlockIo,
    /// `hugepageLimits`.
    pub hugepages: Vec<Hugepage>,
    /// `rdma`, in the order of the devices' names.
    pub rdma: Vec<(String, Rdma)>,
    /// `unified`: the control file and what is written to it.
    pub unified: BTreeMap<String, String>,
}

/// A numeric limit. Its `Display` form is the one that cgroup v2 files accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// -1.
    Max,
    /// In the unit of the property.
    At(u64),
}

impl Limit {
    /// Reads a limit of the config. -1 means unlimited; lower values are errors.
    fn new(field: impl Display, value: i64) -> Result<Self> {
        match u64::try_from(value) {
            Ok(value) => Ok(Self::At(value)),
            Err(_) if value == -1 => Ok(Self::Max),
            Err(_) => {
                let message = format!("{value} is below -1, which means unlimited");
                Err(Error::config(field, message))
            }
        }
    }

    /// As `new`, for a property where 0 counts as absent.
    fn unless_zero(field: impl Display, value: Option<i64>) -> Result<Option<Self>> {
        let value = value.filter(|value| *value != 0);
        value.map(|value| Self::new(field, value)).transpose()
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::At(value) => write!(f, "{value}"),
        }
    }
}

/// `resources.memory`, bytes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// `limit`.
    pub limit: Option<Limit>,
    /// `reservation`.
    pub reservation: Option<Limit>,
    /// Swap alone, as cgroup v2 counts it. The property counts memory and swap together.
    pub swap: Option<Swap>,
    /// `swappiness`, 0 to 100. cgroup v2 has no such limit.
    pub swappiness: Option<u64>,
    /// `disableOOMKiller`. cgroup v2 has no such switch.
    pub disable_oom_killer: bool,
    /// `checkBeforeUpdate`: refuse a limit below the current usage.
    pub check_before_update: bool,
}

/// The limit of swap, and the property that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// `memory.limit` is unlimited. In cgroup v1 this made swap unlimited as well.
    FromLimit,
    /// From `memory.swap`.
    Asked(Limit),
}

/// `resources.cpu`.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    /// `shares`, 2 to 262144.
    pub shares: Option<u64>,
    /// `quota`: microseconds of processor time in each period.
    pub quota: Option<Limit>,
    /// `period`, microseconds.
    pub period: Option<u64>,
    /// At most the quota.
    pub burst: Option<u64>,
    /// `idle`: SCHED_IDLE for the whole cgroup.
    pub idle: Option<bool>,
    /// `cpus`: a list such as `0-3,7`.
    pub cpus: Option<String>,
    /// `mems`: a list of memory nodes.
    pub mems: Option<String>,
}

/// One element of `resources.hugepageLimits`.
#[derive(Clone, Debug)]
pub struct Hugepage {
    /// Such as `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// One value of `resources.rdma`; at least one of the two is set.
#[derive(Clone, Debug)]
pub struct Rdma {
    /// `hcaHandles`.
    pub hca_handles: Option<u32>,
    /// `hcaObjects`.
    pub hca_objects: Option<u32>,
}

/// Whether absent properties are unset or keep the values that the container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Request,
}

impl Resources {
    /// Checks `linux.resources`, of `config.json` or of a file for `update`.
    ///
    /// Engines send 0 for limits that they do not set. So 0 counts as absent for limits that cannot
    /// be zero in the kernel: memory, CPU shares, quota and period, block weight.
    ///
    /// # Errors
    /// A value is out of range, or a property exists only in cgroup v1.
    pub fn new(resources: &oci::LinuxResources, warnings: &mut Vec<Warning>) -> Result<Self> {
        Self::read(resources, Part::Whole, warnings)
    }

    /// Checks the request of an update on its own, before it is merged into the resources of the
    /// container.
    ///
    /// # Errors
    /// As [`Resources::new`], except that a value may depend on one that the container has.
    pub fn check_request(
        resources: &oci::LinuxResources,
        warnings: &mut Vec<Warning>,
    ) -> Result<()> {
        Self::read(resources, Part::Request, warnings).map(|_| ())
    }

    fn read(
        resources: &oci::LinuxResources,
        part: Part,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let at = |name: &str| format!("linux.resources.{name}");
        refuse_network(resources.network().as_ref(), &at("network"))?;
        let (memory, cpu) = (resources.memory().as_ref(), resources.cpu().as_ref());
        let memory = memory
            .map(|it| Memory::new(it, &at("memory"), part, warnings))
            .transpose()?;
        let cpu = cpu.map(|it| Cpu::new(it, &at("cpu"))).transpose()?;
        let block_io = resources.block_io().as_ref();
        let block_io = block_io
            .map(|it| BlockIo::new(it, &at("blockIO"), warnings))
            .transpose()?;
        let pids = resources.pids();
        let pids = pids.map(|pids| match pids.limit() {
            0 => Ok(Limit::At(1)),
            limit => Limit::new(at("pids.limit"), limit),
        });
        Ok(Self {
            devices: device_rules::list(check::list(resources.devices()), &at("devices"))?,
            memory: memory.unwrap_or_default(),
            cpu: cpu.unwrap_or_default(),
            pids: pids.transpose()?,
            block_io: block_io.unwrap_or_default(),
            hugepages: hugepages(
                check::list(resources.hugepage_limits()),
                &at("hugepageLimits"),
            )?,
            rdma: rdma(resources.rdma(), &at("rdma"))?,
            unified: unified(resources.unified(), &at("unified"))?,
        })
    }
}

/// Refuses a property that only cgroup v1 supports.
fn v1_only(field: impl Display, present: bool) -> Result<()> {
    if !present {
        Ok(())
    } else {
        Err(Error::config(field, "cgroup v2 has no such control")
            .code_is(Code::ConfigUnsupported)
            .hint("remove it"))
    }
}

fn refuse_network(network: Option<&oci::LinuxNetwork>, field: &str) -> Result<()> {
    let Some(network) = network else {
        return Ok(());
    };
    let class = network.class_id().unwrap_or(0) != 0;
    v1_only(format_args!("{field}.classID"), class)?;
    v1_only(
        format_args!("{field}.priorities"),
        !check::list(network.priorities()).is_empty(),
    )
}

impl Memory {
    fn new(
        memory: &oci::LinuxMemory,
        field: &str,
        part: Part,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let bytes = |name: &str, value: Option<i64>| {
            Limit::unless_zero(format_args!("{field}.{name}"), value)
        };
        if let Some(swappiness) = memory.swappiness() {
            check::within(format_args!("{field}.swappiness"), swappiness, 0..=100)?;
        }
        let limit = bytes("limit", memory.limit())?;
        let reservation = bytes("reservation", memory.reservation())?;
        let both = bytes("swap", memory.swap())?;
        let swap = Swap::new(limit, both, part)
            .map_err(|message| Error::config(format_args!("{field}.swap"), message))?;
        warn_of_deprecated(memory, field, warnings);
        Ok(Self {
            limit,
            reservation,
            swap,
            swappiness: memory.swappiness(),
            disable_oom_killer: memory.disable_oom_killer().unwrap_or(false),
            check_before_update: memory.check_before_update().unwrap_or(false),
        })
    }
}

impl Swap {
    /// Computes the limit of swap alone from `both`, which limits memory and swap together.
    fn new(
        limit: Option<Limit>,
        both: Option<Limit>,
        part: Part,
    ) -> std::result::Result<Option<Self>, String> {
        const LIMIT: &str = "linux.resources.memory.limit";
        let alone = match (limit, both) {
            (Some(Limit::Max), None) => return Ok(Some(Self::FromLimit)),
            (_, None) => return Ok(None),
            (_, Some(Limit::Max)) => Limit::Max,
            (None, Some(Limit::At(_))) if part == Part::Request => return Ok(None),
            (None, Some(Limit::At(both))) => {
                return Err(format!(
                    "{both} counts memory and swap together, so it needs {LIMIT}"
                ));
            }
            (Some(Limit::Max), Some(Limit::At(both))) => {
                return Err(format!(
                    "{both} limits memory and swap together, but {LIMIT} is -1"
                ));
            }
            (Some(Limit::At(limit)), Some(Limit::At(both))) => {
                let alone = both.checked_sub(limit).ok_or_else(|| {
                    format!("{both} counts memory and swap together but is below the limit {limit}")
                })?;
                Limit::At(alone)
            }
        };
        Ok(Some(Self::Asked(alone)))
    }
}

/// Warns about controls that only cgroup v1 had.
fn warn_of_deprecated(memory: &oci::LinuxMemory, field: &str, warnings: &mut Vec<Warning>) {
    // The property is deprecated, but old configs have it.
    #[allow(deprecated, reason = "engines still write it")]
    let kernel = memory.kernel();
    for (name, present) in [
        ("kernel", kernel.is_some()),
        ("kernelTCP", memory.kernel_tcp().is_some()),
        ("useHierarchy", memory.use_hierarchy() == Some(false)),
    ] {
        if present {
            warnings.push(check::only_v1(format_args!("{field}.{name}")));
        }
    }
}

impl Cpu {
    fn new(cpu: &oci::LinuxCpu, field: &str) -> Result<Self> {
        let runtime = cpu.realtime_runtime().unwrap_or(0) != 0;
        v1_only(format_args!("{field}.realtimeRuntime"), runtime)?;
        let period = cpu.realtime_period().unwrap_or(0) != 0;
        v1_only(format_args!("{field}.realtimePeriod"), period)?;
        let idle = cpu.idle();
        if let Some(idle) = idle {
            check::within(format_args!("{field}.idle"), idle, 0..=1)?;
        }
        let quota = cpu.quota();
        let this = Self {
            shares: cpu.shares().filter(|shares| *shares != 0),
            // Any negative quota means no limit.
            quota: match quota {
                Some(..0) => Some(Limit::Max),
                quota => Limit::unless_zero(format_args!("{field}.quota"), quota)?,
            },
            period: cpu.period().filter(|period| *period != 0),
            burst: cpu.burst(),
            idle: idle.map(|idle| idle == 1),
            cpus: list_of_numbers(&format!("{field}.cpus"), cpu.cpus().as_ref())?,
            mems: list_of_numbers(&format!("{field}.mems"), cpu.mems().as_ref())?,
        };
        this.check_bandwidth(field)?;
        Ok(this)
    }

    /// Checks the ranges that the kernel enforces. Source: kernel/sched/core.c, `tg_set_bandwidth`.
    fn check_bandwidth(&self, field: &str) -> Result<()> {
        if let Some(period) = self.period {
            check::within(format_args!("{field}.period"), period, 1_000..=1_000_000)?;
        }
        let Some(Limit::At(quota)) = self.quota else {
            return Ok(());
        };
        let max = i64::MAX.unsigned_abs();
        check::within(format_args!("{field}.quota"), quota, 1_000..=max)?;
        match self.burst {
            Some(burst) if burst > quota => {
                let message = format!("{burst} is above the quota {quota}");
                Err(Error::config(format_args!("{field}.burst"), message))
            }
            _ => Ok(()),
        }
    }
}

/// Checks a list such as `0-3,5`, the format of cpuset files.
fn list_of_numbers(field: &str, list: Option<&String>) -> Result<Option<String>> {
    let list = check::text(field, list)?;
    if let Some(text) = &list {
        numbers::checked(field, text)?;
    }
    Ok(list)
}

fn hugepages(limits: &[oci::LinuxHugepageLimit], field: &str) -> Result<Vec<Hugepage>> {
    let limits = limits.iter().enumerate();
    limits
        .map(|(index, limit)| Hugepage::new(limit, &format!("{field}[{index}]")))
        .collect()
}

impl Hugepage {
    fn new(limit: &oci::LinuxHugepageLimit, field: &str) -> Result<Self> {
        let page_size = limit.page_size();
        let number = page_size
            .strip_suffix('B')
            .and_then(|size| size.strip_suffix(['K', 'M', 'G']));
        let digits =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        if !number.is_some_and(|number| !number.is_empty() && digits(number)) {
            let message = format!("{page_size:?} is not a size such as 64KB, 2MB or 1GB");
            return Err(Error::config(format_args!("{field}.pageSize"), message));
        }
        let bytes = u64::try_from(limit.limit()).map_err(|_| {
            let message = format!("{} is negative", limit.limit());
            Error::config(format_args!("{field}.limit"), message)
        })?;
        Ok(Self {
            page_size: page_size.clone(),
            limit: bytes,
        })
    }
}

fn rdma(
    devices: &Option<HashMap<String, oci::LinuxRdma>>,
    field: &str,
) -> Result<Vec<(String, Rdma)>> {
    let mut out: Vec<(String, Rdma)> = Vec::new();
    for (device, limit) in devices.iter().flatten() {
        let field = format!("{field}[{device:?}]");
        if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(Error::config(field, "not the name of a device"));
        }
        let limit = Rdma {
            hca_handles: limit.hca_handles(),
            hca_objects: limit.hca_objects(),
        };
        if limit.hca_handles.is_none() && limit.hca_objects.is_none() {
            return Err(Error::config(field, "needs hcaHandles or hcaObjects"));
        }
        let place = out.partition_point(|(other, _)| other < device);
        out.insert(place, (device.clone(), limit));
    }
    Ok(out)
}

/// The core interface files that limit the cgroup they are in. The other core files act on
/// processes, including those of the host, on the cgroup's place in the hierarchy, or on its
/// children. Source: cgroup-v2.rst, "Core Interface Files".
const CORE_LIMITS: &str = "cgroup.max.depth, cgroup.max.descendants, cgroup.pressure";

fn unified(
    files: &Option<HashMap<String, String>>,
    field: &str,
) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for (name, value) in files.iter().flatten() {
        let field = format!("{field}[{name:?}]");
        check::no_nul(&field, value)?;
        let parts = name.split_once('.').filter(|_| !name.contains(['/', '\0']));
        match parts {
            Some(("cgroup", _)) if !CORE_LIMITS.split(", ").any(|limit| limit == name) => {
                let message = "this core file of cgroups is not a limit";
                return Err(Error::config(field, message).hint(format!(
                    "of the core files only {} can be set; linux.cgroupsPath places the container",
                    CORE_LIMITS
                )));
            }
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => {}
            _ => {
                let message = "not the name of a cgroup file such as memory.high";
                return Err(Error::config(field, message));
            }
        }
        out.insert(name.clone(), value.clone());
    }
    Ok(out)
}
