//! Labels of the security modules: for the process when it executes, for its keyring, and for new
//! mounts.

use std::ffi::CString;

use super::{InitStep, Plan, c_string};
use crate::config::{Config, Process};
use crate::error::{Code, Error};
use crate::host::Host;

/// The security module that reads a label. Each has its file in /proc/PID/attr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// `attr/apparmor/exec`.
    AppArmor,
    /// `attr/exec`.
    Selinux,
}

/// A label for the next execve(2).
#[derive(Clone, Debug)]
pub struct ExecLabel {
    /// The module that reads it.
    pub module: Module,
    /// The profile, or the SELinux context.
    pub label: CString,
}

/// The label of `field`, if its module is enabled. If not, this is only a warning, so that the same
/// config works on hosts with and without the module.
fn read_by(
    plan: &mut Plan,
    field: &str,
    (module, enabled): (&str, bool),
    label: Option<&String>,
) -> Option<CString> {
    let label = label?;
    if enabled {
        return Some(c_string(label));
    }
    let message = format!("{module} is not enabled on this host: label ignored");
    plan.warnings
        .push(Error::config(field, message).code_is(Code::WarningLabel));
    None
}

/// The labels that the process gets when it executes.
pub(super) fn exec(plan: &mut Plan, process: &Process, host: &Host) {
    let labels = [
        (
            "process.apparmorProfile",
            Module::AppArmor,
            ("AppArmor", host.apparmor),
            &process.apparmor_profile,
        ),
        (
            "process.selinuxLabel",
            Module::Selinux,
            ("SELinux", host.selinux),
            &process.selinux_label,
        ),
    ];
    for (field, module, reader, label) in labels {
        if let Some(label) = read_by(plan, field, reader, label.as_ref()) {
            let step = InitStep::ExecLabel(ExecLabel { module, label });
            plan.init.add(field, step);
        }
    }
}

/// The SELinux context of the container's keys: that of its process.
pub(super) fn keyring(process: Option<&Process>, host: &Host) -> Option<CString> {
    let label = process?.selinux_label.as_ref()?;
    host.selinux.then(|| c_string(label))
}

/// `linux.mountLabel`, if SELinux is enabled.
pub(super) fn mount(plan: &mut Plan, config: &Config, host: &Host) -> Option<CString> {
    let reader = ("SELinux", host.selinux);
    let label = config.linux.mount_label.as_ref();
    read_by(plan, "linux.mountLabel", reader, label)
}

/// `data` with the context of a new file system, in the mount option `kind`. mount(8), "context=".
pub(super) fn with_context(data: &str, kind: &str, label: Option<&CString>) -> String {
    let Some(label) = label else {
        return data.to_owned();
    };
    let comma = if data.is_empty() { "" } else { "," };
    format!("{data}{comma}{kind}=\"{}\"", label.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::has_example;

    #[test]
    fn the_context_is_in_the_option_that_the_annotation_says() {
        let label = c_string("system_u:object_r:container_file_t:s0:c1,c2");
        let data = with_context("size=1k", "rootcontext", Some(&label));
        let expected = "size=1k,rootcontext=\"system_u:object_r:container_file_t:s0:c1,c2\"";
        assert_eq!(data, expected);
        assert_eq!(with_context("size=1k", "context", None), "size=1k");
    }

    #[test]
    fn the_label_of_a_module_that_is_off_is_a_warning() {
        let mut plan = Plan::default();
        let (reader, label) = (("AppArmor", false), "docker-default".to_owned());
        let label = read_by(&mut plan, "process.apparmorProfile", reader, Some(&label));
        assert_eq!(label, None);
        has_example(plan.warnings.remove(0), "warning.label");
    }
}
