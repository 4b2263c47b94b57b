//! The binary on containers whose init process is a child of the test.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, fcntl};
use sampan::cgroup::Cgroup;
use sampan::config::Labels;
use sampan::host::Host;
use sampan::state::{self, Dir, Root, START_SOCKET, State, lock_init, start_time};

/// A root directory with one container, `one`, whose process sleeps.
struct Fixture {
    path: PathBuf,
    dir: Rc<Dir>,
    child: Child,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sampan-verbs-{}-{name}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        let dir = root.claim("one", b"{}").unwrap().keep();
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let state = State {
            oci_version: "1.3.0".to_owned(),
            id: "one".to_owned(),
            pid,
            start_time: start_time(pid).unwrap().unwrap(),
            bundle: "/bundle".into(),
            rootfs: "/bundle/rootfs".into(),
            created: "2024-01-01T00:00:00Z".to_owned(),
            private_pid_namespace: true,
            ..State::default()
        };
        state.save(&dir).unwrap();
        Self { path, dir, child }
    }

    fn sampan(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sampan"))
            .arg("--root")
            .arg(&self.path)
            .args(args)
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.sampan(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, args: &[&str]) -> String {
        let output = self.sampan(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn status(&self) -> String {
        let state: serde_json::Value = serde_json::from_str(&self.ok(&["state", "one"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.path));
    }
}

#[test]
fn status_and_list_follow_the_process() {
    let mut fixture = Fixture::new("status");
    assert_eq!(fixture.status(), "running");
    let lock = lock_init(&fixture.dir).unwrap();
    assert_eq!(fixture.status(), "creating");
    std::fs::write(fixture.dir.path_of(START_SOCKET), "").unwrap();
    assert_eq!(fixture.status(), "created");
    // Do not unlock by closing: a process that another test starts may have a copy of the
    // descriptor for a moment.
    let unlock = libc::flock {
        l_type: libc::F_UNLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&lock, FcntlArg::F_OFD_SETLK(&unlock)).unwrap();
    assert_eq!(fixture.status(), "running");
    let table = fixture.ok(&["list"]);
    assert_eq!(table.lines().count(), 2);
    assert!(
        table.lines().nth(1).unwrap().starts_with("one         "),
        "{table}"
    );
    assert_eq!(fixture.ok(&["list", "-q"]), "one\n");
    fixture.child.kill().unwrap();
    fixture.child.wait().unwrap();
    assert_eq!(fixture.status(), "stopped");
    let list: serde_json::Value =
        serde_json::from_str(&fixture.ok(&["list", "--format=json"])).unwrap();
    assert_eq!(
        (&list[0]["pid"], &list[0]["status"]),
        (&0.into(), &"stopped".into())
    );
}

/// On a terminal, and only there.
#[test]
fn the_list_fits_a_terminal() {
    use std::io::Read;
    let fixture = Fixture::new("terminal");
    let mut state = State::load(&fixture.dir).unwrap();
    state.bundle = "/a-bundle-in-a-directory-with-a-name-that-is-long/bundle".into();
    state.save(&fixture.dir).unwrap();
    assert!(fixture.ok(&["list"]).contains("/a-bundle-in-a-directory"));
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 90,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_sampan"))
        .arg("--root")
        .arg(&fixture.path)
        .arg("list")
        .stdout(pty.slave)
        .status();
    assert!(status.unwrap().success());
    let mut text = Vec::new();
    // The master reports EIO after the last byte, because no slave is left.
    drop(std::fs::File::from(pty.master).read_to_end(&mut text));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains("…") && text.contains("/bundle   2024"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 90),
        "{text}"
    );
}

#[test]
fn an_unreadable_container_does_not_stop_the_list() {
    let fixture = Fixture::new("unreadable");
    let directory = fixture.path.join("broken");
    std::fs::create_dir(&directory).unwrap();
    // Without it a create may be about to write it.
    std::fs::write(directory.join("config.json"), "{}").unwrap();
    let output = fixture.sampan(&["list", "-q"]);
    assert!(output.status.success());
    assert_eq!(output.stdout, b"one\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("load container broken: container does not exist"),
        "{text}"
    );
}

#[test]
fn kill_sends_the_signal_and_refuses_a_stopped_container() {
    let mut fixture = Fixture::new("kill");
    assert!(
        fixture
            .error(&["kill", "one", "NONSENSE"])
            .contains("unknown signal")
    );
    assert!(
        fixture
            .error(&["kill", "two", "9"])
            .contains("container does not exist")
    );
    fixture.ok(&["kill", "one", "sigusr1"]);
    let status = fixture.child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGUSR1));
    assert!(
        fixture
            .error(&["kill", "one", "9"])
            .contains("container not running")
    );
    assert_eq!(fixture.ok(&["kill", "--all", "one", "9"]), "");
    assert_eq!(fixture.ok(&["kill", "--regex", "^on", "9"]), "");
    assert!(
        fixture
            .error(&["kill", "--regex", "(", "9"])
            .contains("--regex")
    );
}

#[test]
fn a_reused_pid_gets_no_signal() {
    let mut fixture = Fixture::new("reuse");
    let mut state = State::load(&fixture.dir).unwrap();
    state.start_time -= 1;
    state.save(&fixture.dir).unwrap();
    assert!(
        fixture
            .error(&["kill", "one", "9"])
            .contains("container not running")
    );
    assert!(fixture.child.try_wait().unwrap().is_none());
}

#[test]
fn a_failure_writes_one_object_to_the_log_and_text_to_stderr() {
    let fixture = Fixture::new("log");
    let log = fixture.path.join("log.json");
    let log = log.to_str().unwrap();
    for (args, text) in [
        (["state", "two"], "container does not exist: two"),
        (
            ["state", "--frob"],
            "unexpected argument '--frob' found (see sampan state --help)",
        ),
    ] {
        let mut line = vec!["--log", log, "--log-format=json"];
        line.extend(args);
        assert_eq!(fixture.error(&line), format!("{text}\n"));
        let object: serde_json::Value =
            serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
        assert_eq!(
            (&object["level"], &object["msg"]),
            (&"error".into(), &text.into())
        );
        std::fs::remove_file(log).unwrap();
    }
    let text = fixture.error(&["state", "two"]);
    assert!(
        text.contains(" level=error msg=\"container does not exist: two\""),
        "{text}"
    );
}

#[test]
fn a_root_that_the_user_chose_must_exist_for_list() {
    let fixture = Fixture::new("root");
    let missing = fixture.path.join("missing");
    let text = fixture.error(&["--root", missing.to_str().unwrap(), "list"]);
    assert!(text.contains("no such file or directory"), "{text}");
}

/// A cgroup with the fixture's process and another one below it, removed at the end.
struct WithCgroup {
    fixture: Fixture,
    cgroup: Cgroup,
    other: Child,
}

impl WithCgroup {
    /// `None`, with a message, if no cgroup can be created.
    fn new(name: &str) -> Option<Self> {
        let host = Host::probe(Labels::default()).unwrap();
        let Some(hierarchy) = host
            .cgroup
            .filter(|_| host.euid == 0 && !host.in_user_namespace)
        else {
            // Written directly, because the test harness captures eprintln!.
            _ = writeln!(std::io::stderr(), "skipped: needs root and a cgroup2 mount");
            return None;
        };
        let fixture = Fixture::new(name);
        let path = PathBuf::from(format!("sampan-verbs-{}-{name}", std::process::id()));
        let create = |path| Cgroup::create(&hierarchy.mount, path, &[], &[]).unwrap();
        let (cgroup, below) = (create(&path), create(&path.join("below")));
        let other = Command::new("sleep").arg("1000").spawn().unwrap();
        cgroup.add(fixture.child.id() as i32).unwrap();
        below.add(other.id() as i32).unwrap();
        let mut state = State::load(&fixture.dir).unwrap();
        state.private_pid_namespace = false;
        state.cgroup = Some(state::Cgroup {
            mount: hierarchy.mount,
            path: format!("/{}", path.display()),
            ..state::Cgroup::default()
        });
        state.save(&fixture.dir).unwrap();
        Some(Self {
            fixture,
            cgroup,
            other,
        })
    }

    /// The signals that ended both processes.
    fn ends(&mut self) -> [Option<i32>; 2] {
        [&mut self.fixture.child, &mut self.other].map(|child| child.wait().unwrap().signal())
    }
}

impl Drop for WithCgroup {
    fn drop(&mut self) {
        drop(self.cgroup.kill());
        drop(self.fixture.child.wait());
        drop(self.other.wait());
        drop(self.cgroup.remove());
    }
}

#[test]
fn kill_all_signals_every_process_in_the_cgroup() {
    let Some(mut with) = WithCgroup::new("all") else {
        return;
    };
    with.fixture.ok(&["kill", "--all", "one", "USR1"]);
    assert_eq!(with.ends(), [Some(libc::SIGUSR1); 2]);
}

#[test]
fn sigkill_kills_the_cgroup_if_there_is_no_pid_namespace() {
    let Some(mut with) = WithCgroup::new("shared") else {
        return;
    };
    with.fixture.ok(&["kill", "one", "TERM"]);
    assert_eq!(
        with.fixture.child.wait().unwrap().signal(),
        Some(libc::SIGTERM)
    );
    assert!(
        with.other.try_wait().unwrap().is_none(),
        "only init gets TERM"
    );
    with.fixture.ok(&["kill", "one", "KILL"]);
    assert_eq!(with.other.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_paused_container_is_paused_and_can_be_killed() {
    let Some(mut with) = WithCgroup::new("paused") else {
        return;
    };
    with.cgroup.freeze().unwrap();
    assert_eq!(with.fixture.status(), "paused");
    with.fixture.ok(&["kill", "one", "KILL"]);
    assert_eq!(with.ends(), [Some(libc::SIGKILL); 2]);
    assert_eq!(with.fixture.status(), "stopped");
}
