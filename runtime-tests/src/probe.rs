//! What a case runs inside a container where busybox has no applet for it: this same program.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;

/// Runs `PROBE ARGS…`.
pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["syscall", number] => system_call(number),
        ["notify", message] => notify(message),
        ["first-thread-ends"] => first_thread_ends(),
        ["keyring", "session"] => {
            println!("{}", session_keyring());
            ExitCode::SUCCESS
        }
        ["keyring", "plant", name] => plant(name),
        ["keyring", "find"] => find(),
        ["keyring", "keep"] => keep(),
        ["keyring", "steal", keyring] => steal(keyring),
        ["take-exe", name] => take_exe(name),
        _ => {
            eprintln!("runtime-tests: no probe {words:?}");
            ExitCode::from(2)
        }
    }
}

/// Makes a system call with arguments of 0 and prints the errno, or 0.
fn system_call(number: &str) -> ExitCode {
    let Ok(number) = number.parse::<libc::c_long>() else {
        return ExitCode::from(2);
    };
    // SAFETY: the cases name numbers that no kernel has, or calls that take no pointers.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    println!("{}", if result < 0 { errno.unwrap_or(-1) } else { 0 });
    ExitCode::SUCCESS
}

/// Says `message` to NOTIFY_SOCKET and stays.
fn notify(message: &str) -> ExitCode {
    let path = std::env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET is set");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    socket.send_to(message.as_bytes(), path).expect("send");
    loop {
        std::thread::park();
    }
}

/// KEY_SPEC_SESSION_KEYRING of keyctl(2).
const SESSION: libc::c_long = -3;
const KEY: &std::ffi::CStr = c"planted";

fn keyctl(operation: libc::c_long, arguments: [libc::c_long; 4]) -> libc::c_long {
    let [second, third, fourth, fifth] = arguments;
    // SAFETY: callers pass the addresses of strings that live across the call.
    unsafe { libc::syscall(libc::SYS_keyctl, operation, second, third, fourth, fifth) }
}

/// The serial number of this process's session keyring.
pub(crate) fn session_keyring() -> libc::c_long {
    const GET_KEYRING_ID: libc::c_long = 0;
    let number = keyctl(GET_KEYRING_ID, [SESSION, 0, 0, 0]);
    assert!(number > 0, "{}", std::io::Error::last_os_error());
    number
}

/// Makes or joins a session keyring.
fn join(name: &str) {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let name = std::ffi::CString::new(name).expect("no NUL byte");
    let number = keyctl(
        JOIN_SESSION_KEYRING,
        [name.as_ptr() as libc::c_long, 0, 0, 0],
    );
    assert!(number > 0, "{}", std::io::Error::last_os_error());
}

/// Adds the key to the session keyring.
fn add_key() -> libc::c_long {
    // SAFETY: the strings are NUL-terminated, and the payload has the given length.
    let key = unsafe {
        let (kind, name, secret) = (c"user".as_ptr(), KEY.as_ptr(), c"secret".as_ptr());
        libc::syscall(libc::SYS_add_key, kind, name, secret, 6, SESSION)
    };
    assert!(key > 0, "{}", std::io::Error::last_os_error());
    key
}

/// Adds the key, says which keyring it is in, and stays.
fn keep() -> ExitCode {
    add_key();
    println!("keyring {}", session_keyring());
    loop {
        std::thread::park();
    }
}

/// Makes a keyring of this name with the key in it, lets everyone use both, and stays.
fn plant(name: &str) -> ExitCode {
    const SETPERM: libc::c_long = 5;
    const EVERYTHING: libc::c_long = 0x3f3f_3f3f;
    join(name);
    for owned in [add_key(), SESSION] {
        let done = keyctl(SETPERM, [owned, EVERYTHING, 0, 0]);
        assert!(done == 0, "{}", std::io::Error::last_os_error());
    }
    println!("planted");
    loop {
        std::thread::park();
    }
}

/// Tries to get hold of another process's keyring by its number, and looks for the key.
fn steal(keyring: &str) -> ExitCode {
    const LINK: libc::c_long = 8;
    keyctl(LINK, [keyring.parse().expect("a number"), SESSION, 0, 0]);
    find()
}

/// Looks for that key in the session keyring.
fn find() -> ExitCode {
    const SEARCH: libc::c_long = 10;
    let (kind, name) = (c"user".as_ptr(), KEY.as_ptr());
    let arguments = [SESSION, kind as libc::c_long, name as libc::c_long, 0];
    println!(
        "{}",
        if keyctl(SEARCH, arguments) > 0 {
            "found"
        } else {
            "absent"
        }
    );
    ExitCode::SUCCESS
}

/// Attacks the executable of the first process whose `argv[0]` is `name`: clears the read-only
/// attribute of its mount with the rights of a new user and mount namespace, and writes to it when
/// the process has ended. Prints the errno of either, or 0, and stays.
fn take_exe(name: &str) -> ExitCode {
    let held = loop {
        if let Some(file) = executable_of(name) {
            break file;
        }
    };
    println!("mount_setattr: {}", clear_readonly(&held));
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

/// mount_setattr(2) by a child that owns a mount namespace; its errno, or 0.
fn clear_readonly(file: &File) -> i32 {
    // SAFETY: the program has one thread, and the child makes system calls only.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Child => {
            let attack = || {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                crate::host::change_readonly(file, false)
            };
            let errno = attack().err().unwrap_or(Errno::from_raw(0));
            // SAFETY: ends the child, with no destructor of the parent.
            unsafe { libc::_exit(errno as i32) }
        }
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, errno)) => errno,
            other => panic!("{other:?}"),
        },
    }
}

/// Goes on in another thread.
fn first_thread_ends() -> ! {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // SAFETY: ends this thread alone, and nothing that it owns is used by another one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return");
}
