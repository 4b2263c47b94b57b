//! Dumps the processes of a container.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::config::{Config, Namespace, NamespaceKind};
use crate::criu::{Criu, Kind, Launch, Options, cgroup_options, container, page_server, streams};
use crate::error::{Context as _, Error};
use crate::plan::Plan;
use crate::state::{State, not_running};
use crate::sys::{path, pidfd, stat};

/// Everything that is needed for a dump.
pub struct Checkpoint<'a> {
    /// The container.
    pub state: &'a State,
    /// The process that the state names.
    pub init: &'a OwnedFd,
    /// The config that the container was created from.
    pub config: &'a Config,
    /// The plan for it.
    pub plan: &'a Plan,
    /// [`Kind::Dump`] or [`Kind::PreDump`].
    pub kind: Kind,
    /// What the command line says.
    pub options: Options,
    /// The directory of the images.
    pub images: &'a OwnedFd,
    /// The path of CRIU's log, for errors.
    pub log: &'a Path,
}

/// The names of joined namespaces in the images, which are those of other runtimes.
pub(super) const EXTERNAL: [(NamespaceKind, &str, &str); 2] = [
    (NamespaceKind::Network, "net", "extRootNetNS"),
    (NamespaceKind::Pid, "pid", "extRootPidNS"),
];

/// Dumps the container. After a failure it continues as before.
///
/// # Errors
/// CRIU is missing or has failed; the error quotes its log.
pub fn checkpoint(request: Checkpoint) -> Result<()> {
    let Checkpoint { state, .. } = request;
    refuse_foreign_namespaces(request.config)?;
    let mut options = request.options;
    let server = page_server::connect(&options)?;
    options.page_server_fd = server.as_ref().map(AsRawFd::as_raw_fd);
    let inherited = [options.status_fd, options.page_server_fd];
    let mut criu = Criu::start(&Launch {
        descriptors: inherited.into_iter().flatten().collect(),
        ..Launch::default()
    })?;
    options.pid = Some(state.pid);
    options.root = state.rootfs.as_os_str().as_bytes().to_owned();
    if let Some(cgroup) = &state.cgroup {
        options.freeze = Some(cgroup.dir().into_os_string().into_encoded_bytes());
    }
    options.mounts = container::external_mounts(state.pid, request.plan)?;
    options.external = external_namespaces(request.config, state.pid)?;
    if request.kind == Kind::Dump {
        streams::save(request.images.as_fd(), state.pid)?;
    }
    // What was read from /proc is that of the container only if its process still lives.
    match pidfd::send_signal(request.init.as_fd(), 0) {
        Err(fail) if fail.errno == Errno::ESRCH => bail!(not_running(state)),
        alive => alive.with_context(|| format!("process {}", state.pid))?,
    }
    let _kept = cgroup_options::Kept::look()?;
    criu.perform(request.kind, &options, request.log, &mut |_, _| Ok(()))?;
    Ok(())
}

/// Namespaces that CRIU neither leaves out nor joins: it would make new ones with the content of
/// those that belong to the host or to other containers.
fn refuse_foreign_namespaces(config: &Config) -> Result<()> {
    let namespaces = &config.linux.namespaces;
    if namespaces.mount == Namespace::Inherit {
        let message = "linux.namespaces: a container without a mount namespace cannot be saved";
        bail!(Error::new(message).hint("its mounts are mixed with those of the host"));
    }
    use NamespaceKind::{Mount, Time, User};
    for kind in [User, Mount, Time] {
        if let Namespace::Join { field, .. } = namespaces.get(kind) {
            let message = format!(
                "{field}: CRIU cannot join a {} namespace again",
                kind.name()
            );
            bail!(Error::new(message).hint("give the container its own, without a path"));
        }
    }
    Ok(())
}

/// The joined namespaces that CRIU leaves out.
fn external_namespaces(config: &Config, pid: i32) -> Result<Vec<Vec<u8>>> {
    let joined = EXTERNAL
        .iter()
        .filter(|(kind, ..)| matches!(config.linux.namespaces.get(*kind), Namespace::Join { .. }));
    joined
        .map(|(_, file, name)| {
            let path = format!("/proc/{pid}/ns/{file}");
            let inode = path::c_string(&path)
                .and_then(|path| path::open(&path, libc::O_RDONLY))
                .and_then(|file| stat::stat(file.as_fd()))
                .with_context(|| path)?
                .inode()
                .1;
            Ok(format!("{file}[{inode}]:{name}").into_bytes())
        })
        .collect()
}
