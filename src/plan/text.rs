//! The plan in words: for `explain`, and for the sentence that names a failed step.

use std::ffi::{CStr, CString};
use std::fmt::{self, Display, Write};

use super::mounts::attr;
use super::{
    Bind, BindAttrs, BindSource, Credentials, Filesystem, HookStep, IfDenied, Node, Phase, Plan,
    RootSwitch, Step,
};
use crate::config::{DeviceKind, NamespaceKind, Propagation};

impl Phase {
    /// The phase in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Clone => "clone",
            Self::Parent => "parent",
            Self::Init => "init",
            Self::Hooks => "hooks",
            Self::Ready => "ready",
            Self::Start => "start",
            Self::Started => "started",
            Self::Deleted => "deleted",
        }
    }
}

impl Plan {
    /// One line a step: phase, what is done, and the property that it comes from.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            let _ = writeln!(text, "warning  {warning}");
        }
        let mut cloned = false;
        for planned in &self.steps {
            if !cloned && planned.phase != Phase::Prepare {
                let _ = writeln!(text, "{}", self.clone_line());
                cloned = true;
            }
            let phase = planned.phase.name();
            let _ = writeln!(text, "{phase:<8} {}  <- {}", planned.step, planned.field);
        }
        text
    }

    /// The same as a JSON object: `warnings`, `clone` and `steps`.
    pub fn json(&self) -> serde_json::Value {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|planned| {
                serde_json::json!({
                    "phase": planned.phase.name(),
                    "step": planned.step.name(),
                    "what": planned.step.to_string(),
                    "config": planned.field,
                })
            })
            .collect();
        serde_json::json!({
            "warnings": self.warnings,
            "clone": { "namespaces": self.new_namespaces(), "intermediate": self.intermediate },
            "steps": steps,
        })
    }

    /// The namespaces that clone3(2) makes, by their names in the specification.
    fn new_namespaces(&self) -> Vec<&'static str> {
        NamespaceKind::ALL
            .into_iter()
            .filter(|kind| self.clone_flags & kind.flag() as u64 != 0)
            .map(NamespaceKind::name)
            .collect()
    }

    fn clone_line(&self) -> String {
        let new = self.new_namespaces();
        let what = if new.is_empty() {
            "none".to_owned()
        } else {
            new.join(" ")
        };
        let via = if self.intermediate {
            ", by an intermediate process"
        } else {
            ""
        };
        format!("clone    clone3: new namespaces: {what}{via}  <- linux.namespaces")
    }
}

impl Step {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateCgroup { .. } => "create-cgroup",
            Self::CgroupWrite(_) => "cgroup-write",
            Self::DeviceProgram(_) => "device-program",
            Self::DelegateCgroup { .. } => "delegate-cgroup",
            Self::IdMap { .. } => "id-map",
            Self::OomScoreAdj(_) => "oom-score-adj",
            Self::Rlimit { .. } => "rlimit",
            Self::Hook(_) => "hook",
            Self::JoinNamespace { .. } => "join-namespace",
            Self::TimeOffsets { .. } => "time-offsets",
            Self::BecomeRoot { .. } => "become-root",
            Self::UnshareCgroup => "unshare-cgroup",
            Self::SessionKeyring { .. } => "session-keyring",
            Self::LoopbackUp => "loopback-up",
            Self::RootPropagation { .. } => "root-propagation",
            Self::BindRootfs { .. } => "bind-rootfs",
            Self::Filesystem(_) => "mount",
            Self::Bind(_) => "bind",
            Self::Remount(_) => "remount",
            Self::Node(_) => "node",
            Self::Symlink(_) => "symlink",
            Self::MaskPath { .. } => "mask-path",
            Self::ReadonlyPath { .. } => "readonly-path",
            Self::SwitchRoot { .. } => "switch-root",
            Self::Propagate { .. } => "propagate",
            Self::MountReadonly { .. } => "mount-readonly",
            Self::MakeCwd { .. } => "make-cwd",
            Self::RuntimeHooks => "runtime-hooks",
            Self::Console { .. } => "console",
            Self::Stdio { .. } => "stdio",
            Self::Hostname(_) => "hostname",
            Self::Domainname(_) => "domainname",
            Self::Sysctl { .. } => "sysctl",
            Self::Personality(_) => "personality",
            Self::Cwd { .. } => "cwd",
            Self::CheckCwd { .. } => "check-cwd",
            Self::Credentials(_) => "credentials",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::DropSysAdmin { .. } => "drop-sys-admin",
            Self::Seccomp { .. } => "seccomp",
            Self::FindExecutable { .. } => "find-executable",
            Self::FindHome { .. } => "find-home",
            Self::WaitForStart => "wait-for-start",
            Self::CloseRange { .. } => "close-range",
            Self::Exec(_) => "exec",
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCgroup {
                path,
                controllers,
                optional,
                required,
            } => {
                write!(f, "create cgroup {}", path.display())?;
                if !controllers.is_empty() {
                    write!(f, " with {}", controllers.join(" "))?;
                }
                if !optional.is_empty() {
                    write!(f, ", if possible with {}", optional.join(" "))?;
                }
                f.write_str(if *required { "" } else { ", if permitted" })
            }
            Self::CgroupWrite(write) => write!(f, "write {} to {}", write.value, write.file),
            Self::DeviceProgram(program) => {
                write!(f, "attach a device program: {}", program.summary)
            }
            Self::DelegateCgroup { uid } => write!(f, "give the cgroup to host user {uid}"),
            Self::IdMap { group, map } => {
                let name = if *group { "gid_map" } else { "uid_map" };
                write!(f, "write {name} {}", map.trim_end().replace('\n', ", "))
            }
            Self::OomScoreAdj(score) => write!(f, "write oom_score_adj {score}"),
            Self::Rlimit {
                name, soft, hard, ..
            } => {
                write!(f, "prlimit {name} {} {}", limit(*soft), limit(*hard))
            }
            Self::Hook(hook) => write_hook(f, hook),
            Self::JoinNamespace { kind, path } => {
                write!(f, "join {} namespace {}", kind.name(), lossy(path))
            }
            Self::TimeOffsets { offsets } => {
                let offsets = offsets.trim_end().replace('\n', ", ");
                write!(f, "new time namespace with offsets {offsets}")
            }
            Self::BecomeRoot { .. } => f.write_str("become root of the user namespace"),
            Self::UnshareCgroup => f.write_str("unshare the cgroup namespace"),
            Self::SessionKeyring { name } => write!(f, "join session keyring {}", lossy(name)),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::RootPropagation { flag, recursive } => {
                let propagation = Propagation {
                    flag: *flag,
                    recursive: *recursive,
                };
                write!(f, "make all mounts {}", propagation_word(propagation))
            }
            Self::BindRootfs { path, .. } => write!(f, "bind rootfs {} on itself", lossy(path)),
            Self::Filesystem(filesystem) => write_filesystem(f, filesystem),
            Self::Bind(bind) => write_bind(f, bind),
            Self::Remount(remount) => {
                let kind = if remount.bind { "bind of " } else { "" };
                write!(f, "remount {kind}{}", lossy(&remount.target))?;
                let words = if remount.bind {
                    attr_words(remount.attrs)
                } else {
                    mount_words(remount.flags)
                };
                write_words(f, &[words, lossy(&remount.data)])
            }
            Self::Node(node) => write_node(f, node),
            Self::Symlink(symlink) => {
                write!(
                    f,
                    "symlink {} to {}",
                    lossy(&symlink.path),
                    lossy(&symlink.target)
                )
            }
            Self::MaskPath { path } => write!(f, "mask {}", lossy(path)),
            Self::ReadonlyPath { path } => write!(f, "make {} read-only", lossy(path)),
            Self::SwitchRoot {
                kind: RootSwitch::Pivot,
                ..
            } => f.write_str("pivot_root to the rootfs"),
            Self::SwitchRoot {
                kind: RootSwitch::Move,
                ..
            } => f.write_str("move the rootfs to / and chroot"),
            Self::SwitchRoot {
                kind: RootSwitch::Chroot,
                ..
            } => f.write_str("chroot to the rootfs"),
            Self::Propagate { propagation } => {
                write!(f, "make / {}", propagation_word(*propagation))
            }
            Self::MountReadonly { path } => write!(f, "make mount {} read-only", lossy(path)),
            Self::MakeCwd { path } => write!(f, "make {} where it is missing", lossy(path)),
            Self::RuntimeHooks => f.write_str("let the runtime run its hooks"),
            Self::Console {
                size: Some(size), ..
            } => {
                write!(f, "open a console of {} by {}", size.width, size.height)
            }
            Self::Console { size: None, .. } => f.write_str("open a console"),
            Self::Stdio { uid } => write!(f, "give the standard streams to user {uid}"),
            Self::Hostname(name) => write!(f, "sethostname {}", lossy(name)),
            Self::Domainname(name) => write!(f, "setdomainname {}", lossy(name)),
            Self::Sysctl { path, value } => {
                write!(f, "write {} to /proc/sys/{}", lossy(value), lossy(path))
            }
            Self::Personality(persona) => write!(f, "personality {persona:#x}"),
            Self::Cwd { path } => write!(f, "chdir {}", lossy(path)),
            Self::CheckCwd { path } => write!(f, "check that {} is in the root", lossy(path)),
            Self::Credentials(credentials) => write_credentials(f, credentials),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::DropSysAdmin { .. } => f.write_str("drop the last capability of setting up"),
            Self::Seccomp { program, flags } => {
                let count = program.len();
                write!(
                    f,
                    "load a seccomp filter of {count} instructions, flags {flags:#x}"
                )
            }
            Self::FindExecutable { candidates } => {
                write!(f, "find the executable among {}", join(candidates, " "))
            }
            Self::FindHome { uid } => write!(f, "find the home of user {uid} in /etc/passwd"),
            Self::WaitForStart => f.write_str("wait for start"),
            Self::CloseRange { first } => write!(f, "close descriptors from {first} on"),
            Self::Exec(exec) => write!(f, "execve {}", join(&exec.args, " ")),
        }
    }
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn join(strings: &[CString], separator: &str) -> String {
    strings
        .iter()
        .map(|text| lossy(text))
        .collect::<Vec<_>>()
        .join(separator)
}

fn limit(value: u64) -> String {
    if value == u64::MAX {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// ` (a,b)` of the parts that are not empty.
fn write_words(f: &mut fmt::Formatter<'_>, parts: &[String]) -> fmt::Result {
    let words: Vec<_> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(String::as_str)
        .collect();
    if words.is_empty() {
        Ok(())
    } else {
        write!(f, " ({})", words.join(","))
    }
}

fn propagation_word(propagation: Propagation) -> String {
    let word = match propagation.flag {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_PRIVATE => "private",
        _ => "unbindable",
    };
    if propagation.recursive {
        format!("r{word}")
    } else {
        word.to_owned()
    }
}

fn propagation_words(list: &[Propagation]) -> String {
    list.iter()
        .copied()
        .map(propagation_word)
        .collect::<Vec<_>>()
        .join(",")
}

fn words<const N: usize>(bits: u64, table: [(u64, &str); N]) -> String {
    let named = table
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, word)| *word);
    named.collect::<Vec<_>>().join(",")
}

fn mount_words(flags: u64) -> String {
    words(
        flags,
        [
            (libc::MS_RDONLY, "ro"),
            (libc::MS_NOSUID, "nosuid"),
            (libc::MS_NODEV, "nodev"),
            (libc::MS_NOEXEC, "noexec"),
            (libc::MS_SYNCHRONOUS, "sync"),
            (libc::MS_DIRSYNC, "dirsync"),
            (libc::MS_MANDLOCK, "mand"),
            (libc::MS_NOATIME, "noatime"),
            (libc::MS_NODIRATIME, "nodiratime"),
            (libc::MS_STRICTATIME, "strictatime"),
            (libc::MS_RELATIME, "relatime"),
            (256, "nosymfollow"),
        ],
    )
}

const fn attr_table() -> [(u64, &'static str); 8] {
    [
        (attr::RDONLY, "ro"),
        (attr::NOSUID, "nosuid"),
        (attr::NODEV, "nodev"),
        (attr::NOEXEC, "noexec"),
        (attr::NOATIME, "noatime"),
        (attr::STRICTATIME, "strictatime"),
        (attr::NODIRATIME, "nodiratime"),
        (attr::NOSYMFOLLOW, "nosymfollow"),
    ]
}

fn attr_words(attrs: BindAttrs) -> String {
    let mut all = vec![words(attrs.set, attr_table())];
    let lists = [
        (attrs.clear & !attr::ATIME, "-", ""),
        (attrs.recursive_set, "", "r"),
        (attrs.recursive_clear & !attr::ATIME, "-", "r"),
    ];
    for (bits, sign, prefix) in lists {
        let list = words(bits, attr_table());
        all.extend(
            list.split(',')
                .filter(|w| !w.is_empty())
                .map(|w| format!("{sign}{prefix}{w}")),
        );
    }
    all.retain(|part| !part.is_empty());
    all.join(",")
}

fn write_filesystem(f: &mut fmt::Formatter<'_>, mount: &Filesystem) -> fmt::Result {
    write!(
        f,
        "mount {} on {}",
        lossy(&mount.fstype),
        lossy(&mount.target)
    )?;
    let recursive = BindAttrs {
        recursive_set: mount.recursive_set,
        recursive_clear: mount.recursive_clear,
        ..BindAttrs::default()
    };
    let copy_up = if mount.copy_up { "copy up" } else { "" };
    write_words(
        f,
        &[
            mount_words(mount.flags),
            lossy(&mount.data),
            attr_words(recursive),
            copy_up.to_owned(),
            propagation_words(&mount.propagation),
        ],
    )?;
    match &mount.if_denied {
        IfDenied::Bind(path) => write!(f, ", if denied bind {}", lossy(path)),
        IfDenied::Fail => Ok(()),
    }
}

fn write_bind(f: &mut fmt::Formatter<'_>, bind: &Bind) -> fmt::Result {
    let (source, place) = match &bind.source {
        BindSource::Host(path) => (path, ""),
        BindSource::Rootfs(path) => (path, " from the rootfs"),
    };
    let word = if bind.recursive { "rbind" } else { "bind" };
    write!(
        f,
        "{word} {}{place} on {}",
        lossy(source),
        lossy(&bind.target)
    )?;
    write_words(
        f,
        &[attr_words(bind.attrs), propagation_words(&bind.propagation)],
    )
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    let path = lossy(&node.path);
    let (kind, name) = match node.kind {
        DeviceKind::Char => ("c", "device"),
        DeviceKind::Block => ("b", "device"),
        DeviceKind::Fifo => return write!(f, "mkfifo {path} mode {:04o}", node.mode),
    };
    if node.bind {
        write!(f, "bind host {name} {path}")
    } else {
        write!(
            f,
            "mknod {path} {kind} {}:{} mode {:04o}",
            node.major, node.minor, node.mode
        )
    }
}

fn write_hook(f: &mut fmt::Formatter<'_>, hook: &HookStep) -> fmt::Result {
    write!(f, "run {} hook {}", hook.moment.name(), lossy(&hook.path))?;
    match hook.timeout {
        Some(timeout) => write!(f, " within {} s", timeout.as_secs()),
        None => Ok(()),
    }
}

fn write_credentials(f: &mut fmt::Formatter<'_>, user: &Credentials) -> fmt::Result {
    write!(f, "become user {}:{}", user.uid, user.gid)?;
    let groups = user.groups.as_deref().unwrap_or_default();
    if !groups.is_empty() {
        let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
        write!(f, " groups {}", groups.join(","))?;
    }
    let sets = &user.capabilities;
    write!(
        f,
        " umask {:04o} capabilities bounding={:#x} effective={:#x} inheritable={:#x} permitted={:#x} ambient={:#x}",
        user.umask, sets.bounding, sets.effective, sets.inheritable, sets.permitted, sets.ambient
    )
}
