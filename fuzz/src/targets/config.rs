//! `config.json`: from its bytes to the plans of `create` on every kind of host.

use std::path::Path;

use sampan::config::Config;
use sampan::config::default::default_config;
use sampan::plan::annotations::RECORD;
use sampan::plan::{self, InitStep, Plan, Planned};
use sampan::spec;

use super::{BUNDLE, scenarios};
use crate::case::Case;
use crate::properties;
use crate::{Form, Target, check_config_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "config",
    run,
    seeds,
    form: Form::Json,
    words: WORDS,
    longest: 16 << 10,
    changes: 8_000,
};

/// Strings that values of a config may contain.
pub const WORDS: &str = "
    / /proc /proc/self/ns/net /dev/null /dev/console /dev/ptmx /sys/fs/cgroup .. bind rbind
    tmpfs proc sysfs cgroup cgroup2 mqueue devpts overlay ro rro idmap ridmap remount tmpcopyup
    rshared size=64k mode=755 user pid network time mount a:b:c system.slice:docker:x :x:y
    /a/../b CAP_SYS_ADMIN RLIMIT_NOFILE SCMP_ACT_NOTIFY SCMP_ACT_ERRNO SCMP_CMP_MASKED_EQ
    SCMP_ARCH_X86 LINUX32 memory.max cpu.weight io.max 0-3,5 hugepages 2MB net.ipv4.ip_forward
    kernel/shm_rmid_forced PATH=/bin = org.systemd.property.TimeoutStopUSec
    org.systemd.property.After org.opencontainers.image.stopSignal -1 1.3.0
";

fn seeds() -> Vec<Vec<u8>> {
    let cases = Case::all().into_iter().map(|case| case.config.to_string());
    let whole = [
        default_config(None),
        default_config(Some((1000, 1000))),
        include_str!("../../../src/config/tests/engine.json").to_owned(),
    ];
    let mut seeds: Vec<_> = cases.chain(whole).map(String::into_bytes).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

fn run(data: &[u8]) {
    let config = match spec::config(data, Path::new(BUNDLE)) {
        Ok(config) => config,
        Err(error) => return check_config_error(&error),
    };
    for scenario in scenarios() {
        match plan::build(&config, &scenario.host, &scenario.options) {
            Ok(plan) => {
                check(&plan);
                check_confines(&config, &plan);
            }
            Err(error) => check_config_error(&error),
        }
        if let Some(process) = &config.process {
            match plan::exec(
                &config,
                process,
                &scenario.host,
                &scenario.options.process,
                None,
            ) {
                Ok(plan) => check(&plan),
                Err(error) => check_config_error(&error),
            }
        }
    }
}

/// Both forms of the plan can be printed, and name the origin of each step.
pub fn check(plan: &Plan) {
    properties::check(plan);
    let text = plan.text();
    assert!(text.ends_with('\n'));
    let odd = text.chars().find(|&c| c.is_control() && c != '\n');
    assert_eq!(odd, None, "a control character in {text:?}");
}

/// The steps that confine the process are in the plan, at the right place.
fn check_confines(config: &Config, plan: &Plan) {
    let steps: Vec<_> = plan.init.iter().chain(plan.start.iter()).collect();
    let last = |is: fn(&InitStep) -> bool| steps.iter().rposition(|planned| is(&planned.step));
    let mounted = last(|step| {
        matches!(
            step,
            InitStep::Filesystem(_) | InitStep::Bind(_) | InitStep::Remount(_) | InitStep::Node(_)
        )
    });
    for path in &config.linux.masked_paths {
        let is_mask = |planned: &&Planned<InitStep>| match &planned.step {
            InitStep::MaskPath { path: masked } => masked.to_bytes() == bytes(path),
            _ => false,
        };
        let at = steps.iter().position(is_mask);
        assert!(at > mounted, "{} is not masked last", path.display());
    }
    for path in &config.linux.readonly_paths {
        let is_readonly = |planned: &&Planned<InitStep>| match &planned.step {
            InitStep::ReadonlyPath { path: readonly } => readonly.to_bytes() == bytes(path),
            _ => false,
        };
        let at = steps.iter().position(is_readonly);
        assert!(at > mounted, "{} is not read-only last", path.display());
    }
    let switched = last(|step| matches!(step, InitStep::SwitchRoot { .. }));
    assert!(switched > mounted, "a mount after the root's switch");
    let executed = last(|step| matches!(step, InitStep::Exec(_)));
    let Some(process) = &config.process else {
        assert_eq!(executed, None, "nothing is to be executed");
        return;
    };
    assert_eq!(
        executed,
        Some(steps.len() - 1),
        "execve is not the last step"
    );
    let user = last(|step| matches!(step, InitStep::Credentials(_)));
    assert!(user > switched, "the user comes before the root's switch");
    let no_new = last(|step| matches!(step, InitStep::NoNewPrivileges));
    assert_eq!(no_new.is_some(), process.no_new_privileges);
    let filter = last(|step| matches!(step, InitStep::Seccomp { .. }));
    // Recording needs a filter of its own.
    let recorded = config.annotations.contains_key(RECORD);
    assert_eq!(filter.is_some(), recorded || config.linux.seccomp.is_some());
    assert!(filter.is_none() || filter > no_new && filter > switched);
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
