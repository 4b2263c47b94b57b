//! What a restored process has: nothing of the caller of `restore`, and nothing that the config does
//! not give.

use std::fs;

use serde_json::{Value, json};

use super::criu::{CRIU, MOMENT, checkpoint, count, counter, launch, restore, wait_count};
use crate::caller::{self, HARMLESS};
use crate::host::proc_status_field;
use crate::{Container, Need, Sandbox, Test, probe, tests};

pub const TESTS: &[Test] = tests![
    nothing_of_the_caller_is_restored[CRIU],
    memory_policy_is_that_of_the_config[CRIU, Need::Path("/proc/self/numa_maps")],
    session_keyring_of_the_caller_is_kept_on_request[CRIU],
    attribute_that_cannot_be_set_is_named[CRIU, Need::Path("/proc/self/numa_maps")],
    cve_2026_18107_credentials_beyond_the_config_are_refused[CRIU],
    cve_2026_18107_each_process_is_compared[CRIU],
    user_namespace_beyond_the_config_is_refused[CRIU],
];

/// Runs the container with these attributes, which the probe reports, and saves it.
fn saved<'t>(t: &'t Sandbox, attributes: &[(&str, Value)]) -> Container<'t> {
    let bundle = attributes.iter().fold(t.bundle(), |bundle, (name, value)| {
        bundle.set(name, value.clone())
    });
    let container = bundle.probe(&["saved", "inherited"]).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    container
}

/// What the probe reports, after the number that it counts.
fn reported(container: &Container) -> Vec<String> {
    let text = fs::read_to_string(container.bundle.join("rootfs/count")).expect("the count");
    text.split_whitespace().skip(1).map(str::to_owned).collect()
}

/// Restores the container by a caller with each careless trait. Returns what the probe reports.
fn restored(t: &Sandbox, container: &Container, flags: &[&str]) -> Vec<String> {
    let saved = count(container);
    let script = "echo 500 >/proc/self/oom_score_adj; exec \"$@\"";
    let words = ["sh", "-c", script, "sh"].map(Into::into);
    let prefix = words.into_iter().chain(caller::with(&HARMLESS));
    let call = t.runtime().args(["restore", "--detach", "--image-path"]);
    let call = call.arg(super::criu::images(t)).args(flags).prefix(prefix);
    container.launch(call).finish().ok();
    wait_count(t, container, saved + 2);
    reported(container)
}

fn nothing_of_the_caller_is_restored(t: &Sandbox) {
    let container = saved(
        t,
        &[
            (
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_BE", "priority": 7}),
            ),
            ("/linux/personality", json!({"domain": "LINUX32"})),
            ("/process/oomScoreAdj", json!(0)),
        ],
    );
    let before = reported(&container);
    let after = restored(t, &container, &[]);
    assert_eq!(after[1..], before[1..], "all but the session keyring");
    let own = probe::session_keyring().to_string();
    assert!(![&own, &before[0]].contains(&&after[0]), "{after:?}");
    let pid = container.pid();
    let all = proc_status_field(std::process::id() as i32, "Cpus_allowed_list:");
    for (field, expected) in [
        ("SigIgn:", Some("0000000000001000")),
        ("SigBlk:", Some("0000000000000000")),
        ("Umask:", Some("0022")),
        ("Cpus_allowed_list:", all.as_deref()),
    ] {
        assert_eq!(
            proc_status_field(pid, field).as_deref(),
            expected,
            "{field}"
        );
    }
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("the score");
    assert_eq!(score.trim(), "0");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    assert_eq!(open.count(), 3);
    container.stop();
    container.delete().ok();
}

fn policy(nodes: &str) -> Value {
    json!({"mode": "MPOL_BIND", "nodes": nodes})
}

fn memory_policy_is_that_of_the_config(t: &Sandbox) {
    let container = saved(t, &[("/linux/memoryPolicy", policy("0"))]);
    restored(t, &container, &[]);
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", container.pid())).expect("maps");
    let all = |line: &str| line.split(' ').nth(1) == Some("bind:0");
    assert!(maps.lines().all(all), "{maps}");
    container.stop();
    container.delete().ok();
}

fn session_keyring_of_the_caller_is_kept_on_request(t: &Sandbox) {
    let container = saved(t, &[]);
    let after = restored(t, &container, &["--no-new-keyring"]);
    assert_eq!(after[0], probe::session_keyring().to_string());
    container.stop();
    container.delete().ok();
}

/// Changes the config of the container.
fn change(container: &Container, alter: impl FnOnce(&mut Value)) {
    let file = container.bundle.join("config.json");
    let text = fs::read_to_string(file).expect("the config");
    let mut config = serde_json::from_str(&text).expect("JSON");
    alter(&mut config);
    crate::bundle::write_config(&container.bundle, &config);
}

fn attribute_that_cannot_be_set_is_named(t: &Sandbox) {
    let container = saved(t, &[]);
    change(&container, |config| {
        config["linux"]["memoryPolicy"] = policy("1000");
    });
    let text = restore(t, &container, &[]).fails().stderr;
    let words = "linux.memoryPolicy: set_mempolicy MPOL_BIND nodes 1000: ";
    assert!(text.contains(words), "{text}");
    container.verb("state").fails_with("does not exist");
}

/// The restore fails with these words, no process of the container runs, and nothing is left.
#[track_caller]
fn is_refused(t: &Sandbox, container: &Container, words: &str) {
    let before = count(container);
    let text = restore(t, container, &[]).fails().stderr;
    assert!(text.contains(words), "{text}");
    container.verb("state").fails_with("does not exist");
    assert_eq!(count(container), before, "no process has run: {text}");
}

/// CVE-2026-18107: CRIU asks each process for its credentials by code that it injects into the
/// process, which could give other answers. The images then have more than the config gives. Here
/// the config loses what the images have, which is the same to the runtime.
fn cve_2026_18107_credentials_beyond_the_config_are_refused(t: &Sandbox) {
    // Without CAP_SETUID and CAP_SETGID the ids are those of the config.
    let own = json!(["CAP_KILL", "CAP_NET_RAW"]);
    let sets = json!({"bounding": own, "effective": own, "permitted": own});
    let bundle = t.bundle().set("/process/capabilities", sets);
    let bundle = bundle.set("/process/noNewPrivileges", json!(true));
    let container = bundle.shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    let good = container.bundle.join("config.json");
    let good = fs::read(good).expect("the config");
    let one = json!(["CAP_KILL"]);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mknod"], "action": "SCMP_ACT_ERRNO"}]});
    for (property, value, words) in [
        (
            "/process/capabilities/bounding",
            one.clone(),
            "has CAP_NET_RAW in this set",
        ),
        (
            "/process/capabilities/permitted",
            one,
            "has CAP_NET_RAW in this set",
        ),
        ("/process/user/uid", json!(1000), "has the ids 0, 0, 0, 0 "),
        ("/process/user/gid", json!(1000), "has the ids 0, 0, 0, 0 "),
        ("/process/user/additionalGids", json!([5]), "has the groups"),
        ("/linux/seccomp", filter, "is without a seccomp filter"),
    ] {
        change(&container, |config| {
            let (parent, name) = property.rsplit_once('/').expect("a property");
            config.pointer_mut(parent).expect("its object")[name] = value;
        });
        let property = property[1..].replace('/', ".");
        is_refused(
            t,
            &container,
            &format!("{property}: process 1 of the container (sh) "),
        );
        let text = restore(t, &container, &[]).fails().stderr;
        assert!(text.contains(words), "{text}");
        fs::write(container.bundle.join("config.json"), &good).expect("the config");
    }
    restore(t, &container, &[]).ok();
    wait_count(t, &container, count(&container));
    container.stop();
    container.delete().ok();
}

/// A process that `exec` has left in the container has more than the config gives. CRIU must not let
/// it, or its parent, run.
fn cve_2026_18107_each_process_is_compared(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let idle = format!("while :; do {MOMENT}; done");
    let script = format!("({idle}) </dev/null >/dev/null 2>&1 & exit 0");
    let words = ["exec", "--cap", "CAP_SYS_ADMIN", &container.id];
    t.runtime()
        .args(words)
        .args(["sh", "-c", &script])
        .run()
        .ok();
    checkpoint(t, &container, &[]);
    is_refused(t, &container, "process.capabilities.bounding: process ");
}

fn user_namespace_beyond_the_config_is_refused(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    change(&container, |config| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let linux = &mut config["linux"];
        let namespaces = linux["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({"type": "user"}));
        (linux["uidMappings"], linux["gidMappings"]) = (map.clone(), map);
    });
    is_refused(t, &container, "is in the user namespace of the host");
}
