//! Reads the bundle of a new container and builds its config and its plan from the flags.

use std::path::PathBuf;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::cli::groups::{Bundle, CgroupManager, ContainerFlags, DescriptorFlags};
use crate::config::Config;
use crate::error::{Chain as _, Code, Context as _, Error, Named};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::spec;
use crate::sys::{self, process};

/// A bundle that has been read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The bundle's absolute path, without symbolic links.
    pub bundle: PathBuf,
    /// The config file's content, unchanged, for the copy in the container's directory.
    pub bytes: Vec<u8>,
    /// The checked content of the config file.
    pub config: Config,
}

/// The text of a bundle's config, which is not checked yet.
#[derive(Clone, Debug)]
pub struct Source {
    /// As in [`Loaded`].
    pub bundle: PathBuf,
    /// As in [`Loaded`].
    pub bytes: Vec<u8>,
    file: PathBuf,
}

impl Source {
    /// Reads the config of the bundle.
    ///
    /// # Errors
    /// The bundle or the config cannot be read.
    pub fn read(args: &Bundle) -> Result<Self> {
        let bundle = sys::file::real_path(&args.bundle)
            .with_context(|| Named("--bundle", &args.bundle))
            .map_err(|error| match error.errno() {
                Some(Errno::ENOENT) => error.code_is(Code::BundleNotFound),
                _ => error,
            })?;
        let file = bundle.join(&args.config);
        let bytes = sys::file::read(&file).map_err(|fail| {
            let error = Error::failed(file.display(), fail)
                .hint("a bundle needs a config.json; sampan spec writes one");
            match fail.errno {
                Errno::ENOENT => error.code_is(Code::BundleNoConfig),
                _ => error,
            }
        })?;
        Ok(Self {
            bundle,
            bytes,
            file,
        })
    }
}

impl Loaded {
    /// Reads and checks the config of the bundle.
    ///
    /// # Errors
    /// The bundle or the config cannot be read, or a property is invalid.
    pub fn read(args: &Bundle) -> Result<Self> {
        let Source {
            bundle,
            bytes,
            file,
        } = Source::read(args)?;
        let config = spec::config(&bytes, &bundle).with_context(|| file.display())?;
        Ok(Self {
            bundle,
            bytes,
            config,
        })
    }

    /// Builds the ordered list of steps.
    ///
    /// # Errors
    /// A property needs something that `host` does not have.
    pub fn plan(&self, host: &Host, options: &plan::Options) -> Result<Plan> {
        Ok(plan::build(&self.config, host, options)?)
    }
}

/// The options that the command line adds to the config of a new container.
pub fn options(
    id: &str,
    container: &ContainerFlags,
    descriptors: &DescriptorFlags,
    manager: CgroupManager,
) -> plan::Options {
    plan::Options {
        id: id.to_owned(),
        no_pivot: container.no_pivot,
        no_cgroup: manager == CgroupManager::Disabled,
        systemd: manager == CgroupManager::Systemd,
        notify: None,
        record: None,
        process: process_options(container.no_new_keyring, descriptors),
    }
}

/// The options that the command line and the environment add to a process of `create` or `exec`.
pub fn process_options(
    no_new_keyring: bool,
    descriptors: &DescriptorFlags,
) -> plan::ProcessOptions {
    let listen_fds = listen_fds(
        std::env::var("LISTEN_PID").ok().as_deref(),
        std::env::var("LISTEN_FDS").ok().as_deref(),
        std::process::id(),
    );
    plan::ProcessOptions {
        no_new_keyring,
        preserved_fds: descriptors.preserve_fds.saturating_add(listen_fds),
        listen_fds,
        program: plan::Program::default(),
    }
}

/// The number of descriptors, from 3 upwards, that a service manager passes to the process `own`.
/// Source: sd_listen_fds(3).
fn listen_fds(pid: Option<&str>, fds: Option<&str>, own: u32) -> u32 {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    if number(pid) == Some(own) {
        number(fds).unwrap_or_default()
    } else {
        0
    }
}

/// Checks that the descriptors that the process inherits are open. If one were closed, the next
/// file that the runtime opens would get its number and leak into the container.
pub fn check_preserved(options: &plan::ProcessOptions) -> Result<()> {
    let count = i32::try_from(options.preserved_fds).unwrap_or(i32::MAX);
    let missing = (0..count)
        .map(|index| index.saturating_add(3))
        .find(|&number| !process::is_inherited(number));
    match missing {
        None => Ok(()),
        Some(number) => {
            let asked = match options.listen_fds {
                0 => "--preserve-fds",
                all if all == options.preserved_fds => "LISTEN_FDS",
                _ => "LISTEN_FDS and --preserve-fds",
            };
            let message = format!("{asked}: descriptor {number} is not open");
            bail!(Error::usage(message).hint(format!(
                "{count} descriptors, from 3 upwards, are to be passed to the process"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_fds_are_for_this_process_alone() {
        for (pid, fds, expected) in [
            (Some("7"), Some("2"), 2),
            (Some("8"), Some("2"), 0),
            (None, Some("2"), 0),
            (Some("7"), None, 0),
            (Some("7"), Some("-1"), 0),
        ] {
            assert_eq!(listen_fds(pid, fds, 7), expected);
        }
    }

    #[test]
    fn a_missing_bundle_or_config_is_named() {
        let read = |bundle: &str, config: &str| {
            let (bundle, config) = (bundle.into(), config.into());
            format!(
                "{:#}",
                Loaded::read(&Bundle { bundle, config }).unwrap_err()
            )
        };
        assert_eq!(
            read("/nonexistent", "config.json"),
            "--bundle: /nonexistent: open: no such file or directory"
        );
        let text = read("/proc", "config.json");
        assert!(
            text.starts_with("/proc/config.json: open: no such file or directory"),
            "{text}"
        );
        let text = read("/", "/proc/self/comm");
        assert!(text.starts_with("/proc/self/comm: "), "{text}");
    }
}
