//! Builds the errors for steps that failed. The plan says what each step was for. The hint says what
//! to do next: it depends on the step, the errno, and the note of the failed call.

use std::borrow::Cow;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::{code, executable, filesystem};
use crate::config::scheduling::Policy;
use crate::error::{Error, Kind, Tail};
use crate::plan::{
    AnyStep, EntryStep, Filesystem, Found, InheritedStep, InitStep, Module, Plan, Planned,
    Position, RootSwitch, RuntimeStep,
};
use crate::run::hook;
use crate::run::protocol::Failure;
use crate::sys::{Failed, Note};

/// The error for a failure that init has reported.
pub(crate) fn failure(plan: &Plan, failure: &Failure) -> Error {
    let fail = failure.told.fail();
    match failure.step.and_then(|position| plan.at(position)) {
        Some(found) => at_position(found, failure.step, fail),
        None => Error::failed("init", fail),
    }
}

/// The error for a failure that init has reported together with `shown`, a descriptor that helps to
/// explain it: a pipe with a text, or the container's root.
pub(crate) fn failure_shown(plan: &Plan, failed: &Failure, shown: Option<BorrowedFd>) -> Error {
    let fail = failed.told.fail();
    let found = failed.step.and_then(|position| plan.at(position));
    let (Some(found), Some(shown)) = (found, shown) else {
        return failure(plan, failed);
    };
    match (found.step, fail.note) {
        (AnyStep::Hook(_), _) => {
            with_output(at_position(found, failed.step, fail), &hook::printed(shown))
        }
        // ENOSYS means that the system call is missing, so the file is not the reason.
        (AnyStep::Init(InitStep::FindExecutable { .. } | InitStep::Exec(_)), _)
            if fail.errno != Errno::ENOSYS =>
        {
            let mut error = executable::explain(plan, fail.errno, shown);
            error.call = Some(fail.op.into());
            error.errno = Some(fail.errno);
            code::describe(found, failed.step, &mut error);
            error
        }
        (AnyStep::Init(InitStep::SwitchRoot { .. }), Some(Note::HostView)) => {
            let point = hook::printed(shown);
            let point = String::from_utf8_lossy(&point);
            let mut error =
                Error::failed(format!("{}: hide {point} of the host", found.step), fail);
            error.tail = Tail::Errno;
            with_hint(error, found, failed.step, fail)
        }
        _ => at_position(found, failed.step, fail),
    }
}

/// The error for a step and the system call that failed in it.
pub(crate) fn step_failed<'a, S>(planned: &'a Planned<S>, fail: Failed) -> Error
where
    AnyStep<'a>: From<&'a S>,
{
    found_failed(planned.found(), fail)
}

/// The same, for a step of any list.
pub(crate) fn found_failed(found: Found, fail: Failed) -> Error {
    at_position(found, None, fail)
}

/// The failure of a step of the runtime, with what the step says. `phase` is that of `explain`.
pub(crate) fn in_step(found: Found, phase: &'static str, error: anyhow::Error) -> anyhow::Error {
    let mut error = Error::of_chain(error);
    error.phase.get_or_insert(phase);
    code::describe(found, None, &mut error);
    error.into()
}

fn at_position(found: Found, position: Option<Position>, fail: Failed) -> Error {
    let mut error = Error::failed(found.step.to_string(), fail);
    // Many steps are named after their system call.
    if fail.call() == fail.op
        && let (Some(step), Some(call)) = (&error.text, &error.call)
        && step
            .strip_prefix(&**call)
            .is_some_and(|rest| rest.starts_with(' '))
    {
        error.tail = Tail::Errno;
    }
    let error = match found.step {
        AnyStep::Hook(_) => error.kind(Kind::Hook),
        _ => error,
    };
    with_hint(error, found, position, fail)
}

/// Appends the output of a hook to its error.
pub(crate) fn with_output(error: Error, printed: &[u8]) -> Error {
    match printed {
        [] => error,
        _ => error.detail(String::from_utf8_lossy(printed)),
    }
}

fn with_hint(error: Error, found: Found, position: Option<Position>, fail: Failed) -> Error {
    let mut error = error.about(match fail.note {
        Some(Note::Groups) => "process.user.additionalGids",
        _ => found.field,
    });
    code::describe(found, position, &mut error);
    match hint(found.step, fail) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

type Hint = Option<Cow<'static, str>>;

/// The smallest page of a kernel.
const PAGE: usize = 4096;

const NEEDS_NICE: &str = "it needs CAP_SYS_NICE of the host, which a user namespace does not give";

/// The hint for a step that failed, if there is one.
fn hint(step: AnyStep, fail: Failed) -> Hint {
    if fail.errno == Errno::ENOSYS {
        return missing_call(fail);
    }
    match step {
        AnyStep::Init(step) => init_hint(step, fail),
        AnyStep::Entry(step) => entry_hint(step, fail).map(Cow::Borrowed),
        AnyStep::Inherited(step) => inherited_hint(step, fail.errno).map(Cow::Borrowed),
        AnyStep::Runtime(RuntimeStep::OomScoreAdj(_))
            if matches!(fail.errno, Errno::EACCES | Errno::EPERM) =>
        {
            Some("a score below that of the caller needs CAP_SYS_RESOURCE".into())
        }
        AnyStep::Runtime(RuntimeStep::IdMap { map, .. })
            if fail.errno == Errno::EINVAL && map.len() >= PAGE =>
        {
            Some(
                "the kernel reads less than a page of mappings: join those that are neighbours"
                    .into(),
            )
        }
        AnyStep::Runtime(RuntimeStep::MoveDevice(_)) => move_hint(fail.errno),
        AnyStep::Runtime(RuntimeStep::Cpus(_)) if fail.errno == Errno::EINVAL => {
            Some("the host or the container's cgroup has none of these CPUs".into())
        }
        AnyStep::Rlimit(_) if fail.errno == Errno::EPERM => Some(
            "the hard limit is above that of the caller, and raising it needs CAP_SYS_RESOURCE"
                .into(),
        ),
        AnyStep::Hook(_) if fail.note == Some(Note::HookStream) => {
            super::not_written(fail.errno).map(Cow::Borrowed)
        }
        AnyStep::Runtime(_) | AnyStep::Rlimit(_) | AnyStep::Hook(_) => None,
    }
}

fn move_hint(errno: Errno) -> Hint {
    Some(Cow::Borrowed(match errno {
        Errno::ENODEV => "the runtime's network namespace has no such device",
        Errno::EEXIST => "the container has a device with this name",
        Errno::EPERM => "it needs CAP_NET_ADMIN in the network namespace of the device",
        Errno::EINVAL => "some devices cannot leave their network namespace",
        _ => return None,
    }))
}

fn init_hint(step: &InitStep, fail: Failed) -> Hint {
    by_note(step, fail)
        .or_else(|| in_root(step, fail.errno))
        .or_else(|| about_process(step, fail))
        .map(Cow::Borrowed)
        .or_else(|| match step {
            InitStep::Filesystem(fs) => file_system(fs, fail.errno),
            _ => None,
        })
}

fn entry_hint(step: &EntryStep, fail: Failed) -> Option<&'static str> {
    match (step, fail.note, fail.errno) {
        (_, Some(Note::OtherMap), _) => {
            Some("the user namespace to join has other mappings; drop those of the config")
        }
        (EntryStep::EnterNamespace { .. }, _, Errno::EPERM) => Some(
            "before a container has started, the kernel lets only root enter it, unless init hands out its namespaces, which needs Linux 6.11: start it first",
        ),
        _ => None,
    }
}

fn inherited_hint(step: &InheritedStep, errno: Errno) -> Option<&'static str> {
    Some(match (step, errno) {
        (InheritedStep::SessionKeyring { .. }, Errno::EDQUOT) => {
            "the user may have no more keys (kernel.keys.maxkeys): --no-new-keyring does without"
        }
        (InheritedStep::IoPriority(_), Errno::EPERM) => NEEDS_NICE,
        (InheritedStep::MemoryPolicy(_), Errno::EINVAL) => {
            "the host or the container's cgroup has none of these nodes, or the kernel lacks the mode"
        }
        _ => return None,
    })
}

fn missing_call(fail: Failed) -> Hint {
    let call = fail.call();
    let text = format!("the kernel or a seccomp filter around the runtime lacks {call}");
    Some(text.into())
}

/// Hints for failures whose errno alone could have several reasons.
fn by_note(step: &InitStep, fail: Failed) -> Option<&'static str> {
    Some(match (fail.note?, step, fail.errno) {
        (Note::InsideProcfs, ..) => {
            "the target leads into the container's /proc, where nothing may be mounted"
        }
        (Note::OnRoot, ..) => {
            "a link of the rootfs leads to the container's /, on which nothing may be mounted"
        }
        (Note::LockedFlag, ..)
        | (Note::Attributes, InitStep::Bind(_) | InitStep::Remount(_), Errno::EPERM) => {
            "in a user namespace the flags of the source's mount are locked; drop the option that clears one"
        }
        (Note::CopiedMount, InitStep::Bind(bind), Errno::EINVAL) if !bind.recursive => {
            "in a user namespace a bind without rbind cannot leave submounts behind; an unbindable mount cannot be bound at all"
        }
        (Note::FileOnDirectory, ..) => {
            "a directory is mounted on a directory only, and a file on a file"
        }
        (Note::NotAMountPoint, ..) => "nothing is mounted there",
        (Note::OtherProcfs | Note::OtherSysfs, ..) => {
            "a link of the rootfs has led a mount or a mask there, or another process or a hook moves its directories"
        }
        (Note::HostView, ..) => {
            "a procfs or sysfs there is out of reach: unmount it on the host, or leave out --no-pivot"
        }
        (Note::Groups, InitStep::Credentials(user), Errno::EPERM) => {
            if user.groups.as_ref().is_some_and(|it| !it.is_empty()) {
                "setgroups is denied in this user namespace, or the runtime lacks CAP_SETGID: drop additionalGids"
            } else {
                "the process would keep the caller's groups: give the runtime CAP_SETGID and allow setgroups, or set the annotation run.oci.keep_original_groups"
            }
        }
        _ => return None,
    })
}

/// The bytes of options that mount(2) reads, on most machines.
const READ_BY_MOUNT: usize = 4095;

/// The option that gives the file system an owner.
fn owner(fs: &Filesystem) -> Option<&str> {
    let options = fs.data.to_str().ok()?;
    options
        .split(',')
        .find(|option| option.starts_with("gid=") || option.starts_with("uid="))
}

fn file_system(fs: &Filesystem, errno: Errno) -> Hint {
    Some(match errno {
        Errno::ENODEV => {
            let name = fs.fstype.to_string_lossy();
            format!("the kernel has no file system {name}").into()
        }
        Errno::EINVAL => match (filesystem::of_refused_options(fs), owner(fs)) {
            (Some(reason), _) => format!("the kernel says: {reason}").into(),
            (None, Some(owner)) => {
                format!("in a user namespace the id of {owner} must be mapped").into()
            }
            (None, None) => "the kernel refuses an option of the mount; its log says which".into(),
        },
        _ if fs.data.count_bytes() > READ_BY_MOUNT => format!(
            "the options have {} bytes, of which mount(2) may read only {READ_BY_MOUNT}: use shorter paths",
            fs.data.count_bytes()
        )
        .into(),
        Errno::ENOTDIR | Errno::ELOOP if fs.real_directory => {
            "the rootfs must have a real directory there, not a symbolic link".into()
        }
        _ => return None,
    })
}

/// Hints for steps that make, mount or find files in the rootfs, or that switch to it.
fn in_root(step: &InitStep, errno: Errno) -> Option<&'static str> {
    Some(match (step, errno) {
        (InitStep::Unmount { .. }, Errno::ELOOP) => "name the destination without symbolic links",
        (InitStep::Node(_), Errno::EEXIST) => {
            "the path exists and is not this device; remove it from the rootfs"
        }
        (InitStep::Console { .. }, Errno::ENOENT | Errno::ENODEV) => {
            "a terminal needs a devpts mounted on /dev/pts"
        }
        (InitStep::CheckCwd { .. }, Errno::ENOENT) => {
            "process.cwd must be a directory inside the container"
        }
        (InitStep::BindRootfs { .. }, Errno::EACCES) => {
            "the root of the user namespace needs search permission on each directory above the rootfs"
        }
        (InitStep::SwitchRoot { .. }, Errno::ESTALE) => {
            "the rootfs was changed in the meantime: do not share its files with another container"
        }
        (InitStep::SwitchRoot { kind, .. }, Errno::EINVAL) if *kind == RootSwitch::Pivot => {
            "pivot_root does not work on an initramfs: use --no-pivot"
        }
        (InitStep::Sysctl { .. }, Errno::ENOENT) => "the kernel has no such setting",
        _ => return None,
    })
}

/// Hints for steps that set the identity, privileges and limits of the process.
fn about_process(step: &InitStep, fail: Failed) -> Option<&'static str> {
    Some(match (step, fail.errno) {
        (InitStep::ExecLabel(exec), Errno::ENOENT) if exec.module == Module::AppArmor => {
            "the profile is not loaded: apparmor_parser loads profiles"
        }
        (InitStep::ExecLabel(_), Errno::EINVAL) => "the policy of the host does not know the label",
        (InitStep::Scheduler(scheduler), Errno::EPERM) if scheduler.policy == Policy::Deadline => {
            "SCHED_DEADLINE needs CAP_SYS_NICE of the host, and no linux.resources.cpu.cpus"
        }
        (InitStep::Scheduler(scheduler), Errno::EPERM)
            if matches!(scheduler.policy, Policy::Fifo | Policy::Rr) =>
        {
            "it needs CAP_SYS_NICE of the host, and in a cgroup with the cpu controller a kernel without CONFIG_RT_GROUP_SCHED"
        }
        (InitStep::Scheduler(_), Errno::EPERM) => NEEDS_NICE,
        (InitStep::Scheduler(_), Errno::EBUSY) => {
            "the CPUs have no room for another runtime and period"
        }
        (InitStep::Credentials(_), Errno::EINVAL) => match fail.op {
            "setresuid" => "the user namespace does not map this user: see linux.uidMappings",
            "setresgid" => "the user namespace does not map this group: see linux.gidMappings",
            _ => "the user namespace does not map one of the additional groups",
        },
        (InitStep::Seccomp { .. }, Errno::EACCES) => {
            "without noNewPrivileges, installing a filter needs CAP_SYS_ADMIN"
        }
        (InitStep::DropSysAdmin, _) => {
            "without noNewPrivileges the seccomp profile must allow capset"
        }
        _ => return None,
    })
}
