//! `hooks`: each at its moment.

use super::{HookMoment, HookStep, Phase, Plan, Step, c_string};
use crate::config::{Config, Hook};

impl HookMoment {
    /// The specification's word.
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
    push(plan, Phase::Hooks, HookMoment::Prestart, &hooks.prestart);
    push(
        plan,
        Phase::Hooks,
        HookMoment::CreateRuntime,
        &hooks.create_runtime,
    );
    // Hooks of the container get their state from the runtime at the same moment.
    if plan.has(Phase::Hooks) || !hooks.create_container.is_empty() {
        plan.push(Phase::Init, "hooks", Step::RuntimeHooks);
    }
    push(
        plan,
        Phase::Init,
        HookMoment::CreateContainer,
        &hooks.create_container,
    );
}

/// The hooks of the verbs after `start`.
pub(super) fn later(plan: &mut Plan, config: &Config) {
    let hooks = &config.hooks;
    push(
        plan,
        Phase::Started,
        HookMoment::Poststart,
        &hooks.poststart,
    );
    push(plan, Phase::Deleted, HookMoment::Poststop, &hooks.poststop);
}

/// The hooks that run beside the user process, by default with its environment.
pub(super) fn start(plan: &mut Plan, config: &Config) {
    let hooks = &config.hooks.start_container;
    push(plan, Phase::Start, HookMoment::StartContainer, hooks);
}

fn push(plan: &mut Plan, phase: Phase, moment: HookMoment, hooks: &[Hook]) {
    for hook in hooks {
        let step = HookStep {
            path: c_string(&hook.path),
            args: hook.args.iter().map(c_string).collect(),
            env: hook
                .env
                .as_ref()
                .map(|env| env.iter().map(c_string).collect()),
            timeout: hook.timeout,
            moment,
        };
        plan.push(phase, &hook.field, Step::Hook(Box::new(step)));
    }
}
