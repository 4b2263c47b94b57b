//! `chaos kill`: the runtime ends by SIGKILL in the middle of a verb.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::options::Options;
use crate::random::Random;
use crate::verb::{CHANGING, Verb, bundle};
use crate::world::{World, run};

pub const USAGE: &str = "\
usage: scripts/chaos kill [OPTION...]
Kills the runtime in the middle of a verb, then calls `delete --force`: nothing may be left.
";

pub fn main(options: &Options) -> ExitCode {
    run("kill", options, work)
}

fn work(world: &World, options: &Options, figures: &mut Figures) {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut random = Random::new(options.seed + world.worker as u64);
    let bundles = [bundle(world, false), bundle(world, true)];
    let verbs: Vec<_> = CHANGING
        .iter()
        .filter(|verb| options.wants(verb.name))
        .collect();
    while Instant::now() < end && !verbs.is_empty() {
        let verb = verbs[random.below(verbs.len() as u64) as usize];
        let path = &bundles[random.below(2) as usize];
        let after = Duration::from_micros(random.below(6000));
        kill_after(world, verb, path, after, figures);
    }
}

/// Kills the runtime after some time, wherever it is then.
fn kill_after(
    world: &World,
    verb: &Verb,
    bundle: &std::path::Path,
    after: Duration,
    figures: &mut Figures,
) {
    let container = verb.prepare(world, bundle);
    let words = verb.words(&container);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("start the runtime");
    std::thread::sleep(after);
    let _ = child.kill();
    let status = child.wait().expect("wait for the runtime");
    let what = format!("{} {} after {after:?}", verb.name, bundle.display());
    figures.add(
        if status.code().is_none() {
            "killed"
        } else {
            "ended before"
        },
        1,
    );
    let output = container.delete_force();
    if !output.status.success() {
        figures.found("delete --force fails", format!("{what}\n{output}"));
    }
    let left = world.leftovers();
    if !left.is_empty() {
        figures.found("left behind", format!("{what}\n{}", left.join("\n")));
    }
}
