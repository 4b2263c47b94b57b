//! `checkpoint`.

use std::fs::remove_dir;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::criu_flags::{Directories, ImageFlags};
use super::saved::{Saved, destroy_started};
use super::{Context, DONE, Verb};
use crate::cli::flags::{Lazy, flags};
use crate::cli::groups::Container;
use crate::cli::units;
use crate::criu::{self, Options, Switch};
use crate::error::Error;
use crate::run::{self, Checkpoint as Request};
use crate::state::{Status, not_running};
use crate::sys::process;

flags! {
    /// Save the processes of a container to images, and delete the container.
    ///
    /// CRIU 4.0 or later must be installed, and the caller must be root. `restore` continues the
    /// processes. CRIU's log is dump.log in --work-path.
    #[derive(Debug)]
    pub(super) struct Checkpoint {
        #[command(flatten)]
        pub images: ImageFlags,

        #[command(flatten)]
        pub dump: Lazy<DumpFlags>,

        #[command(flatten)]
        pub container: Container,
    }

    // What is dumped, and what happens to the container.
    #[derive(Clone, Debug, Default)]
    pub(super) struct DumpFlags {
        /// Let the container continue
        #[arg(short = 'R', long)]
        pub leave_running: bool,

        /// Save only the memory, while the container runs; a later dump names it by --parent-path
        #[arg(short = 'P', long)]
        pub pre_dump: bool,

        /// Images of an earlier pre-dump, relative to those of this one
        #[arg(long, value_name = "DIR")]
        pub parent_path: Option<PathBuf>,

        /// Leave out TCP connections that are not established yet
        #[arg(long)]
        pub tcp_skip_in_flight: bool,

        /// Send the memory to this page server instead of writing it
        #[arg(long, value_name = "ADDRESS:PORT")]
        pub page_server: Option<String>,

        /// Descriptor to which CRIU writes a zero when its page server of --lazy-pages listens
        #[arg(long, value_name = "FD", value_parser = units::number(0..=RawFd::MAX.cast_unsigned()))]
        pub status_fd: Option<u32>,
    }
}

impl Verb for Checkpoint {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Dumps the container, then deletes it unless it is to continue.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        let (status, init) = state.status_and_init(&dir)?;
        let init = match (status, init) {
            (Status::Running | Status::Paused, Some(init)) => init,
            _ => bail!(not_running(&state)),
        };
        criu::refuse_unprivileged("checkpoint")?;
        let mut options = self.options()?;
        let saved = Saved::read(&dir, &state)?;
        let plan = saved.plan()?;
        let path = &self.images.image_path;
        let is_new = !path.exists();
        let directories = Directories::open(&self.images, true)?;
        let log = directories.enter(&mut options, "dump.log");
        options.config_file = criu::config_file(&saved.config)?;
        run::checkpoint(Request {
            state: &state,
            init: &init,
            config: &saved.config,
            plan: &plan,
            kind: if self.dump.pre_dump {
                criu::Kind::PreDump
            } else {
                criu::Kind::Dump
            },
            options,
            images: &directories.images,
            log: &log,
        })
        .inspect_err(|_| {
            // Without CRIU there is not even a log in it, and rmdir(2) removes nothing else.
            if is_new {
                let _ = remove_dir(path);
            }
        })?;
        if !self.dump.pre_dump && !self.dump.leave_running {
            destroy_started(context, &dir, &state)?;
        }
        Ok(DONE)
    }
}

impl Checkpoint {
    fn parent(&self) -> Result<Option<Vec<u8>>> {
        let Some(parent) = &self.dump.parent_path else {
            return Ok(None);
        };
        if parent.is_absolute() {
            let message = format!("--parent-path: {} is not relative", parent.display());
            bail!(Error::new(message).hint("it starts at the directory of --image-path"));
        }
        Ok(Some(parent.as_os_str().as_bytes().to_owned()))
    }

    /// CRIU's options for the flags.
    fn options(&self) -> Result<Options> {
        let mut options = self.images.options()?;
        options.parent = self.parent()?;
        // The master of the container's terminal is not in the container.
        options.switch(Switch::OrphanPtsMaster, true);
        options.switch(Switch::LeaveRunning, self.dump.leave_running);
        options.switch(Switch::TcpSkipInFlight, self.dump.tcp_skip_in_flight);
        let tracks = self.dump.pre_dump || options.parent.is_some();
        options.switch(Switch::TrackMemory, tracks);
        options.page_server = self
            .dump
            .page_server
            .as_deref()
            .map(page_server)
            .transpose()?;
        if let Some(number) = self.dump.status_fd {
            let number = number.cast_signed();
            if !process::is_inherited(number) {
                bail!(Error::new(format!(
                    "--status-fd: descriptor {number} is not open"
                )));
            }
            options.status_fd = Some(number);
        }
        Ok(options)
    }
}

/// Splits the value of `--page-server`.
fn page_server(text: &str) -> Result<(Vec<u8>, u16)> {
    let parts = text.rsplit_once(':');
    let parsed = parts.and_then(|(address, port)| Some((address, port.parse().ok()?)));
    match parsed {
        Some((address, port)) if !address.is_empty() => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            Ok((address.as_bytes().to_owned(), port))
        }
        _ => bail!(Error::new(format!(
            "--page-server: {text:?} is not ADDRESS:PORT"
        ))),
    }
}
