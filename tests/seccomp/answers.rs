//! Tests of single properties of the compiler.

use sampan::config::seccomp::{Action, Arch, Operator, Rule, Seccomp};
use sampan::plan::seccomp::{audit_arch, compile};
use sampan::plan::syscalls::{ARM_PRIVATE, Syscall, X32_BIT};

use crate::profile::{docker, on};
use crate::{ARCHES, bpf, filter, naive, seccomp};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: Action = Action::Errno(1);
const KILL_PROCESS: u32 = 0x8000_0000;

fn errno(value: i32) -> u32 {
    0x0005_0000 + value as u32
}

fn number(name: &str, arch: Arch) -> u32 {
    Syscall::named(name)
        .and_then(|syscall| syscall.number(arch))
        .expect(name)
}

/// The answer to `number` with `args` on `arch`, on an x86_64 host.
fn ask(profile: &Seccomp, arch: Arch, number: u32, args: &[u64]) -> u32 {
    let mut call = bpf::Call {
        number,
        arch: audit_arch(arch),
        args: [0; 6],
    };
    call.args[..args.len()].copy_from_slice(args);
    bpf::run(&filter(profile, Arch::X86_64).program, &call)
}

fn ask_name(profile: &Seccomp, name: &str, args: &[u64]) -> u32 {
    ask(profile, Arch::X86_64, number(name, Arch::X86_64), args)
}

fn deny(rules: Vec<Rule>) -> Seccomp {
    seccomp(EPERM, &[], rules)
}

#[test]
fn each_action_has_its_number() {
    for (action, expected) in [
        (Action::KillProcess, 0x8000_0000),
        (Action::KillThread, 0),
        (Action::Trap, 0x0003_0000),
        (Action::Errno(4095), 0x0005_0fff),
        (Action::Trace(7), 0x7ff0_0007),
        (Action::Notify, 0x7fc0_0000),
        (Action::Log, 0x7ffc_0000),
        (Action::Allow, 0x7fff_0000),
    ] {
        let profile = seccomp(Action::Errno(2), &[], vec![on(&["mkdir"], action, &[])]);
        assert_eq!(ask_name(&profile, "mkdir", &[]), expected, "{action:?}");
        assert_eq!(ask_name(&profile, "read", &[]), errno(2), "{action:?}");
    }
}

#[test]
fn without_architectures_only_the_native_one_is_known() {
    let profile = deny(vec![on(&["read"], Action::Allow, &[])]);
    assert_eq!(ask(&profile, Arch::X86_64, 0, &[]), ALLOW);
    for arch in ARCHES
        .into_iter()
        .filter(|arch| !matches!(arch, Arch::X86_64 | Arch::X32))
    {
        assert_eq!(
            ask(&profile, arch, number("read", arch), &[]),
            KILL_PROCESS,
            "{arch:?}"
        );
    }
}

#[test]
fn x32_is_foreign_unless_listed() {
    let mut profile = seccomp(Action::Allow, &[], vec![on(&["mkdir"], EPERM, &[])]);
    assert_eq!(
        ask(&profile, Arch::X32, number("mkdir", Arch::X32), &[]),
        KILL_PROCESS
    );
    assert_eq!(ask(&profile, Arch::X32, X32_BIT, &[]), KILL_PROCESS);
    assert_eq!(
        ask(&profile, Arch::X86_64, u32::MAX, &[]),
        ALLOW,
        "skipped by a tracer"
    );
    profile.architectures.push(Arch::X32);
    assert_eq!(
        ask(&profile, Arch::X32, number("mkdir", Arch::X32), &[]),
        errno(1)
    );
    assert_eq!(ask(&profile, Arch::X32, X32_BIT, &[]), ALLOW);
}

#[test]
fn the_native_architecture_is_filtered_even_if_only_others_are_listed() {
    let profile = seccomp(EPERM, &[Arch::X86], vec![on(&["read"], Action::Allow, &[])]);
    assert_eq!(ask(&profile, Arch::X86_64, 0, &[]), ALLOW);
    assert_eq!(ask(&profile, Arch::X86, 3, &[]), ALLOW);
    assert_eq!(ask(&profile, Arch::Arm, 3, &[]), KILL_PROCESS);
}

#[test]
fn an_unconditional_rule_beats_conditional_ones_in_any_order() {
    let conditional = on(&["kill"], Action::Errno(5), &[(1, Operator::Equal, 9, 0)]);
    let unconditional = on(&["kill"], Action::Allow, &[]);
    let newer = on(&["setns"], Action::Allow, &[]);
    for rules in [
        [&conditional, &unconditional],
        [&unconditional, &conditional],
    ] {
        let rules = rules.into_iter().chain([&newer]).cloned().collect();
        assert_eq!(ask_name(&deny(rules), "kill", &[1, 9]), ALLOW);
    }
}

#[test]
fn among_equals_the_first_rule_wins() {
    let first = on(
        &["kill"],
        Action::Errno(5),
        &[(1, Operator::GreaterOrEqual, 9, 0)],
    );
    let second = on(&["kill"], Action::Errno(6), &[(0, Operator::Equal, 1, 0)]);
    let profile = deny(vec![first, second]);
    assert_eq!(ask_name(&profile, "kill", &[1, 9]), errno(5));
    assert_eq!(ask_name(&profile, "kill", &[1, 8]), errno(6));
    assert_eq!(ask_name(&profile, "kill", &[2, 8]), errno(1));
    let profile = deny(vec![
        on(&["kill"], Action::Errno(5), &[]),
        on(&["kill"], Action::Errno(6), &[]),
    ]);
    assert_eq!(ask_name(&profile, "kill", &[]), errno(5));
}

#[test]
fn a_rule_with_the_default_action_has_no_effect() {
    let profile = deny(vec![
        on(&["kill"], EPERM, &[]),
        on(&["kill"], Action::Allow, &[]),
    ]);
    assert_eq!(ask_name(&profile, "kill", &[]), ALLOW);
    // Another errno is another action.
    let other = Action::Errno(2);
    let profile = deny(vec![
        on(&["kill"], other, &[]),
        on(&["kill"], Action::Allow, &[]),
    ]);
    assert_eq!(ask_name(&profile, "kill", &[]), errno(2));
}

#[test]
fn arguments_are_all_needed_unless_two_share_an_index() {
    let both = [(0, Operator::Equal, 1, 0), (1, Operator::Equal, 2, 0)];
    let profile = deny(vec![on(&["tgkill"], Action::Allow, &both)]);
    assert_eq!(ask_name(&profile, "tgkill", &[1, 2]), ALLOW);
    assert_eq!(ask_name(&profile, "tgkill", &[1, 3]), errno(1));
    let shared = [
        (0, Operator::Equal, 1, 0),
        (0, Operator::Equal, 7, 0),
        (1, Operator::Equal, 2, 0),
    ];
    let profile = deny(vec![on(&["tgkill"], Action::Allow, &shared)]);
    for (args, expected) in [
        ([1, 0], ALLOW),
        ([7, 0], ALLOW),
        ([0, 2], ALLOW),
        ([0, 0], errno(1)),
    ] {
        assert_eq!(ask_name(&profile, "tgkill", &args), expected, "{args:?}");
    }
}

#[test]
fn the_seven_operators_compare_all_64_bits() {
    let big = 1 << 40;
    for (operator, below, equal, above) in [
        (Operator::NotEqual, true, false, true),
        (Operator::Less, true, false, false),
        (Operator::LessOrEqual, true, true, false),
        (Operator::Equal, false, true, false),
        (Operator::GreaterOrEqual, false, true, true),
        (Operator::Greater, false, false, true),
    ] {
        let profile = deny(vec![on(
            &["lseek"],
            Action::Allow,
            &[(1, operator, big, 0)],
        )]);
        let answers = [big - 1, big, big + 1].map(|value| ask_name(&profile, "lseek", &[0, value]));
        let expected = [below, equal, above].map(|yes| if yes { ALLOW } else { errno(1) });
        assert_eq!(answers, expected, "{operator:?}");
    }
    let masked = (1, Operator::MaskedEqual, big | 3, big | 1);
    let profile = deny(vec![on(&["lseek"], Action::Allow, &[masked])]);
    for (value, expected) in [
        (big | 1, ALLOW),
        (big | 1 | 4, ALLOW),
        (big | 3, errno(1)),
        (1, errno(1)),
    ] {
        assert_eq!(
            ask_name(&profile, "lseek", &[0, value]),
            expected,
            "{value:#x}"
        );
    }
}

#[test]
fn a_mask_without_bits_always_matches() {
    let none = [(0, Operator::MaskedEqual, 0, 5)];
    let profile = deny(vec![on(&["close"], Action::Allow, &none)]);
    assert_eq!(ask_name(&profile, "close", &[77]), ALLOW);
}

#[test]
fn only_the_low_halves_are_compared_on_32_bit_architectures() {
    let minus_one = [(0, Operator::Equal, u64::MAX, 0)];
    let profile = seccomp(
        EPERM,
        &[Arch::X86],
        vec![on(&["kill"], Action::Allow, &minus_one)],
    );
    assert_eq!(ask(&profile, Arch::X86, 37, &[0xffff_ffff]), ALLOW);
    assert_eq!(ask(&profile, Arch::X86_64, 62, &[0xffff_ffff]), errno(1));
}

#[test]
fn i386_sockets_and_ipc_are_also_found_behind_their_multiplexers() {
    let rules = vec![
        on(
            &["socket"],
            Action::Allow,
            &[(0, Operator::NotEqual, 40, 0)],
        ),
        on(&["shmget", "send"], Action::Allow, &[]),
        // The multiplexer uses the first argument, but not the second.
        on(&["bind"], Action::Allow, &[(0, Operator::Equal, 7, 0)]),
        on(&["listen"], Action::Allow, &[(1, Operator::Equal, 7, 0)]),
    ];
    let profile = seccomp(EPERM, &[Arch::X86], rules);
    let (socketcall, ipc) = (102, 117);
    for (number, args, expected) in [
        (359, [40, 0], errno(1)),
        (359, [2, 0], ALLOW),
        (socketcall, [1, 0xffff], ALLOW),
        (socketcall, [2, 0xffff], ALLOW),
        (socketcall, [3, 0xffff], errno(1)),
        (socketcall, [4, 7], ALLOW),
        (socketcall, [4, 8], errno(1)),
        (socketcall, [9, 0xffff], ALLOW),
        (395, [0, 0], ALLOW),
        (ipc, [23, 0], ALLOW),
        (ipc, [24, 0], errno(1)),
    ] {
        assert_eq!(
            ask(&profile, Arch::X86, number, &args),
            expected,
            "{number} {args:?}"
        );
    }
}

#[test]
fn calls_newer_than_the_profile_get_enosys() {
    let rules = vec![on(&["read", "openat2"], Action::Allow, &[])];
    for default in [
        EPERM,
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Notify,
    ] {
        let profile = seccomp(default, &[Arch::X86, Arch::X32], rules.clone());
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            let newest = number("openat2", arch);
            assert_ne!(
                ask(&profile, arch, newest - 1, &[]),
                errno(libc::ENOSYS),
                "{arch:?}"
            );
            assert_eq!(ask(&profile, arch, newest, &[]), ALLOW, "{arch:?}");
            assert_eq!(
                ask(&profile, arch, newest + 1, &[]),
                errno(libc::ENOSYS),
                "{arch:?}"
            );
        }
    }
    for default in [Action::Log, Action::Trace(1)] {
        let profile = seccomp(default, &[], rules.clone());
        assert_ne!(
            ask(&profile, Arch::X86_64, 1000, &[]),
            errno(libc::ENOSYS),
            "{default:?}"
        );
    }
}

#[test]
fn the_private_calls_of_arm_do_not_hide_new_calls() {
    let rules = vec![on(&["openat2", "set_tls"], Action::Allow, &[])];
    let profile = seccomp(EPERM, &[Arch::Arm], rules);
    assert_eq!(ask(&profile, Arch::Arm, ARM_PRIVATE + 5, &[]), ALLOW);
    assert_eq!(ask(&profile, Arch::Arm, ARM_PRIVATE + 4, &[]), errno(1));
    assert_eq!(
        ask(&profile, Arch::Arm, number("openat2", Arch::Arm) + 1, &[]),
        errno(38)
    );
}

#[test]
fn unknown_names_are_skipped_and_returned() {
    let rules = vec![on(
        &["read", "no_such_call", "s390_pci_mmio_read"],
        Action::Allow,
        &[],
    )];
    let filter = filter(&deny(rules), Arch::X86_64);
    assert_eq!(filter.unknown, ["no_such_call", "s390_pci_mmio_read"]);
}

#[test]
fn a_listener_changes_the_flags() {
    let tsync = libc::SECCOMP_FILTER_FLAG_TSYNC;
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let mut profile = deny(vec![on(&["mkdir"], Action::Notify, &[])]);
    profile.flags = tsync | killable;
    let with = filter(&profile, Arch::X86_64);
    assert!(with.listener);
    assert_eq!(
        with.flags,
        tsync | killable | listener | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    );
    profile.rules.clear();
    let without = filter(&profile, Arch::X86_64);
    assert!(!without.listener);
    assert_eq!(without.flags, tsync);
}

/// i386 has no call of its own for semop(2), so its newest call here is the multiplexer.
#[test]
fn a_multiplexer_is_among_the_calls_that_a_profile_names() {
    let rules = vec![on(&["read", "semop"], Action::Allow, &[])];
    let profile = seccomp(EPERM, &[Arch::X86], rules);
    let enosys = errno(libc::ENOSYS);
    let ipc = 117;
    for (number, first, expected) in [
        (3, 0, ALLOW),
        (4, 0, errno(1)),
        (ipc - 1, 0, errno(1)),
        (ipc, 1, ALLOW),
        (ipc, 2, errno(1)),
        (ipc + 1, 0, enosys),
    ] {
        let answer = ask(&profile, Arch::X86, number, &[first]);
        assert_eq!(answer, expected, "{number} {first}");
    }
}

#[test]
fn a_filter_too_long_for_the_kernel_is_an_error() {
    let rules = (0..900)
        .map(|value| on(&["prctl"], Action::Allow, &[(0, Operator::Equal, value, 0)]))
        .collect();
    let error = compile(&deny(rules), Arch::X86_64).unwrap_err().to_string();
    assert!(
        error.starts_with("linux.seccomp: the filter needs 45"),
        "{error}"
    );
}

#[test]
fn an_empty_profile_answers_with_its_default() {
    for default in [Action::Allow, EPERM] {
        let profile = seccomp(default, &[], vec![]);
        let call = bpf::Call {
            number: 5,
            arch: audit_arch(Arch::X86_64),
            args: [0; 6],
        };
        assert_eq!(
            ask(&profile, Arch::X86_64, 5, &[]),
            naive::answer(&profile, Arch::X86_64, &call)
        );
    }
}

#[test]
fn dockers_profile_is_small() {
    let length = filter(&docker(), Arch::X86_64).program.len();
    assert!((300..700).contains(&length), "{length} instructions");
}
