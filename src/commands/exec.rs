//! `exec`.

use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use super::create::check_preserved;
use super::saved::Saved;
use super::{Context, bundle, kill, unless_stopped};
use crate::cli::{self, Exec, Shape};
use crate::config::{Config, Process};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::plan;
use crate::run::{self, ExecRequest, relay};
use crate::spec;
use crate::state::Status;
use crate::sys::process::end;

/// Executes a process in a container; in the foreground its exit status comes back.
pub fn exec(context: &Context, args: &Exec) -> Result<u8> {
    let (dir, state) = context.load(&args.what.id)?;
    let (status, init) = state.status_and_init(&dir)?;
    check_status(status, args.settings.ignore_paused)?;
    let init = init.ok_or_else(|| kill::not_running(&state))?;
    // Never given back: the process shares their pages, and to write to them would copy them.
    let saved = ManuallyDrop::new(Saved::read(&dir, &state)?);
    let (process, warnings) = process(&saved.config, args)?;
    let process = ManuallyDrop::new(process);
    check_terminal(&process, args)?;
    let shape = Shape {
        no_pivot: false,
        no_new_keyring: state.options.no_new_keyring,
        preserve_fds: args.settings.preserve_fds,
    };
    let options = bundle::options(&args.what.id, &shape, super::CgroupDriver::Cgroupfs);
    check_preserved(options.preserved_fds)?;
    let host = Host::probe_without_cgroups(process.labels())?;
    let plan = ManuallyDrop::new(plan::exec(&saved.config, &process, &host, &options)?);
    for warning in warnings.iter().chain(&plan.warnings) {
        context.log.warn(warning.as_str());
    }
    let request = ExecRequest {
        dir: &dir,
        state: &state,
        init: &init,
        plan: &plan,
        cgroup: args.settings.cgroup.as_deref(),
        console_socket: args.handover.console_socket.as_deref(),
        pidfd_socket: args.handover.pidfd_socket.as_deref(),
        pid_file: args.handover.pid_file.as_deref(),
    };
    let execute = || {
        run::exec(&request).map_err(|error| {
            let check = |status| check_status(status, args.settings.ignore_paused);
            unless_stopped(error, &dir, &state, check)
        })
    };
    if args.mode.detach {
        return execute().map(|_| 0);
    }
    let signals = relay::Signals::block()?;
    if !args.handover.no_subreaper {
        relay::become_subreaper()?;
    }
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
}

fn check_status(status: Status, ignore_paused: bool) -> Result<()> {
    let message = match status {
        Status::Running | Status::Created => return Ok(()),
        Status::Paused if ignore_paused => return Ok(()),
        Status::Paused => "cannot exec in a paused container (use --ignore-paused to override)",
        Status::Stopped => "cannot exec in a stopped container",
        Status::Creating => "cannot exec in a container that is being created",
    };
    Err(Error::new(Kind::Status, message))
}

/// The process of the file, or that of the container with what the flags change.
fn process(config: &Config, args: &Exec) -> Result<(Process, Vec<String>)> {
    if let Some(file) = &args.what.process {
        let text = std::fs::read(file).map_err(|error| {
            Error::io(format!("--process: {}", file.display()), "open", &error).kind(Kind::Usage)
        })?;
        let (mut process, warnings) = spec::process(&text)
            .map_err(|error| error.context(format!("--process: {}", file.display())))?;
        process.terminal |= args.mode.tty;
        return Ok((process, warnings));
    }
    if args.what.command.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "exec needs a COMMAND or --process FILE",
        ));
    }
    let mut process = config.process.clone().unwrap_or_else(|| Process {
        cwd: "/".into(),
        ..Process::default()
    });
    process.args.clone_from(&args.what.command);
    process.terminal = args.mode.tty;
    process.console_size = None;
    let warnings = override_process(&mut process, args)?;
    Ok((process, warnings))
}

fn override_process(process: &mut Process, args: &Exec) -> Result<Vec<String>> {
    if let Some(cwd) = &args.settings.cwd {
        process.cwd.clone_from(cwd);
        if !cwd.is_absolute() {
            return Err(Error::new(Kind::Usage, "--cwd: must be an absolute path"));
        }
    }
    for entry in &args.settings.env {
        let bytes = entry.as_bytes();
        let Some(end) = bytes.iter().position(|&b| b == b'=').filter(|&end| end > 0) else {
            let message = format!("--env: {:?} is not NAME=VALUE", entry.to_string_lossy());
            return Err(Error::new(Kind::Usage, message));
        };
        let name = &bytes[..=end];
        process
            .env
            .retain(|other| !other.as_bytes().starts_with(name));
        process.env.push(entry.clone());
    }
    // As in a config, an empty HOME means that of the user.
    process.env.retain(|entry| entry != "HOME=");
    if let Some(user) = &args.settings.user {
        let (uid, gid) = parse_user(user)?;
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    for gid in &args.settings.additional_gids {
        if !process.user.additional_gids.contains(gid) {
            process.user.additional_gids.push(*gid);
        }
    }
    process.no_new_privileges |= args.settings.no_new_privs;
    if args.settings.apparmor.is_some() {
        process.apparmor_profile.clone_from(&args.settings.apparmor);
    }
    if args.settings.process_label.is_some() {
        process
            .selinux_label
            .clone_from(&args.settings.process_label);
    }
    Ok(add_capabilities(process, &args.settings.cap))
}

/// Whole numbers only: a name that begins with digits must not become another user
/// (CVE-2026-30892).
fn parse_user(user: &str) -> Result<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|&id| digits && id != u32::MAX)
            .ok_or_else(|| {
                let message = format!("--user: {user:?} is not UID or UID:GID");
                Error::new(Kind::Usage, message)
                    .hint("users are numbers: names belong to the image")
            })
    };
    match user.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(user)?, None)),
    }
}

/// Added to what the process may use, never to what its programs inherit: that would give a
/// program with file capabilities more than the container has (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        };
        let Ok(capability) = full.parse::<caps::Capability>() else {
            warnings.push(format!("--cap: unknown capability {name}"));
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

/// As for `create`: a terminal needs somebody who holds its master.
fn check_terminal(process: &Process, args: &cli::Exec) -> Result<()> {
    let message = match (
        process.terminal,
        args.mode.detach,
        args.handover.console_socket.is_some(),
    ) {
        (true, true, false) => {
            "cannot allocate tty if runtime will detach without setting console socket"
        }
        (false, _, true) | (_, false, true) => {
            "cannot use console socket if runtime will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let text = parse_user(user).unwrap_err().to_string();
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
        assert_eq!(warnings, ["--cap: unknown capability CAP_NOPE"]);
    }
}
