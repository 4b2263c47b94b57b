//! `hooks`, each at its point in the lifecycle.

use std::ffi::CString;

use super::{HookMoment, HookStep, InitStep, Plan, Steps, annotations, c_string};
use crate::config::Config;

impl HookMoment {
    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// The hooks of `create`.
pub(super) fn create(plan: &mut Plan, config: &Config) {
    add(&mut plan.hooks, config, HookMoment::Prestart);
    add(&mut plan.hooks, config, HookMoment::CreateRuntime);
    // In the same step, the runtime sends init the state for the hooks of the container.
    if !plan.hooks.is_empty() || !config.hooks.create_container.is_empty() {
        plan.init.add("hooks", InitStep::RuntimeHooks);
    }
    for (field, hook) in steps(config, HookMoment::CreateContainer) {
        plan.init.add(field, InitStep::Hook(Box::new(hook)));
    }
}

/// The hooks that run after the start of the user process and after `delete`.
pub(super) fn later(plan: &mut Plan, config: &Config) {
    plan.after_start = at(config, HookMoment::Poststart);
    plan.after_delete = at(config, HookMoment::Poststop);
}

/// The hooks at one point in the lifecycle. They depend on the config alone: a host that has changed
/// since `create` does not keep them from running.
pub fn at(config: &Config, moment: HookMoment) -> Steps<HookStep> {
    let mut list = Steps::default();
    add(&mut list, config, moment);
    list
}

/// The hooks that run where the user process will run, by default with its environment.
pub(super) fn start(plan: &mut Plan, config: &Config) {
    for (field, hook) in steps(config, HookMoment::StartContainer) {
        plan.start.add(field, InitStep::Hook(Box::new(hook)));
    }
}

/// The files of the annotations for stdout and stderr.
fn streams(config: &Config) -> [Option<CString>; 2] {
    annotations::HOOK_STREAMS.map(|key| {
        let file = config.annotations.get(key);
        file.filter(|file| !file.is_empty()).map(c_string)
    })
}

fn add(list: &mut Steps<HookStep>, config: &Config, moment: HookMoment) {
    for (field, hook) in steps(config, moment) {
        list.add(field, hook);
    }
}

/// The hooks at one point in the lifecycle, each with its property.
fn steps(config: &Config, moment: HookMoment) -> impl Iterator<Item = (&str, HookStep)> {
    let all = &config.hooks;
    let hooks = match moment {
        HookMoment::Prestart => &all.prestart,
        HookMoment::CreateRuntime => &all.create_runtime,
        HookMoment::CreateContainer => &all.create_container,
        HookMoment::StartContainer => &all.start_container,
        HookMoment::Poststart => &all.poststart,
        HookMoment::Poststop => &all.poststop,
    };
    hooks.iter().map(move |hook| {
        let env = hook.env.as_ref();
        let step = HookStep {
            path: c_string(&hook.path),
            args: hook.args.iter().map(c_string).collect(),
            env: env.map(|env| env.iter().map(c_string).collect()),
            timeout: hook.timeout,
            moment,
            streams: streams(config),
        };
        (hook.field.as_str(), step)
    })
}
