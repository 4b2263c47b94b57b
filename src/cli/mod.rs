//! The command line: definitions for clap, and nothing that acts.
//!
//! The spellings are those that engines use with other runtimes. [`go`] turns what a Go command
//! line accepts and clap does not (`-root=X`, `--debug=true`) into the forms defined here.

pub mod go;
mod groups;
mod running;
mod units;
mod verb;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::SPEC_VERSION;
use crate::error::{Error, Kind};

pub use groups::Given;
pub use running::{Delete, Events, Kill, List, ListFormat, Mounts, MountsAction, Ps, Update};

/// The commit that the binary was built from, given by `SAMPAN_COMMIT` at build time.
pub const COMMIT: &str = match option_env!("SAMPAN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What `--version` prints. Engines read the first line and the line that begins
/// with `commit: `; no later line may have the first line's keyword in it.
fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("sampan version {version}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}

/// Run containers as the OCI runtime specification describes them
#[derive(Parser, Debug)]
#[command(
    name = "sampan",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    // As with Go's flags, the last one wins: engines put the user's flags after their own.
    args_override_self = true,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,

    /// Print the version
    #[arg(short = 'v', long, visible_short_alias = 'V', action = ArgAction::Version)]
    pub version: (),
}

/// The flags that stand before the command, in groups.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Global {
    #[command(flatten)]
    pub state: Given<StateFlags>,

    #[command(flatten)]
    pub log: Given<LogFlags>,

    #[command(flatten)]
    pub cgroups: Given<CgroupFlags>,

    #[command(flatten)]
    pub privileges: Given<PrivilegeFlags>,
}

// Where the state of containers is.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
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

// Whether the runtime has the rights of root.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
pub struct PrivilegeFlags {
    /// Tolerate what only root may do: true, false or auto.
    ///
    /// auto decides by the effective user id and the user namespace.
    #[arg(long, value_name = "BOOL", value_parser = bool_or_auto)]
    pub rootless: Option<Rootless>,
}

// Where a failure is told.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
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
    pub log_level: Option<LogLevel>,

    /// Log debug lines too; the same as --log-level debug
    #[arg(long)]
    pub debug: bool,
}

// Who makes the cgroup of a container.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
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

/// `--log-level`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    #[default]
    Warning,
    Debug,
}

/// `--cgroup-manager`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    #[default]
    Cgroupfs,
    Systemd,
    Disabled,
}

/// `--rootless`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    #[default]
    Auto,
    Yes,
    No,
}

/// A boolean in the spellings of Go's `strconv.ParseBool`, or `auto`.
fn bool_or_auto(text: &str) -> Result<Rootless, String> {
    match go::parse_bool(text) {
        Some(true) => Ok(Rootless::Yes),
        Some(false) => Ok(Rootless::No),
        None if text == "auto" => Ok(Rootless::Auto),
        None => Err("expected true, false or auto".to_owned()),
    }
}

/// The verbs.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub enum Command {
    /// Create a container without running its process.
    ///
    /// The container is set up as config.json in the bundle says, up to the moment before its
    /// process executes. Later changes to config.json have no effect. `start` runs the process.
    Create(Create),
    /// Run the process of a created container
    Start(Id),
    /// Create a container, run its process, and delete it when the process ends.
    ///
    /// The exit status is that of the process, or 128 plus the number of the signal that ended it.
    /// Until the process runs, SIGHUP, SIGINT, SIGQUIT and SIGTERM end the runtime: nothing is left of
    /// the container, and the status is 128 plus the number of the signal. Later they are forwarded.
    Run(Run),
    /// Execute one more process in a running container.
    ///
    /// The exit status is that of the process, or 128 plus the number of the signal that ended it;
    /// 255 if it could not be executed. COMMAND, NAME=VALUE and paths may have any bytes, UTF-8 or not.
    Exec(Box<Exec>),
    /// Print the state of a container as JSON.
    ///
    /// In its paths U+FFFD stands for what is not UTF-8; the other commands use the exact bytes.
    State(Id),
    /// Send a signal to the process of a container
    Kill(Kill),
    /// Delete a container that has stopped.
    ///
    /// A container that was created and never started is killed and deleted.
    Delete(Delete),
    /// List the containers below the root directory
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Stop every process of a container until it is resumed
    Pause(Id),
    /// Let the processes of a paused container go on
    Resume(Id),
    /// Change the limits of a container.
    ///
    /// All changes are made or none. They are kept with the container and hold until it is deleted.
    Update(Box<Update>),
    /// Add mounts to a running container, or take them off.
    ///
    /// FILE has a JSON array of objects as in `mounts` of config.json. `add` makes all of them or
    /// none. `remove` takes off what is mounted on their destinations, in the order of the array,
    /// and reads nothing else of them; the destinations may have no symbolic links in them.
    Mounts(Mounts),
    /// Print statistics of a container and when it runs out of memory.
    ///
    /// Each line is a JSON object. The first statistics come after the first interval. The command
    /// ends when the last process of the container has ended.
    Events(Events),
    /// Write a config.json to start from
    Spec(Spec),
    /// Print what this runtime supports as JSON
    Features(NoArgs),
    /// Show every step that creating a container would take.
    ///
    /// Nothing is done and nothing is changed.
    Explain(Explain),
}

// The structs below have no doc comments: clap would show them in place of those above.

#[derive(Args, Debug)]
#[group(skip)]
pub struct NoArgs {}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Id {
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

// Where the config of a new container is.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Bundle {
    /// Directory that holds config.json; paths in the config are relative to it
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = ".",
        hide_default_value = false
    )]
    pub bundle: PathBuf,

    /// The config, if it is not config.json in the bundle; a relative path starts at the bundle
    #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json")]
    pub config: PathBuf,
}

// The flags that change what a new container is made of.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
pub struct Shape {
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

    /// Pass this many descriptors, from 3 upwards, to the process.
    ///
    /// They come after those that LISTEN_FDS announces.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
}

// Where the caller gets hold of the process: for `create`, `run` and `exec`.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Handover {
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

// The flags that `create` and `run` share.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Setup {
    #[command(flatten)]
    pub bundle: Bundle,
    #[command(flatten)]
    pub shape: Given<Shape>,

    #[command(flatten)]
    pub handover: Given<Handover>,

    #[command(flatten)]
    pub id: NewId,
}

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct NewId {
    /// Name of the new container: letters, digits and _ + - .
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Create {
    #[command(flatten)]
    pub setup: Setup,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Run {
    #[command(flatten)]
    pub setup: Setup,
    #[command(flatten)]
    pub until: Given<Until>,
}

// How long `run` stays, and what then.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
pub struct Until {
    /// Return as soon as the process runs
    #[arg(short, long)]
    pub detach: bool,

    /// Keep the state and the cgroup when the process ends; `delete` removes them
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Exec {
    #[command(flatten)]
    pub what: Executed,
    #[command(flatten)]
    pub mode: Given<Mode>,
    #[command(flatten)]
    pub settings: Given<Settings>,
    #[command(flatten)]
    pub handover: Given<Handover>,
}

// What `exec` executes and where.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Executed {
    /// File with the process as JSON, like `process` of config.json; then there is no COMMAND
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub process: Option<PathBuf>,

    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,

    /// Program and arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<OsString>,
}

// How `exec` attends to the process.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)]
pub struct Mode {
    /// Return as soon as the process runs
    #[arg(short, long)]
    pub detach: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
}

// What `exec` sets for a COMMAND, or changes in a FILE.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Settings {
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,

    /// Environment variable; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,

    /// User and group in the container, as numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,

    /// Further group, as a number; may be repeated
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,

    /// Capability to add; may be repeated
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,

    /// Set no_new_privs
    #[arg(long)]
    pub no_new_privs: bool,

    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,

    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,

    /// Execute the process although the container is paused; it starts when the container resumes
    #[arg(long)]
    pub ignore_paused: bool,

    /// Cgroup of the process, below the container's
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,

    /// Pass this many descriptors, from 3 upwards, to the process.
    ///
    /// They come after those that LISTEN_FDS announces.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Spec {
    /// Directory to write config.json in
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,

    /// File to write instead; one that exists is replaced
    #[arg(short, long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Describe a container that a user other than root can run
    #[arg(long)]
    pub rootless: bool,
}

#[derive(Args, Debug)]
#[group(skip)]
pub struct Explain {
    #[command(flatten)]
    pub bundle: Bundle,
    #[command(flatten)]
    pub shape: Shape,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Name of the container, where the config leaves the cgroup to it
    #[arg(value_name = "ID", default_value = "ID")]
    pub id: String,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// A command.
    Run(Box<Cli>),
    /// A text for standard output: `--help` or `--version`.
    Print(String),
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`Kind::Usage`] with one line that names the flag. A flag without its value gives the words
/// `flag needs an argument: --x`, which podman looks for when it probes a runtime.
pub fn parse(args: Vec<OsString>) -> Result<Parsed, Error> {
    let args = go::normalise(args)?;
    if let Some(cli) = verb::parse(&args) {
        return Ok(Parsed::Run(Box::new(cli)));
    }
    whole(args)
}

/// Parses normalised arguments by the definition of all verbs.
fn whole(args: Vec<OsString>) -> Result<Parsed, Error> {
    match by_all_verbs(&args) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => Ok(Parsed::Print(error.render().to_string())),
            ErrorKind::DisplayVersion => Ok(Parsed::Print(version_text())),
            ErrorKind::InvalidUtf8 => Err(must_be_text(args)),
            _ => Err(usage_error(&error)),
        },
    }
}

fn by_all_verbs(args: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&OsString::from("sampan")).chain(args))
}

/// The error for an argument that is not UTF-8 and not a path, a word of a command or a variable,
/// which may have any bytes. clap does not say which one it is: it is the one whose replacement,
/// after that of those behind it, satisfies clap.
fn must_be_text(mut args: Vec<OsString>) -> Error {
    let mut refused = String::new();
    for index in (0..args.len()).rev() {
        if args[index].to_str().is_some() {
            continue;
        }
        refused = args[index].to_string_lossy().into_owned();
        args[index] = refused.clone().into();
        let error = by_all_verbs(&args).err();
        if error.is_none_or(|error| error.kind() != ErrorKind::InvalidUtf8) {
            break;
        }
    }
    Error::new(Kind::Usage, format!("{refused:?} is not UTF-8"))
        .hint("arguments of exec, its variables and paths may have any bytes, and this may not")
}

/// The flags that say where a failure to parse `args` is to be told.
pub fn log_flags(args: &[OsString]) -> LogFlags {
    let (log, format) = go::log_values(args);
    LogFlags {
        log,
        log_format: format.and_then(|format| format.into_string().ok()),
        ..LogFlags::default()
    }
}

/// One line of clap's message, and where to read more.
fn usage_error(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
    let message = match (missing_value(error), error.kind()) {
        (Some(flag), _) => format!("flag needs an argument: {flag}"),
        (
            None,
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ) => "a command is missing".to_owned(),
        (None, _) => line,
    };
    Error::new(Kind::Usage, message).hint("see sampan --help")
}

/// The flag that `error` finds without its value, as in `--root`.
fn missing_value(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let empty = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.is_empty(),
        _ => false,
    };
    if error.kind() != ErrorKind::InvalidValue || !empty || !flag.starts_with('-') {
        return None;
    }
    flag.split_whitespace().next().map(str::to_owned)
}

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::*;

    /// [`parse`] by the definition of all verbs alone.
    ///
    /// # Errors
    /// As there.
    pub fn parse_by_the_whole(args: Vec<OsString>) -> Result<Parsed, Error> {
        whole(go::normalise(args)?)
    }

    /// Whether the definition of one verb is enough for `args`.
    pub fn is_read_by_one_verb(args: Vec<OsString>) -> bool {
        go::normalise(args).is_ok_and(|args| verb::parse(&args).is_some())
    }
}

#[cfg(test)]
mod tests;
