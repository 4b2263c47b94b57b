//! Programs that a case runs inside a container if busybox has no applet for the purpose. They are
//! part of this program.

mod attacks;
mod saved;

use std::process::ExitCode;

/// Runs `PROBE ARGS…`.
pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["syscall", number] => system_call(number),
        ["notify", message] => notify(message),
        ["first-thread-ends"] => first_thread_ends(),
        ["nest-cgroups", count, length] => nest_cgroups(count, length),
        ["keyring", "session"] => {
            println!("{}", session_keyring());
            ExitCode::SUCCESS
        }
        ["keyring", "plant", name] => plant(name),
        ["keyring", "find"] => find(),
        ["keyring", "keep"] => keep(),
        ["keyring", "steal", keyring] => steal(keyring),
        ["take-exe", name, directory] => attacks::take_exe(name, directory),
        ["leave-chroot", file] => attacks::leave_chroot(file),
        ["look-at-others", fifo] => attacks::look_at_others(fifo),
        ["type"] => attacks::type_on_stdin(),
        ["await", ref signals @ ..] => await_signals(signals),
        ["saved", ref words @ ..] => saved::main(words),
        ["caller", traits, ref command @ ..] if !command.is_empty() => {
            crate::caller::main(traits, command)
        }
        _ => {
            eprintln!("runtime-tests: no probe {words:?}");
            ExitCode::from(2)
        }
    }
}

/// Makes a system call with all arguments 0, and prints the errno, or 0.
fn system_call(number: &str) -> ExitCode {
    let Ok(number) = number.parse::<libc::c_long>() else {
        return ExitCode::from(2);
    };
    // SAFETY: the cases pass numbers that no kernel has, or calls without pointers.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    println!("{}", if result < 0 { errno.unwrap_or(-1) } else { 0 });
    ExitCode::SUCCESS
}

/// Sends `message` to NOTIFY_SOCKET, and keeps running.
fn notify(message: &str) -> ExitCode {
    let path = std::env::var_os("NOTIFY_SOCKET").expect("NOTIFY_SOCKET is set");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    socket.send_to(message.as_bytes(), path).expect("send");
    loop {
        std::thread::park();
    }
}

/// Creates nested cgroups below its own, moves a child into the innermost, and keeps running.
fn nest_cgroups(count: &str, length: &str) -> ExitCode {
    let number = |text: &str| text.parse().expect("a number");
    let name = "n".repeat(number(length));
    std::env::set_current_dir("/sys/fs/cgroup").expect("the own cgroup");
    for _ in 0..number(count) {
        std::fs::create_dir(&name).expect("a cgroup");
        std::env::set_current_dir(&name).expect("the cgroup");
    }
    let mut child = std::process::Command::new("/bin/sleep")
        .arg("1000")
        .spawn()
        .expect("a child");
    std::fs::write("cgroup.procs", child.id().to_string()).expect("move the child");
    println!("ready");
    child.wait().expect("the end of the child");
    println!("the child has ended");
    loop {
        std::thread::park();
    }
}

/// KEY_SPEC_SESSION_KEYRING of keyctl(2).
const SESSION: libc::c_long = -3;
const KEY: &std::ffi::CStr = c"planted";

fn keyctl(operation: libc::c_long, arguments: [libc::c_long; 4]) -> libc::c_long {
    let [second, third, fourth, fifth] = arguments;
    // SAFETY: the callers pass addresses of strings that live across the call.
    unsafe { libc::syscall(libc::SYS_keyctl, operation, second, third, fourth, fifth) }
}

/// The serial number of this process's session keyring.
pub(crate) fn session_keyring() -> libc::c_long {
    const GET_KEYRING_ID: libc::c_long = 0;
    let number = keyctl(GET_KEYRING_ID, [SESSION, 0, 0, 0]);
    assert!(number > 0, "{}", std::io::Error::last_os_error());
    number
}

/// Creates or joins a session keyring.
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

/// Adds the key, prints the keyring's number, and keeps running.
fn keep() -> ExitCode {
    add_key();
    println!("keyring {}", session_keyring());
    loop {
        std::thread::park();
    }
}

/// Creates a keyring with this name and the key in it, gives everyone access to both, and keeps
/// running.
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

/// Tries to link another process's keyring by its number, and looks for the key.
fn steal(keyring: &str) -> ExitCode {
    const LINK: libc::c_long = 8;
    keyctl(LINK, [keyring.parse().expect("a number"), SESSION, 0, 0]);
    find()
}

/// Looks for the key in the session keyring.
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

/// Continues in another thread after the first one has ended.
fn first_thread_ends() -> ! {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // SAFETY: this ends only the calling thread, and no other thread uses its data.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return");
}

/// Prints which of these signals arrive.
fn await_signals(signals: &[&str]) -> ExitCode {
    let numbers = signals.iter().map(|signal| signal.parse::<u32>());
    let set = numbers.fold(0_u64, |set, number| {
        set | 1 << (number.expect("a signal's number") - 1)
    });
    let none = std::ptr::null::<u8>();
    let how = libc::SIG_BLOCK;
    // Raw system calls, because the C library reserves signals 32 and 33 for itself.
    // SAFETY: the kernel reads the mask.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &set, none, 8) };
    println!("ready");
    loop {
        // SAFETY: the kernel reads the set; the null pointers request nothing.
        let got = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &set, none, none, 8) };
        println!("got {got}");
    }
}
