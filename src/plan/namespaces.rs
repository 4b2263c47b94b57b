//! `linux.namespaces`: which ones clone3(2) creates, which ones are joined, and by which process.

use super::{
    Dumpable, Entry, EntryStep, IfMapDenied, InheritedStep, InitStep, Options, OwnProcfs, Plan,
    Planned, ProcessOptions, RuntimeStep, annotations, c_string, labels,
};
use crate::config::{Config, IdMapping, Namespace, NamespaceKind, Namespaces, Process, sysctl};
use crate::error::{Error, Result};
use crate::host::Host;

pub(super) const FIELD: &str = "linux.namespaces";

pub(super) fn steps(plan: &mut Plan, config: &Config, host: &Host, options: &Options) {
    let namespaces = &config.linux.namespaces;
    let user = UserNamespace::of(namespaces, host);
    plan.entry = entry(config, host, user);
    if host.euid != 0 && plan.entry != Entry::ThroughRuntime && user.is_new {
        plan.dumpable = Dumpable::UntilMapped;
    }
    if user.is_new && is_joined(namespaces, NamespaceKind::Pid) {
        plan.procfs = OwnProcfs::MadeEarly;
    }
    plan.clone_flags = clone_flags(namespaces, has_offsets(config));
    let late_ipc = makes_ipc_late(config);
    if late_ipc {
        plan.clone_flags &= !NamespaceKind::Ipc.clone_flag();
    }
    make_network_beside(plan, namespaces, host);
    if user.is_new {
        id_maps(plan, config, host);
    }
    let is_last = |kind: &NamespaceKind| user.is_last && *kind == NamespaceKind::User;
    let all = NamespaceKind::ALL.into_iter();
    let last = all.clone().filter(is_last);
    for kind in all.filter(|kind| !is_last(kind)).chain(last) {
        join(plan, config, kind, user);
        if kind == NamespaceKind::User {
            become_its_root(plan, config, user);
        }
    }
    if late_ipc {
        plan.init.add(FIELD, InitStep::Unshare(NamespaceKind::Ipc));
    }
    if namespaces.cgroup == Namespace::New {
        plan.init
            .add(FIELD, InitStep::Unshare(NamespaceKind::Cgroup));
    }
    session_keyring(plan, config.process.as_ref(), host, &options.process);
    if plan.clone_flags & NamespaceKind::Network.clone_flag() != 0 {
        plan.init.add(FIELD, InitStep::LoopbackUp);
    }
}

/// The user namespace of the container, if it is not that of the runtime.
#[derive(Clone, Copy)]
struct UserNamespace {
    is_new: bool,
    is_joined: bool,
    /// Whether it is joined after the others. Root has privileges over the namespaces of every user
    /// namespace, but only until it enters another one. Other callers get privileges there.
    is_last: bool,
}

impl UserNamespace {
    fn of(namespaces: &Namespaces, host: &Host) -> Self {
        let is_joined = is_joined(namespaces, NamespaceKind::User);
        Self {
            is_new: namespaces.user == Namespace::New,
            is_joined,
            is_last: is_joined && host.euid == 0,
        }
    }
}

fn is_joined(namespaces: &Namespaces, kind: NamespaceKind) -> bool {
    matches!(namespaces.get(kind), Namespace::Join { .. })
}

fn has_offsets(config: &Config) -> bool {
    !config.linux.time_offsets.is_empty()
}

fn entry(config: &Config, host: &Host, user: UserNamespace) -> Entry {
    let namespaces = &config.linux.namespaces;
    let offsets = has_offsets(config);
    let is_left = |kind| is_joined(namespaces, kind) && is_early(namespaces, kind, user);
    let leaves = offsets || NamespaceKind::ALL.into_iter().any(is_left);
    match () {
        () if cannot_come_back(host) && !user.is_joined && leaves => Entry::ThroughRuntime,
        () if user.is_joined || (user.is_new && offsets) => Entry::ThroughUserNamespace,
        () => Entry::Direct,
    }
}

/// The step that joins a namespace, in the list of the process that has the privileges for it.
fn join(plan: &mut Plan, config: &Config, kind: NamespaceKind, user: UserNamespace) {
    let namespaces = &config.linux.namespaces;
    let Namespace::Join { field, path } = namespaces.get(kind) else {
        return;
    };
    let step = EntryStep::JoinNamespace {
        kind,
        path: c_string(path),
        not_own: not_own(kind, config),
    };
    let with_user = user.is_last && kind != NamespaceKind::Mount;
    match (with_user || is_early(namespaces, kind, user), plan.entry) {
        (false, _) => plan.init.add(field, InitStep::Enter(step)),
        (true, Entry::Direct) => plan.leave.add(field, step),
        // The new user namespace lacks the privileges for it.
        (true, Entry::ThroughUserNamespace) if user.is_new => plan.leave.add(field, step),
        (true, _) => plan.between.add(field, step),
    }
}

/// The steps in the user namespace, which come before those in the namespaces that belong to it.
fn become_its_root(plan: &mut Plan, config: &Config, user: UserNamespace) {
    if user.is_joined {
        check_id_maps(plan, config);
    }
    // The file of the offsets belongs to the caller, so it is written before the process changes its
    // user.
    time_offsets(plan, config);
    if user.is_new || user.is_joined {
        let keep_groups = annotations::has(config, annotations::KEEP_GROUPS);
        let step = EntryStep::BecomeRoot { keep_groups };
        match plan.entry {
            Entry::ThroughUserNamespace => plan.between.add(FIELD, step),
            _ => plan.init.add(FIELD, InitStep::Enter(step)),
        }
    }
}

/// Plans a new network namespace. The kernel needs as much time to create it as to create all others
/// together. So the runtime creates it while init mounts, and init enters it as late as it can.
///
/// Removes the namespace from the flags of clone3(2) if the runtime can create it and return to its
/// own. If the namespace must belong to a user namespace other than the runtime's, it is created in
/// that one. In a joined pid namespace other processes can see init, and what /proc/PID/net shows of
/// the namespace that it is in.
fn make_network_beside(plan: &mut Plan, namespaces: &Namespaces, host: &Host) {
    let is_new = namespaces.network == Namespace::New;
    let seen = matches!(namespaces.pid, Namespace::Join { .. });
    if is_new && !seen && namespaces.user == Namespace::Inherit && !cannot_come_back(host) {
        plan.clone_flags &= !NamespaceKind::Network.clone_flag();
        let field = FIELD.to_owned();
        let step = RuntimeStep::MakeNetwork;
        // Init will wait for it.
        plan.meanwhile.insert(0, Planned { field, step });
    }
}

/// The reason why the path of a namespace must not lead to the runtime's own, or `None` if it may.
///
/// A container whose config does not list the type shares the runtime's namespace and must not
/// change it. A config that lists the type may change its namespace. So if the path led to the
/// runtime's own, the config could change that.
pub(super) fn not_own(kind: NamespaceKind, config: &Config) -> Option<String> {
    let changed = |field: String| format!("{field} would change it for every process in it");
    let names = [
        ("hostname", config.hostname.is_some()),
        ("domainname", config.domainname.is_some()),
    ];
    let name = names.into_iter().find(|(_, set)| *set);
    match kind {
        NamespaceKind::Mount => {
            Some("root.path would become the root of every process in it".to_owned())
        }
        NamespaceKind::User => {
            Some("setns(2) cannot enter the user namespace of its caller".to_owned())
        }
        NamespaceKind::Cgroup => {
            let shown = config.mounts.iter().find(|mount| mount.is_cgroup());
            shown.map(|mount| format!("{} would show all of its hierarchy", mount.field))
        }
        NamespaceKind::Network if !config.linux.net_devices.is_empty() => {
            Some(changed("linux.netDevices".to_owned()))
        }
        NamespaceKind::Uts if name.is_some() => name.map(|(field, _)| changed(field.to_owned())),
        _ => {
            let mut sysctl = config.linux.sysctl.iter();
            let changing = sysctl.find(|it| sysctl::namespace(&it.path) == Some(kind))?;
            Some(changed(changing.field.clone()))
        }
    }
}

/// Refuses a container without a user namespace to an unprivileged user, who only gets the
/// privileges that a container needs from a user namespace.
pub(super) fn refuse_powerless(namespaces: &Namespaces, host: &Host) -> Result<()> {
    if host.euid == 0 || namespaces.user != Namespace::Inherit {
        return Ok(());
    }
    let message = format!("{FIELD}: rootless container requires user namespaces");
    Err(Error::new(message).hint(
        "add {\"type\": \"user\"} with uidMappings and gidMappings, as `sampan spec --rootless` does, or run as root",
    ))
}

/// A new session keyring, so that the process does not see its caller's keys.
///
/// The keyring has no name. Keyrings are found by name throughout a user namespace, so another
/// container could have created one with that name before, or could link it. A process of `exec`
/// could join the keyring of init only by such a name. So it gets its own, as a login does.
pub(super) fn session_keyring(
    plan: &mut Plan,
    process: Option<&Process>,
    host: &Host,
    options: &ProcessOptions,
) {
    if !options.no_new_keyring {
        let label = labels::keyring(process, host);
        let step = InheritedStep::SessionKeyring { label };
        plan.init.add("session keyring", InitStep::Inherited(step));
    }
}

/// Whether a namespace is joined around clone3(2), not by init. A new user namespace gives init no
/// privileges over one that already exists, and in a joined pid namespace other processes could look
/// through init at those of the host. They cannot look at a cgroup namespace in this way, and in one
/// clone3(2) could not put init into its cgroup.
fn is_early(namespaces: &Namespaces, kind: NamespaceKind, user: UserNamespace) -> bool {
    match kind {
        NamespaceKind::User | NamespaceKind::Pid => true,
        NamespaceKind::Mount => false,
        NamespaceKind::Cgroup => user.is_new,
        _ => user.is_new || is_joined(namespaces, NamespaceKind::Pid),
    }
}

/// Whether the runtime cannot return to a namespace that it has left. In a user namespace, the
/// runtime's other namespaces may belong to a user namespace above, so setns(2) would fail.
pub(super) fn cannot_come_back(host: &Host) -> bool {
    host.in_user_namespace
}

/// Whether init makes the ipc namespace, as root of the new user namespace. The message queues of a
/// namespace belong to the user that makes it, and clone3(2) would make it as a user that the new
/// user namespace does not map.
fn makes_ipc_late(config: &Config) -> bool {
    let namespaces = &config.linux.namespaces;
    let shown = config.mounts.iter().any(|mount| mount.fstype == "mqueue");
    shown && namespaces.user == Namespace::New && namespaces.ipc == Namespace::New
}

/// The flags of clone3(2) for the new namespaces. The cgroup namespace is left out: its root is the
/// cgroup of its creator, so init creates it when it is in the container's cgroup. A time namespace
/// with offsets is left out too, because they can be set only before a process has entered it.
fn clone_flags(namespaces: &Namespaces, offsets: bool) -> u64 {
    NamespaceKind::ALL
        .into_iter()
        .filter(|&kind| *namespaces.get(kind) == Namespace::New)
        .filter(|&kind| kind != NamespaceKind::Cgroup)
        .filter(|&kind| kind != NamespaceKind::Time || !offsets)
        .map(NamespaceKind::clone_flag)
        .fold(0, |flags, flag| flags | flag)
}

/// The runtime writes the maps of a new namespace.
fn id_maps(plan: &mut Plan, config: &Config, host: &Host) {
    let list = if plan.first_has_maps() {
        &mut plan.beside_first
    } else {
        &mut plan.beside_init
    };
    for (field, group, mappings) in maps(config) {
        let step = RuntimeStep::IdMap {
            group,
            map: map_text(mappings),
            if_denied: if_denied(group, mappings, host),
        };
        list.add(field, step);
    }
}

/// Some engines also send maps for a joined namespace; these are compared with its own after it is
/// entered.
fn check_id_maps(plan: &mut Plan, config: &Config) {
    for (field, group, mappings) in maps(config) {
        if !mappings.is_empty() {
            let map = map_text(mappings);
            plan.between
                .add(field, EntryStep::CheckIdMap { group, map });
        }
    }
}

/// The maps in the order in which they are written, each with whether it is the map of groups.
fn maps(config: &Config) -> [(&'static str, bool, &[IdMapping]); 2] {
    let linux = &config.linux;
    [
        ("linux.gidMappings", true, &linux.gid_mappings),
        ("linux.uidMappings", false, &linux.uid_mappings),
    ]
}

fn if_denied(group: bool, mappings: &[IdMapping], host: &Host) -> IfMapDenied {
    let own = if group { host.egid } else { host.euid };
    let is_own = matches!(mappings, [only] if only.size == 1 && only.host_id == own);
    match (host.euid, is_own) {
        (0, _) => IfMapDenied::Fail,
        (_, true) if group => IfMapDenied::DenySetgroups,
        (_, true) => IfMapDenied::Fail,
        (_, false) => IfMapDenied::Helper,
    }
}

/// The text for /proc/PID/uid_map. user_namespaces(7).
pub fn map_text(mappings: &[IdMapping]) -> String {
    mappings
        .iter()
        .map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size))
        .collect()
}

/// Whether two texts of an id map are the same map. The kernel aligns the columns, and sorts more than
/// five lines.
pub fn is_same_map(one: &str, other: &str) -> bool {
    let (one, other) = (lines(one), lines(other));
    one.len() == other.len() && one.iter().all(|line| other.contains(line))
}

/// The numbers of each line of a map. No two lines are equal.
fn lines(map: &str) -> Vec<Vec<&str>> {
    let lines = map.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// The lines for /proc/PID/timens_offsets. time_namespaces(7).
fn time_offsets(plan: &mut Plan, config: &Config) {
    if config.linux.time_offsets.is_empty() {
        return;
    }
    let offsets = config
        .linux
        .time_offsets
        .iter()
        .map(|offset| format!("{} {} {}\n", offset.clock, offset.secs, offset.nanosecs))
        .collect();
    let list = match plan.entry {
        Entry::Direct => &mut plan.leave,
        _ => &mut plan.between,
    };
    list.add("linux.timeOffsets", EntryStep::TimeOffsets { offsets });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_the_same_in_another_order() {
        let shown = "         0     100000         10\n        20     200020          1\n";
        assert!(is_same_map(shown, "20 200020 1\n0 100000 10\n"));
        for other in ["0 100000 10\n", "0 100000 10\n20 200020 2\n", ""] {
            assert!(!is_same_map(shown, other), "{other}");
        }
    }
}
