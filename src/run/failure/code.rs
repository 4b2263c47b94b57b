//! What a failed step is as data: its code, its phase and the path of its object.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::error::{Code, Error};
use crate::plan::{
    AnyStep, EntryStep, Found, HookMoment, HookStep, InheritedStep, InitStep, Position, RuntimeStep,
};
use crate::sys::Note;

/// Adds to the failure of a step what the step says: code, phase, property and path.
pub(super) fn describe(found: Found, position: Option<Position>, error: &mut Error) {
    let code = of_step(found.step, error.errno, error.note);
    error.code = error.code.or(code);
    error.phase = error.phase.or_else(|| phase(found.step, position));
    if error.field.is_none() {
        error.field = Some(found.field.into());
        error.text_has_field = true;
    }
    if error.path.is_none() {
        let path = path(found.step).map(CStr::to_string_lossy);
        error.path = path.map(|path| path.as_ref().into());
    }
}

/// The phase of a step, in the words of `explain`. `None` if only the caller knows it.
fn phase(step: AnyStep, position: Option<Position>) -> Option<&'static str> {
    match (position, step) {
        (Some(position), _) => Some(position.list.phase()),
        (None, AnyStep::Hook(hook)) => Some(match hook.moment {
            HookMoment::Prestart | HookMoment::CreateRuntime => "hooks",
            HookMoment::CreateContainer => "init",
            HookMoment::StartContainer => "start",
            HookMoment::Poststart => "started",
            HookMoment::Poststop => "deleted",
        }),
        (None, AnyStep::Rlimit(_)) => Some("ready"),
        (None, AnyStep::Runtime(_) | AnyStep::Entry(_)) => None,
        (None, AnyStep::Inherited(_) | AnyStep::Init(_)) => None,
    }
}

/// The code of a failed step. `None` if the rest of the failure says more than the step.
fn of_step(step: AnyStep, errno: Option<Errno>, note: Option<Note>) -> Option<Code> {
    if let AnyStep::Hook(_) = step {
        return (note == Some(Note::TimedOut)).then_some(Code::HookTimedOut);
    }
    if let AnyStep::Runtime(step) = step
        && let Some(code) = of_limit(step, errno)
    {
        return Some(code);
    }
    errno.and_then(Code::of_host).or(Some(match step {
        AnyStep::Init(step) => of_init(step, errno, note),
        AnyStep::Inherited(InheritedStep::MemoryPolicy(_) | InheritedStep::IoPriority(_)) => {
            Code::ProcessScheduling
        }
        AnyStep::Inherited(_) => Code::ProcessFailed,
        AnyStep::Entry(EntryStep::CheckIdMap { .. }) => Code::IdMapRefused,
        AnyStep::Entry(_) => Code::NamespaceFailed,
        AnyStep::Runtime(RuntimeStep::IdMap { .. }) => Code::IdMapRefused,
        AnyStep::Runtime(RuntimeStep::MoveDevice(_)) if errno == Some(Errno::ENODEV) => {
            Code::NetworkDeviceMissing
        }
        AnyStep::Runtime(RuntimeStep::MoveDevice(_) | RuntimeStep::MakeNetwork) => {
            Code::NetworkFailed
        }
        AnyStep::Runtime(_) => Code::ProcessScheduling,
        AnyStep::Rlimit(_) => Code::ProcessRlimit,
        AnyStep::Hook(_) => Code::HookFailed,
    }))
}

/// The code of a failed step that makes or limits a cgroup or a group of resctrl. Errnos of control
/// files have meanings of their own.
fn of_limit(step: &RuntimeStep, errno: Option<Errno>) -> Option<Code> {
    let denied = matches!(errno, Some(Errno::EACCES | Errno::EPERM));
    Some(match step {
        RuntimeStep::Resctrl(_) | RuntimeStep::ResctrlTasks(_) => Code::ResctrlFailed,
        RuntimeStep::SystemdUnit(_) => Code::SystemdRefused,
        RuntimeStep::CreateCgroup(_)
        | RuntimeStep::CgroupWrite(_)
        | RuntimeStep::DelegateCgroup { .. }
        | RuntimeStep::EnterSubCgroup { .. }
            if denied =>
        {
            Code::CgroupNotDelegated
        }
        RuntimeStep::CgroupWrite(_) => Code::CgroupLimitRefused,
        RuntimeStep::CreateCgroup(_)
        | RuntimeStep::DelegateCgroup { .. }
        | RuntimeStep::EnterSubCgroup { .. }
        | RuntimeStep::DeviceProgram(_) => Code::CgroupFailed,
        RuntimeStep::IdMap { .. }
        | RuntimeStep::OomScoreAdj(_)
        | RuntimeStep::Cpus(_)
        | RuntimeStep::MakeNetwork
        | RuntimeStep::MoveDevice(_) => return None,
    })
}

fn of_init(step: &InitStep, errno: Option<Errno>, note: Option<Note>) -> Code {
    match step {
        InitStep::Filesystem(_) | InitStep::Bind(_) | InitStep::Remount(_) => {
            of_mount(step, errno, note)
        }
        InitStep::Unmount { .. }
        | InitStep::MaskPath { .. }
        | InitStep::ReadonlyPath { .. }
        | InitStep::MountReadonly { .. } => of_target(note).unwrap_or(Code::MountFailed),
        InitStep::ContainerRoot
        | InitStep::RootPropagation { .. }
        | InitStep::BindRootfs { .. }
        | InitStep::SwitchRoot { .. }
        | InitStep::Propagate { .. } => Code::RootfsFailed,
        InitStep::Node(_) | InitStep::Symlink(_) => Code::DeviceFailed,
        InitStep::Sysctl { .. } if errno == Some(Errno::ENOENT) => Code::SysctlUnknown,
        InitStep::Sysctl { .. } => Code::SysctlFailed,
        InitStep::Enter(_) | InitStep::Unshare(_) => Code::NamespaceFailed,
        InitStep::LoopbackUp | InitStep::EnterNetwork => Code::NetworkFailed,
        InitStep::MakeCwd { .. } | InitStep::Cwd { .. } | InitStep::CheckCwd { .. } => {
            Code::ProcessCwd
        }
        InitStep::Credentials(_) => Code::ProcessUser,
        InitStep::Rlimit(_) => Code::ProcessRlimit,
        InitStep::Scheduler(_) => Code::ProcessScheduling,
        InitStep::ExecLabel(_) => Code::ProcessLabel,
        InitStep::Console { .. } | InitStep::Stdio { .. } => Code::ProcessTerminal,
        InitStep::Seccomp { .. } => Code::SeccompFailed,
        InitStep::FindExecutable { .. } | InitStep::Exec(_) => match errno {
            Some(Errno::ENOENT | Errno::ENOTDIR) => Code::ExecNotFound,
            Some(Errno::EACCES) => Code::ExecNotExecutable,
            Some(Errno::ENOEXEC) => Code::ExecWrongFormat,
            _ => Code::ExecFailed,
        },
        InitStep::Hook(_) => Code::HookFailed,
        InitStep::Inherited(_)
        | InitStep::Hostname(_)
        | InitStep::Domainname(_)
        | InitStep::RuntimeHooks
        | InitStep::NoNewPrivileges
        | InitStep::DropSysAdmin
        | InitStep::FindHome { .. }
        | InitStep::WaitForStart
        | InitStep::CloseRange { .. } => Code::ProcessFailed,
    }
}

fn of_mount(step: &InitStep, errno: Option<Errno>, note: Option<Note>) -> Code {
    if let Some(code) = of_target(note) {
        return code;
    }
    match (step, errno) {
        (InitStep::Filesystem(_), Some(Errno::ENODEV)) => Code::MountTypeUnknown,
        (InitStep::Filesystem(_), Some(Errno::EINVAL)) => Code::MountOptionRefused,
        (_, Some(Errno::EACCES | Errno::EPERM)) => Code::MountDenied,
        _ => Code::MountFailed,
    }
}

/// The code of a target on which nothing may be mounted.
fn of_target(note: Option<Note>) -> Option<Code> {
    match note? {
        Note::FileOnDirectory => Some(Code::MountWrongKind),
        Note::InsideProcfs | Note::OnRoot | Note::OtherProcfs | Note::OtherSysfs => {
            Some(Code::MountUnsafeTarget)
        }
        _ => None,
    }
}

/// The file that a step is for. Of two, the one in the container.
fn path(step: AnyStep<'_>) -> Option<&CStr> {
    match step {
        AnyStep::Entry(EntryStep::JoinNamespace { path, .. }) => Some(path),
        AnyStep::Hook(HookStep { path, .. }) => Some(path),
        AnyStep::Init(step) => match step {
            InitStep::BindRootfs { path, .. }
            | InitStep::MaskPath { path }
            | InitStep::ReadonlyPath { path }
            | InitStep::MountReadonly { path }
            | InitStep::MakeCwd { path }
            | InitStep::Cwd { path }
            | InitStep::CheckCwd { path }
            | InitStep::Unmount { target: path } => Some(path),
            InitStep::Filesystem(fs) => Some(&fs.target),
            InitStep::Bind(bind) => Some(&bind.target),
            InitStep::Remount(remount) => Some(&remount.target),
            InitStep::Node(node) => Some(&node.path),
            InitStep::Symlink(link) => Some(&link.path),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::found_failed;
    use super::*;
    use crate::error::has_example;
    use crate::plan::{
        DeviceNetwork, EntryStep, ExecLabel, IfMapDenied, Module, MoveDevice, NewCgroup, Rlimit,
        RootSwitch, cgroup,
    };
    use crate::sys::Fail;

    fn fails<'a>(
        field: &str,
        step: impl Into<AnyStep<'a>>,
        call: &'static str,
        errno: Errno,
        code: &str,
    ) -> Error {
        let step = step.into();
        let found = Found { field, step };
        let error = has_example(found_failed(found, Fail::new(call, errno)), code);
        assert_eq!(error.field.as_deref(), Some(field));
        error
    }

    #[test]
    fn a_step_of_init_has_a_code() {
        let kind = RootSwitch::Pivot;
        let switch = InitStep::SwitchRoot {
            kind,
            shared: false,
        };
        fails(
            "root.path",
            &switch,
            "pivot_root",
            Errno::EINVAL,
            "rootfs.failed",
        );
        let path = c"/proc/kcore".to_owned();
        let mask = InitStep::MaskPath { path };
        let error = fails(
            "linux.maskedPaths[3]",
            &mask,
            "move_mount",
            Errno::EINVAL,
            "mount.failed",
        );
        assert_eq!(error.path.as_deref(), Some("/proc/kcore"));
        let limit = Rlimit {
            resource: 7,
            name: "RLIMIT_NOFILE".into(),
            soft: 1024,
            hard: 2_000_000,
        };
        fails(
            "process.rlimits[0]",
            &limit,
            "prlimit64",
            Errno::EPERM,
            "process.rlimit",
        );
        let exec = ExecLabel {
            module: Module::AppArmor,
            label: c"web".to_owned(),
        };
        let label = InitStep::ExecLabel(exec);
        fails(
            "process.apparmorProfile",
            &label,
            "write",
            Errno::ENOENT,
            "process.label",
        );
        let keyring = InheritedStep::SessionKeyring { label: None };
        fails("linux", &keyring, "keyctl", Errno::EACCES, "process.failed");
    }

    #[test]
    fn a_step_of_the_runtime_has_a_code() {
        let map = RuntimeStep::IdMap {
            group: false,
            map: "0 100000 65536\n".into(),
            if_denied: IfMapDenied::Fail,
        };
        fails(
            "linux.uidMappings",
            &map,
            "write",
            Errno::EPERM,
            "id-map.refused",
        );
        let device = MoveDevice {
            host: c"eth1".to_owned(),
            name: c"eth0".to_owned(),
            into: DeviceNetwork::OfProcess,
        };
        let device = RuntimeStep::MoveDevice(Box::new(device));
        let field = "linux.netDevices[\"eth1\"]";
        fails(
            field,
            &device,
            "RTM_NEWLINK",
            Errno::EEXIST,
            "network.failed",
        );
        let score = RuntimeStep::OomScoreAdj(-500);
        fails(
            "process.oomScoreAdj",
            &score,
            "write",
            Errno::EACCES,
            "process.scheduling",
        );
        let offsets = "monotonic 5 0".to_owned();
        let time = EntryStep::TimeOffsets { offsets };
        let time = InitStep::Enter(time);
        fails(
            "linux.timeOffsets",
            &time,
            "unshare",
            Errno::EPERM,
            "namespace.failed",
        );
    }

    /// The cgroup makes these errors itself; the step adds what they are.
    #[test]
    fn a_limit_has_a_code() {
        let made = |step: RuntimeStep, field: &str, object: &str, fail: Fail, code: &str| {
            let found = Found {
                field,
                step: AnyStep::from(&step),
            };
            let error = Error::failed(object, fail).about(field);
            let error = super::super::in_step(found, "prepare", error.into());
            assert_eq!(has_example(error, code).phase, Some("prepare"));
        };
        let cgroup = || NewCgroup {
            path: "web".into(),
            controllers: Vec::new(),
            optional: Vec::new(),
            required: true,
        };
        let place = "/sys/fs/cgroup/web";
        let field = "linux.cgroupsPath";
        let denied = Fail::new("mkdir", Errno::EACCES);
        let create = RuntimeStep::CreateCgroup(cgroup());
        made(create.clone(), field, place, denied, "cgroup.not-delegated");
        let depth = Fail::new("mkdir", Errno::EAGAIN);
        made(create, field, place, depth, "cgroup.failed");
        let write = cgroup::Write {
            file: "cpuset.cpus".into(),
            value: "99".into(),
            field: "linux.resources.cpu.cpus".into(),
            fallback: cgroup::Fallback::Fail,
            above: None,
        };
        let field = write.field.clone();
        let write = RuntimeStep::CgroupWrite(Box::new(write));
        let object = "/sys/fs/cgroup/web/cpuset.cpus: \"99\"";
        let refused = Fail::new("write", Errno::EINVAL);
        made(write, &field, object, refused, "cgroup.limit-refused");
        let tasks = RuntimeStep::ResctrlTasks(Vec::new());
        let object = "/sys/fs/resctrl/web/tasks";
        let gone = Fail::new("open", Errno::ENOENT);
        made(tasks, "linux.intelRdt", object, gone, "resctrl.failed");
    }

    #[test]
    fn a_mount_of_a_user_namespace_is_denied() {
        let target = c"/data".to_owned();
        let remount = crate::plan::Remount {
            target,
            bind: true,
            attrs: Default::default(),
            flags: 0,
            data: c"".to_owned(),
            propagation: Vec::new(),
        };
        let step = InitStep::Remount(Box::new(remount));
        let found = Found {
            field: "mounts[7]",
            step: AnyStep::from(&step),
        };
        let fail = Fail::new("mount_setattr", Errno::EPERM).note(Note::LockedFlag);
        has_example(found_failed(found, fail), "mount.denied");
    }
}
