//! `features`: prints what this runtime supports.
//!
//! Container engines read this document when they start. It says nothing about the host, and it
//! lists nothing that the runtime would reject in a config. Source: runtime-spec, features.md and
//! features-linux.md.

use anyhow::Result;
use serde_json::Value;

use super::{Context, DONE, Verb, pretty, print};
use crate::cli;
use crate::cli::flags::flags;
use crate::config::memory_policy::{Flag, Mode};
use crate::config::mounts::option_words;
use crate::config::process::capability_names;
use crate::config::{NamespaceKind, SPEC_VERSION};
use crate::json::{object, texts};
use crate::plan::annotations::HONOURED;
use crate::sys::seccomp;

flags! {
    /// Print what this runtime supports as JSON
    #[derive(Debug)]
    pub(super) struct Features {}
}

impl Verb for Features {
    /// Prints the features document.
    fn run(&self, _context: &Context) -> Result<u8> {
        print(&pretty(&document())?)?;
        Ok(DONE)
    }
}

/// The elements of a list. As one text it has nothing to relocate at the start.
fn names(list: &str) -> Vec<&str> {
    list.split(' ').collect()
}

const HOOKS: &str = "prestart createRuntime createContainer startContainer poststart poststop";

const NAMESPACES: [NamespaceKind; 8] = [
    NamespaceKind::Cgroup,
    NamespaceKind::Ipc,
    NamespaceKind::Mount,
    NamespaceKind::Network,
    NamespaceKind::Pid,
    NamespaceKind::Time,
    NamespaceKind::User,
    NamespaceKind::Uts,
];

const SECCOMP_ACTIONS: &str = "\
    SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD \
    SCMP_ACT_LOG SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP";

const SECCOMP_OPERATORS: &str =
    "SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_LE SCMP_CMP_LT SCMP_CMP_MASKED_EQ SCMP_CMP_NE";

const SECCOMP_ARCHS: &str = "\
    SCMP_ARCH_AARCH64 SCMP_ARCH_ARM SCMP_ARCH_RISCV64 SCMP_ARCH_X32 SCMP_ARCH_X86 \
    SCMP_ARCH_X86_64";

/// The seccomp flags that a config may contain, with their bits.
const SECCOMP_FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", 2),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 32),
];

/// The flags for which `keep` holds.
fn seccomp_flags(keep: impl Fn(u64) -> bool) -> Value {
    let kept = SECCOMP_FLAGS.iter().filter(|(_, bit)| keep(*bit));
    texts(kept.map(|(name, _)| *name))
}

fn document() -> Value {
    object! {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": texts(names(HOOKS)),
        "mountOptions": option_words(),
        "linux": linux(),
        "annotations": object! {
            "org.opencontainers.runc.checkpoint.enabled": "true",
            "sampan.version": env!("CARGO_PKG_VERSION"),
            "sampan.commit": cli::COMMIT,
        },
        "potentiallyUnsafeConfigAnnotations": texts(HONOURED),
    }
}

fn linux() -> Value {
    object! {
        "namespaces": texts(NAMESPACES.map(NamespaceKind::name)),
        "capabilities": capability_names(u64::MAX),
        "cgroup": object! {
            "v1": false,
            "v2": true,
            "systemd": true,
            "systemdUser": true,
            "rdma": true,
        },
        "seccomp": object! {
            "enabled": true,
            "actions": texts(names(SECCOMP_ACTIONS)),
            "operators": texts(names(SECCOMP_OPERATORS)),
            "archs": texts(names(SECCOMP_ARCHS)),
            "knownFlags": seccomp_flags(|_| true),
            "supportedFlags": seccomp_flags(seccomp::flag_available),
        },
        "apparmor": object! { "enabled": true },
        "selinux": object! { "enabled": true },
        "intelRdt": object! { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": object! {
            "modes": texts(Mode::ALL.iter().map(|mode| mode.name())),
            "flags": texts(Flag::ALL.iter().map(|flag| flag.name())),
        },
        "mountExtensions": object! { "idmap": object! { "enabled": true } },
        "netDevices": object! { "enabled": true },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether the default config is accepted without a warning after `change`.
    fn accepted(change: impl FnOnce(&mut Value)) -> bool {
        let mut config: Value = serde_json::from_str(&crate::spec::default_config(None)).unwrap();
        change(&mut config);
        let json = serde_json::to_vec(&config).unwrap();
        crate::spec::config(&json, "/bundle".as_ref())
            .is_ok_and(|config| config.warnings.is_empty())
    }

    #[test]
    fn seccomp_lists_what_a_config_may_say() {
        for action in names(SECCOMP_ACTIONS) {
            let rule = json!({"names": ["getpid"], "action": action});
            let profile = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [rule],
                "listenerPath": "/run/agent",
            });
            assert!(
                accepted(|config| config["linux"]["seccomp"] = profile),
                "{action}"
            );
        }
        for operator in names(SECCOMP_OPERATORS) {
            let arg = json!({"index": 0, "value": 1, "op": operator});
            let rule = json!({"names": ["getpid"], "action": "SCMP_ACT_TRAP", "args": [arg]});
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            assert!(
                accepted(|config| config["linux"]["seccomp"] = profile),
                "{operator}"
            );
        }
        for arch in names(SECCOMP_ARCHS)
            .iter()
            .chain(&["SCMP_ARCH_S390X", "SCMP_ARCH_MIPS"])
        {
            let listed = names(SECCOMP_ARCHS).contains(arch);
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch]});
            assert_eq!(
                accepted(|config| config["linux"]["seccomp"] = profile),
                listed,
                "{arch}"
            );
        }
        for (flag, _) in SECCOMP_FLAGS {
            let rule = json!({"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"});
            let profile = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "flags": [flag],
                "syscalls": [rule],
                "listenerPath": "/run/agent",
            });
            assert!(
                accepted(|config| config["linux"]["seccomp"] = profile),
                "{flag}"
            );
        }
    }

    #[test]
    fn each_capability_is_accepted() {
        let all = capability_names(u64::MAX);
        assert_eq!(
            (all[0].as_str(), all.last().unwrap().as_str()),
            ("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE")
        );
        let sets = json!({"bounding": all, "permitted": all, "effective": all});
        assert!(accepted(|config| config["process"]["capabilities"] = sets));
    }

    /// A rejected property must not be announced, and an announced one must not be rejected.
    #[test]
    fn switches_agree_with_the_config() {
        let linux = linux();
        for (switch, field, value) in [
            ("/intelRdt/enabled", "intelRdt", json!({"closID": "a"})),
            (
                "/memoryPolicy/modes/0",
                "memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "0"}),
            ),
            ("/netDevices/enabled", "netDevices", json!({"eth0": {}})),
            (
                "/cgroup/rdma",
                "resources",
                json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
            ),
        ] {
            let announced = linux
                .pointer(switch)
                .is_some_and(|value| *value != json!(false));
            assert_eq!(
                accepted(|config| config["linux"][field] = value),
                announced,
                "{switch}"
            );
        }
    }

    #[test]
    fn annotations_that_are_honoured_are_listed() {
        assert_eq!(
            document()["potentiallyUnsafeConfigAnnotations"],
            json!([
                "io.container.manager",
                "module.wasm.image/variant",
                "org.criu.config",
                "org.systemd.property.",
                "run.oci.delegate-cgroup",
                "run.oci.handler",
                "run.oci.hooks.stderr",
                "run.oci.hooks.stdout",
                "run.oci.keep_original_groups",
                "run.oci.mount_context_type",
                "run.oci.pidfd_receiver",
                "run.oci.seccomp_fail_unknown_syscall",
                "run.oci.systemd.subgroup",
                "sampan.seccomp.record",
            ])
        );
    }

    #[test]
    fn mount_options_have_the_words_that_engines_look_for() {
        let document = document();
        let words: Vec<_> = document["mountOptions"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        assert!(words.contains(&&json!("rro")) && words.contains(&&json!("nosymfollow")));
        assert!(words.is_sorted_by_key(|word| word.as_str()));
        assert!(
            !words
                .iter()
                .any(|word| word.as_str().unwrap().contains('='))
        );
    }
}
