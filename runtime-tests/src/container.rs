//! A container: one method for each verb of the runtime.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::call::{Call, Output, Running};
use crate::sandbox::Sandbox;

/// A container's id, bundle and output. [`Container::create`] or [`Container::run`] creates its
/// process. The harness deletes by force any container that a case leaves.
pub struct Container<'t> {
    sandbox: &'t Sandbox,
    /// The id given to the runtime.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    output: RefCell<Option<(PathBuf, PathBuf)>>,
}

impl<'t> Container<'t> {
    pub(crate) fn new(sandbox: &'t Sandbox, id: String, bundle: &Path) -> Self {
        Self {
            sandbox,
            id,
            bundle: bundle.to_owned(),
            output: RefCell::default(),
        }
    }

    /// Another container of the same bundle, which is not created yet.
    pub fn sibling(&self) -> Self {
        self.sandbox.container(&self.bundle)
    }

    /// `create`.
    #[track_caller]
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// `create` with flags.
    #[track_caller]
    pub fn create_with(&self, flags: &[&str]) -> Output {
        let call = self.sandbox.runtime().arg("create").args(flags);
        self.launch(call).finish()
    }

    /// `run` in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// `run` with flags such as `--detach`.
    #[track_caller]
    pub fn run_with(&self, flags: &[&str]) -> Output {
        self.spawn_run(flags).finish()
    }

    /// `run`, without waiting for it.
    #[track_caller]
    pub fn spawn_run(&self, flags: &[&str]) -> Running {
        let call = self.sandbox.runtime().arg("run").args(flags);
        self.launch(call)
    }

    /// Completes a call of `create` or `run` with bundle and id, and starts it. For calls with
    /// global flags, a prefix or their own environment.
    #[track_caller]
    pub fn launch(&self, call: Call) -> Running {
        self.sandbox.forget(&self.id);
        self.sandbox.remember(&self.id);
        let running = call.arg("--bundle").arg(&self.bundle).arg(&self.id).spawn();
        *self.output.borrow_mut() = Some((running.stdout.clone(), running.stderr.clone()));
        running
    }

    /// The arguments of `VERB ID ARGS…`, for a case that runs them itself.
    pub fn command_line(&self, verb: &str, args: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.sandbox.runtime.clone().into(), "--root".into()];
        words.extend([self.sandbox.root.clone().into(), verb.into()]);
        if matches!(verb, "create" | "run") {
            self.sandbox.remember(&self.id);
            words.extend(["--bundle".into(), self.bundle.clone().into()]);
        } else if verb == "delete" {
            self.sandbox.forget(&self.id);
        }
        words.push(self.id.clone().into());
        words.extend(args.iter().map(OsString::from));
        words
    }

    /// `VERB ID`: start, pause, resume, state and other verbs that take only the id.
    #[track_caller]
    pub fn verb(&self, verb: &str) -> Output {
        self.sandbox.runtime().args([verb, &self.id]).run()
    }

    /// `start`.
    #[track_caller]
    pub fn start(&self) -> Output {
        self.verb("start")
    }

    /// `create` and `start`, both of which must succeed.
    #[track_caller]
    pub fn launch_ok(&self) {
        self.create().ok();
        self.start().ok();
    }

    /// `kill ID SIGNAL`.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.sandbox
            .runtime()
            .args(["kill", &self.id, signal])
            .run()
    }

    /// Kills init and reaps it.
    #[track_caller]
    pub fn stop(&self) {
        let pid = self.pid();
        self.kill("KILL").ok();
        reap(pid);
    }

    /// `delete`. If it succeeds, the harness checks that nothing is left behind.
    #[track_caller]
    pub fn delete(&self) -> Output {
        let output = self.verb("delete");
        if output.status.success() {
            self.sandbox.forget(&self.id);
        }
        output
    }

    /// `delete --force`.
    #[track_caller]
    pub fn delete_force(&self) -> Output {
        let output = self
            .sandbox
            .runtime()
            .args(["delete", "--force", &self.id])
            .run();
        if output.status.success() {
            self.sandbox.forget(&self.id);
        }
        output
    }

    /// `exec ID ARGS…`.
    #[track_caller]
    pub fn exec(&self, args: &[&str]) -> Output {
        self.exec_with(&[], args)
    }

    /// `exec FLAGS… ID ARGS…`.
    #[track_caller]
    pub fn exec_with(&self, flags: &[&str], args: &[&str]) -> Output {
        self.sandbox
            .runtime()
            .arg("exec")
            .args(flags)
            .arg(&self.id)
            .args(args)
            .run()
    }

    /// `exec --process` with a file that has this content.
    #[track_caller]
    pub fn exec_process(&self, process: &Value) -> Output {
        let file = self.sandbox.path("process.json");
        fs::write(&file, process.to_string()).expect("process.json");
        let call = self.sandbox.runtime().args(["exec", "--process"]);
        call.arg(&file).arg(&self.id).run()
    }

    /// `state`, which must succeed.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state").ok().json()
    }

    /// The status that `state` reports.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"]
            .as_str()
            .expect("status is a string")
            .to_owned()
    }

    /// The process id that `state` reports.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("pid is a number") as i32
    }

    /// The directory of init's cgroup v2. The container must have one.
    #[track_caller]
    pub fn cgroup(&self) -> PathBuf {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).expect("cgroup");
        let path = text
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .expect("a v2 line");
        crate::host::cgroup2_mount().expect("cgroup v2").join(path)
    }

    /// The content of a file in that cgroup, such as `memory.max`, without the newline.
    #[track_caller]
    pub fn cgroup_file(&self, name: &str) -> String {
        let path = self.cgroup().join(name);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Waits until `state` reports this status.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        let what = format!("{} is {status}", self.id);
        self.sandbox.eventually(&what, || self.status() == status);
    }

    /// Waits until init of a created or detached container ends. Returns its exit status, 128+n for
    /// a signal. The case's process is a subreaper, so init is its child, as it is an engine's.
    #[track_caller]
    pub fn wait_exit(&self) -> i32 {
        reap(self.pid())
    }

    /// The stdout so far of the container and of the runtime call that launched it.
    pub fn stdout(&self) -> String {
        self.read_output(|(stdout, _)| stdout)
    }

    /// The stderr so far of both.
    pub fn stderr(&self) -> String {
        self.read_output(|(_, stderr)| stderr)
    }

    /// Waits until the container has written `text` to stdout.
    #[track_caller]
    pub fn wait_stdout(&self, text: &str) {
        let what = format!("the container prints {text:?}");
        self.sandbox
            .eventually(&what, || self.stdout().contains(text));
    }

    fn read_output(&self, which: fn(&(PathBuf, PathBuf)) -> &PathBuf) -> String {
        let output = self.output.borrow();
        let path = which(output.as_ref().expect("the container was launched"));
        fs::read_to_string(path).expect("output of the container")
    }
}

/// Reaps the children that have ended.
pub fn reap_ended() {
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|it| it != WaitStatus::StillAlive) {}
}

/// Waits until a child, or a process that became one, ends. Returns its exit status or 128+signal.
#[track_caller]
pub fn reap(pid: i32) -> i32 {
    let deadline = std::time::Instant::now() + crate::call::patience();
    loop {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("wait for process {pid}: {error}"),
        }
        assert!(
            std::time::Instant::now() < deadline,
            "process {pid} does not end"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
