//! What a case is given: an id, a directory, a runtime root, and makers of bundles and calls.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::bundle::Bundle;
use crate::call::{Call, patience};
use crate::container::{self, Container};

/// The exit status by which a case's process says that it skipped itself.
pub(crate) const SKIPPED: i32 = 77;

/// The file in the sandbox that holds the reason.
pub(crate) const SKIP_REASON: &str = "skip-reason";

/// The world of one case.
pub struct Sandbox {
    /// A word unique to the case; part of its directory, container ids and cgroup names.
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

    /// Makes its directories.
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

    /// A container, not yet created, of an existing bundle.
    pub fn container(&self, bundle: &Path) -> Container<'_> {
        let number = self.containers.replace(self.containers.get() + 1);
        Container::new(self, format!("{}-{number}", self.id), bundle)
    }

    /// A call of the runtime with this case's `--root`; the verb and its flags are to be added.
    pub fn runtime(&self) -> Call {
        let flags = std::env::var("RUNTIME_FLAGS").unwrap_or_default();
        self.bare_runtime()
            .arg("--root")
            .arg(&self.root)
            .args(flags.split_whitespace())
    }

    /// A call of the runtime without any flag.
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

    /// Ends the case as skipped. For what only the case itself can find out;
    /// a [`Need`](crate::Need) is better where there is one.
    pub fn skip(&self, reason: &str) -> ! {
        self.delete_leftovers();
        fs::write(self.dir.join(SKIP_REASON), reason).expect("write the reason");
        std::process::exit(SKIPPED);
    }

    /// Remembers a container that the case may leave to the harness to delete.
    pub(crate) fn remember(&self, id: &str) {
        self.to_delete.borrow_mut().push(id.to_owned());
    }

    /// The case has deleted it: from here on nothing of it may be left.
    pub(crate) fn forget(&self, id: &str) {
        self.to_delete.borrow_mut().retain(|other| other != id);
    }

    /// Deletes, by force, the containers that the case created and did not delete, the last one first:
    /// it may be in namespaces of those before.
    #[track_caller]
    pub(crate) fn delete_leftovers(&self) {
        for id in self.to_delete.take().iter().rev() {
            self.runtime().args(["delete", "--force", id]).run().ok();
            // The first process of a pid namespace ends after all others have been waited for.
            container::reap_ended();
        }
    }
}

/// The number of a signal by its name, as `TERM`.
pub fn signal_number(name: &str) -> i32 {
    format!("SIG{name}")
        .parse::<Signal>()
        .expect("a signal's name") as i32
}
