//! Replies of a peer that claims to be systemd or a message bus.
//!
//! The first byte chooses between the two; the rest is the peer's output.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use sampan::cgroup::fuzzing::{call, read, talk};
use sampan::error::Error;
use sampan::plan::systemd::Variant;

use crate::{Form, Target, check_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "dbus",
    run,
    seeds,
    form: Form::Bytes,
    words: "OK REJECTED l B u s o g v a(sv) JobRemoved done failed /job/1 so uoss",
    longest: 4 << 10,
    changes: 50_000,
};

const GREETING: &[u8] = b"OK 1234deadbeef\r\n";
/// The reply to the call `serial`, with an object path.
fn reply(serial: u8) -> Vec<u8> {
    let mut bytes = b"l\x02\0\x01\x08\0\0\0\x01\0\0\0\x0f\0\0\0\x05\x01u\0".to_vec();
    bytes.extend([serial, 0, 0, 0]);
    bytes.extend(b"\x08\x01g\0\x01o\0\0\x03\0\0\0/j1\0");
    bytes
}

/// The signal at the end of that job.
fn removed() -> Vec<u8> {
    let text = |text: &str| Variant::Text(text.to_owned());
    let arguments = [Variant::U32(1), text("/j1"), text("a.scope"), text("done")];
    let mut bytes = call(&arguments);
    let at = bytes.windows(8).position(|eight| eight == b"StopUnit");
    let at = at.expect("the name of the call");
    // A name of another length: its size, and NUL bytes after its end.
    let name = b"JobRemoved\0";
    bytes[at - 4] = 10;
    bytes.splice(at..at + 11, *name);
    bytes[1] = 4;
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let refused = b"l\x03\0\x01\x0b\0\0\0\x01\0\0\0\x1f\0\0\0\x05\x01u\0\x01\0\0\0\
        \x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0\x08\x01g\0\x01s\0\0\x06\0\0\0broken\0";
    let big = b"B\x02\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x01\
        \x08\x01g\0\x01o\0\0\0\0\0\x03/j1\0";
    vec![
        [b"\0", GREETING, &reply(1), &removed()].concat(),
        [b"\0", GREETING, &removed(), &reply(1)].concat(),
        [b"\0", GREETING, refused].concat(),
        [b"\0", GREETING, big, &removed()].concat(),
        [
            b"\x01",
            GREETING,
            &reply(1),
            &reply(2),
            &reply(3),
            &removed(),
        ]
        .concat(),
        b"\0REJECTED EXTERNAL\r\n".to_vec(),
    ]
}

fn run(data: &[u8]) {
    let Some((bus, bytes)) = data.split_first() else {
        return;
    };
    let (ours, mut peer) = UnixStream::pair().expect("a pair of sockets");
    // All of it fits into the socket's buffer, and the peer stays open for the calls.
    peer.write_all(bytes).expect("a socket with room");
    peer.shutdown(Shutdown::Write).expect("a connected socket");
    if let Err(error) = talk(ours, bus % 2 == 1) {
        check_error(&Error::of_chain(error));
    }
    check_written(bytes);
}

/// An encoded message must decode to the same values, whatever the strings.
fn check_written(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let texts: Vec<String> = text.split('\n').take(4).map(str::to_owned).collect();
    let numbered = |text: &String| [Variant::U32(7), Variant::Text(text.clone())];
    let arguments: Vec<_> = texts.iter().flat_map(numbered).collect();
    let bytes = call(&arguments);
    assert_eq!(read(&bytes), Some((texts, bytes.len())));
}
