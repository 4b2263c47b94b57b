//! `run`: does the work of `create`, `start` and finally `delete`.

use std::path::PathBuf;

use anyhow::Result;

use super::create::{Mode, make};
use super::saved::destroy_started;
use super::{Context, DONE, Verb, ending};
use crate::cli::flags::{Lazy, flags};
use crate::cli::groups::Setup;
use crate::error::Context as _;
use crate::run::{self, Created, Timings, relay};
use crate::state::Status;
use crate::sys::interrupt;

flags! {
    /// Create a container, run its process, and delete it when the process ends.
    ///
    /// The exit status is that of the process, or 128 plus the number of the signal that ended it.
    /// SIGHUP, SIGINT, SIGQUIT or SIGTERM before the process runs ends the runtime: the container
    /// is removed, and the status is 128 plus the number of the signal. Once the process runs,
    /// these signals are forwarded to it. A warning says why a process was killed for lack of
    /// memory, by its seccomp profile or by SIGKILL from elsewhere.
    #[derive(Debug)]
    pub(super) struct Run {
        #[command(flatten)]
        pub setup: Setup,
        #[command(flatten)]
        pub flags: Lazy<RunFlags>,
    }

    // How long `run` stays, and what it keeps.
    #[derive(Clone, Debug, Default)]
    pub(super) struct RunFlags {
        /// Return as soon as the process runs
        #[arg(short, long)]
        pub detach: bool,

        /// Keep the state and the cgroup when the process ends; `delete` removes them
        #[arg(long)]
        pub keep: bool,

        /// Record the system calls of the container in a new file, as a seccomp profile.
        ///
        /// Every call is allowed meanwhile, so the config must not have a filter of its own. The
        /// profile allows what the container has called, and is complete when its last process has
        /// ended. Processes of `exec` are part of it. The annotation sampan.seccomp.record, with an
        /// absolute path, does the same for `create`.
        #[arg(long, value_name = "FILE")]
        pub seccomp_record: Option<PathBuf>,
    }
}

impl Verb for Run {
    fn container(&self) -> Option<&str> {
        Some(&self.setup.new.id)
    }

    /// Creates a container and starts it. In the foreground the value is its exit status.
    fn run(&self, context: &Context) -> Result<u8> {
        let timings = Timings::new(context.log, self.setup.measure.timings);
        let (mode, signals) = Mode::begin(self.flags.detach, &self.setup.caller)?;
        let (created, plan) = make(
            context,
            &self.setup,
            mode,
            true,
            self.flags.seccomp_record.as_deref(),
            &timings,
        )?;
        timings.phase("start");
        let notify = context.notify(&created.dir);
        let started = run::interrupt::instead(run::start_created(&created, &plan))
            .and_then(|()| signals.as_ref().map_or(Ok(()), relay::Signals::block_all))
            .and_then(|()| {
                timings.phase("started");
                timings.collect(&plan);
                run::run_hooks(&plan.after_start, &created.state, Status::Running)
            })
            .inspect(|()| timings.finish());
        let Created {
            dir,
            state,
            pidfd,
            terminal,
            recorder,
            ..
        } = created;
        let status = match (started, signals) {
            (Ok(()), Some(signals)) => {
                context.log.succeed();
                let ended = relay::relay(&signals, state.pid, &pidfd, terminal, notify);
                ended.map(|end| ending::status(context.log, &dir, &state, end))
            }
            (Ok(()), None) => {
                return match notify {
                    Some(notify) => {
                        interrupt::release().context("signals")?;
                        notify.wait(state.pid, &pidfd).map(|()| DONE)
                    }
                    None => Ok(DONE),
                };
            }
            (Err(error), _) => Err(error),
        };
        if status.is_err() || !self.flags.keep {
            destroy_started(context, &dir, &state)?;
            // All processes of the container have ended, so the recording ends now.
            if let Some(recorder) = recorder.into_inner() {
                let recorded = run::finish_recording(&recorder);
                return status.and_then(|status| recorded.map(|()| status));
            }
        }
        status
    }
}
