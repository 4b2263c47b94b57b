//! `fuzz-replay`: runs each target on its seeds, its corpus and a fixed number of random changes.
//!
//! ```text
//! fuzz-replay [--times N] [--seed N] [TARGET...]   replay, with N times as many changes
//! fuzz-replay --input TARGET FILE...               run on these files, and print what fails
//! fuzz-replay --list                               print each target and its maximum length
//! fuzz-replay --seeds DIR                          write the seeds below DIR, for libFuzzer
//! ```
//!
//! The output ends with `N passed, N failed, 0 skipped`, where a target counts as one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use sampan_fuzz::targets::ALL;
use sampan_fuzz::{Mutator, Random, Target};

/// The number of seconds after which an input counts as endless: SIGALRM ends the program.
const PATIENCE: u32 = 60;
/// The number of smaller inputs that are tried in place of one that fails.
const SMALLER: usize = 3_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--list"] => {
            for target in ALL {
                println!("{} {}", target.name, target.longest);
            }
            ExitCode::SUCCESS
        }
        ["--seeds", directory] => write_seeds(Path::new(directory)),
        ["--input", name, files @ ..] => match ALL.iter().find(|target| target.name == *name) {
            Some(target) => feed_files(target, files),
            None => usage(),
        },
        options => match Options::read(options) {
            Some(options) => replay(&options),
            None => usage(),
        },
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: fuzz-replay [--times N] [--seed N] [TARGET...]");
    eprintln!("       fuzz-replay --input TARGET FILE... | --list | --seeds DIR");
    ExitCode::from(2)
}

struct Options {
    times: u32,
    seed: u64,
    targets: Vec<&'static Target>,
}

impl Options {
    fn read(mut args: &[&str]) -> Option<Self> {
        let (mut times, mut seed) = (1, 0x5eed_0f5a_3ba7);
        let mut targets = Vec::new();
        while let [arg, rest @ ..] = args {
            args = match (*arg, rest) {
                ("--times", [value, rest @ ..]) => {
                    times = value.parse().ok()?;
                    rest
                }
                ("--seed", [value, rest @ ..]) => {
                    seed = value.parse().ok().filter(|seed| *seed != 0)?;
                    rest
                }
                (name, rest) => {
                    targets.push(*ALL.iter().find(|target| target.name == name)?);
                    rest
                }
            };
        }
        if targets.is_empty() {
            targets = ALL.to_vec();
        }
        Some(Self {
            times,
            seed,
            targets,
        })
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = package().join("corpus").join(target.name);
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    // The order of directory entries is unspecified.
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("a readable corpus"))
        .collect()
}

fn write_seeds(directory: &Path) -> ExitCode {
    for target in ALL {
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory).expect("a directory for the seeds");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed).expect("a seed");
        }
    }
    ExitCode::SUCCESS
}

fn feed_files(target: &'static Target, files: &[&str]) -> ExitCode {
    let mut runner = Runner::new(target);
    for file in files {
        let input = fs::read(file).expect("a readable input");
        runner.feed(&input);
    }
    runner.report();
    ExitCode::from(u8::from(!runner.found.is_empty()))
}

fn replay(options: &Options) -> ExitCode {
    let mut failed = 0;
    println!("target      inputs  executions  exec/s  findings");
    for target in &options.targets {
        let began = processor_time();
        let mut runner = Runner::new(target);
        let mut inputs = (target.seeds)();
        inputs.extend(corpus(target));
        inputs.iter().for_each(|input| runner.feed(input));
        let mutator = Mutator::new(target);
        let mut random = Random(options.seed);
        for _ in 0..target.changes * options.times {
            let input = &inputs[random.below(inputs.len())];
            runner.feed(&mutator.change(input, &mut random));
        }
        let speed = f64::from(runner.executions) / (processor_time() - began).as_secs_f64();
        println!(
            "{:10} {:7} {:11} {:7.0} {:9}",
            target.name,
            inputs.len(),
            runner.executions,
            speed,
            runner.found.len()
        );
        runner.report();
        failed += usize::from(!runner.found.is_empty());
    }
    let passed = options.targets.len() - failed;
    println!("{passed} passed, {failed} failed, 0 skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// The processor time of this process; others may run concurrently.
fn processor_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let time = nix::time::clock_gettime(clock).expect("a clock that is always there");
    time.into()
}

/// The message and the place of the last panic.
static LAST_PANIC: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Runs a target and keeps its findings: the smallest input for each place that panics.
struct Runner {
    target: &'static Target,
    executions: u32,
    found: BTreeMap<String, (Vec<u8>, String)>,
    /// Contains the current input, in case the program ends while it runs.
    last: File,
    findings: PathBuf,
}

impl Runner {
    fn new(target: &'static Target) -> Self {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string);
            let message = (place.unwrap_or_default(), info.to_string());
            *LAST_PANIC.lock().expect("one thread") = Some(message);
        }));
        let findings = package()
            .join("../target/fuzzing/findings")
            .join(target.name);
        fs::create_dir_all(&findings).expect("a directory for findings");
        let last = File::create(findings.join("last-input")).expect("a file for the input");
        Self {
            target,
            executions: 0,
            found: BTreeMap::new(),
            last,
            findings,
        }
    }

    fn feed(&mut self, input: &[u8]) {
        self.last.write_all_at(input, 0).expect("write the input");
        self.last
            .set_len(input.len() as u64)
            .expect("cut the input");
        self.executions += 1;
        if let Some((place, message)) = self.panics(input)
            && !self.found.contains_key(&place)
        {
            let smallest = self.smaller(input.to_vec(), &place);
            self.found.insert(place, (smallest, message));
        }
    }

    /// The place and the message if the target panics on `input`.
    fn panics(&self, input: &[u8]) -> Option<(String, String)> {
        // SAFETY: no handler is installed; the signal ends the program.
        unsafe { libc::alarm(PATIENCE) };
        let run = || (self.target.run)(input);
        match panic::catch_unwind(run) {
            Ok(()) => None,
            Err(_) => LAST_PANIC.lock().expect("one thread").take(),
        }
    }

    /// The smallest input found that panics at the same place. Removes one part after another, in
    /// decreasing sizes.
    fn smaller(&self, mut input: Vec<u8>, place: &str) -> Vec<u8> {
        let mut tries = 0;
        let mut part = input.len().div_ceil(2);
        while part > 0 && tries < SMALLER {
            let mut at = 0;
            while at < input.len() && tries < SMALLER {
                tries += 1;
                let mut without = input.clone();
                without.drain(at..(at + part).min(input.len()));
                match self.panics(&without) {
                    Some((other, _)) if other == place => input = without,
                    _ => at += part,
                }
            }
            part /= 2;
        }
        input
    }

    fn report(&self) {
        // SAFETY: this cancels the alarm.
        unsafe { libc::alarm(0) };
        for (number, (input, message)) in self.found.values().enumerate() {
            let file = self.findings.join(format!("finding-{number}"));
            fs::write(&file, input).expect("write a finding");
            let name = self.target.name;
            println!("\n{name}: {message}\n  input in {}", file.display());
            println!(
                "  {:?}\n",
                String::from_utf8_lossy(&input[..input.len().min(600)])
            );
        }
        let _ = fs::remove_file(self.findings.join("last-input"));
    }
}
