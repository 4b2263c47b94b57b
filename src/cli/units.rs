//! Parses booleans, sizes and durations as Go programs spell them, which is what engines and users
//! write; and numbers and choices.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Parses a number within the range of its type. clap's own parser is 1 kB of code for each type, and
/// this one leaves the work to that for `i64`.
pub(crate) fn number<T>(range: RangeInclusive<T>) -> impl TypedValueParser<Value = T>
where
    T: Into<i64> + TryFrom<i64> + Copy + Send + Sync + 'static,
{
    let (first, last) = range.into_inner();
    let parser = clap::value_parser!(i64).range(first.into()..=last.into());
    parser.map(move |number| T::try_from(number).unwrap_or(last))
}

/// Accepts the words of a choice, and leaves the word: [`chosen`] returns what it means. Values of
/// a type for each choice would be 1 kB of clap's code for each.
pub(crate) fn choice<T: ValueEnum>() -> PossibleValuesParser {
    let words = T::value_variants().iter().filter_map(T::to_possible_value);
    PossibleValuesParser::new(words)
}

/// What a word means that [`choice`] has accepted.
pub(crate) fn chosen<T: ValueEnum>(word: &str) -> T {
    let is_meant = |choice: &&T| {
        let known = choice.to_possible_value();
        known.is_some_and(|known| known.get_name() == word)
    };
    let meant = T::value_variants().iter().find(is_meant);
    meant.expect("the parser accepts no other word").clone()
}

/// Parses a boolean as Go's `strconv.ParseBool` does.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses a number of bytes: `1024`, `512m`, `1.5 GiB`. Units are powers of 1024, in upper or lower
/// case. `-1` means unlimited.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    parse_bytes(text).ok_or_else(|| "expected a size such as 1024, 512m or 2g, or -1".to_owned())
}

fn parse_bytes(text: &str) -> Option<i64> {
    let (number, unit) = split_number(text);
    let lower = unit.trim_start_matches(' ').to_ascii_lowercase();
    let exponent = match lower.strip_suffix('b').unwrap_or(&lower) {
        "" => 0,
        "k" | "ki" => 1,
        "m" | "mi" => 2,
        "g" | "gi" => 3,
        "t" | "ti" => 4,
        "p" | "pi" => 5,
        _ => return None,
    };
    scale(number, 1024_u128.pow(exponent))
}

/// Parses a duration, a sequence of decimal numbers with units: `500ms`, `5s`, `1m30s`, `1.5h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(0) => Err("must be greater than 0".to_owned()),
        Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds.unsigned_abs())),
        None => Err("expected a duration such as 500ms, 5s or 1m30s".to_owned()),
    }
}

/// Parses a duration into nanoseconds.
fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let nanoseconds = match &tail[..end] {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        sum = sum.checked_add(scale(number, nanoseconds)?)?;
        rest = &tail[end..];
    }
    Some(sum)
}

/// Splits `text` after the leading digits, which may contain one decimal point.
fn split_number(text: &str) -> (&str, &str) {
    let mut points = 0;
    let end = text.find(|c: char| {
        points += usize::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && points == 1)
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// Multiplies a decimal number by `unit` and rounds down.
fn scale(number: &str, unit: u128) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(0_u128),
        _ => text.parse().ok(),
    };
    // 18 fractional digits are finer than a nanosecond of an hour and a byte of a pebibyte, so
    // further digits cannot change the result.
    let fraction = &fraction[..fraction.len().min(18)];
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let sum = digits(whole)?
        .checked_mul(unit)?
        .checked_add(digits(fraction)?.checked_mul(unit)? / parts)?;
    i64::try_from(sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("1024", 1024),
            ("0", 0),
            ("-1", -1),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("1k", 1024),
            ("2GiB", 2 << 30),
            ("2 gb", 2 << 30),
            ("1.5g", 3 << 29),
            ("7b", 7),
            ("1t", 1 << 40),
            ("8191p", 8191 << 50),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "-2", "1x", "1mm", "1.2.3", "8192p", "1 0", "."] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+1h0.25s", 3_600_250),
            (".5s", 500),
            ("2000us", 2),
            ("3000\u{b5}s", 3),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "5",
            "0",
            "0s",
            "-5s",
            "s",
            "5 s",
            "1d",
            "1s5",
            "9999999999h",
            "+",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
