//! The list of operations, parsed in place: values are C strings within the file's bytes.

use std::ffi::CStr;

use crate::kernel::{Died, die, read_file};

/// An operation. The names are those of `scripts/bench.d/floor.py`, which writes them.
pub enum Op {
    Cgroup(&'static CStr),
    CgroupFile(&'static CStr, &'static CStr),
    CgroupOf(&'static CStr),
    DeviceProgram(&'static CStr),
    Join(u64),
    Clone(u64),
    UnshareCgroup,
    Keyring,
    LoopbackUp,
    RootPropagation(u64),
    Rootfs(&'static CStr),
    /// Filesystem type, source, target, flags of mount(2), data.
    Mount([&'static CStr; 3], u64, &'static CStr),
    /// Source, target, attributes to set, recursively, propagation.
    Bind([&'static CStr; 2], u64, bool, u64),
    MakeDirectory(&'static CStr, u64),
    Node(&'static CStr, u64, u64, u64),
    Symlink(&'static CStr, &'static CStr),
    ReopenNull,
    ReadonlyPath(&'static CStr),
    MaskPath(&'static CStr),
    RootReadonly,
    Pivot,
    Hostname(&'static CStr),
    Sysctl(&'static CStr, &'static CStr),
    Rlimit(u64, u64, u64),
    WorkingDirectory(&'static CStr),
    /// Bounding, effective, permitted, inheritable, ambient.
    Credentials([u64; 5]),
    NoNewPrivileges,
    /// An array of `sock_filter`, which was read with the script.
    Seccomp(&'static [u8]),
    WaitForStart,
    CloseRange,
    Env(&'static CStr),
    Exec(Vec<&'static CStr>),
}

/// A parsed script.
pub struct Script {
    lines: Vec<Vec<&'static CStr>>,
    seccomp: &'static [u8],
}

impl Script {
    /// Reads the file. Its bytes live as long as the process.
    pub fn load(path: &CStr) -> Self {
        let bytes = Box::leak(read_file(path).into_boxed_slice());
        for byte in bytes
            .iter_mut()
            .filter(|byte| matches!(byte, b'\t' | b'\n'))
        {
            // An empty value marks the end of a line: the writer ends each line with a tab.
            *byte = 0;
        }
        let mut lines = vec![Vec::with_capacity(8)];
        for word in bytes.split_inclusive(|byte| *byte == 0) {
            let word = CStr::from_bytes_with_nul(word).unwrap_or_default();
            match lines.last_mut() {
                Some(line) if !word.is_empty() => line.push(word),
                _ => lines.push(Vec::with_capacity(8)),
            }
        }
        lines.retain(|line| !line.is_empty());
        let filter = lines.iter().find(|line| line[0].to_bytes() == b"seccomp");
        let seccomp = filter.map_or(&[][..], |line| Vec::leak(read_file(line[1])));
        Self { lines, seccomp }
    }

    pub fn ops(&self) -> impl Iterator<Item = Op> {
        self.lines.iter().map(|line| parse(line, self.seccomp))
    }

    /// Whether init waits for `start`.
    pub fn waits(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line[0].to_bytes() == b"wait-for-start")
    }
}

fn parse(line: &[&'static CStr], seccomp: &'static [u8]) -> Op {
    let text = |at: usize| line.get(at).copied().unwrap_or_default();
    // A lone "-" is the empty value.
    let word = |at: usize| {
        if text(at).to_bytes() == b"-" {
            c""
        } else {
            text(at)
        }
    };
    let value = |at: usize| number(text(at).to_bytes());
    match text(0).to_bytes() {
        b"cgroup" => Op::Cgroup(word(1)),
        b"cgroup-file" => Op::CgroupFile(word(1), word(2)),
        b"cgroup-of" => Op::CgroupOf(word(1)),
        b"device-program" => Op::DeviceProgram(word(1)),
        b"join" => Op::Join(value(1)),
        b"clone" => Op::Clone(value(1)),
        b"unshare-cgroup" => Op::UnshareCgroup,
        b"keyring" => Op::Keyring,
        b"loopback-up" => Op::LoopbackUp,
        b"root-propagation" => Op::RootPropagation(value(1)),
        b"rootfs" => Op::Rootfs(word(1)),
        b"mount" => Op::Mount([word(1), word(2), word(3)], value(4), word(5)),
        b"bind" => Op::Bind([word(1), word(2)], value(3), value(4) != 0, value(5)),
        b"make-directory" => Op::MakeDirectory(word(1), value(2)),
        b"node" => Op::Node(word(1), value(2), value(3), value(4)),
        b"symlink" => Op::Symlink(word(1), word(2)),
        b"reopen-null" => Op::ReopenNull,
        b"readonly-path" => Op::ReadonlyPath(word(1)),
        b"mask-path" => Op::MaskPath(word(1)),
        b"root-readonly" => Op::RootReadonly,
        b"pivot" => Op::Pivot,
        b"hostname" => Op::Hostname(word(1)),
        b"sysctl" => Op::Sysctl(word(1), word(2)),
        b"rlimit" => Op::Rlimit(value(1), value(2), value(3)),
        b"cwd" => Op::WorkingDirectory(word(1)),
        b"credentials" => Op::Credentials([value(1), value(2), value(3), value(4), value(5)]),
        b"no-new-privileges" => Op::NoNewPrivileges,
        b"seccomp" => Op::Seccomp(seccomp),
        b"wait-for-start" => Op::WaitForStart,
        b"close-range" => Op::CloseRange,
        b"env" => Op::Env(word(1)),
        b"exec" => Op::Exec(line[1..].to_vec()),
        _ => die(&Died("unknown operation", 0)),
    }
}

/// A number in decimal, or in hexadecimal after `0x`.
pub fn number(word: &[u8]) -> u64 {
    let (digits, base) = match word.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    let digit = |byte: &u8| (*byte as char).to_digit(base).unwrap_or(0);
    digits.iter().fold(0, |sum, byte| {
        sum * u64::from(base) + u64::from(digit(byte))
    })
}
