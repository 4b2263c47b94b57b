//! A caller of the runtime that passes on process attributes which a careful caller would reset.
//!
//! The runtime inherits signals, masks, limits and open files from its caller. Real callers have
//! each [`Trait`]: nohup(1), a Python daemon, `su -s`, a service manager, a shell.

use std::ffi::{CString, OsString};
use std::io::Error;
use std::process::ExitCode;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// An inherited attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    /// SIGCHLD is ignored: the kernel then reaps the children.
    SigchldIgnored,
    /// Every signal is ignored, including real-time signals.
    SignalsIgnored,
    /// Every signal is blocked.
    SignalsBlocked,
    /// The umask is 0777.
    Umask,
    /// The standard streams are closed.
    StreamsClosed,
    /// The standard streams are /dev/null, open for reading only, as with containerd.
    StreamsReadonly,
    /// At most [`FEW`] descriptors, with a higher hard limit.
    FewDescriptors,
    /// At most [`FEW`] descriptors; only CAP_SYS_RESOURCE can raise the limit.
    FewDescriptorsAtMost,
    /// RLIMIT_FSIZE is 0.
    NoFileSize,
    /// The process is pinned to one CPU.
    OneCpu,
    /// The working directory was removed.
    DirectoryRemoved,
    /// NOTIFY_SOCKET names a socket of a service manager that has exited.
    StaleNotifySocket,
}

use Trait::*;

/// The minimum for shells of hooks, which save their own descriptors from number 10 on.
pub const FEW: u64 = 12;

/// The traits that must not make the runtime fail.
pub const HARMLESS: [Trait; 9] = [
    SigchldIgnored,
    SignalsIgnored,
    SignalsBlocked,
    Umask,
    StreamsReadonly,
    FewDescriptors,
    OneCpu,
    DirectoryRemoved,
    StaleNotifySocket,
];

const ALL: [Trait; 12] = [
    SigchldIgnored,
    SignalsIgnored,
    SignalsBlocked,
    Umask,
    StreamsClosed,
    StreamsReadonly,
    FewDescriptors,
    FewDescriptorsAtMost,
    NoFileSize,
    OneCpu,
    DirectoryRemoved,
    StaleNotifySocket,
];

/// The arguments that run a command as the child of such a caller, for [`crate::Call::prefix`].
pub fn with(traits: &[Trait]) -> Vec<OsString> {
    let names: Vec<_> = traits.iter().map(|one| format!("{one:?}")).collect();
    let program = std::env::current_exe().expect("this program");
    let words = ["--probe".into(), "caller".into(), names.join(",").into()];
    [program.into()].into_iter().chain(words).collect()
}

/// Becomes the caller and executes the command.
pub fn main(traits: &str, command: &[&str]) -> ExitCode {
    let strings: Vec<_> = command
        .iter()
        .map(|word| CString::new(*word).expect("no NUL"))
        .collect();
    for one in ALL {
        if traits.split(',').any(|name| name == format!("{one:?}")) {
            one.take()
                .unwrap_or_else(|error| panic!("{one:?}: {error}"));
        }
    }
    // Uses execv(2) directly: the standard library would reset signals.
    let error = nix::unistd::execv(&strings[0], &strings).expect_err("execv returns errors only");
    eprintln!("{}: {error}", command[0]);
    ExitCode::from(127)
}

impl Trait {
    fn take(self) -> Result<(), Error> {
        match self {
            SigchldIgnored => ignore(libc::SIGCHLD),
            SignalsIgnored => (1..=64)
                .filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal))
                .try_for_each(ignore),
            SignalsBlocked => block_all(),
            Umask => {
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
                Ok(())
            }
            StreamsClosed => {
                // SAFETY: nothing uses the streams before execve(2).
                (0..3).for_each(|stream| _ = unsafe { libc::close(stream) });
                Ok(())
            }
            StreamsReadonly => {
                let null = std::fs::File::open("/dev/null")?;
                for stream in 0..3 {
                    let null = std::os::fd::AsRawFd::as_raw_fd(&null);
                    // SAFETY: takes no pointers; closing the stream's old file is intended.
                    check(unsafe { libc::dup2(null, stream) }.into())?;
                }
                Ok(())
            }
            FewDescriptors => limit(Resource::RLIMIT_NOFILE, FEW, false),
            FewDescriptorsAtMost => limit(Resource::RLIMIT_NOFILE, FEW, true),
            NoFileSize => limit(Resource::RLIMIT_FSIZE, 0, true),
            OneCpu => Ok(pin(&one_cpu())?),
            DirectoryRemoved => {
                let name = format!("runtime-tests-gone-{}", std::process::id());
                let directory = std::env::temp_dir().join(name);
                std::fs::create_dir(&directory)?;
                std::env::set_current_dir(&directory)?;
                std::fs::remove_dir(&directory)
            }
            StaleNotifySocket => {
                // SAFETY: the program is single-threaded here.
                unsafe { std::env::set_var("NOTIFY_SOCKET", "/nonexistent/notify") };
                Ok(())
            }
        }
    }
}

fn check(returned: libc::c_long) -> Result<(), Error> {
    match returned {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// The raw system call, because the C library reserves signals 32 and 33 for itself.
fn ignore(signal: i32) -> Result<(), Error> {
    // The kernel's struct sigaction begins with the handler.
    let ignored = [libc::SIG_IGN as u64, 0, 0, 0];
    let none = std::ptr::null::<u8>();
    // SAFETY: the kernel reads the action, which contains no handler.
    check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &ignored, none, 8) })
}

fn block_all() -> Result<(), Error> {
    let all = u64::MAX;
    let none = std::ptr::null::<u8>();
    let how = libc::SIG_SETMASK;
    // SAFETY: the kernel reads the mask.
    check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &all, none, 8) })
}

fn limit(resource: Resource, value: u64, hard: bool) -> Result<(), Error> {
    let at_most = if hard { value } else { getrlimit(resource)?.1 };
    Ok(setrlimit(resource, value, at_most)?)
}

/// The CPUs that this process may use.
pub fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the affinity");
    (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect()
}

fn one_cpu() -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpus()[0]).expect("a CPU of the set");
    set
}

fn pin(set: &CpuSet) -> nix::Result<()> {
    sched_setaffinity(Pid::from_raw(0), set)
}
