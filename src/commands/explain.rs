//! `explain`: the steps that `create` and `start` would take.

use super::bundle::{Loaded, options};
use super::{CgroupDriver, Context, pretty, print};
use crate::cli::Explain;
use crate::error::Result;
use crate::host::Host;

/// Prints the plan, as text or as JSON. Its warnings are in it.
pub fn explain(context: &Context, args: &Explain) -> Result<()> {
    let options = options(
        &args.id,
        &args.shape,
        CgroupDriver::of(&context.global.cgroups),
    );
    let loaded = Loaded::read(&args.bundle)?;
    let plan = loaded.plan(&Host::probe(loaded.config.labels())?, &options)?;
    print(&match args.json {
        true => pretty(&plan.json())?,
        false => plan.text(),
    })
}
