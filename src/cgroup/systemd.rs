//! Creates, changes and stops systemd units. Source: org.freedesktop.systemd1(5).

use anyhow::{Result, bail};

use super::dbus::{Connection, Failed};
use crate::error::{Code, Context as _, Error};
use crate::plan::systemd::{Manager, Property, Unit, Variant};

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Creates the unit around the process `pid`, and waits until the process is in the unit's cgroup.
///
/// After an error the unit does not exist, or it ends with the process. Even if systemd creates the
/// scope after the error, the scope has no process to start with.
///
/// # Errors
/// systemd cannot be reached or refuses the call.
pub fn start(unit: &Unit, pid: i32) -> Result<()> {
    let what = what(&unit.name);
    let mut bus = Connection::open(unit.manager).with_context(|| what.clone())?;
    let job = match start_job(&mut bus, unit, pid) {
        Ok(job) => job,
        Err(Failed::Refused { name, .. }) if name == UNIT_EXISTS => {
            let message = format!("{what}: StartTransientUnit: the unit already exists");
            bail!(
                Error::new(message)
                    .code_is(Code::CgroupInUse)
                    .hint("another container may use it: choose another linux.cgroupsPath")
            );
        }
        Err(failed) => return Err(failed.error(&what, "StartTransientUnit")),
    };
    wait(&mut bus, &job, &what, "StartTransientUnit")
}

/// Returns the path of the job.
fn start_job(bus: &mut Connection, unit: &Unit, pid: i32) -> std::result::Result<String, Failed> {
    let mut properties: Vec<&Property> = unit.properties.iter().collect();
    let mut reset = false;
    loop {
        let failed = match bus.call(
            "StartTransientUnit",
            &start_arguments(unit, &properties, pid),
        ) {
            Ok(texts) => return Ok(texts.into_iter().next().unwrap_or_default()),
            Err(failed) => failed,
        };
        match &failed {
            // A failed unit keeps its name until ResetFailedUnit.
            Failed::Refused { name, .. } if name == UNIT_EXISTS && !reset => {
                reset = true;
                if bus
                    .call("ResetFailedUnit", &[Variant::Text(unit.name.clone())])
                    .is_err()
                {
                    return Err(failed);
                }
            }
            // An older systemd may refuse an optional property. The control files of the cgroup set
            // the same value.
            Failed::Refused { name, .. }
                if name != UNIT_EXISTS && properties.iter().any(|property| property.optional) =>
            {
                properties.retain(|property| !property.optional);
            }
            _ => return Err(failed),
        }
    }
}

fn start_arguments(unit: &Unit, properties: &[&Property], pid: i32) -> [Variant; 4] {
    let pids = Variant::Array("u".to_owned(), vec![Variant::U32(pid.unsigned_abs())]);
    let pids = pair("PIDs", &pids);
    let pairs = properties
        .iter()
        .map(|property| pair(&property.name, &property.value));
    [
        Variant::Text(unit.name.clone()),
        // A unit of this name belongs to another container: fail instead of replacing it.
        Variant::Text("fail".to_owned()),
        Variant::Array("(sv)".to_owned(), pairs.chain([pids]).collect()),
        Variant::Array("(sa(sv))".to_owned(), Vec::new()),
    ]
}

fn pair(name: &str, value: &Variant) -> Variant {
    let value = Variant::Boxed(Box::new(value.clone()));
    Variant::Tuple(vec![Variant::Text(name.to_owned()), value])
}

/// Stops the unit, and waits until it is gone and its name is free. A missing unit is not an error.
///
/// # Errors
/// systemd cannot be reached or refuses the call.
pub fn stop(manager: Manager, name: &str) -> Result<()> {
    let what = what(name);
    let mut bus = Connection::open(manager).with_context(|| what.clone())?;
    let text = |text: &str| Variant::Text(text.to_owned());
    match bus.call("StopUnit", &[text(name), text("replace")]) {
        Ok(job) => wait(&mut bus, &job.concat(), &what, "StopUnit")?,
        Err(Failed::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
        Err(failed) => return Err(failed.error(&what, "StopUnit")),
    }
    reset_failed(&mut bus, name)
}

/// Frees the name of a unit that has failed, for example because its process was killed for memory.
/// A unit of the same name that belongs to another container by now has not failed, and stays.
///
/// # Errors
/// systemd cannot be reached.
pub fn forget(manager: Manager, name: &str) -> Result<()> {
    let mut bus = Connection::open(manager).with_context(|| what(name))?;
    reset_failed(&mut bus, name)
}

/// Most units have been unloaded by then, and systemd refuses the call.
fn reset_failed(bus: &mut Connection, name: &str) -> Result<()> {
    match bus.call("ResetFailedUnit", &[Variant::Text(name.to_owned())]) {
        Err(Failed::Broken(error)) => {
            Err(error.context(format!("{}: ResetFailedUnit", what(name))))
        }
        _ => Ok(()),
    }
}

/// Changes properties until the unit ends.
///
/// # Errors
/// systemd cannot be reached or refuses the call.
pub fn set(manager: Manager, name: &str, properties: &[Property]) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    let what = what(name);
    let mut bus = Connection::open(manager).with_context(|| what.clone())?;
    let mut properties: Vec<&Property> = properties.iter().collect();
    loop {
        let pairs = properties
            .iter()
            .map(|property| pair(&property.name, &property.value));
        let arguments = [
            Variant::Text(name.to_owned()),
            Variant::Bool(true),
            Variant::Array("(sv)".to_owned(), pairs.collect()),
        ];
        match bus.call("SetUnitProperties", &arguments) {
            Ok(_) => return Ok(()),
            Err(Failed::Refused { .. }) if properties.iter().any(|property| property.optional) => {
                properties.retain(|property| !property.optional);
            }
            Err(failed) => return Err(failed.error(&what, "SetUnitProperties")),
        }
    }
}

/// Moves a process into the unit's cgroup, or into the cgroup `below` it (as in `/container`), for
/// a caller that may not write to cgroup.procs.
///
/// # Errors
/// systemd cannot be reached or refuses the call.
pub fn attach(manager: Manager, name: &str, below: &str, pid: i32) -> Result<()> {
    let what = what(name);
    let mut bus = Connection::open(manager).with_context(|| what.clone())?;
    let arguments = [
        Variant::Text(name.to_owned()),
        Variant::Text(below.to_owned()),
        Variant::Array("u".to_owned(), vec![Variant::U32(pid.unsigned_abs())]),
    ];
    bus.call("AttachProcessesToUnit", &arguments)
        .map(drop)
        .map_err(|failed| failed.error(&what, "AttachProcessesToUnit"))
}

fn what(name: &str) -> String {
    format!("linux.cgroupsPath: systemd unit {name}")
}

fn wait(bus: &mut Connection, job: &str, what: &str, call: &str) -> Result<()> {
    let result = bus
        .wait_job(job)
        .with_context(|| format!("{what}: {call}: its job"))?;
    if result == "done" {
        return Ok(());
    }
    let message = format!("{what}: {call}: the job ended with {result:?}");
    bail!(Error::new(message).hint(format!(
        "see the reason in the journal: journalctl _PID=1, about {what}"
    )))
}
