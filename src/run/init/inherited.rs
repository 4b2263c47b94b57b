//! The files that init has from the runtime.

use std::os::fd::{AsRawFd, OwnedFd};

use super::Opened;
use crate::plan::{InitStep, Plan};
use crate::run::hook::Streams;
use crate::sys::binary::OwnMount;
use crate::sys::{Sys, process};

/// What init inherits besides the plan.
pub(crate) struct Inherited {
    /// The connection to the runtime that made init.
    pub runtime: OwnedFd,
    /// The socket to which `start` connects. Without it the runtime that made init starts it, as in
    /// `run`.
    pub listener: Option<OwnedFd>,
    /// A file that stays locked until only execve(2) is left to do. While it is locked, the status
    /// of the container is `created`.
    pub lock: Option<OwnedFd>,
    /// The files that the runtime has opened for the steps.
    pub opened: Opened,
    /// A procfs for init's own use, if init cannot mount one itself.
    pub procfs: Option<OwnedFd>,
    /// The files of the host for the output of startContainer hooks, which run where the host's
    /// paths mean files of the container.
    pub hook_streams: Streams,
    /// A pipe for the time that each step takes, if the caller asks for timings.
    pub times: Option<OwnedFd>,
    /// The mount that init runs from, if init is to dissolve it.
    pub own_mount: Option<OwnMount>,
}

impl Inherited {
    /// For a process that joins a container, which is started by the runtime that makes it.
    pub(crate) fn joining(runtime: OwnedFd, opened: Opened) -> Self {
        Self {
            runtime,
            listener: None,
            lock: None,
            opened,
            procfs: None,
            hook_streams: [None, None],
            times: None,
            own_mount: None,
        }
    }

    /// Closes every other file that the runtime had open. Close-on-exec is not enough: execve(2)
    /// resolves the path of the program while the files are still open, so `/proc/self/fd/N/../..`
    /// would lead from an open directory of the host to the host's root (CVE-2024-21626).
    pub(crate) fn keep_only(&self, plan: &Plan) -> Sys<()> {
        let own = [
            Some(&self.runtime),
            self.listener.as_ref(),
            self.lock.as_ref(),
            self.procfs.as_ref(),
            self.times.as_ref(),
            self.own_mount.as_ref().map(OwnMount::descriptor),
        ];
        let opened = self.opened.iter().chain(self.hook_streams.iter().flatten());
        let keep: Vec<_> = own
            .into_iter()
            .flatten()
            .chain(opened)
            .map(AsRawFd::as_raw_fd)
            .collect();
        let preserved = plan.start.iter().find_map(|planned| match planned.step {
            InitStep::CloseRange { first } => Some(first),
            _ => None,
        });
        process::close_all_but(preserved.unwrap_or(3), &keep)
    }
}
