//! `linux.netDevices`: devices of the host that move into the container. The host is a network
//! namespace of its own in each case, with the device `eth9`.

use serde_json::{Value, json};

use super::userns_fs::mapped;
use crate::{Bundle, Need, Output, Sandbox, Test, tests};

const VETH: Need = Need::Custom("iproute2 and a kernel with veth", || {
    let script = "ip link add eth9 type veth peer name peer9";
    let output = std::process::Command::new("unshare")
        .args(["-n", "sh", "-c", script])
        .output();
    let made = output.is_ok_and(|output| output.status.success());
    made.then_some(())
        .ok_or("the host cannot make a veth device".to_owned())
});

pub const TESTS: &[Test] = tests![
    device_moves_with_its_addresses_and_routes[VETH],
    device_gets_another_name[VETH],
    device_of_a_container_with_a_user_namespace[VETH],
    device_moves_into_a_joined_namespace[VETH],
    device_is_given_back_after_a_failure[VETH],
    device_stays_where_its_move_fails[VETH],
    invalid_devices,
];

const SET_UP: &str = "ip link add eth9 mtu 1400 type veth peer name peer9
ip address add 10.9.0.1/24 dev eth9
ip address add fd00:9::1/64 dev eth9 nodad
ip link set eth9 up
ip link set peer9 up
ip route add 10.10.0.0/16 via 10.9.0.254 dev eth9
ip -6 route add fd00:10::/64 via fd00:9::fe dev eth9
";

/// Prints a device as the host's and the container's ip(8) both can.
const SHOW: &str =
    "show() { ip link show $1 | grep -o 'mtu [0-9]*'; ip link show $1 | grep -o '[<,]UP[,>]';
ip address show $1 | grep -oE 'inet6? (10|fd)[^ ]*'; ip route | grep -o '10.10.*via [^ ]*'
ip -6 route | grep -oE 'fd00:10::/64 via [^ ]*'; }
";
const SHOWN: &str = "mtu 1400
,UP,
inet 10.9.0.1/24
inet6 fd00:9::1/64
10.10.0.0/16 via 10.9.0.254
fd00:10::/64 via fd00:9::fe
";

fn with_device(bundle: Bundle<'_>, device: Value) -> Bundle<'_> {
    bundle.set("/linux/netDevices", json!({"eth9": device}))
}

/// `run` on a host with the device; `after` runs on that host afterwards.
fn run(t: &Sandbox, bundle: Bundle, after: &str) -> Output {
    let script = format!("{SHOW}{SET_UP}\"$@\"; status=$?; {after}\nexit $status");
    let container = bundle.container();
    let prefix = ["unshare", "-n", "sh", "-c", &script, "sh"];
    container
        .launch(t.runtime().arg("run").prefix(prefix))
        .finish()
}

fn device_moves_with_its_addresses_and_routes(t: &Sandbox) {
    let bundle = with_device(t.bundle(), json!({})).shell(&format!("{SHOW}show eth9"));
    let output = run(
        t,
        bundle,
        "ip link show eth9 2>/dev/null && echo still there",
    )
    .ok();
    assert_eq!(output.stdout, SHOWN);
}

fn device_gets_another_name(t: &Sandbox) {
    for (name, shown) in [("inner0", "inner0"), ("net%d", "net0")] {
        let script = format!("{SHOW}show {shown}");
        let bundle = with_device(t.bundle(), json!({"name": name})).shell(&script);
        assert_eq!(run(t, bundle, "").ok().stdout, SHOWN, "{name}");
    }
}

fn device_of_a_container_with_a_user_namespace(t: &Sandbox) {
    let script = format!("{SHOW}show inner0");
    let bundle = with_device(mapped(t.bundle()), json!({"name": "inner0"})).shell(&script);
    assert_eq!(run(t, bundle, "").ok().stdout, SHOWN);
}

fn device_moves_into_a_joined_namespace(t: &Sandbox) {
    let holder = t.bundle().args(&["sleep", "1000"]).container();
    holder.launch_ok();
    let path = format!("/proc/{}/ns/net", holder.pid());
    let joining = t.bundle().without_namespace("network");
    let joining = joining.push(
        "/linux/namespaces",
        json!({"type": "network", "path": path}),
    );
    let bundle = with_device(joining, json!({})).shell(&format!("{SHOW}show eth9"));
    let output = run(
        t,
        bundle,
        "ip link show eth9 2>/dev/null && echo still there",
    )
    .ok();
    assert_eq!(output.stdout, SHOWN);
}

/// A hook fails when the device has moved.
fn device_is_given_back_after_a_failure(t: &Sandbox) {
    for bundle in [t.bundle(), mapped(t.bundle())] {
        let bundle = with_device(bundle, json!({"name": "inner0"}));
        let hook = json!([{"path": "/bin/false"}]);
        let bundle = bundle.set("/hooks", json!({"createRuntime": hook}));
        let output = run(t, bundle, "show eth9");
        assert_eq!(output.stdout, SHOWN);
        output.fails_with("createRuntime");
    }
}

fn device_stays_where_its_move_fails(t: &Sandbox) {
    let missing = json!({"eth9": {}, "gone0": {}});
    let taken = json!({"eth9": {"name": "lo"}});
    for (devices, message) in [
        (
            missing,
            "move network device gone0 into the container as gone0: RTM_GETLINK: no such device",
        ),
        (
            taken,
            "move network device eth9 into the container as lo: RTM_NEWLINK: file exists",
        ),
    ] {
        let bundle = t.bundle().set("/linux/netDevices", devices);
        let output = run(t, bundle, "show eth9");
        assert_eq!(output.stdout, SHOWN, "{message}");
        output.fails_with(message);
    }
}

fn invalid_devices(t: &Sandbox) {
    for (devices, message) in [
        (json!({"a/b": {}}), "is not a name of a network device"),
        (
            json!({"e": {"name": "abcdefghijklmnop"}}),
            "is longer than 15 bytes",
        ),
        (json!({"e": {"name": "a%s"}}), "that is not part of one %d"),
        (
            json!({"a": {"name": "x"}, "b": {"name": "x"}}),
            "is also the name of linux.netDevices",
        ),
    ] {
        let container = t.bundle().set("/linux/netDevices", devices).container();
        container.create().fails_with(message);
    }
    let bundle = with_device(t.bundle().without_namespace("network"), json!({}));
    let message = "linux.netDevices: needs a network namespace";
    bundle.container().create().fails_with(message);
}
