//! Starts programs and reports how long they took, with as little overhead as possible:
//! posix_spawn(3), which shares the address space until execve(2), then wait4(2).
//!
//! It reads one command per line from standard input, with values separated by tabs, and answers
//! each with a line on standard output. Programs run with standard input and output on /dev/null,
//! and with standard error in the file that is this program's only argument.
//!
//! ```text
//! run ARG…              ns status user_us system_us maxrss_kb minor_faults switches
//! together N ARG…       the same for N at a time; a "%" in an ARG is replaced by the number of
//! each,
//!                       from 0; status is the first that is not 0, the rest are sums
//! reap                  waits until no child is left, including containers' first processes,
//! because
//!                       this program is a subreaper; returns their number
//! mounts N DIRECTORY    a new mount namespace with N more mounts below DIRECTORY
//! ```

use std::ffi::{CString, c_char};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr::{null, null_mut};
use std::time::Instant;

/// The number of seconds after which a hanging program is killed.
const PATIENCE: u32 = 20;

extern "C" fn on_alarm(_: i32) {}

fn main() -> std::io::Result<()> {
    let errors = CString::new(std::env::args().nth(1).unwrap_or("/dev/null".into()))?;
    let (commands, answers) = (duplicate(0), duplicate(1));
    open_as(c"/dev/null", 0);
    open_as(c"/dev/null", 1);
    // Other processes of the machine must not delay the programs, which inherit the realtime class.
    let priority: i32 = 1;
    // SAFETY: calls with numbers, and with a struct of one number that outlives its call. Rust's
    // start ignores SIGPIPE, which the programs would inherit.
    unsafe {
        if libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_RR, &priority) != 0 {
            eprintln!("no realtime class: times depend on the load of the machine");
        }
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        // Without SA_RESTART, so that the signal interrupts a wait.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as usize;
        libc::sigaction(libc::SIGALRM, &action, null_mut());
    }
    open_as(&errors, 2);
    let mut answers = std::fs::File::from(answers);
    for line in BufReader::new(std::fs::File::from(commands)).lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        let answer = match words[..] {
            ["run", ref args @ ..] => measure(&[strings(args, 0)]),
            ["together", count, ref args @ ..] => {
                let count = count.parse().unwrap_or(1);
                measure(
                    &(0..count)
                        .map(|number| strings(args, number))
                        .collect::<Vec<_>>(),
                )
            }
            ["reap"] => reap(),
            ["mounts", count, directory] => mounts(count.parse().unwrap_or(0), directory),
            _ => "unknown command".to_owned(),
        };
        answers.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

/// A close-on-exec copy of a descriptor, with a number above the standard ones.
fn duplicate(fd: i32) -> OwnedFd {
    // SAFETY: fcntl(2) makes a new descriptor, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10)) }
}

fn open_as(path: &std::ffi::CStr, fd: i32) {
    // SAFETY: the path is a C string; dup2 replaces a standard descriptor on purpose.
    unsafe {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        let file = libc::open(path.as_ptr(), flags, 0o600);
        libc::dup2(file, fd);
        libc::close(file);
    }
}

fn strings(args: &[&str], number: usize) -> Vec<CString> {
    let number = number.to_string();
    args.iter()
        .filter_map(|arg| CString::new(arg.replace('%', &number)).ok())
        .collect()
}

/// Starts all programs and waits for all.
fn measure(programs: &[Vec<CString>]) -> String {
    let argvs: Vec<Vec<*const c_char>> = programs
        .iter()
        .map(|args| {
            args.iter()
                .map(|arg| arg.as_ptr())
                .chain([null()])
                .collect()
        })
        .collect();
    let mut pids = vec![0; argvs.len()];
    // SAFETY: rusage is plain numbers, for which all-zero is a valid value.
    let mut usages: Vec<libc::rusage> = vec![unsafe { std::mem::zeroed() }; argvs.len()];
    let mut statuses = vec![0; argvs.len()];
    // SAFETY: no other thread touches the environment.
    let environment = unsafe { environ };
    let begin = Instant::now();
    for (pid, argv) in pids.iter_mut().zip(&argvs) {
        // SAFETY: argv and the environment are arrays of C strings that end with null.
        let error = unsafe {
            libc::posix_spawn(
                pid,
                argv[0],
                null(),
                null(),
                argv.as_ptr().cast(),
                environment,
            )
        };
        if error != 0 {
            return format!("posix_spawn: errno {error}");
        }
    }
    // SAFETY: status and usage are writable; a hanging program is killed.
    unsafe {
        libc::alarm(PATIENCE);
        for (number, (usage, status)) in usages.iter_mut().zip(&mut statuses).enumerate() {
            while libc::wait4(pids[number], status, 0, usage) < 0 {
                for left in &pids[number..] {
                    libc::kill(*left, libc::SIGKILL);
                }
            }
        }
        libc::alarm(0);
    }
    let elapsed = begin.elapsed().as_nanos();
    let status = statuses
        .iter()
        .map(|status| exit_status(*status))
        .find(|status| *status != 0);
    let sum = |number: fn(&libc::rusage) -> i64| usages.iter().map(number).sum::<i64>();
    let micros = |time: &libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let (user, system) = (
        usages.iter().map(|u| micros(&u.ru_utime)).sum::<i64>(),
        usages.iter().map(|u| micros(&u.ru_stime)).sum::<i64>(),
    );
    let (rss, faults) = (sum(|u| u.ru_maxrss), sum(|u| u.ru_minflt));
    let switches = sum(|u| u.ru_nvcsw + u.ru_nivcsw);
    format!(
        "{elapsed} {} {user} {system} {rss} {faults} {switches}",
        status.unwrap_or(0)
    )
}

fn exit_status(status: i32) -> i32 {
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}

/// Waits for every child, including orphans that this process has adopted. Kills hanging ones.
fn reap() -> String {
    let mut count = 0;
    // SAFETY: wait4(2) with null for its results; kill(2) of children that were not waited for.
    unsafe {
        libc::alarm(PATIENCE);
        loop {
            match libc::wait4(-1, null_mut(), 0, null_mut()) {
                1.. => count += 1,
                _ if libc::alarm(PATIENCE) > 0 => break,
                _ => children().iter().for_each(|child| {
                    libc::kill(*child, libc::SIGKILL);
                }),
            }
        }
        libc::alarm(0);
    }
    count.to_string()
}

/// The children of this process, which is single-threaded. proc(5), /proc/PID/task/TID/children.
fn children() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn mounts(count: usize, directory: &str) -> String {
    // SAFETY: unshare(2) and mount(2) with C strings that outlive the calls.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return "unshare failed".to_owned();
        }
        for number in 0..count {
            let Ok(path) = CString::new(format!("{directory}/{number}")) else {
                continue;
            };
            libc::mkdir(path.as_ptr(), 0o755);
            let (path, kind) = (path.as_ptr(), c"tmpfs".as_ptr());
            if libc::mount(kind, path, kind, 0, c"size=4k".as_ptr().cast()) != 0 {
                return format!("mount {number}: {}", std::io::Error::last_os_error());
            }
        }
    }
    count.to_string()
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}
