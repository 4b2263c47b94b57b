//! The text of a plan, for `explain` and for errors that name a failed step.

pub(super) mod parts;
pub(super) mod words;

use std::fmt::{self, Display, Write};

use super::{AnyStep, Found, InitStep, Place, Plan, Planned, Steps};
use crate::config::NamespaceKind;
use crate::error::{Warning, printable};
use crate::json::object;

/// One line of `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// One word: for a step the process and the point in time, for a filter the architecture.
    pub(super) phase: &'static str,
    /// What the line is about: a line of another text with the same phase and subject says the same
    /// thing, perhaps otherwise.
    pub(super) subject: String,
    /// The sentence.
    pub(super) what: String,
    /// The property that asks for it; empty if the sentence says it.
    pub(super) field: String,
}

/// A step, and when it is executed.
struct Timed<'a> {
    phase: &'static str,
    found: Found<'a>,
}

/// Steps in the order in which they are executed.
#[derive(Default)]
struct Order<'a>(Vec<Timed<'a>>);

impl<'a> Order<'a> {
    fn add<S>(&mut self, phase: &'static str, steps: &'a Steps<S>)
    where
        AnyStep<'a>: From<&'a S>,
    {
        for planned in steps.iter() {
            let found = planned.found();
            self.0.push(Timed { phase, found });
        }
    }

    /// Adds the steps of init, and those of the runtime for which init waits.
    fn add_init(&mut self, plan: &'a Plan) {
        for planned in plan.init.iter() {
            match planned.step {
                InitStep::RuntimeHooks => self.add("hooks", &plan.hooks),
                InitStep::WaitForStart => self.add("ready", &plan.ready),
                _ => {}
            }
            let found = planned.found();
            let phase = "init";
            self.0.push(Timed { phase, found });
        }
    }
}

/// The version of [`Plan::json`]. New members and new steps do not change it; one that is taken away,
/// or that means something else, does.
const FORM_VERSION: u32 = 1;

impl Plan {
    /// One line per warning and per step, in the order of execution: phase, action with its fallback,
    /// and the property that asks for it.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<_> = self.warnings.iter().map(Line::of_warning).collect();
        lines.extend(self.before_clone().0.iter().map(Timed::line));
        lines.push(self.clone_line());
        lines.extend(self.after_clone().0.iter().map(Timed::line));
        lines
    }

    /// The lines as text.
    pub fn text(&self) -> String {
        text(&self.lines())
    }

    /// The same as a JSON object, whose form `docs/plan.schema.json` describes.
    pub fn json(&self) -> serde_json::Value {
        let lines = self.before_clone().0.into_iter();
        let steps: Vec<_> = lines
            .chain(self.after_clone().0)
            .map(|line| {
                object! {
                    "phase": line.phase,
                    "step": line.found.step.name(),
                    "what": line.found.step.what(),
                    "config": line.found.field,
                }
            })
            .collect();
        let mut clone = object! {
            "namespaces": self.new_namespaces(),
            "intermediate": self.has_process_between(),
        };
        if let Place::Below(path) = &self.place {
            clone["cgroup"] = path.to_string_lossy().into();
        }
        object! {
            "version": FORM_VERSION,
            "warnings": self.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "clone": clone,
            "steps": steps,
        }
    }

    fn before_clone(&self) -> Order<'_> {
        let mut order = Order::default();
        order.add("prepare", &self.prepare);
        order.add("clone", &self.leave);
        order
    }

    fn after_clone(&self) -> Order<'_> {
        let mut order = Order::default();
        order.add("parent", &self.beside_first);
        order.add("clone", &self.between);
        order.add("parent", &self.beside_init);
        order.add("parent", &self.meanwhile);
        order.add_init(self);
        order.add("parent", &self.when_ready);
        order.add("start", &self.start);
        order.add("started", &self.after_start);
        order.add("deleted", &self.after_delete);
        order
    }

    /// The namespaces that clone3(2) creates, by their names in the specification.
    fn new_namespaces(&self) -> Vec<&'static str> {
        NamespaceKind::ALL
            .into_iter()
            .filter(|kind| self.clone_flags & kind.clone_flag() != 0)
            .map(NamespaceKind::name)
            .collect()
    }

    fn clone_line(&self) -> Line {
        let new = self.new_namespaces();
        let what = if new.is_empty() {
            "without new namespaces".to_owned()
        } else {
            format!("with new namespaces {}", new.join(", "))
        };
        let via = if self.has_process_between() {
            ", in an intermediate process that enters the others and creates init"
        } else {
            ""
        };
        let place = match &self.place {
            Place::Container => String::new(),
            Place::Below(path) => {
                let path = printable(&path.to_string_lossy());
                format!(", in the container's cgroup {path}")
            }
        };
        Line {
            phase: "clone",
            subject: "clone3".to_owned(),
            what: format!("clone3 {what}{via}{place}"),
            field: "linux.namespaces".to_owned(),
        }
    }
}

impl Timed<'_> {
    fn line(&self) -> Line {
        let Found { field, step } = self.found;
        Line {
            phase: self.phase,
            subject: format!("{} of {field}", step.name()),
            what: step.what(),
            field: printable(field),
        }
    }
}

impl Line {
    /// The text of a warning names its property.
    fn of_warning(warning: &Warning) -> Self {
        let field = warning.field.as_deref().unwrap_or_default();
        Self {
            phase: "warning",
            subject: format!("{} of {field}", warning.code().word()),
            what: warning.to_string(),
            field: String::new(),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.phase, self.what)?;
        if self.field.is_empty() {
            Ok(())
        } else {
            write!(f, "  <- {}", self.field)
        }
    }
}

/// One line after the other.
pub(super) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

impl AnyStep<'_> {
    /// The step in one word, for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runtime(step) => step.name(),
            Self::Entry(step) => step.name(),
            Self::Inherited(step) => step.name(),
            Self::Init(step) => step.name(),
            Self::Hook(_) => "hook",
            Self::Rlimit(_) => "rlimit",
        }
    }

    /// The full text of the step. Some values are text of the config.
    pub fn what(self) -> String {
        printable(&format!("{self:#}"))
    }
}

/// `{}` is the short text; `{:#}` adds the fallback.
impl Display for AnyStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(step) => step.fmt(f),
            Self::Entry(step) => step.fmt(f),
            Self::Inherited(step) => step.fmt(f),
            Self::Init(step) => step.fmt(f),
            Self::Hook(hook) => parts::write_hook(f, hook),
            Self::Rlimit(limit) => parts::write_rlimit(f, limit),
        }
    }
}

/// The property that asks for the step, and the step.
impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.step)
    }
}

/// As for [`Found`].
impl<S> Display for Planned<S>
where
    for<'a> AnyStep<'a>: From<&'a S>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NewCgroup, RuntimeStep};

    #[test]
    fn control_characters_of_the_config_are_escaped() {
        let mut plan = Plan::default();
        let new = NewCgroup {
            path: "a\u{7f}\u{9b}2J\n".into(),
            controllers: Vec::new(),
            optional: Vec::new(),
            required: true,
        };
        let step = RuntimeStep::CreateCgroup(new);
        plan.prepare.add("linux.cgroupsPath", step);
        let line = "prepare  create cgroup a\\u{7f}\\u{9b}2J\\n  <- linux.cgroupsPath\n";
        assert!(plan.text().starts_with(line), "{}", plan.text());
        let what = plan.json()["steps"][0]["what"].clone();
        assert_eq!(what, "create cgroup a\\u{7f}\\u{9b}2J\\n");
    }
}
