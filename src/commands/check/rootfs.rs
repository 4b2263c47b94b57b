//! What the container needs of its own files. They are looked at in the rootfs and in the sources of
//! bind mounts, because nothing is mounted.

use std::path::Path;

use super::finding::{Finding, Severity};
use super::gate::Accepted;
use crate::config::{Config, Mount, SourceLink};
use crate::error::Error;
use crate::plan::Plan;
use crate::run::{self, Foreseen};

/// The program, the hooks of the container, and the working directory.
pub(super) fn look(accepted: &Accepted, plan: &Plan, findings: &mut Vec<Finding>) {
    let config = &accepted.config;
    let rootfs = &config.root.path;
    if let Err(error) = run::foresee_executable(plan, rootfs) {
        let finding = Finding::error(Error::of_chain(error)).about("process.args");
        findings.push(unless_mounted(accepted, finding));
    }
    for (field, found) in run::foresee_start_hooks(plan, rootfs) {
        let finding = finding(found).about(field);
        findings.push(unless_mounted(accepted, finding));
    }
    findings.extend(cwd(accepted, plan));
}

fn finding(found: Foreseen) -> Finding {
    match found {
        Foreseen::Fails(error) => Finding::error(error),
        Foreseen::Unseen(error) => Finding::unseen(&error),
    }
}

/// What is wrong with a program in the rootfs is only worth knowing if a mount may provide another
/// one.
fn unless_mounted(accepted: &Accepted, finding: Finding) -> Finding {
    let mounts = &accepted.config.mounts;
    let binds = mounts.iter().filter(|mount| mount.bind.is_some());
    let mut others = binds.filter(|mount| {
        !["/etc", "/dev", "/proc", "/sys", "/run"]
            .iter()
            .any(|at| mount.destination.starts_with(at))
    });
    match others.next() {
        Some(mount) if finding.severity == Severity::Error => Finding {
            severity: Severity::Note,
            message: format!(
                "{}, below the rootfs alone; {} may provide it",
                finding.message,
                accepted.written(&mount.field)
            ),
            ..finding
        },
        _ => finding,
    }
}

/// The working directory, where the last mount that covers its path has it.
fn cwd(accepted: &Accepted, plan: &Plan) -> Option<Finding> {
    const FIELD: &str = "process.cwd";
    let Config { root, mounts, .. } = &accepted.config;
    let path = &accepted.config.process.as_ref()?.cwd;
    let covers = |mount: &&Mount| !mount.remount && path.starts_with(&mount.destination);
    let covering = mounts.iter().rfind(covers);
    let (tree, above, readonly) = match covering.map(|mount| (mount, provided(mount, path))) {
        // It becomes read-only when the directory has been made.
        None => (root.path.as_path(), Path::new("/"), false),
        Some((_, Provided::Made)) => return None,
        Some((mount, Provided::Source(source))) => {
            let readonly = mount.attrs.set & libc::MOUNT_ATTR_RDONLY != 0;
            (source, mount.destination.as_path(), readonly)
        }
        Some((mount, Provided::Unknown)) => {
            let (path, mount) = (path.display(), accepted.written(&mount.field));
            let message = format!("{path}: not looked at, because {mount} covers it");
            return Some(Finding::new(Severity::Note, message).about(FIELD));
        }
    };
    let below = path.strip_prefix(above).unwrap_or(path);
    let found = run::foresee_cwd(plan, tree, below, readonly)?;
    Some(finding(found).about(FIELD))
}

/// What a mount has at a path that it covers.
enum Provided<'a> {
    /// A directory, or one that `create` makes there.
    Made,
    /// What is in this file or directory of the host.
    Source(&'a Path),
    Unknown,
}

fn provided<'a>(mount: &'a Mount, path: &Path) -> Provided<'a> {
    match (mount.bind, &mount.source) {
        (Some(_), Some(source)) if mount.source_link == SourceLink::Followed => {
            Provided::Source(Path::new(source))
        }
        (Some(_), _) => Provided::Unknown,
        (None, _) if *path == mount.destination || mount.fstype == "tmpfs" => Provided::Made,
        (None, _) => Provided::Unknown,
    }
}
