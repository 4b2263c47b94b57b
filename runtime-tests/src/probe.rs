//! What a case runs inside a container where busybox has no applet for it: this same program.

use std::process::ExitCode;

/// Runs `PROBE ARGS…`.
pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["syscall", number] => system_call(number),
        ["notify", message] => notify(message),
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
