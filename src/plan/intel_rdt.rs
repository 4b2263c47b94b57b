//! `linux.intelRdt`: the directories of the resctrl file system for the container.

use std::path::PathBuf;

use super::{IfGroupExists, Options, Plan, ResctrlGroup, RuntimeStep};
use crate::config::Config;
use crate::config::intel_rdt::{Group, IntelRdt, RESERVED};
use crate::error::{Error, Result};

const FIELD: &str = "linux.intelRdt";

/// The runtime makes the group before there is a process, and puts the process into it while init
/// waits or works.
///
/// # Errors
/// The container's id cannot be the name of a group.
pub(super) fn steps(plan: &mut Plan, config: &Config, options: &Options) -> Result<()> {
    let Some(rdt) = &config.linux.intel_rdt else {
        return Ok(());
    };
    let id = &options.id;
    if (rdt.group.is_none() || rdt.monitoring) && RESERVED.contains(&id.as_str()) {
        let message = format!("resctrl has a directory {id}, so no group can have this id");
        return Err(Error::config(FIELD, message));
    }
    let group = group(rdt, id);
    let mut tasks = vec![group.path.clone()];
    if rdt.monitoring {
        let path = group.path.join("mon_groups").join(id);
        tasks.push(path.clone());
        plan.prepare
            .add(FIELD, RuntimeStep::Resctrl(Box::new(group)));
        let monitor = ResctrlGroup {
            path,
            if_exists: IfGroupExists::Fail,
            schemata: Vec::new(),
        };
        let field = format!("{FIELD}.enableMonitoring");
        plan.prepare
            .add(field, RuntimeStep::Resctrl(Box::new(monitor)));
    } else {
        plan.prepare
            .add(FIELD, RuntimeStep::Resctrl(Box::new(group)));
    }
    plan.for_init().add(FIELD, RuntimeStep::ResctrlTasks(tasks));
    Ok(())
}

fn group(rdt: &IntelRdt, id: &str) -> ResctrlGroup {
    let schemata = rdt.schemata.clone();
    let (path, if_exists) = match &rdt.group {
        None => (PathBuf::from(id), IfGroupExists::Fail),
        Some(Group::Root) => (PathBuf::new(), IfGroupExists::Compare),
        Some(Group::Named(name)) if schemata.is_empty() => (name.into(), IfGroupExists::Needed),
        Some(Group::Named(name)) => (name.into(), IfGroupExists::Compare),
    };
    ResctrlGroup {
        path,
        if_exists,
        schemata,
    }
}

impl Plan {
    /// The groups that belong to the container alone, with the ones inside others first.
    #[must_use]
    pub fn own_resctrl_groups(&self) -> Vec<PathBuf> {
        let own = |step: &RuntimeStep| match step {
            RuntimeStep::Resctrl(it) if it.if_exists == IfGroupExists::Fail => {
                Some(it.path.clone())
            }
            _ => None,
        };
        let steps = self.prepare.iter().rev();
        steps.filter_map(|planned| own(&planned.step)).collect()
    }

    /// The groups of the container's processes.
    #[must_use]
    pub fn resctrl_tasks(&self) -> Vec<PathBuf> {
        let lists = [&self.beside_first, &self.beside_init, &self.meanwhile];
        let mut steps = lists.into_iter().flat_map(|list| list.iter());
        let tasks = steps.find_map(|planned| match &planned.step {
            RuntimeStep::ResctrlTasks(tasks) => Some(tasks.clone()),
            _ => None,
        });
        tasks.unwrap_or_default()
    }
}
