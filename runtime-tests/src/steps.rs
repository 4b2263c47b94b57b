//! A program that stops at each of its system calls, or whose children do, by ptrace(2). Actions of
//! other processes happen at a known moment, however fast or busy the machine is.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::call::{Call, Output, Running};

/// The maximum length of a path in an argument.
const LONGEST: usize = 4096;

/// The stopped program. Only the thread that started it can continue it.
pub struct Steps {
    running: Running,
    memory: File,
    /// The wait status, once the program has ended.
    ended: Option<WaitStatus>,
}

impl Steps {
    /// Starts the program and stops it before its first instruction. Its children are not traced.
    #[track_caller]
    pub fn begin(call: Call) -> Self {
        let (running, pid) = begin(call, ptrace::Options::empty());
        let memory = memory(pid);
        Self {
            running,
            memory,
            ended: None,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.running.pid())
    }

    /// Continues to the entry of the next system call, before the kernel executes it. `None` if the
    /// program has ended instead.
    #[track_caller]
    pub fn advance(&mut self) -> Option<Entry<'_>> {
        loop {
            let arguments = self.next_stop()?;
            if let Some(arguments) = arguments {
                let memory = &self.memory;
                return Some(Entry { memory, arguments });
            }
        }
    }

    /// Continues to the first system call after one with `text` in an argument.
    ///
    /// # Panics
    /// If the program ends without such a call.
    #[track_caller]
    pub fn pass(&mut self, text: &str) {
        let mut named = false;
        while !named {
            let entry = self.advance();
            named = entry.expect("a system call with that name").names(text);
        }
        self.advance().expect("a system call behind it");
    }

    /// Continues to the next stop at a system call. Returns the arguments if it is an entry.
    #[track_caller]
    fn next_stop(&mut self) -> Option<Option<[u64; 6]>> {
        let mut signal = None;
        loop {
            if self.ended.is_some() {
                return None;
            }
            ptrace::syscall(self.pid(), signal.take()).expect("ptrace(PTRACE_SYSCALL)");
            match waitpid(self.pid(), Some(WaitPidFlag::__WALL)).expect("wait for the program") {
                WaitStatus::PtraceSyscall(pid) => return Some(entry_arguments(pid)),
                // After execve(2) the program has another memory.
                WaitStatus::Stopped(pid, Signal::SIGTRAP) => self.memory = memory(pid),
                WaitStatus::PtraceEvent(..) => {}
                WaitStatus::Stopped(_, other) => signal = Some(other),
                ended => self.ended = Some(ended),
            }
        }
    }

    /// Sends the program a signal, which it gets when it goes on.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("signal the program");
    }

    /// Kills the program where it is.
    #[track_caller]
    pub fn kill(mut self) {
        nix::sys::signal::kill(self.pid(), Signal::SIGKILL).expect("kill the program");
        let ended = waitpid(self.pid(), Some(WaitPidFlag::__WALL)).expect("wait for the program");
        self.ended = Some(ended);
        self.finish();
    }

    /// Lets the program run to its end.
    #[track_caller]
    pub fn finish(self) -> Output {
        match self.ended {
            Some(ended) => self.running.ended(ended),
            None => {
                ptrace::detach(self.pid(), None).expect("ptrace(PTRACE_DETACH)");
                self.running.finish()
            }
        }
    }
}

/// Runs the program, and stops each process that it makes at each system call of that process.
/// Calls `look` with the process, and with whether it has executed another program. The program
/// itself does not stop.
#[track_caller]
pub fn with_children(call: Call, mut look: impl FnMut(Pid, bool)) -> Output {
    let (running, program) = begin(
        call,
        ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACEVFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_TRACEEXEC,
    );
    ptrace::cont(program, None).expect("ptrace(PTRACE_CONT)");
    // Whether each has executed a program.
    let mut children = BTreeMap::new();
    let mut ended = None;
    while ended.is_none() || !children.is_empty() {
        let any = Some(WaitPidFlag::__WALL);
        let (pid, signal) = match waitpid(None, any).expect("a process that stops") {
            WaitStatus::PtraceSyscall(pid) => {
                if let (Some(&executed), Some(_)) = (children.get(&pid), entry_arguments(pid)) {
                    look(pid, executed);
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if let (Some(executed), libc::PTRACE_EVENT_EXEC) = (children.get_mut(&pid), event) {
                    *executed = true;
                }
                (pid, None)
            }
            // The kernel stops a new process so before its first instruction.
            WaitStatus::Stopped(pid, Signal::SIGSTOP)
                if pid != program && !children.contains_key(&pid) =>
            {
                children.insert(pid, false);
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                children.remove(&pid);
                if pid == program {
                    ended = Some(status);
                }
                continue;
            }
            _ => continue,
        };
        // A process that has been killed meanwhile cannot go on.
        let _ = if children.contains_key(&pid) {
            ptrace::syscall(pid, signal)
        } else {
            ptrace::cont(pid, signal)
        };
    }
    running.ended(ended.expect("the loop ends with the program"))
}

/// Starts the program and stops it before its first instruction.
#[track_caller]
fn begin(call: Call, options: ptrace::Options) -> (Running, Pid) {
    let running = call.traced().spawn();
    let pid = Pid::from_raw(running.pid());
    let stopped = waitpid(pid, None).expect("the program is executed");
    assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGTRAP));
    // A program of a failed case must not keep running.
    let always = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options | always).expect("options of ptrace");
    (running, pid)
}

#[track_caller]
fn memory(pid: Pid) -> File {
    File::open(format!("/proc/{pid}/mem")).expect("memory of the program")
}

/// A system call that the kernel is about to execute.
pub struct Entry<'a> {
    memory: &'a File,
    arguments: [u64; 6],
}

impl Entry<'_> {
    /// Whether an argument is a string that contains `text`.
    pub fn names(&self, text: &str) -> bool {
        self.arguments.iter().any(|&address| {
            let mut bytes = vec![0; LONGEST];
            let length = self.memory.read_at(&mut bytes, address).unwrap_or(0);
            let string = bytes[..length].split(|&byte| byte == 0).next();
            let string = string.unwrap_or_default();
            let mut parts = string.windows(text.len());
            parts.any(|part| part == text.as_bytes())
        })
    }
}

/// PTRACE_GET_SYSCALL_INFO of ptrace(2).
fn entry_arguments(pid: Pid) -> Option<[u64; 6]> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const ENTRY: u64 = 1;
    let mut info = [0u64; 11];
    // SAFETY: the buffer has the given size.
    let done = unsafe {
        libc::ptrace(
            PTRACE_GET_SYSCALL_INFO as _,
            pid.as_raw(),
            size_of_val(&info),
            info.as_mut_ptr(),
        )
    };
    assert!(done > 0, "ptrace(PTRACE_GET_SYSCALL_INFO)");
    // The first byte is the kind of the stop. Two addresses, the number and six arguments follow.
    let arguments = info[4..10].try_into().expect("six");
    (u64::from(info[0].to_ne_bytes()[0]) == ENTRY).then_some(arguments)
}
