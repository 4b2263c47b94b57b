//! `linux.sysctl`.

use serde_json::json;

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    parameters_of_the_network_namespace,
    parameters_of_the_ipc_namespace,
    slashes_separate_too,
    domain_name_parameter,
    host_keeps_its_value,
    parameters_of_the_host_are_refused,
    network_parameter_without_namespace_is_refused,
    ipc_parameter_without_namespace_is_refused,
    host_name_parameter_is_refused[Need::NotAPeer],
    unknown_parameter_is_an_error,
    bad_value_is_an_error,
    parameter_that_leads_elsewhere_is_refused,
    image_cannot_redirect_the_value,
];

fn parameters_of_the_network_namespace(t: &Sandbox) {
    let sysctl = json!({"net.ipv4.ip_local_port_range": "1024 2048", "net.core.somaxconn": "99"});
    let bundle = t.bundle().set("/linux/sysctl", sysctl);
    let files = [
        "cat",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/net/core/somaxconn",
    ];
    bundle
        .args(&files)
        .container()
        .run()
        .ok()
        .prints("1024\t2048\n99");
}

fn parameters_of_the_ipc_namespace(t: &Sandbox) {
    let sysctl = json!({"kernel.msgmax": "65536", "fs.mqueue.queues_max": "77"});
    let bundle = t.bundle().set("/linux/sysctl", sysctl);
    let files = [
        "cat",
        "/proc/sys/kernel/msgmax",
        "/proc/sys/fs/mqueue/queues_max",
    ];
    bundle
        .args(&files)
        .container()
        .run()
        .ok()
        .prints("65536\n77");
}

fn slashes_separate_too(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"net/ipv4/ip_forward": "1"}));
    bundle
        .args(&["cat", "/proc/sys/net/ipv4/ip_forward"])
        .container()
        .run()
        .ok()
        .prints("1");
}

fn domain_name_parameter(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"kernel.domainname": "harbour"}));
    bundle
        .args(&["cat", "/proc/sys/kernel/domainname"])
        .container()
        .run()
        .ok()
        .prints("harbour");
}

fn host_keeps_its_value(t: &Sandbox) {
    let read = || std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax");
    let before = read();
    t.bundle()
        .set("/linux/sysctl", json!({"kernel.msgmax": "12345"}))
        .container()
        .run()
        .ok();
    assert_eq!(read(), before);
}

fn parameters_of_the_host_are_refused(t: &Sandbox) {
    for key in [
        "kernel.panic",
        "vm.swappiness",
        "fs.file-max",
        "kernel.core_pattern",
    ] {
        let bundle = t.bundle().set("/linux/sysctl", json!({key: "1"}));
        bundle.container().create().fails_with(key);
    }
}

fn network_parameter_without_namespace_is_refused(t: &Sandbox) {
    let bundle = t.bundle().without_namespace("network");
    let bundle = bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    bundle
        .container()
        .create()
        .fails_with("net.ipv4.ip_forward");
}

fn ipc_parameter_without_namespace_is_refused(t: &Sandbox) {
    let bundle = t.bundle().without_namespace("ipc").patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["type"] != "mqueue");
    });
    let bundle = bundle.set("/linux/sysctl", json!({"kernel.msgmax": "1"}));
    bundle.container().create().fails_with("kernel.msgmax");
}

fn host_name_parameter_is_refused(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"kernel.hostname": "ship"}));
    bundle.container().create().fails_with("hostname");
}

fn unknown_parameter_is_an_error(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"}));
    bundle.container().create().fails_with("no_such_thing");
}

fn bad_value_is_an_error(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "many"}));
    bundle.container().create().fails_with("ip_forward");
}

fn parameter_that_leads_elsewhere_is_refused(t: &Sandbox) {
    for key in ["net/../kernel/panic", "net.ipv4..ip_forward", "net//ipv4"] {
        t.bundle()
            .set("/linux/sysctl", json!({key: "1"}))
            .container()
            .create()
            .fails();
    }
}

/// A mount on the container's /proc does not determine where the value is written.
fn image_cannot_redirect_the_value(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let bundle = bundle.patch(|config| {
        config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let bundle = bundle.file("/proc/sys/net/ipv4/ip_forward", "decoy");
    let decoy = bundle.rootfs().join("proc/sys/net/ipv4/ip_forward");
    bundle.container().run();
    assert_eq!(std::fs::read_to_string(decoy).expect("the decoy"), "decoy");
}
