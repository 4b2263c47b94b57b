//! Questions to the kernel and to the files of the host. Each answer tells absence from a failed
//! look.

use nix::errno::Errno;

use crate::config::NamespaceKind;
use crate::error::Error;
use crate::sys::{Sys, file, stat};

/// What is known about something that a container may need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It works; more about it, or nothing.
    Works(String),
    Missing {
        why: String,
        remedy: String,
    },
    /// It could not be looked at.
    Unseen(String),
}

impl Answer {
    pub(super) fn works() -> Self {
        Self::Works(String::new())
    }

    pub(super) fn missing(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing {
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn unseen(error: Error) -> Self {
        Self::Unseen(format!("could not look: {error}"))
    }

    /// Works if the answer is yes.
    pub(super) fn of(looked: Sys<bool>, object: &str, why: &str, remedy: &str) -> Self {
        match looked {
            Ok(true) => Self::works(),
            Ok(false) => Self::missing(why, remedy),
            Err(fail) if object.is_empty() => Self::unseen(fail.into()),
            Err(fail) => Self::unseen(Error::failed(object, fail)),
        }
    }

    /// This answer, or if it is yes the next one.
    pub(super) fn and(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Works(text) if text.is_empty() => next(),
            other => other,
        }
    }
}

/// The text of a file. `None` if it does not exist.
pub(super) fn read(path: &str) -> Sys<Option<String>> {
    match file::read_text(path.as_ref()) {
        Err(fail) if [Errno::ENOENT, Errno::ENOTDIR].contains(&fail.errno) => Ok(None),
        read => read.map(Some),
    }
}

/// Whether a path exists.
pub(super) fn exists(path: &str) -> Sys<bool> {
    stat::stat_of(path.as_ref()).map(|found| found.is_some())
}

/// The names of a namespace kind in /proc/PID/ns and in the sysctls of /proc/sys/user.
fn name_in_proc(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Network => "net",
        NamespaceKind::Mount => "mnt",
        other => other.name(),
    }
}

/// Whether the caller can make a namespace of this kind.
pub(super) fn namespace(kind: NamespaceKind, euid: u32) -> Answer {
    let name = name_in_proc(kind);
    let file = format!("/proc/self/ns/{name}");
    let missing = format!("the kernel has no {} namespaces", kind.name());
    let none = Answer::of(
        exists(&file),
        &file,
        &missing,
        "build it with CONFIG_NAMESPACES and those of each kind",
    );
    let limited = || {
        let limit = format!("user.max_{name}_namespaces");
        setting(
            &limit,
            "0",
            &format!("{limit} is 0"),
            &format!("sysctl -w {limit}=10000"),
        )
    };
    let answer = none.and(limited);
    if kind == NamespaceKind::User && euid != 0 {
        answer.and(unprivileged)
    } else {
        answer
    }
}

/// Whether the host lets users without privileges make user namespaces.
fn unprivileged() -> Answer {
    let debian = "kernel.unprivileged_userns_clone";
    let ubuntu = "kernel.apparmor_restrict_unprivileged_userns";
    let why = |name: &str, value: &str| {
        format!("{name} is {value}: users without privileges get no user namespaces")
    };
    let first = setting(
        debian,
        "0",
        &why(debian, "0"),
        &format!("sysctl -w {debian}=1"),
    );
    first.and(|| {
        let remedy =
            format!("an AppArmor profile with userns for the runtime, or sysctl -w {ubuntu}=0");
        setting(ubuntu, "1", &why(ubuntu, "1"), &remedy)
    })
}

/// Missing if the sysctl has this value. A kernel without the sysctl has no such limit.
fn setting(name: &str, refused: &str, why: &str, remedy: &str) -> Answer {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let allows = read(&path).map(|text| text.is_none_or(|text| text.trim() != refused));
    Answer::of(allows, &path, why, remedy)
}
