//! The encoding of protocol buffers, as far as CRIU's messages need it: numbers as varints, and
//! strings and messages with their length. Source: protobuf.dev/programming-guides/encoding.

const VARINT: u64 = 0;
const WITH_LENGTH: u64 = 2;

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A number of any type but the fixed ones; a negative int32 is encoded as an int64.
    pub(super) fn number(&mut self, field: u32, value: i64) {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value.cast_unsigned());
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | WITH_LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn message(&mut self, field: u32, value: &Self) {
        self.bytes(field, &value.0);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order. A message that ends in the middle of a field, or has a
/// type that CRIU does not use, ends with `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).ok()?;
        match tag & 7 {
            VARINT => Some((field, Value::Number(self.varint()?.cast_signed()))),
            WITH_LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (value, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Some((field, Value::Bytes(value)))
            }
            _ => None,
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    /// The number of the field, and its value. `None` in place of a field that cannot be read, after
    /// which there is no other.
    type Item = Option<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Option<(u32, Value<'_>)>> {
        Reader::new(bytes).collect()
    }

    #[test]
    fn the_examples_of_the_specification() {
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.bytes(2, b"testing");
        let bytes = b"\x08\x96\x01\x12\x07testing";
        assert_eq!(writer.as_bytes(), bytes);
        let expected = vec![
            Some((1, Value::Number(150))),
            Some((2, Value::Bytes(b"testing"))),
        ];
        assert_eq!(read(bytes), expected);
    }

    #[test]
    fn negative_numbers_and_high_fields_come_back() {
        for value in [0, 1, -1, 127, 128, i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut writer = Writer::default();
            writer.number(64, value);
            assert_eq!(read(writer.as_bytes()), [Some((64, Value::Number(value)))]);
        }
        let mut inner = Writer::default();
        inner.bytes(1, b"");
        let mut outer = Writer::default();
        outer.message(2, &inner);
        assert_eq!(
            read(outer.as_bytes()),
            [Some((2, Value::Bytes(b"\x0a\x00")))]
        );
    }

    #[test]
    fn what_is_cut_or_of_another_type_ends_the_message() {
        for broken in [
            b"\x08".as_slice(),
            b"\x08\xff",
            b"\x12\x07test",
            b"\x0d\x00\x00\x00\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(read(broken), [None], "{broken:?}");
        }
    }
}
