//! The wire format of messages. Source: D-Bus specification, "Marshaling (Wire Format)" and
//! "Message Format".

#![allow(
    clippy::cast_possible_truncation,
    reason = "a message is shorter than LONGEST, and a signature than 256 bytes"
)]

use crate::plan::systemd::Variant;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// A message from the peer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub kind: Kind,
    /// The serial of the call that this message replies to.
    pub reply_to: Option<u32>,
    /// The name of the error, for an error.
    pub error: Option<String>,
    /// The name of the signal, for a signal.
    pub member: Option<String>,
    signature: String,
    body: Vec<u8>,
    big_endian: bool,
}

/// The object and interface of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Empty if there is no message bus.
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
}

const CALL: u8 = 1;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// The size of the fixed part, which ends with the length of the array of header fields.
const FIXED: usize = 16;
/// Far more than any reply of systemd. The specification allows 128 MiB.
const LONGEST: usize = 1 << 20;

/// Encodes a method call.
pub(super) fn call(serial: u32, target: Target, member: &str, arguments: &[Variant]) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.value(argument));
    let body = body.0;
    let mut out = Writer(vec![b'l', CALL, 0, 1]);
    out.u32(body.len() as u32);
    out.u32(serial);
    out.sized(8, |out| {
        for (code, kind, text) in [
            (PATH, b'o', target.path),
            (INTERFACE, b's', target.interface),
            (MEMBER, b's', member),
            (DESTINATION, b's', target.destination),
        ] {
            if !text.is_empty() {
                out.align(8);
                out.0.extend([code, 1, kind, 0]);
                out.text(text);
            }
        }
        if !arguments.is_empty() {
            let signature: String = arguments.iter().map(Variant::signature).collect();
            out.align(8);
            out.0.extend([SIGNATURE, 1, b'g', 0]);
            out.signature(&signature);
        }
    });
    out.align(8);
    out.0.extend(body);
    out.0
}

/// Encodes values, each aligned to its size from the start of the buffer.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.number(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array: the length of the bytes that `fill` writes, then those bytes, aligned to `to`. The
    /// length does not include that padding.
    fn sized(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(to);
        let start = self.0.len();
        fill(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn value(&mut self, value: &Variant) {
        match value {
            Variant::Bool(value) => self.u32(u32::from(*value)),
            Variant::Byte(value) => self.0.push(*value),
            Variant::I16(value) => self.number(value.to_le_bytes()),
            Variant::U16(value) => self.number(value.to_le_bytes()),
            Variant::I32(value) => self.number(value.to_le_bytes()),
            Variant::U32(value) => self.u32(*value),
            Variant::I64(value) => self.number(value.to_le_bytes()),
            Variant::U64(value) => self.number(value.to_le_bytes()),
            Variant::F64(value) => self.number(value.to_le_bytes()),
            Variant::Text(text) => self.text(text),
            Variant::Array(element, items) => self.sized(alignment(element), |out| {
                items.iter().for_each(|item| out.value(item));
            }),
            Variant::Tuple(items) => {
                self.align(8);
                items.iter().for_each(|item| self.value(item));
            }
            Variant::Boxed(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }
}

/// The alignment of a type, by the first letter of its signature.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// The length of the message that begins with `start`. `None` if `start` is too short.
///
/// # Errors
/// `start` does not begin a message, or the message is longer than any expected here.
pub(super) fn length(start: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(fixed) = start.get(..FIXED) else {
        return Ok(None);
    };
    if !matches!(fixed[0], b'l' | b'B') || fixed[3] != 1 {
        return Err("not a D-Bus message");
    }
    let word = |at| {
        Reader::new(fixed, at, fixed[0] == b'B')
            .u32()
            .unwrap_or(u32::MAX) as usize
    };
    let (body, fields) = (word(4), word(12));
    if body > LONGEST || fields > LONGEST {
        return Err("a message is too long");
    }
    Ok(Some((FIXED + fields).next_multiple_of(8) + body))
}

impl Message {
    /// Decodes a message of the length that [`length`] returned. `None` if it is malformed.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let big_endian = *bytes.first()? == b'B';
        let kind = match bytes.get(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return None,
        };
        let mut reader = Reader::new(bytes, 12, big_endian);
        let end = FIXED + reader.u32()? as usize;
        let mut message = Self {
            kind,
            reply_to: None,
            error: None,
            member: None,
            signature: String::new(),
            body: Vec::new(),
            big_endian,
        };
        while reader.at < end {
            message.field(&mut reader)?;
        }
        message.body = bytes.get(end.next_multiple_of(8)..)?.to_vec();
        Some(message)
    }

    fn field(&mut self, reader: &mut Reader) -> Option<()> {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?.as_str()) {
            (REPLY_SERIAL, "u") => self.reply_to = Some(reader.u32()?),
            (ERROR_NAME, "s") => self.error = Some(reader.text()?),
            (MEMBER, "s") => self.member = Some(reader.text()?),
            (SIGNATURE, "g") => self.signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
        Some(())
    }

    /// The strings and object paths among the leading arguments that are strings, object paths or
    /// 32-bit integers.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut reader = Reader::new(&self.body, 0, self.big_endian);
        let mut texts = Vec::new();
        for letter in self.signature.bytes() {
            let read = match letter {
                b's' | b'o' => reader.text().map(|text| texts.push(text)),
                b'u' | b'i' | b'b' => reader.u32().map(drop),
                _ => None,
            };
            if read.is_none() {
                break;
            }
        }
        texts
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8], at: usize, big_endian: bool) -> Self {
        Self {
            bytes,
            at,
            big_endian,
        }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()? as usize;
        self.ended(length)
    }

    /// A text and the NUL byte after it.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = self.take(length)?;
        (self.byte()? == 0).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target {
        destination: "a.b",
        path: "/o",
        interface: "i.f",
    };

    /// The expected bytes follow from the specification.
    #[test]
    fn a_call_has_the_specified_bytes() {
        let arguments = [
            Variant::Text("x".into()),
            Variant::Array("y".into(), vec![Variant::Byte(7)]),
            Variant::U64(1),
        ];
        let mut expected = b"l\x01\x00\x01\x18\0\0\0\x05\0\0\0\x4c\0\0\0".to_vec();
        expected.extend(b"\x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0");
        expected.extend(b"\x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0");
        expected.extend(b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0");
        expected.extend(b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
        expected.extend(b"\x08\x01g\0\x04sayt\0\0\0\0\0\0\0");
        // The length of the fields includes the signature's NUL byte.
        expected[12] = (expected.len() - FIXED - 6) as u8;
        expected.extend(b"\x01\0\0\0x\0\0\0\x01\0\0\0\x07\0\0\0\x01\0\0\0\0\0\0\0");
        assert_eq!(call(5, TARGET, "M", &arguments), expected);
    }

    #[test]
    fn a_property_has_the_specified_bytes() {
        let mut out = Writer::default();
        out.value(&Variant::Array(
            "(sv)".into(),
            vec![Variant::Tuple(vec![
                Variant::Text("Pids".into()),
                Variant::Boxed(Box::new(Variant::Array("u".into(), vec![Variant::U32(9)]))),
            ])],
        ));
        let expected = b"\x18\0\0\0\0\0\0\0\x04\0\0\0Pids\0\x02au\0\0\0\0\x04\0\0\0\x09\0\0\0";
        // The variant begins after the name's NUL byte. Its array is aligned to 4.
        assert_eq!(out.0.len(), expected.len());
        assert_eq!(out.0, expected);
    }

    fn sample() -> Vec<u8> {
        call(
            3,
            TARGET,
            "JobRemoved",
            &[
                Variant::U32(1),
                Variant::Text("/job/1".into()),
                Variant::Text("a.scope".into()),
                Variant::Text("done".into()),
            ],
        )
    }

    #[test]
    fn a_written_message_can_be_read() {
        let bytes = sample();
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let message = Message::read(&bytes).unwrap();
        assert_eq!(
            (message.kind, message.member.as_deref()),
            (Kind::Call, Some("JobRemoved"))
        );
        assert_eq!(message.texts(), ["/job/1", "a.scope", "done"]);
    }

    #[test]
    fn a_reply_of_either_endianness() {
        let little = b"l\x02\0\x01\x08\0\0\0\x01\0\0\0\x0f\0\0\0\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01o\0\0\x03\0\0\0/j1\0";
        let big = b"B\x02\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x07\x08\x01g\0\x01o\0\0\0\0\0\x03/j1\0";
        for bytes in [little, big] {
            assert_eq!(length(bytes), Ok(Some(bytes.len())));
            let message = Message::read(bytes).unwrap();
            assert_eq!((message.kind, message.reply_to), (Kind::Return, Some(7)));
            assert_eq!(message.texts(), ["/j1"]);
        }
    }

    #[test]
    fn a_broken_message_is_refused_without_a_panic() {
        let bytes = sample();
        for end in 0..bytes.len() {
            let _ = Message::read(&bytes[..end]).map(|message| message.texts());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = length(&changed);
                let _ = Message::read(&changed).map(|message| message.texts());
            }
        }
        assert_eq!(length(&bytes[..15]), Ok(None));
        assert!(length(b"HTTP/1.1 400 Bad").is_err());
        assert!(length(b"l\x02\0\x01\0\0\0\x7f\x01\0\0\0\0\0\0\0").is_err());
    }
}
