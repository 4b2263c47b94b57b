//! `hooks`, each at its point in the lifecycle.

use std::ffi::CString;

use super::{HookMoment, HookStep, InitStep, Plan, Steps, annotations, c_string};
use crate::config::{Config, Hook};

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
    let hooks = &config.hooks;
    let streams = &streams(config);
    add(
        &mut plan.hooks,
        HookMoment::Prestart,
        &hooks.prestart,
        streams,
    );
    add(
        &mut plan.hooks,
        HookMoment::CreateRuntime,
        &hooks.create_runtime,
        streams,
    );
    // In the same step, the runtime sends init the state for the hooks of the container.
    if !plan.hooks.is_empty() || !hooks.create_container.is_empty() {
        plan.init.add("hooks", InitStep::RuntimeHooks);
    }
    for (field, hook) in steps(
        HookMoment::CreateContainer,
        &hooks.create_container,
        streams,
    ) {
        plan.init.add(field, InitStep::Hook(Box::new(hook)));
    }
}

/// The hooks that run after the start of the user process and after `delete`.
pub(super) fn later(plan: &mut Plan, config: &Config) {
    let hooks = &config.hooks;
    let streams = &streams(config);
    add(
        &mut plan.after_start,
        HookMoment::Poststart,
        &hooks.poststart,
        streams,
    );
    add(
        &mut plan.after_delete,
        HookMoment::Poststop,
        &hooks.poststop,
        streams,
    );
}

/// The hooks that run where the user process will run, by default with its environment. The host's
/// files are out of their reach, so their streams have none.
pub(super) fn start(plan: &mut Plan, config: &Config) {
    let hooks = &config.hooks.start_container;
    for (field, hook) in steps(HookMoment::StartContainer, hooks, &[None, None]) {
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

fn add(
    list: &mut Steps<HookStep>,
    moment: HookMoment,
    hooks: &[Hook],
    streams: &[Option<CString>; 2],
) {
    for (field, hook) in steps(moment, hooks, streams) {
        list.add(field, hook);
    }
}

/// The hooks at one point in the lifecycle, each with its property.
fn steps<'a>(
    moment: HookMoment,
    hooks: &'a [Hook],
    streams: &'a [Option<CString>; 2],
) -> impl Iterator<Item = (&'a str, HookStep)> {
    hooks.iter().map(move |hook| {
        let env = hook.env.as_ref();
        let step = HookStep {
            path: c_string(&hook.path),
            args: hook.args.iter().map(c_string).collect(),
            env: env.map(|env| env.iter().map(c_string).collect()),
            timeout: hook.timeout,
            moment,
            streams: streams.clone(),
        };
        (hook.field.as_str(), step)
    })
}
