//! Programs that CRIU saves and restores. Each counts in the file /count, as long as what it has
//! been given at its start is as it was. None of them has a child in vfork(2), which CRIU cannot stop.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

/// Runs `saved PROGRAM…`.
pub(super) fn main(words: &[&str]) -> ExitCode {
    match words {
        ["memory", megabytes] => memory(megabytes),
        ["tcp"] => tcp_server(),
        ["tcp-client"] => tcp_client(),
        ["lock", file] => lock(file),
        ["datagrams", socket] => datagrams(socket),
        ["listen"] => listen(),
        ["inherited"] => inherited(),
        _ => {
            eprintln!("runtime-tests: no program {words:?}");
            ExitCode::from(2)
        }
    }
}

/// Writes the next number and a word to /count, all at once.
fn count(number: u64, word: &str) {
    let text = format!("{number} {word}\n");
    fs::write("/count.new", text).expect("write the count");
    fs::rename("/count.new", "/count").expect("publish the count");
}

fn moment() {
    sleep(Duration::from_millis(10));
}

/// Holds memory of which no two pages are equal, and counts with its checksum, which it computes
/// anew each time.
fn memory(megabytes: &str) -> ! {
    let megabytes: usize = megabytes.parse().expect("a number");
    let words = megabytes * 1024 * 1024 / size_of::<u64>();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let held: Vec<u64> = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    })
    .take(words)
    .collect();
    for number in 0.. {
        let held = std::hint::black_box(&held);
        let mix = |sum: u64, word: &u64| sum.rotate_left(5) ^ word;
        let sum = held.iter().fold(0_u64, mix);
        count(number, &format!("{sum:x}"));
        moment();
    }
    unreachable!("no memory holds so high a number")
}

/// Sends each number that the client sends back to it. The client is another process.
fn tcp_server() -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 7)).expect("bind");
    let mut client = Command::new("/proc/self/exe")
        .args(["--probe", "saved", "tcp-client"])
        .spawn()
        .expect("the client");
    let (stream, _) = listener.accept().expect("accept");
    let reader = BufReader::new(stream.try_clone().expect("the same connection"));
    let mut writer = stream;
    for line in reader.lines() {
        let Ok(line) = line else { break };
        writeln!(writer, "{line}").expect("answer");
    }
    client.wait().expect("the end of the client");
    loop {
        std::thread::park();
    }
}

/// Counts as long as each number comes back; then writes why it does not.
fn tcp_client() -> ExitCode {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 7)).expect("connect");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
    let mut writer = stream;
    for number in 0_u64.. {
        let mut line = String::new();
        let read = writeln!(writer, "{number}").and_then(|()| reader.read_line(&mut line));
        match read {
            Ok(_) if line.trim() == number.to_string() => count(number, "answered"),
            Ok(_) => {
                fs::write("/end", format!("got {line:?}")).expect("write the end");
                break;
            }
            Err(error) => {
                fs::write("/end", error.to_string()).expect("write the end");
                break;
            }
        }
        moment();
    }
    ExitCode::SUCCESS
}

/// Holds a lock of the file, and counts.
fn lock(file: &str) -> ! {
    let file = File::create(file).expect("create the file");
    file.lock().expect("lock the file");
    idle()
}

/// Sends each number to the socket, and counts.
fn datagrams(path: &str) -> ! {
    let socket = UnixDatagram::unbound().expect("socket");
    socket.connect(path).expect("connect");
    for number in 0_u64.. {
        socket.send(number.to_string().as_bytes()).expect("send");
        count(number, "sent");
        moment();
    }
    unreachable!("no socket takes so high a number")
}

/// Does not accept the connection that there is, and counts.
fn listen() -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 7)).expect("bind");
    drop(TcpStream::connect(listener.local_addr().expect("address")).expect("connect"));
    idle()
}

/// Counts with the session keyring, the I/O priority and the personality, which CRIU does not save.
fn inherited() -> ! {
    const WHO_PROCESS: libc::c_int = 1;
    const ASK: libc::c_ulong = 0xffff_ffff;
    for number in 0.. {
        // SAFETY: neither call takes a pointer.
        let (priority, personality) = unsafe {
            let priority = libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0);
            (priority, libc::personality(ASK))
        };
        let session = super::session_keyring();
        count(number, &format!("{session} {priority} {personality}"));
        moment();
    }
    unreachable!("nothing is asked so often")
}

fn idle() -> ! {
    for number in 0.. {
        count(number, "held");
        moment();
    }
    unreachable!("nothing is held so long")
}
