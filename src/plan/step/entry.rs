//! The steps that enter namespaces, and their text.

use std::ffi::CString;
use std::fmt::{self, Display};

use super::super::text::parts::{detail, detail_if, id_map, map_file, one_line};
use super::super::text::words::lossy;
use crate::config::NamespaceKind;

/// A step that enters other namespaces. It is executed by the runtime around clone3(2), which then
/// returns, by a process between the runtime and init, or by init itself.
#[derive(Clone, Debug)]
pub enum EntryStep {
    /// setns(2).
    JoinNamespace {
        /// The type that the file must have.
        kind: NamespaceKind,
        /// The path of the namespace on the host.
        path: CString,
        /// The reason why it must not be the namespace of the runtime or of the host.
        not_own: Option<String>,
    },
    /// setns(2) with a pidfd of the container's init process.
    EnterContainer {
        /// The namespaces to enter.
        kinds: Vec<NamespaceKind>,
        /// The reason why its cgroup namespace must not be that of the runtime.
        not_own: Option<String>,
    },
    /// setns(2) with a namespace of the container that its init process hands out, because it does
    /// not let its pidfd be used for it.
    EnterNamespace {
        /// The namespace to enter.
        kind: NamespaceKind,
        /// The reason why it must not be the namespace of the runtime.
        not_own: Option<String>,
    },
    /// /proc/self/uid_map or gid_map of a joined user namespace must have this content.
    CheckIdMap {
        /// Whether it is gid_map.
        group: bool,
        /// One mapping per line.
        map: String,
    },
    /// unshare(2) of a time namespace, with its offsets. The child enters it.
    TimeOffsets {
        /// The text for /proc/PID/timens_offsets.
        offsets: String,
    },
    /// setgroups(2) if it is allowed, setresuid(2) and setresgid(2) to root of the user namespace.
    BecomeRoot {
        /// Whether the supplementary groups of the caller stay.
        keep_groups: bool,
    },
}

impl EntryStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::JoinNamespace { .. } => "join-namespace",
            Self::EnterContainer { .. } => "enter-container",
            Self::EnterNamespace { .. } => "enter-namespace",
            Self::CheckIdMap { .. } => "check-id-map",
            Self::TimeOffsets { .. } => "time-offsets",
            Self::BecomeRoot { .. } => "become-root",
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
                detail_if(
                    f,
                    not_own.is_some(),
                    ", which must not be the runtime's own",
                )
            }
            Self::EnterContainer { kinds, not_own } => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                write!(f, "enter the container's namespaces: {}", names.join(", "))?;
                let detail = "; its cgroup namespace must not be the runtime's own";
                detail_if(f, not_own.is_some(), detail)
            }
            Self::EnterNamespace { kind, not_own } => {
                write!(f, "enter the container's {} namespace", kind.name())?;
                let detail = ", which must not be the runtime's own";
                detail_if(f, not_own.is_some(), detail)
            }
            Self::CheckIdMap { group, map } => {
                write!(f, "check that {} is {}", map_file(*group), id_map(map))
            }
            Self::TimeOffsets { offsets } => {
                write!(
                    f,
                    "unshare the time namespace, with offsets {}",
                    one_line(offsets)
                )
            }
            Self::BecomeRoot { keep_groups: true } => {
                f.write_str("become root of the user namespace, with the caller's groups")
            }
            Self::BecomeRoot { keep_groups: false } => {
                f.write_str("become root of the user namespace")?;
                detail(
                    f,
                    format_args!(", and leave all groups if setgroups is allowed"),
                )
            }
        }
    }
}
