//! `process`.

use std::path::PathBuf;

/// `process`, checked.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// `process.terminal`.
    pub terminal: bool,
    /// `process.consoleSize`; ignored without a terminal.
    pub console_size: Option<ConsoleSize>,
    /// `process.cwd`; absolute.
    pub cwd: PathBuf,
    /// `process.env`, later entries of one name winning, without `HOME` when that was empty.
    pub env: Vec<String>,
    /// `process.args`; at least one.
    pub args: Vec<String>,
    /// `process.user`.
    pub user: User,
    /// `process.capabilities`; `None` when absent: all sets empty.
    pub capabilities: Capabilities,
    /// `process.rlimits`, each type once.
    pub rlimits: Vec<Rlimit>,
    /// `process.noNewPrivileges`.
    pub no_new_privileges: bool,
    /// `process.oomScoreAdj`; `None` leaves it alone.
    pub oom_score_adj: Option<i32>,
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
    /// `additionalGids`, without duplicates.
    pub additional_gids: Vec<u32>,
    /// `umask`; 0o022 when absent, as engines expect.
    pub umask: u32,
}

/// The five capability sets as bit masks (bit n is capability n).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Where it stands in the config, as in `process.rlimits[0]`.
    pub field: String,
    /// `RLIMIT_NOFILE` and so on, for messages.
    pub name: String,
    /// The resource's number.
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}
