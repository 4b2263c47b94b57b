//! Finds and removes what a case has left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::cgroup_mounts;
use crate::sandbox::Sandbox;

/// The time that a killed process may take to disappear.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// Describes everything that the case has left behind; empty if there is nothing. Another project's
/// runtime may keep hidden files in its root that belong to no container, as crun does; our own may
/// not.
pub fn find(sandbox: &Sandbox, is_peer: bool) -> Vec<String> {
    let deadline = Instant::now() + EXIT_GRACE;
    let mut processes = processes(&sandbox.id);
    while !processes.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        processes = self::processes(&sandbox.id);
    }
    let mut leaks = Vec::new();
    for (pid, name) in processes {
        leaks.push(format!("process {pid} ({name}) is still running"));
    }
    for path in cgroups(&sandbox.id) {
        leaks.push(format!("cgroup {} is still there", path.display()));
    }
    for path in mounts(&sandbox.id) {
        leaks.push(format!("mount {} is still there", path.display()));
    }
    for entry in fs::read_dir(&sandbox.root).into_iter().flatten().flatten() {
        if !(is_peer && entry.file_name().as_bytes().starts_with(b".")) {
            leaks.push(format!(
                "{} is still in the runtime's root",
                entry.path().display()
            ));
        }
    }
    leaks
}

/// Removes what is left, by the runtime if possible and by hand otherwise, and the case's
/// directory.
pub fn clean(sandbox: &Sandbox, keep_directory: bool) {
    for entry in fs::read_dir(&sandbox.root).into_iter().flatten().flatten() {
        let id = entry.file_name();
        // The result does not matter: the code below removes what is left.
        let _ = sandbox
            .runtime()
            .args(["delete", "--force"])
            .arg(id)
            .spawn()
            .end();
    }
    // Repeated, because an engine's process may start another one while it ends.
    let deadline = Instant::now() + EXIT_GRACE;
    while !remove_processes_and_cgroups(&sandbox.id) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    for path in mounts(&sandbox.id).into_iter().rev() {
        let _ = umount2(&path, MntFlags::MNT_DETACH);
    }
    // A tree with mounts is not removed: a leaked bind mount may contain the host's files.
    if !keep_directory && mounts(&sandbox.id).is_empty() {
        let _ = fs::remove_dir_all(&sandbox.dir);
    }
}

/// Returns whether there were none.
fn remove_processes_and_cgroups(id: &str) -> bool {
    let (processes, cgroups) = (processes(id), cgroups(id));
    for (pid, _) in &processes {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    for path in &cgroups {
        let _ = fs::remove_dir(path);
    }
    processes.is_empty() && cgroups.is_empty()
}

/// The mounts of this mount namespace, as lines of mountinfo without ids and without the option that
/// each of them gets when a case loads a policy of SELinux.
pub fn all_mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .map(|line| line.splitn(4, ' ').last().unwrap_or(line))
        .map(|line| line.replace(",seclabel", ""))
        .collect()
}

/// The mount points whose path contains `id`, outermost first.
fn mounts(id: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.contains(id))
        .map(PathBuf::from)
        .collect()
}

/// The cgroups of every hierarchy whose name contains `id`, innermost first.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (_, mount) in cgroup_mounts() {
        search_cgroups(&mount, id, 0, &mut found);
    }
    found
}

fn search_cgroups(directory: &Path, id: &str, depth: usize, found: &mut Vec<PathBuf>) {
    // This is deep enough for a slice in a slice, and for the host's own trees.
    if depth > 8 {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            search_cgroups(&path, id, depth + 1, found);
            if path
                .as_os_str()
                .as_bytes()
                .windows(id.len())
                .any(|part| part == id.as_bytes())
            {
                found.push(path);
            }
        }
    }
}

/// The live processes of the case `id`, recognised by environment, command line, cgroup, or, in
/// another mount namespace, by a root from the case's directory.
fn processes(id: &str) -> Vec<(i32, String)> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = (std::process::id() as i32, namespace("self"));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else {
            continue;
        };
        let mentions = |file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes.windows(id.len()).any(|part| part == id.as_bytes())
        };
        let belongs = mentions("environ")
            || mentions("cmdline")
            || mentions("cgroup")
            || (namespace(&name) != own.1 && root_comes_from(&name, id));
        if pid != own.0 && belongs && !is_zombie(pid) {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push((pid, comm.trim().to_owned()));
        }
    }
    found
}

/// Whether the root of a process, in its own mount namespace, is a mount from a directory with this
/// id. Its other mounts prove nothing: the init of another test has a copy of all mounts that
/// exist on the host at that moment, until it switches its root.
fn root_comes_from(pid: &str, id: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next(), fields.next());
        point == Some("/") && root.is_some_and(|root| root.contains(id))
    })
}

/// Whether a process has ended and waits for its parent to reap it, or does not exist.
fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_environment_until_it_ends() {
        let id = format!("leaktest{}x", std::process::id());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .env("MARK", &id)
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        // The environment is readable only a moment after execve(2).
        while fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(processes(&id), [(pid, "sleep".to_owned())]);
        child.kill().unwrap();
        // The process is a zombie until it is waited for.
        while !is_zombie(pid) {
            std::thread::yield_now();
        }
        assert_eq!(processes(&id), []);
        child.wait().unwrap();
        assert_eq!(processes(&id), []);
    }
}
