//! The flags that `checkpoint` and `restore` share, and what they mean for CRIU.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cli::flags::flags;
use crate::cli::units;
use crate::config::NamespaceKind;
use crate::criu::{CgroupMode, NetworkLock, Options, Switch};
use crate::error::{Call as _, Context as _, Error};
use crate::sys::file;

flags! {
    // Where the images are, and how CRIU writes or reads them.
    #[derive(Clone, Debug)]
    pub(super) struct ImageFlags {
        /// Directory of the images
        #[arg(long, value_name = "DIR", default_value = "checkpoint", hide_default_value = false)]
        pub image_path: PathBuf,

        /// Directory of CRIU's log and working files; the default is that of the images
        #[arg(long, value_name = "DIR")]
        pub work_path: Option<PathBuf>,

        /// Leave open TCP connections open
        #[arg(long)]
        pub tcp_established: bool,

        /// Close open TCP connections
        #[arg(long)]
        pub tcp_close: bool,

        /// Allow Unix sockets that are connected to a process outside of the container
        #[arg(long)]
        pub ext_unix_sk: bool,

        /// Allow a terminal that is not the container's
        #[arg(long)]
        pub shell_job: bool,

        /// Save and restore locks of files
        #[arg(long)]
        pub file_locks: bool,

        /// Give a deleted file that is still open a name for the time in between
        #[arg(long)]
        pub link_remap: bool,

        /// Transfer memory when it is used, by `criu lazy-pages`
        #[arg(long)]
        pub lazy_pages: bool,

        /// Remove memory from the parent images that newer images have
        #[arg(long)]
        pub auto_dedup: bool,

        /// What to do with the cgroups of the processes.
        ///
        /// soft: restore those that do not exist. full: restore all, with their limits. strict:
        /// none may exist. ignore: all processes are in the container's cgroup.
        #[arg(long, value_name = "MODE", value_parser = units::choice::<CgroupsMode>())]
        pub manage_cgroups_mode: Option<String>,

        /// Namespace whose content is left out, for hooks to set up: network; may be repeated
        #[arg(long, value_name = "NAMESPACE")]
        pub empty_ns: Vec<String>,

        /// How packets are held back meanwhile
        #[arg(long, value_name = "METHOD", value_parser = units::choice::<LockMethod>())]
        pub network_lock: Option<String>,
    }

    /// `--manage-cgroups-mode`.
    pub(super) enum CgroupsMode {
        Soft,
        Full,
        Strict,
        Ignore,
    }

    /// `--network-lock`.
    pub(super) enum LockMethod {
        Iptables,
        Nftables,
        Skip,
    }
}

impl ImageFlags {
    /// CRIU's options for the flags, apart from the directories.
    ///
    /// # Errors
    /// The value of a flag has no meaning.
    pub(super) fn options(&self) -> Result<Options> {
        let mode = self.manage_cgroups_mode.as_deref();
        let lock = self.network_lock.as_deref();
        let mut options = Options {
            cgroups: Some(match mode.map(units::chosen) {
                None | Some(CgroupsMode::Soft) => CgroupMode::Soft,
                Some(CgroupsMode::Full) => CgroupMode::Full,
                Some(CgroupsMode::Strict) => CgroupMode::Strict,
                Some(CgroupsMode::Ignore) => CgroupMode::Ignore,
            }),
            network_lock: lock.map(|method| match units::chosen(method) {
                LockMethod::Iptables => NetworkLock::Iptables,
                LockMethod::Nftables => NetworkLock::Nftables,
                LockMethod::Skip => NetworkLock::Skip,
            }),
            ..Options::default()
        };
        for (switch, wanted) in [
            (Switch::TcpEstablished, self.tcp_established),
            (Switch::TcpClose, self.tcp_close),
            (Switch::ExtUnixSk, self.ext_unix_sk),
            (Switch::ShellJob, self.shell_job),
            (Switch::FileLocks, self.file_locks),
            (Switch::LinkRemap, self.link_remap),
            (Switch::LazyPages, self.lazy_pages),
            (Switch::AutoDedup, self.auto_dedup),
            (Switch::ManageCgroups, true),
            (Switch::NotifyScripts, true),
        ] {
            options.switch(switch, wanted);
        }
        for name in &self.empty_ns {
            if name != NamespaceKind::Network.name() {
                let message = format!("--empty-ns: namespace {name:?} is not supported");
                bail!(Error::new(message).hint("only network is"));
            }
            options.empty_namespaces |= NamespaceKind::Network.flag().cast_unsigned();
        }
        Ok(options)
    }
}

/// The open directories of a dump or a restore.
pub(super) struct Directories {
    pub images: OwnedFd,
    pub work: OwnedFd,
    work_path: PathBuf,
}

impl Directories {
    /// Opens the directories, and makes that of the images if `make`, and the working directory.
    ///
    /// # Errors
    /// A system call failed.
    pub(super) fn open(flags: &ImageFlags, make: bool) -> Result<Self> {
        let images = open("--image-path", &flags.image_path, make)?;
        let work_path = flags.work_path.as_ref().unwrap_or(&flags.image_path);
        let work = open("--work-path", work_path, make || flags.work_path.is_some())?;
        Ok(Self {
            images,
            work,
            work_path: work_path.clone(),
        })
    }

    /// Enters the directories into the options, and returns the path of the log.
    pub(super) fn enter(&self, options: &mut Options, log_file: &'static str) -> PathBuf {
        options.images = self.images.as_raw_fd();
        options.work = self.work.as_raw_fd();
        options.log_file = log_file;
        self.work_path.join(log_file)
    }
}

fn open(flag: &str, path: &Path, make: bool) -> Result<OwnedFd> {
    let object = || format!("{flag}: {}", path.display());
    if make {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(path);
        made.call("mkdir").with_context(object)?;
    }
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    file::open(path, flags, 0).with_context(object)
}
