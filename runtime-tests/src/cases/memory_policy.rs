//! `linux.memoryPolicy`: the memory nodes of the program.

use serde_json::{Value, json};

use crate::{Container, Need, Sandbox, Test, tests};

const NUMA: Need = Need::Path("/proc/self/numa_maps");

pub const TESTS: &[Test] = tests![
    memory_policies_are_set[NUMA],
    memory_policy_of_exec[NUMA],
    memory_nodes_that_the_host_lacks[NUMA],
    invalid_memory_policies,
];

/// Prints the policy of the first mapping, which is that of the process. numa(7).
const SHOW: &str = "head -n1 /proc/self/numa_maps";

fn with_policy<'a>(t: &'a Sandbox, policy: Value, script: &str) -> Container<'a> {
    let bundle = t.bundle().set("/linux/memoryPolicy", policy);
    bundle.shell(script).container()
}

fn memory_policies_are_set(t: &Sandbox) {
    for (mode, nodes, flags, shown) in [
        ("MPOL_DEFAULT", "", json!([]), " default "),
        ("MPOL_LOCAL", "", json!([]), " local "),
        ("MPOL_PREFERRED", "", json!([]), " local "),
        ("MPOL_PREFERRED", "0", json!([]), " prefer:0 "),
        ("MPOL_PREFERRED_MANY", "0", json!([]), " prefer (many):0 "),
        ("MPOL_INTERLEAVE", "0", json!([]), " interleave:0 "),
        (
            "MPOL_BIND",
            "0",
            json!(["MPOL_F_STATIC_NODES"]),
            " bind=static:0 ",
        ),
        (
            "MPOL_BIND",
            "0-3",
            json!(["MPOL_F_RELATIVE_NODES"]),
            " bind=relative:",
        ),
    ] {
        let policy = json!({"mode": mode, "nodes": nodes, "flags": flags});
        let output = with_policy(t, policy, SHOW).run().ok();
        assert!(output.stdout.contains(shown), "{mode}: {output}");
    }
}

fn memory_policy_of_exec(t: &Sandbox) {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let container = with_policy(t, policy, "sleep 1000");
    container.launch_ok();
    let output = container.exec(&["sh", "-c", SHOW]).ok();
    assert!(output.stdout.contains(" bind:0 "), "{output}");
}

fn memory_nodes_that_the_host_lacks(t: &Sandbox) {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "1000"});
    let container = with_policy(t, policy, SHOW);
    let message = "linux.memoryPolicy: set_mempolicy MPOL_BIND nodes 1000: ";
    container.create().fails_with(message);
    container.verb("state").fails_with("does not exist");
}

fn invalid_memory_policies(t: &Sandbox) {
    for (policy, message) in [
        (
            json!({"mode": "MPOL_BIND", "nodes": ""}),
            "linux.memoryPolicy.nodes: MPOL_BIND needs nodes",
        ),
        (
            json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
            "linux.memoryPolicy.nodes: MPOL_LOCAL has no nodes",
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "3-1"}),
            "is not a list such as 0-3,5",
        ),
    ] {
        let container = with_policy(t, policy, SHOW);
        container.create().fails_with(message);
        container.verb("state").fails_with("does not exist");
    }
}
