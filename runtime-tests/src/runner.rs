//! Runs the cases, each in its own process and several at a time, and prints the results.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::SystemTime;

use nix::sys::signal::{self, SigHandler, Signal, killpg};
use nix::unistd::{Pid, geteuid};

use crate::call::patience;
use crate::options::{Options, USAGE};
use crate::sandbox::{SKIP_REASON, SKIPPED, Sandbox};
use crate::{Test, bundle, cases, leaks};

/// A case may run several commands, each with its own time limit. This factor gives the limit of
/// the whole case, as a last resort.
const CASE_PATIENCE: u32 = 6;

/// The result of a case.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs the cases that the command line selects.
pub fn main(options: &Options) -> ExitCode {
    if options.help {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &options.run_one {
        return run_one(name);
    }
    let wanted: Vec<&Test> = cases::all()
        .filter(|test| options.wants(&test.full_name(), &describe_needs(test)))
        .collect();
    if options.list {
        list(&wanted, options.terse);
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() && !options.ignored {
        eprintln!("runtime-tests: no case matches");
        return ExitCode::FAILURE;
    }
    hear_signals();
    match Run::new(options) {
        Ok(run) => run.all(&wanted, options),
        Err(message) => {
            eprintln!("runtime-tests: {message}");
            ExitCode::from(2)
        }
    }
}

/// The cases send these signals, which nohup(1), and a shell for a background job, make every program
/// inherit as ignored.
fn hear_signals() {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: there is no handler.
        let _ = unsafe { signal::signal(signal, SigHandler::SigDfl) };
    }
}

fn describe_needs(test: &Test) -> Vec<String> {
    test.needs.iter().map(ToString::to_string).collect()
}

fn list(tests: &[&Test], terse: bool) {
    for test in tests {
        let needs = describe_needs(test);
        match (terse, needs.is_empty()) {
            (true, _) => println!("{}: test", test.full_name()),
            (false, true) => println!("{}", test.full_name()),
            (false, false) => println!("{} [{}]", test.full_name(), needs.join(", ")),
        }
    }
}

/// The process of one case. `RUNTIME_TEST_*` in the environment describe its sandbox.
fn run_one(name: &str) -> ExitCode {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let test = cases::all()
        .find(|test| test.full_name() == name)
        .expect("the case exists");
    let base = PathBuf::from(variable("RUNTIME_TEST_BASE"));
    let sandbox = Sandbox::new(
        &base,
        &variable("RUNTIME_TEST"),
        Path::new(&variable("RUNTIME_TEST_BINARY")),
    );
    // Like an engine's shim, this process becomes the parent of the containers.
    nix::sys::prctl::set_child_subreaper(true).expect("become a subreaper");
    // SAFETY: takes no pointers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // A shell without job control starts what is in the background with these ignored.
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the default disposition runs no code of this program.
        unsafe { signal::signal(signal, signal::SigHandler::SigDfl) }.expect("reset a signal");
    }
    (test.body)(&sandbox);
    sandbox.delete_leftovers();
    ExitCode::SUCCESS
}

/// One run of the program.
struct Run {
    base: PathBuf,
    runtime: PathBuf,
    keep: bool,
    /// Whether the runtime is another project's.
    is_peer: bool,
}

impl Run {
    fn new(options: &Options) -> Result<Self, String> {
        let runtime = find_runtime(options.runtime.as_deref())?;
        let parent = std::env::var_os("RUNTIME_TESTS_DIR").map(PathBuf::from);
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = nanos.map(|time| time.as_nanos()).unwrap_or_default();
        let name = format!(
            "runtime-tests-{}-{:x}",
            std::process::id(),
            nanos & 0xffff_ffff
        );
        let base = parent.join(name);
        // Unprivileged containers traverse the directory to their root filesystem.
        fs::create_dir_all(&base)
            .and_then(|()| fs::set_permissions(&base, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("{}: {error}", base.display()))?;
        bundle::make_template(&base.join("template"))?;
        let is_peer = crate::host::peer_name(&runtime).is_some();
        Ok(Self {
            base,
            runtime,
            keep: options.keep,
            is_peer,
        })
    }

    /// Runs the cases, and prints a line for each and the totals.
    fn all(&self, tests: &[&Test], options: &Options) -> ExitCode {
        println!("runtime: {}", self.runtime.display());
        let mounts = leaks::all_mounts();
        let totals = self.parallel(tests, options);
        let new_mounts: Vec<_> = leaks::all_mounts()
            .into_iter()
            .filter(|mount| !mounts.contains(mount))
            .collect();
        let mut failed = totals.failed.len();
        if !new_mounts.is_empty() {
            failed += 1;
            println!(
                "FAILED mounts were left on the host:\n    {}",
                new_mounts.join("\n    ")
            );
        }
        if totals.failed.is_empty() || !self.keep {
            let _ = fs::remove_dir_all(&self.base);
        }
        if !totals.failed.is_empty() {
            println!("\nfailed:\n    {}", totals.failed.join("\n    "));
        }
        if !totals.skipped.is_empty() {
            println!("\nskipped, by reason:");
            let mut reasons: Vec<_> = totals.skipped.into_iter().collect();
            reasons.sort();
            for (reason, count) in &reasons {
                println!("    {count:3}  {reason}");
            }
        }
        println!(
            "\n{} passed, {failed} failed, {} skipped",
            totals.passed, totals.skip_count
        );
        ExitCode::from(u8::from(failed > 0))
    }

    /// Distributes the cases over threads, and reports each when it ends.
    fn parallel(&self, tests: &[&Test], options: &Options) -> Totals {
        // A case waits for the kernel, to dissolve mounts and namespaces, longer than it computes.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or(3 * cpus);
        let threads = threads.min(tests.len().max(1));
        let next = AtomicUsize::new(0);
        let totals = Mutex::new(Totals::default());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(test) = tests.get(number) else { break };
                        let outcome = self.case(test, number);
                        totals
                            .lock()
                            .expect("no thread panics")
                            .add(&test.full_name(), outcome);
                    }
                });
            }
        });
        totals.into_inner().expect("no thread panics")
    }

    /// One case, from its requirements to its leak check.
    fn case(&self, test: &Test, number: usize) -> Outcome {
        if !geteuid().is_root() {
            return Outcome::Skipped("needs root".into());
        }
        if let Some(reason) = test
            .needs
            .iter()
            .find_map(|need| need.check(&self.runtime).err())
        {
            return Outcome::Skipped(reason);
        }
        let run = self
            .base
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let tag = run.trim_start_matches("runtime-tests-").replace('-', "x");
        let sandbox = Sandbox::new(&self.base, &format!("rt{tag}n{number:04}"), &self.runtime);
        if let Err(error) = sandbox.make() {
            return Outcome::Failed(format!("{}: {error}", sandbox.dir.display()));
        }
        let outcome = self.in_process(test, &sandbox);
        // A case that failed half-way could not clean up, so its leaks are not reported.
        let leaks = match outcome {
            Outcome::Failed(_) => Vec::new(),
            _ => leaks::find(&sandbox, self.is_peer),
        };
        let outcome = match outcome {
            outcome if leaks.is_empty() => outcome,
            _ => Outcome::Failed(format!("left behind:\n{}", leaks.join("\n"))),
        };
        let keep = self.keep && matches!(outcome, Outcome::Failed(_));
        leaks::clean(&sandbox, keep);
        match outcome {
            Outcome::Failed(text) if keep => {
                Outcome::Failed(format!("{text}\nkept: {}", sandbox.dir.display()))
            }
            outcome => outcome,
        }
    }

    /// Runs the body in its own process, so that a panic, a hang, a changed working directory or an
    /// orphan affects this case only.
    fn in_process(&self, test: &Test, sandbox: &Sandbox) -> Outcome {
        let log = sandbox.path("log");
        let (status, hung) = match self.spawn_and_wait(test, sandbox, &log) {
            Ok(ended) => ended,
            Err(error) => return Outcome::Failed(format!("cannot run the case: {error}")),
        };
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        let text = text
            .split("note: run with `RUST_BACKTRACE")
            .next()
            .unwrap_or_default()
            .trim();
        match status.code() {
            _ if hung => Outcome::Failed(format!("{text}\nthe case did not end and was killed")),
            Some(0) => Outcome::Passed,
            Some(SKIPPED) => {
                let reason = fs::read_to_string(sandbox.path(SKIP_REASON));
                Outcome::Skipped(reason.unwrap_or("no reason given".into()))
            }
            _ => Outcome::Failed(text.to_owned()),
        }
    }

    fn spawn_and_wait(
        &self,
        test: &Test,
        sandbox: &Sandbox,
        log: &Path,
    ) -> std::io::Result<(ExitStatus, bool)> {
        let file = File::create(log)?;
        let mut child = Command::new("/proc/self/exe")
            .args(["--run-one", &test.full_name()])
            .env("RUNTIME_TEST", &sandbox.id)
            .env("RUNTIME_TEST_BASE", &self.base)
            .env("RUNTIME_TEST_BINARY", &self.runtime)
            .env("RUST_BACKTRACE", "0")
            .stdin(File::open("/dev/null")?)
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()?;
        let group = Pid::from_raw(child.id() as i32);
        let (sender, receiver) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let status = child.wait();
            let _ = sender.send(());
            status
        });
        let hung = receiver.recv_timeout(patience() * CASE_PATIENCE).is_err();
        if hung {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let status = waiter.join().expect("the waiting thread does not panic")?;
        Ok((status, hung))
    }
}

/// The results so far.
#[derive(Default)]
struct Totals {
    passed: usize,
    failed: Vec<String>,
    skip_count: usize,
    skipped: HashMap<String, usize>,
}

impl Totals {
    fn add(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => {
                println!("ok {name}");
                self.passed += 1;
            }
            Outcome::Failed(text) => {
                println!("FAILED {name}\n    {}", text.replace('\n', "\n    "));
                self.failed.push(name.to_owned());
            }
            Outcome::Skipped(reason) => {
                println!("skipped {name}: {reason}");
                self.skip_count += 1;
                *self.skipped.entry(reason).or_default() += 1;
            }
        }
    }
}

/// The binary under test: the one given by `--runtime` or `$RUNTIME`, otherwise the newest of the
/// workspace's builds.
///
/// # Errors
///
/// The text says which file does not exist.
pub fn find_runtime(named: Option<&Path>) -> Result<PathBuf, String> {
    let named = named
        .map(Path::to_owned)
        .or(std::env::var_os("RUNTIME").map(PathBuf::from));
    if let Some(path) = named {
        let found = match path.components().count() {
            1 => crate::host::find_program(&path.to_string_lossy()),
            // `cargo test` runs in this package's directory, but the path is relative to the
            // directory above.
            _ => fs::canonicalize(&path)
                .or_else(|_| fs::canonicalize(Path::new("..").join(&path)))
                .ok(),
        };
        return found.ok_or(format!("the runtime {} does not exist", path.display()));
    }
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let builds = ["x86_64-unknown-linux-musl/release", "release", "debug"];
    let newest = exe
        .ancestors()
        .flat_map(|dir| builds.map(|build| dir.join(build).join("sampan")))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max();
    newest
        .map(|(_, path)| path)
        .ok_or("no runtime: set RUNTIME or build one".into())
}
