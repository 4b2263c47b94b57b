//! When and where the process runs: `process.scheduler`, `process.ioPriority` and
//! `process.execCPUAffinity`.

use std::fmt::{self, Display};

use oci_spec::runtime as oci;

use super::check;
use super::numbers::{self, NumberList};
use super::values::values;
use crate::error::{Error, Result, Warning};

/// `process.scheduler`, as the fields of `struct sched_attr`. sched_setattr(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// `policy`.
    pub policy: Policy,
    /// Each `SCHED_FLAG_*` with its bit.
    pub flags: Vec<Flag>,
    /// -20, the highest, to 19. 0 for policies without a nice value.
    pub nice: i32,
    /// 1 to 99 for [`Policy::Fifo`] and [`Policy::Rr`], otherwise 0.
    pub priority: u32,
    /// `runtime`, `deadline` and `period` in nanoseconds. 0 unless the policy is
    /// [`Policy::Deadline`]; a period of 0 is that of the deadline.
    pub deadlines: [u64; 3],
}

values! {
    /// `process.scheduler.policy`, with the kernel's numbers. Linux reserves a number for SCHED_ISO,
    /// but does not have it.
    Policy of LinuxSchedulerPolicy except SchedIso {
        Other = 0, SchedOther, "SCHED_OTHER";
        Fifo = 1, SchedFifo, "SCHED_FIFO";
        Rr = 2, SchedRr, "SCHED_RR";
        Batch = 3, SchedBatch, "SCHED_BATCH";
        Idle = 5, SchedIdle, "SCHED_IDLE";
        Deadline = 6, SchedDeadline, "SCHED_DEADLINE";
    }
}

values! {
    /// An element of `process.scheduler.flags`, with the kernel's bits.
    Flag of LinuxSchedulerFlag {
        ResetOnFork = 0x01, SchedResetOnFork, "RESET_ON_FORK";
        Reclaim = 0x02, SchedFlagReclaim, "RECLAIM";
        DlOverrun = 0x04, SchedFlagDLOverrun, "DL_OVERRUN";
        KeepPolicy = 0x08, SchedFlagKeepPolicy, "KEEP_POLICY";
        KeepParams = 0x10, SchedFlagKeepParams, "KEEP_PARAMS";
        UtilClampMin = 0x20, SchedFlagUtilClampMin, "UTIL_CLAMP_MIN";
        UtilClampMax = 0x40, SchedFlagUtilClampMax, "UTIL_CLAMP_MAX";
    }
}

const FIELD: &str = "process.scheduler";
/// The shortest runtime that the kernel accepts, in nanoseconds.
const SHORTEST: u64 = 1024;

/// `process.ioPriority`. ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority {
    /// `class`.
    pub class: IoClass,
    /// 0, the highest, to 7. The idle class has no levels.
    pub level: u8,
}

values! {
    /// `process.ioPriority.class`, with the kernel's numbers.
    IoClass of IOPriorityClass {
        Realtime = 1, IoprioClassRt, "realtime";
        BestEffort = 2, IoprioClassBe, "best-effort";
        Idle = 3, IoprioClassIdle, "idle";
    }
}

/// `process.execCPUAffinity`: the CPUs of a process of `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecAffinity {
    /// `initial`: until the process is in the container's cgroup.
    pub initial: Option<NumberList>,
    /// `final`: from then on.
    pub last: Option<NumberList>,
}

impl ExecAffinity {
    pub(super) fn new(affinity: &oci::ExecCPUAffinity) -> Result<Self> {
        let list = |name: &str, text: &Option<String>| {
            let field = format!("process.execCPUAffinity.{name}");
            let text = text.as_deref().unwrap_or_default();
            NumberList::new(&field, text, numbers::CPUS)
        };
        Ok(Self {
            initial: list("initial", affinity.initial())?,
            last: list("final", affinity.cpu_affinity_final())?,
        })
    }
}

impl Scheduler {
    pub(super) fn new(scheduler: &oci::Scheduler, warnings: &mut Vec<Warning>) -> Result<Self> {
        let policy = Policy::new(*scheduler.policy()).ok_or_else(|| {
            let message = "Linux reserves SCHED_ISO but does not have it";
            Error::config(format!("{FIELD}.policy"), message)
        })?;
        let flags = check::list(scheduler.flags());
        Ok(Self {
            policy,
            flags: flags.iter().copied().map(Flag::new).collect(),
            nice: nice(scheduler, policy, warnings)?,
            priority: priority(scheduler, policy)?,
            deadlines: deadlines(scheduler, policy)?,
        })
    }

    /// `sched_flags` of sched_setattr(2).
    #[must_use]
    pub fn flag_bits(&self) -> u64 {
        self.flags.iter().fold(0, |bits, flag| bits | *flag as u64)
    }
}

/// A nice value that has no meaning is ignored with a warning, as the other runtimes accept it.
fn nice(scheduler: &oci::Scheduler, policy: Policy, warnings: &mut Vec<Warning>) -> Result<i32> {
    let field = format!("{FIELD}.nice");
    let nice = scheduler.nice().unwrap_or(0);
    check::within(&field, nice, -20..=19)?;
    match policy {
        Policy::Other | Policy::Batch => return Ok(nice),
        _ if nice != 0 => {
            let message = format!("{policy} has no nice value, ignored");
            warnings.push(Error::no_effect(field, message));
        }
        _ => {}
    }
    Ok(0)
}

fn priority(scheduler: &oci::Scheduler, policy: Policy) -> Result<u32> {
    let field = format!("{FIELD}.priority");
    let priority = scheduler.priority().unwrap_or(0);
    match policy {
        Policy::Fifo | Policy::Rr => check::within(&field, priority, 1..=99)?,
        _ if priority != 0 => {
            let message = format!("only SCHED_FIFO and SCHED_RR have a priority, {policy} has not");
            return Err(Error::config(field, message));
        }
        _ => {}
    }
    Ok(priority.unsigned_abs())
}

/// The rules of sched_setattr(2): runtime ≤ deadline ≤ period.
fn deadlines(scheduler: &oci::Scheduler, policy: Policy) -> Result<[u64; 3]> {
    let named = [
        ("runtime", scheduler.runtime().unwrap_or(0)),
        ("deadline", scheduler.deadline().unwrap_or(0)),
        ("period", scheduler.period().unwrap_or(0)),
    ];
    let refuse = |name: &str, message| Err(Error::config(format!("{FIELD}.{name}"), message));
    let [(_, runtime), (_, deadline), (_, period)] = named;
    if policy != Policy::Deadline {
        return match named.iter().find(|(_, value)| *value != 0) {
            None => Ok([0; 3]),
            Some((name, _)) => refuse(
                name,
                format!("only SCHED_DEADLINE has it, {policy} has not"),
            ),
        };
    }
    for (name, value) in named {
        if value >> 63 != 0 {
            return refuse(name, format!("{value} is too large"));
        }
    }
    if runtime < SHORTEST {
        return refuse(
            "runtime",
            format!("{runtime} is below {SHORTEST} nanoseconds"),
        );
    }
    if deadline < runtime {
        return refuse(
            "deadline",
            format!("{deadline} is below the runtime, {runtime}"),
        );
    }
    if period != 0 && period < deadline {
        return refuse(
            "period",
            format!("{period} is below the deadline, {deadline}"),
        );
    }
    Ok([runtime, deadline, period])
}

impl Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.policy)?;
        match self.policy {
            Policy::Other | Policy::Batch => write!(f, " nice {}", self.nice)?,
            Policy::Idle => {}
            Policy::Fifo | Policy::Rr => write!(f, " priority {}", self.priority)?,
            Policy::Deadline => {
                let [runtime, deadline, period] = self.deadlines;
                let period = period.max(deadline);
                write!(f, " runtime {runtime} deadline {deadline} period {period}")?;
            }
        }
        self.flags.iter().try_for_each(|flag| write!(f, " {flag}"))
    }
}

impl IoPriority {
    pub(super) fn new(priority: &oci::LinuxIOPriority) -> Result<Self> {
        let level = priority.priority();
        let level = check::narrowed("process.ioPriority.priority", level, 0..=7)?;
        Ok(Self {
            class: IoClass::new(priority.class()),
            level,
        })
    }

    /// The value for ioprio_set(2): the class above 13 bits of data.
    #[must_use]
    pub const fn value(self) -> i32 {
        (self.class as i32) << 13 | self.level as i32
    }
}

impl Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            IoClass::Idle => write!(f, "{}", self.class),
            class => write!(f, "{class} {}", self.level),
        }
    }
}
