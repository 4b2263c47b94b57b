//! Where a command works: a pid and a mount namespace of its own with an empty /tmp and /run. What
//! is in there afterwards and was not before has been left behind, whatever its name is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, geteuid, getpid};
use runtime_tests::container::reap_ended;
use runtime_tests::sandbox::Sandbox;
use runtime_tests::{bundle, leaks, runner};

use crate::figures::Figures;
use crate::options::Options;

/// How long a process that was killed, and what holds its namespaces, may need to be gone.
const GRACE: Duration = Duration::from_secs(5);

/// The only entry of /tmp that is not left behind.
const BASE: &str = "/tmp/chaos";

/// A worker's namespaces. The worker is the first process there, so orphans become its children.
pub struct World {
    /// Makes bundles, containers and calls of the runtime.
    pub sandbox: Sandbox,
    /// The number of this worker, from 0.
    pub worker: usize,
    mounts: BTreeSet<String>,
}

impl World {
    fn new(worker: usize, id: &str, runtime: Vec<u8>) -> Result<Self, String> {
        let error = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|errno| error("make / private", &errno))?;
        for (fstype, target, data) in [
            ("proc", "/proc", none),
            ("tmpfs", "/run", Some("mode=755")),
            ("tmpfs", "/tmp", Some("mode=1777")),
        ] {
            mount(Some(fstype), target, Some(fstype), MsFlags::empty(), data)
                .map_err(|errno| error(target, &errno))?;
        }
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        let base = Path::new(BASE);
        bundle::make_template(&base.join("template"))?;
        let binary = base.join("runtime");
        write_program(&binary, &runtime).map_err(|io| error("copy the runtime", &io))?;
        let sandbox = Sandbox::new(base, id, &binary);
        sandbox.make().map_err(|io| error(BASE, &io))?;
        let mounts = leaks::all_mounts().into_iter().collect();
        Ok(Self {
            sandbox,
            worker,
            mounts,
        })
    }

    /// What has been left behind, in words; empty if all is as it was. Processes that are just
    /// ending get some time.
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

    /// Removes the output of the calls so far.
    pub fn forget_calls(&self) {
        let calls = self.sandbox.path("calls");
        fs::remove_dir_all(&calls)
            .and_then(|()| fs::create_dir(&calls))
            .expect("the directory of the calls");
    }

    /// Removes what was left behind, so that it is not found again: processes and their cgroups, and
    /// the directories in the runtime's root.
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
        for entry in fs::read_dir(&self.sandbox.root)
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs::remove_dir_all(entry.path());
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
        for directory in ["/run", "/tmp"]
            .map(Path::new)
            .into_iter()
            .chain([&*self.sandbox.root])
        {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let new = entries
                .map(|entry| entry.path())
                .filter(|path| path != Path::new(BASE));
            left.extend(new.map(|path| format!("file {}", path.display())));
        }
        left
    }
}

/// The other processes of this pid namespace.
fn processes() -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != getpid().as_raw())
        .map(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (pid, comm.trim().to_owned())
        })
        .collect()
}

fn write_program(path: &PathBuf, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Runs `work` in `jobs` workers, each a process in a world of its own, and reports what they have
/// counted and found. A worker that ends before it has reported is a finding.
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
    figures.report(command)
}

/// Forks a worker; what is read from the pipe are its figures.
fn start(
    worker: usize,
    options: &Options,
    runtime: &[u8],
    work: fn(&World, &Options, &mut Figures),
) -> std::io::PipeReader {
    let id = format!("chaos{}w{worker}", std::process::id());
    let (answer, mut teller) = std::io::pipe().expect("a pipe");
    let fork = || {
        // SAFETY: this program has one thread here; the child goes on as its copy.
        unsafe { fork() }.expect("fork")
    };
    if let ForkResult::Child = fork() {
        // The first child of unshare(2) is the first process of the new pid namespace; its parent
        // only waits for it.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("prctl");
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).expect("unshare");
        if let ForkResult::Parent { child } = fork() {
            drop(teller);
            let _ = waitpid(child, None);
            std::process::exit(0);
        }
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("prctl");
        let mut figures = Figures::default();
        match World::new(worker, &id, runtime.to_vec()) {
            Ok(world) => work(&world, options, &mut figures),
            Err(message) => figures.found("no world could be made", message),
        }
        let sent = teller.write_all(figures.to_json().to_string().as_bytes());
        sent.expect("send the figures");
        std::process::exit(0);
    }
    answer
}
