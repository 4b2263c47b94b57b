//! The mount table of a process. proc_pid_mountinfo(5).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::{Fail, Note, Sys, io};

const PAGE: usize = 4096;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The id of the mount.
    pub id: u64,
    /// The id of the mount that it is on.
    pub parent: u64,
    /// The directory of the file system that is the root of the mount.
    pub root: Vec<u8>,
    /// Where it is mounted, relative to the root of the process.
    pub point: Vec<u8>,
    /// The type of the file system.
    pub fstype: Vec<u8>,
    /// The options of the file system.
    pub options: Vec<u8>,
}

/// Reads an open mountinfo file.
///
/// # Errors
/// read(2) failed, or the text has another format.
pub fn read(file: BorrowedFd) -> Sys<Vec<Mounted>> {
    let mut text = Vec::with_capacity(PAGE);
    while io::read_more(file, &mut text)? > 0 {
        text.reserve(PAGE);
    }
    let lines = text.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(Mounted::parse)
        .collect::<Option<_>>()
        .ok_or(Fail::new("read", Errno::EPROTO).note(Note::MountInfo))
}

impl Mounted {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        let id = number(words.next()?)?;
        let parent = number(words.next()?)?;
        let root = unescaped(words.nth(1)?);
        let point = unescaped(words.next()?);
        let mut words = words.skip_while(|word| *word != b"-");
        let fstype = words.nth(1)?.to_owned();
        let options = words.nth(1).unwrap_or_default().to_owned();
        Some(Self {
            id,
            parent,
            root,
            point,
            fstype,
            options,
        })
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Decodes a field, in which blanks, line ends and backslashes are written as `\\ooo`.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *byte == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                text.push(escaped);
                rest = &after[3..];
            }
            None => {
                text.push(*byte);
                rest = after;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_its_blanks_are_decoded() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let mounted = Mounted::parse(line).unwrap();
        assert_eq!((mounted.id, mounted.parent), (36, 35));
        assert_eq!(mounted.root, b"/mnt1");
        assert_eq!(mounted.point, b"/mnt 2");
        assert_eq!(mounted.fstype, b"ext3");
        assert_eq!(mounted.options, b"rw");
        assert_eq!(Mounted::parse(b"36 35 98:0 /mnt1"), None);
    }
}
