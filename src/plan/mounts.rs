//! `mounts`.

pub(super) mod types;

use std::ffi::CString;
use std::path::Path;

use super::{
    Bind, BindIdMap, BindSource, Filesystem, INERT, IfDenied, InitStep, MountAttrs, Options, Plan,
    Remount, SourceLink, TargetLink, annotations, c_string, labels, namespaces,
};
use crate::config::{Attrs, Config, Mount, Namespace, Propagation, RootPropagation, mount_options};
use crate::host::Host;

/// The attributes that the non-recursive options of a mount decide together: those that no option
/// names are cleared.
const PLAIN: u64 = INERT | libc::MOUNT_ATTR_NOSYMFOLLOW;

pub(super) fn steps(plan: &mut Plan, config: &Config, host: &Host) {
    for mount in &config.mounts {
        let step = match mount.bind {
            _ if mount.remount => remount(mount),
            Some(recursive) => InitStep::Bind(Box::new(bind(mount, recursive, config, host))),
            None => match host_cgroups(mount, config, host) {
                Some(bind) => InitStep::Bind(Box::new(bind)),
                None => {
                    let mut filesystem = filesystem(mount, plan, host);
                    filesystem.made_early = made_early(mount, config);
                    filesystem.id_map = id_map(mount, config);
                    if filesystem.id_map.is_some() {
                        let later = u64::from(readonly_later(mount)) * libc::MOUNT_ATTR_RDONLY;
                        filesystem.made_early = Some(mount.attrs.set & !later);
                    }
                    let label = plan.mount_label.as_ref();
                    let kind = annotations::context_type(config);
                    InitStep::Filesystem(Box::new(labelled(filesystem, mount, kind, label)))
                }
            },
        };
        plan.init.add(&mount.field, step);
    }
}

/// Marks the mounts that later steps change, so that init does not resolve their path again: by
/// then it may lead to another mount, which would be changed instead.
pub(super) fn mark_changed(plan: &mut Plan) {
    let changed = |step: &InitStep| match step {
        InitStep::MountReadonly { path } => Some(path.clone()),
        InitStep::Remount(remount) => Some(remount.target.clone()),
        _ => None,
    };
    let targets: Vec<CString> = plan.init.iter().filter_map(|p| changed(&p.step)).collect();
    for planned in plan.init.iter_mut() {
        match &mut planned.step {
            InitStep::Filesystem(fs) => fs.changed_later = targets.contains(&fs.target),
            InitStep::Bind(bind) => bind.changed_later = targets.contains(&bind.target),
            _ => {}
        }
    }
}

/// Adds the directory with the socket on which the container reports that it is ready.
pub(super) fn notify(plan: &mut Plan, config: &Config, host: &Host, options: &Options) {
    let Some(directory) = &options.notify else {
        return;
    };
    let inert = Attrs {
        set: INERT,
        clear: 0,
    };
    let attrs = MountAttrs {
        top: inert,
        ..MountAttrs::default()
    };
    let propagation = severing(config).into_iter().collect();
    let source = host_source(c_string(directory), false, config, host);
    let bind = host_bind(source, c"/run/notify".into(), attrs, propagation);
    plan.init
        .add("NOTIFY_SOCKET", InitStep::Bind(Box::new(bind)));
}

/// Whether the mount becomes read-only in a later step: init first creates files in a tmpfs and in
/// /dev.
pub(super) fn readonly_later(mount: &Mount) -> bool {
    let fills = mount.fstype == "tmpfs" || mount.destination == Path::new("/dev");
    mount.bind.is_none()
        && !mount.remount
        && fills
        && mount.attrs.set & libc::MOUNT_ATTR_RDONLY != 0
}

/// The attributes of a bind mount. The non-recursive options decide them together, as for a
/// remount: attributes that no option names are cleared. Without any such option, the attributes of
/// the source do not change.
fn bind_attrs(mount: &Mount, keep_source: bool) -> MountAttrs {
    let plain = mount.attrs.set | mount.attrs.clear;
    let unnamed = match (plain, keep_source) {
        (0, _) => 0,
        // The kernel locks the others.
        (_, true) => libc::MOUNT_ATTR_NOSYMFOLLOW & !mount.attrs.set,
        (_, false) => PLAIN & !mount.attrs.set,
    };
    MountAttrs {
        top: Attrs {
            set: mount.attrs.set,
            clear: unnamed | mount.attrs.clear,
        },
        tree: mount.recursive_attrs,
        locked: keep_source.then_some(mount.attrs.clear & PLAIN),
    }
}

fn bind(mount: &Mount, recursive: bool, config: &Config, host: &Host) -> Bind {
    let keep_source = host.in_user_namespace || config.linux.namespaces.user != Namespace::Inherit;
    let source = Path::new(mount.source.as_deref().unwrap_or_default());
    let source = match source.strip_prefix(&config.root.path) {
        // The path is resolved below the rootfs: an absolute path starts at the container's root.
        Ok(below) => BindSource::Rootfs(c_string(Path::new("/").join(below))),
        Err(_) => host_source(c_string(source), keep_source, config, host),
    };
    Bind {
        source,
        target: c_string(&mount.destination),
        source_link: mount.source_link,
        target_link: mount.target_link,
        recursive,
        attrs: bind_attrs(mount, keep_source),
        propagation: bind_propagation(mount, config),
        id_map: id_map(mount, config),
        on_proc: mount.destination.starts_with("/proc"),
        changed_later: false,
    }
}

/// Whether init may be unable to reach the host's paths that the config names, because it is root
/// of another user namespace. In a joined mount namespace the paths are not those of the host. A
/// caller that is root of a user namespace, as unprivileged engines are, has the privileges over
/// the user namespaces that it creates.
pub(super) fn needs_reach(config: &Config, host: &Host) -> bool {
    let namespaces = &config.linux.namespaces;
    host.euid == 0 && namespaces.user != Namespace::Inherit && namespaces.mount == Namespace::New
}

/// Copying a mount needs privileges over its mount namespace. The runtime has them over its own
/// only as root of the host; otherwise init copies the mount in init's own namespace.
///
/// If both can copy it, init does, unless the path means something else for init: in a joined mount
/// namespace, and below /proc, where it could name a descriptor or a property of the runtime.
fn host_source(path: CString, keep_source: bool, config: &Config, host: &Host) -> BindSource {
    let is_root = host.euid == 0 && !host.in_user_namespace;
    let of_process = |directory: &&[u8]| path.to_bytes().starts_with(directory);
    let elsewhere = config.linux.namespaces.mount != Namespace::New
        || [b"/proc/".as_slice(), b"/dev/fd/"].iter().any(of_process);
    match () {
        () if needs_reach(config, host) => BindSource::OpenedByRuntime(path),
        () if is_root && (elsewhere || keep_source) => BindSource::CopiedByRuntime {
            path,
            or_by_init: true,
        },
        () => BindSource::CopiedByInit {
            path,
            looked_up: is_root,
        },
    }
}

/// The same for a mount that is added to an existing container, in which the path means something
/// else.
pub(super) fn live_source(source: BindSource, config: &Config, host: &Host) -> Option<BindSource> {
    if matches!(source, BindSource::Rootfs(_)) {
        return Some(source);
    }
    let path = source.path().clone();
    match config.linux.namespaces.user {
        Namespace::Inherit if host.euid == 0 && !host.in_user_namespace => {
            let or_by_init = false;
            Some(BindSource::CopiedByRuntime { path, or_by_init })
        }
        Namespace::New | Namespace::Join { .. } if host.euid == 0 => {
            Some(BindSource::CopiedInUserNamespace(path))
        }
        _ => None,
    }
}

/// The id map of a mount. A map equal to that of the container's user namespace does not need
/// its own namespace.
fn id_map(mount: &Mount, config: &Config) -> Option<BindIdMap> {
    let map = mount.id_map.as_ref()?;
    let linux = &config.linux;
    let same = map.uid_mappings == linux.uid_mappings && map.gid_mappings == linux.gid_mappings;
    let has_user_namespace = linux.namespaces.user != Namespace::Inherit;
    let of_container = map.uid_mappings.is_empty() || (same && has_user_namespace);
    let text = namespaces::map_text;
    Some(BindIdMap {
        recursive: map.recursive,
        maps: (!of_container).then(|| (text(&map.uid_mappings), text(&map.gid_mappings))),
    })
}

/// The changes of the propagation of a bind mount. A tree that was copied on the host still is in
/// the peer group of the host, so the first change gives it the propagation that the root
/// propagation has given to all other mounts.
fn bind_propagation(mount: &Mount, config: &Config) -> Vec<Propagation> {
    let mut all = mount.propagation.clone();
    let severed = all
        .first()
        .is_some_and(|first| first.recursive && first.flag != libc::MS_SHARED);
    if !severed && let Some(first) = severing(config) {
        all.insert(0, first);
    }
    all
}

pub(super) fn has_mount_namespace(config: &Config) -> bool {
    config.linux.namespaces.mount != Namespace::Inherit
}

/// The propagation of all mounts in the new mount namespace: whether later mounts of the host
/// appear in the container, and later mounts of the container on the host. Only `shared` permits
/// the latter. If the config sets none, bind mounts may receive mounts of the host, as with
/// `slave`, but the rootfs does not.
pub(super) fn propagation_flag(config: &Config) -> u64 {
    match config.linux.rootfs_propagation {
        // An unbindable root could not be bind-mounted onto itself. It becomes unbindable at the
        // end.
        None | Some(RootPropagation::Slave | RootPropagation::Unbindable) => libc::MS_SLAVE,
        Some(other) => other.flag(),
    }
}

/// Whether later mounts of the host and of the container appear in each other.
pub(super) fn root_is_shared(config: &Config) -> bool {
    has_mount_namespace(config) && config.linux.rootfs_propagation == Some(RootPropagation::Shared)
}

/// The change that gives a tree of the host the propagation that all other mounts have.
fn severing(config: &Config) -> Option<Propagation> {
    let severed = has_mount_namespace(config) && !root_is_shared(config);
    severed.then(|| Propagation {
        flag: propagation_flag(config),
        recursive: true,
    })
}

fn remount(mount: &Mount) -> InitStep {
    let mut attrs = bind_attrs(mount, false);
    attrs.top.clear &= !libc::MOUNT_ATTR__ATIME | mount.attrs.clear;
    InitStep::Remount(Box::new(Remount {
        target: c_string(&mount.destination),
        bind: mount.bind.is_some(),
        attrs,
        flags: mount_flags(mount),
        data: c_string(mount.data.as_str()),
        propagation: mount.propagation.clone(),
    }))
}

/// The `MS_*` flags of mount(2) for the non-recursive options.
fn mount_flags(mount: &Mount) -> u64 {
    let mut flags = mount.super_flags | mount_options::mount_flags(mount.attrs.set);
    if mount.attrs.clear & libc::MOUNT_ATTR__ATIME != 0
        && mount.attrs.set & libc::MOUNT_ATTR__ATIME == 0
    {
        flags |= libc::MS_RELATIME;
    }
    flags
}

fn filesystem(mount: &Mount, plan: &Plan, host: &Host) -> Filesystem {
    let mut flags = mount_flags(mount);
    if readonly_later(mount) {
        flags &= !libc::MS_RDONLY;
    }
    let fstype = if mount.is_cgroup() {
        "cgroup2"
    } else {
        mount.fstype.as_str()
    };
    let if_denied = match fstype {
        "cgroup2" => own_cgroup(plan, host).map_or(IfDenied::Fail, |own| {
            if host.euid == 0 && !host.in_user_namespace {
                IfDenied::Bind(own)
            } else {
                IfDenied::BindOrMask(own)
            }
        }),
        "sysfs" => IfDenied::Bind(c"/sys".into()),
        _ => IfDenied::Fail,
    };
    Filesystem {
        fstype: c_string(fstype),
        source: c_string(mount.source.as_deref().unwrap_or(fstype.as_ref())),
        target: c_string(&mount.destination),
        flags,
        data: c_string(mount.data.as_str()),
        if_denied,
        made_early: None,
        id_map: None,
        real_directory: matches!(fstype, "proc" | "sysfs"),
        inherit_mode: fstype == "tmpfs"
            && !mount.data.split(',').any(|word| word.starts_with("mode=")),
        copy_up: mount.tmpcopyup,
        label: None,
        tree_attrs: mount.recursive_attrs,
        propagation: mount.propagation.clone(),
        changed_later: false,
    }
}

/// The attributes of a file system that must be made early because init could not mount it.
fn made_early(mount: &Mount, config: &Config) -> Option<u64> {
    let namespaces = &config.linux.namespaces;
    let shown = match mount.fstype.as_str() {
        "proc" => &namespaces.pid,
        "mqueue" => &namespaces.ipc,
        _ => return None,
    };
    let denied = namespaces.user == Namespace::New && matches!(shown, Namespace::Join { .. });
    denied.then_some(mount.attrs.set)
}

/// Gives a new file system the container's SELinux context. Kernel interfaces have their own.
fn labelled(mut fs: Filesystem, mount: &Mount, kind: &str, label: Option<&CString>) -> Filesystem {
    match fs.fstype.to_str() {
        Ok("proc" | "sysfs" | "cgroup2") => {}
        Ok("mqueue") => fs.label = label.cloned(),
        _ => fs.data = c_string(labels::with_context(&mount.data, kind, label)),
    }
    fs
}

/// The path of the container's own cgroup on the host, for a bind mount if the kernel denies a
/// cgroup2 mount. A container without its own cgroup is in that of its caller.
fn own_cgroup(plan: &Plan, host: &Host) -> Option<CString> {
    let cgroups = host.cgroup.as_ref()?;
    let below = match plan.cgroup() {
        Some((path, _)) => path,
        None => Path::new(&cgroups.own),
    };
    let below = below.strip_prefix("/").unwrap_or(below);
    Some(c_string(cgroups.mount.join(below)))
}

/// Whether a cgroup mount would show the hierarchy of the host, because the container has no cgroup
/// namespace. A new mount would then also reset the options of the hierarchy, such as `nsdelegate`,
/// for the whole host. A bind mount shows the same and changes nothing. cgroup-v2.rst, "Mounting".
fn shows_host_cgroups(mount: &Mount, config: &Config, host: &Host) -> bool {
    mount.is_cgroup()
        && config.linux.namespaces.cgroup == Namespace::Inherit
        && config.linux.namespaces.user == Namespace::Inherit
        && !host.in_user_namespace
}

fn host_cgroups(mount: &Mount, config: &Config, host: &Host) -> Option<Bind> {
    match &host.cgroup {
        Some(cgroups) if shows_host_cgroups(mount, config, host) => {
            let source = host_source(c_string(&cgroups.mount), false, config, host);
            let target = c_string(&mount.destination);
            let propagation = bind_propagation(mount, config);
            let attrs = bind_attrs(mount, false);
            Some(host_bind(source, target, attrs, propagation))
        }
        _ => None,
    }
}

/// A bind mount of one mount of the host that is not a bind mount in `mounts`.
fn host_bind(
    source: BindSource,
    target: CString,
    attrs: MountAttrs,
    propagation: Vec<Propagation>,
) -> Bind {
    Bind {
        source,
        target,
        source_link: SourceLink::default(),
        target_link: TargetLink::default(),
        recursive: false,
        attrs,
        propagation,
        id_map: None,
        on_proc: false,
        changed_later: false,
    }
}
