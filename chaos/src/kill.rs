//! `chaos kill`: SIGKILL ends the runtime, or init before it executes the program, in the middle of
//! a verb. Afterwards `state` and `list` give valid answers, and `delete --force` removes
//! everything.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::bundles::Bundles;
use crate::disturbed::{Disturbed, Harm, Point};
use crate::figures::{Figures, Place};
use crate::options::Options;
use crate::random::Random;
use crate::verb::{Ready, VERBS, Verb};
use crate::world::{World, run};

pub const USAGE: &str = "\
usage: scripts/chaos kill [OPTION...]
Kills the runtime, or a child of it before it executes a program, in the middle of each verb that
changes something: at each of its system calls (by ptrace(2)) and at random moments. Afterwards
`state` and `list` must give valid answers, and `delete --force` must remove everything: processes,
mounts, cgroups of every hierarchy, files in --root, /run and /tmp.
--long kills once at every system call and 8000 times at random.
";

/// The verbs that change something, and those that engines call most.
const KILLED: &[&str] = &[
    "create",
    "run",
    "run-detached",
    "start",
    "exec",
    "exec-detached",
    "update",
    "delete",
    "delete-force",
    "kill",
    "pause",
    "resume",
    "mounts-add",
    "mounts-remove",
];

/// The number of random kills with `--long`.
const RANDOM: u64 = 8000;

/// The latest moment of a random kill, in microseconds.
const LATEST: u64 = 8000;

pub fn main(options: &Options) -> ExitCode {
    run("kill", options, work)
}

fn work(world: &World, options: &Options, figures: &mut Figures) {
    let bundles = world.bundles(options);
    let verbs: Vec<_> = VERBS
        .iter()
        .filter(|verb| KILLED.contains(&verb.name) && verb.is_possible())
        .collect();
    let cases: Vec<_> = bundles
        .iter()
        .flat_map(|bundles| verbs.iter().map(move |verb| (bundles, *verb)))
        .filter(|(bundles, verb)| options.wants_some(&verb.with(bundles)))
        .collect();
    let mut random = Random::new(options.seed + world.worker as u64);
    let mut points = Vec::new();
    for (bundles, verb) in &cases {
        let mut all = undisturbed(world, bundles, verb, figures);
        all.retain(|point| options.wants(&format!("{} {point}", verb.with(bundles))));
        points.extend(all.into_iter().map(|point| (*bundles, *verb, point)));
    }
    let share = world.share(&points, &mut Random::new(options.seed));
    for (count, (bundles, verb, point)) in share.into_iter().enumerate() {
        if world.is_over() {
            break;
        }
        kill_at(world, bundles, verb, point, figures);
        // A sample contains both kinds.
        if !options.long && count % 2 == 0 {
            random_kill(world, &cases, &mut random, figures);
        }
    }
    if options.long && !cases.is_empty() {
        for _ in 0..RANDOM / options.jobs as u64 {
            random_kill(world, &cases, &mut random, figures);
        }
    }
}

/// The system calls of an undisturbed verb.
fn undisturbed(
    world: &World,
    bundles: &Bundles,
    verb: &'static Verb,
    figures: &mut Figures,
) -> Vec<Point> {
    let mut place = figures.at(verb.with(bundles), "undisturbed".to_owned());
    let ready = verb.prepare(world, bundles);
    let disturbed = ready.call(None);
    if disturbed.code() != Some(0) {
        let text = disturbed.stderr.clone() + &disturbed.stdout();
        place.found("fails undisturbed", text);
    }
    remove(&ready, &mut place);
    disturbed.points
}

fn kill_at(
    world: &World,
    bundles: &Bundles,
    verb: &'static Verb,
    point: Point,
    figures: &mut Figures,
) {
    let mut place = figures.at(verb.with(bundles), point.to_string());
    let ready = verb.prepare(world, bundles);
    let disturbed = ready.call(Some((point, Harm::Kill)));
    place.count(match disturbed.reached {
        Some(_) if point.process == 0 => "kills of the runtime at a system call",
        Some(_) => "kills of a child at a system call",
        None => "points that were not reached again",
    });
    judge(&disturbed, point, &mut place);
    is_sane(&ready, &mut place);
    remove(&ready, &mut place);
}

/// Checks that the runtime ended, by the signal that was sent and no other.
fn judge(disturbed: &Disturbed, point: Point, place: &mut Place<'_>) {
    if disturbed.ended.hung || disturbed.endless {
        place.found("hangs", disturbed.of_a_hang());
    } else if disturbed.reached.is_some() && point.process > 0 && disturbed.code().is_none() {
        place.found("the runtime ends by a signal", &*disturbed.stderr);
    }
}

/// Kills the runtime after some time, wherever it is then.
fn random_kill(
    world: &World,
    cases: &[(&Bundles, &'static Verb)],
    random: &mut Random,
    figures: &mut Figures,
) {
    let (bundles, verb) = cases[random.below(cases.len() as u64) as usize];
    let after = Duration::from_micros(random.below(LATEST));
    let mut place = figures.at(verb.with(bundles), format!("after {after:?}"));
    let ready = verb.prepare(world, bundles);
    let words = ready.words();
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
    place.count(match status.code() {
        None => "kills of the runtime at a random moment",
        Some(_) => "random moments after the end",
    });
    is_sane(&ready, &mut place);
    remove(&ready, &mut place);
}

/// Checks that the remains can be inspected.
fn is_sane(ready: &Ready<'_>, place: &mut Place<'_>) {
    let status = ready.status();
    let sane = ["creating", "created", "running", "paused", "stopped"];
    if !sane.contains(&&*status) && !status.contains("does not exist") {
        place.found("state gives no sane answer", status);
    }
    let list = ready.world.sandbox.runtime();
    let list = list.args(["list", "--format", "json"]).run();
    if !list.status.success() {
        place.found("list fails", list.to_string());
    }
}

/// Checks that `delete --force` removes everything.
pub fn remove(ready: &Ready<'_>, place: &mut Place<'_>) {
    ready.world.reap_as_they_end();
    let output = ready.container.delete_force();
    if !output.status.success() {
        place.found("delete --force fails", output.to_string());
    }
    let mut left = ready.world.leftovers();
    left.extend(ready.stray_files());
    if !left.is_empty() {
        place.found("left behind", left.join("\n"));
        ready.world.remove();
    }
}
