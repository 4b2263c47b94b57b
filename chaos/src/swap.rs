//! `chaos swap`: directories of a root filesystem are exchanged while the runtime works in it.

pub mod attack;
pub mod inside;
mod judge;
mod place;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use runtime_tests::{Container, Output};
use serde_json::Value;

use self::attack::{Decoy, Moment, Pair, during};
use self::judge::{Attacked, Table};
use self::place::{Place, VARIANTS};
use crate::figures::Figures;
use crate::options::Options;
use crate::race::plain;
use crate::random::Random;
use crate::world::{World, run};

pub const USAGE: &str = "\
usage: scripts/chaos swap [OPTION...]
Exchanges directories of the root filesystem for links, files and other directories during create,
exec and mounts: repeatedly, once at a random moment, or in a hook. A directory of the host must not
change, no mount may appear there, and a container that starts must have its mounts, masks, read-only
paths and devices.
With --long 5,000 rounds.
";

/// The number of rounds of the long form.
const LONG: u64 = 5000;

/// A file in the host's directory that no container may see.
pub const CANARY_FILE: &str = "of-the-host";

/// The directories that are exchanged, below the root filesystem.
const TARGETS: &[&str] = &[
    "proc", "sys", "dev", "etc", "data", "mnt", "mnt/a", "work", "hidden", "frozen",
];
/// Directories that matter only if /dev is a directory of the root filesystem.
const IN_DEV: &[&str] = &["dev/pts", "dev/shm"];

pub fn main(options: &Options) -> ExitCode {
    run("swap", options, work)
}

fn work(world: &World, options: &Options, figures: &mut Figures) {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut random = Random::new(options.seed + world.worker as u64);
    let places: Vec<_> = VARIANTS
        .iter()
        .map(|variant| Place::new(world, *variant))
        .collect();
    let right: Vec<_> = places.iter().map(|place| reference(world, place)).collect();
    let rounds = LONG.div_ceil(options.jobs as u64);
    let mut number = 0;
    while if options.long {
        number < rounds
    } else {
        Instant::now() < end
    } {
        let variant = random.below(places.len() as u64) as usize;
        let seed = random.next();
        let mut round = Round {
            world,
            place: &places[variant],
            right: &right[variant],
            figures: &mut *figures,
            what: String::new(),
        };
        round.run(&mut Random::new(seed));
        world.forget_calls();
        number += 1;
    }
    figures.add("rounds", number);
}

/// The mount tables of an undisturbed container.
struct Right {
    created: Table,
    added: Table,
}

fn reference(world: &World, place: &Place) -> Right {
    place.reset();
    let container = world.sandbox.container(&place.bundle);
    container.create().ok();
    let created = Table::new(&mountinfo(&container).expect("the mount table"));
    assert_eq!(created.uncovered(), Vec::<String>::new());
    container.start().ok();
    let found = looked(&container).expect("what the container sees");
    assert_eq!(judge::seen(&found, &[]), Vec::<String>::new(), "{found}");
    add(world, place, &container).ok();
    let added = Table::new(&mountinfo(&container).expect("the mount table"));
    container.delete_force().ok();
    Right { created, added }
}

/// One container and the attack on it.
struct Round<'w> {
    world: &'w World,
    place: &'w Place,
    right: &'w Right,
    figures: &'w mut Figures,
    /// A description of this round's attack.
    what: String,
}

impl Round<'_> {
    fn run(&mut self, random: &mut Random) {
        self.place.reset();
        let in_hook = random.below(6) == 0;
        let count = if in_hook { 1 } else { 1 + random.below(3) };
        let mut pairs = self.pairs(random, count);
        let moment = match random.below(3) {
            0 => Moment::Once(Duration::from_micros(random.below(8000))),
            _ => Moment::Always,
        };
        let names: Vec<_> = pairs
            .iter()
            .map(|pair| format!("{} for {:?}", pair.target, pair.decoy))
            .collect();
        let when = if in_hook {
            "in a hook".to_owned()
        } else {
            format!("{moment:?}")
        };
        self.what = format!("{:?}: {} {when}", self.place.variant, names.join(", "));
        let container = self.world.sandbox.container(&self.place.bundle);
        let created = if in_hook {
            self.place.exchange_in_hook(pairs[0].target);
            let output = container.create();
            self.place.no_hook();
            self.figures.add("exchanges in a hook", 1);
            output
        } else {
            let (output, count) = during(&mut pairs, moment, || container.create());
            self.figures.add("exchanges", count);
            output
        };
        if self.outcome("create", &created) {
            self.created(&container, &mut pairs, in_hook);
        }
        self.after(&container);
    }

    /// Directories to exchange, without duplicates, with a decoy for each.
    fn pairs(&self, random: &mut Random, count: u64) -> Vec<Pair> {
        let mut targets = TARGETS.to_vec();
        if self.place.dev_is_a_directory() {
            targets.extend(IN_DEV);
        }
        while targets.len() > count as usize {
            targets.swap_remove(random.below(targets.len() as u64) as usize);
        }
        let decoy =
            |random: &mut Random| Decoy::ALL[random.below(Decoy::ALL.len() as u64) as usize];
        targets
            .into_iter()
            .map(|target| self.place.pair(target, decoy(random)))
            .collect()
    }

    /// Counts the result of a verb. Returns whether it succeeded. A failure must come with a
    /// message.
    fn outcome(&mut self, verb: &str, output: &Output) -> bool {
        let ok = output.status.success();
        self.figures.add(
            &format!("{verb}: {}", if ok { "successes" } else { "failures" }),
            1,
        );
        if !ok {
            let words = plain(output.stderr.lines().next().unwrap_or_default());
            self.figures.add(&format!("{verb} fails: {words}"), 1);
        }
        let in_words = output.status.code().is_some() && !output.stderr.trim().is_empty();
        if !ok && !in_words {
            self.found(
                &format!("{verb} fails without a message"),
                &output.to_string(),
            );
        }
        ok
    }

    fn found(&mut self, kind: &str, text: &str) {
        self.figures.found(kind, format!("{}\n{text}", self.what));
    }

    fn created(&mut self, container: &Container<'_>, pairs: &mut [Pair], in_hook: bool) {
        let targets: Vec<&str> = pairs.iter().map(|pair| pair.target).collect();
        let attacked: Vec<_> = pairs
            .iter()
            .map(|pair| Attacked {
                target: pair.target,
                comes_back: !in_hook && pair.decoy != Decoy::Directory,
                for_good: in_hook,
            })
            .collect();
        let right = self.right;
        self.compare_tables(container, &right.created, &targets, "after create");
        let started = container.start();
        if !self.outcome("start", &started) {
            return;
        }
        match looked(container) {
            Some(found) => self.judge(&found, &attacked, "the first process"),
            None => self.found("the first process has not looked", &container.stdout()),
        }
        if in_hook {
            return;
        }
        let (output, _) = during(pairs, Moment::Always, || {
            container.exec_with(&["--cwd", "/work/dir"], &["/check", "inside"])
        });
        if self.outcome("exec", &output) && output.stdout.contains("\"canary\":true") {
            self.found(
                "exec: a directory of the host is to be seen",
                &output.to_string(),
            );
        }
        let output = container.exec_with(&["--cwd", "/"], &["/check", "inside"]);
        if self.outcome("exec afterwards", &output) {
            let found = serde_json::from_str(output.stdout.lines().next().unwrap_or_default());
            self.judge(&found.unwrap_or_default(), &attacked, "exec");
        }
        let (world, place) = (self.world, self.place);
        let (output, _) = during(pairs, Moment::Always, || add(world, place, container));
        let added = self.outcome("mounts add", &output);
        let table = if added { &right.added } else { &right.created };
        self.compare_tables(container, table, &targets, "after mounts add");
    }

    fn judge(&mut self, found: &Value, attacked: &[Attacked], who: &str) {
        for wrong in judge::seen(found, attacked) {
            self.found(
                &format!("{who}: {}", kind_of(&wrong)),
                &format!("{wrong}\n{found}"),
            );
        }
    }

    fn compare_tables(
        &mut self,
        container: &Container<'_>,
        right: &Table,
        attacked: &[&str],
        when: &str,
    ) {
        let Some(text) = mountinfo(container) else {
            return self.found("the mount table cannot be read", when);
        };
        let table = Table::new(&text);
        for wrong in table
            .uncovered()
            .into_iter()
            .chain(table.differs(right, attacked))
        {
            self.found(
                &format!("{when}: {}", kind_of(&wrong)),
                &format!("{wrong}\n{text}"),
            );
        }
    }

    /// Checks that the host has not changed.
    fn after(&mut self, container: &Container<'_>) {
        let deleted = container.delete_force();
        if !deleted.status.success() {
            self.found("delete --force fails", &deleted.to_string());
        }
        let left = self.world.leftovers();
        if !left.is_empty() {
            self.found("left behind", &left.join("\n"));
            self.world.remove();
        }
        if let Some(change) = self.place.canary_has_changed() {
            self.found("a directory of the host has changed", &change);
        }
    }
}

/// The text before the first colon, as the kind of a finding.
fn kind_of(wrong: &str) -> String {
    wrong.split(": ").next().unwrap_or_default().to_owned()
}

/// `mounts add` of a tmpfs and a bind mount.
fn add(world: &World, place: &Place, container: &Container<'_>) -> Output {
    let call = world
        .sandbox
        .runtime()
        .args(["mounts", "add", &container.id]);
    call.arg(&place.more_mounts).run()
}

/// The mount table of the first process, from the kernel and not through the container.
fn mountinfo(container: &Container<'_>) -> Option<String> {
    let state = container.verb("state");
    let pid = serde_json::from_str::<Value>(&state.stdout).ok()?["pid"].as_i64()?;
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()
}

/// The observations of the first process.
fn looked(container: &Container<'_>) -> Option<Value> {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let text = container.stdout();
        if text.lines().any(|line| line == inside::END) {
            return serde_json::from_str(text.lines().next()?).ok();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}
