//! Tests on the real hierarchy, as root. Each test uses a cgroup with its own name and removes it
//! at the end.

mod devices;

use std::io::Write as _;
use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use crate::config::Labels;
use crate::host::{CgroupHost, Host};

/// The hierarchy. `None` if these tests cannot run here; the reason is printed.
fn hierarchy() -> Option<CgroupHost> {
    let host = Host::probe(Labels::default()).expect("a supported kernel");
    if host.euid != 0 || host.in_user_namespace {
        skip("needs root");
        return None;
    }
    if host.cgroup.is_none() {
        skip("no cgroup2 mount");
    }
    host.cgroup
}

/// Writes around the test harness's output capture, because a skipped test must be visible.
fn skip(reason: &str) {
    _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// A cgroup that the test has created, and the processes that it has started there.
struct Fixture {
    mount: PathBuf,
    name: PathBuf,
    children: Vec<Child>,
}

impl Fixture {
    fn new(name: &str) -> Option<Self> {
        let mount = hierarchy()?.mount;
        let name = format!("sampan-test-{}-{name}", std::process::id()).into();
        Some(Self {
            mount,
            name,
            children: Vec::new(),
        })
    }

    fn find(&self) -> Result<Option<Cgroup>> {
        self.place().open()
    }

    fn place(&self) -> Place<'_> {
        Place {
            mount: &self.mount,
            path: &self.name,
            number: None,
            namespace: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.mount.join(&self.name)
    }

    fn create(&self, below: &str) -> Result<Cgroup> {
        Cgroup::create(&self.mount, &self.name.join(below), &[], &[])
    }

    fn start(&mut self, cgroup: &Cgroup) -> i32 {
        let child = Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep starts");
        let pid = child.id().cast_signed();
        self.children.push(child);
        cgroup.add(pid).expect("a process can be moved");
        pid
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        _ = std::fs::write(self.path().join("cgroup.freeze"), "0");
        for child in &mut self.children {
            _ = child.kill();
            _ = child.wait();
        }
        if let Ok(Some(cgroup)) = self.find() {
            _ = cgroup.remove();
        }
    }
}

#[test]
fn made_and_taken_back() {
    let Some(fixture) = Fixture::new("made") else {
        return;
    };
    let outer = fixture.create("").unwrap();
    assert_eq!(outer.path(), fixture.path());
    let inner = fixture.create("a/b").unwrap();
    assert!(fixture.path().join("a/b/cgroup.procs").exists());
    let made = inner.made.iter().map(tree::Level::name);
    assert_eq!(made.collect::<Vec<_>>(), [c"a", c"b"]);
    inner.undo().unwrap();
    assert!(!fixture.path().join("a").exists());
    assert!(fixture.path().exists(), "undo leaves what it did not make");
    outer.remove().unwrap();
    assert!(!fixture.path().exists());
    outer.remove().expect("removing twice is not an error");
    assert!(fixture.find().unwrap().is_none());
}

#[test]
fn a_cgroup_that_is_not_at_its_path_may_exist() {
    let Some(fixture) = Fixture::new("unseen") else {
        return;
    };
    let cgroup = fixture.create("a").unwrap();
    let number = Some(cgroup.number().unwrap());
    let place = |path| Place {
        number,
        ..fixture.place().other(path)
    };
    let (a, elsewhere, other) = (fixture.name.join("a"), Path::new("b/a"), Path::new("b"));
    assert!(place(&a).open().unwrap().is_some());
    let unseen = |answer: Result<Option<Cgroup>>| {
        Error::of_chain(answer.unwrap_err()).code() == Code::ContainerUnseen
    };
    assert!(unseen(place(elsewhere).open()));
    assert!(place(elsewhere).is_frozen().is_err());
    // Another cgroup is at the path, such as that of another container.
    let another = fixture.create("b/a").unwrap();
    let same_name = fixture.name.join("b/a");
    assert!(unseen(place(&same_name).open()));
    assert!(place(&same_name).is_frozen().is_err());
    another.undo().unwrap();
    // The number is that of another cgroup since the kernel was booted.
    assert!(place(other).open().unwrap().is_none());
    cgroup.remove().unwrap();
    assert!(place(&a).open().unwrap().is_none());
    assert!(!place(&a).is_frozen().unwrap());
    let successor = fixture.create("a").unwrap();
    successor.freeze().unwrap();
    assert!(place(&a).open().unwrap().is_none());
    assert!(!place(&a).is_frozen().unwrap());
    successor.undo().unwrap();
    for mount in ["/tmp", "/no/such/mount"] {
        let mount = Path::new(mount);
        assert!(unseen(Place { mount, ..place(&a) }.open()));
    }
    let foreign = Place {
        number: None,
        namespace: Some(1),
        ..place(&a)
    };
    assert!(unseen(foreign.open()));
    let namespace = own_namespace().unwrap();
    assert!(
        Place {
            namespace,
            ..foreign
        }
        .open()
        .unwrap()
        .is_none()
    );
    fixture.find().unwrap().unwrap().remove().unwrap();
}

#[test]
fn undo_spares_what_others_use() {
    let Some(fixture) = Fixture::new("shared") else {
        return;
    };
    let first = fixture.create("a").unwrap();
    let second = fixture.create("b").unwrap();
    first.undo().unwrap();
    assert!(!fixture.path().join("a").exists());
    assert!(second.path().exists());
}

#[test]
fn undo_leaves_no_process() {
    let Some(mut fixture) = Fixture::new("busy") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    fixture.start(&cgroup);
    std::fs::create_dir(fixture.path().join("made-by-the-container")).unwrap();
    cgroup.undo().unwrap();
    assert!(!fixture.path().exists());
}

#[test]
fn empty_leftover_is_used_again() {
    let Some(fixture) = Fixture::new("again") else {
        return;
    };
    let first = fixture.create("a").unwrap();
    let second = fixture.create("a").unwrap();
    assert!(second.made.is_empty());
    second.undo().unwrap();
    assert!(first.path().exists());
}

#[test]
fn used_or_frozen_cgroup_is_refused() {
    let Some(mut fixture) = Fixture::new("used") else {
        return;
    };
    let cgroup = fixture.create("a").unwrap();
    fixture.start(&cgroup);
    fixture.start(&cgroup);
    let error = format!("{:#}", fixture.create("a").unwrap_err());
    assert!(
        error.contains("container's cgroup is not empty: 2 process(es) found"),
        "{error}"
    );
    let frozen = fixture.create("b").unwrap();
    frozen.freeze().unwrap();
    let error = format!("{:#}", fixture.create("b").unwrap_err());
    assert!(error.contains("cgroup unexpectedly frozen"), "{error}");
}

#[test]
fn frozen_thawed_killed_removed() {
    let Some(mut fixture) = Fixture::new("life") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    let inner = fixture.create("inner").unwrap();
    let mut pids = [fixture.start(&cgroup), fixture.start(&inner)];
    pids.sort_unstable();
    assert_eq!(cgroup.processes().unwrap(), pids);
    assert_eq!(inner.processes().unwrap().len(), 1);

    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    assert!(inner.is_frozen().unwrap(), "the freezer reaches below");
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());

    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    assert!(
        cgroup.wait_empty(Duration::from_secs(60)).unwrap(),
        "a frozen cgroup can be killed"
    );
    cgroup.remove().unwrap();
    assert!(!fixture.path().exists());
    assert!(
        !cgroup.is_frozen().unwrap(),
        "a cgroup that is gone is not frozen"
    );
    assert!(cgroup.wait_empty(Duration::ZERO).unwrap());
    assert!(cgroup.processes().unwrap().is_empty());
    cgroup
        .kill()
        .expect("killing an empty cgroup is not an error");
}

#[test]
fn wait_empty_ends() {
    let Some(mut fixture) = Fixture::new("wait") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    fixture.start(&cgroup);
    assert!(!cgroup.wait_empty(Duration::from_millis(1)).unwrap());
}

/// The kernel does not report the end of the last process if the cgroup is removed at once.
#[test]
fn wait_empty_ends_when_another_removes_the_cgroup() {
    let Some(mut fixture) = Fixture::new("removed") else {
        return;
    };
    let limit = Duration::from_secs(60);
    for _ in 0..5 {
        let cgroup = fixture.create("").unwrap();
        let pid = fixture.start(&cgroup);
        assert_eq!(cgroup.processes().unwrap(), [pid]);
        let begun = std::time::Instant::now();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| cgroup.wait_empty(limit).unwrap());
            let other = fixture.find().unwrap().unwrap();
            other.kill().unwrap();
            while !other.remove_unused().unwrap() {}
            assert!(waiter.join().unwrap());
        });
        assert!(begun.elapsed() < limit / 2, "{:?}", begun.elapsed());
    }
}

#[test]
fn clone3_places_a_process() {
    use crate::sys::process::{Cloned, clone3, exit, wait};
    let Some(fixture) = Fixture::new("place") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    match clone3(0, Some(cgroup.fd()), false).unwrap() {
        // The child is a copy of a process with threads and may do no more than this.
        Cloned::Child => exit(0),
        Cloned::Parent { pid, pidfd } => {
            // A process that has exited stays in its cgroup until it is waited for.
            let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
            wait(pidfd.as_fd()).unwrap();
            let wanted = format!("/{}", fixture.name.display());
            let text = text.unwrap();
            let own = text
                .lines()
                .find_map(|line| line.strip_prefix("0::"))
                .unwrap();
            assert!(own.ends_with(&wanted), "{text}");
        }
    }
}

fn write(file: &str, value: &str, fallback: Fallback) -> Write {
    let field = format!("linux.resources.unified.{file}");
    Write {
        file: file.into(),
        value: value.into(),
        field,
        fallback,
        above: None,
    }
}

#[test]
fn writes_and_their_fallbacks() {
    let Some(fixture) = Fixture::new("write") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    let depth = || std::fs::read_to_string(fixture.path().join("cgroup.max.depth")).unwrap();
    cgroup
        .write(&write("cgroup.max.depth", "3", Fallback::Fail))
        .unwrap();
    assert_eq!(depth(), "3\n");
    cgroup
        .write(&write("absent.max", "3", Fallback::SkipIfAbsent))
        .unwrap();
    let other = Fallback::IfAbsent {
        file: "cgroup.max.depth".into(),
        value: "4".into(),
    };
    cgroup.write(&write("absent.max", "9", other)).unwrap();
    assert_eq!(depth(), "4\n");
    cgroup
        .write(&write("cgroup.max.depth", "x", Fallback::RetriedLater))
        .unwrap();
    assert_eq!(depth(), "4\n");

    let error = cgroup
        .write(&write("cgroup.max.depth", "x", Fallback::Fail))
        .unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        format!(
            "linux.resources.unified.cgroup.max.depth: {}: \"x\": write: invalid argument",
            fixture.path().join("cgroup.max.depth").display()
        )
    );
    let error = cgroup
        .write(&write("absent.max", "3", Fallback::Fail))
        .unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("no such file or directory (this kernel has no such file"),
        "{error}"
    );
}

#[test]
fn a_limit_below_the_use_is_refused_when_asked() {
    let Some(fixture) = Fixture::new("above") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    // Any file that contains one number can serve as the usage; this one contains 7.
    cgroup
        .write(&write("cgroup.max.depth", "7", Fallback::Fail))
        .unwrap();
    let limit = |value: &str| Write {
        above: Some("cgroup.max.depth"),
        ..write("cgroup.max.descendants", value, Fallback::Fail)
    };
    cgroup.write(&limit("8")).unwrap();
    let error = format!("{:#}", cgroup.write(&limit("7")).unwrap_err());
    assert!(error.contains("7 is not more than the 7 in"), "{error}");
}

#[test]
fn controllers_are_enabled_on_the_way_down() {
    let Some(fixture) = Fixture::new("controllers") else {
        return;
    };
    let host = hierarchy().unwrap();
    let missing = ["nonsense".to_owned()];
    let path = fixture.name.join("a");
    let error = Cgroup::create(&fixture.mount, &path, &missing, &[]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("needs the nonsense controller"), "{error}");
    assert!(!fixture.path().exists(), "a failed create leaves nothing");
    Cgroup::create(&fixture.mount, &path, &[], &missing).expect("optional ones may be missing");
    let root = std::fs::read_to_string(host.mount.join("cgroup.subtree_control")).unwrap();
    if let Some(name) = root.split_whitespace().next() {
        enable(&fixture.mount, &path, &[name.to_owned()]).unwrap();
        let given = fixture.path().join("cgroup.subtree_control");
        assert_eq!(std::fs::read_to_string(given).unwrap().trim(), name);
    }
}

#[test]
fn delegated_files_change_their_owner() {
    use std::os::unix::fs::MetadataExt;
    let Some(fixture) = Fixture::new("delegate") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    cgroup.delegate(4321).unwrap();
    let owner = |name: &str| std::fs::metadata(fixture.path().join(name)).unwrap().uid();
    for name in [
        "",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
    ] {
        assert_eq!(owner(name), 4321, "{name}");
    }
    for name in ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth"] {
        assert_eq!(owner(name), 0, "{name}");
    }
}

#[test]
fn limits_reach_the_kernel() {
    use crate::config::Resources;
    use crate::config::resources::{Limit, Swap};
    use crate::plan::cgroup::{controllers, writes};
    let Some(fixture) = Fixture::new("limits") else {
        return;
    };
    let host = hierarchy().unwrap();
    if !["cpu", "memory", "pids"]
        .iter()
        .all(|name| host.controllers.iter().any(|it| it == name))
    {
        return skip("the cgroup2 hierarchy lacks cpu, memory or pids");
    }
    let mut resources = Resources::default();
    resources.memory.limit = Some(Limit::At(64 << 20));
    resources.memory.swap = Some(Swap::Asked(Limit::At(32 << 20)));
    resources.memory.reservation = Some(Limit::At(32 << 20));
    resources.pids = Some(Limit::At(17));
    resources.cpu.shares = Some(512);
    resources.cpu.quota = Some(Limit::At(40_000));
    resources.cpu.burst = Some(20_000);
    resources
        .unified
        .insert("memory.high".into(), "50331648".into());
    let has = |name: &str| host.controllers.iter().any(|it| it == name);
    if has("cpuset") {
        resources.cpu.cpus = Some("0".into());
    } else {
        skip("the cgroup2 hierarchy lacks cpuset");
    }
    if has("hugetlb") {
        resources
            .hugepages
            .push(crate::config::resources::Hugepage {
                page_size: "2MB".into(),
                limit: 4 << 20,
            });
    } else {
        skip("the cgroup2 hierarchy lacks hugetlb");
    }
    let writes_now = writes(&resources, &host).unwrap();
    let path = fixture.name.join("a/b");
    let cgroup = Cgroup::create(&fixture.mount, &path, &controllers(&writes_now), &[]).unwrap();
    for write in &writes_now {
        cgroup.write(write).unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(cgroup.path().join(name)).unwrap();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "17"),
        ("cpu.weight", "59"),
        ("cpu.max", "40000 100000"),
        ("cpu.max.burst", "20000"),
    ] {
        assert_eq!(read(file).trim(), value, "{file}");
    }
    for (controller, file, value) in [
        ("cpuset", "cpuset.cpus", "0"),
        ("hugetlb", "hugetlb.2MB.max", "4194304"),
        ("hugetlb", "hugetlb.2MB.rsvd.max", "4194304"),
    ] {
        if has(controller) {
            assert_eq!(read(file).trim(), value, "{file}");
        }
    }

    // Every direction of a change, because the order of writing quota and burst matters.
    for (quota, burst) in [(90_000, 80_000), (10_000, 5_000), (10_000, 0)] {
        resources.cpu.quota = Some(Limit::At(quota));
        resources.cpu.burst = Some(burst);
        for write in writes(&resources, &host).unwrap() {
            cgroup.write(&write).unwrap();
        }
        assert_eq!(read("cpu.max"), format!("{quota} 100000\n"));
        assert_eq!(read("cpu.max.burst"), format!("{burst}\n"));
    }
    for (idle, weight) in [(true, None), (false, Some(100))] {
        resources.cpu.idle = Some(idle);
        resources.cpu.shares = Some(1024);
        for write in writes(&resources, &host).unwrap() {
            cgroup.write(&write).unwrap();
        }
        assert_eq!(read("cpu.idle"), format!("{}\n", u8::from(idle)));
        if let Some(weight) = weight {
            assert_eq!(read("cpu.weight"), format!("{weight}\n"));
        }
    }
}
