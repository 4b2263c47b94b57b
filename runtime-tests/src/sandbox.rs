//! The environment of a case: an id, a directory, a runtime root, and constructors of bundles and
//! calls.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::bundle::Bundle;
use crate::call::{Call, patience};
use crate::container::{self, Container};

/// The exit status of a case's process that skips itself.
pub(crate) const SKIPPED: i32 = 77;

/// The file in the sandbox that contains the reason.
pub(crate) const SKIP_REASON: &str = "skip-reason";

/// The environment of one case.
pub struct Sandbox {
    /// A string unique to the case. It is part of the case's directory, container ids and cgroup
    /// names.
    pub id: String,
    /// The case's own directory. Everything in it is removed afterwards.
    pub dir: PathBuf,
    /// The runtime's `--root`; must be empty at the end of the case.
    pub root: PathBuf,
    /// The binary under test.
    pub runtime: PathBuf,
    bundles: Cell<usize>,
    containers: Cell<usize>,
    to_delete: RefCell<Vec<String>>,
}

impl Sandbox {
    /// The sandbox `id` below `base`, where the template of [`crate::bundle::make_template`] is.
    pub fn new(base: &Path, id: &str, runtime: &Path) -> Self {
        let dir = base.join(id);
        Self {
            id: id.to_owned(),
            root: dir.join("root"),
            runtime: runtime.to_owned(),
            bundles: Cell::new(0),
            containers: Cell::new(0),
            to_delete: RefCell::default(),
            dir,
        }
    }

    /// Creates its directories.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    pub fn make(&self) -> std::io::Result<()> {
        fs::create_dir_all(self.dir.join("calls"))?;
        fs::create_dir_all(&self.root)
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.dir
            .parent()
            .expect("the base directory")
            .join("template")
    }

    /// A new bundle with the default config.
    #[track_caller]
    pub fn bundle(&self) -> Bundle<'_> {
        let number = self.bundles.replace(self.bundles.get() + 1);
        Bundle::new(self, self.dir.join(format!("bundle{number}")))
    }

    /// A container of an existing bundle, which is not created yet.
    pub fn container(&self, bundle: &Path) -> Container<'_> {
        let number = self.containers.replace(self.containers.get() + 1);
        Container::new(self, format!("{}-{number}", self.id), bundle)
    }

    /// A call of the runtime with this case's `--root`, to which the verb and its flags are added.
    pub fn runtime(&self) -> Call {
        let flags = std::env::var("RUNTIME_FLAGS").unwrap_or_default();
        self.bare_runtime()
            .arg("--root")
            .arg(&self.root)
            .args(flags.split_whitespace())
    }

    /// A call of the runtime without flags.
    pub fn bare_runtime(&self) -> Call {
        self.call(&self.runtime)
    }

    /// A call of another program.
    pub fn call(&self, program: impl AsRef<std::ffi::OsStr>) -> Call {
        Call::new(program, &self.dir.join("calls"))
    }

    /// The path of a file in the case's directory, for pid files, sockets and logs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Waits until `condition` holds; fails the case with `what` if it never does.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + patience();
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "not within {:?}: {what}",
                patience()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the process that [`Call::stopping`] stops.
    #[track_caller]
    pub fn stopped(&self) -> nix::unistd::Pid {
        let trace = self.path("calls/trace");
        let mut found = None;
        self.eventually("a process is stopped", || {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.contains("stopped by SIGSTOP"));
            found = line.and_then(|line| line.split(' ').next()?.parse().ok());
            found.is_some()
        });
        fs::remove_file(trace).expect("the trace");
        nix::unistd::Pid::from_raw(found.expect("the process"))
    }

    /// Ends the case as skipped, for a reason that only the case itself can find out. Otherwise use
    /// a [`Need`](crate::Need).
    pub fn skip(&self, reason: &str) -> ! {
        self.delete_leftovers();
        fs::write(self.dir.join(SKIP_REASON), reason).expect("write the reason");
        std::process::exit(SKIPPED);
    }

    /// Records a container that the harness deletes if the case does not.
    pub(crate) fn remember(&self, id: &str) {
        self.to_delete.borrow_mut().push(id.to_owned());
    }

    /// Records that the case has deleted the container, so nothing of it may be left.
    pub(crate) fn forget(&self, id: &str) {
        self.to_delete.borrow_mut().retain(|other| other != id);
    }

    /// Deletes by force the containers that the case has created and not deleted, the last one
    /// first, because it may be in namespaces of earlier ones.
    #[track_caller]
    pub(crate) fn delete_leftovers(&self) {
        for id in self.to_delete.take().iter().rev() {
            self.end_processes(id);
            self.runtime().args(["delete", "--force", id]).run().ok();
            container::reap_ended();
        }
    }

    /// Kills the processes of a container, if it exists, and waits for those that are children of
    /// this process, as those of `exec --detach` are: the first process of a pid namespace ends only
    /// after all others have been waited for.
    #[track_caller]
    pub(crate) fn end_processes(&self, id: &str) {
        let killed = self.runtime().args(["kill", "--all", id, "KILL"]).run();
        if !killed.status.success() {
            return;
        }
        self.eventually("the container has stopped", || {
            container::reap_ended();
            let state = self.runtime().args(["state", id]).run();
            !state.status.success() || state.json()["status"] == "stopped"
        });
    }
}

/// The number of a signal from its name, such as `TERM`.
pub fn signal_number(name: &str) -> i32 {
    format!("SIG{name}")
        .parse::<Signal>()
        .expect("a signal's name") as i32
}
