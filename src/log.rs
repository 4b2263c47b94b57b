//! The log that engines read.
//!
//! Podman parses the whole log file as one JSON object. containerd uses the last object whose level
//! is `error`, and needs its time in RFC 3339. So a command that fails writes exactly one object:
//! warnings are written only after the command has succeeded, and a failure drops them. With
//! `--debug` this does not hold, because debug lines are written at once. The text of a failure
//! also goes to standard error, because conmon and the shim of containerd fall back to that.
//!
//! On a terminal the lines are for people: without time and quotes. An object has the data of the
//! failure beside its text, for programs: see sampan-errors(7).

mod line;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Result, bail};

use crate::error::{Call as _, Context as _, Error, Named, Warning};
use crate::timestamp;
use line::{Data, Format, Line, journal_message, plain, syslog_message};

const SYSLOG_SOCKET: &str = "/dev/log";
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// The severity of a line, the most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The verb failed.
    Error,
    /// The verb did less than it was asked to do.
    #[default]
    Warning,
    /// What the verb does.
    Debug,
}

/// The settings of the log on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// `--log`; without it the log is standard error.
    pub target: Option<&'a [u8]>,
    /// `--log-format`; without it the lines are text.
    pub format: Option<&'a str>,
    /// The least severe lines that are logged.
    pub level: Level,
}

/// `--log`.
#[derive(Debug)]
enum Sink {
    Stderr,
    File(File),
    Syslog { socket: UnixDatagram, ident: String },
    Journal { socket: UnixDatagram, ident: String },
}

/// The destination of the lines of one command.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    format: Format,
    level: Level,
    /// Warnings to be written when the command succeeds.
    waiting: RefCell<Vec<Warning>>,
}

impl Default for Log {
    /// Text on standard error.
    fn default() -> Self {
        Self {
            sink: Sink::Stderr,
            format: Format::Text,
            level: Level::default(),
            waiting: RefCell::default(),
        }
    }
}

impl Log {
    /// Opens the log.
    ///
    /// # Errors
    /// The format is unknown, or the target cannot be opened.
    pub fn open(options: &Options) -> Result<Self> {
        let format = match options.format {
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => {
                let message = format!("--log-format: unknown format {other:?}");
                bail!(Error::usage(message).hint("use text or json"));
            }
        };
        Ok(Self {
            sink: match options.target {
                Some(target) => Sink::open(target)?,
                None => Sink::Stderr,
            },
            format,
            level: options.level,
            waiting: RefCell::default(),
        })
    }

    /// Reports a problem that does not stop the command.
    pub fn warn(&self, warning: Warning) {
        match self.sink {
            _ if self.level < Level::Warning => {}
            Sink::Stderr => self.write(Level::Warning, &warning),
            _ => self.waiting.borrow_mut().push(warning),
        }
    }

    /// Reports each of `warnings`.
    pub fn warn_all<'w>(&self, warnings: impl IntoIterator<Item = &'w Warning>) {
        for warning in warnings {
            self.warn(warning.clone());
        }
    }

    /// Reports a failure that does not stop the command.
    pub fn warn_of(&self, failure: anyhow::Error) {
        self.warn(Error::of_chain(failure));
    }

    /// Writes each of `details` if `--debug` is given.
    pub fn debug(&self, details: impl FnOnce() -> Vec<Warning>) {
        if self.debugs() {
            for detail in details() {
                self.write(Level::Debug, &detail);
            }
        }
    }

    /// Whether debug lines are written.
    pub fn debugs(&self) -> bool {
        self.level >= Level::Debug
    }

    /// Whether a line is a JSON object.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes a line that has no data, if `--debug` is given.
    pub fn debug_line(&self, message: impl FnOnce() -> String) {
        if self.debugs() {
            self.write_line(&Line {
                level: Level::Debug,
                message: &message(),
                data: Data::None,
            });
        }
    }

    /// Writes a debug line, whatever the level is. In JSON the object has a member more, `named`.
    pub fn debug_data(&self, message: &str, named: (&'static str, serde_json::Value)) {
        self.write_line(&Line {
            level: Level::Debug,
            message,
            data: Data::Named(named.0, named.1),
        });
    }

    /// Writes the warnings. Called when the command has succeeded.
    pub fn succeed(&self) {
        for warning in self.waiting.take() {
            self.write(Level::Warning, &warning);
        }
    }

    /// Writes one line to the log, and the text to standard error. Called when the command has
    /// failed.
    ///
    /// `container` is the id on the command line.
    pub fn fail(&self, error: &Error, container: Option<&str>) {
        self.waiting.take();
        let message = error.to_string();
        self.write_line(&Line {
            level: Level::Error,
            message: &message,
            data: Data::Failure(error, container),
        });
        if !matches!(self.sink, Sink::Stderr) {
            print_error(&match terminal() {
                Some(colours) => plain(Level::Error, &message, colours),
                None => message + "\n",
            });
        }
    }

    fn write(&self, level: Level, warning: &Warning) {
        self.write_line(&Line {
            level,
            message: &warning.to_string(),
            data: Data::Failure(warning, None),
        });
    }

    /// Writes one line. Errors are ignored: a command that has worked must not fail because of its
    /// log.
    fn write_line(&self, line: &Line) {
        let text = || self.format.line(line, timestamp::now());
        let (level, message) = (line.level, line.message);
        match &self.sink {
            Sink::Stderr => print_error(&match self.format {
                Format::Text => {
                    terminal().map_or_else(text, |colours| plain(level, message, colours))
                }
                Format::Json => text(),
            }),
            // One write, so that lines of several commands that share the file do not mix.
            Sink::File(file) => drop({ file }.write_all(text().as_bytes())),
            Sink::Syslog { socket, ident } => {
                drop(socket.send(syslog_message(level, ident, message).as_bytes()));
            }
            Sink::Journal { socket, ident } => {
                drop(socket.send(&journal_message(level, ident, message)));
            }
        }
    }
}

/// Whether the terminal that standard error is gets colours. `None` if it is not a terminal.
fn terminal() -> Option<bool> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stderr().is_terminal().then(|| {
        // Source: no-color.org.
        set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
    })
}

/// Unlike `eprintln!`, does not panic when standard error is closed.
fn print_error(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

impl Sink {
    fn open(target: &[u8]) -> Result<Self> {
        let ident = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        if let Some(id) = target.strip_prefix(b"syslog:") {
            let (socket, ident) = (connect(SYSLOG_SOCKET)?, ident(id));
            return Ok(Self::Syslog { socket, ident });
        }
        if let Some(id) = target.strip_prefix(b"journald:") {
            let (socket, ident) = (connect(JOURNAL_SOCKET)?, ident(id));
            return Ok(Self::Journal { socket, ident });
        }
        let path = target.strip_prefix(b"file:").unwrap_or(target);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .map(Self::File)
            .call("open")
            .with_context(|| Named("--log", path))
    }
}

fn connect(path: &str) -> Result<UnixDatagram> {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(path).map(|()| socket))
        .call("connect")
        .with_context(|| Named("--log", path.as_ref()))
}

impl Level {
    /// The level's name in a line and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    /// Severity of syslog(3).
    fn severity(self) -> i32 {
        match self {
            Self::Error => libc::LOG_ERR,
            Self::Warning => libc::LOG_WARNING,
            Self::Debug => libc::LOG_DEBUG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A log that writes to a new file, and the path of that file.
    fn to_file(name: &str, change: impl FnOnce(&mut Options)) -> (Log, PathBuf) {
        let path = std::env::temp_dir().join(format!("sampan-log-{}-{name}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let mut options = Options {
            target: Some(path.as_os_str().as_bytes()),
            format: Some("json"),
            ..Options::default()
        };
        change(&mut options);
        (Log::open(&options).unwrap(), path)
    }

    fn take(path: &Path) -> String {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    }

    #[test]
    fn a_failure_writes_one_object_and_no_warnings() {
        let (log, path) = to_file("fail", |_| {});
        log.warn(Error::new("unknown capability"));
        log.fail(&Error::new("a \"bad\"\nfield"), None);
        let text = take(&path);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["level"], "error");
        assert_eq!(object["msg"], "a \"bad\"\\nfield");
        assert_eq!(
            object["time"].as_str().unwrap().len(),
            "2024-01-01T00:00:00Z".len()
        );
        assert_eq!(object["code"], "runtime.failed");
        assert_eq!(object.as_object().unwrap().len(), 4);
    }

    #[test]
    fn a_success_writes_the_warnings() {
        let (log, path) = to_file("succeed", |_| {});
        log.warn(Error::new("one"));
        log.warn(Error::new("two"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        log.succeed();
        let text = take(&path);
        let messages: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|object| format!("{} {}", object["level"], object["msg"]))
            .collect();
        assert_eq!(messages, [r#""warning" "one""#, r#""warning" "two""#]);
    }

    #[test]
    fn the_level_filters_lines() {
        let (log, path) = to_file("quiet", |options| options.level = Level::Error);
        log.warn(Error::new("hidden"));
        log.debug(|| unreachable!());
        log.succeed();
        assert_eq!(take(&path), "");
        let (log, path) = to_file("debug", |options| {
            options.level = Level::Debug;
            options.format = None;
        });
        log.debug(|| vec![Error::new("step 1")]);
        assert!(take(&path).ends_with(" level=debug msg=\"step 1\"\n"));
    }

    #[test]
    fn a_file_is_appended_to() {
        let (log, path) = to_file("append", |_| {});
        std::fs::write(&path, "before\n").unwrap();
        log.fail(&Error::new("after"), None);
        assert!(take(&path).starts_with("before\n{"));
    }

    #[test]
    fn errors_name_the_invalid_flag() {
        let options = Options {
            format: Some("xml"),
            ..Options::default()
        };
        let error = format!("{:#}", Log::open(&options).unwrap_err());
        assert_eq!(
            error,
            "--log-format: unknown format \"xml\" (use text or json)"
        );
        let options = Options {
            target: Some(b"file:/nonexistent/log"),
            ..Options::default()
        };
        let error = format!("{:#}", Log::open(&options).unwrap_err());
        assert_eq!(
            error,
            "--log: /nonexistent/log: open: no such file or directory"
        );
    }
}
