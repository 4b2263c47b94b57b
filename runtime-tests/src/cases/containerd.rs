//! containerd with the runtime, through its shim, on the unmodified host. `scripts/engines` runs
//! more checks of a newer containerd in a VM.

use std::fs;

use nix::sys::signal::Signal;

use crate::engine::{IMAGE, Place, TERMINAL_SCRIPT, accepted, type_into_a_shell};
use crate::{Call, Need, Output, Running, Sandbox, Test, tests};

const CONTAINERD: Need = Need::Program("containerd");
const CTR: Need = Need::Program("ctr");

pub const TESTS: &[Test] = tests![
    output_and_exit_statuses[CONTAINERD, CTR],
    life[CONTAINERD, CTR],
    paused_task_is_killed[CONTAINERD, CTR],
    two_tasks_with_their_own_processes[CONTAINERD, CTR],
    options[CONTAINERD, CTR],
    terminals[CONTAINERD, CTR],
];

/// ctr's error about a missing program. Runtimes differ in the capital letter.
const NOT_FOUND: &str = "o such file or directory";

/// Without the plug-ins that need hardware, a network or Kubernetes.
const CONFIG: &str = r#"
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
"#;

/// A daemon in its own place, with the image.
struct Containerd<'t> {
    t: &'t Sandbox,
    place: Place<'t>,
    daemon: Running,
}

impl<'t> Containerd<'t> {
    fn new(t: &'t Sandbox) -> Self {
        let place = Place::new(t);
        let config = t.path("containerd.toml");
        fs::write(&config, CONFIG).expect("containerd.toml");
        let daemon = place.call("containerd").arg("-c").arg(config).spawn();
        let mut this = Self { t, place, daemon };
        t.eventually("containerd answers", || {
            let answers = this.ctr("version").status.success();
            answers || !this.daemon.is_running()
        });
        if !this.daemon.is_running() {
            accepted(t, this.daemon.finish());
            panic!("containerd ended by itself");
        }
        let image = this.place.image.to_string_lossy().into_owned();
        accepted(t, this.call(&["image", "import", &image]).run());
        this
    }

    /// A call of ctr. containerd's namespace, and so the parent of the cgroups, belongs to the
    /// case.
    fn call(&self, words: &[&str]) -> Call {
        let call = self
            .place
            .call("ctr")
            .env("CONTAINERD_NAMESPACE", &self.t.id);
        call.args(words)
    }

    /// Runs ctr with arguments that contain no spaces.
    fn ctr(&self, line: &str) -> Output {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
            .run()
    }

    /// `ctr run FLAGS IMAGE NAME ARGS…`, without the CPU share that ctr sets by default, for which
    /// the host may lack the controller.
    fn run(&self, flags: &[&str], name: &str, args: &[&str]) -> Call {
        let call = self.call(&["run", "--cpu-shares", "0", "--runc-binary"]);
        let environment = format!("RUNTIME_TEST={}", self.t.id);
        let call = call.arg(&self.t.runtime).args(["--env", &environment]);
        call.args(flags).args([IMAGE, name]).args(args)
    }

    /// Runs a script and returns its output. The script ends only after its output has arrived: ctr
    /// loses the output of a program that ends before ctr has opened its end of the pipe.
    #[track_caller]
    fn shell(&self, flags: &[&str], script: &str) -> Output {
        let script = format!(
            "trap 'exit 7' TERM; {script}\necho end; echo end >&2; while :; do sleep 0.05; done"
        );
        let flags = [&["--rm"], flags].concat();
        let running = self.run(&flags, "one", &["sh", "-c", &script]).spawn();
        let shows_end = |path| fs::read_to_string(path).is_ok_and(|text| text.ends_with("end\n"));
        self.t.eventually("ctr shows both streams", || {
            shows_end(&running.stdout) && shows_end(&running.stderr)
        });
        self.ctr("task kill one").ok();
        running.finish().exits(7)
    }

    /// Starts a container that sleeps.
    fn start(&self, name: &str) {
        self.run(&["-d"], name, &["sleep", "1000"]).run().ok();
        self.is(name, "RUNNING");
    }

    /// The pid and the status of a task, as `ctr task ls` prints them.
    fn task(&self, name: &str) -> (String, String) {
        let list = self.ctr("task ls").ok();
        let lines = list
            .stdout
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = lines.into_iter().find(|words| words.first() == Some(&name));
        let words = found.unwrap_or_else(|| panic!("no task {name}\n{list}"));
        (words[1].to_owned(), words[2].to_owned())
    }

    #[track_caller]
    fn is(&self, name: &str, status: &str) {
        assert_eq!(self.task(name).1, status, "the status of {name}");
    }

    /// Kills every process of a task and deletes it; ctr returns its exit status.
    #[track_caller]
    fn kill_and_remove(&self, name: &str) {
        self.ctr(&format!("task kill --all --signal SIGKILL {name}"))
            .ok();
        self.t
            .eventually("the task stops", || self.task(name).1 == "STOPPED");
        let output = self.ctr(&format!("task rm {name}")).ok();
        assert!(output.stderr.contains("exit code 137"), "{output}");
        self.ctr(&format!("container rm {name}")).ok();
    }

    /// Asserts that the case has removed its containers, and stops the daemon.
    fn end(self) {
        self.ctr("task ls -q").ok().prints("");
        self.ctr("container ls -q").ok().prints("");
        self.daemon.signal(Signal::SIGTERM);
        self.daemon.finish().ok();
        self.place.nothing_is_left(&[]);
    }
}

fn output_and_exit_statuses(t: &Sandbox) {
    let containerd = Containerd::new(t);
    let output = containerd.shell(&[], "echo out; echo err >&2");
    assert_eq!(output.stdout, "out\nend\n", "{output}");
    assert_eq!(output.stderr, "err\nend\n", "{output}");
    let missing = containerd.run(&["--rm"], "missing", &["/nowhere"]).run();
    missing.fails_with(NOT_FOUND);
    containerd.end();
}

fn life(t: &Sandbox) {
    let containerd = Containerd::new(t);
    containerd.start("life");
    // Checks an exit status, because ctr loses the output of such a short program.
    let inside = "test $(cat /proc/1/comm) = sleep && exit 9";
    let exec = [
        "task",
        "exec",
        "--exec-id",
        "one",
        "life",
        "sh",
        "-c",
        inside,
    ];
    containerd.call(&exec).run().exits(9);
    let missing = containerd.ctr("task exec --exec-id two life /nowhere");
    missing.fails_with(NOT_FOUND);
    containerd.ctr("task pause life").ok();
    containerd.is("life", "PAUSED");
    containerd.ctr("task resume life").ok();
    containerd.is("life", "RUNNING");
    let processes = containerd.ctr("task ps life").ok();
    let (pid, _) = containerd.task("life");
    assert!(processes.stdout.contains(&pid), "{processes}");
    containerd.kill_and_remove("life");
    containerd.end();
}

fn paused_task_is_killed(t: &Sandbox) {
    let containerd = Containerd::new(t);
    containerd.start("paused");
    containerd.ctr("task pause paused").ok();
    containerd.kill_and_remove("paused");
    containerd.end();
}

fn two_tasks_with_their_own_processes(t: &Sandbox) {
    let containerd = Containerd::new(t);
    containerd.start("a");
    containerd.start("b");
    let exec = containerd.ctr("task exec -d --exec-id second a sleep 2000");
    exec.ok();
    // One line per process, below a heading.
    let list = containerd.ctr("task ps a").ok();
    assert_eq!(list.stdout.lines().count(), 3, "{list}");
    containerd.kill_and_remove("a");
    containerd.is("b", "RUNNING");
    containerd.kill_and_remove("b");
    containerd.end();
}

fn options(t: &Sandbox) {
    let containerd = Containerd::new(t);
    let file = t.path("shared");
    fs::write(&file, "host\n").expect("file");
    let source = file.display();
    let mount = format!("--mount=type=bind,src={source},dst=/etc/shared,options=rbind:ro");
    let flags = [&mount, "--read-only", "--cwd=/tmp", "--env=WORD=x"];
    let script = "cat /etc/shared; echo y 2>/dev/null >/etc/shared || echo refused
        touch /x 2>/dev/null || echo refused; pwd; echo $WORD";
    let output = containerd.shell(&flags, script);
    output.prints("host\nrefused\nrefused\n/tmp\nx\nend");
    let script = "chown 1 /bin 2>/dev/null || echo refused
        grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status";
    let output = containerd.shell(&["--cap-drop=CAP_CHOWN", "--seccomp"], script);
    output.prints("refused\nNoNewPrivs:\t1\nSeccomp:\t2\nend");
    let script = "readlink /proc/self/ns/net";
    let own = fs::read_link("/proc/self/ns/net").expect("namespace");
    let output = containerd.shell(&["--net-host"], script);
    output.prints(&format!("{}\nend", own.display()));
    containerd.end();
}

fn terminals(t: &Sandbox) {
    let containerd = Containerd::new(t);
    let script = ["sh", "-c", TERMINAL_SCRIPT];
    type_into_a_shell(t, containerd.run(&["--rm", "-t"], "term", &script));
    containerd.start("sleeper");
    let exec = ["task", "exec", "-t", "--exec-id", "t", "sleeper"];
    type_into_a_shell(t, containerd.call(&[&exec[..], &script].concat()));
    containerd.kill_and_remove("sleeper");
    containerd.end();
}
