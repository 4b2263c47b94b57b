//! The session keyring: private to the container, and out of reach of every other container.

use crate::container::Container;
use crate::{Sandbox, Test, probe, tests};

pub const TESTS: &[Test] = tests![
    a_container_has_a_session_keyring_of_its_own,
    the_callers_session_keyring_is_kept_on_request,
    exec_has_neither_the_callers_keyring_nor_a_shared_one,
    no_other_container_can_prepare_the_keyring,
    no_other_container_finds_the_keys,
];

/// The number of the session keyring of the container's process.
fn session_keyring(t: &Sandbox, flags: &[&str]) -> String {
    let container = t.bundle().probe(&["keyring", "session"]).container();
    container.run_with(flags).ok().stdout
}

fn a_container_has_a_session_keyring_of_its_own(t: &Sandbox) {
    let (first, second) = (session_keyring(t, &[]), session_keyring(t, &[]));
    let of_the_caller = probe::session_keyring().to_string();
    assert!(first != second && first.trim() != of_the_caller, "{first}");
}

fn the_callers_session_keyring_is_kept_on_request(t: &Sandbox) {
    let of_the_caller = probe::session_keyring().to_string();
    let kept = session_keyring(t, &["--no-new-keyring"]);
    assert_eq!(kept.trim(), of_the_caller);
}

/// A container that has created a keyring, with a key in it that everyone may use, and keeps it.
fn planted<'t>(t: &'t Sandbox, name: &str) -> Container<'t> {
    let container = t.bundle().probe(&["keyring", "plant", name]).container();
    container.launch_ok();
    container.wait_stdout("planted");
    container
}

fn exec_has_neither_the_callers_keyring_nor_a_shared_one(t: &Sandbox) {
    let container = t.bundle().probe(&["keyring", "keep"]).container();
    container.launch_ok();
    container.wait_stdout("keyring");
    let session = ["/probe", "--probe", "keyring", "session"];
    let (first, second) = (container.exec(&session).ok(), container.exec(&session).ok());
    assert_ne!(first.stdout, second.stdout);
    assert_ne!(
        first.stdout.trim(),
        probe::session_keyring().to_string(),
        "the caller's"
    );
}

/// Container ids are public, so others could create a keyring that is found by the id.
fn no_other_container_can_prepare_the_keyring(t: &Sandbox) {
    let victim = t.bundle().probe(&["keyring", "find"]).container();
    let attackers = [
        planted(t, &format!("_ses.{}", victim.id)),
        planted(t, "_ses"),
        planted(t, &victim.id),
    ];
    victim.run().ok().prints("absent");
    for attacker in attackers {
        attacker.delete_force().ok();
    }
}

/// The number of a keyring is public too: /proc/keys shows it to each process of the user.
fn no_other_container_finds_the_keys(t: &Sandbox) {
    let victim = t.bundle().probe(&["keyring", "keep"]).container();
    victim.launch_ok();
    victim.wait_stdout("keyring");
    let stdout = victim.stdout();
    let number = stdout.trim().trim_start_matches("keyring ");
    let thief = t.bundle().probe(&["keyring", "steal", number]).container();
    thief.run().ok().prints("absent");
}
