//! `process`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::check;
use super::scheduling::{ExecAffinity, IoPriority, Scheduler};
use crate::error::{Code, Error, Result, Warning};

/// `process`, checked.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// `process.terminal`.
    pub terminal: bool,
    /// `process.consoleSize`; ignored without a terminal.
    pub console_size: Option<ConsoleSize>,
    /// `process.cwd`; absolute.
    pub cwd: PathBuf,
    /// `process.env`. Of several entries with the same name, only the last is kept. An empty
    /// `HOME` is left out.
    pub env: Vec<OsString>,
    /// `process.args`; at least one.
    pub args: Vec<OsString>,
    /// `process.user`.
    pub user: User,
    /// `process.capabilities`; all sets are empty when it is absent.
    pub capabilities: Capabilities,
    /// `process.rlimits`, each type once.
    pub rlimits: Vec<Rlimit>,
    /// `process.noNewPrivileges`.
    pub no_new_privileges: bool,
    /// `process.oomScoreAdj`; `None` leaves the score unchanged.
    pub oom_score_adj: Option<i32>,
    /// `process.scheduler`.
    pub scheduler: Option<Scheduler>,
    /// `process.ioPriority`.
    pub io_priority: Option<IoPriority>,
    /// `process.execCPUAffinity`.
    pub exec_affinity: Option<ExecAffinity>,
    /// `process.apparmorProfile`.
    pub apparmor_profile: Option<String>,
    /// `process.selinuxLabel`.
    pub selinux_label: Option<String>,
}

/// Terminal size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// `process.user`, ids as seen inside the container.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// `uid`.
    pub uid: u32,
    /// `gid`.
    pub gid: u32,
    /// `additionalGids`.
    pub additional_gids: Vec<u32>,
    /// `umask`; 0o022 when absent, as engines expect.
    pub umask: u32,
}

/// The five capability sets as bit masks (bit n is capability n).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are named as the sets in capabilities(7)"
)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

/// One element of `process.rlimits`.
#[derive(Clone, Debug)]
pub struct Rlimit {
    /// Its path in the config, such as `process.rlimits[0]`.
    pub field: String,
    /// `RLIMIT_NOFILE` and so on, for messages.
    pub name: String,
    /// The resource's number.
    pub resource: u32,
    /// In the unit of the resource; `u64::MAX` is no limit.
    pub soft: u64,
    /// The ceiling for the soft limit.
    pub hard: u64,
}

/// NGROUPS_MAX. setgroups(2).
const MOST_GROUPS: usize = 65_536;
/// The id that the kernel reads as "unset".
const NO_ID: u32 = u32::MAX;

/// The security modules for which labels are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

impl Process {
    /// Checks `process` of a file for `exec`. Privileges, labels, limits and the umask that it
    /// leaves out are those of the container's process.
    ///
    /// # Errors
    /// As [`Process::new`].
    pub fn in_container(
        process: &oci::Process,
        container: &Self,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let mut new = Self::new(process, warnings)?;
        if process.capabilities().is_none() {
            new.capabilities = container.capabilities;
        }
        if process.user().umask().is_none() {
            new.user.umask = container.user.umask;
        }
        if new.rlimits.is_empty() {
            new.rlimits.clone_from(&container.rlimits);
        }
        let keep = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        new.apparmor_profile = keep(new.apparmor_profile, &container.apparmor_profile);
        new.selinux_label = keep(new.selinux_label, &container.selinux_label);
        new.oom_score_adj = new.oom_score_adj.or(container.oom_score_adj);
        new.io_priority = new.io_priority.or(container.io_priority);
        new.scheduler = new.scheduler.or_else(|| container.scheduler.clone());
        new.exec_affinity = new
            .exec_affinity
            .or_else(|| container.exec_affinity.clone());
        Ok(new)
    }

    /// Checks `process`, of `config.json` or of a file for `exec`.
    ///
    /// # Errors
    /// Names the first invalid or unsupported property, by its path starting with `process`.
    pub fn new(process: &oci::Process, warnings: &mut Vec<Warning>) -> Result<Self> {
        let terminal = process.terminal().unwrap_or(false);
        let cwd = process.cwd().clone();
        check::absolute("process.cwd", &cwd)?;
        let oom_score_adj = process.oom_score_adj();
        if let Some(score) = oom_score_adj {
            check::within("process.oomScoreAdj", score, -1000..=1000)?;
        }
        if process.command_line().is_some() {
            let field = "process.commandLine";
            warnings.push(Error::no_effect(field, "for another platform, ignored"));
        }
        let size = process.console_size().filter(|_| terminal);
        let capabilities = process.capabilities().as_ref();
        Ok(Self {
            terminal,
            console_size: size.map(ConsoleSize::new).transpose()?.flatten(),
            cwd,
            env: env(check::list(process.env()))?,
            args: args(process.args().as_deref())?,
            user: User::new(process.user())?,
            capabilities: capabilities.map_or_else(Capabilities::default, |sets| {
                Capabilities::new(sets, warnings)
            }),
            rlimits: rlimits(check::list(process.rlimits()))?,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            oom_score_adj,
            scheduler: process
                .scheduler()
                .as_ref()
                .map(|it| Scheduler::new(it, warnings))
                .transpose()?,
            io_priority: process
                .io_priority()
                .as_ref()
                .map(IoPriority::new)
                .transpose()?,
            exec_affinity: process
                .exec_cpu_affinity()
                .as_ref()
                .map(ExecAffinity::new)
                .transpose()?,
            apparmor_profile: check::text(
                "process.apparmorProfile",
                process.apparmor_profile().as_ref(),
            )?,
            selinux_label: check::text("process.selinuxLabel", process.selinux_label().as_ref())?,
        })
    }

    /// The security modules for which the process has a label.
    #[must_use]
    pub fn labels(&self) -> Labels {
        Labels {
            apparmor: self.apparmor_profile.is_some(),
            selinux: self.selinux_label.is_some(),
        }
    }
}

fn args(args: Option<&[String]>) -> Result<Vec<OsString>> {
    let given = args.is_some();
    let args = args.unwrap_or_default();
    match args.first() {
        None if given => return Err(Error::config("process.args", "is empty")),
        None => return Err(Error::missing("process.args")),
        Some(program) if program.is_empty() => {
            return Err(Error::config("process.args[0]", "is empty"));
        }
        Some(_) => {}
    }
    for (index, arg) in args.iter().enumerate() {
        check::no_nul(format_args!("process.args[{index}]"), arg)?;
    }
    Ok(args.iter().map(OsString::from).collect())
}

/// Of several entries with the same name, keeps the last one, at its position. An empty `HOME`
/// counts as absent.
fn env(entries: &[String]) -> Result<Vec<OsString>> {
    let mut last = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let field = format_args!("process.env[{index}]");
        check::no_nul(field, entry)?;
        match entry.split_once('=') {
            None => return Err(Error::config(field, format!("{entry:?} has no \"=\""))),
            Some(("", _)) => return Err(Error::config(field, format!("{entry:?} has no name"))),
            Some((name, _)) => last.insert(name, index),
        };
    }
    let kept = entries.iter().enumerate().filter(|(index, entry)| {
        let name = entry.split_once('=').map(|(name, _)| name);
        name.and_then(|name| last.get(name)) == Some(index) && *entry != "HOME="
    });
    Ok(kept.map(|(_, entry)| entry.into()).collect())
}

impl ConsoleSize {
    /// Returns `None` for 0 by 0, which engines send when they do not know the size.
    fn new(size: oci::Box) -> Result<Option<Self>> {
        let one = |name: &str, value: u64| {
            let field = format!("process.consoleSize.{name}");
            check::within(&field, value, 0..=u64::from(u16::MAX))?;
            u16::try_from(value).map_err(|_| Error::config(field, "too large"))
        };
        let this = Self {
            height: one("height", size.height())?,
            width: one("width", size.width())?,
        };
        Ok(Some(this).filter(|size| {
            *size
                != Self {
                    height: 0,
                    width: 0,
                }
        }))
    }
}

impl User {
    fn new(user: &oci::User) -> Result<Self> {
        let umask = user.umask().unwrap_or(0o022);
        check::within("process.user.umask", umask, 0..=0o7777)?;
        let additional_gids = check::list(user.additional_gids()).to_vec();
        if additional_gids.len() > MOST_GROUPS {
            let message = format!(
                "{} entries; the kernel accepts {MOST_GROUPS}",
                additional_gids.len()
            );
            return Err(Error::config("process.user.additionalGids", message));
        }
        let groups = additional_gids.iter().map(|gid| ("additionalGids", *gid));
        for (name, id) in [("uid", user.uid()), ("gid", user.gid())]
            .into_iter()
            .chain(groups)
        {
            if id == NO_ID {
                let message = format!("{id} is not a valid id, the kernel reads it as \"unset\"");
                return Err(Error::config(format_args!("process.user.{name}"), message));
            }
        }
        Ok(Self {
            uid: user.uid(),
            gid: user.gid(),
            additional_gids,
            umask: umask & 0o777,
        })
    }
}

impl Capabilities {
    /// Checks `process.capabilities`. Bits that the kernel would refuse are dropped with a warning,
    /// as the specification asks: an effective bit needs the permitted one; an inheritable bit
    /// needs the bounding one; an ambient bit needs both the permitted and the inheritable one.
    fn new(sets: &oci::LinuxCapabilities, warnings: &mut Vec<Warning>) -> Self {
        let mut limit = |name: &str, set: u64, allowed: u64, needs: &str| {
            // One warning per set: Buildah sends a whole ambient set without the inheritable one.
            let excess = capability_names(set & !allowed);
            if !excess.is_empty() {
                let verb = if excess.len() == 1 { "is" } else { "are" };
                let message = format!("{} {verb} not in {needs}, ignored", excess.join(", "));
                let warning = Error::config(format!("process.capabilities.{name}"), message);
                warnings.push(warning.code_is(Code::WarningCapabilityNotGranted));
            }
            set & allowed
        };
        let (bounding, permitted) = (mask(sets.bounding()), mask(sets.permitted()));
        let inheritable = limit(
            "inheritable",
            mask(sets.inheritable()),
            bounding,
            "the bounding set",
        );
        Self {
            bounding,
            permitted,
            inheritable,
            effective: limit(
                "effective",
                mask(sets.effective()),
                permitted,
                "the permitted set",
            ),
            ambient: limit(
                "ambient",
                mask(sets.ambient()),
                permitted & inheritable,
                "both the permitted and the inheritable set",
            ),
        }
    }
}

/// Every capability of `set`, by name, in the order of their numbers.
#[must_use]
pub fn capability_names(set: u64) -> Vec<String> {
    if set == 0 {
        return Vec::new();
    }
    let mut present = [None; 64];
    for capability in caps::all() {
        if set & capability.bitmask() != 0 {
            present[usize::from(capability.index())] = Some(capability);
        }
    }
    let present = present.into_iter().flatten();
    present.map(|capability| capability.to_string()).collect()
}

fn mask(set: &Option<oci::Capabilities>) -> u64 {
    let set = set.iter().flatten();
    set.fold(0, |mask, name| mask | capability(*name).bitmask())
}

/// A `match`, because a conversion by name would format and parse a string for each capability.
fn capability(name: oci::Capability) -> caps::Capability {
    use caps::Capability as Caps;
    use oci::Capability as Oci;

    match name {
        Oci::AuditControl => Caps::CAP_AUDIT_CONTROL,
        Oci::AuditRead => Caps::CAP_AUDIT_READ,
        Oci::AuditWrite => Caps::CAP_AUDIT_WRITE,
        Oci::BlockSuspend => Caps::CAP_BLOCK_SUSPEND,
        Oci::Bpf => Caps::CAP_BPF,
        Oci::CheckpointRestore => Caps::CAP_CHECKPOINT_RESTORE,
        Oci::Chown => Caps::CAP_CHOWN,
        Oci::DacOverride => Caps::CAP_DAC_OVERRIDE,
        Oci::DacReadSearch => Caps::CAP_DAC_READ_SEARCH,
        Oci::Fowner => Caps::CAP_FOWNER,
        Oci::Fsetid => Caps::CAP_FSETID,
        Oci::IpcLock => Caps::CAP_IPC_LOCK,
        Oci::IpcOwner => Caps::CAP_IPC_OWNER,
        Oci::Kill => Caps::CAP_KILL,
        Oci::Lease => Caps::CAP_LEASE,
        Oci::LinuxImmutable => Caps::CAP_LINUX_IMMUTABLE,
        Oci::MacAdmin => Caps::CAP_MAC_ADMIN,
        Oci::MacOverride => Caps::CAP_MAC_OVERRIDE,
        Oci::Mknod => Caps::CAP_MKNOD,
        Oci::NetAdmin => Caps::CAP_NET_ADMIN,
        Oci::NetBindService => Caps::CAP_NET_BIND_SERVICE,
        Oci::NetBroadcast => Caps::CAP_NET_BROADCAST,
        Oci::NetRaw => Caps::CAP_NET_RAW,
        Oci::Perfmon => Caps::CAP_PERFMON,
        Oci::Setgid => Caps::CAP_SETGID,
        Oci::Setfcap => Caps::CAP_SETFCAP,
        Oci::Setpcap => Caps::CAP_SETPCAP,
        Oci::Setuid => Caps::CAP_SETUID,
        Oci::SysAdmin => Caps::CAP_SYS_ADMIN,
        Oci::SysBoot => Caps::CAP_SYS_BOOT,
        Oci::SysChroot => Caps::CAP_SYS_CHROOT,
        Oci::SysModule => Caps::CAP_SYS_MODULE,
        Oci::SysNice => Caps::CAP_SYS_NICE,
        Oci::SysPacct => Caps::CAP_SYS_PACCT,
        Oci::SysPtrace => Caps::CAP_SYS_PTRACE,
        Oci::SysRawio => Caps::CAP_SYS_RAWIO,
        Oci::SysResource => Caps::CAP_SYS_RESOURCE,
        Oci::SysTime => Caps::CAP_SYS_TIME,
        Oci::SysTtyConfig => Caps::CAP_SYS_TTY_CONFIG,
        Oci::Syslog => Caps::CAP_SYSLOG,
        Oci::WakeAlarm => Caps::CAP_WAKE_ALARM,
    }
}

fn rlimits(list: &[oci::PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut out: Vec<Rlimit> = Vec::with_capacity(list.len());
    for (index, limit) in list.iter().enumerate() {
        let field = format!("process.rlimits[{index}]");
        let name = limit.typ().to_string();
        if let Some(other) = out.iter().find(|other| other.name == name) {
            let message = format!("{name} is listed twice, first at {}", other.field);
            return Err(Error::config(format_args!("{field}.type"), message));
        }
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            let message = format!("{name}: {soft} is above the hard limit {hard}");
            return Err(Error::config(format_args!("{field}.soft"), message));
        }
        out.push(Rlimit {
            field,
            name,
            resource: resource(limit.typ()),
            soft,
            hard,
        });
    }
    Ok(out)
}

fn resource(kind: oci::PosixRlimitType) -> u32 {
    use oci::PosixRlimitType as Kind;

    let resource = match kind {
        Kind::RlimitCpu => libc::RLIMIT_CPU,
        Kind::RlimitFsize => libc::RLIMIT_FSIZE,
        Kind::RlimitData => libc::RLIMIT_DATA,
        Kind::RlimitStack => libc::RLIMIT_STACK,
        Kind::RlimitCore => libc::RLIMIT_CORE,
        Kind::RlimitRss => libc::RLIMIT_RSS,
        Kind::RlimitNproc => libc::RLIMIT_NPROC,
        Kind::RlimitNofile => libc::RLIMIT_NOFILE,
        Kind::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        Kind::RlimitAs => libc::RLIMIT_AS,
        Kind::RlimitLocks => libc::RLIMIT_LOCKS,
        Kind::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        Kind::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        Kind::RlimitNice => libc::RLIMIT_NICE,
        Kind::RlimitRtprio => libc::RLIMIT_RTPRIO,
        Kind::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    // The constants are signed in one C library and unsigned in another. All are small.
    resource as _
}
