//! The text of a profile, for `explain --seccomp`: one sentence for each call.

use std::fmt::{self, Display, Write};

use nix::errno::Errno;
use serde_json::Value;

use super::description::{Answer, Architecture, Call, Description, Finding, condition};
use crate::config::seccomp::{Action, Arch};
use crate::error::printable;
use crate::json::{object, texts};
use crate::plan::syscalls::Syscall;
use crate::plan::text::{Line, text};

/// The subjects of lines that are not about one call. No call has a space in its name.
const EVERY_OTHER: &str = "every other call";
const NEWER: &str = "newer calls";
const LACKING: &str = "lacking calls";

impl Description {
    /// Findings first, then one sentence a line: the architecture, the answer, and the property
    /// that asks for it.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<_> = self.findings.iter().map(Finding::line).collect();
        for architecture in &self.architectures {
            self.add(&mut lines, architecture);
        }
        lines.push(Line {
            phase: "other",
            subject: "other".to_owned(),
            what: "a call of another architecture kills the process".to_owned(),
            field: String::new(),
        });
        lines
    }

    /// The lines as text.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.lines())
    }

    fn add(&self, lines: &mut Vec<Line>, architecture: &Architecture) {
        let mut line = |subject: &str, what, field: String| {
            lines.push(Line {
                phase: architecture.arch.name(),
                subject: subject.to_owned(),
                what,
                field,
            });
        };
        let default = format!("every other call {}", verb(self.default));
        line(EVERY_OTHER, default, "linux.seccomp.defaultAction".into());
        if let Some(newest) = architecture.newest {
            let call = Syscall::name(architecture.arch, newest).unwrap_or("?");
            let what = format!("a call newer than {call} fails with ENOSYS");
            let field = "the newest call of linux.seccomp.syscalls";
            line(NEWER, what, field.into());
        }
        for call in &architecture.calls {
            let sentence = Sentence(call, self.default).to_string();
            line(&call.name, sentence, origin(&call.answers));
        }
        if !architecture.lacking.is_empty() {
            let names = architecture.lacking.join(", ");
            let what = format!("does not have {names}");
            line(LACKING, what, "linux.seccomp.syscalls".into());
        }
    }

    /// The same as a JSON object: `default`, `architectures` and `findings`.
    #[must_use]
    pub fn json(&self) -> Value {
        let architectures = self.architectures.iter().map(|it| {
            object! {
                "name": it.arch.name(),
                "newest": it.newest.and_then(|newest| Syscall::name(it.arch, newest)),
                "calls": it.calls.iter().map(call_json).collect::<Vec<_>>(),
                "lacking": texts(it.lacking.iter().map(String::as_str)),
            }
        });
        let findings = self.findings.iter().map(|it| {
            object! {
                "config": field(it.rule),
                "names": texts(it.names.iter().map(String::as_str)),
                "what": it.what.as_str(),
                "architectures": texts(names(&it.architectures)),
            }
        });
        object! {
            "default": verb(self.default),
            "architectures": architectures.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        }
    }
}

fn call_json(call: &Call) -> Value {
    let answers = call.answers.iter().map(|answer| {
        object! {
            "what": verb(answer.action),
            "if": conditions(answer),
            "config": field(answer.rule),
        }
    });
    object! {
        "name": call.name.as_str(),
        "number": call.number,
        "answers": answers.collect::<Vec<_>>(),
    }
}

fn names(architectures: &[Arch]) -> Vec<&'static str> {
    architectures.iter().map(|arch| arch.name()).collect()
}

fn field(rule: usize) -> String {
    format!("linux.seccomp.syscalls[{rule}]")
}

/// The properties of the rules, each once.
fn origin(answers: &[Answer]) -> String {
    let mut rules: Vec<_> = answers.iter().map(|answer| answer.rule).collect();
    rules.dedup();
    let fields: Vec<_> = rules.into_iter().map(field).collect();
    fields.join(", ")
}

impl Finding {
    fn line(&self) -> Line {
        Line {
            phase: "warning",
            subject: field(self.rule),
            what: printable(&self.to_string()),
            field: String::new(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", field(self.rule))?;
        if !self.names.is_empty() {
            write!(f, ".names: {}", self.names.join(", "))?;
        }
        write!(f, ": {}", self.what)?;
        if !self.architectures.is_empty() {
            write!(f, ", on {}", names(&self.architectures).join(" and "))?;
        }
        Ok(())
    }
}

/// A call, and the action for a call whose arguments match no answer.
struct Sentence<'a>(&'a Call, Action);

/// Neighbours with the same action are one part of the sentence.
impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(call, default) = self;
        write!(f, "{} ", call.name)?;
        for same in call.answers.chunk_by(|a, b| a.action == b.action) {
            f.write_str(&verb(same[0].action))?;
            for (index, answer) in same.iter().enumerate() {
                if answer.args.is_empty() {
                    return Ok(());
                }
                let word = if index == 0 { " if " } else { ", or if " };
                write!(f, "{word}{}", conditions(answer).join(" and "))?;
            }
            f.write_str(", otherwise ")?;
        }
        f.write_str(&verb(*default))
    }
}

/// The conditions of an answer, as in C.
fn conditions(answer: &Answer) -> Vec<String> {
    let mut words: Vec<_> = answer.args.iter().map(condition).collect();
    if let (Some(name), Some(first)) = (&answer.behind, words.first_mut()) {
        let _ = write!(first, " ({name})");
    }
    words
}

/// What happens to a call, as a verb whose subject is the call.
fn verb(action: Action) -> String {
    let verb = match action {
        Action::Allow => "is allowed",
        Action::Log => "is allowed and logged",
        Action::Notify => "asks the listener",
        Action::Trap => "raises SIGSYS",
        Action::KillThread => "kills the thread",
        Action::KillProcess => "kills the process",
        Action::Trace(message) => {
            return format!("asks the tracer with {message}, or fails with ENOSYS without one");
        }
        Action::Errno(0) => "returns 0 and does nothing",
        Action::Errno(errno) => {
            return match Errno::from_raw(errno.into()) {
                Errno::UnknownErrno => format!("fails with errno {errno}"),
                known => format!("fails with {known:?}"),
            };
        }
    };
    verb.to_owned()
}
