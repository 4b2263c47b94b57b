//! `exec`.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::bundle::{check_preserved, process_options};
use super::saved::{Saved, program};
use super::{Context, DONE, Verb, unless_stopped};
use crate::cli::flags::{Lazy, flags};
use crate::cli::groups::{CallerFlags, Container, DescriptorFlags, TimingFlags};
use crate::cli::units;
use crate::config::{Config, Process};
use crate::error::{Chain as _, Code, Context as _, Error, Kind, Warning};
use crate::host::Host;
use crate::plan;
use crate::run::{self, ExecRequest, Timings, relay};
use crate::spec;
use crate::state::{Status, not_running};
use crate::sys::end::End;
use crate::sys::file;
use crate::sys::process::end;

flags! {
    /// Execute an additional process in a running container.
    ///
    /// The exit status is that of the process, or 128 plus the number of the signal that ended it.
    /// It is 255 if the process could not be executed. COMMAND, NAME=VALUE and paths need not be
    /// UTF-8. Capabilities, limits, labels, umask, I/O priority and oomScoreAdj that the file of
    /// --process leaves out are those of the container's process.
    #[derive(Debug)]
    pub(super) struct Exec {
        /// File with the process as JSON, like `process` in config.json; used instead of COMMAND
        #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
        pub process: Option<PathBuf>,

        #[command(flatten)]
        pub container: Container,

        /// Program and arguments
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        pub command: Vec<OsString>,

        #[command(flatten)]
        pub mode: Lazy<ExecMode>,
        #[command(flatten)]
        pub changes: Lazy<ProcessFlags>,
        #[command(flatten)]
        pub descriptors: Lazy<DescriptorFlags>,
        #[command(flatten)]
        pub caller: Lazy<CallerFlags>,
        #[command(flatten)]
        pub measure: Lazy<TimingFlags>,
    }

    // How long the runtime stays with the process.
    #[derive(Clone, Copy, Debug, Default)]
    pub(super) struct ExecMode {
        /// Return as soon as the process runs
        #[arg(short, long)]
        pub detach: bool,

        /// Give the process a terminal
        #[arg(short, long)]
        pub tty: bool,

        /// Accepted for users of other tools, without effect: the process always gets the
        /// caller's standard input
        #[arg(short, long)]
        pub interactive: bool,
    }

    // Properties of the process of a COMMAND.
    #[derive(Clone, Debug, Default)]
    pub(super) struct ProcessFlags {
        /// Working directory in the container
        #[arg(long, value_name = "DIR")]
        pub cwd: Option<PathBuf>,

        /// Environment variable; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE")]
        pub env: Vec<OsString>,

        /// User and group in the container, as numbers
        #[arg(short, long, value_name = "UID[:GID]")]
        pub user: Option<String>,

        /// Additional group, as a number; may be repeated
        #[arg(short = 'g', long, value_name = "GID", value_parser = units::number(0..=u32::MAX))]
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

        /// Allow a paused container; the process starts when the container is resumed
        #[arg(long)]
        pub ignore_paused: bool,

        /// Cgroup of the process, below the container's
        #[arg(long, value_name = "PATH")]
        pub cgroup: Option<PathBuf>,
    }
}

impl Verb for Exec {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Executes a process in a container. In the foreground the value is its exit status.
    fn run(&self, context: &Context) -> Result<u8> {
        let timings = Timings::new(context.log, self.measure.timings);
        let (dir, state) = context.load(&self.container.id)?;
        let (status, init) = state.status_and_init(&dir)?;
        let check = |status| check_status(status, self.changes.ignore_paused, &self.container.id);
        check(status)?;
        let init = init.ok_or_else(|| not_running(&state))?;
        // The config, the process and the plan are never freed: the new process shares their pages,
        // and freeing would write to these pages, so that the kernel would copy them.
        let mut saved = ManuallyDrop::new(Saved::read(&dir, &state)?);
        let recorder = saved.join_recording(context, &dir, &state)?;
        let (process, warnings) = process(context, &saved.config, self)?;
        let process = ManuallyDrop::new(process);
        check_terminal(&process, self)?;
        let options = plan::ProcessOptions {
            program: program(status),
            ..process_options(state.options.no_new_keyring, &self.descriptors)
        };
        check_preserved(&options)?;
        let cgroup = self.changes.cgroup.as_deref();
        let host = Host::probe_without_cgroups(process.labels())?;
        let plan = ManuallyDrop::new(plan::exec(
            &saved.config,
            &process,
            &host,
            &options,
            cgroup,
        )?);
        context.log.warn_all(warnings.iter().chain(&plan.warnings));
        context.log.debug(|| plan.details.clone());
        let request = ExecRequest {
            dir: &dir,
            state: &state,
            init: &init,
            plan: &plan,
            recorder: recorder.as_ref(),
            host: &host,
            console_socket: self.caller.console_socket.as_deref(),
            pidfd_socket: self.caller.pidfd_socket.as_deref(),
            pid_file: self.caller.pid_file.as_deref(),
            timings: &timings,
        };
        let execute = || {
            run::exec(&request)
                .inspect(|_| timings.finish())
                .map_err(|error| unless_stopped(self.named(error), &dir, &state, check))
        };
        if self.mode.detach {
            return execute().map(|_| DONE);
        }
        let signals = relay::Signals::of_foreground(self.caller.no_subreaper)?;
        let executed = execute()?;
        if let Err(interrupted) = signals.block_all() {
            end(executed.pidfd.as_fd());
            return Err(interrupted);
        }
        context.log.succeed();
        relay::relay(
            &signals,
            executed.pid,
            &executed.pidfd,
            executed.terminal,
            None,
        )
        .map(End::status)
    }

    /// Engines distinguish a failed `exec` from the status of the process by this value.
    fn failure_status(&self) -> u8 {
        255
    }
}

impl Exec {
    /// Names the flag, if the property that failed has its value.
    fn named(&self, error: anyhow::Error) -> anyhow::Error {
        let changes = &self.changes;
        let flag = match error.field() {
            Some("process.cwd") if changes.cwd.is_some() => "--cwd",
            Some("process.user") if changes.user.is_some() => "--user",
            Some("process.user" | "process.user.additionalGids")
                if !changes.additional_gids.is_empty() =>
            {
                "--additional-gids"
            }
            Some("process.apparmorProfile") if changes.apparmor.is_some() => "--apparmor",
            Some("process.selinuxLabel") if changes.process_label.is_some() => "--process-label",
            _ => return error,
        };
        error.context(flag)
    }
}

fn check_status(status: Status, ignore_paused: bool, id: &str) -> Result<()> {
    let message = match status {
        Status::Running | Status::Created => return Ok(()),
        Status::Paused if ignore_paused => return Ok(()),
        Status::Paused => "cannot exec in a paused container (use --ignore-paused to override)",
        Status::Stopped => "cannot exec in a stopped container",
        Status::Creating => "cannot exec in a container that is being created",
    };
    let error = Error::of(Kind::Status, format!("{message}: {id}"));
    bail!(match status {
        Status::Stopped => error.code_is(Code::ContainerNotRunning),
        _ => error,
    })
}

/// Reads the process from the file, or takes the container's process with the changes of the flags.
fn process(context: &Context, config: &Config, args: &Exec) -> Result<(Process, Vec<Warning>)> {
    if let Some(path) = &args.process {
        let object = || format!("--process: {}", path.display());
        let text = file::read(path).with_context(object)?;
        let (mut process, warnings) =
            spec::process(&text, config.process.as_ref()).with_context(object)?;
        context
            .log
            .debug(|| spec::properties::ignored(&text, "process"));
        process.terminal |= args.mode.tty;
        return Ok((process, warnings));
    }
    if args.command.is_empty() {
        bail!(Error::usage("exec needs a COMMAND or --process FILE"));
    }
    if args.command[0].is_empty() {
        let message = "exec: \"\": executable file not found in $PATH";
        bail!(
            Error::new(message)
                .hint("COMMAND is empty")
                .code_is(Code::ExecNotFound)
        );
    }
    let mut process = config.process.clone().unwrap_or_else(|| Process {
        cwd: "/".into(),
        ..Process::default()
    });
    process.args.clone_from(&args.command);
    process.terminal = args.mode.tty;
    process.console_size = None;
    let warnings = override_process(&mut process, args)?;
    Ok((process, warnings))
}

fn override_process(process: &mut Process, args: &Exec) -> Result<Vec<Warning>> {
    if let Some(cwd) = &args.changes.cwd {
        process.cwd.clone_from(cwd);
        if !cwd.is_absolute() {
            bail!(Error::usage("--cwd: must be an absolute path"));
        }
    }
    for entry in &args.changes.env {
        let bytes = entry.as_bytes();
        let Some(end) = bytes.iter().position(|&b| b == b'=').filter(|&end| end > 0) else {
            let message = format!("--env: {:?} is not NAME=VALUE", entry.to_string_lossy());
            bail!(Error::usage(message));
        };
        let name = &bytes[..=end];
        process
            .env
            .retain(|other| !other.as_bytes().starts_with(name));
        process.env.push(entry.clone());
    }
    // As in a config, an empty HOME means the user's home directory.
    process.env.retain(|entry| entry != "HOME=");
    if let Some(user) = &args.changes.user {
        let (uid, gid) = parse_user(user)?;
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    for gid in &args.changes.additional_gids {
        if !process.user.additional_gids.contains(gid) {
            process.user.additional_gids.push(*gid);
        }
    }
    process.no_new_privileges |= args.changes.no_new_privs;
    if args.changes.apparmor.is_some() {
        process.apparmor_profile.clone_from(&args.changes.apparmor);
    }
    if args.changes.process_label.is_some() {
        process
            .selinux_label
            .clone_from(&args.changes.process_label);
    }
    Ok(add_capabilities(process, &args.changes.cap))
}

/// Parses `UID[:GID]`. Only whole numbers are accepted: a name that begins with digits must not be
/// read as the id of another user (CVE-2026-30892).
fn parse_user(user: &str) -> Result<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|&id| digits && id != u32::MAX)
            .ok_or_else(|| {
                let message = format!("--user: {user:?} is not UID or UID:GID");
                Error::usage(message).hint("users are numbers: names belong to the image")
            })
    };
    match user.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(user)?, None)),
    }
}

/// Adds capabilities to the sets of the process, but never to the inheritable set: a program with
/// file capabilities would get more capabilities than the container has (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[String]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        };
        let Ok(capability) = full.parse::<caps::Capability>() else {
            let warning = Error::new(format!("--cap: unknown capability {name}"));
            warnings.push(warning.code_is(Code::WarningUnknownCapability));
            continue;
        };
        let bit = capability.bitmask();
        let sets = &mut process.capabilities;
        sets.bounding |= bit;
        sets.effective |= bit;
        sets.permitted |= bit;
        sets.ambient |= bit & sets.inheritable;
    }
    warnings
}

/// Checks the terminal as `create` does: a process has to hold its master.
fn check_terminal(process: &Process, args: &Exec) -> Result<()> {
    let (message, remedy) = match (
        process.terminal,
        args.mode.detach,
        args.caller.console_socket.is_some(),
    ) {
        (true, true, false) => (
            "cannot allocate tty if runtime will detach without setting console socket",
            "give --console-socket, or leave out --detach",
        ),
        (false, _, true) | (_, false, true) => (
            "cannot use console socket if runtime will not detach or allocate tty",
            "give --detach and --tty, or leave out --console-socket",
        ),
        _ => return Ok(()),
    };
    bail!(
        Error::new(message)
            .hint(remedy)
            .code_is(Code::ProcessTerminal)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::texts;

    #[test]
    fn users_are_whole_numbers() {
        assert_eq!(parse_user("0").unwrap(), (0, None));
        assert_eq!(parse_user("1000:33").unwrap(), (1000, Some(33)));
        for user in [
            "",
            "1000x",
            "x",
            "+1",
            "-1",
            " 1",
            "1:",
            ":1",
            "1:2:3",
            "4294967295",
            "0x1",
        ] {
            let text = format!("{:#}", parse_user(user).unwrap_err());
            assert!(text.starts_with("--user: "), "{user:?}: {text}");
        }
    }

    #[test]
    fn capabilities_are_not_inherited() {
        let mut process = Process::default();
        let warnings = add_capabilities(&mut process, &["net_raw".into(), "CAP_NOPE".into()]);
        let bit = caps::Capability::CAP_NET_RAW.bitmask();
        let sets = process.capabilities;
        assert_eq!(
            (sets.permitted, sets.effective, sets.bounding),
            (bit, bit, bit)
        );
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
        assert_eq!(texts(&warnings), ["--cap: unknown capability CAP_NOPE"]);
    }
}
