//! Network devices of the host that a container gets.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;

use super::network;
use crate::config::NamespaceKind;
use crate::error::{Call as _, Context as _};
use crate::plan::{AnyStep, DeviceNetwork, EntryStep, MoveDevice, Plan, Planned, RuntimeStep};
use crate::run::init::Opened;
use crate::sys::netlink::{Device, Netlink, Setup};
use crate::sys::{Fail, Sys};

/// A device that is given back if the container is not completed. After that the kernel decides:
/// when the network namespace ends, it returns a physical device and deletes a virtual one.
pub struct Moved {
    host: Netlink,
    inside: Netlink,
    /// The runtime's own namespace.
    own: OwnedFd,
    name: CString,
    /// The index in the container.
    index: u32,
    was_up: bool,
    setup: Setup,
}

/// Remembers the network namespace that init joins, for the devices that move there.
///
/// # Errors
/// fcntl(2) failed.
pub(super) fn hold_joined(plan: &Plan, opened: &Opened) -> Result<Option<OwnedFd>> {
    let held = |planned: &Planned<RuntimeStep>| matches!(&planned.step, RuntimeStep::MoveDevice(it) if it.into == DeviceNetwork::Held);
    if !plan.beside().any(held) {
        return Ok(None);
    }
    let joined = plan
        .entry_steps()
        .find_map(|(position, found)| match found.step {
            AnyStep::Entry(EntryStep::JoinNamespace {
                kind: NamespaceKind::Network,
                ..
            }) => opened.get(position),
            _ => None,
        });
    let copy = joined.map(OwnedFd::try_clone).transpose();
    copy.call("fcntl").context("linux.netDevices")
}

/// Whether the host has the device.
///
/// # Errors
/// It has none, or a system call failed.
pub(super) fn look(device: &MoveDevice) -> Sys<()> {
    find(&Netlink::open()?, device).map(drop)
}

fn find(host: &Netlink, device: &MoveDevice) -> Sys<Device> {
    host.device(&device.host)?.ok_or_else(no_device)
}

fn no_device() -> Fail {
    Fail::new("RTM_GETLINK", Errno::ENODEV)
}

/// Moves a device and sets it up as it was, but always up.
///
/// # Errors
/// The host has no such device, the container already has one with the name, or the kernel refuses
/// a part of it. A device that has moved is given back.
pub(super) fn move_in(device: &MoveDevice, namespace: BorrowedFd) -> Sys<Moved> {
    let host = Netlink::open()?;
    let inside = network::within(namespace, Netlink::open)?;
    let found = find(&host, device)?;
    if inside.device(&device.name)?.is_some() {
        return Err(Fail::new("RTM_NEWLINK", Errno::EEXIST));
    }
    let setup = host.setup(found.index)?;
    let before = inside.devices()?;
    let moved = host.move_device(found.index, &device.name, namespace);
    let mut new = inside.devices()?.into_iter().map(|it| it.index);
    // Renaming is a second step of the kernel, so the device may have moved in spite of an error.
    let Some(index) = new.find(|new| before.iter().all(|old| old.index != *new)) else {
        moved?;
        return Err(no_device());
    };
    let there = Moved {
        host,
        inside,
        own: network::current()?,
        name: device.host.clone(),
        index,
        was_up: found.up,
        setup,
    };
    match moved.and_then(|()| set_up(&there.inside, index, &there.setup, true)) {
        Ok(()) => Ok(there),
        Err(fail) => {
            there.give_back();
            Err(fail)
        }
    }
}

/// Addresses come first and routes last, because a route needs a source and a device that is up.
fn set_up(network: &Netlink, index: u32, setup: &Setup, up: bool) -> Sys<()> {
    for address in &setup.addresses {
        network.add(index, address)?;
    }
    if !up {
        return Ok(());
    }
    network.bring_up(index)?;
    setup
        .routes
        .iter()
        .try_for_each(|route| network.add(index, route))
}

impl Moved {
    /// Moves the device back to the runtime's namespace, with the name and the setup that it had.
    /// Errors are ignored, because the failure that led here is the one to report.
    pub fn give_back(&self) {
        let own = self.own.as_fd();
        if self.inside.move_device(self.index, &self.name, own).is_ok()
            && let Ok(Some(device)) = self.host.device(&self.name)
        {
            let _ = set_up(&self.host, device.index, &self.setup, self.was_up);
        }
    }
}
