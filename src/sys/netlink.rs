//! Network devices by rtnetlink(7): what is needed to move one to another network namespace and to
//! set it up there as it was.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{recv, send, socket};

use super::{Fail, Sys, tag};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const RTA_OIF: u16 = 4;
const RTA_CACHEINFO: u16 = 12;
const RTPROT_KERNEL: u8 = 2;
/// A route that a router has announced.
const RTPROT_RA: u8 = 9;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u32 = 0x4;

/// The size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The size of `struct ifinfomsg`.
const LINK: usize = 16;
/// The size of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// The size of `struct rtmsg`.
const ROUTE: usize = 12;
/// The kernel sends no message above this size.
const BUFFER: usize = 32 * 1024;

/// A socket for the devices of one network namespace.
pub struct Netlink(OwnedFd);

/// A network device.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Its number in its namespace.
    pub index: u32,
    /// Whether it is in use (IFF_UP).
    pub up: bool,
}

/// An address or a route of a device, as the kernel has described it.
#[derive(Debug)]
pub struct Kept {
    call: &'static str,
    kind: u16,
    body: Vec<u8>,
    /// Where the index of the device stands in the body.
    index_at: usize,
}

/// The addresses and the routes of a device that the kernel does not make by itself.
#[derive(Debug, Default)]
pub struct Setup {
    /// As RTM_NEWADDR messages.
    pub addresses: Vec<Kept>,
    /// As RTM_NEWROUTE messages.
    pub routes: Vec<Kept>,
}

impl Netlink {
    /// A socket for the network namespace that this process is in now. It stays in that namespace.
    ///
    /// # Errors
    /// socket(2) failed.
    pub fn open() -> Sys<Self> {
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        let protocol = SockProtocol::NetlinkRoute;
        let made = socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol);
        tag("socket(AF_NETLINK)", made).map(Self)
    }

    /// The device with this name, if there is one.
    ///
    /// # Errors
    /// RTM_GETLINK failed for another reason than that there is no such device.
    pub fn device(&self, name: &CStr) -> Sys<Option<Device>> {
        let mut body = vec![0; LINK];
        push(&mut body, IFLA_IFNAME, name.to_bytes_with_nul());
        match self.request("RTM_GETLINK", RTM_GETLINK, NLM_F_ACK, &body) {
            Ok(found) => Ok(found.iter().find_map(|message| device(message))),
            Err(fail) if fail.errno == Errno::ENODEV => Ok(None),
            Err(fail) => Err(fail),
        }
    }

    /// Every device.
    ///
    /// # Errors
    /// RTM_GETLINK failed.
    pub fn devices(&self) -> Sys<Vec<Device>> {
        let found = self.request("RTM_GETLINK", RTM_GETLINK, NLM_F_DUMP, &[0; LINK])?;
        Ok(found.iter().filter_map(|message| device(message)).collect())
    }

    /// The permanent addresses with global scope, and the routes that are not the kernel's.
    ///
    /// # Errors
    /// RTM_GETADDR or RTM_GETROUTE failed.
    pub fn setup(&self, index: u32) -> Sys<Setup> {
        let addresses = self.request("RTM_GETADDR", RTM_GETADDR, NLM_F_DUMP, &[0; ADDRESS])?;
        let routes = self.request("RTM_GETROUTE", RTM_GETROUTE, NLM_F_DUMP, &[0; ROUTE])?;
        Ok(Setup {
            addresses: addresses
                .iter()
                .filter_map(|it| address(it, index))
                .collect(),
            routes: routes.iter().filter_map(|it| route(it, index)).collect(),
        })
    }

    /// Moves a device to another network namespace, where it gets this name. It is down then, and
    /// has no addresses.
    ///
    /// # Errors
    /// RTM_NEWLINK failed.
    pub fn move_device(&self, index: u32, name: &CStr, namespace: BorrowedFd) -> Sys<()> {
        let mut body = link(index, 0, 0);
        push(&mut body, IFLA_IFNAME, name.to_bytes_with_nul());
        let number = namespace.as_raw_fd().to_ne_bytes();
        push(&mut body, IFLA_NET_NS_FD, &number);
        self.change("RTM_NEWLINK", RTM_NEWLINK, 0, &body)
    }

    /// Brings a device up.
    ///
    /// # Errors
    /// RTM_NEWLINK failed.
    pub fn bring_up(&self, index: u32) -> Sys<()> {
        let up = libc::IFF_UP as u32;
        self.change("RTM_NEWLINK", RTM_NEWLINK, 0, &link(index, up, up))
    }

    /// Gives a device an address or a route that it does not have yet.
    ///
    /// # Errors
    /// RTM_NEWADDR or RTM_NEWROUTE failed.
    pub fn add(&self, index: u32, kept: &Kept) -> Sys<()> {
        let mut body = kept.body.clone();
        body[kept.index_at..kept.index_at + 4].copy_from_slice(&index.to_ne_bytes());
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        match self.change(kept.call, kept.kind, flags, &body) {
            Err(fail) if fail.errno == Errno::EEXIST => Ok(()),
            other => other,
        }
    }

    fn change(&self, call: &'static str, kind: u16, flags: u16, body: &[u8]) -> Sys<()> {
        self.request(call, kind, flags | NLM_F_ACK, body).map(drop)
    }

    /// Sends a request. Returns the bodies of the kernel's answers, up to its acknowledgement or the
    /// end of a list.
    fn request(&self, call: &'static str, kind: u16, flags: u16, body: &[u8]) -> Sys<Vec<Vec<u8>>> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        // Sequence and port: the socket has one request at a time.
        message.extend([0; 8]);
        message.extend(body);
        tag(call, send(self.0.as_raw_fd(), &message, MsgFlags::empty()))?;
        let mut found = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => tag(call, other)?,
            };
            for (kind, body) in messages(&buffer[..length]) {
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match word(body, 0).map_or(0, u32::cast_signed) {
                            0 => Ok(found),
                            errno => Err(Fail::new(call, Errno::from_raw(-errno))),
                        };
                    }
                    _ => found.push(body.to_vec()),
                }
            }
        }
    }
}

/// The messages in a datagram: type and body of each.
fn messages(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = word(data, 0)? as usize;
        let kind = half(data, 4)?;
        let body = data.get(HEADER..length)?;
        data = data.get(aligned(length)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The attributes behind the fixed part of a message: type and value of each.
fn attributes(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = half(data, 0)? as usize;
        let kind = half(data, 2)?;
        let value = data.get(4..length)?;
        data = data.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(aligned(body.len()), 0);
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn half(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for number in [index, flags, change] {
        body.extend(number.to_ne_bytes());
    }
    body
}

fn device(message: &[u8]) -> Option<Device> {
    Some(Device {
        index: word(message, 4)?,
        up: word(message, 8)? & libc::IFF_UP as u32 != 0,
    })
}

/// An address, if it is a permanent one of the device with global scope.
fn address(message: &[u8], index: u32) -> Option<Kept> {
    let (&[_, _, flags, scope], rest) = message.split_first_chunk()?;
    let of_device = word(rest, 0)? == index;
    let all = attributes(&message[ADDRESS..]);
    let long = all.into_iter().find(|(kind, _)| *kind == IFA_FLAGS);
    let flags = long
        .and_then(|(_, value)| word(value, 0))
        .unwrap_or(flags.into());
    let wanted = of_device && scope == libc::RT_SCOPE_UNIVERSE && flags & IFA_F_PERMANENT != 0;
    let kept = || Kept {
        call: "RTM_NEWADDR",
        kind: RTM_NEWADDR,
        // The label has the old name, and no lifetimes means forever.
        body: without(message, ADDRESS, &[IFA_LABEL, IFA_CACHEINFO]),
        index_at: 4,
    };
    wanted.then(kept)
}

/// A route, if it is one of the device that the kernel does not make by itself.
fn route(message: &[u8], index: u32) -> Option<Kept> {
    let protocol = *message.get(5)?;
    let flags = word(message, 8)?;
    let all = attributes(&message[ROUTE..]);
    let device = all.into_iter().find(|(kind, _)| *kind == RTA_OIF);
    let of_device = device.is_some_and(|(_, value)| word(value, 0) == Some(index));
    if !of_device || [RTPROT_KERNEL, RTPROT_RA].contains(&protocol) || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let mut body = without(message, ROUTE, &[RTA_CACHEINFO, RTA_OIF]);
    body[8..ROUTE].copy_from_slice(&(flags & RTNH_F_ONLINK).to_ne_bytes());
    push(&mut body, RTA_OIF, &index.to_ne_bytes());
    Some(Kept {
        call: "RTM_NEWROUTE",
        kind: RTM_NEWROUTE,
        index_at: body.len() - 4,
        body,
    })
}

/// The message without attributes of these types.
fn without(message: &[u8], fixed: usize, dropped: &[u16]) -> Vec<u8> {
    let mut body = message[..fixed].to_vec();
    for (kind, value) in attributes(&message[fixed..]) {
        if !dropped.contains(&kind) {
            push(&mut body, kind, value);
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_message(scope: u8, flags: u32, index: u32) -> Vec<u8> {
        let mut body = vec![2, 24, 0, scope];
        body.extend(index.to_ne_bytes());
        push(&mut body, 1, &[10, 0, 0, 1]);
        push(&mut body, IFA_LABEL, b"eth0\0");
        push(&mut body, IFA_FLAGS, &flags.to_ne_bytes());
        body
    }

    #[test]
    fn permanent_global_addresses_are_kept_without_their_label() {
        let kept = address(&address_message(0, IFA_F_PERMANENT, 7), 7).expect("kept");
        let kinds: Vec<_> = attributes(&kept.body[ADDRESS..])
            .map(|(kind, _)| kind)
            .collect();
        assert_eq!(kinds, [1, IFA_FLAGS]);
        for (scope, flags, index) in [
            (253, IFA_F_PERMANENT, 7),
            (0, 0, 7),
            (0, IFA_F_PERMANENT, 8),
        ] {
            assert!(address(&address_message(scope, flags, index), 7).is_none());
        }
    }

    fn route_message(protocol: u8, index: u32) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0, 254, protocol, 0, 1, 0xff, 0, 0, 0];
        push(&mut body, RTA_OIF, &index.to_ne_bytes());
        push(&mut body, 5, &[10, 0, 0, 254]);
        body
    }

    #[test]
    fn routes_of_others_are_left_out_and_the_index_can_be_replaced() {
        let kept = route(&route_message(4, 7), 7).expect("kept");
        assert_eq!(word(&kept.body, kept.index_at), Some(7));
        assert_eq!(word(&kept.body, 8), Some(RTNH_F_ONLINK));
        assert!(route(&route_message(RTPROT_KERNEL, 7), 7).is_none());
        assert!(route(&route_message(4, 8), 7).is_none());
    }

    #[test]
    fn broken_messages_end_the_iteration() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(attributes(&[255, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
        assert!(address(&[1, 2], 0).is_none() && route(&[1; 7], 0).is_none());
    }
}
