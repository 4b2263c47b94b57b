//! The text of steps of the runtime.

use std::fmt::{self, Display};

use super::parts::{detail, map_file, one_line, write_cgroup, write_unit};
use crate::plan::RuntimeStep;

impl RuntimeStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateCgroup(_) => "create-cgroup",
            Self::SystemdUnit(_) => "systemd-unit",
            Self::CgroupWrite(_) => "cgroup-write",
            Self::DeviceProgram(_) => "device-program",
            Self::DelegateCgroup { .. } => "delegate-cgroup",
            Self::IdMap { .. } => "id-map",
            Self::OomScoreAdj(_) => "oom-score-adj",
            Self::MakeNetwork => "make-network",
        }
    }
}

impl Display for RuntimeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCgroup(new) => write_cgroup(f, new),
            Self::SystemdUnit(unit) => write_unit(f, unit),
            Self::CgroupWrite(write) => write!(f, "write {} to {}", write.value, write.file),
            Self::DeviceProgram(program) => {
                f.write_str("attach a device program")?;
                detail(f, format_args!(", first match wins: {}", program.summary()))
            }
            Self::DelegateCgroup { uid } => write!(f, "give the cgroup to host user {uid}"),
            Self::IdMap { group, map, .. } => {
                write!(f, "write {} {}", map_file(*group), one_line(map))
            }
            Self::OomScoreAdj(score) => write!(f, "write oom_score_adj {score}"),
            Self::MakeNetwork => {
                f.write_str("make a network namespace with its loopback interface up")?;
                detail(f, format_args!(", while init works"))
            }
        }
    }
}
