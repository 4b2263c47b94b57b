//! A failed system call: which, with which errno, and what is known besides.

use std::fmt;

use nix::errno::Errno;

/// A failed system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// Its name as in the man page.
    pub op: &'a str,
    pub errno: Errno,
    /// What the caller of the call knew.
    pub note: Option<Note>,
}

/// A failed system call of this process.
pub type Fail = Failed<'static>;

/// The result of a system call.
pub type Sys<T> = Result<T, Fail>;

impl<'a> Failed<'a> {
    /// A failure of `op`.
    pub fn new(op: &'a str, errno: Errno) -> Self {
        let note = None;
        Self { op, errno, note }
    }

    /// With what is known besides. The first note is the one that was closest to the call.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.note = self.note.or(Some(note));
        self
    }

    /// What failed, without the errno.
    pub fn call(&self) -> String {
        match self.note.map_or(Says::Nothing, Note::says) {
            Says::Nothing => self.op.to_owned(),
            Says::Behind(object) => format!("{} {object}", self.op),
            Says::Instead(text) => text.to_owned(),
            Says::Ended(status) if status > 128 => format!("killed by signal {}", status - 128),
            Says::Ended(status) => format!("exit status {status}"),
        }
    }

    /// The errno, unless the note says it all.
    pub fn told_errno(&self) -> Option<Errno> {
        match self.note {
            Some(Note::Ended(_) | Note::TimedOut) => None,
            _ => Some(self.errno),
        }
    }
}

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call())?;
        match self.told_errno() {
            Some(errno) => write!(f, ": {}", errno_text(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failed<'_> {}

/// The errno's sentence as strerror(3) has it, lower case as engines match it:
/// `no such file or directory`, `permission denied`, `operation not permitted`.
pub fn errno_text(errno: Errno) -> String {
    let text = match errno {
        Errno::ELOOP => "too many levels of symbolic links",
        other => other.desc(),
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text[1..].starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// What a note adds to the name of the call.
enum Says {
    Nothing,
    /// The object, behind the name.
    Behind(&'static str),
    /// A text in place of the name: the call succeeded, and what it said was not right.
    Instead(&'static str),
    /// How a process ended.
    Ended(i32),
}

/// Defines [`Note`] with the number of each note in a message, and what it says.
macro_rules! notes {
    ($($(#[$doc:meta])* $code:literal $name:ident => $says:expr,)*) => {
        /// What is known about a failure besides the call and the errno.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Note {
            $($(#[$doc])* $name,)*
            /// A child ended with this status: 128 + signal where a signal ended it.
            Ended(i32),
        }

        impl Note {
            fn says(self) -> Says {
                match self {
                    $(Self::$name => $says,)*
                    Self::Ended(status) => Says::Ended(status),
                }
            }

            /// The number, and a value with it.
            fn code(self) -> (u32, i32) {
                match self {
                    $(Self::$name => ($code, 0),)*
                    Self::Ended(status) => (ENDED, status),
                }
            }

            /// `None` for a number that a later version of the program may know.
            fn from_code(code: u32, value: i32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    ENDED => Some(Self::Ended(value)),
                    _ => None,
                }
            }
        }
    };
}

/// The number of [`Note::Ended`].
const ENDED: u32 = 1;

// The init of a container may be of an older version than the runtime that starts it, so a number
// keeps its meaning.
notes! {
    /// A child ran too long and was killed.
    2 TimedOut => Says::Instead("timed out and was killed"),
    /// The flag to clear is locked in a user namespace. mount_namespaces(7).
    3 LockedFlag => Says::Instead("clear a locked mount flag"),
    /// The attributes or the propagation that the config wants for a mount were to be set.
    4 Attributes => Says::Nothing,
    /// A mount was to be copied.
    5 CopiedMount => Says::Nothing,
    /// A mount was to be attached on its target.
    6 Attached => Says::Nothing,
    /// The target is in the container's procfs.
    7 InsideProcfs => Says::Behind("inside procfs"),
    /// The target is the container's root.
    8 OnRoot => Says::Behind("on the root"),
    /// Nothing is mounted on the path.
    9 NotAMountPoint => Says::Instead("find a mount point"),
    /// A procfs or sysfs of the host stays within reach.
    10 HostView => Says::Instead("hide a procfs or sysfs of the host"),
    /// The table of mounts is not what proc_pid_mountinfo(5) says.
    11 MountInfo => Says::Instead("parse mountinfo"),
    /// /proc shows something else than the procfs that was mounted there.
    12 OtherProcfs => Says::Instead("find the procfs on /proc"),
    /// The user namespace to join has another map.
    13 OtherMap => Says::Instead("compare with the map"),
    /// The call was one of a child in the namespaces to join.
    14 InJoinedNamespaces => Says::Behind("in the joined namespaces"),
    /// The additional groups were to be set.
    15 Groups => Says::Nothing,
    /// The container's.
    16 DevNull => Says::Behind("/dev/null"),
    17 HostDevNull => Says::Behind("/dev/null of the host"),
    /// The directory is no devpts, or its ptmx is something else.
    18 Ptmx => Says::Behind("/dev/pts/ptmx of a devpts"),
    19 DevConsole => Says::Behind("/dev/console"),
    /// The directory to copy is deeper than any that is copied.
    20 CopyUp => Says::Instead("tmpcopyup"),
    /// The processes of a cgroup were to stop.
    21 Freeze => Says::Instead("freeze"),
    /// The processes of a cgroup were to go on.
    22 Thaw => Says::Instead("thaw"),
}

/// The longest name of a call that is reported as a whole.
const OP_LENGTH: usize = 32;

/// A failure of another process of this program, as it came in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// NUL-padded.
    op: [u8; OP_LENGTH],
    errno: Errno,
    note: Option<Note>,
}

impl Reported {
    /// The length of the message.
    pub const LENGTH: usize = 12 + OP_LENGTH;

    /// The failure.
    pub fn fail(&self) -> Failed<'_> {
        let name = self.op.split(|byte| *byte == 0).next().unwrap_or_default();
        Failed {
            op: std::str::from_utf8(name).unwrap_or("?"),
            errno: self.errno,
            note: self.note,
        }
    }

    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let (code, value) = self.note.map_or((0, 0), Note::code);
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&(self.errno as i32).to_ne_bytes());
        bytes[4..4 + OP_LENGTH].copy_from_slice(&self.op);
        bytes[4 + OP_LENGTH..8 + OP_LENGTH].copy_from_slice(&code.to_ne_bytes());
        bytes[8 + OP_LENGTH..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    /// `None` for what is too short.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let (code, value) = (number(4 + OP_LENGTH)?, number(8 + OP_LENGTH)?);
        Some(Self {
            op: *bytes[4..].first_chunk()?,
            errno: Errno::from_raw(number(0)?),
            note: Note::from_code(code as u32, value),
        })
    }
}

impl From<Failed<'_>> for Reported {
    fn from(fail: Failed) -> Self {
        let mut op = [0; OP_LENGTH];
        let length = fail.op.len().min(OP_LENGTH);
        op[..length].copy_from_slice(&fail.op.as_bytes()[..length]);
        let (errno, note) = (fail.errno, fail.note);
        Self { op, errno, note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_to_another_process() {
        let plain = Fail::new("mount_setattr", Errno::EPERM);
        let notes = (0..100).filter_map(|code| Note::from_code(code, 137));
        let noted: Vec<_> = notes.map(|note| plain.note(note)).collect();
        assert!(noted.len() > 20);
        for fail in noted.into_iter().chain([plain]) {
            let told = Reported::decode(&Reported::from(fail).encode()).expect("a whole message");
            assert_eq!(told.fail(), fail);
        }
        assert_eq!(Reported::decode(&[0; Reported::LENGTH - 1]), None);
    }

    #[test]
    fn a_note_says_the_object_or_all() {
        let text = |op, note| Fail::new(op, Errno::EPERM).note(note).to_string();
        let denied = "operation not permitted";
        assert_eq!(text("open", Note::Attributes), format!("open: {denied}"));
        assert_eq!(
            text("mount", Note::InsideProcfs),
            format!("mount inside procfs: {denied}")
        );
        assert_eq!(
            text("mount_setattr", Note::LockedFlag),
            format!("clear a locked mount flag: {denied}")
        );
        assert_eq!(text("waitid", Note::Ended(3)), "exit status 3");
        assert_eq!(text("waitid", Note::Ended(137)), "killed by signal 9");
    }

    #[test]
    fn the_note_closest_to_the_call_stays() {
        let fail = Fail::new("mount_setattr", Errno::EPERM).note(Note::LockedFlag);
        assert_eq!(fail.note(Note::Attributes), fail);
    }
}
