//! The standard streams of a container, in the file `descriptors.json` beside the images. It is
//! that of the other runtimes: a list of three texts, each what /proc/PID/fd/N links to.

use std::os::fd::{AsFd, BorrowedFd, RawFd};

use anyhow::Result;
use nix::errno::Errno;

use crate::error::Context as _;
use crate::sys::{io, path};

const FILE: &std::ffi::CStr = c"descriptors.json";

/// Writes the file for the process `pid` into the directory of the images.
///
/// # Errors
/// /proc cannot be read, or the file cannot be written.
pub(crate) fn save(images: BorrowedFd, pid: i32) -> Result<()> {
    let streams: Vec<String> = (0..3).map(|number| link(pid, number)).collect();
    let text = serde_json::to_vec(&streams).context("descriptors.json")?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
    path::open_at(Some(images), FILE, flags, 0o600)
        .and_then(|file| io::write_all(file.as_fd(), &text))
        .context("--image-path: descriptors.json")
}

/// What a standard stream is; empty if it is closed.
fn link(pid: i32, number: RawFd) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
    link.map(|target| target.to_string_lossy().into_owned())
        .unwrap_or_default()
}

const OBJECT: &str = "--image-path: descriptors.json";

/// Reads the file. Images without one have no streams to inherit.
///
/// # Errors
/// The file cannot be read, or is not a list of texts.
pub(crate) fn load(images: BorrowedFd) -> Result<Vec<String>> {
    let text = match path::open_at(Some(images), FILE, libc::O_RDONLY | libc::O_NOFOLLOW, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => return Ok(Vec::new()),
        file => file.and_then(|file| crate::sys::file::read_open(file.as_fd())),
    }
    .context(OBJECT)?;
    let text = std::str::from_utf8(&text).context(OBJECT)?;
    serde_json::from_str(text).context(OBJECT)
}

/// The streams that are the runtime's own instead of those in the images: pipes, whose other end
/// was not dumped.
pub(crate) fn inherited(streams: &[String]) -> Vec<(Vec<u8>, RawFd)> {
    let numbered = streams.iter().zip(0..3);
    numbered
        .filter(|(stream, _)| stream.starts_with("pipe:"))
        .map(|(stream, number)| (stream.clone().into_bytes(), number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_inherited_by_their_number() {
        let streams = ["/dev/null", "pipe:[7]", "pipe:[8]", "pipe:[9]"].map(str::to_owned);
        assert_eq!(
            inherited(&streams),
            [(b"pipe:[7]".to_vec(), 1), (b"pipe:[8]".to_vec(), 2)]
        );
        assert!(inherited(&[]).is_empty());
    }
}
