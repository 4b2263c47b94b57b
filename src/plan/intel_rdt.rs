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
    let mut groups = vec![(FIELD.to_owned(), group(rdt, id))];
    if rdt.monitoring {
        let monitor = ResctrlGroup {
            path: groups[0].1.path.join("mon_groups").join(id),
            if_exists: IfGroupExists::Fail,
            schemata: Vec::new(),
        };
        groups.push((format!("{FIELD}.enableMonitoring"), monitor));
    }
    let tasks = groups.iter().map(|(_, group)| group.path.clone());
    let tasks = tasks.collect();
    for (field, group) in groups {
        plan.prepare
            .add(field, RuntimeStep::Resctrl(Box::new(group)));
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
        let tasks = self.beside().find_map(|planned| match &planned.step {
            RuntimeStep::ResctrlTasks(tasks) => Some(tasks.clone()),
            _ => None,
        });
        tasks.unwrap_or_default()
    }
}
