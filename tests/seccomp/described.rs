//! What `explain --seccomp` says about a profile: it must be what the filter does.

use sampan::config::seccomp::{Action, Arch, Operator, Seccomp};
use sampan::plan::seccomp::{Description, audit_arch, describe};
use sampan::plan::syscalls::X32_BIT;

use crate::bpf::Call;
use crate::naive;
use crate::profile::{docker, on};
use crate::random::{Random, call, names, profile};
use crate::seccomp;

/// The described answer to `call`. `None` if the description has no sentence for the call alone: it
/// is not listed, and so gets the default, or is too new.
fn answer(description: &Description, call: &Call) -> Option<Action> {
    let is_x32 = call.arch == audit_arch(Arch::X32) && call.number >= X32_BIT;
    let mut architectures = description.architectures.iter();
    let architecture = architectures
        .find(|it| audit_arch(it.arch) == call.arch && (it.arch == Arch::X32) == is_x32)?;
    let mut calls = architecture.calls.iter();
    let described = calls.find(|it| it.number == call.number)?;
    let bits = match architecture.arch {
        Arch::X32 | Arch::X86 | Arch::Arm => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let holds = |answer: &&sampan::plan::seccomp::Answer| {
        let mut args = answer.args.iter();
        args.all(|argument| naive::compare(argument, bits, call))
    };
    let answer = described.answers.iter().find(holds);
    Some(answer.map_or(description.default, |answer| answer.action))
}

fn text(profile: &Seccomp) -> String {
    describe(profile, Arch::X86_64).text()
}

#[test]
fn the_sentences_say_what_the_filter_answers() {
    let mut random = Random(0x5eed_5eed);
    let names = names();
    let mut compared = 0;
    for _ in 0..400 {
        let profile = profile(&mut random, &names);
        let native = random.pick(&crate::ARCHES);
        let description = describe(&profile, native);
        for _ in 0..60 {
            let call = call(&mut random, &profile);
            if let Some(action) = answer(&description, &call) {
                let expected = naive::answer(&profile, native, &call);
                assert_eq!(naive::code(action), expected, "{call:?}\n{profile:#?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn a_sentence_names_action_errno_arguments_and_rule() {
    let profile = seccomp(
        Action::Errno(1),
        &[Arch::X86],
        vec![
            on(&["read", "socket"], Action::Allow, &[]),
            on(
                &["clone"],
                Action::Allow,
                &[
                    (0, Operator::MaskedEqual, 0x10, 0),
                    (1, Operator::Less, 5, 0),
                ],
            ),
            on(&["clone"], Action::Errno(38), &[(2, Operator::Equal, 7, 0)]),
            on(&["ptrace"], Action::KillProcess, &[]),
        ],
    );
    let expected = "\
x86_64   every other call fails with EPERM  <- linux.seccomp.defaultAction
x86_64   a call newer than ptrace fails with ENOSYS  <- the newest call of linux.seccomp.syscalls
x86_64   clone is allowed if arg 0 & 0x10 == 0x0 and arg 1 < 0x5, otherwise fails with ENOSYS \
if arg 2 == 0x7, otherwise fails with EPERM  <- linux.seccomp.syscalls[1], linux.seccomp.syscalls[2]
x86_64   ptrace kills the process  <- linux.seccomp.syscalls[3]
x86_64   read is allowed  <- linux.seccomp.syscalls[0]
x86_64   socket is allowed  <- linux.seccomp.syscalls[0]
x86      every other call fails with EPERM  <- linux.seccomp.defaultAction
x86      a call newer than socket fails with ENOSYS  <- the newest call of linux.seccomp.syscalls
x86      clone is allowed if arg 0 & 0x10 == 0x0 and arg 1 < 0x5, otherwise fails with ENOSYS \
if arg 2 == 0x7, otherwise fails with EPERM  <- linux.seccomp.syscalls[1], linux.seccomp.syscalls[2]
x86      ptrace kills the process  <- linux.seccomp.syscalls[3]
x86      read is allowed  <- linux.seccomp.syscalls[0]
x86      socket is allowed  <- linux.seccomp.syscalls[0]
x86      socketcall is allowed if arg 0 == 0x1 (socket), otherwise fails with EPERM  \
<- linux.seccomp.syscalls[0]
other    a call of another architecture kills the process
";
    assert_eq!(text(&profile), expected);
}

#[test]
fn names_and_rules_without_effect_are_named() {
    let rules = vec![
        on(&["read", "nonsense"], Action::Allow, &[]),
        on(&["read"], Action::KillThread, &[(0, Operator::Equal, 1, 0)]),
        on(&["write"], Action::Errno(1), &[]),
        on(&["close"], Action::Allow, &[(0, Operator::Less, 9, 0)]),
        on(&["close"], Action::Trap, &[(0, Operator::Equal, 3, 0)]),
        on(&["dup"], Action::Allow, &[(0, Operator::Less, 0, 0)]),
        on(
            &["dup2"],
            Action::Allow,
            &[(0, Operator::Greater, 3, 0), (0, Operator::Less, 9, 0)],
        ),
        on(&["set_tls", "uretprobe"], Action::Allow, &[]),
        on(
            &["fsync"],
            Action::Allow,
            &[(0, Operator::Greater, u64::from(u32::MAX), 0)],
        ),
    ];
    let profile = seccomp(Action::Errno(1), &[Arch::X86], rules);
    let text = text(&profile);
    let warnings: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("warning  linux.seccomp.syscalls"))
        .collect();
    let expected = [
        "[0].names: nonsense: no architecture has this call",
        "[1].names: read: cannot match: linux.seccomp.syscalls[0] answers first, for any \
         arguments, and contradicts it",
        "[2]: has no effect: its action is the default action",
        "[4].names: close: cannot match: linux.seccomp.syscalls[3] answers first, for these \
         arguments, and contradicts it",
        "[5].names: dup: cannot match: arg 0 < 0x0 never holds",
        "[6]: args[0] and args[1] both test arg 0, so that each element of args alone is enough",
        "[7].names: set_tls: no architecture of the profile has this call",
        "[8].names: fsync: cannot match: arg 0 > 0xffffffff never holds, on x86",
    ];
    assert_eq!(warnings, expected);
    assert!(
        text.contains("x86      does not have uretprobe  <- linux.seccomp.syscalls\n"),
        "{text}"
    );
}

/// A widely used profile has nothing to complain about but calls that this host lacks.
#[test]
fn dockers_profile_is_sound() {
    let findings = describe(&docker(), Arch::X86_64).findings;
    let [only] = &findings[..] else {
        panic!("{findings:#?}");
    };
    assert_eq!(only.names, ["riscv_hwprobe"]);
}

#[test]
fn json_has_the_same_sentences() {
    let json = describe(&docker(), Arch::X86_64).json();
    assert_eq!(json["default"], "fails with EPERM");
    let native = &json["architectures"][0];
    assert_eq!(native["name"], "x86_64");
    let calls = native["calls"].as_array().unwrap();
    let clone = calls.iter().find(|call| call["name"] == "clone").unwrap();
    let expected = serde_json::json!([{
        "what": "is allowed",
        "if": ["arg 0 & 0x7e020000 == 0x0"],
        "config": "linux.seccomp.syscalls[10]",
    }]);
    assert_eq!(clone["answers"], expected);
    assert_eq!(json["findings"][0]["names"][0], "riscv_hwprobe");
}
