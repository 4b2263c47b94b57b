//! `linux.seccomp`.

use super::*;
use crate::config::seccomp::{Action, Arch, Operator, Seccomp};

const AT: &str = "/linux/seccomp";

fn wrong(rows: &[(&str, &str, &str)]) {
    for (pointer, value, expected) in rows {
        let expected = format!("linux.seccomp{expected}");
        refused(&[(&format!("{AT}{pointer}"), value, &expected)]);
    }
}

fn good(pointer: &str, value: &str) -> Seccomp {
    accepted(&[(&format!("{AT}{pointer}"), value)])
        .linux
        .seccomp
        .expect("a filter")
}

#[test]
fn invalid_filters() {
    wrong(&[
        (
            "/defaultAction",
            r#""SCMP_ACT_X""#,
            ".defaultAction: unknown variant `SCMP_ACT_X`",
        ),
        ("/defaultAction", "", ".defaultAction: missing"),
        (
            "/defaultAction",
            r#""SCMP_ACT_NOTIFY""#,
            ".defaultErrnoRet: SCMP_ACT_NOTIFY returns no",
        ),
        (
            "/defaultAction",
            r#""SCMP_ACT_ALLOW""#,
            ".defaultErrnoRet: SCMP_ACT_ALLOW returns no",
        ),
        (
            "/defaultErrnoRet",
            "4096",
            ".defaultErrnoRet: 4096 is outside the range 0 to 4095",
        ),
        (
            "/architectures/0",
            r#""SCMP_ARCH_PDP11""#,
            ".architectures[0]: unknown variant",
        ),
        (
            "/flags/0",
            r#""SECCOMP_FILTER_FLAG_X""#,
            ".flags[0]: unknown variant",
        ),
        ("/listenerPath", r#""run/x""#, ".listenerPath: "),
        (
            "/listenerMetadata",
            r#""x""#,
            ".listenerMetadata: needs listenerPath",
        ),
        (
            "/syscalls/0/names",
            "[]",
            ".syscalls[0].names: needs a name",
        ),
        ("/syscalls/0/names", "", ".syscalls[0].names: missing"),
        (
            "/syscalls/0/names/1",
            r#""""#,
            ".syscalls[0].names: needs a name",
        ),
        (
            "/syscalls/0/action",
            r#""SCMP_ACT_NOTIFY""#,
            ".listenerPath: SCMP_ACT_NOTIFY needs a listener",
        ),
        (
            "/syscalls/0/action",
            r#""X""#,
            ".syscalls[0].action: unknown variant `X`",
        ),
        (
            "/syscalls/0/errnoRet",
            "1",
            ".syscalls[0].errnoRet: SCMP_ACT_ALLOW returns no errno",
        ),
        (
            "/syscalls/1/args/0/index",
            "6",
            ".syscalls[1].args[0].index: 6 is outside the range 0 to 5",
        ),
        (
            "/syscalls/1/args/0/op",
            r#""SCMP_CMP_X""#,
            ".syscalls[1].args[0].op: unknown variant",
        ),
        (
            "/syscalls/1/args/0/value",
            r#""8""#,
            ".syscalls[1].args[0].value: invalid type: string",
        ),
    ]);
}

#[test]
fn the_engine_filter() {
    let filter = load(&json(ENGINE))
        .expect("valid")
        .linux
        .seccomp
        .expect("a filter");
    assert_eq!(filter.default_action, Action::Errno(38));
    assert_eq!(filter.architectures, [Arch::X86_64, Arch::X86, Arch::X32]);
    assert_eq!(filter.flags, 2);
    assert_eq!(filter.rules[0].names, ["read", "write", "exit"]);
    assert_eq!(filter.rules[0].action, Action::Allow);
    let arg = &filter.rules[2].args[0];
    assert_eq!((arg.index, arg.value, arg.value_two), (0, 2_114_060_288, 0));
    assert_eq!(
        (arg.operator, filter.rules[2].action),
        (Operator::MaskedEqual, Action::Errno(1))
    );
}

#[test]
fn actions_flags_and_architectures() {
    assert_eq!(
        good("/defaultErrnoRet", "").default_action,
        Action::Errno(1)
    );
    for (name, expected) in [
        ("SCMP_ACT_KILL", Action::KillThread),
        ("SCMP_ACT_KILL_THREAD", Action::KillThread),
        ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
        ("SCMP_ACT_TRAP", Action::Trap),
        ("SCMP_ACT_TRACE", Action::Trace(1)),
        ("SCMP_ACT_ERRNO", Action::Errno(1)),
        ("SCMP_ACT_LOG", Action::Log),
    ] {
        let filter = good("/syscalls/0/action", &format!("{name:?}"));
        assert_eq!(filter.rules[0].action, expected, "{name}");
    }
    assert_eq!(good("/flags", "").flags, 4, "absent means SPEC_ALLOW");
    assert_eq!(good("/flags", "[]").flags, 0);
    let both = r#"["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#;
    assert_eq!(good("/flags", both).flags, 5);
    let config = warned(
        "/linux/seccomp/flags",
        r#"["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#,
        "linux.seccomp.flags[0]: ",
    );
    assert_eq!(config.linux.seccomp.expect("a filter").flags, 0);
    let config = warned(
        "/linux/seccomp/architectures/1",
        r#""SCMP_ARCH_S390X""#,
        "linux.seccomp.architectures[1]: SCMP_ARCH_S390X has no table",
    );
    let filter = config.linux.seccomp.expect("a filter");
    assert_eq!(filter.architectures, [Arch::X86_64, Arch::X32]);
    assert_eq!(
        good("/architectures/0", r#""SCMP_ARCH_X32""#)
            .architectures
            .len(),
        2
    );
}
