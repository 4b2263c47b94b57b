//! The master end of a terminal, for reading and typing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};

use crate::Sandbox;
use crate::call::Call;

/// A master in non-blocking mode.
pub struct Master {
    file: File,
    /// Everything that the terminal has shown so far, with plain newlines.
    pub seen: String,
    /// The same as it was.
    pub shown: Vec<u8>,
    /// Whether a slave is still open.
    pub open: bool,
}

impl Master {
    /// Wraps the master `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("non-blocking");
        Self {
            file: fd.into(),
            seen: String::new(),
            shown: Vec::new(),
            open: true,
        }
    }

    /// Appends available output to [`Master::seen`].
    pub fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.file.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    self.shown.extend(&buffer[..length]);
                    self.seen += &String::from_utf8_lossy(&buffer[..length]).replace("\r\n", "\n");
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // EIO: all slaves are closed.
                _ => {
                    self.open = false;
                    return;
                }
            }
        }
    }

    /// Waits until the terminal has shown `text`.
    #[track_caller]
    pub fn wait(&mut self, t: &Sandbox, text: &str) {
        t.eventually(&format!("the terminal shows {text:?}"), || {
            self.read();
            self.seen.contains(text)
        });
    }

    /// Types.
    pub fn write(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).expect("type");
    }
}

/// A terminal for the caller, with 24 lines and 80 columns.
pub fn callers() -> (Master, OwnedFd) {
    with_columns(80)
}

/// What `call` prints on a terminal with this many columns. It must succeed.
#[track_caller]
pub fn lines_on_terminal(call: Call, columns: u16) -> Vec<String> {
    let (mut master, slave) = with_columns(columns);
    call.terminal(slave).spawn().finish().ok();
    while master.open {
        master.read();
    }
    master.seen.lines().map(str::to_owned).collect()
}

fn with_columns(columns: u16) -> (Master, OwnedFd) {
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(&size, None).expect("openpty");
    (Master::new(master), slave)
}
