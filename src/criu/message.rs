//! The requests to CRIU and its answers. Source: CRIU's images/rpc.proto, whose field numbers stand
//! here.

use std::os::fd::RawFd;

use super::wire::{Reader, Value, Writer};

/// What CRIU is asked to do: `criu_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    Version = 10,
}

/// An option that is on or off, with its number in `criu_opts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    LeaveRunning = 3,
    ExtUnixSk = 4,
    TcpEstablished = 5,
    EvasiveDevices = 6,
    ShellJob = 7,
    FileLocks = 8,
    NotifyScripts = 12,
    TrackMemory = 15,
    AutoDedup = 16,
    LinkRemap = 18,
    ManageCgroups = 24,
    RestoreSibling = 26,
    TcpSkipInFlight = 46,
    LazyPages = 48,
    OrphanPtsMaster = 50,
    TcpClose = 52,
    OldMountEngine = 65,
}

/// `criu_cg_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
}

/// `criu_network_lock_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

/// `criu_opts`. Paths and names are bytes without NUL.
#[derive(Debug, Default)]
pub struct Options {
    /// The directory of the images, a descriptor of this process.
    pub images: RawFd,
    /// The directory of the log, a descriptor of this process.
    pub work: RawFd,
    pub log_file: &'static str,
    /// The process that is the root of those to dump.
    pub pid: Option<i32>,
    /// The container's root. To restore, it must be a mount.
    pub root: Vec<u8>,
    pub switches: Vec<Switch>,
    /// The images of a pre-dump, relative to `images`.
    pub parent: Option<Vec<u8>>,
    /// Address and port.
    pub page_server: Option<(Vec<u8>, u16)>,
    /// A connection to it, which CRIU inherits instead of making one.
    pub page_server_fd: Option<RawFd>,
    /// A descriptor that CRIU inherits and writes a zero to when the page server listens.
    pub status_fd: Option<RawFd>,
    pub cgroups: Option<CgroupMode>,
    /// The cgroup that takes the place of the one in the images.
    pub cgroup_root: Option<Vec<u8>>,
    /// The cgroup to freeze meanwhile.
    pub freeze: Option<Vec<u8>>,
    /// What belongs to the host, as in `net[INODE]:NAME`.
    pub external: Vec<Vec<u8>>,
    /// To dump: mount point and name. To restore: name and source.
    pub mounts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of external descriptors and namespaces, and the descriptors that CRIU inherits.
    pub inherited: Vec<(Vec<u8>, RawFd)>,
    /// Kinds and paths of namespaces to join.
    pub joined: Vec<(&'static str, Vec<u8>)>,
    /// `CLONE_NEW*` of namespaces whose content is neither dumped nor restored.
    pub empty_namespaces: u32,
    pub network_lock: Option<NetworkLock>,
    pub config_file: Option<Vec<u8>>,
    pub lsm_profile: Option<Vec<u8>>,
    pub lsm_mount_context: Option<Vec<u8>>,
}

/// CRIU's most detailed level but one, with the lines that say what failed.
const LOG_LEVEL: i64 = 4;

impl Options {
    /// Turns an option on if `wanted`.
    pub fn switch(&mut self, switch: Switch, wanted: bool) {
        if wanted {
            self.switches.push(switch);
        }
    }

    fn encode(&self) -> Writer {
        let mut to = Writer::default();
        to.number(1, self.images.into());
        to.number(9, LOG_LEVEL);
        to.bytes(10, self.log_file.as_bytes());
        to.number(17, self.work.into());
        for switch in &self.switches {
            to.number(*switch as u32, 1);
        }
        let numbers = [
            (2, self.pid.map(i64::from)),
            (34, self.cgroups.map(|mode| mode as i64)),
            (49, self.status_fd.map(i64::from)),
            (64, self.network_lock.map(|method| method as i64)),
        ];
        for (field, value) in numbers {
            if let Some(value) = value {
                to.number(field, value);
            }
        }
        if self.empty_namespaces != 0 {
            to.number(38, self.empty_namespaces.into());
        }
        let texts = [
            (13, Some(&self.root).filter(|root| !root.is_empty())),
            (14, self.parent.as_ref()),
            (44, self.freeze.as_ref()),
            (51, self.config_file.as_ref()),
            (53, self.lsm_profile.as_ref()),
            (63, self.lsm_mount_context.as_ref()),
        ];
        for (field, value) in texts {
            if let Some(value) = value {
                to.bytes(field, value);
            }
        }
        self.encode_lists(&mut to);
        to
    }

    fn encode_lists(&self, to: &mut Writer) {
        if let Some((address, port)) = &self.page_server {
            let mut server = Writer::default();
            match self.page_server_fd {
                Some(fd) => server.number(4, fd.into()),
                None => {
                    server.bytes(1, address);
                    server.number(2, (*port).into());
                }
            }
            to.message(11, &server);
        }
        for (key, value) in &self.mounts {
            to.message(23, &pair(key, value));
        }
        if let Some(path) = &self.cgroup_root {
            let mut root = Writer::default();
            root.bytes(2, path);
            to.message(25, &root);
        }
        for (key, fd) in &self.inherited {
            let mut inherited = Writer::default();
            inherited.bytes(1, key);
            inherited.number(2, (*fd).into());
            to.message(27, &inherited);
        }
        for external in &self.external {
            to.bytes(37, external);
        }
        for (kind, file) in &self.joined {
            to.message(39, &pair(kind.as_bytes(), file));
        }
    }
}

fn pair(key: &[u8], value: &[u8]) -> Writer {
    let mut pair = Writer::default();
    pair.bytes(1, key);
    pair.bytes(2, value);
    pair
}

/// `criu_req`. CRIU serves another request after one with `keep_open`.
pub(super) fn request(kind: Kind, options: Option<&Options>, keep_open: bool) -> Writer {
    let mut request = Writer::default();
    request.number(1, kind as i64);
    if let Some(options) = options {
        request.message(2, &options.encode());
    }
    if keep_open {
        request.number(4, 1);
    }
    request
}

/// The answer to a [`Notice`]: whether CRIU may continue.
pub(super) fn acknowledgement(success: bool) -> Writer {
    let mut request = request(Kind::Notify, None, false);
    request.number(3, success.into());
    request
}

/// `criu_resp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub kind: i64,
    pub success: bool,
    pub notice: Option<Notice>,
    pub message: Option<String>,
    /// Major, minor and sublevel.
    pub version: Option<[i64; 3]>,
}

/// `criu_notify`: CRIU has reached a point, named as for its action scripts, and waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub script: String,
    /// The root process in the runtime's pid namespace.
    pub pid: Option<i32>,
}

impl Response {
    /// `None` if the bytes are not a message.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        for field in Reader::new(bytes) {
            match field? {
                (1, Value::Number(kind)) => response.kind = kind,
                (2, Value::Number(success)) => response.success = success != 0,
                (5, Value::Bytes(notice)) => response.notice = Some(Notice::decode(notice)?),
                (9, Value::Bytes(text)) => response.message = Some(lossy(text)),
                (10, Value::Bytes(version)) => {
                    let part = |field| number(version, field).unwrap_or_default().into();
                    response.version = Some([part(1), part(2), part(4)]);
                }
                _ => {}
            }
        }
        Some(response)
    }
}

impl Notice {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut notice = Self {
            pid: number(bytes, 2),
            ..Self::default()
        };
        for field in Reader::new(bytes) {
            if let (1, Value::Bytes(script)) = field? {
                notice.script = lossy(script);
            }
        }
        Some(notice)
    }
}

/// The number in the field `wanted` of a message.
fn number(message: &[u8], wanted: u32) -> Option<i32> {
    let mut fields = Reader::new(message).flatten();
    fields.find_map(|(field, value)| match value {
        Value::Number(number) if field == wanted => i32::try_from(number).ok(),
        _ => None,
    })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a message, with nested messages as bytes.
    fn fields(message: &[u8]) -> Vec<(u32, Value<'_>)> {
        Reader::new(message).map(Option::unwrap).collect()
    }

    fn options_of(request: &Writer) -> Vec<u8> {
        let found = fields(request.as_bytes());
        let options = found.iter().find(|(field, _)| *field == 2);
        match options.unwrap().1 {
            Value::Bytes(bytes) => bytes.to_owned(),
            Value::Number(_) => panic!("options are a message"),
        }
    }

    #[test]
    fn a_dump_says_only_what_is_set() {
        let mut options = Options {
            images: 7,
            work: 8,
            log_file: "dump.log",
            pid: Some(42),
            ..Options::default()
        };
        options.switch(Switch::LeaveRunning, true);
        options.switch(Switch::ShellJob, false);
        let request = request(Kind::Dump, Some(&options), false);
        assert_eq!(fields(request.as_bytes())[0], (1, Value::Number(1)));
        assert_eq!(
            fields(&options_of(&request)),
            [
                (1, Value::Number(7)),
                (9, Value::Number(4)),
                (10, Value::Bytes(b"dump.log")),
                (17, Value::Number(8)),
                (3, Value::Number(1)),
                (2, Value::Number(42)),
            ]
        );
    }

    #[test]
    fn each_list_has_its_number() {
        let options = Options {
            root: b"/r".to_vec(),
            parent: Some(b"../p".to_vec()),
            page_server: Some((b"::1".to_vec(), 27)),
            cgroups: Some(CgroupMode::Soft),
            cgroup_root: Some(b"/c".to_vec()),
            external: vec![b"net[1]:n".to_vec()],
            mounts: vec![(b"/d".to_vec(), b"/s".to_vec())],
            inherited: vec![(b"pipe:[1]".to_vec(), 1)],
            joined: vec![("ipc", b"/n".to_vec())],
            empty_namespaces: 0x4000_0000,
            network_lock: Some(NetworkLock::Skip),
            lsm_mount_context: Some(b"ctx".to_vec()),
            ..Options::default()
        };
        let bytes = options_of(&request(Kind::Restore, Some(&options), false));
        let value = |wanted: u32| {
            let found = fields(&bytes);
            let found = found.iter().find(|(field, _)| *field == wanted);
            found.unwrap_or_else(|| panic!("field {wanted}")).1
        };
        assert_eq!(value(13), Value::Bytes(b"/r"));
        assert_eq!(value(14), Value::Bytes(b"../p"));
        assert_eq!(value(34), Value::Number(3));
        assert_eq!(value(37), Value::Bytes(b"net[1]:n"));
        assert_eq!(value(38), Value::Number(0x4000_0000));
        assert_eq!(value(63), Value::Bytes(b"ctx"));
        assert_eq!(value(64), Value::Number(3));
        let inner = |wanted| match value(wanted) {
            Value::Bytes(bytes) => fields(bytes)
                .into_iter()
                .map(|(field, value)| (field, format!("{value:?}")))
                .collect::<Vec<_>>(),
            Value::Number(_) => panic!("field {wanted} is a message"),
        };
        let bytes = |text: &str| format!("{:?}", Value::Bytes(text.as_bytes()));
        let number = |number| format!("{:?}", Value::Number(number));
        assert_eq!(inner(11), [(1, bytes("::1")), (2, number(27))]);
        assert_eq!(inner(23), [(1, bytes("/d")), (2, bytes("/s"))]);
        assert_eq!(inner(25), [(2, bytes("/c"))]);
        assert_eq!(inner(27), [(1, bytes("pipe:[1]")), (2, number(1))]);
        assert_eq!(inner(39), [(1, bytes("ipc")), (2, bytes("/n"))]);
    }

    #[test]
    fn a_page_server_is_an_address_or_a_connection() {
        let mut options = Options {
            page_server: Some((b"::1".to_vec(), 27)),
            ..Options::default()
        };
        let server = |options: &Options| {
            let bytes = options_of(&request(Kind::Dump, Some(options), false));
            let found = fields(&bytes);
            let server = found.iter().find(|(field, _)| *field == 11);
            format!("{:?}", server.map(|(_, value)| *value))
        };
        let expected = |bytes| format!("{:?}", Some(Value::Bytes(bytes)));
        assert_eq!(server(&options), expected(b"\x0a\x03::1\x10\x1b"));
        options.page_server_fd = Some(9);
        assert_eq!(server(&options), expected(b"\x20\x09"));
    }

    #[test]
    fn answers_are_read() {
        let mut notice = Writer::default();
        notice.bytes(1, b"post-restore");
        notice.number(2, 77);
        let mut answer = Writer::default();
        answer.number(1, Kind::Notify as i64);
        answer.number(2, 1);
        answer.message(5, &notice);
        let read = Response::decode(answer.as_bytes()).unwrap();
        assert_eq!((read.kind, read.success), (6, true));
        let notice = read.notice.unwrap();
        assert_eq!(
            (notice.script.as_str(), notice.pid),
            ("post-restore", Some(77))
        );

        let mut version = Writer::default();
        version.number(1, 4);
        version.number(2, 2);
        let mut answer = Writer::default();
        answer.number(7, 5);
        answer.bytes(9, b"why");
        answer.message(10, &version);
        let read = Response::decode(answer.as_bytes()).unwrap();
        assert_eq!(read.version, Some([4, 2, 0]));
        assert_eq!(read.message.as_deref(), Some("why"));
        assert!(!read.success);
        assert_eq!(Response::decode(b"\x08"), None);
    }
}
