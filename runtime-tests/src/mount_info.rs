//! Mount tables, and mounts of a case that the host does not see.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// One line of `/proc/PID/mountinfo`. proc_pid_mountinfo(5).
#[derive(Clone, Debug)]
pub struct MountInfo {
    /// The directory of the file system that is the root of the mount.
    pub root: String,
    /// The mount point.
    pub point: String,
    /// The options of this mount.
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`; empty for a private mount.
    pub tags: Vec<String>,
    /// The file system type.
    pub fstype: String,
    /// The options of the file system.
    pub fs_options: Vec<String>,
}

impl MountInfo {
    /// Whether the mount has all these options.
    pub fn has(&self, options: &[&str]) -> bool {
        options
            .iter()
            .all(|option| self.options.iter().any(|one| one == option))
    }

    /// The propagation: `shared`, `slave`, both, `unbindable` or `private`.
    pub fn propagation(&self) -> String {
        let words: Vec<_> = self
            .tags
            .iter()
            .filter_map(|tag| match tag.split(':').next() {
                Some("shared") => Some("shared"),
                Some("master") => Some("slave"),
                Some("unbindable") => Some("unbindable"),
                _ => None,
            })
            .collect();
        if words.is_empty() {
            "private".to_owned()
        } else {
            words.join(" ")
        }
    }
}

/// Every line of a mount table.
pub fn table(text: &str) -> Vec<MountInfo> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<MountInfo> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let (mount, fs) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?.to_owned(), mount.next()?.to_owned());
    let options = list(mount.next()?);
    let tags = mount.map(str::to_owned).collect();
    let mut fs = fs.split(' ');
    let fstype = fs.next()?.to_owned();
    let fs_options = list(fs.nth(1)?);
    Some(MountInfo {
        root,
        point,
        options,
        tags,
        fstype,
        fs_options,
    })
}

/// The topmost mount at `point`.
#[track_caller]
pub fn at(text: &str, point: &str) -> MountInfo {
    let found = table(text).into_iter().rfind(|mount| mount.point == point);
    found.unwrap_or_else(|| panic!("no mount at {point} in\n{text}"))
}

/// The mount table of a process.
#[track_caller]
pub fn of_process(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo")
}

/// Gives the case its own mount namespace. Mounts that the case and the runtime make from here on
/// are not visible on the host and disappear with the case.
#[track_caller]
pub fn leave_host() {
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare the mount namespace");
    change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE);
}

/// Mounts a tmpfs at `path`, which is created.
#[track_caller]
pub fn tmpfs(path: &Path, flags: MsFlags) {
    std::fs::create_dir_all(path).expect("the mount point");
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, None::<&str>).expect("mount a tmpfs");
}

/// Bind-mounts `source` on `target`.
#[track_caller]
pub fn bind(source: &Path, target: &Path, flags: MsFlags) {
    let flags = flags | MsFlags::MS_BIND;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).expect("bind");
}

/// mount(2) with flags only: propagation, or a remount.
#[track_caller]
pub fn change(path: &Path, flags: MsFlags) {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).expect("change a mount");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n";
        let mount = at(text, "/mnt2");
        assert_eq!(
            (mount.root.as_str(), mount.fstype.as_str()),
            ("/mnt1", "ext3")
        );
        assert!(mount.has(&["rw", "noatime"]) && !mount.has(&["ro"]));
        assert_eq!(mount.propagation(), "slave shared");
        assert_eq!(mount.fs_options, ["rw", "errors=continue"]);
    }
}
