//! The steps that set what a process passes on to its children, and their text.

use std::ffi::CString;
use std::fmt::{self, Display};

use super::super::text::words::personality_word;
use crate::config::memory_policy::MemoryPolicy;
use crate::config::scheduling::IoPriority;

/// A step that sets an attribute of a process that its children inherit, and that the images of CRIU
/// do not have. It is executed by init itself or, for a container that CRIU restores, by the process
/// that executes CRIU.
#[derive(Clone, Debug)]
pub enum InheritedStep {
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING) without a name, which creates a new keyring.
    SessionKeyring {
        /// The SELinux context of its keys.
        label: Option<CString>,
    },
    /// personality(2).
    Personality(u64),
    /// set_mempolicy(2).
    MemoryPolicy(Box<MemoryPolicy>),
    /// ioprio_set(2), while init still may raise its priority.
    IoPriority(IoPriority),
}

impl InheritedStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SessionKeyring { .. } => "session-keyring",
            Self::Personality(_) => "personality",
            Self::MemoryPolicy(_) => "memory-policy",
            Self::IoPriority(_) => "io-priority",
        }
    }
}

impl Display for InheritedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionKeyring { .. } => f.write_str("join a new session keyring"),
            Self::Personality(persona) => write!(f, "personality {}", personality_word(*persona)),
            Self::MemoryPolicy(policy) => write!(f, "set_mempolicy {policy}"),
            Self::IoPriority(priority) => write!(f, "ioprio_set {priority}"),
        }
    }
}
