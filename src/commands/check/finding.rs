//! What `check` has found, as text and as JSON.

use serde_json::Value;

use crate::error::{Code, Error, printable};
use crate::json::object;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// `create` or `start` fails.
    Error,
    /// The container is made, but not as the config says.
    Warning,
    /// Worth knowing, or not looked at.
    Note,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub severity: Severity,
    /// What of sampan-errors(7) it is.
    pub code: Option<Code>,
    /// The path of the property in the config.
    pub field: Option<String>,
    pub message: String,
    /// What to do next.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            code: None,
            field: None,
            message: message.into(),
            remedy: None,
        }
    }

    /// The error of `create`, in the same words.
    pub(super) fn error(error: Error) -> Self {
        Self::of(Severity::Error, error)
    }

    /// An error or a warning, in the same words.
    pub(super) fn of(severity: Severity, mut error: Error) -> Self {
        let code = Some(error.code());
        let field = error.field.take().map(String::from);
        let remedy = error.hint.take().map(String::from);
        Self {
            code,
            field,
            remedy,
            ..Self::new(severity, error.to_string())
        }
    }

    /// Something that the caller could not look at.
    pub(super) fn unseen(error: &Error) -> Self {
        Self::new(Severity::Note, format!("could not look: {error}"))
    }

    #[must_use]
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub(super) fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    fn line(&self) -> String {
        let mut line = format!("{}: ", self.severity.word());
        if let Some(field) = &self.field {
            line += &format!("{}: ", printable(field));
        }
        line += &printable(&self.message);
        if let Some(remedy) = &self.remedy {
            line += &format!(" ({})", printable(remedy));
        }
        line + "\n"
    }

    fn json(&self) -> Value {
        object! {
            "severity": self.severity.word(),
            "code": self.code.map(Code::word),
            "field": self.field.clone(),
            "message": self.message.clone(),
            "remedy": self.remedy.clone(),
        }
    }
}

/// All severities, the worst first.
const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

/// The worst findings first, and otherwise in their order.
pub(super) fn by_severity(findings: &[Finding]) -> Vec<Finding> {
    let of = |severity| findings.iter().filter(move |it| it.severity == severity);
    SEVERITIES.into_iter().flat_map(of).cloned().collect()
}

/// How many findings have this severity.
fn count(findings: &[Finding], severity: Severity) -> usize {
    let of_it = findings.iter().filter(|it| it.severity == severity);
    of_it.count()
}

/// One line a finding, and a last one with their numbers.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().map(Finding::line).collect();
    let numbers = SEVERITIES.map(|severity| {
        let number = count(findings, severity);
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {}{plural}", severity.word())
    });
    text += &numbers.join(", ");
    text + "\n"
}

/// The members of the JSON object that tell the findings.
pub(super) fn json(findings: &[Finding]) -> Value {
    object! {
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note),
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
    }
}
