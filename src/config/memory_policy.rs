//! `linux.memoryPolicy`.

use std::fmt::{self, Display};

use oci_spec::runtime as oci;

use super::check;
use super::numbers::NumberList;
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

/// `linux.memoryPolicy.mode`, with the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the variants are named as the values of the property"
)]
pub enum Mode {
    Default = 0,
    Preferred = 1,
    Bind = 2,
    Interleave = 3,
    Local = 4,
    PreferredMany = 5,
    WeightedInterleave = 6,
}

/// An element of `linux.memoryPolicy.flags`, with the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the variants are named as the values of the property"
)]
pub enum Flag {
    NumaBalancing = 1 << 13,
    RelativeNodes = 1 << 14,
    StaticNodes = 1 << 15,
}

/// Every mode, by name.
pub const MODES: [(Mode, &str); 7] = [
    (Mode::Default, "MPOL_DEFAULT"),
    (Mode::Bind, "MPOL_BIND"),
    (Mode::Interleave, "MPOL_INTERLEAVE"),
    (Mode::WeightedInterleave, "MPOL_WEIGHTED_INTERLEAVE"),
    (Mode::Preferred, "MPOL_PREFERRED"),
    (Mode::PreferredMany, "MPOL_PREFERRED_MANY"),
    (Mode::Local, "MPOL_LOCAL"),
];

/// Every flag, by name.
pub const FLAGS: [(Flag, &str); 3] = [
    (Flag::NumaBalancing, "MPOL_F_NUMA_BALANCING"),
    (Flag::RelativeNodes, "MPOL_F_RELATIVE_NODES"),
    (Flag::StaticNodes, "MPOL_F_STATIC_NODES"),
];

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

impl Mode {
    fn new(mode: oci::MemoryPolicyModeType) -> Self {
        use oci::MemoryPolicyModeType as Oci;

        match mode {
            Oci::MpolDefault => Self::Default,
            Oci::MpolBind => Self::Bind,
            Oci::MpolInterleave => Self::Interleave,
            Oci::MpolWeightedInterleave => Self::WeightedInterleave,
            Oci::MpolPreferred => Self::Preferred,
            Oci::MpolPreferredMany => Self::PreferredMany,
            Oci::MpolLocal => Self::Local,
        }
    }
}

impl Flag {
    fn new(flag: oci::MemoryPolicyFlagType) -> Self {
        use oci::MemoryPolicyFlagType as Oci;

        match flag {
            Oci::MpolFNumaBalancing => Self::NumaBalancing,
            Oci::MpolFRelativeNodes => Self::RelativeNodes,
            Oci::MpolFStaticNodes => Self::StaticNodes,
        }
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = MODES.iter().find(|(mode, _)| mode == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

impl Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mode)?;
        if let Some(nodes) = &self.nodes {
            write!(f, " nodes {nodes}")?;
        }
        let named = FLAGS.iter().filter(|(flag, _)| self.flags.contains(flag));
        named
            .into_iter()
            .try_for_each(|(_, name)| write!(f, " {name}"))
    }
}
