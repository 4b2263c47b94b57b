//! `restore`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::bundle::{Loaded, options};
use super::create::{Mode, plan};
use super::criu_flags::{Directories, ImageFlags};
use super::saved::destroy_started;
use super::{Context, DONE, Verb, ending};
use crate::cli::flags::{Lazy, flags};
use crate::cli::groups::{Bundle, CallerFlags, ContainerFlags, DescriptorFlags, NewContainer};
use crate::config::Config;
use crate::criu::{self, Options, Switch};
use crate::error::Error;
use crate::run::{self, Request, relay};
use crate::state::Status;

flags! {
    /// Create a container whose processes continue from the images of `checkpoint`.
    ///
    /// CRIU 4.0 or later must be installed, and the caller must be root. The bundle must be like
    /// that of the container that was saved. CRIU's log is restore.log in --work-path.
    #[derive(Debug)]
    pub(super) struct Restore {
        #[command(flatten)]
        pub bundle: Bundle,

        #[command(flatten)]
        pub images: ImageFlags,

        #[command(flatten)]
        pub flags: Lazy<RestoreFlags>,

        #[command(flatten)]
        pub caller: Lazy<CallerFlags>,

        #[command(flatten)]
        pub new: NewContainer,
    }

    // How long `restore` stays, and what it changes.
    #[derive(Clone, Debug, Default)]
    pub(super) struct RestoreFlags {
        /// Return as soon as the processes continue
        #[arg(short, long)]
        pub detach: bool,

        /// Label of the processes, instead of the one in the images
        #[arg(long, value_name = "TYPE:NAME")]
        pub lsm_profile: Option<String>,

        /// SELinux context of the mounts, instead of the one in the images
        #[arg(long, value_name = "CONTEXT")]
        pub lsm_mount_context: Option<String>,

        /// Let the processes share the session keyring of the caller, instead of creating a new
        /// one that they share
        #[arg(long)]
        pub no_new_keyring: bool,

        /// Accepted for users of other tools, without effect: the processes have their root already
        #[arg(long)]
        pub no_pivot: bool,

        /// Accepted for users of other tools, without effect: the images name those of an earlier
        /// pre-dump themselves
        #[arg(long, value_name = "DIR")]
        pub parent_path: Option<PathBuf>,
    }
}

impl Verb for Restore {
    fn container(&self) -> Option<&str> {
        Some(&self.new.id)
    }

    /// Restores the container. In the foreground the value is its exit status.
    fn run(&self, context: &Context) -> Result<u8> {
        criu::refuse_unprivileged("restore")?;
        let (mode, signals) = Mode::begin(self.flags.detach, &self.caller)?;
        let loaded = Loaded::read(&self.bundle)?;
        // Without it there is nothing that the images could be compared with.
        if loaded.config.process.is_none() {
            bail!(Error::missing("process"));
        }
        let container = ContainerFlags {
            no_new_keyring: self.flags.no_new_keyring,
            ..ContainerFlags::default()
        };
        let descriptors = DescriptorFlags::default();
        let manager = context.cgroup_manager;
        let options = options(&self.new.id, &container, &descriptors, manager);
        let (host, plan) = plan(context, &loaded, &self.caller, mode, &options)?;
        let mut criu_options = self.options(&loaded.config)?;
        let directories = Directories::open(&self.images, false)?;
        let log = directories.enter(&mut criu_options, "restore.log");
        criu_options.config_file = criu::config_file(&loaded.config)?;
        let restored = run::restore(run::Restore {
            request: Request {
                root: &context.root,
                bundle: &loaded.bundle,
                config: &loaded.config,
                config_text: &loaded.bytes,
                plan: &plan,
                host: &host,
                options: &options,
                console_socket: self.caller.console_socket.as_deref(),
                pidfd_socket: self.caller.pidfd_socket.as_deref(),
                pid_file: self.caller.pid_file.as_deref(),
                runs: true,
                timings: &run::Timings::new(context.log, false),
                own_mount: &context.own_mount,
            },
            options: criu_options,
            images: &directories.images,
            work: &directories.work,
            log: &log,
        })?;
        let started = signals
            .as_ref()
            .map_or(Ok(()), relay::Signals::block_all)
            .and_then(|()| run::run_hooks(&plan.after_start, &restored.state, Status::Running));
        let status = match (started, signals) {
            (Ok(()), Some(signals)) => {
                context.log.succeed();
                let (state, pidfd) = (&restored.state, &restored.pidfd);
                let ended = relay::relay(&signals, state.pid, pidfd, restored.terminal, None);
                ended.map(|end| ending::status(context.log, &restored.dir, state, end))
            }
            (Ok(()), None) => return Ok(DONE),
            (Err(error), _) => Err(error),
        };
        destroy_started(context, &restored.dir, &restored.state)?;
        status
    }
}

impl Restore {
    /// CRIU's options for the flags.
    fn options(&self, config: &Config) -> Result<Options> {
        let mut options = self.images.options()?;
        // CRIU would make a new one for the caller's terminal too, in a mount that it does not have.
        let process = config.process.as_ref();
        let terminal = process.is_some_and(|process| process.terminal);
        options.switch(Switch::OrphanPtsMaster, terminal || !self.images.shell_job);
        options.switch(Switch::EvasiveDevices, true);
        options.switch(Switch::RestoreSibling, true);
        if let Some(profile) = &self.flags.lsm_profile {
            check_lsm_profile(profile)?;
        }
        let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
        options.lsm_profile = bytes(&self.flags.lsm_profile);
        options.lsm_mount_context = bytes(&self.flags.lsm_mount_context);
        Ok(options)
    }
}

fn check_lsm_profile(profile: &str) -> Result<()> {
    match profile.split_once(':') {
        Some(("apparmor" | "selinux", name)) if !name.is_empty() => Ok(()),
        Some(("none", "")) => Ok(()),
        _ => bail!(Error::new(format!(
            "--lsm-profile: {profile:?} is not apparmor:PROFILE, selinux:CONTEXT or none:"
        ))),
    }
}
