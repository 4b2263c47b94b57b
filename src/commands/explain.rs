//! `explain`: the steps that `create` and `start` would take.

use super::bundle::{Loaded, options};
use super::{Context, DONE, Verb, pretty, print};
use crate::cli::flags::flags;
use crate::cli::groups::{Bundle, ContainerFlags, DescriptorFlags};
use crate::error::Result;
use crate::host::Host;

flags! {
    /// Show every step that creating a container would take.
    ///
    /// Nothing is done and nothing is changed.
    #[derive(Debug)]
    pub struct Explain {
        #[command(flatten)]
        pub bundle: Bundle,
        #[command(flatten)]
        pub new: ContainerFlags,
        #[command(flatten)]
        pub descriptors: DescriptorFlags,

        /// Print JSON
        #[arg(long)]
        pub json: bool,

        /// Name of the container, where the config leaves the cgroup to it
        #[arg(value_name = "ID", default_value = "ID")]
        pub id: String,
    }
}

impl Verb for Explain {
    /// Prints the plan, as text or as JSON. Its warnings are in it.
    fn run(&self, context: &Context) -> Result<u8> {
        let options = options(
            &self.id,
            &self.new,
            &self.descriptors,
            context.cgroup_manager,
        );
        let loaded = Loaded::read(&self.bundle)?;
        let plan = loaded.plan(&Host::probe(loaded.config.labels())?, &options)?;
        print(&match self.json {
            true => pretty(&plan.json())?,
            false => plan.text(),
        })?;
        Ok(DONE)
    }
}
