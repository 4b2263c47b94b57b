//! Records what a container calls: the filter that asks the runtime about every call, and the profile
//! that allows what was asked.

use std::path::PathBuf;

use super::audit_arch;
use crate::config::seccomp::{Action, Arch, Listener, Rule, Seccomp};
use crate::json::{object, texts};
use crate::plan::syscalls::{Syscall, X32_BIT};
use crate::sorted::sorted;

/// The call by which init hands over the listener. The filter cannot ask about it, so every profile
/// allows it.
const UNASKED: &str = "write";

/// The calls that the kernel makes a process do: after a signal's handler, and when it continues in a
/// call that a stop or the freezer has interrupted. A recording sees them only if that has happened
/// (signal(7)), so every profile allows them.
const OF_THE_KERNEL: [&str; 3] = ["restart_syscall", "rt_sigreturn", "sigreturn"];

/// The architectures whose programs run on the host.
const FAMILY: &[Arch] = match Arch::NATIVE {
    Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
    Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
    _ => &[Arch::NATIVE],
};

/// A profile that allows everything and asks about it. `file` is for the runtime, which answers.
#[must_use]
pub fn recording(file: PathBuf) -> Seccomp {
    let names = Syscall::all().filter(|name| *name != UNASKED);
    Seccomp {
        default_action: Action::Allow,
        architectures: FAMILY.to_vec(),
        flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        rules: vec![Rule {
            names: names.map(str::to_owned).collect(),
            action: Action::Notify,
            args: Vec::new(),
        }],
        listener: Some(Listener {
            path: file,
            metadata: String::new(),
            records: true,
        }),
    }
}

/// The profile, as JSON, that allows `calls` and nothing else. Each is `seccomp_data.arch` and
/// `seccomp_data.nr`.
#[must_use]
pub fn profile(calls: &[(u32, u32)]) -> String {
    let mut names = vec![UNASKED];
    names.extend(OF_THE_KERNEL);
    let mut architectures = vec![scmp(Arch::NATIVE)];
    for (audit, number) in calls {
        let is_x32 = |arch| (arch == Arch::X32) == (*number & X32_BIT != 0);
        let is = |arch: &&Arch| {
            let shared = audit_arch(Arch::X32) == *audit;
            audit_arch(**arch) == *audit && (!shared || is_x32(**arch))
        };
        let Some(arch) = FAMILY.iter().find(is) else {
            continue;
        };
        let Some(name) = Syscall::name(*arch, *number) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
        if !architectures.contains(&scmp(*arch)) {
            architectures.push(scmp(*arch));
        }
    }
    let profile = object! {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": texts(architectures),
        "syscalls": [object! { "names": texts(sorted(names)), "action": "SCMP_ACT_ALLOW" }],
    };
    let text = serde_json::to_string_pretty(&profile).expect("a value has text");
    text + "\n"
}

/// The name in a config.
const fn scmp(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64",
        Arch::X32 => "SCMP_ARCH_X32",
        Arch::X86 => "SCMP_ARCH_X86",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64",
        Arch::Arm => "SCMP_ARCH_ARM",
        Arch::Riscv64 => "SCMP_ARCH_RISCV64",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::seccomp::compile;

    #[test]
    fn the_filter_fits_and_asks() {
        let filter = compile(&recording("/f".into()), Arch::NATIVE).unwrap();
        assert!(filter.listener && filter.unknown.is_empty());
    }

    #[test]
    fn a_profile_names_each_call_once() {
        let native = audit_arch(Arch::NATIVE);
        let number = |name: &str| Syscall::named(name).unwrap().number(Arch::NATIVE).unwrap();
        let calls = [
            (native, number("read")),
            (native, number("execve")),
            (native, 9999),
            (0, 1),
        ];
        let text = profile(&calls);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut names = vec!["execve", "read", UNASKED];
        names.extend(OF_THE_KERNEL);
        assert_eq!(json["syscalls"][0]["names"], json!(sorted(names)));
        assert_eq!(json["architectures"], json!([scmp(Arch::NATIVE)]));
    }
}
