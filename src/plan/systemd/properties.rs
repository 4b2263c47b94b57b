//! Properties of the unit that annotations set.
//!
//! An annotation may come from a user who may not write configs. With a property, systemd would let
//! that user stop services of the host, power off the machine, or undo the limits. So annotations
//! may only set properties of a list, all of which concern the container alone. Any other property
//! is an error that names it.

use std::collections::BTreeMap;

use super::gvariant::parse_as;
use super::{Property, Variant, parse, replace};
use crate::error::{Error, Result};
use crate::plan::annotations::UNIT_PROPERTY;
use crate::plan::cgroup::write::Write;

/// A property that an annotation may set.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowed {
    /// As in systemd's D-Bus interface.
    pub name: &'static str,
    /// The D-Bus signature of its value.
    signature: &'static str,
    /// The control file of a limit. A limit only lowers what the container may use, so it is
    /// harmless unless the config sets this file.
    file: Option<&'static str>,
}

/// All properties that an annotation may set, sorted.
///
/// `After` starts and stops nothing, and `DefaultDependencies` is what systemd gives every other
/// unit. Both make systemd stop the container in the right order when the host shuts down. CRI-O
/// sets them for every container; Podman sets `KillSignal` and `TimeoutStopUSec`.
///
/// A line has a name, a signature, and for a limit its file. One text has nothing to relocate at the
/// start.
const ALLOWED: &str = "\
After as
AllowedCPUs ay cpuset.cpus
AllowedMemoryNodes ay cpuset.mems
CPUQuotaPerSecUSec t cpu.max
CPUQuotaPeriodUSec t cpu.max
CollectMode s
DefaultDependencies b
Description s
Documentation as
IOReadBandwidthMax a(st) io.max
IOReadIOPSMax a(st) io.max
IOWriteBandwidthMax a(st) io.max
IOWriteIOPSMax a(st) io.max
KillSignal i
MemoryHigh t memory.high
MemoryMax t memory.max
MemorySwapMax t memory.swap.max
MemoryZSwapMax t memory.zswap.max
OOMPolicy s memory.oom.group
RuntimeMaxUSec t
SendSIGHUP b
TasksMax t pids.max
TimeoutStopUSec t
";

/// The elements of the list of what an annotation may set.
pub fn allowed() -> impl Iterator<Item = Allowed> {
    ALLOWED.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(Allowed {
            name: words.next()?,
            signature: words.next()?,
            file: words.next(),
        })
    })
}

/// Adds the properties of the annotations to those that the runtime sets.
///
/// # Errors
/// Names the first annotation that is not a property, or not one that an annotation may set.
pub fn annotate(
    properties: &mut Vec<Property>,
    annotations: &BTreeMap<String, String>,
    writes: &[Write],
) -> Result<()> {
    let own = properties.clone();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(UNIT_PROPERTY) else {
            continue;
        };
        let error = |message: String| Error::config(format_args!("annotations[{key:?}]"), message);
        let name = name_on_the_bus(name).map_err(error)?;
        let refused = |why: &str, remedy: String| {
            error(format!("{name} cannot be set by an annotation: {why}")).hint(remedy)
        };
        // The runtime has set the same value: containerd asks for Delegate.
        let same = |value: Variant| own.contains(&Property::new(&name, value));
        let Some(allowed) = allowed().find(|allowed| allowed.name == name) else {
            if parse(text).is_ok_and(same) {
                continue;
            }
            let (why, remedy) = reason(&name);
            return Err(refused(why, remedy));
        };
        let value = value(key, text, allowed.signature).map_err(error)?;
        let set = |write: &&Write| allowed.file == Some(write.file.as_str());
        match writes.iter().find(set) {
            Some(_) if same(value.clone()) => {}
            Some(write) => {
                let why = format!("{} sets it", write.field);
                return Err(refused(&why, "remove one of the two".to_owned()));
            }
            None => replace(properties, Property::new(&name, value)),
        }
    }
    Ok(())
}

/// The D-Bus name of a property. Times on the bus are in microseconds only, so `FooSec` becomes
/// `FooUSec`.
fn name_on_the_bus(name: &str) -> std::result::Result<String, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{name:?} is not the name of a property"));
    }
    Ok(match in_seconds(name) {
        Some(stem) => format!("{stem}USec"),
        None => name.to_owned(),
    })
}

fn in_seconds(name: &str) -> Option<&str> {
    name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U'))
}

/// Parses a value in GVariant text. If the text does not name its type, it has that of the
/// property.
fn value(key: &str, text: &str, signature: &str) -> std::result::Result<Variant, String> {
    if in_seconds(key).is_none() {
        return parse_as(text, signature).map_err(|error| format!("{text:?}: {error}"));
    }
    let value = parse(text).map_err(|error| format!("{text:?}: {error}"))?;
    let time = microseconds(&value);
    time.map(Variant::U64)
        .ok_or_else(|| format!("{text:?} is not a number of seconds"))
}

fn microseconds(value: &Variant) -> Option<u64> {
    let seconds: i128 = match value {
        Variant::Byte(seconds) => (*seconds).into(),
        Variant::I16(seconds) => (*seconds).into(),
        Variant::U16(seconds) => (*seconds).into(),
        Variant::I32(seconds) => (*seconds).into(),
        Variant::U32(seconds) => (*seconds).into(),
        Variant::I64(seconds) => (*seconds).into(),
        Variant::U64(seconds) => (*seconds).into(),
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range"
        )]
        Variant::F64(seconds) => {
            let time = seconds * 1e6;
            return (0.0..1.8e19).contains(&time).then_some(time as u64);
        }
        _ => return None,
    };
    u64::try_from(seconds * 1_000_000).ok()
}

/// Why a property is not in the list, and what to use instead. Source: systemd.unit(5),
/// systemd.kill(5), systemd.resource-control(5).
fn reason(name: &str) -> (&'static str, String) {
    const OWN: &str = "the runtime sets it";
    const REMOVE: &str = "remove the annotation";
    let (why, remedy) = match name {
        "Slice" => (
            OWN,
            "linux.cgroupsPath names the slice, as SLICE:PREFIX:NAME",
        ),
        "Delegate" | "DelegateControllers" | "DelegateSubgroup" => (
            OWN,
            "the annotation run.oci.systemd.subgroup names a cgroup inside that of the unit",
        ),
        "DevicePolicy" | "DeviceAllow" => (OWN, "see linux.resources.devices"),
        name if name.ends_with("Accounting") => (OWN, REMOVE),
        "PIDs" | "PIDFDs" => ("it would move processes of the host", REMOVE),
        name if name.ends_with("Action") => ("it acts on the whole host", REMOVE),
        "FinalKillSignal" | "KillMode" | "RestartKillSignal" | "SendSIGKILL" => {
            ("the container could outlive its unit", REMOVE)
        }
        name if DEPENDENCIES.split(' ').any(|one| one == name) => (
            "it can start, stop or delay units of the host",
            "the other unit can name the container's scope in its own file",
        ),
        name if SHARES.iter().any(|part| name.ends_with(part)) => (
            "it takes resources from other units",
            "linux.resources has cpu.shares, blockIO.weight, memory.reservation and unified",
        ),
        _ => {
            let names: Vec<_> = allowed().map(|allowed| allowed.name).collect();
            let why = "it is not known to concern the container alone";
            return (why, format!("these can: {}", names.join(", ")));
        }
    };
    (why, remedy.to_owned())
}

/// All dependencies except `After`, and their names in the other unit.
const DEPENDENCIES: &str = "\
    Before BindsTo BoundBy ConflictedBy Conflicts ConsistsOf JoinsNamespaceOf OnFailure \
    OnSuccess PartOf PropagatesReloadTo PropagatesStopTo ReloadPropagatedFrom RequiredBy \
    Requires RequiresMountsFor Requisite RequisiteOf StopPropagatedFrom TriggeredBy Triggers \
    UpheldBy Upholds WantedBy Wants WantsMountsFor";

/// The last part of the names of properties that divide scarce resources among units.
const SHARES: &[&str] = &["Weight", "Shares", "MemoryLow", "MemoryMin", "Preference"];
