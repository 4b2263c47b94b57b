//! The flags that stand before the verb, and the flags that several verbs share.
//!
//! The structs have no doc comments, because clap would show them instead of the verb's.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the help says [file:]PATH, which is not a link"
)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::flags::{Lazy, flags};
use super::units::{self, parse_bool};
use crate::log;

flags! {
    // The flags before the verb.
    #[derive(Clone, Debug, Default)]
    pub struct Global {
        #[command(flatten)]
        pub state: Lazy<StateFlags>,
        #[command(flatten)]
        pub log: Lazy<LogFlags>,
        #[command(flatten)]
        pub cgroups: Lazy<CgroupFlags>,
        #[command(flatten)]
        pub privileges: Lazy<PrivilegeFlags>,
        #[command(flatten)]
        pub version: Lazy<VersionFlag>,
    }

    // Where the state of the containers is kept.
    #[derive(Clone, Debug, Default)]
    pub struct StateFlags {
        /// Directory that holds the state of the containers.
        ///
        /// The directory should be on a tmpfs, because the state must not survive a reboot. The
        /// default is /run/sampan, or $XDG_RUNTIME_DIR/sampan for a user other than root.
        ///
        /// The directory must belong to the caller or to root. Other users must not be able to
        /// write to it unless it is sticky, because hooks that are stored in it run as the caller.
        #[arg(long, value_name = "DIR")]
        pub root: Option<PathBuf>,
    }

    // Where the log is written, and what it contains.
    #[derive(Clone, Debug, Default)]
    pub struct LogFlags {
        /// Where to write the log: [file:]PATH, journald:ID or syslog:ID.
        ///
        /// The log is appended to a file. A command that fails logs exactly one error and also
        /// prints its text on standard error. The default is standard error.
        #[arg(long, value_name = "TARGET")]
        pub log: Option<OsString>,

        /// Format of the log: text or json.
        ///
        /// In json, a failure or a warning has its data beside its text: see sampan-errors(7). On a
        /// terminal, text has no time and no quotes.
        #[arg(long, value_name = "FORMAT")]
        pub log_format: Option<String>,

        /// Lowest severity to log: error, warning or debug
        #[arg(long, value_name = "LEVEL", value_parser = units::choice::<log::Level>())]
        pub log_level: Option<String>,

        /// Log debug messages too; the same as --log-level debug
        #[arg(long)]
        pub debug: bool,
    }

    // What manages the cgroup of a container.
    #[derive(Clone, Debug, Default)]
    pub struct CgroupFlags {
        /// Let systemd manage the cgroups of the container.
        ///
        /// Each container gets a transient scope, and linux.cgroupsPath has the form
        /// SLICE:PREFIX:NAME. Only commands that create a container read this flag; other commands
        /// use the setting stored with the container.
        ///
        /// The annotation org.systemd.property.NAME sets a property of the scope. Always allowed
        /// are After, CollectMode, DefaultDependencies, Description, Documentation, KillSignal,
        /// RuntimeMaxUSec, SendSIGHUP and TimeoutStopUSec. Allowed if the config does not set the
        /// same limit are AllowedCPUs, AllowedMemoryNodes, CPUQuotaPerSecUSec, CPUQuotaPeriodUSec,
        /// IOReadBandwidthMax, IOReadIOPSMax, IOWriteBandwidthMax, IOWriteIOPSMax, MemoryHigh,
        /// MemoryMax, MemorySwapMax, MemoryZSwapMax, OOMPolicy and TasksMax. Any other property is
        /// refused.
        #[arg(long)]
        pub systemd_cgroup: bool,

        /// Manager of the cgroups of the container.
        ///
        /// cgroupfs: this runtime, in the cgroup2 file system. systemd: the same as
        /// --systemd-cgroup. disabled: none; the container stays in the cgroup of the caller. Its
        /// linux.resources are then not enforced, and without a pid namespace of its own only its
        /// first process can be killed.
        #[arg(long, value_name = "MANAGER", value_parser = units::choice::<CgroupManager>())]
        pub cgroup_manager: Option<String>,
    }

    /// `--cgroup-manager`.
    #[derive(Default)]
    pub enum CgroupManager {
        #[default]
        Cgroupfs,
        Systemd,
        Disabled,
    }

    // Whether the caller has root's privileges.
    #[derive(Clone, Debug, Default)]
    pub struct PrivilegeFlags {
        /// Accepted for compatibility with engines, without effect: true, false or auto.
        ///
        /// The runtime decides by its effective user id and its user namespace.
        #[arg(long, value_name = "BOOL", value_parser = bool_or_auto)]
        pub rootless: Option<String>,
    }

    // clap prints the version when it reaches this flag.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct VersionFlag {
        /// Print the version
        #[arg(short = 'v', long, visible_short_alias = 'V', action = clap::ArgAction::Version)]
        pub version: bool,
    }

    // The container that a verb works on.
    #[derive(Clone, Debug, Default)]
    pub struct Container {
        /// Name of the container
        #[arg(value_name = "ID")]
        pub id: String,
    }

    // The container that a verb creates.
    #[derive(Clone, Debug)]
    pub struct NewContainer {
        /// Name of the new container: letters, digits and any of _ + . -
        #[arg(value_name = "ID")]
        pub id: String,
    }

    // Where the config of a new container is.
    #[derive(Clone, Debug)]
    pub struct Bundle {
        /// Directory that holds config.json; paths in the config are relative to it
        #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = false)]
        pub bundle: PathBuf,

        /// The config, if it is not config.json in the bundle; a relative path starts at the bundle
        #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json")]
        pub config: PathBuf,
    }

    // How a new container is created, apart from its config.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct ContainerFlags {
        /// Use MS_MOVE and chroot(2) instead of pivot_root(2).
        ///
        /// For a host whose root is an initramfs, where pivot_root(2) fails. The isolation is
        /// weaker.
        #[arg(long)]
        pub no_pivot: bool,

        /// Keep the session keyring of the caller instead of creating a new one.
        ///
        /// A new keyring is anonymous, so that no other container can join it. Each process of
        /// `exec` gets its own keyring too.
        #[arg(long)]
        pub no_new_keyring: bool,
    }

    // What the process inherits from the caller.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct DescriptorFlags {
        /// Pass this many descriptors, from 3 upwards, to the process.
        ///
        /// They follow the descriptors that LISTEN_FDS announces.
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = units::number(0..=u32::MAX))]
        pub preserve_fds: u32,
    }

    // What the caller receives about the process.
    #[derive(Clone, Debug, Default)]
    pub struct CallerFlags {
        /// Unix stream socket that receives the master of the terminal of the process
        #[arg(long, value_name = "PATH")]
        pub console_socket: Option<PathBuf>,

        /// Unix stream socket that receives a pidfd of the process
        #[arg(long, value_name = "PATH")]
        pub pidfd_socket: Option<PathBuf>,

        /// File to write the process id to, as the caller sees it
        ///
        /// The file is written last, after every other step has succeeded. A regular file is
        /// replaced. A FIFO that a process has open for reading, a character device, and a link to
        /// one of them are written to.
        #[arg(long, value_name = "PATH")]
        pub pid_file: Option<PathBuf>,

        /// Do not adopt the orphans of the process
        #[arg(long)]
        pub no_subreaper: bool,
    }

    // Whether the runtime measures itself.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct TimingFlags {
        /// Print where the time went, by phase, and the slowest steps.
        ///
        /// The times are printed on standard error once the process is ready or, with `run` and
        /// `exec`, has executed its program. With --log-format json they are an object `timings` in
        /// one line of the log. A command that fails prints none. sampan(8) describes the phases.
        #[arg(long)]
        pub timings: bool,
    }

    // All flags of the verbs that create a container, `create` and `run`.
    #[derive(Clone, Debug)]
    pub struct Setup {
        #[command(flatten)]
        pub bundle: Bundle,
        #[command(flatten)]
        pub container: Lazy<ContainerFlags>,
        #[command(flatten)]
        pub descriptors: Lazy<DescriptorFlags>,
        #[command(flatten)]
        pub caller: Lazy<CallerFlags>,
        #[command(flatten)]
        pub measure: Lazy<TimingFlags>,
        #[command(flatten)]
        pub new: NewContainer,
    }

    /// `--format` of the verbs that list something.
    pub enum ListFormat {
        Table,
        Json,
    }
}

/// Accepts a boolean as Go's `strconv.ParseBool` does, or `auto`.
fn bool_or_auto(text: &str) -> Result<String, &'static str> {
    if parse_bool(text).is_some() || text == "auto" {
        Ok(text.to_owned())
    } else {
        Err("expected true, false or auto")
    }
}

impl ValueEnum for log::Level {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Error, Self::Warning, Self::Debug]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.word()))
    }
}

impl LogFlags {
    /// The log options that the flags request.
    pub fn options(&self) -> log::Options<'_> {
        log::Options {
            target: self.log.as_deref().map(OsStr::as_encoded_bytes),
            format: self.log_format.as_deref(),
            level: match &self.log_level {
                _ if self.debug => log::Level::Debug,
                Some(word) => units::chosen(word),
                None => log::Level::default(),
            },
        }
    }
}

impl CgroupFlags {
    /// The cgroup manager of a new container. Verbs for an existing container read the manager from
    /// its state, because engines do not repeat the flags.
    pub fn manager(&self) -> CgroupManager {
        let chosen = self.cgroup_manager.as_deref().map(units::chosen);
        match (chosen, self.systemd_cgroup) {
            (Some(CgroupManager::Disabled), _) => CgroupManager::Disabled,
            (Some(CgroupManager::Systemd), _) | (_, true) => CgroupManager::Systemd,
            (Some(CgroupManager::Cgroupfs) | None, false) => CgroupManager::Cgroupfs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_flag_chooses_the_cgroup_manager() {
        let manager = |systemd_cgroup, cgroup_manager: Option<&str>| {
            CgroupFlags {
                systemd_cgroup,
                cgroup_manager: cgroup_manager.map(str::to_owned),
            }
            .manager()
        };
        assert_eq!(manager(false, None), CgroupManager::Cgroupfs);
        assert_eq!(manager(true, None), CgroupManager::Systemd);
        for (word, chosen) in [
            ("systemd", CgroupManager::Systemd),
            ("disabled", CgroupManager::Disabled),
        ] {
            assert_eq!(manager(false, Some(word)), chosen);
            assert_eq!(manager(true, Some(word)), chosen);
        }
    }
}
