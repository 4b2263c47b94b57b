//! `linux.memoryPolicy`.

use std::fmt::{self, Display};

use oci_spec::runtime as oci;

use super::check;
use super::numbers::NumberList;
use super::values::values;
use crate::error::{Error, Result};

/// `linux.memoryPolicy`. set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `mode`.
    pub mode: Mode,
    /// Each one once.
    pub flags: Vec<Flag>,
    /// `None` for modes without nodes.
    pub nodes: Option<NumberList>,
}

values! {
    /// `linux.memoryPolicy.mode`, with the kernel's numbers.
    Mode of MemoryPolicyModeType {
        Default = 0, MpolDefault, "MPOL_DEFAULT";
        Bind = 2, MpolBind, "MPOL_BIND";
        Interleave = 3, MpolInterleave, "MPOL_INTERLEAVE";
        WeightedInterleave = 6, MpolWeightedInterleave, "MPOL_WEIGHTED_INTERLEAVE";
        Preferred = 1, MpolPreferred, "MPOL_PREFERRED";
        PreferredMany = 5, MpolPreferredMany, "MPOL_PREFERRED_MANY";
        Local = 4, MpolLocal, "MPOL_LOCAL";
    }
}

values! {
    /// An element of `linux.memoryPolicy.flags`, with the kernel's bits.
    Flag of MemoryPolicyFlagType {
        NumaBalancing = 1 << 13, MpolFNumaBalancing, "MPOL_F_NUMA_BALANCING";
        RelativeNodes = 1 << 14, MpolFRelativeNodes, "MPOL_F_RELATIVE_NODES";
        StaticNodes = 1 << 15, MpolFStaticNodes, "MPOL_F_STATIC_NODES";
    }
}

const FIELD: &str = "linux.memoryPolicy";
/// The number of memory nodes that a kernel can be built for.
const NODES: u32 = 1024;

impl MemoryPolicy {
    pub(super) fn new(policy: &oci::LinuxMemoryPolicy) -> Result<Self> {
        let mode = Mode::new(policy.mode());
        let nodes = policy.nodes().as_deref().unwrap_or_default();
        let nodes = NumberList::new(&format!("{FIELD}.nodes"), nodes, NODES)?;
        check_nodes(mode, nodes.as_ref())?;
        let mut flags = Vec::new();
        for flag in check::list(policy.flags()).iter().copied().map(Flag::new) {
            if !flags.contains(&flag) {
                flags.push(flag);
            }
        }
        check_flags(mode, &flags, nodes.is_some())?;
        Ok(Self { mode, flags, nodes })
    }

    /// The first argument of set_mempolicy(2).
    #[must_use]
    pub fn mode_and_flags(&self) -> i32 {
        let flags = self.flags.iter();
        flags.fold(self.mode as i32, |bits, flag| bits | *flag as i32)
    }
}

fn check_nodes(mode: Mode, nodes: Option<&NumberList>) -> Result<()> {
    let message = match (mode, nodes) {
        (Mode::Default | Mode::Local, Some(_)) => format!("{mode} has no nodes"),
        (Mode::Default | Mode::Local | Mode::Preferred, _) | (_, Some(_)) => return Ok(()),
        (_, None) => format!("{mode} needs nodes"),
    };
    Err(Error::config(format!("{FIELD}.nodes"), message))
}

fn check_flags(mode: Mode, flags: &[Flag], has_nodes: bool) -> Result<()> {
    let with = |flag| flags.contains(&flag);
    let (relative, fixed) = (with(Flag::RelativeNodes), with(Flag::StaticNodes));
    let message = if relative && fixed {
        "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other".to_owned()
    } else if (relative || fixed) && !has_nodes {
        format!("{mode} without nodes has no MPOL_F_RELATIVE_NODES or MPOL_F_STATIC_NODES")
    } else if with(Flag::NumaBalancing) && !matches!(mode, Mode::Bind | Mode::PreferredMany) {
        format!("{mode} has no MPOL_F_NUMA_BALANCING")
    } else {
        return Ok(());
    };
    Err(Error::config(format!("{FIELD}.flags"), message))
}

impl Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mode)?;
        if let Some(nodes) = &self.nodes {
            write!(f, " nodes {nodes}")?;
        }
        let mut flags = Flag::ALL.iter().filter(|flag| self.flags.contains(flag));
        flags.try_for_each(|flag| write!(f, " {flag}"))
    }
}
