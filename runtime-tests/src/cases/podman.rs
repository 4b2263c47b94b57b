//! Podman and Buildah with the runtime, on the unmodified host: as root, and Podman as an ordinary
//! user too. `scripts/engines` runs many more checks of a newer Podman in a VM.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::engine::{IMAGE, Place, TERMINAL_SCRIPT, USER, accepted, type_into_a_shell};
use crate::host::cgroup_mounts;
use crate::{Call, Need, Output, Sandbox, Test, tests};

const PODMAN: Need = Need::Program("podman");

/// The program that gives ranges of ids to an ordinary user.
const NEWUIDMAP: Need = Need::Program("newuidmap");

pub const TESTS: &[Test] = tests![
    output_and_exit_statuses [PODMAN],
    life [PODMAN],
    life_with_cgroup2_alone [PODMAN, HYBRID],
    created_and_started [PODMAN],
    pause [PODMAN],
    without_cgroups [PODMAN],
    file_systems [PODMAN],
    user_and_capabilities [PODMAN],
    terminals [PODMAN],
    life_as_a_user[PODMAN, NEWUIDMAP],
    output_and_exit_statuses_as_a_user[PODMAN, NEWUIDMAP],
    volumes_and_ids_as_a_user[PODMAN, NEWUIDMAP],
    terminals_as_a_user[PODMAN, NEWUIDMAP],
    buildah_runs[PODMAN, Need::Program("buildah")],
];

/// A host that also has other cgroup hierarchies than cgroup v2.
const HYBRID: Need = Need::Custom("cgroup v1 beside v2", || {
    if cgroup_mounts()
        .iter()
        .any(|(kind, path)| kind == "cgroup2" && path.ends_with("fs/cgroup"))
    {
        Err("the host has no cgroup v1".into())
    } else {
        Ok(())
    }
});

/// Podman in its own place, with the image.
struct Podman<'t> {
    t: &'t Sandbox,
    place: Place<'t>,
}

impl<'t> Podman<'t> {
    /// Podman as root.
    fn new(t: &'t Sandbox) -> Self {
        Self::ready(
            t,
            Place::new(t),
            "/var/lib/containers".as_ref(),
            "/run/containers".as_ref(),
        )
    }

    /// Podman as an ordinary user.
    fn of_user(t: &'t Sandbox) -> Self {
        let place = Place::new(t).of_user();
        let (storage, run) = (
            place.home.join("storage"),
            place.user.clone().expect("a user"),
        );
        Self::ready(t, place, &storage, &run.join("containers"))
    }

    /// Writes the configuration and loads the image. `storage` is the directory of images and
    /// containers, `run` that of their mounts.
    fn ready(t: &'t Sandbox, place: Place<'t>, storage: &Path, run: &Path) -> Self {
        let config = config(t, &place);
        fs::write(t.path("containers.conf"), config).expect("containers.conf");
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {storage:?}\nrunroot = {run:?}\n"
        );
        fs::write(t.path("storage.conf"), storage).expect("storage.conf");
        let podman = Self { t, place };
        let image = podman.place.image.to_string_lossy().into_owned();
        accepted(t, podman.run(&["load", "-q", "-i", &image]));
        podman
    }

    /// A call of an engine's program, as the user of the place.
    fn call(&self, program: &str) -> Call {
        let call = self.place.call(program);
        let call = call.env("CONTAINERS_CONF", self.t.path("containers.conf"));
        call.env("CONTAINERS_STORAGE_CONF", self.t.path("storage.conf"))
    }

    fn run(&self, words: &[&str]) -> Output {
        self.call("podman").args(words).run()
    }

    /// A verb that creates a container, in a cgroup of the case if root; an ordinary user cannot
    /// choose one.
    fn flags(&self, verb: &str) -> Vec<String> {
        let mut words = vec![verb.to_owned()];
        if self.place.user.is_none() {
            words.push(format!("--cgroup-parent=/{}", self.t.id));
        }
        words
    }

    /// `podman run --rm FLAGS IMAGE sh -c SCRIPT`.
    fn shell(&self, flags: &[&str], script: &str) -> Output {
        let call = self.call("podman").args(self.flags("run")).arg("--rm");
        call.args(flags).args([IMAGE, "sh", "-c", script]).run()
    }

    /// `podman run -d FLAGS --name NAME IMAGE sh -c SCRIPT`.
    fn detached(&self, name: &str, flags: &[&str], script: &str) {
        let call = self
            .call("podman")
            .args(self.flags("run"))
            .args(["-d", "--name", name]);
        call.args(flags)
            .args([IMAGE, "sh", "-c", script])
            .run()
            .ok();
        self.is(name, "running");
    }

    /// Asserts a container's state, as `podman inspect` reports it.
    #[track_caller]
    fn is(&self, name: &str, state: &str) {
        self.run(&["inspect", "-f", "{{.State.Status}}", name])
            .ok()
            .prints(state);
    }

    /// Runs a shell on a terminal, and asserts that it executes what is typed.
    fn on_terminal(&self, words: &[&str]) {
        let call = self.call("podman").args(words);
        type_into_a_shell(self.t, call.args(["sh", "-c", TERMINAL_SCRIPT]));
    }

    /// Asserts that the case has removed its containers and that nothing of them is left.
    fn end(self) {
        self.run(&["ps", "-aq"]).ok().prints("");
        if self.place.user.is_some() {
            // Ends the process that holds the user namespace.
            self.run(&["system", "migrate"]).ok();
        }
        self.place.nothing_is_left(&["conmon"]);
    }

    /// The life cycle of a container in the background.
    fn whole_life(&self, flags: &[&str]) {
        let name = "life";
        self.detached(
            name,
            flags,
            "echo begun; trap 'exit 5' TERM; while :; do sleep 0.05; done",
        );
        self.t.eventually("the log has the output", || {
            self.run(&["logs", name]).ok().stdout == "begun\n"
        });
        self.run(&["ps", "--format", "{{.Names}}"])
            .ok()
            .prints(name);
        self.run(&["top", name, "comm"]).ok();
        self.run(&["exec", name, "cat", "/proc/1/comm"])
            .ok()
            .prints("sh");
        self.run(&["exec", name, "sh", "-c", "exit 9"]).exits(9);
        self.run(&["exec", name, "/nowhere"]).exits(127);
        let script = "id -u; pwd; echo $WORD";
        let words = [
            "exec",
            "-u",
            "1000:1000",
            "-w",
            "/tmp",
            "-e",
            "WORD=x",
            name,
            "sh",
            "-c",
            script,
        ];
        self.run(&words).ok().prints("1000\n/tmp\nx");
        self.run(&["stop", "-t", "60", name]).ok();
        self.is(name, "exited");
        self.run(&["wait", name]).ok().prints("5");
        self.run(&["start", name]).ok();
        self.is(name, "running");
        self.run(&["kill", name]).ok();
        self.run(&["wait", name]).ok().prints("137");
        self.run(&["rm", name]).ok();
    }
}

/// containers.conf: the runtime, and limits that every host supports.
fn config(t: &Sandbox, place: &Place) -> String {
    let (name, runtime, home) = (&place.runtime, &t.runtime, &place.home);
    // runc does not support the options that Podman passes to a runtime with `nocgroup`.
    let nocgroup = if name == "runc" {
        ""
    } else {
        &format!("{name:?}")
    };
    format!(
        r#"
        [containers]
        cgroupns = "private"
        default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
        env = ["PATH=/bin", "RUNTIME_TEST={id}"]
        netns = "none"
        pids_limit = 0
        [engine]
        cgroup_manager = "cgroupfs"
        events_logger = "none"
        runtime = "{name}"
        runtime_supports_json = ["{name}"]
        runtime_supports_nocgroup = [{nocgroup}]
        [engine.runtimes]
        {name} = [{runtime:?}]
        [network]
        network_config_dir = {home:?}
        "#,
        id = t.id
    )
}

fn output_and_exit_statuses(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.exit_statuses();
    podman.end();
}

impl Podman<'_> {
    fn exit_statuses(&self) {
        let output = self.shell(&[], "echo out; echo err >&2; exit 7").exits(7);
        let streams = (output.stdout.as_str(), output.stderr.as_str());
        assert_eq!(streams, ("out\n", "err\n"), "{output}");
        let run = |words: &[&str]| {
            self.call("podman")
                .args(self.flags("run"))
                .arg("--rm")
                .args(words)
        };
        run(&[IMAGE, "/nowhere"]).run().exits(127);
        run(&[IMAGE, "/etc/passwd"]).run().exits(126);
        run(&["-i", IMAGE, "cat"])
            .stdin("typed")
            .run()
            .ok()
            .prints("typed");
    }
}

fn life(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.whole_life(&[]);
    podman.end();
}

fn life_with_cgroup2_alone(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.place.unify_cgroups();
    podman.whole_life(&[]);
    podman.detached("paused", &[], "sleep 1000");
    podman.run(&["pause", "paused"]).ok();
    podman.is("paused", "paused");
    podman.run(&["unpause", "paused"]).ok();
    podman.run(&["rm", "-f", "-t", "0", "paused"]).ok();
    podman.end();
}

fn created_and_started(t: &Sandbox) {
    let podman = Podman::new(t);
    let script = "echo attached; exit 3";
    let create = podman
        .call("podman")
        .args(podman.flags("create"))
        .args(["--name", "one"]);
    accepted(t, create.args([IMAGE, "sh", "-c", script]).run());
    podman.is("one", "created");
    podman.run(&["init", "one"]).ok();
    podman.is("one", "initialized");
    podman
        .run(&["start", "-a", "one"])
        .exits(3)
        .prints("attached");
    let inspected = podman.run(&["inspect", "one"]).ok().json();
    assert_eq!(inspected[0]["State"]["ExitCode"], 3, "{inspected}");
    assert_eq!(
        inspected[0]["OCIRuntime"],
        podman.place.runtime.as_str(),
        "{inspected}"
    );
    podman.run(&["rm", "one"]).ok();
    podman.end();
}

fn pause(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.detached("paused", &[], "while :; do date +%s%N >/tmp/now; done");
    podman.run(&["pause", "paused"]).ok();
    podman.is("paused", "paused");
    podman.run(&["exec", "paused", "true"]).fails();
    podman.run(&["unpause", "paused"]).ok();
    podman.is("paused", "running");
    podman.run(&["exec", "paused", "true"]).ok();
    podman.run(&["pause", "paused"]).ok();
    podman.run(&["rm", "-f", "-t", "0", "paused"]).ok();
    podman.end();
}

fn without_cgroups(t: &Sandbox) {
    let podman = Podman::new(t);
    let create = [
        "create",
        "--cgroups=disabled",
        "--name",
        "probe",
        IMAGE,
        "true",
    ];
    accepted(t, podman.run(&create));
    podman.run(&["rm", "probe"]).ok();
    let run = |words: &[&str]| {
        podman
            .call("podman")
            .args(["run", "--cgroups=disabled"])
            .args(words)
            .run()
    };
    run(&["--rm", IMAGE, "sh", "-c", "exit 7"]).exits(7);
    run(&["-d", "--name", "free", IMAGE, "sleep", "1000"]).ok();
    // Inside the container, a cgroup namespace may hide the cgroup.
    let pid = podman.run(&["inspect", "-f", "{{.State.Pid}}", "free"]);
    let cgroups = |process: &str| {
        let file = format!("/proc/{process}/cgroup");
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    assert_eq!(cgroups(pid.ok().stdout.trim()), cgroups("self"));
    podman.run(&["kill", "free"]).ok();
    podman.run(&["wait", "free"]).ok().prints("137");
    podman.run(&["rm", "free"]).ok();
    podman.end();
}

fn file_systems(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.volumes();
    podman.end();
}

impl Podman<'_> {
    fn volumes(&self) {
        let shared = self.place.home.join("shared");
        let make = self
            .call("sh")
            .args(["-c", "mkdir shared && echo host >shared/file"]);
        make.run().ok();
        let volume = |options: &str| format!("{}:/v{options}", shared.display());
        let script = "cat /v/file; touch /v/x 2>/dev/null || echo refused";
        self.shell(&["-v", &volume(":ro")], script)
            .ok()
            .prints("host\nrefused");
        self.shell(&["-v", &volume("")], "touch /v/made").ok();
        assert!(shared.join("made").exists());
        let script =
            "touch /x 2>/dev/null || echo refused; touch /scratch/x && stat -f -c %T /scratch";
        let flags = ["--read-only", "--tmpfs", "/scratch:size=1m,mode=1777"];
        self.shell(&flags, script).ok().prints("refused\ntmpfs");
    }
}

fn user_and_capabilities(t: &Sandbox) {
    let podman = Podman::new(t);
    let script = "id -u; id -g; grep CapEff /proc/self/status";
    let flags = ["--user", "1000:1000"];
    podman
        .shell(&flags, script)
        .ok()
        .prints("1000\n1000\nCapEff:\t0000000000000000");
    let flags = ["--cap-drop", "all", "--cap-add", "net_admin"];
    podman
        .shell(&flags, "grep CapEff /proc/self/status")
        .ok()
        .prints("CapEff:\t0000000000001000");
    let flags = ["-h", "box", "-w", "/tmp", "-e", "WORD=x"];
    podman
        .shell(&flags, "hostname; pwd; echo $WORD")
        .ok()
        .prints("box\n/tmp\nx");
    podman
        .shell(&[], "grep Seccomp: /proc/self/status")
        .ok()
        .prints("Seccomp:\t2");
    podman.end();
}

fn terminals(t: &Sandbox) {
    let podman = Podman::new(t);
    podman.terminals();
    podman.end();
}

impl Podman<'_> {
    fn terminals(&self) {
        let run = self.flags("run");
        let run = run.iter().map(String::as_str).chain(["--rm", "-it", IMAGE]);
        self.on_terminal(&run.collect::<Vec<_>>());
        self.detached("term", &[], "sleep 1000");
        self.on_terminal(&["exec", "-it", "term"]);
        self.run(&["rm", "-f", "-t", "0", "term"]).ok();
    }
}

fn buildah_runs(t: &Sandbox) {
    let podman = Podman::new(t);
    let buildah = |words: &[&str]| podman.call("buildah").args(words).run();
    let from = accepted(t, buildah(&["from", "--pull-never", IMAGE]));
    let name = from.stdout.trim();
    let runtime = t.runtime.to_string_lossy();
    let run = [
        "run",
        "--runtime",
        &runtime,
        "--network",
        "none",
        name,
        "--",
    ];
    buildah(&[&run[..], &["echo", "hello"]].concat())
        .ok()
        .prints("hello");
    // Long enough for Buildah to ask for the state in between.
    let script = ["sh", "-c", "sleep 1; exit 6"];
    buildah(&[&run[..], &script].concat()).exits(6);
    buildah(&["rm", name]).ok();
    podman.end();
}

fn life_as_a_user(t: &Sandbox) {
    let podman = Podman::of_user(t);
    podman.whole_life(&[]);
    podman.end();
}

fn output_and_exit_statuses_as_a_user(t: &Sandbox) {
    let podman = Podman::of_user(t);
    podman.exit_statuses();
    podman.end();
}

fn volumes_and_ids_as_a_user(t: &Sandbox) {
    let podman = Podman::of_user(t);
    podman.volumes();
    let map = format!("0 {} 1 1 200000 65536", USER.0);
    podman
        .shell(&[], "echo $(cat /proc/self/uid_map)")
        .ok()
        .prints(&map);
    let owner = "touch /v/own && stat -c %u /v/own";
    let volume = format!("{}:/v", podman.place.home.join("shared").display());
    podman.shell(&["-v", &volume], owner).ok().prints("0");
    let made = fs::metadata(podman.place.home.join("shared/own")).expect("the file");
    assert_eq!(made.uid(), USER.0);
    podman.end();
}

fn terminals_as_a_user(t: &Sandbox) {
    let podman = Podman::of_user(t);
    podman.terminals();
    podman.end();
}
