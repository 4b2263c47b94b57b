//! `hooks`: each at its moment.

use std::ffi::{CString, OsStr};

use super::{HookMoment, HookStep, Phase, Plan, Step, c_path, c_string};
use crate::config::{Config, Hook};
use crate::error::Result;

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
pub(super) fn create(plan: &mut Plan, config: &Config) -> Result<()> {
    let hooks = &config.hooks;
    push(plan, Phase::Hooks, HookMoment::Prestart, &hooks.prestart)?;
    push(
        plan,
        Phase::Hooks,
        HookMoment::CreateRuntime,
        &hooks.create_runtime,
    )?;
    // Hooks of the container get their state from the runtime at the same moment.
    if plan.has(Phase::Hooks) || !hooks.create_container.is_empty() {
        plan.push(Phase::Init, "hooks", Step::RuntimeHooks);
    }
    push(
        plan,
        Phase::Init,
        HookMoment::CreateContainer,
        &hooks.create_container,
    )
}

/// The hooks of the verbs after `start`.
pub(super) fn later(plan: &mut Plan, config: &Config) -> Result<()> {
    let hooks = &config.hooks;
    push(
        plan,
        Phase::Started,
        HookMoment::Poststart,
        &hooks.poststart,
    )?;
    push(plan, Phase::Deleted, HookMoment::Poststop, &hooks.poststop)
}

/// The hooks that run beside the user process, by default with its environment.
pub(super) fn start(plan: &mut Plan, config: &Config) -> Result<()> {
    let hooks = &config.hooks.start_container;
    push(plan, Phase::Start, HookMoment::StartContainer, hooks)
}

fn push(plan: &mut Plan, phase: Phase, moment: HookMoment, hooks: &[Hook]) -> Result<()> {
    for hook in hooks {
        let path = c_path(&hook.field, &hook.path)?;
        let args = strings(&hook.field, &hook.args)?;
        let env = hook.env.as_deref();
        let env = env.map(|env| strings(&hook.field, env)).transpose()?;
        let step = HookStep {
            args: if args.is_empty() {
                vec![path.clone()]
            } else {
                args
            },
            path,
            env,
            timeout: hook.timeout,
            moment,
        };
        plan.push(phase, &hook.field, Step::Hook(Box::new(step)));
    }
    Ok(())
}

fn strings(field: &str, values: &[impl AsRef<OsStr>]) -> Result<Vec<CString>> {
    values.iter().map(|value| c_string(field, value)).collect()
}
