//! Why a new process cannot be in a cgroup.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Cgroup, file};
use crate::error::{Code, Error};
use crate::sys::{self, Fail};

impl Cgroup {
    /// The error for a clone3(2) into the cgroup that failed because of the cgroup. `None` if the
    /// errno has another reason.
    pub fn not_entered(&self, fail: Fail) -> Option<Error> {
        if fail.errno == Errno::EAGAIN {
            let (full, limit) = self.path.ancestors().find_map(full)?;
            let message = if full == self.path {
                "linux.resources.pids.limit"
            } else {
                "a parent of the container's cgroup"
            };
            let what = format!("{message}: {}", full.join("pids.max").display());
            let hint = format!("all {limit} processes that the cgroup may have exist");
            let error = Error::failed(what, fail).code_is(Code::CgroupFull);
            return Some(error.hint(hint));
        }
        let hint = match fail.errno {
            Errno::EBUSY => "it has children with controllers, so no process can be in it".into(),
            Errno::ENODEV => "the cgroup has been removed".into(),
            Errno::ENOENT => OUTSIDE.into(),
            Errno::EACCES => "the cgroup is not delegated to the caller".into(),
            Errno::EOPNOTSUPP => {
                let kind = file::read(self.fd(), "cgroup.type").unwrap_or_default();
                format!(
                    "its cgroup.type is {:?}: a cgroup above it has processes, or is threaded; \
                     choose a linux.cgroupsPath below another cgroup",
                    kind.trim_end()
                )
            }
            _ => return None,
        };
        Some(
            Error::failed(self.object(""), fail)
                .about("linux.cgroupsPath")
                .code_is(match fail.errno {
                    Errno::EACCES => Code::CgroupNotDelegated,
                    _ => Code::CgroupFailed,
                })
                .hint(hint),
        )
    }
}

/// Why a process cannot enter a cgroup that is there: cgroup_namespaces(7), "nsdelegate" of
/// cgroup-v2.rst.
pub(super) const OUTSIDE: &str = "the cgroup, or that of the caller, is outside of the caller's cgroup \
     namespace, and cgroup2 is mounted with nsdelegate: run the command in the cgroup namespace where the \
     container was created, as with nsenter --cgroup";

/// The cgroup, and its limit, if it has as many processes as it may have.
fn full(cgroup: &Path) -> Option<(PathBuf, u64)> {
    let number = |name: &str| {
        let text = sys::file::read_text(&cgroup.join(name)).ok()?;
        text.trim_end().parse::<u64>().ok()
    };
    let limit = number("pids.max")?;
    (number("pids.current")? >= limit).then(|| (cgroup.to_owned(), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_outside_of_the_namespace_is_named_with_the_remedy() {
        let dir = std::fs::File::open("/").expect("a directory").into();
        let cgroup = Cgroup::found(dir, "/sys/fs/cgroup/web".into());
        let error = cgroup.not_entered(Fail::new("clone3", Errno::ENOENT));
        let text = error.expect("an error about the cgroup").to_string();
        let start = "linux.cgroupsPath: /sys/fs/cgroup/web: clone3: no such file or directory (";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("nsenter --cgroup"), "{text}");
        assert!(
            cgroup
                .not_entered(Fail::new("clone3", Errno::EPERM))
                .is_none()
        );
    }
}
