//! `process`.

use super::*;
use crate::config::scheduling::{ExecAffinity, Policy};
use crate::config::{ConsoleSize, Process};
use crate::error::texts;

fn process(pointer: &str, value: &str) -> Process {
    accepted(&[(&format!("/process{pointer}"), value)])
        .process
        .expect("a process")
}

#[test]
fn invalid_processes() {
    refused(&[
        ("/process/args", "", "process.args: missing"),
        ("/process/args", "[]", "process.args: is empty"),
        ("/process/args/0", r#""""#, "process.args[0]: is empty"),
        (
            "/process/args/2",
            r#""a\u0000""#,
            "process.args[2]: has a NUL byte",
        ),
        (
            "/process/args/1",
            "1",
            "process.args[1]: invalid type: integer `1`",
        ),
        ("/process/cwd", "", "process.cwd: missing"),
        ("/process/cwd", r#""""#, "process.cwd: missing"),
        (
            "/process/cwd",
            r#""tmp""#,
            "process.cwd: \"tmp\" is not an absolute path",
        ),
        (
            "/process/cwd",
            r#""/\u0000""#,
            "process.cwd: has a NUL byte",
        ),
        (
            "/process/env/0",
            r#""PATH""#,
            "process.env[0]: \"PATH\" has no \"=\"",
        ),
        (
            "/process/env/0",
            r#""=x""#,
            "process.env[0]: \"=x\" has no name",
        ),
        (
            "/process/env/0",
            r#""A=\u0000""#,
            "process.env[0]: has a NUL byte",
        ),
        (
            "/process/user/uid",
            "4294967295",
            "process.user.uid: 4294967295 is not a valid id",
        ),
        (
            "/process/user/uid",
            "-1",
            "process.user.uid: invalid value: integer `-1`",
        ),
        (
            "/process/user/gid",
            "4294967295",
            "process.user.gid: 4294967295 is not a valid id",
        ),
        (
            "/process/user/additionalGids/0",
            "4294967295",
            "process.user.additionalGids: 4294967295",
        ),
        (
            "/process/user/umask",
            "4096",
            "process.user.umask: 4096 is outside the range 0 to 4095",
        ),
        (
            "/process/oomScoreAdj",
            "1001",
            "process.oomScoreAdj: 1001 is outside the range -1000 to 1000",
        ),
        (
            "/process/oomScoreAdj",
            "-1001",
            "process.oomScoreAdj: -1001 is outside",
        ),
        (
            "/process/consoleSize/height",
            "65536",
            "process.consoleSize.height: 65536 is outside",
        ),
        (
            "/process/consoleSize/width",
            "65536",
            "process.consoleSize.width: 65536 is outside",
        ),
        ("/process/terminal", "1", "process.terminal: invalid type"),
        (
            "/process/apparmorProfile",
            r#""\u0000""#,
            "process.apparmorProfile: has a NUL byte",
        ),
        (
            "/process/selinuxLabel",
            r#""\u0000""#,
            "process.selinuxLabel: has a NUL byte",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_BATCH", "nice": 20}"#,
            "process.scheduler.nice: 20 is outside the range -20 to 19",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_BATCH", "priority": 1}"#,
            "process.scheduler.priority: only SCHED_FIFO and SCHED_RR have a priority",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_FIFO"}"#,
            "process.scheduler.priority: 0 is outside the range 1 to 99",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_RR", "priority": 100}"#,
            "process.scheduler.priority: 100 is outside the range 1 to 99",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_OTHER", "period": 5}"#,
            "process.scheduler.period: only SCHED_DEADLINE has it",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_ISO"}"#,
            "process.scheduler.policy: Linux reserves SCHED_ISO",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_NONE"}"#,
            "process.scheduler.policy: unknown variant `SCHED_NONE`",
        ),
        (
            "/process/scheduler",
            r#"{"nice": 1}"#,
            "process.scheduler.policy: missing",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_SUGOV"]}"#,
            "process.scheduler.flags[0]: unknown variant",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_DEADLINE"}"#,
            "process.scheduler.runtime: 0 is below 1024 nanoseconds",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999}"#,
            "process.scheduler.deadline: 1999 is below the runtime, 2000",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2001, "period": 9}"#,
            "process.scheduler.period: 9 is below the deadline, 2001",
        ),
        (
            "/process/scheduler",
            r#"{"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 9223372036854775808}"#,
            "process.scheduler.deadline: 9223372036854775808 is too large",
        ),
        (
            "/process/ioPriority",
            r#"{"class": "IOPRIO_CLASS_BE", "priority": 8}"#,
            "process.ioPriority.priority: 8 is outside the range 0 to 7",
        ),
        (
            "/process/ioPriority",
            r#"{"class": "IOPRIO_CLASS_BE", "priority": -1}"#,
            "process.ioPriority.priority: -1 is outside the range 0 to 7",
        ),
        (
            "/process/ioPriority",
            r#"{"class": "IOPRIO_CLASS_NONE", "priority": 0}"#,
            "process.ioPriority.class: unknown variant `IOPRIO_CLASS_NONE`",
        ),
        (
            "/process/execCPUAffinity",
            r#"{"final": "a"}"#,
            "process.execCPUAffinity.final: \"a\" is not a list such as 0-3,5",
        ),
        (
            "/process/execCPUAffinity",
            r#"{"initial": "3-1"}"#,
            "process.execCPUAffinity.initial: \"3-1\" is not a list such as 0-3,5",
        ),
        (
            "/process/execCPUAffinity",
            r#"{"initial": "0", "final": "0-8192"}"#,
            "process.execCPUAffinity.final: 8192 is above 8191",
        ),
    ]);
}

#[test]
fn rlimits() {
    let known = "process.rlimits[1].type: unknown variant `RLIMIT_X`, expected one of `RLIMIT_CPU`";
    refused(&[
        ("/process/rlimits/1/type", r#""RLIMIT_X""#, known),
        (
            "/process/rlimits/1/type",
            "",
            "process.rlimits[1].type: missing",
        ),
        (
            "/process/rlimits/1/type",
            r#""RLIMIT_NOFILE""#,
            "process.rlimits[1].type: RLIMIT_NOFILE is",
        ),
        (
            "/process/rlimits/0/hard",
            "1023",
            "process.rlimits[0].soft: RLIMIT_NOFILE: 1024 is above",
        ),
        (
            "/process/rlimits/0/hard",
            "-1",
            "process.rlimits[0].hard: invalid value: integer `-1`",
        ),
    ]);
    let limits = process("/terminal", "true").rlimits;
    assert_eq!(limits.len(), 2);
    assert_eq!(
        (limits[0].resource, limits[0].soft, limits[0].hard),
        (7, 1024, 1_048_576)
    );
    assert_eq!(
        (limits[1].name.as_str(), limits[1].hard),
        ("RLIMIT_CORE", u64::MAX)
    );
    assert_eq!(limits[1].field, "process.rlimits[1]");
}

#[test]
fn environment_keeps_the_last() {
    let env = process("/env", r#"["A=1", "HOME=/x", "B=2", "A=3", "HOME=", "C="]"#).env;
    assert_eq!(env, ["B=2", "A=3", "C="]);
}

#[test]
fn scheduler() {
    let scheduler = |value| process("/scheduler", value).scheduler.expect("a scheduler");
    let fifo = scheduler(
        r#"{"policy": "SCHED_FIFO", "priority": 3, "flags":
        ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_UTIL_CLAMP_MAX"]}"#,
    );
    assert_eq!(fifo.policy, Policy::Fifo);
    assert_eq!((fifo.priority, fifo.flag_bits()), (3, 0x45));
    let deadline = r#"{"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 4096}"#;
    assert_eq!(scheduler(deadline).deadlines, [1024, 4096, 0]);
    let value = r#"{"policy": "SCHED_RR", "priority": 1, "nice": -3}"#;
    let warned = warned(
        "/process/scheduler",
        value,
        "process.scheduler.nice: SCHED_RR has no",
    );
    assert_eq!(warned.process.unwrap().scheduler.unwrap().nice, 0);
}

#[test]
fn a_command_line_gives_a_warning() {
    let expected = "process.commandLine: for another platform, ignored";
    warned("/process/commandLine", r#""a""#, expected);
}

#[test]
fn affinity() {
    let affinity = |value| process("/execCPUAffinity", value).exec_affinity.unwrap();
    assert_eq!(affinity("{}"), ExecAffinity::default());
    let empty = affinity(r#"{"initial": "", "final": "0-1,3"}"#);
    assert_eq!(empty.initial, None);
    assert_eq!(empty.last.unwrap().mask, [0b1011]);
}

#[test]
fn user_and_console() {
    let plain = process("/noNewPrivileges", "true");
    assert!(plain.no_new_privileges);
    assert_eq!(
        (plain.user.umask, &plain.user.additional_gids[..]),
        (0o022, &[0, 10, 10][..])
    );
    assert_eq!(
        plain.console_size,
        Some(ConsoleSize {
            height: 24,
            width: 80
        })
    );
    assert_eq!(plain.oom_score_adj, Some(0));
    assert_eq!(plain.apparmor_profile.as_deref(), Some("docker-default"));
    assert_eq!(plain.selinux_label, None);

    assert_eq!(process("/user/umask", "63").user.umask, 0o077);
    assert_eq!(process("/oomScoreAdj", "").oom_score_adj, None);
    assert_eq!(process("/terminal", "false").console_size, None);
    assert_eq!(
        process("/consoleSize", r#"{"height": 0, "width": 0}"#).console_size,
        None
    );
    assert_eq!(process("/apparmorProfile", r#""""#).apparmor_profile, None);
    assert_eq!(process("/user", "").user.uid, 0);
}

#[test]
fn capabilities_are_masks() {
    let sets = process("/terminal", "true").capabilities;
    assert_eq!(sets.bounding & 1, 1, "CAP_CHOWN is bit 0");
    assert_eq!(sets.bounding.count_ones(), 14);
    assert_eq!(
        (sets.effective, sets.permitted),
        (sets.bounding, sets.bounding)
    );
    assert_eq!((sets.inheritable, sets.ambient), (0, 0));
    let last = process("/capabilities/bounding", r#"["CAP_CHECKPOINT_RESTORE"]"#).capabilities;
    assert_eq!(last.bounding, 1 << 40);
    assert_eq!(process("/capabilities", "").capabilities.bounding, 0);
}

#[test]
fn every_capability_has_its_own_bit() {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let list = serde_json::to_string(&names).expect("names");
    let sets = process("/capabilities/bounding", &list).capabilities;
    assert_eq!(sets.bounding, (1 << 41) - 1);
}

#[test]
fn unusable_capabilities_are_warnings() {
    for name in ["CAP_FUTURE", "chown", "cap_chown", "CHOWN"] {
        let list = format!("[\"CAP_KILL\", {name:?}]");
        let expected = format!("process.capabilities.bounding: unknown capability {name:?}");
        let config = warned("/process/capabilities/bounding", &list, &expected);
        assert_eq!(
            config.process.expect("a process").capabilities.bounding,
            1 << 5
        );
    }
    for (set, needs) in [
        ("effective", "the permitted set"),
        ("inheritable", "the bounding set"),
        ("ambient", "both the permitted and the inheritable set"),
    ] {
        let expected = format!("process.capabilities.{set}: CAP_BPF is not in {needs}, ignored");
        warned(
            &format!("/process/capabilities/{set}"),
            r#"["CAP_BPF"]"#,
            &expected,
        );
    }
    let expected = "process.capabilities.ambient: CAP_CHOWN, CAP_KILL are not in both the permitted and the inheritable set, ignored";
    let list = r#"["CAP_CHOWN", "CAP_KILL"]"#;
    warned("/process/capabilities/ambient", list, expected);
}

#[test]
fn an_unknown_capability_in_several_sets_is_one_warning() {
    let sets =
        r#"{"bounding": ["CAP_X", "CAP_KILL"], "permitted": ["CAP_X"], "ambient": ["CAP_X"]}"#;
    let text = format!(r#"{{"args": ["id"], "cwd": "/", "capabilities": {sets}}}"#);
    let (_, warnings) = spec::process(text.as_bytes(), None).expect("valid");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn an_exec_file_is_the_value_of_process() {
    let (process, warnings) = spec::process(
        br#"{"args": ["id"], "cwd": "/", "capabilities": {"bounding": ["CAP_X"]}}"#,
        None,
    )
    .expect("valid");
    assert_eq!(process.args, ["id"]);
    assert_eq!(
        texts(&warnings),
        ["process.capabilities.bounding: unknown capability \"CAP_X\", ignored"]
    );
    for (text, expected) in [
        (r#"{"args": ["id"]}"#, "process.cwd: missing"),
        (
            r#"{"args": [1], "cwd": "/"}"#,
            "process.args[0]: invalid type",
        ),
        ("{", "line 1, column 1: EOF"),
        ("3", "process: invalid type: integer `3`"),
    ] {
        let error = spec::process(text.as_bytes(), None)
            .expect_err(text)
            .to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
