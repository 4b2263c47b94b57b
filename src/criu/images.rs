//! The mounts in CRIU's images. CRIU resolves their paths as texts in its own mount namespace, so
//! what they lead to is checked before. Source: CRIU's images/pstree.proto, core.proto and
//! mnt.proto.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;

use super::wire::{Reader, Value};
use crate::error::Error;
use crate::sys::{Sys, file, path};

/// A mount of the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub id: i64,
    pub parent: i64,
    /// Its path in the container.
    pub point: Vec<u8>,
    /// Its name, if it belongs to the host.
    pub name: Option<Vec<u8>>,
    /// The group of mounts that it shares events with, or 0.
    pub shared: i64,
    /// The group of mounts that it receives events from, or 0.
    pub master: i64,
}

/// The mounts of the container's first process.
///
/// # Errors
/// The images are missing or have another format.
pub(crate) fn mounts(images: BorrowedFd) -> Result<Vec<Mount>> {
    let first = |entries: Vec<Vec<u8>>, name: &str, field| {
        let entry = entries.into_iter().next().unwrap_or_default();
        number(&entry, field).ok_or_else(|| malformed(name))
    };
    let tree = "pstree.img".to_owned();
    let pid = first(entries(images, &tree)?, &tree, 1)?;
    let ids = format!("ids-{pid}.img");
    let namespace = first(entries(images, &ids)?, &ids, 9)?;
    let name = format!("mountpoints-{namespace}.img");
    let entries = entries(images, &name)?;
    let mounts = entries.iter().map(|entry| Mount::decode(entry));
    Ok(mounts
        .collect::<Option<_>>()
        .ok_or_else(|| malformed(&name))?)
}

/// How many directories of images, each the parent of the one before, are looked at.
pub(crate) const DEEPEST: usize = 64;

/// The directory of the dump before, whose memory the images continue.
///
/// # Errors
/// The link to it cannot be followed.
pub(crate) fn parent(images: BorrowedFd) -> Sys<Option<OwnedFd>> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    match path::open_at(Some(images), c"parent", flags, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => Ok(None),
        found => found.map(Some),
    }
}

/// Whether mounts of the host share events with other mounts, or receive them from outside.
pub(crate) fn has_events_of_the_host(mounts: &[Mount]) -> bool {
    let is_inside = |group| mounts.iter().any(|mount| mount.shared == group);
    let mut of_host = mounts.iter().filter(|mount| mount.name.is_some());
    of_host.any(|mount| mount.shared != 0 || mount.master != 0 && !is_inside(mount.master))
}

impl Mount {
    fn decode(entry: &[u8]) -> Option<Self> {
        let mut mount = Self::default();
        for field in Reader::new(entry) {
            match field? {
                (2, Value::Number(id)) => mount.id = id,
                (4, Value::Number(parent)) => mount.parent = parent,
                (7, Value::Bytes(point)) => mount.point = point.to_owned(),
                (10, Value::Number(group)) => mount.shared = group,
                (11, Value::Number(group)) => mount.master = group,
                (18, Value::Bytes(name)) => mount.name = Some(name.to_owned()),
                _ => {}
            }
        }
        Some(mount)
    }
}

/// The messages of an image: two magic numbers, and each message after its length.
fn entries(images: BorrowedFd, name: &str) -> Result<Vec<Vec<u8>>> {
    let object = || format!("--image-path: {name}");
    let bytes = path::c_string(name)
        .and_then(|name| path::open_at(Some(images), &name, libc::O_RDONLY | libc::O_NOFOLLOW, 0))
        .and_then(|file| file::read_open(file.as_fd()))
        .map_err(|fail| {
            Error::failed(object(), fail).hint("the images must be those of a checkpoint")
        })?;
    Ok(split(&bytes).ok_or_else(|| malformed(name))?)
}

fn split(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = bytes.get(8..)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (entry, after) = after.split_at_checked(length)?;
        entries.push(entry.to_owned());
        rest = after;
    }
    Some(entries)
}

fn number(entry: &[u8], wanted: u32) -> Option<i64> {
    let mut fields = Reader::new(entry).flatten();
    fields.find_map(|(field, value)| match value {
        Value::Number(number) if field == wanted => Some(number),
        _ => None,
    })
}

fn malformed(name: &str) -> Error {
    Error::new(format!("--image-path: {name} is not an image of CRIU's"))
}

#[cfg(test)]
mod tests {
    use super::super::wire::Writer;
    use super::*;

    fn image(entries: &[&Writer]) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        for entry in entries {
            bytes.extend(u32::try_from(entry.as_bytes().len()).unwrap().to_le_bytes());
            bytes.extend(entry.as_bytes());
        }
        bytes
    }

    #[test]
    fn mounts_are_found_by_the_first_process() {
        let dir = std::env::temp_dir().join(format!("sampan-images-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let mut process = Writer::default();
        process.number(1, 7);
        let mut ids = Writer::default();
        ids.number(9, 13);
        let mut root = Writer::default();
        root.number(2, 5);
        root.number(4, 0);
        root.bytes(7, b"/");
        let mut data = Writer::default();
        data.number(2, 6);
        data.number(4, 5);
        data.bytes(7, b"/data");
        data.number(11, 3);
        data.bytes(18, b"name");
        for (name, bytes) in [
            ("pstree.img", image(&[&process])),
            ("ids-7.img", image(&[&ids])),
            ("mountpoints-13.img", image(&[&data, &root])),
        ] {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let opened = file::open(&dir, libc::O_RDONLY, 0).unwrap();
        let found = mounts(opened.as_fd()).unwrap();
        let expected = [
            Mount {
                id: 6,
                parent: 5,
                point: b"/data".to_vec(),
                name: Some(b"name".to_vec()),
                master: 3,
                shared: 0,
            },
            Mount {
                id: 5,
                point: b"/".to_vec(),
                ..Mount::default()
            },
        ];
        assert_eq!(found, expected);
        assert!(has_events_of_the_host(&found));
        let inside = Mount {
            shared: 3,
            ..Mount::default()
        };
        assert!(!has_events_of_the_host(&[found[0].clone(), inside.clone()]));
        assert!(!has_events_of_the_host(&found[1..]));
        let shared = Mount {
            name: Some(b"name".to_vec()),
            ..inside.clone()
        };
        assert!(has_events_of_the_host(&[shared]));
        std::fs::write(dir.join("ids-7.img"), b"short").unwrap();
        let text = format!("{:#}", mounts(opened.as_fd()).unwrap_err());
        assert!(text.contains("ids-7.img is not an image"), "{text}");
        std::fs::remove_file(dir.join("pstree.img")).unwrap();
        let text = format!("{:#}", mounts(opened.as_fd()).unwrap_err());
        assert!(text.contains("pstree.img: open: no such file"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_cut_image_is_refused() {
        let mut entry = Writer::default();
        entry.bytes(7, b"/data");
        let whole = image(&[&entry]);
        assert_eq!(split(&whole).unwrap().len(), 1);
        assert_eq!(split(&whole[..whole.len() - 1]), None);
        assert_eq!(split(&whole[..10]), None);
        assert_eq!(split(&whole[..4]), None);
    }
}
