//! `chaos fail`: a system call of a verb fails, once or forever. The verb then either does all of
//! its work, or reports what failed and leaves nothing behind.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;

use crate::bundles::Bundles;
use crate::disturbed::{Disturbed, Harm, Point};
use crate::figures::{Figures, Place};
use crate::kill::remove;
use crate::names::{self, ERRORS, Errno};
use crate::options::Options;
use crate::random::Random;
use crate::verb::{Before, Ready, VERBS, Verb};
use crate::world::{World, run};

pub const USAGE: &str = "\
usage: scripts/chaos fail [OPTION...]
Makes system calls fail by ptrace(2): each call of each verb, by the runtime and by its children
until they execute a program, with EPERM, ENOSYS, ENOMEM, EINTR, EMFILE, EIO and ENOSPC, once and with
every call of that name from there on (EINTR: the next 1,000). The verb must always end, and not by a
signal. If it reports success, its effect and the restrictions of the container's process must be the
same as without the failure. If it reports a failure, its message must name the errno and the system
call or its object, and nothing may be left behind.
--long fails every one of them.
";

/// A verb with a bundle, and its undisturbed behaviour.
struct Case<'b> {
    bundles: &'b Bundles,
    verb: &'static Verb,
    outcome: String,
}

impl Case<'_> {
    /// The names of a point and of an attempt there.
    fn names(&self, one: Try) -> (String, String) {
        let often = if one.for_ever { " forever" } else { "" };
        let place = format!("{} {}", self.verb.with(self.bundles), one.point);
        (place, format!("{}{often}", one.errno.name))
    }
}

/// An attempt at a point.
#[derive(Clone, Copy)]
struct Try {
    case: usize,
    point: Point,
    errno: &'static Errno,
    for_ever: bool,
}

pub fn main(options: &Options) -> ExitCode {
    run("fail", options, work)
}

fn work(world: &World, options: &Options, figures: &mut Figures) {
    let bundles = world.bundles(options);
    let mut cases = Vec::new();
    let mut tries = Vec::new();
    for bundles in &bundles {
        for verb in VERBS.iter().filter(|verb| verb.is_possible()) {
            if options.wants_some(&verb.with(bundles)) {
                let (case, points) = undisturbed(world, bundles, verb, figures);
                tries.extend(all_tries(cases.len(), &points));
                cases.push(case);
            }
        }
    }
    tries.retain(|one| {
        let (place, way) = cases[one.case].names(*one);
        options.wants(&format!("{place}: {way}"))
    });
    let points: HashSet<_> = tries.iter().map(|one| (one.case, one.point)).collect();
    if world.worker == 0 {
        figures.add("system calls of the verbs", points.len() as u64);
        figures.add("ways to let them fail", tries.len() as u64);
    }
    for one in world.part(&by_turns(tries, &mut Random::new(options.seed))) {
        if world.is_over() {
            break;
        }
        attempt(world, &cases[one.case], one, figures);
    }
}

/// Orders the attempts randomly, but with each point once before any point twice, so that a sample
/// covers as many points as possible.
fn by_turns(mut tries: Vec<Try>, random: &mut Random) -> Vec<Try> {
    random.shuffle(&mut tries);
    let mut turns: HashMap<_, usize> = HashMap::new();
    let mut in_turns: Vec<_> = tries
        .into_iter()
        .map(|one| {
            let turn = turns.entry((one.case, one.point)).or_default();
            *turn += 1;
            (*turn, one)
        })
        .collect();
    in_turns.sort_by_key(|(turn, _)| *turn);
    in_turns.into_iter().map(|(_, one)| one).collect()
}

/// The behaviour of an undisturbed verb, which must be the same twice, and its system calls.
fn undisturbed<'b>(
    world: &World,
    bundles: &'b Bundles,
    verb: &'static Verb,
    figures: &mut Figures,
) -> (Case<'b>, Vec<Point>) {
    let mut place = figures.at(verb.with(bundles), "undisturbed".to_owned());
    let mut once = || {
        let ready = verb.prepare(world, bundles);
        let disturbed = ready.call(None);
        let outcome = ready.outcome(&disturbed);
        if disturbed.code() != Some(0) {
            place.found("fails undisturbed", &*disturbed.stderr);
        }
        remove(&ready, &mut place);
        (outcome, disturbed.points)
    };
    let ((outcome, points), (again, _)) = (once(), once());
    if outcome != again {
        let text = difference(&outcome, &again);
        place.found("is not the same undisturbed", text);
    }
    let case = Case {
        bundles,
        verb,
        outcome,
    };
    (case, points)
}

/// System calls that are not disturbed: exit(2) does not return, the C library makes arch_prctl(2)
/// before the program starts, and the others cannot fail.
const LEFT_ALONE: &[libc::c_long] = &[
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_arch_prctl,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
];

/// Each point with each error.
fn all_tries(case: usize, points: &[Point]) -> Vec<Try> {
    let points = points
        .iter()
        .filter(|point| !LEFT_ALONE.contains(&point.number));
    let can_fail = |point: &Point, errno: &Errno| {
        // The standard library calls getrandom(2) for the seeds of its tables and expects no other
        // error. For such a small request the kernel returns no other.
        point.number != libc::SYS_getrandom || [libc::EPERM, libc::ENOSYS].contains(&errno.value)
    };
    points
        .flat_map(|point| ERRORS.iter().map(move |errno| (*point, errno)))
        .filter(|(point, errno)| can_fail(point, errno))
        .flat_map(|(point, errno)| {
            [false, true].map(|for_ever| Try {
                case,
                point,
                errno,
                for_ever,
            })
        })
        .collect()
}

/// The text of a panic in std. A directory has nothing to flush, so close(2) of its descriptor has
/// no reason to fail.
const CLOSEDIR: &str = "unexpected error during closedir";

fn attempt(world: &World, case: &Case<'_>, one: Try, figures: &mut Figures) {
    let (place, way) = case.names(one);
    let mut place = figures.at(place, way);
    let ready = case.verb.prepare(world, case.bundles);
    let harm = Harm::Fail {
        errno: one.errno.value,
        for_ever: one.for_ever,
    };
    let disturbed = ready.call(Some((one.point, harm)));
    if disturbed.reached.is_none() {
        place.count("points that were not reached again");
    }
    let signals = &disturbed.ended.signals;
    let signal = signals.iter().find(|(_, signal)| *signal != libc::SIGKILL);
    if disturbed.ended.hung || disturbed.endless {
        place.found("hangs", disturbed.of_a_hang());
    } else if disturbed.stderr.contains(CLOSEDIR) {
        place.count("panics of the standard library, whose closedir(3) cannot fail");
    } else if let Some((process, signal)) = signal {
        let text = format!("process {process}, signal {signal}\n{}", disturbed.stderr);
        place.found("ends by a signal", text);
    } else if disturbed.code() == Some(0) {
        let outcome = ready.outcome(&disturbed);
        let difference = difference(&case.outcome, &outcome);
        if !is_allowed(case.verb, one, &difference, &disturbed.stderr) {
            let text = format!("{difference}\n{}", disturbed.stderr);
            place.found("succeeds with another result", text);
        }
        place.count("successes in spite of it");
    } else {
        failed(&ready, &disturbed, one, &mut place);
        place.count("failures because of it");
    }
    remove(&ready, &mut place);
}

/// Failures that are allowed. A failed hook of the last two moments is a warning and not a failure
/// of the verb, according to runtime-spec (runtime.md, Lifecycle). `features` leaves out what it
/// cannot find out. The plan's fallback for a
/// refused sysfs or device may be taken.
fn is_allowed(verb: &Verb, one: Try, difference: &str, message: &str) -> bool {
    let call = one.point.number;
    // Nothing can be reported if write(2) itself fails.
    let is_silent = one.for_ever && [libc::SYS_write, libc::SYS_writev].contains(&call);
    let denies_sysfs = call == libc::SYS_mount && one.errno.value == libc::EPERM;
    let is_of_sysfs = |line: &str| line.contains(" /sys") || !line[2..].contains([' ', ':']);
    let denies_node = call == libc::SYS_mknodat && one.errno.value == libc::EPERM;
    let is_of_node = |line: &str| line.starts_with("+ /") && line.contains(" /dev/");
    // `list` reports what it cannot read, and continues without it.
    let is_reported = verb.name == "list" && message.contains("load container ");
    verb.name == "features"
        || is_reported
        || is_about_start(verb, call, difference)
        || difference.lines().all(|line| match line {
            "- poststart" => message.contains("hooks.poststart"),
            "- poststop" => is_silent || message.contains("hooks.poststop"),
            line => (denies_sysfs && is_of_sysfs(line)) || (denies_node && is_of_node(line)),
        })
}

/// Init fails without a process that waits for it: when it receives the last message of `create`,
/// or accepts the connection of `start`, which then finds that the container has stopped.
fn is_about_start(verb: &Verb, call: i64, difference: &str) -> bool {
    let is_last = [libc::SYS_recvmsg, libc::SYS_accept4].contains(&call);
    verb.name == "create" && is_last && difference.contains("\n+ stopped\n")
}

/// A verb that has failed reports why, and has changed nothing.
fn failed(ready: &Ready<'_>, disturbed: &Disturbed, one: Try, place: &mut Place<'_>) {
    let message = disturbed.stderr.to_lowercase();
    let objects = disturbed.reached.as_deref().unwrap_or_default();
    // Nothing can be reported if write(2) itself fails.
    let is_silent = [libc::SYS_write, libc::SYS_writev].contains(&one.point.number);
    let is_memory = [libc::SYS_mmap, libc::SYS_brk].contains(&one.point.number);
    if is_memory && message.contains("out of memory") {
        // The C library has its own message for these errors.
    } else if one.point.number == libc::SYS_fcntl && message.contains("bad file ") {
        // This is opendir(3)'s message if it cannot read the descriptor's flags, whatever the
        // reason.
    } else if !is_silent && disturbed.reached.is_some() {
        if !one.errno.words.iter().any(|words| message.contains(words)) {
            place.found("the message lacks the errno", &*disturbed.stderr);
        } else if !is_memory && !names_it(&message, one.point.number, objects) {
            let text = format!("{}\n{objects:?}", disturbed.stderr);
            place.found("the message names neither the call nor its object", text);
        }
    }
    match ready.verb.before {
        Before::Nothing => {
            let left = ready.world.leftovers();
            // `run` reports a container that it could not delete, which stays for `delete`.
            let is_kept = ready.verb.name == "run" && ready.status() == "stopped";
            if !left.is_empty() && !one.for_ever && !is_kept {
                place.found("a failed verb leaves something", left.join("\n"));
            }
        }
        before if ready.verb.harmless => {
            let status = ready.status();
            // The call that would thaw the cgroup again fails too.
            let is_reported = one.for_ever && message.contains("the cgroup is still frozen");
            if before.status() != Some(&*status) && !is_reported {
                let text = format!("{status}\n{}", disturbed.stderr);
                place.found("a failed verb changes the status", text);
            }
        }
        _ => {}
    }
}

/// Whether a message in lower case names the system call, or one of the objects.
fn names_it(message: &str, number: i64, objects: &[String]) -> bool {
    let name = names::call(number);
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let stem = stem
        .trim_start_matches("new")
        .trim_start_matches("rt_")
        .trim_start_matches('f')
        .trim_end_matches("at");
    let mut files = objects
        .iter()
        .filter_map(|object| object.rsplit('/').next());
    let other = match stem {
        "cntl" | "dup" => "dup",
        other => other,
    };
    message.contains(stem)
        || message.contains(other)
        // The name of the program in the config.
        || message.contains("exec: \\\"")
        || files.any(|file| file.len() > 1 && message.contains(&file.to_lowercase()))
}

/// The lines that differ.
fn difference(expected: &str, found: &str) -> String {
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    let lost = expected
        .lines()
        .filter(|line| !has(found, line))
        .map(|line| format!("- {line}"));
    let new = found
        .lines()
        .filter(|line| !has(expected, line))
        .map(|line| format!("+ {line}"));
    lost.chain(new).collect::<Vec<_>>().join("\n")
}
