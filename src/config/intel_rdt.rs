//! `linux.intelRdt`.

use oci_spec::runtime as oci;

use super::check;
use crate::error::{Error, Result};

/// `linux.intelRdt`. Source: the kernel's documentation of the resctrl file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// `closID`; without it the container has a group of its own.
    pub group: Option<Group>,
    /// The lines of `l3CacheSchema`, `memBwSchema` and `schemata`, in this order.
    pub schemata: Vec<String>,
    /// `enableMonitoring`.
    pub monitoring: bool,
}

/// `linux.intelRdt.closID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// `/`, in which every process begins.
    Root,
    /// A group of its own, made if it does not exist.
    Named(String),
}

/// What the kernel has in each group beside the groups, so that no group can have these names.
pub const RESERVED: [&str; 3] = ["info", "mon_data", "mon_groups"];

const FIELD: &str = "linux.intelRdt";

impl IntelRdt {
    pub(crate) fn new(rdt: &oci::LinuxIntelRdt) -> Result<Self> {
        let schemas = [
            ("l3CacheSchema", rdt.l3_cache_schema()),
            ("memBwSchema", rdt.mem_bw_schema()),
        ];
        let mut schemata = Vec::new();
        for (name, schema) in schemas {
            let field = format!("{FIELD}.{name}");
            let lines = check::text(&field, schema.as_ref())?.unwrap_or_default();
            for line in lines.lines() {
                schemata.push(schema_line(&field, line)?);
            }
        }
        for (index, line) in check::list(rdt.schemata()).iter().enumerate() {
            schemata.push(schema_line(&format!("{FIELD}.schemata[{index}]"), line)?);
        }
        Ok(Self {
            group: rdt.clos_id().as_deref().map(group).transpose()?.flatten(),
            schemata,
            monitoring: rdt.enable_monitoring().unwrap_or(false),
        })
    }
}

/// An empty `closID` counts as absent.
fn group(id: &str) -> Result<Option<Group>> {
    let field = format!("{FIELD}.closID");
    check::no_nul(&field, id)?;
    match id {
        "" => return Ok(None),
        "/" => return Ok(Some(Group::Root)),
        _ => {}
    }
    if matches!(id, "." | "..") || id.contains(['/', '\n']) || RESERVED.contains(&id) {
        let message = format!("{id:?} is not the name of a directory in resctrl");
        return Err(Error::config(field, message));
    }
    Ok(Some(Group::Named(id.to_owned())))
}

/// A line such as `L3:0=ff;1=f`. The kernel knows which resources and values there are.
fn schema_line(field: &str, line: &str) -> Result<String> {
    check::no_nul(field, line)?;
    let line = line.trim();
    let is_line = |(name, values): (&str, &str)| {
        !name.is_empty() && values.split(';').all(|value| value.contains('='))
    };
    if line.contains('\n') || !line.split_once(':').is_some_and(is_line) {
        let message = format!("{line:?} is not a line such as L3:0=ff;1=f");
        return Err(Error::config(field, message));
    }
    Ok(line.to_owned())
}
