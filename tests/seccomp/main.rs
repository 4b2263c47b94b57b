//! Tests of the seccomp compiler: the answers of single rules, random profiles compared with their
//! direct evaluation, profiles compared with libseccomp, and filters in the kernel.

mod answers;
mod bpf;
mod described;
mod kernel;
mod naive;
mod oracle;
mod profile;
mod random;

use sampan::config::seccomp::{Action, Arch, Rule, Seccomp};
use sampan::plan::seccomp::{Filter, compile};

/// All architectures for which the compiler has tables.
const ARCHES: [Arch; 6] = [
    Arch::X86_64,
    Arch::X32,
    Arch::X86,
    Arch::Aarch64,
    Arch::Arm,
    Arch::Riscv64,
];

fn seccomp(default_action: Action, architectures: &[Arch], rules: Vec<Rule>) -> Seccomp {
    Seccomp {
        default_action,
        architectures: architectures.to_vec(),
        flags: 0,
        rules,
        listener: None,
    }
}

/// Compiles the profile and verifies the program.
fn filter(profile: &Seccomp, native: Arch) -> Filter {
    let filter = compile(profile, native).expect("the profile compiles");
    bpf::verify(&filter.program);
    filter
}
