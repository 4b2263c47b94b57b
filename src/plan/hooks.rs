//! `hooks`, each at its point in the lifecycle.

use super::{HookMoment, HookStep, InitStep, Plan, Steps, c_string};
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
    add(&mut plan.hooks, HookMoment::Prestart, &hooks.prestart);
    add(
        &mut plan.hooks,
        HookMoment::CreateRuntime,
        &hooks.create_runtime,
    );
    // In the same step, the runtime sends init the state for the hooks of the container.
    if !plan.hooks.is_empty() || !hooks.create_container.is_empty() {
        plan.init.add("hooks", InitStep::RuntimeHooks);
    }
    for (field, hook) in steps(HookMoment::CreateContainer, &hooks.create_container) {
        plan.init.add(field, InitStep::Hook(Box::new(hook)));
    }
}

/// The hooks that run after the start of the user process and after `delete`.
pub(super) fn later(plan: &mut Plan, config: &Config) {
    let hooks = &config.hooks;
    add(
        &mut plan.after_start,
        HookMoment::Poststart,
        &hooks.poststart,
    );
    add(
        &mut plan.after_delete,
        HookMoment::Poststop,
        &hooks.poststop,
    );
}

/// The hooks that run where the user process will run, by default with its environment.
pub(super) fn start(plan: &mut Plan, config: &Config) {
    for (field, hook) in steps(HookMoment::StartContainer, &config.hooks.start_container) {
        plan.start.add(field, InitStep::Hook(Box::new(hook)));
    }
}

fn add(list: &mut Steps<HookStep>, moment: HookMoment, hooks: &[Hook]) {
    for (field, hook) in steps(moment, hooks) {
        list.add(field, hook);
    }
}

/// The hooks at one point in the lifecycle, each with its property.
fn steps(moment: HookMoment, hooks: &[Hook]) -> impl Iterator<Item = (&str, HookStep)> {
    hooks.iter().map(move |hook| {
        let env = hook.env.as_ref();
        let step = HookStep {
            path: c_string(&hook.path),
            args: hook.args.iter().map(c_string).collect(),
            env: env.map(|env| env.iter().map(c_string).collect()),
            timeout: hook.timeout,
            moment,
        };
        (hook.field.as_str(), step)
    })
}
