//! `update`: changes the limits of an existing container.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::saved::config_text;
use super::{Context, DONE, Verb, cgroup_of};
use crate::cgroup;
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::cli::units;
use crate::config::Labels;
use crate::error::{Chain as _, Code, Context as _, Error};
use crate::host::Host;
use crate::plan::cgroup::{controllers, hierarchy, warnings, writes};
use crate::plan::systemd::{limits, round_quota};
use crate::run;
use crate::spec;
use crate::state::not_running;
use crate::state::{CONFIG, Dir, Locked, State, Status};
use crate::sys::{Sys, file};

flags! {
    /// Change the limits of a container.
    ///
    /// Either all changes are made or none. They are stored with the container until it is deleted.
    #[derive(Debug, Default)]
    pub(super) struct Update {
        /// File with the new limits, the linux.resources of a config as JSON; - is standard input.
        ///
        /// The flags for single limits are then ignored. Values that the file omits do not change,
        /// and neither do the device rules.
        #[arg(short, long, value_name = "FILE")]
        pub resources: Option<PathBuf>,

        /// Block I/O weight, 10 to 1000
        #[arg(long, value_name = "WEIGHT", value_parser = units::number(0..=u32::from(u16::MAX)))]
        pub blkio_weight: Option<u32>,

        /// Period of the CPU quota in microseconds, 1000 to 1000000
        #[arg(long, value_name = "USEC")]
        pub cpu_period: Option<u64>,

        /// CPU time per period in microseconds, at least 1000; -1 lifts the limit
        #[arg(long, value_name = "USEC")]
        pub cpu_quota: Option<i64>,

        /// Unused CPU time that later periods may use, in microseconds; at most the quota
        #[arg(long, value_name = "USEC")]
        pub cpu_burst: Option<u64>,

        /// CPU shares, 2 to 262144; the default of a container is 1024
        #[arg(long, value_name = "SHARES")]
        pub cpu_share: Option<u64>,

        /// 1 lets the container run only when the CPU would be idle; 0 ends that
        #[arg(long, value_name = "0|1")]
        pub cpu_idle: Option<i64>,

        /// Period for realtime processes; cgroup v2 cannot limit them, so only 0 is accepted
        #[arg(long, value_name = "USEC")]
        pub cpu_rt_period: Option<u64>,

        /// Time for realtime processes; cgroup v2 cannot limit them, so only 0 is accepted
        #[arg(long, value_name = "USEC")]
        pub cpu_rt_runtime: Option<i64>,

        /// CPUs to use, such as 0-3,5
        #[arg(long, value_name = "LIST")]
        pub cpuset_cpus: Option<String>,

        /// Memory nodes to use, such as 0-1
        #[arg(long, value_name = "LIST")]
        pub cpuset_mems: Option<String>,

        /// Memory limit, such as 512m; -1 lifts the limit.
        ///
        /// If the container uses more than the new limit, the kernel reclaims memory, and kills
        /// processes if that is not enough.
        #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
        pub memory: Option<i64>,

        /// Memory that the kernel leaves to the container when the host runs short of memory
        #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
        pub memory_reservation: Option<i64>,

        /// Limit of memory plus swap; -1 lifts the limit of swap
        #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
        pub memory_swap: Option<i64>,

        /// Maximum number of processes and threads; -1 lifts the limit
        #[arg(long, value_name = "N")]
        pub pids_limit: Option<i64>,

        /// Cache schema of Intel RDT, such as L3:0=ff.
        ///
        /// The container must have a group of its own: linux.intelRdt without closID.
        #[arg(long, value_name = "SCHEMA")]
        pub l3_cache_schema: Option<String>,

        /// Memory bandwidth schema of Intel RDT, such as MB:0=50.
        ///
        /// The container must have a group of its own: linux.intelRdt without closID.
        #[arg(long, value_name = "SCHEMA")]
        pub mem_bw_schema: Option<String>,

        /// Ignored: Linux has no limit of kernel memory any more
        #[arg(long, value_name = "BYTES", hide = true)]
        pub kernel_memory: Option<OsString>,

        /// Ignored: Linux has no limit of kernel memory any more
        #[arg(long, value_name = "BYTES", hide = true)]
        pub kernel_memory_tcp: Option<OsString>,

        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Update {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Changes the limits of the cgroup and the saved config, or neither.
    fn run(&self, context: &Context) -> Result<u8> {
        let dir = context.open(&self.container.id)?;
        // The request is read before the directory is locked: the process that writes the request
        // may be slow, and other commands wait for the lock.
        let given = Request::read(context, self)?;
        let locked = dir.lock()?.ok_or_else(|| dir.missing())?;
        let state = State::load(&dir)?;
        if state.status(&dir)? == Status::Stopped {
            bail!(not_running(&state));
        }
        let saved = config_text(&dir)?;
        self.change(context, &locked, &state, &saved, &given.text)
            .map_err(|error| {
                let damaged = spec::check_saved(&saved).with_context(|| dir.object(CONFIG));
                damaged.err().unwrap_or_else(|| given.name(error))
            })?;
        Ok(DONE)
    }
}

impl Update {
    fn change(
        &self,
        context: &Context,
        locked: &Locked,
        state: &State,
        saved: &[u8],
        request: &[u8],
    ) -> Result<()> {
        let mut update = spec::update(saved, request)?;
        let without_effect = warnings(&update.resources);
        context
            .log
            .warn_all(update.warnings.iter().chain(&without_effect));
        let schemas = self.schemas();
        let mut schemata = Vec::new();
        if !schemas.is_empty() {
            (update.config, schemata) = spec::schemas(&update.config, &schemas)?;
        }
        apply(locked.dir(), state, &update, &schemata)
    }

    /// The new properties of `linux.intelRdt`.
    fn schemas(&self) -> Vec<(&'static str, &str)> {
        let given = [
            ("l3CacheSchema", &self.l3_cache_schema),
            ("memBwSchema", &self.mem_bw_schema),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect()
    }
}

/// The flags of [`Update::schemas`].
const SCHEMAS: [Given; 2] = [
    ("--l3-cache-schema", "linux.intelRdt.l3CacheSchema"),
    ("--mem-bw-schema", "linux.intelRdt.memBwSchema"),
];

/// The new limits as `linux.resources`, and their source.
struct Request {
    text: Vec<u8>,
    source: Source,
}

enum Source {
    /// The flag with its file.
    File(String),
    Flags(Vec<Given>),
}

impl Request {
    fn read(context: &Context, args: &Update) -> Result<Self> {
        if let Some(file) = &args.resources {
            let flag = format!("--resources {}", file.display());
            let text = read_request(file).with_context(|| flag.clone())?;
            // A property that is none would otherwise change nothing without a word.
            let unknown = spec::properties::ignored(&text, "linux.resources");
            context.log.warn_all(&unknown);
            let source = Source::File(flag);
            return Ok(Self { text, source });
        }
        warn_of_ignored(context, args);
        let (request, flags) = request(args);
        Ok(Self {
            text: request.to_string().into_bytes(),
            source: Source::Flags(flags),
        })
    }

    /// Adds the name of the flag to an error.
    fn name(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.source {
            Source::File(flag) => error.context(flag.clone()),
            Source::Flags(flags) => name_flag(error, flags),
        }
    }
}

fn apply(dir: &Dir, state: &State, update: &spec::Update, schemata: &[String]) -> Result<()> {
    let cgroup = cgroup_of(dir, state)?;
    let host = Host::probe(Labels::default())?;
    let mut writes = writes(&update.resources, hierarchy(&host)?)?;
    let unit = state.cgroup.as_ref().and_then(|place| place.unit.as_ref());
    if unit.is_some() {
        round_quota(&mut writes)?;
    } else if let Some(place) = &state.cgroup {
        let below = Path::new(place.path.trim_start_matches('/'));
        cgroup::enable(&place.mount, below, &controllers(&writes))?;
    }
    let properties = match unit {
        Some(_) => limits(&writes)?,
        None => Vec::new(),
    };
    let applied = cgroup.write_all(&writes)?;
    unit.map_or(Ok(()), |unit| {
        cgroup::systemd::set(unit.manager(), &unit.name, &properties)?;
        // systemd writes its default for the period of a quota that has no limit.
        let mut again = writes.iter().filter(|write| write.file == "cpu.max");
        again.try_for_each(|write| cgroup.write(write))
    })
    .and_then(|()| {
        let config = dir.prepare(CONFIG, &update.config)?;
        run::change_schemata(&state.resctrl, schemata, || config.put())
    })
    .map_err(|error| applied.take_back(error))
}

fn warn_of_ignored(context: &Context, args: &Update) {
    for (flag, value) in [
        ("--kernel-memory", &args.kernel_memory),
        ("--kernel-memory-tcp", &args.kernel_memory_tcp),
    ] {
        if value.is_some() {
            let warning = Error::new(format!("{flag}: cgroup v2 has no such limit, ignored"));
            context.log.warn(warning.code_is(Code::WarningNoEffect));
        }
    }
}

/// Reads the file of `--resources`, or standard input.
fn read_request(path: &Path) -> Sys<Vec<u8>> {
    if path == Path::new("-") {
        file::read_open(std::io::stdin().as_fd())
    } else {
        file::read(path)
    }
}

/// A flag on the command line, and the property that it sets.
type Given = (&'static str, &'static str);

/// Converts the flags to `linux.resources`.
fn request(args: &Update) -> (Value, Vec<Given>) {
    let cpus = args.cpuset_cpus.clone();
    let mems = args.cpuset_mems.clone();
    let values: [(&str, &str, Option<Value>); 14] = [
        (
            "--blkio-weight",
            "blockIO.weight",
            args.blkio_weight.map(Value::from),
        ),
        (
            "--cpu-period",
            "cpu.period",
            args.cpu_period.map(Value::from),
        ),
        ("--cpu-quota", "cpu.quota", args.cpu_quota.map(Value::from)),
        ("--cpu-burst", "cpu.burst", args.cpu_burst.map(Value::from)),
        ("--cpu-share", "cpu.shares", args.cpu_share.map(Value::from)),
        ("--cpu-idle", "cpu.idle", args.cpu_idle.map(Value::from)),
        (
            "--cpu-rt-period",
            "cpu.realtimePeriod",
            args.cpu_rt_period.map(Value::from),
        ),
        (
            "--cpu-rt-runtime",
            "cpu.realtimeRuntime",
            args.cpu_rt_runtime.map(Value::from),
        ),
        ("--cpuset-cpus", "cpu.cpus", cpus.map(Value::from)),
        ("--cpuset-mems", "cpu.mems", mems.map(Value::from)),
        ("--memory", "memory.limit", args.memory.map(Value::from)),
        (
            "--memory-reservation",
            "memory.reservation",
            args.memory_reservation.map(Value::from),
        ),
        (
            "--memory-swap",
            "memory.swap",
            args.memory_swap.map(Value::from),
        ),
        (
            "--pids-limit",
            "pids.limit",
            args.pids_limit.map(Value::from),
        ),
    ];
    let mut request = Value::Object(Map::new());
    let mut given = Vec::new();
    for (flag, property, value) in values {
        if let (Some((parent, key)), Some(value)) = (property.split_once('.'), value) {
            request[parent][key] = value;
            given.push((flag, property));
        }
    }
    (request, given)
}

/// Prefixes an error with the flag whose property it is about.
fn name_flag(error: anyhow::Error, given: &[Given]) -> anyhow::Error {
    let field = error.field().unwrap_or_default();
    let about = field.strip_prefix("linux.resources.").unwrap_or(field);
    let mut flags = given.iter().chain(&SCHEMAS);
    let flag = flags.find(|(_, property)| *property == about);
    match flag {
        Some((flag, _)) => error.context((*flag).to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_become_properties() {
        let args = Update {
            blkio_weight: Some(10),
            cpu_quota: Some(-1),
            cpuset_cpus: Some("0-1".to_owned()),
            memory: Some(1 << 20),
            pids_limit: Some(0),
            ..Update::default()
        };
        assert_eq!(
            request(&args).0,
            json!({
                "blockIO": {"weight": 10},
                "cpu": {"quota": -1, "cpus": "0-1"},
                "memory": {"limit": 1_048_576},
                "pids": {"limit": 0},
            })
        );
        assert_eq!(request(&Update::default()).0, json!({}));
    }

    #[test]
    fn an_error_names_the_flag() {
        let args = Update {
            cpu_quota: Some(5),
            ..Update::default()
        };
        let (request, flags) = request(&args);
        let error = spec::update(b"{}", request.to_string().as_bytes()).unwrap_err();
        let text = format!("{:#}", name_flag(error.into(), &flags));
        assert!(
            text.starts_with("--cpu-quota: linux.resources.cpu.quota: "),
            "{text}"
        );
    }
}
