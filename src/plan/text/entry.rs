//! The text of steps that enter namespaces.

use std::fmt::{self, Display};

use super::parts::{detail, detail_if, map_file, one_line};
use super::words::lossy;
use crate::plan::EntryStep;

impl EntryStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JoinNamespace { .. } => "join-namespace",
            Self::EnterContainer { .. } => "enter-container",
            Self::CheckIdMap { .. } => "check-id-map",
            Self::TimeOffsets { .. } => "time-offsets",
            Self::BecomeRoot => "become-root",
        }
    }
}

impl Display for EntryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinNamespace {
                kind,
                path,
                not_own,
            } => {
                write!(f, "join {} namespace {}", kind.name(), lossy(path))?;
                detail_if(f, not_own.is_some(), ", if it is not the runtime's own")
            }
            Self::EnterContainer { kinds, not_own } => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                write!(f, "enter the container's namespaces: {}", names.join(" "))?;
                let detail = ", if its cgroup namespace is not the runtime's own";
                detail_if(f, not_own.is_some(), detail)
            }
            Self::CheckIdMap { group, map } => {
                write!(f, "compare {} with {}", map_file(*group), one_line(map))
            }
            Self::TimeOffsets { offsets } => {
                write!(f, "new time namespace with offsets {}", one_line(offsets))
            }
            Self::BecomeRoot => {
                f.write_str("become root of the user namespace")?;
                detail(f, format_args!(", without groups if setgroups is allowed"))
            }
        }
    }
}
