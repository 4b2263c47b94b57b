//! Profiles for tests: that of Docker, and a reader for the form that engines write.

use std::path::Path;

use sampan::config::seccomp::{Action, Arch, Argument, Operator, Rule, Seccomp};
use serde_json::Value;

/// `runtime-tests/data/docker-seccomp.json`.
pub fn docker() -> Seccomp {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime-tests/data/docker-seccomp.json");
    let text = std::fs::read_to_string(&path).expect("Docker's profile is checked in");
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    Seccomp {
        default_action: action(&json["defaultAction"], &json["defaultErrnoRet"]),
        architectures: array(&json["architectures"]).map(arch).collect(),
        flags: 0,
        rules: array(&json["syscalls"]).map(rule).collect(),
        listener: None,
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rule(value: &Value) -> Rule {
    Rule {
        names: array(&value["names"])
            .map(|name| name.as_str().unwrap().to_owned())
            .collect(),
        action: action(&value["action"], &value["errnoRet"]),
        args: array(&value["args"]).map(argument).collect(),
    }
}

fn argument(value: &Value) -> Argument {
    Argument {
        index: value["index"].as_u64().unwrap() as u8,
        value: value["value"].as_u64().unwrap(),
        value_two: value["valueTwo"].as_u64().unwrap_or(0),
        operator: match value["op"].as_str().unwrap() {
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual,
            other => panic!("{other} is not in this profile"),
        },
    }
}

fn action(name: &Value, errno: &Value) -> Action {
    match name.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.as_u64().unwrap_or(libc::EPERM as u64) as u16),
        other => panic!("{other} is not in this profile"),
    }
}

fn arch(name: &Value) -> Arch {
    match name.as_str().unwrap() {
        "SCMP_ARCH_X86_64" => Arch::X86_64,
        "SCMP_ARCH_X86" => Arch::X86,
        "SCMP_ARCH_X32" => Arch::X32,
        other => panic!("{other} is not in this profile"),
    }
}

/// A rule for `names` with `args` as (index, operator, value, second value).
pub fn on(names: &[&str], action: Action, args: &[(u8, Operator, u64, u64)]) -> Rule {
    let args = args
        .iter()
        .map(|&(index, operator, value, value_two)| Argument {
            index,
            value,
            value_two,
            operator,
        })
        .collect();
    Rule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        args,
    }
}
