//! `hooks`, each at its point in the lifecycle.

use super::{HookMoment, HookStep, Phase, Plan, Step, c_string};
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
    push(plan, Phase::Hooks, HookMoment::Prestart, &hooks.prestart);
    push(
        plan,
        Phase::Hooks,
        HookMoment::CreateRuntime,
        &hooks.create_runtime,
    );
    // In the same step, the runtime sends init the state for the hooks of the container.
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

/// The hooks that run after the start of the user process and after `delete`.
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

/// The hooks that run where the user process will run, by default with its environment.
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
