//! `check`: says what `create` and `start` would fail on, or what the host can do.

mod bundle;
mod finding;
mod gate;
mod host;
mod kernel;
mod rootfs;
mod tree;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::bundle::{Source, options};
use super::{Context, DONE, Verb, pretty, print};
use crate::cli::flags::flags;
use crate::cli::groups::{Bundle, ContainerFlags, DescriptorFlags};
use crate::config::Labels;
use crate::error::Error;
use crate::host::Host;
use crate::json::object;
use finding::{Finding, Severity};

flags! {
    /// Say what is wrong with a bundle, or what this host can do.
    ///
    /// With a bundle the command collects everything that would make a container fail, or be
    /// other than the config says: in the config, on the host, and in what the caller may do.
    /// Without one it prints what works on this host for this caller. Nothing is started or
    /// changed, and no privileges are needed.
    #[derive(Debug)]
    pub(super) struct Check {
        /// Directory that holds config.json; the same as BUNDLE
        #[arg(short, long, value_name = "DIR", conflicts_with = "directory")]
        pub bundle: Option<PathBuf>,

        /// The config, if it is not config.json in the bundle; a relative path starts at the bundle
        #[arg(short = 'f', long, value_name = "FILE")]
        pub config: Option<PathBuf>,

        /// Print JSON
        #[arg(long)]
        pub json: bool,

        /// Directory that holds config.json; without it the host is looked at
        #[arg(value_name = "BUNDLE")]
        pub directory: Option<PathBuf>,
    }
}

/// The version of the JSON. Members may be added without another one.
const SCHEMA: u32 = 1;
/// The exit status if there are errors.
const ERRORS: u8 = 1;

impl Verb for Check {
    /// Prints what was found.
    fn run(&self, context: &Context) -> Result<u8> {
        let given = self.directory.as_ref().or(self.bundle.as_ref());
        if given.is_none() && self.config.is_none() {
            return self.host();
        }
        let source = Source::read(&Bundle {
            bundle: given.cloned().unwrap_or_else(|| ".".into()),
            config: self.config.clone().unwrap_or_else(|| "config.json".into()),
        })?;
        let mut findings = Vec::new();
        look(context, &source, &mut findings);
        let findings = finding::by_severity(&findings);
        let mut object = finding::json(&findings);
        object["bundle"] = source.bundle.to_string_lossy().into();
        self.print(object, || finding::text(&findings))?;
        let fails = findings.iter().any(|it| it.severity == Severity::Error);
        Ok(if fails { ERRORS } else { DONE })
    }
}

impl Check {
    fn host(&self) -> Result<u8> {
        let features = host::features();
        let fails = features.iter().any(host::Feature::is_error);
        let object = object! { "features": host::json(&features) };
        self.print(object, || host::text(&features))?;
        Ok(if fails { ERRORS } else { DONE })
    }

    fn print(&self, mut object: Value, text: impl FnOnce() -> String) -> Result<()> {
        object["schema"] = SCHEMA.into();
        print(&if self.json { pretty(&object)? } else { text() })
    }
}

fn look(context: &Context, source: &Source, findings: &mut Vec<Finding>) {
    let labels = Labels {
        apparmor: true,
        selinux: true,
    };
    let host = match Host::probe(labels) {
        Ok(host) => Some(host),
        Err(error) => {
            findings.push(Finding::error(Error::of_chain(error)));
            None
        }
    };
    let options = options(
        "ID",
        &ContainerFlags::default(),
        &DescriptorFlags::default(),
        context.cgroup_manager,
    );
    let (bytes, bundle) = (&source.bytes, &source.bundle);
    if let Some(accepted) = gate::pass(bytes, bundle, host.as_ref(), &options, findings) {
        bundle::look(&accepted, host.as_ref(), findings);
    }
}
