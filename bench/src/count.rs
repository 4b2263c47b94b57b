//! Counts what a runtime does, not how long it takes: its instructions or its system calls, and
//! those of its children until each executes a program. Nothing the machine does beside changes
//! the numbers.
//!
//! ptrace(2) counts, since callgrind ends a program at system calls that it does not know and
//! virtual machines often have no counter of instructions. What follows execve(2) in a child is the
//! container's own program and not counted; when the runtime replaces itself it is.

use std::collections::HashSet;
use std::ffi::{CString, OsStr, c_char, c_int, c_uint, c_void};
use std::io::{Error, Read as _, Result, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::{null, null_mut};

/// What is counted.
#[derive(Clone, Copy, PartialEq)]
pub enum What {
    /// Instructions in user space, by single steps: a thousand times slower than free running.
    Instructions,
    /// Entries into system calls.
    Syscalls,
}

const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

/// A system call's stop, under PTRACE_O_TRACESYSGOOD.
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;

/// What has been counted.
#[derive(Debug, Default)]
pub struct Counted {
    pub count: u64,
    /// The program's exit status.
    pub status: i32,
}

/// Runs the program, without input and output and with PATH as its only variable, until it ends.
/// What it leaves behind runs on, untraced.
///
/// # Errors
///
/// fork(2), ptrace(2) or wait4(2) fails, or the program cannot be executed.
pub fn run(what: What, argv: &[impl AsRef<OsStr>]) -> Result<Counted> {
    let strings: Vec<CString> = argv
        .iter()
        .map(|arg| CString::new(arg.as_ref().as_bytes()))
        .collect::<std::result::Result<_, _>>()?;
    let mut pointers: Vec<_> = strings.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(null());
    let (mut answer, mut teller) = std::io::pipe()?;
    // A tracer of its own: the end of a tracer sets free what it traces.
    // SAFETY: callers have one thread; the child ends by _exit(2).
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => {
            match trace(what, &pointers) {
                Ok(counted) => drop(teller.write_all(&encode(&counted))),
                Err(error) => eprintln!("count: {error}"),
            }
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        tracer => {
            drop(teller);
            let mut bytes = Vec::new();
            let told = answer.read_to_end(&mut bytes);
            // SAFETY: waits for a child of ours.
            unsafe { libc::waitpid(tracer, null_mut(), 0) };
            told?;
            decode(&bytes).ok_or_else(|| Error::other("the tracer has failed"))
        }
    }
}

fn encode(counted: &Counted) -> Vec<u8> {
    let words = [counted.count, counted.status as u64];
    words.map(u64::to_ne_bytes).concat()
}

fn decode(bytes: &[u8]) -> Option<Counted> {
    let (words, _) = bytes.as_chunks();
    let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
    Some(Counted {
        count: words.next()?,
        status: words.next()? as i32,
    })
}

fn trace(what: What, argv: &[*const c_char]) -> Result<Counted> {
    let environment = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(), null()];
    // On one processor tracer and traced take turns faster than on two.
    let mut here = [0u64; 16];
    let mut gate = [0; 2];
    // SAFETY: mask and pipe are as large as is said. The child calls only what is safe after fork(2)
    // and ends by execve(2) or _exit(2); its pointers are to C strings and end with null.
    let root = unsafe {
        let processor = libc::sched_getcpu().max(0) as usize;
        here[processor / 64] = 1 << (processor % 64);
        libc::sched_setaffinity(0, size_of_val(&here), here.as_ptr().cast());
        libc::pipe2(gate.as_mut_ptr(), libc::O_CLOEXEC);
        let root = libc::fork();
        if root == 0 {
            let null_device = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            libc::dup2(null_device, 0);
            libc::dup2(null_device, 1);
            // The same addresses every time, so that the same instructions run.
            libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
            libc::close(gate[1]);
            libc::read(gate[0], here.as_mut_ptr().cast(), 1);
            libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, 0);
            libc::execve(argv[0], argv.as_ptr(), environment.as_ptr());
            libc::_exit(127);
        }
        root
    };
    if root < 0 {
        return Err(Error::last_os_error());
    }
    request(libc::PTRACE_SEIZE, root, OPTIONS)?;
    // SAFETY: the end of the pipe lets the child go on.
    unsafe { libc::close(gate[1]) };
    Tracer::new(what, root).follow()
}

struct Tracer {
    what: What,
    root: i32,
    /// Whether the runtime itself has been executed.
    begun: bool,
    count: u64,
    /// Who is traced.
    traced: HashSet<i32>,
}

impl Tracer {
    fn new(what: What, root: i32) -> Self {
        Self {
            what,
            root,
            begun: false,
            count: 0,
            traced: HashSet::from([root]),
        }
    }

    /// Until the runtime has ended and whoever it has left waits for something.
    fn follow(mut self) -> Result<Counted> {
        let mut end = None;
        loop {
            let mut status = 0;
            let wait = if end.is_some() { libc::WNOHANG } else { 0 };
            // SAFETY: the status is a place for the result.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | wait) };
            match (pid, end) {
                (..0, None) => return Err(Error::last_os_error()),
                (..0, Some(end)) => return Ok(self.ended(end)),
                (0, Some(end)) if self.traced.iter().all(|pid| is_asleep(*pid)) => {
                    self.traced.iter().try_for_each(|pid| set_free(*pid))?;
                    return Ok(self.ended(end));
                }
                (0, _) => std::thread::yield_now(),
                _ if libc::WIFSTOPPED(status) => {
                    self.stopped(pid, libc::WSTOPSIG(status), status >> 16)?;
                }
                _ => {
                    self.traced.remove(&pid);
                    if pid == self.root {
                        end = Some(exit_status(status));
                    }
                }
            }
        }
    }

    fn ended(self, status: i32) -> Counted {
        Counted {
            count: self.count,
            status,
        }
    }

    /// Counts a stop and lets the process go on.
    fn stopped(&mut self, pid: i32, signal: c_int, event: c_int) -> Result<()> {
        self.traced.insert(pid);
        match (signal, event) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) if pid == self.root => self.begun = true,
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) => {
                self.traced.remove(&pid);
                return request(libc::PTRACE_DETACH, pid, 0);
            }
            (libc::SIGTRAP, 0) if self.what == What::Instructions => {
                self.count += u64::from(self.begun);
            }
            (SYSCALL_STOP, _) => self.count += u64::from(self.begun && is_entry(pid)?),
            (_, libc::PTRACE_EVENT_STOP) | (libc::SIGTRAP, _) => {}
            (signal, _) => return self.resume(pid, signal),
        }
        self.resume(pid, 0)
    }

    fn resume(&self, pid: i32, signal: c_int) -> Result<()> {
        let how = match self.what {
            What::Instructions if self.begun => libc::PTRACE_SINGLESTEP,
            What::Instructions => libc::PTRACE_CONT,
            What::Syscalls => libc::PTRACE_SYSCALL,
        };
        match request(how, pid, signal) {
            // It was killed meanwhile; waitpid(2) will say so.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }
}

fn request(request: impl Into<i64>, pid: i32, data: c_int) -> Result<()> {
    // SAFETY: the requests used here take a number as their data.
    let result = unsafe {
        libc::ptrace(
            request.into() as _,
            pid,
            null_mut::<c_void>(),
            data as usize,
        )
    };
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether a stopped process is at the entry of a system call, not at its end.
fn is_entry(pid: i32) -> Result<bool> {
    const PTRACE_GET_SYSCALL_INFO: c_uint = 0x420e;
    const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;
    let mut info = [0u8; 88];
    // SAFETY: the place is as large as is said; its first byte is the kind of stop.
    let result = unsafe {
        libc::ptrace(
            PTRACE_GET_SYSCALL_INFO as _,
            pid,
            info.len(),
            info.as_mut_ptr(),
        )
    };
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(info[0] == PTRACE_SYSCALL_INFO_ENTRY)
    }
}

/// Detaches. A tracer that just ended would leave the flag that makes the next instruction a signal.
fn set_free(pid: i32) -> Result<()> {
    request(libc::PTRACE_INTERRUPT, pid, 0)?;
    // SAFETY: waits for the stop that was asked for.
    unsafe { libc::waitpid(pid, null_mut(), libc::__WALL) };
    request(libc::PTRACE_DETACH, pid, 0)
}

/// Whether a process sleeps in a system call, and not at a stop of ours.
fn is_asleep(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.starts_with('S') || rest.is_empty())
}

fn exit_status(status: c_int) -> i32 {
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}
