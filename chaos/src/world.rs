//! The environment of a command: its own pid and mount namespace with an empty /tmp and /run.
//! Anything that is new there afterwards has been left behind, whatever its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, geteuid, getpid};
use runtime_tests::container::reap_ended;
use runtime_tests::sandbox::Sandbox;
use runtime_tests::{bundle, leaks, runner};

use crate::bundles::{Bundles, Shape};
use crate::figures::Figures;
use crate::options::Options;
use crate::random::Random;

/// The time that killed processes and their namespaces may need to disappear.
const GRACE: Duration = Duration::from_secs(5);

/// The directory for bundles and the output of calls.
pub const BASE: &str = "/tmp/chaos";

/// A worker's namespaces. The worker is the first process there, so orphans become its children.
pub struct World {
    /// Creates bundles, containers and calls of the runtime.
    pub sandbox: Sandbox,
    /// The number of this worker, starting at 0.
    pub worker: usize,
    jobs: usize,
    end: Option<Instant>,
    /// The mounts at the beginning.
    mounts: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl World {
    fn new(worker: usize, id: &str, runtime: &[u8], options: &Options) -> Result<Self, String> {
        let error = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|errno| error("make / private", &errno))?;
        for (fstype, target, data) in [
            ("proc", "/proc", none),
            ("tmpfs", "/tmp", Some("mode=1777")),
            ("tmpfs", "/run", Some("mode=755")),
        ] {
            // systemd's sockets are in /run.
            if target != "/run" || !options.systemd {
                mount(Some(fstype), target, Some(fstype), MsFlags::empty(), data)
                    .map_err(|errno| error(target, &errno))?;
            }
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        let base = Path::new(BASE);
        bundle::make_template(&base.join("template"))?;
        let binary = base.join("runtime");
        write_program(&binary, runtime).map_err(|io| error("copy the runtime", &io))?;
        let sandbox = Sandbox::new(base, id, &binary);
        sandbox.make().map_err(|io| error(BASE, &io))?;
        let mut world = Self {
            sandbox,
            worker,
            jobs: options.jobs,
            end: (!options.long).then(|| Instant::now() + Duration::from_secs(options.seconds)),
            mounts: leaks::all_mounts().into_iter().collect(),
            files: BTreeSet::new(),
        };
        world.files = world.stray_files().into_iter().collect();
        Ok(world)
    }

    /// The bundles of each selected shape.
    pub fn bundles(&self, options: &Options) -> Vec<Bundles> {
        let shapes: &[Shape] = if options.systemd {
            &[Shape::Systemd]
        } else {
            &[Shape::Plain, Shape::Userns]
        };
        shapes
            .iter()
            .map(|shape| Bundles::new(self, *shape))
            .collect()
    }

    /// This worker's share of the items, in a random order.
    pub fn share<T: Clone>(&self, items: &[T], random: &mut Random) -> Vec<T> {
        let mut items = items.to_vec();
        random.shuffle(&mut items);
        self.part(&items)
    }

    /// This worker's share of the items, in their order.
    pub fn part<T: Clone>(&self, items: &[T]) -> Vec<T> {
        let own = items.iter().skip(self.worker).step_by(self.jobs);
        own.cloned().collect()
    }

    /// Whether the time for a sample is over.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() > end)
    }

    /// Descriptions of what was left behind; empty if there is nothing. Exiting processes get some
    /// time.
    pub fn leftovers(&self) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        loop {
            let left = self.now_left();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reaps the processes of `exec` that have become children of this one, in the order in which
    /// they end: the first process of a pid namespace disappears only after all others have been
    /// reaped.
    pub fn reap_as_they_end(&self) {
        let own = getpid().as_raw();
        let children = processes()
            .into_iter()
            .filter(|(pid, _)| parent_and_name(*pid).is_some_and(|(parent, _)| parent == own));
        for (pid, _) in children {
            // The thread ends with the process, which runs no program of its own at this moment.
            std::thread::spawn(move || waitpid(Pid::from_raw(pid), None));
        }
    }

    /// Removes the output of the calls so far.
    pub fn forget_calls(&self) {
        let calls = self.sandbox.path("calls");
        fs::remove_dir_all(&calls)
            .and_then(|()| fs::create_dir(&calls))
            .expect("the directory of the calls");
    }

    /// Removes what was left behind, so that it is not found again: processes and their cgroups,
    /// mounts, and files in directories that should be empty.
    pub fn remove(&self) {
        let deadline = Instant::now() + GRACE;
        while !processes().is_empty() && Instant::now() < deadline {
            for (pid, _) in processes() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            reap_ended();
            std::thread::sleep(Duration::from_millis(1));
        }
        for path in leaks::cgroups(&self.sandbox.id) {
            let _ = fs::remove_dir(path);
        }
        let mounts = leaks::all_mounts();
        let new = mounts.iter().filter(|mount| !self.mounts.contains(*mount));
        for mount in new.rev() {
            let point = mount.split(' ').nth(1).unwrap_or_default();
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
        for path in self.stray_files() {
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }

    fn now_left(&self) -> Vec<String> {
        reap_ended();
        let mut left: Vec<String> = processes()
            .into_iter()
            .map(|(pid, name)| format!("process {pid} ({name})"))
            .collect();
        let mounts = leaks::all_mounts();
        let new = mounts.iter().filter(|mount| !self.mounts.contains(*mount));
        left.extend(new.map(|mount| format!("mount {mount}")));
        if mounts.len() < self.mounts.len() {
            left.push("a mount is missing".to_owned());
        }
        let cgroups = leaks::cgroups(&self.sandbox.id);
        left.extend(
            cgroups
                .iter()
                .map(|path| format!("cgroup {}", path.display())),
        );
        left.extend(
            self.stray_files()
                .iter()
                .map(|path| format!("file {}", path.display())),
        );
        left
    }

    /// The entries of directories that should be empty.
    fn stray_files(&self) -> Vec<PathBuf> {
        let directories = [Path::new("/run"), Path::new("/tmp"), &self.sandbox.root];
        let entries = directories
            .into_iter()
            .flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| !self.files.contains(path)).collect()
    }
}

/// The processes that belong to this one: all others of its pid namespace, or its descendants if it
/// is not the first process there.
fn processes() -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: BTreeMap<i32, (i32, String)> = pids
        .filter_map(|pid| Some((pid, parent_and_name(pid)?)))
        .collect();
    let own = getpid().as_raw();
    let is_ours = |pid: &i32| {
        let mut parents = std::iter::successors(Some(*pid), |pid| Some(all.get(pid)?.0));
        *pid != own && (own == 1 || parents.any(|pid| pid == own))
    };
    let ours = all.iter().filter(|(pid, _)| is_ours(pid));
    ours.map(|(pid, (_, name))| (*pid, name.clone())).collect()
}

/// Parses a line such as `7 (name) S 1 …`.
fn parent_and_name(pid: i32) -> Option<(i32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
    Some((rest.split(' ').nth(1)?.parse().ok()?, name.to_owned()))
}

fn write_program(path: &PathBuf, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Runs `work` in `jobs` workers, each a process with its own environment, and reports their
/// counters and findings. A worker that ends before it has reported is a finding.
pub fn run(command: &str, options: &Options, work: fn(&World, &Options, &mut Figures)) -> ExitCode {
    if !geteuid().is_root() {
        eprintln!("chaos: run as root: containers are made for real");
        return ExitCode::from(2);
    }
    let runtime = runner::find_runtime(options.runtime.as_deref())
        .and_then(|path| fs::read(&path).map_err(|error| format!("{}: {error}", path.display())));
    let runtime = match runtime {
        Ok(bytes) => bytes,
        Err(message) => {
            eprintln!("chaos: {message}");
            return ExitCode::from(2);
        }
    };
    println!("{command}: seed {}, {} workers", options.seed, options.jobs);
    let answers: Vec<_> = (0..options.jobs)
        .map(|worker| start(worker, options, &runtime, work))
        .collect();
    let mut figures = Figures::default();
    for (worker, mut answer) in answers.into_iter().enumerate() {
        let mut bytes = Vec::new();
        let read = answer.read_to_end(&mut bytes);
        match read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()) {
            Some(sent) => figures.merge(&sent),
            None => figures.found("a worker has failed", format!("worker {worker}")),
        }
    }
    while waitpid(None, None).is_ok() {}
    figures.report(command, options.show)
}

/// Forks a worker, which sends its figures through the pipe.
fn start(
    worker: usize,
    options: &Options,
    runtime: &[u8],
    work: fn(&World, &Options, &mut Figures),
) -> std::io::PipeReader {
    let id = format!("chaos{}w{worker}", std::process::id());
    let (answer, mut writer) = std::io::pipe().expect("a pipe");
    let fork = || {
        // SAFETY: this program is single-threaded here; the child continues as its copy.
        unsafe { fork() }.expect("fork")
    };
    if let ForkResult::Child = fork() {
        // The first child after unshare(2) is the first process of the new pid namespace. Its
        // parent only waits for it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("prctl");
        // systemd receives pids as this process sees them, so they have to be the host's.
        let mut namespaces = CloneFlags::CLONE_NEWNS;
        namespaces.set(CloneFlags::CLONE_NEWPID, !options.systemd);
        unshare(namespaces).expect("unshare");
        if let ForkResult::Parent { child } = fork() {
            drop(writer);
            let _ = waitpid(child, None);
            std::process::exit(0);
        }
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("prctl");
        nix::sys::prctl::set_child_subreaper(true).expect("prctl");
        let mut figures = Figures::default();
        match World::new(worker, &id, runtime, options) {
            Ok(world) => work(&world, options, &mut figures),
            Err(message) => figures.found("no world could be made", message),
        }
        let sent = writer.write_all(figures.to_json().to_string().as_bytes());
        sent.expect("send the figures");
        std::process::exit(0);
    }
    answer
}
