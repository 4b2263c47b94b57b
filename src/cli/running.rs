//! The flags of the verbs for existing containers.

// The structs have no doc comments: clap would show them in place of the command's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::units;

#[derive(Args, Debug)]
#[group(skip)]
pub struct Kill {
    /// Signal every process of the container, and accept a container that has stopped
    #[arg(short, long)]
    pub all: bool,

    /// ID is an extended regular expression; every container that it matches is signalled
    #[arg(short, long)]
    pub regex: bool,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,

    /// Name or number of the signal: TERM, SIGTERM, 15, RTMIN+3
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    pub signal: String,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Delete {
    /// Kill the container first if it runs; accept one that does not exist
    #[arg(short, long)]
    pub force: bool,

    /// ID is an extended regular expression; every container that it matches is deleted
    #[arg(short, long)]
    pub regex: bool,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct List {
    /// Form of the list
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub format: ListFormat,

    /// Print the ids alone
    #[arg(short, long)]
    pub quiet: bool,
}

/// `list --format`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    Table,
    Json,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Mounts {
    /// What to do with the mounts
    #[arg(value_name = "ACTION", value_enum)]
    pub action: MountsAction,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,

    /// JSON array of mounts; relative sources of binds start at the bundle
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What `mounts` does.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountsAction {
    Add,
    Remove,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Ps {
    /// Form of the list; json has the process ids alone, as the caller sees them
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub format: ListFormat,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,

    /// Arguments of ps(1) for the table; without any, -ef. Its output must have a column PID
    #[arg(
        value_name = "PS-ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub args: Vec<OsString>,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Events {
    /// Time between two statistics, as in 500ms, 5s or 1m30s
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "5s")]
    pub interval: Duration,

    /// Print the statistics once
    #[arg(long)]
    pub stats: bool,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Args, Debug, Default)]
#[group(skip)]
pub struct Update {
    /// File with the new limits as JSON, the linux.resources of a config; - is standard input.
    ///
    /// The flags for single limits are ignored then. Values that are left out stay as they are,
    /// and so do the device rules.
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,

    /// Block I/O weight, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,

    /// Period of the CPU quota in microseconds, 1000 to 1000000
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<u64>,

    /// CPU time per period in microseconds, at least 1000; -1 lifts the limit
    #[arg(long, value_name = "USEC")]
    pub cpu_quota: Option<i64>,

    /// CPU time that may be saved up for later periods, in microseconds; at most the quota
    #[arg(long, value_name = "USEC")]
    pub cpu_burst: Option<u64>,

    /// CPU shares, 2 to 262144; 1024 is what a container without shares has
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,

    /// 1 lets the container run only where nobody else wants the CPU, 0 ends that
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,

    /// Period for realtime processes; cgroup v2 cannot limit them, so this is refused
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_period: Option<u64>,

    /// Time for realtime processes; cgroup v2 cannot limit them, so this is refused
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_runtime: Option<i64>,

    /// CPUs to use, as in 0-3,5
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes to use, as in 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Memory limit, as in 512m; -1 lifts it.
    ///
    /// Below what is in use, the kernel reclaims memory, and kills where that is not enough.
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub memory: Option<i64>,

    /// Memory that is spared when the host runs short of it
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub memory_reservation: Option<i64>,

    /// Limit of memory and swap together; -1 lifts the limit of swap
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub memory_swap: Option<i64>,

    /// Most processes and threads that there may be; -1 lifts the limit
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<i64>,

    /// Cache schema of Intel RDT; not supported, so this is refused
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<OsString>,

    /// Memory bandwidth schema of Intel RDT; not supported, so this is refused
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<OsString>,

    /// Ignored: Linux has no limit of kernel memory any more
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory: Option<OsString>,

    /// Ignored: Linux has no limit of kernel memory any more
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory_tcp: Option<OsString>,

    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}
