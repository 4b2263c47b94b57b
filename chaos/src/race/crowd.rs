//! Many containers alive at once: a verb about one of them costs the same as with a single
//! container.

use std::path::Path;
use std::time::{Duration, Instant};

use bench::count::{self, What};
use runtime_tests::Container;

use crate::figures::Figures;
use crate::world::World;

/// The percentage by which the number of system calls may differ: `state` reads more if a number in
/// a file is longer.
const TOLERANCE: u64 = 5;

/// The verbs about one container, and the one about all.
const ONE: &[&str] = &["state", "exec", "ps"];
const ALL: &str = "list";

/// Creates and starts `size` containers, and compares the system calls of some verbs with those
/// that they make with one and with two containers.
pub fn crowd(world: &World, bundle: &Path, size: usize, figures: &mut Figures) {
    let first = new(world, bundle);
    let alone: Vec<u64> = ONE.iter().map(|verb| calls(world, &first, verb)).collect();
    let list_of_one = calls(world, &first, ALL);
    let mut others = vec![new(world, bundle)];
    let each = calls(world, &first, ALL).saturating_sub(list_of_one);
    while others.len() + 1 < size {
        others.push(new(world, bundle));
    }
    for (verb, alone) in ONE.iter().zip(alone) {
        let crowded = calls(world, &first, verb);
        compare(verb, size, crowded, alone, figures);
    }
    let listed = calls(world, &first, ALL);
    compare(
        ALL,
        size,
        listed,
        list_of_one + each * (size as u64 - 1),
        figures,
    );
    times(world, &first, size, figures);
    for container in others.iter().chain([&first]) {
        container.delete_force().ok();
    }
    figures.add("alive at once", size as u64);
    let left = world.leftovers();
    if !left.is_empty() {
        figures.found(
            "left behind",
            format!("after {size} at once\n{}", left.join("\n")),
        );
    }
}

fn new<'w>(world: &'w World, bundle: &Path) -> Container<'w> {
    let container = world.sandbox.container(bundle);
    container.launch_ok();
    container
}

fn compare(verb: &str, size: usize, crowded: u64, expected: u64, figures: &mut Figures) {
    figures.add(
        &format!("system calls of {verb} with {size} containers"),
        crowded,
    );
    let allowed = expected + expected * TOLERANCE / 100;
    if crowded > allowed {
        figures.found(
            "a verb makes more system calls with more containers",
            format!("{verb}: {crowded} with {size} containers, {expected} would be as with one"),
        );
    }
}

/// The arguments of a call about a container, or about all.
fn words(world: &World, container: &Container<'_>, verb: &str) -> Vec<std::ffi::OsString> {
    match verb {
        "exec" => container.command_line("exec", &["true"]),
        // Arguments after the id are for ps(1).
        "ps" => words_of(world, &["ps", "--format", "json", &container.id]),
        ALL => words_of(world, &[ALL]),
        _ => container.command_line(verb, &[]),
    }
}

fn words_of(world: &World, words: &[&str]) -> Vec<std::ffi::OsString> {
    let sandbox = &world.sandbox;
    let before = [
        sandbox.runtime.as_os_str(),
        "--root".as_ref(),
        sandbox.root.as_os_str(),
    ];
    let words = words.iter().map(|word| std::ffi::OsStr::new(*word));
    before.into_iter().chain(words).map(Into::into).collect()
}

fn calls(world: &World, container: &Container<'_>, verb: &str) -> u64 {
    let counted = count::run(What::Syscalls, &words(world, container, verb));
    let counted =
        counted.unwrap_or_else(|error| panic!("count the system calls of {verb}: {error}"));
    assert_eq!(counted.status, 0, "{verb} fails");
    counted.count
}

/// The times are printed but not judged: they depend on the machine as much as on the runtime.
fn times(world: &World, container: &Container<'_>, size: usize, figures: &mut Figures) {
    for verb in ONE.iter().chain([&ALL]) {
        let words = words(world, container, verb);
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            let call = world.sandbox.call(&words[0]).args(&words[1..]);
            call.run().ok();
            best = best.min(begun.elapsed());
        }
        figures.add(
            &format!("microseconds of {verb} with {size} containers"),
            best.as_micros() as u64,
        );
    }
}
