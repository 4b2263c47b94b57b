//! Traces a program and its children by ptrace(2) and stops each at its system calls, where they
//! can be counted, made to fail, or used to kill the process.
//!
//! A child is traced until it executes a program, which is the container's own or a hook's. If the
//! program itself executes another one, that is traced too.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::io::{Error, Result};
use std::ptr::null_mut;
use std::time::Duration;

// When the tracer ends, the traced processes are killed, so that none keeps running.
const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// The stop of a system call, with PTRACE_O_TRACESYSGOOD.
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;

/// The signals of a crash. They do not end the first process of a pid namespace while it is traced,
/// so the tracer kills it.
const CRASHES: [c_int; 6] = [
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGSYS,
];

/// The events at which a process gets a child.
const BIRTHS: [c_int; 3] = [
    libc::PTRACE_EVENT_FORK,
    libc::PTRACE_EVENT_VFORK,
    libc::PTRACE_EVENT_CLONE,
];

/// The place where a process has stopped.
pub enum Stop {
    /// Before an instruction.
    Instruction,
    /// Before a system call.
    Call(Call),
}

/// A system call that the kernel is about to execute.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// 0 for the program, then its children in the order of their creation.
    pub process: usize,
    /// Of the process that makes it.
    pub pid: i32,
    /// `SYS_*`.
    pub number: i64,
    /// The registers of its arguments, unused ones included.
    pub args: [u64; 6],
}

/// The way in which a process continues.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// The system call is executed.
    GoOn,
    /// The system call is skipped and returns this errno.
    Fail(c_int),
    /// The system call is executed, but returns this errno.
    MakeAndFail(c_int),
    /// The process is killed instead.
    Kill,
}

/// The result of tracing.
#[derive(Debug, Default)]
pub struct Ended {
    /// The program's wait status.
    pub status: c_int,
    /// Whether the program did not end in time and was killed.
    pub hung: bool,
    /// What the processes were waiting in then, one line each.
    pub hung_in: Vec<String>,
    /// The processes that a signal has ended, including by their own fault, and the signals.
    pub signals: Vec<(usize, c_int)>,
}

/// Forks. The child waits until it is traced, then runs `execute`, which should end by execve(2).
///
/// # Errors
///
/// Those of fork(2) and ptrace(2).
pub fn start(execute: impl FnOnce()) -> Result<i32> {
    let mut gate = [0; 2];
    // SAFETY: the pipe has room for two descriptors. Callers have no other thread that holds a lock
    // which `execute` needs; the child ends by execve(2) or _exit(2).
    let root = unsafe {
        if libc::pipe2(gate.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(Error::last_os_error());
        }
        let root = libc::fork();
        if root == 0 {
            let mut byte = 0u8;
            libc::close(gate[1]);
            libc::read(gate[0], (&raw mut byte).cast(), 1);
            execute();
            libc::_exit(127);
        }
        libc::close(gate[0]);
        root
    };
    let seized = match root {
        ..0 => Err(Error::last_os_error()),
        _ => request(libc::PTRACE_SEIZE, root, OPTIONS),
    };
    // SAFETY: closing this end of the pipe lets the child continue.
    unsafe { libc::close(gate[1]) };
    seized.map(|()| root)
}

/// Traces a process from [`start`].
pub struct Tracer<F> {
    root: i32,
    single_steps: bool,
    /// How long nothing may stop or end before the program counts as hung.
    patience: Option<Duration>,
    /// How long nothing has stopped or ended, as the sum of this process's own waits: time in which
    /// the machine does not let this process run is not the program's fault.
    quiet: Duration,
    /// Whether the program itself has been executed.
    begun: bool,
    /// The numbers of the processes, including those that were released.
    processes: HashMap<i32, usize>,
    /// The traced processes, with the errno that the current system call of each has to return.
    traced: HashMap<i32, Option<c_int>>,
    ended: Ended,
    at: F,
}

impl<F: FnMut(Stop) -> Then> Tracer<F> {
    /// Calls `at` whenever a process stops.
    pub fn new(root: i32, at: F) -> Self {
        Self {
            root,
            single_steps: false,
            patience: None,
            quiet: Duration::ZERO,
            begun: false,
            processes: HashMap::from([(root, 0)]),
            traced: HashMap::from([(root, None)]),
            ended: Ended::default(),
            at,
        }
    }

    /// Stops before each instruction instead of at each system call, which is a thousand times
    /// slower.
    #[must_use]
    pub fn single_steps(self, single_steps: bool) -> Self {
        Self {
            single_steps,
            ..self
        }
    }

    /// Kills every traced process when none has stopped or ended for this time.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Traces a running process, as the next child.
    ///
    /// # Errors
    ///
    /// Those of ptrace(2).
    pub fn attach(mut self, pid: i32) -> Result<Self> {
        request(libc::PTRACE_SEIZE, pid, OPTIONS)?;
        request(libc::PTRACE_INTERRUPT, pid, 0)?;
        self.number(pid);
        self.traced.insert(pid, None);
        Ok(self)
    }

    /// Traces until the program has ended and the processes that it has left wait for something.
    /// Those continue.
    ///
    /// # Errors
    ///
    /// Those of ptrace(2) and waitpid(2).
    pub fn follow(mut self) -> Result<Ended> {
        let blocked = Blocked::new();
        let mut over = false;
        loop {
            let mut status = 0;
            // SAFETY: the status is writable.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::WNOHANG) };
            match pid {
                ..0 if over => return Ok(self.ended),
                ..0 => return Err(Error::last_os_error()),
                0 if over && self.traced.keys().all(|pid| is_asleep(*pid)) => {
                    self.traced.keys().try_for_each(|pid| set_free(*pid))?;
                    return Ok(self.ended);
                }
                0 if self.is_late() => self.give_up(),
                0 => self.quiet += blocked.wait(over),
                _ if libc::WIFSTOPPED(status) => {
                    self.quiet = Duration::ZERO;
                    self.stopped(pid, libc::WSTOPSIG(status), status >> 16)?;
                }
                _ => {
                    self.quiet = Duration::ZERO;
                    self.gone(pid, status);
                    over |= pid == self.root;
                }
            }
        }
    }

    fn is_late(&self) -> bool {
        !self.ended.hung && self.patience.is_some_and(|patience| self.quiet > patience)
    }

    fn give_up(&mut self) {
        self.ended.hung = true;
        for pid in self.traced.keys() {
            self.ended.hung_in.push(waits_in(*pid));
            kill(*pid);
        }
    }

    fn gone(&mut self, pid: i32, status: c_int) {
        if pid == self.root {
            self.ended.status = status;
        }
        if self.traced.remove(&pid).is_some() && libc::WIFSIGNALED(status) {
            let process = self.number(pid);
            let signal = libc::WTERMSIG(status);
            self.ended.signals.push((process, signal));
        }
    }

    /// A process with a number has been seen before, and may have been released.
    fn born(&mut self, pid: i32) {
        if pid != 0 && !self.processes.contains_key(&pid) {
            self.number(pid);
            self.traced.insert(pid, None);
        }
    }

    fn number(&mut self, pid: i32) -> usize {
        let next = self.processes.len();
        *self.processes.entry(pid).or_insert(next)
    }

    /// Handles a stop and continues the process.
    fn stopped(&mut self, pid: i32, signal: c_int, event: c_int) -> Result<()> {
        self.traced.entry(pid).or_default();
        let process = self.number(pid);
        match (signal, event) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) if pid == self.root => self.begun = true,
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) => {
                self.traced.remove(&pid);
                return alive(request(libc::PTRACE_DETACH, pid, 0));
            }
            (libc::SIGTRAP, 0) if self.single_steps && self.begun => {
                (self.at)(Stop::Instruction);
            }
            (libc::SIGTRAP, event) if BIRTHS.contains(&event) => self.born(event_message(pid)?),
            (SYSCALL_STOP, _) if self.begun => alive(self.system_call(process, pid))?,
            (SYSCALL_STOP, _) | (_, libc::PTRACE_EVENT_STOP) | (libc::SIGTRAP, _) => {}
            (signal, _) if CRASHES.contains(&signal) => {
                self.ended.signals.push((process, signal));
                kill(pid);
            }
            (signal, _) => return self.resume(pid, signal),
        }
        self.resume(pid, 0)
    }

    fn system_call(&mut self, process: usize, pid: i32) -> Result<()> {
        let Some((number, args)) = entry(pid)? else {
            return match self.traced.insert(pid, None).flatten() {
                Some(errno) => poke(pid, RESULT, -i64::from(errno)),
                None => Ok(()),
            };
        };
        let call = Call {
            process,
            pid,
            number,
            args,
        };
        match (self.at)(Stop::Call(call)) {
            Then::GoOn => {}
            Then::Kill => kill(pid),
            Then::Fail(errno) => {
                self.traced.insert(pid, Some(errno));
                poke(pid, NUMBER, -1)?;
            }
            Then::MakeAndFail(errno) => drop(self.traced.insert(pid, Some(errno))),
        }
        Ok(())
    }

    fn resume(&self, pid: i32, signal: c_int) -> Result<()> {
        let how = match self.single_steps {
            true if self.begun => libc::PTRACE_SINGLESTEP,
            true => libc::PTRACE_CONT,
            false => libc::PTRACE_SYSCALL,
        };
        alive(request(how, pid, signal))
    }
}

/// Blocks SIGCHLD, which reports that a process has stopped or ended, until it is waited for.
struct Blocked {
    child: libc::sigset_t,
    before: libc::sigset_t,
}

impl Blocked {
    fn new() -> Self {
        // SAFETY: signal sets are plain data, and initialised by sigemptyset(3) and sigprocmask(2).
        unsafe {
            let mut sets: Self = std::mem::zeroed();
            libc::sigemptyset(&mut sets.child);
            libc::sigaddset(&mut sets.child, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_BLOCK, &sets.child, &mut sets.before);
            sets
        }
    }

    /// Polls if `poll`, because there is no event for a process that falls asleep. Returns the time
    /// that has passed without a signal.
    fn wait(&self, poll: bool) -> Duration {
        let milliseconds = if poll { 1 } else { 200 };
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: milliseconds * 1_000_000,
        };
        // SAFETY: the call reads its arguments.
        match unsafe { libc::sigtimedwait(&self.child, null_mut(), &timeout) } {
            ..0 => Duration::from_millis(milliseconds as u64),
            _ => Duration::ZERO,
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was initialised when this value was created.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, null_mut()) };
    }
}

/// A process that was killed meanwhile is not an error: waitpid(2) will report it.
fn alive(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

fn kill(pid: i32) {
    // SAFETY: takes no pointers. This process traces the process, so the pid has not been reused.
    unsafe { libc::kill(pid, libc::SIGKILL) };
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

/// The child's pid at one of [`BIRTHS`]; 0 if the process has been killed meanwhile.
fn event_message(pid: i32) -> Result<i32> {
    let mut message: libc::c_ulong = 0;
    let place = (&raw mut message).cast::<c_void>();
    // SAFETY: the buffer is as large as the message.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, null_mut::<c_void>(), place) };
    alive(if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    })?;
    Ok(message as i32)
}

/// Offsets of registers.
const NUMBER: usize = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
const RESULT: usize = std::mem::offset_of!(libc::user_regs_struct, rax);

fn poke(pid: i32, place: usize, value: i64) -> Result<()> {
    // SAFETY: the address is an offset into the registers, not a pointer.
    match unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, place, value) } {
        ..0 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The system call at whose entry a process has stopped. `None` if it has stopped at the exit.
fn entry(pid: i32) -> Result<Option<(i64, [u64; 6])>> {
    const PTRACE_GET_SYSCALL_INFO: c_uint = 0x420e;
    const PTRACE_SYSCALL_INFO_ENTRY: u64 = 1;
    // struct ptrace_syscall_info: the first byte is the kind of stop. Three words follow and, for
    // an entry, the number and the arguments.
    let mut info = [0u64; 11];
    // SAFETY: the buffer has the given size.
    let result = unsafe {
        libc::ptrace(
            PTRACE_GET_SYSCALL_INFO as _,
            pid,
            size_of_val(&info),
            info.as_mut_ptr(),
        )
    };
    if result < 0 {
        return Err(Error::last_os_error());
    }
    let [kind, _, _, number, rest @ ..] = info;
    let args = *rest.first_chunk().expect("six arguments");
    Ok((kind & 0xff == PTRACE_SYSCALL_INFO_ENTRY).then_some((number as i64, args)))
}

/// Detaches. If the tracer just ended, the single-step flag would stay set and turn the next
/// instruction into a signal.
fn set_free(pid: i32) -> Result<()> {
    request(libc::PTRACE_INTERRUPT, pid, 0)?;
    // SAFETY: waits for the stop that was requested.
    unsafe { libc::waitpid(pid, null_mut(), libc::__WALL) };
    alive(request(libc::PTRACE_DETACH, pid, 0))
}

/// The state of a process, its system call, and where in the kernel it is.
fn waits_in(pid: i32) -> String {
    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let state = stat.rsplit(") ").next().and_then(|rest| rest.get(..1));
    let (call, stack) = (read("syscall"), read("stack"));
    let stack: Vec<_> = stack
        .lines()
        .map(|line| line.replace("[<0>] ", ""))
        .collect();
    let state = state.unwrap_or("gone");
    format!(
        "process {pid}: {state}, {}, {}",
        call.trim(),
        stack.join(" < ")
    )
}

/// Whether a process sleeps in a system call, and is not stopped by the tracer.
fn is_asleep(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.starts_with('S') || rest.is_empty())
}
