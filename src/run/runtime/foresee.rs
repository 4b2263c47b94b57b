//! What a `create` would fail on, as far as it can be seen without making anything.

mod below;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use super::{id_map, net_devices, resctrl, seccomp_listener, serve_init, sources};
pub use below::{Foreseen, foresee_cwd, foresee_executable, foresee_start_hooks};

use crate::config::memory_policy::{MemoryPolicy, Mode};
use crate::error::{Context as _, Error};
use crate::host;
use crate::plan::{
    HookStep, IfMapDenied, InheritedStep, InitStep, Plan, Planned, Rlimit, RuntimeStep,
};
use crate::run::failure;
use crate::sys::{Fail, Sys, credentials, file, schedule};

/// Each failure, in the words of `create` and `start`.
pub fn foresee(plan: &Plan) -> Vec<Error> {
    let mut found: Vec<_> = sources::look(plan)
        .into_iter()
        .map(Error::of_chain)
        .collect();
    for hooks in [&plan.hooks, &plan.after_start, &plan.after_delete] {
        let failed = |hook: &Planned<HookStep>| {
            let fail = look_at_hook(&hook.step).err()?;
            Some(failure::step_failed(hook, fail))
        };
        found.extend(hooks.iter().filter_map(failed));
    }
    found.extend(plan.init.iter().filter_map(|step| look_at_init(step).err()));
    let agent = seccomp_listener::check_agent(plan).err();
    let beside = plan.beside().filter_map(|step| look_at_step(step).err());
    let limits = plan
        .ready
        .iter()
        .filter_map(|limit| look_at_limit(limit).err());
    let others = agent.into_iter().chain(beside).chain(limits);
    found.extend(others.map(Error::of_chain));
    found
}

/// Whether the host has the program of a hook.
fn look_at_hook(hook: &HookStep) -> std::result::Result<(), Fail> {
    eaccess(hook.path.as_c_str(), AccessFlags::X_OK).map_err(|errno| Fail::new("execve", errno))
}

/// Looks at a step of init that needs nothing of the container.
fn look_at_init(planned: &Planned<InitStep>) -> std::result::Result<(), Error> {
    let looked = match &planned.step {
        // It runs in the container's namespaces, before the rootfs is the root.
        InitStep::Hook(hook) => look_at_hook(hook),
        InitStep::Inherited(InheritedStep::MemoryPolicy(policy)) => try_memory_policy(policy),
        _ => return Ok(()),
    };
    looked.map_err(|fail| failure::step_failed(planned, fail))
}

/// Which nodes the kernel takes depends on the memory that the host has, on the cpuset and on how
/// the kernel is built, so this process tries. The program of a container is allowed no other nodes
/// than this process, unless the caller is in a narrower cpuset.
fn try_memory_policy(policy: &MemoryPolicy) -> Sys<()> {
    let nodes = policy.nodes.as_ref().map(|nodes| &nodes.mask[..]);
    schedule::set_memory_policy(policy.mode_and_flags(), nodes.unwrap_or(&[]))?;
    schedule::set_memory_policy(Mode::Default as i32, &[])
}

fn look_at_step(planned: &Planned<RuntimeStep>) -> Result<()> {
    match &planned.step {
        RuntimeStep::IdMap { .. } => look_at_map(planned),
        RuntimeStep::Resctrl(_) => resctrl::refuse_unmounted(&planned.field),
        RuntimeStep::MoveDevice(device) => {
            Ok(net_devices::look(device).map_err(|fail| failure::step_failed(planned, fail))?)
        }
        RuntimeStep::OomScoreAdj(score) => look_at_score(planned, *score),
        _ => Ok(()),
    }
}

/// Whether the caller may raise the hard limit, if it is above its own.
fn look_at_limit(planned: &Planned<Rlimit>) -> Result<()> {
    if !serve_init::is_above(planned)? || has_sys_resource()? {
        return Ok(());
    }
    let refused = Fail::new("prlimit", Errno::EPERM);
    bail!(failure::step_failed(planned, refused))
}

/// Whether the caller may lower the score. One above 0 may have been raised without a privilege, and
/// is not looked at.
fn look_at_score(planned: &Planned<RuntimeStep>, score: i32) -> Result<()> {
    const OWN: &str = "/proc/self/oom_score_adj";
    let own = file::read_text(OWN.as_ref()).with_context(|| OWN)?;
    let own: i32 = own.trim().parse().unwrap_or_default();
    if score >= own.min(0) || has_sys_resource()? {
        return Ok(());
    }
    let refused = Fail::new("write", Errno::EACCES);
    bail!(failure::step_failed(planned, refused))
}

/// Whether the caller has CAP_SYS_RESOURCE on the host.
fn has_sys_resource() -> Result<bool> {
    let (effective, ..) = credentials::capget().context("capabilities")?;
    Ok(effective & 1 << 24 != 0 && !host::in_user_namespace()?)
}

/// Whether newuidmap(1) or newgidmap(1) exists and may write the map, if it is needed.
fn look_at_map(planned: &Planned<RuntimeStep>) -> Result<()> {
    let RuntimeStep::IdMap {
        group,
        map,
        if_denied: IfMapDenied::Helper,
    } = &planned.step
    else {
        return Ok(());
    };
    id_map::find_helper(planned, *group)?;
    let (file, own) = if *group {
        ("/etc/subgid", nix::unistd::getegid().as_raw())
    } else {
        ("/etc/subuid", nix::unistd::geteuid().as_raw())
    };
    let ranges = granted_ids(file).map_err(|fail| Error::failed(file, fail))?;
    for line in map.lines() {
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        let &[_, first, size] = &numbers[..] else {
            continue;
        };
        let is_own = (first, size) == (own.into(), 1);
        let covers = |&(start, count): &(u64, u64)| {
            start <= first && first + size <= start.saturating_add(count)
        };
        if !is_own && !ranges.iter().any(covers) {
            let last = first + size.saturating_sub(1);
            let message = format!("{planned}: {file} does not grant the ids {first} to {last}");
            return Err(Error::new(message)
                .hint("usermod --add-subuids and --add-subgids grant ids")
                .into());
        }
    }
    Ok(())
}

/// The ranges that `file`, /etc/subuid or /etc/subgid, grants to the caller: first id and number.
/// Source: subuid(5).
///
/// # Errors
/// The file exists and cannot be read.
pub fn granted_ids(file: &str) -> Sys<Vec<(u64, u64)>> {
    let text = match file::read_text(file.as_ref()) {
        Err(fail) if fail.errno == Errno::ENOENT => String::new(),
        read => read?,
    };
    let uid = nix::unistd::geteuid().to_string();
    let passwd = file::read_text("/etc/passwd".as_ref()).unwrap_or_default();
    let name = login_name(&passwd, &uid).unwrap_or(&uid);
    Ok(ranges(&text, &[name, &uid]))
}

/// The name of the user in the text of /etc/passwd. Not by the C library, whose code for it is
/// larger than all of this file.
fn login_name<'p>(passwd: &'p str, uid: &str) -> Option<&'p str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    })
}

/// The ranges of a user with these names.
fn ranges(text: &str, names: &[&str]) -> Vec<(u64, u64)> {
    let of_user = |line: &str| {
        let mut fields = line.trim().split(':');
        let is_own = names.contains(&fields.next()?);
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        is_own.then_some(range)
    };
    text.lines().filter_map(of_user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_a_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nodd\n";
        assert_eq!(login_name(passwd, "1000"), Some("ann"));
        assert_eq!(login_name(passwd, "100"), None);
    }

    #[test]
    fn ranges_are_those_of_the_user() {
        let text = "# ids\nann:100000:65536\nbob:165536:10\n1000:7:1\nann:x:1\nann:\n";
        assert_eq!(ranges(text, &["ann", "1000"]), [(100_000, 65536), (7, 1)]);
    }
}
