//! The device program as the kernel applies it.

use std::process::Stdio;

use super::*;
use crate::plan::devices;

/// Whether a process in the cgroup can open the device; `direction` is `<` or `>>`.
fn can_open(cgroup: &Cgroup, direction: &str, device: &str) -> bool {
    let mut child = Command::new("sh")
        .args(["-c", &format!("read _ && : {direction} {device}")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    cgroup.add(child.id().cast_signed()).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait().unwrap().success()
}

#[test]
fn device_program_decides() {
    use crate::config::resources::{DeviceRule, DeviceRuleKind};
    let Some(fixture) = Fixture::new("devices") else {
        return;
    };
    let cgroup = fixture.create("").unwrap();
    let attach = |cgroup: &Cgroup, rules: &[DeviceRule]| {
        let program = devices::compile(rules).unwrap();
        cgroup.attach_device_program(&program.insns).unwrap();
    };
    // A device that is not a default device, and that root can open unless a program forbids it.
    let other = "/dev/kmsg";
    assert!(can_open(&cgroup, "<", other) && can_open(&cgroup, ">>", other));

    attach(&cgroup, &[]);
    assert!(can_open(&cgroup, "<", "/dev/zero") && can_open(&cgroup, ">>", "/dev/null"));
    assert!(!can_open(&cgroup, "<", other) && !can_open(&cgroup, ">>", other));

    // The program of an existing cgroup is replaced, not supplemented.
    let rule = DeviceRule {
        allow: true,
        kind: DeviceRuleKind::Char,
        major: Some(1),
        minor: Some(11),
        read: true,
        write: false,
        mknod: false,
    };
    let again = fixture.find().unwrap().unwrap();
    attach(&again, &[rule]);
    assert_eq!(bpf::device_programs(again.fd()).unwrap().len(), 1);
    assert!(can_open(&cgroup, "<", other) && !can_open(&cgroup, ">>", other));
}

#[test]
fn verifier_accepts_every_list() {
    if hierarchy().is_none() {
        return;
    }
    let mut random = devices::tests::Random::new();
    for _ in 0..200 {
        let rules = random.rules();
        if let Some(program) = devices::compile(&rules) {
            let code: Vec<u64> = program.insns.iter().map(|insn| insn.encode()).collect();
            bpf::load_device_program(&code)
                .unwrap_or_else(|refused| panic!("{rules:?} {refused:?}"));
        }
    }
}

#[test]
fn verifier_log_is_returned() {
    if hierarchy().is_none() {
        return;
    }
    let exit = Insn {
        code: 0x95,
        registers: 0,
        offset: 0,
        immediate: 0,
    };
    let refused = bpf::load_device_program(&[exit.encode()]).unwrap_err();
    assert_eq!(refused.fail.errno, Errno::EACCES);
    assert!(refused.log.contains("R0"), "{}", refused.log);
}
