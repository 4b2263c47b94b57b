//! Checks whether the container matches its config. Its mount table is compared with that of a
//! container with an undisturbed root filesystem, and the observations from inside with what is
//! allowed.

use std::path::Path;

use runtime_tests::mount_info::{MountInfo, table};
use serde_json::{Value, json};

use super::attack::STORE;
use super::inside;

const PROC_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// Files of a procfs that must be masked, and those that must be read-only.
const PROC_MASKS: &[&str] = &["kcore", "keys", "timer_list"];
const PROC_READONLY: &[&str] = &["bus", "fs", "irq", "sys"];

/// A container's mount table, with the order of mounts on top of each other.
pub struct Table {
    mounts: Vec<Mount>,
}

#[derive(Clone)]
struct Mount {
    id: String,
    parent: String,
    info: MountInfo,
}

impl Mount {
    /// The same mount after mount_setattr(2) has made it read-only.
    fn readonly(&self) -> Self {
        let mut changed = self.clone();
        for option in &mut changed.info.options {
            if option == "rw" {
                "ro".clone_into(option);
            }
        }
        changed
    }

    /// All attributes except the path. A directory keeps its mount when it is exchanged, and the
    /// mount table shows a bind mount's source under its current name.
    fn identity(&self) -> String {
        let mut options = self.info.options.clone();
        options.sort_unstable();
        format!(
            "{} {} {}",
            self.info.fstype,
            self.info.root.replace(&format!("/{STORE}/"), "/"),
            options.join(",")
        )
    }
}

impl Table {
    /// Parses the text of `/proc/PID/mountinfo`.
    pub fn new(text: &str) -> Self {
        let ids = text.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            )
        });
        let mounts = table(text).into_iter().zip(ids);
        let mounts = mounts.map(|(info, (id, parent))| Mount { id, parent, info });
        Self {
            mounts: mounts.collect(),
        }
    }

    /// The differences from `right`. A mount whose mount point is below one of the `attacked`
    /// directories may be wherever these led. A mask of the image's own files there may be missing,
    /// because its path may have led to nothing. The image's read-only path may have led to the
    /// root, which then is read-only itself.
    pub fn differs(&self, right: &Self, attacked: &[&str]) -> Vec<String> {
        let mut rest: Vec<&Mount> = self.mounts.iter().collect();
        let mut wrong = Vec::new();
        let is_attacked = |point: &str| attacked.iter().any(|path| is_below(point, path));
        let (moved, fixed): (Vec<_>, Vec<_>) = right
            .mounts
            .iter()
            .partition(|mount| is_attacked(&mount.info.point));
        for mount in fixed {
            let readonly_root = attacked.contains(&"frozen") && mount.info.point == "/";
            let place = rest.iter().position(|one| {
                let same = one.identity() == mount.identity()
                    || readonly_root && one.identity() == mount.readonly().identity();
                one.info.point == mount.info.point && same
            });
            match place {
                Some(place) => drop(rest.swap_remove(place)),
                None => wrong.push(format!("missing: {}", describe(mount))),
            }
        }
        let mut covers = 0;
        for mount in moved {
            let same = |one: &&Mount| one.identity() == mount.identity();
            // A mount that nothing else explains, if there is one.
            let unexplained = |one: &&Mount| same(one) && !self.is_in_readonly_copy(one);
            let place = rest.iter().position(unexplained);
            match place.or_else(|| rest.iter().position(same)) {
                Some(place) => drop(rest.swap_remove(place)),
                None if is_of_the_image(&mount.info.point) => covers += 1,
                None => wrong.push(format!("missing anywhere: {}", describe(mount))),
            }
        }
        if attacked.contains(&"frozen") {
            rest.retain(|mount| !self.is_in_readonly_copy(mount));
        }
        // The path of a mask may have led to any file, which is now covered.
        for _ in 0..covers {
            if let Some(place) = rest.iter().position(|one| one.info.has(&["ro"])) {
                rest.swap_remove(place);
            }
        }
        wrong.extend(
            rest.iter()
                .map(|mount| format!("not in the config: {}", describe(mount))),
        );
        wrong
    }

    /// A read-only path is a read-only copy of its directory on top of it, with copies of the mounts
    /// below. If its directory has led to another one, the copies are there.
    fn is_in_readonly_copy(&self, mount: &Mount) -> bool {
        let is_above = |one: &&Mount| one.id == mount.parent && one.info.point != mount.info.point;
        let above = || self.mounts.iter().find(is_above);
        self.is_copy(mount)
            && (mount.info.has(&["ro"]) || above().is_some_and(|it| self.is_readonly(it)))
    }

    /// Whether the mount is read-only, or is below one that is. The root does not count.
    fn is_readonly(&self, mount: &Mount) -> bool {
        let above = || self.mounts.iter().find(|one| one.id == mount.parent);
        mount.info.point != "/"
            && (mount.info.has(&["ro"]) || above().is_some_and(|it| self.is_readonly(it)))
    }

    /// Whether the same part of a file system is mounted at the same place twice.
    fn is_copy(&self, mount: &Mount) -> bool {
        let file_system = |it: &Mount| (it.info.fstype.clone(), it.info.root.clone());
        self.mounts.iter().any(|one| {
            one.id != mount.id
                && one.info.point == mount.info.point
                && file_system(one) == file_system(mount)
        })
    }

    /// Whatever happened to the paths, no procfs may be without its masks, and no sysfs writable.
    pub fn uncovered(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for mount in &self.mounts {
            let whole = mount.info.root == "/";
            if mount.info.fstype == "sysfs" && !mount.info.has(&["ro"]) {
                wrong.push(format!("a sysfs that can be written: {}", describe(mount)));
            }
            if mount.info.fstype != "proc" || !whole {
                continue;
            }
            let covers = |name: &str| {
                let point = Path::new(&mount.info.point).join(name);
                self.mounts.iter().any(|one| {
                    one.parent == mount.id
                        && Path::new(&one.info.point) == point
                        && one.info.has(&["ro"])
                })
            };
            // Files that this kernel lacks need no mask.
            let names = PROC_MASKS.iter().chain(PROC_READONLY);
            let names = names.filter(|name| Path::new("/proc").join(name).exists());
            let missing = names.filter(|name| !covers(name));
            wrong.extend(
                missing.map(|name| format!("a procfs is open: {name} in {}", describe(mount))),
            );
        }
        wrong
    }
}

fn describe(mount: &Mount) -> String {
    format!("{} on {}", mount.identity(), mount.info.point)
}

/// Whether the path is below a directory of the root filesystem.
fn is_below(point: &str, directory: &str) -> bool {
    Path::new(point.trim_start_matches('/')).starts_with(directory)
}

/// Masks and read-only paths of the image's own files, which protect only the image itself.
fn is_of_the_image(point: &str) -> bool {
    ["hidden", "frozen", "etc/secret"]
        .iter()
        .any(|path| is_below(point, path))
}

/// A directory that was exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Attacked {
    pub target: &'static str,
    /// The directory was restored and never replaced by another directory, so everything that is
    /// mounted on real directories is where it belongs.
    pub comes_back: bool,
    /// It was exchanged permanently after the mounts and before the masks.
    pub for_good: bool,
}

/// What is wrong in the observations of the first process.
pub fn seen(found: &Value, attacked: &[Attacked]) -> Vec<String> {
    let mut wrong = wrong_places(found, attacked);
    let untouched = |name: &str| attacked.iter().all(|one| !is_below(name, one.target));
    let is_there = |path: &str| {
        if path.contains("/proc") {
            found["magic"]["/proc"] == PROC_MAGIC
        } else {
            found["magic"]["/sys"] == SYSFS_MAGIC
        }
    };
    for path in inside::CLOSED {
        if is_there(path) && found["closed"][*path] == 0 {
            wrong.push(format!("can be opened for writing: {path}"));
        }
    }
    for path in inside::MASKED {
        if is_there(path) && found["masked"][*path].as_i64() > Some(0) {
            wrong.push(format!("a mask is missing: {path} can be read"));
        }
    }
    if untouched("dev") {
        for (path, major, minor) in inside::DEVICES {
            if found["devices"][*path] != json!([major, minor]) {
                wrong.push(format!(
                    "a device is missing: {path} is {}",
                    found["devices"][*path]
                ));
            }
        }
        if untouched("dev/shm") && found["shm"] != 0 {
            wrong.push(format!(
                "cannot be written to: /dev/shm, errno {}",
                found["shm"]
            ));
        }
    }
    for path in inside::READONLY {
        let errno = &found["readonly"][*path];
        if untouched(&path[1..]) && *errno != libc::EROFS {
            wrong.push(format!("is not read-only: {path}, errno {errno}"));
        }
    }
    if untouched("hidden") && found["hidden"] != 0 {
        wrong.push(format!(
            "a mask is missing: /hidden has {} entries",
            found["hidden"]
        ));
    }
    if found["canary"] == true {
        wrong.push("a directory of the host is to be seen".to_owned());
    }
    wrong
}

/// Checks /proc and /sys. If one was exchanged permanently, or another mount has covered it, the
/// create must fail: its masks are elsewhere. If it was exchanged for another directory, the effect
/// may be the same as for an image whose owner renames directories later.
fn wrong_places(found: &Value, attacked: &[Attacked]) -> Vec<String> {
    let places = [("/proc", PROC_MAGIC), ("/sys", SYSFS_MAGIC)];
    let asked = places.iter().filter(|(path, _)| {
        let own = |one: &Attacked| one.target != &path[1..] || one.comes_back || one.for_good;
        attacked.iter().all(own)
    });
    let wrong = asked.filter(|(path, magic)| found["magic"][*path] != *magic);
    wrong
        .map(|(path, _)| {
            format!(
                "is another file system: {path} has the magic {}",
                found["magic"][*path]
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "\
10 1 0:1 /rootfs / rw - tmpfs tmpfs rw
11 10 0:2 / /proc rw,nosuid - proc proc rw
12 11 0:2 /sys /proc/sys ro,nosuid - proc proc rw
13 10 0:3 / /hidden ro - tmpfs none ro
";

    #[track_caller]
    fn differs(changed: &str, attacked: &[&str]) -> Vec<String> {
        Table::new(changed).differs(&Table::new(RIGHT), attacked)
    }

    #[test]
    fn a_mount_may_be_elsewhere_only_if_its_directory_was_attacked() {
        let moved = RIGHT.replace("/hidden", "/other");
        assert_eq!(differs(RIGHT, &[]), Vec::<String>::new());
        assert_eq!(differs(&moved, &["hidden"]), Vec::<String>::new());
        assert_eq!(differs(&moved, &["proc"]).len(), 2);
    }

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let without_proc: String = RIGHT
            .split_inclusive('\n')
            .filter(|line| !line.contains("/proc/sys"))
            .collect();
        assert_eq!(differs(&without_proc, &["proc"]).len(), 1);
        let more = format!("{RIGHT}14 10 0:4 / /more rw - tmpfs tmpfs rw\n");
        assert_eq!(differs(&more, &["hidden"]).len(), 1);
        let writable = RIGHT.replace("/hidden ro", "/hidden rw");
        assert_eq!(differs(&writable, &[]).len(), 2);
    }

    #[test]
    fn a_read_only_path_may_have_led_to_other_mounts() {
        let copy =
            |options: &str| format!("{RIGHT}15 13 0:3 / /hidden {options} - tmpfs none ro\n");
        let copies = copy("ro,nosuid");
        assert_eq!(differs(&copies, &["frozen"]), Vec::<String>::new());
        assert_eq!(differs(&copies, &["data"]).len(), 1);
        assert_eq!(differs(&copy("rw,nosuid"), &["frozen"]).len(), 1);
    }

    #[test]
    fn a_read_only_path_may_have_led_to_a_mount_with_others_below_it() {
        let right = format!("{RIGHT}14 13 0:4 / /hidden/a rw - tmpfs a rw\n");
        let copies = "15 13 0:3 / /hidden ro,nosuid - tmpfs none ro\n\
                      16 15 0:4 / /hidden/a rw - tmpfs a rw\n";
        let differs = |below: &str, attacked: &[&str]| {
            Table::new(&format!("{right}{below}")).differs(&Table::new(&right), attacked)
        };
        assert_eq!(differs(copies, &["frozen"]), Vec::<String>::new());
        assert_eq!(differs(copies, &["data"]).len(), 2);
    }

    #[test]
    fn a_read_only_path_may_have_led_to_the_root() {
        let readonly = RIGHT.replace("/ rw -", "/ ro -");
        assert_eq!(differs(&readonly, &["frozen"]), Vec::<String>::new());
        assert_eq!(differs(&readonly, &["data"]).len(), 2);
    }

    #[test]
    fn a_read_only_copy_is_not_taken_for_a_mount_that_looks_the_same() {
        let moved = RIGHT.replace("13 10 0:3 / /hidden", "13 10 0:3 / /other/a");
        let text = format!(
            "{moved}14 10 0:4 / /other rw - tmpfs shm rw\n15 14 0:4 / /other ro - tmpfs shm rw\n"
        );
        let right = format!("{RIGHT}14 10 0:4 / /other rw - tmpfs shm rw\n");
        let wrong = Table::new(&text).differs(&Table::new(&right), &["frozen", "hidden"]);
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn a_procfs_is_open_where_its_covers_are_on_another_one() {
        let open = |text: &str| Table::new(text).uncovered();
        assert!(!open(RIGHT).iter().any(|wrong| wrong.contains(": sys in")));
        let other = RIGHT.replace("12 11", "12 10");
        assert!(open(&other).iter().any(|wrong| wrong.contains(": sys in")));
    }
}
