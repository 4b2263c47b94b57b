//! CRIU, which saves processes to images and restores them. The runtime executes `criu swrk` and
//! talks to it over a socket in the messages of CRIU's rpc.proto.
//!
//! [`mounts`] and [`Options`] are planned without looking at the machine; [`container`] looks at
//! what a running container has, and [`Criu`] is the connection.

pub(crate) mod cgroup_options;
mod client;
pub(crate) mod container;
pub(crate) mod images;
mod launch;
mod log;
mod message;
pub(crate) mod mounts;
pub(crate) mod page_server;
pub(crate) mod streams;
mod wire;

use std::path::Path;

use anyhow::{Result, bail};

use crate::config::Config;
use crate::error::{Context as _, Error};
use crate::host;
use crate::plan::annotations::CRIU_CONFIG;

pub(crate) use client::{BEFORE_RUNNING, Criu};
pub(crate) use launch::{Launch, Own};
pub(crate) use message::{CgroupMode, Kind, NetworkLock, Notice, Options, Switch};

/// The files that are used without the annotation, if they exist.
const DEFAULT_FILES: [&str; 2] = ["/etc/criu/sampan.conf", "/etc/criu/runc.conf"];

/// The configuration file for CRIU, if there is one: that of the annotation, of which an empty one
/// means none.
///
/// # Errors
/// stat(2) failed, so it is not known whether there is one.
pub(crate) fn config_file(config: &Config) -> Result<Option<Vec<u8>>> {
    if let Some(file) = config.annotations.get(CRIU_CONFIG) {
        return Ok((!file.is_empty()).then(|| file.clone().into_bytes()));
    }
    for file in DEFAULT_FILES {
        if crate::sys::stat::stat_of(Path::new(file))
            .context(file)?
            .is_some()
        {
            return Ok(Some(file.into()));
        }
    }
    Ok(None)
}

/// Refuses a verb to callers other than root of the host, as which CRIU has to run.
///
/// # Errors
/// The caller is another user, or in a user namespace.
pub(crate) fn refuse_unprivileged(verb: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() && !host::in_user_namespace()? {
        return Ok(());
    }
    bail!(
        Error::new(format!("{verb}: CRIU needs root on the host"))
            .hint("run the container and this command as root")
    )
}
