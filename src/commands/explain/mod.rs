//! `explain`: prints the steps that `create` and `start` would take.

mod diff;

use anyhow::Result;
use serde_json::Value;

use super::bundle::{Loaded, options};
use super::{Context, DONE, Verb, pretty, print};
use crate::cli::flags::flags;
use crate::cli::groups::{Bundle, ContainerFlags, DescriptorFlags};
use crate::config::seccomp::Arch;
use crate::host::Host;
use crate::plan::seccomp::describe;
use crate::spec;

flags! {
    /// Show every step that creating a container would take.
    ///
    /// No step is carried out and nothing is changed.
    #[derive(Debug)]
    pub(super) struct Explain {
        #[command(flatten)]
        pub bundle: Bundle,
        #[command(flatten)]
        pub new: ContainerFlags,
        #[command(flatten)]
        pub descriptors: DescriptorFlags,

        /// Show what the seccomp filter of the config answers to each system call, instead of the
        /// steps.
        ///
        /// Warnings name calls that do not exist, and rules that cannot match.
        #[arg(long)]
        pub seccomp: bool,

        /// Show what differs between two configs, instead of the steps of one: --diff A B.
        ///
        /// Each is the id of a container, a bundle, or a config. - precedes a step that only A has,
        /// + one that only B has, and < and > one that both have, but otherwise.
        #[arg(long, value_name = "A", conflicts_with = "seccomp")]
        pub diff: Option<String>,

        /// Print JSON
        #[arg(long)]
        pub json: bool,

        /// Name of the container, which is the cgroup's name if the config has none; B of --diff
        #[arg(value_name = "ID", default_value = "ID")]
        pub id: String,
    }
}

impl Verb for Explain {
    fn container(&self) -> Option<&str> {
        Some(&self.id)
    }

    /// Prints the plan, with its warnings, as text or as JSON.
    fn run(&self, context: &Context) -> Result<u8> {
        let options = options(
            &self.id,
            &self.new,
            &self.descriptors,
            context.cgroup_manager,
        );
        if let Some(before) = &self.diff {
            return diff::run(context, [before, &self.id], &options, self.json);
        }
        let loaded = Loaded::read(&self.bundle)?;
        if self.seccomp {
            return self.filter(&loaded);
        }
        let mut plan = loaded.plan(&Host::probe(loaded.config.labels())?, &options)?;
        plan.warnings
            .extend(spec::properties::ignored(&loaded.bytes, ""));
        print(&if self.json {
            pretty(&plan.json())?
        } else {
            plan.text()
        })?;
        Ok(DONE)
    }

    /// As with diff(1), where 1 means a difference.
    fn failure_status(&self) -> u8 {
        if self.diff.is_none() { 1 } else { 2 }
    }
}

impl Explain {
    /// Prints the answers of the filter.
    fn filter(&self, loaded: &Loaded) -> Result<u8> {
        let filter = loaded.config.linux.seccomp.as_ref();
        let filter = filter.map(|profile| describe(profile, Arch::NATIVE));
        print(&if self.json {
            pretty(&filter.map_or(Value::Null, |it| it.json()))?
        } else {
            filter.map_or_else(
                || "every call is allowed  <- no linux.seccomp\n".to_owned(),
                |it| it.text(),
            )
        })?;
        Ok(DONE)
    }
}
