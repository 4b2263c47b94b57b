//! The harness itself: it must report a failure, a hang and every kind of leak.

use std::process::Command;

/// The report about the cases that must fail, and the exit status.
fn selftest() -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_runtime-tests"))
        .args(["--runtime", "/bin/true", "selftest::"])
        .env("RUNTIME_TESTS_SELFTEST", "1")
        .env("RUNTIME_TESTS_PATIENCE", "1")
        .output()
        .expect("run the program");
    (
        String::from_utf8(output.stdout).expect("UTF-8"),
        output.status.code(),
    )
}

#[test]
fn every_kind_of_failure_is_noticed() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let (report, status) = selftest();
    // The part of the report between a case's name and the next case.
    let part = |start: &str| {
        let at = report
            .find(start)
            .unwrap_or_else(|| panic!("no {start:?} in\n{report}"));
        let rest = &report[at + start.len()..];
        let end = ["\nok ", "\nFAILED ", "\nskipped", "\nfailed:"]
            .iter()
            .filter_map(|next| rest.find(next))
            .min();
        // The report of the last case ends with an empty line.
        rest[..end.unwrap_or(rest.len())].trim_end()
    };
    assert_eq!(part("ok selftest::passes"), "");
    assert!(
        part("FAILED selftest::panics").contains("src/cases/selftest.rs"),
        "{report}"
    );
    assert!(
        part("FAILED selftest::leaves_a_process").contains("(sleep) is still"),
        "{report}"
    );
    assert!(
        part("FAILED selftest::leaves_a_mount").contains("mounted is still"),
        "{report}"
    );
    assert!(
        part("FAILED selftest::leaves_a_cgroup").contains("cgroup /"),
        "{report}"
    );
    assert!(
        part("FAILED selftest::leaves_a_state_file").contains("/left is still"),
        "{report}"
    );
    assert!(
        part("FAILED selftest::hangs_in_a_command").contains("killed"),
        "{report}"
    );
    assert_eq!(part("skipped selftest::skips_itself: "), "only it can know");
    assert_eq!(
        part("skipped selftest::is_skipped: "),
        "the host lacks: /no/such/path"
    );
    assert!(
        report.ends_with("\n1 passed, 6 failed, 2 skipped\n"),
        "{report}"
    );
    assert_eq!(status, Some(1));
    assert!(
        !report.contains("mounts were left"),
        "what leaks is removed\n{report}"
    );
}
