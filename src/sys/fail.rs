//! A failed system call: its name, its errno, and what else is known about the failure.

use std::fmt;

use nix::errno::Errno;

/// A failed system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// The name of the call, as in its man page.
    pub op: &'a str,
    /// Its errno.
    pub errno: Errno,
    /// Additional information from the caller of the system call.
    pub note: Option<Note>,
}

/// A failed system call of this process.
pub type Fail = Failed<'static>;

/// The result of a system call.
pub type Sys<T> = Result<T, Fail>;

impl<'a> Failed<'a> {
    /// A failure of the call `op`.
    pub fn new(op: &'a str, errno: Errno) -> Self {
        let note = None;
        Self { op, errno, note }
    }

    /// Adds a note. The first note is kept, because it comes from closest to the call.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.note = self.note.or(Some(note));
        self
    }

    /// A description of the failure without the errno.
    pub fn call(&self) -> String {
        match self.note.map_or(Says::Nothing, Note::says) {
            Says::Nothing => self.op.to_owned(),
            Says::Behind(object) => format!("{} {object}", self.op),
            Says::Instead(text) => text.to_owned(),
            Says::Ended(status) if status > 128 => format!("killed by signal {}", status - 128),
            Says::Ended(status) => format!("exit status {status}"),
        }
    }

    /// The errno, unless the note makes it redundant.
    pub fn told_errno(&self) -> Option<Errno> {
        match self.note {
            Some(Note::Ended(_) | Note::TimedOut | Note::OtherPidNamespace) => None,
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

/// The text of an errno as strerror(3) has it, in lower case as engines match it:
/// `no such file or directory`, `permission denied`, `operation not permitted`.
pub fn errno_text(errno: Errno) -> String {
    let text = match errno {
        Errno::ELOOP => "too many levels of symbolic links",
        other => other.desc(),
    };
    let is_acronym = text.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase);
    let mut text = text.to_owned();
    if let (false, Some(first)) = (is_acronym, text.get_mut(..1)) {
        first.make_ascii_lowercase();
    }
    text
}

/// The text of a note, and its place beside the name of the call.
enum Says {
    Nothing,
    /// The object, after the name.
    Behind(&'static str),
    /// A text instead of the name: the call succeeded, but its result was not the expected one.
    Instead(&'static str),
    /// The way in which a process ended.
    Ended(i32),
}

/// Defines [`Note`] with each note's number in a message, and its text.
macro_rules! notes {
    ($($(#[$doc:meta])* $code:literal $name:ident => $says:expr,)*) => {
        /// Information about a failure beyond the call and the errno.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Note {
            $($(#[$doc])* $name,)*
            /// A child ended with this status: 128 + signal if a signal ended it.
            Ended(i32),
        }

        impl Note {
            fn says(self) -> Says {
                match self {
                    $(Self::$name => $says,)*
                    Self::Ended(status) => Says::Ended(status),
                }
            }

            /// The number, and a value that belongs to it.
            fn code(self) -> (u32, i32) {
                match self {
                    $(Self::$name => ($code, 0),)*
                    Self::Ended(status) => (ENDED, status),
                }
            }

            /// `None` for a number of a later version of the program.
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

// A container's init may be of an older version than the runtime that starts it, so a number never
// changes its meaning.
notes! {
    /// A child ran too long and was killed.
    2 TimedOut => Says::Instead("timed out and was killed"),
    /// The flag to clear is locked in a user namespace. mount_namespaces(7).
    3 LockedFlag => Says::Instead("clear a locked mount flag"),
    /// Setting the attributes or the propagation of a mount failed.
    4 Attributes => Says::Nothing,
    /// Copying a mount failed.
    5 CopiedMount => Says::Nothing,
    /// Attaching a mount to its target failed.
    6 Attached => Says::Nothing,
    /// The target is in the container's procfs.
    7 InsideProcfs => Says::Behind("inside procfs"),
    /// The target is the container's root.
    8 OnRoot => Says::Behind("on the root"),
    /// Nothing is mounted on the path.
    9 NotAMountPoint => Says::Instead("find a mount point"),
    /// A procfs or sysfs of the host would stay within reach.
    10 HostView => Says::Instead("hide a procfs or sysfs of the host"),
    /// The mount table does not have the format of proc_pid_mountinfo(5).
    11 MountInfo => Says::Instead("parse mountinfo"),
    /// /proc is not the procfs that was mounted there.
    12 OtherProcfs => Says::Instead("find the procfs on /proc"),
    /// The user namespace to join has another id map.
    13 OtherMap => Says::Instead("compare with the map"),
    /// A child made the call in the namespaces to join.
    14 InJoinedNamespaces => Says::Behind("in the joined namespaces"),
    /// Setting the additional groups failed.
    15 Groups => Says::Nothing,
    /// The container's /dev/null.
    16 DevNull => Says::Behind("/dev/null"),
    /// The host's /dev/null.
    17 HostDevNull => Says::Behind("/dev/null of the host"),
    /// The directory is not a devpts, or its ptmx is another file.
    18 Ptmx => Says::Behind("/dev/pts/ptmx of a devpts"),
    /// The container's /dev/console.
    19 DevConsole => Says::Behind("/dev/console"),
    /// The directory tree exceeds the depth limit of tmpcopyup.
    20 CopyUp => Says::Instead("tmpcopyup"),
    /// Freezing the processes of a cgroup failed.
    21 Freeze => Says::Instead("freeze"),
    /// Thawing the processes of a cgroup failed.
    22 Thaw => Says::Instead("thaw"),
    /// A file was to be mounted on a directory, or a directory on a file.
    23 FileOnDirectory => Says::Nothing,
    /// /sys is not the sysfs that was mounted there.
    24 OtherSysfs => Says::Instead("find the sysfs on /sys"),
    /// Init is in another user namespace than at its beginning.
    25 InitLeft => Says::Instead("enter the namespaces of init"),
    /// The file of an annotation for the output of a hook.
    26 HookStream => Says::Behind("the file of run.oci.hooks.stdout or stderr"),
    /// The caller's pid namespace does not show a process.
    27 OtherPidNamespace => Says::Instead("find a process of another pid namespace"),
}

/// The maximum length of a call's name; longer names are cut off.
const OP_LENGTH: usize = 32;

/// A failure of another process of this program, in the form of a message.
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

    /// The failure in the message.
    pub fn fail(&self) -> Failed<'_> {
        let name = self.op.split(|byte| *byte == 0).next().unwrap_or_default();
        Failed {
            op: std::str::from_utf8(name).unwrap_or("?"),
            errno: self.errno,
            note: self.note,
        }
    }

    /// The failure as a message of fixed length. See [`Self::decode`].
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let (code, value) = self.note.map_or((0, 0), Note::code);
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&(self.errno as i32).to_ne_bytes());
        bytes[4..4 + OP_LENGTH].copy_from_slice(&self.op);
        bytes[4 + OP_LENGTH..8 + OP_LENGTH].copy_from_slice(&code.to_ne_bytes());
        bytes[8 + OP_LENGTH..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    /// `None` if the bytes are too short.
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
