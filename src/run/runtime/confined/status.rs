//! What /proc/PID/status says of a thread, and what the config allows. proc_pid_status(5).

use std::fmt::{self, Display};

use super::refused;
use crate::config::process::capability_names;
use crate::config::{IdMapping, host_id};
use crate::error::Result;
use crate::plan::{Confinement, Credentials};
use crate::sorted::sorted_set;

const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

pub(super) type Maps<'a> = [&'a [IdMapping]; 2];

/// The text of the file. The kernel escapes line breaks in the name of the thread, so the container
/// cannot add a line.
pub(super) struct Status<'a>(pub &'a str);

impl Status<'_> {
    fn field(&self, name: &str) -> &str {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(field, _)| *field == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// A set of capabilities. An unreadable one has all of them.
    fn set(&self, name: &str) -> u64 {
        u64::from_str_radix(self.field(name), 16).unwrap_or(u64::MAX)
    }

    fn ids(&self, name: &str) -> impl Iterator<Item = &str> {
        self.field(name).split_whitespace()
    }

    /// Whether the thread has ended. CRIU gives no credentials to a process that it restores as
    /// such.
    pub(super) fn has_ended(&self) -> bool {
        self.field("State").starts_with(['Z', 'X'])
    }
}

/// The process as the container knows it. Its name is the container's choice.
impl Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.field("NSpid").split_whitespace().last();
        let pid = pid.unwrap_or(self.field("Pid"));
        write!(f, "process {pid} of the container ({})", self.field("Name"))
    }
}

/// What the config allows to each process.
pub(super) struct Allowed<'a> {
    confinement: &'a Confinement,
    credentials: Option<Ids<'a>>,
}

/// The credentials of the config, with the ids of the host.
struct Ids<'a> {
    planned: &'a Credentials,
    uid: String,
    gid: String,
    groups: Option<Vec<String>>,
}

impl<'a> Allowed<'a> {
    /// `maps` are those of the users and of the groups in the user namespace.
    pub(super) fn new(confinement: &'a Confinement, maps: Maps) -> Self {
        let planned = confinement.credentials.as_ref();
        Self {
            confinement,
            credentials: planned.map(|planned| Ids::new(planned, maps)),
        }
    }

    /// Compares one thread: each has credentials of its own.
    ///
    /// # Errors
    /// The thread has more than the config allows.
    pub(super) fn check(&self, status: &Status) -> Result<()> {
        if status.has_ended() {
            return Ok(());
        }
        let Confinement {
            no_new_privileges,
            filter,
            ..
        } = *self.confinement;
        if no_new_privileges && status.field("NoNewPrivs") != "1" {
            let what = format!("{status} is without no_new_privs");
            return Err(refused("process.noNewPrivileges", &what));
        }
        if filter && status.field("Seccomp") != "2" {
            let what = format!("{status} is without a seccomp filter");
            return Err(refused("linux.seccomp", &what));
        }
        match &self.credentials {
            Some(ids) => {
                check_capabilities(status, ids.planned, no_new_privileges)?;
                ids.check(status, no_new_privileges)
            }
            None => Ok(()),
        }
    }
}

/// The capabilities that a process can have got since the config gave it `planned`. Without
/// no_new_privs it can have executed a program that gives all of the bounding set.
fn held(planned: &Credentials, no_new_privileges: bool) -> u64 {
    let sets = planned.capabilities;
    if no_new_privileges {
        sets.permitted
    } else {
        sets.permitted | sets.inheritable | sets.bounding
    }
}

fn check_capabilities(
    status: &Status,
    planned: &Credentials,
    no_new_privileges: bool,
) -> Result<()> {
    let sets = planned.capabilities;
    let held = held(planned, no_new_privileges);
    for (line, name, allowed) in [
        ("CapBnd", "bounding", sets.bounding),
        ("CapPrm", "permitted", held),
        ("CapEff", "effective", held),
        ("CapAmb", "ambient", held),
        // CAP_SETPCAP adds any of the bounding set.
        (
            "CapInh",
            "inheritable",
            held | sets.inheritable | sets.bounding,
        ),
    ] {
        let more = status.set(line) & !allowed;
        if more != 0 {
            let what = format!("{status} has {} in this set", names_of(more));
            return Err(refused(&format!("process.capabilities.{name}"), &what));
        }
    }
    Ok(())
}

/// A kernel can have capabilities that have no name here.
fn names_of(capabilities: u64) -> String {
    match capability_names(capabilities).as_slice() {
        [] => format!("{capabilities:#x}"),
        names => names.join(", "),
    }
}

impl<'a> Ids<'a> {
    fn new(planned: &'a Credentials, [uids, gids]: Maps) -> Self {
        let groups = planned.groups.as_ref();
        Self {
            planned,
            uid: on_host(uids, planned.uid),
            gid: on_host(gids, planned.gid),
            groups: groups
                .map(|groups| sorted_set(groups.iter().map(|gid| on_host(gids, *gid)).collect())),
        }
    }

    /// With no_new_privs only a capability changes an id. Without it a program can, which belongs to
    /// another user; but no program changes the other groups.
    fn check(&self, status: &Status, no_new_privileges: bool) -> Result<()> {
        let held = held(self.planned, no_new_privileges);
        if no_new_privileges && held & CAP_SETUID == 0 {
            check_id(status, "Uid", "process.user.uid", &self.uid)?;
        }
        if no_new_privileges && held & CAP_SETGID == 0 {
            check_id(status, "Gid", "process.user.gid", &self.gid)?;
        }
        if held & CAP_SETGID == 0 {
            let found = sorted_set(status.ids("Groups").collect());
            if self.groups.as_ref().is_some_and(|groups| *groups != found) {
                let what = format!("{status} has the groups {:?}", status.field("Groups"));
                return Err(refused("process.user.additionalGids", &what));
            }
        }
        Ok(())
    }
}

/// Compares the four ids of a kind.
fn check_id(status: &Status, line: &str, field: &str, planned: &str) -> Result<()> {
    let mut ids = status.ids(line).peekable();
    if ids.peek().is_some() && ids.all(|id| id == planned) {
        return Ok(());
    }
    let ids: Vec<_> = status.field(line).split_whitespace().collect();
    let what = format!("{status} has the ids {} of the host", ids.join(", "));
    Err(refused(field, &what))
}

/// Without a map the ids are those of the host.
fn on_host(map: &[IdMapping], id: u32) -> String {
    match map {
        [] => id.to_string(),
        map => host_id(map, id).map_or(String::new(), |id| id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Capabilities;
    use crate::error::has_example;

    const CAP_KILL: u64 = 1 << 5;
    const CAP_NET_RAW: u64 = 1 << 13;

    /// A thread with CAP_KILL, user 1000, group 1001 and the groups 5 and 10.
    const STATUS: &str = "Name:\tsh\nState:\tt (tracing stop)\nPid:\t77\n\
        Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\nGroups:\t5 10 \n\
        NSpid:\t77\t1\nCapInh:\t0\nCapPrm:\t20\nCapEff:\t20\nCapBnd:\t20\nCapAmb:\t0\n\
        NoNewPrivs:\t1\nSeccomp:\t2\n";

    fn confinement(capabilities: u64) -> Confinement {
        Confinement {
            credentials: Some(Credentials {
                uid: 1000,
                gid: 1001,
                groups: Some(vec![10, 5]),
                umask: 0,
                capabilities: Capabilities {
                    bounding: capabilities,
                    effective: capabilities,
                    permitted: capabilities,
                    ..Capabilities::default()
                },
                last_capability: 40,
                keep_sys_admin: false,
            }),
            no_new_privileges: true,
            filter: true,
            id_maps: Vec::new(),
        }
    }

    /// The property with which the thread is refused.
    fn refusal(confinement: &Confinement, status: &str) -> Option<String> {
        let checked = Allowed::new(confinement, [&[], &[]]).check(&Status(status));
        checked
            .err()
            .and_then(|it| it.field.clone())
            .map(String::from)
    }

    #[test]
    fn what_the_config_gives_is_allowed() {
        assert_eq!(refusal(&confinement(CAP_KILL), STATUS), None);
        assert_eq!(refusal(&confinement(CAP_KILL | CAP_NET_RAW), STATUS), None);
    }

    #[test]
    fn what_exceeds_the_config_is_refused_by_its_property() {
        for (line, forged, property) in [
            ("Uid:\t1000\t1000", "Uid:\t1000\t0", "process.user.uid"),
            ("1001\nGroups", "0\nGroups", "process.user.gid"),
            ("5 10 ", "10 ", "process.user.additionalGids"),
            ("5 10 ", "0 5 10 ", "process.user.additionalGids"),
            (
                "CapBnd:\t20",
                "CapBnd:\t2020",
                "process.capabilities.bounding",
            ),
            (
                "CapPrm:\t20",
                "CapPrm:\t2020",
                "process.capabilities.permitted",
            ),
            (
                "CapEff:\t20",
                "CapEff:\t2020",
                "process.capabilities.effective",
            ),
            (
                "CapInh:\t0",
                "CapInh:\t2000",
                "process.capabilities.inheritable",
            ),
            (
                "CapAmb:\t0",
                "CapAmb:\t2000",
                "process.capabilities.ambient",
            ),
            // What has no name, and what cannot be read.
            (
                "CapBnd:\t20",
                "CapBnd:\t200000000000",
                "process.capabilities.bounding",
            ),
            ("CapBnd:\t20\n", "", "process.capabilities.bounding"),
            (
                "NoNewPrivs:\t1",
                "NoNewPrivs:\t0",
                "process.noNewPrivileges",
            ),
            ("Seccomp:\t2", "Seccomp:\t0", "linux.seccomp"),
        ] {
            let forged = STATUS.replace(line, forged);
            let found = refusal(&confinement(CAP_KILL), &forged);
            assert_eq!(found.as_deref(), Some(property), "{forged}");
        }
    }

    #[test]
    fn a_thread_that_has_ended_has_nothing() {
        let ended = STATUS.replace("State:\tt", "State:\tZ");
        assert_eq!(refusal(&confinement(0), &ended), None);
    }

    /// A program that belongs to root gives its user, and the bounding set.
    #[test]
    fn programs_can_give_privileges_without_no_new_privs() {
        let mut confinement = confinement(CAP_KILL);
        confinement.no_new_privileges = false;
        let root = STATUS
            .replace("1000", "0")
            .replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert_eq!(refusal(&confinement, &root), None);
        let sets = confinement
            .credentials
            .as_mut()
            .map(|it| &mut it.capabilities);
        sets.expect("credentials").permitted = 0;
        assert_eq!(refusal(&confinement, &root), None);
        confinement.no_new_privileges = true;
        let held = refusal(&confinement, STATUS);
        assert_eq!(held.as_deref(), Some("process.capabilities.permitted"));
    }

    /// execve(2) keeps them, whatever it executes.
    #[test]
    fn no_program_gives_other_groups() {
        let mut confinement = confinement(CAP_KILL);
        confinement.no_new_privileges = false;
        let more = STATUS.replace("5 10 ", "0 5 10 ");
        let refused = refusal(&confinement, &more);
        assert_eq!(refused.as_deref(), Some("process.user.additionalGids"));
    }

    /// CAP_SETUID and CAP_SETGID change ids.
    #[test]
    fn a_capability_can_have_changed_the_ids() {
        let both = CAP_KILL | CAP_SETUID | CAP_SETGID;
        let root = STATUS.replace("1000", "0").replace("1001", "0");
        assert_eq!(refusal(&confinement(both), &root), None);
        let only = refusal(&confinement(CAP_KILL | CAP_SETUID), &root);
        assert_eq!(only.as_deref(), Some("process.user.gid"));
    }

    #[test]
    fn a_refusal_has_a_code() {
        let confinement = confinement(CAP_KILL);
        let forged = STATUS.replace("CapBnd:\t20", "CapBnd:\t2020");
        let checked = Allowed::new(&confinement, [&[], &[]]).check(&Status(&forged));
        has_example(checked.unwrap_err(), "restore.refused");
    }
}
