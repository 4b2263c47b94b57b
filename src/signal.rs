//! Names and numbers of signals.

use nix::sys::signal::Signal;

use crate::error::{Error, Result};

/// The first real-time signal as kill(1) and signal(7) count. The C library of this binary reserves
/// one more for itself, but that does not matter to a container.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal. `text` is a number (0 only checks that the process exists) or a name in
/// upper or lower case: `KILL`, `SIGKILL`, `RTMIN+3`, `RTMAX-1`.
///
/// # Errors
/// There is no such signal.
pub fn parse(text: &str) -> Result<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = match text.parse() {
        Ok(number) => Some(number),
        Err(_) => named(name).or_else(|| real_time(name)),
    };
    match number {
        Some(number) if (0..=RTMAX).contains(&number) => Ok(number),
        _ => {
            let error = Error::usage(format!("unknown signal {text:?}"));
            Err(error.hint("give a name such as TERM or a number from 1 to 64"))
        }
    }
}

/// The name of a signal, such as `SIGKILL` or `SIGRTMIN+3`; empty if there is no such signal.
pub fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number == RTMIN => "SIGRTMIN".to_owned(),
        Err(_) if (RTMIN..=RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        Err(_) => String::new(),
    }
}

fn named(name: &str) -> Option<i32> {
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        "UNUSED" => "SYS",
        other => other,
    };
    let is_named = |signal: &Signal| signal.as_str().strip_prefix("SIG") == Some(name);
    Signal::iterator()
        .find(is_named)
        .map(|signal| signal as i32)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        _ => text
            .strip_prefix(sign)?
            .parse::<u8>()
            .ok()
            .filter(|offset| i32::from(*offset) <= RTMAX - RTMIN)
            .map(i32::from),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(RTMIN + offset(rest, '+')?);
    }
    Some(RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Term", 15),
            ("winch", 28),
            ("SIGIOT", 6),
            ("CLD", 17),
            ("POLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("RTMIN+30", 64),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn a_name_is_parsed_as_its_number() {
        for number in (1..=31).chain(RTMIN..=RTMAX) {
            assert_eq!(parse(&name(number)).unwrap(), number, "{}", name(number));
        }
        assert_eq!(name(32), "");
    }

    #[test]
    fn unknown_signals_are_refused() {
        for text in [
            "",
            "SIG",
            "65",
            "-9",
            "FOO",
            "SIGSIGKILL",
            "RTMIN+31",
            "RTMIN3",
            "RTMAX+1",
            "9x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("unknown signal"), "{text:?}: {error}");
        }
    }
}
