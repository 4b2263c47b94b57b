//! The cost of each verb in instructions and system calls, which do not depend on the load of the
//! machine.
//!
//! The budgets are in `data/budget-NAME.json`. A verb that exceeds its budget by more than the
//! headroom fails; `BLESS=1` writes the current numbers. They apply to the static release build,
//! made by the Rust release that blessed them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use bench::count::{self, What};
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::container::{Container, reap};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    system_calls_of_the_default_bundle [Need::NotAPeer, Need::ReleaseBuild],
    system_calls_of_a_docker_bundle [Need::NotAPeer, Need::ReleaseBuild],
    instructions_of_create [Need::NotAPeer, Need::ReleaseBuild],
    instructions_of_create_of_a_docker_bundle [Need::NotAPeer, Need::ReleaseBuild],
    instructions_of_the_other_verbs [Need::NotAPeer, Need::ReleaseBuild],
];

/// The percentage by which a verb may exceed its budget.
const HEADROOM: u64 = 3;

const VERBS: [&str; 6] = ["create", "start", "state", "exec", "kill", "delete"];

fn system_calls_of_the_default_bundle(t: &Sandbox) {
    system_calls(t, "default", || t.bundle());
}

fn system_calls_of_a_docker_bundle(t: &Sandbox) {
    system_calls(t, "docker", || docker(t));
}

fn system_calls<'t>(t: &'t Sandbox, name: &str, bundle: impl Fn() -> Bundle<'t>) {
    let mut spent = life(t, What::Syscalls, bundle(), &VERBS);
    let once = bundle().args(&["true"]).container();
    spent.insert("run", spend(What::Syscalls, &once, "run"));
    hold(name, "system-calls", &spent);
}

fn instructions_of_create(t: &Sandbox) {
    let spent = life(t, What::Instructions, t.bundle(), &["create"]);
    hold("default", "instructions-of-create", &spent);
}

fn instructions_of_create_of_a_docker_bundle(t: &Sandbox) {
    let spent = life(t, What::Instructions, docker(t), &["create"]);
    hold("docker", "instructions-of-create", &spent);
}

/// `run` would repeat `create` and `start`, and single-stepping is slow.
fn instructions_of_the_other_verbs(t: &Sandbox) {
    let spent = life(t, What::Instructions, t.bundle(), &VERBS[1..]);
    hold("default", "instructions", &spent);
}

type Spent = BTreeMap<&'static str, u64>;

/// A config as dockerd writes it, with its seccomp profile, 20 bind mounts and sysctls.
fn docker(t: &Sandbox) -> Bundle<'_> {
    let profile = include_str!("../../data/docker-seccomp.json");
    let profile = serde_json::from_str(profile).expect("the profile");
    let bundle = t.bundle().set("/linux/seccomp", profile).set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "0"}),
    );
    (0..20).fold(bundle, |bundle, number| {
        let source = t.path(&format!("volume{number:02}"));
        std::fs::create_dir_all(&source).expect("source of a bind mount");
        let options = json!([
            "rbind",
            if number % 2 == 0 { "ro" } else { "rw" },
            "rprivate"
        ]);
        let destination = format!("/srv/{number:02}");
        bundle.mount(json!({
            "destination": destination, "type": "bind", "source": source, "options": options,
        }))
    })
}

/// Runs a container that does nothing through all verbs. Returns the cost of the `counted` ones.
fn life(t: &Sandbox, what: What, bundle: Bundle<'_>, counted: &[&'static str]) -> Spent {
    let container = bundle.args(&["sleep", "1000"]).container();
    let mut spent = BTreeMap::new();
    for verb in VERBS {
        let pid = if verb == "kill" {
            Some(container.pid())
        } else {
            None
        };
        if counted.contains(&verb) {
            spent.insert(verb, spend(what, &container, verb));
        } else {
            t.call(&words(&container, verb)[0])
                .args(&words(&container, verb)[1..])
                .run()
                .ok();
        }
        pid.map(reap);
    }
    spent
}

fn words(container: &Container<'_>, verb: &str) -> Vec<OsString> {
    container.command_line(
        verb,
        match verb {
            "exec" => &["true"],
            "kill" => &["KILL"],
            _ => &[],
        },
    )
}

fn spend(what: What, container: &Container<'_>, verb: &str) -> u64 {
    let argv = words(container, verb);
    let counted = count::run(what, &argv).expect("count");
    assert_eq!(counted.status, 0, "{argv:?}");
    counted.count
}

/// Compares with the file, or writes it.
#[track_caller]
fn hold(bundle: &str, what: &str, spent: &Spent) {
    let name = format!("data/budget-{bundle}-{what}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(spent).expect("serialise");
        std::fs::write(&path, text + "\n").expect("write the budget");
        return;
    }
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let budget: Value = serde_json::from_str(&text).expect("the budget");
    let over: Vec<String> = spent
        .iter()
        .filter_map(|(verb, count)| above(&budget, verb, *count))
        .collect();
    assert!(
        over.is_empty(),
        "more than {name} allows, even with {HEADROOM} % of headroom:\n{}\nIf what it buys is worth \
         it: BLESS=1 RUNTIME=PATH cargo test -p runtime-tests --test runtime -- budget",
        over.join("\n"),
    );
}

/// The message about a verb that is above its budget.
fn above(budget: &Value, verb: &str, count: u64) -> Option<String> {
    let Some(allowed) = budget[verb].as_u64() else {
        return Some(format!(
            "{verb}: {count}, and the budget has no number for it"
        ));
    };
    let percent = (count as f64 / allowed as f64 - 1.0) * 100.0;
    (count * 100 > allowed * (100 + HEADROOM))
        .then(|| format!("{verb}: {count}, {percent:.1} % above {allowed}"))
}
