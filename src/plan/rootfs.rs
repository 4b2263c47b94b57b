//! The root filesystem apart from the mounts of the config: propagation, devices, links, masked and
//! read-only paths.

use std::path::Path;

use super::mounts::{
    has_mount_namespace, needs_reach, propagation_flag, readonly_later, root_is_shared,
};
use super::{InitStep, Node, Opener, Plan, Symlink, c_string};
use crate::config::{Config, DeviceKind, Namespace, Propagation};
use crate::host::Host;

/// Source: runtime-spec 1.3, config-linux.md, default devices.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Source: runtime-spec 1.3, runtime-linux.md, dev symbolic links.
const LINKS: [(&std::ffi::CStr, &std::ffi::CStr); 6] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
    (c"/proc/kcore", c"/dev/core"),
    (c"pts/ptmx", c"/dev/ptmx"),
];

/// Sets the propagation of the mount namespace and makes the rootfs a mount. All mounts of the
/// config need both.
pub(super) fn before_mounts(plan: &mut Plan, config: &Config, host: &Host) {
    let path = c_string(&config.root.path);
    if has_mount_namespace(config) {
        let step = InitStep::RootPropagation {
            flag: propagation_flag(config),
        };
        plan.init.add("linux.rootfsPropagation", step);
    }
    let private = has_mount_namespace(config) && config.linux.rootfs_propagation.is_none();
    let private_parent = root_is_shared(config);
    let opener = if needs_reach(config, host) {
        Opener::Runtime
    } else {
        Opener::Init
    };
    plan.init.add(
        "root.path",
        InitStep::BindRootfs {
            path,
            opener,
            private,
            private_parent,
        },
    );
}

/// Whether /dev as a whole is a bind mount. If so, init creates nothing in it.
fn dev_is_bound(config: &Config) -> bool {
    config
        .mounts
        .iter()
        .any(|mount| mount.destination == Path::new("/dev") && mount.bind.is_some())
}

pub(super) fn devices(plan: &mut Plan, config: &Config, host: &Host) {
    if dev_is_bound(config) {
        return;
    }
    let bind = host.in_user_namespace || config.linux.namespaces.user != Namespace::Inherit;
    for (path, major, minor) in DEFAULT_DEVICES {
        if config
            .linux
            .devices
            .iter()
            .any(|device| device.path == Path::new(path))
        {
            continue;
        }
        let path = c_string(Path::new(path));
        let kind = DeviceKind::Char;
        let node = Node {
            path,
            kind,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
            bind,
        };
        plan.init.add("default devices", InitStep::Node(node));
    }
    for device in &config.linux.devices {
        // The pseudo-terminal multiplexer is a link into the container's own devpts.
        if device.path == Path::new("/dev/ptmx") {
            continue;
        }
        let node = Node {
            path: c_string(&device.path),
            kind: device.kind,
            major: device.major,
            minor: device.minor,
            mode: device.mode,
            uid: device.uid,
            gid: device.gid,
            bind: bind && device.kind != DeviceKind::Fifo,
        };
        plan.init.add(&device.field, InitStep::Node(node));
    }
    for (target, path) in LINKS {
        let link = Symlink {
            target: target.into(),
            path: path.into(),
            if_target_exists: path == c"/dev/core",
            replace: path == c"/dev/ptmx",
        };
        plan.init.add("default links", InitStep::Symlink(link));
    }
}

/// Protects what the user process must not reach or change. init does all of it by descriptor below
/// the rootfs, while it can still open the host's /dev/null.
pub(super) fn protect(plan: &mut Plan, config: &Config) {
    let paths = config.linux.readonly_paths.iter().enumerate();
    for (index, path) in paths {
        let field = format!("linux.readonlyPaths[{index}]");
        let path = c_string(path);
        plan.init.add(field, InitStep::ReadonlyPath { path });
    }
    for (index, path) in config.linux.masked_paths.iter().enumerate() {
        let field = format!("linux.maskedPaths[{index}]");
        let path = c_string(path);
        plan.init.add(field, InitStep::MaskPath { path });
    }
    for mount in &config.mounts {
        if readonly_later(mount) {
            let path = c_string(&mount.destination);
            plan.init
                .add(&mount.field, InitStep::MountReadonly { path });
        }
    }
    if config.root.readonly {
        let path = c"/".into();
        plan.init
            .add("root.readonly", InitStep::MountReadonly { path });
    }
}

pub(super) fn after_switch(plan: &mut Plan, config: &Config) {
    if let (Some(propagation), true) =
        (config.linux.rootfs_propagation, has_mount_namespace(config))
    {
        let propagation = Propagation {
            flag: propagation.flag(),
            recursive: false,
        };
        plan.init.add(
            "linux.rootfsPropagation",
            InitStep::Propagate { propagation },
        );
    }
}
