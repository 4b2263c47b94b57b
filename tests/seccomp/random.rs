//! Random profiles: the compiled filter must answer as the direct evaluation of the profile does.

use sampan::config::seccomp::{Action, Arch, Argument, Operator, Rule, Seccomp};
use sampan::plan::seccomp::audit_arch;
use sampan::plan::syscalls::{ARM_PRIVATE, Syscall, X32_BIT};

use crate::bpf::{self, Call};
use crate::profile::docker;
use crate::{ARCHES, filter, naive, seccomp};

/// Marsaglia's xorshift64, which gives the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

const ACTIONS: [Action; 10] = [
    Action::Allow,
    Action::Allow,
    Action::Errno(1),
    Action::Errno(38),
    Action::KillProcess,
    Action::KillThread,
    Action::Trap,
    Action::Trace(3),
    Action::Log,
    Action::Notify,
];

pub const OPERATORS: [Operator; 7] = [
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Equal,
    Operator::GreaterOrEqual,
    Operator::Greater,
    Operator::MaskedEqual,
];

/// Values around the borders of the halves, and the numbers of multiplexed calls.
pub const VALUES: [u64; 14] = [
    0,
    1,
    2,
    3,
    9,
    23,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0xffff_ffff_0000_0000,
    0x8000_0000_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// Docker's names, those of the other architectures and some that do not exist.
pub fn names() -> Vec<String> {
    let others = [
        "socketcall",
        "ipc",
        "recv",
        "send",
        "semop",
        "set_tls",
        "cacheflush",
        "riscv_hwprobe",
        "umount",
        "umount2",
        "clone3",
        "mount",
        "rt_sigaction",
        "listns",
        "nonsense",
        "",
    ];
    let docker = docker().rules.into_iter().flat_map(|rule| rule.names);
    docker.chain(others.map(str::to_owned)).collect()
}

fn argument(random: &mut Random) -> Argument {
    Argument {
        index: random.below(6) as u8,
        value: random.pick(&VALUES),
        value_two: random.pick(&VALUES),
        operator: random.pick(&OPERATORS),
    }
}

fn rule(random: &mut Random, names: &[String]) -> Rule {
    let count = 1 + random.below(6);
    let arguments = random.pick(&[0, 0, 1, 1, 2, 3, 6]);
    Rule {
        names: (0..count).map(|_| random.pick(names)).collect(),
        action: random.pick(&ACTIONS),
        args: (0..arguments).map(|_| argument(random)).collect(),
    }
}

/// A random profile, from empty to several thousand instructions.
pub fn profile(random: &mut Random, names: &[String]) -> Seccomp {
    let few = random.below(names.len());
    let names = if random.below(2) == 0 {
        names
    } else {
        &names[few..(few + 12).min(names.len())]
    };
    let rules = random.pick(&[0, 1, 5, 20, 40]);
    let architectures: Vec<_> = (0..random.below(5)).map(|_| random.pick(&ARCHES)).collect();
    let default = random.pick(&ACTIONS);
    seccomp(
        default,
        &architectures,
        (0..rules).map(|_| rule(random, names)).collect(),
    )
}

/// A random call: near the numbers of the profile, at the borders of the ranges, or anywhere.
pub fn call(random: &mut Random, profile: &Seccomp) -> Call {
    let arch = random.pick(&ARCHES);
    let named = (!profile.rules.is_empty()).then(|| {
        let rule = &profile.rules[random.below(profile.rules.len())];
        let name = random.pick(&rule.names);
        Syscall::named(&name).and_then(|syscall| syscall.number(arch))
    });
    let number = match (random.below(8), named.flatten()) {
        (0..5, Some(number)) => number.wrapping_add(random.pick(&[0, 0, 0, 1, u32::MAX])),
        (5, _) => random.pick(&[
            X32_BIT,
            ARM_PRIVATE,
            u32::MAX,
            X32_BIT - 1,
            102,
            117,
            1 << 31,
        ]),
        (6, _) => random.below(600) as u32 | X32_BIT,
        _ => random.below(600) as u32,
    };
    let mut args = [0; 6];
    args.fill_with(|| {
        random
            .pick(&VALUES)
            .wrapping_add(random.pick(&[0, 0, 1, u64::MAX]))
    });
    let unlisted = random.below(50) == 0;
    Call {
        number,
        arch: if unlisted {
            0xc000_00f7
        } else {
            audit_arch(arch)
        },
        args,
    }
}

#[test]
fn random_profiles_agree_with_direct_evaluation() {
    let names = names();
    let mut random = Random(0x5eed_0f5a_3ba7);
    let (mut longest, mut answers) = (0, std::collections::BTreeSet::new());
    for case in 0..300 {
        let profile = profile(&mut random, &names);
        let native = random.pick(&[Arch::X86_64, Arch::Aarch64, Arch::Riscv64]);
        if sampan::plan::seccomp::compile(&profile, native).is_err() {
            continue;
        }
        let filter = filter(&profile, native);
        longest = longest.max(filter.program.len());
        for _ in 0..300 {
            let call = call(&mut random, &profile);
            let expected = naive::answer(&profile, native, &call);
            let actual = bpf::run(&filter.program, &call);
            assert_eq!(
                actual, expected,
                "case {case}: {call:x?} on {native:?} of {profile:#?}"
            );
            answers.insert(actual);
        }
    }
    // The random cases must cover long jumps and every answer.
    assert!(longest > 1500, "{longest}");
    assert_eq!(answers.len(), 9, "{answers:x?}");
}
