//! The flags before the verb, and those that several verbs have.
//!
//! The structs have no doc comments: clap would show them in place of the verb's.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the help says [file:]PATH, which is no link"
)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::flags::{Lazy, flags};
use super::normalise::parse_bool;
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

    // Where the state of containers is.
    #[derive(Clone, Debug, Default)]
    pub struct StateFlags {
        /// Directory that holds the state of the containers.
        ///
        /// It should be on a tmpfs, because the state must not outlive a reboot. Without this flag it
        /// is /run/sampan, or $XDG_RUNTIME_DIR/sampan for a user other than root.
        ///
        /// It belongs to the caller or to root, and others may not write to it unless it is sticky: the
        /// hooks in it run as the caller.
        #[arg(long, value_name = "DIR")]
        pub root: Option<PathBuf>,
    }

    // Where the log goes, and what is in it.
    #[derive(Clone, Debug, Default)]
    pub struct LogFlags {
        /// Where to write the log: [file:]PATH, journald:ID or syslog:ID.
        ///
        /// A file is appended to. A command that fails adds exactly one error to it and also prints
        /// the text on standard error. Without this flag the log is standard error.
        #[arg(long, value_name = "TARGET")]
        pub log: Option<OsString>,

        /// Format of the log: text or json
        #[arg(long, value_name = "FORMAT")]
        pub log_format: Option<String>,

        /// Least severe lines to log: error, warning or debug
        #[arg(long, value_name = "LEVEL", value_enum)]
        pub log_level: Option<log::Level>,

        /// Log debug lines too; the same as --log-level debug
        #[arg(long)]
        pub debug: bool,
    }

    // What manages the cgroup of a container.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct CgroupFlags {
        /// Let systemd manage the cgroups of the container.
        ///
        /// Each container gets a transient scope, and linux.cgroupsPath is SLICE:PREFIX:NAME. The
        /// commands that make a container read this flag; the others know from the container.
        ///
        /// The annotation org.systemd.property.NAME sets a property of the scope: After, CollectMode,
        /// DefaultDependencies, Description, Documentation, KillSignal, RuntimeMaxUSec, SendSIGHUP or
        /// TimeoutStopUSec; and where the config has no limit of the kind AllowedCPUs,
        /// AllowedMemoryNodes, CPUQuotaPerSecUSec, CPUQuotaPeriodUSec, IOReadBandwidthMax,
        /// IOReadIOPSMax, IOWriteBandwidthMax, IOWriteIOPSMax, MemoryHigh, MemoryMax, MemorySwapMax,
        /// MemoryZSwapMax, OOMPolicy or TasksMax. Any other property is refused.
        #[arg(long)]
        pub systemd_cgroup: bool,

        /// Who manages the cgroups of the container.
        ///
        /// cgroupfs: this runtime, in the cgroup2 file system. systemd: the same as --systemd-cgroup.
        /// disabled: nobody; the container stays in the cgroup of its caller.
        #[arg(long, value_name = "MANAGER", value_enum)]
        pub cgroup_manager: Option<CgroupManager>,
    }

    /// `--cgroup-manager`.
    #[derive(Default)]
    pub enum CgroupManager {
        #[default]
        Cgroupfs,
        Systemd,
        Disabled,
    }

    // Whether the caller has the rights of root.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct PrivilegeFlags {
        /// Accepted for engines that pass it, and without effect: true, false or auto.
        ///
        /// What the caller may do follows from its effective user id and its user namespace.
        #[arg(long, value_name = "BOOL", value_parser = bool_or_auto)]
        pub rootless: Option<Rootless>,
    }

    // clap prints the version when it comes to this flag.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct VersionFlag {
        /// Print the version
        #[arg(short = 'v', long, visible_short_alias = 'V', action = clap::ArgAction::Version)]
        pub version: bool,
    }

    // The container that a verb is for.
    #[derive(Clone, Debug, Default)]
    pub struct Container {
        /// The container
        #[arg(value_name = "ID")]
        pub id: String,
    }

    // The container that a verb makes.
    #[derive(Clone, Debug)]
    pub struct NewContainer {
        /// Name of the new container: letters, digits and _ + - .
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

    // How a new container is made, beyond its config.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct ContainerFlags {
        /// Use MS_MOVE and chroot(2) instead of pivot_root(2).
        ///
        /// For a host whose root is an initramfs, where pivot_root(2) fails. It isolates less.
        #[arg(long)]
        pub no_pivot: bool,

        /// Stay in the session keyring of the caller instead of making a new one.
        ///
        /// A new one has no name, so that no other container can get hold of it. Each process of `exec`
        /// has its own too.
        #[arg(long)]
        pub no_new_keyring: bool,
    }

    // What the process inherits from the caller.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct DescriptorFlags {
        /// Pass this many descriptors, from 3 upwards, to the process.
        ///
        /// They come after those that LISTEN_FDS announces.
        #[arg(long, value_name = "N", default_value_t = 0)]
        pub preserve_fds: u32,
    }

    // What the caller gets of the process.
    #[derive(Clone, Debug, Default)]
    pub struct CallerFlags {
        /// Unix stream socket that receives the master of the process's terminal
        #[arg(long, value_name = "PATH")]
        pub console_socket: Option<PathBuf>,

        /// Unix stream socket that receives a pidfd of the process
        #[arg(long, value_name = "PATH")]
        pub pidfd_socket: Option<PathBuf>,

        /// File to write the process id to, as seen by the caller; written last, when all went well
        ///
        /// A regular file is replaced. A FIFO, which a process must have open for reading, a character
        /// device, and a link to one of them are written to.
        #[arg(long, value_name = "PATH")]
        pub pid_file: Option<PathBuf>,

        /// Do not adopt the orphans of the process
        #[arg(long)]
        pub no_subreaper: bool,
    }

    // All flags that make a container, for `create` and `run`.
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
        pub new: NewContainer,
    }

    /// `--format` of the verbs that list something.
    pub enum ListFormat {
        Table,
        Json,
    }
}

/// `--rootless`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rootless {
    Auto,
    Yes,
    No,
}

/// A boolean in the spellings of Go's `strconv.ParseBool`, or `auto`.
fn bool_or_auto(text: &str) -> Result<Rootless, String> {
    match parse_bool(text) {
        Some(true) => Ok(Rootless::Yes),
        Some(false) => Ok(Rootless::No),
        None if text == "auto" => Ok(Rootless::Auto),
        None => Err("expected true, false or auto".to_owned()),
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
    /// The log that the flags ask for.
    pub fn options(&self) -> log::Options<'_> {
        log::Options {
            target: self.log.as_deref().map(OsStr::as_encoded_bytes),
            format: self.log_format.as_deref(),
            level: match self.debug {
                true => log::Level::Debug,
                false => self.log_level.unwrap_or_default(),
            },
        }
    }
}

impl CgroupFlags {
    /// What manages the cgroup of a new container. Verbs for existing ones know it from the state,
    /// because engines do not repeat the flags.
    pub fn manager(&self) -> CgroupManager {
        match (self.cgroup_manager, self.systemd_cgroup) {
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
        let manager = |systemd_cgroup, cgroup_manager| {
            CgroupFlags {
                systemd_cgroup,
                cgroup_manager,
            }
            .manager()
        };
        assert_eq!(manager(false, None), CgroupManager::Cgroupfs);
        assert_eq!(manager(true, None), CgroupManager::Systemd);
        for chosen in [CgroupManager::Systemd, CgroupManager::Disabled] {
            assert_eq!(manager(false, Some(chosen)), chosen);
            assert_eq!(manager(true, Some(chosen)), chosen);
        }
    }
}
