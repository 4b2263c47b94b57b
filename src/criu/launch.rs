//! Executes `criu swrk`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::error::{Call as _, Context as _, Error};
use crate::plan::DEFAULT_PATH;
use crate::run::program;
use crate::sys::exec::{self, StringArray};
use crate::sys::path::Make;
use crate::sys::process::{self, Cloned};
use crate::sys::{Reported, Sys, inherited, io, mount, path, socket, stat};

const PROGRAM: &str = "criu";

/// What to do about a missing or unusable CRIU.
pub(super) const INSTALL: &str =
    "install CRIU 4.0 or later: Debian 13 and Fedora have it as the package criu";

/// How CRIU is executed. Its standard streams are those of the runtime.
#[derive(Default)]
pub(crate) struct Launch<'a> {
    /// Descriptors that it inherits with their numbers.
    pub inherited: Vec<RawFd>,
    /// If set, it runs in a mount namespace of its own.
    pub own: Option<&'a Own<'a>>,
}

/// The mounts that exist in CRIU's mount namespace alone, so that nothing is left of them whatever
/// happens to CRIU.
pub(crate) struct Own<'a> {
    /// The path of the container's root. CRIU restores only into a mount.
    pub root: CString,
    /// The mount for it.
    pub root_tree: &'a OwnedFd,
    /// A directory that these mounts cover, each with its number as name.
    pub staging: CString,
    pub staged: &'a [(usize, OwnedFd)],
}

/// The running program, and this end of the connection.
pub(super) struct Launched {
    pub socket: OwnedFd,
    pub pid: i32,
    pub pidfd: Rc<OwnedFd>,
}

/// Executes CRIU.
///
/// # Errors
/// It is not installed, or a system call failed.
pub(super) fn launch(how: &Launch) -> Result<Launched> {
    let file = find()?;
    let name = file.display().to_string();
    let (socket, other) = socket::pair().context(PROGRAM)?;
    let (failed, fail_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
        .call("pipe2")
        .context(PROGRAM)?;
    let file = path::c_string(&file).context(PROGRAM)?;
    match process::clone3(0, None, false).context(PROGRAM)? {
        Cloned::Child => {
            let fail = match prepare(how, &other) {
                Ok(()) => execute(&file, other.as_raw_fd()),
                Err(fail) => fail,
            };
            let _ = io::write_all(fail_end.as_fd(), &Reported::from(fail).encode());
            process::exit(127)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((other, fail_end));
            let mut told = [0; Reported::LENGTH];
            let length = io::read(failed.as_fd(), &mut told).context(PROGRAM)?;
            if let Some(told) = Reported::decode(&told[..length]) {
                process::end(pidfd.as_fd());
                bail!(Error::failed(name, told.fail()));
            }
            Ok(Launched {
                socket,
                pid,
                pidfd: Rc::new(pidfd),
            })
        }
    }
}

fn find() -> Result<PathBuf> {
    program::find(PROGRAM)?.ok_or_else(|| {
        Error::new("no program criu in the directories of $PATH")
            .hint(INSTALL)
            .into()
    })
}

/// In the new process. The numbers of inherited descriptors are part of the request, so they stay.
fn prepare(how: &Launch, socket: &OwnedFd) -> Sys<()> {
    if let Some(own) = how.own {
        own_mounts(own)?;
    }
    process::close_on_exec_from(3)?;
    let numbers = how.inherited.iter().copied();
    for number in numbers.chain([socket.as_raw_fd()]) {
        inherit(process::descriptor_of(number))?;
    }
    inherited::give_back()
}

fn inherit(fd: BorrowedFd) -> Sys<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))
        .map(drop)
        .map_err(|errno| crate::sys::Fail::new("fcntl(F_SETFD)", errno))
}

fn own_mounts(own: &Own) -> Sys<()> {
    process::unshare(libc::CLONE_NEWNS)?;
    mount::mount(c"", c"/", c"", libc::MS_SLAVE | libc::MS_REC, c"")?;
    let target = path::open(&own.root, libc::O_PATH | libc::O_DIRECTORY)?;
    mount::attach(own.root_tree.as_fd(), target.as_fd())?;
    // The root of a user namespace resolves the paths of these mounts.
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount::mount(c"tmpfs", &own.staging, c"tmpfs", flags, c"mode=0711")?;
    let staging = path::open(&own.staging, libc::O_PATH | libc::O_DIRECTORY)?;
    for (number, tree) in own.staged {
        let name = path::c_string(number.to_string())?;
        let make = if stat::is_directory(tree.as_fd())? {
            Make::Directory
        } else {
            Make::File
        };
        let target = path::open_or_make(staging.as_fd(), &name, make)?;
        mount::attach(tree.as_fd(), target.as_fd())?;
    }
    Ok(())
}

/// Returns only on failure. CRIU executes further programs, so it needs a PATH.
fn execute(file: &CStr, socket: RawFd) -> crate::sys::Fail {
    let number = CString::new(socket.to_string()).unwrap_or_default();
    let args = StringArray::new([c"criu", c"swrk", &number].into_iter());
    let own = exec::environment();
    let has_path = own.iter().any(|it| it.to_bytes().starts_with(b"PATH="));
    let path = CString::new(format!("PATH={}", DEFAULT_PATH)).unwrap_or_default();
    let more = (!has_path).then_some(path.as_c_str());
    exec::execve(file, &args, &StringArray::new(own.iter().chain(more)))
}
