//! `linux.seccomp`: the compiled filter must decide like a direct interpretation of the profile.

use std::path::Path;

use sampan::config::seccomp::{Arch, Seccomp};
use sampan::plan::seccomp::{audit_arch, compile};
use sampan::plan::syscalls::{ARM_PRIVATE, Syscall, X32_BIT};
use sampan::spec;

use super::BUNDLE;
use crate::bpf::{self, Call};
use crate::case::Case;
use crate::{Form, Random, Target, check_config_error, naive};

/// See the module.
pub const TARGET: Target = Target {
    name: "seccomp",
    run,
    seeds,
    form: Form::Json,
    words: WORDS,
    longest: 16 << 10,
    changes: 8_000,
};

const WORDS: &str = "
    SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD
    SCMP_ACT_LOG SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP SCMP_ARCH_AARCH64 SCMP_ARCH_ARM
    SCMP_ARCH_NATIVE SCMP_ARCH_RISCV64 SCMP_ARCH_S390X SCMP_ARCH_X32 SCMP_ARCH_X86
    SCMP_ARCH_X86_64 SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_LE SCMP_CMP_LT
    SCMP_CMP_MASKED_EQ SCMP_CMP_NE SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW
    SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV accept accept4 bind
    cacheflush clone clone3 connect execve futex futex_time64 getpid ipc listns listenerPath
    mmap mmap2 mount msgget open openat openat2 personality read recv riscv_hwprobe rt_sigaction
    rt_sigreturn semop semtimedop send set_tls shmat shmget sigreturn socket socketcall
    statmount umount umount2 uretprobe write
";

const ARCHES: [Arch; 6] = [
    Arch::X86_64,
    Arch::X32,
    Arch::X86,
    Arch::Aarch64,
    Arch::Arm,
    Arch::Riscv64,
];

/// s390x, for which no profile here has a table.
const FOREIGN: u32 = 0x8000_0016;

fn seeds() -> Vec<Vec<u8>> {
    let found = |case: Case| {
        let profile = case.config.pointer("/linux/seccomp")?;
        Some(profile.to_string())
    };
    let every = [
        include_str!("../../../runtime-tests/data/docker-seccomp.json"),
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_ARM", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": ["socket", "semop", "read"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_GE"},
                          {"index": 0, "value": 9, "op": "SCMP_CMP_LT"}]},
                {"names": ["clone", "mmap"], "action": "SCMP_ACT_TRACE", "errnoRet": 5,
                 "args": [{"index": 2, "value": 4294967296, "valueTwo": 0,
                           "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["ipc", "set_tls"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_RISCV64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/agent",
            "syscalls": [
                {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["umount2", "clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                 "args": [{"index": 5, "value": 18446744073709551615, "op": "SCMP_CMP_NE"}]},
                {"names": ["openat"], "action": "SCMP_ACT_LOG",
                 "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_GT"},
                          {"index": 3, "value": 7, "op": "SCMP_CMP_LE"}]}]}"#,
    ];
    let compact = |text: &str| {
        let profile: serde_json::Value = serde_json::from_str(text).expect("JSON");
        profile.to_string()
    };
    let all = Case::all().into_iter().filter_map(found);
    let mut seeds: Vec<_> = all
        .chain(every.map(compact))
        .map(String::into_bytes)
        .collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

fn run(data: &[u8]) {
    let before = br#"{"ociVersion":"1.3.0","root":{"path":"r"},"linux":{"seccomp":"#;
    let text = [before, data, b"}}"].concat();
    let config = match spec::config(&text, Path::new(BUNDLE)) {
        Ok(config) => config,
        Err(error) => return check_config_error(&error),
    };
    let Some(profile) = config.linux.seccomp else {
        return;
    };
    // The calls depend only on the profile.
    let mut random = Random(hash(data) | 1);
    for native in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
        match compile(&profile, native) {
            Ok(filter) => {
                bpf::verify(&filter.program);
                compare(&profile, native, &filter.program, &mut random);
            }
            Err(error) => check_config_error(&error),
        }
    }
}

/// FNV-1a.
fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn compare(profile: &Seccomp, native: Arch, program: &[libc::sock_filter], random: &mut Random) {
    let names: usize = profile.rules.iter().map(|rule| rule.names.len()).sum();
    // The evaluator looks up every name for every call.
    let calls = (4_000 / (names + 10)).clamp(12, 120);
    for _ in 0..calls {
        let call = call(profile, random);
        let expected = naive::answer(profile, native, &call);
        let actual = bpf::run(program, &call);
        assert_eq!(actual, expected, "{call:x?} on {native:?} of {profile:#?}");
    }
}

/// A call that the profile names, or one close to it, or any; its arguments are those of the rules,
/// or close to them, or any.
fn call(profile: &Seccomp, random: &mut Random) -> Call {
    let arch = ARCHES[random.below(ARCHES.len())];
    let rule = match profile.rules.len() {
        0 => None,
        count => Some(&profile.rules[random.below(count)]),
    };
    let named = rule.and_then(|rule| {
        let name = &rule.names[random.below(rule.names.len())];
        Syscall::named(name)?.number(arch)
    });
    let borders = [
        X32_BIT,
        X32_BIT - 1,
        ARM_PRIVATE,
        u32::MAX,
        102,
        117,
        1 << 31,
    ];
    let number = match (random.below(8), named) {
        (0..5, Some(number)) => number,
        (5, Some(number)) => number.wrapping_add(1),
        (6, _) => borders[random.below(borders.len())],
        (7, _) => random.below(600) as u32 | X32_BIT,
        _ => random.below(600) as u32,
    };
    let mut args = [0; 6];
    for (index, arg) in args.iter_mut().enumerate() {
        let of_rule = rule.and_then(|rule| {
            let mut about = rule
                .args
                .iter()
                .filter(|arg| usize::from(arg.index) == index);
            about.next()
        });
        let low = random.below(24) as u64;
        *arg = match (random.below(4), of_rule) {
            (0 | 1, Some(about)) => about.value,
            (2, Some(about)) => about.value_two ^ (low << 32),
            (0, None) => low,
            (1, None) => u64::MAX - low,
            (2, None) => low << 32,
            _ => (low << 31) | low,
        };
        *arg = arg.wrapping_add([0, 0, 1, u64::MAX][random.below(4)]);
    }
    let arch = match random.below(50) {
        0 => FOREIGN,
        _ => audit_arch(arch),
    };
    Call { number, arch, args }
}
