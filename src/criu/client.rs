//! The connection to a running `criu swrk`.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};
use nix::sys::socket::{Shutdown, shutdown};

use super::launch::{INSTALL, Launch, launch};
use super::log::{advice, decisive};
use super::message::{Kind, Notice, Options, Response, acknowledgement, request};
use crate::error::{Call as _, Context as _, Error};
use crate::sys::end::End;
use crate::sys::interrupt::{self, Aim};
use crate::sys::{file, path, process, socket, stat};

/// The oldest version of CRIU that is supported. Older ones lack options that are used here, and
/// do not start on current kernels.
const OLDEST: [i64; 2] = [4, 0];

/// More than any answer of CRIU needs.
const LONGEST_ANSWER: usize = 64 * 1024;

const CONNECTION: &str = "connection to criu";

/// A running CRIU. It is killed when it is dropped.
pub(crate) struct Criu {
    socket: OwnedFd,
    pub pid: i32,
    pidfd: Rc<OwnedFd>,
    ended: bool,
}

/// The last notice before the restored processes run. CRIU lets them run whatever the answer is. If
/// they have been killed, it waits for init, which waits for its children, which are zombies until
/// CRIU, their tracer, waits for them. So CRIU is killed after an answer that fails.
pub(crate) const BEFORE_RUNNING: &str = "pre-resume";

/// What handles a notice of CRIU, with the descriptor that came with it.
pub(super) type Answer<'a> = dyn FnMut(&Notice, Option<OwnedFd>) -> Result<()> + 'a;

impl Criu {
    /// Executes CRIU and asks for its version.
    ///
    /// # Errors
    /// CRIU is not installed, too old, or does not run here.
    pub(crate) fn start(how: &Launch) -> Result<Self> {
        let launched = launch(how)?;
        let mut criu = Self {
            socket: launched.socket,
            pid: launched.pid,
            pidfd: launched.pidfd,
            ended: false,
        };
        criu.check_version()?;
        Ok(criu)
    }

    /// While the value lives, a signal to the runtime kills CRIU.
    pub(crate) fn aim(&self) -> Aim {
        interrupt::aim(&self.pidfd)
    }

    /// The same directory in CRIU's mount namespace. CRIU mounts file systems in its working
    /// directory, which the kernel refuses for one that belongs to another namespace.
    ///
    /// # Errors
    /// A system call failed; or the path of the directory leads to another one by now.
    pub(crate) fn reopen(&self, directory: BorrowedFd) -> Result<OwnedFd> {
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let path = std::fs::read_link(&link).call("readlink").context(link)?;
        let object = || path.display().to_string();
        let mut seen = OsString::from(format!("/proc/{}/root", self.pid));
        seen.push(&path);
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let opened = file::open(Path::new(&seen), flags, 0).with_context(object)?;
        let inode = |fd| stat::stat(fd).map(|stat| stat.inode()).with_context(object);
        if inode(opened.as_fd())? != inode(directory)? {
            bail!("{}: the directory has been replaced", path.display());
        }
        Ok(opened)
    }

    fn check_version(&mut self) -> Result<()> {
        let ask = request(Kind::Version, None, true);
        let answered = socket::send(self.socket.as_fd(), ask.as_bytes(), None)
            .map_err(anyhow::Error::from)
            .and_then(|()| self.receive());
        let version = match answered {
            Ok((Response { version, .. }, _)) => version.unwrap_or_default(),
            Err(_) => {
                let end = self.wait()?;
                let message = format!("criu ended when asked for its version: {end}");
                bail!(Error::new(message).hint(INSTALL))
            }
        };
        let [major, minor, sublevel] = version;
        if [major, minor] < OLDEST {
            let message = format!("criu: version {major}.{minor}.{sublevel} is too old");
            bail!(Error::new(message).hint(INSTALL));
        }
        Ok(())
    }

    /// Makes a request, calls `answer` at each notice, and waits for CRIU's end. If `answer` fails,
    /// CRIU undoes what it has done, and this error is returned. An answer to [`BEFORE_RUNNING`]
    /// that fails must have killed the restored processes.
    ///
    /// # Errors
    /// CRIU has failed: the error quotes its log, whose path is `log`.
    pub(crate) fn perform(
        &mut self,
        kind: Kind,
        options: &Options,
        log: &Path,
        answer: &mut Answer,
    ) -> Result<Response> {
        let ask = request(kind, Some(options), false);
        socket::send(self.socket.as_fd(), ask.as_bytes(), None).context(CONNECTION)?;
        let mut refused = None;
        let last = loop {
            match self.receive() {
                Ok((response, fd)) => match &response.notice {
                    Some(notice) if response.kind == Kind::Notify as i64 => {
                        let done = answer(notice, fd);
                        if done.is_err() && notice.script == BEFORE_RUNNING {
                            self.kill();
                            return done.map(|()| response);
                        }
                        let reply = acknowledgement(done.is_ok());
                        refused = refused.or(done.err());
                        let sent = socket::send(self.socket.as_fd(), reply.as_bytes(), None);
                        if let Err(fail) = sent {
                            break Err(fail).context(CONNECTION);
                        }
                    }
                    _ => break Ok(response),
                },
                Err(error) => break Err(error),
            }
        };
        let end = self.wait();
        if let Some(error) = refused {
            return Err(error);
        }
        let quoted = Quoted::read(options, log);
        match last {
            Ok(response) if response.success => Ok(response),
            Ok(response) => bail!(quoted.failure(kind, response.message.as_deref())),
            Err(_) => {
                let ended = end.map(|end| format!("it ended: {end}"));
                bail!(quoted.failure(kind, ended.ok().as_deref()))
            }
        }
    }

    fn receive(&self) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; LONGEST_ANSWER];
        let (length, fd) = socket::receive(self.socket.as_fd(), &mut buffer).context(CONNECTION)?;
        if length == 0 {
            bail!("{CONNECTION}: closed");
        }
        let response = Response::decode(&buffer[..length])
            .ok_or_else(|| Error::new(format!("{CONNECTION}: not a message of CRIU's")))?;
        Ok((response, fd))
    }

    fn kill(&mut self) {
        process::end(self.pidfd.as_fd());
        self.ended = true;
    }

    /// CRIU waits for another request after a pre-dump, unless the connection ends.
    fn wait(&mut self) -> Result<End> {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let end = process::wait(self.pidfd.as_fd()).context("criu")?;
        self.ended = true;
        Ok(end)
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// What CRIU's log says.
struct Quoted<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> Quoted<'a> {
    /// A log that cannot be read is an empty one: the failure is reported anyway.
    fn read(options: &Options, path: &'a Path) -> Self {
        let work = process::descriptor_of(options.work);
        let text = read_log(work, options.log_file).unwrap_or_default();
        Self { path, text }
    }

    fn failure(&self, kind: Kind, message: Option<&str>) -> Error {
        let what = match kind {
            Kind::Restore => "restore",
            Kind::PreDump => "pre-dump",
            _ => "dump",
        };
        let mut lines = decisive(&self.text);
        if lines.is_empty() {
            lines.extend(message);
        }
        let log = format!("CRIU's log is {}", self.path.display());
        let hint = match advice(&self.text) {
            Some(advice) => format!("{advice}; {log}"),
            None => log,
        };
        Error::new(format!("criu failed to {what}: {}", lines.join("; "))).hint(hint)
    }
}

fn read_log(work: BorrowedFd, name: &str) -> crate::sys::Sys<String> {
    let name = path::c_string(name)?;
    let file = path::open_at(Some(work), &name, libc::O_RDONLY | libc::O_NOFOLLOW, 0)?;
    let bytes = file::read_open(file.as_fd())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
