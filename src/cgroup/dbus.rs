//! A connection to systemd: over its private socket, or over a message bus.
//!
//! The private socket needs no bus daemon, no name and no subscription, so that a call is one round
//! trip; systemctl(1) takes it, too. Where it is missing or closed to the caller, the bus serves.
//! Source: D-Bus specification, "Authentication Protocol" and "Message Bus".

mod wire;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::plan::systemd::{Manager, Variant};
use crate::sys::socket;

use wire::{Message, Target};

/// For everything that one connection is used for. systemd under load can take many seconds, and a
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

/// Why a call has no result.
#[derive(Debug)]
pub enum Failed {
    /// The answer is an error.
    Refused { name: String, message: String },
    /// There is no answer.
    Broken(Error),
}

impl Failed {
    /// As an error of the call `member` about `what`.
    pub fn error(self, what: &str, member: &str) -> Error {
        match self {
            Self::Refused { name, message } => {
                let message = if message.is_empty() { name } else { message };
                Error::new(Kind::Setup, format!("{what}: {member}: {message}"))
            }
            Self::Broken(error) => error.context(format!("{what}: {member}")),
        }
    }
}

pub struct Connection {
    stream: UnixStream,
    /// The socket, for errors.
    address: PathBuf,
    deadline: Instant,
    serial: u32,
    /// There is a bus between.
    bus: bool,
    /// What was received and not yet looked at.
    received: Vec<u8>,
    /// Path and result of the jobs that ended meanwhile.
    ended: Vec<(String, String)>,
}

impl Connection {
    /// Connects to the manager.
    ///
    /// # Errors
    /// There is none, or it does not take the caller.
    pub fn open(manager: Manager) -> Result<Self> {
        let mut first = None;
        for (address, bus) in addresses(manager) {
            match Self::connect(&address, bus, manager) {
                Ok(connection) => return Ok(connection),
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        let error = first.unwrap_or_else(|| Error::new(Kind::Host, "no address of systemd"));
        Err(error.kind(Kind::Host).hint(match manager {
            Manager::System => {
                "systemd must be the init of this host; else use the cgroupfs driver"
            }
            Manager::User { .. } => {
                "the user needs a systemd of its own: log in, or loginctl enable-linger; \
                 else use the cgroupfs driver"
            }
        }))
    }

    fn connect(address: &Path, bus: bool, manager: Manager) -> Result<Self> {
        let stream: UnixStream = socket::connect_stream(address)
            .map_err(|fail| Error::sys(address.display().to_string(), fail.op, fail.errno))?
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

    /// EXTERNAL: the kernel tells the peer who the caller is. In a user namespace the name is the
    /// one that the user has outside.
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
        // All in one: systemd leaves a call unread until the next one comes if it reads it together
        // with BEGIN, so BEGIN must be behind it when it answers.
        self.send(format!("\0AUTH EXTERNAL {name}\r\nBEGIN\r\n").as_bytes())?;
        let answer = self.line()?;
        if !answer.starts_with("OK") {
            let message = format!("{}: AUTH EXTERNAL {uid}: {answer}", self.address.display());
            return Err(Error::new(Kind::Host, message));
        }
        Ok(())
    }

    /// A call to the manager: the texts of its answer.
    ///
    /// # Errors
    /// It was refused, or there was no answer in time.
    pub fn call(
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

    /// Waits for the end of a job; its result, as `done`.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait_job(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            self.message()?;
        }
    }

    /// The next message; the end of a job is remembered.
    fn message(&mut self) -> Result<Message> {
        let broken = |this: &Self, why: &str| {
            Error::new(Kind::Setup, format!("{}: {why}", this.address.display()))
        };
        loop {
            match wire::length(&self.received) {
                Ok(Some(length)) if self.received.len() >= length => {
                    let bytes: Vec<u8> = self.received.drain(..length).collect();
                    let message = Message::read(&bytes)
                        .ok_or_else(|| broken(self, "a malformed message of D-Bus"))?;
                    if message.member.as_deref() == Some("JobRemoved")
                        && let [job, _unit, result] = message.texts().as_slice()
                    {
                        self.ended.push((job.clone(), result.clone()));
                    }
                    return Ok(message);
                }
                Ok(_) => self.receive()?,
                Err(why) => return Err(broken(self, why)),
            }
        }
    }

    /// A line of the authentication.
    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.received.len() > 4096 {
                let message = format!("{}: no answer of D-Bus", self.address.display());
                return Err(Error::new(Kind::Setup, message));
            }
            self.receive()?;
        }
    }

    /// What is left until the deadline.
    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(self.too_late()),
            false => Ok(left),
        }
    }

    fn too_late(&self) -> Error {
        let message = format!(
            "{}: systemd does not answer within {} s",
            self.address.display(),
            PATIENCE.as_secs()
        );
        Error::new(Kind::Setup, message).hint("it may be busy or hang: see systemctl list-jobs")
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let left = self.left()?;
        self.stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| self.failed("write", &error))
    }

    fn receive(&mut self) -> Result<()> {
        let left = self.left()?;
        let mut part = [0; 4096];
        let read = self
            .stream
            .set_read_timeout(Some(left))
            .and_then(|()| self.stream.read(&mut part));
        match read {
            Ok(0) => {
                let message = format!("{}: systemd closed the connection", self.address.display());
                Err(Error::new(Kind::Setup, message))
            }
            Ok(count) => {
                self.received.extend(&part[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    fn failed(&self, op: &str, error: &std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.too_late(),
            _ => Error::io(self.address.display().to_string(), op, error),
        }
    }
}

/// Where the manager listens, best first, and whether a bus is there.
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

/// The first path of a list such as `unix:path=/run/user/1000/bus,guid=…;…`.
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

    /// Greets the peer of `stream`, makes a call and waits for its job: the job's result.
    ///
    /// # Errors
    /// What the peer says is not an answer.
    pub fn talk(stream: UnixStream, bus: bool) -> Result<String> {
        let address = Path::new("/peer");
        let mut connection = Connection::over(stream, address, bus, Manager::System)?;
        let answer = connection.call("StopUnit", &[Variant::Text("a.scope".into())]);
        let texts = answer.map_err(|failed| failed.error("a.scope", "StopUnit"))?;
        connection.wait_job(texts.first().map_or("", String::as_str))
    }

    /// The texts of the message at the start of `bytes`, and how long it is.
    pub fn read(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let length = wire::length(bytes).ok()??;
        let message = Message::read(bytes.get(..length)?)?;
        Some((message.texts(), length))
    }

    /// A call with `arguments` as bytes.
    pub fn call(arguments: &[Variant]) -> Vec<u8> {
        wire::call(1, SYSTEMD, "StopUnit", arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
