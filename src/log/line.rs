//! The forms of a line.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Level;
use crate::error::{Error, printable};
use crate::json::{self, insert};
use crate::timestamp;

/// One line of the log.
pub(super) struct Line<'a> {
    pub level: Level,
    pub message: &'a str,
    /// What a JSON object has beside the message.
    pub data: Data<'a>,
}

/// Data for programs.
pub(super) enum Data<'a> {
    None,
    /// What failed, or the warning, and the container on the command line.
    Failure(&'a Error, Option<&'a str>),
    /// One member.
    Named(&'static str, Value),
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    /// The line, with its end.
    pub(super) fn line(self, line: &Line, now: Duration) -> String {
        // Whole seconds, which every reader of RFC 3339 accepts.
        let time = timestamp::rfc3339(Duration::from_secs(now.as_secs()));
        let level = line.level.word();
        match self {
            Self::Text => {
                let message = quote(line.message);
                format!("time=\"{time}\" level={level} msg={message}\n")
            }
            Self::Json => {
                let mut object = Map::new();
                insert(&mut object, "level", level.into());
                insert(&mut object, "msg", line.message.into());
                insert(&mut object, "time", time.into());
                match &line.data {
                    Data::None => {}
                    Data::Failure(error, container) => object.extend(data(error, *container)),
                    Data::Named(name, value) => {
                        object.insert((*name).to_owned(), value.clone());
                    }
                }
                json::text(&Value::Object(object)) + "\n"
            }
        }
    }
}

/// What is known about a failure or a warning, for programs.
fn data(error: &Error, container: Option<&str>) -> Map<String, Value> {
    let code = error.code();
    let errno = error.errno.map(|errno| format!("{errno:?}"));
    let known = [
        ("code", Some(code.word())),
        ("phase", error.phase.or(code.phase())),
        ("field", error.field.as_deref()),
        ("path", error.path.as_deref()),
        // A child that ended badly has no failed call.
        ("syscall", errno.as_ref().and(error.call.as_deref())),
        ("errno", errno.as_deref()),
        ("hint", error.hint.as_deref()),
        ("container", container),
    ];
    let mut object = Map::new();
    for (key, value) in known {
        if let Some(value) = value {
            object.insert(key.to_owned(), printable(value).into());
        }
    }
    object
}

/// The line for people at a terminal.
pub(super) fn plain(level: Level, message: &str, colours: bool) -> String {
    let word = level.word();
    let message = printable(message);
    if !colours {
        return format!("{word}: {message}\n");
    }
    // Red, yellow, or faint. console_codes(4).
    let colour = match level {
        Level::Error => "1;31",
        Level::Warning => "1;33",
        Level::Debug => "2",
    };
    format!("\x1b[{colour}m{word}:\x1b[0m {message}\n")
}

/// Puts `text` in double quotes, on one line. Printable characters do not change, so that the text
/// can be searched.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if character.is_control() => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// The datagram for /dev/log: RFC 3164 without time and host, as syslog(3) sends it.
pub(super) fn syslog_message(level: Level, ident: &str, message: &str) -> String {
    format!("<{}>{ident}: {message}", libc::LOG_USER | level.severity())
}

/// The datagram in the native protocol of the journal. The length precedes a value of several
/// lines.
pub(super) fn journal_message(level: Level, ident: &str, message: &str) -> Vec<u8> {
    let priority = level.severity().to_string();
    let mut out = Vec::new();
    for (key, value) in [
        ("MESSAGE", message),
        ("PRIORITY", &priority),
        ("SYSLOG_IDENTIFIER", ident),
    ] {
        out.extend_from_slice(key.as_bytes());
        if value.contains('\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use serde_json::json;

    use super::*;
    use crate::error::Code;
    use crate::sys::Fail;

    #[test]
    fn text_is_quoted_on_one_line() {
        let line = Line {
            level: Level::Error,
            message: "exec: \"sh\"\n\u{1b}",
            data: Data::None,
        };
        assert_eq!(
            Format::Text.line(&line, Duration::from_secs(1)),
            "time=\"1970-01-01T00:00:01Z\" level=error msg=\"exec: \\\"sh\\\"\\n\\u{1b}\"\n"
        );
    }

    #[test]
    fn an_object_has_the_data_of_the_failure() {
        let fail = Fail::new("openat2", Errno::ENOENT);
        let error = Error::failed(std::path::Path::new("/srv/a"), fail)
            .about("mounts[2]")
            .code_is(Code::MountSourceMissing)
            .hint("make\nit");
        let message = error.to_string();
        let line = Line {
            level: Level::Error,
            message: &message,
            data: Data::Failure(&error, Some("c1")),
        };
        let text = Format::Json.line(&line, Duration::from_secs(1));
        let expected = json!({
            "level": "error",
            "msg": message,
            "time": "1970-01-01T00:00:01Z",
            "code": "mount.source-missing",
            "field": "mounts[2]",
            "path": "/srv/a",
            "syscall": "openat2",
            "errno": "ENOENT",
            "hint": "make\\nit",
            "container": "c1",
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn people_get_no_quotes_and_no_control_characters() {
        let text = plain(Level::Error, "exec: \"sh\"\n", false);
        assert_eq!(text, "error: exec: \"sh\"\\n\n");
        let text = plain(Level::Warning, "x\x1b", true);
        assert_eq!(text, "\x1b[1;33mwarning:\x1b[0m x\\u{1b}\n");
    }

    #[test]
    fn datagrams() {
        assert_eq!(syslog_message(Level::Error, "c1", "no"), "<11>c1: no");
        assert_eq!(
            journal_message(Level::Warning, "c1", "a\nb"),
            b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=4\nSYSLOG_IDENTIFIER=c1\n"
        );
    }
}
