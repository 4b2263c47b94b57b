//! `explain --diff`: what differs between two configs, or between a config and a container.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::super::bundle::Loaded;
use super::super::saved::Saved;
use super::super::{Context, DONE, pretty, print};
use crate::cli::groups::Bundle;
use crate::config::Config;
use crate::config::seccomp::Arch;
use crate::error::{Context as _, Error};
use crate::host::Host;
use crate::plan::diff::{Change, changes};
use crate::plan::seccomp::describe;
use crate::plan::{self, Line, Plan};
use crate::state::State;

/// The exit status if there is a difference, as with diff(1).
const DIFFERENT: u8 = 1;

/// A config, and the options that it was created with if it is that of a container.
struct Side {
    config: Config,
    options: Option<plan::Options>,
}

/// Prints what differs between the plans of two operands. `flags` are the options of a config that is
/// not compared with a container.
///
/// # Errors
/// An operand is neither a bundle, a config nor a container, or cannot be planned.
pub(super) fn run(
    context: &Context,
    [before, after]: [&str; 2],
    flags: &plan::Options,
    as_json: bool,
) -> Result<u8> {
    let (before, after) = (Side::find(context, before)?, Side::find(context, after)?);
    // A config is compared with what the container would be with its own command line.
    let others = |own: &Side, other: &Side| {
        let options = own.options.as_ref().or(other.options.as_ref());
        options.unwrap_or(flags).clone()
    };
    let lines = [
        before.lines(&others(&before, &after))?,
        after.lines(&others(&after, &before))?,
    ];
    let all = changes(&lines[0], &lines[1]);
    print(&if as_json {
        pretty(&Value::Array(all.iter().map(Change::json).collect()))?
    } else {
        all.iter().map(ToString::to_string).collect()
    })?;
    Ok(if all.is_empty() { DONE } else { DIFFERENT })
}

impl Side {
    /// The container with this id, otherwise the bundle or the config at this path.
    fn find(context: &Context, operand: &str) -> Result<Self> {
        let place = context.root.container(operand).ok();
        if let Some(dir) = place.map(|place| place.open()).transpose()?.flatten() {
            let saved = Saved::read(&dir, &State::load(&dir)?)?;
            let (config, options) = saved.into_parts();
            let options = Some(options);
            return Ok(Self { config, options });
        }
        let path = Path::new(operand);
        let found = std::fs::metadata(path).map_err(|error| {
            let message = format!("--diff: {operand}: {error}");
            Error::new(message).hint("it is neither a container nor a bundle or a config")
        })?;
        let (bundle, config) = if found.is_dir() {
            (path, Path::new("config.json"))
        } else {
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
            let name = path.file_name().unwrap_or_default();
            (parent.unwrap_or(Path::new(".")), Path::new(name))
        };
        let (bundle, config) = (bundle.into(), config.into());
        let loaded = Loaded::read(&Bundle { bundle, config }).context("--diff")?;
        Ok(Self {
            config: loaded.config,
            options: None,
        })
    }

    /// The lines of the plan, of the variables that it only counts, and of the filter.
    fn lines(&self, options: &plan::Options) -> Result<Vec<Line>> {
        let host = Host::probe(self.config.labels())?;
        let plan: Plan = plan::build(&self.config, &host, options)?;
        let filter = self.config.linux.seccomp.as_ref();
        let answers = filter.map(|profile| describe(profile, Arch::NATIVE).lines());
        Ok([plan.lines(), plan.variables(), answers.unwrap_or_default()].concat())
    }
}
