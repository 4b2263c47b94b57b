//! Executes `criu swrk`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::error::{Call as _, Context as _, Error};
use crate::plan::{Cpus, DEFAULT_PATH, RestoreSteps};
use crate::run::{self, failure, program};
use crate::sys::exec::{self, StringArray};
use crate::sys::path::Make;
use crate::sys::process::{self, Cloned};
use crate::sys::{
    Fail, Reported, Sys, inherited, io, mount, path, schedule, signals, socket, stat,
};

const PROGRAM: &str = "criu";

/// What to do about a missing or unusable CRIU.
pub(super) const INSTALL: &str =
    "install CRIU 4.0 or later: Debian 13 and Fedora have it as the package criu";

/// How CRIU is executed. Its standard streams are those of the runtime.
#[derive(Default)]
pub(crate) struct Launch<'a> {
    /// Descriptors that it inherits with their numbers.
    pub descriptors: Vec<RawFd>,
    /// If set, it has what the processes inherit that it restores.
    pub steps: Option<&'a RestoreSteps>,
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
            let failed = match prepare(how, &other) {
                Ok(()) => Failed::of_no_step(execute(&file, other.as_raw_fd())),
                Err(failed) => failed,
            };
            let _ = io::write_all(fail_end.as_fd(), &failed.encode());
            process::exit(127)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((other, fail_end));
            let mut told = [0; Failed::LENGTH];
            let length = io::read(failed.as_fd(), &mut told).context(PROGRAM)?;
            if let Some(failed) = Failed::decode(&told[..length]) {
                process::end(pidfd.as_fd());
                bail!(failed.error(name, how));
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

/// Why the new process has not executed CRIU.
struct Failed {
    /// The place of the step in [`RestoreSteps::inherited`], if it was one.
    step: Option<u32>,
    told: Reported,
}

impl Failed {
    const LENGTH: usize = size_of::<u32>() + Reported::LENGTH;
    /// In place of a step.
    const NO_STEP: u32 = u32::MAX;

    fn of_no_step(fail: Fail) -> Self {
        let told = Reported::from(fail);
        Self { step: None, told }
    }

    fn encode(&self) -> Vec<u8> {
        let step = self.step.unwrap_or(Self::NO_STEP).to_ne_bytes();
        [&step[..], &self.told.encode()].concat()
    }

    /// `None` if the bytes are too few, as when CRIU has been executed.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (step, told) = bytes.split_first_chunk()?;
        let step = u32::from_ne_bytes(*step);
        Some(Self {
            step: (step != Self::NO_STEP).then_some(step),
            told: Reported::decode(told)?,
        })
    }

    /// The error for the caller. `name` is the file of CRIU.
    fn error(&self, name: String, how: &Launch) -> Error {
        let planned = self.step.and_then(|step| {
            let steps = &how.steps?.inherited;
            steps.get(usize::try_from(step).ok()?)
        });
        match planned {
            Some(planned) => failure::step_failed(planned, self.told.fail()),
            None => Error::failed(name, self.told.fail()),
        }
    }
}

/// In the new process.
fn prepare(how: &Launch, socket: &OwnedFd) -> std::result::Result<(), Failed> {
    if let Some(own) = how.own {
        own_mounts(own).map_err(Failed::of_no_step)?;
    }
    if let Some(steps) = how.steps {
        set_inherited(steps)?;
    }
    pass_on(how, socket).map_err(Failed::of_no_step)
}

/// Sets what each restored process inherits from this one. Without that they would have the keys, the
/// CPUs and the priority of the caller.
fn set_inherited(steps: &RestoreSteps) -> std::result::Result<(), Failed> {
    if steps.cpus == Cpus::All {
        schedule::use_every_cpu();
    }
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let proc = path::open(c"/proc", directory).map_err(Failed::of_no_step)?;
    for (step, planned) in (0..).zip(steps.inherited.iter()) {
        run::perform_inherited(&planned.step, || Ok(proc.as_fd())).map_err(|fail| Failed {
            step: Some(step),
            told: Reported::from(fail),
        })?;
    }
    Ok(())
}

/// The numbers of inherited descriptors are part of the request, so they stay.
fn pass_on(how: &Launch, socket: &OwnedFd) -> Sys<()> {
    process::close_on_exec_from(3)?;
    let numbers = how.descriptors.iter().copied();
    for number in numbers.chain([socket.as_raw_fd()]) {
        inherit(process::descriptor_of(number))?;
    }
    // CRIU keeps the runtime's limit of open files: it needs many descriptors, and the processes get
    // the limits of their images.
    inherited::default_signals()?;
    signals::unblock()
}

fn inherit(fd: BorrowedFd) -> Sys<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))
        .map(drop)
        .map_err(|errno| Fail::new("fcntl(F_SETFD)", errno))
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
fn execute(file: &CStr, socket: RawFd) -> Fail {
    let number = CString::new(socket.to_string()).unwrap_or_default();
    let args = StringArray::new([c"criu", c"swrk", &number].into_iter());
    let own = exec::environment();
    let has_path = own.iter().any(|it| it.to_bytes().starts_with(b"PATH="));
    let path = CString::new(format!("PATH={}", DEFAULT_PATH)).unwrap_or_default();
    let more = (!has_path).then_some(path.as_c_str());
    exec::execve(file, &args, &StringArray::new(own.iter().chain(more)))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::plan::InheritedStep;

    #[test]
    fn a_failure_names_its_step() {
        let mut steps = RestoreSteps::default();
        steps
            .inherited
            .add("process.personality", InheritedStep::Personality(8));
        let how = Launch {
            steps: Some(&steps),
            ..Launch::default()
        };
        let told = |step| Failed {
            step,
            told: Reported::from(Fail::new("personality", Errno::EPERM)),
        };
        for (step, text) in [
            (
                Some(0),
                "process.personality: personality linux32: operation",
            ),
            (Some(1), "criu: personality: operation"),
            (None, "criu: personality: operation"),
        ] {
            let failed = Failed::decode(&told(step).encode()).expect("a whole message");
            let error = failed.error("criu".to_owned(), &how).to_string();
            assert!(error.starts_with(text), "{error}");
        }
        assert!(Failed::decode(&[]).is_none());
    }
}
