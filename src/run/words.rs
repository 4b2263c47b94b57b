//! Sentences for what failed in init: the plan knows what each step was for.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::executable;
use super::hooks::{self, Directory, HookFail, Reason, Surroundings};
use super::reason;
use super::sync::Failure;
use crate::error::{Error, Kind, Result};
use crate::plan::{HookMoment, Module, Phase, Plan, Planned, RootSwitch, Step};
use crate::state::{State, Status, View};
use crate::sys::{Fail, Sys, file, process};

/// The sentence for a failed step.
pub fn failure(plan: &Plan, failure: &Failure) -> Error {
    match plan.steps.get(failure.step as usize) {
        Some(planned) => step_error(planned, &failure.op(), failure.errno),
        None => Error::sys("init", &failure.op(), failure.errno),
    }
}

/// The sentence for a step that failed, with what init shows for the reason: what a hook has
/// printed, otherwise the container's root.
pub fn failure_shown(plan: &Plan, told: &Failure, shown: Option<BorrowedFd>) -> Error {
    let step = plan.steps.get(told.step as usize).map(|it| &it.step);
    match (step, shown) {
        (Some(Step::Hook(_)), Some(printed)) => {
            with_output(failure(plan, told), &hooks::printed(printed))
        }
        // A call that is missing says nothing about the file.
        (Some(Step::FindExecutable { .. } | Step::Exec(_)), Some(root))
            if told.errno != Errno::ENOSYS =>
        {
            executable::explain(plan, told.errno, root)
        }
        _ => failure(plan, told),
    }
}

/// The error of a hook ends with what the hook has printed.
fn with_output(error: Error, printed: &[u8]) -> Error {
    match printed {
        [] => error,
        _ => error.detail(String::from_utf8_lossy(printed)),
    }
}

/// The sentence for one step and the system call that failed in it here.
pub fn step_failed(planned: &Planned, fail: Fail) -> Error {
    step_error(planned, fail.op, fail.errno)
}

/// The sentence for one step and one system call.
pub fn step_error(planned: &Planned, op: &str, errno: Errno) -> Error {
    let what = format!("{}: {}", planned.field, planned.step);
    let error = match (&planned.step, errno) {
        (Step::Hook(_), Errno::UnknownErrno) => Error::new(Kind::Hook, format!("{what}: {op}")),
        (Step::Hook(_), _) => Error::sys(what, op, errno).kind(Kind::Hook),
        _ => Error::sys(what, op, errno),
    };
    match hint(&planned.step, op, errno) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn hint(step: &Step, op: &str, errno: Errno) -> Option<String> {
    let text = match (step, errno) {
        (_, Errno::ENOSYS) => format!("the kernel or a seccomp filter around the runtime lacks {op}"),
        (Step::Filesystem(fs), Errno::ENODEV) => {
            format!("the kernel has no file system {}", fs.fstype.to_string_lossy())
        }
        (Step::Filesystem(fs), Errno::EINVAL) => reason::of_refused_options(fs)
            .map(|reason| format!("the kernel says: {reason}"))
            .unwrap_or_else(|| "the kernel refuses an option of the mount; its log says which".to_owned()),
        (Step::Filesystem(fs), Errno::ENOTDIR | Errno::ELOOP) if fs.real_directory => {
            "the rootfs must have a real directory there, not a symbolic link".to_owned()
        }
        (Step::Filesystem(_) | Step::Bind(_), Errno::EPERM) if op == "mount inside procfs" => {
            "the target leads into the container's /proc, where nothing may be mounted".to_owned()
        }
        (_, Errno::EPERM) if op == "mount on the root" => {
            "a link of the rootfs leads to the container's /, on which nothing may be mounted".to_owned()
        }
        (Step::Bind(_) | Step::Remount(_), Errno::EPERM)
            if op.starts_with("clear a locked") || op == "mount_setattr" =>
        {
            "in a user namespace the flags of the source's mount are locked; drop the option that clears one".to_owned()
        }
        (Step::Bind(bind), Errno::EINVAL) if op == "open_tree" && !bind.recursive => {
            "in a user namespace a bind without rbind cannot leave submounts behind; an unbindable mount cannot be bound at all".to_owned()
        }
        (Step::Unmount { .. }, Errno::EINVAL) if op == "find a mount point" => {
            "nothing is mounted there".to_owned()
        }
        (Step::Unmount { .. }, Errno::ELOOP) => {
            "name the destination without symbolic links".to_owned()
        }
        (Step::CheckIdMap { .. }, Errno::EINVAL) => {
            "the user namespace to join has other mappings; drop those of the config".to_owned()
        }
        (Step::Bind(_), Errno::EINVAL | Errno::ENOTDIR) if op == "move_mount" => {
            "a directory is mounted on a directory only, and a file on a file".to_owned()
        }
        (Step::Node(_), Errno::EEXIST) => {
            "the path exists and is not this device; remove it from the rootfs".to_owned()
        }
        (Step::Console { .. }, Errno::ENOENT | Errno::ENODEV) => {
            "a terminal needs a devpts mounted on /dev/pts".to_owned()
        }
        (Step::CheckCwd { .. }, Errno::ENOENT) => {
            "process.cwd must be a directory inside the container".to_owned()
        }
        (Step::BindRootfs { .. }, Errno::EACCES) => {
            "the root of the user namespace needs search permission on each directory above the rootfs".to_owned()
        }
        (Step::SwitchRoot { .. }, Errno::ESTALE) => {
            "the rootfs was changed meanwhile: let no other container have the same files".to_owned()
        }
        (Step::SwitchRoot { .. }, Errno::EBUSY) if op.starts_with("hide ") => {
            "a procfs or sysfs there is out of reach: unmount it on the host, or leave out --no-pivot".to_owned()
        }
        (Step::SwitchRoot { kind: RootSwitch::Pivot, .. }, Errno::EINVAL) => {
            "pivot_root does not work on an initramfs: use --no-pivot".to_owned()
        }
        (Step::ExecLabel(exec), Errno::ENOENT) if exec.module == Module::AppArmor => {
            "the profile is not loaded: apparmor_parser loads profiles".to_owned()
        }
        (Step::ExecLabel(_), Errno::EINVAL) => {
            "the policy of the host does not know the label".to_owned()
        }
        (Step::EnterContainer { .. }, Errno::EPERM) => {
            "the kernel lets only root enter a container that has not started, and only its owner or root one that has".to_owned()
        }
        (Step::SessionKeyring { .. }, Errno::EDQUOT) => {
            "the user may have no more keys (kernel.keys.maxkeys): --no-new-keyring does without".to_owned()
        }
        (Step::Rlimit { .. }, Errno::EPERM) => {
            "the hard limit is above that of the caller, and to raise it takes CAP_SYS_RESOURCE".to_owned()
        }
        (Step::OomScoreAdj(_), Errno::EACCES | Errno::EPERM) => {
            "a score below that of the caller takes CAP_SYS_RESOURCE".to_owned()
        }
        (Step::Sysctl { .. }, Errno::ENOENT) => "the kernel has no such setting".to_owned(),
        (Step::Credentials(_), Errno::EINVAL) => {
            "the user namespace does not map the user, its group or one of its groups".to_owned()
        }
        (Step::Credentials(user), Errno::EPERM)
            if op == "setgroups" && user.groups.as_ref().is_some_and(|all| !all.is_empty()) =>
        {
            "setgroups is denied in this user namespace: drop additionalGids".to_owned()
        }
        (Step::Seccomp { .. }, Errno::EACCES) => {
            "without noNewPrivileges a filter takes CAP_SYS_ADMIN".to_owned()
        }
        (Step::DropSysAdmin, _) => {
            "without noNewPrivileges the seccomp profile must allow capset".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

/// Runs the hooks of a phase in the runtime, in their order, up to the first that fails. They read
/// the container's `status` in its state.
///
/// # Errors
/// The hook that failed, by its path in the config.
pub fn run_hooks(plan: &Plan, phase: Phase, state: &State, status: Status) -> Result<()> {
    each_hook(plan, phase, state, status).collect()
}

/// Runs the poststop hooks; the failure of one does not stop the next. Source: runtime-spec 1.3,
/// runtime.md, lifecycle, step 13.
pub fn run_poststop_hooks(plan: &Plan, state: &State) -> Vec<Error> {
    each_hook(plan, Phase::Deleted, state, Status::Stopped)
        .filter_map(Result::err)
        .collect()
}

/// Each element runs one hook when it is asked for.
fn each_hook(
    plan: &Plan,
    phase: Phase,
    state: &State,
    status: Status,
) -> impl Iterator<Item = Result<()>> {
    plan.phase(phase).filter_map(move |(_, planned)| {
        let Step::Hook(hook) = &planned.step else {
            return None;
        };
        // runtime-spec 1.0 ran the prestart hooks in `start`, and hooks of that age look for the
        // status of that time.
        let status = match hook.moment {
            HookMoment::Prestart => Status::Created,
            _ => status,
        };
        let result = super::c_path("bundle", &state.bundle).and_then(|bundle| {
            let around = Surroundings {
                directory: Directory::Path(&bundle),
                environment: &process::environment(),
            };
            hooks::run(hook, &around, &state_text(state, status))
                .map_err(|failed| hook_error(planned, &failed))
        });
        Some(result)
    })
}

/// The state that a hook reads.
pub fn state_text(state: &State, status: Status) -> Vec<u8> {
    serde_json::to_vec(&state_view(state, status)).unwrap_or_default()
}

/// The state as others are told it: with the pid, even of a container that has stopped.
pub fn state_view(state: &State, status: Status) -> View {
    let mut view = state.view(status, String::new());
    view.pid = state.pid;
    view
}

/// The state that a hook in the container's pid namespace reads.
///
/// # Errors
/// /proc does not say which pid init has there.
pub fn state_text_inside(state: &State, status: Status) -> Sys<Vec<u8>> {
    let inside = State {
        pid: pid_inside(state.pid)?,
        ..state.clone()
    };
    Ok(state_text(&inside, status))
}

/// The pid that a process has in its own pid namespace: the last of `NSpid`. proc_pid_status(5).
fn pid_inside(pid: i32) -> Sys<i32> {
    let status = file::read_text(format!("/proc/{pid}/status").as_ref())?;
    // A kernel without pid namespaces has no such line.
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    Ok(last.unwrap_or(pid))
}

fn hook_error(planned: &Planned, failed: &HookFail) -> Error {
    let what = format!("{}: {}", planned.field, planned.step);
    let error = match failed.reason {
        Reason::Sys(fail) => Error::sys(what, fail.op, fail.errno).kind(Kind::Hook),
        reason => Error::new(Kind::Hook, format!("{what}: {reason}")),
    };
    with_output(error, &failed.output)
}
