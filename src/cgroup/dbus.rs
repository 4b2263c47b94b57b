//! A connection to systemd, over its private socket or over a message bus.
//!
//! The private socket needs no bus daemon, no name and no subscription, so a call is one round
//! trip; systemctl(1) prefers it too. If the socket is missing or closed to the caller, the bus is
//! used. Source: D-Bus specification, "Authentication Protocol" and "Message Bus".

mod wire;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::error::{Call as _, Chain as _, Code, Context as _, Error};
use crate::plan::systemd::{Manager, Variant};
use crate::sys::socket;

use wire::{Message, Target};

/// The time limit for everything on one connection. systemd under load can take many seconds, but a
/// verb must end.
const PATIENCE: Duration = Duration::from_secs(30);

const SYSTEMD: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const BUS: Target = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',\
                    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// The reason why a call has no result.
#[derive(Debug)]
pub(super) enum Failed {
    /// The reply is an error.
    Refused { name: String, message: String },
    /// There is no reply.
    Broken(anyhow::Error),
}

impl Failed {
    /// Converts this to an error of the call `member` about `what`.
    pub(super) fn error(self, what: &str, member: &str) -> anyhow::Error {
        match self {
            Self::Refused { name, message } => {
                let message = if message.is_empty() { name } else { message };
                let message = format!("{what}: {member}: {message}");
                Error::new(message).code_is(Code::SystemdRefused).into()
            }
            Self::Broken(error) => error.context(format!("{what}: {member}")),
        }
    }
}

pub(super) struct Connection {
    stream: UnixStream,
    /// The socket's path, for errors.
    address: PathBuf,
    deadline: Instant,
    serial: u32,
    /// Whether the connection goes through a message bus.
    bus: bool,
    /// Bytes that were received and not parsed yet.
    received: Vec<u8>,
    /// Path and result of jobs that have ended so far.
    ended: Vec<(String, String)>,
}

impl Connection {
    /// Connects to the manager.
    ///
    /// # Errors
    /// There is no manager, or it refuses the caller.
    pub(super) fn open(manager: Manager) -> Result<Self> {
        let mut first = None;
        for (address, bus) in addresses(manager) {
            match Self::connect(&address, bus, manager) {
                Ok(connection) => return Ok(connection),
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        let error = first.unwrap_or_else(|| anyhow!("systemd has no known address"));
        Err(error.code_is(Code::SystemdUnreachable).hint(match manager {
            Manager::System => {
                "systemd must be the init of this host; otherwise use the cgroupfs driver"
            }
            Manager::User { .. } => {
                "the user needs a systemd of its own: log in, or loginctl enable-linger; \
                 otherwise use the cgroupfs driver"
            }
        }))
    }

    fn connect(address: &Path, bus: bool, manager: Manager) -> Result<Self> {
        let stream: UnixStream = socket::connect_stream(address)
            .with_context(|| address.display())?
            .into();
        Self::over(stream, address, bus, manager)
    }

    fn over(stream: UnixStream, address: &Path, bus: bool, manager: Manager) -> Result<Self> {
        let mut this = Self {
            stream,
            address: address.to_owned(),
            deadline: Instant::now() + PATIENCE,
            serial: 0,
            bus,
            received: Vec::new(),
            ended: Vec::new(),
        };
        this.authenticate(manager)?;
        if bus {
            for (member, arguments) in [
                ("Hello", &[][..]),
                ("AddMatch", &[Variant::Text(JOBS.into())]),
            ] {
                this.ask(BUS, member, arguments)
                    .map_err(|failed| failed.error(&address.display().to_string(), member))?;
            }
        }
        Ok(this)
    }

    /// EXTERNAL: the peer gets the caller's uid from the kernel. In a user namespace the name must
    /// be the uid outside of it.
    fn authenticate(&mut self, manager: Manager) -> Result<()> {
        let uid = match manager {
            Manager::System => nix::unistd::geteuid().as_raw(),
            Manager::User { uid } => uid,
        };
        let name: String = uid
            .to_string()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // Everything is sent in one write. If systemd reads a call together with BEGIN, it does not
        // process the call until the next one arrives, so BEGIN must already be there when systemd
        // answers AUTH.
        self.send(format!("\0AUTH EXTERNAL {name}\r\nBEGIN\r\n").as_bytes())?;
        let answer = self.line()?;
        if !answer.starts_with("OK") {
            let address = self.address.display();
            bail!("{address}: AUTH EXTERNAL {uid}: {answer}");
        }
        Ok(())
    }

    /// Calls a method of the manager. Returns the strings of the reply.
    ///
    /// # Errors
    /// The call was refused, or there was no reply in time.
    pub(super) fn call(
        &mut self,
        member: &str,
        arguments: &[Variant],
    ) -> std::result::Result<Vec<String>, Failed> {
        self.ask(SYSTEMD, member, arguments)
    }

    fn ask(
        &mut self,
        target: Target,
        member: &str,
        arguments: &[Variant],
    ) -> std::result::Result<Vec<String>, Failed> {
        self.serial += 1;
        let serial = self.serial;
        let destination = if self.bus { target.destination } else { "" };
        let target = Target {
            destination,
            ..target
        };
        self.send(&wire::call(serial, target, member, arguments))
            .map_err(Failed::Broken)?;
        loop {
            let message = self.message().map_err(Failed::Broken)?;
            if message.reply_to != Some(serial) {
                continue;
            }
            return match message.kind {
                wire::Kind::Error => Err(Failed::Refused {
                    message: message.texts().into_iter().next().unwrap_or_default(),
                    name: message.error.unwrap_or_default(),
                }),
                _ => Ok(message.texts()),
            };
        }
    }

    /// Waits until a job ends. Returns its result, for example `done`.
    ///
    /// # Errors
    /// The job does not end in time.
    pub(super) fn wait_job(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            self.message()?;
        }
    }

    /// The next message. If it reports the end of a job, the result is recorded.
    fn message(&mut self) -> Result<Message> {
        loop {
            match wire::length(&self.received) {
                Ok(Some(length)) if self.received.len() >= length => {
                    let bytes: Vec<u8> = self.received.drain(..length).collect();
                    let message = Message::read(&bytes)
                        .ok_or_else(|| Error::new("a malformed D-Bus message"))
                        .with_context(|| self.object())?;
                    if message.member.as_deref() == Some("JobRemoved")
                        && let [job, _unit, result] = message.texts().as_slice()
                    {
                        self.ended.push((job.clone(), result.clone()));
                    }
                    return Ok(message);
                }
                Ok(_) => self.receive()?,
                Err(why) => bail!("{}: {why}", self.object()),
            }
        }
    }

    /// A line of the authentication protocol.
    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.received.len() > 4096 {
                bail!("{}: no D-Bus reply", self.object());
            }
            self.receive()?;
        }
    }

    /// The time left until the deadline.
    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(self.too_late())
        } else {
            Ok(left)
        }
    }

    fn too_late(&self) -> Error {
        let message = format!(
            "{}: systemd did not reply within {} s",
            self.object(),
            PATIENCE.as_secs()
        );
        Error::new(message)
            .code_is(Code::SystemdTimedOut)
            .hint("it may be busy or hanging: see systemctl list-jobs")
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let left = self.left()?;
        let written = self
            .stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes));
        self.in_time("write", written)
    }

    fn receive(&mut self) -> Result<()> {
        let left = self.left()?;
        let mut part = [0; 4096];
        let read = self
            .stream
            .set_read_timeout(Some(left))
            .and_then(|()| self.stream.read(&mut part));
        match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            read => match self.in_time("read", read)? {
                0 => bail!("{}: systemd closed the connection", self.object()),
                count => {
                    self.received.extend(&part[..count]);
                    Ok(())
                }
            },
        }
    }

    /// The result of the system call `name`, with the connection as its object.
    fn in_time<T>(&self, name: &'static str, result: std::io::Result<T>) -> Result<T> {
        match result {
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                bail!(self.too_late())
            }
            result => result.call(name).with_context(|| self.object()),
        }
    }

    /// The connection, for errors.
    fn object(&self) -> std::path::Display<'_> {
        self.address.display()
    }
}

/// The sockets to try, best first, and whether each is a message bus.
fn addresses(manager: Manager) -> Vec<(PathBuf, bool)> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut addresses = Vec::new();
    match manager {
        Manager::System => {
            addresses.push(("/run/systemd/private".into(), false));
            addresses.push(("/run/dbus/system_bus_socket".into(), true));
        }
        Manager::User { uid } => {
            let directory = variable("XDG_RUNTIME_DIR")
                .map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
            addresses.push((directory.join("systemd/private"), false));
            let bus = variable("DBUS_SESSION_BUS_ADDRESS");
            addresses.extend(
                bus.and_then(|text| bus_path(&text.to_string_lossy()))
                    .map(|path| (path, true)),
            );
            addresses.push((directory.join("bus"), true));
        }
    }
    addresses
}

/// The first path in a list such as `unix:path=/run/user/1000/bus,guid=…;…`.
fn bus_path(addresses: &str) -> Option<PathBuf> {
    addresses.split(';').find_map(|address| {
        let keys = address.strip_prefix("unix:")?.split(',');
        let path = keys.filter_map(|key| key.strip_prefix("path=")).next()?;
        Some(PathBuf::from(path))
    })
}

/// For fuzz/.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use super::*;

    /// Authenticates to the peer of `stream`, makes a call and waits for its job. Returns the job's
    /// result.
    ///
    /// # Errors
    /// The peer's bytes are not a valid reply.
    pub fn talk(stream: UnixStream, bus: bool) -> Result<String> {
        let address = Path::new("/peer");
        let mut connection = Connection::over(stream, address, bus, Manager::System)?;
        let answer = connection.call("StopUnit", &[Variant::Text("a.scope".into())]);
        let texts = answer.map_err(|failed| failed.error("a.scope", "StopUnit"))?;
        connection.wait_job(texts.first().map_or("", String::as_str))
    }

    /// The strings of the message at the start of `bytes`, and the message's length.
    pub fn read(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let length = wire::length(bytes).ok()??;
        let message = Message::read(bytes.get(..length)?)?;
        Some((message.texts(), length))
    }

    /// The bytes of a call with `arguments`.
    pub fn call(arguments: &[Variant]) -> Vec<u8> {
        wire::call(1, SYSTEMD, "StopUnit", arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::has_example;

    #[test]
    fn the_path_among_the_addresses_of_a_bus() {
        for (text, path) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("unix:guid=1,path=/a;unix:path=/b", Some("/a")),
            ("unix:abstract=/tmp/x,guid=1;unix:path=/b", Some("/b")),
            ("tcp:host=a,port=1", None),
        ] {
            assert_eq!(bus_path(text), path.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn a_user_has_the_private_socket_first_and_root_needs_no_bus() {
        let system = addresses(Manager::System);
        assert_eq!(system[0], ("/run/systemd/private".into(), false));
        assert!(system[1].1);
        let user = addresses(Manager::User { uid: 4711 });
        assert!(user[0].0.ends_with("systemd/private") && !user[0].1);
    }

    #[test]
    fn each_way_to_fail_has_a_code() {
        let missing = Connection::open(Manager::User { uid: 4711 });
        has_example(missing.err().expect("no such user"), "systemd.unreachable");
        let what = "linux.cgroupsPath: systemd unit web.scope";
        let refused = Failed::Refused {
            name: "org.freedesktop.DBus.Error.AccessDenied".into(),
            message: "Access denied".into(),
        };
        let refused = refused.error(what, "StartTransientUnit");
        has_example(refused, "systemd.refused");
        let (stream, _peer) = UnixStream::pair().unwrap();
        let late = Connection {
            stream,
            address: "/run/systemd/private".into(),
            deadline: Instant::now(),
            serial: 0,
            bus: false,
            received: Vec::new(),
            ended: Vec::new(),
        };
        has_example(late.too_late(), "systemd.timed-out");
    }
}
