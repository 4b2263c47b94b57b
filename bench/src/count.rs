//! Counts the work of a runtime instead of its time: instructions or system calls, including those
//! of its children until each executes a program. The numbers do not depend on the load of the
//! machine.
//!
//! They are counted by ptrace(2), because callgrind ends a program at system calls that it does not
//! know, and virtual machines often lack an instruction counter. In a child, everything after
//! execve(2) is the container's own program and is not counted. When the runtime executes itself
//! again, counting continues.

use std::ffi::{CString, OsStr, c_char, c_int, c_uint};
use std::io::{Error, Read as _, Result, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::{null, null_mut};

use crate::trace::{self, Then, Tracer};

/// The unit of counting.
#[derive(Clone, Copy, PartialEq)]
pub enum What {
    /// Instructions in user space, by single-stepping: a thousand times slower than running freely.
    Instructions,
    /// Entries into system calls.
    Syscalls,
}

/// The result of counting.
#[derive(Debug, Default)]
pub struct Counted {
    /// Instructions or system calls, with those of the children.
    pub count: u64,
    /// The program's exit status.
    pub status: i32,
}

/// Runs the program until it ends, without input and output and with PATH as its only variable.
/// Processes that it leaves behind continue untraced.
///
/// # Errors
///
/// fork(2), ptrace(2) or wait4(2) failed, or the program cannot be executed.
pub fn run(what: What, argv: &[impl AsRef<OsStr>]) -> Result<Counted> {
    let strings: Vec<CString> = argv
        .iter()
        .map(|arg| CString::new(arg.as_ref().as_bytes()))
        .collect::<std::result::Result<_, _>>()?;
    let mut pointers: Vec<_> = strings.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(null());
    let (mut reader, mut writer) = std::io::pipe()?;
    // A separate process traces: when it ends, the traced processes are released.
    // SAFETY: callers are single-threaded, and the child ends by _exit(2).
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => {
            match trace(what, &pointers) {
                Ok(counted) => drop(writer.write_all(&encode(&counted))),
                Err(error) => eprintln!("count: {error}"),
            }
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        tracer => {
            drop(writer);
            let mut bytes = Vec::new();
            let result = reader.read_to_end(&mut bytes);
            // SAFETY: waits for a child of this process.
            unsafe { libc::waitpid(tracer, null_mut(), 0) };
            result?;
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
    // On a single processor the tracer and the traced process alternate faster than on two.
    let mut here = [0u64; 16];
    // SAFETY: the mask has the given size.
    unsafe {
        let processor = libc::sched_getcpu().max(0) as usize;
        here[processor / 64] = 1 << (processor % 64);
        libc::sched_setaffinity(0, size_of_val(&here), here.as_ptr().cast());
    }
    // SAFETY: the closure makes only calls that are safe after fork(2). Its pointers are to C
    // strings, and the arrays end with null.
    let root = trace::start(|| unsafe {
        let null_device = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        libc::dup2(null_device, 0);
        libc::dup2(null_device, 1);
        // The same addresses every time, so that the same instructions are executed.
        libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
        libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, 0);
        libc::execve(argv[0], argv.as_ptr(), environment.as_ptr());
    })?;
    let mut count = 0;
    let tracer = Tracer::new(root, |_| {
        count += 1;
        Then::GoOn
    });
    let ended = tracer.single_steps(what == What::Instructions).follow()?;
    Ok(Counted {
        count,
        status: exit_status(ended.status),
    })
}

fn exit_status(status: c_int) -> i32 {
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}
