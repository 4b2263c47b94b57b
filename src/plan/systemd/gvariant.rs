//! The GVariant text in which annotations give the values of properties. Source: GLib, "GVariant Text
//! Format".

use super::Variant;

/// Parses one value in GVariant text: `true`, `42`, `uint64 42`, `'word'`, `['a', 'b']`,
/// `@as []`, `('a', uint32 1)`, `<'any'>`. A number without a type is an int32, or a double if it
/// has a point or an exponent.
///
/// # Errors
/// Says what is wrong with the text. Dictionaries, maybe types, object paths and byte strings are
/// not supported: no property that systemd lets a client set needs them.
pub fn parse(text: &str) -> Result<Variant, String> {
    parse_whole(text, None)
}

/// As [`parse`], for a value of a known type: the text need not name it.
///
/// # Errors
/// As [`parse`], or the value has another type.
pub(super) fn parse_as(text: &str, signature: &str) -> Result<Variant, String> {
    parse_whole(text, Some(signature))
}

fn parse_whole(text: &str, signature: Option<&str>) -> Result<Variant, String> {
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    let value = parser.value(signature)?;
    parser.skip_space();
    match parser.rest {
        "" => Ok(value),
        rest => Err(format!("{rest:?} is left after the value")),
    }
}

/// D-Bus has no signature for deeper nesting: arrays and structs may each nest 32 levels deep.
const MAX_DEPTH: u32 = 32;

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Parses one value. `expected` is its type if the surrounding text has named it.
    fn value(&mut self, expected: Option<&str>) -> Result<Variant, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deep".to_owned());
        }
        self.skip_space();
        let value = match self.rest.chars().next() {
            None => return Err("a value is missing".to_owned()),
            Some('@') => {
                self.rest = &self.rest[1..];
                let signature = self.word(|c| !c.is_whitespace());
                check_signature(signature)?;
                self.value(Some(signature))?
            }
            Some(quote @ ('\'' | '"')) => Variant::Text(self.string(quote)?),
            Some('[') => self.array(expected)?,
            Some('(') => self.tuple(expected)?,
            Some('<') => {
                self.eat('<');
                let inner = self.value(None)?;
                self.close('>')?;
                Variant::Boxed(Box::new(inner))
            }
            Some(c) if c.is_ascii_alphabetic() => self.keyword(expected)?,
            Some(_) => self.number(expected)?,
        };
        self.depth -= 1;
        match expected {
            Some(expected) if value.signature() != expected => Err(format!(
                "expected type {expected}, found type {}",
                value.signature()
            )),
            _ => Ok(value),
        }
    }

    fn close(&mut self, token: char) -> Result<(), String> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("{token:?} is missing before {:?}", self.rest))
        }
    }

    /// `true`, `false`, `inf`, `nan`, or the name of a type before a value.
    fn keyword(&mut self, expected: Option<&str>) -> Result<Variant, String> {
        let start = self.rest;
        let signature = match self.word(|c| c.is_ascii_alphanumeric()) {
            "true" => return Ok(Variant::Bool(true)),
            "false" => return Ok(Variant::Bool(false)),
            "inf" | "nan" => {
                self.rest = start;
                return self.number(expected);
            }
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            other => return Err(format!("{other:?} is neither a value nor a type")),
        };
        self.value(Some(signature))
    }

    fn number(&mut self, expected: Option<&str>) -> Result<Variant, String> {
        let text = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let is_float = !text.contains("0x") && text.contains(['.', 'e', 'n']);
        let signature = expected.unwrap_or(if is_float { "d" } else { "i" });
        let bad = || format!("{text:?} is not a number of type {signature}");
        if signature == "d" {
            let value = serde_json::from_str(text);
            return value.map(Variant::F64).map_err(|_| bad());
        }
        let number = integer(text).ok_or_else(bad)?;
        let typed = match signature {
            "y" => number.try_into().map(Variant::Byte),
            "n" => number.try_into().map(Variant::I16),
            "q" => number.try_into().map(Variant::U16),
            "i" => number.try_into().map(Variant::I32),
            "u" => number.try_into().map(Variant::U32),
            "x" => number.try_into().map(Variant::I64),
            "t" => number.try_into().map(Variant::U64),
            _ => return Err(bad()),
        };
        typed.map_err(|_| bad())
    }

    /// Parses quoted text. After a backslash, `abfnrtv` and `uXXXX` mean what they mean in C; any
    /// other character stands for itself.
    fn string(&mut self, quote: char) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next() {
                None => return Err(format!("the string ends without {quote}")),
                Some(c) if c == quote => break,
                Some('\\') => out.push(escaped(&mut chars)?),
                Some('\0') => return Err("a NUL byte in a string".to_owned()),
                Some(c) => out.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(out)
    }

    fn array(&mut self, expected: Option<&str>) -> Result<Variant, String> {
        self.eat('[');
        let mut element = match expected {
            None => None,
            Some(signature) => Some(
                signature
                    .strip_prefix('a')
                    .ok_or_else(|| format!("expected type {signature}, found an array"))?
                    .to_owned(),
            ),
        };
        let mut items: Vec<Variant> = Vec::new();
        while !self.eat(']') {
            if !items.is_empty() {
                self.close(',')?;
            }
            let item = self.value(element.as_deref())?;
            element.get_or_insert_with(|| item.signature());
            items.push(item);
        }
        match element {
            Some(element) => Ok(Variant::Array(element, items)),
            None => Err("an empty array needs its type, as in @as []".to_owned()),
        }
    }

    fn tuple(&mut self, expected: Option<&str>) -> Result<Variant, String> {
        self.eat('(');
        let inner = match expected {
            None => None,
            Some(signature) => Some(
                signature
                    .strip_prefix('(')
                    .and_then(|inner| inner.strip_suffix(')'))
                    .ok_or_else(|| format!("expected type {signature}, found a tuple"))?,
            ),
        };
        let mut types = inner.map(elements).unwrap_or_default().into_iter();
        let mut items: Vec<Variant> = Vec::new();
        while !self.eat(')') {
            if !items.is_empty() {
                self.close(',')?;
                // A tuple with one element is written with a comma after it.
                if self.eat(')') {
                    break;
                }
            }
            items.push(self.value(types.next())?);
        }
        if items.is_empty() {
            Err("D-Bus has no empty tuple".to_owned())
        } else {
            Ok(Variant::Tuple(items))
        }
    }
}

/// Parses a decimal, octal (`0…`) or hexadecimal (`0x…`) number with its sign.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(digits, radix)
        .ok()
        .map(|number| sign * number)
}

fn escaped(chars: &mut std::str::Chars) -> Result<char, String> {
    let digits = match chars.next() {
        None => return Err("a string ends with a backslash".to_owned()),
        Some('a') => return Ok('\x07'),
        Some('b') => return Ok('\x08'),
        Some('f') => return Ok('\x0c'),
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some('v') => return Ok('\x0b'),
        Some('u') => 4,
        Some('U') => 8,
        Some(other) => return Ok(other),
    };
    let hex: String = chars.by_ref().take(digits).collect();
    let number = u32::from_str_radix(&hex, 16)
        .ok()
        .filter(|_| hex.len() == digits);
    number
        .and_then(char::from_u32)
        .filter(|c| *c != '\0')
        .ok_or_else(|| format!("{hex:?} is not a character"))
}

/// The complete types in `signature`, which [`check_signature`] has checked.
fn elements(mut signature: &str) -> Vec<&str> {
    let mut out = Vec::new();
    while !signature.is_empty() {
        let (first, rest) = signature.split_at(complete(signature).unwrap_or(signature.len()));
        out.push(first);
        signature = rest;
    }
    out
}

/// The length of the first complete type.
fn complete(signature: &str) -> Option<usize> {
    match signature.as_bytes().first()? {
        b'a' => Some(1 + complete(&signature[1..])?),
        b'(' => {
            let mut at = 1;
            while signature.as_bytes().get(at) != Some(&b')') {
                at += complete(signature.get(at..)?)?;
            }
            (at > 1).then_some(at + 1)
        }
        letter if b"bynqiuxtdsv".contains(letter) => Some(1),
        _ => None,
    }
}

fn check_signature(signature: &str) -> Result<(), String> {
    // The depth bounds the recursion of `complete`.
    let deep = signature.matches(['a', '(']).count() > MAX_DEPTH as usize;
    let length = if deep { None } else { complete(signature) };
    match length {
        Some(length) if length == signature.len() => Ok(()),
        _ => Err(format!("{signature:?} is not a supported type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Variant {
        Variant::Text(value.to_owned())
    }

    #[test]
    fn values_of_every_type() {
        let strings = |items: &[&str]| Variant::strings(items);
        for (given, expected) in [
            ("true", Variant::Bool(true)),
            (" false ", Variant::Bool(false)),
            ("42", Variant::I32(42)),
            ("-0x10", Variant::I32(-16)),
            ("010", Variant::I32(8)),
            ("1.5", Variant::F64(1.5)),
            ("1e3", Variant::F64(1000.0)),
            ("byte 0xff", Variant::Byte(255)),
            ("int16 -1", Variant::I16(-1)),
            ("uint16 7", Variant::U16(7)),
            ("uint32 7", Variant::U32(7)),
            ("int64 -7", Variant::I64(-7)),
            ("uint64 18446744073709551615", Variant::U64(u64::MAX)),
            ("double 3", Variant::F64(3.0)),
            ("@t 5", Variant::U64(5)),
            ("'a\\'b'", text("a'b")),
            ("\"a\\n\\u00e9\"", text("a\né")),
            ("['a', 'b']", strings(&["a", "b"])),
            ("@as []", strings(&[])),
            (
                "@at [1, 2]",
                Variant::Array("t".into(), vec![Variant::U64(1), Variant::U64(2)]),
            ),
            (
                "[uint32 1, 2]",
                Variant::Array("u".into(), vec![Variant::U32(1), Variant::U32(2)]),
            ),
            (
                "('a', uint32 1)",
                Variant::Tuple(vec![text("a"), Variant::U32(1)]),
            ),
            (
                "@(sat) ('a', [1])",
                Variant::Tuple(vec![
                    text("a"),
                    Variant::Array("t".into(), vec![Variant::U64(1)]),
                ]),
            ),
            ("(1,)", Variant::Tuple(vec![Variant::I32(1)])),
            ("<'x'>", Variant::Boxed(Box::new(text("x")))),
        ] {
            assert_eq!(parse(given), Ok(expected), "{given}");
        }
    }

    #[test]
    fn errors_describe_the_invalid_text() {
        for (given, part) in [
            ("", "missing"),
            ("yes", "neither a value nor a type"),
            ("4294967296", "not a number of type i"),
            ("uint32 -1", "not a number of type u"),
            ("--1", "not a number"),
            ("'a", "ends without '"),
            ("'a\\", "backslash"),
            ("'\\u0000'", "not a character"),
            ("[]", "@as []"),
            ("[1, 'a']", "expected type i, found type s"),
            ("[1 2]", "',' is missing"),
            ("()", "empty tuple"),
            ("1 2", "is left"),
            ("@q", "missing"),
            ("@{sv} {}", "not a supported type"),
            ("@a 1", "not a supported type"),
            ("@as 'a'", "expected"),
            ("@s ['a']", "expected type s, found an array"),
        ] {
            let error = parse(given).unwrap_err();
            assert!(error.contains(part), "{given}: {error}");
        }
        for deep in ["[", "(", "<", "@", "uint32 "] {
            assert!(parse(&deep.repeat(10_000)).is_err());
        }
        assert!(parse(&format!("@{}s 1", "a".repeat(100_000))).is_err());
    }

    #[test]
    fn signatures_follow_the_specification() {
        let value = parse("('a', @a(sv) [], [true])").unwrap();
        assert_eq!(value.signature(), "(sa(sv)ab)");
        assert_eq!(elements("sa(sv)ab"), ["s", "a(sv)", "ab"]);
    }
}
